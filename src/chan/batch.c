/* SPDX-License-Identifier: MIT
 * Many messages with one claim: a run of neighbouring cells by one CAS on the tail or the head, and
 * one look at the waiters. Whatever is not plain (a full or closed segment, a tombstone, something
 * to be delivered again, a run of one) goes through the operations on one message. Layout and crash
 * states: queue_layout.h. */
#include "base/bits.h"
#include "chan/ring.h"
#include "sync/wait.h"

#include <errno.h>
#include <string.h>

#define BUFFER_ALIGN 16u

struct run {
    struct kini_segment_shm *segment;
    uint64_t first;
    uint32_t count;
};

/* --- put ------------------------------------------------------------------------------------ */

/* The cells lie in the consumer's cache: ask for them early, for writing. Measured against other
 * distances. */
#define AHEAD 8u

static inline void fetch(struct kini_segment_shm *segment, uint64_t position)
{
    char *cell = (char *)kini_cell(segment, position);
    __builtin_prefetch(cell, 1);
    __builtin_prefetch(cell + 64, 1);
}

/* How many cells from t on are free. They stay so until the tail moves. */
static uint32_t count_free(struct kini_segment_shm *segment, uint64_t t, uint32_t most)
{
    uint64_t base = kini_load(&segment->base), cap = segment->cap;
    uint32_t n;
    for (uint32_t i = 0; i < most && i < AHEAD; i++)
        fetch(segment, t + i);
    for (n = 0; n < most; n++) {
        if (n + AHEAD < most)
            fetch(segment, t + n + AHEAD);
        /* acq pairs with the release in finish_take */
        if (!kini_cell_is_free(kini_load_acq(&kini_cell(segment, t + n)->seq), t + n, base, cap))
            break;
    }
    return n;
}

static bool claim_free(struct kini_self *self, struct kin_queue *queue, uint32_t most,
                       struct run *ret_run)
{
    struct kini_queue_shm *shm = queue->shm;
    while (!(kini_load(&shm->flags) & KINI_QUEUE_SHUT)) {
        uint64_t at = kini_load_acq(&shm->put_at);
        struct kini_segment_shm *segment = kini_segment_of(queue->handle.arena, at);
        uint64_t t = kini_load_acq(&segment->tail);
        if (t & KINI_TAIL_CLOSED)
            break;
        uint32_t n = count_free(segment, t, most);
        if (n > 1 && kini_ring_must_count(shm))
            n = (uint32_t)kini_ring_room(self, queue, segment, t, n);
        if (n < 2 && kini_load_acq(&segment->tail) != t)
            continue; /* others claimed them while we looked */
        if (n < 2)
            break;
        uint64_t offset = kini_offset(queue->handle.arena, segment);
        kini_intend(self, KINI_OP_RANGE(KINI_OP_PUT, n, offset), t);
        if (kini_cas(&segment->tail, &t, t + n)) {
            kini_intent_won(self, t);
            *ret_run = (struct run){segment, t, n};
            return true;
        }
    }
    kini_intent_end(self);
    return false;
}

/* False if the cell is no longer as it was claimed: we were declared dead, and it is a tombstone or
 * somebody else's. */
static bool fill(struct kini_self *self, struct kini_segment_shm *segment, uint64_t t,
                 const struct kini_message *message, bool first)
{
    struct kini_cell_shm *cell = kini_cell(segment, t);
    uint64_t seq = kini_load(&cell->seq);
    if (kini_unlikely(!kini_cell_is_free(seq, t, kini_load(&segment->base), segment->cap)))
        return false;
    kini_ring_fill(self, segment, cell, t, message);
    if (first)
        return kini_cas_sc(&cell->seq, &seq, t + 1); /* as in publish */
    if (kini_unlikely(kini_load(&cell->seq) != seq))
        return false;
    kini_store_rel(&cell->seq, t + 1); /* pairs with the acquire in count_ready */
    return true;
}

/* From the last to the first: no consumer passes the first before it is published, so nobody comes
 * for a cell that is still being written beside those that are ready, and the run appears at once.
 * The first by a CAS: who was wrongly declared dead must not put life into a cell that has been
 * given to somebody else since. The others by a look and a store, as in solo.c: a CAS for each
 * would be half of the cost of a batch. */
static int64_t fill_run(struct kini_self *self, struct kin_queue *queue, const struct run *run,
                        const struct kini_message *messages)
{
    for (uint32_t i = run->count; i-- > 0;)
        if (kini_unlikely(!fill(self, run->segment, run->first + i, &messages[i], i == 0)))
            return kini_ring_fenced(self);
    kini_store(&self->shm->puts, kini_load(&self->shm->puts) + run->count);
    kini_waitq_wake(self, &queue->shm->getters, run->count);
    kini_intent_end(self);
    return run->count;
}

int64_t kini_ring_put_many(struct kini_self *self, struct kin_queue *queue,
                           const struct kini_message *messages, uint32_t count)
{
    int64_t r = 0;
    uint32_t done = 0;
    while (done < count && r >= 0) {
        struct run run;
        if (claim_free(self, queue, (uint32_t)kini_min(count - done, KINI_BATCH_MOST), &run))
            r = fill_run(self, queue, &run, messages + done);
        else if ((r = kini_ring_put(self, queue, messages + done)) == 0)
            r = 1;
        done += r > 0 ? (uint32_t)r : 0;
    }
    return done > 0 && r != -ENOTRECOVERABLE ? (int64_t)done : r;
}

