/* SPDX-License-Identifier: MIT
 * Items as bytes. What is made of None, bool, int, float, str, bytes, tuple, list and dict, and
 * short, goes in a form of our own, which is a few stores; all else is pickled.
 *
 *   0xff (no pickle begins so), then a value:
 *     N T F                 None, True, False
 *     i 8 bytes             int64_t
 *     f 8 bytes             double
 *     a n, n bytes          str of ASCII
 *     u n, n bytes          str in UTF-8
 *     b n, n bytes          bytes
 *     t n, l n, d n         tuple, list of n values, dict of n pairs
 *   n: 1 byte; if that is 255, 4 bytes more
 *
 * Lengths are checked where they are read: another process wrote them. Only exact types: nothing of
 * the item's own runs, so nothing can change it meanwhile. A list or dict that is met twice would
 * come out as two: such items are pickled. */
#include "native.h"

#include <string.h>

#define MARK     0xff
#define DEPTH    6
#define CHANGERS 32 /* lists and dicts in one item */

/* --- write ---------------------------------------------------------------------------------- */

struct writer {
    unsigned char *at, *end;
    uint32_t changers_count;
    PyObject *changers[CHANGERS];
};

static int write_value(struct writer *w, PyObject *item, int depth);

static int write_length(struct writer *w, unsigned char tag, Py_ssize_t n, size_t follows)
{
    if ((size_t)(w->end - w->at) < 6 || follows > (size_t)(w->end - w->at) - 6)
        return 0;
    *w->at++ = tag;
    *w->at++ = n < 255 ? (unsigned char)n : 255;
    if (n >= 255) {
        uint32_t n32 = (uint32_t)n;
        memcpy(w->at, &n32, sizeof n32);
        w->at += sizeof n32;
    }
    return 1;
}

static int write_run(struct writer *w, unsigned char tag, const void *data, Py_ssize_t n)
{
    if (!write_length(w, tag, n, (size_t)n))
        return 0;
    memcpy(w->at, data, (size_t)n);
    w->at += n;
    return 1;
}

static int write_word(struct writer *w, unsigned char tag, const void *word)
{
    if (w->end - w->at < 9)
        return 0;
    *w->at++ = tag;
    memcpy(w->at, word, 8);
    w->at += 8;
    return 1;
}

static int write_int(struct writer *w, PyObject *item)
{
    int overflow;
    int64_t number = PyLong_AsLongLongAndOverflow(item, &overflow);
    return overflow == 0 && write_word(w, 'i', &number);
}

static int write_str(struct writer *w, PyObject *item)
{
    if (PyUnicode_IS_COMPACT_ASCII(item))
        return write_run(w, 'a', PyUnicode_1BYTE_DATA(item), PyUnicode_GET_LENGTH(item));
    if (PyUnicode_GET_LENGTH(item) > w->end - w->at)
        return 0; /* nothing is cached in long ones */
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(item, &n);
    if (text == NULL) /* surrogates */
        PyErr_Clear();
    return text != NULL && write_run(w, 'u', text, n);
}

static int write_tuple(struct writer *w, PyObject *item, int depth)
{
    Py_ssize_t n = PyTuple_GET_SIZE(item);
    if (depth == 0 || !write_length(w, 't', n, 0))
        return 0;
    for (Py_ssize_t i = 0; i < n; i++)
        if (!write_value(w, PyTuple_GET_ITEM(item, i), depth - 1))
            return 0;
    return 1;
}

#ifndef Py_GIL_DISABLED /* another thread could change them */
static int is_new(struct writer *w, PyObject *item)
{
    for (uint32_t i = 0; i < w->changers_count; i++)
        if (w->changers[i] == item)
            return 0;
    if (w->changers_count == CHANGERS)
        return 0;
    w->changers[w->changers_count++] = item;
    return 1;
}

static int write_list(struct writer *w, PyObject *item, int depth)
{
    Py_ssize_t n = PyList_GET_SIZE(item);
    if (depth == 0 || !is_new(w, item) || !write_length(w, 'l', n, 0))
        return 0;
    for (Py_ssize_t i = 0; i < n; i++)
        if (!write_value(w, PyList_GET_ITEM(item, i), depth - 1))
            return 0;
    return 1;
}

static int write_dict(struct writer *w, PyObject *item, int depth)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (depth == 0 || !is_new(w, item) || !write_length(w, 'd', PyDict_GET_SIZE(item), 0))
        return 0;
    while (PyDict_Next(item, &position, &key, &value))
        if (!write_value(w, key, depth - 1) || !write_value(w, value, depth - 1))
            return 0;
    return 1;
}
#endif

