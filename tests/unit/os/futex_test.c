/* SPDX-License-Identifier: MIT
 * Sleeping on a word that several processes see. */
#include "lib/kin_test.h"
#include "os/os.h"

#include <signal.h>
#include <sys/time.h>

START_TEST(another_value_returns_at_once)
{
    kini_a32 word = 1;
    KT_IS(kini_os_futex_wait(&word, 0, KIN_NEVER), 0);
}
END_TEST

START_TEST(deadlines)
{
    kini_a32 word = 0;
    KT_IS(kini_os_futex_wait(&word, 0, KIN_NOW), -ETIMEDOUT);
    int64_t until = kin_after_ms(20);
    KT_IS(kini_os_futex_wait(&word, 0, until), -ETIMEDOUT);
    ck_assert_int_ge(kin_now_ns(), until);
}
END_TEST

static int wait_for_one(void *word)
{
    while (kini_load((kini_a32 *)word) == 0)
        kini_os_futex_wait(word, 0, KIN_NEVER);
    return 0;
}

START_TEST(a_wake_reaches_another_process)
{
    kini_a32 *word = kt_share(4096);
    pid_t pids[3];
    for (int i = 0; i < 3; i++)
        pids[i] = kt_fork(wait_for_one, (void *)word);
    KT_UNTIL(kt_process_state(pids[0]) == 'S' && kt_process_state(pids[1]) == 'S' &&
             kt_process_state(pids[2]) == 'S');
    kini_store(word, 1);
    int woken = kini_os_futex_wake(word, 100);
    ck_assert_int_le(woken, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(kt_wait(pids[i]), 0);
    ck_assert_int_eq(kini_os_futex_wake(word, 100), 0);
    kt_unshare((void *)word, 4096);
}
END_TEST

static void nothing(int signal)
{
    (void)signal;
}

START_TEST(a_handler_interrupts)
{
    struct sigaction action = {.sa_handler = nothing}, old;
    sigaction(SIGALRM, &action, &old);
    struct itimerval every = {{0, 5000}, {0, 5000}};
    setitimer(ITIMER_REAL, &every, NULL);
    kini_a32 word = 0;
    errno = 77;
    KT_IS(kini_os_futex_wait(&word, 0, KIN_NEVER), -EINTR);
    ck_assert_int_eq(errno, 77);
    every = (struct itimerval){{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every, NULL);
    sigaction(SIGALRM, &old, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("os/futex");
    TCase *t = kt_case(suite, "futex", 20);
    tcase_add_test(t, another_value_returns_at_once);
    tcase_add_test(t, deadlines);
    tcase_add_test(t, a_wake_reaches_another_process);
    tcase_add_test(t, a_handler_interrupts);
    return kt_run(suite);
}
