/* SPDX-License-Identifier: MIT
 * The pool as its process sees it. Nothing here lies in shared memory.
 *
 * Threads that wait for results collect them themselves: one of them at a time (the collector)
 * sleeps on the queue of finished tasks, the others on a condition variable. There is no helper
 * thread. `mutex` guards everything private below. */
#ifndef KINI_POOL_H
#define KINI_POOL_H

#include "arena/arena.h"
#include "arena/block.h"
#include "task/pool_layout.h"
#include <kin/pool.h>
#include <kin/process.h>
#include <kin/queue.h>

struct kini_worker {
    struct kin_process *process; /* NULL: ended and not replaced */
    uint32_t incarnation;
};

/* A map or a stream. Lives with the call or the stream handle. */
struct kini_job {
    struct kin_pool *pool;
    kin_task_fn fn;
    struct kin_map_opts opts;
    struct kin_progress progress;
    int64_t next_progress_ns;
    uint32_t running; /* entries that are its own */
    uint32_t most;    /* bound on it */
    bool canceled;
    bool progressed; /* since the last callback */
    /* An entry of the job is DONE: take what it holds; returns true if the entry may be freed,
     * false if it was handed in again. Called with the mutex held. */
    bool (*finish)(struct kini_job *job, uint32_t index);
};

enum kini_pool_state { KINI_POOL_OPEN, KINI_POOL_CLOSED, KINI_POOL_TERMINATED };

struct kin_pool {
    struct kin_arena *arena;
    struct kini_pool_shm *shm;
    struct kin_queue *ready; /* hints: entries to run */
    struct kin_queue *done;  /* hints: entries that ended */
    uint64_t cookie;         /* of the process that made it */
    uint32_t object_id;
    uint32_t workers_count;
    uint32_t jobs; /* maps and streams under way */
    enum kini_pool_state state;
    int broken; /* error of an initialiser, or of replacing a worker */
    kin_worker_fn init;
    void *init_arg;
    char name[32];
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* a job that is not the collector's may go on */
    bool collecting;
    bool hints_missing;    /* a hint could not be put */
    bool abandoned;        /* destroyed with jobs under way: the last of them frees it */
    uint32_t inits_seen;   /* of shm->inits, when a worker last died */
    uint32_t early_deaths; /* workers that died in a row without getting through their start */
    int64_t next_check_ns; /* when to look whether all workers live */
    struct kini_job
        *owners[KINI_TASKS_MAX]; /* whose entry; NULL: nobody's (withdrawn while running) */
    uint32_t free_count;
    uint16_t free[KINI_TASKS_MAX];
    struct kini_worker workers[];
};

/* --- pool.c --------------------------------------------------------------------------------- */

void kini_pool_free(struct kin_pool *pool);

/* --- workers.c ------------------------------------------------------------------------------ */

int kini_worker_start(struct kin_pool *pool, uint32_t place);
/* Look for dead workers: repair, give their tasks on, replace them. With the mutex held. */
void kini_workers_check(struct kin_pool *pool);

/* --- worker.c: the other side --------------------------------------------------------------- */

struct kini_worker_call {
    struct kin_pool *pool;
    uint32_t place;
    uint32_t incarnation;
};
int kini_worker_main(struct kin_arena *arena, void *arg);

/* --- collect.c ------------------------------------------------------------------------------ */

int kini_job_begin(struct kin_pool *pool, struct kini_job *job, kin_task_fn fn,
                   const struct kin_map_opts *opts);
/* Withdraw what has not begun, disown what runs, and leave. */
void kini_job_end(struct kini_job *job);
/* A free entry for the job, or UINT32_MAX. With the mutex held. */
uint32_t kini_entry_take(struct kini_job *job);
/* Give an entry back that is not with the workers, and what it holds. With the mutex held. */
void kini_entry_release(struct kini_job *job, uint32_t index);
/* Fields are filled in: hand the entry to the workers. With the mutex held. */
void kini_entry_submit(struct kini_job *job, uint32_t index);
/* DONE, by a worker or in place of one that died. With the mutex held. */
void kini_entry_finish(struct kin_pool *pool, uint32_t index);
/* Wait until something of the job has ended, its progress is due, or the deadline. With the mutex
 * held; 0, -ETIMEDOUT, or the pool's error. */
int kini_job_wait(struct kini_job *job, kin_deadline deadline);
/* Free the blocks of an entry that nobody wants any more. */
void kini_entry_drop(struct kin_pool *pool, struct kini_task_shm *task);
void kini_pool_object_destroy(struct kini_self *self, uint64_t offset);

/* Where the parts of a map's chunk lie in its block. */
struct kini_chunk {
    int32_t *statuses;
    char *items;
    char *results;
};
uint64_t kini_chunk_bytes(uint64_t count, uint64_t item_bytes, uint64_t out_bytes);
struct kini_chunk kini_chunk_of(const struct kin_arena *arena, const struct kini_task_shm *task);
uint64_t kini_result_key(const struct kini_pool_shm *pool, const struct kini_task_shm *task);

#endif
