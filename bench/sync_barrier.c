/* SPDX-License-Identifier: MIT
 * Meeting at a barrier, and a hundred who are woken at once. */
#include <pthread.h>

#include <kin/kin.h>

#include "crowd_runs.h"
#include "lib/stage.h"

#define WARM_UP 1000u
#define ON_ONE  1 /* contestant.number: both processes on one processor */

/* The loops are not shared between the contestants: no call through a pointer. */
#define MEET(wait, count)                                                                          \
    for (uint64_t i = 0; i < WARM_UP + (count); i++) {                                             \
        if (i == WARM_UP)                                                                          \
            stage_go(stage, index);                                                                \
        wait;                                                                                      \
    }                                                                                              \
    stage_done(stage, index)

struct scene {
    uint64_t count;
    struct kin_barrier *kin;
    pthread_barrier_t *pthread;
};

static void kin_part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    MEET(bench_must(kin_barrier_wait(scene->kin, KIN_NEVER), "kin_barrier_wait"), scene->count);
}

static void pthread_part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    MEET(pthread_barrier_wait(scene->pthread), scene->count);
}

static void play(const struct bench_contestant *self, stage_fn part, struct scene *scene,
                 struct bench_sample *ret)
{
    struct stage *stage = (self->number == ON_ONE ? stage_run_together : stage_run)(2, part, scene);
    ret->seconds = stage_seconds(stage);
    stage_free(stage);
}

static void run_kin(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    struct scene scene = {.count = count};
    struct kin_arena *arena;
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_barrier_create(arena, 2, NULL, &scene.kin), "kin_barrier_create");
    play(self, kin_part, &scene, ret);
    kin_barrier_destroy(scene.kin);
    kin_arena_detach(arena);
}

static void run_pthread(const struct bench_contestant *self, uint64_t count,
                        struct bench_sample *ret)
{
    struct scene scene = {.count = count, .pthread = stage_memory(sizeof *scene.pthread)};
    pthread_barrierattr_t attr;
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    if (pthread_barrier_init(scene.pthread, &attr, 2) != 0)
        bench_die("no pthread barrier");
    pthread_barrierattr_destroy(&attr);
    play(self, pthread_part, &scene, ret);
    pthread_barrier_destroy(scene.pthread);
    stage_memory_free(scene.pthread, sizeof *scene.pthread);
}

static void barrier(const char *title, const char *about, uint64_t number, double aim)
{
    struct bench_contestant list[] = {
        {"pthread barrier", .run = run_pthread, .number = number, .reference = 1},
        {"kin barrier", .run = run_kin, .number = number, .aim = aim},
    };
    struct bench_contest contest = {title, about, .view = BENCH_NS, .costs = 1, .list = list};
    contest.list_count = BENCH_COUNT(list);
    bench_contest(&contest);
}

static void crowd(const char *title,
                  void (*run)(const struct bench_contestant *, uint64_t, struct bench_sample *))
{
    struct bench_contestant list[] = {
        {"pthread_cond_broadcast", .run = run, .arg = &crowd_pthread, .reference = 1},
        {"kin_condition_notify_all", .run = run, .arg = &crowd_kin},
    };
    struct bench_contest contest = {
        .title = title,
        .about =
            "From the call until the last one has returned from its wait, for which each must\n"
            "have had the lock. ratio: to the first one.",
        .view = BENCH_US,
        .costs = 1,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    bench_contest(&contest);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "barriers, and a hundred sleepers");
    barrier("Barrier of two processes",
            "Nothing but meetings. Time of a meeting. kin spins for a moment before it sleeps.\n"
            "ratio: to the first one.",
            0, 1.0);
    barrier("Barrier of two processes on one processor",
            "The first to come must sleep. ratio: to the first one.", ON_ONE, 0);
    crowd("Wake a hundred processes that sleep", crowd_processes);
    crowd("Wake a hundred threads that sleep", crowd_threads);
    return 0;
}
