/* SPDX-License-Identifier: MIT
 * Pipe: two operations interleaved, at one end or at both; one or both killed. Each victim has only
 * the end that it uses. */
#include "lib/harness_pipe.h"

#include <errno.h>
#include <string.h>

#define NUMBERS (KILL_PIPE_SENT + 2)

/* --- what the victims do ---------------------------------------------------------------------- */

typedef int64_t (*operation)(struct kill_world *, uint32_t);

static bool uses_a(operation operate)
{
    return operate == kill_pipe_op_send || operate == kill_pipe_op_close_a;
}

/* So that who closes an end is the only one that has it. */
static void warm(struct kill_world *world, uint32_t who)
{
    kill_pipe_warm(world, who);
    kill_pipe_forget(world, kill_pipe_ends[uses_a(world->scenario->operate[who]) ? 1 : 0]);
}

/* Caches hold free blocks of the size. */
static void warm_caches(struct kill_world *world, uint32_t who)
{
    void *block;
    warm(world, who);
    if (kin_block_alloc(world->live, world->scenario->bytes, &block) < 0)
        kill_broken("no block: %s", kin_error_text());
    kin_block_free(world->live, block);
}

static bool somebody_does(struct kill_world *world, operation operate)
{
    return world->scenario->operate[0] == operate || world->scenario->operate[1] == operate;
}

/* --- what must hold --------------------------------------------------------------------------- */

static uint32_t number_in_hand(struct kill_world *world, uint32_t who)
{
    uint32_t bytes = world->scenario->bytes;
    return kill_message_number(world->page->actors[who].buffer, bytes, bytes);
}

static bool may_answer(struct kill_world *world, operation operate, int64_t r)
{
    const uint32_t flags = world->scenario->flags;
    if (operate == kill_pipe_op_recv)
        return r == (int64_t)world->scenario->bytes ||
               (r == -EAGAIN && (flags & KILL_MAY_BE_EMPTY)) ||
               (r == -ESHUTDOWN && (flags & KILL_MAY_BE_EMPTY) &&
                somebody_does(world, kill_pipe_op_close_a));
    return r == 0 || (operate == kill_pipe_op_send &&
                      ((r == -EAGAIN && (flags & KILL_PARTIAL)) ||
                       (r == -EPIPE && somebody_does(world, kill_pipe_op_close_b))));
}

/* What has come out so far: how often each was received by those who are done, and what may be
 * lost because the dead have it in their hands. */
static void check_results(struct kill_world *world, uint8_t *got, uint8_t *in_hands)
{
    for (uint32_t who = 0; who < 2; who++) {
        operation operate = world->scenario->operate[who];
        int64_t r = world->page->actors[who].result;
        KILL_CHECK(!world->done[who] || may_answer(world, operate, r), "actor %u is answered %lld",
                   who, (long long)r);
        if (operate != kill_pipe_op_recv || (world->done[who] && r < 0))
            continue;
        uint32_t number = number_in_hand(world, who);
        KILL_CHECK(!world->done[who] || number < NUMBERS, "actor %u got a damaged message", who);
        if (number < NUMBERS && world->done[who])
            got[number]++;
        else if (number < NUMBERS)
            in_hands[number] = 1;
    }
}

/* Everything that is in the pipe, what had been there before in its order. */
static void drain(struct kill_world *world, struct kin_pipe *end, uint8_t *got)
{
    static unsigned char message[KILL_BUFFER];
    const uint32_t bytes = world->scenario->bytes;
    uint32_t least = 0;
    int64_t r;
    while ((r = kin_pipe_try_recv(end, message, sizeof message)) >= 0) {
        uint32_t number = kill_message_number(message, r, bytes);
        KILL_CHECK(number < NUMBERS, "a damaged message comes out, %lld bytes", (long long)r);
        KILL_CHECK(number >= least, "message %u comes out too late", number);
        got[number]++;
        least = number < KILL_PIPE_SENT ? number : KILL_PIPE_SENT;
    }
    KILL_CHECK(r == (kill_pipe_dropped[0] ? -ESHUTDOWN : -EAGAIN), "the drained pipe answers %lld",
               (long long)r);
    KILL_CHECK(kill_pipe_dropped[0] || kill_pipe_unsettled(end) == 0,
               "drained, and not settled: %lld", (long long)kill_pipe_unsettled(end));
}

