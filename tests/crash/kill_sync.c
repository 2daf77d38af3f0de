/* SPDX-License-Identifier: MIT
 * Rwlock, event, the wait for any of several, and the descriptor for it: killed at every
 * instruction. What must hold is in kill_sync_check. */
#include "lib/harness_sync.h"

#include <errno.h>
#include <stdlib.h>

#include <kin/event.h>
#include <kin/ready.h>
#include <kin/rwlock.h>
#include <kin/wait.h>

static struct kin_rwlock *rwlock;
static struct kin_event *event;
static struct kin_lock *lock;
static struct kin_semaphore *semaphore;

/* --- what the victims do ---------------------------------------------------------------------- */

KILL_STEP(op_read, kin_rwlock_acquire_read(rwlock, kill_far_away()));
KILL_STEP(op_write, kin_rwlock_acquire_write(rwlock, kill_far_away()));
KILL_STEP(op_write_in_vain,
          kin_rwlock_acquire_write(rwlock, kill_at_once()) == -ETIMEDOUT ? 0 : -EIO);
KILL_STEP(op_leave, kin_rwlock_release(rwlock));
KILL_STEP(op_event_wait, kin_event_wait(event, kill_far_away()));
KILL_STEP(op_event_in_vain, kin_event_wait(event, kill_at_once()) == -ETIMEDOUT ? 0 : -EIO);
KILL_STEP(op_event_set, kin_event_set(event));

static int64_t op_event_pulse(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    int r = kin_event_set(event);
    return r < 0 ? r : kin_event_clear(event);
}

static int64_t wait_any(struct kill_world *world, kin_deadline deadline)
{
    struct kin_wait waits[] = {kin_wait_lock(lock), kin_wait_semaphore(semaphore),
                               kin_wait_event(event)};
    return kin_wait_any(world->live, waits, 3, deadline);
}

KILL_STEP(op_any, wait_any(world, kill_far_away()));
KILL_STEP(op_any_in_vain, wait_any(world, kill_at_once()) == -ETIMEDOUT ? 0 : -EIO);

static struct kin_ready *make_ready(struct kill_world *world)
{
    struct kin_ready *ready;
    const struct kin_wait waits[] = {kin_wait_event(event), kin_wait_lock(lock)};
    return kin_ready_create(world->live, waits, 2, &ready) < 0 ? NULL : ready;
}

/* Made, armed, rung by itself, checked until the queues do not count it, armed and destroyed. */
static int64_t op_ready(struct kill_world *world, uint32_t who)
{
    (void)who;
    struct kin_ready *ready = make_ready(world);
    if (ready == NULL || kin_ready_check(ready) != -EAGAIN || kin_event_set(event) < 0)
        return -EIO;
    for (int i = 0; i < 5; i++)
        if (kin_ready_check(ready) != 0)
            return -EIO;
    if (kin_event_clear(event) < 0 || kin_ready_check(ready) != -EAGAIN)
        return -EIO;
    kin_ready_destroy(ready);
    return 0;
}

/* Sleeps beside an armed one, so that a death finds both. */
static int64_t op_ready_and_any(struct kill_world *world, uint32_t who)
{
    struct kin_ready *ready = make_ready(world);
    if (ready == NULL || kin_ready_check(ready) != -EAGAIN)
        return -EIO;
    return op_any(world, who);
}

KILL_STEP(op_unlock, kin_lock_release(lock));
KILL_STEP(op_lock, kin_lock_acquire(lock, kill_far_away()));
KILL_STEP(op_give, kin_semaphore_release(semaphore));

/* --- before ----------------------------------------------------------------------------------- */

static void setup_rwlock(struct kill_world *world)
{
    if (kin_rwlock_create(world->live, NULL, &rwlock) < 0)
        kill_broken("no rwlock: %s", kin_error_text());
}

static void setup_read(struct kill_world *world)
{
    setup_rwlock(world);
    if (kin_rwlock_try_read(rwlock) < 0)
        kill_broken("a new rwlock cannot be read");
}

static void setup_written(struct kill_world *world)
{
    setup_rwlock(world);
    if (kin_rwlock_try_write(rwlock) < 0)
        kill_broken("a new rwlock cannot be written");
}

