/* SPDX-License-Identifier: MIT
 * The object table: what lives in the arena, and who holds it: one bit for each participant and
 * object, so that holding twice or dropping twice is once.
 *
 * Crash states: (1) bit set, entry not yet LIVE: the bit means nothing. (2) LIVE, the creator
 * killed before it could use it: its bit is dropped by the reaper, nobody else has one: destroyed.
 * (3) last bit cleared, not yet DYING: the next reaper of anybody finds a LIVE object without a
 * holder (kini_objects_drop_all checks all bits of the dead; a dropper that died is one).
 * (4) DYING: the word names the destroyer; when that dies, its reaper looks at the bits again.
 * (5) GOING: the reaper destroys again, from the start. (6) killed before the entry says GOING: the
 * blocks are private to the creator, and swept. (7) GOING by its creator, which builds it under the
 * object lock: nobody has seen it, so what is there of it goes as in 5. (8) killed after LIVE:
 * as 2.
 *
 * Found by name: under the object lock, so that of two that open the same name one finds what the
 * other has made. The opener sets its bit, then looks at the state again; the destroyer sets the
 * state, then looks at the bits: whoever sees DYING waits until that is decided. (9) killed with
 * the bit set and not yet held: as 2.
 *
 * An object can be kept by up to two others, as if they were holders: it is there for as long as
 * one of them is, and for as long as one of them is being destroyed. (10) the last keeper is FREE,
 * nobody looked at what it kept: as (3). What is kept only until somebody takes hold of it: the
 * bit, then kept_by is cleared; (11) killed in between: the bit is dropped, and it is kept as
 * before. */
#include "arena/arena.h"
#include "arena/block.h"
#include "arena/ilock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 10000

static kini_a64 *bit_word(struct kin_arena *arena, uint32_t slot, uint32_t id)
{
    kini_a64 *row = kini_at(arena, arena->super->bitmaps_off + (uint64_t)slot * KINI_BITMAP_BYTES);
    return &row[id / 64];
}

static bool is_there(struct kin_arena *arena, uint32_t tag)
{
    uint64_t state = kini_load_sc(&arena->objects[tag & 0xffff].state);
    return KINI_OBJECT_STATE(state) != KINI_OBJECT_FREE &&
           kini_object_tag(tag & 0xffff, KINI_OBJECT_GEN(state)) == tag;
}

static bool is_kept(struct kin_arena *arena, uint32_t id)
{
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t tag = kini_load_sc(&arena->objects[id].kept_by[i]);
        if (tag != 0 && is_there(arena, tag))
            return true;
    }
    return false;
}

