/* SPDX-License-Identifier: MIT
 * What has one holder, the slow ways. Protocol: lock_word.h. */
#include "sync/types.h"

#include <kin/wait.h>
#include <string.h>

#define STARVING_NS 4000000

void kini_lock_init(void *memory, const void *opts)
{
    struct kini_lock_shm *shm = memory;
    if (opts != NULL)
        shm->on_abandoned = ((const struct kin_lock_opts *)opts)->on_abandoned;
    kini_waitq_init(&shm->waiters, KINI_WAITQ_FENCE);
}

static int copy_opts(struct kin_lock_opts *ret_opts, const struct kin_lock_opts *given)
{
    int r = kini_opts_copy(ret_opts, sizeof *ret_opts, given);
    if (r == 0 && ret_opts->on_abandoned > KIN_REFUSE_ONCE)
        r = kini_fail(-EINVAL, "on_abandoned is %u; there are 0 and 1", ret_opts->on_abandoned);
    return r;
}

bool kini_lock_is_good(const struct kin_arena *arena, void *memory)
{
    struct kini_lock_shm *shm = memory;
    return kini_waitq_is_good(arena, &shm->waiters, KINI_WAITQ_FENCE);
}

static struct kini_kind kind_of(uint32_t type, size_t handle_bytes)
{
    return (struct kini_kind){type, (uint32_t)handle_bytes, sizeof(struct kini_lock_shm),
                              kini_lock_is_good};
}

int kini_lock_open(struct kin_arena *arena, uint32_t type, const struct kini_which *which,
                   const struct kin_lock_opts *given, bool find, size_t handle_bytes,
                   void *ret_handle)
{
    struct kin_lock_opts opts;
    int r = copy_opts(&opts, given);
    if (r < 0)
        return r;
    const struct kini_kind kind = kind_of(type, handle_bytes);
    const struct kini_maker maker = {.init = kini_lock_init, .arg = &opts};
    struct kini_handle *handle;
    r = kini_handle_open(arena, &kind, which, find ? NULL : &maker, &handle);
    if (r < 0)
        return r;
    uint32_t is = ((struct kini_lock_shm *)handle->shm)->on_abandoned;
    if (opts.on_abandoned != 0 && opts.on_abandoned != is) {
        kini_handle_close(handle);
        return kini_handle_differs(which->name, "on_abandoned", opts.on_abandoned, is);
    }
    memcpy(ret_handle, &handle, sizeof handle);
    return 0;
}

int kini_lock_create(struct kin_arena *arena, uint32_t type, const struct kin_lock_opts *given,
                     size_t handle_bytes, void *ret_handle)
{
    struct kin_lock_opts opts;
    int r = copy_opts(&opts, given);
    if (r < 0)
        return r;
    const struct kini_kind kind = kind_of(type, handle_bytes);
    const struct kini_maker maker = {.init = kini_lock_init, .arg = &opts};
    return kini_handle_make(arena, &kind, opts.name, &maker, ret_handle);
}

/* Somebody reserved it for a thread that does not wait here any more. */
static bool is_stale(struct kini_self *self, struct kini_lock_shm *shm, uint64_t word)
{
    uint64_t owner = word & KINI_OWNER_BITS;
    uint32_t index = KINI_OWNER_INDEX(owner);
    if (!(word & KINI_WORD_RESERVED) || index >= KINI_THREADS_MAX)
        return false;
    return kini_owner_word(kini_load_acq(&self->arena->threads[index].state), index) != owner ||
           !kini_waitq_has(self->arena, &shm->waiters, index);
}

/* The next in line is told of the death without getting the lock, if it was made so. */
static int64_t take_abandoned(struct kini_self *self, struct kini_lock_shm *shm)
{
    uint64_t word = KINI_WORD_ABANDONED;
    if (!kini_cas_sc(&shm->word, &word, self->owner_word))
        return -EAGAIN;
    kini_add(&shm->abandoned, 1);
    if (shm->on_abandoned != KIN_REFUSE_ONCE)
        return KIN_ABANDONED;
    kini_lock_release(self, shm); /* should we die before, the next is told */
    return kini_fail(-EOWNERDEAD, "the holder of the lock died");
}

