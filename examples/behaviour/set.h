/* SPDX-License-Identifier: MIT
 * A set of 64-bit keys in shared memory, each with up to three marks, that several processes fill
 * at once and that any of them may leave, killed, at any instruction.
 *
 * Keys and marks are only ever added, and adding one twice is the same as adding it once: so work
 * that was cut short can simply be done again.
 *
 * Small keys, the usual numbering of users and items, have a byte each in one long array. The
 * others are in a stack of hash tables, its levels, each as large as those below it together. A key
 * has one bucket in each level, and lives in the lowest level where that bucket had room when it
 * came. The slots of a bucket are filled in order, each by one compare-and-swap from zero. A full
 * bucket stays full, so everybody who looks for a key walks the same way and stops at the same
 * slot: no key is ever there twice. */
#ifndef BEHAVIOUR_SET_H
#define BEHAVIOUR_SET_H

#include <stdatomic.h>
#include <stdint.h>

#define SET_MARKS_COUNT 3
#define SET_BATCH       256
#define SET_LEVELS_MAX  40
#define SET_BUCKET_KEYS 7
#define SET_SMALL_KEYS  (UINT64_C(1) << 24) /* keys below have a byte each */
#define SET_PAGE_KEYS   (UINT64_C(1) << 16) /* that many small keys get their memory at once */
#define SET_PAGES_COUNT (SET_SMALL_KEYS / SET_PAGE_KEYS)

/* Put memory behind a range of the set before it is touched; it reads as zero then. May be called
 * for the same range by several processes at once, and again. 0 or a negative errno. */
typedef int (*set_commit_fn)(void *arg, void *memory, uint64_t bytes);

/* One cache line: whoever has found a key has its marks, too. */
struct set_bucket_shm {
    _Atomic uint64_t keys[SET_BUCKET_KEYS]; /* 0: free, and so are those behind it */
    _Atomic uint8_t marks[SET_BUCKET_KEYS];
    uint8_t unused;
};

struct set_header_shm {
    _Alignas(64) _Atomic uint32_t levels_ready; /* how many levels have memory behind them */
    _Alignas(64) _Atomic uint8_t pages_ready[SET_PAGES_COUNT]; /* 1: the page has memory */
};

/* One process's view of a set. After fork the child has it too. */
struct set {
    struct set_header_shm *header;
    _Atomic uint8_t *small; /* a byte for each small key */
    struct set_bucket_shm *levels[SET_LEVELS_MAX];
    unsigned levels_count;
    unsigned levels_ready; /* as this process knows it: may be behind the truth */
    set_commit_fn commit;
    void *commit_arg;
};

/* How many keys there are, and how many with each combination of marks. */
struct set_census {
    uint64_t keys_count;
    uint64_t by_marks[1 << SET_MARKS_COUNT];
};

/* How much memory a set needs that surely has room for so many keys that are not small. Most of it
 * is only touched when that many really come. */
uint64_t set_bytes(uint64_t large_count);

/* Make the view of a set in memory of set_bytes(large_count), 64-byte aligned, zero where it has
 * been committed, and commit what an empty set needs. Errors: those of commit. */
int set_init(struct set *set, void *memory, uint64_t large_count, set_commit_fn commit,
             void *commit_arg);

/* Add up to SET_BATCH keys, each with its marks; NULL for a set that never has any. Many at once,
 * so that the waits for memory overlap. Errors: those of commit, -ENOSPC (no room). */
int set_add(struct set *set, const uint64_t *keys, const uint8_t *marks, unsigned count);

/* The set in parts_count parts of about equal size, for counting it in parallel: count one. */
void set_count_part(const struct set *set, unsigned part, unsigned parts_count,
                    struct set_census *ret_census);

#endif
