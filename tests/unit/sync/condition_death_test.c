/* SPDX-License-Identifier: MIT
 * Conditions whose waiters, notifiers and lock holders are killed. _i is the kind of lock. */
#include "condition_fixture.h"

static void all_reaped(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
}

static int notify(uint32_t count)
{
    enter();
    int woken = kin_condition_notify(condition, count);
    leave();
    return woken;
}

/* words[0] counts who went on, words[1] who was told of a death */
static void wait_once(int me)
{
    enter();
    int r = kin_condition_wait(condition, KIN_NEVER);
    KT_CHECK(r == 0 || r == KIN_ABANDONED);
    KT_CHECK(is_mine(1));
    words[0]++;
    words[1] += r;
    words[10 + me]++;
    leave();
}

/* --- waiters -------------------------------------------------------------------------------- */

START_TEST(waiters_are_killed)
{
    open_condition(_i);
    for (int round = 0; round < kt_scaled(10); round++) {
        struct party parties[4];
        words[0] = 0;
        start_in_order(parties, PROCESSES, 4, wait_once);
        party_kill(&parties[0]);
        party_kill(&parties[2]);
        if (round % 2)
            KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 3);
        ck_assert_int_ge(notify(1), 1);
        ck_assert_int_ge(notify(1), 1);
        party_join(&parties[1]);
        party_join(&parties[3]);
        ck_assert_int_eq(words[0], 2);
        ck_assert_int_eq(words[1], 0);
        all_reaped();
        KT_IS(kin_condition_waiting(condition), 0);
    }
    close_condition();
}
END_TEST

/* The one that is notified is stopped, and killed before its wait has returned. */
START_TEST(the_notification_passes_to_the_next)
{
    open_condition(_i);
    for (int round = 0; round < kt_scaled(10); round++) {
        struct party parties[3];
        words[0] = 0;
        start_in_order(parties, PROCESSES, 3, wait_once);
        party_stop(&parties[0]);
        ck_assert_int_eq(notify(1), 1);
        a_moment();
        ck_assert_int_eq(words[0], 0); /* so far it is the first one's */
        party_kill(&parties[0]);
        party_join(&parties[1]);
        a_moment();
        ck_assert_int_eq(words[0], 1); /* one notification: one that goes on */
        KT_IS(kin_condition_waiting(condition), 1);
        ck_assert_int_eq(notify(1), 1);
        party_join(&parties[2]);
        all_reaped();
    }
    close_condition();
}
END_TEST

/* Two in a row die with it. */
START_TEST(it_passes_more_than_once)
{
    struct party parties[4];
    open_condition(_i);
    start_in_order(parties, PROCESSES, 4, wait_once);
    for (int i = 0; i < 3; i++)
        party_stop(&parties[i]);
    ck_assert_int_eq(notify(2), 2);
    for (int i = 0; i < 3; i++)
        party_kill(&parties[i]);
    party_join(&parties[3]);
    ck_assert_int_eq(words[0], 1);
    all_reaped();
    KT_IS(kin_condition_waiting(condition), 0);
    ck_assert_int_eq(notify(1), 0); /* those that found nobody are not kept */
    close_condition();
}
END_TEST

/* It was notified and runs, but main has the lock: it dies before its wait has returned. */
START_TEST(killed_while_it_gets_the_lock_back)
{
    open_condition(_i);
    for (int round = 0; round < kt_scaled(10); round++) {
        struct party parties[2];
        words[0] = 0;
        start_in_order(parties, PROCESSES, 2, wait_once);
        enter();
        KT_IS(kin_condition_notify(condition, 1), 1);
        if (lock_kind == GIVEN_LOCK)
            KT_UNTIL(kin_lock_waiting(lock) == 1);
        else if (lock_kind == GIVEN_RLOCK)
            KT_UNTIL(kin_rlock_waiting(rlock) == 1);
        else
            a_moment();
        party_kill(&parties[0]);
        if (round % 2)
            leave();
        KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count <= 2);
        if (round % 2 == 0)
            leave();
        party_join(&parties[1]);
        ck_assert_int_eq(words[0], 1);
        all_reaped();
    }
    close_condition();
}
END_TEST

