/* SPDX-License-Identifier: MIT
 * The purchases of all parts, added up slice by slice.
 *
 * A slice holds the keys whose hash says so, in every part the same ones. So each slice can be
 * added up by itself, by any process, and the top of all is among the tops of the slices. */
#ifndef BEHAVIOUR_BUYS_H
#define BEHAVIOUR_BUYS_H

#include "tally.h"
#include "top.h"

#define BUYS_SLICES 8

/* How often each item was bought in one part: the entries of slice 0, then those of slice 1... */
struct buys {
    const struct tally_entry *entries;
    uint64_t counts[BUYS_SLICES];
};

/* Write a tally in that order to ret_entries[tally_count()], and how many each slice has. */
void buys_copy(const struct tally *tally, struct tally_entry *ret_entries,
               uint64_t ret_counts[BUYS_SLICES]);

uint64_t buys_count(const uint64_t counts[BUYS_SLICES]);

/* Add up one slice of all parts and find its top. scratch is a tally to work with. 0 or -ENOMEM. */
int buys_top(const struct buys *parts, size_t parts_count, unsigned slice, struct tally *scratch,
             struct top *ret_top);

#endif
