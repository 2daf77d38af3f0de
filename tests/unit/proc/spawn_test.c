/* SPDX-License-Identifier: MIT
 * Programs that are executed, with the arena and chosen objects handed over. */
#include "arena/attach.h"
#include "lib/kin_test.h"
#include "lib/stranger.h"
#include "sync/handle.h"

#include <fcntl.h>
#include <signal.h>

struct board {
    kini_a32 arrived, go;
    kini_a64 pid;
};

static struct board *board;
static struct kin_arena *arena;
static char board_arg[16];

static void setup(void)
{
    board = kt_board(sizeof *board);
    arena = kt_arena(256 * MIB);
    snprintf(board_arg, sizeof board_arg, "%d", kt_board_fd());
}

static void teardown(void)
{
    kin_arena_detach(arena);
    kt_board_close(board, sizeof *board);
}

static struct kin_process *spawn(const char *role, const char *arg, struct kin_spawn_opts opts)
{
    char *const argv[] = {"spawned", "--stranger", (char *)role, (char *)arg, board_arg, NULL};
    struct kin_process *process = NULL;
    KT_OK(kin_process_spawn(arena, "/proc/self/exe", argv, &opts, &process));
    return process;
}

static int status_of(struct kin_process *process)
{
    int status = 12345;
    KT_OK(kin_process_join(process, KIN_NEVER));
    KT_OK(kin_process_exitcode(process, &status));
    kin_process_close(process);
    return status;
}

static void alone(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
}

/* --- roles ---------------------------------------------------------------------------------- */

static struct kin_arena *inherit(void)
{
    struct kin_arena *mine = NULL;
    if (kin_arena_inherit(&mine) < 0) {
        dprintf(2, "spawned: %s\n", kin_error_text());
        _exit(100);
    }
    return mine;
}

