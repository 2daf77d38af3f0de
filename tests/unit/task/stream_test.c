/* SPDX-License-Identifier: MIT
 * Streams: results as they come or in order, bounded reading ahead, any length, early ends. */
#include "unit/task/pool_fixture.h"

static struct source {
    uint64_t next, count; /* count UINT64_MAX: endless */
    int error;            /* instead of the end */
    uint64_t handed;      /* results that the test has taken */
    uint64_t most_ahead;
    pthread_t thread;
    bool wrong;
    uint64_t item;
} source;

static int read_source(void *arg, const void **ret_item, size_t *ret_bytes)
{
    source.wrong |= arg != &source || !pthread_equal(pthread_self(), source.thread);
    if (source.next == source.count)
        return source.error;
    source.item = source.next++;
    uint64_t ahead = source.next - source.handed;
    source.most_ahead = ahead > source.most_ahead ? ahead : source.most_ahead;
    *ret_item = &source.item;
    *ret_bytes = sizeof source.item;
    return 1;
}

static struct kin_stream *open_stream(kin_task_fn fn, uint64_t count,
                                      const struct kin_map_opts *opts)
{
    struct kin_stream *stream = NULL;
    memset(&source, 0, sizeof source);
    source.count = count;
    source.thread = pthread_self();
    KT_OK(kin_pool_stream(pool, fn, read_source, &source, opts, &stream));
    ck_assert_ptr_nonnull(stream);
    return stream;
}

static struct kin_result next(struct kin_stream *stream)
{
    struct kin_result result;
    memset(&result, 0x55, sizeof result);
    KT_IS(kin_stream_next(stream, KIN_NEVER, &result), 1);
    source.handed++;
    return result;
}

static void expect_end(struct kin_stream *stream)
{
    struct kin_result result;
    KT_IS(kin_stream_next(stream, KIN_NEVER, &result), 0);
    KT_IS(kin_stream_next(stream, KIN_NOW, &result), 0);
    ck_assert(!source.wrong);
    kin_stream_close(stream);
}

static void check_square(const struct kin_result *result)
{
    uint64_t n;
    ck_assert_int_eq(result->status, 0);
    ck_assert_uint_eq(result->bytes, sizeof n);
    memcpy(&n, result->data, sizeof n);
    ck_assert_uint_eq(n, result->index * result->index);
    ck_assert_str_eq(result->message, "");
}

/* Early items take longer, so that later ones overtake them. */
static int uneven_square(struct kin_task *task)
{
    if (kin_task_index(task) % 5 == 0)
        usleep(1500);
    KT_CHECK(kin_task_index(task) == *(const uint64_t *)kin_task_arg(task));
    KT_CHECK(kin_task_arg_bytes(task) == 8);
    return square(task);
}

START_TEST(unordered)
{
    open_pool(3);
    static const uint32_t aheads[] = {0, 1, 2, 50, 1000};
    for (size_t a = 0; a < 5; a++) {
        enum { COUNT = 300 };
        bool got[COUNT] = {false}, in_order = true;
        const struct kin_map_opts opts = {.size = sizeof opts, .ahead_count = aheads[a]};
        struct kin_stream *stream = open_stream(uneven_square, COUNT, &opts);
        for (uint64_t i = 0; i < COUNT; i++) {
            struct kin_result result = next(stream);
            ck_assert_uint_lt(result.index, COUNT);
            ck_assert(!got[result.index]);
            got[result.index] = true;
            in_order &= result.index == i;
            check_square(&result);
            ck_assert_int_gt(result.worker_pid, 0);
            ck_assert_uint_eq(result.tries_count, 1);
        }
        expect_end(stream);
        ck_assert(aheads[a] != 1 || in_order);
        ck_assert_uint_le(source.most_ahead, aheads[a] ? aheads[a] : 64);
        ck_assert_uint_ge(source.most_ahead, 1);
    }
    close_pool();
}
END_TEST

START_TEST(ordered)
{
    open_pool(3);
    static const uint32_t aheads[] = {0, 1, 2, 50, 1000};
    for (size_t a = 0; a < 5; a++) {
        const struct kin_map_opts opts = {.ahead_count = aheads[a], .ordered = 1};
        struct kin_stream *stream = open_stream(uneven_square, 300, &opts);
        for (uint64_t i = 0; i < 300; i++) {
            struct kin_result result = next(stream);
            ck_assert_uint_eq(result.index, i);
            check_square(&result);
        }
        expect_end(stream);
        ck_assert_uint_le(source.most_ahead, aheads[a] ? aheads[a] : 64);
    }
    close_pool();
}
END_TEST

