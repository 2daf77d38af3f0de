/* SPDX-License-Identifier: MIT
 * One face for everything that one acquires and releases, and the loops around it. An object is
 * opened before the fork and used at the address where it was opened. */
#ifndef BENCH_SYNC_H
#define BENCH_SYNC_H

#include "lib/bench.h"
#include "peers/loops.h"

#define SYNC_NUMBERS 3

/* What processes contend for: shared. */
struct sync_field {
    uint64_t goal;                        /* turns of all together */
    uint64_t steps;                       /* to think between two turns */
    _Alignas(128) volatile uint64_t done; /* guarded by the object, as are the numbers */
    volatile uint64_t numbers[SYNC_NUMBERS];
};

struct sync_share { /* of one process */
    uint64_t turns;
    int64_t longest_ns; /* single wait, if waits are timed */
};

struct sync_peer {
    void *(*open)(void);
    void (*close)(void *object);
    /* Acquire and release, so many times. */
    void (*pairs)(void *object, uint64_t count);
    /* Take turns with the others until the goal is reached; NULL: not for contention. */
    void (*contend)(void *object, struct sync_field *field, struct sync_share *share);
    void (*contend_timed)(void *object, struct sync_field *field, struct sync_share *share);
};

typedef void (*sync_fn)(void *object);

INLINED void sync_think(uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++)
        __asm__ volatile("" : "+r"(i));
}

INLINED void sync_loop_pairs(void *object, uint64_t count, sync_fn acquire, sync_fn release)
{
    for (uint64_t i = 0; i < count; i++) {
        acquire(object);
        release(object);
    }
}

INLINED void sync_loop_contend(void *object, struct sync_field *field, struct sync_share *share,
                               sync_fn acquire, sync_fn release, int timed)
{
    for (;;) {
        int64_t start = timed ? bench_now_ns() : 0;
        acquire(object);
        int64_t took = timed ? bench_now_ns() - start : 0;
        int more = field->done < field->goal;
        if (more) {
            field->done++;
            for (int i = 0; i < SYNC_NUMBERS; i++)
                field->numbers[i]++;
        }
        release(object);
        if (!more)
            return;
        share->turns++;
        share->longest_ns = took > share->longest_ns ? took : share->longest_ns;
        sync_think(field->steps);
    }
}

#define SYNC_PAIRS(prefix, acquire, release)                                                       \
    static void prefix##_pairs(void *object, uint64_t count)                                       \
    {                                                                                              \
        sync_loop_pairs(object, count, acquire, release);                                          \
    }

#define SYNC_CONTENDS(prefix, acquire, release)                                                    \
    static void prefix##_contend(void *object, struct sync_field *field, struct sync_share *share) \
    {                                                                                              \
        sync_loop_contend(object, field, share, acquire, release, 0);                              \
    }                                                                                              \
    static void prefix##_contend_timed(void *object, struct sync_field *field,                     \
                                       struct sync_share *share)                                   \
    {                                                                                              \
        sync_loop_contend(object, field, share, acquire, release, 1);                              \
    }

extern const struct sync_peer sync_kin_lock, sync_kin_rlock, sync_kin_rlock_again;
extern const struct sync_peer sync_kin_resource, sync_kin_signal, sync_kin_bounded;
extern const struct sync_peer sync_kin_read, sync_kin_write;
extern const struct sync_peer sync_kin_set_clear, sync_kin_is_set;

extern const struct sync_peer sync_mutex, sync_mutex_robust, sync_mutex_adaptive;
extern const struct sync_peer sync_mutex_recursive, sync_mutex_recursive_again,
    sync_mutex_recursive_robust;
extern const struct sync_peer sync_sem, sync_pthread_read, sync_pthread_write;

#endif
