/* SPDX-License-Identifier: MIT
 * Programs that are no relatives: the test program itself, executed anew. Nothing of kin comes with
 * them; what they have to say they write into memory that test and strangers map (an inherited
 * descriptor of a memory file that has nothing to do with kin). */
#ifndef KT_STRANGER_H
#define KT_STRANGER_H

#include <stddef.h>
#include <sys/types.h>

typedef int (*kt_stranger_fn)(void *board, const char *arg);

struct kt_role {
    const char *name;
    kt_stranger_fn run;
};

/* First thing in main: if this is a stranger, play its role and leave. roles end with a NULL. */
void kt_stranger_main(int argc, char **argv, const struct kt_role *roles, size_t board_bytes);
/* Zeroed memory that all strangers started from here on see. */
void *kt_board(size_t bytes);
void kt_board_close(void *board, size_t bytes);
int kt_board_fd(void);
/* Start a stranger; wait for it with kt_wait. */
pid_t kt_stranger(const char *role, const char *arg);
int kt_in_stranger(const char *role, const char *arg);
/* A name that no other test uses at the same time. */
const char *kt_name(const char *what);

#endif
