/* SPDX-License-Identifier: MIT
 * Queues that are no plain ring: a victim killed at each instruction of put, get, take, release,
 * task_done, growth, shrinking and shutdown; and the reaper that repairs it, too. */
#include "chan/heap.h"
#include "chan/store.h"
#include "lib/harness.h"

#include <errno.h>
#include <string.h>

#define PUT_NUMBER 1000u
#define PEER       1u
#define REAPER     3u

/* --- operations ------------------------------------------------------------------------------- */

static int64_t op_put(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_queue_try_put(world->queue, message, world->scenario->bytes);
}

static int64_t op_put_prio(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_queue_put_prio(world->queue, message, world->scenario->bytes,
                              kill_store_priority(PUT_NUMBER), KIN_NOW);
}

static int64_t op_put_key(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    const struct kin_queue_key key = kill_store_key(PUT_NUMBER);
    return kin_queue_put_key(world->queue, message, world->scenario->bytes, &key, KIN_NOW);
}

static int64_t op_publish_key(struct kill_world *world, uint32_t who)
{
    const uint32_t bytes = world->scenario->bytes;
    const struct kin_queue_key key = kill_store_key(PUT_NUMBER);
    void *message;
    int r = kin_queue_reserve(world->queue, bytes + KIN_QUEUE_KEY_HEAD + key.bytes, &message);
    if (r < 0)
        return r;
    memcpy(message, world->page->actors[who].buffer, bytes);
    return kin_queue_publish_key(world->queue, message, bytes, &key, KIN_NOW);
}

static int64_t op_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_try_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER);
}

static int64_t op_take(struct kill_world *world, uint32_t who)
{
    void *message;
    (void)who;
    return kin_queue_take(world->queue, &message, KIN_NOW);
}

static int64_t op_take_and_release(struct kill_world *world, uint32_t who)
{
    void *message;
    int64_t r = kin_queue_take(world->queue, &message, KIN_NOW);
    if (r < 0)
        return r;
    memcpy(world->page->actors[who].buffer, message, (size_t)r);
    return kin_queue_release(world->queue, message);
}

static int64_t op_get_and_be_done(struct kill_world *world, uint32_t who)
{
    int64_t r = op_get(world, who);
    return r < 0 ? r : kin_queue_task_done(world->queue);
}

KILL_STEP(op_drop, kin_queue_shutdown(world->queue, KIN_AT_ONCE));

/* Its caches hold free blocks of the size. */
static void warm_caches(struct kill_world *world, uint32_t who)
{
    void *blocks[3];
    (void)who;
    for (uint32_t i = 0; i < 3; i++)
        if (kin_block_alloc(world->live, world->scenario->bytes + sizeof(struct kini_message_shm),
                            &blocks[i]) < 0)
            kill_broken("no block: %s", kin_error_text());
    for (uint32_t i = 0; i < 3; i++)
        kin_block_free(world->live, blocks[i]);
}

static int64_t op_wait_get(struct kill_world *world, uint32_t who)
{
    return kin_queue_get(world->queue, world->page->actors[who].buffer, KILL_BUFFER,
                         kin_after_ms(600000));
}

static int64_t op_wait_put(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_queue_put(world->queue, message, world->scenario->bytes, kin_after_ms(600000));
}

KILL_STEP(op_wait_join, kin_queue_join(world->queue, kin_after_ms(600000)));

/* --- what was before -------------------------------------------------------------------------- */

static void empty(struct kill_world *world)
{
    unsigned char buffer[KILL_BUFFER];
    while (kin_queue_try_get(world->queue, buffer, sizeof buffer) >= 0)
        if (world->scenario->joinable && kin_queue_task_done(world->queue) < 0)
            kill_broken("not done: %s", kin_error_text());
}

/* The items have other priorities than 0. */
static void setup_priorities(struct kill_world *world)
{
    unsigned char buffer[KILL_BUFFER];
    const uint32_t bytes = world->scenario->bytes;
    empty(world);
    for (uint32_t i = 0; i < world->scenario->items; i++) {
        kill_message_make(buffer, bytes, i);
        if (kin_queue_put_prio(world->queue, buffer, bytes, kill_store_priority(i), KIN_NOW) < 0)
            kill_broken("no put: %s", kin_error_text());
    }
}

