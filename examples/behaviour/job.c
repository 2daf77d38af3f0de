/* SPDX-License-Identifier: MIT
 * The analysis of a whole log by a pool of processes.
 *
 * Each part of the plan is one task. The two sets lie in the arena and are filled by all workers at
 * once; the counts of a part are its task's result. A part whose worker died is analysed again by
 * another: the keys that it had added to the sets are there already, and its counts never came. */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <kin/kin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "watch.h"

#define RETRIES_COUNT 16
#define LOOK_NS       INT64_C(50000000)
#define GIB           (UINT64_C(1) << 30)

/* Complete before the pool is created, so that every worker has it. */
struct job {
    const struct plan *plan;
    struct kin_arena *arena;
    struct set users, items;
    struct part_progress_shm *progress; /* one a part, in the arena */
    struct buys *buys;                  /* one a part, in the arena, and so are their entries */
};

/* What only the process that runs the job needs. */
struct job_state {
    struct job job;
    struct kin_pool *pool;
    struct watch watch;
    struct summing summing;
    uint64_t next_part; /* to be handed to the pool */
    uint64_t part;      /* handed to it last */
    uint64_t retried_count;
};

/* The keys of a part of both sets. */
struct censuses {
    struct set_census users, items;
};

static int fail(const char *what, int error)
{
    const char *text = kin_error_text();

    fprintf(stderr, "behaviour: %s: %s\n", what, *text ? text : kin_strerror(error));
    return -1;
}

/* --- in the workers -------------------------------------------------------------------------- */

static int begin_worker(struct kin_arena *arena, void *arg, void **ret_state)
{
    struct job *job = arg;
    struct analyst *analyst = malloc(sizeof *analyst);

    (void)arena;
    if (!analyst)
        return -ENOMEM;
    *ret_state = analyst;
    return analyst_init(analyst, &job->users, &job->items);
}

static int analyse_task(struct kin_task *task)
{
    const struct job *job = kin_task_shared(task);
    const uint64_t *index = kin_task_arg(task);
    const struct part *part = &job->plan->parts[*index];
    const char *path = job->plan->inputs[part->input].path;
    const void *result;
    size_t bytes;

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kin_task_fail(task, -errno, "%s: %s", path, strerror(errno));
    int r = analyse_part(kin_task_state(task), fd, part->begin, part->end, &job->progress[*index],
                         &result, &bytes);
    close(fd);
    if (r < 0)
        return kin_task_fail(task, r, "%s: %s", path, kin_strerror(r));
    return kin_task_return(task, result, bytes);
}

static int count_task(struct kin_task *task)
{
    const struct job *job = kin_task_shared(task);
    const uint32_t *part = kin_task_arg(task); /* which, and of how many */
    struct censuses censuses;

    set_count_part(&job->users, part[0], part[1], &censuses.users);
    set_count_part(&job->items, part[0], part[1], &censuses.items);
    return kin_task_return(task, &censuses, sizeof censuses);
}

static int buys_task(struct kin_task *task)
{
    const struct job *job = kin_task_shared(task);
    const uint32_t *slice = kin_task_arg(task);
    struct analyst *analyst = kin_task_state(task);
    struct top top;

    int r = buys_top(job->buys, job->plan->parts_count, *slice, &analyst->item_buys, &top);
    return r < 0 ? r : kin_task_return(task, &top, sizeof top);
}

/* --- before ---------------------------------------------------------------------------------- */

static int commit(void *arena, void *memory, uint64_t bytes)
{
    return kin_block_commit(arena, memory, bytes);
}

static int make_set(struct job *job, struct set *set)
{
    uint64_t keys_max = job->plan->bytes / LARGE_KEY_RECORD_BYTES;
    void *memory;

    int r = kin_block_reserve(job->arena, set_bytes(keys_max), &memory);
    return r < 0 ? r : set_init(set, memory, keys_max, commit, job->arena);
}

