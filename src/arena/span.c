/* SPDX-License-Identifier: MIT
 * Runs of 64 KiB units: first fit over a bitmap, under the span lock.
 *
 * Truth is the span table; the bitmap of used units mirrors it. Journal of the span lock:
 *   RUN_ALLOC(first, count)  undone: the run ends FREE (its thread never heard of it)
 *   RUN_FREE(first, count)   redone: the run ends FREE
 * Memory is put behind a run after the lock is released: a system call must not stop the others. */
#include "arena/block.h"
#include "arena/ilock.h"
#include "arena/keep.h"
#include "base/bits.h"

#include <errno.h>

enum { RUN_ALLOC = 1, RUN_FREE = 2 };

static bool bit_get(kini_a64 *map, uint32_t unit)
{
    return kini_load(&map[unit / 64]) >> (unit % 64) & 1;
}

static void bits_change(kini_a64 *map, uint32_t first, uint32_t count, bool value)
{
    for (uint32_t unit = first; unit < first + count;) {
        uint32_t n = (uint32_t)kini_min(64 - unit % 64, first + count - unit);
        uint64_t mask = (n == 64 ? ~0ull : (1ull << n) - 1) << (unit % 64);
        if (value)
            kini_or(&map[unit / 64], mask);
        else
            kini_and(&map[unit / 64], ~mask);
        unit += n;
    }
}

/* The first unit of count free ones, or units_count. Whole words of used units are skipped. */
static uint32_t find_run(struct kin_arena *arena, uint32_t count)
{
    const uint32_t end = (uint32_t)arena->super->units_count;
    uint32_t run = 0;
    for (uint32_t unit = kini_load(&arena->super->free_hint); unit < end;) {
        uint64_t word = kini_load(&arena->free_map[unit / 64]);
        if (unit % 64 == 0 && word == ~0ull) {
            run = 0;
            unit += 64;
        } else if (unit % 64 == 0 && word == 0 && run + 64 <= count && unit + 64 <= end) {
            run += 64;
            unit += 64;
        } else {
            run = word >> (unit % 64) & 1 ? 0 : run + 1;
            unit++;
        }
        if (run == count)
            return unit - count;
    }
    return end;
}

uint32_t kini_span_next(const struct kin_arena *arena, uint32_t unit, uint32_t high)
{
    for (; unit < high; unit += 64 - unit % 64) {
        uint64_t word = kini_load_acq(&arena->free_map[unit / 64]) >> (unit % 64);
        if (word != 0)
            return (uint32_t)kini_min(high, unit + (uint32_t)__builtin_ctzll(word));
    }
    return high;
}

static void mark_free(struct kin_arena *arena, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        kini_store(&arena->spans[first + i].state, KINI_SPAN_STATE(KINI_SPAN_FREE, 0));
    bits_change(arena->free_map, first, count, false);
    if (kini_load(&arena->super->free_hint) > first)
        kini_store(&arena->super->free_hint, first);
}

void kini_span_repair(struct kini_self *self, struct kini_ilock_shm *lock)
{
    if (lock != &self->arena->super->span_lock)
        return; /* damaged: there is no other */
    uint32_t first = (uint32_t)kini_load(&lock->arg[0]), count = (uint32_t)kini_load(&lock->arg[1]);
    mark_free(self->arena, first, count);
}

/* The entries of a run that was found, under the lock. */
static void mark_claimed(struct kini_self *self, uint32_t first, uint32_t count)
{
    struct kin_arena *arena = self->arena;
    kini_store(&arena->spans[first].count, count);
    kini_store(&arena->spans[first].owner, self->index);
    kini_store(&arena->spans[first].remote_free, 0);
    for (uint32_t i = 1; i < count; i++) {
        kini_store(&arena->spans[first + i].count, i);
        kini_store(&arena->spans[first + i].state, KINI_SPAN_STATE(KINI_SPAN_CONT, 0));
    }
    kini_store(&arena->spans[first].state, KINI_SPAN_STATE(KINI_SPAN_CLAIMED, 0));
    bits_change(arena->free_map, first, count, true);
    if (kini_load(&arena->super->free_hint) == first)
        kini_store(&arena->super->free_hint, first + count);
    kini_raise32(&arena->super->units_high, first + count);
}

static int claim_run(struct kini_self *self, uint32_t count, uint32_t *ret_unit)
{
    struct kin_arena *arena = self->arena;
    struct kini_super_shm *super = arena->super;
    struct kini_ilock_shm *lock = &super->span_lock;
    kini_ilock_lock(self, lock);
    uint32_t first = find_run(arena, count);
    int r = 0;
    if (first >= super->units_count)
        r = kini_fail(
            -ENOMEM, "no room for %llu bytes in an arena of %llu (reserve_bytes, RLIMIT_AS)",
            (unsigned long long)count * KINI_UNIT_BYTES, (unsigned long long)super->reserve_bytes);
    if (r == 0)
        r = kini_table_commit(arena, super->spans_off, &super->spans_committed,
                              (first + (uint64_t)count) * sizeof(struct kini_span_shm),
                              super->units_count * sizeof(struct kini_span_shm));
    if (r == 0) {
        kini_store(&lock->arg[0], first);
        kini_store(&lock->arg[1], count);
        kini_journal_begin(lock, RUN_ALLOC);
        mark_claimed(self, first, count);
        kini_journal_end(lock);
        *ret_unit = first;
    }
    kini_ilock_unlock(self, lock);
    return r;
}