static bool anybody_holds(struct kin_arena *arena, uint32_t id)
{
    if (is_kept(arena, id))
        return true;
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

void kini_bitmap_fill(struct kin_arena *arena, uint32_t slot, const uint32_t *tags, uint32_t count)
{
    for (uint32_t i = 0; i < KINI_OBJECTS_MAX / 64; i++)
        if (kini_load(bit_word(arena, slot, i * 64)) != 0)
            kini_store_sc(bit_word(arena, slot, i * 64), 0);
    for (uint32_t i = 0; i < count; i++)
        kini_or(bit_word(arena, slot, tags[i] & 0xffff), 1ull << (tags[i] % 64));
}

void kini_bitmap_add(struct kin_arena *arena, uint32_t slot, uint32_t tag)
{
    kini_or(bit_word(arena, slot, tag & 0xffff), 1ull << (tag % 64));
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

/* Build the entry, under the object lock. It is GOING until the blocks are the object's: killed on
 * the way, its reaper destroys what there is. */
static int build_entry(struct kini_self *self, const struct kini_new_object *new, const char *field,
                       uint32_t *ret_id, uint32_t *ret_gen)
{
    struct kin_arena *arena = self->arena;
    int r = find_free(arena, ret_id);
    if (r < 0)
        return r;
    uint32_t id = *ret_id;
    struct kini_object_shm *object = &arena->objects[id];
    *ret_gen = (KINI_OBJECT_GEN(kini_load(&object->state)) + 1) & 0xffff;
    memcpy(object->name, field, sizeof object->name);
    kini_store(&object->offset, new->offset);
    kini_store(&object->kept_by[0], 0);
    kini_store(&object->kept_by[1], 0);
    kini_store(&object->keeps[0], 0);
    kini_store(&object->keeps[1], 0);
    kini_or(bit_word(arena, self->slot, id), 1ull << (id % 64));
    kini_store_sc(&object->state,
                  KINI_OBJECT_WORD(*ret_gen, self->slot, new->type, KINI_OBJECT_GOING));
    kini_compiler_barrier();
    if (new->own != NULL)
        new->own(self, new->offset, kini_object_tag(id, *ret_gen));
    kini_block_give(self, new->offset, kini_object_tag(id, *ret_gen));
    kini_compiler_barrier();
    kini_store_sc(&object->state, KINI_OBJECT_WORD(*ret_gen, 0, new->type, KINI_OBJECT_LIVE));
    if (arena->handles != NULL)
        arena->handles[id] = 1;
    return 0;
}

int kini_object_create(struct kini_self *self, const struct kini_new_object *new, uint32_t *ret_id,
                       uint32_t *ret_gen)
{
    struct kin_arena *arena = self->arena;
    char field[32];
    int r = kini_name_copy(field, new->name);
    if (r < 0)
        return r;
    /* The mutex: a fork of another thread must not copy our holds just before this one and leave
     * its child with a handle that it does not hold. */
    pthread_mutex_lock(&arena->mutex);
    kini_ilock_lock(self, &arena->super->object_lock);
    r = build_entry(self, new, field, ret_id, ret_gen);
    kini_ilock_unlock(self, &arena->super->object_lock);
    pthread_mutex_unlock(&arena->mutex);
    return r;
}

/* 0: there is none; else a damaged entry may name anything. */
static bool block_is_there(struct kin_arena *arena, uint64_t offset)
{
    return offset != 0 && offset < arena->super->reserve_bytes &&
           kini_block_check(arena, arena->base + offset) != 0;
}

void kini_object_keep(struct kini_self *self, uint32_t tag, uint32_t keeper_tag)
{
    struct kini_object_shm *objects = self->arena->objects, *object = &objects[tag & 0xffff];
    kini_a32 *keeps = objects[keeper_tag & 0xffff].keeps;
    kini_store(&keeps[kini_load(&keeps[0]) != 0], tag); /* first: what is kept is looked at */
    kini_compiler_barrier();
    kini_store_sc(&object->kept_by[kini_load(&object->kept_by[0]) != 0], keeper_tag);
}

bool kini_object_is_kept_by(struct kini_self *self, uint32_t tag, uint32_t keeper_tag)
{
    struct kini_object_shm *object = &self->arena->objects[tag & 0xffff];
    return keeper_tag != 0 && is_there(self->arena, tag) &&
           (kini_load_sc(&object->kept_by[0]) == keeper_tag ||
            kini_load_sc(&object->kept_by[1]) == keeper_tag);
}

static void destroy_if_unheld(struct kini_self *self, uint32_t id);

static void destroy(struct kini_self *self, uint32_t id, uint64_t dying)
{
    struct kini_object_shm *object = &self->arena->objects[id];
    uint32_t type = KINI_OBJECT_TYPE(dying), gen = KINI_OBJECT_GEN(dying);
    uint32_t keeps[2] = {kini_load(&object->keeps[0]), kini_load(&object->keeps[1])};
    uint64_t offset = kini_load(&object->offset);
    if (block_is_there(self->arena, offset)) {
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
    for (uint32_t i = 0; i < 2; i++)
        if (keeps[i] != 0) /* of two keepers that go at once, at least one sees neither of them */
            destroy_if_unheld(self, keeps[i] & 0xffff);
}

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

bool kini_object_is_held(struct kin_arena *arena, uint32_t slot, uint32_t tag)
{
    uint32_t id = tag & 0xffff;
    uint64_t state = kini_load_sc(&arena->objects[id].state);
    return (kini_load_sc(bit_word(arena, slot, id)) >> (id % 64) & 1) &&
           KINI_OBJECT_STATE(state) == KINI_OBJECT_LIVE &&
           kini_object_tag(id, KINI_OBJECT_GEN(state)) == tag;
}

void kini_object_drop(struct kini_self *self, uint32_t id)
{
    if (self->arena->handles != NULL)
        self->arena->handles[id] = 0;
    /* seq_cst, like the check: of two that drop at once, at least one sees nobody left */
    atomic_fetch_and(bit_word(self->arena, self->slot, id), ~(1ull << (id % 64)));
    destroy_if_unheld(self, id);
}

bool kini_object_let_go(struct kin_arena *arena, uint32_t id)
{
    if (arena->handles == NULL || arena->handles[id] <= 1)
        return true;
    arena->handles[id]--;
    return false;
}

/* --- by name -------------------------------------------------------------------------------- */

/* The object of that name: 1, 0 if there is none, -EPROTOTYPE if it is of another type, -EAGAIN
 * while it is being decided whether it goes. Under the object lock. */
static int find_named(struct kin_arena *arena, uint32_t type, const char field[32],
                      uint32_t *ret_id)
{
    uint32_t high = kini_load_acq(&arena->super->objects_high);
    int found = 0;
    for (uint32_t id = 1; id < high; id++) {
        uint64_t word = kini_load_acq(&arena->objects[id].state);
        uint32_t state = KINI_OBJECT_STATE(word);
        if ((state != KINI_OBJECT_LIVE && state != KINI_OBJECT_DYING) ||
            memcmp(arena->objects[id].name, field, 32) != 0)
            continue;
        if (KINI_OBJECT_TYPE(word) == type) {
            *ret_id = id;
            return state == KINI_OBJECT_LIVE ? 1 : -EAGAIN;
        }
        found = -EPROTOTYPE;
        *ret_id = id;
    }
    return found;
}

/* Under the mutex. False: it is going; the bit is to be dropped again. */
static bool take_hold(struct kini_self *self, uint32_t id, uint32_t *ret_gen)
{
    struct kin_arena *arena = self->arena;
    uint64_t bit = 1ull << (id % 64);
    bool had = atomic_fetch_or(bit_word(arena, self->slot, id), bit) & bit;
    /* seq_cst: the bit, then the state; judge() the other way round */
    uint64_t state = kini_load_sc(&arena->objects[id].state);
    if (KINI_OBJECT_STATE(state) != KINI_OBJECT_LIVE)
        return false;
    *ret_gen = KINI_OBJECT_GEN(state);
    if (arena->handles != NULL)
        arena->handles[id] = had ? arena->handles[id] + 1 : 1;
    return true;
}

static int open_locked(struct kini_self *self, const struct kini_new_object *new,
                       const char field[32], uint32_t *ret_id, uint32_t *ret_gen)
{
    struct kin_arena *arena = self->arena;
    kini_ilock_lock(self, &arena->super->object_lock);
    int r = find_named(arena, new->type, field, ret_id);
    bool held = r == 1 && take_hold(self, *ret_id, ret_gen);
    if (r == 0 && new->offset != 0)
        r = build_entry(self, new, field, ret_id, ret_gen);
    else if (r == 0)
        r = -ENOENT;
    else if (r == 1 && !held)
        r = -EAGAIN;
    kini_ilock_unlock(self, &arena->super->object_lock);
    return r;
}

/* Its destroyer is about to decide, or was killed before. What we may have set goes again. */
static void await_judge(struct kini_self *self, uint32_t id)
{
    struct kin_arena *arena = self->arena;
    pthread_mutex_lock(&arena->mutex);
    if (arena->handles == NULL || arena->handles[id] == 0)
        kini_object_drop(self, id);
    pthread_mutex_unlock(&arena->mutex);
    uint64_t state = kini_load_acq(&arena->objects[id].state);
    uint32_t destroyer = KINI_OBJECT_DESTROYER(state);
    if (KINI_OBJECT_STATE(state) == KINI_OBJECT_DYING && destroyer != 0 &&
        destroyer < KINI_PARTICIPANTS_MAX)
        kini_reap(arena, destroyer);
    usleep(20);
}

/* Whoever dies or leaves decides before: only damage leaves an object to be judged by nobody. */
static bool has_no_judge(struct kin_arena *arena, uint32_t id)
{
    uint64_t state = kini_load_acq(&arena->objects[id].state);
    uint32_t slot = KINI_OBJECT_DESTROYER(state);
    return KINI_OBJECT_STATE(state) == KINI_OBJECT_DYING &&
           (slot == 0 || slot >= kini_load_acq(&arena->super->participants_high) ||
            KINI_STATE(kini_load_acq(&arena->participants[slot].state)) == KINI_FREE) &&
           kini_load_acq(&arena->objects[id].state) == state;
}

/* -EAGAIN: to be tried again, it has been decided or will be soon. */
static int await_decision(struct kini_self *self, uint32_t id, const char *name, kin_deadline end)
{
    if (has_no_judge(self->arena, id))
        return kini_fail(-EPROTO, "the arena is damaged: an object that nobody destroys");
    if (kin_now_ns() >= end)
        return kini_fail(-EBUSY, "\"%s\" is being destroyed by a process that was stopped", name);
    await_judge(self, id);
    return -EAGAIN;
}

int kini_object_open(struct kini_self *self, const struct kini_new_object *new, uint32_t *ret_id,
                     uint32_t *ret_gen)
{
    char field[32];
    int r = kini_name_copy(field, new->name);
    if (r < 0)
        return r;
    if (field[0] == '\0')
        return kini_fail(-EINVAL, "an object without a name cannot be found");
    const kin_deadline end = kin_after_ms(PATIENCE_MS);
    do {
        pthread_mutex_lock(&self->arena->mutex);
        r = open_locked(self, new, field, ret_id, ret_gen);
        pthread_mutex_unlock(&self->arena->mutex);
    } while (r == -EAGAIN && (r = await_decision(self, *ret_id, new->name, end)) == -EAGAIN);
    return r;
}

void kini_object_unname(struct kini_self *self, uint32_t id)
{
    struct kin_arena *arena = self->arena;
    pthread_mutex_lock(&arena->mutex);
    kini_ilock_lock(self, &arena->super->object_lock);
    arena->objects[id].name[0] = '\0'; /* one byte: killed before or after it */
    kini_ilock_unlock(self, &arena->super->object_lock);
    pthread_mutex_unlock(&arena->mutex);
}

/* --- by tag --------------------------------------------------------------------------------- */

bool kini_object_lives(struct kin_arena *arena, uint32_t tag)
{
    uint64_t state = kini_load_sc(&arena->objects[tag & 0xffff].state);
    return (KINI_OBJECT_STATE(state) == KINI_OBJECT_LIVE ||
            KINI_OBJECT_STATE(state) == KINI_OBJECT_DYING) &&
           kini_object_tag(tag & 0xffff, KINI_OBJECT_GEN(state)) == tag;
}

/* Under the mutex. False: there is another object now, or it is going. */
static bool take_hold_of(struct kini_self *self, uint32_t tag)
{
    struct kin_arena *arena = self->arena;
    uint32_t id = tag & 0xffff, gen = 0;
    if (!take_hold(self, id, &gen)) {
        if (arena->handles == NULL || arena->handles[id] == 0)
            kini_object_drop(self, id);
        return false;
    }
    if (kini_object_tag(id, gen) == tag)
        return true;
    if (kini_object_let_go(arena, id))
        kini_object_drop(self, id);
    return false;
}

int kini_object_hold(struct kini_self *self, uint32_t tag, const char *name)
{
    struct kin_arena *arena = self->arena;
    struct kini_object_shm *object = &arena->objects[tag & 0xffff];
    const kin_deadline end = kin_after_ms(PATIENCE_MS);
    int r;
    do {
        pthread_mutex_lock(&arena->mutex);
        bool held = take_hold_of(self, tag);
        pthread_mutex_unlock(&arena->mutex);
        if (held) { /* from here on we keep it */
            kini_compiler_barrier();
            kini_store_sc(&object->kept_by[0], 0);
            return 0;
        }
        r = kini_object_lives(arena, tag) ? await_decision(self, tag & 0xffff, name, end) : -ENOENT;
    } while (r == -EAGAIN);
    return r;
}

/* Positions from here on are those of keys (kin_object_receive). */
#define RECEIVED 0x80000000u

int64_t kini_object_receive(struct kin_arena *arena, uint32_t tag)
{
    uint32_t i = 0, id = tag & 0xffff;
    if (id == 0 || id >= kini_load_acq(&arena->super->objects_high))
        return kini_fail(-ESTALE, "the arena has no object of that key");
    pthread_mutex_lock(&arena->mutex);
    while (i < arena->received_count && arena->received[i] != 0)
        i++;
    if (i == arena->received_count) {
        uint32_t count = i == 0 ? 16 : 2 * i;
        uint32_t *more = realloc(arena->received, count * sizeof *more);
        if (more == NULL) {
            pthread_mutex_unlock(&arena->mutex);
            return kini_fail(-ENOMEM, "no memory for %u keys", count);
        }
        memset(more + i, 0, (count - i) * sizeof *more);
        arena->received = more;
        arena->received_count = count;
    }
    arena->received[i] = tag;
    pthread_mutex_unlock(&arena->mutex);
    return RECEIVED | i;
}

/* 0: there is none. */
static uint32_t tag_at(struct kin_arena *arena, uint32_t position)
{
    if (!(position & RECEIVED))
        return position < arena->inherited_count ? arena->inherited[position] : 0;
    uint32_t tag = 0, i = position & ~RECEIVED;
    pthread_mutex_lock(&arena->mutex);
    if (i < arena->received_count) {
        tag = arena->received[i];
        arena->received[i] = 0;
    }
    pthread_mutex_unlock(&arena->mutex);
    return tag;
}

int kini_object_inherited(struct kini_self *self, uint32_t type, uint32_t position,
                          uint32_t *ret_id, uint32_t *ret_gen)
{
    struct kin_arena *arena = self->arena;
    uint32_t tag = tag_at(arena, position), id = tag & 0xffff;
    if (tag == 0)
        return kini_fail(-ENOENT, "%u objects were handed over, there is none at position %u",
                         arena->inherited_count, position);
    uint64_t state = kini_load_acq(&arena->objects[id].state);
    if (kini_object_lives(arena, tag) && KINI_OBJECT_TYPE(state) != type)
        return kini_fail(-EPROTOTYPE, "the object at position %u is of another kind", position);
    pthread_mutex_lock(&arena->mutex);
    bool held = take_hold_of(self, tag);
    pthread_mutex_unlock(&arena->mutex);
    *ret_id = id;
    *ret_gen = tag >> 16;
    return held ? 1 : kini_fail(-ESTALE, "the object at position %u is gone", position);
}

/* --- the dead ------------------------------------------------------------------------------- */

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
            kini_types[type].holder_died != NULL &&
            block_is_there(self->arena, kini_load(&self->arena->objects[id].offset)))
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
