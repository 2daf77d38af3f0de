/* SPDX-License-Identifier: MIT
 * The queue under all of Python's: pickles in the caller, so that errors are raised in put.
 *
 * A short message is copied out of the queue; a longer one is unpickled where it lies, and freed
 * afterwards, so a consumer that dies while it unpickles has not taken it. */
#include "queue.h"
#include "key.h"

#include <string.h>
#include <structmember.h>
#include <unistd.h>

struct kin_queue *kinpy_open_queue(PyObject *self)
{
    struct queue *queue = (struct queue *)self;
    if (queue->closed == NULL)
        return kinpy_handle(self);
    /* A new one each time: the traceback of one that is kept would keep the queue. */
    PyObject *args = PyObject_GetAttrString(queue->closed, "args");
    if (args != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(queue->closed), args);
    Py_XDECREF(args);
    return NULL;
}

static int init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"maxsize", "kind", "joinable", "maxbytes",
                                           "raw",     "name", "arena",    NULL};
    Py_ssize_t maxsize = 0, maxbytes = 0;
    int kind = KIN_FIFO, joinable = 0, raw = 0;
    struct kinpy_place place = {0};
    struct kin_arena *arena;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|nipnpzK", (char **)keywords, &maxsize, &kind,
                                     &joinable, &maxbytes, &raw, &place.name, &place.arena) ||
        kinpy_begin_init(self, &place, &arena) < 0)
        return -1;
    struct kin_queue_opts opts = {
        .size = sizeof opts,
        .max_items = maxsize > 0 ? (uint64_t)maxsize : 0,
        .max_bytes = maxbytes > 0 ? (uint64_t)maxbytes : 0,
        .kind = (uint32_t)kind,
        .joinable = (uint32_t)joinable,
    };
    struct kin_queue *queue = NULL;
    int r = place.name == NULL ? kin_queue_create(arena, &opts, &queue)
                               : kin_queue_open(arena, place.name, &opts, &queue);
    ((struct queue *)self)->raw = raw;
    ((struct kinpy_object *)self)->handle = queue;
    return kinpy_end_init(r);
}

static void destroy(void *handle)
{
    kin_queue_destroy(handle);
}

static void dealloc(PyObject *self)
{
    PyObject *closed = ((struct queue *)self)->closed;
    PyObject_GC_UnTrack(self);
    kin_ready_destroy(((struct queue *)self)->ready);
    kinpy_dealloc(self, destroy);
    Py_XDECREF(closed);
}

PyObject *kinpy_queue_fail(PyObject *self, int64_t r, PyObject *in_time)
{
    struct kinpy_state *state = ((struct kinpy_object *)self)->state;
    if (r == -EAGAIN || r == -ETIMEDOUT)
        PyErr_SetNone(in_time);
    else if (r == -ESHUTDOWN)
        PyErr_SetNone(state->shut_down);
    return kinpy_raise(r);
}

/* --- put ------------------------------------------------------------------------------------ */

struct put {
    struct kin_queue *queue;
    const void *data;
    size_t bytes;
    const struct kin_queue_key *key; /* of a priority queue */
};

static int64_t put_call(void *arg, kin_deadline deadline)
{
    struct put *put = arg;
    if (put->key != NULL)
        return kin_queue_put_key(put->queue, put->data, put->bytes, put->key, deadline);
    return kin_queue_put(put->queue, put->data, put->bytes, deadline);
}

static int64_t publish_call(void *arg, kin_deadline deadline)
{
    struct put *put = arg;
    if (put->key != NULL)
        return kin_queue_publish_key(put->queue, (void *)put->data, put->bytes, put->key, deadline);
    return kin_queue_publish(put->queue, (void *)put->data, put->bytes, deadline);
}

static PyObject *put_memory(PyObject *self, const void *data, size_t bytes, struct put *put,
                            kin_deadline deadline)
{
    ((struct queue *)self)->used = 1;
    put->data = data;
    put->bytes = bytes;
    int64_t r =
        put->key != NULL ? put_call(put, KIN_NOW) : kin_queue_try_put(put->queue, data, bytes);
    if ((r == -EAGAIN || r == -ETIMEDOUT) && deadline > KIN_NOW)
        r = kinpy_wait(put_call, put, deadline);
    return r < 0 ? kinpy_queue_fail(self, r, ((struct kinpy_object *)self)->state->full)
                 : Py_NewRef(Py_None);
}

