/* SPDX-License-Identifier: MIT
 * The module kin._kin: its state, and what it takes from the standard library. */
#include "native.h"

#include <stddef.h>

static struct kinpy_state *module_state(PyObject *module)
{
    return PyModule_GetState(module);
}

struct kinpy_state *kinpy_state_of(PyObject *object)
{
    PyObject *module = PyType_GetModuleByDef(Py_TYPE(object), &kinpy_module);
    return module == NULL ? NULL : module_state(module);
}

struct kin_arena *kinpy_arena(struct kinpy_state *state)
{
    struct kin_arena_opts opts = {.size = sizeof opts, .name = "python"};
    int r = 0;
    pthread_mutex_lock(&state->mutex); /* nothing under it needs the interpreter */
    if (state->arena == NULL)
        r = kin_arena_create(&opts, &state->arena);
    pthread_mutex_unlock(&state->mutex);
    if (r < 0)
        kinpy_raise(r);
    return state->arena;
}

static PyObject *attribute(const char *module_name, const char *class_name, const char *name)
{
    PyObject *object = PyImport_ImportModule(module_name);
    PyObject *result = object == NULL ? NULL : PyObject_GetAttrString(object, class_name);
    Py_XDECREF(object);
    if (result != NULL && name != NULL) {
        object = result;
        result = PyObject_GetAttrString(object, name);
        Py_DECREF(object);
    }
    return result;
}

static const struct {
    size_t member; /* of struct kinpy_state */
    const char *module, *class, *name;
} imports[] = {
#define TAKE(member, ...)                                                                          \
    {                                                                                              \
        offsetof(struct kinpy_state, member), __VA_ARGS__                                          \
    }
    TAKE(dumps, "multiprocessing.reduction", "ForkingPickler", "dumps"),
    TAKE(loads, "multiprocessing.reduction", "ForkingPickler", "loads"),
    TAKE(new_pickler, "multiprocessing.reduction", "ForkingPickler", NULL),
    TAKE(reducers, "multiprocessing.reduction", "ForkingPickler", "_extra_reducers"),
    TAKE(copyreg, "copyreg", "dispatch_table", NULL),
    TAKE(init_pickler, "pickle", "Pickler", "__init__"),
    TAKE(new_buffer, "io", "BytesIO", NULL),
    TAKE(empty, "queue", "Empty", NULL),
    TAKE(full, "queue", "Full", NULL),
    TAKE(broken_barrier, "threading", "BrokenBarrierError", NULL),
    TAKE(buffer_too_short, "multiprocessing.context", "BufferTooShort", NULL),
#undef TAKE
};

static int import_all(struct kinpy_state *state)
{
    for (size_t i = 0; i < sizeof imports / sizeof imports[0]; i++) {
        PyObject *object = attribute(imports[i].module, imports[i].class, imports[i].name);
        if (object == NULL)
            return -1;
        *(PyObject **)((char *)state + imports[i].member) = object;
    }
    state->shut_down = attribute("queue", "ShutDown", NULL);
    if (state->shut_down == NULL) { /* before 3.13 */
        PyErr_Clear();
        state->shut_down = PyErr_NewExceptionWithDoc(
            "kin.ShutDown", "Raised by put and get of a queue that was shut down.", NULL, NULL);
    }
    return state->shut_down == NULL ? -1 : 0;
}

static int add_type(PyObject *module, PyType_Spec *spec, PyObject **ret_type)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL)
        return -1;
    int r = PyModule_AddType(module, (PyTypeObject *)type);
    if (ret_type != NULL && r == 0)
        *ret_type = Py_NewRef(type);
    Py_DECREF(type);
    return r;
}

static int exec(PyObject *module)
{
    struct kinpy_state *state = module_state(module);
    pthread_mutex_init(&state->mutex, NULL);
    int r = kinpy_count_forks();
    if (r < 0)
        kinpy_raise(r);
    if (r < 0 || import_all(state) < 0)
        return -1;
    if (add_type(module, &kinpy_lock_spec, &state->lock) < 0 ||
        add_type(module, &kinpy_rlock_spec, &state->rlock) < 0 ||
        add_type(module, &kinpy_semaphore_spec, NULL) < 0 ||
        add_type(module, &kinpy_event_spec, NULL) < 0 ||
        add_type(module, &kinpy_condition_spec, NULL) < 0 ||
        add_type(module, &kinpy_barrier_spec, NULL) < 0 ||
        add_type(module, &kinpy_queue_spec, NULL) < 0 ||
        add_type(module, &kinpy_memory_spec, NULL) < 0 ||
        add_type(module, &kinpy_child_spec, NULL) < 0 ||
        add_type(module, &kinpy_block_spec, NULL) < 0 ||
        add_type(module, &kinpy_ready_spec, NULL) < 0 ||
        add_type(module, &kinpy_message_spec, &state->message) < 0 ||
        add_type(module, &kinpy_pipe_spec, &state->pipe) < 0)
        return -1;
    state->collect = PyObject_GetAttrString(module, "collect");
    if (state->collect == NULL)
        return -1;
    return PyModule_AddObjectRef(module, "ShutDown", state->shut_down);
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    struct kinpy_state *state = module_state(module);
#define VISIT(name) Py_VISIT(state->name);
    KINPY_OBJECTS(VISIT)
    return 0;
}

static int clear(PyObject *module)
{
    struct kinpy_state *state = module_state(module);
#define CLEAR(name) Py_CLEAR(state->name);
    KINPY_OBJECTS(CLEAR)
    return 0;
}

