/* SPDX-License-Identifier: MIT
 * The beds of those who have waited long for nothing. A watcher on a futex has to wake and look
 * (watch.c); in a bed it sleeps in poll, on a bell of its own and a pidfd of each participant, so
 * that wakers ring (nudge.c) and a death wakes it at once, and no timer has to be quick.
 *
 *   super.beds[2]   thread index << 48 | deadline in ms: who lies there says so every tick. Two, of
 *                   two processes: each has a pidfd of the other's. Hints, like the watcher's role.
 *   thread.bell     its bell while it has a bed. Written while park is AWAKE, so whoever finds
 *                   park ASLEEP and swaps it reads the bell of that sleep or of a later one: a ring
 *                   or a futex wake too many does no harm.
 *
 * A newcomer becomes LIVE, then marks those in the beds and rings: they gather again before they
 * sleep. seq_cst on both sides: they are named in beds[], then look at the participants; it is
 * LIVE, then looks at beds[]; and the same with park.
 *
 * Whoever cannot have all the pidfds (another pid namespace, too few descriptors, a sandbox) goes
 * without a bed. A bell cannot be heard in another network namespace, or be rung by who has no
 * descriptor left: who could not ring says so in super.bedless_ms, for a while nobody lies in a
 * bed, and this one wake comes with the next tick.
 *
 * Crash states: (1) the thread dies in its bed: the one in the other bed sees it at once, reaps it
 * and wakes somebody for its place; if there is none, its deadline passes, and the next who ends a
 * rest sees that. (2) it dies between claim and gathering, or gathering: as 1. (3) it has left and
 * dies before it wakes a follower, or the follower is dead: the other bed is there; if not, as 1.
 * (4) a waker dies between the mark and the ring: the sleeper has its pidfd, wakes, and looks at
 * what it waits for. (5) a newcomer dies between LIVE and the ring: the tick sees it. (6) somebody
 * RESERVED is never born: the tick. */
#include "sync/bed.h"
#include "sync/watch.h"

#include <errno.h>
#include <kin/wait.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define PARTICIPANTS_MOST 128u /* with more of them nobody lies in a bed */
#define SHARE             8u   /* nor if it took more than one in so many descriptors */
#define REFUSED_NS        INT64_C(60000000000) /* to the next try, if there was no bed to be had */
#define UNEASY_MS         40                   /* somebody has ended and could not be reaped yet */
#define UNHEARD_MS        60000
#define LATE_MS           200 /* a claim holds for so much longer than the sleep */

struct guest {    /* who is in a participant slot */
    uint32_t gen; /* 0: we have nobody there */
    int fd;       /* its pidfd; -1: it has ended */
};

struct kini_bed {
    int bell_fd;
    bool watches; /* has a place in super.beds */
    uint32_t guests_high, guests_most;
    uint32_t ended; /* guests that were not reaped when we looked */
    uint32_t polls_count, also_count;
    uint16_t slots[1 + PARTICIPANTS_MOST];
    struct pollfd polls[1 + PARTICIPANTS_MOST + KIN_WAIT_ANY_MAX]; /* bell, guests, the caller's */
    struct pollfd also[KIN_WAIT_ANY_MAX];
    struct guest guests[KINI_PARTICIPANTS_MAX];
};

/* --- places ----------------------------------------------------------------------------------- */

/* The participant of the thread that has claimed the place; 0: nobody. */
static uint32_t slot_of(const struct kin_arena *arena, uint64_t claim, uint64_t now_ms)
{
    uint64_t index = claim >> 48;
    if (kini_claim_is_vacant(claim, now_ms) || index >= KINI_THREADS_MAX)
        return 0;
    uint64_t state = kini_load_acq(&arena->threads[index].state);
    return state & KINI_THREAD_USED ? KINI_THREAD_SLOT(state) : 0;
}

uint32_t kini_bed_cover(const struct kini_self *self, uint64_t now_ms)
{
    uint32_t count = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t claim = kini_load(&self->arena->super->beds[i]);
        if (kini_likely(claim == 0))
            continue;
        uint32_t slot = slot_of(self->arena, claim, now_ms);
        if (slot == self->slot)
            return KINI_BED_ENOUGH;
        count += slot != 0;
    }
    return count;
}

bool kini_bed_is_of(const struct kin_arena *arena, uint32_t slot)
{
    return slot_of(arena, kini_load(&arena->super->beds[0]), 0) == slot ||
           slot_of(arena, kini_load(&arena->super->beds[1]), 0) == slot;
}

