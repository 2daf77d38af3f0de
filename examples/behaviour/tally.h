/* SPDX-License-Identifier: MIT
 * Counts by 64-bit key, private to a process: a hash table with linear probing. */
#ifndef BEHAVIOUR_TALLY_H
#define BEHAVIOUR_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* To put the entries of one table into another, walk it in long strides: in the order of the table
 * they would crowd at the beginning of the other for as long as that is small, and each search
 * there would be long. */
#define TALLY_STRIDE 128

struct tally_entry {
    uint64_t key, count;
};

struct tally {
    struct tally_entry *entries; /* key 0: free */
    struct tally_entry zero;     /* the key 0 itself */
    size_t mask;                 /* entries_count - 1, a power of two less one */
    size_t used;                 /* keys that are there, without 0 */
    bool zero_there;
    bool failed; /* out of memory: counts are missing */
};

/* 0 or -ENOMEM. Free with tally_free. */
int tally_init(struct tally *tally);
void tally_free(struct tally *tally);
/* Forget all counts, keep the memory. */
void tally_clear(struct tally *tally);

/* How many keys are there. */
size_t tally_count(const struct tally *tally);
/* Write them, in any order, to ret_entries[tally_count()]. */
void tally_copy(const struct tally *tally, struct tally_entry *ret_entries);

/* Add counts to their keys, which are there afterwards even if the count is 0. Out of memory shows
 * in tally->failed, so that one look at the end is enough. */
void tally_add_all(struct tally *tally, const struct tally_entry *entries, size_t count);

/* The part of tally_add that is rarely needed: a new key, or the key 0. */
void tally_add_new(struct tally *tally, uint64_t key, uint64_t count);

static inline size_t tally_place(const struct tally *tally, uint64_t key)
{
    /* Fibonacci hashing, Knuth, The Art of Computer Programming 3, 6.4. */
    return (key * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & tally->mask;
}

/* The same for one. */
static inline void tally_add(struct tally *tally, uint64_t key, uint64_t count)
{
    size_t i = tally_place(tally, key);

    while (tally->entries[i].key != key) {
        if (tally->entries[i].key == 0)
            break;
        i = (i + 1) & tally->mask;
    }
    if (key != 0 && tally->entries[i].key == key)
        tally->entries[i].count += count;
    else
        tally_add_new(tally, key, count);
}

#endif
