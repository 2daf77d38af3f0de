/* SPDX-License-Identifier: MIT
 * Options, counts, and what to say about a failure. */
#include "harness.h"

#include <dlfcn.h>
#include <errno.h>
#if defined(__GLIBC__)
#include <execinfo.h>
#endif
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILURES_A_SCENARIO 5u
#define POINT_SECONDS       20u

static struct {
    const char *name, *form, *scenario, *only;
    bool exhaustive, fast; /* fast: the first failure ends the program */
    uint32_t stride;
    uint64_t points, states, failures, scenario_points, scenario_states, scenario_failures;
    uint64_t notes;
    bool guarded;
    sigjmp_buf back;
} all;

/* Where we are: for the report. */
static struct {
    const struct kill_world *world;
    const struct kill_victim *victim, *other;
    const char *form;
} here;

bool kill_exhaustive(void)
{
    return all.exhaustive;
}

bool kill_wanted(const char *scenario)
{
    if (all.only != NULL && all.only[0] == '=')
        return strcmp(scenario, all.only + 1) == 0;
    return all.only == NULL || strstr(scenario, all.only) != NULL;
}

uint32_t kill_stride(uint32_t quick)
{
    if (all.stride != 0)
        return all.stride;
    return !all.exhaustive ? quick : quick < 10 ? 1 : quick / 8;
}

void kill_context(const struct kill_world *world, const struct kill_victim *victim)
{
    kill_context_pair(world, victim, NULL, "");
}

void kill_context_pair(const struct kill_world *world, const struct kill_victim *a,
                       const struct kill_victim *b, const char *form)
{
    here.world = world;
    here.victim = a;
    here.other = b;
    here.form = form;
    alarm(POINT_SECONDS);
}

void kill_context_clear(void)
{
    memset(&here, 0, sizeof here);
    alarm(0);
}

/* --- where ------------------------------------------------------------------------------------ */

static void print_place(const char *who, const struct kill_victim *victim)
{
    uint64_t at = victim->ended ? 0 : kill_victim_at(victim);
    printf("#   %s: step %llu", who, (unsigned long long)victim->steps);
    Dl_info info;
    /* victims are forks of this process: the same code at the same addresses */
    if (at != 0 && dladdr((void *)(uintptr_t)at, &info) != 0 && info.dli_fname != NULL) {
        char command[256], line[256];
        snprintf(command, sizeof command, "addr2line -f -s -e /proc/%d/exe 0x%llx 2>/dev/null",
                 (int)getpid(), (unsigned long long)(at - (uintptr_t)info.dli_fbase));
        FILE *f = NULL;
        Dl_info own;
        if (dladdr((void *)(uintptr_t)print_place, &own) != 0 && own.dli_fbase == info.dli_fbase)
            f = popen(command, "re");
        printf(" before");
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            printf(" %.*s", (int)strcspn(line, "\n"), line);
        if (f != NULL)
            pclose(f);
        else
            printf(" %s in %s", info.dli_sname ? info.dli_sname : "?", info.dli_fname);
    }
    printf("%s%s\n", victim->done ? ", operation returned" : "",
           victim->ended ? ", process ended" : "");
}

static void print_context(void)
{
    if (here.victim != NULL)
        print_place(here.other ? "first" : "victim", here.victim);
    if (here.other != NULL)
        print_place("second", here.other);
    if (here.form != NULL && here.form[0] != '\0')
        printf("#   %s\n", here.form);
}

/* --- failures --------------------------------------------------------------------------------- */

static void count_failure(void)
{
    all.failures++;
    all.scenario_failures++;
    print_context();
    fflush(stdout);
    if (all.fast) {
        printf("%s: stopped at the first failure\n", all.name);
        fflush(stdout);
        _exit(1);
    }
}

void kill_fail(const char *format, ...)
{
    va_list args;
    printf("# FAIL %s / %s: ", all.form, all.scenario);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    count_failure();
    if (!all.guarded)
        exit(1);
    siglongjmp(all.back, 1);
}

