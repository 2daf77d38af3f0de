/* SPDX-License-Identifier: MIT
 * Threads register at their first use and are gone when they end; what they leave is taken over. */
#include "arena/arena.h"
#include "lib/kin_test.h"

#include <pthread.h>

static struct kin_arena *arena, *second;
static pthread_barrier_t meet;

static uint32_t threads_count(void)
{
    return kt_stat(arena).threads_count;
}

static void start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
    ck_assert_int_eq(pthread_create(thread, NULL, fn, arg), 0);
}

static void *use(void *unused)
{
    (void)unused;
    void *block;
    KT_CHECK(kin_block_alloc(arena, 100, &block) == 0);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    KT_CHECK(kin_block_free(arena, block) == 0);
    return NULL;
}

static void *stay_away(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    return NULL;
}

START_TEST(threads_are_counted_while_they_run)
{
    enum { COUNT = 20 };
    arena = kt_arena(0);
    pthread_t threads[COUNT + 5];
    pthread_barrier_init(&meet, NULL, COUNT + 5 + 1);
    for (int i = 0; i < COUNT + 5; i++)
        start(&threads[i], i < COUNT ? use : stay_away, NULL);
    pthread_barrier_wait(&meet);
    ck_assert_uint_eq(threads_count(), COUNT + 1); /* those that use it, and the main thread */
    pthread_barrier_wait(&meet);
    for (int i = 0; i < COUNT + 5; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(threads_count(), 1);
    pthread_barrier_destroy(&meet);
    kin_arena_detach(arena);
}
END_TEST

static void *leave_blocks(void *blocks)
{
    void **ptrs = blocks;
    for (int i = 0; i < 100; i++) {
        KT_CHECK(kin_block_alloc(arena, (uint64_t)(i + 1) * 50, &ptrs[i]) == 0);
        kt_fill(ptrs[i], (uint64_t)(i + 1) * 50, (uint64_t)i);
    }
    return NULL;
}

/* A block belongs to the process, not to the thread that allocated it. */
START_TEST(blocks_outlive_their_thread)
{
    arena = kt_arena(0);
    uint64_t used = 0;
    for (int round = 0; round < kt_scaled(100); round++) {
        void *blocks[100];
        pthread_t thread;
        start(&thread, leave_blocks, blocks);
        pthread_join(thread, NULL);
        for (int i = 0; i < 100; i++)
            ck_assert(kt_filled(blocks[i], (uint64_t)(i + 1) * 50, (uint64_t)i));
        for (int i = 0; i < 100; i++)
            KT_OK(kin_block_free(arena, blocks[i]));
        if (round == 1)
            used = kt_stat(arena).used_bytes;
        if (round > 1) /* spans of ended threads are used again, not left */
            ck_assert_uint_le(kt_stat(arena).used_bytes, used + 65536);
    }
    kin_arena_detach(arena);
}
END_TEST

static void *one_block(void *unused)
{
    (void)unused;
    void *block;
    KT_CHECK(kin_block_alloc(arena, 64, &block) == 0);
    KT_CHECK(kin_block_free(arena, block) == 0);
    return NULL;
}

START_TEST(records_and_spans_are_used_again)
{
    arena = kt_arena(0);
    for (int i = 0; i < kt_scaled(500); i++) {
        pthread_t thread;
        start(&thread, one_block, NULL);
        pthread_join(thread, NULL);
    }
    ck_assert_uint_eq(threads_count(), 1);
    ck_assert_uint_le(kini_load(&arena->super->threads_high), 4);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 2 * 65536);
    kin_arena_detach(arena);
}
END_TEST

static void *use_both(void *unused)
{
    (void)unused;
    for (int i = 0; i < 1000; i++) {
        void *a, *b;
        KT_CHECK(kin_block_alloc(arena, 40, &a) == 0);
        KT_CHECK(kin_block_alloc(second, 40, &b) == 0);
        KT_CHECK(kin_block_free(arena, b) == -EINVAL);
        KT_CHECK(kin_block_free(arena, a) == 0);
        KT_CHECK(kin_block_free(second, b) == 0);
    }
    return NULL;
}

START_TEST(a_thread_in_two_arenas)
{
    arena = kt_arena(0);
    second = kt_arena(64 * MIB);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        start(&threads[i], use_both, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(threads_count(), 1);
    ck_assert_uint_eq(kt_stat(second).threads_count, 1);
    kin_arena_detach(second);
    kin_arena_detach(arena);
}
END_TEST

static void *outlive_the_arena(void *unused)
{
    (void)unused;
    void *block;
    KT_CHECK(kin_block_alloc(arena, 100, &block) == 0);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet); /* meanwhile: detached, and another one made */
    KT_CHECK(kin_block_alloc(arena, 100, &block) == 0);
    return NULL;
}

START_TEST(threads_outlive_an_arena)
{
    pthread_t threads[4];
    pthread_barrier_init(&meet, NULL, 5);
    arena = kt_arena(0);
    for (int i = 0; i < 4; i++)
        start(&threads[i], outlive_the_arena, NULL);
    pthread_barrier_wait(&meet);
    kin_arena_detach(arena);
    arena = kt_arena(0); /* likely with the same handle address */
    pthread_barrier_wait(&meet);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(threads_count(), 1);
    kin_arena_detach(arena);
    pthread_barrier_destroy(&meet);
}
END_TEST

static void *outlive_and_end(void *unused)
{
    (void)unused;
    void *block;
    KT_CHECK(kin_block_alloc(arena, 100, &block) == 0);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    return NULL;
}

START_TEST(threads_end_after_the_arena)
{
    pthread_t threads[4];
    pthread_barrier_init(&meet, NULL, 5);
    arena = kt_arena(0);
    for (int i = 0; i < 4; i++)
        start(&threads[i], outlive_and_end, NULL);
    pthread_barrier_wait(&meet);
    kin_arena_detach(arena);
    pthread_barrier_wait(&meet);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&meet);
}
END_TEST

static void *come_and_go(void *number)
{
    struct kt_random random = kt_random_of("come_and_go", (uint64_t)(uintptr_t)number);
    void *blocks[16] = {NULL};
    for (int i = 0; i < 300; i++) {
        uint64_t at = kt_random_below(&random, 16);
        KT_CHECK(kin_block_free(arena, blocks[at]) == 0);
        KT_CHECK(kin_block_alloc(arena, kt_random_size(&random, 70000), &blocks[at]) == 0);
    }
    for (int i = 0; i < 16; i++)
        KT_CHECK(kin_block_free(arena, blocks[i]) == 0);
    return NULL;
}

START_TEST(many_come_and_go_at_once)
{
    arena = kt_arena(0);
    for (int round = 0; round < kt_scaled(20); round++) {
        pthread_t threads[8];
        for (int i = 0; i < 8; i++)
            start(&threads[i], come_and_go, (void *)(uintptr_t)(round * 8 + i));
        for (int i = 0; i < 8; i++)
            pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(threads_count(), 1);
    ck_assert_uint_le(kini_load(&arena->super->threads_high), 12);
    kin_arena_detach(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena/thread");
    TCase *t = kt_case(suite, "threads", 30);
    tcase_add_test(t, threads_are_counted_while_they_run);
    tcase_add_test(t, blocks_outlive_their_thread);
    tcase_add_test(t, records_and_spans_are_used_again);
    tcase_add_test(t, a_thread_in_two_arenas);
    tcase_add_test(t, threads_outlive_an_arena);
    tcase_add_test(t, threads_end_after_the_arena);
    tcase_add_test(t, many_come_and_go_at_once);
    return kt_run(suite);
}
