/* SPDX-License-Identifier: MIT
 * Offer: a place in an arena for a process that somebody else starts: an interpreter that starts
 * itself anew, a server that forks on request. kin_process_spawn is simpler where it will do.
 *
 *     parent    kin_offer_create, kin_offer_add for each object, then start the process, with the
 *               descriptors of kin_offer_fds, kin_offer_place and the keys on a way of its own
 *     process   kin_arena_accept, then for each key kin_object_receive and kin_noun_inherit
 *     parent    kin_offer_destroy
 *
 * What was added is kept for the process until it has opened it, also if the parent gives its
 * handles back, and until it is clear that nobody will come. */
#ifndef KIN_OFFER_H
#define KIN_OFFER_H

#include <kin/arena.h>

KIN_BEGIN

struct kin_offer;

#define KIN_OFFER_FDS 2

/* Reserve a place for a process of that name (up to 31 bytes; NULL: "Process").
 * Errors: -EINVAL (name), -EMFILE, -ENOSPC (1023 participants), -ENOMEM, -EOPNOTSUPP (an arena that
 * was opened by name: the process can do that, too).
 * The caller owns the offer and gives it back with kin_offer_destroy.
 * Safety: any thread | after fork: good in the process that made it only. */
KIN_API KIN_NODISCARD int kin_offer_create(struct kin_arena *arena, const char *name,
                                           struct kin_offer **ret_offer);

/* Add an object by its handle; *ret_key is what the process opens it with. Twice is once.
 * Errors: -EINVAL, -EXDEV (a handle of another arena), -ESTALE (the object is gone, or the offer is
 * that of a process which forked this one). Safety: any thread. */
KIN_API int kin_offer_add(struct kin_offer *offer, const void *object, uint32_t *ret_key);

/* The descriptors that the process is to have, under any numbers, in this order. They are
 * close-on-exec here, and belong to the offer. */
KIN_API void kin_offer_fds(const struct kin_offer *offer, int ret_fds[KIN_OFFER_FDS]);
/* What the process is to know beside them. */
KIN_API uint64_t kin_offer_place(const struct kin_offer *offer);

/* Make it a daemon, which is killed when this process ends, however it ends. Returns a descriptor
 * that the process is to have, too, and to give to kin_arena_end_with; it belongs to the arena.
 * Errors: -EMFILE, -ESTALE (as above). Safety: any thread. */
KIN_API KIN_NODISCARD int kin_offer_daemon(struct kin_offer *offer);

/* Call it when the process has its copies of the descriptors, or will not be started. NULL is
 * ignored. Safety: when no other thread uses the offer. */
KIN_API void kin_offer_destroy(struct kin_offer *offer);

/* In the process: become a participant. The descriptors belong to the arena from here on, also
 * after an error. Errors: -ESTALE (another process has taken the place, or it was given up),
 * -EPROTO (another build of kin, or no arena), -ENOMEM (address space: RLIMIT_AS), -EMFILE.
 * Safety: any thread. */
KIN_API KIN_NODISCARD int kin_arena_accept(const int fds[KIN_OFFER_FDS], uint64_t place,
                                           struct kin_arena **ret_arena);

/* In the process, when it has accepted: from here on the kernel kills it as soon as the process
 * that made the offer has ended, at once if it has already. The descriptor is that of
 * kin_offer_daemon and belongs to the arena from here on, also after an error. A process can do it
 * once. Errors: -EBADF, -EALREADY, -EMFILE. Safety: any thread. */
KIN_API KIN_NODISCARD int kin_arena_end_with(struct kin_arena *arena, int fd);

/* Which arena this is: the same number in all of its processes, and that of no other arena of the
 * machine as long as it is there. */
KIN_API uint64_t kin_arena_id(const struct kin_arena *arena);

/* The key of an object, for a process that is in the arena already: it gets a handle as long as
 * somebody has one. Errors: -EINVAL, -ESTALE. Safety: any thread | any process. */
KIN_API int kin_object_key(const void *object, uint32_t *ret_key);

/* The position of the object of that key, good for one call of kin_noun_inherit, which says
 * -ESTALE if the object is gone. Errors: -ESTALE, -ENOMEM. Safety: any thread | any process. */
KIN_API KIN_NODISCARD int64_t kin_object_receive(struct kin_arena *arena, uint32_t key);

/* Take its name from an object, as unlink does from a file: those who have it go on, nobody finds
 * it by name any more, and the name is free for another. Nothing happens if it has none; the ends
 * of a pipe have none, for the name is that of both. Errors: -EINVAL, -ESTALE.
 * Safety: any thread | any process. */
KIN_API int kin_object_unname(const void *object);

KIN_END

#endif
