/* SPDX-License-Identifier: MIT
 * The sum of all parts: what is reported in the end. */
#ifndef BEHAVIOUR_SUMMARY_H
#define BEHAVIOUR_SUMMARY_H

#include "analyse.h"
#include "plan.h"
#include "top.h"

/* What is kept of a part to tell the lines of malformed records: where a part begins in the lines
 * of its file is known only when all before it have been counted. */
struct part_faults {
    uint64_t lines;
    uint64_t count;
    struct fault_line faults[FAULTS_KEPT];
};

struct summary {
    uint64_t lines, malformed;
    uint64_t users, items, categories;
    uint64_t events[BEHAVIOURS_COUNT];
    uint64_t pv_by_hour[24];
    uint64_t viewed, wanted, bought; /* users */
    struct top top_items, top_categories;
    uint64_t workers, chunks;
    uint64_t chunks_again; /* whose worker died */
    double seconds;
    uint64_t peak_memory_bytes;
};

/* A summary in the making. */
struct summing {
    struct summary *summary;
    struct tally category_views;
    struct part_faults *part_faults; /* one a part */
};

/* 0 or -ENOMEM. Free with summing_free in either case. *summary is set to zero. */
int summing_init(struct summing *summing, struct summary *summary, size_t parts_count);
void summing_free(struct summing *summing);

/* Add the result of a part, but for its purchases. Errors: -ENOMEM, -EPROTO (not a result). */
int summing_add(struct summing *summing, size_t part, const void *result, size_t bytes);

/* Add what a part of the sets holds. */
void summing_add_users(struct summing *summing, const struct set_census *census);
void summing_add_items(struct summing *summing, const struct set_census *census);

/* Add the top of a slice of the purchases. */
void summing_add_top_items(struct summing *summing, const struct top *top);

/* All has been added: find the top ten, and name the first malformed records on standard error. */
void summing_end(struct summing *summing, const struct plan *plan);

#endif
