/* SPDX-License-Identifier: MIT
 * The handle of a value. */
#ifndef KINI_VALUE_H
#define KINI_VALUE_H

#include "coll/items.h"

struct kin_value {
    struct kini_items items;
};

/* After every change. */
static inline void kini_value_changed(struct kin_value *value)
{
    struct kini_items_shm *shm = value->items.handle.shm;
    kini_waitq_nudge(value->items.handle.arena, &shm->waiters, UINT32_MAX);
}

#endif
