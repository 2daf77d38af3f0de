/* SPDX-License-Identifier: MIT
 * A low RLIMIT_NOFILE: each call is tried with room for 0, 1, 2, … descriptors until it succeeds.
 * Until then it says which limit it met, and leaves nothing behind. */
#include "base/atomic.h"
#include "lib/kin_test.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static struct rlimit before;
static struct kin_arena *arena;
static kini_a32 *words;

/* Let the process open room more descriptors. Those that are open may have any numbers: the holes
 * below the limit count. */
static void leave_room(unsigned room)
{
    unsigned limit = 0, holes = 0;
    for (;; limit++) {
        char path[40];
        snprintf(path, sizeof path, "/proc/self/fd/%u", limit);
        if (access(path, F_OK) == 0)
            continue;
        if (holes == room)
            break;
        holes++;
    }
    /* above the limit nothing can be opened, what is open there stays */
    const struct rlimit low = {.rlim_cur = limit, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
}

static void as_before(void)
{
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void begin(void)
{
    getrlimit(RLIMIT_NOFILE, &before);
    words = kt_share(4096);
}

static void finish(void)
{
    kt_unshare((void *)words, 4096);
}

/* Try with 0, 1, 2, … until it succeeds; returns how many were needed. */
static unsigned until_it_succeeds(int (*call)(void))
{
    int fds = kt_fds_count(), maps = kt_arena_maps_count();
    for (unsigned room = 0;; room++) {
        ck_assert_uint_lt(room, 40);
        leave_room(room);
        int r = call();
        as_before();
        if (r >= 0)
            return room;
        ck_assert_msg(r == -EMFILE, "with room for %u: %d (%s)", room, r, kin_error_text());
        ck_assert_msg(strstr(kin_error_text(), "RLIMIT_NOFILE") != NULL, "with room for %u: '%s'",
                      room, kin_error_text());
        /* the life line of daemons, once made, stays with the arena */
        ck_assert_int_le(kt_fds_count(), arena != NULL ? fds + 2 : fds);
        ck_assert_int_eq(kt_arena_maps_count(), maps);
        ck_assert_int_eq(kt_children_count(), 0);
        if (arena != NULL) {
            KT_OK(kin_arena_reap(arena));
            ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
            ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
        }
    }
}

static int create_arena(void)
{
    return kin_arena_create(NULL, &arena);
}

START_TEST(arenas)
{
    begin();
    unsigned needed = until_it_succeeds(create_arena);
    ck_assert_uint_ge(needed, 2); /* its memory and its place in it */
    void *block;
    KT_OK(kin_block_alloc(arena, 1000, &block));
    kin_arena_detach(arena);
    finish();
}
END_TEST

static struct kin_queue *queue;

static int create_queue(void)
{
    return kin_queue_create(arena, NULL, &queue);
}

START_TEST(queues_need_none)
{
    begin();
    arena = kt_arena(0);
    ck_assert_uint_eq(until_it_succeeds(create_queue), 0);
    leave_room(0);
    static char text[100000];
    for (int i = 0; i < 100; i++)
        KT_OK(kin_queue_put(queue, text, i % 2 ? sizeof text : 10, KIN_NOW));
    for (int i = 0; i < 100; i++)
        KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NOW), i % 2 ? sizeof text : 10);
    as_before();
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
    finish();
}
END_TEST

static struct kin_process *process;
static struct kin_process_opts process_opts;

static int count_me(struct kin_arena *mine, void *arg)
{
    (void)arg;
    kini_add_sc(&words[0], 1);
    void *block;
    return kin_block_alloc(mine, 100, &block) == 0 ? 0 : 1;
}

static int start_process(void)
{
    return kin_process_start(arena, count_me, NULL, &process_opts, &process);
}

START_TEST(processes)
{
    begin();
    arena = kt_arena(0);
    process_opts = (struct kin_process_opts){.daemon = (uint32_t)_i};
    until_it_succeeds(start_process);
    KT_OK(kin_process_join(process, KIN_NEVER));
    int code = -1;
    KT_OK(kin_process_exitcode(process, &code));
    ck_assert_int_eq(code, 0);
    ck_assert_uint_eq(kini_load(&words[0]), 1); /* no child of a start that failed ran */
    kin_process_close(process);
    kin_arena_detach(arena);
    finish();
}
END_TEST

static struct kin_pool *pool;

static int create_pool(void)
{
    const struct kin_pool_opts opts = {.workers_count = 4};
    return kin_pool_create(arena, &opts, &pool);
}

static int add_one(struct kin_task *task)
{
    int n = *(const int *)kin_task_arg(task) + 1;
    return kin_task_return(task, &n, sizeof n);
}

START_TEST(pools)
{
    begin();
    arena = kt_arena(0);
    unsigned needed = until_it_succeeds(create_pool);
    ck_assert_uint_ge(needed, 4);
    int items[50] = {0}, out[50];
    leave_room(0); /* work goes on without a further one */
    KT_IS(kin_pool_map(pool, add_one, KIN_ITEMS(items), KIN_ITEMS(out), KIN_NEVER), 0);
    as_before();
    ck_assert_int_eq(out[49], 1);
    kin_pool_destroy(pool);
    kin_arena_detach(arena);
    finish();
}
END_TEST

