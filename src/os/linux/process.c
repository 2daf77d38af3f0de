/* SPDX-License-Identifier: MIT
 * Process descriptors, and the line by which a child notices that its parent is gone. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

int kini_os_pidfd_open(int32_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

int kini_os_pidfd_signal(int pidfd, int signal)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int kini_os_pidfd_collect(int pidfd, int *ret_status)
{
    siginfo_t info = {.si_pid = 0};
    int result;
    do {
        result = waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0 ? -errno : 0;
    } while (result == -EINTR);
    if (result < 0)
        return result;
    if (info.si_pid == 0)
        return -EAGAIN;
    *ret_status = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    return 0;
}

/* NULL: for ever. */
static struct timespec *time_left(kin_deadline deadline, struct timespec *left)
{
    if (deadline == KIN_NEVER)
        return NULL;
    int64_t ns = deadline == KIN_NOW ? 0 : deadline - kin_now_ns();
    if (ns < 0)
        ns = 0;
    *left = (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = ns % 1000000000};
    return left;
}

int kini_os_wait_readable(int fd, kin_deadline deadline)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct timespec left;
    int r = ppoll(&p, 1, time_left(deadline, &left), NULL);
    return r > 0 ? 0 : r == 0 ? -ETIMEDOUT : -errno;
}

int kini_os_poll(struct pollfd *polls, uint32_t count, kin_deadline deadline)
{
    struct timespec left;
    int saved = errno;
    long r = syscall(SYS_ppoll, polls, (unsigned long)count, time_left(deadline, &left), NULL,
                     (size_t)0);
    int result = r < 0 ? -errno : (int)r;
    errno = saved;
    return result;
}

uint64_t kini_os_descriptors_most(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 0 : limit.rlim_cur;
}

void kini_os_kill_self(void)
{
    kill(getpid(), SIGKILL);
    _exit(128 + SIGKILL);
}

int kini_os_duplicate(int fd)
{
    int r = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return r < 0 ? -errno : r;
}

void kini_os_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

void kini_os_close_on_exec(int fd, bool close)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, close ? FD_CLOEXEC : 0);
}

uint32_t kini_os_cpu(void)
{
    int cpu = sched_getcpu();
    return cpu < 0 ? 0 : (uint32_t)cpu;
}

uint32_t kini_os_cpu_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    if (n <= 0)
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

int kini_os_lifeline_create(int *ret_keep, int *ret_watch)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ret_watch = ends[0];
    *ret_keep = ends[1];
    return 0;
}

/* PR_SET_PDEATHSIG would fire when the *thread* that started us ends; a hang-up on a pipe comes
 * with the last process that holds the other end. The owner and the signal belong to an open file
 * description, so each child needs its own. */
int kini_os_lifeline_bind(int watch)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", watch);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fcntl(fd, F_SETOWN, getpid()) < 0 || fcntl(fd, F_SETSIG, SIGKILL) < 0 ||
        fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    /* Gone before we listened? */
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP))
        kill(getpid(), SIGKILL);
    return fd;
}
