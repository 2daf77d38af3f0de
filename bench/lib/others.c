/* SPDX-License-Identifier: MIT
 * How busy the machine was with other things than the benchmark: what the kernel says that all
 * processors did, without what this process and its children used. */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/bench.h"

#define USER    0 /* columns of /proc/stat, in ticks */
#define IDLE    3
#define IOWAIT  4
#define STEAL   7 /* the host ran somebody else */
#define COLUMNS 8

static double busy_seconds(void)
{
    unsigned long long ticks[COLUMNS] = {0};
    double sum = 0;
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL)
        return 0;
    int got = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &ticks[USER], &ticks[1],
                     &ticks[2], &ticks[IDLE], &ticks[IOWAIT], &ticks[5], &ticks[6], &ticks[STEAL]);
    fclose(file);
    for (int i = 0; i < got; i++)
        if (i != IDLE && i != IOWAIT)
            sum += (double)ticks[i];
    return sum / (double)sysconf(_SC_CLK_TCK);
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static double own_seconds(void)
{
    struct rusage self, children;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    return seconds_of(self.ru_utime) + seconds_of(self.ru_stime) + seconds_of(children.ru_utime) +
           seconds_of(children.ru_stime);
}

void bench_others_begin(struct bench_others *others)
{
    others->since_ns = bench_now_ns();
    others->busy = busy_seconds();
    others->own = own_seconds();
}

double bench_others_busy(const struct bench_others *others)
{
    double passed = (double)(bench_now_ns() - others->since_ns) * 1e-9;
    return (busy_seconds() - others->busy - (own_seconds() - others->own)) / passed;
}

void bench_others_print(const struct bench_others *others)
{
    double passed = (double)(bench_now_ns() - others->since_ns) * 1e-9;
    double busy = bench_others_busy(others);
    if (busy > 0.05 && passed > 0.5)
        printf("(others kept %.2f processors busy meanwhile: %s)\n", busy,
               busy > 0.2 ? "do not trust these numbers" : "take these numbers with care");
}
