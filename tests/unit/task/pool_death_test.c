/* SPDX-License-Identifier: MIT
 * Workers that die in the middle of a task, between tasks, again and again; a pool whose owner
 * dies. Only the task that a dead worker ran fails. */
#include "unit/task/pool_fixture.h"

#include <sys/wait.h>

/* --- in the middle of a task ------------------------------------------------------------------ */

enum how { BY_KILL, BY_SEGV, BY_ABORT, BY_EXIT_3, BY_EXIT_0, HOWS };

static _Noreturn void die(enum how how)
{
    static const int signals[] = {SIGKILL, SIGSEGV, SIGABRT};
    if (how == BY_EXIT_3)
        _exit(3);
    if (how == BY_EXIT_0)
        _exit(0);
    signal(signals[how], SIG_DFL); /* a sanitizer has handlers of its own */
    raise(signals[how]);
    for (;;)
        pause();
}

static int die_at_some(struct kin_task *task)
{
    uint64_t n = *(const uint64_t *)kin_task_arg(task);
    const uint64_t *at = kin_task_shared(task);
    kini_add_sc(&words[100 + n], 1);
    kini_store(&words[10], (uint64_t)getpid());
    if (n == at[0] || n == at[1]) {
        kini_store(&words[11], (uint64_t)getpid());
        die((enum how)at[2]);
    }
    n *= n;
    return kin_task_return(task, &n, sizeof n);
}

static void check_deaths(uint64_t chunk, enum how how, uint64_t first, uint64_t second)
{
    enum { COUNT = 60 };
    uint64_t items[COUNT], out[COUNT], *at = (uint64_t *)(uintptr_t)&words[20];
    int32_t statuses[COUNT];
    struct kin_result failure = {.index = 999};
    for (uint64_t i = 0; i < COUNT; i++) {
        items[i] = i;
        kini_store(&words[100 + i], 0);
    }
    memset(out, 0, sizeof out);
    at[0] = first;
    at[1] = second;
    at[2] = how;
    const struct kin_map_opts opts = {.size = sizeof opts,
                                      .chunk_items = chunk,
                                      .arg = at,
                                      .statuses = statuses,
                                      .failure = &failure};
    KT_IS(kin_pool_map_opts(pool, die_at_some, KIN_ITEMS(items), KIN_ITEMS(out), &opts, KIN_NEVER),
          -EOWNERDEAD);
    for (uint64_t i = 0; i < COUNT; i++) {
        bool dead = i == first || i == second;
        ck_assert_int_eq(statuses[i], dead ? -EOWNERDEAD : 0);
        ck_assert(dead || out[i] == i * i);
        ck_assert_uint_eq(kini_load(&words[100 + i]), 1); /* each was begun exactly once */
    }
    ck_assert_uint_eq(failure.index, first < second ? first : second);
    ck_assert_int_eq(failure.status, -EOWNERDEAD);
    static const int signals[] = {SIGKILL, SIGSEGV, SIGABRT, 0, 0};
    ck_assert_int_eq(failure.signal, signals[how]);
    ck_assert_int_eq(failure.exitcode, how == BY_EXIT_3 ? 3 : 0);
    ck_assert_uint_eq(failure.tries_count, 1);
    ck_assert_uint_gt(strlen(failure.message), 0);
    if (second > 1000)
        ck_assert_int_eq(failure.worker_pid, (int)kini_load(&words[11]));
}

START_TEST(only_its_task_fails)
{
    static const uint64_t chunks[] = {1, 7, 60};
    open_pool(2);
    for (size_t c = 0; c < 3; c++) {
        check_deaths(chunks[c], (enum how)_i, 30, UINT64_MAX);
        check_deaths(chunks[c], (enum how)_i, c == 1 ? 21 : 0, c == 1 ? 20 : 59);
    }
    check_it_works();
    ck_assert_uint_eq(kin_pool_workers_count(pool), 2);
    close_pool();
}
END_TEST

static int die_always(struct kin_task *task)
{
    (void)task;
    kini_add_sc(&words[0], 1);
    die(BY_KILL);
}

START_TEST(every_task_kills)
{
    open_pool(3);
    uint64_t items[12] = {0};
    int32_t statuses[12];
    for (uint64_t chunk = 1; chunk <= 12; chunk += 11) {
        kini_store(&words[0], 0);
        const struct kin_map_opts opts = {.chunk_items = chunk, .statuses = statuses};
        KT_IS(kin_pool_map_opts(pool, die_always, KIN_ITEMS(items), KIN_NO_ITEMS, &opts, KIN_NEVER),
              -EOWNERDEAD);
        for (int i = 0; i < 12; i++)
            ck_assert_int_eq(statuses[i], -EOWNERDEAD);
        ck_assert_uint_eq(kini_load(&words[0]), 12);
    }
    check_it_works();
    close_pool();
}
END_TEST

