/* SPDX-License-Identifier: MIT
 * Messages there and back through everything that carries messages between processes: four sizes,
 * both sides awake, both sides asleep. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/bench.h"
#include "lib/grid.h"
#include "lib/stage.h"
#include "peers/peer.h"

#define ASLEEP_NS     60000 /* long enough for the other side to have given up spinning */
#define SAMPLES_MOST  20000u
#define SAMPLES_LEAST 20u
#define WARM_UP       16u

struct trip {
    size_t bytes;
    int64_t pause_ns; /* before each message is put; it does not count */
};

struct scene {
    const struct peer *peer;
    const struct trip *trip;
    void *there, *back;
    uint64_t count;
    double *samples; /* shared; seconds of each round trip */
};

struct letter {
    int64_t sent_ns;
    int64_t before_ns; /* how long the letter was under way that this one answers */
};

/* Busy, so that this processor is awake: only the other side's sleep is to be measured. */
static void pause_busy(int64_t ns)
{
    int64_t until = ns > 0 ? bench_now_ns() + ns : 0;
    while (until != 0 && bench_now_ns() < until)
        ;
}

static void send_letter(const struct scene *scene, void *channel, char *buffer, int64_t before_ns)
{
    pause_busy(scene->trip->pause_ns);
    struct letter letter = {bench_now_ns(), before_ns};
    memcpy(buffer, &letter, sizeof letter);
    scene->peer->put(channel, buffer, scene->trip->bytes);
}

/* Returns how long it was under way, until it was in the buffer. */
static int64_t get_letter(const struct scene *scene, void *channel, char *buffer,
                          int64_t *ret_before_ns)
{
    struct letter letter;
    scene->peer->get(channel, buffer, scene->trip->bytes);
    memcpy(&letter, buffer, sizeof letter);
    *ret_before_ns = letter.before_ns;
    return bench_now_ns() - letter.sent_ns;
}

static void exchange(const struct scene *scene, int index, uint64_t count, char *buffer)
{
    for (uint64_t i = 0; i < count; i++) {
        int64_t before, under_way;
        if (index == 0) {
            send_letter(scene, scene->there, buffer, 0);
            under_way = get_letter(scene, scene->back, buffer, &before);
            scene->samples[i] = (double)(before + under_way) * 1e-9;
        } else {
            under_way = get_letter(scene, scene->there, buffer, &before);
            send_letter(scene, scene->back, buffer, under_way);
        }
    }
}

static void part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    struct rusage before, after;
    char *buffer = aligned_alloc(4096, (scene->trip->bytes + 4095) & ~(size_t)4095);
    if (buffer == NULL)
        bench_die("no memory");
    memset(buffer, 1, scene->trip->bytes);
    exchange(scene, index, WARM_UP, buffer);
    stage_go(stage, index);
    getrusage(RUSAGE_SELF, &before);
    exchange(scene, index, scene->count, buffer);
    getrusage(RUSAGE_SELF, &after);
    stage_done(stage, index);
    stage->places[index].sleeps = (double)(after.ru_nvcsw - before.ru_nvcsw) / (double)scene->count;
    stage_end(stage);
}

/* Returns how long it all took. */
static double play(struct scene *scene, uint64_t count, double *ret_p50, double *ret_p99)
{
    uint64_t bytes = (count + WARM_UP) * sizeof(double);
    scene->count = count;
    scene->samples = stage_memory(bytes);
    struct stage *stage = stage_run(2, part, scene);
    double took = stage_seconds(stage);
    for (int i = 0; scene->trip->pause_ns > 0 && i < 2; i++)
        if (stage->places[i].sleeps < 0.9)
            fprintf(stderr, "%s: did not sleep each time: %.2f\n", scene->peer->name,
                    stage->places[i].sleeps);
    bench_sort(scene->samples, count);
    *ret_p50 = scene->samples[count / 2];
    *ret_p99 = scene->samples[count * 99 / 100];
    stage_free(stage);
    stage_memory_free(scene->samples, bytes);
    return took;
}

struct pair { /* of the same peer */
    const struct peer *awake, *asleep;
};