static int write_constant(struct writer *w, unsigned char tag)
{
    if (w->at == w->end)
        return 0;
    *w->at++ = tag;
    return 1;
}

static int write_value(struct writer *w, PyObject *item, int depth)
{
    if (PyLong_CheckExact(item))
        return write_int(w, item);
    if (PyUnicode_CheckExact(item))
        return write_str(w, item);
    if (PyTuple_CheckExact(item))
        return write_tuple(w, item, depth);
    if (PyBytes_CheckExact(item))
        return write_run(w, 'b', PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item));
    if (PyFloat_CheckExact(item)) {
        double number = PyFloat_AS_DOUBLE(item);
        return write_word(w, 'f', &number);
    }
    if (item == Py_None || item == Py_True || item == Py_False)
        return write_constant(w, item == Py_None ? 'N' : item == Py_True ? 'T' : 'F');
#ifndef Py_GIL_DISABLED
    if (PyList_CheckExact(item))
        return write_list(w, item, depth);
    if (PyDict_CheckExact(item))
        return write_dict(w, item, depth);
#endif
    return 0;
}

size_t kinpy_write_item(PyObject *item, void *buffer, size_t room)
{
    struct writer w;
    w.at = buffer;
    w.end = w.at + room;
    w.changers_count = 0;
    *w.at++ = MARK;
    return write_value(&w, item, DEPTH) ? (size_t)(w.at - (unsigned char *)buffer) : 0;
}

/* --- read ----------------------------------------------------------------------------------- */

struct reader {
    const unsigned char *at, *end;
};

static PyObject *damaged(void)
{
    PyErr_SetString(PyExc_ValueError, "the item is damaged");
    return NULL;
}

/* least: how many bytes each of the n takes at least. */
static int read_length(struct reader *r, size_t least, size_t *ret_n)
{
    if (r->at == r->end)
        return 0;
    *ret_n = *r->at++;
    if (*ret_n == 255) {
        uint32_t n32;
        if (r->end - r->at < 4)
            return 0;
        memcpy(&n32, r->at, sizeof n32);
        r->at += sizeof n32;
        *ret_n = n32;
    }
    return *ret_n <= (size_t)(r->end - r->at) / least;
}

static PyObject *read_value(struct reader *r, int depth);

static PyObject *read_run(struct reader *r, unsigned char tag)
{
    size_t n;
    if (!read_length(r, 1, &n))
        return damaged();
    const char *data = (const char *)r->at;
    r->at += n;
    if (tag == 'b')
        return PyBytes_FromStringAndSize(data, (Py_ssize_t)n);
    return PyUnicode_DecodeUTF8(data, (Py_ssize_t)n, NULL); /* quick if it is ASCII */
}

static PyObject *read_word(struct reader *r, unsigned char tag)
{
    if (r->end - r->at < 8)
        return damaged();
    int64_t number;
    double real;
    memcpy(&number, r->at, 8);
    memcpy(&real, r->at, 8);
    r->at += 8;
    return tag == 'i' ? PyLong_FromLongLong(number) : PyFloat_FromDouble(real);
}

static PyObject *read_row(struct reader *r, unsigned char tag, int depth)
{
    size_t n;
    if (!read_length(r, 1, &n))
        return damaged();
    PyObject *row = tag == 't' ? PyTuple_New((Py_ssize_t)n) : PyList_New((Py_ssize_t)n);
    for (size_t i = 0; row != NULL && i < n; i++) {
        PyObject *value = read_value(r, depth);
        if (value == NULL)
            Py_CLEAR(row);
        else if (tag == 't')
            PyTuple_SET_ITEM(row, (Py_ssize_t)i, value);
        else
            PyList_SET_ITEM(row, (Py_ssize_t)i, value);
    }
    return row;
}

