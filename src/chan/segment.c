/* SPDX-License-Identifier: MIT
 * Growth: link a further segment when the ring is full, use drained ones again, give their memory
 * back. Slow paths, under the queue's internal lock `grow`. */
#include "arena/attach.h"
#include "arena/ilock.h"
#include "base/bits.h"
#include "chan/ring.h"
#include "sync/wait.h"

#include <errno.h>
#include <string.h>

#define CAP_MOST (1u << 14) /* 2 MiB of usual cells: a ring that still fits a cache */

static int make(struct kini_self *self, struct kini_queue_shm *queue, uint64_t cap,
                struct kini_segment_shm **ret_segment)
{
    struct kin_arena *arena = self->arena;
    uint64_t bytes = sizeof(struct kini_segment_shm) + cap * queue->stride;
    uint64_t units = (bytes + KINI_LARGE_PREFIX + KINI_UNIT_BYTES - 1) / KINI_UNIT_BYTES;
    /* the whole run, so that nothing of it is wasted */
    while (sizeof(struct kini_segment_shm) + 2 * cap * queue->stride + KINI_LARGE_PREFIX <=
           units * KINI_UNIT_BYTES)
        cap *= 2;
    void *memory;
    int r = kin_block_reserve(arena, bytes, &memory); /* zeroed: every cell is virgin */
    if (r < 0)
        return r;
    r = kin_block_commit(arena, memory, sizeof(struct kini_segment_shm) + cap * queue->stride);
    if (r < 0) {
        kini_block_put(self, kini_offset(arena, memory));
        return r;
    }
    struct kini_segment_shm *segment = memory;
    segment->stride = queue->stride;
    segment->cap = cap;
    segment->queue_off = kini_offset(arena, queue);
    segment->magic = KINI_SEGMENT_MAGIC;
    *ret_segment = segment;
    return 0;
}

/* The tail is closed until the segment is linked: a producer whose view is a life old must not put
 * into what may never become part of the chain. */
static void begin_life(struct kini_segment_shm *segment, uint64_t base, uint64_t count_base)
{
    kini_store_rel(&segment->tail, base | KINI_TAIL_CLOSED);
    kini_store(&segment->base, base);
    kini_store(&segment->count_base, count_base);
    kini_store(&segment->next, 0);
    kini_store(&segment->head, base);
    kini_store(&segment->state, KINI_SEGMENT_ACTIVE);
}

static void open_tail(struct kini_segment_shm *segment)
{
    /* rel pairs with the acquire of tail in kini_ring_put: base and head first */
    kini_store_rel(&segment->tail, kini_load(&segment->base));
}

void kini_ring_init(struct kini_queue_shm *queue, uint64_t queue_off, uint32_t inline_bytes)
{
    memset(queue, 0, sizeof *queue);
    queue->stride = (uint32_t)kini_round_up(sizeof(struct kini_cell_shm) + inline_bytes, 64);
    queue->inline_bytes = queue->stride - sizeof(struct kini_cell_shm);
    kini_ilock_init(&queue->grow, KINI_ILOCK_QUEUE);
    kini_returned_init(queue, queue_off);
    kini_waitq_init(&queue->getters, 0);
    kini_waitq_init(&queue->putters, KINI_WAITQ_ROOM);
}

int kini_ring_begin(struct kini_self *self, struct kini_queue_shm *queue, uint64_t cap)
{
    struct kini_segment_shm *segment;
    int r = make(self, queue, cap, &segment);
    if (r < 0)
        return r;
    begin_life(segment, segment->cap * 2, 0);
    open_tail(segment);
    uint64_t offset = kini_offset(self->arena, segment);
    uint64_t at = KINI_AT_SEGMENT(kini_unit_of(self->arena, offset), 0);
    kini_store(&queue->put_at, at);
    kini_store(&queue->get_at, at);
    kini_store(&queue->all_segments, offset);
    return 0;
}

void kini_ring_give(struct kini_self *self, struct kini_queue_shm *queue, uint32_t tag)
{
    queue->tag = tag;
    kini_block_give(self, kini_load(&queue->all_segments), tag);
}

/* --- the chain of all segments, under grow --------------------------------------------------- */

