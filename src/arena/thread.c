/* SPDX-License-Identifier: MIT
 * Thread records: every thread that uses an arena has one, for its intents, locks and waits. */
#include "arena/arena.h"
#include "arena/block.h"
#include "arena/ilock.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__thread struct kini_self *kini_last_self __attribute__((tls_model("initial-exec")));
static __thread struct kini_self *my_selves;
static __thread int enter_error;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;

int kini_enter_error(void)
{
    return enter_error;
}

static void thread_ends(void *unused)
{
    (void)unused;
    struct kini_self *next;
    kini_last_self = NULL; /* first: a signal handler must not use a record that is free already */
    kini_compiler_barrier();
    for (struct kini_self *self = my_selves; self != NULL; self = next) {
        next = self->next;
        my_selves = next; /* first: a signal handler may walk the list */
        kini_compiler_barrier();
        struct kin_arena *arena = self->arena;
        if (arena != NULL && self->cookie == kini_load(arena->guard)) {
            pthread_mutex_lock(&arena->mutex);
            struct kini_self **link = &arena->selves;
            while (*link != NULL && *link != self)
                link = &(*link)->next_in_arena;
            if (*link == self)
                *link = self->next_in_arena;
            pthread_mutex_unlock(&arena->mutex);
            kini_self_release(self);
        }
        kini_self_forget(self);
    }
}

static void make_key(void)
{
    pthread_key_create(&exit_key, thread_ends);
}

struct kini_self *kini_self_find(const struct kin_arena *arena)
{
    uint64_t cookie = kini_load(arena->guard);
    for (struct kini_self *self = my_selves; self != NULL; self = self->next)
        if (self->arena == arena && self->cookie == cookie)
            return self;
    return NULL;
}

void kini_self_forget_classes(struct kini_self *self)
{
    for (uint32_t i = 0; self->classes != NULL && i < KINI_CLASSES; i++)
        free(self->classes[i].spans);
    free(self->classes);
    self->classes = NULL;
}

void kini_self_forget(struct kini_self *self)
{
    kini_self_forget_classes(self);
    kini_bed_free(self);
    free(self);
}

void kini_self_release(struct kini_self *self)
{
    kini_block_caches_release(self);
    uint64_t state = kini_load(&self->shm->state);
    struct kin_arena *arena = self->arena;
    bool holds = kini_thread_leaves(self);
    self->arena = NULL; /* before the record is anybody's: see thread_ends */
    kini_compiler_barrier();
    if (holds)
        kini_add(&arena->orphans, 1);
    kini_store_rel(&self->shm->state, holds ? state | KINI_THREAD_ORPHAN : state & ~0xffffffffull);
}

void kini_threads_after_fork(struct kin_arena *arena)
{
    /* Only the calling thread is here. Records of the parent's threads stay the parent's; the
     * private parts are unreachable from now on, but those of this thread are freed by
     * kini_enter_slow, because an allocator is not to be called in a fork handler. */
    for (struct kini_self *self = arena->selves; self != NULL; self = self->next_in_arena) {
        kini_bed_close_fds(self);
        self->arena = NULL;
    }
    arena->selves = NULL;
    kini_pollers_forget(arena);
    kini_store(&arena->orphans, 0);
    kini_last_self = NULL;
}

/* All but what is held, which an orphan has and goes on with, and hold_seq and hold_done. */
static void clear_record(struct kini_thread_shm *t)
{
    kini_store(&t->tid, (uint32_t)kini_os_tid());
    for (uint32_t i = 0; i < KINI_LOCKSTACK; i++)
        kini_store(&t->lockstack[i], 0);
    kini_store(&t->op, 0);
    kini_store(&t->op_pos, 0);
    kini_store(&t->wake_target, 0);
    kini_store(&t->wait_token, 0);
    kini_store(&t->hold_thread, 0);
    kini_store(&t->any_count, 0);
    memset(t->name, 0, sizeof t->name);
    kini_store(&t->park, KINI_PARK_AWAKE);
    kini_store(&t->wait_state, KINI_WAIT_NONE);
    kini_store(&t->wait_queue, 0);
    kini_store(&t->bell, 0);
    kini_store(&t->puts, 0);
    kini_store(&t->gets, 0);
    kini_store(&t->waits, 0);
    kini_store(&t->wakes, 0);
}

/* The record of a thread of this process that ended and left something to hold. */
static bool claim_orphan(struct kin_arena *arena, uint32_t *ret_index)
{
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; kini_load(&arena->orphans) > 0 && i < high; i++) {
        uint64_t state = kini_load_acq(&arena->threads[i].state);
        if (!(state & KINI_THREAD_ORPHAN) || KINI_THREAD_SLOT(state) != arena->slot)
            continue;
        uint64_t claimed = ((state >> 32) + 1) << 32 | (uint64_t)arena->slot << 8 | 1;
        if (!kini_cas(&arena->threads[i].state, &state, claimed))
            continue;
        kini_sub(&arena->orphans, 1);
        clear_record(&arena->threads[i]);
        *ret_index = i;
        return true;
    }
    return false;
}

/* A free record becomes ours by one CAS that names our participant: killed at any moment, the
 * reaper finds it. */
