/* SPDX-License-Identifier: MIT
 * Copies of an arena: take, compare, put back; and what a process knows privately. */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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
    ranges[n++] = (struct range){super->data_off, (uint64_t)super->units_high * KINI_UNIT_BYTES};
    return n;
}

/* Of the bitmaps only the first words of each row can be in use. */
static uint32_t bitmap_row(const struct kini_super_shm *super, uint32_t slot, struct range *range)
{
    range->from = super->bitmaps_off + (uint64_t)slot * KINI_BITMAP_BYTES;
    range->bytes = (super->objects_high + 63) / 64 * 8;
    return range->from + KINI_BITMAP_BYTES <= super->bitmaps_off + super->bitmaps_committed;
}

#define EACH_ROW(super, slot, range)                                                               \
    for (uint32_t slot = 1; bitmap_row((super), slot, &(range)); slot++)

void kill_image_open(struct kill_image *image)
{
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
    image->valid = true;
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
}

/* --- private knowledge ------------------------------------------------------------------------ */

void kill_caches_copy(struct kini_self *to, const struct kini_self *from)
{
    to->locks = from->locks;
    for (uint32_t i = 0; i < KINI_CLASSES; i++) {
        struct kini_class_cache *t = &to->classes[i];
        const struct kini_class_cache *f = &from->classes[i];
        if (t->spans_room < f->spans_count) {
            t->spans = realloc(t->spans, f->spans_count * sizeof *t->spans);
            if (t->spans == NULL)
                kill_broken("no memory for a copy of caches");
            t->spans_room = f->spans_count;
        }
        if (f->spans_count > 0)
            memcpy(t->spans, f->spans, f->spans_count * sizeof *t->spans);
        t->spans_count = f->spans_count;
        t->cursor_span = f->cursor_span;
        t->cursor_block = f->cursor_block;
        t->count = f->count;
        memcpy(t->free, f->free, f->count * sizeof t->free[0]);
    }
}

struct kini_self *kill_self_blank(void)
{
    struct kini_self *self = calloc(1, sizeof *self);
    if (self == NULL)
        kill_broken("no memory for a copy of caches");
    return self;
}

/* --- death ------------------------------------------------------------------------------------ */

/* A process that has been: no process will have its pid and its identity again. */
static pid_t gone_pid(void)
{
    static pid_t pid;
    if (pid == 0) {
        pid = vfork();
        if (pid == 0)
            _exit(0);
        waitpid(pid, NULL, 0);
    }
    return pid;
}

void kill_declare_dead(struct kin_arena *arena, uint32_t slot)
{
    struct kini_participant_shm *p = &arena->participants[slot];
    if (kini_load(&p->pid) == 0)
        return; /* the token decides: nobody holds it in the copy */
    kini_store(&p->pid, (uint32_t)gone_pid());
    kini_store(&p->start_ticks, 1);
    if (kini_load(&p->pidfd_inode) != 0)
        kini_store(&p->pidfd_inode, 1);
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
    gone_pid();
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
    /* A living peer maps the live arena; and only one of the two is asked at a time. */
    copy->inode = world->live->inode;
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
    queue->arena = arena;
    queue->shm = kini_at(arena, kini_offset(of->arena, of->shm));
    queue->id = of->id;
    kini_store(&queue->head_seen, kini_load(&of->head_seen));
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