/* A table with an element for each part, zero, in the arena. */
static int make_table(struct job *job, uint64_t element_bytes, void **ret_table)
{
    uint64_t bytes = (job->plan->parts_count + 1) * element_bytes;

    int r = kin_block_alloc(job->arena, bytes, ret_table);
    if (r == 0)
        memset(*ret_table, 0, bytes);
    return r;
}

static int make_tables(struct job *job)
{
    void *progress, *buys;

    int r = make_table(job, sizeof *job->progress, &progress);
    if (r < 0)
        return r;
    r = make_table(job, sizeof *job->buys, &buys);
    if (r < 0)
        return r;
    job->progress = progress;
    job->buys = buys;
    return 0;
}

static int make_arena(struct job *job)
{
    uint64_t sets = 2 * set_bytes(job->plan->bytes / LARGE_KEY_RECORD_BYTES);
    struct kin_arena_opts opts = {.name = "behaviour"};

    /* The usual reservation is enough for the usual log. */
    if (sets > 16 * GIB)
        opts.reserve_bytes = sets + 16 * GIB;
    return kin_arena_create(&opts, &job->arena);
}

static int prepare(struct job_state *state, const struct job_opts *opts)
{
    struct job *job = &state->job;
    struct kin_pool_opts pool_opts = {
        .workers_count = opts->workers_count, .init = begin_worker, .init_arg = job};

    int r = make_arena(job);
    if (r == 0)
        r = make_set(job, &job->users);
    if (r == 0)
        r = make_set(job, &job->items);
    if (r == 0)
        r = make_tables(job);
    if (r == 0)
        r = kin_pool_create(job->arena, &pool_opts, &state->pool);
    return r < 0 ? fail("cannot start", r) : 0;
}

/* --- the run --------------------------------------------------------------------------------- */

static int next_part(void *arg, const void **ret_item, size_t *ret_bytes)
{
    struct job_state *state = arg;

    if (state->next_part == state->job.plan->parts_count)
        return 0;
    state->part = state->next_part++;
    *ret_item = &state->part;
    *ret_bytes = sizeof state->part;
    return 1;
}

static void look(const struct kin_progress *progress, void *arg)
{
    struct job_state *state = arg;

    state->retried_count = progress->retried_count;
    watch_look(&state->watch);
}

/* A task that failed for good. */
static int refuse_result(const struct kin_result *result)
{
    if (result->status == -EOWNERDEAD)
        fprintf(stderr, "behaviour: chunk %llu: its worker died %u times, last by signal %d\n",
                (unsigned long long)result->index + 1, result->tries_count, result->signal);
    else
        fprintf(stderr, "behaviour: %s\n",
                *result->message ? result->message : kin_strerror(result->status));
    return -1;
}

/* The purchases of a part, which are added up when all parts are there. */
static int keep_buys(struct job *job, const struct kin_result *result)
{
    const struct part_counts *counts = result->data;
    uint64_t bytes = buys_count(counts->items_count) * sizeof(struct tally_entry);
    struct buys *buys = &job->buys[result->index];
    void *entries;

    if (bytes == 0)
        return 0;
    int r = kin_block_alloc(job->arena, bytes, &entries);
    if (r < 0)
        return fail("cannot keep the counts", r);
    memcpy(buys->counts, counts->items_count, sizeof buys->counts);
    buys->entries = memcpy(entries, part_buys(counts), bytes);
    return 0;
}

static int take_results(struct job_state *state, struct kin_stream *stream)
{
    struct kin_result result;
    int r;

    while ((r = kin_stream_next(stream, KIN_NEVER, &result)) > 0) {
        if (result.status < 0)
            return refuse_result(&result);
        if (summing_add(&state->summing, result.index, result.data, result.bytes) < 0) {
            fprintf(stderr, "behaviour: out of memory for the counts\n");
            return -1;
        }
        if (keep_buys(&state->job, &result) < 0)
            return -1;
    }
    return r < 0 ? fail("cannot go on", r) : 0;
}

