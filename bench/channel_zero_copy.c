/* SPDX-License-Identifier: MIT
 * Large messages without a copy: filled where they lie, read where they lie. What of the time is
 * the memory's, and what is kin's. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kin/kin.h>

#include "lib/bench.h"
#include "lib/stage.h"

#define LINE    64u
#define BUFFERS 2u /* at a time, on their way or being read */
#define WARM_UP 8u /* messages: fresh memory costs a page fault for each 4 KB, once */

static void fill(void *memory, uint64_t bytes, uint64_t number)
{
    memset(memory, (int)number, bytes);
    __asm__ volatile("" ::"r"(memory) : "memory");
}

/* Every cache line. */
static void touch(const void *memory, uint64_t bytes, uint64_t number)
{
    const unsigned char *at = memory;
    unsigned different = 0;
    for (uint64_t i = 0; i < bytes; i += LINE)
        different |= at[i] ^ (unsigned char)number;
    if (different)
        bench_die("message %llu is not what was sent", (unsigned long long)number);
}

/* --- how long each step takes, in one process ----------------------------------------------- */

enum step { RESERVE, FILL, PUBLISH, TAKE, TOUCH, RELEASE, STEPS };

static const char *const step_names[STEPS] = {"reserve", "fill",  "publish",
                                              "take",    "touch", "release"};

static void one_message(struct kin_queue *queue, uint64_t bytes, uint64_t number, int64_t *at)
{
    void *data;
    at[RESERVE] = bench_now_ns();
    bench_must(kin_queue_reserve(queue, bytes, &data), "kin_queue_reserve");
    at[FILL] = bench_now_ns();
    fill(data, bytes, number);
    at[PUBLISH] = bench_now_ns();
    bench_must(kin_queue_publish(queue, data, bytes, KIN_NEVER), "kin_queue_publish");
    at[TAKE] = bench_now_ns();
    bench_must(kin_queue_take(queue, &data, KIN_NEVER), "kin_queue_take");
    at[TOUCH] = bench_now_ns();
    touch(data, bytes, number);
    at[RELEASE] = bench_now_ns();
    bench_must(kin_queue_release(queue, data), "kin_queue_release");
    at[STEPS] = bench_now_ns();
}

static double fill_and_touch_alone(void *memory, uint64_t bytes, uint64_t number)
{
    int64_t start = bench_now_ns();
    fill(memory, bytes, number);
    touch(memory, bytes, number);
    return (double)(bench_now_ns() - start);
}

static void print_steps(double steps[][BENCH_RUNS_MOST], const double *alone, int rounds)
{
    double all = 0, kin = 0;
    for (int step = 0; step < STEPS; step++) {
        double median = bench_median(steps[step], rounds);
        all += median;
        kin += step == FILL || step == TOUCH ? 0 : median;
        printf("%-38s", step_names[step]);
        bench_print_number(median * 1e-3);
        putchar('\n');
    }
    double memory = bench_median(alone, rounds);
    printf("%-38s", "all of it");
    bench_print_number(all * 1e-3);
    printf("\n%-38s", "fill and touch private memory");
    bench_print_number(memory * 1e-3);
    printf("\n\nkin's share: in its calls %.2f %%, against private memory %.2f %%\n",
           100 * kin / all, 100 * (1 - memory / all));
}

static void steps(const char *title, uint64_t bytes)
{
    static double took[STEPS][BENCH_RUNS_MOST], alone[BENCH_RUNS_MOST];
    struct bench_others others;
    struct kin_arena *arena;
    struct kin_queue *queue;
    void *private = aligned_alloc(4096, bytes);
    if (private == NULL)
        bench_die("no memory");
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_queue_create(arena, NULL, &queue), "kin_queue_create");
    bench_print_title(title,
                      "One process does all steps, one after another; us, medians. Beside it "
                      "the same\nmemory work with private memory that is there already.");
    bench_others_begin(&others);
    int rounds = bench_options.quick ? 9 : BENCH_RUNS_MOST;
    for (int i = -3; i < rounds; i++) { /* the first three warm up */
        int64_t at[STEPS + 1];
        int slot = i < 0 ? 0 : i;
        alone[slot] = fill_and_touch_alone(private, bytes, (uint64_t)(i + 3));
        one_message(queue, bytes, (uint64_t)(i + 3), at);
        for (int step = 0; step < STEPS; step++)
            took[step][slot] = (double)(at[step + 1] - at[step]);
    }
    print_steps(took, alone, rounds);
    bench_others_print(&others);
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
    free(private);
}

/* --- a stream of them from process to process ----------------------------------------------- */

struct by_hand { /* two buffers in turn */
    sem_t empty, full;
};

struct scene;
/* So many messages, from the first of these numbers on. */
typedef void some_fn(const struct scene *scene, int index, uint64_t first, uint64_t count);

