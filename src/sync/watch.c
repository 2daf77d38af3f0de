/* SPDX-License-Identifier: MIT
 * The watcher's role. super.watcher = thread index << 48 | deadline in ms: a claim to look at
 * everybody by then. Only a hint: two watchers do no harm, and a dead one is noticed when its
 * deadline has passed. A look costs about a microsecond a participant, so the slice grows with
 * their number and the cost stays below a thousandth of a core. */
#include "sync/watch.h"

#define LOOK_MS      40
#define LOOK_US_EACH 1500
#define REST_MS      100
#define REST_MS_EACH 20 /* so that all together do not wake the more often the more they are */
#define OVERDUE_MS   100

static uint64_t claim(uint32_t index, uint64_t until_ms)
{
    return (uint64_t)index << 48 | until_ms;
}

kin_deadline kini_watch_slice(struct kini_self *self, int64_t now_ns)
{
    struct kini_super_shm *super = self->arena->super;
    uint64_t now_ms = (uint64_t)now_ns / 1000000, seen = kini_load(&super->watcher);
    uint64_t until_ms = seen & 0xffffffffffffull;
    bool vacant = seen == 0 || until_ms + LOOK_MS < now_ms;
    if (vacant || seen >> 48 == self->index) {
        uint64_t slice_ms =
            LOOK_MS + (uint64_t)kini_load(&super->participants_high) * LOOK_US_EACH / 1000 / 2;
        if (kini_cas(&super->watcher, &seen, claim(self->index, now_ms + slice_ms)))
            return (int64_t)(now_ms + slice_ms) * 1000000;
    }
    uint32_t others = kini_load(&super->participants_high);
    /* a little apart from one another */
    return now_ns +
           (REST_MS + REST_MS_EACH * (int64_t)others + (int64_t)(self->index % 32) * 3) * 1000000;
}

/* The kernel ends a daemon with its parent, unless somebody holds the parent's life line who should
 * not: the child of a raw clone. So a daemon that waits looks itself. */
static void follow_parent(struct kini_self *self)
{
    struct kini_participant_shm *me = &self->arena->participants[self->slot];
    uint64_t key = kini_load(&me->parent_key);
    uint32_t slot = (uint32_t)(key >> 32) % KINI_PARTICIPANTS_MAX;
    if (!kini_load(&me->daemon) || slot == 0)
        return;
    uint64_t state = kini_load_acq(&self->arena->participants[slot].state);
    if (KINI_STATE_GEN(state) != (uint32_t)key || KINI_STATE(state) == KINI_FREE ||
        kini_participant_life(self->arena, slot, true) == KINI_OS_DEAD)
        kini_os_kill_self();
}

void kini_watch_look(struct kini_self *self)
{
    follow_parent(self);
    struct kini_super_shm *super = self->arena->super;
    uint64_t now_ms = (uint64_t)kin_now_ns() / 1000000, looked = kini_load(&super->looked_ms);
    bool overdue = now_ms - looked >= OVERDUE_MS + kini_load(&super->participants_high);
    if (!overdue && kini_load(&super->watcher) >> 48 != self->index)
        return;
    if (kini_cas(&super->looked_ms, &looked, now_ms)) /* one of those who come at once */
        kini_reap_all(self->arena, true);
}

void kini_watch_if_overdue(struct kini_self *self, int64_t now_ns)
{
    struct kini_super_shm *super = self->arena->super;
    uint64_t now_ms = (uint64_t)now_ns / 1000000;
    if (now_ms - kini_load(&super->looked_ms) >= OVERDUE_MS + kini_load(&super->participants_high))
        kini_watch_look(self);
}

void kini_watch_leave(struct kini_self *self)
{
    uint64_t seen = kini_load(&self->arena->super->watcher);
    if (seen >> 48 == self->index)
        kini_cas(&self->arena->super->watcher, &seen, 0);
}
