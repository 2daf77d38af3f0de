/* SPDX-License-Identifier: MIT
 * The public queue: handles, waiting, large messages. */
#include <kin/wait.h>

#include "arena/attach.h"
#include "arena/ilock.h"
#include "base/bits.h"
#include "chan/ring.h"
#include "chan/store.h"
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
    if (opts->kind > KIN_PRIORITY)
        return kini_fail(-EINVAL, "kind is %u; it is a KIN_FIFO, KIN_LIFO or KIN_PRIORITY",
                         opts->kind);
    if (opts->joinable > 1)
        return kini_fail(-EINVAL, "joinable is %u; it can be 0 or 1", opts->joinable);
    char name[32];
    return kini_name_copy(name, opts->name);
}

static void init_shared(struct kini_queue_shm *shm, uint64_t offset,
                        const struct kin_queue_opts *opts)
{
    kini_ring_init(shm, offset, opts->inline_bytes ? opts->inline_bytes : INLINE_DEFAULT);
    shm->max_items = opts->max_items;
    shm->grows = opts->max_items == 0 || opts->max_items > CAP_FIXED_MOST;
    shm->kind = opts->kind;
    shm->max_bytes = opts->max_bytes;
}

static int make_ring(struct kini_self *self, struct kini_queue_shm *shm)
{
    uint64_t cap = shm->grows ? CAP_FIRST : kini_pow2_at_least(kini_max(shm->max_items, 2));
    int r = kini_ring_begin(self, shm, cap);
    if (r < 0)
        return r;
    const struct kini_segment_shm *first = kini_at(self->arena, kini_load(&shm->all_segments));
    shm->counts = shm->max_items != 0 && (shm->grows || first->cap != shm->max_items);
    return 0;
}

static int make_inside(struct kini_self *self, struct kini_queue_shm *shm,
                       const struct kin_queue_opts *opts)
{
    if (opts->kind == KIN_FIFO && opts->max_bytes == 0 && !opts->joinable)
        return make_ring(self, shm);
    shm->inline_bytes = 0;
    return kini_store_create(self, shm, opts->joinable);
}

/* All of it is private to us until the object exists, so a death on the way leaves only garbage for
 * the sweep. They become the object's before anybody can see it (arena/object.c). */
static int make(struct kini_self *self, const void *arg, uint64_t *ret_offset)
{
    const struct kin_queue_opts *opts = arg;
    uint64_t offset;
    int r = kini_block_get(self, sizeof(struct kini_queue_shm), &offset);
    if (r < 0)
        return r;
    struct kini_queue_shm *shm = kini_at(self->arena, offset);
    init_shared(shm, offset, opts);
    if ((r = make_inside(self, shm, opts)) < 0) {
        kini_block_put(self, offset);
        return r;
    }
    *ret_offset = offset;
    return 0;
}

/* The header's block itself is given and freed by the object table. */
static void own(struct kini_self *self, uint64_t offset, uint32_t tag)
{
    struct kini_queue_shm *shm = kini_at(self->arena, offset);
    shm->tag = tag;
    if (kini_queue_is_store(shm))
        kini_store_give(self, shm);
    else
        kini_ring_give(self, shm, tag);
}

static void unmake(struct kini_self *self, uint64_t offset)
{
    struct kini_queue_shm *shm = kini_at(self->arena, offset);
    if (kini_queue_is_store(shm))
        kini_store_discard(self, shm);
    else
        kini_block_put(self, kini_load(&shm->all_segments));
    kini_block_put(self, offset);
}

static int build(struct kini_self *self, struct kin_queue *queue, const struct kin_queue_opts *opts)
{
    struct kini_new_object new = {.type = KINI_OBJECT_QUEUE, .name = opts->name, .own = own};
    int r = make(self, opts, &new.offset);
    if (r < 0)
        return r;
    uint32_t gen;
    r = kini_object_create(self, &new, &queue->handle.id, &gen);
    if (r < 0) {
        unmake(self, new.offset);
        return r;
    }
    queue->handle.tag = kini_object_tag(queue->handle.id, gen);
    queue->handle.shm = queue->shm = kini_at(self->arena, new.offset);
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

/* --- by name -------------------------------------------------------------------------------- */

struct kini_queue_shm *kini_queue_at(const struct kin_arena *arena, uint64_t offset)
{
    return offset % 8 == 0 && kini_range_is_good(arena, offset, sizeof(struct kini_queue_shm))
               ? kini_at(arena, offset)
               : NULL;
}

static bool head_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue)
{
    return queue->kind <= KIN_PRIORITY &&
           kini_ilock_is_good(arena, &queue->grow, KINI_ILOCK_QUEUE) &&
           kini_waitq_is_good(arena, &queue->getters, 0) &&
           kini_waitq_is_good(arena, &queue->putters, KINI_WAITQ_ROOM) &&
           kini_returned_is_good(arena, queue) &&
           (!kini_queue_is_store(queue) || kini_store_head_is_good(arena, queue));
}

