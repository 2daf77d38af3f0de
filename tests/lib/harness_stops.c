/* SPDX-License-Identifier: MIT
 * Where it pays to stop an operation so that another one may come in between: before each step that
 * changes the arena, as all that it has read so far may be old by then; and now and then elsewhere.
 */
#include "harness.h"

#include <string.h>

void kill_stops_find(struct kill_world *world, const struct kill_victim *from,
                     struct kill_stops *ret_stops)
{
    static struct kill_image image;
    struct kill_victim scout;
    if (image.base == NULL)
        kill_image_open(&image, true);
    memset(ret_stops, 0, sizeof *ret_stops);
    kill_victim_copy(world, from, &scout);
    kill_image_take(&image, world->live);
    while (!scout.done && !scout.blocked && scout.steps < KILL_STOPS_MOST) {
        uint64_t steps = scout.steps;
        kill_victim_step(world, &scout);
        if (kill_image_same(&image, world->live))
            continue;
        ret_stops->before[steps] = 1;
        kill_image_take(&image, world->live);
    }
    kill_victim_end(&scout);
}

void kill_stops_thin(struct kill_stops *stops, uint32_t every, uint32_t offset)
{
    uint32_t seen = offset;
    for (uint64_t i = 0; i < KILL_STOPS_MOST && every > 1; i++)
        if (stops->before[i] && seen++ % every != 0)
            stops->before[i] = 0;
}

uint64_t kill_stops_next(const struct kill_stops *stops, uint64_t at, uint32_t stride)
{
    for (uint64_t i = at + 1; i < at + stride && i < KILL_STOPS_MOST; i++)
        if (stops->before[i])
            return i;
    return at + stride;
}
