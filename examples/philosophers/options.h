/* SPDX-License-Identifier: MIT
 * The command line of philosophers. */
#ifndef PHILOSOPHERS_OPTIONS_H
#define PHILOSOPHERS_OPTIONS_H

#include <kin/wait.h>
#include <stdbool.h>

#define PLACES_MAX KIN_DEADLOCK_PARTIES_MAX /* so that the longest circle is shown whole */

enum dress { NAIVE, ORDERED, WAITER, DRESSES_COUNT };
extern const char *const dresses[DRESSES_COUNT];

struct options {
    unsigned dress, places, meals, seed, kill_every_ms; /* 0: nobody is killed by chance */
    bool quiet, json;                                   /* json: also quiet */
};

/* Fill in what is given and leave the rest as it is. 0; 1: help was asked for, and is printed; -1:
 * said on standard error what is wrong. */
int options_parse(struct options *options, int argc, char **argv);

#endif
