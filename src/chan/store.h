/* SPDX-License-Identifier: MIT
 * The store: every kind of queue that is not a plain ring. A heap of messages under a lock. */
#ifndef KINI_STORE_H
#define KINI_STORE_H

#include "chan/message.h"
#include "chan/ring.h"
#include "chan/store_layout.h"

static inline bool kini_queue_is_store(const struct kini_queue_shm *queue)
{
    return queue->store_off != 0; /* const after create */
}

/* Make the store of a queue whose header is filled in otherwise; sets store_off. Blocks are PRIVATE
 * to us until kini_store_give. */
int kini_store_create(struct kini_self *self, struct kini_queue_shm *queue, bool joinable);
void kini_store_discard(struct kini_self *self, struct kini_queue_shm *queue); /* not given yet */
void kini_store_give(struct kini_self *self, struct kini_queue_shm *queue);    /* to queue->tag */

/* As kini_ring_put and kini_ring_get. The message is in a block; nothing is inline. -EAGAIN also
 * means that others wait to put, longer than we do. */
int64_t kini_store_put(struct kini_self *self, struct kin_queue *queue,
                       const struct kini_message *message);
int64_t kini_store_get(struct kini_self *self, struct kin_queue *queue, struct kini_taker *taker);
/* A put waited in vain or was served: it is the turn of the next. */
void kini_store_pass_on(struct kini_self *self, struct kini_queue_shm *queue);

/* Done with a message that we have taken: it is got. Frees the block. */
void kini_store_finish(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block);
/* A message that somebody had taken who cannot act any more, if its header still says word. */
void kini_store_give_back(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block,
                          uint64_t word);

int64_t kini_store_peek(struct kini_self *self, struct kini_queue_shm *queue, void *buffer,
                        uint64_t capacity);
uint64_t kini_store_count(struct kini_self *self, struct kini_queue_shm *queue);
uint64_t kini_store_bytes(struct kini_self *self, struct kini_queue_shm *queue);

/* No more puts. drop: no more gets, and what is there counts as done. */
void kini_store_shut(struct kini_self *self, struct kini_queue_shm *queue, bool drop);

/* Whether what was found in the arena is a store, as far as can be told while others use it. */
bool kini_store_head_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue);
bool kini_store_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue);
void kini_store_repair(struct kini_self *self, struct kini_ilock_shm *lock);
void kini_store_destroy(struct kini_self *self, struct kini_queue_shm *queue);
void kini_store_holder_died(struct kini_self *self, struct kini_queue_shm *queue, uint32_t slot);

/* --- joinable.c ----------------------------------------------------------------------------- */

/* We are done with a message that we have taken: its block becomes PRIVATE to us. It is to be told
 * done by kin_queue_task_done, or is done by this. Without the lock. */
void kini_joinable_release(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block,
                           bool done);
/* What the participant has got is done. */
void kini_joinable_holder_died(struct kini_self *self, struct kini_queue_shm *queue, uint32_t slot);
void kini_joinable_finish(struct kini_self *self, struct kini_store_shm *store);

#endif
