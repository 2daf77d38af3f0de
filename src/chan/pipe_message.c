/* SPDX-License-Identifier: MIT
 * Pipes: messages. Room, and why its counters may be wrong: pipe_layout.h. */
#include "chan/message.h"
#include "chan/pipe.h"
#include "sync/wait.h"

#include <errno.h>
#include <kin/wait.h>
#include <stdlib.h>
#include <string.h>

#define ALLOC_FIRST 4096u

int kini_pipe_only_sends(void)
{
    return kini_fail_plain(-EBADF, "this end of a one-way pipe only sends");
}

int kini_pipe_only_receives(void)
{
    return kini_fail_plain(-EBADF, "this end of a one-way pipe only receives");
}

/* --- room ----------------------------------------------------------------------------------- */

static uint64_t sent_by_all(struct kini_pipe_direction_shm *direction)
{
    return kini_load(&direction->sent) + kini_load(&direction->sent_solo);
}

/* acq pairs with the raises in kini_pipe_get: the cells are released */
static uint64_t received_by_all(struct kini_pipe_direction_shm *direction)
{
    return kini_load_acq(&direction->received) + kini_load_acq(&direction->received_solo);
}

static bool fits(struct kini_pipe_direction_shm *direction, uint64_t received, uint64_t bytes,
                 uint64_t capacity)
{
    return (int64_t)(sent_by_all(direction) - received + bytes) <= (int64_t)capacity;
}

static bool is_empty(struct kini_self *self, struct kini_pipe_direction_shm *direction)
{
    return kini_queue_count(self, &direction->ring) == 0;
}

/* If the direction is empty, whatever the counters say, there is all the room. */
static void settle(struct kini_self *self, struct kini_pipe_direction_shm *direction)
{
    uint64_t received = received_by_all(direction), sent = kini_load(&direction->sent);
    uint64_t settled = received - kini_load(&direction->sent_solo);
    if (sent != settled && is_empty(self, direction))
        kini_cas(&direction->sent, &sent, settled);
}

static bool has_room(struct kini_self *self, struct kin_pipe *end, uint64_t bytes)
{
    struct kini_pipe_direction_shm *out = end->out;
    uint64_t capacity = end->pipe->capacity_bytes;
    if (kini_likely(fits(out, kini_load(&end->received_seen), bytes, capacity)))
        return true;
    uint64_t received = received_by_all(out);
    kini_store(&end->received_seen, received);
    if (fits(out, received, bytes, capacity))
        return true;
    if (!is_empty(self, out))
        return false;
    settle(self, out);
    return true;
}

int kini_pipe_may_send(struct kini_self *self, struct kin_pipe *end, uint64_t bytes)
{
    if (kini_unlikely(kini_load(&end->handle.closed) != 0))
        return -ESTALE;
    if (kini_unlikely(kini_load(&end->out->ring.flags) & KINI_QUEUE_SHUT))
        return kini_fail_plain(-EPIPE, "the other end of the pipe is closed");
    return kini_likely(has_room(self, end, bytes)) ? 0 : -EAGAIN;
}

int64_t kini_pipe_put(struct kini_self *self, struct kin_pipe *end,
                      const struct kini_message *message, uint64_t bytes)
{
    int64_t r = kini_solo_put(self, &end->out_ring, message);
    if (kini_likely(r == 0)) {
        kini_store(&end->out->sent_solo, kini_load(&end->out->sent_solo) + bytes);
        return 0;
    }
    if (r != KINI_SOLO_NOT)
        return r;
    r = kini_ring_put(self, &end->out_ring, message);
    if (kini_likely(r == 0))
        kini_add(&end->out->sent, bytes);
    else if (r == -ESHUTDOWN)
        return kini_fail_plain(-EPIPE, "the other end of the pipe is closed");
    return r;
}