/* --- trying again ----------------------------------------------------------------------------- */

/* Item n succeeds at try number words[100 + n] (0: the first). */
static int succeed_at_last(struct kin_task *task)
{
    uint64_t n = kin_task_index(task), tries = kin_task_tries_count(task);
    KT_CHECK(kini_add_sc(&words[1000 + n], 1) == tries); /* it counts every beginning */
    if (tries < kini_load(&words[100 + n]))
        die(n % 2 ? BY_KILL : BY_EXIT_3);
    n = n * 3 + 1;
    return kin_task_return(task, &n, sizeof n);
}

static struct kin_progress last_progress;

static void keep_progress(const struct kin_progress *progress, void *arg)
{
    (void)arg;
    last_progress = *progress;
}

START_TEST(tried_again_up_to_the_limit)
{
    enum { COUNT = 30, LIMIT = 2 };
    static const uint64_t chunks[] = {1, 4, 30};
    open_pool(2);
    for (size_t c = 0; c < 3; c++) {
        uint64_t items[COUNT] = {0}, out[COUNT] = {0}, retried = 0;
        int32_t statuses[COUNT];
        struct kin_result failure;
        for (uint64_t i = 0; i < COUNT; i++) {
            uint64_t deaths = i % 10 == 3 ? 1 : i % 10 == 4 ? 2 : i % 10 == 8 ? 3 : 0;
            kini_store(&words[100 + i], deaths);
            kini_store(&words[1000 + i], 0);
            retried += deaths > LIMIT ? LIMIT : deaths;
        }
        const struct kin_map_opts opts = {.size = sizeof opts,
                                          .chunk_items = chunks[c],
                                          .retries_count = LIMIT,
                                          .statuses = statuses,
                                          .failure = &failure,
                                          .progress = keep_progress};
        KT_IS(kin_pool_map_opts(pool, succeed_at_last, KIN_ITEMS(items), KIN_ITEMS(out), &opts,
                                KIN_NEVER),
              -EOWNERDEAD);
        for (uint64_t i = 0; i < COUNT; i++) {
            bool dead = i % 10 == 8;
            ck_assert_int_eq(statuses[i], dead ? -EOWNERDEAD : 0);
            ck_assert(dead || out[i] == i * 3 + 1);
        }
        ck_assert_uint_eq(failure.index, 8);
        ck_assert_uint_eq(failure.tries_count, LIMIT + 1);
        ck_assert_int_eq(failure.exitcode, 3);
        ck_assert_uint_eq(last_progress.done_count, COUNT);
        ck_assert_uint_eq(last_progress.failed_count, 3);
        ck_assert_uint_eq(last_progress.retried_count, retried);
    }
    close_pool();
}
END_TEST

static int fail_or_die(struct kin_task *task)
{
    kini_add_sc(&words[0], 1);
    return kin_task_fail(task, -EDOM, "no");
}

/* A task that fails by itself is not tried again. */
START_TEST(failing_is_not_dying)
{
    open_pool(2);
    uint64_t items[10] = {0};
    const struct kin_map_opts opts = {.retries_count = 5};
    KT_IS(kin_pool_map_opts(pool, fail_or_die, KIN_ITEMS(items), KIN_NO_ITEMS, &opts, KIN_NEVER),
          -EDOM);
    ck_assert_uint_eq(kini_load(&words[0]), 10);
    close_pool();
}
END_TEST

/* --- between tasks, and at random ---------------------------------------------------------------
 */

START_TEST(idle_workers_are_replaced)
{
    open_pool(3);
    int32_t before[3], after[3];
    for (int round = 0; round < 10; round++) {
        ck_assert_uint_eq(kin_pool_worker_pids(pool, before, 3), 3);
        for (int i = 0; i < 3; i++)
            kill(before[i], round % 2 ? SIGKILL : SIGTERM);
        check_it_works(); /* none of its tasks fails: nobody was running one */
    }
    ck_assert_uint_eq(kin_pool_worker_pids(pool, after, 3), 3);
    close_pool();
}
END_TEST

START_TEST(a_stopped_worker_can_be_killed)
{
    open_pool(1);
    int32_t pid;
    kin_pool_worker_pids(pool, &pid, 1);
    kill(pid, SIGSTOP);
    KT_UNTIL(kt_process_state(pid) == 'T');
    uint64_t item = 3, out = 0;
    KT_IS(kin_pool_map(pool, square, &item, 8, 1, &out, 8, 1, kin_after_ms(30)), -ETIMEDOUT);
    kill(pid, SIGKILL);
    check_it_works();
    close_pool();
}
END_TEST

static _Atomic int stop;
static _Atomic int kills;

