/* SPDX-License-Identifier: MIT
 * What it costs to wait for a lock, and how long it takes to get it from a dead process. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kin/kin.h>

#include "death_runs.h"
#include "lib/bench.h"

#define WAITERS_MOST 100
#define SETTLE_NS    500000000 /* until all have given up spinning */
#define IDLE_SECONDS 2.0
#define IDLE_ROUNDS  3
#define BARE_MS      25 /* as often as kin looks when there are few */
#define IDLE_PERCENT 0.1
#define LONG_SETTLE  4 /* seconds, until those have a bed who want one */
#define ROUNDS       200
#define LONG_ROUNDS  40
#define LONG_MS      10
#define UNWATCHED_MS 50
#define WATCHED_MS   2

static void nap(double seconds)
{
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

/* --- idle waiters --------------------------------------------------------------------------- */

static int wait_and_go(struct kin_arena *arena, void *arg)
{
    (void)arena;
    bench_must(kin_lock_acquire(arg, KIN_NEVER), "kin_lock_acquire");
    return kin_lock_release(arg) != 0;
}

/* Processor time that the process has used so far. The clock of a process counts nanoseconds;
 * utime and stime count ticks, which is too coarse. */
static double cpu_seconds(pid_t pid)
{
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        bench_die("no processor clock of process %d", (int)pid);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double cpu_of_all(struct kin_process **waiters, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += cpu_seconds(kin_process_pid(waiters[i]));
    return sum;
}

static double idle_seconds(void)
{
    return bench_options.quick ? 1 : IDLE_SECONDS;
}

/* What a machine takes for a process that does nothing but wake. */
static double idle_bare(void)
{
    fflush(stdout);
    pid_t pid = fork();
    bench_must_sys(pid, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            nap(BARE_MS * 1e-3);
    }
    nap(SETTLE_NS * 1e-9);
    double before = cpu_seconds(pid);
    int64_t start = bench_now_ns();
    nap(idle_seconds());
    double used = cpu_seconds(pid) - before;
    double percent = 100 * used / ((double)(bench_now_ns() - start) * 1e-9);
    kill(pid, SIGKILL);
    bench_must_sys(waitpid(pid, NULL, 0), "waitpid");
    return percent;
}

static double idle(int count, bool is_long)
{
    struct kin_process *waiters[WAITERS_MOST];
    struct kin_arena *arena;
    struct kin_lock *lock;
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_lock_create(arena, NULL, &lock), "kin_lock_create");
    bench_must(kin_lock_acquire(lock, KIN_NEVER), "kin_lock_acquire");
    for (int i = 0; i < count; i++)
        bench_must(kin_process_start(arena, wait_and_go, lock, NULL, &waiters[i]),
                   "kin_process_start");
    while (kin_lock_waiting(lock) < count)
        nap(0.001);
    nap(is_long ? LONG_SETTLE : SETTLE_NS * 1e-9);
    double before = cpu_of_all(waiters, count);
    int64_t start = bench_now_ns();
    nap(idle_seconds());
    double used = cpu_of_all(waiters, count) - before;
    double percent = 100 * used / ((double)(bench_now_ns() - start) * 1e-9);
    bench_must(kin_lock_release(lock), "kin_lock_release");
    for (int i = 0; i < count; i++) {
        bench_must(kin_process_join(waiters[i], KIN_NEVER), "kin_process_join");
        kin_process_close(waiters[i]);
    }
    kin_lock_destroy(lock);
    kin_arena_detach(arena);
    return percent;
}

static void all_idle(void)
{
    static const int counts[] = {0, 1, 10, WAITERS_MOST, 1, 10, WAITERS_MOST}; /* 0: the bare one */
    const int first_long = 4;
    double percents[BENCH_COUNT(counts)][IDLE_ROUNDS];
    int rounds = bench_options.quick ? 1 : IDLE_ROUNDS;
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < BENCH_COUNT(counts); i++)
            percents[i][round] = counts[i] == 0 ? idle_bare() : idle(counts[i], i >= first_long);
    bench_print_title(
        "Processes that wait for a lock which nobody gives back",
        "Processor time of all of them together, in percent of one processor: what it\n"
        "costs to look after the dead. Beside it a process that only wakes as often.");
    printf("%-44s %9s %9s %9s  asked\n", "percent", "median", "lowest", "highest");
    for (int i = 0; i < BENCH_COUNT(counts); i++) {
        char name[64] = "nanosleep of 25 ms, again and again";
        if (counts[i] != 0)
            snprintf(name, sizeof name, "%d process%s in kin_lock_acquire%s", counts[i],
                     counts[i] == 1 ? "" : "es", i < first_long ? "" : ", since 4 s");
        bench_sort(percents[i], (uint64_t)rounds);
        printf("%-44s %9.4f %9.4f %9.4f", name, percents[i][rounds / 2], percents[i][0],
               percents[i][rounds - 1]);
        if (counts[i] != 0)
            bench_print_aim(percents[i][rounds / 2], IDLE_PERCENT, 1, " %");
        putchar('\n');
    }
}

