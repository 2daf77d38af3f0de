/* SPDX-License-Identifier: MIT
 * Messages filled and read in place, and what becomes of them when their taker dies. */
#include "arena/arena.h"
#include "lib/kin_test.h"

#include <kin/array.h>

#include <signal.h>

static struct kin_arena *arena;
static struct kin_queue *queue;

static void begin(void)
{
    arena = kt_arena(1 * GIB);
    queue = kt_queue(arena, 0, 0);
}

static void finish(void)
{
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536);
    kin_arena_detach(arena);
}

static void put_text(const char *text)
{
    void *data;
    KT_OK(kin_queue_reserve(queue, strlen(text), &data));
    ck_assert_uint_eq((uintptr_t)data % 16, 0);
    memcpy(data, text, strlen(text));
    KT_OK(kin_queue_publish(queue, data, strlen(text), KIN_NEVER));
}

static void expect(const char *text)
{
    void *data;
    KT_IS(kin_queue_take(queue, &data, KIN_NEVER), (int64_t)strlen(text));
    ck_assert_mem_eq(data, text, strlen(text));
    KT_OK(kin_queue_release(queue, data));
}

START_TEST(what_is_published_is_got_and_taken)
{
    begin();
    char buffer[16];
    put_text("one");
    put_text("two");
    KT_OK(kin_queue_put(queue, "three", 5, KIN_NEVER)); /* in the ring */
    KT_IS(kin_queue_size(queue), 3);
    KT_IS(kin_queue_get(queue, buffer, sizeof buffer, KIN_NEVER), 3);
    ck_assert_mem_eq(buffer, "one", 3);
    expect("two");
    expect("three");
    KT_IS(kin_queue_size(queue), 0);
    finish();
}
END_TEST

START_TEST(large_ones)
{
    begin();
    const size_t bytes = 3 * MIB;
    void *data;
    KT_OK(kin_queue_reserve(queue, bytes, &data));
    memset(data, 7, bytes);
    KT_OK(kin_queue_publish(queue, data, bytes - 1, KIN_NEVER)); /* fewer than reserved */
    void *taken;
    KT_IS(kin_queue_take(queue, &taken, KIN_NEVER), (int64_t)bytes - 1);
    ck_assert_ptr_eq(taken, data);
    ck_assert_int_eq(((char *)taken)[bytes - 2], 7);
    KT_OK(kin_queue_release(queue, taken));
    finish();
}
END_TEST

START_TEST(what_was_taken_is_kept_and_published_again)
{
    begin();
    void *data, *again;
    for (int i = 0; i < 100; i++) { /* nothing is left of it */
        put_text("message");
        KT_IS(kin_queue_take(queue, &data, KIN_NEVER), 7);
        KT_IS(kin_queue_keep(queue, data), 0);
        KT_IS(kin_queue_keep(queue, data), -EINVAL);
        KT_IS(kin_queue_release(queue, data), -EINVAL);
        memcpy(data, "changed", 7);
        KT_OK(kin_queue_publish(queue, data, 7, KIN_NEVER));
        KT_IS(kin_queue_take(queue, &again, KIN_NEVER), 7);
        ck_assert_mem_eq(again, "changed", 7);
        KT_IS(kin_queue_keep(queue, again), 0);
        KT_OK(kin_queue_cancel(queue, again));
    }
    finish();
}
END_TEST

static bool is_all_sevens(const char *data, size_t bytes)
{
    return data[0] == 7 && memcmp(data, data + 1, bytes - 1) == 0;
}

START_TEST(what_was_taken_becomes_an_array)
{
    begin();
    static const size_t all_bytes[] = {1000, 40000, 3 * MIB};
    const size_t bytes = all_bytes[_i];
    void *data;
    struct kin_array *array;
    for (int i = 0; i < 20; i++) {
        KT_OK(kin_queue_reserve(queue, bytes + 64, &data));
        memset(data, 7, bytes);
        KT_OK(kin_queue_publish(queue, data, bytes, KIN_NEVER));
        KT_IS(kin_queue_take(queue, &data, KIN_NEVER), (int64_t)bytes);
        KT_IS(kin_array_adopt(arena, data, bytes, &array), -EINVAL); /* not its own yet */
        KT_IS(kin_queue_keep(queue, data), 0);
        KT_IS(kin_array_adopt(arena, data, KIN_ARRAY_HEAD, &array), -EINVAL);
        KT_IS(kin_array_adopt(arena, data, bytes + 2 * MIB, &array), -EINVAL);
        ck_assert(is_all_sevens(data, bytes)); /* unchanged */
        KT_OK(kin_array_adopt(arena, data, bytes, &array));
        char *items = kin_array_ptr(array);
        ptrdiff_t head = items - (char *)data;
        ck_assert(head > 0 && head <= (ptrdiff_t)KIN_ARRAY_HEAD);
        KT_IS(kin_array_length(array), (int64_t)bytes - head);
        ck_assert(is_all_sevens(items, bytes - (size_t)head));
        KT_IS(kin_queue_cancel(queue, data), -EINVAL); /* it is the array's */
        kin_array_destroy(array);
    }
    finish();
}
END_TEST

