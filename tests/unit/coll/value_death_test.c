/* SPDX-License-Identifier: MIT
 * Values whose users are killed, leave, fork, or are programs that were executed. */
#include "coll_fixture.h"
#include "lib/stranger.h"

static struct kin_value *value;

struct big {
    int64_t numbers[500];
};

static struct big all(int64_t number)
{
    struct big big;
    for (int i = 0; i < 500; i++)
        big.numbers[i] = number;
    return big;
}

static void hold_until_killed(int me)
{
    (void)me;
    PARTY_IS(kin_rlock_acquire(kin_value_rlock(value), KIN_NEVER), 0);
    die_here();
}

static void hold_and_leave(int me)
{
    (void)me;
    PARTY_IS(kin_rlock_acquire(kin_value_rlock(value), KIN_NEVER), 0);
}

START_TEST(the_next_one_is_told)
{
    begin();
    value = make_value('i', 0, NULL);
    for (int way = 0; way < 4; way++) {
        int now = 0;
        if (way % 2)
            with(PROCESSES, 1, hold_and_leave);
        else
            in_a_victim(hold_until_killed, 0);
        if (way < 2)
            KT_IS(kin_value_set(value, &(int){way + 1}, KIN_NEVER), KIN_ABANDONED);
        else
            KT_IS(kin_value_get(value, KIN_NEVER, &now), KIN_ABANDONED);
        KT_IS(kin_value_get(value, KIN_NEVER, &now), 0);
        ck_assert_int_eq(now, way < 2 ? way + 1 : 2);
    }
    KT_IS(kin_rlock_abandoned(kin_value_rlock(value)), 4);
    kin_value_destroy(value);
    finish();
}
END_TEST

START_TEST(a_thread_that_ends_holding_it)
{
    begin();
    value = make_value('i', 0, NULL);
    with(THREADS, 1, hold_and_leave);
    KT_IS(kin_value_set(value, &(int){1}, KIN_NEVER), KIN_ABANDONED);
    kin_value_destroy(value);
    finish();
}
END_TEST

/* Two that wait for each other, one of them for a value's rlock. */
static struct kin_rlock *other;

static void hold_other_want_value(int me)
{
    (void)me;
    PARTY_IS(kin_rlock_acquire(other, KIN_NEVER), 0);
    words[0] = 1;
    PARTY_IS(kin_rlock_acquire(kin_value_rlock(value), KIN_NEVER), 0);
    PARTY_IS(kin_rlock_release(kin_value_rlock(value)), 0);
    PARTY_IS(kin_rlock_release(other), 0);
}

static void want_other(int me)
{
    (void)me;
    PARTY_IS(kin_rlock_acquire(kin_value_rlock(value), KIN_NEVER), 0);
    words[1] = 1;
    KT_UNTIL(words[0] == 1);
    PARTY_IS(kin_rlock_acquire(other, kin_after_ms(500)), -ETIMEDOUT);
    PARTY_IS(kin_rlock_release(kin_value_rlock(value)), 0);
}

START_TEST(a_deadlock_is_seen)
{
    struct party parties[2];
    struct kin_deadlock deadlock = {0};
    begin();
    value = make_value('i', 0, NULL);
    KT_OK(kin_rlock_create(arena, NULL, &other));
    party_start(&parties[0], PROCESSES, want_other, 0);
    KT_UNTIL(words[1] == 1);
    party_start(&parties[1], PROCESSES, hold_other_want_value, 1);
    KT_UNTIL(kin_deadlocks(arena, &deadlock, 1) == 1 || !kin_process_is_alive(parties[0].process));
    ck_assert_uint_eq(deadlock.parties_count, 2);
    party_join(&parties[0]);
    party_join(&parties[1]);
    kin_rlock_destroy(other);
    kin_value_destroy(value);
    finish();
}
END_TEST

/* Whoever is killed on the way leaves the old one or the new one, and waiters that look again. */
static void set_for_ever(int me)
{
    (void)me;
    READY = 1;
    for (int64_t i = 1;; i++) {
        struct big next = all(i);
        int r = kin_value_set(value, &next, KIN_NEVER);
        KT_CHECK(r == 0 || r == KIN_ABANDONED);
    }
}

START_TEST(setters_are_killed)
{
    struct kt_random random = kt_random_of("killed", 0);
    struct big now;
    begin();
    kt_seed_print();
    value = make_value(KIN_STRUCT, sizeof now, NULL);
    for (int round = 0; round < kt_scaled(100); round++) {
        struct party party;
        READY = 0;
        party_start(&party, PROCESSES, set_for_ever, 0);
        KT_UNTIL(READY == 1);
        usleep((useconds_t)kt_random_below(&random, 2000));
        party_kill(&party);
        int r = kin_value_get(value, KIN_NEVER, &now);
        ck_assert(r == 0 || r == KIN_ABANDONED);
        for (int i = 0; i < 500; i++)
            ck_assert_int_eq(now.numbers[i], now.numbers[0]);
        ck_assert(memcmp(kin_value_ptr(value), &now, sizeof now) == 0);
    }
    kin_value_destroy(value);
    finish();
}
END_TEST

