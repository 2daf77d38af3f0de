/* SPDX-License-Identifier: MIT
 * Queues that are no plain ring: their order, their bounds, who waits for whom, shutdown, join. */
#include "chan/heap.h"
#include "chan/store.h"
#include "lib/kin_test.h"

#include <pthread.h>

static struct kin_arena *arena;
static struct kin_queue *queue;

static void make(struct kin_queue_opts opts)
{
    arena = kt_arena(1 * GIB);
    KT_OK(kin_queue_create(arena, &opts, &queue));
}

static void finish(void)
{
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    kin_arena_detach(arena);
}

static void put_number(uint64_t number)
{
    KT_CHECK(kin_queue_put(queue, &number, sizeof number, KIN_NEVER) == 0);
}

static uint64_t get_number(void)
{
    uint64_t number = UINT64_MAX;
    KT_CHECK(kin_queue_get(queue, &number, sizeof number, KIN_NEVER) == sizeof number);
    return number;
}

static void says(const char *word)
{
    ck_assert_msg(strstr(kin_error_text(), word) != NULL, "\"%s\" lacks \"%s\"", kin_error_text(),
                  word);
}

/* --- order ---------------------------------------------------------------------------------- */

START_TEST(the_newest_first)
{
    make((struct kin_queue_opts){.kind = KIN_LIFO});
    for (uint64_t i = 0; i < 1000; i++)
        put_number(i);
    for (uint64_t i = 1000; i-- > 500;)
        ck_assert_uint_eq(get_number(), i);
    put_number(7777);
    ck_assert_uint_eq(get_number(), 7777);
    for (uint64_t i = 500; i-- > 0;)
        ck_assert_uint_eq(get_number(), i);
    finish();
}
END_TEST

START_TEST(the_smallest_priority_first_and_stable)
{
    make((struct kin_queue_opts){.kind = KIN_PRIORITY});
    static const int64_t priorities[] = {INT64_MAX, 0, -1, INT64_MIN, 1};
    for (uint64_t i = 0; i < 1000; i++)
        KT_OK(kin_queue_put_prio(queue, &i, sizeof i, priorities[i % 5], KIN_NEVER));
    static const uint64_t order[] = {3, 2, 1, 4, 0};
    for (uint64_t group = 0; group < 5; group++)
        for (uint64_t i = order[group]; i < 1000; i += 5)
            ck_assert_uint_eq(get_number(), i);
    finish();
}
END_TEST

/* By priority, then by key, then as they came; none goes before all keys. */
START_TEST(keys_sort_what_is_of_one_priority)
{
    static const struct {
        int64_t priority;
        const char *key;
        size_t bytes;
    } sorted[] = {{-1, "\xff\xff", 2}, {0, NULL, 0},  {0, "\0", 1},   {0, "\0\0", 2},
                  {0, "a", 1},         {0, "a\0", 2}, {0, "a\0b", 3}, {0, "aa", 2},
                  {0, "aaa", 3},       {0, "b", 1},   {0, "\x80", 1}, {0, "\x80\xff", 2},
                  {1, "\0\0\0\0", 4}};
    enum { COUNT = sizeof sorted / sizeof *sorted };
    make((struct kin_queue_opts){.kind = KIN_PRIORITY, .max_bytes = 2 * COUNT * sizeof(uint64_t)});
    for (uint64_t round = 0; round < 2; round++)
        for (uint64_t i = 0; i < COUNT; i++) {
            uint64_t at = (i * 5 + 3) % COUNT, number = at * 2 + round;
            const struct kin_queue_key key = {sorted[at].priority, sorted[at].key,
                                              sorted[at].bytes};
            KT_OK(kin_queue_put_key(queue, &number, sizeof number, &key, KIN_NOW));
        }
    KT_IS(kin_queue_bytes(queue), 2 * COUNT * sizeof(uint64_t));
    for (uint64_t i = 0; i < 2 * COUNT; i++)
        ck_assert_uint_eq(get_number(), i);
    finish();
}
END_TEST

