/* SPDX-License-Identifier: MIT
 * The worker's side of a pool: claim, run, give the result back. */
#include "base/bits.h"
#include "task/pool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct kin_task {
    struct kin_arena *arena;
    struct kini_pool_shm *pool;
    struct kini_task_shm *shm;
    void *state;
    const void *arg;
    uint64_t index;
    void *result; /* map: where it goes */
    bool returned;
    bool explained;
};

uint64_t kini_chunk_bytes(uint64_t count, uint64_t item_bytes, uint64_t out_bytes)
{
    uint64_t items = kini_round_up(count * sizeof(int32_t), 16);
    return items + kini_round_up(count * item_bytes, 16) + count * out_bytes;
}

struct kini_chunk kini_chunk_of(const struct kin_arena *arena, const struct kini_task_shm *task)
{
    char *base = kini_at(arena, task->arg_off);
    char *items = base + kini_round_up(task->count * sizeof(int32_t), 16);
    return (struct kini_chunk){.statuses = (int32_t *)base,
                               .items = items,
                               .results =
                                   items + kini_round_up(task->count * task->item_bytes, 16)};
}

/* Names this very run of this entry in the header of a result block. */
uint64_t kini_result_key(const struct kini_pool_shm *pool, const struct kini_task_shm *task)
{
    uint64_t serial = KINI_TASK_SERIAL(kini_load(&((struct kini_task_shm *)task)->state));
    return serial << 32 | (uint64_t)(task - pool->tasks);
}

/* --- in a task ------------------------------------------------------------------------------ */

const void *kin_task_arg(const struct kin_task *task)
{
    return task->arg;
}

size_t kin_task_arg_bytes(const struct kin_task *task)
{
    return task->shm->item_bytes;
}

uint64_t kin_task_index(const struct kin_task *task)
{
    return task->index;
}

uint32_t kin_task_tries_count(const struct kin_task *task)
{
    return kini_task_tries(task->shm);
}

void *kin_task_shared(const struct kin_task *task)
{
    return (void *)(uintptr_t)task->shm->shared; /* NOLINT: the same address in every worker */
}

void *kin_task_state(const struct kin_task *task)
{
    return task->state;
}

struct kin_arena *kin_task_arena(const struct kin_task *task)
{
    return task->arena;
}

/* A stream's result. The block is named in the entry before it is given, so that it is found
 * whenever the worker dies; its header says for which run it was meant. */
static int return_any_length(struct kin_task *task, const void *data, size_t bytes)
{
    struct kini_task_shm *shm = task->shm;
    struct kini_self *self = kini_enter(task->arena);
    if (self == NULL)
        return kini_enter_error();
    if (bytes <= KINI_TASK_INLINE) {
        if (bytes > 0)
            memcpy(shm->result, data, bytes);
    } else {
        uint64_t off;
        int r = kini_block_get(self, bytes, &off);
        if (r < 0)
            return r;
        memcpy(kini_at(task->arena, off), data, bytes);
        kini_store(&kini_block_header(task->arena, off)->position,
                   kini_result_key(task->pool, shm));
        shm->result_off = off;
        kini_compiler_barrier();
        kini_block_give(self, off, task->pool->tag);
    }
    shm->result_bytes = bytes;
    return 0;
}

int kin_task_return(struct kin_task *task, const void *data, size_t bytes)
{
    if (task->returned)
        return kini_fail(-EALREADY, "the task has returned a result already");
    if (data == NULL && bytes > 0)
        return kini_fail(-EINVAL, "no data, but %zu bytes of it", bytes);
    int r = 0;
    if (task->shm->is_stream)
        r = return_any_length(task, data, bytes);
    else if (bytes > task->shm->out_bytes)
        return kini_fail(-EMSGSIZE, "a result of %zu bytes; the map has room for %llu", bytes,
                         (unsigned long long)task->shm->out_bytes);
    else if (bytes > 0)
        memcpy(task->result, data, bytes);
    task->returned = r == 0;
    return r;
}

int kin_task_fail(struct kin_task *task, int error, const char *format, ...)
{
    if (error >= 0)
        error = error == 0 ? -EINVAL : -error;
    struct kini_task_shm *shm = task->shm;
    if (shm->failed == UINT64_MAX) { /* the first of the chunk is the one that is reported */
        va_list args;
        va_start(args, format);
        vsnprintf(shm->message, sizeof shm->message, format, args);
        va_end(args);
        task->explained = true;
    }
    return error;
}

