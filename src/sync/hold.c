/* SPDX-License-Identifier: MIT
 * Counted holds: ledgers, and what becomes of them. Protocol: hold.h. */
#include "sync/hold.h"
#include "arena/ilock.h"
#include "sync/lock_word.h"

/* --- the ledger of a living thread ---------------------------------------------------------- */

static bool is_live(struct kin_arena *arena, uint32_t tag)
{
    uint64_t state = kini_load_acq(&arena->objects[tag & 0xffff].state);
    return KINI_OBJECT_STATE(state) == KINI_OBJECT_LIVE &&
           kini_object_tag(tag & 0xffff, KINI_OBJECT_GEN(state)) == tag;
}

uint32_t kini_hold_entry_slow(struct kini_self *self, uint32_t tag)
{
    uint32_t first = (tag & 0xffff) % KINI_HOLDS, room = KINI_HOLD_NONE;
    for (uint32_t i = 0; i < KINI_HOLDS; i++) {
        uint32_t e = (first + i) % KINI_HOLDS;
        uint64_t hold = kini_load(&self->shm->holds[e]);
        if ((uint32_t)(hold >> 32) == tag)
            return e;
        if (room == KINI_HOLD_NONE &&
            ((uint32_t)hold == 0 || !is_live(self->arena, (uint32_t)(hold >> 32))))
            room = e;
    }
    if (room != KINI_HOLD_NONE)
        kini_store(&self->shm->holds[room], (uint64_t)tag << 32);
    return room;
}

/* All numbers before this one are done, and nobody can have noted a later one. */
uint32_t kini_hold_renew(struct kini_thread_shm *me, uint32_t seq)
{
    kini_store_sc(&me->hold_done, (seq - 1) & KINI_HOLD_SEQ);
    return seq == 0 ? 1 : seq; /* 0 is no number */
}

/* seq_cst: the note comes before our CAS; the repair reads the word, then the note. Only of the
 * thread's latest operation, the only one that a repair can ask for: a word may be as old as it
 * likes. hold_seq was written before the CAS that the word is the proof of. */
void kini_hold_note(struct kin_arena *arena, uint64_t word)
{
    struct kini_thread_shm *t = &arena->threads[KINI_COUNTED_INDEX(word)];
    uint32_t seq = KINI_COUNTED_SEQ(word), was = kini_load_sc(&t->hold_done);
    while (was != seq && kini_load_sc(&t->hold_seq) == seq)
        if (kini_cas_sc(&t->hold_done, &was, seq))
            return;
}

int64_t kini_holds_sum(struct kin_arena *arena, uint32_t slot, uint32_t tag)
{
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    int64_t sum = 0;
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &arena->threads[i];
        uint64_t state = kini_load_acq(&t->state);
        if (!(state & 1) || KINI_THREAD_SLOT(state) != slot)
            continue;
        for (uint32_t e = 0; e < KINI_HOLDS; e++)
            if (kini_load(&t->holds[e]) >> 32 == tag)
                sum += kini_hold_count(t, e);
    }
    return sum;
}

/* --- operations that were left half way ----------------------------------------------------- */

/* The word of an object that is still there, or NULL. */
static kini_a64 *word_of(struct kin_arena *arena, uint32_t tag)
{
    struct kini_object_shm *object = &arena->objects[tag & 0xffff];
    uint64_t state = kini_load_acq(&object->state), offset = kini_load(&object->offset);
    bool good = tag != 0 && KINI_OBJECT_STATE(state) != KINI_OBJECT_FREE &&
                kini_object_tag(tag & 0xffff, KINI_OBJECT_GEN(state)) == tag && offset != 0 &&
                offset + sizeof(uint64_t) <= arena->super->reserve_bytes;
    return good ? kini_at(arena, offset) : NULL;
}

static void set_count(kini_a64 *hold, int32_t count)
{
    kini_store(hold, (kini_load(hold) & ~0xffffffffull) | (uint32_t)count);
}

/* Under hold_lock. seq_cst: the word first, then the note (see kini_hold_note). */
static void resolve(struct kin_arena *arena, struct kini_thread_shm *t)
{
    uint64_t op = kini_load(&t->op);
    uint32_t seq = KINI_HOLD_OP_SEQ(op), entry = KINI_HOLD_OP_ENTRY(op);
    uint32_t target = kini_load(&t->hold_thread);
    if (KINI_OP_CODE(op) != KINI_OP_HOLD)
        return;
    if (seq != 0 && entry < KINI_HOLDS && target < KINI_THREADS_MAX) {
        kini_a64 *hold = &(target != 0 ? &arena->threads[target] : t)->holds[entry];
        kini_a64 *at = word_of(arena, (uint32_t)(kini_load(hold) >> 32));
        uint64_t word = at != NULL ? kini_load_sc(at) : 0;
        bool named = KINI_COUNTED_INDEX(word) == (uint32_t)(t - arena->threads) &&
                     KINI_COUNTED_SEQ(word) == seq;
        if (named || kini_load_sc(&t->hold_done) == seq)
            set_count(hold, KINI_HOLD_OP_COUNT(op));
    }
    kini_compiler_barrier();
    kini_store(&t->op, 0);
    kini_store(&t->hold_thread, 0);
}

