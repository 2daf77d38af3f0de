/* SPDX-License-Identifier: MIT
 * What the benchmarks share: options, the header line, contests and their tables.
 *
 * A contest lets several contestants do the same work one after another, A B C A B C, so that a
 * drift of the machine meets all of them. Each sample does so many operations that it takes a given
 * time. What is shown are medians over the rounds; a ratio is the median of the ratios of the
 * single rounds. */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

#define BENCH_RUNS_MOST 99

struct bench_options {
    int runs;
    int quick;         /* short samples, few rounds: to see that it works */
    int pin;           /* processes are pinned to processors, one after another */
    double seconds;    /* how long one sample should take */
    const char *match; /* only contestants whose name contains it, and the reference; NULL: all */
};

extern struct bench_options bench_options;

/* Reads the options and prints the header. Exits for --help and for mistakes. */
void bench_begin(int argc, char **argv, const char *what);
/* The machine, the compiler, the date. */
void bench_print_header(void);
/* How long a word takes from one processor to another, in nanoseconds; 0: there is only one. In a
 * virtual machine it may be another value tomorrow, and all else with it. */
double bench_distance_ns(void);

_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Die unless r is 0 or more: a result of kin, and one of the system with errno. */
void bench_must(int64_t r, const char *what);
void bench_must_sys(int64_t r, const char *what);

/* What other processes, or the host, do with the processors meanwhile; prints nothing if it is
 * little. All children must have been waited for. */
struct bench_others {
    int64_t since_ns;
    double busy, own; /* seconds of processor time so far */
};
void bench_others_begin(struct bench_others *others);
double bench_others_busy(const struct bench_others *others); /* processors */
void bench_others_print(const struct bench_others *others);

int64_t bench_now_ns(void);
double bench_median(const double *values, int count);
void bench_sort(double *values, uint64_t count);

enum bench_view {
    BENCH_RATE, /* operations a second, in millions */
    BENCH_NS,   /* nanoseconds an operation */
    BENCH_US,   /* microseconds an operation */
    BENCH_GB,   /* 10^9 bytes a second */
};

struct bench_sample {
    double seconds; /* for all operations; negative: this machine cannot do it */
    double p99;     /* seconds of a single operation; 0: not measured. Then seconds / count is the
                       median of the single operations */
};

struct bench_contestant {
    const char *name;
    void (*run)(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret);
    const void *arg; /* arg and number are the contestant's own */
    uint64_t number;
    uint64_t count_most;  /* operations in a sample at most; 0: no limit */
    uint64_t count_first; /* in the first, from which the rest follows; 0: a few will do */
    int reference;        /* 1: all are compared with this one */
    double aim;           /* what the ratio should reach; 0: none */
    double aim_ns;        /* what an operation may take; 0: no aim */
    /* filled in by the contest */
    uint64_t count;
    int samples_count;
    double seconds[BENCH_RUNS_MOST]; /* of one operation */
    double p99[BENCH_RUNS_MOST];
};

/* What a ratio to another one than the reference should be at most; shown below the table. */
struct bench_claim {
    const char *of, *to; /* contestants */
    double most;
};

struct bench_contest {
    const char *title;
    const char *about; /* what exactly is done */
    enum bench_view view;
    uint64_t bytes; /* of an operation, for BENCH_GB */
    /* The ratio is always: time of this one / time of the reference.
     * 0: the reference is kin; the ratio says how many times faster it is; an aim is a least value.
     * 1: the reference is bare; the ratio says what kin costs; an aim is a highest value. */
    int costs;
    struct bench_contestant *list;
    int list_count;
    const struct bench_claim *claims;
    int claims_count;
};

/* Runs it and prints its table. */
void bench_contest(struct bench_contest *contest);
void bench_print_table(const struct bench_contest *contest);
/* For tables of other shapes: a line under a title, a number as wide as a column, what is asked. */
void bench_print_title(const char *title, const char *about);
void bench_print_number(double value);
void bench_print_aim(double value, double aim, int at_most, const char *unit);

#define BENCH_COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

#endif
