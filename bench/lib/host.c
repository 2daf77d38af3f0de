/* SPDX-License-Identifier: MIT
 * The line that says where and when it was measured. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "lib/bench.h"

static void cpu_model(char *model, size_t bytes)
{
    snprintf(model, bytes, "unknown processor");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (file == NULL)
        return;
    char line[256];
    while (fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(model, bytes, "%s", colon + 2);
        break;
    }
    fclose(file);
}

void bench_print_header(void)
{
    struct utsname system;
    char model[256], date[64];
    double load[1] = {0};
    cpu_set_t cpus;
    time_t now = time(NULL);
    struct tm local;

    uname(&system);
    cpu_model(model, sizeof model);
    CPU_ZERO(&cpus);
    sched_getaffinity(0, sizeof cpus, &cpus);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M", gmtime_r(&now, &local));
    getloadavg(load, 1);
    printf("%s %s %s | %s, %d cores | "
#ifdef __clang__
           "clang " __clang_version__
#else
           "gcc " __VERSION__
#endif
           " | %s UTC, load %.2f\n",
           system.sysname, system.release, system.machine, model, CPU_COUNT(&cpus), date, load[0]);
}
