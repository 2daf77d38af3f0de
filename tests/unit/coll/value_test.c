/* SPDX-License-Identifier: MIT
 * Values: every type, every step, bytes, handles. */
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
    ck_assert_int_eq(number_in(value), 0);
    for (int i = 0; i < 4; i++) {
        int64_t other = edges[(i + 1) % 4], expected = other;
        KT_IS(kin_value_store(value, edges[i]), 0);
        ck_assert_int_eq(number_in(value), edges[i]);
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
        ck_assert_int_eq(number_in(value), 1);
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
        ck_assert_int_eq(number_in(value), model);
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
    ck_assert_int_eq(number_in(value), -128);
    KT_IS(kin_value_sub(value, 1, NULL), 0);
    ck_assert_int_eq(number_in(value), 127);
    kin_value_destroy(value);
    value = make_value('Q', 0, NULL);
    KT_IS(kin_value_sub(value, 1, NULL), 0);
    ck_assert_int_eq(number_in(value), -1); /* the bits of 2^64 - 1 */
    KT_IS(kin_value_min(value, 5, NULL), 0);
    ck_assert_int_eq(number_in(value), 5);
    KT_IS(kin_value_max(value, -2, NULL), 0); /* 2^64 - 2 */
    ck_assert_int_eq(number_in(value), -2);
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
    ck_assert_int_eq(number_in(value), 1);
    KT_IS(kin_value_and(value, 0, NULL), 0);
    ck_assert_int_eq(number_in(value), 0);
    KT_IS(kin_value_or(value, 1, NULL), 0);
    KT_IS(kin_value_xor(value, 1, NULL), 0);
    KT_IS(kin_value_max(value, 1, NULL), 0);
    ck_assert_int_eq(number_in(value), 1);
    KT_IS(kin_value_store(value, 2), -ERANGE);
    SAYS("holds 0 to 1");
    KT_IS(kin_value_or(value, 2, NULL), -ERANGE);
    KT_IS(kin_value_add(value, 1, NULL), -EPROTOTYPE);
    KT_IS(kin_value_sub(value, 1, NULL), -EPROTOTYPE);
    SAYS("type '?'; a number is wanted");
    ck_assert_int_eq(number_in(value), 1);
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
    before = 0.1;
    KT_IS(kin_value_compare_exchange_double(value, &before, 1), 0);
    ck_assert(before == 7);
    KT_IS(kin_value_sub_double(value, 6.9, NULL), 0);
    KT_IS(kin_value_store_double(value, 0.1), 0);
    before = 0.1; /* rounded, as what was stored */
    KT_IS(kin_value_compare_exchange_double(value, &before, -0.0), 1);
    before = 0.0; /* has other bits */
    KT_IS(kin_value_compare_exchange_double(value, &before, 1), 0);
    KT_IS(kin_value_compare_exchange_double(value, &before, (double)NAN), 1);
    before = (double)NAN;
    KT_IS(kin_value_compare_exchange_double(value, &before, 9), 1);
    KT_IS(kin_value_sub_double(value, 2, &before), 0);
    ck_assert(before == 9);
    int64_t number = 5;
    KT_IS(kin_value_load(value, &number), -EPROTOTYPE);
    SAYS("an integer is wanted");
    KT_IS(kin_value_add(value, 1, &number), -EPROTOTYPE);
    KT_IS(kin_value_store(value, 1), -EPROTOTYPE);
    KT_IS(kin_value_compare_exchange(value, &number, 1), -EPROTOTYPE);
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
    ck_assert_int_eq(number_in(value), 300);
    ck_assert_int_eq(*(short *)kin_value_ptr(value), 300);
    kin_value_destroy(value);
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
    ck_assert_int_eq(number_in(value), 10);
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
    t = kt_case(suite, "handles", 20);
    tcase_add_test(t, handles_of_another_kind);
    tcase_add_test(t, by_name);
    return kt_run(suite);
}
