/* SPDX-License-Identifier: MIT
 * Queue: first in first out, last in first out, or by priority; any number of producers and
 * consumers, processes and threads.
 *
 * An item whose put returned is safe: it stays in the queue whoever dies. An item that a consumer
 * had claimed when it was killed, before its get returned, is delivered again, ahead of the rest.
 * Small messages travel inside the ring, larger ones in a block of the arena. */
#ifndef KIN_QUEUE_H
#define KIN_QUEUE_H

#include <kin/arena.h>

KIN_BEGIN

struct kin_queue;

enum kin_queue_kind {
    KIN_FIFO = 0,
    KIN_LIFO = 1,     /* the newest first */
    KIN_PRIORITY = 2, /* the smallest priority first, among equals the oldest */
};

enum kin_shutdown { KIN_WHEN_DRAINED = 0, KIN_AT_ONCE = 1 };

struct kin_queue_opts {
    uint32_t size;         /* sizeof(struct kin_queue_opts); 0 stands for it too */
    uint32_t inline_bytes; /* FIFO: messages up to this travel in the ring itself; 0: 112; up to
                              1008 */
    uint64_t max_items;    /* bound on the number of items; 0: unbounded */
    const char *name;      /* up to 31 bytes; NULL: none */
    uint32_t kind;         /* enum kin_queue_kind */
    uint32_t joinable;     /* 1: counts what is not done yet, for kin_queue_join */
    uint64_t max_bytes;    /* bound on the sum of the lengths in it; 0: unbounded */
};

/* Create a queue. Processes forked afterwards share it through the same handle. A FIFO without
 * max_bytes that is not joinable is a lock-free ring; every other queue is a heap under a lock.
 * Errors: -EINVAL, -E2BIG, -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too. */
KIN_API KIN_NODISCARD int kin_queue_create(struct kin_arena *arena,
                                           const struct kin_queue_opts *opts,
                                           struct kin_queue **ret_queue);

/* The queue of that name in the arena, which is created if there is none: see <kin/arena.h>.
 * Options that are not 0 must be those of the queue which is there; inline_bytes may be less. */
KIN_API KIN_NODISCARD int kin_queue_open(struct kin_arena *arena, const char *name,
                                         const struct kin_queue_opts *opts,
                                         struct kin_queue **ret_queue);
KIN_API KIN_NODISCARD int kin_queue_find(struct kin_arena *arena, const char *name,
                                         struct kin_queue **ret_queue);
KIN_API KIN_NODISCARD int kin_queue_inherit(struct kin_arena *arena, uint32_t position,
                                            struct kin_queue **ret_queue);

/* Give this process's handle back. What it has taken and not released is delivered again. The queue
 * and what is in it are freed with the last process that has it. NULL is ignored.
 * Safety: when no other thread of the process uses the handle. */
KIN_API void kin_queue_destroy(struct kin_queue *queue);

/* --- put ------------------------------------------------------------------------------------ */

/* Put a message of bytes bytes (0 is a message too). Blocks while a bounded queue is full; a get
 * wakes it. Errors: -ETIMEDOUT, -ESHUTDOWN, -ESTALE, -ENOMEM, -EMSGSIZE (larger than max_bytes, or
 * than the arena can ever hold), -EINVAL. Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_queue_put(struct kin_queue *queue, const void *data, size_t bytes,
                                        kin_deadline deadline);

/* The same without waiting: -EAGAIN when the queue is full, or when others wait to put into a queue
 * that is no ring. */
KIN_API KIN_NODISCARD int kin_queue_try_put(struct kin_queue *queue, const void *data,
                                            size_t bytes);

/* Put into a queue of kind KIN_PRIORITY; kin_queue_put puts with priority 0. Blocks and errors as
 * kin_queue_put; -EINVAL: another kind of queue.
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_queue_put_prio(struct kin_queue *queue, const void *data,
                                             size_t bytes, int64_t priority, kin_deadline deadline);

/* What a message is sorted by that has more to it than a number. */
struct kin_queue_key {
    int64_t priority;
    const void *data; /* compared as unsigned bytes where the priorities are equal */
    size_t bytes;     /* a key goes before a longer one that begins with it; 0: before all */
};

/* Put into a queue of kind KIN_PRIORITY by priority, then by key; among equals the oldest comes
 * first. The key is copied, stays with the message, and does not count in max_bytes. Blocks and
 * errors as kin_queue_put; -EINVAL: another kind of queue.
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_queue_put_key(struct kin_queue *queue, const void *data, size_t bytes,
                                            const struct kin_queue_key *key, kin_deadline deadline);

/* --- get ------------------------------------------------------------------------------------ */

/* Take the next message into buffer and return its length in bytes. Blocks while the queue is
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

/* Copy the message that the next get would take, at most capacity bytes of it, and leave it in the
 * queue. Returns its whole length. For observers: somebody else may take it meanwhile.
 * Does not block. Errors: -EAGAIN (empty), -ESHUTDOWN, -ESTALE. Safety: any thread | any process.
 */
KIN_API KIN_NODISCARD int64_t kin_queue_peek(struct kin_queue *queue, void *buffer,
                                             size_t capacity);

/* --- many at once --------------------------------------------------------------------------- */

struct kin_item {
    void *data;
    size_t bytes;
};

