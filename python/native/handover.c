/* SPDX-License-Identifier: MIT
 * Handles on their way to another process: offers for children that are started anew, keys for
 * those that are in the arena already. What is pickled: kin/handover.py. */
#include "native.h"

#include <kin/offer.h>
#include <unistd.h>

/* --- which arena ---------------------------------------------------------------------------- */

static struct kin_arena *find_arena(struct kinpy_state *state, uint64_t id)
{
    struct kin_arena *found = NULL;
    pthread_mutex_lock(&state->mutex);
    if (state->arena != NULL && kin_arena_id(state->arena) == id)
        found = state->arena;
    for (uint32_t i = 0; found == NULL && i < state->others_count; i++)
        if (kin_arena_id(state->others[i]) == id)
            found = state->others[i];
    pthread_mutex_unlock(&state->mutex);
    return found;
}

struct kin_arena *kinpy_arena_at(struct kinpy_state *state, const struct kinpy_place *place)
{
    if (place->arena == 0)
        return kinpy_arena(state);
    struct kin_arena *arena = find_arena(state, place->arena);
    if (arena == NULL)
        PyErr_SetString(PyExc_RuntimeError, "this process is not in that arena");
    return arena;
}

int kinpy_place_only(PyObject *args, PyObject *kwargs, struct kinpy_place *ret_place)
{
    static const char *const keywords[] = {"name", "arena", NULL};
    *ret_place = (struct kinpy_place){NULL, 0};
    return PyArg_ParseTupleAndKeywords(args, kwargs, "|zK", (char **)keywords, &ret_place->name,
                                       &ret_place->arena);
}

/* Beside the arena that new objects are made in. */
static int add_arena(struct kinpy_state *state, struct kin_arena *arena)
{
    int r = -ENOSPC;
    pthread_mutex_lock(&state->mutex);
    if (state->others_count < KINPY_OTHERS) {
        state->others[state->others_count++] = arena;
        r = 0;
    }
    pthread_mutex_unlock(&state->mutex);
    return r;
}

struct opening {
    const char *name;
    struct kin_arena_opts opts;
    int create;
    struct kin_arena *arena;
};

/* (name or None, path or None, create): the identity of the arena, in which this process stays. */
PyObject *kinpy_open_arena(PyObject *module, PyObject *args)
{
    struct opening o = {.opts.size = sizeof o.opts};
    int r;
    if (!PyArg_ParseTuple(args, "zzp", &o.name, &o.opts.path, &o.create))
        return NULL;
    Py_BEGIN_ALLOW_THREADS /* it may take milliseconds, while others open it */
        r = o.create ? kin_arena_open(o.name, &o.opts, &o.arena)
                     : kin_arena_find(o.name, &o.opts, &o.arena);
    Py_END_ALLOW_THREADS if (r == 0 && (r = add_arena(PyModule_GetState(module), o.arena)) < 0)
        kin_arena_detach(o.arena);
    return r < 0 ? kinpy_raise(r) : PyLong_FromUnsignedLongLong(kin_arena_id(o.arena));
}

/* The arena that came with the start of this process is the one that new objects are made in; one
 * that the process had made before stays for its objects. */
static int use_arena(struct kinpy_state *state, struct kin_arena *arena)
{
    int r = 0;
    pthread_mutex_lock(&state->mutex);
    if (state->arena != NULL && state->others_count == KINPY_OTHERS)
        r = -ENOSPC;
    else if (state->arena != NULL)
        state->others[state->others_count++] = state->arena;
    if (r == 0)
        state->arena = arena;
    pthread_mutex_unlock(&state->mutex);
    return r;
}

PyObject *kinpy_arena_id(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct kin_arena *arena = kinpy_arena(PyModule_GetState(module));
    return arena == NULL ? NULL : PyLong_FromUnsignedLongLong(kin_arena_id(arena));
}

