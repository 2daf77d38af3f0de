/* SPDX-License-Identifier: MIT
 * What must hold of a repaired queue: ring, wait queues, and the ledger of its items. */
#include "arena/ilock.h"
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- walking ---------------------------------------------------------------------------------- */

typedef void (*cell_fn)(void *arg, struct kini_segment_shm *segment, struct kini_cell_shm *cell,
                        uint64_t position);

static void each_published(struct kin_arena *arena, struct kini_queue_shm *queue, cell_fn fn,
                           void *arg)
{
    uint32_t rounds = 0;
    for (uint64_t off = queue->all_segments; off != 0;) {
        struct kini_segment_shm *segment = kini_at(arena, off);
        off = segment->all_next;
        KILL_CHECK(rounds++ < 100, "the list of segments is a ring");
        for (uint64_t i = 0; i < segment->cap; i++) {
            struct kini_cell_shm *cell = kini_cell(segment, i);
            uint64_t seq = cell->seq, p = (seq & KINI_POSITION) - 1;
            if ((seq & KINI_POSITION) == 0 || (seq & KINI_CELL_SKIP) || p < segment->base ||
                (p & (segment->cap - 1)) != i)
                continue;
            fn(arg, segment, cell, p);
        }
    }
}

typedef void (*queue_fn)(void *arg, struct kini_queue_shm *queue);

static void each_queue(struct kin_arena *arena, queue_fn fn, void *arg)
{
    for (uint32_t id = 1; id < arena->super->objects_high; id++) {
        uint64_t state = arena->objects[id].state;
        if (KINI_OBJECT_STATE(state) == KINI_OBJECT_LIVE &&
            KINI_OBJECT_TYPE(state) == KINI_OBJECT_QUEUE)
            fn(arg, kini_at(arena, arena->objects[id].offset));
    }
}

static uint64_t block_of(const struct kini_cell_shm *cell)
{
    uint64_t block = 0;
    if (cell->info & 1)
        memcpy(&block, cell->payload, sizeof block);
    return block;
}

/* --- blocks in cells -------------------------------------------------------------------------- */

struct search {
    struct kin_arena *arena;
    uint64_t block;
    bool found;
};

static void look_for_block(void *arg, struct kini_segment_shm *segment, struct kini_cell_shm *cell,
                           uint64_t position)
{
    struct search *search = arg;
    struct kini_block_shm *header = kini_block_header(search->arena, search->block);
    if (block_of(cell) == search->block && header->position == position &&
        KINI_BLOCK_TAG(header->word) ==
            kini_unit_of(search->arena, kini_offset(search->arena, segment)))
        search->found = true;
}

static void search_queue(void *arg, struct kini_queue_shm *queue)
{
    struct search *search = arg;
    each_published(search->arena, queue, look_for_block, search);
}

bool kill_cell_carries(struct kill_view *view, uint64_t payload_off)
{
    struct search search = {.arena = view->arena, .block = payload_off};
    each_queue(view->arena, search_queue, &search);
    return search.found;
}

/* The block of a published cell is a block, queued there, or a consumer who is at it has it. */
static void check_cell_block(void *arg, struct kini_segment_shm *segment,
                             struct kini_cell_shm *cell, uint64_t position)
{
    struct kill_view *view = arg;
    uint64_t block = block_of(cell);
    if (block == 0)
        return;
    KILL_CHECK(kini_block_check(view->arena, kini_at(view->arena, block)) == block,
               "the cell of position %llu carries something that is no block",
               (unsigned long long)position);
    struct kini_block_shm *header = kini_block_header(view->arena, block);
    uint64_t word = header->word;
    uint32_t unit = kini_unit_of(view->arena, kini_offset(view->arena, segment));
    bool queued = KINI_BLOCK_STATE(word) == KINI_BLOCK_QUEUED && KINI_BLOCK_TAG(word) == unit &&
                  header->position == position;
    uint32_t slot = KINI_BLOCK_SLOT(word);
    bool taken = KINI_BLOCK_STATE(word) == KINI_BLOCK_PRIVATE &&
                 KINI_STATE(view->arena->participants[slot].state) == KINI_LIVE;
    KILL_CHECK(queued || taken,
               "the block of position %llu does not know that it is there: header %llx",
               (unsigned long long)position, (unsigned long long)word);
}

/* --- ring ------------------------------------------------------------------------------------- */

static bool someone_is_at_it(struct kill_view *view)
{
    for (uint32_t i = 1; i < view->arena->super->threads_high; i++)
        if ((view->arena->threads[i].state & 1) && view->arena->threads[i].op != 0)
            return true;
    return false;
}