/* --- the holder is killed ------------------------------------------------------------------- */

static const struct {
    const char *name;
    double p99_ms; /* asked; 0: nothing */
} ways[DEATH_WAYS] = {
    [DEATH_KIN] = {"kin lock, only the waiter is there", UNWATCHED_MS},
    [DEATH_KIN_FEW] = {"kin lock, the first of 2 waiters dies", UNWATCHED_MS},
    [DEATH_KIN_MANY] = {"kin lock, the first of 8 waiters dies", UNWATCHED_MS},
    [DEATH_KIN_WATCHED] = {"kin lock, the parent joins the holder", WATCHED_MS},
    [DEATH_KIN_LONG] = {"the same, after a second: only the waiter", LONG_MS},
    [DEATH_KIN_FEW_LONG] = {"the same, after a second: 2 waiters", LONG_MS},
    [DEATH_KIN_MANY_LONG] = {"the same, after a second: 8 waiters", LONG_MS},
    [DEATH_ROBUST] = {"pthread mutex, robust", 0},
};

static int wanted(const char *name)
{
    return bench_options.match == NULL || strstr(name, bench_options.match) != NULL;
}

/* Where they have waited long, a round takes long. */
static uint64_t rounds_of(int way)
{
    bool is_long = way == DEATH_KIN_LONG || way == DEATH_KIN_FEW_LONG || way == DEATH_KIN_MANY_LONG;
    uint64_t rounds = is_long ? LONG_ROUNDS : ROUNDS;
    return bench_options.quick ? rounds / 10 : rounds;
}

static void deaths(void)
{
    static double ms[DEATH_WAYS][ROUNDS];
    uint64_t rounds = bench_options.quick ? ROUNDS / 10 : ROUNDS;
    struct bench_others others;
    death_begin(); /* before there is an arena */
    bench_others_begin(&others);
    for (uint64_t round = 0; round < rounds; round++)
        for (int way = 0; way < DEATH_WAYS; way++)
            if (wanted(ways[way].name) && round < rounds_of(way))
                ms[way][round] = 1e3 * death_round((enum death_way)way);
    bench_print_title(
        "From the death of a holder to the next one",
        "SIGKILL, sent by a process that has nothing to do with it, at a random\n"
        "moment while other processes wait for the lock: until one of them has it and\n"
        "has been told. The first of several waiters: a holder released the lock to it\n"
        "before. After a second: the waiters have their beds. The kernel wakes the waiter of a "
        "robust mutex, and of that mutex alone,\n"
        "and knows nothing else to repair.");
    printf("%-42s %9s %9s %9s  p99 asked (%llu rounds)\n", "ms", "p50", "p99", "highest",
           (unsigned long long)rounds);
    for (int way = 0; way < DEATH_WAYS; way++) {
        if (!wanted(ways[way].name))
            continue;
        const uint64_t count = rounds_of(way);
        bench_sort(ms[way], count);
        printf("%-42s", ways[way].name);
        bench_print_number(ms[way][count / 2]);
        bench_print_number(ms[way][count * 99 / 100]);
        bench_print_number(ms[way][count - 1]);
        if (ways[way].p99_ms > 0)
            bench_print_aim(ms[way][count * 99 / 100], ways[way].p99_ms, 1, " ms");
        putchar('\n');
    }
    death_end();
    bench_others_print(&others);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "idle waiters, and a holder that dies");
    if (bench_options.match == NULL || strcmp(bench_options.match, "idle") != 0)
        deaths();
    if (bench_options.match == NULL || strcmp(bench_options.match, "idle") == 0)
        all_idle();
    return 0;
}
