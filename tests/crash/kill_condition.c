/* SPDX-License-Identifier: MIT
 * Condition and barrier: killed at every instruction of wait and notify, of arriving and ending. */
#include "lib/harness_sync.h"

#include <errno.h>

#include <kin/barrier.h>
#include <kin/condition.h>

static struct kin_condition *condition;
static struct kin_lock *lock;
static struct kin_barrier *barrier;

enum { NOTIFIED, HAS, HAD, WAS_MEMBER, ARRIVED }; /* world->value */

/* --- condition: what the victims do ----------------------------------------------------------- */

static int64_t wait_until(kin_deadline deadline)
{
    int r = kin_condition_acquire(condition, kill_far_away());
    if (r < 0)
        return r;
    int waited = kin_condition_wait(condition, deadline);
    r = kin_condition_release(condition);
    return waited < 0 ? waited : r;
}

KILL_STEP(op_wait, wait_until(kill_far_away()));
KILL_STEP(op_wait_in_vain, wait_until(kill_at_once()) == -ETIMEDOUT ? 0 : -EIO);

static int64_t op_notify(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_condition_acquire(condition, kill_far_away());
    if (r < 0)
        return r;
    int told = kin_condition_notify(condition, 1);
    r = kin_condition_release(condition);
    return told == 1 ? r : -EIO;
}

static int64_t op_notify_all(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_condition_acquire(condition, kill_far_away());
    if (r < 0)
        return r;
    int told = kin_condition_notify_all(condition);
    r = kin_condition_release(condition);
    return told == 2 ? r : -EIO;
}

/* --- condition: around them ------------------------------------------------------------------- */

static void setup_own(struct kill_world *world)
{
    if (kin_condition_create(world->live, NULL, &condition) < 0)
        kill_broken("no condition: %s", kin_error_text());
}

static void setup_given(struct kill_world *world)
{
    if (kin_lock_create(world->live, NULL, &lock) < 0)
        kill_broken("no lock: %s", kin_error_text());
    struct kin_condition_opts opts = {.lock = lock};
    if (kin_condition_create(world->live, &opts, &condition) < 0)
        kill_broken("no condition: %s", kin_error_text());
}

static void harness_notifies(struct kill_world *world, bool keep)
{
    kini_last_self = world->live_self;
    if (kin_condition_acquire(condition, KIN_NOW) < 0 || kin_condition_notify(condition, 1) != 1)
        kill_broken("the harness cannot notify");
    if (!keep && kin_condition_release(condition) < 0)
        kill_broken("the harness cannot release");
    world->value[NOTIFIED] = 1;
}

static bool sleeps_then_notified(struct kill_world *world, uint32_t times)
{
    if (times == 1)
        harness_notifies(world, false);
    return times == 1;
}

static bool sleeps_one_behind(struct kill_world *world, uint32_t times)
{
    if (times == 1) {
        kill_peer_waits(world, 1);
        harness_notifies(world, false);
    }
    return times == 1;
}

/* The lock is held for a while: it sleeps with the notification in its hands. */
static bool sleeps_twice(struct kill_world *world, uint32_t times)
{
    if (times == 1) {
        kill_peer_waits(world, 1);
        kill_peer_waits(world, 2);
        harness_notifies(world, true);
    }
    kini_last_self = world->live_self;
    if (times == 2 && kin_condition_release(condition) < 0)
        kill_broken("the harness cannot release");
    return times <= 2;
}

static bool is_notified(struct kill_world *world, uint64_t at)
{
    (void)at;
    return world->value[NOTIFIED] != 0;
}

/* --- condition: what must hold ---------------------------------------------------------------- */

static void observe_victim(struct kill_world *world, struct kill_view *view)
{
    struct kill_condition_shm *shm = kill_shm(view, condition);
    uint32_t index = kill_thread_of(view, world->dead_slots[0]);
    struct kini_thread_shm *t = &view->arena->threads[index];
    bool moved = world->value[NOTIFIED] && t->wait_state == KINI_WAIT_QUEUED &&
                 t->wait_queue != kini_offset(view->arena, &shm->waiters);
    world->value[HAS] = index != 0 && (moved || kill_is_notified(view, &shm->waiters, index));
    world->value[HAD] |= world->value[HAS];
}

static uint32_t count_notified(struct kill_view *view)
{
    struct kill_condition_shm *shm = kill_shm(view, condition);
    return kill_notified(view, &shm->waiters);
}

static void check_result(struct kill_world *world)
{
    int64_t r = world->page->actors[0].result;
    KILL_CHECK(!world->done[0] || r == 0, "the operation answers %lld", (long long)r);
}

