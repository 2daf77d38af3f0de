/* SPDX-License-Identifier: MIT
 * Put and get of the public queue, ring or store: messages, waiting, the wakes that are owed. */
#include "arena/ilock.h"
#include "base/bits.h"
#include "chan/ring.h"
#include "chan/store.h"
#include "sync/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static inline struct kini_self *enter(struct kin_queue *queue, int *ret_error)
{
    return kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, ret_error);
}

/* --- put ------------------------------------------------------------------------------------ */

struct put_call {
    struct kin_queue *queue;
    const struct kini_message *message;
};

int64_t kini_queue_try_put(struct kini_self *self, struct kin_queue *queue,
                           const struct kini_message *message)
{
    if (kini_unlikely(kini_queue_is_store(queue->shm)))
        return kini_store_put(self, queue, message);
    return kini_ring_put(self, queue, message);
}

static int64_t attempt_put(struct kini_self *self, void *arg)
{
    struct put_call *call = arg;
    if (kini_unlikely(kini_load(&call->queue->handle.closed) != 0))
        return -ESTALE;
    return kini_queue_try_put(self, call->queue, call->message);
}

int64_t kini_queue_wait_put(struct kini_self *self, struct kin_queue *queue,
                            const struct kini_message *message, kin_deadline deadline)
{
    struct put_call call = {.queue = queue, .message = message};
    kini_handle_begin_wait(self, &queue->handle);
    int64_t r = kini_wait_for(self, &queue->shm->putters, deadline, attempt_put, &call);
    /* Wakes that came while nobody could use them (cells are released in any order) are made
     * good by whoever is served. In a store all wait for the first, whatever it came to. */
    if (kini_queue_is_store(queue->shm))
        kini_store_pass_on(self, queue->shm);
    else if (r == 0 && kini_load(&queue->shm->putters.nwait) != 0 &&
             kini_queue_count(self, queue->shm) < queue->shm->max_items)
        kini_waitq_wake(self, &queue->shm->putters, 1);
    return kini_handle_end_wait(&queue->handle, r);
}

int64_t kini_queue_put_message(struct kini_self *self, struct kin_queue *queue,
                               const struct kini_message *message, kin_deadline deadline)
{
    int64_t r = kini_queue_try_put(self, queue, message);
    if (kini_unlikely(r == -EAGAIN))
        r = kini_queue_wait_put(self, queue, message, deadline);
    return r;
}

int kini_queue_check_bytes(const struct kini_queue_shm *queue, uint64_t bytes)
{
    if (queue->max_bytes == 0 || bytes <= queue->max_bytes)
        return 0;
    return kini_fail(-EMSGSIZE, "a message of %llu bytes; the queue holds at most %llu",
                     (unsigned long long)bytes, (unsigned long long)queue->max_bytes);
}

/* A large message, or any in a store, goes into a block of its own before anything is claimed. */
int kini_queue_make_message(struct kini_self *self, struct kin_queue *queue, const void *data,
                            uint64_t bytes, struct kini_message *ret_message)
{
    *ret_message = (struct kini_message){.data = data, .bytes = bytes};
    if (data == NULL && bytes > 0)
        return kini_fail(-EINVAL, "no data, but %llu bytes of it", (unsigned long long)bytes);
    if (!kini_queue_is_store(queue->shm) && bytes <= queue->shm->inline_bytes)
        return 0;
    int r = kini_queue_check_bytes(queue->shm, bytes);
    if (r == 0)
        r = kini_message_block(self, bytes, &ret_message->block);
    if (r == 0 && bytes > 0)
        memcpy(kini_message_data(self->arena, ret_message->block), data, bytes);
    return r;
}

void kini_queue_drop_message(struct kini_self *self, const struct kini_message *message)
{
    if (message->block != 0)
        kini_block_put(self, message->block);
}

