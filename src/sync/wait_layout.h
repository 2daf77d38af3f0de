/* SPDX-License-Identifier: MIT
 * What another process can see of a wait queue: the one wait list under everything that blocks.
 *
 *   +0    ilock + journal (64 bytes)
 *   +64   nwait | head | tail        thread indexes; 0: none
 *
 * The truth is in the thread records: wait_queue (whose offset), wait_state, wait_ticket. The list
 * is only an order over them; the repair rebuilds it (journal op 1: being changed).
 *   wait_state  NONE → QUEUED (enter) → CHOSEN (a waker took it off the list) → NONE (leave)
 * nwait is what wakers read without the lock: it may be too large for a moment, never too small for
 * a thread that has entered. Pairs: the waiter publishes nwait, then looks at its object again; the
 * waker changes the object, then reads nwait; both sides with seq_cst in between.
 *
 * Crash states: (1) killed while it changes the list: journal, rebuilt. (2) a waiter dies QUEUED:
 * the reaper takes it off. (3) dies CHOSEN, before it used what it was woken for: the reaper passes
 * the wake on. (4) the waker dies after CHOSEN, before the futex: the chosen one sees its state at
 * the end of its slice, or sooner, when the reaper finds wake_target in the waker's record. */
#ifndef KINI_WAIT_LAYOUT_H
#define KINI_WAIT_LAYOUT_H

#include "arena/arena_layout.h"

struct kini_waitq_shm {
    struct kini_ilock_shm lock;
    kini_a32 nwait;
    kini_a32 head, tail;
    uint32_t reserved[13];
};
_Static_assert(sizeof(struct kini_waitq_shm) == 128, "two lines");

#endif
