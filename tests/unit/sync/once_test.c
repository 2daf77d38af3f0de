/* SPDX-License-Identifier: MIT
 * Once: one runs the function, all see what it did; if it fails or dies, the next one runs it. */
#include "sync_fixture.h"

static struct kin_once *once;

static void open_once(void)
{
    begin();
    KT_OK(kin_once_create(arena, NULL, &once));
    KT_IS(kin_once_done(once), 0);
}

static void close_once(void)
{
    kin_once_destroy(once);
    finish();
}

/* words[20]: how often one began, words[21]: what it is to return, words[22]: may it go on;
 * plain[0]: what it did */
static int run(void *arg)
{
    KT_CHECK(arg == &once);
    int64_t turn = ++words[20];
    KT_UNTIL(words[22]);
    if (words[21] < 0)
        return (int)words[21];
    plain[0] = turn;
    return 0;
}

static int run_it(kin_deadline deadline)
{
    return kin_once_run(once, run, &once, deadline);
}

/* --- one thread ----------------------------------------------------------------------------- */

static int create(const struct kin_once_opts *opts)
{
    struct kin_once *made = (void *)1;
    int r = kin_once_create(arena, opts, &made);
    if (r < 0)
        ck_assert_ptr_eq(made, (void *)1);
    else
        kin_once_destroy(made);
    return r;
}

START_TEST(options)
{
    begin();
    CHECK_OPTS(struct kin_once_opts, create);
    KT_IS(create(&(struct kin_once_opts){.flags = 1}), -EINVAL);
    kin_once_destroy(NULL);
    finish();
}
END_TEST

static int again(void *arg)
{
    (void)arg;
    words[23]++;
    ck_assert_int_eq(kin_once_done(once), 0);
    KT_IS(run_it(KIN_NEVER), -EDEADLK);
    KT_IS(run_it(KIN_NOW), -EDEADLK);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    return 0;
}

START_TEST(alone)
{
    open_once();
    words[22] = 1;
    for (int i = 1; i <= 3; i++) {
        words[21] = -i;
        KT_IS(run_it(i == 2 ? KIN_NOW : KIN_NEVER), -i); /* it has not been run */
        KT_IS(kin_once_done(once), 0);
        ck_assert_int_eq(words[20], i);
    }
    words[21] = 0;
    KT_IS(run_it(-4), 0); /* has passed: nobody runs it, so this one does */
    KT_IS(kin_once_done(once), 1);
    for (int i = 0; i < 3; i++)
        KT_IS(run_it(i == 0 ? KIN_NOW : KIN_NEVER), 0);
    ck_assert_int_eq(words[20], 4);
    ck_assert_int_eq(plain[0], 4);
    KT_IS(kin_once_abandoned(once), 0);
    close_once();
}
END_TEST

START_TEST(from_within)
{
    open_once();
    KT_IS(kin_once_run(once, again, NULL, KIN_NEVER), 0);
    KT_IS(kin_once_done(once), 1);
    KT_IS(kin_once_run(once, again, NULL, KIN_NEVER), 0);
    ck_assert_int_eq(words[23], 1);
    close_once();
}
END_TEST

