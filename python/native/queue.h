/* SPDX-License-Identifier: MIT
 * What the files of the queue share. */
#ifndef KINPY_QUEUE_H
#define KINPY_QUEUE_H

#include "native.h"

struct queue {
    struct kinpy_object base;
    PyObject *closed; /* what put and get raise after close; or NULL */
    int raw;          /* items are bytes, as programs in C see them */
    int used;         /* something was put here: only then does close hinder empty() */
    void *task;       /* taken and not done; see take_task */
    size_t task_bytes;
    struct kin_ready *ready; /* behind _fileno(), made on demand */
    pid_t ready_pid;         /* who made it: it is good there only */
};

/* The handle of a queue that is not closed; NULL with an exception. */
struct kin_queue *kinpy_open_queue(PyObject *self);
/* -EAGAIN and -ETIMEDOUT as the exception given; a shut down queue as ShutDown. */
PyObject *kinpy_queue_fail(PyObject *self, int64_t r, PyObject *in_time);
/* The item of a message; the next item. */
PyObject *kinpy_queue_read(PyObject *self, const void *data, size_t bytes);
PyObject *kinpy_queue_get(PyObject *self, kin_deadline deadline);

/* Put what pack made of an item with long buffers. */
PyObject *kinpy_put_packed(PyObject *self, PyObject *packed, kin_deadline deadline);

/* Methods: many.c. */
PyObject *kinpy_put_many(PyObject *self, PyObject *args);
PyObject *kinpy_get_many(PyObject *self, PyObject *args);

#endif
