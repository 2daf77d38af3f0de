/* SPDX-License-Identifier: MIT
 * Alive or dead: zombies, stopped ones, reused numbers, processes whose first thread has ended. */
#include "lib/kin_test.h"
#include "os/os.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct kini_os_identity *shared;

static int tell_and_sleep(void *unused)
{
    kini_os_identity_self(shared);
    return kt_sleep_for_ever(unused);
}

static pid_t start(kt_child_fn fn)
{
    shared = kt_share(sizeof *shared);
    pid_t child = kt_fork(fn, NULL);
    KT_UNTIL(((volatile struct kini_os_identity *)shared)->start_ticks != 0);
    ck_assert_int_eq(shared->pid, child);
    return child;
}

static void expect(enum kini_os_life life)
{
    ck_assert_int_eq(kini_os_identity_life(shared, true), life);
    ck_assert_int_eq(kini_os_identity_life(shared, false), life);
}

static void finish(void)
{
    kt_unshare(shared, sizeof *shared);
}

START_TEST(myself)
{
    struct kini_os_identity me;
    kini_os_identity_self(&me);
    ck_assert_int_eq(me.pid, getpid());
    ck_assert(me.start_ticks != 0 && me.pid_namespace != 0);
    ck_assert_int_eq(kini_os_identity_life(&me, true), KINI_OS_ALIVE);
    ck_assert_int_eq(kini_os_identity_life(&me, false), KINI_OS_ALIVE);
}
END_TEST

START_TEST(running_stopped_zombie_gone)
{
    pid_t child = start(tell_and_sleep);
    expect(KINI_OS_ALIVE);
    kill(child, SIGSTOP);
    KT_UNTIL(kt_process_state(child) == 'T');
    expect(KINI_OS_ALIVE);
    kill(child, SIGKILL);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(kt_process_state(child), 'Z');
    expect(KINI_OS_DEAD);
    kt_wait(child);
    expect(KINI_OS_DEAD);
    finish();
}
END_TEST

START_TEST(a_number_used_again)
{
    pid_t child = start(tell_and_sleep);
    struct kini_os_identity real = *shared;
    if (shared->pidfd_inode != 0)
        shared->pidfd_inode++; /* where the kernel has these, they alone decide */
    else
        shared->start_ticks--;
    expect(KINI_OS_DEAD);
    *shared = real;
    shared->pidfd_inode = 0; /* as on a kernel without them */
    expect(KINI_OS_ALIVE);
    shared->start_ticks--;
    expect(KINI_OS_DEAD);
    kt_kill(child);
    finish();
}
END_TEST

START_TEST(another_pid_namespace_is_unknown)
{
    pid_t child = start(tell_and_sleep);
    shared->pid_namespace++;
    expect(KINI_OS_UNKNOWN);
    kt_kill(child);
    expect(KINI_OS_UNKNOWN);
    finish();
}
END_TEST

static void *outlive(void *unused)
{
    (void)unused;
    kini_os_identity_self(shared);
    pause();
    return NULL;
}

static int first_thread_ends(void *unused)
{
    (void)unused;
    pthread_t thread;
    KT_CHECK(pthread_create(&thread, NULL, outlive, NULL) == 0);
    syscall(SYS_exit, 0);
    return 0;
}

/* Its first thread is a zombie, and yet the process can execute. */
START_TEST(alive_while_any_thread_is)
{
    pid_t child = start(first_thread_ends);
    KT_UNTIL(kt_process_state(child) == 'Z');
    expect(KINI_OS_ALIVE);
    kt_kill(child);
    expect(KINI_OS_DEAD);
    finish();
}
END_TEST

START_TEST(exec_keeps_the_identity)
{
    shared = kt_share(sizeof *shared);
    pid_t child = kt_fork(tell_and_sleep, NULL);
    KT_UNTIL(((volatile struct kini_os_identity *)shared)->start_ticks != 0);
    struct kini_os_identity before = *shared;
    kt_kill(child);
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        kini_os_identity_self(shared);
        dup2(pipes[0], 0);
        close(pipes[1]);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(pipes[0]);
    KT_UNTIL(((volatile struct kini_os_identity *)shared)->pid == child &&
             kini_os_maps_inode(child, kini_os_inode(0)) >= 0);
    ck_assert_int_ne(before.pid, child);
    expect(KINI_OS_ALIVE);
    close(pipes[1]);
    ck_assert_int_eq(kt_wait(child), 0);
    expect(KINI_OS_DEAD);
    finish();
}
END_TEST

START_TEST(who_maps_the_file)
{
    int fd = kini_os_memory_create("test");
    void *base;
    uint64_t bytes, inode = kini_os_inode(fd);
    ck_assert_int_eq(kini_os_maps_inode(getpid(), inode), 0);
    KT_OK(kini_os_memory_map(fd, 64 * MIB, 64 * MIB, &base, &bytes));
    ck_assert_int_eq(kini_os_maps_inode(getpid(), inode), 1);
    pid_t child = kt_fork(kt_sleep_for_ever, NULL);
    ck_assert_int_eq(kini_os_maps_inode(child, inode), 1);
    kini_os_memory_unmap(base, bytes);
    ck_assert_int_eq(kini_os_maps_inode(getpid(), inode), 0);
    ck_assert_int_eq(kini_os_maps_inode(child, inode), 1);
    kt_kill(child);
    ck_assert_int_lt(kini_os_maps_inode(child, inode), 0);
    kini_os_close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("os/identity");
    TCase *t = kt_case(suite, "life", 30);
    tcase_add_test(t, myself);
    tcase_add_test(t, running_stopped_zombie_gone);
    tcase_add_test(t, a_number_used_again);
    tcase_add_test(t, another_pid_namespace_is_unknown);
    tcase_add_test(t, alive_while_any_thread_is);
    tcase_add_test(t, exec_keeps_the_identity);
    tcase_add_test(t, who_maps_the_file);
    return kt_run(suite);
}
