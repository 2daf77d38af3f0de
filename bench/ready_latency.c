/* SPDX-License-Identifier: MIT
 * How long a message is under way to a process that waits in epoll, as an event loop does. */
#include "latency_runs.h"
#include "peers/peer.h"

static void blocking(const char *title, const char *about,
                     void (*run)(const struct bench_contestant *, uint64_t, struct bench_sample *),
                     uint64_t number)
{
    struct bench_contestant list[] = {
        {"eventfd in epoll", .arg = &peer_epoll_eventfd, .reference = 1},
        {"kin queue, kin_ready in epoll", .arg = &peer_epoll_kin},
        {"pipe in epoll", .arg = &peer_epoll_pipe},
        {"kin queue, get", .arg = &peer_kin},
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
    bench_begin(argc, argv, "how long a message is under way to an event loop");
    blocking(
        "Round trip between event loops that sleep",
        "16 bytes there and back. Before each put the sender is busy for 60 us, so that the\n"
        "receiver's processor is idle; that time does not count. The eventfd's message lies in\n"
        "shared memory beside it, one at a time. ratio: to the first one.",
        latency_sleeping, 0);
    blocking("Round trip between event loops, on one processor",
             "16 bytes there and back, both on the same processor: what is left is the software.",
             latency_blocking, LATENCY_ON_ONE);
    return 0;
}
