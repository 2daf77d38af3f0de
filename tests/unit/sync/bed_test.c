/* SPDX-License-Identifier: MIT
 * Those who have waited long: told of deaths by the kernel, woken by a bell. Where the slices are
 * taken away, nothing else can have woken them.
 *
 * Linked with --wrap=kini_os_futex_wait, kini_os_poll, kini_os_bell_ring and kini_watch_is_long. */
#include "sync/bed.h"
#include "sync_fixture.h"

#include <poll.h>
#include <sys/resource.h>

static bool due = true, slices, deaf;

int __real_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline);
int __wrap_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline);
int __real_kini_os_poll(struct pollfd *polls, uint32_t count, kin_deadline deadline);
int __wrap_kini_os_poll(struct pollfd *polls, uint32_t count, kin_deadline deadline);
int __real_kini_os_bell_ring(uint64_t number, kini_a64 *sender);
int __wrap_kini_os_bell_ring(uint64_t number, kini_a64 *sender);
bool __wrap_kini_watch_is_long(const struct kini_self *self, int64_t now_ns);

int __wrap_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline)
{
    return __real_kini_os_futex_wait(word, expected, slices ? deadline : KIN_NEVER);
}

int __wrap_kini_os_poll(struct pollfd *polls, uint32_t count, kin_deadline deadline)
{
    return __real_kini_os_poll(polls, count, slices ? deadline : KIN_NEVER);
}

int __wrap_kini_os_bell_ring(uint64_t number, kini_a64 *sender)
{
    return deaf ? -EMFILE : __real_kini_os_bell_ring(number, sender);
}

bool __wrap_kini_watch_is_long(const struct kini_self *self, int64_t now_ns)
{
    (void)self;
    (void)now_ns;
    return due;
}

/* --- sleepers --------------------------------------------------------------------------------- */

#define SLEEPERS 4
#define INDEX(i) words[i]
#define GOT(i)   words[100 + i] /* result of the wait + 1000 */
#define FDS      words[200]     /* what a child found */
#define HELD     words[201]

static struct kin_semaphore *semaphores[SLEEPERS];
static struct kin_lock *lock;
static struct party parties[SLEEPERS];

static void wait_for_semaphore(int me)
{
    INDEX(me) = kini_enter(arena)->index;
    const int fds = kt_fds_count();
    GOT(me) = 1000 + kin_semaphore_acquire(semaphores[me], KIN_NEVER);
    if (party_form == PROCESSES) /* it may have rung, for which it keeps one */
        PARTY_IS(kt_fds_count() - (kini_load(&arena->bell_sender) != 0), fds);
}

static void wait_for_lock(int me)
{
    INDEX(me) = kini_enter(arena)->index;
    GOT(me) = 1000 + kin_lock_acquire(lock, KIN_NEVER);
    PARTY_IS(kin_lock_release(lock), 0);
}

static void hold(int me)
{
    (void)me;
    PARTY_IS(kin_lock_acquire(lock, KIN_NEVER), 0);
    HELD = 1;
    die_here();
}

static struct kini_thread_shm *record_of(int i)
{
    return &arena->threads[INDEX(i)];
}

static bool is_asleep(int i)
{
    return INDEX(i) != 0 && kini_load(&record_of(i)->park) == KINI_PARK_ASLEEP;
}

static bool is_in_bed(int i)
{
    struct kini_super_shm *super = arena->super;
    uint64_t index = (uint64_t)INDEX(i);
    return is_asleep(i) && kini_load(&record_of(i)->bell) != 0 &&
           (kini_load(&super->beds[0]) >> 48 == index || kini_load(&super->beds[1]) >> 48 == index);
}

static int count_in_beds(void)
{
    int count = 0;
    for (int i = 0; i < SLEEPERS; i++)
        count += is_in_bed(i);
    return count;
}

static void set_up(void)
{
    begin();
    for (int i = 0; i < SLEEPERS; i++) {
        INDEX(i) = GOT(i) = 0;
        KT_OK(kin_semaphore_create(arena, 0, NULL, &semaphores[i]));
    }
    KT_OK(kin_lock_create(arena, NULL, &lock));
    HELD = 0;
}

static void clean_up(void)
{
    for (int i = 0; i < SLEEPERS; i++)
        kin_semaphore_destroy(semaphores[i]);
    kin_lock_destroy(lock);
    finish();
}

static void serve(int i)
{
    KT_OK(kin_semaphore_release(semaphores[i]));
    party_join(&parties[i]);
    ck_assert_int_eq(GOT(i), 1000);
    INDEX(i) = 0;
}

