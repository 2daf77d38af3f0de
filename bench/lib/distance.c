/* SPDX-License-Identifier: MIT
 * How far the processors are from one another: two processes pass a word to and fro. */
#include <sched.h>
#include <stdatomic.h>

#include "lib/bench.h"
#include "lib/stage.h"

#define ROUNDS 20000u
#define PARTS  5 /* the quickest counts: the rest is other people's work */

struct words {
    _Alignas(128) _Atomic uint32_t there;
    _Alignas(128) _Atomic uint32_t back;
};

static void pass(struct words *words, int index, uint32_t from, uint32_t to)
{
    _Atomic uint32_t *mine = index == 0 ? &words->there : &words->back;
    _Atomic uint32_t *other = index == 0 ? &words->back : &words->there;
    for (uint32_t i = from; i < to; i++) {
        if (index == 0)
            atomic_store(mine, i + 1);
        while (atomic_load_explicit(other, memory_order_acquire) != i + 1)
            ;
        if (index != 0)
            atomic_store(mine, i + 1);
    }
}

static void part(struct stage *stage, int index, void *arg)
{
    double best = 0;
    stage_pin(index);
    stage_go(stage, index);
    for (uint32_t i = 0; i < PARTS; i++) {
        int64_t start = bench_now_ns();
        pass(arg, index, i * ROUNDS, (i + 1) * ROUNDS);
        double took = (double)(bench_now_ns() - start) / (2.0 * ROUNDS);
        best = i == 0 || took < best ? took : best;
    }
    stage->places[index].value = best;
}

double bench_distance_ns(void)
{
    cpu_set_t mine;
    if (sched_getaffinity(0, sizeof mine, &mine) < 0 || CPU_COUNT(&mine) < 2)
        return 0;
    struct words *words = stage_memory(sizeof *words);
    struct stage *stage = stage_run(2, part, words);
    double ns = stage->places[0].value;
    stage_free(stage);
    stage_memory_free(words, sizeof *words);
    return ns;
}
