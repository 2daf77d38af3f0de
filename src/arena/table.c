/* SPDX-License-Identifier: MIT
 * Memory behind the tables: they are address space until they are used. */
#include "arena/arena.h"
#include "base/bits.h"

#include <errno.h>

void kini_raise32(kini_a32 *high, uint32_t value)
{
    uint32_t seen = kini_load(high);
    while (seen < value && !kini_cas(high, &seen, value))
        ;
}

bool kini_arena_has(const struct kin_arena *arena, int fd)
{
    return fd >= 0 && kini_os_inode(fd) == arena->inode;
}

int kini_arena_commit(struct kin_arena *arena, uint64_t offset, uint64_t bytes)
{
    if (!kini_arena_has(arena, arena->fd))
        return kini_fail(-EBADF, "the program closed the arena's file descriptor: it cannot grow");
    return kini_os_memory_commit(arena->fd, offset, bytes);
}

int kini_table_commit(struct kin_arena *arena, uint64_t table_off, kini_a64 *committed,
                      uint64_t bytes, uint64_t limit)
{
    uint64_t have = kini_load_acq(committed);
    if (bytes <= have)
        return 0;
    if (bytes > limit)
        return kini_fail(-ENOMEM, "a table of the arena is full");
    uint64_t want = kini_min(kini_round_up(bytes, 16384), limit);
    int r = kini_arena_commit(arena, table_off + have, want - have);
    if (r < 0)
        return r;
    while (have < want && !kini_cas(committed, &have, want))
        ;
    return 0;
}
