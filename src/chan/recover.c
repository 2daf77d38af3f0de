/* SPDX-License-Identifier: MIT
 * What the queue does about the dead: resolve their operations, deliver again what they had
 * claimed, free everything when the last holder is gone. Crash states: queue_layout.h. */
#include "arena/ilock.h"
#include "chan/ring.h"
#include "sync/wait.h"

#include <errno.h>
#include <string.h>

static struct kini_segment_shm *next_of_all(struct kini_self *self, uint64_t offset)
{
    return offset ? kini_at(self->arena, offset) : NULL;
}

#define EACH_SEGMENT(self, queue, s)                                                               \
    for (struct kini_segment_shm *s = next_of_all(self, kini_load_acq(&(queue)->all_segments));    \
         s != NULL; s = next_of_all(self, kini_load(&s->all_next)))

/* The segment that an intent names, if it is one: the record may be damaged, or older than it. */
static struct kini_segment_shm *segment_at(struct kin_arena *arena, uint64_t offset)
{
    if (offset < arena->super->data_off + KINI_LARGE_PREFIX ||
        offset + sizeof(struct kini_segment_shm) > arena->super->reserve_bytes)
        return NULL;
    uint32_t unit = kini_unit_of(arena, offset);
    if (unit >= kini_load(&arena->super->units_high) ||
        KINI_SPAN_KIND(kini_load_acq(&arena->spans[unit].state)) != KINI_SPAN_LARGE ||
        offset != kini_unit_offset(arena, unit) + KINI_LARGE_PREFIX)
        return NULL;
    struct kini_segment_shm *segment = kini_at(arena, offset);
    return segment->magic == KINI_SEGMENT_MAGIC ? segment : NULL;
}

/* --- dead operations ------------------------------------------------------------------------ */

/* Whether a living thread announces the same claim: it may be the one that won it. */
static bool living_intent(struct kini_self *self, struct kini_thread_shm *dead, uint64_t op,
                          uint64_t position)
{
    struct kin_arena *arena = self->arena;
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &arena->threads[i];
        uint64_t state = kini_load_acq(&t->state);
        uint32_t slot = KINI_THREAD_SLOT(state);
        if (!(state & 1) || t == dead || kini_load_acq(&t->op) != op ||
            (kini_load_acq(&t->op_pos) & ~KINI_OP_WON) != position)
            continue;
        /* Dead as well: if it is known to have won, its own repair has to come first; if not, the
         * claim may be either's, and what is done about it is the same. */
        uint32_t life = KINI_STATE(kini_load_acq(&arena->participants[slot].state));
        if (life == KINI_REAPING && !(kini_load_acq(&t->op_pos) & KINI_OP_WON))
            continue;
        return true;
    }
    return false;
}

/* Put: a position that nobody will publish becomes a tombstone. Under grow: while it is held no
 * segment begins or ends a life, so a cell that reads as virgin is one of this life. */
static int bury(struct kini_self *self, struct kini_thread_shm *dead, uint64_t op,
                struct kini_segment_shm *segment, uint64_t p, bool won)
{
    struct kini_queue_shm *queue = kini_at(self->arena, segment->queue_off);
    struct kini_cell_shm *cell = kini_cell(segment, p);
    uint64_t tail = kini_load_acq(&segment->tail) & KINI_TAIL_POSITION;
    uint64_t base = kini_load(&segment->base), seq = kini_load_acq(&cell->seq);
    /* head <= p: no consumer passes a cell that is not published */
    if (kini_load(&segment->state) != KINI_SEGMENT_ACTIVE || p < base || tail <= p ||
        kini_load_acq(&segment->head) > p || !kini_cell_is_free(seq, p, base, segment->cap))
        return 0;
    if (!won && living_intent(self, dead, op, p))
        return -EAGAIN;
    kini_add_sc(&queue->skips_made, 1);
    kini_cas_sc(&cell->seq, &seq, (p + 1) | KINI_CELL_SKIP);
    return 0;
}

static int repair_put(struct kini_self *self, struct kini_thread_shm *dead, uint64_t op,
                      struct kini_segment_shm *segment, uint64_t p, bool won)
{
    struct kini_queue_shm *queue = kini_at(self->arena, segment->queue_off);
    kini_ilock_lock(self, &queue->grow);
    int r = bury(self, dead, op, segment, p, won);
    kini_ilock_unlock(self, &queue->grow);
    if (r < 0)
        return r;
    kini_waitq_wake(self, &queue->getters, 1);
    kini_waitq_wake(self, &queue->putters, 1); /* a tombstone at the head is theirs to pass */
    return 0;
}

/* The consumer may have made the block its own before it died: it belongs to the queue again, or
 * the sweep would free it. Before the cell says BACK, so that a second repair does the same. The
 * offset is used only if the cell still says what it said, and the header changes only if it names
 * the dead: should a living consumer have won the cell after all, nothing is touched. */
