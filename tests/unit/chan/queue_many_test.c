/* SPDX-License-Identifier: MIT
 * Many producers, many consumers: nothing lost, nothing twice, the order of each producer kept.
 * The same with threads and with processes. */
#include "lib/kin_test.h"

#include <pthread.h>

#define MOST 8

static struct kin_arena *arena;
static struct kin_queue *queue;

struct shape {
    unsigned producers, consumers;
    uint64_t items; /* of each producer */
    uint64_t max_items;
    uint32_t most_bytes; /* of a message, at least 16 */
};

static const struct shape shapes[] = {
    {1, 1, 200000, 0, 16},   {1, 1, 200000, 1, 16},    {4, 1, 50000, 0, 64},
    {1, 4, 100000, 0, 64},   {4, 4, 50000, 0, 16},     {4, 4, 30000, 1, 16},
    {4, 4, 30000, 3, 100},   {3, 5, 30000, 64, 400},   {2, 2, 30000, 0, 20000},
    {4, 4, 10000, 2, 20000}, {8, 8, 10000, 1000, 200},
};
#define SHAPES ((int)(sizeof shapes / sizeof shapes[0]))

static const struct shape *shape;
static struct result {
    uint64_t count[MOST], sum[MOST]; /* by producer */
} * results;                         /* by consumer, shared */

static void produce(unsigned me, uint64_t items)
{
    struct kt_random random = kt_random_of("produce", me);
    unsigned char message[20016];
    for (uint64_t i = 1; i <= items; i++) {
        uint64_t head[2] = {me, i};
        uint64_t bytes =
            16 + (shape->most_bytes > 16 ? kt_random_size(&random, shape->most_bytes - 16) : 0);
        memcpy(message, head, 16);
        kt_fill(message + 16, bytes - 16, i * MOST + me);
        KT_CHECK(kin_queue_put(queue, message, bytes, KIN_NEVER) == 0);
    }
}

static void consume(unsigned me)
{
    unsigned char message[20016];
    uint64_t last[MOST] = {0};
    for (;;) {
        int64_t bytes = kin_queue_get(queue, message, sizeof message, KIN_NEVER);
        if (bytes == -ESHUTDOWN)
            return;
        KT_CHECK(bytes >= 16);
        uint64_t head[2];
        memcpy(head, message, 16);
        KT_CHECK(head[0] < shape->producers);
        KT_CHECK(kt_filled(message + 16, (uint64_t)bytes - 16, head[1] * MOST + head[0]));
        KT_CHECK(head[1] > last[head[0]]); /* of one producer, one consumer sees them in order */
        last[head[0]] = head[1];
        results[me].count[head[0]]++;
        results[me].sum[head[0]] += head[1];
    }
}

static void begin(int number)
{
    shape = &shapes[number];
    results = kt_share(MOST * sizeof *results);
    arena = kt_arena(2 * GIB);
    queue = kt_queue(arena, shape->max_items, 0);
}

static void finish(uint64_t items)
{
    for (unsigned p = 0; p < shape->producers; p++) {
        uint64_t count = 0, sum = 0;
        for (unsigned c = 0; c < shape->consumers; c++) {
            count += results[c].count[p];
            sum += results[c].sum[p];
        }
        ck_assert_uint_eq(count, items);
        ck_assert_uint_eq(sum, items * (items + 1) / 2);
    }
    KT_IS(kin_queue_size(queue), 0);
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
    kt_unshare(results, MOST * sizeof *results);
}

/* --- threads -------------------------------------------------------------------------------- */

static uint64_t thread_items;

static void *producer_thread(void *number)
{
    produce((unsigned)(uintptr_t)number, thread_items);
    return NULL;
}

static void *consumer_thread(void *number)
{
    consume((unsigned)(uintptr_t)number);
    return NULL;
}

START_TEST(threads)
{
    begin(_i);
    thread_items = (uint64_t)kt_scaled((int)shape->items / 2);
    pthread_t producers[MOST], consumers[MOST];
    for (uintptr_t i = 0; i < shape->consumers; i++)
        ck_assert_int_eq(pthread_create(&consumers[i], NULL, consumer_thread, (void *)i), 0);
    for (uintptr_t i = 0; i < shape->producers; i++)
        ck_assert_int_eq(pthread_create(&producers[i], NULL, producer_thread, (void *)i), 0);
    for (unsigned i = 0; i < shape->producers; i++)
        pthread_join(producers[i], NULL);
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    for (unsigned i = 0; i < shape->consumers; i++)
        pthread_join(consumers[i], NULL);
    finish(thread_items);
}
END_TEST

/* --- processes ------------------------------------------------------------------------------ */

static int producer_process(void *number)
{
    produce((unsigned)(uintptr_t)number, (uint64_t)kt_scaled((int)shape->items));
    kin_arena_detach(arena);
    return 0;
}

static int consumer_process(void *number)
{
    consume((unsigned)(uintptr_t)number);
    kin_arena_detach(arena);
    return 0;
}

START_TEST(processes)
{
    begin(_i);
    pid_t producers[MOST], consumers[MOST];
    for (uintptr_t i = 0; i < shape->consumers; i++)
        consumers[i] = kt_fork(consumer_process, (void *)i);
    for (uintptr_t i = 0; i < shape->producers; i++)
        producers[i] = kt_fork(producer_process, (void *)i);
    for (unsigned i = 0; i < shape->producers; i++)
        ck_assert_int_eq(kt_wait(producers[i]), 0);
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    for (unsigned i = 0; i < shape->consumers; i++)
        ck_assert_int_eq(kt_wait(consumers[i]), 0);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    ck_assert_uint_eq(kt_stat(arena).deaths_count, 0);
    finish((uint64_t)kt_scaled((int)shape->items));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/queue_many");
    TCase *t = kt_case(suite, "threads", 60);
    tcase_add_loop_test(t, threads, 0, SHAPES);
    if (!KT_THREAD_SANITIZER) {
        t = kt_case(suite, "processes", 60);
        tcase_add_loop_test(t, processes, 0, SHAPES);
    }
    return kt_run(suite);
}
