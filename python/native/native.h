/* SPDX-License-Identifier: MIT
 * What the files of the extension share: the state of the module, errors, and waiting.
 *
 * Each type of kin._kin is a file. An object is its handle and a pointer to the state of the
 * module, which lives as long as the type. There is nothing static but the count of forks: the
 * arena belongs to the module, is made at the first use, and children made with fork have it. */
#ifndef KINPY_NATIVE_H
#define KINPY_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include <kin/kin.h>

#define KINPY_OTHERS 64

/* What the module refers to: types of its own, what it takes from the standard library (dumps and
 * loads are ForkingPickler's; reducers its functions by type, copyreg those of all picklers), and
 * the pickler of item.c. */
/* clang-format off */
#define KINPY_OBJECTS(X)                                                                           \
    X(lock) X(rlock) X(pipe) X(dumps) X(loads) X(empty) X(full) X(shut_down) X(broken_barrier)     \
    X(buffer_too_short) X(new_pickler) X(new_buffer) X(reducers) X(copyreg) X(seen_reducers)       \
    X(seen_copyreg) X(pickler) X(buffer) X(message) X(collect) X(apart) X(init_pickler)
/* clang-format on */

struct kinpy_state {
    struct kin_arena *arena;                /* where new objects are made */
    struct kin_arena *others[KINPY_OTHERS]; /* of objects that were made before that one came */
    uint32_t others_count;
    pthread_mutex_t mutex;   /* guards the arenas */
    atomic_bool is_pickling; /* guards the pickler, what it knows, and apart */
#define KINPY_MEMBER(name) PyObject *name;
    KINPY_OBJECTS(KINPY_MEMBER)
#undef KINPY_MEMBER
};

static inline PyTypeObject *kinpy_type(PyObject *object)
{
    return (PyTypeObject *)object;
}

extern struct PyModuleDef kinpy_module;

/* The state for an object that is being initialised, or NULL with an exception. */
struct kinpy_state *kinpy_state_of(PyObject *object);
/* The arena, made if there is none yet; NULL with an exception. */
struct kin_arena *kinpy_arena(struct kinpy_state *state);

/* Where an object is made, or found: by that name, if it is not NULL, in that arena (its identity;
 * 0: the family's). */
struct kinpy_place {
    const char *name;
    unsigned long long arena;
};
struct kin_arena *kinpy_arena_at(struct kinpy_state *state, const struct kinpy_place *place);
/* What kwargs of an object that needs no more may be. */
int kinpy_place_only(PyObject *args, PyObject *kwargs, struct kinpy_place *ret_place);

/* Raise what stands for a negative result of kin where the type has nothing better to say; keeps an
 * exception that is raised already. Returns NULL. */
PyObject *kinpy_raise(int64_t error);

/* A count as a number; what is negative is raised. */
static inline PyObject *kinpy_count(int64_t n)
{
    return n < 0 ? kinpy_raise(n) : PyLong_FromLongLong(n);
}

/* timeout: NULL or None is for ever, a number is seconds, a negative one none. False: raised. */
int kinpy_deadline(PyObject *timeout, kin_deadline *ret_deadline);
/* Arguments by position or by name; NULL: not given. False: raised. */
int kinpy_arguments(const char *const *names, Py_ssize_t count, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *kwnames, PyObject **ret_values);
/* What block=True and timeout=None say; both are looked at, also where one is enough. */
int kinpy_block_or_timeout(PyObject *block, PyObject *timeout, kin_deadline *ret_deadline);
int kinpy_block_timeout_given(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                              kin_deadline *ret_deadline);
static inline int kinpy_block_timeout(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                                      kin_deadline *ret_deadline)
{
    *ret_deadline = KIN_NEVER; /* what nearly all say, by saying nothing */
    return (nargs == 0 && kwnames == NULL) ||
           kinpy_block_timeout_given(args, nargs, kwnames, ret_deadline);
}

/* No other thread does the same with that object meanwhile: the interpreter lock sees to that where
 * there is one. */
