/* SPDX-License-Identifier: MIT
 * Pipes: create, close, and what the object table calls. Layout and crash states: pipe_layout.h. */
#include "chan/pipe.h"
#include "arena/ilock.h"

#include <errno.h>
#include <kin/wait.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_DEFAULT (1ull << 20)
#define RING_CELLS       512u
#define INLINE_BYTES     112u

/* --- create --------------------------------------------------------------------------------- */

/* Blocks that are PRIVATE to us, until they belong to an object. */
struct parts {
    struct kini_pipe_shm *pipe;
    struct kini_pipe_end_shm *ends[2];
    uint32_t pipe_id; /* 0: there is no object yet */
};

static int take_block(struct kini_self *self, uint64_t bytes, void *ret_block)
{
    uint64_t offset;
    int r = kini_block_get(self, bytes, &offset);
    if (r == 0) {
        void *block = memset(kini_at(self->arena, offset), 0, bytes);
        memcpy(ret_block, &block, sizeof block);
    }
    return r;
}

static int make_pipe(struct kini_self *self, struct parts *parts, const struct kin_pipe_opts *opts)
{
    int r = take_block(self, sizeof *parts->pipe, &parts->pipe);
    if (r < 0)
        return r;
    parts->pipe->capacity_bytes = opts->capacity_bytes ? opts->capacity_bytes : CAPACITY_DEFAULT;
    parts->pipe->flags = opts->flags;
    for (uint32_t i = 0; i < 2 && r == 0; i++) {
        struct kini_pipe_direction_shm *direction = &parts->pipe->directions[i];
        kini_ilock_init(&direction->fd_send, KINI_ILOCK_NONE);
        kini_ilock_init(&direction->fd_recv, KINI_ILOCK_NONE);
        kini_ring_init(&direction->ring, kini_offset(self->arena, &direction->ring), INLINE_BYTES);
        if (i == 0 || !(opts->flags & KIN_ONE_WAY))
            r = kini_ring_begin(self, &direction->ring, RING_CELLS);
    }
    for (uint32_t i = 0; i < 2 && r == 0; i++) {
        r = take_block(self, sizeof *parts->ends[i], &parts->ends[i]);
        if (r == 0) {
            parts->ends[i]->pipe_delta = (char *)parts->pipe - (char *)parts->ends[i];
            parts->ends[i]->number = i;
        }
    }
    return r;
}

static void free_parts(struct kini_self *self, const struct parts *parts)
{
    for (uint32_t i = 0; i < 2; i++)
        if (parts->ends[i] != NULL)
            kini_block_put(self, kini_offset(self->arena, parts->ends[i]));
    if (parts->pipe == NULL)
        return;
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t segment = kini_load(&parts->pipe->directions[i].ring.all_segments);
        if (segment != 0)
            kini_block_put(self, segment);
    }
    kini_block_put(self, kini_offset(self->arena, parts->pipe));
}

/* The blocks at the offsets themselves are given by the object table. */
static void own_pipe(struct kini_self *self, uint64_t offset, uint32_t tag)
{
    struct kini_pipe_shm *pipe = kini_at(self->arena, offset);
    for (uint32_t i = 0; i < 2; i++)
        if (kini_load(&pipe->directions[i].ring.all_segments) != 0)
            kini_ring_give(self, &pipe->directions[i].ring, tag);
}

static void own_end(struct kini_self *self, uint64_t offset, uint32_t tag)
{
    ((struct kini_pipe_end_shm *)kini_at(self->arena, offset))->tag = tag;
}

static int make_object(struct kini_self *self, uint32_t type, const void *shm, const char *name,
                       uint32_t *ret_id, uint32_t *ret_tag)
{
    uint32_t gen;
    const struct kini_new_object new = {.type = type,
                                        .name = name,
                                        .offset = kini_offset(self->arena, shm),
                                        .own = type == KINI_OBJECT_PIPE ? own_pipe : own_end};
    int r = kini_object_create(self, &new, ret_id, &gen);
    if (r == 0)
        *ret_tag = kini_object_tag(*ret_id, gen);
    return r;
}