/* From a process that dies to a thread of main. */
START_TEST(it_passes_to_a_thread)
{
    struct party victim, thread;
    open_condition(_i);
    party_start(&victim, PROCESSES, wait_once, 0);
    KT_UNTIL(kin_condition_waiting(condition) == 1);
    party_start(&thread, THREADS, wait_once, 1);
    KT_UNTIL(kin_condition_waiting(condition) == 2);
    party_stop(&victim);
    ck_assert_int_eq(notify(1), 1);
    party_kill(&victim);
    party_join(&thread);
    ck_assert_int_eq(words[11], 1);
    close_condition();
}
END_TEST

/* --- others --------------------------------------------------------------------------------- */

static void notify_and_die(int me)
{
    enter();
    PARTY_IS(kin_condition_notify(condition, 1), 1);
    if (me)
        leave();
    die_here();
}

/* me: it had released the lock, or not. */
START_TEST(the_notifier_dies)
{
    open_condition(_i);
    for (int released = 0; released < 2; released++) {
        struct party waiter;
        words[1] = 0;
        party_start(&waiter, PROCESSES, wait_once, 0);
        KT_UNTIL(kin_condition_waiting(condition) == 1);
        in_a_victim(notify_and_die, released);
        party_join(&waiter);
        ck_assert_int_eq(words[1], released ? 0 : KIN_ABANDONED);
    }
    close_condition();
}
END_TEST

static void hold_and_die(int me)
{
    (void)me;
    enter();
    die_here();
}

static int a_number(void *number)
{
    return *(int *)number;
}

/* A holder of the lock died meanwhile: who waits and is told holds the lock all the same. */
START_TEST(a_holder_dies_meanwhile)
{
    struct party waiter;
    open_condition(_i);
    party_start(&waiter, PROCESSES, wait_once, 0);
    KT_UNTIL(kin_condition_waiting(condition) == 1);
    in_a_victim(hold_and_die, 0);
    KT_IS(kin_condition_acquire(condition, KIN_NEVER), KIN_ABANDONED);
    KT_IS(kin_condition_notify(condition, 1), 1);
    leave();
    party_join(&waiter);
    close_condition();
}
END_TEST

/* words[5]: 1000 + the result; me: by wait_for, with a deadline */
static void wait_in_vain(int me)
{
    static int no; /* always 0 */
    kin_deadline until = me % 2 ? kin_after_ms(60) : KIN_NEVER;
    enter();
    int r = me / 2 ? kin_condition_wait_for(condition, a_number, &no, until)
                   : kin_condition_wait(condition, until);
    KT_CHECK(is_mine(1)); /* in every case */
    words[5] = 1000 + r;
    leave();
}

/* The holder dies while the waiter tries to get the lock back, notified or too late: it is told. */
START_TEST(told_when_it_has_the_lock_back)
{
    open_condition(_i);
    for (int how = 0; how < 4; how++) {
        struct party waiter, holder;
        party_start(&waiter, how / 2 ? THREADS : PROCESSES, wait_in_vain, how);
        KT_UNTIL(kin_condition_waiting(condition) == 1);
        READY = 0;
        party_start(&holder, PROCESSES, how % 2 ? hold_and_die : notify_and_die, 0);
        KT_UNTIL(READY);
        usleep(how % 2 ? 120000 : 5000); /* the deadline passes meanwhile */
        party_kill(&holder);
        party_join(&waiter);
        ck_assert_int_eq(words[5] - 1000, how / 2 ? -EOWNERDEAD : KIN_ABANDONED);
    }
    close_condition();
}
END_TEST

