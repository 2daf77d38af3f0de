/* SPDX-License-Identifier: MIT
 * The one place where the layers meet: what the arena's reaper calls for the locks and objects of
 * the layers above it, so that no layer includes one above itself. */
#include "sync/types.h"
#include "arena/arena.h"
#include "arena/block.h"
#include "chan/pipe.h"
#include "chan/ring.h"
#include "chan/store.h"
#include "coll/items.h"
#include "sync/wait.h"
#include "task/pool.h"

const kini_repair_fn kini_repairs[KINI_ILOCK_KINDS] = {
    [KINI_ILOCK_SPANS] = kini_span_repair,
    [KINI_ILOCK_OBJECTS] = NULL, /* its writes are ordered so that a prefix is whole */
    [KINI_ILOCK_WAITQ] = kini_waitq_repair,
    [KINI_ILOCK_QUEUE] = kini_queue_journal_repair,
    [KINI_ILOCK_HOLDS] = kini_hold_journal_repair,
    [KINI_ILOCK_RETURNED] = kini_returned_repair,
    [KINI_ILOCK_STORE] = kini_store_repair,
};

const struct kini_type_ops kini_types[KINI_OBJECT_TYPES] = {
    [KINI_OBJECT_QUEUE] = {.destroy = kini_queue_object_destroy,
                           .holder_died = kini_queue_holder_died,
                           .give_back = kini_queue_give_back,
                           .waitq = kini_queue_waitq,
                           .ready = kini_queue_ready},
    [KINI_OBJECT_POOL] = {.destroy = kini_pool_object_destroy},
    [KINI_OBJECT_LOCK] = {.holder_died = kini_lock_holder_died,
                          .waitq = kini_lock_waitq,
                          .ready = kini_lock_ready},
    [KINI_OBJECT_RLOCK] = {.holder_died = kini_lock_holder_died,
                           .waitq = kini_lock_waitq,
                           .ready = kini_lock_ready},
    [KINI_OBJECT_SEMAPHORE] = {.holder_died = kini_semaphore_holder_died,
                               .waitq = kini_semaphore_waitq,
                               .ready = kini_semaphore_ready},
    [KINI_OBJECT_EVENT] = {.holder_died = kini_event_holder_died,
                           .waitq = kini_event_waitq,
                           .ready = kini_event_ready},
    [KINI_OBJECT_CONDITION] = {.holder_died = kini_condition_holder_died},
    [KINI_OBJECT_BARRIER] = {.holder_died = kini_barrier_holder_died},
    [KINI_OBJECT_RWLOCK] = {.holder_died = kini_rwlock_holder_died},
    [KINI_OBJECT_ONCE] = {.holder_died = kini_lock_holder_died},
    [KINI_OBJECT_PIPE] = {.destroy = kini_pipe_object_destroy},
    [KINI_OBJECT_PIPE_END] = {.destroy = kini_pipe_end_destroy,
                              .waitq = kini_pipe_waitq,
                              .ready = kini_pipe_ready},
    [KINI_OBJECT_VALUE] = {.destroy = kini_items_destroy, .holder_died = kini_items_holder_died},
    [KINI_OBJECT_ARRAY] = {.destroy = kini_items_destroy, .holder_died = kini_items_holder_died},
};

static const struct kini_counted *const counted[KINI_OBJECT_TYPES] = {
    [KINI_OBJECT_SEMAPHORE] = &kini_semaphore_counted,
    [KINI_OBJECT_RWLOCK] = &kini_rwlock_counted,
};

const struct kini_counted *kini_counted_of(uint32_t type)
{
    return type < KINI_OBJECT_TYPES ? counted[type] : NULL;
}

int kini_operation_repair(struct kini_self *self, struct kini_thread_shm *dead)
{
    if (KINI_OP_CODE(kini_load(&dead->op)) == KINI_OP_HOLD)
        return kini_hold_repair(self, dead);
    if (KINI_OP_CODE(kini_load(&dead->op)) == KINI_OP_COPY)
        return 0; /* it stays until the message is back: kini_store_holder_died */
    return kini_ring_repair(self, dead);
}
