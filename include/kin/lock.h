/* SPDX-License-Identifier: MIT
 * Locks for processes and threads that survive their holders.
 *
 * lock   one holder; any process or thread may release it, as Python's.
 * rlock  one holder, which may acquire it again; only the thread that holds it releases it. A
 *        forked child never holds what its parent holds.
 *
 * When a holder dies, or leaves the arena, the lock is freed, and the next one to acquire it is
 * told: KIN_ABANDONED instead of 0. It holds the lock then; what the lock guards may be half done.
 * A lock stays held when only the thread that acquired it ends; an rlock counts as abandoned then.
 *
 * Nobody starves: whoever comes when the lock is free may have it, but every few milliseconds it is
 * kept for the one that waits longest. */
#ifndef KIN_LOCK_H
#define KIN_LOCK_H

#include <kin/arena.h>
#include <kin/error.h>

KIN_BEGIN

struct kin_lock;
struct kin_rlock;

/* What acquire does the first time after a holder died. */
enum kin_on_abandoned {
    KIN_TELL = 0,        /* acquire, and return KIN_ABANDONED */
    KIN_REFUSE_ONCE = 1, /* do not acquire, return -EOWNERDEAD: once for each death */
};

struct kin_lock_opts {
    uint32_t size;         /* sizeof(struct kin_lock_opts); 0 stands for it too */
    uint32_t on_abandoned; /* enum kin_on_abandoned */
    const char *name;      /* for observers, up to 31 bytes; NULL: none */
};

/* Who holds an object. */
struct kin_owner {
    int32_t pid, tid;
    char process[32]; /* names, "" if none was given */
    char thread[32];
};

/* Create a lock. Processes forked afterwards share it through the same handle.
 * Errors: -EINVAL, -E2BIG, -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too. */
KIN_API KIN_NODISCARD int kin_lock_create(struct kin_arena *arena, const struct kin_lock_opts *opts,
                                          struct kin_lock **ret_lock);

/* The lock of that name in the arena, which is created if there is none: see <kin/arena.h>.
 * on_abandoned, if it is not 0, must be that of the lock which is there. */
KIN_API KIN_NODISCARD int kin_lock_open(struct kin_arena *arena, const char *name,
                                        const struct kin_lock_opts *opts,
                                        struct kin_lock **ret_lock);
KIN_API KIN_NODISCARD int kin_lock_find(struct kin_arena *arena, const char *name,
                                        struct kin_lock **ret_lock);
KIN_API KIN_NODISCARD int kin_lock_inherit(struct kin_arena *arena, uint32_t position,
                                           struct kin_lock **ret_lock);

/* Give this process's handle back. The lock goes with the last process that has it. Threads of this
 * process that wait for it wake with -ESTALE; if this process holds the lock, it is abandoned.
 * NULL is ignored. Safety: when no other thread of the process is about to use the handle. */
KIN_API void kin_lock_destroy(struct kin_lock *lock);

/* Acquire. Blocks while somebody holds the lock; a release wakes it. 0, or KIN_ABANDONED.
 * Errors: -ETIMEDOUT (a deadline that has passed tries once), -EOWNERDEAD (KIN_REFUSE_ONCE),
 * -ESTALE (the handle was destroyed meanwhile).
 * Safety: any thread | any process | not in signal handlers. */
KIN_API KIN_NODISCARD int kin_lock_acquire(struct kin_lock *lock, kin_deadline deadline);

/* The same without waiting: -EAGAIN when somebody holds the lock. */
KIN_API KIN_NODISCARD int kin_lock_try_acquire(struct kin_lock *lock);

/* Release, also what another thread or process acquired. Errors: -EPERM (nobody holds it).
 * Does not block. Safety: any thread | any process | not in signal handlers. */
KIN_API int kin_lock_release(struct kin_lock *lock);

/* Whether somebody holds the lock: 1 or 0. */
KIN_API int kin_lock_locked(struct kin_lock *lock);
/* Who acquired it. Errors: -ENOENT (nobody). */
KIN_API int kin_lock_owner(struct kin_lock *lock, struct kin_owner *ret_owner);
/* How many threads sleep until they get it. */
KIN_API int kin_lock_waiting(struct kin_lock *lock);
/* How often it was freed because its holder had died. */
KIN_API int64_t kin_lock_abandoned(struct kin_lock *lock);

/* The same for an rlock, but: acquire succeeds at once in the thread that holds it, and as many
 * releases are needed as there were acquires. Errors of release: -EPERM (nobody holds it), -EACCES
 * (another thread does). Errors of acquire also: -EOVERFLOW (2^31 deep). */
KIN_API KIN_NODISCARD int kin_rlock_create(struct kin_arena *arena,
                                           const struct kin_lock_opts *opts,
                                           struct kin_rlock **ret_rlock);
/* The rlock of that name in the arena, which is created if there is none: see <kin/arena.h>.
 * on_abandoned as for a lock. */
KIN_API KIN_NODISCARD int kin_rlock_open(struct kin_arena *arena, const char *name,
                                         const struct kin_lock_opts *opts,
                                         struct kin_rlock **ret_rlock);
KIN_API KIN_NODISCARD int kin_rlock_find(struct kin_arena *arena, const char *name,
                                         struct kin_rlock **ret_rlock);
KIN_API KIN_NODISCARD int kin_rlock_inherit(struct kin_arena *arena, uint32_t position,
                                            struct kin_rlock **ret_rlock);

KIN_API void kin_rlock_destroy(struct kin_rlock *rlock);
KIN_API KIN_NODISCARD int kin_rlock_acquire(struct kin_rlock *rlock, kin_deadline deadline);
KIN_API KIN_NODISCARD int kin_rlock_try_acquire(struct kin_rlock *rlock);
KIN_API int kin_rlock_release(struct kin_rlock *rlock);
KIN_API int kin_rlock_locked(struct kin_rlock *rlock);
KIN_API int kin_rlock_owner(struct kin_rlock *rlock, struct kin_owner *ret_owner);
/* How often the calling thread has acquired it and not yet released: 0 when it does not hold it. */
KIN_API int64_t kin_rlock_depth(struct kin_rlock *rlock);
KIN_API int kin_rlock_waiting(struct kin_rlock *rlock);
KIN_API int64_t kin_rlock_abandoned(struct kin_rlock *rlock);

KIN_END

#endif
