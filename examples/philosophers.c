/* SPDX-License-Identifier: MIT
 * philosophers: the dining philosophers as processes, who may be killed at any moment.
 *
 * They sit at a round table with one fork between each two of them, and whoever eats needs both of
 * his forks. A fork is a lock. There are three ways to take them:
 *
 *   naive    the left one, then the right one. When all have their left fork, nobody goes on: kin
 *            names the circle, one of them is killed, and his neighbour finds the fork abandoned
 *   ordered  the one with the lower number first, so that there is no circle
 *   waiter   who shows to a seat, and has seats for all but one of them: a semaphore
 *
 * Whoever dies is replaced until all meals are eaten. That a fork was never in two hands at once is
 * checked from the first meal to the last; the exit status says whether all was well. */
#include <errno.h>
#include <kin/kin.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "philosophers/options.h"

#define LOOK_MS  10  /* between two looks for a deadlock */
#define PAUSE_US 500 /* to think, to find the second fork, to eat: up to */

static const char *const names[PLACES_MAX] = {
    "Socrates", "Plato",  "Aristotle",  "Diogenes",  "Zeno",  "Epicurus", "Hypatia",  "Thales",
    "Seneca",   "Cicero", "Heraclitus", "Confucius", "Laozi", "Avicenna", "Averroes", "Descartes"};

/* What all of them see: a block of shared memory. */
struct table {
    _Atomic unsigned hands[PLACES_MAX]; /* the guest who has the fork in hand; 0: nobody */
    _Atomic unsigned meals[PLACES_MAX]; /* eaten at each place */
    _Atomic unsigned abandoned_count;   /* forks that were found abandoned */
    _Atomic unsigned violations_count;  /* forks that were in two hands at once */
};

struct guest {
    struct dinner *dinner;
    struct kin_process *process; /* NULL: the place is empty */
    unsigned place, number;      /* each new guest gets the next number */
    uint64_t random;
    bool has_begun;
};

struct dinner {
    struct options options;
    struct kin_arena *arena;
    struct table *table;
    struct kin_lock *forks[PLACES_MAX];
    struct kin_semaphore *waiter;  /* a permit is a seat */
    struct kin_barrier *everybody; /* has the left fork */
    struct guest guests[PLACES_MAX];
    unsigned guests_count, killed_count, deadlocks_count;
    uint64_t random;
};

static unsigned roll(uint64_t *random, unsigned sides)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*random >> 33) % sides;
}

static int fail(const char *what, int error)
{
    const char *text = kin_error_text();

    fprintf(stderr, "philosophers: %s: %s\n", what, *text ? text : kin_strerror(error));
    return 1;
}

/* --- a philosopher, in a process of his own -------------------------------------------------- */

static void pause_a_little(struct guest *guest)
{
    struct timespec time = {.tv_nsec = 1000 * (long)roll(&guest->random, PAUSE_US)};

    nanosleep(&time, NULL);
}

static int take(struct guest *guest, unsigned fork)
{
    struct dinner *dinner = guest->dinner;
    struct table *table = dinner->table;

    int r = kin_lock_acquire(dinner->forks[fork], KIN_NEVER);
    if (r < 0)
        return r;
    unsigned hand = atomic_exchange(&table->hands[fork], guest->number);
    if (r == KIN_ABANDONED) { /* the hand of the dead; there is nothing else to repair here */
        atomic_fetch_add(&table->abandoned_count, 1);
        if (!dinner->options.quiet)
            printf("%s finds fork %u abandoned\n", names[guest->place], fork + 1);
    } else if (hand != 0) {
        atomic_fetch_add(&table->violations_count, 1);
    }
    return 0;
}

static int put_back(struct guest *guest, unsigned fork)
{
    struct table *table = guest->dinner->table;
    unsigned hand = guest->number;

    if (!atomic_compare_exchange_strong(&table->hands[fork], &hand, 0))
        atomic_fetch_add(&table->violations_count, 1);
    return kin_lock_release(guest->dinner->forks[fork]);
}

/* So that the first deadlock is certain. Once somebody has died who waited here, the barrier is
 * broken and holds up nobody any more. */
static int wait_for_everybody(struct guest *guest)
{
    guest->has_begun = true;
    int r = kin_barrier_wait(guest->dinner->everybody, KIN_NEVER);
    return r < 0 && r != -EPIPE ? r : 0;
}

