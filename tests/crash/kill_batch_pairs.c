/* SPDX-License-Identifier: MIT
 * Queue: two operations interleaved, at least one of them on many messages; one or both killed. */
#include "lib/harness.h"

static int64_t op_put(struct kill_world *world, uint32_t who)
{
    return kin_queue_try_put(world->queue, kill_message_of(world, who, 0), world->scenario->bytes);
}

static int64_t op_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_try_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER);
}

/* Caches hold free blocks of the size. */
static void warm_caches(struct kill_world *world, uint32_t who)
{
    void *block[4];
    for (uint32_t i = 0; i < 4; i++)
        if (kin_block_alloc(world->live, world->scenario->bytes + sizeof(struct kini_message_shm),
                            &block[i]) < 0)
            kill_broken("no block: %s", kin_error_text());
    for (uint32_t i = 0; i < 4; i++)
        kin_block_free(world->live, block[i]);
    (void)who;
}

/* How many threads announce a claim. */
static uint32_t announced(struct kill_world *world)
{
    const struct kin_arena *live = world->live;
    uint32_t count = 0;
    for (uint32_t i = 1; i < live->super->threads_high; i++)
        count += (live->threads[i].state & 1) && live->threads[i].op != 0;
    return count;
}

static bool first_announces(struct kill_world *world, uint64_t at)
{
    (void)at;
    return announced(world) >= 1;
}

static bool second_announces(struct kill_world *world, uint64_t at)
{
    (void)at;
    return announced(world) >= 2;
}

static const struct kill_scenario scenarios[] = {
    /* between the claim and its mark there are few instructions: each of them */
    {.name = "put three and put two, at the claim",
     .stride = 1,
     .flags = KILL_WHOLE,
     .bytes = 24,
     .items = 1,
     .last = {40, 20},
     .begins = {first_announces, second_announces},
     .operate = {kill_op_put_many, kill_op_put_many},
     .puts = {1000, 1020},
     .many = {3, 2}},
    {.name = "put three and put two",
     .stride = 7,
     .flags = KILL_WHOLE,
     .bytes = 24,
     .items = 1,
     .rotate = 253,
     .operate = {kill_op_put_many, kill_op_put_many},
     .puts = {1000, 1020},
     .many = {3, 2}},
    {.name = "put and put three",
     .stride = 29,
     .flags = KILL_WHOLE,
     .bytes = 24,
     .items = 1,
     .operate = {op_put, kill_op_put_many},
     .puts = {1000, 1020},
     .many = {0, 3}},
    {.name = "put three and get two",
     .stride = 29,
     .flags = KILL_WHOLE | KILL_MAY_BE_EMPTY,
     .bytes = 24,
     .operate = {kill_op_put_many, kill_op_get_many},
     .puts = {1000, 0},
     .many = {3, 2}},
    {.name = "get two and put three, little room",
     .stride = 29,
     .flags = KILL_PARTIAL,
     .bytes = 24,
     .items = 3,
     .max_items = 4,
     .operate = {kill_op_get_many, kill_op_put_many},
     .puts = {0, 1020},
     .many = {2, 3}},
    {.name = "get three and get two",
     .stride = 29,
     .bytes = 24,
     .items = 6,
     .rotate = 253,
     .operate = {kill_op_get_many, kill_op_get_many},
     .many = {3, 2}},
    {.name = "get and get three",
     .stride = 29,
     .bytes = 24,
     .items = 5,
     .operate = {op_get, kill_op_get_many},
     .many = {0, 3}},
    {.name = "put two blocks and put two",
     .flags = KILL_WHOLE,
     .bytes = 200,
     .items = 1,
     .stride = 37,
     .warm = warm_caches,
     .operate = {kill_op_put_many, kill_op_put_many},
     .puts = {1000, 1020},
     .many = {2, 2}},
    {.name = "get two blocks and get two",
     .bytes = 200,
     .items = 5,
     .stride = 37,
     .operate = {kill_op_get_many, kill_op_get_many},
     .many = {2, 2}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_batch_pairs");
    KILL_EACH(kill_pairs, scenarios);
    return kill_end();
}
