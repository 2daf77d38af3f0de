/* SPDX-License-Identifier: MIT
 * Items with long buffers (arrays of numpy, and whatever else gives pickle a PickleBuffer): these
 * are not pickled, but copied once, from where they lie into the message. Who gets the item has
 * them there: the message becomes an array of the arena, which is there until the last view of it
 * is gone, in this process and in those that it forks meanwhile. From a pipe they are copied out
 * once, with the message, into memory that the item keeps.
 *
 *   +0               0xfe, count, where the pickle is: struct frame
 *   +KIN_ARRAY_HEAD  count times: where a buffer is, and its bytes
 *                    the pickle; the buffers, each from a multiple of 64 on
 *
 * What a frame says is compared with its length: another process wrote it. */
#include "native.h"

#include <stdlib.h>
#include <string.h>

#include <kin/array.h>

#define MARK         0xfe /* neither a pickle nor an item of our own form begins so */
#define APART_LEAST  32768
#define BUFFERS_MOST 4096

struct part {
    uint64_t at, bytes;
};

struct frame {
    unsigned char mark, reserved[3];
    uint32_t count;
    struct part pickle;
};

/* --- collect -------------------------------------------------------------------------------- */

/* A view of our own: whoever gave the PickleBuffer may release that. Of a copy, if its owner is a
 * class of Python, whose memory is lent only once. */
static PyObject *view_apart(PyObject *buffer)
{
    PyObject *view = PyMemoryView_FromObject(buffer);
    if (view != NULL || PyErr_ExceptionMatches(PyExc_MemoryError))
        return view;
    PyErr_Clear();
    const Py_buffer *given = PyPickleBuffer_GetBuffer(buffer);
    PyObject *copy = given == NULL ? NULL : PyBytes_FromStringAndSize(given->buf, given->len);
    view = copy == NULL ? NULL : PyMemoryView_FromObject(copy);
    Py_XDECREF(copy);
    return view;
}

/* Asked by a pickler: true if the buffer is to be in the pickle. apart: NULL if all are. */
static PyObject *collect(PyObject *apart, PyObject *buffer)
{
    const Py_buffer *given = PyPickleBuffer_GetBuffer(buffer);
    if (given == NULL)
        return NULL;
    if (apart == NULL || given->len < APART_LEAST || !PyBuffer_IsContiguous(given, 'A') ||
        PyList_GET_SIZE(apart) == BUFFERS_MOST)
        Py_RETURN_TRUE;
    PyObject *view = view_apart(buffer);
    int r = view == NULL ? -1 : PyList_Append(apart, view);
    Py_XDECREF(view);
    return r < 0 ? NULL : Py_NewRef(Py_False);
}

static const Py_buffer *part_of(PyObject *buffers, Py_ssize_t i)
{
    return PyMemoryView_GET_BUFFER(PyList_GET_ITEM(buffers, i));
}

PyObject *kinpy_collect(PyObject *module, PyObject *buffer)
{
    struct kinpy_state *state = PyModule_GetState(module);
    return collect(state->apart, buffer);
}

PyObject *kinpy_collector(PyObject *apart)
{
    static PyMethodDef method = {"collect", collect, METH_O, NULL};
    return PyCFunction_New(&method, apart);
}

/* --- write ---------------------------------------------------------------------------------- */

static uint64_t table_end(uint64_t count)
{
    return KIN_ARRAY_HEAD + count * sizeof(struct part);
}

size_t kinpy_frame_bytes(PyObject *pickle, PyObject *buffers)
{
    uint64_t count = (uint64_t)PyList_GET_SIZE(buffers);
    uint64_t bytes = table_end(count) + (uint64_t)PyBytes_GET_SIZE(pickle);
    for (uint64_t i = 0; i < count; i++)
        bytes += 64 + (uint64_t)part_of(buffers, (Py_ssize_t)i)->len;
    return bytes;
}

/* The buffers are long: without the interpreter. The list holds them meanwhile. */
size_t kinpy_frame_write(PyObject *pickle, PyObject *buffers, char *data)
{
    struct frame frame = {.mark = MARK, .count = (uint32_t)PyList_GET_SIZE(buffers)};
    uint64_t at = frame.pickle.at = table_end(frame.count);
    frame.pickle.bytes = (uint64_t)PyBytes_GET_SIZE(pickle);
    memcpy(data + at, PyBytes_AS_STRING(pickle), frame.pickle.bytes);
    at += frame.pickle.bytes;
    for (uint32_t i = 0; i < frame.count; i++) {
        const Py_buffer *view = part_of(buffers, i);
        at += -((uintptr_t)data + at) % 64;
        struct part part = {at, (uint64_t)view->len};
        memcpy(data + KIN_ARRAY_HEAD + i * sizeof part, &part, sizeof part);
        Py_BEGIN_ALLOW_THREADS memcpy(data + at, view->buf, part.bytes);
        Py_END_ALLOW_THREADS at += part.bytes;
    }
    memcpy(data, &frame, sizeof frame);
    return at;
}

/* --- read ----------------------------------------------------------------------------------- */

int kinpy_is_frame(const void *data, size_t bytes)
{
    return bytes > KIN_ARRAY_HEAD && *(const unsigned char *)data == MARK;
}

static int is_within(const struct part *part, uint64_t from, uint64_t bytes)
{
    return part->at >= from && part->at <= bytes && part->bytes <= bytes - part->at;
}

static PyObject *view_of(PyObject *whole, const struct part *part)
{
    return PySequence_GetSlice(whole, (Py_ssize_t)part->at, (Py_ssize_t)(part->at + part->bytes));
}

