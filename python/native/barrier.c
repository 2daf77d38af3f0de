/* SPDX-License-Identifier: MIT
 * Barrier: parties wait for one another. */
#include "native.h"

#include <unistd.h>

struct barrier {
    struct kinpy_object base;
    PyObject *action; /* or NULL */
    PyObject *timeout;
};

/* Runs in arrive, with the interpreter. What it raises stays raised. */
static int run_action(void *arg)
{
    struct barrier *barrier = arg;
    PyObject *result =
        barrier->action == NULL ? Py_NewRef(Py_None) : PyObject_CallNoArgs(barrier->action);
    Py_XDECREF(result);
    return result == NULL ? -ECANCELED : 0;
}

static int init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"parties", "action", "timeout", "name", "arena", NULL};
    struct barrier *barrier = (struct barrier *)self;
    Py_ssize_t parties;
    PyObject *action = Py_None, *timeout = Py_None;
    kin_deadline deadline;
    struct kinpy_place place = {0};
    struct kin_arena *arena;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n|OOzK", (char **)keywords, &parties, &action,
                                     &timeout, &place.name, &place.arena) ||
        !kinpy_deadline(timeout, &deadline))
        return -1;
    if (parties < 1 || parties > KIN_BARRIER_PARTIES_MAX) {
        PyErr_Format(PyExc_ValueError, "parties must be from 1 to %u, not %zd",
                     KIN_BARRIER_PARTIES_MAX, parties);
        return -1;
    }
    if (kinpy_begin_init(self, &place, &arena) < 0)
        return -1;
    struct kin_barrier_opts opts = {
        .size = sizeof opts, .action = run_action, .action_arg = barrier};
    struct kin_barrier *handle = NULL;
    int r = place.name == NULL
                ? kin_barrier_create(arena, (uint32_t)parties, &opts, &handle)
                : kin_barrier_open(arena, place.name, (uint32_t)parties, &opts, &handle);
    barrier->base.handle = handle;
    if (r == 0) {
        barrier->action = action == Py_None ? NULL : Py_NewRef(action);
        barrier->timeout = Py_NewRef(timeout);
    }
    return kinpy_end_init(r);
}

/* _open(arena, key, action, timeout) */
static PyObject *open_method(PyObject *self, PyObject *args)
{
    unsigned long long id;
    unsigned key;
    PyObject *action, *timeout;
    struct kin_arena *arena;
    struct kin_barrier *handle;
    struct barrier *barrier = (struct barrier *)self;
    if (!PyArg_ParseTuple(args, "KIOO", &id, &key, &action, &timeout))
        return NULL;
    int64_t position = kinpy_begin_open(self, id, key, &arena);
    if (position < 0)
        return NULL;
    int r = kin_barrier_inherit(arena, (uint32_t)position, &handle);
    if (r < 0)
        return kinpy_open_failed(self, r);
    kin_barrier_use_action(handle, run_action, barrier);
    barrier->base.handle = handle;
    barrier->action = action == Py_None ? NULL : Py_NewRef(action);
    barrier->timeout = Py_NewRef(timeout);
    Py_RETURN_NONE;
}

/* (action, timeout), for those who open it. */
static PyObject *how(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct barrier *barrier = (struct barrier *)self;
    if (kinpy_handle(self) == NULL)
        return NULL;
    return Py_BuildValue("OO", barrier->action == NULL ? Py_None : barrier->action,
                         barrier->timeout);
}

static void destroy(void *handle)
{
    kin_barrier_destroy(handle);
}

static void let_wait(void *handle)
{
    (void)handle; /* whose process ends while it waits breaks the barrier */
}

/* This process has waited here for the last time: that it ends breaks nothing. */
static PyObject *leave(PyObject *self, PyObject *unused)
{
    (void)unused;
    kinpy_close(self, let_wait, destroy);
    Py_RETURN_NONE;
}

static void dealloc(PyObject *self)
{
    PyObject *action = ((struct barrier *)self)->action;
    PyObject *timeout = ((struct barrier *)self)->timeout;
    PyObject_GC_UnTrack(self);
    kinpy_dealloc(self, destroy);
    Py_XDECREF(action);
    Py_XDECREF(timeout);
}

static PyObject *broken_now(PyObject *self)
{
    if (!PyErr_Occurred())
        PyErr_SetNone(((struct kinpy_object *)self)->state->broken_barrier);
    return NULL;
}

struct await {
    struct kin_barrier *barrier;
    uint32_t generation;
};

static int64_t call(void *arg, kin_deadline deadline)
{
    struct await *await = arg;
    return kin_barrier_await(await->barrier, await->generation, deadline);
}

