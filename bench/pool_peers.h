/* SPDX-License-Identifier: MIT
 * Pools of other making. Both return the seconds for the map alone, without the start of the
 * workers; negative: not possible here. */
#ifndef BENCH_POOL_PEERS_H
#define BENCH_POOL_PEERS_H

#include <stdint.h>

/* Fills results[i] with i + 1, computed by the workers. */
double pipe_pool_map(int workers, uint64_t *results, uint64_t count);
/* multiprocessing.Pool.map; chunk 0: Python chooses. */
double python_pool_map(int workers, uint64_t count, uint64_t chunk);

#endif
