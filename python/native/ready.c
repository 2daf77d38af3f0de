/* SPDX-License-Identifier: MIT
 * Ready: a descriptor that tells an event loop when an object is ready: what kin.aio waits with.
 *
 * It has no hold on the object: when that is gone, check says so. */
#include "native.h"

struct ready {
    PyObject_HEAD struct kin_ready *ready;
};

static int init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct ready *ready = (struct ready *)self;
    PyObject *object, *module = PyType_GetModuleByDef(Py_TYPE(self), &kinpy_module);
    unsigned kind;
    (void)kwargs;
    if (module == NULL || !PyArg_ParseTuple(args, "OI", &object, &kind))
        return -1;
    if (ready->ready != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the object is initialised already");
        return -1;
    }
    struct kinpy_object *handle = kinpy_ours(module, object);
    if (handle == NULL)
        return -1;
    struct kin_wait wait = {.kind = kind, .fd = -1, .object = handle->handle};
    int r = kin_ready_create(handle->arena, &wait, 1, &ready->ready);
    kinpy_end_use(object);
    return kinpy_end_init(r);
}

static void dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    kin_ready_destroy(((struct ready *)self)->ready);
    type->tp_free(self);
    Py_DECREF(type);
}

static struct kin_ready *made(PyObject *self)
{
    struct kin_ready *ready = ((struct ready *)self)->ready;
    if (ready == NULL)
        PyErr_SetString(PyExc_ValueError, "the object was not initialised");
    return ready;
}

static PyObject *file_number(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_ready *ready = made(self);
    return ready == NULL ? NULL : PyLong_FromLong(kin_ready_fd(ready));
}

static PyObject *check(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_ready *ready = made(self);
    if (ready == NULL)
        return NULL;
    int r = kin_ready_check(ready);
    return r < 0 && r != -EAGAIN ? kinpy_raise(r) : PyBool_FromLong(r >= 0);
}

static PyMethodDef methods[] = {
    {"fileno", file_number, METH_NOARGS, "fileno($self)\n--\n\nThe descriptor."},
    {"check", check, METH_NOARGS,
     "check($self)\n--\n\nWhether the object is ready; if not, the descriptor will tell."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A descriptor that is readable when an object is ready."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, init},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec kinpy_ready_spec = {
    .name = "kin._kin.Ready",
    .basicsize = sizeof(struct ready),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};
