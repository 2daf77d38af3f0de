/* SPDX-License-Identifier: MIT
 * Handles of synchronisation objects. */
#include "sync/handle.h"
#include "arena/block.h"
#include "sync/hold.h"
#include "sync/ready.h"

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
    [KINI_OBJECT_PIPE] = "pipe",
    [KINI_OBJECT_PIPE_END] = "pipe end",
    [KINI_OBJECT_VALUE] = "value",
    [KINI_OBJECT_ARRAY] = "array",
};

/* --- create and close ----------------------------------------------------------------------- */

static int make_block(struct kini_self *self, const struct kini_kind *kind,
                      const struct kini_maker *maker, uint64_t *ret_offset)
{
    if (maker->make != NULL)
        return maker->make(self, maker->arg, ret_offset);
    int r = kini_block_get(self, kind->shm_bytes, ret_offset);
    if (r == 0)
        maker->init(memset(kini_at(self->arena, *ret_offset), 0, kind->shm_bytes), maker->arg);
    return r;
}

static void unmake_block(struct kini_self *self, const struct kini_maker *maker, uint64_t offset)
{
    if (maker->unmake != NULL)
        maker->unmake(self, offset);
    else
        kini_block_put(self, offset);
}

/* The block is private to us until the object exists: a death on the way leaves only what the
 * sweep takes. */
static int make_object(struct kini_self *self, struct kini_handle *handle,
                       const struct kini_kind *kind, const char *name,
                       const struct kini_maker *maker)
{
    struct kini_new_object new = {kind->type, name, 0, maker->own};
    uint32_t gen = 0;
    int r = make_block(self, kind, maker, &new.offset);
    if (r < 0)
        return r;
    handle->shm = kini_at(self->arena, new.offset);
    r = kini_object_create(self, &new, &handle->id, &gen);
    if (r < 0)
        unmake_block(self, maker, new.offset);
    handle->tag = kini_object_tag(handle->id, gen);
    return r;
}

static struct kini_handle *make_handle(struct kin_arena *arena, const struct kini_kind *kind)
{
    struct kini_handle *handle = calloc(1, kind->handle_bytes);
    if (handle == NULL) {
        kini_fail(-ENOMEM, "no memory for the handle of a %s", type_names[kind->type]);
        return NULL;
    }
    handle->arena = arena;
    handle->type = kind->type;
    handle->epoch = arena->epoch;
    return handle;
}

int kini_handle_make(struct kin_arena *arena, const struct kini_kind *kind, const char *name,
                     const struct kini_maker *maker, void *ret_handle)
{
    char field[32];
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    int r = kini_name_copy(field, name);
    if (r < 0)
        return r;
    struct kini_handle *handle = make_handle(arena, kind);
    if (handle == NULL)
        return -ENOMEM;
    r = make_object(self, handle, kind, name, maker);
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
void kini_handle_send_away(struct kini_self *self, struct kini_handle *handle)
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
                kini_nudge_thread(self->arena, t);
        }
        usleep(50);
    }
}

/* The last handle of this process: what it holds of the object is given back. */
static void give_up(struct kini_self *self, struct kini_handle *handle, uint64_t offset)
{
    if (kini_counted_of(handle->type) != NULL)
        kini_holds_return_object(self, self->slot, handle->tag);
    if (kini_types[handle->type].holder_died != NULL)
        kini_types[handle->type].holder_died(self, offset, self->slot);
    kini_object_drop(self, handle->id);
}

void kini_handle_close(struct kini_handle *handle)
{
    int error;
    if (handle == NULL || handle->type == KINI_OBJECT_NONE || handle->is_part)
        return;
    struct kini_self *self = kini_handle_enter(handle, handle->type, &error);
    kini_ready_forget(handle);
    if (self != NULL) {
        uint64_t offset = kini_offset(self->arena, handle->shm);
        kini_handle_send_away(self, handle);
        pthread_mutex_lock(&self->arena->mutex); /* a fork must not copy our holds in the middle */
        if (kini_object_let_go(self->arena, handle->id))
            give_up(self, handle, offset);
        pthread_mutex_unlock(&self->arena->mutex);
    }
    handle->type = KINI_OBJECT_NONE;
    free(handle);
}

/* --- open ------------------------------------------------------------------------------------ */

