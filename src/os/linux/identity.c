/* SPDX-License-Identifier: MIT
 * Who a process is, and whether it is dead: facts of the kernel, each sound in one direction.
 *
 * A pid alone is no identity (it is reused) and kill(pid, 0) calls a zombie alive. A pidfd is
 * readable once every thread has ended, which for a large process is long after its last
 * instruction: the flag PF_EXITING of all its tasks tells earlier. */
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PF_EXITING  0x4u
#define PIDFS_MAGIC 0x50494446u

static uint64_t inode_of_path(const char *path)
{
    struct stat st;
    return stat(path, &st) < 0 ? 0 : (uint64_t)st.st_ino;
}

uint64_t kini_os_inode(int fd)
{
    struct stat st;
    return fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_ino;
}

int32_t kini_os_tid(void)
{
    return (int32_t)syscall(SYS_gettid);
}

/* Read a small file of /proc; returns its length or a negative errno. */
static ssize_t read_small(const char *path, char *buffer, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, buffer, capacity - 1);
    if (n < 0)
        n = -errno;
    else
        buffer[n] = '\0';
    close(fd);
    return n;
}

/* Fields 3 (state), 9 (flags) and 22 (start time) of a stat file. The name, field 2, may hold
 * spaces and brackets: the rest begins after the last ')'. */
static int read_stat(const char *path, char *ret_state, uint64_t *ret_flags, uint64_t *ret_start)
{
    char text[1024];
    ssize_t n = read_small(path, text, sizeof text);
    if (n <= 0)
        return n < 0 ? (int)n : -EIO;
    char *p = strrchr(text, ')');
    if (p == NULL || p[1] != ' ')
        return -EIO;
    p += 2;
    *ret_state = *p;
    for (int field = 3; *p != '\0' && field < 22; p++) {
        if (*p != ' ')
            continue;
        field++;
        if (field == 9)
            *ret_flags = strtoull(p + 1, NULL, 10);
        if (field == 22)
            *ret_start = strtoull(p + 1, NULL, 10);
    }
    return 0;
}

/* Where the kernel has pidfs (6.9 on), the inode of a pidfd is unique for the life of the machine.
 * Before, all pidfds share one anonymous inode: then it says nothing. */
static uint64_t pidfd_inode(int pidfd)
{
    struct statfs fs;
    if (fstatfs(pidfd, &fs) < 0 || (uint32_t)fs.f_type != PIDFS_MAGIC)
        return 0;
    return kini_os_inode(pidfd);
}

static _Atomic uint64_t own_namespace; /* 0: not read yet */

/* A child sees its parent's pid as its parent saw it only in the same pid namespace; from outside
 * of its own it sees 0. */
static uint64_t pid_namespace(int32_t parent_pid)
{
    uint64_t known = kini_load(&own_namespace);
    if (parent_pid == 0 || known == 0 || (int32_t)getppid() != parent_pid)
        known = inode_of_path("/proc/self/ns/pid");
    kini_store(&own_namespace, known);
    return known;
}

void kini_os_identity_self(struct kini_os_identity *ret_identity, int32_t parent_pid)
{
    memset(ret_identity, 0, sizeof *ret_identity);
    ret_identity->pid = (int32_t)getpid();
    ret_identity->pid_namespace = pid_namespace(parent_pid);
    int pidfd = kini_os_pidfd_open(ret_identity->pid);
    if (pidfd >= 0) {
        ret_identity->pidfd_inode = pidfd_inode(pidfd);
        close(pidfd);
    }
    char state;
    uint64_t flags = 0;
    if (ret_identity->pidfd_inode == 0) /* unique for ever where it exists; else by time of birth */
        read_stat("/proc/self/stat", &state, &flags, &ret_identity->start_ticks);
}

/* 1 when every task is past its last instruction in user mode. A task may have been created just
 * before its creator began to exit: the list is read again until it shows nothing new. */
static int all_tasks_exiting(int32_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    int before = -1, now = 0;
    for (int round = 0; round < 8 && before != now; round++) {
        before = now;
        now = 0;
        DIR *dir = opendir(path);
        if (dir == NULL) /* no /proc here, or not to be seen: that says nothing */
            return 0;
        for (struct dirent *e; (e = readdir(dir)) != NULL;) {
            if (e->d_name[0] < '0' || e->d_name[0] > '9')
                continue;
            char stat_path[96];
            snprintf(stat_path, sizeof stat_path, "/proc/%d/task/%.16s/stat", pid, e->d_name);
            char state = 'R';
            uint64_t flags = 0, start = 0;
            int r = read_stat(stat_path, &state, &flags, &start);
            bool gone = r == -ENOENT || r == -ESRCH;
            if (!gone && (r < 0 || !(flags & PF_EXITING))) {
                closedir(dir);
                return 0;
            }
            now++;
        }
        closedir(dir);
    }
    return before == now;
}