static void check_numbers(struct kill_world *world, const uint8_t *got, const uint8_t *in_hands)
{
    for (uint32_t i = 0; i < NUMBERS; i++) {
        bool there = i < world->scenario->items, may_be = there;
        for (uint32_t who = 0; who < 2; who++) {
            if (world->scenario->puts[who] != i || i == 0)
                continue;
            may_be = true;
            there = world->done[who] && world->page->actors[who].result == 0;
        }
        KILL_CHECK(got[i] <= 1, "message %u came out %u times", i, got[i]);
        KILL_CHECK(may_be || !got[i], "message %u, which nobody sent", i);
        KILL_CHECK(!there || got[i] || in_hands[i], "message %u is lost", i);
        for (uint32_t who = 0; who < 2; who++)
            KILL_CHECK(!got[i] || world->scenario->puts[who] != i || i == 0 || !world->done[who] ||
                           world->page->actors[who].result == 0,
                       "message %u came out, and its sender was told that it was not sent", i);
    }
}

/* Both ways are of use, or closed. x and y: NULL if nobody has it. */
static void check_use(struct kin_pipe *x, struct kin_pipe *y)
{
    char got[10];
    if (x != NULL && y != NULL) {
        for (int i = 0; i < 3; i++) {
            int r = kin_pipe_try_send(x, "there", 6), q = kin_pipe_try_send(y, "back", 5);
            KILL_CHECK(r == 0 && q == 0, "a fresh message cannot be sent: %d %d", r, q);
            KILL_CHECK(kin_pipe_try_recv(y, got, 10) == 6 && kin_pipe_try_recv(x, got, 10) == 5,
                       "a fresh message does not come out");
        }
        return;
    }
    struct kin_pipe *left = x != NULL ? x : y;
    if (left == NULL)
        return;
    int r = kin_pipe_try_send(left, got, 1);
    int64_t q = kin_pipe_try_recv(left, got, sizeof got);
    KILL_CHECK(r == -EPIPE, "sending to a closed end answers %d", r);
    KILL_CHECK(q == -ESHUTDOWN, "receiving from a closed end answers %lld", (long long)q);
}

static void check(struct kill_world *world, struct kill_view *view)
{
    static uint8_t got[NUMBERS], in_hands[NUMBERS];
    struct kin_pipe *ends[2] = {NULL, NULL};
    uint32_t objects = 0;
    memset(got, 0, sizeof got);
    memset(in_hands, 0, sizeof in_hands);
    check_results(world, got, in_hands);
    for (uint32_t i = 0; i < 2; i++)
        objects += !kill_pipe_dropped[i];
    objects += objects > 0; /* the pipe */
    KILL_CHECK(kill_pipe_objects(view) == objects, "there are %u objects, not %u",
               kill_pipe_objects(view), objects);
    for (uint32_t i = 0; i < 2; i++)
        ends[i] = kill_pipe_dropped[i] ? NULL : kill_pipe_in(view, kill_pipe_ends[i]);
    if (ends[1] != NULL) {
        drain(world, ends[1], got);
        check_numbers(world, got, in_hands);
    }
    check_use(ends[0], ends[1]);
    for (uint32_t i = 0; i < 2; i++)
        kin_pipe_close(ends[i]);
}

/* --- scenarios -------------------------------------------------------------------------------- */

#define PIPE  .setup = kill_pipe_setup, .over = kill_pipe_over, .check = check, .warm = warm
#define SENDS KILL_PIPE_SENT
/* Either is the first to use its side, or they meet there. */
#define ALONE .setup = kill_pipe_setup_alone, .over = kill_pipe_over, .check = check

