/* SPDX-License-Identifier: MIT
 * The semaphore: a counted word (hold.h), whose value is the number of permits that are there.
 *
 *   +0   word | abandoned | initial | flags
 *   +48  wait queue    nudged
 *
 * A signal (created with 0 and not bounded) keeps no ledger: nobody holds anything of it. */
#include <kin/semaphore.h>

#include "base/error.h"
#include "sync/types.h"

struct kini_semaphore_shm {
    kini_a64 word;
    kini_a64 abandoned; /* W: who gave back what the dead held */
    uint32_t initial;   /* const after create, like those below */
    uint32_t bounded;
    uint32_t counted; /* 1: permits are held by processes */
    uint32_t reserved[5];
    struct kini_waitq_shm waiters;
};

struct kin_semaphore {
    struct kini_handle handle;
};

struct semaphore_facts {
    uint32_t initial, bounded;
};

static void init(void *memory, const void *arg)
{
    struct kini_semaphore_shm *shm = memory;
    const struct semaphore_facts *facts = arg;
    kini_waitq_init(&shm->waiters, 0);
    shm->initial = facts->initial;
    shm->bounded = facts->bounded;
    shm->counted = facts->initial > 0 || facts->bounded;
    kini_store(&shm->word, KINI_COUNTED(facts->initial, 0, 0));
}

static bool is_good(const struct kin_arena *arena, void *memory)
{
    struct kini_semaphore_shm *shm = memory;
    return kini_waitq_is_good(arena, &shm->waiters, 0) && shm->initial <= KIN_SEMAPHORE_MAX &&
           shm->bounded <= 1 && shm->counted == (shm->initial > 0 || shm->bounded);
}

static const struct kini_kind semaphore_kind = {KINI_OBJECT_SEMAPHORE, sizeof(struct kin_semaphore),
                                                sizeof(struct kini_semaphore_shm), is_good};

static int check_opts(uint32_t value, const struct kin_semaphore_opts *opts)
{
    if (value > KIN_SEMAPHORE_MAX)
        return kini_fail(-EINVAL, "a semaphore of %u; at most %u", value, KIN_SEMAPHORE_MAX);
    if (opts->bounded > 1)
        return kini_fail(-EINVAL, "bounded is %u; it can be 0 or 1", opts->bounded);
    return 0;
}

int kin_semaphore_create(struct kin_arena *arena, uint32_t value,
                         const struct kin_semaphore_opts *given,
                         struct kin_semaphore **ret_semaphore)
{
    struct kin_semaphore_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = check_opts(value, &opts)) < 0)
        return r;
    struct semaphore_facts facts = {.initial = value, .bounded = opts.bounded};
    const struct kini_maker maker = {.init = init, .arg = &facts};
    return kini_handle_make(arena, &semaphore_kind, opts.name, &maker, ret_semaphore);
}

int kin_semaphore_open(struct kin_arena *arena, const char *name, uint32_t value,
                       const struct kin_semaphore_opts *given, struct kin_semaphore **ret_semaphore)
{
    struct kin_semaphore_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = check_opts(value, &opts)) < 0)
        return r;
    struct semaphore_facts facts = {.initial = value, .bounded = opts.bounded};
    const struct kini_maker maker = {.init = init, .arg = &facts};
    struct kin_semaphore *semaphore;
    r = kini_handle_open(arena, &semaphore_kind, KINI_BY_NAME(name), &maker, &semaphore);
    if (r < 0)
        return r;
    struct kini_semaphore_shm *shm = semaphore->handle.shm;
    struct semaphore_facts is = {.initial = shm->initial, .bounded = shm->bounded};
    if (value != is.initial || (opts.bounded && !is.bounded)) {
        kin_semaphore_destroy(semaphore);
        return value != is.initial ? kini_handle_differs(name, "value", value, is.initial)
                                   : kini_handle_differs(name, "bounded", 1, 0);
    }
    *ret_semaphore = semaphore;
    return 0;
}