static void sample(const struct grid_row *row, const struct grid_column *column, double *ret)
{
    const struct trip *trip = row->arg;
    const struct pair *pair = column->arg;
    const struct peer_opts opts = {.depth = 4, .bytes = trip->bytes};
    struct scene scene = {.peer = trip->pause_ns > 0 ? pair->asleep : pair->awake, .trip = trip};
    if (scene.peer == NULL || (scene.there = scene.peer->open(&opts)) == NULL)
        return;
    scene.back = scene.peer->open(&opts);
    double p50, p99;
    double each = play(&scene, SAMPLES_LEAST, &p50, &p99) / SAMPLES_LEAST;
    scene.peer->close(scene.back);
    scene.peer->close(scene.there);

    uint64_t count = (uint64_t)(bench_options.seconds / each);
    count = count < SAMPLES_LEAST ? SAMPLES_LEAST : count > SAMPLES_MOST ? SAMPLES_MOST : count;
    scene.there = scene.peer->open(&opts);
    scene.back = scene.peer->open(&opts);
    play(&scene, count, &p50, &p99);
    scene.peer->close(scene.back);
    scene.peer->close(scene.there);
    ret[0] = p50 * 1e6;
    ret[1] = p99 * 1e6;
}

#define TRIP(name, bytes, pause)                                                                   \
    {                                                                                              \
        name, &(const struct trip)                                                                 \
        {                                                                                          \
            bytes, pause                                                                           \
        }                                                                                          \
    }
#define PAIR(awake, asleep)                                                                        \
    &(const struct pair)                                                                           \
    {                                                                                              \
        awake, asleep                                                                              \
    }

int main(int argc, char **argv)
{
    const struct grid_column columns[] = {
        {"kin", PAIR(&peer_kin_polled, &peer_kin), 0},
        {"kin pipe", PAIR(&peer_kin_pipe_polled, &peer_kin_pipe), 1}, /* no rival of kin */
        {"pipe", PAIR(&peer_pipe_framed_polled, &peer_pipe_framed), 0},
        {"stream", PAIR(&peer_stream_framed_polled, &peer_stream_framed), 0},
        {"seqpacket", PAIR(&peer_seqpacket_polled, &peer_seqpacket), 0},
        {"mqueue", PAIR(&peer_mqueue_polled, &peer_mqueue), 0},
        {"zmq", PAIR(&peer_zmq, &peer_zmq), 0},
        {"nng", PAIR(&peer_nng, &peer_nng), 0},
        {"boost", PAIR(&peer_boost_polled, &peer_boost), 0},
        {"iceoryx", PAIR(&peer_iceoryx_polled, &peer_iceoryx), 0},
        {"ck_ring", PAIR(&peer_ck, NULL), 1},
    };
    const struct grid_row awake[] = {TRIP("64 B", 64, 0), TRIP("1 KB", 1024, 0),
                                     TRIP("64 KB", 64 << 10, 0), TRIP("1 MB", 1 << 20, 0)};
    const struct grid_row asleep[] = {TRIP("64 B", 64, ASLEEP_NS), TRIP("1 KB", 1024, ASLEEP_NS),
                                      TRIP("64 KB", 64 << 10, ASLEEP_NS),
                                      TRIP("1 MB", 1 << 20, ASLEEP_NS)};
    struct grid grid = {
        .title = "Round trip, both sides awake",
        .about =
            "Two channels, the same number of bytes there and back, put from the sender's own\n"
            "buffer and got into the receiver's own. Whoever waits for a message asks again\n"
            "and again and never sleeps.",
        .aim = 1,
        .measures = {{"p50, us", 1}, {"p99, us", 1}},
        .measures_count = 2,
        .rows = awake,
        .rows_count = BENCH_COUNT(awake),
        .columns = columns,
        .columns_count = BENCH_COUNT(columns),
        .sample = sample,
    };
    bench_begin(argc, argv, "how long messages of four sizes are under way, there and back");
    grid_play(&grid);
    grid.title = "Round trip, both sides asleep";
    grid.about =
        "The same with calls that sleep. Before each put the sender is busy for 60 us, so\n"
        "that the receiver sleeps and its processor is idle; that time does not count.\n"
        "Sum of the two times from the put to the return of the get.";
    grid.rows = asleep;
    grid_play(&grid);
    return 0;
}
