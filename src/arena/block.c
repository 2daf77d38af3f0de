/* SPDX-License-Identifier: MIT
 * Blocks. Small ones come from spans that belong to one thread: only that thread turns FREE into
 * PRIVATE, so the fast path has no atomic read-modify-write. Span ownership after rpmalloc and
 * mimalloc (Jansson 2016; Leijen, Zorn, de Moura 2019), without their lists in shared memory. */
#include "arena/block.h"
#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 32, 48 … 128, then four sizes a doubling up to 32 KiB. */
uint32_t kini_class_bytes(uint32_t class)
{
    if (class < 7)
        return 32 + class * 16;
    uint32_t group = (class - 7) / 4, step = (class - 7) % 4 + 1;
    return (128u << group) + (32u << group) * step;
}

static uint32_t class_for(uint32_t bytes)
{
    if (bytes <= 128)
        return bytes <= 32 ? 0 : (bytes - 32 + 15) / 16;
    uint32_t group = 31 - (uint32_t)__builtin_clz(bytes - 1) - 7; /* 129…256 is group 0 */
    uint32_t step = ((bytes - 1) >> (5 + group)) - 4;             /* quarter of the doubling */
    return 7 + group * 4 + step;
}

void kini_block_touch(struct kini_self *self, uint64_t payload_off)
{
    uint32_t bit = kini_unit_of(self->arena, payload_off) % (KINI_TOUCHED_WORDS * 64);
    kini_a64 *word = &self->arena->participants[self->slot].touched[bit / 64];
    if (kini_unlikely(!(kini_load(word) >> (bit % 64) & 1)))
        kini_or(word, 1ull << (bit % 64));
    kini_compiler_barrier();
}

static int get_large(struct kini_self *self, uint64_t bytes, bool commit, uint64_t *ret_off)
{
    struct kin_arena *arena = self->arena;
    if (bytes > arena->super->units_count * KINI_UNIT_BYTES - KINI_LARGE_PREFIX)
        return kini_fail(-ENOMEM, "%llu bytes in an arena of %llu (reserve_bytes, RLIMIT_AS)",
                         (unsigned long long)bytes,
                         (unsigned long long)arena->super->reserve_bytes);
    uint64_t count = (bytes + KINI_LARGE_PREFIX + KINI_UNIT_BYTES - 1) / KINI_UNIT_BYTES;
    uint32_t unit;
    int r = kini_span_take(self, (uint32_t)count, commit, &unit);
    if (r < 0)
        return r;
    if (!commit && (r = kini_span_commit(arena, unit, 1)) < 0) {
        kini_span_free(self, unit);
        return r;
    }
    uint64_t off = kini_unit_offset(arena, unit) + KINI_LARGE_PREFIX;
    kini_block_touch(self, off);
    kini_store(&kini_block_header(arena, off)->position, 0);
    kini_store(&kini_block_header(arena, off)->word,
               KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, self->slot, 0));
    kini_span_publish(self, unit, KINI_SPAN_STATE(KINI_SPAN_LARGE, 0));
    *ret_off = off;
    return 0;
}

int kini_block_reserve(struct kini_self *self, uint64_t bytes, uint64_t *ret_off)
{
    return get_large(self, bytes, false, ret_off);
}

static bool add_span(struct kini_class_cache *cache, uint32_t unit)
{
    if (cache->spans_count == cache->spans_room) {
        uint32_t room = cache->spans_room ? cache->spans_room * 2 : 8;
        uint32_t *grown = realloc(cache->spans, room * sizeof *grown);
        if (grown == NULL)
            return false;
        cache->spans = grown;
        cache->spans_room = room;
    }
    cache->cursor_span = cache->spans_count;
    cache->cursor_block = 0;
    cache->spans[cache->spans_count++] = unit;
    return true;
}

