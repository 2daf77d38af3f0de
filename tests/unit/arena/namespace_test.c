/* SPDX-License-Identifier: MIT
 * An arena at a path, used from another pid namespace, as by a container: numbers of processes mean
 * nothing to one another there; who lives is told by locks. Skipped where namespaces cannot be
 * made. */
#include "arena/arena.h"
#include "lib/kin_test.h"
#include "lib/stranger.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

struct board {
    kini_a32 arrived;
    kini_a64 how;
};

static struct board *board;
static struct kin_arena *arena;
static struct kin_queue *there, *back;
static struct kin_lock *lock;
static char path[64];

static void join(const char *at)
{
    const struct kin_arena_opts opts = {.path = at, .reserve_bytes = 64 * MIB};
    KT_CHECK(kin_arena_open(NULL, &opts, &arena) == 0);
    KT_CHECK(kin_queue_open(arena, "there", NULL, &there) == 0);
    KT_CHECK(kin_queue_open(arena, "back", NULL, &back) == 0);
    KT_CHECK(kin_lock_open(arena, "lock", NULL, &lock) == 0);
}

/* --- roles ------------------------------------------------------------------------------------ */

/* The first process of a namespace sees only its own in /proc, and nobody else sees that. */
static bool can_be_inside(void)
{
    return getpid() == 1 && unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/proc", NULL, MS_PRIVATE, NULL) == 0 &&
           mount("proc", "/proc", "proc", 0, NULL) == 0;
}

static void be_inside(void)
{
    KT_CHECK(can_be_inside());
}

/* Answers a message, takes the lock, and is killed. */
static int play_inside(void *memory, const char *at)
{
    struct board *b = memory;
    char text[8];
    be_inside();
    join(at);
    KT_CHECK(kin_queue_get(there, text, sizeof text, KIN_NEVER) == 5);
    KT_CHECK(kin_lock_acquire(lock, KIN_NEVER) == 0);
    KT_CHECK(kin_queue_put(back, text, 5, KIN_NEVER) == 0);
    kini_add_sc(&b->arrived, 1);
    for (;;)
        pause();
}

/* The same, on this side. */
static int play_outside(void *memory, const char *at)
{
    struct board *b = memory;
    join(at);
    KT_CHECK(kin_lock_acquire(lock, KIN_NEVER) == 0);
    kini_add_sc(&b->arrived, 1);
    for (;;)
        pause();
}

/* Waits for the lock of somebody who is killed in the other namespace. */
static int play_survive(void *memory, const char *at)
{
    struct board *b = memory;
    be_inside();
    join(at);
    KT_CHECK(kin_lock_try_acquire(lock) == -EAGAIN);
    KT_CHECK(kin_arena_reap(arena) == 0); /* whoever has it lives, though it cannot be seen */
    KT_CHECK(kin_lock_try_acquire(lock) == -EAGAIN);
    kini_add_sc(&b->arrived, 1);
    int r = kin_lock_acquire(lock, KIN_NEVER);
    kini_store(&b->how, (uint64_t)r);
    KT_CHECK(kin_lock_release(lock) == 0);
    kin_arena_detach(arena);
    return 0;
}

static const struct kt_role roles[] = {
    {"inside", play_inside}, {"outside", play_outside}, {"survive", play_survive}, {NULL, NULL}};

/* --- tests ------------------------------------------------------------------------------------ */

static void setup(void)
{
    board = kt_board(sizeof *board);
    snprintf(path, sizeof path, "/tmp/kin-namespace-%d", (int)getpid());
}

static void teardown(void)
{
    unlink(path);
    kt_board_close(board, sizeof *board);
}

/* From here on the children of this process begin a new one. */
static void leave_namespace(void)
{
    ck_assert_int_eq(unshare(CLONE_NEWPID), 0);
}

START_TEST(one_inside_is_killed)
{
    char text[8];
    join(path);
    leave_namespace();
    pid_t pid = kt_stranger("inside", path);
    KT_OK(kin_queue_put(there, "hello", 5, KIN_NEVER));
    KT_IS(kin_queue_get(back, text, sizeof text, KIN_NEVER), 5);
    KT_UNTIL(kini_load_acq(&board->arrived) == 1);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 2);
    KT_IS(kin_arena_reap(arena), 0); /* its pid is ours, too, or nobody's */
    KT_IS(kin_lock_try_acquire(lock), -EAGAIN);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    KT_IS(kin_lock_acquire(lock, KIN_NEVER), KIN_ABANDONED); /* who waits finds the death */
    kt_wait(pid);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    KT_OK(kin_lock_release(lock));
    ck_assert_uint_eq(kt_stat(arena).deaths_count, 1);
    kin_arena_detach(arena);
}
END_TEST

START_TEST(one_outside_is_killed)
{
    pid_t outside = kt_stranger("outside", path);
    KT_UNTIL(kini_load_acq(&board->arrived) == 1);
    leave_namespace();
    pid_t inside = kt_stranger("survive", path);
    KT_UNTIL(kini_load_acq(&board->arrived) == 2);
    kt_kill(outside);
    KT_IS(kt_wait(inside), 0);
    ck_assert_uint_eq(kini_load(&board->how), KIN_ABANDONED);
}
END_TEST

static bool try_in_child(bool (*fn)(void))
{
    int status = 1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(!fn());
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool can_unshare(void)
{
    return unshare(CLONE_NEWPID) == 0 && try_in_child(can_be_inside);
}

int main(int argc, char **argv)
{
    kt_stranger_main(argc, argv, roles, sizeof *board);
    if (!try_in_child(can_unshare)) { /* this process is to stay where it is */
        printf("skipped: this user cannot make a pid namespace\n");
        return 77;
    }
    Suite *suite = suite_create("arena/namespace");
    TCase *t = kt_case(suite, "namespace", 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, one_inside_is_killed);
    tcase_add_test(t, one_outside_is_killed);
    return kt_run(suite);
}
