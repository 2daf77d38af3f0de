/* SPDX-License-Identifier: MIT
 * behaviour: what the visitors of a shop did, from its log, by a pool of processes.
 *
 *   behaviour [--workers N] [--chunks N] [--json] [--no-progress] FILE...
 *
 * A record is user_id,item_id,category_id,behavior,timestamp. Where to begin reading: job.c is the
 * part that uses kin; analyse.c is what a worker does with its part of the log. */
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "behaviour/job.h"
#include "behaviour/report.h"

#define WORKERS_MAX       1024
#define CHUNKS_MAX        1000000
#define CHUNKS_FOR_WORKER 4

static const char usage[] =
    "usage: behaviour [--workers N] [--chunks N] [--json] [--no-progress] FILE...\n"
    "\n"
    "Analyse logs of shop behaviour: user_id,item_id,category_id,behavior,timestamp\n"
    "\n"
    "  --workers N    processes that work at once (default: one for each core)\n"
    "  --chunks N     pieces to cut the input into (default: four for each worker)\n"
    "  --json         one JSON object instead of the report\n"
    "  --no-progress  no line of progress on a terminal\n";

struct options {
    uint64_t workers, chunks; /* 0: not given */
    bool json, no_progress;
};

static int parse_count(const char *name, const char *text, uint64_t max, uint64_t *ret_count)
{
    char *end;
    unsigned long long count = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || count < 1 || count > max) {
        fprintf(stderr, "behaviour: --%s: '%s' is not a number from 1 to %llu\n", name, text,
                (unsigned long long)max);
        return -1;
    }
    *ret_count = count;
    return 0;
}

/* 0, 1 when help was asked for, -1. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {
        {"workers", required_argument, NULL, 'w'}, {"chunks", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},          {"no-progress", no_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    int option, r = 0;

    while (r == 0 && (option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (option == 'w')
            r = parse_count("workers", optarg, WORKERS_MAX, &options->workers);
        else if (option == 'c')
            r = parse_count("chunks", optarg, CHUNKS_MAX, &options->chunks);
        else if (option == 'j')
            options->json = true;
        else if (option == 'n')
            options->no_progress = true;
        else
            return option == 'h' ? 1 : -1;
    }
    if (r == 0 && optind == argc) {
        fprintf(stderr, "behaviour: no file given\n");
        r = -1;
    }
    return r;
}

/* How many cores this process may use. */
static uint64_t cores_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    return (uint64_t)CPU_COUNT(&set);
}

static int run(const struct options *options, char *const *paths, size_t paths_count)
{
    uint64_t workers = options->workers ? options->workers : cores_count();
    uint64_t chunks = options->chunks ? options->chunks : workers * CHUNKS_FOR_WORKER;
    struct job_opts job_opts = {.workers_count = (uint32_t)workers,
                                .show_progress = !options->no_progress && isatty(STDERR_FILENO)};
    struct summary summary;
    struct plan plan;

    int r = plan_init(&plan, paths, paths_count);
    if (r == 0 && plan_cut(&plan, chunks, workers) < 0) {
        fprintf(stderr, "behaviour: out of memory\n");
        r = -1;
    }
    if (r == 0)
        r = job_run(&plan, &job_opts, &summary);
    if (r == 0)
        (options->json ? report_json : report_text)(stdout, &summary);
    plan_free(&plan);
    return r;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int r = parse_options(argc, argv, &options);

    if (r != 0) {
        fputs(usage, r > 0 ? stdout : stderr);
        return r > 0 ? 0 : 2;
    }
    r = run(&options, argv + optind, (size_t)(argc - optind));
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("behaviour: standard output");
        r = -1;
    }
    return r < 0 ? 1 : 0;
}
