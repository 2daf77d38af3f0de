/* SPDX-License-Identifier: MIT
 * Rlocks: one thread, as deep as it likes; nobody else releases them. */
#include "sync_fixture.h"

static struct kin_rlock *rlock;

static void open_with(uint32_t on_abandoned)
{
    const struct kin_lock_opts opts = {.size = sizeof opts, .on_abandoned = on_abandoned};
    begin();
    KT_OK(kin_rlock_create(arena, &opts, &rlock));
}

static void open_rlock(void)
{
    open_with(KIN_TELL);
}

static void close_rlock(void)
{
    KT_IS(kin_rlock_waiting(rlock), 0);
    kin_rlock_destroy(rlock);
    finish();
}

static void acquire(int depth)
{
    for (int i = 1; i <= depth; i++) {
        PARTY_IS(i % 2 ? kin_rlock_acquire(rlock, i == 1 ? KIN_NEVER : KIN_NOW)
                       : kin_rlock_try_acquire(rlock),
                 0);
        PARTY_IS(kin_rlock_depth(rlock), i);
    }
}

static void release(int depth)
{
    for (int i = depth; i >= 1; i--) {
        PARTY_IS(kin_rlock_depth(rlock), i);
        PARTY_IS(kin_rlock_locked(rlock), 1);
        PARTY_IS(kin_rlock_release(rlock), 0);
    }
    PARTY_IS(kin_rlock_depth(rlock), 0);
}

/* Free, whole, and forgotten who was told. */
static void usable(void)
{
    KT_IS(kin_rlock_locked(rlock), 0);
    KT_IS(kin_rlock_release(rlock), -EPERM);
    acquire(3);
    release(3);
    KT_IS(kin_rlock_release(rlock), -EPERM);
}

/* --- one thread ----------------------------------------------------------------------------- */

static int create(const struct kin_lock_opts *opts)
{
    struct kin_rlock *made = (void *)1;
    int r = kin_rlock_create(arena, opts, &made);
    if (r < 0)
        ck_assert_ptr_eq(made, (void *)1);
    else
        kin_rlock_destroy(made);
    return r;
}

START_TEST(options)
{
    begin();
    CHECK_OPTS(struct kin_lock_opts, create);
    KT_IS(create(&(struct kin_lock_opts){.on_abandoned = KIN_REFUSE_ONCE}), 0);
    KT_IS(create(&(struct kin_lock_opts){.on_abandoned = 2}), -EINVAL);
    kin_rlock_destroy(NULL);
    finish();
}
END_TEST

START_TEST(as_deep_as_one_likes)
{
    struct kin_owner owner;
    open_rlock();
    KT_IS(kin_rlock_depth(rlock), 0);
    KT_IS(kin_rlock_owner(rlock, &owner), -ENOENT);
    usable();
    acquire(1000);
    KT_IS(kin_rlock_owner(rlock, &owner), 0);
    ck_assert(owner.pid == getpid() && owner.tid == gettid());
    release(1000);
    KT_IS(kin_rlock_owner(rlock, &owner), -ENOENT);
    usable();
    KT_IS(kin_rlock_abandoned(rlock), 0);
    close_rlock();
}
END_TEST

START_TEST(handles_of_another_kind)
{
    struct kin_event *event = NULL;
    struct kin_lock *lock = NULL;
    struct kin_owner owner;
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    KT_OK(kin_lock_create(arena, NULL, &lock));
    void *others[2] = {event, lock};
    for (int i = 0; i < 2; i++) {
        rlock = others[i];
        KT_IS(kin_rlock_acquire(rlock, KIN_NOW), -EPROTOTYPE);
        KT_IS(kin_rlock_try_acquire(rlock), -EPROTOTYPE);
        KT_IS(kin_rlock_release(rlock), -EPROTOTYPE);
        KT_IS(kin_rlock_locked(rlock), -EPROTOTYPE);
        KT_IS(kin_rlock_owner(rlock, &owner), -EPROTOTYPE);
        KT_IS(kin_rlock_depth(rlock), -EPROTOTYPE);
        KT_IS(kin_rlock_waiting(rlock), -EPROTOTYPE);
        KT_IS(kin_rlock_abandoned(rlock), -EPROTOTYPE);
    }
    KT_IS(kin_event_is_set(event), 0);
    KT_IS(kin_lock_locked(lock), 0);
    kin_event_destroy(event);
    kin_lock_destroy(lock);
    finish();
}
END_TEST

/* --- two parties ---------------------------------------------------------------------------- */

