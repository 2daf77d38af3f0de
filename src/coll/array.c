/* SPDX-License-Identifier: MIT
 * The array: items of one type, copied in and out. Layout: items_layout.h. */
#include <kin/array.h>

#include "base/error.h"
#include "chan/message.h"
#include "coll/items.h"
#include "coll/word.h"

#define FILL_BYTES 4096u

struct kin_array {
    struct kini_items items;
};

static int copy_opts(const struct kin_array_opts *given, struct kini_items_spec *ret_spec)
{
    struct kin_array_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    *ret_spec = (struct kini_items_spec){.object_type = KINI_OBJECT_ARRAY,
                                         .type = opts.type,
                                         .item_bytes = opts.item_bytes,
                                         .length = opts.length,
                                         .initial = opts.initial,
                                         .name = opts.name};
    return r;
}

int kin_array_create(struct kin_arena *arena, const struct kin_array_opts *given,
                     struct kin_array **ret_array)
{
    struct kini_items_spec spec;
    int r = copy_opts(given, &spec);
    return r < 0 ? r : kini_items_create(arena, &spec, ret_array);
}

int kin_array_open(struct kin_arena *arena, const char *name, const struct kin_array_opts *given,
                   struct kin_array **ret_array)
{
    struct kini_items_spec spec;
    int r = copy_opts(given, &spec);
    return r < 0 ? r : kini_items_open(arena, KINI_BY_NAME(name), &spec, false, ret_array);
}

static const struct kini_items_spec any = {.object_type = KINI_OBJECT_ARRAY};

int kin_array_find(struct kin_arena *arena, const char *name, struct kin_array **ret_array)
{
    return kini_items_open(arena, KINI_BY_NAME(name), &any, true, ret_array);
}

int kin_array_inherit(struct kin_arena *arena, uint32_t position, struct kin_array **ret_array)
{
    return kini_items_open(arena, KINI_BY_POSITION(position), &any, true, ret_array);
}

int kin_array_adopt(struct kin_arena *arena, void *data, uint64_t bytes,
                    struct kin_array **ret_array)
{
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    uint64_t block = kini_message_reserved(self, data);
    if (block == 0)
        return kini_fail(-EINVAL, "the memory was not reserved, or is published already");
    uint64_t prefix = sizeof(struct kini_message_shm);
    if (bytes <= KIN_ARRAY_HEAD || bytes > kini_block_room(arena, block) - prefix)
        return kini_fail(-EINVAL, "an array of %llu bytes, head included, in memory for %llu",
                         (unsigned long long)bytes,
                         (unsigned long long)(kini_block_room(arena, block) - prefix));
    return kini_items_adopt(arena, block, prefix + bytes, ret_array);
}

void kin_array_destroy(struct kin_array *array)
{
    kini_items_close((struct kini_items *)array, KINI_OBJECT_ARRAY);
}

/* --- questions ------------------------------------------------------------------------------ */

int kin_array_type(struct kin_array *array)
{
    int r = kini_handle_check(&array->items.handle, KINI_OBJECT_ARRAY);
    return r < 0 ? r : (int)array->items.type;
}

int64_t kin_array_item_bytes(struct kin_array *array)
{
    int r = kini_handle_check(&array->items.handle, KINI_OBJECT_ARRAY);
    return r < 0 ? r : (int64_t)array->items.item_bytes;
}

int64_t kin_array_length(struct kin_array *array)
{
    int r = kini_handle_check(&array->items.handle, KINI_OBJECT_ARRAY);
    return r < 0 ? r : (int64_t)array->items.length;
}

void *kin_array_ptr(struct kin_array *array)
{
    return kini_items_ptr(&array->items, KINI_OBJECT_ARRAY);
}

struct kin_rlock *kin_array_rlock(struct kin_array *array)
{
    return kini_items_rlock(&array->items, KINI_OBJECT_ARRAY);
}

/* --- one item ------------------------------------------------------------------------------- */

