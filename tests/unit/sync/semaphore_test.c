/* SPDX-License-Identifier: MIT
 * Semaphores: permits are taken and given back, never lost and never made up. */
#include "sync_fixture.h"

static struct kin_semaphore *semaphore, *ball[2];

static struct kin_semaphore *make(uint32_t value, uint32_t bounded)
{
    struct kin_semaphore *made = NULL;
    const struct kin_semaphore_opts opts = {.size = sizeof opts, .bounded = bounded};
    KT_IS(kin_semaphore_create(arena, value, &opts, &made), 0);
    ck_assert_ptr_nonnull(made);
    return made;
}

static void open_semaphore(uint32_t value, uint32_t bounded)
{
    begin();
    semaphore = make(value, bounded);
}

static void close_semaphore(void)
{
    KT_IS(kin_semaphore_waiting(semaphore), 0);
    kin_semaphore_destroy(semaphore);
    finish();
}

static void values(int64_t value, int64_t held)
{
    KT_IS(kin_semaphore_value(semaphore), value);
    KT_IS(kin_semaphore_held(semaphore), held);
}

/* --- one thread ----------------------------------------------------------------------------- */

static int create_of(uint32_t value, const struct kin_semaphore_opts *opts)
{
    struct kin_semaphore *made = (void *)1;
    int r = kin_semaphore_create(arena, value, opts, &made);
    if (r < 0) {
        ck_assert_ptr_eq(made, (void *)1);
        return r;
    }
    KT_IS(kin_semaphore_value(made), value);
    KT_IS(kin_semaphore_held(made), 0);
    KT_IS(kin_semaphore_waiting(made), 0);
    KT_IS(kin_semaphore_abandoned(made), 0);
    kin_semaphore_destroy(made);
    return r;
}

static int create(const struct kin_semaphore_opts *opts)
{
    return create_of(1, opts);
}

START_TEST(options)
{
    begin();
    CHECK_OPTS(struct kin_semaphore_opts, create);
    KT_IS(create_of(0, NULL), 0);
    KT_IS(create_of(KIN_SEMAPHORE_MAX, NULL), 0);
    KT_IS(create_of(KIN_SEMAPHORE_MAX + 1, NULL), -EINVAL);
    KT_IS(create_of(UINT32_MAX, NULL), -EINVAL);
    KT_IS(create_of(KIN_SEMAPHORE_MAX, &(struct kin_semaphore_opts){.bounded = 1}), 0);
    kin_semaphore_destroy(NULL);
    finish();
}
END_TEST

/* _i: bounded or not */
START_TEST(a_resource)
{
    open_semaphore(3, (uint32_t)_i);
    for (int round = 0; round < 3; round++) {
        values(3, 0);
        KT_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
        values(2, 1);
        KT_IS(kin_semaphore_try_acquire(semaphore), 0);
        KT_IS(kin_semaphore_acquire(semaphore, KIN_NOW), 0); /* has passed: tries once */
        values(0, 3);
        KT_IS(kin_semaphore_try_acquire(semaphore), -EAGAIN);
        KT_IS(kin_semaphore_acquire(semaphore, KIN_NOW), -ETIMEDOUT);
        int64_t until = kin_after_ms(20);
        KT_IS(kin_semaphore_acquire(semaphore, until), -ETIMEDOUT);
        ck_assert_int_ge(kin_now_ns(), until);
        values(0, 3);
        KT_IS(kin_semaphore_release(semaphore), 0);
        values(1, 2);
        KT_IS(kin_semaphore_release_many(semaphore, 2), 0);
        values(3, 0);
    }
    KT_IS(kin_semaphore_release_many(semaphore, 0), -EINVAL);
    values(3, 0);
    KT_IS(kin_semaphore_abandoned(semaphore), 0);
    close_semaphore();
}
END_TEST

START_TEST(beyond_the_bound)
{
    open_semaphore(3, 1);
    KT_IS(kin_semaphore_release(semaphore), -EOVERFLOW);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    KT_IS(kin_semaphore_acquire(semaphore, KIN_NOW), 0);
    KT_IS(kin_semaphore_release_many(semaphore, 2), -EOVERFLOW); /* all or none */
    KT_IS(kin_semaphore_release_many(semaphore, UINT32_MAX), -EOVERFLOW);
    KT_IS(kin_semaphore_release_many(semaphore, 0), -EINVAL);
    values(2, 1);
    KT_IS(kin_semaphore_release_many(semaphore, 1), 0);
    values(3, 0);
    close_semaphore();
    open_semaphore(0, 1);
    KT_IS(kin_semaphore_release(semaphore), -EOVERFLOW);
    KT_IS(kin_semaphore_try_acquire(semaphore), -EAGAIN);
    close_semaphore();
}
END_TEST

