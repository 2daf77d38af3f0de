/* SPDX-License-Identifier: MIT
 * Wait for any of several objects: the first that is ready, and nothing is taken. */
#include "sync_fixture.h"

#include <sys/eventfd.h>

enum { LOCK, RLOCK, SEMAPHORE, EVENT, GET, PUT, FD, KINDS };

static struct kin_lock *lock;
static struct kin_rlock *rlock;
static struct kin_semaphore *semaphore;
static struct kin_event *event;
static struct kin_queue *source, *sink; /* an empty one, a full one */
static int fd;
static struct kin_wait waits[KINDS];

static void toggle(int kind, bool ready)
{
    uint64_t number = 1;
    if (kind == LOCK)
        PARTY_IS(ready ? kin_lock_release(lock) : kin_lock_acquire(lock, KIN_NEVER), 0);
    else if (kind == RLOCK)
        PARTY_IS(ready ? kin_rlock_release(rlock) : kin_rlock_acquire(rlock, KIN_NEVER), 0);
    else if (kind == SEMAPHORE)
        PARTY_IS(ready ? kin_semaphore_release(semaphore)
                       : kin_semaphore_acquire(semaphore, KIN_NEVER),
                 0);
    else if (kind == EVENT)
        PARTY_IS(ready ? kin_event_set(event) : kin_event_clear(event), 0);
    else if (kind == FD)
        KT_CHECK((ready ? write(fd, &number, 8) : read(fd, &number, 8)) == 8);
    else if ((kind == GET) == ready)
        PARTY_IS(kin_queue_put(kind == GET ? source : sink, "a", 2, KIN_NEVER), 0);
    else
        PARTY_IS(kin_queue_get(kind == GET ? source : sink, &number, 8, KIN_NEVER), 2);
}

static void *holder(void *unused)
{
    (void)unused;
    toggle(RLOCK, false);
    words[900] = 1;
    KT_UNTIL(words[901]);
    toggle(RLOCK, true);
    return NULL;
}

/* Nothing is ready; another thread has the rlock, until words[901]. */
static pthread_t holder_thread;

static void open_all(void)
{
    begin();
    KT_OK(kin_lock_create(arena, NULL, &lock));
    KT_OK(kin_rlock_create(arena, NULL, &rlock));
    KT_OK(kin_semaphore_create(arena, 0, NULL, &semaphore));
    KT_OK(kin_event_create(arena, NULL, &event));
    source = kt_queue(arena, 0, 0);
    sink = kt_queue(arena, 1, 0);
    fd = eventfd(0, EFD_CLOEXEC);
    struct kin_wait all[KINDS] = {
        kin_wait_lock(lock),   kin_wait_rlock(rlock), kin_wait_semaphore(semaphore),
        kin_wait_event(event), kin_wait_get(source),  kin_wait_put(sink),
        kin_wait_fd(fd)};
    memcpy(waits, all, sizeof all);
    toggle(LOCK, false);
    toggle(PUT, false);
    ck_assert_int_eq(pthread_create(&holder_thread, NULL, holder, NULL), 0);
    KT_UNTIL(words[900]);
}

static void free_rlock(void)
{
    words[901] = 1;
    pthread_join(holder_thread, NULL);
}

static void close_all(void)
{
    if (!words[901])
        free_rlock();
    close(fd);
    kin_lock_destroy(lock);
    kin_rlock_destroy(rlock);
    kin_semaphore_destroy(semaphore);
    kin_event_destroy(event);
    kin_queue_destroy(source);
    kin_queue_destroy(sink);
    finish();
}

static int any(uint32_t count, kin_deadline deadline)
{
    return kin_wait_any(arena, waits, count, deadline);
}

/* --- errors --------------------------------------------------------------------------------- */

START_TEST(bad_input)
{
    struct kin_wait many[KIN_WAIT_ANY_MAX + 1];
    open_all();
    KT_IS(any(0, KIN_NOW), -EINVAL);
    for (uint32_t i = 0; i <= KIN_WAIT_ANY_MAX; i++)
        many[i] = kin_wait_event(event);
    KT_IS(kin_wait_any(arena, many, KIN_WAIT_ANY_MAX + 1, KIN_NOW), -EINVAL);
    KT_IS(kin_wait_any(arena, many, UINT32_MAX, KIN_NOW), -EINVAL);
    KT_IS(kin_wait_any(arena, many, KIN_WAIT_ANY_MAX, KIN_NOW), -ETIMEDOUT);
    static const uint32_t no_kinds[] = {0, KIN_WAIT_SEND + 1, 1000, UINT32_MAX};
    for (int i = 0; i < 4; i++) {
        many[1] = (struct kin_wait){no_kinds[i], -1, event};
        KT_IS(kin_wait_any(arena, many, 3, KIN_NOW), -EINVAL);
        ck_assert_uint_gt(strlen(kin_error_text()), 0);
    }
    int closed = dup(fd);
    close(closed);
    many[1] = kin_wait_fd(closed);
    KT_IS(kin_wait_any(arena, many, 2, KIN_NOW), -EBADF);
    KT_IS(kin_wait_any(arena, &many[1], 1, KIN_NEVER), -EBADF);
    many[1] = kin_wait_fd(-1);
    KT_IS(kin_wait_any(arena, many, 2, KIN_NEVER), -EBADF);
    close_all();
}
END_TEST

