/* SPDX-License-Identifier: MIT
 * Allocator: a victim killed at each instruction of allocating and freeing. */
#include "arena/keep.h"
#include "lib/harness.h"

#include <string.h>

/* What the harness holds meanwhile must stay as it is. */
enum { KEPT_SMALL = 0, KEPT_LARGE = 1, GIVEN = 2 };

static void keep(struct kill_world *world, uint32_t which, uint64_t bytes)
{
    void *block;
    if (kin_block_alloc(world->live, bytes, &block) < 0)
        kill_broken("no block: %s", kin_error_text());
    memset(block, 0x70 + (int)which, bytes);
    world->value[which] = kini_offset(world->live, block);
}

static void setup_kept(struct kill_world *world)
{
    keep(world, KEPT_SMALL, world->scenario->bytes <= 30000 ? world->scenario->bytes : 100);
    keep(world, KEPT_LARGE, 70000);
}

/* The span of what is kept belongs to no thread any more. */
static void setup_orphan(struct kill_world *world)
{
    setup_kept(world);
    kini_block_caches_release(world->live_self);
}

static void count_plenty(struct kill_world *world)
{
    world->live->super->cached_units = KINI_KEEP_RUNS_UNITS + 10;
}

/* More memory lies free already than is kept for the next user. */
static void setup_plenty(struct kill_world *world)
{
    setup_kept(world);
    count_plenty(world);
}

static void setup_given(struct kill_world *world)
{
    setup_kept(world);
    keep(world, GIVEN, world->scenario->bytes);
}

static void check_kept(struct kill_world *world, struct kill_view *view)
{
    for (uint32_t which = KEPT_SMALL; which <= KEPT_LARGE; which++) {
        unsigned char *block = kini_at(view->arena, world->value[which]);
        uint64_t room = kini_block_room(view->arena, world->value[which]);
        uint64_t bytes = which == KEPT_LARGE ? 70000 : world->scenario->bytes;
        bytes = bytes < room ? bytes : room;
        if (which == KEPT_SMALL && world->scenario->bytes > 30000)
            bytes = 100;
        for (uint64_t i = 0; i < bytes; i++)
            KILL_CHECK(block[i] == 0x70 + which, "a block of the survivor changed at byte %llu",
                       (unsigned long long)i);
        int r = kin_block_free(view->arena, block);
        KILL_CHECK(r == 0, "a block of the survivor cannot be freed: %d", r);
    }
}

/* --- the victim ------------------------------------------------------------------------------- */

static void *mine[512];

static void alloc_some(struct kill_world *world, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (kin_block_alloc(world->live, world->scenario->bytes, &mine[i]) < 0)
            kill_broken("no block: %s", kin_error_text());
}

static void free_some(struct kill_world *world, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        kin_block_free(world->live, mine[i]);
}

static void warm_one(struct kill_world *world, uint32_t who)
{
    (void)who;
    alloc_some(world, 1);
}

static void warm_cached(struct kill_world *world, uint32_t who)
{
    (void)who;
    alloc_some(world, 3);
    free_some(world, 0, 2);
}

static void warm_freed(struct kill_world *world, uint32_t who)
{
    (void)who;
    alloc_some(world, 2);
    free_some(world, 0, 1);
}

static uint32_t class_of(struct kill_world *world, const void *block)
{
    uint32_t unit = kini_unit_of(world->live, kini_offset(world->live, block));
    return KINI_SPAN_CLASS(world->live->spans[unit].state);
}

/* All blocks of a span are in use, and then others free some of them. */
static void warm_freed_by_others(struct kill_world *world, uint32_t who)
{
    struct kini_self *self = kini_enter(world->live);
    uint32_t count = 0;
    (void)who;
    do
        alloc_some(world, 1), count++;
    while (self->classes[class_of(world, mine[0])].count > 0);
    uint64_t off = kini_offset(world->live, mine[0]);
    struct kini_span_shm *span = &world->live->spans[kini_unit_of(world->live, off)];
    uint64_t size = kini_class_bytes(class_of(world, mine[0]));
    for (uint32_t i = 0; i < count / 4; i++) {
        kini_block_header(world->live, off - i * size)->word = 0;
        span->remote_free += 1;
    }
}

/* The next free is one too many: the caches are trimmed. */
static void warm_too_many(struct kill_world *world, uint32_t who)
{
    (void)who;
    alloc_some(world, 70);
    free_some(world, 0, 69);
    struct kini_self *self = kini_enter(world->live);
    self->classes[class_of(world, mine[69])].freed = 1ull << 40;
    mine[0] = mine[69];
}

