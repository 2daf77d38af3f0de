/* SPDX-License-Identifier: MIT
 * The command line of philosophers. */
#include "options.h"

#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const dresses[DRESSES_COUNT] = {"naive", "ordered", "waiter"};

static const char usage[] =
    "usage: philosophers [--dress naive|ordered|waiter] [--philosophers N] [--meals M]\n"
    "                    [--kill-every MS] [--seed S] [--quiet] [--json]\n"
    "\n"
    "The dining philosophers as processes, who may be killed at any moment.\n"
    "\n"
    "  --dress D         how they take their forks (default: naive)\n"
    "                      naive    the left one first: deadlocks, which are found and resolved\n"
    "                      ordered  the one with the lower number first\n"
    "                      waiter   when a waiter has shown them to a seat: there is one too few\n"
    "  --philosophers N  from 2 to 16 (default: 5)\n"
    "  --meals M         that each of them eats (default: 20)\n"
    "  --kill-every MS   kill one of them every so many milliseconds\n"
    "  --seed S          for what is left to chance\n"
    "  --quiet           only the report at the end\n"
    "  --json            one JSON object instead of it\n";

static const struct option longs[] = {
    {"dress", required_argument, NULL, 'd'},
    {"philosophers", required_argument, NULL, 'p'},
    {"meals", required_argument, NULL, 'm'},
    {"kill-every", required_argument, NULL, 'k'},
    {"seed", required_argument, NULL, 's'},
    {"quiet", no_argument, NULL, 'q'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int parse_number(const char *name, unsigned min, unsigned max, unsigned *ret_number)
{
    char *end;
    unsigned long number = strtoul(optarg, &end, 10);

    if (*optarg < '0' || *optarg > '9' || *end || number < min || number > max) {
        fprintf(stderr, "philosophers: --%s: '%s' is not a number from %u to %u\n", name, optarg,
                min, max);
        return -1;
    }
    *ret_number = (unsigned)number;
    return 0;
}

static int parse_dress(unsigned *ret_dress)
{
    for (unsigned dress = 0; dress < DRESSES_COUNT; dress++) {
        if (strcmp(optarg, dresses[dress]) == 0) {
            *ret_dress = dress;
            return 0;
        }
    }
    fprintf(stderr, "philosophers: --dress: '%s' is none of naive, ordered, waiter\n", optarg);
    return -1;
}

static int parse_option(struct options *options, int option)
{
    switch (option) {
    case 'd':
        return parse_dress(&options->dress);
    case 'p':
        return parse_number("philosophers", 2, PLACES_MAX, &options->places);
    case 'm':
        return parse_number("meals", 1, 1000000, &options->meals);
    case 'k':
        return parse_number("kill-every", 1, 1000000, &options->kill_every_ms);
    case 's':
        return parse_number("seed", 0, UINT32_MAX, &options->seed);
    case 'j':
        options->json = options->quiet = true;
        return 0;
    case 'q':
        options->quiet = true;
        return 0;
    default:
        return option == 'h' ? 1 : -1;
    }
}

int options_parse(struct options *options, int argc, char **argv)
{
    int option, r = 0;

    while (r == 0 && (option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
        r = parse_option(options, option);
    if (r == 0 && optind < argc) {
        fprintf(stderr, "philosophers: '%s' is not an option\n", argv[optind]);
        r = -1;
    }
    if (r != 0)
        fputs(usage, r > 0 ? stdout : stderr);
    return r;
}
