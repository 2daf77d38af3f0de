/* SPDX-License-Identifier: MIT
 * Locks: one holder, any releaser, and what happens when the holder dies. */
#include "sync_fixture.h"

static struct kin_lock *lock, *locks[2];

static struct kin_lock *make(const char *name, uint32_t on_abandoned)
{
    struct kin_lock *made = NULL;
    const struct kin_lock_opts opts = {
        .size = sizeof opts, .on_abandoned = on_abandoned, .name = name};
    KT_IS(kin_lock_create(arena, &opts, &made), 0);
    ck_assert_ptr_nonnull(made);
    return made;
}

static void open_lock(void)
{
    begin();
    lock = make("the lock", KIN_TELL);
}

static void close_lock(void)
{
    KT_IS(kin_lock_waiting(lock), 0);
    kin_lock_destroy(lock);
    finish();
}

/* --- one thread ----------------------------------------------------------------------------- */

static int create(const struct kin_lock_opts *opts)
{
    struct kin_lock *made = (void *)1;
    int r = kin_lock_create(arena, opts, &made);
    if (r < 0)
        ck_assert_ptr_eq(made, (void *)1);
    else
        kin_lock_destroy(made);
    return r;
}

START_TEST(options)
{
    begin();
    CHECK_OPTS(struct kin_lock_opts, create);
    KT_IS(create(&(struct kin_lock_opts){.on_abandoned = KIN_REFUSE_ONCE}), 0);
    KT_IS(create(&(struct kin_lock_opts){.on_abandoned = 2}), -EINVAL);
    KT_IS(create(&(struct kin_lock_opts){.on_abandoned = UINT32_MAX}), -EINVAL);
    kin_lock_destroy(NULL);
    finish();
}
END_TEST

START_TEST(acquire_and_release)
{
    open_lock();
    KT_IS(kin_lock_release(lock), -EPERM);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    for (int i = 0; i < 3; i++) {
        KT_IS(kin_lock_locked(lock), 0);
        if (i == 0)
            KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        else if (i == 1)
            KT_IS(kin_lock_try_acquire(lock), 0);
        else
            KT_IS(kin_lock_acquire(lock, -5), 0); /* has passed: tries once */
        KT_IS(kin_lock_locked(lock), 1);
        KT_IS(kin_lock_try_acquire(lock), -EAGAIN); /* its holder, too */
        KT_IS(kin_lock_acquire(lock, KIN_NOW), -ETIMEDOUT);
        KT_IS(kin_lock_acquire(lock, -5), -ETIMEDOUT);
        int64_t until = kin_after_ms(20);
        KT_IS(kin_lock_acquire(lock, until), -ETIMEDOUT);
        ck_assert_int_ge(kin_now_ns(), until);
        KT_IS(kin_lock_locked(lock), 1);
        KT_IS(kin_lock_release(lock), 0);
        KT_IS(kin_lock_release(lock), -EPERM);
    }
    KT_IS(kin_lock_acquire(lock, kin_after_ms(20000)), 0);
    KT_IS(kin_lock_release(lock), 0);
    KT_IS(kin_lock_abandoned(lock), 0);
    close_lock();
}
END_TEST

START_TEST(handles_of_another_kind)
{
    struct kin_semaphore *semaphore = NULL;
    struct kin_rlock *rlock = NULL;
    struct kin_owner owner;
    open_lock();
    KT_OK(kin_semaphore_create(arena, 1, NULL, &semaphore));
    KT_OK(kin_rlock_create(arena, NULL, &rlock));
    void *others[2] = {semaphore, rlock};
    for (int i = 0; i < 2; i++) {
        struct kin_lock *other = others[i];
        KT_IS(kin_lock_acquire(other, KIN_NOW), -EPROTOTYPE);
        KT_IS(kin_lock_try_acquire(other), -EPROTOTYPE);
        KT_IS(kin_lock_release(other), -EPROTOTYPE);
        KT_IS(kin_lock_locked(other), -EPROTOTYPE);
        KT_IS(kin_lock_owner(other, &owner), -EPROTOTYPE);
        KT_IS(kin_lock_waiting(other), -EPROTOTYPE);
        KT_IS(kin_lock_abandoned(other), -EPROTOTYPE);
    }
    KT_IS(kin_semaphore_value(semaphore), 1);
    KT_IS(kin_rlock_locked(rlock), 0);
    kin_semaphore_destroy(semaphore);
    kin_rlock_destroy(rlock);
    close_lock();
}
END_TEST

