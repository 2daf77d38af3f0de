/* SPDX-License-Identifier: MIT
 * The report for people. */
#include "report.h"

#include <inttypes.h>
#include <string.h>

#define BAR_WIDTH 50

/* 1234567 as "1,234,567". Returns text. */
static const char *with_commas(uint64_t number, char text[32])
{
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *p = text;

    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            *p++ = ',';
        *p++ = digits[i];
    }
    *p = '\0';
    return text;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print_count(FILE *out, const char *name, uint64_t count)
{
    char text[32];
    fprintf(out, "  %-22s %15s\n", name, with_commas(count, text));
}

static void print_share(FILE *out, const char *name, uint64_t count, uint64_t whole, const char *of)
{
    char text[32];
    fprintf(out, "  %-22s %15s   %5.1f %% of %s\n", name, with_commas(count, text),
            percent(count, whole), of);
}

static void print_totals(FILE *out, const struct summary *s)
{
    static const char *const names[BEHAVIOURS_COUNT] = {"page views", "put into the cart",
                                                        "marked as favourite", "purchases"};
    uint64_t events = s->lines - s->malformed;

    fprintf(out, "What happened\n");
    print_count(out, "records", s->lines);
    if (s->malformed)
        print_share(out, "malformed, left out", s->malformed, s->lines, "the records");
    for (int i = 0; i < BEHAVIOURS_COUNT; i++)
        print_share(out, names[i], s->events[i], events, "the events");
    print_count(out, "users", s->users);
    print_count(out, "items", s->items);
    print_count(out, "categories", s->categories);
}

static void print_funnel(FILE *out, const struct summary *s)
{
    fprintf(out, "\nFrom looking to buying\n");
    print_share(out, "users who looked", s->viewed, s->users, "the users");
    print_share(out, "  and wanted", s->wanted, s->viewed, "those who looked");
    print_share(out, "users who bought", s->bought, s->users, "the users");
}

static void print_hours(FILE *out, const struct summary *s)
{
    uint64_t most = 1;
    char text[32];

    for (int hour = 0; hour < 24; hour++)
        most = s->pv_by_hour[hour] > most ? s->pv_by_hour[hour] : most;
    fprintf(out, "\nPage views by the hour (UTC+8)\n");
    for (int hour = 0; hour < 24; hour++) {
        char bar[BAR_WIDTH + 1];
        size_t width = (size_t)((double)s->pv_by_hour[hour] / (double)most * BAR_WIDTH + 0.5);
        memset(bar, '#', width);
        bar[width] = '\0';
        fprintf(out, "  %02d:00 %13s %s\n", hour, with_commas(s->pv_by_hour[hour], text), bar);
    }
}

static void print_top(FILE *out, const char *title, const char *noun, const struct top *top)
{
    char text[32];

    fprintf(out, "\n%s\n", title);
    for (unsigned i = 0; i < top->count; i++)
        fprintf(out, "  %2u. %s %-20" PRIu64 " %13s\n", i + 1, noun, top->entries[i].key,
                with_commas(top->entries[i].count, text));
    if (top->count == 0)
        fprintf(out, "  none\n");
}

void report_text(FILE *out, const struct summary *s)
{
    print_totals(out, s);
    print_funnel(out, s);
    print_hours(out, s);
    print_top(out, "Bought most", "item", &s->top_items);
    print_top(out, "Looked at most", "category", &s->top_categories);
    fprintf(out,
            "\n%.2f seconds with %" PRIu64 " worker%s on %" PRIu64 " chunk%s, %.1f MB of memory\n",
            s->seconds, s->workers, s->workers == 1 ? "" : "s", s->chunks,
            s->chunks == 1 ? "" : "s", (double)s->peak_memory_bytes / 1e6);
    if (s->chunks_again)
        fprintf(out, "%" PRIu64 " chunk%s run again because %s worker died\n", s->chunks_again,
                s->chunks_again == 1 ? " was" : "s were", s->chunks_again == 1 ? "its" : "their");
}
