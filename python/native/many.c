/* SPDX-License-Identifier: MIT
 * Of a queue: many items with one call of the library. */
#include "queue.h"

#define MANY_MAX 256

struct many {
    struct kin_queue *queue;
    struct kin_item items[MANY_MAX];
    uint32_t count;
    void *buffer;
    size_t capacity;
};

static int64_t put_many_call(void *arg, kin_deadline deadline)
{
    struct many *many = arg;
    return kin_queue_put_many(many->queue, many->items, many->count, deadline);
}

/* What pack_apart made of an item with long buffers. Not of a raw queue's, which are its user's. */
static int is_apart(PyObject *self, PyObject *packed)
{
    if (!PyTuple_CheckExact(packed) || PyTuple_GET_SIZE(packed) != 2 || ((struct queue *)self)->raw)
        return 0;
    PyObject *pickle = PyTuple_GET_ITEM(packed, 0), *buffers = PyTuple_GET_ITEM(packed, 1);
    int is = PyBytes_CheckExact(pickle) && PyList_CheckExact(buffers);
    for (Py_ssize_t i = 0; is && i < PyList_GET_SIZE(buffers); i++)
        is = PyMemoryView_Check(PyList_GET_ITEM(buffers, i));
    return is;
}

/* A list of at most MANY_MAX buffers. Returns how many were put: up to one that is put alone. */
PyObject *kinpy_put_many(PyObject *self, PyObject *args)
{
    struct many many = {.queue = kinpy_open_queue(self)};
    PyObject *list, *timeout;
    int block;
    kin_deadline deadline = KIN_NOW;
    if (many.queue == NULL ||
        !PyArg_ParseTuple(args, "O!pO", &PyList_Type, &list, &block, &timeout) ||
        (block && !kinpy_deadline(timeout, &deadline)))
        return NULL;
    Py_buffer views[MANY_MAX];
    Py_ssize_t count = PyList_GET_SIZE(list);
    if (count > 0 && is_apart(self, PyList_GET_ITEM(list, 0))) {
        PyObject *done = kinpy_put_packed(self, PyList_GET_ITEM(list, 0), deadline);
        Py_XDECREF(done);
        return done == NULL ? NULL : PyLong_FromLong(1);
    }
    if (count > MANY_MAX)
        count = MANY_MAX;
    for (Py_ssize_t i = 0; i < count && i < PyList_GET_SIZE(list); i++) { /* it may be changed */
        if (is_apart(self, PyList_GET_ITEM(list, i)) ||
            PyObject_GetBuffer(PyList_GET_ITEM(list, i), &views[i], PyBUF_SIMPLE) < 0)
            break;
        many.items[i] = (struct kin_item){views[i].buf, (size_t)views[i].len};
        many.count++;
    }
    int64_t r = 0;
    ((struct queue *)self)->used = 1;
    if (!PyErr_Occurred() && many.count > 0) {
        r = put_many_call(&many, KIN_NOW);
        if ((r == -EAGAIN || r == -ETIMEDOUT) && deadline > KIN_NOW)
            r = kinpy_wait(put_many_call, &many, deadline);
    }
    for (uint32_t i = 0; i < many.count; i++)
        PyBuffer_Release(&views[i]);
    if (PyErr_Occurred())
        return NULL;
    return r < 0 ? kinpy_queue_fail(self, r, ((struct kinpy_object *)self)->state->full)
                 : PyLong_FromLongLong(r);
}

static int64_t get_many_call(void *arg, kin_deadline deadline)
{
    struct many *many = arg;
    return kin_queue_get_many(many->queue, many->items, many->count, many->buffer, many->capacity,
                              deadline);
}

static PyObject *load_many(PyObject *self, const struct many *many, int64_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (int64_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = kinpy_queue_read(self, many->items[i].data, many->items[i].bytes);
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

PyObject *kinpy_get_many(PyObject *self, PyObject *args)
{
    struct kinpy_state *state = ((struct kinpy_object *)self)->state;
    struct many many = {.queue = kinpy_open_queue(self), .capacity = 1 << 16};
    Py_ssize_t most;
    PyObject *timeout, *result = NULL;
    int block;
    kin_deadline deadline = KIN_NOW;
    if (many.queue == NULL || !PyArg_ParseTuple(args, "npO", &most, &block, &timeout) ||
        (block && !kinpy_deadline(timeout, &deadline)))
        return NULL;
    many.count = most < 1 ? 1 : most > MANY_MAX ? MANY_MAX : (uint32_t)most;
    many.buffer = PyMem_RawMalloc(many.capacity);
    if (many.buffer == NULL)
        return PyErr_NoMemory();
    int64_t r = get_many_call(&many, KIN_NOW);
    if ((r == -EAGAIN || r == -ETIMEDOUT) && deadline > KIN_NOW)
        r = kinpy_wait(get_many_call, &many, deadline);
    if (r == -EMSGSIZE) { /* a long one: alone */
        PyObject *item = kinpy_queue_get(self, deadline);
        result = item == NULL ? NULL : Py_BuildValue("[N]", item);
    } else
        result = r < 0 ? kinpy_queue_fail(self, r, state->empty) : load_many(self, &many, r);
    PyMem_RawFree(many.buffer);
    return result;
}
