/* SPDX-License-Identifier: MIT
 * Small arithmetic. */
#ifndef KINI_BITS_H
#define KINI_BITS_H

#include <stddef.h>
#include <stdint.h>

#define KINI_COUNT(array) (sizeof(array) / sizeof(array)[0])

static inline uint64_t kini_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t kini_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* x rounded up to a multiple of unit, a power of two. */
static inline uint64_t kini_round_up(uint64_t x, uint64_t unit)
{
    return (x + unit - 1) & ~(unit - 1);
}

/* The smallest power of two that is at least x (x > 0, at most 2^63). */
static inline uint64_t kini_pow2_at_least(uint64_t x)
{
    return x <= 1 ? 1 : 1ull << (64 - __builtin_clzll(x - 1));
}

/* A finaliser that spreads every input bit over the word (splitmix64: Steele, Lea, Flood 2014). */
static inline uint64_t kini_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

#endif