static void a_stranger(int me)
{
    struct kin_owner owner;
    (void)me;
    PARTY_IS(kin_rlock_depth(rlock), 0);
    PARTY_IS(kin_rlock_locked(rlock), 1);
    PARTY_IS(kin_rlock_release(rlock), -EACCES);
    KT_CHECK(strlen(kin_error_text()) > 0);
    PARTY_IS(kin_rlock_try_acquire(rlock), -EAGAIN);
    PARTY_IS(kin_rlock_acquire(rlock, KIN_NOW), -ETIMEDOUT);
    PARTY_IS(kin_rlock_acquire(rlock, kin_after_ms(5)), -ETIMEDOUT);
    PARTY_IS(kin_rlock_owner(rlock, &owner), 0);
    KT_CHECK(owner.pid == words[1] && owner.tid == words[2]);
    words[0] = 1;
}

static void a_stranger_that_dies(int me)
{
    a_stranger(me);
    die_here();
}

/* A thread, a child of the holder that leaves, and one that is killed. */
START_TEST(somebody_elses)
{
    open_rlock();
    acquire(3);
    words[1] = getpid();
    words[2] = gettid();
    if (_i < 2)
        with(_i, 1, a_stranger);
    else
        in_a_victim(a_stranger_that_dies, 0);
    ck_assert_int_eq(words[0], 1);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    release(3);
    KT_IS(kin_rlock_abandoned(rlock), 0);
    usable();
    close_rlock();
}
END_TEST

static void wait_for_it(int me)
{
    words[10 + me] = 1000 + kin_rlock_acquire(rlock, KIN_NEVER);
    PARTY_IS(kin_rlock_depth(rlock), 1);
    words[0]++;
    PARTY_IS(kin_rlock_acquire(rlock, KIN_NEVER), 0);
    release(2);
}

/* Only the last release lets others in. */
START_TEST(the_last_release_wakes)
{
    struct party parties[2];
    open_rlock();
    for (int round = 0; round < kt_scaled(20); round++) {
        words[0] = 0;
        acquire(3);
        for (int i = 0; i < 2; i++)
            party_start(&parties[i], _i, wait_for_it, i);
        KT_UNTIL(kin_rlock_waiting(rlock) == 2);
        KT_IS(kin_rlock_release(rlock), 0);
        KT_IS(kin_rlock_release(rlock), 0);
        usleep(2000);
        ck_assert_int_eq(words[0], 0);
        KT_IS(kin_rlock_release(rlock), 0);
        for (int i = 0; i < 2; i++)
            party_join(&parties[i]);
        ck_assert(words[10] == 1000 && words[11] == 1000);
    }
    usable();
    close_rlock();
}
END_TEST

static void wait_until_stale(int me)
{
    (void)me;
    PARTY_IS(kin_rlock_acquire(rlock, KIN_NEVER), -ESTALE);
}

START_TEST(destroyed_while_threads_wait)
{
    struct party parties[3];
    open_rlock();
    acquire(2);
    for (int i = 0; i < 3; i++)
        party_start(&parties[i], THREADS, wait_until_stale, i);
    KT_UNTIL(kin_rlock_waiting(rlock) == 3);
    kin_rlock_destroy(rlock);
    for (int i = 0; i < 3; i++)
        party_join(&parties[i]);
    finish();
}
END_TEST

/* --- abandoned ------------------------------------------------------------------------------ */

static void acquire_and_end(int depth)
{
    int r = kin_rlock_acquire(rlock, KIN_NEVER);
    KT_CHECK(r == 0 || r == KIN_ABANDONED);
    PARTY_IS(kin_rlock_depth(rlock), 1);
    for (int i = 1; i < depth; i++)
        PARTY_IS(kin_rlock_acquire(rlock, KIN_NEVER), 0);
    words[0] = 1;
}

static void acquire_and_die(int depth)
{
    acquire_and_end(depth);
    die_here();
}

static void destroy_and_stay(int depth)
{
    acquire_and_end(depth);
    kin_rlock_destroy(rlock);
    words[1] = 1;
    KT_UNTIL(words[2]);
}

/* Of a thread, of a process that leaves, of one that is killed. */
static void gone_with_it(int way, int depth)
{
    struct party party;
    if (way == 2) {
        in_a_victim(acquire_and_die, depth);
        return;
    }
    party_start(&party, way, acquire_and_end, depth);
    party_join(&party);
}

