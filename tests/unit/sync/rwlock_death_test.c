/* SPDX-License-Identifier: MIT
 * rwlocks whose readers, writers and waiters are killed, leave, or fork. */
#include "sync_fixture.h"

static struct kin_rwlock *rwlock;

static void open_rwlock(void)
{
    begin();
    KT_OK(kin_rwlock_create(arena, NULL, &rwlock));
}

static void close_rwlock(void)
{
    kin_rwlock_destroy(rwlock);
    finish();
}

static void all_reaped(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
}

static int acquire(bool writes)
{
    return writes ? kin_rwlock_acquire_write(rwlock, KIN_NEVER)
                  : kin_rwlock_acquire_read(rwlock, KIN_NEVER);
}

static void take_and_release(bool writes, int expected)
{
    KT_IS(acquire(writes), expected);
    KT_IS(kin_rwlock_writing(rwlock), writes);
    KT_IS(kin_rwlock_release(rwlock), 0);
}

/* --- holders -------------------------------------------------------------------------------- */

enum { READ, WRITE, READ_DEEP };

static void hold(int how)
{
    int r = acquire(how == WRITE);
    KT_CHECK(r == 0 || r == KIN_ABANDONED);
    for (int i = 0; how == READ_DEEP && i < 4; i++)
        PARTY_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
}

static void hold_and_die(int how)
{
    hold(how);
    die_here();
}

static void hold_and_destroy(int how)
{
    hold(how);
    kin_rwlock_destroy(rwlock);
    words[0] = 1;
    KT_UNTIL(words[1]);
}

static void hold_and_exit(int how)
{
    hold(how);
    _exit(0);
}

/* Killed, returned, _exit, and the handle destroyed in a process that lives on until words[1]. */
#define WAYS     4
#define DESTROYS 3

static void gone_with_it(int way, int how, struct party *party)
{
    static const party_fn leave[] = {NULL, hold, hold_and_exit, hold_and_destroy};
    words[0] = words[1] = 0;
    if (way == 0) {
        in_a_victim(hold_and_die, how);
        return;
    }
    party_start(party, PROCESSES, leave[way], how);
    if (way == DESTROYS)
        KT_UNTIL(words[0]);
    else
        party_join(party);
}

static void all_gone(int way, struct party *party)
{
    words[1] = 1;
    if (way == DESTROYS)
        party_join(party);
}

/* The next one is told, reader or writer, once. */
START_TEST(a_writer_is_gone)
{
    struct party party;
    open_rwlock();
    for (int i = 1; i <= 6; i++) {
        gone_with_it(_i, WRITE, &party);
        if (i % 3 == 0) {
            int r = -EAGAIN;
            KT_UNTIL((r = i % 2 ? kin_rwlock_try_write(rwlock) : kin_rwlock_try_read(rwlock)) !=
                     -EAGAIN);
            ck_assert_int_eq(r, KIN_ABANDONED);
            KT_IS(kin_rwlock_release(rwlock), 0);
        } else {
            take_and_release(i % 2, KIN_ABANDONED);
        }
        take_and_release(true, 0);
        take_and_release(false, 0);
        KT_IS(kin_rwlock_release(rwlock), -EPERM);
        all_gone(_i, &party);
        KT_IS(kin_rwlock_abandoned(rwlock), i);
    }
    close_rwlock();
}
END_TEST

/* What it read is released, however deep; nobody is told: it changed nothing. */
START_TEST(a_reader_is_gone)
{
    struct party party;
    open_rwlock();
    for (int i = 0; i < 6; i++) {
        gone_with_it(_i, i % 2 ? READ : READ_DEEP, &party);
        take_and_release(true, 0);
        take_and_release(false, 0);
        KT_IS(kin_rwlock_readers(rwlock), 0);
        all_gone(_i, &party);
    }
    KT_IS(kin_rwlock_abandoned(rwlock), 0);
    close_rwlock();
}
END_TEST

static void try_write(int expected)
{
    PARTY_IS(kin_rwlock_try_write(rwlock), expected);
}

/* Those who read beside it read on. */
START_TEST(one_of_several_readers_is_gone)
{
    struct party party;
    open_rwlock();
    KT_IS(acquire(false), 0);
    KT_IS(acquire(false), 0);
    gone_with_it(_i, READ_DEEP, &party);
    for (int i = 0; i < 2; i++) {
        struct party writer;
        KT_UNTIL(kin_arena_reap(arena) == 0);
        party_start(&writer, PROCESSES, try_write, -EAGAIN);
        party_join(&writer);
        KT_IS(kin_rwlock_release(rwlock), 0);
    }
    take_and_release(true, 0);
    all_gone(_i, &party);
    close_rwlock();
}
END_TEST

