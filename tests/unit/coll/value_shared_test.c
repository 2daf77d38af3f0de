/* SPDX-License-Identifier: MIT
 * Values that several use at once: the lock, sums that are exact, waits that nobody misses. */
#include "coll_fixture.h"

static struct kin_value *value;

/* --- its rlock -------------------------------------------------------------------------------- */

static void locked_out(int me)
{
    (void)me;
    int64_t number = 0;
    int out;
    PARTY_IS(kin_value_get(value, KIN_NOW, &out), -ETIMEDOUT);
    PARTY_IS(kin_value_set(value, &out, kin_after_ms(5)), -ETIMEDOUT);
    PARTY_IS(kin_value_load(value, &number), 0); /* a step asks nobody */
    PARTY_IS(kin_value_add(value, 1, NULL), 0);
    PARTY_IS(kin_rlock_release(kin_value_rlock(value)), -EACCES);
    PARTY_IS(kin_rlock_try_acquire(kin_value_rlock(value)), -EAGAIN);
}

START_TEST(the_own_rlock)
{
    begin();
    value = make_value('i', 0, NULL);
    struct kin_rlock *rlock = kin_value_rlock(value);
    KT_IS(kin_rlock_acquire(rlock, KIN_NEVER), 0);
    KT_IS(kin_value_set(value, &(int){5}, KIN_NOW), 0); /* ours already */
    KT_IS(kin_rlock_depth(rlock), 1);
    with(_i, 1, locked_out);
    ck_assert_int_eq(number_in(value), 6);
    kin_rlock_destroy(rlock); /* not ours to destroy */
    KT_IS(kin_rlock_release(rlock), 0);
    KT_IS(kin_rlock_release(rlock), -EPERM);
    struct kin_condition *condition = NULL;
    KT_OK(kin_condition_create(arena, &(struct kin_condition_opts){.rlock = rlock}, &condition));
    KT_IS(kin_condition_acquire(condition, KIN_NEVER), 0);
    KT_IS(kin_rlock_depth(rlock), 1);
    KT_IS(kin_condition_wait(condition, kin_after_ms(5)), -ETIMEDOUT);
    KT_IS(kin_condition_release(condition), 0);
    kin_condition_destroy(condition);
    kin_value_destroy(value);
    finish();
}
END_TEST

static void count_under_the_lock(int me)
{
    (void)me;
    for (int i = 0; i < (int)words[0]; i++) {
        PARTY_IS(kin_rlock_acquire(kin_value_rlock(value), KIN_NEVER), 0);
        ++*(long long *)kin_value_ptr(value);
        PARTY_IS(kin_rlock_release(kin_value_rlock(value)), 0);
    }
}

static void add_one(int me)
{
    for (int i = 0; i < (int)words[0]; i++) {
        if (me == 2)
            PARTY_IS(kin_value_add_double(value, 1, NULL), 0);
        else if (me == 3 && i % 2)
            PARTY_IS(kin_value_sub(value, -1, NULL), 0);
        else
            PARTY_IS(kin_value_add(value, 1, NULL), 0);
    }
}

static void add_double(int me)
{
    (void)me;
    add_one(2);
}

/* Exactly as often as they did. */
START_TEST(sums_are_exact)
{
    static const char types[] = "hiIq";
    double sum;
    begin();
    words[0] = kt_scaled(60000);
    for (int i = 0; i < 4; i++) {
        value = make_value((uint32_t)types[i], 0, NULL);
        with(_i, 2, add_one);
        ck_assert_int_eq(number_in(value), i == 0 ? (int16_t)(2 * words[0]) : 2 * words[0]);
        kin_value_destroy(value);
    }
    value = make_value('d', 0, NULL);
    with(_i, 2, add_double);
    KT_IS(kin_value_load_double(value, &sum), 0);
    ck_assert(sum == (double)(2 * words[0]));
    kin_value_destroy(value);
    value = make_value('q', 0, NULL);
    with(_i, 3, count_under_the_lock);
    ck_assert_int_eq(number_in(value), 3 * words[0]);
    kin_value_destroy(value);
    finish();
}
END_TEST

struct triple {
    int64_t a, b, c[6];
};

static void set_triples(int me)
{
    for (int i = 0; i < (int)words[0]; i++) {
        struct triple now;
        int64_t n = i * 10 + me;
        struct triple next = {n, n, {n, n, n, n, n, n}};
        PARTY_IS(kin_value_set(value, &next, KIN_NEVER), 0);
        PARTY_IS(kin_value_get(value, KIN_NEVER, &now), 0);
        KT_CHECK(now.a == now.b && now.b == now.c[0] && now.c[0] == now.c[5]);
    }
}

START_TEST(structs_are_never_torn)
{
    begin();
    words[0] = kt_scaled(5000);
    value = make_value(KIN_STRUCT, sizeof(struct triple), NULL);
    with(_i, 3, set_triples);
    kin_value_destroy(value);
    finish();
}
END_TEST

/* --- until it changes ------------------------------------------------------------------------- */

START_TEST(wait_returns_at_once)
{
    begin();
    value = make_value('i', 0, &(int){3});
    KT_IS(kin_value_wait(value, &(int){4}, KIN_NEVER), 0);
    KT_IS(kin_value_wait(value, &(int){3}, KIN_NOW), -ETIMEDOUT);
    KT_IS(kin_value_wait(value, &(int){3}, kin_after_ms(10)), -ETIMEDOUT);
    KT_IS(kin_value_waiting(value), 0);
    kin_value_destroy(value);
    finish();
}
END_TEST

static void wait_for_a_change(int me)
{
    (void)me;
    words[1]++;
    PARTY_IS(kin_value_wait(value, &(int){100}, KIN_NEVER), 0);
    words[2]++;
}

