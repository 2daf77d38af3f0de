/* SPDX-License-Identifier: MIT
 * What value and array have in common: the block, its own rlock, the handle. Layout:
 * items_layout.h. */
#ifndef KINI_ITEMS_H
#define KINI_ITEMS_H

#include "coll/items_layout.h"
#include "sync/handle.h"

enum kini_item_kind {
    KINI_ITEM_UNKNOWN,
    KINI_ITEM_SIGNED,
    KINI_ITEM_UNSIGNED, /* up to here: integers that can be added */
    KINI_ITEM_BOOL,     /* up to here: integers */
    KINI_ITEM_FLOAT,
    KINI_ITEM_STRUCT
};

/* The handle: private memory. What is const in the layout was copied when it was compared. */
struct kini_items {
    struct kini_handle handle;
    struct kini_handle rlock; /* is_part */
    char *data;
    uint64_t item_bytes, length;
    uint32_t type;
    uint32_t kind; /* enum kini_item_kind */
    bool is_large; /* memory comes where it is touched */
};

/* What is wanted of one. 0: anything. */
struct kini_items_spec {
    uint32_t object_type; /* KINI_OBJECT_VALUE or KINI_OBJECT_ARRAY */
    uint32_t type;
    uint64_t item_bytes, length;
    const void *initial;
    const char *name;
};

/* enum kini_item_kind, and how many bytes one has (0: given with it). */
enum kini_item_kind kini_item_kind(uint32_t type, uint64_t *ret_bytes);

int kini_items_create(struct kin_arena *arena, const struct kini_items_spec *spec,
                      void *ret_handle);
int kini_items_open(struct kin_arena *arena, const struct kini_which *which,
                    const struct kini_items_spec *spec, bool find, void *ret_handle);
/* An array of bytes in a block that is PRIVATE to us, up to end, counted from the start of the
 * block. On an error the block is as it was. */
int kini_items_adopt(struct kin_arena *arena, uint64_t block, uint64_t end, void *ret_handle);
void kini_items_close(struct kini_items *items, uint32_t object_type);
/* Make sure that there is memory behind a range of bytes of the items. */
int kini_items_commit(struct kini_items *items, uint64_t from, uint64_t bytes);

/* NULL: it is closed, or of something else. */
static inline void *kini_items_ptr(struct kini_items *items, uint32_t object_type)
{
    return kini_handle_check(&items->handle, object_type) < 0 ? NULL : items->data;
}

static inline struct kin_rlock *kini_items_rlock(struct kini_items *items, uint32_t object_type)
{
    return kini_handle_check(&items->handle, object_type) < 0 ? NULL
                                                              : (struct kin_rlock *)&items->rlock;
}

/* For the tables in src/types.c */
void kini_items_destroy(struct kini_self *self, uint64_t offset);
void kini_items_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot);

/* Copy by words of 8 bytes, the last one whole: for those who look without a lock. */
void kini_items_copy_words(void *to, const void *from, uint64_t bytes);

#endif
