/* SPDX-License-Identifier: MIT
 * A descriptor for event loops: it becomes readable whenever one of the objects is ready, whoever
 * made it so. Linked with --wrap=kini_os_timer_set, to take the timer away that
 * makes up for lost rings: then a lost ring is a hang. */
#include "ready_fixture.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

static int rounds;
static bool without_timer;

void __real_kini_os_timer_set(int fd, int64_t ns);
void __wrap_kini_os_timer_set(int fd, int64_t ns);
void __wrap_kini_os_timer_set(int fd, int64_t ns)
{
    __real_kini_os_timer_set(fd, without_timer ? INT64_C(3600000000000) : ns);
}

/* --- errors ----------------------------------------------------------------------------------- */

START_TEST(bad_input)
{
    struct kin_ready *none = (struct kin_ready *)1;
    struct kin_wait waits[KIN_WAIT_ANY_MAX + 1];
    begin();
    struct kin_arena *other = kt_arena(0);
    KT_OK(kin_event_create(arena, NULL, &event));
    for (uint32_t i = 0; i <= KIN_WAIT_ANY_MAX; i++)
        waits[i] = kin_wait_event(event);
    uint32_t threads = kt_stat(arena).threads_count;
    int fds = kt_fds_count();
    KT_IS(kin_ready_create(arena, waits, 0, &none), -EINVAL);
    KT_IS(kin_ready_create(arena, NULL, 1, &none), -EINVAL);
    KT_IS(kin_ready_create(arena, waits, KIN_WAIT_ANY_MAX + 1, &none), -EINVAL);
    KT_IS(kin_ready_create(other, waits, 1, &none), -EXDEV);
    waits[1].kind = KIN_WAIT_LOCK;
    KT_IS(kin_ready_create(arena, waits, 2, &none), -EPROTOTYPE);
    waits[1] = kin_wait_fd(-1);
    KT_IS(kin_ready_create(arena, waits, 2, &none), -EBADF);
    int closed = dup(0);
    close(closed);
    waits[1] = kin_wait_fd(closed);
    KT_IS(kin_ready_create(arena, waits, 2, &none), -EBADF);
    FILE *file = tmpfile();
    waits[1] = kin_wait_fd(fileno(file));
    KT_IS(kin_ready_create(arena, waits, 2, &none), -EPERM);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    fclose(file);
    kin_ready_destroy(NULL);
    ck_assert_ptr_eq(none, (struct kin_ready *)1);
    ck_assert_int_eq(kt_fds_count(), fds);
    ck_assert_uint_eq(kt_stat(arena).threads_count, threads);
    kin_event_destroy(event);
    kin_arena_detach(other);
    finish();
}
END_TEST

/* No descriptors left: nothing of it is left either. */
START_TEST(descriptors_run_out)
{
    static struct kin_ready *many[200];
    struct rlimit before, limit;
    int count = 0, r = 0;
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    const struct kin_wait wait = kin_wait_event(event);
    int fds = kt_fds_count();
    uint32_t threads = kt_stat(arena).threads_count;
    getrlimit(RLIMIT_NOFILE, &before);
    for (rlim_t most = (rlim_t)fds + 10; most < (rlim_t)fds + 40; most++) {
        limit = (struct rlimit){.rlim_cur = most, .rlim_max = before.rlim_max};
        setrlimit(RLIMIT_NOFILE, &limit);
        for (count = 0; count < 200; count++)
            if ((r = kin_ready_create(arena, &wait, 1, &many[count])) < 0)
                break;
        ck_assert_int_eq(r, -EMFILE);
        ck_assert_uint_eq(kt_stat(arena).threads_count, threads + (uint32_t)count);
        /* A wake without a descriptor to send it with comes with the timer. */
        ready = many[0];
        if (count > 0 && most % 10 == 0) {
            int hole[3] = {-1, -1, -1};
            for (int i = 0; i < 3; i++)
                hole[i] = dup(0);
            KT_IS(kin_ready_check(ready), -EAGAIN);
            KT_OK(kin_event_set(event));
            ck_assert_int_eq(next_ready(), 0);
            KT_OK(kin_event_clear(event));
            for (int i = 0; i < 3; i++)
                if (hole[i] >= 0)
                    close(hole[i]);
        }
        while (count-- > 0)
            kin_ready_destroy(many[count]);
        setrlimit(RLIMIT_NOFILE, &before);
        ck_assert_int_eq(kt_fds_count(), fds);
        ck_assert_uint_eq(kt_stat(arena).threads_count, threads);
    }
    kin_event_destroy(event);
    finish();
}
END_TEST

