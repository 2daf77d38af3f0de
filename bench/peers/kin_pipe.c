/* SPDX-License-Identifier: MIT
 * kin's pipe, as a program uses it: send and receive with no deadline, default options. One way,
 * like every channel here, so the two ends are one channel. */
#include <errno.h>
#include <stdlib.h>

#include <kin/kin.h>

#include "lib/bench.h"
#include "peers/loops.h"

struct channel {
    struct kin_pipe *out, *in;
};

/* All pipes that are open at a time live in one arena. */
static struct kin_arena *arena;
static int arena_users;

static void *pipe_open(const struct peer_opts *opts)
{
    const struct kin_pipe_opts pipe_opts = {.flags = KIN_ONE_WAY};
    struct channel *channel = malloc(sizeof *channel);
    (void)opts;
    if (channel == NULL)
        bench_die("no memory");
    if (arena_users++ == 0)
        bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_pipe_create(arena, &pipe_opts, &channel->in, &channel->out), "kin_pipe_create");
    return channel;
}

static void pipe_close(void *arg)
{
    struct channel *channel = arg;
    kin_pipe_close(channel->in);
    kin_pipe_close(channel->out);
    free(channel);
    if (--arena_users == 0)
        kin_arena_detach(arena);
}

static void pipe_put(void *channel, const void *data, size_t bytes)
{
    int r = kin_pipe_send(((struct channel *)channel)->out, data, bytes, KIN_NEVER);
    if (__builtin_expect(r < 0, 0))
        bench_must(r, "kin_pipe_send");
}

static void pipe_get(void *channel, void *buffer, size_t bytes)
{
    int64_t r = kin_pipe_recv(((struct channel *)channel)->in, buffer, bytes, KIN_NEVER);
    if (__builtin_expect(r != (int64_t)bytes, 0))
        bench_must(r < 0 ? r : -EPROTO, "kin_pipe_recv");
}

static void pipe_poll(void *channel, void *buffer, size_t bytes)
{
    int64_t r;
    while ((r = kin_pipe_try_recv(((struct channel *)channel)->in, buffer, bytes)) == -EAGAIN)
        ;
    if (__builtin_expect(r != (int64_t)bytes, 0))
        bench_must(r < 0 ? r : -EPROTO, "kin_pipe_try_recv");
}

PEER_STREAMS(pipe, pipe_put, pipe_get)
PEER_PINGS(pipe, pipe_put, pipe_poll)

const struct peer peer_kin_pipe = {"kin pipe", pipe_open,    pipe_close, pipe_put, pipe_get,
                                   pipe_send,  pipe_receive, pipe_ping,  pipe_echo};
const struct peer peer_kin_pipe_polled = {
    .name = "kin pipe", .open = pipe_open, .close = pipe_close, .put = pipe_put, .get = pipe_poll};
