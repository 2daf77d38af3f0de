/* SPDX-License-Identifier: MIT
 * Pipes within one process: messages, their boundaries, room. */
#include "pipe_fixture.h"

/* --- messages ------------------------------------------------------------------------------- */

static void there(struct kin_pipe *from, struct kin_pipe *to, size_t bytes)
{
    unsigned char *data = malloc(bytes + 1), *got = NULL;
    kt_fill(data, bytes, bytes);
    KT_OK(kin_pipe_send(from, data, bytes, KIN_NOW));
    KT_IS(kin_pipe_next_bytes(to), (int64_t)bytes);
    KT_IS(kin_pipe_recv_alloc(to, (void **)&got, KIN_NOW), (int64_t)bytes);
    ck_assert(kt_filled(got, bytes, bytes));
    free(got);
    free(data);
    KT_IS(kin_pipe_next_bytes(to), -EAGAIN);
}

START_TEST(any_length_both_ways)
{
    begin(0, 0);
    static const size_t lengths[] = {0,    1,     8,     111,     112,      113,     1000,
                                     4096, 32768, 65536, 1 << 20, 10000000, 64 << 20};
    size_t count = sizeof lengths / sizeof lengths[0] - (kt_scaled(2) < 2 ? 2 : 0);
    for (size_t i = 0; i < count; i++) {
        there(a, b, lengths[i]);
        there(b, a, lengths[i]);
    }
    finish();
}
END_TEST

START_TEST(filled_in_place)
{
    begin(KIN_ONE_WAY, 200000); /* a receives */
    static const size_t lengths[] = {0, 1, 100, 5000, 100000};
    char buffer[100];
    void *data, *got;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        KT_OK(kin_pipe_reserve(b, lengths[i] + 10, &data));
        ck_assert_uint_eq((uintptr_t)data % 16, 0);
        kt_fill(data, lengths[i], i);
        KT_OK(kin_pipe_publish(b, data, lengths[i], KIN_NOW));
        KT_IS(kin_pipe_publish(b, data, lengths[i], KIN_NOW), -EINVAL);
        KT_IS(kin_pipe_recv_alloc(a, &got, KIN_NOW), (int64_t)lengths[i]);
        ck_assert(kt_filled(got, lengths[i], i));
        free(got);
    }
    KT_OK(kin_pipe_reserve(b, 150000, &data));
    KT_OK(kin_pipe_publish(b, data, 150000, KIN_NOW));
    KT_OK(kin_pipe_reserve(b, 150000, &data));
    KT_IS(kin_pipe_publish(b, data, 1 << 20, KIN_NOW), -EINVAL);
    KT_IS(kin_pipe_publish(b, data, 150000, KIN_NOW), -ETIMEDOUT); /* full; it is still ours */
    KT_OK(kin_pipe_cancel(b, data));
    KT_IS(kin_pipe_cancel(b, data), -EINVAL);
    KT_IS(kin_pipe_reserve(a, 10, &data), -EBADF);
    KT_IS(kin_pipe_publish(b, buffer, 10, KIN_NOW), -EINVAL);
    KT_OK(kin_pipe_reserve(b, 1000, &data));
    finish(); /* nothing is left but what is reserved, which goes with the arena */
}
END_TEST

START_TEST(order_and_boundaries)
{
    begin(0, 0);
    struct kt_random random = kt_random_of("boundaries", 0);
    uint64_t sent = 0, received = 0, lengths[600];
    unsigned char data[3000];
    while (received < 3000) {
        if (sent - received < 500 && kt_random_below(&random, 2)) {
            lengths[sent % 600] = kt_random_size(&random, sizeof data);
            kt_fill(data, lengths[sent % 600], sent);
            if (kin_pipe_try_send(a, data, lengths[sent % 600]) == 0)
                sent++;
        } else if (sent > received) {
            KT_IS(kin_pipe_try_recv(b, data, sizeof data), (int64_t)lengths[received % 600]);
            ck_assert(kt_filled(data, lengths[received % 600], received));
            received++;
        }
    }
    finish();
}
END_TEST

START_TEST(too_small_a_buffer)
{
    begin(0, 0);
    char data[300] = "long", small[10], got[300];
    KT_OK(kin_pipe_send(a, data, sizeof data, KIN_NOW));
    KT_OK(kin_pipe_send(a, data, 5, KIN_NOW));
    KT_IS(kin_pipe_recv(b, small, sizeof small, KIN_NOW), -EMSGSIZE);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "300"));
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "10"));
    KT_IS(kin_pipe_try_recv(b, small, 0), -EMSGSIZE);
    KT_IS(kin_pipe_next_bytes(b), 300);
    KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NOW), 300);
    KT_IS(kin_pipe_recv(b, small, 4, KIN_NOW), -EMSGSIZE);
    KT_IS(kin_pipe_recv(b, small, 5, KIN_NOW), 5);
    finish();
}
END_TEST