START_TEST(an_empty_source)
{
    open_pool(2);
    expect_end(open_stream(square, 0, NULL));
    check_it_works();
    close_pool();
}
END_TEST

START_TEST(an_endless_source)
{
    open_pool(2);
    for (int i = 0; i < 20; i++) {
        struct kin_stream *stream = open_stream(i % 2 ? square : uneven_square, UINT64_MAX, NULL);
        for (int j = 0; j < i * 10; j++) {
            struct kin_result result = next(stream);
            check_square(&result);
        }
        kin_stream_close(stream); /* early: also before the first result */
        check_it_works();
    }
    kin_stream_close(NULL);
    close_pool();
}
END_TEST

START_TEST(a_source_that_fails)
{
    open_pool(2);
    struct kin_stream *stream = open_stream(square, 10, NULL);
    source.error = -ENODEV;
    struct kin_result result;
    int r, results = 0;
    while ((r = kin_stream_next(stream, KIN_NEVER, &result)) == 1)
        results++;
    ck_assert_int_eq(r, -ENODEV);
    ck_assert_int_le(results, 10);
    KT_IS(kin_stream_next(stream, KIN_NEVER, &result), -ENODEV);
    kin_stream_close(stream);
    check_it_works();
    close_pool();
}
END_TEST

/* --- lengths ---------------------------------------------------------------------------------- */

static const uint64_t lengths[] = {0, 1, 95, 96, 97, 4096, 70000, 1 << 20};
#define LENGTHS (sizeof lengths / sizeof lengths[0])

static int read_any_length(void *arg, const void **ret_item, size_t *ret_bytes)
{
    unsigned char *buffer = arg; /* the same one for every item: it is copied */
    if (source.next == 64)
        return 0;
    *ret_bytes = lengths[source.next % LENGTHS];
    kt_fill(buffer, *ret_bytes, source.next++);
    *ret_item = buffer;
    return 1;
}

static int any_length(struct kin_task *task)
{
    uint64_t index = kin_task_index(task), bytes = lengths[index / LENGTHS];
    KT_CHECK(kin_task_arg_bytes(task) == lengths[index % LENGTHS]);
    KT_CHECK(kt_filled(kin_task_arg(task), kin_task_arg_bytes(task), index));
    unsigned char *result = malloc(bytes + 1);
    kt_fill(result, bytes, ~index);
    KT_CHECK(kin_task_return(task, result, bytes) == 0);
    KT_CHECK(kin_task_return(task, result, bytes) == -EALREADY);
    free(result);
    return 0;
}

START_TEST(items_and_results_of_any_length)
{
    open_pool(2);
    unsigned char *buffer = malloc(1 << 20);
    for (int round = 0; round < 3; round++) {
        struct kin_stream *stream = NULL;
        memset(&source, 0, sizeof source);
        KT_OK(kin_pool_stream(pool, any_length, read_any_length, buffer, NULL, &stream));
        for (int i = 0; i < (round == 2 ? 40 : 64); i++) {
            struct kin_result result = next(stream);
            ck_assert_int_eq(result.status, 0);
            ck_assert_uint_eq(result.bytes, lengths[result.index / LENGTHS]);
            ck_assert(kt_filled(result.data, result.bytes, ~result.index));
        }
        kin_stream_close(stream);
    }
    free(buffer);
    close_pool(); /* and no block is left */
}
END_TEST

/* --- failures and deaths ------------------------------------------------------------------------
 */

static int sometimes(struct kin_task *task)
{
    uint64_t index = kin_task_index(task), tries = kin_task_tries_count(task);
    static char big[100000];
    if (index % 10 == 3)
        return kin_task_fail(task, -EDOM, "item %d", (int)index);
    if (index % 10 == 5) {
        KT_CHECK(kin_task_return(task, big, sizeof big) == 0);
        return -ERANGE; /* after a result */
    }
    if (index % 10 == 7) {
        KT_CHECK(kin_task_return(task, big, sizeof big) == 0);
        kill(getpid(), SIGKILL); /* after a result, before the end */
    }
    if (index % 10 == 9 && tries < 2)
        _exit(4);
    return kin_task_return(task, big, index % 2 ? sizeof big : 10);
}

