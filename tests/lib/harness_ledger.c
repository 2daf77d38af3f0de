/* SPDX-License-Identifier: MIT
 * The ledger of the items of a queue: where each was before the repair, and whether it comes out.
 */
#include "chan/message.h"
#include "harness_queue.h"

#include <errno.h>
#include <string.h>

/* --- messages --------------------------------------------------------------------------------- */

void kill_message_make(unsigned char *buffer, uint32_t bytes, uint32_t number)
{
    for (uint32_t i = 0; i < bytes; i++)
        buffer[i] = (unsigned char)(number * 37 + i * 11 + (i >> 8));
    if (bytes >= sizeof number)
        memcpy(buffer, &number, sizeof number);
}

uint32_t kill_message_number(const unsigned char *buffer, int64_t bytes, uint32_t expected)
{
    static unsigned char whole[KILL_BUFFER];
    uint32_t number;
    if (bytes != (int64_t)expected || bytes < (int64_t)sizeof number)
        return KILL_NO_ITEM;
    memcpy(&number, buffer, sizeof number);
    if (number >= KILL_ITEMS_MOST)
        return KILL_NO_ITEM;
    kill_message_make(whole, expected, number);
    return memcmp(whole, buffer, expected) == 0 ? number : KILL_NO_ITEM;
}

void kill_put_number(struct kin_queue *queue, uint32_t bytes, uint32_t number)
{
    static unsigned char message[KILL_BUFFER];
    kill_message_make(message, bytes, number);
    int r = kin_queue_try_put(queue, message, bytes);
    if (r < 0)
        kill_fail("item %u cannot be put: %d %s", number, r, kin_error_text());
}

/* --- batches ---------------------------------------------------------------------------------- */

uint32_t kill_many_of(const struct kill_scenario *scenario, uint32_t who)
{
    return scenario->many[who] ? scenario->many[who] : 1;
}

static uint64_t room_of(const struct kill_scenario *scenario)
{
    return ((uint64_t)scenario->bytes + 15) & ~15ull; /* as kin_queue_get_many lays them out */
}

unsigned char *kill_message_of(struct kill_world *world, uint32_t who, uint32_t i)
{
    return world->page->actors[who].buffer + i * room_of(world->scenario);
}

uint64_t kill_hand_bytes(struct kill_world *world, uint32_t who)
{
    return kill_many_of(world->scenario, who) * room_of(world->scenario);
}

void kill_hand_clear(struct kill_world *world, uint32_t who)
{
    for (uint32_t i = 0; i < kill_many_of(world->scenario, who); i++)
        memset(kill_message_of(world, who, i), 0xff, 16);
}

int64_t kill_op_put_many(struct kill_world *world, uint32_t who)
{
    struct kin_item items[KILL_MANY_MOST];
    uint32_t many = kill_many_of(world->scenario, who);
    for (uint32_t i = 0; i < many; i++)
        items[i] = (struct kin_item){kill_message_of(world, who, i), world->scenario->bytes};
    return kin_queue_put_many(world->queue, items, many, KIN_NOW);
}

int64_t kill_op_get_many(struct kill_world *world, uint32_t who)
{
    struct kin_item items[KILL_MANY_MOST];
    return kin_queue_get_many(world->queue, items, kill_many_of(world->scenario, who),
                              world->page->actors[who].buffer, KILL_BUFFER, KIN_NOW);
}

/* --- ledger ----------------------------------------------------------------------------------- */

static void forget_unbegun(struct kill_world *world, uint32_t who);

static void observe_cell(void *arg, struct kini_segment_shm *segment, struct kini_cell_shm *cell,
                         uint64_t position)
{
    struct kill_view *view = arg;
    struct kill_ledger *ledger = &view->world->ledger;
    (void)segment;
    uint32_t number = kill_message_number(kill_cell_bytes(view, cell), (int64_t)(cell->info >> 1),
                                          view->world->scenario->bytes);
    KILL_CHECK(number < ledger->count, "the published cell of position %llu holds rubbish",
               (unsigned long long)position);
    KILL_CHECK(ledger->before[number]++ == 0, "item %u is in two cells", number);
}

