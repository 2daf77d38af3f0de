/* SPDX-License-Identifier: MIT
 * Create, leave and detach an arena. */
#include "arena/attach.h"
#include "arena/block.h"
#include "arena/ilock.h"
#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_RESERVE (64ull << 30)

/* Whatever changes the meaning of the bytes changes the stamp. */
uint64_t kini_layout_stamp(void)
{
    const uint64_t facts[] = {
        KINI_LAYOUT_VERSION,
        sizeof(struct kini_super_shm),
        sizeof(struct kini_participant_shm),
        sizeof(struct kini_thread_shm),
        sizeof(struct kini_object_shm),
        sizeof(struct kini_span_shm),
        sizeof(struct kini_block_shm),
        KINI_PARTICIPANTS_MAX,
        KINI_THREADS_MAX,
        KINI_OBJECTS_MAX,
        KINI_UNIT_BYTES,
        KINI_CLASSES,
        KINI_OBJECT_TYPES,
        __BYTE_ORDER__,
    };
    uint64_t stamp = 0;
    for (size_t i = 0; i < KINI_COUNT(facts); i++)
        stamp = kini_mix(stamp ^ facts[i]);
    return stamp;
}

/* Where the tables lie in an arena of that size. Units that the tables take are not in the map. */
void kini_place_tables(struct kini_super_shm *super, uint64_t reserve)
{
    const uint64_t page = 65536, units = reserve / KINI_UNIT_BYTES;
    uint64_t at = page;
    super->reserve_bytes = reserve;
    super->participants_off = at;
    at += kini_round_up(KINI_PARTICIPANTS_MAX * sizeof(struct kini_participant_shm), page);
    super->threads_off = at;
    at += kini_round_up(KINI_THREADS_MAX * sizeof(struct kini_thread_shm), page);
    super->objects_off = at;
    at += kini_round_up(KINI_OBJECTS_MAX * sizeof(struct kini_object_shm), page);
    super->bitmaps_off = at;
    at += kini_round_up((uint64_t)KINI_PARTICIPANTS_MAX * KINI_BITMAP_BYTES, page);
    super->spans_off = at;
    at += kini_round_up(units * sizeof(struct kini_span_shm), page);
    super->free_map_off = at;
    at += kini_round_up(units / 8 + 8, page);
    super->commit_map_off = at;
    at += kini_round_up(units / 8 + 8, page);
    super->data_off = at;
    super->units_count = (reserve - at) / KINI_UNIT_BYTES;
}

void kini_bind_tables(struct kin_arena *arena)
{
    struct kini_super_shm *super = arena->super;
    arena->participants = kini_at(arena, super->participants_off);
    arena->threads = kini_at(arena, super->threads_off);
    arena->objects = kini_at(arena, super->objects_off);
    arena->spans = kini_at(arena, super->spans_off);
    arena->free_map = kini_at(arena, super->free_map_off);
    arena->commit_map = kini_at(arena, super->commit_map_off);
}

static int fill(struct kin_arena *arena, const struct kin_arena_opts *opts)
{
    int r = kini_os_memory_commit(arena->fd, 0, 65536);
    if (r < 0)
        return r;
    struct kini_super_shm *super = arena->super = (void *)arena->base;
    r = kini_name_copy(super->name, opts->name);
    if (r < 0)
        return r;
    kini_place_tables(super, arena->bytes);
    kini_bind_tables(arena);
    r = kini_os_memory_commit(arena->fd, super->free_map_off,
                              super->data_off - super->free_map_off);
    if (r < 0)
        return r;
    super->stamp = kini_layout_stamp();
    super->uuid[0] = kini_mix((uint64_t)kin_now_ns() ^ (uint64_t)getpid() << 32);
    super->uuid[1] = kini_mix(super->uuid[0] ^ arena->inode);
    kini_ilock_init(&super->span_lock, KINI_ILOCK_SPANS);
    kini_ilock_init(&super->object_lock, KINI_ILOCK_OBJECTS);
    kini_ilock_init(&super->hold_lock, KINI_ILOCK_HOLDS);
    kini_store_rel(&super->magic, KINI_MAGIC); /* the last word */
    return 0;
}

int kini_arena_join(struct kin_arena *arena, uint32_t slot, int token)
{
    const int given = token;
    int r = token < 0 ? kini_participant_reserve(arena, &slot, &token) : 0;
    if (r < 0)
        return r;
    if (given < 0)
        kini_bitmap_fill(arena, slot, NULL, 0); /* of nobody's child */
    kini_participant_adopt(arena, slot, token);
    kini_store(arena->guard, kini_new_cookie());
    return kini_enter(arena) == NULL ? kini_enter_error() : 0;
}

void kini_arena_free(struct kin_arena *arena)
{
    if (kini_last_self != NULL && kini_last_self->arena == arena)
        kini_last_self->arena = NULL;
    if (arena->base != NULL)
        kini_os_memory_unmap(arena->base, arena->bytes);
    kini_os_close(arena->fd);
    kini_os_close(arena->token_fd);
    kini_os_close(arena->lifeline_keep);
    kini_os_close(arena->lifeline_watch);
    kini_os_close(arena->lifeline_bound);
    kini_os_bell_sender_close(&arena->bell_sender);
    kini_os_close(arena->seat_fd); /* last: until then nobody makes another arena of the name */
    if (arena->guard != NULL)
        kini_os_guard_page_free(arena->guard);
    pthread_mutex_destroy(&arena->mutex);
    free(arena->handles);
    free(arena->received);
    kini_inherited_free(arena);
    free(arena);
}

