/* SPDX-License-Identifier: MIT
 * Descriptors from process to process: a pair of sockets, each message one number and one
 * descriptor. Nothing here waits. */
#include "os/os.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int kini_os_channel_create(int ret_sockets[2])
{
    int saved = errno;
    int r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_sockets);
    r = r < 0 ? -errno : 0;
    errno = saved;
    return r;
}

union control {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
};

int kini_os_channel_send(int sock, uint64_t number, int fd)
{
    int saved = errno;
    struct iovec data = {.iov_base = &number, .iov_len = sizeof number};
    union control control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ssize_t sent;
    do
        sent = sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    int r = sent < 0 ? -errno : 0;
    errno = saved;
    return r;
}

static int receive(int sock, uint64_t *ret_number, int *ret_fd)
{
    struct iovec data = {.iov_base = ret_number, .iov_len = sizeof *ret_number};
    union control control;
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t got;
    do
        got = recvmsg(sock, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    if (got != (ssize_t)sizeof *ret_number)
        return -EAGAIN; /* the other side is gone, and nothing is left */
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if ((message.msg_flags & MSG_CTRUNC) || header == NULL || header->cmsg_type != SCM_RIGHTS)
        return -EMFILE;
    memcpy(ret_fd, CMSG_DATA(header), sizeof *ret_fd);
    return 0;
}

int kini_os_channel_peek(int sock, uint64_t *ret_number, int *ret_fd)
{
    int saved = errno;
    int r = receive(sock, ret_number, ret_fd);
    errno = saved;
    return r;
}

int kini_os_channel_drop(int sock)
{
    int saved = errno;
    uint64_t number;
    ssize_t got;
    do /* without room for it, the descriptor is closed by the kernel */
        got = recv(sock, &number, sizeof number, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    int r = got < 0 ? -errno : 0;
    errno = saved;
    return r;
}

int kini_os_channel_next(int sock, uint64_t *ret_number)
{
    int saved = errno;
    ssize_t got;
    do
        got = recv(sock, ret_number, sizeof *ret_number, MSG_PEEK | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    int r = got == (ssize_t)sizeof *ret_number ? 0 : got < 0 ? -errno : -EAGAIN;
    errno = saved;
    return r;
}
