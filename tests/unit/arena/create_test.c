/* SPDX-License-Identifier: MIT
 * Create and detach, options, numbers, several arenas in one process. */
#include "arena/arena.h"
#include "lib/kin_test.h"

START_TEST(create_detach)
{
    struct kin_arena *arena = NULL;
    KT_OK(kin_arena_create(NULL, &arena));
    ck_assert_ptr_nonnull(arena);
    void *block;
    KT_OK(kin_block_alloc(arena, 100, &block));
    kin_arena_detach(arena);
    kin_arena_detach(NULL);
}
END_TEST

START_TEST(again_and_again)
{
    int fds = kt_fds_count();
    for (int i = 0; i < kt_scaled(200); i++) {
        struct kin_arena *arena = kt_arena(i % 2 ? 0 : 64 * MIB);
        void *block;
        KT_OK(kin_block_alloc(arena, 1 + (uint64_t)i * 1000, &block));
        kt_fill(block, 1 + (uint64_t)i * 1000, 5);
        kin_arena_detach(arena);
        ck_assert_int_eq(kt_fds_count(), fds);
        ck_assert_int_eq(kt_arena_maps_count(), 0);
    }
}
END_TEST

static int create_with(struct kin_arena_opts opts)
{
    struct kin_arena *arena = NULL;
    int r = kin_arena_create(&opts, &arena);
    if (r == 0)
        kin_arena_detach(arena);
    else
        ck_assert_ptr_null(arena); /* out-parameters are written on success only */
    return r;
}

START_TEST(options)
{
    const uint32_t size = sizeof(struct kin_arena_opts);
    KT_OK(create_with((struct kin_arena_opts){.size = 0}));
    KT_OK(create_with((struct kin_arena_opts){.size = size, .reserve_bytes = 100 * MIB + 123}));
    KT_OK(create_with(
        (struct kin_arena_opts){.size = size, .name = "thirty-one-bytes-are-the-most-x"}));
    KT_IS(create_with((struct kin_arena_opts){.name = "thirty-two-bytes-are-one-too-man"}),
          -EINVAL);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    KT_IS(create_with((struct kin_arena_opts){.size = 2}), -EINVAL);
    KT_IS(create_with((struct kin_arena_opts){.size = size, .reserve_bytes = 1}), -EINVAL);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "reserve_bytes"));
    /* of an older program: it ends before `name` */
    KT_OK(create_with(
        (struct kin_arena_opts){.size = offsetof(struct kin_arena_opts, name), .name = (char *)1}));
}
END_TEST

START_TEST(flags_are_zero)
{
    /* "flags; 0": a program that sets one means something that this kin does not know */
    KT_IS(create_with((struct kin_arena_opts){.flags = 1}), -EINVAL);
}
END_TEST

START_TEST(options_of_a_newer_kin)
{
    struct {
        struct kin_arena_opts opts;
        uint64_t newer;
    } given = {.opts = {.size = sizeof given}};
    struct kin_arena *arena = NULL;
    KT_OK(kin_arena_create(&given.opts, &arena));
    kin_arena_detach(arena);
    arena = NULL;
    given.newer = 1;
    KT_IS(kin_arena_create(&given.opts, &arena), -E2BIG);
    ck_assert_ptr_null(arena);
}
END_TEST

START_TEST(too_much_address_space_is_cut)
{
    struct kin_arena *arena = kt_arena(1ull << 60);
    struct kin_arena_stats stat = kt_stat(arena);
    ck_assert_uint_ge(stat.reserved_bytes, 64 * MIB);
    ck_assert_uint_le(stat.reserved_bytes, 1ull << 60);
    void *block;
    KT_OK(kin_block_alloc(arena, 1000, &block));
    kin_arena_detach(arena);
}
END_TEST

