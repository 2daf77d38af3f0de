/* SPDX-License-Identifier: MIT
 * Pipe: a victim killed at each instruction of create, send, receive, close, and of what closing
 * does; and whoever reaps it. Messages 0, 1, … lie in the pipe before, sent from a to b. */
#include "lib/harness_pipe.h"

#include <errno.h>
#include <kin/wait.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- before ----------------------------------------------------------------------------------- */

static void setup_both_ways(struct kill_world *world)
{
    kill_pipe_setup(world);
    kill_pipe_send_number(kill_pipe_ends[1], 3000, 5);
    kill_pipe_send_number(kill_pipe_ends[1], 40, 6);
}

static void setup_descriptors(struct kill_world *world)
{
    const struct kin_pipe_opts opts = {.flags = KIN_PIPE_FDS};
    kill_pipe_dropped[0] = kill_pipe_dropped[1] = false;
    if (kin_pipe_create(world->live, &opts, &kill_pipe_ends[0], &kill_pipe_ends[1]) < 0)
        kill_broken("no pipe: %s", kin_error_text());
    for (uint32_t i = 0; i < world->scenario->items; i++)
        if (kin_pipe_send_fd(kill_pipe_ends[0], STDIN_FILENO, KIN_NOW) < 0)
            kill_broken("a descriptor cannot be sent: %s", kin_error_text());
}

/* --- what the victims do ---------------------------------------------------------------------- */

static int64_t op_create(struct kill_world *world, uint32_t who)
{
    const struct kin_pipe_opts opts = {.flags = world->scenario->items};
    (void)who;
    struct kin_pipe *x, *y;
    return kin_pipe_create(world->live, &opts, &x, &y);
}

static int64_t op_close_both(struct kill_world *world, uint32_t who)
{
    return kill_pipe_op_close_a(world, who) + kill_pipe_op_close_b(world, who);
}

static int64_t op_publish(struct kill_world *world, uint32_t who)
{
    void *data;
    int r = kin_pipe_reserve(kill_pipe_ends[0], world->scenario->bytes, &data);
    if (r < 0)
        return r;
    memcpy(data, world->page->actors[who].buffer, world->scenario->bytes);
    return kin_pipe_publish(kill_pipe_ends[0], data, world->scenario->bytes, KIN_NOW);
}

static int64_t op_send_fd(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    return kin_pipe_send_fd(kill_pipe_ends[0], STDIN_FILENO, KIN_NOW);
}

static int64_t op_nothing(struct kill_world *world, uint32_t who)
{
    (void)world;
    (void)who;
    return 0;
}

/* --- what must hold --------------------------------------------------------------------------- */

static bool has_in_hands(struct kill_world *world, uint32_t number)
{
    uint32_t bytes = world->scenario->bytes;
    for (uint32_t who = 0; who < KILL_ACTORS; who++)
        if (world->scenario->operate[who] == kill_pipe_op_recv &&
            kill_message_number(world->page->actors[who].buffer, bytes, bytes) == number)
            return true;
    return false;
}

static void check_results(struct kill_world *world)
{
    for (uint32_t who = 0; who < KILL_ACTORS; who++) {
        if (!world->done[who] || world->scenario->operate[who] == NULL)
            continue;
        int64_t r = world->page->actors[who].result;
        KILL_CHECK(r >= 0 || ((r == -EAGAIN || r == -ETIMEDOUT) &&
                              (world->scenario->flags & (KILL_PARTIAL | KILL_MAY_BE_EMPTY))),
                   "the operation answered %lld", (long long)r);
    }
}

/* Everything that is in the pipe, once each and in its order. */
static int64_t drain(struct kill_world *world, struct kin_pipe *end, uint8_t *seen)
{
    static unsigned char got[KILL_BUFFER];
    const uint32_t bytes = world->scenario->bytes;
    uint32_t last = 0;
    int64_t r;
    memset(seen, 0, KILL_PIPE_SENT + 1);
    while ((r = kin_pipe_try_recv(end, got, sizeof got)) >= 0) {
        uint32_t number = kill_message_number(got, r, bytes);
        KILL_CHECK(number <= KILL_PIPE_SENT, "a damaged message comes out, %lld bytes",
                   (long long)r);
        KILL_CHECK(!seen[number], "message %u comes out twice", number);
        KILL_CHECK(number >= last, "message %u comes out after message %u", number, last);
        seen[number] = 1;
        last = number;
    }
    return r;
}

