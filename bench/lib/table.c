/* SPDX-License-Identifier: MIT
 * A contest as a table. */
#include <stdio.h>
#include <string.h>

#include "lib/bench.h"

static const char *const units[] = {
    [BENCH_RATE] = "million/s", [BENCH_NS] = "ns", [BENCH_US] = "us", [BENCH_GB] = "GB/s"};

static double shown(const struct bench_contest *contest, double seconds)
{
    switch (contest->view) {
    case BENCH_RATE:
        return 1e-6 / seconds;
    case BENCH_NS:
        return seconds * 1e9;
    case BENCH_US:
        return seconds * 1e6;
    default:
        return (double)contest->bytes * 1e-9 / seconds;
    }
}

void bench_print_number(double value)
{
    printf(" %9.*f", value < 10 ? 2 : value < 1000 ? 1 : 0, value);
}

static void print_values(const struct bench_contest *contest, const struct bench_contestant *c)
{
    double low = c->seconds[0], high = c->seconds[0];
    for (int i = 1; i < c->samples_count; i++) {
        low = c->seconds[i] < low ? c->seconds[i] : low;
        high = c->seconds[i] > high ? c->seconds[i] : high;
    }
    double first = shown(contest, low), last = shown(contest, high);
    bench_print_number(shown(contest, bench_median(c->seconds, c->samples_count)));
    bench_print_number(first < last ? first : last);
    bench_print_number(first < last ? last : first);
    if (c->p99[0] > 0)
        bench_print_number(shown(contest, bench_median(c->p99, c->samples_count)));
}

/* A miss by a few percent of the aim is still a miss: no rounding in favour of anybody. */
void bench_print_aim(double value, double aim, int at_most, const char *unit)
{
    int met = at_most ? value <= aim : value >= aim;
    printf("  %s %g%s: %s", at_most ? "at most" : "at least", aim, unit, met ? "yes" : "NO");
}

static double ratio_of(const struct bench_contestant *c, const struct bench_contestant *to)
{
    double ratios[BENCH_RUNS_MOST];
    for (int i = 0; i < c->samples_count; i++)
        ratios[i] = c->seconds[i] / to->seconds[i];
    return bench_median(ratios, c->samples_count);
}

static void print_ratio(const struct bench_contest *contest, const struct bench_contestant *c,
                        const struct bench_contestant *reference)
{
    double ratio = ratio_of(c, reference);
    if (c == reference)
        printf(" %9s", "1");
    else
        bench_print_number(ratio);
    if (c->aim > 0)
        bench_print_aim(ratio, c->aim, contest->costs, "");
}

static const struct bench_contestant *find(const struct bench_contest *contest, const char *name)
{
    for (int i = 0; i < contest->list_count; i++)
        if (strcmp(contest->list[i].name, name) == 0 && contest->list[i].samples_count > 0)
            return &contest->list[i];
    return NULL;
}

static void print_claims(const struct bench_contest *contest)
{
    for (int i = 0; i < contest->claims_count; i++) {
        const struct bench_claim *claim = &contest->claims[i];
        const struct bench_contestant *of = find(contest, claim->of);
        const struct bench_contestant *to = find(contest, claim->to);
        if (of == NULL || to == NULL)
            continue;
        printf("%s to %s:", claim->of, claim->to);
        bench_print_number(ratio_of(of, to));
        bench_print_aim(ratio_of(of, to), claim->most, 1, "");
        putchar('\n');
    }
}

void bench_print_title(const char *title, const char *about)
{
    printf("\n%s\n", title);
    for (size_t i = 0; i < strlen(title); i++)
        putchar('-');
    printf("\n%s\n\n", about);
}

static void print_heads(const struct bench_contest *contest, int has_p99)
{
    bench_print_title(contest->title, contest->about);
    printf("%-38s %9s %9s %9s", units[contest->view], has_p99 ? "p50" : "median", "lowest",
           "highest");
    if (has_p99)
        printf(" %9s", "p99");
    printf(" %9s  %s\n", "ratio", "asked");
}

void bench_print_table(const struct bench_contest *contest)
{
    const struct bench_contestant *reference = NULL;
    int has_p99 = 0;
    for (int i = 0; i < contest->list_count; i++) {
        if (contest->list[i].reference && contest->list[i].samples_count > 0)
            reference = &contest->list[i];
        has_p99 |= contest->list[i].p99[0] > 0;
    }
    print_heads(contest, has_p99);
    for (int i = 0; i < contest->list_count; i++) {
        const struct bench_contestant *c = &contest->list[i];
        printf("%-38s", c->name);
        if (c->samples_count == 0) {
            puts("  not possible on this machine");
            continue;
        }
        print_values(contest, c);
        if (reference != NULL)
            print_ratio(contest, c, reference);
        if (c->aim_ns > 0)
            bench_print_aim(bench_median(c->seconds, c->samples_count) * 1e9, c->aim_ns, 1, " ns");
        putchar('\n');
    }
    print_claims(contest);
}
