/* SPDX-License-Identifier: MIT
 * How long a message is under way: between processes that poll, and between processes that sleep.
 */
#include <stdio.h>
#include <sys/resource.h>

#include "lib/bench.h"
#include "lib/stage.h"
#include "peers/peer.h"

#define WARM_UP   1000u
#define ON_ONE    1u    /* contestant.number: both on one processor */
#define ASLEEP_NS 60000 /* long enough for the other side to have given up spinning */

struct scene {
    const struct peer *peer;
    void *there, *back;
    uint64_t count;
    double *samples; /* shared; seconds of each round trip */
};

static int scene_open(struct scene *scene, const struct bench_contestant *self, uint64_t count)
{
    /* 8: a power of two for ck, few enough for anybody's message queue */
    const struct peer_opts opts = {.depth = 8, .bytes = 16};
    *scene = (struct scene){.peer = self->arg, .count = count};
    scene->there = scene->peer->open(&opts);
    if (scene->there == NULL)
        return 0;
    scene->back = scene->peer->open(&opts);
    return 1;
}

static void scene_close(struct scene *scene)
{
    scene->peer->close(scene->back);
    scene->peer->close(scene->there);
}

/* --- both sides poll ------------------------------------------------------------------------ */

static void poll_part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    void (*play)(void *, void *, uint64_t) = index == 0 ? scene->peer->ping : scene->peer->echo;
    play(scene->there, scene->back, WARM_UP);
    stage_go(stage, index);
    play(scene->there, scene->back, scene->count);
    stage_done(stage, index);
}

static void run_polling(const struct bench_contestant *self, uint64_t count,
                        struct bench_sample *ret)
{
    struct scene scene;
    if (!scene_open(&scene, self, count)) {
        ret->seconds = -1;
        return;
    }
    struct stage *stage = stage_run(2, poll_part, &scene);
    ret->seconds = stage_seconds(stage) / 2;
    stage_free(stage);
    scene_close(&scene);
}

/* --- both sides sleep ----------------------------------------------------------------------- */

/* Busy, so that this processor is awake: only the other side's sleep is to be measured. */
static void let_it_sleep(void)
{
    int64_t until = bench_now_ns() + ASLEEP_NS;
    while (bench_now_ns() < until)
        ;
}

struct letter {
    int64_t sent_ns;
    int64_t before_ns; /* how long the letter was under way that this one answers */
};

static void send_letter(const struct scene *scene, void *channel, int64_t before_ns)
{
    let_it_sleep();
    struct letter letter = {bench_now_ns(), before_ns};
    scene->peer->put(channel, &letter, sizeof letter);
}

/* Returns how long the letter was under way. */
static int64_t get_letter(const struct scene *scene, void *channel, int64_t *ret_before_ns)
{
    struct letter letter;
    scene->peer->get(channel, &letter, sizeof letter);
    *ret_before_ns = letter.before_ns;
    return bench_now_ns() - letter.sent_ns;
}

static void exchange(const struct scene *scene, int index, uint64_t count, double *samples)
{
    for (uint64_t i = 0; i < count; i++) {
        int64_t before, under_way;
        if (index == 0) {
            send_letter(scene, scene->there, 0);
            under_way = get_letter(scene, scene->back, &before);
            samples[i] = (double)(before + under_way) * 1e-9;
        } else {
            under_way = get_letter(scene, scene->there, &before);
            send_letter(scene, scene->back, under_way);
        }
    }
}

static void sleep_part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    struct rusage before, after;
    exchange(scene, index, scene->count / 10 + 1, scene->samples);
    stage_go(stage, index);
    getrusage(RUSAGE_SELF, &before);
    exchange(scene, index, scene->count, scene->samples);
    getrusage(RUSAGE_SELF, &after);
    stage_done(stage, index);
    stage->places[index].sleeps = (double)(after.ru_nvcsw - before.ru_nvcsw) / (double)scene->count;
}