START_TEST(beyond_the_largest_value)
{
    for (uint32_t initial = 0; initial < 2; initial++) {
        open_semaphore(initial, 0);
        KT_IS(kin_semaphore_release_many(semaphore, KIN_SEMAPHORE_MAX + 1), -EOVERFLOW);
        KT_IS(kin_semaphore_release_many(semaphore, UINT32_MAX), -EOVERFLOW);
        values(initial, 0);
        KT_IS(kin_semaphore_release_many(semaphore, KIN_SEMAPHORE_MAX - initial), 0);
        values(KIN_SEMAPHORE_MAX, 0);
        KT_IS(kin_semaphore_release(semaphore), -EOVERFLOW);
        KT_IS(kin_semaphore_release_many(semaphore, KIN_SEMAPHORE_MAX), -EOVERFLOW);
        KT_IS(kin_semaphore_acquire(semaphore, KIN_NOW), 0);
        KT_IS(kin_semaphore_value(semaphore), KIN_SEMAPHORE_MAX - 1);
        KT_IS(kin_semaphore_release(semaphore), 0);
        values(KIN_SEMAPHORE_MAX, 0);
        close_semaphore();
    }
}
END_TEST

/* Nobody holds anything of one that was created with zero. */
START_TEST(a_signal)
{
    open_semaphore(0, 0);
    KT_IS(kin_semaphore_try_acquire(semaphore), -EAGAIN);
    KT_IS(kin_semaphore_release_many(semaphore, 5), 0);
    values(5, 0);
    for (int i = 4; i >= 0; i--) {
        KT_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
        values(i, 0);
    }
    KT_IS(kin_semaphore_acquire(semaphore, kin_after_ms(5)), -ETIMEDOUT);
    close_semaphore();
}
END_TEST

START_TEST(permits_of_many)
{
    enum { MOST = 64 };
    struct kin_semaphore *many[MOST + 1], *signals[MOST + 10];
    begin();
    for (int i = 0; i < MOST + 10; i++) { /* not counted: nobody holds these */
        signals[i] = make(0, 0);
        KT_IS(kin_semaphore_release(signals[i]), 0);
        KT_IS(kin_semaphore_acquire(signals[i], KIN_NOW), 0);
    }
    for (int i = 0; i <= MOST; i++) {
        many[i] = make(2, (uint32_t)i % 2);
        KT_IS(kin_semaphore_acquire(many[i], KIN_NOW), i < MOST ? 0 : -ENOSPC);
    }
    KT_IS(kin_semaphore_try_acquire(many[MOST]), -ENOSPC);
    KT_IS(kin_semaphore_value(many[MOST]), 2);
    KT_IS(kin_semaphore_acquire(many[7], KIN_NOW), 0); /* one of those */
    KT_IS(kin_semaphore_release(many[7]), 0);
    KT_IS(kin_semaphore_acquire(many[MOST], KIN_NOW), -ENOSPC);
    KT_IS(kin_semaphore_release(many[7]), 0);
    KT_IS(kin_semaphore_acquire(many[MOST], KIN_NOW), 0);
    KT_IS(kin_semaphore_release(many[MOST]), 0);
    for (int i = 0; i <= MOST; i++) {
        KT_IS(kin_semaphore_value(many[i]), i == 7 || i == MOST ? 2 : 1);
        kin_semaphore_destroy(many[i]);
    }
    for (int i = 0; i < MOST + 10; i++)
        kin_semaphore_destroy(signals[i]);
    finish();
}
END_TEST

