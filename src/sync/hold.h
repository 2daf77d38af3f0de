/* SPDX-License-Identifier: MIT
 * Counted holds: words of which many may hold a part (semaphore, rwlock), so that one word cannot
 * name the holders. What a thread holds stands in the ledger of its thread record.
 *
 *   word    value 28 | thread index 12 | 0 | operation number 22     who changed it last
 *   ledger  holds[entry] = tag of the object 32 | count 32          in the thread record
 *   intent  op = HOLD 8 | entry 6 | number 22 | count afterwards 28
 *
 * An operation changes word and ledger together, whoever is killed at any instruction:
 *   1 op = HOLD alone                     from here on a signal handler stays out of the ledger
 *   2 op = entry, number, the count that the entry is to have
 *   3 CAS word → new value, we, number    the one step that decides
 *   4 entry = that count
 *   5 op = 0
 * Who overwrites a word first notes in the record of the thread which it names that its operation
 * happened (hold_done), so that the fact does not go with the word.
 *
 * Crash states: (1) after 1 or 2: word and hold_done do not know the number: nothing happened.
 * (2) after 3: one of them does: the repair writes the entry. (3) after 4: the same once more.
 * (4) an overwriter dies after its note: the note is true all the same. The repair and the return
 * of what the dead held run under super.hold_lock, one at a time, so that nobody writes an entry
 * late, when its record has a new owner.
 *
 * The return is an operation too, of the reaper, on the ledger of the dead (hold_thread): if the
 * reaper dies in it, whoever goes on resolves it first. What one thread of the dead process
 * released and another had acquired is set off beforehand, two entries at once: journal op 1, arg =
 * offset and value of each.
 *
 * Anonymous operations (thread index 0) change no ledger: of a signal handler that interrupted an
 * operation, and of a thread that has no record. */
#ifndef KINI_HOLD_H
#define KINI_HOLD_H

#include "sync/handle.h"

#define KINI_COUNTED(value, index, seq)                                                            \
    ((uint64_t)(value) << 36 | (uint64_t)(index) << 24 | (uint64_t)(seq))
#define KINI_COUNTED_VALUE(word) ((uint32_t)((word) >> 36))
#define KINI_COUNTED_INDEX(word) ((uint32_t)((word) >> 24) & 0xfffu)
#define KINI_COUNTED_SEQ(word)   ((uint32_t)(word)&KINI_HOLD_SEQ)
_Static_assert(KINI_THREADS_MAX <= 1u << 12, "a thread index fits the word");

#define KINI_HOLD_SEQ   0x3fffffu       /* numbers go round in 22 bits; 0 is none */
#define KINI_HOLD_RENEW 0xfffffu        /* see kini_hold_renew */
#define KINI_HOLD_COUNT ((1 << 27) - 1) /* the largest count of an entry */
#define KINI_HOLD_OP(entry, seq, count)                                                            \
    ((uint64_t)KINI_OP_HOLD << 56 | (uint64_t)(entry) << 50 | (uint64_t)(seq) << 28 |              \
     ((uint32_t)(count)&0xfffffffu))
#define KINI_HOLD_OP_ENTRY(op) ((uint32_t)((op) >> 50) & 63u)
#define KINI_HOLD_OP_SEQ(op)   ((uint32_t)((op) >> 28) & KINI_HOLD_SEQ)
#define KINI_HOLD_OP_COUNT(op) ((int32_t)((uint32_t)(op) << 4) >> 4)
_Static_assert(KINI_HOLDS <= 64, "an entry fits the intent");

#define KINI_HOLD_NONE KINI_HOLDS /* no entry */

/* An operation of this thread on a counted word. */
struct kini_hold {
    uint32_t seq, entry;
    int32_t count; /* in the entry, before */
};

/* The entry for an object; KINI_HOLD_NONE when there is no room for one. */
uint32_t kini_hold_entry_slow(struct kini_self *self, uint32_t tag);