static void requeue_block(struct kini_self *self, struct kini_segment_shm *segment,
                          struct kini_cell_shm *cell, uint64_t seq, uint64_t p, uint32_t dead_slot)
{
    uint64_t block, info = kini_load(&cell->info);
    memcpy(&block, cell->payload, sizeof block);
    /* a CAS that changes nothing: the cell's words were read before it, and seq has not moved */
    if (!(info & 1) || !kini_cas_sc(&cell->seq, &seq, seq))
        return;
    struct kini_block_shm *header = kini_block_header(self->arena, block);
    uint32_t unit = kini_unit_of(self->arena, kini_offset(self->arena, segment));
    uint64_t word = KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, dead_slot, 0);
    if (kini_load_acq(&header->word) != word || kini_load(&header->position) != p)
        return; /* not adopted yet: it is still QUEUED by its producer */
    kini_block_touch(self, block);
    kini_cas(&header->word, &word, KINI_BLOCK_WORD(KINI_BLOCK_QUEUED, self->slot, unit));
}

static uint32_t slot_of(struct kini_thread_shm *thread)
{
    return KINI_THREAD_SLOT(kini_load(&thread->state));
}

/* Get: an item that was claimed and not released is delivered again; a tombstone is released. */
static int repair_get(struct kini_self *self, struct kini_thread_shm *dead, uint64_t op,
                      struct kini_segment_shm *segment, uint64_t p, bool won)
{
    struct kini_queue_shm *queue = kini_at(self->arena, segment->queue_off);
    struct kini_cell_shm *cell = kini_cell(segment, p);
    uint64_t head = kini_load_acq(&segment->head), seq = kini_load_acq(&cell->seq);
    if (p >= kini_load(&segment->base) && head > p && (seq & ~KINI_CELL_SKIP) == p + 1) {
        if (!won && living_intent(self, dead, op, p))
            return -EAGAIN;
        bool tombstone = seq & KINI_CELL_SKIP;
        if (!tombstone)
            requeue_block(self, segment, cell, seq, p, slot_of(dead));
        kini_cas_sc(&cell->seq, &seq, tombstone ? p + segment->cap : (p + 1) | KINI_CELL_BACK);
    }
    /* In any case: a reaper before us may have died between the mark and this. */
    kini_add_sc(&queue->back_made, 1);
    kini_waitq_wake(self, &queue->getters, 1);
    kini_waitq_wake(self, &queue->putters, 1);
    return 0;
}

static int repair_take_back(struct kini_self *self, struct kini_thread_shm *dead, uint64_t op,
                            struct kini_segment_shm *segment, uint64_t p, bool won)
{
    struct kini_queue_shm *queue = kini_at(self->arena, segment->queue_off);
    struct kini_cell_shm *cell = kini_cell(segment, p);
    uint64_t taken = (p + 1) | KINI_CELL_BACK | KINI_CELL_TAKEN;
    if (kini_load_acq(&cell->seq) == taken) {
        if (!won && living_intent(self, dead, op, p))
            return -EAGAIN;
        requeue_block(self, segment, cell, taken, p, slot_of(dead));
        kini_cas_sc(&cell->seq, &taken, (p + 1) | KINI_CELL_BACK);
    }
    kini_add_sc(&queue->back_made, 1); /* as in repair_get */
    kini_waitq_wake(self, &queue->getters, 1);
    kini_waitq_wake(self, &queue->putters, 1);
    return 0;
}

int kini_ring_repair(struct kini_self *self, struct kini_thread_shm *dead)
{
    uint64_t op = kini_load_acq(&dead->op), pos = kini_load_acq(&dead->op_pos);
    struct kini_segment_shm *segment = segment_at(self->arena, KINI_OP_OFFSET(op));
    uint64_t p = pos & ~KINI_OP_WON;
    bool won = pos & KINI_OP_WON;
    int r = 0;
    if (segment != NULL && KINI_OP_CODE(op) == KINI_OP_PUT)
        r = repair_put(self, dead, op, segment, p, won);
    if (segment != NULL && KINI_OP_CODE(op) == KINI_OP_GET)
        r = repair_get(self, dead, op, segment, p, won);
    if (segment != NULL && KINI_OP_CODE(op) == KINI_OP_TAKE_BACK)
        r = repair_take_back(self, dead, op, segment, p, won);
    if (r == 0)
        kini_store(&dead->op, 0);
    return r;
}

