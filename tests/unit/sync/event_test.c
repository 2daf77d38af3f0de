/* SPDX-License-Identifier: MIT
 * Events: set wakes all, a pulse too; nobody is forgotten, whoever dies. */
#include "sync_fixture.h"

static struct kin_event *event, *ball[2];

static void open_event(uint32_t set)
{
    const struct kin_event_opts opts = {.size = sizeof opts, .set = set};
    begin();
    KT_OK(kin_event_create(arena, &opts, &event));
}

static void close_event(void)
{
    kin_event_destroy(event);
    finish();
}

/* --- one thread ----------------------------------------------------------------------------- */

static int create(const struct kin_event_opts *opts)
{
    struct kin_event *made = (void *)1;
    int r = kin_event_create(arena, opts, &made);
    if (r < 0) {
        ck_assert_ptr_eq(made, (void *)1);
        return r;
    }
    KT_IS(kin_event_is_set(made), opts != NULL && opts->size != 1 && opts->set == 1);
    kin_event_destroy(made);
    return r;
}

START_TEST(options)
{
    begin();
    CHECK_OPTS(struct kin_event_opts, create);
    KT_IS(create(&(struct kin_event_opts){.set = 1}), 0);
    KT_IS(create(&(struct kin_event_opts){.set = 0}), 0);
    kin_event_destroy(NULL);
    finish();
}
END_TEST

START_TEST(set_and_clear)
{
    open_event((uint32_t)_i);
    for (int i = _i; i < _i + 6; i++) {
        if (i % 2) {
            KT_IS(kin_event_set(event), 0);
            KT_IS(kin_event_set(event), 0); /* is set */
        } else {
            KT_IS(kin_event_clear(event), 0);
            KT_IS(kin_event_clear(event), 0);
        }
        for (int j = 0; j < 2; j++) { /* waiting takes nothing */
            int expected = i % 2 ? 0 : -ETIMEDOUT;
            KT_IS(kin_event_is_set(event), i % 2);
            KT_IS(kin_event_wait(event, KIN_NOW), expected);
            KT_IS(kin_event_wait(event, -7), expected);
            int64_t until = kin_after_ms(10);
            KT_IS(kin_event_wait(event, until), expected);
            if (i % 2)
                KT_IS(kin_event_wait(event, KIN_NEVER), 0);
            else
                ck_assert_int_ge(kin_now_ns(), until);
            KT_IS(kin_event_waiting(event), 0);
        }
    }
    close_event();
}
END_TEST

