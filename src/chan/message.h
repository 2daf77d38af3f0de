/* SPDX-License-Identifier: MIT
 * Messages in blocks: what was taken and not released comes back to its queue. Layout and crash
 * states: queue_layout.h. */
#ifndef KINI_MESSAGE_H
#define KINI_MESSAGE_H

#include "arena/block.h"
#include "chan/queue_layout.h"

struct kini_taker;

static inline struct kini_message_shm *kini_message_of(const struct kin_arena *arena,
                                                       uint64_t block)
{
    return kini_at(arena, block);
}

static inline void *kini_message_data(const struct kin_arena *arena, uint64_t block)
{
    return kini_message_of(arena, block) + 1;
}

/* Whether a message, with its key, can lie at that offset, which may be anything: in a block that
 * has room for it. */
bool kini_message_is_whole(const struct kin_arena *arena, uint64_t block);

/* The key of a message that has one behind its bytes. */
const void *kini_message_key(const struct kin_arena *arena, uint64_t block, uint32_t *ret_bytes);
/* Negative: the key of a is the smaller one. */
int kini_message_compare_keys(const struct kin_arena *arena, uint64_t a, uint64_t b);

/* Whether a message goes before another: by priority, key, order. */
static inline bool kini_message_goes_before(const struct kin_arena *arena, uint64_t a, uint64_t b)
{
    const struct kini_message_shm *first = kini_message_of(arena, a);
    const struct kini_message_shm *second = kini_message_of(arena, b);
    int keys = 0;
    if (first->priority != second->priority)
        return first->priority < second->priority;
    if (first->order & second->order & KINI_ORDER_KEYED)
        keys = kini_message_compare_keys(arena, a, b);
    return keys != 0 ? keys < 0 : first->order < second->order;
}

/* The block of memory that this process has reserved, and whose data the caller names; or 0. */
uint64_t kini_message_reserved(struct kini_self *self, const void *data);

/* Memory for a message that is filled in place: reserved; about to be put, as *ret_message, and
 * reserved again if it could not be; given back. -EINVAL: not reserved, or too short. */
struct kini_message;
int kini_message_reserve(struct kini_self *self, uint64_t bytes, void **ret_data);
int kini_message_begin(struct kini_self *self, const void *data, uint64_t bytes,
                       struct kini_message *ret_message);
void kini_message_refused(struct kini_self *self, const struct kini_message *message);
int kini_message_cancel(struct kini_self *self, const void *data);

/* A block for a message of up to bytes bytes, PRIVATE to us. -EMSGSIZE: more than there can be. */
int kini_message_block(struct kini_self *self, uint64_t bytes, uint64_t *ret_block);
/* With a key: how much longer that makes the block; to be written when the bytes are known. */
#define KINI_KEY_ROOM(key_bytes) ((key_bytes) > 0 ? KIN_QUEUE_KEY_HEAD + (uint64_t)(key_bytes) : 0)
void kini_message_set_key(struct kini_self *self, uint64_t block, const void *key,
                          uint32_t key_bytes);

/* The block, ours until now or the queue's, is a message that we have taken. Before it leaves its
 * queue. */
void kini_message_take(struct kini_self *self, uint64_t block, uint32_t tag);
/* Copy a message that we have taken out and free it, or let the taker keep it. Returns its length.
 */
int64_t kini_message_deliver(struct kini_self *self, uint64_t block, struct kini_taker *taker);
/* The taker has the block instead of the one that it brought. */
void kini_message_keep(struct kini_self *self, uint64_t block, struct kini_taker *taker);

/* --- returned.c ----------------------------------------------------------------------------- */

void kini_returned_init(struct kini_queue_shm *queue, uint64_t queue_off);
/* Put a block into the list, by its priority and order, if its header still says word: TAKEN by who
 * cannot act any more. */
void kini_returned_insert(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block,
                          uint64_t word);
/* Whether the block is in the list, for those who alone may change it. */
bool kini_returned_has(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block);
/* Take the first: *ret_block is TAKEN by us. 0, -EAGAIN: there is none, -EMSGSIZE: it is longer
 * than the taker can have. */
int kini_returned_remove(struct kini_self *self, struct kini_queue_shm *queue,
                         const struct kini_taker *taker, uint64_t *ret_block);
/* Copy at most capacity bytes of the first and return its length, or -EAGAIN. */
int64_t kini_returned_peek(struct kini_self *self, struct kini_queue_shm *queue, void *buffer,
                           uint64_t capacity);
void kini_returned_repair(struct kini_self *self, struct kini_ilock_shm *lock);
void kini_queue_give_back(struct kini_self *self, uint64_t offset, uint64_t block, uint64_t word);
bool kini_returned_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue);
uint64_t kini_returned_bytes(struct kini_self *self, struct kini_queue_shm *queue);
/* Nobody holds the queue any more. */
void kini_returned_free(struct kini_self *self, struct kini_queue_shm *queue);

#endif
