/* SPDX-License-Identifier: MIT
 * The queue by its contract, in one process: order, sizes, bounds, deadlines, shutdown, options. */
#include "chan/queue_layout.h"
#include "lib/kin_test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

static struct kin_arena *arena;
static struct kin_queue *queue;

static void open_queue(uint64_t max_items, uint32_t inline_bytes)
{
    arena = kt_arena(1 * GIB);
    queue = kt_queue(arena, max_items, inline_bytes);
}

static void close_queue(void)
{
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    kin_arena_detach(arena);
}

static void put_number(uint64_t number)
{
    KT_OK(kin_queue_put(queue, &number, sizeof number, KIN_NOW));
}

static uint64_t get_number(void)
{
    uint64_t number = UINT64_MAX;
    KT_IS(kin_queue_get(queue, &number, sizeof number, KIN_NOW), sizeof number);
    return number;
}

/* --- order and sizes ------------------------------------------------------------------------ */

START_TEST(first_in_first_out)
{
    open_queue(0, 0);
    for (uint64_t lap = 0; lap < 50; lap++) {
        for (uint64_t i = 0; i < 37 + lap * 20; i++)
            put_number(lap * 10000 + i);
        KT_IS(kin_queue_size(queue), (int64_t)(37 + lap * 20));
        for (uint64_t i = 0; i < 37 + lap * 20; i++)
            if (get_number() != lap * 10000 + i)
                ck_abort_msg("lap %d item %d", (int)lap, (int)i);
        KT_IS(kin_queue_size(queue), 0);
    }
    close_queue();
}
END_TEST

START_TEST(empty_messages)
{
    open_queue(0, 0);
    char buffer[4] = "xyz";
    KT_OK(kin_queue_put(queue, NULL, 0, KIN_NOW));
    KT_OK(kin_queue_put(queue, "", 0, KIN_NOW));
    KT_OK(kin_queue_put(queue, "a", 1, KIN_NOW));
    KT_IS(kin_queue_size(queue), 3);
    KT_IS(kin_queue_next_bytes(queue), 0);
    KT_IS(kin_queue_get(queue, NULL, 0, KIN_NOW), 0);
    KT_IS(kin_queue_get(queue, buffer, sizeof buffer, KIN_NOW), 0);
    ck_assert_str_eq(buffer, "xyz");
    KT_IS(kin_queue_get(queue, buffer, sizeof buffer, KIN_NOW), 1);
    void *data = NULL;
    KT_OK(kin_queue_put(queue, NULL, 0, KIN_NOW));
    KT_IS(kin_queue_get_alloc(queue, &data, KIN_NOW), 0);
    ck_assert_ptr_nonnull(data);
    free(data);
    close_queue();
}
END_TEST

static void round_trip(uint64_t bytes)
{
    unsigned char *data = malloc(bytes + 2), *back = malloc(bytes + 2);
    kt_fill(data, bytes, bytes);
    memset(back, 0x5a, bytes + 2);
    KT_OK(kin_queue_put(queue, data, bytes, KIN_NOW));
    memset(data, 0, bytes); /* the queue has a copy */
    KT_IS(kin_queue_next_bytes(queue), (int64_t)bytes);
    KT_IS(kin_queue_size(queue), 1);
    KT_IS(kin_queue_get(queue, back, bytes + 2, KIN_NOW), (int64_t)bytes);
    ck_assert(kt_filled(back, bytes, bytes));
    ck_assert(back[bytes] == 0x5a && back[bytes + 1] == 0x5a);
    free(data);
    free(back);
}

START_TEST(every_size_around_the_edges)
{
    static const uint32_t inline_bytes[] = {1, 48, 112, 500, 1008};
    for (size_t i = 0; i < sizeof inline_bytes / sizeof inline_bytes[0]; i++) {
        open_queue(_i == 0 ? 0 : 3, inline_bytes[i]);
        for (uint64_t bytes = 1; bytes < 1200; bytes++) /* inline, then in blocks */
            round_trip(bytes);
        for (uint64_t bytes = 4000; bytes < 40000; bytes = bytes * 5 / 4)
            for (uint64_t around = 0; around < 3; around++)
                round_trip(bytes - 1 + around);
        close_queue();
    }
}
END_TEST