static void each_block(struct kin_arena *arena, kill_block_fn fn, void *arg)
{
    for (uint32_t unit = 0; unit < arena->super->units_high; unit++) {
        uint32_t state = arena->spans[unit].state;
        uint64_t from = kini_unit_offset(arena, unit);
        if (KINI_SPAN_KIND(state) == KINI_SPAN_LARGE)
            fn(arg, from + KINI_LARGE_PREFIX);
        uint32_t size = KINI_SPAN_KIND(state) == KINI_SPAN_SMALL
                            ? kini_class_bytes(KINI_SPAN_CLASS(state))
                            : KINI_UNIT_BYTES + 1;
        for (uint32_t at = 0; at + size <= KINI_UNIT_BYTES; at += size)
            fn(arg, from + at + sizeof(struct kini_block_shm));
    }
}

/* A message that is in no cell, but TAKEN by somebody who has it or is dead, or in the list of
 * returned (OWNED, also while it is on its way there). */
static void observe_block(void *arg, uint64_t block)
{
    struct kill_view *view = arg;
    struct kill_ledger *ledger = &view->world->ledger;
    const uint64_t word = kini_block_header(view->arena, block)->word;
    const uint32_t state = KINI_BLOCK_STATE(word), tag = view->queue->shm->tag;
    if ((state != KINI_BLOCK_TAKEN && state != KINI_BLOCK_OWNED) || KINI_BLOCK_TAG(word) != tag)
        return;
    struct kini_message_shm *message = kini_message_of(view->arena, block);
    uint32_t number = kill_message_number(kini_message_data(view->arena, block),
                                          (int64_t)message->bytes, view->world->scenario->bytes);
    if (number < ledger->count && ledger->before[number] == 0) {
        ledger->before[number] = 1;
        ledger->taken[number] = state == KINI_BLOCK_TAKEN ? (uint8_t)KINI_BLOCK_SLOT(word) : 0;
    }
}

void kill_ledger_observe(struct kill_world *world, struct kill_view *view)
{
    memset(world->ledger.before, 0, world->ledger.count);
    memset(world->ledger.after, 0, world->ledger.count);
    memset(world->ledger.taken, 0, world->ledger.count);
    if (view->queue == NULL)
        return;
    kill_each_published(view->arena, view->queue->shm, observe_cell, view);
    each_block(view->arena, observe_block, view);
    for (uint32_t who = 0; who < KILL_ACTORS; who++)
        if (world->scenario->puts[who] != 0 && world->scenario->many[who] != 0)
            forget_unbegun(world, who);
}

static void note_back(void *arg, struct kini_segment_shm *segment, struct kini_cell_shm *cell,
                      uint64_t position)
{
    struct kill_view *view = arg;
    uint32_t number;
    (void)segment;
    (void)position;
    memcpy(&number, kill_cell_bytes(view, cell), sizeof number);
    if ((cell->seq & KINI_CELL_BACK) && number < view->world->ledger.count)
        view->world->ledger.back[number] = 1;
}

static void note_returned(void *arg, uint64_t block)
{
    struct kill_view *view = arg;
    uint32_t number;
    memcpy(&number, kini_message_data(view->arena, block), sizeof number);
    if (number < view->world->ledger.count)
        view->world->ledger.back[number] = 2;
}

/* What is delivered again comes first, then the others, both as they were put. */
static void check_order(struct kill_ledger *ledger, uint32_t number, uint32_t *last,
                        uint32_t *last_back)
{
    const bool back = ledger->back[number];
    uint32_t *before = back ? &last_back[ledger->back[number] - 1] : last;
    KILL_CHECK(ledger->back[number] != 2 || last_back[0] == KILL_NO_ITEM,
               "item %u was returned, but comes after item %u", number, last_back[0]);
    KILL_CHECK(!back || *last == KILL_NO_ITEM, "item %u is delivered again, but after item %u",
               number, *last);
    KILL_CHECK(*before == KILL_NO_ITEM || number > *before || number >= ledger->first_put,
               "item %u comes out after item %u", number, *before);
    *before = number < ledger->first_put ? number : ledger->first_put - 1;
    bool later = number >= ledger->first_put && number + 1 < ledger->count &&
                 ledger->after[number + 1] && ledger->follows[number + 1];
    KILL_CHECK(!later || (back && !ledger->back[number + 1]), "item %u comes out after item %u",
               number, number + 1);
}

/* What is seen is what comes out. */
static unsigned char peeked[KILL_BUFFER];

static void check_peek(struct kill_view *view, int64_t size)
{
    int64_t bytes = kin_queue_peek(view->queue, peeked, sizeof peeked);
    KILL_CHECK((bytes >= 0) == (size > 0) && (bytes >= 0 || bytes == -EAGAIN),
               "a look at the first of %lld items says %lld", (long long)size, (long long)bytes);
}