static int claim_record(struct kin_arena *arena, uint32_t *ret_index)
{
    struct kini_super_shm *super = arena->super;
    for (uint32_t i = 1; i < KINI_THREADS_MAX; i++) {
        int r = kini_table_commit(arena, super->threads_off, &super->threads_committed,
                                  (i + 1) * sizeof(struct kini_thread_shm),
                                  KINI_THREADS_MAX * sizeof(struct kini_thread_shm));
        if (r < 0)
            return r;
        uint64_t state = kini_load(&arena->threads[i].state);
        if (state & 1)
            continue;
        kini_raise32(&super->threads_high, i + 1);
        uint64_t claimed = ((state >> 32) + 1) << 32 | (uint64_t)arena->slot << 8 | 1;
        if (!kini_cas(&arena->threads[i].state, &state, claimed))
            continue;
        clear_record(&arena->threads[i]);
        for (uint32_t e = 0; e < KINI_HOLDS; e++)
            kini_store(&arena->threads[i].holds[e], 0);
        *ret_index = i;
        return 0;
    }
    return kini_fail(-ENOSPC, "the arena has %u threads already", KINI_THREADS_MAX - 1);
}

/* self, which has a record now, is this process's. */
static void fill_self(struct kini_self *self, struct kin_arena *arena)
{
    self->arena = arena;
    self->shm = &arena->threads[self->index];
    self->slot = arena->slot;
    self->owner_word = kini_owner_word(kini_load(&self->shm->state), self->index);
    self->cookie = kini_load(arena->guard);
}

static struct kini_self *make_self(struct kin_arena *arena)
{
    struct kini_self *self = calloc(1, sizeof *self);
    if (self == NULL) {
        enter_error = kini_fail(-ENOMEM, "no memory for a thread's caches");
        return NULL;
    }
    enter_error = claim_orphan(arena, &self->index) ? 0 : claim_record(arena, &self->index);
    if (enter_error < 0) {
        free(self);
        return NULL;
    }
    fill_self(self, arena);
    self->next = my_selves;
    my_selves = self;
    pthread_mutex_lock(&arena->mutex);
    self->next_in_arena = arena->selves;
    arena->selves = self;
    pthread_mutex_unlock(&arena->mutex);
    pthread_setspecific(exit_key, self);
    return self;
}

int kini_poller_open(struct kin_arena *arena, struct kini_self *self)
{
    int r = claim_record(arena, &self->index);
    if (r < 0)
        return r;
    fill_self(self, arena);
    pthread_mutex_lock(&arena->mutex);
    self->next_in_arena = arena->pollers;
    arena->pollers = self;
    pthread_mutex_unlock(&arena->mutex);
    return 0;
}

void kini_poller_close(struct kini_self *self)
{
    struct kin_arena *arena = self->arena;
    pthread_mutex_lock(&arena->mutex);
    struct kini_self **link = &arena->pollers;
    while (*link != NULL && *link != self)
        link = &(*link)->next_in_arena;
    if (*link == self)
        *link = self->next_in_arena;
    pthread_mutex_unlock(&arena->mutex);
    self->arena = NULL;
    kini_store_rel(&self->shm->state, kini_load(&self->shm->state) & ~0xffffffffull);
}

void kini_pollers_forget(struct kin_arena *arena)
{
    for (struct kini_self *self = arena->pollers; self != NULL; self = self->next_in_arena)
        self->arena = NULL;
    arena->pollers = NULL;
}

/* A call was left half way while the process lives on: by longjmp, by a cancelled thread whose
 * record we are, or by a vfork child that was killed in our place. Undo it as for the dead. */
static void heal(struct kini_self *self)
{
    struct kini_thread_shm *me = self->shm;
    while (self->locks > 0) {
        uint64_t off = kini_load(&me->lockstack[self->locks - 1]);
        struct kini_ilock_shm *lock = off ? kini_at(self->arena, off) : NULL;
        if (lock != NULL && KINI_ILOCK_OWNER(kini_load_acq(&lock->word)) == self->index) {
            kini_ilock_repair(self, lock);
            kini_ilock_unlock(self, lock);
        } else {
            kini_store(&me->lockstack[--self->locks], 0);
        }
    }
    /* A living rival announces the same claim: it moves on in a moment, and the claim is judged. */
    for (int tries = 0; kini_load(&me->op) != 0 && tries < 1000; tries++)
        if (kini_operation_repair(self, me) < 0)
            sched_yield();
    kini_store(&me->op, 0);
}

int kini_refuse_vfork(const struct kini_self *self)
{
    if ((uint32_t)(self->cookie >> 32) == (uint32_t)getpid())
        return 0;
    return kini_fail(-ECHILD, "a child of vfork may only exec or exit");
}

struct kini_self *kini_enter_slow(struct kin_arena *arena)
{
    pthread_once(&once, make_key);
    if (kini_load(arena->guard) == 0) {
        enter_error = kini_rejoin(arena);
        if (enter_error < 0)
            return NULL;
    }
    uint64_t cookie = kini_load(arena->guard);
    struct kini_self *found = NULL;
    kini_last_self = NULL; /* it may be one of those that are freed here */
    kini_compiler_barrier();
    for (struct kini_self **link = &my_selves; *link != NULL;) {
        struct kini_self *self = *link;
        if (self->arena == arena && self->cookie == cookie)
            found = self;
        if (self->arena == NULL || (self->arena == arena && self->cookie != cookie)) {
            *link = self->next; /* of an arena that is gone, or of a process that forked us */
            kini_compiler_barrier();
            kini_self_forget(self);
        } else {
            link = &self->next;
        }
    }
    if (found == NULL)
        found = make_self(arena);
    else
        heal(found);
    kini_last_self = found;
    return found;
}
