/* SPDX-License-Identifier: MIT
 * The processes of a storm: started, killed, stopped, continued, collected. */
#include "storm/sync_storm.h"

#include <signal.h>
#include <sys/wait.h>

const struct scenario *scenario;
struct storm *storm;
struct kin_arena *storm_arena;
bool examined;
int threads_count;

struct kin_event *never;
pid_t pids[PROCESSES];
bool stopped[PROCESSES];
uint64_t kills, rounds;

void start(int place)
{
    uint64_t number = kini_add_sc(&storm->number, 1) + 1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (place == LOOKOUT)
            KT_CHECK(kin_event_wait(never, KIN_NEVER) == 0);
        else
            run_place(place, number);
        if (number % 2)
            kin_arena_detach(storm_arena);
        _exit(0);
    }
    ck_assert_int_gt(pid, 0);
    pids[place] = pid;
}

/* --- failing ---------------------------------------------------------------------------------- */

void give_up(const char *why)
{
    dump_storm();
    ck_abort_msg("%s, round %" PRIu64 ", after %" PRIu64 " kills: %s", scenario->name, rounds,
                 kills, why);
}

void check_status(int place, int status)
{
    char text[80];
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return;
    snprintf(text, sizeof text, "the process at place %d ended with status %#x", place,
             (unsigned)status);
    give_up(text);
}

/* --- strikes ---------------------------------------------------------------------------------- */

/* Stop it and wait until it has stopped: what it holds can be asked then. */
static void examine(int place)
{
    int status = 0;
    if (!stopped[place]) {
        kill(pids[place], SIGSTOP);
        ck_assert_int_eq(waitpid(pids[place], &status, WUNTRACED), pids[place]);
        if (!WIFSTOPPED(status)) {
            check_status(place, status);
            give_up("a process left without being asked to");
        }
    }
    if (scenario->examine != NULL)
        scenario->examine(pids[place], place);
}

void doom(int place)
{
    if (place == LOOKOUT) {
        kill(pids[place], SIGKILL);
        return;
    }
    if (examined)
        examine(place);
    kini_store_sc(&storm->doomed[place], kini_load(&storm->number)); /* or of an older one: dead */
    kini_or(&storm->doomed_mask, 1ull << place);
    atomic_thread_fence(memory_order_seq_cst);
    kill(pids[place], SIGKILL);
}

void collect(int place)
{
    int status;
    do {
        ck_assert_int_eq(waitpid(pids[place], &status, 0), pids[place]);
    } while (WIFSTOPPED(status));
    check_status(place, status);
    for (int i = 0; i < THREADS && place != LOOKOUT; i++) {
        int seat = place * THREADS + i;
        scenario->died(seat);
        for (int o = 0; o < OBJECTS; o++)
            kini_store(&storm->seats[seat].phase[o], OUT);
        kini_store(&storm->seats[seat].doing, 0);
    }
    if (place != LOOKOUT) {
        kini_add_sc(&storm->victims_cleared, 1);
        kini_and(&storm->doomed_mask, ~(1ull << place));
    }
    pids[place] = 0;
    stopped[place] = false;
    kills++;
}

void continue_all(void)
{
    for (int i = 0; i < PROCESSES; i++) {
        if (stopped[i])
            kill(pids[i], SIGCONT);
        stopped[i] = false;
    }
}

/* Somebody who sleeps although what it waits for is there must be on its way. */
void look_for_forgotten(void)
{
    struct kin_wait waits[OBJECTS];
    uint32_t count = scenario->waits(waits);
    for (uint32_t i = 0; i < count; i++) {
        if (!is_forgotten(&waits[i]))
            continue;
        continue_all();
        kin_deadline end = kin_after_ms(FORGOTTEN_MS);
        while (is_forgotten(&waits[i])) {
            usleep(1000);
            if (kin_now_ns() >= end)
                give_up("all who wait for an object sleep, and it is free");
        }
    }
}

/* One that is stopped may have something that whoever repairs waits for; we must not, as nobody
 * else continues it. */
static bool is_any_stopped(void)
{
    bool any = false;
    for (int i = 0; i < PROCESSES; i++)
        any |= stopped[i];
    return any;
}

static bool holds_something(int place)
{
    for (int i = 0; i < SEATS; i++)
        for (uint32_t o = 0; o < OBJECTS && i / THREADS == place; o++)
            if (phases_of(i, o) == INSIDE || phases_of(i, o) == NOTIFYING)
                return true;
    return false;
}

/* Most wait at any time; every other time it is one that holds something, if there is one. */
static int choose_place(struct kt_random *random)
{
    int place = (int)kt_random_below(random, PROCESSES);
    if (kt_random_below(random, 2) == 0)
        for (int i = 0; i < PLACES; i++)
            if (holds_something((place + i) % PROCESSES))
                return (place + i) % PROCESSES;
    return place;
}

void strike(struct kt_random *random)
{
    int place = choose_place(random);
    uint64_t what = kt_random_below(random, 10), first = kt_random_below(random, 4);
    if (what == 0 && !stopped[place]) {
        kill(pids[place], SIGSTOP);
        stopped[place] = true;
        if (examined) /* its stop is to be seen by nobody else */
            waitpid(pids[place], NULL, WUNTRACED);
    } else if (what < 3 && stopped[place]) {
        kill(pids[place], SIGCONT);
        stopped[place] = false;
    } else {
        doom(place);
        collect(place);
        if (first == 0 && !is_any_stopped())
            KT_OK(kin_arena_reap(storm_arena));
        look_for_forgotten();
        start(place);
    }
}
