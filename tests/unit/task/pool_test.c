/* SPDX-License-Identifier: MIT
 * The life of a pool: workers, initialisers, close, terminate, join, destroy; many callers. */
#include "unit/task/pool_fixture.h"

#include <sched.h>

static int report_pid(struct kin_task *task)
{
    int32_t pid = (int32_t)getpid();
    usleep(1000);
    return kin_task_return(task, &pid, sizeof pid);
}

START_TEST(workers_are_processes)
{
    open_pool(3);
    ck_assert_uint_eq(kin_pool_workers_count(pool), 3);
    int32_t pids[5] = {0}, items[60] = {0}, out[60];
    ck_assert_uint_eq(kin_pool_worker_pids(pool, pids, 5), 3);
    ck_assert(pids[0] > 0 && pids[1] > 0 && pids[2] > 0 && pids[3] == 0);
    ck_assert(pids[0] != pids[1] && pids[1] != pids[2] && pids[0] != pids[2]);
    int32_t one[2] = {0, -5};
    ck_assert_uint_eq(kin_pool_worker_pids(pool, one, 1), 3);
    ck_assert(one[0] == pids[0] && one[1] == -5);
    const struct kin_map_opts opts = {.chunk_items = 1};
    KT_IS(kin_pool_map_opts(pool, report_pid, KIN_ITEMS(items), KIN_ITEMS(out), &opts, KIN_NEVER),
          0);
    int hits[3] = {0};
    for (int i = 0; i < 60; i++)
        for (int j = 0; j < 3; j++)
            hits[j] += out[i] == pids[j];
    ck_assert_int_eq(hits[0] + hits[1] + hits[2], 60); /* nobody else, not this process */
    ck_assert(hits[0] > 0 && hits[1] > 0 && hits[2] > 0);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 4);
    close_pool();
}
END_TEST

START_TEST(as_many_as_processors)
{
    open_with(NULL);
    cpu_set_t set;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    ck_assert_int_eq((int)kin_pool_workers_count(pool), CPU_COUNT(&set));
    check_it_works();
    close_pool();
}
END_TEST

START_TEST(wrong_options)
{
    words = kt_share(65536);
    arena = kt_arena(0);
    const struct kin_pool_opts longer = {.name = "thirty-two-bytes-are-one-too-man"};
    KT_IS(kin_pool_create(arena, &longer, &pool), -EINVAL);
    const struct kin_pool_opts many = {.workers_count = 1000000};
    KT_IS(kin_pool_create(arena, &many, &pool), -EINVAL);
    struct {
        struct kin_pool_opts opts;
        uint64_t newer;
    } newer = {.opts = {.size = sizeof newer}, .newer = 1};
    KT_IS(kin_pool_create(arena, &newer.opts, &pool), -E2BIG);
    ck_assert_ptr_null(pool);
    kin_pool_destroy(NULL);
    close_arena();
}
END_TEST

START_TEST(pools_come_and_go)
{
    words = kt_share(65536);
    arena = kt_arena(0);
    int fds = 0;
    for (int i = 0; i < kt_scaled(20); i++) {
        const struct kin_pool_opts opts = {.workers_count = 2};
        KT_OK(kin_pool_create(arena, &opts, &pool));
        check_it_works();
        kin_pool_destroy(pool);
        if (i == 0)
            fds = kt_fds_count();
        ck_assert_int_eq(kt_fds_count(), fds);
        ck_assert_int_eq(kt_children_count(), 0);
        ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    }
    close_arena();
}
END_TEST

START_TEST(several_pools)
{
    const struct kin_pool_opts opts = {.workers_count = 2};
    struct kin_pool *others[3];
    open_pool(1);
    for (int i = 0; i < 3; i++)
        KT_OK(kin_pool_create(arena, &opts, &others[i]));
    struct kin_pool *first = pool;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 3; i++) {
            pool = others[i];
            check_it_works();
            pool = first;
            check_it_works();
        }
    for (int i = 0; i < 3; i++)
        kin_pool_destroy(others[i]);
    check_it_works();
    close_pool();
}
END_TEST

