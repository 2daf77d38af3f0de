/* SPDX-License-Identifier: MIT
 * The name of an arena: one process opens or leaves it, another one opens it; each is stopped at
 * any system call (a name is nothing but what the kernel holds), one of them is killed in earnest,
 * the other goes on. Whoever lives is in the arena of the name, and nothing is left at the end.
 * --stride N: every Nth pair of stops; --exhaustive (KIN_EXHAUSTIVE=1): all of them. */
#include "arena/arena.h"
#include "base/bits.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

struct page {
    _Atomic int done[2], result[2];
    _Atomic uint64_t uuid[2];
};
static struct page *page;
static char name[32];
static uint64_t points, failures;
static uint32_t stride = 17;

static const struct kin_arena_opts opts = {.reserve_bytes = 64ull << 20};

enum fate { FIRST_DIES, SECOND_DIES, NOBODY_DIES };
static const char *const fates[] = {"the first is killed", "the second is killed",
                                    "nobody is killed"};

struct victim {
    pid_t pid;
    uint32_t who;
    bool ended, done;
};

struct pair {
    const char *what;
    bool leaves; /* the first one is in the arena and leaves it; else it opens */
    uint32_t i, j;
    enum fate fate;
};

static void fail(const struct pair *pair, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "# FAIL %s, stops %u and %u, %s: ", pair->what, pair->i, pair->j,
            fates[pair->fate]);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    failures++;
}

/* --- victims ---------------------------------------------------------------------------------- */

static _Noreturn void run(uint32_t who, bool leaves)
{
    struct kin_arena *arena = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to outlive the test */
    int r = leaves ? kin_arena_open(name, &opts, &arena) : 0;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 || r < 0)
        _exit(77);
    kill(getpid(), SIGSTOP);
    if (leaves)
        kin_arena_detach(arena);
    else if ((r = kin_arena_open(name, &opts, &arena)) == 0)
        page->uuid[who] = arena->super->uuid[0];
    else
        fprintf(stderr, "# %s\n", kin_error_text());
    page->result[who] = r;
    page->done[who] = 1;
    for (;;)
        pause();
}

static struct victim start(uint32_t who, bool leaves)
{
    int status = 0;
    struct victim victim = {.who = who, .pid = fork()};
    if (victim.pid == 0)
        run(who, leaves);
    if (victim.pid < 0 || waitpid(victim.pid, &status, 0) != victim.pid || !WIFSTOPPED(status))
        exit(WIFEXITED(status) && WEXITSTATUS(status) == 77 ? 77 : 2);
    return victim;
}

/* Looking whether somebody sits on each of a thousand seats: one is like the other. */
static bool is_dull(pid_t pid)
{
    struct user_regs_struct regs;
    struct iovec io = {&regs, sizeof regs};
    if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &io) < 0)
        return true;
#if defined(__x86_64__)
    return regs.orig_rax == SYS_connect;
#else
    return regs.regs[8] == SYS_connect;
#endif
}

/* Over so many beginnings and ends of system calls. False: it was done before. */
static bool step(struct victim *victim, uint32_t stops)
{
    while (stops > 0) {
        int status;
        if (page->done[victim->who])
            return false;
        if (ptrace(PTRACE_SYSCALL, victim->pid, NULL, NULL) < 0 ||
            waitpid(victim->pid, &status, 0) != victim->pid || !WIFSTOPPED(status))
            exit(2);
        stops -= !is_dull(victim->pid);
    }
    return true;
}

static void go_on(struct victim *victim)
{
    ptrace(PTRACE_DETACH, victim->pid, NULL, NULL);
    while (!page->done[victim->who])
        usleep(200);
}

static void end(struct victim *victim)
{
    int status;
    kill(victim->pid, SIGKILL);
    while (waitpid(victim->pid, &status, 0) == victim->pid && WIFSTOPPED(status))
        ;
    victim->ended = true;
}

