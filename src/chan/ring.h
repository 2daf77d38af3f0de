/* SPDX-License-Identifier: MIT
 * The queue as one process sees it, and the operations that never wait. */
#ifndef KINI_RING_H
#define KINI_RING_H

#include <kin/queue.h>

#include "arena/arena.h"
#include "arena/block.h"
#include "chan/message.h"
#include "chan/queue_layout.h"
#include "sync/handle.h"

struct kin_queue {
    struct kini_handle handle;
    struct kini_queue_shm *shm; /* handle.shm */
    kini_a64 head_seen; /* private: some earlier value of the head, to leave its line alone */
    kini_a32 quiet;     /* private: of kini_waitq_wake_calm */
    kini_a32 takes;     /* 1: messages were taken in place, and some may not be released yet */
};

/* What a consumer wants done with the message it has claimed: copied into buffer, or nothing of
 * that. */
struct kini_taker {
    void *buffer;
    uint64_t capacity;
    uint64_t least; /* shorter ones are not for us: they stay, -EMSGSIZE */
    bool drop;      /* no copy: the message is thrown away */
    bool keep;      /* no copy: its block stays, TAKEN by us */
    uint64_t block; /* keep: out, the block. In: one of ours for a message that lies in the ring */
};

static inline bool kini_taker_refuses(const struct kini_taker *taker, uint64_t bytes)
{
    return kini_unlikely(bytes < taker->least ||
                         (bytes > taker->capacity && !taker->drop && !taker->keep));
}

/* One message: its bytes, or a block (PRIVATE to us) that already holds them. */
struct kini_message {
    const void *data;
    uint64_t bytes;
    uint64_t block;   /* payload offset: struct kini_message_shm, data; 0: inline */
    int64_t priority; /* stores only, like the next */
    bool has_key;     /* it is in the block: KINI_ORDER_KEYED */
};

/* 0, -EAGAIN full, -ESHUTDOWN, -ENOMEM and the like (no segment), -ENOTRECOVERABLE. On success the
 * block belongs to the queue. */
int64_t kini_ring_put(struct kini_self *self, struct kin_queue *queue,
                      const struct kini_message *message);
/* The length, -EAGAIN empty, -ESHUTDOWN, -EMSGSIZE. */
int64_t kini_ring_get(struct kini_self *self, struct kin_queue *queue, struct kini_taker *taker);

/* The parts of a put, for batches. How many of wanted a queue that is bounded by counting has room
 * for, when its tail is t. */
uint64_t kini_ring_room(struct kini_self *self, struct kin_queue *queue,
                        struct kini_segment_shm *segment, uint64_t t, uint64_t wanted);
void kini_ring_fill(struct kini_self *self, struct kini_segment_shm *segment,
                    struct kini_cell_shm *cell, uint64_t t, const struct kini_message *message);
/* Our cell is not as we left it: no operation any more, -ENOTRECOVERABLE. */
int kini_ring_fenced(struct kini_self *self);

/* --- solo.c: one thread has a side for itself --------------------------------------------------
 */

/* Not by this path: nothing was done, the general one answers. */
#define KINI_SOLO_NOT INT64_MIN

/* Of a ring that nobody uses yet: its sides are for who comes first. */
void kini_solo_offer(struct kini_segment_shm *segment);
/* As kini_ring_put and kini_ring_get, or KINI_SOLO_NOT. */
int64_t kini_solo_put(struct kini_self *self, struct kin_queue *queue,
                      const struct kini_message *message);
int64_t kini_solo_get(struct kini_self *self, struct kin_queue *queue, struct kini_taker *taker);
/* From now on the side is everybody's: the general path begins where its owner stands. */
void kini_solo_end_slow(struct kini_self *self, struct kini_segment_shm *segment, bool puts);

static inline void kini_solo_end(struct kini_self *self, struct kini_segment_shm *segment,
                                 bool puts)
{
    struct kini_solo_shm *solo = puts ? &segment->put_solo : &segment->get_solo;
    if (kini_unlikely(kini_load_acq(&solo->owner) != 0)) /* pairs with the end of end_slow */
        kini_solo_end_slow(self, segment, puts);
}

