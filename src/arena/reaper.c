/* SPDX-License-Identifier: MIT
 * The reaper: whoever notices a death repairs what the dead left behind.
 *
 * Elected by the byte lock REAP_BYTE+slot, which the kernel drops if the reaper dies too. The order
 * of the steps matters: journals before operations, operations before blocks (a block that looks
 * private may be the last trace of a message), thread records and the slot last, because until then
 * they name the dead. Every step is idempotent. */
#include "arena/arena.h"
#include "arena/block.h"
#include "arena/ilock.h"

#include <errno.h>

typedef int (*thread_fn)(struct kini_self *self, uint32_t index);

static int each_thread(struct kini_self *self, uint32_t slot, thread_fn fn)
{
    uint32_t high = kini_load_acq(&self->arena->super->threads_high);
    int result = 0;
    for (uint32_t i = 1; i < high; i++) {
        uint64_t state = kini_load_acq(&self->arena->threads[i].state);
        if (!(state & 1) || KINI_THREAD_SLOT(state) != slot)
            continue;
        int r = fn(self, i);
        if (r < 0)
            result = r;
    }
    return result;
}

static int release_locks(struct kini_self *self, uint32_t index)
{
    for (uint32_t i = 0; i < KINI_LOCKSTACK && index != self->index; i++) {
        kini_a64 *entry = &self->arena->threads[index].lockstack[i];
        uint64_t off = kini_load(entry);
        if (off != 0 && off + sizeof(struct kini_ilock_shm) <= self->arena->super->reserve_bytes)
            kini_ilock_recover(self, kini_at(self->arena, off), index);
        kini_compiler_barrier();
        kini_store(entry, 0); /* only now: should we die over it, the next one finds it */
    }
    return 0;
}

static int finish_operation(struct kini_self *self, uint32_t index)
{
    return kini_operation_repair(self, &self->arena->threads[index]);
}

static int finish_wait(struct kini_self *self, uint32_t index)
{
    kini_wait_repair(self, &self->arena->threads[index]);
    return 0;
}

static int free_record(struct kini_self *self, uint32_t index)
{
    kini_a64 *state = &self->arena->threads[index].state;
    if (index == self->index)
        return 0;
    for (uint32_t i = 0; i < KINI_LOCKSTACK; i++)
        kini_store(&self->arena->threads[index].lockstack[i], 0);
    kini_store_rel(state, kini_load(state) & ~0xffffffffull);
    return 0;
}

int kini_reap_steps(struct kini_self *self, uint32_t slot)
{
    if (slot != self->slot) { /* its threads' intents do not count as living from here on */
        kini_a64 *state = &self->arena->participants[slot].state;
        uint64_t now = kini_load(state);
        kini_store_rel(state,
                       KINI_STATE_WORD(KINI_STATE_GEN(now), KINI_STATE_PARENT(now), KINI_REAPING));
    }
    each_thread(self, slot, release_locks);
    int r = each_thread(self, slot, finish_operation);
    if (r < 0)
        return r;
    each_thread(self, slot, finish_wait);
    kini_objects_finish_dying(self, slot);
    kini_holds_return(self, slot);
    kini_give_back(self, slot, 0);
    kini_objects_drop_all(self, slot);
    kini_sweep(self, slot);
    each_thread(self, slot, free_record);
    return 0;
}

/* Once, also if a reaper dies here and another begins again. */
static void count_death(struct kini_participant_shm *p, uint32_t gen)
{
    uint64_t deaths = kini_load(&p->deaths);
    if ((uint32_t)deaths != gen)
        kini_store(&p->deaths, ((deaths >> 32) + 1) << 32 | gen);
}

/* Under the reap byte of i: nobody else gives its records away meanwhile. */
static void release_locks_of(struct kini_self *self, uint32_t i)
{
    struct kin_arena *arena = self->arena;
    if (KINI_STATE(kini_load_acq(&arena->participants[i].state)) != KINI_FREE &&
        kini_participant_life(arena, i, false) == KINI_OS_DEAD)
        each_thread(self, i, release_locks);
}