/* As many as the thread table holds, and then an error. */
START_TEST(records_run_out)
{
    static struct kin_ready *many[KINI_THREADS_MAX];
    struct rlimit before, limit;
    int count = 0, r = 0;
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    const struct kin_wait wait = kin_wait_event(event);
    getrlimit(RLIMIT_NOFILE, &before);
    limit = (struct rlimit){.rlim_cur = before.rlim_max, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &limit);
    int fds = kt_fds_count();
    while ((r = kin_ready_create(arena, &wait, 1, &many[count])) == 0)
        count++;
    ck_assert_msg(r == -ENOSPC || r == -EMFILE || r == -ENFILE, "%d", r);
    if (r == -ENOSPC)
        ck_assert_int_eq(count, (int)KINI_THREADS_MAX - 2); /* one is ours */
    for (int i = 0; i < count; i += 7) {
        ready = many[i];
        KT_IS(kin_ready_check(ready), -EAGAIN);
    }
    KT_OK(kin_event_set(event));
    for (int i = 0; i < count; i += 7) {
        ready = many[i];
        ck_assert_int_eq(next_ready(), 0);
    }
    while (count-- > 0)
        kin_ready_destroy(many[count]);
    ck_assert_int_eq(kt_fds_count(), fds + 1); /* what this process rings with */
    ck_assert_uint_eq(counted_in(event, KINI_OBJECT_EVENT, KIN_WAIT_EVENT), 0);
    setrlimit(RLIMIT_NOFILE, &before);
    kin_event_destroy(event);
    finish();
}
END_TEST

/* --- one thread ------------------------------------------------------------------------------- */

/* Readable from the beginning, until a check finds nothing; then again with the object, as long as
 * it is ready. */
START_TEST(readable_while_ready)
{
    open_event();
    ck_assert(readable(0));
    for (int i = 0; i < 20; i++) {
        arm();
        KT_OK(kin_event_set(event));
        for (int j = 0; j < i; j++) {
            ck_assert(readable(0));
            KT_IS(kin_ready_check(ready), 0);
        }
        ck_assert(readable(0));
        KT_OK(kin_event_clear(event));
    }
    close_event();
}
END_TEST

/* The queues count it while it is armed; not any more while there is always something. */
START_TEST(counted_while_armed)
{
    open_event();
    uint32_t type = KINI_OBJECT_EVENT, kind = KIN_WAIT_EVENT;
    for (int i = 0; i < 3; i++) {
        arm();
        ck_assert_uint_eq(counted_in(event, type, kind), 1);
        KT_OK(kin_event_set(event));
        KT_IS(kin_ready_check(ready), 0);
        ck_assert_uint_eq(counted_in(event, type, kind), 1);
        for (int j = 0; j < 10; j++)
            KT_IS(kin_ready_check(ready), 0);
        ck_assert_uint_eq(counted_in(event, type, kind), 0);
        ck_assert_int_eq(kin_event_waiting(event), 0);
        KT_OK(kin_event_clear(event));
    }
    arm();
    kin_ready_destroy(ready);
    ready = NULL;
    ck_assert_uint_eq(counted_in(event, type, kind), 0);
    close_event();
}
END_TEST

