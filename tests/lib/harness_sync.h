/* SPDX-License-Identifier: MIT
 * Where things lie in the structures that are private to the files of src/sync: from the drawings
 * at the heads of these. */
#ifndef HARNESS_SYNC_H
#define HARNESS_SYNC_H

#include "harness.h"
#include "sync/types.h"

struct kill_semaphore_shm {
    kini_a64 word;
    kini_a64 abandoned;
    uint32_t initial, bounded, counted;
    uint32_t reserved[5];
    struct kini_waitq_shm waiters;
};

struct kill_event_shm {
    kini_a64 word;
    uint64_t reserved[5];
    struct kini_waitq_shm waiters;
};

struct kill_condition_shm {
    struct kini_lock_shm own;
    struct kini_waitq_shm waiters;
};

struct kill_barrier_shm {
    kini_a64 word;
    kini_a64 abandoned;
    uint32_t parties;
    uint32_t reserved[7];
    struct kini_waitq_shm waiters;
    kini_a64 members[KINI_PARTICIPANTS_MAX / 64];
};
#define KILL_BARRIER_BROKEN           (1ull << 16)
#define KILL_BARRIER_ARRIVED(word)    ((uint32_t)((word)&0xffff))
#define KILL_BARRIER_GENERATION(word) ((uint32_t)((word) >> 40))

struct kill_rwlock_shm {
    kini_a64 word;
    kini_a64 turn, abandoned;
    uint64_t reserved[3];
    struct kini_waitq_shm readers;
    struct kini_waitq_shm writers;
};
#define KILL_WRITER    (1u << 26)
#define KILL_ABANDONED (1u << 25)
#define KILL_READERS   (KILL_ABANDONED - 1)

/* The structure of an object in the arena of the view; of: any public handle. */
static inline void *kill_shm(struct kill_view *view, const void *of)
{
    const struct kini_handle *handle = of;
    return kini_at(view->arena, kini_offset(handle->arena, handle->shm));
}

static inline kin_deadline kill_far_away(void)
{
    return kin_after_ms(600000);
}

/* Waits in earnest, but not for long: until just after the machine was started. */
static inline kin_deadline kill_at_once(void)
{
    return 1;
}

#endif
