/* SPDX-License-Identifier: MIT
 * An end of a pipe as one process sees it. */
#ifndef KINI_PIPE_H
#define KINI_PIPE_H

#include <kin/pipe.h>

#include "chan/pipe_layout.h"
#include "chan/ring.h"

struct kin_pipe {
    struct kini_handle handle; /* handle.shm: struct kini_pipe_end_shm */
    struct kini_pipe_shm *pipe;
    struct kini_pipe_direction_shm *in, *out; /* NULL: one-way, the other way */
    struct kin_queue in_ring, out_ring;       /* only for the functions of the ring */
    kini_a64 received_seen; /* private: some earlier value, to leave the line of out alone */
    int sock;               /* for descriptors; -1: none */
};

/* The calling thread, or NULL. */
static inline struct kini_self *kini_pipe_enter(struct kin_pipe *end, int *ret_error)
{
    return kini_handle_enter(&end->handle, KINI_OBJECT_PIPE_END, ret_error);
}

/* Of a damaged end it may be anything, so it is found by numbers. */
static inline struct kini_pipe_shm *kini_pipe_of(struct kini_pipe_end_shm *end)
{
    return (void *)((uintptr_t)end + (uint64_t)end->pipe_delta);
}

static inline struct kini_pipe_end_shm *
kini_end_of(const struct kin_arena *arena, const struct kini_pipe_shm *pipe, uint32_t number)
{
    uint32_t id = pipe->end_tags[number] & 0xffff;
    return kini_at(arena, kini_load(&arena->objects[id].offset));
}

/* -1: there is none. handle: of a pipe end. */
static inline int kini_pipe_socket(const struct kini_handle *handle)
{
    return ((const struct kin_pipe *)handle)->sock;
}

/* --- pipe.c: for those who open one by name --------------------------------------------------- */

/* What is to be created. opens_one: the creator opens that side, the other one waits for somebody
 * who opens it. */
struct kini_pipe_plan {
    struct kin_pipe_opts opts;
    uint32_t side;
    bool opens_one;
};
int kini_pipe_check_opts(const struct kin_pipe_opts *opts);
struct kini_maker kini_pipe_maker(const struct kini_pipe_plan *plan);
/* A handle of nothing yet, or NULL. */
struct kin_pipe *kini_pipe_handle(struct kin_arena *arena);
/* Of an end whose object is there, in handle.shm. */
void kini_pipe_bind(struct kin_pipe *end);
/* One handle less of the pipe, or of an end that has no handle. */
void kini_pipe_let_go(struct kini_self *self, uint32_t tag);

/* --- pipe_message.c: also for descriptors --------------------------------------------------- */

/* 0, -EAGAIN when there is no room, -EPIPE, -ESTALE. */
int kini_pipe_may_send(struct kini_self *self, struct kin_pipe *end, uint64_t bytes);
/* After kini_pipe_may_send; the same errors. bytes count against the capacity. */
int64_t kini_pipe_put(struct kini_self *self, struct kin_pipe *end,
                      const struct kini_message *message, uint64_t bytes);
/* As kini_ring_get, and whoever waits for room is woken. */
int64_t kini_pipe_get(struct kini_self *self, struct kin_pipe *end, struct kini_taker *taker,
                      bool counts);
/* Length of the next message, with KINI_PIPE_FD if it is a descriptor; -EAGAIN. */
int64_t kini_pipe_peek(struct kini_self *self, struct kin_pipe *end);
/* Attempt until it answers, waiting for room or for a message. A deadline of KIN_NOW tries once. */
int64_t kini_pipe_wait_out(struct kini_self *self, struct kin_pipe *end, kin_deadline deadline,
                           kini_attempt_fn attempt, void *arg);
int64_t kini_pipe_wait_in(struct kini_self *self, struct kin_pipe *end, kin_deadline deadline,
                          kini_attempt_fn attempt, void *arg);
int kini_pipe_only_sends(void);
int kini_pipe_only_receives(void);

/* --- for src/types.c -------------------------------------------------------------------------- */

void kini_pipe_object_destroy(struct kini_self *self, uint64_t offset);
void kini_pipe_end_destroy(struct kini_self *self, uint64_t offset);
struct kini_waitq_shm *kini_pipe_waitq(void *shm, uint32_t kind);
int kini_pipe_ready(struct kini_self *self, void *shm, uint32_t kind);

#endif
