/* SPDX-License-Identifier: MIT
 * rwlocks: many readers or one writer, and neither starves. */
#include "sync_fixture.h"

static struct kin_rwlock *rwlock;

static void open_rwlock(void)
{
    begin();
    KT_OK(kin_rwlock_create(arena, NULL, &rwlock));
}

static void close_rwlock(void)
{
    KT_IS(kin_rwlock_readers(rwlock), 0);
    KT_IS(kin_rwlock_writing(rwlock), 0);
    KT_IS(kin_rwlock_waiting(rwlock), 0);
    KT_IS(kin_rwlock_abandoned(rwlock), 0);
    kin_rwlock_destroy(rwlock);
    finish();
}

/* --- one thread ----------------------------------------------------------------------------- */

static int create(const struct kin_rwlock_opts *opts)
{
    struct kin_rwlock *made = (void *)1;
    int r = kin_rwlock_create(arena, opts, &made);
    if (r < 0)
        ck_assert_ptr_eq(made, (void *)1);
    else
        kin_rwlock_destroy(made);
    return r;
}

START_TEST(options)
{
    begin();
    CHECK_OPTS(struct kin_rwlock_opts, create);
    KT_IS(create(&(struct kin_rwlock_opts){.flags = 1}), -EINVAL);
    kin_rwlock_destroy(NULL);
    finish();
}
END_TEST

START_TEST(alone)
{
    open_rwlock();
    KT_IS(kin_rwlock_release(rwlock), -EPERM);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    for (int i = 0; i < 3; i++) {
        KT_IS(i == 0   ? kin_rwlock_acquire_read(rwlock, KIN_NEVER)
              : i == 1 ? kin_rwlock_try_read(rwlock)
                       : kin_rwlock_acquire_read(rwlock, KIN_NOW),
              0);
        KT_IS(kin_rwlock_readers(rwlock), 1);
        KT_IS(kin_rwlock_writing(rwlock), 0);
        KT_IS(kin_rwlock_acquire_write(rwlock, KIN_NEVER), -EDEADLK);
        KT_IS(kin_rwlock_acquire_write(rwlock, KIN_NOW), -EDEADLK);
        KT_IS(kin_rwlock_release(rwlock), 0);
        KT_IS(kin_rwlock_release(rwlock), -EPERM);
        KT_IS(i == 0   ? kin_rwlock_acquire_write(rwlock, KIN_NEVER)
              : i == 1 ? kin_rwlock_try_write(rwlock)
                       : kin_rwlock_acquire_write(rwlock, KIN_NOW),
              0);
        KT_IS(kin_rwlock_readers(rwlock), 0);
        KT_IS(kin_rwlock_writing(rwlock), 1);
        KT_IS(kin_rwlock_acquire_write(rwlock, KIN_NEVER), -EDEADLK);
        KT_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), -EDEADLK);
        KT_IS(kin_rwlock_release(rwlock), 0);
        KT_IS(kin_rwlock_release(rwlock), -EPERM);
    }
    close_rwlock();
}
END_TEST