int kini_span_commit(struct kin_arena *arena, uint32_t unit, uint32_t count)
{
    uint32_t end = unit + count;
    while (unit < end) {
        uint32_t from = unit;
        while (unit < end && !bit_get(arena->commit_map, unit))
            unit++;
        if (unit > from) {
            int r = kini_arena_commit(arena, kini_unit_offset(arena, from),
                                      (uint64_t)(unit - from) * KINI_UNIT_BYTES);
            if (r < 0)
                return r;
            bits_change(arena->commit_map, from, unit - from, true);
        }
        while (unit < end && bit_get(arena->commit_map, unit))
            unit++;
    }
    return 0;
}

uint32_t kini_span_committed(const struct kin_arena *arena, uint32_t first, uint32_t count)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        n += bit_get(arena->commit_map, first + i);
    return n;
}

void kini_span_give_back(struct kin_arena *arena, uint32_t first, uint32_t count)
{
    bits_change(arena->commit_map, first, count, false); /* before the memory goes */
    kini_compiler_barrier();
    kini_os_memory_release(kini_at(arena, kini_unit_offset(arena, first)),
                           (uint64_t)count * KINI_UNIT_BYTES);
}

int kini_span_take(struct kini_self *self, uint32_t count, bool commit, uint32_t *ret_unit)
{
    struct kin_arena *arena = self->arena;
    int r = kini_refuse_vfork(self);
    if (r < 0)
        return r;
    r = claim_run(self, count, ret_unit);
    if (r == -ENOMEM) { /* what nobody uses may be in the way */
        kini_block_caches_trim(self);
        kini_span_reclaim_orphans(self);
        r = claim_run(self, count, ret_unit);
    }
    if (r < 0)
        return r;
    kini_keep_cached(arena, 0, kini_span_committed(arena, *ret_unit, count));
    if (commit)
        r = kini_span_commit(arena, *ret_unit, count);
    else
        kini_span_give_back(arena, *ret_unit, count);
    if (r < 0)
        kini_span_free(self, *ret_unit);
    else if (commit)
        kini_keep_taken(arena, count);
    return r;
}

void kini_span_publish(struct kini_self *self, uint32_t unit, uint32_t state)
{
    /* rel pairs with the acquire in the sweeper: it sees the headers that were written before */
    kini_store_rel(&self->arena->spans[unit].state, state);
}

void kini_span_claim(struct kini_self *self, uint32_t unit)
{
    kini_store(&self->arena->spans[unit].owner, self->index);
    kini_compiler_barrier();
    kini_store_rel(&self->arena->spans[unit].state, KINI_SPAN_STATE(KINI_SPAN_CLAIMED, 0));
}

static void free_run(struct kini_self *self, uint32_t unit)
{
    struct kin_arena *arena = self->arena;
    struct kini_ilock_shm *lock = &arena->super->span_lock;
    uint32_t count = kini_load(&arena->spans[unit].count);
    kini_ilock_lock(self, lock);
    kini_store(&lock->arg[0], unit);
    kini_store(&lock->arg[1], count);
    kini_journal_begin(lock, RUN_FREE);
    mark_free(arena, unit, count);
    kini_journal_end(lock);
    kini_ilock_unlock(self, lock);
}

/* The first run of free units with memory from *from on, CLAIMED by us; 0: there is none. */
static uint32_t claim_cached(struct kini_self *self, uint32_t *from, uint32_t *ret_unit)
{
    struct kin_arena *arena = self->arena;
    struct kini_ilock_shm *lock = &arena->super->span_lock;
    kini_ilock_lock(self, lock);
    uint32_t high = kini_load(&arena->super->units_high), unit = *from, count = 0;
    while (unit < high && (bit_get(arena->free_map, unit) || !bit_get(arena->commit_map, unit)))
        unit++;
    while (unit + count < high && !bit_get(arena->free_map, unit + count) &&
           bit_get(arena->commit_map, unit + count))
        count++;
    if (count > 0) {
        kini_store(&lock->arg[0], unit);
        kini_store(&lock->arg[1], count);
        kini_journal_begin(lock, RUN_ALLOC);
        mark_claimed(self, unit, count);
        kini_journal_end(lock);
    }
    kini_ilock_unlock(self, lock);
    *ret_unit = unit;
    *from = unit + count;
    return count;
}

