/* SPDX-License-Identifier: MIT
 * What the queue does about the dead: resolve their operations, deliver again what they had
 * claimed, free everything when the last holder is gone. Crash states: queue_layout.h. */
#include "arena/ilock.h"
#include "chan/ring.h"
#include "chan/store.h"
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

/* --- dead operations ------------------------------------------------------------------------ */

/* What a thread had claimed when it died. */
struct claim {
    struct kini_thread_shm *dead;
    uint64_t op; /* KINI_OP(code, segment): without the count */
    struct kini_segment_shm *segment;
    uint64_t first, count;
    bool won;
};

/* Whether an intent (op, pos) names the same operation on that position of the segment. */
static bool names(uint64_t op, uint64_t pos, uint64_t code_and_segment, uint64_t position)
{
    return KINI_OP(KINI_OP_CODE(op), KINI_OP_OFFSET(op)) == code_and_segment &&
           position - (pos & ~KINI_OP_WON) < KINI_OP_COUNT(op);
}

/* Whether a living thread announces a claim of that position: it may be the one that won it. */
static bool living_intent(struct kini_self *self, const struct claim *claim, uint64_t position)
{
    struct kin_arena *arena = self->arena;
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &arena->threads[i];
        uint64_t state = kini_load_acq(&t->state);
        uint32_t slot = KINI_THREAD_SLOT(state);
        if (!(state & 1) || t == claim->dead)
            continue;
        /* One after the other: whoever won the position leaves both as they are until it has
         * published or released, and then our CAS on the cell fails. */
        uint64_t its_op = kini_load_acq(&t->op), its_pos = kini_load_acq(&t->op_pos);
        if (!names(its_op, its_pos, claim->op, position))
            continue;
        /* Dead as well: if it is known to have won, its own repair has to come first; if not, the
         * claim may be either's, and what is done about it is the same. */
        uint32_t life = KINI_STATE(kini_load_acq(&arena->participants[slot].state));
        if (life == KINI_REAPING && !(its_pos & KINI_OP_WON))
            continue;
        return true;
    }
    return false;
}

/* Whether a position that the dead may have claimed was claimed and not published. head <= p: no
 * consumer passes a cell that is not published. */
static bool is_open(struct kini_segment_shm *segment, uint64_t p, uint64_t seq)
{
    uint64_t tail = kini_tail(segment) & KINI_TAIL_POSITION;
    uint64_t base = kini_load(&segment->base);
    return kini_load(&segment->state) == KINI_SEGMENT_ACTIVE && p >= base && tail > p &&
           kini_head(segment) <= p && kini_cell_is_free(seq, p, base, segment->cap);
}

/* Below: 0, or -EAGAIN if a living thread is in the way of a position. The others of a range are
 * dealt with all the same. Put: a position that nobody will publish becomes a tombstone, and so
 * does one that was published behind a first one that was not. Under grow: while it is held no
 * segment begins or ends a life, so a cell that reads as virgin is one of this life. */
static int bury(struct kini_self *self, const struct claim *claim, uint64_t p, bool published_too)
{
    struct kini_queue_shm *queue = kini_at(self->arena, claim->segment->queue_off);
    struct kini_cell_shm *cell = kini_cell(claim->segment, p);
    uint64_t seq = kini_load_acq(&cell->seq);
    if (!(published_too && seq == p + 1)) {
        if (!is_open(claim->segment, p, seq))
            return 0;
        if (!claim->won && living_intent(self, claim, p))
            return -EAGAIN;
    }
    kini_add_sc(&queue->skips_made, 1);
    kini_cas_sc(&cell->seq, &seq, (p + 1) | KINI_CELL_SKIP);
    return 0;
}

/* From the last to the first, as they are published: until the first is a tombstone nobody passes
 * it, and who repairs this again sees the same. */
