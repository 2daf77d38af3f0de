/* SPDX-License-Identifier: MIT
 * The rwlock: a counted word (hold.h) whose value is WRITER 1 | ABANDONED 1 | readers 25.
 *
 *   +0    word | turn | abandoned
 *   +48   wait queue of readers    nudged
 *   +176  wait queue of writers    nudged
 *
 * In a thread's ledger a write counts as WRITER, reads as how many. Readers that come while a
 * writer waits let it go first. turn is the ticket of the last to wait when a writer released:
 * readers who waited then, whose tickets are not above it, go before the next writer. It is only a
 * hint about who goes first, never about who may.
 *
 * Crash states: those of hold.h; a writer that died leaves ABANDONED. (5) killed between a release
 * and the nudges, or as the waiter that the others let go first: when a holder of the object dies,
 * all who wait look again. */
#include <kin/rwlock.h>

#include "base/error.h"
#include "sync/types.h"

#define WRITER    (1u << 26)
#define ABANDONED (1u << 25)
#define READERS   (ABANDONED - 1)

struct kini_rwlock_shm {
    kini_a64 word;
    kini_a64 turn;
    kini_a64 abandoned;
    uint64_t reserved[3];
    struct kini_waitq_shm readers;
    struct kini_waitq_shm writers;
};

struct kin_rwlock {
    struct kini_handle handle;
};

static void init(void *memory, const void *unused)
{
    (void)unused;
    struct kini_rwlock_shm *shm = memory;
    kini_waitq_init(&shm->readers, 0);
    kini_waitq_init(&shm->writers, 0);
}

static bool is_good(const struct kin_arena *arena, void *memory)
{
    struct kini_rwlock_shm *shm = memory;
    return kini_waitq_is_good(arena, &shm->readers, 0) &&
           kini_waitq_is_good(arena, &shm->writers, 0);
}

static const struct kini_kind rwlock_kind = {KINI_OBJECT_RWLOCK, sizeof(struct kin_rwlock),
                                             sizeof(struct kini_rwlock_shm), is_good};
static const struct kini_maker maker = {.init = init};

static int copy_opts(struct kin_rwlock_opts *ret_opts, const struct kin_rwlock_opts *given)
{
    int r = kini_opts_copy(ret_opts, sizeof *ret_opts, given);
    return r < 0 ? r : kini_no_flags(ret_opts->flags);
}

int kin_rwlock_create(struct kin_arena *arena, const struct kin_rwlock_opts *given,
                      struct kin_rwlock **ret_rwlock)
{
    struct kin_rwlock_opts opts;
    int r = copy_opts(&opts, given);
    return r < 0 ? r : kini_handle_make(arena, &rwlock_kind, opts.name, &maker, ret_rwlock);
}

int kin_rwlock_open(struct kin_arena *arena, const char *name, const struct kin_rwlock_opts *given,
                    struct kin_rwlock **ret_rwlock)
{
    struct kin_rwlock_opts opts;
    int r = copy_opts(&opts, given);
    return r < 0 ? r
                 : kini_handle_open(arena, &rwlock_kind, KINI_BY_NAME(name), &maker, ret_rwlock);
}

int kin_rwlock_find(struct kin_arena *arena, const char *name, struct kin_rwlock **ret_rwlock)
{
    return kini_handle_open(arena, &rwlock_kind, KINI_BY_NAME(name), NULL, ret_rwlock);
}

int kin_rwlock_inherit(struct kin_arena *arena, uint32_t position, struct kin_rwlock **ret_rwlock)
{
    return kini_handle_open(arena, &rwlock_kind, KINI_BY_POSITION(position), NULL, ret_rwlock);
}

void kin_rwlock_destroy(struct kin_rwlock *rwlock)
{
    kini_handle_close((struct kini_handle *)rwlock);
}

/* --- acquire -------------------------------------------------------------------------------- */

/* Somebody waited in vain during the last write, and is still there. */
static bool readers_turn(struct kini_self *self, struct kini_rwlock_shm *shm)
{
    if (kini_load_acq(&shm->readers.nwait) == 0)
        return false;
    uint32_t first = kini_waitq_first(self->arena, &shm->readers);
    if (first == 0)
        return false;
    uint64_t ticket = kini_load(&self->arena->threads[first].wait_ticket);
    return ticket <= kini_load(&shm->turn) && !kini_waited_enough(self, ticket);
}

