/* SPDX-License-Identifier: MIT
 * Semaphores in a storm: a resource, a bounded one, a signal.
 *   - Never more bits of the living are set than there are permits.
 *   - When all are dead and reaped, the value is what it was; as many permits came back as victims
 *     held.
 *   - Of the signal: what was sent is there, or was received, or was in the hands of a victim. */
#include "storm/sync_storm.h"

enum { RESOURCE, BOUNDED, SIGNAL, SEMAPHORES };

#define EACH 2 /* permits that a seat holds at most, a bit each */

struct noted {
    kini_a64 inside; /* EACH bits a seat. W: the seat; its bits, when it is dead: who kills */
    kini_a64 died_inside, died_maybe;
};

static struct shared {
    struct noted of[SEMAPHORES];
    kini_a64 sending, sent, received; /* of the signal */
    kini_a64 died_sending, died_receiving;
} * shared;

static struct kin_semaphore *semaphores[SEMAPHORES];
static uint32_t values[SEMAPHORES];
static uint32_t first, count;

static void begin(struct kt_random *random)
{
    shared = kt_share(sizeof *shared);
    values[RESOURCE] = 1 + (uint32_t)kt_random_below(random, 4);
    values[BOUNDED] = 1 + (uint32_t)kt_random_below(random, 3);
    values[SIGNAL] = 0;
    count = kt_random_below(random, 2) ? 1 : SEMAPHORES;
    first = count == 1 ? (uint32_t)kt_random_below(random, SEMAPHORES) : 0;
    for (uint32_t i = 0; i < SEMAPHORES; i++) {
        const struct kin_semaphore_opts opts = {.size = sizeof opts, .bounded = i == BOUNDED};
        KT_OK(kin_semaphore_create(storm_arena, values[i], &opts, &semaphores[i]));
    }
}

static uint32_t kinds_of(int place)
{
    (void)place;
    return ((1u << count) - 1) << first;
}

static uint32_t waits(struct kin_wait *ret_waits)
{
    for (uint32_t i = 0; i < count; i++)
        ret_waits[i] = kin_wait_semaphore(semaphores[first + i]);
    return count;
}

/* --- the processes ---------------------------------------------------------------------------- */

static int acquire(struct me *me, uint32_t i)
{
    kin_deadline deadline = some_deadline(me);
    struct kin_wait any[OBJECTS];
    uint64_t way = kt_random_below(&me->random, 8);
    if (i == SIGNAL && me->place == 0 && deadline == KIN_NEVER)
        deadline = kin_after_us(100); /* who sends must not wait for ever */
    if (way == 0) {
        int r = kin_wait_any(storm_arena, any, waits(any), deadline);
        KT_CHECK(r == -ETIMEDOUT || (r >= 0 && r < (int)count));
    }
    return way < 2 ? kin_semaphore_try_acquire(semaphores[i])
                   : kin_semaphore_acquire(semaphores[i], deadline);
}

static uint64_t bit_of(struct me *me, int which)
{
    return 1ull << (me->number_of_seat * EACH + which);
}

static void check_inside(uint32_t i)
{
    uint64_t bits;
    if (living(&shared->of[i].inside, EACH, &bits))
        KT_CHECK((uint32_t)__builtin_popcountll(bits) <= values[i]);
}

/* Hold one or two for a while. */
static void hold(struct me *me, uint32_t i)
{
    kini_a64 *word = &shared->of[i].inside;
    uint32_t held = 1;
    kini_or(word, bit_of(me, 0));
    doing(me, i, INSIDE, "holds");
    check_inside(i);
    if (kt_random_below(&me->random, 4) == 0) {
        doing(me, i, ACQUIRING, "acquires one more");
        int r = kin_semaphore_try_acquire(semaphores[i]);
        KT_CHECK(r == 0 || r == -EAGAIN);
        if (r == 0) {
            kini_or(word, bit_of(me, 1));
            held = 2;
        }
        doing(me, i, INSIDE, "holds");
        check_inside(i);
    }
    KT_CHECK(kin_semaphore_held(semaphores[i]) >= (int64_t)held);
    linger(me);
    check_inside(i);
    doing(me, i, RELEASING, "releases");
    kini_and(word, ~(bit_of(me, 0) | bit_of(me, 1)));
    KT_CHECK(kin_semaphore_release_many(semaphores[i], held) == 0);
}

static void send(struct me *me)
{
    uint32_t many = 1 + (uint32_t)kt_random_below(&me->random, 3);
    if (kin_semaphore_value(semaphores[SIGNAL]) > 50)
        return;
    kini_add_sc(&shared->sending, many);
    doing(me, SIGNAL, RELEASING, "sends");
    KT_CHECK(kin_semaphore_release_many(semaphores[SIGNAL], many) == 0);
    kini_add_sc(&shared->sent, many);
}

