/* SPDX-License-Identifier: MIT
 * Pools in a storm: workers are killed at random while their owner maps and streams, and owners are
 * killed with all that they have. What is accounted for, for every item:
 *   - it is reported once: as done, with the right result, or as -EOWNERDEAD
 *   - it was begun at most as often as the options allow; one that is done was begun
 *   - nothing fails in another way, and nothing hangs
 * and after each owner: no worker, no object, no memory is left. */
#include "base/atomic.h"
#include "storm/storm.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define ITEMS  300
#define ROUNDS 64

static struct kin_arena *arena;
static struct shared {
    kini_a64 items, failed, retried, kills, owners, calls;
    kini_a32 begun[ROUNDS][ITEMS]; /* a task of a stream that was closed may yet begin */
} * shared;
static struct kin_pool *pool;
static uint64_t call; /* of the owner: its number */

static int work(struct kin_task *task)
{
    uint64_t n, result[40];
    memcpy(&n, kin_task_arg(task), sizeof n);
    uint64_t mine = (uint64_t)(uintptr_t)kin_task_shared(task);
    kini_add_sc(&shared->begun[mine % ROUNDS][kin_task_index(task) % ITEMS], 1);
    for (volatile int i = 0; i < (int)(n % 7) * 20000; i++)
        ;
    for (int i = 0; i < 40; i++)
        result[i] = n * n + (uint64_t)i;
    return kin_task_return(task, result, sizeof result);
}

static bool right(const uint64_t *result, uint64_t n)
{
    for (uint64_t i = 0; i < 40; i++)
        if (result[i] != n * n + i)
            return false;
    return true;
}

static void check_item(uint64_t index, int status, const uint64_t *result, uint32_t retries)
{
    uint32_t begun = kini_load(&shared->begun[call % ROUNDS][index]);
    KT_CHECK(status == 0 || status == -EOWNERDEAD);
    KT_CHECK(begun <= retries + 1);
    KT_CHECK(status != 0 || (begun >= 1 && right(result, index * 3)));
    kini_add(&shared->items, 1);
    kini_add(&shared->failed, status != 0);
    kini_add(&shared->retried, begun > 1);
}

/* --- the owner -------------------------------------------------------------------------------- */

static _Atomic int stop;

static void *kill_workers(void *number)
{
    struct kt_random random = kt_random_of("kill_workers", (uint64_t)(uintptr_t)number);
    while (!stop) {
        int32_t pids[3];
        usleep((useconds_t)kt_random_below(&random, 4000));
        uint32_t count = kin_pool_worker_pids(pool, pids, 3);
        int32_t victim = pids[kt_random_below(&random, 3)];
        if (count == 3 && victim > 0) {
            kill(victim, SIGKILL);
            kini_add(&shared->kills, 1);
        }
    }
    return NULL;
}

static void map_once(struct kt_random *random)
{
    static uint64_t items[ITEMS], out[ITEMS][40];
    static int32_t statuses[ITEMS];
    const struct kin_map_opts opts = {.size = sizeof opts,
                                      .retries_count = (uint32_t)kt_random_below(random, 3),
                                      .chunk_items = kt_random_below(random, 30),
                                      .arg = (void *)(uintptr_t)++call,
                                      .statuses = statuses};
    for (uint64_t i = 0; i < ITEMS; i++) {
        items[i] = i * 3;
        kini_store(&shared->begun[call % ROUNDS][i], 0);
    }
    int r = kin_pool_map_opts(pool, work, KIN_ITEMS(items), KIN_ITEMS(out), &opts, KIN_NEVER);
    KT_CHECK(r == 0 || r == -EOWNERDEAD);
    for (uint64_t i = 0; i < ITEMS; i++)
        check_item(i, statuses[i], out[i], opts.retries_count);
}

static int read_source(void *arg, const void **ret_item, size_t *ret_bytes)
{
    static uint64_t item;
    uint64_t *next = arg;
    if (*next == ITEMS)
        return 0;
    item = *next * 3;
    ++*next;
    *ret_item = &item;
    *ret_bytes = sizeof item;
    return 1;
}

