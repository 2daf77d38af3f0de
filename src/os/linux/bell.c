/* SPDX-License-Identifier: MIT
 * A descriptor that any process can make readable if it knows a number, and what is needed to have
 * it in one descriptor with others: a timer, and a set of descriptors that is one itself.
 *
 * A bell is a datagram socket with an abstract name. Nobody connects to it, so a ring needs no
 * descriptor that would have to be shared, and the kernel forgets the name with its last holder. */
#include "os/os.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define PREFIX "kin/bell/"

static socklen_t name_of(uint64_t number, struct sockaddr_un *ret_name)
{
    memset(ret_name, 0, sizeof *ret_name);
    ret_name->sun_family = AF_UNIX;
    char *at = ret_name->sun_path + 1; /* the first byte is 0: no file */
    memcpy(at, PREFIX, sizeof PREFIX - 1);
    at += sizeof PREFIX - 1;
    for (int shift = 60; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[(number >> shift) & 15];
    return (socklen_t)(at - (char *)ret_name);
}

int kini_os_bell_create(uint64_t *ret_number)
{
    struct sockaddr_un name;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    uint64_t number = 0;
    int r;
    do {
        if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number)
            number += ((uint64_t)kin_now_ns() << 20 ^ (uint64_t)kini_os_tid()) | 1;
        socklen_t bytes = name_of(number, &name);
        r = number == 0                                           ? -EADDRINUSE
            : bind(fd, (const struct sockaddr *)&name, bytes) < 0 ? -errno
                                                                  : 0;
    } while (r == -EADDRINUSE);
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_number = number;
    return fd;
}

/* --- ring -------------------------------------------------------------------------------------
 * A socket to send with costs three times what the sending does, so a process keeps one. It may be
 * closed behind our back (closefrom) and its number be that of another file by now: so *sender is
 * the descriptor + 1 in the upper half and its inode in the lower one, and is asked before each
 * use.
 *
 * By plain system calls: the functions of the C library are points where a thread can be cancelled,
 * and this is called with a wake in hand. */

static int sender_fd(uint64_t sender)
{
    int fd = (int)(sender >> 32) - 1;
    return sender != 0 && (uint32_t)kini_os_inode(fd) == (uint32_t)sender ? fd : -1;
}

int kini_os_bell_ring(uint64_t number, kini_a64 *sender)
{
    struct sockaddr_un name;
    int saved = errno;
    uint64_t kept = kini_load(sender);
    int fd = sender_fd(kept);
    bool keep = true;
    int r = 0;
    if (fd < 0) {
        fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        r = fd < 0 ? -errno : 0;
        keep = fd >= 0 &&
               kini_cas(sender, &kept, (uint64_t)(fd + 1) << 32 | (uint32_t)kini_os_inode(fd));
    }
    if (fd >= 0) {
        socklen_t bytes = name_of(number, &name);
        if (syscall(SYS_sendto, fd, "", (size_t)0, MSG_DONTWAIT | MSG_NOSIGNAL, &name, bytes) < 0)
            r = errno == EAGAIN ? 0 : -errno; /* full of rings: it is readable */
        if (!keep)
            syscall(SYS_close, fd);
    }
    errno = saved;
    return r;
}

void kini_os_bell_sender_close(kini_a64 *sender)
{
    kini_os_close(sender_fd(kini_load(sender)));
    kini_store(sender, 0);
}

/* --- listen ----------------------------------------------------------------------------------- */

void kini_os_bell_silence(int fd)
{
    char none;
    recv(fd, &none, sizeof none, MSG_DONTWAIT);
}

/* A socket of this kind can always be written to. */
void kini_os_bell_hold(int set, int fd, bool hold)
{
    struct epoll_event event = {.events = hold ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.fd = fd};
    epoll_ctl(set, EPOLL_CTL_MOD, fd, &event);
}

int kini_os_timer_create(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void kini_os_timer_set(int fd, int64_t ns)
{
    const struct itimerspec after = {
        .it_value = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)}};
    timerfd_settime(fd, 0, &after, NULL);
}

int kini_os_fdset_create(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int kini_os_fdset_add(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST)
        return 0;
    return -errno;
}
