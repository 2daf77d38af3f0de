/* SPDX-License-Identifier: MIT
 * Handles of synchronisation objects. */
#include "sync/handle.h"
#include "arena/block.h"
#include "sync/hold.h"

#include <kin/lock.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const type_names[KINI_OBJECT_TYPES] = {
    [KINI_OBJECT_NONE] = "destroyed handle",
    [KINI_OBJECT_QUEUE] = "queue",
    [KINI_OBJECT_POOL] = "pool",
    [KINI_OBJECT_LOCK] = "lock",
    [KINI_OBJECT_RLOCK] = "rlock",
    [KINI_OBJECT_SEMAPHORE] = "semaphore",
    [KINI_OBJECT_EVENT] = "event",
    [KINI_OBJECT_CONDITION] = "condition",
    [KINI_OBJECT_BARRIER] = "barrier",
    [KINI_OBJECT_RWLOCK] = "rwlock",
    [KINI_OBJECT_ONCE] = "once",
};

/* --- create and close ----------------------------------------------------------------------- */

/* The block is private to us until the object exists: a death on the way leaves only what the
 * sweep takes. */
static int make_object(struct kini_self *self, struct kini_handle *handle, const char *name,
                       size_t bytes, void (*init)(void *shm, const void *arg), const void *arg)
{
    uint64_t offset;
    uint32_t gen;
    int r = kini_block_get(self, bytes, &offset);
    if (r < 0)
        return r;
    handle->shm = memset(kini_at(self->arena, offset), 0, bytes);
    init(handle->shm, arg);
    r = kini_object_create(self, handle->type, offset, name, &handle->id, &gen);
    if (r < 0) {
        kini_block_put(self, offset);
        return r;
    }
    handle->tag = kini_object_tag(handle->id, gen);
    kini_block_give(self, offset, handle->tag);
    return 0;
}

int kini_handle_create(struct kin_arena *arena, uint32_t type, const char *name, size_t bytes,
                       void (*init)(void *shm, const void *arg), const void *arg,
                       size_t handle_bytes, void *ret_handle)
{
    char field[32];
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    int r = kini_name_copy(field, name);
    if (r < 0)
        return r;
    struct kini_handle *handle = calloc(1, handle_bytes);
    if (handle == NULL)
        return kini_fail(-ENOMEM, "no memory for the handle of a %s", type_names[type]);
    handle->arena = arena;
    handle->type = type;
    handle->epoch = arena->epoch;
    r = make_object(self, handle, name, bytes, init, arg);
    if (r < 0)
        free(handle);
    else
        memcpy(ret_handle, &handle, sizeof handle);
    return r;
}

/* Another one in each child (kini_new_cookie). */
static uint64_t serial_of(struct kini_self *self)
{
    return self->cookie & 0xffffffff;
}

/* Those who wait see that the handle is closed as soon as they look. */
static void send_away(struct kini_self *self, struct kini_handle *handle)
{
    kini_swap_sc(&handle->closed, 1);
    for (;;) {
        uint64_t waiting = kini_load_sc(&handle->waiting);
        if (waiting >> 32 != serial_of(self) || (uint32_t)waiting == 0)
            return; /* those of a parent that forked us are not here */
        uint32_t high = kini_load_acq(&self->arena->super->threads_high);
        for (uint32_t i = 1; i < high; i++) {
            struct kini_thread_shm *t = &self->arena->threads[i];
            uint64_t state = kini_load_acq(&t->state);
            if ((state & 1) && KINI_THREAD_SLOT(state) == self->slot &&
                kini_load_sc(&t->wait_state) != KINI_WAIT_NONE)
                kini_nudge_thread(t);
        }
        usleep(50);
    }
}

void kini_handle_close(struct kini_handle *handle)
{
    int error;
    if (handle == NULL || handle->type == KINI_OBJECT_NONE)
        return;
    struct kini_self *self = kini_handle_enter(handle, handle->type, &error);
    if (self != NULL) {
        uint64_t offset = kini_offset(self->arena, handle->shm);
        send_away(self, handle);
        if (kini_counted_of(handle->type) != NULL)
            kini_holds_return_object(self, self->slot, handle->tag);
        if (kini_types[handle->type].holder_died != NULL)
            kini_types[handle->type].holder_died(self, offset, self->slot);
        pthread_mutex_lock(&self->arena->mutex); /* a fork must not copy our holds in the middle */
        kini_object_drop(self, handle->id);
        pthread_mutex_unlock(&self->arena->mutex);
    }
    handle->type = KINI_OBJECT_NONE;
    free(handle);
}

