/* SPDX-License-Identifier: MIT
 * The report as JSON. */
#include "report.h"

#include <inttypes.h>

static void print_top(FILE *out, const char *name, const struct top *top)
{
    fprintf(out, "\"%s\": [", name);
    for (unsigned i = 0; i < top->count; i++)
        fprintf(out, "%s[%" PRIu64 ", %" PRIu64 "]", i ? ", " : "", top->entries[i].key,
                top->entries[i].count);
    fprintf(out, "], ");
}

void report_json(FILE *out, const struct summary *s)
{
    fprintf(out, "{\"lines\": %" PRIu64 ", \"malformed\": %" PRIu64 ", ", s->lines, s->malformed);
    fprintf(out, "\"users\": %" PRIu64 ", \"items\": %" PRIu64 ", \"categories\": %" PRIu64 ", ",
            s->users, s->items, s->categories);
    fprintf(out, "\"events\": {");
    for (int i = 0; i < BEHAVIOURS_COUNT; i++)
        fprintf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", behaviour_names[i], s->events[i]);
    fprintf(out, "}, ");
    print_top(out, "top_items", &s->top_items);
    print_top(out, "top_categories", &s->top_categories);
    fprintf(out, "\"pv_by_hour\": [");
    for (int hour = 0; hour < 24; hour++)
        fprintf(out, "%s%" PRIu64, hour ? ", " : "", s->pv_by_hour[hour]);
    fprintf(out, "], \"funnel\": {\"viewed\": %" PRIu64 ", \"wanted\": %" PRIu64, s->viewed,
            s->wanted);
    fprintf(out, ", \"bought\": %" PRIu64 "}, ", s->bought);
    fprintf(out, "\"workers\": %" PRIu64 ", \"chunks\": %" PRIu64 ", \"seconds\": %.6f, ",
            s->workers, s->chunks, s->seconds);
    fprintf(out, "\"peak_memory_bytes\": %" PRIu64 "}\n", s->peak_memory_bytes);
}
