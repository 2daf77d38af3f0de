/* SPDX-License-Identifier: MIT
 * A descriptor for event loops. It waits as a thread does that waits for any of several (wait
 * state ANY, see wait_layout.h), but in a thread record of its own, with a bell in it (os.h):
 * wakers ring it in place of the futex. The descriptor is a set of the bell, a timer, and the
 * descriptors that are waited for.
 *
 *   raised   the bell is held: readable until the next check that finds nothing
 *   armed    park is ASLEEP: who marks it rings
 *   rung     park is WOKEN: somebody has marked it, and rings or has rung
 *
 * raised → armed → rung, or the timer fires → (check: nothing) armed, or (check: something) raised.
 *
 * A ring is lost if the waker dies between the mark and the ring, has no descriptor left for it, or
 * lives in another network namespace. So the timer fires after TICK_NS, and the check looks then;
 * it looks after the dead as well, since a process that only polls never waits in kin.
 *
 * While there is always something, wakers should not have to look for us: after a few checks that
 * found something the queues do not count us any more, until a check finds nothing.
 *
 * Crash states: (1) killed with the record claimed, before or after it is counted: the reaper
 * counts the queues that it names again and frees it, as of a thread. The bell and its name go with
 * the last descriptor. (2) the waker dies: see above. */
#include <kin/ready.h>

#include "base/error.h"
#include "sync/ready.h"
#include "sync/wait_any.h"
#include "sync/watch.h"

#include <stdlib.h>
#include <string.h>

#define TICK_NS   INT64_C(100000000)
#define BUSY_MOST 4u /* checks that found something, until the queues stop counting us */

struct kin_ready {
    struct kini_self self; /* of the record: first, because arena->pollers is a list of them */
    pthread_mutex_t mutex; /* over what follows, and the record; after the arena's */
    int fd, bell_fd, timer_fd;
    bool entered; /* the queues count us */
    bool fenced;  /* and one of them has wakers that change their object with a plain store */
    bool raised;
    int64_t tick_ns; /* when the timer fires, or did */
    uint32_t busy;
    uint32_t count;
    struct kin_wait waits[]; /* object NULL, and no descriptor: it was destroyed */
};

/* --- states, under the mutex ------------------------------------------------------------------ */

static void leave(struct kin_ready *ready)
{
    if (!ready->entered)
        return;
    kini_waitq_leave_any(&ready->self);
    ready->entered = false;
}

static void raise(struct kin_ready *ready)
{
    /* First: a mark is all that wakers want, from here on they need not ring. */
    kini_swap_sc(&ready->self.shm->park, KINI_PARK_WOKEN);
    kini_os_bell_hold(ready->fd, ready->bell_fd, true);
    ready->raised = true;
}

/* Whoever changes an object from here on rings; what was before is for the look that follows. */
static void arm(struct kin_ready *ready)
{
    struct kini_self *self = &ready->self;
    int64_t now = kin_now_ns();
    if (!ready->entered) {
        kini_waits_name(self, ready->waits, ready->count);
        ready->entered = true;
        ready->fenced = kini_waitq_enter_any(self);
    }
    kini_store(&self->shm->wait_since_ns, (uint64_t)now);
    kini_os_bell_silence(ready->bell_fd);
    if (ready->raised)
        kini_os_bell_hold(ready->fd, ready->bell_fd, false);
    if (now >= ready->tick_ns) { /* if it is to fire earlier, that does no harm */
        kini_os_timer_set(ready->timer_fd, TICK_NS);
        ready->tick_ns = now + TICK_NS;
    }
    ready->raised = false;
    ready->busy = 0;
    /* seq_cst: before the look; pairs with mark(), which comes after the change */
    kini_swap_sc(&self->shm->park, KINI_PARK_ASLEEP);
    if (ready->fenced)
        kini_waitq_fence(self);
}

/* --- check ------------------------------------------------------------------------------------ */

static int64_t look(struct kini_self *self, struct kin_ready *ready)
{
    for (uint32_t i = 0; i < ready->count; i++)
        if (ready->waits[i].kind != KIN_WAIT_FD && ready->waits[i].object == NULL)
            return kini_fail(-ESTALE, "object %u of %u was destroyed", i, ready->count);
    return kini_waits_look(self, ready->waits, ready->count);
}

static int64_t check(struct kini_self *self, struct kin_ready *ready)
{
    int64_t r = look(self, ready);
    if (r == -EAGAIN) {
        arm(ready);
        r = look(self, ready);
        if (r == -EAGAIN)
            return r;
    }
    if (!ready->raised)
        raise(ready);
    if (++ready->busy >= BUSY_MOST)
        leave(ready);
    return r;
}

