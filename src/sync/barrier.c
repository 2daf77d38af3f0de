/* SPDX-License-Identifier: MIT
 * The barrier.
 *
 *   +0    word | abandoned | parties
 *   +48   wait queue     nudged
 *   +176  members        a bit for each participant slot that ever waited here
 *
 * word    generation 24 | the ends of the last 23 generations, a bit each: 1 = reset | BROKEN 1 |
 *         arrived 16. W: anyone, CAS. A generation ends when it is full or reset; who waited in it
 *         sees the number move on, and in the bit how it ended. (Who sleeps through 23 generations
 *         takes it for full.)
 * members W: the participant, before its first arrival; reapers clear.
 *
 * While the last to arrive runs the action, arrived == parties: nobody else may arrive.
 *
 * Crash states: (1) killed before it arrived, while it waits, in the action, or between two waits:
 * its member bit makes the reaper break the barrier. (2) killed after the CAS that ends the
 * generation, before the nudges: broken for the next generation, and all look; those of this one
 * see that it ended well. */
#include <kin/barrier.h>

#include "base/error.h"
#include "sync/types.h"

#include <limits.h>

#define ARRIVED(word)    ((uint32_t)((word)&0xffff))
#define BROKEN           (1ull << 16)
#define ENDS_SHIFT       17
#define ENDS_COUNT       23u
#define ENDS(word)       ((uint32_t)((word) >> ENDS_SHIFT) & ((1u << ENDS_COUNT) - 1))
#define GENERATION(word) ((uint32_t)((word) >> 40))
#define GENERATION_MOST  0xffffffu

struct kini_barrier_shm {
    kini_a64 word;
    kini_a64 abandoned;
    uint32_t parties; /* const after create */
    uint32_t reserved[7];
    struct kini_waitq_shm waiters;
    kini_a64 members[KINI_PARTICIPANTS_MAX / 64];
};

struct kin_barrier {
    struct kini_handle handle;
    int (*action)(void *arg);
    void *action_arg;
};

/* --- create --------------------------------------------------------------------------------- */

static void init(void *memory, const void *parties)
{
    struct kini_barrier_shm *shm = memory;
    kini_waitq_init(&shm->waiters, 0);
    shm->parties = *(const uint32_t *)parties;
}

static bool is_good(const struct kin_arena *arena, void *memory)
{
    struct kini_barrier_shm *shm = memory;
    return kini_waitq_is_good(arena, &shm->waiters, 0) && shm->parties >= 1 &&
           shm->parties <= KIN_BARRIER_PARTIES_MAX;
}

static const struct kini_kind barrier_kind = {KINI_OBJECT_BARRIER, sizeof(struct kin_barrier),
                                              sizeof(struct kini_barrier_shm), is_good};

static int check_opts(uint32_t parties_count, const struct kin_barrier_opts *opts)
{
    int r = kini_no_flags(opts->flags);
    if (r == 0 && (parties_count == 0 || parties_count > KIN_BARRIER_PARTIES_MAX))
        r = kini_fail(-EINVAL, "a barrier of %u parties; 1 to %u are possible", parties_count,
                      KIN_BARRIER_PARTIES_MAX);
    return r;
}

int kin_barrier_create(struct kin_arena *arena, uint32_t parties_count,
                       const struct kin_barrier_opts *given, struct kin_barrier **ret_barrier)
{
    struct kin_barrier_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = check_opts(parties_count, &opts)) < 0)
        return r;
    const struct kini_maker maker = {.init = init, .arg = &parties_count};
    struct kin_barrier *barrier;
    r = kini_handle_make(arena, &barrier_kind, opts.name, &maker, &barrier);
    if (r < 0)
        return r;
    barrier->action = opts.action;
    barrier->action_arg = opts.action_arg;
    *ret_barrier = barrier;
    return 0;
}

