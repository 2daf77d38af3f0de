/* SPDX-License-Identifier: MIT
 * The wait queue and the one wait loop. */
#ifndef KINI_WAIT_H
#define KINI_WAIT_H

#include "arena/arena.h"
#include "sync/wait_layout.h"

void kini_waitq_init(struct kini_waitq_shm *queue);

/* Wake the count that wait longest. Call after the change that they wait for. */
void kini_waitq_wake_slow(struct kini_self *self, struct kini_waitq_shm *queue, uint32_t count);

static inline void kini_waitq_wake(struct kini_self *self, struct kini_waitq_shm *queue,
                                   uint32_t count)
{
    /* seq_cst: after the change; pairs with the store of nwait in enter() */
    if (kini_unlikely(kini_load_sc(&queue->nwait) != 0))
        kini_waitq_wake_slow(self, queue, count);
}

/* One attempt at what the caller waits for: -EAGAIN to wait on, anything else ends the wait. */
typedef int64_t (*kini_attempt_fn)(struct kini_self *self, void *arg);

/* Try until attempt has an answer or the deadline passes (-ETIMEDOUT): spin a little, then sleep
 * in slices, look after the dead, and try again whenever woken. */
int64_t kini_wait_for(struct kini_self *self, struct kini_waitq_shm *queue, kin_deadline deadline,
                      kini_attempt_fn attempt, void *arg);

void kini_waitq_repair(struct kini_self *self, struct kini_ilock_shm *lock);

#endif
