/* SPDX-License-Identifier: MIT
 * Semaphore: killed at every instruction of acquire and release, and of the reaper that gives back
 * what the dead held. The harness holds a permit throughout, so that one too many shows. */
#include "lib/harness_sync.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <kin/semaphore.h>

static struct kin_semaphore *semaphore;

/* --- what the victims do ---------------------------------------------------------------------- */

KILL_STEP(op_acquire, kin_semaphore_acquire(semaphore, kill_far_away()));
KILL_STEP(op_acquire_in_vain,
          kin_semaphore_acquire(semaphore, kill_at_once()) == -ETIMEDOUT ? 0 : -EIO);
KILL_STEP(op_release, kin_semaphore_release(semaphore));
KILL_STEP(op_release_two, kin_semaphore_release_many(semaphore, 2));

static int64_t op_in_and_out(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_semaphore_acquire(semaphore, kill_far_away());
    return r < 0 ? r : kin_semaphore_release(semaphore);
}

KILL_STEP(op_release_too_many, kin_semaphore_release_many(semaphore, 2) == -EOVERFLOW ? 0 : -EIO);

/* --- before ----------------------------------------------------------------------------------- */

static void make(struct kill_world *world, uint32_t value, uint32_t bounded, uint32_t taken)
{
    struct kin_semaphore_opts opts = {.bounded = bounded};
    if (kin_semaphore_create(world->live, value, &opts, &semaphore) < 0)
        kill_broken("no semaphore: %s", kin_error_text());
    for (uint32_t i = 0; i < taken; i++)
        if (kin_semaphore_try_acquire(semaphore) < 0)
            kill_broken("a new semaphore has no permit");
}

static void setup_three(struct kill_world *world)
{
    make(world, 3, 0, 1);
}

static void setup_bounded(struct kill_world *world)
{
    make(world, 3, 1, 1);
}

static void setup_all_taken(struct kill_world *world)
{
    make(world, 3, 0, 3);
}

static void setup_signal(struct kill_world *world)
{
    make(world, 0, 0, 0);
}

static void setup_signalled(struct kill_world *world)
{
    make(world, 0, 0, 0);
    if (kin_semaphore_release_many(semaphore, 2) < 0)
        kill_broken("a signal cannot be given");
}

/* Actor 0 holds two. */
static void warm_hold(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    for (uint32_t i = 0; i < 2 && who == 0; i++)
        if (kin_semaphore_try_acquire(semaphore) < 0)
            _Exit(4);
}

/* All have an entry in their ledgers. */
static void warm_entry(struct kill_world *world, uint32_t who)
{
    (void)who;
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    if (kin_semaphore_try_acquire(semaphore) < 0 || kin_semaphore_release(semaphore) < 0)
        _Exit(4);
}

static void *acquire_all(void *ret)
{
    int *r = ret;
    for (uint32_t i = 0; i < 2 && *r == 0; i++)
        *r = kin_semaphore_try_acquire(semaphore);
    return NULL;
}

/* A thread of actor 0 acquired two and ended; the main thread released one of them. */
static void warm_two_threads(struct kill_world *world, uint32_t who)
{
    int r = 0;
    pthread_t thread;
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    if (who != 0)
        return;
    if (pthread_create(&thread, NULL, acquire_all, &r) != 0 || pthread_join(thread, NULL) != 0)
        _Exit(5);
    if (r != 0 || kin_semaphore_release(semaphore) < 0)
        _Exit(4);
}

/* The word names the harness, and something is to be noted for it. */
static void harness_was_last(struct kill_world *world)
{
    kini_last_self = world->live_self;
    if (kin_semaphore_release(semaphore) < 0 || kin_semaphore_try_acquire(semaphore) < 0)
        kill_broken("the harness cannot use the semaphore");
}

/* --- while the victim sleeps ------------------------------------------------------------------ */

static bool harness_releases(struct kill_world *world, uint32_t times)
{
    kini_last_self = world->live_self;
    if (times == 1 && kin_semaphore_release(semaphore) < 0)
        kill_broken("the harness cannot release");
    return times == 1;
}

static bool one_behind(struct kill_world *world, uint32_t times)
{
    if (times == 1)
        kill_peer_waits(world, 1);
    return harness_releases(world, times);
}

static bool one_behind_both_served(struct kill_world *world, uint32_t times)
{
    if (times != 1)
        return false;
    kill_peer_waits(world, 1);
    kini_last_self = world->live_self;
    if (kin_semaphore_release_many(semaphore, 2) < 0)
        kill_broken("the harness cannot release");
    return true;
}

/* --- what must hold --------------------------------------------------------------------------- */

/* A permit is taken or not, by one who knows: the rest is in kill_sync_check. */
static void check_result(struct kill_world *world, struct kill_view *view)
{
    (void)view;
    if (world->done[0])
        KILL_CHECK(world->page->actors[0].result == 0, "the operation answers %lld",
                   (long long)world->page->actors[0].result);
}