START_TEST(one_way)
{
    begin(KIN_ONE_WAY, 0);
    char byte = 'x';
    KT_IS(kin_pipe_send(a, &byte, 1, KIN_NEVER), -EBADF);
    KT_IS(kin_pipe_recv(b, &byte, 1, KIN_NEVER), -EBADF);
    KT_IS(kin_pipe_poll(b, KIN_NEVER), -EBADF);
    KT_IS(kin_pipe_next_bytes(b), -EBADF);
    const struct kin_wait wrong[] = {kin_wait_recv(b), kin_wait_send(a)};
    KT_IS(kin_wait_any(arena, &wrong[0], 1, KIN_NEVER), -EBADF);
    KT_IS(kin_wait_any(arena, &wrong[1], 1, KIN_NEVER), -EBADF);
    there(b, a, 100);
    KT_OK(kin_pipe_send(b, &byte, 1, KIN_NOW));
    kin_pipe_close(b);
    b = NULL;
    KT_IS(kin_pipe_recv(a, &byte, 1, KIN_NEVER), 1);
    KT_IS(kin_pipe_recv(a, &byte, 1, KIN_NEVER), -ESHUTDOWN);
    finish();
}
END_TEST

START_TEST(bad_arguments)
{
    begin(0, 0);
    struct kin_pipe *x, *y;
    struct kin_pipe_opts opts = {.size = sizeof opts, .flags = 64};
    KT_IS(kin_pipe_create(arena, &opts, &x, &y), -EINVAL);
    opts = (struct kin_pipe_opts){.size = sizeof opts, .capacity_bytes = UINT64_MAX};
    KT_IS(kin_pipe_create(arena, &opts, &x, &y), -EINVAL);
    opts = (struct kin_pipe_opts){.name = "a name that is far longer than a name may be"};
    KT_IS(kin_pipe_create(arena, &opts, &x, &y), -EINVAL);
    KT_IS(kin_pipe_send(a, NULL, 1, KIN_NOW), -EINVAL);
    KT_IS(kin_pipe_send(a, "", (size_t)1 << 50, KIN_NOW), -EMSGSIZE);
    struct kin_queue *other = kt_queue(arena, 0, 0);
    KT_IS(kin_pipe_send((struct kin_pipe *)other, "", 1, KIN_NOW), -EPROTOTYPE);
    kin_queue_destroy(other);
    KT_IS(kin_pipe_send_fd(a, 0, KIN_NOW), -ENOTSUP);
    int fd;
    KT_IS(kin_pipe_recv_fd(a, &fd, KIN_NOW), -ENOTSUP);
    kin_pipe_close(NULL);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 3);
    kin_pipe_close(a);
    kin_pipe_close(b);
    kin_arena_detach(arena);
}
END_TEST

/* --- room ----------------------------------------------------------------------------------- */

static uint64_t fill_up(size_t bytes)
{
    static char data[1 << 20];
    uint64_t count = 0;
    int r;
    while ((r = kin_pipe_try_send(a, data, bytes)) == 0)
        count++;
    KT_IS(r, -EAGAIN);
    return count;
}

START_TEST(room_in_bytes)
{
    begin(0, 100000);
    static char got[1 << 20];
    ck_assert_uint_eq(fill_up(10000), 10);
    KT_IS(kin_pipe_send(a, got, 1, kin_after_ms(1)), -ETIMEDOUT);
    for (int i = 0; i < 4; i++)
        KT_IS(kin_pipe_try_recv(b, got, sizeof got), 10000);
    ck_assert_uint_eq(fill_up(10000), 4);
    for (int i = 0; i < 10; i++)
        KT_IS(kin_pipe_try_recv(b, got, sizeof got), 10000);
    /* longer than the capacity: when it is empty */
    ck_assert_uint_eq(fill_up(300000), 1);
    KT_IS(kin_pipe_try_send(a, got, 0), -EAGAIN);
    KT_IS(kin_pipe_try_recv(b, got, sizeof got), 300000);
    ck_assert_uint_eq(fill_up(50000), 2);
    finish();
}
END_TEST

START_TEST(room_in_messages)
{
    begin(0, 0);
    uint64_t count = fill_up(0);
    ck_assert_uint_ge(count, 256);
    for (uint64_t i = 0; i < count; i++)
        KT_IS(kin_pipe_try_recv(b, NULL, 0), 0);
    KT_IS(kin_pipe_try_recv(b, NULL, 0), -EAGAIN);
    ck_assert_uint_eq(fill_up(0), count);
    finish();
}
END_TEST

