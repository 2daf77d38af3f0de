/* SPDX-License-Identifier: MIT
 * The lock. */
#include <kin/lock.h>

#include "base/error.h"
#include "sync/lock_word.h"

struct kin_lock {
    struct kini_handle handle;
};

int kin_lock_create(struct kin_arena *arena, const struct kin_lock_opts *given,
                    struct kin_lock **ret_lock)
{
    struct kin_lock_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0)
        return r;
    if (opts.on_abandoned > KIN_REFUSE_ONCE)
        return kini_fail(-EINVAL, "on_abandoned is %u; there are 0 and 1", opts.on_abandoned);
    return kini_handle_create(arena, KINI_OBJECT_LOCK, opts.name, sizeof(struct kini_lock_shm),
                              kini_lock_init, &opts, sizeof(struct kin_lock), ret_lock);
}

void kin_lock_destroy(struct kin_lock *lock)
{
    kini_handle_close((struct kini_handle *)lock);
}

static inline int acquire(struct kin_lock *lock, kin_deadline deadline, bool wait)
{
    int r;
    struct kini_self *self = kini_handle_enter(&lock->handle, KINI_OBJECT_LOCK, &r);
    if (kini_unlikely(self == NULL))
        return r;
    return kini_lock_acquire(self, &lock->handle, deadline, wait);
}

int kin_lock_acquire(struct kin_lock *lock, kin_deadline deadline)
{
    return acquire(lock, deadline, true);
}

int kin_lock_try_acquire(struct kin_lock *lock)
{
    return acquire(lock, KIN_NOW, false);
}

int kin_lock_release(struct kin_lock *lock)
{
    int r;
    struct kini_self *self = kini_handle_enter(&lock->handle, KINI_OBJECT_LOCK, &r);
    if (kini_unlikely(self == NULL))
        return r;
    return kini_lock_release(self, lock->handle.shm);
}

/* --- questions ------------------------------------------------------------------------------ */

int kin_lock_locked(struct kin_lock *lock)
{
    int r = kini_handle_check(&lock->handle, KINI_OBJECT_LOCK);
    struct kini_lock_shm *shm = lock->handle.shm;
    return r < 0 ? r : kini_word_is_held(kini_load_acq(&shm->word));
}

int kin_lock_owner(struct kin_lock *lock, struct kin_owner *ret_owner)
{
    int r = kini_handle_check(&lock->handle, KINI_OBJECT_LOCK);
    if (r < 0)
        return r;
    uint64_t word = kini_load_acq(&((struct kini_lock_shm *)lock->handle.shm)->word);
    if (!kini_word_is_held(word))
        return kini_fail(-ENOENT, "nobody holds the lock");
    return kini_owner_tell(lock->handle.arena, word, ret_owner);
}

int kin_lock_waiting(struct kin_lock *lock)
{
    int r = kini_handle_check(&lock->handle, KINI_OBJECT_LOCK);
    struct kini_lock_shm *shm = lock->handle.shm;
    return r < 0 ? r : (int)kini_load_acq(&shm->waiters.nwait);
}

int64_t kin_lock_abandoned(struct kin_lock *lock)
{
    int r = kini_handle_check(&lock->handle, KINI_OBJECT_LOCK);
    if (r < 0)
        return r;
    return kini_lock_abandoned_count(lock->handle.shm);
}
