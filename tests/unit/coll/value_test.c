/* SPDX-License-Identifier: MIT
 * Values: every type, every step, waits that nobody misses, sums that are exact. */
#include "coll_fixture.h"

#include <math.h>

static struct kin_value *value;

/* --- types ---------------------------------------------------------------------------------- */

static const struct integer {
    char type;
    int64_t bytes, least, most; /* of Q and L: the bits */
} integers[] = {
    {'c', 1, 0, 255},        {'b', 1, INT8_MIN, INT8_MAX},
    {'B', 1, 0, UINT8_MAX},  {'h', 2, INT16_MIN, INT16_MAX},
    {'H', 2, 0, UINT16_MAX}, {'i', 4, INT32_MIN, INT32_MAX},
    {'I', 4, 0, UINT32_MAX}, {'l', 8, INT64_MIN, INT64_MAX},
    {'L', 8, 0, -1},         {'q', 8, INT64_MIN, INT64_MAX},
    {'Q', 8, 0, -1},         {'u', 4, 0, UINT32_MAX},
};
#define INTEGERS ((int)(sizeof integers / sizeof integers[0]))

static int64_t now(void)
{
    int64_t number = 12345;
    KT_OK(kin_value_load(value, &number));
    return number;
}

/* What a number is once it has been squeezed into the type. */
static int64_t squeezed(const struct integer *type, int64_t number)
{
    uint64_t kept = (uint64_t)number;
    if (type->bytes < 8)
        kept &= (1ull << (8 * type->bytes)) - 1;
    if (type->least < 0 && type->bytes < 8 && kept >> (8 * type->bytes - 1))
        kept |= ~0ull << (8 * type->bytes);
    return (int64_t)kept;
}

static bool less(const struct integer *type, int64_t a, int64_t b)
{
    return type->least < 0 ? a < b : (uint64_t)a < (uint64_t)b;
}

static int create(const struct kin_value_opts *given)
{
    struct kin_value_opts opts = {.type = 'i'};
    struct kin_value *made = (void *)1;
    if (given == NULL)
        given = &opts;
    int r = kin_value_create(arena, given, &made);
    if (r < 0)
        ck_assert_ptr_eq(made, (void *)1);
    else
        kin_value_destroy(made);
    return r;
}

START_TEST(options)
{
    begin();
    ck_assert_int_eq(create(NULL), 0);
    KT_IS(kin_value_create(arena, NULL, &value), -EINVAL);
    SAYS("a struct of 0 bytes");
    KT_IS(create(&(struct kin_value_opts){.type = 'x'}), -EINVAL);
    SAYS("no type 'x'");
    KT_IS(create(&(struct kin_value_opts){.type = 'i' + 256}), -EINVAL);
    KT_IS(create(&(struct kin_value_opts){.type = 'i', .value_bytes = 8}), -EINVAL);
    SAYS("type 'i' has 4 bytes, not 8");
    KT_IS(create(&(struct kin_value_opts){.type = 'i', .value_bytes = 4}), 0);
    KT_IS(create(&(struct kin_value_opts){.value_bytes = 1ull << 60}), -EINVAL);
    KT_IS(create(&(struct kin_value_opts){.value_bytes = 1ull << 40}), -ENOMEM);
    KT_IS(create(&(struct kin_value_opts){.type = 'i', .size = 1}), -EINVAL);
    struct {
        struct kin_value_opts known;
        uint64_t newer;
    } newer = {{.size = sizeof newer, .type = 'i'}, 1};
    KT_IS(create(&newer.known), -E2BIG);
    KT_IS(create(&(struct kin_value_opts){.type = 'i', .name = "thirty-two-bytes-are-one-too-man"}),
          -EINVAL);
    KT_IS(kin_type_bytes('d'), 8);
    KT_IS(kin_type_bytes('?'), 1);
    KT_IS(kin_type_bytes(0), -EINVAL);
    KT_IS(kin_type_bytes('z'), -EINVAL);
    kin_value_destroy(NULL);
    finish();
}
END_TEST