/* The pipe first, held by us: what is not whole yet goes with us. Moves from parts what belongs to
 * objects. */
static int make_objects(struct kini_self *self, struct parts *parts, struct kin_pipe *const ends[2],
                        const char *name)
{
    uint32_t tag = 0;
    int r = make_object(self, KINI_OBJECT_PIPE, parts->pipe, name, &parts->pipe_id, &tag);
    if (r < 0)
        return r;
    parts->pipe = NULL;
    for (uint32_t i = 0; i < 2; i++) {
        struct kini_handle *handle = &ends[i]->handle;
        struct kini_pipe_end_shm *end = parts->ends[i];
        end->pipe_tag = tag;
        r = make_object(self, KINI_OBJECT_PIPE_END, end, NULL, &handle->id, &handle->tag);
        if (r < 0)
            return r;
        handle->shm = end;
        parts->ends[i] = NULL;
        kini_object_keep(self, tag, handle->tag);
    }
    return 0;
}

static void drop_object(struct kini_self *self, uint32_t id)
{
    pthread_mutex_lock(&self->arena->mutex); /* a fork must not copy our holds in the middle */
    kini_object_drop(self, id);
    pthread_mutex_unlock(&self->arena->mutex);
}

static void bind_ring(struct kin_pipe *end, struct kin_queue *ring,
                      struct kini_pipe_direction_shm *direction)
{
    ring->handle.arena = end->handle.arena;
    ring->handle.shm = ring->shm = &direction->ring;
    ring->handle.tag = direction->ring.tag;
}

/* The handle of an end whose object is there. */
static void bind(struct kin_pipe *end)
{
    struct kini_pipe_end_shm *shm = end->handle.shm;
    struct kini_pipe_shm *pipe = end->pipe = kini_pipe_of(shm);
    bool one_way = pipe->flags & KIN_ONE_WAY;
    end->in = one_way && shm->number == 1 ? NULL : &pipe->directions[shm->number];
    end->out = one_way && shm->number == 0 ? NULL : &pipe->directions[1 - shm->number];
    if (end->in != NULL)
        bind_ring(end, &end->in_ring, end->in);
    if (end->out != NULL)
        bind_ring(end, &end->out_ring, end->out);
}

static int build(struct kini_self *self, struct kin_pipe *const ends[2],
                 const struct kin_pipe_opts *opts)
{
    struct parts parts = {0};
    int r = make_pipe(self, &parts, opts);
    if (r == 0)
        r = make_objects(self, &parts, ends, opts->name);
    if (r == 0) {
        bind(ends[0]);
        bind(ends[1]);
    } else {
        free_parts(self, &parts);
        if (ends[0]->handle.shm != NULL)
            drop_object(self, ends[0]->handle.id);
    }
    if (parts.pipe_id != 0)
        drop_object(self, parts.pipe_id); /* from here on the ends keep it */
    return r;
}

static struct kin_pipe *make_handle(struct kin_arena *arena)
{
    struct kin_pipe *end = calloc(1, sizeof *end);
    if (end == NULL)
        return NULL;
    end->handle.arena = arena;
    end->handle.type = KINI_OBJECT_PIPE_END;
    end->handle.epoch = arena->epoch;
    end->sock = -1;
    return end;
}

static int open_sockets(struct kin_pipe *const ends[2])
{
    int sockets[2];
    int r = kini_os_channel_create(sockets);
    if (r < 0)
        return kini_fail(r, "no sockets for the descriptors of a pipe: %s", kin_strerror(r));
    ends[0]->sock = sockets[0];
    ends[1]->sock = sockets[1];
    return 0;
}

static void free_handle(struct kin_pipe *end)
{
    if (end != NULL && end->sock >= 0)
        kini_os_close(end->sock);
    free(end);
}

