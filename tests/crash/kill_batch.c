/* SPDX-License-Identifier: MIT
 * Queue: a victim killed at each instruction of a put or a get of many messages. */
#include "lib/harness.h"

#include <errno.h>

#define PUT_NUMBER 1000u

static struct kini_segment_shm *segment_of(struct kill_world *world)
{
    return kini_segment_of(world->live, world->queue->shm->get_at);
}

/* A consumer of the first two items died. */
static void setup_back(struct kill_world *world)
{
    struct kini_segment_shm *segment = segment_of(world);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t head = segment->head;
        segment->head = head + 1;
        kini_cell(segment, head)->seq = (head + 1) | KINI_CELL_BACK;
    }
    world->queue->shm->back_made += 1;
}

/* A producer died behind two items, and the others put after it. */
static void setup_tombstone(struct kill_world *world)
{
    struct kini_segment_shm *segment = segment_of(world);
    uint64_t tail = segment->tail;
    segment->tail = tail + 1;
    world->queue->shm->skips_made += 1;
    kini_cell(segment, tail)->seq = (tail + 1) | KINI_CELL_SKIP;
}

/* The caches hold free blocks of the size, and the items are the victim's own. */
static void warm_puts(struct kill_world *world, uint32_t who)
{
    unsigned char buffer[KILL_BUFFER];
    (void)who;
    while (kin_queue_try_get(world->queue, buffer, sizeof buffer) >= 0)
        ;
    for (uint32_t i = 0; i < world->scenario->items; i++)
        kill_put_number(world->queue, world->scenario->bytes, i);
}

#define PUT_MANY(count) .operate = {kill_op_put_many}, .puts = {PUT_NUMBER}, .many = {count}
#define GET_MANY(count) .operate = {kill_op_get_many}, .many = {count}

static const struct kill_scenario scenarios[] = {
    {.name = "put two", .flags = KILL_WHOLE, .bytes = 40, PUT_MANY(2)},
    {.name = "put seven behind others",
     .flags = KILL_WHOLE,
     .bytes = 112,
     .items = 3,
     .rotate = 300,
     PUT_MANY(7)},
    {.name = "put over the end of the ring",
     .flags = KILL_WHOLE,
     .bytes = 40,
     .items = 2,
     .rotate = 510,
     PUT_MANY(5)},
    {.name = "put, counted",
     .flags = KILL_WHOLE,
     .bytes = 40,
     .items = 2,
     .max_items = 7,
     PUT_MANY(5)},
    {.name = "put, room for some",
     .flags = KILL_PARTIAL,
     .bytes = 40,
     .items = 2,
     .max_items = 6,
     PUT_MANY(6)},
    {.name = "put, room for some of the ring",
     .flags = KILL_PARTIAL,
     .bytes = 40,
     .items = 5,
     .max_items = 8,
     .rotate = 6,
     PUT_MANY(5)},
    {.name = "put, full",
     .flags = KILL_PARTIAL,
     .bytes = 40,
     .items = 4,
     .max_items = 4,
     PUT_MANY(3)},
    {.name = "put into this segment and the next",
     .flags = KILL_MANY_POINTS,
     .bytes = 1000,
     .inline_bytes = 1008,
     .items = 253,
     PUT_MANY(6)},
    {.name = "put blocks", .flags = KILL_WHOLE, .bytes = 500, .items = 2, PUT_MANY(4)},
    {.name = "put blocks, counted",
     .flags = KILL_PARTIAL,
     .bytes = 500,
     .items = 2,
     .max_items = 5,
     PUT_MANY(4)},
    {.name = "get two", .bytes = 40, .items = 3, GET_MANY(2)},
    {.name = "get all of seven",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 112,
     .items = 7,
     .rotate = 300,
     GET_MANY(9)},
    {.name = "get over the end of the ring", .bytes = 40, .items = 6, .rotate = 509, GET_MANY(5)},
    {.name = "get, bounded", .bytes = 40, .items = 4, .max_items = 4, GET_MANY(3)},
    {.name = "get blocks of others", .bytes = 500, .items = 4, GET_MANY(3)},
    {.name = "get blocks of its own", .bytes = 500, .items = 4, .warm = warm_puts, GET_MANY(3)},
    {.name = "get up to a tombstone and on",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .items = 3,
     .max_items = 8,
     .setup = setup_tombstone,
     GET_MANY(5)},
    {.name = "get again, then others",
     .bytes = 40,
     .items = 5,
     .max_items = 8,
     .inline_bytes = 1008,
     .setup = setup_back,
     GET_MANY(4)},
    {.name = "get blocks again, then others",
     .bytes = 1100,
     .items = 4,
     .max_items = 8,
     .setup = setup_back,
     GET_MANY(4)},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_batch");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_real, scenarios);
    return kill_end();
}