/* --- batch.c -------------------------------------------------------------------------------- */

#define KINI_BATCH_MOST 256u /* positions in one claim: what an intent can name */

/* Where a batch goes. */
struct kini_basket {
    struct kin_item *items;
    uint32_t count; /* items at most */
    uint32_t taken; /* out: so many were */
    char *buffer;
    uint64_t capacity, used;
};

/* Whether another item may go in: also one of no bytes lies on a place of its own, aligned. */
bool kini_basket_is_open(const struct kini_basket *basket);
/* The next free place of the buffer; what has been copied there is an item. */
struct kini_taker kini_basket_place(struct kini_basket *basket);
void kini_basket_add(struct kini_basket *basket, const struct kini_taker *taker, int64_t bytes);
/* How many were put: at least one, or what kini_ring_put says about the first. The blocks of those
 * belong to the queue. -ENOTRECOVERABLE: nothing is known of any. */
int64_t kini_ring_put_many(struct kini_self *self, struct kin_queue *queue,
                           const struct kini_message *messages, uint32_t count);
/* How many were taken: at least one, or what kini_ring_get says about the first. */
int64_t kini_ring_get_many(struct kini_self *self, struct kin_queue *queue,
                           struct kini_basket *basket);

/* --- transfer.c: ring or store ------------------------------------------------------------- */

/* Whether a message of so many bytes can ever be in the queue: 0 or -EMSGSIZE, with both sizes. */
int kini_queue_check_bytes(const struct kini_queue_shm *queue, uint64_t bytes);
/* Whether the queue is one of priorities, and the key can be one. */
int kini_queue_check_key(const struct kin_queue *queue, const struct kin_queue_key *key);
/* The message that the caller's bytes make: a large one is copied into a block. Given up again with
 * kini_queue_drop_message if it was not put. */
int kini_queue_make_message(struct kini_self *self, struct kin_queue *queue, const void *data,
                            uint64_t bytes, struct kini_message *ret_message);
void kini_queue_drop_message(struct kini_self *self, const struct kini_message *message);

/* One attempt, as kini_ring_put and kini_ring_get. */
int64_t kini_queue_try_put(struct kini_self *self, struct kin_queue *queue,
                           const struct kini_message *message);
int64_t kini_queue_try_get(struct kini_self *self, struct kin_queue *queue,
                           struct kini_taker *taker);
/* After an attempt that answered -EAGAIN: wait, until the deadline (-ETIMEDOUT). */
int64_t kini_queue_wait_put(struct kini_self *self, struct kin_queue *queue,
                            const struct kini_message *message, kin_deadline deadline);
int64_t kini_queue_wait_get(struct kini_self *self, struct kin_queue *queue,
                            struct kini_taker *taker, kin_deadline deadline);
/* Both. On an error the message's block is still the caller's. */
int64_t kini_queue_put_message(struct kini_self *self, struct kin_queue *queue,
                               const struct kini_message *message, kin_deadline deadline);
int64_t kini_queue_get_message(struct kini_self *self, struct kin_queue *queue,
                               struct kini_taker *taker, kin_deadline deadline);
/* A message that was taken in place counts as got: its block is PRIVATE to us. */
void kini_queue_finish_block(struct kini_self *self, struct kin_queue *queue, uint64_t block);

/* --- segment.c ------------------------------------------------------------------------------ */

/* The header, zeroed but for what every ring has. */
void kini_ring_init(struct kini_queue_shm *queue, uint64_t queue_off, uint32_t inline_bytes);
/* Its first segment of at least cap cells, PRIVATE to us until kini_ring_give. */
int kini_ring_begin(struct kini_self *self, struct kini_queue_shm *queue, uint64_t cap);
void kini_ring_give(struct kini_self *self, struct kini_queue_shm *queue, uint32_t tag);
/* No more puts (flags: enum kini_queue_flag), and everybody who waits is told. Idempotent. */
void kini_ring_shut(struct kini_self *self, struct kini_queue_shm *queue, uint32_t flags);
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

/* The positions that come next, whoever writes them: `at` of a side's owner is ahead of the word of
 * the general path until that begins where it stopped, and behind it from then on. */
