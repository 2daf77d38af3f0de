/* SPDX-License-Identifier: MIT
 * The rounds of a contest. */
#include <stdio.h>
#include <string.h>

#include "lib/bench.h"

#define COUNT_FIRST 64u

static double sample(struct bench_contestant *c, uint64_t count, double *ret_p99)
{
    struct bench_sample s = {0};
    c->run(c, count, &s);
    *ret_p99 = s.p99;
    return s.seconds;
}

/* Warms up and finds how many operations fill a sample. */
static void calibrate(struct bench_contestant *c)
{
    double p99;
    int64_t start = bench_now_ns();
    c->count = c->count_first ? c->count_first : COUNT_FIRST;
    for (;;) {
        double seconds = sample(c, c->count, &p99), goal = bench_options.seconds;
        if (seconds < 0) {
            c->count = 0;
            return;
        }
        if (p99 > 0) /* the operations are only part of the time */
            seconds = (double)(bench_now_ns() - start) * 1e-9;
        double grow = seconds > goal / 50 ? goal / seconds : 50;
        c->count = grow * (double)c->count < 1 ? 1 : (uint64_t)(grow * (double)c->count);
        if (c->count_most != 0 && c->count > c->count_most)
            c->count = c->count_most;
        if (seconds > goal / 50 || c->count == c->count_most)
            return;
        start = bench_now_ns();
    }
}

static void drop_unwanted(struct bench_contest *contest)
{
    int kept = 0;
    for (int i = 0; i < contest->list_count; i++)
        if (bench_options.match == NULL || contest->list[i].reference ||
            strstr(contest->list[i].name, bench_options.match) != NULL)
            contest->list[kept++] = contest->list[i];
    contest->list_count = kept;
}

void bench_contest(struct bench_contest *contest)
{
    struct bench_others others;
    drop_unwanted(contest);
    for (int i = 0; i < contest->list_count; i++)
        calibrate(&contest->list[i]);
    bench_others_begin(&others);
    for (int round = 0; round < bench_options.runs; round++) {
        for (int i = 0; i < contest->list_count; i++) {
            struct bench_contestant *c = &contest->list[i];
            if (c->count == 0)
                continue;
            c->seconds[round] = sample(c, c->count, &c->p99[round]) / (double)c->count;
            c->samples_count = round + 1;
        }
    }
    bench_print_table(contest);
    bench_others_print(&others);
}
