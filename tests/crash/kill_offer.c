/* SPDX-License-Identifier: MIT
 * Offers: killed while a place is offered, an object is added, the place is taken back, or the
 * process that it was kept for takes it; with and without a process that has a copy of the token.
 * In the copy the harness itself is that process, when everything has been repaired. */
#include "lib/harness.h"

#include <kin/offer.h>

#include <errno.h>

/* Of the page: what the parent of the offer says, whoever that is. */
#define PLACE actors[1].value
#define KEY   actors[2].value
#define COMER 1u /* of the dead slots: that of who has come */

#define SMALL 600u
#define LARGE 33000u

static struct kin_offer *offer;
static struct kin_queue *mine;
static struct kin_arena *there;   /* of who has come */
static int channel[2] = {-1, -1}; /* the way to the process that comes */
static int token = -1;            /* its copy; -1: nobody comes */
static int keeper = -1;           /* the same in the copy of the arena */
static int brought[KIN_OFFER_FDS] = {-1, -1};

static void close_one(int *fd)
{
    kini_os_close(*fd);
    *fd = -1;
}

/* --- before ----------------------------------------------------------------------------------- */

/* H */
static void setup_channel(struct kill_world *world)
{
    (void)world;
    if (kini_os_channel_create(channel) < 0)
        kill_broken("no channel");
}

static void make_queue(struct kin_arena *arena)
{
    if (kin_queue_create(arena, NULL, &mine) < 0)
        kill_broken("no queue: %s", kin_error_text());
    kill_put_number(mine, SMALL, 0);
    kill_put_number(mine, LARGE, 1);
}

static void make_offer(struct kill_world *world)
{
    if (kin_offer_create(world->live, "offered", &offer) < 0)
        kill_broken("no offer: %s", kin_error_text());
    world->page->PLACE = kin_offer_place(offer);
}

static int add(struct kill_world *world)
{
    uint32_t key = 0;
    int r = kin_offer_add(offer, mine, &key);
    world->page->KEY = key;
    return r;
}

/* V: it has a queue. */
static void warm_queue(struct kill_world *world, uint32_t who)
{
    (void)who;
    make_queue(world->live);
}

/* V: and offers a place. */
static void warm_offer(struct kill_world *world, uint32_t who)
{
    int fds[KIN_OFFER_FDS];
    if (who != 0) { /* the reaper */
        if (kini_enter(world->live) == NULL)
            kill_broken("no thread: %s", kin_error_text());
        return;
    }
    make_queue(world->live);
    make_offer(world);
    world->page->KEY = mine->handle.tag;
    kin_offer_fds(offer, fds);
    if (channel[1] >= 0 && kini_os_channel_send(channel[1], 0, fds[1]) < 0)
        kill_broken("the token cannot be handed over");
}

/* V: with the queue. */
static void warm_added(struct kill_world *world, uint32_t who)
{
    warm_offer(world, who);
    if (who == 0 && add(world) < 0)
        kill_broken("the queue cannot be added: %s", kin_error_text());
}

/* H: the process has its descriptors. */
static void ready_come(struct kill_world *world)
{
    uint64_t number;
    (void)world;
    if (kini_os_channel_peek(channel[0], &number, &token) < 0 ||
        kini_os_channel_drop(channel[0]) < 0)
        kill_broken("the token does not come");
}

/* H: nobody comes, so it is to be reaped like its parent. */
static void ready_nobody(struct kill_world *world)
{
    world->dead_slots[COMER] = (uint32_t)(world->page->PLACE >> 32);
}

/* H: what the harness offers is for the victim. */
static void setup_brought(struct kill_world *world)
{
    int fds[KIN_OFFER_FDS];
    make_queue(world->live);
    make_offer(world);
    if (add(world) < 0)
        kill_broken("the queue cannot be added: %s", kin_error_text());
    kin_offer_fds(offer, fds);
    for (uint32_t i = 0; i < KIN_OFFER_FDS; i++)
        brought[i] = kini_os_duplicate(fds[i]);
}

