/* SPDX-License-Identifier: MIT
 * Joining and leaving: killed while a thread registers, a place is reserved, a process forks, the
 * child adopts its place, or an arena is detached. */
#include "lib/harness.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static struct kin_queue *mine; /* the victim's own */
static void *blocks[3];

static void own_things(struct kill_world *world, uint32_t who)
{
    (void)who;
    if (kin_queue_create(world->live, NULL, &mine) < 0)
        kill_broken("no queue: %s", kin_error_text());
    kill_put_number(mine, 600, 0);
    const uint64_t sizes[3] = {100, 3000, 70000};
    for (uint32_t i = 0; i < 3; i++)
        if (kin_block_alloc(world->live, sizes[i], &blocks[i]) < 0)
            kill_broken("no block: %s", kin_error_text());
}

static void warm_not(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
}

/* As in a child that no fork handler saw. */
static void warm_unseen(struct kill_world *world, uint32_t who)
{
    own_things(world, who);
    kini_store(world->live->guard, 0);
}

KILL_STEP(op_enter, kini_enter(world->live) != NULL ? -EAGAIN : -EIO);

static int64_t op_reserve(struct kill_world *world, uint32_t who)
{
    uint32_t slot;
    int token;
    (void)who;
    int r = kini_participant_reserve(world->live, &slot, &token);
    return r < 0 ? r : -EAGAIN;
}

static int64_t op_detach(struct kill_world *world, uint32_t who)
{
    (void)who;
    kin_arena_detach(world->live);
    return -EAGAIN;
}

static int64_t op_fork(struct kill_world *world, uint32_t who)
{
    (void)who;
    pid_t pid = fork();
    if (pid == 0) {
        world->page->actors[1].result = -EAGAIN;
        world->page->actors[1].phase = KILL_DONE;
        for (;;)
            pause();
    }
    return pid < 0 ? -errno : -EAGAIN;
}

/* --- what must hold --------------------------------------------------------------------------- */

/* What a reserved place holds is there for the child that may come: nobody destroys it. */
static void check_heirs(struct kill_world *world, struct kill_view *view)
{
    struct kin_arena *arena = view->arena;
    for (uint32_t slot = 2; slot < arena->super->participants_high; slot++) {
        if (KINI_STATE(arena->participants[slot].state) != KINI_RESERVED)
            continue;
        const uint64_t *row =
            kini_at(arena, arena->super->bitmaps_off + (uint64_t)slot * KINI_BITMAP_BYTES);
        for (uint32_t id = 1; id < arena->super->objects_high; id++)
            KILL_CHECK(!(row[id / 64] >> (id % 64) & 1) ||
                           KINI_OBJECT_STATE(arena->objects[id].state) == KINI_OBJECT_LIVE,
                       "object %u is gone, and a child holds it", id);
    }
    kill_ledger_check(world, view);
}

static const struct kill_scenario scenarios[] = {
    {.name = "first use of a thread",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .items = 1,
     .warm = warm_not,
     .operate = {op_enter}},
    {.name = "first use behind an unseen fork",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .items = 1,
     .warm = warm_unseen,
     .operate = {op_enter}},
    {.name = "reserve a place",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .items = 1,
     .operate = {op_reserve}},
    {.name = "detach",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .items = 1,
     .warm = own_things,
     .operate = {op_detach}},
    {.name = "fork",
     .flags = KILL_MAY_BE_EMPTY | KILL_FORKS,
     .bytes = 40,
     .items = 1,
     .warm = own_things,
     .operate = {op_fork},
     .check = check_heirs},
};

/* --- the child at birth ----------------------------------------------------------------------- */

static const struct kill_scenario birth = {
    .name = "birth of a child",
    .flags = KILL_MAY_BE_EMPTY | KILL_FORKS,
    .bytes = 40,
    .items = 1,
    .warm = own_things,
    .operate = {op_fork},
};

static uint32_t reserved_slot(const struct kin_arena *arena)
{
    for (uint32_t slot = 2; slot < arena->super->participants_high; slot++)
        if (KINI_STATE(arena->participants[slot].state) == KINI_RESERVED)
            return slot;
    kill_broken("no place is reserved for the child");
}