START_TEST(failed_tasks_are_results)
{
    open_pool(2);
    for (uint32_t retries = 0; retries < 3; retries += 2) {
        const struct kin_map_opts opts = {.ordered = retries == 0, .retries_count = retries};
        struct kin_stream *stream = open_stream(sometimes, 100, &opts);
        for (int i = 0; i < 100; i++) {
            struct kin_result result = next(stream);
            uint64_t kind = result.index % 10;
            bool dead = kind == 7 || (kind == 9 && retries == 0);
            int expected = dead ? -EOWNERDEAD : kind == 3 ? -EDOM : kind == 5 ? -ERANGE : 0;
            ck_assert_int_eq(result.status, expected);
            ck_assert_int_eq(result.signal, kind == 7 ? SIGKILL : 0);
            if (dead) {
                ck_assert_int_eq(result.exitcode, kind == 9 ? 4 : 0);
                ck_assert_uint_eq(result.tries_count, retries + 1);
                ck_assert_uint_gt(strlen(result.message), 0);
            } else {
                ck_assert_uint_eq(result.tries_count, kind == 9 ? 3 : 1);
            }
            if (kind == 3) {
                char text[30];
                snprintf(text, sizeof text, "item %d", (int)result.index);
                ck_assert_str_eq(result.message, text);
            }
            if (expected == 0)
                ck_assert_uint_eq(result.bytes, result.index % 2 ? 100000 : 10);
        }
        expect_end(stream);
    }
    close_pool(); /* results of the dead are gone as well */
}
END_TEST

static _Atomic int stop;

static void *kill_workers(void *unused)
{
    (void)unused;
    struct kt_random random = kt_random_of("kill_workers", 0);
    while (!stop) {
        int32_t pids[3];
        usleep((useconds_t)kt_random_below(&random, 2000));
        uint32_t count = kin_pool_worker_pids(pool, pids, 3);
        if (count > 0 && pids[0] > 0)
            kill(pids[kt_random_below(&random, count < 3 ? count : 3)], SIGKILL);
    }
    return NULL;
}

static int big_result(struct kin_task *task)
{
    static unsigned char big[50000];
    kt_fill(big, sizeof big, kin_task_index(task));
    return kin_task_return(task, big, sizeof big);
}

START_TEST(killed_all_the_time)
{
    open_pool(3);
    pthread_t killer;
    stop = 0;
    ck_assert_int_eq(pthread_create(&killer, NULL, kill_workers, NULL), 0);
    const struct kin_map_opts opts = {.ordered = (uint32_t)_i, .retries_count = 1000000};
    const uint64_t count = (uint64_t)kt_scaled(5000);
    struct kin_stream *stream = open_stream(big_result, count, &opts);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct kin_result result = next(stream);
        ck_assert_int_eq(result.status, 0);
        ck_assert(result.bytes == 50000 && kt_filled(result.data, 50000, result.index));
        ck_assert(!_i || result.index == i);
        sum += result.index;
    }
    ck_assert_uint_eq(sum, count * (count - 1) / 2);
    expect_end(stream);
    stop = 1;
    pthread_join(killer, NULL);
    check_it_works();
    close_pool();
}
END_TEST

static int die_at_once(struct kin_task *task)
{
    (void)task;
    kill(getpid(), SIGKILL);
    return 0;
}

/* Streams that are given up while their workers die leave no entry of the pool's table behind. */
START_TEST(given_up_while_workers_die)
{
    open_pool(4);
    for (int i = 0; i < 40; i++) {
        struct kin_stream *stream = open_stream(die_at_once, 16, NULL);
        struct kin_result result;
        int r = kin_stream_next(stream, i % 2 ? KIN_NEVER : KIN_NOW, &result);
        ck_assert(r == 1 || (r == -ETIMEDOUT && i % 2 == 0));
        ck_assert(r < 0 || result.status == -EOWNERDEAD);
        kin_stream_close(stream);
    }
    const struct kin_map_opts opts = {.chunk_items = 1};
    static uint64_t items[600], out[600];
    fill_numbers(items, 600);
    KT_IS(kin_pool_map_opts(pool, square, KIN_ITEMS(items), KIN_ITEMS(out), &opts, KIN_NEVER), 0);
    ck_assert(squared(items, out, 600));
    close_pool();
}
END_TEST

