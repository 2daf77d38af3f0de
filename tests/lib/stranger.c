/* SPDX-License-Identifier: MIT
 * Programs that are no relatives. */
#include "lib/stranger.h"
#include "lib/child.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MARK "--stranger"

static int board_fd = -1;

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, board_fd, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

void kt_stranger_main(int argc, char **argv, const struct kt_role *roles, size_t board_bytes)
{
    if (argc != 5 || strcmp(argv[1], MARK) != 0)
        return;
    board_fd = atoi(argv[4]);
    void *board = board_fd >= 0 ? map(board_bytes) : NULL;
    for (; roles->name != NULL; roles++)
        if (strcmp(roles->name, argv[2]) == 0)
            _exit(roles->run(board, argv[3]));
    _exit(102);
}

void *kt_board(size_t bytes)
{
    board_fd = memfd_create("board", 0);
    if (board_fd < 0 || ftruncate(board_fd, (off_t)bytes) < 0)
        abort();
    return map(bytes);
}

void kt_board_close(void *board, size_t bytes)
{
    munmap(board, bytes);
    close(board_fd);
    board_fd = -1;
}

pid_t kt_stranger(const char *role, const char *arg)
{
    char fd[16];
    snprintf(fd, sizeof fd, "%d", board_fd);
    fflush(NULL);
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/proc/self/exe", "stranger", MARK, role, arg, fd, (char *)NULL);
        _exit(103);
    }
    ck_assert_msg(pid > 0, "vfork: %s", strerror(errno));
    return pid;
}

int kt_in_stranger(const char *role, const char *arg)
{
    return kt_wait(kt_stranger(role, arg));
}

const char *kt_name(const char *what)
{
    static char name[32];
    snprintf(name, sizeof name, "t%d.%.18s", (int)getpid(), what);
    return name;
}

int kt_board_fd(void)
{
    return board_fd;
}
