/* SPDX-License-Identifier: MIT
 * A million items put into a priority queue and got again, in order. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kin/kin.h>

#include "lib/bench.h"
#include "lib/stage.h"

#define ITEMS 1000000u

struct item {
    int64_t priority;
    uint64_t number; /* equals leave as they came */
};

/* The same for all; the sequence is that of peers/priority.py, too. */
static int64_t priority_of(uint64_t number)
{
    uint64_t z = (number + 1) * 0x9e3779b97f4a7c15ull;
    return (int64_t)((z ^ z >> 31) % ITEMS);
}

static void check_order(const struct item *before, const struct item *item, const char *who)
{
    if (item->priority < before->priority ||
        (item->priority == before->priority && item->number < before->number))
        bench_die("%s: out of order", who);
}

/* --- kin ------------------------------------------------------------------------------------ */

static void run_kin(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    const struct kin_queue_opts opts = {.kind = KIN_PRIORITY};
    struct kin_arena *arena;
    struct kin_queue *queue;
    struct item before = {0}, item;
    bench_must(kin_arena_create(NULL, &arena), "kin_arena_create");
    bench_must(kin_queue_create(arena, &opts, &queue), "kin_queue_create");
    int64_t start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        item = (struct item){priority_of(i), i};
        bench_must(kin_queue_put_prio(queue, &item, sizeof item, item.priority, KIN_NEVER), "put");
    }
    for (uint64_t i = 0; i < count; i++, before = item) {
        bench_must(kin_queue_get(queue, &item, sizeof item, KIN_NOW), "get");
        check_order(&before, &item, self->name);
    }
    ret->seconds = (double)(bench_now_ns() - start) * 1e-9;
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
}

/* --- a heap under a mutex ------------------------------------------------------------------- */

struct heap { /* in shared memory */
    pthread_mutex_t mutex;
    uint64_t count;
    struct item items[];
};

static int is_before(const struct item *a, const struct item *b)
{
    return a->priority < b->priority || (a->priority == b->priority && a->number < b->number);
}

static void heap_put(struct heap *heap, struct item item)
{
    pthread_mutex_lock(&heap->mutex);
    uint64_t at = heap->count++;
    for (; at > 0 && is_before(&item, &heap->items[(at - 1) / 2]); at = (at - 1) / 2)
        heap->items[at] = heap->items[(at - 1) / 2];
    heap->items[at] = item;
    pthread_mutex_unlock(&heap->mutex);
}

static struct item heap_get(struct heap *heap)
{
    pthread_mutex_lock(&heap->mutex);
    struct item first = heap->items[0], last = heap->items[--heap->count];
    uint64_t at = 0, child;
    while ((child = 2 * at + 1) < heap->count) {
        if (child + 1 < heap->count && is_before(&heap->items[child + 1], &heap->items[child]))
            child++;
        if (!is_before(&heap->items[child], &last))
            break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = last;
    pthread_mutex_unlock(&heap->mutex);
    return first;
}

static struct heap *heap_new(uint64_t bytes)
{
    struct heap *heap = stage_memory(bytes);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&heap->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    return heap;
}

static void run_heap(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    uint64_t bytes = sizeof(struct heap) + count * sizeof(struct item);
    struct heap *heap = heap_new(bytes);
    struct item before = {0}, item;
    int64_t start = bench_now_ns();
    for (uint64_t i = 0; i < count; i++)
        heap_put(heap, (struct item){priority_of(i), i});
    for (uint64_t i = 0; i < count; i++, before = item) {
        item = heap_get(heap);
        check_order(&before, &item, self->name);
    }
    ret->seconds = (double)(bench_now_ns() - start) * 1e-9;
    stage_memory_free(heap, bytes);
}

/* --- Python --------------------------------------------------------------------------------- */

/* It prints the seconds. arg: the kind. */
static void run_python(const struct bench_contestant *self, uint64_t count,
                       struct bench_sample *ret)
{
    char command[512];
    ret->seconds = -1;
    snprintf(command, sizeof command, "python3 '%s' %s %llu", BENCH_PRIORITY_PY,
             (const char *)self->arg, (unsigned long long)count);
    FILE *output = popen(command, "re");
    if (output == NULL || fscanf(output, "%lf", &ret->seconds) != 1)
        ret->seconds = -1;
    if (output != NULL)
        pclose(output);
}

int main(int argc, char **argv)
{
    struct bench_contestant list[] = {
        {"kin queue, KIN_PRIORITY", .run = run_kin, .aim_ns = 1000, .reference = 1},
        {"a heap, a shared pthread mutex", .run = run_heap},
        {"Python heapq", .run = run_python, .arg = "heapq"},
        {"Python queue.PriorityQueue", .run = run_python, .arg = "PriorityQueue"},
    };
    struct bench_contest contest = {
        .title = "A million items put, then a million got",
        .about = "16 bytes an item, random priorities, equals in the order in which they came;\n"
                 "one process. Time of one put and one get. The heap has a fixed size, lies in\n"
                 "shared memory and is lost with whoever dies in it; Python's are private.",
        .view = BENCH_NS,
        .list = list,
        .list_count = BENCH_COUNT(list),
    };
    for (int i = 0; i < contest.list_count; i++)
        list[i].count_first = list[i].count_most = ITEMS;
    bench_begin(argc, argv, "a priority queue of a million items");
    bench_contest(&contest);
    return 0;
}