static int repair_put(struct kini_self *self, const struct claim *claim)
{
    struct kini_queue_shm *queue = kini_at(self->arena, claim->segment->queue_off);
    struct kini_cell_shm *first = kini_cell(claim->segment, claim->first);
    int r = 0;
    kini_ilock_lock(self, &queue->grow);
    bool begun = claim->won && is_open(claim->segment, claim->first, kini_load_acq(&first->seq));
    for (uint64_t i = claim->count; i-- > 0;)
        r |= bury(self, claim, claim->first + i, begun);
    kini_ilock_unlock(self, &queue->grow);
    kini_waitq_wake(self, &queue->getters, (uint32_t)claim->count);
    /* a tombstone at the head is theirs to pass */
    kini_waitq_wake(self, &queue->putters, (uint32_t)claim->count);
    return r;
}

static uint32_t slot_of(struct kini_thread_shm *thread)
{
    return KINI_THREAD_SLOT(kini_load(&thread->state));
}

/* The message is still in its cell, so a copy that the dead had TAKEN must not come back as well:
 * it is private, and swept. That it is the copy of this position, which no other message of the
 * queue ever has, keeps what the dead had taken earlier. */
static void forget_copy(struct kini_self *self, struct kini_segment_shm *segment, uint64_t p,
                        struct kini_thread_shm *dead)
{
    struct kini_queue_shm *queue = kini_at(self->arena, segment->queue_off);
    uint64_t copy = kini_load(&dead->op_block), slot = slot_of(dead);
    if (copy == 0 || kini_block_check(self->arena, kini_at(self->arena, copy)) != copy)
        return;
    uint64_t word = KINI_BLOCK_WORD(KINI_BLOCK_TAKEN, slot, queue->tag);
    if (kini_load(&kini_block_header(self->arena, copy)->word) == word &&
        kini_message_of(self->arena, copy)->order == p)
        kini_store(&kini_block_header(self->arena, copy)->word,
                   KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, slot, 0));
}

/* The consumer may have made the block its own before it died: it belongs to the queue again, or
 * the sweep would free it. Before the cell says BACK, so that a second repair does the same. The
 * offset is used only if the cell still says what it said, and the header changes only if it names
 * the dead: should a living consumer have won the cell after all, nothing is touched. */
static void requeue_block(struct kini_self *self, struct kini_segment_shm *segment,
                          struct kini_cell_shm *cell, uint64_t seq, uint64_t p,
                          struct kini_thread_shm *dead)
{
    uint32_t dead_slot = slot_of(dead);
    uint64_t block, info = kini_load(&cell->info);
    memcpy(&block, cell->payload, sizeof block);
    /* a CAS that changes nothing: the cell's words were read before it, and seq has not moved */
    if (!kini_cas_sc(&cell->seq, &seq, seq))
        return;
    if (!(info & 1)) {
        forget_copy(self, segment, p, dead);
        return;
    }
    if (block >= self->arena->super->reserve_bytes ||
        kini_block_check(self->arena, self->arena->base + block) == 0)
        return; /* damaged */
    struct kini_block_shm *header = kini_block_header(self->arena, block);
    uint32_t unit = kini_unit_of(self->arena, kini_offset(self->arena, segment));
    struct kini_queue_shm *queue = kini_at(self->arena, segment->queue_off);
    uint64_t word = kini_load_acq(&header->word);
    if ((word != KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, dead_slot, 0) &&
         word != KINI_BLOCK_WORD(KINI_BLOCK_TAKEN, dead_slot, queue->tag)) ||
        kini_load(&header->position) != p)
        return; /* not adopted yet: it is still QUEUED by its producer */
    kini_block_touch(self, block);
    kini_cas(&header->word, &word, KINI_BLOCK_WORD(KINI_BLOCK_QUEUED, self->slot, unit));
}