int64_t kini_pipe_get(struct kini_self *self, struct kin_pipe *end, struct kini_taker *taker,
                      bool counts)
{
    struct kini_pipe_direction_shm *in = end->in;
    int64_t r = kini_solo_get(self, &end->in_ring, taker);
    if (kini_likely(r >= 0)) {
        uint64_t bytes = counts ? (uint64_t)r : 0;
        /* rel pairs with received_by_all */
        kini_store_rel(&in->received_solo, kini_load(&in->received_solo) + bytes);
        kini_waitq_wake_calm(self, &in->ring.putters, &end->in_ring.quiet, 1);
        return r;
    }
    if (r != KINI_SOLO_NOT)
        return r;
    r = kini_ring_get(self, &end->in_ring, taker);
    if (kini_likely(r >= 0)) {
        /* seq_cst: before the look at nwait. Pairs with the acquire in received_by_all */
        kini_add_sc(&in->received, counts ? (uint64_t)r : 0);
        kini_waitq_wake(self, &in->ring.putters, 1);
    }
    return r;
}

int64_t kini_pipe_peek(struct kini_self *self, struct kin_pipe *end)
{
    return kini_ring_peek(self, &end->in->ring, NULL, 0);
}

/* --- waiting -------------------------------------------------------------------------------- */

int64_t kini_pipe_wait_out(struct kini_self *self, struct kin_pipe *end, kin_deadline deadline,
                           kini_attempt_fn attempt, void *arg)
{
    int64_t r = attempt(self, arg);
    if (kini_likely(r != -EAGAIN) || deadline <= KIN_NOW)
        return r;
    struct kini_waitq_shm *queue = &end->out->ring.putters;
    kini_handle_begin_wait(self, &end->handle);
    r = kini_wait_for(self, queue, deadline, attempt, arg);
    /* Room for more than us may have come with one wake. */
    if (r >= 0 && kini_load(&queue->nwait) != 0 && has_room(self, end, 1))
        kini_waitq_wake(self, queue, 1);
    return kini_handle_end_wait(&end->handle, r);
}

int64_t kini_pipe_wait_in(struct kini_self *self, struct kin_pipe *end, kin_deadline deadline,
                          kini_attempt_fn attempt, void *arg)
{
    int64_t r = attempt(self, arg);
    if (r != -EAGAIN)
        return r;
    settle(self, end->in);
    if (deadline <= KIN_NOW)
        return r;
    struct kini_waitq_shm *queue = &end->in->ring.getters;
    kini_handle_begin_wait(self, &end->handle);
    r = kini_wait_for(self, queue, deadline, attempt, arg);
    /* Also if we only looked: somebody else may be here to take it. */
    if (r >= 0 && kini_load(&queue->nwait) != 0 && kini_pipe_peek(self, end) >= 0)
        kini_waitq_wake(self, queue, 1);
    return kini_handle_end_wait(&end->handle, r);
}

/* --- send ----------------------------------------------------------------------------------- */

struct send_call {
    struct kin_pipe *end;
    struct kini_message message;
};

static int64_t attempt_send(struct kini_self *self, void *arg)
{
    struct send_call *call = arg;
    int r = kini_pipe_may_send(self, call->end, call->message.bytes);
    if (kini_unlikely(r < 0))
        return r;
    return kini_pipe_put(self, call->end, &call->message, call->message.bytes);
}

/* A large message goes into a block of its own before anything is claimed. */
static int fill_block(struct kini_self *self, struct kini_message *message)
{
    if (message->data == NULL)
        return kini_fail(-EINVAL, "no data, but %llu bytes of it",
                         (unsigned long long)message->bytes);
    int r = kini_message_block(self, message->bytes, &message->block);
    if (r == 0)
        memcpy(kini_message_data(self->arena, message->block), message->data, message->bytes);
    return r;
}

static int send(struct kin_pipe *end, const void *data, size_t bytes, kin_deadline deadline)
{
    int r;
    struct kini_self *self = kini_pipe_enter(end, &r);
    if (kini_unlikely(self == NULL))
        return r;
    if (kini_unlikely(end->out == NULL))
        return kini_pipe_only_receives();
    struct send_call call = {.end = end, .message = {.data = data, .bytes = bytes}};
    if (bytes > end->out->ring.inline_bytes || (data == NULL && bytes > 0)) {
        r = fill_block(self, &call.message);
        if (r < 0)
            return r;
    }
    r = (int)kini_pipe_wait_out(self, end, deadline, attempt_send, &call);
    if (kini_unlikely(r < 0) && call.message.block != 0)
        kini_block_put(self, call.message.block);
    return r;
}

