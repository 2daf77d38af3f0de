/* SPDX-License-Identifier: MIT
 * Pipes: descriptors. How a cell and what is in the socket belong together, and what a death in
 * between leaves: pipe_layout.h. The locks are held over system calls that do not wait. */
#include "arena/ilock.h"
#include "chan/message.h"
#include "chan/pipe.h"

#include <errno.h>
#include <kin/wait.h>

static int no_sockets(void)
{
    return kini_fail_plain(-ENOTSUP, "descriptors travel only through a pipe that was created with "
                                     "KIN_PIPE_FDS");
}

/* --- send ----------------------------------------------------------------------------------- */

struct send_call {
    struct kin_pipe *end;
    int fd;
    uint64_t block; /* carries nothing: a cell whose length is not that of bytes in it has one */
};

static int64_t not_sent(struct kini_self *self, struct send_call *call, int r)
{
    switch (r) {
    case -EAGAIN: /* the socket is full: of what is in the ring, or of what the dead left */
        if (kini_queue_count(self, &call->end->out->ring) != 0)
            return -EAGAIN;
        return kini_fail_plain(-ENOBUFS, "the socket is full of descriptors whose senders died");
    case -ETOOMANYREFS:
        return kini_fail_plain(r, "as many descriptors are under way as RLIMIT_NOFILE allows");
    case -EBADF:
        return kini_fail(r, "%d is not an open descriptor", call->fd);
    case -EPIPE:
    case -ECONNRESET:
        return kini_fail_plain(-EPIPE, "the other end of the pipe is closed");
    default:
        return kini_fail(r, "descriptor %d cannot be sent: %s", call->fd, kin_strerror(r));
    }
}

/* Who receives takes the cell before the descriptor: let it finish, so that a full socket beside an
 * empty ring is full of what the dead left. Under fd_send. */
static int send_to_socket(struct kini_self *self, const struct send_call *call, uint64_t number)
{
    struct kin_pipe *end = call->end;
    int r = kini_os_channel_send(end->sock, number, call->fd);
    if (r != -EAGAIN || kini_queue_count(self, &end->out->ring) != 0)
        return r;
    kini_ilock_lock(self, &end->out->fd_recv);
    kini_ilock_unlock(self, &end->out->fd_recv);
    return kini_os_channel_send(end->sock, number, call->fd);
}

/* Under fd_send. */
static int64_t send_one(struct kini_self *self, struct send_call *call)
{
    struct kin_pipe *end = call->end;
    int r = kini_pipe_may_send(self, end, 0);
    if (r < 0)
        return r;
    if (!kini_pipe_ready(self, end->handle.shm, KIN_WAIT_SEND))
        return -EAGAIN; /* before the socket has it */
    uint64_t number = kini_load(&end->out->fd_number) + 1;
    kini_store(&end->out->fd_number, number);
    kini_compiler_barrier();
    r = send_to_socket(self, call, number);
    if (r < 0)
        return not_sent(self, call, r);
    const struct kini_message message = {.bytes = KINI_PIPE_FD | number, .block = call->block};
    return kini_pipe_put(self, end, &message, 0);
}

static int64_t attempt_send(struct kini_self *self, void *arg)
{
    struct send_call *call = arg;
    kini_ilock_lock(self, &call->end->out->fd_send);
    int64_t r = send_one(self, call);
    kini_ilock_unlock(self, &call->end->out->fd_send);
    return r;
}

int kin_pipe_send_fd(struct kin_pipe *end, int fd, kin_deadline deadline)
{
    int r;
    struct kini_self *self = kini_pipe_enter(end, &r);
    if (self == NULL)
        return r;
    if (end->out == NULL)
        return kini_pipe_only_receives();
    if (end->sock < 0)
        return no_sockets();
    struct send_call call = {.end = end, .fd = fd};
    r = kini_message_block(self, 0, &call.block);
    if (r < 0)
        return r;
    r = (int)kini_pipe_wait_out(self, end, deadline, attempt_send, &call);
    if (r < 0)
        kini_block_put(self, call.block);
    return r == -EAGAIN ? -ETIMEDOUT : r;
}

/* --- receive -------------------------------------------------------------------------------- */

struct recv_call {
    struct kin_pipe *end;
    int fd;
};

/* Bring the socket to that number: smaller ones have no cell any more. -ENOENT: it is not there. */
static int find(int sock, uint64_t number, int *ret_fd)
{
    uint64_t next;
    int r;
    while ((r = kini_os_channel_next(sock, &next)) == 0 && next < number)
        kini_os_channel_drop(sock);
    if (r == 0 && next == number)
        r = kini_os_channel_peek(sock, &next, ret_fd);
    else if (r == 0 || r == -EAGAIN)
        r = -ENOENT;
    return r;
}

/* Under fd_recv. */
static int64_t receive_one(struct kini_self *self, struct recv_call *call)
{
    struct kin_pipe *end = call->end;
    struct kini_taker taker = {.drop = true, .least = KINI_PIPE_FD};
    int64_t next = kini_pipe_peek(self, end);
    if (next < 0) { /* empty, or the end of file, which the ring knows: it is to give nothing */
        taker.least = UINT64_MAX;
        int64_t r = kini_pipe_get(self, end, &taker, false);
        return r == -EMSGSIZE ? -EINTR : r; /* something has come since we looked */
    }
    if (!((uint64_t)next & KINI_PIPE_FD))
        return -EMSGSIZE;
    int fd = -1, r = find(end->sock, (uint64_t)next & KINI_PIPE_FD_NUMBER, &fd);
    if (r < 0 && r != -ENOENT)
        return kini_fail(r, "no descriptor is left for the one that is next: %s", kin_strerror(r));
    int64_t got = kini_pipe_get(self, end, &taker, false);
    if (r == 0 && got < 0)
        kini_os_close(fd);
    if (r == 0 && got >= 0) {
        kini_os_channel_drop(end->sock);
        call->fd = fd;
        return 0;
    }
    return got < 0 ? got : -EINTR;
}

static int64_t attempt_recv(struct kini_self *self, void *arg)
{
    struct recv_call *call = arg;
    struct kin_pipe *end = call->end;
    if (kini_unlikely(kini_load(&end->handle.closed) != 0))
        return -ESTALE;
    int64_t r;
    do {
        kini_ilock_lock(self, &end->in->fd_recv);
        r = receive_one(self, call);
        kini_ilock_unlock(self, &end->in->fd_recv);
    } while (r == -EINTR); /* a cell without its descriptor, or one that came just now */
    if (r == -EMSGSIZE)
        return kini_fail_plain(-ENOMSG, "a plain message is next; kin_pipe_recv takes it");
    if (r == -ESHUTDOWN)
        return kini_fail_plain(-ESHUTDOWN,
                               "end of file: the other end is closed, and all it sent was "
                               "received");
    return r;
}

int kin_pipe_recv_fd(struct kin_pipe *end, int *ret_fd, kin_deadline deadline)
{
    int r;
    struct kini_self *self = kini_pipe_enter(end, &r);
    if (self == NULL)
        return r;
    if (end->in == NULL)
        return kini_pipe_only_sends();
    if (end->sock < 0)
        return no_sockets();
    struct recv_call call = {.end = end};
    r = (int)kini_pipe_wait_in(self, end, deadline, attempt_recv, &call);
    if (r == 0)
        *ret_fd = call.fd;
    return r == -EAGAIN ? -ETIMEDOUT : r;
}
