/* SPDX-License-Identifier: MIT
 * A set of keys that several processes fill at once. How it works is said in set.h.
 *
 * All accesses are relaxed: a key says nothing about other memory, and who counts the set has heard
 * by other means that those who filled it have finished. */
#include "set.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define FIRST_BUCKETS UINT64_C(65536) /* of level 0: 4 MiB */

/* In the byte of a small key: it is in the set. */
#define SET_PRESENT (1U << SET_MARKS_COUNT)

_Static_assert(sizeof(struct set_bucket_shm) == 64, "a bucket is a cache line");

static uint64_t buckets_count(unsigned level)
{
    return level == 0 ? FIRST_BUCKETS : FIRST_BUCKETS << (level - 1);
}

/* The levels below and with the given number hold so many buckets: each level doubles the set. */
static unsigned levels_for(uint64_t large_count)
{
    /* Twice the slots, and one level more for the buckets that fill before the others. */
    uint64_t wanted = large_count / SET_BUCKET_KEYS * 2;
    unsigned levels = 2;

    while (levels < SET_LEVELS_MAX && FIRST_BUCKETS << (levels - 2) < wanted)
        levels++;
    return levels;
}

uint64_t set_bytes(uint64_t large_count)
{
    uint64_t buckets = FIRST_BUCKETS << (levels_for(large_count) - 1);
    return sizeof(struct set_header_shm) + SET_SMALL_KEYS + buckets * sizeof(struct set_bucket_shm);
}

