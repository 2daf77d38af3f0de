/* SPDX-License-Identifier: MIT
 * What is not done yet: counted for each participant, so that the death of one leaves nobody
 * waiting. Layout and crash states: store_layout.h. */
#include "arena/ilock.h"
#include "chan/heap.h"
#include "chan/store.h"
#include "sync/wait.h"

#include <errno.h>

static inline struct kini_self *enter(struct kin_queue *queue, int *ret_error)
{
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, ret_error);
    struct kini_queue_shm *shm = queue->shm;
    if (self == NULL)
        return NULL;
    if (kini_queue_is_store(shm) && kini_store_of(self->arena, shm)->joinable)
        return self;
    *ret_error = kini_fail(-EINVAL, "the queue was not created with joinable = 1");
    return NULL;
}

/* done last: whoever reads it first does not see fewer puts. */
static uint64_t unfinished(struct kini_store_shm *store)
{
    uint64_t done = kini_load_acq(&store->done);
    return kini_load_acq(&store->puts) - done;
}

/* --- accounting, under the lock ------------------------------------------------------------- */

void kini_joinable_finish(struct kini_self *self, struct kini_store_shm *store)
{
    struct kini_ilock_shm *lock = &store->lock;
    uint64_t slot = kini_load(&lock->arg[1]), block = kini_load(&lock->arg[4]);
    kini_store(&store->outstanding[slot], (uint32_t)kini_load(&lock->arg[2]));
    if (block != 0)
        kini_store_rel(&kini_block_header(self->arena, block)->word,
                       KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, slot, 0));
    kini_store(&store->zeros, kini_load(&lock->arg[3]));
    kini_store_rel(&store->done, kini_load(&lock->arg[0])); /* pairs with unfinished() */
}

/* So many more are done, and so many are outstanding of slot from now on; a block that slot has
 * taken may become its own. True if nothing is unfinished by this. */
static bool account(struct kini_self *self, struct kini_store_shm *store, uint32_t slot,
                    uint64_t done, uint32_t outstanding, uint64_t block)
{
    struct kini_ilock_shm *lock = &store->lock;
    uint64_t now = kini_load(&store->done) + done;
    bool zero = done > 0 && now == kini_load(&store->puts);
    kini_store(&lock->arg[0], now);
    kini_store(&lock->arg[1], slot);
    kini_store(&lock->arg[2], outstanding);
    kini_store(&lock->arg[3], kini_load(&store->zeros) + zero);
    kini_store(&lock->arg[4], block);
    kini_journal_begin(lock, KINI_STORE_ACCOUNT);
    kini_joinable_finish(self, store);
    kini_journal_end(lock);
    return zero;
}

static void tell(struct kini_self *self, struct kini_store_shm *store, bool zero)
{
    if (zero)
        kini_waitq_nudge(self->arena, &store->joiners, UINT32_MAX);
}

void kini_joinable_release(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block,
                           bool done)
{
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    kini_ilock_lock(self, &store->lock);
    uint32_t mine = kini_load(&store->outstanding[self->slot]);
    bool zero = account(self, store, self->slot, done, mine + !done, block);
    kini_ilock_unlock(self, &store->lock);
    tell(self, store, zero);
}

void kini_joinable_holder_died(struct kini_self *self, struct kini_queue_shm *queue, uint32_t slot)
{
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    kini_ilock_lock(self, &store->lock);
    uint32_t had = kini_load(&store->outstanding[slot]);
    bool zero = had > 0 && account(self, store, slot, had, 0, 0);
    kini_ilock_unlock(self, &store->lock);
    tell(self, store, zero);
}

/* --- public --------------------------------------------------------------------------------- */

/* Whose message is done: our own, or else that of the first who has one: it was handed on. */
static uint32_t find_outstanding(struct kini_self *self, struct kini_store_shm *store)
{
    if (kini_likely(kini_load(&store->outstanding[self->slot]) > 0))
        return self->slot;
    uint32_t high = kini_load_acq(&self->arena->super->participants_high);
    for (uint32_t slot = 1; slot < high; slot++)
        if (kini_load(&store->outstanding[slot]) > 0)
            return slot;
    return 0;
}

int kin_queue_task_done(struct kin_queue *queue)
{
    int r = 0;
    struct kini_self *self = enter(queue, &r);
    if (self == NULL)
        return r;
    struct kini_store_shm *store = kini_store_of(self->arena, queue->shm);
    bool zero = false;
    kini_ilock_lock(self, &store->lock);
    uint32_t slot = find_outstanding(self, store);
    if (slot != 0)
        zero = account(self, store, slot, 1, kini_load(&store->outstanding[slot]) - 1, 0);
    kini_ilock_unlock(self, &store->lock);
    tell(self, store, zero);
    if (slot == 0)
        return kini_fail(-EINVAL, "every message that was got is done already (one that was taken "
                                  "in place is got when it is released)");
    return 0;
}

struct join_call {
    struct kin_queue *queue;
    struct kini_store_shm *store;
    uint64_t zeros;
};

/* Also if there were none for a moment, and more have been put since. */
static int64_t attempt_join(struct kini_self *self, void *arg)
{
    struct join_call *call = arg;
    (void)self;
    if (unfinished(call->store) == 0 || kini_load_acq(&call->store->zeros) != call->zeros)
        return 0;
    return kini_handle_not_yet(&call->queue->handle);
}

int kin_queue_join(struct kin_queue *queue, kin_deadline deadline)
{
    int r;
    struct kini_self *self = enter(queue, &r);
    if (self == NULL)
        return r;
    struct kini_store_shm *store = kini_store_of(self->arena, queue->shm);
    struct join_call call = {.queue = queue, .store = store, .zeros = kini_load_acq(&store->zeros)};
    return (int)kini_handle_wait(self, &queue->handle, &store->joiners, deadline, attempt_join,
                                 &call);
}

int64_t kin_queue_unfinished(struct kin_queue *queue)
{
    int r;
    struct kini_self *self = enter(queue, &r);
    return self == NULL ? r : (int64_t)unfinished(kini_store_of(self->arena, queue->shm));
}
