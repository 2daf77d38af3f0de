/* SPDX-License-Identifier: MIT
 * A ring for one producer and one consumer who copy batches in and out, poll, and do nothing else:
 * two counters and the cells. Neither may die, nobody may join them. What memory alone allows. */
#ifndef BENCH_BARE_RING_H
#define BENCH_BARE_RING_H

#include <stdatomic.h>
#include <stdint.h>

#include <kin/kin.h>

struct bare_ring {
    _Alignas(128) _Atomic uint64_t tail;
    _Alignas(128) _Atomic uint64_t head;
    _Alignas(128) uint64_t cap, bytes, stride;
    _Alignas(128) char cells[];
};

/* In memory shared with the processes forked later; cap messages of at most so many bytes. */
struct bare_ring *bare_ring_new(uint64_t cap, uint64_t bytes);
void bare_ring_free(struct bare_ring *ring);
void bare_ring_put_many(struct bare_ring *ring, const struct kin_item *items, uint32_t count);
/* At least one, at most count; buffer has room for all of them. Returns how many. */
uint32_t bare_ring_get_many(struct bare_ring *ring, struct kin_item *items, uint32_t count,
                            char *buffer);

#endif
