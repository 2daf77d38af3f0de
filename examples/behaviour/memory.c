/* SPDX-License-Identifier: MIT
 * How much memory a process has. */
#include "report.h"

#include <stdlib.h>
#include <string.h>

uint64_t memory_of(int pid)
{
    char path[64], line[256];
    uint64_t kib = 0;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *rollup = fopen(path, "re");
    if (!rollup)
        return 0;
    while (fgets(line, sizeof line, rollup))
        if (strncmp(line, "Pss:", 4) == 0)
            kib = strtoull(line + 4, NULL, 10);
    fclose(rollup);
    return kib * 1024;
}