/* The arena of the process stays until that ends: daemon threads may wait in it still. Those of
 * another interpreter go with it: nothing of this module is left there, so nobody waits. */
static void free_module(void *module)
{
    struct kinpy_state *state = module_state(module);
    clear(module);
    if (PyInterpreterState_Get() == PyInterpreterState_Main())
        return;
    for (uint32_t i = 0; i < state->others_count; i++)
        kin_arena_detach(state->others[i]);
    if (state->arena != NULL)
        kin_arena_detach(state->arena);
    state->others_count = 0;
    state->arena = NULL;
}

/* What the arena of new objects has in it, by the names of struct kin_arena_stats. */
static PyObject *arena_stat(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct kin_arena *arena = kinpy_arena(module_state(module));
    struct kin_arena_stats stat = {.size = sizeof stat};
    if (arena == NULL)
        return NULL;
    int r = kin_arena_stat(arena, &stat);
    if (r < 0)
        return kinpy_raise(r);
    return Py_BuildValue("{sIsIsIsKsKsKsK}", "participants_count", stat.participants_count,
                         "threads_count", stat.threads_count, "objects_count", stat.objects_count,
                         "reserved_bytes", stat.reserved_bytes, "committed_bytes",
                         stat.committed_bytes, "used_bytes", stat.used_bytes, "deaths_count",
                         stat.deaths_count);
}

/* Repair what the dead left behind, now; how many there were. */
static PyObject *arena_reap(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct kin_arena *arena = kinpy_arena(module_state(module));
    if (arena == NULL)
        return NULL;
    int r = kin_arena_reap(arena);
    return r < 0 ? kinpy_raise(r) : PyLong_FromLong(r);
}

/* For tests: memory of the arena that is in use. */
static PyObject *used_bytes(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct kin_arena *arena = kinpy_arena(PyModule_GetState(module));
    struct kin_arena_stats stats = {.size = sizeof stats};
    int r = arena == NULL ? -EINVAL : kin_arena_stat(arena, &stats);
    return r < 0 ? kinpy_raise(r) : PyLong_FromUnsignedLongLong(stats.used_bytes);
}

/* The interpreter calls a method of C quickly only if its descriptor is of the very type of the
 * object, so a subclass gets descriptors of its own for what it inherits. */
PyDoc_STRVAR(own_doc,
             "own(type, /)\n--\n\nMake the methods that a subclass inherits from its type in C "
             "its own. Returns it.");
static PyObject *own(PyObject *module, PyObject *object)
{
    (void)module;
    PyTypeObject *type = (PyTypeObject *)object, *base = PyType_Check(object) ? type : NULL;
    while (base != NULL && base->tp_methods == NULL)
        base = base->tp_base;
    if (base == NULL)
        return PyErr_Format(PyExc_TypeError, "a subclass of a type of kin is expected");
    for (PyMethodDef *method = base->tp_methods; method->ml_name != NULL; method++) {
        PyObject *present = PyObject_GetAttrString(object, method->ml_name);
        int is_inherited = present != NULL && Py_IS_TYPE(present, &PyMethodDescr_Type) &&
                           ((PyMethodDescrObject *)present)->d_method == method;
        Py_XDECREF(present);
        PyObject *descriptor = is_inherited ? PyDescr_NewMethod(type, method) : NULL;
        int r =
            descriptor == NULL ? 0 : PyObject_SetAttrString(object, method->ml_name, descriptor);
        Py_XDECREF(descriptor);
        if (r < 0 || PyErr_Occurred())
            return NULL;
    }
    return Py_NewRef(object);
}

static PyMethodDef functions[] = {
    {"own", own, METH_O, own_doc},
    {"used_bytes", used_bytes, METH_NOARGS, NULL},
    {"collect", kinpy_collect, METH_O, NULL},
    {"pack", kinpy_pack, METH_O, NULL},
    {"pack_apart", kinpy_pack_apart, METH_O, NULL},
    {"unpack", kinpy_unpack, METH_O, NULL},
    {"arena_stat", arena_stat, METH_NOARGS, NULL},
    {"arena_reap", arena_reap, METH_NOARGS, NULL},
    {"arena_id", kinpy_arena_id, METH_NOARGS, NULL},
    {"is_known", kinpy_is_known, METH_O, NULL},
    {"accept", kinpy_accept, METH_VARARGS, NULL},
    {"key", kinpy_key, METH_O, NULL},
    {"open_arena", kinpy_open_arena, METH_VARARGS, NULL},
    {"offer", kinpy_offer, METH_VARARGS, NULL},
    {"offer_add", kinpy_offer_add, METH_VARARGS, NULL},
    {"pipe", kinpy_pipe_pair, METH_VARARGS,
     "pipe($module, type, duplex, /)\n--\n\nMake the two ends of a pipe, of that type."},
    {0},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, exec},
#ifdef Py_mod_multiple_interpreters /* 3.12; each has an arena of its own */
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil /* 3.13 */
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

struct PyModuleDef kinpy_module = {
    PyModuleDef_HEAD_INIT,          .m_name = "kin._kin",
    .m_doc = "The objects of kin.", .m_size = sizeof(struct kinpy_state),
    .m_methods = functions,         .m_slots = slots,
    .m_traverse = traverse,         .m_clear = clear,
    .m_free = free_module,
};

PyMODINIT_FUNC PyInit__kin(void);
PyMODINIT_FUNC PyInit__kin(void)
{
    return PyModuleDef_Init(&kinpy_module);
}
