/* SPDX-License-Identifier: MIT
 * Pool: worker processes that run a function over many items.
 *
 * A task that fails gives its error and message back; a worker that dies is replaced, and only the
 * task it ran fails, saying which task and which signal, or is tried again if the options allow.
 * Workers are forked when the pool is created: they know the program as it was then (functions of
 * libraries loaded later are not there). They are daemons: they go when the pool's process goes.
 * The pool serves the process that created it; one map or stream runs at a time for each calling
 * thread, and several threads may call at once. */
#ifndef KIN_POOL_H
#define KIN_POOL_H

#include <kin/arena.h>

KIN_BEGIN

struct kin_pool;
struct kin_task;
struct kin_stream;

/* Runs in a worker process. 0, or a negative value that becomes the task's error. */
typedef int (*kin_task_fn)(struct kin_task *task);

/* Runs once in every new worker before its first task; *ret_state is what kin_task_state returns.
 * A negative result makes the pool fail: every call on it returns that error. */
typedef int (*kin_worker_fn)(struct kin_arena *arena, void *arg, void **ret_state);

struct kin_pool_opts {
    uint32_t size;          /* sizeof(struct kin_pool_opts); 0 stands for it too */
    uint32_t workers_count; /* 0: as many as the process may use cores */
    kin_worker_fn init;     /* NULL: none */
    void *init_arg;
    const char *name; /* for observers, up to 31 bytes; NULL: "Pool" */
};

/* Create a pool and start its workers. Errors: those of kin_process_start.
 * The caller owns the pool and ends it with kin_pool_destroy. Safety: any thread. */
KIN_API KIN_NODISCARD int kin_pool_create(struct kin_arena *arena, const struct kin_pool_opts *opts,
                                          struct kin_pool **ret_pool);

/* No more tasks: later calls fail with -ESHUTDOWN; what was handed in is finished. */
KIN_API int kin_pool_close(struct kin_pool *pool);

/* End now: workers are killed, what was not finished fails with -ECANCELED. */
KIN_API int kin_pool_terminate(struct kin_pool *pool);

/* After close or terminate: wait until the workers have ended. Errors: -ETIMEDOUT, -EINVAL (the
 * pool is open). */
KIN_API KIN_NODISCARD int kin_pool_join(struct kin_pool *pool, kin_deadline deadline);

/* Terminate if needed, collect the workers and free the handle. NULL is ignored. */
KIN_API void kin_pool_destroy(struct kin_pool *pool);

KIN_API uint32_t kin_pool_workers_count(const struct kin_pool *pool);

/* The pids of the workers as they are now; fills at most max and returns how many there are. */
KIN_API uint32_t kin_pool_worker_pids(struct kin_pool *pool, int32_t *ret_pids, uint32_t max);

/* How one task ended. */
struct kin_result {
    uint64_t index;     /* which item: 0 is the first */
    int32_t status;     /* 0, or the task's negative error; -EOWNERDEAD: its worker died */
    int32_t signal;     /* the signal that killed the worker; 0: none */
    int32_t exitcode;   /* the worker's exit status when it left by itself in mid-task */
    int32_t worker_pid; /* who ran it last; 0: nobody */
    uint32_t tries_count;
    uint32_t reserved;
    const void *data; /* what kin_task_return was given */
    size_t bytes;
    const char *message; /* "" or what went wrong */
};

struct kin_progress {
    uint64_t done_count;  /* tasks that ended, well or badly */
    uint64_t total_count; /* 0: not known (a stream) */
    uint64_t failed_count;
    uint64_t retried_count; /* tasks that were tried again because their worker died */
};

typedef void (*kin_progress_fn)(const struct kin_progress *progress, void *arg);

struct kin_map_opts {
    uint32_t size;            /* sizeof(struct kin_map_opts); 0 stands for it too */
    uint32_t retries_count;   /* how often an item whose worker died is tried again */
    uint64_t chunk_items;     /* items handed to a worker at once; 0: chosen from the count */
    uint32_t ahead_count;     /* streams: tasks read ahead of the results; 0: 64, or 4 a worker */
    uint32_t ordered;         /* streams: 1 hands the results out in the order of the items */
    kin_progress_fn progress; /* called in the waiting thread, after results came in */
    void *progress_arg;
    int64_t progress_ns; /* at least so often while waiting, too; 0: only when results come */
    void *arg;           /* the same pointer for every task: kin_task_shared; it must have been
                            valid when the pool was created, or lie in the arena */
    int32_t *statuses;   /* map: one status an item, filled in; NULL: not wanted */
    struct kin_result *failure; /* map: the failure with the lowest index, if any (its message is
                                   valid until the thread's next kin call); NULL: not wanted */
};

