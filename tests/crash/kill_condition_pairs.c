/* SPDX-License-Identifier: MIT
 * Event, condition, barrier, rwlock, once and the wait for any: two operations interleaved, one or
 * both killed; and a reaper that meets a living one. */
#include "lib/harness_sync.h"

#include <errno.h>
#include <stdlib.h>

#include <kin/barrier.h>
#include <kin/condition.h>
#include <kin/event.h>
#include <kin/once.h>
#include <kin/rwlock.h>
#include <kin/wait.h>

#define WAITER 2u /* a peer that waits behind the two */

static struct kin_event *event;
static struct kin_condition *condition;
static struct kin_barrier *barrier;
static struct kin_rwlock *rwlock;
static struct kin_once *once;
static struct kin_semaphore *semaphore;

/* --- what the victims do ---------------------------------------------------------------------- */

KILL_STEP(op_event_wait, kin_event_wait(event, kill_far_away()));

static int64_t op_any(struct kill_world *world, uint32_t who)
{
    (void)who;
    struct kin_wait waits[] = {kin_wait_event(event)};
    return kin_wait_any(world->live, waits, 1, kill_far_away());
}

KILL_STEP(op_event_set, kin_event_set(event));

/* A buffer goes back with the arena when the harness goes back. */
static _Atomic unsigned char *flag_of(struct kill_world *world)
{
    return (_Atomic unsigned char *)&world->page->actors[1].buffer[0];
}

static int is_flagged(void *world)
{
    return *flag_of(world) == 1;
}

static int64_t op_wait_for_flag(struct kill_world *world, uint32_t who)
{
    (void)who;
    int r = kin_condition_acquire(condition, kill_far_away());
    if (r < 0)
        return r;
    int found = kin_condition_wait_for(condition, is_flagged, world, kill_far_away());
    r = kin_condition_release(condition);
    return found == 1 || found == -EOWNERDEAD ? r : found < 0 ? found : -1000 - found;
}

static int64_t op_flag(struct kill_world *world, uint32_t who)
{
    (void)who;
    int r = kin_condition_acquire(condition, kill_far_away());
    if (r < 0)
        return r;
    *flag_of(world) = 1;
    kin_condition_notify(condition, 1);
    return kin_condition_release(condition);
}

/* 1: notified; 0: in vain; 2: one of both, and told of a death. */
static int64_t wait_once(kin_deadline deadline)
{
    int r = kin_condition_acquire(condition, kill_far_away());
    if (r < 0)
        return r;
    int waited = kin_condition_wait(condition, deadline);
    r = kin_condition_release(condition);
    return r < 0                     ? r
           : waited == -ETIMEDOUT    ? 0
           : waited == KIN_ABANDONED ? 2
           : waited < 0              ? waited
                                     : 1;
}

KILL_STEP(op_wait_shortly, wait_once(kill_at_once()));
KILL_STEP(op_wait_long, wait_once(kill_far_away()));

static int64_t op_notify(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_condition_acquire(condition, kill_far_away());
    if (r < 0)
        return r;
    int told = kin_condition_notify(condition, 1);
    r = kin_condition_release(condition);
    return r < 0 ? r : told == 1 ? 0 : -EIO;
}

static int64_t op_arrive(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_barrier_wait(barrier, kill_far_away());
    return r == -EPIPE ? 100 : r;
}

static int64_t op_arrive_shortly(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_barrier_wait(barrier, kill_at_once());
    return r == -ETIMEDOUT || r == -EPIPE ? 100 : r;
}

static int64_t op_write(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_rwlock_acquire_write(rwlock, kill_far_away());
    return r < 0 ? r : kin_rwlock_release(rwlock);
}

static int64_t op_read(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_rwlock_acquire_read(rwlock, kill_far_away());
    return r < 0 ? r : kin_rwlock_release(rwlock);
}

static int64_t op_write_shortly(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_rwlock_acquire_write(rwlock, kill_at_once());
    return r == -ETIMEDOUT ? 0 : r < 0 ? r : kin_rwlock_release(rwlock);
}

KILL_STEP(op_stop_reading, kin_rwlock_release(rwlock));

static int run(void *arg)
{
    _Atomic unsigned char *runs = arg;
    *runs = *runs == 0xff ? 1 : *runs + 1;
    return 0;
}

static int64_t op_once(struct kill_world *world, uint32_t who)
{
    return kin_once_run(once, run, &world->page->actors[who].buffer[0], kill_far_away());
}

KILL_STEP(op_permit, kin_semaphore_acquire(semaphore, kill_far_away()));