START_TEST(objects_of_another_kind)
{
    open_all();
    for (uint32_t i = LOCK; i < FD; i++) {
        for (uint32_t kind = KIN_WAIT_LOCK; kind < KIN_WAIT_FD; kind++) {
            struct kin_wait wait = {kind, -1, waits[i].object};
            bool fits = kind == waits[i].kind || (i >= GET && kind >= KIN_WAIT_GET);
            if (!fits)
                KT_IS(kin_wait_any(arena, &wait, 1, KIN_NOW), -EPROTOTYPE);
        }
    }
    close_all();
}
END_TEST

START_TEST(objects_of_another_arena)
{
    struct kin_arena *first;
    open_all();
    first = arena;
    arena = kt_arena(0);
    for (uint32_t i = LOCK; i < FD; i++)
        KT_IS(kin_wait_any(arena, &waits[i], 1, KIN_NOW), -EXDEV);
    kin_arena_detach(arena);
    arena = first;
    close_all();
}
END_TEST

/* --- one thread ----------------------------------------------------------------------------- */

START_TEST(nothing_is_ready)
{
    open_all();
    for (uint32_t count = 1; count <= KINDS; count++) {
        KT_IS(any(count, KIN_NOW), -ETIMEDOUT);
        KT_IS(any(count, -8), -ETIMEDOUT);
        int64_t until = kin_after_ms(15);
        KT_IS(any(count, until), -ETIMEDOUT);
        ck_assert_int_ge(kin_now_ns(), until);
    }
    for (uint32_t i = 0; i < KINDS; i++) {
        KT_IS(kin_wait_any(arena, &waits[i], 1, KIN_NOW), -ETIMEDOUT);
        KT_IS(kin_wait_any(arena, &waits[i], 1, kin_after_ms(5)), -ETIMEDOUT);
    }
    close_all();
}
END_TEST

/* One kind after the other becomes ready, and stays it: nothing is taken. */
START_TEST(the_first_that_is_ready)
{
    open_all();
    for (int kind = FD; kind >= 0; kind--) {
        if (kind == RLOCK)
            free_rlock();
        else
            toggle(kind, true);
        for (int i = 0; i < 3; i++) {
            KT_IS(kin_wait_any(arena, &waits[kind], 1, KIN_NOW), 0);
            KT_IS(any(KINDS, i == 0 ? KIN_NOW : KIN_NEVER), kind);
        }
    }
    KT_IS(kin_lock_locked(lock), 0);
    KT_IS(kin_rlock_locked(rlock), 0);
    KT_IS(kin_semaphore_value(semaphore), 1);
    KT_IS(kin_event_is_set(event), 1);
    KT_IS(kin_queue_size(source), 1);
    KT_IS(kin_queue_size(sink), 0);
    for (int kind = 0; kind < FD; kind++) { /* each is no longer: the next one is the first */
        KT_IS(any(KINDS, KIN_NEVER), kind);
        if (kind != RLOCK) {
            toggle(kind, false);
            continue;
        }
        toggle(RLOCK, false); /* the calling thread has it: ready for it */
        KT_IS(any(KINDS, KIN_NOW), RLOCK);
        toggle(RLOCK, true);
        waits[RLOCK] = waits[LOCK];
    }
    KT_IS(any(KINDS, KIN_NOW), FD);
    toggle(FD, false);
    KT_IS(any(KINDS, KIN_NOW), -ETIMEDOUT);
    close_all();
}
END_TEST

START_TEST(queues_that_are_shut_down)
{
    open_all();
    KT_OK(kin_queue_shutdown(source, KIN_WHEN_DRAINED));
    KT_IS(any(KINDS, KIN_NOW), GET);
    KT_OK(kin_queue_shutdown(sink, KIN_WHEN_DRAINED));
    KT_IS(kin_wait_any(arena, &waits[PUT], 1, KIN_NOW), 0);
    close_all();
}
END_TEST

/* --- two parties ---------------------------------------------------------------------------- */