/* The lock is free for the writer that waits longest, but it does not come: stopped, perhaps. */
static bool writer_is_slow(struct kini_self *self, struct kini_rwlock_shm *shm, uint32_t value)
{
    uint32_t first = value & READERS ? 0 : kini_waitq_first(self->arena, &shm->writers);
    return first != 0 &&
           kini_waited_enough(self, kini_load(&self->arena->threads[first].wait_ticket));
}

static bool may_read(struct kini_self *self, struct kini_rwlock_shm *shm, uint32_t value,
                     int32_t held)
{
    if (value & WRITER)
        return false;
    if (held > 0 || kini_load_acq(&shm->writers.nwait) == 0)
        return true;
    if (kini_waitq_has(self->arena, &shm->readers, self->index) &&
        kini_load(&self->shm->wait_ticket) <= kini_load(&shm->turn))
        return true;
    return writer_is_slow(self, shm, value);
}

static bool may_write(struct kini_self *self, struct kini_rwlock_shm *shm, uint32_t value)
{
    return !(value & (WRITER | READERS)) && !readers_turn(self, shm);
}

static int64_t attempt(struct kini_self *self, struct kini_handle *handle, bool write)
{
    struct kini_rwlock_shm *shm = handle->shm;
    uint64_t word = kini_load_sc(&shm->word);
    int64_t r = kini_handle_not_yet(handle);
    if (r == -ESTALE)
        return r;
    struct kini_hold hold = kini_hold_begin(self, handle->tag);
    if (hold.entry == KINI_HOLD_NONE)
        r = -ENOSPC;
    else if (hold.count >= (int32_t)WRITER || (write && hold.count != 0))
        r = -EDEADLK;
    while (r == -EAGAIN) {
        uint32_t value = KINI_COUNTED_VALUE(word);
        if (!write && (value & READERS) == READERS) {
            r = -EOVERFLOW;
            break;
        }
        bool may = write ? may_write(self, shm, value) : may_read(self, shm, value, hold.count);
        if (!may)
            break;
        uint32_t kept = value & ~ABANDONED;
        if (kini_hold_try(self, &hold, &shm->word, &word, write ? WRITER : kept + 1,
                          write ? (int32_t)WRITER : hold.count + 1))
            r = value & ABANDONED ? KIN_ABANDONED : 0;
    }
    kini_hold_end(self);
    return r;
}

static int64_t attempt_read(struct kini_self *self, void *handle)
{
    return attempt(self, handle, false);
}

static int64_t attempt_write(struct kini_self *self, void *handle)
{
    return attempt(self, handle, true);
}

/* Who gave up may have been the one that the others let go first. */
static void let_others_look(struct kini_self *self, struct kini_rwlock_shm *shm)
{
    kini_waitq_nudge(self->arena, &shm->readers, UINT32_MAX);
    kini_waitq_nudge_first(self->arena, &shm->writers);
}

static int acquire(struct kin_rwlock *rwlock, kin_deadline deadline, bool write, bool wait)
{
    int error;
    struct kini_handle *handle = &rwlock->handle;
    struct kini_self *self = kini_handle_enter(handle, KINI_OBJECT_RWLOCK, &error);
    if (kini_unlikely(self == NULL))
        return error;
    int64_t r = attempt(self, handle, write);
    if (kini_unlikely(r == -EAGAIN) && wait) {
        struct kini_rwlock_shm *shm = handle->shm;
        struct kini_waitq_shm *queue = write ? &shm->writers : &shm->readers;
        if (deadline <= KIN_NOW)
            return -ETIMEDOUT;
        kini_handle_begin_wait(self, handle);
        r = kini_wait_for(self, queue, deadline, write ? attempt_write : attempt_read, handle);
        if (r < 0)
            let_others_look(self, shm);
        kini_handle_end_wait(handle, r);
    }
    if (kini_unlikely(r == -EDEADLK))
        return kini_fail(-EDEADLK, "the calling thread holds the rwlock already");
    if (kini_unlikely(r == -ENOSPC))
        return kini_fail(-ENOSPC, "this thread holds %u rwlocks and semaphores", KINI_HOLDS);
    return (int)r;
}

int kin_rwlock_acquire_read(struct kin_rwlock *rwlock, kin_deadline deadline)
{
    return acquire(rwlock, deadline, false, true);
}

int kin_rwlock_acquire_write(struct kin_rwlock *rwlock, kin_deadline deadline)
{
    return acquire(rwlock, deadline, true, true);
}

int kin_rwlock_try_read(struct kin_rwlock *rwlock)
{
    return acquire(rwlock, KIN_NOW, false, false);
}

int kin_rwlock_try_write(struct kin_rwlock *rwlock)
{
    return acquire(rwlock, KIN_NOW, true, false);
}