int kin_semaphore_find(struct kin_arena *arena, const char *name,
                       struct kin_semaphore **ret_semaphore)
{
    return kini_handle_open(arena, &semaphore_kind, KINI_BY_NAME(name), NULL, ret_semaphore);
}

int kin_semaphore_inherit(struct kin_arena *arena, uint32_t position,
                          struct kin_semaphore **ret_semaphore)
{
    return kini_handle_open(arena, &semaphore_kind, KINI_BY_POSITION(position), NULL,
                            ret_semaphore);
}

void kin_semaphore_destroy(struct kin_semaphore *semaphore)
{
    kini_handle_close((struct kini_handle *)semaphore);
}

/* --- acquire -------------------------------------------------------------------------------- */

static inline int64_t take_signal(struct kini_semaphore_shm *shm)
{
    uint64_t word = kini_load_sc(&shm->word);
    while (KINI_COUNTED_VALUE(word) > 0)
        if (kini_likely(kini_cas_sc(&shm->word, &word, word - KINI_COUNTED(1, 0, 0))))
            return 0;
    return -EAGAIN;
}

static inline int64_t take(struct kini_self *self, struct kini_semaphore_shm *shm, uint32_t tag)
{
    uint64_t word = kini_load_sc(&shm->word);
    if (KINI_COUNTED_VALUE(word) == 0)
        return -EAGAIN;
    if (!shm->counted)
        return take_signal(shm);
    struct kini_hold hold = kini_hold_begin(self, tag);
    int64_t r = kini_likely(hold.entry != KINI_HOLD_NONE) ? -EAGAIN : -ENOSPC;
    while (r == -EAGAIN && KINI_COUNTED_VALUE(word) > 0)
        if (kini_hold_try(self, &hold, &shm->word, &word, KINI_COUNTED_VALUE(word) - 1,
                          hold.count < KINI_HOLD_COUNT ? hold.count + 1 : hold.count))
            r = 0;
    kini_hold_end(self);
    if (kini_unlikely(r == -ENOSPC))
        kini_fail(-ENOSPC, "this thread holds permits of %u semaphores", KINI_HOLDS);
    return r;
}

static int64_t attempt(struct kini_self *self, void *arg)
{
    struct kini_handle *handle = arg;
    if (kini_unlikely(kini_load(&handle->closed) != 0))
        return -ESTALE;
    return take(self, handle->shm, handle->tag);
}

/* A signal that need not be waited for: who it is does not matter, so nothing is looked up. In a
 * function of its own, for the rest needs many registers. */
static inline struct kini_semaphore_shm *as_signal(struct kini_handle *handle)
{
    struct kini_semaphore_shm *shm = handle->shm;
    if (handle->type != KINI_OBJECT_SEMAPHORE || shm->counted)
        return NULL;
    return kini_likely(handle->epoch == handle->arena->epoch) ? shm : NULL;
}

static __attribute__((noinline)) int acquire(struct kin_semaphore *semaphore, kin_deadline deadline,
                                             bool wait)
{
    int r;
    struct kini_handle *handle = &semaphore->handle;
    struct kini_semaphore_shm *shm = handle->shm;
    struct kini_self *self = kini_handle_enter(handle, KINI_OBJECT_SEMAPHORE, &r);
    if (kini_unlikely(self == NULL))
        return r;
    int64_t done = take(self, shm, handle->tag);
    if (kini_likely(done != -EAGAIN) || !wait)
        return (int)done;
    if (deadline <= KIN_NOW)
        return -ETIMEDOUT;
    return (int)kini_handle_wait(self, handle, &shm->waiters, deadline, attempt, handle);
}

int kin_semaphore_acquire(struct kin_semaphore *semaphore, kin_deadline deadline)
{
    struct kini_semaphore_shm *signal = as_signal(&semaphore->handle);
    if (signal != NULL && take_signal(signal) == 0)
        return 0;
    return acquire(semaphore, deadline, true);
}