/* --- initialisers --------------------------------------------------------------------------- */

static int init_worker(struct kin_arena *mine, void *arg, void **ret_state)
{
    KT_CHECK(mine == arena && arg == (void *)words);
    kini_add_sc(&words[0], 1);
    static int32_t state;
    state = (int32_t)getpid();
    *ret_state = &state;
    return 0;
}

static int check_state(struct kin_task *task)
{
    KT_CHECK(*(int32_t *)kin_task_state(task) == (int32_t)getpid());
    usleep(500);
    return 0;
}

static const struct kin_pool_opts *init_opts(kin_worker_fn init)
{
    static struct kin_pool_opts opts;
    words = kt_share(65536);
    opts = (struct kin_pool_opts){
        .size = sizeof opts, .workers_count = 3, .init = init, .init_arg = (void *)words};
    arena = kt_arena(0);
    return &opts;
}

START_TEST(init_runs_once_a_worker)
{
    const struct kin_pool_opts *opts = init_opts(init_worker);
    KT_OK(kin_pool_create(arena, opts, &pool));
    uint64_t items[200] = {0};
    for (int i = 0; i < 3; i++)
        KT_IS(kin_pool_map(pool, check_state, KIN_ITEMS(items), KIN_NO_ITEMS, KIN_NEVER), 0);
    KT_UNTIL(kini_load(&words[0]) >= 3);
    ck_assert_uint_eq(kini_load(&words[0]), 3);
    int32_t pids[3];
    kin_pool_worker_pids(pool, pids, 3);
    kill(pids[1], SIGKILL); /* a new worker is initialised, too */
    while (kini_load(&words[0]) < 4)
        KT_IS(kin_pool_map(pool, check_state, KIN_ITEMS(items), KIN_NO_ITEMS, KIN_NEVER), 0);
    ck_assert_uint_eq(kini_load(&words[0]), 4);
    close_pool();
}
END_TEST

static int init_fails(struct kin_arena *mine, void *arg, void **ret_state)
{
    (void)mine;
    (void)arg;
    (void)ret_state;
    return -ENOTCONN;
}

START_TEST(init_fails_and_so_does_the_pool)
{
    const struct kin_pool_opts *opts = init_opts(init_fails);
    int r = kin_pool_create(arena, opts, &pool);
    if (r == 0) { /* it may be known only later */
        uint64_t items[50] = {0}, out[50];
        for (int i = 0; i < 3; i++) {
            KT_IS(kin_pool_map(pool, square, KIN_ITEMS(items), KIN_ITEMS(out), KIN_NEVER),
                  -ENOTCONN);
            ck_assert_uint_gt(strlen(kin_error_text()), 0);
        }
    } else {
        ck_assert_int_eq(r, -ENOTCONN);
    }
    close_pool();
}
END_TEST

static int init_fails_for_replacements(struct kin_arena *mine, void *arg, void **ret_state)
{
    (void)mine;
    (void)arg;
    (void)ret_state;
    return kini_add_sc(&words[0], 1) < 3 ? 0 : -ENOTCONN;
}

START_TEST(init_fails_later)
{
    const struct kin_pool_opts *opts = init_opts(init_fails_for_replacements);
    KT_OK(kin_pool_create(arena, opts, &pool));
    check_it_works();
    KT_UNTIL(kini_load(&words[0]) == 3);
    int32_t pids[3];
    kin_pool_worker_pids(pool, pids, 3);
    kill(pids[0], SIGKILL);
    uint64_t items[50] = {0}, out[50];
    int r;
    while ((r = kin_pool_map(pool, square, KIN_ITEMS(items), KIN_ITEMS(out), KIN_NEVER)) == 0)
        ;
    KT_IS(r, -ENOTCONN);
    close_pool();
}
END_TEST

/* --- the end -------------------------------------------------------------------------------- */

