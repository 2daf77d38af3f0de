/* SPDX-License-Identifier: MIT
 * The arena: the shared memory of a family of processes, and who is in it.
 *
 * An arena is one anonymous memory file, mapped once in every process of the family. Processes
 * made with fork (by kin or by anybody) join by themselves. Nothing is created in a file system:
 * the kernel frees the memory with its last process. When a process dies, however it dies, the
 * next one that waits or asks repairs what it left behind. */
#ifndef KIN_ARENA_H
#define KIN_ARENA_H

#include <kin/export.h>
#include <kin/time.h>

KIN_BEGIN

struct kin_arena;

struct kin_arena_opts {
    uint32_t size;          /* sizeof(struct kin_arena_opts); 0 stands for it too */
    uint32_t flags;         /* 0 */
    uint64_t reserve_bytes; /* address space to reserve, the upper bound of the arena; 0: 64 GiB, or
                               as much as RLIMIT_AS leaves */
    const char *name;       /* for observers, up to 31 bytes; NULL: none */
    const char *path;       /* kin_arena_open: a file to hold the arena; NULL: none */
};

/* Create an arena and join it. The calling process becomes its first participant.
 * Errors: -EINVAL, -ENOMEM (address space: RLIMIT_AS, or memory), -EMFILE (RLIMIT_NOFILE),
 * -EFBIG (RLIMIT_FSIZE), -E2BIG (options of a newer kin).
 * The caller owns the handle and gives it back with kin_arena_detach.
 * Safety: any thread | after fork: the child has it too. */
KIN_API KIN_NODISCARD int kin_arena_create(const struct kin_arena_opts *opts,
                                           struct kin_arena **ret_arena);

/* Join the arena of that name, or create it if there is none: so programs meet that are no
 * relatives. A name is the calling user's own (1 to 31 bytes, no '/'); it lies in no file system,
 * and is free again as soon as the last process that has the arena is gone, however it ended.
 * Options count for who creates; opts->name is NULL or the same name. Objects in it are found by
 * name, too: kin_queue_open and its like. Addresses differ between programs: pass no pointers.
 *
 * With opts->path the arena lies in that file (created with mode 0600; it must be on a file system
 * that can punch holes), so that other users, who may write it, and containers, which share it, can
 * join; the name is for observers then and may be NULL. The file stays when all are gone, and is
 * used again. Who cuts it short while it is in use kills those who use it.
 *
 * Errors: -EINVAL (name, path), -EPROTO (another build of kin, not an arena, or a damaged one),
 * -EACCES (another user's), -EBUSY (somebody holds the name, and nobody can be reached under it: a
 * stopped process, another user, another pid namespace), -EOPNOTSUPP (file system), -ENOSPC (1023
 * participants; disk), and those of kin_arena_create.
 * Blocks for some milliseconds while others open the same name, for ten seconds at most.
 * Safety: any thread | after fork: the child has it too. */
KIN_API KIN_NODISCARD int kin_arena_open(const char *name, const struct kin_arena_opts *opts,
                                         struct kin_arena **ret_arena);

/* The same, but -ENOENT if there is none. */
KIN_API KIN_NODISCARD int kin_arena_find(const char *name, const struct kin_arena_opts *opts,
                                         struct kin_arena **ret_arena);

/* In a program that kin_process_spawn has started: the arena that was handed over. Once; call it
 * before other threads use the environment. The objects are found with kin_noun_inherit, by their
 * position in the list of the parent, or by name.
 * Errors: -ENOENT (none was handed over), -ESTALE (another process has taken it), -EPROTO (another
 * build of kin), -ENOMEM (address space: RLIMIT_AS), -EMFILE. Safety: one thread, once. */
KIN_API KIN_NODISCARD int kin_arena_inherit(struct kin_arena **ret_arena);

/* Objects by name, in every arena. For each noun there are
 *   kin_noun_open     the object of that name: the one that is there, or a new one. Of several that
 *                     open the same name one creates it, the others find it
 *   kin_noun_find     the one that is there: -ENOENT if there is none
 *   kin_noun_inherit  the one that was handed over at that position: see kin_process_spawn
 * (for pipes with the end that is wanted: <kin/pipe.h>).
 * An object is there as long as a process has a handle of it; the name is that in its options, so
 * objects made with kin_noun_create are found, too (of several with one name any one of them).
 * Options describe what is wanted: what they leave 0 may be anything, what they say and is
 * otherwise is an error. Initial states count only for who creates. A process may open one object
 * several times; what it holds is given back with its last handle.
 * Errors: -EINVAL (name; an option that contradicts), -EPROTOTYPE (the name is that of another kind
 * of object; a pool, which has only its own processes), -EPROTO (damaged), -EBUSY, -ENOMEM,
 * -ENOSPC. Does not block, but for a moment while the object of that name is being destroyed.
 * Safety: any thread | any process | after fork: the child has the handle too. */

/* Leave the arena: give back what this process holds in it, unmap it and free the handle. NULL is
 * ignored. Every other handle of this process to objects of the arena is invalid afterwards.
 * Does not block. Safety: when no other thread of the process uses the arena. */
KIN_API void kin_arena_detach(struct kin_arena *arena);

/* Allocate bytes of shared memory, private to the calling process until it is given away; children
 * made later with fork see it at the same address. Aligned to 16 bytes, to 128 from 32 KiB on.
 * The memory is not zeroed. It is freed by kin_block_free or when the calling process dies.
 * Errors: -EINVAL (no bytes), -ENOMEM, -EFBIG, -ENOSPC.
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_block_alloc(struct kin_arena *arena, uint64_t bytes, void **ret_ptr);

/* The same, at least 64 KiB, zeroed, and without memory behind it yet: each part must be committed
 * before it is touched. For tables that grow in place. Errors and safety as kin_block_alloc. */
KIN_API KIN_NODISCARD int kin_block_reserve(struct kin_arena *arena, uint64_t bytes,
                                            void **ret_ptr);

/* Put memory behind the range [ptr, ptr+bytes) of a reserved block, so that touching it cannot
 * fail. Any participant may call it, also several at once and again; what is there stays.
 * Errors: -EINVAL (not a range of a block), -ENOMEM, -ENOSPC, -EFBIG.
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_block_commit(struct kin_arena *arena, void *ptr, uint64_t bytes);

/* Free a block of the calling process. NULL is ignored.
 * Errors: -EINVAL (not a block), -EPERM (a block of somebody else), -EALREADY (freed before).
 * Safety: any thread | any process. */
KIN_API int kin_block_free(struct kin_arena *arena, void *ptr);

struct kin_arena_stats {
    uint32_t size;               /* set by the caller: sizeof(struct kin_arena_stats) */
    uint32_t participants_count; /* processes that are in it now */
    uint32_t threads_count;      /* threads that have used it and still run */
    uint32_t objects_count;
    uint64_t reserved_bytes;  /* upper bound */
    uint64_t committed_bytes; /* memory behind it now */
    uint64_t used_bytes;      /* memory that blocks hold, rounded to 64 KiB units */
    uint64_t deaths_count;    /* participants that were reaped after they died */
};

/* Fill in the numbers of the arena. Errors: -EINVAL (size). Safety: any thread | any process. */
KIN_API int kin_arena_stat(struct kin_arena *arena, struct kin_arena_stats *ret_stat);

/* Look at every participant and repair what the dead left behind. Never needed for correctness:
 * every blocked wait does it. Returns how many were reaped. Safety: any thread | any process. */
KIN_API int kin_arena_reap(struct kin_arena *arena);

KIN_END

#endif