static void run_birth(void)
{
    if (!kill_wanted(birth.name))
        return;
    static struct kill_world world;
    kill_scenario_begin("every instruction", birth.name);
    kill_world_open(&world, &birth);
    struct kill_victim parent, child;
    kill_victim_start(&world, &parent, 0);
    while (parent.child == 0 && !parent.done)
        kill_victim_step(&world, &parent);
    child = (struct kill_victim){.pid = parent.child, .who = 1, .slot = reserved_slot(world.live)};
    parent.child = 0;
    world.page->actors[1].phase = KILL_RUNNING;
    kill_step_through(&world, &child);
    kill_victim_end(&child);
    kill_victim_end(&parent);
    kill_world_close(&world);
    kill_scenario_end();
}

/* --- a child that no handler saw, while its parent drops what it had -------------------------- */

#define HOLDER_SLOT 3u /* of the second victim */

static int64_t op_drop(struct kill_world *world, uint32_t who)
{
    (void)who;
    kin_queue_destroy(world->queue);
    return -EAGAIN;
}

/* The value: 1 when it was told that it has the queue. */
static int64_t op_rejoin(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL)
        return -EIO;
    int64_t r = kin_queue_size(world->queue);
    world->page->actors[who].value = r >= 0;
    return r >= 0 || r == -ESTALE ? -EAGAIN : r;
}

/* The first is a child of the second that no handler saw. */
static void warm_child_of_second(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL)
        kill_broken("no thread: %s", kin_error_text());
    if (who == 1)
        return;
    kini_store(world->live->guard, 0);
    world->live->slot = HOLDER_SLOT;
    world->live->generation = 1;
}

/* Only the second victim is to hold the queue. */
static void second_has_it(struct kill_world *world)
{
    struct kin_queue *queue = world->queue;
    world->queue = NULL;
    world->value[0] = queue->handle.id;
    for (uint32_t slot = 1; slot < world->live->super->participants_high; slot++) {
        uint64_t *row = kini_at(world->live, world->live->super->bitmaps_off +
                                                 (uint64_t)slot * KINI_BITMAP_BYTES);
        if (slot != HOLDER_SLOT)
            row[queue->handle.id / 64] &= ~(1ull << (queue->handle.id % 64));
    }
    free(queue);
}

/* The child has the queue, and the queue is there; or it was told that it is gone, and when the
 * holder has dropped it, too, it is. */
static void check_told_the_truth(struct kill_world *world, struct kill_view *view)
{
    uint32_t state = KINI_OBJECT_STATE(view->arena->objects[world->value[0]].state);
    if (!world->done[0])
        return;
    if (world->page->actors[0].value == 1)
        KILL_CHECK(state == KINI_OBJECT_LIVE,
                   "the child was told that it has the queue, and the queue is destroyed");
    else if (world->done[1])
        KILL_CHECK(state == KINI_OBJECT_FREE, "the queue is left, and nobody has it");
}

/* From here on the child takes over what its parent holds. */
static bool is_taking_over(struct kill_world *world, uint64_t at)
{
    (void)world;
    return at == (uint64_t)(uintptr_t)kini_bitmap_copy;
}

/* And its parent lets go of it. */
static bool is_dropping(struct kill_world *world, uint64_t at)
{
    (void)world;
    return at == (uint64_t)(uintptr_t)kini_object_drop;
}

static const struct kill_scenario pairs[] = {
    {.name = "rejoin and drop",
     .bytes = 40,
     .max_items = 30,
     .inline_bytes = 1008,
     .stride = 4,
     .finer = 4,
     .last = {60, 240},
     .begins = {is_taking_over, is_dropping},
     .warm = warm_child_of_second,
     .ready = second_has_it,
     .operate = {op_rejoin, op_drop},
     .check = check_told_the_truth},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_join");
    KILL_EACH(kill_run, scenarios);
    run_birth();
    KILL_EACH(kill_real, scenarios);
    KILL_EACH(kill_pairs, pairs);
    return kill_end();
}
