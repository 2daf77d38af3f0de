/* SPDX-License-Identifier: MIT
 * The arena in which kin's contestants live: made with the first of them, gone with the last. */
#ifndef BENCH_KIN_ARENA_H
#define BENCH_KIN_ARENA_H

#include <kin/kin.h>

struct kin_arena *kin_peer_arena_open(void);
void kin_peer_arena_close(void);

#endif
