/* SPDX-License-Identifier: MIT
 * The analysis of one part of a log. */
#include "analyse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t user_marks[BEHAVIOURS_COUNT] = {
    [PV] = USER_VIEWED, [CART] = USER_WANTED, [FAV] = USER_WANTED, [BUY] = USER_BOUGHT};

int analyst_init(struct analyst *analyst, struct set *users, struct set *items)
{
    memset(analyst, 0, sizeof *analyst);
    analyst->users = users;
    analyst->items = items;
    if (reader_init(&analyst->reader) < 0 || tally_init(&analyst->category_views) < 0 ||
        tally_init(&analyst->item_buys) < 0)
        return -ENOMEM;
    return 0;
}

void analyst_free(struct analyst *analyst)
{
    reader_free(&analyst->reader);
    tally_free(&analyst->category_views);
    tally_free(&analyst->item_buys);
    free(analyst->result);
    analyst->result = NULL;
}

/* --- records --------------------------------------------------------------------------------- */

static int add_waiting(struct analyst *analyst)
{
    unsigned count = analyst->waiting_count;

    analyst->waiting_count = 0;
    int r = set_add(analyst->users, analyst->users_waiting, analyst->marks_waiting, count);
    return r < 0 ? r : set_add(analyst->items, analyst->items_waiting, NULL, count);
}

/* The caller sees to it that there is room among those that wait. */
static inline void add_record(struct analyst *analyst, const struct record *record)
{
    unsigned i = analyst->waiting_count++;

    analyst->users_waiting[i] = record->user;
    analyst->marks_waiting[i] = user_marks[record->behaviour];
    analyst->items_waiting[i] = record->item;
    analyst->counts.events[record->behaviour]++;
    tally_add(&analyst->category_views, record->category, record->behaviour == PV);
    if (record->behaviour == PV)
        analyst->counts.pv_by_hour[record->hour]++;
    else if (record->behaviour == BUY)
        tally_add(&analyst->item_buys, record->item, 1);
}

/* The end of a record that the exact parser was fed with. */
static void end_parsed(struct analyst *analyst)
{
    struct part_counts *counts = &analyst->counts;
    struct record_fault fault = record_parser_end(&analyst->parser);

    if (!fault.fault) {
        add_record(analyst, &analyst->parser.record);
    } else {
        if (counts->faults_count < FAULTS_KEPT)
            counts->faults[counts->faults_count++] =
                (struct fault_line){.line = counts->lines, .fault = fault};
        counts->malformed++;
    }
    record_parser_begin(&analyst->parser);
}

/* A record that record_scan did not want. Returns what follows it. */
static const char *add_unusual(struct analyst *analyst, const char *begin, const char *end)
{
    const char *newline = memchr(begin, '\n', (size_t)(end - begin));

    record_parser_feed(&analyst->parser, begin, (size_t)(newline - begin));
    end_parsed(analyst);
    return newline + 1;
}

static int add_records(struct analyst *analyst, const char *p, const char *end)
{
    while (p < end) {
        struct record record;
        const char *next = record_scan(p, &record);

        analyst->counts.lines++;
        if (next)
            add_record(analyst, &record);
        else
            next = add_unusual(analyst, p, end);
        p = next;
        if (analyst->waiting_count == SET_BATCH) {
            int r = add_waiting(analyst);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* A part of a record that is longer than the reader's buffer. */
static int add_long(struct analyst *analyst, const struct piece *piece)
{
    record_parser_feed(&analyst->parser, piece->begin, (size_t)(piece->end - piece->begin));
    if (piece->kind == PIECE_LAST) {
        analyst->counts.lines++;
        end_parsed(analyst);
    }
    return analyst->waiting_count == SET_BATCH ? add_waiting(analyst) : 0;
}

/* --- the part -------------------------------------------------------------------------------- */

static void begin_part(struct analyst *analyst)
{
    memset(&analyst->counts, 0, sizeof analyst->counts);
    tally_clear(&analyst->category_views);
    tally_clear(&analyst->item_buys);
    record_parser_begin(&analyst->parser);
    analyst->waiting_count = 0;
}

static void show_progress(const struct analyst *analyst, uint64_t begin,
                          struct part_progress_shm *progress)
{
    uint64_t position = reader_position(&analyst->reader);

    if (!progress)
        return;
    atomic_store_explicit(&progress->bytes, position - begin, memory_order_relaxed);
    atomic_store_explicit(&progress->records, analyst->counts.lines, memory_order_relaxed);
}

/* Put the counts into one block. */
static int pack_result(struct analyst *analyst, const void **ret_result, size_t *ret_bytes)
{
    struct part_counts *counts = &analyst->counts;
    size_t categories = tally_count(&analyst->category_views);
    size_t items = tally_count(&analyst->item_buys);
    size_t bytes = sizeof *counts + (categories + items) * sizeof(struct tally_entry);

    if (analyst->category_views.failed || analyst->item_buys.failed)
        return -ENOMEM;
    if (bytes > analyst->result_capacity) {
        free(analyst->result);
        analyst->result = malloc(bytes);
        analyst->result_capacity = analyst->result ? bytes : 0;
        if (!analyst->result)
            return -ENOMEM;
    }
    struct tally_entry *entries = (void *)(analyst->result + sizeof *counts);
    counts->categories_count = categories;
    tally_copy(&analyst->category_views, entries);
    buys_copy(&analyst->item_buys, entries + categories, counts->items_count);
    memcpy(analyst->result, counts, sizeof *counts);
    *ret_result = analyst->result;
    *ret_bytes = bytes;
    return 0;
}

int analyse_part(struct analyst *analyst, int fd, uint64_t begin, uint64_t end,
                 struct part_progress_shm *progress, const void **ret_result, size_t *ret_bytes)
{
    struct piece piece;
    int r;

    begin_part(analyst);
    reader_begin(&analyst->reader, fd, begin, end);
    while ((r = reader_next(&analyst->reader, &piece)) > 0) {
        r = piece.kind == PIECE_RECORDS ? add_records(analyst, piece.begin, piece.end)
                                        : add_long(analyst, &piece);
        if (r < 0)
            return r;
        show_progress(analyst, begin, progress);
    }
    if (r == 0)
        r = add_waiting(analyst);
    return r < 0 ? r : pack_result(analyst, ret_result, ret_bytes);
}