static void drain(struct kill_world *world, struct kill_view *view)
{
    static unsigned char buffer[KILL_BUFFER];
    struct kill_ledger *ledger = &world->ledger;
    int64_t size = kin_queue_size(view->queue), got = 0, r;
    memset(ledger->follows, 0, ledger->count);
    for (uint32_t who = 0; who < KILL_ACTORS; who++)
        for (uint32_t i = 1; world->scenario->puts[who] && i < world->scenario->many[who]; i++)
            ledger->follows[world->scenario->puts[who] + i] = 1;
    uint32_t last = KILL_NO_ITEM, last_back[2] = {KILL_NO_ITEM, KILL_NO_ITEM};
    memset(ledger->back, 0, ledger->count);
    kill_each_published(view->arena, view->queue->shm, note_back, view);
    kill_each_returned(view->arena, view->queue->shm, note_returned, view);
    KILL_CHECK(kin_queue_bytes(view->queue) == size * world->scenario->bytes,
               "the queue says that it holds %lld items, and %lld bytes", (long long)size,
               (long long)kin_queue_bytes(view->queue));
    check_peek(view, size);
    while ((r = kin_queue_try_get(view->queue, buffer, sizeof buffer)) >= 0) {
        uint32_t number = kill_message_number(buffer, r, world->scenario->bytes);
        KILL_CHECK(number < ledger->count, "a damaged item comes out, %lld bytes", (long long)r);
        KILL_CHECK(ledger->after[number]++ == 0, "item %u comes out twice", number);
        KILL_CHECK(got > 0 || memcmp(peeked, buffer, (size_t)r) == 0,
                   "another item than item %u was seen at the front", number);
        check_order(ledger, number, &last, last_back);
        got++;
    }
    KILL_CHECK(r == -EAGAIN, "the queue cannot be emptied: %lld %s", (long long)r,
               kin_error_text());
    KILL_CHECK(size == got, "the queue says that it holds %lld items; %lld come out",
               (long long)size, (long long)got);
}

static bool is_put(const struct kill_scenario *scenario, uint32_t number)
{
    for (uint32_t who = 0; who < KILL_ACTORS; who++)
        if (scenario->puts[who] != 0 && number - scenario->puts[who] < kill_many_of(scenario, who))
            return true;
    return false;
}

/* Who among the actors has the item in its hands. */
static uint32_t hands_with(struct kill_world *world, uint32_t number)
{
    uint32_t hands = 0;
    for (uint32_t who = 0; who < KILL_ACTORS; who++) {
        const struct kill_actor *actor = &world->page->actors[who];
        bool acts = world->scenario->operate[who] != NULL || actor->phase == KILL_DONE;
        if (!acts || world->scenario->puts[who] != 0)
            continue;
        if (actor->phase == KILL_DONE && actor->result < 0)
            continue;
        for (uint32_t i = 0; i < kill_many_of(world->scenario, who); i++)
            hands += kill_message_number(kill_message_of(world, who, i), world->scenario->bytes,
                                         world->scenario->bytes) == number;
    }
    return hands;
}

/* Published, but the one before it is not yet: nobody can see it. */
static void forget_unbegun(struct kill_world *world, uint32_t who)
{
    const uint32_t first = world->scenario->puts[who];
    bool begun = true;
    for (uint32_t i = 0; i < world->scenario->many[who]; i++) {
        begun = begun && (world->ledger.before[first + i] || hands_with(world, first + i));
        world->ledger.before[first + i] &= begun;
    }
}

/* The item is in no cell: by right? */
static void check_absent(struct kill_world *world, uint32_t number)
{
    uint32_t hands = hands_with(world, number);
    KILL_CHECK(hands <= 1, "two consumers have item %u", number);
    if (hands == 1)
        return;
    for (uint32_t who = 0; who < KILL_ACTORS; who++) {
        uint32_t first = world->scenario->puts[who];
        if (first == 0 || number - first >= kill_many_of(world->scenario, who))
            continue;
        int64_t result = world->page->actors[who].result;
        bool returned =
            world->done[who] &&
            (world->scenario->many[who] ? result > (int64_t)(number - first) : result == 0);
        KILL_CHECK(!returned, "item %u is lost, although its put returned", number);
        return;
    }
    kill_fail("item %u is lost: in no cell, and in nobody's hands", number);
}

