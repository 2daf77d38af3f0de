/* SPDX-License-Identifier: MIT
 * Event: a flag that processes and threads wait for. */
#ifndef KIN_EVENT_H
#define KIN_EVENT_H

#include <kin/arena.h>

KIN_BEGIN

struct kin_event;

struct kin_event_opts {
    uint32_t size;    /* sizeof(struct kin_event_opts); 0 stands for it too */
    uint32_t set;     /* 1: set from the beginning */
    const char *name; /* for observers, up to 31 bytes; NULL: none */
};

/* Create an event. Errors: -EINVAL, -E2BIG, -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too. */
KIN_API KIN_NODISCARD int kin_event_create(struct kin_arena *arena,
                                           const struct kin_event_opts *opts,
                                           struct kin_event **ret_event);

/* The event of that name in the arena, which is created if there is none: see <kin/arena.h>.
 * Whether it is set counts only for who creates it. */
KIN_API KIN_NODISCARD int kin_event_open(struct kin_arena *arena, const char *name,
                                         const struct kin_event_opts *opts,
                                         struct kin_event **ret_event);
KIN_API KIN_NODISCARD int kin_event_find(struct kin_arena *arena, const char *name,
                                         struct kin_event **ret_event);
KIN_API KIN_NODISCARD int kin_event_inherit(struct kin_arena *arena, uint32_t position,
                                            struct kin_event **ret_event);

/* Give this process's handle back. Threads of this process that wait wake with -ESTALE. NULL is
 * ignored. Safety: when no other thread is about to use the handle. */
KIN_API void kin_event_destroy(struct kin_event *event);

/* Set the flag and wake all who wait, also if it is cleared again before they run.
 * Does not block. Safety: any thread | any process | async-signal-safe. */
KIN_API int kin_event_set(struct kin_event *event);

/* Clear the flag. Safety: any thread | any process | async-signal-safe. */
KIN_API int kin_event_clear(struct kin_event *event);

/* 1 when the flag is set, else 0. Safety: any thread | any process | async-signal-safe. */
KIN_API int kin_event_is_set(struct kin_event *event);

/* Wait until the flag is set. Errors: -ETIMEDOUT (a deadline that has passed looks once), -ESTALE.
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_event_wait(struct kin_event *event, kin_deadline deadline);

/* How many threads sleep until it is set. */
KIN_API int kin_event_waiting(struct kin_event *event);

KIN_END

#endif