/* All that was reserved, whatever the size of the block that it came in. */
START_TEST(reserved_memory_of_each_length_becomes_an_array)
{
    begin();
    for (size_t bytes = KIN_ARRAY_HEAD + 1; bytes < 40000; bytes += bytes < 3000 ? 1 : 13) {
        void *data;
        struct kin_array *array = NULL;
        KT_OK(kin_queue_reserve(queue, bytes, &data));
        memset(data, 7, bytes);
        KT_OK(kin_array_adopt(arena, data, bytes, &array));
        char *items = kin_array_ptr(array);
        ck_assert(items + kin_array_length(array) == (char *)data + bytes);
        ck_assert(is_all_sevens(items, (size_t)kin_array_length(array)));
        kin_array_destroy(array);
    }
    finish();
}
END_TEST

/* Free entries of the object table become used ones, or used ones free again. */
static void mark_objects(uint32_t from, uint32_t to)
{
    for (uint32_t id = 1; id < KINI_OBJECTS_MAX; id++)
        if (KINI_OBJECT_STATE(kini_load(&arena->objects[id].state)) == from)
            kini_store(&arena->objects[id].state, to);
}

START_TEST(no_array_comes_of_it)
{
    begin();
    const size_t bytes = _i == 0 ? 1000 : 3 * MIB;
    void *data, *other;
    struct kin_array *array;
    KT_OK(kin_queue_reserve(queue, bytes, &data));
    memset(data, 7, bytes);
    KT_OK(kini_table_commit(arena, arena->super->objects_off, &arena->super->objects_committed,
                            KINI_OBJECTS_MAX * sizeof(struct kini_object_shm),
                            KINI_OBJECTS_MAX * sizeof(struct kini_object_shm)));
    mark_objects(KINI_OBJECT_FREE, KINI_OBJECT_GOING);
    KT_IS(kin_array_adopt(arena, data, bytes, &array), -ENOSPC);
    mark_objects(KINI_OBJECT_GOING, KINI_OBJECT_FREE);
    ck_assert(is_all_sevens(data, bytes));
    KT_OK(kin_queue_reserve(queue, bytes, &other)); /* it is not that one */
    ck_assert_ptr_ne(other, data);
    KT_OK(kin_queue_cancel(queue, other));
    KT_OK(kin_queue_publish(queue, data, bytes, KIN_NEVER));
    KT_IS(kin_queue_take(queue, &data, KIN_NEVER), (int64_t)bytes);
    ck_assert(is_all_sevens(data, bytes));
    KT_OK(kin_queue_release(queue, data));
    finish();
}
END_TEST

START_TEST(empty_messages)
{
    begin();
    put_text("");
    KT_OK(kin_queue_put(queue, NULL, 0, KIN_NEVER));
    expect("");
    expect("");
    finish();
}
END_TEST

START_TEST(wrong_memory)
{
    begin();
    char other[128] = "";
    void *data, *taken, *block;
    struct kin_queue *another = kt_queue(arena, 0, 0);
    KT_IS(kin_queue_publish(queue, other + 64, 1, KIN_NEVER), -EINVAL);
    KT_IS(kin_queue_publish(queue, NULL, 1, KIN_NEVER), -EINVAL);
    KT_OK(kin_block_alloc(arena, 128, &block));
    KT_IS(kin_queue_publish(queue, (char *)block + 32, 1, KIN_NEVER), -EINVAL);
    KT_IS(kin_queue_cancel(queue, block), -EINVAL);
    KT_OK(kin_queue_reserve(queue, 40, &data));
    KT_IS(kin_queue_publish(queue, (char *)data + 8, 1, KIN_NEVER), -EINVAL);
    KT_IS(kin_queue_publish(queue, data, 4096, KIN_NEVER), -EINVAL);
    KT_IS(kin_queue_release(queue, data), -EINVAL);
    KT_OK(kin_queue_publish(queue, data, 40, KIN_NEVER));
    KT_IS(kin_queue_publish(queue, data, 40, KIN_NEVER), -EINVAL);
    KT_IS(kin_queue_cancel(queue, data), -EINVAL);
    KT_IS(kin_queue_take(queue, &taken, KIN_NOW), 40);
    KT_IS(kin_queue_release(another, taken), -EINVAL);
    KT_OK(kin_queue_release(queue, taken));
    KT_IS(kin_queue_release(queue, taken), -EINVAL);
    KT_OK(kin_queue_reserve(queue, 40, &data));
    KT_OK(kin_queue_cancel(queue, data));
    KT_IS(kin_queue_take(queue, &taken, KIN_NOW), -ETIMEDOUT);
    KT_IS(kin_queue_reserve(queue, (size_t)1 << 50, &data), -EMSGSIZE);
    KT_OK(kin_block_free(arena, block));
    kin_queue_destroy(another);
    finish();
}
END_TEST

