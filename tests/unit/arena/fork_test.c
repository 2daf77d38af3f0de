/* SPDX-License-Identifier: MIT
 * Every kind of fork: the child is a participant, or is found not to be one. */
#include "arena/arena.h"
#include "lib/kin_test.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

static struct kin_arena *arena;
static char *mine;      /* a block of the parent */
static kini_a32 *words; /* shared: what the test makes of them */

static void open_arena(void)
{
    words = kt_share(4096);
    arena = kt_arena(0);
    KT_OK(kin_block_alloc(arena, 1000, (void **)&mine));
    strcpy(mine, "parent");
}

static void close_arena(void)
{
    kin_arena_detach(arena);
    kt_unshare((void *)words, 4096);
}

static uint32_t participants(void)
{
    return kt_stat(arena).participants_count;
}

static int join(void *unused)
{
    (void)unused;
    void *block;
    KT_CHECK(strcmp(mine, "parent") == 0);
    KT_CHECK(participants() == 2);
    KT_CHECK(kin_block_free(arena, mine) == -EPERM);
    KT_CHECK(strlen(kin_error_text()) > 0);
    strcpy(mine, "child was here");
    KT_CHECK(kin_block_alloc(arena, 5000, &block) == 0);
    KT_CHECK(kin_block_free(arena, block) == 0);
    KT_CHECK(kin_block_alloc(arena, 100000, &block) == 0); /* goes with us */
    return 0;
}

START_TEST(a_child_joins)
{
    open_arena();
    uint64_t used = kt_stat(arena).used_bytes;
    int fds = kt_fds_count();
    ck_assert_int_eq(kt_in_child(join, NULL), 0);
    ck_assert_str_eq(mine, "child was here");
    KT_IS(kin_arena_reap(arena), 1);
    KT_IS(kin_arena_reap(arena), 0);
    ck_assert_uint_eq(participants(), 1);
    ck_assert_uint_eq(kt_stat(arena).deaths_count, 1);
    ck_assert_uint_eq(kt_stat(arena).threads_count, 1);
    ck_assert_uint_eq(kt_stat(arena).used_bytes, used);
    ck_assert_int_eq(kt_fds_count(), fds);
    KT_OK(kin_block_free(arena, mine));
    close_arena();
}
END_TEST

/* A child that never calls kin is a participant as well. */
START_TEST(a_silent_child_counts)
{
    open_arena();
    pid_t child = kt_fork(kt_sleep_for_ever, NULL);
    ck_assert_uint_eq(participants(), 2);
    KT_IS(kin_arena_reap(arena), 0);
    kt_kill(child);
    KT_IS(kin_arena_reap(arena), 1);
    ck_assert_uint_eq(participants(), 1);
    close_arena();
}
END_TEST

static int grandchild(void *unused)
{
    (void)unused;
    KT_CHECK(participants() == 3);
    KT_CHECK(kin_block_free(arena, mine) == -EPERM);
    return 0;
}

static int child_with_child(void *unused)
{
    (void)unused;
    void *block;
    KT_CHECK(kin_block_alloc(arena, 50, &block) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        KT_CHECK(kin_block_free(arena, block) == -EPERM);
        _exit(grandchild(NULL));
    }
    int status;
    KT_CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    KT_CHECK(kin_block_free(arena, block) == 0);
    return 0;
}

START_TEST(grandchildren)
{
    open_arena();
    ck_assert_int_eq(kt_in_child(child_with_child, NULL), 0);
    KT_IS(kin_arena_reap(arena), 2);
    ck_assert_uint_eq(participants(), 1);
    close_arena();
}
END_TEST

static int raw_child(void *queue)
{
    uint32_t before = participants();
    KT_CHECK(kin_block_free(arena, mine) == -EPERM); /* not the parent */
    KT_CHECK(participants() == before + 1);
    void *block;
    KT_CHECK(kin_block_alloc(arena, 100000, &block) == 0);
    char text[8];
    KT_CHECK(kin_queue_get(queue, text, sizeof text, KIN_NEVER) == 5);
    KT_CHECK(kin_queue_put(queue, "back", 5, KIN_NEVER) == 0);
    KT_CHECK(kini_enter(arena)->slot == arena->slot);
    kini_store(&words[0], 1);
    while (kini_load(&words[1]) == 0)
        usleep(500);
    return 0;
}

