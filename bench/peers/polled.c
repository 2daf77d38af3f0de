/* SPDX-License-Identifier: MIT
 * Messages for whom the receiver waits in epoll, as an event loop does: kin's queue with a
 * descriptor made by kin_ready, an eventfd beside a message in shared memory, and a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/bench.h"
#include "lib/stage.h"
#include "peers/kin_arena.h"
#include "peers/loops.h"

struct polled {
    int in, out; /* out: in the set */
    int set;     /* made by whoever gets */
    char *box;
    struct kin_queue *queue;
    struct kin_ready *ready;
};

static struct polled *polled_new(void)
{
    struct polled *p = calloc(1, sizeof *p);
    if (p == NULL)
        bench_die("no memory");
    p->in = p->out = p->set = -1;
    return p;
}

static void wait_in_epoll(struct polled *p)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (p->set < 0) {
        p->set = epoll_create1(EPOLL_CLOEXEC);
        bench_must_sys(epoll_ctl(p->set, EPOLL_CTL_ADD, p->out, &event), "epoll_ctl");
    }
    if (epoll_wait(p->set, &event, 1, -1) != 1)
        bench_must_sys(-1, "epoll_wait");
}

static void polled_close(void *channel)
{
    struct polled *p = channel;
    if (p->in >= 0)
        close(p->in);
    if (p->out >= 0 && p->out != p->in)
        close(p->out);
    if (p->box != NULL)
        stage_memory_free(p->box, MESSAGE_MOST);
    free(p);
}

/* --- kin ------------------------------------------------------------------------------------ */

static void *kin_open(const struct peer_opts *opts)
{
    struct polled *p = polled_new();
    struct kin_queue_opts queue_opts = {.max_items = opts->depth};
    bench_must(kin_queue_create(kin_peer_arena_open(), &queue_opts, &p->queue), "kin_queue_create");
    return p;
}

static void kin_close(void *channel)
{
    struct polled *p = channel;
    kin_queue_destroy(p->queue);
    kin_peer_arena_close();
    free(p);
}

static void kin_put(void *channel, const void *data, size_t bytes)
{
    struct polled *p = channel;
    bench_must(kin_queue_put(p->queue, data, bytes, KIN_NEVER), "kin_queue_put");
}

static void make_ready(struct polled *p)
{
    const struct kin_wait wait = kin_wait_get(p->queue);
    struct kin_arena *arena = kin_peer_arena_open();
    kin_peer_arena_close(); /* the channel holds it */
    bench_must(kin_ready_create(arena, &wait, 1, &p->ready), "kin_ready_create");
    p->out = kin_ready_fd(p->ready);
}

static void kin_get(void *channel, void *buffer, size_t bytes)
{
    struct polled *p = channel;
    if (p->ready == NULL)
        make_ready(p);
    int64_t r;
    while (1) {
        wait_in_epoll(p);
        if ((r = kin_ready_check(p->ready)) == -EAGAIN)
            continue;
        bench_must(r, "kin_ready_check");
        if ((r = kin_queue_try_get(p->queue, buffer, bytes)) != -EAGAIN)
            break;
    }
    bench_must(r, "kin_queue_try_get");
}

/* --- eventfd, pipe ---------------------------------------------------------------------------- */

static void *eventfd_open(const struct peer_opts *opts)
{
    (void)opts;
    struct polled *p = polled_new();
    p->in = p->out = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bench_must_sys(p->in, "eventfd");
    p->box = stage_memory(MESSAGE_MOST);
    return p;
}

static void eventfd_put(void *channel, const void *data, size_t bytes)
{
    struct polled *p = channel;
    const uint64_t one = 1;
    memcpy(p->box, data, bytes);
    if (write(p->in, &one, sizeof one) != sizeof one)
        bench_must_sys(-1, "write");
}

static void eventfd_get(void *channel, void *buffer, size_t bytes)
{
    struct polled *p = channel;
    uint64_t count;
    wait_in_epoll(p);
    if (read(p->out, &count, sizeof count) != sizeof count)
        bench_must_sys(-1, "read");
    memcpy(buffer, p->box, bytes);
}

static void *pipe_open(const struct peer_opts *opts)
{
    int ends[2];
    (void)opts;
    struct polled *p = polled_new();
    bench_must_sys(pipe2(ends, O_CLOEXEC | O_NONBLOCK), "pipe2");
    p->out = ends[0];
    p->in = ends[1];
    return p;
}

static void pipe_put(void *channel, const void *data, size_t bytes)
{
    struct polled *p = channel;
    if (write(p->in, data, bytes) != (ssize_t)bytes)
        bench_must_sys(-1, "write");
}

static void pipe_get(void *channel, void *buffer, size_t bytes)
{
    struct polled *p = channel;
    wait_in_epoll(p);
    if (read(p->out, buffer, bytes) != (ssize_t)bytes)
        bench_must_sys(-1, "read");
}

#define NO_LOOPS NULL, NULL, NULL, NULL

const struct peer peer_epoll_kin = {
    "kin queue, kin_ready in epoll", kin_open, kin_close, kin_put, kin_get, NO_LOOPS};
const struct peer peer_epoll_eventfd = {"eventfd in epoll", eventfd_open, polled_close,
                                        eventfd_put,        eventfd_get,  NO_LOOPS};
const struct peer peer_epoll_pipe = {"pipe in epoll", pipe_open, polled_close,
                                     pipe_put,        pipe_get,  NO_LOOPS};
