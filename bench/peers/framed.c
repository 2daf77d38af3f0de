/* SPDX-License-Identifier: MIT
 * Messages of any length over a pipe or a stream socket: the length goes ahead of the bytes, both
 * in one writev. A single reader reads ahead, as stdio does. Several writers, or several readers,
 * share the one pipe and take turns with a mutex between processes, as Python's multiprocessing
 * does; a socket for each of them would need a poll before each message. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/bench.h"
#include "lib/stage.h"
#include "peers/loops.h"

#define AHEAD_BYTES (64 << 10)

struct locks { /* shared */
    pthread_mutex_t write, read;
};

struct framed {
    int in, out;
    int many_writers, many_readers;
    struct locks *locks;
    size_t ahead_from, ahead_to; /* what was read ahead: the reader's own, like the next */
    char ahead[AHEAD_BYTES];
};

static void lock_init(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(mutex, &attr);
    pthread_mutexattr_destroy(&attr);
}

static void *framed_new(const struct peer_opts *opts, const int ends[2])
{
    struct framed *f = malloc(sizeof *f);
    if (f == NULL)
        bench_die("no memory");
    f->in = ends[1];
    f->out = ends[0];
    f->many_writers = opts->producers > 1;
    f->many_readers = opts->consumers > 1;
    f->ahead_from = f->ahead_to = 0;
    f->locks = stage_memory(sizeof *f->locks);
    lock_init(&f->locks->write);
    lock_init(&f->locks->read);
    return f;
}

static void framed_close(void *channel)
{
    struct framed *f = channel;
    close(f->in);
    close(f->out);
    stage_memory_free(f->locks, sizeof *f->locks);
    free(f);
}

static void *pipe_open(const struct peer_opts *opts)
{
    int ends[2];
    bench_must_sys(pipe2(ends, O_CLOEXEC), "pipe2");
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20); /* the most without privileges */
    return framed_new(opts, ends);
}

static void *stream_open(const struct peer_opts *opts)
{
    int ends[2], room = 4 * (int)opts->bytes;
    bench_must_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    for (int i = 0; i < 2 && opts->bytes > AHEAD_BYTES; i++) {
        setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        setsockopt(ends[i], SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    }
    return framed_new(opts, ends);
}

static void must_not_block(int fd)
{
    bench_must_sys(fcntl(fd, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
}

static void *pipe_polled_open(const struct peer_opts *opts)
{
    struct framed *f = pipe_open(opts);
    must_not_block(f->out);
    return f;
}

static void *stream_polled_open(const struct peer_opts *opts)
{
    struct framed *f = stream_open(opts);
    must_not_block(f->out);
    return f;
}

/* --- put ------------------------------------------------------------------------------------ */

static void write_all(int fd, struct iovec *parts, int count)
{
    while (count > 0) {
        ssize_t r = writev(fd, parts, count);
        if (__builtin_expect(r <= 0, 0))
            bench_must_sys(-1, "writev");
        for (; count > 0 && (size_t)r >= parts->iov_len; parts++, count--)
            r -= (ssize_t)parts->iov_len;
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + r;
            parts->iov_len -= (size_t)r;
        }
    }
}

static void framed_put(void *channel, const void *data, size_t bytes)
{
    struct framed *f = channel;
    uint64_t length = bytes;
    struct iovec parts[2] = {{&length, sizeof length}, {(void *)(uintptr_t)data, bytes}};
    if (f->many_writers)
        pthread_mutex_lock(&f->locks->write);
    write_all(f->in, parts, 2);
    if (f->many_writers)
        pthread_mutex_unlock(&f->locks->write);
}

/* --- get ------------------------------------------------------------------------------------ */

/* At least least bytes, at most most. A descriptor that does not block is asked again and again. */
static size_t read_some(int fd, char *to, size_t least, size_t most)
{
    size_t done = 0;
    while (done < least) {
        ssize_t r = read(fd, to + done, most - done);
        if (r < 0 && errno == EAGAIN)
            continue;
        if (__builtin_expect(r <= 0, 0))
            bench_must_sys(-1, "read");
        done += (size_t)r;
    }
    return done;
}

/* bytes of them through the buffer, or past it when they are many. */
static void read_ahead(struct framed *f, char *to, size_t bytes)
{
    size_t has = f->ahead_to - f->ahead_from;
    size_t part = has < bytes ? has : bytes;
    memcpy(to, f->ahead + f->ahead_from, part);
    f->ahead_from += part;
    bytes -= part;
    if (bytes == 0)
        return;
    if (bytes >= AHEAD_BYTES / 2) {
        read_some(f->out, to + part, bytes, bytes);
        return;
    }
    f->ahead_to = read_some(f->out, f->ahead, bytes, AHEAD_BYTES);
    f->ahead_from = bytes;
    memcpy(to + part, f->ahead, bytes);
}

static void framed_get(void *channel, void *buffer, size_t bytes)
{
    struct framed *f = channel;
    uint64_t length;
    if (f->many_readers) {
        pthread_mutex_lock(&f->locks->read);
        read_some(f->out, (char *)&length, sizeof length, sizeof length);
        if (length <= bytes)
            read_some(f->out, buffer, length, length);
        pthread_mutex_unlock(&f->locks->read);
    } else {
        read_ahead(f, (char *)&length, sizeof length);
        if (length <= bytes)
            read_ahead(f, buffer, length);
    }
    if (length != bytes)
        bench_die("a message of %llu bytes, not of %zu", (unsigned long long)length, bytes);
}

#define FRAMED(text, open_fn)                                                                      \
    {                                                                                              \
        .name = (text), .open = (open_fn), .close = framed_close, .put = framed_put,               \
        .get = framed_get                                                                          \
    }

const struct peer peer_pipe_framed = FRAMED("pipe", pipe_open);
const struct peer peer_stream_framed = FRAMED("stream", stream_open);
const struct peer peer_pipe_framed_polled = FRAMED("pipe", pipe_polled_open);
const struct peer peer_stream_framed_polled = FRAMED("stream", stream_polled_open);
