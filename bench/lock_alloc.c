/* SPDX-License-Identifier: MIT
 * The internal lock without contention, and the allocator's fast path. One thread; the only
 * benchmark that looks inside the library. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <kin/kin.h>

#include "arena/block.h"
#include "arena/ilock.h"
#include "lib/bench.h"
#include "lib/stage.h"

static struct kin_arena *arena;
static struct kini_self *self;

static void took(struct bench_sample *ret, int64_t start_ns)
{
    ret->seconds = (double)(bench_now_ns() - start_ns) * 1e-9;
}

/* --- locks ---------------------------------------------------------------------------------- */

static void run_ilock(const struct bench_contestant *c, uint64_t count, struct bench_sample *ret)
{
    uint64_t off;
    (void)c;
    bench_must(kini_block_get(self, 128, &off), "kini_block_get");
    struct kini_ilock_shm *lock = kini_at(arena, (off + 63) / 64 * 64);
    kini_ilock_init(lock, KINI_ILOCK_QUEUE);
    int64_t start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        kini_ilock_lock(self, lock);
        kini_ilock_unlock(self, lock);
    }
    took(ret, start);
    kini_block_put(self, off);
}

static void run_mutex(const struct bench_contestant *c, uint64_t count, struct bench_sample *ret)
{
    pthread_mutex_t *mutex = stage_memory(sizeof *mutex);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, (int)c->number);
    pthread_mutex_init(mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    int64_t start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        pthread_mutex_lock(mutex);
        pthread_mutex_unlock(mutex);
    }
    took(ret, start);
    pthread_mutex_destroy(mutex);
    stage_memory_free(mutex, sizeof *mutex);
}

static void locks(void)
{
    struct bench_contestant list[] = {
        {"kin's internal lock", .run = run_ilock, .aim_ns = 15, .reference = 1},
        {"pthread mutex, shared", .run = run_mutex, .number = PTHREAD_MUTEX_STALLED},
        {"pthread mutex, shared and robust", .run = run_mutex, .number = PTHREAD_MUTEX_ROBUST},
    };
    struct bench_contest contest = {
        .title = "Lock and unlock, no contention",
        .about =
            "In memory that processes share. kin's survives its holder's death, as the robust\n"
            "mutex does. ratio: how many times as fast the first one is.",
        .view = BENCH_NS,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    bench_contest(&contest);
}

/* --- blocks --------------------------------------------------------------------------------- */

#define HELD 32u /* blocks at a time: free ones come and go as in a program */

#define ALLOC_LOOP(count, type, alloc, free)                                                       \
    type held[HELD];                                                                               \
    int64_t start = bench_now_ns();                                                                \
    for (uint64_t i = 0; i < (count); i += HELD) {                                                 \
        for (uint32_t k = 0; k < HELD; k++) {                                                      \
            alloc;                                                                                 \
            __asm__ volatile("" ::"r"(held[k]) : "memory");                                        \
        }                                                                                          \
        for (uint32_t k = 0; k < HELD; k++)                                                        \
            free;                                                                                  \
    }                                                                                              \
    took(ret, start);                                                                              \
    ret->seconds *= (double)(count) / (double)(((count) + HELD - 1) / HELD * HELD)

static void run_inside(const struct bench_contestant *c, uint64_t count, struct bench_sample *ret)
{
    ALLOC_LOOP(count, uint64_t,
               if (kini_block_get(self, c->number, &held[k]) < 0) bench_die("no block"),
               kini_block_put(self, held[k]));
}

static void run_public(const struct bench_contestant *c, uint64_t count, struct bench_sample *ret)
{
    ALLOC_LOOP(count, void *,
               if (kin_block_alloc(arena, c->number, &held[k]) < 0) bench_die("no block"),
               kin_block_free(arena, held[k]));
}

static void run_malloc(const struct bench_contestant *c, uint64_t count, struct bench_sample *ret)
{
    ALLOC_LOOP(count, void *, if ((held[k] = malloc(c->number)) == NULL) bench_die("no memory"),
               free(held[k]));
}

static void blocks(const char *title, uint64_t bytes, double aim_ns)
{
    struct bench_contestant list[] = {
        {"kin, inside", .run = run_inside, .aim_ns = aim_ns, .reference = 1},
        {"kin_block_alloc, kin_block_free", .run = run_public, .aim_ns = aim_ns},
        {"malloc, free", .run = run_malloc},
    };
    struct bench_contest contest = {
        .title = title,
        .about =
            "32 are allocated, then freed, and so on: time for one allocation and one freeing.\n"
            "kin's is shared memory, and the blocks of a process that dies are freed; malloc's\n"
            "is private. ratio: how many times as fast the first one is.",
        .view = BENCH_NS,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    for (int i = 0; i < contest.list_count; i++)
        list[i].number = bytes;
    bench_contest(&contest);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "the internal lock and the block allocator, one thread");
    if (bench_options.pin)
        stage_pin(1);
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    self = kini_enter(arena);
    if (self == NULL)
        bench_must(kini_enter_error(), "kini_enter");
    locks();
    blocks("Allocate and free 64 bytes", 64, 10);
    blocks("Allocate and free 1000 bytes", 1000, 0);
    kin_arena_detach(arena);
    return 0;
}
