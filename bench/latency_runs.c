/* SPDX-License-Identifier: MIT
 * Messages there and back between two processes: polling, asleep, and as a program does it. */
#include <stdio.h>
#include <sys/resource.h>

#include "latency_runs.h"
#include "lib/stage.h"
#include "peers/peer.h"

#define WARM_UP   1000u
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

void latency_polling(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
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

void latency_sleeping(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
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

void latency_blocking(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    struct scene scene;
    if (!scene_open(&scene, self, count)) {
        ret->seconds = -1;
        return;
    }
    int together = self->number == LATENCY_ON_ONE;
    struct stage *stage = (together ? stage_run_together : stage_run)(2, block_part, &scene);
    ret->seconds = stage_seconds(stage);
    stage_free(stage);
    scene_close(&scene);
}