static bool renew(struct kini_self *self, uint64_t until_ms)
{
    for (int i = 0; i < 2; i++) {
        kini_a64 *place = &self->arena->super->beds[i];
        uint64_t seen = kini_load(place);
        if (seen >> 48 == self->index)
            return kini_cas_sc(place, &seen, kini_claim(self->index, until_ms));
    }
    return false;
}

static bool claim_place(struct kini_self *self, uint64_t now_ms)
{
    const uint64_t until_ms = now_ms + kini_bed_tick_ms(self->arena) + LATE_MS;
    for (int i = 0; i < 2; i++) {
        kini_a64 *place = &self->arena->super->beds[i];
        uint64_t seen = kini_load(place);
        /* seq_cst: before the look at the participants; pairs with kini_bed_tell() */
        if (slot_of(self->arena, seen, now_ms) == 0 &&
            kini_cas_sc(place, &seen, kini_claim(self->index, until_ms)))
            return true;
    }
    return false;
}

/* Returns whether it had one. */
static bool give_up_place(struct kin_arena *arena, uint32_t index)
{
    bool had = false;
    for (int i = 0; i < 2; i++) {
        uint64_t seen = kini_load(&arena->super->beds[i]);
        if (seen >> 48 == index)
            had |= kini_cas(&arena->super->beds[i], &seen, 0);
    }
    return had;
}

/* --- descriptors ------------------------------------------------------------------------------
 * Under the arena's mutex: a fork must not copy what its child cannot find. */

static void forget(struct kini_bed *bed, uint32_t slot)
{
    struct guest *guest = &bed->guests[slot];
    if (guest->gen != 0)
        kini_os_close(guest->fd);
    *guest = (struct guest){0};
}

static int remember(struct kini_self *self, struct kini_bed *bed, uint32_t slot, uint64_t state)
{
    struct kin_arena *arena = self->arena;
    int fd = kini_participant_open(arena, slot);
    if (fd < 0 && fd != -ESRCH)
        return fd;
    if (KINI_STATE_GEN(kini_load_acq(&arena->participants[slot].state)) != KINI_STATE_GEN(state)) {
        kini_os_close(fd); /* of who was there before, or not; who is there now tells us */
        return 0;
    }
    bed->guests[slot] = (struct guest){.gen = KINI_STATE_GEN(state), .fd = fd < 0 ? -1 : fd};
    if (slot >= bed->guests_high)
        bed->guests_high = slot + 1;
    return 0;
}

/* One slot. Negative: no pidfd of who is there. */
static int look_into(struct kini_self *self, struct kini_bed *bed, uint32_t slot)
{
    struct guest *guest = &bed->guests[slot];
    /* seq_cst: after our claim and our mark; pairs with kini_participant_adopt() */
    uint64_t state = kini_load_sc(&self->arena->participants[slot].state);
    bool here =
        slot != self->slot && (KINI_STATE(state) == KINI_LIVE || KINI_STATE(state) == KINI_EXITING);
    if (!here || guest->gen != KINI_STATE_GEN(state))
        forget(bed, slot);
    if (!here)
        return 0;
    int r = guest->gen == 0 ? remember(self, bed, slot, state) : 0;
    if (r < 0 || guest->gen == 0)
        return r;
    if (guest->fd < 0) {
        bed->ended++;
        return 0;
    }
    if (bed->polls_count > bed->guests_most)
        return -EMFILE;
    bed->slots[bed->polls_count] = (uint16_t)slot;
    bed->polls[bed->polls_count++] = (struct pollfd){.fd = guest->fd, .events = POLLIN};
    return 0;
}

/* Everybody who is here, and nobody else. */
static int gather(struct kini_self *self)
{
    struct kini_bed *bed = self->bed;
    uint32_t high = kini_load_acq(&self->arena->super->participants_high);
    int r = 0;
    bed->ended = 0;
    bed->polls_count = 1; /* the bell */
    pthread_mutex_lock(&self->arena->mutex);
    for (uint32_t slot = 1; slot < high && slot < KINI_PARTICIPANTS_MAX && r == 0; slot++)
        r = look_into(self, bed, slot);
    pthread_mutex_unlock(&self->arena->mutex);
    return r;
}

void kini_bed_close_fds(struct kini_self *self)
{
    struct kini_bed *bed = self->bed;
    if (bed == NULL)
        return;
    kini_os_close(bed->bell_fd);
    bed->bell_fd = -1;
    for (uint32_t slot = 1; slot < bed->guests_high; slot++)
        forget(bed, slot);
}

void kini_bed_free(struct kini_self *self)
{
    kini_bed_close_fds(self);
    free(self->bed);
    self->bed = NULL;
}

/* --- in and out ------------------------------------------------------------------------------- */