/* A worker dies and cannot be replaced: the others go on, and later there is a new one. */
START_TEST(workers_cannot_be_replaced)
{
    begin();
    arena = kt_arena(0);
    const struct kin_pool_opts opts = {.workers_count = 2};
    KT_OK(kin_pool_create(arena, &opts, &pool));
    int items[50] = {0}, out[50];
    int32_t pids[2];
    kin_pool_worker_pids(pool, pids, 2);
    kill(pids[0], SIGKILL);
    int fds = kt_fds_count();
    leave_room(0);
    for (int i = 0; i < 5; i++)
        KT_IS(kin_pool_map(pool, add_one, KIN_ITEMS(items), KIN_ITEMS(out), KIN_NEVER), 0);
    as_before();
    ck_assert_int_le(kt_fds_count(), fds);
    for (int i = 0; i < 5; i++)
        KT_IS(kin_pool_map(pool, add_one, KIN_ITEMS(items), KIN_ITEMS(out), KIN_NEVER), 0);
    kin_pool_destroy(pool);
    kin_arena_detach(arena);
    finish();
}
END_TEST

static int join_without_room(void *unused)
{
    (void)unused;
    void *block = NULL;
    int r = kin_block_alloc(arena, 100, &block);
    KT_CHECK(r == -EMFILE || r == 0);
    KT_CHECK(r == 0 || strstr(kin_error_text(), "RLIMIT_NOFILE") != NULL);
    struct rlimit high = before;
    KT_CHECK(setrlimit(RLIMIT_NOFILE, &high) == 0);
    KT_CHECK(kin_block_alloc(arena, 100, &block) == 0); /* now there is room: it joins */
    return r == 0 ? 1 : 0;
}

/* A fork cannot be refused: its child gets the error, at its first call. */
START_TEST(forks)
{
    begin();
    arena = kt_arena(0);
    int status = 0;
    for (unsigned room = 0; status == 0; room++) {
        ck_assert_uint_lt(room, 10);
        leave_room(room);
        status = kt_in_child(join_without_room, NULL);
        as_before();
        ck_assert_int_le(status, 1);
        KT_OK(kin_arena_reap(arena));
        ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
        ck_assert_uint_eq(kt_stat(arena).used_bytes, 0);
    }
    kin_arena_detach(arena);
    finish();
}
END_TEST

static int die_with_blocks(void *unused)
{
    (void)unused;
    void *block;
    KT_CHECK(kin_block_alloc(arena, 1000000, &block) == 0);
    kini_store(&words[1], 1);
    return kt_sleep_for_ever(NULL);
}

/* The dead are found, and repaired, without a descriptor. */
START_TEST(reaping_needs_none)
{
    begin();
    arena = kt_arena(0);
    pid_t child = kt_fork(die_with_blocks, NULL);
    KT_UNTIL(kini_load(&words[1]) == 1);
    kt_kill(child);
    leave_room(0);
    int r = kin_arena_reap(arena);
    as_before();
    KT_IS(r, 1);
    ck_assert_uint_eq(kt_stat(arena).used_bytes, 0);
    child = kt_fork(kt_sleep_for_ever, NULL);
    for (unsigned room = 0; room < 6; room++) { /* and nobody is taken for dead */
        leave_room(room);
        r = kin_arena_reap(arena);
        as_before();
        KT_IS(r, 0);
        ck_assert_uint_eq(kt_stat(arena).participants_count, 2);
    }
    kt_kill(child);
    kin_arena_detach(arena);
    finish();
}
END_TEST

static int reap_without_proc(void *directory)
{
    void *block;
    KT_CHECK(chroot(directory) == 0 && chdir("/") == 0);
    for (int i = 0; i < 5; i++)
        KT_CHECK(kin_arena_reap(arena) == 0);
    KT_CHECK(kt_stat(arena).participants_count == 3);
    KT_CHECK(kin_block_alloc(arena, 1000000, &block) == 0);
    KT_CHECK(kin_block_free(arena, block) == 0);
    kin_arena_detach(arena);
    return 0;
}

/* Where there is no /proc the living are not taken for dead. */
START_TEST(without_proc)
{
    if (getuid() != 0)
        return;
    begin();
    arena = kt_arena(0);
    char directory[] = "/tmp/kin-empty-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(directory));
    pid_t child = kt_fork(kt_sleep_for_ever, NULL);
    ck_assert_int_eq(kt_in_child(reap_without_proc, directory), 0);
    rmdir(directory);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 2);
    kt_kill(child);
    KT_IS(kin_arena_reap(arena), 1);
    kin_arena_detach(arena);
    finish();
}
END_TEST

static int close_all_then_grow(void *unused)
{
    (void)unused;
    void *block;
    KT_CHECK(kin_block_alloc(arena, 100, &block) == 0);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    int r = kin_block_alloc(arena, 100 * MIB, &block);
    KT_CHECK(r == -EBADF);
    KT_CHECK(strlen(kin_error_text()) > 0);
    return 0;
}

/* A careless closefrom(3): what needs the descriptors says so; the others are not harmed. */
START_TEST(descriptors_closed_by_somebody)
{
    begin();
    arena = kt_arena(0);
    ck_assert_int_eq(kt_in_child(close_all_then_grow, NULL), 0);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    void *block;
    KT_OK(kin_block_alloc(arena, 100 * MIB, &block));
    kin_arena_detach(arena);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits/descriptors");
    TCase *t = kt_case(suite, "descriptors", 30);
    tcase_add_test(t, arenas);
    tcase_add_test(t, queues_need_none);
    tcase_add_loop_test(t, processes, 0, 2);
    tcase_add_test(t, pools);
    tcase_add_test(t, workers_cannot_be_replaced);
    tcase_add_test(t, forks);
    tcase_add_test(t, reaping_needs_none);
    tcase_add_test(t, without_proc);
    tcase_add_test(t, descriptors_closed_by_somebody);
    return kt_run(suite);
}
