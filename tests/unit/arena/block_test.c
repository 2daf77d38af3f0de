/* SPDX-License-Identifier: MIT
 * Blocks: every size, alignment, errors, reserve and commit, memory that goes back, a full arena.
 */
#include "arena/block.h"
#include "lib/kin_test.h"

#include <sys/mman.h>

static struct kin_arena *arena;

static void *alloc(uint64_t bytes)
{
    void *block = NULL;
    KT_OK(kin_block_alloc(arena, bytes, &block));
    ck_assert_ptr_nonnull(block);
    return block;
}

/* --- sizes ---------------------------------------------------------------------------------- */

START_TEST(size_classes)
{
    uint32_t before = 0;
    for (uint32_t class = 0; class < KINI_CLASSES; class ++) {
        uint32_t bytes = kini_class_bytes(class);
        ck_assert(bytes > before && bytes % 16 == 0);
        before = bytes;
    }
    ck_assert_uint_eq(before, KINI_SMALL_MAX);
}
END_TEST

/* Up to an eighth more than the last size of a page run: every size where something changes. */
START_TEST(every_size)
{
    arena = kt_arena(0);
    bool good = true;
    for (uint64_t bytes = 1; bytes < 34000 && good; bytes += bytes < 2100 ? 1 : 13) {
        unsigned char *a = NULL, *b = NULL;
        good = kin_block_alloc(arena, bytes, (void **)&a) == 0 &&
               kin_block_alloc(arena, bytes, (void **)&b) == 0;
        if (!good)
            break;
        kt_fill(a, bytes, 1);
        kt_fill(b, bytes, 2);
        uint64_t room = kini_block_room(arena, kini_offset(arena, a));
        good = (uintptr_t)a % (bytes >= 32768 ? 64 : 16) == 0 && room >= bytes &&
               (bytes > 32000 || room <= bytes + bytes / 4 + 32) && kt_filled(a, bytes, 1) &&
               kt_filled(b, bytes, 2) && kin_block_free(arena, a) == 0 &&
               kin_block_free(arena, b) == 0;
        ck_assert_msg(good, "%llu bytes", (unsigned long long)bytes);
    }
    kin_arena_detach(arena);
}
END_TEST

START_TEST(sizes_up_to_a_hundred_megabytes)
{
    arena = kt_arena(1 * GIB);
    for (uint64_t unit = 32768; unit <= 100 * MIB; unit *= 2)
        for (int64_t around = -65; around <= 65; around += 13) {
            uint64_t bytes = unit + (uint64_t)around;
            unsigned char *block = alloc(bytes);
            if (bytes >= 32768)
                ck_assert_uint_eq((uintptr_t)block % 64, 0);
            kt_fill(block, 64, 1); /* both ends: all of it must be there */
            kt_fill(block + bytes - 64, 64, 2);
            ck_assert(kt_filled(block, 64, 1) && kt_filled(block + bytes - 64, 64, 2));
            KT_OK(kin_block_free(arena, block));
        }
    unsigned char *block = alloc(100 * MIB);
    kt_fill(block, 100 * MIB, 3);
    ck_assert(kt_filled(block, 100 * MIB, 3));
    KT_OK(kin_block_free(arena, block));
    ck_assert_uint_le(kt_stat(arena).used_bytes, 40 * 65536);
    kin_arena_detach(arena);
}
END_TEST

/* --- errors --------------------------------------------------------------------------------- */

START_TEST(wrong_sizes)
{
    arena = kt_arena(64 * MIB);
    static const uint64_t too_many[] = {64 * MIB,           1ull << 40,     1ull << 63,
                                        UINT64_MAX - 70000, UINT64_MAX - 8, UINT64_MAX};
    void *block = NULL;
    KT_IS(kin_block_alloc(arena, 0, &block), -EINVAL);
    KT_IS(kin_block_reserve(arena, 0, &block), -EINVAL);
    for (size_t i = 0; i < sizeof too_many / sizeof too_many[0]; i++) {
        KT_IS(kin_block_alloc(arena, too_many[i], &block), -ENOMEM);
        ck_assert_ptr_nonnull(strstr(kin_error_text(), "reserve_bytes"));
        KT_IS(kin_block_reserve(arena, too_many[i], &block), -ENOMEM);
    }
    ck_assert_ptr_null(block);
    ck_assert_uint_eq(kt_stat(arena).used_bytes, 0);
    kin_arena_detach(arena);
}
END_TEST

