/* SPDX-License-Identifier: MIT
 * The internal lock: for every structure that is not a hot path. Not for user code, not re-entrant,
 * not for signal handlers. Layout, journal and crash states: arena_layout.h. */
#ifndef KINI_ILOCK_H
#define KINI_ILOCK_H

#include "arena/arena.h"

void kini_ilock_init(struct kini_ilock_shm *lock, enum kini_ilock_kind kind);
void kini_ilock_lock_slow(struct kini_self *self, struct kini_ilock_shm *lock);
void kini_ilock_wake(struct kini_ilock_shm *lock);
/* Redo or undo what the journal says. The caller holds the lock. */
void kini_ilock_repair(struct kini_self *self, struct kini_ilock_shm *lock);
/* Take a lock over from a dead thread, repair what it guards, and leave it free. */
void kini_ilock_recover(struct kini_self *self, struct kini_ilock_shm *lock, uint32_t dead_index);

#define KINI_ILOCK_OWNER(word) ((word) >> 1)

static inline void kini_ilock_lock(struct kini_self *self, struct kini_ilock_shm *lock)
{
    /* Listed before it is tried, so that a reaper finds the lock of a dead holder. */
    kini_store(&self->shm->lockstack[self->locks++], kini_offset(self->arena, lock));
    kini_compiler_barrier();
    uint32_t expected = 0;
    /* acq pairs with the release in kini_ilock_unlock */
    if (kini_likely(kini_cas(&lock->word, &expected, self->index << 1)))
        return;
    kini_ilock_lock_slow(self, lock);
}

static inline void kini_ilock_unlock(struct kini_self *self, struct kini_ilock_shm *lock)
{
    if (kini_unlikely(kini_swap_sc(&lock->word, 0) & KINI_ILOCK_WAIT))
        kini_ilock_wake(lock);
    kini_compiler_barrier();
    kini_store(&self->shm->lockstack[--self->locks], 0);
}

/* The journal: arguments first, then op; cleared when the structure is whole again. Only the
 * compiler must keep the order: it is read after a kernel-confirmed death, or under the lock. */
static inline void kini_journal_begin(struct kini_ilock_shm *lock, uint64_t op)
{
    kini_compiler_barrier();
    kini_store(&lock->op, op);
    kini_compiler_barrier();
}

static inline void kini_journal_end(struct kini_ilock_shm *lock)
{
    kini_compiler_barrier();
    kini_store(&lock->op, 0);
    kini_compiler_barrier();
}

#endif