static void check_results(struct kill_world *world)
{
    const uint32_t flags = world->scenario->flags;
    for (uint32_t who = 0; who < KILL_ACTORS; who++) {
        if (world->scenario->operate[who] == NULL || !world->done[who])
            continue;
        int64_t r = world->page->actors[who].result;
        int64_t many = world->scenario->many[who];
        if (many != 0)
            KILL_CHECK((r > 0 && r <= many &&
                        (r == many || (flags & (KILL_PARTIAL | KILL_MAY_BE_EMPTY)))) ||
                           (r == -ETIMEDOUT && (flags & (KILL_PARTIAL | KILL_MAY_BE_EMPTY))),
                       "a batch answered %lld", (long long)r);
        else if (world->scenario->puts[who] != 0)
            KILL_CHECK(r == 0 || (r == -EAGAIN && (flags & KILL_PARTIAL)), "a put answered %lld",
                       (long long)r);
        else
            KILL_CHECK(r >= 0 || (r == -EAGAIN && (flags & KILL_MAY_BE_EMPTY)),
                       "a get answered %lld", (long long)r);
    }
}

/* What has been put of a batch is its beginning; exactly what its operation said, if it returned;
 * and all or nothing of it, where one claim takes it. */
static void check_batch(struct kill_world *world, uint32_t who)
{
    const uint32_t first = world->scenario->puts[who], many = world->scenario->many[who];
    uint32_t put = 0;
    for (uint32_t i = 0; i < many; i++) {
        bool there = world->ledger.after[first + i] || hands_with(world, first + i);
        KILL_CHECK(!there || put == i, "item %u of a batch is there, and item %u is not", i, put);
        put += there;
    }
    int64_t result = world->page->actors[who].result;
    if (world->done[who])
        KILL_CHECK(put == (result > 0 ? (uint32_t)result : 0), "%u of a batch are there, not %lld",
                   put, (long long)result);
    if (world->scenario->flags & KILL_WHOLE)
        KILL_CHECK(put == 0 || put == many, "%u of a batch of %u are there", put, many);
}

void kill_ledger_check(struct kill_world *world, struct kill_view *view)
{
    struct kill_ledger *ledger = &world->ledger;
    check_results(world);
    drain(world, view);
    for (uint32_t number = 0; number < ledger->count; number++) {
        if (number >= world->scenario->items && !is_put(world->scenario, number))
            continue;
        if (kill_lives(view->arena, ledger->taken[number])) {
            KILL_CHECK(ledger->after[number] == 0,
                       "item %u was taken by slot %u, which lives, and comes out", number,
                       ledger->taken[number]);
            continue;
        }
        KILL_CHECK(ledger->after[number] == ledger->before[number],
                   "item %u was %s the queue, and %s", number,
                   ledger->before[number] ? "in" : "not in",
                   ledger->after[number] ? "is now" : "is lost");
        if (!ledger->before[number])
            check_absent(world, number);
    }
    for (uint32_t who = 0; who < KILL_ACTORS; who++)
        if (world->scenario->puts[who] != 0 && world->scenario->many[who] != 0)
            check_batch(world, who);
}

static uint32_t nth_out(struct kini_queue_shm *queue, uint32_t i, uint32_t n)
{
    return queue->kind == KIN_LIFO ? n - 1 - i : i;
}

/* Fresh items go through: as many as it takes to come round in a small ring. */
void kill_fresh_items(struct kill_view *view)
{
    static unsigned char buffer[KILL_BUFFER];
    const uint32_t bytes = view->world->scenario->bytes;
    uint32_t most = view->queue->shm->max_items ? (uint32_t)view->queue->shm->max_items : 5;
    uint32_t first = view->world->ledger.count, n = most < 5 ? most : 5;
    if (view->queue->shm->store_off != 0 && view->queue->shm->putters.nwait != 0)
        return; /* they go first */
    for (uint32_t i = 0; i < n; i++)
        kill_put_number(view->queue, bytes, first + i);
    for (uint32_t i = 0; i < n; i++) {
        int64_t r = kin_queue_try_get(view->queue, buffer, sizeof buffer);
        KILL_CHECK(kill_message_number(buffer, r, bytes) == first + nth_out(view->queue->shm, i, n),
                   "of fresh items number %u does not come out: %lld", i, (long long)r);
        if (view->world->scenario->joinable)
            KILL_CHECK(kin_queue_task_done(view->queue) == 0, "a fresh item cannot be done");
    }
}