/* --- running -------------------------------------------------------------------------------- */

static void note_failure(struct kin_task *task, uint64_t item, int status)
{
    struct kini_task_shm *shm = task->shm;
    if (shm->failed != UINT64_MAX)
        return;
    if (!task->explained)
        snprintf(shm->message, sizeof shm->message, "%s",
                 kin_error_text()[0] != '\0' ? kin_error_text() : kin_strerror(status));
    shm->failed_status = status;
    shm->failed_pid = shm->pid;
    kini_compiler_barrier();
    shm->failed = item;
}

static int run_item(struct kin_task *task)
{
    kin_task_fn fn = (kin_task_fn)(uintptr_t)task->shm->fn;
    task->returned = task->explained = false;
    kini_fail(0, "%s", "");
    int status = fn(task);
    return status < 0 ? status : 0;
}

static void run_chunk(struct kin_task *task)
{
    struct kini_task_shm *shm = task->shm;
    struct kini_chunk chunk = kini_chunk_of(task->arena, shm);
    for (uint64_t i = kini_load(&shm->next); i < shm->count; i++) {
        task->index = shm->first + i;
        task->arg = shm->item_bytes ? chunk.items + i * shm->item_bytes : NULL;
        task->result = chunk.results + i * shm->out_bytes;
        int status = run_item(task);
        if (status < 0)
            note_failure(task, task->index, status);
        chunk.statuses[i] = status;
        kini_compiler_barrier();
        kini_store(&shm->next, i + 1); /* the item is done */
        kini_compiler_barrier();
    }
}

static void run_one(struct kin_task *task)
{
    struct kini_task_shm *shm = task->shm;
    task->index = shm->first;
    task->arg = shm->arg_off ? kini_at(task->arena, shm->arg_off) : (void *)shm->item;
    shm->status = run_item(task);
    if (shm->status < 0)
        note_failure(task, task->index, shm->status);
}

/* Claim the entry, if it is still to be had, and run it. */
static void serve(struct kini_worker_call *me, void *state, uint32_t index)
{
    struct kini_pool_shm *shm = me->pool->shm;
    struct kini_task_shm *entry = &shm->tasks[index % KINI_TASKS_MAX];
    uint64_t word = kini_load_acq(&entry->state);
    if (KINI_TASK_STATE(word) != KINI_TASK_READY)
        return;
    uint32_t serial = KINI_TASK_SERIAL(word);
    uint64_t mine = KINI_TASK_WORD(serial, me->incarnation, me->place, KINI_TASK_RUNNING);
    /* acq pairs with the release in kini_entry_submit */
    if (!kini_cas(&entry->state, &word, mine))
        return;
    struct kin_task task = {.arena = me->pool->arena, .pool = shm, .shm = entry, .state = state};
    entry->pid = (int32_t)kini_load(&task.arena->participants[task.arena->slot].pid);
    if (entry->is_stream)
        run_one(&task);
    else
        run_chunk(&task);
    uint64_t done = KINI_TASK_WORD(serial, me->incarnation, me->place, KINI_TASK_DONE);
    /* rel pairs with the acquire of the owner */
    if (kini_cas_sc(&entry->state, &mine, done) &&
        kin_queue_put(me->pool->done, &index, sizeof index, KIN_NEVER) < 0)
        return; /* the owner looks at the table when it misses something */
}

int kini_worker_main(struct kin_arena *arena, void *arg)
{
    struct kini_worker_call me = *(struct kini_worker_call *)arg;
    void *state = NULL;
    if (me.pool->init != NULL) {
        int r = me.pool->init(arena, me.pool->init_arg, &state);
        if (r < 0) {
            kini_store_rel(&me.pool->shm->init_error, (uint32_t)r);
            return 1;
        }
    }
    kini_add(&me.pool->shm->inits, 1);
    for (;;) {
        uint32_t index;
        int64_t r = kin_queue_get(me.pool->ready, &index, sizeof index, KIN_NEVER);
        if (r < 0)
            return r == -ESHUTDOWN ? 0 : 1;
        serve(&me, state, index);
    }
}
