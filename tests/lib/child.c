/* SPDX-License-Identifier: MIT
 * Children of a test. */
#include "lib/child.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

pid_t kt_fork(kt_child_fn fn, void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn(arg));
    ck_assert_msg(pid > 0, "fork: %s", strerror(errno));
    return pid;
}

pid_t kt_fork_raw(kt_child_fn fn, void *arg)
{
    fflush(NULL);
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        _exit(fn(arg));
    ck_assert_msg(pid > 0, "clone: %s", strerror(errno));
    return pid;
}

int kt_wait(pid_t pid)
{
    int status;
    pid_t r;
    do {
        r = waitpid(pid, &status, 0);
    } while (r < 0 && errno == EINTR);
    ck_assert_msg(r == pid, "waitpid %d: %s", (int)pid, strerror(errno));
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int kt_in_child(kt_child_fn fn, void *arg)
{
    return kt_wait(kt_fork(fn, arg));
}

void kt_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    kt_wait(pid);
}

void kt_wait_all(void)
{
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
}

int kt_sleep_for_ever(void *unused)
{
    (void)unused;
    for (;;)
        pause();
}

void *kt_share(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(p != MAP_FAILED);
    return p;
}

void kt_unshare(void *ptr, size_t bytes)
{
    munmap(ptr, bytes);
}

/* Of the kernel's flags: it has begun to die, and may have closed its files. */
#define EXITING 4u

char kt_process_state(pid_t pid)
{
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return '?';
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    char *end = strrchr(text, ')'), state;
    unsigned flags;
    if (end == NULL || sscanf(end, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
        return '?';
    return state != 'Z' && (flags & EXITING) ? 'X' : state;
}
