/* SPDX-License-Identifier: MIT
 * What the tests of queues against a model share: random operations on one queue after another, in
 * waves of filling up and draining. */
#ifndef KT_MODEL_FIXTURE_H
#define KT_MODEL_FIXTURE_H

#include "lib/kin_test.h"

#define MODEL_BYTES_MOST 70000

static struct kin_queue *queue;
static unsigned char data[MODEL_BYTES_MOST], back[MODEL_BYTES_MOST];
static uint64_t most_bytes; /* of a message to this queue */

static inline void choose_most_bytes(struct kt_random *random)
{
    static const uint64_t lengths[] = {16, 113, 3000, MODEL_BYTES_MOST};
    most_bytes = lengths[kt_random_below(random, 4)];
}

/* Enough for any message, or perhaps not. */
static inline uint64_t some_capacity(struct kt_random *random)
{
    return kt_random_below(random, 4) ? most_bytes : kt_random_below(random, most_bytes + 1);
}

/* step: one operation, chosen by a number below 100; below favour it puts. end: shuts the queue
 * down, in half of all runs. */
static inline void run_in_waves(struct kt_random *random, int steps,
                                void (*step)(struct kt_random *random, uint64_t what,
                                             uint64_t favour),
                                void (*end)(struct kt_random *random))
{
    uint64_t favour = 50;
    int ends_at = (int)kt_random_below(random, (uint64_t)steps * 2);
    for (int i = 0; i < steps; i++) {
        if (i % 500 == 0)
            favour = 20 + kt_random_below(random, 60);
        if (i == ends_at)
            end(random);
        step(random, kt_random_below(random, 100), favour);
    }
}

/* run: makes a queue, works with it, and destroys it. */
static inline void run_often(const char *name, int form,
                             void (*run)(struct kin_arena *arena, struct kt_random *random))
{
    struct kin_arena *arena = kt_arena(1 * GIB);
    struct kt_random random = kt_random_of(name, (uint64_t)form);
    for (int i = 0; i < kt_scaled(60); i++)
        run(arena, &random);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    kin_arena_detach(arena);
}

static inline int model_main(const char *suite_name, const TTest *test)
{
    Suite *suite = suite_create(suite_name);
    TCase *t = kt_case(suite, "model", 60);
    tcase_add_loop_test(t, test, 0, 4);
    return kt_run(suite);
}

#endif
