/* SPDX-License-Identifier: MIT
 * What is to be done: the input files, and how they are cut into parts. */
#ifndef BEHAVIOUR_PLAN_H
#define BEHAVIOUR_PLAN_H

#include <stddef.h>
#include <stdint.h>

/* One input file. */
struct input {
    const char *path;
    uint64_t bytes;
};

/* A range of bytes of a file; its records are those that begin in it. */
struct part {
    uint32_t input; /* its index */
    uint64_t begin, end;
};

struct plan {
    struct input *inputs;
    size_t inputs_count;
    struct part *parts; /* in the order of the input */
    size_t parts_count;
    uint64_t bytes; /* of all inputs */
};

/* Look at every file, and make sure that it can be read. An error is named on standard error.
 * Free with plan_free in either case. */
int plan_init(struct plan *plan, char *const *paths, size_t paths_count);
void plan_free(struct plan *plan);

/* Cut the input into so many parts for so many workers, shared among the files by size. There are
 * more when there are more files that are not empty, fewer when there are fewer bytes. 0 or
 * -ENOMEM. */
int plan_cut(struct plan *plan, uint64_t parts_count, uint64_t workers_count);

#endif
