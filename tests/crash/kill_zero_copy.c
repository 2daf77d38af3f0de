/* SPDX-License-Identifier: MIT
 * Messages in place: a victim killed at each instruction of reserve, publish, take and release, or
 * with messages in its hands; and the reaper, while it gives them back. */
#include "arena/ilock.h"
#include "lib/harness.h"

#include <errno.h>
#include <string.h>

#include <kin/array.h>

#define PUT_NUMBER 1000u

static struct kin_queue *mine;
static void *held[2];

/* --- operations ------------------------------------------------------------------------------- */

static int64_t op_publish(struct kill_world *world, uint32_t who)
{
    void *data;
    int r = kin_queue_reserve(world->queue, world->scenario->bytes, &data);
    if (r < 0)
        return r;
    memcpy(data, world->page->actors[who].buffer, world->scenario->bytes);
    r = kin_queue_publish(world->queue, data, world->scenario->bytes, KIN_NOW);
    return r == -ETIMEDOUT ? -EAGAIN : r;
}

static int64_t op_cancel(struct kill_world *world, uint32_t who)
{
    void *data;
    (void)who;
    int r = kin_queue_reserve(world->queue, world->scenario->bytes, &data);
    return r < 0 || kin_queue_cancel(world->queue, data) < 0 ? -EIO : -EAGAIN;
}

static int64_t take(struct kill_world *world, void **ret_data)
{
    int64_t r = kin_queue_take(world->queue, ret_data, KIN_NOW);
    return r == -ETIMEDOUT ? -EAGAIN : r;
}

KILL_STEP(op_take, take(world, &held[0]));

static int64_t op_take_two(struct kill_world *world, uint32_t who)
{
    (void)who;
    int64_t r = take(world, &held[0]);
    return r < 0 ? r : take(world, &held[1]);
}

/* The block of the second comes to lie before, or behind, where that of op_take_two does. */
static int64_t op_take_two_the_other_way_round(struct kill_world *world, uint32_t who)
{
    void *first;
    if (kin_queue_reserve(world->queue, world->queue->shm->inline_bytes, &first) < 0)
        return -EIO;
    int64_t r = op_take(world, who);
    kin_queue_cancel(world->queue, first);
    return r < 0 ? r : take(world, &held[1]);
}

/* It has seen the message before it releases it. */
static int64_t op_release(struct kill_world *world, uint32_t who)
{
    memcpy(world->page->actors[who].buffer, held[0], world->scenario->bytes);
    return kin_queue_release(world->queue, held[0]);
}

/* Its memory stays its own. */
static int64_t op_keep(struct kill_world *world, uint32_t who)
{
    memcpy(world->page->actors[who].buffer, held[0], world->scenario->bytes);
    return kin_queue_keep(world->queue, held[0]);
}

/* And becomes an array. */
static int64_t op_keep_as_array(struct kill_world *world, uint32_t who)
{
    struct kin_array *array;
    int64_t r = op_keep(world, who);
    return r < 0 ? r : kin_array_adopt(world->live, held[0], world->scenario->bytes, &array);
}

static int64_t op_take_and_release(struct kill_world *world, uint32_t who)
{
    int64_t r = take(world, &held[0]);
    return r < 0 ? r : op_release(world, who);
}

static int64_t op_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_try_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER);
}

static int64_t op_put(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_queue_try_put(world->queue, message, world->scenario->bytes);
}

/* Two different ways of dealing with a cell, one after the other. */
static int64_t op_take_then_get(struct kill_world *world, uint32_t who)
{
    int64_t r = take(world, &held[0]);
    return r < 0 ? r : op_get(world, who);
}

/* There is no room: what has come back takes its place. */
static int64_t op_put_in_vain(struct kill_world *world, uint32_t who)
{
    return op_put(world, who) == -EAGAIN ? -EAGAIN : -EIO;
}

static int64_t op_destroy(struct kill_world *world, uint32_t who)
{
    (void)who;
    kin_queue_destroy(world->queue);
    return -EAGAIN;
}