#ifdef Py_BEGIN_CRITICAL_SECTION
#define KINPY_BEGIN_ALONE(object) Py_BEGIN_CRITICAL_SECTION(object)
#define KINPY_END_ALONE()         Py_END_CRITICAL_SECTION()
#else
#define KINPY_BEGIN_ALONE(object) {
#define KINPY_END_ALONE()         }
#endif

#define KINPY_RAISED INT64_MIN /* the exception of a signal handler is set */

/* Wait without the interpreter. The main thread runs signal handlers when a signal
 * comes; call may return at any time with -ETIMEDOUT, and must do no harm then. Returns what call
 * did, -ETIMEDOUT at the deadline, or KINPY_RAISED. */
typedef int64_t (*kinpy_call_fn)(void *arg, kin_deadline deadline);
int64_t kinpy_wait(kinpy_call_fn call, void *arg, kin_deadline deadline);

/* Handles on their way to other processes: handover.c. */
PyObject *kinpy_arena_id(PyObject *module, PyObject *unused);
PyObject *kinpy_is_known(PyObject *module, PyObject *id);
PyObject *kinpy_accept(PyObject *module, PyObject *args);
PyObject *kinpy_key(PyObject *module, PyObject *object);
PyObject *kinpy_offer(PyObject *module, PyObject *args);
PyObject *kinpy_offer_add(PyObject *module, PyObject *args);
PyObject *kinpy_open_arena(PyObject *module, PyObject *args);

/* The method _open(arena, key) of a type, on an object that __init__ has not seen. */
typedef int (*kinpy_open_fn)(struct kin_arena *arena, uint32_t position, void **ret_handle);
PyObject *kinpy_open(PyObject *self, PyObject *args, kinpy_open_fn open);
/* Its parts: the position of the object to inherit, or negative with an exception; and the
 * exception for an error of the function that inherits. */
int64_t kinpy_begin_open(PyObject *self, unsigned long long id, unsigned key,
                         struct kin_arena **ret_arena);
PyObject *kinpy_open_failed(PyObject *self, int r);

