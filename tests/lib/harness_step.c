/* SPDX-License-Identifier: MIT
 * Victims: children that run one operation under ptrace, an instruction at a time. */
#include "base/bits.h"
#include "harness.h"

#include <elf.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
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
    uint64_t at, number; /* program counter, system call */
    uint64_t arguments[4];
};

static bool read_registers(pid_t pid, struct user_regs_struct *regs)
{
    struct iovec io = {regs, sizeof *regs};
    return ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &io) == 0;
}

static void write_registers(pid_t pid, struct user_regs_struct *regs)
{
    struct iovec io = {regs, sizeof *regs};
    if (ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &io) < 0)
        kill_broken("the registers of a victim cannot be set");
}

static bool read_place(pid_t pid, struct place *place)
{
    struct user_regs_struct regs;
    if (!read_registers(pid, &regs))
        return false;
#if defined(__x86_64__)
    *place = (struct place){regs.rip, regs.rax, {regs.rdi, regs.rsi, regs.rdx, regs.r10}};
#else
    *place = (struct place){
        regs.pc, regs.regs[8], {regs.regs[0], regs.regs[1], regs.regs[2], regs.regs[3]}};
#endif
    return true;
}

/* As if the victim were about to make a clone that is a sister of its own. */
static void aim_at_clone(struct user_regs_struct *regs, uint64_t call_at)
{
    const uint64_t flags = CLONE_PARENT | SIGCHLD;
#if defined(__x86_64__)
    regs->rip = call_at;
    regs->rax = SYS_clone;
    regs->orig_rax = ~0ull;
    regs->rdi = flags;
    regs->rsi = regs->rdx = regs->r10 = regs->r8 = 0;
#else
    regs->pc = call_at;
    regs->regs[8] = SYS_clone;
    regs->regs[0] = flags;
    regs->regs[1] = regs->regs[2] = regs->regs[3] = regs->regs[4] = 0;
#endif
}

#if defined(__x86_64__)
#define CODE_ALIGNMENT 1
#else
#define CODE_ALIGNMENT 4
#endif

/* The code of a victim is ours: it is a fork of this process. */
bool kill_is_system_call(uint64_t at)
{
    if (at == 0)
        return false;
#if defined(__x86_64__)
    const unsigned char *code = (const void *)(uintptr_t)at;
    return code[0] == 0x0f && code[1] == 0x05;
#else
    uint32_t code;
    memcpy(&code, (const void *)(uintptr_t)at, sizeof code);
    return code == 0xd4000001u;
#endif
}

uint64_t kill_victim_hash(const struct kill_victim *victim)
{
    struct user_regs_struct regs;
    uint64_t words[sizeof regs / 8 + 1] = {0}, hash = 0;
    if (!read_registers(victim->pid, &regs))
        kill_broken("the registers of the victim cannot be read");
    memcpy(words, &regs, sizeof regs);
    for (size_t i = 0; i < sizeof regs / 8; i++)
        hash = kini_mix(hash ^ words[i]);
    return hash;
}

uint64_t kill_victim_at(const struct kill_victim *victim)
{
    struct place place;
    return read_place(victim->pid, &place) ? place.at : 0;
}

/* Whether it waits until a moment long ago (kill_at_once): not at all. The end of a slice is none:
 * how late it is depends on how slow the harness is. */
static bool is_over(const struct kill_victim *victim, uint64_t deadline_at)
{
    errno = 0;
    long seconds = deadline_at == 0
                       ? 1
                       : ptrace(PTRACE_PEEKDATA, victim->pid, (void *)(uintptr_t)deadline_at, NULL);
    return errno == 0 && seconds == 0;
}

bool kill_victim_would_sleep(const struct kill_victim *victim)
{
    struct place place;
    if (!read_place(victim->pid, &place))
        kill_broken("the registers of the victim cannot be read");
    if (place.at == 0 || !kill_is_system_call(place.at))
        return false;
    if (place.number == SYS_ppoll) /* in a bed: whoever marks it rings, too */
        return victim->park != NULL && *victim->park == KINI_PARK_ASLEEP;
    if (place.number != SYS_futex)
        return false;
    uint64_t op = place.arguments[1] & 0x7f;
    if (op != FUTEX_WAIT && op != FUTEX_WAIT_BITSET)
        return false;
    /* the arena is where it is in this process */
    const uint32_t *word = (const void *)(uintptr_t)place.arguments[0];
    return *(const volatile uint32_t *)word == (uint32_t)place.arguments[2] &&
           !is_over(victim, place.arguments[3]);
}

