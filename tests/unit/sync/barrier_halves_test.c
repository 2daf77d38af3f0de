/* SPDX-License-Identifier: MIT
 * Barriers: arrive and await, the two halves of a wait. */
#include "barrier_fixture.h"

START_TEST(halves)
{
    uint32_t first = 77, second = 77;
    open_with(2, count_actions);
    for (int i = 1; i <= 30; i++) { /* more than a word remembers the ends of */
        KT_IS(kin_barrier_arrive(barrier, KIN_NOW, &first), 0);
        state(1, 0);
        KT_IS(kin_barrier_await(barrier, first, KIN_NOW), -ETIMEDOUT);
        KT_IS(kin_barrier_await(barrier, first, kin_after_ms(1)), -ETIMEDOUT);
        state(1, 0); /* that broke nothing */
        ck_assert_int_eq(plain[0], i - 1);
        KT_IS(kin_barrier_arrive(barrier, KIN_NOW, &second), 1);
        ck_assert_int_eq(plain[0], i); /* the last one ran it */
        ck_assert_uint_eq(first, second);
        KT_IS(kin_barrier_await(barrier, first, KIN_NEVER), 0);
        KT_IS(kin_barrier_await(barrier, second, KIN_NOW), 0); /* as often as one likes */
        state(0, 0);
    }
    KT_IS(kin_barrier_arrive(barrier, KIN_NOW, &first), 0); /* together with a whole wait */
    KT_IS(kin_barrier_wait(barrier, KIN_NEVER), 1);
    KT_IS(kin_barrier_await(barrier, first, KIN_NEVER), 0);
    close_barrier();
}
END_TEST

START_TEST(halves_of_a_broken_barrier)
{
    uint32_t generation = 0, untouched = 77;
    open_with(2, count_actions);
    KT_IS(kin_barrier_arrive(barrier, KIN_NOW, &generation), 0);
    KT_IS(kin_barrier_reset(barrier), 0);
    KT_IS(kin_barrier_await(barrier, generation, KIN_NEVER), -EPIPE);
    KT_IS(kin_barrier_arrive(barrier, KIN_NOW, &generation), 0);
    KT_IS(kin_barrier_abort(barrier), 0);
    KT_IS(kin_barrier_await(barrier, generation, KIN_NEVER), -EPIPE);
    KT_IS(kin_barrier_arrive(barrier, KIN_NEVER, &untouched), -EPIPE);
    KT_IS(kin_barrier_reset(barrier), 0);
    KT_IS(kin_barrier_arrive(barrier, KIN_NOW, &generation), 0);
    words[99] = -EIO;
    KT_IS(kin_barrier_arrive(barrier, KIN_NOW, &untouched), -EIO);
    KT_IS(kin_barrier_await(barrier, generation, KIN_NEVER), -EPIPE);
    KT_IS(kin_barrier_broken(barrier), 1);
    ck_assert_uint_eq(untouched, 77);
    close_barrier();
}
END_TEST

START_TEST(halves_with_bad_input)
{
    struct kin_event *event = NULL;
    uint32_t generation = 77;
    open_with(2, NULL);
    KT_IS(kin_barrier_await(barrier, 0, KIN_NOW), -ETIMEDOUT); /* that of now; nobody arrived */
    KT_IS(kin_barrier_await(barrier, 1, KIN_NEVER), -EINVAL);
    KT_IS(kin_barrier_await(barrier, 0xffffff, KIN_NOW), 0); /* the one before, modulo 2^24 */
    KT_IS(kin_barrier_await(barrier, 0x1000000, KIN_NEVER), -EINVAL);
    KT_IS(kin_barrier_await(barrier, UINT32_MAX, KIN_NEVER), -EINVAL);
    state(0, 0);
    close_barrier();
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    barrier = (void *)event;
    KT_IS(kin_barrier_arrive(barrier, KIN_NOW, &generation), -EPROTOTYPE);
    KT_IS(kin_barrier_await(barrier, 0, KIN_NOW), -EPROTOTYPE);
    ck_assert_uint_eq(generation, 77);
    kin_event_destroy(event);
    finish();
}
END_TEST

static int slow_action(void *arg)
{
    (void)arg;
    words[20] = 1;
    while (words[21] == 0)
        usleep(100);
    return 0;
}