static int tell_other_type(struct kin_arena *arena, uint32_t id, const char *name, uint32_t type)
{
    uint32_t is = KINI_OBJECT_TYPE(kini_load_acq(&arena->objects[id].state));
    if (is == KINI_OBJECT_POOL)
        return kini_fail(-EPROTOTYPE, "\"%s\" is a pool, which only its own processes can use",
                         name);
    return kini_fail(-EPROTOTYPE, "\"%s\" is a %s, a %s is wanted", name,
                     is < KINI_OBJECT_TYPES ? type_names[is] : "stranger", type_names[type]);
}

/* First without a new one at hand, which is rarely needed. */
int kini_handle_find(struct kini_self *self, const struct kini_kind *kind, const char *name,
                     const struct kini_maker *maker, uint32_t *ret_id, uint32_t *ret_gen)
{
    struct kini_new_object new = {kind->type, name, 0, maker ? maker->own : NULL};
    int r = kini_object_open(self, &new, ret_id, ret_gen);
    if (r == -ENOENT && maker != NULL) {
        r = make_block(self, kind, maker, &new.offset);
        if (r == 0)
            r = kini_object_open(self, &new, ret_id, ret_gen);
        if (r != 0 && new.offset != 0) /* somebody else was quicker */
            unmake_block(self, maker, new.offset);
    }
    if (r == -ENOENT)
        return kini_fail(-ENOENT, "there is no %s \"%s\"", type_names[kind->type], name);
    return r == -EPROTOTYPE ? tell_other_type(self->arena, *ret_id, name, kind->type) : r;
}

/* What another process says of the object: nothing is used that cannot be true. */
static bool is_whole(const struct kin_arena *arena, const struct kini_handle *handle,
                     const struct kini_kind *kind)
{
    uint64_t offset = kini_load(&arena->objects[handle->id].offset);
    return KINI_OBJECT_TYPE(kini_load(&arena->objects[handle->id].state)) == kind->type &&
           kini_block_is_owned(arena, offset, handle->tag, kind->shm_bytes) &&
           (kind->check == NULL || kind->check(arena, kini_at(arena, offset)));
}

int kini_handle_bind(struct kini_self *self, struct kini_handle *handle,
                     const struct kini_kind *kind, uint32_t gen)
{
    struct kin_arena *arena = self->arena;
    handle->tag = kini_object_tag(handle->id, gen);
    if (!is_whole(arena, handle, kind)) {
        pthread_mutex_lock(&arena->mutex);
        if (kini_object_let_go(arena, handle->id)) /* not dropped: what could be destroyed? */
            arena->handles[handle->id] = 0;
        pthread_mutex_unlock(&arena->mutex);
        return kini_fail(-EPROTO, "the arena is damaged: a %s", type_names[kind->type]);
    }
    handle->shm = kini_at(arena, kini_load(&arena->objects[handle->id].offset));
    return 0;
}

static int open_into(struct kini_self *self, struct kini_handle *handle,
                     const struct kini_kind *kind, const struct kini_which *which,
                     const struct kini_maker *maker)
{
    uint32_t gen = 0;
    int r = !which->by_position
                ? kini_handle_find(self, kind, which->name, maker, &handle->id, &gen)
                : kini_object_inherited(self, kind->type, which->position, &handle->id, &gen);
    int bound = r < 0 ? r : kini_handle_bind(self, handle, kind, gen);
    return bound < 0 ? bound : r;
}

int kini_handle_open(struct kin_arena *arena, const struct kini_kind *kind,
                     const struct kini_which *which, const struct kini_maker *maker,
                     void *ret_handle)
{
    if (!which->by_position && which->name == NULL)
        return kini_fail(-EINVAL, "a %s without a name cannot be found", type_names[kind->type]);
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    struct kini_handle *handle = make_handle(arena, kind);
    if (handle == NULL)
        return -ENOMEM;
    int r = open_into(self, handle, kind, which, maker);
    if (r < 0) {
        free(handle);
        return r;
    }
    memcpy(ret_handle, &handle, sizeof handle);
    return 0;
}

int kini_handle_differs(const char *name, const char *option, uint64_t wanted, uint64_t is)
{
    return kini_fail(-EINVAL, "\"%s\" was created with %s %llu, not %llu", name, option,
                     (unsigned long long)is, (unsigned long long)wanted);
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
        if (!kini_object_is_held(handle->arena, self->slot, handle->tag)) {
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