struct scene {
    uint64_t bytes, count;
    some_fn *some;
    struct kin_queue *queue;
    struct by_hand *by_hand;
    char *buffers; /* BUFFERS of them, shared */
    char *own;     /* private */
};

static void kin_some(const struct scene *scene, int index, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        void *data;
        if (index == 0) {
            bench_must(kin_queue_reserve(scene->queue, scene->bytes, &data), "reserve");
            fill(data, scene->bytes, i);
            bench_must(kin_queue_publish(scene->queue, data, scene->bytes, KIN_NEVER), "publish");
        } else {
            bench_must(kin_queue_take(scene->queue, &data, KIN_NEVER), "take");
            touch(data, scene->bytes, i);
            bench_must(kin_queue_release(scene->queue, data), "release");
        }
    }
}

static void copy_some(const struct scene *scene, int index, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        if (index == 0) {
            fill(scene->own, scene->bytes, i);
            bench_must(kin_queue_put(scene->queue, scene->own, scene->bytes, KIN_NEVER), "put");
        } else {
            bench_must(kin_queue_get(scene->queue, scene->own, scene->bytes, KIN_NEVER), "get");
            touch(scene->own, scene->bytes, i);
        }
    }
}

static void hand_some(const struct scene *scene, int index, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        char *buffer = scene->buffers + i % BUFFERS * scene->bytes;
        bench_must_sys(sem_wait(index == 0 ? &scene->by_hand->empty : &scene->by_hand->full),
                       "sem_wait");
        if (index == 0)
            fill(buffer, scene->bytes, i);
        else
            touch(buffer, scene->bytes, i);
        sem_post(index == 0 ? &scene->by_hand->full : &scene->by_hand->empty);
    }
}

static void alone_some(const struct scene *scene, int index, uint64_t first, uint64_t count)
{
    (void)index;
    for (uint64_t i = first; i < first + count; i++)
        fill(scene->own, scene->bytes, i);
}

static void part(struct stage *stage, int index, void *arg)
{
    struct scene *scene = arg;
    scene->own = aligned_alloc(4096, scene->bytes);
    if (scene->own == NULL)
        bench_die("no memory");
    scene->some(scene, index, 0, WARM_UP);
    stage_go(stage, index);
    scene->some(scene, index, WARM_UP, scene->count);
    stage_done(stage, index);
}

static double play(struct scene *scene, int processes)
{
    struct stage *stage = stage_run(processes, part, scene);
    double seconds = stage_seconds(stage);
    stage_free(stage);
    return seconds;
}

static void run_alone(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    struct scene scene = {.bytes = self->number, .count = count, .some = alone_some};
    ret->seconds = play(&scene, 1);
}

static void run_hand(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    struct scene scene = {.bytes = self->number, .count = count, .some = hand_some};
    scene.by_hand = stage_memory(sizeof *scene.by_hand);
    scene.buffers = stage_memory(BUFFERS * scene.bytes);
    sem_init(&scene.by_hand->empty, 1, BUFFERS);
    sem_init(&scene.by_hand->full, 1, 0);
    ret->seconds = play(&scene, 2);
    stage_memory_free(scene.buffers, BUFFERS * scene.bytes);
    stage_memory_free(scene.by_hand, sizeof *scene.by_hand);
}

static void run_kin(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    const struct kin_queue_opts opts = {.max_items = BUFFERS};
    struct scene scene = {
        .bytes = self->number, .count = count, .some = *(some_fn *const *)self->arg};
    struct kin_arena *arena;
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_queue_create(arena, &opts, &scene.queue), "kin_queue_create");
    ret->seconds = play(&scene, 2);
    kin_queue_destroy(scene.queue);
    kin_arena_detach(arena);
}

static void streams(const char *title, uint64_t bytes)
{
    static some_fn *const zero_copy = kin_some, *const copy = copy_some;
    struct bench_contestant list[] = {
        {"fill private memory, nothing else", .run = run_alone},
        {"by hand: 2 shared buffers, semaphores", .run = run_hand, .reference = 1},
        {"kin, reserve and take", .run = run_kin, .arg = &zero_copy},
        {"kin, put and get: two copies", .run = run_kin, .arg = &copy},
    };
    struct bench_contest contest = {
        .title = title,
        .about =
            "One process fills message after message, the other looks at each cache line of\n"
            "it. At most two are on their way; all memory has been used before. ratio: what kin\n"
            "costs beside what memory costs.",
        .view = BENCH_GB,
        .bytes = bytes,
        .costs = 1,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    for (int i = 0; i < contest.list_count; i++) {
        list[i].number = bytes;
        list[i].count_first = 4;
    }
    bench_contest(&contest);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "large messages filled and read where they lie");
    steps("The steps of a message of 1 MB", 1 << 20);
    steps("The steps of a message of 100 MB", 100 << 20);
    streams("A stream of messages of 1 MB", 1 << 20);
    streams("A stream of messages of 100 MB", 100 << 20);
    return 0;
}