static void stream_once(struct kt_random *random)
{
    bool seen[ITEMS] = {false};
    uint64_t next = 0, results = 0;
    const struct kin_map_opts opts = {.size = sizeof opts,
                                      .retries_count = (uint32_t)kt_random_below(random, 3),
                                      .ahead_count = (uint32_t)kt_random_below(random, 60),
                                      .arg = (void *)(uintptr_t)++call,
                                      .ordered = (uint32_t)kt_random_below(random, 2)};
    for (uint64_t i = 0; i < ITEMS; i++)
        kini_store(&shared->begun[call % ROUNDS][i], 0);
    struct kin_stream *stream = NULL;
    KT_CHECK(kin_pool_stream(pool, work, read_source, &next, &opts, &stream) == 0);
    uint64_t most = kt_random_below(random, 3) ? UINT64_MAX : kt_random_below(random, ITEMS);
    struct kin_result result;
    int r = 0;
    while (results < most && (r = kin_stream_next(stream, KIN_NEVER, &result)) == 1) {
        KT_CHECK(result.index < ITEMS && !seen[result.index]);
        KT_CHECK(!opts.ordered || result.index == results);
        seen[result.index] = true;
        results++;
        check_item(result.index, result.status, result.data, opts.retries_count);
    }
    KT_CHECK(results == most || (r == 0 && results == ITEMS));
    kin_stream_close(stream);
}

static int own(void *number)
{
    struct kt_random random = kt_random_of("own", (uint64_t)(uintptr_t)number);
    const struct kin_pool_opts opts = {.workers_count = 3};
    KT_CHECK(kin_pool_create(arena, &opts, &pool) == 0);
    pthread_t killer;
    KT_CHECK(pthread_create(&killer, NULL, kill_workers, number) == 0);
    uint64_t calls = 3 + kt_random_below(&random, 40);
    for (uint64_t i = 0; i < calls; i++) {
        if (kt_random_below(&random, 2))
            map_once(&random);
        else
            stream_once(&random);
        kini_add(&shared->calls, 1);
    }
    stop = 1;
    pthread_join(killer, NULL);
    kin_pool_destroy(pool);
    kin_arena_detach(arena);
    return 0;
}

/* --- the storm -------------------------------------------------------------------------------- */

START_TEST(storm)
{
    int64_t end = storm_end();
    struct kt_random random = kt_random_of("storm", 0);
    shared = kt_share(sizeof *shared);
    arena = kt_arena(16 * GIB);
    for (uintptr_t number = 0; kin_now_ns() < end; number++) {
        pid_t owner = kt_fork(own, (void *)number);
        bool kill_it = kt_random_below(&random, 3) != 0;
        if (kill_it) {
            usleep((useconds_t)kt_random_below(&random, 600000));
            kill(owner, SIGKILL);
        }
        int status = kt_wait(owner);
        ck_assert_msg(status == 0 || (kill_it && status == -SIGKILL), "owner ended with %d",
                      status);
        kt_wait_all(); /* its workers end without a word from us */
        KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
        ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
        ck_assert_uint_eq(kt_stat(arena).used_bytes, 0);
        kini_add(&shared->owners, 1);
    }
    printf("pool: %" PRIu64 " owners, %" PRIu64 " workers killed; %" PRIu64 " calls, %" PRIu64
           " items, %" PRIu64 " failed, %" PRIu64 " begun again\n",
           kini_load(&shared->owners), kini_load(&shared->kills), kini_load(&shared->calls),
           kini_load(&shared->items), kini_load(&shared->failed), kini_load(&shared->retried));
    kin_arena_detach(arena);
    kt_unshare(shared, sizeof *shared);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("storm/pool");
    TCase *t = kt_case(suite, "pool", 60 + storm_seconds());
    tcase_add_test(t, storm);
    return kt_run(suite);
}