/* What is given back goes where its key says; kept memory has no key any more. */
START_TEST(keys_stay_with_messages)
{
    static char text[70000];
    void *taken[3];
    make((struct kin_queue_opts){.kind = KIN_PRIORITY});
    for (uint64_t i = 0; i < 3; i++) {
        memset(text, 'a' + (int)i, 3000);
        const struct kin_queue_key key = {.data = text, .bytes = 3000 - i};
        KT_OK(kin_queue_put_key(queue, text, sizeof text, &key, KIN_NOW));
    }
    for (uint64_t i = 0; i < 3; i++) {
        KT_IS(kin_queue_take(queue, &taken[i], KIN_NOW), sizeof text);
        ck_assert_int_eq(*(char *)taken[i], 'a' + (int)i);
    }
    KT_OK(kin_queue_keep(queue, taken[2]));
    KT_OK(kin_queue_publish(queue, taken[2], 70000, KIN_NOW));
    struct kin_queue *other;
    struct kin_queue_opts opts = {.kind = KIN_PRIORITY};
    KT_OK(kin_queue_create(arena, &opts, &other));
    KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NOW), sizeof text);
    ck_assert_int_eq(text[0], 'c');
    const struct kin_queue_key key = {.data = "k", .bytes = 1};
    KT_IS(kin_queue_put_key(queue, NULL, 1, &key, KIN_NOW), -EINVAL);
    KT_IS(kin_queue_put_key(queue, "", 0, &(struct kin_queue_key){.bytes = 1}, KIN_NOW), -EINVAL);
    KT_OK(kin_queue_put_key(queue, NULL, 0, &key, KIN_NOW));
    KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NOW), 0);
    /* published: the key needs room; refused, it stays ours */
    KT_OK(kin_queue_reserve(queue, 1000, &taken[0]));
    memset(taken[0], 'p', 1000);
    KT_IS(kin_queue_publish_key(queue, taken[0], 1u << 20, &key, KIN_NOW), -EINVAL);
    KT_IS(kin_queue_publish_key(queue, taken[0], SIZE_MAX, &key, KIN_NOW), -EINVAL);
    KT_OK(kin_queue_publish_key(queue, taken[0], 1000 - KIN_QUEUE_KEY_HEAD - 1, &key, KIN_NOW));
    KT_OK(kin_queue_put_key(queue, "j", 1, &(struct kin_queue_key){.data = "j", .bytes = 1},
                            KIN_NOW));
    KT_OK(kin_queue_put_key(queue, "l", 1, &(struct kin_queue_key){.data = "l", .bytes = 1},
                            KIN_NOW));
    KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NOW), 1);
    KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NOW), 1000 - KIN_QUEUE_KEY_HEAD - 1);
    ck_assert_int_eq(text[994], 'p');
    KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NOW), 1);
    ck_assert_int_eq(text[0], 'l');
    kin_queue_destroy(other);
    KT_OK(kin_queue_create(arena, &(struct kin_queue_opts){.kind = KIN_LIFO}, &other));
    KT_IS(kin_queue_put_key(other, "x", 1, &key, KIN_NOW), -EINVAL);
    says("KIN_PRIORITY");
    kin_queue_destroy(other);
    finish();
}
END_TEST

START_TEST(wrong_options)
{
    arena = kt_arena(1 * GIB);
    KT_IS(kin_queue_create(arena, &(struct kin_queue_opts){.kind = 3}, &queue), -EINVAL);
    says("3");
    KT_IS(kin_queue_create(arena, &(struct kin_queue_opts){.joinable = 2}, &queue), -EINVAL);
    KT_OK(kin_queue_create(arena, &(struct kin_queue_opts){.kind = KIN_LIFO}, &queue));
    KT_IS(kin_queue_put_prio(queue, "x", 1, 0, KIN_NOW), -EINVAL);
    says("KIN_PRIORITY");
    KT_IS(kin_queue_task_done(queue), -EINVAL);
    says("joinable");
    KT_IS(kin_queue_join(queue, KIN_NOW), -EINVAL);
    KT_IS(kin_queue_unfinished(queue), -EINVAL);
    KT_IS(kin_queue_put(queue, NULL, 3, KIN_NOW), -EINVAL);
    KT_IS(kin_queue_peek(queue, NULL, 3), -EINVAL);
    KT_IS(kin_queue_peek(queue, NULL, 0), -EAGAIN);
    finish();
}
END_TEST

/* --- bounds --------------------------------------------------------------------------------- */

