/* SPDX-License-Identifier: MIT
 * What the tests of synchronisation begin with: an arena, words that all share, and parties, which
 * are threads in one run of a test and processes in the other. */
#ifndef KT_SYNC_FIXTURE_H
#define KT_SYNC_FIXTURE_H

#include "lib/kin_test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum form { THREADS, PROCESSES };

#define PARTIES_MOST 24
#define WORDS        1024
#define READY        words[WORDS - 1] /* a victim may be killed */

static struct kin_arena *arena;
static _Atomic int64_t *words;  /* shared by all parties */
static int64_t *plain;          /* the same, for what only a lock protects */
static __thread int party_form; /* of the running party */

/* Processes are neither for the thread sanitizer nor for valgrind. */
static inline bool has_processes(void)
{
    return !KT_THREAD_SANITIZER && !kt_under_valgrind();
}

/* For tcase_add_loop_test: how many forms there are. */
static inline int forms(void)
{
    return has_processes() ? 2 : 1;
}

static inline void begin(void)
{
    words = kt_share(WORDS * sizeof *words);
    plain = kt_share(WORDS * sizeof *plain);
    arena = kt_arena(1 * GIB);
}

/* Every object has been destroyed, nobody else is there. */
static inline void finish(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    kin_arena_detach(arena);
    kt_unshare((void *)words, WORDS * sizeof *words);
    kt_unshare(plain, WORDS * sizeof *plain);
}

/* A call of a party (a child or a thread) that must have this result. */
#define PARTY_IS(call, expected)                                                                   \
    do {                                                                                           \
        long long party_result = (call), party_expected = (expected);                              \
        if (party_result != party_expected) {                                                      \
            dprintf(STDERR_FILENO, "%s:%d: in a party: %s: %lld, not %lld (%s)\n", __FILE__,       \
                    __LINE__, #call, party_result, party_expected, kin_error_text());              \
            _exit(101);                                                                            \
        }                                                                                          \
    } while (0)

/* --- parties -------------------------------------------------------------------------------- */

typedef void (*party_fn)(int me);

struct party {
    party_fn fn;
    int me;
    int form;
    pthread_t thread;
    struct kin_process *process;
};

static inline void *party_thread(void *arg)
{
    struct party *party = arg;
    party_form = THREADS;
    party->fn(party->me);
    return NULL;
}

static inline int party_process(struct kin_arena *mine, void *arg)
{
    struct party *party = arg;
    KT_CHECK(mine == arena);
    party_form = PROCESSES;
    party->fn(party->me);
    return 0;
}

/* party must stay where it is until it is joined. */
static inline void party_start(struct party *party, int form, party_fn fn, int me)
{
    *party = (struct party){.fn = fn, .me = me, .form = form};
    /* A daemon: if the test fails, nobody stays behind. */
    const struct kin_process_opts opts = {.size = sizeof opts, .daemon = 1};
    if (form == THREADS)
        ck_assert_int_eq(pthread_create(&party->thread, NULL, party_thread, party), 0);
    else
        KT_OK(kin_process_start(arena, party_process, party, &opts, &party->process));
}

/* To the end of fn, which leaves in good order. */
static inline void party_join(struct party *party)
{
    int code = -1000;
    if (party->form == THREADS) {
        pthread_join(party->thread, NULL);
        return;
    }
    KT_OK(kin_process_join(party->process, KIN_NEVER));
    KT_OK(kin_process_exitcode(party->process, &code));
    ck_assert_int_eq(code, 0);
    kin_process_close(party->process);
}

/* With SIGKILL; it must be a process. */
static inline void party_kill(struct party *party)
{
    int code = -1000;
    KT_OK(kin_process_kill(party->process));
    KT_OK(kin_process_join(party->process, KIN_NEVER));
    KT_OK(kin_process_exitcode(party->process, &code));
    ck_assert_int_eq(code, -SIGKILL);
    kin_process_close(party->process);
}

/* Stop it with SIGSTOP: what it is given meanwhile it cannot take. */
static inline void party_stop(struct party *party)
{
    pid_t pid = kin_process_pid(party->process);
    kill(pid, SIGSTOP);
    KT_UNTIL(kt_process_state(pid) == 'T');
}

/* Run so many parties to their end. */
static inline void with(int form, int count, party_fn fn)
{
    struct party parties[PARTIES_MOST];
    for (int i = 0; i < count; i++)
        party_start(&parties[i], form, fn, i);
    for (int i = 0; i < count; i++)
        party_join(&parties[i]);
}

/* Run fn in a process, and kill it when it has come to die_here. */
static inline void in_a_victim(party_fn fn, int me)
{
    struct party victim;
    READY = 0;
    party_start(&victim, PROCESSES, fn, me);
    KT_UNTIL(READY == 1 || !kin_process_is_alive(victim.process));
    party_kill(&victim);
}

static inline _Noreturn void die_here(void)
{
    READY = 1;
    for (;;)
        pause();
}

/* Time for a mistake to show: nothing depends on its length but what may be found. */
static inline void a_moment(void)
{
    usleep(20000);
}

static inline void tiny_delay(struct kt_random *random)
{
    uint64_t kind = kt_random_below(random, 64);
    if (kind == 0)
        usleep((useconds_t)kt_random_below(random, 80));
    else if (kind < 16)
        for (volatile uint64_t i = kt_random_below(random, 400); i > 0; i--)
            ;
}

/* --- signals -------------------------------------------------------------------------------- */

static inline void on_signal(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
}

/* --- options -------------------------------------------------------------------------------- */

/* What holds for the options of every object. create(opts) creates it and destroys it again. */
#define CHECK_OPTS(type, create)                                                                   \
    do {                                                                                           \
        struct {                                                                                   \
            type known;                                                                            \
            uint64_t newer;                                                                        \
        } given = {.known = {.size = sizeof given}, .newer = 1};                                   \
        KT_IS(create(&given.known), -E2BIG);                                                       \
        ck_assert_uint_gt(strlen(kin_error_text()), 0);                                            \
        given.newer = 0;                                                                           \
        KT_IS(create(&given.known), 0);                                                            \
        for (uint32_t short_size = 1; short_size < 4; short_size++)                                \
            KT_IS(create(&(type){.size = short_size}), -EINVAL);                                   \
        KT_IS(create(&(type){.size = offsetof(type, name), .name = (char *)1}), 0);                \
        KT_IS(create(&(type){.name = "thirty-one-bytes-are-the-most-x"}), 0);                      \
        KT_IS(create(&(type){.name = "thirty-two-bytes-are-one-too-man"}), -EINVAL);               \
        KT_IS(create(&(type){.name = ""}), 0);                                                     \
        KT_IS(create(NULL), 0);                                                                    \
        ck_assert_uint_eq(kt_stat(arena).objects_count, 0);                                        \
    } while (0)

#endif
