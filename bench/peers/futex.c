/* SPDX-License-Identifier: MIT
 * The least that can carry one message at a time: a word in shared memory with a futex on it, and
 * the message beside it. Nothing else: no queue, no bound, no safety. */
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/bench.h"
#include "lib/stage.h"
#include "peers/loops.h"

struct futex_channel {
    _Alignas(64) _Atomic uint32_t number; /* of messages so far */
    char message[56];
    _Alignas(64) uint32_t seen; /* the receiver's own */
};

static void *futex_open(const struct peer_opts *opts)
{
    if (opts->bytes > sizeof((struct futex_channel *)0)->message)
        return NULL;
    return stage_memory(sizeof(struct futex_channel));
}

static void futex_close(void *channel)
{
    stage_memory_free(channel, sizeof(struct futex_channel));
}

static void word_put(void *channel, const void *data, size_t bytes)
{
    struct futex_channel *c = channel;
    memcpy(c->message, data, bytes);
    atomic_fetch_add(&c->number, 1);
}

static void futex_put(void *channel, const void *data, size_t bytes)
{
    struct futex_channel *c = channel;
    word_put(channel, data, bytes);
    syscall(SYS_futex, &c->number, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futex_get(void *channel, void *buffer, size_t bytes)
{
    struct futex_channel *c = channel;
    while (atomic_load(&c->number) == c->seen)
        syscall(SYS_futex, &c->number, FUTEX_WAIT, c->seen, NULL, NULL, 0);
    memcpy(buffer, c->message, bytes);
    c->seen++;
}

static void word_get(void *channel, void *buffer, size_t bytes)
{
    struct futex_channel *c = channel;
    while (atomic_load_explicit(&c->number, memory_order_acquire) == c->seen)
        ;
    memcpy(buffer, c->message, bytes);
    c->seen++;
}

PEER_PINGS(word, word_put, word_get)

const struct peer peer_futex = {"bare futex", futex_open, futex_close, futex_put, futex_get,
                                NULL,         NULL,       NULL,        NULL};
const struct peer peer_word = {"one word, bare", futex_open, futex_close, word_put,
                               word_get,         NULL,       NULL,        word_ping,
                               word_echo};