START_TEST(the_next_one_is_told_once)
{
    open_rlock();
    for (int i = 1; i <= 5; i++) {
        gone_with_it(_i, 5);
        if (i % 2) {
            KT_IS(kin_rlock_acquire(rlock, KIN_NEVER), KIN_ABANDONED);
        } else {
            int r = -EAGAIN;
            KT_UNTIL((r = kin_rlock_try_acquire(rlock)) != -EAGAIN);
            ck_assert_int_eq(r, KIN_ABANDONED);
        }
        KT_IS(kin_rlock_depth(rlock), 1); /* however deep it was */
        KT_IS(kin_rlock_acquire(rlock, KIN_NEVER), 0);
        release(2);
        KT_IS(kin_rlock_abandoned(rlock), i);
        usable();
    }
    close_rlock();
}
END_TEST

START_TEST(refused_once)
{
    open_with(KIN_REFUSE_ONCE);
    for (int i = 1; i <= 4; i++) {
        gone_with_it(_i, 2);
        KT_IS(kin_rlock_acquire(rlock, KIN_NEVER), -EOWNERDEAD);
        KT_IS(kin_rlock_depth(rlock), 0);
        usable();
        KT_IS(kin_rlock_abandoned(rlock), i);
    }
    close_rlock();
}
END_TEST

static void hold_until_told(int depth)
{
    acquire(depth);
    words[0] = 1;
    KT_UNTIL(words[3]);
}

START_TEST(sleepers_are_told)
{
    struct party holder, waiters[3];
    open_rlock();
    party_start(&holder, _i == 2 ? PROCESSES : _i, hold_until_told, 4);
    KT_UNTIL(words[0] == 1);
    words[0] = 0;
    for (int i = 0; i < 3; i++)
        party_start(&waiters[i], has_processes() && i % 2, wait_for_it, i);
    KT_UNTIL(kin_rlock_waiting(rlock) == 3);
    if (_i == 2) {
        party_kill(&holder);
    } else {
        words[3] = 1; /* the thread ends, the process leaves: deep in the rlock */
        party_join(&holder);
    }
    for (int i = 0; i < 3; i++)
        party_join(&waiters[i]);
    ck_assert_int_eq(words[10] + words[11] + words[12], 3000 + KIN_ABANDONED);
    KT_IS(kin_rlock_abandoned(rlock), 1);
    usable();
    close_rlock();
}
END_TEST

/* A new thread, perhaps in the place of the one that ended, does not hold what that one held. */
START_TEST(the_next_thread_is_somebody_else)
{
    open_rlock();
    for (int i = 0; i < kt_scaled(50); i++) {
        with(THREADS, 1, acquire_and_end);
        ck_assert_int_ge(kin_rlock_abandoned(rlock), i); /* each one but the first was told */
    }
    KT_IS(kin_rlock_depth(rlock), 0);
    KT_IS(kin_rlock_acquire(rlock, KIN_NEVER), KIN_ABANDONED);
    release(1);
    usable();
    close_rlock();
}
END_TEST

START_TEST(destroyed_by_the_process_that_holds_it)
{
    struct party party;
    open_rlock();
    party_start(&party, PROCESSES, destroy_and_stay, 3);
    KT_UNTIL(words[1]);
    KT_IS(kin_rlock_acquire(rlock, KIN_NEVER), KIN_ABANDONED);
    release(1);
    words[2] = 1;
    party_join(&party);
    KT_IS(kin_rlock_abandoned(rlock), 1);
    usable();
    close_rlock();
}
END_TEST

/* A child of the holder, made by the thread that holds it, is not the holder. */
static void child_of_a_holder(int way)
{
    PARTY_IS(kin_rlock_depth(rlock), 0);
    PARTY_IS(kin_rlock_release(rlock), -EACCES);
    if (way == 0)
        kin_rlock_destroy(rlock);
    else
        PARTY_IS(kin_rlock_acquire(rlock, KIN_NEVER), 0);
    words[0]++;
    if (way == 2)
        release(1);
}

START_TEST(forked_while_held)
{
    struct party party;
    open_rlock();
    for (int way = 0; way < 4; way++) {
        acquire(2);
        party_start(&party, PROCESSES, child_of_a_holder, way == 3 ? 2 : way);
        if (way == 0)
            party_join(&party);
        else
            KT_UNTIL(kin_rlock_waiting(rlock) == 1);
        if (way == 3)
            party_kill(&party);
        release(2);
        if (way == 1 || way == 2)
            party_join(&party);
        KT_IS(kin_rlock_acquire(rlock, KIN_NEVER), way == 1 ? KIN_ABANDONED : 0);
        release(1);
        KT_IS(kin_rlock_abandoned(rlock), way >= 1);
    }
    close_rlock();
}
END_TEST

