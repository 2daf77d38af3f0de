/* SPDX-License-Identifier: MIT
 * Map by its contract: order, sizes, failures, progress, deadlines. Nobody dies in here. */
#include "unit/task/pool_fixture.h"

static int map(const struct kin_map_opts *opts, kin_task_fn fn, const uint64_t *items, size_t count,
               uint64_t *out)
{
    return kin_pool_map_opts(pool, fn, items, sizeof *items, count, out, out ? sizeof *out : 0,
                             out ? count : 0, opts, KIN_NEVER);
}

/* --- order ---------------------------------------------------------------------------------- */

START_TEST(in_order_for_all_chunk_sizes)
{
    static const uint64_t chunks[] = {0, 1, 2, 3, 7, 64, 999, 1000, 1001, 1u << 30};
    static const size_t counts[] = {0, 1, 2, 10, 1000};
    static uint64_t items[1000], out[1000];
    fill_numbers(items, 1000);
    open_pool((uint32_t)_i);
    for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++)
        for (size_t n = 0; n < sizeof counts / sizeof counts[0]; n++) {
            const struct kin_map_opts opts = {.size = sizeof opts, .chunk_items = chunks[c]};
            memset(out, 0xff, sizeof out);
            KT_IS(map(&opts, square, items, counts[n], out), 0);
            ck_assert(squared(items, out, counts[n]));
            ck_assert(counts[n] == 1000 || out[counts[n]] == UINT64_MAX);
        }
    close_pool();
}
END_TEST

START_TEST(a_hundred_thousand_items)
{
    const size_t count = (size_t)kt_scaled(100000);
    uint64_t *items = malloc(count * 8), *out = calloc(count, 8);
    fill_numbers(items, count);
    open_pool(3);
    for (uint64_t chunk = 0; chunk <= 1; chunk++) {
        const struct kin_map_opts opts = {.chunk_items = chunk};
        memset(out, 0, count * 8);
        KT_IS(map(&opts, square, items, count, out), 0);
        ck_assert(squared(items, out, count));
    }
    free(items);
    free(out);
    close_pool();
}
END_TEST

static int note(struct kin_task *task)
{
    kini_add(&words[kin_task_index(task)], 1);
    kini_add(&words[5000], *(const uint8_t *)kin_task_arg(task));
    return 0;
}

START_TEST(without_results)
{
    open_pool(2);
    uint8_t items[300];
    memset(items, 2, sizeof items);
    KT_IS(kin_pool_map(pool, note, KIN_ITEMS(items), KIN_NO_ITEMS, KIN_NEVER), 0);
    KT_IS(kin_pool_map(pool, note, KIN_NO_ITEMS, KIN_NO_ITEMS, KIN_NEVER), 0);
    for (int i = 0; i < 300; i++)
        ck_assert_uint_eq(kini_load(&words[i]), 1); /* each exactly once */
    ck_assert_uint_eq(kini_load(&words[5000]), 600);
    close_pool();
}
END_TEST

static int look_around(struct kin_task *task)
{
    KT_CHECK(kin_task_arg_bytes(task) == 24);
    KT_CHECK(kin_task_index(task) == *(const uint64_t *)kin_task_arg(task));
    KT_CHECK(kin_task_tries_count(task) == 0);
    KT_CHECK(kin_task_shared(task) == (void *)words);
    KT_CHECK(kin_task_state(task) == NULL);
    void *block;
    KT_CHECK(kin_block_alloc(kin_task_arena(task), 100, &block) == 0);
    KT_CHECK(kin_block_free(kin_task_arena(task), block) == 0);
    return 0;
}

START_TEST(what_a_task_knows)
{
    open_pool(2);
    uint64_t items[50][3];
    for (uint64_t i = 0; i < 50; i++)
        items[i][0] = i;
    const struct kin_map_opts opts = {.size = sizeof opts, .arg = (void *)words};
    KT_IS(kin_pool_map_opts(pool, look_around, KIN_ITEMS(items), KIN_NO_ITEMS, &opts, KIN_NEVER),
          0);
    close_pool();
}
END_TEST

