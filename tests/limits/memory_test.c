/* SPDX-License-Identifier: MIT
 * Low RLIMIT_AS and RLIMIT_FSIZE: with more and more room until all succeeds. Until then each call
 * says which limit it met, nothing leaks, no signal kills, and what there is goes on. */
#include "lib/kin_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static struct kin_arena *arena;
static struct rlimit before;
static int resource;
static const char *limit_name;
static int limit_error;

static void use(int which)
{
    resource = which;
    limit_name = which == RLIMIT_AS ? "RLIMIT_AS" : "RLIMIT_FSIZE";
    limit_error = which == RLIMIT_AS ? -ENOMEM : -EFBIG;
    getrlimit((__rlimit_resource_t)which, &before);
}

static void set_limit(uint64_t bytes)
{
    const struct rlimit low = {.rlim_cur = bytes, .rlim_max = before.rlim_max};
    KT_CHECK(setrlimit((__rlimit_resource_t)resource, &low) == 0);
}

static void as_before(void)
{
    KT_CHECK(setrlimit((__rlimit_resource_t)resource, &before) == 0);
}

static uint64_t address_space_used(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    KT_CHECK(f != NULL && fscanf(f, "%llu", &pages) == 1);
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool says_so(int r)
{
    return r == limit_error && strstr(kin_error_text(), limit_name) != NULL;
}

/* Check writes to a file of its own at every assertion, which the limit would hit: what runs under
 * a limit runs in a child, with KT_CHECK. */
#define KT_SHOW(condition, r)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            dprintf(STDERR_FILENO, "%d: %s\n", (int)(r), kin_error_text());                        \
        KT_CHECK(condition);                                                                       \
    } while (0)

static int add_one(struct kin_task *task)
{
    int n = *(const int *)kin_task_arg(task) + 1;
    return kin_task_return(task, &n, sizeof n);
}

/* With an arena, under the limit: everything either works or says why not. */
static bool try_everything(void)
{
    struct kin_queue *queue = NULL;
    struct kin_pool *pool = NULL;
    bool good = true;
    int64_t r = kin_queue_create(arena, NULL, &queue);
    KT_SHOW(r == 0 || says_so((int)r) || r == -ENOMEM, r);
    if (r < 0)
        return false;
    static char text[70000];
    for (size_t i = 0; i < 3; i++) {
        r = kin_queue_put(queue, text, i * 35000, KIN_NOW);
        KT_SHOW(r == 0 || says_so((int)r) || r == -ENOMEM, r);
        good &= r == 0;
        if (r == 0)
            KT_CHECK(kin_queue_get(queue, text, sizeof text, KIN_NOW) == (int64_t)i * 35000);
    }
    const struct kin_pool_opts opts = {.workers_count = 2};
    r = kin_pool_create(arena, &opts, &pool);
    if (r == 0) {
        int items[50] = {0}, out[50] = {0};
        r = kin_pool_map(pool, add_one, KIN_ITEMS(items), KIN_ITEMS(out), KIN_NEVER);
        KT_CHECK(r < 0 || (out[0] == 1 && out[49] == 1));
    }
    KT_SHOW(r == 0 || says_so((int)r) || r == -ENOMEM, r);
    good &= r == 0;
    kin_pool_destroy(pool);
    kin_queue_destroy(queue);
    return good;
}

/* From start on in steps until an arena can be made and all of it works. */
static int until_it_works(uint64_t start, uint64_t step)
{
    int fds = kt_fds_count();
    bool made = false, worked = false;
    for (uint64_t limit = start; !worked; limit += step) {
        KT_CHECK(limit < start + 200 * step);
        arena = NULL;
        set_limit(limit);
        int r = kin_arena_create(NULL, &arena);
        if (r == 0)
            worked = try_everything();
        as_before();
        made |= r == 0;
        KT_SHOW(r == 0 || says_so(r), r);
        KT_CHECK(r == 0 || !made); /* more room does not hurt */
        kin_arena_detach(arena);
        KT_CHECK(kt_fds_count() == fds);
        KT_CHECK(kt_arena_maps_count() == 0);
        KT_CHECK(kt_children_count() == 0);
    }
    return 0;
}

static int address_space_child(void *unused)
{
    (void)unused;
    use(RLIMIT_AS);
    return until_it_works(address_space_used() + 4 * MIB, 8 * MIB);
}

START_TEST(address_space)
{
    ck_assert_int_eq(kt_in_child(address_space_child, NULL), 0);
}
END_TEST

static int file_size_child(void *unused)
{
    (void)unused;
    use(RLIMIT_FSIZE);
    return until_it_works(0, MIB / 2);
}

