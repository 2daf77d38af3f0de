/* SPDX-License-Identifier: MIT
 * Lost wake-ups. A sleeper of kin looks again at the end of each slice, which would hide a wake-up
 * that got lost: so this program takes the slices away. Every sleep lasts until somebody wakes it,
 * and a lost wake-up is a hang, which the time limit of the test finds.
 *
 * Linked with --wrap=kini_os_futex_wait, =kini_watch_leave and =sched_yield; nobody dies in here.
 */
#include "lib/kin_test.h"
#include "sync/watch.h"

#include <pthread.h>
#include <sched.h>

int __real_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline);
int __wrap_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline);

static _Atomic uint64_t sleeps, yields;

int __real_sched_yield(void);
int __wrap_sched_yield(void);
int __wrap_sched_yield(void)
{
    kini_add(&yields, 1);
    return __real_sched_yield();
}

int __wrap_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline)
{
    (void)deadline;
    kini_add(&sleeps, 1);
    return __real_kini_os_futex_wait(word, expected, KIN_NEVER);
}

/* Nobody is woken to look after the dead. */
void __wrap_kini_watch_leave(struct kini_self *self);
void __wrap_kini_watch_leave(struct kini_self *self)
{
    (void)self;
}

#define MOST 8

static struct kin_arena *arena;
static struct kin_queue *queues[MOST];
static int rounds;

static void begin(int count, uint64_t max_items)
{
    arena = kt_arena(1 * GIB);
    for (int i = 0; i < count; i++)
        queues[i] = kt_queue(arena, max_items, 0);
}

static void finish(int count)
{
    for (int i = 0; i < count; i++) {
        KT_IS(kin_queue_size(queues[i]), 0);
        kin_queue_destroy(queues[i]);
    }
    kin_arena_detach(arena);
}

static void put(struct kin_queue *queue, uint64_t number)
{
    KT_CHECK(kin_queue_put(queue, &number, sizeof number, KIN_NEVER) == 0);
}

static uint64_t get(struct kin_queue *queue)
{
    uint64_t number = 0;
    KT_CHECK(kin_queue_get(queue, &number, sizeof number, KIN_NEVER) == sizeof number);
    return number;
}

/* A thread or a process, so that both ways run the same code. */
static void start_all(pthread_t *threads, pid_t *pids, int count, void *(*fn)(void *))
{
    for (intptr_t i = 0; i < count; i++) {
        if (threads != NULL) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, fn, (void *)i), 0);
            continue;
        }
        fflush(NULL);
        pids[i] = fork();
        ck_assert_int_ge(pids[i], 0);
        if (pids[i] == 0) {
            fn((void *)i);
            kin_arena_detach(arena);
            _exit(0);
        }
    }
}

static void join_all(pthread_t *threads, pid_t *pids, int count)
{
    for (int i = 0; i < count; i++) {
        if (threads != NULL)
            pthread_join(threads[i], NULL);
        else
            ck_assert_int_eq(kt_wait(pids[i]), 0);
    }
}

static void with(bool processes, int count, void *(*fn)(void *))
{
    pthread_t threads[MOST * 2];
    pid_t pids[MOST * 2];
    start_all(processes ? NULL : threads, pids, count, fn);
    join_all(processes ? NULL : threads, pids, count);
}

/* Player 0 puts into queue 1 and gets from queue 0. Now and then it waits a moment, so that the
 * other one is asleep and not spinning. */
static void *ping_pong(void *number)
{
    int me = (int)(intptr_t)number;
    for (int i = 0; i < rounds; i++) {
        if (me == 0)
            put(queues[1], (uint64_t)i);
        KT_CHECK(get(queues[me]) == (uint64_t)i);
        if (i % 16 == 0)
            usleep(100);
        if (me == 1)
            put(queues[0], (uint64_t)i);
    }
    return NULL;
}

START_TEST(ping_pong_of_two)
{
    begin(2, (uint64_t)(_i / 2)); /* unbounded, and a bound of one */
    rounds = kt_scaled(20000);
    with(_i % 2, 2, ping_pong);
    finish(2);
}
END_TEST

static void *ring(void *number)
{
    int me = (int)(intptr_t)number;
    for (int i = 0; i < rounds; i++) {
        if (me == 0)
            put(queues[1], (uint64_t)i);
        uint64_t token = get(queues[me]);
        KT_CHECK(token == (uint64_t)i);
        if (me != 0)
            put(queues[(me + 1) % MOST], token);
    }
    return NULL;
}

