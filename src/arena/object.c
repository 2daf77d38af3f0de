/* SPDX-License-Identifier: MIT
 * The object table: what lives in the arena, and who holds it: one bit for each participant and
 * object, so that holding twice or dropping twice is once.
 *
 * Crash states: (1) bit set, entry not yet LIVE: the bit means nothing. (2) LIVE, the creator
 * killed before it could use it: its bit is dropped by the reaper, nobody else has one: destroyed.
 * (3) last bit cleared, not yet DYING: the next reaper of anybody finds a LIVE object without a
 * holder (kini_objects_drop_all checks all bits of the dead; a dropper that died is one).
 * (4) DYING: the word names the destroyer; when that dies, its reaper looks at the bits again.
 * (5) GOING: the reaper destroys again, from the start. */
#include "arena/arena.h"
#include "arena/block.h"
#include "arena/ilock.h"

#include <errno.h>
#include <string.h>

static kini_a64 *bit_word(struct kin_arena *arena, uint32_t slot, uint32_t id)
{
    kini_a64 *row = kini_at(arena, arena->super->bitmaps_off + (uint64_t)slot * KINI_BITMAP_BYTES);
    return &row[id / 64];
}

static bool anybody_holds(struct kin_arena *arena, uint32_t id)
{
    uint32_t high = kini_load_acq(&arena->super->participants_high);
    for (uint32_t slot = 1; slot < high; slot++) {
        uint32_t state = KINI_STATE(kini_load_acq(&arena->participants[slot].state));
        if (state != KINI_FREE && (kini_load_sc(bit_word(arena, slot, id)) >> (id % 64) & 1))
            return true;
    }
    return false;
}

void kini_bitmap_copy(struct kin_arena *arena, uint32_t from, uint32_t to)
{
    uint32_t words = (kini_load_acq(&arena->super->objects_high) + 63) / 64;
    for (uint32_t i = 0; i < words; i++)
        kini_store_sc(bit_word(arena, to, i * 64), kini_load(bit_word(arena, from, i * 64)));
}

/* Bits that were copied while their object went. */
void kini_bitmap_prune(struct kin_arena *arena, uint32_t slot)
{
    uint32_t high = kini_load_acq(&arena->super->objects_high);
    for (uint32_t id = 1; id < high; id++)
        if (KINI_OBJECT_STATE(kini_load_sc(&arena->objects[id].state)) != KINI_OBJECT_LIVE)
            kini_and(bit_word(arena, slot, id), ~(1ull << (id % 64)));
}

/* Find a free entry. Called under the object lock. */
static int find_free(struct kin_arena *arena, uint32_t *ret_id)
{
    struct kini_super_shm *super = arena->super;
    for (uint32_t id = 1; id < KINI_OBJECTS_MAX; id++) {
        int r = kini_table_commit(arena, super->objects_off, &super->objects_committed,
                                  (id + 1) * sizeof(struct kini_object_shm),
                                  KINI_OBJECTS_MAX * sizeof(struct kini_object_shm));
        if (r < 0)
            return r;
        if (KINI_OBJECT_STATE(kini_load_acq(&arena->objects[id].state)) == KINI_OBJECT_FREE) {
            kini_raise32(&super->objects_high, id + 1);
            *ret_id = id;
            return 0;
        }
    }
    return kini_fail(-ENOSPC, "the arena has %u objects already", KINI_OBJECTS_MAX - 1);
}

int kini_object_create(struct kini_self *self, uint32_t type, uint64_t offset, const char *name,
                       uint32_t *ret_id, uint32_t *ret_gen)
{
    struct kin_arena *arena = self->arena;
    char field[32];
    int r = kini_name_copy(field, name);
    if (r < 0)
        return r;
    /* The mutex: a fork of another thread must not copy our holds just before this one and leave
     * its child with a handle that it does not hold. */
    pthread_mutex_lock(&arena->mutex);
    kini_ilock_lock(self, &arena->super->object_lock);
    r = find_free(arena, ret_id);
    if (r == 0) {
        struct kini_object_shm *object = &arena->objects[*ret_id];
        *ret_gen = (KINI_OBJECT_GEN(kini_load(&object->state)) + 1) & 0xffff;
        memcpy(object->name, field, sizeof field);
        kini_store(&object->offset, offset);
        kini_or(bit_word(arena, self->slot, *ret_id), 1ull << (*ret_id % 64));
        kini_store_sc(&object->state, KINI_OBJECT_WORD(*ret_gen, 0, type, KINI_OBJECT_LIVE));
    }
    kini_ilock_unlock(self, &arena->super->object_lock);
    pthread_mutex_unlock(&arena->mutex);
    return r;
}

