/* SPDX-License-Identifier: MIT
 * The permits of those who die, leave, destroy their handle or fork. */
#include "sync_fixture.h"

static struct kin_semaphore *semaphore;

static void open_semaphore(uint32_t value, uint32_t bounded)
{
    const struct kin_semaphore_opts opts = {.size = sizeof opts, .bounded = bounded};
    begin();
    KT_OK(kin_semaphore_create(arena, value, &opts, &semaphore));
}

static void close_semaphore(void)
{
    kin_semaphore_destroy(semaphore);
    finish();
}

static void all_reaped(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
}

#define NOT_SAID (-1)

static void values(int64_t value, int64_t held, int64_t abandoned)
{
    KT_IS(kin_semaphore_value(semaphore), value);
    KT_IS(kin_semaphore_held(semaphore), held);
    if (abandoned != NOT_SAID)
        KT_IS(kin_semaphore_abandoned(semaphore), abandoned);
}

static void take(int count)
{
    for (int i = 0; i < count; i++)
        PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
}

/* --- the ways to be gone -------------------------------------------------------------------- */

static void take_and_die(int count)
{
    take(count);
    PARTY_IS(kin_semaphore_held(semaphore), count);
    die_here();
}

static void take_and_exit(int count)
{
    take(count);
    _exit(0);
}

static void take_and_destroy(int count)
{
    take(count);
    kin_semaphore_destroy(semaphore);
    words[0] = 1;
    KT_UNTIL(words[1]);
}

static void *take_in_a_thread(void *count)
{
    take((int)(intptr_t)count);
    return NULL;
}

static void take_in_a_thread_and_die(int count)
{
    pthread_t thread;
    KT_CHECK(pthread_create(&thread, NULL, take_in_a_thread, (void *)(intptr_t)count) == 0);
    pthread_join(thread, NULL);
    PARTY_IS(kin_semaphore_held(semaphore), count); /* kept for the process */
    PARTY_IS(kin_semaphore_value(semaphore), 3 - count);
    die_here();
}

#define WAYS     5
#define DESTROYS 4

static void gone_with(int way, int count)
{
    static const party_fn leave[] = {NULL, NULL, take, take_and_exit, take_and_destroy};
    struct party party;
    if (way < 2) {
        in_a_victim(way == 0 ? take_and_die : take_in_a_thread_and_die, count);
        return;
    }
    words[0] = words[1] = 0;
    party_start(&party, PROCESSES, leave[way], count);
    if (way == DESTROYS) {
        KT_UNTIL(words[0]);
        KT_UNTIL(kin_semaphore_value(semaphore) > 0); /* its process lives on */
        words[1] = 1;
    }
    party_join(&party);
}

/* A resource: they come back. */
START_TEST(permits_come_back)
{
    for (uint32_t bounded = 0; bounded < 2; bounded++) {
        open_semaphore(3, bounded);
        for (int count = 1; count <= 3; count++) {
            gone_with(_i, count);
            if (count == 2)
                for (int i = 0; i < 3; i++) /* without being asked to look */
                    KT_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
            all_reaped();
            int64_t abandoned = _i == DESTROYS ? NOT_SAID : count * (count + 1) / 2;
            values(count == 2 ? 0 : 3, count == 2 ? 3 : 0, abandoned);
            if (count == 2)
                KT_IS(kin_semaphore_release_many(semaphore, 3), 0);
            values(3, 0, abandoned);
        }
        close_semaphore();
    }
}
END_TEST

/* What main holds itself stays taken. */
START_TEST(only_those_of_the_dead)
{
    open_semaphore(3, 0);
    take(1);
    gone_with(_i == 1 ? 0 : _i, 2);
    all_reaped();
    values(2, 1, _i == DESTROYS ? NOT_SAID : 2);
    KT_IS(kin_semaphore_release(semaphore), 0);
    values(3, 0, NOT_SAID);
    close_semaphore();
}
END_TEST

static void take_signals_and_die(int count)
{
    take(count);
    PARTY_IS(kin_semaphore_held(semaphore), 0);
    die_here();
}