int kini_hold_repair(struct kini_self *self, struct kini_thread_shm *dead)
{
    struct kini_ilock_shm *lock = &self->arena->super->hold_lock;
    kini_ilock_lock(self, lock);
    resolve(self->arena, dead);
    kini_ilock_unlock(self, lock);
    return 0;
}

/* A reaper of the same dead that died over it. */
static void resolve_reapers(struct kini_self *self, uint32_t target)
{
    struct kin_arena *arena = self->arena;
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++)
        if (i != self->index && kini_load(&arena->threads[i].hold_thread) == target)
            resolve(arena, &arena->threads[i]);
}

void kini_hold_journal_repair(struct kini_self *self, struct kini_ilock_shm *lock)
{
    if (lock != &self->arena->super->hold_lock)
        return; /* damaged: there is no other */
    for (int i = 0; i < 4; i += 2) {
        uint64_t offset = kini_load(&lock->arg[i]);
        if (offset != 0 && offset + sizeof(uint64_t) <= self->arena->super->reserve_bytes)
            kini_store((kini_a64 *)kini_at(self->arena, offset), kini_load(&lock->arg[i + 1]));
    }
}

/* --- the return, under hold_lock ------------------------------------------------------------ */

static bool is_of(struct kin_arena *arena, uint32_t index, uint32_t slot)
{
    uint64_t state = kini_load_acq(&arena->threads[index].state);
    return (state & 1) && KINI_THREAD_SLOT(state) == slot;
}

/* Another entry of the same participant for the same object, with a negative count. */
static kini_a64 *find_negative(struct kin_arena *arena, uint32_t slot, uint32_t tag)
{
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++) {
        if (!is_of(arena, i, slot))
            continue;
        for (uint32_t e = 0; e < KINI_HOLDS; e++)
            if (kini_load(&arena->threads[i].holds[e]) >> 32 == tag &&
                kini_hold_count(&arena->threads[i], e) < 0)
                return &arena->threads[i].holds[e];
    }
    return NULL;
}

static int32_t set_off(struct kini_self *self, kini_a64 *positive, kini_a64 *negative)
{
    struct kini_ilock_shm *lock = &self->arena->super->hold_lock;
    uint64_t tag = kini_load(positive) >> 32 << 32;
    int32_t more = (int32_t)(uint32_t)kini_load(positive);
    int32_t less = (int32_t)(uint32_t)kini_load(negative);
    int32_t both = more < -less ? more : -less;
    kini_store(&lock->arg[0], kini_offset(self->arena, positive));
    kini_store(&lock->arg[1], tag | (uint32_t)(more - both));
    kini_store(&lock->arg[2], kini_offset(self->arena, negative));
    kini_store(&lock->arg[3], tag | (uint32_t)(less + both));
    kini_journal_begin(lock, 1);
    kini_hold_journal_repair(self, lock);
    kini_journal_end(lock);
    return more - both;
}

/* One operation of ours, counted in the ledger of thread index. */
static void give_back(struct kini_self *self, uint32_t index, uint32_t entry, void *shm,
                      const struct kini_counted *counted)
{
    struct kin_arena *arena = self->arena;
    kini_a64 *word = shm, *ledger = &arena->threads[index].holds[entry];
    int32_t count = kini_hold_count(&arena->threads[index], entry);
    uint64_t expected = kini_load_sc(word);
    uint32_t seq = kini_hold_begin(self, (uint32_t)(kini_load(ledger) >> 32)).seq;
    kini_store(&self->shm->hold_thread, index);
    kini_compiler_barrier();
    uint32_t value;
    do {
        uint32_t last = KINI_COUNTED_INDEX(expected);
        if (last != 0 && last != self->index)
            kini_hold_note(arena, expected);
        value = counted->returned(shm, KINI_COUNTED_VALUE(expected), count);
        kini_store(&self->shm->op, KINI_HOLD_OP(entry, seq, 0));
        kini_compiler_barrier();
    } while (!kini_cas_sc(word, &expected, KINI_COUNTED(value, self->index, seq)));
    kini_compiler_barrier();
    set_count(ledger, 0);
    kini_compiler_barrier();
    kini_store(&self->shm->op, KINI_HOLD_OP(0, 0, 0)); /* nothing to resolve, in whosever ledger */
    kini_compiler_barrier();
    kini_store(&self->shm->hold_thread, 0);
    kini_hold_end(self);
    counted->done(self, shm, KINI_COUNTED_VALUE(expected), value);
}