/* --- two parties ---------------------------------------------------------------------------- */

static void acquire(int me)
{
    if (party_form == PROCESSES)
        PARTY_IS(kin_thread_set_name(arena, "holder"), 0);
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    words[1] = getpid();
    words[2] = gettid();
    words[0] = 1;
    KT_UNTIL(words[3] || me);
    PARTY_IS(kin_lock_release(lock), me ? 0 : -EPERM);
}

/* Somebody holds it: main sees who, cannot have it, and releases it. */
START_TEST(held_by_another)
{
    struct kin_owner owner;
    struct party party;
    open_lock();
    memset(&owner, 0x55, sizeof owner);
    KT_IS(kin_lock_owner(lock, &owner), -ENOENT);
    ck_assert_int_eq(owner.pid, 0x55555555); /* out-parameters: on success only */
    party_start(&party, _i, acquire, 0);
    KT_UNTIL(words[0] == 1);
    KT_IS(kin_lock_owner(lock, &owner), 0);
    ck_assert_int_eq(owner.pid, words[1]);
    ck_assert_int_eq(owner.tid, words[2]);
    if (_i == PROCESSES) {
        ck_assert_str_eq(owner.process, kin_process_name(party.process));
        ck_assert_str_eq(owner.thread, "holder");
    } else {
        ck_assert_str_eq(owner.thread, "");
    }
    KT_IS(kin_lock_try_acquire(lock), -EAGAIN);
    KT_IS(kin_lock_acquire(lock, kin_after_ms(5)), -ETIMEDOUT);
    KT_IS(kin_lock_release(lock), 0); /* anybody may */
    KT_IS(kin_lock_locked(lock), 0);
    words[3] = 1;
    party_join(&party);
    KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    KT_IS(kin_lock_owner(lock, &owner), 0);
    ck_assert_int_eq(owner.pid, getpid());
    ck_assert_int_eq(owner.tid, gettid());
    KT_IS(kin_lock_release(lock), 0);
    close_lock();
}
END_TEST

/* Release wakes the one that waits. */
START_TEST(release_wakes)
{
    struct party party;
    open_lock();
    for (int i = 0; i < kt_scaled(50); i++) {
        words[0] = 0;
        KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        party_start(&party, _i, acquire, 1);
        KT_UNTIL(kin_lock_waiting(lock) == 1);
        ck_assert_int_eq(words[0], 0);
        KT_IS(kin_lock_release(lock), 0);
        party_join(&party);
        ck_assert_int_eq(words[0], 1);
    }
    close_lock();
}
END_TEST

/* All have waited long enough: they are served in order of coming. */
static void note_order(int me)
{
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    words[10 + words[5]++] = me;
    usleep(12000); /* every few milliseconds it is kept for who waits longest */
    PARTY_IS(kin_lock_release(lock), 0);
}

START_TEST(who_waits_longest_is_first)
{
    struct party parties[5];
    open_lock();
    KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    for (int i = 0; i < 5; i++) {
        party_start(&parties[i], _i, note_order, i);
        KT_UNTIL(kin_lock_waiting(lock) == i + 1);
        a_moment();
    }
    KT_IS(kin_lock_release(lock), 0);
    for (int i = 0; i < 5; i++)
        party_join(&parties[i]);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(words[10 + i], i);
    close_lock();
}
END_TEST

/* Nobody overtakes the one that has waited for long. */
START_TEST(no_overtaking_after_a_while)
{
    struct party party;
    open_lock();
    for (int i = 0; i < kt_scaled(30); i++) {
        KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        words[5] = 0;
        party_start(&party, _i, note_order, i);
        KT_UNTIL(kin_lock_waiting(lock) == 1);
        a_moment();
        KT_IS(kin_lock_release(lock), 0);
        int r = kin_lock_acquire(lock, KIN_NEVER);
        ck_assert_int_eq(r, 0);
        ck_assert_int_eq(words[5], 1); /* it was served before */
        KT_IS(kin_lock_release(lock), 0);
        party_join(&party);
    }
    close_lock();
}
END_TEST