static void check_segment(struct kini_segment_shm *segment, bool *ret_back)
{
    uint64_t tail = segment->tail & KINI_TAIL_POSITION, head = segment->head, cap = segment->cap;
    uint64_t base = segment->base;
    KILL_CHECK(base <= head && head <= tail && tail <= head + cap,
               "head %llu, tail %llu, base %llu", (unsigned long long)head,
               (unsigned long long)tail, (unsigned long long)base);
    for (uint64_t p = tail - base > cap ? tail - cap : base; p < tail; p++) {
        uint64_t seq = kini_cell(segment, p)->seq;
        bool back = seq == ((p + 1) | KINI_CELL_BACK);
        if (p >= head)
            KILL_CHECK((seq & ~KINI_CELL_SKIP) == p + 1,
                       "the cell of position %llu is stuck: seq %llx (head %llu, tail %llu)",
                       (unsigned long long)p, (unsigned long long)seq, (unsigned long long)head,
                       (unsigned long long)tail);
        else
            KILL_CHECK(back || seq == p + cap,
                       "the cell of position %llu was never released: seq %llx (head %llu)",
                       (unsigned long long)p, (unsigned long long)seq, (unsigned long long)head);
        *ret_back = *ret_back || back;
    }
}

static void check_is_owned(struct kill_view *view, struct kini_queue_shm *queue, uint64_t off)
{
    KILL_CHECK(kini_block_check(view->arena, kini_at(view->arena, off)) == off,
               "a segment that is listed is no block");
    uint64_t word = kini_block_header(view->arena, off)->word;
    KILL_CHECK(KINI_BLOCK_STATE(word) == KINI_BLOCK_OWNED && KINI_BLOCK_TAG(word) == queue->tag,
               "a segment that is listed is not the queue's: header %llx",
               (unsigned long long)word);
}

static void check_chain(struct kill_view *view, struct kini_queue_shm *queue)
{
    bool put_seen = false, back = false;
    uint32_t rounds = 0;
    for (struct kini_segment_shm *s = kini_segment_of(view->arena, queue->get_at); s != NULL;) {
        KILL_CHECK(s->magic == KINI_SEGMENT_MAGIC, "a link of the queue leads to no segment");
        KILL_CHECK(s->state == KINI_SEGMENT_ACTIVE, "a segment in use counts as idle");
        KILL_CHECK(rounds++ < 100, "the segments in use are a ring");
        put_seen = put_seen || s == kini_segment_of(view->arena, queue->put_at);
        check_segment(s, &back);
        s = s->next ? kini_at(view->arena, s->next) : NULL;
    }
    KILL_CHECK(put_seen, "the put side stands behind the get side");
    for (uint64_t off = queue->all_segments; off != 0;) {
        struct kini_segment_shm *s = kini_at(view->arena, off);
        check_is_owned(view, queue, off);
        if (s->state == KINI_SEGMENT_ACTIVE && (s->tail & KINI_TAIL_POSITION) == s->head)
            check_segment(s, &back);
        off = s->all_next;
    }
    KILL_CHECK(!back || queue->back_made != queue->back_seen,
               "an item is to be delivered again, and nobody will look for it");
}

static void check_queue(void *arg, struct kini_queue_shm *queue)
{
    struct kill_view *view = arg;
    each_published(view->arena, queue, check_cell_block, view);
    kill_check_waitq(view, &queue->getters, "getters");
    kill_check_waitq(view, &queue->putters, "putters");
    if (!someone_is_at_it(view))
        check_chain(view, queue);
}

void kill_check_queues(struct kill_view *view)
{
    each_queue(view->arena, check_queue, view);
}

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

/* --- ledger ----------------------------------------------------------------------------------- */

static void observe_cell(void *arg, struct kini_segment_shm *segment, struct kini_cell_shm *cell,
                         uint64_t position)
{
    struct kill_view *view = arg;
    struct kill_ledger *ledger = &view->world->ledger;
    (void)segment;
    uint64_t block = block_of(cell);
    const unsigned char *from = block ? kini_at(view->arena, block) : cell->payload;
    uint32_t number =
        kill_message_number(from, (int64_t)(cell->info >> 1), view->world->scenario->bytes);
    KILL_CHECK(number < ledger->count, "the published cell of position %llu holds rubbish",
               (unsigned long long)position);
    KILL_CHECK(ledger->before[number]++ == 0, "item %u is in two cells", number);
}

void kill_ledger_observe(struct kill_world *world, struct kill_view *view)
{
    memset(world->ledger.before, 0, world->ledger.count);
    memset(world->ledger.after, 0, world->ledger.count);
    if (view->queue != NULL)
        each_published(view->arena, view->queue->shm, observe_cell, view);
}