static struct kini_segment_shm *at_offset(struct kini_self *self, uint64_t offset)
{
    return offset ? kini_at(self->arena, offset) : NULL;
}

static struct kini_segment_shm *find_idle(struct kini_self *self, struct kini_queue_shm *queue)
{
    struct kini_segment_shm *best = NULL;
    for (struct kini_segment_shm *s = at_offset(self, kini_load(&queue->all_segments)); s != NULL;
         s = at_offset(self, kini_load(&s->all_next)))
        if (kini_load(&s->state) == KINI_SEGMENT_IDLE && (best == NULL || s->cap > best->cap))
            best = s;
    return best;
}

/* All cells of a drained segment are released: nobody reads it any more. */
static bool is_quiet(struct kini_segment_shm *segment)
{
    uint64_t tail = kini_tail(segment) & KINI_TAIL_POSITION;
    uint64_t base = kini_load(&segment->base);
    uint64_t from = tail - base > segment->cap ? tail - segment->cap : base;
    for (uint64_t p = from; p < tail; p++)
        if (kini_load_acq(&kini_cell(segment, p)->seq) != p + segment->cap)
            return false;
    return true;
}

/* The units of a segment behind its first, which holds the header and some cells. */
static uint32_t rest_units(struct kini_self *self, struct kini_segment_shm *segment,
                           uint32_t *ret_first)
{
    uint64_t from = kini_offset(self->arena, segment);
    uint64_t last = from + sizeof *segment + segment->cap * segment->stride - 1;
    *ret_first = kini_unit_of(self->arena, from) + 1;
    return kini_unit_of(self->arena, last) + 1 - *ret_first;
}

/* A segment becomes idle before its memory goes: zeroed cells are virgin in the next life. */
static void retire(struct kini_self *self, struct kini_segment_shm *segment)
{
    uint32_t first, count = rest_units(self, segment, &first);
    kini_store(&segment->state, KINI_SEGMENT_IDLE);
    if (count > 0)
        kini_span_give_back(self->arena, first, count);
}

static int reuse(struct kini_self *self, struct kini_segment_shm *segment)
{
    uint32_t first, count = rest_units(self, segment, &first);
    return count > 0 ? kini_span_commit(self->arena, first, count) : 0;
}

static void retire_old(struct kini_self *self, struct kini_queue_shm *queue)
{
    struct kin_arena *arena = self->arena;
    uint64_t current = kini_load(&kini_segment_of(arena, kini_load_acq(&queue->get_at))->base);
    for (struct kini_segment_shm *s = at_offset(self, kini_load(&queue->all_segments)); s != NULL;
         s = at_offset(self, kini_load(&s->all_next)))
        if (kini_load(&s->state) == KINI_SEGMENT_ACTIVE && kini_load(&s->base) < current &&
            is_quiet(s))
            retire(self, s);
}

/* --- found in the arena ----------------------------------------------------------------------- */

/* The block is there and large enough for what it says that it is. */
static bool is_shaped(const struct kin_arena *arena, uint64_t offset)
{
    if (offset >= arena->super->reserve_bytes ||
        kini_block_check(arena, arena->base + offset) == 0 ||
        offset != kini_unit_offset(arena, kini_unit_of(arena, offset)) + KINI_LARGE_PREFIX)
        return false;
    const struct kini_segment_shm *segment = kini_at(arena, offset);
    uint64_t room = kini_block_room(arena, offset) - sizeof *segment;
    return segment->magic == KINI_SEGMENT_MAGIC && segment->cap >= 2 &&
           (segment->cap & (segment->cap - 1)) == 0 && segment->stride >= 64 &&
           segment->stride % 64 == 0 && segment->cap <= room / segment->stride &&
           kini_range_is_good(arena, segment->queue_off, sizeof(struct kini_queue_shm));
}

struct kini_segment_shm *kini_segment_at(const struct kin_arena *arena, uint64_t offset)
{
    return is_shaped(arena, offset) ? kini_at(arena, offset) : NULL;
}

bool kini_queue_chain_is_good(const struct kin_arena *arena, const struct kini_queue_shm *queue)
{
    uint64_t most = kini_load(&arena->super->units_high);
    uint64_t at = kini_load_acq((kini_a64 *)&queue->all_segments);
    for (uint64_t steps = 0; at != 0; steps++) {
        if (steps > most || !is_shaped(arena, at))
            return false;
        at = kini_load(&((struct kini_segment_shm *)kini_at(arena, at))->all_next);
    }
    return true;
}

