/* SPDX-License-Identifier: MIT
 * Pipe: two ends that exchange messages, one-way or duplex.
 *
 * A message of any length keeps its boundaries. Whatever was sent is received, also after the
 * sender closed its end or died; then comes the end of file. A process made with fork has both ends
 * too, as it has descriptors: an end is closed when every process that has it has closed it or
 * died, so each process closes the end that it does not use:
 *
 *     kin_pipe_create(arena, NULL, &ours, &theirs);
 *     if (fork() == 0) {
 *         kin_pipe_close(ours);
 *         while ((bytes = kin_pipe_recv(theirs, buffer, sizeof buffer, KIN_NEVER)) >= 0)
 *             work(buffer, bytes);                   ends with -ESHUTDOWN
 *         _exit(0);
 *     }
 *     kin_pipe_close(theirs);
 *     ... kin_pipe_send(ours, ...) ...
 *     kin_pipe_close(ours);
 *
 * Children of kin_process_start are forked as well and close in the same way. A program that is
 * executed gets the ends that are handed over (kin_pipe_inherit); programs that are no relatives
 * open one end each by name (kin_pipe_open). */
#ifndef KIN_PIPE_H
#define KIN_PIPE_H

#include <kin/arena.h>

KIN_BEGIN

struct kin_pipe; /* one end */

enum kin_pipe_flag {
    KIN_ONE_WAY = 1,  /* a only receives, b only sends */
    KIN_PIPE_FDS = 2, /* descriptors can be sent; costs each process two of its own; not by name */
};

struct kin_pipe_opts {
    uint32_t size;           /* sizeof(struct kin_pipe_opts); 0 stands for it too */
    uint32_t flags;          /* enum kin_pipe_flag */
    uint64_t capacity_bytes; /* of each direction; 0: 1 MiB */
    const char *name;        /* up to 31 bytes; NULL: none */
};

/* Create a pipe and both of its ends. capacity_bytes bounds, about, the sum of the lengths of what
 * was sent and not yet received; a direction has room for some hundred messages, whatever
 * their length. One message always fits: a longer one than capacity_bytes is sent when the
 * direction is empty.
 * Errors: -EINVAL, -E2BIG, -ENOMEM, -ENOSPC (object table full), -EMFILE (with KIN_PIPE_FDS).
 * Safety: any thread | any process | after fork: the child has both ends too. */
KIN_API KIN_NODISCARD int kin_pipe_create(struct kin_arena *arena, const struct kin_pipe_opts *opts,
                                          struct kin_pipe **ret_a, struct kin_pipe **ret_b);

enum kin_pipe_side {
    KIN_PIPE_A = 0, /* of a one-way pipe: the end that receives */
    KIN_PIPE_B = 1, /* the one that sends */
};

/* One end of the pipe of that name: see <kin/arena.h>. kin_pipe_open makes the pipe if there is
 * none. Its other end then waits for the first who opens it: it is not closed before, and what is
 * sent into it until then is there for whoever opens it. An end that was opened and is closed again
 * stays closed until both are and the name is free. Several processes may have the same end.
 * Errors: -EPIPE (the end is closed); -ENOTSUP (a pipe with KIN_PIPE_FDS, whose sockets have no
 * name: by fork and kin_process_spawn only). kin_pipe_inherit takes either end of any pipe. */
KIN_API KIN_NODISCARD int kin_pipe_open(struct kin_arena *arena, const char *name,
                                        enum kin_pipe_side side, const struct kin_pipe_opts *opts,
                                        struct kin_pipe **ret_end);
KIN_API KIN_NODISCARD int kin_pipe_find(struct kin_arena *arena, const char *name,
                                        enum kin_pipe_side side, struct kin_pipe **ret_end);
KIN_API KIN_NODISCARD int kin_pipe_inherit(struct kin_arena *arena, uint32_t position,
                                           struct kin_pipe **ret_end);

/* Give this process's hold on the end back. When no process holds it any more, the other end sees
 * the end of file. Threads of this process that wait with it fail with -ESTALE. NULL is ignored.
 * Safety: when no other thread of the process uses the handle, other than to wait. */
KIN_API void kin_pipe_close(struct kin_pipe *end);

/* Before the end is closed, where other threads may use the handle at any moment: those of this
 * process that wait with it fail with -ESTALE, and so does from now on whoever sends, receives,
 * polls or waits with this handle. It returns when nobody waits. The handle stays good until
 * it is closed, which is for when the threads are done with it; other processes and the other end
 * notice nothing until then. NULL is ignored. Safety: any thread | before the handle is closed. */
KIN_API void kin_pipe_interrupt(struct kin_pipe *end);

/* --- send ----------------------------------------------------------------------------------- */

