/* SPDX-License-Identifier: MIT
 * kin's locks, semaphores, rwlock and event, as one acquires and releases them. */
#include "peers/kin_arena.h"
#include "peers/sync.h"

INLINED void must_be_0(int r, const char *what)
{
    if (__builtin_expect(r != 0, 0))
        bench_die("%s: %d: %s", what, r, kin_strerror(r));
}

/* --- lock and rlock ------------------------------------------------------------------------- */

static void *lock_open(void)
{
    struct kin_lock *lock;
    bench_must(kin_lock_create(kin_peer_arena_open(), NULL, &lock), "kin_lock_create");
    return lock;
}

static void lock_close(void *object)
{
    kin_lock_destroy(object);
    kin_peer_arena_close();
}

INLINED void lock_acquire(void *object)
{
    must_be_0(kin_lock_acquire(object, KIN_NEVER), "kin_lock_acquire");
}

INLINED void lock_release(void *object)
{
    must_be_0(kin_lock_release(object), "kin_lock_release");
}

static void *rlock_open(void)
{
    struct kin_rlock *rlock;
    bench_must(kin_rlock_create(kin_peer_arena_open(), NULL, &rlock), "kin_rlock_create");
    return rlock;
}

static void rlock_close(void *object)
{
    kin_rlock_destroy(object);
    kin_peer_arena_close();
}

INLINED void rlock_acquire(void *object)
{
    must_be_0(kin_rlock_acquire(object, KIN_NEVER), "kin_rlock_acquire");
}

INLINED void rlock_release(void *object)
{
    must_be_0(kin_rlock_release(object), "kin_rlock_release");
}

static void *rlock_open_held(void)
{
    void *object = rlock_open();
    rlock_acquire(object);
    return object;
}

static void rlock_close_held(void *object)
{
    rlock_release(object);
    rlock_close(object);
}

SYNC_PAIRS(lock, lock_acquire, lock_release)
SYNC_CONTENDS(lock, lock_acquire, lock_release)
SYNC_PAIRS(rlock, rlock_acquire, rlock_release)
SYNC_CONTENDS(rlock, rlock_acquire, rlock_release)

const struct sync_peer sync_kin_lock = {lock_open, lock_close, lock_pairs, lock_contend,
                                        lock_contend_timed};
const struct sync_peer sync_kin_rlock = {rlock_open, rlock_close, rlock_pairs, rlock_contend,
                                         rlock_contend_timed};
const struct sync_peer sync_kin_rlock_again = {rlock_open_held, rlock_close_held, rlock_pairs, NULL,
                                               NULL};

/* --- semaphore ------------------------------------------------------------------------------ */

static void *semaphore_open(uint32_t value, uint32_t bounded)
{
    struct kin_semaphore_opts opts = {.size = sizeof opts, .bounded = bounded};
    struct kin_semaphore *semaphore;
    bench_must(kin_semaphore_create(kin_peer_arena_open(), value, &opts, &semaphore),
               "kin_semaphore_create");
    return semaphore;
}

static void *resource_open(void)
{
    return semaphore_open(1, 0);
}

static void *signal_open(void)
{
    return semaphore_open(0, 0);
}

static void *bounded_open(void)
{
    return semaphore_open(1, 1);
}

static void semaphore_close(void *object)
{
    kin_semaphore_destroy(object);
    kin_peer_arena_close();
}

INLINED void semaphore_acquire(void *object)
{
    must_be_0(kin_semaphore_acquire(object, KIN_NEVER), "kin_semaphore_acquire");
}

INLINED void semaphore_release(void *object)
{
    must_be_0(kin_semaphore_release(object), "kin_semaphore_release");
}

SYNC_PAIRS(semaphore, semaphore_acquire, semaphore_release)
SYNC_CONTENDS(semaphore, semaphore_acquire, semaphore_release)
SYNC_PAIRS(signal, semaphore_release, semaphore_acquire)

const struct sync_peer sync_kin_resource = {resource_open, semaphore_close, semaphore_pairs,
                                            semaphore_contend, semaphore_contend_timed};
const struct sync_peer sync_kin_signal = {signal_open, semaphore_close, signal_pairs, NULL, NULL};
const struct sync_peer sync_kin_bounded = {bounded_open, semaphore_close, semaphore_pairs,
                                           semaphore_contend, semaphore_contend_timed};

/* --- rwlock --------------------------------------------------------------------------------- */

static void *rwlock_open(void)
{
    struct kin_rwlock *rwlock;
    bench_must(kin_rwlock_create(kin_peer_arena_open(), NULL, &rwlock), "kin_rwlock_create");
    return rwlock;
}

static void rwlock_close(void *object)
{
    kin_rwlock_destroy(object);
    kin_peer_arena_close();
}

INLINED void rwlock_read(void *object)
{
    must_be_0(kin_rwlock_acquire_read(object, KIN_NEVER), "kin_rwlock_acquire_read");
}

INLINED void rwlock_write(void *object)
{
    must_be_0(kin_rwlock_acquire_write(object, KIN_NEVER), "kin_rwlock_acquire_write");
}

INLINED void rwlock_release(void *object)
{
    must_be_0(kin_rwlock_release(object), "kin_rwlock_release");
}

SYNC_PAIRS(read, rwlock_read, rwlock_release)
SYNC_PAIRS(write, rwlock_write, rwlock_release)

const struct sync_peer sync_kin_read = {rwlock_open, rwlock_close, read_pairs, NULL, NULL};
const struct sync_peer sync_kin_write = {rwlock_open, rwlock_close, write_pairs, NULL, NULL};

/* --- event ---------------------------------------------------------------------------------- */

static void *event_open(void)
{
    struct kin_event *event;
    bench_must(kin_event_create(kin_peer_arena_open(), NULL, &event), "kin_event_create");
    return event;
}

static void event_close(void *object)
{
    kin_event_destroy(object);
    kin_peer_arena_close();
}

INLINED void event_set(void *object)
{
    must_be_0(kin_event_set(object), "kin_event_set");
}

INLINED void event_clear(void *object)
{
    must_be_0(kin_event_clear(object), "kin_event_clear");
}

INLINED void event_is_set(void *object)
{
    must_be_0(kin_event_is_set(object), "kin_event_is_set");
}

INLINED void nothing(void *object)
{
    (void)object;
}

SYNC_PAIRS(set_clear, event_set, event_clear)
SYNC_PAIRS(is_set, event_is_set, nothing)

const struct sync_peer sync_kin_set_clear = {event_open, event_close, set_clear_pairs, NULL, NULL};
const struct sync_peer sync_kin_is_set = {event_open, event_close, is_set_pairs, NULL, NULL};
