/* SPDX-License-Identifier: MIT
 * The keys with the largest counts. */
#include "top.h"

static bool comes_before(const struct tally_entry *a, const struct tally_entry *b)
{
    return a->count != b->count ? a->count > b->count : a->key < b->key;
}

void top_add(struct top *top, const struct tally_entry *entry)
{
    bool full = top->count == TOP_COUNT;

    if (entry->count == 0 || (full && !comes_before(entry, &top->entries[TOP_COUNT - 1])))
        return;
    unsigned place = full ? TOP_COUNT - 1 : top->count++;
    for (; place > 0 && comes_before(entry, &top->entries[place - 1]); place--)
        top->entries[place] = top->entries[place - 1];
    top->entries[place] = *entry;
}

void top_add_tally(struct top *top, const struct tally *tally)
{
    top_add(top, &tally->zero);
    for (size_t i = 0; i <= tally->mask; i++)
        top_add(top, &tally->entries[i]);
}