/* One that lets go only to take it again does not starve the other. */
static void greedy(int me)
{
    for (int64_t i = 0; me == 0 ? !words[0] : i < 100; i++) {
        PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        if (me == 1)
            usleep(10);
        PARTY_IS(kin_lock_release(lock), 0);
    }
    if (me == 1)
        words[0] = 1;
}

START_TEST(nobody_starves)
{
    open_lock();
    with(_i, 2, greedy);
    KT_IS(kin_lock_locked(lock), 0);
    close_lock();
}
END_TEST

static void time_out(int me)
{
    PARTY_IS(kin_lock_acquire(lock, me ? KIN_NEVER : kin_after_ms(30)), me ? 0 : -ETIMEDOUT);
    words[me] = 1;
    if (me)
        PARTY_IS(kin_lock_release(lock), 0);
}

/* The first in the queue gives up: the second gets the lock. */
START_TEST(a_waiter_gives_up)
{
    struct party first, second;
    open_lock();
    KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    party_start(&first, _i, time_out, 0);
    KT_UNTIL(kin_lock_waiting(lock) == 1 || words[0]);
    party_start(&second, _i, time_out, 1);
    KT_UNTIL(words[0] == 1);
    KT_UNTIL(kin_lock_waiting(lock) == 1);
    party_join(&first);
    KT_IS(kin_lock_release(lock), 0);
    party_join(&second);
    close_lock();
}
END_TEST

/* --- destroyed, left ------------------------------------------------------------------------ */

static void wait_until_stale(int me)
{
    (void)me;
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), -ESTALE);
    words[0]++;
}

START_TEST(destroyed_while_threads_wait)
{
    struct party parties[3];
    open_lock();
    KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    for (int i = 0; i < 3; i++)
        party_start(&parties[i], THREADS, wait_until_stale, i);
    KT_UNTIL(kin_lock_waiting(lock) == 3);
    kin_lock_destroy(lock);
    for (int i = 0; i < 3; i++)
        party_join(&parties[i]);
    ck_assert_int_eq(words[0], 3);
    finish();
}
END_TEST

static void destroy_holding(int me)
{
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    words[0] = 1;
    KT_UNTIL(words[1]);
    kin_lock_destroy(lock);
    words[2] = 1;
    KT_UNTIL(words[3] == me);
}

/* The handle of a process that lives on, and that of one that leaves. */
START_TEST(destroyed_by_the_process_that_holds_it)
{
    struct party party;
    for (int waits = 0; waits < 2; waits++) {
        open_lock();
        party_start(&party, PROCESSES, destroy_holding, 1);
        KT_UNTIL(words[0]);
        KT_IS(kin_lock_try_acquire(lock), -EAGAIN);
        words[1] = 1;
        if (!waits)
            KT_UNTIL(words[2]);
        KT_IS(kin_lock_acquire(lock, KIN_NEVER), KIN_ABANDONED);
        KT_IS(kin_lock_abandoned(lock), 1);
        KT_IS(kin_lock_release(lock), 0);
        words[3] = 1;
        party_join(&party);
        KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        KT_IS(kin_lock_release(lock), 0);
        KT_IS(kin_lock_abandoned(lock), 1);
        close_lock();
    }
}
END_TEST

static void acquire_and_end(int me)
{
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), me);
    words[2] = gettid();
}

/* Only the thread ends: the lock stays held, and is abandoned with the process. */
START_TEST(a_thread_ends_with_it)
{
    struct kin_owner owner;
    open_lock();
    for (int i = 0; i < 3; i++) {
        with(THREADS, 1, acquire_and_end);
        KT_IS(kin_arena_reap(arena), 0);
        a_moment();
        KT_IS(kin_lock_locked(lock), 1);
        KT_IS(kin_lock_try_acquire(lock), -EAGAIN);
        KT_IS(kin_lock_owner(lock, &owner), 0);
        ck_assert_int_eq(owner.pid, getpid());
        KT_IS(kin_lock_release(lock), 0);
        KT_IS(kin_lock_acquire(lock, KIN_NOW), 0);
        KT_IS(kin_lock_release(lock), 0);
    }
    KT_IS(kin_lock_abandoned(lock), 0);
    close_lock();
}
END_TEST

