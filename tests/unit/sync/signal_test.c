/* SPDX-License-Identifier: MIT
 * What may be called in signal handlers is: event set, clear, is_set, and semaphore release, in
 * handlers that interrupt kin calls on the same and on other objects, thousands of times. */
#include "sync_fixture.h"

static struct kin_semaphore *semaphore;
static struct kin_event *event;
static struct kin_lock *lock;
static struct kin_queue *queue;
static _Atomic int64_t *handled, *failed; /* in words */
static int64_t signals_wanted;

static void open_all(uint32_t permits)
{
    begin();
    handled = &words[100];
    failed = &words[101];
    signals_wanted = kt_scaled(4000);
    queue = kt_queue(arena, 0, 0);
    KT_OK(kin_semaphore_create(arena, permits, NULL, &semaphore));
    KT_OK(kin_event_create(arena, NULL, &event));
    KT_OK(kin_lock_create(arena, NULL, &lock));
}

static void close_all(void)
{
    KT_IS(kin_lock_locked(lock), 0);
    kin_semaphore_destroy(semaphore);
    kin_event_destroy(event);
    kin_lock_destroy(lock);
    kin_queue_destroy(queue);
    finish();
}

/* --- handlers ------------------------------------------------------------------------------- */

static void release_one(int signal)
{
    (void)signal;
    int saved = errno;
    if (kin_semaphore_release(semaphore) != 0)
        ++*failed;
    ++*handled;
    errno = saved;
}

static void release_three(int signal)
{
    (void)signal;
    if (kin_semaphore_release_many(semaphore, 3) != 0)
        ++*failed;
    ++*handled;
}

static void set_event(int signal)
{
    (void)signal;
    if (kin_event_set(event) != 0)
        ++*failed;
    if (kin_event_is_set(event) < 0)
        ++*failed;
    ++*handled;
}

static void pulse_event(int signal)
{
    (void)signal;
    if (kin_event_set(event) != 0 || kin_event_clear(event) != 0)
        ++*failed;
    ++*handled;
}

/* No more signals, from here to the end of the party: it is about to leave the arena. */
static void content(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    words[0] = 1;
}

/* --- who is interrupted --------------------------------------------------------------------- */

/* Waits for what only its own handler, and that of others, gives. */
static void acquire_all(int me)
{
    (void)me;
    words[1] = 1;
    for (int64_t i = 0; i < signals_wanted; i++) {
        PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
        words[2]++;
    }
    content();
}

static void wait_for_events(int me)
{
    (void)me;
    words[1] = 1;
    while (*handled < signals_wanted) {
        PARTY_IS(kin_event_wait(event, KIN_NEVER), 0);
        PARTY_IS(kin_event_clear(event), 0);
        words[2]++;
    }
    content();
}

/* Calls of every kind, none of which waits; it takes and gives back permits of the same semaphore.
 */
static void hammer(int me)
{
    struct kt_random random = kt_random_of("hammer", (uint64_t)me);
    char text[200] = "";
    words[1] = 1;
    while (*handled < signals_wanted) {
        PARTY_IS(kin_semaphore_acquire(semaphore, KIN_NEVER), 0);
        PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        PARTY_IS(kin_queue_put(queue, text, kt_random_below(&random, sizeof text), KIN_NEVER), 0);
        KT_CHECK(kin_queue_get(queue, text, sizeof text, KIN_NEVER) >= 0);
        PARTY_IS(kin_lock_release(lock), 0);
        PARTY_IS(kin_event_set(event), 0);
        PARTY_IS(kin_event_wait(event, KIN_NEVER), 0);
        PARTY_IS(kin_event_clear(event), 0);
        PARTY_IS(kin_semaphore_release(semaphore), 0);
        struct kin_event *passing = NULL;
        PARTY_IS(kin_event_create(arena, NULL, &passing), 0);
        kin_event_destroy(passing);
        words[2]++;
    }
    content();
}

static void crowd(int me)
{
    struct kt_random random = kt_random_of("crowd", (uint64_t)me);
    while (!words[3]) {
        if (kin_semaphore_try_acquire(semaphore) == 0)
            PARTY_IS(kin_semaphore_release(semaphore), 0);
        PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        PARTY_IS(kin_lock_release(lock), 0);
        tiny_delay(&random);
    }
}

/* Send signals to the party, until it is content. */
static void pester(struct party *party)
{
    struct kt_random random = kt_random_of("pester", 0);
    KT_UNTIL(words[1]);
    while (!words[0]) {
        if (party->form == THREADS)
            pthread_kill(party->thread, SIGUSR1);
        else
            KT_OK(kin_process_signal(party->process, SIGUSR1));
        if (kt_random_below(&random, 16) == 0)
            usleep((useconds_t)kt_random_below(&random, 60)); /* let it fall asleep */
        for (volatile uint64_t i = kt_random_below(&random, 3000); i > 0; i--)
            ;
    }
}

static const struct way {
    void (*handler)(int);
    party_fn victim;
    uint32_t permits; /* at first */
    int gives;        /* permits, each handler */
} ways[] = {
    {release_one, acquire_all, 0, 1},   {release_three, acquire_all, 0, 3},
    {release_one, hammer, 1, 1},        {release_three, hammer, 2, 3},
    {set_event, wait_for_events, 1, 0}, {set_event, hammer, 1, 0},
};
#define WAYS ((int)(sizeof ways / sizeof ways[0]))