static void refuse(void *ptr, int error)
{
    KT_IS(kin_block_free(arena, ptr), error);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
}

START_TEST(wrong_addresses)
{
    arena = kt_arena(64 * MIB);
    char local[64], *small = alloc(100), *large = alloc(200000);
    memset(small, 0, 100);
    KT_OK(kin_block_free(arena, NULL));
    refuse(local, -EINVAL);
    refuse((void *)16, -EINVAL);
    refuse((void *)UINTPTR_MAX, -EINVAL);
    refuse(small + 1, -EINVAL);
    refuse(small + 16, -EINVAL);
    refuse(small - 16, -EINVAL);
    refuse(large + 64, -EINVAL);
    refuse(large - 64, -EINVAL);
    refuse(large + 65536, -EINVAL);
    refuse(arena->base, -EINVAL); /* its own tables */
    refuse(arena->base + arena->bytes, -EINVAL);
    refuse(arena->base + arena->bytes - 64, -EINVAL);
    KT_OK(kin_block_free(arena, small));
    KT_OK(kin_block_free(arena, large));
    kin_arena_detach(arena);
}
END_TEST

START_TEST(freed_twice)
{
    arena = kt_arena(64 * MIB);
    void *keep = alloc(100), *small = alloc(100), *large = alloc(200000);
    KT_OK(kin_block_free(arena, small));
    refuse(small, -EALREADY);
    refuse(small, -EALREADY);
    KT_OK(kin_block_free(arena, large));
    int r = kin_block_free(arena, large);
    ck_assert(r == -EALREADY || r == -EINVAL); /* no trace is left of it, perhaps */
    KT_OK(kin_block_free(arena, keep));
    kin_arena_detach(arena);
}
END_TEST

static int free_it(void *block)
{
    KT_CHECK(kin_block_free(arena, block) == -EPERM);
    return 0;
}

START_TEST(somebody_elses)
{
    arena = kt_arena(64 * MIB);
    void *small = alloc(100), *large = alloc(200000);
    ck_assert_int_eq(kt_in_child(free_it, small), 0);
    ck_assert_int_eq(kt_in_child(free_it, large), 0);
    KT_IS(kin_arena_reap(arena), 2);
    KT_OK(kin_block_free(arena, small));
    KT_OK(kin_block_free(arena, large));
    kin_arena_detach(arena);
}
END_TEST

/* --- reserve and commit --------------------------------------------------------------------- */

static bool is_zero(const unsigned char *p, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++)
        if (p[i] != 0)
            return false;
    return true;
}

START_TEST(reserve_then_commit)
{
    arena = kt_arena(1 * GIB);
    unsigned char *dirt = alloc(64 * MIB);
    memset(dirt, 0xff, 64 * MIB);
    KT_OK(kin_block_free(arena, dirt));
    uint64_t before = kt_stat(arena).committed_bytes;
    unsigned char *table = NULL;
    KT_OK(kin_block_reserve(arena, 512 * MIB, (void **)&table));
    ck_assert_uint_eq((uintptr_t)table % 64, 0);
    ck_assert_uint_le(kt_stat(arena).committed_bytes, before + MIB);
    KT_OK(kin_block_commit(arena, table, 10 * MIB));
    ck_assert(is_zero(table, 10 * MIB));
    kt_fill(table, 10 * MIB, 1);
    KT_OK(kin_block_commit(arena, table + 5 * MIB, 15 * MIB)); /* what is there stays */
    ck_assert(kt_filled(table, 10 * MIB, 1));
    ck_assert(is_zero(table + 10 * MIB, 10 * MIB));
    KT_OK(kin_block_commit(arena, table + 512 * MIB - 1, 1)); /* the last byte */
    table[512 * MIB - 1] = 1;
    ck_assert_uint_le(kt_stat(arena).committed_bytes, before + 30 * MIB);
    KT_OK(kin_block_free(arena, table));
    ck_assert_uint_eq(kt_stat(arena).used_bytes, 0);
    kin_arena_detach(arena);
}
END_TEST