/* Send a message of bytes bytes (0 is a message too). Blocks while the direction is full; a receive
 * wakes it. Errors: -ETIMEDOUT, -EPIPE (the other end is closed: nobody will receive it), -EBADF
 * (this end only receives), -ESTALE, -ENOMEM, -EMSGSIZE (more than the arena can ever hold),
 * -EINVAL. Safety: any thread | any process that has the end. */
KIN_API KIN_NODISCARD int kin_pipe_send(struct kin_pipe *end, const void *data, size_t bytes,
                                        kin_deadline deadline);

/* The same without waiting: -EAGAIN when the direction is full. */
KIN_API KIN_NODISCARD int kin_pipe_try_send(struct kin_pipe *end, const void *data, size_t bytes);

/* A message that is filled in place, as in a queue (<kin/queue.h>): memory for up to bytes bytes,
 * private to the process, aligned to 16 bytes, not zeroed, freed if the process dies; sent, of
 * which bytes bytes are the message; or given back unused. What could not be sent is still the
 * caller's. reserve does not block; publish does as kin_pipe_send. Errors: as kin_pipe_send;
 * -EINVAL (not reserved, or shorter than bytes). Safety: any thread | any process that has the end.
 */
KIN_API KIN_NODISCARD int kin_pipe_reserve(struct kin_pipe *end, size_t bytes, void **ret_data);
KIN_API KIN_NODISCARD int kin_pipe_publish(struct kin_pipe *end, void *data, size_t bytes,
                                           kin_deadline deadline);
KIN_API int kin_pipe_cancel(struct kin_pipe *end, void *data);

/* --- receive -------------------------------------------------------------------------------- */

/* Take the next message into buffer and return its length. Blocks while there is none; a send or
 * the closing of the other end wakes it. Errors: -ETIMEDOUT, -ESHUTDOWN (end of file: the other end
 * is closed, and everything that it sent has been received), -EMSGSIZE (longer than capacity:
 * it stays, kin_error_text and kin_pipe_next_bytes tell its length), -ENOMSG (a descriptor is next:
 * kin_pipe_recv_fd), -EBADF (this end only sends), -ESTALE.
 * Safety: any thread | any process that has the end. */
KIN_API KIN_NODISCARD int64_t kin_pipe_recv(struct kin_pipe *end, void *buffer, size_t capacity,
                                            kin_deadline deadline);

/* The same without waiting: -EAGAIN when there is no message. */
KIN_API KIN_NODISCARD int64_t kin_pipe_try_recv(struct kin_pipe *end, void *buffer,
                                                size_t capacity);

/* Like kin_pipe_recv, but into memory that the call allocates: the caller frees *ret_data with
 * free(). */
KIN_API KIN_NODISCARD int64_t kin_pipe_recv_alloc(struct kin_pipe *end, void **ret_data,
                                                  kin_deadline deadline);

/* The length of the message that the next receive would take. Does not block. Errors: -EAGAIN
 * (there is none), -ESHUTDOWN, -ENOMSG (a descriptor), -EBADF, -ESTALE. A hint if several
 * receive at this end. */
KIN_API int64_t kin_pipe_next_bytes(struct kin_pipe *end);

/* Wait until a receive would not block: 1 when there is a message, a descriptor or the end of file,
 * 0 when the deadline passed. A deadline of KIN_NOW looks once.
 * Errors: -EBADF (this end only sends), -ESTALE. Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_pipe_poll(struct kin_pipe *end, kin_deadline deadline);

/* --- descriptors ---------------------------------------------------------------------------- */

/* Send a descriptor of any kind, in its turn among the messages. The caller keeps and may close its
 * own. Blocks as kin_pipe_send. Errors: as kin_pipe_send; -EBADF (not an open descriptor, too);
 * -ENOTSUP (no pipe with KIN_PIPE_FDS); -ETOOMANYREFS (as many of this user are under way as
 * RLIMIT_NOFILE allows); -ENOBUFS (senders that died left as many as the system's socket holds; the
 * next that arrives clears them).
 * Safety: any thread | any process that has the end. */
KIN_API KIN_NODISCARD int kin_pipe_send_fd(struct kin_pipe *end, int fd, kin_deadline deadline);

/* Take a descriptor; it is the caller's, and close-on-exec. Blocks as kin_pipe_recv. Errors: as
 * kin_pipe_recv; -ENOMSG (a plain message is next, and stays); -EMFILE (RLIMIT_NOFILE is reached;
 * it stays); -ENOTSUP. A descriptor that a receiver had in its hands when it was killed is lost.
 * Safety: any thread | any process that has the end. */
KIN_API KIN_NODISCARD int kin_pipe_recv_fd(struct kin_pipe *end, int *ret_fd,
                                           kin_deadline deadline);

KIN_END

#endif
