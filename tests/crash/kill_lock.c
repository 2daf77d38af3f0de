/* SPDX-License-Identifier: MIT
 * Lock, rlock, once: killed at every instruction on the way in, asleep, and on the way out. */
#include "lib/harness_sync.h"

#include <errno.h>
#include <stdlib.h>

#include <kin/lock.h>
#include <kin/once.h>

static struct kin_lock *lock;
static struct kin_rlock *rlock;
static struct kin_once *once;

/* --- what the victims do ---------------------------------------------------------------------- */

KILL_STEP(op_acquire, kin_lock_acquire(lock, kill_far_away()));
KILL_STEP(op_acquire_in_vain, kin_lock_acquire(lock, kill_at_once()));
KILL_STEP(op_release, kin_lock_release(lock));
KILL_STEP(op_acquire_rlock, kin_rlock_acquire(rlock, kill_far_away()));

static int64_t op_rlock_twice(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_rlock_acquire(rlock, kill_far_away());
    for (int i = 0; i < 2 && r >= 0; i++)
        r = i == 0 ? kin_rlock_acquire(rlock, kill_far_away()) : kin_rlock_release(rlock);
    return r < 0 ? r : kin_rlock_release(rlock);
}

static int run_well(void *arg)
{
    ((struct kill_actor *)arg)->value += 1;
    return 0;
}

static int run_badly(void *arg)
{
    (void)arg;
    return -EDOM;
}

static int64_t op_once(struct kill_world *world, uint32_t who)
{
    return kin_once_run(once, run_well, &world->page->actors[who], kill_far_away());
}

KILL_STEP(op_once_in_vain,
          kin_once_run(once, run_badly, NULL, kill_far_away()) == -EDOM ? 0 : -EIO);

/* --- before ----------------------------------------------------------------------------------- */

static void make(struct kill_world *world, uint32_t on_abandoned)
{
    struct kin_lock_opts opts = {.on_abandoned = on_abandoned};
    if (kin_lock_create(world->live, &opts, &lock) < 0 ||
        kin_rlock_create(world->live, &opts, &rlock) < 0 ||
        kin_once_create(world->live, NULL, &once) < 0)
        kill_broken("no locks: %s", kin_error_text());
}

static kini_a64 *word_of(void *handle)
{
    return &((struct kini_lock_shm *)((struct kini_handle *)handle)->shm)->word;
}

static void setup_free(struct kill_world *world)
{
    make(world, KIN_TELL);
}

static void setup_held(struct kill_world *world)
{
    make(world, KIN_TELL);
    if (kin_lock_acquire(lock, KIN_NOW) < 0 || kin_rlock_acquire(rlock, KIN_NOW) < 0)
        kill_broken("a new lock is not free");
}

static void setup_abandoned(struct kill_world *world)
{
    make(world, KIN_TELL);
    *word_of(lock) = *word_of(rlock) = *word_of(once) = KINI_WORD_ABANDONED;
}

static void setup_refusing(struct kill_world *world)
{
    make(world, KIN_REFUSE_ONCE);
    *word_of(lock) = *word_of(rlock) = KINI_WORD_ABANDONED;
}

/* Actor 0 holds them before its first step, the others do not. */
static void warm_hold(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    if (who == 0 && (kin_lock_acquire(lock, KIN_NOW) < 0 || kin_rlock_acquire(rlock, KIN_NOW) < 0))
        _Exit(4);
}

/* One waits, and its death has been told to nobody yet. */
static void one_waits_for_abandoned(struct kill_world *world)
{
    struct kill_victim *peer = kill_peer_waits(world, 1);
    for (uint32_t i = 1; i < world->live->super->threads_high; i++)
        if (KINI_THREAD_SLOT(world->live->threads[i].state) == peer->slot)
            world->live->threads[i].park = KINI_PARK_WOKEN;
    *word_of(lock) = KINI_WORD_ABANDONED;
}

static void setup_refusing_held(struct kill_world *world)
{
    make(world, KIN_REFUSE_ONCE);
    if (kin_lock_acquire(lock, KIN_NOW) < 0)
        kill_broken("a new lock is not free");
}

/* --- while the victim sleeps ------------------------------------------------------------------ */

static bool harness_releases(struct kill_world *world, uint32_t times)
{
    kini_last_self = world->live_self;
    if (times == 1 && (kin_lock_release(lock) < 0 || kin_rlock_release(rlock) < 0))
        kill_broken("the harness cannot release");
    return times == 1;
}