START_TEST(a_signal_is_gone)
{
    open_semaphore(0, 0);
    KT_IS(kin_semaphore_release_many(semaphore, 5), 0);
    in_a_victim(take_signals_and_die, 2);
    all_reaped();
    values(3, 0, 0);
    take(3);
    KT_IS(kin_semaphore_try_acquire(semaphore), -EAGAIN);
    close_semaphore();
}
END_TEST

/* Initial value 2, the victim holds some, and others released for it: never above 2. */
START_TEST(never_above_the_initial_value)
{
    static const struct {
        int takes, released, after; /* above 2 by releases alone: that stays */
    } cases[] = {{1, 1, 2}, {2, 1, 2}, {2, 2, 2}, {1, 5, 6}, {2, 7, 7}, {1, 0, 2}};
    struct party party;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_semaphore(2, 0);
        party_start(&party, PROCESSES, take_and_die, cases[i].takes);
        KT_UNTIL(READY);
        if (cases[i].released > 0)
            KT_IS(kin_semaphore_release_many(semaphore, (uint32_t)cases[i].released), 0);
        party_kill(&party);
        all_reaped();
        KT_IS(kin_semaphore_value(semaphore), cases[i].after);
        KT_IS(kin_semaphore_held(semaphore), 0);
        close_semaphore();
    }
}
END_TEST

/* What counts is what it acquired less what it released: the victim gave two for main, and took
 * two that nobody misses. */
static void release_take_and_die(int count)
{
    PARTY_IS(kin_semaphore_release_many(semaphore, (uint32_t)count), 0);
    PARTY_IS(kin_semaphore_held(semaphore), 0);
    take(count);
    PARTY_IS(kin_semaphore_held(semaphore), 0);
    take(1);
    PARTY_IS(kin_semaphore_held(semaphore), 1);
    die_here();
}

START_TEST(acquired_less_released)
{
    open_semaphore(3, 0);
    take(2);
    in_a_victim(release_take_and_die, 2);
    all_reaped();
    values(1, 2, 1);
    KT_IS(kin_semaphore_release_many(semaphore, 2), 0);
    values(3, 0, 1);
    close_semaphore();
}
END_TEST

/* --- asleep --------------------------------------------------------------------------------- */

static void take_one(int me)
{
    PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
    words[1]++;
    if (me)
        die_here();
    PARTY_IS(kin_semaphore_release(semaphore), 0);
}

/* Sleepers get what the dead one held: one permit each. _i: the form of the sleepers. */
START_TEST(sleepers_get_them)
{
    struct party holder, sleepers[4];
    open_semaphore(2, 0);
    party_start(&holder, PROCESSES, take_and_die, 2);
    KT_UNTIL(READY);
    for (int i = 0; i < 4; i++)
        party_start(&sleepers[i], _i, take_one, 0);
    KT_UNTIL(kin_semaphore_waiting(semaphore) == 4);
    party_kill(&holder);
    for (int i = 0; i < 4; i++)
        party_join(&sleepers[i]);
    values(2, 0, 2);
    close_semaphore();
}
END_TEST

START_TEST(sleepers_are_killed)
{
    for (int round = 0; round < kt_scaled(20); round++) {
        struct party parties[4];
        open_semaphore((uint32_t)round % 2, 0);
        if (round % 2)
            take(1);
        for (int i = 0; i < 4; i++) {
            party_start(&parties[i], PROCESSES, take_one, 0);
            KT_UNTIL(kin_semaphore_waiting(semaphore) == i + 1);
        }
        party_kill(&parties[0]);
        party_kill(&parties[2]);
        KT_IS(kin_semaphore_release(semaphore), 0);
        party_join(&parties[1]);
        party_join(&parties[3]);
        ck_assert_int_eq(words[1], 2);
        all_reaped();
        values(1, 0, 0);
        KT_IS(kin_semaphore_waiting(semaphore), 0);
        close_semaphore();
    }
}
END_TEST

