/* SPDX-License-Identifier: MIT
 * What a process has of an object of this layer: private memory. Every public handle begins with
 * one. */
#ifndef KINI_HANDLE_H
#define KINI_HANDLE_H

#include <errno.h>

#include "arena/arena.h"
#include "sync/wait.h"

struct kini_handle {
    struct kin_arena *arena;
    void *shm;
    uint32_t type; /* enum kini_object_type; 0: closed */
    uint32_t epoch;
    uint32_t id, tag;
    kini_a64 waiting; /* serial of the process 32 | threads of it that wait here */
    kini_a32 closed;
    uint32_t is_part; /* 1: it lies in the handle of another object, and is closed with that */
};

/* What an object of a type is. */
struct kini_kind {
    uint32_t type;         /* enum kini_object_type */
    uint32_t handle_bytes; /* of the handle, which begins with a struct kini_handle */
    uint64_t shm_bytes;    /* of the shared structure, at least */
    bool (*check)(const struct kin_arena *arena, void *shm); /* NULL: nothing to compare */
};
/* Where to find it: among those handed over to this process, by position, or by name. */
struct kini_which {
    const char *name;
    uint32_t position;
    bool by_position;
};
#define KINI_BY_NAME(given) (&(const struct kini_which){.name = (given)})
#define KINI_BY_POSITION(given)                                                                    \
    (&(const struct kini_which){.position = (given), .by_position = true})

/* How a new one comes to be: init, or make, which gives its block (own: see kini_new_object). */
struct kini_maker {
    void (*init)(void *shm, const void *arg); /* of shm_bytes zeroed bytes */
    int (*make)(struct kini_self *self, const void *arg, uint64_t *ret_offset);
    void (*own)(struct kini_self *self, uint64_t offset, uint32_t tag);
    /* Beside make: no object came of it. NULL: its block is given back. */
    void (*unmake)(struct kini_self *self, uint64_t offset);
    const void *arg;
};
/* A new object and a handle of it. Killed on the way: nothing is left. */
int kini_handle_make(struct kin_arena *arena, const struct kini_kind *kind, const char *name,
                     const struct kini_maker *maker, void *ret_handle);
/* A handle of the object that is there. If there is none of that name: a new one, or -ENOENT if
 * maker is NULL. -EPROTOTYPE: one of another type has the name. -EPROTO: damaged. */
int kini_handle_open(struct kin_arena *arena, const struct kini_kind *kind,
                     const struct kini_which *which, const struct kini_maker *maker,
                     void *ret_handle);

/* The steps of it, for an object that is reached by way of another one. find: its id and
 * generation, held; 1 or 0, as above. bind: the rest of the handle, whose id is that of an object
 * that we hold; it is let go on an error. */
int kini_handle_find(struct kini_self *self, const struct kini_kind *kind, const char *name,
                     const struct kini_maker *maker, uint32_t *ret_id, uint32_t *ret_gen);
int kini_handle_bind(struct kini_self *self, struct kini_handle *handle,
                     const struct kini_kind *kind, uint32_t gen);

/* An option that says something else than the object which was there before: -EINVAL. */
int kini_handle_differs(const char *name, const char *option, uint64_t wanted, uint64_t is);

/* Wake the threads of this process that wait with it, wait until they have gone, give back what the
 * process holds of the object, drop it and free the handle. */
void kini_handle_close(struct kini_handle *handle);
/* Only its first step: the threads that wait. */
void kini_handle_send_away(struct kini_self *self, struct kini_handle *handle);

/* -ESTALE, -EPROTOTYPE or what kini_enter says: why kini_handle_enter returned NULL. */
struct kini_self *kini_handle_enter_slow(struct kini_handle *handle, uint32_t type, int *ret_error);

/* The calling thread, if the handle is good and of that type. Every call begins with it. */
static kini_inline struct kini_self *kini_handle_enter(struct kini_handle *handle, uint32_t type,
                                                       int *ret_error)
{
    struct kini_self *self = kini_enter(handle->arena);
    /* The epoch last: entering may raise it. */
    if (kini_likely(self != NULL && handle->type == type && handle->epoch == handle->arena->epoch))
        return self;
    return kini_handle_enter_slow(handle, type, ret_error);
}

/* For calls that only look, and for signal handlers: no thread is needed. */
int kini_handle_mismatch(const struct kini_handle *handle, uint32_t type);
/* Nearly always; if not, it may be good all the same. */
static inline bool kini_handle_is_plain(const struct kini_handle *handle, uint32_t type)
{
    return handle->type == type && handle->epoch == handle->arena->epoch &&
           kini_load(handle->arena->guard) != 0;
}
static inline int kini_handle_check(const struct kini_handle *handle, uint32_t type)
{
    return kini_likely(kini_handle_is_plain(handle, type)) ? 0 : kini_handle_mismatch(handle, type);
}

/* kini_wait_for, counted, so that kini_handle_close knows of it. attempt must answer -ESTALE once
 * the handle is closed; then the handle must not be touched any more. */
int64_t kini_handle_wait(struct kini_self *self, struct kini_handle *handle,
                         struct kini_waitq_shm *queue, kin_deadline deadline,
                         kini_attempt_fn attempt, void *arg);
void kini_handle_begin_wait(struct kini_self *self, struct kini_handle *handle);
/* Returns r, how the wait ended, and says so if it was -ESTALE. */
int64_t kini_handle_end_wait(struct kini_handle *handle, int64_t r);

/* Whether the others still count this process among the living. */
static inline bool kini_is_participant(struct kini_self *self)
{
    uint64_t state = kini_load_acq(&self->arena->participants[self->slot].state);
    return KINI_STATE_GEN(state) == self->arena->generation && KINI_STATE(state) != KINI_FREE &&
           KINI_STATE(state) != KINI_REAPING;
}

/* Let somebody go first, but not for longer than a slice: it may have been stopped. key names it
 * and what it is the first for. True when it has been let for long enough. */
bool kini_waited_enough(struct kini_self *self, uint64_t key);

static inline int64_t kini_handle_not_yet(const struct kini_handle *handle)
{
    return kini_unlikely(kini_load(&handle->closed) != 0) ? -ESTALE : -EAGAIN;
}

/* The names of an object, of a thread, of its process. */
struct kin_owner;
int kini_owner_tell(struct kin_arena *arena, uint64_t owner_word, struct kin_owner *ret_owner);

#endif
