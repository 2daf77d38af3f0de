/* SPDX-License-Identifier: MIT
 * What becomes of children: daemons, zombies, other people's children, buffered output. */
#include "arena/arena.h"
#include "lib/kin_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static struct kin_arena *arena;
static kini_a32 *words; /* 0: how many sleep; 1, 2, …: their pids */

static void begin(void)
{
    words = kt_share(4096);
    arena = kt_arena(0);
}

static void finish(void)
{
    kin_arena_detach(arena);
    kt_unshare((void *)words, 4096);
}

static int sleeper(struct kin_arena *unused, void *arg)
{
    (void)unused;
    (void)arg;
    kini_store(&words[kini_add_sc(&words[0], 1) + 1], (uint32_t)getpid());
    return kt_sleep_for_ever(NULL);
}

static int nothing(struct kin_arena *unused, void *arg)
{
    (void)unused;
    (void)arg;
    return 0;
}

static const struct kin_process_opts as_daemon = {.size = sizeof as_daemon, .daemon = 1};

/* --- daemons -------------------------------------------------------------------------------- */

static int start_three(struct kin_arena *mine, void *daemons)
{
    for (int i = 0; i < 3; i++) {
        struct kin_process *process = NULL;
        KT_CHECK(kin_process_start(mine, sleeper, NULL, i < (intptr_t)daemons ? &as_daemon : NULL,
                                   &process) == 0);
        while (kini_load_sc(&words[0]) != (uint32_t)i + 1 || kini_load(&words[i + 1]) == 0)
            usleep(200);
    }
    kini_store(&words[10], 1);
    return kt_sleep_for_ever(NULL);
}

START_TEST(daemons_die_with_a_killed_parent)
{
    begin();
    struct kin_process *parent = NULL;
    KT_OK(kin_process_start(arena, start_three, (void *)2, NULL, &parent));
    KT_UNTIL(kini_load(&words[10]) == 1);
    KT_OK(kin_process_kill(parent));
    KT_OK(kin_process_join(parent, KIN_NEVER));
    ck_assert_int_eq(kt_wait((pid_t)kini_load(&words[1])), -SIGKILL);
    ck_assert_int_eq(kt_wait((pid_t)kini_load(&words[2])), -SIGKILL);
    pid_t other = (pid_t)kini_load(&words[3]); /* not a daemon: it goes on */
    usleep(20000);
    ck_assert_int_ne(kt_process_state(other), 'Z');
    kt_kill(other);
    kin_process_close(parent);
    finish();
}
END_TEST

static int start_daemon_and_return(struct kin_arena *mine, void *arg)
{
    (void)arg;
    struct kin_process *process = NULL;
    KT_CHECK(kin_process_start(mine, sleeper, NULL, &as_daemon, &process) == 0);
    while (kini_load_sc(&words[0]) != 1 || kini_load(&words[1]) == 0)
        usleep(200);
    return 0;
}

START_TEST(daemons_die_with_a_parent_that_leaves)
{
    begin();
    struct kin_process *parent = NULL;
    KT_OK(kin_process_start(arena, start_daemon_and_return, NULL, NULL, &parent));
    KT_OK(kin_process_join(parent, KIN_NEVER));
    ck_assert_int_eq(kt_wait((pid_t)kini_load(&words[1])), -SIGKILL);
    kin_process_close(parent);
    finish();
}
END_TEST

static int info_of_daemon(struct kin_arena *mine, void *arg)
{
    (void)arg;
    struct kin_process_info info = {.size = sizeof info};
    KT_CHECK(kin_process_current(mine, &info) == 0 && info.daemon == 1);
    struct kin_process *process = NULL; /* a daemon may have children, too */
    KT_CHECK(kin_process_start(mine, nothing, NULL, NULL, &process) == 0);
    KT_CHECK(kin_process_join(process, KIN_NEVER) == 0);
    kin_process_close(process);
    return 5;
}

START_TEST(a_daemon_is_a_process_like_others)
{
    begin();
    struct kin_process *process = NULL;
    KT_OK(kin_process_start(arena, info_of_daemon, NULL, &as_daemon, &process));
    KT_OK(kin_process_join(process, KIN_NEVER));
    int code = -1;
    KT_OK(kin_process_exitcode(process, &code));
    ck_assert_int_eq(code, 5);
    kin_process_close(process);
    finish();
}
END_TEST

static int middle(struct kin_arena *mine, void *arg)
{
    /* a daemon of a daemon: both go when the first parent is killed */
    struct kin_process *process = NULL;
    KT_CHECK(kin_process_start(mine, arg ? middle : sleeper, NULL, &as_daemon, &process) == 0);
    kini_add_sc(&words[20], 1);
    return kt_sleep_for_ever(NULL);
}

