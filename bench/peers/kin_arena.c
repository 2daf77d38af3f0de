/* SPDX-License-Identifier: MIT
 * One arena for all objects that are open at a time. */
#include "peers/kin_arena.h"
#include "lib/bench.h"

static struct kin_arena *arena;
static int users;

struct kin_arena *kin_peer_arena_open(void)
{
    if (users++ == 0)
        bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    return arena;
}

void kin_peer_arena_close(void)
{
    if (--users == 0)
        kin_arena_detach(arena);
}
