/* SPDX-License-Identifier: MIT
 * Semaphore, bounded or not: permits of the dead come back. */
#include "native.h"

static int init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"value", "bounded", "name", "arena", NULL};
    int value = 1, bounded = 0;
    struct kinpy_place place = {0};
    struct kin_arena *arena;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|ipzK", (char **)keywords, &value, &bounded,
                                     &place.name, &place.arena) ||
        kinpy_begin_init(self, &place, &arena) < 0)
        return -1;
    if (value < 0) { /* as sem_open answers */
        PyObject *arguments = Py_BuildValue("is", EINVAL, "the value of a semaphore is negative");
        if (arguments != NULL)
            PyErr_SetObject(PyExc_OSError, arguments);
        Py_XDECREF(arguments);
        return -1;
    }
    if (value > (int)KIN_SEMAPHORE_MAX) /* the standard library's SEM_VALUE_MAX means: no bound */
        value = KIN_SEMAPHORE_MAX;
    struct kin_semaphore_opts opts = {.size = sizeof opts, .bounded = (uint32_t)bounded};
    struct kin_semaphore *semaphore = NULL;
    int r = place.name == NULL
                ? kin_semaphore_create(arena, (uint32_t)value, &opts, &semaphore)
                : kin_semaphore_open(arena, place.name, (uint32_t)value, &opts, &semaphore);
    ((struct kinpy_object *)self)->handle = semaphore;
    return kinpy_end_init(r);
}

static void destroy(void *handle)
{
    kin_semaphore_destroy(handle);
}

static void dealloc(PyObject *self)
{
    kinpy_dealloc(self, destroy);
}

static int64_t call(void *arg, kin_deadline deadline)
{
    return kin_semaphore_acquire(arg, deadline);
}

static PyObject *take(struct kin_semaphore *semaphore, kin_deadline deadline)
{
    if (semaphore == NULL)
        return NULL;
    int64_t r = kin_semaphore_try_acquire(semaphore);
    if (r == -EAGAIN && deadline > KIN_NOW)
        r = kinpy_wait(call, semaphore, deadline);
    if (r >= 0)
        Py_RETURN_TRUE;
    if (r == -EAGAIN || r == -ETIMEDOUT)
        Py_RETURN_FALSE;
    return kinpy_raise(r);
}

static PyObject *acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    kin_deadline deadline;
    if (!kinpy_block_timeout(args, nargs, kwnames, &deadline))
        return NULL;
    return take(kinpy_handle(self), deadline);
}

static PyObject *enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return take(kinpy_handle(self), KIN_NEVER);
}

static PyObject *released(int r)
{
    if (r == 0)
        Py_RETURN_NONE;
    if (r == -EOVERFLOW)
        return PyErr_Format(PyExc_ValueError, "semaphore or lock released too many times");
    return kinpy_raise(r);
}

static PyObject *release(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_semaphore *semaphore = kinpy_handle(self);
    return semaphore == NULL ? NULL : released(kin_semaphore_release(semaphore));
}

static PyObject *release_many(PyObject *self, PyObject *count)
{
    struct kin_semaphore *semaphore = kinpy_handle(self);
    unsigned long n = PyLong_AsUnsignedLong(count);
    if (semaphore == NULL || PyErr_Occurred())
        return NULL;
    return released(n > UINT32_MAX ? -EOVERFLOW
                                   : kin_semaphore_release_many(semaphore, (uint32_t)n));
}

static PyObject *leave(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return release(self, NULL);
}

static PyObject *get_value(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_semaphore *semaphore = kinpy_handle(self);
    return semaphore == NULL ? NULL : kinpy_count(kin_semaphore_value(semaphore));
}

static PyObject *locked(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_semaphore *semaphore = kinpy_handle(self);
    return semaphore == NULL ? NULL : PyBool_FromLong(kin_semaphore_value(semaphore) == 0);
}

static PyObject *abandoned(PyObject *self, void *unused)
{
    (void)unused;
    struct kin_semaphore *semaphore = kinpy_handle(self);
    return semaphore == NULL ? NULL : kinpy_count(kin_semaphore_abandoned(semaphore));
}

KINPY_OPEN(open_method, struct kin_semaphore, kin_semaphore_inherit)

static PyMethodDef methods[] = {
    {"_open", open_method, METH_VARARGS, NULL},
    {"acquire", (PyCFunction)(void (*)(void))acquire, METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, block=True, timeout=None)\n--\n\nTake a permit; False when the time is over."},
    {"release", release, METH_NOARGS, "release($self)\n--\n\nGive a permit back, or a new one."},
    {"_release_many", release_many, METH_O, NULL},
    {"__enter__", enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))leave, METH_FASTCALL, NULL},
    {"get_value", get_value, METH_NOARGS, "get_value($self)\n--\n\nPermits that are there now."},
    {"locked", locked, METH_NOARGS, "locked($self)\n--\n\nWhether there is no permit now."},
    {0},
};

static PyGetSetDef members[] = {
    {"abandoned", abandoned, NULL, "Permits that came back because their holders had died.", NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A number of permits; those of the dead come back."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, init},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, members},
    {0, NULL},
};

PyType_Spec kinpy_semaphore_spec = {
    .name = "kin._kin.Semaphore",
    .basicsize = sizeof(struct kinpy_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
