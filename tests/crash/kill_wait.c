/* SPDX-License-Identifier: MIT
 * Waiting: killed on the way to sleep, when chosen to be woken, and before the wake that is owed.
 *
 * Linked with --wrap=kini_watch_is_long. */
#include "lib/harness.h"

#include <errno.h>
#include <stdlib.h>

#define PEER   1u
#define OTHERS 1002u /* the item that the harness puts meanwhile */

static struct kill_victim peer;

static kin_deadline far_away(void)
{
    return kin_after_ms(600000);
}

static int64_t op_wait_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER, far_away());
}

static int64_t op_wait_get_shortly(struct kill_world *world, uint32_t who)
{
    int64_t r =
        kin_queue_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER, kin_after_ms(3));
    return r == -ETIMEDOUT ? -EAGAIN : r;
}

static int64_t op_wait_put(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_queue_put(world->queue, message, world->scenario->bytes, far_away());
}

static int64_t op_put(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_queue_try_put(world->queue, message, world->scenario->bytes);
}

static int64_t op_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_try_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER);
}

/* --- what the harness does while the victim sleeps -------------------------------------------- */

static void harness_puts(struct kill_world *world)
{
    kini_last_self = world->live_self;
    kill_put_number(world->queue, world->scenario->bytes, OTHERS);
    world->page->actors[2].result = 0;
    world->done[2] = true;
}

/* It keeps what it got in the buffer of an actor who has returned. */
static void harness_gets(struct kill_world *world)
{
    struct kill_actor *actor = &world->page->actors[2];
    kini_last_self = world->live_self;
    actor->result = kin_queue_try_get(world->queue, actor->buffer, KILL_BUFFER);
    if (actor->result < 0)
        kill_broken("the harness gets nothing");
    actor->phase = KILL_DONE;
}

static void peer_waits(struct kill_world *world)
{
    kill_victim_start(world, &peer, PEER);
    kill_victim_park(world, &peer);
}

static void end_peer(struct kill_world *world)
{
    (void)world;
    if (peer.pid != 0)
        kill_victim_end(&peer);
    peer.pid = 0;
}

static bool sleeps_then_put(struct kill_world *world, uint32_t times)
{
    if (times == 1)
        harness_puts(world);
    return times == 1;
}

static bool sleeps_then_get(struct kill_world *world, uint32_t times)
{
    if (times == 1)
        harness_gets(world);
    return times == 1;
}

/* The victim sleeps first, the peer behind it. The hook is also asked about the peer, which stays
 * where it is. */
static bool peer_sleeps_behind(struct kill_world *world, uint32_t times)
{
    static bool inside;
    if (inside || times != 1)
        return false;
    inside = true;
    peer_waits(world);
    inside = false;
    return true;
}

/* Then there is one item. */
static bool sleeps_before_peer(struct kill_world *world, uint32_t times)
{
    bool first = peer_sleeps_behind(world, times);
    if (first)
        harness_puts(world);
    return first;
}

/* Then there is one place in the full queue. */
static bool sleeps_before_peer_full(struct kill_world *world, uint32_t times)
{
    bool first = peer_sleeps_behind(world, times);
    if (first)
        harness_gets(world);
    return first;
}

/* Until the deadline. */
static bool sleeps_on(struct kill_world *world, uint32_t times)
{
    (void)world;
    return times < 100;
}

static bool sleeps_no_more(struct kill_world *world, uint32_t times)
{
    (void)world;
    (void)times;
    return false;
}

/* --- what must hold --------------------------------------------------------------------------- */

static uint32_t count_waiting(struct kill_view *view, struct kini_waitq_shm *queue, uint32_t state)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < view->arena->super->threads_high; i++) {
        struct kini_thread_shm *t = &view->arena->threads[i];
        count += (t->state & 1) && t->wait_queue == kini_offset(view->arena, queue) &&
                 t->wait_state == state;
    }
    return count;
}

/* Somebody waits although there is something for him, and nobody has told him. */
static void check_told(struct kill_world *world, struct kill_view *view)
{
    struct kini_queue_shm *shm = view->queue->shm;
    uint64_t items = kini_queue_count(view->self, shm);
    uint32_t told = count_waiting(view, &shm->getters, KINI_WAIT_CHOSEN);
    uint32_t untold = count_waiting(view, &shm->getters, KINI_WAIT_QUEUED);
    KILL_CHECK(untold == 0 || told >= items, "%llu items, %u consumers wait on, %u were told",
               (unsigned long long)items, untold, told);
    told = count_waiting(view, &shm->putters, KINI_WAIT_CHOSEN);
    untold = count_waiting(view, &shm->putters, KINI_WAIT_QUEUED);
    KILL_CHECK(untold == 0 || items + told >= shm->max_items,
               "%llu items of %llu, %u producers wait on, %u were told", (unsigned long long)items,
               (unsigned long long)shm->max_items, untold, told);
    kill_ledger_check(world, view);
}