/* --- a storm -------------------------------------------------------------------------------- */

static int storm_rounds;

/* The lock protects plain[0], a counter, and plain[1], who is inside. */
static void storm(int me)
{
    struct kt_random random = kt_random_of("storm", (uint64_t)me);
    for (int i = 0; i < storm_rounds;) {
        uint64_t how = kt_random_below(&random, 8);
        int r = how == 0   ? kin_lock_try_acquire(lock)
                : how == 1 ? kin_lock_acquire(lock, kin_after_us(50))
                           : kin_lock_acquire(lock, KIN_NEVER);
        if (r == -EAGAIN || r == -ETIMEDOUT)
            continue;
        PARTY_IS(r, 0);
        KT_CHECK(plain[1] == 0);
        plain[1] = me + 1;
        plain[0]++;
        tiny_delay(&random);
        KT_CHECK(plain[1] == me + 1);
        plain[1] = 0;
        PARTY_IS(kin_lock_release(lock), 0);
        i++;
    }
}

START_TEST(one_at_a_time)
{
    open_lock();
    storm_rounds = kt_scaled(20000);
    with(_i, 5, storm);
    ck_assert_int_eq(plain[0], (int64_t)5 * storm_rounds);
    KT_IS(kin_lock_locked(lock), 0);
    KT_IS(kin_lock_abandoned(lock), 0);
    close_lock();
}
END_TEST

static void hand_over_hand(int me)
{
    for (int i = 0; i < storm_rounds; i++) { /* each releases the other's */
        PARTY_IS(kin_lock_acquire(locks[me], KIN_NEVER), 0);
        plain[0]++;
        PARTY_IS(kin_lock_release(locks[1 - me]), 0);
    }
    words[7]++;
    KT_UNTIL(words[7] == 2);
}

/* Ping-pong: a lost wake-up is a hang. */
START_TEST(released_by_the_other_one)
{
    begin();
    storm_rounds = kt_scaled(100000);
    for (int i = 0; i < 2; i++)
        locks[i] = make(NULL, KIN_TELL);
    KT_IS(kin_lock_acquire(locks[1], KIN_NEVER), 0);
    with(_i, 2, hand_over_hand);
    ck_assert_int_eq(plain[0], (int64_t)2 * storm_rounds);
    KT_IS(kin_lock_locked(locks[0]), 0);
    KT_IS(kin_lock_abandoned(locks[0]), 0);
    KT_IS(kin_lock_locked(locks[1]), _i == THREADS); /* the process that has it left */
    KT_IS(kin_lock_abandoned(locks[1]), _i == PROCESSES);
    for (int i = 0; i < 2; i++)
        kin_lock_destroy(locks[i]);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/lock");
    TCase *t = kt_case(suite, "one", 20);
    tcase_add_test(t, options);
    tcase_add_test(t, acquire_and_release);
    tcase_add_test(t, handles_of_another_kind);
    t = kt_case(suite, "two", 30);
    tcase_add_loop_test(t, held_by_another, 0, forms());
    tcase_add_loop_test(t, release_wakes, 0, forms());
    tcase_add_loop_test(t, who_waits_longest_is_first, 0, forms());
    tcase_add_loop_test(t, no_overtaking_after_a_while, 0, forms());
    tcase_add_loop_test(t, nobody_starves, 0, forms());
    tcase_add_loop_test(t, a_waiter_gives_up, 0, forms());
    t = kt_case(suite, "gone", 20);
    tcase_add_test(t, destroyed_while_threads_wait);
    tcase_add_test(t, a_thread_ends_with_it);
    if (has_processes())
        tcase_add_test(t, destroyed_by_the_process_that_holds_it);
    t = kt_case(suite, "storm", 60);
    tcase_add_loop_test(t, one_at_a_time, 0, forms());
    tcase_add_loop_test(t, released_by_the_other_one, 0, forms());
    return kt_run(suite);
}
