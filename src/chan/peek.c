/* SPDX-License-Identifier: MIT
 * Look at the next message of a ring without taking it. Nothing keeps a consumer from taking it
 * meanwhile, so what was copied counts only if the cell says the same before and after. */
#include "chan/ring.h"

#include <errno.h>
#include <string.h>

/* Like a reader of a sequence lock: what it reads may be changed under its hands, and is thrown
 * away then. */
__attribute__((no_sanitize("thread"))) static void copy_racing(void *to, const void *from,
                                                               uint64_t bytes)
{
    unsigned char *out = to;
    const volatile unsigned char *in = from;
    for (uint64_t i = 0; i < bytes; i++)
        out[i] = in[i];
}

/* Copy from a cell that said seq. False if it says something else by now. */
static bool look_at_cell(struct kini_self *self, struct kini_cell_shm *cell, uint64_t seq,
                         void *buffer, uint64_t capacity, int64_t *ret_bytes)
{
    uint64_t info = kini_load(&cell->info), bytes = info >> 1, block = 0;
    uint64_t wanted = bytes < capacity ? bytes : capacity;
    copy_racing(&block, cell->payload, sizeof block);
    atomic_thread_fence(memory_order_acquire); /* the look at the seq behind what was read */
    if (kini_load_acq(&cell->seq) != seq)
        return false;
    const void *from = info & 1 ? kini_message_data(self->arena, block) : cell->payload;
    copy_racing(buffer, from, wanted);
    atomic_thread_fence(memory_order_acquire); /* as above */
    *ret_bytes = (int64_t)bytes;
    return kini_load_acq(&cell->seq) == seq;
}

static int64_t peek_back(struct kini_self *self, struct kini_queue_shm *queue, void *buffer,
                         uint64_t capacity)
{
    int64_t bytes = kini_returned_peek(self, queue, buffer, capacity);
    if (bytes >= 0)
        return bytes;
    struct kini_segment_shm *segment;
    uint64_t seq;
    struct kini_cell_shm *cell;
    do {
        cell = kini_ring_oldest_back(self, queue, &segment, &seq);
        if (cell == NULL)
            return -EAGAIN;
    } while (!look_at_cell(self, cell, seq, buffer, capacity, &bytes));
    return bytes;
}

/* The next message is here. Who owns the side releases a cell before it says that it stands behind
 * it, and may have been stopped in between. */
static uint64_t next_position(struct kini_segment_shm *segment)
{
    uint64_t h = kini_head(segment), seq = kini_load_acq(&kini_cell(segment, h)->seq);
    bool released = seq == h + segment->cap || seq == h + segment->cap + 1;
    return h + released;
}

int64_t kini_ring_peek(struct kini_self *self, struct kini_queue_shm *queue, void *buffer,
                       uint64_t capacity)
{
    int64_t bytes;
    if (kini_has_returned(queue) && (bytes = peek_back(self, queue, buffer, capacity)) >= 0)
        return bytes;
    for (;;) {
        uint64_t at = kini_load_acq(&queue->get_at);
        struct kini_segment_shm *segment = kini_segment_of(self->arena, at);
        uint64_t h = next_position(segment);
        if (kini_load_acq(&queue->get_at) != at) /* as in kini_ring_get */
            continue;
        struct kini_cell_shm *cell = kini_cell(segment, h);
        if (kini_load_acq(&cell->seq) == h + 1) {
            if (look_at_cell(self, cell, h + 1, buffer, capacity, &bytes) &&
                next_position(segment) == h)
                return bytes;
        } else if (kini_load(&queue->skips_made) != 0 && kini_ring_pass_tombstone(self, queue)) {
            continue; /* what lies behind it is there, and nobody else may come */
        } else if (next_position(segment) == h) {
            uint64_t tail = kini_tail(segment);
            if (!(tail & KINI_TAIL_CLOSED) || (tail & KINI_TAIL_POSITION) != h ||
                kini_head(segment) != h)
                return -EAGAIN;
            int r = kini_segment_advance_get(self, queue, at);
            if (r < 0)
                return r;
        }
    }
}

/* Of what is in the cells, and of the rest: the sum of the lengths. */
uint64_t kini_ring_bytes(struct kini_self *self, struct kini_queue_shm *queue)
{
    uint64_t sum = kini_returned_bytes(self, queue);
    for (uint64_t at = kini_load_acq(&queue->all_segments); at != 0;) {
        struct kini_segment_shm *segment = kini_at(self->arena, at);
        at = kini_load(&segment->all_next);
        if (kini_load(&segment->state) != KINI_SEGMENT_ACTIVE)
            continue;
        for (uint64_t i = 0; i < segment->cap; i++) {
            struct kini_cell_shm *cell = kini_cell(segment, i);
            uint64_t seq = kini_load_acq(&cell->seq);
            bool back = (seq & KINI_CELL_BACK) && !(seq & KINI_CELL_TAKEN);
            bool there = back || (seq > kini_head(segment) && !(seq & KINI_CELL_SKIP) &&
                                  ((seq - 1) & (segment->cap - 1)) == i);
            sum += there ? kini_load(&cell->info) >> 1 : 0;
        }
    }
    return sum;
}