/* The items have keys. */
static void setup_keys(struct kill_world *world)
{
    unsigned char buffer[KILL_BUFFER];
    const uint32_t bytes = world->scenario->bytes;
    empty(world);
    for (uint32_t i = 0; i < world->scenario->items; i++) {
        kill_message_make(buffer, bytes, i);
        const struct kin_queue_key key = kill_store_key(i);
        if (kin_queue_put_key(world->queue, buffer, bytes, &key, KIN_NOW) < 0)
            kill_broken("no put: %s", kin_error_text());
    }
}

/* The heap has twice its least size, and is used so little that the next get halves it. */
static void setup_large_heap(struct kill_world *world)
{
    struct kini_store_shm *store = kini_store_of(world->live, world->queue->shm);
    empty(world);
    for (uint32_t i = 0; i <= KINI_HEAP_LEAST; i++)
        kill_put_number(world->queue, world->scenario->bytes, 0);
    for (uint32_t i = 0; i <= KINI_HEAP_LEAST - world->scenario->items; i++) {
        unsigned char buffer[KILL_BUFFER];
        if (kin_queue_try_get(world->queue, buffer, sizeof buffer) < 0 ||
            kin_queue_task_done(world->queue) < 0)
            kill_broken("nothing there");
    }
    if (kini_load(&store->cap) != 2 * KINI_HEAP_LEAST)
        kill_broken("the heap has %u entries", (unsigned)kini_load(&store->cap));
    struct kini_entry_shm *entries = kini_heap_entries(world->live, store);
    for (uint32_t i = 0; i < world->scenario->items; i++) { /* numbers as they were put */
        uint64_t number = entries[i].order - (kini_load(&store->puts) - world->scenario->items);
        kill_message_make(kini_message_data(world->live, entries[i].block), world->scenario->bytes,
                          (uint32_t)number);
    }
}

/* The first message has been returned by one who died. */
static void setup_returned(struct kill_world *world)
{
    void *message;
    uint32_t slot;
    if (kin_queue_take(world->queue, &message, KIN_NOW) < 0)
        kill_broken("nothing to take");
    uint64_t block = kini_offset(world->live, message) - sizeof(struct kini_message_shm);
    slot = world->live->slot;
    kini_queue_give_back(world->live_self, kini_offset(world->live, world->queue->shm), block,
                         KINI_BLOCK_WORD(KINI_BLOCK_TAKEN, slot, world->queue->shm->tag));
}

/* One waits before the victim begins. */
static void peer_waits(struct kill_world *world)
{
    kill_peer_waits(world, PEER);
}

/* One waits behind the victim; then there is room for one. */
static bool sleeps_before_peer(struct kill_world *world, uint32_t times)
{
    struct kill_actor *actor = &world->page->actors[2];
    if (world->parking || times != 1)
        return false;
    kill_peer_waits(world, PEER);
    kini_last_self = world->live_self;
    actor->result = kin_queue_try_get(world->queue, actor->buffer, KILL_BUFFER);
    actor->phase = KILL_DONE;
    return true;
}

static bool sleeps_no_more(struct kill_world *world, uint32_t times)
{
    (void)world;
    (void)times;
    return false;
}

/* --- checks ----------------------------------------------------------------------------------- */

/* All or nothing was dropped; in any case nobody can get it, and it is done. */
static void check_drop(struct kill_world *world, struct kill_view *view)
{
    bool shut = view->queue->shm->flags & KINI_QUEUE_SHUT;
    if (!shut) {
        kill_store_ledger_check(world, view);
        return;
    }
    KILL_CHECK(kin_queue_size(view->queue) == 0, "%lld are left",
               (long long)kin_queue_size(view->queue));
    KILL_CHECK(kin_queue_unfinished(view->queue) == 0, "%lld are never done",
               (long long)kin_queue_unfinished(view->queue));
    KILL_CHECK(kin_queue_try_get(view->queue, NULL, 0) == -ESHUTDOWN, "not shut down");
    kin_queue_destroy(view->queue);
    view->queue = NULL;
}