static bool is_segment(const struct kin_arena *arena, const struct kini_queue_shm *queue,
                       uint64_t offset)
{
    if (!is_shaped(arena, offset))
        return false;
    const struct kini_segment_shm *segment = kini_at(arena, offset);
    return segment->stride == queue->stride && segment->queue_off == kini_offset(arena, queue) &&
           kini_block_is_owned(arena, offset, queue->tag, sizeof *segment);
}

static bool is_at_segment(const struct kin_arena *arena, const struct kini_queue_shm *queue,
                          uint64_t at)
{
    return KINI_AT_UNIT(at) < kini_load(&arena->super->units_high) &&
           is_segment(arena, queue, kini_unit_offset(arena, KINI_AT_UNIT(at)) + KINI_LARGE_PREFIX);
}

/* A message that was published: its length fits, its block is one. */
static bool message_is_good(const struct kin_arena *arena, const struct kini_queue_shm *queue,
                            struct kini_cell_shm *cell, uint64_t mark)
{
    uint64_t info = kini_load(&cell->info), bytes = info >> 1, block;
    if (!(info & 1))
        return bytes <= queue->inline_bytes;
    memcpy(&block, cell->payload, sizeof block);
    return kini_message_is_whole(arena, block) &&
           (kini_message_of(arena, block)->bytes == bytes || (bytes & mark));
}

/* The owner of a side stores the seq of a cell before its position, and may be killed in between:
 * then the positions go one further than they say. The owner is read first: without one the word of
 * the general path tells all. */
static uint64_t tail_at_most(struct kini_segment_shm *segment)
{
    bool solo = kini_load_acq(&segment->put_solo.owner) != 0;
    return (kini_tail(segment) & KINI_TAIL_POSITION) + solo;
}

static uint64_t head_at_most(struct kini_segment_shm *segment)
{
    bool solo = kini_load_acq(&segment->get_solo.owner) != 0;
    return kini_head(segment) + solo;
}

/* Whether that can be seen in the cell, at any moment of the segment's life. What bounds a
 * value is read after it, and only grows. */
static bool cell_is_good(const struct kin_arena *arena, const struct kini_queue_shm *queue,
                         struct kini_segment_shm *segment, uint64_t i, uint64_t mark)
{
    uint64_t base = kini_load(&segment->base);
    struct kini_cell_shm *cell = kini_cell(segment, i);
    uint64_t seq = kini_load_acq(&cell->seq), at = seq & KINI_POSITION, mask = segment->cap - 1;
    if (seq < base)
        return true;                   /* virgin */
    if ((at & mask) == i && seq == at) /* free for that position */
        return at < head_at_most(segment) + segment->cap;
    if (((at - 1) & mask) != i || at > tail_at_most(segment))
        return false;
    return (seq & KINI_CELL_SKIP) || message_is_good(arena, queue, cell, mark) ||
           kini_load_acq(&cell->seq) != seq;
}

/* With an owner the word of the general path (tail, head) stays where the ring began, until it goes
 * to where the owner stands or one behind it. Without one it is ahead of where an owner stood. */
static bool solo_agrees(struct kini_solo_shm *solo, kini_a64 *word, uint64_t base, uint64_t owner)
{
    uint64_t handed = kini_load_acq(&solo->handed), at = kini_load_acq(&solo->at);
    uint64_t next = kini_load_acq(word) & KINI_TAIL_POSITION;
    if (owner == 0)
        return at <= next;
    return at >= base && (handed == 0 || handed - at <= 1) &&
           (next == base || (handed != 0 && next >= handed));
}

/* What is read while the side becomes everybody's is read again. */
static bool solo_is_good(struct kini_solo_shm *solo, kini_a64 *word, uint64_t base)
{
    uint64_t owner = kini_load_acq(&solo->owner), now = owner;
    bool good;
    do {
        owner = now;
        good = solo_agrees(solo, word, base, owner);
        now = kini_load_acq(&solo->owner);
    } while (!good && now != owner);
    return good;
}

