/* SPDX-License-Identifier: MIT
 * Lock, semaphore and the nudges of the wait queue: two operations interleaved, one or both killed.
 * A party that sleeps has come to an end, too: then nobody may have missed it. */
#include "lib/harness_sync.h"

#include <errno.h>
#include <stdlib.h>

#include <kin/lock.h>
#include <kin/semaphore.h>

#define WAITER 2u /* a peer that waits behind the two */

static struct kin_lock *lock;
static struct kin_semaphore *semaphore;

/* --- what the victims do ---------------------------------------------------------------------- */

static int64_t op_lock_in_and_out(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_lock_acquire(lock, kill_far_away());
    return r < 0 ? r : kin_lock_release(lock);
}

KILL_STEP(op_lock, kin_lock_acquire(lock, kill_far_away()));

static int64_t op_lock_shortly(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_lock_acquire(lock, kill_at_once());
    if (r < 0)
        return r == -ETIMEDOUT ? 0 : r;
    return kin_lock_release(lock);
}

KILL_STEP(op_unlock, kin_lock_release(lock));
KILL_STEP(op_permit, kin_semaphore_acquire(semaphore, kill_far_away()));

static int64_t op_permit_shortly(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_semaphore_acquire(semaphore, kill_at_once());
    return r == -ETIMEDOUT ? 0 : r;
}

KILL_STEP(op_give, kin_semaphore_release(semaphore));

/* --- before ----------------------------------------------------------------------------------- */

static void setup_lock(struct kill_world *world)
{
    if (kin_lock_create(world->live, NULL, &lock) < 0)
        kill_broken("no lock: %s", kin_error_text());
}

/* So many are there, and the harness has one more. */
static void make_semaphore(struct kill_world *world, uint32_t permits)
{
    if (kin_semaphore_create(world->live, permits + 1, NULL, &semaphore) < 0 ||
        kin_semaphore_try_acquire(semaphore) < 0)
        kill_broken("no semaphore: %s", kin_error_text());
}

static void setup_two_permits(struct kill_world *world)
{
    make_semaphore(world, 2);
}

static void setup_one_permit(struct kill_world *world)
{
    make_semaphore(world, 1);
}

/* The second holds what the first wants. */
static void warm_second_holds(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    if (who == 1 && lock != NULL && kin_lock_acquire(lock, KIN_NOW) < 0)
        _Exit(4);
    if (who == 1 && semaphore != NULL && kin_semaphore_try_acquire(semaphore) < 0)
        _Exit(4);
}

/* Everybody has an entry in its ledger. */
static void warm_entries(struct kill_world *world, uint32_t who)
{
    (void)who;
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    if (kin_semaphore_try_acquire(semaphore) < 0 || kin_semaphore_release(semaphore) < 0)
        _Exit(4);
}

static void warm_entries_second_holds(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    if (who == WAITER)
        return;
    if (who == 0 &&
        (kin_semaphore_try_acquire(semaphore) < 0 || kin_semaphore_release(semaphore) < 0))
        _Exit(4);
    if (who == 1 && kin_semaphore_try_acquire(semaphore) < 0)
        _Exit(4);
}

static void over(struct kill_world *world)
{
    kill_peers_end(world);
    lock = NULL;
    semaphore = NULL;
}

/* --- where it begins -------------------------------------------------------------------------- */

static struct kini_waitq_shm *queue_of(struct kill_world *world)
{
    struct kill_view view;
    kill_view_of_live(world, &view);
    if (lock != NULL)
        return &((struct kini_lock_shm *)kill_shm(&view, lock))->waiters;
    return &((struct kill_semaphore_shm *)kill_shm(&view, semaphore))->waiters;
}

/* The first is in the queue and has let its lock go: then one comes to wait behind it. */
static bool first_is_listed(struct kill_world *world, uint64_t at)
{
    struct kini_waitq_shm *queue = queue_of(world);
    (void)at;
    if (queue->nwait != 1 || queue->lock.word != 0)
        return false;
    kill_peer_waits(world, WAITER);
    return true;
}

/* --- what must hold --------------------------------------------------------------------------- */

/* With nobody dead, each has come through, and answers well. */
static void check_ended(struct kill_world *world, struct kill_view *view)
{
    (void)view;
    for (uint32_t who = 0; who < 2; who++) {
        int64_t r = world->page->actors[who].result;
        KILL_CHECK(!world->done[who] || r >= 0, "operation %u answers %lld", who, (long long)r);
        KILL_CHECK(world->done[who] || !kill_nobody_died(world),
                   "nobody died, and operation %u does not come to its end", who);
    }
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define COMMON .flags = KILL_NO_QUEUE | KILL_SLEEPS, .over = over, .check = check_ended

static const struct kill_scenario scenarios[] = {
    {.name = "lock, in and out, and in and out",
     COMMON,
     .patience = KILL_PATIENT,
     .stride = 130,
     .setup = setup_lock,
     .operate = {op_lock_in_and_out, op_lock_in_and_out}},
    {.name = "lock, starving, in and out, and in and out",
     COMMON,
     .patience = KILL_STARVING,
     .stride = 130,
     .setup = setup_lock,
     .operate = {op_lock_in_and_out, op_lock_in_and_out}},
    {.name = "lock, acquire and release",
     COMMON,
     .sparse = 3,
     .patience = KILL_PATIENT,
     .stride = 130,
     .setup = setup_lock,
     .warm = warm_second_holds,
     .operate = {op_lock, op_unlock}},
    {.name = "lock, acquire and hand over",
     COMMON,
     .sparse = 3,
     .patience = KILL_STARVING,
     .stride = 130,
     .setup = setup_lock,
     .warm = warm_second_holds,
     .operate = {op_lock, op_unlock}},
    {.name = "lock, time out and release, one waits behind",
     COMMON,
     .sparse = 6,
     .patience = KILL_PATIENT,
     .stride = 130,
     .setup = setup_lock,
     .warm = warm_second_holds,
     .begins = {first_is_listed},
     .operate = {op_lock_shortly, op_unlock, op_lock}},
    {.name = "lock, time out and hand over, one waits behind",
     COMMON,
     .sparse = 2,
     .patience = KILL_STARVING,
     .stride = 130,
     .setup = setup_lock,
     .warm = warm_second_holds,
     .begins = {first_is_listed},
     .operate = {op_lock_shortly, op_unlock, op_lock}},
    {.name = "semaphore, acquire and acquire",
     COMMON,
     .stride = 130,
     .setup = setup_two_permits,
     .warm = warm_entries,
     .operate = {op_permit, op_permit}},
    {.name = "semaphore, acquire and release",
     COMMON,
     .sparse = 4,
     .stride = 130,
     .setup = setup_one_permit,
     .warm = warm_entries_second_holds,
     .operate = {op_permit, op_give}},
    {.name = "semaphore, time out and release, one waits behind",
     COMMON,
     .stride = 130,
     .setup = setup_one_permit,
     .warm = warm_entries_second_holds,
     .begins = {first_is_listed},
     .operate = {op_permit_shortly, op_give, op_permit}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_sync_pairs");
    KILL_EACH(kill_pairs, scenarios);
    return kill_end();
}