START_TEST(read_again_and_again)
{
    open_rwlock();
    for (int i = 0; i < 200; i++)
        KT_IS(i % 2 ? kin_rwlock_try_read(rwlock) : kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
    for (int i = 0; i < 200; i++) {
        KT_IS(kin_rwlock_acquire_write(rwlock, KIN_NOW), -EDEADLK);
        ck_assert_int_ge(kin_rwlock_readers(rwlock), 1);
        KT_IS(kin_rwlock_release(rwlock), 0);
    }
    KT_IS(kin_rwlock_release(rwlock), -EPERM);
    KT_IS(kin_rwlock_try_write(rwlock), 0);
    KT_IS(kin_rwlock_release(rwlock), 0);
    close_rwlock();
}
END_TEST

START_TEST(many_of_them)
{
    enum { MOST = 64 };
    struct kin_rwlock *many[MOST + 1];
    begin();
    for (int i = 0; i <= MOST; i++) {
        KT_OK(kin_rwlock_create(arena, NULL, &many[i]));
        KT_IS(i % 2 ? kin_rwlock_acquire_write(many[i], KIN_NOW)
                    : kin_rwlock_acquire_read(many[i], KIN_NOW),
              i < MOST ? 0 : -ENOSPC);
    }
    KT_IS(kin_rwlock_try_write(many[MOST]), -ENOSPC);
    KT_IS(kin_rwlock_readers(many[MOST]), 0);
    KT_IS(kin_rwlock_writing(many[MOST]), 0);
    KT_IS(kin_rwlock_acquire_read(many[4], KIN_NOW), 0); /* one of those */
    KT_IS(kin_rwlock_release(many[4]), 0);
    KT_IS(kin_rwlock_release(many[5]), 0);
    KT_IS(kin_rwlock_try_write(many[MOST]), 0);
    for (int i = 0; i <= MOST; i++) {
        KT_IS(kin_rwlock_release(many[i]), i == 5 ? -EPERM : 0);
        kin_rwlock_destroy(many[i]);
    }
    finish();
}
END_TEST

START_TEST(handles_of_another_kind)
{
    struct kin_event *event = NULL;
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    rwlock = (void *)event;
    KT_IS(kin_rwlock_acquire_read(rwlock, KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_rwlock_acquire_write(rwlock, KIN_NOW), -EPROTOTYPE);
    KT_IS(kin_rwlock_try_read(rwlock), -EPROTOTYPE);
    KT_IS(kin_rwlock_try_write(rwlock), -EPROTOTYPE);
    KT_IS(kin_rwlock_release(rwlock), -EPROTOTYPE);
    KT_IS(kin_rwlock_readers(rwlock), -EPROTOTYPE);
    KT_IS(kin_rwlock_writing(rwlock), -EPROTOTYPE);
    KT_IS(kin_rwlock_waiting(rwlock), -EPROTOTYPE);
    KT_IS(kin_rwlock_abandoned(rwlock), -EPROTOTYPE);
    kin_event_destroy(event);
    finish();
}
END_TEST

/* --- several -------------------------------------------------------------------------------- */

static void beside_a_reader(int me)
{
    (void)me;
    PARTY_IS(kin_rwlock_release(rwlock), -EACCES);
    PARTY_IS(kin_rwlock_try_write(rwlock), -EAGAIN);
    PARTY_IS(kin_rwlock_acquire_write(rwlock, KIN_NOW), -ETIMEDOUT);
    PARTY_IS(kin_rwlock_acquire_write(rwlock, kin_after_ms(5)), -ETIMEDOUT);
    PARTY_IS(kin_rwlock_try_read(rwlock), 0); /* nobody waits any more */
    PARTY_IS(kin_rwlock_readers(rwlock), 2);
    PARTY_IS(kin_rwlock_acquire_read(rwlock, KIN_NOW), 0);
    PARTY_IS(kin_rwlock_release(rwlock), 0);
    PARTY_IS(kin_rwlock_release(rwlock), 0);
    PARTY_IS(kin_rwlock_release(rwlock), -EACCES);
}

static void beside_a_writer(int me)
{
    (void)me;
    PARTY_IS(kin_rwlock_release(rwlock), -EACCES);
    PARTY_IS(kin_rwlock_try_write(rwlock), -EAGAIN);
    PARTY_IS(kin_rwlock_try_read(rwlock), -EAGAIN);
    PARTY_IS(kin_rwlock_acquire_write(rwlock, kin_after_ms(5)), -ETIMEDOUT);
    PARTY_IS(kin_rwlock_acquire_read(rwlock, KIN_NOW), -ETIMEDOUT);
    int64_t until = kin_after_ms(5);
    PARTY_IS(kin_rwlock_acquire_read(rwlock, until), -ETIMEDOUT);
    KT_CHECK(kin_now_ns() >= until);
    PARTY_IS(kin_rwlock_release(rwlock), -EACCES);
}

START_TEST(beside_another)
{
    open_rwlock();
    KT_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
    with(_i, 1, beside_a_reader);
    KT_IS(kin_rwlock_release(rwlock), 0);
    KT_IS(kin_rwlock_acquire_write(rwlock, KIN_NEVER), 0);
    with(_i, 1, beside_a_writer);
    KT_IS(kin_rwlock_release(rwlock), 0);
    close_rwlock();
}
END_TEST

/* words[0] counts, words[10…]: who went on, in which order */
static void write_once(int me)
{
    PARTY_IS(kin_rwlock_acquire_write(rwlock, KIN_NEVER), 0);
    words[10 + words[0]++] = me;
    PARTY_IS(kin_rwlock_release(rwlock), 0);
}

static void read_once(int me)
{
    PARTY_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
    words[10 + words[0]++] = me;
    PARTY_IS(kin_rwlock_release(rwlock), 0);
}

static void start_in_order(struct party *parties, int form, const char *kinds)
{
    for (int i = 0; kinds[i] != '\0'; i++) {
        party_start(&parties[i], form, kinds[i] == 'w' ? write_once : read_once, i);
        KT_UNTIL(kin_rwlock_waiting(rwlock) == i + 1);
        a_moment();
    }
}

/* Main reads, a writer waits: readers that come let it go first, but main may read again. */
START_TEST(readers_let_the_writer_go_first)
{
    struct party parties[3];
    open_rwlock();
    for (int i = 0; i < 5; i++) {
        words[0] = 0;
        KT_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
        start_in_order(parties, _i, "wrr");
        KT_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
        KT_IS(kin_rwlock_try_read(rwlock), 0);
        ck_assert_int_eq(words[0], 0);
        for (int j = 0; j < 3; j++) {
            usleep(1000);
            ck_assert_int_eq(words[0], 0);
            KT_IS(kin_rwlock_release(rwlock), 0);
        }
        for (int j = 0; j < 3; j++)
            party_join(&parties[j]);
        ck_assert_int_eq(words[10], 0);
    }
    close_rwlock();
}
END_TEST

/* Main writes; readers that waited meanwhile go before the next writer, which came first. */
START_TEST(waiting_readers_go_before_the_next_writer)
{
    struct party parties[4];
    open_rwlock();
    for (int i = 0; i < 5; i++) {
        words[0] = 0;
        KT_IS(kin_rwlock_acquire_write(rwlock, KIN_NEVER), 0);
        start_in_order(parties, _i, "wrrw");
        KT_IS(kin_rwlock_release(rwlock), 0);
        for (int j = 0; j < 4; j++)
            party_join(&parties[j]);
        ck_assert_int_eq(words[10] + words[11], 1 + 2);
        ck_assert_int_eq(words[12] + words[13], 0 + 3);
    }
    close_rwlock();
}
END_TEST

static void meet_reading(int me)
{
    (void)me;
    PARTY_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
    words[0]++;
    KT_UNTIL(words[0] == 4); /* all at once */
    PARTY_IS(kin_rwlock_release(rwlock), 0);
}

START_TEST(readers_share)
{
    open_rwlock();
    with(_i, 4, meet_reading);
    struct party parties[4];
    words[0] = 0;
    KT_IS(kin_rwlock_acquire_write(rwlock, KIN_NEVER), 0); /* all are woken */
    for (int i = 0; i < 4; i++)
        party_start(&parties[i], _i, meet_reading, i);
    KT_UNTIL(kin_rwlock_waiting(rwlock) == 4);
    ck_assert_int_eq(words[0], 0);
    KT_IS(kin_rwlock_release(rwlock), 0);
    for (int i = 0; i < 4; i++)
        party_join(&parties[i]);
    close_rwlock();
}
END_TEST

static void give_up(int me)
{
    (void)me;
    PARTY_IS(kin_rwlock_acquire_write(rwlock, kin_after_ms(100)), -ETIMEDOUT);
    words[5] = 1;
}

/* A writer that gives up does not stand in the way of the readers behind it. */
START_TEST(a_writer_gives_up)
{
    struct party writer, reader;
    open_rwlock();
    KT_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
    party_start(&writer, _i, give_up, 0);
    KT_UNTIL(kin_rwlock_waiting(rwlock) == 1 || words[5]);
    party_start(&reader, _i, read_once, 1);
    party_join(&writer);
    party_join(&reader);
    ck_assert_int_eq(words[0], 1);
    KT_IS(kin_rwlock_release(rwlock), 0);
    close_rwlock();
}
END_TEST

static void wait_until_stale(int me)
{
    PARTY_IS(me ? kin_rwlock_acquire_read(rwlock, KIN_NEVER)
                : kin_rwlock_acquire_write(rwlock, KIN_NEVER),
             -ESTALE);
}

START_TEST(destroyed_while_threads_wait)
{
    struct party parties[3];
    open_rwlock();
    KT_IS(_i ? kin_rwlock_acquire_read(rwlock, KIN_NEVER)
             : kin_rwlock_acquire_write(rwlock, KIN_NEVER),
          0);
    for (int i = 0; i < 3; i++) { /* behind the writer */
        party_start(&parties[i], THREADS, wait_until_stale, i);
        KT_UNTIL(kin_rwlock_waiting(rwlock) == i + 1);
    }
    kin_rwlock_destroy(rwlock);
    for (int i = 0; i < 3; i++)
        party_join(&parties[i]);
    finish();
}
END_TEST

/* --- storms --------------------------------------------------------------------------------- */

static int storm_rounds;

/* Party 0 does the other thing than the rest, which do not stop before it has made its way. */
static void against_readers(int me)
{
    struct kt_random random = kt_random_of("against_readers", (uint64_t)me);
    for (int i = 0; me == 0 && i < storm_rounds; i++) {
        PARTY_IS(kin_rwlock_acquire_write(rwlock, KIN_NEVER), 0);
        plain[0]++;
        PARTY_IS(kin_rwlock_release(rwlock), 0);
    }
    words[1] += me == 0;
    while (!words[1]) {
        PARTY_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
        tiny_delay(&random);
        PARTY_IS(kin_rwlock_release(rwlock), 0);
    }
}

static void against_writers(int me)
{
    struct kt_random random = kt_random_of("against_writers", (uint64_t)me);
    for (int i = 0; me == 0 && i < storm_rounds; i++) {
        PARTY_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
        words[2]++;
        PARTY_IS(kin_rwlock_release(rwlock), 0);
    }
    words[1] += me == 0;
    while (!words[1]) {
        PARTY_IS(kin_rwlock_acquire_write(rwlock, KIN_NEVER), 0);
        tiny_delay(&random);
        PARTY_IS(kin_rwlock_release(rwlock), 0);
    }
}

START_TEST(neither_starves)
{
    open_rwlock();
    storm_rounds = kt_scaled(300);
    with(_i, 5, against_readers);
    ck_assert_int_eq(plain[0], storm_rounds);
    words[1] = 0;
    with(_i, 5, against_writers);
    ck_assert_int_eq(words[2], storm_rounds);
    close_rwlock();
}
END_TEST

/* plain[0] and plain[1] are equal but while somebody writes; words[0] readers, words[1] writers */
static void storm(int me)
{
    struct kt_random random = kt_random_of("rwlock storm", (uint64_t)me);
    for (int i = 0; i < storm_rounds; i++) {
        const bool writes = kt_random_below(&random, 4) == 0;
        uint64_t how = kt_random_below(&random, 6);
        kin_deadline until = how == 1 ? kin_after_us(50) : KIN_NEVER;
        int r = how == 0 ? (writes ? kin_rwlock_try_write(rwlock) : kin_rwlock_try_read(rwlock))
                : writes ? kin_rwlock_acquire_write(rwlock, until)
                         : kin_rwlock_acquire_read(rwlock, until);
        if ((how == 0 && r == -EAGAIN) || (how == 1 && r == -ETIMEDOUT))
            continue;
        PARTY_IS(r, 0);
        words[writes]++;
        KT_CHECK(words[1] == writes && (!writes || words[0] == 0) && plain[0] == plain[1]);
        if (writes)
            plain[0]++;
        tiny_delay(&random);
        if (!writes && how == 2) {
            PARTY_IS(kin_rwlock_acquire_read(rwlock, KIN_NEVER), 0);
            PARTY_IS(kin_rwlock_release(rwlock), 0);
        }
        if (writes) {
            plain[1]++;
            words[2]++;
        }
        words[writes]--;
        PARTY_IS(kin_rwlock_release(rwlock), 0);
    }
}

START_TEST(many_or_one)
{
    open_rwlock();
    storm_rounds = kt_scaled(15000);
    with(_i, 6, storm);
    ck_assert_int_eq(plain[0], words[2]);
    ck_assert_int_gt(plain[0], 0);
    close_rwlock();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/rwlock");
    TCase *t = kt_case(suite, "one", 20);
    tcase_add_test(t, options);
    tcase_add_test(t, alone);
    tcase_add_test(t, read_again_and_again);
    tcase_add_test(t, many_of_them);
    tcase_add_test(t, handles_of_another_kind);
    t = kt_case(suite, "several", 30);
    tcase_add_loop_test(t, beside_another, 0, forms());
    tcase_add_loop_test(t, readers_let_the_writer_go_first, 0, forms());
    tcase_add_loop_test(t, waiting_readers_go_before_the_next_writer, 0, forms());
    tcase_add_loop_test(t, readers_share, 0, forms());
    tcase_add_loop_test(t, a_writer_gives_up, 0, forms());
    tcase_add_loop_test(t, destroyed_while_threads_wait, 0, 2);
    t = kt_case(suite, "storm", 60);
    tcase_add_loop_test(t, neither_starves, 0, forms());
    tcase_add_loop_test(t, many_or_one, 0, forms());
    return kt_run(suite);
}
