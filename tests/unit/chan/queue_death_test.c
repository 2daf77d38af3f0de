/* SPDX-License-Identifier: MIT
 * Processes that die in the middle of put and get, at a place that is known: they copy from or to a
 * page that is not there, and their handler stops them in the middle of the copy. */
#include "arena/arena.h"
#include "lib/kin_test.h"

#include <signal.h>
#include <sys/mman.h>

#define PAGE 4096

static struct kin_arena *arena;
static struct kin_queue *queue;
static kini_a32 *words; /* 0: how many victims are in the middle */
static unsigned char *hole;

static void begin(uint64_t max_items, uint32_t inline_bytes)
{
    words = kt_share(PAGE);
    arena = kt_arena(1 * GIB);
    queue = kt_queue(arena, max_items, inline_bytes);
    hole = mmap(NULL, 100 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(hole != MAP_FAILED);
    ck_assert_int_eq(mprotect(hole + PAGE, 99 * PAGE, PROT_NONE), 0);
}

static void finish(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536);
    munmap(hole, 100 * PAGE);
    kin_arena_detach(arena);
    kt_unshare((void *)words, PAGE);
}

static void in_the_middle(int signal)
{
    (void)signal;
    kini_add_sc(&words[0], 1);
    for (;;)
        pause();
}

static void stop_at_the_hole(void)
{
    struct sigaction action = {.sa_handler = in_the_middle};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

/* The first 16 bytes can be written, the rest cannot. */
static int get_into_the_hole(void *unused)
{
    (void)unused;
    stop_at_the_hole();
    KT_CHECK(kin_queue_get(queue, hole + PAGE - 16, 90 * PAGE, KIN_NEVER) == 0);
    return 0;
}

static int put_from_the_hole(void *bytes)
{
    stop_at_the_hole();
    KT_CHECK(kin_queue_put(queue, hole + PAGE - 16, (size_t)bytes, KIN_NEVER) == 0);
    return 0;
}

static pid_t stuck(kt_child_fn fn, void *arg)
{
    uint32_t before = kini_load(&words[0]);
    pid_t pid = kt_fork(fn, arg);
    KT_UNTIL(kini_load_sc(&words[0]) == before + 1);
    return pid;
}

static unsigned char text[200000];

static void put(uint64_t bytes, uint64_t key)
{
    kt_fill(text, bytes, key);
    KT_OK(kin_queue_put(queue, text, bytes, KIN_NEVER));
}

static void get(uint64_t bytes, uint64_t key)
{
    memset(text, 0, bytes);
    KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NEVER), (int64_t)bytes);
    ck_assert_msg(kt_filled(text, bytes, key), "not message %d", (int)key);
}

static void reap(int count)
{
    KT_IS(kin_arena_reap(arena), count);
}

/* inline and in a block; unbounded, bounded, bounded by one more than are in it */
static const struct {
    uint64_t bytes, max_items;
} forms[] = {{100, 0}, {100, 100}, {100, 4}, {150000, 0}, {150000, 100}, {150000, 4}};
#define FORMS 6

/* --- consumers ------------------------------------------------------------------------------ */

START_TEST(delivered_again)
{
    const uint64_t bytes = forms[_i].bytes;
    begin(forms[_i].max_items, 0);
    for (uint64_t i = 0; i < 3; i++)
        put(bytes, i);
    pid_t victim = stuck(get_into_the_hole, NULL);
    KT_IS(kin_queue_size(queue), 2);
    reap(0); /* it lives: the item is in its hands */
    kt_kill(victim);
    reap(1);
    KT_IS(kin_queue_size(queue), 3);
    KT_IS(kin_queue_next_bytes(queue), (int64_t)bytes);
    for (uint64_t i = 0; i < 3; i++) /* ahead of the rest */
        get(bytes, i);
    KT_IS(kin_queue_try_get(queue, text, sizeof text), -EAGAIN);
    KT_IS(kin_queue_size(queue), 0);
    finish();
}
END_TEST