/* One kind after the other. */
START_TEST(every_kind)
{
    struct kin_lock *lock;
    struct kin_semaphore *semaphore;
    char text[4];
    uint64_t number = 1;
    begin();
    int fd = eventfd(0, EFD_CLOEXEC);
    KT_OK(kin_lock_create(arena, NULL, &lock));
    KT_OK(kin_semaphore_create(arena, 0, NULL, &semaphore));
    KT_OK(kin_event_create(arena, NULL, &event));
    queue = kt_queue(arena, 0, 0);
    struct kin_queue *full = kt_queue(arena, 1, 0);
    KT_OK(kin_queue_try_put(full, "a", 2));
    KT_OK(kin_lock_acquire(lock, KIN_NOW));
    const struct kin_wait waits[] = {kin_wait_lock(lock),   kin_wait_semaphore(semaphore),
                                     kin_wait_event(event), kin_wait_get(queue),
                                     kin_wait_put(full),    kin_wait_fd(fd),
                                     kin_wait_fd(fd)};
    KT_OK(kin_ready_create(arena, waits, 7, &ready));
    for (int i = 0; i < 10; i++) {
        arm();
        KT_OK(kin_lock_release(lock));
        ck_assert_int_eq(next_ready(), 0);
        KT_OK(kin_lock_acquire(lock, KIN_NOW));
        arm();
        KT_OK(kin_semaphore_release(semaphore));
        ck_assert_int_eq(next_ready(), 1);
        KT_OK(kin_semaphore_try_acquire(semaphore));
        arm();
        KT_OK(kin_event_set(event));
        ck_assert_int_eq(next_ready(), 2);
        KT_OK(kin_event_clear(event));
        arm();
        KT_OK(kin_queue_try_put(queue, "b", 2));
        ck_assert_int_eq(next_ready(), 3);
        KT_OK(kin_queue_try_get(queue, text, sizeof text));
        arm();
        KT_OK(kin_queue_try_get(full, text, sizeof text));
        ck_assert_int_eq(next_ready(), 4);
        KT_OK(kin_queue_try_put(full, "a", 2));
        arm();
        ck_assert_int_eq(write(fd, &number, 8), 8);
        ck_assert_int_eq(next_ready(), 5);
        ck_assert_int_eq(read(fd, &number, 8), 8);
    }
    arm();
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    ck_assert_int_eq(next_ready(), 3);
    KT_OK(kin_event_set(event)); /* the first of those that are ready */
    ck_assert_int_eq(next_ready(), 2);
    kin_ready_destroy(ready);
    close(fd);
    KT_OK(kin_lock_release(lock));
    kin_lock_destroy(lock);
    kin_semaphore_destroy(semaphore);
    kin_event_destroy(event);
    kin_queue_destroy(queue);
    kin_queue_destroy(full);
    finish();
}
END_TEST

static void set_event(int signal)
{
    (void)signal;
    if (kin_event_set(event) < 0)
        _exit(102);
}

START_TEST(set_by_a_signal_handler)
{
    without_timer = true;
    open_event();
    on_signal(set_event);
    for (int i = 0; i < 100; i++) {
        arm();
        ck_assert(!kin_event_is_set(event));
        raise(SIGUSR1);
        ck_assert(readable(0));
        KT_IS(kin_ready_check(ready), 0);
        KT_OK(kin_event_clear(event));
    }
    close_event();
}
END_TEST

static void *wake_each(void *arg)
{
    struct kin_event **events = arg;
    for (int i = 0; i < rounds; i++) {
        KT_UNTIL(words[0] == i);
        KT_CHECK(kin_event_set(events[i % 8]) == 0);
    }
    return NULL;
}