START_TEST(bounded_in_bytes)
{
    char text[101] = {0};
    make((struct kin_queue_opts){.max_bytes = 100});
    KT_IS(kin_queue_put(queue, text, 101, KIN_NEVER), -EMSGSIZE);
    says("101");
    says("100");
    KT_OK(kin_queue_try_put(queue, text, 60));
    KT_IS(kin_queue_try_put(queue, text, 41), -EAGAIN);
    KT_OK(kin_queue_try_put(queue, text, 40));
    KT_IS(kin_queue_is_full(queue), 1);
    KT_IS(kin_queue_try_put(queue, text, 0), -EAGAIN);
    KT_IS(kin_queue_bytes(queue), 100);
    KT_IS(kin_queue_try_get(queue, text, 59), -EMSGSIZE);
    KT_IS(kin_queue_try_get(queue, text, 60), 60);
    KT_OK(kin_queue_try_put(queue, text, 0));
    KT_IS(kin_queue_size(queue), 2);
    finish();
}
END_TEST

START_TEST(no_memory_for_a_message)
{
    make((struct kin_queue_opts){.kind = KIN_LIFO});
    put_number(1);
    KT_IS(kin_queue_try_put(queue, &arena, 2 * GIB), -EMSGSIZE);
    KT_IS(kin_queue_try_put(queue, &arena, kt_stat(arena).reserved_bytes), -EMSGSIZE);
    KT_IS(kin_queue_size(queue), 1);
    ck_assert_uint_eq(get_number(), 1);
    finish();
}
END_TEST

static void *put_large(void *arg)
{
    char text[100] = {1};
    KT_CHECK(kin_queue_put(queue, text, 100, KIN_NEVER) == 0);
    return arg;
}

static void *put_small_until_told(void *arg)
{
    atomic_uint *stop = arg;
    while (atomic_load(stop) == 0)
        KT_CHECK(kin_queue_put(queue, arg, 4, KIN_NEVER) == 0);
    return arg;
}

/* Small messages keep the queue nearly full; the large one comes in all the same. */
START_TEST(a_large_message_does_not_starve)
{
    make((struct kin_queue_opts){.max_bytes = 100});
    atomic_uint stop = 0;
    pthread_t large, small[3];
    char text[100];
    for (int i = 0; i < 3; i++)
        pthread_create(&small[i], NULL, put_small_until_told, &stop);
    KT_UNTIL(kin_queue_is_full(queue) == 1);
    pthread_create(&large, NULL, put_large, NULL);
    while (kin_queue_get(queue, text, sizeof text, KIN_NEVER) != 100)
        ;
    atomic_store(&stop, 1);
    pthread_join(large, NULL);
    for (int i = 0; i < 3; i++) {
        while (pthread_tryjoin_np(small[i], NULL) != 0)
            (void)!kin_queue_try_get(queue, text, sizeof text);
    }
    finish();
}
END_TEST

static void *put_one_in_time(void *arg)
{
    return (void *)(intptr_t)kin_queue_put(queue, arg, 100, kin_after_ms(100));
}

/* The first waits for more room than there is, in vain; the one behind it fits and goes then. */
START_TEST(who_gives_up_lets_the_next_go)
{
    static char text[100];
    make((struct kin_queue_opts){.max_bytes = 100});
    pthread_t first, second;
    void *result;
    atomic_uint stop = 1;
    KT_OK(kin_queue_put(queue, text, 50, KIN_NEVER));
    pthread_create(&first, NULL, put_one_in_time, text);
    KT_UNTIL(kini_load_sc(&queue->shm->putters.nwait) == 1);
    pthread_create(&second, NULL, put_small_until_told, &stop);
    pthread_join(first, &result);
    ck_assert_int_eq((int)(intptr_t)result, -ETIMEDOUT);
    pthread_join(second, NULL);
    finish();
}
END_TEST

/* --- memory --------------------------------------------------------------------------------- */

START_TEST(grows_and_shrinks)
{
    make((struct kin_queue_opts){.kind = KIN_PRIORITY});
    uint64_t before = kt_stat(arena).used_bytes;
    const uint64_t count = (uint64_t)kt_scaled(200000);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t key = i * 7919 % count;
        KT_OK(kin_queue_put_prio(queue, &key, sizeof key, (int64_t)key, KIN_NOW));
    }
    KT_IS(kin_queue_size(queue), (long long)count);
    for (uint64_t last = 0, i = 0; i < count; i++) {
        uint64_t key = get_number();
        ck_assert_uint_ge(key, last);
        last = key;
    }
    KT_IS((long long)kini_load(&kini_store_of(arena, queue->shm)->cap), KINI_HEAP_LEAST);
    kini_block_caches_trim(kini_enter(arena));
    ck_assert_uint_le(kt_stat(arena).used_bytes, before + 4 * 65536);
    finish();
}
END_TEST

