/* SPDX-License-Identifier: MIT
 * Condition: wait, with a lock released meanwhile, until another one says that something changed.
 *
 * A notification goes to those who wait when it is given. If one of them dies before its wait has
 * returned, the notification passes to the next who waits. */
#ifndef KIN_CONDITION_H
#define KIN_CONDITION_H

#include <kin/lock.h>

KIN_BEGIN

struct kin_condition;

struct kin_condition_opts {
    uint32_t size;           /* sizeof(struct kin_condition_opts); 0 stands for it too */
    uint32_t flags;          /* 0 */
    struct kin_lock *lock;   /* the lock to use, which must outlive the condition's handle … */
    struct kin_rlock *rlock; /* … or the rlock; both NULL: an rlock of its own */
    const char *name;        /* for observers, up to 31 bytes; NULL: none */
};

/* Create a condition. Errors: -EINVAL (both a lock and an rlock), -EXDEV (the lock is of another
 * arena), -EPROTOTYPE (it is no lock), -E2BIG, -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too. */
KIN_API KIN_NODISCARD int kin_condition_create(struct kin_arena *arena,
                                               const struct kin_condition_opts *opts,
                                               struct kin_condition **ret_condition);

/* The condition of that name in the arena, which is created if there is none: see <kin/arena.h>.
 * Find and inherit take options, too: the lock that was given to the condition is to be given by
 * each process (-EINVAL if it is another one). */
KIN_API KIN_NODISCARD int kin_condition_open(struct kin_arena *arena, const char *name,
                                             const struct kin_condition_opts *opts,
                                             struct kin_condition **ret_condition);
KIN_API KIN_NODISCARD int kin_condition_find(struct kin_arena *arena, const char *name,
                                             const struct kin_condition_opts *opts,
                                             struct kin_condition **ret_condition);
KIN_API KIN_NODISCARD int kin_condition_inherit(struct kin_arena *arena, uint32_t position,
                                                const struct kin_condition_opts *opts,
                                                struct kin_condition **ret_condition);

/* Give this process's handle back, not that of a lock which was given. Threads of this process that
 * wait wake with -ESTALE. NULL is ignored. Safety: when no other thread is about to use it. */
KIN_API void kin_condition_destroy(struct kin_condition *condition);

/* The lock of the condition: as kin_lock_… and kin_rlock_… */
KIN_API KIN_NODISCARD int kin_condition_acquire(struct kin_condition *condition,
                                                kin_deadline deadline);
KIN_API KIN_NODISCARD int kin_condition_try_acquire(struct kin_condition *condition);
KIN_API int kin_condition_release(struct kin_condition *condition);

/* Release the lock (an rlock entirely, however deep), wait to be notified, acquire the lock again
 * as deep as it was. 0 when notified; there are no wakes without a cause. KIN_ABANDONED when a
 * holder of the lock died meanwhile: the lock is held then, too; notified or not, or too late, look
 * again at what the lock guards. Errors: -ETIMEDOUT (the deadline passed; the lock is held again,
 * which may take longer), -EPERM (the calling thread does not hold the lock), -ESTALE (the handle
 * was destroyed; the lock is held again if it is still there). Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_condition_wait(struct kin_condition *condition,
                                             kin_deadline deadline);

/* Wait until predicate(arg) is not zero, which is called with the lock held: first at once, then
 * after each notification and at the deadline. Returns what it returned, if that is positive, or 0
 * at the deadline. Errors: a negative result of the predicate, those of wait, and -EOWNERDEAD when
 * a holder of the lock died meanwhile (the lock is held; call again to go on waiting). */
KIN_API KIN_NODISCARD int kin_condition_wait_for(struct kin_condition *condition,
                                                 int (*predicate)(void *arg), void *arg,
                                                 kin_deadline deadline);

/* Wake the count that wait longest, or all. The lock must be held by the calling thread.
 * Returns how many were woken. Errors: -EPERM (the lock is not held), -EINVAL (count is 0).
 * Does not block. Safety: any thread | any process. */
KIN_API int kin_condition_notify(struct kin_condition *condition, uint32_t count);
KIN_API int kin_condition_notify_all(struct kin_condition *condition);

/* How many wait to be notified. */
KIN_API int kin_condition_waiting(struct kin_condition *condition);

KIN_END

#endif
