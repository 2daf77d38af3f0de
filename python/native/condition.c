/* SPDX-License-Identifier: MIT
 * Condition over a Lock or an RLock of this module. */
#include "native.h"

struct condition {
    struct kinpy_object base;
    PyObject *lock;
};

static int use_lock(struct condition *condition, PyObject *lock, struct kin_condition_opts *opts)
{
    if (PyObject_TypeCheck(lock, kinpy_type(condition->base.state->lock)))
        opts->lock = kinpy_handle(lock);
    else if (PyObject_TypeCheck(lock, kinpy_type(condition->base.state->rlock)))
        opts->rlock = kinpy_handle(lock);
    else
        PyErr_Format(PyExc_TypeError,
                     "the lock of a condition is a Lock or RLock of kin, not %.80s",
                     Py_TYPE(lock)->tp_name);
    return PyErr_Occurred() ? -1 : 0;
}

static int init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"lock", "name", "arena", NULL};
    PyObject *lock;
    struct kinpy_place place = {0};
    struct kin_arena *arena;
    struct condition *condition = (struct condition *)self;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|zK", (char **)keywords, &lock, &place.name,
                                     &place.arena) ||
        kinpy_begin_init(self, &place, &arena) < 0)
        return -1;
    struct kin_condition_opts opts = {.size = sizeof opts};
    if (use_lock(condition, lock, &opts) < 0)
        return -1;
    struct kin_condition *handle = NULL;
    int r = place.name == NULL ? kin_condition_create(arena, &opts, &handle)
                               : kin_condition_open(arena, place.name, &opts, &handle);
    condition->base.handle = handle;
    if (r == 0)
        condition->lock = Py_NewRef(lock);
    return kinpy_end_init(r);
}

/* _open(arena, key, lock) */
static PyObject *open_method(PyObject *self, PyObject *args)
{
    unsigned long long id;
    unsigned key;
    PyObject *lock;
    struct kin_arena *arena;
    struct condition *condition = (struct condition *)self;
    if (!PyArg_ParseTuple(args, "KIO", &id, &key, &lock))
        return NULL;
    int64_t position = kinpy_begin_open(self, id, key, &arena);
    struct kin_condition_opts opts = {.size = sizeof opts};
    if (position < 0 || use_lock(condition, lock, &opts) < 0)
        return NULL;
    struct kin_condition *handle = NULL;
    int r = kin_condition_inherit(arena, (uint32_t)position, &opts, &handle);
    if (r < 0)
        return kinpy_open_failed(self, r);
    condition->base.handle = handle;
    condition->lock = Py_NewRef(lock);
    Py_RETURN_NONE;
}

static void destroy(void *handle)
{
    kin_condition_destroy(handle);
}

static void dealloc(PyObject *self)
{
    PyObject *lock = ((struct condition *)self)->lock;
    PyObject_GC_UnTrack(self);
    kinpy_dealloc(self, destroy); /* first: it names the lock */
    Py_XDECREF(lock);
}

static int64_t call(void *arg, kin_deadline deadline)
{
    return kin_condition_wait(arg, deadline);
}

/* Slices lose no notification: between two of them this thread holds the lock, without which nobody
 * may notify. */
static PyObject *wait_told(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    kin_deadline deadline;
    struct kin_condition *condition = kinpy_handle(self);
    if (condition == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|O", (char **)keywords, &timeout) ||
        !kinpy_deadline(timeout, &deadline))
        return NULL;
    int64_t r = kinpy_wait(call, condition, deadline);
    if (r >= 0)
        Py_RETURN_TRUE;
    if (r == -ETIMEDOUT)
        Py_RETURN_FALSE;
    if (r == -EPERM)
        return PyErr_Format(PyExc_AssertionError, "must acquire() condition before using wait()");
    return kinpy_raise(r);
}

static PyObject *told(int r)
{
    if (r >= 0)
        Py_RETURN_NONE;
    return r == -EPERM ? PyErr_Format(PyExc_AssertionError, "lock is not owned") : kinpy_raise(r);
}

static PyObject *notify(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"n", NULL};
    Py_ssize_t count = 1;
    struct kin_condition *condition = kinpy_handle(self);
    if (condition == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|n", (char **)keywords, &count))
        return NULL;
    if (count > UINT32_MAX)
        count = UINT32_MAX;
    if (count <= 0)
        Py_RETURN_NONE;
    return told(kin_condition_notify(condition, (uint32_t)count));
}

static PyObject *notify_all(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_condition *condition = kinpy_handle(self);
    return condition == NULL ? NULL : told(kin_condition_notify_all(condition));
}

static PyObject *waiting(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_condition *condition = kinpy_handle(self);
    return condition == NULL ? NULL : kinpy_count(kin_condition_waiting(condition));
}

static PyMethodDef methods[] = {
    {"_open", open_method, METH_VARARGS, NULL},
    {"wait", (PyCFunction)(void (*)(void))wait_told, METH_VARARGS | METH_KEYWORDS,
     "wait($self, timeout=None)\n--\n\nRelease the lock, wait to be notified, acquire it again."},
    {"notify", (PyCFunction)(void (*)(void))notify, METH_VARARGS | METH_KEYWORDS,
     "notify($self, n=1)\n--\n\nWake the n that wait longest."},
    {"notify_all", notify_all, METH_NOARGS, "notify_all($self)\n--\n\nWake all who wait."},
    {"_waiting", waiting, METH_NOARGS, "_waiting($self)\n--\n\nHow many wait."},
    {0},
};

/* A lock of a subclass may know its condition. It cannot be let go before the handle, which names
 * it; its own members can. */
static int traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct condition *)self)->lock);
    return 0;
}

static PyType_Slot slots[] = {
    {Py_tp_doc, "Wait, with a lock released meanwhile, until another one says that it changed."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, init},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec kinpy_condition_spec = {
    .name = "kin._kin.Condition",
    .basicsize = sizeof(struct condition),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};
