/* SPDX-License-Identifier: MIT
 * Attach to memory that somebody else made. Nothing of it is believed: every offset, count and
 * index of the superblock and the tables is compared with what it can be before it is used.
 *
 * What is checked is what a reader follows: it may be changed by living participants meanwhile, so
 * only such conditions are asked that hold at every instant of a good arena. What a hostile
 * participant writes later is beyond this: who is in the arena is trusted. */
#include "arena/attach.h"
#include "arena/block.h"
#include "base/bits.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define MOST_RESERVE (1ull << 46)

static int damaged(const char *what)
{
    return kini_fail(-EPROTO, "the arena is damaged: %s", what);
}

/* --- the superblock ------------------------------------------------------------------------- */

static int check_constants(const struct kini_super_shm *super)
{
    if (kini_load_acq(&super->magic) != KINI_MAGIC) /* pairs with the last store of the creator */
        return kini_fail(-EPROTO, "not an arena, or not one that was finished");
    if (super->stamp != kini_layout_stamp())
        return kini_fail(-EPROTO, "the arena is of another build of kin: its layout differs");
    uint64_t reserve = super->reserve_bytes;
    if (reserve < KINI_LEAST_RESERVE || reserve > MOST_RESERVE || reserve % KINI_UNIT_BYTES != 0)
        return damaged("its size is impossible");
    struct kini_super_shm expected;
    kini_place_tables(&expected, reserve);
    const size_t from = offsetof(struct kini_super_shm, reserve_bytes);
    const size_t to = offsetof(struct kini_super_shm, name);
    if (memcmp((const char *)super + from, (const char *)&expected + from, to - from) != 0)
        return damaged("its tables are not where they belong");
    return memchr(super->name, 0, sizeof super->name) ? 0 : damaged("its name has no end");
}

static bool fits(kini_a64 *committed, uint64_t used, uint64_t record, uint64_t most)
{
    uint64_t bytes = kini_load_acq(committed);
    return used <= most && bytes <= most * record && used * record <= bytes;
}

static bool used_fits(struct kini_super_shm *super)
{
    /* The counts first: memory is put behind a table before it counts as used. */
    uint64_t participants = kini_load_acq(&super->participants_high);
    uint64_t threads = kini_load_acq(&super->threads_high);
    uint64_t objects = kini_load_acq(&super->objects_high);
    uint64_t units = kini_load_acq(&super->units_high);
    return fits(&super->participants_committed, participants, sizeof(struct kini_participant_shm),
                KINI_PARTICIPANTS_MAX) &&
           fits(&super->bitmaps_committed, participants, KINI_BITMAP_BYTES,
                KINI_PARTICIPANTS_MAX) &&
           fits(&super->threads_committed, threads, sizeof(struct kini_thread_shm),
                KINI_THREADS_MAX) &&
           fits(&super->objects_committed, objects, sizeof(struct kini_object_shm),
                KINI_OBJECTS_MAX) &&
           fits(&super->spans_committed, units, sizeof(struct kini_span_shm), super->units_count);
}

/* --- tables --------------------------------------------------------------------------------- */

bool kini_range_is_good(const struct kin_arena *arena, uint64_t offset, uint64_t bytes)
{
    return offset % 8 == 0 && offset >= arena->super->data_off && offset <= arena->bytes &&
           bytes <= arena->bytes - offset;
}

/* 0: none. In the data area, or one of the locks of the superblock. */
static bool may_be_lock(const struct kin_arena *arena, uint64_t offset)
{
    const struct kini_super_shm *super = arena->super;
    return offset == 0 || offset == kini_offset(arena, &super->span_lock) ||
           offset == kini_offset(arena, &super->object_lock) ||
           offset == kini_offset(arena, &super->hold_lock) ||
           kini_range_is_good(arena, offset, sizeof(struct kini_ilock_shm));
}

static bool may_be_queue(const struct kin_arena *arena, uint64_t offset)
{
    return offset == 0 || kini_range_is_good(arena, offset, 2 * sizeof(struct kini_ilock_shm));
}