static int tell_index(uint64_t index, uint64_t length)
{
    return kini_fail(-ERANGE, "index %llu of %llu", (unsigned long long)index,
                     (unsigned long long)length);
}

/* Check the handle and the index, find memory: 0, and where the item is. */
static inline int find_item(struct kin_array *array, uint64_t index, void **ret_item)
{
    struct kini_items *items = &array->items;
    *ret_item = NULL; /* as in find_range */
    int r = kini_handle_check(&items->handle, KINI_OBJECT_ARRAY);
    if (kini_unlikely(r < 0))
        return r;
    if (kini_unlikely(index >= items->length))
        return tell_index(index, items->length);
    *ret_item = items->data + index * items->item_bytes;
    return kini_items_commit(items, index * items->item_bytes, items->item_bytes);
}

int kin_array_get(struct kin_array *array, uint64_t index, void *ret_item)
{
    void *item;
    int r = find_item(array, index, &item);
    if (kini_unlikely(r < 0))
        return r;
    uint64_t bytes = array->items.item_bytes;
    if (kini_is_word(bytes))
        kini_word_write(ret_item, bytes, kini_word_load(item, bytes));
    else
        memcpy(ret_item, item, bytes);
    return 0;
}

int kin_array_set(struct kin_array *array, uint64_t index, const void *new_item)
{
    void *item;
    int r = find_item(array, index, &item);
    if (kini_unlikely(r < 0))
        return r;
    uint64_t bytes = array->items.item_bytes;
    if (kini_is_word(bytes))
        kini_word_store(item, bytes, kini_word_read(new_item, bytes));
    else
        memcpy(item, new_item, bytes);
    return 0;
}

/* --- many ----------------------------------------------------------------------------------- */

static int tell_range(uint64_t first, uint64_t count, uint64_t length)
{
    return kini_fail(-ERANGE, "%llu items from index %llu on, of %llu", (unsigned long long)count,
                     (unsigned long long)first, (unsigned long long)length);
}

static int find_range(struct kin_array *array, uint64_t first, uint64_t count, char **ret_items)
{
    struct kini_items *items = &array->items;
    *ret_items = NULL; /* gcc -O3 does not see that the result says whether it is set */
    int r = kini_handle_check(&items->handle, KINI_OBJECT_ARRAY);
    if (r < 0)
        return r;
    if (first > items->length || count > items->length - first)
        return tell_range(first, count, items->length);
    *ret_items = items->data + first * items->item_bytes;
    return kini_items_commit(items, first * items->item_bytes, count * items->item_bytes);
}

int kin_array_commit(struct kin_array *array, uint64_t first, uint64_t count)
{
    char *items;
    return find_range(array, first, count, &items);
}

int kin_array_read(struct kin_array *array, uint64_t first, uint64_t count, void *ret_items)
{
    char *items;
    int r = find_range(array, first, count, &items);
    if (r == 0 && count > 0)
        memmove(ret_items, items, count * array->items.item_bytes);
    return r;
}

int kin_array_write(struct kin_array *array, uint64_t first, uint64_t count, const void *new_items)
{
    char *items;
    int r = find_range(array, first, count, &items);
    if (r == 0 && count > 0)
        memmove(items, new_items, count * array->items.item_bytes);
    return r;
}

/* Doubling what is there, up to what a cache holds; then that again and again. */
static void fill(char *items, uint64_t bytes, const void *item, uint64_t item_bytes)
{
    uint64_t done = item_bytes, most = item_bytes;
    memcpy(items, item, item_bytes);
    while (done < bytes) {
        uint64_t part = done < FILL_BYTES ? done : most;
        if (part > bytes - done)
            part = bytes - done;
        memcpy(items + done, items, part);
        done += part;
        most = most < FILL_BYTES ? done : most;
    }
}

int kin_array_fill(struct kin_array *array, uint64_t first, uint64_t count, const void *item)
{
    char *items;
    int r = find_range(array, first, count, &items);
    if (r == 0 && count > 0)
        fill(items, count * array->items.item_bytes, item, array->items.item_bytes);
    return r;
}