/* words[0]: 1000 + what it returned; me: how many it waits for */
static void wait_for_any(int me)
{
    words[1] = 1;
    words[0] = 1000 + any((uint32_t)me, KIN_NEVER);
}

/* _i: the form, and what becomes ready while the party sleeps; with and without a descriptor */
START_TEST(each_kind_wakes)
{
    struct party party;
    const int kind = _i / 2;
    for (int count = kind < FD ? FD : KINDS; count <= KINDS; count++) {
        open_all();
        for (int round = 0; round < (kind == RLOCK ? 1 : 10); round++) {
            words[0] = words[1] = 0;
            party_start(&party, _i % 2, wait_for_any, count);
            KT_UNTIL(words[1]);
            usleep(round % 2 ? 100 : 3000);
            ck_assert_int_eq(words[0], 0);
            if (kind == RLOCK)
                free_rlock();
            else
                toggle(kind, true);
            party_join(&party);
            ck_assert_int_eq(words[0] - 1000, kind);
            if (kind != RLOCK)
                toggle(kind, false);
        }
        close_all();
    }
}
END_TEST

static struct kin_event *events[KIN_WAIT_ANY_MAX];
static int rounds;

/* Party 1 sets one of them, party 0 finds which. Lost wake-ups are hangs. */
static void find_the_event(int me)
{
    struct kt_random random = kt_random_of("find_the_event", 0); /* the same in both */
    struct kin_wait all[KIN_WAIT_ANY_MAX];
    for (uint32_t i = 0; i < KIN_WAIT_ANY_MAX; i++)
        all[i] = kin_wait_event(events[i]);
    for (int i = 0; i < rounds; i++) {
        int which = (int)kt_random_below(&random, KIN_WAIT_ANY_MAX);
        uint64_t delay = kt_random_below(&random, 300);
        if (me == 1) {
            KT_UNTIL(words[0] == i);
            for (volatile uint64_t j = delay * 10; j > 0; j--)
                ;
            PARTY_IS(kin_event_set(events[which]), 0);
        } else {
            PARTY_IS(kin_wait_any(arena, all, KIN_WAIT_ANY_MAX, KIN_NEVER), which);
            PARTY_IS(kin_event_clear(events[which]), 0);
            words[0]++;
        }
    }
}

START_TEST(as_many_as_can_be)
{
    begin();
    rounds = kt_scaled(1000);
    for (uint32_t i = 0; i < KIN_WAIT_ANY_MAX; i++)
        KT_OK(kin_event_create(arena, NULL, &events[i]));
    with(_i, 2, find_the_event);
    for (uint32_t i = 0; i < KIN_WAIT_ANY_MAX; i++)
        kin_event_destroy(events[i]);
    finish();
}
END_TEST

static void take_one(int kind)
{
    toggle(kind, false);
    if (kind != SEMAPHORE && kind != GET)
        toggle(kind, true);
    words[2] = 1;
}

/* Who waits for any takes nothing: the one behind it that wants to take it is woken, too. */
START_TEST(a_wake_is_not_swallowed)
{
    static const int kinds[] = {LOCK, SEMAPHORE, GET, PUT};
    struct party watcher, taker;
    const int kind = kinds[_i / 2];
    open_all();
    for (int i = 0; i < 10; i++) {
        words[0] = words[1] = words[2] = 0;
        party_start(&watcher, _i % 2, wait_for_any, FD);
        KT_UNTIL(words[1]);
        a_moment();
        party_start(&taker, _i % 2, take_one, kind);
        a_moment();
        ck_assert_int_eq(words[2], 0);
        toggle(kind, true);
        KT_UNTIL(words[2]); /* does not hang */
        party_join(&taker);
        if (kind == SEMAPHORE || kind == GET)
            toggle(kind, true); /* if the taker was quicker */
        party_join(&watcher);
        ck_assert_int_eq(words[0] - 1000, kind);
        toggle(kind, false);
    }
    close_all();
}
END_TEST

static void watch_until_stale(int me)
{
    (void)me;
    words[1]++;
    PARTY_IS(kin_wait_any(arena, &waits[EVENT], 1, KIN_NEVER), -ESTALE);
}

START_TEST(destroyed_while_a_thread_waits)
{
    struct party parties[2];
    open_all();
    for (int i = 0; i < 2; i++)
        party_start(&parties[i], THREADS, watch_until_stale, i);
    KT_UNTIL(words[1] == 2);
    a_moment();
    kin_event_destroy(event);
    for (int i = 0; i < 2; i++)
        party_join(&parties[i]);
    event = NULL;
    close_all();
}
END_TEST