START_TEST(handles_of_another_kind)
{
    struct kin_once *once = NULL;
    begin();
    KT_OK(kin_once_create(arena, NULL, &once));
    event = (void *)once;
    KT_IS(kin_event_set(event), -EPROTOTYPE);
    KT_IS(kin_event_clear(event), -EPROTOTYPE);
    KT_IS(kin_event_is_set(event), -EPROTOTYPE);
    KT_IS(kin_event_wait(event, KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_event_waiting(event), -EPROTOTYPE);
    KT_IS(kin_once_done(once), 0);
    kin_once_destroy(once);
    finish();
}
END_TEST

/* --- several -------------------------------------------------------------------------------- */

static void wait_once(int me)
{
    PARTY_IS(kin_event_wait(event, KIN_NEVER), 0);
    KT_CHECK(plain[0] == 77); /* what was written before it was set */
    words[0]++;
    words[1 + me]++;
}

START_TEST(set_wakes_all)
{
    struct party parties[6];
    open_event(0);
    for (int round = 0; round < kt_scaled(20); round++) {
        words[0] = 0;
        plain[0] = 0;
        for (int i = 0; i < 6; i++)
            party_start(&parties[i], _i, wait_once, i);
        KT_UNTIL(kin_event_waiting(event) == 6);
        usleep(500);
        ck_assert_int_eq(words[0], 0);
        plain[0] = 77;
        KT_IS(kin_event_set(event), 0);
        for (int i = 0; i < 6; i++)
            party_join(&parties[i]);
        KT_IS(kin_event_is_set(event), 1);
        KT_IS(kin_event_waiting(event), 0);
        KT_IS(kin_event_clear(event), 0);
    }
    close_event();
}
END_TEST

static int pulses;

static void wait_for_pulses(int me)
{
    for (int i = 0; i < pulses; i++) {
        PARTY_IS(kin_event_wait(event, KIN_NEVER), 0);
        words[1 + me]++;
        words[0]++;
        KT_UNTIL(words[9] > i); /* it is clear again */
    }
}

/* Set and cleared at once: all who waited go on, and only they, each time. */
START_TEST(a_pulse_wakes_all)
{
    struct party parties[4];
    open_event(0);
    pulses = kt_scaled(1000);
    for (int i = 0; i < 4; i++)
        party_start(&parties[i], _i, wait_for_pulses, i);
    for (int i = 1; i <= pulses; i++) {
        while (kin_event_waiting(event) != 4)
            usleep(20);
        ck_assert_int_eq(words[0], 4 * (i - 1));
        KT_IS(kin_event_set(event), 0);
        KT_IS(kin_event_clear(event), 0);
        while (words[0] < 4 * i)
            usleep(20);
        words[9] = i;
        for (int j = 0; j < 4; j++)
            ck_assert_int_eq(words[1 + j], i);
    }
    for (int i = 0; i < 4; i++)
        party_join(&parties[i]);
    KT_IS(kin_event_wait(event, KIN_NOW), -ETIMEDOUT);
    close_event();
}
END_TEST

static void give_up(int me)
{
    PARTY_IS(kin_event_wait(event, me ? KIN_NEVER : kin_after_ms(30)), me ? 0 : -ETIMEDOUT);
    words[me] = 1;
}

START_TEST(a_waiter_gives_up)
{
    struct party first, second;
    open_event(0);
    party_start(&first, _i, give_up, 0);
    KT_UNTIL(kin_event_waiting(event) == 1 || words[0]);
    party_start(&second, _i, give_up, 1);
    KT_UNTIL(words[0] && kin_event_waiting(event) == 1);
    KT_IS(kin_event_set(event), 0);
    party_join(&first);
    party_join(&second);
    ck_assert_int_eq(words[1], 1);
    close_event();
}
END_TEST

static void wait_until_stale(int me)
{
    (void)me;
    PARTY_IS(kin_event_wait(event, KIN_NEVER), -ESTALE);
}

START_TEST(destroyed_while_threads_wait)
{
    struct party parties[3];
    open_event(0);
    for (int i = 0; i < 3; i++)
        party_start(&parties[i], THREADS, wait_until_stale, i);
    KT_UNTIL(kin_event_waiting(event) == 3);
    kin_event_destroy(event);
    for (int i = 0; i < 3; i++)
        party_join(&parties[i]);
    finish();
}
END_TEST

/* --- death ---------------------------------------------------------------------------------- */

static void set_and_die(int me)
{
    (void)me;
    plain[0] = 77;
    PARTY_IS(kin_event_set(event), 0);
    die_here();
}

static void destroy_and_die(int me)
{
    (void)me;
    kin_event_destroy(event);
    die_here();
}

/* What was set stays set, whoever set it. */
START_TEST(the_setter_dies)
{
    struct party sleepers[3];
    open_event(0);
    for (int i = 0; i < 3; i++)
        party_start(&sleepers[i], i % 2, wait_once, i);
    KT_UNTIL(kin_event_waiting(event) == 3);
    in_a_victim(destroy_and_die, 0); /* does not disturb those who have it */
    KT_IS(kin_event_waiting(event), 3);
    in_a_victim(set_and_die, 0);
    KT_OK(kin_arena_reap(arena));
    for (int i = 0; i < 3; i++)
        party_join(&sleepers[i]);
    KT_IS(kin_event_is_set(event), 1);
    KT_IS(kin_event_wait(event, KIN_NEVER), 0);
    close_event();
}
END_TEST

START_TEST(waiters_are_killed)
{
    open_event(0);
    for (int round = 0; round < kt_scaled(20); round++) {
        struct party parties[6];
        const bool stopped = round % 2;
        words[0] = 0;
        plain[0] = 77;
        for (int i = 0; i < 6; i++) {
            party_start(&parties[i], PROCESSES, wait_once, i);
            KT_UNTIL(kin_event_waiting(event) == i + 1);
        }
        for (int i = 0; i < 6; i += 2) { /* before it is set, or when it has been chosen */
            if (stopped)
                party_stop(&parties[i]);
            else
                party_kill(&parties[i]);
        }
        KT_IS(kin_event_set(event), 0);
        KT_IS(kin_event_clear(event), 0);
        for (int i = 0; i < 6; i += 2)
            if (stopped)
                party_kill(&parties[i]);
        for (int i = 1; i < 6; i += 2)
            party_join(&parties[i]);
        ck_assert_int_eq(words[0], 3);
        KT_UNTIL(kin_event_waiting(event) == 0);
    }
    close_event();
}
END_TEST

static int use_what_is_gone(void *unused)
{
    (void)unused;
    struct kin_wait wait = kin_wait_event(event);
    KT_UNTIL(words[5]);
    PARTY_IS(kin_event_set(event), -ESTALE);
    PARTY_IS(kin_event_clear(event), -ESTALE);
    PARTY_IS(kin_event_wait(event, KIN_NOW), -ESTALE);
    PARTY_IS(kin_wait_any(arena, &wait, 1, KIN_NOW), -ESTALE);
    return 0;
}

/* A child that nobody told kin about does not keep objects; it does not write where they were. */
START_TEST(gone_before_a_raw_child_comes)
{
    enum { BLOCKS = 200, BYTES = 190 };
    static char *blocks[BLOCKS];
    open_event(0);
    pid_t child = kt_fork_raw(use_what_is_gone, NULL);
    kin_event_destroy(event);
    for (int i = 0; i < BLOCKS; i++) {
        KT_OK(kin_block_alloc(arena, BYTES, (void **)&blocks[i]));
        memset(blocks[i], 0, BYTES);
    }
    words[5] = 1;
    ck_assert_int_eq(kt_wait(child), 0);
    for (int i = 0; i < BLOCKS; i++) {
        for (int j = 0; j < BYTES; j++)
            ck_assert_int_eq(blocks[i][j], 0);
        KT_OK(kin_block_free(arena, blocks[i]));
    }
    finish();
}
END_TEST

/* --- storms --------------------------------------------------------------------------------- */

static int storm_rounds;

static void play(int me)
{
    struct kt_random random = kt_random_of("event play", (uint64_t)me);
    for (int i = 0; i < storm_rounds; i++) {
        PARTY_IS(kin_event_wait(ball[me], KIN_NEVER), 0);
        PARTY_IS(kin_event_clear(ball[me]), 0);
        KT_CHECK(plain[0] == 2 * i + me);
        plain[0]++;
        tiny_delay(&random);
        PARTY_IS(kin_event_set(ball[1 - me]), 0);
    }
}

/* A lost wake-up is a hang. */
START_TEST(ping_pong)
{
    begin();
    storm_rounds = kt_scaled(100000);
    for (uint32_t i = 0; i < 2; i++) {
        const struct kin_event_opts opts = {.size = sizeof opts, .set = !i};
        KT_OK(kin_event_create(arena, &opts, &ball[i]));
    }
    with(_i, 2, play);
    ck_assert_int_eq(plain[0], (int64_t)2 * storm_rounds);
    KT_IS(kin_event_is_set(ball[0]), 1);
    KT_IS(kin_event_is_set(ball[1]), 0);
    kin_event_destroy(ball[0]);
    kin_event_destroy(ball[1]);
    finish();
}
END_TEST

/* Party 0 pulses until all the others have seen as many as they want; some give up and return. */
static void storm(int me)
{
    struct kt_random random = kt_random_of("event storm", (uint64_t)me);
    for (int i = 0; me > 0 && i < storm_rounds;) {
        bool patient = kt_random_below(&random, 2);
        int r = kin_event_wait(event, patient ? KIN_NEVER : kin_after_us(30));
        KT_CHECK(r == 0 || (r == -ETIMEDOUT && !patient));
        i += r == 0;
    }
    while (me == 0 && words[0] < 4) {
        PARTY_IS(kin_event_set(event), 0);
        tiny_delay(&random);
        PARTY_IS(kin_event_clear(event), 0);
        tiny_delay(&random);
    }
    words[0]++;
}

START_TEST(pulses_without_end)
{
    open_event(0);
    storm_rounds = kt_scaled(5000);
    with(_i, 5, storm);
    ck_assert_int_eq(words[0], 5);
    KT_IS(kin_event_waiting(event), 0);
    close_event();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/event");
    TCase *t = kt_case(suite, "one", 20);
    tcase_add_test(t, options);
    tcase_add_loop_test(t, set_and_clear, 0, 2);
    tcase_add_test(t, handles_of_another_kind);
    t = kt_case(suite, "several", 30);
    tcase_add_loop_test(t, set_wakes_all, 0, forms());
    tcase_add_loop_test(t, a_pulse_wakes_all, 0, forms());
    tcase_add_loop_test(t, a_waiter_gives_up, 0, forms());
    tcase_add_test(t, destroyed_while_threads_wait);
    if (has_processes()) {
        t = kt_case(suite, "death", 30);
        tcase_add_test(t, the_setter_dies);
        tcase_add_test(t, waiters_are_killed);
        tcase_add_test(t, gone_before_a_raw_child_comes);
    }
    t = kt_case(suite, "storm", 60);
    tcase_add_loop_test(t, ping_pong, 0, forms());
    tcase_add_loop_test(t, pulses_without_end, 0, forms());
    return kt_run(suite);
}
