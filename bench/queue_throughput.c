/* SPDX-License-Identifier: MIT
 * Messages a second from process to process. */
#include <stdio.h>

#include "lib/bench.h"
#include "lib/stage.h"
#include "peers/peer.h"

#define WARM_UP 5000u

struct flow {
    const struct peer *peer;
    struct peer_opts opts;
    int producers_count, consumers_count;
    uint64_t count; /* for all together, set for each sample */
};

struct scene {
    const struct flow *flow;
    void *channel;
    uint64_t count; /* for each producer of one consumer: see run() */
};

/* The producers come first. All have the same share, so that the counts come out even. */
static void part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    const struct flow *flow = scene->flow;
    const struct peer *peer = flow->peer;
    struct stage_place *place = &stage->places[index];
    if (index < flow->producers_count) {
        uint64_t each = (uint64_t)flow->consumers_count;
        peer->send(scene->channel, WARM_UP * each, flow->opts.bytes);
        stage_go(stage, index);
        peer->send(scene->channel, scene->count * each, flow->opts.bytes);
    } else {
        uint64_t each = (uint64_t)flow->producers_count;
        peer->receive(scene->channel, WARM_UP * each, flow->opts.bytes);
        stage_go(stage, index);
        place->sum = peer->receive(scene->channel, scene->count * each, flow->opts.bytes);
    }
    stage_done(stage, index);
}

static uint64_t numbers_below(uint64_t count)
{
    return count * (count - 1) / 2;
}

static void run(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    const struct flow *flow = self->arg;
    uint64_t producers = (uint64_t)flow->producers_count,
             consumers = (uint64_t)flow->consumers_count;
    struct scene scene = {.flow = flow, .channel = flow->peer->open(&flow->opts)};
    if (scene.channel == NULL) {
        ret->seconds = -1;
        return;
    }
    scene.count = count / (producers * consumers) + 1;
    struct stage *stage = stage_run(flow->producers_count + flow->consumers_count, part, &scene);
    uint64_t sum = 0;
    for (int i = 0; i < stage->count; i++)
        sum += stage->places[i].sum;
    if (sum != producers * numbers_below(scene.count * consumers))
        bench_die("%s: messages were lost or changed", self->name);
    double part_of = (double)count / (double)(scene.count * producers * consumers);
    ret->seconds = stage_seconds(stage) * part_of;
    stage_free(stage);
    flow->peer->close(scene.channel);
}

#define FLOW(peer_name, depth_value, bytes_value, producers, consumers)                            \
    &(const struct flow)                                                                           \
    {                                                                                              \
        .peer = &peer_name, .opts = {.depth = (depth_value), .bytes = (bytes_value)},              \
        .producers_count = (producers), .consumers_count = (consumers)                             \
    }
#define ONE_TO_ONE(peer_name, depth, bytes) .run = run, .arg = FLOW(peer_name, depth, bytes, 1, 1)

static void one_to_one(void)
{
    struct bench_contestant list[] = {
        {"kin queue, at most 1024", .reference = 1, ONE_TO_ONE(peer_kin, 1024, 64)},
        {"kin queue, unbounded", .count_most = 4000000, ONE_TO_ONE(peer_kin, 0, 64)},
        {"kin queue, at most 1024, 16 bytes", ONE_TO_ONE(peer_kin, 1024, 16)},
        {"kin queue, the same, narrow ring", ONE_TO_ONE(peer_kin_small, 1024, 16)},
        {"kin pipe", ONE_TO_ONE(peer_kin_pipe, 0, 64)},
        {"pipe", .aim = 5, ONE_TO_ONE(peer_pipe, 0, 64)},
        {"Unix stream socket", .aim = 10, ONE_TO_ONE(peer_stream, 0, 64)},
        {"Unix seqpacket socket", .aim = 10, ONE_TO_ONE(peer_seqpacket, 0, 64)},
        {"POSIX message queue, at most 10", .aim = 10, ONE_TO_ONE(peer_mqueue, 10, 64)},
        {"POSIX message queue, at most 1024", .aim = 10, ONE_TO_ONE(peer_mqueue, 1024, 64)},
        {"boost message_queue, at most 1024", .aim = 2.5, ONE_TO_ONE(peer_boost, 1024, 64)},
        {"ck_ring of 1024, polled, no safety", .aim = 0.8, ONE_TO_ONE(peer_ck, 1024, 64)},
    };
    struct bench_contest contest = {
        .title = "One producer, one consumer",
        .about =
            "64 bytes a message (or as said), a put or a write each, copied from the sender's\n"
            "memory and into the receiver's, which checks the numbers. Blocking calls, except\n"
            "ck_ring. ratio: how many times as many the first one carries.",
        .view = BENCH_RATE,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    bench_contest(&contest);
}

static void batches(void)
{
    struct bench_contestant list[] = {
        {"100 at a time, at most 1024", .reference = 1, ONE_TO_ONE(peer_kin_hundred, 1024, 64)},
        {"one at a time, at most 1024", .aim = 3, ONE_TO_ONE(peer_kin, 1024, 64)},
        {"100 at a time, unbounded", .count_most = 4000000, ONE_TO_ONE(peer_kin_hundred, 0, 64)},
        {"one at a time, unbounded", .count_most = 4000000, ONE_TO_ONE(peer_kin, 0, 64)},
        {"100 at a time, 16 bytes", ONE_TO_ONE(peer_kin_hundred, 1024, 16)},
        {"one at a time, 16 bytes", ONE_TO_ONE(peer_kin, 1024, 16)},
    };
    struct bench_contest contest = {
        .title = "Batches: kin_queue_put_many and kin_queue_get_many",
        .about = "One producer, one consumer; 64 bytes a message, or as said.",
        .view = BENCH_RATE,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    bench_contest(&contest);
}

static void several(const char *title, int producers, int consumers)
{
    struct bench_contestant list[] = {
        {"kin queue, at most 1024", .reference = 1, .run = run,
         .arg = FLOW(peer_kin, 1024, 64, producers, consumers)},
        {"kin queue, unbounded", .count_most = 4000000, .run = run,
         .arg = FLOW(peer_kin, 0, 64, producers, consumers)},
        {"pipe shared by all", .run = run, .arg = FLOW(peer_pipe, 0, 64, producers, consumers)},
    };
    struct bench_contest contest = {
        .title = title,
        .about = "64 bytes a message, all processes on the same queue or pipe (a write of up to\n"
                 "PIPE_BUF bytes is not mixed with others).",
        .view = BENCH_RATE,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    bench_contest(&contest);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "messages a second between processes, and how many times as many kin");
    one_to_one();
    batches();
    several("Two producers, two consumers", 2, 2);
    several("Four producers, one consumer", 4, 1);
    several("One producer, four consumers", 1, 4);
    return 0;
}
