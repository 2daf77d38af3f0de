/* SPDX-License-Identifier: MIT
 * Barriers: nobody goes on before all have come; broken, reset, aborted; members that die. */
#include "barrier_fixture.h"

/* --- one thread ----------------------------------------------------------------------------- */

static int create_of(uint32_t parties, const struct kin_barrier_opts *opts)
{
    struct kin_barrier *made = (void *)1;
    int r = kin_barrier_create(arena, parties, opts, &made);
    if (r < 0)
        ck_assert_ptr_eq(made, (void *)1);
    else
        kin_barrier_destroy(made);
    return r;
}

static int create(const struct kin_barrier_opts *opts)
{
    return create_of(2, opts);
}

START_TEST(options)
{
    begin();
    CHECK_OPTS(struct kin_barrier_opts, create);
    KT_IS(create(&(struct kin_barrier_opts){.flags = 1}), -EINVAL);
    KT_IS(create_of(0, NULL), -EINVAL);
    KT_IS(create_of(1, NULL), 0);
    KT_IS(create_of(KIN_BARRIER_PARTIES_MAX, NULL), 0);
    KT_IS(create_of(KIN_BARRIER_PARTIES_MAX + 1, NULL), -EINVAL);
    KT_IS(create_of(UINT32_MAX, NULL), -EINVAL);
    kin_barrier_destroy(NULL);
    finish();
}
END_TEST

START_TEST(alone)
{
    open_with(1, count_actions);
    for (int i = 1; i <= 5; i++) {
        KT_IS(kin_barrier_wait(barrier, i % 2 ? KIN_NEVER : KIN_NOW), 0); /* the last to arrive */
        ck_assert_int_eq(plain[0], i);
        state(0, 0);
    }
    words[99] = -EIO;
    KT_IS(kin_barrier_wait(barrier, KIN_NEVER), -EIO);
    KT_IS(kin_barrier_broken(barrier), 1);
    KT_IS(kin_barrier_wait(barrier, KIN_NEVER), -EPIPE);
    ck_assert_int_eq(plain[0], 6);
    KT_IS(kin_barrier_reset(barrier), 0);
    state(0, 0);
    words[99] = 5; /* only a negative result breaks it */
    KT_IS(kin_barrier_wait(barrier, KIN_NEVER), 0);
    KT_IS(kin_barrier_abandoned(barrier), 0);
    close_barrier();
}
END_TEST

START_TEST(broken_by_time)
{
    open_with(2, NULL);
    for (int i = 0; i < 4; i++) {
        int64_t until = i == 0 ? KIN_NOW : i == 1 ? -9 : kin_after_ms(20);
        state(0, 0);
        KT_IS(kin_barrier_wait(barrier, until), -ETIMEDOUT);
        ck_assert_int_ge(kin_now_ns(), until);
        KT_IS(kin_barrier_broken(barrier), 1);
        KT_IS(kin_barrier_wait(barrier, KIN_NEVER), -EPIPE);
        ck_assert_uint_gt(strlen(kin_error_text()), 0);
        KT_IS(kin_barrier_wait(barrier, KIN_NOW), -EPIPE);
        KT_IS(kin_barrier_reset(barrier), 0);
        KT_IS(kin_barrier_reset(barrier), 0);
    }
    KT_IS(kin_barrier_abort(barrier), 0);
    KT_IS(kin_barrier_abort(barrier), 0);
    KT_IS(kin_barrier_wait(barrier, KIN_NEVER), -EPIPE);
    KT_IS(kin_barrier_abandoned(barrier), 0);
    close_barrier();
}
END_TEST