static int play_use(void *memory, const char *arg)
{
    (void)memory;
    struct kin_arena *mine = inherit(), *again = NULL;
    KT_CHECK(getenv("KIN_INHERIT") == NULL);
    KT_CHECK(kin_arena_inherit(&again) == -ENOENT);
    struct kin_process_info info = {.size = sizeof info};
    KT_CHECK(kin_process_current(mine, &info) == 0 && strcmp(info.name, arg) == 0);
    KT_CHECK(kin_process_parent(mine, &info) == 0 && info.pid == getppid());
    struct kin_queue *queue, *same;
    struct kin_lock *lock;
    KT_CHECK(kin_queue_inherit(mine, 0, &queue) == 0);
    KT_CHECK(kin_lock_inherit(mine, 1, &lock) == 0);
    KT_CHECK(kin_queue_inherit(mine, 1, &same) == -EPROTOTYPE);
    KT_CHECK(kin_queue_inherit(mine, 2, &same) == -ENOENT);
    KT_CHECK(kin_queue_find(mine, "queue", &same) == 0);
    kin_queue_destroy(same);
    KT_CHECK(kin_lock_acquire(lock, KIN_NEVER) == 0);
    KT_CHECK(kin_queue_put(queue, "hello", 5, KIN_NEVER) == 0);
    KT_CHECK(kin_lock_release(lock) == 0);
    kin_queue_destroy(queue);
    kin_lock_destroy(lock);
    for (int fd = 3; fd < 64; fd++) /* nothing of it goes on to a program that this one starts */
        KT_CHECK(kini_os_inode(fd) != mine->inode || (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    kin_arena_detach(mine);
    return 7;
}

/* Position 0: an end to say something through, 1 and 2: one for descriptors, 3: no pipe. */
static int play_talk(void *memory, const char *arg)
{
    struct board *b = memory;
    struct kin_arena *mine = inherit();
    struct kin_pipe *plain, *fds, *same, *none;
    int fd, before = kt_fds_count();
    KT_CHECK(kin_pipe_inherit(mine, 3, &none) == -EPROTOTYPE);
    KT_CHECK(kin_pipe_inherit(mine, 4, &none) == -ENOENT);
    KT_CHECK(kin_pipe_inherit(mine, 0, &plain) == 0);
    KT_CHECK(kin_pipe_send(plain, arg, strlen(arg), KIN_NEVER) == 0);
    KT_CHECK(kin_pipe_inherit(mine, 1, &fds) == 0 && kin_pipe_inherit(mine, 2, &same) == 0);
    KT_CHECK(kin_pipe_recv_fd(fds, &fd, KIN_NEVER) == 0);
    kin_pipe_close(fds); /* the other handle is as good */
    KT_CHECK(kin_pipe_send_fd(same, fd, KIN_NEVER) == 0);
    KT_CHECK(close(fd) == 0);
    kin_pipe_close(same);
    KT_CHECK(kin_pipe_inherit(mine, 2, &same) == -ESTALE); /* that was its last handle */
    KT_CHECK(kt_fds_count() == before);
    for (int i = 1; i <= 2; i++) /* they do not go on to a program that this one starts */
        KT_CHECK(fcntl(mine->inherited_sockets[i], F_GETFD) & FD_CLOEXEC);
    kini_add_sc(&b->arrived, 1);
    while (kini_load_acq(&b->go) == 0)
        usleep(300);
    if (kini_load(&b->go) == 2)
        raise(SIGKILL);
    kin_arena_detach(mine);
    KT_CHECK(kt_fds_count() < before - 2); /* with the sockets */
    return 0;
}

/* Holds what was handed over, and nothing else. */
static int play_hold(void *memory, const char *arg)
{
    struct board *b = memory;
    struct kin_arena *mine = inherit();
    (void)arg;
    kini_store(&b->pid, (uint64_t)getpid());
    kini_add_sc(&b->arrived, 1);
    while (kini_load_acq(&b->go) == 0)
        usleep(300);
    struct kin_queue *queue;
    KT_CHECK(kin_queue_inherit(mine, 0, &queue) == 0);
    KT_CHECK(kin_queue_size(queue) == 1);
    return 0;
}

static int play_ignore(void *memory, const char *arg)
{
    struct board *b = memory;
    (void)arg;
    kini_add_sc(&b->arrived, 1);
    while (kini_load_acq(&b->go) == 0)
        usleep(300);
    return 3;
}

/* Starts a daemon and dies. */
static int play_parent(void *memory, const char *arg)
{
    struct board *b = memory;
    (void)arg;
    KT_CHECK(kin_arena_create(NULL, &arena) == 0);
    char *const argv[] = {"spawned", "--stranger", "hold", "-", board_arg, NULL};
    snprintf(board_arg, sizeof board_arg, "%d", kt_board_fd());
    struct kin_process *process;
    KT_CHECK(kin_process_spawn(arena, "/proc/self/exe", argv, &(struct kin_spawn_opts){.daemon = 1},
                               &process) == 0);
    while (kini_load_acq(&b->arrived) == 0)
        usleep(300);
    raise(SIGKILL);
    return 1;
}

static const struct kt_role roles[] = {{"use", play_use},       {"talk", play_talk},
                                       {"hold", play_hold},     {"ignore", play_ignore},
                                       {"parent", play_parent}, {NULL, NULL}};

/* --- tests ---------------------------------------------------------------------------------- */

START_TEST(by_position_and_by_name)
{
    struct kin_queue *queue;
    struct kin_lock *lock;
    KT_OK(kin_queue_create(arena, &(struct kin_queue_opts){.name = "queue"}, &queue));
    KT_OK(kin_lock_create(arena, NULL, &lock));
    const void *const objects[] = {queue, lock};
    int fds = kt_fds_count();
    struct kin_process *process =
        spawn("use", "worker",
              (struct kin_spawn_opts){.name = "worker", .objects = objects, .objects_count = 2});
    char text[8];
    KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NEVER), 5);
    ck_assert_int_eq(status_of(process), 7);
    ck_assert_int_eq(kt_fds_count(), fds);
    alone();
    ck_assert_uint_eq(kt_stat(arena).deaths_count, 0); /* it left by itself */
    kin_queue_destroy(queue);
    kin_lock_destroy(lock);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}
END_TEST

START_TEST(only_what_was_handed_over_is_kept)
{
    struct kin_queue *queue, *other;
    KT_OK(kin_queue_create(arena, NULL, &queue));
    KT_OK(kin_queue_create(arena, NULL, &other));
    KT_OK(kin_queue_put(queue, "x", 1, KIN_NOW));
    const void *const objects[] = {queue};
    struct kin_process *process =
        spawn("hold", "-", (struct kin_spawn_opts){.objects = objects, .objects_count = 1});
    kin_queue_destroy(queue); /* before the child has opened it */
    kin_queue_destroy(other);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 1);
    KT_UNTIL(kini_load_acq(&board->arrived) == 1);
    ck_assert_int_eq((int)kini_load(&board->pid), kin_process_pid(process));
    kini_store(&board->go, 1);
    ck_assert_int_eq(status_of(process), 0);
    alone();
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}
END_TEST

