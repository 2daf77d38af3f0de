/* SPDX-License-Identifier: MIT
 * Copies of an arena: take, compare, put back; and what a process knows privately. */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* --- the used parts -------------------------------------------------------------------------- */

#define RANGES_MOST 8u

struct range {
    uint64_t from, bytes;
};

static uint32_t used_ranges(const struct kini_super_shm *super, struct range *ranges)
{
    uint32_t n = 0;
    const uint64_t map_bytes = (super->units_count + 63) / 64 * 8;
    ranges[n++] = (struct range){0, sizeof *super};
    ranges[n++] = (struct range){super->participants_off, super->participants_committed};
    ranges[n++] = (struct range){super->threads_off, super->threads_committed};
    ranges[n++] = (struct range){super->objects_off, super->objects_committed};
    ranges[n++] = (struct range){super->spans_off, super->spans_committed};
    ranges[n++] = (struct range){super->free_map_off, map_bytes};
    ranges[n++] = (struct range){super->commit_map_off, map_bytes};
    return n;
}

/* What is in the next unit, from *unit on, whose content means something: not that of free units,
 * nor that of runs which somebody is setting up or taking down, unless all is wanted. Of a large
 * block the units without memory read as zero; they are not touched, so that they stay without. */
static bool next_unit(const char *base, bool all, uint32_t *unit, struct range *range)
{
    const struct kini_super_shm *super = (const void *)base;
    const struct kini_span_shm *spans = (const void *)(base + super->spans_off);
    const uint64_t *commit = (const void *)(base + super->commit_map_off);
    for (uint32_t at = *unit; at < super->units_high; at++) {
        uint32_t head = at, kind = KINI_SPAN_KIND(spans[at].state);
        while (kind == KINI_SPAN_CONT && head > 0)
            kind = KINI_SPAN_KIND(spans[--head].state);
        bool settled = kind == KINI_SPAN_SMALL || kind == KINI_SPAN_LARGE;
        if (!settled && (kind == KINI_SPAN_FREE || !all))
            continue;
        *unit = at + 1;
        range->from = super->data_off + (uint64_t)at * KINI_UNIT_BYTES;
        range->bytes = commit[at / 64] >> (at % 64) & 1 ? KINI_UNIT_BYTES : 0;
        return true;
    }
    return false;
}

#define EACH_UNIT(base, all, range)                                                                \
    for (uint32_t unit_ = 0; next_unit((base), (all), &unit_, &(range));)

/* Of the bitmaps only the first words of each row can be in use. */
static uint32_t bitmap_row(const struct kini_super_shm *super, uint32_t slot, struct range *range)
{
    range->from = super->bitmaps_off + (uint64_t)slot * KINI_BITMAP_BYTES;
    range->bytes = (super->objects_high + 63) / 64 * 8;
    return range->from + KINI_BITMAP_BYTES <= super->bitmaps_off + super->bitmaps_committed;
}

#define EACH_ROW(super, slot, range)                                                               \
    for (uint32_t slot = 1; bitmap_row((super), slot, &(range)); slot++)

