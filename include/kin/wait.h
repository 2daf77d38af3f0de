/* SPDX-License-Identifier: MIT
 * Wait for any of several objects, and who waits for whom. */
#ifndef KIN_WAIT_H
#define KIN_WAIT_H

#include <kin/arena.h>
#include <kin/barrier.h>
#include <kin/event.h>
#include <kin/lock.h>
#include <kin/pipe.h>
#include <kin/process.h>
#include <kin/queue.h>
#include <kin/semaphore.h>

KIN_BEGIN

/* --- wait-any ------------------------------------------------------------------------------- */

#define KIN_WAIT_ANY_MAX 32u

enum kin_wait_kind {
    KIN_WAIT_LOCK = 1,  /* nobody holds the lock */
    KIN_WAIT_RLOCK,     /* nobody holds it, or the calling thread does */
    KIN_WAIT_SEMAPHORE, /* it has a permit */
    KIN_WAIT_EVENT,     /* it is set */
    KIN_WAIT_GET,       /* the queue has a message, or is shut down */
    KIN_WAIT_PUT,       /* the queue has room, or is shut down */
    KIN_WAIT_FD,        /* the descriptor is readable: a process that ended, for example */
    KIN_WAIT_RECV,      /* the end of a pipe has a message, or the end of file */
    KIN_WAIT_SEND,      /* the end of a pipe has room, or the other one is closed */
};

struct kin_wait {
    uint32_t kind; /* enum kin_wait_kind */
    int32_t fd;
    void *object;
};

static inline struct kin_wait kin_wait_lock(struct kin_lock *lock)
{
    struct kin_wait wait = {KIN_WAIT_LOCK, -1, lock};
    return wait;
}

static inline struct kin_wait kin_wait_rlock(struct kin_rlock *rlock)
{
    struct kin_wait wait = {KIN_WAIT_RLOCK, -1, rlock};
    return wait;
}

static inline struct kin_wait kin_wait_semaphore(struct kin_semaphore *semaphore)
{
    struct kin_wait wait = {KIN_WAIT_SEMAPHORE, -1, semaphore};
    return wait;
}

static inline struct kin_wait kin_wait_event(struct kin_event *event)
{
    struct kin_wait wait = {KIN_WAIT_EVENT, -1, event};
    return wait;
}

static inline struct kin_wait kin_wait_get(struct kin_queue *queue)
{
    struct kin_wait wait = {KIN_WAIT_GET, -1, queue};
    return wait;
}

static inline struct kin_wait kin_wait_put(struct kin_queue *queue)
{
    struct kin_wait wait = {KIN_WAIT_PUT, -1, queue};
    return wait;
}

static inline struct kin_wait kin_wait_recv(struct kin_pipe *end)
{
    struct kin_wait wait = {KIN_WAIT_RECV, -1, end};
    return wait;
}

static inline struct kin_wait kin_wait_send(struct kin_pipe *end)
{
    struct kin_wait wait = {KIN_WAIT_SEND, -1, end};
    return wait;
}

static inline struct kin_wait kin_wait_process(struct kin_process *process)
{
    struct kin_wait wait = {KIN_WAIT_FD, kin_process_fd(process), NULL};
    return wait;
}

static inline struct kin_wait kin_wait_fd(int fd)
{
    struct kin_wait wait = {KIN_WAIT_FD, fd, NULL};
    return wait;
}

/* Wait until one of count objects of the arena is ready. Returns its index: the first, if several
 * are. Nothing is taken: somebody else may be quicker, so follow with a try_ call and come back.
 * Descriptors beside objects are looked at every 10 ms, alone at once.
 * Errors: -ETIMEDOUT (a deadline that has passed looks once), -EINVAL (none, more than
 * KIN_WAIT_ANY_MAX, no such kind), -EPROTOTYPE (an object of another kind), -EXDEV (of another
 * arena), -EBADF (no descriptor; the end of a one-way pipe that goes the other way), -ESTALE.
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_wait_any(struct kin_arena *arena, const struct kin_wait *waits,
                                       uint32_t count, kin_deadline deadline);

/* --- signals -------------------------------------------------------------------------------- */

/* With on != 0 every wait of the calling thread that has a deadline, of any object or process, ends
 * at once with -ETIMEDOUT (as at its deadline: nothing is taken, nothing is lost) when a signal
 * handler has run in the thread while it slept: to look at what the handler has noted, and perhaps
 * to wait again. Off at first; a child of fork has it from the thread that forked. Waits with
 * KIN_NEVER go on in any case. A signal that comes before the thread sleeps is noticed at the
 * deadline only, so for that one is needed that is not far. Returns what it was before. Safety: any
 * thread, also in a signal handler | any process. */
KIN_API int kin_wait_interruptible(int on);

/* --- who waits for whom ---------------------------------------------------------------------- */

/* Name the calling thread for observers; up to 31 bytes, NULL takes the name away.
 * Errors: -EINVAL (longer), -ENOSPC (thread table full). Safety: any thread | any process. */
KIN_API int kin_thread_set_name(struct kin_arena *arena, const char *name);

#define KIN_DEADLOCK_PARTIES_MAX 16u

/* One thread of a deadlock and the lock it waits for, which the next party holds. */
struct kin_deadlock_party {
    int32_t pid, tid;
    char process[32]; /* names, "" if none was given */
    char thread[32];
    char object[32];
    uint32_t object_id;
    uint32_t kind;    /* KIN_WAIT_LOCK or KIN_WAIT_RLOCK */
    int64_t since_ns; /* when it began to wait, as kin_now_ns */
};

struct kin_deadlock {
    uint32_t parties_count; /* may be more than are listed */
    uint32_t reserved;
    struct kin_deadlock_party parties[KIN_DEADLOCK_PARTIES_MAX];
};

/* Find the deadlocks: cycles of threads of which each waits for a lock or rlock that the next one
 * holds; also one thread that waits for a lock it holds itself, and waits that have a deadline.
 * Exact: a cycle is reported only if none of its threads did anything between two looks, a
 * millisecond apart. Fills at most max and returns how many there are.
 * Does not block otherwise. Safety: any thread | any process. */
KIN_API int kin_deadlocks(struct kin_arena *arena, struct kin_deadlock *ret_deadlocks,
                          uint32_t max);

KIN_END

#endif
