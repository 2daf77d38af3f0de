/* SPDX-License-Identifier: MIT
 * A side of a pipe that one thread has for itself: who gets it, and what becomes of it when another
 * one comes. */
#include "arena/arena.h"
#include "chan/pipe.h"
#include "lib/kin_test.h"

#include <errno.h>
#include <pthread.h>

#define SENDERS 3

static struct kin_arena *arena;
static struct kin_pipe *a, *b;
static struct kini_segment_shm *segment; /* from a to b */

static void open_pipe(void)
{
    const struct kin_pipe_opts opts = {.size = sizeof opts, .capacity_bytes = 20000};
    KT_OK(kin_pipe_create(arena, &opts, &a, &b));
    segment = kini_segment_of(arena, kini_load(&b->in->ring.get_at));
}

static void begin(void)
{
    arena = kt_arena(kt_under_valgrind() ? 256 * MIB : 1 * GIB);
    open_pipe();
}

static void close_pipe(void)
{
    kin_pipe_close(a);
    kin_pipe_close(b);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}

static void finish(void)
{
    close_pipe();
    kin_arena_detach(arena);
}

static void in_another_thread(void *(*fn)(void *))
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, fn, NULL), 0);
    pthread_join(thread, NULL);
}

static void send_number(uint64_t number)
{
    KT_CHECK(kin_pipe_send(a, &number, sizeof number, KIN_NEVER) == 0);
}

static void expect_number(uint64_t number)
{
    uint64_t got;
    KT_CHECK(kin_pipe_try_recv(b, &got, sizeof got) == sizeof got && got == number);
}

/* --- who has it ---------------------------------------------------------------------------------
 */

static void *send_seven(void *unused)
{
    send_number(7);
    return unused;
}

static void *expect_three(void *unused)
{
    expect_number(3);
    return unused;
}

static bool may_own(void)
{
    return kini_load(&arena->super->no_fence) == 0;
}

START_TEST(the_first_has_it_until_another_comes)
{
    begin();
    ck_assert_uint_eq(kini_load(&segment->put_solo.owner), KINI_SOLO_FREE);
    for (uint64_t i = 1; i <= 5; i++)
        send_number(i);
    if (may_own()) {
        ck_assert_uint_eq(kini_load(&segment->put_solo.owner), kini_last_self->owner_word);
        ck_assert_uint_eq(kini_load(&segment->tail), kini_load(&segment->base));
    }
    ck_assert_uint_eq(kini_tail(segment), kini_load(&segment->base) + 5);
    in_another_thread(send_seven);
    ck_assert_uint_eq(kini_load(&segment->put_solo.owner), 0);
    ck_assert_uint_eq(kini_load(&segment->tail), kini_load(&segment->base) + 6);
    send_number(8);
    expect_number(1);
    expect_number(2);
    if (may_own())
        ck_assert_uint_eq(kini_load(&segment->get_solo.owner), kini_last_self->owner_word);
    in_another_thread(expect_three);
    ck_assert_uint_eq(kini_load(&segment->get_solo.owner), 0);
    expect_number(4);
    expect_number(5);
    expect_number(7);
    expect_number(8);
    KT_IS(kin_pipe_poll(b, KIN_NOW), 0);
    ck_assert_uint_eq(kini_queue_count(kini_last_self, &b->in->ring), 0);
    finish();
}
END_TEST

START_TEST(without_fences_nobody_has_it)
{
    begin();
    send_number(1);
    kini_store_sc(&arena->super->no_fence, 1);
    send_number(2);
    ck_assert_uint_eq(kini_load(&segment->put_solo.owner), 0);
    for (uint64_t i = 1; i <= 2; i++)
        expect_number(i);
    ck_assert_uint_eq(kini_load(&segment->get_solo.owner), 0);
    finish();
}
END_TEST

/* --- wakes ------------------------------------------------------------------------------------ */

static void *receive_nine(void *unused)
{
    uint64_t got;
    KT_CHECK(kin_pipe_recv(b, &got, sizeof got, KIN_NEVER) == sizeof got && got == 9);
    return unused;
}

START_TEST(calm_until_somebody_waits)
{
    begin();
    struct kini_waitq_shm *getters = &b->in->ring.getters;
    for (uint64_t i = 0; i < KINI_WAITQ_QUIET; i++) {
        send_number(i);
        expect_number(i);
    }
    if (may_own())
        ck_assert_uint_eq(kini_load(&getters->calm), KINI_WAITQ_CALM);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, receive_nine, NULL), 0);
    KT_UNTIL(kini_load_sc(&getters->nwait) == 1 && kini_load_sc(&getters->calm) == 0);
    send_number(9);
    pthread_join(thread, NULL);
    finish();
}
END_TEST

/* So that a look can tell one message from the next; short, so that all cells can be full. */
static int64_t length_of(uint64_t number)
{
    return 1 + (int64_t)(number % 3);
}

static int send_one(uint64_t number)
{
    return kin_pipe_try_send(a, "abc", (size_t)length_of(number));
}

static void receive_one(uint64_t number)
{
    char text[8];
    KT_IS(kin_pipe_try_recv(b, text, sizeof text), length_of(number));
}