START_TEST(handles_of_another_kind)
{
    struct kin_lock *lock = NULL;
    begin();
    KT_OK(kin_lock_create(arena, NULL, &lock));
    semaphore = (void *)lock;
    KT_IS(kin_semaphore_acquire(semaphore, KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_semaphore_try_acquire(semaphore), -EPROTOTYPE);
    KT_IS(kin_semaphore_release(semaphore), -EPROTOTYPE);
    KT_IS(kin_semaphore_release_many(semaphore, 2), -EPROTOTYPE);
    KT_IS(kin_semaphore_value(semaphore), -EPROTOTYPE);
    KT_IS(kin_semaphore_waiting(semaphore), -EPROTOTYPE);
    KT_IS(kin_semaphore_held(semaphore), -EPROTOTYPE);
    KT_IS(kin_semaphore_abandoned(semaphore), -EPROTOTYPE);
    KT_IS(kin_lock_locked(lock), 0);
    kin_lock_destroy(lock);
    finish();
}
END_TEST

/* --- two parties ---------------------------------------------------------------------------- */

static void acquire_one(int me)
{
    PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
    int64_t place = words[1]++;
    words[10 + place] = me;
    words[0]++;
}

static void start_in_order(struct party *party, int form, int count)
{
    for (int i = 0; i < count; i++) {
        party_start(&party[i], form, acquire_one, i);
        KT_UNTIL(kin_semaphore_waiting(semaphore) == i + 1);
        a_moment();
    }
}

/* As many go on as permits are released. */
START_TEST(release_wakes_as_many)
{
    struct party parties[5];
    open_semaphore(0, 0);
    start_in_order(parties, _i, 5);
    for (int i = 1; i <= 4; i += i) {
        KT_IS(i == 1 ? kin_semaphore_release(semaphore)
                     : kin_semaphore_release_many(semaphore, (uint32_t)i),
              0);
        KT_UNTIL(words[0] >= 2 * i - 1 || words[0] == 5);
        a_moment();
        ck_assert_int_eq(words[0], i < 4 ? 2 * i - 1 : 5);
        KT_UNTIL(kin_semaphore_waiting(semaphore) == (i < 4 ? 6 - 2 * i : 0));
    }
    for (int i = 0; i < 5; i++)
        party_join(&parties[i]);
    values(2, 0);
    close_semaphore();
}
END_TEST

static bool are_served_in_order(int form)
{
    struct party parties[5];
    bool in_order = true;
    words[0] = words[1] = 0;
    start_in_order(parties, form, 5);
    for (int i = 0; i < 5; i++) {
        KT_IS(kin_semaphore_release(semaphore), 0);
        KT_UNTIL(words[0] == i + 1);
        in_order = in_order && words[10 + i] == i;
        a_moment();
    }
    for (int i = 0; i < 5; i++)
        party_join(&parties[i]);
    return in_order;
}

/* But for one who looks at that very moment, because its slice has ended: so not each time. */
START_TEST(who_waits_longest_is_first)
{
    int rounds = 1;
    open_semaphore(0, 0);
    while (!are_served_in_order(_i))
        ck_assert_int_lt(rounds++, 10);
    close_semaphore();
}
END_TEST

static void take_two(int me)
{
    (void)me;
    PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
    PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
    if (party_form == PROCESSES)
        PARTY_IS(kin_semaphore_held(semaphore), 2);
    words[0] = 1;
    KT_UNTIL(words[1]);
    if (party_form == PROCESSES)
        PARTY_IS(kin_semaphore_held(semaphore), 2); /* as before: main released for itself */
    PARTY_IS(kin_semaphore_release(semaphore), 0);
}

/* The count is kept a process, not a thread; another process's releases are its own affair. */
START_TEST(held_by_the_process)
{
    struct party party;
    open_semaphore(3, 0);
    party_start(&party, _i, take_two, 0);
    KT_UNTIL(words[0]);
    values(1, _i == THREADS ? 2 : 0);
    KT_IS(kin_semaphore_release(semaphore), 0); /* for it */
    values(2, _i == THREADS);
    words[1] = 1;
    party_join(&party);
    values(3, 0);
    KT_IS(kin_semaphore_abandoned(semaphore), 0);
    close_semaphore();
}
END_TEST

static void give_up(int me)
{
    PARTY_IS(kin_semaphore_acquire(semaphore, me ? KIN_NEVER : kin_after_ms(30)),
             me ? 0 : -ETIMEDOUT);
    words[me] = 1;
}

START_TEST(a_waiter_gives_up)
{
    struct party first, second;
    open_semaphore(0, 0);
    party_start(&first, _i, give_up, 0);
    KT_UNTIL(kin_semaphore_waiting(semaphore) == 1 || words[0]);
    party_start(&second, _i, give_up, 1);
    KT_UNTIL(words[0] && kin_semaphore_waiting(semaphore) == 1);
    party_join(&first);
    KT_IS(kin_semaphore_release(semaphore), 0);
    party_join(&second);
    values(0, 0);
    close_semaphore();
}
END_TEST

static void wait_until_stale(int me)
{
    (void)me;
    PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), -ESTALE);
}

START_TEST(destroyed_while_threads_wait)
{
    struct party parties[3];
    open_semaphore(0, 0);
    for (int i = 0; i < 3; i++)
        party_start(&parties[i], THREADS, wait_until_stale, i);
    KT_UNTIL(kin_semaphore_waiting(semaphore) == 3);
    kin_semaphore_destroy(semaphore);
    for (int i = 0; i < 3; i++)
        party_join(&parties[i]);
    finish();
}
END_TEST

/* --- storms --------------------------------------------------------------------------------- */

static int storm_rounds;
#define PERMITS 3