static inline uint32_t kini_hold_entry(struct kini_self *self, uint32_t tag)
{
    uint32_t first = (tag & 0xffff) % KINI_HOLDS;
    if (kini_likely((uint32_t)(kini_load(&self->shm->holds[first]) >> 32) == tag))
        return first;
    return kini_hold_entry_slow(self, tag);
}

static inline int32_t kini_hold_count(struct kini_thread_shm *t, uint32_t entry)
{
    return (int32_t)(uint32_t)kini_load(&t->holds[entry]);
}

/* Now and then, so that hold_done never has an equal number of the last round. Returns the number
 * to go on with. */
uint32_t kini_hold_renew(struct kini_thread_shm *me, uint32_t seq);

/* Note for the thread that a word names that its operation happened. */
void kini_hold_note(struct kin_arena *arena, uint64_t word);

/* Step 1. Without room in the ledger entry is KINI_HOLD_NONE: end it at once. */
static inline struct kini_hold kini_hold_begin(struct kini_self *self, uint32_t tag)
{
    struct kini_thread_shm *me = self->shm;
    kini_store(&me->op, KINI_HOLD_OP(0, 0, 0));
    kini_compiler_barrier();
    uint32_t seq = (kini_load(&me->hold_seq) + 1) & KINI_HOLD_SEQ;
    if (kini_unlikely((seq & KINI_HOLD_RENEW) == 0))
        seq = kini_hold_renew(me, seq);
    kini_store(&me->hold_seq, seq);
    struct kini_hold hold = {.seq = seq, .entry = kini_hold_entry(self, tag)};
    if (kini_likely(hold.entry != KINI_HOLD_NONE))
        hold.count = kini_hold_count(me, hold.entry);
    return hold;
}

/* Steps 2 to 4: true if the word was as expected, which receives what it is otherwise. */
static inline bool kini_hold_try(struct kini_self *self, const struct kini_hold *hold,
                                 kini_a64 *word, uint64_t *expected, uint32_t value, int32_t count)
{
    struct kini_thread_shm *me = self->shm;
    uint32_t last = KINI_COUNTED_INDEX(*expected);
    if (kini_unlikely(last != self->index && last != 0))
        kini_hold_note(self->arena, *expected);
    kini_store(&me->op, KINI_HOLD_OP(hold->entry, hold->seq, count));
    kini_compiler_barrier();
    if (kini_unlikely(!kini_cas_sc(word, expected, KINI_COUNTED(value, self->index, hold->seq))))
        return false;
    kini_compiler_barrier();
    kini_store(&me->holds[hold->entry],
               (kini_load(&me->holds[hold->entry]) & ~0xffffffffull) | (uint32_t)count);
    return true;
}

static inline void kini_hold_end(struct kini_self *self)
{
    kini_compiler_barrier();
    kini_store(&self->shm->op, 0);
}

/* Without a ledger. */
static inline bool kini_anonymous_try(struct kin_arena *arena, kini_a64 *word, uint64_t *expected,
                                      uint32_t value)
{
    if (KINI_COUNTED_INDEX(*expected) != 0)
        kini_hold_note(arena, *expected);
    return kini_cas_sc(word, expected, KINI_COUNTED(value, 0, 0));
}

/* What the calling process holds of an object, over all its threads. */
int64_t kini_holds_sum(struct kin_arena *arena, uint32_t slot, uint32_t tag);
/* Give back what a participant's threads hold of one object. */
void kini_holds_return_object(struct kini_self *self, uint32_t slot, uint32_t tag);

int kini_hold_repair(struct kini_self *self, struct kini_thread_shm *dead);
void kini_hold_journal_repair(struct kini_self *self, struct kini_ilock_shm *lock);

/* What the word of an object is when a count of it comes back; NULL: no counted object. */
typedef uint32_t (*kini_returned_fn)(void *shm, uint32_t value, int32_t count);
struct kini_counted {
    kini_returned_fn returned;
    void (*done)(struct kini_self *self, void *shm, uint32_t before, uint32_t after);
    bool by_thread; /* only the thread itself can release */
};
/* By object type; the word is the first thing in the shared structure. */
const struct kini_counted *kini_counted_of(uint32_t type);

#endif