/* A new span of the class: an orphan, or fresh units whose headers are all made FREE. */
static int new_span(struct kini_self *self, uint32_t class)
{
    struct kin_arena *arena = self->arena;
    uint32_t unit = kini_span_adopt_orphan(self, class);
    if (unit == UINT32_MAX) {
        int r = kini_span_take(self, 1, true, &unit);
        if (r < 0)
            return r;
        uint32_t size = kini_class_bytes(class);
        for (uint32_t at = 0; at + size <= KINI_UNIT_BYTES; at += size) {
            struct kini_block_shm *header = kini_at(arena, kini_unit_offset(arena, unit) + at);
            kini_store(&header->word, 0);
            kini_store(&header->position, 0);
        }
        kini_span_publish(self, unit, KINI_SPAN_STATE(KINI_SPAN_SMALL, class));
    }
    if (add_span(&self->classes[class], unit))
        return 0;
    kini_store(&arena->spans[unit].owner, 0); /* an orphan for somebody with more memory */
    kini_add(&arena->super->orphan_spans, 1);
    return kini_fail(-ENOMEM, "no memory for a thread's list of spans");
}

/* Collect free blocks of the span under the cursor. */
static void scan(struct kini_self *self, uint32_t class)
{
    struct kini_class_cache *cache = &self->classes[class];
    const uint32_t size = kini_class_bytes(class), blocks = KINI_UNIT_BYTES / size;
    uint64_t base = kini_unit_offset(self->arena, cache->spans[cache->cursor_span]);
    while (cache->cursor_block < blocks && cache->count < KINI_CACHE_BLOCKS) {
        uint64_t at = base + (uint64_t)cache->cursor_block++ * size;
        struct kini_block_shm *header = kini_at(self->arena, at);
        /* acq pairs with the release of whoever freed it */
        if (KINI_BLOCK_STATE(kini_load_acq(&header->word)) == KINI_BLOCK_FREE)
            cache->free[cache->count++] = at + sizeof *header;
    }
}

/* A span is worth scanning again once an eighth of it was freed by others: scanning a full span
 * block by block costs microseconds. */
static bool worth_scanning(struct kini_self *self, uint32_t class, uint32_t span)
{
    kini_a32 *freed = &self->arena->spans[self->classes[class].spans[span]].remote_free;
    if (kini_load(freed) < kini_max(KINI_UNIT_BYTES / kini_class_bytes(class) / 8, 1))
        return false;
    kini_store(freed, 0);
    return true;
}

static int refill(struct kini_self *self, uint32_t class)
{
    struct kini_class_cache *cache = &self->classes[class];
    if (cache->spans_count > 0)
        scan(self, class);
    for (uint32_t i = 1; cache->count == 0 && i <= cache->spans_count; i++) {
        uint32_t span = (cache->cursor_span + 1) % cache->spans_count;
        cache->cursor_span = span;
        cache->cursor_block = UINT32_MAX;
        if (worth_scanning(self, class, span)) {
            cache->cursor_block = 0;
            scan(self, class);
        }
    }
    int r = 0;
    while (cache->count == 0 && (r = new_span(self, class)) == 0)
        scan(self, class);
    /* No memory: a few free blocks may hide in spans that were not worth the time. */
    for (uint32_t i = 0; cache->count == 0 && i < cache->spans_count; i++) {
        cache->cursor_span = i;
        cache->cursor_block = 0;
        scan(self, class);
    }
    return cache->count > 0 ? 0 : r;
}

int kini_block_get(struct kini_self *self, uint64_t bytes, uint64_t *ret_off)
{
    uint64_t size = bytes + sizeof(struct kini_block_shm);
    if (size > KINI_SMALL_MAX || size < bytes)
        return get_large(self, bytes, true, ret_off);
    if (kini_unlikely(self->classes == NULL)) {
        self->classes = calloc(KINI_CLASSES, sizeof self->classes[0]);
        if (self->classes == NULL)
            return kini_fail(-ENOMEM, "no memory for a thread's lists of free blocks");
    }
    uint32_t class = class_for((uint32_t)size);
    struct kini_class_cache *cache = &self->classes[class];
    if (kini_unlikely(cache->count == 0)) {
        int r = refill(self, class);
        if (r < 0)
            return r;
    }
    uint64_t off = cache->free[--cache->count];
    kini_block_touch(self, off);
    kini_store(&kini_block_header(self->arena, off)->word,
               KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, self->slot, 0));
    *ret_off = off;
    return 0;
}

/* --- spans of this thread that it does not need --------------------------------------------- */

static void forget_free_blocks(struct kini_self *self, uint32_t class, uint32_t unit)
{
    struct kini_class_cache *cache = &self->classes[class];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < cache->count; i++)
        if (kini_unit_of(self->arena, cache->free[i]) != unit)
            cache->free[kept++] = cache->free[i];
    cache->count = kept;
}