START_TEST(integers_of_all_types)
{
    const struct integer *type = &integers[_i];
    int64_t before = 77, edges[] = {type->least, type->most, 0, 1};
    begin();
    value = make_value((uint32_t)type->type, 0, NULL);
    KT_IS(kin_value_type(value), type->type);
    KT_IS(kin_value_bytes(value), type->bytes);
    ck_assert_uint_eq((uintptr_t)kin_value_ptr(value) % 64, 0);
    ck_assert_int_eq(now(), 0);
    for (int i = 0; i < 4; i++) {
        int64_t other = edges[(i + 1) % 4], expected = other;
        KT_IS(kin_value_store(value, edges[i]), 0);
        ck_assert_int_eq(now(), edges[i]);
        KT_IS(kin_value_compare_exchange(value, &expected, 1), 0);
        ck_assert_int_eq(expected, edges[i]);
        KT_IS(kin_value_compare_exchange(value, &expected, other), 1);
        KT_IS(kin_value_exchange(value, edges[i], &before), 0);
        ck_assert_int_eq(before, other);
        KT_IS(kin_value_exchange(value, edges[i], NULL), 0);
    }
    if (type->bytes < 8) {
        before = 77;
        KT_IS(kin_value_store(value, type->most + 1), -ERANGE);
        KT_IS(kin_value_exchange(value, type->least - 1, &before), -ERANGE);
        KT_IS(kin_value_min(value, type->least - 1, &before), -ERANGE);
        KT_IS(kin_value_max(value, type->most + 1, &before), -ERANGE);
        KT_IS(kin_value_compare_exchange(value, &(int64_t){type->most + 1}, 1), -ERANGE);
        KT_IS(kin_value_compare_exchange(value, &(int64_t){1}, type->least - 1), -ERANGE);
        ck_assert_int_eq(before, 77);
        ck_assert_int_eq(now(), 1);
    }
    KT_IS(kin_value_store_double(value, 1), -EPROTOTYPE);
    SAYS("a float or a double is wanted");
    kin_value_destroy(value);
    finish();
}
END_TEST

/* Against a model, from random numbers and edges; sums wrap around. */
START_TEST(steps_of_all_types)
{
    const struct integer *type = &integers[_i];
    struct kt_random random = kt_random_of("steps", (uint64_t)_i);
    begin();
    value = make_value((uint32_t)type->type, 0, NULL);
    int64_t model = 0;
    for (int round = 0; round < kt_scaled(20000); round++) {
        int64_t number = (int64_t)(kt_random_next(&random) >> kt_random_below(&random, 64));
        int64_t before = 0, fits = squeezed(type, number);
        switch (kt_random_below(&random, 7)) {
        case 0:
            KT_IS(kin_value_add(value, number, &before), 0);
            ck_assert_int_eq(before, model);
            model = squeezed(type, (int64_t)((uint64_t)model + (uint64_t)number));
            break;
        case 1:
            KT_IS(kin_value_sub(value, number, &before), 0);
            ck_assert_int_eq(before, model);
            model = squeezed(type, (int64_t)((uint64_t)model - (uint64_t)number));
            break;
        case 2:
            KT_IS(kin_value_and(value, number, &before), 0);
            ck_assert_int_eq(before, model);
            model = squeezed(type, model & number);
            break;
        case 3:
            KT_IS(kin_value_or(value, number, &before), 0);
            ck_assert_int_eq(before, model);
            model = squeezed(type, model | number);
            break;
        case 4:
            KT_IS(kin_value_xor(value, number, &before), 0);
            ck_assert_int_eq(before, model);
            model = squeezed(type, model ^ number);
            break;
        case 5:
            KT_IS(kin_value_min(value, fits, &before), 0);
            ck_assert_int_eq(before, model);
            model = less(type, fits, model) ? fits : model;
            break;
        default:
            KT_IS(kin_value_max(value, fits, &before), 0);
            ck_assert_int_eq(before, model);
            model = less(type, model, fits) ? fits : model;
        }
        ck_assert_int_eq(now(), model);
    }
    kin_value_destroy(value);
    finish();
}
END_TEST

