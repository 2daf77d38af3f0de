/* SPDX-License-Identifier: MIT
 * How long a message is under way: between processes that poll, and between processes that sleep.
 */
#include "latency_runs.h"
#include "peers/peer.h"

static void polling(void)
{
    struct bench_contestant list[] = {
        {"one word in shared memory", .run = latency_polling, .arg = &peer_word, .reference = 1},
        {"kin queue, try_get", .run = latency_polling, .arg = &peer_kin, .aim_ns = 250},
        {"ck_ring, polled, no safety", .run = latency_polling, .arg = &peer_ck},
        {"pipe, non-blocking reads", .run = latency_polling, .arg = &peer_pipe_polled},
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
             1.3, latency_sleeping, 0);
    blocking(
        "Round trip with blocking calls, on one processor",
        "16 bytes there and back, both on the same processor. No processor is idle: what is left\n"
        "is the software. kin lets the other one run before it sleeps.",
        1.3, latency_blocking, LATENCY_ON_ONE);
    blocking("Round trip with blocking calls, no pause",
             "16 bytes there and back, each answers at once, on a processor of its own. kin spins\n"
             "for a moment before it sleeps; whether that pays depends on how it began.",
             0, latency_blocking, 0);
    return 0;
}
