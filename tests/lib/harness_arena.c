/* SPDX-License-Identifier: MIT
 * What must hold in a repaired arena: records, locks, spans, blocks. */
#include "arena/ilock.h"
#include "harness.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- the dead --------------------------------------------------------------------------------- */

bool kill_lives(const struct kin_arena *arena, uint32_t slot)
{
    if (slot == 0 || slot >= arena->super->participants_high)
        return false;
    uint32_t state = KINI_STATE(arena->participants[slot].state);
    return state == KINI_LIVE || state == KINI_RESERVED || state == KINI_EXITING;
}

static bool thread_lives(const struct kin_arena *arena, uint32_t index)
{
    if (index == 0 || index >= arena->super->threads_high)
        return false;
    uint64_t state = arena->threads[index].state;
    return (state & 1) && kill_lives(arena, KINI_THREAD_SLOT(state));
}

void kill_check_slot_gone(struct kill_view *view, uint32_t slot)
{
    struct kin_arena *arena = view->arena;
    uint32_t state = KINI_STATE(arena->participants[slot].state);
    KILL_CHECK(state == KINI_FREE, "slot %u of the dead is in state %u", slot, state);
    for (uint32_t i = 1; i < arena->super->threads_high; i++) {
        uint64_t word = arena->threads[i].state;
        KILL_CHECK(!(word & 1) || KINI_THREAD_SLOT(word) != slot,
                   "thread record %u still belongs to slot %u of the dead", i, slot);
    }
    const uint64_t *row =
        kini_at(arena, arena->super->bitmaps_off + (uint64_t)slot * KINI_BITMAP_BYTES);
    for (uint32_t i = 0; i < (arena->super->objects_high + 63) / 64; i++)
        KILL_CHECK(row[i] == 0, "slot %u of the dead still holds objects: word %u is %llx", slot, i,
                   (unsigned long long)row[i]);
}

/* --- locks ------------------------------------------------------------------------------------ */

static void check_lock(struct kill_view *view, struct kini_ilock_shm *lock, const char *which)
{
    uint32_t owner = KINI_ILOCK_OWNER(lock->word);
    if (owner != 0 && owner != view->self->index && thread_lives(view->arena, owner))
        return; /* a living peer is in the middle of something */
    KILL_CHECK(owner == 0, "the %s lock is held by thread %u", which, owner);
    KILL_CHECK(lock->op == 0, "the journal of the %s lock holds operation %llu", which,
               (unsigned long long)lock->op);
}

static void check_ring_locks(void *arg, struct kini_queue_shm *ring)
{
    struct kill_view *view = arg;
    check_lock(view, &ring->grow, "queue's grow");
    check_lock(view, &ring->getters.lock, "getters");
    check_lock(view, &ring->putters.lock, "putters");
    check_lock(view, &ring->returned.lock, "queue's returned");
    if (ring->store_off != 0)
        check_lock(view, kini_at(view->arena, ring->store_off), "store's");
}

static void check_locks(struct kill_view *view)
{
    struct kini_super_shm *super = view->arena->super;
    check_lock(view, &super->span_lock, "span");
    check_lock(view, &super->object_lock, "object");
    check_lock(view, &super->hold_lock, "hold");
    kill_each_ring(view->arena, check_ring_locks, view);
    KILL_CHECK(view->self->locks == 0, "the reaper still has %u locks listed", view->self->locks);
    for (uint32_t i = 0; i < KINI_LOCKSTACK; i++)
        KILL_CHECK(view->self->shm->lockstack[i] == 0, "the reaper's lock stack is not empty");
}

/* --- objects ---------------------------------------------------------------------------------- */

static bool anybody_holds(struct kin_arena *arena, uint32_t id)
{
    for (uint32_t slot = 1; slot < arena->super->participants_high; slot++) {
        const uint64_t *row =
            kini_at(arena, arena->super->bitmaps_off + (uint64_t)slot * KINI_BITMAP_BYTES);
        if (kill_lives(arena, slot) && (row[id / 64] >> (id % 64) & 1))
            return true;
    }
    return false;
}

static bool object_is(struct kin_arena *arena, uint32_t tag)
{
    uint32_t id = tag & 0xffff;
    if (id == 0 || id >= arena->super->objects_high)
        return false;
    uint64_t word = arena->objects[id].state;
    return KINI_OBJECT_STATE(word) != KINI_OBJECT_FREE &&
           kini_object_tag(id, KINI_OBJECT_GEN(word)) == tag;
}

static bool is_kept(struct kin_arena *arena, uint32_t id)
{
    return object_is(arena, arena->objects[id].kept_by[0]) ||
           object_is(arena, arena->objects[id].kept_by[1]);
}