static void destroy(struct kini_self *self, uint32_t id, uint64_t dying)
{
    struct kini_object_shm *object = &self->arena->objects[id];
    uint32_t type = KINI_OBJECT_TYPE(dying), gen = KINI_OBJECT_GEN(dying);
    uint64_t offset = kini_load(&object->offset);
    if (offset != 0) {
        if (type < KINI_OBJECT_TYPES && kini_types[type].destroy != NULL)
            kini_types[type].destroy(self, offset);
        /* The block is ours before the entry forgets it, and forgotten before it is free: whoever
         * goes on after our death does not take a stranger's block for the object. */
        kini_block_adopt(self, offset);
        kini_compiler_barrier();
        kini_store(&object->offset, 0);
        kini_compiler_barrier();
        kini_block_put(self, offset);
    }
    kini_store_sc(&object->state, KINI_OBJECT_WORD(gen, 0, 0, KINI_OBJECT_FREE));
}

static void destroy_if_unheld(struct kini_self *self, uint32_t id);

/* DYING is ours. A rejoining child may have taken hold after our first look: it sets its bit, then
 * looks at the state; we set the state, then look at the bits. Once the second look found nobody
 * it is past recall: a bit that appears later is of a child that saw DYING. */
static void judge(struct kini_self *self, uint32_t id, uint64_t dying)
{
    kini_a64 *state = &self->arena->objects[id].state;
    uint32_t gen = KINI_OBJECT_GEN(dying), type = KINI_OBJECT_TYPE(dying);
    if (anybody_holds(self->arena, id)) {
        kini_store_sc(state, KINI_OBJECT_WORD(gen, 0, type, KINI_OBJECT_LIVE));
        destroy_if_unheld(self, id); /* that child may have let go again, told that it is stale */
        return;
    }
    uint64_t going = KINI_OBJECT_WORD(gen, self->slot, type, KINI_OBJECT_GOING);
    kini_store_sc(state, going);
    destroy(self, id, going);
}

static void destroy_if_unheld(struct kini_self *self, uint32_t id)
{
    struct kini_object_shm *object = &self->arena->objects[id];
    uint64_t state = kini_load_sc(&object->state);
    if (KINI_OBJECT_STATE(state) != KINI_OBJECT_LIVE || anybody_holds(self->arena, id))
        return;
    uint64_t dying = KINI_OBJECT_WORD(KINI_OBJECT_GEN(state), self->slot, KINI_OBJECT_TYPE(state),
                                      KINI_OBJECT_DYING);
    if (kini_cas_sc(&object->state, &state, dying))
        judge(self, id, dying);
}

bool kini_object_is_held(struct kini_self *self, uint32_t id, uint32_t tag)
{
    uint64_t state = kini_load_sc(&self->arena->objects[id].state);
    return (kini_load_sc(bit_word(self->arena, self->slot, id)) >> (id % 64) & 1) &&
           KINI_OBJECT_STATE(state) == KINI_OBJECT_LIVE &&
           kini_object_tag(id, KINI_OBJECT_GEN(state)) == tag;
}

void kini_object_drop(struct kini_self *self, uint32_t id)
{
    /* seq_cst, like the check: of two that drop at once, at least one sees nobody left */
    atomic_fetch_and(bit_word(self->arena, self->slot, id), ~(1ull << (id % 64)));
    destroy_if_unheld(self, id);
}

void kini_objects_drop_all(struct kini_self *self, uint32_t slot)
{
    uint32_t high = kini_load_acq(&self->arena->super->objects_high);
    for (uint32_t id = 1; id < high; id++) {
        kini_a64 *word = bit_word(self->arena, slot, id);
        uint64_t bit = 1ull << (id % 64), state = kini_load_acq(&self->arena->objects[id].state);
        if (!(kini_load(word) & bit)) {
            destroy_if_unheld(self, id); /* crash state 3 */
            continue;
        }
        uint32_t type = KINI_OBJECT_TYPE(state);
        if (KINI_OBJECT_STATE(state) == KINI_OBJECT_LIVE && type < KINI_OBJECT_TYPES &&
            kini_types[type].holder_died != NULL)
            kini_types[type].holder_died(self, kini_load(&self->arena->objects[id].offset), slot);
        atomic_fetch_and(word, ~bit);
        destroy_if_unheld(self, id);
    }
}

void kini_objects_finish_dying(struct kini_self *self, uint32_t slot)
{
    uint32_t high = kini_load_acq(&self->arena->super->objects_high);
    for (uint32_t id = 1; id < high; id++) {
        uint64_t state = kini_load_acq(&self->arena->objects[id].state);
        uint32_t now = KINI_OBJECT_STATE(state);
        if ((now != KINI_OBJECT_DYING && now != KINI_OBJECT_GOING) ||
            KINI_OBJECT_DESTROYER(state) != slot)
            continue;
        uint64_t mine =
            KINI_OBJECT_WORD(KINI_OBJECT_GEN(state), self->slot, KINI_OBJECT_TYPE(state), now);
        if (slot != self->slot && !kini_cas_sc(&self->arena->objects[id].state, &state, mine))
            continue;
        if (now == KINI_OBJECT_DYING)
            judge(self, id, mine);
        else
            destroy(self, id, mine);
    }
}
