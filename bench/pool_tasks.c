/* SPDX-License-Identifier: MIT
 * What a pool costs for each task: tasks that do no work. */
#include <stdio.h>
#include <stdlib.h>

#include <kin/kin.h>

#include "lib/bench.h"
#include "pool_peers.h"

#define WORKERS 2
#define TASKS   100000

static uint64_t *numbers_below(uint64_t count)
{
    uint64_t *items = malloc(count * sizeof *items);
    if (items == NULL)
        bench_die("no memory");
    for (uint64_t i = 0; i < count; i++)
        items[i] = i;
    return items;
}

static void check(const uint64_t *results, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (results[i] != i + 1)
            bench_die("result %llu is wrong", (unsigned long long)i);
}

/* --- kin ------------------------------------------------------------------------------------ */

static int next_number(struct kin_task *task)
{
    uint64_t result = *(const uint64_t *)kin_task_arg(task) + 1;
    return kin_task_return(task, &result, sizeof result);
}

static double map(struct kin_pool *pool, uint64_t chunk_items, uint64_t count)
{
    struct kin_map_opts opts = {.chunk_items = chunk_items};
    uint64_t *items = numbers_below(count), *results = calloc(count, sizeof *results);
    if (results == NULL)
        bench_die("no memory");
    int64_t start = bench_now_ns();
    bench_must(kin_pool_map_opts(pool, next_number, items, sizeof *items, count, results,
                                 sizeof *results, count, &opts, KIN_NEVER),
               "kin_pool_map_opts");
    double seconds = (double)(bench_now_ns() - start) * 1e-9;
    check(results, count);
    free(results);
    free(items);
    return seconds;
}

struct source {
    uint64_t next, end, item;
};

static int read_source(void *arg, const void **ret_item, size_t *ret_bytes)
{
    struct source *source = arg;
    if (source->next == source->end)
        return 0;
    source->item = source->next++;
    *ret_item = &source->item;
    *ret_bytes = sizeof source->item;
    return 1;
}

static double stream(struct kin_pool *pool, uint64_t count)
{
    struct source source = {.end = count};
    struct kin_stream *results;
    struct kin_result result;
    uint64_t got = 0;
    int64_t start = bench_now_ns();
    bench_must(kin_pool_stream(pool, next_number, read_source, &source, NULL, &results),
               "kin_pool_stream");
    int r;
    while ((r = kin_stream_next(results, KIN_NEVER, &result)) == 1) {
        if (result.status != 0 || *(const uint64_t *)result.data != result.index + 1)
            bench_die("result %llu is wrong", (unsigned long long)result.index);
        got++;
    }
    bench_must(r, "kin_stream_next");
    double seconds = (double)(bench_now_ns() - start) * 1e-9;
    kin_stream_close(results);
    if (got != count)
        bench_die("%llu results of %llu", (unsigned long long)got, (unsigned long long)count);
    return seconds;
}

#define AS_STREAM UINT64_MAX /* contestant.number: else the chunk size, 0: automatic */

static void run_kin(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    struct kin_pool_opts opts = {.workers_count = WORKERS};
    struct kin_arena *arena;
    struct kin_pool *pool;
    fflush(stdout);
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_pool_create(arena, &opts, &pool), "kin_pool_create");
    map(pool, 1, 1000); /* the workers are there and awake */
    ret->seconds = self->number == AS_STREAM ? stream(pool, count) : map(pool, self->number, count);
    kin_pool_destroy(pool);
    kin_arena_detach(arena);
}

/* --- the others ----------------------------------------------------------------------------- */

static void run_pipes(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    (void)self;
    uint64_t *results = calloc(count, sizeof *results);
    if (results == NULL)
        bench_die("no memory");
    ret->seconds = pipe_pool_map(WORKERS, results, count);
    check(results, count);
    free(results);
}

static void run_python(const struct bench_contestant *self, uint64_t count,
                       struct bench_sample *ret)
{
    ret->seconds = python_pool_map(WORKERS, count, self->number);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "what a pool costs for each task");
    struct bench_contestant list[] = {
        {"kin map, chunks of 1", .run = run_kin, .number = 1, .aim_ns = 2000, .reference = 1},
        {"kin map, chunks chosen by kin", .run = run_kin, .number = 0},
        {"kin stream, as they come", .run = run_kin, .number = AS_STREAM},
        {"two pipes, by hand", .run = run_pipes},
        {"Python Pool.map, chunksize=1", .run = run_python, .number = 1},
        {"Python Pool.map, chunksize=None", .run = run_python, .number = 0},
    };
    struct bench_contest contest = {
        .title = "Tasks of no work, two workers",
        .about =
            "100,000 tasks, 8 bytes in, 8 bytes out, results in order (not the stream's), pool "
            "and\n"
            "workers there already. By hand: the parent writes each number to a pipe that the\n"
            "workers read, and reads the results from another; nobody who dies is noticed.\n"
            "ratio: how many times as fast the first one is. Not pinned.",
        .view = BENCH_NS,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    for (int i = 0; i < contest.list_count; i++)
        list[i].count_most = TASKS;
    bench_contest(&contest);
    return 0;
}
