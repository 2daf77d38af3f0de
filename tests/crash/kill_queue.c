/* SPDX-License-Identifier: MIT
 * Queue: a victim killed at each instruction of put and get. */
#include "lib/harness.h"

#include <errno.h>
#include <string.h>

#define PUT_NUMBER 1000u

/* --- operations ------------------------------------------------------------------------------- */

static int64_t op_put(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_queue_try_put(world->queue, message, world->scenario->bytes);
}

static int64_t op_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_try_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER);
}

/* --- what the victim did before --------------------------------------------------------------- */

/* Its caches hold free blocks of the size. */
static void warm_caches(struct kill_world *world, uint32_t who)
{
    void *blocks[3];
    for (uint32_t i = 0; i < 3; i++)
        if (kin_block_alloc(world->live, sizeof(struct kini_message_shm) + world->scenario->bytes,
                            &blocks[i]) < 0)
            kill_broken("no block: %s", kin_error_text());
    for (uint32_t i = 0; i < 3; i++)
        kin_block_free(world->live, blocks[i]);
    (void)who;
}

/* The items are its own. */
static void warm_puts(struct kill_world *world, uint32_t who)
{
    unsigned char buffer[KILL_BUFFER];
    (void)who;
    while (kin_queue_try_get(world->queue, buffer, sizeof buffer) >= 0)
        ;
    for (uint32_t i = 0; i < world->scenario->items; i++)
        kill_put_number(world->queue, world->scenario->bytes, i);
}

/* --- what others did before ------------------------------------------------------------------- */

static struct kini_segment_shm *segment_of(struct kill_world *world)
{
    return kini_segment_of(world->live, world->queue->shm->get_at);
}

/* A consumer of the first item died. */
static void setup_back(struct kill_world *world)
{
    struct kini_segment_shm *segment = segment_of(world);
    uint64_t head = segment->head;
    segment->head = head + 1;
    kini_cell(segment, head)->seq = (head + 1) | KINI_CELL_BACK;
    world->queue->shm->back_made += 1;
}

/* A producer died before the others put. */
static void setup_tombstone(struct kill_world *world)
{
    unsigned char buffer[KILL_BUFFER];
    while (kin_queue_try_get(world->queue, buffer, sizeof buffer) >= 0)
        ;
    struct kini_segment_shm *segment = segment_of(world);
    uint64_t tail = segment->tail;
    segment->tail = tail + 1;
    world->queue->shm->skips_made += 1;
    kini_cell(segment, tail)->seq = (tail + 1) | KINI_CELL_SKIP;
    for (uint32_t i = 0; i < world->scenario->items; i++)
        kill_put_number(world->queue, world->scenario->bytes, i);
}

static const struct kill_scenario scenarios[] = {
    {.name = "put into an empty queue", .bytes = 40, .operate = {op_put}, .puts = {PUT_NUMBER}},
    {.name = "put behind others",
     .bytes = 112,
     .items = 3,
     .rotate = 300,
     .operate = {op_put},
     .puts = {PUT_NUMBER}},
    {.name = "put at the end of the ring",
     .bytes = 40,
     .items = 2,
     .rotate = 253,
     .operate = {op_put},
     .puts = {PUT_NUMBER}},
    {.name = "put, bounded",
     .bytes = 40,
     .items = 2,
     .max_items = 4,
     .operate = {op_put},
     .puts = {PUT_NUMBER}},
    {.name = "put, full",
     .flags = KILL_PARTIAL,
     .bytes = 200,
     .items = 4,
     .max_items = 4,
     .operate = {op_put},
     .puts = {PUT_NUMBER}},
    {.name = "put a block, first of its size",
     .bytes = 2000,
     .items = 2,
     .operate = {op_put},
     .puts = {PUT_NUMBER}},
    {.name = "put a block from the cache",
     .bytes = 500,
     .items = 2,
     .warm = warm_caches,
     .operate = {op_put},
     .puts = {PUT_NUMBER}},
    {.name = "put a large block",
     .bytes = 33000,
     .items = 1,
     .operate = {op_put},
     .puts = {PUT_NUMBER}},
    {.name = "get", .bytes = 40, .items = 3, .operate = {op_get}},
    {.name = "get the last", .bytes = 112, .items = 1, .rotate = 300, .operate = {op_get}},
    {.name = "get at the end of the ring",
     .bytes = 40,
     .items = 2,
     .rotate = 255,
     .operate = {op_get}},
    {.name = "get, bounded", .bytes = 40, .items = 2, .max_items = 2, .operate = {op_get}},
    {.name = "get, empty", .flags = KILL_MAY_BE_EMPTY, .bytes = 40, .operate = {op_get}},
    {.name = "get a block of another", .bytes = 500, .items = 2, .operate = {op_get}},
    {.name = "get a block of its own",
     .bytes = 500,
     .items = 2,
     .warm = warm_puts,
     .operate = {op_get}},
    {.name = "get a large block", .bytes = 33000, .items = 2, .operate = {op_get}},
    {.name = "get a large block of its own",
     .bytes = 33000,
     .items = 2,
     .warm = warm_puts,
     .operate = {op_get}},
    {.name = "get over a tombstone",
     .bytes = 40,
     .items = 3,
     .rotate = 7,
     .max_items = 8,
     .setup = setup_tombstone,
     .operate = {op_get}},
    {.name = "get again", .bytes = 40, .items = 3, .setup = setup_back, .operate = {op_get}},
    {.name = "get again, bounded",
     .bytes = 40,
     .items = 2,
     .max_items = 2,
     .setup = setup_back,
     .operate = {op_get}},
    {.name = "get a block again",
     .bytes = 500,
     .items = 2,
     .setup = setup_back,
     .operate = {op_get}},
    {.name = "get a large block again",
     .bytes = 33000,
     .items = 2,
     .setup = setup_back,
     .operate = {op_get}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_queue");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_real, scenarios);
    return kill_end();
}