static int eat(struct guest *guest)
{
    struct dinner *dinner = guest->dinner;
    unsigned left = guest->place, right = (guest->place + 1) % dinner->options.places;
    bool turned = dinner->options.dress == ORDERED && right < left;
    unsigned first = turned ? right : left, second = turned ? left : right;

    int r = take(guest, first);
    if (r == 0 && dinner->options.dress == NAIVE && !guest->has_begun)
        r = wait_for_everybody(guest);
    if (r < 0)
        return r;
    pause_a_little(guest);
    if ((r = take(guest, second)) < 0)
        return r;
    pause_a_little(guest);
    atomic_fetch_add(&dinner->table->meals[guest->place], 1);
    r = put_back(guest, second);
    return r < 0 ? r : put_back(guest, first);
}

static int eat_in_a_seat(struct guest *guest)
{
    struct kin_semaphore *waiter = guest->dinner->waiter;

    int r = kin_semaphore_acquire(waiter, KIN_NEVER);
    if (r == 0)
        r = eat(guest);
    return r < 0 ? r : kin_semaphore_release(waiter);
}

static int dine(struct kin_arena *arena, void *arg)
{
    struct guest *guest = arg;
    const struct options *options = &guest->dinner->options;
    int r = 0;

    (void)arena;
    while (r == 0 && guest->dinner->table->meals[guest->place] < options->meals) {
        pause_a_little(guest);
        r = options->dress == WAITER ? eat_in_a_seat(guest) : eat(guest);
    }
    return r < 0 ? fail(names[guest->place], r) : 0;
}

/* --- the parent, who looks after them -------------------------------------------------------- */

static int seat(struct guest *guest)
{
    struct dinner *dinner = guest->dinner;
    struct kin_process_opts opts = {.daemon = 1, .name = names[guest->place]};

    guest->number = ++dinner->guests_count;
    guest->random = dinner->random + guest->number;
    return kin_process_start(dinner->arena, dine, guest, &opts, &guest->process);
}

/* When a guest has gone: he has eaten, or he was killed and somebody else takes the place. */
static int look_after(struct guest *guest)
{
    struct dinner *dinner = guest->dinner;
    int status;

    if (guest->process == NULL || kin_process_is_alive(guest->process) == 1)
        return 0;
    int r = kin_process_exitcode(guest->process, &status);
    kin_process_close(guest->process);
    guest->process = NULL;
    if (r < 0 || status == 0)
        return r;
    if (status > 0) /* he has said why */
        return -ECANCELED;
    dinner->killed_count++;
    if (!dinner->options.quiet)
        printf("%s was killed\n", names[guest->place]);
    return seat(guest);
}

static void show_deadlock(const struct kin_deadlock *deadlock)
{
    printf("nobody goes on:\n");
    for (unsigned i = 0; i < deadlock->parties_count; i++) {
        const struct kin_deadlock_party *party = &deadlock->parties[i];
        const struct kin_deadlock_party *next =
            &deadlock->parties[(i + 1) % deadlock->parties_count];
        printf("    %s has waited for %s for %.1f ms; %s has it\n", party->process, party->object,
               (double)(kin_now_ns() - party->since_ns) / 1e6, next->process);
    }
}

static int resolve_deadlock(struct dinner *dinner)
{
    struct kin_deadlock deadlock;

    int r = kin_deadlocks(dinner->arena, &deadlock, 1);
    if (r <= 0)
        return r;
    dinner->deadlocks_count++;
    if (!dinner->options.quiet)
        show_deadlock(&deadlock);
    int32_t victim = deadlock.parties[roll(&dinner->random, deadlock.parties_count)].pid;
    for (unsigned i = 0; i < dinner->options.places; i++) {
        struct kin_process *process = dinner->guests[i].process;
        if (process == NULL || kin_process_pid(process) != victim)
            continue;
        r = kin_process_kill(process);
        return r < 0 ? r : kin_process_join(process, KIN_NEVER);
    }
    return 0;
}

static int kill_somebody(struct dinner *dinner)
{
    struct guest *guest = &dinner->guests[roll(&dinner->random, dinner->options.places)];

    return guest->process == NULL ? 0 : kin_process_kill(guest->process);
}