int kin_semaphore_try_acquire(struct kin_semaphore *semaphore)
{
    struct kini_semaphore_shm *signal = as_signal(&semaphore->handle);
    if (signal != NULL && take_signal(signal) == 0)
        return 0;
    return acquire(semaphore, KIN_NOW, false);
}

/* --- release: async-signal-safe ------------------------------------------------------------- */

/* This thread's record, if an operation of it can be counted now. */
static struct kini_self *counting(struct kin_arena *arena)
{
    struct kini_self *self = kini_last_self;
    if (kini_unlikely(self == NULL || self->arena != arena ||
                      self->cookie != kini_load(arena->guard)))
        self = kini_self_find(arena);
    bool free =
        self != NULL && kini_load(&self->shm->op) == 0 && kini_load(&self->shm->hold_thread) == 0;
    return free ? self : NULL;
}

static inline int check_room(struct kini_semaphore_shm *shm, uint32_t value, uint32_t count)
{
    uint32_t most = shm->bounded ? shm->initial : KIN_SEMAPHORE_MAX;
    if (kini_likely(value <= most && count <= most - value))
        return 0;
    return kini_fail_plain(-EOVERFLOW, shm->bounded ? "more than the initial value"
                                                    : "more than KIN_SEMAPHORE_MAX");
}

static __attribute__((noinline)) int give_anonymous(struct kin_arena *arena,
                                                    struct kini_semaphore_shm *shm, uint32_t count)
{
    uint64_t word = kini_load_sc(&shm->word);
    for (;;) {
        uint32_t value = KINI_COUNTED_VALUE(word);
        int r = check_room(shm, value, count);
        if (r < 0 || kini_anonymous_try(arena, &shm->word, &word, value + count))
            return r;
    }
}

static inline int give_counted(struct kini_self *self, struct kini_semaphore_shm *shm, uint32_t tag,
                               uint32_t count)
{
    struct kini_hold hold = kini_hold_begin(self, tag);
    uint64_t word = kini_load_sc(&shm->word);
    int r = hold.entry == KINI_HOLD_NONE ? -ENOSPC : 0;
    int32_t most = KINI_HOLD_COUNT + hold.count; /* released for others beyond that: not counted */
    int32_t left =
        kini_likely((int64_t)count <= most) ? hold.count - (int32_t)count : -KINI_HOLD_COUNT;
    while (r == 0) {
        uint32_t value = KINI_COUNTED_VALUE(word);
        r = check_room(shm, value, count);
        if (r < 0 || kini_hold_try(self, &hold, &shm->word, &word, value + count, left))
            break;
    }
    kini_hold_end(self);
    return r;
}

/* A signal is never bounded but by what the word can hold. */
static inline int give_signal(struct kini_semaphore_shm *shm, uint32_t count)
{
    uint64_t step = KINI_COUNTED(count, 0, 0), was;
    if (count > KIN_SEMAPHORE_MAX)
        return kini_fail_plain(-EOVERFLOW, "more than KIN_SEMAPHORE_MAX");
    was = kini_add_sc(&shm->word, step);
    if (kini_likely(KINI_COUNTED_VALUE(was) + count <= KIN_SEMAPHORE_MAX))
        return 0;
    atomic_fetch_sub_explicit(&shm->word, step, memory_order_seq_cst);
    return kini_fail_plain(-EOVERFLOW, "more than KIN_SEMAPHORE_MAX");
}

static __attribute__((noinline)) int release(struct kin_semaphore *semaphore, uint32_t count)
{
    struct kini_handle *handle = &semaphore->handle;
    int r = kini_handle_check(handle, KINI_OBJECT_SEMAPHORE);
    if (kini_unlikely(r < 0))
        return r;
    if (kini_unlikely(count == 0))
        return kini_fail_plain(-EINVAL, "release of 0 permits");
    struct kini_semaphore_shm *shm = handle->shm;
    if (!shm->counted) {
        r = give_signal(shm, count);
        if (kini_likely(r == 0))
            kini_waitq_nudge(handle->arena, &shm->waiters, count);
        return r;
    }
    struct kini_self *self = counting(handle->arena);
    r = self != NULL ? give_counted(self, shm, handle->tag, count) : -ENOSPC;
    if (kini_unlikely(r == -ENOSPC)) /* no record, or no room in it */
        r = give_anonymous(handle->arena, shm, count);
    if (kini_likely(r == 0))
        kini_waitq_nudge(handle->arena, &shm->waiters, count);
    return r;
}

