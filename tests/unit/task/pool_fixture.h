/* SPDX-License-Identifier: MIT
 * An arena, a pool and a few shared words: what the tests of the pool begin with. */
#ifndef KT_POOL_FIXTURE_H
#define KT_POOL_FIXTURE_H

#include "base/atomic.h"
#include "lib/kin_test.h"

#include <pthread.h>
#include <signal.h>

static struct kin_arena *arena;
static struct kin_pool *pool;
static kini_a64 *words; /* shared with the workers: 8192 of them */

static inline void open_with(const struct kin_pool_opts *opts)
{
    words = kt_share(65536);
    arena = kt_arena(8 * GIB);
    KT_OK(kin_pool_create(arena, opts, &pool));
}

static inline void open_pool(uint32_t workers)
{
    const struct kin_pool_opts opts = {.size = sizeof opts, .workers_count = workers};
    open_with(&opts);
}

static inline void close_arena(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536); /* spans of small blocks */
    kin_arena_detach(arena);
    kt_unshare((void *)words, 65536);
}

static inline void close_pool(void)
{
    kin_pool_destroy(pool);
    pool = NULL;
    close_arena();
}

/* The simplest task: a number in, its square out. */
static inline int square(struct kin_task *task)
{
    uint64_t n;
    memcpy(&n, kin_task_arg(task), sizeof n);
    n *= n;
    return kin_task_return(task, &n, sizeof n);
}

static inline void fill_numbers(uint64_t *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        items[i] = i + 3;
}

static inline bool squared(const uint64_t *items, const uint64_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (out[i] != items[i] * items[i])
            return false;
    return true;
}

/* The pool still does what it is for. */
static inline void check_it_works(void)
{
    uint64_t items[100], out[100] = {0};
    fill_numbers(items, 100);
    KT_OK(kin_pool_map(pool, square, KIN_ITEMS(items), KIN_ITEMS(out), KIN_NEVER));
    ck_assert(squared(items, out, 100));
}

#endif
