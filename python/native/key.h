/* SPDX-License-Identifier: MIT
 * What items of a priority queue are sorted by. */
#ifndef KINPY_KEY_H
#define KINPY_KEY_H

#include "native.h"

struct kinpy_key {
    int64_t priority;
    size_t bytes;
    int depth; /* while it is made */
    unsigned char data[KINPY_SHORT];
};

/* What that value is sorted by. plain: a function that says of what is none of None, int, float,
 * str, bytes, tuple or list by which of these it is sorted, or NotImplemented. -1: an exception. */
int kinpy_key_of(PyObject *value, PyObject *plain, struct kinpy_key *ret_key);

#endif
