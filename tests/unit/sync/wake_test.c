/* SPDX-License-Identifier: MIT
 * Lost wake-ups of all the objects. As in wait_test.c the slices are taken away: every sleep lasts
 * until somebody wakes it, and a lost wake-up is a hang.
 *
 * Linked with --wrap=kini_os_futex_wait, kini_watch_leave, for the fences, which a sandbox may
 * refuse, and for the release with a barrier, to see it called; nobody dies in here, and nothing
 * has a deadline. */
#include "sync/lock_word.h"
#include "sync/watch.h"
#include "sync_fixture.h"

int __real_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline);
int __wrap_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline);

static _Atomic uint64_t sleeps;

int __wrap_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline)
{
    (void)deadline;
    sleeps++;
    return __real_kini_os_futex_wait(word, expected, KIN_NEVER);
}

/* Nobody is woken to look after the dead. */
void __wrap_kini_watch_leave(struct kini_self *self);
void __wrap_kini_watch_leave(struct kini_self *self)
{
    (void)self;
}

int __real_kini_os_fence(void);
int __wrap_kini_os_fence(void);
int __real_kini_os_fence_register(void);
int __wrap_kini_os_fence_register(void);

static bool fences_refused;

int __wrap_kini_os_fence(void)
{
    return fences_refused ? -EPERM : __real_kini_os_fence();
}

int __wrap_kini_os_fence_register(void)
{
    return fences_refused ? -EPERM : __real_kini_os_fence_register();
}

int __real_kini_lock_release_slow(struct kini_self *self, struct kini_lock_shm *shm);
int __wrap_kini_lock_release_slow(struct kini_self *self, struct kini_lock_shm *shm);

static _Atomic uint64_t exchanges; /* releases with a barrier */

int __wrap_kini_lock_release_slow(struct kini_self *self, struct kini_lock_shm *shm)
{
    exchanges++;
    return __real_kini_lock_release_slow(self, shm);
}

static int rounds;
static struct kin_lock *locks[2];
static struct kin_rlock *rlock;
static struct kin_semaphore *semaphores[2];
static struct kin_event *events[2];
static struct kin_condition *conditions[2]; /* with lock 0, with one of its own */
static struct kin_barrier *barrier;
static struct kin_rwlock *rwlock;

static void open_all(void)
{
    begin();
    for (uint32_t i = 0; i < 2; i++) {
        const struct kin_event_opts set = {.size = sizeof set, .set = !i};
        KT_OK(kin_lock_create(arena, NULL, &locks[i]));
        KT_OK(kin_semaphore_create(arena, 0, NULL, &semaphores[i]));
        KT_OK(kin_event_create(arena, &set, &events[i]));
        const struct kin_condition_opts with_lock = {.size = sizeof with_lock, .lock = locks[0]};
        KT_OK(kin_condition_create(arena, i == 0 ? &with_lock : NULL, &conditions[i]));
    }
    KT_OK(kin_rlock_create(arena, NULL, &rlock));
    KT_OK(kin_barrier_create(arena, 3, NULL, &barrier));
    KT_OK(kin_rwlock_create(arena, NULL, &rwlock));
}

static void close_all(void)
{
    for (int i = 0; i < 2; i++) {
        kin_condition_destroy(conditions[i]);
        kin_lock_destroy(locks[i]);
        kin_semaphore_destroy(semaphores[i]);
        kin_event_destroy(events[i]);
    }
    kin_rlock_destroy(rlock);
    kin_barrier_destroy(barrier);
    kin_rwlock_destroy(rwlock);
    finish();
}

/* Now and then long enough that the other one is asleep and not spinning. */
static void pause_a_little(int i)
{
    if (i % 32 == 0)
        usleep(100);
}

/* --- of two --------------------------------------------------------------------------------- */

static void by_semaphores(int me)
{
    for (int i = 0; i < rounds; i++) {
        if (me == 0)
            PARTY_IS(kin_semaphore_release(semaphores[1]), 0);
        PARTY_IS(kin_semaphore_acquire(semaphores[me], KIN_NEVER), 0);
        KT_CHECK(plain[0]++ == 2 * i + !me);
        pause_a_little(i);
        if (me == 1)
            PARTY_IS(kin_semaphore_release(semaphores[0]), 0);
    }
}

static void by_events(int me)
{
    for (int i = 0; i < rounds; i++) {
        PARTY_IS(kin_event_wait(events[me], KIN_NEVER), 0);
        PARTY_IS(kin_event_clear(events[me]), 0);
        KT_CHECK(plain[0]++ == 2 * i + me);
        pause_a_little(i + me);
        PARTY_IS(kin_event_set(events[1 - me]), 0);
    }
}