static void warm_adopt(struct kill_world *world, uint32_t who)
{
    struct kini_self *self = kini_enter(world->live);
    (void)who;
    kini_block_adopt(self, world->value[GIVEN]);
    mine[0] = kini_at(world->live, world->value[GIVEN]);
}

KILL_STEP(op_alloc, kin_block_alloc(world->live, world->scenario->bytes, &mine[0]));
KILL_STEP(op_free, kin_block_free(world->live, mine[0]));

static int64_t op_reserve(struct kill_world *world, uint32_t who)
{
    (void)who;
    int r = kin_block_reserve(world->live, world->scenario->bytes, &mine[0]);
    return r < 0 ? r
                 : kin_block_commit(world->live, (char *)mine[0] + 70000,
                                    world->scenario->bytes - 70000);
}

static int64_t op_release_caches(struct kill_world *world, uint32_t who)
{
    (void)who;
    kini_block_caches_release(kini_enter(world->live));
    return 0;
}

static int64_t op_trim_caches(struct kill_world *world, uint32_t who)
{
    (void)who;
    kini_block_caches_trim(kini_enter(world->live));
    return 0;
}

static int64_t op_trim_spans(struct kill_world *world, uint32_t who)
{
    (void)who;
    kini_span_trim(kini_enter(world->live));
    return 0;
}

#define COMMON .flags = KILL_NO_QUEUE, .setup = setup_kept, .check = check_kept

static const struct kill_scenario scenarios[] = {
    {.name = "alloc, first of its size", COMMON, .bytes = 3000, .operate = {op_alloc}},
    {.name = "alloc from the cache",
     COMMON,
     .bytes = 100,
     .warm = warm_cached,
     .operate = {op_alloc}},
    {.name = "alloc what others freed",
     COMMON,
     .bytes = 5000,
     .warm = warm_freed_by_others,
     .operate = {op_alloc}},
    {.name = "alloc from an orphan",
     .flags = KILL_NO_QUEUE,
     .setup = setup_orphan,
     .check = check_kept,
     .bytes = 2000,
     .operate = {op_alloc}},
    {.name = "free into the cache", COMMON, .bytes = 100, .warm = warm_one, .operate = {op_free}},
    {.name = "free one of another's span",
     .flags = KILL_NO_QUEUE,
     .setup = setup_given,
     .check = check_kept,
     .bytes = 1000,
     .warm = warm_adopt,
     .operate = {op_free}},
    {.name = "free one too many",
     COMMON,
     .bytes = 800,
     .warm = warm_too_many,
     .operate = {op_free}},
    {.name = "alloc a large one", COMMON, .bytes = 60000, .operate = {op_alloc}},
    {.name = "alloc one of four units", COMMON, .bytes = 200000, .operate = {op_alloc}},
    {.name = "free a large one", COMMON, .bytes = 200000, .warm = warm_one, .operate = {op_free}},
    {.name = "free a large one of another",
     .flags = KILL_NO_QUEUE,
     .setup = setup_given,
     .check = check_kept,
     .bytes = 100000,
     .warm = warm_adopt,
     .operate = {op_free}},
    {.name = "free a large one to the system",
     .flags = KILL_NO_QUEUE,
     .setup = setup_plenty,
     .check = check_kept,
     .bytes = 200000,
     .warm = warm_one,
     .operate = {op_free}},
    {.name = "reserve and commit", COMMON, .bytes = 200000, .operate = {op_reserve}},
    {.name = "trim the caches",
     COMMON,
     .bytes = 3000,
     .warm = warm_cached,
     .operate = {op_trim_caches}},
    {.name = "give the memory of free units back",
     COMMON,
     .bytes = 200000,
     .warm = warm_freed,
     .ready = count_plenty,
     .operate = {op_trim_spans}},
    {.name = "release the caches",
     COMMON,
     .bytes = 3000,
     .warm = warm_cached,
     .operate = {op_release_caches}},
};

/* Two at the span lock. */
static const struct kill_scenario pairs[] = {
    {.name = "alloc and alloc, large",
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .setup = setup_kept,
     .check = check_kept,
     .bytes = 60000,
     .stride = 40,
     .operate = {op_alloc, op_alloc}},
    {.name = "free and alloc, large",
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .setup = setup_kept,
     .check = check_kept,
     .bytes = 100000,
     .stride = 40,
     .warm = warm_one,
     .operate = {op_free, op_alloc}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_blocks");
    KILL_EACH(kill_run, scenarios);
    KILL_EACH(kill_real, scenarios);
    KILL_EACH(kill_pairs, pairs);
    return kill_end();
}
