/* SPDX-License-Identifier: MIT
 * Tables that are full: participants, threads; and RLIMIT_NPROC. An error that says so, and all
 * goes on when there is room again. */
#include "arena/arena.h"
#include "lib/kin_test.h"

#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static struct kin_arena *arena;

/* --- participants ----------------------------------------------------------------------------- */

static int return_0(struct kin_arena *mine, void *arg)
{
    (void)mine;
    (void)arg;
    return 0;
}

static int join_late(void *unused)
{
    (void)unused;
    void *block;
    KT_CHECK(kin_block_alloc(arena, 100, &block) == -ENOSPC);
    KT_CHECK(strstr(kin_error_text(), "participants") != NULL);
    return 0;
}

START_TEST(participants)
{
    static pid_t pids[KINI_PARTICIPANTS_MAX];
    arena = kt_arena(0);
    uint32_t count = 0;
    while (kt_stat(arena).participants_count < KINI_PARTICIPANTS_MAX - 1)
        pids[count++] = kt_fork(kt_sleep_for_ever, NULL);
    ck_assert_uint_eq(count, KINI_PARTICIPANTS_MAX - 2);
    int fds = kt_fds_count();
    struct kin_process *process = NULL;
    struct kin_pool *pool = NULL;
    KT_IS(kin_process_start(arena, return_0, NULL, NULL, &process), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "participants"));
    KT_IS(kin_pool_create(arena, NULL, &pool), -ENOSPC);
    ck_assert(process == NULL && pool == NULL);
    ck_assert_int_eq(kt_in_child(join_late, NULL), 0); /* a fork cannot be refused */
    ck_assert_int_le(kt_fds_count(), fds + 2);         /* the life line stays with the arena */
    kt_kill(pids[--count]);
    KT_IS(kin_arena_reap(arena), 1);
    KT_OK(kin_process_start(arena, return_0, NULL, NULL, &process));
    KT_OK(kin_process_join(process, KIN_NEVER));
    kin_process_close(process);
    for (uint32_t i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
    for (uint32_t i = 0; i < count; i++)
        kt_wait(pids[i]);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    kin_arena_detach(arena);
}
END_TEST

static int leave_at_once(void *unused)
{
    (void)unused;
    return 0;
}

/* More children than there are places, none of them reaped on purpose. */
START_TEST(more_children_than_places)
{
    arena = kt_arena(0);
    for (uint32_t i = 0; i < KINI_PARTICIPANTS_MAX + 80; i++)
        ck_assert_int_eq(kt_in_child(leave_at_once, NULL), 0);
    struct kin_process *process = NULL;
    KT_OK(kin_process_start(arena, return_0, NULL, NULL, &process));
    KT_OK(kin_process_join(process, KIN_NEVER));
    int code = -1;
    KT_OK(kin_process_exitcode(process, &code));
    ck_assert_int_eq(code, 0);
    kin_process_close(process);
    kin_arena_detach(arena);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

static _Atomic uint32_t used, refused;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *use_and_stay(void *unused)
{
    (void)unused;
    void *block;
    int r = kin_block_alloc(arena, 40, &block);
    if (r == 0) {
        kini_add_sc(&used, 1);
    } else {
        KT_CHECK(r == -ENOSPC && strstr(kin_error_text(), "threads") != NULL);
        kini_add_sc(&refused, 1);
    }
    pthread_mutex_lock(&gate); /* the main thread has it */
    pthread_mutex_unlock(&gate);
    if (r == 0)
        KT_CHECK(kin_block_free(arena, block) == 0);
    return NULL;
}

START_TEST(threads)
{
    const uint32_t most = KINI_THREADS_MAX + 3;
    static pthread_t all[KINI_THREADS_MAX + 3];
    arena = kt_arena(0);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_mutex_lock(&gate);
    uint32_t count = 0;
    while (count < most && pthread_create(&all[count], &small, use_and_stay, NULL) == 0)
        count++;
    KT_UNTIL(used + refused == count);
    if (count == most) { /* the machine has room for so many */
        ck_assert_uint_eq(used, KINI_THREADS_MAX - 2);
        ck_assert_uint_eq(refused, most - (KINI_THREADS_MAX - 2));
    }
    void *block; /* those that are registered go on */
    KT_OK(kin_block_alloc(arena, 100, &block));
    pthread_mutex_unlock(&gate);
    for (uint32_t i = 0; i < count; i++)
        pthread_join(all[i], NULL);
    ck_assert_uint_eq(kt_stat(arena).threads_count, 1);
    used = refused = 0;
    ck_assert_int_eq(pthread_create(&all[0], &small, use_and_stay, NULL), 0);
    KT_UNTIL(used == 1);
    pthread_join(all[0], NULL);
    pthread_attr_destroy(&small);
    kin_arena_detach(arena);
}
END_TEST

/* --- RLIMIT_NPROC ----------------------------------------------------------------------------- */

static void become_somebody(void)
{
    if (getuid() != 0)
        return;
    const uid_t nobody = 64321; /* not used by anybody: it counts our processes only */
    KT_CHECK(setgroups(0, NULL) == 0 && setgid(nobody) == 0 && setuid(nobody) == 0);
    prctl(PR_SET_DUMPABLE, 1); /* its own /proc files are its own again */
}

static int run_out_of_processes(void *unused)
{
    (void)unused;
    become_somebody();
    struct rlimit limit;
    getrlimit(RLIMIT_NPROC, &limit);
    KT_CHECK(kin_arena_create(NULL, &arena) == 0);
    int fds = kt_fds_count();
    struct kin_pool *pool = NULL;
    const struct kin_pool_opts opts = {.workers_count = 3};
    int r = -1;
    for (rlim_t room = 0; r < 0 && room < 5000; room++) {
        const struct rlimit low = {.rlim_cur = room, .rlim_max = limit.rlim_max};
        KT_CHECK(setrlimit(RLIMIT_NPROC, &low) == 0);
        struct kin_process *process = NULL;
        r = kin_process_start(arena, return_0, NULL, NULL, &process);
        KT_CHECK(r == 0 || (r == -EAGAIN && strstr(kin_error_text(), "RLIMIT_NPROC") != NULL));
        if (r == 0)
            KT_CHECK(kin_process_join(process, KIN_NEVER) == 0);
        kin_process_close(process);
        r = kin_pool_create(arena, &opts, &pool);
        KT_CHECK(r == 0 || (r == -EAGAIN && strstr(kin_error_text(), "RLIMIT_NPROC") != NULL));
        KT_CHECK(r == 0 || (kt_fds_count() <= fds + 2 && kt_children_count() == 0));
        if (r != 0) /* a worker may have been killed while it looked after another one */
            KT_UNTIL(kin_arena_reap(arena) >= 0 && kt_stat(arena).objects_count == 0);
    }
    KT_CHECK(r == 0);
    kin_pool_destroy(pool);
    KT_UNTIL(kin_arena_reap(arena) >= 0 && kt_stat(arena).participants_count == 1);
    kin_arena_detach(arena);
    return 0;
}

START_TEST(processes)
{
    ck_assert_int_eq(kt_in_child(run_out_of_processes, NULL), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits/tables");
    TCase *t = kt_case(suite, "tables", 60);
    tcase_add_test(t, participants);
    tcase_add_test(t, more_children_than_places);
    tcase_add_test(t, threads);
    tcase_add_test(t, processes);
    return kt_run(suite);
}