/* The kernel removes nothing from memory that the program has locked. */
START_TEST(locked_memory_is_zero_again)
{
    arena = kt_arena(64 * MIB);
    for (int i = 0; i < 4; i++) {
        unsigned char *block = NULL;
        KT_OK(kin_block_reserve(arena, 2 * 65536, (void **)&block));
        KT_OK(kin_block_commit(arena, block, 2 * 65536));
        ck_assert(is_zero(block, 2 * 65536));
        memset(block, 0xff, 2 * 65536);
        if (i % 2 == 0)
            ck_assert_int_eq(mlock(block - (uintptr_t)block % 4096, 2 * 65536), 0);
        KT_OK(kin_block_free(arena, block));
    }
    kin_arena_detach(arena);
}
END_TEST

START_TEST(small_reservations)
{
    arena = kt_arena(64 * MIB);
    unsigned char *table = NULL, *other = NULL;
    KT_OK(kin_block_reserve(arena, 1, (void **)&table));
    KT_OK(kin_block_reserve(arena, 65536, (void **)&other));
    KT_OK(kin_block_commit(arena, table, 1));
    KT_OK(kin_block_commit(arena, other, 65536));
    ck_assert(is_zero(other, 65536));
    memset(other, 1, 65536);
    table[0] = 2;
    KT_OK(kin_block_free(arena, table));
    KT_OK(kin_block_free(arena, other));
    kin_arena_detach(arena);
}
END_TEST

START_TEST(wrong_ranges)
{
    arena = kt_arena(64 * MIB);
    unsigned char *table = NULL, local[8];
    void *next = NULL;
    KT_OK(kin_block_reserve(arena, 1000000, (void **)&table));
    KT_OK(kin_block_reserve(arena, 1000000, &next));
    KT_IS(kin_block_commit(arena, table, 0), -EINVAL);
    KT_IS(kin_block_commit(arena, local, 8), -EINVAL);
    KT_IS(kin_block_commit(arena, NULL, 8), -EINVAL);
    KT_IS(kin_block_commit(arena, arena->base, 8), -EINVAL);
    KT_IS(kin_block_commit(arena, table, UINT64_MAX), -EINVAL);
    KT_IS(kin_block_commit(arena, table, 64 * MIB), -EINVAL);
    KT_OK(kin_block_commit(arena, table, 1000000));
    kin_arena_detach(arena);
}
END_TEST

/* "not a range of a block": a range that begins in one block and ends behind it. */
START_TEST(a_range_beyond_its_block)
{
    arena = kt_arena(64 * MIB);
    unsigned char *table = NULL;
    void *next = NULL;
    KT_OK(kin_block_reserve(arena, 1000000, (void **)&table));
    KT_OK(kin_block_reserve(arena, 10000000, &next));
    KT_IS(kin_block_commit(arena, table, 5000000), -EINVAL);
    KT_OK(kin_block_free(arena, table));
    KT_IS(kin_block_commit(arena, table, 1000), -EINVAL); /* of no block any more */
    KT_OK(kin_block_free(arena, next));
    kin_arena_detach(arena);
}
END_TEST

static unsigned char *common;

static int commit_all(void *number)
{
    for (uint64_t at = 0; at < 64 * MIB; at += 65536) {
        KT_CHECK(kin_block_commit(arena, common + at, 70000 < 64 * MIB - at ? 70000 : 1) == 0);
        common[at + (uintptr_t)number] = (unsigned char)((uintptr_t)number + 1);
    }
    return 0;
}

