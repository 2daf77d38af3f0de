/* SPDX-License-Identifier: MIT
 * Pipes within one process: the end of file, closing, waits. */
#include "pipe_fixture.h"

START_TEST(drained_before_the_end_of_file)
{
    begin(0, 0);
    char got[200];
    for (int i = 0; i < 100; i++)
        KT_OK(kin_pipe_send(a, got, (size_t)i * 2, KIN_NOW));
    KT_OK(kin_pipe_send(b, got, 200, KIN_NOW));
    kin_pipe_close(a);
    a = NULL;
    KT_IS(kin_pipe_send(b, got, 1, KIN_NEVER), -EPIPE);
    KT_IS(kin_pipe_poll(b, KIN_NOW), 1);
    for (int i = 0; i < 100; i++)
        KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NEVER), i * 2);
    KT_IS(kin_pipe_poll(b, KIN_NOW), 1);
    KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NEVER), -ESHUTDOWN);
    KT_IS(kin_pipe_try_recv(b, got, sizeof got), -ESHUTDOWN);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 2);
    finish();
}
END_TEST

/* What nobody will receive gives its memory back. */
START_TEST(unreceived_messages_are_freed)
{
    begin(0, 64 * MIB);
    static char data[1 << 20];
    for (int i = 0; i < 20; i++)
        KT_OK(kin_pipe_send(a, data, sizeof data, KIN_NOW));
    uint64_t full = kt_stat(arena).used_bytes;
    kin_pipe_close(b);
    b = NULL;
    ck_assert_uint_lt(kt_stat(arena).used_bytes + 19 * MIB, full);
    finish();
}
END_TEST

static void *receive_one(void *arg)
{
    char got[10];
    *(kini_a64 *)arg = (uint64_t)-kin_pipe_recv(b, got, sizeof got, KIN_NEVER);
    return NULL;
}

static void *send_one(void *arg)
{
    *(kini_a64 *)arg = (uint64_t)-kin_pipe_send(a, "y", 2, KIN_NEVER);
    return NULL;
}

static void *poll_one(void *arg)
{
    *(kini_a64 *)arg = (uint64_t)kin_pipe_poll(b, KIN_NEVER);
    return NULL;
}

/* Until so many threads wait there: they are in the call then, and the handle may be closed. */
static void until_they_wait(struct kini_waitq_shm *queue, uint32_t count)
{
    KT_UNTIL(kini_load_sc(&queue->nwait) == count);
}

static struct kini_waitq_shm *receivers_of(struct kin_pipe *end)
{
    return &end->in->ring.getters;
}

static struct kini_waitq_shm *senders_of(struct kin_pipe *end)
{
    return &end->out->ring.putters;
}

START_TEST(closing_wakes_the_other_end)
{
    kini_a64 results[3];
    pthread_t threads[3];
    begin(0, 10);
    start(receive_one, &results[0], &threads[0]);
    start(poll_one, &results[1], &threads[1]);
    until_they_wait(receivers_of(b), 2);
    kin_pipe_close(a);
    a = NULL;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    ck_assert_uint_eq(results[0], ESHUTDOWN);
    ck_assert_uint_eq(results[1], 1);
    finish();

    begin(0, 10);
    KT_OK(kin_pipe_send(a, "0123456789", 10, KIN_NOW));
    start(send_one, &results[2], &threads[2]);
    until_they_wait(senders_of(a), 1);
    kin_pipe_close(b);
    b = NULL;
    pthread_join(threads[2], NULL);
    ck_assert_uint_eq(results[2], EPIPE);
    finish();
}
END_TEST

START_TEST(closing_wakes_our_own)
{
    kini_a64 results[2];
    pthread_t threads[2];
    begin(0, 10);
    KT_OK(kin_pipe_send(a, "0123456789", 10, KIN_NOW));
    char got[10];
    start(send_one, &results[0], &threads[0]);
    until_they_wait(senders_of(a), 1);
    kin_pipe_close(a);
    a = NULL;
    pthread_join(threads[0], NULL);
    ck_assert_uint_eq(results[0], ESTALE);
    KT_IS(kin_pipe_recv(b, got, 10, KIN_NOW), 10);
    finish();

    begin(0, 10);
    start(receive_one, &results[1], &threads[1]);
    until_they_wait(receivers_of(b), 1);
    kin_pipe_close(b);
    b = NULL;
    pthread_join(threads[1], NULL);
    ck_assert_uint_eq(results[1], ESTALE);
    finish();
}
END_TEST

