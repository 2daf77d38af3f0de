/* SPDX-License-Identifier: MIT
 * The value: created, found, copied under its rlock, waited for. Protocol: items_layout.h. */
#include "coll/value.h"
#include "base/error.h"
#include "coll/word.h"
#include "sync/rlock.h"

#include <kin/value.h>

static int copy_opts(const struct kin_value_opts *given, struct kini_items_spec *ret_spec)
{
    struct kin_value_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    *ret_spec = (struct kini_items_spec){.object_type = KINI_OBJECT_VALUE,
                                         .type = opts.type,
                                         .item_bytes = opts.value_bytes,
                                         .length = 1,
                                         .initial = opts.initial,
                                         .name = opts.name};
    return r;
}

int kin_value_create(struct kin_arena *arena, const struct kin_value_opts *given,
                     struct kin_value **ret_value)
{
    struct kini_items_spec spec;
    int r = copy_opts(given, &spec);
    return r < 0 ? r : kini_items_create(arena, &spec, ret_value);
}

int kin_value_open(struct kin_arena *arena, const char *name, const struct kin_value_opts *given,
                   struct kin_value **ret_value)
{
    struct kini_items_spec spec;
    int r = copy_opts(given, &spec);
    return r < 0 ? r : kini_items_open(arena, KINI_BY_NAME(name), &spec, false, ret_value);
}

static const struct kini_items_spec any = {.object_type = KINI_OBJECT_VALUE};

int kin_value_find(struct kin_arena *arena, const char *name, struct kin_value **ret_value)
{
    return kini_items_open(arena, KINI_BY_NAME(name), &any, true, ret_value);
}

int kin_value_inherit(struct kin_arena *arena, uint32_t position, struct kin_value **ret_value)
{
    return kini_items_open(arena, KINI_BY_POSITION(position), &any, true, ret_value);
}

void kin_value_destroy(struct kin_value *value)
{
    kini_items_close((struct kini_items *)value, KINI_OBJECT_VALUE);
}

/* --- questions ------------------------------------------------------------------------------ */

int kin_value_type(struct kin_value *value)
{
    int r = kini_handle_check(&value->items.handle, KINI_OBJECT_VALUE);
    return r < 0 ? r : (int)value->items.type;
}

int64_t kin_value_bytes(struct kin_value *value)
{
    int r = kini_handle_check(&value->items.handle, KINI_OBJECT_VALUE);
    return r < 0 ? r : (int64_t)value->items.item_bytes;
}

void *kin_value_ptr(struct kin_value *value)
{
    return kini_items_ptr(&value->items, KINI_OBJECT_VALUE);
}

struct kin_rlock *kin_value_rlock(struct kin_value *value)
{
    return kini_items_rlock(&value->items, KINI_OBJECT_VALUE);
}

/* --- under the rlock -------------------------------------------------------------------------- */

/* The calling thread, which holds the rlock then; *ret_how is 0 or KIN_ABANDONED. */
static struct kini_self *lock(struct kin_value *value, kin_deadline deadline, int *ret_how)
{
    struct kini_self *self = kini_handle_enter(&value->items.handle, KINI_OBJECT_VALUE, ret_how);
    if (self == NULL)
        return NULL;
    *ret_how = kini_rlock_acquire(self, &value->items.rlock, deadline, true);
    return *ret_how < 0 ? NULL : self;
}

static int unlock(struct kini_self *self, struct kin_value *value, int how)
{
    int r = kini_rlock_release(self, value->items.handle.shm);
    return r < 0 ? r : how;
}

int kin_value_get(struct kin_value *value, kin_deadline deadline, void *ret_bytes)
{
    int r;
    struct kini_items *items = &value->items;
    struct kini_self *self = lock(value, deadline, &r);
    if (self == NULL)
        return r;
    if (items->kind == KINI_ITEM_STRUCT)
        memcpy(ret_bytes, items->data, items->item_bytes);
    else
        kini_word_write(ret_bytes, items->item_bytes,
                        kini_word_load(items->data, items->item_bytes));
    return unlock(self, value, r);
}