START_TEST(a_token_around_a_ring)
{
    begin(MOST, (uint64_t)(_i / 2));
    rounds = kt_scaled(4000);
    with(_i % 2, MOST, ring);
    finish(MOST);
}
END_TEST

/* One queue, a bound smaller than the number of those that wait on each side. */
static void *crowd(void *number)
{
    int me = (int)(intptr_t)number;
    for (int i = 0; i < rounds; i++) {
        if (me % 2)
            put(queues[0], 1);
        else
            get(queues[0]);
    }
    return NULL;
}

START_TEST(a_crowd_on_both_sides)
{
    begin(1, (uint64_t)(_i / 2) + 1);
    rounds = kt_scaled(20000);
    with(_i % 2, MOST, crowd);
    finish(1);
}
END_TEST

/* One wakes many in turn: each put has exactly one sleeper to wake. */
static void *reply(void *number)
{
    (void)number;
    uint64_t token;
    while ((token = get(queues[0])) != UINT64_MAX)
        put(queues[1], token);
    return NULL;
}

START_TEST(many_sleepers_one_waker)
{
    const bool processes = _i;
    pthread_t threads[MOST];
    pid_t pids[MOST];
    begin(2, 0);
    start_all(processes ? NULL : threads, pids, MOST, reply);
    for (uint64_t i = 0; i < (uint64_t)kt_scaled(5000); i++) {
        put(queues[0], i);
        if (i % 8 == 0)
            usleep(50);
        ck_assert_uint_eq(get(queues[1]), i);
    }
    for (int i = 0; i < MOST; i++)
        put(queues[0], UINT64_MAX);
    join_all(processes ? NULL : threads, pids, MOST);
    finish(2);
}
END_TEST

/* Internal locks under contention: they sleep on the same futexes. */
static void *create_and_destroy(void *unused)
{
    (void)unused;
    for (int i = 0; i < rounds; i++) {
        struct kin_queue *queue = NULL;
        void *block;
        KT_CHECK(kin_queue_create(arena, NULL, &queue) == 0);
        KT_CHECK(kin_block_alloc(arena, 100000, &block) == 0);
        kin_queue_destroy(queue);
        int r = kin_block_free(arena, block);
        if (r < 0)
            dprintf(2, "free: %d %s\n", r, kin_error_text());
        KT_CHECK(r == 0);
    }
    return NULL;
}

START_TEST(internal_locks)
{
    begin(0, 0);
    rounds = kt_scaled(2000);
    with(_i, 4, create_and_destroy);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    finish(0);
}
END_TEST

/* Who waits lets the other one run, and sleeps only if that did not help. */
START_TEST(on_one_processor)
{
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET((size_t)sched_getcpu(), &here);
    ck_assert_int_eq(sched_setaffinity(0, sizeof here, &here), 0);
    begin(MOST, 0);
    rounds = kt_scaled(5000);
    with(_i % 2, _i < 2 ? 2 : MOST, _i < 2 ? ping_pong : ring);
    if (_i % 2 == 0) /* else others counted */
        ck_assert_uint_gt(yields, 0);
    finish(MOST);
}
END_TEST

START_TEST(sleeping_happens_at_all)
{
    begin(2, 0);
    rounds = 200;
    sleeps = 0;
    with(false, 2, ping_pong);
    ck_assert_uint_gt(sleeps, 0); /* the wrapper is in place */
    finish(2);
}
END_TEST

int main(void)
{
    const int forms = KT_THREAD_SANITIZER ? 1 : 2;
    Suite *suite = suite_create("sync/wait");
    TCase *t = kt_case(suite, "wake", 60);
    tcase_add_test(t, sleeping_happens_at_all);
    tcase_add_loop_test(t, many_sleepers_one_waker, 0, forms);
    for (int many = 0; many < 2; many++)
        tcase_add_loop_test(t, on_one_processor, many * 2, many * 2 + forms);
    tcase_add_loop_test(t, internal_locks, 0, forms);
    for (int bound = 0; bound < 2; bound++) { /* even: threads, odd: processes */
        tcase_add_loop_test(t, ping_pong_of_two, bound * 2, bound * 2 + forms);
        tcase_add_loop_test(t, a_token_around_a_ring, bound * 2, bound * 2 + forms);
        tcase_add_loop_test(t, a_crowd_on_both_sides, bound * 2, bound * 2 + forms);
    }
    return kt_run(suite);
}