/* --- release -------------------------------------------------------------------------------- */

/* Readers first, who share: all of them; when there are none, a writer. */
static void wake_next(struct kini_self *self, struct kini_rwlock_shm *shm, bool wrote)
{
    if (wrote)
        kini_waitq_nudge(self->arena, &shm->readers, UINT32_MAX);
    kini_waitq_nudge_first(self->arena, &shm->writers);
}

int kin_rwlock_release(struct kin_rwlock *rwlock)
{
    int r;
    struct kini_handle *handle = &rwlock->handle;
    struct kini_self *self = kini_handle_enter(handle, KINI_OBJECT_RWLOCK, &r);
    if (kini_unlikely(self == NULL))
        return r;
    struct kini_rwlock_shm *shm = handle->shm;
    uint64_t word = kini_load_sc(&shm->word);
    struct kini_hold hold = kini_hold_begin(self, handle->tag);
    if (kini_unlikely(hold.entry == KINI_HOLD_NONE || hold.count <= 0)) {
        kini_hold_end(self);
        return KINI_COUNTED_VALUE(word) & (WRITER | READERS)
                   ? kini_fail(-EACCES, "others hold the rwlock, the calling thread does not")
                   : kini_fail(-EPERM, "nobody holds the rwlock");
    }
    bool wrote = hold.count >= (int32_t)WRITER;
    int32_t step = wrote ? (int32_t)WRITER : 1;
    if (wrote && kini_load(&shm->readers.nwait) != 0)
        kini_store(&shm->turn, kini_load(&self->arena->super->wait_tickets));
    while (!kini_hold_try(self, &hold, &shm->word, &word, KINI_COUNTED_VALUE(word) - (uint32_t)step,
                          hold.count - step))
        ;
    kini_hold_end(self);
    if (wrote || (KINI_COUNTED_VALUE(word) & READERS) == 1)
        wake_next(self, shm, wrote);
    return 0;
}

/* --- death ---------------------------------------------------------------------------------- */

static uint32_t returned(void *memory, uint32_t value, int32_t count)
{
    (void)memory;
    if (count >= (int32_t)WRITER)
        return (value & ~WRITER) | ABANDONED;
    uint32_t readers = value & READERS, gone = (uint32_t)count;
    return (value & ~READERS) | (readers > gone ? readers - gone : 0);
}

static void done(struct kini_self *self, void *memory, uint32_t before, uint32_t after)
{
    struct kini_rwlock_shm *shm = memory;
    kini_add(&shm->abandoned, (before & ~after & WRITER) != 0);
    let_others_look(self, shm);
}

const struct kini_counted kini_rwlock_counted = {
    .returned = returned, .done = done, .by_thread = true};

void kini_rwlock_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot)
{
    (void)slot; /* what it held is back: kini_holds_return */
    struct kini_rwlock_shm *shm = kini_at(self->arena, offset);
    kini_waitq_nudge_all(self->arena, &shm->readers);
    kini_waitq_nudge_all(self->arena, &shm->writers);
}

/* --- questions ------------------------------------------------------------------------------ */

int64_t kin_rwlock_readers(struct kin_rwlock *rwlock)
{
    int r = kini_handle_check(&rwlock->handle, KINI_OBJECT_RWLOCK);
    struct kini_rwlock_shm *shm = rwlock->handle.shm;
    return r < 0 ? r : (int64_t)(KINI_COUNTED_VALUE(kini_load_acq(&shm->word)) & READERS);
}

int kin_rwlock_writing(struct kin_rwlock *rwlock)
{
    int r = kini_handle_check(&rwlock->handle, KINI_OBJECT_RWLOCK);
    struct kini_rwlock_shm *shm = rwlock->handle.shm;
    return r < 0 ? r : (KINI_COUNTED_VALUE(kini_load_acq(&shm->word)) & WRITER) != 0;
}

int kin_rwlock_waiting(struct kin_rwlock *rwlock)
{
    int r = kini_handle_check(&rwlock->handle, KINI_OBJECT_RWLOCK);
    struct kini_rwlock_shm *shm = rwlock->handle.shm;
    return r < 0 ? r : (int)(kini_load(&shm->readers.nwait) + kini_load(&shm->writers.nwait));
}

int64_t kin_rwlock_abandoned(struct kin_rwlock *rwlock)
{
    int r = kini_handle_check(&rwlock->handle, KINI_OBJECT_RWLOCK);
    struct kini_rwlock_shm *shm = rwlock->handle.shm;
    return r < 0 ? r : (int64_t)kini_load(&shm->abandoned);
}