/* Two sets in a third one, edge-triggered there. */
START_TEST(nested_epoll)
{
    struct kin_event *events[8];
    struct kin_ready *pair[2];
    pthread_t waker;
    without_timer = true;
    begin();
    rounds = kt_scaled(2000);
    int inner = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event got, want = {.events = EPOLLIN};
    for (int i = 0; i < 8; i++)
        KT_OK(kin_event_create(arena, NULL, &events[i]));
    for (int i = 0; i < 2; i++) {
        struct kin_wait waits[4];
        for (int j = 0; j < 4; j++)
            waits[j] = kin_wait_event(events[i * 4 + j]);
        KT_OK(kin_ready_create(arena, waits, 4, &pair[i]));
        want.data.u32 = (uint32_t)i;
        ck_assert_int_eq(epoll_ctl(inner, EPOLL_CTL_ADD, kin_ready_fd(pair[i]), &want), 0);
    }
    want.events = EPOLLIN | EPOLLET;
    ck_assert_int_eq(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &want), 0);
    ck_assert_int_eq(pthread_create(&waker, NULL, wake_each, events), 0);
    while (words[0] < rounds) {
        ck_assert_int_eq(epoll_wait(outer, &got, 1, -1), 1);
        while (epoll_wait(inner, &got, 1, 0) == 1) {
            int r = kin_ready_check(pair[got.data.u32]);
            if (r == -EAGAIN)
                continue;
            ck_assert_int_eq(r + (int)got.data.u32 * 4, (int)(words[0] % 8));
            KT_OK(kin_event_clear(events[words[0] % 8]));
            words[0]++;
        }
    }
    pthread_join(waker, NULL);
    kin_ready_destroy(pair[0]);
    kin_ready_destroy(pair[1]);
    for (int i = 0; i < 8; i++)
        kin_event_destroy(events[i]);
    close(inner);
    close(outer);
    finish();
}
END_TEST

/* --- two parties ------------------------------------------------------------------------------ */

#define PRODUCERS 3

static void produce(int me)
{
    struct kt_random random = kt_random_of("produce", (uint64_t)me);
    for (int i = 0; i < rounds; i++) {
        KT_CHECK(kin_queue_put(queue, &me, sizeof me, KIN_NEVER) == 0);
        tiny_delay(&random);
    }
}

/* Every message comes; the queue is bounded, so producers wait, too. */
START_TEST(producers)
{
    struct party parties[PRODUCERS];
    int from, got[PRODUCERS] = {0};
    without_timer = true;
    begin();
    rounds = kt_scaled(10000);
    queue = kt_queue(arena, 64, 0);
    open_one(kin_wait_get(queue));
    for (int i = 0; i < PRODUCERS; i++)
        party_start(&parties[i], _i, produce, i);
    for (int i = 0; i < PRODUCERS * rounds;) {
        ck_assert_int_eq(next_ready(), 0);
        for (int j = 0; j < 1 + i % 5; j++, i++) {
            int64_t r = kin_queue_try_get(queue, &from, sizeof from);
            if (r == -EAGAIN)
                break;
            KT_IS(r, sizeof from);
            got[from]++;
        }
    }
    for (int i = 0; i < PRODUCERS; i++) {
        party_join(&parties[i]);
        ck_assert_int_eq(got[i], rounds);
    }
    arm();
    kin_ready_destroy(ready);
    kin_queue_destroy(queue);
    finish();
}
END_TEST

static void set_when_told(int me)
{
    (void)me;
    for (int i = 1; i <= rounds; i++) {
        KT_UNTIL(words[0] == i);
        PARTY_IS(kin_event_set(event), 0);
    }
}

START_TEST(no_wake_needs_the_timer)
{
    struct party party;
    without_timer = true;
    open_event();
    rounds = kt_scaled(5000);
    party_start(&party, _i, set_when_told, 0);
    for (int i = 1; i <= rounds; i++) {
        KT_IS(kin_ready_check(ready), -EAGAIN);
        words[0] = i;
        ck_assert_int_eq(next_ready(), 0);
        KT_OK(kin_event_clear(event));
    }
    party_join(&party);
    close_event();
}
END_TEST

/* Several threads check the same one, and objects go meanwhile. */
static void *check_and_take(void *arg)
{
    (void)arg;
    for (;;) {
        int r = next_ready();
        if (r == -ESTALE)
            return NULL;
        KT_CHECK(r == 0 || r == 1);
        int64_t number;
        if (r == 0 && kin_queue_try_get(queue, &number, sizeof number) > 0)
            words[1]++;
    }
}

