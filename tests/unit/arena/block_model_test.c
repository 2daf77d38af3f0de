/* SPDX-License-Identifier: MIT
 * Blocks of random sizes and lifetimes, each full of a pattern of its own: in one thread, freed by
 * other threads, and carried to other processes and freed there. */
#include "arena/arena.h"
#include "lib/kin_test.h"

#include <pthread.h>

#define SLOTS      400
#define MOST_BYTES (120 * MIB)

static struct kin_arena *arena;

struct held {
    unsigned char *ptr;
    uint64_t bytes, key;
};

/* The pattern covers both ends of large blocks, all of small ones. */
static void stamp(struct held *block)
{
    if (block->bytes <= 8192) {
        kt_fill(block->ptr, block->bytes, block->key);
    } else {
        kt_fill(block->ptr, 4096, block->key);
        kt_fill(block->ptr + block->bytes - 4096, 4096, ~block->key);
    }
}

static bool intact(const struct held *block)
{
    if (block->bytes <= 8192)
        return kt_filled(block->ptr, block->bytes, block->key);
    return kt_filled(block->ptr, 4096, block->key) &&
           kt_filled(block->ptr + block->bytes - 4096, 4096, ~block->key);
}

static void live_and_die(struct kt_random *random, int steps, uint64_t most_bytes)
{
    struct held *held = calloc(SLOTS, sizeof *held);
    uint64_t total = 0;
    for (int i = 0; i < steps; i++) {
        struct held *block = &held[kt_random_below(random, SLOTS)];
        if (block->ptr != NULL) {
            KT_CHECK(intact(block));
            KT_CHECK(kin_block_free(arena, block->ptr) == 0);
            total -= block->bytes;
            block->ptr = NULL;
        }
        uint64_t bytes = kt_random_size(random, kt_random_below(random, 20) ? 40000 : 20 * MIB);
        if (total + bytes > most_bytes)
            continue;
        *block = (struct held){.bytes = bytes, .key = kt_random_next(random)};
        KT_CHECK(kin_block_alloc(arena, bytes, (void **)&block->ptr) == 0);
        KT_CHECK((uintptr_t)block->ptr % (bytes >= 32768 ? 64 : 16) == 0);
        stamp(block);
        total += bytes;
    }
    for (int i = 0; i < SLOTS; i++) {
        KT_CHECK(held[i].ptr == NULL || intact(&held[i]));
        KT_CHECK(kin_block_free(arena, held[i].ptr) == 0);
    }
    free(held);
}

START_TEST(one_thread)
{
    arena = kt_arena(1 * GIB);
    struct kt_random random = kt_random_of("one_thread", 0);
    live_and_die(&random, kt_scaled(150000), MOST_BYTES);
    kin_arena_detach(arena);
}
END_TEST

static void *thread_lives(void *number)
{
    struct kt_random random = kt_random_of("thread_lives", (uint64_t)(uintptr_t)number);
    live_and_die(&random, kt_scaled(30000), MOST_BYTES / 4);
    return NULL;
}

START_TEST(several_threads)
{
    arena = kt_arena(1 * GIB);
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, thread_lives, (void *)i), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_le(kt_stat(arena).used_bytes, MIB); /* all threads ended: all was free */
    kin_arena_detach(arena);
}
END_TEST

/* --- freed by another thread ---------------------------------------------------------------- */

static struct {
    _Atomic(unsigned char *) ptr;
    uint64_t bytes, key;
} handed[64];
static _Atomic int done;

static void *free_what_others_made(void *unused)
{
    (void)unused;
    for (uint64_t i = 0; !done || i % 64 != 0; i++) {
        unsigned char *ptr = handed[i % 64].ptr;
        if (ptr == NULL) {
            if (i % 64 == 63)
                sched_yield();
            continue;
        }
        struct held block = {ptr, handed[i % 64].bytes, handed[i % 64].key};
        handed[i % 64].ptr = NULL; /* the place may be used again from here on */
        KT_CHECK(intact(&block));
        KT_CHECK(kin_block_free(arena, ptr) == 0);
    }
    return NULL;
}