/* H: only the victim has them, and it dies in both of its slots. */
static void ready_brought(struct kill_world *world)
{
    ready_nobody(world);
    kin_offer_destroy(offer);
    kin_queue_destroy(mine);
    close_one(&brought[0]);
    close_one(&brought[1]);
}

static void over(struct kill_world *world)
{
    (void)world;
    close_one(&token);
    close_one(&keeper);
    close_one(&channel[0]);
    close_one(&channel[1]);
}

/* --- what the victims do ---------------------------------------------------------------------- */

KILL_STEP(op_create, kin_offer_create(world->live, "offered", &offer));
KILL_STEP(op_add, add(world));
KILL_STEP(op_nothing, 0);
KILL_STEP(op_accept, kin_arena_accept(brought, world->page->PLACE, &there));
KILL_STEP(op_reap_all, kini_reap_all(world->live, false));

static int64_t op_destroy(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    kin_offer_destroy(offer);
    return 0;
}

/* All of it, as its one thread would. */
static int64_t op_come_and_go(struct kill_world *world, uint32_t who)
{
    struct kin_queue *queue;
    int r = (int)op_accept(world, who);
    if (r < 0)
        return r;
    int64_t position = kin_object_receive(there, (uint32_t)world->page->KEY);
    if (position < 0 || (r = kin_queue_inherit(there, (uint32_t)position, &queue)) < 0)
        return position < 0 ? position : r;
    r = (int)kin_queue_try_get(queue, world->page->actors[who].buffer, KILL_BUFFER);
    kin_queue_destroy(queue);
    kin_arena_detach(there);
    return r < 0 ? r : 0;
}

/* --- what must hold --------------------------------------------------------------------------- */

static uint32_t place_slot(const struct kill_world *world)
{
    return (uint32_t)(world->page->PLACE >> 32);
}

static uint32_t place_state(struct kill_world *world, struct kin_arena *arena)
{
    uint64_t state = arena->participants[place_slot(world)].state;
    return KINI_STATE_GEN(state) == (uint32_t)world->page->PLACE ? KINI_STATE(state) : KINI_FREE;
}

/* Before the repair: the process that may come lives in the copy, too. */
static void observe_come(struct kill_world *world, struct kill_view *view)
{
    close_one(&keeper);
    keeper =
        view->arena == world->live ? kini_os_duplicate(token) : kini_os_reopen(view->arena->fd);
    if (keeper < 0 ||
        (view->arena != world->live && kini_os_byte_lock(keeper, place_slot(world)) < 0))
        kill_broken("no token in the copy");
}

/* Before the repair: what was taken back is free, also when nobody has died. */
static void observe_taken_back(struct kill_world *world, struct kill_view *view)
{
    uint32_t state = place_state(world, view->arena);
    KILL_CHECK(!world->done[0] || state == KINI_FREE,
               "the place was taken back, nobody comes, and it is in state %u", state);
}

/* Before the repair: the victim lives, and nobody takes it for dead. */
static void observe_lives(struct kill_world *world, struct kill_view *view)
{
    if (view->arena == world->live)
        return; /* no, it was killed in earnest */
    uint32_t before = place_state(world, world->live);
    kini_last_self = world->live_self;
    int r = kini_reap(world->live, place_slot(world));
    kini_last_self = view->self;
    KILL_CHECK(r == 0 && place_state(world, world->live) == before,
               "who lives is reaped: %d, its state was %u", r, before);
}

static void check_nothing_left(struct kill_view *view)
{
    struct kin_arena_stats stat = {.size = sizeof stat};
    if (kin_arena_stat(view->arena, &stat) < 0)
        kill_broken("no figures: %s", kin_error_text());
    KILL_CHECK(stat.objects_count == 0, "nobody is left who could use it: %u objects",
               (unsigned)stat.objects_count);
    for (uint32_t slot = 2; slot < view->arena->super->participants_high; slot++) {
        uint32_t state = KINI_STATE(view->arena->participants[slot].state);
        KILL_CHECK(state == KINI_FREE, "slot %u is in state %u, and nobody has its token", slot,
                   state);
    }
}

