/* SPDX-License-Identifier: MIT
 * Arrays: items and ranges of every type, memory only where it is touched. */
#include "coll_fixture.h"

static struct kin_array *array;

static int create(const struct kin_array_opts *given)
{
    struct kin_array *made = (void *)1;
    const struct kin_array_opts opts = {.type = 'i', .length = 3};
    int r = kin_array_create(arena, given ? given : &opts, &made);
    if (r < 0)
        ck_assert_ptr_eq(made, (void *)1);
    else
        kin_array_destroy(made);
    return r;
}

START_TEST(options)
{
    begin();
    KT_IS(create(NULL), 0);
    KT_IS(kin_array_create(arena, NULL, &array), -EINVAL);
    KT_IS(create(&(struct kin_array_opts){.type = 'x', .length = 1}), -EINVAL);
    SAYS("no type 'x'");
    KT_IS(create(&(struct kin_array_opts){.type = 'd', .item_bytes = 4, .length = 1}), -EINVAL);
    SAYS("type 'd' has 8 bytes, not 4");
    KT_IS(create(&(struct kin_array_opts){.type = 'd', .length = 1ull << 62}), -EINVAL);
    SAYS("more than can be addressed");
    KT_IS(create(&(struct kin_array_opts){.type = 'd', .length = 1ull << 40}), -ENOMEM);
    KT_IS(create(&(struct kin_array_opts){.type = 'd', .length = 1, .size = 2}), -EINVAL);
    KT_IS(create(&(struct kin_array_opts){.type = 'd', .length = 0}), 0);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    kin_array_destroy(NULL);
    finish();
}
END_TEST

/* Small and large ones, of every size of item. */
static const uint64_t lengths[] = {1, 10, 1000, 100000};
static const uint64_t sizes[] = {1, 2, 3, 4, 8, 12, 24, 100};

START_TEST(each_item)
{
    struct kt_random random = kt_random_of("items", (uint64_t)_i);
    unsigned char in[100], out[100];
    uint64_t bytes = sizes[_i];
    begin();
    for (int l = 0; l < 4; l++) {
        uint64_t length = lengths[l];
        array = make_array(KIN_STRUCT, bytes, length);
        KT_IS(kin_array_length(array), (int64_t)length);
        KT_IS(kin_array_item_bytes(array), (int64_t)bytes);
        KT_IS(kin_array_type(array), 0);
        ck_assert_uint_eq((uintptr_t)kin_array_ptr(array) % 64, 0);
        for (int i = 0; i < 200; i++) {
            uint64_t index = kt_random_below(&random, length);
            if (i < 3)
                index = i ? length - 1 : 0;
            kt_fill(in, bytes, (uint64_t)i);
            KT_IS(kin_array_set(array, index, in), 0);
            memset(out, 0, sizeof out);
            KT_IS(kin_array_get(array, index, out), 0);
            ck_assert(memcmp(in, out, bytes) == 0);
            ck_assert(memcmp((char *)kin_array_ptr(array) + index * bytes, in, bytes) == 0);
        }
        KT_IS(kin_array_get(array, length, out), -ERANGE);
        KT_IS(kin_array_set(array, UINT64_MAX, in), -ERANGE);
        kin_array_destroy(array);
    }
    finish();
}
END_TEST

START_TEST(ranges)
{
    struct kt_random random = kt_random_of("ranges", (uint64_t)_i);
    uint64_t bytes = sizes[_i], length = 3000;
    char *model = calloc(length, bytes), *some = calloc(length, bytes);
    begin();
    array = make_array(KIN_STRUCT, bytes, length);
    for (int i = 0; i < 300; i++) {
        uint64_t first = kt_random_below(&random, length + 1);
        uint64_t count = kt_random_below(&random, length - first + 1);
        kt_fill(some, count * bytes + (count == 0), (uint64_t)i);
        if (i % 3 == 2) {
            KT_IS(kin_array_fill(array, first, count, some), 0);
            for (uint64_t j = 0; j < count; j++)
                memcpy(model + (first + j) * bytes, some, bytes);
        } else {
            KT_IS(kin_array_write(array, first, count, some), 0);
            memcpy(model + first * bytes, some, count * bytes);
        }
        ck_assert(memcmp(kin_array_ptr(array), model, length * bytes) == 0);
        KT_IS(kin_array_read(array, first, count, some), 0);
        ck_assert(memcmp(some, model + first * bytes, count * bytes) == 0);
    }
    kin_array_destroy(array);
    free(model);
    free(some);
    finish();
}
END_TEST

/* Its own items may be what is written, and where it is read to. */
START_TEST(ranges_that_overlap)
{
    begin();
    array = make_array('i', 0, 1000);
    int *items = kin_array_ptr(array);
    for (int i = 0; i < 1000; i++)
        items[i] = i;
    KT_IS(kin_array_write(array, 1, 999, items), 0);
    for (int i = 1; i < 1000; i++)
        ck_assert_int_eq(items[i], i - 1);
    KT_IS(kin_array_read(array, 1, 999, items), 0);
    for (int i = 0; i < 999; i++)
        ck_assert_int_eq(items[i], i);
    kin_array_destroy(array);
    finish();
}
END_TEST