static bool thread_is_good(const struct kin_arena *arena, struct kini_thread_shm *t)
{
    bool good = KINI_THREAD_SLOT(kini_load(&t->state)) < KINI_PARTICIPANTS_MAX &&
                kini_load(&t->wait_next) < KINI_THREADS_MAX &&
                kini_load(&t->wait_prev) < KINI_THREADS_MAX &&
                kini_load(&t->wake_target) < KINI_THREADS_MAX &&
                kini_load(&t->hold_thread) < KINI_THREADS_MAX &&
                kini_load(&t->any_count) <= KINI_ANY_MAX &&
                kini_load(&t->wait_state) <= KINI_WAIT_ANY &&
                may_be_queue(arena, kini_load(&t->wait_queue)) &&
                may_be_queue(arena, kini_load(&t->wait_token));
    for (uint32_t i = 0; i < KINI_LOCKSTACK; i++)
        good = good && may_be_lock(arena, kini_load(&t->lockstack[i]));
    for (uint32_t i = 0; i < KINI_ANY_MAX; i++)
        good = good && may_be_queue(arena, kini_load(&t->any_queues[i]));
    return good;
}

static bool span_is_good(const struct kin_arena *arena, uint32_t unit)
{
    struct kini_span_shm *span = &arena->spans[unit];
    uint32_t state = kini_load_acq(&span->state), count = kini_load(&span->count);
    if (kini_load(&span->owner) >= KINI_THREADS_MAX)
        return false;
    if (kini_load_acq(&span->state) != state)
        return true; /* it is changing: by somebody who lives */
    switch (KINI_SPAN_KIND(state)) {
    case KINI_SPAN_FREE:
        return true;
    case KINI_SPAN_SMALL:
        return KINI_SPAN_CLASS(state) < KINI_CLASSES && count == 1;
    case KINI_SPAN_LARGE:
    case KINI_SPAN_CLAIMED:
        return count >= 1 && count <= arena->super->units_count - unit;
    case KINI_SPAN_CONT:
        return count >= 1 && count <= unit;
    default:
        return false;
    }
}

static bool object_is_good(const struct kin_arena *arena, struct kini_object_shm *object)
{
    uint64_t state = kini_load_acq(&object->state), offset = kini_load(&object->offset);
    return KINI_OBJECT_STATE(state) <= KINI_OBJECT_GOING &&
           KINI_OBJECT_TYPE(state) < KINI_OBJECT_TYPES &&
           KINI_OBJECT_DESTROYER(state) < KINI_PARTICIPANTS_MAX &&
           (offset == 0 || kini_range_is_good(arena, offset, 16));
}

/* --- locks ---------------------------------------------------------------------------------- */

/* It has a record, of a participant that is one or was not reaped yet. */
static bool thread_lives_or_died(const struct kin_arena *arena, uint32_t index)
{
    if (index >= kini_load_acq(&arena->super->threads_high))
        return false;
    uint64_t state = kini_load_acq(&arena->threads[index].state);
    uint32_t slot = KINI_THREAD_SLOT(state);
    return (state & KINI_THREAD_USED) && slot < kini_load_acq(&arena->super->participants_high) &&
           KINI_STATE(kini_load_acq(&arena->participants[slot].state)) != KINI_FREE;
}

/* Held by a thread that has a record: one without could never release it. A lock changes hands
 * while we look, so it is looked at again. */
static bool holder_is_good(const struct kin_arena *arena, struct kini_ilock_shm *lock)
{
    for (int tries = 0; tries < 100; tries++) {
        uint32_t word = kini_load_acq(&lock->word), index = word >> 1;
        if (word == 0)
            return true;
        if (index == 0)
            return false; /* those who wait for nobody would wait for ever */
        if (kini_last_self != NULL && kini_last_self->arena == arena &&
            kini_last_self->index == index)
            return false; /* we hold none at this moment */
        if (thread_lives_or_died(arena, index))
            return true;
        if (kini_load_acq(&lock->word) == word && index >= KINI_THREADS_MAX)
            return false;
    }
    return false;
}

bool kini_ilock_is_good(const struct kin_arena *arena, struct kini_ilock_shm *lock, uint32_t kind)
{
    return lock->kind == kind && holder_is_good(arena, lock);
}

static bool locks_are_good(struct kin_arena *arena)
{
    struct kini_super_shm *super = arena->super;
    bool good = kini_ilock_is_good(arena, &super->span_lock, KINI_ILOCK_SPANS) &&
                kini_ilock_is_good(arena, &super->object_lock, KINI_ILOCK_OBJECTS) &&
                kini_ilock_is_good(arena, &super->hold_lock, KINI_ILOCK_HOLDS);
    if (good && kini_load(&super->span_lock.op) != 0) {
        uint64_t first = kini_load(&super->span_lock.arg[0]);
        uint64_t count = kini_load(&super->span_lock.arg[1]);
        good = first <= super->units_count && count <= super->units_count - first;
    }
    if (good && kini_load(&super->hold_lock.op) != 0) /* two ledger entries: sync/hold.h */
        for (uint32_t i = 0; good && i < 4; i += 2) {
            uint64_t at = kini_load(&super->hold_lock.arg[i]);
            good = at % 8 == 0 && at >= super->threads_off &&
                   at < super->threads_off + KINI_THREADS_MAX * sizeof(struct kini_thread_shm);
        }
    return good;
}