/* words[10 + kind]: how often something was taken; even parties give, odd ones look and take. */
static void give_and_take(int me)
{
    struct kt_random random = kt_random_of("give_and_take", (uint64_t)me);
    const int kinds[] = {SEMAPHORE, GET};
    char text[8];
    for (int i = 0; me % 2 == 0 && i < rounds; i++) {
        toggle(kinds[kt_random_below(&random, 2)], true);
        tiny_delay(&random);
    }
    for (int i = 0; me % 2 == 1 && i < rounds;) {
        int r = any(FD, KIN_NEVER);
        KT_CHECK(r == SEMAPHORE || r == GET);
        bool taken = r == GET ? kin_queue_try_get(source, text, sizeof text) == 2
                              : kin_semaphore_try_acquire(semaphore) == 0;
        words[10 + r] += taken;
        i += taken;
    }
}

START_TEST(storm)
{
    open_all();
    rounds = kt_scaled(5000);
    with(_i, 6, give_and_take);
    ck_assert_int_eq(words[10 + SEMAPHORE] + words[10 + GET], (int64_t)3 * rounds);
    KT_IS(any(KINDS, KIN_NOW), -ETIMEDOUT);
    close_all();
}
END_TEST

/* --- death ---------------------------------------------------------------------------------- */

static void hold_and_die(int me)
{
    if (me == LOCK)
        PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    else if (me == SEMAPHORE)
        PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
    die_here();
}

/* What the dead one held becomes ready, and so does its process. */
START_TEST(the_holder_dies)
{
    struct party victim;
    open_all();
    kin_semaphore_destroy(semaphore);
    KT_OK(kin_semaphore_create(arena, 1, NULL, &semaphore));
    toggle(LOCK, true);
    for (int i = 0; i < 3; i++) {
        const int kind = i == 0 ? LOCK : i == 1 ? SEMAPHORE : FD;
        struct kin_wait pair[2] = {kin_wait_event(event)};
        READY = 0;
        party_start(&victim, PROCESSES, hold_and_die, kind);
        KT_UNTIL(READY);
        pair[1] = i == 0   ? kin_wait_lock(lock)
                  : i == 1 ? kin_wait_semaphore(semaphore)
                           : kin_wait_process(victim.process);
        KT_IS(kin_wait_any(arena, pair, 2, kin_after_ms(5)), -ETIMEDOUT);
        KT_OK(kin_process_kill(victim.process));
        KT_IS(kin_wait_any(arena, pair, 2, KIN_NEVER), 1);
        KT_IS(kin_wait_any(arena, &pair[1], 1, KIN_NEVER), 0);
        party_kill(&victim);
        if (i == 0) {
            KT_IS(kin_lock_acquire(lock, KIN_NOW), KIN_ABANDONED);
            KT_IS(kin_lock_release(lock), 0);
        }
    }
    close_all();
}
END_TEST

/* Killed or stopped while it waits: the wake is for the others. */
START_TEST(a_waiter_is_killed)
{
    struct party watcher, taker;
    open_all();
    for (int i = 0; i < 10; i++) {
        words[1] = words[2] = 0;
        party_start(&watcher, PROCESSES, wait_for_any, FD);
        KT_UNTIL(words[1]);
        a_moment();
        party_start(&taker, i % 2, take_one, SEMAPHORE);
        KT_UNTIL(kin_semaphore_waiting(semaphore) >= 1);
        a_moment();
        party_stop(&watcher);
        toggle(SEMAPHORE, true);
        party_kill(&watcher);
        party_join(&taker);
    }
    KT_IS(kin_semaphore_value(semaphore), 0);
    close_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/wait_any");
    TCase *t = kt_case(suite, "one", 20);
    tcase_add_test(t, bad_input);
    tcase_add_test(t, objects_of_another_kind);
    tcase_add_test(t, objects_of_another_arena);
    tcase_add_test(t, nothing_is_ready);
    tcase_add_test(t, the_first_that_is_ready);
    tcase_add_test(t, queues_that_are_shut_down);
    t = kt_case(suite, "two", 40);
    for (int kind = 0; kind < KINDS; kind++)
        tcase_add_loop_test(t, each_kind_wakes, kind * 2, kind * 2 + forms());
    for (int kind = 0; kind < 4; kind++)
        tcase_add_loop_test(t, a_wake_is_not_swallowed, kind * 2, kind * 2 + forms());
    tcase_add_loop_test(t, as_many_as_can_be, 0, forms());
    tcase_add_test(t, destroyed_while_a_thread_waits);
    t = kt_case(suite, "storm", 60);
    tcase_add_loop_test(t, storm, 0, forms());
    if (has_processes()) {
        t = kt_case(suite, "death", 30);
        tcase_add_test(t, the_holder_dies);
        tcase_add_test(t, a_waiter_is_killed);
    }
    return kt_run(suite);
}
