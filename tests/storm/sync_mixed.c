/* SPDX-License-Identifier: MIT
 * Everything else in a storm, side by side: an event, a barrier, onces, and waits for any of an
 * event, a lock and a semaphore.
 *   - Place 0 sets the event; the others wait for it, some for ever.
 *   - The barrier: who passes has seen all the others come; a death breaks it, all are told, one
 *     resets it under the lock.
 *   - The onces, one after the other: run to the end once, but for victims; never by two.
 *   - The lock has an owner word, as in sync_locks. */
#include "storm/sync_storm.h"

enum { EVENT, BARRIER, ONCE, LOCK, ANY }; /* objects, but for the last; and kinds */

#define ONCES   24
#define PARTIES 4

static struct shared {
    kini_a64 passes, passed[PARTIES]; /* of the barrier: actions, and who passed by index */
    kini_a64 current;                 /* once */
    kini_a64 runner, runs[ONCES];
    kini_a64 died_running, died_holding, died_maybe, died_at_barrier, died;
    kini_a64 owner, told; /* of the lock */
} * shared;

static struct kin_event *event;
static struct kin_barrier *barrier;
static struct kin_once *onces[ONCES];
static struct kin_lock *lock;
static struct kin_semaphore *semaphore;
static uint32_t parties;

static int action(void *arg)
{
    (void)arg;
    kini_add_sc(&shared->passes, 1);
    return 0;
}

static void begin(struct kt_random *random)
{
    const struct kin_barrier_opts opts = {.size = sizeof opts, .action = action};
    shared = kt_share(sizeof *shared);
    parties = 2 + (uint32_t)kt_random_below(random, PARTIES - 1);
    KT_OK(kin_event_create(storm_arena, NULL, &event));
    KT_OK(kin_barrier_create(storm_arena, parties, &opts, &barrier));
    KT_OK(kin_lock_create(storm_arena, NULL, &lock));
    KT_OK(kin_semaphore_create(storm_arena, 2, NULL, &semaphore));
    for (int i = 0; i < ONCES; i++)
        KT_OK(kin_once_create(storm_arena, NULL, &onces[i]));
}

static uint32_t kinds_of(int place)
{
    return (1u << EVENT) | (1u << ONCE) | (1u << LOCK) | (1u << ANY) |
           (place == 0 ? 0 : 1u << BARRIER);
}

static uint32_t waits(struct kin_wait *ret_waits)
{
    ret_waits[0] = kin_wait_lock(lock);
    ret_waits[1] = kin_wait_semaphore(semaphore);
    return 2;
}

/* --- the lock --------------------------------------------------------------------------------- */

static void enter(struct me *me, bool told)
{
    uint64_t was = kini_load_sc(&shared->owner);
    KT_CHECK(was == 0 || (is_doomed(was) && told));
    kini_add_sc(&shared->told, told);
    kini_store_sc(&shared->owner, me->id);
    doing(me, LOCK, INSIDE, "holds the lock");
}

static void leave(struct me *me)
{
    KT_CHECK(kini_load_sc(&shared->owner) == me->id);
    kini_store_sc(&shared->owner, 0);
    doing(me, LOCK, RELEASING, "releases the lock");
    KT_CHECK(kin_lock_release(lock) == 0);
    doing(me, LOCK, OUT, NULL);
}

static bool acquire(struct me *me, bool wait)
{
    doing(me, LOCK, ACQUIRING, "acquires the lock");
    int r = wait ? kin_lock_acquire(lock, some_deadline(me)) : kin_lock_try_acquire(lock);
    if (r == -EAGAIN || r == -ETIMEDOUT) {
        doing(me, LOCK, OUT, NULL);
        return false;
    }
    KT_CHECK(r == 0 || r == KIN_ABANDONED);
    enter(me, r == KIN_ABANDONED);
    return true;
}

static void act_lock(struct me *me)
{
    if (!acquire(me, true))
        return;
    linger(me);
    leave(me);
    done(me, LOCK, LOCK);
}

/* --- event, barrier, once, any ------------------------------------------------------------------
 */