/* The ends of the parent are closed before the child has opened them: that is no end of file. */
START_TEST(ends_of_pipes)
{
    for (uint32_t killed = 0; killed < 2; killed++) {
        struct kin_pipe *here[2], *there[2];
        struct kin_lock *lock;
        char text[16];
        int pair[2], fd = -1, fds = kt_fds_count();
        kini_store(&board->arrived, 0);
        kini_store(&board->go, 0);
        KT_OK(kin_lock_create(arena, NULL, &lock));
        KT_OK(kin_pipe_create(arena, NULL, &here[0], &there[0]));
        KT_OK(kin_pipe_create(arena, &(struct kin_pipe_opts){.flags = KIN_PIPE_FDS}, &here[1],
                              &there[1]));
        const void *const objects[] = {there[0], there[1], there[1], lock};
        struct kin_process *process =
            spawn("talk", "hello", (struct kin_spawn_opts){.objects = objects, .objects_count = 4});
        kin_pipe_close(there[0]);
        kin_pipe_close(there[1]);
        ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
        KT_OK(kin_pipe_send_fd(here[1], pair[1], KIN_NOW));
        close(pair[1]);
        KT_IS(kin_pipe_recv(here[0], text, sizeof text, KIN_NEVER), 5);
        KT_OK(kin_pipe_recv_fd(here[1], &fd, KIN_NEVER)); /* it comes back */
        ck_assert_int_eq(write(fd, "x", 1), 1);
        ck_assert_int_eq(read(pair[0], text, 1), 1);
        KT_IS(kin_pipe_recv(here[1], text, sizeof text, KIN_NEVER), -ESHUTDOWN); /* closed there */
        KT_UNTIL(kini_load_acq(&board->arrived) == 1);
        KT_IS(kin_pipe_recv(here[0], text, sizeof text, kin_after_ms(20)), -ETIMEDOUT);
        kini_store(&board->go, 1 + killed);
        KT_IS(kin_pipe_recv(here[0], text, sizeof text, KIN_NEVER), -ESHUTDOWN);
        ck_assert_int_eq(status_of(process), killed ? -SIGKILL : 0);
        kin_pipe_close(here[0]);
        kin_pipe_close(here[1]);
        kin_lock_destroy(lock);
        close(fd);
        close(pair[0]);
        ck_assert_int_eq(kt_fds_count(), fds);
        alone();
        ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    }
}
END_TEST

/* A program that never asks for its end has it until it is gone. */
START_TEST(an_end_that_is_ignored)
{
    struct kin_pipe *a, *b;
    char text[4];
    KT_OK(kin_pipe_create(arena, NULL, &a, &b));
    const void *const objects[] = {b};
    struct kin_process *process =
        spawn("ignore", "-", (struct kin_spawn_opts){.objects = objects, .objects_count = 1});
    kin_pipe_close(b);
    KT_UNTIL(kini_load_acq(&board->arrived) == 1);
    KT_IS(kin_pipe_recv(a, text, sizeof text, kin_after_ms(20)), -ETIMEDOUT);
    kini_store(&board->go, 1);
    KT_IS(kin_pipe_recv(a, text, sizeof text, KIN_NEVER), -ESHUTDOWN);
    ck_assert_int_eq(status_of(process), 3);
    kin_pipe_close(a);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}
END_TEST

START_TEST(a_program_that_ignores_the_arena)
{
    struct kin_queue *queue;
    KT_OK(kin_queue_create(arena, NULL, &queue));
    const void *const objects[] = {queue};
    for (int killed = 0; killed < 2; killed++) {
        kini_store(&board->arrived, 0);
        kini_store(&board->go, 0);
        struct kin_process *process =
            spawn("ignore", "-", (struct kin_spawn_opts){.objects = objects, .objects_count = 1});
        KT_UNTIL(kini_load_acq(&board->arrived) == 1);
        ck_assert_uint_eq(kt_stat(arena).participants_count, 2);
        if (killed)
            KT_OK(kin_process_kill(process));
        kini_store(&board->go, 1);
        ck_assert_int_eq(status_of(process), killed ? -SIGKILL : 3);
        ck_assert_uint_eq(kt_stat(arena).participants_count, 1); /* the join has reaped it */
    }
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}
END_TEST

