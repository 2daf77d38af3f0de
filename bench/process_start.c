/* SPDX-License-Identifier: MIT
 * Start and end of a process: kin's against the bare calls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kin/kin.h>

#include "lib/bench.h"
#include "lib/stage.h"

/* No arena exists, so that no handler of kin's runs in the fork. */
static void run_bare(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    (void)self;
    fflush(stdout);
    int64_t start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        bench_must_sys(pid, "fork");
        bench_must_sys(waitpid(pid, &status, 0), "waitpid");
    }
    ret->seconds = (double)(bench_now_ns() - start) * 1e-9;
}

static int nothing(struct kin_arena *arena, void *arg)
{
    (void)arena;
    (void)arg;
    return 0;
}

static void run_kin(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    (void)self;
    struct kin_arena *arena;
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    int64_t start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        struct kin_process *process;
        int exitcode;
        bench_must(kin_process_start(arena, nothing, NULL, NULL, &process), "kin_process_start");
        bench_must(kin_process_join(process, KIN_NEVER), "kin_process_join");
        bench_must(kin_process_exitcode(process, &exitcode), "kin_process_exitcode");
        if (exitcode != 0)
            bench_die("exit status %d", exitcode);
        kin_process_close(process);
    }
    ret->seconds = (double)(bench_now_ns() - start) * 1e-9;
    kin_arena_detach(arena);
}

static void start(const char *title)
{
    struct bench_contestant list[] = {
        {"fork, _exit, waitpid", .run = run_bare, .reference = 1},
        {"kin_process_start, join, close", .run = run_kin, .aim = 1.5},
    };
    struct bench_contest contest = {
        .title = title,
        .about =
            "A child that does nothing, one after another. kin's is a member of an arena, from\n"
            "before it exists until it has left. ratio: to the bare calls.",
        .view = BENCH_US,
        .costs = 1,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    bench_contest(&contest);
}

int main(int argc, char **argv)
{
    const uint64_t bytes = 200 << 20;
    bench_begin(argc, argv, "start and end of a process");
    start("Start and join a process");
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        bench_die("no memory");
    madvise(memory, bytes, MADV_NOHUGEPAGE); /* so that it does not depend on the machine's luck */
    memset(memory, 1, bytes);
    start("The same with a parent of 200 MB, all touched, in small pages");
    munmap(memory, bytes);
    return 0;
}