START_TEST(large_messages)
{
    open_queue(0, 0);
    static const uint64_t sizes[] = {65535, 65536, 65537, 1 * MIB, 10 * MIB + 1, 100 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        round_trip(sizes[i]);
    /* The last one is kept for the next, until somebody is idle. */
    char none[8];
    while (kt_stat(arena).committed_bytes > 45 * MIB)
        KT_IS(kin_queue_get(queue, none, sizeof none, kin_after_ms(100)), -ETIMEDOUT);
    close_queue();
}
END_TEST

START_TEST(allocated_messages)
{
    open_queue(0, 0);
    static const uint64_t sizes[] = {0, 1, 112, 113, 4095, 4096, 4097, 100000, 3 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *data = malloc(sizes[i] + 1);
        void *back = NULL;
        kt_fill(data, sizes[i], i);
        KT_OK(kin_queue_put(queue, data, sizes[i], KIN_NOW));
        KT_IS(kin_queue_get_alloc(queue, &back, KIN_NOW), (int64_t)sizes[i]);
        ck_assert(kt_filled(back, sizes[i], i));
        free(data);
        free(back);
    }
    void *none = NULL;
    KT_IS(kin_queue_get_alloc(queue, &none, KIN_NOW), -ETIMEDOUT);
    KT_IS(kin_queue_get_alloc(queue, &none, kin_after_ms(2)), -ETIMEDOUT);
    ck_assert_ptr_null(none);
    close_queue();
}
END_TEST

START_TEST(too_long_for_the_buffer)
{
    open_queue(0, 0);
    static const uint64_t sizes[] = {50, 5000, 500000};
    for (size_t i = 0; i < 3; i++) {
        static unsigned char data[500000], back[500000];
        kt_fill(data, sizes[i], i);
        KT_OK(kin_queue_put(queue, data, sizes[i], KIN_NOW));
        put_number(7);
        for (int again = 0; again < 3; again++) {
            KT_IS(kin_queue_get(queue, back, sizes[i] - 1, KIN_NOW), -EMSGSIZE);
            ck_assert_uint_gt(strlen(kin_error_text()), 0);
            KT_IS(kin_queue_try_get(queue, NULL, 0), -EMSGSIZE);
            KT_IS(kin_queue_size(queue), 2); /* it stays */
            KT_IS(kin_queue_next_bytes(queue), (int64_t)sizes[i]);
        }
        KT_IS(kin_queue_get(queue, back, sizes[i], KIN_NOW), (int64_t)sizes[i]);
        ck_assert(kt_filled(back, sizes[i], i));
        ck_assert_uint_eq(get_number(), 7);
    }
    close_queue();
}
END_TEST

START_TEST(wrong_arguments)
{
    arena = kt_arena(64 * MIB);
    queue = kt_queue(arena, 0, 0);
    KT_IS(kin_queue_put(queue, NULL, 5, KIN_NOW), -EINVAL);
    KT_IS(kin_queue_put(queue, "", 1ull << 40, KIN_NOW), -EMSGSIZE);
    KT_IS(kin_queue_put(queue, "", SIZE_MAX, KIN_NOW), -EMSGSIZE);
    KT_IS(kin_queue_try_put(queue, "", 64 * MIB), -EMSGSIZE);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    KT_IS(kin_queue_size(queue), 0);
    KT_IS(kin_queue_next_bytes(queue), -EAGAIN);
    close_queue();
}
END_TEST

/* --- bounds --------------------------------------------------------------------------------- */

START_TEST(bounded)
{
    static const uint64_t bounds[] = {1, 2, 3, 5, 64, 1000, 70000};
    for (size_t b = 0; b < sizeof bounds / sizeof bounds[0]; b++) {
        const uint64_t most = bounds[b];
        open_queue(most, 0);
        ck_assert_uint_eq(kin_queue_max_items(queue), most);
        uint64_t put = 0, got = 0, laps = most < 100 ? 40 : 3;
        for (uint64_t lap = 0; lap < laps; lap++) {
            int r;
            while ((r = kin_queue_try_put(queue, &put, sizeof put)) == 0)
                put++;
            KT_IS(r, -EAGAIN);
            KT_IS(kin_queue_put(queue, &put, sizeof put, KIN_NOW), -ETIMEDOUT);
            KT_IS(kin_queue_put(queue, &put, sizeof put, kin_after_ms(1)), -ETIMEDOUT);
            ck_assert_uint_eq(put - got, most); /* exactly */
            KT_IS(kin_queue_size(queue), (int64_t)most);
            uint64_t take = lap % 3 == 0 ? 1 : lap % 3 == 1 ? most : (most + 1) / 2;
            for (uint64_t i = 0; i < take; i++)
                if (get_number() != got++)
                    ck_abort_msg("bound %d", (int)most);
            KT_IS(kin_queue_size(queue), (int64_t)(most - take));
        }
        close_queue();
    }
}
END_TEST

/* A long message that finds the queue full leaves no block behind. */
START_TEST(a_full_queue_keeps_no_blocks)
{
    open_queue(2, 0);
    static char text[300000];
    KT_OK(kin_queue_put(queue, text, sizeof text, KIN_NOW));
    KT_OK(kin_queue_put(queue, text, sizeof text, KIN_NOW));
    uint64_t used = kt_stat(arena).used_bytes;
    for (int i = 0; i < 50; i++)
        KT_IS(kin_queue_try_put(queue, text, sizeof text), -EAGAIN);
    ck_assert_uint_eq(kt_stat(arena).used_bytes, used);
    close_queue();
}
END_TEST

/* --- time ----------------------------------------------------------------------------------- */

START_TEST(deadlines)
{
    open_queue(1, 0);
    uint64_t number = 1;
    KT_IS(kin_queue_try_get(queue, &number, sizeof number), -EAGAIN);
    KT_IS(kin_queue_get(queue, &number, sizeof number, KIN_NOW), -ETIMEDOUT);
    KT_IS(kin_queue_get(queue, &number, sizeof number, kin_after_ms(-5)), -ETIMEDOUT);
    int64_t until = kin_after_ms(40);
    KT_IS(kin_queue_get(queue, &number, sizeof number, until), -ETIMEDOUT);
    ck_assert_int_ge(kin_now_ns(), until);
    /* a deadline that has passed still takes what is there */
    put_number(5);
    KT_IS(kin_queue_get(queue, &number, sizeof number, KIN_NOW), sizeof number);
    put_number(6);
    KT_IS(kin_queue_get(queue, &number, sizeof number, kin_after_ms(-5)), sizeof number);
    KT_OK(kin_queue_put(queue, &number, sizeof number, kin_after_ms(-5)));
    until = kin_after_ms(40);
    KT_IS(kin_queue_put(queue, &number, sizeof number, until), -ETIMEDOUT);
    ck_assert_int_ge(kin_now_ns(), until);
    ck_assert_uint_eq(get_number(), 6);
    close_queue();
}
END_TEST

static void nothing(int signal)
{
    (void)signal;
}

START_TEST(signals_do_not_end_a_wait)
{
    open_queue(0, 0);
    struct sigaction action = {.sa_handler = nothing}, old;
    sigaction(SIGALRM, &action, &old);
    struct itimerval every = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &every, NULL);
    uint64_t number = 0;
    int64_t until = kin_after_ms(100);
    KT_IS(kin_queue_get(queue, &number, sizeof number, until), -ETIMEDOUT);
    ck_assert_int_ge(kin_now_ns(), until);
    every = (struct itimerval){{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every, NULL);
    sigaction(SIGALRM, &old, NULL);
    close_queue();
}
END_TEST

/* --- shutdown ------------------------------------------------------------------------------- */

static void shut(uint64_t max_items, uint64_t items)
{
    static char text[5000];
    open_queue(max_items, 0);
    for (uint64_t i = 0; i < items; i++)
        KT_OK(kin_queue_put(queue, text, i % 2 ? sizeof text : 8, KIN_NOW));
}

START_TEST(shut_down_when_drained)
{
    static const uint64_t bounds[] = {0, 4, 4, 1000, 0}, items[] = {10, 4, 3, 1000, 0};
    for (int i = 0; i < 5; i++) {
        static char text[5000];
        shut(bounds[i], items[i]);
        for (int twice = 0; twice < 2; twice++) {
            KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
            KT_IS(kin_queue_put(queue, "x", 1, KIN_NEVER), -ESHUTDOWN);
            KT_IS(kin_queue_try_put(queue, text, sizeof text), -ESHUTDOWN);
            KT_IS(kin_queue_size(queue), (int64_t)items[i]);
        }
        for (uint64_t j = 0; j < items[i]; j++)
            KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NEVER), j % 2 ? sizeof text : 8);
        KT_IS(kin_queue_size(queue), 0);
        KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NEVER), -ESHUTDOWN);
        KT_IS(kin_queue_try_get(queue, text, sizeof text), -ESHUTDOWN);
        void *none = NULL;
        KT_IS(kin_queue_get_alloc(queue, &none, KIN_NEVER), -ESHUTDOWN);
        close_queue();
    }
}
END_TEST

