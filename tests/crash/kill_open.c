/* SPDX-License-Identifier: MIT
 * Names: killed while an end of a pipe is opened by name, or closed; two at once at one name. What
 * is there of a pipe afterwards is asked by its name. */
#include "lib/harness_pipe.h"

#include <errno.h>
#include <stdlib.h>

#define NAME  "name"
#define ITEMS 3

static struct kin_pipe *ours[2]; /* the harness's own ends in the live arena */
static struct kin_pipe *mine;    /* the victim's own */

static struct kin_pipe *open_or_break(struct kin_arena *arena, enum kin_pipe_side side)
{
    struct kin_pipe *end = NULL;
    if (kin_pipe_open(arena, NAME, side, NULL, &end) < 0)
        kill_broken("an end cannot be opened: %s", kin_error_text());
    return end;
}

static void fill(struct kin_pipe *end)
{
    kill_pipe_send_number(end, 40, 0);
    kill_pipe_send_number(end, 500, 1);
    kill_pipe_send_number(end, 33000, 2);
}

/* --- before ----------------------------------------------------------------------------------- */

static void setup_nothing(struct kill_world *world)
{
    (void)world;
    ours[0] = ours[1] = NULL;
}

static void setup_a(struct kill_world *world)
{
    setup_nothing(world);
    ours[0] = open_or_break(world->live, KIN_PIPE_A);
    fill(ours[0]);
}

static void setup_both(struct kill_world *world)
{
    setup_a(world);
    ours[1] = open_or_break(world->live, KIN_PIPE_B);
}

static void over(struct kill_world *world)
{
    (void)world;
    free(ours[0]);
    free(ours[1]);
}

static void warm_nothing(struct kill_world *world)
{
    if (kini_enter(world->live) == NULL)
        kill_broken("%s", kin_error_text());
}

/* Only the first of the victims has it before. */
static void warm_a(struct kill_world *world, uint32_t who)
{
    warm_nothing(world);
    if (who != 0)
        return;
    mine = open_or_break(world->live, KIN_PIPE_A);
    fill(mine);
}

static void warm_second(struct kill_world *world, uint32_t who)
{
    warm_a(world, 1 - who);
}

static void warm_b(struct kill_world *world, uint32_t who)
{
    warm_nothing(world);
    if (who == 0)
        mine = open_or_break(world->live, KIN_PIPE_B);
}

/* --- what the victims do ---------------------------------------------------------------------- */

static int64_t op_open_a(struct kill_world *world, uint32_t who)
{
    (void)who;
    return kin_pipe_open(world->live, NAME, KIN_PIPE_A, NULL, &mine);
}

static int64_t op_open_b(struct kill_world *world, uint32_t who)
{
    (void)who;
    return kin_pipe_open(world->live, NAME, KIN_PIPE_B, NULL, &mine);
}

static int64_t op_close(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    kin_pipe_close(mine);
    return 0;
}

static int64_t op_nothing(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    return 0;
}

/* --- what must hold --------------------------------------------------------------------------- */

/* Who has that end for certain: somebody who lives, or the harness. */
static bool is_had(struct kill_world *world, enum kin_pipe_side side)
{
    bool had = ours[side] != NULL;
    for (uint32_t who = 0; who < 2; who++)
        had = had || (world->scenario->operate[who] == (side ? op_open_b : op_open_a) &&
                      world->done[who] && world->dead_slots[who] == 0 &&
                      world->page->actors[who].result == 0);
    return had;
}

/* Whether somebody may have it: he is in the middle of something. */
static bool may_be_had(struct kill_world *world)
{
    bool may = false;
    for (uint32_t who = 0; who < 2; who++)
        may = may || (world->scenario->operate[who] != NULL &&
                      world->scenario->operate[who] != op_nothing && !world->done[who] &&
                      world->dead_slots[who] == 0);
    return may;
}

/* An end is closed once somebody had it and died. -EBUSY: the harness took longer than anybody
 * waits for one that was stopped. */