void kill_image_open(struct kill_image *image, bool all)
{
    image->all = all;
    image->base = mmap(NULL, KILL_RESERVE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (image->base == MAP_FAILED)
        kill_broken("no memory for an image");
    image->valid = false;
}

void kill_image_close(struct kill_image *image)
{
    munmap(image->base, KILL_RESERVE);
}

void kill_image_take(struct kill_image *image, const struct kin_arena *arena)
{
    struct range r[RANGES_MOST], row;
    uint32_t n = used_ranges(arena->super, r);
    for (uint32_t i = 0; i < n; i++)
        memcpy(image->base + r[i].from, arena->base + r[i].from, r[i].bytes);
    EACH_ROW(arena->super, slot, row)
    memcpy(image->base + row.from, arena->base + row.from, row.bytes);
    EACH_UNIT(arena->base, image->all, row)
    memcpy(image->base + row.from, arena->base + row.from, row.bytes);
    image->valid = true;
}

static uint64_t hash_range(const char *base, struct range range, uint64_t hash)
{
    const uint64_t *words = (const void *)(base + range.from);
    for (uint64_t i = 0; i < range.bytes / 8; i++) {
        hash ^= words[i];
        hash *= 0x9e3779b97f4a7c15ull;
        hash = hash << 23 | hash >> 41;
    }
    return hash;
}

uint64_t kill_image_hash(const struct kin_arena *arena)
{
    struct range r[RANGES_MOST], row;
    uint64_t hash = 0;
    uint32_t n = used_ranges(arena->super, r);
    for (uint32_t i = 0; i < n; i++)
        hash = hash_range(arena->base, r[i], hash);
    EACH_UNIT(arena->base, true, row)
    hash = hash_range(arena->base, row, hash);
    return hash;
}

bool kill_image_same(const struct kill_image *image, const struct kin_arena *arena)
{
    struct range r[RANGES_MOST], row;
    if (!image->valid || memcmp(image->base, arena->base, sizeof *arena->super) != 0)
        return false;
    uint32_t n = used_ranges(arena->super, r);
    for (uint32_t i = 1; i < n; i++)
        if (memcmp(image->base + r[i].from, arena->base + r[i].from, r[i].bytes) != 0)
            return false;
    EACH_ROW(arena->super, slot, row)
    if (memcmp(image->base + row.from, arena->base + row.from, row.bytes) != 0)
        return false;
    EACH_UNIT(arena->base, image->all, row)
    if (memcmp(image->base + row.from, arena->base + row.from, row.bytes) != 0)
        return false;
    return true;
}

static void clear_beyond(char *base, uint64_t table, uint64_t image_bytes, uint64_t now_bytes)
{
    if (now_bytes > image_bytes)
        memset(base + table + image_bytes, 0, now_bytes - image_bytes);
}

void kill_image_restore(const struct kill_image *image, struct kin_arena *arena)
{
    const struct kini_super_shm *super = (const void *)image->base, *now = arena->super;
    char *base = arena->base;
    struct range r[RANGES_MOST], row;
    uint64_t file_bytes = 0;
    if (kini_os_memory_length(arena->fd, &file_bytes) < 0)
        kill_broken("the length of the file is not known");
    /* what came into use here since, and was not in use there */
    EACH_ROW(now, slot, row)
    memset(base + row.from, 0, row.bytes);
    clear_beyond(base, super->participants_off, super->participants_committed,
                 now->participants_committed);
    clear_beyond(base, super->threads_off, super->threads_committed, now->threads_committed);
    clear_beyond(base, super->objects_off, super->objects_committed, now->objects_committed);
    clear_beyond(base, super->spans_off, super->spans_committed, now->spans_committed);
    uint32_t n = used_ranges(super, r);
    for (uint32_t i = 0; i < n; i++)
        memcpy(base + r[i].from, image->base + r[i].from, r[i].bytes);
    EACH_ROW(super, slot, row)
    memcpy(base + row.from, image->base + row.from, row.bytes);
    EACH_UNIT(image->base, image->all, row)
    if (row.bytes > 0)
        memcpy(base + row.from, image->base + row.from, row.bytes);
    else if (row.from + KINI_UNIT_BYTES <= file_bytes) /* behind its end nothing may be touched */
        memset(base + row.from, 0, KINI_UNIT_BYTES);
}

/* --- private knowledge ------------------------------------------------------------------------ */

static void copy_class(struct kini_class_cache *to, const struct kini_class_cache *from)
{
    if (to->spans_room < from->spans_count) {
        to->spans = realloc(to->spans, from->spans_count * sizeof *to->spans);
        if (to->spans == NULL)
            kill_broken("no memory for a copy of caches");
        to->spans_room = from->spans_count;
    }
    if (from->spans_count > 0)
        memcpy(to->spans, from->spans, from->spans_count * sizeof *to->spans);
    to->spans_count = from->spans_count;
    to->cursor_span = from->cursor_span;
    to->cursor_block = from->cursor_block;
    to->freed = from->freed;
    to->count = from->count;
    memcpy(to->free, from->free, from->count * sizeof to->free[0]);
}

void kill_caches_copy(struct kini_self *to, const struct kini_self *from)
{
    to->locks = from->locks;
    if (from->classes == NULL) {
        kini_self_forget_classes(to);
        return;
    }
    if (to->classes == NULL)
        to->classes = calloc(KINI_CLASSES, sizeof to->classes[0]);
    if (to->classes == NULL)
        kill_broken("no memory for a copy of caches");
    for (uint32_t i = 0; i < KINI_CLASSES; i++)
        copy_class(&to->classes[i], &from->classes[i]);
}

struct kini_self *kill_self_blank(void)
{
    struct kini_self *self = calloc(1, sizeof *self);
    if (self == NULL)
        kill_broken("no memory for a copy of caches");
    return self;
}

/* --- death ------------------------------------------------------------------------------------ */

/* The pid of nobody: no kernel gives out one so large, so it is never used again, as that of a
 * process that has been would be after 32768 others. */
#define GONE_PID 0x3fffffffu

static void declare_dead(struct kini_participant_shm *p)
{
    kini_store(&p->pid, GONE_PID);
    kini_store(&p->start_ticks, 1);
    if (kini_load(&p->pidfd_inode) != 0)
        kini_store(&p->pidfd_inode, 1);
}

void kill_declare_dead(struct kin_arena *arena, uint32_t slot)
{
    uint32_t pid = kini_load(&arena->participants[slot].pid);
    if (pid == 0)
        return; /* the token decides: nobody holds it in the copy */
    for (uint32_t i = 2; i < arena->super->participants_high; i++)
        if (kini_load(&arena->participants[i].pid) == pid) /* it may be two for a moment */
            declare_dead(&arena->participants[i]);
}

uint32_t kill_slot_of(const struct kin_arena *arena, pid_t pid)
{
    for (uint32_t slot = 1; slot < arena->super->participants_high; slot++)
        if (KINI_STATE(arena->participants[slot].state) == KINI_LIVE &&
            arena->participants[slot].pid == (uint32_t)pid)
            return slot;
    return 0;
}

/* --- the copy --------------------------------------------------------------------------------- */

void kill_copy_open(struct kill_world *world)
{
    static struct kin_arena *copy; /* one for all worlds */
    static struct kini_self *self;
    if (copy == NULL) {
        struct kin_arena_opts opts = {.reserve_bytes = KILL_RESERVE, .name = "copy"};
        if (kin_arena_create(&opts, &copy) < 0)
            kill_broken("no arena for copies: %s", kin_error_text());
        kini_fork_unregister(copy); /* victims have nothing to do with it */
        if (kini_os_memory_commit(copy->fd, KILL_RESERVE - 65536, 65536) < 0)
            kill_broken("no memory for copies: %s", kin_error_text());
        self = kini_enter(copy);
    }
    world->copy = copy;
    world->copy_self = self;
    if (copy->slot != world->live->slot || self->index != world->live_self->index ||
        copy->generation != world->live->generation)
        kill_broken("the harness is not the same participant in the copy");
}

static struct kin_queue *queue_handle(struct kin_arena *arena, const struct kin_queue *of)
{
    if (of == NULL)
        return NULL;
    struct kin_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL)
        kill_broken("no memory for a handle");
    memcpy(queue, of, sizeof *queue);
    queue->handle.arena = arena;
    queue->handle.epoch = arena->epoch;
    queue->handle.shm = queue->shm = kini_at(arena, kini_offset(of->handle.arena, of->shm));
    return queue;
}

void kill_view_of_copy(struct kill_world *world, struct kill_view *ret_view)
{
    kill_image_restore(&world->last, world->copy);
    kill_caches_copy(world->copy_self, world->live_self);
    kini_store(&world->copy->reaping, 0);
    kini_last_self = world->copy_self;
    *ret_view = (struct kill_view){.arena = world->copy,
                                   .self = world->copy_self,
                                   .queue = queue_handle(world->copy, world->queue),
                                   .world = world};
}

void kill_view_of_live(struct kill_world *world, struct kill_view *ret_view)
{
    kini_last_self = world->live_self;
    *ret_view = (struct kill_view){.arena = world->live,
                                   .self = world->live_self,
                                   .queue = queue_handle(world->live, world->queue),
                                   .world = world};
}