START_TEST(shut_down_at_once)
{
    static const uint64_t bounds[] = {0, 4, 1000, 0}, items[] = {900, 4, 1000, 0};
    for (int i = 0; i < 4; i++) {
        static char text[5000];
        shut(bounds[i], items[i]);
        KT_IS(kin_queue_is_shutdown(queue), 0);
        if (i == 0) {
            KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED)); /* then the harder one */
            KT_IS(kin_queue_is_shutdown(queue), 1);
        }
        KT_OK(kin_queue_shutdown(queue, KIN_AT_ONCE));
        KT_IS(kin_queue_is_shutdown(queue), 1);
        KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NEVER), -ESHUTDOWN);
        KT_IS(kin_queue_try_get(queue, text, sizeof text), -ESHUTDOWN);
        KT_IS(kin_queue_put(queue, "x", 1, KIN_NEVER), -ESHUTDOWN);
        KT_IS(kin_queue_size(queue), 0);
        KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED)); /* no way back */
        KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NEVER), -ESHUTDOWN);
        close_queue();
    }
}
END_TEST

static _Atomic int waiting;

static void *wait_for_item(void *unused)
{
    (void)unused;
    char text[8];
    waiting++;
    return (void *)(intptr_t)kin_queue_get(queue, text, sizeof text, KIN_NEVER);
}