static void trim_class(struct kini_self *self, uint32_t class, bool all)
{
    struct kini_class_cache *cache = &self->classes[class];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < cache->spans_count; i++) {
        uint32_t unit = cache->spans[i];
        if (kini_span_is_empty(self, unit, class)) {
            forget_free_blocks(self, class, unit);
            kini_span_claim(self, unit);
            kini_span_free(self, unit);
        } else if (all) {
            kini_store_rel(&self->arena->spans[unit].owner, 0);
            kini_add(&self->arena->super->orphan_spans, 1);
        } else {
            cache->spans[kept++] = unit;
        }
    }
    cache->spans_count = kept;
    cache->cursor_span = 0;
    cache->cursor_block = kept ? 0 : UINT32_MAX;
    if (all)
        cache->count = 0;
}

/* Freed more than fits the list of free blocks, by far: half of the spans, and some, may be empty.
 * A trim reads every header of the class, so it comes once for as many frees. */
static void trim_if_many_free(struct kini_self *self, uint32_t class)
{
    struct kini_class_cache *cache = &self->classes[class];
    uint64_t blocks = KINI_UNIT_BYTES / kini_class_bytes(class);
    if (++cache->freed < blocks * (4 + cache->spans_count / 2))
        return;
    cache->freed = 0;
    trim_class(self, class, false);
}

void kini_block_caches_release(struct kini_self *self)
{
    for (uint32_t class = 0; self->classes != NULL && class < KINI_CLASSES; class ++)
        if (self->classes[class].spans_count > 0)
            trim_class(self, class, true);
}

void kini_block_caches_trim(struct kini_self *self)
{
    for (uint32_t class = 0; self->classes != NULL && class < KINI_CLASSES; class ++)
        if (self->classes[class].spans_count > 0)
            trim_class(self, class, false);
    kini_span_trim(self);
}

static void put_small(struct kini_self *self, uint64_t off, struct kini_span_shm *span,
                      uint32_t class)
{
    /* rel: the owner that hands the block out again sees our last use of it */
    kini_store_rel(&kini_block_header(self->arena, off)->word, 0);
    bool own = self->classes != NULL && kini_load(&span->owner) == self->index;
    struct kini_class_cache *cache = own ? &self->classes[class] : NULL;
    if (own && cache->count < KINI_CACHE_BLOCKS) {
        cache->free[cache->count++] = off;
        return;
    }
    kini_add(&span->remote_free, 1);
    if (own)
        trim_if_many_free(self, class);
}

void kini_block_put(struct kini_self *self, uint64_t payload_off)
{
    uint32_t unit = kini_unit_of(self->arena, payload_off);
    struct kini_span_shm *span = &self->arena->spans[unit];
    uint32_t state = kini_load_acq(&span->state);
    if (KINI_SPAN_KIND(state) == KINI_SPAN_SMALL) {
        put_small(self, payload_off, span, KINI_SPAN_CLASS(state));
    } else {
        kini_span_claim(self, unit);
        kini_span_free(self, unit);
    }
}

void kini_block_adopt(struct kini_self *self, uint64_t payload_off)
{
    kini_block_touch(self, payload_off);
    kini_store(&kini_block_header(self->arena, payload_off)->word,
               KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, self->slot, 0));
}

void kini_block_give(struct kini_self *self, uint64_t payload_off, uint32_t tag)
{
    kini_store_rel(&kini_block_header(self->arena, payload_off)->word,
                   KINI_BLOCK_WORD(KINI_BLOCK_OWNED, 0, tag));
}

uint64_t kini_block_room(const struct kin_arena *arena, uint64_t payload_off)
{
    const struct kini_span_shm *span = &arena->spans[kini_unit_of(arena, payload_off)];
    uint32_t state = kini_load_acq(&((struct kini_span_shm *)span)->state);
    if (KINI_SPAN_KIND(state) == KINI_SPAN_SMALL)
        return kini_class_bytes(KINI_SPAN_CLASS(state)) - sizeof(struct kini_block_shm);
    return (uint64_t)kini_load(&((struct kini_span_shm *)span)->count) * KINI_UNIT_BYTES -
           KINI_LARGE_PREFIX;
}