/* A message that was made; it is dropped if it could not be put. */
static inline int put_made(struct kini_self *self, struct kin_queue *queue,
                           const struct kini_message *message, kin_deadline deadline, bool wait)
{
    int64_t result = kini_queue_try_put(self, queue, message);
    if (kini_unlikely(result == -EAGAIN && wait))
        result = kini_queue_wait_put(self, queue, message, deadline);
    if (kini_unlikely(result < 0))
        kini_queue_drop_message(self, message);
    return (int)result;
}

static int put(struct kin_queue *queue, const void *data, size_t bytes, int64_t priority,
               kin_deadline deadline, bool wait)
{
    int r;
    struct kini_self *self = enter(queue, &r);
    if (kini_unlikely(self == NULL))
        return r;
    struct kini_message message;
    r = kini_queue_make_message(self, queue, data, bytes, &message);
    if (kini_unlikely(r < 0))
        return r;
    message.priority = priority;
    return put_made(self, queue, &message, deadline, wait);
}

int kin_queue_put(struct kin_queue *queue, const void *data, size_t bytes, kin_deadline deadline)
{
    return put(queue, data, bytes, 0, deadline, true);
}

int kin_queue_try_put(struct kin_queue *queue, const void *data, size_t bytes)
{
    return put(queue, data, bytes, 0, KIN_NOW, false);
}

static int check_priority(const struct kin_queue *queue)
{
    if (queue->shm->kind == KIN_PRIORITY)
        return 0;
    return kini_fail(-EINVAL, "a priority, but the queue was not created with KIN_PRIORITY");
}

int kini_queue_check_key(const struct kin_queue *queue, const struct kin_queue_key *key)
{
    if (key->data == NULL && key->bytes > 0)
        return kini_fail(-EINVAL, "no key, but %zu bytes of it", key->bytes);
    if (key->bytes > UINT32_MAX)
        return kini_fail(-EMSGSIZE, "a key of %zu bytes; at most %u", key->bytes, UINT32_MAX);
    return check_priority(queue);
}

int kin_queue_put_prio(struct kin_queue *queue, const void *data, size_t bytes, int64_t priority,
                       kin_deadline deadline)
{
    int r = check_priority(queue);
    return r < 0 ? r : put(queue, data, bytes, priority, deadline, deadline > KIN_NOW);
}

/* The message and its key are in one block, before anything is claimed. */
static int make_keyed(struct kini_self *self, struct kin_queue *queue, const void *data,
                      size_t bytes, const struct kin_queue_key *key,
                      struct kini_message *ret_message)
{
    if (data == NULL && bytes > 0)
        return kini_fail(-EINVAL, "no data, but %zu bytes of it", bytes);
    int r = kini_queue_check_bytes(queue->shm, bytes);
    if (r < 0)
        return r;
    *ret_message = (struct kini_message){
        .data = data, .bytes = bytes, .priority = key->priority, .has_key = key->bytes > 0};
    uint64_t room = KINI_KEY_ROOM(key->bytes);
    if ((r = kini_message_block(self, bytes + room, &ret_message->block)) < 0)
        return r;
    kini_message_of(self->arena, ret_message->block)->bytes = bytes;
    if (bytes > 0)
        memcpy(kini_message_data(self->arena, ret_message->block), data, bytes);
    if (room > 0)
        kini_message_set_key(self, ret_message->block, key->data, (uint32_t)key->bytes);
    return 0;
}

int kin_queue_put_key(struct kin_queue *queue, const void *data, size_t bytes,
                      const struct kin_queue_key *key, kin_deadline deadline)
{
    int r;
    struct kini_self *self = enter(queue, &r);
    if (self == NULL)
        return r;
    struct kini_message message;
    if ((r = kini_queue_check_key(queue, key)) < 0 ||
        (r = make_keyed(self, queue, data, bytes, key, &message)) < 0)
        return r;
    return put_made(self, queue, &message, deadline, deadline > KIN_NOW);
}

/* --- get ------------------------------------------------------------------------------------ */

