/* SPDX-License-Identifier: MIT
 * The public queue: handles, waiting, large messages. */
#include <kin/wait.h>

#include "arena/ilock.h"
#include "base/bits.h"
#include "chan/ring.h"
#include "sync/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INLINE_DEFAULT 112u
#define INLINE_MOST    1008u
#define CAP_FIRST      256u
#define CAP_FIXED_MOST 65536u /* bounded queues up to this have one ring for ever */

/* --- create, destroy ------------------------------------------------------------------------ */

static int check_opts(const struct kin_queue_opts *opts)
{
    if (opts->inline_bytes > INLINE_MOST)
        return kini_fail(-EINVAL, "inline_bytes is %u; at most %u", opts->inline_bytes,
                         INLINE_MOST);
    if (opts->max_items > 1ull << 48)
        return kini_fail(-EINVAL, "max_items is %llu; at most 2^48",
                         (unsigned long long)opts->max_items);
    char name[32];
    return kini_name_copy(name, opts->name);
}

static void init_shared(struct kini_queue_shm *shm, const struct kin_queue_opts *opts)
{
    memset(shm, 0, sizeof *shm);
    uint32_t wanted = opts->inline_bytes ? opts->inline_bytes : INLINE_DEFAULT;
    shm->stride = (uint32_t)kini_round_up(sizeof(struct kini_cell_shm) + wanted, 64);
    shm->inline_bytes = shm->stride - sizeof(struct kini_cell_shm);
    shm->max_items = opts->max_items;
    shm->grows = opts->max_items == 0 || opts->max_items > CAP_FIXED_MOST;
    kini_ilock_init(&shm->grow, KINI_ILOCK_QUEUE);
    kini_waitq_init(&shm->getters, 0);
    kini_waitq_init(&shm->putters, 0);
}

/* All of it is private to us until the object exists, so a death on the way leaves only garbage for
 * the sweep. Then the blocks are given to the object: a death before that finds an object whose
 * only holder died, and destroy() makes both cases one. */
static int build(struct kini_self *self, struct kin_queue *queue, const struct kin_queue_opts *opts)
{
    uint64_t offset;
    int r = kini_block_get(self, sizeof(struct kini_queue_shm), &offset);
    if (r < 0)
        return r;
    struct kini_queue_shm *shm = kini_at(self->arena, offset);
    init_shared(shm, opts);
    uint64_t cap = shm->grows ? CAP_FIRST : kini_pow2_at_least(kini_max(opts->max_items, 2));
    struct kini_segment_shm *first = kini_segment_first(self, shm, cap, &r);
    if (first == NULL) {
        kini_block_put(self, offset);
        return r;
    }
    shm->counts = opts->max_items != 0 && (shm->grows || first->cap != opts->max_items);
    uint64_t at = KINI_AT_SEGMENT(kini_unit_of(self->arena, kini_offset(self->arena, first)), 0);
    kini_store(&shm->put_at, at);
    kini_store(&shm->get_at, at);
    kini_store(&shm->all_segments, kini_offset(self->arena, first));
    uint32_t gen;
    r = kini_object_create(self, KINI_OBJECT_QUEUE, offset, opts->name, &queue->handle.id, &gen);
    if (r < 0) {
        kini_block_put(self, kini_offset(self->arena, first));
        kini_block_put(self, offset);
        return r;
    }
    queue->handle.tag = shm->tag = kini_object_tag(queue->handle.id, gen);
    kini_block_give(self, kini_offset(self->arena, first), shm->tag);
    kini_block_give(self, offset, shm->tag);
    queue->handle.shm = queue->shm = shm;
    return 0;
}

int kin_queue_create(struct kin_arena *arena, const struct kin_queue_opts *given,
                     struct kin_queue **ret_queue)
{
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    struct kin_queue_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = check_opts(&opts)) < 0)
        return r;
    struct kin_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL)
        return kini_fail(-ENOMEM, "no memory for a queue handle");
    queue->handle.arena = arena;
    queue->handle.type = KINI_OBJECT_QUEUE;
    queue->handle.epoch = arena->epoch;
    r = build(self, queue, &opts);
    if (r < 0) {
        free(queue);
        return r;
    }
    *ret_queue = queue;
    return 0;
}

static inline struct kini_self *enter(struct kin_queue *queue, int *ret_error)
{
    return kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, ret_error);
}

void kin_queue_destroy(struct kin_queue *queue)
{
    kini_handle_close((struct kini_handle *)queue);
}

/* --- put ------------------------------------------------------------------------------------ */

struct put_call {
    struct kin_queue *queue;
    struct kini_message message;
};

static int64_t attempt_put(struct kini_self *self, void *arg)
{
    struct put_call *call = arg;
    if (kini_unlikely(kini_load(&call->queue->handle.closed) != 0))
        return -ESTALE;
    return kini_ring_put(self, call->queue, &call->message);
}

/* A large message goes into a block of its own before anything is claimed. */
static int make_message(struct kini_self *self, struct kin_queue *queue, const void *data,
                        size_t bytes, struct kini_message *ret_message)
{
    *ret_message = (struct kini_message){.data = data, .bytes = bytes};
    if (data == NULL && bytes > 0)
        return kini_fail(-EINVAL, "no data, but %zu bytes of it", bytes);
    if (bytes <= queue->shm->inline_bytes)
        return 0;
    if (bytes > self->arena->super->units_count * KINI_UNIT_BYTES - KINI_LARGE_PREFIX)
        return kini_fail(-EMSGSIZE, "a message of %zu bytes; the arena can hold at most %llu",
                         bytes,
                         (unsigned long long)(self->arena->super->units_count * KINI_UNIT_BYTES -
                                              KINI_LARGE_PREFIX));
    int r = kini_block_get(self, bytes, &ret_message->block);
    if (r == 0)
        memcpy(kini_at(self->arena, ret_message->block), data, bytes);
    return r;
}

