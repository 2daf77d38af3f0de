/* SPDX-License-Identifier: MIT
 * Pools: create, close, terminate, join, destroy. */
#include "task/pool.h"
#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORKERS_MOST 512u

static void own(struct kini_self *self, uint64_t offset, uint32_t tag)
{
    ((struct kini_pool_shm *)kini_at(self->arena, offset))->tag = tag;
}

static int make_shared(struct kin_pool *pool, const struct kin_pool_opts *opts)
{
    struct kini_self *self = kini_enter(pool->arena);
    if (self == NULL)
        return kini_enter_error();
    uint64_t offset;
    int r = kini_block_get(self, sizeof(struct kini_pool_shm), &offset);
    if (r < 0)
        return r;
    pool->shm = kini_at(pool->arena, offset);
    memset(pool->shm, 0, sizeof *pool->shm);
    uint32_t gen;
    const struct kini_new_object new = {KINI_OBJECT_POOL, opts->name, offset, own};
    r = kini_object_create(self, &new, &pool->object_id, &gen);
    if (r < 0)
        kini_block_put(self, offset);
    return r;
}

static int make_queues(struct kin_pool *pool)
{
    struct kin_queue_opts opts = {.inline_bytes = 48};
    int r = kin_queue_create(pool->arena, &opts, &pool->ready);
    if (r < 0)
        return r;
    return kin_queue_create(pool->arena, &opts, &pool->done);
}

static void init_private(struct kin_pool *pool, const struct kin_pool_opts *opts)
{
    pool->cookie = kini_load(pool->arena->guard);
    pool->init = opts->init;
    pool->init_arg = opts->init_arg;
    kini_name_copy(pool->name, opts->name ? opts->name : "Pool");
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    for (uint32_t i = 0; i < KINI_TASKS_MAX; i++)
        pool->free[pool->free_count++] = (uint16_t)(KINI_TASKS_MAX - 1 - i);
}

static int build(struct kin_pool *pool, const struct kin_pool_opts *opts)
{
    init_private(pool, opts);
    int r = make_shared(pool, opts);
    if (r == 0)
        r = make_queues(pool);
    for (uint32_t i = 0; i < pool->workers_count && r == 0; i++)
        r = kini_worker_start(pool, i);
    return r;
}

int kin_pool_create(struct kin_arena *arena, const struct kin_pool_opts *given,
                    struct kin_pool **ret_pool)
{
    struct kin_pool_opts opts;
    char name[32];
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = kini_name_copy(name, opts.name)) < 0)
        return r;
    uint32_t count = opts.workers_count;
    if (count == 0)
        count = (uint32_t)kini_min(kini_os_cpu_count(), WORKERS_MOST);
    if (count > WORKERS_MOST)
        return kini_fail(-EINVAL, "%u workers; at most %u", count, WORKERS_MOST);
    if (kini_enter(arena) == NULL)
        return kini_enter_error();
    struct kin_pool *pool = calloc(1, sizeof *pool + count * sizeof pool->workers[0]);
    if (pool == NULL)
        return kini_fail(-ENOMEM, "no memory for a pool handle");
    pool->arena = arena;
    pool->workers_count = count;
    r = build(pool, &opts);
    if (r < 0) {
        kin_pool_destroy(pool);
        return r;
    }
    *ret_pool = pool;
    return 0;
}

static bool is_owner(const struct kin_pool *pool)
{
    return pool->cookie == kini_load(pool->arena->guard);
}

static int not_owner(void)
{
    return kini_fail(-ECHILD, "the pool belongs to the process that created it");
}

int kin_pool_close(struct kin_pool *pool)
{
    if (!is_owner(pool))
        return not_owner();
    pthread_mutex_lock(&pool->mutex);
    if (pool->state == KINI_POOL_OPEN) {
        pool->state = KINI_POOL_CLOSED;
        if (pool->jobs == 0)
            kin_queue_shutdown(pool->ready, KIN_WHEN_DRAINED);
    }
    pthread_mutex_unlock(&pool->mutex);
    return 0;
}