PyObject *kinpy_is_known(PyObject *module, PyObject *id)
{
    unsigned long long number = PyLong_AsUnsignedLongLong(id);
    if (PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(find_arena(PyModule_GetState(module), number) != NULL);
}

PyObject *kinpy_accept(PyObject *module, PyObject *args)
{
    struct kinpy_state *state = PyModule_GetState(module);
    int fds[KIN_OFFER_FDS], lifeline = -1;
    unsigned long long place;
    struct kin_arena *arena;
    if (!PyArg_ParseTuple(args, "iiK|i", &fds[0], &fds[1], &place, &lifeline))
        return NULL;
    int r = kin_arena_accept(fds, place, &arena);
    if (r == 0 && lifeline >= 0)
        r = kin_arena_end_with(arena, lifeline);
    if (r == 0 && (r = use_arena(state, arena)) < 0)
        kin_arena_detach(arena);
    return r < 0 ? kinpy_raise(r) : Py_NewRef(Py_None);
}

/* --- open ----------------------------------------------------------------------------------- */

int64_t kinpy_begin_open(PyObject *self, unsigned long long id, unsigned key,
                         struct kin_arena **ret_arena)
{
    struct kinpy_object *object = (struct kinpy_object *)self;
    struct kinpy_state *state = kinpy_state_of(self);
    if (state == NULL)
        return -1;
    *ret_arena = find_arena(state, id);
    if (object->handle != NULL || *ret_arena == NULL) {
        PyErr_Format(PyExc_RuntimeError,
                     object->handle != NULL
                         ? "the object is initialised already"
                         : "a %.80s of kin reaches the processes of its family only: those that "
                           "were started with kin.Process or a context of kin",
                     Py_TYPE(self)->tp_name);
        return -1;
    }
    int64_t position = kin_object_receive(*ret_arena, key);
    if (position < 0)
        kinpy_open_failed(self, (int)position);
    object->state = state;
    object->arena = *ret_arena;
    return position;
}

PyObject *kinpy_open_failed(PyObject *self, int r)
{
    if (r == -ESTALE && !PyErr_Occurred())
        return PyErr_Format(PyExc_RuntimeError,
                            "the %.80s is gone: no process had it any more when it was unpickled",
                            Py_TYPE(self)->tp_name);
    return kinpy_raise(r);
}

PyObject *kinpy_open(PyObject *self, PyObject *args, kinpy_open_fn open)
{
    unsigned long long id;
    unsigned key;
    struct kin_arena *arena;
    if (!PyArg_ParseTuple(args, "KI", &id, &key))
        return NULL;
    int64_t position = kinpy_begin_open(self, id, key, &arena);
    if (position < 0)
        return NULL;
    int r = open(arena, (uint32_t)position, &((struct kinpy_object *)self)->handle);
    return r < 0 ? kinpy_open_failed(self, r) : Py_NewRef(Py_None);
}

/* --- keys ----------------------------------------------------------------------------------- */

struct kinpy_object *kinpy_ours(PyObject *module, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    while (type != NULL && PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
           ((PyHeapTypeObject *)type)->ht_module != module)
        type = type->tp_base;
    if (type == NULL || !PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) ||
        type->tp_basicsize < (Py_ssize_t)sizeof(struct kinpy_object)) { /* Child, Ready */
        PyErr_Format(PyExc_TypeError, "%.80s is no object of kin", Py_TYPE(object)->tp_name);
        return NULL;
    }
    if (kinpy_begin_use(object) != NULL)
        return (struct kinpy_object *)object;
    if (((struct kinpy_object *)object)->close != NULL)
        return (void *)PyErr_Format(PyExc_OSError, "handle is closed");
    return kinpy_handle(object);
}

/* (identity of its arena, key) */
PyObject *kinpy_key(PyObject *module, PyObject *object)
{
    struct kinpy_object *handle = kinpy_ours(module, object);
    uint32_t key;
    if (handle == NULL)
        return NULL;
    int r = kin_object_key(handle->handle, &key);
    kinpy_end_use(object);
    return r < 0 ? kinpy_raise(r) : Py_BuildValue("KI", kin_arena_id(handle->arena), key);
}

/* --- offers --------------------------------------------------------------------------------- */

static void free_offer(PyObject *capsule)
{
    kin_offer_destroy(PyCapsule_GetPointer(capsule, "kin.offer"));
}

/* (capsule, descriptor, descriptor, place, life line or -1) of a new offer in that arena. */
PyObject *kinpy_offer(PyObject *module, PyObject *args)
{
    unsigned long long id;
    PyObject *name;
    char text[KINPY_NAME];
    int daemon, lifeline = -1;
    if (!PyArg_ParseTuple(args, "KUp", &id, &name, &daemon) || kinpy_copy_name(name, text) < 0)
        return NULL;
    struct kin_arena *arena = find_arena(PyModule_GetState(module), id);
    if (arena == NULL)
        return PyErr_Format(PyExc_RuntimeError, "this process is not in that arena");
    struct kin_offer *offer;
    int r = kin_offer_create(arena, text, &offer);
    if (r < 0)
        return kinpy_raise(r);
    PyObject *capsule = PyCapsule_New(offer, "kin.offer", free_offer);
    if (capsule == NULL) {
        kin_offer_destroy(offer);
        return NULL;
    }
    if (daemon && (lifeline = kin_offer_daemon(offer)) < 0) {
        Py_DECREF(capsule);
        return kinpy_raise(lifeline);
    }
    int fds[KIN_OFFER_FDS];
    kin_offer_fds(offer, fds);
    return Py_BuildValue("NiiKi", capsule, fds[0], fds[1], kin_offer_place(offer), lifeline);
}

PyObject *kinpy_offer_add(PyObject *module, PyObject *args)
{
    PyObject *capsule, *object;
    if (!PyArg_ParseTuple(args, "OO", &capsule, &object))
        return NULL;
    struct kin_offer *offer = PyCapsule_GetPointer(capsule, "kin.offer");
    struct kinpy_object *handle = offer == NULL ? NULL : kinpy_ours(module, object);
    uint32_t key;
    if (handle == NULL)
        return NULL;
    int r = kin_offer_add(offer, handle->handle, &key);
    kinpy_end_use(object);
    return r < 0 ? kinpy_raise(r) : PyLong_FromUnsignedLong(key);
}