static void act_event(struct me *me)
{
    if (me->place == 0) {
        doing(me, EVENT, NOTIFYING, "sets");
        KT_CHECK(kin_event_set(event) == 0);
        if (kt_random_below(&me->random, 2))
            linger(me);
        KT_CHECK(kin_event_clear(event) == 0);
        done(me, EVENT, EVENT);
        return;
    }
    doing(me, EVENT, WAITING, "waits for the event");
    int r = kin_event_wait(event, some_deadline(me));
    KT_CHECK(r == 0 || r == -ETIMEDOUT);
    if (r == 0)
        done(me, EVENT, EVENT);
    else
        doing(me, EVENT, OUT, NULL);
}

/* By one: who holds the lock. */
static void mend_barrier(struct me *me)
{
    if (stopping() || !kin_barrier_broken(barrier) || !acquire(me, false))
        return;
    if (kin_barrier_broken(barrier))
        KT_CHECK(kin_barrier_reset(barrier) == 0);
    leave(me);
}

static void act_barrier(struct me *me)
{
    kin_deadline deadline = kt_random_below(&me->random, 16) == 0 ? kin_after_us(3000) : KIN_NEVER;
    uint64_t passes = kini_load_sc(&shared->passes);
    if (me->place == 0)
        return; /* it must not wait for others who wait for it */
    doing(me, BARRIER, WAITING, "waits at the barrier");
    int r = kin_barrier_wait(barrier, deadline);
    KT_CHECK(r == -EPIPE || r == -ETIMEDOUT || (r >= 0 && r < (int)parties));
    doing(me, BARRIER, OUT, NULL);
    if (r < 0) {
        mend_barrier(me);
        return;
    }
    KT_CHECK(kini_load_sc(&shared->passes) > passes);
    kini_add_sc(&shared->passed[r], 1);
    done(me, BARRIER, BARRIER);
}

static int run_once(void *arg)
{
    struct me *me = arg;
    uint64_t i = kini_load_sc(&shared->current);
    uint64_t was = kini_load_sc(&shared->runner);
    KT_CHECK(was == 0 || is_doomed(was));
    kini_store_sc(&shared->runner, me->id);
    doing(me, ONCE, INSIDE, "runs the once");
    linger(me);
    KT_CHECK(kini_load_sc(&shared->runner) == me->id && kini_load_sc(&shared->current) == i);
    bool fails = kt_random_below(&me->random, 3) == 0;
    kini_store_sc(&shared->runner, 0);
    if (fails)
        return -EIO;
    kini_add_sc(&shared->runs[i], 1);
    return 0;
}

static void act_once(struct me *me)
{
    uint64_t i = kini_load_sc(&shared->current);
    doing(me, ONCE, WAITING, "waits for the once");
    int r = kin_once_run(onces[i], run_once, me, some_deadline(me));
    KT_CHECK(r == 0 || r == -EIO || r == -ETIMEDOUT);
    if (r != 0) {
        doing(me, ONCE, OUT, NULL);
        return;
    }
    KT_CHECK(kini_load_sc(&shared->runs[i]) >= 1 && kin_once_done(onces[i]) == 1);
    if (i + 1 < ONCES && kt_random_below(&me->random, 16) == 0)
        kini_cas_sc(&shared->current, &i, i + 1);
    done(me, ONCE, ONCE);
}

static void act_any(struct me *me)
{
    const struct kin_wait all[] = {kin_wait_event(event), kin_wait_lock(lock),
                                   kin_wait_semaphore(semaphore)};
    uint32_t first = (uint32_t)kt_random_below(&me->random, 3);
    doing(me, EVENT, WAITING, "waits for any");
    int r = kin_wait_any(storm_arena, all + first, 3 - first, some_deadline(me));
    KT_CHECK(r == -ETIMEDOUT || (r >= 0 && (uint32_t)r < 3 - first));
    doing(me, EVENT, OUT, NULL);
    if (r < 0)
        return;
    if (first + (uint32_t)r == 1 && acquire(me, false))
        leave(me);
    if (first + (uint32_t)r == 2 && kin_semaphore_try_acquire(semaphore) == 0) {
        linger(me);
        KT_CHECK(kin_semaphore_release(semaphore) == 0);
    }
    done(me, EVENT, ANY);
}

static void act(struct me *me)
{
    static void (*const acts[])(struct me *) = {act_event, act_barrier, act_once, act_lock,
                                                act_any};
    acts[kt_random_below(&me->random, sizeof acts / sizeof acts[0])](me);
}

/* --- accounts --------------------------------------------------------------------------------- */

