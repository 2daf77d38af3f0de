/* SPDX-License-Identifier: MIT
 * Victims: children that run one operation under ptrace, an instruction at a time. */
#include "harness.h"

#include <elf.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(__x86_64__) && !defined(__aarch64__)
#error "the harness knows the registers of x86-64 and arm64"
#endif

#define STEPS_MOST 20000000ull

/* --- registers -------------------------------------------------------------------------------- */

struct place {
    uint64_t at, number, first, second; /* program counter; system call and two arguments */
};

static bool read_place(pid_t pid, struct place *place)
{
    struct user_regs_struct regs;
    struct iovec io = {&regs, sizeof regs};
    if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &io) < 0)
        return false;
#if defined(__x86_64__)
    *place = (struct place){regs.rip, regs.rax, regs.rdi, regs.rsi};
#else
    *place = (struct place){regs.pc, regs.regs[8], regs.regs[0], regs.regs[1]};
#endif
    return true;
}

/* The code of a victim is ours: it is a fork of this process. */
static bool is_system_call(uint64_t at)
{
#if defined(__x86_64__)
    const unsigned char *code = (const void *)(uintptr_t)at;
    return code[0] == 0x0f && code[1] == 0x05;
#else
    uint32_t code;
    memcpy(&code, (const void *)(uintptr_t)at, sizeof code);
    return code == 0xd4000001u;
#endif
}

uint64_t kill_victim_at(const struct kill_victim *victim)
{
    struct place place;
    return read_place(victim->pid, &place) ? place.at : 0;
}

/* Whether its next instruction would put it to sleep. */
static bool about_to_sleep(const struct kill_victim *victim)
{
    struct place place;
    if (!read_place(victim->pid, &place))
        kill_broken("the registers of the victim cannot be read");
    if (place.at == 0 || !is_system_call(place.at) || place.number != SYS_futex)
        return false;
    uint64_t op = place.second & 0x7f;
    if (op != FUTEX_WAIT && op != FUTEX_WAIT_BITSET)
        return false;
    return true;
}

/* --- the child's side ------------------------------------------------------------------------- */

static void stop_self(void)
{
    syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
}

static void be_traced(void)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(77);
    stop_self();
}

static _Noreturn void run_operation(struct kill_world *world, uint32_t who)
{
    struct kill_actor *me = &world->page->actors[who];
    if (world->scenario->puts[who] != 0)
        kill_message_make(me->buffer, world->scenario->bytes, world->scenario->puts[who]);
    stop_self();
    me->phase = KILL_RUNNING;
    int64_t result = world->scenario->operate[who](world, who);
    me->result = result;
    me->phase = KILL_DONE;
    stop_self();
    _exit(0);
}

static void warm_up(struct kill_world *world, uint32_t who)
{
    if (world->scenario->warm != NULL)
        world->scenario->warm(world, who);
    else if (kini_enter(world->live) == NULL)
        _exit(3);
    world->page->actors[who].phase = KILL_READY;
}

static _Noreturn void run_template(struct kill_world *world, uint32_t who)
{
    struct kill_actor *me = &world->page->actors[who];
    kini_a64 *guard = world->live->guard; /* reads 0 in the clone, which is not a new participant */
    uint64_t cookie = kini_load(guard);
    for (;;) {
        stop_self();
        long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) {
            kini_store(guard, cookie);
            be_traced();
            run_operation(world, who);
        }
        me->clone_pid = (int32_t)pid;
    }
}

/* --- the harness's side ----------------------------------------------------------------------- */

/* Wait for the next stop: the signal, or 0 when the process has ended. */
static int wait_stop(struct kill_victim *victim, int *ret_event)
{
    int status;
    pid_t r;
    do
        r = waitpid(victim->pid, &status, __WALL);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        kill_broken("waiting for a victim failed (%d)", errno);
    if (!WIFSTOPPED(status)) {
        victim->ended = true;
        return 0;
    }
    *ret_event = status >> 16;
    return WSTOPSIG(status);
}

static void expect_stop(struct kill_victim *victim)
{
    int event = 0, signal;
    while ((signal = wait_stop(victim, &event)) != SIGSTOP) {
        if (signal == 0)
            kill_broken("a victim ended before its operation");
        if (ptrace(PTRACE_CONT, victim->pid, NULL, (void *)(long)signal) < 0)
            kill_broken("a victim cannot be continued");
    }
}

static void go_on(struct kill_victim *victim)
{
    if (ptrace(PTRACE_CONT, victim->pid, NULL, NULL) < 0)
        kill_broken("a victim cannot be continued");
}

static void be_tracer(struct kill_victim *victim, bool forks)
{
    expect_stop(victim);
    long options = PTRACE_O_EXITKILL | (forks ? PTRACE_O_TRACEFORK : 0);
    if (ptrace(PTRACE_SETOPTIONS, victim->pid, NULL, (void *)options) < 0)
        kill_broken("a victim cannot be traced");
}

