/* SPDX-License-Identifier: MIT
 * Lock and RLock: as those of multiprocessing; freed when their holder dies. */
#include "native.h"

static PyObject *owner_tuple(int r, const struct kin_owner *owner)
{
    if (r == -ENOENT)
        Py_RETURN_NONE;
    return r < 0 ? kinpy_raise(r) : Py_BuildValue("ii", owner->pid, owner->tid);
}

/* --- Lock ----------------------------------------------------------------------------------- */

static int lock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct kinpy_place place;
    struct kin_arena *arena;
    if (!kinpy_place_only(args, kwargs, &place) || kinpy_begin_init(self, &place, &arena) < 0)
        return -1;
    struct kin_lock *lock = NULL;
    int r = place.name == NULL ? kin_lock_create(arena, NULL, &lock)
                               : kin_lock_open(arena, place.name, NULL, &lock);
    ((struct kinpy_object *)self)->handle = lock;
    return kinpy_end_init(r);
}

static void lock_destroy(void *handle)
{
    kin_lock_destroy(handle);
}

static void lock_dealloc(PyObject *self)
{
    kinpy_dealloc(self, lock_destroy);
}

static int64_t lock_call(void *arg, kin_deadline deadline)
{
    return kin_lock_acquire(arg, deadline);
}

static inline __attribute__((always_inline)) PyObject *lock_take(struct kin_lock *lock,
                                                                 kin_deadline deadline)
{
    if (lock == NULL)
        return NULL;
    int64_t r = kin_lock_try_acquire(lock);
    if (r == -EAGAIN && deadline > KIN_NOW)
        r = kinpy_wait(lock_call, lock, deadline);
    if (r >= 0)
        Py_RETURN_TRUE;
    if (r == -EAGAIN || r == -ETIMEDOUT)
        Py_RETURN_FALSE;
    return kinpy_raise(r);
}

static PyObject *lock_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    kin_deadline deadline;
    if (nargs == 0 && kwnames == NULL) /* nearly always */
        return lock_take(kinpy_handle(self), KIN_NEVER);
    if (!kinpy_block_timeout_given(args, nargs, kwnames, &deadline))
        return NULL;
    return lock_take(kinpy_handle(self), deadline);
}

static PyObject *lock_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return lock_take(kinpy_handle(self), KIN_NEVER);
}

static PyObject *lock_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_lock *lock = kinpy_handle(self);
    if (lock == NULL)
        return NULL;
    int r = kin_lock_release(lock);
    if (r == 0)
        Py_RETURN_NONE;
    if (r == -EPERM)
        return PyErr_Format(PyExc_ValueError, "semaphore or lock released too many times");
    return kinpy_raise(r);
}

static PyObject *lock_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return lock_release(self, NULL);
}

static PyObject *lock_locked(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_lock *lock = kinpy_handle(self);
    return lock == NULL ? NULL : PyBool_FromLong(kin_lock_locked(lock) == 1);
}

static PyObject *lock_owner(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_owner owner;
    struct kin_lock *lock = kinpy_handle(self);
    return lock == NULL ? NULL : owner_tuple(kin_lock_owner(lock, &owner), &owner);
}

static PyObject *lock_abandoned(PyObject *self, void *unused)
{
    (void)unused;
    struct kin_lock *lock = kinpy_handle(self);
    return lock == NULL ? NULL : kinpy_count(kin_lock_abandoned(lock));
}

KINPY_OPEN(lock_open, struct kin_lock, kin_lock_inherit)

#define ACQUIRE_DOC                                                                                \
    "acquire($self, block=True, timeout=None)\n--\n\nAcquire; True, or False when the time is "    \
    "over."
#define RELEASE_DOC   "release($self)\n--\n\nRelease."
#define LOCKED_DOC    "locked($self)\n--\n\nWhether somebody holds it."
#define OWNER_DOC     "_owner($self)\n--\n\nProcess and thread id of the holder, or None."
#define ABANDONED_DOC "How often it was freed because its holder had died."

static PyMethodDef lock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))lock_acquire, METH_FASTCALL | METH_KEYWORDS,
     ACQUIRE_DOC},
    {"release", lock_release, METH_NOARGS, RELEASE_DOC},
    {"__enter__", lock_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))lock_exit, METH_FASTCALL, NULL},
    {"locked", lock_locked, METH_NOARGS, LOCKED_DOC},
    {"_owner", lock_owner, METH_NOARGS, OWNER_DOC},
    {"_open", lock_open, METH_VARARGS, NULL},
    {0},
};

static PyGetSetDef lock_members[] = {
    {"abandoned", lock_abandoned, NULL, ABANDONED_DOC, NULL},
    {0},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, "A lock for processes and threads that survives its holder."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, lock_init},
    {Py_tp_dealloc, lock_dealloc},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_members},
    {0, NULL},
};

PyType_Spec kinpy_lock_spec = {
    .name = "kin._kin.Lock",
    .basicsize = sizeof(struct kinpy_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = lock_slots,
};

/* --- RLock ---------------------------------------------------------------------------------- */

struct rlock {
    struct kinpy_object base;
    PyObject *whole; /* of a value or an array: the memory, whose own lock it is; or NULL */
};

static int rlock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct kinpy_place place;
    struct kin_arena *arena;
    if (!kinpy_place_only(args, kwargs, &place) || kinpy_begin_init(self, &place, &arena) < 0)
        return -1;
    struct kin_rlock *rlock = NULL;
    int r = place.name == NULL ? kin_rlock_create(arena, NULL, &rlock)
                               : kin_rlock_open(arena, place.name, NULL, &rlock);
    ((struct kinpy_object *)self)->handle = rlock;
    return kinpy_end_init(r);
}

