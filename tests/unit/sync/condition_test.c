/* SPDX-License-Identifier: MIT
 * Conditions: who waits is woken when notified, as many as were notified, and not otherwise. */
#include "condition_fixture.h"

/* --- one thread ----------------------------------------------------------------------------- */

static int create(const struct kin_condition_opts *opts)
{
    struct kin_condition *made = (void *)1;
    int r = kin_condition_create(arena, opts, &made);
    if (r < 0)
        ck_assert_ptr_eq(made, (void *)1);
    else
        kin_condition_destroy(made);
    return r;
}

START_TEST(options)
{
    begin();
    CHECK_OPTS(struct kin_condition_opts, create);
    KT_IS(create(&(struct kin_condition_opts){.flags = 1}), -EINVAL);
    kin_condition_destroy(NULL);
    finish();
}
END_TEST

START_TEST(which_lock)
{
    struct kin_arena *second = NULL;
    struct kin_semaphore *semaphore = NULL;
    struct kin_lock *far_lock = NULL;
    struct kin_rlock *far_rlock = NULL;
    begin();
    second = kt_arena(0);
    KT_OK(kin_lock_create(arena, NULL, &lock));
    KT_OK(kin_rlock_create(arena, NULL, &rlock));
    KT_OK(kin_semaphore_create(arena, 1, NULL, &semaphore));
    KT_OK(kin_lock_create(second, NULL, &far_lock));
    KT_OK(kin_rlock_create(second, NULL, &far_rlock));
    KT_IS(create(&(struct kin_condition_opts){.lock = lock}), 0);
    KT_IS(create(&(struct kin_condition_opts){.rlock = rlock}), 0);
    KT_IS(create(&(struct kin_condition_opts){.lock = lock, .rlock = rlock}), -EINVAL);
    KT_IS(create(&(struct kin_condition_opts){.lock = far_lock}), -EXDEV);
    KT_IS(create(&(struct kin_condition_opts){.rlock = far_rlock}), -EXDEV);
    KT_IS(create(&(struct kin_condition_opts){.lock = (void *)semaphore}), -EPROTOTYPE);
    KT_IS(create(&(struct kin_condition_opts){.rlock = (void *)semaphore}), -EPROTOTYPE);
    KT_IS(create(&(struct kin_condition_opts){.lock = (void *)rlock}), -EPROTOTYPE);
    KT_IS(create(&(struct kin_condition_opts){.rlock = (void *)lock}), -EPROTOTYPE);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 3); /* a given lock is left alone */
    KT_IS(kin_lock_acquire(lock, KIN_NOW), 0);
    KT_IS(kin_lock_release(lock), 0);
    kin_lock_destroy(lock);
    kin_rlock_destroy(rlock);
    kin_semaphore_destroy(semaphore);
    kin_lock_destroy(far_lock);
    kin_rlock_destroy(far_rlock);
    kin_arena_detach(second);
    finish();
}
END_TEST

static int yes(void *arg)
{
    return arg != NULL ? *(int *)arg : 1;
}

static void misuse(int me) /* the lock is free, or held by another thread */
{
    PARTY_IS(kin_condition_wait(condition, KIN_NOW), -EPERM);
    KT_CHECK(strlen(kin_error_text()) > 0);
    PARTY_IS(kin_condition_wait(condition, KIN_NEVER), -EPERM);
    PARTY_IS(kin_condition_wait_for(condition, yes, NULL, KIN_NOW), -EPERM);
    PARTY_IS(kin_condition_notify(condition, 1), -EPERM);
    PARTY_IS(kin_condition_notify_all(condition), -EPERM);
    if (me == 0) {
        PARTY_IS(kin_condition_release(condition), -EPERM);
        return;
    }
    PARTY_IS(kin_condition_try_acquire(condition), -EAGAIN);
    PARTY_IS(kin_condition_acquire(condition, kin_after_ms(5)), -ETIMEDOUT);
    if (lock_kind != GIVEN_LOCK)
        PARTY_IS(kin_condition_release(condition), -EACCES);
}