START_TEST(handles_of_another_kind)
{
    struct kin_event *event = NULL;
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    once = (void *)event;
    KT_IS(run_it(KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_once_done(once), -EPROTOTYPE);
    KT_IS(kin_once_abandoned(once), -EPROTOTYPE);
    ck_assert_int_eq(words[20], 0);
    kin_event_destroy(event);
    finish();
}
END_TEST

/* --- several -------------------------------------------------------------------------------- */

/* words[me]: 1000 + what it returned */
static void run_party(int me)
{
    int r = run_it(me == 9 ? kin_after_ms(20) : KIN_NEVER);
    KT_CHECK(r != 0 || plain[0] == words[20]);
    words[me] = 1000 + r;
}

static void start_runner(struct party *runner, int form)
{
    party_start(runner, form, run_party, 0);
    KT_UNTIL(words[20] > 0);
}

/* What it wrote is there for all that waited. */
START_TEST(others_wait_for_it)
{
    struct party parties[4], impatient;
    open_once();
    start_runner(&parties[0], _i);
    KT_IS(run_it(KIN_NOW), -ETIMEDOUT);
    KT_IS(run_it(kin_after_ms(5)), -ETIMEDOUT);
    for (int i = 1; i < 4; i++)
        party_start(&parties[i], _i, run_party, i);
    party_start(&impatient, _i, run_party, 9);
    party_join(&impatient);
    ck_assert_int_eq(words[9] - 1000, -ETIMEDOUT);
    a_moment();
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(words[i], 0);
    KT_IS(kin_once_done(once), 0);
    words[22] = 1;
    for (int i = 0; i < 4; i++)
        party_join(&parties[i]);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(words[i], 1000);
    KT_IS(run_it(KIN_NOW), 0);
    KT_IS(kin_once_done(once), 1);
    ck_assert_int_eq(words[20], 1);
    close_once();
}
END_TEST

static int fail_at_first(void *arg)
{
    (void)arg;
    int64_t turn = ++words[20];
    if (turn < 3) {
        KT_UNTIL(words[22]);
        return -EIO;
    }
    plain[0] = turn;
    return 0;
}

static void fail_or_run(int me)
{
    int r = kin_once_run(once, fail_at_first, NULL, KIN_NEVER);
    KT_CHECK(r == -EIO || (r == 0 && plain[0] == 3));
    words[1] += r == -EIO;
    words[2] += r == 0;
    (void)me;
}

/* The function fails: of those who wait the next one runs it. */
START_TEST(the_next_one_runs_it)
{
    struct party parties[6];
    open_once();
    for (int i = 0; i < 6; i++)
        party_start(&parties[i], _i, fail_or_run, i);
    KT_UNTIL(words[20] == 1);
    a_moment();
    words[22] = 1;
    for (int i = 0; i < 6; i++)
        party_join(&parties[i]);
    ck_assert_int_eq(words[1], 2);
    ck_assert_int_eq(words[2], 4);
    ck_assert_int_eq(words[20], 3);
    KT_IS(kin_once_abandoned(once), 0);
    close_once();
}
END_TEST

static void run_until_stale(int me)
{
    (void)me;
    words[5]++;
    PARTY_IS(run_it(KIN_NEVER), -ESTALE);
}

/* The runner is another process: threads of this one only wait. */
START_TEST(destroyed_while_threads_wait)
{
    struct party runner, parties[2];
    open_once();
    start_runner(&runner, PROCESSES);
    for (int i = 0; i < 2; i++)
        party_start(&parties[i], THREADS, run_until_stale, i);
    KT_UNTIL(words[5] == 2);
    a_moment();
    kin_once_destroy(once);
    for (int i = 0; i < 2; i++)
        party_join(&parties[i]);
    words[22] = 1;
    party_join(&runner);
    ck_assert_int_eq(words[0], 1000);
    finish();
}
END_TEST

/* --- death ---------------------------------------------------------------------------------- */

static int run_and_exit(void *arg)
{
    (void)arg;
    words[20]++;
    _exit(0);
}

static void exit_within(int me)
{
    (void)me;
    KT_CHECK(kin_once_run(once, run_and_exit, NULL, KIN_NEVER) == 12345);
}

/* _i: whether somebody waits when the runner dies, and in which form */
START_TEST(the_runner_dies)
{
    struct party runner, waiter;
    open_once();
    for (int death = 1; death <= 3; death++) {
        words[22] = words[1] = 0;
        words[20] = 0;
        if (death == 2) {
            party_start(&runner, PROCESSES, exit_within, 0);
            party_join(&runner);
        } else {
            start_runner(&runner, PROCESSES);
        }
        if (_i > 0)
            party_start(&waiter, _i - 1, run_party, 1);
        a_moment();
        words[21] = death < 3 ? -EBADMSG : 0;
        words[22] = 0;
        if (death != 2)
            party_kill(&runner);
        words[22] = 1;
        if (_i > 0) {
            party_join(&waiter);
            ck_assert_int_eq(words[1] - 1000, words[21]);
        } else {
            KT_IS(run_it(KIN_NEVER), words[21]);
        }
        ck_assert_int_eq(words[20], 2);
        KT_IS(kin_once_abandoned(once), death);
        KT_IS(kin_once_done(once), death == 3);
    }
    close_once();
}
END_TEST

START_TEST(waiters_are_killed)
{
    struct party runner, parties[4];
    open_once();
    start_runner(&runner, PROCESSES);
    for (int i = 1; i < 4; i++)
        party_start(&parties[i], PROCESSES, run_party, i);
    a_moment();
    party_kill(&parties[1]);
    party_kill(&parties[3]);
    words[22] = 1;
    party_join(&runner);
    party_join(&parties[2]);
    ck_assert(words[0] == 1000 && words[2] == 1000);
    ck_assert_int_eq(words[20], 1);
    KT_IS(kin_once_abandoned(once), 0);
    close_once();
}
END_TEST

static void child_of_a_runner(int me)
{
    PARTY_IS(kin_once_done(once), 0);
    if (me == 0)
        PARTY_IS(run_it(KIN_NOW), -ETIMEDOUT); /* somebody else runs it */
    die_here();
}

static int fork_within(void *arg)
{
    (void)arg;
    words[20]++;
    in_a_victim(child_of_a_runner, 1);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    words[20]++;
    return 0;
}

/* A child that is made meanwhile does not run it, and its death means nothing. */
START_TEST(forked_meanwhile)
{
    struct party runner;
    open_once();
    start_runner(&runner, THREADS);
    in_a_victim(child_of_a_runner, 0);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    words[22] = 1;
    party_join(&runner);
    ck_assert_int_eq(words[0], 1000);
    KT_IS(kin_once_abandoned(once), 0);
    close_once();
    open_once();
    KT_IS(kin_once_run(once, fork_within, NULL, KIN_NEVER), 0);
    KT_IS(kin_once_done(once), 1);
    ck_assert_int_eq(words[20], 2);
    KT_IS(kin_once_abandoned(once), 0);
    close_once();
}
END_TEST

/* --- storms --------------------------------------------------------------------------------- */

#define MANY 400
static struct kin_once *many[MANY];
static int many_count;

static int run_one_of_many(void *arg)
{
    int64_t *mine = arg;
    KT_CHECK(*mine == 0);
    *mine = 1;
    words[100 + (mine - plain)]++;
    *mine = 2;
    return words[100 + (mine - plain)] == 1 && (mine - plain) % 3 == 0 ? (*mine = 0, -EIO) : 0;
}

static void storm(int me)
{
    struct kt_random random = kt_random_of("once storm", (uint64_t)me);
    for (int i = 0; i < many_count; i++) {
        int r;
        while ((r = kin_once_run(many[i], run_one_of_many, &plain[i], KIN_NEVER)) == -EIO)
            ;
        PARTY_IS(r, 0);
        KT_CHECK(plain[i] == 2);
        tiny_delay(&random);
    }
}

START_TEST(each_of_many_once)
{
    begin();
    many_count = kt_scaled(MANY);
    for (int i = 0; i < many_count; i++)
        KT_OK(kin_once_create(arena, NULL, &many[i]));
    with(_i, 6, storm);
    for (int i = 0; i < many_count; i++) {
        ck_assert_int_eq(words[100 + i], i % 3 == 0 ? 2 : 1);
        KT_IS(kin_once_done(many[i]), 1);
        kin_once_destroy(many[i]);
    }
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/once");
    TCase *t = kt_case(suite, "one", 20);
    tcase_add_test(t, options);
    tcase_add_test(t, alone);
    tcase_add_test(t, from_within);
    tcase_add_test(t, handles_of_another_kind);
    t = kt_case(suite, "several", 30);
    tcase_add_loop_test(t, others_wait_for_it, 0, forms());
    tcase_add_loop_test(t, the_next_one_runs_it, 0, forms());
    if (has_processes()) {
        t = kt_case(suite, "death", 30);
        tcase_add_test(t, destroyed_while_threads_wait);
        tcase_add_loop_test(t, the_runner_dies, 0, 3);
        tcase_add_test(t, waiters_are_killed);
        tcase_add_test(t, forked_meanwhile);
    }
    t = kt_case(suite, "storm", 60);
    tcase_add_loop_test(t, each_of_many_once, 0, forms());
    return kt_run(suite);
}
