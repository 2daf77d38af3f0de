/* SPDX-License-Identifier: MIT
 * What must hold of a repaired store: heap, accounts, and the ledger of its
 * items. A store in the middle of an operation says nothing about its items, so the ledger is
 * judged by what the actors did: an item is in the store, or in the hands of one. */
#include "chan/heap.h"
#include "harness.h"

#include <errno.h>
#include <string.h>

/* --- structure -------------------------------------------------------------------------------- */

static void check_owned(struct kill_view *view, struct kini_queue_shm *queue, uint64_t block,
                        const char *what)
{
    KILL_CHECK(kini_block_check(view->arena, kini_at(view->arena, block)) == block,
               "%s is no block: %llx", what, (unsigned long long)block);
    uint64_t word = kini_block_header(view->arena, block)->word;
    KILL_CHECK(word == KINI_BLOCK_WORD(KINI_BLOCK_OWNED, 0, queue->tag),
               "%s is not the queue's: header %llx", what, (unsigned long long)word);
}

static void check_entry(struct kill_view *view, struct kini_queue_shm *queue,
                        const struct kini_entry_shm *entries, uint64_t i)
{
    const struct kini_entry_shm *entry = &entries[i];
    check_owned(view, queue, entry->block, "what an entry names");
    const struct kini_message_shm *message = kini_message_of(view->arena, entry->block);
    KILL_CHECK(message->bytes == entry->bytes && message->order == entry->order &&
                   message->priority == entry->priority,
               "entry %llu and its message disagree", (unsigned long long)i);
    KILL_CHECK(i == 0 ||
                   kini_message_goes_before(view->arena, entries[(i - 1) / 4].block, entry->block),
               "entry %llu goes before its parent", (unsigned long long)i);
    for (uint64_t j = 0; j < i; j++)
        KILL_CHECK(entries[j].block != entry->block, "entries %llu and %llu are one message",
                   (unsigned long long)j, (unsigned long long)i);
}

static void check_heap(struct kill_view *view, struct kini_queue_shm *queue,
                       struct kini_store_shm *store)
{
    uint64_t count = store->count, bytes = 0;
    check_owned(view, queue, queue->store_off, "the store");
    check_owned(view, queue, store->heap, "the heap");
    KILL_CHECK(count <= store->cap, "%llu entries in a heap of %llu", (unsigned long long)count,
               (unsigned long long)store->cap);
    KILL_CHECK(kini_block_room(view->arena, store->heap) >=
                   KINI_HEAP_PREFIX + store->cap * sizeof(struct kini_entry_shm),
               "a heap of %llu in a smaller block", (unsigned long long)store->cap);
    const struct kini_entry_shm *entries = kini_heap_entries(view->arena, store);
    for (uint64_t i = 0; i < count; i++) {
        check_entry(view, queue, entries, i);
        bytes += entries[i].bytes;
    }
    KILL_CHECK(bytes == store->bytes, "%llu bytes in the heap; it says %llu",
               (unsigned long long)bytes, (unsigned long long)store->bytes);
}

static bool others_live(struct kill_view *view)
{
    for (uint32_t slot = 1; slot < view->arena->super->participants_high; slot++)
        if (slot != view->arena->slot && kill_lives(view->arena, slot))
            return true;
    return false;
}

static void check_accounts(struct kill_view *view, struct kini_queue_shm *queue,
                           struct kini_store_shm *store)
{
    uint64_t outstanding = 0, there = store->count + queue->returned_count;
    if (!store->joinable)
        return;
    for (uint32_t slot = 0; slot < KINI_PARTICIPANTS_MAX; slot++) {
        KILL_CHECK(store->outstanding[slot] == 0 || kill_lives(view->arena, slot),
                   "slot %u, which is dead, has %u to do", slot,
                   (unsigned)store->outstanding[slot]);
        outstanding += store->outstanding[slot];
    }
    uint64_t unfinished = store->puts - store->done;
    KILL_CHECK(unfinished == there + outstanding || others_live(view),
               "%llu are not done: %llu are there, %llu in hands", (unsigned long long)unfinished,
               (unsigned long long)there, (unsigned long long)outstanding);
}

void kill_check_store(struct kill_view *view, struct kini_queue_shm *queue)
{
    struct kini_store_shm *store = kini_store_of(view->arena, queue);
    kill_check_waitq(view, &store->joiners, "joiners");
    if (store->lock.word != 0)
        return; /* a living peer is in the middle of something */
    check_heap(view, queue, store);
    check_accounts(view, queue, store);
}

/* --- ledger ----------------------------------------------------------------------------------- */

