/* SPDX-License-Identifier: MIT
 * Put and get, without waiting. Nothing between a claim and its publication may run user code,
 * allocate, or (for put) fault: some fifteen instructions. Layout and crash states:
 * queue_layout.h. */
#include "chan/ring.h"
#include "base/bits.h"
#include "sync/wait.h"

#include <errno.h>
#include <string.h>

static uint64_t puts_so_far(struct kini_segment_shm *segment, uint64_t tail)
{
    return kini_load(&segment->count_base) + (tail & KINI_TAIL_POSITION) -
           kini_load(&segment->base);
}

/* What is to be delivered again has been counted as got, and takes its place all the same. */
uint64_t kini_ring_room(struct kini_self *self, struct kin_queue *queue,
                        struct kini_segment_shm *segment, uint64_t t, uint64_t wanted)
{
    struct kini_queue_shm *shm = queue->shm;
    uint64_t puts = puts_so_far(segment, t), gets, at;
    bool returned = kini_has_returned(shm);
    uint64_t most = shm->max_items, held = puts - kini_load(&queue->head_seen);
    if (!returned && held <= most && most - held >= wanted)
        return wanted;
    do { /* the get side may move to another segment while we look */
        at = kini_load_acq(&shm->get_at);
        struct kini_segment_shm *from = kini_segment_of(queue->handle.arena, at);
        gets = kini_load(&from->count_base) + kini_load_acq(&from->head) - kini_load(&from->base);
    } while (kini_load_acq(&shm->get_at) != at);
    kini_store(&queue->head_seen, gets);
    uint64_t back = returned ? kini_queue_count_cells(self, shm, KINI_CELL_BACK) +
                                   kini_load(&shm->returned_count)
                             : 0;
    held = puts - gets + back;
    return held < most ? kini_min(most - held, wanted) : 0;
}

/* A cell is ahead of the position that comes next, which was read after it: to try again for ever
 * would be no help. */
static int ahead(void)
{
    return kini_fail(-EPROTO, "the queue is damaged: a cell is ahead of its ring");
}

/* The cell of the tail is not free: -EAGAIN full, 0 try again. */
static int64_t not_free(struct kin_queue *queue, struct kini_segment_shm *segment, uint64_t t,
                        uint64_t seq)
{
    if (kini_load_acq(&segment->tail) != t)
        return 0; /* our tail is stale */
    if (kini_unlikely((seq & KINI_POSITION) > t))
        return ahead();
    if (!queue->shm->grows)
        return -EAGAIN;
    kini_cas(&segment->tail, &t, t | KINI_TAIL_CLOSED);
    return 0;
}

void kini_ring_fill(struct kini_self *self, struct kini_segment_shm *segment,
                    struct kini_cell_shm *cell, uint64_t t, const struct kini_message *message)
{
    kini_store(&cell->info, message->bytes << 1 | (message->block != 0));
    if (message->block == 0) {
        if (message->bytes > 0)
            memcpy(cell->payload, message->data, message->bytes);
        return;
    }
    memcpy(cell->payload, &message->block, sizeof message->block);
    kini_message_of(self->arena, message->block)->order = t;
    struct kini_block_shm *header = kini_block_header(self->arena, message->block);
    uint32_t unit = kini_unit_of(self->arena, kini_offset(self->arena, segment));
    kini_store(&header->position, t);
    kini_compiler_barrier();
    kini_store(&header->word, KINI_BLOCK_WORD(KINI_BLOCK_QUEUED, self->slot, unit));
}

int kini_ring_fenced(struct kini_self *self)
{
    kini_store(&self->arena->participants[self->slot].fenced, 1);
    kini_intent_end(self);
    return kini_fail(-ENOTRECOVERABLE, "this process was declared dead while it ran");
}

static int64_t publish(struct kini_self *self, struct kin_queue *queue, struct kini_cell_shm *cell,
                       uint64_t seq, uint64_t t)
{
    /* seq_cst: before the look at nwait. Pairs with the acquire in kini_ring_get. */
    if (kini_unlikely(!kini_cas_sc(&cell->seq, &seq, t + 1)))
        return kini_ring_fenced(self);
    kini_store(&self->shm->puts, kini_load(&self->shm->puts) + 1);
    kini_waitq_wake(self, &queue->shm->getters, 1);
    kini_intent_end(self);
    return 0;
}

/* A full queue may be full of tombstones, which no consumer comes for when the queue has nothing to
 * give: the producer itself passes over the one at the head, and so does who only looks. True if
 * there was one. */