START_TEST(handles_of_another_kind)
{
    struct kin_event *event = NULL;
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    barrier = (void *)event;
    KT_IS(kin_barrier_wait(barrier, KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_barrier_reset(barrier), -EPROTOTYPE);
    KT_IS(kin_barrier_abort(barrier), -EPROTOTYPE);
    KT_IS(kin_barrier_parties(barrier), -EPROTOTYPE);
    KT_IS(kin_barrier_waiting(barrier), -EPROTOTYPE);
    KT_IS(kin_barrier_broken(barrier), -EPROTOTYPE);
    KT_IS(kin_barrier_abandoned(barrier), -EPROTOTYPE);
    kin_event_destroy(event);
    finish();
}
END_TEST

/* --- several -------------------------------------------------------------------------------- */

static int64_t results[8];

/* words[me]: 1000 + what wait returned */
static void wait_once(int me)
{
    words[me] = 1000 + kin_barrier_wait(barrier, me == 7 ? kin_after_ms(30) : KIN_NEVER);
}

static void start_in_order(struct party *parties, int form, int count)
{
    memset(results, 0, sizeof results);
    for (int i = 0; i < count; i++) {
        words[i] = 0;
        party_start(&parties[i], form, wait_once, i);
        KT_UNTIL(kin_barrier_waiting(barrier) == i + 1);
    }
}

static void join_all(struct party *parties, int count)
{
    for (int i = 0; i < count; i++) {
        party_join(&parties[i]);
        results[i] = words[i] - 1000;
    }
}

/* In order of arrival. The action ran before anybody went on, and once. */
START_TEST(indexes)
{
    struct party parties[3];
    open_with(4, count_actions);
    for (int round = 1; round <= kt_scaled(10); round++) {
        start_in_order(parties, _i, 3);
        usleep(1000);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(words[i], 0);
        ck_assert_int_eq(plain[0], round - 1);
        KT_IS(kin_barrier_wait(barrier, KIN_NOW), 3); /* the last one has nothing to wait for */
        join_all(parties, 3);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(results[i], i);
        ck_assert_int_eq(plain[0], round);
        state(0, 0);
    }
    close_barrier();
}
END_TEST

/* reset, abort, a time-out, a failed action: what those who wait get. */
START_TEST(those_who_wait_are_told)
{
    struct party parties[3], impatient;
    open_with(4, count_actions);
    for (int how = 0; how < 4; how++) {
        start_in_order(parties, _i, 3);
        words[99] = how == 3 ? -EIO : 0;
        if (how == 0)
            KT_IS(kin_barrier_reset(barrier), 0);
        else if (how == 1)
            KT_IS(kin_barrier_abort(barrier), 0);
        else if (how == 2) {
            KT_IS(kin_barrier_wait(barrier, KIN_NOW), 3);
            join_all(parties, 3);
            start_in_order(parties, _i, 2);
            party_start(&impatient, _i, wait_once, 7);
            party_join(&impatient);
            ck_assert_int_eq(words[7] - 1000, -ETIMEDOUT);
        } else
            KT_IS(kin_barrier_wait(barrier, KIN_NEVER), -EIO);
        join_all(parties, how == 2 ? 2 : 3);
        for (int i = 0; i < (how == 2 ? 2 : 3); i++)
            ck_assert_int_eq(results[i], -EPIPE);
        KT_IS(kin_barrier_broken(barrier), how != 0);
        KT_IS(kin_barrier_reset(barrier), 0);
        state(0, 0);
    }
    start_in_order(parties, _i, 3); /* as good as new */
    words[99] = 0;
    KT_IS(kin_barrier_wait(barrier, KIN_NEVER), 3);
    join_all(parties, 3);
    close_barrier();
}
END_TEST

static void wait_until_stale(int me)
{
    (void)me;
    PARTY_IS(kin_barrier_wait(barrier, KIN_NEVER), -ESTALE);
}

static void destroy_while_a_thread_waits(int me)
{
    struct party thread;
    (void)me;
    party_start(&thread, THREADS, wait_until_stale, 0);
    KT_UNTIL(kin_barrier_waiting(barrier) == 2);
    kin_barrier_destroy(barrier);
    party_join(&thread);
    words[10] = 1;
    KT_UNTIL(words[11]);
}

START_TEST(destroyed_while_threads_wait)
{
    struct party parties[3], other;
    open_with(4, NULL);
    for (int i = 0; i < 3; i++)
        party_start(&parties[i], THREADS, wait_until_stale, i);
    KT_UNTIL(kin_barrier_waiting(barrier) == 3);
    kin_barrier_destroy(barrier);
    for (int i = 0; i < 3; i++)
        party_join(&parties[i]);
    finish();
    if (!has_processes())
        return;
    open_with(4, NULL); /* it is broken for the others then */
    start_in_order(parties, THREADS, 1);
    party_start(&other, PROCESSES, destroy_while_a_thread_waits, 0);
    join_all(parties, 1);
    ck_assert_int_eq(results[0], -EPIPE);
    KT_UNTIL(words[10]);
    KT_IS(kin_barrier_broken(barrier), 1);
    words[11] = 1;
    party_join(&other);
    close_barrier();
}
END_TEST

/* --- death ---------------------------------------------------------------------------------- */

static void wait_and_die(int times)
{
    for (int i = 0; i < times; i++)
        KT_CHECK(kin_barrier_wait(barrier, KIN_NEVER) >= 0);
    die_here();
}

static void wait_and_leave(int me)
{
    (void)me;
    KT_CHECK(kin_barrier_wait(barrier, KIN_NEVER) >= 0);
}

/* A member dies while it waits, or elsewhere: broken. One that never waited is none. */
START_TEST(a_member_dies)
{
    struct party waiters[2], victim;
    open_with(3, NULL);
    in_a_victim(wait_and_die, 0);
    KT_OK(kin_arena_reap(arena));
    state(0, 0);
    start_in_order(waiters, _i, 1);
    party_start(&victim, PROCESSES, wait_and_die, 1); /* waits for a third one */
    KT_UNTIL(kin_barrier_waiting(barrier) == 2);
    party_kill(&victim);
    join_all(waiters, 1);
    ck_assert_int_eq(results[0], -EPIPE);
    KT_IS(kin_barrier_broken(barrier), 1);
    KT_IS(kin_barrier_abandoned(barrier), 1);
    KT_IS(kin_barrier_reset(barrier), 0);
    state(0, 0);
    READY = 0;
    party_start(&victim, PROCESSES, wait_and_die, 1);
    for (int i = 0; i < 2; i++)
        party_start(&waiters[i], _i, wait_and_leave, 10);
    for (int i = 0; i < 2; i++)
        party_join(&waiters[i]);
    KT_UNTIL(READY); /* it has waited once, and is doing something else */
    start_in_order(&waiters[1], _i, 1);
    party_kill(&victim);
    party_join(&waiters[1]);
    ck_assert_int_eq(words[0], 1000 - EPIPE);
    KT_IS(kin_barrier_abandoned(barrier), 2);
    KT_IS(kin_barrier_wait(barrier, KIN_NEVER), -EPIPE);
    close_barrier();
}
END_TEST

/* One that leaves in good order does not break it. */
START_TEST(a_member_leaves)
{
    struct party waiters[2], leaver;
    open_with(2, NULL);
    for (int round = 0; round < 5; round++) {
        party_start(&leaver, PROCESSES, wait_and_leave, 0);
        KT_UNTIL(kin_barrier_waiting(barrier) == 1);
        KT_IS(kin_barrier_wait(barrier, KIN_NEVER), 1);
        start_in_order(waiters, _i, 1);
        party_join(&leaver);
        KT_UNTIL(kin_arena_reap(arena) == 0);
        a_moment();
        state(1, 0);
        KT_IS(kin_barrier_wait(barrier, KIN_NEVER), 1);
        join_all(waiters, 1);
        ck_assert_int_eq(results[0], 0);
    }
    KT_IS(kin_barrier_abandoned(barrier), 0);
    close_barrier();
}
END_TEST

/* --- storms --------------------------------------------------------------------------------- */

static int generations;
#define PARTIES 3

static int next_generation(void *arg)
{
    (void)arg;
    KT_CHECK(plain[1] == 0); /* nobody else acts */
    plain[1] = 1;
    plain[0]++;
    plain[1] = 0;
    return 0;
}

/* More of them than parties. words[0]: tickets, words[10…]: how often each index came. */
static void storm(int me)
{
    struct kt_random random = kt_random_of("barrier storm", (uint64_t)me);
    while (words[0]++ < (int64_t)PARTIES * generations) {
        int r = kin_barrier_wait(barrier, KIN_NEVER);
        KT_CHECK(r >= 0 && r < PARTIES);
        words[10 + r]++;
        tiny_delay(&random);
    }
}

START_TEST(many_generations)
{
    open_with(PARTIES, next_generation);
    generations = kt_scaled(5000);
    with(_i, 7, storm);
    for (int i = 0; i < PARTIES; i++)
        ck_assert_int_eq(words[10 + i], generations);
    ck_assert_int_eq(plain[0], generations);
    state(0, 0);
    close_barrier();
}
END_TEST

/* In step: nobody is ever a generation ahead. plain[0] is written by the action only. */
static void in_step(int me)
{
    struct kt_random random = kt_random_of("barrier in_step", (uint64_t)me);
    for (int i = 1; i <= generations; i++) {
        words[10 + me] = i;
        KT_CHECK(kin_barrier_wait(barrier, kin_after_ms(60000)) >= 0);
        for (int j = 0; j < PARTIES; j++)
            KT_CHECK(words[10 + j] >= i && words[10 + j] <= i + 1);
        KT_CHECK(plain[0] == i); /* until I arrive, there is no next one */
        tiny_delay(&random);
    }
}

START_TEST(all_in_step)
{
    open_with(PARTIES, next_generation);
    generations = kt_scaled(10000);
    with(_i, PARTIES, in_step);
    ck_assert_int_eq(plain[0], generations);
    close_barrier();
}
END_TEST

static int count_generation(void *arg)
{
    (void)arg;
    words[1]++;
    return 0;
}

/* Broken and reset all the time; nobody hangs. */
static void unruly(int me)
{
    struct kt_random random = kt_random_of("barrier unruly", (uint64_t)me);
    while (words[0] < generations) {
        int r = kin_barrier_wait(barrier, kin_after_us((int64_t)kt_random_below(&random, 3000)));
        KT_CHECK((r >= 0 && r < PARTIES) || r == -EPIPE || r == -ETIMEDOUT);
        words[0] += r == PARTIES - 1;
        if (kt_random_below(&random, 50) == 0)
            PARTY_IS(kin_barrier_abort(barrier), 0);
        if (r < 0)
            PARTY_IS(kin_barrier_reset(barrier), 0);
    }
}

START_TEST(broken_all_the_time)
{
    open_with(PARTIES, count_generation);
    generations = kt_scaled(1000);
    with(_i, 5, unruly);
    ck_assert_int_ge(words[1], words[0]); /* the action ran for each that was complete */
    KT_IS(kin_barrier_reset(barrier), 0);
    state(0, 0);
    close_barrier();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/barrier");
    TCase *t = kt_case(suite, "one", 20);
    tcase_add_test(t, options);
    tcase_add_test(t, alone);
    tcase_add_test(t, broken_by_time);
    tcase_add_test(t, handles_of_another_kind);
    t = kt_case(suite, "several", 30);
    tcase_add_loop_test(t, indexes, 0, forms());
    tcase_add_loop_test(t, those_who_wait_are_told, 0, forms());
    tcase_add_test(t, destroyed_while_threads_wait);
    if (has_processes()) {
        t = kt_case(suite, "death", 30);
        tcase_add_loop_test(t, a_member_dies, 0, 2);
        tcase_add_loop_test(t, a_member_leaves, 0, 2);
    }
    t = kt_case(suite, "storm", 60);
    tcase_add_loop_test(t, many_generations, 0, forms());
    tcase_add_loop_test(t, all_in_step, 0, forms());
    tcase_add_loop_test(t, broken_all_the_time, 0, forms());
    return kt_run(suite);
}
