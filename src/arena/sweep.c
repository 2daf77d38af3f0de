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
    /* A consumer writes PRIVATE(itself) before it releases the cell: a header that still says
     * QUEUED by the dead, whose cell has moved on, was never published. */
    return KINI_BLOCK_STATE(word) == KINI_BLOCK_QUEUED &&
           !kini_ring_carries(self->arena, KINI_BLOCK_TAG(word), kini_load(&header->position));
}

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

static void sweep_large(struct kini_self *self, uint32_t unit, uint32_t slot)
{
    uint64_t off = kini_unit_offset(self->arena, unit) + KINI_LARGE_PREFIX;
    struct kini_block_shm *header = kini_block_header(self->arena, off);
    uint64_t word = kini_load_acq(&header->word);
    if (!is_garbage(self, header, word, slot))
        return;
    kini_block_touch(self, off);
    if (kini_cas(&header->word, &word, KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, self->slot, 0)))
        kini_block_put(self, off);
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

static void sweep_unit(struct kini_self *self, uint32_t unit, uint32_t slot)
{
    struct kini_span_shm *span = &self->arena->spans[unit];
    uint32_t state = kini_load_acq(&span->state), owner = kini_load(&span->owner);
    switch (KINI_SPAN_KIND(state)) {
    case KINI_SPAN_LARGE:
        if (was_touched(self, unit, slot))
            sweep_large(self, unit, slot);
        break;
    case KINI_SPAN_SMALL:
        if (was_touched(self, unit, slot))
            sweep_small(self, unit, KINI_SPAN_CLASS(state), slot);
        if (thread_of(self, owner, slot)) {
            kini_store_rel(&span->owner, 0);
            kini_add(&self->arena->super->orphan_spans, 1);
            owner = 0;
        }
        if (owner == 0)
            kini_span_reclaim_orphan(self, unit);
        break;
    case KINI_SPAN_CLAIMED:
        if (thread_of(self, owner, slot)) {
            kini_span_claim(self, unit);
            kini_span_free(self, unit);
        }
        break;
    default:
        break;
    }
}

void kini_sweep(struct kini_self *self, uint32_t slot)
{
    uint32_t high = kini_load_acq(&self->arena->super->units_high);
    for (uint32_t unit = 0; unit < high; unit++)
        sweep_unit(self, unit, slot);
}
