/* SPDX-License-Identifier: MIT
 * The condition.
 *
 *   +0    an rlock of its own (unused when a lock was given)
 *   +176  wait queue    chosen
 *
 * Who waits is in the queue before it releases the lock, so nothing is missed. A notification
 * chooses exactly so many of those in the queue: who spins is told at once, who sleeps is moved to
 * the queue of the lock. The notification stands in its wait_token until it has the lock again.
 *
 * Crash states: (1) a waiter dies QUEUED: off the list. (2) dies chosen, or with the token set: the
 * notification passes to the next (kini_wait_repair). (3) the notifier dies in the middle: those
 * chosen are woken (wake_target), the others were not notified. (4) the holder of the own rlock
 * dies: as every rlock. */
#include <kin/condition.h>

#include "base/error.h"
#include "sync/rlock.h"
#include "sync/types.h"
#include "sync/watch.h"

struct kini_condition_shm {
    struct kini_lock_shm own;
    struct kini_waitq_shm waiters;
};

struct kin_condition {
    struct kini_handle handle;  /* its shm begins with the own rlock */
    struct kini_handle *locked; /* the lock to use: a handle of the user's, or our own */
    bool recursive;
};

/* --- create --------------------------------------------------------------------------------- */

/* given: the tag of the lock that was given; 0: none. Who opens the condition by name must come
 * with the same lock. */
static void init(void *memory, const void *given)
{
    struct kini_condition_shm *shm = memory;
    kini_lock_init(&shm->own, NULL);
    shm->own.given_tag = *(const uint32_t *)given;
    kini_waitq_init(&shm->waiters, 0);
}

static bool is_good(const struct kin_arena *arena, void *memory)
{
    struct kini_condition_shm *shm = memory;
    return kini_lock_is_good(arena, &shm->own) && kini_waitq_is_good(arena, &shm->waiters, 0);
}

static const struct kini_kind condition_kind = {KINI_OBJECT_CONDITION, sizeof(struct kin_condition),
                                                sizeof(struct kini_condition_shm), is_good};

static int check_lock(struct kin_arena *arena, struct kini_handle *lock, uint32_t type)
{
    int r = kini_handle_check(lock, type);
    if (r == 0 && lock->arena != arena)
        r = kini_fail(-EXDEV, "the lock is of another arena than the condition");
    return r;
}

/* The lock that was given; NULL: none. */
static int copy_opts(struct kin_arena *arena, struct kin_condition_opts *ret_opts,
                     const struct kin_condition_opts *given, struct kini_handle **ret_lock)
{
    int r = kini_opts_copy(ret_opts, sizeof *ret_opts, given);
    if (r < 0 || (r = kini_no_flags(ret_opts->flags)) < 0)
        return r;
    if (ret_opts->lock != NULL && ret_opts->rlock != NULL)
        return kini_fail(-EINVAL, "both a lock and an rlock; one of them is wanted");
    *ret_lock = ret_opts->lock ? (struct kini_handle *)ret_opts->lock
                               : (struct kini_handle *)ret_opts->rlock;
    if (*ret_lock == NULL)
        return 0;
    return check_lock(arena, *ret_lock, ret_opts->lock ? KINI_OBJECT_LOCK : KINI_OBJECT_RLOCK);
}

static void use_lock(struct kin_condition *condition, struct kini_handle *lock)
{
    condition->locked = lock ? lock : &condition->handle;
    condition->recursive = lock == NULL || lock->type == KINI_OBJECT_RLOCK;
}

int kin_condition_create(struct kin_arena *arena, const struct kin_condition_opts *given,
                         struct kin_condition **ret_condition)
{
    struct kin_condition_opts opts;
    struct kini_handle *lock = NULL;
    int r = copy_opts(arena, &opts, given, &lock);
    if (r < 0)
        return r;
    const uint32_t given_tag = lock ? lock->tag : 0;
    const struct kini_maker maker = {.init = init, .arg = &given_tag};
    struct kin_condition *condition;
    r = kini_handle_make(arena, &condition_kind, opts.name, &maker, &condition);
    if (r < 0)
        return r;
    use_lock(condition, lock);
    *ret_condition = condition;
    return 0;
}

static int open_which(struct kin_arena *arena, const struct kini_which *which,
                      const struct kin_condition_opts *given, bool find,
                      struct kin_condition **ret_condition)
{
    struct kin_condition_opts opts;
    struct kini_handle *lock = NULL;
    int r = copy_opts(arena, &opts, given, &lock);
    if (r < 0)
        return r;
    const uint32_t given_tag = lock ? lock->tag : 0;
    const struct kini_maker maker = {.init = init, .arg = &given_tag};
    struct kin_condition *condition;
    r = kini_handle_open(arena, &condition_kind, which, find ? NULL : &maker, &condition);
    if (r < 0)
        return r;
    uint32_t is = ((struct kini_condition_shm *)condition->handle.shm)->own.given_tag;
    if (is != given_tag) {
        kin_condition_destroy(condition);
        return kini_fail(-EINVAL, is == 0 ? "the condition has a lock of its own"
                                          : "the condition goes with another lock, to be given");
    }
    use_lock(condition, lock);
    *ret_condition = condition;
    return 0;
}

