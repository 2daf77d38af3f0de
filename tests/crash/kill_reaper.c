/* SPDX-License-Identifier: MIT
 * The reaper, killed at each instruction while it repairs what another one left: a second reaper
 * finds both. The first death is real. */
#include "lib/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define VICTIM      0u
#define REAPER      1u
#define STATES_MOST 2000u

static struct kin_queue *mine;
static void *block;

static int64_t op_put(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_queue_try_put(world->queue, message, world->scenario->bytes);
}

static int64_t op_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_try_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER);
}

static int64_t op_wait_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER,
                         kin_after_ms(600000));
}

KILL_STEP(op_create, kin_queue_create(world->live, NULL, &mine) < 0 ? -EIO : -EAGAIN);

static int64_t op_destroy(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    kin_queue_destroy(mine);
    return -EAGAIN;
}

KILL_STEP(op_alloc, kin_block_alloc(world->live, 200000, &block) < 0 ? -EIO : -EAGAIN);

static int64_t op_reap(struct kill_world *world, uint32_t who)
{
    (void)who;
    int r = kini_reap(world->live, (uint32_t)world->page->actors[VICTIM].value);
    return r == 1 ? -EAGAIN : -EIO;
}

static void warm_own(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL)
        kill_broken("no thread: %s", kin_error_text());
    if (who == REAPER)
        return;
    struct kin_queue_opts opts = {.max_items = 30, .inline_bytes = 1008};
    if (kin_queue_create(world->live, &opts, &mine) < 0)
        kill_broken("no queue: %s", kin_error_text());
    kill_put_number(mine, 1500, 0);
    kill_put_number(mine, 33000, 0);
}

/* A consumer of the first item died before. */
static void setup_back(struct kill_world *world)
{
    struct kini_segment_shm *segment = kini_segment_of(world->live, world->queue->shm->get_at);
    uint64_t head = segment->head;
    segment->head = head + 1;
    kini_cell(segment, head)->seq = (head + 1) | KINI_CELL_BACK;
    world->queue->shm->back_made += 1;
}

/* While the victim sleeps an item comes, and it is chosen. */
static bool sleeps_then_put(struct kill_world *world, uint32_t times)
{
    if (times != 1)
        return false;
    kini_last_self = world->live_self;
    kill_put_number(world->queue, world->scenario->bytes, 1002);
    world->done[2] = true;
    return true;
}

#define WITH_QUEUE .flags = KILL_MAY_BE_EMPTY, .bytes = 600

static const struct kill_scenario scenarios[] = {
    {.name = "put a block", WITH_QUEUE, .items = 1, .operate = {op_put, op_reap}, .puts = {1000}},
    {.name = "put into a new segment",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .items = 256,
     .operate = {op_put, op_reap},
     .puts = {1000}},
    {.name = "get a block", WITH_QUEUE, .items = 2, .operate = {op_get, op_reap}},
    {.name = "get a large block",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 33000,
     .items = 2,
     .operate = {op_get, op_reap}},
    {.name = "get a block again",
     WITH_QUEUE,
     .items = 2,
     .max_items = 4,
     .setup = setup_back,
     .operate = {op_get, op_reap}},
    {.name = "wait in get, then an item comes",
     WITH_QUEUE,
     .sleeps = sleeps_then_put,
     .operate = {op_wait_get, op_reap},
     .puts = {0, 0, 1002}},
    {.name = "create a queue", WITH_QUEUE, .items = 1, .operate = {op_create, op_reap}},
    {.name = "destroy a queue",
     WITH_QUEUE,
     .items = 1,
     .warm = warm_own,
     .operate = {op_destroy, op_reap}},
    {.name = "alloc a large block", WITH_QUEUE, .items = 1, .operate = {op_alloc, op_reap}},
};

/* The steps of the victim after which something in the arena had changed. */
static uint32_t find_states(const struct kill_scenario *scenario, uint64_t *steps)
{
    static struct kill_world world;
    struct kill_victim victim;
    uint32_t count = 0;
    kill_world_open(&world, scenario);
    kill_victim_start(&world, &victim, VICTIM);
    while (!victim.done && !victim.blocked && count < STATES_MOST) {
        if (!kill_image_same(&world.last, world.live)) {
            kill_image_take(&world.last, world.live);
            steps[count++] = victim.steps;
        }
        kill_victim_step(&world, &victim);
    }
    kill_victim_end(&victim);
    kill_world_close(&world);
    return count;
}

static void kill_twice(const struct kill_scenario *scenario, uint64_t steps)
{
    static struct kill_world world;
    struct kill_victim victim, reaper;
    kill_world_open(&world, scenario);
    kill_victim_start(&world, &victim, VICTIM);
    while (victim.steps < steps && !victim.done)
        kill_victim_step(&world, &victim);
    kill_victim_end(&victim);
    world.dead_slots[VICTIM] = victim.slot;
    world.page->actors[VICTIM].value = victim.slot;
    kill_victim_start(&world, &reaper, REAPER);
    kill_step_through(&world, &reaper);
    kill_victim_end(&reaper);
    kill_world_close(&world);
}

static void run(const struct kill_scenario *scenario)
{
    static uint64_t steps[STATES_MOST];
    if (!kill_wanted(scenario->name))
        return;
    kill_scenario_begin("the reaper of", scenario->name);
    uint32_t count = find_states(scenario, steps);
    uint32_t stride = kill_exhaustive() ? 1 : count / 12 + 1;
    for (uint32_t i = 0; i < count && !kill_scenario_hopeless(); i += stride)
        kill_twice(scenario, steps[i]);
    kill_scenario_end();
}

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_reaper");
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        run(&scenarios[i]);
    return kill_end();
}