static void child_of_a_holder(int me)
{
    (void)me;
    PARTY_IS(kin_condition_wait(condition, KIN_NOW), -EPERM);
    PARTY_IS(kin_condition_notify(condition, 1), -EPERM);
    PARTY_IS(kin_condition_notify_all(condition), -EPERM);
    PARTY_IS(kin_condition_try_acquire(condition), -EAGAIN);
    if (lock_kind != GIVEN_LOCK)
        PARTY_IS(kin_condition_release(condition), -EACCES);
    die_here();
}

START_TEST(forked_while_held)
{
    open_condition(_i);
    enter();
    in_a_victim(child_of_a_holder, 0);
    all_reaped();
    KT_IS(kin_condition_notify(condition, 1), 0);
    leave();
    close_condition();
}
END_TEST

/* --- a storm -------------------------------------------------------------------------------- */

/* plain[0]: tokens. One notification for each; a consumer that dies with it has passed it on. */
static int a_token(void *unused)
{
    (void)unused;
    return plain[0] > 0;
}

static void consume_for_ever(int me)
{
    struct kt_random random = kt_random_of("consume_for_ever", (uint64_t)me);
    for (;;) {
        int r = kin_condition_acquire(condition, KIN_NEVER);
        KT_CHECK(r >= 0);
        while ((r = kin_condition_wait_for(condition, a_token, NULL, KIN_NEVER)) == -EOWNERDEAD)
            ;
        PARTY_IS(r, 1);
        plain[0]--;
        words[0]++;
        leave();
        tiny_delay(&random);
    }
}

START_TEST(killed_at_random)
{
    struct kt_random random = kt_random_of("condition killed_at_random", (uint64_t)_i);
    struct party parties[5];
    open_condition(_i);
    for (int i = 0; i < 5; i++)
        party_start(&parties[i], PROCESSES, consume_for_ever, i);
    for (int i = 0; i < kt_scaled(100); i++) {
        for (int j = 0; j < 20; j++) {
            ck_assert_int_ge(kin_condition_acquire(condition, KIN_NEVER), 0);
            plain[0]++;
            ck_assert_int_ge(kin_condition_notify(condition, 1), 0);
            leave();
            tiny_delay(&random);
        }
        party_kill(&parties[1 + i % 4]); /* parties[0] lives on: it must find all that are left */
        party_start(&parties[1 + i % 4], PROCESSES, consume_for_ever, 5 + i);
        if (i % 10 == 0)
            KT_UNTIL(*(volatile int64_t *)&plain[0] == 0); /* nobody sleeps over a token */
    }
    KT_UNTIL(*(volatile int64_t *)&plain[0] == 0);
    for (int i = 0; i < 5; i++)
        party_kill(&parties[i]);
    all_reaped();
    ck_assert_int_ge(kin_condition_acquire(condition, KIN_NEVER), 0);
    leave();
    close_condition();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/condition_death");
    TCase *t = kt_case(suite, "waiter", 30);
    tcase_add_loop_test(t, waiters_are_killed, 0, KINDS);
    tcase_add_loop_test(t, the_notification_passes_to_the_next, 0, KINDS);
    tcase_add_loop_test(t, it_passes_more_than_once, 0, KINDS);
    tcase_add_loop_test(t, killed_while_it_gets_the_lock_back, 0, KINDS);
    tcase_add_loop_test(t, it_passes_to_a_thread, 0, KINDS);
    t = kt_case(suite, "others", 20);
    tcase_add_loop_test(t, the_notifier_dies, 0, KINDS);
    tcase_add_loop_test(t, a_holder_dies_meanwhile, 0, KINDS);
    tcase_add_loop_test(t, told_when_it_has_the_lock_back, 0, KINDS);
    tcase_add_loop_test(t, forked_while_held, 0, KINDS);
    t = kt_case(suite, "storm", 60);
    tcase_add_loop_test(t, killed_at_random, 0, KINDS);
    return kt_run(suite);
}
