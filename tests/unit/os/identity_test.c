/* SPDX-License-Identifier: MIT
 * Alive or dead: zombies, stopped ones, reused numbers, processes whose first thread has ended. */
#include "lib/kin_test.h"
#include "os/os.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct kini_os_identity *shared;
static kini_a32 *ready;

static int tell_and_sleep(void *unused)
{
    kini_os_identity_self(shared, 0);
    kini_store_sc(ready, 1);
    return kt_sleep_for_ever(unused);
}

static pid_t start(kt_child_fn fn)
{
    shared = kt_share(4096);
    ready = (kini_a32 *)(shared + 1);
    pid_t child = kt_fork(fn, NULL);
    KT_UNTIL(kini_load_sc(ready) == 1);
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
    kt_unshare(shared, 4096);
}

START_TEST(myself)
{
    struct kini_os_identity me;
    kini_os_identity_self(&me, 0);
    ck_assert_int_eq(me.pid, getpid());
    ck_assert((me.start_ticks != 0 || me.pidfd_inode != 0) && me.pid_namespace != 0);
    ck_assert_int_eq(kini_os_identity_life(&me, true), KINI_OS_ALIVE);
    ck_assert_int_eq(kini_os_identity_life(&me, false), KINI_OS_ALIVE);
}
END_TEST

static int tell_with_the_parents_help(void *unused)
{
    kini_os_identity_self(shared, getppid());
    kini_store_sc(ready, 1);
    return kt_sleep_for_ever(unused);
}

/* What a child has in common with its parent need not be asked for: the same facts come out. */
START_TEST(with_the_parents_help)
{
    struct kini_os_identity me;
    kini_os_identity_self(&me, 0);
    pid_t child = start(tell_with_the_parents_help);
    ck_assert(shared->pid_namespace == me.pid_namespace);
    ck_assert((shared->start_ticks != 0) == (me.start_ticks != 0));
    ck_assert((shared->pidfd_inode != 0) == (me.pidfd_inode != 0));
    ck_assert(shared->pidfd_inode == 0 || shared->pidfd_inode != me.pidfd_inode);
    expect(KINI_OS_ALIVE);
    kt_kill(child);
    expect(KINI_OS_DEAD);
    finish();
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

static uint64_t start_ticks_of(pid_t pid)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    char *at = strrchr(text, ')');
    for (int field = 2; field < 22; field++) /* the one after the name is number 3 */
        at = strchr(at + 1, ' ');
    return strtoull(at, NULL, 10);
}

START_TEST(a_number_used_again)
{
    pid_t child = start(tell_and_sleep);
    if (shared->pidfd_inode != 0) { /* where the kernel has these, they alone decide */
        shared->pidfd_inode++;
        expect(KINI_OS_DEAD);
    }
    shared->pidfd_inode = 0; /* as on a kernel without them */
    shared->start_ticks = start_ticks_of(child);
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
    kini_os_identity_self(shared, 0);
    kini_store_sc(ready, 1);
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
    shared = kt_share(4096);
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        kini_os_identity_self(shared, 0);
        dup2(pipes[0], 0);
        close(pipes[1]);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(pipes[0]);
    KT_UNTIL(kt_process_state(child) == 'S'); /* cat waits for input */
    ck_assert_int_eq(shared->pid, child);
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

static void *show_number(void *number)
{
    kini_store_sc((kini_a32 *)number, (uint32_t)kini_os_tid());
    kt_sleep_for_ever(NULL);
    return NULL;
}

/* Its number is given out again, to a thread of a process that lives on. */
START_TEST(the_number_of_a_thread_now)
{
    pid_t child = start(tell_and_sleep);
    kt_kill(child);
    kini_a32 number = 0;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, show_number, &number), 0);
    KT_UNTIL(kini_load_sc(&number) != 0);
    shared->pid = (int32_t)kini_load_sc(&number);
    shared->start_ticks -= shared->start_ticks != 0; /* it may be as old as the child, in ticks */
    expect(KINI_OS_DEAD);
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    finish();
}
END_TEST

static int lead_a_group(void *unused)
{
    KT_CHECK(setpgid(0, 0) == 0);
    KT_CHECK(kt_fork(kt_sleep_for_ever, NULL) > 0);
    return tell_and_sleep(unused);
}

/* Its number stays in use: as that of the group that it led, like every program of a shell. */
START_TEST(its_group_lives_on)
{
    pid_t child = start(lead_a_group);
    expect(KINI_OS_ALIVE);
    kt_kill(child);
    ck_assert_int_eq(kill(-child, 0), 0);
    expect(KINI_OS_DEAD);
    kill(-child, SIGKILL);
    ck_assert_int_gt(waitpid(-child, NULL, 0), 0); /* it came to us */
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("os/identity");
    TCase *t = kt_case(suite, "life", 30);
    tcase_add_test(t, myself);
    tcase_add_test(t, with_the_parents_help);
    tcase_add_test(t, running_stopped_zombie_gone);
    tcase_add_test(t, a_number_used_again);
    tcase_add_test(t, the_number_of_a_thread_now);
    tcase_add_test(t, its_group_lives_on);
    tcase_add_test(t, another_pid_namespace_is_unknown);
    tcase_add_test(t, alive_while_any_thread_is);
    tcase_add_test(t, exec_keeps_the_identity);
    tcase_add_test(t, who_maps_the_file);
    return kt_run(suite);
}