START_TEST(daemons_of_daemons)
{
    begin();
    struct kin_process *parent = NULL;
    KT_OK(kin_process_start(arena, middle, (void *)1, NULL, &parent));
    KT_UNTIL(kini_load(&words[20]) == 2 && kini_load(&words[1]) != 0);
    KT_OK(kin_process_kill(parent));
    KT_OK(kin_process_join(parent, KIN_NEVER));
    kt_wait_all();
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    kin_process_close(parent);
    finish();
}
END_TEST

static struct kin_process *started;

static void *start_in_a_thread(void *unused)
{
    (void)unused;
    KT_CHECK(kin_process_start(arena, sleeper, NULL, &as_daemon, &started) == 0);
    return NULL;
}

/* The signal of a dead parent must not come when only the starting thread ends. */
START_TEST(a_daemon_survives_the_thread_that_started_it)
{
    begin();
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, start_in_a_thread, NULL), 0);
    pthread_join(thread, NULL);
    KT_UNTIL(kini_load(&words[1]) != 0);
    usleep(30000);
    KT_IS(kin_process_is_alive(started), 1);
    KT_OK(kin_process_kill(started));
    KT_OK(kin_process_join(started, KIN_NEVER));
    kin_process_close(started);
    finish();
}
END_TEST

/* A later child, or a plain fork, does not keep the line of an earlier daemon open. */
static int start_daemon_then_fork(struct kin_arena *mine, void *arg)
{
    struct kin_process *process = NULL;
    KT_CHECK(kin_process_start(mine, sleeper, NULL, &as_daemon, &process) == 0);
    while (kini_load(&words[1]) == 0)
        usleep(200);
    KT_CHECK(kin_process_start(mine, sleeper, NULL, NULL, &process) == 0);
    while (kini_load(&words[2]) == 0)
        usleep(200);
    pid_t pid = fork();
    if (pid == 0)
        sleeper(mine, arg);
    while (kini_load(&words[3]) == 0)
        usleep(200);
    kini_store(&words[10], 1);
    return kt_sleep_for_ever(NULL);
}

START_TEST(brothers_do_not_keep_a_daemon_alive)
{
    begin();
    struct kin_process *parent = NULL;
    KT_OK(kin_process_start(arena, start_daemon_then_fork, NULL, NULL, &parent));
    KT_UNTIL(kini_load(&words[10]) == 1);
    KT_OK(kin_process_kill(parent));
    KT_OK(kin_process_join(parent, KIN_NEVER));
    ck_assert_int_eq(kt_wait((pid_t)kini_load(&words[1])), -SIGKILL);
    kt_kill((pid_t)kini_load(&words[2]));
    kt_kill((pid_t)kini_load(&words[3]));
    kin_process_close(parent);
    finish();
}
END_TEST

/* --- zombies and other people's children ------------------------------------------------------ */

START_TEST(no_zombies)
{
    begin();
    struct kin_process *process = NULL;
    pid_t pids[10];
    for (int i = 0; i < 10; i++) {
        KT_OK(kin_process_start(arena, nothing, NULL, NULL, &process));
        pids[i] = kin_process_pid(process);
        kin_process_close(process); /* nobody joins */
    }
    /* "collected by the next call that starts or lists children" */
    for (int i = 0; i < 10; i++)
        KT_UNTIL(kt_process_state(pids[i]) == 'Z' || kt_process_state(pids[i]) == '?');
    struct kin_process_info info = {.size = sizeof info};
    KT_IS(kin_process_children(arena, &info, 1), 0);
    ck_assert_int_eq(kt_children_count(), 0);
    finish();
}
END_TEST

START_TEST(close_collects_the_ended)
{
    begin();
    struct kin_process *process = NULL;
    KT_OK(kin_process_start(arena, nothing, NULL, NULL, &process));
    KT_UNTIL(kt_process_state(kin_process_pid(process)) == 'Z');
    kin_process_close(process);
    ck_assert_int_eq(kt_children_count(), 0);
    kin_process_close(NULL);
    finish();
}
END_TEST

START_TEST(others_children_are_not_collected)
{
    begin();
    pid_t mine = kt_fork(kt_sleep_for_ever, NULL);
    kill(mine, SIGKILL);
    KT_UNTIL(kt_process_state(mine) == 'Z');
    for (int i = 0; i < 5; i++) {
        struct kin_process *process = NULL;
        KT_OK(kin_process_start(arena, nothing, NULL, NULL, &process));
        KT_OK(kin_process_join(process, KIN_NEVER));
        kin_process_close(process);
    }
    struct kin_process_info info = {.size = sizeof info};
    KT_IS(kin_process_children(arena, &info, 1), 0);
    KT_OK(kin_arena_reap(arena));
    ck_assert_int_eq(kt_process_state(mine), 'Z'); /* still to be collected by us */
    ck_assert_int_eq(kt_wait(mine), -SIGKILL);
    finish();
}
END_TEST

