/* SPDX-License-Identifier: MIT
 * Locks whose holders, waiters and releasers are killed, leave, or fork. */
#include "sync_fixture.h"

static struct kin_lock *lock;

static void open_with(uint32_t on_abandoned)
{
    const struct kin_lock_opts opts = {.size = sizeof opts, .on_abandoned = on_abandoned};
    begin();
    KT_OK(kin_lock_create(arena, &opts, &lock));
}

static void open_lock(void)
{
    open_with(KIN_TELL);
}

static void close_lock(void)
{
    kin_lock_destroy(lock);
    finish();
}

static void take_and_release(int expected)
{
    KT_IS(kin_lock_acquire(lock, KIN_NEVER), expected);
    KT_IS(kin_lock_locked(lock), 1);
    KT_IS(kin_lock_release(lock), 0);
}

/* --- the holder dies ------------------------------------------------------------------------ */

static void hold_until_killed(int expected)
{
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), expected);
    die_here();
}

static void hold_and_leave(int expected)
{
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), expected);
}

static void hold_and_detach(int expected)
{
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), expected);
    kin_arena_detach(arena);
    _exit(0);
}

static void hold_and_exit(int expected)
{
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), expected);
    _exit(0);
}

/* The four ways to be gone. */
static void gone_with_it(int way, int expected)
{
    static const party_fn ways[] = {hold_until_killed, hold_and_leave, hold_and_detach,
                                    hold_and_exit};
    struct party party;
    if (way == 0) {
        in_a_victim(hold_until_killed, expected);
        return;
    }
    party_start(&party, PROCESSES, ways[way], expected);
    party_join(&party);
}
#define WAYS 4

START_TEST(the_next_one_is_told_once)
{
    struct kin_owner owner;
    open_lock();
    for (int i = 1; i <= 5; i++) {
        gone_with_it(_i, 0);
        if (i % 2 == 0) {
            KT_OK(kin_arena_reap(arena));
            KT_IS(kin_lock_locked(lock), 0);
            KT_IS(kin_lock_owner(lock, &owner), -ENOENT);
            KT_IS(kin_lock_abandoned(lock), i);
            KT_IS(kin_lock_release(lock), -EPERM);
        }
        take_and_release(KIN_ABANDONED);
        KT_IS(kin_lock_abandoned(lock), i);
        take_and_release(0);
        KT_IS(kin_lock_try_acquire(lock), 0);
        KT_IS(kin_lock_release(lock), 0);
    }
    KT_IS(kin_lock_abandoned(lock), 5);
    close_lock();
}
END_TEST

START_TEST(by_try_acquire)
{
    open_lock();
    for (int i = 1; i <= 3; i++) {
        gone_with_it(_i, 0);
        int r = -EAGAIN;
        KT_UNTIL((r = kin_lock_try_acquire(lock)) != -EAGAIN);
        ck_assert_int_eq(r, KIN_ABANDONED);
        KT_IS(kin_lock_release(lock), 0);
        gone_with_it(_i, 0);
        KT_OK(kin_arena_reap(arena));
        KT_IS(kin_lock_acquire(lock, KIN_NOW), KIN_ABANDONED);
        KT_IS(kin_lock_release(lock), 0);
        KT_IS(kin_lock_try_acquire(lock), 0);
        KT_IS(kin_lock_release(lock), 0);
    }
    KT_IS(kin_lock_abandoned(lock), 6);
    close_lock();
}
END_TEST

/* Who was told dies, too: that is another death. */
START_TEST(one_after_another)
{
    open_lock();
    gone_with_it(_i, 0);
    for (int i = 1; i < 6; i++)
        gone_with_it(_i, KIN_ABANDONED);
    take_and_release(KIN_ABANDONED);
    KT_IS(kin_lock_abandoned(lock), 6);
    take_and_release(0);
    close_lock();
}
END_TEST

