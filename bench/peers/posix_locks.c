/* SPDX-License-Identifier: MIT
 * The C library's mutexes, semaphore and rwlock, shared between processes, in shared memory. */
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include "lib/stage.h"
#include "peers/sync.h"

INLINED void must_be_0(int error, const char *what)
{
    if (__builtin_expect(error != 0, 0))
        bench_die("%s: %s", what, strerror(error));
}

/* --- mutex ---------------------------------------------------------------------------------- */

static void *mutex_make(int type, int robust)
{
    pthread_mutex_t *mutex = stage_memory(sizeof *mutex);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setrobust(&attr, robust);
    must_be_0(pthread_mutex_init(mutex, &attr), "pthread_mutex_init");
    pthread_mutexattr_destroy(&attr);
    return mutex;
}

static void mutex_close(void *object)
{
    pthread_mutex_destroy(object);
    stage_memory_free(object, sizeof(pthread_mutex_t));
}

INLINED void mutex_acquire(void *object)
{
    must_be_0(pthread_mutex_lock(object), "pthread_mutex_lock");
}

INLINED void mutex_release(void *object)
{
    must_be_0(pthread_mutex_unlock(object), "pthread_mutex_unlock");
}

static void *normal_open(void)
{
    return mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED);
}

static void *robust_open(void)
{
    return mutex_make(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST);
}

static void *recursive_open(void)
{
    return mutex_make(PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED);
}

static void *recursive_robust_open(void)
{
    return mutex_make(PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ROBUST);
}

static void *recursive_open_held(void)
{
    void *mutex = recursive_open();
    mutex_acquire(mutex);
    return mutex;
}

static void recursive_close_held(void *object)
{
    mutex_release(object);
    mutex_close(object);
}

#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
static void *adaptive_open(void)
{
    return mutex_make(PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_MUTEX_STALLED);
}
#else
static void *adaptive_open(void)
{
    return NULL;
}
#endif

SYNC_PAIRS(mutex, mutex_acquire, mutex_release)
SYNC_CONTENDS(mutex, mutex_acquire, mutex_release)

#define MUTEX_LOOPS mutex_close, mutex_pairs, mutex_contend, mutex_contend_timed

const struct sync_peer sync_mutex = {normal_open, MUTEX_LOOPS};
const struct sync_peer sync_mutex_robust = {robust_open, MUTEX_LOOPS};
const struct sync_peer sync_mutex_adaptive = {adaptive_open, MUTEX_LOOPS};
const struct sync_peer sync_mutex_recursive = {recursive_open, MUTEX_LOOPS};
const struct sync_peer sync_mutex_recursive_robust = {recursive_robust_open, MUTEX_LOOPS};
const struct sync_peer sync_mutex_recursive_again = {recursive_open_held, recursive_close_held,
                                                     mutex_pairs, NULL, NULL};

/* --- semaphore ------------------------------------------------------------------------------ */

static void *sem_make(void)
{
    sem_t *sem = stage_memory(sizeof *sem);
    bench_must_sys(sem_init(sem, 1, 1), "sem_init");
    return sem;
}

static void sem_end(void *object)
{
    sem_destroy(object);
    stage_memory_free(object, sizeof(sem_t));
}

INLINED void sem_acquire(void *object)
{
    if (__builtin_expect(sem_wait(object) != 0, 0))
        bench_must_sys(-1, "sem_wait");
}

INLINED void sem_release(void *object)
{
    if (__builtin_expect(sem_post(object) != 0, 0))
        bench_must_sys(-1, "sem_post");
}

SYNC_PAIRS(sem, sem_acquire, sem_release)
SYNC_CONTENDS(sem, sem_acquire, sem_release)

const struct sync_peer sync_sem = {sem_make, sem_end, sem_pairs, sem_contend, sem_contend_timed};

/* --- rwlock --------------------------------------------------------------------------------- */

static void *rwlock_open(void)
{
    pthread_rwlock_t *rwlock = stage_memory(sizeof *rwlock);
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    must_be_0(pthread_rwlock_init(rwlock, &attr), "pthread_rwlock_init");
    pthread_rwlockattr_destroy(&attr);
    return rwlock;
}

static void rwlock_close(void *object)
{
    pthread_rwlock_destroy(object);
    stage_memory_free(object, sizeof(pthread_rwlock_t));
}

INLINED void rwlock_read(void *object)
{
    must_be_0(pthread_rwlock_rdlock(object), "pthread_rwlock_rdlock");
}

INLINED void rwlock_write(void *object)
{
    must_be_0(pthread_rwlock_wrlock(object), "pthread_rwlock_wrlock");
}

INLINED void rwlock_release(void *object)
{
    must_be_0(pthread_rwlock_unlock(object), "pthread_rwlock_unlock");
}

SYNC_PAIRS(read, rwlock_read, rwlock_release)
SYNC_PAIRS(write, rwlock_write, rwlock_release)

const struct sync_peer sync_pthread_read = {rwlock_open, rwlock_close, read_pairs, NULL, NULL};
const struct sync_peer sync_pthread_write = {rwlock_open, rwlock_close, write_pairs, NULL, NULL};