START_TEST(somebody_else_collects_ours)
{
    begin();
    struct kin_process *process = NULL;
    KT_OK(kin_process_start(arena, nothing, NULL, NULL, &process));
    kt_wait(kin_process_pid(process)); /* a library that waits for everybody */
    KT_OK(kin_process_join(process, KIN_NEVER));
    KT_IS(kin_process_is_alive(process), 0);
    int code = 77;
    KT_IS(kin_process_exitcode(process, &code), -ECHILD);
    ck_assert_int_eq(code, 77);
    KT_OK(kin_process_kill(process));
    kin_process_close(process);
    finish();
}
END_TEST

START_TEST(sigchld_ignored)
{
    begin();
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 20; i++) {
        struct kin_process *process = NULL;
        KT_OK(kin_process_start(arena, nothing, NULL, NULL, &process));
        KT_OK(kin_process_join(process, KIN_NEVER));
        int code;
        KT_IS(kin_process_exitcode(process, &code), -ECHILD);
        kin_process_close(process);
    }
    signal(SIGCHLD, SIG_DFL);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    finish();
}
END_TEST

START_TEST(two_hundred_in_sequence)
{
    begin();
    int fds = kt_fds_count();
    for (int i = 0; i < kt_scaled(200); i++) {
        struct kin_process *process = NULL;
        KT_OK(kin_process_start(arena, nothing, NULL, i % 2 ? &as_daemon : NULL, &process));
        KT_OK(kin_process_join(process, KIN_NEVER));
        kin_process_close(process);
        ck_assert_int_le(kt_fds_count(), fds + 2); /* the life line stays */
    }
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    ck_assert_uint_le(kini_load(&arena->super->participants_high), 5);
    ck_assert_uint_eq(kt_stat(arena).deaths_count, 0); /* they left in order */
    finish();
}
END_TEST

static int sum(struct kin_arena *mine, void *queue)
{
    uint64_t number = 1;
    (void)mine;
    return kin_queue_put(queue, &number, sizeof number, KIN_NEVER) == 0 ? 0 : 1;
}

START_TEST(fifty_at_once)
{
    begin();
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    struct kin_process *processes[50];
    for (int i = 0; i < 50; i++)
        KT_OK(kin_process_start(arena, sum, queue, NULL, &processes[i]));
    for (int i = 0; i < 50; i++) {
        KT_OK(kin_process_join(processes[i], KIN_NEVER));
        kin_process_close(processes[i]);
    }
    KT_IS(kin_queue_size(queue), 50);
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    finish();
}
END_TEST

/* --- output --------------------------------------------------------------------------------- */

static int print_too(struct kin_arena *mine, void *arg)
{
    (void)mine;
    (void)arg;
    printf("child\n");
    return 0;
}

static void at_exit(void)
{
    if (write(STDOUT_FILENO, "atexit\n", 7) < 0)
        abort();
}

START_TEST(buffered_output_is_written_once)
{
    begin();
    char path[] = "/tmp/kin-output-XXXXXX";
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    unlink(path);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(file, STDOUT_FILENO);
        setvbuf(stdout, NULL, _IOFBF, 65536);
        atexit(at_exit);
        printf("parent\n"); /* in the buffer when the child is made */
        struct kin_process *process = NULL;
        KT_CHECK(kin_process_start(arena, print_too, NULL, NULL, &process) == 0);
        KT_CHECK(kin_process_join(process, KIN_NEVER) == 0);
        kin_process_close(process);
        fflush(stdout);
        _exit(0);
    }
    ck_assert_int_eq(kt_wait(pid), 0);
    char text[200] = "";
    ck_assert_int_gt(pread(file, text, sizeof text - 1, 0), 0);
    ck_assert_str_eq(text, "parent\nchild\n"); /* and no handler of atexit ran in the child */
    close(file);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/family");
    TCase *t = kt_case(suite, "daemons", 30);
    tcase_add_test(t, daemons_die_with_a_killed_parent);
    tcase_add_test(t, daemons_die_with_a_parent_that_leaves);
    tcase_add_test(t, a_daemon_is_a_process_like_others);
    tcase_add_test(t, daemons_of_daemons);
    tcase_add_test(t, a_daemon_survives_the_thread_that_started_it);
    tcase_add_test(t, brothers_do_not_keep_a_daemon_alive);
    t = kt_case(suite, "collecting", 60);
    tcase_add_test(t, no_zombies);
    tcase_add_test(t, close_collects_the_ended);
    tcase_add_test(t, others_children_are_not_collected);
    tcase_add_test(t, somebody_else_collects_ours);
    tcase_add_test(t, sigchld_ignored);
    tcase_add_test(t, two_hundred_in_sequence);
    tcase_add_test(t, fifty_at_once);
    t = kt_case(suite, "output", 30);
    tcase_add_test(t, buffered_output_is_written_once);
    return kt_run(suite);
}