/* _i: the form, and the kind of lock; so below */
START_TEST(without_the_lock)
{
    struct party party;
    open_condition(_i / 2);
    misuse(0);
    enter();
    party_start(&party, _i % 2, misuse, 1);
    party_join(&party);
    KT_IS(kin_condition_notify(condition, 0), -EINVAL);
    KT_IS(kin_condition_notify(condition, 1), 0); /* nobody waits */
    KT_IS(kin_condition_notify_all(condition), 0);
    KT_IS(kin_condition_try_acquire(condition), lock_kind == GIVEN_LOCK ? -EAGAIN : 0);
    if (lock_kind != GIVEN_LOCK)
        leave();
    ck_assert(is_mine(1));
    leave();
    misuse(0);
    close_condition();
}
END_TEST

START_TEST(a_wait_times_out)
{
    open_condition(_i);
    int64_t depth = lock_kind == GIVEN_LOCK ? 1 : 3;
    for (int64_t i = 0; i < depth; i++)
        enter();
    KT_IS(kin_condition_notify(condition, 5), 0); /* is not kept for later */
    KT_IS(kin_condition_wait(condition, KIN_NOW), -ETIMEDOUT);
    KT_IS(kin_condition_wait(condition, -3), -ETIMEDOUT);
    int64_t until = kin_after_ms(20);
    KT_IS(kin_condition_wait(condition, until), -ETIMEDOUT);
    ck_assert_int_ge(kin_now_ns(), until);
    ck_assert(is_mine(depth));
    for (int64_t i = 0; i < depth; i++)
        leave();
    misuse(0);
    close_condition();
}
END_TEST

static int calls;

static int count_calls(void *result)
{
    calls++;
    ck_assert(is_mine(1));
    ck_assert_int_ge(kin_condition_notify(condition, 1), 0); /* the lock is held */
    return *(int *)result;
}

START_TEST(wait_for_asks_first)
{
    static const int results[] = {1, 7, -5, -ETIMEDOUT};
    open_condition(_i);
    enter();
    for (int i = 0; i < 4; i++) {
        int result = results[i];
        calls = 0;
        KT_IS(kin_condition_wait_for(condition, count_calls, &result, KIN_NEVER), result);
        KT_IS(kin_condition_wait_for(condition, count_calls, &result, KIN_NOW), result);
        ck_assert_int_eq(calls, 2);
    }
    int no = 0;
    calls = 0;
    int64_t until = kin_after_ms(20);
    KT_IS(kin_condition_wait_for(condition, count_calls, &no, until), 0);
    ck_assert_int_ge(kin_now_ns(), until);
    ck_assert_int_eq(calls, 2); /* at once and at the deadline */
    KT_IS(kin_condition_wait_for(condition, count_calls, &no, KIN_NOW), 0);
    ck_assert(is_mine(1));
    leave();
    close_condition();
}
END_TEST

