/* SPDX-License-Identifier: MIT
 * POSIX message queues. Its name is removed as soon as it is open: nothing is left behind. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/bench.h"
#include "peers/loops.h"

/* Depths beyond /proc/sys/fs/mqueue/msg_max (usually 10) need privileges. */
static void *mqueue_open(const struct peer_opts *opts)
{
    struct mq_attr attr = {.mq_maxmsg = (long)opts->depth, .mq_msgsize = (long)opts->bytes};
    char name[64];
    snprintf(name, sizeof name, "/kin-bench-%d", (int)getpid());
    mq_unlink(name);
    mqd_t *queue = malloc(sizeof *queue);
    if (queue == NULL)
        bench_die("no memory");
    *queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600, &attr);
    mq_unlink(name);
    if (*queue >= 0)
        return queue;
    free(queue);
    return NULL;
}

static void mqueue_close(void *channel)
{
    mq_close(*(mqd_t *)channel);
    free(channel);
}

static void mqueue_put(void *channel, const void *data, size_t bytes)
{
    bench_must_sys(mq_send(*(mqd_t *)channel, data, bytes, 0), "mq_send");
}

static void mqueue_get(void *channel, void *buffer, size_t bytes)
{
    ssize_t r = mq_receive(*(mqd_t *)channel, buffer, bytes, NULL);
    bench_must_sys(r == (ssize_t)bytes ? 0 : -1, "mq_receive");
}

static void mqueue_poll(void *channel, void *buffer, size_t bytes)
{
    const struct timespec past = {0};
    ssize_t r;
    while ((r = mq_timedreceive(*(mqd_t *)channel, buffer, bytes, NULL, &past)) < 0 &&
           errno == ETIMEDOUT)
        ;
    bench_must_sys(r == (ssize_t)bytes ? 0 : -1, "mq_timedreceive");
}

PEER_STREAMS(mqueue, mqueue_put, mqueue_get)

const struct peer peer_mqueue = {
    "POSIX message queue", mqueue_open,    mqueue_close, mqueue_put, mqueue_get,
    mqueue_send,           mqueue_receive, NULL,         NULL};
const struct peer peer_mqueue_polled = {.name = "mqueue",
                                        .open = mqueue_open,
                                        .close = mqueue_close,
                                        .put = mqueue_put,
                                        .get = mqueue_poll};
