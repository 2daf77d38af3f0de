/* SPDX-License-Identifier: MIT
 * The memory of a value or an array: what ctypes objects of kin.sharedctypes are laid over.
 *
 * A value is a kin_value, so its number has atomic steps; an array is a kin_array, which takes
 * memory where it is touched. Both have an rlock of their own, which _lock() makes an RLock of. */
#include "native.h"

struct memory {
    struct kinpy_object base;
    void *data;
    Py_ssize_t bytes;
    uint32_t type;
    int is_array;
};

/* --- make, free ----------------------------------------------------------------------------- */

static int bind_data(struct memory *memory)
{
    void *handle = memory->base.handle;
    int64_t item = memory->is_array ? kin_array_item_bytes(handle) : kin_value_bytes(handle);
    int64_t length = memory->is_array ? kin_array_length(handle) : 1;
    int type = memory->is_array ? kin_array_type(handle) : kin_value_type(handle);
    memory->data = memory->is_array ? kin_array_ptr(handle) : kin_value_ptr(handle);
    if (item < 0 || length < 0 || type < 0 || memory->data == NULL)
        return -ESTALE;
    memory->bytes = (Py_ssize_t)(item * length);
    memory->type = (uint32_t)type;
    return 0;
}

static int init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"is_array", "type",  "item_bytes", "length",
                                           "name",     "arena", NULL};
    struct memory *memory = (struct memory *)self;
    int is_array, type;
    Py_ssize_t item_bytes, length;
    struct kinpy_place place = {0};
    struct kin_arena *arena;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "pinn|zK", (char **)keywords, &is_array, &type,
                                     &item_bytes, &length, &place.name, &place.arena) ||
        kinpy_begin_init(self, &place, &arena) < 0)
        return -1;
    struct kin_value_opts value_opts = {
        .size = sizeof value_opts, .type = (uint32_t)type, .value_bytes = (uint64_t)item_bytes};
    struct kin_array_opts array_opts = {.size = sizeof array_opts,
                                        .type = (uint32_t)type,
                                        .item_bytes = (uint64_t)item_bytes,
                                        .length = (uint64_t)length};
    struct kin_value *value = NULL;
    struct kin_array *array = NULL;
    int r = place.name == NULL ? is_array ? kin_array_create(arena, &array_opts, &array)
                                          : kin_value_create(arena, &value_opts, &value)
            : is_array ? kin_array_open(arena, place.name, &array_opts, &array)
                               : kin_value_open(arena, place.name, &value_opts, &value);
    memory->is_array = is_array;
    memory->base.handle = is_array ? (void *)array : (void *)value;
    return kinpy_end_init(r < 0 ? r : bind_data(memory));
}

static void dealloc(PyObject *self)
{
    kinpy_dealloc(self, ((struct memory *)self)->is_array ? (void (*)(void *))kin_array_destroy
                                                          : (void (*)(void *))kin_value_destroy);
}

/* _open(arena, key, is_array) */
static PyObject *open_method(PyObject *self, PyObject *args)
{
    struct memory *memory = (struct memory *)self;
    unsigned long long id;
    unsigned key;
    int is_array;
    struct kin_arena *arena;
    struct kin_value *value = NULL;
    struct kin_array *array = NULL;
    if (!PyArg_ParseTuple(args, "KIp", &id, &key, &is_array))
        return NULL;
    int64_t position = kinpy_begin_open(self, id, key, &arena);
    if (position < 0)
        return NULL;
    int r = is_array ? kin_array_inherit(arena, (uint32_t)position, &array)
                     : kin_value_inherit(arena, (uint32_t)position, &value);
    if (r < 0)
        return kinpy_open_failed(self, r);
    memory->is_array = is_array;
    memory->base.handle = is_array ? (void *)array : (void *)value;
    r = bind_data(memory);
    return r < 0 ? kinpy_raise(r) : Py_NewRef(Py_None);
}

static PyObject *is_array(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct memory *)self)->is_array);
}

/* --- the bytes ------------------------------------------------------------------------------ */

static int get_buffer(PyObject *self, Py_buffer *view, int flags)
{
    struct memory *memory = (struct memory *)self;
    if (kinpy_handle(self) == NULL) {
        view->obj = NULL;
        return -1;
    }
    return PyBuffer_FillInfo(view, self, memory->data, memory->bytes, 0, flags);
}

/* As the wrappers of multiprocessing.heap are asked for theirs. */
static PyObject *create_memoryview(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyMemoryView_FromObject(self);
}