bool kini_ring_pass_tombstone(struct kini_self *self, struct kini_queue_shm *queue)
{
    uint64_t at = kini_load_acq(&queue->get_at);
    struct kini_segment_shm *segment = kini_segment_of(self->arena, at);
    uint64_t h = kini_head(segment);
    if (kini_load_acq(&queue->get_at) != at) /* as in kini_ring_get */
        return true;
    struct kini_cell_shm *cell = kini_cell(segment, h);
    if (kini_load_acq(&cell->seq) != ((h + 1) | KINI_CELL_SKIP))
        return false;
    kini_solo_end(self, segment, false);
    kini_intend(self, KINI_OP(KINI_OP_GET, kini_offset(self->arena, segment)), h);
    if (kini_cas(&segment->head, &h, h + 1)) {
        kini_intent_won(self, h);
        kini_store_sc(&cell->seq, h + segment->cap);
        kini_waitq_wake(self, &queue->putters, 1);
    }
    kini_intent_end(self);
    return true;
}

int64_t kini_ring_put(struct kini_self *self, struct kin_queue *queue,
                      const struct kini_message *message)
{
    struct kini_queue_shm *shm = queue->shm;
    if (kini_unlikely(kini_load(&shm->flags) & KINI_QUEUE_SHUT)) {
        kini_queue_close_tail(self, shm); /* should who shut it down have died before it did */
        return -ESHUTDOWN;
    }
    for (;;) {
        uint64_t at = kini_load_acq(&shm->put_at);
        struct kini_segment_shm *segment = kini_segment_of(queue->handle.arena, at);
        kini_solo_end(self, segment, true);
        uint64_t t = kini_load_acq(&segment->tail);
        if (kini_unlikely(t & KINI_TAIL_CLOSED)) {
            kini_intent_end(self);
            int r = kini_segment_advance_put(self, shm, at);
            if (r < 0)
                return r;
            continue;
        }
        kini_intend(self, KINI_OP(KINI_OP_PUT, kini_offset(queue->handle.arena, segment)), t);
        struct kini_cell_shm *cell = kini_cell(segment, t);
        uint64_t seq = kini_load_acq(&cell->seq); /* pairs with the release in finish_take */
        int64_t r = 0;
        if (!kini_cell_is_free(seq, t, kini_load(&segment->base), segment->cap))
            r = not_free(queue, segment, t, seq);
        else if (kini_ring_must_count(shm) && kini_ring_room(self, queue, segment, t, 1) == 0)
            r = kini_load_acq(&segment->tail) == t ? -EAGAIN : 0;
        else if (kini_cas(&segment->tail, &t, t + 1)) {
            kini_intent_won(self, t);
            kini_cell_prefetch(segment, t);
            kini_ring_fill(self, segment, cell, t, message);
            return publish(self, queue, cell, seq, t);
        }
        if (r != 0) {
            kini_intent_end(self);
            if (kini_load(&shm->skips_made) == 0 || !kini_ring_pass_tombstone(self, shm))
                return r;
        }
    }
}

/* The message stays in its block, or is copied from the cell to that of the taker. Both are TAKEN
 * before the cell is released; from then on it is there only. op_block names the copy to whoever
 * finds the message in both. */
static void keep(struct kini_self *self, struct kini_cell_shm *cell, uint64_t p, uint64_t block,
                 uint32_t tag, struct kini_taker *taker)
{
    if (block == 0) {
        uint64_t bytes = kini_load(&cell->info) >> 1;
        *kini_message_of(self->arena, taker->block) =
            (struct kini_message_shm){.bytes = bytes, .order = p};
        memcpy(kini_message_data(self->arena, taker->block), cell->payload, bytes);
        kini_store(&self->shm->op_block, taker->block);
        block = taker->block;
    }
    kini_message_take(self, block, tag);
}

/* Copy the claimed message out. Its block, which is returned, becomes ours before the cell is
 * released, so that one which still says QUEUED by a dead producer, with a cell that moved on, is
 * garbage. */
uint64_t kini_ring_finish_take(struct kini_self *self, struct kini_cell_shm *cell, uint64_t p,
                               uint32_t tag, struct kini_taker *taker)
{
    uint64_t info = kini_load(&cell->info), bytes = info >> 1, block = 0;
    const void *from = cell->payload;
    if (info & 1) {
        memcpy(&block, cell->payload, sizeof block);
        from = kini_message_data(self->arena, block);
    }
    kini_store(&self->shm->gets, kini_load(&self->shm->gets) + 1);
    if (kini_unlikely(taker->keep)) {
        keep(self, cell, p, block, tag, taker);
        return block;
    }
    if (!taker->drop && bytes > 0)
        memcpy(taker->buffer, from, bytes);
    if (block != 0)
        kini_block_adopt(self, block);
    return block;
}

