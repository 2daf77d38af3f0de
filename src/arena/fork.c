/* SPDX-License-Identifier: MIT
 * Fork: the child has a slot, and holds its token, before it exists.
 *
 * prepare   reserve the slot, copy the parent's object bitmap into it     (mutex held from here)
 * parent    close the copy of the child's token                          (mutex released)
 * child     close the parent's token, adopt the slot, forget the parent's threads
 *
 * Whoever is killed in between: the token falls free with its last holder, and the slot, still
 * RESERVED, is reaped. A child made by a raw clone ran no handler: its guard page reads 0. */
#include "arena/arena.h"

#include <errno.h>
#include <unistd.h>

static pthread_mutex_t all_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct kin_arena *all;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int register_error;
__thread struct kini_fork_call kini_fork_call;

uint64_t kini_new_cookie(void)
{
    static _Atomic uint32_t serial;
    return (uint64_t)getpid() << 32 | (uint64_t)(kini_add(&serial, 1) + 1);
}

/* A program that only forks and never waits in kin has nobody who looks after the dead: before the
 * tables are full of them, it is us. */
static void make_room(struct kin_arena *arena)
{
    uint32_t used = 0, high = kini_load(&arena->super->participants_high);
    if (kini_load(arena->guard) == 0 || high < KINI_PARTICIPANTS_MAX / 2)
        return;
    for (uint32_t slot = 1; slot < high; slot++)
        used += KINI_STATE(kini_load(&arena->participants[slot].state)) != KINI_FREE;
    if (used > KINI_PARTICIPANTS_MAX / 2)
        kini_reap_all(arena, true);
}

static void prepare(void)
{
    pthread_mutex_lock(&all_mutex);
    for (struct kin_arena *a = all; a != NULL; a = a->next) {
        make_room(a);
        pthread_mutex_lock(&a->mutex);
        a->child_slot = 0;
        /* A fork cannot be refused here. Without a slot the child registers at its first use, and
         * gets the error there. */
        int r = kini_load(a->guard) == 0
                    ? -ENOTRECOVERABLE
                    : kini_participant_reserve(a, &a->child_slot, &a->child_token);
        if (r == 0)
            kini_bitmap_copy(a, a->slot, a->child_slot);
        if (a == kini_fork_call.arena) {
            kini_fork_call.error = r;
            kini_fork_call.slot = a->child_slot;
            kini_fork_call.generation =
                KINI_STATE_GEN(kini_load(&a->participants[a->child_slot].state));
        }
    }
}

static void parent(void)
{
    for (struct kin_arena *a = all; a != NULL; a = a->next) {
        if (a->child_slot != 0)
            kini_os_close(a->child_token);
        pthread_mutex_unlock(&a->mutex);
    }
    pthread_mutex_unlock(&all_mutex);
}

static void child(void)
{
    for (struct kin_arena *a = all; a != NULL; a = a->next) {
        kini_os_close(a->token_fd);
        for (struct kini_pending *p = a->pending; p != NULL; p = p->next)
            kini_os_close(p->token);
        a->pending = NULL; /* those are the parent's */
        kini_os_close(a->lifeline_keep);
        kini_os_close(a->lifeline_bound);
        a->lifeline_keep = a->lifeline_bound = -1;
        if (a->close_siblings != NULL)
            a->close_siblings(a);
        if (a != kini_fork_call.arena || !kini_fork_call.keep_watch) {
            kini_os_close(a->lifeline_watch);
            a->lifeline_watch = -1;
        }
        a->token_fd = -1;
        kini_os_bell_sender_close(&a->bell_sender);
        kini_store(&a->reaping, 0);
        kini_threads_after_fork(a);
        a->children = NULL;
        if (a->child_slot != 0) {
            kini_participant_adopt(a, a->child_slot, a->child_token);
            kini_store(a->guard, kini_new_cookie());
        }
        pthread_mutex_unlock(&a->mutex);
    }
    pthread_mutex_unlock(&all_mutex);
}

static void register_handlers(void)
{
    register_error = -pthread_atfork(prepare, parent, child);
}

int kini_fork_begin(void)
{
    pthread_once(&once, register_handlers);
    if (register_error < 0)
        return kini_fail(register_error, "no memory for the fork handlers");
    pthread_mutex_lock(&all_mutex);
    return 0;
}

void kini_fork_end(void)
{
    pthread_mutex_unlock(&all_mutex);
}

void kini_fork_add(struct kin_arena *arena)
{
    arena->next = all;
    all = arena;
}

int kini_fork_register(struct kin_arena *arena)
{
    int r = kini_fork_begin();
    if (r < 0)
        return r;
    kini_fork_add(arena);
    kini_fork_end();
    return 0;
}

void kini_fork_unregister(struct kin_arena *arena)
{
    pthread_mutex_lock(&all_mutex);
    for (struct kin_arena **link = &all; *link != NULL; link = &(*link)->next) {
        if (*link == arena) {
            *link = arena->next;
            break;
        }
    }
    pthread_mutex_unlock(&all_mutex);
}

int kini_rejoin(struct kin_arena *arena)
{
    /* One thread, and any lock may have been copied locked. */
    pthread_mutex_init(&arena->mutex, NULL);
    pthread_mutex_init(&all_mutex, NULL);
    uint32_t parent_slot = arena->slot, parent_generation = arena->generation, slot;
    int token;
    int r = kini_participant_reserve(arena, &slot, &token);
    if (r < 0)
        return r;
    kini_os_close(arena->token_fd); /* our copy of the parent's: it must not outlive the parent */
    kini_os_close(arena->lifeline_keep);
    kini_os_close(arena->lifeline_watch);
    arena->lifeline_keep = arena->lifeline_watch = -1;
    kini_os_bell_sender_close(&arena->bell_sender);
    kini_store(&arena->reaping, 0);
    /* What the parent holds we know by its handles; what it has dropped since is gone for us too.
     */
    uint64_t state = kini_load_acq(&arena->participants[parent_slot].state);
    if (parent_slot != 0 && KINI_STATE_GEN(state) == parent_generation &&
        KINI_STATE(state) == KINI_LIVE) {
        kini_bitmap_copy(arena, parent_slot, slot);
        kini_bitmap_prune(arena, slot);
    }
    kini_store(&arena->participants[slot].parent_pid,
               kini_load(&arena->participants[parent_slot].pid));
    kini_participant_adopt(arena, slot, token);
    kini_threads_after_fork(arena);
    arena->children = NULL;
    arena->epoch++; /* handles are to be looked at again: the parent may have dropped some */
    kini_store(arena->guard, kini_new_cookie());
    return 0;
}
