/* SPDX-License-Identifier: MIT
 * Pipes: ends that are opened by name, or were handed over at exec. How an end waits for the first
 * who opens it, and the crash states: pipe_layout.h. */
#include "arena/attach.h"
#include "chan/pipe.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define AGAIN       1 /* the pipe is going: try again */

/* --- what another process says of it ---------------------------------------------------------- */

static bool direction_is_good(const struct kin_arena *arena,
                              struct kini_pipe_direction_shm *direction, uint64_t at, bool has_fds)
{
    struct kini_queue_shm *ring = &direction->ring;
    return kini_ilock_is_good(arena, &direction->fd_send, KINI_ILOCK_NONE) &&
           kini_ilock_is_good(arena, &direction->fd_recv, KINI_ILOCK_NONE) && at % 8 == 0 &&
           kini_queue_head_is_good(arena, ring) &&
           (has_fds ? kini_ring_can_be_emptied(arena, ring, KINI_PIPE_FD)
                    : kini_segments_are_good(arena, ring));
}

/* The rest is looked at with an end. */
static bool pipe_is_good(const struct kin_arena *arena, void *memory)
{
    (void)arena;
    return (((struct kini_pipe_shm *)memory)->flags & ~(uint32_t)(KIN_ONE_WAY | KIN_PIPE_FDS)) == 0;
}

static bool directions_are_good(const struct kin_arena *arena, struct kini_pipe_shm *pipe)
{
    bool good = true;
    for (uint32_t i = 0; i < 2 && good; i++)
        good = (i == 1 && (pipe->flags & KIN_ONE_WAY)) ||
               direction_is_good(arena, &pipe->directions[i],
                                 kini_offset(arena, &pipe->directions[i].ring),
                                 pipe->flags & KIN_PIPE_FDS);
    return good;
}

static bool end_is_good(const struct kin_arena *arena, void *memory)
{
    struct kini_pipe_end_shm *end = memory;
    uint64_t pipe = kini_offset(arena, end) + (uint64_t)end->pipe_delta;
    return end->number < 2 &&
           kini_block_is_owned(arena, pipe, end->pipe_tag, sizeof(struct kini_pipe_shm)) &&
           kini_pipe_of(end)->end_tags[end->number] == end->tag &&
           pipe_is_good(arena, kini_pipe_of(end)) && directions_are_good(arena, kini_pipe_of(end));
}

static const struct kini_kind pipe_kind = {KINI_OBJECT_PIPE, sizeof(struct kini_handle),
                                           sizeof(struct kini_pipe_shm), pipe_is_good};
static const struct kini_kind end_kind = {KINI_OBJECT_PIPE_END, sizeof(struct kin_pipe),
                                          sizeof(struct kini_pipe_end_shm), end_is_good};

/* --- by name ---------------------------------------------------------------------------------- */

struct open_call {
    const char *name;
    struct kini_pipe_plan plan;
    bool find;
};

static int contradicts(const struct open_call *call, const struct kini_pipe_shm *pipe)
{
    const struct kin_pipe_opts *opts = &call->plan.opts;
    if (pipe->flags & KIN_PIPE_FDS)
        return kini_fail(-ENOTSUP,
                         "\"%s\" carries descriptors, in sockets that have no name: its "
                         "ends come with fork or kin_process_spawn only",
                         call->name);
    if (opts->flags != 0 && opts->flags != pipe->flags)
        return kini_handle_differs(call->name, "flags", opts->flags, pipe->flags);
    if (opts->capacity_bytes != 0 && opts->capacity_bytes != pipe->capacity_bytes)
        return kini_handle_differs(call->name, "capacity_bytes", opts->capacity_bytes,
                                   pipe->capacity_bytes);
    return 0;
}

/* Our end is closed. If the other one is too, or was never opened, the pipe is about to go. */
static int closed(struct kini_self *self, const struct open_call *call,
                  const struct kini_pipe_shm *pipe)
{
    uint32_t mine = pipe->end_tags[call->plan.side], other = pipe->end_tags[1 - call->plan.side];
    if (!kini_object_lives(self->arena, other) || kini_object_is_kept_by(self, other, mine))
        return AGAIN;
    return kini_fail(-EPIPE, "end %c of \"%s\" is closed: all who had it have closed it or died",
                     call->plan.side == KIN_PIPE_A ? 'a' : 'b', call->name);
}

/* The pipe is held. */
static int open_end(struct kini_self *self, const struct open_call *call,
                    const struct kini_pipe_shm *pipe, struct kin_pipe *end)
{
    int r = contradicts(call, pipe);
    if (r < 0)
        return r;
    uint32_t tag = pipe->end_tags[call->plan.side];
    r = kini_object_hold(self, tag, call->name);
    if (r < 0)
        return r == -ENOENT ? closed(self, call, pipe) : r;
    end->handle.id = tag & 0xffff;
    return kini_handle_bind(self, &end->handle, &end_kind, tag >> 16);
}

