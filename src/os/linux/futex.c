/* SPDX-License-Identifier: MIT
 * Futexes, always shared: the words lie in memory of several processes. */
#include "os/os.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline)
{
    struct timespec at, *until = NULL;
    if (deadline != KIN_NEVER) {
        at.tv_sec = (time_t)(deadline / 1000000000);
        at.tv_nsec = (long)(deadline % 1000000000);
        until = &at;
    }
    int saved = errno;
    long r =
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, until, NULL, FUTEX_BITSET_MATCH_ANY);
    int error = r < 0 ? errno : 0;
    errno = saved;
    return error == ETIMEDOUT ? -ETIMEDOUT : error == EINTR ? -EINTR : 0;
}

int kini_os_futex_wake(kini_a32 *word, int count)
{
    int saved = errno;
    long r = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
    errno = saved;
    return r < 0 ? 0 : (int)r;
}