static void at_a_condition(struct kin_condition *condition, int me)
{
    for (int i = 0; i < rounds; i++) {
        PARTY_IS(kin_condition_acquire(condition, KIN_NEVER), 0);
        while (plain[0] % 2 != me)
            PARTY_IS(kin_condition_wait(condition, KIN_NEVER), 0);
        KT_CHECK(plain[0]++ == 2 * i + me);
        KT_CHECK(kin_condition_notify(condition, 1) >= 0);
        PARTY_IS(kin_condition_release(condition), 0);
        pause_a_little(i);
    }
}

static void by_a_lock_and_a_condition(int me)
{
    at_a_condition(conditions[0], me);
}

static void by_a_condition(int me)
{
    at_a_condition(conditions[1], me);
}

static void by_waiting_for_any(int me)
{
    struct kin_wait waits[2] = {kin_wait_lock(locks[1]), kin_wait_semaphore(semaphores[me])};
    for (int i = 0; i < rounds; i++) { /* main has the lock */
        if (me == 0)
            PARTY_IS(kin_semaphore_release(semaphores[1]), 0);
        PARTY_IS(kin_wait_any(arena, waits, 2, KIN_NEVER), 1);
        PARTY_IS(kin_semaphore_try_acquire(semaphores[me]), 0);
        KT_CHECK(plain[0]++ == 2 * i + !me);
        pause_a_little(i);
        if (me == 1)
            PARTY_IS(kin_semaphore_release(semaphores[0]), 0);
    }
}

static const struct {
    const char *name;
    party_fn fn;
} games[] = {
    {"semaphores", by_semaphores},
    {"events", by_events},
    {"condition with a lock", by_a_lock_and_a_condition},
    {"condition", by_a_condition},
    {"any", by_waiting_for_any},
};
#define GAMES ((int)(sizeof games / sizeof games[0]))

START_TEST(ping_pong_of_two)
{
    open_all();
    KT_IS(kin_lock_acquire(locks[1], KIN_NEVER), 0);
    rounds = kt_scaled(20000);
    with(_i % 2, 2, games[_i / 2].fn);
    ck_assert_int_eq(plain[0], (int64_t)2 * rounds);
    close_all();
}
END_TEST

START_TEST(sleeping_happens_at_all)
{
    open_all();
    rounds = 320;
    with(THREADS, 2, by_semaphores);
    ck_assert_uint_gt(sleeps, 0); /* the wrapper is in place */
    close_all();
}
END_TEST

/* --- of many -------------------------------------------------------------------------------- */

#define CROWD 6

static void crowd_of_lock(int me)
{
    struct kt_random random = kt_random_of("crowd_of_lock", (uint64_t)me);
    for (int i = 0; i < rounds; i++) {
        PARTY_IS(kin_lock_acquire(locks[0], KIN_NEVER), 0);
        plain[0]++;
        tiny_delay(&random);
        PARTY_IS(kin_lock_release(locks[0]), 0);
        PARTY_IS(kin_rlock_acquire(rlock, KIN_NEVER), 0);
        PARTY_IS(kin_rlock_acquire(rlock, KIN_NEVER), 0);
        plain[1]++;
        PARTY_IS(kin_rlock_release(rlock), 0);
        tiny_delay(&random);
        PARTY_IS(kin_rlock_release(rlock), 0);
    }
}

static void crowd_of_semaphore(int me)
{
    struct kt_random random = kt_random_of("crowd_of_semaphore", (uint64_t)me);
    for (int i = 0; i < rounds; i++) {
        if (me % 2)
            PARTY_IS(kin_semaphore_acquire(semaphores[0], KIN_NEVER), 0);
        else if (i % 2 == 0 && i + 1 < rounds && kt_random_below(&random, 2))
            PARTY_IS(kin_semaphore_release_many(semaphores[0], 2), (i++, 0));
        else
            PARTY_IS(kin_semaphore_release(semaphores[0]), 0);
        tiny_delay(&random);
    }
}

static void crowd_of_condition(int me)
{
    struct kt_random random = kt_random_of("crowd_of_condition", (uint64_t)me);
    for (int i = 0; i < rounds; i++) { /* a buffer of 2; one notification for each change */
        struct kin_condition *condition = conditions[1];
        PARTY_IS(kin_condition_acquire(condition, KIN_NEVER), 0);
        while (plain[0] == (me % 2 ? 0 : 2))
            PARTY_IS(kin_condition_wait(condition, KIN_NEVER), 0);
        plain[0] += me % 2 ? -1 : 1;
        KT_CHECK(kin_condition_notify_all(condition) >= 0);
        PARTY_IS(kin_condition_release(condition), 0);
        tiny_delay(&random);
    }
}

static void crowd_of_barrier(int me)
{
    struct kt_random random = kt_random_of("crowd_of_barrier", (uint64_t)me);
    while (words[0]++ < 3 * (int64_t)rounds) { /* tickets */
        KT_CHECK(kin_barrier_wait(barrier, KIN_NEVER) >= 0);
        tiny_delay(&random);
    }
}

