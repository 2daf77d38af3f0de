/* SPDX-License-Identifier: MIT
 * One end of a pipe: what kin.connection.Connection is made of. */
#include "native.h"

#include <structmember.h>
#include <unistd.h>

struct end {
    struct kinpy_object base;
    struct kin_ready *ready; /* behind fileno(), made on demand */
    pid_t ready_pid;         /* who made it: it is good there only */
    char is_deaf;            /* a message was longer than recv_bytes was to take */
};

static PyObject *is_closed(void)
{
    PyErr_SetString(PyExc_OSError, "handle is closed");
    return NULL;
}

/* For a call: to be ended with kinpy_end_use. There is no handle before pipe() gives one. */
static struct kin_pipe *use_end(PyObject *self)
{
    struct kin_pipe *pipe = kinpy_begin_use(self);
    if (pipe == NULL)
        is_closed();
    return pipe;
}

static void drop_ready(struct end *end)
{
    kin_ready_destroy(end->ready);
    end->ready = NULL;
}

static void destroy(void *handle)
{
    kin_pipe_close(handle);
}

static void interrupt(void *handle)
{
    kin_pipe_interrupt(handle);
}

static void dealloc(PyObject *self)
{
    drop_ready((struct end *)self);
    kinpy_dealloc(self, destroy);
}

PyObject *kinpy_pipe_pair(PyObject *module, PyObject *args)
{
    struct kinpy_state *state = PyModule_GetState(module);
    PyTypeObject *type;
    int duplex;
    if (!PyArg_ParseTuple(args, "O!p", &PyType_Type, &type, &duplex))
        return NULL;
    if (!PyType_IsSubtype(type, kinpy_type(state->pipe)))
        return PyErr_Format(PyExc_TypeError, "the ends of a pipe are of a subclass of _kin.Pipe");
    struct kin_arena *arena = kinpy_arena(state);
    if (arena == NULL)
        return NULL;
    PyObject *a = type->tp_alloc(type, 0), *b = type->tp_alloc(type, 0);
    if (a != NULL && b != NULL) {
        struct kin_pipe_opts opts = {.size = sizeof opts, .flags = duplex ? 0 : KIN_ONE_WAY};
        struct kin_pipe *one, *other;
        int r = kin_pipe_create(arena, &opts, &one, &other);
        if (r == 0) {
            struct kinpy_object *first = (struct kinpy_object *)a;
            struct kinpy_object *second = (struct kinpy_object *)b;
            first->state = second->state = state;
            first->arena = second->arena = arena;
            first->handle = one;
            second->handle = other;
            return Py_BuildValue("NN", a, b);
        }
        kinpy_raise(r);
    }
    Py_XDECREF(a);
    Py_XDECREF(b);
    return NULL;
}

/* --- send ----------------------------------------------------------------------------------- */

struct send {
    struct kin_pipe *pipe;
    const void *data;
    size_t bytes;
};

static int64_t send_call(void *arg, kin_deadline deadline)
{
    struct send *send = arg;
    return kin_pipe_send(send->pipe, send->data, send->bytes, deadline);
}

static PyObject *send_failed(int64_t r)
{
    if (r == -EBADF)
        PyErr_SetString(PyExc_OSError, "connection is read-only");
    else if (r == -ESTALE)
        is_closed();
    return kinpy_raise(r);
}

static PyObject *send_memory(struct kin_pipe *pipe, const char *data, Py_ssize_t bytes)
{
    struct send send = {pipe, data, (size_t)bytes};
    int64_t r = kin_pipe_try_send(pipe, data, (size_t)bytes);
    if (r == -EAGAIN)
        r = kinpy_wait(send_call, &send, KIN_NEVER);
    if (r >= 0)
        Py_RETURN_NONE;
    return send_failed(r);
}

static int64_t publish_call(void *arg, kin_deadline deadline)
{
    struct send *send = arg;
    return kin_pipe_publish(send->pipe, (void *)send->data, send->bytes, deadline);
}

/* Long buffers go from where they are into the message. */
static PyObject *send_apart(struct kin_pipe *pipe, PyObject *pickle, PyObject *buffers)
{
    void *data;
    int r = kin_pipe_reserve(pipe, kinpy_frame_bytes(pickle, buffers), &data);
    if (r < 0)
        return send_failed(r);
    struct send send = {pipe, data, kinpy_frame_write(pickle, buffers, data)};
    int64_t sent = publish_call(&send, KIN_NOW);
    if (sent == -EAGAIN || sent == -ETIMEDOUT)
        sent = kinpy_wait(publish_call, &send, KIN_NEVER);
    if (sent >= 0)
        Py_RETURN_NONE;
    (void)!kin_pipe_cancel(pipe, data);
    return send_failed(sent);
}

