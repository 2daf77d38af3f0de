/* SPDX-License-Identifier: MIT
 * Repeatable random numbers and contents. */
#include "lib/seed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t mix(uint64_t x) /* splitmix64 */
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

uint64_t kt_seed(void)
{
    static uint64_t seed;
    if (seed == 0) {
        const char *given = getenv("KIN_SEED");
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = given != NULL ? strtoull(given, NULL, 0)
                             : mix((uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 30 ^
                                   (uint64_t)getpid() << 10);
        seed |= seed == 0;
    }
    return seed;
}

void kt_seed_print(void)
{
    printf("seed: KIN_SEED=%" PRIu64 "\n", kt_seed());
}

struct kt_random kt_random_of(const char *name, uint64_t number)
{
    uint64_t state = kt_seed();
    for (; *name != '\0'; name++)
        state = mix(state ^ (unsigned char)*name);
    return (struct kt_random){mix(state ^ number)};
}

uint64_t kt_random_next(struct kt_random *random)
{
    return mix(random->state += 0x9e3779b97f4a7c15ull);
}

uint64_t kt_random_below(struct kt_random *random, uint64_t below)
{
    return kt_random_next(random) % below;
}

uint64_t kt_random_size(struct kt_random *random, uint64_t most)
{
    uint64_t bits = 64 - (uint64_t)__builtin_clzll(most);
    uint64_t size = kt_random_next(random) >> (64 - 1 - kt_random_below(random, bits));
    return size == 0 ? 1 : size > most ? most : size;
}

static uint64_t word_of(uint64_t key, uint64_t i)
{
    return (key ^ i) * 0x9e3779b97f4a7c15ull;
}

void kt_fill(void *data, uint64_t bytes, uint64_t key)
{
    unsigned char *to = data;
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word = word_of(key, i);
        memcpy(to + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
}

int kt_filled(const void *data, uint64_t bytes, uint64_t key)
{
    const unsigned char *from = data;
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word = word_of(key, i);
        if (memcmp(from + i, &word, bytes - i < 8 ? bytes - i : 8) != 0)
            return 0;
    }
    return 1;
}
