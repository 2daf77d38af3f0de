/* SPDX-License-Identifier: MIT
 * The loops that all peers are driven by, to be compiled together with a peer's put and get. */
#ifndef BENCH_LOOPS_H
#define BENCH_LOOPS_H

#include <string.h>

#include "peers/peer.h"

#define MESSAGE_MOST 256 /* bytes, for messages in these loops */
#define INLINED      static inline __attribute__((always_inline))

typedef void (*loop_put)(void *channel, const void *data, size_t bytes);
typedef void (*loop_get)(void *channel, void *buffer, size_t bytes);

/* Every message is different and stands in the sender's memory before it is put. */
INLINED void loop_send(void *channel, uint64_t count, size_t bytes, loop_put put)
{
    _Alignas(64) char message[MESSAGE_MOST];
    memset(message, 1, sizeof message);
    for (uint64_t i = 0; i < count; i++) {
        memcpy(message, &i, sizeof i);
        put(channel, message, bytes);
    }
}

/* Every message is in the receiver's memory before it is looked at. */
INLINED uint64_t loop_receive(void *channel, uint64_t count, size_t bytes, loop_get get)
{
    _Alignas(64) char message[MESSAGE_MOST];
    uint64_t sum = 0, number;
    for (uint64_t i = 0; i < count; i++) {
        get(channel, message, bytes);
        __asm__ volatile("" ::"r"(message) : "memory");
        memcpy(&number, message, sizeof number);
        sum += number;
    }
    return sum;
}

INLINED void loop_ping(void *there, void *back, uint64_t count, loop_put put, loop_get get)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t reply;
        put(there, &i, sizeof i);
        get(back, &reply, sizeof reply);
    }
}

INLINED void loop_echo(void *there, void *back, uint64_t count, loop_put put, loop_get get)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t message;
        get(there, &message, sizeof message);
        put(back, &message, sizeof message);
    }
}

#define PEER_STREAMS(prefix, put, get)                                                             \
    static void prefix##_send(void *channel, uint64_t count, size_t bytes)                         \
    {                                                                                              \
        loop_send(channel, count, bytes, put);                                                     \
    }                                                                                              \
    static uint64_t prefix##_receive(void *channel, uint64_t count, size_t bytes)                  \
    {                                                                                              \
        return loop_receive(channel, count, bytes, get);                                           \
    }

#define PEER_PINGS(prefix, put, polling_get)                                                       \
    static void prefix##_ping(void *there, void *back, uint64_t count)                             \
    {                                                                                              \
        loop_ping(there, back, count, put, polling_get);                                           \
    }                                                                                              \
    static void prefix##_echo(void *there, void *back, uint64_t count)                             \
    {                                                                                              \
        loop_echo(there, back, count, put, polling_get);                                           \
    }

#endif