int kin_barrier_open(struct kin_arena *arena, const char *name, uint32_t parties_count,
                     const struct kin_barrier_opts *given, struct kin_barrier **ret_barrier)
{
    struct kin_barrier_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = check_opts(parties_count, &opts)) < 0)
        return r;
    const struct kini_maker maker = {.init = init, .arg = &parties_count};
    struct kin_barrier *barrier;
    r = kini_handle_open(arena, &barrier_kind, KINI_BY_NAME(name), &maker, &barrier);
    if (r < 0)
        return r;
    uint32_t is = ((struct kini_barrier_shm *)barrier->handle.shm)->parties;
    if (is != parties_count) {
        kin_barrier_destroy(barrier);
        return kini_handle_differs(name, "parties", parties_count, is);
    }
    barrier->action = opts.action;
    barrier->action_arg = opts.action_arg;
    *ret_barrier = barrier;
    return 0;
}

int kin_barrier_find(struct kin_arena *arena, const char *name, struct kin_barrier **ret_barrier)
{
    return kini_handle_open(arena, &barrier_kind, KINI_BY_NAME(name), NULL, ret_barrier);
}

int kin_barrier_inherit(struct kin_arena *arena, uint32_t position,
                        struct kin_barrier **ret_barrier)
{
    return kini_handle_open(arena, &barrier_kind, KINI_BY_POSITION(position), NULL, ret_barrier);
}

void kin_barrier_use_action(struct kin_barrier *barrier, int (*action)(void *arg), void *arg)
{
    barrier->action = action;
    barrier->action_arg = arg;
}

void kin_barrier_destroy(struct kin_barrier *barrier)
{
    kini_handle_close((struct kini_handle *)barrier);
}

/* --- the word ------------------------------------------------------------------------------- */

static uint64_t next_generation(uint64_t word, bool reset)
{
    uint64_t ends = (ENDS(word) << 1 | reset) & ((1u << ENDS_COUNT) - 1);
    return (uint64_t)((GENERATION(word) + 1) & GENERATION_MOST) << 40 | ends << ENDS_SHIFT;
}

static void nudge_all(struct kin_arena *arena, struct kini_barrier_shm *shm)
{
    kini_waitq_nudge(arena, &shm->waiters, UINT32_MAX);
}

/* Unless the generation is over: then it has its end. True if it was we who broke it. */
static bool break_generation(struct kin_arena *arena, struct kini_barrier_shm *shm,
                             uint32_t generation)
{
    uint64_t word = kini_load_sc(&shm->word);
    while (GENERATION(word) == generation && !(word & BROKEN)) {
        if (kini_cas_sc(&shm->word, &word, word | BROKEN)) {
            nudge_all(arena, shm);
            return true;
        }
    }
    return false;
}

static int broken_error(void)
{
    return kini_fail(-EPIPE, "the barrier is broken");
}

/* How the generation ended for those who waited in it; -EAGAIN: it has not. */
static int64_t end_of(uint64_t word, uint32_t generation)
{
    uint32_t age = (GENERATION(word) - generation) & GENERATION_MOST;
    if (age == 0)
        return word & BROKEN ? -EPIPE : -EAGAIN;
    return age <= ENDS_COUNT && (ENDS(word) >> (age - 1) & 1) ? -EPIPE : 0;
}

/* --- wait ----------------------------------------------------------------------------------- */

struct barrier_wait {
    struct kin_barrier *barrier;
    uint32_t generation;
};

static int64_t attempt_end(struct kini_self *self, void *arg)
{
    (void)self;
    struct barrier_wait *wait = arg;
    struct kini_barrier_shm *shm = wait->barrier->handle.shm;
    int64_t r = end_of(kini_load_sc(&shm->word), wait->generation);
    return r == 0 ? 0 : kini_load(&wait->barrier->handle.closed) != 0 ? -ESTALE : r;
}

/* Arrive: the index, -EPIPE, or -EAGAIN while the action of a full generation runs. */
static int64_t attempt_arrive(struct kini_self *self, void *arg)
{
    (void)self;
    struct barrier_wait *wait = arg;
    struct kini_barrier_shm *shm = wait->barrier->handle.shm;
    uint64_t word = kini_load_sc(&shm->word);
    for (;;) {
        if (kini_load(&wait->barrier->handle.closed) != 0)
            return -ESTALE;
        if (word & BROKEN)
            return -EPIPE;
        if (ARRIVED(word) == shm->parties)
            return -EAGAIN;
        if (kini_cas_sc(&shm->word, &word, word + 1)) {
            wait->generation = GENERATION(word);
            return ARRIVED(word);
        }
    }
}