/* One notification was given: the victim has used it, or another one has it. */
static void check_passed_on(struct kill_world *world, struct kill_view *view)
{
    check_result(world);
    struct kill_condition_shm *shm = kill_shm(view, condition);
    uint32_t chosen = count_notified(view), others = kill_queued(view, &shm->waiters) + chosen;
    bool has = world->value[HAS];
    if (world->value[NOTIFIED] == 0 || others == 0)
        return;
    KILL_CHECK(chosen == has, "the victim had %s notification, and %u of the others have one",
               has ? "a" : "no", chosen);
}

/* A reaper was killed over it: it may be passed on twice. */
static void check_not_lost(struct kill_world *world, struct kill_view *view)
{
    uint32_t chosen = count_notified(view);
    KILL_CHECK(chosen >= world->value[HAD], "the notification of the dead is lost");
    KILL_CHECK(world->value[NOTIFIED] || chosen == 0, "somebody was notified by nobody");
}

static void check_notified(struct kill_world *world, struct kill_view *view)
{
    check_result(world);
    uint32_t chosen = count_notified(view);
    uint32_t most = world->scenario->operate[0] == op_notify ? 1 : 2;
    struct kill_condition_shm *shm = kill_shm(view, condition);
    uint32_t waiting = kill_queued(view, &shm->waiters);
    KILL_CHECK(chosen <= most && (chosen == most || !world->done[0]),
               "%u were notified, %u should be", chosen, most);
    KILL_CHECK(waiting + chosen >= 2, "two waited; %u do, and %u were notified", waiting, chosen);
}

static void check_nobody_notified(struct kill_world *world, struct kill_view *view)
{
    check_result(world);
    KILL_CHECK(count_notified(view) == 0, "somebody was notified by nobody");
}

/* --- barrier ---------------------------------------------------------------------------------- */

static int action(void *arg)
{
    (void)arg;
    return 0;
}

static void make_barrier(struct kill_world *world, uint32_t parties)
{
    struct kin_barrier_opts opts = {.action = action};
    if (kin_barrier_create(world->live, parties, &opts, &barrier) < 0)
        kill_broken("no barrier: %s", kin_error_text());
}

static void setup_barrier(struct kill_world *world)
{
    make_barrier(world, 3);
}

KILL_STEP(op_arrive, kin_barrier_wait(barrier, kill_far_away()));
KILL_STEP(op_arrive_shortly, kin_barrier_wait(barrier, kill_at_once()) == -ETIMEDOUT ? 0 : -EIO);
KILL_STEP(op_arrive_at_broken, kin_barrier_wait(barrier, kill_far_away()) == -EPIPE ? 0 : -EIO);
KILL_STEP(op_abort, kin_barrier_abort(barrier));
KILL_STEP(op_reset, kin_barrier_reset(barrier));

/* A peer comes, then the harness is the last. */
static bool harness_is_last(struct kill_world *world, uint32_t times)
{
    if (times != 1)
        return false;
    kill_peer_waits(world, 1);
    kini_last_self = world->live_self;
    if (kin_barrier_wait(barrier, KIN_NOW) != 2)
        kill_broken("the harness is not the last at the barrier");
    return true;
}

static bool harness_breaks(struct kill_world *world, uint32_t times)
{
    if (times != 1)
        return false;
    kill_peer_waits(world, 1);
    kini_last_self = world->live_self;
    if (kin_barrier_abort(barrier) < 0)
        kill_broken("the harness cannot break the barrier");
    return true;
}

static void observe_member(struct kill_world *world, struct kill_view *view)
{
    struct kill_barrier_shm *shm = kill_shm(view, barrier);
    uint32_t slot = world->dead_slots[0];
    world->value[WAS_MEMBER] = slot != 0 && (shm->members[slot / 64] >> (slot % 64) & 1);
    world->value[ARRIVED] = KILL_BARRIER_ARRIVED(shm->word);
}

