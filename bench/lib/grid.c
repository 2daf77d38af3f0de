/* SPDX-License-Identifier: MIT
 * Rounds and tables of a grid. */
#include "lib/grid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_MOST  0.15 /* processors that others may use during a sample */
#define AGAIN_MOST 2

struct cell {
    double values[GRID_MEASURES_MOST][BENCH_RUNS_MOST];
};

struct played {
    const struct grid *grid;
    int samples, disturbed;
    struct cell cells[GRID_ROWS_MOST][GRID_COLUMNS_MOST];
};

static int is_wanted(const struct grid *grid, int column)
{
    return column == 0 || bench_options.match == NULL ||
           strstr(grid->columns[column].name, bench_options.match) != NULL;
}

/* Again, if other programs used the processors meanwhile, unless they always do. */
static void sample_quietly(struct played *played, int row, int column, double *ret)
{
    struct bench_others others;
    const struct grid *grid = played->grid;
    played->samples++;
    for (int again = 0; again <= AGAIN_MOST; again++) {
        bench_others_begin(&others);
        grid->sample(&grid->rows[row], &grid->columns[column], ret);
        if (ret[0] < 0 || bench_others_busy(&others) < BUSY_MOST)
            return;
    }
    played->disturbed++;
}

static void play_row(struct played *played, int row)
{
    const struct grid *grid = played->grid;
    for (int round = 0; round < bench_options.runs; round++) {
        for (int column = 0; column < grid->columns_count; column++) {
            double values[GRID_MEASURES_MOST] = {-1, -1};
            struct cell *cell = &played->cells[row][column];
            if (is_wanted(grid, column) && (round == 0 || cell->values[0][0] >= 0))
                sample_quietly(played, row, column, values);
            for (int m = 0; m < grid->measures_count; m++)
                cell->values[m][round] = values[m];
        }
    }
}

/* How many times as good kin is, the median of the rounds; 0: the other one cannot. */
static double advantage(const struct played *played, int measure, int row, int column)
{
    double ratios[BENCH_RUNS_MOST];
    const double *kin = played->cells[row][0].values[measure];
    const double *other = played->cells[row][column].values[measure];
    if (kin[0] < 0 || other[0] < 0)
        return 0;
    for (int i = 0; i < bench_options.runs; i++)
        ratios[i] =
            played->grid->measures[measure].least_is_best ? other[i] / kin[i] : kin[i] / other[i];
    return bench_median(ratios, bench_options.runs);
}

static void print_comparison(const struct played *played, int measure, int row)
{
    const struct grid *grid = played->grid;
    double least = 0;
    int best = 0;
    for (int column = 1; column < grid->columns_count; column++) {
        double ratio = advantage(played, measure, row, column);
        if (!grid->columns[column].bound && ratio > 0 && (best == 0 || ratio < least)) {
            least = ratio;
            best = column;
        }
    }
    if (best == 0)
        return;
    bench_print_number(least);
    printf("  of %-10s", grid->columns[best].name);
    if (grid->aim > 0)
        bench_print_aim(least, grid->aim, 0, "");
}

static void print_measure(const struct played *played, int measure)
{
    const struct grid *grid = played->grid;
    printf("%-22s", grid->measures[measure].title);
    for (int column = 0; column < grid->columns_count; column++)
        if (is_wanted(grid, column))
            printf(" %9s", grid->columns[column].name);
    puts("  kin: times the best other");
    for (int row = 0; row < grid->rows_count; row++) {
        printf("%-22s", grid->rows[row].name);
        for (int column = 0; column < grid->columns_count; column++) {
            const double *values = played->cells[row][column].values[measure];
            if (!is_wanted(grid, column))
                continue;
            if (values[0] < 0)
                printf(" %9s", "-");
            else
                bench_print_number(bench_median(values, bench_options.runs));
        }
        print_comparison(played, measure, row);
        putchar('\n');
    }
    putchar('\n');
}

void grid_play(const struct grid *grid)
{
    struct played *played = calloc(1, sizeof *played);
    if (played == NULL)
        bench_die("no memory");
    played->grid = grid;
    bench_print_title(grid->title, grid->about);
    for (int row = 0; row < grid->rows_count; row++)
        play_row(played, row);
    for (int measure = 0; measure < grid->measures_count; measure++)
        print_measure(played, measure);
    if (played->disturbed > 0)
        printf("(others used the processors during %d of %d samples, however often these were "
               "repeated)\n",
               played->disturbed, played->samples);
    free(played);
}
