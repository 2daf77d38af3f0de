/* SPDX-License-Identifier: MIT
 * What another process can see of a wait queue: the one wait list under everything that blocks.
 *
 *   +0    ilock + journal (64 bytes)
 *   +64   nwait | head | tail        thread indexes; 0: none
 *         version | nany | flags
 *
 * The truth is in the thread records: wait_queue (whose offset), wait_state, wait_ticket. The list
 * is only an order over them; the repair rebuilds it (journal op 1: being changed).
 *   wait_state  NONE → QUEUED (enter) → CHOSEN (a waker took it off the list) → NONE (leave)
 *               NONE → ANY (waits for several, named in any_queues, in no list) → NONE
 * nwait is what wakers read without the lock: it may be too large for a moment, never too small for
 * a thread that has entered. Pairs: the waiter publishes nwait, then looks at its object again; the
 * waker changes the object, then reads nwait; both sides with seq_cst in between. Where wakers
 * change their object with a plain store (KINI_WAITQ_FENCE), the waiter's fence (os.h) stands for
 * the barrier that they leave out. Where that would be paid too often, a waker that is alone says
 * by CALM when it begins to leave its barriers out, while nobody waits. It looks at it behind its
 * change. Who enters says UNCALM, fences, and says 0: whoever reads 0 comes behind the fence, and
 * so behind all changes that were made without a barrier. Killed in between, it stays UNCALM: the
 * waker is careful, and the next to enter fences again.
 *
 * There are two ways to wake.
 *   choose  Under the lock, exactly so many as were waiting: for a wake that must not be lost or
 *           doubled (conditions, queues). The chosen one holds the wake until it has used it.
 *   nudge   Without a lock, so also in a signal handler: mark park, wake the thread, which looks at
 *           the object again and stays in the list until it has what it waits for. For objects
 *           whose state says by itself who may go on (locks, semaphores, events). The list is read
 *           under its version (odd while it is changed); if that moved, the records are read.
 *   park    AWAKE → ASLEEP (about to sleep) → WOKEN (by a waker; only then a system call is needed)
 *           AWAKE → WOKEN (it must look again before it sleeps). A mark for nothing does no harm:
 *           so a sleeper is also told that it is now the watcher (watch.c).
 *   bell    Of a thread in a bed (bed.c), and of the record of a descriptor for event loops
 *           (ready.c), always in state ANY: park is marked as any, but in place of the futex the
 *           bell is rung (os.h).
 *   move    A notification whose waiter sleeps puts it at the end of the queue of the lock that it
 *           wants next, which the notifier holds: it is woken when it can have the lock. Journal op
 * 2 of the queue it leaves, op 1 of the other; wait_queue says to which it belongs. A nudge that
 * comes after the last look of a waiter which gives up is passed on by it.
 *
 * Crash states: (1) killed while it changes the list: journal, rebuilt. (2) a waiter dies QUEUED:
 * the reaper takes it off and nudges the next, as the dead may have been nudged. (3) dies CHOSEN,
 * before it used what it was woken for, or with wait_token set (it was notified, but waits for the
 * lock of its condition): the reaper passes the wake on. (4) the waker dies after CHOSEN, before
 * the futex: the chosen one sees its state at the end of its slice, or sooner, when the reaper
 * finds wake_target in the waker's record. (5) the waker dies between the change of its object and
 * the nudge, or between the mark and the futex: when a holder of an object dies, all who wait there
 * are woken, whatever their marks say. (6) dies in state ANY, or before
 * any_count is 0 again: the reaper counts nany of its queues. (7) the
 * waker dies between the mark and the ring: a descriptor's timer fires, and it looks.
 */
#ifndef KINI_WAIT_LAYOUT_H
#define KINI_WAIT_LAYOUT_H

#include "arena/arena_layout.h"

#define KINI_WAITQ_FENCE 1u /* wakers change their object with a plain store */
#define KINI_WAITQ_ROOM  2u /* for room: who makes it makes more, if it is let */

enum kini_waitq_calm { KINI_WAITQ_CALM = 1, KINI_WAITQ_UNCALM };

struct kini_waitq_shm {
    struct kini_ilock_shm lock;
    kini_a32 nwait;      /* threads in the list, and nany */
    kini_a32 head, tail; /* the longest waiter first */
    kini_a32 version;    /* W: holder of the lock: odd while the list is changed */
    kini_a32 nany;       /* threads in state ANY that name this queue */
    uint32_t flags;      /* const after create */
    kini_a32 calm;       /* 0, CALM, UNCALM. W: the waker, CAS 0 → CALM; who enters */
    uint32_t reserved[9];
};
_Static_assert(sizeof(struct kini_waitq_shm) == 128, "two lines");

#endif
