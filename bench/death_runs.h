/* SPDX-License-Identifier: MIT
 * The holder of a lock is killed while another process waits for the lock. */
#ifndef BENCH_DEATH_RUNS_H
#define BENCH_DEATH_RUNS_H

#include <stdint.h>

enum death_way {
    DEATH_KIN,         /* the parent sleeps elsewhere: only the waiter can notice */
    DEATH_KIN_FEW,     /* the same with DEATH_WAITERS_FEW, and the holder is one of them: it has */
    DEATH_KIN_MANY,    /* waited longest, and so was the one that looked after the dead */
    DEATH_KIN_WATCHED, /* the parent waits for the holder in kin_process_join */
    DEATH_KIN_LONG,    /* the first three, when they have waited for more than a second */
    DEATH_KIN_FEW_LONG,
    DEATH_KIN_MANY_LONG,
    DEATH_ROBUST, /* a robust pthread mutex */
    DEATH_WAYS,
};

/* Before anything else: the process that kills, which is in no arena. */
void death_begin(void);
void death_end(void);

#define DEATH_WAITERS_FEW  2
#define DEATH_WAITERS_MANY 8

/* One round: seconds from the kill until a waiter held the lock. */
double death_round(enum death_way way);

#endif