static bool same_process(int pidfd, const struct kini_os_identity *identity)
{
    if (identity->pidfd_inode != 0)
        return kini_os_inode(pidfd) == identity->pidfd_inode;
    if (identity->start_ticks == 0)
        return true;
    char path[40], state;
    uint64_t flags = 0, start = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", identity->pid);
    return read_stat(path, &state, &flags, &start) < 0 || start == identity->start_ticks;
}

/* Where pidfds are refused (a sandbox, an old valgrind): what /proc says of the pid. That it says
 * nothing means something only where it says something of ourselves. */
static enum kini_os_life life_by_proc(const struct kini_os_identity *identity)
{
    char path[40], state = 'R';
    uint64_t flags = 0, start = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", identity->pid);
    int r = read_stat(path, &state, &flags, &start);
    if (r == -ENOENT || r == -ESRCH)
        return read_stat("/proc/self/stat", &state, &flags, &start) == 0 ? KINI_OS_DEAD
                                                                         : KINI_OS_CANNOT_ASK;
    if (r < 0)
        return KINI_OS_CANNOT_ASK;
    bool reused = identity->start_ticks != 0 && start != identity->start_ticks;
    return reused || all_tasks_exiting(identity->pid) ? KINI_OS_DEAD : KINI_OS_ALIVE;
}

/* No process has that pid any more, but it is in use: by a thread of another process, or by a group
 * or session whose leader it was (ENOENT; EINVAL before Linux 6.16). A filter of system calls may
 * answer the same, but then it does of ourselves, too. */
static enum kini_os_life life_of_taken_pid(const struct kini_os_identity *identity, int answer)
{
    int own = kini_os_pidfd_open((int32_t)getpid());
    if (own == answer)
        return life_by_proc(identity);
    if (own < 0)
        return KINI_OS_CANNOT_ASK;
    close(own);
    return KINI_OS_DEAD;
}

static uint64_t this_namespace(void)
{
    uint64_t own = kini_load(&own_namespace);
    if (own == 0) {
        own = inode_of_path("/proc/self/ns/pid");
        kini_store(&own_namespace, own);
    }
    return own;
}

enum kini_os_life kini_os_identity_life(const struct kini_os_identity *identity, bool quick)
{
    if (identity->pid <= 0 || identity->pid_namespace != this_namespace())
        return KINI_OS_UNKNOWN;
    int pidfd = kini_os_pidfd_open(identity->pid);
    if (pidfd == -ESRCH)
        return KINI_OS_DEAD;
    if (pidfd == -ENOSYS || pidfd == -EPERM)
        return life_by_proc(identity);
    if (pidfd == -ENOENT || pidfd == -EINVAL)
        return life_of_taken_pid(identity, pidfd);
    if (pidfd < 0) /* no descriptor left */
        return KINI_OS_CANNOT_ASK;
    enum kini_os_life life = KINI_OS_ALIVE;
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    if (poll(&p, 1, 0) > 0 || !same_process(pidfd, identity))
        life = KINI_OS_DEAD;
    else if (!quick && all_tasks_exiting(identity->pid))
        life = KINI_OS_DEAD;
    close(pidfd);
    return life;
}

int kini_os_identity_open(const struct kini_os_identity *identity)
{
    if (identity->pid <= 0 || identity->pid_namespace != this_namespace())
        return -EOPNOTSUPP;
    int pidfd = kini_os_pidfd_open(identity->pid);
    if (pidfd < 0 || same_process(pidfd, identity))
        return pidfd;
    close(pidfd);
    return -ESRCH;
}

int kini_os_maps_inode(int32_t pid, uint64_t inode)
{
    char path[40], *line = NULL;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return -errno;
    size_t capacity = 0;
    int found = 0, lines = 0;
    while (!found && getline(&line, &capacity, f) > 0) {
        lines++;
        unsigned long long ino = 0;
        if (sscanf(line, "%*s %*s %*s %*s %llu", &ino) == 1 && ino == inode)
            found = 1;
    }
    free(line);
    fclose(f);
    return lines == 0 ? -EIO : found; /* empty once the main thread has ended, whoever lives on */
}