static void run_sleeping(const struct bench_contestant *self, uint64_t count,
                         struct bench_sample *ret)
{
    struct scene scene;
    if (!scene_open(&scene, self, count)) {
        ret->seconds = -1;
        return;
    }
    uint64_t bytes = (count + 1) * sizeof(double);
    scene.samples = stage_memory(bytes);
    struct stage *stage = stage_run(2, sleep_part, &scene);
    if (stage->places[0].sleeps < 0.9 || stage->places[1].sleeps < 0.9)
        fprintf(stderr, "%s: did not sleep each time: %.2f, %.2f\n", self->name,
                stage->places[0].sleeps, stage->places[1].sleeps);
    bench_sort(scene.samples, count);
    ret->seconds = scene.samples[count / 2] * (double)count;
    ret->p99 = scene.samples[count * 99 / 100];
    stage_free(stage);
    stage_memory_free(scene.samples, bytes);
    scene_close(&scene);
}

/* --- as a program does it ------------------------------------------------------------------- */

static void block_part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    const struct peer *peer = scene->peer;
    for (uint64_t i = 0; i < WARM_UP + scene->count; i++) {
        uint64_t message[2] = {i, 0};
        if (i == WARM_UP)
            stage_go(stage, index);
        if (index == 0)
            peer->put(scene->there, message, sizeof message);
        peer->get(index == 0 ? scene->back : scene->there, message, sizeof message);
        if (index != 0)
            peer->put(scene->back, message, sizeof message);
    }
    stage_done(stage, index);
}

static void run_blocking(const struct bench_contestant *self, uint64_t count,
                         struct bench_sample *ret)
{
    struct scene scene;
    if (!scene_open(&scene, self, count)) {
        ret->seconds = -1;
        return;
    }
    int together = self->number == ON_ONE;
    struct stage *stage = (together ? stage_run_together : stage_run)(2, block_part, &scene);
    ret->seconds = stage_seconds(stage);
    stage_free(stage);
    scene_close(&scene);
}

/* --- the contests --------------------------------------------------------------------------- */

static void polling(void)
{
    struct bench_contestant list[] = {
        {"one word in shared memory", .run = run_polling, .arg = &peer_word, .reference = 1},
        {"kin queue, try_get", .run = run_polling, .arg = &peer_kin, .aim_ns = 250},
        {"ck_ring, polled, no safety", .run = run_polling, .arg = &peer_ck},
        {"pipe, non-blocking reads", .run = run_polling, .arg = &peer_pipe_polled},
    };
    struct bench_contest contest = {
        .title = "One way between processes that poll",
        .about =
            "Two channels, 8 bytes there and back, half of the round trip. Both sides ask again\n"
            "and again and never sleep. ratio: to a bare word that both sides look at.",
        .view = BENCH_NS,
        .costs = 1,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    bench_contest(&contest);
}

/* The same contestants each time. */
static void blocking(const char *title, const char *about, double aim,
                     void (*run)(const struct bench_contestant *, uint64_t, struct bench_sample *),
                     uint64_t number)
{
    struct bench_contestant list[] = {
        {"two bare futex wakes", .arg = &peer_futex, .reference = 1},
        {"kin queue", .arg = &peer_kin, .aim = aim},
        {"pipe", .arg = &peer_pipe},
        {"Unix stream socket", .arg = &peer_stream},
        {"POSIX message queue", .arg = &peer_mqueue},
        {"boost message_queue", .arg = &peer_boost},
    };
    struct bench_contest contest = {title, about, .view = BENCH_US, .costs = 1, .list = list};
    contest.list_count = BENCH_COUNT(list);
    for (int i = 0; i < contest.list_count; i++) {
        list[i].run = run;
        list[i].number = number;
    }
    bench_contest(&contest);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "how long a message is under way");
    polling();
    blocking("Round trip between processes that sleep",
             "16 bytes there and back. Before each put the sender is busy for 60 us, so that the\n"
             "receiver has given up spinning and its processor is idle; that time does not count.\n"
             "Sum of the times from the put to the return of the get, of single round trips.",
             1.3, run_sleeping, 0);
    blocking("Round trip between processes that sleep, on one processor",
             "16 bytes there and back, both on the same processor, so that each must go to sleep\n"
             "before the other can run: no processor is idle, and what is left is the software.",
             1.3, run_blocking, ON_ONE);
    blocking("Round trip with blocking calls, no pause",
             "16 bytes there and back, each answers at once, on a processor of its own. kin spins\n"
             "for a moment before it sleeps; whether that pays depends on how it began.",
             0, run_blocking, 0);
    return 0;
}
