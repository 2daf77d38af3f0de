/* SPDX-License-Identifier: MIT
 * The sum of all parts. */
#include "summary.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int summing_init(struct summing *summing, struct summary *summary, size_t parts_count)
{
    memset(summing, 0, sizeof *summing);
    memset(summary, 0, sizeof *summary);
    summing->summary = summary;
    summing->part_faults = calloc(parts_count + 1, sizeof *summing->part_faults);
    if (!summing->part_faults || tally_init(&summing->category_views) < 0)
        return -ENOMEM;
    return 0;
}

void summing_free(struct summing *summing)
{
    tally_free(&summing->category_views);
    free(summing->part_faults);
    summing->part_faults = NULL;
}

int summing_add(struct summing *summing, size_t part, const void *result, size_t bytes)
{
    const struct part_counts *counts = result;
    struct summary *summary = summing->summary;

    if (bytes < sizeof *counts || (bytes - sizeof *counts) / sizeof(struct tally_entry) !=
                                      counts->categories_count + buys_count(counts->items_count))
        return -EPROTO;

    summary->lines += counts->lines;
    summary->malformed += counts->malformed;
    for (int i = 0; i < BEHAVIOURS_COUNT; i++)
        summary->events[i] += counts->events[i];
    for (int hour = 0; hour < 24; hour++)
        summary->pv_by_hour[hour] += counts->pv_by_hour[hour];

    struct part_faults *kept = &summing->part_faults[part];
    kept->lines = counts->lines;
    kept->count = counts->faults_count;
    memcpy(kept->faults, counts->faults, sizeof kept->faults);

    const struct tally_entry *entries = (const void *)(counts + 1);
    tally_add_all(&summing->category_views, entries, counts->categories_count);
    return summing->category_views.failed ? -ENOMEM : 0;
}

void summing_add_users(struct summing *summing, const struct set_census *census)
{
    struct summary *summary = summing->summary;

    summary->users += census->keys_count;
    for (unsigned marks = 0; marks < 8; marks++) {
        if (marks & USER_VIEWED)
            summary->viewed += census->by_marks[marks];
        if (marks & USER_VIEWED && marks & USER_WANTED)
            summary->wanted += census->by_marks[marks];
        if (marks & USER_BOUGHT)
            summary->bought += census->by_marks[marks];
    }
}

void summing_add_items(struct summing *summing, const struct set_census *census)
{
    summing->summary->items += census->keys_count;
}

void summing_add_top_items(struct summing *summing, const struct top *top)
{
    for (unsigned i = 0; i < top->count; i++)
        top_add(&summing->summary->top_items, &top->entries[i]);
}

/* --- the end --------------------------------------------------------------------------------- */

static void print_fault(const char *path, uint64_t line, struct record_fault fault)
{
    char text[80];

    record_fault_text(fault, text, sizeof text);
    fprintf(stderr, "%s:%" PRIu64 ": %s\n", path, line, text);
}

static void print_faults(const struct summing *summing, const struct plan *plan)
{
    uint64_t lines_before = 0; /* in the same file */
    unsigned printed = 0;

    for (size_t p = 0; p < plan->parts_count && printed < FAULTS_KEPT; p++) {
        const struct part_faults *kept = &summing->part_faults[p];
        const struct part *part = &plan->parts[p];
        if (p > 0 && part->input != part[-1].input)
            lines_before = 0;
        for (uint64_t i = 0; i < kept->count && printed < FAULTS_KEPT; i++, printed++)
            print_fault(plan->inputs[part->input].path, lines_before + kept->faults[i].line,
                        kept->faults[i].fault);
        lines_before += kept->lines;
    }
}

void summing_end(struct summing *summing, const struct plan *plan)
{
    struct summary *summary = summing->summary;

    summary->categories = tally_count(&summing->category_views);
    top_add_tally(&summary->top_categories, &summing->category_views);
    print_faults(summing, plan);
}