/* --- sleepers ------------------------------------------------------------------------------- */

/* words[2]: who went on; words[3]: who was told */
static void wait_for_it(int writes)
{
    int r = acquire(writes);
    KT_CHECK(r == 0 || r == KIN_ABANDONED);
    words[2]++;
    words[3] += r;
    PARTY_IS(kin_rwlock_release(rwlock), 0);
}

/* _i: whether the holder writes */
START_TEST(sleepers_go_on)
{
    struct party holder, sleepers[4];
    open_rwlock();
    party_start(&holder, PROCESSES, hold_and_die, _i);
    KT_UNTIL(READY);
    for (int i = 0; i < 4; i++) { /* a writer first: readers wait behind it */
        party_start(&sleepers[i], i % 2, wait_for_it, i == 0 || i == 3);
        KT_UNTIL(kin_rwlock_waiting(rwlock) == i + 1);
    }
    party_kill(&holder);
    for (int i = 0; i < 4; i++)
        party_join(&sleepers[i]);
    ck_assert_int_eq(words[2], 4);
    ck_assert_int_eq(words[3], _i == WRITE);
    KT_IS(kin_rwlock_abandoned(rwlock), _i == WRITE);
    take_and_release(true, 0);
    close_rwlock();
}
END_TEST

/* A writer that waits is killed: readers behind it read beside main. */
START_TEST(a_waiting_writer_is_killed)
{
    struct party writer, readers[2];
    open_rwlock();
    for (int i = 0; i < kt_scaled(10); i++) {
        words[2] = 0;
        KT_IS(acquire(false), 0);
        party_start(&writer, PROCESSES, wait_for_it, true);
        KT_UNTIL(kin_rwlock_waiting(rwlock) == 1);
        for (int j = 0; j < 2; j++) {
            party_start(&readers[j], j % 2, wait_for_it, false);
            KT_UNTIL(kin_rwlock_waiting(rwlock) == 2 + j);
        }
        party_kill(&writer);
        for (int j = 0; j < 2; j++)
            party_join(&readers[j]);
        ck_assert_int_eq(words[2], 2);
        KT_IS(kin_rwlock_release(rwlock), 0);
        all_reaped();
        KT_IS(kin_rwlock_waiting(rwlock), 0);
    }
    KT_IS(kin_rwlock_abandoned(rwlock), 0);
    close_rwlock();
}
END_TEST

/* The one whose turn it is is stopped, and then killed. _i: whether it writes */
START_TEST(the_chosen_sleeper_is_killed)
{
    open_rwlock();
    for (int i = 0; i < kt_scaled(10); i++) {
        struct party parties[3];
        words[2] = 0;
        ck_assert_int_ge(acquire(true), 0);
        for (int j = 0; j < 3; j++) {
            party_start(&parties[j], PROCESSES, wait_for_it, j == 0 ? _i : j % 2);
            KT_UNTIL(kin_rwlock_waiting(rwlock) == j + 1);
            a_moment();
        }
        party_stop(&parties[0]);
        KT_IS(kin_rwlock_release(rwlock), 0);
        if (i % 2)
            a_moment();
        party_kill(&parties[0]);
        party_join(&parties[1]);
        party_join(&parties[2]);
        ck_assert_int_eq(words[2], 2);
        all_reaped();
    }
    close_rwlock();
}
END_TEST

/* One that is stopped keeps nobody out. _i: whether it writes, and whether main did */
START_TEST(a_stopped_waiter_keeps_nobody_out)
{
    const bool writes = _i % 2, main_writes = _i / 2;
    struct party stopped;
    open_rwlock();
    KT_IS(acquire(main_writes), 0);
    party_start(&stopped, PROCESSES, wait_for_it, writes);
    KT_UNTIL(kin_rwlock_waiting(rwlock) == 1);
    a_moment();
    party_stop(&stopped);
    KT_IS(kin_rwlock_release(rwlock), 0);
    take_and_release(false, 0);
    take_and_release(true, 0);
    kill(kin_process_pid(stopped.process), SIGCONT);
    party_join(&stopped);
    close_rwlock();
}
END_TEST