START_TEST(handles_of_another_kind)
{
    struct kin_event *event = NULL;
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    condition = (void *)event;
    KT_IS(kin_condition_acquire(condition, KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_condition_try_acquire(condition), -EPROTOTYPE);
    KT_IS(kin_condition_release(condition), -EPROTOTYPE);
    KT_IS(kin_condition_wait(condition, KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_condition_wait_for(condition, yes, NULL, KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_condition_notify(condition, 1), -EPROTOTYPE);
    KT_IS(kin_condition_notify_all(condition), -EPROTOTYPE);
    KT_IS(kin_condition_waiting(condition), -EPROTOTYPE);
    kin_event_destroy(event);
    finish();
}
END_TEST

/* --- several -------------------------------------------------------------------------------- */

/* words[0] counts who went on, words[10…] in which order */
static void wait_once(int me)
{
    enter();
    if (lock_kind != GIVEN_LOCK)
        enter(); /* twice: released entirely, and restored */
    PARTY_IS(kin_condition_wait(condition, KIN_NEVER), 0);
    KT_CHECK(is_mine(lock_kind == GIVEN_LOCK ? 1 : 2));
    words[10 + words[0]++] = me;
    if (lock_kind != GIVEN_LOCK)
        leave();
    leave();
}

static int notify(uint32_t count)
{
    enter();
    int woken =
        count > 0 ? kin_condition_notify(condition, count) : kin_condition_notify_all(condition);
    leave();
    return woken;
}

START_TEST(as_many_as_were_notified)
{
    struct party parties[7];
    open_condition(_i / 2);
    start_in_order(parties, _i % 2, 7, wait_once);
    ck_assert_int_eq(notify(1), 1);
    party_join(&parties[0]); /* who waits longest */
    ck_assert_int_eq(notify(2), 2);
    party_join(&parties[1]);
    party_join(&parties[2]);
    for (int i = 0; i < 50; i++) { /* no wakes without a cause */
        enter();
        leave();
        usleep(200);
        KT_IS(kin_condition_waiting(condition), 4);
    }
    ck_assert_int_eq(words[0], 3);
    ck_assert_int_eq(words[10], 0);
    ck_assert_int_eq(words[11] + words[12], 3);
    ck_assert_int_eq(notify(0), 4);
    for (int i = 3; i < 7; i++)
        party_join(&parties[i]);
    ck_assert_int_eq(words[0], 7);
    ck_assert_int_eq(notify(0), 0);
    close_condition();
}
END_TEST

START_TEST(notified_more_than_wait)
{
    struct party parties[2];
    open_condition(_i / 2);
    start_in_order(parties, _i % 2, 2, wait_once);
    ck_assert_int_eq(notify(100), 2);
    for (int i = 0; i < 2; i++)
        party_join(&parties[i]);
    close_condition();
}
END_TEST

static void nothing(int signal)
{
    (void)signal;
    words[50]++;
}

/* Signals, and others that come and go: no cause to wake. */
START_TEST(no_wakes_without_a_cause)
{
    struct party parties[2];
    open_condition(_i / 2);
    on_signal(nothing);
    start_in_order(parties, _i % 2, 2, wait_once);
    for (int i = 0; i < kt_scaled(500); i++) {
        if (_i % 2 == THREADS)
            pthread_kill(parties[i % 2].thread, SIGUSR1);
        else
            KT_OK(kin_process_signal(parties[i % 2].process, SIGUSR1));
        enter();
        KT_IS(kin_condition_wait(condition, kin_after_us(100)), -ETIMEDOUT);
        leave();
        ck_assert_int_eq(words[0], 0);
    }
    KT_UNTIL(words[50] > 0);
    ck_assert_int_eq(notify(2), 2);
    for (int i = 0; i < 2; i++)
        party_join(&parties[i]);
    close_condition();
}
END_TEST

static int enough(void *arg)
{
    ++*(int *)arg;
    KT_CHECK(is_mine(1));
    return plain[0] >= 3 ? (int)plain[0] : 0;
}

static void wait_for_three(int me)
{
    int asked = 0;
    (void)me;
    enter();
    PARTY_IS(kin_condition_wait_for(condition, enough, &asked, KIN_NEVER), 3);
    PARTY_IS(asked, 4); /* first, and after each notification */
    leave();
}

START_TEST(wait_for_a_number)
{
    struct party party;
    open_condition(_i / 2);
    start_in_order(&party, _i % 2, 1, wait_for_three);
    for (int i = 1; i <= 3; i++) {
        KT_UNTIL(kin_condition_waiting(condition) == 1);
        enter();
        plain[0] = i;
        KT_IS(kin_condition_notify(condition, 1), 1);
        leave();
    }
    party_join(&party);
    close_condition();
}
END_TEST

static void wait_until_stale(int me)
{
    (void)me;
    enter();
    PARTY_IS(kin_condition_wait(condition, KIN_NEVER), -ESTALE);
    if (lock_kind != OWN) { /* the lock is held again */
        KT_CHECK(is_mine(1));
        PARTY_IS(lock_kind == GIVEN_LOCK ? kin_lock_release(lock) : kin_rlock_release(rlock), 0);
    }
}

START_TEST(destroyed_while_threads_wait)
{
    struct party parties[3];
    open_condition(_i);
    start_in_order(parties, THREADS, 3, wait_until_stale);
    kin_condition_destroy(condition);
    for (int i = 0; i < 3; i++)
        party_join(&parties[i]);
    kin_lock_destroy(lock);
    kin_rlock_destroy(rlock);
    finish();
}
END_TEST

static void wait_until_destroyed(int me)
{
    (void)me;
    enter();
    int r = kin_condition_wait(condition, KIN_NEVER);
    KT_CHECK(r == -ESTALE || (r == 0 && words[60])); /* notified before */
    if (lock_kind == GIVEN_LOCK)
        PARTY_IS(kin_lock_release(lock), 0);
    if (lock_kind == GIVEN_RLOCK)
        PARTY_IS(kin_rlock_release(rlock), 0);
}

/* By the one that holds the lock, after it has notified or not: nobody hangs. */
START_TEST(destroyed_with_the_lock_held)
{
    for (int notifies = 0; notifies < 2; notifies++) {
        struct party parties[2];
        open_condition(_i);
        words[60] = notifies;
        start_in_order(parties, THREADS, 2, wait_until_destroyed);
        enter();
        if (notifies)
            KT_IS(kin_condition_notify_all(condition), 2);
        kin_condition_destroy(condition);
        if (lock_kind == GIVEN_LOCK)
            KT_IS(kin_lock_release(lock), 0);
        if (lock_kind == GIVEN_RLOCK)
            KT_IS(kin_rlock_release(rlock), 0);
        for (int i = 0; i < 2; i++)
            party_join(&parties[i]);
        kin_lock_destroy(lock);
        kin_rlock_destroy(rlock);
        finish();
    }
}
END_TEST

/* --- storms --------------------------------------------------------------------------------- */

static int storm_rounds;
#define ROOM 3

/* plain[0]: how many are in a buffer with little room; even parties put, odd ones get. */
static void storm(int me)
{
    struct kt_random random = kt_random_of("condition storm", (uint64_t)me);
    for (int i = 0; i < storm_rounds; i++) {
        enter();
        while (plain[0] == (me % 2 ? 0 : ROOM)) {
            bool patient = kt_random_below(&random, 4) != 0;
            int r = kin_condition_wait(condition, patient ? KIN_NEVER : kin_after_us(50));
            KT_CHECK(r == 0 || (r == -ETIMEDOUT && !patient));
        }
        plain[0] += me % 2 ? -1 : 1;
        plain[1 + me % 2]++;
        KT_CHECK(plain[0] >= 0 && plain[0] <= ROOM && plain[1] - plain[2] == plain[0]);
        KT_CHECK(kin_condition_notify_all(condition) >= 0);
        leave();
        tiny_delay(&random);
    }
}

START_TEST(a_buffer_with_little_room)
{
    open_condition(_i / 2);
    storm_rounds = kt_scaled(4000);
    with(_i % 2, 6, storm);
    ck_assert_int_eq(plain[0], 0);
    ck_assert_int_eq(plain[1], (int64_t)3 * storm_rounds);
    close_condition();
}
END_TEST

static void play(int me)
{
    struct kt_random random = kt_random_of("condition play", (uint64_t)me);
    for (int i = 0; i < storm_rounds; i++) {
        enter();
        while (plain[0] % 2 != me)
            PARTY_IS(kin_condition_wait(condition, KIN_NEVER), 0);
        KT_CHECK(plain[0] == 2 * i + me);
        plain[0]++;
        PARTY_IS(kin_condition_notify(condition, 1) <= 1, 1);
        leave();
        tiny_delay(&random);
    }
}

/* A lost wake-up is a hang. */
START_TEST(ping_pong)
{
    open_condition(_i / 2);
    storm_rounds = kt_scaled(_i / 2 == OWN ? 100000 : 10000);
    with(_i % 2, 2, play);
    ck_assert_int_eq(plain[0], (int64_t)2 * storm_rounds);
    close_condition();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/condition");
    TCase *one = kt_case(suite, "one", 20);
    tcase_add_test(one, options);
    tcase_add_test(one, which_lock);
    tcase_add_test(one, handles_of_another_kind);
    tcase_add_loop_test(one, a_wait_times_out, 0, KINDS);
    tcase_add_loop_test(one, wait_for_asks_first, 0, KINDS);
    tcase_add_loop_test(one, destroyed_while_threads_wait, 0, KINDS);
    tcase_add_loop_test(one, destroyed_with_the_lock_held, 0, KINDS);
    TCase *several = kt_case(suite, "several", 30), *storms = kt_case(suite, "storm", 60);
    for (int kind = 0; kind < KINDS; kind++) {
        const int first = kind * 2, end = first + forms();
        tcase_add_loop_test(several, without_the_lock, first, end);
        tcase_add_loop_test(several, as_many_as_were_notified, first, end);
        tcase_add_loop_test(several, notified_more_than_wait, first, end);
        tcase_add_loop_test(several, no_wakes_without_a_cause, first, end);
        tcase_add_loop_test(several, wait_for_a_number, first, end);
        tcase_add_loop_test(storms, a_buffer_with_little_room, first, end);
        tcase_add_loop_test(storms, ping_pong, first, end);
    }
    return kt_run(suite);
}