int64_t kill_store_priority(uint32_t number)
{
    return (int64_t)(number * 7 % 5) - 2;
}

struct kin_queue_key kill_store_key(uint32_t number)
{
    static const char keys[5][4] = {"a", "aa", "ab", "b", "ba"};
    const char *key = keys[kill_store_priority(number) + 2];
    return (struct kin_queue_key){.data = key, .bytes = strlen(key)};
}

/* Whether a may come out before b. */
static bool in_order(struct kini_queue_shm *queue, uint32_t a, uint32_t b)
{
    if (queue->kind == KIN_LIFO)
        return a > b;
    int64_t pa = kill_store_priority(a), pb = kill_store_priority(b);
    return queue->kind == KIN_PRIORITY && pa != pb ? pa < pb : a < b;
}

static void drain(struct kill_world *world, struct kill_view *view)
{
    static unsigned char buffer[KILL_BUFFER];
    struct kill_ledger *ledger = &world->ledger;
    struct kini_queue_shm *queue = view->queue->shm;
    uint64_t returned = queue->returned_count, got = 0;
    int64_t size = kin_queue_size(view->queue), r;
    uint32_t last = KILL_NO_ITEM;
    while ((r = kin_queue_try_get(view->queue, buffer, sizeof buffer)) >= 0) {
        uint32_t number = kill_message_number(buffer, r, world->scenario->bytes);
        KILL_CHECK(number < ledger->count, "a damaged item comes out, %lld bytes", (long long)r);
        KILL_CHECK(ledger->after[number]++ == 0, "item %u comes out twice", number);
        KILL_CHECK(last == KILL_NO_ITEM || got == returned || in_order(queue, last, number),
                   "item %u comes out after item %u", number, last);
        if (world->scenario->joinable)
            KILL_CHECK(kin_queue_task_done(view->queue) == 0, "an item cannot be told done");
        last = number;
        got++;
    }
    bool shut = queue->flags & KINI_QUEUE_SHUT;
    KILL_CHECK(r == (shut ? -ESHUTDOWN : -EAGAIN), "the queue cannot be emptied: %lld %s",
               (long long)r, kin_error_text());
    KILL_CHECK(size == (int64_t)got, "the queue says that it holds %lld items; %llu come out",
               (long long)size, (unsigned long long)got);
    KILL_CHECK(kin_queue_bytes(view->queue) == 0, "an empty queue holds %lld bytes",
               (long long)kin_queue_bytes(view->queue));
}

static bool in_hands(struct kill_world *world, uint32_t who, uint32_t number)
{
    const struct kill_actor *actor = &world->page->actors[who];
    bool acts = world->scenario->operate[who] != NULL || actor->phase == KILL_DONE;
    return acts && world->scenario->puts[who] == 0 &&
           kill_message_number(actor->buffer, world->scenario->bytes, world->scenario->bytes) ==
               number;
}

static void check_item(struct kill_world *world, uint32_t number)
{
    uint32_t hands = 0, kept = 0;
    bool there = world->ledger.after[number] > 0;
    for (uint32_t who = 0; who < KILL_ACTORS; who++) {
        hands += in_hands(world, who, number);
        kept += in_hands(world, who, number) && world->done[who];
    }
    KILL_CHECK(hands <= 1, "%u consumers have item %u", hands, number);
    KILL_CHECK(there || hands > 0, "item %u is lost: in the hands of nobody", number);
    KILL_CHECK(!there || kept == 0, "item %u comes out, although a get returned it", number);
}

static void check_put(struct kill_world *world, uint32_t who)
{
    uint32_t number = world->scenario->puts[who];
    if (number != 0 && world->done[who] && world->page->actors[who].result == 0)
        KILL_CHECK(world->ledger.after[number] == 1, "item %u is lost, although its put returned",
                   number);
}

void kill_store_ledger_check(struct kill_world *world, struct kill_view *view)
{
    drain(world, view);
    for (uint32_t number = 0; number < world->scenario->items; number++)
        check_item(world, number);
    for (uint32_t who = 0; who < KILL_ACTORS; who++)
        check_put(world, who);
    if (!world->scenario->joinable || others_live(view))
        return;
    KILL_CHECK(kin_queue_unfinished(view->queue) == 0, "%lld are never done",
               (long long)kin_queue_unfinished(view->queue));
    KILL_CHECK(kin_queue_task_done(view->queue) == -EINVAL, "more is done than was got");
    KILL_CHECK(kin_queue_join(view->queue, KIN_NOW) == 0, "a join does not end");
}
