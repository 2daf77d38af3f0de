/* SPDX-License-Identifier: MIT
 * Queue: killed while it grows, moves on to the next segment, or takes an old one into use again.
 * A first segment has 256 cells. */
#include "lib/harness.h"

#include <errno.h>

#define FIRST_CELLS 256u

static int64_t op_put(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_queue_try_put(world->queue, message, world->scenario->bytes);
}

static int64_t op_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_try_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER);
}

static void put_many(struct kill_world *world, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        kill_put_number(world->queue, world->scenario->bytes, i);
}

static void get_many(struct kill_world *world, uint32_t count)
{
    static unsigned char buffer[KILL_BUFFER];
    for (uint32_t i = 0; i < count; i++)
        if (kin_queue_try_get(world->queue, buffer, sizeof buffer) < 0)
            kill_broken("an item does not come out");
}

/* The items that count lie in the second segment; the first is drained and still in use. */
static void setup_behind(struct kill_world *world)
{
    const uint32_t items = world->scenario->items;
    get_many(world, items);
    put_many(world, 0, FIRST_CELLS); /* from here the tail is a few cells before the wrap */
    put_many(world, 0, items);
    get_many(world, FIRST_CELLS);
}

/* The first item lies in the last cell of the first segment, the others in the second. */
static void setup_last_cell(struct kill_world *world)
{
    const uint32_t items = world->scenario->items;
    get_many(world, items);
    for (uint32_t i = 0; i < FIRST_CELLS - 1; i++)
        kill_put_number(world->queue, world->scenario->bytes, 0);
    put_many(world, 0, items);
    get_many(world, FIRST_CELLS - 1);
}

/* The first segment is idle, the second is in use and as small as the first. */
static void make_recycled(struct kill_world *world)
{
    get_many(world, world->scenario->items);
    put_many(world, 0, FIRST_CELLS + 1);
    get_many(world, FIRST_CELLS + 1);
    struct kini_segment_shm *second = kini_segment_of(world->live, world->queue->shm->get_at);
    uint64_t base = second->base;
    second->cap = FIRST_CELLS;
    kini_cell(second, base)->seq = base + FIRST_CELLS;
    struct kini_segment_shm *first = kini_at(world->live, second->all_next);
    if (first->state != KINI_SEGMENT_IDLE)
        kill_broken("the first segment is not idle");
}

static void setup_recycled(struct kill_world *world)
{
    make_recycled(world);
    put_many(world, 0, world->scenario->items);
}

/* The same, and what is to be got lies in the segment that was idle. */
static void setup_behind_recycled(struct kill_world *world)
{
    make_recycled(world);
    put_many(world, 0, FIRST_CELLS);
    put_many(world, 0, world->scenario->items);
    get_many(world, FIRST_CELLS);
}

/* Full, and the first item is to be delivered again. */
static void setup_back(struct kill_world *world)
{
    struct kini_segment_shm *segment = kini_segment_of(world->live, world->queue->shm->get_at);
    uint64_t head = segment->head;
    segment->head = head + 1;
    kini_cell(segment, head)->seq = (head + 1) | KINI_CELL_BACK;
    world->queue->shm->back_made += 1;
}

static const struct kill_scenario scenarios[] = {
    {.name = "put into a new segment",
     .bytes = 40,
     .items = FIRST_CELLS,
     .rotate = 50,
     .operate = {op_put},
     .puts = {1000}},
    {.name = "put a block into a new segment",
     .bytes = 300,
     .items = FIRST_CELLS,
     .operate = {op_put},
     .puts = {1000}},
    {.name = "put into a segment used again",
     .bytes = 40,
     .items = FIRST_CELLS,
     .setup = setup_recycled,
     .operate = {op_put},
     .puts = {1000}},
    {.name = "put into a new segment, one to deliver again",
     .bytes = 40,
     .items = FIRST_CELLS,
     .setup = setup_back,
     .operate = {op_put},
     .puts = {1000}},
    {.name = "get from the next segment",
     .bytes = 40,
     .items = 2,
     .setup = setup_behind,
     .operate = {op_get}},
    {.name = "get a block from the next segment",
     .bytes = 300,
     .items = 2,
     .setup = setup_behind,
     .operate = {op_get}},
    {.name = "get from a segment used again",
     .bytes = 40,
     .items = 2,
     .setup = setup_behind_recycled,
     .operate = {op_get}},
};

static const struct kill_scenario pairs[] = {
    {.name = "put and put into a new segment",
     .flags = KILL_LOCKS,
     .bytes = 40,
     .items = FIRST_CELLS,
     .stride = 430,
     .operate = {op_put, op_put},
     .puts = {1000, 1001}},
    {.name = "put and put into a segment used again",
     .flags = KILL_LOCKS,
     .bytes = 40,
     .items = FIRST_CELLS,
     .stride = 430,
     .setup = setup_recycled,
     .operate = {op_put, op_put},
     .puts = {1000, 1001}},
    {.name = "get and get from the next segment",
     .flags = KILL_LOCKS,
     .bytes = 40,
     .items = 3,
     .stride = 430,
     .setup = setup_behind,
     .operate = {op_get, op_get}},
    /* a segment of three units: the memory of two is given back when it becomes idle */
    {.name = "get and get, from the last cell and the next segment",
     .flags = KILL_LOCKS,
     .bytes = 480,
     .inline_bytes = 496,
     .items = 3,
     .rotate = 200,
     .stride = 150,
     .finer = 10,
     .last = {300, 0},
     .setup = setup_last_cell,
     .operate = {op_get, op_get}},
    {.name = "get and put, at the end of a segment",
     .flags = KILL_LOCKS,
     .bytes = 40,
     .items = FIRST_CELLS,
     .stride = 230,
     .operate = {op_get, op_put},
     .puts = {0, 1001}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_growth");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_real, scenarios);
    KILL_EACH(kill_pairs, pairs);
    return kill_end();
}