START_TEST(out_of_range)
{
    int item = 7, some[10] = {0};
    begin();
    array = make_array('i', 0, 10);
    KT_IS(kin_array_get(array, 12, &item), -ERANGE);
    SAYS("index 12 of 10");
    ck_assert_int_eq(item, 7);
    KT_IS(kin_array_set(array, 10, &item), -ERANGE);
    KT_IS(kin_array_read(array, 5, 8, some), -ERANGE);
    SAYS("8 items from index 5 on, of 10");
    KT_IS(kin_array_write(array, 11, 0, some), -ERANGE);
    KT_IS(kin_array_write(array, 10, 0, some), 0);
    KT_IS(kin_array_read(array, 2, UINT64_MAX, some), -ERANGE);
    KT_IS(kin_array_fill(array, UINT64_MAX, 2, &item), -ERANGE);
    KT_IS(kin_array_commit(array, 9, 2), -ERANGE);
    for (int i = 0; i < 10; i++) {
        KT_IS(kin_array_get(array, (uint64_t)i, &item), 0);
        ck_assert_int_eq(item, 0);
    }
    kin_array_destroy(array);
    array = make_array('i', 0, 0);
    KT_IS(kin_array_get(array, 0, &item), -ERANGE);
    SAYS("index 0 of 0");
    KT_IS(kin_array_read(array, 0, 0, NULL), 0);
    kin_array_destroy(array);
    finish();
}
END_TEST

START_TEST(initial_items)
{
    static long first[100000];
    begin();
    for (int i = 0; i < 100000; i++)
        first[i] = i * 3;
    KT_OK(kin_array_create(
        arena, &(struct kin_array_opts){.type = 'l', .length = 100000, .initial = first}, &array));
    ck_assert(memcmp(kin_array_ptr(array), first, sizeof first) == 0);
    kin_array_destroy(array);
    finish();
}
END_TEST

/* --- memory --------------------------------------------------------------------------------- */

static uint64_t committed(void)
{
    return kt_stat(arena).committed_bytes;
}

/* 512 MiB that cost what is touched of them, however that was done, and nothing when they are gone;
 * and then they are zero again. */
START_TEST(memory_where_it_is_touched)
{
    double number = 1.5, zero = -1;
    uint64_t length = 64 * MIB;
    begin();
    for (int round = 0; round < 3; round++) {
        uint64_t before = committed();
        array = make_array('d', 0, length);
        double *items = kin_array_ptr(array);
        ck_assert_uint_le(committed() - before, 8 * 65536); /* tables, too */
        for (uint64_t i = 0; i < 10; i++)
            KT_IS(kin_array_set(array, i * (length / 10), &number), 0);
        ck_assert_uint_ge(committed() - before, 9 * 65536);
        ck_assert_uint_le(committed() - before, 19 * 65536);
        for (uint64_t i = 0; i < 10; i++) { /* of a large array, parts that nobody committed */
            ck_assert(items[i * (length / 10) + 20000] == 0);
            items[i * (length / 10) + 20000] = 2.5;
        }
        ck_assert_uint_le(committed() - before, 39 * 65536);
        KT_IS(kin_array_commit(array, 1000000, MIB), 0);
        ck_assert_uint_ge(committed() - before, 8 * MIB);
        KT_IS(kin_array_get(array, length / 10 + 20000, &zero), 0);
        ck_assert(zero == 2.5);
        KT_IS(kin_array_get(array, length - 1, &zero), 0);
        ck_assert(zero == 0);
        kin_array_destroy(array);
        ck_assert_uint_le(committed(), before + 8 * 65536);
    }
    finish();
}
END_TEST

static void touch_and_die(int me)
{
    (void)me;
    double *items = kin_array_ptr(array);
    for (uint64_t i = 0; i < MIB; i += 100)
        items[i] = 1;
    PARTY_IS(kin_rlock_acquire(kin_array_rlock(array), KIN_NEVER), 0);
    die_here();
}

static void make_and_die(int me)
{
    (void)me;
    array = make_array('d', 0, MIB);
    touch_and_die(0);
}

START_TEST(the_dead_leave_no_memory)
{
    begin();
    array = make_array('d', 0, MIB);
    uint64_t before = committed();
    in_a_victim(touch_and_die, 0);
    ck_assert_uint_ge(committed() - before, 7 * MIB);
    KT_IS(kin_rlock_acquire(kin_array_rlock(array), KIN_NEVER), KIN_ABANDONED);
    KT_IS(kin_rlock_release(kin_array_rlock(array)), 0);
    ck_assert(((double *)kin_array_ptr(array))[100] == 1);
    kin_array_destroy(array);
    in_a_victim(make_and_die, 0);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).objects_count == 0);
    ck_assert_uint_le(committed(), before + 8 * 65536);
    finish();
}
END_TEST