START_TEST(numbers)
{
    struct kin_arena *arena = kt_arena(1 * GIB);
    struct kin_arena_stats stat = kt_stat(arena);
    ck_assert_uint_eq(stat.size, sizeof stat);
    ck_assert_uint_eq(stat.participants_count, 1);
    ck_assert_uint_eq(stat.threads_count, 1);
    ck_assert_uint_eq(stat.objects_count, 0);
    ck_assert_uint_eq(stat.reserved_bytes, 1 * GIB);
    ck_assert_uint_eq(stat.used_bytes, 0);
    ck_assert_uint_eq(stat.deaths_count, 0);
    ck_assert_uint_gt(stat.committed_bytes, 0);
    ck_assert_uint_lt(stat.committed_bytes, 4 * MIB);
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 1);
    ck_assert_uint_gt(kt_stat(arena).used_bytes, 0);
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    kin_arena_detach(arena);
}
END_TEST

START_TEST(a_default_arena_is_small)
{
    struct kin_arena *arena = NULL;
    KT_OK(kin_arena_create(NULL, &arena));
    ck_assert_uint_le(kt_stat(arena).committed_bytes, 4 * MIB);
    ck_assert_uint_ge(kt_stat(arena).reserved_bytes, 1 * GIB);
    kin_arena_detach(arena);
}
END_TEST

START_TEST(numbers_for_older_and_newer_callers)
{
    struct kin_arena *arena = kt_arena(64 * MIB);
    struct kin_arena_stats stat;
    memset(&stat, 0x55, sizeof stat);
    stat.size = offsetof(struct kin_arena_stats, objects_count);
    KT_OK(kin_arena_stat(arena, &stat));
    ck_assert_uint_eq(stat.participants_count, 1);
    ck_assert_uint_eq(stat.objects_count, 0x55555555); /* beyond its size: not touched */
    ck_assert_uint_eq(stat.deaths_count, 0x5555555555555555);
    stat.size = 3;
    KT_IS(kin_arena_stat(arena, &stat), -EINVAL);
    stat.size = 0;
    KT_IS(kin_arena_stat(arena, &stat), -EINVAL);
    kin_arena_detach(arena);
}
END_TEST

START_TEST(several_arenas)
{
    enum { COUNT = 12 };
    struct kin_arena *arenas[COUNT];
    struct kin_queue *queues[COUNT];
    unsigned char *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        arenas[i] = kt_arena(64 * MIB);
        queues[i] = kt_queue(arenas[i], 0, 0);
    }
    for (unsigned round = 0; round < 20; round++)
        for (unsigned i = 0; i < COUNT; i++) {
            KT_OK(kin_block_alloc(arenas[i], 5000, (void **)&blocks[i]));
            kt_fill(blocks[i], 5000, i);
            KT_OK(kin_queue_put(queues[i], &i, sizeof i, KIN_NOW));
        }
    for (unsigned i = 0; i < COUNT; i += 2) {
        kin_queue_destroy(queues[i]);
        kin_arena_detach(arenas[i]); /* the others go on */
    }
    for (unsigned i = 1; i < COUNT; i += 2) {
        ck_assert(kt_filled(blocks[i], 5000, i));
        KT_IS(kin_block_free(arenas[i], blocks[(i + 2) % COUNT]), -EINVAL); /* of another one */
        KT_OK(kin_block_free(arenas[i], blocks[i]));
        unsigned got = 99;
        KT_IS(kin_queue_size(queues[i]), 20);
        KT_IS(kin_queue_get(queues[i], &got, sizeof got, KIN_NOW), sizeof got);
        ck_assert_uint_eq(got, i);
        ck_assert_uint_eq(kt_stat(arenas[i]).participants_count, 1);
        kin_queue_destroy(queues[i]);
        kin_arena_detach(arenas[i]);
    }
}
END_TEST

static int of_every_arena(void *arg)
{
    struct kin_arena **arenas = arg;
    for (int i = 0; i < 5; i++) {
        void *block;
        KT_CHECK(kt_stat(arenas[i]).participants_count == 2);
        KT_CHECK(kin_block_alloc(arenas[i], 100, &block) == 0);
        kin_arena_detach(arenas[i]);
    }
    return 0;
}

START_TEST(a_child_is_in_all_of_them)
{
    struct kin_arena *arenas[5];
    for (int i = 0; i < 5; i++)
        arenas[i] = kt_arena(64 * MIB);
    ck_assert_int_eq(kt_in_child(of_every_arena, arenas), 0);
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_eq(kt_stat(arenas[i]).participants_count, 1);
        ck_assert_uint_eq(kt_stat(arenas[i]).deaths_count, 0); /* it left by itself */
        kin_arena_detach(arenas[i]);
    }
}
END_TEST