static void *receive_until_it_is_closed(void *arg)
{
    char got[10];
    int64_t r;
    while ((r = kin_pipe_recv(b, got, sizeof got, KIN_NEVER)) >= 0)
        ;
    *(kini_a64 *)arg = (uint64_t)-r;
    return NULL;
}

/* The handle is used all the time, and freed when the threads are done with it. */
START_TEST(interrupted_then_closed)
{
    struct kt_random random = kt_random_of("interrupted", 0);
    for (int i = 0; i < kt_scaled(100); i++) {
        kini_a64 results[2];
        pthread_t threads[2];
        begin(0, 100);
        start(receive_until_it_is_closed, &results[0], &threads[0]);
        start(receive_until_it_is_closed, &results[1], &threads[1]);
        for (uint64_t sent = kt_random_below(&random, 40); sent > 0; sent--)
            KT_OK(kin_pipe_send(a, "0123456789", 10, KIN_NEVER));
        kin_pipe_interrupt(b);
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        ck_assert_uint_eq(results[0], ESTALE);
        ck_assert_uint_eq(results[1], ESTALE);
        KT_IS(kin_pipe_send(b, "x", 1, KIN_NOW), -ESTALE);
        KT_IS(kin_pipe_poll(b, KIN_NEVER), -ESTALE);
        KT_IS(kin_pipe_poll(a, KIN_NOW), 0); /* it is not closed */
        kin_pipe_interrupt(b);
        finish();
    }
    kin_pipe_interrupt(NULL);
}
END_TEST

/* --- waits ---------------------------------------------------------------------------------- */

START_TEST(poll_and_timeouts)
{
    begin(0, 0);
    char got[10];
    KT_IS(kin_pipe_poll(b, KIN_NOW), 0);
    KT_IS(kin_pipe_poll(b, kin_after_ms(5)), 0);
    KT_IS(kin_pipe_recv(b, got, 10, kin_after_ms(5)), -ETIMEDOUT);
    KT_IS(kin_pipe_recv(b, got, 10, KIN_NOW), -ETIMEDOUT);
    KT_IS(kin_pipe_try_recv(b, got, 10), -EAGAIN);
    KT_OK(kin_pipe_send(a, "abc", 3, KIN_NOW));
    KT_IS(kin_pipe_poll(b, KIN_NEVER), 1);
    KT_IS(kin_pipe_poll(a, KIN_NOW), 0);
    KT_IS(kin_pipe_recv(b, got, 10, KIN_NOW), 3);
    KT_IS(kin_pipe_poll(b, KIN_NOW), 0);
    finish();
}
END_TEST

/* One polls, one receives, both asleep: a message serves both. */
START_TEST(poll_takes_no_wake_away)
{
    kini_a64 results[2];
    pthread_t threads[2];
    begin(0, 0);
    for (int i = 0; i < 20; i++) {
        start(poll_one, &results[0], &threads[0]);
        until_they_wait(receivers_of(b), 1);
        start(receive_one, &results[1], &threads[1]);
        until_they_wait(receivers_of(b), 2);
        KT_OK(kin_pipe_send(a, "", 1, KIN_NOW));
        pthread_join(threads[1], NULL);
        KT_OK(kin_pipe_send(a, "", 1, KIN_NOW)); /* the first may have gone before it looked */
        pthread_join(threads[0], NULL);
        char got[1];
        KT_IS(kin_pipe_recv(b, got, 1, KIN_NOW), 1);
        ck_assert_uint_eq(results[0], 1);
        ck_assert_uint_eq((uint64_t)-results[1], 1);
    }
    finish();
}
END_TEST

