/* SPDX-License-Identifier: MIT
 * Round trips through pipes: kin's, and those of the system. */
#include "latency_runs.h"
#include "peers/peer.h"

static void contest(const char *title, const char *about, double aim,
                    void (*run)(const struct bench_contestant *, uint64_t, struct bench_sample *),
                    uint64_t number)
{
    struct bench_contestant list[] = {
        {"Unix seqpacket socket", .arg = &peer_seqpacket, .reference = 1},
        {"kin pipe", .arg = &peer_kin_pipe, .aim = aim},
        {"kin queue", .arg = &peer_kin},
        {"Unix stream socket", .arg = &peer_stream},
        {"pipe", .arg = &peer_pipe},
        {"two bare futex wakes", .arg = &peer_futex},
    };
    struct bench_contest contest = {title, about, .view = BENCH_US, .costs = 1, .list = list};
    contest.list_count = BENCH_COUNT(list);
    for (int i = 0; i < contest.list_count; i++) {
        list[i].run = run;
        list[i].number = number;
    }
    bench_contest(&contest);
}

static void polling(void)
{
    struct bench_contestant list[] = {
        {"kin pipe, try_recv", .run = latency_polling, .arg = &peer_kin_pipe, .reference = 1},
        {"kin queue, try_get", .run = latency_polling, .arg = &peer_kin},
        {"pipe, non-blocking reads", .run = latency_polling, .arg = &peer_pipe_polled},
    };
    struct bench_contest contest = {
        .title = "One way between processes that poll",
        .about = "8 bytes there and back, half of the round trip. Both sides ask again and again.",
        .view = BENCH_NS,
        .costs = 1,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    bench_contest(&contest);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "how long a message is under way in a pipe");
    polling();
    contest("Round trip between processes that sleep",
            "16 bytes there and back. Before each send the sender is busy for 60 us, so that the\n"
            "receiver has given up spinning and its processor is idle; that time does not count.",
            0.7, latency_sleeping, 0);
    contest("Round trip with blocking calls, on one processor",
            "16 bytes there and back, both on the same processor.", 0.7, latency_blocking,
            LATENCY_ON_ONE);
    contest("Round trip with blocking calls, no pause",
            "16 bytes there and back, each answers at once, on a processor of its own.", 0,
            latency_blocking, 0);
    return 0;
}
