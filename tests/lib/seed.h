/* SPDX-License-Identifier: MIT
 * Random numbers whose seed is printed, so that a run can be repeated: KIN_SEED=number. */
#ifndef KT_SEED_H
#define KT_SEED_H

#include <stdint.h>

struct kt_random {
    uint64_t state;
};

/* The seed of this run: from KIN_SEED, or new. */
uint64_t kt_seed(void);
void kt_seed_print(void);

/* A sequence of its own for each name and number. */
struct kt_random kt_random_of(const char *name, uint64_t number);
uint64_t kt_random_next(struct kt_random *random);
/* 0 … below - 1 */
uint64_t kt_random_below(struct kt_random *random, uint64_t below);
/* 1 … most, small ones as likely as large ones: uniform over the number of bits */
uint64_t kt_random_size(struct kt_random *random, uint64_t most);

/* Content that tells where it came from, for any length; alignment does not matter. */
void kt_fill(void *data, uint64_t bytes, uint64_t key);
/* 1 when data holds what kt_fill wrote for key. */
int kt_filled(const void *data, uint64_t bytes, uint64_t key);

#endif