bool kini_ring_carries(struct kin_arena *arena, uint32_t unit, uint64_t position)
{
    if (unit >= kini_load(&arena->super->units_high))
        return false;
    struct kini_segment_shm *segment =
        segment_at(arena, kini_unit_offset(arena, unit) + KINI_LARGE_PREFIX);
    if (segment == NULL)
        return false;
    uint64_t seq = kini_load_acq(&kini_cell(segment, position)->seq);
    return (seq & ~(KINI_CELL_BACK | KINI_CELL_TAKEN)) == position + 1;
}

/* --- deliver again -------------------------------------------------------------------------- */

static int64_t take_cell_back(struct kini_self *self, struct kini_queue_shm *queue,
                              struct kini_segment_shm *segment, struct kini_cell_shm *cell,
                              uint64_t seq, struct kini_taker *taker)
{
    uint64_t p = (seq & KINI_POSITION) - 1, block = 0, info = kini_load(&cell->info);
    if (!taker->drop && info >> 1 > taker->capacity)
        return kini_load_acq(&cell->seq) == seq ? -EMSGSIZE : -EAGAIN;
    kini_intend(self, KINI_OP(KINI_OP_TAKE_BACK, kini_offset(self->arena, segment)), p);
    if (!kini_cas(&cell->seq, &seq, seq | KINI_CELL_TAKEN)) {
        kini_intent_end(self);
        return -EAGAIN;
    }
    kini_intent_won(self, p);
    if (info & 1)
        memcpy(&block, cell->payload, sizeof block);
    int64_t bytes = kini_ring_finish_take(self, cell, taker);
    kini_compiler_barrier();
    kini_store_sc(&cell->seq, p + segment->cap);
    kini_waitq_wake(self, &queue->putters, 1);
    kini_intent_end(self);
    if (block != 0)
        kini_block_put(self, block);
    return bytes;
}

/* The cell with the oldest of them. */
static struct kini_cell_shm *oldest_back(struct kini_self *self, struct kini_queue_shm *queue,
                                         struct kini_segment_shm **ret_segment, uint64_t *ret_seq)
{
    struct kini_cell_shm *oldest = NULL;
    *ret_seq = UINT64_MAX;
    EACH_SEGMENT(self, queue, segment)
    {
        if (kini_load(&segment->state) != KINI_SEGMENT_ACTIVE)
            continue;
        for (uint64_t i = 0; i < segment->cap; i++) {
            struct kini_cell_shm *cell = kini_cell(segment, i);
            uint64_t seq = kini_load_acq(&cell->seq);
            if ((seq & KINI_CELL_BACK) && !(seq & KINI_CELL_TAKEN) && seq < *ret_seq) {
                oldest = cell;
                *ret_segment = segment;
                *ret_seq = seq;
            }
        }
    }
    return oldest;
}

int64_t kini_ring_take_back(struct kini_self *self, struct kini_queue_shm *queue,
                            struct kini_taker *taker)
{
    for (;;) {
        /* read before the search: what is marked later raises it again */
        uint64_t made = kini_load_acq(&queue->back_made), seq;
        struct kini_segment_shm *segment = NULL;
        struct kini_cell_shm *cell = oldest_back(self, queue, &segment, &seq);
        if (cell == NULL) {
            kini_store(&queue->back_seen, made);
            return -EAGAIN;
        }
        int64_t r = take_cell_back(self, queue, segment, cell, seq, taker);
        if (r != -EAGAIN)
            return r; /* else another consumer was quicker: the next one */
    }
}

/* The length of what the next get would take, or -EAGAIN. */
int64_t kini_queue_peek_bytes(struct kini_self *self, struct kini_queue_shm *queue)
{
    if (kini_load_acq(&queue->back_made) != kini_load(&queue->back_seen)) {
        EACH_SEGMENT(self, queue, segment)
        {
            if (kini_load(&segment->state) != KINI_SEGMENT_ACTIVE)
                continue;
            for (uint64_t i = 0; i < segment->cap; i++) {
                struct kini_cell_shm *cell = kini_cell(segment, i);
                uint64_t seq = kini_load_acq(&cell->seq);
                if ((seq & KINI_CELL_BACK) && !(seq & KINI_CELL_TAKEN))
                    return (int64_t)(kini_load(&cell->info) >> 1);
            }
        }
    }
    for (;;) {
        uint64_t at = kini_load_acq(&queue->get_at);
        struct kini_segment_shm *segment = kini_segment_of(self->arena, at);
        uint64_t h = kini_load_acq(&segment->head);
        if (kini_load_acq(&queue->get_at) != at) /* as in kini_ring_get */
            continue;
        struct kini_cell_shm *cell = kini_cell(segment, h);
        if (kini_load_acq(&cell->seq) == h + 1) {
            uint64_t info = kini_load(&cell->info);
            if (kini_load_acq(&segment->head) == h)
                return (int64_t)(info >> 1);
        } else if (kini_load_acq(&segment->head) == h) {
            uint64_t tail = kini_load_acq(&segment->tail);
            if (!(tail & KINI_TAIL_CLOSED) || (tail & KINI_TAIL_POSITION) != h)
                return -EAGAIN;
            int r = kini_segment_advance_get(self, queue, at);
            if (r < 0)
                return r;
        }
    }
}