struct large {
    uint64_t key;
    unsigned char text[300000];
};

static int large_task(struct kin_task *task)
{
    const struct large *in = kin_task_arg(task);
    KT_CHECK(kt_filled(in->text, sizeof in->text, in->key));
    static struct large out;
    out.key = ~in->key;
    kt_fill(out.text, sizeof out.text, out.key);
    return kin_task_return(task, &out, sizeof out);
}

START_TEST(large_items_and_results)
{
    open_pool(2);
    struct large *items = calloc(20, sizeof *items), *out = calloc(20, sizeof *out);
    for (uint64_t i = 0; i < 20; i++) {
        items[i].key = i;
        kt_fill(items[i].text, sizeof items[i].text, i);
    }
    KT_IS(kin_pool_map(pool, large_task, items, sizeof *items, 20, out, sizeof *out, 20, KIN_NEVER),
          0);
    for (uint64_t i = 0; i < 20; i++)
        ck_assert(out[i].key == ~i && kt_filled(out[i].text, sizeof out[i].text, ~i));
    free(items);
    free(out);
    close_pool();
}
END_TEST

START_TEST(wrong_arguments)
{
    open_pool(1);
    uint64_t items[4] = {1, 2, 3, 4}, out[4];
    KT_IS(kin_pool_map(pool, NULL, KIN_ITEMS(items), KIN_ITEMS(out), KIN_NEVER), -EINVAL);
    KT_IS(kin_pool_map(pool, square, NULL, 8, 4, KIN_ITEMS(out), KIN_NEVER), -EINVAL);
    KT_IS(kin_pool_map(pool, square, KIN_ITEMS(items), out, 8, 3, KIN_NEVER), -EINVAL);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    struct {
        struct kin_map_opts opts;
        uint64_t newer;
    } newer = {.opts = {.size = sizeof newer}, .newer = 1};
    KT_IS(map(&newer.opts, square, items, 4, out), -E2BIG);
    check_it_works();
    close_pool();
}
END_TEST

/* --- failures ------------------------------------------------------------------------------- */

static int fail_some(struct kin_task *task)
{
    uint64_t n = *(const uint64_t *)kin_task_arg(task);
    kini_add(&words[0], 1);
    if (n % 10 == 7)
        return kin_task_fail(task, -EDOM, "number %llu is a seven", (unsigned long long)n);
    if (n % 10 == 8)
        return -ERANGE;
    return kin_task_return(task, &n, sizeof n);
}

START_TEST(failed_items)
{
    static const uint64_t chunks[] = {0, 1, 3, 1000};
    open_pool(3);
    for (size_t c = 0; c < 4; c++) {
        uint64_t items[200], out[200];
        int32_t statuses[200];
        struct kin_result failure;
        memset(statuses, 0x55, sizeof statuses);
        memset(&failure, 0x55, sizeof failure);
        for (uint64_t i = 0; i < 200; i++)
            items[i] = i + 10;
        const struct kin_map_opts opts = {.size = sizeof opts,
                                          .chunk_items = chunks[c],
                                          .statuses = statuses,
                                          .failure = &failure};
        kini_store(&words[0], 0);
        KT_IS(map(&opts, fail_some, items, 200, out), -EDOM); /* of the lowest index */
        ck_assert_uint_eq(kini_load(&words[0]), 200);         /* all have run */
        for (uint64_t i = 0; i < 200; i++) {
            int expected = i % 10 == 7 ? -EDOM : i % 10 == 8 ? -ERANGE : 0;
            ck_assert_int_eq(statuses[i], expected);
            ck_assert(expected != 0 || out[i] == items[i]);
        }
        ck_assert_uint_eq(failure.index, 7);
        ck_assert_int_eq(failure.status, -EDOM);
        ck_assert_int_eq(failure.signal, 0);
        ck_assert_int_eq(failure.exitcode, 0);
        ck_assert_int_gt(failure.worker_pid, 0);
        ck_assert_uint_eq(failure.tries_count, 1);
        ck_assert_str_eq(failure.message, "number 17 is a seven");
    }
    close_pool();
}
END_TEST