/* The one that is chosen is stopped and then killed. If it has the permit by then, that is lost
 * with it where it was a signal (_i == 0); the wake-up is not. */
START_TEST(the_chosen_sleeper_is_killed)
{
    for (int round = 0; round < kt_scaled(10); round++) {
        struct party parties[2];
        open_semaphore((uint32_t)_i, 0);
        take(_i);
        for (int i = 0; i < 2; i++) {
            party_start(&parties[i], PROCESSES, take_one, 0);
            KT_UNTIL(kin_semaphore_waiting(semaphore) == i + 1);
            a_moment();
        }
        party_stop(&parties[0]);
        KT_IS(kin_semaphore_release(semaphore), 0);
        if (round % 2)
            a_moment();
        party_kill(&parties[0]);
        party_join(&parties[1]); /* it never returned from acquire: it has not taken anything */
        ck_assert_int_eq(words[1], 1);
        all_reaped();
        KT_IS(kin_semaphore_value(semaphore), 1);
        close_semaphore();
    }
}
END_TEST

static void die_holding_in_one_of_two(int me)
{
    struct kin_semaphore *far = NULL;
    struct kin_arena *second = kt_arena(0);
    KT_CHECK(kin_semaphore_create(second, 1, NULL, &far) == 0);
    take(1);
    PARTY_IS(kin_semaphore_acquire(far, KIN_NEVER), 0); /* a call in another arena */
    if (me == 1) {
        kin_semaphore_destroy(far);
        kin_arena_detach(second);
    }
    PARTY_IS(kin_semaphore_release(semaphore), 0);
    PARTY_IS(kin_semaphore_held(semaphore), 0);
    die_here();
}

/* A release counts, wherever the thread's last call was: nothing comes back at its death. */
START_TEST(two_arenas)
{
    open_semaphore(1, 0);
    for (int i = 0; i < 2; i++) {
        struct party victim;
        READY = 0;
        party_start(&victim, PROCESSES, die_holding_in_one_of_two, i);
        KT_UNTIL(READY);
        take(1);
        party_kill(&victim);
        all_reaped();
        values(0, 1, 0);
        KT_IS(kin_semaphore_release(semaphore), 0);
    }
    close_semaphore();
}
END_TEST

static void take_or_stale(int me)
{
    (void)me;
    PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), -ESTALE);
}

static void destroy_beside_a_waiter(int spins)
{
    struct party waiter;
    take(1);
    party_start(&waiter, THREADS, take_or_stale, 0);
    while (kin_semaphore_waiting(semaphore) == 0)
        ;
    for (volatile int i = spins; i > 0; i--)
        ;
    kin_semaphore_destroy(semaphore);
    party_join(&waiter);
    words[3] = 1;
    KT_UNTIL(words[4]);
}

/* What the destroyer held comes back to the others, not to a waiter of its own process. */
START_TEST(destroyed_beside_a_waiter)
{
    for (int i = 0; i < kt_scaled(60); i++) {
        struct party party;
        open_semaphore(1, 0);
        party_start(&party, PROCESSES, destroy_beside_a_waiter, i * 100);
        KT_UNTIL(words[3]);
        KT_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
        words[4] = 1;
        party_join(&party);
        values(0, 1, NOT_SAID);
        KT_IS(kin_semaphore_release(semaphore), 0);
        close_semaphore();
    }
}
END_TEST

/* --- fork ----------------------------------------------------------------------------------- */

static void child_of_a_holder(int way)
{
    PARTY_IS(kin_semaphore_held(semaphore), 0);
    PARTY_IS(kin_semaphore_value(semaphore), 1);
    if (way == 1)
        kin_semaphore_destroy(semaphore);
    if (way == 2)
        PARTY_IS(kin_semaphore_release(semaphore), 0);
    if (way == 3)
        take(1);
    if (way != 4)
        die_here();
}