/* --- time and the end ---------------------------------------------------------------------------
 */

static int wait_for_word(struct kin_task *task)
{
    while (kini_load(&words[0]) == 0)
        usleep(500);
    return square(task);
}

START_TEST(the_deadline_passes)
{
    open_pool(2);
    struct kin_stream *stream = open_stream(wait_for_word, 10, NULL);
    struct kin_result result;
    KT_IS(kin_stream_next(stream, KIN_NOW, &result), -ETIMEDOUT);
    int64_t until = kin_after_ms(20);
    KT_IS(kin_stream_next(stream, until, &result), -ETIMEDOUT);
    ck_assert_int_ge(kin_now_ns(), until);
    kini_store(&words[0], 1);
    for (int i = 0; i < 10; i++) { /* call again: nothing was lost */
        result = next(stream);
        check_square(&result);
    }
    expect_end(stream);
    close_pool();
}
END_TEST

START_TEST(closed_while_tasks_run)
{
    open_pool(2);
    struct kin_stream *stream = open_stream(wait_for_word, 100, NULL);
    struct kin_result result;
    KT_IS(kin_stream_next(stream, kin_after_ms(20), &result), -ETIMEDOUT);
    kin_stream_close(stream);
    kini_store(&words[0], 1);
    check_it_works();
    close_pool();
}
END_TEST

START_TEST(the_pool_is_closed)
{
    open_pool(2);
    struct kin_stream *stream = open_stream(square, 50, NULL), *another = NULL;
    struct kin_result result = next(stream);
    KT_OK(kin_pool_close(pool));
    KT_IS(kin_pool_stream(pool, square, read_source, &source, NULL, &another), -ESHUTDOWN);
    ck_assert_ptr_null(another);
    for (int i = 1; i < 50; i++) {
        result = next(stream);
        check_square(&result);
    }
    expect_end(stream);
    KT_OK(kin_pool_join(pool, KIN_NEVER));
    close_pool();
}
END_TEST

START_TEST(the_pool_is_terminated)
{
    open_pool(2);
    struct kin_stream *stream = open_stream(wait_for_word, 50, NULL);
    struct kin_result result;
    KT_IS(kin_stream_next(stream, kin_after_ms(10), &result), -ETIMEDOUT);
    KT_OK(kin_pool_terminate(pool));
    int r; /* what was not finished fails with -ECANCELED, and so does the stream in the end */
    while ((r = kin_stream_next(stream, KIN_NEVER, &result)) == 1)
        ck_assert_int_eq(result.status, -ECANCELED);
    ck_assert_int_eq(r, -ECANCELED);
    kin_stream_close(stream);
    close_pool();
}
END_TEST

START_TEST(wrong_arguments)
{
    open_pool(1);
    struct kin_stream *stream = NULL;
    KT_IS(kin_pool_stream(pool, NULL, read_source, &source, NULL, &stream), -EINVAL);
    KT_IS(kin_pool_stream(pool, square, NULL, NULL, NULL, &stream), -EINVAL);
    ck_assert_ptr_null(stream);
    close_pool();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("task/stream");
    TCase *t = kt_case(suite, "order", 60);
    tcase_add_test(t, unordered);
    tcase_add_test(t, ordered);
    tcase_add_test(t, an_empty_source);
    tcase_add_test(t, an_endless_source);
    tcase_add_test(t, a_source_that_fails);
    t = kt_case(suite, "lengths", 60);
    tcase_add_test(t, items_and_results_of_any_length);
    t = kt_case(suite, "failures", 60);
    tcase_add_test(t, failed_tasks_are_results);
    tcase_add_test(t, given_up_while_workers_die);
    tcase_add_loop_test(t, killed_all_the_time, 0, 2);
    t = kt_case(suite, "end", 60);
    tcase_add_test(t, the_deadline_passes);
    tcase_add_test(t, closed_while_tasks_run);
    tcase_add_test(t, the_pool_is_closed);
    tcase_add_test(t, the_pool_is_terminated);
    tcase_add_test(t, wrong_arguments);
    return kt_run(suite);
}
