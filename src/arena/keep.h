/* SPDX-License-Identifier: MIT
 * Which free memory is kept for the next user. */
#ifndef KINI_KEEP_H
#define KINI_KEEP_H

#include "arena/arena.h"

/* Free units that keep their memory for the next user; more is given back to the system. */
#define KINI_KEEP_UNITS 512u /* 32 MiB */
/* Large runs, which are longer than that: a program that handles messages of 100 MB would otherwise
 * spend ten times as long on page faults as on filling them. None that is longer than the first of
 * these is kept, and not more than the second; when more than that was in use lately, not more than
 * are in use now, so that nothing stays of a burst when all of it has been taken out. When somebody
 * is idle, none. */
#define KINI_KEEP_RUN_UNITS  4096u /* 256 MiB */
#define KINI_KEEP_RUNS_UNITS 8192u /* 512 MiB */

/* Changes of what is free with memory. */
void kini_keep_cached(struct kin_arena *arena, uint32_t plus, uint32_t minus);
/* A run was taken that has memory, or given up. */
void kini_keep_taken(struct kin_arena *arena, uint32_t units);
void kini_keep_freed(struct kin_arena *arena, uint32_t units);
/* How many free units may have memory now. */
uint32_t kini_keep_most(struct kin_arena *arena);
/* Whether a run of which so many units have memory keeps it when it becomes free. */
bool kini_keep_is_wanted(struct kin_arena *arena, uint32_t units);
/* Put right what deaths made of the numbers, and forget what was lately. Without a lock: they are
 * hints. */
void kini_keep_recount(struct kin_arena *arena);

#endif