int kin_condition_open(struct kin_arena *arena, const char *name,
                       const struct kin_condition_opts *opts, struct kin_condition **ret_condition)
{
    return open_which(arena, KINI_BY_NAME(name), opts, false, ret_condition);
}

int kin_condition_find(struct kin_arena *arena, const char *name,
                       const struct kin_condition_opts *opts, struct kin_condition **ret_condition)
{
    return open_which(arena, KINI_BY_NAME(name), opts, true, ret_condition);
}

int kin_condition_inherit(struct kin_arena *arena, uint32_t position,
                          const struct kin_condition_opts *opts,
                          struct kin_condition **ret_condition)
{
    return open_which(arena, KINI_BY_POSITION(position), opts, true, ret_condition);
}

void kin_condition_destroy(struct kin_condition *condition)
{
    kini_handle_close((struct kini_handle *)condition);
}

/* This process gives its handle back, with a thread of it on the way from a wait to a lock that was
 * given: what it was notified of ends with it. */
static void forget_tokens(struct kini_self *self, uint64_t queue)
{
    uint32_t high = kini_load_acq(&self->arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &self->arena->threads[i];
        uint64_t state = kini_load_acq(&t->state), token = queue;
        if ((state & 1) && KINI_THREAD_SLOT(state) == self->slot)
            kini_cas(&t->wait_token, &token, 0);
    }
}

void kini_condition_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot)
{
    kini_lock_holder_died(self, offset, slot);
    struct kini_condition_shm *shm = kini_at(self->arena, offset);
    if (slot == self->slot)
        forget_tokens(self, kini_offset(self->arena, &shm->waiters));
    kini_waitq_nudge_all(self->arena, &shm->waiters);
}

/* --- the lock ------------------------------------------------------------------------------- */

static int acquire(struct kin_condition *condition, kin_deadline deadline, bool wait)
{
    int r;
    struct kini_self *self = kini_handle_enter(&condition->handle, KINI_OBJECT_CONDITION, &r);
    if (kini_unlikely(self == NULL))
        return r;
    return condition->recursive ? kini_rlock_acquire(self, condition->locked, deadline, wait)
                                : kini_lock_acquire(self, condition->locked, deadline, wait);
}

int kin_condition_acquire(struct kin_condition *condition, kin_deadline deadline)
{
    return acquire(condition, deadline, true);
}

int kin_condition_try_acquire(struct kin_condition *condition)
{
    return acquire(condition, KIN_NOW, false);
}

int kin_condition_release(struct kin_condition *condition)
{
    int r;
    struct kini_self *self = kini_handle_enter(&condition->handle, KINI_OBJECT_CONDITION, &r);
    if (kini_unlikely(self == NULL))
        return r;
    return condition->recursive ? kini_rlock_release(self, condition->locked->shm)
                                : kini_lock_release(self, condition->locked->shm);
}

/* The calling thread, if it holds the lock. */
static struct kini_self *enter_locked(struct kin_condition *condition, int *ret_error)
{
    struct kini_self *self =
        kini_handle_enter(&condition->handle, KINI_OBJECT_CONDITION, ret_error);
    if (kini_unlikely(self == NULL))
        return NULL;
    if (kini_likely(kini_rlock_is_mine(self, condition->locked->shm)))
        return self;
    *ret_error = kini_fail(-EPERM, "the calling thread does not hold the condition's lock");
    return NULL;
}

/* However deep. Returns the depth. */
static uint32_t release_all(struct kini_self *self, struct kin_condition *condition)
{
    struct kini_lock_shm *lock = condition->locked->shm;
    uint32_t depth = 1;
    if (condition->recursive) {
        depth = kini_load(&lock->depth);
        self->rlocks--;
    }
    kini_lock_release(self, lock);
    return depth;
}

static int acquire_again(struct kini_self *self, struct kini_handle *lock, bool recursive,
                         uint32_t depth, bool moved)
{
    int r = moved ? kini_lock_acquire_moved(self, lock)
                  : kini_lock_acquire(self, lock, KIN_NEVER, true);
    bool told = r == -EOWNERDEAD;
    while (r == -EOWNERDEAD) /* once for each death; what else can a waiter do but hold it again */
        r = kini_lock_acquire(self, lock, KIN_NEVER, true);
    if (told && r == 0)
        r = KIN_ABANDONED;
    if (r >= 0 && recursive) {
        kini_store(&((struct kini_lock_shm *)lock->shm)->depth, depth);
        self->rlocks++;
    }
    return r;
}

/* --- wait ----------------------------------------------------------------------------------- */