#define KINPY_OPEN(method, type, inherit)                                                          \
    static int method##_handle(struct kin_arena *arena, uint32_t position, void **ret_handle)      \
    {                                                                                              \
        type *handle = NULL;                                                                       \
        int r = inherit(arena, position, &handle);                                                 \
        *ret_handle = handle;                                                                      \
        return r;                                                                                  \
    }                                                                                              \
    static PyObject *method(PyObject *self, PyObject *args)                                        \
    {                                                                                              \
        return kinpy_open(self, args, method##_handle);                                            \
    }

/* Items as bytes: item.c. */
#define KINPY_SHORT 4096
/* Write an item of a form of our own: its length, or 0 if it is to be pickled. Raises nothing. */
size_t kinpy_write_item(PyObject *item, void *buffer, size_t room);
/* Pickle an item. ret_buffers: NULL, or what becomes a list of views of the long buffers that are
 * not in the pickle, or NULL if there are none. */
PyObject *kinpy_pickle(struct kinpy_state *state, PyObject *item, PyObject **ret_buffers);
PyObject *kinpy_read_item(struct kinpy_state *state, const void *data, size_t bytes);
PyObject *kinpy_pack(PyObject *module, PyObject *item);
PyObject *kinpy_pack_apart(PyObject *module, PyObject *item);
PyObject *kinpy_unpack(PyObject *module, PyObject *packed);
/* What stands before n bytes that are an item. */
#define KINPY_HEAD 7
size_t kinpy_head_of_bytes(Py_ssize_t n, unsigned char ret_head[KINPY_HEAD]);

/* Items with long buffers: buffers.c. What a pickler asks of each buffer: that of the module, and
 * one whose long buffers go into that list. */
PyObject *kinpy_collect(PyObject *module, PyObject *buffer);
PyObject *kinpy_collector(PyObject *apart);
/* How long a message may become; write it, and how long it is. */
size_t kinpy_frame_bytes(PyObject *pickle, PyObject *buffers);
size_t kinpy_frame_write(PyObject *pickle, PyObject *buffers, char *data);
int kinpy_is_frame(const void *data, size_t bytes);
/* From a copy of it; from allocated memory, which is not to be freed; and from a message that was
 * taken in place, which is not to be released. */
PyObject *kinpy_read_frame(struct kinpy_state *state, const void *data, size_t bytes);
PyObject *kinpy_own_frame(struct kinpy_state *state, void *allocated, size_t bytes);
PyObject *kinpy_take_frame(PyObject *queue, void *data, size_t bytes);

/* The types, added to the module by exec. */
extern PyType_Spec kinpy_lock_spec, kinpy_rlock_spec, kinpy_semaphore_spec, kinpy_event_spec,
    kinpy_condition_spec, kinpy_barrier_spec, kinpy_queue_spec, kinpy_pipe_spec, kinpy_memory_spec,
    kinpy_child_spec, kinpy_block_spec, kinpy_ready_spec, kinpy_message_spec;
PyObject *kinpy_pipe_pair(PyObject *module, PyObject *args);
/* An RLock, of that type, over an rlock that is part of whole. */
PyObject *kinpy_rlock_part(PyObject *type, PyObject *whole, struct kin_rlock *rlock);

/* Every object begins like this. Most handles go with the object, which every call has a reference
 * to. One that can be closed before is in use during each call, and goes with its last user: the
 * members below, with which a thread is alone (use.c). */
struct kinpy_object {
    PyObject_HEAD struct kinpy_state *state;
    struct kin_arena *arena;
    void *handle;
    void (*close)(void *handle); /* NULL: it is open */
    uint32_t users, forks;       /* calls that use it, in the process that came by so many forks */
};

/* The handle, or NULL with an exception when __init__ has not run. */
static inline void *kinpy_handle(PyObject *self)
{
    void *handle = ((struct kinpy_object *)self)->handle;
    if (handle == NULL)
        PyErr_SetString(PyExc_ValueError, "the object was not initialised: call super().__init__");
    return handle;
}

/* The handle for a call, to be ended with kinpy_end_use; NULL if there is none or it is closed. */
extern uint32_t kinpy_forks;
static inline void *kinpy_begin_use(PyObject *self)
{
    struct kinpy_object *object = (struct kinpy_object *)self;
    void *handle;
    KINPY_BEGIN_ALONE(self);
    handle = object->close == NULL ? object->handle : NULL;
    if (object->forks != kinpy_forks) { /* those who use it are in the parent */
        object->forks = kinpy_forks;
        object->users = 0;
    }
    object->users += handle != NULL;
    KINPY_END_ALONE();
    return handle;
}

void kinpy_finish_close(PyObject *self, void *handle);
static inline void kinpy_end_use(PyObject *self)
{
    struct kinpy_object *object = (struct kinpy_object *)self;
    void *handle = NULL;
    KINPY_BEGIN_ALONE(self);
    if (object->users > 0) /* 0: we are a fork that was made during the call */
        object->users--;
    if (object->close != NULL && object->users == 0) {
        handle = object->handle;
        object->handle = NULL;
    }
    KINPY_END_ALONE();
    if (handle != NULL)
        kinpy_finish_close(self, handle);
}

/* No call begins to use it from here on. Those that do are sent away by interrupt; the last of them
 * closes it. Nothing happens if it is closed already. */
void kinpy_close(PyObject *self, void (*interrupt)(void *handle), void (*close)(void *handle));
static inline int kinpy_is_closed(PyObject *self)
{
    struct kinpy_object *object = (struct kinpy_object *)self;
    return object->close != NULL || object->handle == NULL;
}
int kinpy_count_forks(void);

/* The name of a process, for observers: as much of it as fits, in whole letters. */
#define KINPY_NAME 32
int kinpy_copy_name(PyObject *text, char ret_name[KINPY_NAME]);

/* An object of this module, initialised and in use; or NULL with an exception. */
struct kinpy_object *kinpy_ours(PyObject *module, PyObject *object);

/* __init__ may run once. */
static inline int kinpy_begin_init(PyObject *self, const struct kinpy_place *place,
                                   struct kin_arena **ret_arena)
{
    struct kinpy_object *object = (struct kinpy_object *)self;
    if (object->handle != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the object is initialised already");
        return -1;
    }
    object->state = kinpy_state_of(self);
    if (object->state == NULL)
        return -1;
    *ret_arena = object->arena = kinpy_arena_at(object->state, place);
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
