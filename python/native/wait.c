/* SPDX-License-Identifier: MIT
 * Waiting without the interpreter, timeouts, and errors as exceptions.
 *
 * Signal handlers of Python run in the main thread only, so its waits end when a signal comes, and
 * go on when the handlers have run. A signal that comes between the look for signals and the sleep
 * is found at the end of a slice: a handler is late by that, very seldom. Other threads wait in one
 * piece. */
#include "native.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define SLICE_MS 500

int64_t kinpy_wait(kinpy_call_fn call, void *arg, kin_deadline deadline)
{
    /* Of a forked child the thread that forked is the main one, for Python as for Linux. */
    int is_main = gettid() == getpid();
    for (;;) {
        kin_deadline until = is_main ? kin_after_ms(SLICE_MS) : deadline;
        if (until > deadline)
            until = deadline;
        int64_t r;
        kin_wait_interruptible(is_main);
        Py_BEGIN_ALLOW_THREADS r = call(arg, until);
        Py_END_ALLOW_THREADS if (r != -ETIMEDOUT) return r;
        if (PyErr_CheckSignals() < 0)
            return KINPY_RAISED;
        if (until == deadline && kin_now_ns() >= deadline) /* not a signal */
            return r;
    }
}

int kinpy_deadline(PyObject *timeout, kin_deadline *ret_deadline)
{
    if (timeout == NULL || timeout == Py_None) {
        *ret_deadline = KIN_NEVER;
        return 1;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return 0;
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "the timeout is not a number (NaN)");
        return 0;
    }
    if (seconds <= 0)
        *ret_deadline = KIN_NOW;
    else if (seconds > 9e9)
        *ret_deadline = KIN_NEVER;
    else
        *ret_deadline = kin_after_ns((int64_t)(seconds * 1e9));
    return 1;
}

int kinpy_arguments(const char *const *names, Py_ssize_t count, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *kwnames, PyObject **ret_values)
{
    if (nargs > count) {
        PyErr_Format(PyExc_TypeError, "at most %zd arguments are expected, not %zd", count, nargs);
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        ret_values[i] = i < nargs ? args[i] : NULL;
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < keywords; i++) {
        PyObject *key = PyTuple_GET_ITEM(kwnames, i);
        Py_ssize_t which = 0;
        while (which < count && PyUnicode_CompareWithASCIIString(key, names[which]) != 0)
            which++;
        if (which == count || ret_values[which] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s keyword argument: %R",
                         which == count ? "unexpected" : "twice the same", key);
            return 0;
        }
        ret_values[which] = args[nargs + i];
    }
    return 1;
}

int kinpy_block_or_timeout(PyObject *block, PyObject *timeout, kin_deadline *ret_deadline)
{
    int blocks = block == NULL ? 1 : PyObject_IsTrue(block);
    if (blocks < 0 || !kinpy_deadline(timeout, ret_deadline))
        return 0;
    if (!blocks)
        *ret_deadline = KIN_NOW;
    return 1;
}

int kinpy_block_timeout_given(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                              kin_deadline *ret_deadline)
{
    static const char *const names[] = {"block", "timeout"};
    PyObject *values[2];
    return kinpy_arguments(names, 2, args, nargs, kwnames, values) &&
           kinpy_block_or_timeout(values[0], values[1], ret_deadline);
}

PyObject *kinpy_raise(int64_t error)
{
    if (error == KINPY_RAISED || PyErr_Occurred())
        return NULL;
    const char *sentence = kin_error_text();
    if (sentence[0] == '\0')
        sentence = kin_strerror((int)error);
    /* It has names in it, and may end within a letter. */
    PyObject *text = PyUnicode_DecodeUTF8(sentence, (Py_ssize_t)strlen(sentence), "replace");
    if (text == NULL)
        return NULL;
    switch (error) {
    case -ENOMEM:
        PyErr_SetObject(PyExc_MemoryError, text);
        break;
    case -ESTALE:
    case -EINVAL:
    case -EXDEV:
        PyErr_SetObject(PyExc_ValueError, text);
        break;
    case -EPROTOTYPE:
        PyErr_SetObject(PyExc_TypeError, text);
        break;
    default: {
        PyObject *arguments = Py_BuildValue("iO", (int)-error, text);
        if (arguments != NULL) /* OSError picks its subclass by the number */
            PyErr_SetObject(PyExc_OSError, arguments);
        Py_XDECREF(arguments);
    }
    }
    Py_DECREF(text);
    return NULL;
}