START_TEST(refused_once)
{
    open_with(KIN_REFUSE_ONCE);
    for (int i = 1; i <= 4; i++) {
        gone_with_it(_i, 0);
        if (i % 2)
            KT_OK(kin_arena_reap(arena));
        if (i < 3)
            KT_IS(kin_lock_acquire(lock, KIN_NEVER), -EOWNERDEAD);
        else
            KT_UNTIL(kin_lock_try_acquire(lock) == -EOWNERDEAD);
        ck_assert_uint_gt(strlen(kin_error_text()), 0);
        KT_IS(kin_lock_locked(lock), 0); /* not acquired */
        KT_IS(kin_lock_release(lock), -EPERM);
        take_and_release(0); /* told already */
        KT_IS(kin_lock_abandoned(lock), i);
    }
    close_lock();
}
END_TEST

static void wait_for_it(int me)
{
    int r = kin_lock_acquire(lock, KIN_NEVER);
    if (r >= 0)
        words[11 + me] = getpid();
    words[r == 0 ? 1 : r == KIN_ABANDONED ? 2 : r == -EOWNERDEAD ? 3 : 4]++;
    if (r >= 0)
        PARTY_IS(kin_lock_release(lock), 0);
}

/* Asleep when it happens. */
START_TEST(of_several_sleepers_one_is_told)
{
    for (int form = 0; form < 4; form++) {
        struct party holder, waiters[4];
        const bool refuse = form / 2;
        open_with(refuse ? KIN_REFUSE_ONCE : KIN_TELL);
        party_start(&holder, PROCESSES, hold_until_killed, 0);
        KT_UNTIL(READY);
        for (int i = 0; i < 4; i++)
            party_start(&waiters[i], form % 2, wait_for_it, i);
        KT_UNTIL(kin_lock_waiting(lock) == 4);
        party_kill(&holder);
        for (int i = 0; i < 4; i++)
            party_join(&waiters[i]);
        ck_assert_int_eq(words[1], 3);
        ck_assert_int_eq(words[2], !refuse);
        ck_assert_int_eq(words[3], refuse);
        ck_assert_int_eq(words[4], 0);
        KT_IS(kin_lock_abandoned(lock), 1);
        take_and_release(0);
        close_lock();
    }
}
END_TEST

static int raw_child(void *unused)
{
    return kt_sleep_for_ever(unused);
}

static void hold_beside_a_raw_child(int me)
{
    (void)me;
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    words[20] = kt_fork_raw(raw_child, NULL);
    die_here();
}

/* A raw child that never calls kin has a copy of its parent's token, by which most looks after the
 * dead go. Nobody but the waiter looks here. */
START_TEST(a_raw_child_does_not_hide_the_death)
{
    struct party holder, waiter;
    open_lock();
    party_start(&holder, PROCESSES, hold_beside_a_raw_child, 0);
    KT_UNTIL(READY);
    party_start(&waiter, PROCESSES, wait_for_it, 0);
    KT_UNTIL(kin_lock_waiting(lock) == 1);
    kill(kin_process_pid(holder.process), SIGKILL);
    KT_UNTIL(words[2] == 1);
    party_join(&waiter);
    KT_OK(kin_process_join(holder.process, KIN_NEVER));
    kin_process_close(holder.process);
    kt_kill((pid_t)words[20]);
    close_lock();
}
END_TEST

/* --- whose lock it is ----------------------------------------------------------------------- */

/* Main released what the victim had acquired, and has it itself now: the death is none of its
 * business. */
START_TEST(released_for_the_dead)
{
    struct party party;
    struct kin_owner owner;
    for (int again = 0; again < 2; again++) {
        open_lock();
        party_start(&party, PROCESSES, hold_until_killed, 0);
        KT_UNTIL(READY);
        KT_IS(kin_lock_release(lock), 0);
        if (again)
            KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        party_kill(&party);
        KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
        KT_IS(kin_lock_locked(lock), again);
        KT_IS(kin_lock_abandoned(lock), 0);
        if (again) {
            KT_IS(kin_lock_owner(lock, &owner), 0);
            ck_assert_int_eq(owner.pid, getpid());
            KT_IS(kin_lock_release(lock), 0);
        }
        take_and_release(0);
        close_lock();
    }
}
END_TEST

