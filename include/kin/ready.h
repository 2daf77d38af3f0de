/* SPDX-License-Identifier: MIT
 * Ready: a file descriptor that becomes readable when one of several objects is ready, for event
 * loops (poll, epoll, libuv, asyncio). No thread stands behind it. */
#ifndef KIN_READY_H
#define KIN_READY_H

#include <kin/wait.h>

KIN_BEGIN

struct kin_ready;

/* Make a descriptor for count objects of the arena, with the meaning of kin_wait_any; waits is
 * copied. It takes three descriptors (close-on-exec) and a place in the thread table. Descriptors
 * among the waits must stay open until it is destroyed.
 * Errors: those of kin_wait_any, -EMFILE, -ENFILE, -ENOMEM, -ENOSPC (thread table full), -EPERM (a
 * descriptor that cannot be polled, of a file for example), -ECHILD (a child of vfork).
 * Safety: any thread | any process | after fork: good in the process that made it only. */
KIN_API KIN_NODISCARD int kin_ready_create(struct kin_arena *arena, const struct kin_wait *waits,
                                           uint32_t count, struct kin_ready **ret_ready);

/* Close the descriptor and free what belongs to it. The objects stay. NULL is ignored.
 * Safety: when no other thread uses the handle. */
KIN_API void kin_ready_destroy(struct kin_ready *ready);

/* The descriptor: ask for POLLIN, and do nothing else with it. It stays the same, and is readable
 * from the beginning until kin_ready_check answers -EAGAIN. Afterwards it becomes readable as soon
 * as one of the objects may be ready, and stays so until the next answer of -EAGAIN; also now and
 * then without a cause, every 100 ms at the most. So it is good level-triggered; edge-triggered if
 * one checks until -EAGAIN before the next wait. Safety: any thread. */
KIN_API int kin_ready_fd(const struct kin_ready *ready);

/* Call it when the descriptor is readable. Returns the index of the first object that is ready, of
 * which nothing is taken: follow with a try_ call. -EAGAIN: none is, and the descriptor will tell.
 * Does not block. Other errors: -ESTALE (one of the objects was destroyed in this process, or this
 * is another process than the one that made it), -EBADF (one of the descriptors was closed).
 * Safety: any thread, also several at once. */
KIN_API KIN_NODISCARD int kin_ready_check(struct kin_ready *ready);

KIN_END

#endif
