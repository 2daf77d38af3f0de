/* SPDX-License-Identifier: MIT
 * Objects by name: found, created, contradicted, shared by several handles, of strangers. */
#include "lib/kin_test.h"
#include "lib/stranger.h"
#include "sync/handle.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

struct board {
    kini_a32 arrived, go;
    kini_a64 sum;
};

static struct board *board;
static struct kin_arena *arena;

static void setup(void)
{
    board = kt_board(sizeof *board);
    KT_OK(kin_arena_open(kt_name("handle"), &(struct kin_arena_opts){.reserve_bytes = 256 * MIB},
                         &arena));
}

static void teardown(void)
{
    kin_arena_detach(arena);
    kt_board_close(board, sizeof *board);
}

/* --- each kind ------------------------------------------------------------------------------- */

/* Open twice, and find: one object, three handles; gone with the last one. */
#define EACH(noun, ...)                                                                            \
    do {                                                                                           \
        struct kin_##noun *one = NULL, *two = NULL, *three = NULL;                                 \
        KT_IS(kin_##noun##_find(arena, #noun, &one), -ENOENT);                                     \
        KT_IS(kin_##noun##_find(arena, NULL, &one), -EINVAL);                                      \
        KT_IS(kin_##noun##_inherit(arena, 0, &one), -ENOENT);                                      \
        KT_IS(kin_##noun##_open(arena, "", __VA_ARGS__, &one), -EINVAL);                           \
        KT_IS(kin_##noun##_open(arena, "thirty-two-bytes-are-one-too-man", __VA_ARGS__, &one),     \
              -EINVAL);                                                                            \
        ck_assert_ptr_null(one);                                                                   \
        KT_OK(kin_##noun##_open(arena, #noun, __VA_ARGS__, &one));                                 \
        KT_OK(kin_##noun##_open(arena, #noun, __VA_ARGS__, &two));                                 \
        KT_OK(kin_##noun##_find(arena, #noun, &three));                                            \
        ck_assert_ptr_eq(((struct kini_handle *)one)->shm, ((struct kini_handle *)three)->shm);    \
        ck_assert_uint_eq(kt_stat(arena).objects_count, 1);                                        \
        kin_##noun##_destroy(one);                                                                 \
        kin_##noun##_destroy(two);                                                                 \
        ck_assert_uint_eq(kt_stat(arena).objects_count, 1);                                        \
        kin_##noun##_destroy(three);                                                               \
        ck_assert_uint_eq(kt_stat(arena).objects_count, 0);                                        \
    } while (0)

START_TEST(each_kind)
{
    EACH(lock, NULL);
    EACH(rlock, NULL);
    EACH(semaphore, 3, NULL);
    EACH(event, NULL);
    EACH(barrier, 2, NULL);
    EACH(rwlock, NULL);
    EACH(once, NULL);
    EACH(queue, NULL);
    struct kin_condition *one = NULL, *two = NULL;
    KT_OK(kin_condition_open(arena, "condition", NULL, &one));
    KT_OK(kin_condition_find(arena, "condition", NULL, &two));
    kin_condition_destroy(one);
    kin_condition_destroy(two);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}
END_TEST

START_TEST(of_another_kind)
{
    struct kin_lock *lock = NULL;
    struct kin_queue *queue = NULL;
    KT_OK(kin_lock_open(arena, "name", NULL, &lock));
    KT_IS(kin_queue_open(arena, "name", NULL, &queue), -EPROTOTYPE);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "a lock, a queue is wanted"));
    KT_IS(kin_queue_find(arena, "name", &queue), -EPROTOTYPE);
    kin_lock_destroy(lock);
    KT_OK(kin_queue_open(arena, "name", NULL, &queue));
    kin_queue_destroy(queue);
    struct kin_pool *pool;
    KT_OK(
        kin_pool_create(arena, &(struct kin_pool_opts){.workers_count = 1, .name = "name"}, &pool));
    KT_IS(kin_queue_open(arena, "name", NULL, &queue), -EPROTOTYPE);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "its own processes"));
    kin_pool_destroy(pool);
}
END_TEST

START_TEST(what_was_created_is_found)
{
    struct kin_event *event, *found;
    KT_OK(kin_event_create(arena, &(struct kin_event_opts){.set = 1, .name = "made"}, &event));
    KT_OK(kin_event_open(arena, "made", NULL, &found));
    KT_IS(kin_event_is_set(found), 1);
    kin_event_destroy(event);
    KT_IS(kin_event_is_set(found), 1); /* it has another handle */
    kin_event_destroy(found);
    KT_IS(kin_event_find(arena, "made", &found), -ENOENT);
}
END_TEST

START_TEST(contradictions)
{
    struct kin_queue *queue, *other = NULL;
    KT_OK(kin_queue_open(arena, "q", &(struct kin_queue_opts){.max_items = 10}, &queue));
    KT_IS(kin_queue_open(arena, "q", &(struct kin_queue_opts){.max_items = 11}, &other), -EINVAL);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "max_items 10, not 11"));
    KT_IS(kin_queue_open(arena, "q", &(struct kin_queue_opts){.inline_bytes = 500}, &other),
          -EINVAL);
    KT_OK(kin_queue_open(arena, "q", &(struct kin_queue_opts){.max_items = 10}, &other));
    kin_queue_destroy(other);
    KT_OK(kin_queue_put(queue, "x", 1, KIN_NOW));
    KT_IS(kin_queue_size(queue), 1); /* those who were refused have taken nothing with them */
    kin_queue_destroy(queue);
    struct kin_semaphore *s, *t = NULL;
    KT_OK(kin_semaphore_open(arena, "s", 2, NULL, &s));
    KT_IS(kin_semaphore_open(arena, "s", 1, NULL, &t), -EINVAL);
    KT_IS(kin_semaphore_open(arena, "s", 2, &(struct kin_semaphore_opts){.bounded = 1}, &t),
          -EINVAL);
    KT_OK(kin_semaphore_acquire(s, KIN_NOW));
    KT_OK(kin_semaphore_open(arena, "s", 2, NULL, &t)); /* the value it was created with */
    KT_IS(kin_semaphore_value(t), 1);
    kin_semaphore_destroy(s);
    KT_IS(kin_semaphore_value(t), 1); /* this process still holds the permit */
    kin_semaphore_destroy(t);
    struct kin_barrier *b, *c = NULL;
    KT_OK(kin_barrier_open(arena, "b", 2, NULL, &b));
    KT_IS(kin_barrier_open(arena, "b", 3, NULL, &c), -EINVAL);
    kin_barrier_destroy(b);
    struct kin_lock *l, *m = NULL;
    KT_OK(kin_lock_open(arena, "l", NULL, &l));
    KT_IS(kin_lock_open(arena, "l", &(struct kin_lock_opts){.on_abandoned = KIN_REFUSE_ONCE}, &m),
          -EINVAL);
    kin_lock_destroy(l);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
}
END_TEST

START_TEST(a_condition_and_its_lock)
{
    struct kin_lock *lock, *other;
    struct kin_condition *one, *two = NULL;
    KT_OK(kin_lock_open(arena, "lock", NULL, &lock));
    KT_OK(kin_lock_open(arena, "other", NULL, &other));
    const struct kin_condition_opts with = {.lock = lock}, wrong = {.lock = other};
    KT_OK(kin_condition_open(arena, "c", &with, &one));
    KT_IS(kin_condition_open(arena, "c", NULL, &two), -EINVAL);
    KT_IS(kin_condition_find(arena, "c", &wrong, &two), -EINVAL);
    KT_OK(kin_condition_open(arena, "c", &with, &two));
    KT_OK(kin_condition_acquire(one, KIN_NOW));
    KT_IS(kin_condition_wait(two, kin_after_ms(1)), -ETIMEDOUT);
    KT_OK(kin_condition_release(two));
    kin_condition_destroy(one);
    kin_condition_destroy(two);
    kin_lock_destroy(lock);
    kin_lock_destroy(other);
}
END_TEST

START_TEST(a_lock_outlives_one_of_two_handles)
{
    struct kin_lock *one, *two;
    KT_OK(kin_lock_open(arena, "lock", NULL, &one));
    KT_OK(kin_lock_open(arena, "lock", NULL, &two));
    KT_OK(kin_lock_acquire(one, KIN_NOW));
    kin_lock_destroy(one);
    KT_IS(kin_lock_try_acquire(two), -EAGAIN);
    KT_IS(kin_lock_abandoned(two), 0);
    KT_OK(kin_lock_release(two));
    kin_lock_destroy(two);
}
END_TEST

static int child_has_both(void *arg)
{
    struct kin_queue **queues = arg;
    kin_queue_destroy(queues[0]);
    KT_CHECK(kin_queue_size(queues[1]) == 1);
    kin_queue_destroy(queues[1]);
    KT_CHECK(kt_stat(arena).objects_count == 1); /* the parent's */
    return 0;
}

START_TEST(a_child_has_all_handles)
{
    struct kin_queue *queues[2];
    KT_OK(kin_queue_open(arena, "q", NULL, &queues[0]));
    KT_OK(kin_queue_open(arena, "q", NULL, &queues[1]));
    KT_OK(kin_queue_put(queues[0], "x", 1, KIN_NOW));
    ck_assert_int_eq(kt_in_child(child_has_both, queues), 0);
    kin_queue_destroy(queues[0]);
    KT_IS(kin_queue_size(queues[1]), 1);
    kin_queue_destroy(queues[1]);
}
END_TEST

/* --- strangers ------------------------------------------------------------------------------- */

static struct kin_arena *join(const char *name)
{
    struct kin_arena *joined;
    if (kin_arena_find(name, NULL, &joined) < 0) {
        dprintf(2, "stranger: %s\n", kin_error_text());
        _exit(100);
    }
    return joined;
}

/* At another address, so that nothing may depend on equal ones. */
static int play_use(void *memory, const char *name)
{
    struct kin_arena *mine = join(name);
    (void)memory;
    struct kin_queue *in, *out;
    struct kin_lock *lock;
    struct kin_semaphore *semaphore;
    struct kin_condition *condition;
    struct kin_event *event;
    KT_CHECK(kin_queue_open(mine, "in", NULL, &in) == 0);
    KT_CHECK(kin_queue_open(mine, "out", NULL, &out) == 0);
    KT_CHECK(kin_lock_find(mine, "lock", &lock) == 0);
    KT_CHECK(kin_semaphore_open(mine, "semaphore", 1, NULL, &semaphore) == 0);
    KT_CHECK(kin_condition_open(mine, "condition", NULL, &condition) == 0);
    KT_CHECK(kin_event_open(mine, "event", NULL, &event) == 0);
    static char text[100000];
    int64_t n;
    KT_CHECK(kin_semaphore_acquire(semaphore, KIN_NEVER) == 0);
    while ((n = kin_queue_get(in, text, sizeof text, KIN_NEVER)) >= 0) {
        KT_CHECK(kin_lock_acquire(lock, KIN_NEVER) == 0);
        KT_CHECK(kin_queue_put(out, text, (size_t)n, KIN_NEVER) == 0);
        KT_CHECK(kin_lock_release(lock) == 0);
    }
    KT_CHECK(n == -ESHUTDOWN);
    KT_CHECK(kin_condition_acquire(condition, KIN_NEVER) == 0);
    KT_CHECK(kin_condition_notify(condition, 1) >= 0);
    KT_CHECK(kin_condition_release(condition) == 0);
    KT_CHECK(kin_event_set(event) == 0);
    raise(SIGKILL); /* with a permit */
    return 1;
}

START_TEST(strangers_share_them)
{
    struct kin_queue *in, *out;
    struct kin_lock *lock;
    struct kin_semaphore *semaphore;
    struct kin_condition *condition;
    struct kin_event *event;
    KT_OK(kin_queue_open(arena, "in", NULL, &in));
    KT_OK(kin_queue_open(arena, "out", &(struct kin_queue_opts){.max_items = 5}, &out));
    KT_OK(kin_lock_open(arena, "lock", NULL, &lock));
    KT_OK(kin_semaphore_open(arena, "semaphore", 1, NULL, &semaphore));
    KT_OK(kin_condition_open(arena, "condition", NULL, &condition));
    KT_OK(kin_event_open(arena, "event", NULL, &event));
    pid_t pid = kt_stranger("use", kt_name("handle"));
    static char text[100000], back[100000];
    for (size_t n = 0; n < sizeof text; n += 1234) {
        kt_fill(text, n, n);
        KT_OK(kin_queue_put(in, text, n, KIN_NEVER));
        KT_IS(kin_queue_get(out, back, sizeof back, KIN_NEVER), (int64_t)n);
        ck_assert(kt_filled(back, n, n));
    }
    KT_OK(kin_condition_acquire(condition, KIN_NEVER));
    KT_OK(kin_queue_shutdown(in, KIN_WHEN_DRAINED));
    KT_OK(kin_condition_wait(condition, KIN_NEVER));
    KT_OK(kin_condition_release(condition));
    KT_OK(kin_event_wait(event, KIN_NEVER));
    ck_assert_int_eq(kt_wait(pid), -SIGKILL);
    KT_OK(kin_semaphore_acquire(semaphore, KIN_NEVER)); /* of the dead */
    kin_queue_destroy(in);
    kin_queue_destroy(out);
    kin_lock_destroy(lock);
    kin_semaphore_destroy(semaphore);
    kin_condition_destroy(condition);
    kin_event_destroy(event);
}
END_TEST

/* Open, raise the number in it, close: never two objects at once, and none is left. */
static int play_race(void *memory, const char *name)
{
    struct board *b = memory;
    struct kin_arena *mine = join(name);
    kini_add_sc(&b->arrived, 1);
    while (kini_load_acq(&b->go) == 0)
        usleep(100);
    while (kini_load_acq(&b->go) == 1) {
        struct kin_queue *queue;
        KT_CHECK(kin_queue_open(mine, "race", NULL, &queue) == 0);
        uint32_t live = 0, high = kini_load_acq(&mine->super->objects_high);
        for (uint32_t id = 1; id < high; id++)
            live += KINI_OBJECT_STATE(kini_load_acq(&mine->objects[id].state)) == KINI_OBJECT_LIVE;
        KT_CHECK(live <= 1);
        KT_CHECK(kin_queue_put(queue, "x", 1, KIN_NEVER) == 0);
        char x;
        KT_CHECK(kin_queue_try_get(queue, &x, 1) == 1 || kin_queue_size(queue) >= 0);
        kin_queue_destroy(queue);
        kini_add_sc(&b->sum, 1);
    }
    kin_arena_detach(mine);
    return 0;
}

static void race(bool kills)
{
    pid_t pids[5];
    struct kt_random random = kt_random_of("objects", kills);
    for (int i = 0; i < 5; i++)
        pids[i] = kt_stranger("race", kt_name("handle"));
    KT_UNTIL(kini_load_acq(&board->arrived) == 5);
    kini_store_sc(&board->go, 1);
    uint64_t wanted = (uint64_t)kt_scaled(kills ? 60000 : 200000);
    while (kini_load(&board->sum) < wanted) {
        usleep((useconds_t)kt_random_below(&random, 3000));
        siginfo_t info = {0};
        for (int i = 0; i < 5; i++)
            ck_assert(waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                      info.si_pid == 0);
        int i = (int)kt_random_below(&random, 5);
        if (kills) {
            kill(pids[i], SIGKILL);
            ck_assert_int_eq(kt_wait(pids[i]), -SIGKILL);
            pids[i] = kt_stranger("race", kt_name("handle"));
        }
    }
    kini_store_sc(&board->go, 2);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(kt_wait(pids[i]), 0);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536);
}

START_TEST(all_open_one_name)
{
    race(false);
}
END_TEST

START_TEST(all_open_one_name_and_are_killed)
{
    race(true);
}
END_TEST

static const struct kt_role roles[] = {{"use", play_use}, {"race", play_race}, {NULL, NULL}};

int main(int argc, char **argv)
{
    kt_stranger_main(argc, argv, roles, sizeof *board);
    Suite *suite = suite_create("sync/handle");
    TCase *t = kt_case(suite, "names", 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, each_kind);
    tcase_add_test(t, of_another_kind);
    tcase_add_test(t, what_was_created_is_found);
    tcase_add_test(t, contradictions);
    tcase_add_test(t, a_condition_and_its_lock);
    tcase_add_test(t, a_lock_outlives_one_of_two_handles);
    tcase_add_test(t, a_child_has_all_handles);
    t = kt_case(suite, "strangers", 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, strangers_share_them);
    tcase_add_test(t, all_open_one_name);
    tcase_add_test(t, all_open_one_name_and_are_killed);
    return kt_run(suite);
}
