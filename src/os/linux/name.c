/* SPDX-License-Identifier: MIT
 * Names that the kernel gives back with their last holder, and memory files found through their
 * owners. A name is an abstract Unix socket, bound and never used: it lies in no file system, and
 * copies of the descriptor, which a fork makes, hold it too. */
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static socklen_t address_of(const char *name, struct sockaddr_un *ret_address)
{
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->sun_family = AF_UNIX;
    size_t length = strnlen(name, sizeof ret_address->sun_path - 1);
    memcpy(ret_address->sun_path + 1, name, length); /* after a 0: abstract */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

int kini_os_name_hold(const char *name)
{
    struct sockaddr_un address;
    socklen_t length = address_of(name, &address);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&address, length) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    shutdown(fd, SHUT_RDWR); /* nobody is to fill it with messages */
    return fd;
}

/* A datagram socket can be connected to every name that is held, and to no other. What else the
 * kernel may answer (a sandbox) does not say that nobody holds it. */
int kini_os_names_held(const char *prefix, uint32_t count)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int held = 0;
    for (uint32_t i = 0; i < count && !held; i++) {
        char name[sizeof(((struct sockaddr_un *)0)->sun_path)];
        struct sockaddr_un address;
        snprintf(name, sizeof name, "%s%u", prefix, i);
        socklen_t length = address_of(name, &address);
        held = connect(fd, (struct sockaddr *)&address, length) == 0 || errno != ECONNREFUSED;
    }
    close(fd);
    return held;
}

uint64_t kini_os_network(void)
{
    struct stat st;
    return stat("/proc/thread-self/ns/net", &st) < 0 ? 0 : (uint64_t)st.st_ino;
}

/* --- memory files of the user's other processes --------------------------------------------- */

/* No descriptor or memory for the search itself: nothing is known then. Else what cannot be looked
 * into is another's, or gone. */
static int give_up_search(void)
{
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
}

/* Each of the process's descriptors of that file, until visit takes one. */
static int visit_process(const char *pid, const char *wanted, kini_os_visit_fn visit, void *arg)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%.16s/fd", pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return give_up_search();
    int taken = 0;
    for (struct dirent *e; taken == 0 && (e = readdir(dir)) != NULL;) {
        char link[300];
        ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof link - 1);
        if (n < 0)
            continue;
        link[n] = '\0';
        if (strcmp(link, wanted) != 0)
            continue;
        int fd = openat(dirfd(dir), e->d_name, O_RDWR | O_CLOEXEC);
        taken = fd < 0 ? give_up_search() : visit(fd, arg);
        if (fd >= 0 && taken == 0)
            close(fd);
    }
    closedir(dir);
    return taken;
}

int kini_os_memory_find(const char *name, kini_os_visit_fn visit, void *arg)
{
    char wanted[300];
    snprintf(wanted, sizeof wanted, "/memfd:%.200s (deleted)", name);
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return -errno;
    int taken = 0;
    for (struct dirent *e; taken == 0 && (e = readdir(proc)) != NULL;) {
        struct stat st;
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
            fstatat(dirfd(proc), e->d_name, &st, 0) == 0 && st.st_uid == geteuid())
            taken = visit_process(e->d_name, wanted, visit, arg);
    }
    closedir(proc);
    return taken;
}