static bool positions_are_good(struct kini_segment_shm *segment, uint64_t base)
{
    uint64_t head = kini_head(segment);
    uint64_t most = tail_at_most(segment), tail = kini_tail(segment) & KINI_TAIL_POSITION;
    return base <= head && head <= most && most < KINI_POSITION / 2 &&
           tail <= head_at_most(segment) + segment->cap &&
           solo_is_good(&segment->put_solo, &segment->tail, base) &&
           solo_is_good(&segment->get_solo, &segment->head, base);
}

/* Of the cells all, or those alone that who empties the segment would meet: as far as the one where
 * he sees that there is no more. */
static bool cells_are_good(const struct kin_arena *arena, const struct kini_queue_shm *queue,
                           struct kini_segment_shm *segment, uint64_t mark, bool all)
{
    uint64_t first = all ? 0 : kini_head(segment);
    uint64_t last = all ? segment->cap - 1 : kini_tail(segment) & KINI_TAIL_POSITION;
    bool good = true;
    for (uint64_t at = first; good && at <= last; at++)
        good = cell_is_good(arena, queue, segment, at & (segment->cap - 1), mark);
    return good;
}

static bool segment_is_good(const struct kin_arena *arena, const struct kini_queue_shm *queue,
                            struct kini_segment_shm *segment, uint64_t mark, bool all)
{
    uint64_t base = kini_load(&segment->base), next = kini_load_acq(&segment->next);
    if (next != 0 && !is_segment(arena, queue, next))
        return false;
    /* the chain goes forward: it has no circle */
    if (next != 0 && kini_load(&((struct kini_segment_shm *)kini_at(arena, next))->base) <= base &&
        kini_load_acq(&segment->next) == next && kini_load(&segment->base) == base)
        return false;
    if (kini_load_acq(&segment->state) != KINI_SEGMENT_ACTIVE)
        return true;
    bool good =
        positions_are_good(segment, base) && cells_are_good(arena, queue, segment, mark, all);
    /* or another life has begun meanwhile */
    return good || kini_load_acq(&segment->state) != KINI_SEGMENT_ACTIVE ||
           kini_load(&segment->base) != base;
}

static bool tail_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue)
{
    uint64_t most = kini_load(&arena->super->units_high), at = kini_load_acq(&queue->put_at);
    if (!is_at_segment(arena, queue, at))
        return false;
    struct kini_segment_shm *segment = kini_segment_of(arena, at);
    uint64_t next = kini_load_acq(&segment->next);
    for (uint64_t steps = 0; next != 0 && steps < most; steps++) {
        if (!is_segment(arena, queue, next))
            return false;
        segment = kini_at(arena, next);
        next = kini_load_acq(&segment->next);
    }
    return next == 0;
}

/* Others may be moving it on, and free what was looked at: what is damaged stays so. */
bool kini_ring_tail_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue)
{
    for (int i = 0; i < KINI_LOOKS_AT_DAMAGE; i++) {
        if (tail_is_good(arena, queue))
            return true;
        kini_pause();
    }
    return false;
}

static bool ring_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue, uint64_t mark,
                         bool all)
{
    if (queue->stride % 64 != 0 || queue->stride == 0 || queue->stride > 4096 ||
        queue->inline_bytes != queue->stride - sizeof(struct kini_cell_shm) ||
        !kini_queue_chain_is_good(arena, queue) ||
        !is_at_segment(arena, queue, kini_load_acq(&queue->put_at)) ||
        !is_at_segment(arena, queue, kini_load_acq(&queue->get_at)))
        return false;
    uint64_t at = kini_load_acq(&queue->all_segments);
    for (struct kini_segment_shm *s = NULL; at != 0; at = kini_load(&s->all_next)) {
        s = kini_at(arena, at);
        if (!is_segment(arena, queue, at) || !segment_is_good(arena, queue, s, mark, all))
            return false;
    }
    return true;
}

bool kini_segments_are_good(const struct kin_arena *arena, struct kini_queue_shm *queue)
{
    return ring_is_good(arena, queue, 0, true);
}

bool kini_ring_can_be_emptied(const struct kin_arena *arena, struct kini_queue_shm *queue,
                              uint64_t mark)
{
    return ring_is_good(arena, queue, mark, false);
}