static int64_t pause_call(void *arg, kin_deadline deadline)
{
    (void)arg, (void)deadline;
    usleep(1000);
    return 0;
}

/* With the interpreter, since the action runs in it; while the action of those before runs, which
 * is seldom, in short pauses without. */
static int64_t arrive(struct await *await, kin_deadline deadline)
{
    for (;;) {
        int64_t r = kin_barrier_arrive(await->barrier, KIN_NOW, &await->generation);
        if (r != -ETIMEDOUT || (deadline != KIN_NEVER && kin_now_ns() >= deadline))
            return r;
        kinpy_wait(pause_call, NULL, KIN_NEVER);
        if (PyErr_CheckSignals() < 0)
            return KINPY_RAISED;
    }
}

static PyObject *wait_all(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    kin_deadline deadline;
    struct kin_barrier *barrier = kinpy_handle(self);
    if (barrier == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|O", (char **)keywords, &timeout) ||
        !kinpy_deadline(timeout == Py_None ? ((struct barrier *)self)->timeout : timeout,
                        &deadline))
        return NULL;
    struct await await = {.barrier = barrier};
    int64_t index = arrive(&await, deadline), r = 0;
    if (index >= 0 && index != kin_barrier_parties(barrier) - 1)
        r = kinpy_wait(call, &await, deadline);
    else if (index < 0)
        r = index;
    if (r >= 0)
        return PyLong_FromLongLong(index);
    if (r == -ETIMEDOUT || r == KINPY_RAISED) {
        kin_barrier_abort(barrier); /* one party is not there: it cannot fill */
        return broken_now(self);
    }
    return r == -EPIPE || r == -ECANCELED ? broken_now(self) : kinpy_raise(r);
}

static PyObject *reset(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_barrier *barrier = kinpy_handle(self);
    int r = barrier == NULL ? -EINVAL : kin_barrier_reset(barrier);
    return r < 0 ? kinpy_raise(r) : Py_NewRef(Py_None);
}

static PyObject *break_it(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_barrier *barrier = kinpy_handle(self);
    int r = barrier == NULL ? -EINVAL : kin_barrier_abort(barrier);
    return r < 0 ? kinpy_raise(r) : Py_NewRef(Py_None);
}

static PyObject *parties(PyObject *self, void *unused)
{
    (void)unused;
    struct kin_barrier *barrier = kinpy_handle(self);
    return barrier == NULL ? NULL : kinpy_count(kin_barrier_parties(barrier));
}

static PyObject *waiting(PyObject *self, void *unused)
{
    (void)unused;
    struct kin_barrier *barrier = kinpy_handle(self);
    return barrier == NULL ? NULL : kinpy_count(kin_barrier_waiting(barrier));
}

static PyObject *broken(PyObject *self, void *unused)
{
    (void)unused;
    struct kin_barrier *barrier = kinpy_handle(self);
    return barrier == NULL ? NULL : PyBool_FromLong(kin_barrier_broken(barrier) == 1);
}

static PyMethodDef methods[] = {
    {"_open", open_method, METH_VARARGS, NULL},
    {"_how", how, METH_NOARGS, NULL},
    {"_leave", leave, METH_NOARGS, NULL},
    {"wait", (PyCFunction)(void (*)(void))wait_all, METH_VARARGS | METH_KEYWORDS,
     "wait($self, timeout=None)\n--\n\nWait until all parties wait; the arrival index."},
    {"reset", reset, METH_NOARGS, "reset($self)\n--\n\nMake it empty and whole again."},
    {"abort", break_it, METH_NOARGS,
     "abort($self)\n--\n\nBreak it: all who wait or come are told."},
    {0},
};

static PyGetSetDef members[] = {
    {"parties", parties, NULL, "How many it takes.", NULL},
    {"n_waiting", waiting, NULL, "How many have arrived.", NULL},
    {"broken", broken, NULL, "Whether it is broken.", NULL},
    {0},
};

/* An action is often a method of the object that has the barrier. */
static int traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct barrier *)self)->action);
    Py_VISIT(((struct barrier *)self)->timeout); /* what is a number can be anything */
    return 0;
}

static int clear(PyObject *self)
{
    Py_CLEAR(((struct barrier *)self)->action);
    return 0;
}

static PyType_Slot slots[] = {
    {Py_tp_doc, "Parties wait for one another; broken when one of them dies."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, init},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_methods, methods},
    {Py_tp_getset, members},
    {0, NULL},
};

PyType_Spec kinpy_barrier_spec = {
    .name = "kin._kin.Barrier",
    .basicsize = sizeof(struct barrier),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};