static int64_t op_destroy_mine(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    kin_queue_destroy(mine);
    return -EAGAIN;
}

/* --- what was done before --------------------------------------------------------------------- */

static void take_or_broken(struct kin_queue *queue, void **ret_data)
{
    if (kin_queue_take(queue, ret_data, KIN_NOW) < 0)
        kill_broken("nothing to take: %s", kin_error_text());
}

/* V: it has taken the first two already; who 1 goes without. */
static void warm_takes(struct kill_world *world, uint32_t who)
{
    for (uint32_t i = 0; i < 2 && who == 0; i++)
        take_or_broken(world->queue, &held[i]);
}

/* V: free blocks of the size, and of a cell's, are at hand. */
static void warm_caches(struct kill_world *world, uint32_t who)
{
    void *block[2];
    (void)who;
    if (kin_queue_reserve(world->queue, world->scenario->bytes, &block[0]) < 0 ||
        kin_queue_reserve(world->queue, world->queue->shm->inline_bytes, &block[1]) < 0 ||
        kin_queue_cancel(world->queue, block[0]) < 0 ||
        kin_queue_cancel(world->queue, block[1]) < 0)
        kill_broken("no block: %s", kin_error_text());
}

/* V: the first has, the second is ready to. */
static void warm_one_takes(struct kill_world *world, uint32_t who)
{
    if (who == 0)
        warm_takes(world, who);
    else
        warm_caches(world, who);
}

/* V: of a queue that only it has. */
static void warm_takes_of_mine(struct kill_world *world, uint32_t who)
{
    if (who != 0)
        return;
    struct kin_queue_opts opts = {.max_items = 30, .inline_bytes = 1008};
    if (kin_queue_create(world->live, &opts, &mine) < 0)
        kill_broken("no queue: %s", kin_error_text());
    for (uint32_t i = 0; i < 3; i++)
        kill_put_number(mine, world->scenario->bytes, i);
    for (uint32_t i = 0; i < 2; i++)
        take_or_broken(mine, &held[i]);
}

/* H: somebody had taken the first two, and gave its handle back. */
static void setup_returned(struct kill_world *world)
{
    void *data;
    for (uint32_t i = 0; i < 2; i++)
        take_or_broken(world->queue, &data);
    kini_give_back(world->live_self, world->live->slot, world->queue->handle.tag);
    if (world->queue->shm->returned_count != 2)
        kill_broken("%u messages are returned", (unsigned)world->queue->shm->returned_count);
}

/* H: a consumer of the first item died. */
static void setup_back(struct kill_world *world)
{
    struct kini_segment_shm *segment = kini_segment_of(world->live, world->queue->shm->get_at);
    uint64_t head = segment->head;
    segment->head = head + 1;
    kini_cell(segment, head)->seq = (head + 1) | KINI_CELL_BACK;
    world->queue->shm->back_made += 1;
}

/* Somebody allocates before the dead are repaired: what they had freed is a stranger's by then. */
#define STRANGERS 3u

static void observe_strangers(struct kill_world *world, struct kill_view *view)
{
    memset(&world->value[0], 0, STRANGERS * sizeof world->value[0]);
    if (KINI_ILOCK_OWNER(view->arena->super->span_lock.word) != 0)
        return; /* the dead one's */
    for (uint32_t i = 0; i < STRANGERS; i++) {
        void *block;
        if (kin_block_alloc(view->arena, world->scenario->bytes, &block) < 0)
            kill_broken("no block: %s", kin_error_text());
        memset(block, 0, world->scenario->bytes); /* it might be an empty message */
        world->value[i] = kini_offset(view->arena, block);
    }
}

static void check_strangers(struct kill_world *world, struct kill_view *view)
{
    for (uint32_t i = 0; i < STRANGERS; i++) {
        int r = world->value[i] != 0
                    ? kin_block_free(view->arena, kini_at(view->arena, world->value[i]))
                    : 0;
        KILL_CHECK(r == 0, "a block of the survivor was freed beside the queue: %d", r);
    }
    kill_ledger_check(world, view);
}