static void check_messages(struct kill_world *world, struct kin_pipe *end)
{
    static uint8_t seen[KILL_PIPE_SENT + 1];
    bool sends = false, sent = false;
    for (uint32_t who = 0; who < KILL_ACTORS; who++) {
        bool does = world->scenario->operate[who] == kill_pipe_op_send ||
                    world->scenario->operate[who] == op_publish;
        sends = sends || does;
        sent = sent || (does && world->done[who] && world->page->actors[who].result == 0);
    }
    int64_t r = drain(world, end, seen);
    KILL_CHECK(r == (kill_pipe_dropped[0] ? -ESHUTDOWN : -EAGAIN),
               "the drained pipe answers %lld: %s", (long long)r, kin_error_text());
    for (uint32_t i = 0; i < world->scenario->items; i++)
        KILL_CHECK(seen[i] || has_in_hands(world, i), "message %u is lost", i);
    KILL_CHECK(sends || !seen[KILL_PIPE_SENT], "a message that nobody sent");
    KILL_CHECK(!sent || seen[KILL_PIPE_SENT] || has_in_hands(world, KILL_PIPE_SENT),
               "the message is lost");
    KILL_CHECK(kill_pipe_dropped[0] || kill_pipe_unsettled(end) == 0,
               "drained, and not settled: %llu", (unsigned long long)kill_pipe_unsettled(end));
}

/* Both ways are of use, or closed. */
static void check_use(struct kin_pipe *x, struct kin_pipe *y)
{
    char got[10];
    if (kill_pipe_dropped[0]) {
        int r = kin_pipe_try_send(y, got, 1);
        KILL_CHECK(r == -EPIPE, "sending to a closed end answers %d", r);
        return;
    }
    while (kin_pipe_try_recv(x, got, 0) == -EMSGSIZE) { /* of setup_both_ways */
        static unsigned char whole[KILL_BUFFER];
        KILL_CHECK(kin_pipe_try_recv(x, whole, sizeof whole) > 0, "a message does not come");
    }
    for (int i = 0; i < 3; i++) {
        int r = kin_pipe_try_send(x, "there", 6), q = kin_pipe_try_send(y, "back", 5);
        KILL_CHECK(r == 0 && q == 0, "a fresh message cannot be sent: %d %d", r, q);
        KILL_CHECK(kin_pipe_try_recv(y, got, 10) == 6 && kin_pipe_try_recv(x, got, 10) == 5,
                   "a fresh message does not come out");
    }
    KILL_CHECK(kini_pipe_ready(kini_last_self, x->handle.shm, KIN_WAIT_SEND) == 1 &&
                   kini_pipe_ready(kini_last_self, x->handle.shm, KIN_WAIT_RECV) == 0,
               "an empty pipe is not ready as it should be");
}

/* The victims are dead, or have done it: as far as a goes, both are the same. */
static void check(struct kill_world *world, struct kill_view *view)
{
    check_results(world);
    bool all = true;
    for (uint32_t who = 0; who < 2; who++)
        all = all && (world->scenario->operate[who] == NULL || world->dead_slots[who] != 0 ||
                      world->scenario->operate[who] == op_nothing);
    if (kill_pipe_dropped[1]) {
        KILL_CHECK(!all || kill_pipe_objects(view) == 0, "%u objects are left, and nobody has them",
                   kill_pipe_objects(view));
        return;
    }
    KILL_CHECK(!all || kill_pipe_objects(view) == (kill_pipe_dropped[0] ? 2 : 3),
               "%u objects are left", kill_pipe_objects(view));
    struct kin_pipe *x = kill_pipe_dropped[0] ? NULL : kill_pipe_in(view, kill_pipe_ends[0]),
                    *y = kill_pipe_in(view, kill_pipe_ends[1]);
    if (all) {
        check_messages(world, y);
        check_use(x, y);
    }
    kin_pipe_close(x);
    kin_pipe_close(y);
    KILL_CHECK(!all || kill_pipe_objects(view) == 0, "closed, and %u objects are left",
               kill_pipe_objects(view));
}

static void check_no_objects(struct kill_world *world, struct kill_view *view)
{
    check_results(world);
    KILL_CHECK(kill_pipe_objects(view) == 0, "%u objects are left, and nobody has them",
               kill_pipe_objects(view));
}

/* Descriptors: the harness has no sockets in its copy. What is in the ring are places. */
static void check_descriptors(struct kill_world *world, struct kill_view *view)
{
    check_results(world);
    struct kin_pipe *x = kill_pipe_in(view, kill_pipe_ends[0]),
                    *y = kill_pipe_in(view, kill_pipe_ends[1]);
    int64_t size = (int64_t)kini_queue_count(view->self, &y->in->ring), r = 0;
    KILL_CHECK(size >= (int64_t)world->scenario->items &&
                   size <= (int64_t)world->scenario->items + 1,
               "%lld descriptors are in the pipe", (long long)size);
    KILL_CHECK(y->in->fd_send.word == 0, "the lock of those who send descriptors is held");
    struct kini_taker taker = {.drop = true, .least = KINI_PIPE_FD};
    uint64_t last = 0;
    while ((r = kini_ring_get(view->self, &y->in_ring, &taker)) >= 0) {
        KILL_CHECK(((uint64_t)r & KINI_PIPE_FD) && (uint64_t)r > last, "descriptors out of order");
        last = (uint64_t)r;
    }
    kin_pipe_close(x);
    kin_pipe_close(y);
}

