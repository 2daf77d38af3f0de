/* SPDX-License-Identifier: MIT
 * The ledger of a storm: what became of every item. It lies in memory that all processes share and
 * that survives each of them.
 *
 * An item is accounted for if
 *   - it was delivered once: a get returned it and the consumer said so; or
 *   - its put returned, nobody got it, and it was in the hands of a consumer when that was killed:
 *     between the last step of get and the first step of the consumer; or
 *   - its put did not return, because its producer was killed in it, and nobody got it.
 * An item that was delivered twice, or is missing in any other way, fails the storm.
 *
 * Consumers let get copy into shared memory, their hand. They clear its first word before a get,
 * and again after they have noted the item; so the hand of a victim says what it may have had. */
#ifndef KT_LEDGER_H
#define KT_LEDGER_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stddef.h>

#define LEDGER_ITEMS (1u << 20)

enum ledger_state { LEDGER_NONE, LEDGER_BEGUN, LEDGER_PUT };

struct ledger {
    kini_a64 next;                   /* number of the next item; 0 is none */
    kini_a8 state[LEDGER_ITEMS];     /* ledger_state. W: its producer */
    kini_a8 delivered[LEDGER_ITEMS]; /* how often. W: consumers */
    kini_a8 in_hand[LEDGER_ITEMS];   /* a victim's hand had it. W: who collects the victim */
};

struct ledger_sums {
    uint64_t put, delivered, lost_in_hands, died_in_put;
};

struct ledger *ledger_open(void);
void ledger_close(struct ledger *ledger);
void ledger_clear(struct ledger *ledger);

/* A new number, begun; 0 when the ledger is full. */
uint64_t ledger_begin(struct ledger *ledger);
void ledger_put_returned(struct ledger *ledger, uint64_t item);
/* False if it cannot be: the number was never begun. */
bool ledger_delivered(struct ledger *ledger, uint64_t item);
void ledger_was_in_hand(struct ledger *ledger, uint64_t item);

/* Check every item; adds to sums. NULL, or what is wrong (static text). */
const char *ledger_check(struct ledger *ledger, struct ledger_sums *sums);

#endif