/* The finaliser of MurmurHash3, Austin Appleby, public domain. */
static inline uint64_t hash_key(uint64_t key)
{
    key = (key ^ (key >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    key = (key ^ (key >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return key ^ (key >> 33);
}

/* Each level takes other bits of the hash first, so that the keys of one full bucket part. */
static inline struct set_bucket_shm *find_bucket(const struct set *set, unsigned level,
                                                 uint64_t hash)
{
    unsigned turn = level * 11 % 64;
    uint64_t turned = hash >> turn | hash << ((64 - turn) % 64);
    return &set->levels[level][turned & (buckets_count(level) - 1)];
}

/* Make sure that the level has memory. Levels become ready in order. */
static int open_level(struct set *set, unsigned level)
{
    if (level >= set->levels_count)
        return -ENOSPC;

    uint32_t ready = atomic_load_explicit(&set->header->levels_ready, memory_order_relaxed);
    if (ready <= level) {
        uint64_t bytes = buckets_count(level) * sizeof(struct set_bucket_shm);
        int r = set->commit(set->commit_arg, set->levels[level], bytes);
        if (r < 0)
            return r;
        /* Somebody else may have come first: then this says nothing new. */
        ready = level;
        atomic_compare_exchange_strong(&set->header->levels_ready, &ready, level + 1);
    }
    set->levels_ready = level + 1;
    return 0;
}

/* The same for a page of small keys. */
static int open_page(struct set *set, uint64_t page)
{
    int r = set->commit(set->commit_arg, (void *)&set->small[page * SET_PAGE_KEYS], SET_PAGE_KEYS);

    if (r == 0)
        atomic_store(&set->header->pages_ready[page], 1);
    return r;
}

int set_init(struct set *set, void *memory, uint64_t large_count, set_commit_fn commit,
             void *commit_arg)
{
    memset(set, 0, sizeof *set);
    set->header = memory;
    set->small = (void *)(set->header + 1);
    set->levels_count = levels_for(large_count);
    set->commit = commit;
    set->commit_arg = commit_arg;

    struct set_bucket_shm *bucket = (void *)&set->small[SET_SMALL_KEYS];
    for (unsigned level = 0; level < set->levels_count; level++) {
        set->levels[level] = bucket;
        bucket += buckets_count(level);
    }
    return commit(commit_arg, memory, sizeof(struct set_header_shm));
}

/* --- adding ---------------------------------------------------------------------------------- */

/* Take the first free slot for the key, or find that another process has just brought it. Returns
 * the slot, or SET_BUCKET_KEYS when the bucket is full of others. */
static unsigned take_slot(struct set_bucket_shm *bucket, uint64_t key)
{
    unsigned slot = 0;

    for (; slot < SET_BUCKET_KEYS; slot++) {
        uint64_t there = atomic_load_explicit(&bucket->keys[slot], memory_order_relaxed);
        if (there == 0 &&
            atomic_compare_exchange_strong_explicit(&bucket->keys[slot], &there, key,
                                                    memory_order_relaxed, memory_order_relaxed))
            break;
        if (there == key)
            break;
    }
    return slot;
}

/* Which slots hold the key, a bit each: none or one. All are compared, without a branch for each:
 * where the key is cannot be foretold, so a branch would be guessed wrong half of the time. */
static inline unsigned find_slot(const struct set_bucket_shm *bucket, uint64_t key)
{
    unsigned found = 0;

#pragma GCC unroll 7
    for (unsigned slot = 0; slot < SET_BUCKET_KEYS; slot++)
        found |= (unsigned)(atomic_load_explicit(&bucket->keys[slot], memory_order_relaxed) == key)
                 << slot;
    return found;
}

static inline bool is_full(const struct set_bucket_shm *bucket)
{
    return atomic_load_explicit(&bucket->keys[SET_BUCKET_KEYS - 1], memory_order_relaxed) != 0;
}

static inline void add_marks(_Atomic uint8_t *there, uint8_t marks)
{
    if (marks & ~atomic_load_explicit(there, memory_order_relaxed))
        atomic_fetch_or_explicit(there, marks, memory_order_relaxed);
}

/* Add a key. False: the bucket is full, try the next level. The usual ways, a key that is there and
 * a full bucket, share one branch for the same reason as above. */
static inline bool bucket_add(struct set_bucket_shm *bucket, uint64_t key, uint8_t marks)
{
    unsigned found = find_slot(bucket, key);

    if (__builtin_expect(!found & !is_full(bucket), 0)) {
        unsigned slot = take_slot(bucket, key);
        found = slot < SET_BUCKET_KEYS ? 1U << slot : 0;
    }
    if (marks && found)
        add_marks(&bucket->marks[__builtin_ctz(found)], marks);
    return found != 0;
}

/* Add keys to the levels: waiting says which of keys. */
static int add_large(struct set *set, const uint64_t *keys, const uint8_t *marks, uint16_t *waiting,
                     unsigned waiting_count)
{
    uint64_t hashes[SET_BATCH];

    for (unsigned w = 0; w < waiting_count; w++)
        hashes[waiting[w]] = hash_key(keys[waiting[w]]);
    for (unsigned level = 0; waiting_count > 0; level++) {
        if (level >= set->levels_ready) {
            int r = open_level(set, level);
            if (r < 0)
                return r;
        }
        for (unsigned w = 0; w < waiting_count; w++)
            __builtin_prefetch(find_bucket(set, level, hashes[waiting[w]]));

        unsigned left_count = 0;
        for (unsigned w = 0; w < waiting_count; w++) {
            uint16_t i = waiting[w];
            waiting[left_count] = i;
            left_count +=
                !bucket_add(find_bucket(set, level, hashes[i]), keys[i], marks ? marks[i] : 0);
        }
        waiting_count = left_count;
    }
    return 0;
}

/* Which of the small keys lack a mark: missing says which of keys, the result how many. Most lack
 * none, but which do cannot be foretold, so there is no branch for it. */
static int find_missing(struct set *set, const uint64_t *keys, const uint8_t *marks,
                        const uint16_t *small, unsigned small_count, uint16_t *missing)
{
    unsigned missing_count = 0;

    for (unsigned s = 0; s < small_count; s++) {
        uint64_t key = keys[small[s]];
        uint64_t page = key / SET_PAGE_KEYS;
        if (!atomic_load_explicit(&set->header->pages_ready[page], memory_order_relaxed)) {
            int r = open_page(set, page);
            if (r < 0)
                return r;
        }
        unsigned wanted = SET_PRESENT | (marks ? marks[small[s]] : 0);
        unsigned there = atomic_load_explicit(&set->small[key], memory_order_relaxed);
        missing[missing_count] = small[s];
        missing_count += (wanted & ~there) != 0;
    }
    return (int)missing_count;
}

/* Add small keys: small says which of keys. A line of memory that another process has written to
 * is slow to come, so all that will be written are asked for before the first is. */
static int add_small(struct set *set, const uint64_t *keys, const uint8_t *marks,
                     const uint16_t *small, unsigned small_count)
{
    uint16_t missing[SET_BATCH];
    int count = find_missing(set, keys, marks, small, small_count, missing);

    for (int m = 0; m < count; m++)
        __builtin_prefetch((const void *)&set->small[keys[missing[m]]], 1);
    for (int m = 0; m < count; m++) {
        _Atomic uint8_t *there = &set->small[keys[missing[m]]];
        if (marks)
            atomic_fetch_or_explicit(there, (uint8_t)(SET_PRESENT | marks[missing[m]]),
                                     memory_order_relaxed);
        else
            atomic_store_explicit(there, (uint8_t)SET_PRESENT, memory_order_relaxed);
    }
    return count < 0 ? count : 0;
}

int set_add(struct set *set, const uint64_t *keys, const uint8_t *marks, unsigned count)
{
    uint16_t small[SET_BATCH], large[SET_BATCH];
    unsigned small_count = 0, large_count = 0;

    for (unsigned i = 0; i < count; i++) {
        if (keys[i] < SET_SMALL_KEYS) {
            small[small_count++] = (uint16_t)i;
            __builtin_prefetch((const void *)&set->small[keys[i]]);
        } else {
            large[large_count++] = (uint16_t)i;
        }
    }
    int r = add_small(set, keys, marks, small, small_count);
    return r < 0 ? r : add_large(set, keys, marks, large, large_count);
}

/* --- counting -------------------------------------------------------------------------------- */

static void count_buckets(const struct set_bucket_shm *bucket, const struct set_bucket_shm *end,
                          struct set_census *census)
{
    for (; bucket < end; bucket++) {
        for (unsigned slot = 0; slot < SET_BUCKET_KEYS; slot++) {
            if (atomic_load_explicit(&bucket->keys[slot], memory_order_relaxed) == 0)
                break;
            census->by_marks[atomic_load_explicit(&bucket->marks[slot], memory_order_relaxed)]++;
        }
    }
}

/* Count eight small keys. */
static inline void count_bytes(uint64_t bytes, struct set_census *census)
{
    const uint64_t each = UINT64_C(0x0101010101010101);

    if (!(bytes & (SET_PRESENT - 1) * each)) {
        /* No marks: the product adds up the bytes, which are 0 or 1 now, in the highest. */
        census->by_marks[0] += (bytes / SET_PRESENT) * each >> 56;
        return;
    }
    for (; bytes; bytes >>= 8)
        if (bytes & SET_PRESENT)
            census->by_marks[bytes & (SET_PRESENT - 1)]++;
}

/* Nobody adds any more, so the bytes can be read eight at once. */
static void count_page(const void *page, struct set_census *census)
{
    for (uint64_t at = 0; at < SET_PAGE_KEYS; at += 8) {
        uint64_t bytes;
        memcpy(&bytes, (const char *)page + at, sizeof bytes);
        count_bytes(bytes, census);
    }
}

void set_count_part(const struct set *set, unsigned part, unsigned parts_count,
                    struct set_census *ret_census)
{
    struct set_census census = {0};
    unsigned ready = atomic_load(&set->header->levels_ready);

    for (uint64_t page = part; page < SET_PAGES_COUNT; page += parts_count)
        if (atomic_load(&set->header->pages_ready[page]))
            count_page((const void *)&set->small[page * SET_PAGE_KEYS], &census);
    for (unsigned level = 0; level < ready; level++) {
        uint64_t count = buckets_count(level);
        count_buckets(set->levels[level] + count * part / parts_count,
                      set->levels[level] + count * (part + 1) / parts_count, &census);
    }
    for (unsigned marks = 0; marks < 1 << SET_MARKS_COUNT; marks++)
        census.keys_count += census.by_marks[marks];
    *ret_census = census;
}
