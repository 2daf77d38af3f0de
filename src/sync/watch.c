/* SPDX-License-Identifier: MIT
 * The watcher's role. super.watcher = thread index << 48 | deadline in ms: a claim to look at
 * everybody by then. Only a hint: two watchers do no harm. A look costs about a microsecond a
 * participant, so the slice grows with their number and the cost stays below a thousandth of a
 * core.
 *
 * Who stops waiting hands the role on: it names another sleeper and wakes it, which then sleeps on
 * with the deadline of a watcher. Each thread does so now and then only: where waits are short, the
 * next to sleep takes the role, and a wake would cost more.
 *
 * Whoever has waited long lies down in a bed (bed.c), from which it watches without a timer. While
 * somebody does there is no watcher, but for those in the beds.
 *
 * The others rest. super.rest_ms is when the last of them will look whether there is a watcher;
 * each chooses a moment after that, so that they wake one after the other, and together as often
 * however many they are: less often while both beds are taken (long_rest_ms).
 *
 * Crash states: (1) the watcher dies: its deadline passes, and the next who ends its rest looks and
 * takes the role; or somebody else reaps it and hands its role on. (2) it dies when it has named
 * the next and not yet woken it: as in 1. (3) the one it has named was dead: as in 1. (4) somebody
 * dies who would have ended its rest: the one after it does. */
#include "sync/watch.h"
#include "sync/bed.h"
#include "sync/wait.h"

#define LOOK_MS      40
#define LOOK_US_EACH 1000 /* of the participants, once that is more */
#define REST_MS      100
#define REST_MS_EACH 50 /* more for each participant, the first time … */
#define REST_MS_NEAR 20 /* … and for the neighbours of the watcher */
#define NEIGHBOURS   8
#define OVERDUE_MS   100
#define HAND_ON_MS   10
#define LONG_NS      INT64_C(500000000)
#define LONG_REST_MS 250 /* of those who rest while both beds are taken */

static uint64_t next_look_ms(struct kini_super_shm *super, uint64_t now_ms)
{
    uint64_t all_ms = (uint64_t)kini_load(&super->participants_high) * LOOK_US_EACH / 1000;
    return now_ms + (all_ms > LOOK_MS ? all_ms : LOOK_MS);
}

/* The next moment after the last one chosen, whole ms apart. */
static uint64_t choose_moment(struct kini_self *self, kini_a64 *last, uint64_t now_ms, uint64_t ms)
{
    uint64_t last_ms = kini_load(last), until_ms;
    uint64_t most_ms = now_ms + (uint64_t)kini_load(&self->arena->super->threads_high) * ms;
    do {
        until_ms = (last_ms > now_ms ? last_ms : now_ms) + ms;
        if (until_ms > most_ms) /* many have not come, for they were served */
            return most_ms;
    } while (!kini_cas(last, &last_ms, until_ms));
    return until_ms;
}

/* The first rest of a wait, which may be short, asks nothing of the others. Where they are many, it
 * is enough if a few come soon: the neighbours of the watcher. */
static uint64_t first_rest_ms(const struct kini_self *self)
{
    struct kini_super_shm *super = self->arena->super;
    uint64_t all = kini_load(&super->participants_high);
    bool is_near = ((self->index - (kini_load(&super->watcher) >> 48)) & 0xffff) <= NEIGHBOURS;
    uint64_t rest_ms = is_near && all > NEIGHBOURS ? NEIGHBOURS * REST_MS_NEAR
                       : is_near                   ? all * REST_MS_NEAR
                                                   : all * REST_MS_EACH;
    return REST_MS + rest_ms + (uint64_t)(self->index % 32) * 3; /* a little apart */
}

static uint64_t next_rest_ms(struct kini_self *self, uint64_t now_ms, uint32_t cover)
{
    struct kini_super_shm *super = self->arena->super;
    if (self->idle_slices == 0)
        return now_ms + first_rest_ms(self);
    return cover == KINI_BED_ENOUGH
               ? choose_moment(self, &super->long_rest_ms, now_ms, LONG_REST_MS)
               : choose_moment(self, &super->rest_ms, now_ms, REST_MS);
}

bool kini_watch_is_long(const struct kini_self *self, int64_t now_ns)
{
    return self->idle_slices > 0 && now_ns - self->idle_since_ns >= LONG_NS;
}