static int64_t op_reap_third(struct kill_world *world, uint32_t who)
{
    (void)who;
    int r = kini_reap(world->live, (uint32_t)world->value[0]);
    return r < 0 ? r : 0;
}

/* --- before ----------------------------------------------------------------------------------- */

static void setup_event(struct kill_world *world)
{
    if (kin_event_create(world->live, NULL, &event) < 0)
        kill_broken("no event: %s", kin_error_text());
}

static void setup_condition(struct kill_world *world)
{
    if (kin_condition_create(world->live, NULL, &condition) < 0)
        kill_broken("no condition: %s", kin_error_text());
}

static void setup_barrier(struct kill_world *world)
{
    if (kin_barrier_create(world->live, 2, NULL, &barrier) < 0)
        kill_broken("no barrier: %s", kin_error_text());
}

static void setup_rwlock(struct kill_world *world)
{
    if (kin_rwlock_create(world->live, NULL, &rwlock) < 0)
        kill_broken("no rwlock: %s", kin_error_text());
}

static void setup_once(struct kill_world *world)
{
    if (kin_once_create(world->live, NULL, &once) < 0)
        kill_broken("no once: %s", kin_error_text());
}

/* Of five permits the harness has one, one who dies soon two. */
static void setup_permits(struct kill_world *world)
{
    if (kin_semaphore_create(world->live, 5, NULL, &semaphore) < 0 ||
        kin_semaphore_try_acquire(semaphore) < 0)
        kill_broken("no semaphore: %s", kin_error_text());
    struct kill_victim third;
    kill_victim_start(world, &third, WAITER);
    world->value[0] = world->dead_slots[WAITER] = third.slot;
    kill_victim_end(&third);
}

static void warm_permits(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    for (uint32_t i = 0; i < 2; i++)
        if (kin_semaphore_try_acquire(semaphore) < 0)
            _Exit(4);
    for (uint32_t i = 0; i < 2 && who != WAITER; i++)
        if (kin_semaphore_release(semaphore) < 0)
            _Exit(5);
}

/* An entry in each ledger. */
static void warm_rwlock(struct kill_world *world, uint32_t who)
{
    (void)who;
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    if (kin_rwlock_try_read(rwlock) < 0 || kin_rwlock_release(rwlock) < 0)
        _Exit(4);
}

static void warm_second_reads(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    if (who < 2 && kin_rwlock_try_read(rwlock) < 0)
        _Exit(4);
    if (who == 0 && kin_rwlock_release(rwlock) < 0)
        _Exit(4);
}

/* --- where it begins -------------------------------------------------------------------------- */

static bool one_comes_behind(struct kill_world *world, struct kini_waitq_shm *queue)
{
    if (queue->nwait != 1 || queue->lock.word != 0)
        return false;
    kill_peer_waits(world, WAITER);
    return true;
}

/* The first waits and has let the lock of the condition go. */
static bool first_waits(struct kill_world *world, uint64_t at)
{
    struct kill_condition_shm *shm = ((struct kini_handle *)condition)->shm;
    (void)at;
    return shm->own.word == 0 && one_comes_behind(world, &shm->waiters);
}

static bool first_wants_to_write(struct kill_world *world, uint64_t at)
{
    struct kill_rwlock_shm *shm = ((struct kini_handle *)rwlock)->shm;
    (void)at;
    return one_comes_behind(world, &shm->writers);
}

/* --- what must hold --------------------------------------------------------------------------- */

static void check_ended(struct kill_world *world, struct kill_view *view)
{
    (void)view;
    bool alive = world->dead_slots[0] == 0 && world->dead_slots[1] == 0;
    for (uint32_t who = 0; who < 2; who++) {
        int64_t r = world->page->actors[who].result;
        KILL_CHECK(!world->done[who] || r >= 0, "operation %u answers %lld", who, (long long)r);
        KILL_CHECK(world->done[who] || !alive,
                   "nobody died, and operation %u does not come to its end", who);
    }
}

static void observe_first(struct kill_world *world, struct kill_view *view)
{
    struct kill_condition_shm *shm = kill_shm(view, condition);
    uint32_t index = kill_thread_of(view, world->dead_slots[0]);
    world->value[1] = index != 0 && kill_is_notified(view, &shm->waiters, index);
}