/* Somebody died between the message and the counter: too little room, then too much. */
START_TEST(wrong_counters_are_set_right)
{
    begin(0, 100000);
    static char got[1 << 20];
    a->out->received -= 10000000;
    ck_assert_uint_eq(fill_up(10000), 10);
    for (int i = 0; i < 10; i++)
        KT_IS(kin_pipe_try_recv(b, got, sizeof got), 10000);
    a->out->sent -= 40000;
    KT_IS(kin_pipe_try_recv(b, got, sizeof got), -EAGAIN);
    ck_assert_uint_eq(fill_up(10000), 10);
    a->out->sent -= 40000;
    ck_assert_uint_eq(fill_up(10000), 4);
    for (int i = 0; i < 14; i++)
        KT_IS(kin_pipe_try_recv(b, got, sizeof got), 10000);
    KT_IS(kin_pipe_poll(b, KIN_NOW), 0);
    ck_assert_uint_eq(fill_up(10000), 10);
    finish();
}
END_TEST

#define MANY 20000

static void *send_many(void *arg)
{
    struct kin_pipe *end = arg;
    struct kt_random random = kt_random_of("send_many", 0);
    static unsigned char data[5000];
    for (uint64_t i = 0; i < (uint64_t)kt_scaled(MANY); i++) {
        uint64_t bytes = 8 + kt_random_size(&random, sizeof data - 8);
        memcpy(data, &i, 8);
        kt_fill(data + 8, bytes - 8, i);
        KT_CHECK(kin_pipe_send(end, data, bytes, KIN_NEVER) == 0);
    }
    return NULL;
}

static void *receive_many(void *arg)
{
    struct kin_pipe *end = arg;
    static unsigned char data[5000];
    for (uint64_t i = 0; i < (uint64_t)kt_scaled(MANY); i++) {
        uint64_t number;
        int64_t r = kin_pipe_recv(end, data, sizeof data, KIN_NEVER);
        KT_CHECK(r >= 8);
        memcpy(&number, data, 8);
        KT_CHECK(number == i && kt_filled(data + 8, (uint64_t)r - 8, i));
    }
    return NULL;
}

START_TEST(threads_at_both_ends)
{
    static const uint64_t capacities[] = {0, 10000, 1};
    for (size_t i = 0; i < 3; i++) {
        begin(0, capacities[i]);
        pthread_t threads[2];
        start(send_many, a, &threads[0]);
        start(receive_many, b, &threads[1]);
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        finish();
    }
}
END_TEST

static kini_a64 sum;

static void *send_some(void *unused)
{
    char data[200] = "";
    (void)unused;
    for (int i = 0; i < kt_scaled(MANY) / 4; i++)
        KT_CHECK(kin_pipe_send(a, data, (size_t)i % sizeof data, KIN_NEVER) == 0);
    return NULL;
}

static void *receive_until_the_end(void *unused)
{
    char data[200];
    int64_t r;
    (void)unused;
    while ((r = kin_pipe_recv(b, data, sizeof data, KIN_NEVER)) >= 0)
        kini_add_sc(&sum, (uint64_t)r + 1);
    KT_CHECK(r == -ESHUTDOWN);
    return NULL;
}

START_TEST(several_threads_at_each_end)
{
    begin(0, 5000);
    pthread_t senders[3], receivers[3];
    uint64_t expected = 0;
    for (int i = 0; i < kt_scaled(MANY) / 4; i++)
        expected += 3 * ((uint64_t)i % 200 + 1);
    for (int i = 0; i < 3; i++) {
        start(send_some, NULL, &senders[i]);
        start(receive_until_the_end, NULL, &receivers[i]);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(senders[i], NULL);
    kin_pipe_close(a);
    a = NULL;
    for (int i = 0; i < 3; i++)
        pthread_join(receivers[i], NULL);
    ck_assert_uint_eq(sum, expected);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/pipe");
    TCase *t = kt_case(suite, "pipe", 100);
    tcase_add_test(t, any_length_both_ways);
    tcase_add_test(t, filled_in_place);
    tcase_add_test(t, order_and_boundaries);
    tcase_add_test(t, too_small_a_buffer);
    tcase_add_test(t, one_way);
    tcase_add_test(t, bad_arguments);
    tcase_add_test(t, room_in_bytes);
    tcase_add_test(t, room_in_messages);
    tcase_add_test(t, wrong_counters_are_set_right);
    tcase_add_test(t, threads_at_both_ends);
    tcase_add_test(t, several_threads_at_each_end);
    return kt_run(suite);
}
