/* SPDX-License-Identifier: MIT
 * The processes of a round: the holder, the waiters, and the one that kills, which is the same for
 * all rounds. It kills at a random moment, since whoever waits looks from time to time. */
#include "death_runs.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kin/kin.h>

#include "lib/bench.h"
#include "lib/stage.h"

#define FIRST_US  3000    /* the kill comes so long after the waiter began to wait … */
#define SPREAD_US 40000   /* … and up to so much later */
#define LONG_US   1200000 /* where they have waited long: so much more */
#define LONGEST_S 10      /* nobody got the lock */

struct scene { /* shared */
    struct kin_lock *lock;
    pthread_mutex_t mutex;
    _Atomic int held, waits, release;
    _Atomic pid_t holder; /* who had waited, and got it by a release */
    _Atomic int64_t killed_ns, got_ns;
};

struct order {
    pid_t pid;
    int64_t after_us;
};

static struct scene *scene;
static int orders; /* the killer reads from the other end */
static pid_t killer;

static void nap_us(int64_t us)
{
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&time, &time) < 0 && errno == EINTR)
        ;
}

_Noreturn static void be_killer(int from)
{
    struct order order;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(from, &order, sizeof order) == (ssize_t)sizeof order) {
        nap_us(order.after_us);
        atomic_store(&scene->killed_ns, bench_now_ns());
        kill(order.pid, SIGKILL);
    }
    _exit(0);
}

void death_begin(void)
{
    int fds[2];
    scene = stage_memory(sizeof *scene);
    bench_must_sys(pipe(fds), "pipe");
    killer = fork();
    bench_must_sys(killer, "fork");
    if (killer == 0) {
        close(fds[1]);
        be_killer(fds[0]);
    }
    close(fds[0]);
    orders = fds[1];
    srand(1);
}

void death_end(void)
{
    close(orders);
    bench_must_sys(waitpid(killer, NULL, 0), "waitpid");
    stage_memory_free(scene, sizeof *scene);
}

static int64_t some_us(void)
{
    return FIRST_US + rand() % SPREAD_US;
}

static void order_kill(pid_t pid)
{
    struct order order = {pid, some_us()};
    bench_must_sys(write(orders, &order, sizeof order), "write");
}

static void until_set(const _Atomic int *flag)
{
    while (!atomic_load(flag))
        nap_us(50);
}

/* Sleeps: this process is not to notice anything. */
static double seconds_until_got(void)
{
    for (int64_t start = bench_now_ns(); atomic_load(&scene->got_ns) == 0;) {
        if (bench_now_ns() - start > LONGEST_S * 1000000000ll)
            bench_die("the holder was killed and nobody got the lock");
        nap_us(500);
    }
    return (double)(atomic_load(&scene->got_ns) - atomic_load(&scene->killed_ns)) * 1e-9;
}

_Noreturn static void until_killed(void)
{
    for (;;)
        pause();
}

static void clear_scene(void)
{
    atomic_store(&scene->held, 0);
    atomic_store(&scene->waits, 0);
    atomic_store(&scene->release, 0);
    atomic_store(&scene->holder, 0);
    atomic_store(&scene->got_ns, 0);
}

/* --- kin ------------------------------------------------------------------------------------ */

static int hold(struct kin_arena *arena, void *arg)
{
    (void)arena;
    (void)arg;
    bench_must(kin_lock_acquire(scene->lock, KIN_NEVER), "kin_lock_acquire");
    atomic_store(&scene->held, 1);
    until_killed();
}

static int wait_for_it(struct kin_arena *arena, void *arg)
{
    (void)arena;
    (void)arg;
    int r = kin_lock_acquire(scene->lock, KIN_NEVER);
    atomic_store(&scene->got_ns, bench_now_ns());
    if (r != KIN_ABANDONED)
        bench_die("kin_lock_acquire after a death: %d", r);
    return kin_lock_release(scene->lock) != 0;
}

static struct kin_process *start(struct kin_arena *arena, kin_process_fn fn, uint32_t daemon)
{
    struct kin_process_opts opts = {.size = sizeof opts, .daemon = daemon};
    struct kin_process *process;
    bench_must(kin_process_start(arena, fn, NULL, &opts, &process), "kin_process_start");
    return process;
}

static void end(struct kin_process *process, int wanted)
{
    int exitcode;
    bench_must(kin_process_join(process, KIN_NEVER), "kin_process_join");
    bench_must(kin_process_exitcode(process, &exitcode), "kin_process_exitcode");
    if (exitcode != wanted)
        bench_die("a process ended with %d instead of %d", exitcode, wanted);
    kin_process_close(process);
}