static int fail_without_words(struct kin_task *task)
{
    (void)task;
    return -ENOENT;
}

static int fail_at_length(struct kin_task *task)
{
    char text[1000];
    memset(text, 'm', sizeof text);
    text[999] = '\0';
    KT_CHECK(kin_task_fail(task, -EIO, "%s", text) == -EIO);
    return -EIO;
}

START_TEST(messages)
{
    open_pool(1);
    uint64_t item = 1;
    struct kin_result failure;
    const struct kin_map_opts opts = {.failure = &failure};
    KT_IS(map(&opts, fail_without_words, &item, 1, NULL), -ENOENT);
    ck_assert_uint_gt(strlen(failure.message), 0); /* "" or what went wrong */
    KT_IS(map(&opts, fail_at_length, &item, 1, NULL), -EIO);
    ck_assert_uint_eq(strlen(failure.message), 159);
    KT_IS(map(NULL, fail_at_length, &item, 1, NULL), -EIO);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    close_pool();
}
END_TEST

START_TEST(no_failure)
{
    open_pool(1);
    uint64_t items[3] = {1, 2, 3}, out[3];
    int32_t statuses[3] = {9, 9, 9};
    struct kin_result failure = {.status = 77, .message = "not written"};
    const struct kin_map_opts opts = {.statuses = statuses, .failure = &failure};
    KT_IS(map(&opts, square, items, 3, out), 0);
    ck_assert(statuses[0] == 0 && statuses[1] == 0 && statuses[2] == 0);
    ck_assert(failure.status == 0 || failure.status == 77);
    close_pool();
}
END_TEST

static int return_too_much(struct kin_task *task)
{
    char text[9] = "12345678";
    KT_CHECK(kin_task_return(task, text, 9) == -EMSGSIZE);
    KT_CHECK(kin_task_return(task, text, 8) == 0);
    KT_CHECK(kin_task_return(task, text, 8) == -EALREADY);
    return 0;
}

static int return_too_much_and_say_so(struct kin_task *task)
{
    return kin_task_return(task, "123456789", 10);
}

START_TEST(results_that_do_not_fit)
{
    open_pool(1);
    uint64_t items[3] = {0}, out[3];
    KT_IS(map(NULL, return_too_much, items, 3, out), 0);
    ck_assert(memcmp(&out[2], "12345678", 8) == 0);
    struct kin_result failure;
    const struct kin_map_opts opts = {.failure = &failure};
    KT_IS(map(&opts, return_too_much_and_say_so, items, 3, out), -EMSGSIZE);
    ck_assert_uint_eq(failure.index, 0);
    ck_assert_uint_gt(strlen(failure.message), 0);
    close_pool();
}
END_TEST

/* --- progress ------------------------------------------------------------------------------- */

static struct {
    struct kin_progress last;
    int calls;
    bool wrong;
    pthread_t thread;
} seen;

static void watch(const struct kin_progress *progress, void *arg)
{
    seen.wrong |= arg != &seen || progress->done_count < seen.last.done_count ||
                  progress->failed_count < seen.last.failed_count ||
                  progress->done_count > progress->total_count ||
                  !pthread_equal(pthread_self(), seen.thread);
    seen.last = *progress;
    seen.calls++;
}

