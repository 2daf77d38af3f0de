/* SPDX-License-Identifier: MIT
 * Processes side by side. Every contestant gets them in this way: plain fork. */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/bench.h"
#include "lib/stage.h"

#define LONGEST_SECONDS 120 /* a part that hangs is killed */

void *stage_memory(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        bench_die("no shared memory of %llu bytes", (unsigned long long)bytes);
    return memory;
}

void stage_memory_free(void *memory, uint64_t bytes)
{
    munmap(memory, bytes);
}

void stage_pin(int index)
{
    cpu_set_t mine, one;
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof mine, &mine) < 0 || CPU_COUNT(&mine) == 0)
        return;
    int wanted = index % CPU_COUNT(&mine);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &mine) || wanted-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        return;
    }
}

_Noreturn static void play(struct stage *stage, int index, stage_fn fn, void *arg, int together)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(LONGEST_SECONDS);
    if (bench_options.pin || together)
        stage_pin(together ? 0 : index);
    fn(stage, index, arg);
    _exit(0);
}

static struct stage *start(int count, stage_fn fn, void *arg, int together, pid_t *pids)
{
    struct stage *stage = stage_memory(sizeof *stage);
    stage->count = count;
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        pids[i] = fork();
        bench_must_sys(pids[i], "fork");
        if (pids[i] == 0)
            play(stage, i, fn, arg, together);
    }
    return stage;
}

static struct stage *run(int count, stage_fn fn, void *arg, int together)
{
    pid_t pids[STAGE_MOST];
    struct stage *stage = start(count, fn, arg, together, pids);
    for (int i = 0; i < count; i++) {
        int status;
        bench_must_sys(waitpid(pids[i], &status, 0), "waitpid");
        if (status != 0)
            bench_die("process %d of %d failed (status %#x)", i, count, (unsigned)status);
    }
    return stage;
}

struct stage *stage_run(int count, stage_fn fn, void *arg)
{
    return run(count, fn, arg, 0);
}

struct stage *stage_run_together(int count, stage_fn fn, void *arg)
{
    return run(count, fn, arg, 1);
}

static uint64_t done_by_all(const struct stage *stage)
{
    uint64_t sum = 0;
    for (int i = 0; i < stage->count; i++)
        sum += atomic_load_explicit(&stage->places[i].done, memory_order_relaxed);
    return sum;
}

static void let_pass(double seconds)
{
    int64_t ns = (int64_t)(seconds * 1e9);
    struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (nanosleep(&time, &time) < 0)
        ;
}

/* Still running when it is killed: whoever ended earlier has failed, and said why. */
static void kill_all(const pid_t *pids, int count)
{
    int failed = 0;
    for (int i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
    for (int i = 0; i < count; i++) {
        int status;
        bench_must_sys(waitpid(pids[i], &status, 0), "waitpid");
        failed |= !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
    }
    if (failed)
        bench_die("a process ended before its time");
}

double stage_run_window(int count, stage_fn fn, void *arg, double warm_up, double seconds)
{
    pid_t pids[STAGE_MOST];
    struct stage *stage = start(count, fn, arg, 0, pids);
    let_pass(warm_up);
    int64_t begin_ns = bench_now_ns();
    uint64_t before = done_by_all(stage);
    let_pass(seconds);
    double rate = (double)(done_by_all(stage) - before) * 1e9 / (double)(bench_now_ns() - begin_ns);
    kill_all(pids, count);
    stage_free(stage);
    return rate;
}

void stage_go(struct stage *stage, int index)
{
    atomic_fetch_add(&stage->ready, 1);
    while (atomic_load(&stage->ready) < stage->count)
        sched_yield();
    stage->places[index].begin_ns = bench_now_ns();
}

void stage_done(struct stage *stage, int index)
{
    stage->places[index].end_ns = bench_now_ns();
}

void stage_end(struct stage *stage)
{
    atomic_fetch_add(&stage->ended, 1);
    while (atomic_load(&stage->ended) < stage->count)
        usleep(100);
}

double stage_seconds(const struct stage *stage)
{
    int64_t begin = stage->places[0].begin_ns, end = stage->places[0].end_ns;
    for (int i = 1; i < stage->count; i++) {
        begin = stage->places[i].begin_ns < begin ? stage->places[i].begin_ns : begin;
        end = stage->places[i].end_ns > end ? stage->places[i].end_ns : end;
    }
    return (double)(end - begin) * 1e-9;
}

void stage_free(struct stage *stage)
{
    stage_memory_free(stage, sizeof *stage);
}