/* _i: the form of the victim, alone or in a crowd, and the way */
START_TEST(interrupted_everywhere)
{
    const struct way *way = &ways[_i / 4];
    struct party victim, others[2];
    const int form = _i % 2, others_count = _i / 2 % 2 ? 2 : 0;
    if (form == PROCESSES && !has_processes())
        return;
    open_all(way->permits);
    on_signal(way->handler);
    party_start(&victim, form, way->victim, 0);
    for (int i = 0; i < others_count; i++)
        party_start(&others[i], THREADS, crowd, i);
    pester(&victim);
    party_join(&victim);
    words[3] = 1;
    for (int i = 0; i < others_count; i++)
        party_join(&others[i]);
    ck_assert_int_eq(*failed, 0);
    int64_t taken = way->victim == acquire_all ? words[2] : 0;
    ck_assert_int_gt(*handled, signals_wanted / (way->gives > 1 ? 4 : 2));
    KT_IS(kin_semaphore_value(semaphore), way->permits + *handled * way->gives - taken);
    close_all();
}
END_TEST

/* A handler releases while another thread of the process acquires. */
static void take_until_stopped(int me)
{
    (void)me;
    while (!words[3] || kin_semaphore_value(semaphore) > 0) {
        int r = kin_semaphore_acquire(semaphore, kin_after_ms(1));
        KT_CHECK(r == 0 || r == -ETIMEDOUT);
        words[4] += r == 0;
    }
}

START_TEST(taken_by_others)
{
    struct party victim, takers[3];
    open_all(0);
    on_signal(release_one);
    for (int i = 0; i < 3; i++)
        party_start(&takers[i], _i, take_until_stopped, i);
    signals_wanted /= 4;
    KT_OK(kin_semaphore_release(semaphore)); /* something for the victim to begin with */
    party_start(&victim, THREADS, hammer, 0);
    pester(&victim);
    party_join(&victim);
    words[3] = 1;
    for (int i = 0; i < 3; i++)
        party_join(&takers[i]);
    ck_assert_int_eq(*failed, 0);
    ck_assert_int_eq(words[4] + kin_semaphore_value(semaphore), *handled + 1);
    close_all();
}
END_TEST

/* A thread that has never used the arena is interrupted, and its handler does. */
static void compute_only(int me)
{
    (void)me;
    words[1] = 1;
    while (*handled < signals_wanted)
        ;
    content();
}

START_TEST(in_a_thread_that_has_never_used_it)
{
    struct party victim;
    open_all((uint32_t)_i);
    on_signal(release_one);
    party_start(&victim, THREADS, compute_only, 0);
    pester(&victim);
    party_join(&victim);
    ck_assert_int_eq(*failed, 0);
    KT_IS(kin_semaphore_value(semaphore), *handled + _i);
    close_all();
}
END_TEST

/* Set and cleared in a handler: whoever slept goes on, the thread that it interrupts too. */
static void wait_once(int me)
{
    (void)me;
    PARTY_IS(kin_event_wait(event, KIN_NEVER), 0);
    words[2]++;
}

START_TEST(pulsed_in_a_handler)
{
    open_all(0);
    on_signal(pulse_event);
    for (int i = 1; i <= kt_scaled(300); i++) {
        struct party parties[2];
        for (int j = 0; j < 2; j++)
            party_start(&parties[j], _i, wait_once, 0);
        KT_UNTIL(kin_event_waiting(event) == 2);
        if (_i == THREADS)
            pthread_kill(parties[0].thread, SIGUSR1);
        else
            KT_OK(kin_process_signal(parties[0].process, SIGUSR1));
        for (int j = 0; j < 2; j++)
            party_join(&parties[j]);
        ck_assert_int_eq(words[2], 2 * i);
        ck_assert_int_eq(*handled, i);
    }
    KT_IS(kin_event_is_set(event), 0);
    ck_assert_int_eq(*failed, 0);
    close_all();
}
END_TEST

/* A wait is not ended by a handler, nor is its deadline moved. */
static void nothing(int signal)
{
    (void)signal;
    ++*handled;
}

static void wait_in_vain(int me)
{
    int64_t until = kin_after_ms(150);
    words[1] = 1;
    int r = me == 0   ? kin_lock_acquire(lock, until)
            : me == 1 ? kin_semaphore_acquire(semaphore, until)
                      : kin_event_wait(event, until);
    PARTY_IS(r, -ETIMEDOUT);
    KT_CHECK(kin_now_ns() >= until);
    content();
}

START_TEST(waits_go_on)
{
    struct party victim;
    open_all(0);
    on_signal(nothing);
    KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    party_start(&victim, _i % 2, wait_in_vain, _i / 2);
    pester(&victim);
    party_join(&victim);
    ck_assert_int_gt(*handled, 10);
    KT_IS(kin_lock_release(lock), 0);
    close_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/signal");
    TCase *t = kt_case(suite, "hammer", 60);
    tcase_add_loop_test(t, interrupted_everywhere, 0, WAYS * 4);
    tcase_add_loop_test(t, taken_by_others, 0, forms());
    tcase_add_loop_test(t, in_a_thread_that_has_never_used_it, 0, 2);
    t = kt_case(suite, "wait", 60);
    tcase_add_loop_test(t, pulsed_in_a_handler, 0, forms());
    for (int kind = 0; kind < 3; kind++)
        tcase_add_loop_test(t, waits_go_on, kind * 2, kind * 2 + forms());
    return kt_run(suite);
}
