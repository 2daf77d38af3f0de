/* SPDX-License-Identifier: MIT
 * Objects live as long as any process holds them, and not longer. */
#include "arena/arena.h"
#include "lib/kin_test.h"

#include <pthread.h>
#include <signal.h>

static struct kin_arena *arena;
static kini_a32 *words;

static uint32_t objects(void)
{
    return kt_stat(arena).objects_count;
}

static void fill_some(struct kin_queue *queue)
{
    static char text[100000];
    for (size_t i = 0; i < 50; i++)
        KT_OK(kin_queue_put(queue, text, i * 2000, KIN_NOW));
}

START_TEST(destroy_frees_all)
{
    arena = kt_arena(0);
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    kin_queue_destroy(queue);
    uint64_t used = kt_stat(arena).used_bytes;
    for (int i = 0; i < kt_scaled(300); i++) {
        queue = kt_queue(arena, i % 3 == 0 ? 0 : (uint64_t)i * 10, 0);
        ck_assert_uint_eq(objects(), 1);
        for (int j = 0; j < 10 && i % 3 == 0; j++)
            KT_OK(kin_queue_put(queue, &j, sizeof j, KIN_NOW));
        kin_queue_destroy(queue);
        ck_assert_uint_eq(objects(), 0);
    }
    ck_assert_uint_eq(kt_stat(arena).used_bytes, used);
    queue = kt_queue(arena, 0, 0);
    fill_some(queue);
    kin_queue_destroy(queue); /* with messages, some of them in blocks */
    ck_assert_uint_eq(objects(), 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, used + 40 * 65536); /* spans of sizes used */
    kin_queue_destroy(NULL);
    kin_arena_detach(arena);
}
END_TEST

START_TEST(thousands_at_once)
{
    enum { COUNT = 3000 };
    static struct kin_queue *queues[COUNT];
    arena = kt_arena(4 * GIB);
    int count = kt_scaled(COUNT);
    for (int i = 0; i < count; i++) {
        queues[i] = kt_queue(arena, 1, 0);
        KT_OK(kin_queue_put(queues[i], &i, sizeof i, KIN_NOW));
    }
    ck_assert_uint_eq(objects(), (unsigned)count);
    for (int i = 0; i < count; i++) {
        int got = -1;
        KT_IS(kin_queue_try_get(queues[i], &got, sizeof got), sizeof got);
        ck_assert_int_eq(got, i);
    }
    for (int i = 0; i < count; i++)
        kin_queue_destroy(queues[i]);
    ck_assert_uint_eq(objects(), 0);
    kin_arena_detach(arena);
}
END_TEST

static int hold(void *unused)
{
    return kt_sleep_for_ever(unused);
}

START_TEST(a_child_holds_it_too)
{
    arena = kt_arena(0);
    struct kin_queue *queue = kt_queue(arena, 0, 0), *later;
    fill_some(queue);
    pid_t child = kt_fork(hold, NULL);
    later = kt_queue(arena, 0, 0); /* made after the fork: not the child's */
    kin_queue_destroy(later);
    ck_assert_uint_eq(objects(), 1);
    kin_queue_destroy(queue);
    ck_assert_uint_eq(objects(), 1);
    KT_IS(kin_arena_reap(arena), 0);
    kt_kill(child); /* its last holder: freed by whoever notices */
    KT_IS(kin_arena_reap(arena), 1);
    ck_assert_uint_eq(objects(), 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536);
    kin_arena_detach(arena);
}
END_TEST

static int drop(void *queue)
{
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
    return 0;
}

START_TEST(the_last_one_frees_it)
{
    arena = kt_arena(0);
    for (int i = 0; i < kt_scaled(40); i++) {
        struct kin_queue *queue = kt_queue(arena, 0, 0);
        fill_some(queue);
        pid_t pids[3];
        for (int j = 0; j < 3; j++)
            pids[j] = kt_fork(drop, queue);
        kin_queue_destroy(queue); /* four at once */
        for (int j = 0; j < 3; j++)
            ck_assert_int_eq(kt_wait(pids[j]), 0);
        ck_assert_uint_eq(objects(), 0);
    }
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536);
    kin_arena_detach(arena);
}
END_TEST

static int create_for_ever(void *unused)
{
    (void)unused;
    static char text[5000];
    for (;;) {
        struct kin_queue *queues[4];
        for (int i = 0; i < 4; i++) {
            KT_CHECK(kin_queue_create(arena, NULL, &queues[i]) == 0);
            for (int j = 0; j < 5; j++)
                KT_CHECK(kin_queue_put(queues[i], text, sizeof text, KIN_NOW) == 0);
        }
        for (int i = 0; i < 4; i++)
            kin_queue_destroy(queues[i]);
    }
    return 0;
}

START_TEST(killed_while_creating_and_destroying)
{
    arena = kt_arena(0);
    struct kt_random random = kt_random_of("killed_while_creating_and_destroying", 0);
    struct kin_queue *mine = kt_queue(arena, 0, 0);
    KT_OK(kin_queue_put(mine, "stays", 6, KIN_NOW));
    uint64_t used = kt_stat(arena).used_bytes;
    for (int i = 0; i < kt_scaled(150); i++) {
        pid_t pids[2] = {kt_fork(create_for_ever, NULL), kt_fork(create_for_ever, NULL)};
        usleep((useconds_t)kt_random_below(&random, 5000));
        kt_kill(pids[0]);
        KT_OK(kin_arena_reap(arena));
        kt_kill(pids[1]);
        KT_UNTIL(kin_arena_reap(arena) == 0);
        ck_assert_uint_eq(objects(), 1);
        ck_assert_uint_eq(kt_stat(arena).used_bytes, used);
    }
    char text[6] = "";
    KT_IS(kin_queue_try_get(mine, text, 6), 6);
    ck_assert_str_eq(text, "stays");
    kin_queue_destroy(mine);
    kin_arena_detach(arena);
}
END_TEST

static _Atomic int stop;

static void *create_in_a_thread(void *unused)
{
    (void)unused;
    while (!stop) {
        struct kin_queue *queue = NULL;
        KT_CHECK(kin_queue_create(arena, NULL, &queue) == 0);
        KT_CHECK(kin_queue_put(queue, "a", 2, KIN_NOW) == 0);
        kin_queue_destroy(queue);
    }
    return NULL;
}

static int nothing(void *unused)
{
    (void)unused;
    kin_arena_detach(arena);
    return 0;
}

/* A fork copies the holds of the parent: none may be left over. */
START_TEST(forks_in_between)
{
    arena = kt_arena(0);
    words = kt_share(4096);
    pthread_t threads[2];
    stop = 0;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, create_in_a_thread, NULL), 0);
    for (int i = 0; i < kt_scaled(80); i++)
        ck_assert_int_eq(kt_in_child(nothing, NULL), 0);
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(objects(), 0);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536);
    kt_unshare((void *)words, 4096);
    kin_arena_detach(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena/object");
    TCase *t = kt_case(suite, "objects", 60);
    tcase_add_test(t, destroy_frees_all);
    tcase_add_test(t, thousands_at_once);
    tcase_add_test(t, a_child_holds_it_too);
    tcase_add_test(t, the_last_one_frees_it);
    tcase_add_test(t, killed_while_creating_and_destroying);
    tcase_add_test(t, forks_in_between);
    return kt_run(suite);
}