static int look_after_all(struct dinner *dinner)
{
    int64_t period_ms = dinner->options.kill_every_ms;
    kin_deadline next_kill = period_ms > 0 ? kin_after_ms(period_ms) : KIN_NEVER;
    struct kin_wait ends[PLACES_MAX];
    int r = 0;

    for (;;) {
        unsigned count = 0;
        for (unsigned i = 0; r >= 0 && i < dinner->options.places; i++) {
            r = look_after(&dinner->guests[i]);
            if (r >= 0 && dinner->guests[i].process != NULL)
                ends[count++] = kin_wait_process(dinner->guests[i].process);
        }
        if (r < 0 || count == 0)
            return r;
        kin_deadline look = kin_after_ms(LOOK_MS);
        r = kin_wait_any(dinner->arena, ends, count, look < next_kill ? look : next_kill);
        if (r == -ETIMEDOUT)
            r = resolve_deadlock(dinner);
        if (r >= 0 && kin_now_ns() >= next_kill) {
            r = kill_somebody(dinner);
            next_kill = kin_after_ms(period_ms);
        }
    }
}

static int lay_table(struct dinner *dinner)
{
    unsigned places = dinner->options.places;
    struct kin_semaphore_opts waiter_opts = {.bounded = 1, .name = "waiter"};
    void *memory;

    int r = kin_arena_create(NULL, &dinner->arena);
    if (r == 0)
        r = kin_block_alloc(dinner->arena, sizeof *dinner->table, &memory);
    if (r < 0)
        return r;
    dinner->table = memset(memory, 0, sizeof *dinner->table);
    for (unsigned i = 0; r == 0 && i < places; i++) {
        char name[32];
        snprintf(name, sizeof name, "fork %u", i + 1);
        struct kin_lock_opts fork_opts = {.name = name};
        r = kin_lock_create(dinner->arena, &fork_opts, &dinner->forks[i]);
    }
    if (r == 0)
        r = kin_semaphore_create(dinner->arena, places - 1, &waiter_opts, &dinner->waiter);
    if (r == 0)
        r = kin_barrier_create(dinner->arena, places, NULL, &dinner->everybody);
    for (unsigned i = 0; r == 0 && i < places; i++) {
        dinner->guests[i] = (struct guest){.dinner = dinner, .place = i};
        r = seat(&dinner->guests[i]);
    }
    return r;
}

/* --- the end --------------------------------------------------------------------------------- */

/* Whether all was well. */
static bool report(const struct dinner *dinner, double seconds)
{
    const struct options *options = &dinner->options;
    const struct table *table = dinner->table;
    unsigned freed = 0, held = 0, hungry = 0;
    unsigned seats = (unsigned)kin_semaphore_value(dinner->waiter);

    printf(options->json ? "{\"dress\": \"%s\", \"meals\": [" : "%s, meals eaten: ",
           dresses[options->dress]);
    for (unsigned i = 0; i < options->places; i++) {
        printf("%s%u", i > 0 ? ", " : "", table->meals[i]);
        hungry += table->meals[i] != options->meals;
        freed += (unsigned)kin_lock_abandoned(dinner->forks[i]);
        held += kin_lock_locked(dinner->forks[i]) != 0;
    }
    printf(options->json ? "]" : "\n");
    const struct {
        const char *key, *text;
        unsigned count;
    } counts[] = {
        {"killed", "philosophers killed", dinner->killed_count},
        {"deadlocks", "deadlocks resolved", dinner->deadlocks_count},
        {"freed", "forks freed by a death", freed},
        {"abandoned", "forks found abandoned", table->abandoned_count},
        {"violations", "forks in two hands at once", table->violations_count},
        {"held", "forks not on the table", held},
        {"seats", "seats at the end", seats},
        {"seed", "seed", options->seed},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (options->json)
            printf(", \"%s\": %u", counts[i].key, counts[i].count);
        else
            printf("%-28s%u\n", counts[i].text, counts[i].count);
    printf(options->json ? ", \"seconds\": %.3f}\n" : "%.3f seconds\n", seconds);
    return hungry == 0 && table->violations_count == 0 && held == 0 && seats == options->places - 1;
}

int main(int argc, char **argv)
{
    int64_t begin_ns = kin_now_ns();
    struct dinner dinner = {
        .options = {.places = 5, .meals = 20, .seed = (unsigned)(begin_ns / 1000)}};

    int r = options_parse(&dinner.options, argc, argv);

    if (r != 0)
        return r > 0 ? 0 : 2;
    setvbuf(stdout, NULL, _IOLBF, 0); /* whole lines, from all of them */
    dinner.random = dinner.options.seed * UINT64_C(0x9e3779b97f4a7c15);
    r = lay_table(&dinner);
    if (r == 0)
        r = look_after_all(&dinner);
    if (r < 0)
        return fail("the dinner is over", r);
    bool good = report(&dinner, (double)(kin_now_ns() - begin_ns) / 1e9);
    kin_arena_detach(dinner.arena);
    return good ? 0 : 1;
}
