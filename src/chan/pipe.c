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

static int begin_ring(struct kini_self *self, struct kini_queue_shm *ring)
{
    int r = kini_ring_begin(self, ring, RING_CELLS);
    if (r == 0)
        kini_solo_offer(kini_segment_of(self->arena, kini_load(&ring->put_at)));
    return r;
}

static int fill_pipe(struct kini_self *self, struct kini_pipe_shm *pipe,
                     const struct kin_pipe_opts *opts)
{
    int r = 0;
    pipe->capacity_bytes = opts->capacity_bytes ? opts->capacity_bytes : CAPACITY_DEFAULT;
    pipe->flags = opts->flags;
    for (uint32_t i = 0; i < 2 && r == 0; i++) {
        struct kini_pipe_direction_shm *direction = &pipe->directions[i];
        kini_ilock_init(&direction->fd_send, KINI_ILOCK_NONE);
        kini_ilock_init(&direction->fd_recv, KINI_ILOCK_NONE);
        kini_ring_init(&direction->ring, kini_offset(self->arena, &direction->ring), INLINE_BYTES);
        if (i == 0 || !(opts->flags & KIN_ONE_WAY))
            r = begin_ring(self, &direction->ring);
    }
    return r;
}

static void own_end(struct kini_self *self, uint64_t offset, uint32_t tag)
{
    ((struct kini_pipe_end_shm *)kini_at(self->arena, offset))->tag = tag;
}

/* An object that we hold, and that is closed with us: it keeps no pipe yet. */
static int make_end(struct kini_self *self, struct kini_pipe_shm *pipe, uint32_t number)
{
    struct kini_pipe_end_shm *end = NULL;
    struct kini_new_object new = {.type = KINI_OBJECT_PIPE_END, .own = own_end};
    uint32_t id, gen;
    int r = take_block(self, sizeof *end, &end);
    if (r < 0)
        return r;
    end->pipe_delta = (char *)pipe - (char *)end;
    end->number = number;
    new.offset = kini_offset(self->arena, end);
    r = kini_object_create(self, &new, &id, &gen);
    if (r < 0)
        kini_block_put(self, new.offset);
    else
        pipe->end_tags[number] = kini_object_tag(id, gen);
    return r;
}

void kini_pipe_let_go(struct kini_self *self, uint32_t tag)
{
    const uint32_t id = tag & 0xffff;
    pthread_mutex_lock(&self->arena->mutex); /* a fork must not copy our holds in the middle */
    if (kini_object_let_go(self->arena, id))
        kini_object_drop(self, id);
    pthread_mutex_unlock(&self->arena->mutex);
}

static void unmake(struct kini_self *self, uint64_t offset)
{
    struct kini_pipe_shm *pipe = kini_at(self->arena, offset);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t segment = kini_load(&pipe->directions[i].ring.all_segments);
        if (pipe->end_tags[i] != 0)
            kini_pipe_let_go(self, pipe->end_tags[i]);
        if (segment != 0)
            kini_block_put(self, segment);
    }
    kini_block_put(self, offset);
}

/* Both ends are ours, and nobody knows them; the blocks of the pipe are private. */
static int make(struct kini_self *self, const void *arg, uint64_t *ret_offset)
{
    const struct kini_pipe_plan *plan = arg;
    struct kini_pipe_shm *pipe = NULL;
    int r = take_block(self, sizeof *pipe, &pipe);
    if (r < 0)
        return r;
    r = fill_pipe(self, pipe, &plan->opts);
    for (uint32_t i = 0; i < 2 && r == 0; i++)
        r = make_end(self, pipe, i);
    *ret_offset = kini_offset(self->arena, pipe);
    if (r < 0)
        unmake(self, *ret_offset);
    else if (plan->opens_one)
        kini_object_keep(self, pipe->end_tags[1 - plan->side], pipe->end_tags[plan->side]);
    return r;
}

/* From here on the ends keep it. The block at the offset itself is given by the object table. */
static void own(struct kini_self *self, uint64_t offset, uint32_t tag)
{
    struct kini_pipe_shm *pipe = kini_at(self->arena, offset);
    for (uint32_t i = 0; i < 2; i++)
        if (kini_load(&pipe->directions[i].ring.all_segments) != 0)
            kini_ring_give(self, &pipe->directions[i].ring, tag);
    for (uint32_t i = 0; i < 2; i++) {
        kini_end_of(self->arena, pipe, i)->pipe_tag = tag;
        kini_object_keep(self, tag, pipe->end_tags[i]);
    }
}

struct kini_maker kini_pipe_maker(const struct kini_pipe_plan *plan)
{
    return (struct kini_maker){.make = make, .own = own, .unmake = unmake, .arg = plan};
}

static void bind_ring(struct kin_pipe *end, struct kin_queue *ring,
                      struct kini_pipe_direction_shm *direction)
{
    ring->handle.arena = end->handle.arena;
    ring->handle.shm = ring->shm = &direction->ring;
    ring->handle.tag = direction->ring.tag;
}

void kini_pipe_bind(struct kin_pipe *end)
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
                 const struct kini_pipe_plan *plan)
{
    struct kini_new_object new = {.type = KINI_OBJECT_PIPE, .name = plan->opts.name, .own = own};
    uint32_t id, gen;
    int r = make(self, plan, &new.offset);
    if (r < 0)
        return r;
    r = kini_object_create(self, &new, &id, &gen);
    if (r < 0) {
        unmake(self, new.offset);
        return r;
    }
    for (uint32_t i = 0; i < 2; i++) {
        struct kini_pipe_shm *pipe = kini_at(self->arena, new.offset);
        ends[i]->handle.tag = pipe->end_tags[i];
        ends[i]->handle.id = pipe->end_tags[i] & 0xffff;
        ends[i]->handle.shm = kini_end_of(self->arena, pipe, i);
        kini_pipe_bind(ends[i]);
    }
    kini_pipe_let_go(self, kini_object_tag(id, gen)); /* from here on the ends keep it */
    return 0;
}

struct kin_pipe *kini_pipe_handle(struct kin_arena *arena)
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

int kini_pipe_check_opts(const struct kin_pipe_opts *opts)
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

/* No thread of ours forks meanwhile: its child would hold what nobody closes. */
static int build_unforked(struct kini_self *self, struct kin_pipe *const ends[2],
                          const struct kini_pipe_plan *plan)
{
    int r = kini_fork_begin();
    if (r < 0)
        return r;
    r = build(self, ends, plan);
    kini_fork_end();
    return r;
}

int kin_pipe_create(struct kin_arena *arena, const struct kin_pipe_opts *given,
                    struct kin_pipe **ret_a, struct kin_pipe **ret_b)
{
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    struct kini_pipe_plan plan = {.opens_one = false};
    int r = kini_opts_copy(&plan.opts, sizeof plan.opts, given);
    if (r < 0 || (r = kini_pipe_check_opts(&plan.opts)) < 0)
        return r;
    struct kin_pipe *const ends[2] = {kini_pipe_handle(arena), kini_pipe_handle(arena)};
    if (ends[0] == NULL || ends[1] == NULL)
        r = kini_fail(-ENOMEM, "no memory for the handles of a pipe");
    if (r == 0 && (plan.opts.flags & KIN_PIPE_FDS))
        r = open_sockets(ends);
    if (r == 0)
        r = build_unforked(self, ends, &plan);
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

void kin_pipe_interrupt(struct kin_pipe *end)
{
    int error;
    struct kini_self *self = end == NULL ? NULL : kini_pipe_enter(end, &error);
    if (self != NULL)
        kini_handle_send_away(self, &end->handle);
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
