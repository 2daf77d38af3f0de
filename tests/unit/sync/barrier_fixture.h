/* SPDX-License-Identifier: MIT
 * What the tests of barriers share. */
#ifndef KT_BARRIER_FIXTURE_H
#define KT_BARRIER_FIXTURE_H

#include "sync_fixture.h"

static struct kin_barrier *barrier;

static inline void open_with(uint32_t parties, int (*action)(void *))
{
    const struct kin_barrier_opts opts = {
        .size = sizeof opts, .action = action, .action_arg = &plain};
    begin();
    KT_OK(kin_barrier_create(arena, parties, &opts, &barrier));
    KT_IS(kin_barrier_parties(barrier), parties);
}

static inline void close_barrier(void)
{
    kin_barrier_destroy(barrier);
    finish();
}

static inline void state(int waiting, int broken)
{
    KT_IS(kin_barrier_waiting(barrier), waiting);
    KT_IS(kin_barrier_broken(barrier), broken);
}

static inline int count_actions(void *arg)
{
    KT_CHECK(arg == &plain);
    plain[0]++;
    return (int)words[99]; /* what the test wants */
}

#endif