/* Broken by the death of a member, else not. Who waits is told: kill_sync_check. */
static void check_broken(struct kill_world *world, struct kill_view *view)
{
    struct kill_barrier_shm *shm = kill_shm(view, barrier);
    bool aborts = world->scenario->operate[0] == op_abort ||
                  world->scenario->operate[0] == op_arrive_shortly ||
                  world->scenario->sleeps == harness_breaks;
    bool broken = shm->word & KILL_BARRIER_BROKEN;
    uint32_t waiting = kill_queued(view, &shm->waiters);
    KILL_CHECK(!world->done[0] || world->page->actors[0].result >= 0, "the operation answers %lld",
               (long long)world->page->actors[0].result);
    KILL_CHECK(broken || !world->value[WAS_MEMBER], "a member died, and the barrier is whole");
    KILL_CHECK(!broken || world->value[WAS_MEMBER] || aborts, "nobody died here, and it is broken");
    KILL_CHECK(world->value[WAS_MEMBER] || world->value[ARRIVED] <= waiting || broken ||
                   world->done[0],
               "%llu arrived, one of them is dead and no member",
               (unsigned long long)world->value[ARRIVED]);
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define COMMON .flags = KILL_NO_QUEUE, .patience = KILL_PATIENT, .over = kill_peers_end

static const struct kill_scenario scenarios[] = {
    {.name = "condition, wait, then it is notified",
     COMMON,
     .setup = setup_own,
     .operate = {op_wait},
     .sleeps = sleeps_then_notified,
     .observe = observe_victim,
     .check = check_passed_on},
    {.name = "condition, wait, one waits behind, then one is notified",
     COMMON,
     .setup = setup_own,
     .operate = {op_wait, op_wait},
     .sleeps = sleeps_one_behind,
     .observe = observe_victim,
     .check = check_passed_on},
    {.name = "condition, wait, notified, the lock is held",
     COMMON,
     .setup = setup_own,
     .operate = {op_wait, op_wait, op_wait},
     .sleeps = sleeps_twice,
     .observe = observe_victim,
     .check = check_passed_on},
    {.name = "condition of a lock, wait, notified, the lock is held",
     COMMON,
     .setup = setup_given,
     .operate = {op_wait, op_wait, op_wait},
     .sleeps = sleeps_twice,
     .observe = observe_victim,
     .check = check_passed_on},
    {.name = "condition, wait in vain, one waits",
     COMMON,
     .setup = setup_own,
     .ready = kill_one_waits,
     .operate = {op_wait_in_vain, op_wait},
     .check = check_nobody_notified},
    {.name = "condition, notify one of two",
     COMMON,
     .setup = setup_own,
     .ready = kill_two_wait,
     .operate = {op_notify, op_wait, op_wait},
     .check = check_notified},
    {.name = "condition of a lock, notify all",
     COMMON,
     .setup = setup_given,
     .ready = kill_two_wait,
     .operate = {op_notify_all, op_wait, op_wait},
     .check = check_notified},
    {.name = "barrier, arrive, then it ends",
     COMMON,
     .setup = setup_barrier,
     .operate = {op_arrive, op_arrive},
     .sleeps = harness_is_last,
     .observe = observe_member,
     .check = check_broken},
    {.name = "barrier, arrive, then it breaks",
     COMMON,
     .setup = setup_barrier,
     .operate = {op_arrive_at_broken, op_arrive},
     .sleeps = harness_breaks,
     .observe = observe_member,
     .check = check_broken},
    {.name = "barrier, arrive in vain, one waits",
     COMMON,
     .setup = setup_barrier,
     .ready = kill_one_waits,
     .operate = {op_arrive_shortly, op_arrive},
     .observe = observe_member,
     .check = check_broken},
    {.name = "barrier, arrive last",
     COMMON,
     .setup = setup_barrier,
     .ready = kill_two_wait,
     .operate = {op_arrive, op_arrive, op_arrive},
     .observe = observe_member,
     .check = check_broken},
    {.name = "barrier, reset",
     COMMON,
     .setup = setup_barrier,
     .ready = kill_two_wait,
     .operate = {op_reset, op_arrive, op_arrive},
     .observe = observe_member,
     .check = check_broken},
    {.name = "barrier, abort",
     COMMON,
     .setup = setup_barrier,
     .ready = kill_two_wait,
     .operate = {op_abort, op_arrive, op_arrive},
     .observe = observe_member,
     .check = check_broken},
};

static const struct kill_scenario reapings[] = {
    {.name = "reap a notified one who waits for the lock",
     COMMON,
     .setup = setup_own,
     .begins = {is_notified},
     .sleeps = sleeps_twice,
     .stride = 60,
     .observe = observe_victim,
     .check = check_not_lost,
     .operate = {op_wait, op_wait, op_wait, kill_op_reap}},
    {.name = "reap a member of a barrier, two wait",
     COMMON,
     .setup = setup_barrier,
     .ready = kill_two_wait,
     .stride = 150,
     .operate = {op_arrive, op_arrive, op_arrive, kill_op_reap}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_condition");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_reaping, reapings);
    kill_real(&scenarios[2]);
    kill_real(&scenarios[9]);
    return kill_end();
}
