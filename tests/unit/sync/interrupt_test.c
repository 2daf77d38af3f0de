/* SPDX-License-Identifier: MIT
 * Waits that a signal ends: of every object, and those that go on. */
#include "sync_fixture.h"

#include <kin/kin.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DONE    words[0]
#define HANDLED words[1]
#define FAR_MS  600000
#define SIGNALS 20

static struct kin_lock *lock, *own;
static struct kin_rwlock *rwlock;
static struct kin_semaphore *semaphore;
static struct kin_event *event;
static struct kin_condition *condition;
static struct kin_queue *empty, *full;
static struct kin_pipe *end, *other;
static struct kin_value *value;
static int fd;

static void count(int signal)
{
    (void)signal;
    HANDLED++;
}

static void set_up(void)
{
    begin();
    on_signal(count);
    fd = eventfd(0, EFD_CLOEXEC);
    KT_OK(kin_lock_create(arena, NULL, &lock));
    KT_OK(kin_lock_create(arena, NULL, &own));
    KT_OK(kin_rwlock_create(arena, NULL, &rwlock));
    KT_OK(kin_semaphore_create(arena, 0, NULL, &semaphore));
    KT_OK(kin_event_create(arena, NULL, &event));
    KT_OK(kin_condition_create(arena, &(struct kin_condition_opts){.lock = own}, &condition));
    KT_OK(kin_pipe_create(arena, NULL, &end, &other));
    KT_OK(kin_value_create(arena, &(struct kin_value_opts){.type = KIN_LONGLONG}, &value));
    empty = kt_queue(arena, 1, 0);
    full = kt_queue(arena, 1, 0);
    KT_OK(kin_queue_put(full, "x", 1, KIN_NOW));
    KT_OK(kin_lock_acquire(lock, KIN_NOW));
    KT_OK(kin_rwlock_acquire_write(rwlock, KIN_NOW));
}

static void clean_up(void)
{
    KT_OK(kin_lock_release(lock));
    KT_OK(kin_rwlock_release(rwlock));
    kin_condition_destroy(condition);
    kin_lock_destroy(lock);
    kin_lock_destroy(own);
    kin_rwlock_destroy(rwlock);
    kin_semaphore_destroy(semaphore);
    kin_event_destroy(event);
    kin_pipe_close(end);
    kin_pipe_close(other);
    kin_value_destroy(value);
    kin_queue_destroy(empty);
    kin_queue_destroy(full);
    close(fd);
    finish();
}

/* --- what waits ----------------------------------------------------------------------------- */

static int of_lock(kin_deadline deadline)
{
    return kin_lock_acquire(lock, deadline);
}

static int of_rwlock(kin_deadline deadline)
{
    return kin_rwlock_acquire_read(rwlock, deadline);
}

static int of_semaphore(kin_deadline deadline)
{
    return kin_semaphore_acquire(semaphore, deadline);
}

static int of_event(kin_deadline deadline)
{
    return kin_event_wait(event, deadline);
}

/* The lock is its again at the end. */
static int of_condition(kin_deadline deadline)
{
    KT_CHECK(kin_lock_acquire(own, KIN_NOW) == 0);
    int r = kin_condition_wait(condition, deadline);
    KT_CHECK(kin_lock_release(own) == 0);
    return r;
}

static int of_get(kin_deadline deadline)
{
    char byte;
    return (int)kin_queue_get(empty, &byte, 1, deadline);
}

static int of_put(kin_deadline deadline)
{
    return (int)kin_queue_put(full, "y", 1, deadline);
}

static int of_recv(kin_deadline deadline)
{
    char byte;
    return (int)kin_pipe_recv(end, &byte, 1, deadline);
}

static int of_value(kin_deadline deadline)
{
    long long seen = 0;
    return kin_value_wait(value, &seen, deadline);
}

static int of_objects(kin_deadline deadline)
{
    const struct kin_wait waits[] = {kin_wait_event(event), kin_wait_get(empty)};
    return kin_wait_any(arena, waits, 2, deadline);
}

static int of_both(kin_deadline deadline)
{
    const struct kin_wait waits[] = {kin_wait_event(event), kin_wait_fd(fd)};
    return kin_wait_any(arena, waits, 2, deadline);
}

static int of_descriptor(kin_deadline deadline)
{
    const struct kin_wait waits[] = {kin_wait_fd(fd)};
    return kin_wait_any(arena, waits, 1, deadline);
}

static int idle(struct kin_arena *mine, void *arg)
{
    (void)mine, (void)arg;
    while (pause() < 0)
        ;
    return 0;
}

static int of_process(kin_deadline deadline)
{
    struct kin_process *process;
    KT_CHECK(kin_process_start(arena, idle, NULL, &(struct kin_process_opts){.daemon = 1},
                               &process) == 0);
    int r = kin_process_join(process, deadline);
    KT_CHECK(kin_process_kill(process) == 0 && kin_process_join(process, KIN_NEVER) == 0);
    kin_process_close(process);
    return r;
}