struct kin_arena *kini_arena_new(void)
{
    struct kin_arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL)
        return NULL;
    arena->fd = arena->token_fd = arena->seat_fd = -1;
    arena->lifeline_keep = arena->lifeline_watch = arena->lifeline_bound = -1;
    arena->handles = calloc(KINI_OBJECTS_MAX, sizeof *arena->handles);
    arena->guard = kini_os_guard_page();
    pthread_mutex_init(&arena->mutex, NULL);
    if (arena->guard != NULL && arena->handles != NULL)
        return arena;
    kini_arena_free(arena);
    return NULL;
}

int kini_arena_build(struct kin_arena *arena, const struct kin_arena_opts *opts)
{
    uint64_t wanted = opts->reserve_bytes ? opts->reserve_bytes : DEFAULT_RESERVE;
    if (wanted < KINI_LEAST_RESERVE)
        return kini_fail(-EINVAL, "reserve_bytes is %llu; at least %llu is needed",
                         (unsigned long long)wanted, (unsigned long long)KINI_LEAST_RESERVE);
    arena->inode = kini_os_inode(arena->fd);
    void *base;
    int r = kini_os_memory_map(arena->fd, wanted, KINI_LEAST_RESERVE, &base, &arena->bytes);
    if (r < 0)
        return r;
    arena->base = base;
    return fill(arena, opts);
}

static int make(struct kin_arena *arena, const struct kin_arena_opts *opts)
{
    int r = kini_os_memory_create("kin");
    if (r < 0)
        return r;
    arena->fd = r;
    r = kini_arena_build(arena, opts);
    if (r == 0)
        r = kini_arena_join(arena, 0, -1);
    if (r == 0 && (r = kini_fork_register(arena)) < 0)
        kini_arena_leave(arena);
    return r;
}

int kin_arena_create(const struct kin_arena_opts *given, struct kin_arena **ret_arena)
{
    struct kin_arena_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = kini_no_flags(opts.flags)) < 0)
        return r;
    if (opts.path != NULL)
        return kini_fail(-EINVAL, "an arena with a path is opened, not created");
    struct kin_arena *arena = kini_arena_new();
    if (arena == NULL)
        return kini_fail(-ENOMEM, "no memory for the arena handle");
    r = make(arena, &opts);
    if (r < 0) {
        kini_arena_free(arena);
        return r;
    }
    *ret_arena = arena;
    return 0;
}

/* Give back what this process holds. All its threads must be done with the arena. */
void kini_arena_leave(struct kin_arena *arena)
{
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return;
    struct kini_participant_shm *p = &arena->participants[arena->slot];
    uint64_t state = kini_load(&p->state);
    uint32_t gen = KINI_STATE_GEN(state);
    kini_store_rel(&p->state, KINI_STATE_WORD(gen, KINI_STATE_PARENT(state), KINI_EXITING));
    struct kini_self *next;
    for (struct kini_self *other = arena->selves; other != NULL; other = next) {
        next = other->next_in_arena;
        if (other != self)
            kini_self_release(other);
    }
    /* Our lists of spans first: the sweep gives the spans to whoever wants them. */
    kini_block_caches_release(self);
    kini_reap_steps(self, arena->slot);
    if (kini_last_self == self)
        kini_last_self = NULL;
    kini_compiler_barrier();
    kini_self_release(self);
    arena->selves = NULL;
    kini_pollers_forget(arena); /* their records went with the others of this process */
    kini_store(arena->guard, 0);
    kini_store_rel(&p->state, KINI_STATE_WORD(gen, 0, KINI_FREE));
}

void kin_arena_detach(struct kin_arena *arena)
{
    if (arena == NULL)
        return;
    if (arena->leave_children != NULL)
        arena->leave_children(arena);
    kini_arena_leave(arena);
    kini_fork_unregister(arena);
    kini_arena_free(arena);
}

int kin_arena_stat(struct kin_arena *arena, struct kin_arena_stats *ret_stat)
{
    if (ret_stat->size < sizeof(uint32_t) || ret_stat->size > sizeof *ret_stat)
        return kini_fail(-EINVAL, "size of the stat structure is %u", ret_stat->size);
    struct kini_super_shm *super = arena->super;
    struct kin_arena_stats stat = {.size = ret_stat->size};
    for (uint32_t i = 1; i < kini_load_acq(&super->participants_high); i++) {
        stat.participants_count +=
            KINI_STATE(kini_load_acq(&arena->participants[i].state)) != KINI_FREE;
        stat.deaths_count += kini_load(&arena->participants[i].deaths) >> 32;
    }
    for (uint32_t i = 1; i < kini_load_acq(&super->threads_high); i++)
        stat.threads_count += (uint32_t)(kini_load_acq(&arena->threads[i].state) & 1);
    for (uint32_t i = 1; i < kini_load_acq(&super->objects_high); i++)
        stat.objects_count +=
            KINI_OBJECT_STATE(kini_load_acq(&arena->objects[i].state)) == KINI_OBJECT_LIVE;
    stat.reserved_bytes = super->reserve_bytes;
    kini_os_memory_used(arena->fd, &stat.committed_bytes);
    for (uint32_t i = 0; i < (kini_load_acq(&super->units_high) + 63) / 64; i++)
        stat.used_bytes +=
            (uint64_t)__builtin_popcountll(kini_load(&arena->free_map[i])) * KINI_UNIT_BYTES;
    memcpy(ret_stat, &stat, ret_stat->size);
    return 0;
}