static void set_struct(struct kini_items *items, const void *bytes)
{
    struct kini_items_shm *shm = items->handle.shm;
    uint64_t line = KINI_DATA_ALIGN;
    char *spare = items->data + (items->item_bytes + line - 1) / line * line;
    memcpy(spare, bytes, items->item_bytes);
    kini_compiler_barrier(); /* enough: only a reaper reads it (docs/crash.rst) */
    kini_store(&shm->half_set, 1);
    kini_compiler_barrier();
    kini_items_copy_words(items->data, spare, items->item_bytes);
    kini_compiler_barrier();
    kini_store(&shm->half_set, 0);
}

int kin_value_set(struct kin_value *value, const void *bytes, kin_deadline deadline)
{
    int r;
    struct kini_items *items = &value->items;
    struct kini_self *self = lock(value, deadline, &r);
    if (self == NULL)
        return r;
    if (items->kind == KINI_ITEM_STRUCT)
        set_struct(items, bytes);
    else
        kini_word_store(items->data, items->item_bytes, kini_word_read(bytes, items->item_bytes));
    r = unlock(self, value, r);
    atomic_thread_fence(memory_order_seq_cst); /* what was stored, then the look at who waits */
    kini_value_changed(value);
    return r;
}

/* --- until it changes ---------------------------------------------------------------------------
 */

struct value_wait {
    struct kini_items *items;
    const void *seen;
};

/* Words, as they are stored; relaxed: the fence pairs with that of kin_value_set. */
static bool struct_differs(struct kini_items *items, const void *seen)
{
    kini_a64 *words = (kini_a64 *)(void *)items->data;
    const char *seen_bytes = seen;
    atomic_thread_fence(memory_order_seq_cst);
    for (uint64_t at = 0; at < items->item_bytes; at += 8) {
        uint64_t word = kini_load(&words[at / 8]), left = items->item_bytes - at;
        if (memcmp(&word, seen_bytes + at, left < 8 ? left : 8) != 0)
            return true;
    }
    return false;
}

static bool differs(struct kini_items *items, const void *seen)
{
    if (items->kind == KINI_ITEM_STRUCT)
        return struct_differs(items, seen);
    return kini_word_load(items->data, items->item_bytes) !=
           kini_word_read(seen, items->item_bytes);
}

static int64_t attempt(struct kini_self *self, void *arg)
{
    (void)self;
    struct value_wait *wait = arg;
    return differs(wait->items, wait->seen) ? 0 : kini_handle_not_yet(&wait->items->handle);
}

int kin_value_wait(struct kin_value *value, const void *seen, kin_deadline deadline)
{
    int r;
    struct kini_items *items = &value->items;
    struct kini_self *self = kini_handle_enter(&items->handle, KINI_OBJECT_VALUE, &r);
    if (kini_unlikely(self == NULL))
        return r;
    if (differs(items, seen))
        return 0;
    if (deadline <= KIN_NOW)
        return -ETIMEDOUT;
    struct kini_items_shm *shm = items->handle.shm;
    struct value_wait wait = {items, seen};
    return (int)kini_handle_wait(self, &items->handle, &shm->waiters, deadline, attempt, &wait);
}

int kin_value_waiting(struct kin_value *value)
{
    int r = kini_handle_check(&value->items.handle, KINI_OBJECT_VALUE);
    struct kini_items_shm *shm = value->items.handle.shm;
    return r < 0 ? r : (int)kini_load_acq(&shm->waiters.nwait);
}

int kin_value_notify(struct kin_value *value)
{
    int r = kini_handle_check(&value->items.handle, KINI_OBJECT_VALUE);
    if (r < 0)
        return r;
    atomic_thread_fence(memory_order_seq_cst); /* what the caller wrote, then who waits */
    kini_value_changed(value);
    return 0;
}
