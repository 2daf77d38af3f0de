/* SPDX-License-Identifier: MIT
 * ZeroMQ, PUSH and PULL over its ipc transport (a Unix socket, and a thread of ZeroMQ's own in each
 * process). A context must not be used on both sides of a fork, so each process makes its own when
 * it puts or gets for the first time. The side of which there is one binds. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

#include "lib/bench.h"
#include "peers/loops.h"

struct zmq_channel {
    char address[64];
    int depth, producers;
    void *socket; /* this process's own */
};

static void *zmq_channel_open(const struct peer_opts *opts)
{
    static int number;
    struct zmq_channel *c = calloc(1, sizeof *c);
    if (c == NULL)
        bench_die("no memory");
    snprintf(c->address, sizeof c->address, "ipc://@kin-bench-zmq-%d-%d", (int)getpid(), number++);
    c->depth = (int)opts->depth;
    c->producers = opts->producers;
    return c;
}

/* Half of the bound on either side. */
static void join(struct zmq_channel *c, int type)
{
    int half = c->depth > 1 ? c->depth / 2 : 1, retry_ms = 1;
    void *context = zmq_ctx_new();
    c->socket = context ? zmq_socket(context, type) : NULL;
    if (c->socket == NULL)
        bench_die("zmq: %s", zmq_strerror(zmq_errno()));
    zmq_setsockopt(c->socket, ZMQ_SNDHWM, &half, sizeof half);
    zmq_setsockopt(c->socket, ZMQ_RCVHWM, &half, sizeof half);
    zmq_setsockopt(c->socket, ZMQ_RECONNECT_IVL, &retry_ms, sizeof retry_ms);
    int binds = (type == ZMQ_PULL) == (c->producers > 1);
    int r = binds ? zmq_bind(c->socket, c->address) : zmq_connect(c->socket, c->address);
    if (r < 0)
        bench_die("zmq: %s: %s", c->address, zmq_strerror(zmq_errno()));
}

static void zmq_put(void *channel, const void *data, size_t bytes)
{
    struct zmq_channel *c = channel;
    if (__builtin_expect(c->socket == NULL, 0))
        join(c, ZMQ_PUSH);
    if (__builtin_expect(zmq_send(c->socket, data, bytes, 0) != (int)bytes, 0))
        bench_die("zmq_send: %s", zmq_strerror(zmq_errno()));
}

static void zmq_get(void *channel, void *buffer, size_t bytes)
{
    struct zmq_channel *c = channel;
    if (__builtin_expect(c->socket == NULL, 0))
        join(c, ZMQ_PULL);
    if (__builtin_expect(zmq_recv(c->socket, buffer, bytes, 0) != (int)bytes, 0))
        bench_die("zmq_recv: %s", zmq_strerror(zmq_errno()));
}

const struct peer peer_zmq = {
    .name = "zmq", .open = zmq_channel_open, .close = free, .put = zmq_put, .get = zmq_get};
