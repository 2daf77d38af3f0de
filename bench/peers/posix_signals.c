/* SPDX-License-Identifier: MIT
 * sem_t and pthread_cond_t, shared, as that by which one process tells another that a message is
 * there, which lies beside it. One message at a time. */
#include <pthread.h>
#include <semaphore.h>

#include "lib/bench.h"
#include "lib/stage.h"
#include "peers/loops.h"

/* --- semaphore ------------------------------------------------------------------------------ */

struct sem_channel {
    _Alignas(64) sem_t sem;
    _Alignas(64) char message[MESSAGE_MOST];
};

static void *sem_channel_open(const struct peer_opts *opts)
{
    (void)opts;
    struct sem_channel *c = stage_memory(sizeof *c);
    bench_must_sys(sem_init(&c->sem, 1, 0), "sem_init");
    return c;
}

static void sem_channel_close(void *channel)
{
    struct sem_channel *c = channel;
    sem_destroy(&c->sem);
    stage_memory_free(c, sizeof *c);
}

static void sem_put(void *channel, const void *data, size_t bytes)
{
    struct sem_channel *c = channel;
    memcpy(c->message, data, bytes);
    bench_must_sys(sem_post(&c->sem), "sem_post");
}

static void sem_get(void *channel, void *buffer, size_t bytes)
{
    struct sem_channel *c = channel;
    bench_must_sys(sem_wait(&c->sem), "sem_wait");
    memcpy(buffer, c->message, bytes);
}

static void sem_poll(void *channel, void *buffer, size_t bytes)
{
    struct sem_channel *c = channel;
    while (sem_trywait(&c->sem) != 0)
        ;
    memcpy(buffer, c->message, bytes);
}

PEER_PINGS(sem, sem_put, sem_poll)

const struct peer peer_sem = {"sem_t", sem_channel_open, sem_channel_close, sem_put, sem_get, NULL,
                              NULL,    sem_ping,         sem_echo};

/* --- condition ------------------------------------------------------------------------------ */

struct cond_channel {
    _Alignas(64) pthread_mutex_t mutex;
    _Alignas(64) pthread_cond_t cond;
    uint32_t full; /* guarded by the mutex */
    char message[MESSAGE_MOST];
};

static void *cond_open(const struct peer_opts *opts)
{
    (void)opts;
    struct cond_channel *c = stage_memory(sizeof *c);
    pthread_mutexattr_t mutex_attr;
    pthread_condattr_t cond_attr;
    pthread_mutexattr_init(&mutex_attr);
    pthread_mutexattr_setpshared(&mutex_attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&c->mutex, &mutex_attr);
    pthread_mutexattr_destroy(&mutex_attr);
    pthread_condattr_init(&cond_attr);
    pthread_condattr_setpshared(&cond_attr, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&c->cond, &cond_attr);
    pthread_condattr_destroy(&cond_attr);
    return c;
}

static void cond_close(void *channel)
{
    struct cond_channel *c = channel;
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->mutex);
    stage_memory_free(c, sizeof *c);
}

/* The notification is given with the lock held, as kin's and Python's must be. */
static void cond_put(void *channel, const void *data, size_t bytes)
{
    struct cond_channel *c = channel;
    pthread_mutex_lock(&c->mutex);
    memcpy(c->message, data, bytes);
    c->full = 1;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->mutex);
}

static void cond_get(void *channel, void *buffer, size_t bytes)
{
    struct cond_channel *c = channel;
    pthread_mutex_lock(&c->mutex);
    while (!c->full)
        pthread_cond_wait(&c->cond, &c->mutex);
    c->full = 0;
    memcpy(buffer, c->message, bytes);
    pthread_mutex_unlock(&c->mutex);
}

const struct peer peer_cond = {
    "pthread condition", cond_open, cond_close, cond_put, cond_get, NULL, NULL, NULL, NULL};
