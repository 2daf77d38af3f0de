/* SPDX-License-Identifier: MIT
 * nng, PUSH and PULL over ipc (a Unix socket, and nng's own threads in each process). As with
 * ZeroMQ each process makes its socket when it puts or gets for the first time, and the side of
 * which there is one listens. */
#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/bench.h"
#include "peers/loops.h"

struct nng_channel {
    char address[64];
    int depth, producers;
    int joined; /* this process has: */
    nng_socket socket;
};

static void must(int r, const char *what)
{
    if (__builtin_expect(r != 0, 0))
        bench_die("%s: %s", what, nng_strerror(r));
}

static void *nng_channel_open(const struct peer_opts *opts)
{
    static int number;
    struct nng_channel *c = calloc(1, sizeof *c);
    if (c == NULL)
        bench_die("no memory");
    snprintf(c->address, sizeof c->address, "ipc:///tmp/kin-bench-nng-%d-%d", (int)getpid(),
             number++);
    c->depth = (int)opts->depth;
    c->producers = opts->producers;
    return c;
}

static void nng_channel_close(void *channel)
{
    struct nng_channel *c = channel;
    unlink(c->address + sizeof "ipc://" - 1);
    free(c);
}

static void join(struct nng_channel *c, int pulls)
{
    int half = c->depth > 1 ? c->depth / 2 : 1;
    must(pulls ? nng_pull0_open(&c->socket) : nng_push0_open(&c->socket), "nng open");
    nng_socket_set_int(c->socket, pulls ? NNG_OPT_RECVBUF : NNG_OPT_SENDBUF, half);
    nng_socket_set_size(c->socket, NNG_OPT_RECVMAXSZ, 0);
    nng_socket_set_ms(c->socket, NNG_OPT_RECONNMINT, 1);
    nng_socket_set_ms(c->socket, NNG_OPT_RECONNMAXT, 5);
    int listens = pulls == (c->producers > 1);
    must(listens ? nng_listen(c->socket, c->address, NULL, 0)
                 : nng_dial(c->socket, c->address, NULL, NNG_FLAG_NONBLOCK),
         c->address);
    c->joined = 1;
}

static void nng_put(void *channel, const void *data, size_t bytes)
{
    struct nng_channel *c = channel;
    if (__builtin_expect(!c->joined, 0))
        join(c, 0);
    must(nng_send(c->socket, (void *)(uintptr_t)data, bytes, 0), "nng_send");
}

static void nng_get(void *channel, void *buffer, size_t bytes)
{
    struct nng_channel *c = channel;
    size_t got = bytes;
    if (__builtin_expect(!c->joined, 0))
        join(c, 1);
    must(nng_recv(c->socket, buffer, &got, 0), "nng_recv");
    if (got != bytes)
        bench_die("nng: a message of %zu bytes", got);
}

const struct peer peer_nng = {.name = "nng",
                              .open = nng_channel_open,
                              .close = nng_channel_close,
                              .put = nng_put,
                              .get = nng_get};
