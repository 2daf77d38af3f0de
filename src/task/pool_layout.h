/* SPDX-License-Identifier: MIT
 * What another process can see of a pool: a header and the table of tasks.
 *
 *   +0     header: object tag, error of a worker's initialiser
 *   +128   256 entries of 512 bytes
 *
 * The table is the truth; the two queues of a pool carry numbers of entries as hints. A hint may be
 * lost with a worker or come twice: a claim is a CAS on the entry.
 *
 * LIFE OF AN ENTRY (state word: serial 24 | incarnation 16 | worker 16 | state 8)
 *
 *   FREE --owner fills it--> READY --worker's CAS--> RUNNING(worker, incarnation)
 *     ^                        |                            |  CAS by that worker
 *     +---- withdrawn (CAS) ---+                            v
 *     +------------------ owner collects ---------------- DONE
 *
 *   The owner is the pool's process. A worker is named by its place in the pool and by the
 *   incarnation, which grows with each replacement: a claim of a dead worker cannot be taken for
 *   its successor's. RUNNING(dead) goes back to READY, or to DONE with -EOWNERDEAD, by the owner,
 *   after the worker was reaped.
 *
 * A map's entry is a chunk: a block of the owner's with one status an item, the items, and room for
 * the results. The worker writes result and status of an item and then raises `next`: after its
 * death the items before `next` are done, the item `next` is the one that failed.
 * A stream's entry is one item; its result may have any length: inline or in a block that the
 * worker gives to the pool.
 *
 * Crash states of a worker: (1) hint taken, not claimed: the entry is READY without a hint; the
 * owner hints at every READY entry after a death. (2) RUNNING: tried again or failed. (3) result
 * block allocated, not given: the worker's, swept. (4) given (header OWNED by the pool, position =
 * this very task), not yet DONE: the owner finds it by entry.result_off and frees it. (5) DONE, no
 * hint: the owner looks at all entries after a death.
 * Crash of the owner: the workers are daemons and go; blocks are swept; the object dies with its
 * last holder and takes what results there are with it. */
#ifndef KINI_POOL_LAYOUT_H
#define KINI_POOL_LAYOUT_H

#include "base/atomic.h"

#define KINI_TASKS_MAX    256u
#define KINI_TASK_INLINE  96u
#define KINI_TASK_MESSAGE 160u

enum kini_task_state { KINI_TASK_FREE, KINI_TASK_READY, KINI_TASK_RUNNING, KINI_TASK_DONE };

#define KINI_TASK_WORD(serial, incarnation, worker, state)                                         \
    ((uint64_t)(serial) << 40 | (uint64_t)((incarnation)&0xffff) << 24 | (uint64_t)(worker) << 8 | \
     (uint64_t)(state))
#define KINI_TASK_STATE(word)       ((uint32_t)((word)&0xff))
#define KINI_TASK_WORKER(word)      ((uint32_t)(((word) >> 8) & 0xffff))
#define KINI_TASK_INCARNATION(word) ((uint32_t)(((word) >> 24) & 0xffff))
#define KINI_TASK_SERIAL(word)      ((uint32_t)((word) >> 40))

struct kini_task_shm {
    kini_a64 state;
    uint64_t fn;     /* address of the function: the same in every worker. W: owner */
    uint64_t shared; /* kin_map_opts.arg */
    uint64_t first;  /* index of the first item */
    uint64_t count;  /* items; 1 and out_bytes 0 with is_stream */
    uint64_t item_bytes;
    uint64_t out_bytes;
    uint64_t arg_off; /* block: statuses, items, results; or a stream's item. 0: inline */
    uint32_t is_stream;
    uint32_t returned; /* W: worker: the item has given a result */
    kini_a64 next;     /* W: worker: item being run, counted from first; count: all done */
    uint32_t reserved1;
    int32_t status;      /* stream: how the item ended. W: worker, or owner after a death */
    uint64_t result_off; /* stream: block of the result; 0: inline. W: worker */
    uint64_t result_bytes;
    uint64_t failed; /* map: first item of the chunk that failed; UINT64_MAX: none */
    int32_t failed_status;
    int32_t failed_signal;
    int32_t failed_exitcode;
    int32_t pid; /* who runs it */
    int32_t failed_pid;
    uint32_t reserved0;
    kini_a64 tries; /* item 32 | how often it was begun before 32; of another than `next`: never.
                       One word, so that no death can separate the two. W: owner */
    uint64_t reserved[2];
    char message[KINI_TASK_MESSAGE];        /* of the first failure */
    unsigned char item[KINI_TASK_INLINE];   /* stream: a small item. W: owner */
    unsigned char result[KINI_TASK_INLINE]; /* stream: a small result. W: worker */
};
_Static_assert(sizeof(struct kini_task_shm) == 512, "task entry");

struct kini_pool_shm {
    uint32_t tag;        /* of the object */
    kini_a32 init_error; /* negative error of an initialiser, as unsigned; 0: none */
    kini_a32 inits;      /* workers that got through their start. W: workers */
    uint32_t reserved0;
    uint64_t reserved[14];
    struct kini_task_shm tasks[KINI_TASKS_MAX];
};

#define KINI_TASK_TRIES(item, count) ((uint64_t)(uint32_t)(item) << 32 | (uint32_t)(count))

/* Of the item that is being run. */
static inline uint32_t kini_task_tries(struct kini_task_shm *task)
{
    uint64_t word = kini_load(&task->tries);
    return word >> 32 == (uint32_t)kini_load(&task->next) ? (uint32_t)word : 0;
}

#endif