static PyObject *read_dict(struct reader *r, int depth)
{
    size_t n;
    if (!read_length(r, 2, &n))
        return damaged();
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict != NULL && i < n; i++) {
        PyObject *key = read_value(r, depth);
        PyObject *value = key == NULL ? NULL : read_value(r, depth);
        if (value == NULL || PyDict_SetItem(dict, key, value) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *read_value(struct reader *r, int depth)
{
    if (r->at == r->end || depth < 0)
        return damaged();
    unsigned char tag = *r->at++;
    switch (tag) {
    case 'i':
    case 'f':
        return read_word(r, tag);
    case 'a':
    case 'u':
    case 'b':
        return read_run(r, tag);
    case 't':
    case 'l':
        return read_row(r, tag, depth - 1);
    case 'd':
        return read_dict(r, depth - 1);
    case 'N':
        Py_RETURN_NONE;
    case 'T':
        Py_RETURN_TRUE;
    case 'F':
        Py_RETURN_FALSE;
    default:
        return damaged();
    }
}

/* --- pickles -------------------------------------------------------------------------------- */

/* A short one is copied into bytes, which is quicker than a view that has to be released. */
static PyObject *unpickle(struct kinpy_state *state, const void *data, size_t bytes)
{
    if (bytes <= KINPY_SHORT) {
        PyObject *copy = PyBytes_FromStringAndSize(data, (Py_ssize_t)bytes);
        PyObject *item = copy == NULL ? NULL : PyObject_CallOneArg(state->loads, copy);
        Py_XDECREF(copy);
        return item;
    }
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)bytes, PyBUF_READ);
    if (view == NULL)
        return NULL;
    PyObject *item = PyObject_CallOneArg(state->loads, view);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *released = PyObject_CallMethod(view, "release", NULL);
    if (released == NULL)
        PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    Py_XDECREF(released);
    Py_DECREF(view);
    return item;
}

PyObject *kinpy_read_item(struct kinpy_state *state, const void *data, size_t bytes)
{
    struct reader r = {.at = data, .end = (const unsigned char *)data + bytes};
    if (kinpy_is_frame(data, bytes))
        return kinpy_read_frame(state, data, bytes);
    if (bytes == 0 || *r.at != MARK)
        return unpickle(state, data, bytes);
    r.at++;
    PyObject *item = read_value(&r, DEPTH + 1);
    if (item != NULL && r.at != r.end) {
        Py_DECREF(item);
        return damaged();
    }
    return item;
}

size_t kinpy_head_of_bytes(Py_ssize_t n, unsigned char ret_head[KINPY_HEAD])
{
    uint32_t n32 = (uint32_t)n;
    ret_head[0] = MARK;
    ret_head[1] = 'b';
    ret_head[2] = 255;
    memcpy(ret_head + 3, &n32, sizeof n32);
    return KINPY_HEAD;
}

/* ForkingPickler takes no keywords: it is made, and then told of the buffers. */
static PyObject *make_pickler(struct kinpy_state *state, PyObject *buffer, PyObject *collect)
{
    PyObject *pickler = PyObject_CallOneArg(state->new_pickler, buffer);
    PyObject *table = pickler == NULL ? NULL : PyObject_GetAttrString(pickler, "dispatch_table");
    PyObject *args = table == NULL ? NULL : Py_BuildValue("OOi", pickler, buffer, 5);
    PyObject *more = args == NULL ? NULL : Py_BuildValue("{sO}", "buffer_callback", collect);
    PyObject *done = more == NULL ? NULL : PyObject_Call(state->init_pickler, args, more);
    if (done == NULL || PyObject_SetAttrString(pickler, "dispatch_table", table) < 0)
        Py_CLEAR(pickler);
    Py_XDECREF(done);
    Py_XDECREF(more);
    Py_XDECREF(args);
    Py_XDECREF(table);
    return pickler;
}

static PyObject *call(PyObject *object, const char *method, PyObject *argument)
{
    PyObject *name = PyUnicode_InternFromString(method);
    PyObject *result = name == NULL       ? NULL
                       : argument == NULL ? PyObject_CallMethodNoArgs(object, name)
                                          : PyObject_CallMethodOneArg(object, name, argument);
    Py_XDECREF(name);
    return result;
}

/* Into an empty buffer. */
static PyObject *dump(PyObject *pickler, PyObject *buffer, PyObject *item)
{
    PyObject *results[3] = {NULL}, *pickle = NULL, *zero = PyLong_FromLong(0);
    if (zero != NULL && (results[0] = call(buffer, "seek", zero)) != NULL &&
        (results[1] = call(buffer, "truncate", NULL)) != NULL &&
        (results[2] = call(pickler, "dump", item)) != NULL)
        pickle = call(buffer, "getvalue", NULL);
    Py_XDECREF(zero);
    for (int i = 0; i < 3; i++)
        Py_XDECREF(results[i]);
    return pickle;
}

/* apart: the list of the long buffers. */
static void hand_over(PyObject *apart, PyObject **ret_buffers)
{
    if (PyList_GET_SIZE(apart) > 0)
        *ret_buffers = Py_NewRef(apart);
}

