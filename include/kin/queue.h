/* SPDX-License-Identifier: MIT
 * Queue: first in, first out, any number of producers and consumers, processes and threads.
 *
 * An item whose put returned is safe: it stays in the queue whoever dies. An item that a consumer
 * had claimed when it was killed, before its get returned, is delivered again, ahead of the rest.
 * Small messages travel inside the ring, larger ones in a block of the arena. */
#ifndef KIN_QUEUE_H
#define KIN_QUEUE_H

#include <kin/arena.h>

KIN_BEGIN

struct kin_queue;

enum kin_shutdown { KIN_WHEN_DRAINED = 0, KIN_AT_ONCE = 1 };

struct kin_queue_opts {
    uint32_t size;         /* sizeof(struct kin_queue_opts); 0 stands for it too */
    uint32_t inline_bytes; /* messages up to this travel in the ring itself; 0: 112; up to 1008 */
    uint64_t max_items;    /* bound on the number of items; 0: unbounded */
    const char *name;      /* for observers, up to 31 bytes; NULL: none */
};

/* Create a queue. Processes forked afterwards share it through the same handle.
 * Errors: -EINVAL, -E2BIG, -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too. */
KIN_API KIN_NODISCARD int kin_queue_create(struct kin_arena *arena,
                                           const struct kin_queue_opts *opts,
                                           struct kin_queue **ret_queue);

/* Give this process's handle back. The queue and what is in it are freed with the last process
 * that has it. NULL is ignored. Safety: when no other thread of the process uses the handle. */
KIN_API void kin_queue_destroy(struct kin_queue *queue);

/* Put a message of bytes bytes (0 is a message too). Blocks while a bounded queue is full; a get
 * wakes it. Errors: -ETIMEDOUT, -ESHUTDOWN, -ESTALE, -ENOMEM, -EMSGSIZE (larger than the arena can
 * ever hold), -EINVAL. Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_queue_put(struct kin_queue *queue, const void *data, size_t bytes,
                                        kin_deadline deadline);

/* The same without waiting: -EAGAIN when the queue is full. */
KIN_API KIN_NODISCARD int kin_queue_try_put(struct kin_queue *queue, const void *data,
                                            size_t bytes);

/* Take the oldest message into buffer and return its length in bytes. Blocks while the queue is
 * empty; a put wakes it. Errors: -ETIMEDOUT, -ESHUTDOWN (shut down and drained), -ESTALE, -EMSGSIZE
 * (it is longer than capacity: it stays in the queue, kin_queue_next_bytes tells its length).
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int64_t kin_queue_get(struct kin_queue *queue, void *buffer, size_t capacity,
                                            kin_deadline deadline);

/* The same without waiting: -EAGAIN when the queue is empty. */
KIN_API KIN_NODISCARD int64_t kin_queue_try_get(struct kin_queue *queue, void *buffer,
                                                size_t capacity);

/* Like kin_queue_get, but into memory that the call allocates: the caller frees *ret_data with
 * free(). */
KIN_API KIN_NODISCARD int64_t kin_queue_get_alloc(struct kin_queue *queue, void **ret_data,
                                                  kin_deadline deadline);

/* The length of the message that the next get would take, or -EAGAIN. A hint: another consumer
 * may be quicker. */
KIN_API int64_t kin_queue_next_bytes(struct kin_queue *queue);

/* No more puts. Waiting producers fail with -ESHUTDOWN at once; consumers when the queue is
 * drained, or at once with KIN_AT_ONCE, which drops what is in the queue. */
KIN_API int kin_queue_shutdown(struct kin_queue *queue, enum kin_shutdown when);

/* Messages in the queue: put and not yet taken. Exact when nobody is in the middle of a put or
 * get. */
KIN_API int64_t kin_queue_size(struct kin_queue *queue);
KIN_API uint64_t kin_queue_max_items(const struct kin_queue *queue); /* 0: unbounded */

KIN_END

#endif