struct get_call {
    struct kin_queue *queue;
    struct kini_taker *taker;
};

int64_t kini_queue_try_get(struct kini_self *self, struct kin_queue *queue,
                           struct kini_taker *taker)
{
    if (kini_unlikely(kini_queue_is_store(queue->shm)))
        return kini_store_get(self, queue, taker);
    return kini_ring_get(self, queue, taker);
}

static int64_t attempt_get(struct kini_self *self, void *arg)
{
    struct get_call *call = arg;
    if (kini_unlikely(kini_load(&call->queue->handle.closed) != 0))
        return -ESTALE;
    return kini_queue_try_get(self, call->queue, call->taker);
}

static bool has_something(struct kini_self *self, struct kini_queue_shm *queue)
{
    return kini_queue_is_store(queue) ? kini_store_count(self, queue) > 0
                                      : kini_ring_peek(self, queue, NULL, 0) >= 0;
}

int64_t kini_queue_wait_get(struct kini_self *self, struct kin_queue *queue,
                            struct kini_taker *taker, kin_deadline deadline)
{
    struct get_call call = {.queue = queue, .taker = taker};
    kini_handle_begin_wait(self, &queue->handle);
    int64_t r = kini_wait_for(self, &queue->shm->getters, deadline, attempt_get, &call);
    if (r >= 0 && kini_load(&queue->shm->getters.nwait) != 0 && has_something(self, queue->shm))
        kini_waitq_wake(self, &queue->shm->getters, 1); /* as in kini_queue_wait_put */
    return kini_handle_end_wait(&queue->handle, r);
}

int64_t kini_queue_get_message(struct kini_self *self, struct kin_queue *queue,
                               struct kini_taker *taker, kin_deadline deadline)
{
    int64_t r = kini_queue_try_get(self, queue, taker);
    if (kini_unlikely(r == -EAGAIN))
        r = kini_queue_wait_get(self, queue, taker, deadline);
    return r;
}

static int64_t get(struct kin_queue *queue, void *buffer, size_t capacity, kin_deadline deadline,
                   bool wait)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    if (kini_unlikely(self == NULL))
        return error;
    struct kini_taker taker = {.buffer = buffer, .capacity = capacity};
    int64_t r = kini_queue_try_get(self, queue, &taker);
    if (kini_unlikely(r == -EAGAIN && wait))
        r = kini_queue_wait_get(self, queue, &taker, deadline);
    if (kini_unlikely(r == -EMSGSIZE))
        kini_fail(-EMSGSIZE, "the next message is longer than the %zu bytes of the buffer",
                  capacity);
    return r;
}

int64_t kin_queue_get(struct kin_queue *queue, void *buffer, size_t capacity, kin_deadline deadline)
{
    return get(queue, buffer, capacity, deadline, true);
}

int64_t kin_queue_try_get(struct kin_queue *queue, void *buffer, size_t capacity)
{
    return get(queue, buffer, capacity, KIN_NOW, false);
}

int64_t kin_queue_get_alloc(struct kin_queue *queue, void **ret_data, kin_deadline deadline)
{
    size_t capacity = 4096;
    for (;;) {
        void *buffer = malloc(capacity);
        if (buffer == NULL)
            return kini_fail(-ENOMEM, "no memory for a message of %zu bytes", capacity);
        int64_t r = kin_queue_get(queue, buffer, capacity, deadline);
        if (r >= 0) {
            *ret_data = buffer;
            return r;
        }
        free(buffer);
        if (r != -EMSGSIZE)
            return r;
        int64_t next = kin_queue_next_bytes(queue);
        if (next > 0 && (size_t)next > capacity)
            capacity = (size_t)next;
    }
}

void kini_queue_finish_block(struct kini_self *self, struct kin_queue *queue, uint64_t block)
{
    if (kini_queue_is_store(queue->shm)) {
        kini_store_finish(self, queue->shm, block);
        return;
    }
    kini_block_adopt(self, block);
}
