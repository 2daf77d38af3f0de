/* SPDX-License-Identifier: MIT
 * Memory behind the tables: they are address space until they are used. */
#include "arena/arena.h"
#include "base/bits.h"

void kini_raise32(kini_a32 *high, uint32_t value)
{
    uint32_t seen = kini_load(high);
    while (seen < value && !kini_cas(high, &seen, value))
        ;
}

int kini_table_commit(struct kin_arena *arena, uint64_t table_off, kini_a64 *committed,
                      uint64_t bytes, uint64_t limit)
{
    uint64_t have = kini_load_acq(committed);
    if (bytes <= have)
        return 0;
    uint64_t want = kini_min(kini_round_up(bytes, 16384), limit);
    int r = kini_os_memory_commit(arena->fd, table_off + have, want - have);
    if (r < 0)
        return r;
    while (have < want && !kini_cas(committed, &have, want))
        ;
    return 0;
}