int kin_semaphore_release(struct kin_semaphore *semaphore)
{
    struct kini_semaphore_shm *signal = as_signal(&semaphore->handle);
    if (signal != NULL && kini_load(semaphore->handle.arena->guard) != 0 &&
        kini_likely(give_signal(signal, 1) == 0)) {
        kini_waitq_nudge(semaphore->handle.arena, &signal->waiters, 1);
        return 0;
    }
    return release(semaphore, 1);
}

int kin_semaphore_release_many(struct kin_semaphore *semaphore, uint32_t count)
{
    return release(semaphore, count);
}

/* --- death ---------------------------------------------------------------------------------- */

static uint32_t returned(void *memory, uint32_t value, int32_t count)
{
    struct kini_semaphore_shm *shm = memory;
    if (value >= shm->initial)
        return value;
    uint32_t missing = shm->initial - value;
    return value + (missing < (uint32_t)count ? missing : (uint32_t)count);
}

static void done(struct kini_self *self, void *memory, uint32_t before, uint32_t after)
{
    struct kini_semaphore_shm *shm = memory;
    kini_add(&shm->abandoned, after - before);
    kini_waitq_nudge(self->arena, &shm->waiters, after - before);
}

const struct kini_counted kini_semaphore_counted = {.returned = returned, .done = done};

void kini_semaphore_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot)
{
    (void)slot; /* its permits are back: kini_holds_return */
    struct kini_semaphore_shm *shm = kini_at(self->arena, offset);
    kini_waitq_nudge_all(self->arena, &shm->waiters);
}

/* --- questions ------------------------------------------------------------------------------ */

int64_t kin_semaphore_value(struct kin_semaphore *semaphore)
{
    int r = kini_handle_check(&semaphore->handle, KINI_OBJECT_SEMAPHORE);
    struct kini_semaphore_shm *shm = semaphore->handle.shm;
    return r < 0 ? r : (int64_t)KINI_COUNTED_VALUE(kini_load_acq(&shm->word));
}

int kin_semaphore_waiting(struct kin_semaphore *semaphore)
{
    int r = kini_handle_check(&semaphore->handle, KINI_OBJECT_SEMAPHORE);
    struct kini_semaphore_shm *shm = semaphore->handle.shm;
    return r < 0 ? r : (int)kini_load_acq(&shm->waiters.nwait);
}

int64_t kin_semaphore_held(struct kin_semaphore *semaphore)
{
    int r;
    struct kini_handle *handle = &semaphore->handle;
    struct kini_self *self = kini_handle_enter(handle, KINI_OBJECT_SEMAPHORE, &r);
    if (self == NULL)
        return r;
    int64_t held = kini_holds_sum(self->arena, self->slot, handle->tag);
    return held > 0 ? held : 0;
}

int64_t kin_semaphore_abandoned(struct kin_semaphore *semaphore)
{
    int r = kini_handle_check(&semaphore->handle, KINI_OBJECT_SEMAPHORE);
    struct kini_semaphore_shm *shm = semaphore->handle.shm;
    return r < 0 ? r : (int64_t)kini_load(&shm->abandoned);
}

/* --- for a wait for any ---------------------------------------------------------------------- */

struct kini_waitq_shm *kini_semaphore_waitq(void *shm, uint32_t kind)
{
    (void)kind;
    return &((struct kini_semaphore_shm *)shm)->waiters;
}

int kini_semaphore_ready(struct kini_self *self, void *memory, uint32_t kind)
{
    (void)self;
    (void)kind;
    struct kini_semaphore_shm *shm = memory;
    return KINI_COUNTED_VALUE(kini_load_sc(&shm->word)) > 0;
}
