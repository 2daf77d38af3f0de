/* SPDX-License-Identifier: MIT
 * Streams: items read from a source a bounded way ahead, results as they complete or in order. */
#include "base/bits.h"
#include "task/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct kin_stream {
    struct kini_job job; /* first */
    kin_source_fn source;
    void *source_arg;
    uint64_t fed, handed; /* items read; results handed out */
    int ended;            /* 1: the source is dry; negative: its error */
    uint32_t last;        /* entry whose result the caller looks at; UINT32_MAX: none */
    uint32_t ready_count; /* entries that are done and not handed out yet: ready[0] is the oldest */
    uint16_t ready[KINI_TASKS_MAX];
};

/* Done: kept until the caller comes for it, so the entry stays the stream's. */
static bool finish_task(struct kini_job *job, uint32_t index)
{
    struct kin_stream *stream = (struct kin_stream *)job;
    if (index == stream->last) /* told twice: after a death all entries are looked at */
        return false;
    for (uint32_t i = 0; i < stream->ready_count; i++)
        if (stream->ready[i] == index)
            return false;
    stream->ready[stream->ready_count++] = (uint16_t)index;
    struct kini_task_shm *task = &job->pool->shm->tasks[index];
    job->progress.done_count++;
    job->progress.failed_count += task->status < 0;
    return false;
}

static int fill_item(struct kin_stream *stream, uint32_t index, const void *item, size_t bytes)
{
    struct kin_arena *arena = stream->job.pool->arena;
    struct kini_task_shm *task = &stream->job.pool->shm->tasks[index];
    task->is_stream = 1;
    task->first = stream->fed;
    task->count = 1;
    task->item_bytes = bytes;
    task->out_bytes = 0;
    void *to = task->item;
    if (bytes > KINI_TASK_INLINE) {
        struct kini_self *self = kini_enter(arena);
        int r = self == NULL ? kini_enter_error() : kini_block_get(self, bytes, &task->arg_off);
        if (r < 0) {
            task->arg_off = 0;
            return r;
        }
        to = kini_at(arena, task->arg_off);
    }
    if (bytes > 0)
        memcpy(to, item, bytes);
    stream->fed++;
    kini_entry_submit(&stream->job, index);
    return 0;
}

/* Read ahead, as far as the bound allows. The source is user code: it runs without the mutex. */
static void feed(struct kin_stream *stream)
{
    struct kin_pool *pool = stream->job.pool;
    while (stream->ended == 0) {
        uint32_t index = kini_entry_take(&stream->job);
        if (index == UINT32_MAX)
            return;
        const void *item = NULL;
        size_t bytes = 0;
        pthread_mutex_unlock(&pool->mutex);
        int r = stream->source(stream->source_arg, &item, &bytes);
        pthread_mutex_lock(&pool->mutex);
        if (r > 0)
            r = fill_item(stream, index, item, bytes);
        else
            stream->ended = r == 0 ? 1 : r;
        if (r < 0)
            stream->ended = r;
        if (stream->ended != 0)
            kini_entry_release(&stream->job, index);
    }
}

/* Where in ready the next result is: any, or the one with the next number. */
static uint32_t pick(const struct kin_stream *stream)
{
    for (uint32_t i = 0; i < stream->ready_count; i++)
        if (!stream->job.opts.ordered ||
            stream->job.pool->shm->tasks[stream->ready[i]].first == stream->handed)
            return i;
    return UINT32_MAX;
}

static void hand_out(struct kin_stream *stream, uint32_t at, struct kin_result *ret_result)
{
    struct kin_pool *pool = stream->job.pool;
    uint32_t index = stream->ready[at];
    stream->ready_count--;
    memmove(&stream->ready[at], &stream->ready[at + 1],
            (stream->ready_count - at) * sizeof stream->ready[0]);
    struct kini_task_shm *task = &pool->shm->tasks[index];
    bool ok = task->status == 0;
    *ret_result = (struct kin_result){
        .index = task->first,
        .status = task->status,
        .signal = task->failed_signal,
        .exitcode = task->failed_exitcode,
        .worker_pid = task->pid,
        .tries_count = (uint32_t)kini_load(&task->tries) + 1,
        .data = !ok                ? NULL
                : task->result_off ? kini_at(pool->arena, task->result_off)
                                   : task->result,
        .bytes = ok ? task->result_bytes : 0,
        .message = task->message,
    };
    stream->last = index;
    stream->handed++;
}

int kin_pool_stream(struct kin_pool *pool, kin_task_fn fn, kin_source_fn source, void *source_arg,
                    const struct kin_map_opts *opts, struct kin_stream **ret_stream)
{
    if (source == NULL)
        return kini_fail(-EINVAL, "no source of items");
    struct kin_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return kini_fail(-ENOMEM, "no memory for a stream handle");
    int r = kini_job_begin(pool, &stream->job, fn, opts);
    if (r < 0) {
        free(stream);
        return r;
    }
    uint32_t ahead = stream->job.opts.ahead_count;
    if (ahead == 0)
        ahead = (uint32_t)kini_max(64, pool->workers_count * 4ull);
    stream->job.most = (uint32_t)kini_min(ahead, KINI_TASKS_MAX);
    stream->job.finish = finish_task;
    stream->source = source;
    stream->source_arg = source_arg;
    stream->last = UINT32_MAX;
    *ret_stream = stream;
    return 0;
}

static int next_locked(struct kin_stream *stream, kin_deadline deadline,
                       struct kin_result *ret_result)
{
    struct kini_job *job = &stream->job;
    if (stream->last != UINT32_MAX) {
        kini_entry_release(job, stream->last);
        stream->last = UINT32_MAX;
    }
    for (;;) {
        feed(stream);
        uint32_t at = pick(stream);
        if (at != UINT32_MAX) {
            hand_out(stream, at, ret_result);
            return 1;
        }
        if (stream->ended != 0 && job->running == 0)
            return stream->ended < 0 ? stream->ended : 0;
        int r = kini_job_wait(job, deadline);
        if (r < 0 && pick(stream) == UINT32_MAX)
            return r;
    }
}

int kin_stream_next(struct kin_stream *stream, kin_deadline deadline, struct kin_result *ret_result)
{
    struct kin_pool *pool = stream->job.pool;
    if (pool->cookie != kini_load(pool->arena->guard))
        return kini_fail(-ECHILD, "the pool belongs to the process that created it");
    pthread_mutex_lock(&pool->mutex);
    int r = next_locked(stream, deadline, ret_result);
    pthread_mutex_unlock(&pool->mutex);
    return r;
}

void kin_stream_close(struct kin_stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->job.pool->cookie == kini_load(stream->job.pool->arena->guard))
        kini_job_end(&stream->job);
    free(stream);
}
