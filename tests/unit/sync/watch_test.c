/* SPDX-License-Identifier: MIT
 * The watcher's role goes from one sleeper to the next. The slices are taken away, as in
 * wait_test.c: whoever has the role has been woken for it.
 *
 * Linked with --wrap=kini_os_futex_wait. */
#include "sync/watch.h"
#include "sync_fixture.h"

int __real_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline);
int __wrap_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline);

int __wrap_kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline)
{
    (void)deadline;
    return __real_kini_os_futex_wait(word, expected, KIN_NEVER);
}

#define SLEEPERS 6
#define INDEX(i) words[i] /* its thread index */

static struct kin_semaphore *semaphores[SLEEPERS];
static struct party parties[SLEEPERS];
static bool sleeps[SLEEPERS];

/* Each for a semaphore of its own, in one of the two ways to sleep. */
static void wait_once(int me)
{
    INDEX(me) = kini_enter(arena)->index;
    if (me % 2 == 0) {
        PARTY_IS(kin_semaphore_acquire(semaphores[me], KIN_NEVER), 0);
    } else {
        struct kin_wait wait = kin_wait_semaphore(semaphores[me]);
        PARTY_IS(kin_wait_any(arena, &wait, 1, KIN_NEVER), 0);
    }
}

static bool is_asleep(int i)
{
    return INDEX(i) != 0 && kini_load(&arena->threads[INDEX(i)].park) == KINI_PARK_ASLEEP;
}

static void put_to_sleep(int form)
{
    begin();
    for (int i = 0; i < SLEEPERS; i++) {
        INDEX(i) = 0;
        KT_OK(kin_semaphore_create(arena, 0, NULL, &semaphores[i]));
        sleeps[i] = true;
    }
    for (int i = 0; i < SLEEPERS; i++)
        party_start(&parties[i], form, wait_once, i);
}

static void clean_up(void)
{
    for (int i = 0; i < SLEEPERS; i++)
        kin_semaphore_destroy(semaphores[i]);
    finish();
}

/* Which of the sleepers has the role; -1: none. */
static int who_watches(void)
{
    uint64_t index = kini_load(&arena->super->watcher) >> 48;
    for (int i = 0; i < SLEEPERS; i++)
        if (sleeps[i] && (uint64_t)INDEX(i) == index)
            return i;
    return -1;
}

static int until_all_sleep_and_one_watches(void)
{
    int watcher = -1;
    for (int i = 0; i < SLEEPERS; i++)
        KT_UNTIL(!sleeps[i] || is_asleep(i));
    KT_UNTIL((watcher = who_watches()) >= 0);
    KT_UNTIL(is_asleep(watcher)); /* it was woken for it, and sleeps again */
    return watcher;
}

START_TEST(who_is_served_hands_the_role_on)
{
    put_to_sleep(_i);
    for (int left = SLEEPERS; left > 0; left--) {
        int watcher = until_all_sleep_and_one_watches();
        sleeps[watcher] = false;
        KT_OK(kin_semaphore_release(semaphores[watcher]));
        party_join(&parties[watcher]);
    }
    ck_assert_uint_eq(kini_load(&arena->super->watcher), 0);
    clean_up();
}
END_TEST

START_TEST(who_is_served_without_the_role_leaves_it_where_it_is)
{
    put_to_sleep(_i);
    const int watcher = until_all_sleep_and_one_watches();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < SLEEPERS; i++) {
            if ((i == watcher) != round) /* the watcher last */
                continue;
            KT_OK(kin_semaphore_release(semaphores[i]));
            party_join(&parties[i]);
        }
        ck_assert_uint_eq(kini_load(&arena->super->watcher) >> 48,
                          round == 0 ? (uint64_t)INDEX(watcher) : 0);
    }
    clean_up();
}
END_TEST

START_TEST(the_role_of_the_dead_goes_on)
{
    put_to_sleep(PROCESSES);
    for (int left = SLEEPERS; left > 0; left--) {
        int watcher = until_all_sleep_and_one_watches();
        sleeps[watcher] = false;
        party_kill(&parties[watcher]); /* and reaped */
    }
    KT_UNTIL(kin_arena_reap(arena) == 0 && kini_load(&arena->super->watcher) == 0);
    clean_up();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/watch");
    TCase *t = kt_case(suite, "role", 60);
    tcase_add_loop_test(t, who_is_served_hands_the_role_on, 0, forms());
    tcase_add_loop_test(t, who_is_served_without_the_role_leaves_it_where_it_is, 0, forms());
    if (has_processes())
        tcase_add_test(t, the_role_of_the_dead_goes_on);
    return kt_run(suite);
}