static PyObject *send_in_use(PyObject *self, struct kin_pipe *pipe, PyObject *object)
{
    char buffer[KINPY_SHORT];
    size_t bytes = kinpy_write_item(object, buffer, sizeof buffer);
    if (bytes > 0)
        return send_memory(pipe, buffer, (Py_ssize_t)bytes);
    PyObject *buffers;
    PyObject *pickled = kinpy_pickle(((struct kinpy_object *)self)->state, object, &buffers);
    if (pickled != NULL && buffers != NULL) {
        PyObject *result = send_apart(pipe, pickled, buffers);
        Py_DECREF(pickled);
        Py_DECREF(buffers);
        return result;
    }
    Py_buffer view;
    if (pickled == NULL || PyObject_GetBuffer(pickled, &view, PyBUF_SIMPLE) < 0) {
        Py_XDECREF(pickled);
        return NULL;
    }
    PyObject *result = send_memory(pipe, view.buf, view.len);
    PyBuffer_Release(&view);
    Py_DECREF(pickled);
    return result;
}

static PyObject *send_object(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    static const char *const names[] = {"obj"};
    PyObject *object;
    struct kin_pipe *pipe = use_end(self);
    if (pipe == NULL)
        return NULL;
    PyObject *result = NULL;
    if (kinpy_arguments(names, 1, args, nargs, kwnames, &object))
        result = object != NULL
                     ? send_in_use(self, pipe, object)
                     : PyErr_Format(PyExc_TypeError, "send() is called with what is to be sent");
    kinpy_end_use(self);
    return result;
}

static PyObject *send_bytes_in_use(struct kin_pipe *pipe, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"buf", "offset", "size", NULL};
    Py_buffer view;
    Py_ssize_t offset = 0, size = 0;
    PyObject *size_object = Py_None, *result = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*|nO", (char **)keywords, &view, &offset,
                                     &size_object))
        return NULL;
    if (size_object != Py_None)
        size = PyNumber_AsSsize_t(size_object, PyExc_OverflowError);
    if (PyErr_Occurred())
        ;
    else if (offset < 0)
        PyErr_SetString(PyExc_ValueError, "offset is negative");
    else if (view.len < offset)
        PyErr_SetString(PyExc_ValueError, "buffer length < offset");
    else if (size < 0)
        PyErr_SetString(PyExc_ValueError, "size is negative");
    else if (size > view.len - offset)
        PyErr_SetString(PyExc_ValueError, "buffer length < offset + size");
    else
        result = send_memory(pipe, (const char *)view.buf + offset,
                             size_object == Py_None ? view.len - offset : size);
    PyBuffer_Release(&view);
    return result;
}

static PyObject *send_bytes(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct kin_pipe *pipe = use_end(self);
    if (pipe == NULL)
        return NULL;
    PyObject *result = send_bytes_in_use(pipe, args, kwargs);
    kinpy_end_use(self);
    return result;
}

/* --- receive -------------------------------------------------------------------------------- */

struct receive {
    struct kin_pipe *pipe;
    void *data; /* malloc'ed, if the message did not fit */
    char buffer[4096];
};

static int64_t receive_call(void *arg, kin_deadline deadline)
{
    struct receive *receive = arg;
    int64_t r = kin_pipe_recv(receive->pipe, receive->buffer, sizeof receive->buffer, deadline);
    if (r == -EMSGSIZE)
        r = kin_pipe_recv_alloc(receive->pipe, &receive->data, deadline);
    return r;
}

static PyObject *receive_failed(int64_t r)
{
    if (r == -ESHUTDOWN)
        PyErr_SetNone(PyExc_EOFError);
    else if (r == -EBADF)
        PyErr_SetString(PyExc_OSError, "connection is write-only");
    else if (r == -ESTALE)
        is_closed();
    return kinpy_raise(r);
}

/* The next message; false: raised. */
static int next_message(PyObject *self, struct receive *receive, int64_t *ret_bytes)
{
    receive->data = NULL;
    receive->pipe = use_end(self);
    if (receive->pipe == NULL)
        return 0;
    int64_t r = ((struct end *)self)->is_deaf ? -EBADF : receive_call(receive, KIN_NOW);
    if (r == -EAGAIN || r == -ETIMEDOUT)
        r = kinpy_wait(receive_call, receive, KIN_NEVER);
    kinpy_end_use(self);
    if (r < 0)
        receive_failed(r);
    *ret_bytes = r;
    return r >= 0;
}

static PyObject *recv_bytes(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct receive receive;
    int64_t n;
    if (!next_message(self, &receive, &n))
        return NULL;
    PyObject *bytes =
        PyBytes_FromStringAndSize(receive.data ? receive.data : receive.buffer, (Py_ssize_t)n);
    free(receive.data);
    return bytes;
}

