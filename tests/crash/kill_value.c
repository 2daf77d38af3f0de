/* SPDX-License-Identifier: MIT
 * Values and arrays: killed at every instruction of a set, of an atomic step that wakes, of the
 * reaper that finishes a set, and of an array's beginning and end. */
#include "lib/harness_sync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "coll/value.h"

#include <kin/array.h>
#include <kin/value.h>

#define NUMBERS 5
#define OLD     0x1111111111111111ull
#define NEW     0x2222222222222222ull

struct some {
    uint64_t numbers[NUMBERS];
};

static struct kin_value *value;
static struct kin_array *mine; /* the victim's own */

static struct some all(uint64_t number)
{
    struct some some;
    for (int i = 0; i < NUMBERS; i++)
        some.numbers[i] = number;
    return some;
}

/* --- what the victims do ---------------------------------------------------------------------- */

static int64_t op_set(struct kill_world *world, uint32_t who)
{
    const struct some some = all(NEW);
    (void)world;
    (void)who;
    return kin_value_set(value, &some, kill_far_away());
}

KILL_STEP(op_add, kin_value_add(value, 1, NULL));

static int64_t op_wait(struct kill_world *world, uint32_t who)
{
    const struct some some = all(OLD);
    (void)world;
    (void)who;
    return kin_value_wait(value, &some, kill_far_away());
}

static const struct kin_array_opts array_opts = {.type = 'd', .length = 20000};

KILL_STEP(op_create, kin_array_create(world->live, &array_opts, &mine));

static int64_t op_destroy(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    kin_array_destroy(mine);
    return 0;
}

static void warm_array(struct kill_world *world, uint32_t who)
{
    (void)who;
    if (kin_array_create(world->live, &array_opts, &mine) < 0)
        _Exit(3);
    ((double *)kin_array_ptr(mine))[15000] = 1; /* no commit bit tells of it */
}

/* --- before ----------------------------------------------------------------------------------- */

static void setup_struct(struct kill_world *world)
{
    const struct some some = all(OLD);
    const struct kin_value_opts opts = {.value_bytes = sizeof some, .initial = &some};
    if (kin_value_create(world->live, &opts, &value) < 0)
        kill_broken("no value: %s", kin_error_text());
}

static void setup_number(struct kill_world *world)
{
    const struct some some = all(OLD);
    if (kin_value_create(world->live, &(struct kin_value_opts){.type = 'Q', .initial = &some},
                         &value) < 0)
        kill_broken("no value: %s", kin_error_text());
}

/* --- after ------------------------------------------------------------------------------------ */

/* A handle of the value in the arena of the view, to be destroyed. */
static struct kin_value *handle_in(struct kill_view *view)
{
    struct kin_value *copy = malloc(sizeof *copy);
    if (copy == NULL)
        kill_broken("no memory for a handle");
    *copy = *value;
    copy->items.handle = kill_handle(view, value);
    copy->items.rlock = copy->items.handle;
    copy->items.rlock.type = KINI_OBJECT_RLOCK;
    copy->items.rlock.is_part = 1;
    copy->items.data =
        kini_at(view->arena, kini_offset(value->items.handle.arena, value->items.data));
    return copy;
}

static void check_told(struct kill_view *view, bool changed)
{
    struct kini_items_shm *shm = kill_shm(view, value);
    kill_check_waitq(view, &shm->waiters, "value");
    uint32_t waiting = kill_queued(view, &shm->waiters);
    KILL_CHECK(!changed || waiting == 0 || kill_untold(view, &shm->waiters) == 0,
               "the value has changed, and one of %u was not told", waiting);
}

/* The old one or the new one, in the hands of nobody, and good for more. */
static void check_struct(struct kill_world *world, struct kill_view *view)
{
    struct kini_items_shm *shm = kill_shm(view, value);
    struct kin_value *copy = handle_in(view);
    struct some now = all(0), next = all(7);
    KILL_CHECK(shm->half_set == 0, "the value is still half set");
    int r = kin_value_get(copy, KIN_NOW, &now);
    KILL_CHECK(r == 0 || (r == KIN_ABANDONED && world->dead_slots[0] != 0), "get: %d", r);
    for (int i = 0; i < NUMBERS; i++)
        KILL_CHECK(now.numbers[i] == now.numbers[0], "the value is torn at %d", i);
    KILL_CHECK(now.numbers[0] == NEW || (now.numbers[0] == OLD && !world->done[0]),
               "the value is %llx", (unsigned long long)now.numbers[0]);
    check_told(view, now.numbers[0] == NEW);
    KILL_CHECK(kin_value_set(copy, &next, KIN_NOW) == 0, "the survivor cannot set");
    KILL_CHECK(kin_value_get(copy, KIN_NOW, &now) == 0 && memcmp(&now, &next, sizeof now) == 0,
               "the survivor does not get what it has set");
    kin_value_destroy(copy);
}

static void check_number(struct kill_world *world, struct kill_view *view)
{
    struct kin_value *copy = handle_in(view);
    int64_t now = 0;
    KILL_CHECK(kin_value_load(copy, &now) == 0, "the value cannot be read");
    KILL_CHECK(now == (int64_t)OLD + 1 || (now == (int64_t)OLD && !world->done[0]),
               "the number is %llx", (unsigned long long)now);
    check_told(view, now != (int64_t)OLD);
    kin_value_destroy(copy);
}

static void check_nothing_left(struct kill_world *world, struct kill_view *view)
{
    (void)world;
    for (uint32_t id = 1; id < view->arena->super->objects_high; id++)
        KILL_CHECK(KINI_OBJECT_STATE(view->arena->objects[id].state) == KINI_OBJECT_FREE,
                   "object %u is left", id);
}

static const struct kill_scenario scenarios[] = {
    {.name = "set a struct",
     .flags = KILL_NO_QUEUE,
     .setup = setup_struct,
     .operate = {op_set},
     .check = check_struct},
    {.name = "set a struct, one waits",
     .flags = KILL_NO_QUEUE,
     .setup = setup_struct,
     .ready = kill_one_waits,
     .over = kill_peers_end,
     .operate = {op_set, op_wait},
     .check = check_struct},
    {.name = "add, one waits",
     .flags = KILL_NO_QUEUE,
     .setup = setup_number,
     .ready = kill_one_waits,
     .over = kill_peers_end,
     .operate = {op_add, op_wait},
     .check = check_number},
    {.name = "create an array",
     .flags = KILL_NO_QUEUE,
     .operate = {op_create},
     .check = check_nothing_left},
    {.name = "destroy an array",
     .flags = KILL_NO_QUEUE,
     .warm = warm_array,
     .operate = {op_destroy},
     .check = check_nothing_left},
};

static const struct kill_scenario reapings[] = {
    {.name = "reap one who stands in a set",
     .flags = KILL_NO_QUEUE,
     .setup = setup_struct,
     .over = kill_peers_end,
     .stride = 9,
     .operate = {op_set, NULL, NULL, kill_op_reap},
     .check = check_struct},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_value");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_reaping, reapings);
    kill_real(&scenarios[0]);
    kill_real(&scenarios[3]);
    return kill_end();
}
