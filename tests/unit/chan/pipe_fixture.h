/* SPDX-License-Identifier: MIT
 * A pipe in an arena of its own, for tests in one process. */
#ifndef PIPE_FIXTURE_H
#define PIPE_FIXTURE_H

#include "arena/arena.h"
#include "chan/pipe.h"
#include "lib/kin_test.h"

#include <pthread.h>

static struct kin_arena *arena;
static struct kin_pipe *a, *b;

static void begin(uint32_t flags, uint64_t capacity)
{
    arena = kt_arena(kt_under_valgrind() ? 256 * MIB : 1 * GIB);
    const struct kin_pipe_opts opts = {
        .size = sizeof opts, .flags = flags, .capacity_bytes = capacity, .name = "the pipe"};
    KT_OK(kin_pipe_create(arena, &opts, &a, &b));
    ck_assert_uint_eq(kt_stat(arena).objects_count, 3);
}

static void finish(void)
{
    kin_pipe_close(a);
    kin_pipe_close(b);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536);
    kin_arena_detach(arena);
}

static void *start(void *(*fn)(void *), void *arg, pthread_t *ret_thread)
{
    ck_assert_int_eq(pthread_create(ret_thread, NULL, fn, arg), 0);
    return NULL;
}

#endif