static void check_objects(struct kill_view *view)
{
    struct kin_arena *arena = view->arena;
    for (uint32_t id = 1; id < arena->super->objects_high; id++) {
        uint64_t word = arena->objects[id].state;
        uint32_t state = KINI_OBJECT_STATE(word);
        KILL_CHECK(state != KINI_OBJECT_DYING || kill_lives(arena, KINI_OBJECT_DESTROYER(word)),
                   "object %u is being destroyed by the dead", id);
        KILL_CHECK(state != KINI_OBJECT_LIVE || anybody_holds(arena, id) || is_kept(arena, id),
                   "object %u is alive, and nobody holds it", id);
    }
}

/* --- blocks ----------------------------------------------------------------------------------- */

static void check_block(struct kill_view *view, uint64_t off, bool large)
{
    struct kin_arena *arena = view->arena;
    struct kini_block_shm *header = kini_block_header(arena, off);
    uint64_t word = header->word;
    uint32_t slot = KINI_BLOCK_SLOT(word), unit = kini_unit_of(arena, off);
    switch (KINI_BLOCK_STATE(word)) {
    case KINI_BLOCK_FREE:
        KILL_CHECK(!large, "a large block in unit %u that nobody owns", unit);
        return;
    case KINI_BLOCK_PRIVATE:
        KILL_CHECK(kill_lives(arena, slot),
                   "a block in unit %u is private to slot %u, which is dead", unit, slot);
        return;
    case KINI_BLOCK_QUEUED:
        /* of a living peer in the middle of a put it is not in its cell yet */
        KILL_CHECK(kill_cell_carries(view, off) || (slot != arena->slot && kill_lives(arena, slot)),
                   "a block in unit %u is queued by slot %u, and no cell carries it", unit, slot);
        return;
    case KINI_BLOCK_OWNED:
        KILL_CHECK(object_is(arena, KINI_BLOCK_TAG(word)),
                   "a block in unit %u is owned by object %x, which is not there", unit,
                   KINI_BLOCK_TAG(word));
        return;
    case KINI_BLOCK_TAKEN:
        KILL_CHECK(kill_lives(arena, slot), "a block in unit %u is taken by slot %u, which is dead",
                   unit, slot);
        KILL_CHECK(object_is(arena, KINI_BLOCK_TAG(word)),
                   "a block in unit %u is taken from queue %x, which is not there", unit,
                   KINI_BLOCK_TAG(word));
        return;
    default:
        kill_fail("a block in unit %u has the header %llx", unit, (unsigned long long)word);
    }
}

static void check_small_span(struct kill_view *view, uint32_t unit, uint32_t class)
{
    KILL_CHECK(class < KINI_CLASSES, "unit %u has class %u", unit, class);
    const uint32_t size = kini_class_bytes(class);
    for (uint32_t at = 0; at + size <= KINI_UNIT_BYTES; at += size)
        check_block(view, kini_unit_offset(view->arena, unit) + at + sizeof(struct kini_block_shm),
                    false);
}

/* --- spans ------------------------------------------------------------------------------------ */

static bool map_bit(kini_a64 *map, uint32_t unit)
{
    return map[unit / 64] >> (unit % 64) & 1;
}

/* How many units belong to the span that begins at unit. */
static uint32_t check_span(struct kill_view *view, uint32_t unit)
{
    struct kin_arena *arena = view->arena;
    struct kini_span_shm *span = &arena->spans[unit];
    uint32_t state = span->state, owner = span->owner, count = span->count;
    switch (KINI_SPAN_KIND(state)) {
    case KINI_SPAN_FREE:
        return 1;
    case KINI_SPAN_SMALL:
        KILL_CHECK(owner == 0 || thread_lives(arena, owner),
                   "small span %u belongs to thread %u, which is dead", unit, owner);
        check_small_span(view, unit, KINI_SPAN_CLASS(state));
        return 1;
    case KINI_SPAN_LARGE:
        check_block(view, kini_unit_offset(arena, unit) + KINI_LARGE_PREFIX, true);
        break;
    case KINI_SPAN_CLAIMED:
        KILL_CHECK(thread_lives(arena, owner) && owner != view->self->index,
                   "unit %u is claimed by thread %u for ever", unit, owner);
        break;
    default:
        kill_fail("unit %u is in state %x outside of a run", unit, state);
    }
    KILL_CHECK(count > 0 && unit + count <= arena->super->units_high, "unit %u begins %u units",
               unit, count);
    for (uint32_t i = 1; i < count; i++)
        KILL_CHECK(KINI_SPAN_KIND(arena->spans[unit + i].state) == KINI_SPAN_CONT,
                   "unit %u of a run of %u units from %u is in state %x", unit + i, count, unit,
                   (unsigned)arena->spans[unit + i].state);
    return count;
}