/* Get: an item that was claimed and not released is delivered again; a tombstone is released. */
static int redeliver(struct kini_self *self, const struct claim *claim, uint64_t p)
{
    struct kini_segment_shm *segment = claim->segment;
    struct kini_cell_shm *cell = kini_cell(segment, p);
    uint64_t head = kini_head(segment), seq = kini_load_acq(&cell->seq);
    if (p < kini_load(&segment->base) || head <= p || (seq & ~KINI_CELL_SKIP) != p + 1)
        return 0;
    if (!claim->won && living_intent(self, claim, p))
        return -EAGAIN;
    bool tombstone = seq & KINI_CELL_SKIP;
    if (!tombstone)
        requeue_block(self, segment, cell, seq, p, claim->dead);
    kini_cas_sc(&cell->seq, &seq, tombstone ? p + segment->cap : (p + 1) | KINI_CELL_BACK);
    return 0;
}

/* In any case, also if nothing was found: a reaper before us may have died between the mark and
 * this. */
static void announce_back(struct kini_self *self, const struct claim *claim)
{
    struct kini_queue_shm *queue = kini_at(self->arena, claim->segment->queue_off);
    kini_add_sc(&queue->back_made, 1);
    kini_waitq_wake(self, &queue->getters, (uint32_t)claim->count);
    kini_waitq_wake(self, &queue->putters, (uint32_t)claim->count);
}

static int repair_get(struct kini_self *self, const struct claim *claim)
{
    int r = 0;
    for (uint64_t i = 0; i < claim->count; i++)
        r |= redeliver(self, claim, claim->first + i);
    announce_back(self, claim);
    return r;
}

static int repair_take_back(struct kini_self *self, const struct claim *claim)
{
    uint64_t p = claim->first;
    struct kini_cell_shm *cell = kini_cell(claim->segment, p);
    uint64_t taken = (p + 1) | KINI_CELL_BACK | KINI_CELL_TAKEN;
    if (kini_load_acq(&cell->seq) == taken) {
        if (!claim->won && living_intent(self, claim, p))
            return -EAGAIN;
        requeue_block(self, claim->segment, cell, taken, p, claim->dead);
        kini_cas_sc(&cell->seq, &taken, (p + 1) | KINI_CELL_BACK);
    }
    announce_back(self, claim);
    return 0;
}

int kini_ring_repair(struct kini_self *self, struct kini_thread_shm *dead)
{
    uint64_t op = kini_load_acq(&dead->op), pos = kini_load_acq(&dead->op_pos);
    uint32_t code = KINI_OP_CODE(op);
    struct claim claim = {.dead = dead,
                          .op = KINI_OP(code, KINI_OP_OFFSET(op)),
                          .segment = kini_segment_at(self->arena, KINI_OP_OFFSET(op)),
                          .first = pos & ~KINI_OP_WON,
                          .count = KINI_OP_COUNT(op),
                          .won = pos & KINI_OP_WON};
    int r = 0;
    /* The dead may have had the side for itself: its intent is a claim then, or none. */
    if (claim.segment != NULL)
        kini_solo_end(self, claim.segment, code == KINI_OP_PUT);
    if (claim.segment != NULL && code == KINI_OP_PUT)
        r = repair_put(self, &claim);
    if (claim.segment != NULL && code == KINI_OP_GET)
        r = repair_get(self, &claim);
    if (claim.segment != NULL && code == KINI_OP_TAKE_BACK)
        r = repair_take_back(self, &claim);
    if (r == 0)
        kini_store(&dead->op, 0);
    return r;
}