/* How many others we may have a pidfd of. */
static uint32_t guests_most(void)
{
    uint64_t share = kini_os_descriptors_most() / SHARE;
    return share < PARTICIPANTS_MOST ? (uint32_t)share : PARTICIPANTS_MOST;
}

/* Asked first: it costs less than opening them in vain. */
static bool are_too_many(const struct kini_self *self)
{
    const struct kin_arena *arena = self->arena;
    uint32_t high = kini_load_acq(&arena->super->participants_high), others = 0;
    for (uint32_t slot = 1; slot < high && slot < KINI_PARTICIPANTS_MAX; slot++)
        others += slot != self->slot &&
                  KINI_STATE(kini_load(&arena->participants[slot].state)) != KINI_FREE;
    return others > guests_most();
}

static bool is_forbidden(struct kini_self *self, uint64_t now_ms)
{
    return kini_load(&self->arena->super->bedless_ms) > now_ms;
}

/* Out of it, if there is one. */
static void get_up(struct kini_self *self)
{
    if (self->bed == NULL)
        return;
    pthread_mutex_lock(&self->arena->mutex);
    kini_store(&self->shm->bell, 0);
    kini_bed_free(self);
    pthread_mutex_unlock(&self->arena->mutex);
}

static int make(struct kini_self *self, int64_t now_ns)
{
    struct kini_bed *bed = calloc(1, sizeof *bed);
    if (bed == NULL)
        return -ENOMEM;
    uint64_t bell = 0;
    bed->guests_most = guests_most();
    pthread_mutex_lock(&self->arena->mutex);
    bed->bell_fd = kini_os_bell_create(&bell);
    self->bed = bed;
    pthread_mutex_unlock(&self->arena->mutex);
    if (bed->bell_fd < 0) {
        self->bedless_ns = now_ns + REFUSED_NS;
        get_up(self);
        return -EMFILE;
    }
    bed->polls[0] = (struct pollfd){.fd = bed->bell_fd, .events = POLLIN};
    bed->polls_count = 1;
    kini_store(&self->shm->bell, bell); /* before park is ASLEEP: seq_cst in kini_wait_sleep */
    return 0;
}

/* Two threads of one process were so quick that neither saw the other. */
static bool is_there_twice(const struct kini_self *self, uint64_t now_ms)
{
    const struct kin_arena *arena = self->arena;
    return slot_of(arena, kini_load(&arena->super->beds[0]), now_ms) == self->slot &&
           slot_of(arena, kini_load(&arena->super->beds[1]), now_ms) == self->slot;
}

static bool may_have_one(struct kini_self *self, int64_t now_ns)
{
    return kini_watch_is_long(self, now_ns) && now_ns >= self->bedless_ns &&
           !is_forbidden(self, (uint64_t)now_ns / 1000000);
}

/* True if we watch from here on, once we have gathered. */
static bool take_place(struct kini_self *self, int64_t now_ns)
{
    uint64_t now_ms = (uint64_t)now_ns / 1000000;
    if (!may_have_one(self, now_ns) || now_ns < self->watchless_ns ||
        kini_bed_cover(self, now_ms) == KINI_BED_ENOUGH)
        return false;
    if (are_too_many(self)) {
        self->watchless_ns = now_ns + REFUSED_NS;
        return false;
    }
    if (!claim_place(self, now_ms))
        return false;
    if (!is_there_twice(self, now_ms) && (self->bed != NULL || make(self, now_ns) == 0))
        return self->bed->watches = true;
    give_up_place(self->arena, self->index);
    return false;
}

static void stop_watching(struct kini_self *self)
{
    struct kini_bed *bed = self->bed;
    give_up_place(self->arena, self->index);
    bed->watches = false;
    pthread_mutex_lock(&self->arena->mutex);
    for (uint32_t slot = 1; slot < bed->guests_high; slot++)
        forget(bed, slot);
    pthread_mutex_unlock(&self->arena->mutex);
    bed->polls_count = 1;
    bed->ended = 0;
}

/* With the end of the slice, unless somebody has our place or a pidfd is missing. */
static bool watch_on(struct kini_self *self, int64_t now_ns, kin_deadline *ret_until)
{
    if (gather(self) < 0) {
        self->watchless_ns = now_ns + REFUSED_NS;
        return false;
    }
    uint64_t slice_ms = self->bed->ended > 0 ? UNEASY_MS : kini_bed_tick_ms(self->arena);
    uint64_t until_ms = (uint64_t)now_ns / 1000000 + slice_ms;
    *ret_until = (int64_t)until_ms * 1000000;
    return renew(self, until_ms + LATE_MS);
}

