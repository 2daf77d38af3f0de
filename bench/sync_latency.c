/* SPDX-License-Identifier: MIT
 * How long it takes to tell another process that something happened: while it spins, and while it
 * sleeps. */
#include "latency_runs.h"
#include "peers/peer.h"
#include "peers/python_sync.h"

#define ONE_WAY_NS    500 /* asked, between processes that are both awake */
#define ROUND_TRIP_NS 1000

static void polling(void)
{
    struct bench_contestant list[] = {
        {"one word in shared memory", .arg = &peer_word, .reference = 1},
        {"kin event, is_set", .arg = &peer_kin_event, .aim_ns = ONE_WAY_NS},
        {"kin semaphore, try_acquire", .arg = &peer_kin_semaphore, .aim_ns = ONE_WAY_NS},
        {"sem_t, sem_trywait", .arg = &peer_sem},
    };
    struct bench_contest contest = {
        .title = "One way between processes that poll",
        .about =
            "Two of them, one there and one back, 8 bytes beside each; half of the round trip.\n"
            "Both sides ask again and again and never sleep. ratio: to a bare word that both\n"
            "sides look at.",
        .view = BENCH_NS,
        .costs = 1,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    for (int i = 0; i < contest.list_count; i++)
        list[i].run = latency_polling;
    bench_contest(&contest);
}

/* Each way to block has the same contestants, of which those of Python have their own script. */
struct way {
    const char *title, *about;
    void (*run)(const struct bench_contestant *, uint64_t, struct bench_sample *);
    uint64_t number;
    enum bench_view view;
    double aim, aim_ns;
    int with_word; /* also one that can only spin */
    const char *python[3];
};

static void blocking(const struct way *way)
{
    struct bench_contestant list[] = {
        {"two bare futex wakes", .arg = &peer_futex, .reference = 1},
        {"kin event", .arg = &peer_kin_event, .aim = way->aim, .aim_ns = way->aim_ns},
        {"kin semaphore", .arg = &peer_kin_semaphore, .aim = way->aim, .aim_ns = way->aim_ns},
        {"kin condition, with a lock", .arg = &peer_kin_condition, .aim = way->aim},
        {"kin condition, with its own rlock", .arg = &peer_kin_condition_own, .aim = way->aim},
        {"sem_t", .arg = &peer_sem},
        {"pthread condition", .arg = &peer_cond},
        {"Python Event", .run = python_sync, .arg = way->python[0]},
        {"Python Semaphore", .run = python_sync, .arg = way->python[1]},
        {"Python Condition", .run = python_sync, .arg = way->python[2]},
        {"one word, which can only spin", .arg = &peer_word},
    };
    struct bench_contest contest = {.title = way->title,
                                    .about = way->about,
                                    .view = way->view,
                                    .costs = 1,
                                    .list = list,
                                    .list_count = BENCH_COUNT(list) - !way->with_word};
    list[3].aim_ns = list[4].aim_ns = way->aim_ns;
    for (int i = 0; i < contest.list_count; i++) {
        if (list[i].run != NULL)
            continue;
        list[i].run = way->run;
        list[i].number = way->number;
    }
    bench_contest(&contest);
}

static const struct way ways[] = {
    {"Round trip with blocking calls, no pause",
     "Each answers at once, on a processor of its own. kin spins for a moment before it sleeps;\n"
     "the others sleep. ratio: to the first one.",
     latency_blocking, .view = BENCH_NS, .aim_ns = ROUND_TRIP_NS, .with_word = 1,
     .python = {"ping Event", "ping Semaphore", "ping Condition"}},
    {"Round trip between processes that sleep",
     "Before each answer its sender is busy for 60 us, so that the receiver has given up spinning\n"
     "and its processor is idle; that time does not count. Sum of the times from the telling to\n"
     "the return of the wait, of single round trips. ratio: to the first one.",
     latency_sleeping, .view = BENCH_US, .aim = 1.3,
     .python = {"ping-asleep Event", "ping-asleep Semaphore", "ping-asleep Condition"}},
    {"Round trip with blocking calls, on one processor",
     "No processor is idle: what is left is the software. kin lets the other one run before it\n"
     "sleeps. ratio: to the first one.",
     latency_blocking, .number = LATENCY_ON_ONE, .view = BENCH_US, .aim = 1.3,
     .python = {"ping-on-one Event", "ping-on-one Semaphore", "ping-on-one Condition"}},
};

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "how long it takes to tell another process");
    polling();
    for (int i = 0; i < BENCH_COUNT(ways); i++)
        blocking(&ways[i]);
    return 0;
}
