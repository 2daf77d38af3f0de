/* SPDX-License-Identifier: MIT
 * What most test programs need: Check, the guard, children, random numbers, short forms for kin. */
#ifndef KT_KIN_TEST_H
#define KT_KIN_TEST_H

#include "lib/child.h"
#include "lib/guard.h"
#include "lib/seed.h"

#include <errno.h>
#include <kin/kin.h>
#include <stdlib.h>
#include <string.h>

/* A call that must succeed, or must fail with one error; the sentence is shown if it does not. */
#define KT_OK(call)                                                                                \
    do {                                                                                           \
        long long kt_result = (call);                                                              \
        ck_assert_msg(kt_result >= 0, "%s: %lld (%s; %s)", #call, kt_result,                       \
                      kin_strerror((int)kt_result), kin_error_text());                             \
    } while (0)
#define KT_IS(call, expected)                                                                      \
    do {                                                                                           \
        long long kt_result = (call), kt_expected = (expected);                                    \
        ck_assert_msg(kt_result == kt_expected, "%s: %lld, not %lld (%s)", #call, kt_result,       \
                      kt_expected, kin_error_text());                                              \
    } while (0)

static inline struct kin_arena_stats kt_stat(struct kin_arena *arena)
{
    struct kin_arena_stats stat = {.size = sizeof stat};
    kin_arena_stat(arena, &stat);
    return stat;
}

/* 0: the default. Valgrind looks for leaks in all that is mapped when a child ends: less there. */
static inline struct kin_arena *kt_arena(uint64_t reserve_bytes)
{
    if (reserve_bytes == 0 && kt_under_valgrind())
        reserve_bytes = (uint64_t)64 << 20;
    struct kin_arena *arena = NULL;
    const struct kin_arena_opts opts = {.size = sizeof opts, .reserve_bytes = reserve_bytes};
    KT_OK(kin_arena_create(&opts, &arena));
    return arena;
}

static inline struct kin_queue *kt_queue(struct kin_arena *arena, uint64_t max_items,
                                         uint32_t inline_bytes)
{
    struct kin_queue *queue = NULL;
    const struct kin_queue_opts opts = {
        .size = sizeof opts, .max_items = max_items, .inline_bytes = inline_bytes};
    KT_OK(kin_queue_create(arena, &opts, &queue));
    return queue;
}

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

#endif