/* Nobody in this process looks after it until it is joined. */
static void kill_unseen(struct party *party)
{
    kill(kin_process_pid(party->process), SIGKILL);
}

static uint64_t deaths(void)
{
    return kini_load(&arena->super->death_seq);
}

/* --- deaths ----------------------------------------------------------------------------------- */

START_TEST(the_lock_of_the_dead_goes_on)
{
    struct party holder;
    set_up();
    party_start(&holder, PROCESSES, hold, 0);
    KT_UNTIL(HELD == 1);
    party_start(&parties[0], PROCESSES, wait_for_lock, 0);
    KT_UNTIL(is_in_bed(0));
    kill_unseen(&holder);
    KT_UNTIL(GOT(0) != 0);
    ck_assert_int_eq(GOT(0), 1000 + KIN_ABANDONED);
    party_kill(&holder);
    party_join(&parties[0]);
    clean_up();
}
END_TEST

static void only_join(int me)
{
    (void)me;
    die_here();
}

START_TEST(a_newcomer_is_watched)
{
    struct party newcomer;
    set_up();
    party_start(&parties[0], PROCESSES, wait_for_semaphore, 0);
    KT_UNTIL(is_in_bed(0));
    for (int round = 0; round < 3; round++) {
        uint64_t before = deaths();
        READY = 0;
        party_start(&newcomer, PROCESSES, only_join, 0);
        KT_UNTIL(READY == 1 && is_in_bed(0));
        kill_unseen(&newcomer);
        KT_UNTIL(deaths() == before + 1);
        party_kill(&newcomer);
    }
    serve(0);
    clean_up();
}
END_TEST

START_TEST(the_death_of_who_watches_is_told)
{
    set_up();
    for (int i = 0; i < SLEEPERS; i++) {
        party_start(&parties[i], PROCESSES, wait_for_semaphore, i);
        KT_UNTIL(i < 2 ? is_in_bed(i) : is_asleep(i));
    }
    for (int i = 0; i < SLEEPERS - 1; i++) {
        KT_UNTIL(count_in_beds() == 2 || i == SLEEPERS - 2);
        int victim = 0;
        while (!is_in_bed(victim))
            victim++;
        uint64_t before = deaths();
        kill_unseen(&parties[victim]);
        KT_UNTIL(deaths() == before + 1);
        party_kill(&parties[victim]);
        INDEX(victim) = 0;
    }
    for (int i = 0; i < SLEEPERS; i++)
        if (INDEX(i) != 0)
            serve(i);
    clean_up();
}
END_TEST

/* --- in and out ------------------------------------------------------------------------------- */

START_TEST(who_is_served_leaves_its_bed_to_another)
{
    const int most = _i == THREADS ? 1 : 2; /* two of a process would die together */
    set_up();
    for (int i = 0; i < SLEEPERS; i++) {
        party_start(&parties[i], _i, wait_for_semaphore, i);
        KT_UNTIL(is_asleep(i));
    }
    for (int left = SLEEPERS; left > 0; left--) {
        int next = 0;
        KT_UNTIL(count_in_beds() == (left < most ? left : most));
        while (!is_in_bed(next))
            next++;
        serve(next);
    }
    ck_assert_uint_eq(kini_load(&arena->super->beds[0]) | kini_load(&arena->super->beds[1]), 0);
    clean_up();
}
END_TEST

static void release_first(int signal)
{
    (void)signal;
    kin_semaphore_release(semaphores[0]);
}

START_TEST(a_signal_handler_wakes_it)
{
    set_up();
    party_start(&parties[0], _i, wait_for_semaphore, 0);
    KT_UNTIL(is_in_bed(0));
    on_signal(release_first);
    raise(SIGUSR1);
    party_join(&parties[0]);
    clean_up();
}
END_TEST

static void count_fds(int me)
{
    (void)me;
    FDS = kt_fds_count();
}

START_TEST(a_child_has_none_of_its_descriptors)
{
    struct party child;
    set_up();
    with(PROCESSES, 1, count_fds);
    int64_t before = FDS;
    party_start(&parties[0], THREADS, wait_for_semaphore, 0);
    KT_UNTIL(is_in_bed(0));
    FDS = 0;
    party_start(&child, PROCESSES, count_fds, 0);
    party_join(&child);
    ck_assert_int_eq(FDS, before);
    serve(0);
    clean_up();
}
END_TEST

/* --- with descriptors of the caller -------------------------------------------------------------
 */

static int ends[2];

