/* SPDX-License-Identifier: MIT
 * A side of a pipe that one thread has for itself, and processes: forked while a thread is in the
 * middle of sending; the owner stopped, killed, and replaced. */
#include "arena/arena.h"
#include "chan/pipe.h"
#include "lib/kin_test.h"
#include "lib/refuse.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define PAGE     4096
#define CHILDREN 8

static struct kin_arena *arena;
static struct kin_pipe *a, *b;
static kini_a64 *sent; /* by who: numbers below were sent for certain */

static void begin(void)
{
    const struct kin_pipe_opts opts = {.size = sizeof opts};
    sent = kt_share(PAGE);
    arena = kt_arena(1 * GIB);
    KT_OK(kin_pipe_create(arena, &opts, &a, &b));
}

static void finish(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    kin_pipe_close(a);
    kin_pipe_close(b);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    kin_arena_detach(arena);
    kt_unshare((void *)sent, PAGE);
}

static void send_from(uint64_t who, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t word = who << 32 | i;
        KT_CHECK(kin_pipe_send(a, &word, sizeof word, KIN_NEVER) == 0);
        kini_store_sc(&sent[who], i + 1);
    }
}

static kini_a32 is_over;

static void *send_until_stopped(void *unused)
{
    for (uint64_t i = 0; kini_load(&is_over) == 0; i++) {
        uint64_t word = i;
        KT_CHECK(kin_pipe_send(a, &word, sizeof word, KIN_NEVER) == 0);
        kini_store_sc(&sent[0], i + 1);
    }
    return unused;
}

static int child_sends(void *arg)
{
    send_from((uint64_t)(uintptr_t)arg, 100);
    return 0;
}

static void *receive_from_all(void *ret_next)
{
    uint64_t *next = ret_next, word;
    int64_t r;
    while ((r = kin_pipe_recv(b, &word, sizeof word, KIN_NEVER)) == sizeof word) {
        KT_CHECK(word >> 32 <= CHILDREN && (uint32_t)word == next[word >> 32]);
        next[word >> 32]++;
    }
    KT_CHECK(r == 0); /* the end */
    return NULL;
}

START_TEST(forked_in_the_middle)
{
    for (int round = 0; round < 20; round++) {
        begin();
        uint64_t next[CHILDREN + 1] = {0};
        pthread_t sender, receiver;
        kini_store(&is_over, 0);
        ck_assert_int_eq(pthread_create(&sender, NULL, send_until_stopped, NULL), 0);
        ck_assert_int_eq(pthread_create(&receiver, NULL, receive_from_all, next), 0);
        pid_t pids[CHILDREN];
        for (uintptr_t i = 0; i < CHILDREN; i++)
            pids[i] = kt_fork(child_sends, (void *)(i + 1));
        for (int i = 0; i < CHILDREN; i++)
            KT_IS(kt_wait(pids[i]), 0);
        kini_store(&is_over, 1);
        pthread_join(sender, NULL);
        KT_OK(kin_pipe_send(a, NULL, 0, KIN_NEVER));
        pthread_join(receiver, NULL);
        for (int i = 0; i <= CHILDREN; i++)
            ck_assert_uint_eq(next[i], kini_load_sc(&sent[i]));
        finish();
    }
}
END_TEST

static int child_sends_for_ever(void *unused)
{
    (void)unused;
    send_from(0, UINT32_MAX);
    return 0;
}

/* Numbers of the child, in order, and how often ours comes between them. */
struct received {
    uint64_t next, ours;
};

static bool receive(struct received *all)
{
    uint64_t word;
    int64_t r = kin_pipe_recv(b, &word, sizeof word, kin_after_ms(20));
    if (r == -ETIMEDOUT)
        return false;
    KT_IS(r, sizeof word);
    if (word >> 32 == 1) {
        all->ours++;
        return true;
    }
    ck_assert_uint_eq(word, all->next);
    all->next++;
    return true;
}

/* Nobody else gets an internal lock while its holder is stopped. */
static bool holds_internal_lock(pid_t pid)
{
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++) {
        const struct kini_thread_shm *thread = &arena->threads[i];
        uint32_t slot = KINI_OWNER_SLOT(kini_owner_word(kini_load_acq(&thread->state), i));
        if (kini_load_acq(&arena->participants[slot].pid) == (uint32_t)pid &&
            kini_load_acq(&thread->lockstack[0]) != 0)
            return true;
    }
    return false;
}

static void stop_at_once(pid_t pid)
{
    int status;
    kill(pid, SIGSTOP);
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert(WIFSTOPPED(status));
}

/* In the middle of anything but an internal lock. */
static void stop_child(pid_t pid)
{
    for (stop_at_once(pid); holds_internal_lock(pid); stop_at_once(pid)) {
        kill(pid, SIGCONT);
        usleep(100);
    }
}

struct round {
    uint64_t some; /* messages, then it is stopped */
    bool goes_on, refused;
};

/* Wherever in its send it is, another one sends behind it, and does not wait for it; nor if it may
 * not fence the one that is stopped. */
static int stop_and_go(void *arg)
{
    const struct round *round = arg;
    struct received all = {0, 0};
    uint64_t ours = 1ull << 32, some = round->some;
    int status;
    begin();
    pid_t pid = kt_fork(child_sends_for_ever, NULL);
    while (all.next < some)
        receive(&all);
    stop_child(pid);
    while (receive(&all)) /* so that there is room */
        ;
    ck_assert(!round->refused || kt_refuse_fences(EPERM));
    KT_IS(kin_pipe_try_send(a, &ours, sizeof ours), 0);
    if (round->goes_on) {
        kill(pid, SIGCONT);
        some = all.next + 1000;
        while (all.next < some)
            receive(&all);
    }
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    KT_UNTIL(kin_arena_reap(arena) >= 0 && kt_stat(arena).participants_count == 1);
    while (receive(&all))
        ;
    ck_assert_uint_eq(all.ours, 1);
    ck_assert_uint_ge(all.next, kini_load_sc(&sent[0]));
    finish();
    return 0;
}

START_TEST(stopped_and_killed)
{
    struct kt_random random = kt_random_of("stopped", 0);
    for (int i = 0; i < 60; i++) {
        struct round round = {1 + kt_random_below(&random, 3000), i % 2 == 0, false};
        stop_and_go(&round);
    }
}
END_TEST

/* Each time in a process of its own: what is refused to it is so for ever. */
START_TEST(stopped_and_killed_without_fences)
{
    struct kt_random random = kt_random_of("without fences", 0);
    for (int i = 0; i < 30 && kt_can_refuse_fences(); i++) {
        struct round round = {1 + kt_random_below(&random, 3000), i % 2 == 0, true};
        KT_IS(kt_in_child(stop_and_go, &round), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("solo_death");
    TCase *t = tcase_create("all");
    suite_add_tcase(suite, t);
    tcase_set_timeout(t, 100);
    tcase_add_test(t, forked_in_the_middle);
    tcase_add_test(t, stopped_and_killed);
    tcase_add_test(t, stopped_and_killed_without_fences);
    return kt_run(suite);
}