bool kini_ring_carries(struct kin_arena *arena, uint32_t unit, uint64_t position)
{
    if (unit >= kini_load(&arena->super->units_high))
        return false;
    struct kini_segment_shm *segment =
        kini_segment_at(arena, kini_unit_offset(arena, unit) + KINI_LARGE_PREFIX);
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
    uint64_t p = (seq & KINI_POSITION) - 1, info = kini_load(&cell->info);
    if (kini_taker_refuses(taker, info >> 1))
        return kini_load_acq(&cell->seq) == seq ? -EMSGSIZE : -EAGAIN;
    kini_intend(self, KINI_OP(KINI_OP_TAKE_BACK, kini_offset(self->arena, segment)), p);
    if (!kini_cas(&cell->seq, &seq, seq | KINI_CELL_TAKEN)) {
        kini_intent_end(self);
        return -EAGAIN;
    }
    kini_intent_won(self, p);
    uint64_t block = kini_ring_finish_take(self, cell, p, queue->tag, taker);
    kini_compiler_barrier();
    kini_store_sc(&cell->seq, p + segment->cap);
    kini_waitq_wake(self, &queue->putters, 1);
    kini_intent_end(self);
    kini_ring_end_take(self, block, taker);
    return (int64_t)(info >> 1);
}

/* The cell with the oldest of them. */
struct kini_cell_shm *kini_ring_oldest_back(struct kini_self *self, struct kini_queue_shm *queue,
                                            struct kini_segment_shm **ret_segment,
                                            uint64_t *ret_seq)
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

/* From the list of messages that somebody had taken in place. */
static int64_t take_returned(struct kini_self *self, struct kini_queue_shm *queue,
                             struct kini_taker *taker)
{
    uint64_t block;
    int r = kini_returned_remove(self, queue, taker, &block);
    if (r < 0)
        return r;
    kini_waitq_wake(self, &queue->putters, 1);
    return kini_message_deliver(self, block, taker);
}

int64_t kini_ring_take_back(struct kini_self *self, struct kini_queue_shm *queue,
                            struct kini_taker *taker)
{
    int64_t listed = take_returned(self, queue, taker);
    if (listed != -EAGAIN)
        return listed;
    for (;;) {
        /* read before the search: what is marked later raises it again */
        uint64_t made = kini_load_acq(&queue->back_made), seq;
        struct kini_segment_shm *segment = NULL;
        struct kini_cell_shm *cell = kini_ring_oldest_back(self, queue, &segment, &seq);
        if (cell == NULL) {
            kini_store(&queue->back_seen, made);
            return -EAGAIN;
        }
        int64_t r = take_cell_back(self, queue, segment, cell, seq, taker);
        if (r != -EAGAIN)
            return r; /* else another consumer was quicker: the next one */
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
        gets = kini_load(&from->count_base) + kini_head(from) - kini_load(&from->base);
    } while (kini_load_acq(&queue->get_at) != at);
    do {
        at = kini_load_acq(&queue->put_at);
        struct kini_segment_shm *to = kini_segment_of(self->arena, at);
        puts = kini_load(&to->count_base) + (kini_tail(to) & KINI_TAIL_POSITION) -
               kini_load(&to->base);
    } while (kini_load_acq(&queue->put_at) != at);
    uint64_t count = puts > gets ? puts - gets : 0;
    if (kini_load(&queue->skips_made) != 0) {
        uint64_t skips = kini_queue_count_cells(self, queue, KINI_CELL_SKIP);
        count = count > skips ? count - skips : 0;
    }
    if (kini_load(&queue->back_made) != kini_load(&queue->back_seen))
        count += kini_queue_count_cells(self, queue, KINI_CELL_BACK);
    return count + kini_load(&queue->returned_count);
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
    if (block >= self->arena->super->reserve_bytes ||
        kini_block_check(self->arena, self->arena->base + block) == 0)
        return; /* damaged */
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
    struct kini_queue_shm *queue = kini_queue_at(arena, offset);
    if (queue == NULL)
        return; /* damaged */
    kini_returned_free(self, queue);
    if (kini_queue_is_store(queue))
        kini_store_destroy(self, queue);
    uint64_t first = kini_load(&queue->all_segments);
    if (!kini_queue_chain_is_good(arena, queue))
        return; /* damaged: what can be freed safely is not known */
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