START_TEST(file_size)
{
    ck_assert_int_eq(kt_in_child(file_size_child, NULL), 0);
}
END_TEST

/* A limit that comes after the arena: what needs more fails, what is there goes on. */
static int fill_and_drain(void *unused)
{
    (void)unused;
    use(RLIMIT_FSIZE);
    KT_CHECK(kin_arena_create(&(struct kin_arena_opts){.reserve_bytes = 1 * GIB}, &arena) == 0);
    set_limit(64 * MIB);
    static void *blocks[100000];
    for (int round = 0; round < 4; round++) {
        struct kin_queue *queue = NULL;
        uint64_t count = 0, put = 0, got;
        int r;
        KT_CHECK(kin_queue_create(arena, NULL, &queue) == 0);
        while ((r = kin_block_alloc(arena, round % 2 ? 2000 : MIB, &blocks[count])) == 0)
            count++;
        KT_SHOW(says_so(r) && count > 10, r);
        for (uint64_t i = 0; i < count; i++)
            KT_CHECK(kin_block_free(arena, blocks[i]) == 0);
        while ((r = kin_queue_put(queue, &put, sizeof put, KIN_NOW)) == 0)
            put++;
        KT_SHOW(says_so(r) && put > 1000, r);
        KT_CHECK(kin_queue_size(queue) == (int64_t)put);
        for (uint64_t i = 0; i < put; i++)
            KT_CHECK(kin_queue_try_get(queue, &got, sizeof got) == sizeof got && got == i);
        kin_queue_destroy(queue);
    }
    as_before();
    void *big;
    KT_CHECK(kin_block_alloc(arena, 100 * MIB, &big) == 0);
    kin_arena_detach(arena);
    return 0;
}

START_TEST(file_size_of_a_running_arena)
{
    ck_assert_int_eq(kt_in_child(fill_and_drain, NULL), 0);
}
END_TEST

static volatile sig_atomic_t signals;

static void count_signal(int signal)
{
    (void)signal;
    signals++;
}

static int take_the_signal(void *unused)
{
    (void)unused;
    use(RLIMIT_FSIZE);
    struct sigaction action = {.sa_handler = count_signal};
    sigaction(SIGXFSZ, &action, NULL);
    KT_CHECK(kin_arena_create(&(struct kin_arena_opts){.reserve_bytes = 1 * GIB}, &arena) == 0);
    set_limit(64 * MIB);
    void *block = NULL;
    KT_CHECK(kin_block_alloc(arena, 200 * MIB, &block) == -EFBIG);
    KT_CHECK(signals == 0);
    sigset_t set, mask;
    sigemptyset(&set);
    sigaddset(&set, SIGXFSZ);
    sigprocmask(SIG_BLOCK, &set, &mask);
    raise(SIGXFSZ); /* pending before the call: still pending after it */
    KT_CHECK(kin_block_alloc(arena, 200 * MIB, &block) == -EFBIG);
    KT_CHECK(signals == 0);
    sigpending(&set);
    KT_CHECK(sigismember(&set, SIGXFSZ) == 1);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    KT_CHECK(signals == 1);
    kin_arena_detach(arena);
    return 0;
}

/* SIGXFSZ is the program's own: kin neither lets one through nor swallows one. */
START_TEST(the_signal_of_the_limit)
{
    ck_assert_int_eq(kt_in_child(take_the_signal, NULL), 0);
}
END_TEST

/* get_alloc cannot allocate: the message stays. */
START_TEST(a_message_too_large_for_the_process)
{
    use(RLIMIT_AS);
    arena = kt_arena(1 * GIB);
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    char *text = calloc(1, 100 * MIB);
    kt_fill(text, 100 * MIB, 1);
    KT_OK(kin_queue_put(queue, text, 100 * MIB, KIN_NOW));
    free(text);
    set_limit(address_space_used() + 20 * MIB);
    void *data = NULL;
    KT_IS(kin_queue_get_alloc(queue, &data, KIN_NOW), -ENOMEM);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    KT_IS(kin_queue_size(queue), 1);
    as_before();
    KT_IS(kin_queue_get_alloc(queue, &data, KIN_NOW), (int64_t)(100 * MIB));
    ck_assert(kt_filled(data, 100 * MIB, 1));
    free(data);
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits/memory");
    TCase *t = kt_case(suite, "create", 60);
    tcase_add_test(t, address_space);
    tcase_add_test(t, file_size);
    t = kt_case(suite, "running", 60);
    tcase_add_test(t, file_size_of_a_running_arena);
    tcase_add_test(t, the_signal_of_the_limit);
    tcase_add_test(t, a_message_too_large_for_the_process);
    return kt_run(suite);
}
