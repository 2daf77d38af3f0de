/* SPDX-License-Identifier: MIT
 * Conditions in a storm: a small ring of tokens, guarded by a lock, with a condition for "not
 * empty" and one for "not full"; or one for both, with the rlock of its own.
 *   - Every token is accounted for (ledger.h).
 *   - Nobody wakes without a cause, and no notification is lost but with the one who was notified.
 *   - Nobody waits for ever: whoever is told that a holder died notifies all in its place. */
#include "storm/ledger.h"
#include "storm/sync_storm.h"

enum { PUT, GET };

#define PRODUCERS 3 /* places; the others consume */
#define ROOM      8

static struct shared {
    kini_a64 head, tail, ring[ROOM];
    kini_a64 hands[SEATS];
    kini_a64 notified;                /* what notify returned, added up */
    kini_a64 woken_least, woken_most; /* waits that ended with a notification */
    kini_a64 died, died_waiting, died_notifying;
} * shared;

static struct ledger *ledger;
static struct ledger_sums sums;
static struct kin_lock *lock;
static struct kin_rlock *rlock;
static struct kin_condition *not_empty, *not_full;

static void begin(struct kt_random *random)
{
    struct kin_condition_opts opts = {.size = sizeof opts, .name = "condition"};
    uint64_t form = kt_random_below(random, 3);
    shared = kt_share(sizeof *shared);
    ledger = ledger_open();
    lock = NULL;
    rlock = NULL;
    if (form == 1)
        KT_OK(kin_lock_create(storm_arena, NULL, &lock));
    if (form == 2)
        KT_OK(kin_rlock_create(storm_arena, NULL, &rlock));
    opts.lock = lock;
    opts.rlock = rlock;
    KT_OK(kin_condition_create(storm_arena, &opts, &not_empty));
    not_full = not_empty;
    if (form != 0)
        KT_OK(kin_condition_create(storm_arena, &opts, &not_full));
}

static uint32_t kinds_of(int place)
{
    return 1u << (place < PRODUCERS ? PUT : GET);
}

static uint32_t waits(struct kin_wait *ret_waits)
{
    if (lock != NULL)
        ret_waits[0] = kin_wait_lock(lock);
    if (rlock != NULL)
        ret_waits[0] = kin_wait_rlock(rlock);
    return lock != NULL || rlock != NULL;
}

/* --- the processes ---------------------------------------------------------------------------- */

static void notify(struct kin_condition *condition, bool all)
{
    int woken = all || not_full == not_empty ? kin_condition_notify_all(condition)
                                             : kin_condition_notify(condition, 1);
    KT_CHECK(woken >= 0);
    kini_add_sc(&shared->notified, (uint64_t)woken);
}

/* The dead one may have been about to notify. */
static void stand_in(struct me *me)
{
    doing(me, 0, NOTIFYING, "notifies in place of the dead");
    notify(not_empty, true);
    if (not_full != not_empty)
        notify(not_full, true);
    doing(me, 0, INSIDE, "holds");
}

static bool is_ready(struct kin_condition *condition, bool put)
{
    uint64_t tokens = kini_load_sc(&shared->tail) - kini_load_sc(&shared->head);
    (void)condition;
    KT_CHECK(tokens <= ROOM);
    return stopping() || (put ? tokens < ROOM : tokens > 0);
}

struct predicate {
    bool put;
    uint64_t calls;
};

static int predicate(void *arg)
{
    struct predicate *p = arg;
    if (++p->calls > 1)
        kini_add_sc(&shared->woken_most, 1);
    return is_ready(NULL, p->put);
}

static bool wait_for(struct me *me, struct kin_condition *condition, bool put,
                     kin_deadline deadline)
{
    struct predicate p = {.put = put};
    doing(me, 0, WAITING, "waits for");
    int r = kin_condition_wait_for(condition, predicate, &p, deadline);
    KT_CHECK(r == 0 || r == 1 || r == -EOWNERDEAD);
    if (r == -EOWNERDEAD)
        kini_add_sc(&shared->woken_most, 1);
    /* The first look is at once, and the last one may have been that at the deadline. */
    if (p.calls > 2)
        kini_add_sc(&shared->woken_least, p.calls - 2);
    doing(me, 0, INSIDE, "holds");
    if (r == -EOWNERDEAD)
        stand_in(me);
    return is_ready(condition, put);
}

/* With the lock held, before and after. */
static bool wait_until_ready(struct me *me, struct kin_condition *condition, bool put)
{
    kin_deadline deadline = some_deadline(me);
    if (kt_random_below(&me->random, 4) == 0)
        return wait_for(me, condition, put, deadline);
    while (!is_ready(condition, put)) {
        doing(me, 0, WAITING, "waits");
        int r = kin_condition_wait(condition, deadline);
        KT_CHECK(r == 0 || r == KIN_ABANDONED || r == -ETIMEDOUT);
        kini_add_sc(&shared->woken_most, r != -ETIMEDOUT);
        kini_add_sc(&shared->woken_least, r == 0);
        doing(me, 0, INSIDE, "holds");
        if (r == KIN_ABANDONED)
            stand_in(me);
        if (r == -ETIMEDOUT)
            break;
    }
    return is_ready(condition, put);
}