START_TEST(close_then_join)
{
    open_pool(2);
    KT_IS(kin_pool_join(pool, KIN_NOW), -EINVAL); /* it is open */
    check_it_works();
    KT_OK(kin_pool_close(pool));
    KT_OK(kin_pool_close(pool));
    uint64_t item = 1, out;
    KT_IS(kin_pool_map(pool, square, &item, 8, 1, &out, 8, 1, KIN_NEVER), -ESHUTDOWN);
    KT_OK(kin_pool_join(pool, KIN_NEVER));
    KT_OK(kin_pool_join(pool, KIN_NEVER));
    KT_IS(kin_pool_map(pool, square, &item, 8, 1, &out, 8, 1, KIN_NEVER), -ESHUTDOWN);
    ck_assert_int_eq(kt_children_count(), 0);
    int32_t pid;
    ck_assert_uint_eq(kin_pool_worker_pids(pool, &pid, 1), 0);
    close_pool();
}
END_TEST

START_TEST(terminate_then_join)
{
    open_pool(2);
    check_it_works();
    KT_OK(kin_pool_terminate(pool));
    uint64_t item = 1, out;
    KT_IS(kin_pool_map(pool, square, &item, 8, 1, &out, 8, 1, KIN_NEVER), -ECANCELED);
    KT_OK(kin_pool_join(pool, KIN_NEVER));
    KT_OK(kin_pool_terminate(pool));
    ck_assert_int_eq(kt_children_count(), 0);
    close_pool();
}
END_TEST

static int hang(struct kin_task *task)
{
    (void)task;
    kini_add_sc(&words[0], 1);
    while (kini_load(&words[1]) == 0)
        usleep(500);
    return 0;
}

static void *map_that_hangs(void *unused)
{
    (void)unused;
    uint64_t items[20] = {0};
    return (void *)(intptr_t)kin_pool_map(pool, hang, KIN_ITEMS(items), KIN_NO_ITEMS, KIN_NEVER);
}

static pthread_t start_hanging_map(void)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, map_that_hangs, NULL), 0);
    KT_UNTIL(kini_load(&words[0]) >= 1);
    return thread;
}

START_TEST(close_finishes_what_was_handed_in)
{
    open_pool(2);
    pthread_t thread = start_hanging_map();
    KT_OK(kin_pool_close(pool));
    uint64_t item = 1, out;
    KT_IS(kin_pool_map(pool, square, &item, 8, 1, &out, 8, 1, KIN_NEVER), -ESHUTDOWN);
    KT_IS(kin_pool_join(pool, kin_after_ms(20)), -ETIMEDOUT);
    kini_store(&words[1], 1);
    KT_OK(kin_pool_join(pool, KIN_NEVER));
    void *result;
    pthread_join(thread, &result);
    ck_assert_int_eq((int)(intptr_t)result, 0);
    ck_assert_uint_eq(kini_load(&words[0]), 20);
    close_pool();
}
END_TEST

START_TEST(terminate_cancels_what_runs)
{
    open_pool(2);
    pthread_t thread = start_hanging_map();
    KT_OK(kin_pool_terminate(pool));
    void *result;
    pthread_join(thread, &result);
    ck_assert_int_eq((int)(intptr_t)result, -ECANCELED);
    KT_OK(kin_pool_join(pool, KIN_NEVER));
    ck_assert_uint_le(kini_load(&words[0]), 20);
    close_pool();
}
END_TEST

START_TEST(destroy_at_any_time)
{
    open_pool(2);
    close_pool(); /* never used */
    open_pool(2);
    uint64_t items[20] = {0};
    KT_IS(kin_pool_map(pool, hang, KIN_ITEMS(items), KIN_NO_ITEMS, kin_after_ms(20)), -ETIMEDOUT);
    close_pool(); /* its workers still run tasks */
    ck_assert_int_eq(kt_children_count(), 0);
    open_pool(2);
    check_it_works();
    KT_OK(kin_pool_close(pool));
    close_pool(); /* closed, not joined */
}
END_TEST

/* --- callers -------------------------------------------------------------------------------- */

