/* SPDX-License-Identifier: MIT
 * Python's multiprocessing, as contestants: what peers/sync.py measures. */
#ifndef BENCH_PYTHON_SYNC_H
#define BENCH_PYTHON_SYNC_H

#include "lib/bench.h"

/* A contestant's run function; arg is what sync.py is told to do, for example "pair Lock". */
void python_sync(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret);

#endif
