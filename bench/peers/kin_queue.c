/* SPDX-License-Identifier: MIT
 * kin's queue, as a program uses it: put and get with no deadline, default options. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* --- a hundred at a time -------------------------------------------------------------------- */

#define HUNDRED 100u

/* Every message is different and stands in the sender's memory before it is put, as in loop_send.
 */
static void kin_hundred_send(void *channel, uint64_t count, size_t bytes)
{
    static _Alignas(64) char messages[HUNDRED][MESSAGE_MOST];
    struct kin_item items[HUNDRED];
    memset(messages, 1, sizeof messages);
    for (uint64_t sent = 0; sent < count;) {
        uint32_t n = count - sent < HUNDRED ? (uint32_t)(count - sent) : HUNDRED;
        for (uint32_t i = 0; i < n; i++, sent++) {
            memcpy(messages[i], &sent, sizeof sent);
            items[i] = (struct kin_item){messages[i], bytes};
        }
        int64_t r = kin_queue_put_many(channel, items, n, KIN_NEVER);
        if (__builtin_expect(r != n, 0))
            bench_must(r < 0 ? r : -EPROTO, "kin_queue_put_many");
    }
}

static uint64_t kin_hundred_receive(void *channel, uint64_t count, size_t bytes)
{
    static _Alignas(64) char buffer[HUNDRED * MESSAGE_MOST];
    struct kin_item items[HUNDRED];
    uint64_t sum = 0, number;
    for (uint64_t left = count; left > 0;) {
        uint32_t most = left < HUNDRED ? (uint32_t)left : HUNDRED;
        int64_t n = kin_queue_get_many(channel, items, most, buffer, sizeof buffer, KIN_NEVER);
        bench_must(n, "kin_queue_get_many");
        for (int64_t i = 0; i < n; i++) {
            if (__builtin_expect(items[i].bytes != bytes, 0))
                bench_must(-EPROTO, "kin_queue_get_many");
            memcpy(&number, items[i].data, sizeof number);
            sum += number;
        }
        left -= (uint64_t)n;
    }
    return sum;
}

const struct peer peer_kin_hundred = {
    "kin queue, 100 at a time", kin_open, kin_close, kin_put, kin_get, kin_hundred_send,
    kin_hundred_receive,        NULL,     NULL};

const struct peer peer_kin = {"kin queue", kin_open,    kin_close, kin_put, kin_get,
                              kin_send,    kin_receive, kin_ping,  kin_echo};
/* With a ring just wide enough for the message. */
const struct peer peer_kin_small = {
    "kin queue, narrow", kin_small_open, kin_close, kin_put, kin_get, kin_send,
    kin_receive,         kin_ping,       kin_echo};
const struct peer peer_kin_polled = {
    .name = "kin queue", .open = kin_open, .close = kin_close, .put = kin_put, .get = kin_poll};
