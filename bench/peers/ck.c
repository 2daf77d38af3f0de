/* SPDX-License-Identifier: MIT
 * ck_ring of Concurrency Kit with one producer and one consumer.
 *
 * Its indices and an array of 64-byte slots lie in a shared anonymous mapping. Both sides call
 * ck's own functions for values of that size (CK_RING_PROTOTYPE) and poll with a pause between
 * while it is full or empty: nobody ever sleeps, nobody notices that the other side died, a second
 * producer would destroy it. It is the floor that a ring with all of that is measured against. */
#include <ck_ring.h>

#include "lib/bench.h"
#include "lib/stage.h"
#include "peers/loops.h"

struct slot {
    char bytes[64];
};

CK_RING_PROTOTYPE(slot, slot)

struct ck_channel {
    _Alignas(64) ck_ring_t ring;
    uint64_t total_bytes;
    _Alignas(64) struct slot slots[];
};

static void *ck_open(const struct peer_opts *opts)
{
    uint64_t bytes = sizeof(struct ck_channel) + opts->depth * sizeof(struct slot);
    struct ck_channel *channel = stage_memory(bytes);
    channel->total_bytes = bytes;
    ck_ring_init(&channel->ring, (unsigned)opts->depth); /* a power of two; holds one less */
    return channel;
}

static void ck_close(void *channel)
{
    stage_memory_free(channel, ((struct ck_channel *)channel)->total_bytes);
}

static inline void ck_put_slot(struct ck_channel *channel, struct slot *slot)
{
    while (!ck_ring_enqueue_spsc_slot(&channel->ring, channel->slots, slot))
        ck_pr_stall();
}

static inline void ck_get_slot(struct ck_channel *channel, struct slot *slot)
{
    while (!ck_ring_dequeue_spsc_slot(&channel->ring, channel->slots, slot))
        ck_pr_stall();
}

static void ck_put(void *channel, const void *data, size_t bytes)
{
    if (bytes == sizeof(struct slot)) { /* ck only reads it */
        ck_put_slot(channel, (struct slot *)(uintptr_t)data);
        return;
    }
    struct slot slot;
    memcpy(&slot, data, bytes);
    ck_put_slot(channel, &slot);
}

static void ck_get(void *channel, void *buffer, size_t bytes)
{
    if (bytes == sizeof(struct slot)) {
        ck_get_slot(channel, buffer);
        return;
    }
    struct slot slot;
    ck_get_slot(channel, &slot);
    memcpy(buffer, &slot, bytes);
}

PEER_STREAMS(ck, ck_put, ck_get)
PEER_PINGS(ck, ck_put, ck_get)

const struct peer peer_ck = {"ck_ring, polled, no safety",
                             ck_open,
                             ck_close,
                             ck_put,
                             ck_get,
                             ck_send,
                             ck_receive,
                             ck_ping,
                             ck_echo};