/* --- threads -------------------------------------------------------------------------------- */

#define THREADS 3
#define EACH    1000

static atomic_ullong sum;

static void *produce(void *arg)
{
    for (uint64_t i = 1; i <= EACH; i++)
        put_number((uintptr_t)arg * EACH + i);
    return NULL;
}

static void *consume(void *arg)
{
    uint64_t number;
    int64_t r;
    while ((r = kin_queue_get(queue, &number, sizeof number, KIN_NEVER)) >= 0) {
        atomic_fetch_add(&sum, number);
        if (arg != NULL)
            KT_CHECK(kin_queue_task_done(queue) == 0);
    }
    KT_CHECK(r == -ESHUTDOWN);
    return NULL;
}

/* By number of the test: kinds, bounded and not, joinable and not. */
START_TEST(everything_once)
{
    make((struct kin_queue_opts){.kind = (uint32_t)_i % 3,
                                 .max_items = _i / 3 % 2 ? 5 : 0,
                                 .max_bytes = _i / 6 % 2 ? 64 : 1 << 20,
                                 .joinable = (uint32_t)_i / 12});
    pthread_t producers[THREADS], consumers[THREADS];
    atomic_store(&sum, 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&producers[i], NULL, produce, (void *)i);
        pthread_create(&consumers[i], NULL, consume, _i / 12 ? arena : NULL);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(producers[i], NULL);
    if (_i / 12) {
        KT_OK(kin_queue_join(queue, KIN_NEVER));
        KT_IS(kin_queue_unfinished(queue), 0);
        KT_IS(kin_queue_task_done(queue), -EINVAL);
    }
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    for (int i = 0; i < THREADS; i++)
        pthread_join(consumers[i], NULL);
    const uint64_t n = THREADS * EACH;
    ck_assert_uint_eq(atomic_load(&sum), n * (n + 1) / 2);
    finish();
}
END_TEST

static _Atomic int done_looking;

/* Blocks come and go: of runs of their own, which are no blocks any more when they are freed. */
static void *put_and_get(void *arg)
{
    static char data[200000];
    const bool by_priority = (uintptr_t)arg == KIN_PRIORITY;
    for (uint64_t i = 0; !atomic_load(&done_looking); i++) {
        for (int64_t k = 0; k < 3; k++)
            KT_CHECK((by_priority
                          ? kin_queue_put_prio(queue, data, 70000, k ^ (int64_t)(i & 3), KIN_NEVER)
                          : kin_queue_put(queue, data, 70000, KIN_NEVER)) == 0);
        for (int k = 0; k < 3; k++)
            KT_CHECK(kin_queue_get(queue, data, sizeof data, KIN_NEVER) == 70000);
    }
    return NULL;
}

/* Who opens it looks at all that is in it. */
START_TEST(found_while_it_is_used)
{
    pthread_t user;
    make((struct kin_queue_opts){
        .kind = (uint32_t)_i % 3, .max_items = _i < 3 ? 0 : 3, .name = "used"});
    atomic_store(&done_looking, 0);
    pthread_create(&user, NULL, put_and_get, (void *)(uintptr_t)(_i % 3));
    for (int i = kt_scaled(20000); i > 0; i--) {
        struct kin_queue *same;
        KT_OK(kin_queue_find(arena, "used", &same));
        kin_queue_destroy(same);
    }
    atomic_store(&done_looking, 1);
    pthread_join(user, NULL);
    finish();
}
END_TEST

/* --- shutdown ------------------------------------------------------------------------------- */

START_TEST(shutdown_drains)
{
    make((struct kin_queue_opts){.kind = KIN_LIFO, .max_items = 2});
    put_number(1);
    put_number(2);
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    KT_IS(kin_queue_put(queue, "x", 1, KIN_NEVER), -ESHUTDOWN);
    ck_assert_uint_eq(get_number(), 2);
    ck_assert_uint_eq(get_number(), 1);
    KT_IS(kin_queue_get(queue, NULL, 0, KIN_NEVER), -ESHUTDOWN);
    KT_IS(kin_queue_peek(queue, NULL, 0), -ESHUTDOWN);
    finish();
}
END_TEST

static void *wait_in_put(void *arg)
{
    KT_CHECK(kin_queue_put(queue, arg, 1, KIN_NEVER) == -ESHUTDOWN);
    return NULL;
}