static void *map_a_lot(void *number)
{
    uint64_t items[300], out[300];
    for (int i = 0; i < kt_scaled(40); i++) {
        for (uint64_t j = 0; j < 300; j++)
            items[j] = j * 1000 + (uint64_t)(uintptr_t)number;
        memset(out, 0, sizeof out);
        const struct kin_map_opts opts = {.chunk_items = (uint64_t)i % 5 * 10};
        KT_CHECK(kin_pool_map_opts(pool, square, KIN_ITEMS(items), KIN_ITEMS(out), &opts,
                                   KIN_NEVER) == 0);
        KT_CHECK(squared(items, out, 300));
    }
    return NULL;
}

START_TEST(several_threads_call)
{
    open_pool(2);
    pthread_t threads[6];
    for (uintptr_t i = 0; i < 6; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, map_a_lot, (void *)i), 0);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    close_pool();
}
END_TEST

static int use_the_parents_pool(void *unused)
{
    (void)unused;
    uint64_t items[4] = {0}, out[4];
    struct kin_stream *stream = NULL;
    KT_CHECK(kin_pool_map(pool, square, KIN_ITEMS(items), KIN_ITEMS(out), KIN_NEVER) == -ECHILD);
    KT_CHECK(strlen(kin_error_text()) > 0);
    kin_source_fn source = (kin_source_fn)1;
    KT_CHECK(kin_pool_stream(pool, square, source, NULL, NULL, &stream) == -ECHILD);
    KT_CHECK(kin_pool_close(pool) == -ECHILD);
    KT_CHECK(kin_pool_terminate(pool) == -ECHILD);
    KT_CHECK(kin_pool_join(pool, KIN_NOW) == -ECHILD);
    kin_pool_destroy(pool); /* its copy of the handle only */
    return 0;
}

static int own_pool(void *unused)
{
    (void)unused;
    struct kin_pool *mine = NULL;
    const struct kin_pool_opts opts = {.workers_count = 2};
    uint64_t items[50], out[50];
    fill_numbers(items, 50);
    KT_CHECK(kin_pool_create(arena, &opts, &mine) == 0);
    KT_CHECK(kin_pool_map(mine, square, KIN_ITEMS(items), KIN_ITEMS(out), KIN_NEVER) == 0);
    KT_CHECK(squared(items, out, 50));
    kin_pool_destroy(mine);
    return 0;
}

START_TEST(in_a_child)
{
    open_pool(2);
    ck_assert_int_eq(kt_in_child(use_the_parents_pool, NULL), 0);
    ck_assert_int_eq(kt_in_child(own_pool, NULL), 0);
    check_it_works();
    close_pool();
}
END_TEST

static int pool_in_a_task(struct kin_task *task)
{
    struct kin_pool *handle; /* the worker was made before it was assigned to `pool` */
    memcpy(&handle, kin_task_arg(task), sizeof handle);
    uint64_t item = 3, out;
    KT_CHECK(kin_pool_map(handle, square, &item, 8, 1, &out, 8, 1, KIN_NEVER) == -ECHILD);
    return 0;
}

START_TEST(in_a_worker)
{
    open_pool(2);
    KT_IS(kin_pool_map(pool, pool_in_a_task, &pool, sizeof pool, 1, KIN_NO_ITEMS, KIN_NEVER), 0);
    check_it_works();
    close_pool();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("task/pool");
    TCase *t = kt_case(suite, "workers", 60);
    tcase_add_test(t, workers_are_processes);
    tcase_add_test(t, as_many_as_processors);
    tcase_add_test(t, wrong_options);
    tcase_add_test(t, pools_come_and_go);
    tcase_add_test(t, several_pools);
    t = kt_case(suite, "init", 30);
    tcase_add_test(t, init_runs_once_a_worker);
    tcase_add_test(t, init_fails_and_so_does_the_pool);
    tcase_add_test(t, init_fails_later);
    t = kt_case(suite, "end", 30);
    tcase_add_test(t, close_then_join);
    tcase_add_test(t, terminate_then_join);
    tcase_add_test(t, close_finishes_what_was_handed_in);
    tcase_add_test(t, terminate_cancels_what_runs);
    tcase_add_test(t, destroy_at_any_time);
    t = kt_case(suite, "callers", 60);
    tcase_add_test(t, several_threads_call);
    tcase_add_test(t, in_a_child);
    tcase_add_test(t, in_a_worker);
    return kt_run(suite);
}
