/* SPDX-License-Identifier: MIT
 * A place in the arena for a process that somebody else starts. Crash states: (6) to (10) of the
 * participants in arena_layout.h. The process's side: arena/inherit.c. */
#include <kin/offer.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "proc/process.h"
#include "sync/handle.h"

struct kin_offer {
    struct kini_pending pending; /* first: arena->pending is a list of them */
    struct kin_arena *arena;
    uint64_t cookie; /* of the process that made it */
    uint32_t slot, generation;
};

int kin_offer_create(struct kin_arena *arena, const char *name, struct kin_offer **ret_offer)
{
    char field[32];
    int r = kini_name_copy(field, name != NULL ? name : "Process");
    struct kini_self *self = r < 0 ? NULL : kini_enter(arena);
    if (r < 0 || (self == NULL && (r = kini_enter_error()) < 0))
        return r;
    if (arena->seat_fd >= 0)
        return kini_fail(-EOPNOTSUPP, "the arena has a name: the process can open it itself");
    struct kin_offer *offer = calloc(1, sizeof *offer);
    if (offer == NULL)
        return kini_fail(-ENOMEM, "no memory for an offer");
    offer->arena = arena;
    offer->cookie = self->cookie;
    pthread_mutex_lock(&arena->mutex);
    r = kini_participant_reserve(arena, &offer->slot, &offer->pending.token);
    if (r == 0) {
        struct kini_participant_shm *place = &arena->participants[offer->slot];
        offer->generation = KINI_STATE_GEN(kini_load(&place->state));
        memcpy(place->name, field, sizeof place->name);
        kini_bitmap_fill(arena, offer->slot, NULL, 0);
        offer->pending.next = arena->pending;
        arena->pending = &offer->pending;
    }
    pthread_mutex_unlock(&arena->mutex);
    if (r < 0)
        free(offer);
    else
        *ret_offer = offer;
    return r;
}

/* Under the mutex: nothing is dropped meanwhile. */
static int check_object(const struct kini_handle *handle)
{
    struct kin_arena *arena = handle->arena;
    if (!kini_object_is_held(arena, arena->slot, handle->tag))
        return kini_fail(-ESTALE, "the object is gone");
    return 0;
}

static int of_another(void)
{
    return kini_fail(-ESTALE, "the offer is of the process that forked this one");
}

int kin_offer_add(struct kin_offer *offer, const void *object, uint32_t *ret_key)
{
    const struct kini_handle *handle = object;
    struct kin_arena *arena = offer->arena;
    if (handle == NULL)
        return kini_fail(-EINVAL, "the object is a null pointer");
    if (handle->arena != arena)
        return kini_fail(-EXDEV, "the object is of another arena, or no handle of an object");
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    if (self->cookie != offer->cookie)
        return of_another();
    pthread_mutex_lock(&arena->mutex);
    int r = check_object(handle);
    if (r == 0)
        kini_bitmap_add(arena, offer->slot, handle->tag);
    pthread_mutex_unlock(&arena->mutex);
    if (r == 0)
        *ret_key = handle->tag;
    return r;
}

int kin_offer_daemon(struct kin_offer *offer)
{
    struct kin_arena *arena = offer->arena;
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    if (self->cookie != offer->cookie)
        return of_another();
    int r = kini_process_lifeline(arena);
    if (r < 0)
        return r;
    kini_store(&arena->participants[offer->slot].daemon, 1);
    return arena->lifeline_watch;
}

void kin_offer_fds(const struct kin_offer *offer, int ret_fds[KIN_OFFER_FDS])
{
    ret_fds[0] = offer->arena->fd;
    ret_fds[1] = offer->pending.token;
}

uint64_t kin_offer_place(const struct kin_offer *offer)
{
    return (uint64_t)offer->slot << 32 | offer->generation;
}

void kin_offer_destroy(struct kin_offer *offer)
{
    if (offer == NULL)
        return;
    struct kin_arena *arena = offer->arena;
    struct kini_self *self = kini_enter(arena);
    if (self != NULL && self->cookie == offer->cookie) {
        pthread_mutex_lock(&arena->mutex);
        struct kini_pending **link = &arena->pending;
        while (*link != NULL && *link != &offer->pending)
            link = &(*link)->next;
        if (*link != NULL)
            *link = offer->pending.next;
        kini_os_close(offer->pending.token);
        pthread_mutex_unlock(&arena->mutex);
        /* If nobody has a copy of the token, nobody will come. */
        uint64_t state = kini_load_acq(&arena->participants[offer->slot].state);
        if (KINI_STATE_GEN(state) == offer->generation && KINI_STATE(state) == KINI_RESERVED)
            kini_reap(arena, offer->slot);
    }
    free(offer);
}

/* The calling thread, if it is the handle of an object that is there. */
static struct kini_self *enter(const struct kini_handle *handle, int *ret_error)
{
    if (handle == NULL || handle->type == KINI_OBJECT_NONE) {
        *ret_error = kini_fail(-EINVAL, "no handle of an object");
        return NULL;
    }
    struct kini_self *self = kini_enter(handle->arena);
    if (self == NULL) {
        *ret_error = kini_enter_error();
        return NULL;
    }
    pthread_mutex_lock(&handle->arena->mutex);
    *ret_error = check_object(handle);
    pthread_mutex_unlock(&handle->arena->mutex);
    return *ret_error == 0 ? self : NULL;
}

int kin_object_key(const void *object, uint32_t *ret_key)
{
    const struct kini_handle *handle = object;
    int r;
    if (enter(handle, &r) != NULL)
        *ret_key = handle->tag;
    return r;
}

int kin_object_unname(const void *object)
{
    const struct kini_handle *handle = object;
    int r;
    struct kini_self *self = enter(handle, &r);
    if (self != NULL)
        kini_object_unname(self, handle->id);
    return r;
}