/* --- get ------------------------------------------------------------------------------------ */

/* How many cells from h on can be taken into the basket. What we read of them is theirs if the
 * claim succeeds, as in kini_ring_get. */
static uint32_t count_ready(struct kini_segment_shm *segment, uint64_t h,
                            const struct kini_basket *basket)
{
    uint32_t n = 0, most = (uint32_t)kini_min(basket->count - basket->taken, KINI_BATCH_MOST);
    for (uint64_t used = basket->used; n < most; n++) {
        struct kini_cell_shm *cell = kini_cell(segment, h + n);
        if (kini_load_acq(&cell->seq) != h + n + 1) /* pairs with publish */
            break;
        uint64_t from = kini_round_up(used, BUFFER_ALIGN), bytes = kini_load(&cell->info) >> 1;
        if (from > basket->capacity || bytes > basket->capacity - from)
            break;
        used = from + bytes;
    }
    return n;
}

static bool claim_ready(struct kini_self *self, struct kin_queue *queue,
                        const struct kini_basket *basket, struct run *ret_run)
{
    struct kini_queue_shm *shm = queue->shm;
    while (!(kini_load(&shm->flags) & KINI_QUEUE_DROP) && !kini_has_returned(shm)) {
        uint64_t at = kini_load_acq(&shm->get_at);
        struct kini_segment_shm *segment = kini_segment_of(queue->handle.arena, at);
        uint64_t h = kini_load_acq(&segment->head);
        if (kini_unlikely(kini_load_acq(&shm->get_at) != at)) /* as in kini_ring_get */
            continue;
        uint32_t n = count_ready(segment, h, basket);
        if (n < 2 && kini_load_acq(&segment->head) != h)
            continue;
        if (n < 2)
            break;
        uint64_t offset = kini_offset(queue->handle.arena, segment);
        kini_intend(self, KINI_OP_RANGE(KINI_OP_GET, n, offset), h);
        if (kini_cas(&segment->head, &h, h + n)) {
            kini_intent_won(self, h);
            *ret_run = (struct run){segment, h, n};
            return true;
        }
    }
    kini_intent_end(self);
    return false;
}

bool kini_basket_is_open(const struct kini_basket *basket)
{
    return basket->taken < basket->count &&
           kini_round_up(basket->used, BUFFER_ALIGN) <= basket->capacity;
}

struct kini_taker kini_basket_place(struct kini_basket *basket)
{
    basket->used = kini_round_up(basket->used, BUFFER_ALIGN);
    return (struct kini_taker){.buffer = basket->buffer + basket->used,
                               .capacity = basket->capacity - basket->used};
}

void kini_basket_add(struct kini_basket *basket, const struct kini_taker *taker, int64_t bytes)
{
    basket->items[basket->taken++] = (struct kin_item){taker->buffer, (size_t)bytes};
    basket->used += (uint64_t)bytes;
}

/* All are copied before the first is released: whoever dies while it copies has taken nothing. */
static void take_run(struct kini_self *self, struct kin_queue *queue, const struct run *run,
                     struct kini_basket *basket)
{
    struct kini_queue_shm *shm = queue->shm;
    struct kini_segment_shm *segment = run->segment;
    uint64_t blocks[KINI_BATCH_MOST];
    uint32_t blocks_count = 0;
    for (uint32_t i = 0; i < run->count; i++) {
        uint64_t p = run->first + i;
        struct kini_cell_shm *cell = kini_cell(segment, p);
        struct kini_taker taker = kini_basket_place(basket);
        uint64_t block = kini_ring_finish_take(self, cell, p, shm->tag, &taker);
        if (block != 0)
            blocks[blocks_count++] = block;
        kini_basket_add(basket, &taker, (int64_t)(kini_load(&cell->info) >> 1));
    }
    kini_compiler_barrier();
    for (uint32_t i = 0; i + 1 < run->count; i++)
        kini_store_rel(&kini_cell(segment, run->first + i)->seq, run->first + i + segment->cap);
    /* seq_cst: all of them before the look at nwait */
    uint64_t last = run->first + run->count - 1;
    kini_store_sc(&kini_cell(segment, last)->seq, last + segment->cap);
    kini_waitq_wake(self, &shm->putters, run->count);
    kini_intent_end(self);
    if (kini_unlikely(kini_load(&shm->flags) & KINI_QUEUE_SHUT))
        kini_waitq_wake(self, &shm->getters, UINT32_MAX); /* as in take */
    for (uint32_t i = 0; i < blocks_count; i++)
        kini_block_put(self, blocks[i]);
}

int64_t kini_ring_get_many(struct kini_self *self, struct kin_queue *queue,
                           struct kini_basket *basket)
{
    int64_t r = 0;
    while (kini_basket_is_open(basket) && r >= 0) {
        struct run run;
        if (claim_ready(self, queue, basket, &run)) {
            take_run(self, queue, &run, basket);
            continue;
        }
        struct kini_taker taker = kini_basket_place(basket);
        r = kini_ring_get(self, queue, &taker);
        if (r >= 0)
            kini_basket_add(basket, &taker, r);
    }
    return basket->taken > 0 ? (int64_t)basket->taken : r;
}
