/* SPDX-License-Identifier: MIT
 * What must hold of a repaired queue: its ring and its wait queues. */
#include "harness_queue.h"
#include "arena/ilock.h"
#include "chan/message.h"

#include <string.h>

/* --- walking ---------------------------------------------------------------------------------- */

void kill_each_published(struct kin_arena *arena, struct kini_queue_shm *queue, kill_cell_fn fn,
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

/* Queues, and the rings of pipes. */
void kill_each_ring(struct kin_arena *arena, kill_ring_fn fn, void *arg)
{
    for (uint32_t id = 1; id < arena->super->objects_high; id++) {
        uint64_t state = arena->objects[id].state;
        void *shm = kini_at(arena, arena->objects[id].offset);
        if (KINI_OBJECT_STATE(state) != KINI_OBJECT_LIVE)
            continue;
        if (KINI_OBJECT_TYPE(state) == KINI_OBJECT_QUEUE)
            fn(arg, shm);
        for (uint32_t i = 0; i < 2 && KINI_OBJECT_TYPE(state) == KINI_OBJECT_PIPE; i++)
            if (((struct kini_pipe_shm *)shm)->directions[i].ring.all_segments != 0)
                fn(arg, &((struct kini_pipe_shm *)shm)->directions[i].ring);
    }
}

static uint64_t block_of(const struct kini_cell_shm *cell)
{
    uint64_t block = 0;
    if (cell->info & 1)
        memcpy(&block, cell->payload, sizeof block);
    return block;
}

const unsigned char *kill_cell_bytes(struct kill_view *view, const struct kini_cell_shm *cell)
{
    uint64_t block = block_of(cell);
    return block ? kini_message_data(view->arena, block) : cell->payload;
}

void kill_each_returned(struct kin_arena *arena, struct kini_queue_shm *queue, kill_block_fn fn,
                        void *arg)
{
    uint32_t rounds = 0;
    for (uint64_t at = queue->returned.first; at != 0; at = kini_message_of(arena, at)->next) {
        KILL_CHECK(rounds++ < KILL_ITEMS_MOST, "the list of returned is a ring");
        KILL_CHECK(kini_block_check(arena, kini_at(arena, at)) == at,
                   "the list of returned leads to something that is no block");
        fn(arg, at);
    }
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
    kill_each_published(search->arena, queue, look_for_block, search);
}

bool kill_cell_carries(struct kill_view *view, uint64_t payload_off)
{
    struct search search = {.arena = view->arena, .block = payload_off};
    kill_each_ring(view->arena, search_queue, &search);
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
    bool taken = (KINI_BLOCK_STATE(word) == KINI_BLOCK_PRIVATE ||
                  KINI_BLOCK_STATE(word) == KINI_BLOCK_TAKEN) &&
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
    uint64_t tail = kini_tail(segment) & KINI_TAIL_POSITION, head = kini_head(segment),
             cap = segment->cap;
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
        if (s->state == KINI_SEGMENT_ACTIVE && (kini_tail(s) & KINI_TAIL_POSITION) == kini_head(s))
            check_segment(s, &back);
        off = s->all_next;
    }
    KILL_CHECK(!back || queue->back_made != queue->back_seen,
               "an item is to be delivered again, and nobody will look for it");
}

struct returned {
    struct kill_view *view;
    struct kini_queue_shm *queue;
    uint64_t last, count;
};

static void check_one_returned(void *arg, uint64_t block)
{
    struct returned *r = arg;
    struct kini_message_shm *message = kini_message_of(r->view->arena, block);
    uint64_t word = kini_block_header(r->view->arena, block)->word;
    KILL_CHECK(word == KINI_BLOCK_WORD(KINI_BLOCK_OWNED, 0, r->queue->tag),
               "a returned message is not the queue's: header %llx", (unsigned long long)word);
    KILL_CHECK(r->last == 0 || kini_message_goes_before(r->view->arena, r->last, block),
               "of the returned, number %llu comes too late", (unsigned long long)message->order);
    r->last = block;
    r->count++;
}

static void check_returned(struct kill_view *view, struct kini_queue_shm *queue)
{
    struct returned r = {.view = view, .queue = queue};
    if (KINI_ILOCK_OWNER(queue->returned.lock.word) != 0)
        return; /* a living peer is changing it */
    kill_each_returned(view->arena, queue, check_one_returned, &r);
    KILL_CHECK(r.count == queue->returned_count, "%llu are returned, and the queue counts %llu",
               (unsigned long long)r.count, (unsigned long long)queue->returned_count);
}

static void check_queue(void *arg, struct kini_queue_shm *queue)
{
    struct kill_view *view = arg;
    check_returned(view, queue);
    kill_each_published(view->arena, queue, check_cell_block, view);
    kill_check_waitq(view, &queue->getters, "getters");
    kill_check_waitq(view, &queue->putters, "putters");
    if (queue->store_off != 0) {
        kill_check_store(view, queue);
        return;
    }
    if (!someone_is_at_it(view))
        check_chain(view, queue);
}

void kill_check_queues(struct kill_view *view)
{
    kill_each_ring(view->arena, check_queue, view);
}