static int change(int way)
{
    int64_t expected = 100;
    switch (way) {
    case 0:
        return kin_value_store(value, 1);
    case 1:
        return kin_value_exchange(value, 1, NULL);
    case 2:
        return kin_value_compare_exchange(value, &expected, 1) - 1;
    case 3:
        return kin_value_add(value, 1, NULL);
    case 4:
        return kin_value_sub(value, 1, NULL);
    case 5:
        return kin_value_and(value, 1, NULL);
    case 6:
        return kin_value_or(value, 1, NULL);
    case 7:
        return kin_value_xor(value, 1, NULL);
    case 8:
        return kin_value_min(value, 1, NULL);
    case 9:
        return kin_value_max(value, 1000, NULL);
    case 10:
        return kin_value_set(value, &(int){1}, KIN_NEVER);
    default:
        *(_Atomic int *)kin_value_ptr(value) = 1;
        return kin_value_notify(value);
    }
}

START_TEST(every_change_wakes_all)
{
    struct party parties[3];
    begin();
    value = make_value('i', 0, NULL);
    for (int way = 0; way < 12; way++) {
        KT_IS(kin_value_store(value, 100), 0);
        words[2] = 0;
        for (int i = 0; i < 3; i++)
            party_start(&parties[i], _i, wait_for_a_change, i);
        KT_UNTIL(kin_value_waiting(value) == 3);
        KT_IS(kin_value_notify(value), 0); /* for nothing */
        KT_IS(kin_value_add(value, 0, NULL), 0);
        ck_assert_int_eq(words[2], 0);
        KT_IS(change(way), 0);
        for (int i = 0; i < 3; i++)
            party_join(&parties[i]);
        KT_IS(kin_value_waiting(value), 0);
    }
    kin_value_destroy(value);
    finish();
}
END_TEST

/* Two that take turns: a wake that is lost stops both for a slice at least, and without slices for
 * ever. Each sleeps until the other has made the number its own. */
static void take_turns(int me)
{
    struct kt_random random = kt_random_of("turns", (uint64_t)me);
    for (int64_t i = me; i < words[0]; i += 2) {
        int64_t number = 0;
        PARTY_IS(kin_value_load(value, &number), 0);
        while (number != i) {
            PARTY_IS(kin_value_wait(value, &(long long){number}, KIN_NEVER), 0);
            PARTY_IS(kin_value_load(value, &number), 0);
        }
        tiny_delay(&random);
        PARTY_IS(kin_value_add(value, 1, &number), 0);
        KT_CHECK(number == i);
    }
}

START_TEST(no_wake_is_lost)
{
    begin();
    kt_seed_print();
    words[0] = kt_scaled(20000);
    value = make_value('q', 0, NULL);
    with(_i, 2, take_turns);
    ck_assert_int_eq(number_in(value), words[0]);
    kin_value_destroy(value);
    finish();
}
END_TEST

static void wait_for_a_struct(int me)
{
    struct triple seen = {0};
    (void)me;
    for (int i = 0; i < (int)words[0]; i++) {
        PARTY_IS(kin_value_wait(value, &seen, KIN_NEVER), 0);
        PARTY_IS(kin_value_get(value, KIN_NEVER, &seen), 0);
        KT_CHECK(seen.a == seen.c[5]);
        words[1] = seen.a;
    }
}

START_TEST(structs_are_waited_for)
{
    struct party party;
    begin();
    words[0] = kt_scaled(2000);
    value = make_value(KIN_STRUCT, sizeof(struct triple), NULL);
    party_start(&party, _i, wait_for_a_struct, 0);
    for (int64_t i = 1; i <= words[0]; i++) {
        struct triple next = {.a = i, .c[5] = i};
        KT_IS(kin_value_set(value, &next, KIN_NEVER), 0);
        while (words[1] < i) /* in a moment, or never */
            usleep(20);
    }
    party_join(&party);
    kin_value_destroy(value);
    finish();
}
END_TEST

static void *wait_until_stale(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)kin_value_wait(value, &(int){0}, KIN_NEVER);
}

static void *lock_until_stale(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)kin_rlock_acquire(kin_value_rlock(value), KIN_NEVER);
}

START_TEST(destroy_sends_away)
{
    pthread_t waiter, locker;
    void *result;
    begin();
    value = make_value('i', 0, NULL);
    struct kin_rlock *rlock = kin_value_rlock(value);
    KT_IS(kin_rlock_acquire(rlock, KIN_NEVER), 0);
    pthread_create(&waiter, NULL, wait_until_stale, NULL);
    pthread_create(&locker, NULL, lock_until_stale, NULL);
    KT_UNTIL(kin_value_waiting(value) == 1 && kin_rlock_waiting(rlock) == 1);
    kin_value_destroy(value);
    pthread_join(waiter, &result);
    ck_assert_int_eq((intptr_t)result, -ESTALE);
    pthread_join(locker, &result);
    ck_assert_int_eq((intptr_t)result, -ESTALE);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("coll/value_shared");
    TCase *t = kt_case(suite, "together", 60);
    tcase_add_loop_test(t, the_own_rlock, 0, forms());
    tcase_add_loop_test(t, sums_are_exact, 0, forms());
    tcase_add_loop_test(t, structs_are_never_torn, 0, forms());
    t = kt_case(suite, "wait", 60);
    tcase_add_test(t, wait_returns_at_once);
    tcase_add_loop_test(t, every_change_wakes_all, 0, forms());
    tcase_add_loop_test(t, no_wake_is_lost, 0, forms());
    tcase_add_loop_test(t, structs_are_waited_for, 0, forms());
    tcase_add_test(t, destroy_sends_away);
    return kt_run(suite);
}
