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
    uint64_t depth, stride;   /* of the large messages */
    _Alignas(64) uint64_t in; /* large messages put so far: the producer's own */
    _Alignas(64) struct slot slots[];
};

static void *ck_open(const struct peer_opts *opts)
{
    if (opts->producers > 1 || opts->consumers > 1)
        return NULL;
    uint64_t stride = opts->bytes > sizeof(struct slot) ? (opts->bytes + 63) & ~63ull : 0;
    uint64_t bytes =
        sizeof(struct ck_channel) + opts->depth * sizeof(struct slot) + (opts->depth + 1) * stride;
    struct ck_channel *channel = stage_memory(bytes);
    channel->total_bytes = bytes;
    channel->depth = opts->depth;
    channel->stride = stride;
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

/* A large message lies beside the ring, which carries its place. The ring holds depth - 1 places
 * and the consumer has one more in hand, so with depth + 1 of them the next is free: it is taken
 * when the one before was put. */
static char *large(struct ck_channel *channel, uint64_t place)
{
    return (char *)(channel->slots + channel->depth) + place * channel->stride;
}

static void ck_put_large(struct ck_channel *channel, const void *data, size_t bytes)
{
    struct slot slot;
    uint64_t place = channel->in++ % (channel->depth + 1);
    memcpy(large(channel, place), data, bytes);
    memcpy(slot.bytes, &place, sizeof place);
    ck_put_slot(channel, &slot);
}

static void ck_get_large(struct ck_channel *channel, void *buffer, size_t bytes)
{
    struct slot slot;
    uint64_t place;
    ck_get_slot(channel, &slot);
    memcpy(&place, slot.bytes, sizeof place);
    memcpy(buffer, large(channel, place), bytes);
}

static void ck_put(void *channel, const void *data, size_t bytes)
{
    if (bytes > sizeof(struct slot)) {
        ck_put_large(channel, data, bytes);
        return;
    }
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
    if (bytes > sizeof(struct slot)) {
        ck_get_large(channel, buffer, bytes);
        return;
    }
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
