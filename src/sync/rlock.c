/* SPDX-License-Identifier: MIT
 * The rlock: a lock word, and how often its holder acquired it. The owner is the thread with its
 * generation, so neither a forked child nor a thread that comes later in the same record takes
 * itself for it. */
#include "sync/rlock.h"

#include <kin/lock.h>

#include "base/error.h"

#define DEPTH_MAX 0x7fffffffu

struct kin_rlock {
    struct kini_handle handle;
};

int kin_rlock_create(struct kin_arena *arena, const struct kin_lock_opts *given,
                     struct kin_rlock **ret_rlock)
{
    return kini_lock_create(arena, KINI_OBJECT_RLOCK, given, sizeof(struct kin_rlock), ret_rlock);
}

int kin_rlock_open(struct kin_arena *arena, const char *name, const struct kin_lock_opts *opts,
                   struct kin_rlock **ret_rlock)
{
    return kini_lock_open(arena, KINI_OBJECT_RLOCK, KINI_BY_NAME(name), opts, false,
                          sizeof(struct kin_rlock), ret_rlock);
}

int kin_rlock_find(struct kin_arena *arena, const char *name, struct kin_rlock **ret_rlock)
{
    return kini_lock_open(arena, KINI_OBJECT_RLOCK, KINI_BY_NAME(name), NULL, true,
                          sizeof(struct kin_rlock), ret_rlock);
}

int kin_rlock_inherit(struct kin_arena *arena, uint32_t position, struct kin_rlock **ret_rlock)
{
    return kini_lock_open(arena, KINI_OBJECT_RLOCK, KINI_BY_POSITION(position), NULL, true,
                          sizeof(struct kin_rlock), ret_rlock);
}

void kin_rlock_destroy(struct kin_rlock *rlock)
{
    kini_handle_close((struct kini_handle *)rlock);
}

int kini_rlock_acquire(struct kini_self *self, struct kini_handle *handle, kin_deadline deadline,
                       bool wait)
{
    struct kini_lock_shm *shm = handle->shm;
    if (kini_rlock_is_mine(self, shm)) {
        uint32_t depth = kini_load(&shm->depth);
        if (depth == DEPTH_MAX)
            return kini_fail(-EOVERFLOW, "the rlock was acquired %u times", depth);
        kini_store(&shm->depth, depth + 1);
        return 0;
    }
    uint64_t expected = 0;
    int r = 0;
    if (kini_likely(kini_cas(&shm->word, &expected, self->owner_word)))
        kini_store(&shm->depth, 1);
    else
        r = kini_lock_acquire_slow(self, handle, deadline, wait);
    self->rlocks += r >= 0;
    return r;
}

int kini_rlock_release(struct kini_self *self, struct kini_lock_shm *shm)
{
    if (kini_unlikely(!kini_rlock_is_mine(self, shm)))
        return kini_word_is_held(kini_load_acq(&shm->word))
                   ? kini_fail(-EACCES, "another thread holds the rlock")
                   : kini_fail(-EPERM, "nobody holds the rlock");
    uint32_t depth = kini_load(&shm->depth) - 1;
    kini_store(&shm->depth, depth);
    if (depth > 0)
        return 0;
    self->rlocks--;
    return kini_lock_release(self, shm);
}

static inline int acquire(struct kin_rlock *rlock, kin_deadline deadline, bool wait)
{
    int r;
    struct kini_self *self = kini_handle_enter(&rlock->handle, KINI_OBJECT_RLOCK, &r);
    if (kini_unlikely(self == NULL))
        return r;
    return kini_rlock_acquire(self, &rlock->handle, deadline, wait);
}

int kin_rlock_acquire(struct kin_rlock *rlock, kin_deadline deadline)
{
    return acquire(rlock, deadline, true);
}

int kin_rlock_try_acquire(struct kin_rlock *rlock)
{
    return acquire(rlock, KIN_NOW, false);
}

int kin_rlock_release(struct kin_rlock *rlock)
{
    int r;
    struct kini_self *self = kini_handle_enter(&rlock->handle, KINI_OBJECT_RLOCK, &r);
    if (kini_unlikely(self == NULL))
        return r;
    return kini_rlock_release(self, rlock->handle.shm);
}

/* --- questions ------------------------------------------------------------------------------ */

int kin_rlock_locked(struct kin_rlock *rlock)
{
    return kini_lock_locked(&rlock->handle, KINI_OBJECT_RLOCK);
}

int kin_rlock_owner(struct kin_rlock *rlock, struct kin_owner *ret_owner)
{
    return kini_lock_owner(&rlock->handle, KINI_OBJECT_RLOCK, ret_owner);
}

int64_t kin_rlock_depth(struct kin_rlock *rlock)
{
    int r;
    struct kini_self *self = kini_handle_enter(&rlock->handle, KINI_OBJECT_RLOCK, &r);
    if (self == NULL)
        return r;
    struct kini_lock_shm *shm = rlock->handle.shm;
    return kini_rlock_is_mine(self, shm) ? (int64_t)kini_load(&shm->depth) : 0;
}

int kin_rlock_waiting(struct kin_rlock *rlock)
{
    return kini_lock_waiting(&rlock->handle, KINI_OBJECT_RLOCK);
}

int64_t kin_rlock_abandoned(struct kin_rlock *rlock)
{
    return kini_lock_abandoned(&rlock->handle, KINI_OBJECT_RLOCK);
}