#define THE_DEAD 2u /* an actor that died before the others began */

static bool has_taken_what_it_removes(struct kill_world *world, uint32_t slot)
{
    struct kini_ilock_shm *lock = &world->queue->shm->returned.lock;
    if (lock->op != KINI_RETURNED_REMOVE)
        return false;
    uint64_t word = kini_block_header(world->live, lock->arg[0])->word;
    return KINI_BLOCK_STATE(word) == KINI_BLOCK_TAKEN && KINI_BLOCK_SLOT(word) == slot;
}

/* H: and somebody died while it took the first of them. */
static void setup_removed(struct kill_world *world)
{
    struct kill_victim victim;
    setup_returned(world);
    kill_victim_start(world, &victim, THE_DEAD);
    while (!has_taken_what_it_removes(world, victim.slot) && !victim.done)
        kill_victim_step(world, &victim);
    if (victim.done)
        kill_broken("nobody died at the list of returned");
    kill_victim_end(&victim);
    world->dead_slots[THE_DEAD] = victim.slot;
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define INLINE .bytes = 40
#define BLOCK  .bytes = 500
#define LARGE  .bytes = 33000

static const struct kill_scenario scenarios[] = {
    {.name = "publish", BLOCK, .items = 2, .operate = {op_publish}, .puts = {PUT_NUMBER}},
    {.name = "publish a large one",
     LARGE,
     .items = 1,
     .operate = {op_publish},
     .puts = {PUT_NUMBER}},
    {.name = "publish, full",
     .flags = KILL_PARTIAL,
     BLOCK,
     .items = 2,
     .max_items = 2,
     .operate = {op_publish},
     .puts = {PUT_NUMBER}},
    {.name = "cancel", .flags = KILL_MAY_BE_EMPTY, BLOCK, .items = 2, .operate = {op_cancel}},
    {.name = "take from the ring", INLINE, .items = 3, .operate = {op_take}},
    {.name = "take from the ring, bounded",
     INLINE,
     .items = 2,
     .max_items = 2,
     .operate = {op_take}},
    {.name = "take a block", BLOCK, .items = 3, .operate = {op_take}},
    {.name = "take a large block", LARGE, .items = 2, .operate = {op_take}},
    {.name = "take, empty", .flags = KILL_MAY_BE_EMPTY, INLINE, .operate = {op_take}},
    {.name = "take two from the ring", INLINE, .items = 3, .operate = {op_take_two}},
    {.name = "take two, the other way round",
     INLINE,
     .items = 3,
     .operate = {op_take_two_the_other_way_round}},
    {.name = "take two blocks", BLOCK, .items = 3, .operate = {op_take_two}},
    {.name = "take again from the ring",
     INLINE,
     .items = 3,
     .setup = setup_back,
     .operate = {op_take_two}},
    {.name = "take a block again", BLOCK, .items = 3, .setup = setup_back, .operate = {op_take}},
    {.name = "take what was returned",
     INLINE,
     .items = 3,
     .setup = setup_returned,
     .operate = {op_take_two}},
    {.name = "take large ones that were returned",
     LARGE,
     .items = 3,
     .setup = setup_returned,
     .operate = {op_take}},
    {.name = "get what was returned",
     INLINE,
     .items = 3,
     .setup = setup_returned,
     .operate = {op_get}},
    {.name = "put beside what was returned",
     .flags = KILL_PARTIAL,
     INLINE,
     .items = 256,
     .max_items = 256, /* as many cells: else it counts in any case */
     .setup = setup_returned,
     .operate = {op_put_in_vain},
     .puts = {PUT_NUMBER}},
    {.name = "take, then get", INLINE, .items = 3, .operate = {op_take_then_get}},
    {.name = "take and release", INLINE, .items = 2, .operate = {op_take_and_release}},
    {.name = "take a block and release it", BLOCK, .items = 2, .operate = {op_take_and_release}},
    {.name = "release one of two", INLINE, .items = 3, .warm = warm_takes, .operate = {op_release}},
    {.name = "release a large block",
     LARGE,
     .items = 3,
     .warm = warm_takes,
     .operate = {op_release}},
    {.name = "keep a block", BLOCK, .items = 3, .warm = warm_takes, .operate = {op_keep}},
    {.name = "keep a large block as an array",
     LARGE,
     .items = 3,
     .warm = warm_takes,
     .operate = {op_keep_as_array}},
    {.name = "destroy the handle with two taken",
     .flags = KILL_MAY_BE_EMPTY,
     INLINE,
     .items = 3,
     .warm = warm_takes,
     .operate = {op_destroy}},
    {.name = "destroy the handle with large ones taken",
     .flags = KILL_MAY_BE_EMPTY,
     LARGE,
     .items = 3,
     .warm = warm_takes,
     .operate = {op_destroy}},
    {.name = "destroy a queue with two taken",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 1500,
     .items = 1,
     .warm = warm_takes_of_mine,
     .operate = {op_destroy_mine}},
    {.name = "destroy a queue with two large ones taken",
     .flags = KILL_MAY_BE_EMPTY,
     LARGE,
     .items = 1,
     .warm = warm_takes_of_mine,
     .operate = {op_destroy_mine},
     .observe = observe_strangers,
     .check = check_strangers},
};

/* --- the reaper ------------------------------------------------------------------------------- */

/* The victim has copied what it claims, and is about to write TAKEN. */
static bool takes(struct kill_world *world, uint64_t at)
{
    (void)at;
    for (uint32_t slot = 2; slot < world->live->super->participants_high; slot++)
        if (world->live->participants[slot].takes != 0)
            return true;
    return false;
}

/* It changes the list of returned. */
static bool changes_the_list(struct kill_world *world, uint64_t at)
{
    (void)at;
    return world->queue->shm->returned.lock.op != 0;
}

/* Somebody who lives has taken the lock over from the dead, and did not repair the list yet. */
static bool took_the_lock_over(struct kill_world *world, uint64_t at)
{
    struct kini_ilock_shm *lock = &world->queue->shm->returned.lock;
    uint32_t owner = KINI_ILOCK_OWNER(lock->word);
    (void)at;
    return owner != 0 &&
           KINI_THREAD_SLOT(world->live->threads[owner].state) != world->dead_slots[THE_DEAD];
}

static bool gives_back(struct kill_world *world, uint64_t at)
{
    (void)world;
    return at == (uint64_t)(uintptr_t)kini_queue_give_back;
}

/* The dead have the lock: so to the end of the slice. */
static bool sleeps_for_the_dead(struct kill_world *world, uint32_t times)
{
    return times < 10 && !took_the_lock_over(world, 0);
}

static int64_t op_reap_the_dead(struct kill_world *world, uint32_t who)
{
    (void)who;
    int r = kini_reap(world->live, world->dead_slots[THE_DEAD]);
    return r == 1 ? -EAGAIN : -EIO;
}

/* The value: the block that it took. */
static int64_t op_take_and_say(struct kill_world *world, uint32_t who)
{
    int64_t r = op_take(world, who);
    if (r >= 0)
        world->page->actors[who].value =
            kini_offset(world->live, held[0]) - sizeof(struct kini_message_shm);
    return r;
}

/* What was taken by somebody who lives is its own, whatever the reaper gives back. */
static void check_own(struct kill_world *world, struct kill_view *view)
{
    uint64_t block = world->page->actors[0].value;
    if (world->done[0] && world->dead_slots[0] == 0) {
        uint64_t word = kini_block_header(view->arena, block)->word;
        KILL_CHECK(KINI_BLOCK_STATE(word) == KINI_BLOCK_TAKEN &&
                       kill_lives(view->arena, KINI_BLOCK_SLOT(word)),
                   "what was taken has the header %llx", (unsigned long long)word);
    }
    kill_ledger_check(world, view);
}

#define REAPED(...) .operate = {__VA_ARGS__, NULL, NULL, kill_op_reap}, .flags = KILL_MAY_BE_EMPTY

static const struct kill_scenario reapings[] = {
    {.name = "take from the ring",
     INLINE,
     .items = 2,
     .stride = 20,
     .last = {60},
     .begins = {takes},
     .warm = warm_caches,
     REAPED(op_take)},
    {.name = "take a block",
     BLOCK,
     .items = 2,
     .stride = 30,
     .last = {60},
     .begins = {takes},
     .warm = warm_caches,
     REAPED(op_take)},
    {.name = "take what was returned",
     INLINE,
     .items = 3,
     .stride = 48,
     .last = {96},
     .begins = {changes_the_list},
     .setup = setup_returned,
     .warm = warm_caches,
     REAPED(op_take)},
    {.name = "release one of two",
     INLINE,
     .items = 3,
     .stride = 120,
     .warm = warm_takes,
     REAPED(op_release)},
    {.name = "destroy the handle with two taken",
     INLINE,
     .items = 3,
     .stride = 48,
     .last = {144},
     .begins = {changes_the_list},
     .warm = warm_takes,
     REAPED(op_destroy)},
    {.name = "destroy a queue with two taken",
     .bytes = 1500,
     .items = 1,
     .stride = 1200,
     .warm = warm_takes_of_mine,
     REAPED(op_destroy_mine)},
};

/* --- pairs ------------------------------------------------------------------------------------ */

static const struct kill_scenario pairs[] = {
    {.name = "take and take",
     INLINE,
     .items = 3,
     .rotate = 254,
     .stride = 12,
     .warm = warm_caches,
     .operate = {op_take, op_take}},
    {.name = "take and take blocks",
     BLOCK,
     .items = 3,
     .stride = 12,
     .warm = warm_caches,
     .operate = {op_take, op_take}},
    {.name = "take and get",
     INLINE,
     .items = 3,
     .stride = 12,
     .warm = warm_caches,
     .operate = {op_take, op_get}},
    {.name = "take and get the last",
     .flags = KILL_MAY_BE_EMPTY,
     INLINE,
     .items = 1,
     .stride = 12,
     .warm = warm_caches,
     .operate = {op_take, op_get}},
    {.name = "take and take what was returned",
     .flags = KILL_LOCKS,
     INLINE,
     .items = 3,
     .stride = 48,
     .last = {96, 480},
     .begins = {changes_the_list},
     .setup = setup_returned,
     .warm = warm_caches,
     .operate = {op_take, op_take}},
    {.name = "take and get what was returned",
     .flags = KILL_LOCKS | KILL_MAY_BE_EMPTY,
     INLINE,
     .items = 2,
     .stride = 48,
     .last = {96, 480},
     .begins = {changes_the_list},
     .setup = setup_returned,
     .warm = warm_caches,
     .operate = {op_take, op_get}},
    {.name = "take, and reap who died while it took the same",
     .flags = KILL_LOCKS | KILL_MAY_BE_EMPTY,
     INLINE,
     .items = 3,
     .stride = 24,
     .last = {240, 480},
     .begins = {took_the_lock_over, gives_back},
     .setup = setup_removed,
     .warm = warm_caches,
     .sleeps = sleeps_for_the_dead,
     .operate = {op_take_and_say, op_reap_the_dead, op_take},
     .check = check_own},
    {.name = "destroy the handle and take",
     .flags = KILL_LOCKS | KILL_MAY_BE_EMPTY,
     INLINE,
     .items = 3,
     .stride = 96,
     .last = {192, 480},
     .begins = {changes_the_list},
     .warm = warm_one_takes,
     .operate = {op_destroy, op_take}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_zero_copy");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_real, scenarios);
    KILL_EACH(kill_reaping, reapings);
    KILL_EACH(kill_pairs, pairs);
    return kill_end();
}
