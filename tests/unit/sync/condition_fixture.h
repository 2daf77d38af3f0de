/* SPDX-License-Identifier: MIT
 * A condition with each kind of lock: one of its own, a lock that is given, an rlock. */
#ifndef KT_CONDITION_FIXTURE_H
#define KT_CONDITION_FIXTURE_H

#include "sync_fixture.h"

enum kind { OWN, GIVEN_LOCK, GIVEN_RLOCK, KINDS };

static struct kin_condition *condition;
static struct kin_lock *lock;
static struct kin_rlock *rlock;
static enum kind lock_kind;

static inline void open_condition(int kind)
{
    struct kin_condition_opts opts = {.size = sizeof opts};
    begin();
    lock = NULL;
    rlock = NULL;
    lock_kind = (enum kind)kind;
    if (kind == GIVEN_LOCK)
        KT_OK(kin_lock_create(arena, NULL, &lock));
    if (kind == GIVEN_RLOCK)
        KT_OK(kin_rlock_create(arena, NULL, &rlock));
    opts.lock = lock;
    opts.rlock = rlock;
    KT_OK(kin_condition_create(arena, &opts, &condition));
    KT_IS(kin_condition_waiting(condition), 0);
}

static inline void close_condition(void)
{
    KT_IS(kin_condition_acquire(condition, KIN_NEVER), 0); /* free, and nobody died with it */
    KT_IS(kin_condition_waiting(condition), 0);
    KT_IS(kin_condition_release(condition), 0);
    kin_condition_destroy(condition);
    kin_lock_destroy(lock);
    kin_rlock_destroy(rlock);
    finish();
}

/* Of a party or of main. */
static inline void enter(void)
{
    PARTY_IS(kin_condition_acquire(condition, KIN_NEVER), 0);
}

static inline void leave(void)
{
    PARTY_IS(kin_condition_release(condition), 0);
}

/* The calling thread has the lock, this deep. */
static inline bool is_mine(int64_t depth)
{
    struct kin_owner owner;
    if (lock_kind == GIVEN_RLOCK)
        return kin_rlock_depth(rlock) == depth;
    return lock_kind == OWN || (depth == 1 && kin_lock_owner(lock, &owner) == 0 &&
                                owner.pid == getpid() && owner.tid == gettid());
}

/* Start count parties one after another, so that they wait in this order. */
static inline void start_in_order(struct party *parties, int form, int count, party_fn fn)
{
    for (int i = 0; i < count; i++) {
        party_start(&parties[i], form, fn, i);
        KT_UNTIL(kin_condition_waiting(condition) == i + 1);
    }
}

#endif
