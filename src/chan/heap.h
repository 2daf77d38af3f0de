/* SPDX-License-Identifier: MIT
 * The heap of a store: what must happen under its lock. Layout and crash states: store_layout.h. */
#ifndef KINI_HEAP_H
#define KINI_HEAP_H

#include "arena/block.h"
#include "chan/queue_layout.h"
#include "chan/store_layout.h"

static inline struct kini_store_shm *kini_store_of(const struct kin_arena *arena,
                                                   const struct kini_queue_shm *queue)
{
    return kini_at(arena, queue->store_off);
}

static inline struct kini_entry_shm *kini_heap_entries(const struct kin_arena *arena,
                                                       struct kini_store_shm *store)
{
    return kini_at(arena, kini_load(&store->heap) + KINI_HEAP_PREFIX);
}

/* A block for a heap, PRIVATE to us. */
int kini_heap_block(struct kini_self *self, uint64_t cap, uint64_t *ret_block);

/* Under the lock. Put in a message whose block is PRIVATE to us; there must be room. */
void kini_heap_push(struct kini_self *self, struct kini_store_shm *store, uint32_t tag,
                    uint64_t block);
/* Under the lock: the first message is TAKEN by us. There must be one. */
uint64_t kini_heap_pop(struct kini_self *self, struct kini_store_shm *store, uint32_t tag);

/* Without the lock: from one number of entries to another, unless somebody else was quicker. */
int kini_heap_resize(struct kini_self *self, struct kini_store_shm *store, uint32_t tag,
                     uint64_t from, uint64_t to);

/* Whether a heap of so many entries can be at that offset. */
bool kini_heap_has(const struct kin_arena *arena, uint64_t heap, uint64_t count);
/* And whether each of them but the hole, which is one of them, names a message. */
bool kini_heap_is_whole(const struct kin_arena *arena, uint64_t heap, uint64_t count,
                        uint64_t hole);
bool kini_heap_is_good(const struct kin_arena *arena, struct kini_store_shm *store, uint32_t tag);

/* For the repair of the journal. The block that was popped is returned and not looked at. */
void kini_heap_finish_push(struct kini_self *self, struct kini_store_shm *store, uint32_t tag);
uint64_t kini_heap_finish_pop(struct kini_self *self, struct kini_store_shm *store);
void kini_heap_finish_resize(struct kini_self *self, struct kini_store_shm *store, uint32_t tag);

#endif
