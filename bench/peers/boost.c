/* SPDX-License-Identifier: MIT
 * boost::interprocess::message_queue: a mutex, two condition variables and messages sorted by
 * priority, in shared memory. All messages here have the same priority. */
#include <stdio.h>
#include <unistd.h>

#include "lib/bench.h"
#include "peers/boost_queue.h"
#include "peers/loops.h"

static void *boost_open(const struct peer_opts *opts)
{
    char name[64];
    static int number; /* there and back are open at the same time */
    snprintf(name, sizeof name, "kin-bench-%d-%d", (int)getpid(), number++);
    return boost_queue_open(name, opts->depth, opts->bytes);
}

static void boost_put(void *channel, const void *data, size_t bytes)
{
    if (boost_queue_send(channel, data, bytes) < 0)
        bench_die("boost: send failed");
}

static void boost_get(void *channel, void *buffer, size_t bytes)
{
    if (boost_queue_receive(channel, buffer, bytes) < 0)
        bench_die("boost: receive failed");
}

static void boost_poll(void *channel, void *buffer, size_t bytes)
{
    int r;
    while ((r = boost_queue_try_receive(channel, buffer, bytes)) == 0)
        ;
    if (r < 0)
        bench_die("boost: try_receive failed");
}

PEER_STREAMS(boost, boost_put, boost_get)

const struct peer peer_boost = {"boost::interprocess message_queue",
                                boost_open,
                                boost_queue_close,
                                boost_put,
                                boost_get,
                                boost_send,
                                boost_receive,
                                NULL,
                                NULL};
const struct peer peer_boost_polled = {.name = "boost",
                                       .open = boost_open,
                                       .close = boost_queue_close,
                                       .put = boost_put,
                                       .get = boost_poll};