/* A reaper works on objects that it has no handle of. One that died over this participant may have
 * listed a lock of an object that is about to be destroyed, and whose memory may be anything by
 * the time it is reaped itself: so the locks of all the dead first. -EAGAIN: another one is at it,
 * and this participant waits for the next look. */
static int release_locks_of_reapers(struct kini_self *self, uint32_t slot)
{
    uint32_t high = kini_load_acq(&self->arena->super->participants_high);
    int fd = self->arena->token_fd;
    for (uint32_t i = 1; i < high; i++) {
        if (i == slot || i == self->slot ||
            KINI_STATE(kini_load_acq(&self->arena->participants[i].state)) == KINI_FREE ||
            kini_participant_life(self->arena, i, false) != KINI_OS_DEAD)
            continue;
        if (kini_os_byte_lock(fd, KINI_REAP_BYTE + i) < 0)
            return -EAGAIN;
        release_locks_of(self, i);
        kini_os_byte_unlock(fd, KINI_REAP_BYTE + i);
    }
    return 0;
}

/* Under the reap byte. */
static int reap_locked(struct kini_self *self, uint32_t slot)
{
    struct kini_participant_shm *p = &self->arena->participants[slot];
    uint64_t state = kini_load_acq(&p->state);
    uint32_t now = KINI_STATE(state);
    if (now == KINI_FREE)
        return 0;
    if (now != KINI_REAPING && kini_participant_life(self->arena, slot, false) != KINI_OS_DEAD)
        return 0;
    uint32_t gen = KINI_STATE_GEN(state);
    int r = now == KINI_REAPING ? release_locks_of_reapers(self, slot) : 0;
    if (r == 0)
        r = kini_reap_steps(self, slot);
    if (r < 0)
        return r;
    if (now != KINI_RESERVED)
        count_death(p, gen);
    kini_store_rel(&p->state, KINI_STATE_WORD(gen, 0, KINI_FREE));
    kini_add_sc(&self->arena->super->death_seq, 1);
    return 1;
}

int kini_reap(struct kin_arena *arena, uint32_t slot)
{
    struct kini_self *self = kini_enter(arena);
    uint32_t idle = 0;
    /* The byte lock belongs to our descriptor, so it cannot tell our own threads apart. */
    if (self == NULL || slot == self->slot || !kini_cas(&arena->reaping, &idle, 1))
        return 0;
    int r = 0;
    if (kini_arena_has(arena, arena->token_fd) &&
        kini_os_byte_lock(arena->token_fd, KINI_REAP_BYTE + slot) == 0) {
        r = reap_locked(self, slot);
        kini_os_byte_unlock(arena->token_fd, KINI_REAP_BYTE + slot);
    }
    kini_store_rel(&arena->reaping, 0);
    return r;
}

/* One question to the kernel: whoever holds its token lives, unless somebody else has a copy of it,
 * which the other facts tell. So they are asked for every few looks. */
#define LOOKS_BY_TOKEN 8u

static bool holds_token(struct kin_arena *arena, uint32_t slot)
{
    return kini_os_byte_locked(arena->token_fd, slot) > 0;
}

int kini_reap_all(struct kin_arena *arena, bool quick)
{
    int count = 0;
    uint32_t high = kini_load_acq(&arena->super->participants_high);
    bool by_token = quick && kini_add(&arena->looks, 1) % LOOKS_BY_TOKEN != 0 &&
                    kini_arena_has(arena, arena->token_fd);
    for (uint32_t slot = 1; slot < high; slot++) {
        uint32_t state = KINI_STATE(kini_load_acq(&arena->participants[slot].state));
        if (state == KINI_FREE || slot == arena->slot)
            continue;
        if (by_token && state != KINI_REAPING && holds_token(arena, slot))
            continue;
        if (state == KINI_REAPING || kini_participant_life(arena, slot, quick) == KINI_OS_DEAD)
            count += kini_reap(arena, slot) == 1;
    }
    return count;
}

int kin_arena_reap(struct kin_arena *arena)
{
    return kini_enter(arena) == NULL ? kini_enter_error() : kini_reap_all(arena, false);
}
