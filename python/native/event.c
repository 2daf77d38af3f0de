/* SPDX-License-Identifier: MIT
 * Event: a flag to wait for. */
#include "native.h"

static int init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct kinpy_place place;
    struct kin_arena *arena;
    if (!kinpy_place_only(args, kwargs, &place) || kinpy_begin_init(self, &place, &arena) < 0)
        return -1;
    struct kin_event *event = NULL;
    int r = place.name == NULL ? kin_event_create(arena, NULL, &event)
                               : kin_event_open(arena, place.name, NULL, &event);
    ((struct kinpy_object *)self)->handle = event;
    return kinpy_end_init(r);
}

static void destroy(void *handle)
{
    kin_event_destroy(handle);
}

static void dealloc(PyObject *self)
{
    kinpy_dealloc(self, destroy);
}

static PyObject *set(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_event *event = kinpy_handle(self);
    int r = event == NULL ? -EINVAL : kin_event_set(event);
    return r < 0 ? kinpy_raise(r) : Py_NewRef(Py_None);
}

static PyObject *clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_event *event = kinpy_handle(self);
    int r = event == NULL ? -EINVAL : kin_event_clear(event);
    return r < 0 ? kinpy_raise(r) : Py_NewRef(Py_None);
}

static PyObject *is_set(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_event *event = kinpy_handle(self);
    return event == NULL ? NULL : PyBool_FromLong(kin_event_is_set(event) == 1);
}

static int64_t call(void *arg, kin_deadline deadline)
{
    return kin_event_wait(arg, deadline);
}

static PyObject *wait_set(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    kin_deadline deadline;
    struct kin_event *event = kinpy_handle(self);
    if (event == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|O", (char **)keywords, &timeout) ||
        !kinpy_deadline(timeout, &deadline))
        return NULL;
    int64_t r = kin_event_wait(event, KIN_NOW);
    if (r == -ETIMEDOUT && deadline > KIN_NOW)
        r = kinpy_wait(call, event, deadline);
    if (r == 0)
        Py_RETURN_TRUE;
    if (r == -ETIMEDOUT)
        Py_RETURN_FALSE;
    return kinpy_raise(r);
}

KINPY_OPEN(open_method, struct kin_event, kin_event_inherit)

static PyMethodDef methods[] = {
    {"_open", open_method, METH_VARARGS, NULL},
    {"set", set, METH_NOARGS, "set($self)\n--\n\nSet the flag and wake all who wait."},
    {"clear", clear, METH_NOARGS, "clear($self)\n--\n\nClear the flag."},
    {"is_set", is_set, METH_NOARGS, "is_set($self)\n--\n\nWhether the flag is set."},
    {"wait", (PyCFunction)(void (*)(void))wait_set, METH_VARARGS | METH_KEYWORDS,
     "wait($self, timeout=None)\n--\n\nWait until the flag is set; False when the time is over."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A flag that processes and threads wait for."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, init},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec kinpy_event_spec = {
    .name = "kin._kin.Event",
    .basicsize = sizeof(struct kinpy_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