static PyObject *own_lock(PyObject *self, PyObject *type)
{
    struct memory *memory = (struct memory *)self;
    void *handle = kinpy_handle(self);
    if (handle == NULL)
        return NULL;
    return kinpy_rlock_part(type, self,
                            memory->is_array ? kin_array_rlock(handle) : kin_value_rlock(handle));
}

/* --- atomic steps of a value ---------------------------------------------------------------- */

enum step { ADD, SUB, AND, OR, XOR, MIN, MAX, EXCHANGE, STEPS };

typedef int (*int_step_fn)(struct kin_value *, int64_t, int64_t *);
static const int_step_fn int_steps[STEPS] = {kin_value_add, kin_value_sub,     kin_value_and,
                                             kin_value_or,  kin_value_xor,     kin_value_min,
                                             kin_value_max, kin_value_exchange};

typedef int (*double_step_fn)(struct kin_value *, double, double *);
static const double_step_fn double_steps[STEPS] = {
    [ADD] = kin_value_add_double,           [SUB] = kin_value_sub_double,
    [MIN] = kin_value_min_double,           [MAX] = kin_value_max_double,
    [EXCHANGE] = kin_value_exchange_double,
};

static int is_unsigned_word(const struct memory *memory)
{
    return memory->type == KIN_ULONG || memory->type == KIN_ULONGLONG;
}

static PyObject *int_result(const struct memory *memory, int64_t before)
{
    return is_unsigned_word(memory) ? PyLong_FromUnsignedLongLong((unsigned long long)before)
                                    : PyLong_FromLongLong(before);
}

/* Numbers of an unsigned word go as the int64_t of the same bits; so the library cannot tell those
 * that are negative, which only those that may be anything can be. */
