/* SPDX-License-Identifier: MIT
 * Once: a lock word that ends as DONE. */
#include <kin/once.h>

#include "base/error.h"
#include "sync/lock_word.h"

struct kin_once {
    struct kini_handle handle;
};

static void init(void *shm, const void *unused)
{
    (void)unused;
    kini_lock_init(shm, NULL);
}

static const struct kini_kind once_kind = {KINI_OBJECT_ONCE, sizeof(struct kin_once),
                                           sizeof(struct kini_lock_shm), kini_lock_is_good};
static const struct kini_maker maker = {.init = init};

static int copy_opts(struct kin_once_opts *ret_opts, const struct kin_once_opts *given)
{
    int r = kini_opts_copy(ret_opts, sizeof *ret_opts, given);
    return r < 0 ? r : kini_no_flags(ret_opts->flags);
}

int kin_once_create(struct kin_arena *arena, const struct kin_once_opts *given,
                    struct kin_once **ret_once)
{
    struct kin_once_opts opts;
    int r = copy_opts(&opts, given);
    return r < 0 ? r : kini_handle_make(arena, &once_kind, opts.name, &maker, ret_once);
}

int kin_once_open(struct kin_arena *arena, const char *name, const struct kin_once_opts *given,
                  struct kin_once **ret_once)
{
    struct kin_once_opts opts;
    int r = copy_opts(&opts, given);
    return r < 0 ? r : kini_handle_open(arena, &once_kind, KINI_BY_NAME(name), &maker, ret_once);
}

int kin_once_find(struct kin_arena *arena, const char *name, struct kin_once **ret_once)
{
    return kini_handle_open(arena, &once_kind, KINI_BY_NAME(name), NULL, ret_once);
}

int kin_once_inherit(struct kin_arena *arena, uint32_t position, struct kin_once **ret_once)
{
    return kini_handle_open(arena, &once_kind, KINI_BY_POSITION(position), NULL, ret_once);
}

void kin_once_destroy(struct kin_once *once)
{
    kini_handle_close((struct kini_handle *)once);
}

static int run(struct kini_self *self, struct kin_once *once, int (*fn)(void *), void *arg)
{
    struct kini_lock_shm *shm = once->handle.shm;
    struct kin_arena *arena = once->handle.arena;
    self->rlocks++;
    int r = fn(arg);
    if (kini_enter(arena) != self)
        return kini_fail(-ECHILD, "a child that the function forked returned from it");
    self->rlocks--;
    if (r < 0) {
        kini_lock_release(self, shm);
        return r;
    }
    kini_store_sc(&shm->word, KINI_WORD_DONE);
    kini_waitq_nudge(self->arena, &shm->waiters, UINT32_MAX);
    return 0;
}

int kin_once_run(struct kin_once *once, int (*fn)(void *arg), void *arg, kin_deadline deadline)
{
    int r;
    struct kini_self *self = kini_handle_enter(&once->handle, KINI_OBJECT_ONCE, &r);
    if (kini_unlikely(self == NULL))
        return r;
    struct kini_lock_shm *shm = once->handle.shm;
    if (kini_likely(kini_load_acq(&shm->word) == KINI_WORD_DONE))
        return 0;
    if (fn == NULL)
        return kini_fail(-EINVAL, "no function to run");
    if (kini_load(&shm->word) == self->owner_word)
        return kini_fail(-EDEADLK, "the function that is run once calls itself");
    kini_handle_begin_wait(self, &once->handle);
    r = kini_lock_acquire(self, &once->handle, deadline, true);
    r = r == -EALREADY ? 0 : r < 0 ? r : run(self, once, fn, arg);
    if (r != -ECHILD)
        kini_handle_end_wait(&once->handle, r);
    return r;
}

int kin_once_done(struct kin_once *once)
{
    int r = kini_handle_check(&once->handle, KINI_OBJECT_ONCE);
    struct kini_lock_shm *shm = once->handle.shm;
    return r < 0 ? r : kini_load_acq(&shm->word) == KINI_WORD_DONE;
}

int64_t kin_once_abandoned(struct kin_once *once)
{
    return kini_lock_abandoned(&once->handle, KINI_OBJECT_ONCE);
}