static int (*const waits_of[])(kin_deadline) = {
    of_lock, of_rwlock, of_semaphore, of_event, of_condition,  of_get,     of_put,
    of_recv, of_value,  of_objects,   of_both,  of_descriptor, of_process,
};
#define KINDS ((int)(sizeof waits_of / sizeof *waits_of))

/* --- tests ---------------------------------------------------------------------------------- */

static void send(struct party *party)
{
    if (party->form == THREADS)
        pthread_kill(party->thread, SIGUSR1);
    else
        kin_process_signal(party->process, SIGUSR1);
    usleep(1000);
}

static void wait_until_interrupted(int kind)
{
    kin_deadline far = kin_after_ms(FAR_MS);
    PARTY_IS(kin_wait_interruptible(1), 0);
    PARTY_IS(waits_of[kind](far), -ETIMEDOUT);
    PARTY_IS(kin_now_ns() < far, 1);
    PARTY_IS(kin_wait_interruptible(0), 1);
    DONE = 1;
}

/* One that comes before the sleep is not noticed: until it is. */
START_TEST(a_signal_ends_it)
{
    struct party party;
    set_up();
    for (int kind = 0; kind < KINDS; kind++) {
        DONE = 0;
        party_start(&party, _i, wait_until_interrupted, kind);
        while (DONE == 0)
            send(&party);
        party_join(&party);
    }
    ck_assert_int_gt(HANDLED, 0);
    clean_up();
}
END_TEST

static void wait_for_a_permit(int never)
{
    PARTY_IS(kin_wait_interruptible(never), 0);
    DONE = 1;
    PARTY_IS(kin_semaphore_acquire(semaphore, never ? KIN_NEVER : kin_after_ms(FAR_MS)), 0);
}

/* Without a deadline, and where nobody asked for it. */
START_TEST(others_go_on)
{
    struct party party;
    set_up();
    for (int never = 0; never < 2; never++) {
        DONE = HANDLED = 0;
        party_start(&party, _i, wait_for_a_permit, never);
        KT_UNTIL(DONE == 1);
        while (HANDLED < SIGNALS)
            send(&party);
        KT_OK(kin_semaphore_release(semaphore));
        party_join(&party);
    }
    clean_up();
}
END_TEST

static void acquire_the_lock(int me)
{
    (void)me;
    PARTY_IS(kin_wait_interruptible(1), 0);
    PARTY_IS(kin_lock_acquire(own, KIN_NOW), 0);
    DONE = 1;
    PARTY_IS(kin_condition_wait(condition, kin_after_ms(FAR_MS)), -ETIMEDOUT);
    PARTY_IS(kin_lock_release(own), 0);
    DONE = 3;
}

/* A condition ends its wait, but not before it has its lock. */
START_TEST(a_condition_waits_for_its_lock)
{
    struct party party;
    set_up();
    party_start(&party, _i, acquire_the_lock, 0);
    KT_UNTIL(DONE == 1);
    KT_OK(kin_lock_acquire(own, KIN_NEVER));
    while (HANDLED < SIGNALS)
        send(&party);
    ck_assert_int_eq(DONE, 1);
    KT_OK(kin_lock_release(own));
    while (DONE == 1) /* the first ones may have come before it slept */
        send(&party);
    party_join(&party);
    clean_up();
}
END_TEST

/* It runs in our memory, while we stand still: nobody would ever come. */
START_TEST(a_child_of_vfork_is_refused)
{
    static volatile int result;
    set_up();
    for (int kind = 0; kind < KINDS; kind++) {
        if (waits_of[kind] == of_rwlock || waits_of[kind] == of_process)
            continue; /* it is the writer itself, and starts no process */
        result = 0;
        pid_t pid = vfork();
        if (pid == 0) {
            result = waits_of[kind](KIN_NEVER);
            _exit(0);
        }
        KT_IS(kt_wait(pid), 0);
        KT_IS(result, -ECHILD);
    }
    KT_OK(kin_semaphore_release(semaphore)); /* and what it did has hurt nobody */
    KT_OK(kin_semaphore_acquire(semaphore, KIN_NEVER));
    KT_IS(kin_queue_put(full, "y", 1, kin_after_ms(60)), -ETIMEDOUT);
    clean_up();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/interrupt");
    TCase *t = kt_case(suite, "signals", 60);
    tcase_add_loop_test(t, a_signal_ends_it, 0, forms());
    tcase_add_loop_test(t, others_go_on, 0, forms());
    tcase_add_loop_test(t, a_condition_waits_for_its_lock, 0, forms());
    if (has_processes()) /* who follow no vfork */
        tcase_add_test(t, a_child_of_vfork_is_refused);
    return kt_run(suite);
}