START_TEST(others_go_on_meanwhile)
{
    const uint64_t bytes = forms[_i].bytes;
    begin(forms[_i].max_items, 0);
    for (uint64_t i = 0; i < 4; i++)
        put(bytes, i);
    pid_t victim = stuck(get_into_the_hole, NULL);
    get(bytes, 1);
    get(bytes, 2);
    kt_kill(victim);
    reap(1);
    get(bytes, 0);
    get(bytes, 3);
    put(bytes, 4);
    get(bytes, 4);
    KT_IS(kin_queue_size(queue), 0);
    finish();
}
END_TEST

START_TEST(again_and_again)
{
    const uint64_t bytes = forms[_i].bytes;
    begin(forms[_i].max_items, 0);
    put(bytes, 7);
    put(bytes, 8);
    for (int i = 0; i < 5; i++) {
        kt_kill(stuck(get_into_the_hole, NULL));
        reap(1);
        KT_IS(kin_queue_size(queue), 2);
    }
    get(bytes, 7);
    get(bytes, 8);
    KT_IS(kin_queue_size(queue), 0);
    finish();
}
END_TEST

START_TEST(several_at_once)
{
    const uint64_t bytes = forms[_i].bytes;
    begin(forms[_i].max_items, 0);
    pid_t victims[3];
    for (uint64_t i = 0; i < 4; i++)
        put(bytes, 5);
    for (int i = 0; i < 3; i++)
        victims[i] = stuck(get_into_the_hole, NULL);
    for (int i = 0; i < 3; i++)
        kt_kill(victims[i]);
    reap(3);
    KT_IS(kin_queue_size(queue), 4);
    for (int i = 0; i < 4; i++)
        get(bytes, 5);
    KT_IS(kin_queue_try_get(queue, text, sizeof text), -EAGAIN);
    finish();
}
END_TEST

/* Nobody reaps on purpose: a consumer that sleeps notices by itself. */
static int get_one(void *key)
{
    int64_t r = kin_queue_get(queue, text, sizeof text, KIN_NEVER);
    KT_CHECK(r > 0 && kt_filled(text, (uint64_t)r, (uint64_t)(uintptr_t)key));
    return 0;
}

START_TEST(a_sleeper_gets_it)
{
    begin(forms[_i].max_items, 0);
    put(forms[_i].bytes, 3);
    pid_t victim = stuck(get_into_the_hole, NULL);
    pid_t sleeper = kt_fork(get_one, (void *)3);
    KT_UNTIL(kt_process_state(sleeper) == 'S');
    kt_kill(victim);
    ck_assert_int_eq(kt_wait(sleeper), 0);
    finish();
}
END_TEST

START_TEST(too_long_for_the_next_one)
{
    const uint64_t bytes = forms[_i].bytes;
    begin(forms[_i].max_items, 0);
    put(bytes, 1);
    put(10, 2);
    kt_kill(stuck(get_into_the_hole, NULL));
    reap(1);
    KT_IS(kin_queue_get(queue, text, bytes - 1, KIN_NOW), -EMSGSIZE);
    KT_IS(kin_queue_next_bytes(queue), (int64_t)bytes);
    KT_IS(kin_queue_size(queue), 2);
    void *data = NULL;
    KT_IS(kin_queue_get_alloc(queue, &data, KIN_NOW), (int64_t)bytes);
    ck_assert(kt_filled(data, bytes, 1));
    free(data);
    get(10, 2);
    finish();
}
END_TEST

/* The queue has gone on to other segments when the consumer of an old one dies. */
START_TEST(in_a_segment_that_was_left)
{
    const uint64_t bytes = 100, count = 20000;
    begin(0, 0);
    for (uint64_t i = 0; i < 300; i++)
        put(bytes, i);
    pid_t victim = stuck(get_into_the_hole, NULL);
    for (uint64_t i = 300; i < count; i++)
        put(bytes, i);
    for (uint64_t i = 1; i < count - 10; i++)
        get(bytes, i);
    kt_kill(victim);
    reap(1);
    KT_IS(kin_queue_size(queue), 11);
    get(bytes, 0);
    for (uint64_t i = count - 10; i < count; i++)
        get(bytes, i);
    KT_IS(kin_queue_size(queue), 0);
    for (uint64_t i = 0; i < count; i++) /* and its segment serves again */
        put(bytes, i);
    for (uint64_t i = 0; i < count; i++)
        get(bytes, i);
    finish();
}
END_TEST