/* Others may be changing it while we look: what is damaged stays so. */
bool kini_queue_head_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue)
{
    for (int i = 0; i < KINI_LOOKS_AT_DAMAGE; i++) {
        if (head_is_good(arena, queue))
            return true;
        kini_pause();
    }
    return false;
}

static bool is_good(const struct kin_arena *arena, void *memory)
{
    struct kini_queue_shm *queue = memory;
    return kini_queue_head_is_good(arena, queue) &&
           (kini_queue_is_store(queue) ? kini_store_is_good(arena, queue)
                                       : kini_segments_are_good(arena, queue));
}

static const struct kini_kind by_name = {KINI_OBJECT_QUEUE, sizeof(struct kin_queue),
                                         sizeof(struct kini_queue_shm), is_good};

static int contradicts(const char *name, const struct kini_queue_shm *shm,
                       const struct kin_queue_opts *opts)
{
    if (opts->max_items != 0 && opts->max_items != shm->max_items)
        return kini_handle_differs(name, "max_items", opts->max_items, shm->max_items);
    if (opts->inline_bytes > shm->inline_bytes)
        return kini_handle_differs(name, "inline_bytes", opts->inline_bytes, shm->inline_bytes);
    if (opts->max_bytes != 0 && opts->max_bytes != shm->max_bytes)
        return kini_handle_differs(name, "max_bytes", opts->max_bytes, shm->max_bytes);
    if (opts->kind != KIN_FIFO && opts->kind != shm->kind)
        return kini_handle_differs(name, "kind", opts->kind, shm->kind);
    return 0;
}

static int open_which(struct kin_arena *arena, const struct kini_which *which,
                      const struct kin_queue_opts *given, bool find, struct kin_queue **ret_queue)
{
    struct kin_queue_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = check_opts(&opts)) < 0)
        return r;
    const struct kini_maker maker = {.make = make, .own = own, .unmake = unmake, .arg = &opts};
    struct kin_queue *queue;
    r = kini_handle_open(arena, &by_name, which, find ? NULL : &maker, &queue);
    if (r < 0)
        return r;
    queue->shm = queue->handle.shm;
    r = contradicts(which->name, queue->shm, &opts);
    if (r < 0)
        kin_queue_destroy(queue);
    else
        *ret_queue = queue;
    return r;
}

int kin_queue_open(struct kin_arena *arena, const char *name, const struct kin_queue_opts *opts,
                   struct kin_queue **ret_queue)
{
    return open_which(arena, KINI_BY_NAME(name), opts, false, ret_queue);
}

int kin_queue_find(struct kin_arena *arena, const char *name, struct kin_queue **ret_queue)
{
    return open_which(arena, KINI_BY_NAME(name), NULL, true, ret_queue);
}

int kin_queue_inherit(struct kin_arena *arena, uint32_t position, struct kin_queue **ret_queue)
{
    return open_which(arena, KINI_BY_POSITION(position), NULL, true, ret_queue);
}

static inline struct kini_self *enter(struct kin_queue *queue, int *ret_error)
{
    return kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, ret_error);
}

void kin_queue_destroy(struct kin_queue *queue)
{
    int error;
    struct kini_self *self = queue != NULL ? enter(queue, &error) : NULL;
    if (self != NULL && kini_load(&queue->takes) != 0) {
        kini_handle_send_away(self, &queue->handle); /* or one of them takes it again */
        kini_give_back(self, self->slot, queue->handle.tag);
    }
    kini_handle_close((struct kini_handle *)queue);
}

/* --- questions ------------------------------------------------------------------------------ */