static void check_spans(struct kill_view *view)
{
    struct kin_arena *arena = view->arena;
    struct kini_super_shm *super = arena->super;
    if (KINI_ILOCK_OWNER(super->span_lock.word) != 0)
        return; /* a living peer is changing the table */
    for (uint32_t unit = 0; unit < super->units_high;)
        unit += check_span(view, unit);
    for (uint32_t unit = 0; unit < super->units_count; unit++) {
        bool used =
            unit < super->units_high && KINI_SPAN_KIND(arena->spans[unit].state) != KINI_SPAN_FREE;
        KILL_CHECK(map_bit(arena->free_map, unit) == used,
                   "unit %u is %s, but its bit says otherwise", unit, used ? "in use" : "free");
        KILL_CHECK(used || unit >= super->free_hint,
                   "unit %u is free, and the hint says that none is below %u", unit,
                   (unsigned)super->free_hint);
    }
}

/* Pages of the file behind a range; bytes itself where the kernel cannot tell (before 6.5). */
static uint64_t bytes_behind(int fd, uint64_t from, uint64_t bytes)
{
    const uint64_t range[2] = {from, bytes};
    uint64_t stat[5] = {0}; /* cached, dirty, being written, swapped out, recently so */
    if (syscall(451 /* cachestat */, fd, range, stat, 0) < 0)
        return bytes;
    return (stat[0] + stat[3]) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A unit whose bit says that memory is behind it must have all of it: else SIGBUS when the machine
 * is full. Asked of the live file. */
void kill_check_memory_behind(struct kin_arena *live)
{
    for (uint32_t unit = 0; unit < live->super->units_high; unit++) {
        if (!map_bit(live->commit_map, unit))
            continue;
        uint64_t have = bytes_behind(live->fd, kini_unit_offset(live, unit), KINI_UNIT_BYTES);
        KILL_CHECK(have >= KINI_UNIT_BYTES, "unit %u counts as committed; %llu bytes of it are",
                   unit, (unsigned long long)have);
    }
}

void kill_check_arena(struct kill_view *view)
{
    check_locks(view);
    check_objects(view);
    check_spans(view);
}

/* --- afterwards ------------------------------------------------------------------------------- */

static void use_size(struct kill_view *view, uint64_t bytes)
{
    void *block[3];
    for (uint32_t i = 0; i < 3; i++) {
        int r = kin_block_alloc(view->arena, bytes, &block[i]);
        KILL_CHECK(r == 0, "afterwards %llu bytes cannot be had: %d %s", (unsigned long long)bytes,
                   r, kin_error_text());
        memset(block[i], 0x5a + (int)i, bytes);
    }
    for (uint32_t i = 0; i < 3; i++) {
        const unsigned char *p = block[i];
        KILL_CHECK(p[0] == 0x5a + i && p[bytes - 1] == 0x5a + i && p[bytes / 2] == 0x5a + i,
                   "two blocks of %llu bytes overlap", (unsigned long long)bytes);
        int r = kin_block_free(view->arena, block[i]);
        KILL_CHECK(r == 0, "a block of %llu bytes cannot be freed: %d", (unsigned long long)bytes,
                   r);
    }
}

/* The survivor can still allocate, and another one can join. */
void kill_check_usable(struct kill_view *view)
{
    use_size(view, 48);
    use_size(view, 200);
    use_size(view, 100000);
    uint32_t slot;
    int token, r = kini_participant_reserve(view->arena, &slot, &token);
    KILL_CHECK(r == 0, "afterwards nobody can join: %d %s", r, kin_error_text());
    kini_os_close(token);
    uint64_t gen = KINI_STATE_GEN(view->arena->participants[slot].state);
    view->arena->participants[slot].state = KINI_STATE_WORD(gen, 0, KINI_FREE);
}

void kill_check_no_leak(struct kill_view *view)
{
    struct kin_arena *arena = view->arena;
    kini_block_caches_release(view->self);
    kini_sweep(view->self, KINI_PARTICIPANTS_MAX - 1); /* orphans that are empty by now */
    for (uint32_t unit = 0; unit < arena->super->units_high; unit++) {
        uint32_t state = arena->spans[unit].state;
        KILL_CHECK(KINI_SPAN_KIND(state) == KINI_SPAN_FREE && !map_bit(arena->free_map, unit),
                   "unit %u is lost: state %x, owner %u", unit, state,
                   (unsigned)arena->spans[unit].owner);
    }
}
