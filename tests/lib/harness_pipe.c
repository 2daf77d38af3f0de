/* SPDX-License-Identifier: MIT
 * The kill harness and pipes. */
#include "harness_pipe.h"

#include <stdlib.h>
#include <unistd.h>

struct kin_pipe *kill_pipe_ends[2];
bool kill_pipe_dropped[2];

/* --- before ----------------------------------------------------------------------------------- */

void kill_pipe_send_number(struct kin_pipe *end, uint32_t bytes, uint32_t number)
{
    static unsigned char message[KILL_BUFFER];
    kill_message_make(message, bytes, number);
    int r = kin_pipe_try_send(end, message, bytes);
    if (r < 0)
        kill_fail("message %u cannot be sent: %d %s", number, r, kin_error_text());
}

void kill_pipe_setup(struct kill_world *world)
{
    const struct kill_scenario *s = world->scenario;
    const struct kin_pipe_opts opts = {.capacity_bytes = s->max_items};
    kill_pipe_dropped[0] = kill_pipe_dropped[1] = false;
    if (kin_pipe_create(world->live, &opts, &kill_pipe_ends[0], &kill_pipe_ends[1]) < 0)
        kill_broken("no pipe: %s", kin_error_text());
    for (uint32_t i = 0; i < s->rotate; i++) {
        static unsigned char got[KILL_BUFFER];
        kill_pipe_send_number(kill_pipe_ends[0], s->bytes, 0);
        if (kin_pipe_try_recv(kill_pipe_ends[1], got, sizeof got) < 0)
            kill_broken("a message does not come out");
    }
    for (uint32_t i = 0; i < s->items; i++)
        kill_pipe_send_number(kill_pipe_ends[0], s->bytes, i);
}

void kill_pipe_setup_alone(struct kill_world *world)
{
    kill_pipe_setup(world);
    struct kini_queue_shm *ring = &kill_pipe_ends[1]->in->ring;
    struct kini_segment_shm *segment = kini_segment_of(world->live, ring->get_at);
    if (segment->put_solo.owner == 0 || segment->get_solo.owner == 0)
        kill_broken("a side is shared already");
    segment->put_solo.owner = segment->get_solo.owner = KINI_SOLO_FREE;
}

void kill_pipe_forget(struct kill_world *world, struct kin_pipe *end)
{
    kini_a64 *row = kini_at(world->live, world->live->super->bitmaps_off +
                                             (uint64_t)world->live->slot * KINI_BITMAP_BYTES);
    row[end->handle.id / 64] &= ~(1ull << (end->handle.id % 64));
}

static void drop(struct kill_world *world, uint32_t end)
{
    kill_pipe_forget(world, kill_pipe_ends[end]);
    kill_pipe_dropped[end] = true;
}

void kill_pipe_drop_a(struct kill_world *world)
{
    drop(world, 0);
}

void kill_pipe_drop_b(struct kill_world *world)
{
    drop(world, 1);
}

void kill_pipe_drop_both(struct kill_world *world)
{
    drop(world, 0);
    drop(world, 1);
}

void kill_pipe_over(struct kill_world *world)
{
    struct kin_pipe *ends[2] = {kill_pipe_ends[0], kill_pipe_ends[1]};
    (void)world;
    for (uint32_t i = 0; i < 2; i++) {
        if (ends[i] != NULL && ends[i]->sock >= 0)
            close(ends[i]->sock);
        free(ends[i]);
    }
    kill_pipe_ends[0] = kill_pipe_ends[1] = NULL;
}

/* --- what the victims do ---------------------------------------------------------------------- */

int64_t kill_pipe_op_send(struct kill_world *world, uint32_t who)
{
    const unsigned char *message = world->page->actors[who].buffer;
    return kin_pipe_try_send(kill_pipe_ends[0], message, world->scenario->bytes);
}

int64_t kill_pipe_op_recv(struct kill_world *world, uint32_t who)
{
    return kin_pipe_try_recv(kill_pipe_ends[1], world->page->actors[who].buffer, KILL_BUFFER);
}

int64_t kill_pipe_op_close_a(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    kin_pipe_close(kill_pipe_ends[0]);
    return 0;
}

int64_t kill_pipe_op_close_b(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    kin_pipe_close(kill_pipe_ends[1]);
    return 0;
}

void kill_pipe_warm(struct kill_world *world, uint32_t who)
{
    (void)who;
    kini_enter(world->live);
}

/* --- in the arena that is checked ---------------------------------------------------------------
 */

static void rebind(struct kill_view *view, struct kin_queue *ring,
                   struct kini_pipe_direction_shm **direction, struct kin_arena *from)
{
    *direction = kini_at(view->arena, kini_offset(from, *direction));
    ring->handle.arena = view->arena;
    ring->handle.shm = ring->shm = &(*direction)->ring;
}

struct kin_pipe *kill_pipe_in(struct kill_view *view, const struct kin_pipe *of)
{
    struct kin_arena *from = of->handle.arena;
    struct kin_pipe *end = malloc(sizeof *end);
    if (end == NULL)
        kill_broken("no memory for a handle");
    *end = *of;
    end->sock = -1;
    end->handle = kill_handle(view, of);
    end->pipe = kini_at(view->arena, kini_offset(from, of->pipe));
    rebind(view, &end->in_ring, &end->in, from);
    rebind(view, &end->out_ring, &end->out, from);
    return end;
}

uint64_t kill_pipe_unsettled(const struct kin_pipe *end)
{
    const struct kini_pipe_direction_shm *in = end->in;
    return in->sent + in->sent_solo - in->received - in->received_solo;
}

uint32_t kill_pipe_objects(struct kill_view *view)
{
    uint32_t count = 0;
    for (uint32_t id = 1; id < view->arena->super->objects_high; id++)
        count += KINI_OBJECT_STATE(view->arena->objects[id].state) != KINI_OBJECT_FREE;
    return count;
}