START_TEST(a_raw_child_joins_anew)
{
    open_arena();
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    uint64_t used = kt_stat(arena).used_bytes;
    KT_OK(kin_queue_put(queue, "helo", 5, KIN_NOW));
    pid_t child = kt_fork_raw(raw_child, queue);
    KT_UNTIL(kini_load(&words[0]) == 1 || kt_process_state(child) == 'Z');
    ck_assert_uint_eq(participants(), 2);
    KT_IS(kin_arena_reap(arena), 0); /* both of us live */
    ck_assert_uint_eq(participants(), 2);
    ck_assert_str_eq(mine, "parent");
    kini_store(&words[1], 1);
    ck_assert_int_eq(kt_wait(child), 0);
    KT_IS(kin_arena_reap(arena), 1);
    ck_assert_uint_eq(participants(), 1);
    ck_assert_uint_eq(kt_stat(arena).used_bytes, used);
    char text[8] = "";
    KT_IS(kin_queue_try_get(queue, text, sizeof text), 5);
    ck_assert_str_eq(text, "back");
    KT_OK(kin_block_free(arena, mine));
    kin_queue_destroy(queue);
    close_arena();
}
END_TEST

static int raw_grandparent(void *unused)
{
    kini_store(&words[1], (uint32_t)kt_fork_raw(kt_sleep_for_ever, NULL));
    kini_store(&words[0], 1);
    return kt_sleep_for_ever(unused);
}

/* A raw child that never calls kin has a copy of its parent's token: the parent's death is seen all
 * the same. */
START_TEST(a_silent_raw_child_hides_no_death)
{
    open_arena();
    pid_t child = kt_fork(raw_grandparent, NULL);
    KT_UNTIL(kini_load(&words[0]) == 1);
    ck_assert_uint_eq(participants(), 2);
    kt_kill(child);
    KT_IS(kin_arena_reap(arena), 1);
    ck_assert_uint_eq(participants(), 1);
    kt_kill((pid_t)kini_load(&words[1]));
    close_arena();
}
END_TEST

static int raw_child_of_dead(void *unused)
{
    (void)unused;
    while (kini_load(&words[2]) == 0)
        usleep(500);
    void *block;
    KT_CHECK(kin_block_alloc(arena, 100, &block) == 0);
    KT_CHECK(participants() == 2);
    KT_CHECK(kin_block_free(arena, block) == 0);
    kin_arena_detach(arena);
    return 0;
}

static int parent_of_late(void *unused)
{
    kini_store(&words[1], (uint32_t)kt_fork_raw(raw_child_of_dead, NULL));
    kini_store(&words[0], 1);
    return kt_sleep_for_ever(unused);
}

START_TEST(a_raw_child_joins_after_its_parent_was_reaped)
{
    open_arena();
    pid_t child = kt_fork(parent_of_late, NULL);
    KT_UNTIL(kini_load(&words[0]) == 1);
    kt_kill(child);
    KT_IS(kin_arena_reap(arena), 1);
    kini_store(&words[2], 1);
    ck_assert_int_eq(kt_wait((pid_t)kini_load(&words[1])), 0);
    ck_assert_uint_eq(participants(), 1);
    close_arena();
}
END_TEST

static int raw_child_of_the_gone(void *queue)
{
    while (kini_load(&words[0]) == 0)
        usleep(500);
    char text[8];
    KT_CHECK(kin_queue_try_get(queue, text, sizeof text) == -ESTALE);
    KT_CHECK(kin_queue_put(queue, "x", 1, KIN_NOW) == -ESTALE);
    KT_CHECK(kin_queue_size(queue) == -ESTALE);
    kin_arena_detach(arena);
    return 0;
}

/* Until its first call a raw child holds nothing: what is gone by then is gone for it, too. */
START_TEST(a_raw_child_of_a_queue_that_is_gone)
{
    open_arena();
    struct kin_queue *queue = kt_queue(arena, 0, 0), *next;
    KT_OK(kin_queue_put(queue, "helo", 5, KIN_NOW));
    pid_t child = kt_fork_raw(raw_child_of_the_gone, queue);
    kin_queue_destroy(queue);
    next = kt_queue(arena, 0, 0); /* with the same number, most likely */
    kini_store(&words[0], 1);
    ck_assert_int_eq(kt_wait(child), 0);
    KT_OK(kin_queue_put(next, "helo", 5, KIN_NOW));
    KT_IS(kin_queue_size(next), 1);
    kin_queue_destroy(next);
    close_arena();
}
END_TEST

START_TEST(exec_ends_membership)
{
    open_arena();
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        void *block;
        KT_CHECK(kin_block_alloc(arena, 100000, &block) == 0);
        dup2(ends[0], 0);
        close(ends[1]);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    while (kin_arena_reap(arena) == 0) /* the process goes on, as another program */
        usleep(1000);
    ck_assert_uint_eq(participants(), 1);
    ck_assert_int_ne(kt_process_state(child), 'Z');
    close(ends[1]);
    ck_assert_int_eq(kt_wait(child), 0);
    close_arena();
}
END_TEST

START_TEST(spawn_and_system_do_nothing)
{
    open_arena();
    char *args[] = {"true", NULL};
    pid_t child;
    ck_assert_int_eq(posix_spawnp(&child, "true", NULL, NULL, args, NULL), 0);
    ck_assert_int_eq(kt_wait(child), 0);
    ck_assert_int_eq(system("true"), 0);
    KT_IS(kin_arena_reap(arena), 0);
    ck_assert_uint_eq(participants(), 1);
    ck_assert_uint_eq(kt_stat(arena).deaths_count, 0);
    close_arena();
}
END_TEST