static PyObject *recv_object(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct receive receive;
    int64_t n;
    if (!next_message(self, &receive, &n))
        return NULL;
    if (receive.data != NULL && kinpy_is_frame(receive.data, (size_t)n))
        return kinpy_own_frame(((struct kinpy_object *)self)->state, receive.data, (size_t)n);
    PyObject *object = kinpy_read_item(((struct kinpy_object *)self)->state,
                                       receive.data ? receive.data : receive.buffer, (size_t)n);
    free(receive.data);
    return object;
}

static int64_t poll_call(void *arg, kin_deadline deadline)
{
    int64_t r = kin_pipe_poll(arg, deadline);
    return r == 0 ? -ETIMEDOUT : r;
}

static PyObject *poll(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    kin_deadline deadline = KIN_NOW;
    struct kin_pipe *pipe;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", (char **)keywords, &timeout) ||
        (timeout != NULL && !kinpy_deadline(timeout, &deadline)) || (pipe = use_end(self)) == NULL)
        return NULL;
    int64_t r = ((struct end *)self)->is_deaf ? -EBADF : poll_call(pipe, KIN_NOW);
    if (r == -ETIMEDOUT && deadline > KIN_NOW)
        r = kinpy_wait(poll_call, pipe, deadline);
    kinpy_end_use(self);
    if (r == -ETIMEDOUT)
        Py_RETURN_FALSE;
    return r < 0 ? receive_failed(r) : PyBool_FromLong(1);
}

/* --- the rest ------------------------------------------------------------------------------- */

static PyObject *close_end(PyObject *self, PyObject *unused)
{
    (void)unused;
    kinpy_close(self, interrupt, destroy);
    KINPY_BEGIN_ALONE(self);
    drop_ready((struct end *)self);
    KINPY_END_ALONE();
    Py_RETURN_NONE;
}

static PyObject *closed(PyObject *self, void *unused)
{
    (void)unused;
    int is;
    KINPY_BEGIN_ALONE(self);
    is = kinpy_is_closed(self);
    KINPY_END_ALONE();
    return PyBool_FromLong(is);
}

static PyObject *file_number_alone(PyObject *self, struct kin_pipe *pipe)
{
    struct end *end = (struct end *)self;
    if (kinpy_is_closed(self)) /* meanwhile: what is made now would stay */
        return is_closed();
    if (end->ready != NULL && end->ready_pid != getpid())
        drop_ready(end);
    if (end->ready == NULL) {
        struct kin_wait wait = kin_wait_recv(pipe);
        int r = kin_ready_create(end->base.arena, &wait, 1, &end->ready);
        if (r < 0)
            return receive_failed(r);
        end->ready_pid = getpid();
    }
    (void)!kin_ready_check(end->ready); /* not readable without a cause, as far as that can be */
    return PyLong_FromLong(kin_ready_fd(end->ready));
}

static PyObject *file_number(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_pipe *pipe = use_end(self);
    PyObject *result;
    if (pipe == NULL)
        return NULL;
    KINPY_BEGIN_ALONE(self);
    result = file_number_alone(self, pipe);
    KINPY_END_ALONE();
    kinpy_end_use(self);
    return result;
}

KINPY_OPEN(open_method, struct kin_pipe, kin_pipe_inherit)

static PyMethodDef methods[] = {
    {"send", (PyCFunction)(void (*)(void))send_object, METH_FASTCALL | METH_KEYWORDS,
     "send($self, obj)\n--\n\nSend a picklable object."},
    {"send_bytes", (PyCFunction)(void (*)(void))send_bytes, METH_VARARGS | METH_KEYWORDS,
     "send_bytes($self, buf, offset=0, size=None)\n--\n\nSend the bytes of a buffer as one "
     "message."},
    {"recv", recv_object, METH_NOARGS, "recv($self)\n--\n\nReceive an object."},
    {"_open", open_method, METH_VARARGS, NULL},
    {"_recv_bytes", recv_bytes, METH_NOARGS, NULL},
    {"poll", (PyCFunction)(void (*)(void))poll, METH_VARARGS | METH_KEYWORDS,
     "poll($self, timeout=0.0)\n--\n\nWhether there is something to receive."},
    {"close", close_end, METH_NOARGS,
     "close($self)\n--\n\nGive this process's hold on the end back."},
    {"fileno", file_number, METH_NOARGS,
     "fileno($self)\n--\n\nA descriptor for event loops, made at the first call."},
    {0},
};

static PyMemberDef fields[] = {
    {"_is_deaf", T_BOOL, offsetof(struct end, is_deaf), 0, NULL},
    {0},
};

static PyGetSetDef members[] = {
    {"closed", closed, NULL, "Whether this end was closed here.", NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "One end of a pipe."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, members},
    {Py_tp_members, fields},
    {0, NULL},
};

PyType_Spec kinpy_pipe_spec = {
    .name = "kin._kin.Pipe",
    .basicsize = sizeof(struct end),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