/* Ours since it was made, like the other one, which is to wait for somebody else. */
static void take_end(struct kini_self *self, const struct open_call *call,
                     const struct kini_pipe_shm *pipe, struct kin_pipe *end)
{
    end->handle.tag = pipe->end_tags[call->plan.side];
    end->handle.id = end->handle.tag & 0xffff;
    end->handle.shm = kini_end_of(self->arena, pipe, call->plan.side);
    kini_pipe_let_go(self, pipe->end_tags[1 - call->plan.side]);
}

static int try_open(struct kini_self *self, const struct open_call *call, struct kin_pipe *end)
{
    const struct kini_maker maker = kini_pipe_maker(&call->plan);
    struct kini_handle pipe = {.arena = self->arena};
    uint32_t gen;
    int r =
        kini_handle_find(self, &pipe_kind, call->name, call->find ? NULL : &maker, &pipe.id, &gen);
    if (r < 0)
        return r;
    int bound = kini_handle_bind(self, &pipe, &pipe_kind, gen);
    if (bound < 0)
        return bound;
    if (r == 0)
        take_end(self, call, pipe.shm, end);
    else
        r = open_end(self, call, pipe.shm, end);
    kini_pipe_let_go(self, pipe.tag); /* its ends keep it */
    return r;
}

/* No thread of ours forks meanwhile: its child would hold what nobody closes. */
static int try_unforked(struct kini_self *self, const struct open_call *call, struct kin_pipe *end)
{
    int r = kini_fork_begin();
    if (r < 0)
        return r;
    r = try_open(self, call, end);
    kini_fork_end();
    return r;
}

static int try_until(struct kini_self *self, const struct open_call *call, struct kin_pipe *end)
{
    const kin_deadline deadline = kin_after_ms(PATIENCE_MS);
    int r;
    while ((r = try_unforked(self, call, end)) == AGAIN) {
        if (kin_now_ns() >= deadline)
            return kini_fail(-EBUSY, "\"%s\" is being closed by a process that was stopped",
                             call->name);
        kini_reap_all(self->arena, true);
        usleep(20);
    }
    return r;
}

static int open_named(struct kin_arena *arena, struct open_call *call, struct kin_pipe **ret_end)
{
    if (call->name == NULL)
        return kini_fail(-EINVAL, "a pipe without a name cannot be found");
    if (call->plan.side > KIN_PIPE_B)
        return kini_fail(-EINVAL, "side is %u; it is KIN_PIPE_A or KIN_PIPE_B", call->plan.side);
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    struct kin_pipe *end = kini_pipe_handle(arena);
    if (end == NULL)
        return kini_fail(-ENOMEM, "no memory for the handle of a pipe");
    int r = try_until(self, call, end);
    if (r < 0) {
        free(end);
        return r;
    }
    kini_pipe_bind(end);
    *ret_end = end;
    return 0;
}

int kin_pipe_open(struct kin_arena *arena, const char *name, enum kin_pipe_side side,
                  const struct kin_pipe_opts *given, struct kin_pipe **ret_end)
{
    struct open_call call = {.name = name, .plan = {.side = side, .opens_one = true}};
    int r = kini_opts_copy(&call.plan.opts, sizeof call.plan.opts, given);
    if (r < 0 || (r = kini_pipe_check_opts(&call.plan.opts)) < 0)
        return r;
    if (call.plan.opts.flags & KIN_PIPE_FDS)
        return kini_fail(-ENOTSUP, "a pipe that is opened by name carries no descriptors: their "
                                   "sockets have no name");
    return open_named(arena, &call, ret_end);
}

int kin_pipe_find(struct kin_arena *arena, const char *name, enum kin_pipe_side side,
                  struct kin_pipe **ret_end)
{
    struct open_call call = {.name = name, .plan = {.side = side}, .find = true};
    return open_named(arena, &call, ret_end);
}

/* --- handed over ------------------------------------------------------------------------------ */

/* A copy: each handle closes its own. */
static int copy_socket(struct kin_pipe *end, uint32_t position)
{
    const struct kin_arena *arena = end->handle.arena;
    /* An end that came by its key has none. */
    int sock = position < arena->inherited_count ? arena->inherited_sockets[position] : -1;
    if (!(end->pipe->flags & KIN_PIPE_FDS))
        return 0;
    if (sock < 0)
        return kini_fail(-ENOTSUP,
                         "the pipe at position %u carries descriptors, and who handed it "
                         "over had no socket for them",
                         position);
    end->sock = kini_os_duplicate(sock);
    return end->sock < 0 ? kini_fail(end->sock, "no socket for the descriptors of a pipe: %s",
                                     kin_strerror(end->sock))
                         : 0;
}

int kin_pipe_inherit(struct kin_arena *arena, uint32_t position, struct kin_pipe **ret_end)
{
    struct kin_pipe *end;
    int r = kini_handle_open(arena, &end_kind, KINI_BY_POSITION(position), NULL, &end);
    if (r < 0)
        return r;
    end->sock = -1;
    kini_pipe_bind(end);
    r = copy_socket(end, position);
    if (r < 0) {
        end->sock = -1;
        kin_pipe_close(end);
        return r;
    }
    *ret_end = end;
    return 0;
}