static void check_results(struct kill_world *world)
{
    for (uint32_t who = 0; who < 2; who++) {
        int64_t r = world->page->actors[who].result;
        bool rival = world->scenario->operate[0] == world->scenario->operate[1] &&
                     world->dead_slots[1 - who] != 0;
        KILL_CHECK(!world->done[who] || world->scenario->operate[who] == NULL || r == 0 ||
                       (r == -EPIPE && rival && ours[0] != NULL) ||
                       (r == -EBUSY && (world->scenario->flags & KILL_NAPS)),
                   "actor %u is answered %lld", who, (long long)r);
    }
}

static struct kin_pipe *find(struct kill_view *view, enum kin_pipe_side side, bool had)
{
    struct kin_pipe *end = NULL;
    int r = kin_pipe_find(view->arena, NAME, side, &end);
    KILL_CHECK(r == 0 || r == -EPIPE || r == -ENOENT, "end %u: %d: %s", side, r, kin_error_text());
    KILL_CHECK(r == 0 || !had, "end %u is held, and cannot be found: %s", side, kin_error_text());
    return end;
}

/* All that was sent from a comes to b once and in its order. */
static void drain(struct kin_pipe *end, bool whole)
{
    static unsigned char buffer[KILL_BUFFER];
    static const uint32_t bytes[ITEMS] = {40, 500, 33000};
    uint32_t next = 0;
    int64_t r;
    while ((r = kin_pipe_try_recv(end, buffer, sizeof buffer)) >= 0) {
        KILL_CHECK(next < ITEMS && kill_message_number(buffer, r, bytes[next]) == next,
                   "a damaged message comes out, %lld bytes", (long long)r);
        next++;
    }
    KILL_CHECK(r == -EAGAIN || r == -ESHUTDOWN, "the drained pipe answers %lld", (long long)r);
    KILL_CHECK(!whole || next == ITEMS, "only %u messages come out", next);
}

static void check_talk(struct kin_pipe *x, struct kin_pipe *y)
{
    char got[10];
    int r = kin_pipe_try_send(x, "there", 6), q = kin_pipe_try_send(y, "back", 5);
    KILL_CHECK(r == 0 && q == 0, "a fresh message cannot be sent: %d %d", r, q);
    KILL_CHECK(kin_pipe_try_recv(y, got, 10) == 6 && kin_pipe_try_recv(x, got, 10) == 5,
               "a fresh message does not come out");
}

static void check_end(struct kin_pipe *left)
{
    static char got[KILL_BUFFER];
    int r = kin_pipe_try_send(left, got, 1);
    KILL_CHECK(r == -EPIPE, "sending to a closed end answers %d", r);
    int64_t q;
    while ((q = kin_pipe_try_recv(left, got, sizeof got)) >= 0)
        ;
    KILL_CHECK(q == -ESHUTDOWN, "receiving from a closed end answers %lld", (long long)q);
}

/* Handles of the harness in the arena of the view; the ones of the live arena hold no less. */
static void check_ends(struct kill_world *world, struct kill_view *view)
{
    bool had[2] = {is_had(world, KIN_PIPE_A), is_had(world, KIN_PIPE_B)},
         unsure = may_be_had(world);
    struct kin_pipe *a = find(view, KIN_PIPE_A, had[0]), *b = find(view, KIN_PIPE_B, had[1]);
    if (b != NULL)
        drain(b, ours[0] != NULL);
    if (a != NULL && b != NULL)
        check_talk(a, b);
    else if (a != NULL || b != NULL)
        check_end(a != NULL ? a : b);
    kin_pipe_close(b); /* it was opened now: with its last holder it is closed */
    if (a != NULL && !had[1] && !unsure)
        check_end(a);
    kin_pipe_close(a);
}

/* What nobody holds is gone: the harness gives back what it has, too. */
static void let_go(struct kill_view *view)
{
    for (uint32_t i = 0; i < 2; i++)
        if (ours[i] != NULL)
            kini_object_drop(view->self, ours[i]->handle.id);
}