static void note_back(void *arg, struct kini_segment_shm *segment, struct kini_cell_shm *cell,
                      uint64_t position)
{
    struct kill_view *view = arg;
    uint64_t block = block_of(cell);
    const unsigned char *from = block ? kini_at(view->arena, block) : cell->payload;
    uint32_t number;
    (void)segment;
    (void)position;
    memcpy(&number, from, sizeof number);
    if ((cell->seq & KINI_CELL_BACK) && number < view->world->ledger.count)
        view->world->ledger.back[number] = 1;
}

/* What is delivered again comes first, then the others, both as they were put. */
static void check_order(struct kill_ledger *ledger, uint32_t number, uint32_t *last,
                        uint32_t *last_back)
{
    const bool back = ledger->back[number];
    uint32_t *before = back ? last_back : last;
    KILL_CHECK(!back || *last == KILL_NO_ITEM, "item %u is delivered again, but after item %u",
               number, *last);
    KILL_CHECK(*before == KILL_NO_ITEM || number > *before || number >= ledger->first_put,
               "item %u comes out after item %u", number, *before);
    *before = number < ledger->first_put ? number : ledger->first_put - 1;
}

static void drain(struct kill_world *world, struct kill_view *view)
{
    static unsigned char buffer[KILL_BUFFER];
    struct kill_ledger *ledger = &world->ledger;
    int64_t size = kin_queue_size(view->queue), got = 0, r;
    uint32_t last = KILL_NO_ITEM, last_back = KILL_NO_ITEM;
    memset(ledger->back, 0, ledger->count);
    each_published(view->arena, view->queue->shm, note_back, view);
    while ((r = kin_queue_try_get(view->queue, buffer, sizeof buffer)) >= 0) {
        uint32_t number = kill_message_number(buffer, r, world->scenario->bytes);
        KILL_CHECK(number < ledger->count, "a damaged item comes out, %lld bytes", (long long)r);
        KILL_CHECK(ledger->after[number]++ == 0, "item %u comes out twice", number);
        check_order(ledger, number, &last, &last_back);
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
        if (scenario->puts[who] == number && number != 0)
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
        hands += kill_message_number(actor->buffer, world->scenario->bytes,
                                     world->scenario->bytes) == number;
    }
    return hands;
}

/* The item is in no cell: by right? */
static void check_absent(struct kill_world *world, uint32_t number)
{
    uint32_t hands = hands_with(world, number);
    KILL_CHECK(hands <= 1, "two consumers have item %u", number);
    if (hands == 1)
        return;
    for (uint32_t who = 0; who < KILL_ACTORS; who++) {
        if (world->scenario->puts[who] != number || number == 0)
            continue;
        bool returned = world->done[who] && world->page->actors[who].result == 0;
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
        if (world->scenario->puts[who] != 0)
            KILL_CHECK(r == 0 || (r == -EAGAIN && (flags & KILL_PARTIAL)), "a put answered %lld",
                       (long long)r);
        else
            KILL_CHECK(r >= 0 || (r == -EAGAIN && (flags & KILL_MAY_BE_EMPTY)),
                       "a get answered %lld", (long long)r);
    }
}

void kill_ledger_check(struct kill_world *world, struct kill_view *view)
{
    struct kill_ledger *ledger = &world->ledger;
    check_results(world);
    drain(world, view);
    for (uint32_t number = 0; number < ledger->count; number++) {
        if (number >= world->scenario->items && !is_put(world->scenario, number))
            continue;
        KILL_CHECK(ledger->after[number] == ledger->before[number],
                   "item %u was %s the queue, and %s", number,
                   ledger->before[number] ? "in" : "not in",
                   ledger->after[number] ? "is now" : "is lost");
        if (!ledger->before[number])
            check_absent(world, number);
    }
}

/* Fresh items go through: as many as it takes to come round in a small ring. */
void kill_fresh_items(struct kill_view *view)
{
    static unsigned char buffer[KILL_BUFFER];
    const uint32_t bytes = view->world->scenario->bytes;
    uint32_t most = view->queue->shm->max_items ? (uint32_t)view->queue->shm->max_items : 5;
    uint32_t first = view->world->ledger.count, n = most < 5 ? most : 5;
    for (uint32_t i = 0; i < n; i++)
        kill_put_number(view->queue, bytes, first + i);
    for (uint32_t i = 0; i < n; i++) {
        int64_t r = kin_queue_try_get(view->queue, buffer, sizeof buffer);
        KILL_CHECK(kill_message_number(buffer, r, bytes) == first + i,
                   "of fresh items number %u does not come out: %lld", i, (long long)r);
    }
}
