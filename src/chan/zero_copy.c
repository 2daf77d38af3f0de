/* SPDX-License-Identifier: MIT
 * Messages that are filled and read in place. Reserved: the block is PRIVATE to the process. Taken:
 * it is TAKEN by it, so that it goes back to the queue if the process dies. */
#include "base/bits.h"
#include "chan/ring.h"
#include "sync/wait.h"

#include <errno.h>

/* The block of a message whose data the caller names, if this process has it in that state. */
static uint64_t block_of(struct kini_self *self, const void *data, uint32_t state, uint32_t tag)
{
    if (data == NULL)
        return 0;
    const char *prefix = (const char *)data - sizeof(struct kini_message_shm);
    uint64_t block = kini_block_check(self->arena, prefix);
    if (block == 0)
        return 0;
    uint64_t word = kini_load(&kini_block_header(self->arena, block)->word);
    return word == KINI_BLOCK_WORD(state, self->slot, tag) ? block : 0;
}

uint64_t kini_message_reserved(struct kini_self *self, const void *data)
{
    uint64_t block = block_of(self, data, KINI_BLOCK_PRIVATE, 0);
    bool good = block != 0 &&
                kini_load(&kini_message_of(self->arena, block)->next) == KINI_MESSAGE_RESERVED;
    return good ? block : 0;
}

/* --- reserved, of queues and pipes ------------------------------------------------------------ */

int kini_message_reserve(struct kini_self *self, uint64_t bytes, void **ret_data)
{
    uint64_t block;
    int r = kini_message_block(self, bytes, &block);
    if (r < 0)
        return r;
    kini_store(&kini_message_of(self->arena, block)->next, KINI_MESSAGE_RESERVED);
    *ret_data = kini_message_data(self->arena, block);
    return 0;
}

static int not_reserved(void)
{
    return kini_fail(-EINVAL, "the memory was not reserved, or is published already");
}

int kini_message_begin(struct kini_self *self, const void *data, uint64_t bytes,
                       struct kini_message *ret_message)
{
    uint64_t block = kini_message_reserved(self, data);
    if (block == 0)
        return not_reserved();
    uint64_t room = kini_block_room(self->arena, block) - sizeof(struct kini_message_shm);
    if (bytes > room)
        return kini_fail(-EINVAL, "a message of %llu bytes in memory for %llu",
                         (unsigned long long)bytes, (unsigned long long)room);
    struct kini_message_shm *prefix = kini_message_of(self->arena, block);
    *ret_message = (struct kini_message){.bytes = bytes, .block = block};
    prefix->bytes = bytes;
    prefix->order = 0; /* if it was kept, it may have had a key */
    kini_store(&prefix->next, 0);
    return 0;
}

void kini_message_refused(struct kini_self *self, const struct kini_message *message)
{
    kini_store(&kini_message_of(self->arena, message->block)->next, KINI_MESSAGE_RESERVED);
}

int kini_message_cancel(struct kini_self *self, const void *data)
{
    uint64_t block = kini_message_reserved(self, data);
    if (block == 0)
        return not_reserved();
    kini_block_put(self, block);
    return 0;
}

/* --- queues ----------------------------------------------------------------------------------- */

int kin_queue_reserve(struct kin_queue *queue, size_t bytes, void **ret_data)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    if (self == NULL)
        return r;
    r = kini_queue_check_bytes(queue->shm, bytes);
    return r < 0 ? r : kini_message_reserve(self, bytes, ret_data);
}

static int publish(struct kini_self *self, struct kin_queue *queue,
                   const struct kini_message *message, kin_deadline deadline)
{
    /* reserved from another queue? */
    int64_t put = kini_queue_check_bytes(queue->shm, message->bytes);
    if (put == 0)
        put = kini_queue_put_message(self, queue, message, deadline);
    if (put < 0)
        kini_message_refused(self, message);
    return (int)put;
}

int kin_queue_publish(struct kin_queue *queue, void *data, size_t bytes, kin_deadline deadline)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    struct kini_message message;
    if (self == NULL || (r = kini_message_begin(self, data, bytes, &message)) < 0)
        return r;
    return publish(self, queue, &message, deadline);
}

int kin_queue_publish_key(struct kin_queue *queue, void *data, size_t bytes,
                          const struct kin_queue_key *key, kin_deadline deadline)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    if (self == NULL || (r = kini_queue_check_key(queue, key)) < 0)
        return r;
    uint64_t both = kini_min(bytes, INT64_MAX) + KINI_KEY_ROOM(key->bytes);
    struct kini_message message;
    if ((r = kini_message_begin(self, data, both, &message)) < 0)
        return r;
    message.bytes = kini_message_of(self->arena, message.block)->bytes = bytes;
    message.priority = key->priority;
    message.has_key = key->bytes > 0;
    if (message.has_key)
        kini_message_set_key(self, message.block, key->data, (uint32_t)key->bytes);
    return publish(self, queue, &message, deadline);
}

int kin_queue_cancel(struct kin_queue *queue, void *data)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    return self == NULL ? r : kini_message_cancel(self, data);
}

int64_t kin_queue_take(struct kin_queue *queue, void **ret_data, kin_deadline deadline)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    if (self == NULL)
        return r;
    struct kini_taker taker = {.keep = true};
    /* for what lies in the ring: there must be no reason to fail once it is claimed */
    if (queue->shm->store_off == 0 &&
        (r = kini_message_block(self, queue->shm->inline_bytes, &taker.block)) < 0)
        return r;
    kini_store(&queue->takes, 1);
    int64_t bytes = kini_queue_get_message(self, queue, &taker, deadline);
    if (bytes >= 0)
        *ret_data = kini_message_data(self->arena, taker.block);
    else if (taker.block != 0)
        kini_block_put(self, taker.block);
    return bytes;
}

/* The message counts as got. Its block, PRIVATE to the calling thread's process; or 0. */
static uint64_t finish(struct kini_self *self, struct kin_queue *queue, const void *data)
{
    uint64_t block = block_of(self, data, KINI_BLOCK_TAKEN, queue->handle.tag);
    if (block == 0)
        (void)kini_fail(-EINVAL, "this process has not taken that message from this queue");
    else
        kini_queue_finish_block(self, queue, block);
    return block;
}

int kin_queue_release(struct kin_queue *queue, void *data)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    uint64_t block = self == NULL ? 0 : finish(self, queue, data);
    if (block == 0)
        return self == NULL ? r : -EINVAL;
    kini_block_put(self, block);
    return 0;
}

int kin_queue_keep(struct kin_queue *queue, void *data)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    uint64_t block = self == NULL ? 0 : finish(self, queue, data);
    if (block == 0)
        return self == NULL ? r : -EINVAL;
    kini_store(&kini_message_of(self->arena, block)->next, KINI_MESSAGE_RESERVED);
    return 0;
}