START_TEST(wraps_around)
{
    begin();
    value = make_value('b', 0, &(signed char){127});
    KT_IS(kin_value_add(value, 1, NULL), 0);
    ck_assert_int_eq(now(), -128);
    KT_IS(kin_value_sub(value, 1, NULL), 0);
    ck_assert_int_eq(now(), 127);
    kin_value_destroy(value);
    value = make_value('Q', 0, NULL);
    KT_IS(kin_value_sub(value, 1, NULL), 0);
    ck_assert_int_eq(now(), -1); /* the bits of 2^64 - 1 */
    KT_IS(kin_value_min(value, 5, NULL), 0);
    ck_assert_int_eq(now(), 5);
    KT_IS(kin_value_max(value, -2, NULL), 0); /* 2^64 - 2 */
    ck_assert_int_eq(now(), -2);
    kin_value_destroy(value);
    value = make_value('h', 0, NULL);
    KT_IS(kin_value_store(value, 40000), -ERANGE);
    SAYS("40000 in a value of type 'h', which holds -32768 to 32767");
    kin_value_destroy(value);
    finish();
}
END_TEST

START_TEST(a_bool)
{
    begin();
    value = make_value('?', 0, &(bool){true});
    ck_assert_int_eq(now(), 1);
    KT_IS(kin_value_and(value, 0, NULL), 0);
    ck_assert_int_eq(now(), 0);
    KT_IS(kin_value_or(value, 1, NULL), 0);
    KT_IS(kin_value_xor(value, 1, NULL), 0);
    KT_IS(kin_value_max(value, 1, NULL), 0);
    ck_assert_int_eq(now(), 1);
    KT_IS(kin_value_store(value, 2), -ERANGE);
    SAYS("holds 0 to 1");
    KT_IS(kin_value_or(value, 2, NULL), -ERANGE);
    KT_IS(kin_value_add(value, 1, NULL), -EPROTOTYPE);
    KT_IS(kin_value_sub(value, 1, NULL), -EPROTOTYPE);
    SAYS("type '?'; a number is wanted");
    ck_assert_int_eq(now(), 1);
    kin_value_destroy(value);
    finish();
}
END_TEST

START_TEST(floats)
{
    double before = 0;
    begin();
    value = make_value(_i ? 'd' : 'f', 0, NULL);
    KT_IS(kin_value_bytes(value), _i ? 8 : 4);
    KT_IS(kin_value_store_double(value, 0.1), 0);
    KT_IS(kin_value_load_double(value, &before), 0);
    ck_assert(before == (_i ? 0.1 : (double)0.1f));
    KT_IS(kin_value_exchange_double(value, 2.5, &before), 0);
    KT_IS(kin_value_add_double(value, -4, &before), 0);
    ck_assert(before == 2.5);
    KT_IS(kin_value_max_double(value, -2, &before), 0);
    ck_assert(before == -1.5);
    KT_IS(kin_value_min_double(value, -1, NULL), 0);
    KT_IS(kin_value_min_double(value, (double)NAN, NULL), 0);
    KT_IS(kin_value_max_double(value, (double)NAN, NULL), 0);
    KT_IS(kin_value_load_double(value, &before), 0);
    ck_assert(before == -1.5);
    KT_IS(kin_value_min_double(value, -INFINITY, NULL), 0);
    KT_IS(kin_value_max_double(value, 7, &before), 0);
    ck_assert(isinf(before));
    int64_t number = 5;
    KT_IS(kin_value_load(value, &number), -EPROTOTYPE);
    SAYS("an integer is wanted");
    KT_IS(kin_value_add(value, 1, &number), -EPROTOTYPE);
    KT_IS(kin_value_store(value, 1), -EPROTOTYPE);
    ck_assert_int_eq(number, 5);
    kin_value_destroy(value);
    finish();
}
END_TEST

