/* SPDX-License-Identifier: MIT
 * The one place where the layers meet: what the arena's reaper calls for the locks and objects of
 * the layers above it, so that no layer includes one above itself. */
#include "arena/arena.h"
#include "arena/block.h"
#include "chan/ring.h"
#include "sync/wait.h"
#include "task/pool.h"

const kini_repair_fn kini_repairs[KINI_ILOCK_KINDS] = {
    [KINI_ILOCK_SPANS] = kini_span_repair,
    [KINI_ILOCK_OBJECTS] = NULL, /* its writes are ordered so that a prefix is whole */
    [KINI_ILOCK_WAITQ] = kini_waitq_repair,
    [KINI_ILOCK_QUEUE] = kini_queue_journal_repair,
};

const struct kini_type_ops kini_types[KINI_OBJECT_TYPES] = {
    [KINI_OBJECT_QUEUE] = {.destroy = kini_queue_object_destroy},
    [KINI_OBJECT_POOL] = {.destroy = kini_pool_object_destroy},
};
