/* SPDX-License-Identifier: MIT
 * Byte locks of open file descriptions: held by whoever holds the description, dropped by the
 * kernel with the last of them. Bytes far beyond the end of the file are used, so that no reader
 * or writer of the file is ever in the way. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define BYTE_BASE (1ull << 62)

int kini_os_reopen(int fd)
{
    char path[40];
    /* not /proc/self: it is empty once the main thread has ended */
    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
    int result = open(path, O_RDWR | O_CLOEXEC);
    return result < 0 ? -errno : result;
}

static int lock_call(int fd, int command, short type, uint64_t byte, uint64_t count,
                     struct flock *lock)
{
    *lock = (struct flock){.l_type = type,
                           .l_whence = SEEK_SET,
                           .l_start = (off_t)(BYTE_BASE + byte),
                           .l_len = (off_t)count};
    return fcntl(fd, command, lock) < 0 ? -errno : 0;
}

int kini_os_byte_lock(int fd, uint64_t byte)
{
    struct flock lock;
    int result = lock_call(fd, F_OFD_SETLK, F_WRLCK, byte, 1, &lock);
    return result == -EACCES ? -EAGAIN : result;
}

int kini_os_byte_unlock(int fd, uint64_t byte)
{
    struct flock lock;
    return lock_call(fd, F_OFD_SETLK, F_UNLCK, byte, 1, &lock);
}

int kini_os_bytes_locked(int fd, uint64_t byte, uint64_t count)
{
    struct flock lock;
    int result = lock_call(fd, F_OFD_GETLK, F_WRLCK, byte, count, &lock);
    return result < 0 ? result : lock.l_type != F_UNLCK;
}

int kini_os_byte_locked(int fd, uint64_t byte)
{
    return kini_os_bytes_locked(fd, byte, 1);
}