static bool would_nap(const struct kill_victim *victim)
{
    struct place place;
    return read_place(victim->pid, &place) && kill_is_system_call(place.at) &&
           place.number == SYS_clock_nanosleep;
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
        for (uint32_t i = 0; i < kill_many_of(world->scenario, who); i++)
            kill_message_make(kill_message_of(world, who, i), world->scenario->bytes,
                              world->scenario->puts[who] + i);
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

void kill_victim_start(struct kill_world *world, struct kill_victim *victim, uint32_t who)
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
    for (uint32_t i = 1; i < world->live->super->threads_high; i++) {
        struct kini_thread_shm *t = &world->live->threads[i];
        if ((t->state & KINI_THREAD_USED) && KINI_THREAD_SLOT(t->state) == victim->slot)
            victim->park = &t->park;
    }
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

/* --- copies of victims ------------------------------------------------------------------------ */

static uint64_t find_system_call(void)
{
    static uint64_t found;
    uint64_t at = (uint64_t)(uintptr_t)syscall;
    while (found == 0 && !kill_is_system_call(at))
        at += CODE_ALIGNMENT;
    return found == 0 ? found = at : found;
}

static void poke(pid_t pid, uint64_t address, uint64_t value)
{
    if (ptrace(PTRACE_POKEDATA, pid, (void *)(uintptr_t)address, (void *)(uintptr_t)value) < 0)
        kill_broken("the memory of a victim cannot be written");
}

static uint64_t peek(pid_t pid, uint64_t address)
{
    errno = 0;
    long value = ptrace(PTRACE_PEEKDATA, pid, (void *)(uintptr_t)address, NULL);
    if (errno != 0)
        kill_broken("the memory of a victim cannot be read");
    return (uint64_t)value;
}

#if defined(__x86_64__)
#define GENERAL_REGISTERS(r)                                                                       \
    {                                                                                              \
        &(r)->rax, &(r)->rbx, &(r)->rcx, &(r)->rdx, &(r)->rsi, &(r)->rdi, &(r)->rbp, &(r)->r8,     \
            &(r)->r9, &(r)->r10, &(r)->r11, &(r)->r12, &(r)->r13, &(r)->r14, &(r)->r15             \
    }
#else
#define GENERAL_REGISTERS(r)                                                                       \
    {                                                                                              \
        &(r)->regs[0], &(r)->regs[1], &(r)->regs[2], &(r)->regs[3], &(r)->regs[4], &(r)->regs[5],  \
            &(r)->regs[6], &(r)->regs[7], &(r)->regs[8], &(r)->regs[9], &(r)->regs[19],            \
            &(r)->regs[20]                                                                         \
    }
#endif

/* It may have loaded its cookie, or the pid in it, and be about to compare. */
static void replace_loaded(struct user_regs_struct *regs, uint64_t old, uint64_t now)
{
    unsigned long long *const general[] = GENERAL_REGISTERS(regs);
    for (size_t i = 0; i < sizeof general / sizeof general[0]; i++) {
        if (*general[i] == old)
            *general[i] = now;
        else if (*general[i] == old >> 32)
            *general[i] = now >> 32;
    }
}

/* The guard page reads 0 in a child that no handler saw. This one is to be the same participant,
 * and no child of a vfork: its cookie names its pid. */
static void be_the_same(struct kill_world *world, pid_t original, pid_t clone,
                        struct user_regs_struct *regs)
{
    const uint64_t guard_at = (uint64_t)(uintptr_t)world->live->guard;
    uint64_t guard = peek(original, guard_at);
    uint64_t self = peek(original, (uint64_t)(uintptr_t)&kini_last_self);
    if (guard == 0)
        return; /* it is about to join */
    uint64_t cookie_at = self + offsetof(struct kini_self, cookie);
    const uint64_t old = guard;
    if (self != 0 && peek(original, cookie_at) == guard) {
        guard = (uint64_t)clone << 32 | 0xffffu;
        poke(clone, cookie_at, guard);
    }
    poke(clone, guard_at, guard);
    if (world->scenario->flags & (KILL_SLEEPS | KILL_LOCKS))
        replace_loaded(regs, old, guard);
}

void kill_victim_copy(struct kill_world *world, const struct kill_victim *of,
                      struct kill_victim *ret_copy)
{
    struct kill_victim original = *of;
    struct user_regs_struct before, call;
    if (!read_registers(of->pid, &before))
        kill_broken("the registers of a victim cannot be read");
    call = before;
    aim_at_clone(&call, find_system_call());
    write_registers(of->pid, &call);
    original.child = 0;
    if (ptrace(PTRACE_SETOPTIONS, of->pid, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK) < 0)
        kill_broken("a victim cannot be traced");
    single_step(&original);
    if (original.child == 0)
        kill_broken("a victim cannot be copied");
    write_registers(of->pid, &before);
    *ret_copy = *of;
    ret_copy->pid = original.child;
    ret_copy->never_sleeps = !(world->scenario->flags & (KILL_LOCKS | KILL_SLEEPS));
    be_the_same(world, of->pid, ret_copy->pid, &before);
    write_registers(ret_copy->pid, &before);
}

/* --- steps ------------------------------------------------------------------------------------ */

void kill_victim_step(struct kill_world *world, struct kill_victim *victim)
{
    const struct kill_actor *actor = &world->page->actors[victim->who];
    if (victim->done || victim->ended)
        return;
    if (world->scenario->flags & KILL_NO_QUEUE)
        kill_sync_calm(world);
    bool asks = actor->phase == KILL_RUNNING && !victim->may_sleep && !victim->never_sleeps;
    victim->blocked = false;
    if (asks && (world->scenario->flags & KILL_NAPS) && would_nap(victim)) {
        victim->blocked = true;
        return;
    }
    if (asks && kill_victim_would_sleep(victim)) {
        victim->sleeps++;
        if (world->parking || world->scenario->sleeps == NULL ||
            !world->scenario->sleeps(world, victim->sleeps)) {
            victim->blocked = true;
            return;
        }
        /* that did not wake it: this is a state of its own, and it is asked for the next one */
        if (victim->sleeps < 3 && kill_victim_would_sleep(victim))
            return;
    }
    do
        single_step(victim);
    while (!victim->ended && actor->phase == KILL_READY); /* still on its way into the operation */
    victim->steps++;
    victim->done = actor->phase == KILL_DONE;
    if (victim->steps > STEPS_MOST)
        kill_fail("the operation does not end");
}

/* To the end of its operation, or until it would sleep, system call by system call. */
static void run_to_sleep(struct kill_world *world, struct kill_victim *victim)
{
    victim->blocked = false;
#if defined(__x86_64__)
    const struct kill_actor *actor = &world->page->actors[victim->who];
    victim->blocked =
        actor->phase == KILL_RUNNING && !victim->may_sleep && kill_victim_would_sleep(victim);
    while (!victim->blocked && !victim->done && !victim->ended && actor->phase == KILL_RUNNING) {
        struct user_regs_struct regs;
        int event = 0, signal;
        if (ptrace(PTRACE_SYSEMU, victim->pid, NULL, NULL) < 0)
            kill_broken("a victim cannot be continued");
        if ((signal = wait_stop(victim, &event)) != SIGTRAP)
            kill_fail("the other one got signal %d instead of finishing", signal);
        if (!read_registers(victim->pid, &regs))
            kill_broken("the registers of a victim cannot be read");
        regs.rip -= 2; /* back before the call */
        regs.rax = regs.orig_rax;
        regs.orig_rax = ~0ull;
        write_registers(victim->pid, &regs);
        single_step(victim); /* ends the call that was left out; nothing else moves */
        victim->steps++;
        kill_victim_step(world, victim);
    }
#else
    (void)world;
#endif
}

void kill_victim_finish(struct kill_world *world, struct kill_victim *victim)
{
    if (world->scenario->flags & (KILL_LOCKS | KILL_SLEEPS)) {
        run_to_sleep(world, victim);
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

void kill_victim_end_child(struct kill_victim *victim)
{
    if (victim->child != 0)
        end_process(victim->child);
    victim->child = 0;
}

void kill_victim_end(struct kill_victim *victim)
{
    kill_victim_end_child(victim);
    if (!victim->ended)
        end_process(victim->pid);
    victim->ended = true;
}
