/* SPDX-License-Identifier: MIT
 * The owner's side of the task table: hand entries out, collect what ended, wait. */
#include "task/pool.h"

#include <errno.h>
#include <string.h>

#define CHECK_NS 20000000 /* how often to look whether the workers live */

/* --- entries -------------------------------------------------------------------------------- */

uint32_t kini_entry_take(struct kini_job *job)
{
    struct kin_pool *pool = job->pool;
    uint32_t share =
        KINI_TASKS_MAX / (pool->jobs ? pool->jobs : 1); /* for several threads at once */
    if (pool->free_count == 0 || job->running >= job->most || job->running > share)
        return UINT32_MAX;
    uint32_t index = pool->free[--pool->free_count];
    struct kini_task_shm *task = &pool->shm->tasks[index];
    pool->owners[index] = job;
    job->running++;
    task->fn = (uint64_t)(uintptr_t)job->fn;
    task->shared = (uint64_t)(uintptr_t)job->opts.arg;
    task->arg_off = 0;
    task->result_off = 0;
    task->result_bytes = 0;
    task->status = 0;
    task->failed = UINT64_MAX;
    task->failed_status = task->failed_signal = task->failed_exitcode = 0;
    task->pid = 0;
    task->message[0] = '\0';
    kini_store(&task->next, 0);
    kini_store(&task->tries, 0);
    return index;
}

static void entry_free(struct kin_pool *pool, uint32_t index)
{
    struct kini_task_shm *task = &pool->shm->tasks[index];
    uint32_t serial = KINI_TASK_SERIAL(kini_load(&task->state));
    kini_store_rel(&task->state, KINI_TASK_WORD(serial, 0, 0, KINI_TASK_FREE));
    if (pool->owners[index] != NULL)
        pool->owners[index]->running--;
    pool->owners[index] = NULL;
    pool->free[pool->free_count++] = (uint16_t)index;
}

void kini_entry_drop(struct kin_pool *pool, struct kini_task_shm *task)
{
    struct kini_self *self = kini_enter(pool->arena);
    if (self == NULL)
        return;
    if (task->arg_off != 0)
        kini_block_put(self, task->arg_off);
    task->arg_off = 0;
    if (task->result_off != 0) {
        kini_block_adopt(self, task->result_off);
        kini_block_put(self, task->result_off);
    }
    task->result_off = 0;
}

void kini_entry_release(struct kini_job *job, uint32_t index)
{
    kini_entry_drop(job->pool, &job->pool->shm->tasks[index]);
    entry_free(job->pool, index);
}

void kini_entry_submit(struct kini_job *job, uint32_t index)
{
    struct kin_pool *pool = job->pool;
    struct kini_task_shm *task = &pool->shm->tasks[index];
    uint32_t serial = (KINI_TASK_SERIAL(kini_load(&task->state)) + 1) & 0xffffff;
    /* rel pairs with the acquire of the worker's claim */
    kini_store_rel(&task->state, KINI_TASK_WORD(serial, 0, 0, KINI_TASK_READY));
    if (kin_queue_put(pool->ready, &index, sizeof index, KIN_NEVER) < 0)
        pool->hints_missing = true; /* no memory for a hint: given later, with the next look */
}

void kini_entry_finish(struct kin_pool *pool, uint32_t index)
{
    struct kini_job *job = pool->owners[index];
    if (job == NULL) {
        kini_entry_drop(pool, &pool->shm->tasks[index]);
        entry_free(pool, index);
        return;
    }
    if (job->finish(job, index))
        entry_free(pool, index);
    job->progressed = true;
    pthread_cond_broadcast(&pool->changed);
}

/* --- jobs ----------------------------------------------------------------------------------- */

static int usable(struct kin_pool *pool)
{
    if (pool->cookie != kini_load(pool->arena->guard))
        return kini_fail(-ECHILD, "the pool belongs to the process that created it");
    if (pool->state == KINI_POOL_CLOSED)
        return kini_fail(-ESHUTDOWN, "the pool was closed");
    if (pool->state == KINI_POOL_TERMINATED)
        return kini_fail(-ECANCELED, "the pool was terminated");
    if (pool->broken < 0)
        return kini_fail(pool->broken,
                         "the pool cannot work: the initialiser of a worker failed, "
                         "or no worker can be started: %s",
                         kin_strerror(pool->broken));
    return 0;
}

int kini_job_begin(struct kin_pool *pool, struct kini_job *job, kin_task_fn fn,
                   const struct kin_map_opts *opts)
{
    memset(job, 0, sizeof *job);
    job->pool = pool;
    job->fn = fn;
    int r = kini_opts_copy(&job->opts, sizeof job->opts, opts);
    if (r < 0)
        return r;
    if (fn == NULL)
        return kini_fail(-EINVAL, "no function to run");
    if (kini_enter(pool->arena) == NULL)
        return kini_enter_error();
    r = usable(pool);
    if (r < 0)
        return r;
    pthread_mutex_lock(&pool->mutex);
    r = usable(pool); /* again, now that nobody changes it */
    if (r == 0) {
        pool->jobs++;
        job->most = KINI_TASKS_MAX;
    }
    pthread_mutex_unlock(&pool->mutex);
    return r;
}