kin_deadline kini_watch_slice(struct kini_self *self, int64_t now_ns)
{
    struct kini_super_shm *super = self->arena->super;
    uint64_t now_ms = (uint64_t)now_ns / 1000000, seen = kini_load(&super->watcher);
    kin_deadline until;
    self->slice_ns = now_ns;
    if (kini_bed_prepare(self, now_ns, &until)) {
        if (seen >> 48 == self->index)
            kini_cas(&super->watcher, &seen, 0);
        return until;
    }
    uint32_t cover = kini_bed_cover(self, now_ms);
    if (cover > 0)
        return (int64_t)next_rest_ms(self, now_ms, cover) * 1000000;
    if (kini_claim_is_vacant(seen, now_ms) || seen >> 48 == self->index) {
        uint64_t until_ms = next_look_ms(super, now_ms);
        if (kini_cas(&super->watcher, &seen, kini_claim(self->index, until_ms)))
            return (int64_t)until_ms * 1000000;
    }
    return (int64_t)next_rest_ms(self, now_ms, cover) * 1000000;
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
    uint64_t watcher = kini_load(&super->watcher), wait_ms = OVERDUE_MS;
    uint64_t tick_ms = kini_bed_tick_ms(self->arena);
    if (kini_bed_reap(self) || watcher >> 48 == self->index)
        wait_ms = 0;
    else if (kini_bed_cover(self, now_ms) > 0)
        wait_ms = self->bed != NULL ? tick_ms - tick_ms / 10 : 2 * tick_ms;
    else if (kini_claim_is_vacant(watcher, now_ms))
        wait_ms = LOOK_MS;
    if (wait_ms > 0 && now_ms - looked < wait_ms + kini_load(&super->participants_high))
        return;
    if (kini_cas(&super->looked_ms, &looked, now_ms)) /* one of those who come at once */
        kini_reap_all(self->arena, true);
}

void kini_watch_if_overdue(struct kini_self *self, int64_t now_ns)
{
    struct kini_super_shm *super = self->arena->super;
    uint64_t now_ms = (uint64_t)now_ns / 1000000;
    uint64_t looked_ms = kini_load(&super->looked_ms), all = kini_load(&super->participants_high);
    if (now_ms - looked_ms >= OVERDUE_MS + all &&
        (now_ms - looked_ms >= 2 * kini_bed_tick_ms(self->arena) + all ||
         kini_bed_cover(self, now_ms) == 0))
        kini_watch_look(self);
}

/* True if the thread slept: it will look at the role before it sleeps again, or leaves. */
bool kini_watch_wake(struct kin_arena *arena, struct kini_thread_shm *t)
{
    if (kini_swap_sc(&t->park, KINI_PARK_WOKEN) != KINI_PARK_ASLEEP)
        return false;
    kini_wake_sleeper(arena, t);
    return true;
}

/* Sleeps on a futex. With a bell it is in a bed, or a descriptor in which nobody sleeps. */
static bool rests(struct kini_thread_shm *t)
{
    return (kini_load_acq(&t->state) & 1) && kini_load(&t->park) == KINI_PARK_ASLEEP &&
           kini_load(&t->bell) == 0;
}

void kini_watch_call(struct kin_arena *arena, uint32_t index)
{
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &arena->threads[index > i ? index - i : index + high - 1 - i];
        if (rests(t) && !kini_bed_is_of(arena, KINI_THREAD_SLOT(kini_load(&t->state))) &&
            kini_watch_wake(arena, t))
            return;
    }
}

/* To the sleeper before it in the table: where threads take turns, that is the one which has most
 * turns before its own. seen is the claim of the one that leaves. */
static void hand_on(struct kin_arena *arena, uint64_t seen, int64_t now_ns)
{
    struct kini_super_shm *super = arena->super;
    uint32_t high = kini_load_acq(&super->threads_high), leaves = (uint32_t)(seen >> 48);
    uint64_t until_ms = next_look_ms(super, (uint64_t)now_ns / 1000000);
    for (uint32_t i = 1; i + 1 < high; i++) {
        uint32_t index = leaves > i ? leaves - i : leaves + high - 1 - i;
        struct kini_thread_shm *t = &arena->threads[index];
        if (!rests(t))
            continue;
        if (!kini_cas(&super->watcher, &seen, kini_claim(index, until_ms)))
            return; /* somebody took it meanwhile */
        seen = kini_claim(index, until_ms);
        if (kini_watch_wake(arena,
                            t)) /* after the claim: should it leave at once, it sees its role */
            return;
    }
    kini_cas(&super->watcher, &seen, 0);
}

void kini_watch_leave(struct kini_self *self)
{
    kini_bed_leave(self);
    uint64_t seen = kini_load(&self->arena->super->watcher);
    if (seen >> 48 != self->index)
        return;
    /* About now, without asking the clock: when we lay down, or were woken. */
    int64_t now_ns = (int64_t)kini_load(&self->shm->woken_ns);
    if (now_ns < self->slice_ns)
        now_ns = self->slice_ns;
    if (now_ns - self->handed_on_ns < HAND_ON_MS * 1000000 && !self->slice_ended) {
        kini_cas(&self->arena->super->watcher, &seen, 0);
        return;
    }
    self->handed_on_ns = kin_now_ns();
    hand_on(self->arena, seen, self->handed_on_ns);
}

void kini_watch_died(struct kin_arena *arena, uint32_t index)
{
    uint64_t seen = kini_load(&arena->super->watcher);
    if (seen >> 48 == index)
        hand_on(arena, seen, kin_now_ns());
    if (kini_bed_died(arena, index))
        kini_watch_call(arena, index);
}
