/* SPDX-License-Identifier: MIT
 * One process, an unbounded queue: the numbers are the arena's own and, beside them, what the
 * kernel says of the process (RssShmem: pages of shared memory that are there). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kin/kin.h>

#include "lib/bench.h"
#include "memory_burst.h"

static uint64_t kernel_says_bytes(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "RssShmem: %llu", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib * 1024;
}

static void print_memory(struct kin_arena *arena, const char *when, int64_t took_ns)
{
    struct kin_arena_stats stats = {.size = sizeof stats};
    bench_must(kin_arena_stat(arena, &stats), "kin_arena_stat");
    printf("%-28s committed %8.2f MB   used %8.2f MB   RssShmem %8.2f MB", when,
           (double)stats.committed_bytes * 1e-6, (double)stats.used_bytes * 1e-6,
           (double)kernel_says_bytes() * 1e-6);
    if (took_ns > 0)
        printf("   in %.3f s", (double)took_ns * 1e-9);
    putchar('\n');
}

static void put_all(struct kin_queue *queue, void *buffer, uint64_t bytes, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        memcpy(buffer, &i, sizeof i);
        bench_must(kin_queue_put(queue, buffer, bytes, KIN_NEVER), "kin_queue_put");
    }
}

static void get_all(struct kin_queue *queue, void *buffer, uint64_t bytes, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        bench_must(kin_queue_get(queue, buffer, bytes, KIN_NOW), "kin_queue_get");
        if (memcmp(buffer, &i, sizeof i) != 0)
            bench_die("message %llu is not what was put", (unsigned long long)i);
    }
}

void memory_burst(uint64_t bytes, uint64_t count)
{
    struct kin_arena *arena;
    struct kin_queue *queue;
    void *buffer = calloc(1, bytes);
    if (buffer == NULL)
        bench_die("no memory");
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_queue_create(arena, NULL, &queue), "kin_queue_create");
    char title[96];
    int length = snprintf(title, sizeof title, "A burst of %llu messages of %llu bytes, %.2f GB",
                          (unsigned long long)count, (unsigned long long)bytes,
                          (double)(bytes * count) * 1e-9);
    printf("\n%s\n%.*s\n", title, length,
           "------------------------------------------------------------------------------------");
    puts("Put into an unbounded queue without a consumer, then all taken out, by one process.\n");
    print_memory(arena, "before", 0);
    int64_t start = bench_now_ns();
    put_all(queue, buffer, bytes, count);
    int64_t middle = bench_now_ns();
    print_memory(arena, "peak: all put", middle - start);
    middle = bench_now_ns();
    get_all(queue, buffer, bytes, count);
    print_memory(arena, "after: all taken", bench_now_ns() - middle);
    if (kin_queue_get(queue, buffer, bytes, kin_after_ms(1000)) != -ETIMEDOUT)
        bench_die("the queue is not empty");
    print_memory(arena, "after: a second of waiting", 0);
    kin_queue_destroy(queue);
    print_memory(arena, "after: queue destroyed", 0);
    kin_arena_detach(arena);
    free(buffer);
}