static int64_t is_told(struct kini_self *self, void *arg)
{
    struct kini_handle *handle = arg;
    struct kini_condition_shm *shm = handle->shm;
    return kini_waitq_is_told(self, &shm->waiters) ? 0 : kini_handle_not_yet(handle);
}

/* Until told, the deadline or the end of the handle. In the queue already. */
static int sleep_until_told(struct kini_self *self, struct kini_handle *handle,
                            kin_deadline deadline)
{
    int64_t r = kini_wait_spin(self, is_told, handle, true);
    self->idle_slices = 0;
    bool timed_out = false;
    while (r == -EAGAIN && !timed_out) {
        timed_out = kini_wait_sleep(self, deadline);
        r = is_told(self, handle);
    }
    kini_watch_leave(self);
    return r == -EAGAIN ? -ETIMEDOUT : (int)r;
}

/* Off the queue, or moved to that of the lock. r is how the sleep ended; returns how the wait ends:
 * 0 if we were told of a notification. */
static int end_of_sleep(struct kini_self *self, struct kini_condition_shm *shm, int r,
                        bool *ret_moved)
{
    bool told = kini_waitq_withdraw(self, &shm->waiters);
    *ret_moved = told && kini_load_acq(&self->shm->wait_state) == KINI_WAIT_QUEUED;
    if (*ret_moved)
        return 0;
    if (told) { /* before the queue forgets that we were chosen */
        kini_store(&self->shm->wait_token, kini_offset(self->arena, &shm->waiters));
        kini_compiler_barrier();
    }
    kini_waitq_forget(self);
    if (told && r == -ESTALE) { /* not for us any more */
        kini_waitq_wake(self, &shm->waiters, 1);
        kini_store(&self->shm->wait_token, 0);
        return r;
    }
    return told ? 0 : r;
}

int kin_condition_wait(struct kin_condition *condition, kin_deadline deadline)
{
    int r;
    struct kini_self *self = enter_locked(condition, &r);
    if (self == NULL)
        return r;
    if ((r = kini_refuse_vfork(self)) < 0)
        return r;
    struct kini_handle *lock = condition->locked;
    struct kini_condition_shm *shm = condition->handle.shm;
    bool recursive = condition->recursive;
    kini_handle_begin_wait(self, &condition->handle);
    kini_store(&self->shm->wait_since_ns, (uint64_t)kin_now_ns());
    kini_waitq_enter(self, &shm->waiters);
    uint32_t depth = release_all(self, condition);

    r = deadline <= KIN_NOW ? -ETIMEDOUT : sleep_until_told(self, &condition->handle, deadline);
    bool moved;
    r = end_of_sleep(self, shm, r, &moved);
    /* Whoever destroys the handle may hold a lock that was given: it must not wait for us then. */
    bool given = lock != &condition->handle;
    struct kini_handle *handle = &condition->handle;
    if (given)
        kini_handle_end_wait(handle, r);
    int again = acquire_again(self, lock, recursive, depth, moved);
    kini_compiler_barrier();
    kini_store(&self->shm->wait_token, 0);
    if (!given)
        kini_handle_end_wait(handle, r);
    /* Of a death somebody must be told, even if the time is over, too. */
    return r == -ETIMEDOUT && again != 0 ? again : r < 0 ? r : again;
}

int kin_condition_wait_for(struct kin_condition *condition, int (*predicate)(void *arg), void *arg,
                           kin_deadline deadline)
{
    int r;
    if (enter_locked(condition, &r) == NULL)
        return r;
    for (;;) {
        r = predicate(arg);
        if (r != 0)
            return r;
        r = kin_condition_wait(condition, deadline);
        if (r == -ETIMEDOUT)
            return predicate(arg);
        if (r == KIN_ABANDONED)
            return kini_fail(-EOWNERDEAD, "a holder of the condition's lock died meanwhile");
        if (r < 0)
            return r;
    }
}

/* --- notify --------------------------------------------------------------------------------- */

static int notify(struct kin_condition *condition, uint32_t count)
{
    int r;
    struct kini_self *self = enter_locked(condition, &r);
    if (self == NULL)
        return r;
    struct kini_condition_shm *shm = condition->handle.shm;
    if (kini_load_sc(&shm->waiters.nwait) == 0)
        return 0;
    struct kini_lock_shm *lock = condition->locked->shm;
    return (int)kini_waitq_pass(self, &shm->waiters, &lock->waiters, count);
}

int kin_condition_notify(struct kin_condition *condition, uint32_t count)
{
    return count == 0 ? kini_fail(-EINVAL, "notify 0 of those who wait") : notify(condition, count);
}

int kin_condition_notify_all(struct kin_condition *condition)
{
    return notify(condition, UINT32_MAX);
}

int kin_condition_waiting(struct kin_condition *condition)
{
    int r = kini_handle_check(&condition->handle, KINI_OBJECT_CONDITION);
    struct kini_condition_shm *shm = condition->handle.shm;
    return r < 0 ? r : (int)kini_load_acq(&shm->waiters.nwait);
}