/* --- linking -------------------------------------------------------------------------------- */

/* Journal LINK: the new segment is the queue's if and only if `next` points to it. */
static void link_after(struct kini_self *self, struct kini_queue_shm *queue,
                       struct kini_segment_shm *segment, struct kini_segment_shm *next, bool fresh)
{
    struct kin_arena *arena = self->arena;
    uint64_t tail = kini_load_acq(&segment->tail) & KINI_TAIL_POSITION;
    uint64_t count = kini_load(&segment->count_base) + tail - kini_load(&segment->base);
    kini_store(&queue->grow.arg[0], kini_offset(arena, segment));
    kini_store(&queue->grow.arg[1], kini_offset(arena, next));
    kini_store(&queue->grow.arg[2], fresh);
    kini_journal_begin(&queue->grow, KINI_QUEUE_LINK);
    begin_life(next, tail + 2 * kini_max(segment->cap, next->cap), count);
    if (fresh) {
        kini_store(&next->all_next, kini_load(&queue->all_segments));
        kini_block_give(self, kini_offset(arena, next), queue->tag);
        kini_store_rel(&queue->all_segments, kini_offset(arena, next)); /* for EACH_SEGMENT */
    }
    /* rel pairs with the acquire in successor() */
    kini_store_rel(&segment->next, kini_offset(arena, next));
    open_tail(next);
    kini_journal_end(&queue->grow);
}

/* Killed inside link_after. Not yet linked: what was fresh goes back to its maker, for the sweep;
 * what was idle is idle again. */
void kini_queue_journal_repair(struct kini_self *self, struct kini_ilock_shm *lock)
{
    uint64_t next_off = kini_load(&lock->arg[1]);
    struct kini_segment_shm *segment = kini_segment_at(self->arena, kini_load(&lock->arg[0]));
    struct kini_segment_shm *next = kini_segment_at(self->arena, next_off);
    if (segment == NULL || next == NULL)
        return; /* damaged */
    struct kini_queue_shm *queue = kini_at(self->arena, segment->queue_off);
    if (kini_load(&segment->next) == next_off) {
        if (kini_load(&next->tail) == (kini_load(&next->base) | KINI_TAIL_CLOSED))
            open_tail(next);
        return;
    }
    if (!kini_load(&lock->arg[2])) {
        kini_store(&next->state, KINI_SEGMENT_IDLE);
    } else if (kini_load(&queue->all_segments) == next_off) {
        kini_store(&next->state, KINI_SEGMENT_IDLE); /* listed: the queue keeps it */
    } else {
        uint64_t word = kini_load(&kini_block_header(self->arena, next_off)->word);
        if (KINI_BLOCK_STATE(word) == KINI_BLOCK_OWNED && KINI_BLOCK_TAG(word) == queue->tag) {
            kini_block_adopt(self, next_off);
            kini_block_put(self, next_off);
        }
    }
}

/* Under grow: whether the put side stands before a closed segment without a successor. */
static bool needs_next(struct kini_self *self, struct kini_queue_shm *queue, uint64_t at)
{
    struct kini_segment_shm *segment = kini_segment_of(self->arena, at);
    return kini_load_acq(&queue->put_at) == at && kini_load(&segment->next) == 0 &&
           (kini_load_acq(&segment->tail) & KINI_TAIL_CLOSED) &&
           !(kini_load(&queue->flags) & KINI_QUEUE_SHUT);
}

static int link_next(struct kini_self *self, struct kini_queue_shm *queue, uint64_t at)
{
    struct kini_segment_shm *segment = kini_segment_of(self->arena, at);
    kini_ilock_lock(self, &queue->grow);
    retire_old(self, queue);
    bool needed = needs_next(self, queue, at);
    struct kini_segment_shm *idle = needed ? find_idle(self, queue) : NULL;
    if (idle != NULL && idle->cap >= segment->cap && reuse(self, idle) == 0) {
        link_after(self, queue, segment, idle, false);
        needed = false;
    }
    kini_ilock_unlock(self, &queue->grow);
    if (!needed)
        return 0;

    struct kini_segment_shm *fresh;
    int r = make(self, queue, kini_min(segment->cap * 4, CAP_MOST), &fresh);
    if (r < 0)
        return r;
    kini_ilock_lock(self, &queue->grow);
    needed = needs_next(self, queue, at);
    if (needed)
        link_after(self, queue, segment, fresh, true);
    kini_ilock_unlock(self, &queue->grow);
    if (!needed)
        kini_block_put(self, kini_offset(self->arena, fresh));
    return 0;
}

