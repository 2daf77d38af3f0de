/* SPDX-License-Identifier: MIT
 * Queues without a bound, or with a large one: a million items and back, and the memory again. */
#include "lib/kin_test.h"

#include <pthread.h>

static struct kin_arena *arena;
static struct kin_queue *queue;

static void put_many(uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++)
        KT_CHECK(kin_queue_put(queue, &i, sizeof i, KIN_NOW) == 0);
}

static void get_many(uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++) {
        uint64_t number = UINT64_MAX;
        KT_CHECK(kin_queue_try_get(queue, &number, sizeof number) == sizeof number);
        KT_CHECK(number == i);
    }
}

START_TEST(a_million_and_back)
{
    const uint64_t count = (uint64_t)kt_scaled(1000000);
    arena = kt_arena(8 * GIB);
    queue = kt_queue(arena, 0, 0);
    uint64_t before = kt_stat(arena).committed_bytes, used = 0, from = 0;
    for (int round = 0; round < 4; round++) {
        put_many(from, count);
        KT_IS(kin_queue_size(queue), (int64_t)count);
        if (round == 0)
            ck_assert_uint_gt(kt_stat(arena).committed_bytes, before + count * 16);
        get_many(from, count);
        KT_IS(kin_queue_size(queue), 0);
        KT_IS(kin_queue_next_bytes(queue), -EAGAIN);
        from += count;
        if (round == 1)
            used = kt_stat(arena).used_bytes;
        if (round > 1) /* segments are used again: later bursts take no more address space */
            ck_assert_uint_le(kt_stat(arena).used_bytes, used);
    }
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 4 * 65536);
    ck_assert_uint_le(kt_stat(arena).committed_bytes, before + 40 * MIB);
    kin_arena_detach(arena);
}
END_TEST

/* "Memory returns to the system after a burst": the queue goes on with little. */
START_TEST(a_burst_does_not_stay)
{
    const uint64_t count = (uint64_t)kt_scaled(1000000);
    arena = kt_arena(8 * GIB);
    queue = kt_queue(arena, 0, 0);
    put_many(0, count);
    uint64_t high = kt_stat(arena).committed_bytes;
    get_many(0, count);
    for (uint64_t i = 0; i < 4 * count; i += 10) { /* ordinary life again */
        put_many(i, 10);
        get_many(i, 10);
    }
    uint64_t low = kt_stat(arena).committed_bytes;
    ck_assert_msg(low < high || high < 64 * MIB, "%llu MiB at the top, %llu MiB after",
                  (unsigned long long)(high >> 20), (unsigned long long)(low >> 20));
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
}
END_TEST

START_TEST(large_messages_leave_nothing)
{
    const uint64_t count = 200, bytes = 1 * MIB;
    char *text = calloc(1, bytes);
    arena = kt_arena(8 * GIB);
    queue = kt_queue(arena, 0, 0);
    uint64_t before = kt_stat(arena).committed_bytes;
    for (uint64_t i = 0; i < count; i++)
        KT_OK(kin_queue_put(queue, text, bytes, KIN_NOW));
    ck_assert_uint_ge(kt_stat(arena).committed_bytes, before + count * bytes);
    for (uint64_t i = 0; i < count; i++)
        KT_IS(kin_queue_get(queue, text, bytes, KIN_NOW), (int64_t)bytes);
    ck_assert_uint_le(kt_stat(arena).committed_bytes, before + 40 * MIB);
    kin_queue_destroy(queue);
    free(text);
    kin_arena_detach(arena);
}
END_TEST

/* Up and down with many depths: segments come and go in every combination. */
START_TEST(waves)
{
    struct kt_random random = kt_random_of("waves", 0);
    arena = kt_arena(8 * GIB);
    queue = kt_queue(arena, _i == 0 ? 0 : 100000, 0);
    uint64_t put = 0, got = 0;
    for (int i = 0; i < kt_scaled(200); i++) {
        uint64_t up = kt_random_size(&random, 20000), room = 100000 - (put - got);
        up = up > room ? room : up;
        put_many(put, up);
        put += up;
        uint64_t down = kt_random_below(&random, 3) ? kt_random_size(&random, 40000) : put - got;
        down = down > put - got ? put - got : down;
        get_many(got, down);
        got += down;
        KT_IS(kin_queue_size(queue), (int64_t)(put - got));
    }
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
}
END_TEST

static void *put_in_a_thread(void *count)
{
    put_many(0, (uint64_t)(uintptr_t)count);
    return NULL;
}

START_TEST(growing_while_it_is_read)
{
    const uint64_t count = (uint64_t)kt_scaled(500000);
    arena = kt_arena(8 * GIB);
    queue = kt_queue(arena, 0, 8);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, put_in_a_thread, (void *)(uintptr_t)count), 0);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = UINT64_MAX;
        KT_CHECK(kin_queue_get(queue, &number, sizeof number, KIN_NEVER) == sizeof number);
        KT_CHECK(number == i);
    }
    pthread_join(thread, NULL);
    KT_IS(kin_queue_size(queue), 0);
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
}
END_TEST

/* No memory for a further segment: an error, nothing lost, and on it goes. */
START_TEST(growth_fails_cleanly)
{
    arena = kt_arena(64 * MIB);
    queue = kt_queue(arena, 0, 0);
    uint64_t put = 0, got = 0;
    for (int round = 0; round < 3; round++) {
        int r;
        while ((r = kin_queue_put(queue, &put, sizeof put, KIN_NOW)) == 0)
            put++;
        KT_IS(r, -ENOMEM);
        ck_assert_ptr_nonnull(strstr(kin_error_text(), "reserve_bytes"));
        KT_IS(kin_queue_size(queue), (int64_t)(put - got));
        ck_assert_uint_gt(put - got, 50000);
        get_many(got, put - got);
        got = put;
        KT_IS(kin_queue_size(queue), 0);
        put_many(put, 100);
        put += 100;
    }
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/queue_growth");
    TCase *t = kt_case(suite, "growth", 60);
    tcase_add_test(t, a_million_and_back);
    tcase_add_test(t, a_burst_does_not_stay);
    tcase_add_test(t, large_messages_leave_nothing);
    tcase_add_loop_test(t, waves, 0, 2);
    tcase_add_test(t, growing_while_it_is_read);
    tcase_add_test(t, growth_fails_cleanly);
    return kt_run(suite);
}