/* Any participant may commit, also several at once; what one wrote stays. */
START_TEST(several_commit_at_once)
{
    arena = kt_arena(1 * GIB);
    KT_OK(kin_block_reserve(arena, 64 * MIB, (void **)&common));
    pid_t pids[3];
    for (uintptr_t i = 0; i < 3; i++)
        pids[i] = kt_fork(commit_all, (void *)i);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(kt_wait(pids[i]), 0);
    bool good = true;
    for (uint64_t at = 0; at < 64 * MIB; at += 65536)
        good = good && common[at] == 1 && common[at + 1] == 2 && common[at + 2] == 3;
    ck_assert(good);
    KT_OK(kin_block_free(arena, common));
    kin_arena_detach(arena);
}
END_TEST

/* --- memory goes back ----------------------------------------------------------------------- */

static void burst_of(uint64_t bytes, uint64_t total)
{
    arena = kt_arena(4 * GIB);
    uint64_t count = total / bytes, before = kt_stat(arena).committed_bytes;
    void **blocks = calloc(count, sizeof *blocks);
    bool good = true;
    for (uint64_t i = 0; i < count; i++) {
        good = good && kin_block_alloc(arena, bytes, &blocks[i]) == 0;
        memset(blocks[i], 1, bytes);
    }
    ck_assert_uint_ge(kt_stat(arena).committed_bytes, before + total);
    ck_assert_uint_ge(kt_stat(arena).used_bytes, total);
    for (uint64_t i = 0; i < count; i++)
        good = good && kin_block_free(arena, blocks[i]) == 0;
    ck_assert(good);
    free(blocks);
    /* some is kept for the next one, up to 32 MiB */
    ck_assert_uint_le(kt_stat(arena).committed_bytes, before + 40 * MIB);
    kin_arena_detach(arena);
}

START_TEST(large_blocks_go_back)
{
    burst_of(3 * MIB + 5, 300 * MIB);
}
END_TEST

START_TEST(one_huge_block_goes_back)
{
    burst_of(300 * MIB, 300 * MIB);
}
END_TEST

/* One large block is kept for the next of its kind, and does not keep a burst from going back. */
START_TEST(one_large_block_is_kept)
{
    enum { COUNT = 600 };
    static void *blocks[COUNT];
    arena = kt_arena(4 * GIB);
    uint64_t before = kt_stat(arena).committed_bytes;
    for (int i = 0; i < 3; i++) {
        KT_OK(kin_block_free(arena, alloc(100 * MIB)));
        ck_assert_uint_ge(kt_stat(arena).committed_bytes, before + 100 * MIB);
        ck_assert_uint_le(kt_stat(arena).committed_bytes, before + 101 * MIB);
    }
    KT_OK(kin_block_free(arena, alloc(MIB))); /* a part of it, which stays as well */
    ck_assert_uint_ge(kt_stat(arena).committed_bytes, before + 100 * MIB);
    for (int i = 0; i < COUNT; i++)
        blocks[i] = alloc(MIB);
    for (int i = 0; i < COUNT; i++)
        KT_OK(kin_block_free(arena, blocks[i]));
    ck_assert_uint_le(kt_stat(arena).committed_bytes, before + 40 * MIB);
    kin_arena_detach(arena);
}
END_TEST

/* Of a burst nothing stays; of a stream as many as are in use. */
START_TEST(very_large_blocks)
{
    enum { BYTES = 40 * MIB, BURST = 14, STREAM = 13 };
    static void *blocks[BURST];
    arena = kt_arena(4 * GIB);
    uint64_t before = kt_stat(arena).committed_bytes;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < BURST; i++)
            blocks[i] = alloc(BYTES);
        for (int i = 0; i < BURST; i++)
            KT_OK(kin_block_free(arena, blocks[i]));
        ck_assert_uint_le(kt_stat(arena).committed_bytes, before + BYTES);
    }
    for (int i = 0; i < STREAM; i++)
        blocks[i] = alloc(BYTES);
    for (int i = 0; i < 3 * STREAM; i++) {
        KT_OK(kin_block_free(arena, blocks[i % STREAM]));
        ck_assert_uint_ge(kt_stat(arena).committed_bytes, before + STREAM * BYTES);
        blocks[i % STREAM] = alloc(BYTES);
        ck_assert_uint_le(kt_stat(arena).committed_bytes, before + (STREAM + 1) * BYTES);
    }
    for (int i = 0; i < STREAM; i++)
        KT_OK(kin_block_free(arena, blocks[i]));
    ck_assert_uint_le(kt_stat(arena).committed_bytes, before + BYTES);
    for (int i = 0; i < 40; i++) /* one at a time: after a while it is kept */
        KT_OK(kin_block_free(arena, alloc(BYTES)));
    ck_assert_uint_ge(kt_stat(arena).committed_bytes, before + BYTES);
    kin_arena_detach(arena);
}
END_TEST

