/* SPDX-License-Identifier: MIT
 * A hundred processes or threads that sleep until they are all woken, again and again. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "crowd_runs.h"
#include "lib/stage.h"
#include "peers/kin_arena.h"

#define ASLEEP_MS 5 /* after the last one began to wait */

/* --- conditions ----------------------------------------------------------------------------- */

struct pthread_pair {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
};

static void *pair_open(void)
{
    struct pthread_pair *pair = stage_memory(sizeof *pair);
    pthread_mutexattr_t mutex_attr;
    pthread_condattr_t cond_attr;
    pthread_mutexattr_init(&mutex_attr);
    pthread_mutexattr_setpshared(&mutex_attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&pair->mutex, &mutex_attr);
    pthread_mutexattr_destroy(&mutex_attr);
    pthread_condattr_init(&cond_attr);
    pthread_condattr_setpshared(&cond_attr, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&pair->cond, &cond_attr);
    pthread_condattr_destroy(&cond_attr);
    return pair;
}

static void pair_close(void *object)
{
    struct pthread_pair *pair = object;
    pthread_cond_destroy(&pair->cond);
    pthread_mutex_destroy(&pair->mutex);
    stage_memory_free(pair, sizeof *pair);
}

static void pair_acquire(void *object)
{
    pthread_mutex_lock(&((struct pthread_pair *)object)->mutex);
}

static void pair_release(void *object)
{
    pthread_mutex_unlock(&((struct pthread_pair *)object)->mutex);
}

static void pair_wait(void *object)
{
    struct pthread_pair *pair = object;
    pthread_cond_wait(&pair->cond, &pair->mutex);
}

static void pair_wake_all(void *object)
{
    pthread_cond_broadcast(&((struct pthread_pair *)object)->cond);
}

const struct crowd_peer crowd_pthread = {pair_open,    pair_close, pair_acquire,
                                         pair_release, pair_wait,  pair_wake_all};

static void *condition_open(void)
{
    struct kin_condition *condition;
    bench_must(kin_condition_create(kin_peer_arena_open(), NULL, &condition),
               "kin_condition_create");
    return condition;
}

static void condition_close(void *object)
{
    kin_condition_destroy(object);
    kin_peer_arena_close();
}

static void condition_acquire(void *object)
{
    bench_must(kin_condition_acquire(object, KIN_NEVER), "kin_condition_acquire");
}

static void condition_release(void *object)
{
    bench_must(kin_condition_release(object), "kin_condition_release");
}

static void condition_wait(void *object)
{
    bench_must(kin_condition_wait(object, KIN_NEVER), "kin_condition_wait");
}

static void condition_wake_all(void *object)
{
    int woken = kin_condition_notify_all(object);
    if (woken != CROWD_COUNT)
        bench_die("%d of %d were woken", woken, CROWD_COUNT);
}

const struct crowd_peer crowd_kin = {condition_open,    condition_close, condition_acquire,
                                     condition_release, condition_wait,  condition_wake_all};

/* --- the crowd ------------------------------------------------------------------------------ */

struct crowd { /* shared; all but the scene is guarded by the peer's lock */
    const struct crowd_peer *peer;
    void *object;
    uint64_t count;
    uint64_t round; /* until which the crowd has been woken */
    int64_t last_ns;
    _Atomic int asleep, awake; /* looked at without the lock */
    double samples[];
};

static void sleeper(struct crowd *crowd)
{
    crowd->peer->acquire(crowd->object);
    for (uint64_t round = 0; round < crowd->count; round++) {
        atomic_fetch_add(&crowd->asleep, 1);
        while (crowd->round == round)
            crowd->peer->wait(crowd->object);
        crowd->last_ns = bench_now_ns();
        atomic_fetch_add(&crowd->awake, 1);
    }
    crowd->peer->release(crowd->object);
}

static void nap_us(int64_t us)
{
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

static void waker(struct crowd *crowd)
{
    for (uint64_t round = 0; round < crowd->count; round++) {
        while (atomic_load(&crowd->asleep) < CROWD_COUNT)
            nap_us(200);
        nap_us(ASLEEP_MS * 1000);
        crowd->peer->acquire(crowd->object);
        atomic_store(&crowd->asleep, 0);
        atomic_store(&crowd->awake, 0);
        crowd->round++;
        int64_t start = bench_now_ns();
        crowd->peer->wake_all(crowd->object);
        crowd->peer->release(crowd->object);
        while (atomic_load(&crowd->awake) < CROWD_COUNT)
            nap_us(200);
        crowd->samples[round] = (double)(crowd->last_ns - start) * 1e-9;
    }
}

static struct crowd *crowd_make(const struct crowd_peer *peer, uint64_t count)
{
    struct crowd *crowd = stage_memory(sizeof *crowd + count * sizeof *crowd->samples);
    crowd->peer = peer;
    crowd->object = peer->open();
    crowd->count = count;
    return crowd;
}

static void crowd_end(struct crowd *crowd, struct bench_sample *ret)
{
    uint64_t count = crowd->count;
    bench_sort(crowd->samples, count);
    ret->seconds = crowd->samples[count / 2] * (double)count;
    ret->p99 = crowd->samples[count * 99 / 100];
    crowd->peer->close(crowd->object);
    stage_memory_free(crowd, sizeof *crowd + count * sizeof *crowd->samples);
}

static void process_part(struct stage *stage, int index, void *arg)
{
    (void)stage;
    if (index == 0)
        waker(arg);
    else
        sleeper(arg);
}

void crowd_processes(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    struct crowd *crowd = crowd_make(self->arg, count);
    stage_free(stage_run(CROWD_COUNT + 1, process_part, crowd));
    crowd_end(crowd, ret);
}

static void *thread_part(void *arg)
{
    static _Atomic int next;
    if (bench_options.pin)
        stage_pin(atomic_fetch_add(&next, 1) + 1);
    sleeper(arg);
    return NULL;
}

void crowd_threads(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    pthread_t threads[CROWD_COUNT];
    struct crowd *crowd = crowd_make(self->arg, count);
    for (int i = 0; i < CROWD_COUNT; i++)
        if (pthread_create(&threads[i], NULL, thread_part, crowd) != 0)
            bench_die("no thread");
    waker(crowd);
    for (int i = 0; i < CROWD_COUNT; i++)
        pthread_join(threads[i], NULL);
    crowd_end(crowd, ret);
}