void kini_job_end(struct kini_job *job)
{
    struct kin_pool *pool = job->pool;
    pthread_mutex_lock(&pool->mutex);
    for (uint32_t i = 0; i < KINI_TASKS_MAX && job->running > 0; i++) {
        if (pool->owners[i] != job)
            continue;
        struct kini_task_shm *task = &pool->shm->tasks[i];
        uint64_t word = kini_load_acq(&task->state);
        uint64_t none = KINI_TASK_WORD(KINI_TASK_SERIAL(word), 0, 0, KINI_TASK_FREE);
        if (KINI_TASK_STATE(word) == KINI_TASK_RUNNING ||
            (KINI_TASK_STATE(word) == KINI_TASK_READY && !kini_cas(&task->state, &word, none))) {
            pool->owners[i] = NULL; /* freed when its worker is done with it */
            job->running--;
            continue;
        }
        kini_entry_drop(pool, task); /* withdrawn, or done and not wanted */
        entry_free(pool, i);
    }
    pool->jobs--;
    if (pool->jobs == 0 && pool->state == KINI_POOL_CLOSED)
        kin_queue_shutdown(pool->ready, KIN_WHEN_DRAINED);
    pthread_cond_broadcast(&pool->changed);
    bool last = pool->abandoned && pool->jobs == 0;
    pthread_mutex_unlock(&pool->mutex);
    if (last)
        kini_pool_free(pool);
}

/* --- waiting -------------------------------------------------------------------------------- */

static void collect_one(struct kin_pool *pool, uint32_t index)
{
    if (index < KINI_TASKS_MAX &&
        KINI_TASK_STATE(kini_load_acq(&pool->shm->tasks[index].state)) == KINI_TASK_DONE)
        kini_entry_finish(pool, index);
}

static void check_if_due(struct kin_pool *pool)
{
    int64_t now = kin_now_ns();
    if (now < pool->next_check_ns)
        return;
    pool->next_check_ns = now + CHECK_NS;
    kini_workers_check(pool);
}

/* As the collector: sleep on the queue of finished tasks, with the mutex released. */
static void collect(struct kin_pool *pool, kin_deadline until)
{
    uint32_t index;
    int64_t r = kin_queue_try_get(pool->done, &index, sizeof index);
    if (r == -EAGAIN) {
        pool->collecting = true;
        pthread_mutex_unlock(&pool->mutex);
        r = kin_queue_get(pool->done, &index, sizeof index, until);
        pthread_mutex_lock(&pool->mutex);
        pool->collecting = false;
        pthread_cond_signal(&pool->changed); /* somebody else may collect */
    }
    for (uint32_t n = 0; r == sizeof index; n++) {
        collect_one(pool, index);
        if (n == KINI_TASKS_MAX)
            break;
        r = kin_queue_try_get(pool->done, &index, sizeof index);
    }
}

/* Not the collector: until it, or another thread, has something for us. */
static void wait_for_collector(struct kin_pool *pool, kin_deadline until)
{
    struct timespec at = {.tv_sec = (time_t)(until / 1000000000),
                          .tv_nsec = (long)(until % 1000000000)};
    pthread_cond_timedwait(&pool->changed, &pool->mutex, &at); /* on the monotonic clock */
}

static void report_progress(struct kini_job *job, int64_t now)
{
    job->progressed = false;
    job->next_progress_ns = job->opts.progress_ns > 0 ? now + job->opts.progress_ns : INT64_MAX;
    struct kin_progress progress = job->progress;
    kin_progress_fn fn = job->opts.progress;
    void *arg = job->opts.progress_arg;
    pthread_mutex_unlock(&job->pool->mutex); /* user code runs without it */
    fn(&progress, arg);
    pthread_mutex_lock(&job->pool->mutex);
}

int kini_job_wait(struct kini_job *job, kin_deadline deadline)
{
    struct kin_pool *pool = job->pool;
    int64_t now = kin_now_ns();
    kin_deadline until = now + CHECK_NS;
    if (until > deadline)
        until = deadline;
    if (job->opts.progress != NULL && job->next_progress_ns > 0 && until > job->next_progress_ns)
        until = job->next_progress_ns;
    if (!job->progressed) {
        if (pool->collecting)
            wait_for_collector(pool, until);
        else
            collect(pool, until);
    }
    check_if_due(pool);
    now = kin_now_ns();
    if (job->opts.progress != NULL &&
        (job->progressed || (job->opts.progress_ns > 0 && now >= job->next_progress_ns)))
        report_progress(job, now);
    job->progressed = false;
    if (pool->state == KINI_POOL_TERMINATED)
        return kini_fail(-ECANCELED, "the pool was terminated");
    if (pool->broken < 0)
        return pool->broken;
    return now >= deadline ? -ETIMEDOUT : 0;
}

/* --- the end -------------------------------------------------------------------------------- */

/* The last holder is gone: results that nobody collected. */
void kini_pool_object_destroy(struct kini_self *self, uint64_t offset)
{
    struct kini_pool_shm *pool = kini_at(self->arena, offset);
    if (!kini_block_has(self->arena, offset, sizeof *pool))
        return; /* damaged */
    for (uint32_t i = 0; i < KINI_TASKS_MAX; i++) {
        struct kini_task_shm *task = &pool->tasks[i];
        uint64_t off = task->result_off;
        if (off == 0 || !kini_block_has(self->arena, off, 0))
            continue;
        struct kini_block_shm *header = kini_block_header(self->arena, off);
        uint64_t word = kini_load(&header->word);
        bool ours = KINI_BLOCK_STATE(word) == KINI_BLOCK_OWNED &&
                    KINI_BLOCK_TAG(word) == pool->tag &&
                    kini_load(&header->position) == kini_result_key(pool, task);
        if (ours)
            kini_block_adopt(self, off);
        kini_compiler_barrier();
        task->result_off = 0;
        kini_compiler_barrier();
        if (ours)
            kini_block_put(self, off);
    }
}