/* --- bytes ---------------------------------------------------------------------------------- */

START_TEST(structs_of_all_sizes)
{
    static const uint64_t sizes[] = {1, 3, 4, 8, 9, 24, 63, 64, 65, 1000, 40000, 200000};
    char *in = malloc(200000), *out = malloc(200000);
    begin();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t bytes = sizes[i];
        kt_fill(in, bytes, i);
        value = make_value(KIN_STRUCT, bytes, in);
        KT_IS(kin_value_bytes(value), (int64_t)bytes);
        KT_IS(kin_value_get(value, KIN_NOW, out), 0);
        ck_assert(kt_filled(out, bytes, i));
        for (uint64_t round = 100; round < 104; round++) {
            kt_fill(in, bytes, round);
            KT_IS(kin_value_wait(value, in, KIN_NOW), 0);
            KT_IS(kin_value_set(value, in, KIN_NOW), 0);
            KT_IS(kin_value_wait(value, in, KIN_NOW), -ETIMEDOUT);
            ck_assert(kt_filled(kin_value_ptr(value), bytes, round));
            KT_IS(kin_value_get(value, KIN_NOW, out), 0);
            ck_assert(kt_filled(out, bytes, round));
        }
        int64_t number;
        KT_IS(kin_value_load(value, &number), -EPROTOTYPE);
        KT_IS(kin_value_load_double(value, &(double){0}), -EPROTOTYPE);
        SAYS("the value is a struct of");
        kin_value_destroy(value);
    }
    free(in);
    free(out);
    finish();
}
END_TEST

START_TEST(get_and_set_of_numbers)
{
    begin();
    short number = -7, out = 0;
    value = make_value('h', 0, &number);
    KT_IS(kin_value_get(value, KIN_NOW, &out), 0);
    ck_assert_int_eq(out, -7);
    number = 300;
    KT_IS(kin_value_set(value, &number, KIN_NOW), 0);
    ck_assert_int_eq(now(), 300);
    ck_assert_int_eq(*(short *)kin_value_ptr(value), 300);
    kin_value_destroy(value);
    finish();
}
END_TEST

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
    ck_assert_int_eq(now(), 6);
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
        ck_assert_int_eq(now(), i == 0 ? (int16_t)(2 * words[0]) : 2 * words[0]);
        kin_value_destroy(value);
    }
    value = make_value('d', 0, NULL);
    with(_i, 2, add_double);
    KT_IS(kin_value_load_double(value, &sum), 0);
    ck_assert(sum == (double)(2 * words[0]));
    kin_value_destroy(value);
    value = make_value('q', 0, NULL);
    with(_i, 3, count_under_the_lock);
    ck_assert_int_eq(now(), 3 * words[0]);
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

/* --- until it changes ---------------------------------------------------------------------------
 */

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
    ck_assert_int_eq(now(), words[0]);
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

/* --- handles -------------------------------------------------------------------------------- */

