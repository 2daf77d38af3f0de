/* SPDX-License-Identifier: MIT
 * The analysis of a whole log by a pool of processes. */
#ifndef BEHAVIOUR_JOB_H
#define BEHAVIOUR_JOB_H

#include "plan.h"
#include "summary.h"

struct job_opts {
    uint32_t workers_count;
    bool show_progress;
};

/* Analyse what has been planned. Errors are named on standard error. Returns 0 or -1. */
int job_run(const struct plan *plan, const struct job_opts *opts, struct summary *ret_summary);

#endif