/* --- use ------------------------------------------------------------------------------------ */

int kini_handle_mismatch(const struct kini_handle *handle, uint32_t type)
{
    if (handle->type == type) {
        /* The child of a fork that no handler saw: its parent's objects, while they are there. */
        uint64_t state = kini_load_acq(&handle->arena->objects[handle->id].state);
        if (KINI_OBJECT_STATE(state) == KINI_OBJECT_LIVE &&
            kini_object_tag(handle->id, KINI_OBJECT_GEN(state)) == handle->tag)
            return 0;
        return kini_fail_plain(-ESTALE, "the object was gone before this process joined");
    }
    const char *is = handle->type < KINI_OBJECT_TYPES ? type_names[handle->type] : NULL;
    return kini_fail(-EPROTOTYPE, "the handle is of a %s, a %s is wanted", is ? is : "stranger",
                     type_names[type]);
}

struct kini_self *kini_handle_enter_slow(struct kini_handle *handle, uint32_t type, int *ret_error)
{
    if (handle->type != type) {
        *ret_error = kini_handle_mismatch(handle, type);
        return NULL;
    }
    struct kini_self *self = kini_enter(handle->arena);
    if (self == NULL) {
        *ret_error = kini_enter_error();
        return NULL;
    }
    /* A child that no fork handler saw may have handles of objects that went before it joined. */
    if (handle->epoch != handle->arena->epoch) {
        if (!kini_object_is_held(self, handle->id, handle->tag)) {
            *ret_error =
                kini_fail(-ESTALE, "the %s was gone before this process joined", type_names[type]);
            return NULL;
        }
        handle->epoch = handle->arena->epoch;
    }
    return self;
}

#define ENOUGH_NS 20000000

bool kini_waited_enough(struct kini_self *self, uint64_t key)
{
    int64_t now = kin_now_ns();
    if (self->first_key != key) {
        self->first_key = key;
        self->first_since_ns = now;
    }
    return now - self->first_since_ns > ENOUGH_NS;
}

void kini_handle_begin_wait(struct kini_self *self, struct kini_handle *handle)
{
    uint64_t serial = serial_of(self), was = kini_load(&handle->waiting), now;
    do
        now = was >> 32 == serial ? was + 1 : serial << 32 | 1; /* a parent's count is not ours */
    while (!kini_cas_sc(&handle->waiting, &was, now));
}

int64_t kini_handle_end_wait(struct kini_handle *handle, int64_t r)
{
    atomic_fetch_sub_explicit(&handle->waiting, 1, memory_order_seq_cst);
    return r != -ESTALE ? r
                        : kini_fail(-ESTALE, "the handle was destroyed while this thread waited");
}

int64_t kini_handle_wait(struct kini_self *self, struct kini_handle *handle,
                         struct kini_waitq_shm *queue, kin_deadline deadline,
                         kini_attempt_fn attempt, void *arg)
{
    kini_handle_begin_wait(self, handle);
    return kini_handle_end_wait(handle, kini_wait_for(self, queue, deadline, attempt, arg));
}

int kini_owner_tell(struct kin_arena *arena, uint64_t owner_word, struct kin_owner *ret_owner)
{
    uint32_t index = KINI_OWNER_INDEX(owner_word), slot = KINI_OWNER_SLOT(owner_word);
    if (index == 0 || index >= KINI_THREADS_MAX || slot >= KINI_PARTICIPANTS_MAX)
        return -ENOENT;
    struct kini_thread_shm *t = &arena->threads[index];
    struct kini_participant_shm *p = &arena->participants[slot];
    *ret_owner = (struct kin_owner){.pid = (int32_t)kini_load(&p->pid)};
    memcpy(ret_owner->process, p->name, 31);
    if (kini_owner_word(kini_load_acq(&t->state), index) == (owner_word & KINI_OWNER_BITS)) {
        ret_owner->tid = (int32_t)kini_load(&t->tid);
        memcpy(ret_owner->thread, t->name, 31);
    }
    return 0;
}
