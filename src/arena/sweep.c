/* SPDX-License-Identifier: MIT
 * After a death: free what the dead had in its hands. Runs after its journals and its queue
 * operations were repaired, never before: until then a block that looks private may be the last
 * trace of a message. Idempotent: a sweeper that dies is followed by another. */
#include "arena/block.h"
#include "arena/ilock.h"

/* Whether the header says that the block is the dead's and nobody else needs it. */
static bool is_garbage(struct kini_self *self, struct kini_block_shm *header, uint64_t word,
                       uint32_t slot)
{
    if (KINI_BLOCK_SLOT(word) != slot)
        return false;
    if (KINI_BLOCK_STATE(word) == KINI_BLOCK_PRIVATE)
        return true;
    if (KINI_BLOCK_STATE(word) == KINI_BLOCK_TAKEN)
        return true; /* its queue is gone */
    /* A consumer writes PRIVATE(itself) before it releases the cell: a header that still says
     * QUEUED by the dead, whose cell has moved on, was never published. */
    return KINI_BLOCK_STATE(word) == KINI_BLOCK_QUEUED &&
           !kini_ring_carries(self->arena, KINI_BLOCK_TAG(word), kini_load(&header->position));
}

/* Both under the span lock: as long as it is held the unit cannot be freed and used for something
 * else, so what looks like a header is one. */
static void sweep_small(struct kini_self *self, uint32_t unit, uint32_t class, uint32_t slot)
{
    const uint32_t size = kini_class_bytes(class);
    uint32_t freed = 0;
    for (uint32_t at = 0; at + size <= KINI_UNIT_BYTES; at += size) {
        struct kini_block_shm *header =
            kini_at(self->arena, kini_unit_offset(self->arena, unit) + at);
        uint64_t word = kini_load_acq(&header->word);
        if (is_garbage(self, header, word, slot) && kini_cas(&header->word, &word, 0))
            freed++;
    }
    kini_add(&self->arena->spans[unit].remote_free, freed);
}

/* True if the block is ours now, to be freed. */
static bool take_large(struct kini_self *self, uint32_t unit, uint32_t slot)
{
    uint64_t off = kini_unit_offset(self->arena, unit) + KINI_LARGE_PREFIX;
    struct kini_block_shm *header = kini_block_header(self->arena, off);
    uint64_t word = kini_load_acq(&header->word);
    if (!is_garbage(self, header, word, slot))
        return false;
    kini_block_touch(self, off);
    return kini_cas(&header->word, &word, KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, self->slot, 0));
}

static bool thread_of(struct kini_self *self, uint32_t index, uint32_t slot)
{
    if (index == 0 || index >= kini_load(&self->arena->super->threads_high))
        return false;
    uint64_t state = kini_load_acq(&self->arena->threads[index].state);
    return (state & 1) && KINI_THREAD_SLOT(state) == slot;
}

static bool was_touched(struct kini_self *self, uint32_t unit, uint32_t slot)
{
    uint32_t bit = unit % (KINI_TOUCHED_WORDS * 64);
    return kini_load(&self->arena->participants[slot].touched[bit / 64]) >> (bit % 64) & 1;
}

enum after { NOTHING, PUT_LARGE, FREE_CLAIMED, RECLAIM };

static enum after sweep_locked(struct kini_self *self, uint32_t unit, uint32_t slot)
{
    struct kini_span_shm *span = &self->arena->spans[unit];
    uint32_t state = kini_load_acq(&span->state), owner = kini_load_acq(&span->owner);
    bool touched = was_touched(self, unit, slot);
    switch (KINI_SPAN_KIND(state)) {
    case KINI_SPAN_LARGE:
        return touched && take_large(self, unit, slot) ? PUT_LARGE : NOTHING;
    case KINI_SPAN_SMALL:
        if (touched)
            sweep_small(self, unit, KINI_SPAN_CLASS(state), slot);
        if (!thread_of(self, owner, slot))
            return owner == 0 ? RECLAIM : NOTHING;
        kini_store_rel(&span->owner, 0);
        kini_add(&self->arena->super->orphan_spans, 1);
        return RECLAIM;
    case KINI_SPAN_CLAIMED:
        if (!thread_of(self, owner, slot))
            return NOTHING;
        kini_store(&span->owner, self->index); /* CLAIMED by us from here on */
        return FREE_CLAIMED;
    default:
        return NOTHING;
    }
}

