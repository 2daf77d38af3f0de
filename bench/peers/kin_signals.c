/* SPDX-License-Identifier: MIT
 * kin's event, semaphore and condition as that by which one process tells another that a message
 * is there, which lies in shared memory beside it. One message at a time. */
#include <errno.h>
#include <stdlib.h>

#include "lib/bench.h"
#include "lib/stage.h"
#include "peers/kin_arena.h"
#include "peers/loops.h"

struct letter_box {
    uint32_t full; /* the condition's: guarded by its lock */
    char message[MESSAGE_MOST];
};

struct signal_channel {
    union {
        struct kin_event *event;
        struct kin_semaphore *semaphore;
        struct kin_condition *condition;
    };
    struct kin_lock *lock; /* of the condition; NULL: its own rlock */
    struct letter_box *box;
};

static struct signal_channel *channel_make(void)
{
    struct signal_channel *c = calloc(1, sizeof *c);
    if (c == NULL)
        bench_die("no memory");
    kin_peer_arena_open();
    c->box = stage_memory(sizeof *c->box);
    return c;
}

static void channel_end(struct signal_channel *c)
{
    stage_memory_free(c->box, sizeof *c->box);
    kin_peer_arena_close();
    free(c);
}

static struct kin_arena *arena_of_channel(void)
{
    struct kin_arena *arena = kin_peer_arena_open();
    kin_peer_arena_close(); /* the channel holds it */
    return arena;
}

/* --- event ---------------------------------------------------------------------------------- */

static void *event_open(const struct peer_opts *opts)
{
    (void)opts;
    struct signal_channel *c = channel_make();
    bench_must(kin_event_create(arena_of_channel(), NULL, &c->event), "kin_event_create");
    return c;
}

static void event_close(void *channel)
{
    struct signal_channel *c = channel;
    kin_event_destroy(c->event);
    channel_end(c);
}

static void event_put(void *channel, const void *data, size_t bytes)
{
    struct signal_channel *c = channel;
    memcpy(c->box->message, data, bytes);
    bench_must(kin_event_set(c->event), "kin_event_set");
}

static void event_get(void *channel, void *buffer, size_t bytes)
{
    struct signal_channel *c = channel;
    bench_must(kin_event_wait(c->event, KIN_NEVER), "kin_event_wait");
    bench_must(kin_event_clear(c->event), "kin_event_clear");
    memcpy(buffer, c->box->message, bytes);
}

static void event_poll(void *channel, void *buffer, size_t bytes)
{
    struct signal_channel *c = channel;
    while (!kin_event_is_set(c->event))
        ;
    bench_must(kin_event_clear(c->event), "kin_event_clear");
    memcpy(buffer, c->box->message, bytes);
}

PEER_PINGS(event, event_put, event_poll)

const struct peer peer_kin_event = {"kin event", event_open, event_close, event_put, event_get,
                                    NULL,        NULL,       event_ping,  event_echo};

/* --- semaphore ------------------------------------------------------------------------------ */

static void *semaphore_open(const struct peer_opts *opts)
{
    (void)opts;
    struct signal_channel *c = channel_make();
    bench_must(kin_semaphore_create(arena_of_channel(), 0, NULL, &c->semaphore),
               "kin_semaphore_create");
    return c;
}

static void semaphore_close(void *channel)
{
    struct signal_channel *c = channel;
    kin_semaphore_destroy(c->semaphore);
    channel_end(c);
}

static void semaphore_put(void *channel, const void *data, size_t bytes)
{
    struct signal_channel *c = channel;
    memcpy(c->box->message, data, bytes);
    bench_must(kin_semaphore_release(c->semaphore), "kin_semaphore_release");
}

static void semaphore_get(void *channel, void *buffer, size_t bytes)
{
    struct signal_channel *c = channel;
    bench_must(kin_semaphore_acquire(c->semaphore, KIN_NEVER), "kin_semaphore_acquire");
    memcpy(buffer, c->box->message, bytes);
}

static void semaphore_poll(void *channel, void *buffer, size_t bytes)
{
    struct signal_channel *c = channel;
    int r;
    while ((r = kin_semaphore_try_acquire(c->semaphore)) == -EAGAIN)
        ;
    bench_must(r, "kin_semaphore_try_acquire");
    memcpy(buffer, c->box->message, bytes);
}

PEER_PINGS(semaphore, semaphore_put, semaphore_poll)

const struct peer peer_kin_semaphore = {
    "kin semaphore", semaphore_open, semaphore_close, semaphore_put, semaphore_get, NULL, NULL,
    semaphore_ping,  semaphore_echo};

/* --- condition ------------------------------------------------------------------------------ */

static void *condition_make(int with_lock)
{
    struct signal_channel *c = channel_make();
    struct kin_condition_opts opts = {.size = sizeof opts};
    if (with_lock) {
        bench_must(kin_lock_create(arena_of_channel(), NULL, &c->lock), "kin_lock_create");
        opts.lock = c->lock;
    }
    bench_must(kin_condition_create(arena_of_channel(), &opts, &c->condition),
               "kin_condition_create");
    return c;
}

static void *condition_open(const struct peer_opts *opts)
{
    (void)opts;
    return condition_make(1);
}

static void *condition_own_open(const struct peer_opts *opts)
{
    (void)opts;
    return condition_make(0);
}

static void condition_close(void *channel)
{
    struct signal_channel *c = channel;
    kin_condition_destroy(c->condition);
    kin_lock_destroy(c->lock);
    channel_end(c);
}

static void condition_put(void *channel, const void *data, size_t bytes)
{
    struct signal_channel *c = channel;
    bench_must(kin_condition_acquire(c->condition, KIN_NEVER), "kin_condition_acquire");
    memcpy(c->box->message, data, bytes);
    c->box->full = 1;
    bench_must(kin_condition_notify(c->condition, 1), "kin_condition_notify");
    bench_must(kin_condition_release(c->condition), "kin_condition_release");
}

static void condition_get(void *channel, void *buffer, size_t bytes)
{
    struct signal_channel *c = channel;
    bench_must(kin_condition_acquire(c->condition, KIN_NEVER), "kin_condition_acquire");
    while (!c->box->full)
        bench_must(kin_condition_wait(c->condition, KIN_NEVER), "kin_condition_wait");
    c->box->full = 0;
    memcpy(buffer, c->box->message, bytes);
    bench_must(kin_condition_release(c->condition), "kin_condition_release");
}

const struct peer peer_kin_condition = {"kin condition",
                                        condition_open,
                                        condition_close,
                                        condition_put,
                                        condition_get,
                                        NULL,
                                        NULL,
                                        NULL,
                                        NULL};
const struct peer peer_kin_condition_own = {"kin condition, own rlock",
                                            condition_own_open,
                                            condition_close,
                                            condition_put,
                                            condition_get,
                                            NULL,
                                            NULL,
                                            NULL,
                                            NULL};
