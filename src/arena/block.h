/* SPDX-License-Identifier: MIT
 * The allocator as the layers above use it. Layout and crash states: block_layout.h. */
#ifndef KINI_BLOCK_H
#define KINI_BLOCK_H

#include "arena/arena.h"

static inline struct kini_block_shm *kini_block_header(const struct kin_arena *arena,
                                                       uint64_t payload_off)
{
    return kini_at(arena, payload_off - sizeof(struct kini_block_shm));
}

/* A block of at least bytes, PRIVATE to this participant: its payload's offset. */
int kini_block_get(struct kini_self *self, uint64_t bytes, uint64_t *ret_off);
/* The same, zeroed: whole units, with memory behind the first one only. */
int kini_block_reserve(struct kini_self *self, uint64_t bytes, uint64_t *ret_off);
/* Free a block that is PRIVATE to this participant and known to be one. */
void kini_block_put(struct kini_self *self, uint64_t payload_off);
/* Note that this participant is about to own a block in the unit: before its header says so. */
void kini_block_touch(struct kini_self *self, uint64_t payload_off);
/* Make a block ours, whatever it was: the caller has the right to it. Idempotent. */
void kini_block_adopt(struct kini_self *self, uint64_t payload_off);
void kini_block_give(struct kini_self *self, uint64_t payload_off, uint32_t tag);
/* Payload bytes that a block can hold. */
uint64_t kini_block_room(const struct kin_arena *arena, uint64_t payload_off);
/* The payload offset if ptr is the start of a payload, else 0. */
uint64_t kini_block_check(const struct kin_arena *arena, const void *ptr);
/* Whether a block that holds bytes bytes begins there and is part of that object. For what was
 * found in the arena: offset may be anything. */
/* A block of at least so many bytes begins at that offset, which may be anything. */
bool kini_block_has(const struct kin_arena *arena, uint64_t payload_off, uint64_t bytes);
bool kini_block_is_owned(const struct kin_arena *arena, uint64_t payload_off, uint32_t tag,
                         uint64_t bytes);
void kini_block_caches_release(struct kini_self *self);
/* Give spans back that hold nothing: when idle. */
void kini_block_caches_trim(struct kini_self *self);
uint32_t kini_class_bytes(uint32_t class);

/* --- span.c: runs of units ------------------------------------------------------------------ */

/* A run of count units, CLAIMED by this thread. Without commit no memory is behind it, and it
 * reads as zero. */
int kini_span_take(struct kini_self *self, uint32_t count, bool commit, uint32_t *ret_unit);
/* Publish a claimed run as a large block or as small blocks of one class. */
void kini_span_publish(struct kini_self *self, uint32_t unit, uint32_t state);
/* Free a run that this thread has CLAIMED. */
void kini_span_free(struct kini_self *self, uint32_t unit);
void kini_span_claim(struct kini_self *self, uint32_t unit);
/* Give the memory of free units back, but for what is always kept: when idle. */
void kini_span_trim(struct kini_self *self);
/* Give the memory behind units of ours back to the system; they read as zero afterwards. */
void kini_span_give_back(struct kin_arena *arena, uint32_t first, uint32_t count);
int kini_span_commit(struct kin_arena *arena, uint32_t unit, uint32_t count);
/* The first unit from that one on, below high, that is in use: or high. Without a lock: what a dead
 * one has, after its journal was repaired, is found; what others take or free meanwhile, perhaps.
 */
uint32_t kini_span_next(const struct kin_arena *arena, uint32_t unit, uint32_t high);
/* How many of these units have memory. */
uint32_t kini_span_committed(const struct kin_arena *arena, uint32_t first, uint32_t count);
uint32_t kini_span_adopt_orphan(struct kini_self *self, uint32_t class);
bool kini_span_is_empty(struct kini_self *self, uint32_t unit, uint32_t class);
void kini_span_reclaim_orphan(struct kini_self *self, uint32_t unit);
/* Whether units first to last lie in one large block. */
bool kini_span_is_one_run(const struct kin_arena *arena, uint32_t first, uint32_t last);
/* Free every orphan without a used block: before there is no memory at all. */
void kini_span_reclaim_orphans(struct kini_self *self);
void kini_span_repair(struct kini_self *self, struct kini_ilock_shm *lock);

static inline uint64_t kini_unit_offset(const struct kin_arena *arena, uint32_t unit)
{
    return arena->super->data_off + (uint64_t)unit * KINI_UNIT_BYTES;
}

static inline uint32_t kini_unit_of(const struct kin_arena *arena, uint64_t offset)
{
    return (uint32_t)((offset - arena->super->data_off) / KINI_UNIT_BYTES);
}

/* --- sweep.c -------------------------------------------------------------------------------- */

/* Free what slot had in its hands, and orphan or free the spans of its threads. Its journals and
 * queue operations must have been repaired. */
void kini_sweep(struct kini_self *self, uint32_t slot);
/* Give the messages that slot has taken, of the queue with that tag (0: of all), back to their
 * queues. Before its holds are dropped: they keep the queues alive. */
void kini_give_back(struct kini_self *self, uint32_t slot, uint32_t tag);

#endif
