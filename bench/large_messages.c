/* SPDX-License-Identifier: MIT
 * Messages of 1 MB: how many bytes a second, and whether their memory is given back. */
#include <stdlib.h>
#include <string.h>

#include "lib/bench.h"
#include "lib/stage.h"
#include "memory_burst.h"
#include "peers/peer.h"

#define MESSAGE (1u << 20)
#define PAGE    4096u
#define WARM_UP 32u

struct scene {
    const struct peer *peer;
    void *channel;
    uint64_t count;
};

/* The sender's own buffer: something new on each page, as if it had been filled. */
static void send_all(const struct scene *scene, uint64_t first, uint64_t count, char *buffer)
{
    for (uint64_t i = first; i < first + count; i++) {
        for (uint64_t at = 0; at < MESSAGE; at += PAGE)
            memcpy(buffer + at, &i, sizeof i);
        scene->peer->put(scene->channel, buffer, MESSAGE);
    }
}

/* The receiver's own buffer, of which it looks at each page. */
static void receive_all(const struct scene *scene, uint64_t first, uint64_t count, char *buffer)
{
    for (uint64_t i = first; i < first + count; i++) {
        scene->peer->get(scene->channel, buffer, MESSAGE);
        for (uint64_t at = 0; at < MESSAGE; at += PAGE)
            if (memcmp(buffer + at, &i, sizeof i) != 0)
                bench_die("%s: message %llu is not what was sent", scene->peer->name,
                          (unsigned long long)i);
    }
}

static void part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    void (*play)(const struct scene *, uint64_t, uint64_t, char *) =
        index == 0 ? send_all : receive_all;
    char *buffer = aligned_alloc(PAGE, MESSAGE);
    if (buffer == NULL)
        bench_die("no memory");
    memset(buffer, index, MESSAGE);
    play(scene, 0, WARM_UP, buffer);
    stage_go(stage, index);
    play(scene, WARM_UP, scene->count, buffer);
    stage_done(stage, index);
    free(buffer);
}

static void run(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    const struct peer_opts opts = {.depth = self->number, .bytes = MESSAGE};
    struct scene scene = {.peer = self->arg, .count = count};
    scene.channel = scene.peer->open(&opts);
    if (scene.channel == NULL) {
        ret->seconds = -1;
        return;
    }
    struct stage *stage = stage_run(2, part, &scene);
    ret->seconds = stage_seconds(stage);
    stage_free(stage);
    scene.peer->close(scene.channel);
}

static void throughput(void)
{
    struct bench_contestant list[] = {
        {"kin queue, at most 4", .run = run, .arg = &peer_kin, .number = 4, .reference = 1},
        {"kin queue, at most 64", .run = run, .arg = &peer_kin, .number = 64},
        {"kin queue, unbounded", .run = run, .arg = &peer_kin, .count_most = 4096},
        {"kin pipe", .run = run, .arg = &peer_kin_pipe},
        {"pipe, 64 KiB", .run = run, .arg = &peer_pipe, .aim = 3},
        {"pipe, F_SETPIPE_SZ 1 MiB", .run = run, .arg = &peer_pipe_large, .aim = 3},
        {"Unix stream socket, SO_SNDBUF 4 MiB", .run = run, .arg = &peer_stream},
        {"Unix seqpacket socket, SO_SNDBUF 4 MiB", .run = run, .arg = &peer_seqpacket, .aim = 1},
        {"boost message_queue, at most 4", .run = run, .arg = &peer_boost, .number = 4},
    };
    struct bench_contest contest = {
        .title = "Messages of 1 MB, one producer, one consumer",
        .about =
            "1 MiB a message, changed on each page in the sender's own buffer before it is put,\n"
            "received into the receiver's own buffer, where each page is looked at.\n"
            "ratio: how many times as many bytes the first one carries.",
        .view = BENCH_GB,
        .bytes = MESSAGE,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    bench_contest(&contest);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "1 MB messages between two processes; memory after a burst");
    throughput();
    memory_burst(MESSAGE, bench_options.quick ? 128 : 1024);
    memory_burst(100ull << 20, 10);
    memory_burst(64, bench_options.quick ? 500000 : 4000000);
    return 0;
}
