/* SPDX-License-Identifier: MIT
 * The options that all benchmarks have. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bench.h"

struct bench_options bench_options = {.runs = 7, .pin = 1, .seconds = 0.3};

static const struct option long_options[] = {
    {"runs", required_argument, NULL, 'r'},
    {"quick", no_argument, NULL, 'q'},
    {"no-pin", no_argument, NULL, 'n'},
    {"only", required_argument, NULL, 'o'},
    {"seconds", required_argument, NULL, 's'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

_Noreturn static void usage(const char *program, const char *what, int status)
{
    fprintf(status ? stderr : stdout,
            "%s: %s\n\n"
            "  --runs N       rounds; medians are shown (7)\n"
            "  --quick        three short rounds, to see that it works\n"
            "  --no-pin       leave it to the scheduler which processor runs what\n"
            "  --only TEXT    only contestants whose name contains it, and the reference\n"
            "  --seconds S    length of one sample (0.3)\n",
            program, what);
    exit(status);
}

static void read_option(int c, const char *program, const char *what)
{
    struct bench_options *o = &bench_options;
    switch (c) {
    case 'r':
        o->runs = atoi(optarg);
        break;
    case 'q':
        o->quick = 1;
        o->runs = 3;
        o->seconds = 0.05;
        break;
    case 'n':
        o->pin = 0;
        break;
    case 'o':
        o->match = optarg;
        break;
    case 's':
        o->seconds = atof(optarg);
        break;
    default:
        usage(program, what, c == 'h' ? 0 : 2);
    }
}

void bench_begin(int argc, char **argv, const char *what)
{
    int c;
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
        read_option(c, argv[0], what);
    struct bench_options *o = &bench_options;
    if (optind < argc || o->runs < 1 || o->runs > BENCH_RUNS_MOST || !(o->seconds > 0))
        usage(argv[0], what, 2);
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *slash = strrchr(argv[0], '/');
    printf("%s: %s\n", slash ? slash + 1 : argv[0], what);
    bench_print_header();
    printf("a word from processor to processor: %.0f ns; medians of %d rounds, samples of %.2f s, "
           "%s\n",
           bench_distance_ns(), o->runs, o->seconds, o->pin ? "pinned" : "not pinned");
}
