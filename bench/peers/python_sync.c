/* SPDX-License-Identifier: MIT
 * Runs peers/sync.py, which prints the seconds of an operation and their 99th percentile, or 0. */
#include <stdio.h>

#include "peers/python_sync.h"

void python_sync(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    char command[1024];
    double seconds, p99;
    snprintf(command, sizeof command, "python3 '%s' %s %s %llu 2>/dev/null", BENCH_SYNC_PY,
             bench_options.pin ? "--pin" : "", (const char *)self->arg, (unsigned long long)count);
    FILE *python = popen(command, "re");
    ret->seconds = -1;
    if (python == NULL)
        return;
    int got = fscanf(python, "%lf %lf", &seconds, &p99);
    if (pclose(python) != 0 || got != 2)
        return;
    ret->seconds = seconds * (double)count;
    ret->p99 = p99;
}