static int put(struct kin_queue *queue, const void *data, size_t bytes, kin_deadline deadline,
               bool wait)
{
    int r;
    struct kini_self *self = enter(queue, &r);
    if (kini_unlikely(self == NULL))
        return r;
    struct put_call call = {.queue = queue};
    r = make_message(self, queue, data, bytes, &call.message);
    if (kini_unlikely(r < 0))
        return r;
    int64_t result = kini_ring_put(self, queue, &call.message);
    if (kini_unlikely(result == -EAGAIN && wait)) {
        kini_handle_begin_wait(self, &queue->handle);
        result = kini_wait_for(self, &queue->shm->putters, deadline, attempt_put, &call);
        /* Wakes that came while nobody could use them (cells are released in any order) are made
         * good by whoever is served. */
        if (result == 0 && kini_load(&queue->shm->putters.nwait) != 0 &&
            kini_queue_count(self, queue->shm) < queue->shm->max_items)
            kini_waitq_wake(self, &queue->shm->putters, 1);
        kini_handle_end_wait(&queue->handle, result);
    }
    if (result < 0 && call.message.block != 0)
        kini_block_put(self, call.message.block);
    return (int)result;
}

int kin_queue_put(struct kin_queue *queue, const void *data, size_t bytes, kin_deadline deadline)
{
    return put(queue, data, bytes, deadline, true);
}

int kin_queue_try_put(struct kin_queue *queue, const void *data, size_t bytes)
{
    return put(queue, data, bytes, KIN_NOW, false);
}

/* --- get ------------------------------------------------------------------------------------ */

struct get_call {
    struct kin_queue *queue;
    struct kini_taker taker;
};

static int64_t attempt_get(struct kini_self *self, void *arg)
{
    struct get_call *call = arg;
    if (kini_unlikely(kini_load(&call->queue->handle.closed) != 0))
        return -ESTALE;
    return kini_ring_get(self, call->queue, &call->taker);
}

static int64_t get(struct kin_queue *queue, void *buffer, size_t capacity, kin_deadline deadline,
                   bool wait)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    if (kini_unlikely(self == NULL))
        return error;
    struct get_call call = {.queue = queue, .taker = {.buffer = buffer, .capacity = capacity}};
    int64_t r = kini_ring_get(self, queue, &call.taker);
    if (kini_unlikely(r == -EAGAIN && wait)) {
        kini_handle_begin_wait(self, &queue->handle);
        r = kini_wait_for(self, &queue->shm->getters, deadline, attempt_get, &call);
        if (r >= 0 && kini_load(&queue->shm->getters.nwait) != 0 &&
            kini_queue_peek_bytes(self, queue->shm) >= 0)
            kini_waitq_wake(self, &queue->shm->getters, 1); /* as in put */
        kini_handle_end_wait(&queue->handle, r);
    }
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

int64_t kin_queue_next_bytes(struct kin_queue *queue)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    if (self == NULL)
        return error;
    return kini_queue_peek_bytes(self, queue->shm);
}

/* --- the rest ------------------------------------------------------------------------------- */

int kin_queue_shutdown(struct kin_queue *queue, enum kin_shutdown when)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    if (self == NULL)
        return error;
    struct kini_queue_shm *shm = queue->shm;
    kini_ilock_lock(self, &shm->grow); /* nobody links a segment from here on */
    kini_or(&shm->flags, when == KIN_AT_ONCE ? KINI_QUEUE_SHUT | KINI_QUEUE_DROP : KINI_QUEUE_SHUT);
    kini_ilock_unlock(self, &shm->grow);
    kini_queue_close_tail(self, shm);
    kini_waitq_wake(self, &shm->putters, UINT32_MAX);
    kini_waitq_wake(self, &shm->getters, UINT32_MAX);
    struct kini_taker drop = {.drop = true};
    while (when == KIN_AT_ONCE && kini_ring_get(self, queue, &drop) >= 0)
        ;
    return 0;
}

int64_t kin_queue_size(struct kin_queue *queue)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    if (self == NULL)
        return error;
    return (int64_t)kini_queue_count(self, queue->shm);
}

uint64_t kin_queue_max_items(const struct kin_queue *queue)
{
    return queue->shm->max_items;
}

/* --- for a wait for any ---------------------------------------------------------------------- */

struct kini_waitq_shm *kini_queue_waitq(void *memory, uint32_t kind)
{
    struct kini_queue_shm *shm = memory;
    return kind == KIN_WAIT_PUT ? &shm->putters : &shm->getters;
}

int kini_queue_ready(struct kini_self *self, void *memory, uint32_t kind)
{
    struct kini_queue_shm *shm = memory;
    if (kini_load_acq(&shm->flags) & KINI_QUEUE_SHUT)
        return 1;
    if (kind == KIN_WAIT_PUT)
        return shm->max_items == 0 || kini_queue_count(self, shm) < shm->max_items;
    return kini_queue_peek_bytes(self, shm) >= 0;
}