/* Whoever could go on knows it. */
static void check_told(struct kill_world *world, struct kill_view *view)
{
    struct kini_queue_shm *shm = view->queue->shm;
    struct kini_store_shm *store = kini_store_of(view->arena, shm);
    uint64_t items = kini_store_count(view->self, shm);
    uint32_t chosen = kill_notified(view, &shm->getters), untold = kill_untold(view, &shm->getters);
    KILL_CHECK(untold == 0 || chosen + kill_queued(view, &shm->getters) - untold >= items,
               "%llu items, %u consumers wait on, %u were told", (unsigned long long)items, untold,
               chosen);
    uint32_t queued = kill_queued(view, &shm->putters);
    untold = kill_untold(view, &shm->putters);
    KILL_CHECK(queued == 0 || untold < queued || items >= shm->max_items,
               "%llu items of %llu, and %u producers wait on", (unsigned long long)items,
               (unsigned long long)shm->max_items, untold);
    untold = kill_untold(view, &store->joiners);
    KILL_CHECK(untold == 0 || store->puts != store->done, "all is done, and %u still join", untold);
    kill_store_ledger_check(world, view);
}

#define CHECKED .check = kill_store_ledger_check

static const struct kill_scenario scenarios[] = {
    {.name = "put, last in first out",
     .warm = warm_caches,
     .kind = KIN_LIFO,
     .bytes = 40,
     .items = 6,
     .operate = {op_put},
     .puts = {PUT_NUMBER},
     CHECKED},
    {.name = "put by priority, on top of others",
     .warm = warm_caches,
     .kind = KIN_PRIORITY,
     .bytes = 40,
     .items = 22,
     .setup = setup_priorities,
     .operate = {op_put_prio},
     .puts = {PUT_NUMBER},
     CHECKED},
    {.name = "put by key, on top of others",
     .warm = warm_caches,
     .kind = KIN_PRIORITY,
     .bytes = 40,
     .items = 22,
     .setup = setup_keys,
     .operate = {op_put_key},
     .puts = {PUT_NUMBER},
     CHECKED},
    {.name = "publish by key",
     .warm = warm_caches,
     .kind = KIN_PRIORITY,
     .bytes = 40,
     .items = 12,
     .setup = setup_keys,
     .operate = {op_publish_key},
     .puts = {PUT_NUMBER},
     CHECKED},
    {.name = "put by priority, the first",
     .kind = KIN_PRIORITY,
     .bytes = 40,
     .operate = {op_put},
     .puts = {PUT_NUMBER},
     CHECKED},
    {.name = "put, bounded in bytes",
     .warm = warm_caches,
     .bytes = 40,
     .items = 2,
     .max_bytes = 300,
     .operate = {op_put},
     .puts = {PUT_NUMBER},
     CHECKED},
    {.name = "put, joinable",
     .warm = warm_caches,
     .joinable = 1,
     .bytes = 40,
     .items = 2,
     .operate = {op_put},
     .puts = {PUT_NUMBER},
     CHECKED},
    {.name = "put into a full heap",
     .warm = warm_caches,
     .kind = KIN_LIFO,
     .bytes = 16,
     .items = KINI_HEAP_LEAST,
     .operate = {op_put},
     .puts = {PUT_NUMBER},
     CHECKED},
    {.name = "get, last in first out",
     .kind = KIN_LIFO,
     .bytes = 40,
     .items = 6,
     .operate = {op_get},
     CHECKED},
    {.name = "get by priority",
     .kind = KIN_PRIORITY,
     .bytes = 40,
     .items = 22,
     .setup = setup_priorities,
     .operate = {op_get},
     CHECKED},
    {.name = "get by key",
     .kind = KIN_PRIORITY,
     .bytes = 40,
     .items = 22,
     .setup = setup_keys,
     .operate = {op_get},
     CHECKED},
    {.name = "get the last",
     .kind = KIN_LIFO,
     .bytes = 40,
     .items = 1,
     .operate = {op_get},
     CHECKED},
    {.name = "get, joinable", .joinable = 1, .bytes = 40, .items = 3, .operate = {op_get}, CHECKED},
    {.name = "get a large one, bounded in bytes",
     .max_bytes = 200000,
     .bytes = 33000,
     .items = 2,
     .operate = {op_get},
     CHECKED},
    {.name = "get and halve the heap",
     .bytes = 16,
     .joinable = 1,
     .items = 17,
     .setup = setup_large_heap,
     .operate = {op_get},
     CHECKED},
    {.name = "get what was returned",
     .kind = KIN_LIFO,
     .bytes = 40,
     .items = 3,
     .setup = setup_returned,
     .operate = {op_get},
     CHECKED},
    {.name = "take", .kind = KIN_LIFO, .bytes = 40, .items = 3, .operate = {op_take}, CHECKED},
    {.name = "take and release, joinable",
     .joinable = 1,
     .bytes = 40,
     .items = 3,
     .operate = {op_take_and_release},
     CHECKED},
    {.name = "get and be done",
     .joinable = 1,
     .bytes = 40,
     .items = 2,
     .operate = {op_get_and_be_done},
     CHECKED},
    {.name = "shut down at once",
     .joinable = 1,
     .bytes = 40,
     .items = 3,
     .operate = {op_drop},
     .check = check_drop},
    {.name = "put, and one waits",
     .kind = KIN_LIFO,
     .bytes = 40,
     .ready = peer_waits,
     .warm = warm_caches,
     .sleeps = sleeps_no_more,
     .operate = {op_put, op_wait_get},
     .puts = {PUT_NUMBER},
     .over = kill_peers_end,
     .check = check_told},
    {.name = "get, and one waits to put",
     .kind = KIN_LIFO,
     .bytes = 40,
     .items = 2,
     .max_items = 2,
     .ready = peer_waits,
     .sleeps = sleeps_no_more,
     .operate = {op_get, op_wait_put},
     .puts = {0, PUT_NUMBER + 1},
     .over = kill_peers_end,
     .check = check_told},
    {.name = "wait to put, one waits behind, then there is room",
     .kind = KIN_LIFO,
     .bytes = 40,
     .items = 2,
     .max_items = 2,
     .warm = warm_caches,
     .sleeps = sleeps_before_peer,
     .operate = {op_wait_put, op_wait_put},
     .puts = {PUT_NUMBER, PUT_NUMBER + 1},
     .over = kill_peers_end,
     .check = check_told},
    {.name = "be done with the last, and one joins",
     .joinable = 1,
     .bytes = 40,
     .items = 1,
     .ready = peer_waits,
     .sleeps = sleeps_no_more,
     .operate = {op_get_and_be_done, op_wait_join},
     .over = kill_peers_end,
     .check = check_told},
};

