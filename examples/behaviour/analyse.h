/* SPDX-License-Identifier: MIT
 * The analysis of one part of a log.
 *
 * What can be done twice without harm goes straight into sets that all processes share: which
 * users there are and what they did, which items there are. What can not, the counts, is returned
 * as one block of bytes, a struct part_counts, and added up by whoever asked for the part. So a
 * part whose process was killed is simply analysed again. */
#ifndef BEHAVIOUR_ANALYSE_H
#define BEHAVIOUR_ANALYSE_H

#include <stdatomic.h>

#include "buys.h"
#include "reader.h"
#include "record.h"
#include "set.h"
#include "tally.h"

#define FAULTS_KEPT 5

/* The shortest record with a user or an item that is not a small key of the sets, and its end:
 * "16777216,1,1,pv,1". It bounds how many large keys a log can have. */
#define LARGE_KEY_RECORD_BYTES 18

/* Marks of a user in the set. */
enum { USER_VIEWED = 1, USER_WANTED = 2, USER_BOUGHT = 4 };

/* A malformed record. */
struct fault_line {
    uint64_t line; /* from 1, in its part */
    struct record_fault fault;
};

/* The result of a part, followed by struct tally_entry [categories_count] with the page views of
 * each category (also those of 0), and then with the purchases of each item (buys.h). */
struct part_counts {
    uint64_t lines, malformed;
    uint64_t events[BEHAVIOURS_COUNT];
    uint64_t pv_by_hour[24];
    uint64_t categories_count;
    uint64_t items_count[BUYS_SLICES];
    uint64_t faults_count;
    struct fault_line faults[FAULTS_KEPT]; /* the first */
};

/* The entries of a result's purchases. */
static inline const struct tally_entry *part_buys(const struct part_counts *counts)
{
    return (const struct tally_entry *)(const void *)(counts + 1) + counts->categories_count;
}

/* How far a part is, for whoever watches. */
struct part_progress_shm {
    _Atomic uint64_t bytes, records;
};

/* What one process needs for it. Keeps its memory from part to part. */
struct analyst {
    struct set *users, *items; /* not its own */
    struct reader reader;
    struct tally category_views, item_buys;
    /* What waits to be added to the sets, a batch at a time. */
    uint64_t users_waiting[SET_BATCH], items_waiting[SET_BATCH];
    uint8_t marks_waiting[SET_BATCH]; /* of the users */
    unsigned waiting_count;
    struct record_parser parser;
    struct part_counts counts;
    unsigned char *result;
    size_t result_capacity;
};

/* 0 or -ENOMEM. Free with analyst_free in either case. */
int analyst_init(struct analyst *analyst, struct set *users, struct set *items);
void analyst_free(struct analyst *analyst);

/* Analyse the records that begin in [begin, end) of the file. progress may be NULL. The result is
 * valid until the next call. Errors: -ENOMEM, those of reading and of set_add. */
int analyse_part(struct analyst *analyst, int fd, uint64_t begin, uint64_t end,
                 struct part_progress_shm *progress, const void **ret_result, size_t *ret_bytes);

#endif
