/* SPDX-License-Identifier: MIT
 * What became of every item. */
#include "storm/ledger.h"
#include "lib/child.h"

#include <inttypes.h>
#include <string.h>

struct ledger *ledger_open(void)
{
    struct ledger *ledger = kt_share(sizeof *ledger);
    kini_store(&ledger->next, 1);
    return ledger;
}

void ledger_close(struct ledger *ledger)
{
    kt_unshare(ledger, sizeof *ledger);
}

void ledger_clear(struct ledger *ledger)
{
    uint64_t used = kini_load(&ledger->next);
    used = used < LEDGER_ITEMS ? used : LEDGER_ITEMS;
    memset((void *)ledger->state, 0, used);
    memset((void *)ledger->delivered, 0, used);
    memset((void *)ledger->in_hand, 0, used);
    kini_store_sc(&ledger->next, 1);
}

uint64_t ledger_begin(struct ledger *ledger)
{
    uint64_t item = kini_add_sc(&ledger->next, 1);
    if (item >= LEDGER_ITEMS)
        return 0;
    kini_store_sc(&ledger->state[item], LEDGER_BEGUN);
    return item;
}

void ledger_put_returned(struct ledger *ledger, uint64_t item)
{
    kini_store_sc(&ledger->state[item], LEDGER_PUT);
}

bool ledger_delivered(struct ledger *ledger, uint64_t item)
{
    if (item == 0 || item >= LEDGER_ITEMS || kini_load(&ledger->state[item]) == LEDGER_NONE)
        return false;
    kini_add_sc(&ledger->delivered[item], 1);
    return true;
}

void ledger_was_in_hand(struct ledger *ledger, uint64_t item)
{
    if (item < LEDGER_ITEMS)
        kini_store(&ledger->in_hand[item], 1);
}

const char *ledger_check(struct ledger *ledger, struct ledger_sums *sums)
{
    static char text[200];
    uint64_t end = kini_load(&ledger->next);
    for (uint64_t item = 1; item < end && item < LEDGER_ITEMS; item++) {
        uint32_t state = kini_load(&ledger->state[item]);
        uint32_t delivered = kini_load(&ledger->delivered[item]);
        bool in_hand = kini_load(&ledger->in_hand[item]);
        bool good = state == LEDGER_NONE    ? delivered == 0
                    : state == LEDGER_BEGUN ? delivered <= 1
                                            : delivered == 1 || (delivered == 0 && in_hand);
        sums->put += state == LEDGER_PUT;
        sums->delivered += delivered;
        sums->lost_in_hands += state == LEDGER_PUT && delivered == 0;
        sums->died_in_put += state == LEDGER_BEGUN;
        if (!good) {
            snprintf(text, sizeof text,
                     "item %" PRIu64 " of %" PRIu64
                     ": %s, delivered %u times, %sin a victim's hand",
                     item, end, state == LEDGER_PUT ? "put" : "put not finished", delivered,
                     in_hand ? "" : "not ");
            return text;
        }
    }
    return NULL;
}