static void *wait_for_room(void *unused)
{
    (void)unused;
    waiting++;
    return (void *)(intptr_t)kin_queue_put(queue, "x", 1, KIN_NEVER);
}

static void shutdown_wakes(void *(*fn)(void *), uint64_t items, enum kin_shutdown when)
{
    pthread_t threads[4];
    void *result;
    open_queue(2, 0);
    for (uint64_t i = 0; i < items; i++)
        KT_OK(kin_queue_put(queue, "y", 1, KIN_NOW));
    waiting = 0;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fn, NULL), 0);
    KT_UNTIL(waiting == 4);
    usleep(5000); /* asleep by now, most likely */
    KT_OK(kin_queue_shutdown(queue, when));
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &result);
        ck_assert_int_eq((int)(intptr_t)result, -ESHUTDOWN);
    }
    KT_IS(kin_queue_size(queue), when == KIN_AT_ONCE ? 0 : (int64_t)items);
    close_queue();
}

START_TEST(shutdown_wakes_sleepers)
{
    shutdown_wakes(wait_for_item, 0, KIN_WHEN_DRAINED);
    shutdown_wakes(wait_for_item, 0, KIN_AT_ONCE);
    shutdown_wakes(wait_for_room, 2, KIN_WHEN_DRAINED);
    shutdown_wakes(wait_for_room, 2, KIN_AT_ONCE);
}
END_TEST

/* --- options -------------------------------------------------------------------------------- */

static int create_with(struct kin_queue_opts opts)
{
    struct kin_queue *made = NULL;
    int r = kin_queue_create(arena, &opts, &made);
    ck_assert((r == 0) == (made != NULL));
    kin_queue_destroy(made);
    return r;
}

START_TEST(options)
{
    arena = kt_arena(64 * MIB);
    const uint32_t size = sizeof(struct kin_queue_opts);
    KT_OK(create_with((struct kin_queue_opts){.size = 0}));
    KT_OK(create_with((struct kin_queue_opts){.size = size, .inline_bytes = 1008}));
    KT_IS(create_with((struct kin_queue_opts){.inline_bytes = 1009}), -EINVAL);
    KT_IS(create_with((struct kin_queue_opts){.max_items = UINT64_MAX}), -EINVAL);
    KT_IS(create_with((struct kin_queue_opts){.name = "thirty-two-bytes-are-one-too-man"}),
          -EINVAL);
    KT_OK(create_with((struct kin_queue_opts){.name = "thirty-one-bytes-are-the-most-x"}));
    KT_IS(create_with((struct kin_queue_opts){.size = 1}), -EINVAL);
    KT_OK(create_with(
        (struct kin_queue_opts){.size = offsetof(struct kin_queue_opts, name), .name = (char *)1}));
    KT_OK(create_with((struct kin_queue_opts){.max_items = 1ull << 40}));
    struct {
        struct kin_queue_opts opts;
        uint64_t newer;
    } newer = {.opts = {.size = sizeof newer}, .newer = 1};
    KT_IS(kin_queue_create(arena, &newer.opts, &queue), -E2BIG);
    KT_OK(kin_queue_create(arena, NULL, &queue));
    ck_assert_uint_eq(kin_queue_max_items(queue), 0);
    close_queue();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/queue");
    TCase *t = kt_case(suite, "messages", 60);
    tcase_add_test(t, first_in_first_out);
    tcase_add_test(t, empty_messages);
    tcase_add_loop_test(t, every_size_around_the_edges, 0, 2);
    tcase_add_test(t, large_messages);
    tcase_add_test(t, allocated_messages);
    tcase_add_test(t, too_long_for_the_buffer);
    tcase_add_test(t, wrong_arguments);
    t = kt_case(suite, "bounds", 60);
    tcase_add_test(t, bounded);
    tcase_add_test(t, a_full_queue_keeps_no_blocks);
    t = kt_case(suite, "time", 30);
    tcase_add_test(t, deadlines);
    tcase_add_test(t, signals_do_not_end_a_wait);
    t = kt_case(suite, "shutdown", 30);
    tcase_add_test(t, shut_down_when_drained);
    tcase_add_test(t, shut_down_at_once);
    tcase_add_test(t, shutdown_wakes_sleepers);
    t = kt_case(suite, "options", 30);
    tcase_add_test(t, options);
    return kt_run(suite);
}