void kill_broken(const char *format, ...)
{
    va_list args;
    printf("# the harness cannot work: ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf(" (%s / %s)\n", all.form ? all.form : "", all.scenario ? all.scenario : "");
    print_context();
    fflush(stdout);
    _exit(1);
}

void kill_note(const char *format, ...)
{
    va_list args;
    if (all.notes++ > 20)
        return;
    printf("# note, %s: ", all.scenario);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

bool kill_guarded(void (*fn)(void *arg), void *arg)
{
    if (sigsetjmp(all.back, 0) != 0) {
        all.guarded = false;
        return false;
    }
    all.guarded = true;
    fn(arg);
    all.guarded = false;
    return true;
}

/* Where the survivor is: names of functions come with addr2line -f -e PROGRAM OFFSET. */
static void print_stack(void)
{
#if defined(__GLIBC__)
    void *frames[24];
    int count = backtrace(frames, 24);
    fflush(stdout);
    backtrace_symbols_fd(frames, count, 1);
#endif
}

/* The repair hangs or crashes: nothing can go on after that. */
static void on_signal(int signal)
{
    printf("# FAIL %s / %s: %s\n", all.form, all.scenario,
           signal == SIGALRM ? "nothing moves any more" : "a crash in the survivor");
    print_context();
    print_stack();
    printf("%s: given up\n", all.name);
    fflush(stdout);
    _exit(1);
}

/* --- beginning and end ------------------------------------------------------------------------ */

/* One processor for harness and victims: they only ever run in turn. */
static void pin(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    sched_setaffinity(0, sizeof set, &set);
}

/* glibc copies a large block with one instruction that traps at every byte. Where that can be
 * changed, begin again with it changed. */
static void copy_in_large_steps(char **argv)
{
    if (getenv("GLIBC_TUNABLES") != NULL)
        return;
    setenv("GLIBC_TUNABLES",
           "glibc.cpu.x86_rep_movsb_threshold=0x40000000:"
           "glibc.cpu.x86_rep_stosb_threshold=0x40000000",
           1);
    setenv("LD_BIND_NOW", "1", 1); /* nothing of the linker in the operations */
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return;
    path[n] = '\0';
    execv(path, argv);
}

/* Some containers forbid it. */
static void need_ptrace(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
            raise(SIGSTOP);
        _exit(0);
    }
    waitpid(pid, &status, __WALL);
    if (WIFSTOPPED(status)) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, __WALL);
        return;
    }
    printf("%s: skipped, this machine does not let us trace processes\n", all.name);
    exit(77);
}

static void usage(const char *program)
{
    printf("usage: %s [--exhaustive] [--stride N] [--only PART | --only =SCENARIO] [--fail-fast]\n",
           program);
    exit(2);
}

void kill_begin(int argc, char **argv, const char *name)
{
    all.name = name;
    copy_in_large_steps(argv);
    all.exhaustive = getenv("KIN_EXHAUSTIVE") != NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--exhaustive") == 0)
            all.exhaustive = true;
        else if (strcmp(argv[i], "--fail-fast") == 0)
            all.fast = true;
        else if (strcmp(argv[i], "--stride") == 0 && i + 1 < argc)
            all.stride = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            all.only = argv[++i];
        else
            usage(argv[0]);
    }
    need_ptrace();
    setvbuf(stdout, NULL, _IOLBF, 0);
    pin();
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* orphans of victims come to us */
    const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        signal(deadly[i], on_signal);
}

void kill_count(uint64_t points, uint64_t states)
{
    all.scenario_points += points;
    all.scenario_states += states;
}

void kill_scenario_begin(const char *form, const char *name)
{
    all.form = form;
    all.scenario = name;
    all.scenario_points = all.scenario_states = all.scenario_failures = 0;
}

bool kill_scenario_hopeless(void)
{
    return all.scenario_failures >= FAILURES_A_SCENARIO;
}

void kill_scenario_end(void)
{
    kill_context_clear();
    printf("%s %s / %s: %llu kill points, %llu states\n", all.scenario_failures ? "not ok" : "ok",
           all.form, all.scenario, (unsigned long long)all.scenario_points,
           (unsigned long long)all.scenario_states);
    all.points += all.scenario_points;
    all.states += all.scenario_states;
}

int kill_end(void)
{
    printf("%s: %llu kill points, %llu states, %llu failures\n", all.name,
           (unsigned long long)all.points, (unsigned long long)all.states,
           (unsigned long long)all.failures);
    return all.failures != 0 || all.points == 0;
}
