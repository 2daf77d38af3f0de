/* SPDX-License-Identifier: MIT
 * Whether the memory of a burst of messages is given back. */
#ifndef BENCH_MEMORY_BURST_H
#define BENCH_MEMORY_BURST_H

#include <stdint.h>

/* Puts so many messages without a consumer, then takes them all out; prints what is behind the
 * arena before, at the peak and after. */
void memory_burst(uint64_t bytes, uint64_t count);

#endif
