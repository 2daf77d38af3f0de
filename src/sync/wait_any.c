/* SPDX-License-Identifier: MIT
 * Wait for any of several objects: the thread stands in no list, but its record names the queues,
 * and each of them counts it (nany), so that wakers look for it. */
#include <kin/wait.h>

#include "base/error.h"
#include "sync/bed.h"
#include "sync/handle.h"
#include "sync/wait_any.h"
#include "sync/watch.h"

#include <poll.h>

#define FD_LOOK_NS INT64_C(10000000) /* beside objects, descriptors are looked at so often */

static const uint32_t type_of_kind[] = {
    [KIN_WAIT_LOCK] = KINI_OBJECT_LOCK,           [KIN_WAIT_RLOCK] = KINI_OBJECT_RLOCK,
    [KIN_WAIT_SEMAPHORE] = KINI_OBJECT_SEMAPHORE, [KIN_WAIT_EVENT] = KINI_OBJECT_EVENT,
    [KIN_WAIT_GET] = KINI_OBJECT_QUEUE,           [KIN_WAIT_PUT] = KINI_OBJECT_QUEUE,
    [KIN_WAIT_RECV] = KINI_OBJECT_PIPE_END,       [KIN_WAIT_SEND] = KINI_OBJECT_PIPE_END,
};

struct any_call {
    const struct kin_wait *waits;
    uint32_t count;
    uint32_t fds_count;
    struct pollfd fds[KIN_WAIT_ANY_MAX]; /* the descriptors among them */
};

/* --- what is waited for ----------------------------------------------------------------------- */

static int check(struct kin_arena *arena, const struct kin_wait *wait)
{
    if (wait->kind == KIN_WAIT_FD)
        return wait->fd >= 0 ? 0 : kini_fail(-EBADF, "descriptor %d", wait->fd);
    if (wait->kind == 0 || wait->kind > KIN_WAIT_SEND)
        return kini_fail(-EINVAL, "no kind of wait has the number %u", wait->kind);
    struct kini_handle *handle = wait->object;
    if (handle == NULL)
        return kini_fail(-EINVAL, "no object to wait for");
    int r;
    if (kini_handle_enter(handle, type_of_kind[wait->kind], &r) == NULL)
        return r;
    return handle->arena == arena ? 0 : kini_fail(-EXDEV, "an object of another arena");
}