static void start(struct kill_world *world, struct kill_victim *victim, uint32_t who, bool template)
{
    *victim = (struct kill_victim){.who = who};
    world->page->actors[who].phase = KILL_STARTING;
    fflush(NULL);
    victim->pid = fork();
    if (victim->pid < 0)
        kill_broken("fork failed");
    if (victim->pid == 0) {
        be_traced();
        warm_up(world, who);
        if (template)
            run_template(world, who);
        run_operation(world, who);
    }
    be_tracer(victim, world->scenario->flags & KILL_FORKS);
    go_on(victim);
    expect_stop(victim);
    if (world->page->actors[who].phase != KILL_READY)
        kill_broken("a victim is not ready");
    victim->slot = kill_slot_of(world->live, victim->pid);
    if (victim->slot == 0)
        kill_broken("a victim is not a participant");
}

void kill_victim_start(struct kill_world *world, struct kill_victim *victim, uint32_t who)
{
    start(world, victim, who, false);
}

void kill_template_start(struct kill_world *world, struct kill_victim *victim, uint32_t who)
{
    start(world, victim, who, true);
}

void kill_template_clone(struct kill_world *world, const struct kill_victim *of,
                         struct kill_victim *ret_clone)
{
    struct kill_actor *actor = &world->page->actors[of->who];
    struct kill_victim template = *of;
    actor->clone_pid = 0;
    actor->phase = KILL_READY;
    go_on(&template);
    expect_stop(&template);
    if (actor->clone_pid <= 0)
        kill_broken("a victim cannot be cloned");
    *ret_clone = (struct kill_victim){.pid = actor->clone_pid, .slot = of->slot, .who = of->who};
    be_tracer(ret_clone, false);
    go_on(ret_clone);
    expect_stop(ret_clone);
}

static void note_fork(struct kill_victim *victim)
{
    unsigned long pid = 0;
    ptrace(PTRACE_GETEVENTMSG, victim->pid, NULL, &pid);
    victim->child = (pid_t)pid;
    int status;
    if (waitpid(victim->child, &status, __WALL) != victim->child || !WIFSTOPPED(status))
        kill_broken("the child of a victim did not stop at birth");
}

/* One instruction, whatever signals come in between. */
static void single_step(struct kill_victim *victim)
{
    long deliver = 0;
    for (;;) {
        if (ptrace(PTRACE_SINGLESTEP, victim->pid, NULL, (void *)deliver) < 0)
            kill_broken("a victim cannot be stepped");
        int event = 0, signal = wait_stop(victim, &event);
        if (signal == 0)
            return;
        if (signal == SIGTRAP && event == PTRACE_EVENT_FORK) {
            note_fork(victim);
            deliver = 0;
        } else if (signal == SIGTRAP) {
            return;
        } else if (signal == SIGCHLD || signal == SIGSTOP) {
            deliver = 0;
        } else {
            kill_fail("the victim got signal %d", signal);
        }
    }
}

void kill_victim_step(struct kill_world *world, struct kill_victim *victim)
{
    const struct kill_actor *actor = &world->page->actors[victim->who];
    if (victim->done || victim->ended)
        return;
    bool running = actor->phase == KILL_RUNNING;
    victim->blocked = false;
    if (running && !victim->may_sleep && about_to_sleep(victim)) {
        victim->sleeps++;
        if (world->scenario->sleeps == NULL ||
            !world->scenario->sleeps(world, victim->sleeps)) {
            victim->blocked = true;
            return;
        }
    }
    do
        single_step(victim);
    while (!victim->ended && actor->phase == KILL_READY); /* still on its way into the operation */
    victim->steps++;
    victim->done = actor->phase == KILL_DONE;
    if (victim->steps > STEPS_MOST)
        kill_fail("the operation does not end");
}

void kill_victim_finish(struct kill_world *world, struct kill_victim *victim)
{
    if (world->scenario->flags & KILL_LOCKS) {
        while (!victim->done && !victim->blocked && !victim->ended)
            kill_victim_step(world, victim);
        return;
    }
    if (victim->done || victim->ended)
        return;
    go_on(victim);
    int event = 0, signal = wait_stop(victim, &event);
    if (signal != SIGSTOP)
        kill_fail("the other one got signal %d instead of finishing", signal);
    victim->done = world->page->actors[victim->who].phase == KILL_DONE;
    victim->steps++;
}

void kill_victim_park(struct kill_world *world, struct kill_victim *victim)
{
    while (!victim->blocked) {
        kill_victim_step(world, victim);
        if (victim->done || victim->ended)
            kill_broken("a waiter did not wait");
    }
}

static void end_process(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
        kill(pid, SIGKILL);
}

void kill_victim_end(struct kill_victim *victim)
{
    if (victim->child != 0)
        end_process(victim->child);
    victim->child = 0;
    if (!victim->ended)
        end_process(victim->pid);
    victim->ended = true;
}
