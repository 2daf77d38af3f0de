/* SPDX-License-Identifier: MIT
 * Processes are killed at random, stopped and continued, while they hammer on what synchronises.
 * The first argument says which scenario: sync_locks, sync_semaphores, sync_rwlocks,
 * sync_conditions, sync_mixed. KIN_STORM_SECONDS and KIN_SEED change length and seed.
 *
 * A storm is a sequence of rounds, each with objects of its own. In each there is a storm; then
 * quiet, in which every thread must succeed in all it does; then all leave, or all are killed at
 * once; then the scenario adds up. */
#include "storm/sync_storm.h"
#include "storm/storm.h"

#include <signal.h>
#include <sys/wait.h>

static const struct scenario *const scenarios[] = {&sync_locks, &sync_semaphores, &sync_rwlocks,
                                                   &sync_conditions, &sync_mixed};

/* --- a round ---------------------------------------------------------------------------------- */

static bool all_went_on(const uint64_t (*before)[KINDS])
{
    for (int i = 0; i < SEATS; i++)
        for (int k = 0; k < KINDS && i % THREADS < threads_count; k++)
            if ((scenario->kinds_of(i / THREADS) >> k & 1) &&
                kini_load(&storm->seats[i].done[k]) == before[i][k])
                return false;
    return true;
}

static void look_for_ended(void)
{
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        if (waitpid(pids[i], &status, WNOHANG) == pids[i]) {
            check_status(i, status);
            give_up("a process left without being asked to");
        }
    }
}

/* Nobody is killed any more: everybody must succeed in everything. */
static void quiet(void)
{
    uint64_t before[SEATS][KINDS];
    continue_all();
    for (int i = 0; i < SEATS; i++)
        for (int k = 0; k < KINDS; k++)
            before[i][k] = kini_load(&storm->seats[i].done[k]);
    kin_deadline end = kin_after_ms(PATIENCE_MS);
    while (!all_went_on((const uint64_t(*)[KINDS])before)) {
        usleep(1000);
        look_for_ended();
        look_for_forgotten();
        if (kin_now_ns() >= end)
            give_up("somebody does not go on");
    }
}

static void leave(void)
{
    kini_store_sc(&storm->stop, 1);
    kin_deadline end = kin_after_ms(PATIENCE_MS);
    for (int i = 0; i < PLACES;) {
        int status;
        scenario->wake();
        if (waitpid(pids[i], &status, WNOHANG) == pids[i]) {
            check_status(i, status);
            pids[i++] = 0;
            continue;
        }
        usleep(1000);
        if (kin_now_ns() >= end)
            give_up("somebody does not leave");
    }
}

static void hang(int unused)
{
    (void)unused;
    give_up("the one who kills hangs");
}

static void round_of(struct kt_random *random, int64_t until)
{
    rounds++;
    alarm(3 * PATIENCE_MS / 1000); /* a round has two waits that are patient, at most */
    threads_count = 1 + (int)kt_random_below(random, THREADS);
    examined = kt_random_below(random, 2);
    bool at_once = kt_random_below(random, 2);
    kini_store(&storm->stop, 0);
    memset((void *)storm->seats, 0, sizeof storm->seats);
    const struct kin_event_opts opts = {.size = sizeof opts, .name = "never"};
    KT_OK(kin_event_create(storm_arena, &opts, &never));
    scenario->begin(random);
    for (int i = LOOKOUT; i >= 0; i--)
        start(i);
    while (kin_now_ns() < until) {
        usleep((useconds_t)kt_random_below(random, 2500));
        strike(random);
    }
    quiet();
    if (!at_once)
        leave();
    for (int i = at_once ? 0 : LOOKOUT; i < PROCESSES; i++)
        doom(i);
    for (int i = at_once ? 0 : LOOKOUT; i < PROCESSES; i++)
        collect(i);
    KT_UNTIL(kin_arena_reap(storm_arena) == 0 && kt_stat(storm_arena).participants_count == 1);
    scenario->check();
    scenario->end();
    kin_event_destroy(never);
    alarm(0);
    ck_assert_uint_eq(kt_stat(storm_arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(storm_arena).used_bytes, 64 * 65536);
}

START_TEST(sync_storm)
{
    int64_t end = storm_end();
    struct kt_random random = kt_random_of("storm", 0);
    signal(SIGALRM, hang);
    storm = kt_share(sizeof *storm);
    storm_arena = kt_arena(16 * GIB);
    while (kin_now_ns() < end) {
        int64_t until = kin_after_ms(300 + (int64_t)kt_random_below(&random, 1200));
        round_of(&random, until < end ? until : end);
    }
    ck_assert_uint_eq(kt_stat(storm_arena).threads_count, 1);
    printf("%s: %" PRIu64 " rounds, %" PRIu64 " killed\n", scenario->name, rounds, kills);
    kin_arena_detach(storm_arena);
    kt_unshare(storm, sizeof *storm);
}
END_TEST

int main(int argc, char **argv)
{
    scenario = scenarios[0];
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        if (argc > 1 && strcmp(argv[1], scenarios[i]->name) == 0)
            scenario = scenarios[i];
    Suite *suite = suite_create("storm/sync");
    TCase *t = kt_case(suite, scenario->name, 80 + storm_seconds());
    tcase_add_test(t, sync_storm);
    return kt_run(suite);
}