static void *wait_for_any(void *arg)
{
    const struct kin_wait waits[] = {kin_wait_send(a), kin_wait_recv(b), kin_wait_recv(a)};
    *(kini_a64 *)arg = (uint64_t)kin_wait_any(arena, waits, 3, KIN_NEVER);
    return NULL;
}

START_TEST(wait_any)
{
    begin(0, 10);
    kini_a64 which;
    pthread_t thread;
    char got[20];
    struct kin_wait waits[] = {kin_wait_recv(b), kin_wait_send(a), kin_wait_recv(a)};
    KT_IS(kin_wait_any(arena, waits, 3, KIN_NOW), 1);
    KT_IS(kin_wait_any(arena, waits, 1, KIN_NOW), -ETIMEDOUT);
    KT_OK(kin_pipe_send(a, "0123456789", 10, KIN_NOW));
    KT_IS(kin_wait_any(arena, waits, 3, KIN_NOW), 0);
    KT_IS(kin_wait_any(arena, &waits[1], 2, KIN_NOW), -ETIMEDOUT);
    KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NOW), 10);
    for (int i = 0; i < 10; i++) {
        KT_OK(kin_pipe_send(a, "0123456789", 10, KIN_NOW));
        waits[0] = kin_wait_send(a);
        KT_IS(kin_wait_any(arena, waits, 1, KIN_NOW), -ETIMEDOUT);
        KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NOW), 10);
        KT_IS(kin_wait_any(arena, waits, 1, KIN_NOW), 0);
    }
    /* asleep, woken by a message, and by the end of file */
    KT_OK(kin_pipe_send(a, "0123456789", 10, KIN_NOW));
    KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NOW), 10);
    KT_OK(kin_pipe_send(b, "0123456789", 10, KIN_NOW));
    KT_IS(kin_pipe_recv(a, got, sizeof got, KIN_NOW), 10);
    static char more[20];
    KT_OK(kin_pipe_send(a, more, 20, KIN_NOW));
    start(wait_for_any, &which, &thread);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(which, 1); /* the message for b */
    finish();
}
END_TEST

static void *wait_for_recv(void *arg)
{
    const struct kin_wait waits[] = {kin_wait_recv(b)};
    *(kini_a64 *)arg = (uint64_t)kin_wait_any(arena, waits, 1, KIN_NEVER);
    return NULL;
}

static void *wait_for_room(void *arg)
{
    const struct kin_wait waits[] = {kin_wait_send(a)};
    *(kini_a64 *)arg = (uint64_t)kin_wait_any(arena, waits, 1, KIN_NEVER);
    return NULL;
}

START_TEST(wait_any_asleep)
{
    kini_a64 which;
    pthread_t thread;
    char got[10];
    begin(0, 10);
    start(wait_for_recv, &which, &thread);
    until_they_wait(receivers_of(b), 1);
    KT_OK(kin_pipe_send(a, "0123456789", 10, KIN_NOW));
    pthread_join(thread, NULL);
    ck_assert_uint_eq(which, 0);
    start(wait_for_room, &which, &thread);
    until_they_wait(senders_of(a), 1);
    KT_IS(kin_pipe_recv(b, got, 10, KIN_NOW), 10);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(which, 0);
    start(wait_for_recv, &which, &thread);
    until_they_wait(receivers_of(b), 1);
    kin_pipe_close(a);
    a = NULL;
    pthread_join(thread, NULL);
    ck_assert_uint_eq(which, 0);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/pipe_end");
    TCase *t = kt_case(suite, "pipe_end", 100);
    tcase_add_test(t, drained_before_the_end_of_file);
    tcase_add_test(t, unreceived_messages_are_freed);
    tcase_add_test(t, closing_wakes_the_other_end);
    tcase_add_test(t, closing_wakes_our_own);
    tcase_add_test(t, interrupted_then_closed);
    tcase_add_test(t, poll_and_timeouts);
    tcase_add_test(t, poll_takes_no_wake_away);
    tcase_add_test(t, wait_any);
    tcase_add_test(t, wait_any_asleep);
    return kt_run(suite);
}