bool kini_bed_prepare(struct kini_self *self, int64_t now_ns, kin_deadline *ret_until)
{
    if (self->idle_slices == 0)
        self->idle_since_ns = now_ns;
    bool watches = self->bed != NULL && self->bed->watches;
    if (!watches)
        watches = take_place(self, now_ns);
    struct kini_bed *bed = self->bed;
    if (kini_likely(bed == NULL))
        return false;
    bool forbidden = is_forbidden(self, (uint64_t)now_ns / 1000000);
    kini_os_bell_silence(bed->bell_fd); /* before park is ASLEEP again */
    if (watches && !forbidden && watch_on(self, now_ns, ret_until))
        return true;
    if (watches)
        stop_watching(self);
    if (forbidden || bed->also_count == 0)
        get_up(self);
    return false;
}

void kini_bed_leave(struct kini_self *self)
{
    if (kini_likely(self->bed == NULL))
        return;
    get_up(self);
    if (give_up_place(self->arena, self->index))
        kini_watch_call(self->arena, self->index);
}

bool kini_bed_died(struct kin_arena *arena, uint32_t index)
{
    return give_up_place(arena, index);
}

/* --- sleep ------------------------------------------------------------------------------------ */

bool kini_bed_also(struct kini_self *self, const struct pollfd *polls, uint32_t count)
{
    int64_t now = kin_now_ns();
    if (self->bed == NULL && (!may_have_one(self, now) || make(self, now) < 0))
        return false;
    memcpy(self->bed->also, polls, count * sizeof *polls);
    self->bed->also_count = count;
    return true;
}

/* True if a guest has ended. */
static bool note_ends(struct kini_self *self)
{
    struct kini_bed *bed = self->bed;
    bool ended = false;
    pthread_mutex_lock(&self->arena->mutex);
    for (uint32_t i = 1; i < bed->polls_count; i++) {
        struct guest *guest = &bed->guests[bed->slots[i]];
        if (bed->polls[i].revents == 0)
            continue;
        if (!(bed->polls[i].revents & POLLNVAL)) /* closed behind our back: not ours any more */
            kini_os_close(guest->fd);
        guest->fd = -1;
        bed->ended++;
        ended = true;
    }
    pthread_mutex_unlock(&self->arena->mutex);
    return ended;
}

int kini_bed_sleep(struct kini_self *self, kin_deadline until)
{
    struct kini_bed *bed = self->bed;
    memcpy(bed->polls + bed->polls_count, bed->also, bed->also_count * sizeof *bed->also);
    int r = kini_os_poll(bed->polls, bed->polls_count + bed->also_count, until);
    if (r == 0)
        return -ETIMEDOUT;
    if (r < 0)
        return -EINTR;
    if (bed->polls[0].revents & POLLNVAL) {
        bed->bell_fd = -1; /* closed behind our back: no bed, until another wait */
        self->bedless_ns = kin_now_ns() + REFUSED_NS;
        get_up(self);
        return 0;
    }
    return note_ends(self) ? -ETIMEDOUT : 0;
}

bool kini_bed_reap(struct kini_self *self)
{
    struct kini_bed *bed = self->bed;
    if (bed == NULL || bed->ended == 0)
        return false;
    for (uint32_t slot = 1; slot < bed->guests_high; slot++) {
        struct guest *guest = &bed->guests[slot];
        uint64_t state = kini_load_acq(&self->arena->participants[slot].state);
        if (guest->gen != 0 && guest->fd < 0 && KINI_STATE_GEN(state) == guest->gen &&
            KINI_STATE(state) != KINI_FREE)
            kini_reap(self->arena, slot);
    }
    return true;
}

/* --- from outside ----------------------------------------------------------------------------- */

void kini_bed_tell(struct kin_arena *arena)
{
    bool keeps_sender = kini_load(&arena->bell_sender) != 0;
    for (int i = 0; i < 2; i++) {
        /* seq_cst: after we are LIVE; pairs with claim_place() */
        uint64_t index = kini_load_sc(&arena->super->beds[i]) >> 48;
        if (index != 0 && index < KINI_THREADS_MAX &&
            (kini_load_acq(&arena->threads[index].state) & KINI_THREAD_USED))
            kini_watch_wake(arena, &arena->threads[index]);
    }
    if (!keeps_sender) /* it may have no use for one ever after */
        kini_os_bell_sender_close(&arena->bell_sender);
}

void kini_bed_unheard(struct kin_arena *arena, const struct kini_thread_shm *t)
{
    struct kini_super_shm *super = arena->super;
    uint64_t index = (uint64_t)(t - arena->threads);
    if (kini_load(&super->beds[0]) >> 48 == index || kini_load(&super->beds[1]) >> 48 == index)
        kini_store(&super->bedless_ms, (uint64_t)kin_now_ns() / 1000000 + UNHEARD_MS);
}
