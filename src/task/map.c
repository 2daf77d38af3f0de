/* SPDX-License-Identifier: MIT
 * Map: chunks of an array out, results back in order. */
#include "base/bits.h"
#include "task/pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct map {
    struct kini_job job; /* first */
    const char *items;
    char *out;
    uint64_t item_bytes, out_bytes, count, chunk, fed;
    int feed_error;
    struct kin_result failure; /* with the lowest index so far; status 0: none */
};

static __thread char failure_message[KINI_TASK_MESSAGE];

/* Python's rule: about four chunks a worker, so that the last ones even out; but none so large that
 * its worker works on alone for long. */
static uint64_t choose_chunk(const struct kin_pool *pool, uint64_t count)
{
    uint64_t chunk = (count + pool->workers_count * 4ull - 1) / (pool->workers_count * 4ull);
    return kini_max(1, kini_min(chunk, 4096));
}

static void keep_failure(struct map *map, const struct kini_task_shm *task)
{
    if (task->failed == UINT64_MAX ||
        (map->failure.status < 0 && map->failure.index <= task->failed))
        return;
    memcpy(failure_message, task->message, sizeof failure_message);
    map->failure = (struct kin_result){
        .index = task->failed,
        .status = task->failed_status,
        .signal = task->failed_signal,
        .exitcode = task->failed_exitcode,
        .worker_pid = task->failed_pid,
        .tries_count = task->failed_status == -EOWNERDEAD ? map->job.opts.retries_count + 1 : 1,
        .message = failure_message};
}

static bool finish_chunk(struct kini_job *job, uint32_t index)
{
    struct map *map = (struct map *)job;
    struct kini_task_shm *task = &job->pool->shm->tasks[index];
    struct kini_chunk chunk = kini_chunk_of(job->pool->arena, task);
    if (map->out_bytes > 0)
        memcpy(map->out + task->first * map->out_bytes, chunk.results,
               task->count * map->out_bytes);
    for (uint64_t i = 0; i < task->count; i++)
        job->progress.failed_count += chunk.statuses[i] < 0;
    if (job->opts.statuses != NULL)
        memcpy(job->opts.statuses + task->first, chunk.statuses, task->count * sizeof(int32_t));
    job->progress.done_count += task->count;
    keep_failure(map, task);
    kini_entry_drop(job->pool, task);
    return true;
}

static int feed_chunk(struct map *map, uint32_t index)
{
    struct kin_pool *pool = map->job.pool;
    struct kini_self *self = kini_enter(pool->arena);
    struct kini_task_shm *task = &pool->shm->tasks[index];
    task->is_stream = 0;
    task->first = map->fed;
    task->count = kini_min(map->chunk, map->count - map->fed);
    task->item_bytes = map->item_bytes;
    task->out_bytes = map->out_bytes;
    uint64_t bytes = kini_chunk_bytes(task->count, map->item_bytes, map->out_bytes);
    int r = kini_block_get(self, bytes, &task->arg_off);
    if (r < 0) {
        task->arg_off = 0;
        return r;
    }
    struct kini_chunk chunk = kini_chunk_of(pool->arena, task);
    memset(chunk.statuses, 0, task->count * sizeof(int32_t));
    if (map->item_bytes > 0)
        memcpy(chunk.items, map->items + map->fed * map->item_bytes, task->count * map->item_bytes);
    if (map->out_bytes > 0)
        memset(chunk.results, 0, task->count * map->out_bytes);
    map->fed += task->count;
    kini_entry_submit(&map->job, index);
    return 0;
}

static void feed(struct map *map)
{
    while (map->feed_error == 0 && map->fed < map->count) {
        uint32_t index = kini_entry_take(&map->job);
        if (index == UINT32_MAX)
            return;
        map->feed_error = feed_chunk(map, index);
        if (map->feed_error < 0) /* the entry goes with the job */
            return;
    }
}

static int run(struct map *map, kin_deadline deadline)
{
    struct kin_pool *pool = map->job.pool;
    int r = 0;
    pthread_mutex_lock(&pool->mutex);
    do {
        feed(map);
        if (map->job.progress.done_count == map->count)
            break;
        if (map->feed_error < 0 && map->job.running <= 1)
            r = map->feed_error;
        else
            r = kini_job_wait(&map->job, deadline);
    } while (r == 0);
    pthread_mutex_unlock(&pool->mutex);
    return map->job.progress.done_count == map->count ? 0 : r;
}

static int check(const void *items, size_t item_bytes, size_t items_count, const void *out,
                 size_t out_bytes, size_t out_count)
{
    if (items_count > 0 && item_bytes > 0 && items == NULL)
        return kini_fail(-EINVAL, "no items, but %zu of them", items_count);
    if (out != NULL && out_bytes > 0 && out_count < items_count)
        return kini_fail(-EINVAL, "room for %zu results of %zu items", out_count, items_count);
    if (item_bytes > 1ull << 40 || out_bytes > 1ull << 40)
        return kini_fail(-EINVAL, "an item of %zu bytes and a result of %zu", item_bytes,
                         out_bytes);
    return 0;
}

int kin_pool_map_opts(struct kin_pool *pool, kin_task_fn fn, const void *items, size_t item_bytes,
                      size_t items_count, void *out, size_t out_bytes, size_t out_count,
                      const struct kin_map_opts *opts, kin_deadline deadline)
{
    struct map map;
    int r = check(items, item_bytes, items_count, out, out_bytes, out_count);
    if (r < 0 || (r = kini_job_begin(pool, &map.job, fn, opts)) < 0)
        return r;
    map.job.finish = finish_chunk;
    map.job.progress.total_count = items_count;
    map.items = items;
    map.out = out;
    map.item_bytes = item_bytes;
    map.out_bytes = out != NULL ? out_bytes : 0;
    map.count = items_count;
    map.fed = 0;
    map.feed_error = 0;
    map.failure = (struct kin_result){.status = 0};
    map.chunk = map.job.opts.chunk_items;
    if (map.chunk == 0)
        map.chunk = choose_chunk(pool, items_count);
    r = run(&map, deadline);
    kini_job_end(&map.job);
    if (r == 0 && map.failure.status < 0) {
        r = kini_fail(map.failure.status, "item %llu: %s", (unsigned long long)map.failure.index,
                      failure_message);
        if (map.job.opts.failure != NULL)
            *map.job.opts.failure = map.failure;
    }
    return r;
}

int kin_pool_map(struct kin_pool *pool, kin_task_fn fn, const void *items, size_t item_bytes,
                 size_t items_count, void *out, size_t out_bytes, size_t out_count,
                 kin_deadline deadline)
{
    return kin_pool_map_opts(pool, fn, items, item_bytes, items_count, out, out_bytes, out_count,
                             NULL, deadline);
}