static const struct kill_scenario scenarios[] = {
    {.name = "send and receive",
     PIPE,
     .flags = KILL_NO_QUEUE,
     .bytes = 40,
     .items = 1,
     .rotate = 2,
     .stride = 61,
     .puts = {SENDS},
     .operate = {kill_pipe_op_send, kill_pipe_op_recv}},
    {.name = "send and receive, empty",
     PIPE,
     .flags = KILL_NO_QUEUE | KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .stride = 61,
     .puts = {SENDS},
     .operate = {kill_pipe_op_send, kill_pipe_op_recv}},
    {.name = "receive and send, full",
     PIPE,
     .flags = KILL_NO_QUEUE | KILL_PARTIAL,
     .bytes = 40,
     .items = 2,
     .max_items = 90,
     .stride = 61,
     .puts = {0, SENDS},
     .operate = {kill_pipe_op_recv, kill_pipe_op_send}},
    {.name = "send a block and receive it",
     .setup = kill_pipe_setup,
     .over = kill_pipe_over,
     .check = check,
     .flags = KILL_NO_QUEUE | KILL_MAY_BE_EMPTY,
     .bytes = 500,
     .warm = warm_caches,
     .stride = 97,
     .puts = {SENDS},
     .operate = {kill_pipe_op_send, kill_pipe_op_recv}},
    {.name = "send and close the other end",
     PIPE,
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .bytes = 40,
     .items = 1,
     .stride = 149,
     .ready = kill_pipe_drop_b,
     .puts = {SENDS},
     .operate = {kill_pipe_op_send, kill_pipe_op_close_b}},
    {.name = "close the other end and send",
     PIPE,
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .bytes = 40,
     .stride = 149,
     .ready = kill_pipe_drop_b,
     .puts = {0, SENDS},
     .operate = {kill_pipe_op_close_b, kill_pipe_op_send}},
    {.name = "receive and close",
     PIPE,
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .bytes = 40,
     .items = 2,
     .stride = 149,
     .ready = kill_pipe_drop_a,
     .operate = {kill_pipe_op_recv, kill_pipe_op_close_a}},
    {.name = "receive and close, empty",
     PIPE,
     .flags = KILL_NO_QUEUE | KILL_LOCKS | KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .stride = 149,
     .ready = kill_pipe_drop_a,
     .operate = {kill_pipe_op_recv, kill_pipe_op_close_a}},
    {.name = "send and send",
     PIPE,
     .flags = KILL_NO_QUEUE,
     .bytes = 40,
     .items = 1,
     .stride = 61,
     .puts = {SENDS, SENDS + 1},
     .operate = {kill_pipe_op_send, kill_pipe_op_send}},
    {.name = "send and send, room for one",
     PIPE,
     .flags = KILL_NO_QUEUE | KILL_PARTIAL,
     .bytes = 40,
     .items = 1,
     .max_items = 90,
     .stride = 61,
     .puts = {SENDS, SENDS + 1},
     .operate = {kill_pipe_op_send, kill_pipe_op_send}},
    {.name = "receive and receive",
     PIPE,
     .flags = KILL_NO_QUEUE,
     .bytes = 40,
     .items = 3,
     .stride = 61,
     .operate = {kill_pipe_op_recv, kill_pipe_op_recv}},
    {.name = "receive and receive, one message",
     PIPE,
     .flags = KILL_NO_QUEUE | KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .items = 1,
     .stride = 61,
     .operate = {kill_pipe_op_recv, kill_pipe_op_recv}},
    {.name = "send and send, alone",
     ALONE,
     .flags = KILL_NO_QUEUE,
     .bytes = 40,
     .items = 1,
     .warm = warm,
     .stride = 29,
     .puts = {SENDS, SENDS + 1},
     .operate = {kill_pipe_op_send, kill_pipe_op_send}},
    {.name = "send blocks, alone",
     ALONE,
     .flags = KILL_NO_QUEUE,
     .bytes = 500,
     .items = 1,
     .warm = warm_caches,
     .stride = 61,
     .puts = {SENDS, SENDS + 1},
     .operate = {kill_pipe_op_send, kill_pipe_op_send}},
    {.name = "send and send, alone, room for one",
     ALONE,
     .flags = KILL_NO_QUEUE | KILL_PARTIAL,
     .bytes = 40,
     .items = 1,
     .warm = warm,
     .stride = 61,
     .max_items = 90,
     .puts = {SENDS, SENDS + 1},
     .operate = {kill_pipe_op_send, kill_pipe_op_send}},
    {.name = "receive and receive, alone",
     ALONE,
     .flags = KILL_NO_QUEUE,
     .bytes = 40,
     .items = 3,
     .warm = warm,
     .stride = 29,
     .operate = {kill_pipe_op_recv, kill_pipe_op_recv}},
    {.name = "receive and receive, alone, one message",
     ALONE,
     .flags = KILL_NO_QUEUE | KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .items = 1,
     .warm = warm,
     .stride = 29,
     .operate = {kill_pipe_op_recv, kill_pipe_op_recv}},
    {.name = "receive blocks, alone",
     ALONE,
     .flags = KILL_NO_QUEUE,
     .bytes = 500,
     .items = 2,
     .warm = warm,
     .stride = 61,
     .operate = {kill_pipe_op_recv, kill_pipe_op_recv}},
    {.name = "send and receive, alone",
     ALONE,
     .flags = KILL_NO_QUEUE,
     .bytes = 40,
     .items = 1,
     .warm = warm,
     .stride = 61,
     .puts = {SENDS, 0},
     .operate = {kill_pipe_op_send, kill_pipe_op_recv}},
    {.name = "send and receive, alone, empty",
     ALONE,
     .flags = KILL_NO_QUEUE | KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .warm = warm,
     .stride = 61,
     .puts = {SENDS, 0},
     .operate = {kill_pipe_op_send, kill_pipe_op_recv}},
    {.name = "receive and send, alone, full",
     ALONE,
     .flags = KILL_NO_QUEUE | KILL_PARTIAL,
     .bytes = 40,
     .items = 2,
     .warm = warm,
     .stride = 61,
     .max_items = 90,
     .puts = {0, SENDS},
     .operate = {kill_pipe_op_recv, kill_pipe_op_send}},
    {.name = "send and close the other end, alone",
     ALONE,
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .bytes = 40,
     .items = 1,
     .warm = warm,
     .stride = 251,
     .ready = kill_pipe_drop_b,
     .puts = {SENDS, 0},
     .operate = {kill_pipe_op_send, kill_pipe_op_close_b}},
    {.name = "close the other end and send, alone",
     ALONE,
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .bytes = 40,
     .warm = warm,
     .stride = 251,
     .ready = kill_pipe_drop_b,
     .puts = {0, SENDS},
     .operate = {kill_pipe_op_close_b, kill_pipe_op_send}},
    {.name = "receive and close, alone",
     ALONE,
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .bytes = 40,
     .items = 2,
     .warm = warm,
     .stride = 251,
     .ready = kill_pipe_drop_a,
     .operate = {kill_pipe_op_recv, kill_pipe_op_close_a}},
    {.name = "receive and close, alone, empty",
     ALONE,
     .flags = KILL_NO_QUEUE | KILL_LOCKS | KILL_MAY_BE_EMPTY,
     .bytes = 40,
     .warm = warm,
     .stride = 251,
     .ready = kill_pipe_drop_a,
     .operate = {kill_pipe_op_recv, kill_pipe_op_close_a}},
    /* The first comes at each instruction of the second, and does all that it does. */
    {.name = "a second sender at each instruction",
     ALONE,
     .flags = KILL_NO_QUEUE,
     .bytes = 40,
     .items = 1,
     .warm = warm,
     .stride = 1,
     .last = {1, 0},
     .puts = {SENDS, SENDS + 1},
     .operate = {kill_pipe_op_send, kill_pipe_op_send}},
    {.name = "a second receiver at each instruction",
     ALONE,
     .flags = KILL_NO_QUEUE,
     .bytes = 40,
     .items = 3,
     .warm = warm,
     .stride = 1,
     .last = {1, 0},
     .operate = {kill_pipe_op_recv, kill_pipe_op_recv}},
    {.name = "two more senders at each instruction",
     .setup = kill_pipe_setup,
     .over = kill_pipe_over,
     .check = check,
     .flags = KILL_NO_QUEUE,
     .bytes = 40,
     .items = 1,
     .warm = warm,
     .stride = 1,
     .last = {1, 0},
     .puts = {SENDS, SENDS + 1},
     .operate = {kill_pipe_op_send, kill_pipe_op_send}},
    {.name = "close and close",
     PIPE,
     .flags = KILL_NO_QUEUE | KILL_LOCKS,
     .bytes = 40,
     .items = 1,
     .stride = 1499, /* destroying a pipe is long */
     .ready = kill_pipe_drop_both,
     .operate = {kill_pipe_op_close_a, kill_pipe_op_close_b}},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_pipe_pairs");
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        kill_pairs(&scenarios[i]);
    return kill_end();
}