/* --- counting ------------------------------------------------------------------------------- */

uint64_t kini_queue_count_cells(struct kini_self *self, struct kini_queue_shm *queue, uint64_t flag)
{
    uint64_t count = 0;
    EACH_SEGMENT(self, queue, segment)
    {
        if (kini_load(&segment->state) != KINI_SEGMENT_ACTIVE)
            continue;
        for (uint64_t i = 0; i < segment->cap; i++) {
            uint64_t seq = kini_load_acq(&kini_cell(segment, i)->seq);
            count += (seq & flag) && !(seq & KINI_CELL_TAKEN);
        }
    }
    return count;
}

/* Positions put and not yet got, without tombstones, with what is to be delivered again. */
uint64_t kini_queue_count(struct kini_self *self, struct kini_queue_shm *queue)
{
    uint64_t gets, puts, at;
    do {
        at = kini_load_acq(&queue->get_at);
        struct kini_segment_shm *from = kini_segment_of(self->arena, at);
        gets = kini_load(&from->count_base) + kini_load_acq(&from->head) - kini_load(&from->base);
    } while (kini_load_acq(&queue->get_at) != at);
    do {
        at = kini_load_acq(&queue->put_at);
        struct kini_segment_shm *to = kini_segment_of(self->arena, at);
        puts = kini_load(&to->count_base) + (kini_load_acq(&to->tail) & KINI_TAIL_POSITION) -
               kini_load(&to->base);
    } while (kini_load_acq(&queue->put_at) != at);
    uint64_t count = puts > gets ? puts - gets : 0;
    if (kini_load(&queue->skips_made) != 0) {
        uint64_t skips = kini_queue_count_cells(self, queue, KINI_CELL_SKIP);
        count = count > skips ? count - skips : 0;
    }
    if (kini_load(&queue->back_made) != kini_load(&queue->back_seen))
        count += kini_queue_count_cells(self, queue, KINI_CELL_BACK);
    return count;
}

/* --- the end -------------------------------------------------------------------------------- */

/* Free the block of a published cell, if the header still says that the cell carries it. */
static void drop_cell(struct kini_self *self, struct kini_segment_shm *segment, uint64_t i)
{
    struct kini_cell_shm *cell = kini_cell(segment, i);
    uint64_t p = (kini_load_acq(&cell->seq) & KINI_POSITION) - 1;
    if ((p & (segment->cap - 1)) != i || !(kini_load(&cell->info) & 1) ||
        (kini_load(&cell->seq) & KINI_CELL_SKIP))
        return; /* free, a tombstone, or inline */
    uint64_t block;
    memcpy(&block, cell->payload, sizeof block);
    struct kini_block_shm *header = kini_block_header(self->arena, block);
    uint32_t unit = kini_unit_of(self->arena, kini_offset(self->arena, segment));
    uint64_t word = kini_load(&header->word);
    bool carried = KINI_BLOCK_STATE(word) == KINI_BLOCK_QUEUED && KINI_BLOCK_TAG(word) == unit &&
                   kini_load(&header->position) == p;
    if (carried)
        kini_block_adopt(self, block);
    kini_compiler_barrier();
    kini_store(&cell->seq, p + segment->cap);
    kini_compiler_barrier();
    if (carried)
        kini_block_put(self, block);
}

/* Nobody holds the queue any more. Each block becomes private to us before it is freed, so if we
 * die the sweep goes on where we stopped; the chain is cut before its first segment is freed. */
void kini_queue_object_destroy(struct kini_self *self, uint64_t offset)
{
    struct kin_arena *arena = self->arena;
    struct kini_queue_shm *queue = kini_at(arena, offset);
    uint64_t first = kini_load(&queue->all_segments);
    EACH_SEGMENT(self, queue, segment)
    {
        if (kini_load(&segment->state) == KINI_SEGMENT_ACTIVE)
            for (uint64_t i = 0; i < segment->cap; i++)
                drop_cell(self, segment, i);
    }
    EACH_SEGMENT(self, queue, segment)
    kini_block_adopt(self, kini_offset(arena, segment));
    kini_compiler_barrier();
    kini_store(&queue->all_segments, 0);
    kini_compiler_barrier();
    for (uint64_t at = first; at != 0;) {
        uint64_t next = kini_load(&((struct kini_segment_shm *)kini_at(arena, at))->all_next);
        ((struct kini_segment_shm *)kini_at(arena, at))->magic = 0;
        kini_block_put(self, at);
        at = next;
    }
}