static inline uint64_t kini_tail(struct kini_segment_shm *segment)
{
    uint64_t tail = kini_load_acq(&segment->tail), at = kini_load_acq(&segment->put_solo.at);
    return at > (tail & KINI_TAIL_POSITION) ? at : tail;
}

static inline uint64_t kini_head(struct kini_segment_shm *segment)
{
    uint64_t head = kini_load_acq(&segment->head), at = kini_load_acq(&segment->get_solo.at);
    return at > head ? at : head;
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

/* Whether something may be there to be delivered again, ahead of the rest. */
static inline bool kini_has_returned(struct kini_queue_shm *queue)
{
    /* acq pairs with the raise of back_made in repair_get, and with count_again */
    return kini_load_acq(&queue->back_made) != kini_load(&queue->back_seen) ||
           kini_load_acq(&queue->returned_count) != 0;
}

/* Whether raw is the seq of a cell that is free for position in this life of the segment. */
static inline bool kini_cell_is_free(uint64_t raw, uint64_t position, uint64_t base, uint64_t cap)
{
    return raw == position || (raw < base && position < base + cap);
}

/* A ring of max_items cells is full when they are, save for what has come back beside it. */
static inline bool kini_ring_must_count(struct kini_queue_shm *shm)
{
    return shm->counts ||
           (shm->max_items != 0 && kini_unlikely(kini_load(&shm->returned_count) != 0));
}

/* --- recover.c ------------------------------------------------------------------------------ */

/* Take a message that a dead consumer had claimed. As kini_ring_get; -EAGAIN: there is none. */
int64_t kini_ring_take_back(struct kini_self *self, struct kini_queue_shm *queue,
                            struct kini_taker *taker);
uint64_t kini_ring_finish_take(struct kini_self *self, struct kini_cell_shm *cell, uint64_t p,
                               uint32_t tag, struct kini_taker *taker);
void kini_ring_end_take(struct kini_self *self, uint64_t block, struct kini_taker *taker);
bool kini_ring_pass_tombstone(struct kini_self *self, struct kini_queue_shm *queue);
/* Resolve the ring operation of a dead thread: 0 done, -EAGAIN a live thread is in the way. */
int kini_ring_repair(struct kini_self *self, struct kini_thread_shm *dead);
struct kini_waitq_shm *kini_queue_waitq(void *shm, uint32_t kind);
int kini_queue_ready(struct kini_self *self, void *shm, uint32_t kind);
/* The queue at an offset that may be anything; NULL: there is no block for one. */
struct kini_queue_shm *kini_queue_at(const struct kin_arena *arena, uint64_t offset);
/* How often to look again at what others may be changing, before it is called damaged. */
#define KINI_LOOKS_AT_DAMAGE 20
/* Its locks and lists, without what is in it. */
bool kini_queue_head_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue);
/* The segment at an offset that may be anything; NULL: there is none. */
struct kini_segment_shm *kini_segment_at(const struct kin_arena *arena, uint64_t offset);
bool kini_queue_chain_is_good(const struct kin_arena *arena, const struct kini_queue_shm *queue);
/* Whether the segment of the put side can be found, and those after it. */
bool kini_ring_tail_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue);
/* For what was found in the arena: whether it can be a queue. */
bool kini_segments_are_good(const struct kin_arena *arena, struct kini_queue_shm *queue);
/* The same, but of the cells those alone where there is something to get. A length with the mark
 * is something else. */
bool kini_ring_can_be_emptied(const struct kin_arena *arena, struct kini_queue_shm *queue,
                              uint64_t mark);
void kini_queue_object_destroy(struct kini_self *self, uint64_t offset);
void kini_queue_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot);
struct kini_cell_shm *kini_ring_oldest_back(struct kini_self *self, struct kini_queue_shm *queue,
                                            struct kini_segment_shm **ret_segment,
                                            uint64_t *ret_seq);
/* Copy at most capacity bytes of what the next get would take and return its length, or -EAGAIN. */
int64_t kini_ring_peek(struct kini_self *self, struct kini_queue_shm *queue, void *buffer,
                       uint64_t capacity);
uint64_t kini_ring_bytes(struct kini_self *self, struct kini_queue_shm *queue);
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