START_TEST(freed_by_another_thread)
{
    arena = kt_arena(256 * MIB);
    struct kt_random random = kt_random_of("freed_by_another_thread", 0);
    pthread_t thread;
    done = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, free_what_others_made, NULL), 0);
    uint64_t most_used = 0;
    for (int i = 0; i < kt_scaled(200000); i++) {
        uint64_t at = kt_random_below(&random, 64);
        if (handed[at].ptr != NULL) {
            if (at % 8 == 0)
                sched_yield();
            continue;
        }
        struct held block = {.bytes = kt_random_size(&random, 50000),
                             .key = kt_random_next(&random)};
        KT_CHECK(kin_block_alloc(arena, block.bytes, (void **)&block.ptr) == 0);
        stamp(&block);
        handed[at].bytes = block.bytes;
        handed[at].key = block.key;
        handed[at].ptr = block.ptr;
        if (i % 1000 == 0) {
            uint64_t used = kt_stat(arena).used_bytes;
            most_used = used > most_used ? used : most_used;
        }
    }
    done = 1;
    pthread_join(thread, NULL);
    /* 64 blocks live at any time: remote frees must come back to the owner. Each of the 39 sizes
     * may keep a few spans. */
    ck_assert_uint_le(most_used, 39 * 4 * 65536 + 64 * 131072);
    for (int i = 0; i < 64; i++)
        KT_OK(kin_block_free(arena, handed[i].ptr));
    kin_arena_detach(arena);
}
END_TEST

/* --- carried to another process by a queue, and freed there ---------------------------------- */

static int drain(void *queue)
{
    static unsigned char text[60000];
    for (;;) {
        int64_t bytes = kin_queue_get(queue, text, sizeof text, KIN_NEVER);
        if (bytes == -ESHUTDOWN)
            break;
        KT_CHECK(bytes > 8);
        uint64_t key;
        memcpy(&key, text, 8);
        KT_CHECK(kt_filled(text + 8, (uint64_t)bytes - 8, key));
    }
    kin_arena_detach(arena);
    return 0;
}

START_TEST(freed_by_another_process)
{
    arena = kt_arena(256 * MIB);
    struct kt_random random = kt_random_of("freed_by_another_process", 0);
    struct kin_queue *queue = kt_queue(arena, 50, 0);
    uint64_t used = kt_stat(arena).used_bytes, most_used = 0;
    pid_t pids[2] = {kt_fork(drain, queue), kt_fork(drain, queue)};
    static unsigned char text[60000];
    for (int i = 0; i < kt_scaled(50000); i++) {
        uint64_t bytes = 8 + kt_random_size(&random, 50000), key = kt_random_next(&random);
        memcpy(text, &key, 8);
        kt_fill(text + 8, bytes - 8, key);
        KT_CHECK(kin_queue_put(queue, text, bytes, KIN_NEVER) == 0 || bytes == 8);
        uint64_t now = kt_stat(arena).used_bytes;
        most_used = now > most_used ? now : most_used;
    }
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    ck_assert_int_eq(kt_wait(pids[0]), 0);
    ck_assert_int_eq(kt_wait(pids[1]), 0);
    ck_assert_uint_le(most_used, used + 39 * 4 * 65536 + 60 * 131072);
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena/block_model");
    TCase *t = kt_case(suite, "threads", 60);
    tcase_add_test(t, one_thread);
    tcase_add_test(t, several_threads);
    tcase_add_test(t, freed_by_another_thread);
    if (!KT_THREAD_SANITIZER) {
        t = kt_case(suite, "processes", 60);
        tcase_add_test(t, freed_by_another_process);
    }
    return kt_run(suite);
}
