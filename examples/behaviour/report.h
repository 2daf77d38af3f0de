/* SPDX-License-Identifier: MIT
 * Say what was found, to programs or to people. */
#ifndef BEHAVIOUR_REPORT_H
#define BEHAVIOUR_REPORT_H

#include <stdio.h>

#include "summary.h"

/* One JSON object on one line. */
void report_json(FILE *out, const struct summary *summary);
/* For the owner of the shop. */
void report_text(FILE *out, const struct summary *summary);

/* Highest memory of a process now: its proportional set size, in which memory that several
 * processes share counts once. 0 when the process is gone or the kernel does not tell. */
uint64_t memory_of(int pid);

#endif