static void release_and_die(int me)
{
    (void)me;
    PARTY_IS(kin_lock_release(lock), 0);
    die_here();
}

START_TEST(the_releaser_dies)
{
    open_lock();
    KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    in_a_victim(release_and_die, 0);
    KT_IS(kin_lock_release(lock), -EPERM);
    take_and_release(0);
    KT_IS(kin_lock_abandoned(lock), 0);
    close_lock();
}
END_TEST

static void child_of_a_holder(int way)
{
    struct kin_owner owner;
    PARTY_IS(kin_lock_locked(lock), 1);
    PARTY_IS(kin_lock_try_acquire(lock), -EAGAIN);
    PARTY_IS(kin_lock_owner(lock, &owner), 0);
    KT_CHECK(owner.pid == getppid());
    if (way == 1)
        kin_lock_destroy(lock);
    if (way == 2)
        PARTY_IS(kin_lock_release(lock), 0);
    die_here();
}

/* Made while main holds it: the child does not, but may release it as anybody may. */
START_TEST(forked_while_held)
{
    struct party party;
    open_lock();
    for (int way = 0; way < 4; way++) { /* killed, destroys its handle, releases, leaves */
        KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        if (way < 3) {
            in_a_victim(child_of_a_holder, way);
        } else {
            party_start(&party, PROCESSES, wait_for_it, 0);
            KT_UNTIL(kin_lock_waiting(lock) == 1);
            party_kill(&party);
        }
        KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
        KT_IS(kin_lock_locked(lock), way != 2);
        KT_IS(kin_lock_release(lock), way == 2 ? -EPERM : 0);
        take_and_release(0);
        KT_IS(kin_lock_abandoned(lock), 0);
    }
    close_lock();
}
END_TEST

/* --- waiters die ---------------------------------------------------------------------------- */

START_TEST(waiters_are_killed)
{
    open_lock();
    for (int round = 0; round < kt_scaled(20); round++) {
        struct party parties[4];
        words[1] = words[2] = 0;
        KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        for (int i = 0; i < 4; i++) {
            party_start(&parties[i], PROCESSES, wait_for_it, i);
            KT_UNTIL(kin_lock_waiting(lock) == i + 1);
        }
        party_kill(&parties[0]);
        party_kill(&parties[2]);
        KT_IS(kin_lock_release(lock), 0);
        party_join(&parties[1]);
        party_join(&parties[3]);
        ck_assert_int_eq(words[1], 2);
        ck_assert_int_eq(words[2], 0); /* those who died held nothing */
    }
    KT_IS(kin_lock_abandoned(lock), 0);
    KT_UNTIL(kin_lock_waiting(lock) == 0);
    close_lock();
}
END_TEST

/* The one that is chosen is stopped, and then killed: the next one gets the lock. */
START_TEST(the_chosen_waiter_is_killed)
{
    open_lock();
    for (int round = 0; round < kt_scaled(10); round++) {
        struct party parties[2];
        words[1] = words[2] = 0;
        KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
        for (int i = 0; i < 2; i++) {
            party_start(&parties[i], PROCESSES, wait_for_it, i);
            KT_UNTIL(kin_lock_waiting(lock) == i + 1);
            a_moment();
        }
        party_stop(&parties[0]);
        KT_IS(kin_lock_release(lock), 0);
        if (round % 2)
            a_moment();
        party_kill(&parties[0]);
        party_join(&parties[1]);
        ck_assert_int_eq(words[1] + words[2], 1);
        KT_IS(kin_lock_abandoned(lock), words[2] + (round > 0 ? words[5] : 0));
        words[5] = kin_lock_abandoned(lock);
        take_and_release(0);
    }
    close_lock();
}
END_TEST