static void died(int seat)
{
    kini_add(&shared->died_running, phases_of(seat, ONCE) == INSIDE);
    kini_add(&shared->died_holding, phases_of(seat, LOCK) == INSIDE);
    kini_add(&shared->died_maybe, maybe_held(phases_of(seat, LOCK)));
    kini_add(&shared->died_at_barrier, phases_of(seat, BARRIER) == WAITING);
    kini_add(&shared->died, 1);
}

static void wake(void)
{
    KT_OK(kin_event_set(event));
    KT_OK(kin_barrier_abort(barrier));
}

static void dump(void)
{
    struct kin_owner owner = {0};
    int r = kin_lock_owner(lock, &owner);
    printf("  lock: owner %d (%d), %d wait, %" PRId64 " abandoned; told %" PRIu64
           ", died holding %" PRIu64 " (perhaps %" PRIu64 ")\n",
           owner.pid, r, kin_lock_waiting(lock), kin_lock_abandoned(lock), kini_load(&shared->told),
           kini_load(&shared->died_holding), kini_load(&shared->died_maybe));
    printf("  semaphore: %" PRId64 ", %d wait\n", kin_semaphore_value(semaphore),
           kin_semaphore_waiting(semaphore));
    printf("  event: %d, %d wait\n", kin_event_is_set(event), kin_event_waiting(event));
    printf("  barrier: %u parties, %d wait, broken %d, %" PRId64 " abandoned; passes %" PRIu64
           ", died there %" PRIu64 "\n",
           parties, kin_barrier_waiting(barrier), kin_barrier_broken(barrier),
           kin_barrier_abandoned(barrier), kini_load(&shared->passes),
           kini_load(&shared->died_at_barrier));
    printf("  once %" PRIu64 "; died running %" PRIu64 "\n", kini_load(&shared->current),
           kini_load(&shared->died_running));
}

static const char *wrong_with_onces(void)
{
    uint64_t more = 0;
    for (int i = 0; i < ONCES; i++) {
        uint64_t runs = kini_load(&shared->runs[i]);
        if (kin_once_done(onces[i]) && runs == 0)
            return "a once is done and was not run";
        more += runs > 1 ? runs - 1 : 0;
    }
    return more > kini_load(&shared->died_running) ? "a once was run twice" : NULL;
}

static void check(void)
{
    const char *wrong = wrong_with_onces();
    for (uint32_t i = 0; i < parties; i++)
        if (kini_load(&shared->passed[i]) > kini_load(&shared->passes))
            wrong = "more passed the barrier than came";
    uint64_t died = kini_load(&shared->died), holding = kini_load(&shared->died_holding);
    uint64_t maybe = kini_load(&shared->died_maybe), is = (uint64_t)kin_lock_abandoned(lock);
    if ((uint64_t)kin_barrier_abandoned(barrier) > died)
        wrong = "the barrier was abandoned too often";
    /* some died when it was broken already, or before they came */
    if ((uint64_t)kin_barrier_abandoned(barrier) * 8 + 20 < kini_load(&shared->died_at_barrier))
        wrong = "the barrier was not broken by deaths";
    if (is + maybe < holding || is > holding + maybe || kini_load(&shared->told) > is)
        wrong = "the lock was abandoned too often, or not often enough";
    if (kin_semaphore_value(semaphore) != 2)
        wrong = "the permits are not there again";
    if (kin_event_waiting(event) + kin_lock_waiting(lock) + kin_semaphore_waiting(semaphore) != 0)
        wrong = "somebody waits still";
    if (wrong != NULL)
        dump();
    ck_assert_msg(wrong == NULL, "%s", wrong);
}

static void end(void)
{
    kin_event_destroy(event);
    kin_barrier_destroy(barrier);
    for (int i = 0; i < ONCES; i++)
        kin_once_destroy(onces[i]);
    kin_lock_destroy(lock);
    kin_semaphore_destroy(semaphore);
    kt_unshare(shared, sizeof *shared);
}

const struct scenario sync_mixed = {.name = "sync_mixed",
                                    .kinds = {"event", "barrier", "once", "lock", "any"},
                                    .begin = begin,
                                    .act = act,
                                    .kinds_of = kinds_of,
                                    .died = died,
                                    .wake = wake,
                                    .check = check,
                                    .end = end,
                                    .dump = dump,
                                    .waits = waits};