/* One notification, two that wait: one of them has it. */
static void check_notified(struct kill_world *world, struct kill_view *view)
{
    struct kill_condition_shm *shm = kill_shm(view, condition);
    uint32_t chosen = kill_notified(view, &shm->waiters);
    if (kill_untold(view, &shm->own.waiters) == kill_queued(view, &shm->own.waiters))
        check_ended(world, view); /* else the one behind goes on first */
    uint32_t used = world->done[0] && world->page->actors[0].result == 1;
    KILL_CHECK(chosen + used <= 1, "one notification, and %u have one", chosen + used);
    if (world->page->actors[0].result == 2)
        return;
    if (world->done[1] && (world->done[0] || world->value[1] || world->dead_slots[0] == 0))
        KILL_CHECK(chosen + used == 1,
                   "the notification is lost: the first says %lld, nobody else was chosen",
                   (long long)world->page->actors[0].result);
}

static void check_barrier(struct kill_world *world, struct kill_view *view)
{
    int64_t a = world->page->actors[0].result, b = world->page->actors[1].result;
    check_ended(world, view);
    if (world->done[0] && world->done[1])
        KILL_CHECK((a == 100 && b == 100) || a + b == 1,
                   "the two who met have the numbers %lld and %lld", (long long)a, (long long)b);
}

static uint32_t runs_of(struct kill_world *world, uint32_t who)
{
    unsigned char runs = world->page->actors[who].buffer[0];
    return runs == 0xff ? 0 : runs;
}

static void check_once(struct kill_world *world, struct kill_view *view)
{
    struct kini_lock_shm *shm = kill_shm(view, once);
    uint32_t runs = runs_of(world, 0) + runs_of(world, 1);
    check_ended(world, view);
    bool well = shm->word == KINI_WORD_DONE;
    KILL_CHECK(!well || runs >= 1, "it counts as run, and was not");
    KILL_CHECK(!kill_nobody_died(world) || (runs == 1 && well), "nobody died, and it ran %u times",
               runs);
    KILL_CHECK(well || !(world->done[0] || world->done[1]), "one came back, and it is not done");
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define COMMON .flags = KILL_NO_QUEUE | KILL_SLEEPS, .patience = KILL_PATIENT

static const struct kill_scenario scenarios[] = {
    {.name = "event, wait and set",
     COMMON,
     .stride = 60,
     .setup = setup_event,
     .operate = {op_event_wait, op_event_set},
     .check = check_ended},
    {.name = "wait for any, and set",
     COMMON,
     .stride = 60,
     .setup = setup_event,
     .operate = {op_any, op_event_set},
     .check = check_ended},
    {.name = "condition, wait and notify",
     COMMON,
     .sparse = 9,
     .stride = 250,
     .setup = setup_condition,
     .operate = {op_wait_for_flag, op_flag},
     .check = check_ended},
    {.name = "condition, time out and notify, one waits behind",
     COMMON,
     .sparse = 6,
     .stride = 250,
     .setup = setup_condition,
     .begins = {first_waits},
     .operate = {op_wait_shortly, op_notify, op_wait_long},
     .over = kill_peers_end,
     .observe = observe_first,
     .check = check_notified},
    {.name = "barrier, arrive and arrive",
     COMMON,
     .sparse = 4,
     .stride = 250,
     .setup = setup_barrier,
     .operate = {op_arrive, op_arrive},
     .check = check_barrier},
    {.name = "barrier, arrive and time out",
     COMMON,
     .sparse = 4,
     .stride = 250,
     .setup = setup_barrier,
     .operate = {op_arrive, op_arrive_shortly},
     .check = check_barrier},
    {.name = "rwlock, write and write",
     COMMON,
     .sparse = 5,
     .stride = 250,
     .setup = setup_rwlock,
     .warm = warm_rwlock,
     .operate = {op_write, op_write},
     .check = check_ended},
    {.name = "rwlock, write and read",
     COMMON,
     .sparse = 5,
     .stride = 250,
     .setup = setup_rwlock,
     .warm = warm_rwlock,
     .operate = {op_write, op_read},
     .check = check_ended},
    {.name = "rwlock, time out and stop reading, one waits behind",
     COMMON,
     .sparse = 3,
     .stride = 250,
     .setup = setup_rwlock,
     .warm = warm_second_reads,
     .begins = {first_wants_to_write},
     .operate = {op_write_shortly, op_stop_reading, op_read},
     .over = kill_peers_end,
     .check = check_ended},
    {.name = "once and once",
     COMMON,
     .stride = 250,
     .setup = setup_once,
     .operate = {op_once, op_once},
     .check = check_once},
    {.name = "semaphore, reap and acquire",
     COMMON,
     .sparse = 2,
     .stride = 120,
     .setup = setup_permits,
     .warm = warm_permits,
     .operate = {op_reap_third, op_permit},
     .check = check_ended},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_condition_pairs");
    KILL_EACH(kill_pairs, scenarios);
    return kill_end();
}
