/* SPDX-License-Identifier: MIT
 * The wait queue and the one wait loop. What may be done with a wait queue: wait_layout.h. */
#ifndef KINI_WAIT_H
#define KINI_WAIT_H

#include "arena/arena.h"
#include "sync/wait_layout.h"

/* For what was found in the arena: whether it can be a wait queue with these flags. */
bool kini_waitq_is_good(const struct kin_arena *arena, struct kini_waitq_shm *queue,
                        uint32_t flags);
void kini_waitq_init(struct kini_waitq_shm *queue, uint32_t flags);

/* --- choose --------------------------------------------------------------------------------- */

/* Wake the count that wait longest. Call after the change that they wait for. Returns how many. */
uint32_t kini_waitq_wake_slow(struct kini_self *self, struct kini_waitq_shm *queue, uint32_t count);

static inline void kini_waitq_wake(struct kini_self *self, struct kini_waitq_shm *queue,
                                   uint32_t count)
{
    /* seq_cst: after the change; pairs with the store of nwait in append() */
    if (kini_unlikely(kini_load_sc(&queue->nwait) != 0))
        kini_waitq_wake_slow(self, queue, count);
}

#define KINI_WAITQ_QUIET 256u /* so many changes without a waiter: it is calm */

/* The same after a change by a plain store, for the only waker of the queue (but for those that
 * change with a barrier). *quiet: private, changes since somebody waited. */
static inline void kini_waitq_wake_calm(struct kini_self *self, struct kini_waitq_shm *queue,
                                        kini_a32 *quiet, uint32_t count)
{
    kini_compiler_barrier(); /* enough while it is calm: whoever enters fences us */
    bool calm = kini_load(&queue->calm) == KINI_WAITQ_CALM;
    if (kini_unlikely(!calm))
        atomic_thread_fence(memory_order_seq_cst); /* pairs with the store of nwait in append() */
    kini_compiler_barrier();
    if (kini_unlikely(kini_load_acq(&queue->nwait) != 0)) {
        kini_store(quiet, 0);
        atomic_thread_fence(memory_order_seq_cst); /* marks are looked at after the change */
        kini_waitq_wake_slow(self, queue, count);
    } else if (kini_unlikely(!calm)) {
        uint32_t restless = 0, changes = kini_load(quiet) + 1;
        kini_store(quiet, changes % KINI_WAITQ_QUIET);
        if (changes == KINI_WAITQ_QUIET) {
            kini_cas_sc(&queue->calm, &restless, KINI_WAITQ_CALM);
            /* before the next look at nwait; pairs with nwait, then calm in kini_waitq_enter */
            atomic_thread_fence(memory_order_seq_cst);
        }
    }
}

/* The same for those that wait until they are told (conditions), by the holder of a lock that they
 * want next: who sleeps is not woken, but moved to the queue of the lock. */
uint32_t kini_waitq_pass(struct kini_self *self, struct kini_waitq_shm *from,
                         struct kini_waitq_shm *to, uint32_t count);
/* Whether a waiter in that queue has been chosen or moved. */
bool kini_waitq_is_told(struct kini_self *self, struct kini_waitq_shm *queue);

/* --- nudge (nudge.c): async-signal-safe ------------------------------------------------------- */

/* Make the count that wait longest and have not been nudged yet look at their object again. */
void kini_waitq_nudge_slow(struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t count);
/* The same for the one that waits longest, unless it has been nudged and did not run yet. */
void kini_waitq_nudge_first_slow(struct kin_arena *arena, struct kini_waitq_shm *queue);
/* Everybody, even who seems to be awake: after a death. */
void kini_waitq_nudge_all(struct kin_arena *arena, struct kini_waitq_shm *queue);
/* The thread that waits longest; 0: none. A hint unless the caller holds the lock. */
uint32_t kini_waitq_first(struct kin_arena *arena, struct kini_waitq_shm *queue);
/* Whether the thread is in the queue. */
bool kini_waitq_has(struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t index);
void kini_nudge_thread(struct kin_arena *arena, struct kini_thread_shm *t);
/* Once its park is WOKEN. */
void kini_wake_sleeper(struct kin_arena *arena, struct kini_thread_shm *t);

static inline void kini_waitq_nudge(struct kin_arena *arena, struct kini_waitq_shm *queue,
                                    uint32_t count)
{
    if (kini_unlikely(kini_load_sc(&queue->nwait) != 0)) /* pairs as in kini_waitq_wake */
        kini_waitq_nudge_slow(arena, queue, count);
}

static inline void kini_waitq_nudge_first(struct kin_arena *arena, struct kini_waitq_shm *queue)
{
    if (kini_unlikely(kini_load_sc(&queue->nwait) != 0))
        kini_waitq_nudge_first_slow(arena, queue);
}

/* --- wait ----------------------------------------------------------------------------------- */

/* One attempt at what the caller waits for: -EAGAIN to wait on, anything else ends the wait. */
typedef int64_t (*kini_attempt_fn)(struct kini_self *self, void *arg);

/* Try until attempt has an answer or the deadline passes (-ETIMEDOUT): spin a little, then sleep
 * in slices, look after the dead, and try again whenever woken. */
int64_t kini_wait_for(struct kini_self *self, struct kini_waitq_shm *queue, kin_deadline deadline,
                      kini_attempt_fn attempt, void *arg);

/* Go on waiting in a queue to which we were moved: spins no more, and has no deadline. */
int64_t kini_wait_on(struct kini_self *self, struct kini_waitq_shm *queue, kini_attempt_fn attempt,
                     void *arg);

/* The parts, for those who wait otherwise. */
void kini_waitq_enter(struct kini_self *self, struct kini_waitq_shm *queue);
/* Off the list. True if a waker has chosen us: then we answer for that wake until we forget; or if
 * it has moved us to another queue, where we are then. */
bool kini_waitq_withdraw(struct kini_self *self, struct kini_waitq_shm *queue);
/* Not waiting any more. True if we were nudged since our last look. */
bool kini_waitq_forget(struct kini_self *self);
/* Sleep until woken, the deadline or the end of a slice. True when the deadline has passed. */
bool kini_wait_sleep(struct kini_self *self, kin_deadline deadline);
/* Whether a signal has ended a sleep (-EINTR) and with it the wait: kin_wait_interruptible. */
bool kini_wait_is_over(int slept, kin_deadline deadline);
int64_t kini_wait_spin(struct kini_self *self, kini_attempt_fn attempt, void *arg, bool may_probe);

/* Announce that the calling thread waits for any of its any_queues, and take it back. True if the
 * wakers of one of them change their object with a plain store. */
bool kini_waitq_enter_any(struct kini_self *self);
void kini_waitq_leave_any(struct kini_self *self);
/* What these wakers leave out, after something that they look at was changed. */
void kini_waitq_fence(struct kini_self *self);
/* The same, and all that those who run have stored by now is seen behind it, also where it is
 * refused to us, though not to them when they began to leave barriers out: they stop at their next
 * step, and what is under way arrives in the milliseconds that this takes then. */
void kini_waitq_fence_or_wait(struct kini_self *self);

void kini_waitq_repair(struct kini_self *self, struct kini_ilock_shm *lock);
/* Take a dead thread out of the queue it waits in, and pass on a wake it had been given. */
void kini_wait_repair(struct kini_self *self, struct kini_thread_shm *dead);

#endif
