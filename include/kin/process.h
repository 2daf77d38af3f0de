/* SPDX-License-Identifier: MIT
 * Processes: start a function in a forked child, wait for it, end it.
 *
 * The child is a participant of the arena from before it exists. Nothing is left behind: no zombie
 * (finished children that nobody joins are collected by the next call that starts or lists
 * children, and by kin_process_close), and nobody else's children are ever waited for. */
#ifndef KIN_PROCESS_H
#define KIN_PROCESS_H

#include <kin/arena.h>
#include <sys/types.h>

KIN_BEGIN

struct kin_process;

/* What the child runs. Its result becomes the exit status: 0 to 255 as they are, anything else 1.
 * The arena and every handle made before the start are valid in the child. */
typedef int (*kin_process_fn)(struct kin_arena *arena, void *arg);

struct kin_process_opts {
    uint32_t size;    /* sizeof(struct kin_process_opts); 0 stands for it too */
    uint32_t daemon;  /* 1: the child is killed when its parent process ends, however it ends */
    const char *name; /* up to 31 bytes; NULL: "Process-N" */
};

/* Start fn(arena, arg) in a child made with fork. stdout and stderr are flushed first, so that
 * buffered output is written once; the child flushes both and leaves with _exit.
 * Errors: -EINVAL, -EAGAIN and -ENOMEM (of fork: RLIMIT_NPROC, memory), -EMFILE, -ENOSPC (no free
 * participant slot).
 * The caller owns the handle and gives it back with kin_process_close.
 * Safety: any thread | after fork: the handle is only good in the process that started. */
KIN_API KIN_NODISCARD int kin_process_start(struct kin_arena *arena, kin_process_fn fn, void *arg,
                                            const struct kin_process_opts *opts,
                                            struct kin_process **ret_process);

struct kin_spawn_opts {
    uint32_t size;            /* sizeof(struct kin_spawn_opts); 0 stands for it too */
    uint32_t daemon;          /* as above, from kin_arena_inherit on */
    const char *name;         /* up to 31 bytes; NULL: "Process-N" */
    char *const *environment; /* NULL: that of this process */
    uint32_t objects_count; /* what is handed over beside the arena: handles of queues, locks and */
    const void *const *objects; /* all that has a kin_noun_inherit */
};

/* Start another program, which links kin and calls kin_arena_inherit. path is searched for in PATH
 * if it has no '/'. Of all objects of the arena the child holds only those handed over; until it
 * has opened them they are kept for it, also if this process gives its handles back. Errors: those
 * of exec (-ENOENT, -EACCES, -ENOEXEC, -E2BIG …), -EINVAL, -EXDEV (a handle of another arena),
 * -ESTALE, -EAGAIN, -ENOMEM, -EMFILE, -ENOSPC. After an error there is no child. The caller owns
 * the handle, which is as one of kin_process_start. Safety: any thread | after fork: the handle is
 * only good in the process that started. */
KIN_API KIN_NODISCARD int kin_process_spawn(struct kin_arena *arena, const char *path,
                                            char *const argv[], const struct kin_spawn_opts *opts,
                                            struct kin_process **ret_process);

/* Wait until the child has ended and collect it. 0 when it has ended (also when it had before).
 * Errors: -ETIMEDOUT, -ECHILD (not the parent).
 * Blocks until the child ends or the deadline passes. Safety: any thread. */
KIN_API KIN_NODISCARD int kin_process_join(struct kin_process *process, kin_deadline deadline);

/* 1 while the child runs, 0 when it has ended. Errors: -ECHILD (not the parent). */
KIN_API int kin_process_is_alive(struct kin_process *process);

/* How the child ended: its exit status, or the negative signal number that killed it.
 * Errors: -EAGAIN (still running), -ECHILD (not the parent, or somebody else collected it and the
 * status is lost). */
KIN_API int kin_process_exitcode(struct kin_process *process, int *ret_exitcode);

/* Send SIGTERM, SIGKILL, or any signal; 0 also when the child has ended already.
 * Errors: -EINVAL (no such signal), -EPERM, -ECHILD (not the parent). */
KIN_API int kin_process_terminate(struct kin_process *process);
KIN_API int kin_process_kill(struct kin_process *process);
KIN_API int kin_process_signal(struct kin_process *process, int signal);

KIN_API pid_t kin_process_pid(const struct kin_process *process);
KIN_API const char *kin_process_name(const struct kin_process *process);

/* A pidfd that becomes readable when the child ends, for poll and epoll. It belongs to the handle
 * and is closed with it. */
KIN_API int kin_process_fd(const struct kin_process *process);

/* Give the handle back. A child that still runs goes on; it is collected later. NULL is ignored. */
KIN_API void kin_process_close(struct kin_process *process);

struct kin_process_info {
    uint32_t size; /* set by the caller: sizeof(struct kin_process_info) */
    pid_t pid;
    pid_t parent_pid; /* 0: the parent was not a participant */
    uint32_t daemon;
    char name[32];
};

/* The calling process as the arena knows it. Safety: any thread | any process. */
KIN_API int kin_process_current(struct kin_arena *arena, struct kin_process_info *ret_info);

/* The process that started the calling one. Errors: -ENOENT (there is none, or it is gone). */
KIN_API int kin_process_parent(struct kin_arena *arena, struct kin_process_info *ret_info);

/* The running children of the calling process. Fills at most max entries (each with its size set
 * by the caller in the first) and returns how many there are. */
KIN_API int kin_process_children(struct kin_arena *arena, struct kin_process_info *ret_infos,
                                 uint32_t max);

KIN_END

#endif