START_TEST(destroyed_while_armed)
{
    pthread_t threads[3];
    for (int round = 0; round < 20; round++) {
        begin();
        queue = kt_queue(arena, 0, 0);
        KT_OK(kin_event_create(arena, NULL, &event));
        const struct kin_wait waits[] = {kin_wait_get(queue), kin_wait_event(event)};
        KT_OK(kin_ready_create(arena, waits, 2, &ready));
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, check_and_take, NULL), 0);
        for (int64_t i = 0; i < 300; i++)
            KT_OK(kin_queue_put(queue, &i, sizeof i, KIN_NEVER));
        KT_UNTIL(words[1] == 300);
        kin_event_destroy(event);
        for (int i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        ck_assert_uint_eq(counted_in(queue, KINI_OBJECT_QUEUE, KIN_WAIT_GET), 0);
        ck_assert(readable(0));
        kin_queue_destroy(queue);
        KT_IS(kin_ready_check(ready), -ESTALE);
        kin_ready_destroy(ready);
        finish();
    }
}
END_TEST

static void *destroy_event(void *gate)
{
    while (!atomic_load((_Atomic int *)gate))
        ;
    kin_event_destroy(event);
    return NULL;
}

/* The descriptor and its object go at the same time; what comes after finds the memory whole. */
START_TEST(destroyed_together)
{
    pthread_t thread;
    begin();
    for (int i = 0; i < kt_scaled(300); i++) {
        _Atomic int gate = 0;
        KT_OK(kin_event_create(arena, NULL, &event));
        open_one(kin_wait_event(event));
        arm();
        ck_assert_int_eq(pthread_create(&thread, NULL, destroy_event, &gate), 0);
        atomic_store(&gate, 1);
        for (volatile int delay = i % 50 * 40; delay > 0; delay--)
            ;
        kin_ready_destroy(ready);
        pthread_join(thread, NULL);
        ck_assert_ptr_null(record());
    }
    finish();
}
END_TEST

/* --- what may be missing ---------------------------------------------------------------------- */

/* A waker that died between the mark and the ring. */
START_TEST(the_ring_is_lost)
{
    open_event();
    for (int i = 0; i < 3; i++) {
        arm();
        kini_swap_sc(&record()->park, KINI_PARK_WOKEN);
        KT_OK(kin_event_set(event)); /* marked already: does not ring */
        ck_assert_int_eq(next_ready(), 0);
        KT_OK(kin_event_clear(event));
    }
    close_event();
}
END_TEST

/* The arena is left first: the handle can still be destroyed. */
START_TEST(detached_first)
{
    open_event();
    arm();
    kin_event_destroy(event);
    kin_arena_detach(arena);
    KT_IS(kin_ready_check(ready), -ESTALE);
    kin_ready_destroy(ready);
    kt_unshare((void *)words, WORDS * sizeof *words);
    kt_unshare(plain, WORDS * sizeof *plain);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/ready");
    TCase *t = kt_case(suite, "errors", 40);
    tcase_add_test(t, bad_input);
    tcase_add_test(t, descriptors_run_out);
    if (has_processes())
        tcase_add_test(t, records_run_out);
    t = kt_case(suite, "one", 20);
    tcase_add_test(t, readable_while_ready);
    tcase_add_test(t, counted_while_armed);
    tcase_add_test(t, every_kind);
    tcase_add_test(t, set_by_a_signal_handler);
    tcase_add_test(t, nested_epoll);
    tcase_add_test(t, detached_first);
    t = kt_case(suite, "two", 60);
    tcase_add_loop_test(t, producers, 0, forms());
    tcase_add_loop_test(t, no_wake_needs_the_timer, 0, forms());
    tcase_add_test(t, destroyed_while_armed);
    tcase_add_test(t, destroyed_together);
    tcase_add_test(t, the_ring_is_lost);
    return kt_run(suite);
}
