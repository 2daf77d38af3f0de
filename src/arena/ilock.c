/* SPDX-License-Identifier: MIT
 * The internal lock, slow path: spin, sleep in slices, take over from the dead. */
#include "arena/ilock.h"

#include <errno.h>

#define SPINS    200
#define SLICE_NS 4000000

void kini_ilock_init(struct kini_ilock_shm *lock, enum kini_ilock_kind kind)
{
    lock->kind = (uint32_t)kind;
    kini_store(&lock->op, 0);
    kini_store_rel(&lock->word, 0);
}

void kini_ilock_wake(struct kini_ilock_shm *lock)
{
    kini_os_futex_wake(&lock->word, 1);
}

/* The thread that holds the lock can no longer act. Its record stays USED until the reaper has gone
 * through its lock stack, so the index still names it. */
static bool owner_is_dead(struct kini_self *self, uint32_t word)
{
    uint32_t index = KINI_ILOCK_OWNER(word);
    if (index == 0 || index == self->index)
        return false;
    uint64_t state = kini_load_acq(&self->arena->threads[index].state);
    if (!(state & 1))
        return false;
    uint32_t slot = KINI_THREAD_SLOT(state);
    return kini_participant_life(self->arena, slot, false) == KINI_OS_DEAD;
}

void kini_ilock_repair(struct kini_self *self, struct kini_ilock_shm *lock)
{
    if (kini_load(&lock->op) != 0 && lock->kind < KINI_ILOCK_KINDS &&
        kini_repairs[lock->kind] != NULL)
        kini_repairs[lock->kind](self, lock);
    kini_journal_end(lock);
}

void kini_ilock_lock_slow(struct kini_self *self, struct kini_ilock_shm *lock)
{
    const uint32_t me = self->index << 1;
    for (int i = 0; i < SPINS; i++) {
        uint32_t expected = 0;
        if (kini_load(&lock->word) == 0 && kini_cas(&lock->word, &expected, me))
            return;
        kini_pause();
    }
    for (;;) {
        uint32_t word = kini_load_acq(&lock->word);
        if (word == 0) {
            /* Others may sleep: keep WAIT, at the price of one needless wake. */
            if (kini_cas(&lock->word, &word, me | KINI_ILOCK_WAIT))
                return;
            continue;
        }
        if (!(word & KINI_ILOCK_WAIT) && !kini_cas(&lock->word, &word, word | KINI_ILOCK_WAIT))
            continue;
        word |= KINI_ILOCK_WAIT;
        if (kini_os_futex_wait(&lock->word, word, kin_after_ns(SLICE_NS)) != -ETIMEDOUT)
            continue;
        if (owner_is_dead(self, word) && kini_cas(&lock->word, &word, me | KINI_ILOCK_WAIT)) {
            kini_ilock_repair(self, lock);
            return;
        }
    }
}

void kini_ilock_recover(struct kini_self *self, struct kini_ilock_shm *lock, uint32_t dead_index)
{
    kini_store(&self->shm->lockstack[self->locks++], kini_offset(self->arena, lock));
    kini_compiler_barrier();
    uint32_t word = kini_load_acq(&lock->word);
    while (KINI_ILOCK_OWNER(word) == dead_index) {
        if (!kini_cas(&lock->word, &word, self->index << 1 | KINI_ILOCK_WAIT))
            continue;
        kini_ilock_repair(self, lock);
        kini_ilock_unlock(self, lock);
        return;
    }
    kini_store(&self->shm->lockstack[--self->locks], 0);
}
