/* SPDX-License-Identifier: MIT
 * Places for processes that somebody else starts. */
#include "arena/attach.h"
#include "lib/kin_test.h"
#include "lib/stranger.h"

#include <kin/offer.h>
#include <signal.h>
#include <sys/wait.h>

struct board {
    kini_a32 arrived, go, pid;
    uint64_t place;
    uint32_t keys[3];
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

static void alone(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
}

/* As an interpreter would: exec, with the descriptors under numbers of its own. */
static pid_t start(const struct kin_offer *offer, const char *role, int lifeline)
{
    char *const argv[] = {"offered", "--stranger", (char *)role, "", board_arg, NULL};
    int fds[KIN_OFFER_FDS];
    kin_offer_fds(offer, fds);
    pid_t pid = vfork();
    if (pid == 0) {
        if (dup2(fds[0], 60) < 0 || dup2(fds[1], 61) < 0 ||
            (lifeline >= 0 && dup2(lifeline, 62) < 0))
            _exit(99);
        execv("/proc/self/exe", argv);
        _exit(98);
    }
    return pid;
}

static int wait_for(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static int play_use(void *memory, const char *arg)
{
    struct board *b = memory;
    const int fds[KIN_OFFER_FDS] = {60, 61};
    struct kin_arena *mine;
    struct kin_queue *queue;
    struct kin_pipe *end;
    struct kin_lock *lock;
    (void)arg;
    KT_CHECK(kin_arena_accept(fds, b->place, &mine) == 0);
    kini_store(&b->arrived, 1);
    while (kini_load_acq(&b->go) == 0)
        usleep(300);
    KT_CHECK(kin_lock_inherit(mine, (uint32_t)kin_object_receive(mine, b->keys[0]), &lock) ==
             -EPROTOTYPE);
    int64_t position = kin_object_receive(mine, b->keys[0]);
    KT_CHECK(kin_queue_inherit(mine, (uint32_t)position, &queue) == 0);
    KT_CHECK(kin_queue_inherit(mine, (uint32_t)position, &queue) == -ENOENT);
    KT_CHECK(kin_pipe_inherit(mine, (uint32_t)kin_object_receive(mine, b->keys[1]), &end) == 0);
    KT_CHECK(kin_lock_inherit(mine, (uint32_t)kin_object_receive(mine, b->keys[2]), &lock) == 0);
    KT_CHECK(kin_object_receive(mine, 0xffffffff) == -ESTALE);
    int item = 0;
    KT_CHECK(kin_queue_get(queue, &item, sizeof item, KIN_NEVER) == sizeof item && item == 42);
    KT_CHECK(kin_lock_acquire(lock, KIN_NEVER) == 0);
    KT_CHECK(kin_pipe_send(end, "done", 4, KIN_NEVER) >= 0);
    kill(getpid(), SIGKILL);
    return 0;
}

START_TEST(a_process_that_somebody_else_starts)
{
    struct kin_offer *offer;
    struct kin_queue *queue;
    struct kin_pipe *ours, *theirs;
    struct kin_lock *lock;
    KT_OK(kin_queue_create(arena, NULL, &queue));
    KT_OK(kin_pipe_create(arena, NULL, &ours, &theirs));
    KT_OK(kin_lock_create(arena, NULL, &lock));
    KT_OK(kin_offer_create(arena, "offered", &offer));
    KT_OK(kin_offer_add(offer, queue, &board->keys[0]));
    KT_OK(kin_offer_add(offer, theirs, &board->keys[1]));
    KT_OK(kin_offer_add(offer, lock, &board->keys[2]));
    KT_OK(kin_offer_add(offer, lock, &board->keys[2]));
    board->place = kin_offer_place(offer);
    pid_t pid = start(offer, "use", -1);
    ck_assert_int_gt(pid, 0);
    kin_offer_destroy(offer);
    int item = 42;
    KT_OK(kin_queue_put(queue, &item, sizeof item, KIN_NEVER));
    kin_queue_destroy(queue); /* kept for the process */
    kin_pipe_close(theirs);
    KT_UNTIL(kini_load(&board->arrived));
    kini_store_rel(&board->go, 1);
    char text[8];
    ck_assert_int_eq(kin_pipe_recv(ours, text, sizeof text, KIN_NEVER), 4);
    ck_assert_int_eq(kin_pipe_recv(ours, text, sizeof text, KIN_NEVER), -ESHUTDOWN);
    ck_assert_int_eq(kin_lock_acquire(lock, KIN_NEVER), KIN_ABANDONED);
    ck_assert_int_eq(WTERMSIG(wait_for(pid)), SIGKILL);
    kin_pipe_close(ours);
    kin_lock_destroy(lock);
    alone();
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}
END_TEST

START_TEST(nobody_comes)
{
    struct kin_offer *offer;
    struct kin_queue *queue;
    KT_OK(kin_queue_create(arena, NULL, &queue));
    KT_OK(kin_offer_create(arena, NULL, &offer));
    KT_OK(kin_offer_add(offer, queue, &board->keys[0]));
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 1);
    int fds[KIN_OFFER_FDS];
    kin_offer_fds(offer, fds);
    ck_assert_int_eq(kin_offer_add(offer, NULL, &board->keys[0]), -EINVAL);
    kin_offer_destroy(offer);
    kin_offer_destroy(NULL);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}
END_TEST

/* A fork of the parent meanwhile does not keep the place. */
START_TEST(a_fork_meanwhile)
{
    struct kin_offer *offer;
    KT_OK(kin_offer_create(arena, NULL, &offer));
    pid_t pid = fork();
    if (pid == 0) {
        uint32_t key;
        struct kin_lock *lock;
        if (kin_lock_create(arena, NULL, &lock) < 0 || kin_offer_add(offer, lock, &key) != -ESTALE)
            _exit(1);
        kini_store(&board->arrived, 1);
        for (;;)
            pause();
    }
    KT_UNTIL(kini_load(&board->arrived) || waitpid(pid, NULL, WNOHANG) == pid);
    kin_offer_destroy(offer);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 2);
    kill(pid, SIGKILL);
    ck_assert_int_eq(WTERMSIG(wait_for(pid)), SIGKILL);
    alone();
}
END_TEST