START_TEST(destroyed_or_shut_down_with_it)
{
    for (int how = 0; how < 3; how++) {
        begin(forms[_i].max_items, 0);
        put(forms[_i].bytes, 1);
        put(forms[_i].bytes, 2);
        kt_kill(stuck(get_into_the_hole, NULL));
        reap(1);
        if (how == 1) {
            KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
            get(forms[_i].bytes, 1);
            get(forms[_i].bytes, 2);
            KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NEVER), -ESHUTDOWN);
        } else if (how == 2) {
            KT_OK(kin_queue_shutdown(queue, KIN_AT_ONCE));
            KT_IS(kin_queue_size(queue), 0);
            KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NEVER), -ESHUTDOWN);
        }
        finish();
    }
}
END_TEST

/* Shut down to be drained while a consumer has the last item: it comes back, and then comes the
 * end. */
START_TEST(drained_but_for_the_dead)
{
    begin(forms[_i].max_items, 0);
    put(forms[_i].bytes, 1);
    pid_t victim = stuck(get_into_the_hole, NULL);
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    kt_kill(victim);
    reap(1);
    get(forms[_i].bytes, 1);
    KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NEVER), -ESHUTDOWN);
    finish();
}
END_TEST

/* --- producers ------------------------------------------------------------------------------ */

START_TEST(a_dead_producer_put_nothing)
{
    const uint64_t bytes = forms[_i].bytes;
    begin(forms[_i].max_items, 0);
    put(bytes, 1);
    uint64_t used = kt_stat(arena).used_bytes;
    pid_t victim = stuck(put_from_the_hole, (void *)bytes);
    put(bytes, 2); /* others put behind it */
    get(bytes, 1);
    kt_kill(victim);
    get(bytes, 2);
    KT_IS(kin_queue_try_get(queue, text, sizeof text), -EAGAIN);
    KT_OK(kin_arena_reap(arena));
    KT_IS(kin_queue_size(queue), 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, used);
    put(bytes, 3);
    get(bytes, 3);
    finish();
}
END_TEST

static void fill_to_the_bound(uint64_t most, uint64_t bytes)
{
    for (uint64_t i = 0; i < most; i++) {
        kt_fill(text, bytes, i);
        KT_IS(kin_queue_try_put(queue, text, bytes), 0);
    }
    KT_IS(kin_queue_try_put(queue, text, bytes), -EAGAIN);
    KT_IS(kin_queue_size(queue), (int64_t)most);
    for (uint64_t i = 0; i < most; i++)
        get(bytes, i);
}

START_TEST(dead_producers_take_no_room)
{
    const uint64_t bytes = forms[_i].bytes;
    for (uint64_t most = 1; most <= 4; most++) {
        begin(most, 0);
        for (int i = 0; i < 12; i++) {
            kt_kill(stuck(put_from_the_hole, (void *)bytes));
            if (i % 2)
                KT_OK(kin_arena_reap(arena));
            KT_UNTIL(kin_arena_reap(arena) == 0);
            KT_IS(kin_queue_try_get(queue, text, sizeof text), -EAGAIN); /* passes over it */
        }
        fill_to_the_bound(most, bytes);
        finish();
    }
}
END_TEST

/* As many as the bound died in the middle of put, and nobody has tried to get since: the queue is
 * empty, so there is room. */
START_TEST(an_empty_queue_takes_items)
{
    const uint64_t bytes = forms[_i].bytes;
    for (uint64_t most = 1; most <= 4; most++) {
        begin(most, 0);
        for (uint64_t i = 0; i < most; i++)
            kt_kill(stuck(put_from_the_hole, (void *)bytes));
        KT_UNTIL(kin_arena_reap(arena) == 0);
        KT_IS(kin_queue_size(queue), 0);
        fill_to_the_bound(most, bytes);
        finish();
    }
}
END_TEST

START_TEST(dead_consumers_take_no_room)
{
    const uint64_t bytes = forms[_i].bytes;
    for (uint64_t most = 1; most <= 3; most++) {
        begin(most, 0);
        for (int lap = 0; lap < 6; lap++) {
            for (uint64_t i = 0; i < most; i++)
                put(bytes, i);
            kt_kill(stuck(get_into_the_hole, NULL));
            reap(1);
            KT_IS(kin_queue_size(queue), (int64_t)most);
            KT_IS(kin_queue_try_put(queue, text, bytes), -EAGAIN); /* as full as before */
            for (uint64_t i = 0; i < most; i++)
                get(bytes, i);
        }
        finish();
    }
}
END_TEST