/* One that is stopped (^Z, a debugger) keeps nobody from a lock that is free. */
START_TEST(a_stopped_waiter_keeps_nobody_out)
{
    struct party stopped, other;
    open_lock();
    KT_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    party_start(&stopped, PROCESSES, wait_for_it, 0);
    KT_UNTIL(kin_lock_waiting(lock) == 1);
    a_moment();
    party_stop(&stopped);
    party_start(&other, PROCESSES, wait_for_it, 1);
    KT_UNTIL(kin_lock_waiting(lock) == 2);
    KT_IS(kin_lock_release(lock), 0);
    take_and_release(0);
    party_join(&other);
    take_and_release(0);
    kill(kin_process_pid(stopped.process), SIGCONT);
    party_join(&stopped);
    ck_assert_int_eq(words[1], 2);
    KT_IS(kin_lock_abandoned(lock), 0);
    close_lock();
}
END_TEST

/* --- a storm -------------------------------------------------------------------------------- */

/* plain[0] counts, plain[1] is not zero while somebody is inside; words[6] counts who was told. */
static void enter_for_ever(int me)
{
    struct kt_random random = kt_random_of("enter_for_ever", (uint64_t)me);
    for (;;) {
        int r = kin_lock_acquire(lock, KIN_NEVER);
        KT_CHECK(r == 0 || r == KIN_ABANDONED);
        words[6] += r;
        KT_CHECK(plain[1] == 0 || r == KIN_ABANDONED);
        KT_CHECK(words[7] == 0 || r == KIN_ABANDONED);
        plain[1] = me + 1;
        words[7] = me + 1;
        plain[0]++;
        tiny_delay(&random);
        KT_CHECK(plain[1] == me + 1 && words[7] == me + 1);
        plain[1] = 0;
        words[7] = 0;
        PARTY_IS(kin_lock_release(lock), 0);
    }
}

START_TEST(killed_at_random)
{
    struct kt_random random = kt_random_of("killed_at_random", 0);
    struct party parties[4];
    open_lock();
    for (int i = 0; i < 4; i++)
        party_start(&parties[i], PROCESSES, enter_for_ever, i);
    for (int i = 0; i < kt_scaled(300); i++) {
        usleep((useconds_t)kt_random_below(&random, 4000));
        int victim = (int)kt_random_below(&random, 4);
        int64_t before = *(volatile int64_t *)&plain[0];
        party_kill(&parties[victim]);
        party_start(&parties[victim], PROCESSES, enter_for_ever, 4 + i);
        if (i % 10 == 0)
            KT_UNTIL(*(volatile int64_t *)&plain[0] > before + 20); /* they go on */
    }
    for (int i = 0; i < 4; i++)
        party_kill(&parties[i]);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    int last = kin_lock_acquire(lock, KIN_NEVER);
    ck_assert(last == 0 || last == KIN_ABANDONED);
    ck_assert(plain[1] == 0 || last == KIN_ABANDONED);
    KT_IS(kin_lock_release(lock), 0);
    /* One told a death; who was killed before it could write that down is missing. */
    ck_assert_int_le(words[6] + last, kin_lock_abandoned(lock));
    close_lock();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/lock_death");
    TCase *t = kt_case(suite, "holder", 30);
    tcase_add_loop_test(t, the_next_one_is_told_once, 0, WAYS);
    tcase_add_loop_test(t, by_try_acquire, 0, WAYS);
    tcase_add_loop_test(t, one_after_another, 0, WAYS);
    tcase_add_loop_test(t, refused_once, 0, WAYS);
    tcase_add_test(t, of_several_sleepers_one_is_told);
    tcase_add_test(t, a_raw_child_does_not_hide_the_death);
    t = kt_case(suite, "others", 30);
    tcase_add_test(t, released_for_the_dead);
    tcase_add_test(t, the_releaser_dies);
    tcase_add_test(t, forked_while_held);
    tcase_add_test(t, waiters_are_killed);
    tcase_add_test(t, the_chosen_waiter_is_killed);
    tcase_add_test(t, a_stopped_waiter_keeps_nobody_out);
    t = kt_case(suite, "storm", 60);
    tcase_add_test(t, killed_at_random);
    return kt_run(suite);
}