static int64_t peek(struct kini_self *self, struct kini_queue_shm *shm, void *buffer,
                    uint64_t capacity)
{
    if (kini_load_acq(&shm->flags) & KINI_QUEUE_DROP)
        return -ESHUTDOWN;
    return kini_queue_is_store(shm) ? kini_store_peek(self, shm, buffer, capacity)
                                    : kini_ring_peek(self, shm, buffer, capacity);
}

int64_t kin_queue_next_bytes(struct kin_queue *queue)
{
    return kin_queue_peek(queue, NULL, 0);
}

int64_t kin_queue_peek(struct kin_queue *queue, void *buffer, size_t capacity)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    if (self == NULL)
        return error;
    if (buffer == NULL && capacity > 0)
        return kini_fail(-EINVAL, "no buffer, but %zu bytes of it", capacity);
    return peek(self, queue->shm, buffer, capacity);
}

static uint64_t count(struct kini_self *self, struct kini_queue_shm *shm)
{
    return kini_queue_is_store(shm) ? kini_store_count(self, shm) : kini_queue_count(self, shm);
}

static bool is_full(struct kini_self *self, struct kini_queue_shm *shm)
{
    return (shm->max_items != 0 && count(self, shm) >= shm->max_items) ||
           (shm->max_bytes != 0 && kini_store_bytes(self, shm) >= shm->max_bytes);
}

int64_t kin_queue_size(struct kin_queue *queue)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    return self == NULL ? error : (int64_t)count(self, queue->shm);
}

int64_t kin_queue_bytes(struct kin_queue *queue)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    if (self == NULL)
        return error;
    return (int64_t)(kini_queue_is_store(queue->shm) ? kini_store_bytes(self, queue->shm)
                                                     : kini_ring_bytes(self, queue->shm));
}

int kin_queue_is_empty(struct kin_queue *queue)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    return self == NULL ? error : count(self, queue->shm) == 0;
}

int kin_queue_is_full(struct kin_queue *queue)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    return self == NULL ? error : is_full(self, queue->shm);
}

uint64_t kin_queue_max_items(const struct kin_queue *queue)
{
    return queue->shm->max_items;
}

uint64_t kin_queue_max_bytes(const struct kin_queue *queue)
{
    return queue->shm->max_bytes;
}

enum kin_queue_kind kin_queue_kind(const struct kin_queue *queue)
{
    return (enum kin_queue_kind)queue->shm->kind;
}

/* --- shutdown ------------------------------------------------------------------------------- */

static void drop_ring(struct kini_self *self, struct kini_queue_shm *shm)
{
    struct kin_queue queue = {.handle.arena = self->arena, .shm = shm};
    struct kini_taker drop = {.drop = true};
    while (kini_ring_get(self, &queue, &drop) >= 0)
        ;
}

static void shut_ring(struct kini_self *self, struct kini_queue_shm *shm, bool drop)
{
    kini_ring_shut(self, shm, drop ? KINI_QUEUE_SHUT | KINI_QUEUE_DROP : KINI_QUEUE_SHUT);
    if (drop)
        drop_ring(self, shm);
}

int kin_queue_shutdown(struct kin_queue *queue, enum kin_shutdown when)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    if (self == NULL)
        return error;
    if (kini_queue_is_store(queue->shm))
        kini_store_shut(self, queue->shm, when == KIN_AT_ONCE);
    else
        shut_ring(self, queue->shm, when == KIN_AT_ONCE);
    return 0;
}

int kin_queue_is_shutdown(struct kin_queue *queue)
{
    int error;
    struct kini_self *self = enter(queue, &error);
    return self == NULL ? error : (kini_load_acq(&queue->shm->flags) & KINI_QUEUE_SHUT) != 0;
}

/* --- for the tables in src/types.c ----------------------------------------------------------- */

void kini_queue_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot)
{
    struct kini_queue_shm *shm = kini_queue_at(self->arena, offset);
    if (shm == NULL || !kini_queue_head_is_good(self->arena, shm))
        return; /* damaged */
    if (kini_queue_is_store(shm))
        kini_store_holder_died(self, shm, slot);
    else if ((kini_load_acq(&shm->flags) & KINI_QUEUE_DROP) &&
             kini_segments_are_good(self->arena, shm))
        drop_ring(self, shm); /* what has come back */
}

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
        return !is_full(self, shm);
    return kini_queue_is_store(shm) ? kini_store_count(self, shm) > 0
                                    : kini_ring_peek(self, shm, NULL, 0) >= 0;
}
