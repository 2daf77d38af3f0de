/* SPDX-License-Identifier: MIT
 * Participant slots: reserve one for a process that does not exist yet, adopt it, tell whether who
 * lives in it is dead. States and crash states: arena_layout.h. */
#include "arena/arena.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int commit_slot(struct kin_arena *arena, uint32_t slot)
{
    struct kini_super_shm *super = arena->super;
    int r = kini_table_commit(arena, super->participants_off, &super->participants_committed,
                              (slot + 1) * sizeof(struct kini_participant_shm),
                              KINI_PARTICIPANTS_MAX * sizeof(struct kini_participant_shm));
    if (r < 0)
        return r;
    return kini_table_commit(arena, super->bitmaps_off, &super->bitmaps_committed,
                             (slot + 1ull) * KINI_BITMAP_BYTES,
                             (uint64_t)KINI_PARTICIPANTS_MAX * KINI_BITMAP_BYTES);
}

static void fill_reserved(struct kin_arena *arena, uint32_t slot)
{
    struct kini_participant_shm *p = &arena->participants[slot];
    kini_store(&p->pid, 0);
    kini_store(&p->pid_namespace, 0);
    kini_store(&p->start_ticks, 0);
    kini_store(&p->pidfd_inode, 0);
    kini_store(&p->daemon, 0);
    kini_store(&p->fenced, 0);
    kini_store(&p->takes, 0);
    memset(p->name, 0, sizeof p->name);
    for (uint32_t i = 0; i < KINI_TOUCHED_WORDS; i++)
        kini_store(&p->touched[i], 0);
    kini_store(&p->parent_pid, arena->slot ? (uint32_t)getpid() : 0);
    kini_store(&p->parent_key, (uint64_t)arena->slot << 32 | arena->generation);
}

/* Try one slot: the reap byte makes us the only one who may change it, the token byte is its life.
 * Both are taken with the descriptor that the child will keep. */
static bool try_slot(struct kin_arena *arena, uint32_t slot, int token)
{
    struct kini_participant_shm *p = &arena->participants[slot];
    if (KINI_STATE(kini_load_acq(&p->state)) != KINI_FREE)
        return false;
    if (kini_os_byte_lock(token, KINI_REAP_BYTE + slot) < 0)
        return false;
    uint64_t state = kini_load_acq(&p->state);
    bool ours = KINI_STATE(state) == KINI_FREE && kini_os_byte_lock(token, slot) == 0;
    if (ours) {
        fill_reserved(arena, slot);
        kini_raise32(&arena->super->participants_high, slot + 1);
        /* rel: whoever sees RESERVED sees the fields above */
        kini_store_rel(&p->state,
                       KINI_STATE_WORD(KINI_STATE_GEN(state) + 1, arena->slot, KINI_RESERVED));
    }
    kini_os_byte_unlock(token, KINI_REAP_BYTE + slot);
    return ours;
}

int kini_participant_reserve(struct kin_arena *arena, uint32_t *ret_slot, int *ret_token)
{
    if (!kini_arena_has(arena, arena->fd))
        return kini_fail(-EBADF, "the program closed the arena's file descriptor");
    int token = kini_os_reopen(arena->fd);
    if (token < 0)
        return token == -EMFILE || token == -ENFILE
                   ? kini_fail(token, "no file descriptor left for a participant (RLIMIT_NOFILE)")
                   : kini_fail(token, "the arena's file cannot be opened again through /proc: %s",
                               kin_strerror(token));
    for (uint32_t slot = 1; slot < KINI_PARTICIPANTS_MAX; slot++) {
        int r = commit_slot(arena, slot);
        if (r < 0) {
            kini_os_close(token);
            return r;
        }
        if (try_slot(arena, slot, token)) {
            *ret_slot = slot;
            *ret_token = token;
            return 0;
        }
    }
    kini_os_close(token);
    return kini_fail(-ENOSPC, "the arena has %u participants already", KINI_PARTICIPANTS_MAX - 1);
}

void kini_participant_adopt(struct kin_arena *arena, uint32_t slot, int token)
{
    struct kini_participant_shm *p = &arena->participants[slot];
    struct kini_os_identity identity;
    /* who forked us, if it was a participant: fill_reserved() wrote it before we were */
    kini_os_identity_self(&identity, (int32_t)kini_load(&p->parent_pid));
    kini_store(&p->pid_namespace, identity.pid_namespace);
    kini_store(&p->start_ticks, identity.start_ticks);
    kini_store(&p->pidfd_inode, identity.pidfd_inode);
    kini_store(&p->pid, (uint32_t)identity.pid);
    if (kini_os_fence_register() < 0)
        kini_store_sc(&arena->super->no_fence, 1);
    uint64_t state = kini_load(&p->state);
    arena->slot = slot;
    arena->generation = KINI_STATE_GEN(state);
    arena->token_fd = token;
    /* seq_cst: before the look at the beds; pairs with gather() in sync/bed.c */
    kini_store_sc(&p->state,
                  KINI_STATE_WORD(arena->generation, KINI_STATE_PARENT(state), KINI_LIVE));
    kini_bed_tell(arena);
}

static enum kini_os_life life_by_token(struct kin_arena *arena, uint32_t slot)
{
    if (!kini_arena_has(arena, arena->token_fd))
        return KINI_OS_UNKNOWN;
    int locked = kini_os_byte_locked(arena->token_fd, slot);
    return locked == 0 ? KINI_OS_DEAD : locked > 0 ? KINI_OS_ALIVE : KINI_OS_UNKNOWN;
}

static struct kini_os_identity identity_of(struct kini_participant_shm *p)
{
    return (struct kini_os_identity){
        .pid_namespace = kini_load(&p->pid_namespace),
        .start_ticks = kini_load(&p->start_ticks),
        .pidfd_inode = kini_load(&p->pidfd_inode),
        .pid = (int32_t)kini_load(&p->pid),
    };
}

int kini_participant_open(struct kin_arena *arena, uint32_t slot)
{
    struct kini_os_identity identity = identity_of(&arena->participants[slot]);
    return kini_os_identity_open(&identity);
}

enum kini_os_life kini_participant_life(struct kin_arena *arena, uint32_t slot, bool quick)
{
    if (slot == arena->slot)
        return KINI_OS_ALIVE;
    struct kini_participant_shm *p = &arena->participants[slot];
    uint32_t state = KINI_STATE(kini_load_acq(&p->state));
    if (state == KINI_FREE)
        return KINI_OS_UNKNOWN;
    struct kini_os_identity identity = identity_of(p);
    if (state == KINI_RESERVED || identity.pid == 0)
        return life_by_token(arena, slot);
    enum kini_os_life life = kini_os_identity_life(&identity, quick);
    if (life == KINI_OS_CANNOT_ASK)
        return KINI_OS_UNKNOWN;
    if (life == KINI_OS_UNKNOWN)
        return life_by_token(arena, slot);
    /* After exec the process lives on under the same identity, but not in the arena: its token
     * was closed. A free token alone proves nothing, a careless close() frees it, too. */
    if (life == KINI_OS_ALIVE && life_by_token(arena, slot) == KINI_OS_DEAD &&
        kini_os_maps_inode(identity.pid, arena->inode) == 0)
        return KINI_OS_DEAD;
    return life;
}