static int analyse_parts(struct job_state *state)
{
    struct kin_stream *stream;
    struct kin_map_opts opts = {.retries_count = RETRIES_COUNT,
                                .progress = look,
                                .progress_arg = state,
                                .progress_ns = LOOK_NS,
                                .arg = &state->job};

    int r = kin_pool_stream(state->pool, analyse_task, next_part, state, &opts, &stream);
    if (r < 0)
        return fail("cannot start the analysis", r);
    r = take_results(state, stream);
    kin_stream_close(stream);
    return r;
}

#define COUNT_PARTS 16

static int count_sets(struct job_state *state)
{
    uint32_t parts[COUNT_PARTS][2];
    struct censuses censuses[COUNT_PARTS];
    struct kin_map_opts opts = {
        .retries_count = RETRIES_COUNT, .chunk_items = 1, .arg = &state->job};

    for (uint32_t i = 0; i < COUNT_PARTS; i++) {
        parts[i][0] = i;
        parts[i][1] = COUNT_PARTS;
    }
    int r = kin_pool_map_opts(state->pool, count_task, KIN_ITEMS(parts), KIN_ITEMS(censuses), &opts,
                              KIN_NEVER);
    if (r < 0)
        return fail("cannot count users and items", r);
    for (uint32_t i = 0; i < COUNT_PARTS; i++) {
        summing_add_users(&state->summing, &censuses[i].users);
        summing_add_items(&state->summing, &censuses[i].items);
    }
    return 0;
}

static int add_up_buys(struct job_state *state)
{
    uint32_t slices[BUYS_SLICES];
    struct top tops[BUYS_SLICES];
    struct kin_map_opts opts = {
        .retries_count = RETRIES_COUNT, .chunk_items = 1, .arg = &state->job};

    for (uint32_t i = 0; i < BUYS_SLICES; i++)
        slices[i] = i;
    int r = kin_pool_map_opts(state->pool, buys_task, KIN_ITEMS(slices), KIN_ITEMS(tops), &opts,
                              KIN_NEVER);
    if (r < 0)
        return fail("cannot add up the purchases", r);
    for (uint32_t i = 0; i < BUYS_SLICES; i++)
        summing_add_top_items(&state->summing, &tops[i]);
    return 0;
}

static int run(struct job_state *state, const struct job_opts *opts, struct summary *summary)
{
    int64_t begin_ns = kin_now_ns();
    struct job *job = &state->job;

    if (summing_init(&state->summing, summary, job->plan->parts_count) < 0) {
        fprintf(stderr, "behaviour: out of memory\n");
        return -1;
    }
    if (prepare(state, opts) < 0)
        return -1;
    state->watch = (struct watch){.pool = state->pool,
                                  .progress = job->progress,
                                  .plan = job->plan,
                                  .show = opts->show_progress,
                                  .begin_ns = begin_ns};
    int r = analyse_parts(state);
    if (r == 0)
        r = count_sets(state);
    if (r == 0)
        r = add_up_buys(state);
    watch_end(&state->watch);
    if (r < 0)
        return r;

    summing_end(&state->summing, job->plan);
    summary->workers = kin_pool_workers_count(state->pool);
    summary->chunks = job->plan->parts_count;
    summary->chunks_again = state->retried_count;
    summary->seconds = (double)(kin_now_ns() - begin_ns) * 1e-9;
    summary->peak_memory_bytes = watch_memory(&state->watch);
    return 0;
}

int job_run(const struct plan *plan, const struct job_opts *opts, struct summary *ret_summary)
{
    /* Static: workers that are forked later must find it unchanged, too. */
    static struct job_state state;

    state = (struct job_state){.job.plan = plan};
    int r = run(&state, opts, ret_summary);
    kin_pool_destroy(state.pool);
    if (state.job.arena)
        kin_arena_detach(state.job.arena);
    summing_free(&state.summing);
    return r;
}