static void become_member(struct kini_self *self, struct kini_barrier_shm *shm)
{
    kini_a64 *members = &shm->members[self->slot / 64];
    uint64_t bit = 1ull << (self->slot % 64);
    if (kini_unlikely(!(kini_load(members) & bit)))
        atomic_fetch_or_explicit(members, bit, memory_order_seq_cst);
}

/* We are the last. */
static int complete(struct kini_self *self, struct kin_barrier *barrier, uint32_t generation)
{
    struct kini_barrier_shm *shm = barrier->handle.shm;
    int r = barrier->action != NULL ? barrier->action(barrier->action_arg) : 0;
    if (r < 0) {
        break_generation(self->arena, shm, generation);
        return r;
    }
    uint64_t word = kini_load_sc(&shm->word);
    while (GENERATION(word) == generation && !(word & BROKEN)) {
        if (kini_cas_sc(&shm->word, &word, next_generation(word, false))) {
            nudge_all(self->arena, shm);
            return (int)shm->parties - 1;
        }
    }
    return broken_error(); /* reset, aborted or left by a dead member meanwhile */
}

static int64_t arrive_in_turn(struct kini_self *self, struct barrier_wait *wait,
                              kin_deadline deadline)
{
    struct kin_barrier *barrier = wait->barrier;
    struct kini_barrier_shm *shm = barrier->handle.shm;
    int64_t index = attempt_arrive(self, wait);
    if (index == -EAGAIN)
        index = kini_wait_for(self, &shm->waiters, deadline, attempt_arrive, wait);
    return index == (int64_t)shm->parties - 1 ? complete(self, barrier, wait->generation) : index;
}

static int64_t wait_in_turn(struct kini_self *self, struct barrier_wait *wait,
                            kin_deadline deadline)
{
    struct kini_barrier_shm *shm = wait->barrier->handle.shm;
    int64_t index = arrive_in_turn(self, wait, deadline);
    if (index < 0 || index == (int64_t)shm->parties - 1)
        return index;
    int64_t r = kini_wait_for(self, &shm->waiters, deadline, attempt_end, wait);
    if (r == -ESTALE)
        break_generation(self->arena, shm, wait->generation);
    else if (r < 0 && r != -EPIPE && !break_generation(self->arena, shm, wait->generation))
        r = end_of(kini_load_sc(&shm->word), wait->generation); /* it had ended after all */
    return r < 0 ? r : index;
}

int kin_barrier_wait(struct kin_barrier *barrier, kin_deadline deadline)
{
    int error;
    struct kini_self *self = kini_handle_enter(&barrier->handle, KINI_OBJECT_BARRIER, &error);
    if (kini_unlikely(self == NULL))
        return error;
    struct barrier_wait wait = {.barrier = barrier};
    become_member(self, barrier->handle.shm);
    kini_handle_begin_wait(self, &barrier->handle);
    int64_t r = wait_in_turn(self, &wait, deadline);
    kini_handle_end_wait(&barrier->handle, r);
    return r == -EPIPE ? broken_error() : (int)r;
}

int kin_barrier_arrive(struct kin_barrier *barrier, kin_deadline deadline, uint32_t *ret_generation)
{
    int error;
    struct kini_self *self = kini_handle_enter(&barrier->handle, KINI_OBJECT_BARRIER, &error);
    if (kini_unlikely(self == NULL))
        return error;
    struct barrier_wait wait = {.barrier = barrier};
    become_member(self, barrier->handle.shm);
    kini_handle_begin_wait(self, &barrier->handle);
    int64_t r = arrive_in_turn(self, &wait, deadline);
    kini_handle_end_wait(&barrier->handle, r);
    if (r >= 0)
        *ret_generation = wait.generation;
    return r == -EPIPE ? broken_error() : (int)r;
}