START_TEST(handles_of_another_kind)
{
    struct kin_event *event = NULL;
    int64_t number = 0;
    double real = 0;
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    value = (void *)event;
    KT_IS(kin_value_load(value, &number), -EPROTOTYPE);
    KT_IS(kin_value_store(value, 0), -EPROTOTYPE);
    KT_IS(kin_value_add(value, 1, NULL), -EPROTOTYPE);
    KT_IS(kin_value_load_double(value, &real), -EPROTOTYPE);
    KT_IS(kin_value_wait(value, &number, KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_value_get(value, KIN_NOW, &number), -EPROTOTYPE);
    KT_IS(kin_value_set(value, &number, KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_value_type(value), -EPROTOTYPE);
    KT_IS(kin_value_bytes(value), -EPROTOTYPE);
    KT_IS(kin_value_waiting(value), -EPROTOTYPE);
    KT_IS(kin_value_notify(value), -EPROTOTYPE);
    ck_assert_ptr_null(kin_value_ptr(value));
    ck_assert_ptr_null(kin_value_rlock(value));
    kin_value_destroy(value); /* ignored */
    KT_IS(kin_event_is_set(event), 0);
    kin_event_destroy(event);
    finish();
}
END_TEST

START_TEST(by_name)
{
    struct kin_value *found = NULL, *other = NULL;
    begin();
    KT_IS(kin_value_find(arena, "v", &found), -ENOENT);
    KT_IS(kin_value_open(arena, "v", NULL, &found), -EINVAL); /* of what type? */
    KT_OK(kin_value_open(arena, "v", &(struct kin_value_opts){.type = 'i', .initial = &(int){9}},
                         &value));
    KT_OK(kin_value_open(arena, "v", &(struct kin_value_opts){.type = 'i', .initial = &(int){8}},
                         &found));
    KT_OK(kin_value_find(arena, "v", &other));
    KT_IS(kin_value_add(found, 1, NULL), 0);
    KT_IS(kin_rlock_acquire(kin_value_rlock(found), KIN_NEVER), 0);
    KT_IS(kin_rlock_depth(kin_value_rlock(other)), 1);
    KT_IS(kin_rlock_release(kin_value_rlock(other)), 0);
    ck_assert_int_eq(now(), 10);
    kin_value_destroy(found);
    kin_value_destroy(other);
    KT_OK(kin_value_open(arena, "v", NULL, &found));
    KT_IS(kin_value_type(found), 'i');
    kin_value_destroy(found);
    KT_IS(kin_value_open(arena, "v", &(struct kin_value_opts){.type = 'q'}, &found), -EINVAL);
    SAYS("created with type 'i', not 'q'");
    KT_IS(kin_value_open(arena, "v", &(struct kin_value_opts){.value_bytes = 4}, &found), -EINVAL);
    struct kin_array *array = NULL;
    KT_IS(kin_array_find(arena, "v", &array), -EPROTOTYPE);
    SAYS("is a value");
    kin_value_destroy(value);
    value = NULL;
    KT_OK(
        kin_value_create(arena, &(struct kin_value_opts){.value_bytes = 24, .name = "s"}, &value));
    KT_IS(kin_value_open(arena, "s", &(struct kin_value_opts){.value_bytes = 16}, &found), -EINVAL);
    SAYS("bytes 24, not 16");
    KT_IS(kin_value_open(arena, "s", &(struct kin_value_opts){.type = 'i'}, &found), -EINVAL);
    kin_value_destroy(value);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("coll/value");
    TCase *t = kt_case(suite, "numbers", 60);
    tcase_add_test(t, options);
    tcase_add_loop_test(t, integers_of_all_types, 0, INTEGERS);
    tcase_add_loop_test(t, steps_of_all_types, 0, INTEGERS);
    tcase_add_test(t, wraps_around);
    tcase_add_test(t, a_bool);
    tcase_add_loop_test(t, floats, 0, 2);
    t = kt_case(suite, "bytes", 30);
    tcase_add_test(t, structs_of_all_sizes);
    tcase_add_test(t, get_and_set_of_numbers);
    tcase_add_loop_test(t, the_own_rlock, 0, forms());
    t = kt_case(suite, "several", 60);
    tcase_add_loop_test(t, sums_are_exact, 0, forms());
    tcase_add_loop_test(t, structs_are_never_torn, 0, forms());
    tcase_add_test(t, wait_returns_at_once);
    tcase_add_loop_test(t, every_change_wakes_all, 0, forms());
    tcase_add_loop_test(t, no_wake_is_lost, 0, forms());
    tcase_add_loop_test(t, structs_are_waited_for, 0, forms());
    tcase_add_test(t, destroy_sends_away);
    t = kt_case(suite, "handles", 20);
    tcase_add_test(t, handles_of_another_kind);
    tcase_add_test(t, by_name);
    return kt_run(suite);
}