static void rlock_destroy(void *handle)
{
    kin_rlock_destroy(handle);
}

static void rlock_dealloc(PyObject *self)
{
    PyObject *whole = ((struct rlock *)self)->whole;
    PyObject_GC_UnTrack(self);
    if (whole != NULL) /* its handle goes with the whole */
        ((struct kinpy_object *)self)->handle = NULL;
    kinpy_dealloc(self, rlock_destroy);
    Py_XDECREF(whole);
}

PyObject *kinpy_rlock_part(PyObject *type, PyObject *whole, struct kin_rlock *rlock)
{
    struct kinpy_state *state = ((struct kinpy_object *)whole)->state;
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, kinpy_type(state->rlock)))
        return PyErr_Format(PyExc_TypeError, "the lock is to be a subclass of _kin.RLock");
    PyObject *self = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    if (self != NULL) {
        ((struct kinpy_object *)self)->state = state;
        ((struct kinpy_object *)self)->arena = ((struct kinpy_object *)whole)->arena;
        ((struct kinpy_object *)self)->handle = rlock;
        ((struct rlock *)self)->whole = Py_NewRef(whole);
    }
    return self;
}

/* The memory whose own lock it is, or None. */
static PyObject *rlock_whole(PyObject *self, void *unused)
{
    (void)unused;
    PyObject *whole = ((struct rlock *)self)->whole;
    return Py_NewRef(whole == NULL ? Py_None : whole);
}

static int64_t rlock_call(void *arg, kin_deadline deadline)
{
    return kin_rlock_acquire(arg, deadline);
}

static PyObject *rlock_take(struct kin_rlock *rlock, kin_deadline deadline)
{
    if (rlock == NULL)
        return NULL;
    int64_t r = kin_rlock_try_acquire(rlock);
    if (r == -EAGAIN && deadline > KIN_NOW)
        r = kinpy_wait(rlock_call, rlock, deadline);
    if (r >= 0)
        Py_RETURN_TRUE;
    if (r == -EAGAIN || r == -ETIMEDOUT)
        Py_RETURN_FALSE;
    return kinpy_raise(r);
}

static PyObject *rlock_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    kin_deadline deadline;
    if (!kinpy_block_timeout(args, nargs, kwnames, &deadline))
        return NULL;
    return rlock_take(kinpy_handle(self), deadline);
}

static PyObject *rlock_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return rlock_take(kinpy_handle(self), KIN_NEVER);
}

static PyObject *rlock_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_rlock *rlock = kinpy_handle(self);
    if (rlock == NULL)
        return NULL;
    int r = kin_rlock_release(rlock);
    if (r == 0)
        Py_RETURN_NONE;
    if (r == -EPERM || r == -EACCES)
        return PyErr_Format(PyExc_AssertionError,
                            "attempt to release recursive lock not owned by thread");
    return kinpy_raise(r);
}

static PyObject *rlock_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return rlock_release(self, NULL);
}

static PyObject *rlock_locked(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_rlock *rlock = kinpy_handle(self);
    return rlock == NULL ? NULL : PyBool_FromLong(kin_rlock_locked(rlock) == 1);
}

static PyObject *rlock_owner(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_owner owner;
    struct kin_rlock *rlock = kinpy_handle(self);
    return rlock == NULL ? NULL : owner_tuple(kin_rlock_owner(rlock, &owner), &owner);
}

static PyObject *rlock_depth(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct kin_rlock *rlock = kinpy_handle(self);
    return rlock == NULL ? NULL : kinpy_count(kin_rlock_depth(rlock));
}

static PyObject *rlock_abandoned(PyObject *self, void *unused)
{
    (void)unused;
    struct kin_rlock *rlock = kinpy_handle(self);
    return rlock == NULL ? NULL : kinpy_count(kin_rlock_abandoned(rlock));
}

KINPY_OPEN(rlock_open, struct kin_rlock, kin_rlock_inherit)

static PyMethodDef rlock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))rlock_acquire, METH_FASTCALL | METH_KEYWORDS,
     ACQUIRE_DOC},
    {"release", rlock_release, METH_NOARGS, RELEASE_DOC},
    {"__enter__", rlock_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))rlock_exit, METH_FASTCALL, NULL},
    {"locked", rlock_locked, METH_NOARGS, LOCKED_DOC},
    {"_owner", rlock_owner, METH_NOARGS, OWNER_DOC},
    {"_open", rlock_open, METH_VARARGS, NULL},
    {"_depth", rlock_depth, METH_NOARGS,
     "_depth($self)\n--\n\nHow often the calling thread holds it."},
    {0},
};

static PyGetSetDef rlock_members[] = {
    {"abandoned", rlock_abandoned, NULL, ABANDONED_DOC, NULL},
    {"_whole", rlock_whole, NULL, NULL, NULL},
    {0},
};

/* The memory may be of a subclass, and know its lock. It cannot be let go before the lock is. */
static int rlock_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct rlock *)self)->whole);
    return 0;
}

static PyType_Slot rlock_slots[] = {
    {Py_tp_doc, "A lock that its holder may acquire again, and that survives its holder."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, rlock_init},
    {Py_tp_dealloc, rlock_dealloc},
    {Py_tp_traverse, rlock_traverse},
    {Py_tp_methods, rlock_methods},
    {Py_tp_getset, rlock_members},
    {0, NULL},
};

PyType_Spec kinpy_rlock_spec = {
    .name = "kin._kin.RLock",
    .basicsize = sizeof(struct rlock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = rlock_slots,
};
