/* SPDX-License-Identifier: MIT
 * Errors. A kin function returns 0, a count or a positive named state on success and a negative
 * errno value on failure; it never sets errno and never prints.
 *
 * What the usual values mean everywhere in kin:
 *   -EINVAL          an argument is wrong (which one: kin_error_text())
 *   -EAGAIN          a try_ form found nothing to do now
 *   -ETIMEDOUT       the deadline passed
 *   -EMSGSIZE        the message does not fit; nothing was taken or lost
 *   -ENOMEM, -EFBIG, -EMFILE, -ENOSPC
 *                    a limit of the machine or of the arena; kin_error_text() says which
 *   -EPERM, -EACCES  release of what nobody holds; of what somebody else holds
 *   -EOVERFLOW       a release beyond the bound
 *   -EPIPE           the barrier is broken; the other end of the pipe is closed
 *   -EDEADLK         the call would wait for its own thread
 *   -EPROTOTYPE      a handle of another kind of object
 *   -EXDEV           an object of another arena
 *   -ESHUTDOWN       the object was shut down, and drained if it is a queue; end of file of a pipe
 *   -ENOMSG          what is next in the pipe is of the other kind: a message, a descriptor
 *   -EBADF           no such descriptor; the wrong end of a one-way pipe
 *   -ESTALE          the object or the handle is gone
 *   -EOWNERDEAD      the worker process that ran the task died; the holder of the lock did
 *   -ECANCELED       the pool was terminated before the task ran
 *   -EPROTO          another build of kin, or not an arena
 *   -ENOTRECOVERABLE this process was declared dead by the others and must not go on with the arena
 */
#ifndef KIN_ERROR_H
#define KIN_ERROR_H

#include <kin/export.h>

KIN_BEGIN

/* Acquired, but the last holder died and may have left what the lock guards half done. */
#define KIN_ABANDONED 1

/* The name of an error value as text, for example "timed out". Accepts negative and positive
 * values and unknown ones. The text is constant.
 * Safety: any thread | any process | async-signal-safe. */
KIN_API const char *kin_strerror(int error);

/* One sentence on the last kin call that failed in this thread: what was wrong and what was
 * expected, or which limit was met. Empty if nothing failed yet. Valid until the next kin call
 * of the same thread. Safety: any thread | any process. */
KIN_API const char *kin_error_text(void);

KIN_END

#endif