static void *kill_workers(void *unused)
{
    (void)unused;
    struct kt_random random = kt_random_of("kill_workers", 0);
    while (!stop) {
        int32_t pids[4];
        usleep((useconds_t)kt_random_below(&random, 3000));
        uint32_t count = kin_pool_worker_pids(pool, pids, 4);
        for (uint32_t i = 0; i < count && i < 4; i++)
            if (pids[i] > 0 && kt_random_below(&random, 2)) {
                kill(pids[i], SIGKILL);
                kills++;
            }
    }
    return NULL;
}

static int slow_square(struct kin_task *task)
{
    usleep(100);
    return square(task);
}

/* All workers are killed all the time; with tries enough, every result is right. */
START_TEST(killed_all_the_time)
{
    open_pool(3);
    pthread_t killer;
    stop = 0;
    kills = 0;
    ck_assert_int_eq(pthread_create(&killer, NULL, kill_workers, NULL), 0);
    for (int round = 0; round < kt_scaled(20) || kills < 10; round++) {
        uint64_t items[200], out[200];
        fill_numbers(items, 200);
        memset(out, 0, sizeof out);
        const struct kin_map_opts opts = {.retries_count = 1000000,
                                          .chunk_items = (uint64_t)round % 4 * 5};
        KT_IS(kin_pool_map_opts(pool, slow_square, KIN_ITEMS(items), KIN_ITEMS(out), &opts,
                                KIN_NEVER),
              0);
        ck_assert(squared(items, out, 200));
    }
    stop = 1;
    pthread_join(killer, NULL);
    check_it_works();
    close_pool();
}
END_TEST

/* Without tries: what is reported as failed is what did not give a result, and nothing else. */
START_TEST(killed_all_the_time_without_tries)
{
    open_pool(3);
    pthread_t killer;
    stop = 0;
    kills = 0;
    ck_assert_int_eq(pthread_create(&killer, NULL, kill_workers, NULL), 0);
    for (int round = 0; round < kt_scaled(20) || kills < 10; round++) {
        uint64_t items[200], out[200];
        int32_t statuses[200];
        fill_numbers(items, 200);
        memset(out, 0, sizeof out);
        const struct kin_map_opts opts = {.statuses = statuses,
                                          .chunk_items = (uint64_t)round % 4 * 5};
        int r = kin_pool_map_opts(pool, slow_square, KIN_ITEMS(items), KIN_ITEMS(out), &opts,
                                  KIN_NEVER);
        ck_assert(r == 0 || r == -EOWNERDEAD);
        int bad = 0, failed = 0;
        for (int i = 0; i < 200; i++) {
            failed += statuses[i] != 0;
            bad += statuses[i] == 0 ? out[i] != items[i] * items[i] : statuses[i] != -EOWNERDEAD;
        }
        ck_assert_int_eq(bad, 0);
        ck_assert((failed > 0) == (r < 0));
    }
    stop = 1;
    pthread_join(killer, NULL);
    check_it_works();
    close_pool();
}
END_TEST

/* --- the owner dies -----------------------------------------------------------------------------
 */

static int hang(struct kin_task *task)
{
    (void)task;
    kini_add_sc(&words[0], 1);
    return kt_sleep_for_ever(NULL);
}

static int own_a_pool(void *unused)
{
    struct kin_pool *mine = NULL;
    const struct kin_pool_opts opts = {.workers_count = 3};
    KT_CHECK(kin_pool_create(arena, &opts, &mine) == 0);
    uint64_t items[100] = {0};
    KT_CHECK(kin_pool_map(mine, hang, KIN_ITEMS(items), KIN_NO_ITEMS, KIN_NEVER) == 0);
    return kt_sleep_for_ever(unused);
}

START_TEST(workers_end_with_their_owner)
{
    words = kt_share(65536);
    arena = kt_arena(0);
    pid_t owner = kt_fork(own_a_pool, NULL);
    KT_UNTIL(kini_load(&words[0]) == 3);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 5);
    kt_kill(owner);
    kt_wait_all(); /* the workers are our orphans: they end without a word from us */
    close_arena();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("task/pool_death");
    TCase *t = kt_case(suite, "task", 60);
    tcase_add_loop_test(t, only_its_task_fails, 0, HOWS);
    tcase_add_test(t, every_task_kills);
    t = kt_case(suite, "again", 60);
    tcase_add_test(t, tried_again_up_to_the_limit);
    tcase_add_test(t, failing_is_not_dying);
    t = kt_case(suite, "random", 60);
    tcase_add_test(t, idle_workers_are_replaced);
    tcase_add_test(t, a_stopped_worker_can_be_killed);
    tcase_add_test(t, killed_all_the_time);
    tcase_add_test(t, killed_all_the_time_without_tries);
    t = kt_case(suite, "owner", 30);
    tcase_add_test(t, workers_end_with_their_owner);
    return kt_run(suite);
}
