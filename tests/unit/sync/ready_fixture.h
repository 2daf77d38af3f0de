/* SPDX-License-Identifier: MIT
 * What the tests of descriptors for event loops begin with: one of them, and the wait for it. */
#ifndef KT_READY_FIXTURE_H
#define KT_READY_FIXTURE_H

#include "sync/handle.h"
#include "sync/wait.h"

#include "sync_fixture.h"

#include <poll.h>

static struct kin_event *event;
static struct kin_queue *queue;
static struct kin_ready *ready;

#define FOR_EVER (-1)

static inline bool readable(int timeout_ms)
{
    struct pollfd p = {.fd = kin_ready_fd(ready), .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1 && p.revents == POLLIN;
}

/* As an event loop does: poll and check until something is ready. */
static inline int next_ready(void)
{
    for (;;) {
        KT_CHECK(readable(FOR_EVER));
        int r = kin_ready_check(ready);
        if (r != -EAGAIN)
            return r;
    }
}

/* The only record with a bell. */
static inline struct kini_thread_shm *record(void)
{
    for (uint32_t i = 1; i < arena->super->threads_high; i++)
        if ((arena->threads[i].state & 1) && arena->threads[i].bell != 0)
            return &arena->threads[i];
    return NULL;
}

static inline uint32_t counted_in(void *object, uint32_t type, uint32_t kind)
{
    struct kini_handle *handle = object;
    return kini_load(&kini_types[type].waitq(handle->shm, kind)->nany);
}

static inline void open_one(struct kin_wait wait)
{
    KT_OK(kin_ready_create(arena, &wait, 1, &ready));
}

static inline void open_event(void)
{
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    open_one(kin_wait_event(event));
}

static inline void close_event(void)
{
    kin_ready_destroy(ready);
    ck_assert_ptr_null(record());
    kin_event_destroy(event);
    finish();
}

/* Nothing is ready, and it is armed. The timer is far off yet. */
static inline void arm(void)
{
    KT_IS(kin_ready_check(ready), -EAGAIN);
    ck_assert_uint_eq(kini_load(&record()->park), KINI_PARK_ASLEEP);
}

#endif