START_TEST(programs_that_cannot_be_started)
{
    struct kin_queue *queue;
    KT_OK(kin_queue_create(arena, NULL, &queue));
    const void *const objects[] = {queue, NULL};
    const struct kin_spawn_opts opts = {.objects = objects, .objects_count = 1};
    char *const argv[] = {"x", NULL}, *const none[] = {NULL};
    struct kin_process *process = NULL;
    int fds = kt_fds_count();
    for (int i = 0; i < 1100; i++) /* more than there are slots */
        KT_IS(kin_process_spawn(arena, "/nowhere/x", argv, &opts, &process), -ENOENT);
    KT_IS(kin_process_spawn(arena, "no-such-program-in-path", argv, NULL, &process), -ENOENT);
    KT_IS(kin_process_spawn(arena, "/etc/passwd", argv, NULL, &process), -EACCES);
    KT_IS(kin_process_spawn(arena, NULL, argv, NULL, &process), -EINVAL);
    KT_IS(kin_process_spawn(arena, "x", none, NULL, &process), -EINVAL);
    struct kin_spawn_opts bad = opts;
    bad.objects_count = 2;
    KT_IS(kin_process_spawn(arena, "/proc/self/exe", argv, &bad, &process), -EINVAL);
    struct kin_arena *other = kt_arena(64 * MIB);
    KT_IS(kin_process_spawn(other, "/proc/self/exe", argv, &opts, &process), -EXDEV);
    kin_arena_detach(other);
    ck_assert_ptr_null(process);
    ck_assert_int_eq(kt_fds_count(), fds);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}
END_TEST

START_TEST(a_daemon_ends_with_its_parent)
{
    ck_assert_int_eq(kt_in_stranger("parent", "-"), -SIGKILL);
    pid_t daemon = (pid_t)kini_load(&board->pid);
    KT_UNTIL(kt_process_state(daemon) == 'Z' || kt_process_state(daemon) == '?');
    kt_wait_all();
}
END_TEST

START_TEST(the_child_keeps_a_name)
{
    struct kin_arena *named = NULL, *plain = arena;
    KT_OK(kin_arena_open(kt_name("spawn"), NULL, &named));
    struct kin_queue *queue;
    KT_OK(kin_queue_open(named, "queue", NULL, &queue));
    KT_OK(kin_queue_put(queue, "x", 1, KIN_NOW));
    const void *const objects[] = {queue};
    arena = named;
    struct kin_process *process =
        spawn("hold", "-", (struct kin_spawn_opts){.objects = objects, .objects_count = 1});
    arena = plain;
    KT_UNTIL(kini_load_acq(&board->arrived) == 1);
    pid_t pid = kin_process_pid(process);
    kin_queue_destroy(queue);
    kin_process_close(process);
    kin_arena_detach(named); /* only the program that was spawned has it now */
    KT_OK(kin_arena_find(kt_name("spawn"), NULL, &named));
    KT_OK(kin_queue_find(named, "queue", &queue));
    KT_IS(kin_queue_size(queue), 1);
    kin_queue_destroy(queue);
    kin_arena_detach(named);
    kini_store(&board->go, 1);
    ck_assert_int_eq(kt_wait(pid), 0);
    KT_IS(kin_process_children(arena, NULL, 0), 0); /* collects what was left by the other arena */
    KT_IS(kin_arena_find(kt_name("spawn"), NULL, &named), -ENOENT);
}
END_TEST

START_TEST(nothing_was_handed_over)
{
    struct kin_arena *none = NULL;
    KT_IS(kin_arena_inherit(&none), -ENOENT);
    static const char *const bad[] = {"", "x", "1.2.3.4.5.6", "-1.-1.-1.-1.1.1:"};
    for (size_t i = 0; i < 4; i++) {
        setenv("KIN_INHERIT", bad[i], 1);
        KT_IS(kin_arena_inherit(&none), -EPROTO);
    }
    unsetenv("KIN_INHERIT");
}
END_TEST

int main(int argc, char **argv)
{
    kt_stranger_main(argc, argv, roles, sizeof *board);
    Suite *suite = suite_create("proc/spawn");
    TCase *t = kt_case(suite, "spawn", 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, by_position_and_by_name);
    tcase_add_test(t, only_what_was_handed_over_is_kept);
    tcase_add_test(t, ends_of_pipes);
    tcase_add_test(t, an_end_that_is_ignored);
    tcase_add_test(t, a_program_that_ignores_the_arena);
    tcase_add_test(t, programs_that_cannot_be_started);
    tcase_add_test(t, a_daemon_ends_with_its_parent);
    tcase_add_test(t, the_child_keeps_a_name);
    tcase_add_test(t, nothing_was_handed_over);
    return kt_run(suite);
}