static void terminate_locked(struct kin_pool *pool)
{
    pool->state = KINI_POOL_TERMINATED;
    for (uint32_t i = 0; i < pool->workers_count; i++)
        if (pool->workers[i].process != NULL)
            kin_process_kill(pool->workers[i].process);
    pthread_cond_broadcast(&pool->changed);
}

int kin_pool_terminate(struct kin_pool *pool)
{
    if (!is_owner(pool))
        return not_owner();
    pthread_mutex_lock(&pool->mutex);
    terminate_locked(pool);
    pthread_mutex_unlock(&pool->mutex);
    return 0;
}

static bool all_ended(struct kin_pool *pool)
{
    for (uint32_t i = 0; i < pool->workers_count; i++)
        if (pool->workers[i].process != NULL)
            return false;
    return true;
}

int kin_pool_join(struct kin_pool *pool, kin_deadline deadline)
{
    if (!is_owner(pool))
        return not_owner();
    pthread_mutex_lock(&pool->mutex);
    int r = 0;
    if (pool->state == KINI_POOL_OPEN)
        r = kini_fail(-EINVAL, "the pool is open: close or terminate it first");
    while (r == 0) {
        kini_workers_check(pool);
        if (all_ended(pool))
            break;
        struct kin_process *process = NULL;
        for (uint32_t i = 0; i < pool->workers_count && process == NULL; i++)
            process = pool->workers[i].process;
        int fd = kin_process_fd(process);
        pthread_mutex_unlock(&pool->mutex);
        kin_deadline slice = kin_after_ms(20); /* the one we look at may be replaced meanwhile */
        int waited = kini_os_wait_readable(fd, deadline < slice ? deadline : slice);
        pthread_mutex_lock(&pool->mutex);
        if (waited == -ETIMEDOUT && kin_now_ns() >= deadline) {
            kini_workers_check(pool);
            r = all_ended(pool) ? 0 : -ETIMEDOUT;
            break;
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return r;
}

/* Nobody uses it any more, and its workers have ended. */
void kini_pool_free(struct kin_pool *pool)
{
    struct kini_self *self = kini_enter(pool->arena);
    if (is_owner(pool)) {
        for (uint32_t i = 0; i < KINI_TASKS_MAX && pool->shm != NULL; i++)
            kini_entry_drop(pool, &pool->shm->tasks[i]);
        pthread_cond_destroy(&pool->changed);
        pthread_mutex_destroy(&pool->mutex);
    }
    kin_queue_destroy(pool->ready);
    kin_queue_destroy(pool->done);
    if (pool->shm != NULL && self != NULL) {
        pthread_mutex_lock(&pool->arena->mutex);
        kini_object_drop(self, pool->object_id);
        pthread_mutex_unlock(&pool->arena->mutex);
    }
    free(pool);
}

void kin_pool_destroy(struct kin_pool *pool)
{
    if (pool == NULL)
        return;
    bool in_use = false;
    if (is_owner(pool)) {
        kin_pool_terminate(pool);
        (void)!kin_pool_join(pool, KIN_NEVER);
        pthread_mutex_lock(&pool->mutex);
        in_use = pool->abandoned = pool->jobs > 0;
        pthread_mutex_unlock(&pool->mutex);
    }
    if (!in_use)
        kini_pool_free(pool);
}

uint32_t kin_pool_workers_count(const struct kin_pool *pool)
{
    return pool->workers_count;
}

uint32_t kin_pool_worker_pids(struct kin_pool *pool, int32_t *ret_pids, uint32_t max)
{
    if (!is_owner(pool))
        return 0;
    uint32_t count = 0;
    pthread_mutex_lock(&pool->mutex);
    for (uint32_t i = 0; i < pool->workers_count; i++) {
        if (pool->workers[i].process == NULL)
            continue;
        if (count < max)
            ret_pids[count] = kin_process_pid(pool->workers[i].process);
        count++;
    }
    pthread_mutex_unlock(&pool->mutex);
    return count;
}