/* Who died between a run and its number left it too high: until somebody is idle. */
START_TEST(wrong_hints_of_large_blocks)
{
    arena = kt_arena(4 * GIB);
    uint64_t before = kt_stat(arena).committed_bytes;
    kini_store(&arena->super->large_units, 8000);
    kini_store(&arena->super->large_peak, 20000);
    void *used = alloc(40 * MIB);
    uint32_t units = kini_load(&arena->super->large_units) - 8000;
    KT_OK(kin_block_free(arena, alloc(40 * MIB)));
    ck_assert_uint_ge(kt_stat(arena).committed_bytes, before + 80 * MIB); /* as many seem in use */
    kini_block_caches_trim(kini_enter(arena));
    ck_assert_uint_eq(kini_load(&arena->super->large_units), units);
    ck_assert_uint_eq(kini_load(&arena->super->large_peak), units);
    ck_assert_uint_le(kt_stat(arena).committed_bytes, before + 75 * MIB);
    KT_OK(kin_block_free(arena, used));
    kin_arena_detach(arena);
}
END_TEST

START_TEST(small_blocks_go_back)
{
    burst_of(1000, 200 * MIB);
}
END_TEST

START_TEST(tiny_blocks_go_back)
{
    burst_of(16, 60 * MIB);
}
END_TEST

/* --- a full arena --------------------------------------------------------------------------- */

static uint64_t fill_arena(void **blocks, uint64_t most, uint64_t bytes)
{
    uint64_t count = 0;
    int r = 0;
    while (count < most && (r = kin_block_alloc(arena, bytes, &blocks[count])) == 0)
        count++;
    ck_assert_int_eq(r, -ENOMEM);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "reserve_bytes"));
    return count;
}

START_TEST(a_full_arena_works)
{
    enum { MOST = 100000 };
    static void *blocks[MOST], *small[MOST];
    arena = kt_arena(64 * MIB);
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    KT_OK(kin_queue_put(queue, "before", 7, KIN_NOW));
    static char big[200000];
    KT_OK(kin_queue_put(queue, big, sizeof big, KIN_NOW));
    uint64_t first = 0, first_small = 0;
    for (int round = 0; round < 3; round++) {
        uint64_t count = fill_arena(blocks, MOST, 500000);
        uint64_t small_count = fill_arena(small, MOST, 2000);
        if (round == 0) {
            first = count;
            first_small = small_count;
        }
        ck_assert_uint_gt(count, 80);
        ck_assert_uint_eq(count, first); /* nothing was lost by failing */
        ck_assert_uint_ge(small_count, first_small * 9 / 10);
        /* what needs no memory goes on */
        KT_IS(kin_queue_put(queue, big, sizeof big, KIN_NOW), -ENOMEM);
        KT_OK(kin_queue_put(queue, "inline", 7, KIN_NOW));
        struct kin_queue *another = NULL;
        KT_IS(kin_queue_create(arena, NULL, &another), -ENOMEM);
        ck_assert_ptr_null(another);
        KT_IS(kin_queue_get(queue, big, sizeof big, KIN_NOW), 7);
        KT_OK(kin_block_free(arena, blocks[0]));
        KT_OK(kin_block_alloc(arena, 500000, &blocks[0]));
        KT_IS(kin_queue_get(queue, big, sizeof big, KIN_NOW), sizeof big);
        KT_OK(kin_queue_put(queue, big, sizeof big, KIN_NOW)); /* there is room again */
        bool good = true;
        for (uint64_t i = 0; i < count; i++)
            good = good && kin_block_free(arena, blocks[i]) == 0;
        for (uint64_t i = 0; i < small_count; i++)
            good = good && kin_block_free(arena, small[i]) == 0;
        ck_assert(good);
    }
    kin_queue_destroy(queue);
    kin_arena_detach(arena);
}
END_TEST

