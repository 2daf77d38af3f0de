/* SPDX-License-Identifier: MIT
 * What the files of the extension share: the state of the module, errors, and waiting.
 *
 * Each type of kin._kin is a file. An object is its handle and a pointer to the state of the
 * module, which lives as long as the type. There is nothing static: the arena belongs to the
 * module, is made at the first use, and children made with fork have it. */
#ifndef KINPY_NATIVE_H
#define KINPY_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <pthread.h>

#include <kin/kin.h>

struct kinpy_state {
    struct kin_arena *arena;
    pthread_mutex_t mutex; /* guards the making of the arena */
    PyTypeObject *lock, *rlock, *pipe;
    PyObject *dumps, *loads; /* ForkingPickler's */
    PyObject *empty, *full, *shut_down;
    PyObject *broken_barrier, *buffer_too_short;
};

extern struct PyModuleDef kinpy_module;

/* The state for an object that is being initialised, or NULL with an exception. */
struct kinpy_state *kinpy_state_of(PyObject *object);
/* The arena, made if there is none yet; NULL with an exception. */
struct kin_arena *kinpy_arena(struct kinpy_state *state);

/* Raise what stands for a negative result of kin where the type has nothing better to say; keeps an
 * exception that is raised already. Returns NULL. */
PyObject *kinpy_raise(int64_t error);

/* timeout: NULL or None is for ever, a number is seconds, a negative one none. False: raised. */
int kinpy_deadline(PyObject *timeout, kin_deadline *ret_deadline);
/* Arguments (block=True, timeout=None) under the given names, beginning with args[skip]. */
int kinpy_block_timeout(const char *const *names, PyObject *const *args, Py_ssize_t skip,
                        Py_ssize_t nargs, PyObject *kwnames, kin_deadline *ret_deadline);

#define KINPY_RAISED INT64_MIN /* the exception of a signal handler is set */

/* Wait without the interpreter. The main thread waits in slices and runs signal handlers in
 * between; call must do no harm when its deadline passes. Returns what call did, -ETIMEDOUT at the
 * deadline, or KINPY_RAISED. */
typedef int64_t (*kinpy_call_fn)(void *arg, kin_deadline deadline);
int64_t kinpy_wait(kinpy_call_fn call, void *arg, kin_deadline deadline);

/* The types, added to the module by exec. */
extern PyType_Spec kinpy_lock_spec, kinpy_rlock_spec, kinpy_semaphore_spec, kinpy_event_spec,
    kinpy_condition_spec, kinpy_barrier_spec, kinpy_queue_spec, kinpy_pipe_spec;
PyObject *kinpy_pipe_pair(PyObject *module, PyObject *args);

/* Every object begins like this. */
struct kinpy_object {
    PyObject_HEAD struct kinpy_state *state;
    void *handle;
};

/* The handle, or NULL with an exception when __init__ has not run. */
static inline void *kinpy_handle(PyObject *self)
{
    void *handle = ((struct kinpy_object *)self)->handle;
    if (handle == NULL)
        PyErr_SetString(PyExc_ValueError, "the object was not initialised: call super().__init__");
    return handle;
}

/* __init__ may run once. */
static inline int kinpy_begin_init(PyObject *self, struct kin_arena **ret_arena)
{
    struct kinpy_object *object = (struct kinpy_object *)self;
    if (object->handle != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the object is initialised already");
        return -1;
    }
    object->state = kinpy_state_of(self);
    if (object->state == NULL)
        return -1;
    *ret_arena = kinpy_arena(object->state);
    return *ret_arena == NULL ? -1 : 0;
}

static inline int kinpy_end_init(int r)
{
    if (r < 0)
        kinpy_raise(r);
    return r < 0 ? -1 : 0;
}

/* Destroy the handle with the function of the type and free the object. */
static inline void kinpy_dealloc(PyObject *self, void (*destroy)(void *handle))
{
    PyTypeObject *type = Py_TYPE(self);
    void *handle = ((struct kinpy_object *)self)->handle;
    if (handle != NULL)
        destroy(handle);
    type->tp_free(self);
    Py_DECREF(type);
}

#endif