/* --- several -------------------------------------------------------------------------------- */

static void write_own_part(int me)
{
    uint64_t part = (uint64_t)words[0];
    for (uint64_t i = 0; i < part; i++) {
        long long number = (long long)i * 4 + me, other = 0;
        PARTY_IS(kin_array_set(array, (uint64_t)me * part + i, &number), 0);
        PARTY_IS(kin_array_get(array, (uint64_t)(1 - me) * part + i, &other), 0);
        KT_CHECK(other == 0 || other == (long long)i * 4 + 1 - me);
        PARTY_IS(kin_rlock_acquire(kin_array_rlock(array), KIN_NEVER), 0);
        ((long long *)kin_array_ptr(array))[2 * part]++;
        PARTY_IS(kin_rlock_release(kin_array_rlock(array)), 0);
    }
}

START_TEST(shared_by_several)
{
    begin();
    long long count = 0;
    words[0] = kt_scaled(20000);
    array = make_array('q', 0, 2 * (uint64_t)words[0] + 1);
    with(_i, 2, write_own_part);
    KT_IS(kin_array_get(array, 2 * (uint64_t)words[0], &count), 0);
    ck_assert_int_eq(count, 2 * words[0]);
    for (int64_t i = 0; i < 2 * words[0]; i++) {
        KT_IS(kin_array_get(array, (uint64_t)i, &count), 0);
        ck_assert_int_eq(count, i < words[0] ? i * 4 : (i - words[0]) * 4 + 1);
    }
    kin_array_destroy(array);
    finish();
}
END_TEST

/* --- handles -------------------------------------------------------------------------------- */

START_TEST(handles_of_another_kind)
{
    struct kin_value *value;
    int item = 0;
    begin();
    value = make_value('i', 0, NULL);
    array = (void *)value;
    KT_IS(kin_array_get(array, 0, &item), -EPROTOTYPE);
    KT_IS(kin_array_set(array, 0, &item), -EPROTOTYPE);
    KT_IS(kin_array_read(array, 0, 1, &item), -EPROTOTYPE);
    KT_IS(kin_array_write(array, 0, 1, &item), -EPROTOTYPE);
    KT_IS(kin_array_fill(array, 0, 1, &item), -EPROTOTYPE);
    KT_IS(kin_array_commit(array, 0, 1), -EPROTOTYPE);
    KT_IS(kin_array_length(array), -EPROTOTYPE);
    KT_IS(kin_array_type(array), -EPROTOTYPE);
    KT_IS(kin_array_item_bytes(array), -EPROTOTYPE);
    ck_assert_ptr_null(kin_array_ptr(array));
    ck_assert_ptr_null(kin_array_rlock(array));
    kin_array_destroy(array); /* ignored */
    KT_IS(kin_value_store(value, 1), 0);
    kin_value_destroy(value);
    finish();
}
END_TEST

START_TEST(by_name)
{
    struct kin_array *found = NULL;
    begin();
    KT_IS(kin_array_find(arena, "a", &found), -ENOENT);
    KT_OK(kin_array_open(arena, "a", &(struct kin_array_opts){.type = 'H', .length = 50}, &array));
    KT_OK(kin_array_open(arena, "a", &(struct kin_array_opts){.type = 'H'}, &found));
    KT_IS(kin_array_length(found), 50);
    KT_IS(kin_array_set(found, 49, &(unsigned short){777}), 0);
    unsigned short item = 0;
    KT_IS(kin_array_get(array, 49, &item), 0);
    ck_assert_int_eq(item, 777);
    kin_array_destroy(found);
    KT_IS(kin_array_open(arena, "a", &(struct kin_array_opts){.length = 51}, &found), -EINVAL);
    SAYS("length 50, not 51");
    KT_IS(kin_array_open(arena, "a", &(struct kin_array_opts){.type = 'h'}, &found), -EINVAL);
    KT_IS(
        kin_array_open(arena, "a", &(struct kin_array_opts){.type = 'H', .item_bytes = 4}, &found),
        -EINVAL);
    kin_array_destroy(array);
    KT_IS(kin_array_find(arena, "a", &found), -ENOENT);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("coll/array");
    TCase *t = kt_case(suite, "one", 30);
    const int sizes_count = (int)(sizeof sizes / sizeof sizes[0]);
    tcase_add_test(t, options);
    tcase_add_loop_test(t, each_item, 0, sizes_count);
    tcase_add_loop_test(t, ranges, 0, sizes_count);
    tcase_add_test(t, ranges_that_overlap);
    tcase_add_test(t, out_of_range);
    tcase_add_test(t, initial_items);
    tcase_add_test(t, handles_of_another_kind);
    tcase_add_test(t, by_name);
    t = kt_case(suite, "memory", 30);
    tcase_add_test(t, memory_where_it_is_touched);
    if (has_processes())
        tcase_add_test(t, the_dead_leave_no_memory);
    t = kt_case(suite, "several", 60);
    tcase_add_loop_test(t, shared_by_several, 0, forms());
    return kt_run(suite);
}
