/* SPDX-License-Identifier: MIT
 * The workers of a pool, seen from its owner: start, miss, replace. */
#include "task/pool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EARLY_DEATHS_MOST 16
#define STATUS_LOST       INT32_MIN /* somebody else collected the child */

int kini_worker_start(struct kin_pool *pool, uint32_t place)
{
    struct kini_worker *worker = &pool->workers[place];
    struct kini_worker_call call = {
        .pool = pool, .place = place, .incarnation = (worker->incarnation + 1) & 0xffff};
    char name[32];
    snprintf(name, sizeof name, "%.20s-%u", pool->name, place + 1);
    struct kin_process_opts opts = {.daemon = 1, .name = name};
    /* Even a start that fails may have had a child for a moment, which claimed a task. */
    worker->incarnation = call.incarnation;
    int r = kin_process_start(pool->arena, kini_worker_main, &call, &opts, &worker->process);
    if (r < 0)
        worker->process = NULL;
    return r;
}

static void describe_death(struct kin_pool *pool, struct kini_task_shm *task, uint64_t item,
                           int exitcode, pid_t pid)
{
    if (task->failed == UINT64_MAX && pool->state == KINI_POOL_TERMINATED) {
        snprintf(task->message, sizeof task->message, "the pool was terminated");
        task->failed = item;
        task->failed_pid = pid;
        task->failed_status = -ECANCELED;
    } else if (task->failed == UINT64_MAX) {
        if (exitcode == STATUS_LOST)
            snprintf(task->message, sizeof task->message,
                     "worker %d ended, how is not known, while it ran item %llu", pid,
                     (unsigned long long)item);
        else if (exitcode < 0)
            snprintf(task->message, sizeof task->message,
                     "worker %d was killed by signal %d (%s) while it ran item %llu", pid,
                     -exitcode, strsignal(-exitcode), (unsigned long long)item);
        else
            snprintf(task->message, sizeof task->message,
                     "worker %d left with exit status %d while it ran item %llu", pid, exitcode,
                     (unsigned long long)item);
        task->failed = item;
        task->failed_pid = pid;
        task->failed_status = -EOWNERDEAD;
        task->failed_signal = exitcode < 0 && exitcode != STATUS_LOST ? -exitcode : 0;
        task->failed_exitcode = exitcode > 0 ? exitcode : 0;
    }
}

/* A result that the dead had named but not delivered. It was given to the pool, or it was still the
 * worker's own: then the sweep has had it, and the header says something else by now. */
static void drop_result(struct kin_pool *pool, struct kini_self *self, struct kini_task_shm *task)
{
    if (task->result_off != 0) {
        struct kini_block_shm *header = kini_block_header(pool->arena, task->result_off);
        uint64_t word = kini_load_acq(&header->word);
        if (KINI_BLOCK_STATE(word) == KINI_BLOCK_OWNED && KINI_BLOCK_TAG(word) == pool->shm->tag &&
            kini_load(&header->position) == kini_result_key(pool->shm, task)) {
            kini_block_adopt(self, task->result_off);
            kini_block_put(self, task->result_off);
        }
    }
    task->result_off = 0;
    task->result_bytes = 0;
}

/* The task that a dead worker ran: once more, or failed; the rest of its chunk goes on. */
static void after_death(struct kin_pool *pool, struct kini_self *self, uint32_t index, int exitcode,
                        pid_t pid)
{
    struct kini_task_shm *task = &pool->shm->tasks[index];
    struct kini_job *job = pool->owners[index];
    drop_result(pool, self, task);
    uint32_t tries = kini_task_tries(task);
    uint64_t next = kini_load(&task->next);
    if (job != NULL && next < task->count && tries < job->opts.retries_count &&
        pool->state != KINI_POOL_TERMINATED) {
        if (task->failed == task->first + next) { /* what it said before it died is void */
            task->failed = UINT64_MAX;
            task->message[0] = '\0';
        }
        kini_store(&task->tries, KINI_TASK_TRIES(next, tries + 1));
        job->progress.retried_count++;
        kini_entry_submit(job, index);
        return;
    }
    if (next < task->count) {
        int status = pool->state == KINI_POOL_TERMINATED ? -ECANCELED : -EOWNERDEAD;
        describe_death(pool, task, task->first + next, exitcode, pid);
        task->status = status;
        if (!task->is_stream)
            kini_chunk_of(pool->arena, task).statuses[next] = status;
        kini_store(&task->next, next + 1);
    }
    if (job != NULL && !task->is_stream && next + 1 < task->count) {
        kini_entry_submit(job, index);
        return;
    }
    /* nobody runs it any more, whoever looks at the word later */
    uint32_t serial = KINI_TASK_SERIAL(kini_load(&task->state));
    kini_store(&task->state, KINI_TASK_WORD(serial, 0, 0, KINI_TASK_DONE));
    kini_entry_finish(pool, index);
}

