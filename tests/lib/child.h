/* SPDX-License-Identifier: MIT
 * Other processes in a test: run a function in a child, share a few words with it, wait for it. */
#ifndef KT_CHILD_H
#define KT_CHILD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

typedef int (*kt_child_fn)(void *arg);

/* A child by fork that leaves with _exit(fn(arg)). Fails the test if there can be none. */
pid_t kt_fork(kt_child_fn fn, void *arg);
/* The same by a raw system call: no handler of fork runs. */
pid_t kt_fork_raw(kt_child_fn fn, void *arg);
/* Wait for the child: its exit status, or the negative number of the signal that killed it. */
int kt_wait(pid_t pid);
/* kt_fork and kt_wait in one. */
int kt_in_child(kt_child_fn fn, void *arg);
/* Kill with SIGKILL and collect. */
void kt_kill(pid_t pid);
/* Collect orphans that became ours until there is no child left at all. */
void kt_wait_all(void);
/* Sleep until killed. */
int kt_sleep_for_ever(void *unused);

/* Zeroed memory that children share; freed with munmap by kt_unshare. */
void *kt_share(size_t bytes);
void kt_unshare(void *ptr, size_t bytes);

/* An assertion for children (and their threads): ends the process with status 101. */
#define KT_CHECK(condition)                                                                        \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dprintf(STDERR_FILENO, "%s:%d: in a child: %s\n", __FILE__, __LINE__, #condition);     \
            _exit(101);                                                                            \
        }                                                                                          \
    } while (0)

/* Poll for something that another process does; the time limit of the test ends it. */
#define KT_UNTIL(condition)                                                                        \
    do {                                                                                           \
        while (!(condition))                                                                       \
            usleep(500);                                                                           \
    } while (0)

/* The state letter of a process in /proc ('Z' a zombie, '?' when there is none); 'X' from the
 * moment on that it dies. */
char kt_process_state(pid_t pid);

#endif
