/* SPDX-License-Identifier: MIT
 * A ring that does nothing but copy: bare_ring.h. */
#include <string.h>

#include "bare_ring.h"
#include "lib/stage.h"

static uint64_t round_up(uint64_t bytes, uint64_t to)
{
    return (bytes + to - 1) / to * to;
}

static uint64_t size_of(uint64_t cap, uint64_t stride)
{
    return sizeof(struct bare_ring) + cap * stride;
}

struct bare_ring *bare_ring_new(uint64_t cap, uint64_t bytes)
{
    uint64_t stride = round_up(sizeof(uint64_t) + bytes, 16);
    struct bare_ring *ring = stage_memory(size_of(cap, stride));
    memset(ring, 0, size_of(cap, stride));
    ring->cap = cap;
    ring->bytes = bytes;
    ring->stride = stride;
    return ring;
}

void bare_ring_free(struct bare_ring *ring)
{
    stage_memory_free(ring, size_of(ring->cap, ring->stride));
}

static inline char *cell(struct bare_ring *ring, uint64_t position)
{
    return ring->cells + position % ring->cap * ring->stride;
}

void bare_ring_put_many(struct bare_ring *ring, const struct kin_item *items, uint32_t count)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    for (uint32_t done = 0; done < count;) {
        uint64_t room =
            ring->cap - (tail - atomic_load_explicit(&ring->head, memory_order_acquire));
        uint32_t n = room < count - done ? (uint32_t)room : count - done;
        for (uint32_t i = 0; i < n; i++) {
            char *to = cell(ring, tail + i);
            uint64_t bytes = items[done + i].bytes;
            memcpy(to, &bytes, sizeof bytes);
            memcpy(to + sizeof bytes, items[done + i].data, bytes);
        }
        tail += n;
        done += n;
        atomic_store_explicit(&ring->tail, tail, memory_order_release);
    }
}

uint32_t bare_ring_get_many(struct bare_ring *ring, struct kin_item *items, uint32_t count,
                            char *buffer)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed), ready;
    while ((ready = atomic_load_explicit(&ring->tail, memory_order_acquire) - head) == 0)
        ;
    uint32_t n = ready < count ? (uint32_t)ready : count;
    for (uint32_t i = 0; i < n; i++) {
        const char *from = cell(ring, head + i);
        uint64_t bytes;
        memcpy(&bytes, from, sizeof bytes);
        memcpy(buffer, from + sizeof bytes, bytes);
        items[i] = (struct kin_item){buffer, bytes};
        buffer += round_up(bytes, 16);
    }
    atomic_store_explicit(&ring->head, head + n, memory_order_release);
    return n;
}
