/* SPDX-License-Identifier: MIT
 * The queue as one process sees it, and the operations that never wait. */
#ifndef KINI_RING_H
#define KINI_RING_H

#include <kin/queue.h>

#include "arena/arena.h"
#include "arena/block.h"
#include "chan/queue_layout.h"
#include "sync/handle.h"

struct kin_queue {
    struct kini_handle handle;
    struct kini_queue_shm *shm; /* handle.shm */
    kini_a64 head_seen; /* private: some earlier value of the head, to leave its line alone */
};

/* What a consumer wants done with the message it has claimed. */
struct kini_taker {
    void *buffer;
    uint64_t capacity;
    bool drop; /* no copy: the message is thrown away */
};

/* One message: its bytes, or a block (PRIVATE to us) that already holds them. */
struct kini_message {
    const void *data;
    uint64_t bytes;
    uint64_t block; /* payload offset; 0: inline */
};

/* 0, -EAGAIN full, -ESHUTDOWN, -ENOMEM and the like (no segment), -ENOTRECOVERABLE. On success the
 * block belongs to the queue. */
int64_t kini_ring_put(struct kini_self *self, struct kin_queue *queue,
                      const struct kini_message *message);
/* The length, -EAGAIN empty, -ESHUTDOWN, -EMSGSIZE. */
int64_t kini_ring_get(struct kini_self *self, struct kin_queue *queue, struct kini_taker *taker);

/* --- segment.c ------------------------------------------------------------------------------ */

struct kini_segment_shm *kini_segment_first(struct kini_self *self, struct kini_queue_shm *queue,
                                            uint64_t cap, int *ret_error);
/* The put side met a closed segment: go on to its successor, made if there is none. 0 to try again,
 * -ESHUTDOWN, -ENOMEM … */
int kini_segment_advance_put(struct kini_self *self, struct kini_queue_shm *queue, uint64_t at);
/* The get side met a closed and drained one. 0 to try again, -EAGAIN: nothing behind it. */
/* Shut down: close the tail for good, what was put before lies behind it. Idempotent. */
void kini_queue_close_tail(struct kini_self *self, struct kini_queue_shm *queue);
/* Whether nobody is in the middle of taking anything, and nothing waits to be delivered again. */
bool kini_queue_is_quiet(struct kini_self *self, struct kini_queue_shm *queue);
int kini_segment_advance_get(struct kini_self *self, struct kini_queue_shm *queue, uint64_t at);
void kini_queue_journal_repair(struct kini_self *self, struct kini_ilock_shm *lock);

static inline struct kini_segment_shm *kini_segment_of(const struct kin_arena *arena, uint64_t at)
{
    return kini_at(arena, kini_unit_offset(arena, KINI_AT_UNIT(at)) + KINI_LARGE_PREFIX);
}

static inline struct kini_cell_shm *kini_cell(struct kini_segment_shm *segment, uint64_t position)
{
    return (void *)(segment->cells + (position & (segment->cap - 1)) * segment->stride);
}

/* The cells that a producer will want next lie in the consumer's cache, and the locked instruction
 * that publishes would wait for them: ask early, for writing. Measured against other distances. */
static inline void kini_cell_prefetch(struct kini_segment_shm *segment, uint64_t position)
{
    if (segment->cap < 64)
        return;
    char *cell = (char *)kini_cell(segment, position + 6);
    __builtin_prefetch(cell, 1);
    __builtin_prefetch(cell + 64, 1);
}

/* Whether raw is the seq of a cell that is free for position in this life of the segment. */
static inline bool kini_cell_is_free(uint64_t raw, uint64_t position, uint64_t base, uint64_t cap)
{
    return raw == position || (raw < base && position < base + cap);
}

/* --- recover.c ------------------------------------------------------------------------------ */

/* Take a message that a dead consumer had claimed. As kini_ring_get; -EAGAIN: there is none. */
int64_t kini_ring_take_back(struct kini_self *self, struct kini_queue_shm *queue,
                            struct kini_taker *taker);
int64_t kini_ring_finish_take(struct kini_self *self, struct kini_cell_shm *cell,
                              struct kini_taker *taker);
/* Resolve the ring operation of a dead thread: 0 done, -EAGAIN a live thread is in the way. */
int kini_ring_repair(struct kini_self *self, struct kini_thread_shm *dead);
struct kini_waitq_shm *kini_queue_waitq(void *shm, uint32_t kind);
int kini_queue_ready(struct kini_self *self, void *shm, uint32_t kind);
void kini_queue_object_destroy(struct kini_self *self, uint64_t offset);
int64_t kini_queue_peek_bytes(struct kini_self *self, struct kini_queue_shm *queue);
uint64_t kini_queue_count_cells(struct kini_self *self, struct kini_queue_shm *queue,
                                uint64_t flag);
uint64_t kini_queue_count(struct kini_self *self, struct kini_queue_shm *queue);

/* --- intents -------------------------------------------------------------------------------- */

/* Announce before the claim. The segment and the position must belong together at every instant, so
 * a change of segment goes through "no operation". */
static inline void kini_intend(struct kini_self *self, uint64_t op, uint64_t position)
{
    struct kini_thread_shm *me = self->shm;
    if (kini_load(&me->op) != op) {
        kini_store_rel(&me->op, 0);
        kini_store_rel(&me->op_pos, position);
        kini_store_rel(&me->op, op);
    } else {
        kini_store_rel(&me->op_pos, position);
    }
    kini_compiler_barrier(); /* the claim's CAS is the hardware barrier */
}

static inline void kini_intent_won(struct kini_self *self, uint64_t position)
{
    kini_compiler_barrier();
    kini_store(&self->shm->op_pos, position | KINI_OP_WON);
    kini_compiler_barrier();
}

static inline void kini_intent_end(struct kini_self *self)
{
    /* rel: whoever misses the intent sees the cell that it was for as released; pairs with the
     * acquire loads in living_intent() */
    kini_store_rel(&self->shm->op, 0);
}

#endif