/* words[0]: permits in use, never more than there are; words[1]: how often one was. */
static void storm(int me)
{
    struct kt_random random = kt_random_of("semaphore storm", (uint64_t)me);
    for (int i = 0; i < storm_rounds;) {
        uint64_t how = kt_random_below(&random, 8);
        int r = how == 0   ? kin_semaphore_try_acquire(semaphore)
                : how == 1 ? kin_semaphore_acquire(semaphore, kin_after_us(50))
                           : kin_semaphore_acquire(semaphore, KIN_NEVER);
        if (r == -EAGAIN || r == -ETIMEDOUT)
            continue;
        PARTY_IS(r, 0);
        KT_CHECK(++words[0] <= PERMITS);
        words[1]++;
        tiny_delay(&random);
        words[0]--;
        PARTY_IS(how % 2 ? kin_semaphore_release(semaphore)
                         : kin_semaphore_release_many(semaphore, 1),
                 0);
        i++;
    }
}

/* _i: the form, and whether it is bounded */
START_TEST(no_more_than_there_are)
{
    open_semaphore(PERMITS, (uint32_t)_i / 2);
    storm_rounds = kt_scaled(20000);
    with(_i % 2, 6, storm);
    ck_assert_int_eq(words[0], 0);
    ck_assert_int_eq(words[1], (int64_t)6 * storm_rounds);
    values(PERMITS, 0);
    KT_IS(kin_semaphore_abandoned(semaphore), 0);
    close_semaphore();
}
END_TEST

/* Even parties release, odd ones acquire: in all as many. */
static void give_or_take(int me)
{
    struct kt_random random = kt_random_of("give_or_take", (uint64_t)me);
    for (int i = 0; i < storm_rounds;) {
        int count = me % 2 ? 1 : 1 + (int)kt_random_below(&random, 4);
        if (count > storm_rounds - i)
            count = storm_rounds - i;
        if (me % 2)
            PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
        else
            PARTY_IS(kin_semaphore_release_many(semaphore, (uint32_t)count), 0);
        tiny_delay(&random);
        i += count;
    }
}

START_TEST(as_many_in_as_out)
{
    open_semaphore(0, 0);
    storm_rounds = kt_scaled(30000);
    with(_i, 6, give_or_take);
    values(0, 0);
    close_semaphore();
}
END_TEST

static void play(int me)
{
    struct kt_random random = kt_random_of("play", (uint64_t)me);
    for (int i = 0; i < storm_rounds; i++) {
        PARTY_IS(kin_semaphore_acquire(ball[me], KIN_NEVER), 0);
        KT_CHECK(plain[0] == 2 * i + me);
        plain[0]++;
        tiny_delay(&random);
        PARTY_IS(kin_semaphore_release(ball[1 - me]), 0);
    }
}

/* A lost wake-up is a hang. */
START_TEST(ping_pong)
{
    begin();
    storm_rounds = kt_scaled(100000);
    ball[0] = make(0, 0);
    ball[1] = make(0, 0);
    KT_IS(kin_semaphore_release(ball[0]), 0);
    with(_i, 2, play);
    ck_assert_int_eq(plain[0], (int64_t)2 * storm_rounds);
    KT_IS(kin_semaphore_value(ball[0]), 1);
    KT_IS(kin_semaphore_value(ball[1]), 0);
    kin_semaphore_destroy(ball[0]);
    kin_semaphore_destroy(ball[1]);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/semaphore");
    TCase *t = kt_case(suite, "one", 20);
    tcase_add_test(t, options);
    tcase_add_loop_test(t, a_resource, 0, 2);
    tcase_add_test(t, beyond_the_bound);
    tcase_add_test(t, beyond_the_largest_value);
    tcase_add_test(t, a_signal);
    tcase_add_test(t, permits_of_many);
    tcase_add_test(t, handles_of_another_kind);
    t = kt_case(suite, "two", 20);
    tcase_add_loop_test(t, release_wakes_as_many, 0, forms());
    tcase_add_loop_test(t, who_waits_longest_is_first, 0, forms());
    tcase_add_loop_test(t, held_by_the_process, 0, forms());
    tcase_add_loop_test(t, a_waiter_gives_up, 0, forms());
    tcase_add_test(t, destroyed_while_threads_wait);
    t = kt_case(suite, "storm", 60);
    for (int bounded = 0; bounded < 2; bounded++)
        tcase_add_loop_test(t, no_more_than_there_are, bounded * 2, bounded * 2 + forms());
    tcase_add_loop_test(t, as_many_in_as_out, 0, forms());
    tcase_add_loop_test(t, ping_pong, 0, forms());
    return kt_run(suite);
}
