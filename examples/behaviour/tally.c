/* SPDX-License-Identifier: MIT
 * Counts by key. */
#include "tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ENTRIES 1024

static struct tally_entry *entries_new(size_t count)
{
    return calloc(count + 1, sizeof(struct tally_entry));
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
    memset(tally->entries, 0, (tally->mask + 2) * sizeof *tally->entries);
    tally->used = 0;
    tally->zero_there = tally->failed = false;
}

size_t tally_count(const struct tally *tally)
{
    return tally->used + tally->zero_there;
}

void tally_copy(const struct tally *tally, struct tally_entry *ret_entries)
{
    for (size_t i = 0; i <= tally->mask; i++)
        if (tally->entries[i].key != 0)
            *ret_entries++ = tally->entries[i];
    if (tally->zero_there)
        *ret_entries = tally->entries[tally->mask + 1];
}

static bool tally_grow(struct tally *tally)
{
    struct tally larger = {.mask = 2 * tally->mask + 1, .zero_there = tally->zero_there};

    larger.entries = entries_new(larger.mask + 1);
    if (!larger.entries)
        return false;
    for (size_t i = 0; i <= tally->mask; i++)
        if (tally->entries[i].key != 0)
            tally_add(&larger, tally->entries[i].key, tally->entries[i].count);
    larger.entries[larger.mask + 1] = tally->entries[tally->mask + 1];
    free(tally->entries);
    *tally = larger;
    return true;
}

void tally_add_new(struct tally *tally, uint64_t key, uint64_t count)
{
    if (key == 0) {
        tally->entries[tally->mask + 1].count += count;
        tally->zero_there = true;
        return;
    }
    /* At most three of five, so that a search ends soon. */
    if ((tally->used + 1) * 5 > (tally->mask + 1) * 3 && !tally_grow(tally)) {
        tally->failed = true;
        return;
    }
    size_t i = (key * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & tally->mask;
    while (tally->entries[i].key != 0)
        i = (i + 1) & tally->mask;
    tally->entries[i] = (struct tally_entry){.key = key, .count = count};
    tally->used++;
}
