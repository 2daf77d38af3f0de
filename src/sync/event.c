/* SPDX-License-Identifier: MIT
 * The event. word: how often it was set, 63 bits | flag. Who waits goes on when the flag is set or
 * the count has moved, so that a set which is cleared at once releases all who waited.
 *
 *   +0   word          W: anyone, CAS
 *   +48  wait queue    nudged
 *
 * Crash states: (1) killed after the flag, before the nudges: when a process dies that has the
 * event, all who wait look again. */
#include <kin/event.h>

#include "base/error.h"
#include "sync/types.h"

struct kini_event_shm {
    kini_a64 word;
    uint64_t reserved[5];
    struct kini_waitq_shm waiters;
};

struct kin_event {
    struct kini_handle handle;
};

static void init(void *memory, const void *opts)
{
    struct kini_event_shm *shm = memory;
    kini_waitq_init(&shm->waiters, 0);
    kini_store(&shm->word, ((const struct kin_event_opts *)opts)->set ? 1 : 0);
}

static bool is_good(const struct kin_arena *arena, void *memory)
{
    struct kini_event_shm *shm = memory;
    return kini_waitq_is_good(arena, &shm->waiters, 0);
}

static const struct kini_kind event_kind = {KINI_OBJECT_EVENT, sizeof(struct kin_event),
                                            sizeof(struct kini_event_shm), is_good};

int kin_event_create(struct kin_arena *arena, const struct kin_event_opts *given,
                     struct kin_event **ret_event)
{
    struct kin_event_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    const struct kini_maker maker = {.init = init, .arg = &opts};
    return r < 0 ? r : kini_handle_make(arena, &event_kind, opts.name, &maker, ret_event);
}

int kin_event_open(struct kin_arena *arena, const char *name, const struct kin_event_opts *given,
                   struct kin_event **ret_event)
{
    struct kin_event_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    const struct kini_maker maker = {.init = init, .arg = &opts};
    return r < 0 ? r : kini_handle_open(arena, &event_kind, KINI_BY_NAME(name), &maker, ret_event);
}

int kin_event_find(struct kin_arena *arena, const char *name, struct kin_event **ret_event)
{
    return kini_handle_open(arena, &event_kind, KINI_BY_NAME(name), NULL, ret_event);
}

int kin_event_inherit(struct kin_arena *arena, uint32_t position, struct kin_event **ret_event)
{
    return kini_handle_open(arena, &event_kind, KINI_BY_POSITION(position), NULL, ret_event);
}

void kin_event_destroy(struct kin_event *event)
{
    kini_handle_close((struct kini_handle *)event);
}

void kini_event_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot)
{
    (void)slot;
    struct kini_event_shm *shm = kini_at(self->arena, offset);
    kini_waitq_nudge_all(self->arena, &shm->waiters);
}

/* --- set, clear: nothing here needs to know who calls --------------------------------------- */

int kin_event_set(struct kin_event *event)
{
    int r = kini_handle_check(&event->handle, KINI_OBJECT_EVENT);
    if (r < 0)
        return r;
    struct kini_event_shm *shm = event->handle.shm;
    uint64_t word = kini_load_sc(&shm->word);
    while (!(word & 1) && !kini_cas_sc(&shm->word, &word, word + 3))
        ;
    /* Also when it was set: whoever set it may have died before it woke anybody. */
    kini_waitq_nudge(event->handle.arena, &shm->waiters, UINT32_MAX);
    return 0;
}

int kin_event_clear(struct kin_event *event)
{
    int r = kini_handle_check(&event->handle, KINI_OBJECT_EVENT);
    if (r < 0)
        return r;
    struct kini_event_shm *shm = event->handle.shm;
    atomic_fetch_and_explicit(&shm->word, ~1ull, memory_order_seq_cst);
    return 0;
}

int kin_event_is_set(struct kin_event *event)
{
    int r = kini_handle_check(&event->handle, KINI_OBJECT_EVENT);
    struct kini_event_shm *shm = event->handle.shm;
    return r < 0 ? r : (int)(kini_load_acq(&shm->word) & 1);
}

/* --- wait ----------------------------------------------------------------------------------- */

struct event_wait {
    struct kini_handle *handle;
    uint64_t sets; /* when the wait began */
};

static int64_t attempt(struct kini_self *self, void *arg)
{
    (void)self;
    struct event_wait *wait = arg;
    struct kini_event_shm *shm = wait->handle->shm;
    uint64_t word = kini_load_sc(&shm->word);
    if ((word & 1) || word >> 1 != wait->sets)
        return 0;
    return kini_handle_not_yet(wait->handle);
}

int kin_event_wait(struct kin_event *event, kin_deadline deadline)
{
    int r;
    struct kini_self *self = kini_handle_enter(&event->handle, KINI_OBJECT_EVENT, &r);
    if (kini_unlikely(self == NULL))
        return r;
    struct kini_event_shm *shm = event->handle.shm;
    uint64_t word = kini_load_acq(&shm->word);
    if (word & 1)
        return 0;
    if (deadline <= KIN_NOW)
        return -ETIMEDOUT;
    struct event_wait wait = {.handle = &event->handle, .sets = word >> 1};
    return (int)kini_handle_wait(self, &event->handle, &shm->waiters, deadline, attempt, &wait);
}

int kin_event_waiting(struct kin_event *event)
{
    int r = kini_handle_check(&event->handle, KINI_OBJECT_EVENT);
    struct kini_event_shm *shm = event->handle.shm;
    return r < 0 ? r : (int)kini_load_acq(&shm->waiters.nwait);
}

/* --- for a wait for any ---------------------------------------------------------------------- */

struct kini_waitq_shm *kini_event_waitq(void *shm, uint32_t kind)
{
    (void)kind;
    return &((struct kini_event_shm *)shm)->waiters;
}

int kini_event_ready(struct kini_self *self, void *shm, uint32_t kind)
{
    (void)self;
    (void)kind;
    return (int)(kini_load_sc(&((struct kini_event_shm *)shm)->word) & 1);
}
