/* SPDX-License-Identifier: MIT
 * Watch the job while it runs: how far it is, and how much memory it takes. */
#ifndef BEHAVIOUR_WATCH_H
#define BEHAVIOUR_WATCH_H

#include <kin/kin.h>

#include "analyse.h"
#include "plan.h"

struct watch {
    struct kin_pool *pool;
    const struct part_progress_shm *progress; /* one a part */
    const struct plan *plan;
    bool show; /* on standard error */
    int64_t begin_ns;
    int64_t show_ns, sample_ns; /* not again before */
    uint64_t peak_memory_bytes;
};

/* Look, if it is time to. Cheap enough to be called at any rate. */
void watch_look(struct watch *watch);

/* The highest memory of this process and the pool's workers so far, now included. */
uint64_t watch_memory(struct watch *watch);

/* Remove the line of progress. */
void watch_end(struct watch *watch);

#endif