int kini_waits_check(struct kin_arena *arena, const struct kin_wait *waits, uint32_t count)
{
    if (waits == NULL || count == 0 || count > KIN_WAIT_ANY_MAX)
        return kini_fail(-EINVAL, "wait for any of %u; 1 to %u are possible", count,
                         KIN_WAIT_ANY_MAX);
    for (uint32_t i = 0; i < count; i++) {
        int r = check(arena, &waits[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static const struct kini_type_ops *ops_of(const struct kin_wait *wait)
{
    return &kini_types[type_of_kind[wait->kind]];
}

/* --- looking -------------------------------------------------------------------------------- */

static int look_at(struct kini_self *self, const struct kin_wait *wait)
{
    if (wait->kind == KIN_WAIT_FD) {
        struct pollfd poll_fd = {.fd = wait->fd, .events = POLLIN};
        if (poll(&poll_fd, 1, 0) <= 0)
            return 0;
        return poll_fd.revents & POLLNVAL ? kini_fail(-EBADF, "descriptor %d", wait->fd) : 1;
    }
    struct kini_handle *handle = wait->object;
    if (kini_load(&handle->closed) != 0)
        return -ESTALE;
    return ops_of(wait)->ready(self, handle->shm, wait->kind);
}

int64_t kini_waits_look(struct kini_self *self, const struct kin_wait *waits, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int r = look_at(self, &waits[i]);
        if (r != 0)
            return r < 0 ? r : (int64_t)i;
    }
    return -EAGAIN;
}

static int64_t look(struct kini_self *self, void *arg)
{
    struct any_call *call = arg;
    return kini_waits_look(self, call->waits, call->count);
}

/* --- waiting -------------------------------------------------------------------------------- */

void kini_waits_name(struct kini_self *self, const struct kin_wait *waits, uint32_t count)
{
    uint32_t named = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (waits[i].kind == KIN_WAIT_FD)
            continue;
        struct kini_handle *handle = waits[i].object;
        struct kini_waitq_shm *queue = ops_of(&waits[i])->waitq(handle->shm, waits[i].kind);
        kini_store(&self->shm->any_queues[named++], kini_offset(self->arena, queue));
    }
    kini_store(&self->shm->any_count, named);
}

static void enter_handles(struct kini_self *self, struct any_call *call)
{
    for (uint32_t i = 0; i < call->count; i++)
        if (call->waits[i].kind != KIN_WAIT_FD)
            kini_handle_begin_wait(self, call->waits[i].object);
}

static void leave_handles(struct any_call *call, int64_t r)
{
    for (uint32_t i = 0; i < call->count; i++)
        if (call->waits[i].kind != KIN_WAIT_FD)
            kini_handle_end_wait(call->waits[i].object, r);
}

static int64_t wait_in_queues(struct kini_self *self, struct any_call *call, kin_deadline deadline)
{
    kini_store(&self->shm->wait_since_ns, (uint64_t)kin_now_ns());
    self->idle_slices = 0;
    if (kini_load(&self->shm->wait_state) != KINI_WAIT_NONE)
        kini_wait_repair(self, self->shm); /* a wait that was left half way */
    enter_handles(self, call);
    kini_waits_name(self, call->waits, call->count);
    kini_waitq_enter_any(self);
    int64_t r = look(self, call);
    bool timed_out = false;
    while (r == -EAGAIN && !timed_out) {
        kin_deadline until = deadline;
        if (call->fds_count > 0 && !kini_bed_also(self, call->fds, call->fds_count) &&
            deadline - FD_LOOK_NS > kin_now_ns())
            until = kin_after_ns(FD_LOOK_NS);
        self->interrupted = false;
        timed_out = kini_wait_sleep(self, until) && (until == deadline || self->interrupted);
        r = look(self, call);
    }
    kini_waitq_leave_any(self);
    kini_watch_leave(self);
    leave_handles(call, r);
    return r == -EAGAIN ? -ETIMEDOUT : r;
}

/* Only who watches is marked: to look at the participants again. */
static int sleep_in_bed(struct kini_self *self, kin_deadline until)
{
    uint32_t awake = KINI_PARK_AWAKE;
    int r = 0;
    if (kini_cas_sc(&self->shm->park, &awake, KINI_PARK_ASLEEP))
        r = kini_bed_sleep(self, until);
    kini_swap_sc(&self->shm->park, KINI_PARK_AWAKE);
    return r;
}

/* Nothing but descriptors: the kernel waits for them. */
static int64_t wait_for_fds(struct kini_self *self, struct any_call *call, kin_deadline deadline)
{
    int64_t r = -EAGAIN;
    self->idle_slices = 0;
    for (bool timed_out = false; r == -EAGAIN && !timed_out;) {
        int64_t now = kin_now_ns();
        kini_watch_if_overdue(self, now);
        bool in_bed = kini_bed_also(self, call->fds, call->fds_count);
        kin_deadline slice = kini_watch_slice(self, now);
        timed_out = deadline <= slice;
        slice = timed_out ? deadline : slice;
        int slept = in_bed && self->bed != NULL ? sleep_in_bed(self, slice)
                                                : kini_os_poll(call->fds, call->fds_count, slice);
        r = look(self, call);
        timed_out = (timed_out && kin_now_ns() >= deadline) || kini_wait_is_over(slept, deadline);
        if (r == -EAGAIN && slept <= 0) {
            kini_watch_look(self);
            self->idle_slices++;
        }
    }
    self->slice_ns = kin_now_ns(); /* nobody wrote down when we were woken */
    kini_watch_leave(self);
    return r == -EAGAIN ? -ETIMEDOUT : r;
}

int kin_wait_any(struct kin_arena *arena, const struct kin_wait *waits, uint32_t count,
                 kin_deadline deadline)
{
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    struct any_call call = {.waits = waits, .count = count};
    int64_t r = kini_waits_check(arena, waits, count);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        if (waits[i].kind == KIN_WAIT_FD)
            call.fds[call.fds_count++] = (struct pollfd){.fd = waits[i].fd, .events = POLLIN};
    if (r == 0)
        r = look(self, &call);
    if (r != -EAGAIN)
        return (int)r;
    if (deadline <= KIN_NOW)
        return -ETIMEDOUT;
    if ((r = kini_refuse_vfork(self)) < 0)
        return (int)r;
    if (call.fds_count == count)
        return (int)wait_for_fds(self, &call, deadline);
    r = kini_wait_spin(self, look, &call, true);
    return (int)(r != -EAGAIN ? r : wait_in_queues(self, &call, deadline));
}