static int64_t attempt(struct kini_self *self, void *arg)
{
    struct kini_handle *handle = arg;
    struct kini_lock_shm *shm = handle->shm;
    uint64_t word = kini_load_sc(&shm->word);
    for (;;) {
        if (kini_load(&handle->closed) != 0)
            return -ESTALE;
        if (word == KINI_WORD_DONE)
            return -EALREADY;
        if (word == KINI_WORD_ABANDONED) {
            int64_t r = take_abandoned(self, shm);
            if (r != -EAGAIN)
                return r;
            word = kini_load_sc(&shm->word);
            continue;
        }
        bool mine = word == 0 || word == (KINI_WORD_RESERVED | self->owner_word);
        if (!mine && !is_stale(self, shm, word) &&
            !((word & KINI_WORD_RESERVED) && kini_waited_enough(self, word)))
            return -EAGAIN;
        if (kini_cas_sc(&shm->word, &word, self->owner_word))
            return 0;
    }
}

/* We gave up, but just before the lock was kept for us. seq_cst: we left the queue, then look; the
 * releaser reserves, then looks whether we are there. */
static int64_t after_wait(struct kini_self *self, struct kini_lock_shm *shm, int64_t r)
{
    uint64_t word = KINI_WORD_RESERVED | self->owner_word;
    if (kini_likely(kini_load_sc(&shm->word) != word))
        return r;
    bool take = r == -ETIMEDOUT;
    if (!kini_cas_sc(&shm->word, &word, take ? self->owner_word : 0))
        return r;
    if (take)
        return 0;
    kini_waitq_nudge_first(self->arena, &shm->waiters);
    return r;
}

int kini_lock_acquire_slow(struct kini_self *self, struct kini_handle *handle,
                           kin_deadline deadline, bool wait)
{
    struct kini_lock_shm *shm = handle->shm;
    int64_t r = attempt(self, handle);
    if (r >= 0)
        kini_store(&shm->depth, 1);
    if (r != -EAGAIN || !wait)
        return (int)r;
    if (deadline <= KIN_NOW)
        return -ETIMEDOUT;
    kini_handle_begin_wait(self, handle);
    kini_store(&self->shm->wait_own, kini_load(&shm->word) == self->owner_word);
    r = kini_wait_for(self, &shm->waiters, deadline, attempt, handle);
    if (r < 0)
        r = after_wait(self, shm, r);
    if (r >= 0)
        kini_store(&shm->depth, 1); /* of an rlock: before the handle may go */
    return (int)kini_handle_end_wait(handle, r);
}

int kini_lock_acquire_moved(struct kini_self *self, struct kini_handle *handle)
{
    struct kini_lock_shm *shm = handle->shm;
    kini_handle_begin_wait(self, handle);
    kini_store(&self->shm->wait_own, 0);
    int64_t r = kini_wait_on(self, &shm->waiters, attempt, handle);
    if (r < 0)
        r = after_wait(self, shm, r);
    if (r >= 0)
        kini_store(&shm->depth, 1);
    return (int)kini_handle_end_wait(handle, r);
}

/* What to leave in the word: kept for the longest waiter, if it waits too long already. */
static uint64_t word_after(struct kini_self *self, struct kini_lock_shm *shm)
{
    struct kin_arena *arena = self->arena;
    if (kini_load_sc(&shm->waiters.nwait) == 0)
        return 0;
    uint32_t first = kini_waitq_first(arena, &shm->waiters);
    if (first == 0)
        return 0;
    struct kini_thread_shm *t = &arena->threads[first];
    if (kini_load(&t->park) == KINI_PARK_WOKEN)
        return 0; /* it is on its way; and a look at the clock costs more than the rest here */
    int64_t since = (int64_t)kini_load(&t->wait_since_ns);
    int64_t now = kin_now_ns();
    /* Each time costs the time until a sleeper runs: so not more often than that either. */
    if (now - since < STARVING_NS || now - (int64_t)kini_load(&shm->handed_ns) < STARVING_NS)
        return 0;
    kini_store(&shm->handed_ns, (uint64_t)now);
    uint64_t owner = kini_owner_word(kini_load_acq(&t->state), first);
    return kini_waitq_has(arena, &shm->waiters, first) ? KINI_WORD_RESERVED | owner : 0;
}

