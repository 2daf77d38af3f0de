/* SPDX-License-Identifier: MIT
 * What the threads of a storm have in common. */
#include "storm/sync_storm.h"

#include <pthread.h>

void linger(struct me *me)
{
    switch (kt_random_below(&me->random, 16)) {
    case 0:
        usleep((useconds_t)kt_random_below(&me->random, 200));
        break;
    case 1:
    case 2:
        sched_yield();
        break;
    case 3:
    case 4:
    case 5:
        for (uint64_t i = kt_random_below(&me->random, 300); i > 0; i--)
            kini_pause();
    }
}

kin_deadline some_deadline(struct me *me)
{
    switch (kt_random_below(&me->random, 4)) {
    case 0:
        return kin_after_us((int64_t)kt_random_below(&me->random, 300));
    case 1:
        return kin_after_us((int64_t)kt_random_below(&me->random, 5000));
    default:
        return KIN_NEVER;
    }
}

bool living(kini_a64 *word, uint32_t bits, uint64_t *ret_living)
{
    uint64_t cleared = kini_load_sc(&storm->victims_cleared), value = kini_load_sc(word);
    uint64_t doomed = kini_load_sc(&storm->doomed_mask);
    for (uint32_t i = 0; i < PLACES; i++)
        if (doomed >> i & 1)
            value &= ~(((1ull << (bits * THREADS)) - 1) << (i * bits * THREADS));
    *ret_living = value;
    return kini_load_sc(&storm->victims_cleared) == cleared;
}

static void *hammer(void *arg)
{
    struct me *me = arg;
    while (!stopping()) {
        scenario->act(me);
        if (kt_random_below(&me->random, 256) == 0)
            KT_CHECK(kin_arena_reap(storm_arena) >= 0);
    }
    return NULL;
}

void run_place(int place, uint64_t number)
{
    struct me all[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < threads_count; i++) {
        int seat = place * THREADS + i;
        all[i] = (struct me){.place = place,
                             .number_of_seat = seat,
                             .id = number * SEATS + (uint64_t)seat,
                             .seat = &storm->seats[seat],
                             .random = kt_random_of("act", number * THREADS + (uint64_t)i)};
        if (i > 0)
            KT_CHECK(pthread_create(&threads[i], NULL, hammer, &all[i]) == 0);
    }
    hammer(&all[0]);
    for (int i = 1; i < threads_count; i++)
        KT_CHECK(pthread_join(threads[i], NULL) == 0);
}
