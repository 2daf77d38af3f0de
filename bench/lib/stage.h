/* SPDX-License-Identifier: MIT
 * A stage: processes that work side by side and note in shared memory when they began and ended. */
#ifndef BENCH_STAGE_H
#define BENCH_STAGE_H

#include <stdint.h>

#define STAGE_MOST 128

struct stage_place { /* one cache line pair each: what a process writes */
    _Alignas(128) int64_t begin_ns;
    int64_t end_ns;
    uint64_t sum;          /* of what it received, to check that nothing was lost */
    double value;          /* of a part that measures something itself */
    double sleeps;         /* voluntary switches for each operation */
    _Atomic uint64_t done; /* operations so far, for a part that goes on until it is killed */
};

struct stage {
    struct stage_place places[STAGE_MOST];
    int count;
    _Alignas(128) _Atomic int ready;
    _Atomic int ended;
};

/* A part of the play: process number index. */
typedef void (*stage_fn)(struct stage *stage, int index, void *arg);

/* Forks count processes, runs fn in each, waits for all; dies if one of them fails. A process is
 * pinned to the processor number index modulo their count, if the options say so. */
struct stage *stage_run(int count, stage_fn fn, void *arg);
/* The same with all processes on one processor, whatever the options say. */
struct stage *stage_run_together(int count, stage_fn fn, void *arg);
/* The same with parts that never end: after warm_up seconds counts what all note as done in the
 * next so many seconds, and kills them. Returns operations a second. */
double stage_run_window(int count, stage_fn fn, void *arg, double warm_up, double seconds);
/* In a part: wait until all are here, then note the time. After the warm-up. */
void stage_go(struct stage *stage, int index);
void stage_done(struct stage *stage, int index);
/* After stage_go and stage_done: wait until all have come here. What a thread of a library still
 * has to send would be lost with its process. */
void stage_end(struct stage *stage);
/* From the first beginning to the last end, in seconds. */
double stage_seconds(const struct stage *stage);
void stage_free(struct stage *stage);

/* Pin the calling process to the processor number index modulo their count. */
void stage_pin(int index);
/* Memory shared with the processes forked later. */
void *stage_memory(uint64_t bytes);
void stage_memory_free(void *memory, uint64_t bytes);

#endif