static struct kin_arena *left_behind;
static kini_a32 *go;

static int survive(void *arg)
{
    struct kin_queue *queue = arg;
    while (kini_load(go) == 0)
        usleep(500);
    KT_CHECK(kt_stat(left_behind).participants_count == 1);
    char text[8] = "";
    KT_CHECK(kin_queue_get(queue, text, sizeof text, KIN_NEVER) == 6);
    KT_CHECK(strcmp(text, "still") == 0);
    KT_CHECK(kin_queue_put(queue, text, 6, KIN_NEVER) == 0);
    kin_queue_destroy(queue);
    KT_CHECK(kt_stat(left_behind).objects_count == 0);
    kin_arena_detach(left_behind);
    return 0;
}

START_TEST(children_outlive_the_creators_part)
{
    go = kt_share(4096);
    left_behind = kt_arena(0);
    struct kin_queue *queue = kt_queue(left_behind, 0, 0);
    KT_OK(kin_queue_put(queue, "still", 6, KIN_NOW));
    pid_t child = kt_fork(survive, queue);
    kin_queue_destroy(queue); /* the child has it too */
    kin_arena_detach(left_behind);
    kini_store(go, 1);
    ck_assert_int_eq(kt_wait(child), 0);
    kt_unshare((void *)go, 4096);
}
END_TEST

START_TEST(detach_leaves_nothing_in_the_arena)
{
    /* seen by a child that stays */
    go = kt_share(4096);
    left_behind = kt_arena(0);
    pid_t child = fork();
    if (child == 0) {
        while (kini_load(go) == 0)
            usleep(500);
        KT_CHECK(kt_stat(left_behind).participants_count == 1);
        KT_CHECK(kt_stat(left_behind).used_bytes <= 2 * 65536);
        KT_CHECK(kt_stat(left_behind).objects_count == 0);
        KT_CHECK(kt_stat(left_behind).threads_count <= 1);
        _exit(0);
    }
    struct kin_queue *queue = kt_queue(left_behind, 0, 0);
    for (int i = 0; i < 400; i++) {
        void *block;
        KT_OK(kin_block_alloc(left_behind, 1 + (uint64_t)i * 175, &block));
        KT_OK(kin_queue_put(queue, block, (size_t)i * 5, KIN_NOW));
    }
    kin_arena_detach(left_behind); /* the queue was not destroyed, the blocks not freed */
    kini_store(go, 1);
    ck_assert_int_eq(kt_wait(child), 0);
    free(queue); /* the handle is private memory of ours, its arena is gone */
    kt_unshare((void *)go, 4096);
}
END_TEST

START_TEST(stamp_and_magic)
{
    struct kin_arena *arena = kt_arena(64 * MIB), *other = kt_arena(1 * GIB);
    ck_assert(kini_load(&arena->super->magic) == KINI_MAGIC);
    ck_assert(arena->super->stamp == other->super->stamp && arena->super->stamp != 0);
    ck_assert(arena->super->uuid[0] != other->super->uuid[0]);
    kin_arena_detach(arena);
    kin_arena_detach(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena/create");
    TCase *t = kt_case(suite, "create", 30);
    tcase_add_test(t, create_detach);
    tcase_add_test(t, again_and_again);
    tcase_add_test(t, options);
    tcase_add_test(t, flags_are_zero);
    tcase_add_test(t, options_of_a_newer_kin);
    tcase_add_test(t, too_much_address_space_is_cut);
    tcase_add_test(t, stamp_and_magic);
    t = kt_case(suite, "numbers", 30);
    tcase_add_test(t, numbers);
    tcase_add_test(t, a_default_arena_is_small);
    tcase_add_test(t, numbers_for_older_and_newer_callers);
    t = kt_case(suite, "several", 30);
    tcase_add_test(t, several_arenas);
    tcase_add_test(t, a_child_is_in_all_of_them);
    tcase_add_test(t, children_outlive_the_creators_part);
    tcase_add_test(t, detach_leaves_nothing_in_the_arena);
    return kt_run(suite);
}