static void wait_and_die(int me)
{
    (void)me;
    READY = 1;
    PARTY_IS(kin_value_wait(value, &(int){0}, KIN_NEVER), 0);
}

START_TEST(waiters_are_killed)
{
    struct party killed, left;
    begin();
    value = make_value('i', 0, NULL);
    party_start(&killed, PROCESSES, wait_and_die, 0);
    KT_UNTIL(kin_value_waiting(value) == 1);
    party_start(&left, PROCESSES, wait_and_die, 0);
    KT_UNTIL(kin_value_waiting(value) == 2);
    party_kill(&killed);
    KT_IS(kin_value_add(value, 1, NULL), 0);
    party_join(&left);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kin_value_waiting(value) == 0);
    kin_value_destroy(value);
    finish();
}
END_TEST

/* --- fork by hand, exec ----------------------------------------------------------------------- */

static int add_in_child(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        if (kin_value_add(value, 1, NULL) < 0)
            return 1;
    return kin_value_set(value, &(long long){-1}, KIN_NOW) == -ETIMEDOUT ? 0 : 2;
}

START_TEST(forked_by_hand)
{
    int64_t now = 0;
    begin();
    value = make_value('q', 0, NULL);
    KT_IS(kin_rlock_acquire(kin_value_rlock(value), KIN_NEVER), 0); /* the child does not have it */
    ck_assert_int_eq(kt_in_child(add_in_child, NULL), 0);
    pid_t raw = kt_fork_raw(add_in_child, NULL);
    ck_assert_int_eq(kt_wait(raw), 0);
    KT_IS(kin_rlock_release(kin_value_rlock(value)), 0);
    KT_IS(kin_value_load(value, &now), 0);
    ck_assert_int_eq(now, 2000);
    kin_value_destroy(value);
    finish();
}
END_TEST

static int play_heir(void *board, const char *arg)
{
    struct kin_arena *mine = NULL;
    struct kin_value *number = NULL, *named = NULL;
    struct kin_array *array = NULL;
    (void)board;
    (void)arg;
    KT_CHECK(kin_arena_inherit(&mine) == 0);
    KT_CHECK(kin_value_inherit(mine, 0, &number) == 0);
    KT_CHECK(kin_array_inherit(mine, 1, &array) == 0);
    KT_CHECK(kin_value_inherit(mine, 1, &named) == -EPROTOTYPE);
    KT_CHECK(kin_value_find(mine, "number", &named) == 0);
    KT_CHECK(kin_value_add(named, 5, NULL) == 0);
    KT_CHECK(kin_array_set(array, 2, &(double){2.5}) == 0);
    KT_CHECK(kin_rlock_acquire(kin_value_rlock(number), KIN_NEVER) == 0);
    return 7; /* holding it */
}

static const struct kt_role roles[] = {{"heir", play_heir}, {NULL, NULL}};

START_TEST(handed_over_to_a_program)
{
    struct kin_process *process = NULL;
    int status = 0;
    int64_t now = 0;
    char board_arg[16];
    void *board = kt_board(64);
    begin();
    KT_OK(kin_value_create(arena, &(struct kin_value_opts){.type = 'q', .name = "number"}, &value));
    struct kin_array *array = make_array('d', 0, 10);
    const void *const objects[] = {value, array};
    snprintf(board_arg, sizeof board_arg, "%d", kt_board_fd());
    char *const argv[] = {"heir", "--stranger", "heir", "-", board_arg, NULL};
    KT_OK(kin_process_spawn(arena, "/proc/self/exe", argv,
                            &(struct kin_spawn_opts){.objects = objects, .objects_count = 2},
                            &process));
    KT_OK(kin_process_join(process, KIN_NEVER));
    KT_OK(kin_process_exitcode(process, &status));
    ck_assert_int_eq(status, 7);
    kin_process_close(process);
    KT_IS(kin_value_load(value, &now), 0);
    ck_assert_int_eq(now, 5);
    ck_assert(((double *)kin_array_ptr(array))[2] == 2.5);
    KT_IS(kin_value_get(value, KIN_NEVER, &now), KIN_ABANDONED);
    kin_value_destroy(value);
    kin_array_destroy(array);
    finish();
    kt_board_close(board, 64);
}
END_TEST

int main(int argc, char **argv)
{
    kt_stranger_main(argc, argv, roles, 64);
    Suite *suite = suite_create("coll/value_death");
    TCase *t = kt_case(suite, "death", 30);
    tcase_add_test(t, the_next_one_is_told);
    tcase_add_test(t, a_thread_that_ends_holding_it);
    tcase_add_test(t, a_deadlock_is_seen);
    tcase_add_test(t, setters_are_killed);
    tcase_add_test(t, waiters_are_killed);
    t = kt_case(suite, "family", 30);
    tcase_add_test(t, forked_by_hand);
    tcase_add_test(t, handed_over_to_a_program);
    return kt_run(suite);
}