/* It may have left the queue before it could see that the lock is kept for it. */
static void hand_over(struct kini_self *self, struct kini_lock_shm *shm, uint64_t word)
{
    uint32_t heir = KINI_OWNER_INDEX(word);
    kini_nudge_thread(self->arena, &self->arena->threads[heir]);
    if (is_stale(self, shm, word) && kini_cas_sc(&shm->word, &word, 0))
        kini_waitq_nudge_first(self->arena, &shm->waiters);
}

int kini_lock_release_slow(struct kini_self *self, struct kini_lock_shm *shm)
{
    uint64_t word = kini_load_acq(&shm->word);
    if (!kini_is_participant(self))
        return kini_fail(-ENOTRECOVERABLE, "this process was declared dead; its lock is another's");
    if (!kini_word_is_held(word))
        return kini_fail(-EPERM, "nobody holds the lock");
    uint64_t after = word_after(self, shm);
    if (!kini_cas_sc(&shm->word, &word, after))
        return kini_fail(-EPERM, "somebody else released the lock at the same time");
    if (after != 0)
        hand_over(self, shm, after);
    else
        kini_waitq_nudge_first(self->arena, &shm->waiters);
    return 0;
}

void kini_lock_abandon(struct kini_self *self, struct kini_lock_shm *shm, uint64_t owner)
{
    uint64_t word = kini_load_acq(&shm->word);
    while ((word & KINI_OWNER_BITS) == owner) {
        uint64_t after = word & KINI_WORD_RESERVED ? 0 : KINI_WORD_ABANDONED;
        if (kini_cas_sc(&shm->word, &word, after))
            break;
    }
    kini_waitq_nudge_first(self->arena, &shm->waiters);
}

void kini_lock_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot)
{
    struct kini_lock_shm *shm = kini_at(self->arena, offset);
    uint64_t word = kini_load_acq(&shm->word);
    if (word != 0 && !(word & (KINI_WORD_ABANDONED | KINI_WORD_DONE)) &&
        KINI_OWNER_SLOT(word) == slot)
        kini_lock_abandon(self, shm, word & KINI_OWNER_BITS);
    kini_waitq_nudge_all(self->arena, &shm->waiters);
}

/* --- questions ------------------------------------------------------------------------------ */

int kini_lock_locked(const struct kini_handle *handle, uint32_t type)
{
    int r = kini_handle_check(handle, type);
    struct kini_lock_shm *shm = handle->shm;
    return r < 0 ? r : kini_word_is_held(kini_load_acq(&shm->word));
}

int kini_lock_owner(const struct kini_handle *handle, uint32_t type, struct kin_owner *ret_owner)
{
    int r = kini_handle_check(handle, type);
    if (r < 0)
        return r;
    uint64_t word = kini_load_acq(&((struct kini_lock_shm *)handle->shm)->word);
    if (!kini_word_is_held(word))
        return kini_fail(-ENOENT, "nobody holds the lock");
    return kini_owner_tell(handle->arena, word, ret_owner);
}

int kini_lock_waiting(const struct kini_handle *handle, uint32_t type)
{
    int r = kini_handle_check(handle, type);
    struct kini_lock_shm *shm = handle->shm;
    return r < 0 ? r : (int)kini_load_acq(&shm->waiters.nwait);
}

int64_t kini_lock_abandoned(const struct kini_handle *handle, uint32_t type)
{
    int r = kini_handle_check(handle, type);
    if (r < 0)
        return r;
    struct kini_lock_shm *shm = handle->shm;
    bool untold = kini_load_acq(&shm->word) == KINI_WORD_ABANDONED;
    return (int64_t)kini_load(&shm->abandoned) + untold;
}

/* --- for a wait for any ---------------------------------------------------------------------- */

struct kini_waitq_shm *kini_lock_waitq(void *shm, uint32_t kind)
{
    (void)kind;
    return &((struct kini_lock_shm *)shm)->waiters;
}

int kini_lock_ready(struct kini_self *self, void *memory, uint32_t kind)
{
    struct kini_lock_shm *shm = memory;
    uint64_t word = kini_load_sc(&shm->word);
    if (word == 0 || word == KINI_WORD_ABANDONED)
        return 1;
    return (kind == KIN_WAIT_RLOCK && word == self->owner_word) || is_stale(self, shm, word);
}