int kin_ready_check(struct kin_ready *ready)
{
    struct kin_arena *arena = ready->self.arena;
    struct kini_self *self = arena != NULL ? kini_enter(arena) : NULL;
    if (arena != NULL && self == NULL)
        return kini_enter_error();
    if (arena == NULL || ready->self.cookie != self->cookie)
        return kini_fail(-ESTALE, "a descriptor of the process that forked this one, or of an "
                                  "arena that was detached");
    kini_watch_if_overdue(self, kin_now_ns());
    pthread_mutex_lock(&ready->mutex);
    int64_t r = check(self, ready);
    pthread_mutex_unlock(&ready->mutex);
    return (int)r;
}

int kin_ready_fd(const struct kin_ready *ready)
{
    return ready->fd;
}

/* --- an object goes --------------------------------------------------------------------------- */

static void forget(struct kin_ready *ready, const struct kini_handle *handle)
{
    bool named = false;
    pthread_mutex_lock(&ready->mutex);
    for (uint32_t i = 0; i < ready->count; i++) {
        struct kin_wait *wait = &ready->waits[i];
        if (wait->kind == KIN_WAIT_FD || wait->object != handle)
            continue;
        wait->object = NULL;
        named = true;
    }
    if (named) {
        leave(ready); /* before the object's memory may be another's */
        raise(ready);
    }
    pthread_mutex_unlock(&ready->mutex);
}

void kini_ready_forget(struct kini_handle *handle)
{
    struct kin_arena *arena = handle->arena;
    uint64_t cookie = kini_load(arena->guard);
    if (cookie == 0) /* a child that has not joined: the list is its parent's */
        return;
    pthread_mutex_lock(&arena->mutex);
    for (struct kini_self *self = arena->pollers; self != NULL; self = self->next_in_arena)
        if (self->cookie == cookie)
            forget((struct kin_ready *)self, handle);
    pthread_mutex_unlock(&arena->mutex);
}

/* --- create, destroy -------------------------------------------------------------------------- */

static int add(struct kin_ready *ready, int fd)
{
    int r = kini_os_fdset_add(ready->fd, fd);
    return r == 0 ? 0 : kini_fail(r, "descriptor %d cannot be polled: %s", fd, kin_strerror(r));
}

static int open_fds(struct kin_ready *ready, uint64_t *ret_bell)
{
    int r = ready->fd = kini_os_fdset_create();
    if (r >= 0)
        r = ready->bell_fd = kini_os_bell_create(ret_bell);
    if (r >= 0)
        r = ready->timer_fd = kini_os_timer_create();
    if (r < 0)
        return kini_fail(r, "no descriptors for an event loop: %s", kin_strerror(r));
    if ((r = add(ready, ready->bell_fd)) == 0)
        r = add(ready, ready->timer_fd);
    for (uint32_t i = 0; r == 0 && i < ready->count; i++)
        if (ready->waits[i].kind == KIN_WAIT_FD)
            r = add(ready, ready->waits[i].fd);
    return r;
}

static void close_all(struct kin_ready *ready)
{
    kini_os_close(ready->timer_fd);
    kini_os_close(ready->bell_fd);
    kini_os_close(ready->fd);
    pthread_mutex_destroy(&ready->mutex);
    free(ready);
}

int kin_ready_create(struct kin_arena *arena, const struct kin_wait *waits, uint32_t count,
                     struct kin_ready **ret_ready)
{
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    int r = kini_waits_check(arena, waits, count);
    /* Now: the number of a descriptor that is closed may be that of one of ours in a moment. */
    for (uint32_t i = 0; r == 0 && i < count; i++)
        if (waits[i].kind == KIN_WAIT_FD && kini_waits_look(self, &waits[i], 1) == -EBADF)
            r = -EBADF;
    if (r < 0 || (r = kini_refuse_vfork(self)) < 0)
        return r;
    struct kin_ready *ready = calloc(1, sizeof *ready + count * sizeof *waits);
    if (ready == NULL)
        return kini_fail(-ENOMEM, "no memory for %u waits", count);
    pthread_mutex_init(&ready->mutex, NULL);
    ready->fd = ready->bell_fd = ready->timer_fd = -1;
    ready->count = count;
    memcpy(ready->waits, waits, count * sizeof *waits);
    uint64_t bell;
    r = open_fds(ready, &bell);
    if (r == 0)
        r = kini_poller_open(arena, &ready->self);
    if (r < 0) {
        close_all(ready);
        return r;
    }
    kini_store(&ready->self.shm->bell, bell);
    raise(ready);
    *ret_ready = ready;
    return 0;
}

void kin_ready_destroy(struct kin_ready *ready)
{
    if (ready == NULL)
        return;
    struct kin_arena *arena = ready->self.arena;
    if (arena != NULL && ready->self.cookie == kini_load(arena->guard)) {
        pthread_mutex_lock(&ready->mutex); /* another thread may destroy one of the objects */
        leave(ready);
        pthread_mutex_unlock(&ready->mutex);
        kini_poller_close(&ready->self);
    }
    close_all(ready);
}
