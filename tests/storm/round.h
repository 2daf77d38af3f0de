/* SPDX-License-Identifier: MIT
 * What the storms of queues, stores and pipes have in common: the forms that they have, and their
 * rounds. In each, processes are struck until its time is over or the ledger is full; then they end
 * in some way, every item is accounted for, and nothing is left. */
#ifndef KT_ROUND_H
#define KT_ROUND_H

#include "arena/arena.h"
#include "base/bits.h"
#include "storm/ledger.h"
#include "storm/storm.h"

/* Which of the forms, each of which begins with its name, the first argument names; else 0. */
static inline size_t round_form(const void *forms, size_t form_bytes, size_t count, int argc,
                                char **argv)
{
    for (size_t i = 0; i < count && argc > 1; i++)
        if (strcmp(argv[1], *(char *const *)((const char *)forms + i * form_bytes)) == 0)
            return i;
    return 0;
}

static inline int round_main(const char *suite_name, const char *form, const TTest *storm)
{
    Suite *suite = suite_create(suite_name);
    TCase *t = kt_case(suite, form, 60 + storm_seconds());
    tcase_add_test(t, storm);
    return kt_run(suite);
}

/* A process that does nothing but look after the dead. */
static inline void round_reap(struct kin_arena *arena, kini_a32 *stop)
{
    while (kini_load(stop) == 0)
        KT_CHECK(kin_arena_reap(arena) >= 0);
}

static inline void round_strike(struct kt_random *random, struct ledger *ledger, kin_deadline until,
                                void (*strike)(struct kt_random *random))
{
    while (kin_now_ns() < until && kini_load(&ledger->next) < LEDGER_ITEMS) {
        usleep((useconds_t)kt_random_below(random, 2500));
        strike(random);
    }
}

static inline void round_account(struct ledger *ledger, struct ledger_sums *sums)
{
    const char *wrong = ledger_check(ledger, sums);
    ck_assert_msg(wrong == NULL, "%s", wrong);
}

static inline void round_leaves_nothing(struct kin_arena *arena)
{
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536);
}

#endif