int kin_pipe_send(struct kin_pipe *end, const void *data, size_t bytes, kin_deadline deadline)
{
    int r = send(end, data, bytes, deadline);
    return kini_unlikely(r == -EAGAIN) ? -ETIMEDOUT : r;
}

int kin_pipe_try_send(struct kin_pipe *end, const void *data, size_t bytes)
{
    return send(end, data, bytes, KIN_NOW);
}

/* --- fill in place -------------------------------------------------------------------------- */

/* The calling thread, if the end sends. */
static struct kini_self *enter_to_send(struct kin_pipe *end, int *ret_error)
{
    struct kini_self *self = kini_pipe_enter(end, ret_error);
    if (self != NULL && end->out == NULL) {
        *ret_error = kini_pipe_only_receives();
        return NULL;
    }
    return self;
}

int kin_pipe_reserve(struct kin_pipe *end, size_t bytes, void **ret_data)
{
    int r;
    struct kini_self *self = enter_to_send(end, &r);
    return self == NULL ? r : kini_message_reserve(self, bytes, ret_data);
}

int kin_pipe_publish(struct kin_pipe *end, void *data, size_t bytes, kin_deadline deadline)
{
    int r;
    struct kini_self *self = enter_to_send(end, &r);
    struct send_call call = {.end = end};
    if (self == NULL || (r = kini_message_begin(self, data, bytes, &call.message)) < 0)
        return r;
    r = (int)kini_pipe_wait_out(self, end, deadline, attempt_send, &call);
    if (r < 0)
        kini_message_refused(self, &call.message);
    return r == -EAGAIN ? -ETIMEDOUT : r;
}

int kin_pipe_cancel(struct kin_pipe *end, void *data)
{
    int r;
    struct kini_self *self = enter_to_send(end, &r);
    return self == NULL ? r : kini_message_cancel(self, data);
}

/* --- receive -------------------------------------------------------------------------------- */

struct recv_call {
    struct kin_pipe *end;
    struct kini_taker taker;
};

/* What is next does not go into the buffer. 0: it does by now, somebody else took the first. */
static int64_t not_for_us(struct kini_self *self, struct recv_call *call)
{
    int64_t next = kini_pipe_peek(self, call->end);
    if (next < 0 || (uint64_t)next <= call->taker.capacity)
        return 0;
    if ((uint64_t)next & KINI_PIPE_FD)
        return kini_fail_plain(-ENOMSG, "a descriptor is next; kin_pipe_recv_fd takes it");
    return kini_fail(-EMSGSIZE, "the next message has %lld bytes, the buffer %llu", (long long)next,
                     (unsigned long long)call->taker.capacity);
}

static int64_t end_of_file(void)
{
    return kini_fail_plain(-ESHUTDOWN,
                           "end of file: the other end is closed, and all it sent was received");
}

static int64_t attempt_recv(struct kini_self *self, void *arg)
{
    struct recv_call *call = arg;
    if (kini_unlikely(kini_load(&call->end->handle.closed) != 0))
        return -ESTALE;
    int64_t r;
    do
        r = kini_pipe_get(self, call->end, &call->taker, true);
    while (kini_unlikely(r == -EMSGSIZE) && (r = not_for_us(self, call)) == 0);
    return kini_unlikely(r == -ESHUTDOWN) ? end_of_file() : r;
}

static int64_t receive(struct kin_pipe *end, void *buffer, size_t capacity, kin_deadline deadline)
{
    int error;
    struct kini_self *self = kini_pipe_enter(end, &error);
    if (kini_unlikely(self == NULL))
        return error;
    if (kini_unlikely(end->in == NULL))
        return kini_pipe_only_sends();
    uint64_t most = capacity < KINI_PIPE_FD ? capacity : KINI_PIPE_FD - 1;
    struct recv_call call = {.end = end, .taker = {.buffer = buffer, .capacity = most}};
    return kini_pipe_wait_in(self, end, deadline, attempt_recv, &call);
}