/* Put count messages in their order; what one claim can take is claimed at once. Blocks while the
 * queue is full. Returns how many were put: fewer than count only if the deadline passed, the queue
 * was shut down or another error came after the first; the error itself if none was put. Other
 * producers' messages may come between. Of a producer that is killed in it, runs of up to 256 that
 * were put at once are put whole or not at all. Errors: as kin_queue_put; -EINVAL (no items).
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int64_t kin_queue_put_many(struct kin_queue *queue,
                                                 const struct kin_item *items, uint32_t count,
                                                 kin_deadline deadline);

/* Take up to count messages, as many as there are and have room in buffer, and at least one: blocks
 * while the queue is empty. They lie one after another in buffer, each aligned to 16 bytes if
 * buffer is; items tells where and how long. Returns how many. Errors: as kin_queue_get (-EMSGSIZE:
 * capacity is too small for the first); -EINVAL (no items). Safety: any thread | any process. */
KIN_API KIN_NODISCARD int64_t kin_queue_get_many(struct kin_queue *queue, struct kin_item *items,
                                                 uint32_t count, void *buffer, size_t capacity,
                                                 kin_deadline deadline);

/* --- without a copy ------------------------------------------------------------------------- */

/* Memory for a message of up to bytes bytes, to be filled in place and published. It is private to
 * the process, aligned to 16 bytes, not zeroed; freed if the process dies. Does not block.
 * Errors: -EMSGSIZE, -ENOMEM, -ENOSPC, -ESTALE. Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_queue_reserve(struct kin_queue *queue, size_t bytes, void **ret_data);

/* Put reserved memory, of which bytes bytes are the message. On success it belongs to the queue and
 * must not be touched any more; on error it is still the caller's. Blocks and errors as
 * kin_queue_put; -EINVAL (not reserved, or shorter than bytes). */
KIN_API KIN_NODISCARD int kin_queue_publish(struct kin_queue *queue, void *data, size_t bytes,
                                            kin_deadline deadline);

/* The same by a priority and a key, as kin_queue_put_key. The memory must have been reserved with
 * KIN_QUEUE_KEY_HEAD and the length of the key in addition, if there is one: it is put behind the
 * message. Errors: also -EINVAL (another kind of queue, no room for the key). */
#define KIN_QUEUE_KEY_HEAD 4u
KIN_API KIN_NODISCARD int kin_queue_publish_key(struct kin_queue *queue, void *data, size_t bytes,
                                                const struct kin_queue_key *key,
                                                kin_deadline deadline);

/* Give reserved memory back unused. Errors: -EINVAL (not reserved). */
KIN_API int kin_queue_cancel(struct kin_queue *queue, void *data);

/* Take the next message where it lies, and return its length. The caller may read and change it
 * until it releases it; if the process dies or destroys its handle before, the message is delivered
 * again, as it is then, also if a bounded queue is full by now. It is not in the queue meanwhile:
 * who waits for a queue that was shut down to be drained does not wait for it. Blocks and errors as
 * kin_queue_get; -ENOMEM (a message that travelled in the ring needs memory).
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int64_t kin_queue_take(struct kin_queue *queue, void **ret_data,
                                             kin_deadline deadline);

/* Done with a message that was taken: its memory is freed. Any thread of the process may.
 * Errors: -EINVAL (not taken from this queue by this process). */
KIN_API int kin_queue_release(struct kin_queue *queue, void *data);

/* The same, but keep the memory, as if it had been reserved: it can be changed, published again in
 * this queue or another of the arena, made an array (kin_array_adopt), or given back with
 * kin_queue_cancel. Errors: -EINVAL (not taken from this queue by this process). */
KIN_API int kin_queue_keep(struct kin_queue *queue, void *data);

/* --- joinable queues ------------------------------------------------------------------------ */

/* One message that was got is dealt with: one of the calling process's own, or else of another. One
 * that was taken in place is got when it is released. What a process had got when it died, or when
 * it destroyed its handle, counts as done. Errors: -EINVAL (more often than messages were got, or
 * not a joinable queue).
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_queue_task_done(struct kin_queue *queue);

/* Wait until every message that was put is done. Errors: -ETIMEDOUT, -ESTALE, -EINVAL (not a
 * joinable queue). Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_queue_join(struct kin_queue *queue, kin_deadline deadline);

/* Messages put and not yet done. Errors: -EINVAL (not a joinable queue). */
KIN_API int64_t kin_queue_unfinished(struct kin_queue *queue);

/* --- the rest ------------------------------------------------------------------------------- */

/* No more puts. Waiting producers fail with -ESHUTDOWN at once; consumers when the queue is
 * drained, or at once with KIN_AT_ONCE, which drops what is in the queue (in a joinable queue that
 * counts as done). */
KIN_API int kin_queue_shutdown(struct kin_queue *queue, enum kin_shutdown when);
/* 1: it was shut down, though perhaps not drained; 0. */
KIN_API int kin_queue_is_shutdown(struct kin_queue *queue);

/* Messages in the queue: put and not yet taken; the sum of their lengths. Exact when nobody is in
 * the middle of a put or get. kin_queue_bytes of a ring looks at every message. */
KIN_API int64_t kin_queue_size(struct kin_queue *queue);
KIN_API int64_t kin_queue_bytes(struct kin_queue *queue);
/* 1 or 0; a queue is full when it has max_items items or max_bytes bytes. Both agree with
 * kin_queue_size. */
KIN_API int kin_queue_is_empty(struct kin_queue *queue);
KIN_API int kin_queue_is_full(struct kin_queue *queue);
KIN_API uint64_t kin_queue_max_items(const struct kin_queue *queue); /* 0: unbounded */
KIN_API uint64_t kin_queue_max_bytes(const struct kin_queue *queue); /* 0: unbounded */
KIN_API enum kin_queue_kind kin_queue_kind(const struct kin_queue *queue);

KIN_END

#endif
