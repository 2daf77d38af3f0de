/* SPDX-License-Identifier: MIT
 * The keys with the largest counts, in order. */
#ifndef BEHAVIOUR_TOP_H
#define BEHAVIOUR_TOP_H

#include "tally.h"

#define TOP_COUNT 10

struct top {
    unsigned count;
    struct tally_entry entries[TOP_COUNT]; /* larger counts first, then smaller keys */
};

/* Take an entry among the top, if it belongs there. A count of 0 never does. */
void top_add(struct top *top, const struct tally_entry *entry);
/* The same for all that a tally holds. */
void top_add_tally(struct top *top, const struct tally *tally);

#endif
