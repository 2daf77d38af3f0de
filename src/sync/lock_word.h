/* SPDX-License-Identifier: MIT
 * The word of everything that has one holder: lock, rlock, once.
 *
 *   +0   word | depth | on_abandoned | abandoned      one line
 *   +48  wait queue
 *
 * word:
 *   0               free
 *   owner           held: generation 29 | participant slot 16 | thread index 16, above them 0. The
 *                   claiming CAS writes all of it, so there is no moment in which a claim has no
 *                   name, and no intent is needed
 *   RESERVED|owner  free, but kept for that waiter, which has waited for some milliseconds
 *   ABANDONED       free, its holder died: the next one is told
 *   DONE            a once that has been run: for ever
 * W: anyone who finds it free, CAS (acquire); the thread that holds it, a plain store (release);
 * another thread that releases, CAS; reapers, CAS from the dead owner.
 * depth (of an rlock) is the holder's. abandoned counts who was told: W: the new owner.
 *
 * The holder that releases stores 0 and then looks whether somebody waits, with no barrier in
 * between: that costs half of what an exchange would. Who begins to wait fences instead (see
 * KINI_WAITQ_FENCE). Where fences are refused (super.no_fence), releasers exchange.
 *
 * Crash states: (1) killed as owner: the reaper finds the slot in the word: ABANDONED, all waiters
 * look. (2) killed after the release, before the wake: the same look. (3) the waiter dies for whom
 * it is RESERVED: the reaper finds its slot: free. (4) the releaser dies after RESERVED, and the
 * waiter had given up before: any waiter who sees a reservation for somebody who does not wait
 * takes it; and so it does if the other one waits, but does not come within a slice (it may have
 * been stopped). (5) killed between the acquisition and depth = 1: as (1); the next sets it. */
#ifndef KINI_LOCK_WORD_H
#define KINI_LOCK_WORD_H

#include "sync/handle.h"

#define KINI_WORD_ABANDONED (1ull << 63)
#define KINI_WORD_RESERVED  (1ull << 62)
#define KINI_WORD_DONE      (1ull << 61)

struct kini_lock_shm {
    kini_a64 word;
    kini_a32 depth;
    uint32_t on_abandoned; /* const after create */
    kini_a64 abandoned;    /* how often somebody was told */
    kini_a64 handed_ns;    /* hint: when it was last kept for a waiter. W: releasers */
    uint32_t given_tag;    /* of a condition: the lock that was given to it; 0: its own */
    uint32_t reserved1;
    uint64_t reserved;
    struct kini_waitq_shm waiters;
};
/* With the header of its block before it, three lines; the wait queue begins the second. So it is
 * with all structures of this layer: blocks of a multiple of 64 bytes begin 16 into a line. */
_Static_assert(sizeof(struct kini_lock_shm) == 176, "three lines");

void kini_lock_init(void *shm, const void *opts);

/* Whether somebody holds it, whoever. */
static inline bool kini_word_is_held(uint64_t word)
{
    return word != 0 && (word & ~KINI_OWNER_BITS) == 0;
}

/* Types whose shared structure begins with a lock word that belongs to a thread: an rlock. */
static inline bool kini_begins_with_rlock(uint32_t type)
{
    return type == KINI_OBJECT_RLOCK || type == KINI_OBJECT_CONDITION ||
           type == KINI_OBJECT_VALUE || type == KINI_OBJECT_ARRAY;
}

/* What lock, rlock and once have in common of the public functions; type is which of them. */
struct kin_lock_opts;
int kini_lock_create(struct kin_arena *arena, uint32_t type, const struct kin_lock_opts *given,
                     size_t handle_bytes, void *ret_handle);
/* given NULL and find: never create. */
struct kini_which;
int kini_lock_open(struct kin_arena *arena, uint32_t type, const struct kini_which *which,
                   const struct kin_lock_opts *given, bool find, size_t handle_bytes,
                   void *ret_handle);
bool kini_lock_is_good(const struct kin_arena *arena, void *shm);
int kini_lock_locked(const struct kini_handle *handle, uint32_t type);
int kini_lock_owner(const struct kini_handle *handle, uint32_t type, struct kin_owner *ret_owner);
int kini_lock_waiting(const struct kini_handle *handle, uint32_t type);
/* Deaths of holders: those that somebody was told of, and one that waits to be told. */
int64_t kini_lock_abandoned(const struct kini_handle *handle, uint32_t type);

/* 0, KIN_ABANDONED or an error. The caller has tried CAS(0 → owner) before. wait false: once. */
int kini_lock_acquire_slow(struct kini_self *self, struct kini_handle *handle,
                           kin_deadline deadline, bool wait);
/* The calling thread is in the lock's queue already: a notifier has put it there. */
int kini_lock_acquire_moved(struct kini_self *self, struct kini_handle *handle);
/* The caller may be another thread than the holder. */
int kini_lock_release_slow(struct kini_self *self, struct kini_lock_shm *shm);
/* Make it free because its holder is gone, and wake who waits. */
void kini_lock_abandon(struct kini_self *self, struct kini_lock_shm *shm, uint64_t owner);
/* kini_types[].holder_died */
void kini_lock_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot);

static kini_inline int kini_lock_acquire(struct kini_self *self, struct kini_handle *handle,
                                         kin_deadline deadline, bool wait)
{
    struct kini_lock_shm *shm = handle->shm;
    uint64_t expected = 0;
    /* acq pairs with the release below */
    if (kini_likely(kini_cas(&shm->word, &expected, self->owner_word)))
        return 0;
    return kini_lock_acquire_slow(self, handle, deadline, wait);
}

static kini_inline int kini_lock_release(struct kini_self *self, struct kini_lock_shm *shm)
{
    if (kini_unlikely(kini_load(&shm->word) != self->owner_word ||
                      kini_load(&shm->waiters.nwait) != 0 ||
                      kini_load(&self->arena->super->no_fence) != 0))
        return kini_lock_release_slow(self, shm);
    kini_store_rel(&shm->word, 0);
    kini_compiler_barrier(); /* enough: whoever waits has fenced us (kini_waitq_enter) */
    if (kini_unlikely(kini_load(&shm->waiters.nwait) != 0)) {
        atomic_thread_fence(memory_order_seq_cst); /* but marks are looked at after the store */
        kini_waitq_nudge_first_slow(self->arena, &shm->waiters);
    }
    return 0;
}

#endif
