/* SPDX-License-Identifier: MIT
 * Processes that die with messages of a store in their hands. */
#include "chan/heap.h"
#include "chan/store.h"
#include "lib/kin_test.h"

#include <signal.h>
#include <sys/mman.h>

#define PAGE 4096

static struct kin_arena *arena;
static struct kin_queue *queue;
static _Atomic uint32_t *words; /* 0: how many victims are in the middle */
static unsigned char *hole;

static void begin(struct kin_queue_opts opts)
{
    words = kt_share(PAGE);
    arena = kt_arena(1 * GIB);
    KT_OK(kin_queue_create(arena, &opts, &queue));
    hole = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(hole != MAP_FAILED);
}

static void finish(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 16 * 65536);
    munmap(hole, PAGE);
    kin_arena_detach(arena);
    kt_unshare((void *)words, PAGE);
}

static void in_the_middle(int signal)
{
    (void)signal;
    atomic_fetch_add(&words[0], 1);
    for (;;)
        pause();
}

static int get_into_the_hole(void *unused)
{
    (void)unused;
    struct sigaction action = {.sa_handler = in_the_middle};
    sigaction(SIGSEGV, &action, NULL);
    KT_CHECK(kin_queue_get(queue, hole, PAGE, KIN_NEVER) == 0);
    return 0;
}

static int take_and_keep(void *unused)
{
    void *message;
    (void)unused;
    KT_CHECK(kin_queue_take(queue, &message, KIN_NEVER) >= 0);
    atomic_fetch_add(&words[0], 1);
    for (;;)
        pause();
}

static int get_some(void *count)
{
    uint64_t number;
    for (uintptr_t i = 0; i < (uintptr_t)count; i++)
        KT_CHECK(kin_queue_get(queue, &number, sizeof number, KIN_NEVER) == sizeof number);
    atomic_fetch_add(&words[0], 1);
    for (;;)
        pause();
}

static int get_until_shut(void *unused)
{
    uint64_t number, got = 0;
    int64_t r;
    (void)unused;
    while ((r = kin_queue_get(queue, &number, sizeof number, KIN_NEVER)) >= 0)
        got++;
    KT_CHECK(r == -ESHUTDOWN);
    return (int)got;
}

static int join(void *unused)
{
    (void)unused;
    return kin_queue_join(queue, KIN_NEVER);
}

static pid_t stuck(kt_child_fn fn, void *arg)
{
    uint32_t before = atomic_load(&words[0]);
    pid_t pid = kt_fork(fn, arg);
    KT_UNTIL(atomic_load(&words[0]) == before + 1);
    return pid;
}

static void put_number(uint64_t number)
{
    KT_OK(kin_queue_put(queue, &number, sizeof number, KIN_NEVER));
}

static uint64_t get_number(void)
{
    uint64_t number;
    KT_OK(kin_queue_get(queue, &number, sizeof number, KIN_NEVER));
    return number;
}

/* By number of the test: the kinds, by a get and in place. */
START_TEST(a_dead_consumers_message_comes_again)
{
    begin((struct kin_queue_opts){.kind = (uint32_t)_i % 3, .max_bytes = 1000});
    static const uint64_t first[] = {1, 3, 1};
    for (uint64_t i = 1; i <= 3; i++)
        put_number(i);
    pid_t pid = stuck(_i < 3 ? get_into_the_hole : take_and_keep, NULL);
    KT_IS(kin_queue_size(queue), 2);
    KT_IS(kin_queue_bytes(queue), 16);
    kt_kill(pid);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kin_queue_size(queue) == 3);
    KT_IS(kin_queue_bytes(queue), 24);
    uint64_t peeked;
    KT_IS(kin_queue_peek(queue, &peeked, sizeof peeked), 8);
    ck_assert_uint_eq(peeked, first[_i % 3]);
    ck_assert_uint_eq(get_number(), first[_i % 3]);
    ck_assert_uint_eq(get_number(), 2);
    ck_assert_uint_eq(get_number(), 4 - first[_i % 3]);
    finish();
}
END_TEST