static void wait_for_any(int me)
{
    INDEX(me) = kini_enter(arena)->index;
    const struct kin_wait waits[] = {kin_wait_fd(ends[0]), kin_wait_semaphore(semaphores[0])};
    GOT(me) = 1000 + kin_wait_any(arena, waits, me == 0 ? 2 : 1, KIN_NEVER);
}

START_TEST(a_descriptor_wakes_it)
{
    set_up();
    for (int me = 0; me < 2; me++) { /* with a semaphore, or alone */
        ck_assert_int_eq(pipe(ends), 0);
        party_start(&parties[me], _i, wait_for_any, me);
        KT_UNTIL(is_in_bed(me));
        ck_assert_int_eq(write(ends[1], "x", 1), 1);
        party_join(&parties[me]);
        ck_assert_int_eq(GOT(me), 1000);
        INDEX(me) = 0;
        close(ends[0]);
        close(ends[1]);
    }
    clean_up();
}
END_TEST

/* The slices are taken away: neither the look every 10 ms nor a watcher's would come. */
START_TEST(who_waits_for_descriptors_has_a_bed_beside_the_beds_that_watch)
{
    set_up();
    ck_assert_int_eq(pipe(ends), 0);
    party_start(&parties[1], THREADS, wait_for_semaphore, 1);
    KT_UNTIL(is_in_bed(1));
    party_start(&parties[0], THREADS, wait_for_any, 0);
    KT_UNTIL(is_asleep(0) && kini_load(&record_of(0)->bell) != 0);
    ck_assert(!is_in_bed(0));
    KT_OK(kin_semaphore_release(semaphores[0]));
    party_join(&parties[0]);
    ck_assert_int_eq(GOT(0), 1001);
    serve(1);
    close(ends[0]);
    close(ends[1]);
    clean_up();
}
END_TEST

/* --- where there is no bed to be had ------------------------------------------------------------
 */

static void wait_with_few_descriptors(int me)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 20; /* an eighth of them is less than the participants */
    setrlimit(RLIMIT_NOFILE, &limit);
    wait_for_lock(me);
}

START_TEST(without_descriptors_it_looks)
{
    struct party holder, others[2];
    set_up();
    slices = true;
    party_start(&holder, PROCESSES, hold, 0);
    KT_UNTIL(HELD == 1);
    for (int i = 0; i < 2; i++)
        party_start(&others[i], PROCESSES, only_join, 0);
    party_start(&parties[0], PROCESSES, wait_with_few_descriptors, 0);
    KT_UNTIL(is_asleep(0));
    ck_assert(!is_in_bed(0));
    kill_unseen(&holder);
    KT_UNTIL(GOT(0) != 0);
    ck_assert_int_eq(GOT(0), 1000 + KIN_ABANDONED);
    party_join(&parties[0]);
    party_kill(&holder);
    for (int i = 0; i < 2; i++)
        party_kill(&others[i]);
    slices = false;
    clean_up();
}
END_TEST

START_TEST(a_ring_that_fails_is_not_tried_again)
{
    set_up();
    slices = true;
    for (int round = 0; round < 2; round++) {
        party_start(&parties[0], _i, wait_for_semaphore, 0);
        KT_UNTIL(round == 0 ? is_in_bed(0) : is_asleep(0));
        ck_assert_int_eq(is_in_bed(0), round == 0);
        deaf = true;
        serve(0); /* at the next tick; at once */
        deaf = false;
        ck_assert_uint_gt(kini_load(&arena->super->bedless_ms), 0);
    }
    slices = false;
    clean_up();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/bed");
    TCase *t = kt_case(suite, "in and out", 60);
    tcase_add_loop_test(t, who_is_served_leaves_its_bed_to_another, 0, forms());
    tcase_add_loop_test(t, a_signal_handler_wakes_it, 0, forms());
    tcase_add_loop_test(t, a_descriptor_wakes_it, 0, forms());
    tcase_add_test(t, who_waits_for_descriptors_has_a_bed_beside_the_beds_that_watch);
    tcase_add_loop_test(t, a_ring_that_fails_is_not_tried_again, 0, forms());
    if (has_processes()) {
        t = kt_case(suite, "deaths", 60);
        tcase_add_test(t, the_lock_of_the_dead_goes_on);
        tcase_add_test(t, a_newcomer_is_watched);
        tcase_add_test(t, the_death_of_who_watches_is_told);
        tcase_add_test(t, a_child_has_none_of_its_descriptors);
        tcase_add_test(t, without_descriptors_it_looks);
    }
    return kt_run(suite);
}
