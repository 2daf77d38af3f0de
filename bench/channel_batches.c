/* SPDX-License-Identifier: MIT
 * What kin_queue_put_many and kin_queue_get_many gain over single messages, and what a ring gains
 * that does nothing but copy. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <kin/kin.h>

#include "bare_ring.h"
#include "lib/bench.h"
#include "lib/stage.h"

#define BATCH      100u
#define BYTES_MOST 1024u
#define WARM_UP    100u /* batches */
#define DEPTH      1024u

struct sides { /* batch: so many messages a call; 1: the plain calls */
    uint32_t put_batch, get_batch;
    bool bare; /* not kin's queue but a ring without anything */
};

struct scene {
    struct kin_queue *queue;
    struct bare_ring *bare;
    struct sides sides;
    uint64_t bytes, count; /* count: of batches */
};

static void check(int64_t r, const char *what)
{
    if (__builtin_expect(r <= 0, 0))
        bench_must(r < 0 ? r : -1, what);
}

static void put_batch(const struct scene *scene, const struct kin_item *items)
{
    if (scene->bare != NULL) {
        bare_ring_put_many(scene->bare, items, BATCH);
        return;
    }
    for (uint32_t i = 0; scene->sides.put_batch == 1 && i < BATCH; i++)
        bench_must(kin_queue_put(scene->queue, items[i].data, items[i].bytes, KIN_NEVER), "put");
    for (uint32_t i = 0; scene->sides.put_batch > 1 && i < BATCH;) {
        int64_t r = kin_queue_put_many(scene->queue, items + i, BATCH - i, KIN_NEVER);
        check(r, "kin_queue_put_many");
        i += (uint32_t)r;
    }
}

static void put_batches(const struct scene *scene, uint64_t count)
{
    static _Alignas(64) char data[BATCH][BYTES_MOST];
    struct kin_item items[BATCH];
    uint64_t number = 0;
    for (uint32_t i = 0; i < BATCH; i++)
        items[i] = (struct kin_item){data[i], scene->bytes};
    for (uint64_t done = 0; done < count; done++) {
        for (uint32_t i = 0; i < BATCH; i++, number++)
            memcpy(data[i], &number, sizeof number);
        put_batch(scene, items);
    }
}

static uint64_t number_of(const void *message)
{
    uint64_t number;
    memcpy(&number, message, sizeof number);
    return number;
}

static int64_t get_many(const struct scene *scene, struct kin_item *items, uint32_t most,
                        char *buffer, size_t capacity)
{
    if (scene->bare != NULL)
        return bare_ring_get_many(scene->bare, items, most, buffer);
    int64_t got = kin_queue_get_many(scene->queue, items, most, buffer, capacity, KIN_NEVER);
    check(got, "kin_queue_get_many");
    return got;
}

static uint64_t get_batches(const struct scene *scene, uint64_t count)
{
    static _Alignas(64) char buffer[BATCH * BYTES_MOST];
    struct kin_item items[BATCH];
    uint64_t sum = 0;
    for (uint64_t left = count * BATCH; left > 0;) {
        uint32_t most = left < BATCH ? (uint32_t)left : BATCH;
        int64_t got = 1;
        if (scene->sides.get_batch == 1) {
            check(kin_queue_get(scene->queue, buffer, sizeof buffer, KIN_NEVER), "kin_queue_get");
            sum += number_of(buffer);
        } else {
            got = get_many(scene, items, most, buffer, sizeof buffer);
            for (int64_t i = 0; i < got; i++)
                sum += number_of(items[i].data);
        }
        left -= (uint64_t)got;
    }
    return sum;
}

static void part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    if (index == 0) {
        put_batches(scene, WARM_UP);
        stage_go(stage, index);
        put_batches(scene, scene->count);
    } else {
        get_batches(scene, WARM_UP);
        stage_go(stage, index);
        stage->places[index].sum = get_batches(scene, scene->count);
    }
    stage_done(stage, index);
}

static void play(struct scene *scene, const struct bench_contestant *self, uint64_t count,
                 struct bench_sample *ret)
{
    struct stage *stage = stage_run(2, part, scene);
    uint64_t all = scene->count * BATCH;
    if (stage->places[1].sum != all * (all - 1) / 2)
        bench_die("%s: messages were lost or changed", self->name);
    ret->seconds = stage_seconds(stage) * (double)count / (double)all;
    stage_free(stage);
}

static void run(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    const struct kin_queue_opts opts = {.max_items = DEPTH};
    struct scene scene = {.bytes = self->number, .count = count / BATCH + 1};
    struct kin_arena *arena;
    scene.sides = *(const struct sides *)self->arg;
    if (scene.sides.bare) {
        scene.bare = bare_ring_new(DEPTH, self->number);
        play(&scene, self, count, ret);
        bare_ring_free(scene.bare);
        return;
    }
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_queue_create(arena, &opts, &scene.queue), "kin_queue_create");
    play(&scene, self, count, ret);
    kin_queue_destroy(scene.queue);
    kin_arena_detach(arena);
}

static void batches(const char *title, uint64_t bytes)
{
    static const struct sides both = {BATCH, BATCH, false}, puts = {BATCH, 1, false},
                              gets = {1, BATCH, false}, single = {1, 1, false},
                              bare = {BATCH, BATCH, true};
    struct bench_contestant list[] = {
        {"puts and gets of 100", .arg = &both, .reference = 1},
        {"one at a time", .arg = &single, .aim = 3},
        {"puts of 100, single gets", .arg = &puts},
        {"single puts, gets of 100", .arg = &gets},
        {"100 copied, nothing else", .arg = &bare},
    };
    struct bench_contest contest = {
        .title = title,
        .about = "One producer, one consumer, at most 1024 messages at a time, copied on both "
                 "sides.\nratio: how many times as many messages the first one carries. The last "
                 "row is the bound:\na ring of two counters, whose sides may not die.",
        .view = BENCH_RATE,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    for (int i = 0; i < contest.list_count; i++) {
        list[i].run = run;
        list[i].number = bytes;
        list[i].count_first = 100 * BATCH;
    }
    bench_contest(&contest);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "messages a hundred at a time against one at a time");
    batches("Messages of 8 bytes", 8);
    batches("Messages of 64 bytes", 64);
    batches("Messages of 1 KB, in blocks of their own", 1024);
    return 0;
}
