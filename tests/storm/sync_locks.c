/* SPDX-License-Identifier: MIT
 * Locks and rlocks in a storm. Each guards an owner word and two counters that grow together.
 *   - Whoever gets the lock finds no owner, or one that was killed and of whom it is told.
 *   - The counters differ only where a victim was between them.
 *   - As many abandonments as there were deaths of holders: exactly, where the victims are examined
 *     first; but for one that died just as it was being told, of which nobody may know.
 * Object 2 refuses once (-EOWNERDEAD), so whoever comes next is not told any more. */
#include "storm/sync_storm.h"

enum { REFUSING = 2, RLOCK = 3 };

struct guarded {
    kini_a64 owner;       /* me.id; 0: nobody. W: the holder, like left and right */
    kini_a64 left, right; /* right first, when it is whole */
    kini_a64 entered;     /* before left: never fewer. W: anybody */
    kini_a64 told;
    /* W: who kills */
    kini_a64 died_inside, died_maybe;
    kini_a64 owned, owned_maybe; /* as the lock itself said of those who were examined */
};

static struct guarded *guarded;
static struct kin_lock *locks[RLOCK];
static struct kin_rlock *rlock;
static uint32_t first, count; /* the objects of this round: from first, count of them */

static void begin(struct kt_random *random)
{
    const struct kin_lock_opts opts = {.size = sizeof opts, .name = "lock"};
    const struct kin_lock_opts refusing = {
        .size = sizeof refusing, .name = "refusing", .on_abandoned = KIN_REFUSE_ONCE};
    guarded = kt_share(OBJECTS * sizeof *guarded);
    count = kt_random_below(random, 2) ? 1 : OBJECTS;
    first = count == 1 ? (uint32_t)kt_random_below(random, OBJECTS) : 0;
    for (int i = 0; i < RLOCK; i++)
        KT_OK(kin_lock_create(storm_arena, i == REFUSING ? &refusing : &opts, &locks[i]));
    KT_OK(kin_rlock_create(storm_arena, &opts, &rlock));
}

static uint32_t kinds_of(int place)
{
    (void)place;
    return ((1u << count) - 1) << first;
}

static uint32_t waits(struct kin_wait *ret_waits)
{
    for (uint32_t i = 0; i < count; i++)
        ret_waits[i] = first + i == RLOCK ? kin_wait_rlock(rlock) : kin_wait_lock(locks[first + i]);
    return count;
}

/* --- the processes ---------------------------------------------------------------------------- */

static int acquire(struct me *me, uint32_t i)
{
    kin_deadline deadline = some_deadline(me);
    struct kin_wait any[OBJECTS];
    uint64_t way = kt_random_below(&me->random, 8);
    if (way == 0) {
        int r = kin_wait_any(storm_arena, any, waits(any), deadline);
        KT_CHECK(r == -ETIMEDOUT || (r >= 0 && r < (int)count));
    }
    if (way < 2)
        return i == RLOCK ? kin_rlock_try_acquire(rlock) : kin_lock_try_acquire(locks[i]);
    return i == RLOCK ? kin_rlock_acquire(rlock, deadline) : kin_lock_acquire(locks[i], deadline);
}

static void enter(struct me *me, uint32_t i, bool told)
{
    struct guarded *g = &guarded[i];
    uint64_t was = kini_load_sc(&g->owner);
    if (told)
        kini_add_sc(&g->told, 1);
    KT_CHECK(was == 0 || (is_doomed(was) && (told || i == REFUSING)));
    uint64_t left = kini_load_sc(&g->left), right = kini_load_sc(&g->right);
    KT_CHECK(left == right || (was != 0 && left == right + 1));
    kini_store_sc(&g->owner, me->id);
    kini_store_sc(&g->right, left);
}

static void inside(struct me *me, uint32_t i)
{
    struct guarded *g = &guarded[i];
    uint64_t left = kini_load(&g->left);
    kini_add_sc(&g->entered, 1);
    KT_CHECK(kini_load_sc(&g->owner) == me->id);
    kini_store_sc(&g->left, left + 1);
    linger(me);
    KT_CHECK(kini_load_sc(&g->owner) == me->id && kini_load(&g->right) == left);
    kini_store_sc(&g->right, left + 1);
    kini_store_sc(&g->owner, 0);
}

static void release(struct me *me, uint32_t i)
{
    if (i != RLOCK) {
        doing(me, i, RELEASING, "releases");
        KT_CHECK(kin_lock_release(locks[i]) == 0);
        return;
    }
    int64_t depth = kin_rlock_depth(rlock);
    KT_CHECK(depth >= 1);
    while (depth-- > 0) {
        if (depth == 0)
            doing(me, i, RELEASING, "releases");
        KT_CHECK(kin_rlock_release(rlock) == 0);
        KT_CHECK(kin_rlock_depth(rlock) == depth);
    }
}

