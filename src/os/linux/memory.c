/* SPDX-License-Identifier: MIT
 * The memory file: memfd, reservation, growth that fails instead of SIGBUS. */
#include "base/bits.h"
#include "base/error.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

int kini_os_memory_create(const char *name)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create(name, flags);
    if (fd < 0) {
        int error = -errno;
        if (error == -EMFILE)
            return kini_fail(error, "no file descriptor left for the arena (RLIMIT_NOFILE)");
        return kini_fail(error, "memfd_create failed: %s", kin_strerror(error));
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        int error = -errno;
        close(fd);
        return kini_fail(error, "the memory file cannot be sealed: %s", kin_strerror(error));
    }
    return fd;
}

/* With RLIMIT_AS the arena must not eat all the address space that the program may have: it asks
 * for half of the limit at most. */
static uint64_t within_address_limit(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return wanted;
    return kini_min(wanted, (uint64_t)limit.rlim_cur / 2);
}

int kini_os_memory_map(int fd, uint64_t wanted, uint64_t least, void **ret_base,
                       uint64_t *ret_bytes)
{
    uint64_t bytes = within_address_limit(wanted) & ~(uint64_t)0xffff;
    void *base = MAP_FAILED;
    for (; bytes >= least; bytes = (bytes / 2) & ~(uint64_t)0xffff) {
        base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        if (base != MAP_FAILED)
            break;
    }
    if (base == MAP_FAILED)
        return kini_fail(-ENOMEM, "an arena needs at least %llu bytes of address space (RLIMIT_AS)",
                         (unsigned long long)least);
    /* A core dump would fault in, and so fill, the whole sparse file for every participant. */
    madvise(base, bytes, MADV_DONTDUMP);
    *ret_base = base;
    *ret_bytes = bytes;
    return 0;
}

void kini_os_memory_unmap(void *base, uint64_t bytes)
{
    munmap(base, bytes);
}

/* RLIMIT_FSIZE holds for memory files too, and the kernel sends SIGXFSZ, which kills by default:
 * block it around the call and take it back if it came. */
typedef int (*size_call_fn)(int fd, off_t offset, off_t bytes);

static int fallocate_call(int fd, off_t offset, off_t bytes)
{
    return fallocate(fd, 0, offset, bytes);
}

static int ftruncate_call(int fd, off_t offset, off_t bytes)
{
    return ftruncate(fd, offset + bytes);
}

static int without_signal(size_call_fn call, int fd, uint64_t offset, uint64_t bytes)
{
    sigset_t only, before, pending;
    sigemptyset(&only);
    sigaddset(&only, SIGXFSZ);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &only, &before);
    int result;
    do {
        result = call(fd, (off_t)offset, (off_t)bytes) < 0 ? -errno : 0;
    } while (result == -EINTR);
    if (result == -EFBIG && !sigismember(&pending, SIGXFSZ)) {
        const struct timespec none = {0, 0};
        sigtimedwait(&only, NULL, &none);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

int kini_os_memory_commit(int fd, uint64_t offset, uint64_t bytes)
{
    int result = without_signal(fallocate_call, fd, offset, bytes);
    if (result == 0)
        return 0;
    const char *limit = result == -EFBIG    ? "file size limit (RLIMIT_FSIZE)"
                        : result == -ENOSPC ? "space of the memory file system"
                        : result == -ENOMEM ? "memory of the machine or the container"
                                            : "system call";
    return kini_fail(result, "the arena cannot grow by %llu bytes to %llu: %s",
                     (unsigned long long)bytes, (unsigned long long)(offset + bytes), limit);
}

/* The kernel removes nothing from what the program has locked (mlockall). The range stays locked as
 * far as it is used again, where the kernel knows of that. */
static int remove_locked(void *at, uint64_t bytes)
{
    if (munlock(at, bytes) < 0)
        return -errno;
    int r = madvise(at, bytes, MADV_REMOVE) < 0 ? -errno : 0;
    mlock2(at, bytes, MLOCK_ONFAULT);
    return r;
}

/* Through the mapping, not the descriptor: should the program have closed that behind our back, the
 * number may be that of a file of its own by now. */
int kini_os_memory_release(void *at, uint64_t bytes)
{
    int saved = errno;
    int r = madvise(at, bytes, MADV_REMOVE) < 0 ? -errno : 0;
    if (r == -EINVAL)
        r = remove_locked(at, bytes);
    errno = saved;
    return r;
}

/* --- files that others made ----------------------------------------------------------------- */

int kini_os_memory_length(int fd, uint64_t *ret_bytes)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

int kini_os_memory_extend(int fd, uint64_t bytes)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if ((uint64_t)st.st_size >= bytes)
        return 0;
    return without_signal(ftruncate_call, fd, 0, bytes);
}

int kini_os_memory_check(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_uid != geteuid())
        return kini_fail(-EACCES, "the arena belongs to user %u", (unsigned)st.st_uid);
    int seals = fcntl(fd, F_GET_SEALS);
    const int bad = F_SEAL_WRITE | F_SEAL_GROW;
    if (seals < 0 || !S_ISREG(st.st_mode) || !(seals & F_SEAL_SHRINK) || (seals & bad))
        return kini_fail(-EPROTO, "not the memory of an arena: it is not sealed like one");
    return 0;
}

int kini_os_memory_open_path(const char *path, bool create)
{
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
    struct stat st;
    for (int tries = 0; tries < 100; tries++) {
        int fd = open(path, flags);
        if (fd < 0 && errno == ENOENT && create) {
            fd = open(path, flags | O_CREAT | O_EXCL, 0600);
            if (fd < 0 && errno == EEXIST)
                continue; /* somebody else made it just now */
        }
        if (fd < 0)
            return -errno;
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
            return fd;
        close(fd);
        return -EINVAL;
    }
    return -EAGAIN;
}

int kini_os_memory_mark(int fd, uint64_t *ret_mark)
{
    ssize_t n = pread(fd, ret_mark, sizeof *ret_mark, 0);
    return n < 0 ? -errno : (int)n;
}

/* A unit beyond the mark is filled and emptied, to see whether that can be done. */
int kini_os_memory_begin(int fd, uint64_t mark)
{
    const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (ftruncate(fd, 0) < 0 || pwrite(fd, &mark, sizeof mark, 0) < (ssize_t)sizeof mark)
        return -errno;
    int r = without_signal(fallocate_call, fd, 65536, 65536);
    if (r == 0 && fallocate(fd, punch, 65536, 65536) < 0)
        r = -errno;
    return r;
}

int kini_os_memory_used(int fd, uint64_t *ret_bytes)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_bytes = (uint64_t)st.st_blocks * 512;
    return 0;
}

kini_a64 *kini_os_guard_page(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (madvise(p, page, MADV_WIPEONFORK) < 0) {
        munmap(p, page);
        return NULL;
    }
    return p;
}

void kini_os_guard_page_free(kini_a64 *page)
{
    munmap((void *)page, (size_t)sysconf(_SC_PAGESIZE));
}