/* words[me]: 1000 + what arrive returned, words[me + 4]: the generation */
static void arrive_once(int me)
{
    uint32_t generation = 0;
    int r = kin_barrier_arrive(barrier, KIN_NEVER, &generation);
    words[me + 4] = generation;
    words[me] = 1000 + r;
}

static void await_once(int me)
{
    uint32_t generation = 0;
    PARTY_IS(kin_barrier_arrive(barrier, KIN_NEVER, &generation), me);
    words[me] = 1000 + kin_barrier_await(barrier, generation, KIN_NEVER);
}

/* Nobody arrives while the action runs. */
START_TEST(arriving_during_the_action)
{
    struct party first, last, next;
    uint32_t generation = 77;
    open_with(2, slow_action);
    party_start(&first, _i, await_once, 0);
    KT_UNTIL(kin_barrier_waiting(barrier) == 1);
    party_start(&last, _i, arrive_once, 1);
    KT_UNTIL(words[20]);
    KT_IS(kin_barrier_arrive(barrier, KIN_NOW, &generation), -ETIMEDOUT);
    KT_IS(kin_barrier_arrive(barrier, kin_after_ms(5), &generation), -ETIMEDOUT);
    ck_assert_uint_eq(generation, 77);
    party_start(&next, _i, arrive_once, 2);
    a_moment();
    state(2, 0);
    ck_assert_int_eq(words[0], 0);
    ck_assert_int_eq(words[2], 0);
    words[21] = 1;
    party_join(&first);
    party_join(&last);
    party_join(&next);
    ck_assert_int_eq(words[0], 1000);
    ck_assert_int_eq(words[1], 1001);
    ck_assert_int_eq(words[2], 1000); /* the first of the next one */
    ck_assert_int_eq(words[6], words[5] + 1);
    state(1, 0);
    close_barrier();
}
END_TEST

static void await_until_stale(int me)
{
    uint32_t generation = 0;
    PARTY_IS(kin_barrier_arrive(barrier, KIN_NEVER, &generation), me);
    PARTY_IS(kin_barrier_await(barrier, generation, KIN_NEVER), -ESTALE);
}

START_TEST(destroyed_between_the_halves)
{
    struct party waiter;
    open_with(3, NULL);
    party_start(&waiter, THREADS, await_until_stale, 0);
    KT_UNTIL(kin_barrier_waiting(barrier) == 1);
    a_moment();
    kin_barrier_destroy(barrier);
    party_join(&waiter);
    finish();
}
END_TEST

static void arrive_and_die(int me)
{
    uint32_t generation;
    KT_CHECK(kin_barrier_arrive(barrier, KIN_NEVER, &generation) == me);
    die_here();
}

/* Between its halves, where it does something else. */
START_TEST(one_that_has_arrived_dies)
{
    struct party waiter, victim;
    open_with(3, NULL);
    for (int round = 1; round <= 3; round++) {
        words[0] = READY = 0;
        party_start(&waiter, _i, await_once, 0);
        KT_UNTIL(kin_barrier_waiting(barrier) == 1);
        party_start(&victim, PROCESSES, arrive_and_die, 1);
        KT_UNTIL(READY);
        state(2, 0);
        party_kill(&victim);
        party_join(&waiter); /* it finds the death itself */
        ck_assert_int_eq(words[0], 1000 - EPIPE);
        KT_IS(kin_barrier_broken(barrier), 1);
        KT_IS(kin_barrier_abandoned(barrier), round);
        KT_IS(kin_barrier_reset(barrier), 0);
        state(0, 0);
    }
    close_barrier();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/barrier_halves");
    TCase *t = kt_case(suite, "halves", 30);
    tcase_add_test(t, halves);
    tcase_add_test(t, halves_of_a_broken_barrier);
    tcase_add_test(t, halves_with_bad_input);
    tcase_add_loop_test(t, arriving_during_the_action, 0, forms());
    tcase_add_test(t, destroyed_between_the_halves);
    if (has_processes()) {
        t = kt_case(suite, "death", 30);
        tcase_add_loop_test(t, one_that_has_arrived_dies, 0, 2);
    }
    return kt_run(suite);
}