/* Nobody who is dead lies in a bed (sync/bed.c). */
static void check_beds(struct kill_world *world, struct kill_view *view)
{
    for (int i = 0; i < 2; i++) {
        uint64_t index = view->arena->super->beds[i] >> 48;
        uint64_t state = index < KINI_THREADS_MAX ? view->arena->threads[index].state : 0;
        uint32_t slot = KINI_THREAD_SLOT(state);
        KILL_CHECK(index == 0 || ((state & KINI_THREAD_USED) && slot != world->dead_slots[0]),
                   "thread %llu is dead and lies in bed %d", (unsigned long long)index, i);
    }
    check_told(world, view);
}

bool __wrap_kini_watch_is_long(const struct kini_self *self, int64_t now_ns);

bool __wrap_kini_watch_is_long(const struct kini_self *self, int64_t now_ns)
{
    (void)self;
    (void)now_ns;
    return true; /* in the scenarios with KILL_BEDS */
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define TOLD    .over = end_peer, .check = check_told
#define IN_BEDS .flags = KILL_BEDS, .over = end_peer, .check = check_beds
/* What the victim waits for comes in its sleep; or it is the victim that somebody waits for. */
#define WAITS_FOR_ITEM(how) .puts = {0, 0, OTHERS}, .sleeps = (how)
#define ONE_WAITS           .ready = peer_waits, .sleeps = sleeps_no_more

static const struct kill_scenario scenarios[] = {
    {.name = "wait in get, then an item comes",
     TOLD,
     .bytes = 40,
     .operate = {op_wait_get},
     WAITS_FOR_ITEM(sleeps_then_put)},
    {.name = "wait in get, one waits behind, then an item comes",
     TOLD,
     .bytes = 40,
     .operate = {op_wait_get, op_wait_get},
     WAITS_FOR_ITEM(sleeps_before_peer)},
    {.name = "wait in get in a bed, then an item comes",
     IN_BEDS,
     .bytes = 40,
     .operate = {op_wait_get},
     WAITS_FOR_ITEM(sleeps_then_put)},
    {.name = "wait in get in a bed, one waits behind in another, then an item comes",
     IN_BEDS,
     .bytes = 40,
     .operate = {op_wait_get, op_wait_get},
     WAITS_FOR_ITEM(sleeps_before_peer)},
    {.name = "put, and one waits in a bed",
     IN_BEDS,
     .bytes = 40,
     ONE_WAITS,
     .operate = {op_put, op_wait_get},
     .puts = {1000}},
    {.name = "wait in get until the deadline",
     TOLD,
     .flags = KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .operate = {op_wait_get_shortly},
     .sleeps = sleeps_on},
    {.name = "put, and one waits",
     TOLD,
     .bytes = 40,
     ONE_WAITS,
     .operate = {op_put, op_wait_get},
     .puts = {1000}},
    {.name = "put a block, and one waits",
     TOLD,
     .bytes = 400,
     ONE_WAITS,
     .operate = {op_put, op_wait_get},
     .puts = {1000}},
    {.name = "wait in put, then there is room",
     TOLD,
     .bytes = 40,
     .items = 2,
     .max_items = 2,
     .operate = {op_wait_put},
     .puts = {1000},
     .sleeps = sleeps_then_get},
    {.name = "wait in put, one waits behind, then there is room",
     TOLD,
     .bytes = 400,
     .items = 2,
     .max_items = 2,
     .operate = {op_wait_put, op_wait_put},
     .puts = {1000, 1001},
     .sleeps = sleeps_before_peer_full},
    {.name = "get, and one waits in put",
     TOLD,
     .bytes = 40,
     .items = 2,
     .max_items = 2,
     ONE_WAITS,
     .operate = {op_get, op_wait_put},
     .puts = {0, 1001}},
};

/* --- the reaper of one that was chosen -------------------------------------------------------- */

#define REAPER 3u

KILL_STEP(op_reap,
          kini_reap(world->live, (uint32_t)world->page->actors[0].value) == 1 ? -EAGAIN : -EIO);

static const struct kill_scenario reaping = {
    .name = "the reaper of a chosen one, one waits behind",
    .flags = KILL_MAY_BE_EMPTY,
    .bytes = 40,
    .operate = {op_wait_get, op_wait_get, NULL, op_reap},
    .puts = {0, 0, OTHERS, 0},
    .sleeps = sleeps_before_peer,
    .over = end_peer,
    .check = check_told,
};

static void run_reaping(void)
{
    static struct kill_world world;
    struct kill_victim victim, reaper;
    if (!kill_wanted(reaping.name))
        return;
    kill_scenario_begin("every instruction", reaping.name);
    kill_world_open(&world, &reaping);
    kill_victim_start(&world, &victim, 0);
    while (!world.done[2] && !victim.done)
        kill_victim_step(&world, &victim); /* up to its sleep: it was chosen there */
    kill_victim_end(&victim);
    world.dead_slots[0] = victim.slot;
    world.page->actors[0].value = victim.slot;
    kill_victim_start(&world, &reaper, REAPER);
    kill_step_through(&world, &reaper);
    kill_victim_end(&reaper);
    kill_world_close(&world);
    kill_scenario_end();
}

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_wait");
    KILL_EACH(kill_run, scenarios);
    run_reaping();
    return kill_end();
}
