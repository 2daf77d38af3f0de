/* SPDX-License-Identifier: MIT
 * Barriers in other processes, and kin where a sandbox refuses them: to the process that made the
 * arena, to programs that join it, or to all. Each test is run with each of these. */
#include "arena/arena.h"
#include "lib/kin_test.h"
#include "lib/refuse.h"
#include "lib/stranger.h"

#define ROUNDS 2000

struct board {
    kini_a32 arrived, told; /* told: what a waiter was told, + 1 */
    kini_a64 put;           /* what was put for certain */
    uint64_t count;         /* what only the lock protects */
};

static struct board *board;
static struct kin_arena *arena;
static const struct kin_arena_opts small = {.size = sizeof small, .reserve_bytes = 256 * MIB};

/* --- the cast ------------------------------------------------------------------------------- */

enum refused { HERE = 1, TO_STRANGERS = 2, WAYS = 4 }; /* 0 to 3: the sum */

static void begin(int way)
{
    board = kt_board(sizeof *board);
    if (way & HERE)
        ck_assert(kt_refuse_fences(ENOSYS));
    KT_OK(kin_arena_open(kt_name("fence"), &small, &arena));
}

static void finish(int way)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_eq(kini_load(&arena->super->no_fence), way != 0);
    kin_arena_detach(arena);
    kt_board_close(board, sizeof *board);
}

static pid_t start(const char *role, bool refused)
{
    char arg[40];
    snprintf(arg, sizeof arg, "%d%s", refused, kt_name("fence"));
    return kt_stranger(role, arg);
}

/* What start() started. */
static void join(void *the_board, const char *arg)
{
    board = the_board;
    KT_CHECK(arg[0] == '0' || kt_refuse_fences(EPERM));
    KT_CHECK(kin_arena_find(arg + 1, &small, &arena) == 0);
}

/* --- by itself ------------------------------------------------------------------------------ */

static int refuses(void *error)
{
    return !kt_refuse_fences(*(int *)error) || kini_os_fence_register() != -*(int *)error ||
           kini_os_fence() != -*(int *)error;
}

START_TEST(says_so)
{
    static int errors[] = {ENOSYS, EPERM};
    KT_IS(kini_os_fence_register(), 0);
    KT_IS(kini_os_fence(), 0);
    for (int i = 0; i < 2; i++)
        KT_IS(kt_in_child(refuses, &errors[i]), 0);
}
END_TEST

/* --- a lock --------------------------------------------------------------------------------- */

static int counts(void *the_board, const char *arg)
{
    struct kin_lock *lock;
    join(the_board, arg);
    KT_CHECK(kin_lock_find(arena, "lock", &lock) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        KT_CHECK(kin_lock_acquire(lock, KIN_NEVER) == 0);
        uint64_t count = board->count;
        if (i % 64 == 0)
            usleep(50); /* the others come to sleep */
        board->count = count + 1;
        KT_CHECK(kin_lock_release(lock) == 0);
    }
    kin_lock_destroy(lock);
    return 0;
}

START_TEST(a_lock)
{
    begin(_i);
    struct kin_lock *lock;
    pid_t pids[3];
    KT_OK(kin_lock_open(arena, "lock", NULL, &lock));
    for (int i = 0; i < 3; i++) /* one of them as this one */
        pids[i] = start("counts", _i & (i == 0 ? HERE : TO_STRANGERS));
    for (int i = 0; i < 3; i++)
        KT_IS(kt_wait(pids[i]), 0);
    ck_assert_uint_eq(board->count, 3 * ROUNDS);
    kin_lock_destroy(lock);
    finish(_i);
}
END_TEST

static int holds(void *the_board, const char *arg)
{
    struct kin_lock *lock;
    join(the_board, arg);
    KT_CHECK(kin_lock_find(arena, "lock", &lock) == 0);
    KT_CHECK(kin_lock_acquire(lock, KIN_NEVER) == 0);
    kini_store_sc(&board->arrived, 1);
    return kt_sleep_for_ever(NULL);
}

static int waits(void *the_board, const char *arg)
{
    struct kin_lock *lock;
    join(the_board, arg);
    KT_CHECK(kin_lock_find(arena, "lock", &lock) == 0);
    kini_store_sc(&board->arrived, 2);
    kini_store_sc(&board->told, (uint32_t)kin_lock_acquire(lock, KIN_NEVER) + 1);
    KT_CHECK(kin_lock_release(lock) == 0);
    kin_lock_destroy(lock);
    return 0;
}

START_TEST(a_holder_dies)
{
    begin(_i);
    struct kin_lock *lock;
    KT_OK(kin_lock_open(arena, "lock", NULL, &lock));
    for (uint64_t i = 1; i <= 5; i++) {
        kini_store_sc(&board->told, 0);
        pid_t holder = start("holds", _i & TO_STRANGERS);
        KT_UNTIL(kini_load_sc(&board->arrived) == 1);
        pid_t waiter = start("waits", _i & (i % 2 ? HERE : TO_STRANGERS));
        KT_UNTIL(kini_load_sc(&board->arrived) == 2);
        usleep(2000 * (useconds_t)i); /* it spins, or sleeps */
        KT_IS(kin_lock_try_acquire(lock), -EAGAIN);
        ck_assert_uint_eq(kini_load_sc(&board->told), 0);
        kt_kill(holder);
        KT_IS(kt_wait(waiter), 0);
        ck_assert_uint_eq(kini_load_sc(&board->told), KIN_ABANDONED + 1);
        KT_IS(kin_lock_abandoned(lock), (int64_t)i);
        KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        KT_IS(kin_lock_release(lock), 0);
    }
    kin_lock_destroy(lock);
    finish(_i);
}
END_TEST

