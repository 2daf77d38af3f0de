/* SPDX-License-Identifier: MIT
 * A grid: every row is the same work with other sizes or another number of processes, every column
 * a contestant. A row is played in rounds, its columns one after another, A B C A B C; what is
 * shown are the medians of the rounds; a sample that other programs disturbed is repeated. Column 0
 * is kin; below its share is compared with the best of the others that are its equals. */
#ifndef BENCH_GRID_H
#define BENCH_GRID_H

#include "lib/bench.h"

#define GRID_ROWS_MOST     16
#define GRID_COLUMNS_MOST  16
#define GRID_MEASURES_MOST 2

struct grid_measure {
    const char *title;
    int least_is_best; /* a time; else a rate */
};

struct grid_column {
    const char *name;
    const void *arg; /* the contestant's own */
    int bound;       /* shown, but no equal: it neither sleeps nor survives anything */
};

struct grid_row {
    const char *name;
    const void *arg;
};

struct grid {
    const char *title, *about;
    double aim; /* of kin to the best other: times as good */
    struct grid_measure measures[GRID_MEASURES_MOST];
    int measures_count;
    const struct grid_row *rows;
    int rows_count;
    const struct grid_column *columns;
    int columns_count;
    /* Fills in a value for each measure; a negative one: this machine, or this peer, cannot. */
    void (*sample)(const struct grid_row *row, const struct grid_column *column, double *ret);
};

/* Plays it and prints a table for each measure. */
void grid_play(const struct grid *grid);

#endif
