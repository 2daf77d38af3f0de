/* SPDX-License-Identifier: MIT
 * The purchases of all parts. */
#include "buys.h"

#include <errno.h>
#include <string.h>

/* From the top bits of the hash: those below choose the place in a tally. */
static unsigned slice_of(uint64_t key)
{
    return (unsigned)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 61);
}

_Static_assert(BUYS_SLICES == 8, "slice_of gives three bits");

static void count_slices(const struct tally *tally, uint64_t ret_counts[BUYS_SLICES])
{
    memset(ret_counts, 0, BUYS_SLICES * sizeof *ret_counts);
    for (size_t i = 0; i <= tally->mask; i++)
        if (tally->entries[i].key != 0)
            ret_counts[slice_of(tally->entries[i].key)]++;
    ret_counts[0] += tally->zero_there;
}

void buys_copy(const struct tally *tally, struct tally_entry *ret_entries,
               uint64_t ret_counts[BUYS_SLICES])
{
    struct tally_entry *next[BUYS_SLICES];

    count_slices(tally, ret_counts);
    for (unsigned slice = 0; slice < BUYS_SLICES; slice++) {
        next[slice] = ret_entries;
        ret_entries += ret_counts[slice];
    }
    for (size_t first = 0; first < TALLY_STRIDE; first++)
        for (size_t i = first; i <= tally->mask; i += TALLY_STRIDE)
            if (tally->entries[i].key != 0)
                *next[slice_of(tally->entries[i].key)]++ = tally->entries[i];
    if (tally->zero_there)
        *next[0] = tally->zero;
}

uint64_t buys_count(const uint64_t counts[BUYS_SLICES])
{
    uint64_t sum = 0;

    for (unsigned slice = 0; slice < BUYS_SLICES; slice++)
        sum += counts[slice];
    return sum;
}

int buys_top(const struct buys *parts, size_t parts_count, unsigned slice, struct tally *scratch,
             struct top *ret_top)
{
    tally_clear(scratch);
    for (size_t p = 0; p < parts_count; p++) {
        const struct tally_entry *entries = parts[p].entries;
        for (unsigned before = 0; before < slice; before++)
            entries += parts[p].counts[before];
        tally_add_all(scratch, entries, parts[p].counts[slice]);
    }
    *ret_top = (struct top){0};
    top_add_tally(ret_top, scratch);
    return scratch->failed ? -ENOMEM : 0;
}
