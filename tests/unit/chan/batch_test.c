/* SPDX-License-Identifier: MIT
 * Many messages with one call, by their contract: a ring, and a store in the same dress. */
#include "lib/kin_test.h"

static struct kin_arena *arena;
static struct kin_queue *queue;

static void open_queue(int joinable, uint64_t max_items)
{
    const struct kin_queue_opts opts = {.joinable = (uint32_t)joinable, .max_items = max_items};
    arena = kt_arena(1 * GIB);
    KT_OK(kin_queue_create(arena, &opts, &queue));
}

static void close_queue(void)
{
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
}

static void put(const char *text, size_t bytes)
{
    KT_OK(kin_queue_put(queue, text, bytes, KIN_NOW));
}

START_TEST(each_lies_on_a_place_of_its_own)
{
    static _Alignas(16) char buffer[64];
    struct kin_item items[4];
    open_queue(_i, 0);
    put("first", 5);
    put("", 0);
    put("third", 5);
    KT_IS(kin_queue_get_many(queue, items, 4, buffer, sizeof buffer, KIN_NOW), 3);
    ck_assert_ptr_eq(items[0].data, buffer);
    ck_assert_ptr_eq(items[1].data, buffer + 16);
    ck_assert_ptr_eq(items[2].data, buffer + 16); /* the one before has no bytes */
    ck_assert_uint_eq(items[0].bytes, 5);
    ck_assert_uint_eq(items[1].bytes, 0);
    ck_assert_uint_eq(items[2].bytes, 5);
    ck_assert_mem_eq(buffer, "first", 5);
    ck_assert_mem_eq(buffer + 16, "third", 5);
    close_queue();
}
END_TEST

/* Also one of no bytes has an address that is aligned, or stays. */
START_TEST(the_buffer_ends_between_two_places)
{
    static _Alignas(16) char buffer[64];
    struct kin_item items[4];
    open_queue(_i, 0);
    put("first", 5);
    put("", 0);
    KT_IS(kin_queue_get_many(queue, items, 4, buffer, 5, KIN_NOW), 1);
    KT_IS((int64_t)kin_queue_size(queue), 1);
    KT_IS(kin_queue_get_many(queue, items, 4, buffer, 0, KIN_NOW), 1);
    ck_assert_uint_eq(items[0].bytes, 0);
    close_queue();
}
END_TEST

START_TEST(what_does_not_fit_stays)
{
    static char buffer[64];
    struct kin_item items[4];
    open_queue(_i, 0);
    put("first", 5);
    put("the second", 10);
    KT_IS(kin_queue_get_many(queue, items, 4, buffer, 4, KIN_NOW), -EMSGSIZE);
    KT_IS(kin_queue_get_many(queue, items, 4, buffer, 20, KIN_NOW), 1);
    KT_IS(kin_queue_get_many(queue, items, 4, buffer, 20, KIN_NOW), 1);
    ck_assert_mem_eq(items[0].data, "the second", 10);
    KT_IS(kin_queue_get_many(queue, items, 4, buffer, 20, KIN_NOW), -ETIMEDOUT);
    close_queue();
}
END_TEST

START_TEST(as_many_as_there_is_room_for)
{
    struct kin_item items[5];
    char buffer[256];
    open_queue(_i, 3);
    for (int i = 0; i < 5; i++)
        items[i] = (struct kin_item){&"0123456789"[i], 1};
    KT_IS(kin_queue_put_many(queue, items, 5, KIN_NOW), 3);
    KT_IS(kin_queue_put_many(queue, items, 5, KIN_NOW), -ETIMEDOUT);
    KT_IS(kin_queue_get_many(queue, items, 2, buffer, sizeof buffer, KIN_NOW), 2);
    KT_IS(kin_queue_put_many(queue, items + 3, 2, KIN_NOW), 2);
    KT_IS(kin_queue_get_many(queue, items, 5, buffer, sizeof buffer, KIN_NOW), 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(*(char *)items[i].data, "234"[i]);
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    KT_IS(kin_queue_put_many(queue, items, 1, KIN_NOW), -ESHUTDOWN);
    KT_IS(kin_queue_get_many(queue, items, 5, buffer, sizeof buffer, KIN_NOW), -ESHUTDOWN);
    close_queue();
}
END_TEST

START_TEST(bad_arguments)
{
    struct kin_item item = {.data = NULL, .bytes = 1};
    char byte;
    open_queue(_i, 0);
    KT_IS(kin_queue_put_many(queue, NULL, 1, KIN_NOW), -EINVAL);
    KT_IS(kin_queue_put_many(queue, &item, 0, KIN_NOW), -EINVAL);
    KT_IS(kin_queue_put_many(queue, &item, 1, KIN_NOW), -EINVAL); /* no data */
    KT_IS(kin_queue_get_many(queue, NULL, 1, &byte, 1, KIN_NOW), -EINVAL);
    KT_IS(kin_queue_get_many(queue, &item, 0, &byte, 1, KIN_NOW), -EINVAL);
    item = (struct kin_item){&byte, (size_t)1 << 50};
    KT_IS(kin_queue_put_many(queue, &item, 1, KIN_NOW), -EMSGSIZE);
    KT_IS((int64_t)kin_queue_size(queue), 0);
    close_queue();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/batch");
    TCase *t = kt_case(suite, "batches", 30);
    tcase_add_loop_test(t, each_lies_on_a_place_of_its_own, 0, 2);
    tcase_add_loop_test(t, the_buffer_ends_between_two_places, 0, 2);
    tcase_add_loop_test(t, what_does_not_fit_stays, 0, 2);
    tcase_add_loop_test(t, as_many_as_there_is_room_for, 0, 2);
    tcase_add_loop_test(t, bad_arguments, 0, 2);
    return kt_run(suite);
}