static int child_by_hand(void *unused)
{
    (void)unused;
    PARTY_IS(kin_rlock_depth(rlock), 0);
    PARTY_IS(kin_rlock_release(rlock), -EACCES);
    PARTY_IS(kin_rlock_try_acquire(rlock), -EAGAIN);
    words[0]++;
    return 0; /* and _exit: a death */
}

/* A fork by hand, also one of which kin is not told. */
START_TEST(forked_by_hand)
{
    open_rlock();
    acquire(2);
    ck_assert_int_eq(kt_in_child(child_by_hand, NULL), 0);
    ck_assert_int_eq(kt_wait(kt_fork_raw(child_by_hand, NULL)), 0);
    ck_assert_int_eq(words[0], 2);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    release(2);
    KT_IS(kin_rlock_abandoned(rlock), 0);
    usable();
    close_rlock();
}
END_TEST

/* --- storms --------------------------------------------------------------------------------- */

static int storm_rounds;

static void storm(int me)
{
    struct kt_random random = kt_random_of("rlock storm", (uint64_t)me);
    for (int64_t i = 0; storm_rounds == 0 || i < storm_rounds; i++) {
        int deep = 1 + (int)kt_random_below(&random, 4);
        int r = kin_rlock_acquire(rlock, KIN_NEVER);
        KT_CHECK(r == 0 || (r == KIN_ABANDONED && storm_rounds == 0));
        KT_CHECK(plain[1] == 0 || r == KIN_ABANDONED);
        plain[1] = me + 1;
        for (int j = 1; j < deep; j++)
            PARTY_IS(kin_rlock_acquire(rlock, KIN_NEVER), 0);
        plain[0]++;
        tiny_delay(&random);
        KT_CHECK(plain[1] == me + 1);
        for (int j = 1; j < deep; j++)
            PARTY_IS(kin_rlock_release(rlock), 0);
        plain[1] = 0;
        PARTY_IS(kin_rlock_release(rlock), 0);
    }
}

START_TEST(one_at_a_time)
{
    open_rlock();
    storm_rounds = kt_scaled(10000);
    with(_i, 5, storm);
    ck_assert_int_eq(plain[0], (int64_t)5 * storm_rounds);
    usable();
    KT_IS(kin_rlock_abandoned(rlock), 0);
    close_rlock();
}
END_TEST

START_TEST(killed_at_random)
{
    struct kt_random random = kt_random_of("rlock killed_at_random", 0);
    struct party parties[3];
    open_rlock();
    storm_rounds = 0;
    for (int i = 0; i < 3; i++)
        party_start(&parties[i], PROCESSES, storm, i);
    for (int i = 0; i < kt_scaled(150); i++) {
        usleep((useconds_t)kt_random_below(&random, 4000));
        int victim = (int)kt_random_below(&random, 3);
        party_kill(&parties[victim]);
        party_start(&parties[victim], PROCESSES, storm, 3 + i);
    }
    for (int i = 0; i < 3; i++)
        party_kill(&parties[i]);
    ck_assert_int_ge(kin_rlock_acquire(rlock, KIN_NEVER), 0);
    release(1);
    usable();
    close_rlock();
}
END_TEST

int main(void)
{
    const int ways = has_processes() ? 3 : 1;
    Suite *suite = suite_create("sync/rlock");
    TCase *t = kt_case(suite, "one", 20);
    tcase_add_test(t, options);
    tcase_add_test(t, as_deep_as_one_likes);
    tcase_add_test(t, handles_of_another_kind);
    t = kt_case(suite, "two", 30);
    tcase_add_loop_test(t, somebody_elses, 0, ways);
    tcase_add_loop_test(t, the_last_release_wakes, 0, forms());
    tcase_add_test(t, destroyed_while_threads_wait);
    t = kt_case(suite, "abandoned", 30);
    tcase_add_loop_test(t, the_next_one_is_told_once, 0, ways);
    tcase_add_loop_test(t, refused_once, 0, ways);
    tcase_add_loop_test(t, sleepers_are_told, 0, ways);
    tcase_add_test(t, the_next_thread_is_somebody_else);
    if (has_processes()) {
        tcase_add_test(t, destroyed_by_the_process_that_holds_it);
        tcase_add_test(t, forked_while_held);
        tcase_add_test(t, forked_by_hand);
    }
    t = kt_case(suite, "storm", 60);
    tcase_add_loop_test(t, one_at_a_time, 0, forms());
    if (has_processes())
        tcase_add_test(t, killed_at_random);
    return kt_run(suite);
}
