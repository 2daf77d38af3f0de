/* SPDX-License-Identifier: MIT
 * Pipes and Unix sockets. One message is one write; a reader that gets less than a message, which
 * the kernel may do with those larger than its buffers, goes on until it has all. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/bench.h"
#include "peers/loops.h"

#define LARGE (64 << 10) /* messages beyond it get larger buffers in the kernel */

struct fds {
    int in, out;
};

static void *fds_new(int in, int out)
{
    struct fds *fds = malloc(sizeof *fds);
    if (fds == NULL)
        bench_die("no memory");
    *fds = (struct fds){in, out};
    return fds;
}

static void fds_close(void *channel)
{
    struct fds *fds = channel;
    close(fds->in);
    if (fds->out != fds->in)
        close(fds->out);
    free(fds);
}

/* --- pipes ---------------------------------------------------------------------------------- */

static void *pipe_open(const struct peer_opts *opts)
{
    int ends[2];
    (void)opts;
    bench_must_sys(pipe2(ends, O_CLOEXEC), "pipe2");
    return fds_new(ends[1], ends[0]);
}

/* With the largest buffer that a program may have without privileges. */
static void *pipe_large_open(const struct peer_opts *opts)
{
    struct fds *fds = pipe_open(opts);
    if (fcntl(fds->in, F_SETPIPE_SZ, 1 << 20) >= 0)
        return fds;
    fds_close(fds);
    return NULL;
}

static void *pipe_polled_open(const struct peer_opts *opts)
{
    struct fds *fds = pipe_open(opts);
    bench_must_sys(fcntl(fds->out, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
    return fds;
}

/* --- sockets -------------------------------------------------------------------------------- */

static void *socket_open(const struct peer_opts *opts, int type)
{
    int ends[2], room = 4 * (int)opts->bytes, has;
    socklen_t has_bytes = sizeof has;
    bench_must_sys(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), "socketpair");
    if (opts->bytes <= LARGE)
        return fds_new(ends[0], ends[1]);
    for (int i = 0; i < 2; i++) {
        setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        setsockopt(ends[i], SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    }
    getsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &has, &has_bytes);
    if (type == SOCK_STREAM || has > (int)opts->bytes + (int)opts->bytes / 8)
        return fds_new(ends[0], ends[1]);
    close(ends[0]); /* net.core.wmem_max is too small for a message of this size */
    close(ends[1]);
    return NULL;
}

static void *stream_open(const struct peer_opts *opts)
{
    return socket_open(opts, SOCK_STREAM);
}

static void *seqpacket_open(const struct peer_opts *opts)
{
    return socket_open(opts, SOCK_SEQPACKET);
}

/* --- put and get ---------------------------------------------------------------------------- */

static void fd_put(void *channel, const void *data, size_t bytes)
{
    const struct fds *fds = channel;
    size_t done = 0;
    do {
        ssize_t r = write(fds->in, (const char *)data + done, bytes - done);
        if (__builtin_expect(r <= 0, 0))
            bench_must_sys(-1, "write");
        done += (size_t)r;
    } while (__builtin_expect(done < bytes, 0));
}

static void fd_get(void *channel, void *buffer, size_t bytes)
{
    const struct fds *fds = channel;
    size_t done = 0;
    do {
        ssize_t r = read(fds->out, (char *)buffer + done, bytes - done);
        if (__builtin_expect(r <= 0, 0))
            bench_must_sys(-1, "read");
        done += (size_t)r;
    } while (__builtin_expect(done < bytes, 0));
}

static void fd_poll(void *channel, void *buffer, size_t bytes)
{
    const struct fds *fds = channel;
    ssize_t r;
    while ((r = read(fds->out, buffer, bytes)) < 0 && errno == EAGAIN)
        ;
    if (r != (ssize_t)bytes)
        bench_must_sys(-1, "read");
}

/* A message comes whole: for sockets of packets. */
static void packet_poll(void *channel, void *buffer, size_t bytes)
{
    const struct fds *fds = channel;
    ssize_t r;
    while ((r = recv(fds->out, buffer, bytes, MSG_DONTWAIT)) < 0 && errno == EAGAIN)
        ;
    if (r != (ssize_t)bytes)
        bench_must_sys(-1, "recv");
}

PEER_STREAMS(fd, fd_put, fd_get)
PEER_PINGS(fd, fd_put, fd_poll)

#define BLOCKING fds_close, fd_put, fd_get, fd_send, fd_receive, NULL, NULL

const struct peer peer_pipe = {"pipe", pipe_open, BLOCKING};
const struct peer peer_pipe_large = {"pipe, F_SETPIPE_SZ 1 MiB", pipe_large_open, BLOCKING};
const struct peer peer_stream = {"Unix stream socket", stream_open, BLOCKING};
const struct peer peer_seqpacket = {"Unix seqpacket socket", seqpacket_open, BLOCKING};
const struct peer peer_pipe_polled = {"pipe, non-blocking reads",
                                      pipe_polled_open,
                                      fds_close,
                                      NULL,
                                      NULL,
                                      NULL,
                                      NULL,
                                      fd_ping,
                                      fd_echo};
const struct peer peer_seqpacket_polled = {.name = "seqpacket",
                                           .open = seqpacket_open,
                                           .close = fds_close,
                                           .put = fd_put,
                                           .get = packet_poll};