START_TEST(keys_in_one_arena)
{
    struct kin_lock *lock, *same[40];
    uint32_t key;
    KT_OK(kin_lock_create(arena, NULL, &lock));
    KT_OK(kin_object_key(lock, &key));
    int64_t positions[40];
    for (int i = 0; i < 40; i++)
        ck_assert_int_ge(positions[i] = kin_object_receive(arena, key), 0);
    for (int i = 0; i < 40; i++)
        KT_OK(kin_lock_inherit(arena, (uint32_t)positions[i], &same[i]));
    KT_OK(kin_lock_acquire(same[7], KIN_NOW));
    ck_assert_int_eq(kin_lock_locked(lock), 1);
    KT_OK(kin_lock_release(lock));
    for (int i = 0; i < 40; i++)
        kin_lock_destroy(same[i]);
    KT_OK(kin_lock_acquire(lock, KIN_NOW));
    KT_OK(kin_lock_release(lock));
    int64_t position = kin_object_receive(arena, key);
    kin_lock_destroy(lock);
    ck_assert_int_eq(kin_lock_inherit(arena, (uint32_t)position, &lock), -ESTALE);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_ne(kin_arena_id(arena), 0);
}
END_TEST

START_TEST(a_name_is_given_up)
{
    struct kin_lock *first, *second, *same;
    KT_OK(kin_lock_open(arena, "lock", NULL, &first));
    KT_OK(kin_object_unname(first));
    KT_IS(kin_lock_find(arena, "lock", &same), -ENOENT);
    KT_OK(kin_lock_open(arena, "lock", NULL, &second));
    KT_OK(kin_lock_acquire(first, KIN_NOW)); /* another one */
    ck_assert_int_eq(kin_lock_locked(second), 0);
    KT_OK(kin_object_unname(first)); /* has none, and takes nobody's */
    KT_OK(kin_lock_find(arena, "lock", &same));
    KT_OK(kin_lock_release(first));
    kin_lock_destroy(first);
    kin_lock_destroy(same);
    kin_lock_destroy(second);
    KT_IS(kin_object_unname(NULL), -EINVAL);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}
END_TEST

static int play_daemon(void *memory, const char *arg)
{
    struct board *b = memory;
    const int fds[KIN_OFFER_FDS] = {60, 61};
    struct kin_arena *mine;
    struct kin_process_info info = {.size = sizeof info};
    (void)arg;
    KT_CHECK(kin_arena_accept(fds, b->place, &mine) == 0);
    KT_CHECK(kin_arena_end_with(mine, -1) == -EBADF);
    KT_CHECK(kin_arena_end_with(mine, 62) == 0);
    KT_CHECK(kin_arena_end_with(mine, dup(0)) == -EALREADY);
    KT_CHECK(kin_process_current(mine, &info) == 0 && info.daemon == 1);
    kini_store(&b->pid, (uint32_t)getpid());
    kini_store_rel(&b->arrived, 1);
    for (;;)
        pause();
}

static int play_parent(void *memory, const char *arg)
{
    struct board *b = memory;
    struct kin_offer *offer;
    (void)arg;
    snprintf(board_arg, sizeof board_arg, "%d", kt_board_fd());
    KT_CHECK(kin_arena_create(NULL, &arena) == 0);
    KT_CHECK(kin_offer_create(arena, "daemon", &offer) == 0);
    int lifeline = kin_offer_daemon(offer);
    KT_CHECK(lifeline >= 0 && kin_offer_daemon(offer) == lifeline);
    b->place = kin_offer_place(offer);
    KT_CHECK(start(offer, "daemon", lifeline) > 0);
    kin_offer_destroy(offer);
    while (kini_load_acq(&b->arrived) == 0)
        usleep(300);
    raise(SIGKILL);
    return 1;
}

START_TEST(a_daemon_ends_with_its_parent)
{
    ck_assert_int_eq(kt_in_stranger("parent", "-"), -SIGKILL);
    pid_t daemon = (pid_t)kini_load(&board->pid);
    KT_UNTIL(kt_process_state(daemon) == 'Z' || kt_process_state(daemon) == '?');
    kt_wait_all();
}
END_TEST

static const struct kt_role roles[] = {
    {"use", play_use}, {"daemon", play_daemon}, {"parent", play_parent}, {NULL, NULL}};

int main(int argc, char **argv)
{
    kt_stranger_main(argc, argv, roles, sizeof *board);
    Suite *suite = suite_create("proc/offer");
    TCase *t = kt_case(suite, "offer", 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_process_that_somebody_else_starts);
    tcase_add_test(t, nobody_comes);
    tcase_add_test(t, a_fork_meanwhile);
    tcase_add_test(t, keys_in_one_arena);
    tcase_add_test(t, a_name_is_given_up);
    tcase_add_test(t, a_daemon_ends_with_its_parent);
    return kt_run(suite);
}
