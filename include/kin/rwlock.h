/* SPDX-License-Identifier: MIT
 * rwlock: many readers or one writer. Neither starves: readers that come while a writer waits let
 * it go first, and readers that waited during a write go before the next writer.
 *
 * When a holder dies, ends as a thread or leaves the arena, what it held is released. After a
 * writer died the next to acquire, reader or writer, is told by KIN_ABANDONED. */
#ifndef KIN_RWLOCK_H
#define KIN_RWLOCK_H

#include <kin/arena.h>
#include <kin/error.h>

KIN_BEGIN

struct kin_rwlock;

struct kin_rwlock_opts {
    uint32_t size;    /* sizeof(struct kin_rwlock_opts); 0 stands for it too */
    uint32_t flags;   /* 0 */
    const char *name; /* for observers, up to 31 bytes; NULL: none */
};

/* Create an rwlock. Errors: -EINVAL, -E2BIG, -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too, but holds nothing.
 */
KIN_API KIN_NODISCARD int kin_rwlock_create(struct kin_arena *arena,
                                            const struct kin_rwlock_opts *opts,
                                            struct kin_rwlock **ret_rwlock);

/* The rwlock of that name in the arena, which is created if there is none: see <kin/arena.h>. */
KIN_API KIN_NODISCARD int kin_rwlock_open(struct kin_arena *arena, const char *name,
                                          const struct kin_rwlock_opts *opts,
                                          struct kin_rwlock **ret_rwlock);
KIN_API KIN_NODISCARD int kin_rwlock_find(struct kin_arena *arena, const char *name,
                                          struct kin_rwlock **ret_rwlock);
KIN_API KIN_NODISCARD int kin_rwlock_inherit(struct kin_arena *arena, uint32_t position,
                                             struct kin_rwlock **ret_rwlock);

/* Give this process's handle back, and what it holds. Threads of this process that wait wake with
 * -ESTALE. NULL is ignored. Safety: when no other thread is about to use the handle. */
KIN_API void kin_rwlock_destroy(struct kin_rwlock *rwlock);

/* Acquire for reading, also again in a thread that reads already. 0, or KIN_ABANDONED.
 * Errors: -ETIMEDOUT (a deadline that has passed tries once), -EDEADLK (this thread writes),
 * -ESTALE, -ENOSPC (this thread holds 64 such objects).
 * Safety: any thread | any process | not in signal handlers. */
KIN_API KIN_NODISCARD int kin_rwlock_acquire_read(struct kin_rwlock *rwlock, kin_deadline deadline);
/* Acquire for writing. Errors as above; -EDEADLK: this thread reads or writes already. */
KIN_API KIN_NODISCARD int kin_rwlock_acquire_write(struct kin_rwlock *rwlock,
                                                   kin_deadline deadline);
/* The same without waiting: -EAGAIN. */
KIN_API KIN_NODISCARD int kin_rwlock_try_read(struct kin_rwlock *rwlock);
KIN_API KIN_NODISCARD int kin_rwlock_try_write(struct kin_rwlock *rwlock);

/* Release what the calling thread acquired last of it, for reading or for writing. Errors: -EPERM
 * (nobody holds it), -EACCES (others do, this thread does not). Does not block. */
KIN_API int kin_rwlock_release(struct kin_rwlock *rwlock);

KIN_API int64_t kin_rwlock_readers(struct kin_rwlock *rwlock); /* how many read */
KIN_API int kin_rwlock_writing(struct kin_rwlock *rwlock);     /* 1 when somebody writes, else 0 */
KIN_API int kin_rwlock_waiting(struct kin_rwlock *rwlock);     /* how many sleep, of both kinds */
/* How often a writer died. */
KIN_API int64_t kin_rwlock_abandoned(struct kin_rwlock *rwlock);

KIN_END

#endif