uint64_t kini_block_check(const struct kin_arena *arena, const void *ptr)
{
    uint64_t off = kini_offset(arena, ptr);
    if (off < arena->super->data_off || off >= arena->super->reserve_bytes)
        return 0;
    uint32_t unit = kini_unit_of(arena, off);
    if (unit >= kini_load(&arena->super->units_high))
        return 0;
    uint32_t state = kini_load_acq(&arena->spans[unit].state);
    uint32_t within = (uint32_t)(off - kini_unit_offset(arena, unit));
    if (KINI_SPAN_KIND(state) == KINI_SPAN_LARGE)
        return within == KINI_LARGE_PREFIX ? off : 0;
    if (KINI_SPAN_KIND(state) != KINI_SPAN_SMALL || within < sizeof(struct kini_block_shm))
        return 0;
    return (within - sizeof(struct kini_block_shm)) % kini_class_bytes(KINI_SPAN_CLASS(state)) == 0
               ? off
               : 0;
}

bool kini_block_has(const struct kin_arena *arena, uint64_t payload_off, uint64_t bytes)
{
    uint64_t reserve = arena->super->reserve_bytes;
    if (payload_off >= reserve || kini_block_check(arena, arena->base + payload_off) == 0)
        return false;
    uint64_t room = kini_block_room(arena, payload_off);
    return bytes <= room && room <= reserve - payload_off;
}

bool kini_block_is_owned(const struct kin_arena *arena, uint64_t payload_off, uint32_t tag,
                         uint64_t bytes)
{
    if (!kini_block_has(arena, payload_off, bytes))
        return false;
    uint64_t word = kini_load_acq(&kini_block_header(arena, payload_off)->word);
    return KINI_BLOCK_STATE(word) == KINI_BLOCK_OWNED && KINI_BLOCK_TAG(word) == tag;
}

/* --- public --------------------------------------------------------------------------------- */

static int alloc_public(struct kin_arena *arena, uint64_t bytes, bool commit, void **ret_ptr)
{
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    if (bytes == 0)
        return kini_fail(-EINVAL, "a block of 0 bytes");
    uint64_t off;
    int r = commit ? kini_block_get(self, bytes, &off) : kini_block_reserve(self, bytes, &off);
    if (r == 0)
        *ret_ptr = kini_at(arena, off);
    return r;
}

int kin_block_alloc(struct kin_arena *arena, uint64_t bytes, void **ret_ptr)
{
    return alloc_public(arena, bytes, true, ret_ptr);
}

int kin_block_reserve(struct kin_arena *arena, uint64_t bytes, void **ret_ptr)
{
    return alloc_public(arena, bytes, false, ret_ptr);
}

int kin_block_commit(struct kin_arena *arena, void *ptr, uint64_t bytes)
{
    uint64_t off = kini_offset(arena, ptr), data = arena->super->data_off;
    if (off < data || off >= arena->super->reserve_bytes ||
        bytes > arena->super->reserve_bytes - off || bytes == 0)
        return kini_fail(-EINVAL, "not a range of a block: %llu bytes", (unsigned long long)bytes);
    uint32_t first = kini_unit_of(arena, off), last = kini_unit_of(arena, off + bytes - 1);
    if (last >= kini_load(&arena->super->units_high) || !kini_span_is_one_run(arena, first, last))
        return kini_fail(-EINVAL, "the range reaches beyond its block, or is not of a large one");
    return kini_span_commit(arena, first, last - first + 1);
}

int kin_block_free(struct kin_arena *arena, void *ptr)
{
    if (ptr == NULL)
        return 0;
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    uint64_t off = kini_block_check(arena, ptr);
    if (off == 0)
        return kini_fail(-EINVAL, "the address is not that of a block");
    uint64_t word = kini_load(&kini_block_header(arena, off)->word);
    if (KINI_BLOCK_STATE(word) == KINI_BLOCK_FREE)
        return kini_fail(-EALREADY, "the block was freed before");
    if (KINI_BLOCK_STATE(word) != KINI_BLOCK_PRIVATE || KINI_BLOCK_SLOT(word) != self->slot)
        return kini_fail(-EPERM, "the block belongs to somebody else");
    kini_block_put(self, off);
    return 0;
}