static void act(struct me *me)
{
    uint32_t i = first + (uint32_t)kt_random_below(&me->random, count);
    if (i == SIGNAL && (me->place == 0 || kt_random_below(&me->random, 4) == 0)) {
        send(me);
        doing(me, i, OUT, NULL);
    }
    doing(me, i, ACQUIRING, "acquires");
    int r = acquire(me, i);
    if (r == -EAGAIN || r == -ETIMEDOUT) {
        doing(me, i, OUT, NULL);
        return;
    }
    KT_CHECK(r == 0);
    if (i == SIGNAL)
        kini_add_sc(&shared->received, 1);
    else
        hold(me, i);
    done(me, i, i);
}

/* --- accounts --------------------------------------------------------------------------------- */

static void died(int seat)
{
    for (uint32_t i = 0; i < SIGNAL; i++) {
        uint64_t mine = ((1ull << EACH) - 1) << (seat * EACH);
        uint64_t was = kini_and(&shared->of[i].inside, ~mine) & mine;
        kini_add(&shared->of[i].died_inside, (uint64_t)__builtin_popcountll(was));
        if (maybe_held(phases_of(seat, i)))
            kini_add(&shared->of[i].died_maybe, phases_of(seat, i) == RELEASING ? EACH : 1);
    }
    kini_add(&shared->died_receiving, phases_of(seat, SIGNAL) == ACQUIRING);
    kini_add(&shared->died_sending, phases_of(seat, SIGNAL) == RELEASING);
}

static void wake(void)
{
    if (kin_semaphore_value(semaphores[SIGNAL]) >= SEATS)
        return;
    kini_add_sc(&shared->sending, SEATS);
    KT_OK(kin_semaphore_release_many(semaphores[SIGNAL], SEATS));
    kini_add_sc(&shared->sent, SEATS);
}

static void dump(void)
{
    for (uint32_t i = 0; i < SEMAPHORES; i++)
        printf("  semaphore %u: value %" PRId64 " of %u, %d wait, %" PRId64
               " came back; noted: inside %#" PRIx64 ", died inside %" PRIu64 " (perhaps %" PRIu64
               ")\n",
               i, kin_semaphore_value(semaphores[i]), values[i],
               kin_semaphore_waiting(semaphores[i]), kin_semaphore_abandoned(semaphores[i]),
               kini_load(&shared->of[i].inside), kini_load(&shared->of[i].died_inside),
               kini_load(&shared->of[i].died_maybe));
    printf("  signal: sending %" PRIu64 ", sent %" PRIu64 ", received %" PRIu64
           ", died sending %" PRIu64 ", receiving %" PRIu64 "\n",
           kini_load(&shared->sending), kini_load(&shared->sent), kini_load(&shared->received),
           kini_load(&shared->died_sending), kini_load(&shared->died_receiving));
}

static bool came_back(uint32_t i)
{
    uint64_t least = kini_load(&shared->of[i].died_inside);
    uint64_t most = least + kini_load(&shared->of[i].died_maybe);
    uint64_t is = (uint64_t)kin_semaphore_abandoned(semaphores[i]);
    return kin_semaphore_value(semaphores[i]) == values[i] && least <= is && is <= most;
}

static bool signals_add_up(void)
{
    uint64_t found =
        (uint64_t)kin_semaphore_value(semaphores[SIGNAL]) + kini_load(&shared->received);
    return found <= kini_load(&shared->sending) &&
           found + kini_load(&shared->died_receiving) >= kini_load(&shared->sent) &&
           kin_semaphore_abandoned(semaphores[SIGNAL]) == 0;
}

static void check(void)
{
    for (uint32_t i = 0; i < SEMAPHORES; i++) {
        bool good = (i == SIGNAL ? signals_add_up() : came_back(i)) &&
                    kin_semaphore_waiting(semaphores[i]) == 0;
        if (!good)
            dump();
        ck_assert_msg(good, "semaphore %u does not add up", i);
    }
}

static void end(void)
{
    for (int i = 0; i < SEMAPHORES; i++)
        kin_semaphore_destroy(semaphores[i]);
    kt_unshare(shared, sizeof *shared);
}

const struct scenario sync_semaphores = {.name = "sync_semaphores",
                                         .kinds = {"resource", "bounded", "signal"},
                                         .begin = begin,
                                         .act = act,
                                         .kinds_of = kinds_of,
                                         .died = died,
                                         .wake = wake,
                                         .check = check,
                                         .end = end,
                                         .dump = dump,
                                         .waits = waits};
