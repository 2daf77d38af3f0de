/* SPDX-License-Identifier: MIT
 * Objects: killed while a queue is created, dropped or destroyed. */
#include "lib/harness.h"

#include <kin/offer.h>

#include <errno.h>
#include <stdlib.h>

static struct kin_queue *mine;   /* the victim's own */
static struct kin_queue *shared; /* of that name: the harness's */

static void fill(struct kill_world *world, struct kin_queue *queue)
{
    kill_put_number(queue, 40, 0);
    kill_put_number(queue, 500, 0);
    kill_put_number(queue, 33000, 0);
    kill_put_number(queue, 500, 0);
    (void)world;
}

static void warm_own(struct kill_world *world, uint32_t who)
{
    struct kin_queue_opts opts = {.max_items = world->scenario->max_items};
    (void)who;
    if (kin_queue_create(world->live, &opts, &mine) < 0)
        kill_broken("no queue: %s", kin_error_text());
    fill(world, mine);
}

static int64_t op_create(struct kill_world *world, uint32_t who)
{
    struct kin_queue_opts opts = {.max_items = world->scenario->max_items};
    (void)who;
    return kin_queue_create(world->live, &opts, &mine);
}

static int64_t op_open(struct kill_world *world, uint32_t who)
{
    struct kin_queue_opts opts = {.max_items = world->scenario->max_items};
    (void)who;
    int r = kin_queue_open(world->live, "name", &opts, &mine);
    if (r < 0 && r != -EBUSY) /* the harness took longer than anybody waits for who was stopped */
        kill_broken("not opened: %s", kin_error_text());
    return r;
}

/* H: it has the queue of that name, so the victim's death does not end it. */
static void setup_shared(struct kill_world *world)
{
    struct kin_queue_opts opts = {.max_items = world->scenario->max_items};
    if (kin_queue_open(world->live, "name", &opts, &shared) < 0)
        kill_broken("not opened: %s", kin_error_text());
    kill_put_number(shared, 40, 0);
}

static void over_shared(struct kill_world *world)
{
    (void)world;
    kin_queue_destroy(shared);
    shared = NULL;
}

/* V: the first has it, too. */
static void warm_first(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL || (who == 0 && op_open(world, who) < 0))
        kill_broken("not opened: %s", kin_error_text());
}

KILL_STEP(op_unname, kin_object_unname(mine));

static int64_t op_destroy_own(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    kin_queue_destroy(mine);
    return 0;
}

/* -EAGAIN: for the ledger, a get that found nothing. */
static int64_t op_drop_common(struct kill_world *world, uint32_t who)
{
    (void)who;
    kin_queue_destroy(world->queue);
    return -EAGAIN;
}

/* Only the victims are to hold it: they have, by now. */
static void drop_ours(struct kill_world *world)
{
    struct kin_queue *queue = world->queue;
    world->queue = NULL;
    kini_a64 *row = kini_at(world->live, world->live->super->bitmaps_off +
                                             (uint64_t)world->live->slot * KINI_BITMAP_BYTES);
    row[queue->handle.id / 64] &= ~(1ull << (queue->handle.id % 64));
    free(queue);
}

static void setup_filled(struct kill_world *world)
{
    fill(world, world->queue);
}

static uint32_t count_objects(struct kill_view *view)
{
    uint32_t count = 0;
    for (uint32_t id = 1; id < view->arena->super->objects_high; id++)
        count += KINI_OBJECT_STATE(view->arena->objects[id].state) != KINI_OBJECT_FREE;
    return count;
}

static void check_no_objects(struct kill_world *world, struct kill_view *view)
{
    uint32_t count = count_objects(view), alive = 0;
    for (uint32_t slot = 2; slot < view->arena->super->participants_high; slot++)
        alive += KINI_STATE(view->arena->participants[slot].state) == KINI_LIVE;
    KILL_CHECK(count == 0 || alive > 0, "%u objects are left, and nobody has them", count);
    (void)world;
}

KILL_STEP(op_nothing, 0);

/* Whoever dies beside a creator: what it creates is its own. */
static void check_created(struct kill_world *world, struct kill_view *view)
{
    KILL_CHECK(!world->done[0] || world->dead_slots[0] != 0 || count_objects(view) == 1,
               "the queue that was created is not there");
}

static bool is_creating(struct kill_world *world, uint64_t at)
{
    (void)world;
    return at == (uint64_t)(uintptr_t)kini_object_create;
}

/* Nobody died: exactly then the last one to drop has destroyed. */
static void check_dropped(struct kill_world *world, struct kill_view *view)
{
    uint32_t count = count_objects(view);
    bool all = true;
    for (uint32_t who = 0; who < 2; who++)
        all = all && (world->done[who] || world->dead_slots[who] != 0);
    KILL_CHECK(count == 0 || !all, "all holders are gone, %u objects are left", count);
}

/* Whoever has opened it, and lives, has it; of two there is one. */
static void check_opened(struct kill_world *world, struct kill_view *view)
{
    uint32_t holders = 0, done = 0, count = count_objects(view);
    for (uint32_t who = 0; who < 2; who++) {
        holders +=
            world->done[who] && world->dead_slots[who] == 0 && world->page->actors[who].result == 0;
        done += world->done[who] || world->dead_slots[who] != 0;
    }
    KILL_CHECK(holders == 0 || count == 1, "%u have opened it, there are %u", holders, count);
    KILL_CHECK(holders > 0 || done < 2 || count == 0, "nobody has it, there are %u", count);
}

/* The second has the queue of that name, as the only one. */
static void warm_second(struct kill_world *world, uint32_t who)
{
    if (kini_enter(world->live) == NULL || (who == 1 && op_open(world, who) < 0))
        kill_broken("not opened: %s", kin_error_text());
}