/* After the cell is released. */
void kini_ring_end_take(struct kini_self *self, uint64_t block, struct kini_taker *taker)
{
    if (block != 0 && kini_unlikely(taker->keep))
        kini_message_keep(self, block, taker);
    else if (block != 0)
        kini_block_put(self, block);
}

/* Release the cell, wake a producer, free the block. */
static int64_t take(struct kini_self *self, struct kin_queue *queue,
                    struct kini_segment_shm *segment, uint64_t h, struct kini_taker *taker)
{
    struct kini_cell_shm *cell = kini_cell(segment, h);
    kini_intent_won(self, h);
    int64_t bytes = (int64_t)(kini_load(&cell->info) >> 1);
    uint64_t block = kini_ring_finish_take(self, cell, h, queue->shm->tag, taker);
    kini_compiler_barrier();
    if (queue->shm->max_items != 0) {
        kini_store_sc(&cell->seq, h + segment->cap); /* seq_cst: before the look at nwait */
        kini_waitq_wake(self, &queue->shm->putters, 1);
    } else {
        kini_store_rel(&cell->seq, h + segment->cap);
    }
    kini_intent_end(self);
    if (kini_unlikely(kini_load(&queue->shm->flags) & KINI_QUEUE_SHUT))
        kini_waitq_wake(self, &queue->shm->getters, UINT32_MAX); /* it may be drained by this */
    kini_ring_end_take(self, block, taker);
    return bytes;
}

/* The cell of the head holds nothing to take: 0 try again, else the answer. */
static int64_t not_there(struct kini_self *self, struct kin_queue *queue,
                         struct kini_segment_shm *segment, uint64_t at, uint64_t h, uint64_t seq)
{
    uint64_t t = kini_tail(segment);
    if (kini_load_acq(&segment->head) != h)
        return 0;
    if (kini_unlikely((seq & KINI_POSITION) > h + 1))
        return ahead();
    if ((t & KINI_TAIL_POSITION) != h)
        return -EAGAIN; /* claimed, not yet published: its producer wakes us, or its reaper */
    kini_intent_end(self);
    if (!(t & KINI_TAIL_CLOSED)) {
        if (!(kini_load(&queue->shm->flags) & KINI_QUEUE_SHUT))
            return -EAGAIN;
        kini_queue_close_tail(self, queue->shm); /* as in put */
        return 0;
    }
    return kini_segment_advance_get(self, queue->shm, at);
}

int64_t kini_ring_get(struct kini_self *self, struct kin_queue *queue, struct kini_taker *taker)
{
    struct kini_queue_shm *shm = queue->shm;
    int64_t r = 0;
    if (kini_unlikely(kini_load(&shm->flags) & KINI_QUEUE_DROP) && !taker->drop)
        return -ESHUTDOWN;
    if (kini_unlikely(kini_has_returned(shm))) {
        r = kini_ring_take_back(self, shm, taker);
        if (r != -EAGAIN)
            return r;
    }
    for (r = 0; r == 0;) {
        uint64_t at = kini_load_acq(&shm->get_at);
        struct kini_segment_shm *segment = kini_segment_of(queue->handle.arena, at);
        kini_solo_end(self, segment, false);
        uint64_t h = kini_load_acq(&segment->head);
        /* Between the two the segment may have been drained, recycled and linked again further on:
         * then h is of its new life, and older items lie before it. */
        if (kini_unlikely(kini_load_acq(&shm->get_at) != at))
            continue;
        kini_intend(self, KINI_OP(KINI_OP_GET, kini_offset(queue->handle.arena, segment)), h);
        struct kini_cell_shm *cell = kini_cell(segment, h);
        uint64_t seq = kini_load_acq(&cell->seq); /* pairs with publish */
        if ((seq & ~KINI_CELL_SKIP) != h + 1) {
            r = not_there(self, queue, segment, at, h, seq);
            continue;
        }
        /* What we read of the cell is its own if the claim succeeds: positions never repeat. */
        if (!(seq & KINI_CELL_SKIP) && kini_taker_refuses(taker, kini_load(&cell->info) >> 1)) {
            r = kini_load_acq(&segment->head) == h ? -EMSGSIZE : 0;
            continue;
        }
        if (!kini_cas(&segment->head, &h, h + 1))
            continue;
        if (!(seq & KINI_CELL_SKIP))
            return take(self, queue, segment, h, taker);
        kini_intent_won(self, h);
        kini_store_sc(&cell->seq, h + segment->cap);
        kini_waitq_wake(self, &shm->putters, 1);
    }
    kini_intent_end(self);
    return r;
}