/* --- what must hold --------------------------------------------------------------------------- */

/* Somebody else meets those who live. */
static void check_arena(const struct pair *pair, const struct victim *victims)
{
    struct kin_arena *arena = NULL;
    int r = kin_arena_find(name, NULL, &arena);
    bool anybody = false;
    for (uint32_t who = 0; who < 2; who++) {
        if (victims[who].ended || (who == 0 && pair->leaves))
            continue;
        anybody = true;
        if (page->result[who] < 0)
            fail(pair, "%u is answered %d", who, page->result[who]);
        else if (r == 0 && arena->super->uuid[0] != page->uuid[who])
            fail(pair, "%u is in another arena of that name", who);
    }
    if (r != (anybody ? 0 : -ENOENT))
        fail(pair, "the name answers %d: %s", r, kin_error_text());
    if (r == 0)
        kin_arena_detach(arena);
}

static void run_pair(const struct pair *pair)
{
    memset(page, 0, sizeof *page);
    struct victim victims[2] = {start(0, pair->leaves), start(1, false)};
    step(&victims[0], pair->i);
    step(&victims[1], pair->j);
    if (pair->fate == FIRST_DIES)
        end(&victims[0]);
    if (pair->fate == SECOND_DIES)
        end(&victims[1]);
    for (uint32_t who = 0; who < 2; who++)
        if (!victims[who].ended)
            ptrace(PTRACE_DETACH, victims[who].pid, NULL, NULL);
    for (uint32_t who = 0; who < 2; who++)
        if (!victims[who].ended)
            go_on(&victims[who]);
    check_arena(pair, victims);
    for (uint32_t who = 0; who < 2; who++)
        if (!victims[who].ended)
            end(&victims[who]);
    struct kin_arena *arena = NULL;
    int r = kin_arena_find(name, NULL, &arena);
    if (r != -ENOENT)
        fail(pair, "all are dead, and the name answers %d: %s", r, kin_error_text());
    if (r == 0)
        kin_arena_detach(arena);
    points++;
}

/* How many stops it has: alone, or beside one that is there already. */
static uint32_t count_stops(bool leaves)
{
    memset(page, 0, sizeof *page);
    struct victim victim = start(0, leaves);
    uint32_t stops = 0;
    while (step(&victim, 1))
        stops++;
    end(&victim);
    return stops;
}

static void run_pairs(const char *what, bool leaves)
{
    struct pair pair = {.what = what, .leaves = leaves};
    const uint32_t first = count_stops(leaves), second = count_stops(false);
    const uint64_t before = points, failed = failures;
    uint32_t at = 0;
    for (pair.i = 0; pair.i <= first && failures < failed + 5; pair.i++)
        for (pair.j = 0; pair.j <= second; pair.j++, at++)
            for (uint32_t fate = 0; fate < 3; fate++) {
                pair.fate = (enum fate)fate;
                if (stride == 1 || (at % stride == 0 && at / stride % 3 == fate))
                    run_pair(&pair);
            }
    printf("%s two at once / %s: %" PRIu64 " kill points, %u and %u stops\n",
           failures == failed ? "ok" : "not ok", what, points - before, first, second);
}

int main(int argc, char **argv)
{
    const char *all = getenv("KIN_EXHAUSTIVE");
    if (all != NULL && strcmp(all, "1") == 0)
        stride = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--exhaustive") == 0)
            stride = 1;
        else if (strcmp(argv[i], "--stride") == 0 && i + 1 < argc)
            stride = (uint32_t)kini_max((uint64_t)atoi(argv[++i]), 1);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 2;
    snprintf(name, sizeof name, "kill_names.%d", (int)getpid());
    run_pairs("open and open", false);
    run_pairs("leave and open", true);
    printf("kill_names: %" PRIu64 " kill points, %" PRIu64 " failures\n", points, failures);
    return failures != 0;
}