int64_t kin_pipe_recv(struct kin_pipe *end, void *buffer, size_t capacity, kin_deadline deadline)
{
    int64_t r = receive(end, buffer, capacity, deadline);
    return kini_unlikely(r == -EAGAIN) ? -ETIMEDOUT : r;
}

int64_t kin_pipe_try_recv(struct kin_pipe *end, void *buffer, size_t capacity)
{
    return receive(end, buffer, capacity, KIN_NOW);
}

int64_t kin_pipe_recv_alloc(struct kin_pipe *end, void **ret_data, kin_deadline deadline)
{
    size_t capacity = ALLOC_FIRST;
    for (;;) {
        void *buffer = malloc(capacity);
        if (buffer == NULL)
            return kini_fail(-ENOMEM, "no memory for a message of %zu bytes", capacity);
        int64_t r = kin_pipe_recv(end, buffer, capacity, deadline);
        if (r >= 0) {
            *ret_data = buffer;
            return r;
        }
        free(buffer);
        if (r != -EMSGSIZE)
            return r;
        int64_t next = kin_pipe_next_bytes(end);
        if (next > 0 && (size_t)next > capacity)
            capacity = (size_t)next;
    }
}

/* --- looking -------------------------------------------------------------------------------- */

int64_t kin_pipe_next_bytes(struct kin_pipe *end)
{
    int error;
    struct kini_self *self = kini_pipe_enter(end, &error);
    if (self == NULL)
        return error;
    if (end->in == NULL)
        return kini_pipe_only_sends();
    int64_t next = kini_pipe_peek(self, end);
    if (next == -ESHUTDOWN)
        return end_of_file();
    return next >= 0 && ((uint64_t)next & KINI_PIPE_FD)
               ? kini_fail_plain(-ENOMSG, "a descriptor is next; kin_pipe_recv_fd takes it")
               : next;
}

static int64_t attempt_poll(struct kini_self *self, void *arg)
{
    struct kin_pipe *end = arg;
    if (kini_unlikely(kini_load(&end->handle.closed) != 0))
        return -ESTALE;
    return kini_pipe_ready(self, end->handle.shm, KIN_WAIT_RECV) ? 1 : -EAGAIN;
}

int kin_pipe_poll(struct kin_pipe *end, kin_deadline deadline)
{
    int error;
    struct kini_self *self = kini_pipe_enter(end, &error);
    if (self == NULL)
        return error;
    if (end->in == NULL)
        return kini_pipe_only_sends();
    int64_t r = kini_pipe_wait_in(self, end, deadline, attempt_poll, end);
    return r == -ETIMEDOUT || r == -EAGAIN ? 0 : (int)r;
}

/* --- for a wait for any ---------------------------------------------------------------------- */

static struct kini_pipe_direction_shm *direction_of(struct kini_pipe_end_shm *end, uint32_t kind)
{
    return &kini_pipe_of(end)->directions[kind == KIN_WAIT_RECV ? end->number : 1 - end->number];
}

struct kini_waitq_shm *kini_pipe_waitq(void *memory, uint32_t kind)
{
    struct kini_queue_shm *ring = &direction_of(memory, kind)->ring;
    return kind == KIN_WAIT_RECV ? &ring->getters : &ring->putters;
}

int kini_pipe_ready(struct kini_self *self, void *memory, uint32_t kind)
{
    struct kini_pipe_end_shm *end = memory;
    struct kini_pipe_direction_shm *direction = direction_of(end, kind);
    struct kini_queue_shm *ring = &direction->ring;
    if (kini_load(&ring->all_segments) == 0)
        return kind == KIN_WAIT_RECV ? kini_pipe_only_sends() : kini_pipe_only_receives();
    if (kini_load_acq(&ring->flags) & KINI_QUEUE_SHUT)
        return 1;
    if (kind == KIN_WAIT_RECV)
        return kini_ring_peek(self, ring, NULL, 0) >= 0;
    uint64_t count = kini_queue_count(self, ring);
    const struct kini_segment_shm *segment =
        kini_segment_of(self->arena, kini_load_acq(&ring->put_at));
    return count == 0 || (count < segment->cap && fits(direction, received_by_all(direction), 1,
                                                       kini_pipe_of(end)->capacity_bytes));
}