static void return_entry(struct kini_self *self, uint32_t index, uint32_t entry, bool by_thread)
{
    struct kin_arena *arena = self->arena;
    kini_a64 *hold = &arena->threads[index].holds[entry];
    uint32_t tag = (uint32_t)(kini_load(hold) >> 32), id = tag & 0xffff;
    int32_t count = (int32_t)(uint32_t)kini_load(hold);
    const struct kini_counted *counted =
        kini_counted_of(KINI_OBJECT_TYPE(kini_load_acq(&arena->objects[id].state)));
    if (counted == NULL || !is_live(arena, tag)) {
        uint64_t was = (uint64_t)tag << 32 | (uint32_t)count;
        kini_cas(hold, &was, 0);
        return;
    }
    if (by_thread && !counted->by_thread)
        return;
    kini_a64 *negative;
    while (count > 0 &&
           (negative = find_negative(
                arena, KINI_THREAD_SLOT(kini_load(&arena->threads[index].state)), tag)) != NULL)
        count = set_off(self, hold, negative);
    if (count > 0)
        give_back(self, index, entry, kini_at(arena, kini_load(&arena->objects[id].offset)),
                  counted);
}

static void return_thread(struct kini_self *self, uint32_t index, uint32_t tag, bool by_thread)
{
    struct kini_ilock_shm *lock = &self->arena->super->hold_lock;
    kini_ilock_lock(self, lock);
    resolve_reapers(self, index);
    for (uint32_t e = 0; e < KINI_HOLDS; e++) {
        uint64_t hold = kini_load(&self->arena->threads[index].holds[e]);
        if ((uint32_t)hold != 0 && (tag == 0 || hold >> 32 == tag))
            return_entry(self, index, e, by_thread);
    }
    kini_ilock_unlock(self, lock);
}

/* Only what has a count: an entry without one may be taken for another object at this moment. */
static void forget_entry(kini_a64 *entry, uint32_t tag)
{
    uint64_t hold = kini_load(entry);
    if ((uint32_t)hold != 0 && (tag == 0 || hold >> 32 == tag))
        kini_cas(entry, &hold, 0);
}

void kini_holds_return_object(struct kini_self *self, uint32_t slot, uint32_t tag)
{
    uint32_t high = kini_load_acq(&self->arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++)
        if (is_of(self->arena, i, slot))
            return_thread(self, i, tag, false);
    /* What is left is negative: released for others. It is settled with the process. */
    for (uint32_t i = 1; i < high; i++)
        for (uint32_t e = 0; e < KINI_HOLDS && is_of(self->arena, i, slot); e++)
            forget_entry(&self->arena->threads[i].holds[e], tag);
}

void kini_holds_return(struct kini_self *self, uint32_t slot)
{
    kini_holds_return_object(self, slot, 0);
}

/* --- a thread ends --------------------------------------------------------------------------- */

/* The rlocks and onces that it holds: nobody else could release them. */
static void abandon_owned(struct kini_self *self)
{
    struct kin_arena *arena = self->arena;
    uint32_t high = kini_load_acq(&arena->super->objects_high);
    for (uint32_t id = 1; id < high; id++) {
        uint64_t state = kini_load_acq(&arena->objects[id].state);
        uint32_t type = KINI_OBJECT_TYPE(state);
        if (KINI_OBJECT_STATE(state) != KINI_OBJECT_LIVE ||
            !kini_object_is_held(arena, self->slot, kini_object_tag(id, KINI_OBJECT_GEN(state))) ||
            (type != KINI_OBJECT_ONCE && !kini_begins_with_rlock(type)))
            continue;
        struct kini_lock_shm *shm = kini_at(arena, kini_load(&arena->objects[id].offset));
        if (kini_load(&shm->word) == self->owner_word)
            kini_lock_abandon(self, shm, self->owner_word);
    }
}

bool kini_thread_leaves(struct kini_self *self)
{
    if (self->rlocks > 0)
        abandon_owned(self);
    bool holds = false;
    for (uint32_t e = 0; e < KINI_HOLDS; e++)
        holds |= (uint32_t)kini_load(&self->shm->holds[e]) != 0;
    if (!holds)
        return false;
    return_thread(self, self->index, 0, true);
    for (uint32_t e = 0; e < KINI_HOLDS; e++)
        if ((uint32_t)kini_load(&self->shm->holds[e]) != 0)
            return true;
    return false;
}