/* Whoever opens gets the queue that is there or a new one; what the other one drops is gone. */
static void check_found_or_made(struct kill_world *world, struct kill_view *view)
{
    uint32_t count = count_objects(view);
    bool opened = world->done[0] && world->dead_slots[0] == 0 && world->page->actors[0].result == 0;
    bool dropped = world->done[1] || world->dead_slots[1] != 0;
    struct kin_queue *queue = NULL;
    KILL_CHECK(!opened || !dropped || count == 1, "opened and dropped, there are %u", count);
    KILL_CHECK(opened || !dropped || (!world->done[0] && world->dead_slots[0] == 0) || count == 0,
               "nobody has it, there are %u", count);
    int r = opened ? kin_queue_find(view->arena, "name", &queue) : 0;
    KILL_CHECK(r == 0, "what was opened is not found: %s", kin_error_text());
    kin_queue_destroy(queue);
}

/* The name is there or gone, gone once the call has returned; whoever looks for it finds that queue
 * or none, whoever opens it has one, and what others have of it stays. */
static void check_unnamed(struct kill_world *world, struct kill_view *view)
{
    unsigned char buffer[64];
    struct kin_queue_opts opts = {.max_items = world->scenario->max_items};
    struct kin_queue *found = NULL, *opened = NULL;
    const bool gone = world->done[0], other = world->scenario->operate[1] != NULL;
    int r = kin_queue_find(view->arena, "name", &found);
    KILL_CHECK(r == 0 || r == -ENOENT, "the name answers %d: %s", r, kin_error_text());
    bool same = r == 0 && found->handle.tag == shared->handle.tag;
    KILL_CHECK(!same || !gone, "the name was taken away, and is found");
    KILL_CHECK(r < 0 || same || other, "the name is of another queue");
    KILL_CHECK(kin_queue_open(view->arena, "name", &opts, &opened) == 0, "not opened: %s",
               kin_error_text());
    KILL_CHECK(opened == NULL || r < 0 || opened->handle.tag == found->handle.tag,
               "what was found is not what is opened");
    KILL_CHECK(!same || kin_queue_try_get(found, buffer, sizeof buffer) == 40,
               "the item of the queue that was named is not there");
    kin_queue_destroy(opened);
    kin_queue_destroy(found);
    if (view->arena == world->live)
        over_shared(world);
    else if (!same) /* else it went with that handle */
        kini_object_drop(view->self, shared->handle.id);
}

static bool is_looking(struct kill_world *world, uint64_t at)
{
    (void)world;
    return at == (uint64_t)(uintptr_t)kini_object_open;
}

static const struct kill_scenario scenarios[] = {
    {.name = "create a queue",
     .flags = KILL_NO_QUEUE,
     .operate = {op_create},
     .check = check_no_objects},
    {.name = "create a bounded queue",
     .flags = KILL_NO_QUEUE,
     .max_items = 10,
     .operate = {op_create},
     .check = check_no_objects},
    {.name = "open a queue by name",
     .flags = KILL_NO_QUEUE,
     .operate = {op_open},
     .check = check_no_objects},
    {.name = "destroy a queue",
     .flags = KILL_NO_QUEUE,
     .warm = warm_own,
     .operate = {op_destroy_own},
     .check = check_no_objects},
    {.name = "destroy a bounded queue",
     .flags = KILL_NO_QUEUE,
     .max_items = 100,
     .warm = warm_own,
     .operate = {op_destroy_own},
     .check = check_no_objects},
    {.name = "drop a queue that others have",
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 500,
     .items = 3,
     .operate = {op_drop_common}},
    {.name = "take a queue's name away",
     .flags = KILL_NO_QUEUE,
     .max_items = 30,
     .setup = setup_shared,
     .warm = warm_first,
     .operate = {op_unname},
     .over = over_shared,
     .check = check_unnamed},
    {.name = "destroy a queue of others' blocks",
     .bytes = 40,
     .setup = setup_filled,
     .ready = drop_ours,
     .operate = {op_drop_common},
     .check = check_no_objects},
};

static const struct kill_scenario pairs[] = {
    {.name = "create, and somebody dies",
     .flags = KILL_NO_QUEUE,
     .stride = 1,
     .begins = {is_creating},
     .last = {700, 1},
     .operate = {op_create, op_nothing},
     .check = check_created},
    {.name = "open and open",
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .stride = 2503,
     .finer = 3,
     .max_items = 30,
     .operate = {op_open, op_open},
     .check = check_opened},
    {.name = "open what is dropped",
     .flags = KILL_NO_QUEUE | KILL_LOCKS | KILL_NAPS,
     .stride = 1009,
     .finer = 7,
     .last = {1200},
     .begins = {is_looking},
     .max_items = 30,
     .warm = warm_second,
     .operate = {op_open, op_destroy_own},
     .check = check_found_or_made},
    {.name = "take a name away that is opened",
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .stride = 2503,
     .finer = 3,
     .max_items = 30,
     .setup = setup_shared,
     .warm = warm_first,
     .operate = {op_unname, op_open},
     .over = over_shared,
     .check = check_unnamed},
    {.name = "drop and drop",
     .flags = KILL_LOCKS,
     .bytes = 40,
     .stride = 97,
     .max_items = 30,
     .inline_bytes = 1008,
     .ready = drop_ours,
     .operate = {op_drop_common, op_drop_common},
     .check = check_dropped},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_objects");
    KILL_EACH(kill_run, scenarios);
    for (size_t i = 0; i + 1 < sizeof scenarios / sizeof scenarios[0]; i++)
        kill_real(&scenarios[i]);
    KILL_EACH(kill_pairs, pairs);
    return kill_end();
}