static double round_of_kin(int watched, int64_t more_us)
{
    struct kin_arena *arena;
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_lock_create(arena, NULL, &scene->lock), "kin_lock_create");
    struct kin_process *holder = start(arena, hold, 1);
    until_set(&scene->held);
    struct kin_process *waiter = start(arena, wait_for_it, 0);
    while (kin_lock_waiting(scene->lock) == 0)
        nap_us(50);
    nap_us(more_us);
    order_kill(kin_process_pid(holder));
    if (watched)
        bench_must(kin_process_join(holder, KIN_NEVER), "kin_process_join");
    double seconds = seconds_until_got();
    end(holder, -SIGKILL);
    end(waiter, 0);
    kin_lock_destroy(scene->lock);
    kin_arena_detach(arena);
    return seconds;
}

static int hold_and_release(struct kin_arena *arena, void *arg)
{
    (void)arena;
    (void)arg;
    bench_must(kin_lock_acquire(scene->lock, KIN_NEVER), "kin_lock_acquire");
    atomic_store(&scene->held, 1);
    until_set(&scene->release);
    return kin_lock_release(scene->lock) != 0;
}

static int wait_and_hold(struct kin_arena *arena, void *arg)
{
    (void)arena;
    (void)arg;
    int r = kin_lock_acquire(scene->lock, KIN_NEVER);
    if (r == KIN_ABANDONED)
        atomic_store(&scene->got_ns, bench_now_ns());
    else
        atomic_store(&scene->holder, getpid());
    bench_must(r, "kin_lock_acquire");
    until_killed();
}

static double round_of_several(int waiters, int64_t more_us)
{
    struct kin_process *processes[DEATH_WAITERS_MANY], *first;
    struct kin_arena *arena;
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_lock_create(arena, NULL, &scene->lock), "kin_lock_create");
    first = start(arena, hold_and_release, 1);
    until_set(&scene->held);
    for (int i = 0; i < waiters; i++)
        processes[i] = start(arena, wait_and_hold, 1);
    while (kin_lock_waiting(scene->lock) < waiters)
        nap_us(50);
    nap_us(some_us() + more_us);
    atomic_store(&scene->release, 1);
    while (atomic_load(&scene->holder) == 0)
        nap_us(50);
    order_kill(atomic_load(&scene->holder));
    double seconds = seconds_until_got();
    end(first, 0);
    for (int i = 0; i < waiters; i++)
        kill(kin_process_pid(processes[i]), SIGKILL);
    for (int i = 0; i < waiters; i++)
        end(processes[i], -SIGKILL);
    kin_lock_destroy(scene->lock);
    kin_arena_detach(arena);
    return seconds;
}

/* --- the robust mutex ----------------------------------------------------------------------- */

_Noreturn static void hold_mutex(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pthread_mutex_lock(&scene->mutex);
    atomic_store(&scene->held, 1);
    until_killed();
}

_Noreturn static void wait_for_mutex(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    atomic_store(&scene->waits, 1);
    int error = pthread_mutex_lock(&scene->mutex);
    atomic_store(&scene->got_ns, bench_now_ns());
    _exit(error != EOWNERDEAD);
}

static double round_of_robust(void)
{
    pthread_mutexattr_t attr;
    int status;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&scene->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    pid_t holder = fork();
    if (holder == 0)
        hold_mutex();
    bench_must_sys(holder, "fork");
    until_set(&scene->held);
    pid_t waiter = fork();
    if (waiter == 0)
        wait_for_mutex();
    bench_must_sys(waiter, "fork");
    until_set(&scene->waits);
    order_kill(holder);
    double seconds = seconds_until_got();
    bench_must_sys(waitpid(holder, NULL, 0), "waitpid");
    bench_must_sys(waitpid(waiter, &status, 0), "waitpid");
    if (status != 0)
        bench_die("the robust mutex did not tell of the death");
    return seconds;
}

double death_round(enum death_way way)
{
    clear_scene();
    switch (way) {
    case DEATH_KIN_FEW:
        return round_of_several(DEATH_WAITERS_FEW, 0);
    case DEATH_KIN_MANY:
        return round_of_several(DEATH_WAITERS_MANY, 0);
    case DEATH_KIN_LONG:
        return round_of_kin(0, LONG_US);
    case DEATH_KIN_FEW_LONG:
        return round_of_several(DEATH_WAITERS_FEW, LONG_US);
    case DEATH_KIN_MANY_LONG:
        return round_of_several(DEATH_WAITERS_MANY, LONG_US);
    case DEATH_ROBUST:
        return round_of_robust();
    default:
        return round_of_kin(way == DEATH_KIN_WATCHED, 0);
    }
}