static const struct kill_scenario reapings[] = {
    {.name = "the reaper of one who puts",
     .warm = warm_caches,
     .kind = KIN_PRIORITY,
     .bytes = 40,
     .items = 22,
     .stride = 97,
     .setup = setup_priorities,
     .operate = {op_put_prio, [REAPER] = kill_op_reap},
     .puts = {PUT_NUMBER},
     CHECKED},
    {.name = "the reaper of one who gets",
     .kind = KIN_PRIORITY,
     .joinable = 1,
     .bytes = 40,
     .items = 22,
     .stride = 97,
     .setup = setup_priorities,
     .operate = {op_get, [REAPER] = kill_op_reap},
     CHECKED},
    {.name = "the reaper of one who puts by key",
     .warm = warm_caches,
     .kind = KIN_PRIORITY,
     .bytes = 40,
     .items = 22,
     .stride = 97,
     .setup = setup_keys,
     .operate = {op_put_key, [REAPER] = kill_op_reap},
     .puts = {PUT_NUMBER},
     CHECKED},
    {.name = "the reaper of one who gets by key",
     .kind = KIN_PRIORITY,
     .joinable = 1,
     .bytes = 40,
     .items = 22,
     .stride = 97,
     .setup = setup_keys,
     .operate = {op_get, [REAPER] = kill_op_reap},
     CHECKED},
    {.name = "the reaper of one who resizes",
     .warm = warm_caches,
     .kind = KIN_LIFO,
     .bytes = 16,
     .items = KINI_HEAP_LEAST,
     .stride = 1201,
     .operate = {op_put, [REAPER] = kill_op_reap},
     .puts = {PUT_NUMBER},
     CHECKED},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_store");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_real, scenarios);
    KILL_EACH(kill_reaping, reapings);
    return kill_end();
}