/* Nobody comes: whoever looks after the dead finds the place, too. */
static void check_nobody(struct kill_world *world, struct kill_view *view)
{
    int64_t answer = world->page->actors[0].result;
    KILL_CHECK(!world->done[0] || answer == 0, "the victim is answered %lld", (long long)answer);
    int r = kini_reap_all(view->arena, false);
    KILL_CHECK(r >= 0, "the reaper answers %d", r);
    check_nothing_left(view);
}

static void check_queue(struct kin_queue *queue)
{
    static unsigned char buffer[KILL_BUFFER];
    static const uint32_t bytes[2] = {SMALL, LARGE};
    for (uint32_t i = 0; i < 2; i++) {
        int64_t r = kin_queue_try_get(queue, buffer, sizeof buffer);
        KILL_CHECK(r == bytes[i] && kill_message_number(buffer, r, bytes[i]) == i,
                   "item %u does not come to who has come: %lld", i, (long long)r);
    }
    KILL_CHECK(kin_queue_try_get(queue, buffer, sizeof buffer) == -EAGAIN, "there is one more");
}

/* The process comes, although its parent died: what was added is there. */
static void check_come(struct kill_world *world, struct kill_view *view)
{
    const bool added = world->scenario->warm == warm_added || world->done[0];
    const int fds[KIN_OFFER_FDS] = {kini_os_duplicate(view->arena->fd), keeper};
    struct kin_arena *arena;
    struct kin_queue *queue;
    keeper = -1; /* it is the arena's */
    int r = kin_arena_accept(fds, world->page->PLACE, &arena);
    KILL_CHECK(r == 0, "the place cannot be taken: %d %s", r, kin_error_text());
    int64_t position = kin_object_receive(arena, (uint32_t)world->page->KEY);
    KILL_CHECK(position >= 0, "the key is refused: %lld %s", (long long)position, kin_error_text());
    r = kin_queue_inherit(arena, (uint32_t)position, &queue);
    KILL_CHECK(r == 0 || (r == -ESTALE && !added), "the queue was %s, and cannot be had: %d %s",
               added ? "added" : "being added", r, kin_error_text());
    if (r == 0) {
        check_queue(queue);
        kin_queue_destroy(queue);
    }
    kin_arena_detach(arena);
    kini_last_self = view->self;
    check_nothing_left(view);
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define OFFER  .flags = KILL_NO_QUEUE, .over = over
#define NOBODY OFFER, .ready = ready_nobody, .check = check_nobody
#define COME                                                                                       \
    OFFER, .setup = setup_channel, .ready = ready_come, .observe = observe_come, .check = check_come
#define BROUGHT                                                                                    \
    OFFER, .setup = setup_brought, .ready = ready_brought, .observe = observe_lives,               \
           .check = check_nobody

static const struct kill_scenario scenarios[] = {
    {.name = "offer a place", NOBODY, .warm = warm_queue, .operate = {op_create}},
    {.name = "add a queue", COME, .warm = warm_offer, .operate = {op_add}},
    {.name = "add a queue, nobody comes", NOBODY, .warm = warm_offer, .operate = {op_add}},
    {.name = "add it again", COME, .warm = warm_added, .operate = {op_add}},
    {.name = "take back",
     NOBODY,
     .observe = observe_taken_back,
     .warm = warm_added,
     .operate = {op_destroy}},
    {.name = "take back, the process has come", COME, .warm = warm_added, .operate = {op_destroy}},
    {.name = "accept", BROUGHT, .operate = {op_accept}},
    {.name = "accept, use and leave", BROUGHT, .operate = {op_come_and_go}},
};

static const struct kill_scenario reapings[] = {
    {.name = "reap a parent, nobody comes",
     NOBODY,
     .warm = warm_added,
     .last = {1},
     .operate = {op_nothing, NULL, NULL, op_reap_all}},
    {.name = "reap a parent, the process has come",
     COME,
     .warm = warm_added,
     .last = {1},
     .operate = {op_nothing, NULL, NULL, kill_op_reap}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_offer");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_real, scenarios);
    KILL_EACH(kill_reaping, reapings);
    return kill_end();
}