/* --- a queue -------------------------------------------------------------------------------- */

static int puts_for_ever(void *the_board, const char *arg)
{
    struct kin_queue *queue;
    join(the_board, arg);
    KT_CHECK(kin_queue_find(arena, "queue", &queue) == 0);
    for (uint64_t i = 0;; i++) {
        KT_CHECK(kin_queue_put(queue, &i, sizeof i, KIN_NEVER) == 0);
        kini_store_sc(&board->put, i + 1);
    }
}

/* What was put comes, once and in order; the last one may have been on its way. */
START_TEST(who_puts_is_killed)
{
    begin(_i);
    struct kt_random random = kt_random_of("fences", (uint64_t)_i);
    const struct kin_queue_opts opts = {.size = sizeof opts, .max_items = 50};
    struct kin_queue *queue;
    KT_OK(kin_queue_open(arena, "queue", &opts, &queue));
    for (int i = 0; i < 10; i++) {
        uint64_t got, next = 0, some = 1 + kt_random_below(&random, 3000);
        kini_store_sc(&board->put, 0);
        pid_t pid = start("puts", _i & TO_STRANGERS);
        for (; next < some; next++) {
            KT_IS(kin_queue_get(queue, &got, sizeof got, KIN_NEVER), sizeof got);
            ck_assert_uint_eq(got, next);
        }
        kt_kill(pid);
        KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
        for (; kin_queue_try_get(queue, &got, sizeof got) == sizeof got; next++)
            ck_assert_uint_eq(got, next);
        ck_assert_uint_ge(next, kini_load_sc(&board->put));
        ck_assert_uint_le(next, kini_load_sc(&board->put) + 1);
    }
    kin_queue_destroy(queue);
    finish(_i);
}
END_TEST

/* --- a pipe --------------------------------------------------------------------------------- */

/* Numbers, below the name of the sender: the first goes on until the second has sent all. */
static int sends(void *the_board, const char *arg)
{
    struct kin_pipe *end;
    join(the_board, arg);
    KT_CHECK(kin_pipe_find(arena, "pipe", KIN_PIPE_B, &end) == 0);
    uint64_t who = kini_add_sc(&board->arrived, 1), i = 0;
    for (; who == 0 ? kini_load_sc(&board->arrived) < 3 : i < ROUNDS; i++) {
        uint64_t word = who << 32 | i;
        KT_CHECK(kin_pipe_send(end, &word, sizeof word, KIN_NEVER) == 0);
    }
    if (who == 0)
        kini_store_sc(&board->put, i);
    kini_add_sc(&board->arrived, 1);
    kin_pipe_close(end);
    return 0;
}

static bool receive(struct kin_pipe *end, uint64_t *next)
{
    uint64_t word;
    int64_t r = kin_pipe_recv(end, &word, sizeof word, KIN_NEVER);
    if (r == -ESHUTDOWN)
        return false;
    KT_IS(r, sizeof word);
    ck_assert_uint_le(word >> 32, 1);
    ck_assert_uint_eq((uint32_t)word, next[word >> 32]);
    next[word >> 32]++;
    return true;
}

/* The first sender has its side of the pipe for itself, if it may fence; then another one comes. */
START_TEST(a_second_sender)
{
    begin(_i);
    const struct kin_pipe_opts opts = {.size = sizeof opts, .capacity_bytes = 4096};
    for (int i = 0; i < 10; i++) {
        struct kin_pipe *end;
        uint64_t next[2] = {0, 0};
        pid_t pids[2];
        kini_store_sc(&board->arrived, 0);
        KT_OK(kin_pipe_open(arena, "pipe", KIN_PIPE_A, &opts, &end));
        pids[0] = start("sends", _i & HERE);
        while (next[0] < 100)
            receive(end, next);
        pids[1] = start("sends", _i & TO_STRANGERS);
        while (receive(end, next))
            ;
        for (int j = 0; j < 2; j++)
            KT_IS(kt_wait(pids[j]), 0);
        ck_assert_uint_eq(next[0], kini_load_sc(&board->put));
        ck_assert_uint_eq(next[1], ROUNDS);
        kin_pipe_close(end);
        KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).objects_count == 0);
    }
    finish(_i);
}
END_TEST

int main(int argc, char **argv)
{
    static const struct kt_role roles[] = {{"counts", counts}, {"holds", holds},
                                           {"waits", waits},   {"puts", puts_for_ever},
                                           {"sends", sends},   {0}};
    kt_stranger_main(argc, argv, roles, sizeof *board);
    if (!kt_can_refuse_fences())
        return 77;
    Suite *suite = suite_create("os/fence");
    TCase *t = kt_case(suite, "all", 60);
    tcase_add_test(t, says_so);
    tcase_add_loop_test(t, a_lock, 0, WAYS);
    tcase_add_loop_test(t, a_holder_dies, 0, WAYS);
    tcase_add_loop_test(t, who_puts_is_killed, 0, WAYS);
    tcase_add_loop_test(t, a_second_sender, 0, WAYS);
    return kt_run(suite);
}
