/* SPDX-License-Identifier: MIT
 * Process descriptors: collecting, waiting; the line that ends a child with its parent. */
#include "lib/kin_test.h"
#include "os/os.h"

#include <signal.h>
#include <sys/wait.h>

static int exit_with(void *status)
{
    return *(int *)status;
}

static int collect(int pidfd, int *ret_status)
{
    KT_OK(kini_os_wait_readable(pidfd, KIN_NEVER));
    return kini_os_pidfd_collect(pidfd, ret_status);
}

START_TEST(collect_by_descriptor)
{
    static const int wanted[] = {0, 1, 77, 255};
    for (size_t i = 0; i < 4; i++) {
        pid_t child = kt_fork(exit_with, (void *)&wanted[i]);
        int pidfd = kini_os_pidfd_open(child), status = -1000;
        ck_assert_int_ge(pidfd, 0);
        KT_OK(collect(pidfd, &status));
        ck_assert_int_eq(status, wanted[i]);
        KT_IS(kini_os_pidfd_collect(pidfd, &status), -ECHILD);
        kini_os_close(pidfd);
    }
}
END_TEST

static int sleep_plainly(void *unused)
{
    signal(SIGSEGV, SIG_DFL); /* a sanitizer has handlers of its own */
    signal(SIGABRT, SIG_DFL);
    *(volatile char *)unused = 1;
    return kt_sleep_for_ever(NULL);
}

START_TEST(killed_is_negative)
{
    volatile char *ready = kt_share(4096);
    static const int signals[] = {SIGKILL, SIGTERM, SIGSEGV, SIGABRT};
    for (size_t i = 0; i < 4; i++) {
        *ready = 0;
        pid_t child = kt_fork(sleep_plainly, (void *)ready);
        KT_UNTIL(*ready == 1);
        int pidfd = kini_os_pidfd_open(child), status = -1000;
        KT_IS(kini_os_pidfd_collect(pidfd, &status), -EAGAIN);
        KT_IS(kini_os_wait_readable(pidfd, KIN_NOW), -ETIMEDOUT);
        KT_IS(kini_os_wait_readable(pidfd, kin_after_ms(5)), -ETIMEDOUT);
        KT_OK(kini_os_pidfd_signal(pidfd, signals[i]));
        KT_OK(collect(pidfd, &status));
        ck_assert_int_eq(status, -signals[i]);
        KT_IS(kini_os_pidfd_signal(pidfd, SIGTERM), -ESRCH);
        kini_os_close(pidfd);
    }
    kt_unshare((void *)ready, 4096);
}
END_TEST

START_TEST(there_are_processors)
{
    ck_assert_uint_ge(kini_os_cpu_count(), 1);
}
END_TEST

/* --- the life line -------------------------------------------------------------------------- */

static struct {
    kini_a32 bound, child;
} * words;

static int keep, watch;

static int bound_child(void *unused)
{
    kini_os_close(keep);
    KT_CHECK(kini_os_lifeline_bind(watch) >= 0);
    kini_os_close(watch);
    kini_store(&words->child, (uint32_t)getpid());
    kini_store(&words->bound, 1);
    return kt_sleep_for_ever(unused);
}

static int parent_of_bound(void *unused)
{
    KT_CHECK(kini_os_lifeline_create(&keep, &watch) == 0);
    kt_fork(bound_child, NULL);
    return kt_sleep_for_ever(unused);
}

START_TEST(child_dies_with_a_killed_parent)
{
    words = kt_share(4096);
    pid_t parent = kt_fork(parent_of_bound, NULL);
    KT_UNTIL(kini_load(&words->bound) == 1);
    pid_t child = (pid_t)kini_load(&words->child);
    ck_assert_int_eq(kt_process_state(child), 'S');
    kt_kill(parent);
    ck_assert_int_eq(kt_wait(child), -SIGKILL); /* an orphan: ours now */
    kt_unshare(words, 4096);
}
END_TEST

START_TEST(child_dies_when_the_parent_went_before)
{
    words = kt_share(4096);
    KT_OK(kini_os_lifeline_create(&keep, &watch));
    int mine = keep;
    kini_os_close(mine); /* the other end is gone before the child listens */
    keep = -1;
    ck_assert_int_eq(kt_in_child(bound_child, NULL), -SIGKILL);
    kini_os_close(watch);
    kt_unshare(words, 4096);
}
END_TEST

START_TEST(child_lives_as_long_as_the_line)
{
    words = kt_share(4096);
    KT_OK(kini_os_lifeline_create(&keep, &watch));
    pid_t first = kt_fork(bound_child, NULL);
    KT_UNTIL(kini_load(&words->bound) == 1);
    kini_store(&words->bound, 0);
    pid_t second = kt_fork(bound_child, NULL); /* each child has an owner of its own */
    KT_UNTIL(kini_load(&words->bound) == 1);
    usleep(20000);
    ck_assert_int_eq(kt_process_state(first), 'S');
    ck_assert_int_eq(kt_process_state(second), 'S');
    kini_os_close(keep);
    ck_assert_int_eq(kt_wait(first), -SIGKILL);
    ck_assert_int_eq(kt_wait(second), -SIGKILL);
    kini_os_close(watch);
    kt_unshare(words, 4096);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("os/process");
    TCase *t = kt_case(suite, "pidfd", 20);
    tcase_add_test(t, collect_by_descriptor);
    tcase_add_test(t, killed_is_negative);
    tcase_add_test(t, there_are_processors);
    t = kt_case(suite, "lifeline", 20);
    tcase_add_test(t, child_dies_with_a_killed_parent);
    tcase_add_test(t, child_dies_when_the_parent_went_before);
    tcase_add_test(t, child_lives_as_long_as_the_line);
    return kt_run(suite);
}
