/* SPDX-License-Identifier: MIT
 * Handles that can be closed while calls of other threads use them: the last user closes.
 *
 * Closing waits for nobody but those who wait in kin, so a signal handler may close what the call
 * that it interrupts uses. A child has none of the other threads of its parent, nor their uses. */
#include "native.h"

uint32_t kinpy_forks;

static void count_fork(void)
{
    kinpy_forks++;
}

static int count_error;

static void begin_to_count(void)
{
    count_error = pthread_atfork(NULL, NULL, count_fork);
}

int kinpy_count_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin_to_count);
    return -count_error;
}

void kinpy_finish_close(PyObject *self, void *handle)
{
    struct kinpy_object *object = (struct kinpy_object *)self;
    Py_BEGIN_ALLOW_THREADS /* it may throw away what nobody received */
        object->close(handle);
    Py_END_ALLOW_THREADS
}

void kinpy_close(PyObject *self, void (*interrupt)(void *handle), void (*close)(void *handle))
{
    struct kinpy_object *object = (struct kinpy_object *)self;
    void *handle = kinpy_begin_use(self);
    int others;
    if (handle == NULL)
        return;
    KINPY_BEGIN_ALONE(self);
    object->close = close;
    others = object->users > 1;
    KINPY_END_ALONE();
    if (others) {
        Py_BEGIN_ALLOW_THREADS /* it waits until they have gone */
            interrupt(handle);
        Py_END_ALLOW_THREADS
    }
    kinpy_end_use(self);
}