/* --- fork ----------------------------------------------------------------------------------- */

static void child_of_a_holder(int way)
{
    PARTY_IS(kin_rwlock_release(rwlock), -EACCES);
    PARTY_IS(kin_rwlock_try_write(rwlock), -EAGAIN); /* not -EDEADLK: it holds nothing */
    if (way == 1)
        kin_rwlock_destroy(rwlock);
    die_here();
}

START_TEST(forked_while_held)
{
    open_rwlock();
    for (int i = 0; i < 4; i++) {
        KT_IS(acquire(i % 2), 0);
        in_a_victim(child_of_a_holder, i / 2);
        all_reaped();
        KT_IS(kin_rwlock_writing(rwlock), i % 2);
        KT_IS(kin_rwlock_readers(rwlock), !(i % 2));
        KT_IS(kin_rwlock_release(rwlock), 0);
        take_and_release(true, 0);
    }
    KT_IS(kin_rwlock_abandoned(rwlock), 0);
    close_rwlock();
}
END_TEST

/* --- a storm -------------------------------------------------------------------------------- */

/* plain[0] and plain[1] are equal, unless a writer died in between. */
static void use_for_ever(int me)
{
    struct kt_random random = kt_random_of("rwlock use_for_ever", (uint64_t)me);
    for (;;) {
        const bool writes = kt_random_below(&random, 3) == 0;
        int r = acquire(writes);
        KT_CHECK(r == 0 || r == KIN_ABANDONED);
        if (writes) {
            plain[1] = plain[0]; /* repairs, if need be */
            words[1] = me + 1;
            plain[0]++;
            tiny_delay(&random);
            KT_CHECK(plain[0] == plain[1] + 1 && words[1] == me + 1);
            plain[1]++;
            words[1] = 0;
        } else {
            int64_t seen = plain[0];
            tiny_delay(&random);
            KT_CHECK(plain[0] == seen); /* nobody writes meanwhile */
        }
        PARTY_IS(kin_rwlock_release(rwlock), 0);
        words[10 + me % 4]++;
    }
}

START_TEST(killed_at_random)
{
    struct kt_random random = kt_random_of("rwlock killed_at_random", 0);
    struct party parties[4];
    open_rwlock();
    for (int i = 0; i < 4; i++)
        party_start(&parties[i], PROCESSES, use_for_ever, i);
    for (int i = 0; i < kt_scaled(250); i++) {
        usleep((useconds_t)kt_random_below(&random, 4000));
        int victim = (int)kt_random_below(&random, 4), other = (victim + 1) % 4;
        int64_t before = words[10 + other];
        party_kill(&parties[victim]);
        party_start(&parties[victim], PROCESSES, use_for_ever, 4 * (i + 1) + victim);
        if (i % 10 == 0)
            KT_UNTIL(words[10 + other] > before + 10);
    }
    for (int i = 0; i < 4; i++)
        party_kill(&parties[i]);
    all_reaped();
    int told = acquire(true);
    ck_assert(told == 0 || told == KIN_ABANDONED);
    KT_IS(kin_rwlock_release(rwlock), 0);
    take_and_release(false, 0);
    KT_IS(kin_rwlock_readers(rwlock), 0);
    KT_IS(kin_rwlock_waiting(rwlock), 0);
    close_rwlock();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/rwlock_death");
    TCase *t = kt_case(suite, "holder", 30);
    tcase_add_loop_test(t, a_writer_is_gone, 0, WAYS);
    tcase_add_loop_test(t, a_reader_is_gone, 0, WAYS);
    tcase_add_loop_test(t, one_of_several_readers_is_gone, 0, WAYS);
    t = kt_case(suite, "sleeper", 30);
    tcase_add_loop_test(t, sleepers_go_on, 0, 2);
    tcase_add_test(t, a_waiting_writer_is_killed);
    tcase_add_loop_test(t, the_chosen_sleeper_is_killed, 0, 2);
    for (int how = 1; how < 4; how++) /* readers do not wait for one another */
        tcase_add_loop_test(t, a_stopped_waiter_keeps_nobody_out, how, how + 1);
    t = kt_case(suite, "fork", 20);
    tcase_add_test(t, forked_while_held);
    t = kt_case(suite, "storm", 60);
    tcase_add_test(t, killed_at_random);
    return kt_run(suite);
}