static bool harness_releases_for_two(struct kill_world *world, uint32_t times)
{
    if (times == 1)
        kill_peer_waits(world, 1);
    return harness_releases(world, times);
}

/* --- what must hold ----------------------------------------------------------------------------*/

/* Who returned with the lock has it. Everything else: kill_sync_check. */
static void check_holds(struct kill_world *world, struct kill_view *view)
{
    const struct kini_handle *handles[] = {(void *)lock, (void *)rlock};
    bool held = false;
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t before = world->before[handles[i]->id];
        held |= kini_word_is_held(before) && KINI_OWNER_SLOT(before) == world->dead_slots[0];
    }
    (void)view;
    int64_t r = world->page->actors[0].result;
    if (world->done[0])
        KILL_CHECK(r >= 0 && held, "acquired with result %lld, %s", (long long)r,
                   held ? "and has it" : "but has it not");
}

static void check_released(struct kill_world *world, struct kill_view *view)
{
    const struct kini_handle *handles[] = {(void *)lock, (void *)rlock};
    (void)view;
    if (!world->done[0])
        return;
    KILL_CHECK(world->page->actors[0].result == 0, "the release answers %lld",
               (long long)world->page->actors[0].result);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t before = world->before[handles[i]->id];
        bool expected = world->scenario->warm == warm_hold && i == 1; /* the rlock stays */
        bool held = kini_word_is_held(before) && KINI_OWNER_SLOT(before) == world->dead_slots[0];
        KILL_CHECK(held == expected, "released, and the word is %llx", (unsigned long long)before);
    }
}

static void check_in_vain(struct kill_world *world, struct kill_view *view)
{
    (void)view;
    if (world->done[0])
        KILL_CHECK(world->page->actors[0].result == -ETIMEDOUT, "the acquisition answers %lld",
                   (long long)world->page->actors[0].result);
}

/* The death is told to exactly one: the victim if it returned, else to somebody later. */
static void check_told_once(struct kill_world *world, struct kill_view *view)
{
    struct kini_handle copy = kill_handle(view, lock);
    struct kini_lock_shm *shm = copy.shm;
    int64_t deaths = kin_lock_abandoned((struct kin_lock *)&copy),
            r = world->page->actors[0].result;
    bool refuse = shm->on_abandoned == KIN_REFUSE_ONCE;
    KILL_CHECK(deaths >= 1, "the lock was abandoned, and says %lld times", (long long)deaths);
    if (world->done[0]) {
        KILL_CHECK(r == (refuse ? -EOWNERDEAD : KIN_ABANDONED), "the victim was told %lld",
                   (long long)r);
        KILL_CHECK(deaths == (refuse ? 1 : 2), "%lld deaths are counted", (long long)deaths);
    } else {
        KILL_CHECK(shm->word == KINI_WORD_ABANDONED || (refuse && shm->word == 0),
                   "nobody who lives was told of the death, and the word is %llx",
                   (unsigned long long)shm->word);
    }
}