/* The views of the buffers; NULL with an exception. */
static PyObject *views_of(PyObject *whole, const char *data, const struct frame *frame,
                          uint64_t bytes)
{
    PyObject *views = PyList_New(0);
    for (uint32_t i = 0; views != NULL && i < frame->count; i++) {
        struct part part;
        memcpy(&part, data + KIN_ARRAY_HEAD + i * sizeof part, sizeof part);
        PyObject *view = NULL;
        if (is_within(&part, table_end(frame->count), bytes))
            view = view_of(whole, &part);
        else
            PyErr_SetString(PyExc_ValueError, "the item is damaged");
        if (view == NULL || PyList_Append(views, view) < 0)
            Py_CLEAR(views);
        Py_XDECREF(view);
    }
    return views;
}

/* owner has the bytes of the frame, from its start on. */
static PyObject *read_from(struct kinpy_state *state, PyObject *owner, const char *data,
                           uint64_t bytes)
{
    struct frame frame;
    memcpy(&frame, data, sizeof frame);
    if (frame.count > BUFFERS_MOST || table_end(frame.count) > bytes ||
        !is_within(&frame.pickle, table_end(frame.count), bytes))
        return PyErr_Format(PyExc_ValueError, "the item is damaged");
    PyObject *whole = PyMemoryView_FromObject(owner);
    PyObject *views = whole == NULL ? NULL : views_of(whole, data, &frame, bytes);
    PyObject *pickle = views == NULL ? NULL : view_of(whole, &frame.pickle);
    PyObject *item = NULL;
    if (pickle != NULL) {
        PyObject *names = Py_BuildValue("(s)", "buffers"), *args[] = {pickle, views};
        if (names != NULL)
            item = PyObject_Vectorcall(state->loads, args, 1, names);
        Py_XDECREF(names);
    }
    Py_XDECREF(pickle);
    Py_XDECREF(views);
    Py_XDECREF(whole);
    return item;
}

PyObject *kinpy_read_frame(struct kinpy_state *state, const void *data, size_t bytes)
{
    PyObject *copy = PyByteArray_FromStringAndSize(data, (Py_ssize_t)bytes);
    PyObject *item =
        copy == NULL ? NULL : read_from(state, copy, PyByteArray_AS_STRING(copy), bytes);
    Py_XDECREF(copy);
    return item;
}

/* --- in place ------------------------------------------------------------------------------- */

struct message {
    struct kinpy_object base; /* handle: the array, once it is one */
    PyObject *queue;          /* whose reserved memory it is; NULL: it is an array, or allocated */
    void *allocated;          /* what was received; or NULL */
    char *data;
    Py_ssize_t bytes;
};

/* The queue is done with it, also if it cannot become an array: then it is memory of this process
 * alone. */
static void own(struct message *message, struct kin_queue *queue)
{
    struct kin_array *array;
    if (kin_queue_keep(queue, message->data) < 0)
        return;
    if (kin_array_adopt(message->base.arena, message->data, (uint64_t)message->bytes, &array) ==
        0) {
        message->base.handle = array;
        Py_CLEAR(message->queue);
    }
}

PyObject *kinpy_take_frame(PyObject *queue, void *data, size_t bytes)
{
    struct kinpy_object *from = (struct kinpy_object *)queue;
    PyTypeObject *type = kinpy_type(from->state->message);
    struct message *message = (struct message *)type->tp_alloc(type, 0);
    if (message == NULL) {
        (void)!kin_queue_release(from->handle, data);
        return NULL;
    }
    message->base.state = from->state;
    message->base.arena = from->arena;
    message->queue = Py_NewRef(queue);
    message->data = data;
    message->bytes = (Py_ssize_t)bytes;
    /* It stays the queue's until it was read: who is killed meanwhile has not taken it. */
    PyObject *item = read_from(from->state, (PyObject *)message, data, bytes);
    own(message, from->handle);
    Py_DECREF(message);
    return item;
}

PyObject *kinpy_own_frame(struct kinpy_state *state, void *allocated, size_t bytes)
{
    PyTypeObject *type = kinpy_type(state->message);
    struct message *message = (struct message *)type->tp_alloc(type, 0);
    if (message == NULL) {
        free(allocated);
        return NULL;
    }
    message->base.state = state;
    message->data = message->allocated = allocated;
    message->bytes = (Py_ssize_t)bytes;
    PyObject *item = read_from(state, (PyObject *)message, allocated, bytes);
    Py_DECREF(message);
    return item;
}

static int get_buffer(PyObject *self, Py_buffer *view, int flags)
{
    struct message *message = (struct message *)self;
    return PyBuffer_FillInfo(view, self, message->data, message->bytes, 0, flags);
}

static void destroy(void *handle)
{
    kin_array_destroy(handle);
}

static void dealloc(PyObject *self)
{
    PyObject *queue = ((struct message *)self)->queue;
    if (queue != NULL)
        (void)!kin_queue_cancel(((struct kinpy_object *)queue)->handle,
                                ((struct message *)self)->data);
    free(((struct message *)self)->allocated);
    kinpy_dealloc(self, destroy);
    Py_XDECREF(queue);
}

static PyType_Slot slots[] = {
    {Py_tp_doc, "The memory of an item that was got, until nothing looks into it."},
    {Py_tp_dealloc, dealloc},
    {Py_bf_getbuffer, get_buffer},
    {0, NULL},
};

PyType_Spec kinpy_message_spec = {
    .name = "kin._kin.Message",
    .basicsize = sizeof(struct message),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
