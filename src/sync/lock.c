/* SPDX-License-Identifier: MIT
 * The lock. */
#include <kin/lock.h>

#include "sync/lock_word.h"

struct kin_lock {
    struct kini_handle handle;
};

int kin_lock_create(struct kin_arena *arena, const struct kin_lock_opts *given,
                    struct kin_lock **ret_lock)
{
    return kini_lock_create(arena, KINI_OBJECT_LOCK, given, sizeof(struct kin_lock), ret_lock);
}

int kin_lock_open(struct kin_arena *arena, const char *name, const struct kin_lock_opts *opts,
                  struct kin_lock **ret_lock)
{
    return kini_lock_open(arena, KINI_OBJECT_LOCK, KINI_BY_NAME(name), opts, false,
                          sizeof(struct kin_lock), ret_lock);
}

int kin_lock_find(struct kin_arena *arena, const char *name, struct kin_lock **ret_lock)
{
    return kini_lock_open(arena, KINI_OBJECT_LOCK, KINI_BY_NAME(name), NULL, true,
                          sizeof(struct kin_lock), ret_lock);
}

int kin_lock_inherit(struct kin_arena *arena, uint32_t position, struct kin_lock **ret_lock)
{
    return kini_lock_open(arena, KINI_OBJECT_LOCK, KINI_BY_POSITION(position), NULL, true,
                          sizeof(struct kin_lock), ret_lock);
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
    return kini_lock_locked(&lock->handle, KINI_OBJECT_LOCK);
}

int kin_lock_owner(struct kin_lock *lock, struct kin_owner *ret_owner)
{
    return kini_lock_owner(&lock->handle, KINI_OBJECT_LOCK, ret_owner);
}

int kin_lock_waiting(struct kin_lock *lock)
{
    return kini_lock_waiting(&lock->handle, KINI_OBJECT_LOCK);
}

int64_t kin_lock_abandoned(struct kin_lock *lock)
{
    return kini_lock_abandoned(&lock->handle, KINI_OBJECT_LOCK);
}