int kin_barrier_await(struct kin_barrier *barrier, uint32_t generation, kin_deadline deadline)
{
    int error;
    struct kini_self *self = kini_handle_enter(&barrier->handle, KINI_OBJECT_BARRIER, &error);
    if (kini_unlikely(self == NULL))
        return error;
    struct barrier_wait wait = {.barrier = barrier, .generation = generation};
    struct kini_barrier_shm *shm = barrier->handle.shm;
    uint64_t word = kini_load_sc(&shm->word);
    if (generation > GENERATION_MOST ||
        ((GENERATION(word) - generation) & GENERATION_MOST) > GENERATION_MOST / 2)
        return kini_fail(-EINVAL, "nobody has arrived in generation %u yet", generation);
    kini_handle_begin_wait(self, &barrier->handle);
    int64_t r = kini_wait_for(self, &shm->waiters, deadline, attempt_end, &wait);
    kini_handle_end_wait(&barrier->handle, r);
    return r == -EPIPE ? broken_error() : (int)r;
}

/* --- reset, abort, death ---------------------------------------------------------------------- */

int kin_barrier_reset(struct kin_barrier *barrier)
{
    int r;
    if (kini_handle_enter(&barrier->handle, KINI_OBJECT_BARRIER, &r) == NULL)
        return r;
    struct kini_barrier_shm *shm = barrier->handle.shm;
    uint64_t word = kini_load_sc(&shm->word);
    while (!kini_cas_sc(&shm->word, &word, next_generation(word, true)))
        ;
    nudge_all(barrier->handle.arena, shm);
    return 0;
}

int kin_barrier_abort(struct kin_barrier *barrier)
{
    int r;
    if (kini_handle_enter(&barrier->handle, KINI_OBJECT_BARRIER, &r) == NULL)
        return r;
    struct kini_barrier_shm *shm = barrier->handle.shm;
    atomic_fetch_or_explicit(&shm->word, BROKEN, memory_order_seq_cst);
    nudge_all(barrier->handle.arena, shm);
    return 0;
}

void kini_barrier_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot)
{
    struct kini_barrier_shm *shm = kini_at(self->arena, offset);
    kini_a64 *members = &shm->members[slot / 64];
    uint64_t bit = 1ull << (slot % 64);
    if ((kini_load(members) & bit) && slot != self->slot) {
        uint64_t word = kini_load_sc(&shm->word);
        while (!(word & BROKEN) && !kini_cas_sc(&shm->word, &word, word | BROKEN))
            ;
        kini_add(&shm->abandoned, !(word & BROKEN));
    }
    /* Last: until then, a reaper after us would do it again. */
    atomic_fetch_and_explicit(members, ~bit, memory_order_seq_cst);
    kini_waitq_nudge_all(self->arena, &shm->waiters);
}

/* --- questions ------------------------------------------------------------------------------ */

static int64_t read_word(struct kin_barrier *barrier, uint64_t *ret_word)
{
    int r = kini_handle_check(&barrier->handle, KINI_OBJECT_BARRIER);
    if (r == 0)
        *ret_word = kini_load_acq(&((struct kini_barrier_shm *)barrier->handle.shm)->word);
    return r;
}

int kin_barrier_parties(struct kin_barrier *barrier)
{
    int r = kini_handle_check(&barrier->handle, KINI_OBJECT_BARRIER);
    return r < 0 ? r : (int)((struct kini_barrier_shm *)barrier->handle.shm)->parties;
}

int kin_barrier_waiting(struct kin_barrier *barrier)
{
    uint64_t word = 0;
    int64_t r = read_word(barrier, &word);
    return r < 0 ? (int)r : word & BROKEN ? 0 : (int)ARRIVED(word);
}

int kin_barrier_broken(struct kin_barrier *barrier)
{
    uint64_t word = 0;
    int64_t r = read_word(barrier, &word);
    return r < 0 ? (int)r : (word & BROKEN) != 0;
}

int64_t kin_barrier_abandoned(struct kin_barrier *barrier)
{
    int r = kini_handle_check(&barrier->handle, KINI_OBJECT_BARRIER);
    struct kini_barrier_shm *shm = barrier->handle.shm;
    return r < 0 ? r : (int64_t)kini_load(&shm->abandoned);
}