START_TEST(a_full_queue_leaves_it_reserved)
{
    arena = kt_arena(1 * GIB);
    queue = kt_queue(arena, 1, 0);
    void *data;
    put_text("full");
    KT_OK(kin_queue_reserve(queue, 4, &data));
    memcpy(data, "next", 4);
    KT_IS(kin_queue_publish(queue, data, 4, kin_after_ms(1)), -ETIMEDOUT);
    expect("full");
    KT_OK(kin_queue_publish(queue, data, 4, KIN_NEVER));
    expect("next");
    finish();
}
END_TEST

/* --- death ---------------------------------------------------------------------------------- */

static int take_two_and_die(void *unused)
{
    (void)unused;
    void *one, *two;
    KT_CHECK(kin_queue_take(queue, &one, KIN_NEVER) > 0);
    KT_CHECK(kin_queue_take(queue, &two, KIN_NEVER) > 0);
    memcpy(two, "ch", 2); /* what it has done to it stays */
    raise(SIGKILL);
    return 0;
}

START_TEST(what_the_dead_had_taken_comes_back_in_order)
{
    const char *first = _i == 0 ? "in the ring" : "a block"; /* 0: inline, 1: blocks */
    begin();
    if (_i == 0) {
        KT_OK(kin_queue_put(queue, first, strlen(first), KIN_NEVER));
        KT_OK(kin_queue_put(queue, "bhanged", 7, KIN_NEVER));
    } else {
        put_text(first);
        put_text("bhanged");
    }
    put_text("last");
    KT_IS(kt_in_child(take_two_and_die, NULL), -SIGKILL);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kin_queue_size(queue) == 3);
    char look[32];
    KT_IS(kin_queue_peek(queue, look, sizeof look), (int64_t)strlen(first));
    ck_assert_mem_eq(look, first, strlen(first));
    ck_assert_int_eq(kin_queue_next_bytes(queue), (int64_t)strlen(first));
    expect(first);
    expect("changed");
    expect("last");
    finish();
}
END_TEST

START_TEST(a_waiting_consumer_gets_what_comes_back)
{
    begin();
    put_text("a");
    put_text("b");
    KT_IS(kt_in_child(take_two_and_die, NULL), -SIGKILL);
    expect("a"); /* waits until somebody has looked after the dead: itself */
    expect("c");
    finish();
}
END_TEST

static int take_and_leave(void *unused)
{
    (void)unused;
    void *data;
    KT_CHECK(kin_queue_take(queue, &data, KIN_NEVER) == 4);
    kin_queue_destroy(queue);
    return 0;
}

START_TEST(who_destroys_the_handle_gives_back)
{
    begin();
    put_text("back");
    KT_IS(kt_in_child(take_and_leave, NULL), 0);
    expect("back");
    finish();
}
END_TEST

static int reserve_and_die(void *unused)
{
    (void)unused;
    void *data;
    KT_CHECK(kin_queue_reserve(queue, 10 * MIB, &data) == 0);
    raise(SIGKILL);
    return 0;
}

