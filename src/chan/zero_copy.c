/* SPDX-License-Identifier: MIT
 * Messages that are filled and read in place. Reserved: the block is PRIVATE to the process. Taken:
 * it is TAKEN by it, so that it goes back to the queue if the process dies. */
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

int kin_queue_reserve(struct kin_queue *queue, size_t bytes, void **ret_data)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    if (self == NULL)
        return r;
    uint64_t block;
    if ((r = kini_queue_check_bytes(queue->shm, bytes)) < 0 ||
        (r = kini_message_block(self, bytes, &block)) < 0)
        return r;
    kini_store(&kini_message_of(self->arena, block)->next, KINI_MESSAGE_RESERVED);
    *ret_data = kini_message_data(self->arena, block);
    return 0;
}

int kin_queue_publish(struct kin_queue *queue, void *data, size_t bytes, kin_deadline deadline)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    if (self == NULL)
        return r;
    uint64_t block = kini_message_reserved(self, data);
    if (block == 0)
        return kini_fail(-EINVAL, "the memory was not reserved, or is published already");
    uint64_t room = kini_block_room(self->arena, block) - sizeof(struct kini_message_shm);
    if (bytes > room)
        return kini_fail(-EINVAL, "a message of %zu bytes in memory for %llu", bytes,
                         (unsigned long long)room);
    if ((r = kini_queue_check_bytes(queue->shm, bytes)) < 0)
        return r; /* reserved from another queue */
    struct kini_message_shm *prefix = kini_message_of(self->arena, block);
    struct kini_message message = {.bytes = bytes, .block = block};
    prefix->bytes = bytes;
    kini_store(&prefix->next, 0);
    int64_t put = kini_queue_put_message(self, queue, &message, deadline);
    if (put < 0)
        kini_store(&prefix->next, KINI_MESSAGE_RESERVED);
    return (int)put;
}

int kin_queue_cancel(struct kin_queue *queue, void *data)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    if (self == NULL)
        return r;
    uint64_t block = kini_message_reserved(self, data);
    if (block == 0)
        return kini_fail(-EINVAL, "the memory was not reserved, or is published already");
    kini_block_put(self, block);
    return 0;
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

int kin_queue_release(struct kin_queue *queue, void *data)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    if (self == NULL)
        return r;
    uint64_t block = block_of(self, data, KINI_BLOCK_TAKEN, queue->handle.tag);
    if (block == 0)
        return kini_fail(-EINVAL, "this process has not taken that message from this queue");
    kini_queue_finish_block(self, queue, block);
    kini_block_put(self, block);
    return 0;
}

int kin_queue_keep(struct kin_queue *queue, void *data)
{
    int r;
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, &r);
    if (self == NULL)
        return r;
    uint64_t block = block_of(self, data, KINI_BLOCK_TAKEN, queue->handle.tag);
    if (block == 0)
        return kini_fail(-EINVAL, "this process has not taken that message from this queue");
    kini_queue_finish_block(self, queue, block);
    kini_store(&kini_message_of(self->arena, block)->next, KINI_MESSAGE_RESERVED);
    return 0;
}