static int check_opts(const struct kin_pipe_opts *opts)
{
    char name[32];
    if (opts->flags & ~(uint32_t)(KIN_ONE_WAY | KIN_PIPE_FDS))
        return kini_fail(-EINVAL, "flags are %#x; KIN_ONE_WAY and KIN_PIPE_FDS are known",
                         opts->flags);
    if (opts->capacity_bytes > 1ull << 48)
        return kini_fail(-EINVAL, "capacity_bytes is %llu; at most 2^48",
                         (unsigned long long)opts->capacity_bytes);
    return kini_name_copy(name, opts->name);
}

int kin_pipe_create(struct kin_arena *arena, const struct kin_pipe_opts *given,
                    struct kin_pipe **ret_a, struct kin_pipe **ret_b)
{
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    struct kin_pipe_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = check_opts(&opts)) < 0)
        return r;
    struct kin_pipe *const ends[2] = {make_handle(arena), make_handle(arena)};
    if (ends[0] == NULL || ends[1] == NULL)
        r = kini_fail(-ENOMEM, "no memory for the handles of a pipe");
    if (r == 0 && (opts.flags & KIN_PIPE_FDS))
        r = open_sockets(ends);
    if (r == 0)
        r = build(self, ends, &opts);
    if (r < 0) {
        free_handle(ends[0]);
        free_handle(ends[1]);
        return r;
    }
    *ret_a = ends[0];
    *ret_b = ends[1];
    return 0;
}

void kin_pipe_close(struct kin_pipe *end)
{
    if (end == NULL || end->handle.type != KINI_OBJECT_PIPE_END)
        return;
    int sock = end->sock;
    kini_handle_close(&end->handle);
    if (sock >= 0)
        kini_os_close(sock);
}

/* --- the end -------------------------------------------------------------------------------- */

/* Nobody receives any more: what is there is thrown away, to give its memory back now. Where others
 * still put, the look may see damage that is none: then it goes with the pipe. */
static void discard(struct kini_self *self, struct kini_queue_shm *ring)
{
    if (!kini_ring_can_be_emptied(self->arena, ring, KINI_PIPE_FD))
        return;
    struct kin_queue queue = {.handle = {.arena = self->arena, .shm = ring}, .shm = ring};
    struct kini_taker drop = {.drop = true};
    while (kini_ring_get(self, &queue, &drop) >= 0)
        ;
}

/* There is a ring, and its tail can be found: no more is asked of it, and no more looked at. */
static bool may_shut(struct kini_self *self, struct kini_queue_shm *ring)
{
    return kini_load(&ring->all_segments) != 0 && kini_queue_head_is_good(self->arena, ring) &&
           kini_ring_tail_is_good(self->arena, ring);
}

void kini_pipe_end_destroy(struct kini_self *self, uint64_t offset)
{
    struct kini_pipe_end_shm *end = kini_at(self->arena, offset);
    if (!kini_object_is_kept_by(self, end->pipe_tag, end->tag))
        return; /* its creator died: there is no other end */
    struct kini_pipe_shm *pipe = kini_pipe_of(end);
    if (!kini_block_has(self->arena, kini_offset(self->arena, pipe), sizeof *pipe) ||
        end->number > 1)
        return; /* damaged */
    struct kini_queue_shm *in = &pipe->directions[end->number].ring;
    struct kini_queue_shm *out = &pipe->directions[1 - end->number].ring;
    bool sends = may_shut(self, out), receives = may_shut(self, in);
    if (receives) /* first: who has read to the end is not to send any more */
        kini_ring_shut(self, in, KINI_QUEUE_SHUT | KINI_QUEUE_DROP);
    if (sends)
        kini_ring_shut(self, out, KINI_QUEUE_SHUT);
    if (receives)
        discard(self, in);
}

void kini_pipe_object_destroy(struct kini_self *self, uint64_t offset)
{
    struct kini_pipe_shm *pipe = kini_at(self->arena, offset);
    for (uint32_t i = 0; i < 2 && kini_block_has(self->arena, offset, sizeof *pipe); i++)
        kini_queue_object_destroy(self, kini_offset(self->arena, &pipe->directions[i].ring));
}
