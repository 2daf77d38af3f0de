/* SPDX-License-Identifier: MIT
 * Processes: start, join, exit codes, signals, names, family; nothing left behind. */
#include "arena/arena.h"
#include "lib/kin_test.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

static struct kin_arena *arena;
static kini_a32 *words;

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

static struct kin_process *start(kin_process_fn fn, void *arg)
{
    struct kin_process *process = NULL;
    KT_OK(kin_process_start(arena, fn, arg, NULL, &process));
    ck_assert_ptr_nonnull(process);
    return process;
}

static int exitcode(struct kin_process *process)
{
    int code = -1000;
    KT_OK(kin_process_join(process, KIN_NEVER));
    KT_OK(kin_process_exitcode(process, &code));
    return code;
}

static int sleep_for_ever(struct kin_arena *unused, void *arg)
{
    (void)unused;
    (void)arg;
    kini_add_sc(&words[0], 1);
    return kt_sleep_for_ever(NULL);
}

static int return_arg(struct kin_arena *mine, void *arg)
{
    KT_CHECK(mine == arena);
    return (int)(intptr_t)arg;
}

/* --- exit codes ----------------------------------------------------------------------------- */

START_TEST(results_become_exit_codes)
{
    begin();
    static const int results[] = {0, 1, 7, 254, 255, 256, 1000, -1, -22};
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        struct kin_process *process = start(return_arg, (void *)(intptr_t)results[i]);
        bool fits = results[i] >= 0 && results[i] <= 255;
        ck_assert_int_eq(exitcode(process), fits ? results[i] : 1);
        KT_OK(kin_process_join(process, KIN_NOW)); /* again */
        KT_IS(kin_process_is_alive(process), 0);
        kin_process_close(process);
    }
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    finish();
}
END_TEST

static int leave_early(struct kin_arena *mine, void *arg)
{
    (void)mine;
    _exit((int)(intptr_t)arg);
}

static int crash(struct kin_arena *mine, void *arg)
{
    (void)mine;
    signal((int)(intptr_t)arg, SIG_DFL);
    raise((int)(intptr_t)arg);
    return 0;
}

START_TEST(signals_are_negative)
{
    begin();
    struct kin_process *process = start(leave_early, (void *)3);
    ck_assert_int_eq(exitcode(process), 3);
    kin_process_close(process);
    static const int signals[] = {SIGKILL, SIGTERM, SIGSEGV, SIGABRT, SIGUSR1};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        process = start(crash, (void *)(intptr_t)signals[i]);
        ck_assert_int_eq(exitcode(process), -signals[i]);
        kin_process_close(process);
    }
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    finish();
}
END_TEST

START_TEST(terminate_kill_signal)
{
    begin();
    for (int how = 0; how < 3; how++) {
        struct kin_process *process = start(sleep_for_ever, NULL);
        int code = -1000;
        KT_UNTIL(kini_load(&words[0]) == (uint32_t)how + 1);
        KT_IS(kin_process_is_alive(process), 1);
        KT_IS(kin_process_exitcode(process, &code), -EAGAIN);
        ck_assert_int_eq(code, -1000);
        KT_OK(kin_process_signal(process, 0));
        KT_IS(kin_process_signal(process, 1000), -EINVAL);
        KT_IS(kin_process_signal(process, -1), -EINVAL);
        if (how == 0)
            KT_OK(kin_process_terminate(process));
        else if (how == 1)
            KT_OK(kin_process_kill(process));
        else
            KT_OK(kin_process_signal(process, SIGUSR1));
        static const int expected[] = {SIGTERM, SIGKILL, SIGUSR1};
        ck_assert_int_eq(exitcode(process), -expected[how]);
        KT_OK(kin_process_terminate(process)); /* has ended: 0 all the same */
        KT_OK(kin_process_kill(process));
        KT_OK(kin_process_signal(process, SIGUSR1));
        kin_process_close(process);
    }
    finish();
}
END_TEST

/* --- waiting -------------------------------------------------------------------------------- */

START_TEST(join_with_a_deadline)
{
    begin();
    struct kin_process *process = start(sleep_for_ever, NULL);
    KT_IS(kin_process_join(process, KIN_NOW), -ETIMEDOUT);
    int64_t until = kin_after_ms(30);
    KT_IS(kin_process_join(process, until), -ETIMEDOUT);
    ck_assert_int_ge(kin_now_ns(), until);
    KT_OK(kin_process_kill(process));
    KT_OK(kin_process_join(process, KIN_NEVER));
    KT_OK(kin_process_join(process, KIN_NOW));
    kin_process_close(process);
    finish();
}
END_TEST

START_TEST(the_descriptor_becomes_readable)
{
    begin();
    struct kin_process *process = start(sleep_for_ever, NULL);
    struct pollfd p = {.fd = kin_process_fd(process), .events = POLLIN};
    ck_assert_int_ge(p.fd, 0);
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    KT_OK(kin_process_kill(process));
    ck_assert_int_eq(poll(&p, 1, -1), 1);
    ck_assert(p.revents & POLLIN);
    KT_IS(kin_process_is_alive(process), 0);
    kin_process_close(process);
    finish();
}
END_TEST

