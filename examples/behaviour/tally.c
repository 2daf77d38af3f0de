/* SPDX-License-Identifier: MIT
 * Counts by key. */
#include "tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES ((size_t)2 * 1024 * 1024)
#define FIRST_ENTRIES   1024
#define AHEAD           16 /* entries to ask the memory for in advance */

/* Cleared by hand, because calloc leaves each page to two faults, the first look and the first
 * count. Large tables ask for huge pages, which have hardly any; they are powers of two, so that
 * nothing of the pages is lost. */
static struct tally_entry *entries_new(size_t count)
{
    size_t bytes = count * sizeof(struct tally_entry);
    bool huge = bytes >= HUGE_PAGE_BYTES;
    struct tally_entry *entries = aligned_alloc(huge ? HUGE_PAGE_BYTES : 64, bytes);

    if (!entries)
        return NULL;
    if (huge)
        madvise(entries, bytes, MADV_HUGEPAGE); /* no harm if it is refused */
    return memset(entries, 0, bytes);
}

int tally_init(struct tally *tally)
{
    *tally = (struct tally){.entries = entries_new(FIRST_ENTRIES), .mask = FIRST_ENTRIES - 1};
    return tally->entries ? 0 : -ENOMEM;
}

void tally_free(struct tally *tally)
{
    free(tally->entries);
    *tally = (struct tally){0};
}

void tally_clear(struct tally *tally)
{
    memset(tally->entries, 0, (tally->mask + 1) * sizeof *tally->entries);
    tally->used = 0;
    tally->zero.count = 0;
    tally->zero_there = tally->failed = false;
}

size_t tally_count(const struct tally *tally)
{
    return tally->used + tally->zero_there;
}

void tally_copy(const struct tally *tally, struct tally_entry *ret_entries)
{
    for (size_t first = 0; first < TALLY_STRIDE; first++)
        for (size_t i = first; i <= tally->mask; i += TALLY_STRIDE)
            if (tally->entries[i].key != 0)
                *ret_entries++ = tally->entries[i];
    if (tally->zero_there)
        *ret_entries = tally->zero;
}

/* A key that is not there yet, into a table that has room. */
static void put(struct tally *tally, const struct tally_entry *entry)
{
    size_t i = tally_place(tally, entry->key);

    while (tally->entries[i].key != 0)
        i = (i + 1) & tally->mask;
    tally->entries[i] = *entry;
}

static bool tally_grow(struct tally *tally)
{
    struct tally larger = *tally;

    larger.mask = 2 * tally->mask + 1;
    larger.entries = entries_new(larger.mask + 1);
    if (!larger.entries)
        return false;
    for (size_t i = 0; i <= tally->mask; i++)
        if (tally->entries[i].key != 0)
            put(&larger, &tally->entries[i]);
    free(tally->entries);
    *tally = larger;
    return true;
}

void tally_add_new(struct tally *tally, uint64_t key, uint64_t count)
{
    if (key == 0) {
        tally->zero.count += count;
        tally->zero_there = true;
        return;
    }
    /* At most three of four, so that a search ends soon. */
    if ((tally->used + 1) * 4 > (tally->mask + 1) * 3 && !tally_grow(tally)) {
        tally->failed = true;
        return;
    }
    put(tally, &(struct tally_entry){.key = key, .count = count});
    tally->used++;
}

void tally_add_all(struct tally *tally, const struct tally_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            __builtin_prefetch(&tally->entries[tally_place(tally, entries[i + AHEAD].key)]);
        tally_add(tally, entries[i].key, entries[i].count);
    }
}