static void check_once(struct kill_world *world, struct kill_view *view)
{
    struct kini_lock_shm *shm = kill_shm(view, once);
    struct kill_actor *actor = &world->page->actors[0];
    bool well = world->scenario->operate[0] == op_once;
    KILL_CHECK(shm->word != KINI_WORD_DONE || actor->value == 1,
               "it counts as run, and was run %llu times", (unsigned long long)actor->value);
    if (!world->done[0])
        return;
    KILL_CHECK(actor->result == 0 && shm->word == (well ? KINI_WORD_DONE : 0),
               "run with result %lld, and the word is %llx", (long long)actor->result,
               (unsigned long long)shm->word);
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define COMMON .flags = KILL_NO_QUEUE, .over = kill_peers_end

static const struct kill_scenario scenarios[] = {
    {.name = "acquire", COMMON, .setup = setup_free, .operate = {op_acquire}, .check = check_holds},
    {.name = "acquire, then it is released",
     COMMON,
     .patience = KILL_PATIENT,
     .setup = setup_held,
     .operate = {op_acquire},
     .sleeps = harness_releases,
     .check = check_holds},
    {.name = "acquire, then it is handed over",
     COMMON,
     .patience = KILL_STARVING,
     .setup = setup_held,
     .operate = {op_acquire},
     .sleeps = harness_releases,
     .check = check_holds},
    {.name = "acquire, one waits behind, then it is released",
     COMMON,
     .patience = KILL_PATIENT,
     .setup = setup_held,
     .operate = {op_acquire, op_acquire},
     .sleeps = harness_releases_for_two,
     .check = check_holds},
    {.name = "acquire, one waits behind, then it is handed over",
     COMMON,
     .patience = KILL_STARVING,
     .setup = setup_held,
     .operate = {op_acquire, op_acquire},
     .sleeps = harness_releases_for_two,
     .check = check_holds},
    {.name = "acquire in vain",
     COMMON,
     .setup = setup_held,
     .operate = {op_acquire_in_vain},
     .check = check_in_vain},
    {.name = "acquire in vain, one waits",
     COMMON,
     .setup = setup_held,
     .ready = kill_one_waits,
     .operate = {op_acquire_in_vain, op_acquire},
     .check = check_in_vain},
    {.name = "acquire what was abandoned",
     COMMON,
     .setup = setup_abandoned,
     .operate = {op_acquire},
     .check = check_told_once},
    {.name = "acquire what was abandoned, and be refused",
     COMMON,
     .setup = setup_refusing,
     .operate = {op_acquire},
     .check = check_told_once},
    {.name = "acquire what was abandoned, and be refused, one waits",
     COMMON,
     .patience = KILL_PATIENT,
     .setup = setup_refusing_held,
     .ready = one_waits_for_abandoned,
     .operate = {op_acquire, op_acquire},
     .check = check_told_once},
    {.name = "release",
     COMMON,
     .setup = setup_free,
     .warm = warm_hold,
     .operate = {op_release},
     .check = check_released},
    {.name = "release, one waits",
     COMMON,
     .patience = KILL_PATIENT,
     .setup = setup_free,
     .warm = warm_hold,
     .ready = kill_one_waits,
     .operate = {op_release, op_acquire},
     .check = check_released},
    {.name = "release, two wait",
     COMMON,
     .patience = KILL_PATIENT,
     .setup = setup_free,
     .warm = warm_hold,
     .ready = kill_two_wait,
     .operate = {op_release, op_acquire, op_acquire},
     .check = check_released},
    {.name = "release, one starves",
     COMMON,
     .patience = KILL_STARVING,
     .setup = setup_free,
     .warm = warm_hold,
     .ready = kill_one_waits,
     .operate = {op_release, op_acquire},
     .check = check_released},
    {.name = "release, two starve",
     COMMON,
     .patience = KILL_STARVING,
     .setup = setup_free,
     .warm = warm_hold,
     .ready = kill_two_wait,
     .operate = {op_release, op_acquire, op_acquire},
     .check = check_released},
    {.name = "release for another process",
     COMMON,
     .setup = setup_held,
     .operate = {op_release},
     .check = check_released},
    {.name = "release for another process, one waits",
     COMMON,
     .patience = KILL_PATIENT,
     .setup = setup_held,
     .ready = kill_one_waits,
     .operate = {op_release, op_acquire},
     .check = check_released},
    {.name = "rlock, acquire",
     COMMON,
     .setup = setup_free,
     .operate = {op_acquire_rlock},
     .check = check_holds},
    {.name = "rlock, acquire, then it is handed over",
     COMMON,
     .patience = KILL_STARVING,
     .setup = setup_held,
     .operate = {op_acquire_rlock},
     .sleeps = harness_releases,
     .check = check_holds},
    {.name = "rlock, twice in and out",
     COMMON,
     .setup = setup_free,
     .operate = {op_rlock_twice},
     .check = check_released},
    {.name = "once", COMMON, .setup = setup_free, .operate = {op_once}, .check = check_once},
    {.name = "once, abandoned",
     COMMON,
     .setup = setup_abandoned,
     .operate = {op_once},
     .check = check_once},
    {.name = "once, which fails",
     COMMON,
     .setup = setup_free,
     .operate = {op_once_in_vain},
     .check = check_once},
};

/* The one who holds it dies; two wait. */
static const struct kill_scenario reapings[] = {
    {.name = "reap a holder, two wait",
     COMMON,
     .setup = setup_free,
     .warm = warm_hold,
     .ready = kill_two_wait,
     .stride = 40,
     .operate = {op_release, op_acquire, op_acquire, kill_op_reap}},
    {.name = "reap a waiter for whom it is reserved, one waits behind",
     COMMON,
     .patience = KILL_STARVING,
     .setup = setup_held,
     .sleeps = harness_releases_for_two,
     .stride = 200,
     .operate = {op_acquire, op_acquire, NULL, kill_op_reap}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_lock");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_reaping, reapings);
    kill_real(&scenarios[4]);
    kill_real(&scenarios[14]);
    return kill_end();
}
