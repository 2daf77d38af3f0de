/* SPDX-License-Identifier: MIT
 * Messages and bytes a second through everything that carries messages between processes: four
 * sizes, one to one, four to one, one to four. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bench.h"
#include "lib/grid.h"
#include "lib/stage.h"
#include "peers/peer.h"

#define WARM_UP_SECONDS 0.1 /* ZeroMQ and nng connect meanwhile */
#define MQUEUE_MOST     10  /* messages that it holds without privileges */
#define STAMP_EACH      4096u
#define PRODUCERS_MOST  8

struct flow {
    size_t bytes;
    uint64_t depth;
    int producers, consumers;
};

struct scene {
    const struct peer *peer;
    const struct flow *flow;
    void *channel;
};

struct stamp {
    uint64_t producer, number;
};

static char *buffer_new(const struct scene *scene)
{
    char *buffer = aligned_alloc(4096, (scene->flow->bytes + 4095) & ~(size_t)4095);
    if (buffer == NULL)
        bench_die("no memory");
    memset(buffer, 1, scene->flow->bytes);
    return buffer;
}

/* Each message is stamped in the sender's own buffer, at its beginning and on each page. */
static _Noreturn void produce(const struct scene *scene, uint64_t producer)
{
    char *buffer = buffer_new(scene);
    struct stamp stamp = {producer, 0};
    for (;; stamp.number++) {
        for (size_t at = 0; at < scene->flow->bytes; at += STAMP_EACH)
            memcpy(buffer + at, &stamp, sizeof stamp);
        scene->peer->put(scene->channel, buffer, scene->flow->bytes);
    }
}

static void check(const struct scene *scene, const char *buffer, uint64_t *next)
{
    struct stamp stamp, other;
    memcpy(&stamp, buffer, sizeof stamp);
    for (size_t at = STAMP_EACH; at < scene->flow->bytes; at += STAMP_EACH) {
        memcpy(&other, buffer + at, sizeof other);
        if (memcmp(&stamp, &other, sizeof stamp) != 0)
            bench_die("%s: a message was mixed up", scene->peer->name);
    }
    if (stamp.producer >= PRODUCERS_MOST || stamp.number < next[stamp.producer] ||
        (scene->flow->consumers == 1 && stamp.number != next[stamp.producer]))
        bench_die("%s: a message was lost or came too late", scene->peer->name);
    next[stamp.producer] = stamp.number + 1;
}

/* Each message is in the receiver's own buffer, where each page is looked at. */
static _Noreturn void consume(const struct scene *scene, struct stage_place *place)
{
    char *buffer = buffer_new(scene);
    uint64_t next[PRODUCERS_MOST] = {0};
    for (uint64_t done = 1;; done++) {
        scene->peer->get(scene->channel, buffer, scene->flow->bytes);
        check(scene, buffer, next);
        atomic_store_explicit(&place->done, done, memory_order_relaxed);
    }
}

static void part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    if (index < scene->flow->producers)
        produce(scene, (uint64_t)index);
    consume(scene, &stage->places[index]);
}

static void sample(const struct grid_row *row, const struct grid_column *column, double *ret)
{
    const struct flow *flow = row->arg;
    struct scene scene = {.peer = column->arg, .flow = flow};
    struct peer_opts opts = {flow->depth, flow->bytes, flow->producers, flow->consumers};
    if (scene.peer == &peer_mqueue && opts.depth > MQUEUE_MOST)
        opts.depth = MQUEUE_MOST;
    scene.channel = scene.peer->open(&opts);
    if (scene.channel == NULL)
        return;
    double rate = stage_run_window(flow->producers + flow->consumers, part, &scene, WARM_UP_SECONDS,
                                   bench_options.seconds);
    scene.peer->close(scene.channel);
    ret[0] = rate * 1e-3;
    ret[1] = rate * (double)flow->bytes * 1e-9;
}

#define FLOW(bytes, depth, producers, consumers)                                                   \
    &(const struct flow)                                                                           \
    {                                                                                              \
        bytes, depth, producers, consumers                                                         \
    }
#define SIZE(name, bytes, depth)                                                                   \
    {name ", one to one", FLOW(bytes, depth, 1, 1)},                                               \
        {name ", four to one", FLOW(bytes, depth, 4, 1)},                                          \
    {                                                                                              \
        name ", one to four", FLOW(bytes, depth, 1, 4)                                             \
    }

int main(int argc, char **argv)
{
    const struct grid_row rows[] = {
        SIZE("64 B", 64, 1024),
        SIZE("1 KB", 1024, 1024),
        SIZE("64 KB", 64 << 10, 64),
        SIZE("1 MB", 1 << 20, 4),
    };
    static const struct grid_column columns[] = {
        {"kin", &peer_kin, 0},
        {"kin pipe", &peer_kin_pipe, 1}, /* no rival of kin */
        {"pipe", &peer_pipe_framed, 0},
        {"stream", &peer_stream_framed, 0},
        {"seqpacket", &peer_seqpacket, 0},
        {"mqueue", &peer_mqueue, 0},
        {"zmq", &peer_zmq, 0},
        {"nng", &peer_nng, 0},
        {"boost", &peer_boost, 0},
        {"iceoryx", &peer_iceoryx, 0},
        {"ck_ring", &peer_ck, 1},
    };
    bench_begin(argc, argv, "messages and bytes a second between processes, kin and the others");
    grid_play(&(const struct grid){
        .title = "Messages of four sizes, one to one, four to one, one to four",
        .about =
            "One channel, shared by all. A message is changed in the sender's own buffer, put,\n"
            "and got into the receiver's own, where a stamp on each page is checked. At most\n"
            "1024 messages at a time up to 1 KB, 64 of 64 KB, 4 of 1 MB, where a bound in\n"
            "messages can be told. Blocking calls, except ck_ring, which is the bound.\n"
            "-: cannot (mqueue: over 8 KB; ck_ring: only one to one).",
        .aim = 1,
        .measures = {{"thousand messages/s", 0}, {"GB/s", 0}},
        .measures_count = 2,
        .rows = rows,
        .rows_count = BENCH_COUNT(rows),
        .columns = columns,
        .columns_count = BENCH_COUNT(columns),
        .sample = sample,
    });
    return 0;
}