static void act(struct me *me)
{
    uint32_t i = first + (uint32_t)kt_random_below(&me->random, count);
    doing(me, i, ACQUIRING, "acquires");
    int r = acquire(me, i);
    if (r == -EAGAIN || r == -ETIMEDOUT || (i == REFUSING && r == -EOWNERDEAD)) {
        doing(me, i, OUT, NULL);
        return;
    }
    KT_CHECK(r == 0 || (r == KIN_ABANDONED && i != REFUSING));
    enter(me, i, r == KIN_ABANDONED);
    doing(me, i, INSIDE, "holds");
    if (i == RLOCK) {
        KT_CHECK(kin_rlock_depth(rlock) == 1);
        for (uint64_t more = kt_random_below(&me->random, 3); more > 0; more--)
            KT_CHECK(kin_rlock_acquire(rlock, KIN_NOW) == 0);
    }
    inside(me, i);
    release(me, i);
    done(me, i, i);
}

/* --- accounts --------------------------------------------------------------------------------- */

/* Stopped, so it is certain whether it holds what. */
static void examine(int32_t pid, int place)
{
    for (uint32_t i = 0; i < OBJECTS; i++) {
        struct kin_owner owner;
        int r = i == RLOCK ? kin_rlock_owner(rlock, &owner) : kin_lock_owner(locks[i], &owner);
        if (r < 0 || owner.pid != pid)
            continue;
        bool sure = false;
        for (int t = 0; t < THREADS; t++)
            sure |= phases_of(place * THREADS + t, i) == INSIDE;
        kini_add(&guarded[i].owned, 1);
        kini_add(&guarded[i].owned_maybe, !sure);
    }
}

static void died(int seat)
{
    for (uint32_t i = 0; i < OBJECTS; i++) {
        kini_add(&guarded[i].died_inside, phases_of(seat, i) == INSIDE);
        kini_add(&guarded[i].died_maybe, maybe_held(phases_of(seat, i)));
    }
}

static int64_t abandoned(uint32_t i)
{
    return i == RLOCK ? kin_rlock_abandoned(rlock) : kin_lock_abandoned(locks[i]);
}

static void dump(void)
{
    for (uint32_t i = 0; i < OBJECTS; i++) {
        struct guarded *g = &guarded[i];
        struct kin_owner owner = {0};
        int r = i == RLOCK ? kin_rlock_owner(rlock, &owner) : kin_lock_owner(locks[i], &owner);
        printf("  lock %u: owner %d (%d), %d wait, %" PRId64 " abandoned; noted: owner %" PRIu64
               ", left %" PRIu64 ", right %" PRIu64 ", entered %" PRIu64 ", told %" PRIu64
               ", died inside %" PRIu64 " (perhaps %" PRIu64 "), owned %" PRIu64
               " (not yet or no more inside %" PRIu64 ")\n",
               i, owner.pid, r, i == RLOCK ? kin_rlock_waiting(rlock) : kin_lock_waiting(locks[i]),
               abandoned(i), kini_load(&g->owner), kini_load(&g->left), kini_load(&g->right),
               kini_load(&g->entered), kini_load(&g->told), kini_load(&g->died_inside),
               kini_load(&g->died_maybe), kini_load(&g->owned), kini_load(&g->owned_maybe));
    }
}

static bool adds_up(uint32_t i)
{
    struct guarded *g = &guarded[i];
    uint64_t least = kini_load(&g->died_inside), maybe = kini_load(&g->died_maybe);
    uint64_t most = least + maybe, lost = maybe, is = (uint64_t)abandoned(i);
    if (examined) {
        least = most = kini_load(&g->owned);
        lost = kini_load(&g->owned_maybe);
    }
    uint64_t entered = kini_load(&g->entered), left = kini_load(&g->left);
    if (is > most || is + lost < least)
        return false;
    if (i != REFUSING && (kini_load(&g->told) > is || kini_load(&g->told) + lost + 1 < is))
        return false;
    return left <= entered && entered <= left + kini_load(&g->died_inside);
}

static void check(void)
{
    for (uint32_t i = 0; i < OBJECTS; i++) {
        int locked = i == RLOCK ? kin_rlock_locked(rlock) : kin_lock_locked(locks[i]);
        int waiting = i == RLOCK ? kin_rlock_waiting(rlock) : kin_lock_waiting(locks[i]);
        bool good = adds_up(i) && locked == 0 && waiting == 0;
        if (!good)
            dump();
        ck_assert_msg(good, "lock %u does not add up", i);
    }
}

static void end(void)
{
    for (int i = 0; i < RLOCK; i++)
        kin_lock_destroy(locks[i]);
    kin_rlock_destroy(rlock);
    kt_unshare(guarded, OBJECTS * sizeof *guarded);
}

static void wake(void)
{
}

const struct scenario sync_locks = {.name = "sync_locks",
                                    .kinds = {"lock", "lock", "refusing", "rlock"},
                                    .begin = begin,
                                    .act = act,
                                    .kinds_of = kinds_of,
                                    .examine = examine,
                                    .died = died,
                                    .wake = wake,
                                    .check = check,
                                    .end = end,
                                    .dump = dump,
                                    .waits = waits};
