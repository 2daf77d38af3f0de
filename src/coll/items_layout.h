/* SPDX-License-Identifier: MIT
 * What another process can see of a value or an array: one block.
 *
 *   +0    lock word of the own rlock     176 bytes; a process or thread that ends frees it from
 * here +176  type | has_spare | item_bytes | length | data_delta           const after create +208
 * half_set +240  wait queue                     nudged: those who wait until a value changes +368
 * or +384 (data_delta)            the items, from a multiple of 64 on the spare copy of a
 * KIN_STRUCT value, from the next multiple of 64 on
 *
 * The block begins 16 bytes into a line if it is a small one, at a line if it is a large one.
 *
 * Numbers change in one atomic step. A struct that is set (kin_value_set) is written twice, under
 * the own rlock:
 *   1  the new one into the spare copy
 *   2  half_set = 1
 *   3  the spare copy into the value      word by word: who waits for a change looks without a lock
 *   4  half_set = 0
 *   5  the rlock is released, who waits is nudged
 *
 * A large array has no memory but where it was touched, and one page at its end, so that the memory
 * file reaches there: a hole in the file reads as zero and is filled by the kernel. What kin
 * touches has a commit bit (arena_layout.h); what was touched through the pointer has none. So all
 * of it, but the first unit, is given back to the system when the array goes, whatever the bits
 * say.
 *
 * Memory of a message is adopted: private to its new owner, who writes the head over it, until the
 * object is there: killed before, it is swept.
 *
 * Crash states: (1) killed before 2: the value is the old one. (2) killed from 2 to 4: the reaper
 * copies again (3, 4), then frees the rlock: the value is the new one. (3) the reaper killed on the
 * way: the next one finds the same. (4) killed after 4: the new one; the rlock is freed by the
 * reaper, as every rlock. (5) killed between a change and the nudge: when a process dies that has
 * the value, all who wait look again. (6) an array's destroyer is killed: the next one gives the
 * memory back again. */
#ifndef KINI_ITEMS_LAYOUT_H
#define KINI_ITEMS_LAYOUT_H

#include <stddef.h>

#include "sync/lock_word.h"

struct kini_items_shm {
    struct kini_lock_shm own;
    uint32_t type;      /* enum kin_type */
    uint32_t has_spare; /* 1: a spare copy follows the items */
    uint64_t item_bytes;
    uint64_t length; /* of a value: 1 */
    uint64_t data_delta;
    kini_a32 half_set;     /* W: the holder of the rlock; of a dead one: the reaper */
    uint32_t is_committed; /* const after create; 1: its memory has its commit bits (adopted) */
    uint64_t reserved[3];
    struct kini_waitq_shm waiters;
};
_Static_assert(sizeof(struct kini_items_shm) == 368, "six lines with the header of the block");
_Static_assert(offsetof(struct kini_items_shm, waiters) == 240, "a line begins there");

#define KINI_DATA_ALIGN 64u

#endif