static void setup_event(struct kill_world *world)
{
    if (kin_event_create(world->live, NULL, &event) < 0)
        kill_broken("no event: %s", kin_error_text());
}

/* One of each, and there is nothing of any. The lock and the permit are the victim's. */
static void setup_any(struct kill_world *world)
{
    setup_event(world);
    if (kin_lock_create(world->live, NULL, &lock) < 0 ||
        kin_semaphore_create(world->live, 1, NULL, &semaphore) < 0)
        kill_broken("no objects: %s", kin_error_text());
}

/* They are the harness's. */
static void setup_any_taken(struct kill_world *world)
{
    setup_any(world);
    if (kin_lock_acquire(lock, KIN_NOW) < 0 || kin_semaphore_try_acquire(semaphore) < 0)
        kill_broken("new objects are taken");
}

static void warm_read(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL || (who == 0 && kin_rwlock_try_read(rwlock) < 0))
        _Exit(3);
}

static void warm_write(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL || (who == 0 && kin_rwlock_try_write(rwlock) < 0))
        _Exit(3);
}

static void warm_take(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL)
        _Exit(3);
    if (who == 0 &&
        (kin_lock_acquire(lock, KIN_NOW) < 0 || kin_semaphore_try_acquire(semaphore) < 0))
        _Exit(4);
}

/* --- while the victim sleeps ------------------------------------------------------------------ */

static bool harness_leaves(struct kill_world *world, uint32_t times)
{
    kini_last_self = world->live_self;
    if (times == 1 && kin_rwlock_release(rwlock) < 0)
        kill_broken("the harness cannot release the rwlock");
    return times == 1;
}

static bool one_behind(struct kill_world *world, uint32_t times)
{
    if (times == 1)
        kill_peer_waits(world, 1);
    return harness_leaves(world, times);
}

static bool harness_sets(struct kill_world *world, uint32_t times)
{
    kini_last_self = world->live_self;
    if (times == 1 && kin_event_set(event) < 0)
        kill_broken("the harness cannot set the event");
    return times == 1;
}

static bool harness_pulses(struct kill_world *world, uint32_t times)
{
    bool goes_on = harness_sets(world, times);
    if (times == 1 && kin_event_clear(event) < 0)
        kill_broken("the harness cannot clear the event");
    return goes_on;
}

/* --- what must hold --------------------------------------------------------------------------- */

static void check_result(struct kill_world *world, struct kill_view *view)
{
    (void)view;
    int64_t r = world->page->actors[0].result;
    if (world->done[0])
        KILL_CHECK(r >= 0, "the operation answers %lld", (long long)r);
}

