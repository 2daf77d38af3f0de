/* SPDX-License-Identifier: MIT
 * What all storms have in common: how long they last, and how they halt a process for a while. */
#ifndef KT_STORM_H
#define KT_STORM_H

#include "lib/kin_test.h"

#include <signal.h>

#ifndef STORM_SECONDS
#define STORM_SECONDS 5
#endif

static inline int storm_seconds(void)
{
    const char *given = getenv("KIN_STORM_SECONDS");
    return given ? atoi(given) : STORM_SECONDS;
}

static inline kin_deadline storm_end(void)
{
    return kin_after_ms(INT64_C(1000) * storm_seconds());
}

/* A strike at a process that need not be its last: false if it is to be killed. */
static inline bool storm_halts(struct kt_random *random, pid_t pid, bool *is_stopped, bool may_stop)
{
    uint64_t what = kt_random_below(random, 10);
    if (what == 0 && !*is_stopped && may_stop)
        *is_stopped = kill(pid, SIGSTOP) == 0;
    else if (what < 3 && *is_stopped)
        *is_stopped = kill(pid, SIGCONT) != 0;
    else
        return false;
    return true;
}

static inline void storm_continue(const pid_t *all, const bool *is_stopped, int count)
{
    for (int i = 0; i < count; i++)
        if (is_stopped[i])
            kill(all[i], SIGCONT);
}

#endif
