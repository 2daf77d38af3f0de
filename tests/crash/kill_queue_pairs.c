/* SPDX-License-Identifier: MIT
 * Queue: two operations interleaved, one or both killed. */
#include "lib/harness.h"

#include <errno.h>

static int64_t op_put(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_queue_try_put(world->queue, message, world->scenario->bytes);
}

static int64_t op_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_try_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER);
}

/* Caches hold free blocks of the size. */
static void warm_caches(struct kill_world *world, uint32_t who)
{
    void *block;
    if (kin_block_alloc(world->live, sizeof(struct kini_message_shm) + world->scenario->bytes,
                        &block) < 0)
        kill_broken("no block: %s", kin_error_text());
    kin_block_free(world->live, block);
    (void)who;
}

/* A consumer of the first item died. */
static void setup_back(struct kill_world *world)
{
    struct kini_segment_shm *segment = kini_segment_of(world->live, world->queue->shm->get_at);
    uint64_t head = segment->head;
    segment->head = head + 1;
    kini_cell(segment, head)->seq = (head + 1) | KINI_CELL_BACK;
    world->queue->shm->back_made += 1;
}

static const struct kill_scenario scenarios[] = {
    {.name = "put and put",
     .bytes = 24,
     .items = 1,
     .rotate = 254,
     .operate = {op_put, op_put},
     .puts = {1000, 1001}},
    {.name = "put and get",
     .bytes = 24,
     .items = 1,
     .operate = {op_put, op_get},
     .puts = {1000, 0}},
    {.name = "put and get, empty",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 24,
     .operate = {op_put, op_get},
     .puts = {1000, 0}},
    {.name = "get and put, empty",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 24,
     .operate = {op_get, op_put},
     .puts = {0, 1001}},
    {.name = "get and put, full",
     .flags = KILL_PARTIAL,
     .bytes = 24,
     .items = 2,
     .max_items = 2,
     .operate = {op_get, op_put},
     .puts = {0, 1001}},
    {.name = "get and get", .bytes = 24, .items = 3, .rotate = 254, .operate = {op_get, op_get}},
    {.name = "get and get the last",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 24,
     .items = 1,
     .operate = {op_get, op_get}},
    {.name = "get and get again",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 24,
     .items = 2,
     .max_items = 4,
     .inline_bytes = 1008, /* a short ring: the search goes through all of it */
     .stride = 12,
     .finer = 4,
     .setup = setup_back,
     .operate = {op_get, op_get}},
    {.name = "put and put blocks",
     .bytes = 200,
     .items = 1,
     .stride = 8,
     .warm = warm_caches,
     .operate = {op_put, op_put},
     .puts = {1000, 1001}},
    {.name = "get and get blocks",
     .bytes = 200,
     .items = 3,
     .stride = 8,
     .operate = {op_get, op_get}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_queue_pairs");
    KILL_EACH(kill_pairs, scenarios);
    return kill_end();
}