START_TEST(forked_while_held)
{
    open_semaphore(3, 0);
    for (int way = 0; way < 5; way++) {
        take(2);
        if (way == 4) {
            struct party party;
            party_start(&party, PROCESSES, child_of_a_holder, way);
            party_join(&party);
        } else {
            in_a_victim(child_of_a_holder, way);
        }
        all_reaped();
        KT_IS(kin_semaphore_value(semaphore), way == 2 ? 2 : 1);
        KT_IS(kin_semaphore_held(semaphore), 2);
        KT_IS(kin_semaphore_release_many(semaphore, way == 2 ? 1 : 2), 0);
        if (way == 2) { /* the process still counts one: taken and given back, it goes on so */
            take(1);
            KT_IS(kin_semaphore_held(semaphore), 2);
            KT_IS(kin_semaphore_release_many(semaphore, 1), 0);
            close_semaphore();
            open_semaphore(3, 0);
            continue;
        }
        KT_IS(kin_semaphore_held(semaphore), 0);
        KT_IS(kin_semaphore_value(semaphore), 3);
    }
    close_semaphore();
}
END_TEST

/* --- a storm -------------------------------------------------------------------------------- */

#define PERMITS 4

static void use_for_ever(int me)
{
    struct kt_random random = kt_random_of("use_for_ever", (uint64_t)me);
    for (;;) {
        uint32_t count = 1;
        PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
        while (count < PERMITS && kt_random_below(&random, 2))
            count += kin_semaphore_try_acquire(semaphore) == 0;
        KT_CHECK(kin_semaphore_value(semaphore) <= PERMITS - 1);
        tiny_delay(&random);
        PARTY_IS(kin_semaphore_held(semaphore), count);
        PARTY_IS(kin_semaphore_release_many(semaphore, count), 0);
        words[me % 4]++;
    }
}

/* _i: bounded or not */
START_TEST(killed_at_random)
{
    struct kt_random random = kt_random_of("semaphore killed_at_random", (uint64_t)_i);
    struct party parties[4];
    open_semaphore(PERMITS, (uint32_t)_i);
    for (int i = 0; i < 4; i++)
        party_start(&parties[i], PROCESSES, use_for_ever, i);
    for (int i = 0; i < kt_scaled(250); i++) {
        usleep((useconds_t)kt_random_below(&random, 4000));
        int victim = (int)kt_random_below(&random, 4);
        int64_t before = words[(victim + 1) % 4];
        party_kill(&parties[victim]);
        party_start(&parties[victim], PROCESSES, use_for_ever, 4 * (i + 1) + victim);
        if (i % 10 == 0)
            KT_UNTIL(words[(victim + 1) % 4] > before + 10); /* they go on */
    }
    for (int i = 0; i < 4; i++)
        party_kill(&parties[i]);
    all_reaped();
    KT_IS(kin_semaphore_value(semaphore), PERMITS); /* no more and no less */
    KT_IS(kin_semaphore_held(semaphore), 0);
    take(PERMITS);
    KT_IS(kin_semaphore_try_acquire(semaphore), -EAGAIN);
    KT_IS(kin_semaphore_waiting(semaphore), 0);
    close_semaphore();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/semaphore_death");
    TCase *t = kt_case(suite, "holder", 30);
    tcase_add_loop_test(t, permits_come_back, 0, WAYS);
    tcase_add_loop_test(t, only_those_of_the_dead, 0, WAYS);
    tcase_add_test(t, a_signal_is_gone);
    tcase_add_test(t, never_above_the_initial_value);
    tcase_add_test(t, acquired_less_released);
    t = kt_case(suite, "sleeper", 30);
    tcase_add_loop_test(t, sleepers_get_them, 0, 2);
    tcase_add_test(t, sleepers_are_killed);
    tcase_add_loop_test(t, the_chosen_sleeper_is_killed, 0, 2);
    t = kt_case(suite, "fork", 20);
    tcase_add_test(t, two_arenas);
    tcase_add_test(t, destroyed_beside_a_waiter);
    tcase_add_test(t, forked_while_held);
    t = kt_case(suite, "storm", 60);
    tcase_add_loop_test(t, killed_at_random, 0, 2);
    return kt_run(suite);
}
