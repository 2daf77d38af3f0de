/* SPDX-License-Identifier: MIT
 * A block of shared memory that is found by name: what kin.shared_memory.SharedMemory is made of.
 *
 * It is an array of bytes, of which the first are a head with its state:
 *   MADE      the array is there: whoever sets LIVE is the one who created the block
 *   LIVE      who looks for the name attaches
 *   UNLINKED  the name is given up
 * Killed after UNLINKED, before the array has lost its name: whoever finds it takes the name. */
#include "native.h"

#include <stdatomic.h>

enum state { MADE, LIVE, UNLINKED };

#define HEAD_BYTES 64
#define BYTES_MOST ((Py_ssize_t)1 << 47) /* there are no more addresses */

struct block {
    struct kinpy_object base;
    Py_ssize_t bytes;
};

static _Atomic uint32_t *state_of(struct kin_array *array)
{
    return kin_array_ptr(array);
}

/* --- create, attach ------------------------------------------------------------------------- */

static int change(struct kin_array *array, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(state_of(array), &from, to);
}

/* Or somebody's array, which has no state. */
static int is_block(struct kin_array *array)
{
    return kin_array_type(array) == KIN_STRUCT && kin_array_item_bytes(array) == 1 &&
           kin_array_length(array) > HEAD_BYTES;
}

/* A block that lost its name, or is about to. */
static int is_unlinked(struct kin_array *array)
{
    if (!is_block(array) || atomic_load(state_of(array)) != UNLINKED)
        return 0;
    return kin_object_unname(array) == 0;
}

static int create(struct kin_arena *arena, const char *name, Py_ssize_t bytes,
                  struct kin_array **ret_array)
{
    struct kin_array_opts opts = {
        .size = sizeof opts, .item_bytes = 1, .length = (uint64_t)bytes + HEAD_BYTES};
    for (int tries = 0;;) {
        struct kin_array *array;
        int r = kin_array_open(arena, name, &opts, &array);
        if (r == -EINVAL) { /* of another length, or it was so a moment ago */
            r = kin_array_find(arena, name, &array);
            if (r == -ENOENT)
                continue;
            r = r < 0 ? r : 1;
        }
        if (r < 0)
            return r;
        if (r == 0 && change(array, MADE, LIVE)) {
            r = kin_array_commit(array, 0, opts.length);
            if (r == 0)
                *ret_array = array;
            else {
                (void)kin_object_unname(array);
                kin_array_destroy(array);
            }
            return r;
        }
        int again = is_unlinked(array);
        kin_array_destroy(array);
        if (!again) /* perhaps that of somebody who died: it is gone when that was seen */
            again = tries++ == 0 && kin_arena_reap(arena) > 0;
        if (!again)
            return -EEXIST;
    }
}

static int attach(struct kin_arena *arena, const char *name, struct kin_array **ret_array)
{
    struct kin_array *array;
    (void)kin_arena_reap(arena); /* what only the dead had is gone */
    int r = kin_array_find(arena, name, &array);
    if (r < 0)
        return r == -EPROTOTYPE ? -ENOENT : r;
    if (!is_block(array) || is_unlinked(array) || atomic_load(state_of(array)) != LIVE) {
        kin_array_destroy(array);
        return -ENOENT;
    }
    *ret_array = array;
    return 0;
}

/* As mmap answers, which the standard library's block is made with. */
static int no_memory(Py_ssize_t bytes)
{
    PyObject *text = PyUnicode_FromFormat("no memory for a block of %zd bytes", bytes);
    PyObject *arguments = text == NULL ? NULL : Py_BuildValue("iN", ENOMEM, text);
    if (arguments != NULL)
        PyErr_SetObject(PyExc_OSError, arguments);
    Py_XDECREF(arguments);
    return -1;
}

static int failed(int r, const char *name)
{
    if (r == -EEXIST || r == -ENOENT || r == -EPROTOTYPE) {
        PyObject *arguments =
            Py_BuildValue("iss", r == -ENOENT ? ENOENT : EEXIST,
                          r == -ENOENT ? "there is no shared memory of that name in the arena"
                                       : "there is something of that name in the arena already",
                          name);
        if (arguments != NULL)
            PyErr_SetObject(PyExc_OSError, arguments);
        Py_XDECREF(arguments);
    }
    kinpy_raise(r);
    return -1;
}

/* (name, bytes or 0 to attach, arena) */
static int init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct kinpy_place place = {0};
    Py_ssize_t bytes;
    struct kin_arena *arena;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "snK", &place.name, &bytes, &place.arena) ||
        kinpy_begin_init(self, &place, &arena) < 0)
        return -1;
    if (bytes > BYTES_MOST)
        return no_memory(bytes);
    struct kin_array *array = NULL;
    int r =
        bytes > 0 ? create(arena, place.name, bytes, &array) : attach(arena, place.name, &array);
    if (r < 0)
        return r == -ENOMEM ? no_memory(bytes) : failed(r, place.name);
    ((struct kinpy_object *)self)->handle = array;
    ((struct block *)self)->bytes = (Py_ssize_t)kin_array_length(array) - HEAD_BYTES;
    return 0;
}

static void destroy(void *handle)
{
    kin_array_destroy(handle);
}

static void dealloc(PyObject *self)
{
    kinpy_dealloc(self, destroy);
}

/* --- use ------------------------------------------------------------------------------------ */

static int get_buffer(PyObject *self, Py_buffer *view, int flags)
{
    struct block *block = (struct block *)self;
    char *data = kinpy_handle(self) == NULL ? NULL : kin_array_ptr(block->base.handle);
    if (data == NULL) {
        view->obj = NULL;
        return -1;
    }
    return PyBuffer_FillInfo(view, self, data + HEAD_BYTES, block->bytes, 0, flags);
}

/* Whether it was this call that took the name. */
static PyObject *unlink_name(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_array *array = kinpy_handle(self);
    if (array == NULL)
        return NULL;
    int first = change(array, LIVE, UNLINKED);
    int r = first ? kin_object_unname(array) : 0;
    return r < 0 ? kinpy_raise(r) : PyBool_FromLong(first);
}

static PyObject *is_linked(PyObject *self, void *unused)
{
    (void)unused;
    struct kin_array *array = kinpy_handle(self);
    return array == NULL ? NULL : PyBool_FromLong(atomic_load(state_of(array)) == LIVE);
}

static PyMethodDef methods[] = {
    {"unlink", unlink_name, METH_NOARGS, NULL},
    {0},
};

static PyGetSetDef members[] = {
    {"is_linked", is_linked, NULL, NULL, NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A block of shared memory that is found by name."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, init},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, members},
    {Py_bf_getbuffer, get_buffer},
    {0, NULL},
};

PyType_Spec kinpy_block_spec = {
    .name = "kin._kin.Block",
    .basicsize = sizeof(struct block),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};