static PyObject *put_buffer(PyObject *self, PyObject *pickled, struct put *put,
                            kin_deadline deadline)
{
    Py_buffer view;
    if (PyObject_GetBuffer(pickled, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *result = put_memory(self, view.buf, (size_t)view.len, put, deadline);
    PyBuffer_Release(&view);
    return result;
}

/* What was reserved and filled; it is given back if it could not be put. */
static PyObject *put_reserved(PyObject *self, void *data, size_t bytes, struct put *put,
                              kin_deadline deadline)
{
    ((struct queue *)self)->used = 1;
    put->data = data;
    put->bytes = bytes;
    int64_t done = publish_call(put, KIN_NOW);
    if ((done == -EAGAIN || done == -ETIMEDOUT) && deadline > KIN_NOW)
        done = kinpy_wait(publish_call, put, deadline);
    if (done >= 0)
        Py_RETURN_NONE;
    (void)!kin_queue_cancel(put->queue, data);
    return kinpy_queue_fail(self, done, ((struct kinpy_object *)self)->state->full);
}

/* Memory for a message and its key; -EAGAIN: it would be filled in vain. */
static int reserve(struct put *put, size_t bytes, kin_deadline deadline, void **ret_data)
{
    if (deadline <= KIN_NOW && kin_queue_is_full(put->queue) == 1 &&
        kin_queue_is_shutdown(put->queue) == 0)
        return -EAGAIN;
    size_t more = put->key != NULL ? KIN_QUEUE_KEY_HEAD + put->key->bytes : 0;
    return kin_queue_reserve(put->queue, bytes + more, ret_data);
}

/* Long bytes go from where they are into the queue's memory. */
static PyObject *put_bytes(PyObject *self, PyObject *item, struct put *put, kin_deadline deadline)
{
    Py_ssize_t n = PyBytes_GET_SIZE(item);
    void *data;
    int r = reserve(put, (size_t)n + KINPY_HEAD, deadline, &data);
    if (r < 0)
        return kinpy_queue_fail(self, r, ((struct kinpy_object *)self)->state->full);
    size_t head = kinpy_head_of_bytes(n, data);
    memcpy((char *)data + head, PyBytes_AS_STRING(item), (size_t)n);
    return put_reserved(self, data, head + (size_t)n, put, deadline);
}

/* So do the long buffers of an item. */
static PyObject *put_apart(PyObject *self, PyObject *pickle, PyObject *buffers, struct put *put,
                           kin_deadline deadline)
{
    void *data;
    int r = reserve(put, kinpy_frame_bytes(pickle, buffers), deadline, &data);
    if (r < 0)
        return kinpy_queue_fail(self, r, ((struct kinpy_object *)self)->state->full);
    return put_reserved(self, data, kinpy_frame_write(pickle, buffers, data), put, deadline);
}

static PyObject *put_item(PyObject *self, PyObject *item, struct put *put, kin_deadline deadline)
{
    if (((struct queue *)self)->raw)
        return put_buffer(self, item, put, deadline);
    char buffer[KINPY_SHORT];
    size_t bytes = kinpy_write_item(item, buffer, sizeof buffer);
    if (bytes > 0)
        return put_memory(self, buffer, bytes, put, deadline);
    if (PyBytes_CheckExact(item) && PyBytes_GET_SIZE(item) < UINT32_MAX)
        return put_bytes(self, item, put, deadline);
    PyObject *buffers = NULL, *result = NULL;
    PyObject *pickled = kinpy_pickle(((struct kinpy_object *)self)->state, item, &buffers);
    if (pickled != NULL)
        result = buffers == NULL ? put_buffer(self, pickled, put, deadline)
                                 : put_apart(self, pickled, buffers, put, deadline);
    Py_XDECREF(pickled);
    Py_XDECREF(buffers);
    return result;
}

PyObject *kinpy_put_packed(PyObject *self, PyObject *packed, kin_deadline deadline)
{
    struct put put = {.queue = kinpy_open_queue(self)};
    return put.queue == NULL ? NULL
                             : put_apart(self, PyTuple_GET_ITEM(packed, 0),
                                         PyTuple_GET_ITEM(packed, 1), &put, deadline);
}

static PyObject *put_method(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    static const char *const names[] = {"obj", "block", "timeout"};
    struct put put = {.queue = kinpy_open_queue(self)};
    PyObject *values[3];
    kin_deadline deadline = KIN_NEVER;
    if (put.queue == NULL)
        return NULL;
    if (nargs == 1 && kwnames == NULL) /* nearly always */
        return put_item(self, args[0], &put, deadline);
    if (!kinpy_arguments(names, 3, args, nargs, kwnames, values) ||
        !kinpy_block_or_timeout(values[1], values[2], &deadline))
        return NULL;
    if (values[0] == NULL)
        return PyErr_Format(PyExc_TypeError, "put() is called with what is to be put");
    return put_item(self, values[0], &put, deadline);
}

/* (item, what it is sorted by, plain of kin.order, block, timeout) */
static PyObject *put_sorted(PyObject *self, PyObject *args)
{
    struct put put = {.queue = kinpy_open_queue(self)};
    PyObject *item, *sorted_by, *plain, *block, *timeout;
    struct kinpy_key key;
    kin_deadline deadline;
    if (put.queue == NULL ||
        !PyArg_ParseTuple(args, "OOOOO", &item, &sorted_by, &plain, &block, &timeout) ||
        !kinpy_block_or_timeout(block, timeout, &deadline) ||
        kinpy_key_of(sorted_by, plain, &key) < 0)
        return NULL;
    put.key = &(struct kin_queue_key){key.priority, key.data, key.bytes};
    return put_item(self, item, &put, deadline);
}

/* --- get ------------------------------------------------------------------------------------ */

struct get {
    struct kin_queue *queue;
    void *data; /* taken in place, if buffer was too small */
    int in_place;
    char buffer[KINPY_SHORT];
};

static int64_t get_call(void *arg, kin_deadline deadline)
{
    struct get *get = arg;
    get->in_place = 0;
    int64_t r = kin_queue_get(get->queue, get->buffer, sizeof get->buffer, deadline);
    if (r != -EMSGSIZE)
        return r;
    get->in_place = 1;
    return kin_queue_take(get->queue, &get->data, deadline);
}

PyObject *kinpy_queue_read(PyObject *self, const void *data, size_t bytes)
{
    if (((struct queue *)self)->raw)
        return PyBytes_FromStringAndSize(data, (Py_ssize_t)bytes);
    return kinpy_read_item(((struct kinpy_object *)self)->state, data, bytes);
}

PyObject *kinpy_queue_get(PyObject *self, kin_deadline deadline)
{
    struct kinpy_state *state = ((struct kinpy_object *)self)->state;
    struct get get; /* its buffer as it is */
    get.queue = kinpy_open_queue(self);
    if (get.queue == NULL)
        return NULL;
    int64_t r = get_call(&get, KIN_NOW);
    if ((r == -EAGAIN || r == -ETIMEDOUT) && deadline > KIN_NOW)
        r = kinpy_wait(get_call, &get, deadline);
    if (r < 0)
        return kinpy_queue_fail(self, r, state->empty);
    if (get.in_place && !((struct queue *)self)->raw && kinpy_is_frame(get.data, (size_t)r))
        return kinpy_take_frame(self, get.data, (size_t)r);
    PyObject *item = kinpy_queue_read(self, get.in_place ? get.data : get.buffer, (size_t)r);
    if (get.in_place)
        kin_queue_release(get.queue, get.data);
    return item;
}

static PyObject *get_method(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    kin_deadline deadline;
    if (!kinpy_block_timeout(args, nargs, kwnames, &deadline))
        return NULL;
    return kinpy_queue_get(self, deadline);
}

/* --- tasks ---------------------------------------------------------------------------------- */

/* A task is taken where it lies and stays so until it is done. Before its pickle stands what is
 * needed to answer for it if that cannot be loaded, and the process that took it: if that dies,
 * whoever gets the task next knows. */
struct task {
    uint32_t taker, unused;
    int64_t job, index;
};

/* The message of a task: the head and so many bytes after it, from there or, if it is NULL, there
 * already. */
static PyObject *put_message(struct queue *queue, struct task *task, const void *bytes, size_t n)
{
    struct put put = {.queue = kinpy_open_queue((PyObject *)queue)};
    if (put.queue == NULL)
        return NULL;
    if (bytes != NULL)
        memcpy(task + 1, bytes, n);
    return put_memory((PyObject *)queue, task, sizeof *task + n, &put, KIN_NEVER);
}

/* (task, job, index) */
static PyObject *put_task(PyObject *self, PyObject *args)
{
    union {
        struct task task;
        char bytes[sizeof(struct task) + KINPY_SHORT];
    } brief = {.task = {0}};
    PyObject *item;
    long long job, index;
    if (!PyArg_ParseTuple(args, "OLL", &item, &job, &index))
        return NULL;
    brief.task.job = job;
    brief.task.index = index;
    size_t bytes = kinpy_write_item(item, &brief.task + 1, KINPY_SHORT);
    if (bytes > 0)
        return put_message((struct queue *)self, &brief.task, NULL, bytes);
    PyObject *pickled = kinpy_pickle(((struct kinpy_object *)self)->state, item, NULL);
    Py_buffer view;
    if (pickled == NULL || PyObject_GetBuffer(pickled, &view, PyBUF_SIMPLE) < 0) {
        Py_XDECREF(pickled);
        return NULL;
    }
    struct task *whole = PyMem_RawMalloc(sizeof *whole + (size_t)view.len);
    PyObject *result = NULL;
    if (whole == NULL)
        PyErr_NoMemory();
    else {
        *whole = brief.task;
        result = put_message((struct queue *)self, whole, view.buf, (size_t)view.len);
    }
    PyMem_RawFree(whole);
    PyBuffer_Release(&view);
    Py_DECREF(pickled);
    return result;
}

static int64_t take_call(void *arg, kin_deadline deadline)
{
    struct get *get = arg;
    return kin_queue_take(get->queue, &get->data, deadline);
}

static PyObject *task_is_done(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct queue *queue = (struct queue *)self;
    struct kin_queue *handle = kinpy_handle(self);
    if (handle == NULL)
        return NULL;
    if (queue->task != NULL)
        kin_queue_release(handle, queue->task);
    queue->task = NULL;
    Py_RETURN_NONE;
}

/* (process that died with it or 0, job, index) */
static PyObject *take_task(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct queue *queue = (struct queue *)self;
    struct get get;
    get.queue = kinpy_open_queue(self);
    if (get.queue == NULL)
        return NULL;
    int64_t r = take_call(&get, KIN_NOW);
    if (r == -EAGAIN || r == -ETIMEDOUT)
        r = kinpy_wait(take_call, &get, KIN_NEVER);
    if (r < 0)
        return kinpy_queue_fail(self, r, queue->base.state->empty);
    queue->task = get.data;
    queue->task_bytes = (size_t)r;
    if (queue->task_bytes < sizeof(struct task)) {
        Py_XDECREF(task_is_done(self, NULL)); /* it would come again and again */
        return PyErr_Format(PyExc_ValueError, "a task is damaged");
    }
    struct task *task = queue->task;
    uint32_t before = task->taker;
    task->taker = (uint32_t)getpid();
    return Py_BuildValue("ILL", before, (long long)task->job, (long long)task->index);
}

/* The task that was taken. */
static PyObject *load_task(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct queue *queue = (struct queue *)self;
    if (queue->task == NULL)
        return PyErr_Format(PyExc_ValueError, "no task was taken");
    return kinpy_read_item(queue->base.state, (struct task *)queue->task + 1,
                           queue->task_bytes - sizeof(struct task));
}

/* --- the rest ------------------------------------------------------------------------------- */

static PyObject *qsize(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_queue *queue = kinpy_handle(self);
    return queue == NULL ? NULL : kinpy_count(kin_queue_size(queue));
}

static PyObject *is_empty(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_queue *queue = kinpy_handle(self);
    if (((struct queue *)self)->closed != NULL && ((struct queue *)self)->used)
        return PyErr_Format(PyExc_OSError, "handle is closed");
    return queue == NULL ? NULL : PyBool_FromLong(kin_queue_is_empty(queue) == 1);
}

static PyObject *is_full(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_queue *queue = kinpy_handle(self);
    return queue == NULL ? NULL : PyBool_FromLong(kin_queue_is_full(queue) == 1);
}

static PyObject *is_shut_down(PyObject *self, void *unused)
{
    (void)unused;
    struct kin_queue *queue = kinpy_handle(self);
    int r = queue == NULL ? 0 : kin_queue_is_shutdown(queue);
    return queue == NULL ? NULL : r < 0 ? kinpy_raise(r) : PyBool_FromLong(r);
}

static PyObject *shut_down(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const keywords[] = {"immediate", NULL};
    int at_once = 0;
    struct kin_queue *queue = kinpy_handle(self);
    if (queue == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|p", (char **)keywords, &at_once))
        return NULL;
    int r = kin_queue_shutdown(queue, at_once ? KIN_AT_ONCE : KIN_WHEN_DRAINED);
    return r < 0 ? kinpy_raise(r) : Py_NewRef(Py_None);
}

static PyObject *task_done(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_queue *queue = kinpy_handle(self);
    if (queue == NULL)
        return NULL;
    int r = kin_queue_task_done(queue);
    if (r == -EINVAL)
        return PyErr_Format(PyExc_ValueError, "task_done() called too many times");
    return r < 0 ? kinpy_raise(r) : Py_NewRef(Py_None);
}

static PyObject *unfinished(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_queue *queue = kinpy_handle(self);
    int64_t n = queue == NULL ? 0 : kin_queue_unfinished(queue);
    return queue == NULL ? NULL : kinpy_count(n);
}

static int64_t join_call(void *arg, kin_deadline deadline)
{
    return kin_queue_join(arg, deadline);
}

static PyObject *join(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_queue *queue = kinpy_handle(self);
    if (queue == NULL)
        return NULL;
    int64_t r = kinpy_wait(join_call, queue, KIN_NEVER);
    return r < 0 ? kinpy_raise(r) : Py_NewRef(Py_None);
}

static PyObject *file_number_alone(PyObject *self)
{
    struct queue *queue = (struct queue *)self;
    struct kin_queue *handle = kinpy_open_queue(self);
    if (handle == NULL)
        return NULL;
    if (queue->ready != NULL && queue->ready_pid != getpid()) {
        kin_ready_destroy(queue->ready);
        queue->ready = NULL;
    }
    if (queue->ready == NULL) {
        struct kin_wait wait = kin_wait_get(handle);
        int r = kin_ready_create(queue->base.arena, &wait, 1, &queue->ready);
        if (r < 0)
            return kinpy_raise(r);
        queue->ready_pid = getpid();
    }
    (void)!kin_ready_check(queue->ready);
    return PyLong_FromLong(kin_ready_fd(queue->ready));
}

/* A descriptor that is readable when a get would not block, and now and then without a cause. */
static PyObject *file_number(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *result;
    KINPY_BEGIN_ALONE(self);
    result = file_number_alone(self);
    KINPY_END_ALONE();
    return result;
}

/* From now on put and get raise such an exception. The first one stays: others may look at it. */
static PyObject *close_queue(PyObject *self, PyObject *exception)
{
    struct queue *queue = (struct queue *)self;
    if (!PyExceptionInstance_Check(exception))
        return PyErr_Format(PyExc_TypeError, "_close is called with an exception");
    KINPY_BEGIN_ALONE(self);
    if (queue->closed == NULL)
        queue->closed = Py_NewRef(exception);
    KINPY_END_ALONE();
    Py_RETURN_NONE;
}

KINPY_OPEN(open_method, struct kin_queue, kin_queue_inherit)

static PyMethodDef methods[] = {
    {"put", (PyCFunction)(void (*)(void))put_method, METH_FASTCALL | METH_KEYWORDS,
     "put($self, obj, block=True, timeout=None)\n--\n\nPickle and put an item; Full in time."},
    {"get", (PyCFunction)(void (*)(void))get_method, METH_FASTCALL | METH_KEYWORDS,
     "get($self, block=True, timeout=None)\n--\n\nTake the next item; Empty in time."},
    {"_open", open_method, METH_VARARGS, NULL},
    {"_fileno", file_number, METH_NOARGS, NULL},
    {"_close", close_queue, METH_O, NULL},
    {"_put_task", put_task, METH_VARARGS, NULL},
    {"_take_task", take_task, METH_NOARGS, NULL},
    {"_load_task", load_task, METH_NOARGS, NULL},
    {"_task_is_done", task_is_done, METH_NOARGS, NULL},
    {"_put_sorted", put_sorted, METH_VARARGS, NULL},
    {"_put_many", kinpy_put_many, METH_VARARGS, NULL},
    {"_get_many", kinpy_get_many, METH_VARARGS, NULL},
    {"_task_done", task_done, METH_NOARGS, NULL},
    {"_unfinished", unfinished, METH_NOARGS, NULL},
    {"_join", join, METH_NOARGS, NULL},
    {"empty", is_empty, METH_NOARGS,
     "empty($self)\n--\n\nWhether there is no item; exact, since put is synchronous."},
    {"qsize", qsize, METH_NOARGS, "qsize($self)\n--\n\nItems in the queue."},
    {"full", is_full, METH_NOARGS, "full($self)\n--\n\nWhether maxsize is reached."},
    {"shutdown", (PyCFunction)(void (*)(void))shut_down, METH_VARARGS | METH_KEYWORDS,
     "shutdown($self, immediate=False)\n--\n\nNo more puts; gets until it is drained, or none."},
    {0},
};

static PyMemberDef fields[] = {
    {"_raw", T_INT, offsetof(struct queue, raw), 0, NULL},
    {0},
};

static PyGetSetDef computed[] = {
    {"is_shutdown", is_shut_down, NULL, "Whether it was shut down, though perhaps not drained.",
     NULL},
    {0},
};

/* The exception may know the queue, and lets that go itself. */
static int traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct queue *)self)->closed);
    return 0;
}

static PyType_Slot slots[] = {
    {Py_tp_members, fields},
    {Py_tp_getset, computed},
    {Py_tp_doc, "What the queues of kin.queues are made of."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, init},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec kinpy_queue_spec = {
    .name = "kin._kin.Queue",
    .basicsize = sizeof(struct queue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};