static void trim_to(struct kini_self *self, uint32_t units)
{
    struct kin_arena *arena = self->arena;
    uint32_t from = 0, unit, count;
    while (kini_load(&arena->super->cached_units) > units &&
           (count = claim_cached(self, &from, &unit)) > 0) {
        kini_keep_cached(arena, 0, count);
        kini_span_give_back(arena, unit, count);
        free_run(self, unit);
    }
}

void kini_span_trim(struct kini_self *self)
{
    kini_keep_recount(self->arena);
    trim_to(self, KINI_KEEP_UNITS);
}

void kini_span_free(struct kini_self *self, uint32_t unit)
{
    struct kin_arena *arena = self->arena;
    uint32_t count = kini_load(&arena->spans[unit].count);
    uint32_t with_memory = kini_span_committed(arena, unit, count);
    kini_keep_freed(arena, with_memory);
    bool keep = kini_keep_is_wanted(arena, with_memory);
    if (with_memory > 0 && !keep)
        kini_span_give_back(arena, unit, count);
    free_run(self, unit);
    if (keep)
        kini_keep_cached(arena, with_memory, 0);
    if (with_memory > KINI_KEEP_UNITS)
        trim_to(self, kini_keep_most(arena));
}

/* An orphan of the class becomes this thread's: its unit, or UINT32_MAX. One store: no journal. */
uint32_t kini_span_adopt_orphan(struct kini_self *self, uint32_t class)
{
    struct kini_super_shm *super = self->arena->super;
    if (kini_load(&super->orphan_spans) == 0)
        return UINT32_MAX;
    const uint32_t wanted = KINI_SPAN_STATE(KINI_SPAN_SMALL, class);
    uint32_t found = UINT32_MAX, orphans = 0;
    kini_ilock_lock(self, &super->span_lock);
    uint32_t high = kini_load(&super->units_high);
    for (uint32_t unit = 0; unit < high; unit++) {
        struct kini_span_shm *span = &self->arena->spans[unit];
        uint32_t state = kini_load(&span->state);
        if (KINI_SPAN_KIND(state) != KINI_SPAN_SMALL || kini_load_acq(&span->owner) != 0)
            continue; /* acq: after the last store of the former owner */
        if (state == wanted && found == UINT32_MAX) {
            kini_store(&span->owner, self->index);
            found = unit;
        } else {
            orphans++;
        }
    }
    kini_store(&super->orphan_spans, orphans); /* the hint is exact for a moment */
    kini_ilock_unlock(self, &super->span_lock);
    return found;
}

bool kini_span_is_empty(struct kini_self *self, uint32_t unit, uint32_t class)
{
    const uint32_t size = kini_class_bytes(class);
    for (uint32_t at = 0; at + size <= KINI_UNIT_BYTES; at += size) {
        struct kini_block_shm *header =
            kini_at(self->arena, kini_unit_offset(self->arena, unit) + at);
        if (KINI_BLOCK_STATE(kini_load_acq(&header->word)) != KINI_BLOCK_FREE)
            return false;
    }
    return true;
}

/* Free an orphan without a used block. While we own it nobody adopts it, and nobody allocates. */
void kini_span_reclaim_orphan(struct kini_self *self, uint32_t unit)
{
    struct kini_super_shm *super = self->arena->super;
    struct kini_span_shm *span = &self->arena->spans[unit];
    kini_ilock_lock(self, &super->span_lock);
    uint32_t state = kini_load(&span->state);
    bool mine = KINI_SPAN_KIND(state) == KINI_SPAN_SMALL && kini_load_acq(&span->owner) == 0;
    if (mine)
        kini_store(&span->owner, self->index);
    kini_ilock_unlock(self, &super->span_lock);
    if (!mine)
        return;
    if (kini_span_is_empty(self, unit, KINI_SPAN_CLASS(state))) {
        kini_span_claim(self, unit);
        kini_span_free(self, unit);
    } else {
        kini_store_rel(&span->owner, 0);
        kini_add(&super->orphan_spans, 1); /* who counted meanwhile did not see it */
    }
}

void kini_span_reclaim_orphans(struct kini_self *self)
{
    uint32_t high = kini_load_acq(&self->arena->super->units_high);
    for (uint32_t unit = 0; unit < high; unit++) {
        struct kini_span_shm *span = &self->arena->spans[unit];
        uint32_t state = kini_load_acq(&span->state);
        if (KINI_SPAN_KIND(state) == KINI_SPAN_SMALL && kini_load_acq(&span->owner) == 0 &&
            kini_span_is_empty(self, unit, KINI_SPAN_CLASS(state)))
            kini_span_reclaim_orphan(self, unit);
    }
}

bool kini_span_is_one_run(const struct kin_arena *arena, uint32_t first, uint32_t last)
{
    struct kini_span_shm *span = &arena->spans[first];
    if (KINI_SPAN_KIND(kini_load_acq(&span->state)) == KINI_SPAN_CONT)
        first -= kini_load(&span->count);
    span = &arena->spans[first];
    return KINI_SPAN_KIND(kini_load_acq(&span->state)) == KINI_SPAN_LARGE &&
           last - first < kini_load(&span->count);
}