static void nothing(int signal)
{
    (void)signal;
}

static int tick(struct kin_arena *mine, void *arg)
{
    (void)mine;
    (void)arg;
    for (int i = 0; i < 50; i++) {
        kill(getppid(), SIGUSR2);
        usleep(500);
    }
    return 9;
}

START_TEST(handlers_do_not_end_a_join)
{
    begin();
    struct sigaction action = {.sa_handler = nothing}, old;
    sigaction(SIGUSR2, &action, &old);
    struct kin_process *process = start(tick, NULL);
    ck_assert_int_eq(exitcode(process), 9);
    kin_process_close(process);
    sigaction(SIGUSR2, &old, NULL);
    finish();
}
END_TEST

/* --- what the child has --------------------------------------------------------------------- */

struct given {
    struct kin_queue *queue;
    char *block;
};

static int use_what_was_given(struct kin_arena *mine, void *arg)
{
    struct given *given = arg;
    KT_CHECK(strcmp(given->block, "for the child") == 0);
    KT_CHECK(kin_block_free(mine, given->block) == -EPERM);
    KT_CHECK(kin_queue_put(given->queue, "hello", 6, KIN_NEVER) == 0);
    return 0;
}

START_TEST(arena_and_handles_are_valid_in_the_child)
{
    begin();
    struct given given = {.queue = kt_queue(arena, 0, 0)};
    KT_OK(kin_block_alloc(arena, 100, (void **)&given.block));
    strcpy(given.block, "for the child");
    struct kin_process *process = start(use_what_was_given, &given);
    char text[8] = "";
    KT_IS(kin_queue_get(given.queue, text, sizeof text, KIN_NEVER), 6);
    ck_assert_str_eq(text, "hello");
    ck_assert_int_eq(exitcode(process), 0);
    kin_process_close(process);
    KT_OK(kin_block_free(arena, given.block));
    kin_queue_destroy(given.queue);
    finish();
}
END_TEST

static struct kin_process *handle_of_the_parent;

static int try_the_parents_handle(struct kin_arena *mine, void *arg)
{
    struct kin_process *process = handle_of_the_parent;
    (void)mine;
    (void)arg;
    int code = 0;
    KT_CHECK(kin_process_join(process, KIN_NOW) == -ECHILD);
    KT_CHECK(strlen(kin_error_text()) > 0);
    KT_CHECK(kin_process_is_alive(process) == -ECHILD);
    KT_CHECK(kin_process_exitcode(process, &code) == -ECHILD);
    KT_CHECK(kin_process_kill(process) == -ECHILD);
    KT_CHECK(kin_process_terminate(process) == -ECHILD);
    KT_CHECK(kin_process_signal(process, SIGKILL) == -ECHILD);
    return 0;
}

START_TEST(a_handle_is_good_in_its_process_only)
{
    begin();
    handle_of_the_parent = start(sleep_for_ever, NULL);
    struct kin_process *other = start(try_the_parents_handle, NULL);
    ck_assert_int_eq(exitcode(other), 0);
    KT_IS(kin_process_is_alive(handle_of_the_parent), 1);
    KT_OK(kin_process_kill(handle_of_the_parent));
    KT_OK(kin_process_join(handle_of_the_parent, KIN_NEVER));
    kin_process_close(handle_of_the_parent);
    kin_process_close(other);
    finish();
}
END_TEST

/* --- names and family ----------------------------------------------------------------------- */

static int tell_who(struct kin_arena *mine, void *arg)
{
    struct kin_process_info info = {.size = sizeof info};
    KT_CHECK(kin_process_current(mine, &info) == 0);
    KT_CHECK(info.pid == getpid() && info.parent_pid == getppid() && info.daemon == 0);
    KT_CHECK(strcmp(info.name, arg) == 0);
    struct kin_process_info parent = {.size = sizeof parent};
    KT_CHECK(kin_process_parent(mine, &parent) == 0);
    KT_CHECK(parent.pid == getppid());
    KT_CHECK(kin_process_children(mine, &info, 1) == 0);
    return 0;
}