static void sweep_unit(struct kini_self *self, uint32_t unit, uint32_t slot)
{
    uint32_t kind = KINI_SPAN_KIND(kini_load(&self->arena->spans[unit].state));
    if (kind == KINI_SPAN_FREE || kind == KINI_SPAN_CONT)
        return;
    kini_ilock_lock(self, &self->arena->super->span_lock);
    enum after after = sweep_locked(self, unit, slot);
    kini_ilock_unlock(self, &self->arena->super->span_lock);
    if (after == PUT_LARGE)
        kini_block_put(self, kini_unit_offset(self->arena, unit) + KINI_LARGE_PREFIX);
    if (after == FREE_CLAIMED)
        kini_span_free(self, unit);
    if (after == RECLAIM)
        kini_span_reclaim_orphan(self, unit);
}

void kini_sweep(struct kini_self *self, uint32_t slot)
{
    const struct kin_arena *arena = self->arena;
    uint32_t high = kini_load_acq(&arena->super->units_high), unit = 0;
    while ((unit = kini_span_next(arena, unit, high)) < high)
        sweep_unit(self, unit++, slot);
}

/* --- messages that were taken --------------------------------------------------------------- */

static bool is_taken(uint64_t word, uint32_t slot, uint32_t tag)
{
    return KINI_BLOCK_STATE(word) == KINI_BLOCK_TAKEN && KINI_BLOCK_SLOT(word) == slot &&
           (tag == 0 || KINI_BLOCK_TAG(word) == tag);
}

/* The next block from byte *at of a unit on that slot has taken, or 0. Under the span lock. */
static uint64_t find_taken(struct kini_self *self, uint32_t unit, uint32_t slot, uint32_t tag,
                           uint32_t *at)
{
    uint32_t state = kini_load_acq(&self->arena->spans[unit].state);
    bool small = KINI_SPAN_KIND(state) == KINI_SPAN_SMALL;
    uint32_t size = small ? kini_class_bytes(KINI_SPAN_CLASS(state)) : KINI_UNIT_BYTES;
    if (!small && KINI_SPAN_KIND(state) != KINI_SPAN_LARGE)
        return 0;
    while (*at + size <= KINI_UNIT_BYTES) {
        uint64_t block = kini_unit_offset(self->arena, unit) + *at +
                         (small ? sizeof(struct kini_block_shm) : KINI_LARGE_PREFIX);
        *at += size;
        if (is_taken(kini_load_acq(&kini_block_header(self->arena, block)->word), slot, tag))
            return block;
    }
    return 0;
}

static void give_one_back(struct kini_self *self, uint64_t block, uint32_t slot)
{
    uint64_t word = kini_load_acq(&kini_block_header(self->arena, block)->word);
    uint32_t tag = KINI_BLOCK_TAG(word);
    struct kini_object_shm *object = &self->arena->objects[tag & 0xffff];
    if (!is_taken(word, slot, tag) || !kini_object_is_held(self->arena, slot, tag))
        return;
    uint32_t type = KINI_OBJECT_TYPE(kini_load_acq(&object->state));
    if (type < KINI_OBJECT_TYPES && kini_types[type].give_back != NULL)
        kini_types[type].give_back(self, kini_load(&object->offset), block, word);
}

static void give_unit_back(struct kini_self *self, uint32_t unit, uint32_t slot, uint32_t tag)
{
    uint32_t at = 0;
    uint64_t block;
    do {
        kini_ilock_lock(self, &self->arena->super->span_lock);
        block = find_taken(self, unit, slot, tag, &at);
        kini_ilock_unlock(self, &self->arena->super->span_lock);
        if (block != 0)
            give_one_back(self, block, slot);
    } while (block != 0);
}

void kini_give_back(struct kini_self *self, uint32_t slot, uint32_t tag)
{
    uint32_t high = kini_load_acq(&self->arena->super->units_high);
    if (kini_load(&self->arena->participants[slot].takes) == 0)
        return;
    uint32_t unit = 0;
    for (; (unit = kini_span_next(self->arena, unit, high)) < high; unit++)
        if (was_touched(self, unit, slot))
            give_unit_back(self, unit, slot, tag);
}