#define KIN_ITEMS(array) (array), sizeof(array)[0], (sizeof(array) / sizeof(array)[0])
#define KIN_NO_ITEMS     NULL, (size_t)0, (size_t)0

/* Run fn over every item and put the results, in order, into out (out_bytes each; out may be NULL
 * when there are no results). Blocks until all have ended or the deadline passes; the calling
 * thread sleeps meanwhile. Returns 0, or the error of the failed item with the lowest index; the
 * others have run all the same. At the deadline: -ETIMEDOUT, tasks not begun are withdrawn, those
 * running finish and their results are dropped.
 * Errors: -EINVAL, -ENOMEM, -ESHUTDOWN, -ECANCELED, -ECHILD (not the pool's process).
 * Safety: any thread of the pool's process. */
KIN_API KIN_NODISCARD int kin_pool_map(struct kin_pool *pool, kin_task_fn fn, const void *items,
                                       size_t item_bytes, size_t items_count, void *out,
                                       size_t out_bytes, size_t out_count, kin_deadline deadline);

KIN_API KIN_NODISCARD int kin_pool_map_opts(struct kin_pool *pool, kin_task_fn fn,
                                            const void *items, size_t item_bytes,
                                            size_t items_count, void *out, size_t out_bytes,
                                            size_t out_count, const struct kin_map_opts *opts,
                                            kin_deadline deadline);

/* Where a stream's items come from: 1 and the item, 0 at the end, negative to fail the stream.
 * The item is copied before the next call. Runs in the thread that calls kin_stream_next. */
typedef int (*kin_source_fn)(void *arg, const void **ret_item, size_t *ret_bytes);

/* Open a stream of results: items are read from source, at most opts->ahead_count ahead of the
 * results handed out, and results come as they complete (or in order, if asked). Results may have
 * any length. source may be endless. Close it with kin_stream_close. */
KIN_API KIN_NODISCARD int kin_pool_stream(struct kin_pool *pool, kin_task_fn fn,
                                          kin_source_fn source, void *source_arg,
                                          const struct kin_map_opts *opts,
                                          struct kin_stream **ret_stream);

/* The next result: 1 and *ret_result, 0 when all have been handed out. A failed task is a result
 * like any other: look at its status. data and message are valid until the next call on the
 * stream. Errors: -ETIMEDOUT (call again), -ECANCELED, -ENOMEM, what source returned. */
KIN_API KIN_NODISCARD int kin_stream_next(struct kin_stream *stream, kin_deadline deadline,
                                          struct kin_result *ret_result);

/* End a stream: tasks not begun are withdrawn, running ones finish and are dropped. NULL ignored.
 */
KIN_API void kin_stream_close(struct kin_stream *stream);

/* In a task: the item, its length, its number, how often it was begun before (0: first time). */
KIN_API const void *kin_task_arg(const struct kin_task *task);
KIN_API size_t kin_task_arg_bytes(const struct kin_task *task);
KIN_API uint64_t kin_task_index(const struct kin_task *task);
KIN_API uint32_t kin_task_tries_count(const struct kin_task *task);
KIN_API void *kin_task_shared(const struct kin_task *task); /* kin_map_opts.arg */
KIN_API void *kin_task_state(const struct kin_task *task);  /* what the worker's init made */
KIN_API struct kin_arena *kin_task_arena(const struct kin_task *task);

/* Give the result; returns 0, so that it can end the task: return kin_task_return(...). At most
 * once. Errors: -EMSGSIZE (a map's out_bytes is smaller), -ENOMEM, -EALREADY. */
KIN_API int kin_task_return(struct kin_task *task, const void *data, size_t bytes);

/* Fail the task with a negative error and a message of up to 159 bytes; returns the error. */
KIN_API int kin_task_fail(struct kin_task *task, int error, const char *format, ...)
    KIN_PRINTF(3, 4);

KIN_END

#endif
