/* SPDX-License-Identifier: MIT
 * Semaphore: a number of permits. acquire takes one and waits while there is none, release gives
 * one back; anybody may release.
 *
 * When a process dies, or leaves the arena, the permits that it had acquired and not released come
 * back, if the semaphore was created with a value of one or more (it stands for a resource then;
 * one created with zero is a signal, of which nobody holds anything) or is bounded. What comes back
 * never lifts the value above the initial one. What counts is what the process acquired less what
 * it released, all its threads together; what another process released for it counts as held still.
 * The same for a process that is killed in the middle: a permit is either taken or not. */
#ifndef KIN_SEMAPHORE_H
#define KIN_SEMAPHORE_H

#include <kin/arena.h>

KIN_BEGIN

#define KIN_SEMAPHORE_MAX ((1u << 27) - 1) /* the largest value */

struct kin_semaphore;

struct kin_semaphore_opts {
    uint32_t size;    /* sizeof(struct kin_semaphore_opts); 0 stands for it too */
    uint32_t bounded; /* 1: a release beyond the initial value is an error */
    const char *name; /* for observers, up to 31 bytes; NULL: none */
};

/* Create a semaphore of that value. Errors: -EINVAL (value above KIN_SEMAPHORE_MAX), -E2BIG,
 * -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too, but no permits. */
KIN_API KIN_NODISCARD int kin_semaphore_create(struct kin_arena *arena, uint32_t value,
                                               const struct kin_semaphore_opts *opts,
                                               struct kin_semaphore **ret_semaphore);

/* The semaphore of that name in the arena, which is created if there is none: see <kin/arena.h>.
 * Its initial value must be that one, and it must be bounded if opts says so. */
KIN_API KIN_NODISCARD int kin_semaphore_open(struct kin_arena *arena, const char *name,
                                             uint32_t value, const struct kin_semaphore_opts *opts,
                                             struct kin_semaphore **ret_semaphore);
KIN_API KIN_NODISCARD int kin_semaphore_find(struct kin_arena *arena, const char *name,
                                             struct kin_semaphore **ret_semaphore);
KIN_API KIN_NODISCARD int kin_semaphore_inherit(struct kin_arena *arena, uint32_t position,
                                                struct kin_semaphore **ret_semaphore);

/* Give this process's handle back, and the permits that it holds. Threads of this process that wait
 * wake with -ESTALE. NULL is ignored. Safety: when no other thread is about to use the handle. */
KIN_API void kin_semaphore_destroy(struct kin_semaphore *semaphore);

/* Take a permit. Blocks while there is none; a release wakes it, but who
 * comes meanwhile may be quicker.
 * Errors: -ETIMEDOUT (a deadline that has passed tries once), -ESTALE, -ENOSPC (this thread
 * has acquired permits of 64 semaphores and not released them itself). Safety: any thread | any
 * process | not in signal handlers. */
KIN_API KIN_NODISCARD int kin_semaphore_acquire(struct kin_semaphore *semaphore,
                                                kin_deadline deadline);

/* The same without waiting: -EAGAIN when there is none. */
KIN_API KIN_NODISCARD int kin_semaphore_try_acquire(struct kin_semaphore *semaphore);

/* Give a permit back, or a new one, and wake who waits longest.
 * Errors: -EOVERFLOW (bounded: beyond the initial value; else beyond KIN_SEMAPHORE_MAX).
 * Does not block. In a handler that interrupts a kin call of its thread, or of a thread that has
 * never used the arena, the release is not counted for the process.
 * Safety: any thread | any process | async-signal-safe. */
KIN_API int kin_semaphore_release(struct kin_semaphore *semaphore);
/* The same count times at once; all or none. Errors also: -EINVAL (count is 0). */
KIN_API int kin_semaphore_release_many(struct kin_semaphore *semaphore, uint32_t count);

/* Permits that are there now, and how many threads sleep until they get one. */
KIN_API int64_t kin_semaphore_value(struct kin_semaphore *semaphore);
KIN_API int kin_semaphore_waiting(struct kin_semaphore *semaphore);
/* Permits that the calling process has acquired less those it released, or 0; always 0 for a
 * signal. */
KIN_API int64_t kin_semaphore_held(struct kin_semaphore *semaphore);
/* Permits that came back because their holders had died. */
KIN_API int64_t kin_semaphore_abandoned(struct kin_semaphore *semaphore);

KIN_END

#endif