static void put(struct me *me, uint64_t item)
{
    uint64_t tail = kini_load(&shared->tail);
    kini_store_sc(&shared->ring[tail % ROOM], item);
    linger(me);
    kini_store_sc(&shared->tail, tail + 1);
    doing(me, 0, NOTIFYING, "notifies");
    notify(not_empty, false);
}

static uint64_t get(struct me *me)
{
    uint64_t head = kini_load(&shared->head);
    uint64_t item = kini_load_sc(&shared->ring[head % ROOM]);
    kini_store_sc(&shared->hands[me->number_of_seat], item);
    linger(me);
    kini_store_sc(&shared->head, head + 1);
    doing(me, 0, NOTIFYING, "notifies");
    notify(not_full, false);
    return item;
}

static void act(struct me *me)
{
    bool putting = me->place < PRODUCERS;
    doing(me, 0, ACQUIRING, "acquires");
    int r = kin_condition_acquire(not_empty, some_deadline(me));
    if (r == -ETIMEDOUT) {
        doing(me, 0, OUT, NULL);
        return;
    }
    KT_CHECK(r == 0 || r == KIN_ABANDONED);
    doing(me, 0, INSIDE, "holds");
    if (r == KIN_ABANDONED)
        stand_in(me);
    uint64_t item = 0;
    if (wait_until_ready(me, putting ? not_full : not_empty, putting) && !stopping()) {
        if (!putting)
            item = get(me);
        else if ((item = ledger_begin(ledger)) != 0)
            put(me, item);
    }
    doing(me, 0, RELEASING, "releases");
    KT_CHECK(kin_condition_release(not_empty) == 0);
    if (item == 0) {
        doing(me, 0, OUT, NULL);
        return;
    }
    if (putting)
        ledger_put_returned(ledger, item);
    else
        KT_CHECK(ledger_delivered(ledger, item));
    kini_store_sc(&shared->hands[me->number_of_seat], 0);
    done(me, 0, putting ? PUT : GET);
}

/* --- accounts --------------------------------------------------------------------------------- */

static void died(int seat)
{
    uint64_t item = kini_load_sc(&shared->hands[seat]);
    if (item != 0)
        ledger_was_in_hand(ledger, item);
    kini_store_sc(&shared->hands[seat], 0);
    kini_add(&shared->died, 1);
    kini_add(&shared->died_waiting, phases_of(seat, 0) == WAITING);
    kini_add(&shared->died_notifying, phases_of(seat, 0) == NOTIFYING);
}

static void wake(void)
{
    if (kin_condition_acquire(not_empty, kin_after_ms(1000)) < 0)
        return; /* later, or it will be noticed */
    notify(not_empty, true);
    if (not_full != not_empty)
        notify(not_full, true);
    KT_OK(kin_condition_release(not_empty));
}

static void dump(void)
{
    struct kin_owner owner = {0};
    int r = lock != NULL    ? kin_lock_owner(lock, &owner)
            : rlock != NULL ? kin_rlock_owner(rlock, &owner)
                            : 0;
    printf("  %s: owner %d (%d), %d wait for tokens, %d for room; noted: head %" PRIu64
           ", tail %" PRIu64 ", notified %" PRIu64 ", woken %" PRIu64 " to %" PRIu64
           ", died waiting %" PRIu64 ", notifying %" PRIu64 ", of %" PRIu64 "\n",
           lock != NULL    ? "lock"
           : rlock != NULL ? "rlock"
                           : "own rlock",
           owner.pid, r, kin_condition_waiting(not_empty), kin_condition_waiting(not_full),
           kini_load(&shared->head), kini_load(&shared->tail), kini_load(&shared->notified),
           kini_load(&shared->woken_least), kini_load(&shared->woken_most),
           kini_load(&shared->died_waiting), kini_load(&shared->died_notifying),
           kini_load(&shared->died));
}

static void check(void)
{
    for (uint64_t i = kini_load(&shared->head); i != kini_load(&shared->tail); i++)
        ck_assert(ledger_delivered(ledger, kini_load(&shared->ring[i % ROOM])));
    const char *wrong = ledger_check(ledger, &sums);
    uint64_t notified = kini_load(&shared->notified), died = kini_load(&shared->died);
    /* One that dies while it passes on what a dead one was told leaves it to be passed on twice. */
    if (kini_load(&shared->woken_least) >
        notified + died + kini_load(&shared->died_notifying) * 2 * SEATS)
        wrong = "somebody woke without a cause";
    if (notified > kini_load(&shared->woken_most) + kini_load(&shared->died_waiting))
        wrong = "a notification was lost";
    if (kin_condition_waiting(not_empty) != 0 || kin_condition_waiting(not_full) != 0)
        wrong = "somebody waits still";
    if (wrong != NULL)
        dump();
    ck_assert_msg(wrong == NULL, "%s", wrong);
}

static void end(void)
{
    if (not_full != not_empty)
        kin_condition_destroy(not_full);
    kin_condition_destroy(not_empty);
    kin_lock_destroy(lock);
    kin_rlock_destroy(rlock);
    ledger_close(ledger);
    kt_unshare(shared, sizeof *shared);
}

const struct scenario sync_conditions = {.name = "sync_conditions",
                                         .kinds = {"put", "get"},
                                         .begin = begin,
                                         .act = act,
                                         .kinds_of = kinds_of,
                                         .died = died,
                                         .wake = wake,
                                         .check = check,
                                         .end = end,
                                         .dump = dump,
                                         .waits = waits};
