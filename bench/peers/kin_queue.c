/* SPDX-License-Identifier: MIT
 * kin's queue, as a program uses it: put and get with no deadline, default options. */
#include <errno.h>
#include <stdlib.h>

#include <kin/kin.h>

#include "lib/bench.h"
#include "peers/loops.h"

/* All queues that are open at a time live in one arena. */
static struct kin_arena *arena;
static int arena_users;

static void *open_queue(const struct peer_opts *opts, uint32_t inline_bytes)
{
    struct kin_queue_opts queue_opts = {.max_items = opts->depth, .inline_bytes = inline_bytes};
    struct kin_queue *queue;
    if (arena_users++ == 0)
        bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_queue_create(arena, &queue_opts, &queue), "kin_queue_create");
    return queue;
}

static void *kin_open(const struct peer_opts *opts)
{
    return open_queue(opts, 0);
}

static void *kin_small_open(const struct peer_opts *opts)
{
    return open_queue(opts, (uint32_t)opts->bytes);
}

static void kin_close(void *channel)
{
    kin_queue_destroy(channel);
    if (--arena_users == 0)
        kin_arena_detach(arena);
}

static void kin_put(void *channel, const void *data, size_t bytes)
{
    int r = kin_queue_put(channel, data, bytes, KIN_NEVER);
    if (__builtin_expect(r < 0, 0))
        bench_must(r, "kin_queue_put");
}

static void kin_get(void *channel, void *buffer, size_t bytes)
{
    int64_t r = kin_queue_get(channel, buffer, bytes, KIN_NEVER);
    if (__builtin_expect(r != (int64_t)bytes, 0))
        bench_must(r < 0 ? r : -EPROTO, "kin_queue_get");
}

static void kin_poll(void *channel, void *buffer, size_t bytes)
{
    int64_t r;
    while ((r = kin_queue_try_get(channel, buffer, bytes)) == -EAGAIN)
        ;
    if (__builtin_expect(r != (int64_t)bytes, 0))
        bench_must(r < 0 ? r : -EPROTO, "kin_queue_try_get");
}

PEER_STREAMS(kin, kin_put, kin_get)
PEER_PINGS(kin, kin_put, kin_poll)

const struct peer peer_kin = {"kin queue", kin_open,    kin_close, kin_put, kin_get,
                              kin_send,    kin_receive, kin_ping,  kin_echo};
/* With a ring just wide enough for the message. */
const struct peer peer_kin_small = {
    "kin queue, narrow", kin_small_open, kin_close, kin_put, kin_get, kin_send,
    kin_receive,         kin_ping,       kin_echo};