START_TEST(what_comes_back_takes_its_place)
{
    arena = kt_arena(1 * GIB);
    const uint64_t most = _i == 0 ? 2 : 256; /* 256: as many cells */
    queue = kt_queue(arena, most, 0);
    put_text("a");
    put_text("b");
    for (uint64_t i = 2; i < most; i++)
        KT_OK(kin_queue_put(queue, "x", 1, KIN_NEVER));
    KT_IS(kt_in_child(take_two_and_die, NULL), -SIGKILL);
    KT_OK(kin_queue_put(queue, "d", 1, KIN_NEVER)); /* before anybody noticed, or after: */
    KT_UNTIL(kin_arena_reap(arena) == 0 && kin_queue_size(queue) == (int64_t)most + 1);
    KT_IS(kin_queue_bytes(queue), (int64_t)most + 1);
    KT_IS(kin_queue_is_full(queue), 1);
    KT_IS(kin_queue_try_put(queue, "e", 1), -EAGAIN); /* although a cell is free */
    expect("a");
    KT_IS(kin_queue_try_put(queue, "e", 1), -EAGAIN);
    expect("c");
    KT_IS(kin_queue_is_full(queue), 0);
    KT_IS(kin_queue_try_put(queue, "e", 1), 0);
    for (uint64_t i = 2; i < most; i++)
        expect("x");
    expect("d");
    expect("e");
    finish();
}
END_TEST

static int take_two_and_shut(void *when)
{
    void *one, *two;
    KT_CHECK(kin_queue_take(queue, &one, KIN_NEVER) == 1);
    KT_CHECK(kin_queue_take(queue, &two, KIN_NEVER) == 1);
    KT_CHECK(kin_queue_shutdown(queue, when == NULL ? KIN_AT_ONCE : KIN_WHEN_DRAINED) == 0);
    raise(SIGKILL);
    return 0;
}

START_TEST(what_comes_back_to_a_queue_that_is_shut_down)
{
    void *data, *when = _i == 0 ? NULL : &arena;
    begin();
    put_text("a");
    KT_OK(kin_queue_put(queue, "b", 1, KIN_NEVER));
    put_text("c");
    KT_IS(kt_in_child(take_two_and_shut, when), -SIGKILL);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kin_queue_size(queue) == (_i == 0 ? 0 : 3));
    KT_IS(kin_queue_bytes(queue), _i == 0 ? 0 : 3);
    if (_i != 0) {
        expect("a");
        expect("b");
        expect("c");
    }
    KT_IS(kin_queue_take(queue, &data, KIN_NEVER), -ESHUTDOWN);
    finish();
}
END_TEST

START_TEST(too_long_for_another_queue)
{
    begin();
    struct kin_queue_opts opts = {.max_bytes = 100};
    struct kin_queue *small;
    void *data;
    KT_OK(kin_queue_create(arena, &opts, &small));
    KT_IS(kin_queue_reserve(small, 200, &data), -EMSGSIZE);
    KT_OK(kin_queue_reserve(queue, 200, &data));
    KT_IS(kin_queue_publish(small, data, 200, KIN_NEVER), -EMSGSIZE);
    KT_OK(kin_queue_publish(small, data, 100, KIN_NEVER));
    kin_queue_destroy(small);
    finish();
}
END_TEST

START_TEST(what_the_dead_had_reserved_is_freed)
{
    begin();
    KT_IS(kt_in_child(reserve_and_die, NULL), -SIGKILL);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).used_bytes < 64 * 65536);
    KT_IS(kin_queue_size(queue), 0);
    finish();
}
END_TEST

START_TEST(a_queue_that_goes_takes_them_along)
{
    begin();
    void *data;
    put_text("held");
    put_text("left");
    KT_IS(kin_queue_take(queue, &data, KIN_NEVER), 4);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/zero_copy");
    TCase *t = kt_case(suite, "use", 60);
    tcase_add_test(t, what_is_published_is_got_and_taken);
    tcase_add_test(t, large_ones);
    tcase_add_test(t, what_was_taken_is_kept_and_published_again);
    tcase_add_loop_test(t, what_was_taken_becomes_an_array, 0, 3);
    tcase_add_test(t, reserved_memory_of_each_length_becomes_an_array);
    tcase_add_loop_test(t, no_array_comes_of_it, 0, 2);
    tcase_add_test(t, empty_messages);
    tcase_add_test(t, wrong_memory);
    tcase_add_test(t, a_full_queue_leaves_it_reserved);
    tcase_add_test(t, too_long_for_another_queue);
    t = kt_case(suite, "death", 60);
    tcase_add_loop_test(t, what_the_dead_had_taken_comes_back_in_order, 0, 2);
    tcase_add_test(t, a_waiting_consumer_gets_what_comes_back);
    tcase_add_test(t, who_destroys_the_handle_gives_back);
    tcase_add_loop_test(t, what_comes_back_takes_its_place, 0, 2);
    tcase_add_loop_test(t, what_comes_back_to_a_queue_that_is_shut_down, 0, 2);
    tcase_add_test(t, what_the_dead_had_reserved_is_freed);
    tcase_add_test(t, a_queue_that_goes_takes_them_along);
    return kt_run(suite);
}