static void check(struct kill_world *world, struct kill_view *view)
{
    check_results(world);
    uint32_t before = kill_pipe_objects(view);
    bool nobody = !is_had(world, KIN_PIPE_A) && !is_had(world, KIN_PIPE_B) && !may_be_had(world);
    KILL_CHECK(before == 0 || !nobody, "%u objects are left, and nobody has them", before);
    check_ends(world, view);
    let_go(view);
    bool lives = may_be_had(world);
    for (uint32_t who = 0; who < 2; who++)
        lives = lives || (world->scenario->operate[who] != NULL &&
                          world->scenario->operate[who] != op_close && world->done[who] &&
                          world->dead_slots[who] == 0);
    KILL_CHECK(lives || kill_pipe_objects(view) == 0, "closed, and %u objects are left",
               kill_pipe_objects(view));
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define PIPE .over = over, .check = check, .flags = KILL_NO_QUEUE

static const struct kill_scenario scenarios[] = {
    {.name = "open an end, the first one", PIPE, .setup = setup_nothing, .operate = {op_open_a}},
    {.name = "open the end that waits", PIPE, .setup = setup_a, .operate = {op_open_b}},
    {.name = "open an end that others have", PIPE, .setup = setup_both, .operate = {op_open_b}},
    {.name = "close an end, the other one was opened",
     PIPE,
     .setup = setup_a,
     .warm = warm_b,
     .operate = {op_close}},
    {.name = "close an end, the other one waits",
     PIPE,
     .setup = setup_nothing,
     .warm = warm_a,
     .operate = {op_close}},
};

#define REAPED                                                                                     \
    .over = over, .check = check, .flags = KILL_NO_QUEUE | KILL_MANY_POINTS, .last = {1},          \
    .operate = {op_nothing, NULL, NULL, kill_op_reap}

static const struct kill_scenario reaping[] = {
    {.name = "reap who opened an end, the other one waits",
     REAPED,
     .setup = setup_nothing,
     .warm = warm_a},
    {.name = "reap who opened the end that waited", REAPED, .setup = setup_a, .warm = warm_b},
};

/* Where it gets to be interesting: to make the pipe, to look for its name, to take hold of an end.
 */
static bool is_making(struct kill_world *world, uint64_t at)
{
    (void)world;
    return at == (uint64_t)(uintptr_t)kini_object_create;
}

static bool is_looking(struct kill_world *world, uint64_t at)
{
    (void)world;
    return at == (uint64_t)(uintptr_t)kini_object_open;
}

static bool is_holding(struct kill_world *world, uint64_t at)
{
    (void)world;
    return at == (uint64_t)(uintptr_t)kini_object_hold;
}

#define PAIR .over = over, .check = check, .flags = KILL_NO_QUEUE | KILL_LOCKS | KILL_NAPS

static const struct kill_scenario pairs[] = {
    {.name = "open both ends",
     PAIR,
     .stride = 7001,
     .finer = 9,
     .last = {4000},
     .begins = {is_making, is_looking},
     .setup = setup_nothing,
     .operate = {op_open_a, op_open_b}},
    {.name = "open one end and the same end",
     PAIR,
     .stride = 7001,
     .finer = 9,
     .last = {4000},
     .begins = {is_making, is_looking},
     .setup = setup_nothing,
     .operate = {op_open_a, op_open_a}},
    {.name = "open the end that waits, twice",
     PAIR,
     .stride = 41,
     .last = {400, 400},
     .begins = {is_holding, is_holding},
     .setup = setup_a,
     .operate = {op_open_b, op_open_b}},
    {.name = "open the end that waits, and close the other one",
     PAIR,
     .stride = 6007,
     .finer = 100,
     .last = {300},
     .begins = {is_holding},
     .setup = setup_nothing,
     .warm = warm_second,
     .operate = {op_open_b, op_close}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_open");
    KILL_EACH(kill_run, scenarios);
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        if (scenarios[i].warm == NULL)
            kill_real(&scenarios[i]);
    KILL_EACH(kill_reaping, reaping);
    KILL_EACH(kill_pairs, pairs);
    return kill_end();
}
