/* SPDX-License-Identifier: MIT
 * A child that is forked: one of kin's processes, which runs a function of Python. */
#include "native.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct child {
    PyObject_HEAD struct kinpy_state *state;
    struct kin_process *process;
};

static struct kin_process *process_of(PyObject *self)
{
    struct kin_process *process = ((struct child *)self)->process;
    if (process == NULL)
        PyErr_SetString(PyExc_ValueError, "the child's handle is closed");
    return process;
}

/* What the child calls: the last function with the pidfd of its parent, by name. */
struct beginning {
    PyObject *functions, *none, *parent;
};

/* In the child, which has nothing but this thread. Several functions, as one that calls them would
 * be one more to be copied on its first use, with all that it names. */
static int run(struct kin_arena *arena, void *arg)
{
    (void)arena;
    const struct beginning *beginning = arg;
    PyOS_AfterFork_Child();
    PyObject *function = NULL, *result = Py_None;
    Py_ssize_t count = PyTuple_GET_SIZE(beginning->functions);
    for (Py_ssize_t i = 0; result != NULL && i < count; i++) {
        function = PyTuple_GET_ITEM(beginning->functions, i);
        result = i < count - 1 ? PyObject_CallNoArgs(function)
                               : PyObject_Call(function, beginning->none, beginning->parent);
    }
    long code = result == NULL ? -1 : PyLong_AsLong(result);
    if (!PyErr_Occurred())
        return (int)(code & 0xff); /* as os._exit */
    PyErr_WriteUnraisable(function);
    return 1;
}

int kinpy_copy_name(PyObject *text, char ret_name[KINPY_NAME])
{
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "replace");
    if (bytes == NULL)
        return -1;
    const char *given = PyBytes_AS_STRING(bytes);
    size_t length = strnlen(given, KINPY_NAME);
    if (length == KINPY_NAME)
        for (length--; length > 0 && ((unsigned char)given[length] & 0xc0) == 0x80;)
            length--;
    memcpy(ret_name, given, length);
    ret_name[length] = 0;
    Py_DECREF(bytes);
    return 0;
}

static int start(struct child *child, struct kin_arena *arena, PyObject *functions,
                 const struct kin_process_opts *opts)
{
    int parent = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (parent < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    struct beginning beginning = {functions, PyTuple_New(0),
                                  Py_BuildValue("{s:i}", "parent_sentinel", parent)};
    int r = -1;
    if (beginning.none != NULL && beginning.parent != NULL) {
        PyOS_BeforeFork();
        r = kin_process_start(arena, run, &beginning, opts, &child->process);
        PyOS_AfterFork_Parent();
        r = kinpy_end_init(r);
    }
    close(parent);
    Py_XDECREF(beginning.none);
    Py_XDECREF(beginning.parent);
    return r;
}

static int init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct child *child = (struct child *)self;
    static char *names[] = {"functions", "name", "daemon", NULL};
    PyObject *functions, *given;
    char name[KINPY_NAME];
    int daemon = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!U|p:Child", names, &PyTuple_Type, &functions,
                                     &given, &daemon))
        return -1;
    if (child->process != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the child was started already");
        return -1;
    }
    child->state = kinpy_state_of(self);
    struct kin_arena *arena = child->state == NULL ? NULL : kinpy_arena(child->state);
    if (arena == NULL || PySys_Audit("os.fork", NULL) < 0 || kinpy_copy_name(given, name) < 0)
        return -1;
    const struct kin_process_opts opts = {
        .size = sizeof opts, .name = name, .daemon = (uint32_t)daemon};
    return start(child, arena, functions, &opts);
}

static int64_t join_call(void *process, kin_deadline deadline)
{
    return kin_process_join(process, deadline);
}

PyDoc_STRVAR(join_doc, "join($self, timeout=None, /)\n--\n\n"
                       "Wait until it has ended. False: the timeout passed.");
static PyObject *join(PyObject *self, PyObject *args)
{
    struct kin_process *process = process_of(self);
    PyObject *timeout = Py_None;
    kin_deadline deadline;
    if (process == NULL || !PyArg_ParseTuple(args, "|O:join", &timeout) ||
        !kinpy_deadline(timeout, &deadline))
        return NULL;
    Py_INCREF(self); /* somebody else may close it meanwhile */
    int64_t r = kinpy_wait(join_call, process, deadline);
    Py_DECREF(self);
    if (r == -ETIMEDOUT)
        Py_RETURN_FALSE;
    if (r < 0)
        return kinpy_raise(r);
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(exitcode_doc, "exitcode($self)\n--\n\n"
                           "None while it runs, 255 if somebody else has collected it.");
static PyObject *exitcode(PyObject *self, PyObject *unused)
{
    (void)unused;
    int code;
    struct kin_process *process = process_of(self);
    if (process == NULL)
        return NULL;
    switch (kin_process_is_alive(process)) {
    case 0:
        return PyLong_FromLong(kin_process_exitcode(process, &code) < 0 ? 255 : code);
    case 1:
        Py_RETURN_NONE;
    default:
        return kinpy_raise(-ECHILD);
    }
}

PyDoc_STRVAR(send_doc, "send_signal($self, number, /)\n--\n\nNothing happens when it has ended.");
static PyObject *send_signal(PyObject *self, PyObject *number)
{
    struct kin_process *process = process_of(self);
    int overflow;
    long signal = process == NULL ? -1 : PyLong_AsLongAndOverflow(number, &overflow);
    if (process == NULL || PyErr_Occurred())
        return NULL;
    if (overflow != 0 || signal != (int)signal)
        signal = -1; /* there is none of that number either */
    int r = kin_process_signal(process, (int)signal);
    if (r < 0)
        return kinpy_raise(r);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(fileno_doc, "fileno($self)\n--\n\nA pidfd: readable when it has ended.");
static PyObject *get_fileno(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_process *process = process_of(self);
    return process == NULL ? NULL : PyLong_FromLong(kin_process_fd(process));
}

static PyObject *get_pid(PyObject *self, void *unused)
{
    (void)unused;
    struct kin_process *process = process_of(self);
    return process == NULL ? NULL : PyLong_FromLong(kin_process_pid(process));
}

static void dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    kin_process_close(((struct child *)self)->process);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"join", join, METH_VARARGS, join_doc},
    {"exitcode", exitcode, METH_NOARGS, exitcode_doc},
    {"send_signal", send_signal, METH_O, send_doc},
    {"fileno", get_fileno, METH_NOARGS, fileno_doc},
    {0},
};

static PyGetSetDef properties[] = {{"pid", get_pid, NULL, NULL, NULL}, {0}};

PyDoc_STRVAR(doc, "Child(functions, name, daemon=False)\n--\n\n"
                  "Fork a child that calls the functions, the last one with parent_sentinel, a\n"
                  "pidfd of its parent, and ends with what that returns. A daemon is killed when\n"
                  "its parent ends, however that ends.");
static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)doc}, {Py_tp_init, init},         {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods}, {Py_tp_getset, properties}, {0, NULL},
};

PyType_Spec kinpy_child_spec = {
    .name = "kin._kin.Child",
    .basicsize = sizeof(struct child),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