/* A run that would reach beyond the last unit. */
START_TEST(the_end_of_the_arena)
{
    arena = kt_arena(64 * MIB);
    void *first = alloc(512 * 65536 - KINI_LARGE_PREFIX), *block = NULL, *rest[400];
    KT_IS(kin_block_alloc(arena, 320 * 65536 - KINI_LARGE_PREFIX, &block), -ENOMEM);
    uint64_t count = fill_arena(rest, 400, 65536 - KINI_LARGE_PREFIX),
             units = arena->super->units_count;
    ck_assert_uint_eq(count, units - 512); /* to the last unit */
    memset(rest[count - 1], 1, 65536 - KINI_LARGE_PREFIX);
    for (uint64_t i = 0; i < count; i++)
        KT_OK(kin_block_free(arena, rest[i]));
    KT_IS(kin_block_alloc(arena, (units - 511) * 65536 - KINI_LARGE_PREFIX, &block), -ENOMEM);
    KT_OK(kin_block_alloc(arena, (units - 512) * 65536 - KINI_LARGE_PREFIX, &block));
    KT_OK(kin_block_free(arena, first));
    KT_OK(kin_block_free(arena, block));
    KT_OK(kin_block_alloc(arena, units * 65536 - KINI_LARGE_PREFIX, &block));
    kin_arena_detach(arena);
}
END_TEST

/* Half of the memory in every other block of one size is no use to a larger one, but spans that
 * are empty must serve any size. */
START_TEST(sizes_can_change)
{
    enum { MOST = 100000 };
    static void *blocks[MOST];
    arena = kt_arena(64 * MIB);
    static const uint64_t sizes[] = {20, 30000, 900, 1 * MIB, 200, 30000, 16 * MIB, 100};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        uint64_t count = 0, most = 36 * MIB / sizes[s] < MOST ? 36 * MIB / sizes[s] : MOST;
        bool good = true;
        for (; count < most && good; count++)
            good = kin_block_alloc(arena, sizes[s], &blocks[count]) == 0;
        ck_assert_msg(good, "%llu blocks of %llu: %s", (unsigned long long)count,
                      (unsigned long long)sizes[s], kin_error_text());
        for (uint64_t i = 0; i < count; i++)
            good = good && kin_block_free(arena, blocks[i]) == 0;
        ck_assert(good);
    }
    kin_arena_detach(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena/block");
    TCase *t = kt_case(suite, "sizes", 60);
    tcase_add_test(t, size_classes);
    tcase_add_test(t, every_size);
    tcase_add_test(t, sizes_up_to_a_hundred_megabytes);
    t = kt_case(suite, "errors", 30);
    tcase_add_test(t, wrong_sizes);
    tcase_add_test(t, wrong_addresses);
    tcase_add_test(t, freed_twice);
    tcase_add_test(t, somebody_elses);
    t = kt_case(suite, "reserve", 30);
    tcase_add_test(t, reserve_then_commit);
    tcase_add_test(t, locked_memory_is_zero_again);
    tcase_add_test(t, small_reservations);
    tcase_add_test(t, wrong_ranges);
    tcase_add_test(t, a_range_beyond_its_block);
    tcase_add_test(t, several_commit_at_once);
    t = kt_case(suite, "back", 60);
    tcase_add_test(t, large_blocks_go_back);
    tcase_add_test(t, one_huge_block_goes_back);
    tcase_add_test(t, one_large_block_is_kept);
    tcase_add_test(t, very_large_blocks);
    tcase_add_test(t, wrong_hints_of_large_blocks);
    tcase_add_test(t, small_blocks_go_back);
    tcase_add_test(t, tiny_blocks_go_back);
    t = kt_case(suite, "full", 60);
    tcase_add_test(t, a_full_arena_works);
    tcase_add_test(t, the_end_of_the_arena);
    tcase_add_test(t, sizes_can_change);
    return kt_run(suite);
}
