/* SPDX-License-Identifier: MIT
 * Memory of an arena that somebody else made: what to believe of it. */
#ifndef KINI_ATTACH_H
#define KINI_ATTACH_H

#include "arena/arena.h"

#define KINI_LEAST_RESERVE (64ull << 20)

/* --- create.c: the parts of a handle's life ------------------------------------------------- */

uint64_t kini_layout_stamp(void);
/* Where the tables lie in an arena of that size. */
void kini_place_tables(struct kini_super_shm *super, uint64_t reserve);
void kini_bind_tables(struct kin_arena *arena);
/* A handle without memory; NULL: no memory for it. */
struct kin_arena *kini_arena_new(void);
/* Map the empty file at arena->fd, and make an arena of it. */
int kini_arena_build(struct kin_arena *arena, const struct kin_arena_opts *opts);
/* Become a participant of what is mapped; token: -1, or that of the slot which is reserved for us.
 */
int kini_arena_join(struct kin_arena *arena, uint32_t slot, int token);
/* Unmap, close and free; whoever joined has left. */
void kini_arena_free(struct kin_arena *arena);

/* --- inherit.c ------------------------------------------------------------------------------ */

/* What a program that is executed is to find. */
struct kini_legacy {
    int token, watch;
    uint32_t slot, generation;
    uint32_t objects_count;
    uint32_t *tags;
    int *sockets; /* that belongs to the object; -1: none */
};
/* The variable of the environment that says so; the caller frees it. */
int kini_inherit_text(struct kin_arena *arena, const struct kini_legacy *legacy, char **ret_text);
bool kini_inherit_is_text(const char *variable);
/* What is left of it in a handle. */
void kini_inherited_free(struct kin_arena *arena);

/* --- attach.c ------------------------------------------------------------------------------- */

/* Map the arena in the file at arena->fd, if it is one of this build and whole: -EPROTO. */
int kini_arena_attach(struct kin_arena *arena);
/* Whether bytes bytes at the offset, which is aligned, lie in the data area. */
bool kini_range_is_good(const struct kin_arena *arena, uint64_t offset, uint64_t bytes);
bool kini_ilock_is_good(const struct kin_arena *arena, struct kini_ilock_shm *lock, uint32_t kind);

#endif