static int int_argument(const struct memory *memory, PyObject *object, int may_be_anything,
                        int64_t *ret_number)
{
    int overflow;
    if (PyLong_CheckExact(object)) {
        *ret_number = PyLong_AsLongLongAndOverflow(object, &overflow);
        if (overflow == 0 && *ret_number >= 0) /* nearly always */
            return 0;
    }
    PyObject *index = PyNumber_Index(object);
    if (index == NULL)
        return -1;
    *ret_number = PyLong_AsLongLongAndOverflow(index, &overflow);
    if (overflow > 0 && is_unsigned_word(memory))
        *ret_number = (int64_t)PyLong_AsUnsignedLongLong(index);
    else if (overflow != 0)
        PyErr_SetString(PyExc_OverflowError, "the number does not fit into 64 bits");
    else if (*ret_number < 0 && is_unsigned_word(memory) && !may_be_anything)
        PyErr_Format(PyExc_OverflowError, "a negative number in a value of type '%c'",
                     (int)memory->type);
    Py_DECREF(index);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *failed(int r)
{
    if (r == -ERANGE)
        PyErr_SetString(PyExc_OverflowError, kin_error_text());
    return kinpy_raise(r);
}

static PyObject *step_double(struct memory *memory, enum step step, PyObject *object)
{
    double number = PyFloat_AsDouble(object), before;
    if (number == -1.0 && PyErr_Occurred())
        return NULL;
    double_step_fn run = double_steps[step];
    if (run == NULL)
        return PyErr_Format(PyExc_TypeError, "a float has no bits to step on");
    int r = run(memory->base.handle, number, &before);
    return r < 0 ? failed(r) : PyFloat_FromDouble(before);
}

static PyObject *take_step(PyObject *self, enum step step, PyObject *object)
{
    struct memory *memory = (struct memory *)self;
    int64_t number, before;
    if (kinpy_handle(self) == NULL)
        return NULL;
    if (memory->is_array)
        return PyErr_Format(PyExc_TypeError, "an array has no atomic steps");
    if (memory->type == KIN_FLOAT || memory->type == KIN_DOUBLE)
        return step_double(memory, step, object);
    if (int_argument(memory, object, step <= XOR, &number) < 0)
        return NULL;
    int r = int_steps[step](memory->base.handle, number, &before);
    return r < 0 ? failed(r) : int_result(memory, before);
}

#define STEP(name, step)                                                                           \
    static PyObject *name(PyObject *self, PyObject *object)                                        \
    {                                                                                              \
        return take_step(self, step, object);                                                      \
    }
STEP(add_step, ADD)
STEP(sub_step, SUB)
STEP(and_step, AND)
STEP(or_step, OR)
STEP(xor_step, XOR)
STEP(min_step, MIN)
STEP(max_step, MAX)
STEP(exchange_step, EXCHANGE)

static int exchange_double(struct memory *memory, PyObject *expected, PyObject *wanted)
{
    double was = PyFloat_AsDouble(expected);
    double number = PyErr_Occurred() ? 0 : PyFloat_AsDouble(wanted);
    if (PyErr_Occurred())
        return -EINVAL;
    return kin_value_compare_exchange_double(memory->base.handle, &was, number);
}

static int exchange_int(struct memory *memory, PyObject *expected, PyObject *wanted)
{
    int64_t was, number;
    if (int_argument(memory, expected, 0, &was) < 0 || int_argument(memory, wanted, 0, &number) < 0)
        return -EINVAL;
    return kin_value_compare_exchange(memory->base.handle, &was, number);
}

static PyObject *compare_exchange(PyObject *self, PyObject *args)
{
    struct memory *memory = (struct memory *)self;
    PyObject *expected, *wanted;
    if (kinpy_handle(self) == NULL || !PyArg_ParseTuple(args, "OO", &expected, &wanted))
        return NULL;
    if (memory->is_array)
        return PyErr_Format(PyExc_TypeError, "an array has no atomic steps");
    int r = memory->type == KIN_FLOAT || memory->type == KIN_DOUBLE
                ? exchange_double(memory, expected, wanted)
                : exchange_int(memory, expected, wanted);
    if (PyErr_Occurred())
        return NULL;
    return r < 0 ? failed(r) : PyBool_FromLong(r);
}

struct change {
    struct kin_value *value;
    const void *seen;
};

static int64_t change_call(void *arg, kin_deadline deadline)
{
    struct change *change = arg;
    return kin_value_wait(change->value, change->seen, deadline);
}

/* Until the value is not the bytes given. */
static PyObject *wait_changed(PyObject *self, PyObject *args)
{
    struct memory *memory = (struct memory *)self;
    Py_buffer seen;
    PyObject *timeout = NULL;
    kin_deadline deadline;
    if (kinpy_handle(self) == NULL || !PyArg_ParseTuple(args, "y*|O", &seen, &timeout))
        return NULL;
    int64_t r = KINPY_RAISED;
    if (memory->is_array || seen.len != memory->bytes)
        PyErr_SetString(PyExc_ValueError, "what was seen is not a value of this type");
    else if (kinpy_deadline(timeout, &deadline)) {
        struct change change = {memory->base.handle, seen.buf};
        r = kinpy_wait(change_call, &change, deadline);
    }
    PyBuffer_Release(&seen);
    if (r == -ETIMEDOUT)
        Py_RETURN_FALSE;
    return r < 0 ? kinpy_raise(r) : PyBool_FromLong(1);
}

/* It was written through its memory. */
static PyObject *notify(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (kinpy_handle(self) == NULL)
        return NULL;
    int r = ((struct memory *)self)->is_array ? 0 : kin_value_notify(kinpy_handle(self));
    return r < 0 ? kinpy_raise(r) : Py_NewRef(Py_None);
}

static PyGetSetDef members[] = {
    {"_is_array", is_array, NULL, NULL, NULL},
    {0},
};

static PyMethodDef methods[] = {
    {"_open", open_method, METH_VARARGS, NULL},
    {"create_memoryview", create_memoryview, METH_NOARGS, "Its bytes."},
    {"_lock", own_lock, METH_O, NULL},
    {"add", add_step, METH_O, "add($self, number, /)\n--\n\nAdd; what was there before."},
    {"sub", sub_step, METH_O, "sub($self, number, /)\n--\n\nSubtract; what was there before."},
    {"and_", and_step, METH_O,
     "and_($self, number, /)\n--\n\nBits of both; what was there before."},
    {"or_", or_step, METH_O, "or_($self, number, /)\n--\n\nBits of either; what was there before."},
    {"xor", xor_step, METH_O,
     "xor($self, number, /)\n--\n\nBits of one only; what was there before."},
    {"min", min_step, METH_O,
     "min($self, number, /)\n--\n\nThe smaller one; what was there before."},
    {"max", max_step, METH_O,
     "max($self, number, /)\n--\n\nThe greater one; what was there before."},
    {"exchange", exchange_step, METH_O,
     "exchange($self, number, /)\n--\n\nSet; what was there before."},
    {"compare_exchange", compare_exchange, METH_VARARGS,
     "compare_exchange($self, expected, number, /)\n--\n\nSet if it is what is expected; whether "
     "it was."},
    {"_wait", wait_changed, METH_VARARGS, NULL},
    {"_notify", notify, METH_NOARGS, NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Memory of a value or an array."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, init},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, members},
    {Py_bf_getbuffer, get_buffer},
    {0, NULL},
};

PyType_Spec kinpy_memory_spec = {
    .name = "kin._kin.Memory",
    .basicsize = sizeof(struct memory),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