static void give_tasks_on(struct kin_pool *pool, uint32_t place, int exitcode, pid_t pid)
{
    struct kini_self *self = kini_enter(pool->arena);
    uint32_t incarnation = pool->workers[place].incarnation;
    for (uint32_t i = 0; self != NULL && i < KINI_TASKS_MAX; i++) {
        uint64_t word = kini_load_acq(&pool->shm->tasks[i].state);
        switch (KINI_TASK_STATE(word)) {
        case KINI_TASK_READY: /* its hint may have died with the worker */
            (void)!kin_queue_try_put(pool->ready, &i, sizeof i);
            break;
        case KINI_TASK_DONE: /* the same for the way back */
            kini_entry_finish(pool, i);
            break;
        case KINI_TASK_RUNNING:
            if (KINI_TASK_WORKER(word) == place && KINI_TASK_INCARNATION(word) == incarnation)
                after_death(pool, self, i, exitcode, pid);
            break;
        default:
            break;
        }
    }
}

static void give_hints(struct kin_pool *pool)
{
    pool->hints_missing = false;
    for (uint32_t i = 0; i < KINI_TASKS_MAX; i++)
        if (KINI_TASK_STATE(kini_load(&pool->shm->tasks[i].state)) == KINI_TASK_READY &&
            kin_queue_try_put(pool->ready, &i, sizeof i) < 0)
            pool->hints_missing = true;
}

/* A worker whose start goes wrong again and again would be replaced for ever. */
static void judge_start(struct kin_pool *pool)
{
    int error = (int)kini_load_acq(&pool->shm->init_error);
    uint32_t inits = kini_load(&pool->shm->inits);
    pool->early_deaths = inits == pool->inits_seen ? pool->early_deaths + 1 : 0;
    pool->inits_seen = inits;
    if (error < 0)
        pool->broken =
            kini_fail(error, "the initialiser of a worker failed: %s", kin_strerror(error));
    else if (pool->early_deaths >= EARLY_DEATHS_MOST)
        pool->broken = kini_fail(-EOWNERDEAD, "%u workers in a row died before their first task",
                                 pool->early_deaths);
}

static void start_again(struct kin_pool *pool, uint32_t place)
{
    int error = kini_worker_start(pool, place);
    if (error == 0)
        return;
    give_tasks_on(pool, place, -SIGKILL, 0);
    bool any = false; /* the others go on; without any the pool cannot */
    for (uint32_t i = 0; i < pool->workers_count; i++)
        any |= pool->workers[i].process != NULL;
    if (!any)
        pool->broken = error;
}

static void replace(struct kin_pool *pool, uint32_t place)
{
    struct kini_worker *worker = &pool->workers[place];
    int exitcode = STATUS_LOST;
    pid_t pid = kin_process_pid(worker->process);
    (void)kin_process_exitcode(worker->process, &exitcode);
    kin_process_close(worker->process);
    worker->process = NULL;
    give_tasks_on(pool, place, exitcode, pid);
    judge_start(pool);
    if (pool->state == KINI_POOL_TERMINATED || pool->broken < 0 ||
        (pool->state == KINI_POOL_CLOSED && pool->jobs == 0))
        return;
    start_again(pool, place);
}

static void check_some(struct kin_pool *pool, uint32_t from, uint32_t count)
{
    struct pollfd fds[64];
    for (uint32_t i = 0; i < count; i++) {
        struct kin_process *process = pool->workers[from + i].process;
        fds[i] = (struct pollfd){.fd = process ? kin_process_fd(process) : -1, .events = POLLIN};
    }
    /* poll refuses more entries than RLIMIT_NOFILE: then ask one by one */
    int ready = poll(fds, count, 0);
    for (uint32_t i = 0; ready != 0 && i < count; i++)
        if (fds[i].fd >= 0 && (ready < 0 || fds[i].revents) &&
            kin_process_is_alive(pool->workers[from + i].process) == 0)
            replace(pool, from + i);
}

void kini_workers_check(struct kin_pool *pool)
{
    for (uint32_t from = 0; from < pool->workers_count; from += 64)
        check_some(pool, from, pool->workers_count - from < 64 ? pool->workers_count - from : 64);
    for (uint32_t i = 0; i < pool->workers_count; i++) /* one that could not be replaced before */
        if (pool->workers[i].process == NULL && pool->state == KINI_POOL_OPEN && pool->broken == 0)
            start_again(pool, i);
    if (pool->hints_missing)
        give_hints(pool);
}