/* As a receiver leaves it that is stopped, or killed, before its last step. */
static void look_while_behind(int64_t expected)
{
    kini_sub(&segment->get_solo.at, 1);
    KT_IS(kin_pipe_poll(b, KIN_NOW), expected >= 0);
    KT_IS(kin_pipe_next_bytes(b), expected);
    kini_add(&segment->get_solo.at, 1);
}

START_TEST(a_receiver_between_its_last_steps)
{
    begin();
    uint64_t sent = 0, received = 0;
    KT_OK(send_one(sent++));
    for (uint64_t i = 0; i < 3 * segment->cap; i++) {
        KT_OK(send_one(sent++));
        receive_one(received++);
        look_while_behind(length_of(received));
    }
    receive_one(received++);
    look_while_behind(-EAGAIN);
    while (send_one(sent) == 0) /* until it is full */
        sent++;
    receive_one(received++);
    look_while_behind(length_of(received));
    ck_assert_uint_eq(sent - received, segment->cap - 1);
    KT_OK(send_one(sent++)); /* into the cell that was released */
    look_while_behind(length_of(received));
    finish();
}
END_TEST

/* --- at any moment ---------------------------------------------------------------------------- */

static struct sender {
    uint64_t who, count;
    pthread_t thread;
} senders[SENDERS];

static kini_a64 received[SENDERS], received_count;

static void *send_many(void *arg)
{
    const struct sender *me = arg;
    unsigned char data[200];
    for (uint64_t i = 0; i < me->count; i++) {
        uint64_t word = me->who << 32 | i, bytes = 8 + i % 192;
        memcpy(data, &word, 8);
        kt_fill(data + 8, bytes - 8, word);
        KT_CHECK(kin_pipe_send(a, data, bytes, KIN_NEVER) == 0);
    }
    return NULL;
}

static void took(const unsigned char *data, int64_t bytes, uint64_t *last)
{
    uint64_t word;
    KT_CHECK(bytes >= 8);
    memcpy(&word, data, 8);
    KT_CHECK(word >> 32 < SENDERS && kt_filled(data + 8, (uint64_t)bytes - 8, word));
    /* Of one sender, one receiver sees a part, in order. */
    KT_CHECK((uint32_t)word >= last[word >> 32]);
    last[word >> 32] = (uint32_t)word + 1;
    kini_add_sc(&received[word >> 32], (uint32_t)word + 1);
    kini_add_sc(&received_count, 1);
}

static void *receive_all(void *unused)
{
    uint64_t last[SENDERS] = {0};
    unsigned char data[200];
    int64_t r;
    while ((r = kin_pipe_recv(b, data, sizeof data, KIN_NEVER)) >= 0)
        took(data, r, last);
    KT_CHECK(r == -ESHUTDOWN);
    return unused;
}

static void start(pthread_t *thread, void *(*fn)(void *), void *arg, uint32_t pause)
{
    for (uint32_t i = 0; i < pause; i++)
        kini_pause();
    ck_assert_int_eq(pthread_create(thread, NULL, fn, arg), 0);
}

/* The first sender and the first receiver are in the middle when the others come. */
static void one_round(struct kt_random *random)
{
    pthread_t receivers[2];
    uint64_t count = 0;
    for (uint64_t i = 0; i < SENDERS; i++) {
        kini_store(&received[i], 0);
        senders[i].who = i;
        senders[i].count = 1 + kt_random_below(random, 600);
        count += senders[i].count;
    }
    kini_store(&received_count, 0);
    open_pipe();
    start(&receivers[0], receive_all, NULL, 0);
    for (uint64_t i = 0; i < SENDERS; i++)
        start(&senders[i].thread, send_many, &senders[i],
              i == 0 ? 0 : (uint32_t)kt_random_below(random, 3000));
    start(&receivers[1], receive_all, NULL, (uint32_t)kt_random_below(random, 3000));
    for (uint64_t i = 0; i < SENDERS; i++)
        pthread_join(senders[i].thread, NULL);
    kin_pipe_close(a);
    a = NULL;
    pthread_join(receivers[0], NULL);
    pthread_join(receivers[1], NULL);
    ck_assert_uint_eq(kini_load(&received_count), count);
    for (uint64_t i = 0; i < SENDERS; i++)
        ck_assert_uint_eq(kini_load(&received[i]), senders[i].count * (senders[i].count + 1) / 2);
    close_pipe();
}

START_TEST(others_come_at_any_moment)
{
    struct kt_random random = kt_random_of("others_come", 0);
    arena = kt_arena(kt_under_valgrind() ? 256 * MIB : 1 * GIB);
    for (int i = 0; i < kt_scaled(2000); i++)
        one_round(&random);
    kin_arena_detach(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("solo");
    TCase *t = tcase_create("all");
    suite_add_tcase(suite, t);
    tcase_set_timeout(t, 200);
    tcase_add_test(t, the_first_has_it_until_another_comes);
    tcase_add_test(t, without_fences_nobody_has_it);
    tcase_add_test(t, calm_until_somebody_waits);
    tcase_add_test(t, a_receiver_between_its_last_steps);
    tcase_add_test(t, others_come_at_any_moment);
    return kt_run(suite);
}