START_TEST(names)
{
    begin();
    const struct kin_process_opts opts = {.size = sizeof opts, .name = "counter"};
    struct kin_process *process = NULL;
    KT_OK(kin_process_start(arena, tell_who, "counter", &opts, &process));
    ck_assert_str_eq(kin_process_name(process), "counter");
    ck_assert_int_eq(exitcode(process), 0);
    ck_assert_int_gt(kin_process_pid(process), 0);
    kin_process_close(process);
    struct kin_process *first = start(return_arg, NULL), *second = start(return_arg, NULL);
    ck_assert_int_eq(strncmp(kin_process_name(first), "Process-", 8), 0);
    ck_assert_str_ne(kin_process_name(first), kin_process_name(second));
    ck_assert_int_eq(exitcode(first) + exitcode(second), 0);
    kin_process_close(first);
    kin_process_close(second);
    const struct kin_process_opts longer = {.name = "thirty-two-bytes-are-one-too-man"};
    process = NULL;
    KT_IS(kin_process_start(arena, return_arg, NULL, &longer, &process), -EINVAL);
    KT_IS(kin_process_start(arena, NULL, NULL, NULL, &process), -EINVAL);
    struct {
        struct kin_process_opts opts;
        uint64_t newer;
    } newer = {.opts = {.size = sizeof newer}, .newer = 1};
    KT_IS(kin_process_start(arena, return_arg, NULL, &newer.opts, &process), -E2BIG);
    ck_assert_ptr_null(process);
    finish();
}
END_TEST

START_TEST(the_first_process_has_no_parent)
{
    begin();
    struct kin_process_info info = {.size = sizeof info};
    KT_OK(kin_process_current(arena, &info));
    ck_assert_int_eq(info.pid, getpid());
    ck_assert_int_eq(info.parent_pid, 0);
    KT_IS(kin_process_parent(arena, &info), -ENOENT);
    finish();
}
END_TEST

START_TEST(children_are_listed)
{
    begin();
    struct kin_process_info infos[6];
    infos[0].size = sizeof infos[0];
    KT_IS(kin_process_children(arena, infos, 6), 0);
    struct kin_process *processes[4];
    for (int i = 0; i < 4; i++)
        processes[i] = start(sleep_for_ever, NULL);
    pid_t stranger = kt_fork(kt_sleep_for_ever, NULL); /* by a plain fork: not started by kin */
    infos[0].size = sizeof infos[0];
    KT_IS(kin_process_children(arena, infos, 6), 4);
    for (int i = 0; i < 4; i++) {
        int found = 0;
        for (int j = 0; j < 4; j++)
            found += infos[j].pid == kin_process_pid(processes[i]) &&
                     strcmp(infos[j].name, kin_process_name(processes[i])) == 0 &&
                     infos[j].parent_pid == getpid();
        ck_assert_int_eq(found, 1);
    }
    infos[0].size = sizeof infos[0];
    KT_IS(kin_process_children(arena, infos, 2), 4); /* how many there are */
    KT_OK(kin_process_kill(processes[1]));
    KT_OK(kin_process_join(processes[1], KIN_NEVER));
    infos[0].size = sizeof infos[0];
    KT_IS(kin_process_children(arena, infos, 6), 3);
    for (int i = 0; i < 4; i++) {
        KT_OK(kin_process_kill(processes[i]));
        KT_OK(kin_process_join(processes[i], KIN_NEVER));
        kin_process_close(processes[i]);
    }
    infos[0].size = sizeof infos[0];
    KT_IS(kin_process_children(arena, infos, 6), 0);
    kt_kill(stranger);
    finish();
}
END_TEST

static int parent_is_gone(struct kin_arena *mine, void *arg)
{
    (void)arg;
    struct kin_process_info info = {.size = sizeof info};
    kini_store(&words[1], (uint32_t)getpid());
    while (kini_load(&words[2]) == 0)
        usleep(500);
    KT_CHECK(kin_arena_reap(mine) >= 0);
    KT_CHECK(kin_process_parent(mine, &info) == -ENOENT);
    return 0;
}

static int start_and_leave(struct kin_arena *mine, void *arg)
{
    struct kin_process *process = NULL;
    KT_CHECK(kin_process_start(mine, parent_is_gone, arg, NULL, &process) == 0);
    while (kini_load(&words[1]) == 0)
        usleep(500);
    return 0;
}

START_TEST(others_survive_their_parent)
{
    begin();
    struct kin_process *process = start(start_and_leave, NULL);
    ck_assert_int_eq(exitcode(process), 0);
    kini_store(&words[2], 1);
    ck_assert_int_eq(kt_wait((pid_t)kini_load(&words[1])), 0); /* an orphan: ours now */
    kin_process_close(process);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/process");
    TCase *t = kt_case(suite, "exit", 30);
    tcase_add_test(t, results_become_exit_codes);
    tcase_add_test(t, signals_are_negative);
    tcase_add_test(t, terminate_kill_signal);
    t = kt_case(suite, "wait", 30);
    tcase_add_test(t, join_with_a_deadline);
    tcase_add_test(t, the_descriptor_becomes_readable);
    tcase_add_test(t, handlers_do_not_end_a_join);
    t = kt_case(suite, "child", 30);
    tcase_add_test(t, arena_and_handles_are_valid_in_the_child);
    tcase_add_test(t, a_handle_is_good_in_its_process_only);
    t = kt_case(suite, "family", 30);
    tcase_add_test(t, names);
    tcase_add_test(t, the_first_process_has_no_parent);
    tcase_add_test(t, children_are_listed);
    tcase_add_test(t, others_survive_their_parent);
    return kt_run(suite);
}