/* Who died as the writer is found out about by the next. */
static void check_abandoned(struct kill_world *world, struct kill_view *view)
{
    struct kini_handle copy = kill_handle(view, rwlock);
    bool wrote = KINI_COUNTED_VALUE(world->before[copy.id]) & KILL_WRITER;
    int64_t deaths = kin_rwlock_abandoned((struct kin_rwlock *)&copy);
    check_result(world, view);
    KILL_CHECK(deaths <= 1 && (deaths == 1 || !wrote || world->dead_slots[3] != 0),
               "%lld writers died, and one %s", (long long)deaths, wrote ? "did" : "did not");
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define COMMON                                                                                     \
    .flags = KILL_NO_QUEUE, .patience = KILL_PATIENT, .over = kill_peers_end, .check = check_result

static const struct kill_scenario scenarios[] = {
    {.name = "read", COMMON, .setup = setup_read, .operate = {op_read}},
    {.name = "write", COMMON, .setup = setup_rwlock, .operate = {op_write}},
    {.name = "read, then the writer leaves",
     COMMON,
     .setup = setup_written,
     .operate = {op_read},
     .sleeps = harness_leaves},
    {.name = "write, then the reader leaves",
     COMMON,
     .setup = setup_read,
     .operate = {op_write},
     .sleeps = harness_leaves},
    {.name = "write, one wants to read, then the reader leaves",
     COMMON,
     .setup = setup_read,
     .operate = {op_write, op_read},
     .sleeps = one_behind},
    {.name = "read, one wants to write, then the writer leaves",
     COMMON,
     .setup = setup_written,
     .operate = {op_read, op_write},
     .sleeps = one_behind},
    {.name = "write in vain, one wants to read",
     COMMON,
     .setup = setup_written,
     .ready = kill_one_waits,
     .operate = {op_write_in_vain, op_read}},
    {.name = "stop reading, two want to write",
     COMMON,
     .setup = setup_rwlock,
     .warm = warm_read,
     .ready = kill_two_wait,
     .operate = {op_leave, op_write, op_write}},
    {.name = "stop writing, one wants to read, one to write",
     COMMON,
     .setup = setup_rwlock,
     .warm = warm_write,
     .ready = kill_two_wait,
     .operate = {op_leave, op_read, op_write}},
    {.name = "stop writing, one wants to write",
     COMMON,
     .setup = setup_rwlock,
     .warm = warm_write,
     .ready = kill_one_waits,
     .operate = {op_leave, op_write}},
    {.name = "event, wait, then it is set",
     COMMON,
     .setup = setup_event,
     .operate = {op_event_wait},
     .sleeps = harness_sets},
    {.name = "event, wait, then it is set and cleared",
     COMMON,
     .setup = setup_event,
     .operate = {op_event_wait},
     .sleeps = harness_pulses},
    {.name = "event, wait in vain, one waits",
     COMMON,
     .setup = setup_event,
     .ready = kill_one_waits,
     .operate = {op_event_in_vain, op_event_wait}},
    {.name = "event, set, two wait",
     COMMON,
     .setup = setup_event,
     .ready = kill_two_wait,
     .operate = {op_event_set, op_event_wait, op_event_wait}},
    {.name = "event, set and clear, two wait",
     COMMON,
     .setup = setup_event,
     .ready = kill_two_wait,
     .operate = {op_event_pulse, op_event_wait, op_event_wait}},
    {.name = "any, then an event is set",
     COMMON,
     .setup = setup_any_taken,
     .operate = {op_any},
     .sleeps = harness_sets},
    {.name = "any in vain, one waits for any",
     COMMON,
     .setup = setup_any_taken,
     .ready = kill_one_waits,
     .operate = {op_any_in_vain, op_any}},
    {.name = "any, the event is set",
     COMMON,
     .setup = setup_any_taken,
     .ready = kill_two_wait,
     .operate = {op_event_set, op_any, op_event_wait}},
    {.name = "any, the lock is released",
     COMMON,
     .setup = setup_any,
     .warm = warm_take,
     .ready = kill_two_wait,
     .operate = {op_unlock, op_any, op_lock}},
    {.name = "any, a permit is released",
     COMMON,
     .setup = setup_any,
     .warm = warm_take,
     .ready = kill_two_wait,
     .operate = {op_give, op_any, op_any}},
    {.name = "a descriptor, one waits for any",
     COMMON,
     .setup = setup_any_taken,
     .ready = kill_one_waits,
     .operate = {op_ready, op_any}},
    {.name = "the event is set, one has a descriptor",
     COMMON,
     .setup = setup_any_taken,
     .ready = kill_one_waits,
     .operate = {op_event_set, op_ready_and_any}},
};

static const struct kill_scenario reapings[] = {
    {.name = "reap a writer, one wants to read, one to write",
     .flags = KILL_NO_QUEUE,
     .over = kill_peers_end,
     .check = check_abandoned,
     .setup = setup_rwlock,
     .warm = warm_write,
     .ready = kill_two_wait,
     .stride = 60,
     .operate = {op_leave, op_read, op_write, kill_op_reap}},
    {.name = "reap one who waits for any, one waits for any",
     .flags = KILL_NO_QUEUE,
     .over = kill_peers_end,
     .setup = setup_any_taken,
     .ready = kill_one_waits,
     .stride = 150,
     .operate = {op_any, op_any, NULL, kill_op_reap}},
    {.name = "reap one who has a descriptor, one waits for any",
     .flags = KILL_NO_QUEUE,
     .over = kill_peers_end,
     .setup = setup_any_taken,
     .ready = kill_one_waits,
     .stride = 150,
     .operate = {op_ready_and_any, op_any, NULL, kill_op_reap}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_sync");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_reaping, reapings);
    kill_real(&scenarios[8]);
    kill_real(&scenarios[15]);
    return kill_end();
}