/* A signal: what was given less what was taken by those who returned. */
static void check_signal(struct kill_world *world, struct kill_view *view)
{
    struct kill_semaphore_shm *shm = kill_shm(view, semaphore);
    uint32_t value = KINI_COUNTED_VALUE(shm->word);
    check_result(world, view);
    bool gives = world->scenario->operate[0] == op_release_two;
    uint32_t before = gives ? 0 : 2, after = gives ? 2 : 1;
    KILL_CHECK(value == after || (value == before && !world->done[0]), "the signal's value is %u",
               value);
}

/* What came back is counted. */
static void check_returned(struct kill_world *world, struct kill_view *view)
{
    struct kini_handle copy = kill_handle(view, semaphore);
    int64_t abandoned = kin_semaphore_abandoned((struct kin_semaphore *)&copy);
    int64_t most = world->scenario->warm == warm_two_threads ? 1 : 2;
    KILL_CHECK(abandoned <= most, "%lld permits were abandoned", (long long)abandoned);
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define COMMON .flags = KILL_NO_QUEUE, .over = kill_peers_end, .check = check_result

static const struct kill_scenario scenarios[] = {
    {.name = "acquire", COMMON, .setup = setup_three, .operate = {op_acquire}},
    {.name = "acquire after another",
     COMMON,
     .setup = setup_three,
     .warm = warm_entry,
     .ready = harness_was_last,
     .operate = {op_acquire}},
    {.name = "acquire, then one is released",
     COMMON,
     .setup = setup_all_taken,
     .operate = {op_acquire},
     .sleeps = harness_releases},
    {.name = "acquire, one waits behind, then one is released",
     COMMON,
     .setup = setup_all_taken,
     .operate = {op_acquire, op_acquire},
     .sleeps = one_behind},
    {.name = "acquire, one waits behind, then two are released",
     COMMON,
     .setup = setup_all_taken,
     .operate = {op_acquire, op_acquire},
     .sleeps = one_behind_both_served},
    {.name = "acquire in vain, one waits",
     COMMON,
     .setup = setup_all_taken,
     .ready = kill_one_waits,
     .operate = {op_acquire_in_vain, op_acquire}},
    {.name = "release",
     COMMON,
     .setup = setup_three,
     .warm = warm_hold,
     .ready = harness_was_last,
     .operate = {op_release}},
    {.name = "release, two wait",
     COMMON,
     .setup = setup_three,
     .warm = warm_hold,
     .ready = kill_two_wait,
     .operate = {op_release, op_acquire, op_acquire}},
    {.name = "release both, two wait",
     COMMON,
     .setup = setup_three,
     .warm = warm_hold,
     .ready = kill_two_wait,
     .operate = {op_release_two, op_acquire, op_acquire}},
    {.name = "bounded, in and out",
     COMMON,
     .setup = setup_bounded,
     .ready = harness_was_last,
     .operate = {op_in_and_out}},
    {.name = "bounded, release too many",
     COMMON,
     .setup = setup_bounded,
     .operate = {op_release_too_many}},
    {.name = "release for another process",
     .flags = KILL_NO_QUEUE | KILL_LOOSE,
     .over = kill_peers_end,
     .check = check_result,
     .setup = setup_all_taken,
     .ready = kill_one_waits,
     .operate = {op_release, op_acquire}},
    {.name = "release what another thread acquired",
     COMMON,
     .setup = setup_three,
     .warm = warm_two_threads,
     .operate = {op_release}},
    {.name = "signal, acquire",
     .flags = KILL_NO_QUEUE,
     .check = check_signal,
     .setup = setup_signalled,
     .operate = {op_acquire}},
    {.name = "signal, two wait",
     .flags = KILL_NO_QUEUE,
     .over = kill_peers_end,
     .check = check_signal,
     .setup = setup_signal,
     .ready = kill_two_wait,
     .operate = {op_release_two, op_acquire, op_acquire}},
};

static const struct kill_scenario reapings[] = {
    {.name = "reap a holder of two, two wait",
     .flags = KILL_NO_QUEUE,
     .setup = setup_three,
     .warm = warm_hold,
     .ready = kill_two_wait,
     .over = kill_peers_end,
     .stride = 9,
     .last = {40},
     .check = check_returned,
     .operate = {op_release, op_acquire, op_acquire, kill_op_reap}},
    {.name = "reap one who stands in an acquisition",
     .flags = KILL_NO_QUEUE,
     .setup = setup_three,
     .warm = warm_entry,
     .ready = harness_was_last,
     .over = kill_peers_end,
     .stride = 9,
     .check = check_returned,
     .operate = {op_acquire, NULL, NULL, kill_op_reap}},
    {.name = "reap one whose threads held different counts",
     .flags = KILL_NO_QUEUE,
     .setup = setup_three,
     .warm = warm_two_threads,
     .ready = harness_was_last,
     .over = kill_peers_end,
     .last = {1},
     .check = check_returned,
     .operate = {op_release, NULL, NULL, kill_op_reap}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_semaphore");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_reaping, reapings);
    kill_real(&scenarios[1]);
    kill_real(&scenarios[8]);
    return kill_end();
}