/* --- moving on ------------------------------------------------------------------------------ */

static uint64_t successor(struct kini_self *self, uint64_t at)
{
    struct kini_segment_shm *segment = kini_segment_of(self->arena, at);
    uint64_t next = kini_load_acq(&segment->next);
    if (next == 0)
        return 0;
    return KINI_AT_SEGMENT(kini_unit_of(self->arena, next), KINI_AT_TURNS(at) + 1);
}

int kini_segment_advance_put(struct kini_self *self, struct kini_queue_shm *queue, uint64_t at)
{
    uint64_t next = successor(self, at);
    if (next == 0) {
        if (kini_load_acq(&queue->flags) & KINI_QUEUE_SHUT)
            return -ESHUTDOWN;
        if (kini_load_acq(&queue->put_at) != at)
            return 0;
        int r = link_next(self, queue, at);
        if (r < 0)
            return r;
        next = successor(self, at);
    }
    if (next != 0)
        kini_cas(&queue->put_at, &at, next);
    return 0;
}

bool kini_queue_is_quiet(struct kini_self *self, struct kini_queue_shm *queue)
{
    for (struct kini_segment_shm *s = at_offset(self, kini_load_acq(&queue->all_segments));
         s != NULL; s = at_offset(self, kini_load(&s->all_next)))
        if (kini_load(&s->state) == KINI_SEGMENT_ACTIVE && !is_quiet(s))
            return false;
    return true;
}

void kini_queue_close_tail(struct kini_self *self, struct kini_queue_shm *queue)
{
    for (;;) {
        uint64_t at = kini_load_acq(&queue->put_at);
        struct kini_segment_shm *segment = kini_segment_of(self->arena, at);
        kini_solo_end(self, segment, true);
        uint64_t t = kini_load_acq(&segment->tail);
        if (!(t & KINI_TAIL_CLOSED)) {
            if (kini_cas_sc(&segment->tail, &t, t | KINI_TAIL_CLOSED))
                return;
        } else if (kini_load_acq(&segment->next) == 0) {
            return;
        } else {
            kini_segment_advance_put(self, queue, at);
        }
    }
}

void kini_ring_shut(struct kini_self *self, struct kini_queue_shm *queue, uint32_t flags)
{
    kini_ilock_lock(self, &queue->grow); /* nobody links a segment from here on */
    kini_or(&queue->flags, flags);
    kini_ilock_unlock(self, &queue->grow);
    kini_queue_close_tail(self, queue);
    kini_waitq_wake(self, &queue->putters, UINT32_MAX);
    kini_waitq_wake(self, &queue->getters, UINT32_MAX);
}

/* Nothing behind the last segment. Drained is said only when nobody is in the middle of taking
 * something: should that one die, it comes back, and somebody has to be there. */
static int at_the_end(struct kini_self *self, struct kini_queue_shm *queue, uint64_t at)
{
    if (kini_load_acq(&queue->get_at) != at)
        return 0;
    if (!(kini_load_acq(&queue->flags) & KINI_QUEUE_SHUT))
        return -EAGAIN;
    return kini_queue_is_quiet(self, queue) ? -ESHUTDOWN : -EAGAIN;
}

int kini_segment_advance_get(struct kini_self *self, struct kini_queue_shm *queue, uint64_t at)
{
    uint64_t next = successor(self, at);
    if (next == 0)
        return at_the_end(self, queue, at);
    /* The put side first: a segment that it may still stand on is not to become idle. */
    uint64_t put = kini_load_acq(&queue->put_at);
    if (put == at)
        kini_cas(&queue->put_at, &put, next);
    if (kini_cas(&queue->get_at, &at, next)) {
        kini_ilock_lock(self, &queue->grow);
        retire_old(self, queue);
        kini_ilock_unlock(self, &queue->grow);
    }
    return 0;
}
