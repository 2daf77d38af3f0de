/* SPDX-License-Identifier: MIT
 * Messages there and back between two processes: contestants' run functions; arg is the peer. */
#ifndef BENCH_LATENCY_RUNS_H
#define BENCH_LATENCY_RUNS_H

#include "lib/bench.h"

/* Half a round trip, both sides polling. */
void latency_polling(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret);
/* A round trip, of which each half finds its receiver asleep on a processor of its own. */
void latency_sleeping(const struct bench_contestant *self, uint64_t count,
                      struct bench_sample *ret);

#define LATENCY_ON_ONE 1 /* contestant.number: both processes on one processor */
/* A round trip with blocking calls and without pauses. */
void latency_blocking(const struct bench_contestant *self, uint64_t count,
                      struct bench_sample *ret);

#endif
