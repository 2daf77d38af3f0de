/* SPDX-License-Identifier: MIT
 * Time, medians, mistakes. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <kin/error.h>

#include "lib/bench.h"

int64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_sort(double *values, uint64_t count)
{
    qsort(values, count, sizeof *values, compare);
}

double bench_median(const double *values, int count)
{
    double sorted[BENCH_RUNS_MOST];
    memcpy(sorted, values, (size_t)count * sizeof *values);
    bench_sort(sorted, (uint64_t)count);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

void bench_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void bench_must(int64_t r, const char *what)
{
    if (r < 0)
        bench_die("%s: %s: %s", what, kin_strerror((int)r), kin_error_text());
}

void bench_must_sys(int64_t r, const char *what)
{
    if (r < 0)
        bench_die("%s: %s", what, strerror(errno));
}