#define WORLD(more_flags, set_up)                                                                  \
    .flags = KILL_NO_QUEUE | (more_flags), .setup = (set_up), .over = kill_pipe_over, .check = check
#define PIPE WORLD(0, kill_pipe_setup)
/* The victim is the first to use its side. */
#define ALONE WORLD(0, kill_pipe_setup_alone)
#define SEND  .warm = kill_pipe_warm, .puts = {KILL_PIPE_SENT}, .operate = {kill_pipe_op_send}
#define RECV  .operate = {kill_pipe_op_recv}

static const struct kill_scenario scenarios[] = {
    {.name = "create a pipe",
     .flags = KILL_NO_QUEUE,
     .operate = {op_create},
     .check = check_no_objects},
    {.name = "create a one-way pipe",
     .flags = KILL_NO_QUEUE,
     .items = KIN_ONE_WAY,
     .operate = {op_create},
     .check = check_no_objects},
    {.name = "send", PIPE, .bytes = 40, .items = 2, SEND},
    {.name = "send a block", PIPE, .bytes = 500, .items = 1, SEND},
    {.name = "send a large block", PIPE, .bytes = 33000, SEND},
    {.name = "fill in place and send",
     PIPE,
     .bytes = 500,
     .items = 1,
     .warm = kill_pipe_warm,
     .puts = {KILL_PIPE_SENT},
     .operate = {op_publish}},
    {.name = "send, and the end is closed by that",
     PIPE,
     .bytes = 200,
     .items = 2,
     .ready = kill_pipe_drop_a,
     SEND},
    {.name = "send, full",
     WORLD(KILL_PARTIAL, kill_pipe_setup),
     .bytes = 100,
     .items = 3,
     .max_items = 310,
     SEND},
    {.name = "receive", PIPE, .bytes = 40, .items = 3, .rotate = 2, RECV},
    {.name = "receive a block", PIPE, .bytes = 500, .items = 2, RECV},
    {.name = "receive a large block", PIPE, .bytes = 33000, .items = 1, RECV},
    {.name = "receive, empty", WORLD(KILL_MAY_BE_EMPTY, kill_pipe_setup), .bytes = 40, RECV},
    {.name = "send, alone", ALONE, .bytes = 40, .items = 2, SEND},
    {.name = "send a block, alone", ALONE, .bytes = 500, .items = 1, SEND},
    {.name = "receive, alone", ALONE, .bytes = 40, .items = 3, .rotate = 2, RECV},
    {.name = "receive a block, alone", ALONE, .bytes = 500, .items = 2, RECV},
    {.name = "close an end that others have",
     PIPE,
     .bytes = 40,
     .items = 2,
     .operate = {kill_pipe_op_close_a}},
    {.name = "close an end",
     WORLD(0, setup_both_ways),
     .bytes = 500,
     .items = 3,
     .ready = kill_pipe_drop_a,
     .operate = {kill_pipe_op_close_a}},
    {.name = "close both ends",
     WORLD(0, setup_both_ways),
     .bytes = 500,
     .items = 2,
     .ready = kill_pipe_drop_both,
     .operate = {op_close_both}},
    {.name = "send a descriptor",
     .flags = KILL_NO_QUEUE,
     .setup = setup_descriptors,
     .over = kill_pipe_over,
     .check = check_descriptors,
     .items = 2,
     .operate = {op_send_fd}},
};

static const struct kill_scenario reaping[] = {
    {.name = "reap who had both ends",
     WORLD(KILL_MANY_POINTS, setup_both_ways),
     .bytes = 200,
     .items = 2,
     .last = {1},
     .ready = kill_pipe_drop_both,
     .operate = {op_nothing, NULL, NULL, kill_op_reap}},
    {.name = "reap who had one end",
     WORLD(KILL_MANY_POINTS, setup_both_ways),
     .bytes = 200,
     .items = 2,
     .last = {1},
     .ready = kill_pipe_drop_a,
     .operate = {op_nothing, NULL, NULL, kill_op_reap}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_pipe");
    KILL_EACH(kill_run, scenarios);
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        if (scenarios[i].ready == NULL)
            kill_real(&scenarios[i]);
    KILL_EACH(kill_reaping, reaping);
    return kill_end();
}