/* Shut down, and the last message in the hands of one who copies it: the other stays for it. */
START_TEST(drained_is_not_said_too_early)
{
    begin((struct kin_queue_opts){.kind = KIN_LIFO});
    put_number(1);
    pid_t victim = stuck(get_into_the_hole, NULL), other = kt_fork(get_until_shut, NULL);
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    KT_IS(kin_queue_try_get(queue, words, 0), -EAGAIN);
    KT_UNTIL(kini_load_sc(&queue->shm->getters.nwait) == 1);
    kt_kill(victim);
    ck_assert_int_eq(kt_wait(other), 1);
    finish();
}
END_TEST

/* What is used in place holds nobody up; what comes back can still be got. */
START_TEST(drained_although_somebody_keeps_one)
{
    begin((struct kin_queue_opts){.kind = KIN_LIFO});
    put_number(1);
    pid_t victim = stuck(take_and_keep, NULL);
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    KT_IS(kin_queue_get(queue, words, 0, KIN_NEVER), -ESHUTDOWN);
    kt_kill(victim);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kin_queue_size(queue) == 1);
    ck_assert_uint_eq(get_number(), 1);
    KT_IS(kin_queue_get(queue, words, 0, KIN_NEVER), -ESHUTDOWN);
    finish();
}
END_TEST

START_TEST(what_the_dead_had_got_is_done)
{
    begin((struct kin_queue_opts){.joinable = 1});
    for (uint64_t i = 0; i < 5; i++)
        put_number(i);
    pid_t first = stuck(get_some, (void *)3), second = stuck(get_into_the_hole, NULL);
    pid_t joiner = kt_fork(join, NULL);
    KT_UNTIL(kini_load_sc(&kini_store_of(arena, queue->shm)->joiners.nwait) == 1);
    KT_IS(kin_queue_unfinished(queue), 5);
    kt_kill(first);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kin_queue_unfinished(queue) == 2);
    kt_kill(second); /* had not got it */
    KT_UNTIL(kin_arena_reap(arena) == 0 && kin_queue_size(queue) == 2);
    KT_IS(kin_queue_unfinished(queue), 2);
    ck_assert_uint_eq(get_number(), 3);
    KT_OK(kin_queue_task_done(queue));
    kt_kill(stuck(get_some, (void *)1));
    ck_assert_int_eq(kt_wait(joiner), 0);
    KT_IS(kin_queue_task_done(queue), -EINVAL);
    finish();
}
END_TEST

/* A consumer's messages may be told done by another. */
START_TEST(another_tells_that_it_is_done)
{
    begin((struct kin_queue_opts){.joinable = 1});
    put_number(1);
    put_number(2);
    pid_t pid = stuck(get_some, (void *)2);
    KT_OK(kin_queue_task_done(queue));
    KT_IS(kin_queue_unfinished(queue), 1);
    kt_kill(pid);
    KT_OK(kin_queue_join(queue, KIN_NEVER));
    finish();
}
END_TEST

/* Dropped at once; what comes back afterwards is dropped, too. */
START_TEST(dropped_with_the_dead)
{
    begin((struct kin_queue_opts){.joinable = 1, .kind = KIN_PRIORITY});
    put_number(1);
    put_number(2);
    pid_t pid = stuck(take_and_keep, NULL);
    KT_OK(kin_queue_shutdown(queue, KIN_AT_ONCE));
    KT_IS(kin_queue_unfinished(queue), 1);
    kt_kill(pid);
    KT_OK(kin_queue_join(queue, KIN_NEVER));
    KT_IS(kin_queue_size(queue), 0);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/store_death");
    TCase *t = kt_case(suite, "death", 60);
    tcase_add_loop_test(t, a_dead_consumers_message_comes_again, 0, 6);
    tcase_add_test(t, drained_is_not_said_too_early);
    tcase_add_test(t, drained_although_somebody_keeps_one);
    tcase_add_test(t, what_the_dead_had_got_is_done);
    tcase_add_test(t, another_tells_that_it_is_done);
    tcase_add_test(t, dropped_with_the_dead);
    return kt_run(suite);
}
