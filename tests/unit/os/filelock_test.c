/* SPDX-License-Identifier: MIT
 * Byte locks: one holder, dropped by the kernel with the last process that has the description. */
#include "lib/kin_test.h"
#include "os/os.h"

#include <signal.h>

static int file, a, b;

static void open_both(void)
{
    file = kini_os_memory_create("test");
    a = kini_os_reopen(file);
    b = kini_os_reopen(file);
    ck_assert(file >= 0 && a >= 0 && b >= 0);
}

static void close_both(void)
{
    kini_os_close(a);
    kini_os_close(b);
    kini_os_close(file);
}

START_TEST(one_holder)
{
    open_both();
    KT_OK(kini_os_byte_lock(a, 7));
    KT_IS(kini_os_byte_lock(b, 7), -EAGAIN);
    KT_IS(kini_os_byte_locked(b, 7), 1);
    KT_IS(kini_os_byte_locked(a, 7), 0); /* not by another description */
    KT_IS(kini_os_byte_locked(b, 6), 0);
    KT_IS(kini_os_byte_locked(b, 8), 0);
    KT_OK(kini_os_byte_lock(b, 8));
    KT_OK(kini_os_byte_unlock(a, 7));
    KT_IS(kini_os_byte_locked(b, 7), 0);
    KT_OK(kini_os_byte_lock(b, 7));
    KT_IS(kini_os_byte_locked(a, 7), 1);
    close_both();
}
END_TEST

START_TEST(closing_the_description_drops_it)
{
    open_both();
    KT_OK(kini_os_byte_lock(a, 1));
    KT_OK(kini_os_byte_lock(a, 4096 + 1023));
    int copy = dup(a);
    close(a);
    KT_IS(kini_os_byte_locked(b, 1), 1); /* the copy still has it */
    close(copy);
    KT_IS(kini_os_byte_locked(b, 1), 0);
    KT_IS(kini_os_byte_locked(b, 4096 + 1023), 0);
    a = -1;
    close_both();
}
END_TEST

/* Another description of the same file in the same process does not drop it when it is closed, as
 * a lock of the process (F_SETLK) would. */
START_TEST(closing_another_description_does_not)
{
    open_both();
    KT_OK(kini_os_byte_lock(a, 1));
    int other = kini_os_reopen(file);
    close(other);
    KT_IS(kini_os_byte_locked(b, 1), 1);
    close_both();
}
END_TEST

START_TEST(the_kernel_drops_it_with_its_process)
{
    open_both();
    KT_OK(kini_os_byte_lock(a, 5));
    pid_t child = kt_fork(kt_sleep_for_ever, NULL);
    close(a); /* now only the child has it */
    a = -1;
    KT_IS(kini_os_byte_locked(b, 5), 1);
    kt_kill(child);
    KT_IS(kini_os_byte_locked(b, 5), 0);
    close_both();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("os/filelock");
    TCase *t = kt_case(suite, "bytes", 20);
    tcase_add_test(t, one_holder);
    tcase_add_test(t, closing_the_description_drops_it);
    tcase_add_test(t, closing_another_description_does_not);
    tcase_add_test(t, the_kernel_drops_it_with_its_process);
    return kt_run(suite);
}