/* --- sleepers ------------------------------------------------------------------------------- */

static void put_when_full(uint64_t key)
{
    kt_fill(text, 50, key);
    KT_CHECK(kin_queue_put(queue, text, 50, KIN_NEVER) == 0);
}

static int put_one(void *key)
{
    put_when_full((uint64_t)(uintptr_t)key);
    return 0;
}

/* Of two sleepers the first is chosen, and dies before it can use it: the second goes on. */
START_TEST(the_wake_of_a_dead_getter_is_passed_on)
{
    begin(0, 0);
    for (int i = 0; i < 5; i++) {
        pid_t first = kt_fork(get_one, (void *)1);
        KT_UNTIL(kt_process_state(first) == 'S');
        usleep(2000);
        pid_t second = kt_fork(get_one, (void *)1);
        KT_UNTIL(kt_process_state(second) == 'S');
        kill(first, SIGSTOP);
        KT_UNTIL(kt_process_state(first) == 'T');
        put(50, 1);
        kt_kill(first);
        ck_assert_int_eq(kt_wait(second), 0);
    }
    finish();
}
END_TEST

START_TEST(the_wake_of_a_dead_putter_is_passed_on)
{
    begin(1, 0);
    for (int i = 0; i < 5; i++) {
        put(50, 1);
        pid_t first = kt_fork(put_one, (void *)2);
        KT_UNTIL(kt_process_state(first) == 'S');
        usleep(2000);
        pid_t second = kt_fork(put_one, (void *)3);
        KT_UNTIL(kt_process_state(second) == 'S');
        kill(first, SIGSTOP);
        KT_UNTIL(kt_process_state(first) == 'T');
        get(50, 1);
        kt_kill(first);
        get(50, 3);
        ck_assert_int_eq(kt_wait(second), 0);
    }
    finish();
}
END_TEST

START_TEST(killed_asleep)
{
    begin(2, 0);
    for (int i = 0; i < kt_scaled(20); i++) {
        pid_t pids[4];
        for (int j = 0; j < 4; j++)
            pids[j] = kt_fork(get_one, (void *)1);
        KT_UNTIL(kt_process_state(pids[3]) == 'S');
        kt_kill(pids[0]);
        kt_kill(pids[2]);
        put(50, 1);
        put(50, 1);
        ck_assert_int_eq(kt_wait(pids[1]), 0);
        ck_assert_int_eq(kt_wait(pids[3]), 0);
        KT_IS(kin_queue_size(queue), 0);
    }
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/queue_death");
    TCase *t = kt_case(suite, "consumers", 60);
    tcase_add_loop_test(t, delivered_again, 0, FORMS);
    tcase_add_loop_test(t, others_go_on_meanwhile, 0, FORMS);
    tcase_add_loop_test(t, again_and_again, 0, FORMS);
    tcase_add_loop_test(t, several_at_once, 0, FORMS);
    tcase_add_loop_test(t, a_sleeper_gets_it, 0, FORMS);
    tcase_add_loop_test(t, too_long_for_the_next_one, 0, FORMS);
    tcase_add_test(t, in_a_segment_that_was_left);
    tcase_add_loop_test(t, destroyed_or_shut_down_with_it, 0, FORMS);
    tcase_add_loop_test(t, drained_but_for_the_dead, 0, FORMS);
    t = kt_case(suite, "producers", 60);
    tcase_add_loop_test(t, a_dead_producer_put_nothing, 0, FORMS);
    tcase_add_loop_test(t, dead_producers_take_no_room, 0, FORMS);
    tcase_add_loop_test(t, an_empty_queue_takes_items, 0, FORMS);
    tcase_add_loop_test(t, dead_consumers_take_no_room, 0, FORMS);
    t = kt_case(suite, "sleepers", 60);
    tcase_add_test(t, the_wake_of_a_dead_getter_is_passed_on);
    tcase_add_test(t, the_wake_of_a_dead_putter_is_passed_on);
    tcase_add_test(t, killed_asleep);
    return kt_run(suite);
}