/* With a pickler of its own. */
static PyObject *pickle_alone(struct kinpy_state *state, PyObject *item, PyObject **ret_buffers)
{
    if (ret_buffers == NULL)
        return PyObject_CallOneArg(state->dumps, item);
    PyObject *apart = PyList_New(0);
    PyObject *collect = apart == NULL ? NULL : kinpy_collector(apart);
    PyObject *buffer = collect == NULL ? NULL : PyObject_CallNoArgs(state->new_buffer);
    PyObject *pickler = buffer == NULL ? NULL : make_pickler(state, buffer, collect);
    PyObject *pickle = pickler == NULL ? NULL : dump(pickler, buffer, item);
    if (pickle != NULL)
        hand_over(apart, ret_buffers);
    Py_XDECREF(pickler);
    Py_XDECREF(buffer);
    Py_XDECREF(collect);
    Py_XDECREF(apart);
    return pickle;
}

/* A pickler is used again, since to make one costs more than to use it; until somebody registers
 * another function for a type, for it has a copy of those. */
static int is_current(struct kinpy_state *state)
{
    return state->pickler != NULL &&
           PyObject_RichCompareBool(state->seen_reducers, state->reducers, Py_EQ) == 1 &&
           PyObject_RichCompareBool(state->seen_copyreg, state->copyreg, Py_EQ) == 1;
}

static int renew(struct kinpy_state *state)
{
    Py_CLEAR(state->pickler);
    Py_XSETREF(state->seen_reducers, PyDict_Copy(state->reducers));
    if (state->seen_reducers != NULL)
        Py_XSETREF(state->seen_copyreg, PyDict_Copy(state->copyreg));
    if (state->seen_reducers == NULL || state->seen_copyreg == NULL)
        return 0;
    Py_XSETREF(state->buffer, PyObject_CallNoArgs(state->new_buffer));
    if (state->buffer != NULL)
        state->pickler = make_pickler(state, state->buffer, state->collect);
    return state->pickler != NULL;
}

PyObject *kinpy_pickle(struct kinpy_state *state, PyObject *item, PyObject **ret_buffers)
{
    if (ret_buffers != NULL)
        *ret_buffers = NULL;
    if (atomic_exchange(&state->is_pickling, 1)) /* another thread, or what item calls */
        return pickle_alone(state, item, ret_buffers);
    PyObject *pickle = NULL;
    state->apart = ret_buffers == NULL ? NULL : PyList_New(0);
    if ((ret_buffers == NULL || state->apart != NULL) &&
        (is_current(state) || (!PyErr_Occurred() && renew(state))))
        pickle = dump(state->pickler, state->buffer, item);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    /* Not with what is left of a failure in it, and not with much memory. */
    if (pickle == NULL || PyBytes_GET_SIZE(pickle) > KINPY_SHORT)
        Py_CLEAR(state->pickler);
    else
        Py_XDECREF(call(state->pickler, "clear_memo", NULL)); /* it keeps the item's parts */
    if (pickle != NULL && state->apart != NULL)
        hand_over(state->apart, ret_buffers);
    Py_CLEAR(state->apart);
    PyErr_Restore(type, value, traceback);
    atomic_store(&state->is_pickling, 0);
    return pickle;
}

PyObject *kinpy_pack(PyObject *module, PyObject *item)
{
    char buffer[KINPY_SHORT];
    size_t bytes = kinpy_write_item(item, buffer, sizeof buffer);
    return bytes > 0 ? PyBytes_FromStringAndSize(buffer, (Py_ssize_t)bytes)
                     : kinpy_pickle(PyModule_GetState(module), item, NULL);
}

/* What put_many sends of an item: bytes, or its pickle and a list of its long buffers. */
PyObject *kinpy_pack_apart(PyObject *module, PyObject *item)
{
    char buffer[KINPY_SHORT];
    size_t bytes = kinpy_write_item(item, buffer, sizeof buffer);
    if (bytes > 0)
        return PyBytes_FromStringAndSize(buffer, (Py_ssize_t)bytes);
    PyObject *buffers, *pickle = kinpy_pickle(PyModule_GetState(module), item, &buffers);
    return pickle == NULL || buffers == NULL ? pickle : Py_BuildValue("NN", pickle, buffers);
}

/* The item that pack wrote. */
PyObject *kinpy_unpack(PyObject *module, PyObject *packed)
{
    Py_buffer view;
    if (PyObject_GetBuffer(packed, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *item = kinpy_read_item(PyModule_GetState(module), view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return item;
}