START_TEST(progress_is_reported)
{
    static const uint64_t chunks[] = {0, 1, 20};
    open_pool(2);
    for (int c = 0; c < 3; c++) {
        uint64_t items[100], out[100];
        for (uint64_t i = 0; i < 100; i++)
            items[i] = i;
        memset(&seen, 0, sizeof seen);
        seen.thread = pthread_self();
        const struct kin_map_opts opts = {
            .chunk_items = chunks[c], .progress = watch, .progress_arg = &seen};
        KT_IS(map(&opts, fail_some, items, 100, out), -EDOM);
        ck_assert(!seen.wrong);
        ck_assert_int_ge(seen.calls, 1);
        ck_assert_uint_eq(seen.last.done_count, 100); /* the last call tells the end */
        ck_assert_uint_eq(seen.last.total_count, 100);
        ck_assert_uint_eq(seen.last.failed_count, 20);
        ck_assert_uint_eq(seen.last.retried_count, 0);
    }
    close_pool();
}
END_TEST

static int wait_for_word(struct kin_task *task)
{
    (void)task;
    while (kini_load(&words[1]) == 0)
        usleep(500);
    return 0;
}

static void count_to_five(const struct kin_progress *progress, void *arg)
{
    (void)arg;
    if (progress->done_count == 0 && ++seen.calls == 5)
        kini_store(&words[1], 1); /* only then do the tasks end */
}

START_TEST(progress_comes_while_nothing_happens)
{
    open_pool(2);
    uint64_t items[2] = {0};
    memset(&seen, 0, sizeof seen);
    const struct kin_map_opts opts = {.progress = count_to_five, .progress_ns = 1000000};
    KT_IS(map(&opts, wait_for_word, items, 2, NULL), 0);
    ck_assert_int_eq(seen.calls, 5);
    close_pool();
}
END_TEST

/* --- deadlines ------------------------------------------------------------------------------ */

START_TEST(the_deadline_passes)
{
    open_pool(2);
    for (int round = 0; round < 3; round++) {
        uint64_t items[500];
        kini_store(&words[1], 0);
        int64_t until = kin_after_ms(round == 0 ? -1 : 20);
        KT_IS(kin_pool_map(pool, wait_for_word, KIN_ITEMS(items), KIN_NO_ITEMS, until), -ETIMEDOUT);
        ck_assert_int_ge(kin_now_ns(), until);
        kini_store(&words[1], 1); /* those that run finish, and are dropped */
        check_it_works();
    }
    close_pool();
}
END_TEST

START_TEST(late_results_go_nowhere)
{
    open_pool(2);
    uint64_t items[500] = {0}, out[500];
    memset(out, 0x77, sizeof out);
    KT_IS(kin_pool_map(pool, wait_for_word, KIN_ITEMS(items), KIN_ITEMS(out), kin_after_ms(10)),
          -ETIMEDOUT);
    uint64_t before[500];
    memcpy(before, out, sizeof out);
    kini_store(&words[1], 1);
    check_it_works();
    ck_assert(memcmp(before, out, sizeof out) == 0);
    close_pool();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("task/map");
    TCase *t = kt_case(suite, "order", 60);
    tcase_add_loop_test(t, in_order_for_all_chunk_sizes, 1, 4);
    tcase_add_test(t, a_hundred_thousand_items);
    tcase_add_test(t, without_results);
    tcase_add_test(t, what_a_task_knows);
    tcase_add_test(t, large_items_and_results);
    tcase_add_test(t, wrong_arguments);
    t = kt_case(suite, "failures", 30);
    tcase_add_test(t, failed_items);
    tcase_add_test(t, messages);
    tcase_add_test(t, no_failure);
    tcase_add_test(t, results_that_do_not_fit);
    t = kt_case(suite, "progress", 30);
    tcase_add_test(t, progress_is_reported);
    tcase_add_test(t, progress_comes_while_nothing_happens);
    t = kt_case(suite, "deadlines", 30);
    tcase_add_test(t, the_deadline_passes);
    tcase_add_test(t, late_results_go_nowhere);
    return kt_run(suite);
}