static int use_a_little(void *unused)
{
    (void)unused;
    void *block;
    KT_CHECK(kin_block_alloc(arena, 3000, &block) == 0);
    memset(block, 1, 3000);
    return 0;
}

START_TEST(two_hundred_in_sequence)
{
    open_arena();
    uint64_t committed = 0, used = kt_stat(arena).used_bytes;
    int fds = kt_fds_count();
    for (int i = 0; i < kt_scaled(200); i++) {
        ck_assert_int_eq(kt_in_child(use_a_little, NULL), 0);
        KT_IS(kin_arena_reap(arena), 1);
        if (i == 0)
            committed = kt_stat(arena).committed_bytes;
    }
    ck_assert_uint_eq(participants(), 1);
    ck_assert_uint_eq(kt_stat(arena).used_bytes, used);
    ck_assert_uint_le(kt_stat(arena).committed_bytes, committed + 65536);
    ck_assert_int_eq(kt_fds_count(), fds);
    ck_assert_uint_le(kini_load(&arena->super->participants_high), 4);
    ck_assert_uint_le(kini_load(&arena->super->threads_high), 5);
    close_arena();
}
END_TEST

static _Atomic int stop;

static void *work(void *queue)
{
    char text[200] = {0};
    while (!stop) {
        void *block;
        KT_CHECK(kin_block_alloc(arena, 600, &block) == 0);
        KT_CHECK(kin_queue_put(queue, text, sizeof text, KIN_NEVER) == 0);
        KT_CHECK(kin_queue_get(queue, text, sizeof text, KIN_NEVER) == sizeof text);
        KT_CHECK(kin_block_free(arena, block) == 0);
        struct kin_queue *other = NULL;
        KT_CHECK(kin_queue_create(arena, NULL, &other) == 0);
        kin_queue_destroy(other);
    }
    return NULL;
}

static int work_once(void *queue)
{
    char text[200] = {0};
    void *block;
    KT_CHECK(kin_block_alloc(arena, 600, &block) == 0);
    KT_CHECK(kin_queue_put(queue, text, sizeof text, KIN_NEVER) == 0);
    KT_CHECK(kin_queue_get(queue, text, sizeof text, KIN_NEVER) == sizeof text);
    KT_CHECK(kin_block_free(arena, block) == 0);
    kin_arena_detach(arena);
    return 0;
}

/* Other threads are in the middle of everything when the process forks. */
START_TEST(fork_while_threads_work)
{
    open_arena();
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    pthread_t threads[2];
    stop = 0;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, queue), 0);
    for (int i = 0; i < kt_scaled(60); i++)
        ck_assert_int_eq(kt_in_child(work_once, queue), 0);
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(participants(), 1);
    ck_assert_uint_eq(kt_stat(arena).deaths_count, 0);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 1);
    KT_IS(kin_queue_size(queue), 0);
    kin_queue_destroy(queue);
    close_arena();
}
END_TEST

static void *fork_here(void *queue)
{
    pid_t child = fork();
    if (child == 0)
        _exit(work_once(queue));
    int status;
    KT_CHECK(waitpid(child, &status, 0) == child && status == 0);
    return NULL;
}

START_TEST(fork_in_another_thread)
{
    open_arena();
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    for (int i = 0; i < 10; i++) {
        pthread_t threads[3];
        for (int j = 0; j < 3; j++)
            ck_assert_int_eq(pthread_create(&threads[j], NULL, fork_here, queue), 0);
        for (int j = 0; j < 3; j++)
            pthread_join(threads[j], NULL);
    }
    ck_assert_uint_eq(participants(), 1);
    kin_queue_destroy(queue);
    close_arena();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena/fork");
    TCase *t = kt_case(suite, "fork", 60);
    tcase_add_test(t, a_child_joins);
    tcase_add_test(t, a_silent_child_counts);
    tcase_add_test(t, grandchildren);
    tcase_add_test(t, two_hundred_in_sequence);
    tcase_add_test(t, fork_while_threads_work);
    tcase_add_test(t, fork_in_another_thread);
    t = kt_case(suite, "raw", 60);
    tcase_add_test(t, a_raw_child_joins_anew);
    tcase_add_test(t, a_silent_raw_child_hides_no_death);
    tcase_add_test(t, a_raw_child_joins_after_its_parent_was_reaped);
    tcase_add_test(t, a_raw_child_of_a_queue_that_is_gone);
    t = kt_case(suite, "exec", 60);
    tcase_add_test(t, exec_ends_membership);
    tcase_add_test(t, spawn_and_system_do_nothing);
    return kt_run(suite);
}
