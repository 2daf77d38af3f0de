/* SPDX-License-Identifier: MIT
 * Values and arrays against bare memory: one process adds to a number, and copies a million
 * doubles. */
#include "lib/bench.h"
#include "lib/stage.h"
#include "peers/kin_arena.h"
#include "peers/loops.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <kin/array.h>
#include <kin/value.h>

#define DOUBLES 1000000

/* --- add ------------------------------------------------------------------------------------ */

static struct kin_value *value;
static _Atomic int64_t *word;

static void open_value(uint32_t type)
{
    bench_must(
        kin_value_create(kin_peer_arena_open(), &(struct kin_value_opts){.type = type}, &value),
        "kin_value_create");
    word = kin_value_ptr(value);
}

static void close_value(void)
{
    kin_value_destroy(value);
    kin_peer_arena_close();
}

static void add_bare(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        atomic_fetch_add(word, 1);
}

static void add_kin(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        bench_must(kin_value_add(value, 1, NULL), "kin_value_add");
}

static void add_kin_before(uint64_t count)
{
    int64_t before;
    for (uint64_t i = 0; i < count; i++)
        bench_must(kin_value_add(value, 1, &before), "kin_value_add");
}

static void add_kin_locked(uint64_t count)
{
    struct kin_rlock *rlock = kin_value_rlock(value);
    volatile int64_t *number = kin_value_ptr(value);
    for (uint64_t i = 0; i < count; i++) {
        bench_must(kin_rlock_acquire(rlock, KIN_NEVER), "kin_rlock_acquire");
        ++*number;
        bench_must(kin_rlock_release(rlock), "kin_rlock_release");
    }
}

static void add_kin_double(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        bench_must(kin_value_add_double(value, 1, NULL), "kin_value_add_double");
}

struct way {
    void (*add)(uint64_t count);
    uint32_t type;
};

static const struct way bare = {add_bare, 'q'}, plain = {add_kin, 'q'}, small = {add_kin, 'i'},
                        before = {add_kin_before, 'q'}, locked = {add_kin_locked, 'q'},
                        real = {add_kin_double, 'd'};

static void run_add(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    const struct way *way = self->arg;
    open_value(way->type);
    way->add(100);
    int64_t start = bench_now_ns();
    way->add(count);
    ret->seconds = (double)(bench_now_ns() - start) * 1e-9;
    close_value();
}

static void adds(void)
{
    struct bench_contestant list[] = {
        {"bare atomic add", run_add, .arg = &bare, .reference = 1},
        {"kin value, add", run_add, .arg = &plain, .aim = 1.5},
        {"kin value, add, what was before", run_add, .arg = &before, .aim = 1.5},
        {"kin value of 4 bytes, add", run_add, .arg = &small, .aim = 1.5},
        {"kin value, add a double", run_add, .arg = &real},
        {"kin value, ++ under its rlock", run_add, .arg = &locked},
    };
    struct bench_contest contest = {.title = "Value: add 1",
                                    .about = "One process. ratio: to the first one.",
                                    .view = BENCH_NS,
                                    .costs = 1,
                                    .list = list,
                                    .list_count = BENCH_COUNT(list)};
    bench_contest(&contest);
}

/* --- copy ----------------------------------------------------------------------------------- */

static struct kin_array *array;
static double *here, *there; /* private memory */

static void open_array(void)
{
    bench_must(kin_array_create(kin_peer_arena_open(),
                                &(struct kin_array_opts){.type = 'd', .length = DOUBLES}, &array),
               "kin_array_create");
    here = malloc(DOUBLES * sizeof *here);
    there = malloc(DOUBLES * sizeof *there);
    if (here == NULL || there == NULL)
        bench_die("no memory");
    memset(here, 1, DOUBLES * sizeof *here);
    memset(there, 2, DOUBLES * sizeof *there);
}

static void close_array(void)
{
    kin_array_destroy(array);
    kin_peer_arena_close();
    free(here);
    free(there);
}

static void copy_bare(void)
{
    memcpy(there, here, DOUBLES * sizeof *here);
    __asm__ volatile("" ::: "memory");
}

static void copy_in(void)
{
    bench_must(kin_array_write(array, 0, DOUBLES, here), "kin_array_write");
}

static void copy_out(void)
{
    bench_must(kin_array_read(array, 0, DOUBLES, there), "kin_array_read");
}

struct copying {
    void (*copy)(void);
};
static const struct copying by_memcpy = {copy_bare}, in = {copy_in}, out = {copy_out};

static void run_copy(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    const struct copying *copying = self->arg;
    open_array();
    copy_in();
    copying->copy();
    int64_t start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++)
        copying->copy();
    ret->seconds = (double)(bench_now_ns() - start) * 1e-9;
    close_array();
}

static void copies(void)
{
    struct bench_contestant list[] = {
        {"memcpy in private memory", run_copy, .arg = &by_memcpy, .reference = 1},
        {"kin array, write", run_copy, .arg = &in, .aim = 1.1},
        {"kin array, read", run_copy, .arg = &out, .aim = 1.1},
    };
    struct bench_contest contest = {.title = "Array: copy a million doubles",
                                    .about = "8 MB, touched before. ratio: to the first one.",
                                    .view = BENCH_GB,
                                    .bytes = DOUBLES * sizeof(double),
                                    .costs = 1,
                                    .list = list,
                                    .list_count = BENCH_COUNT(list)};
    bench_contest(&contest);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "values and arrays, one process");
    if (bench_options.pin)
        stage_pin(1);
    adds();
    copies();
    return 0;
}