static void *wait_in_get(void *arg)
{
    KT_CHECK(kin_queue_get(queue, arg, 1, KIN_NEVER) == -ESHUTDOWN);
    return NULL;
}

START_TEST(shutdown_wakes_everybody)
{
    char byte[3] = {0};
    make((struct kin_queue_opts){.kind = KIN_LIFO, .max_items = 1});
    pthread_t threads[3];
    if (_i == 1)
        KT_OK(kin_queue_put(queue, byte, 1, KIN_NEVER));
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, _i == 1 ? wait_in_put : wait_in_get, &byte[i]);
    KT_UNTIL(kini_load_sc(&queue->shm->putters.nwait) + kini_load_sc(&queue->shm->getters.nwait) ==
             3);
    KT_OK(kin_queue_shutdown(queue, _i == 1 ? KIN_WHEN_DRAINED : KIN_AT_ONCE));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    finish();
}
END_TEST

/* A message that is used in place does not hold the others up, and what is dropped is done. */
START_TEST(shutdown_with_a_message_in_hand)
{
    void *message;
    make((struct kin_queue_opts){.joinable = 1});
    put_number(1);
    put_number(2);
    KT_IS(kin_queue_take(queue, &message, KIN_NEVER), 8);
    KT_IS(kin_queue_task_done(queue), -EINVAL);
    says("in place");
    KT_OK(kin_queue_shutdown(queue, KIN_AT_ONCE));
    KT_IS(kin_queue_size(queue), 0);
    KT_IS(kin_queue_unfinished(queue), 1);
    KT_IS(kin_queue_get(queue, NULL, 0, KIN_NEVER), -ESHUTDOWN);
    KT_OK(kin_queue_release(queue, message));
    KT_OK(kin_queue_task_done(queue));
    KT_OK(kin_queue_join(queue, KIN_NEVER));
    finish();
}
END_TEST

/* --- join ----------------------------------------------------------------------------------- */

static void *wait_in_join(void *arg)
{
    KT_CHECK(kin_queue_join(queue, KIN_NEVER) == 0);
    return arg;
}

START_TEST(join_waits_for_all)
{
    pthread_t thread;
    make((struct kin_queue_opts){.joinable = 1});
    KT_OK(kin_queue_join(queue, KIN_NEVER));
    put_number(1);
    put_number(2);
    pthread_create(&thread, NULL, wait_in_join, NULL);
    KT_UNTIL(kini_load_sc(&kini_store_of(arena, queue->shm)->joiners.nwait) == 1);
    KT_IS(kin_queue_task_done(queue), -EINVAL);
    get_number();
    KT_OK(kin_queue_task_done(queue));
    get_number();
    KT_IS(kin_queue_unfinished(queue), 1);
    KT_IS(kin_queue_join(queue, kin_after_ms(5)), -ETIMEDOUT);
    KT_OK(kin_queue_task_done(queue));
    pthread_join(thread, NULL);
    KT_IS(kin_queue_task_done(queue), -EINVAL);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/store");
    TCase *t = kt_case(suite, "order", 30);
    tcase_add_test(t, the_newest_first);
    tcase_add_test(t, the_smallest_priority_first_and_stable);
    tcase_add_test(t, keys_sort_what_is_of_one_priority);
    tcase_add_test(t, keys_stay_with_messages);
    tcase_add_test(t, wrong_options);
    t = kt_case(suite, "bounds", 60);
    tcase_add_test(t, bounded_in_bytes);
    tcase_add_test(t, no_memory_for_a_message);
    tcase_add_test(t, a_large_message_does_not_starve);
    tcase_add_test(t, who_gives_up_lets_the_next_go);
    tcase_add_test(t, grows_and_shrinks);
    t = kt_case(suite, "threads", 60);
    tcase_add_loop_test(t, everything_once, 0, 24);
    /* One cannot know that such looks are repeated until they agree, the other is slow. */
    if (!KT_THREAD_SANITIZER && !kt_under_valgrind())
        tcase_add_loop_test(t, found_while_it_is_used, 0, 6);
    t = kt_case(suite, "shutdown", 30);
    tcase_add_test(t, shutdown_drains);
    tcase_add_loop_test(t, shutdown_wakes_everybody, 0, 2);
    tcase_add_test(t, shutdown_with_a_message_in_hand);
    t = kt_case(suite, "join", 30);
    tcase_add_test(t, join_waits_for_all);
    return kt_run(suite);
}
