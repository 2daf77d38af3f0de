/* SPDX-License-Identifier: MIT
 * Once: run a function once among all processes and threads. If the one that runs it dies or the
 * function fails, it has not been run, and the next one runs it. */
#ifndef KIN_ONCE_H
#define KIN_ONCE_H

#include <kin/arena.h>

KIN_BEGIN

struct kin_once;

struct kin_once_opts {
    uint32_t size;    /* sizeof(struct kin_once_opts); 0 stands for it too */
    uint32_t flags;   /* 0 */
    const char *name; /* for observers, up to 31 bytes; NULL: none */
};

/* Create a once. Errors: -EINVAL, -E2BIG, -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too. */
KIN_API KIN_NODISCARD int kin_once_create(struct kin_arena *arena, const struct kin_once_opts *opts,
                                          struct kin_once **ret_once);

/* The once of that name in the arena, which is created if there is none: see <kin/arena.h>. */
KIN_API KIN_NODISCARD int kin_once_open(struct kin_arena *arena, const char *name,
                                        const struct kin_once_opts *opts,
                                        struct kin_once **ret_once);
KIN_API KIN_NODISCARD int kin_once_find(struct kin_arena *arena, const char *name,
                                        struct kin_once **ret_once);
KIN_API KIN_NODISCARD int kin_once_inherit(struct kin_arena *arena, uint32_t position,
                                           struct kin_once **ret_once);

/* Give this process's handle back. Threads of this process that wait wake with -ESTALE. NULL is
 * ignored. Safety: when no other thread is about to use the handle. */
KIN_API void kin_once_destroy(struct kin_once *once);

/* Return 0 at once if it is done. Otherwise run fn(arg), or wait while another one runs it. What fn
 * wrote to shared memory is there for everybody who got 0.
 * Errors: -ETIMEDOUT (a deadline that has passed still runs fn if nobody does), -EDEADLK (called
 * from within fn), -ESTALE, a negative result of fn (where it ran).
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_once_run(struct kin_once *once, int (*fn)(void *arg), void *arg,
                                       kin_deadline deadline);

KIN_API int kin_once_done(struct kin_once *once); /* 1 or 0 */
/* How often a process died while it ran the function. */
KIN_API int64_t kin_once_abandoned(struct kin_once *once);

KIN_END

#endif