static void crowd_of_rwlock(int me)
{
    struct kt_random random = kt_random_of("crowd_of_rwlock", (uint64_t)me);
    for (int i = 0; i < rounds; i++) {
        const bool writes = kt_random_below(&random, 3) == 0;
        PARTY_IS(writes ? kin_rwlock_acquire_write(rwlock, KIN_NEVER)
                        : kin_rwlock_acquire_read(rwlock, KIN_NEVER),
                 0);
        if (writes)
            plain[0]++;
        tiny_delay(&random);
        PARTY_IS(kin_rwlock_release(rwlock), 0);
    }
}

/* All but party 0 take what it gives, by looking at it first or not. */
static void crowd_of_watchers(int me)
{
    struct kin_wait wait = kin_wait_semaphore(semaphores[0]);
    for (int i = 0; me == 0 && i < rounds * (CROWD - 1); i++) {
        PARTY_IS(kin_semaphore_release(semaphores[0]), 0);
        pause_a_little(i);
    }
    for (int i = 0; me > 0 && i < rounds;) {
        if (me % 2) {
            PARTY_IS(kin_wait_any(arena, &wait, 1, KIN_NEVER), 0);
            i += kin_semaphore_try_acquire(semaphores[0]) == 0;
        } else {
            PARTY_IS(kin_semaphore_acquire(semaphores[0], KIN_NEVER), 0);
            i++;
        }
    }
}

static struct kin_once *once;

static int slowly(void *arg)
{
    (void)arg;
    usleep(300);
    words[1]++;
    return 0;
}

static void crowd_of_once(int me)
{
    (void)me;
    PARTY_IS(kin_once_run(once, slowly, NULL, KIN_NEVER), 0);
}

static const struct {
    const char *name;
    party_fn fn;
} crowds[] = {
    {"crowd of lock", crowd_of_lock},           {"crowd of semaphore", crowd_of_semaphore},
    {"crowd of condition", crowd_of_condition}, {"crowd of barrier", crowd_of_barrier},
    {"crowd of rwlock", crowd_of_rwlock},       {"crowd of watchers", crowd_of_watchers},
};
#define CROWDS ((int)(sizeof crowds / sizeof crowds[0]))

START_TEST(a_crowd)
{
    open_all();
    rounds = kt_scaled(4000);
    with(_i % 2, CROWD, crowds[_i / 2].fn);
    KT_IS(kin_semaphore_value(semaphores[0]), 0);
    close_all();
}
END_TEST

/* Releases carry a barrier of their own where waiters cannot fence them, and only there. */
START_TEST(without_fences_releases_exchange)
{
    for (int refused = 0; refused < 2; refused++) {
        fences_refused = refused;
        open_all();
        exchanges = 0;
        KT_IS(kin_lock_acquire(locks[0], KIN_NEVER), 0);
        KT_IS(kin_lock_release(locks[0]), 0);
        ck_assert_uint_eq(kini_load(&arena->super->no_fence), (uint32_t)refused);
        ck_assert_uint_eq(exchanges, (uint64_t)refused);
        close_all();
    }
}
END_TEST

START_TEST(a_crowd_without_fences)
{
    fences_refused = true;
    open_all();
    rounds = kt_scaled(20000);
    with(_i, 2, crowd_of_lock);
    ck_assert_int_eq(plain[0], (int64_t)2 * rounds);
    ck_assert_int_eq(plain[1], (int64_t)2 * rounds);
    close_all();
}
END_TEST

START_TEST(a_crowd_of_once)
{
    open_all();
    for (int i = 1; i <= kt_scaled(50); i++) {
        KT_OK(kin_once_create(arena, NULL, &once));
        with(_i, CROWD, crowd_of_once);
        ck_assert_int_eq(words[1], i);
        kin_once_destroy(once);
    }
    close_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/wake");
    TCase *t = kt_case(suite, "sleep", 60);
    tcase_add_test(t, sleeping_happens_at_all);
    for (int i = 0; i < GAMES; i++) {
        t = kt_case(suite, games[i].name, 60);
        tcase_add_loop_test(t, ping_pong_of_two, i * 2, i * 2 + forms());
    }
    for (int i = 0; i < CROWDS; i++) {
        t = kt_case(suite, crowds[i].name, 60);
        tcase_add_loop_test(t, a_crowd, i * 2, i * 2 + forms());
    }
    t = kt_case(suite, "crowd without fences", 60);
    tcase_add_test(t, without_fences_releases_exchange);
    tcase_add_loop_test(t, a_crowd_without_fences, 0, forms());
    t = kt_case(suite, "crowd of once", 60);
    tcase_add_loop_test(t, a_crowd_of_once, 0, forms());
    return kt_run(suite);
}
