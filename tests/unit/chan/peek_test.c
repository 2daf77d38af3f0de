/* SPDX-License-Identifier: MIT
 * A look at the next message: it stays, and it is whole, whoever puts and takes meanwhile. */
#include "chan/ring.h"
#include "lib/kin_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MOST_BYTES 700u

static struct kin_arena *arena;
static struct kin_queue *queue;

static void begin(uint64_t max_items)
{
    arena = kt_arena(1 * GIB);
    queue = kt_queue(arena, max_items, 0);
}

static void finish(void)
{
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
}

/* --- alone ---------------------------------------------------------------------------------- */

START_TEST(a_look_leaves_it_there)
{
    char look[16] = "................";
    begin(0);
    KT_IS(kin_queue_peek(queue, look, sizeof look), -EAGAIN);
    KT_IS(kin_queue_next_bytes(queue), -EAGAIN);
    KT_OK(kin_queue_put(queue, "the first", 9, KIN_NEVER));
    KT_OK(kin_queue_put(queue, "the second", 10, KIN_NEVER));
    KT_IS(kin_queue_peek(queue, look, 3), 9);
    ck_assert_mem_eq(look, "the.", 4); /* not more than there is room for */
    KT_IS(kin_queue_peek(queue, NULL, 0), 9);
    KT_IS(kin_queue_peek(queue, NULL, 1), -EINVAL);
    KT_IS(kin_queue_next_bytes(queue), 9);
    KT_IS(kin_queue_size(queue), 2);
    KT_IS(kin_queue_get(queue, look, sizeof look, KIN_NOW), 9);
    KT_IS(kin_queue_peek(queue, look, sizeof look), 10);
    ck_assert_mem_eq(look, "the second", 10);
    KT_OK(kin_queue_shutdown(queue, KIN_AT_ONCE));
    KT_IS(kin_queue_peek(queue, look, sizeof look), -ESHUTDOWN);
    finish();
}
END_TEST

/* A producer died between its claim and its put, and somebody else put after it. */
START_TEST(what_lies_behind_a_tombstone_is_seen)
{
    char look[16];
    begin((uint64_t)_i);
    struct kini_segment_shm *segment = kini_segment_of(arena, kini_load(&queue->shm->put_at));
    uint64_t tail = kini_load(&segment->tail);
    kini_store(&segment->tail, tail + 1);
    kini_store(&queue->shm->skips_made, 1);
    kini_store(&kini_cell(segment, tail)->seq, (tail + 1) | KINI_CELL_SKIP);
    KT_OK(kin_queue_put(queue, "behind", 6, KIN_NOW));
    KT_IS(kin_queue_next_bytes(queue), 6);
    KT_IS(kin_queue_peek(queue, look, sizeof look), 6);
    ck_assert_mem_eq(look, "behind", 6);
    struct kin_wait wait = kin_wait_get(queue);
    KT_IS(kin_wait_any(arena, &wait, 1, KIN_NOW), 0);
    KT_IS(kin_queue_get(queue, look, sizeof look, KIN_NOW), 6);
    KT_IS(kin_queue_next_bytes(queue), -EAGAIN);
    finish();
}
END_TEST

/* --- while others put and take -------------------------------------------------------------- */

static const struct shape {
    uint64_t max_items, messages;
} shapes[] = {{0, 60000}, {1, 20000}, {3, 60000}, {16, 60000}};

static uint64_t messages;
static _Atomic bool over;
static _Atomic uint64_t seen;

/* Of every length, in cells and in blocks; what is in it follows from the number. */
static uint64_t bytes_of(uint64_t number)
{
    return 16 + number * 7919 % (MOST_BYTES - 16);
}

static void *produce(void *unused)
{
    unsigned char message[MOST_BYTES];
    (void)unused;
    for (uint64_t number = 1; number <= messages; number++) {
        uint64_t head[2] = {number, ~number}, bytes = bytes_of(number);
        memcpy(message, head, sizeof head);
        kt_fill(message + 16, bytes - 16, number);
        KT_CHECK(kin_queue_put(queue, message, bytes, KIN_NEVER) == 0);
    }
    return NULL;
}

/* Half of them are taken in place, and spoilt before they are released. */
static void *consume(void *unused)
{
    unsigned char message[MOST_BYTES];
    (void)unused;
    while (atomic_load(&seen) == 0) /* the first, at least */
        sched_yield();
    for (uint64_t number = 1; number <= messages; number++) {
        void *taken;
        if (number % 2 == 0) {
            KT_CHECK(kin_queue_get(queue, message, sizeof message, KIN_NEVER) >= 0);
            continue;
        }
        int64_t bytes = kin_queue_take(queue, &taken, KIN_NEVER);
        KT_CHECK(bytes >= 16);
        memset(taken, 0xee, (size_t)bytes);
        KT_CHECK(kin_queue_release(queue, taken) == 0);
    }
    atomic_store(&over, true);
    return NULL;
}

static void *look(void *unused)
{
    unsigned char message[MOST_BYTES];
    uint64_t head[2], last = 0;
    (void)unused;
    while (!atomic_load(&over)) {
        int64_t bytes = kin_queue_peek(queue, message, sizeof message);
        if (bytes == -EAGAIN)
            continue;
        KT_CHECK(bytes >= 16 && bytes <= (int64_t)sizeof message);
        memcpy(head, message, sizeof head);
        KT_CHECK(head[1] == ~head[0] && head[0] <= messages);
        KT_CHECK((uint64_t)bytes == bytes_of(head[0]));
        KT_CHECK(kt_filled(message + 16, (uint64_t)bytes - 16, head[0]));
        KT_CHECK(head[0] >= last); /* one consumer: never back */
        last = head[0];
        atomic_fetch_add(&seen, 1);
    }
    return NULL;
}

START_TEST(what_is_seen_is_whole)
{
    void *(*const roles[])(void *) = {produce, consume, look, look};
    pthread_t threads[4];
    begin(shapes[_i].max_items);
    messages = shapes[_i].messages;
    over = false;
    seen = 0;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, roles[i], NULL), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/peek");
    TCase *t = kt_case(suite, "alone", 60);
    tcase_add_test(t, a_look_leaves_it_there);
    tcase_add_loop_test(t, what_lies_behind_a_tombstone_is_seen, 0, 4);
    t = kt_case(suite, "others", 200);
    tcase_add_loop_test(t, what_is_seen_is_whole, 0, 4);
    return kt_run(suite);
}
