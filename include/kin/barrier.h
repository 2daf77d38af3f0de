/* SPDX-License-Identifier: MIT
 * Barrier: parties wait for one another.
 *
 * A barrier that can no longer fill is broken: everybody who waits or comes gets -EPIPE until it is
 * reset. It breaks when a wait times out, when it is aborted, when the action fails, and when a
 * process dies that has ever waited at it. A process that leaves the arena in good order does not
 * break it. */
#ifndef KIN_BARRIER_H
#define KIN_BARRIER_H

#include <kin/arena.h>

KIN_BEGIN

#define KIN_BARRIER_PARTIES_MAX 4095u

struct kin_barrier;

struct kin_barrier_opts {
    uint32_t size;            /* sizeof(struct kin_barrier_opts); 0 stands for it too */
    uint32_t flags;           /* 0 */
    int (*action)(void *arg); /* run by the last to arrive before any goes on; NULL: none. A
                                 negative result breaks the barrier */
    void *action_arg;
    const char *name; /* for observers, up to 31 bytes; NULL: none */
};

/* Create a barrier of so many parties. action is known to this process and those forked from it
 * later. Errors: -EINVAL (no parties, or too many), -E2BIG, -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too. */
KIN_API KIN_NODISCARD int kin_barrier_create(struct kin_arena *arena, uint32_t parties_count,
                                             const struct kin_barrier_opts *opts,
                                             struct kin_barrier **ret_barrier);

/* The barrier of that name in the arena, which is created if there is none: see <kin/arena.h>.
 * It must have as many parties. The action is that of this process. */
KIN_API KIN_NODISCARD int kin_barrier_open(struct kin_arena *arena, const char *name,
                                           uint32_t parties_count,
                                           const struct kin_barrier_opts *opts,
                                           struct kin_barrier **ret_barrier);
KIN_API KIN_NODISCARD int kin_barrier_find(struct kin_arena *arena, const char *name,
                                           struct kin_barrier **ret_barrier);
KIN_API KIN_NODISCARD int kin_barrier_inherit(struct kin_arena *arena, uint32_t position,
                                              struct kin_barrier **ret_barrier);

/* From now on this handle's action is that one, as if it were in its options.
 * Safety: when no thread of the process waits with it. */
KIN_API void kin_barrier_use_action(struct kin_barrier *barrier, int (*action)(void *arg),
                                    void *arg);

/* Give this process's handle back. Threads of this process that wait wake with -ESTALE, and the
 * barrier is broken then. NULL is ignored. Safety: when no other thread is about to use it. */
KIN_API void kin_barrier_destroy(struct kin_barrier *barrier);

/* Wait until as many wait as there are parties. Returns the arrival index, 0 for the first to
 * parties_count - 1 for the last, which runs the action.
 * Errors: -EPIPE (the barrier is broken, or was reset meanwhile), -ETIMEDOUT (the barrier is broken
 * now, unless it was only waiting for the action of those before; a deadline that has passed breaks
 * it unless this is the last to arrive), -ESTALE, the negative result of the action (only where it
 * ran; the others get -EPIPE). Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_barrier_wait(struct kin_barrier *barrier, kin_deadline deadline);

/* The two halves of wait, for callers that have something else to do in between. Arrive returns the
 * arrival index and, in ret_generation, what to wait for; the last to arrive runs the action and
 * need not wait. It blocks only while the action of those before runs; -ETIMEDOUT: not arrived. */
KIN_API KIN_NODISCARD int kin_barrier_arrive(struct kin_barrier *barrier, kin_deadline deadline,
                                             uint32_t *ret_generation);
/* Wait until the generation is full: 0. Errors: -ETIMEDOUT (which breaks nothing: wait again, or
 * abort), -EPIPE, -ESTALE, -EINVAL (a generation that is still to come).
 * Safety: any thread | the process that arrived. */
KIN_API KIN_NODISCARD int kin_barrier_await(struct kin_barrier *barrier, uint32_t generation,
                                            kin_deadline deadline);

/* Make it empty and whole again. Who waits gets -EPIPE. */
KIN_API int kin_barrier_reset(struct kin_barrier *barrier);
/* Break it. Who waits gets -EPIPE. */
KIN_API int kin_barrier_abort(struct kin_barrier *barrier);

KIN_API int kin_barrier_parties(struct kin_barrier *barrier);
KIN_API int kin_barrier_waiting(struct kin_barrier *barrier); /* how many have arrived */
KIN_API int kin_barrier_broken(struct kin_barrier *barrier);  /* 1 or 0 */
/* How often it broke because a process had died. */
KIN_API int64_t kin_barrier_abandoned(struct kin_barrier *barrier);

KIN_END

#endif
