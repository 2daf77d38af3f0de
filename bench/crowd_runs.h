/* SPDX-License-Identifier: MIT
 * All who sleep at a condition are woken at once: contestants' run functions. */
#ifndef BENCH_CROWD_RUNS_H
#define BENCH_CROWD_RUNS_H

#include "lib/bench.h"

#define CROWD_COUNT 100

struct crowd_peer {
    void *(*open)(void);
    void (*close)(void *object);
    void (*acquire)(void *object);
    void (*release)(void *object);
    void (*wait)(void *object);     /* acquired */
    void (*wake_all)(void *object); /* acquired */
};

extern const struct crowd_peer crowd_kin, crowd_pthread;

/* From the wake until the last one has the lock. arg is the peer. */
void crowd_processes(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret);
void crowd_threads(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret);

#endif