/* A unit that was never used: nothing is known of it. */
static bool span_is_virgin(const struct kin_arena *arena, uint32_t unit)
{
    static const struct kini_span_shm virgin;
    if (memcmp(&arena->spans[unit], &virgin, sizeof virgin) == 0)
        return true;
    atomic_thread_fence(memory_order_acquire); /* what was read is of before the look */
    return unit < kini_load_acq(&arena->super->units_high); /* by now it is used */
}

static bool spans_are_good(const struct kin_arena *arena)
{
    struct kini_super_shm *super = arena->super;
    uint64_t entries = kini_load_acq(&super->spans_committed) / sizeof(struct kini_span_shm);
    uint32_t high = kini_load_acq(&super->units_high);
    bool good = true;
    for (uint32_t i = 0; good && i < high; i++)
        good = span_is_good(arena, i);
    for (uint32_t i = high; good && i < entries && i < super->units_count; i++)
        good = span_is_virgin(arena, i);
    return good;
}

static int check_tables(struct kin_arena *arena)
{
    struct kini_super_shm *super = arena->super;
    if (!used_fits(super))
        return damaged("a table is longer than it can be");
    for (uint32_t i = 1; i < kini_load_acq(&super->participants_high); i++)
        if (KINI_STATE(kini_load(&arena->participants[i].state)) > KINI_REAPING)
            return damaged("a participant");
    for (uint32_t i = 1; i < kini_load_acq(&super->threads_high); i++)
        if (!thread_is_good(arena, &arena->threads[i]))
            return damaged("a thread record");
    for (uint32_t i = 1; i < kini_load_acq(&super->objects_high); i++)
        if (!object_is_good(arena, &arena->objects[i]))
            return damaged("an object");
    if (!spans_are_good(arena))
        return damaged("a span");
    return locks_are_good(arena) ? 0 : damaged("an internal lock");
}

/* --- attach --------------------------------------------------------------------------------- */

/* From the first unit alone: how large the rest is. */
static int read_reserve(int fd, uint64_t *ret_reserve)
{
    uint64_t length = 0, mapped;
    void *page;
    int r = kini_os_memory_length(fd, &length);
    if (r == 0 && length < KINI_UNIT_BYTES)
        r = kini_fail(-EPROTO, "not an arena: %llu bytes long", (unsigned long long)length);
    if (r == 0)
        r = kini_os_memory_map(fd, KINI_UNIT_BYTES, KINI_UNIT_BYTES, &page, &mapped);
    if (r < 0)
        return r;
    r = check_constants(page);
    if (r == 0)
        *ret_reserve = ((struct kini_super_shm *)page)->reserve_bytes;
    kini_os_memory_unmap(page, mapped);
    return r;
}

int kini_arena_attach(struct kin_arena *arena)
{
    uint64_t reserve = 0;
    int r = read_reserve(arena->fd, &reserve);
    if (r < 0)
        return r;
    void *base;
    r = kini_os_memory_map(arena->fd, reserve, reserve, &base, &arena->bytes);
    if (r < 0)
        return kini_fail(r, "no room for the arena's %llu bytes of address space (RLIMIT_AS)",
                         (unsigned long long)reserve);
    arena->base = base;
    arena->super = base;
    arena->inode = kini_os_inode(arena->fd);
    /* So that no address in it raises SIGBUS, whatever is wrong. A limit on file sizes may forbid
     * it; a good arena does without. */
    if (kini_os_memory_extend(arena->fd, reserve) < 0 &&
        (r = kini_os_memory_extend(arena->fd, arena->super->data_off)) < 0)
        return kini_fail(r, "the arena's file is shorter than its tables");
    r = check_constants(arena->super);
    if (r < 0)
        return r;
    if (arena->super->reserve_bytes != arena->bytes)
        return damaged("its size changes");
    kini_bind_tables(arena);
    return check_tables(arena);
}
