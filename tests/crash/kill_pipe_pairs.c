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

#define SENDS KILL_PIPE_SENT
#define WORLD .over = kill_pipe_over, .check = check
#define SHARED(more_flags, size, ready_by)                                                         \
    WORLD, .setup = kill_pipe_setup, .flags = KILL_NO_QUEUE | (more_flags), .bytes = (size),       \
           .warm = (ready_by)
/* Either is the first to use its side, or they meet there. */
#define ALONE(more_flags, size, ready_by)                                                          \
    WORLD, .setup = kill_pipe_setup_alone, .flags = KILL_NO_QUEUE | (more_flags), .bytes = (size), \
           .warm = (ready_by)

#define SEND_RECV .puts = {SENDS}, .operate = {kill_pipe_op_send, kill_pipe_op_recv}
#define RECV_SEND .puts = {0, SENDS}, .operate = {kill_pipe_op_recv, kill_pipe_op_send}
#define SEND_SEND .puts = {SENDS, SENDS + 1}, .operate = {kill_pipe_op_send, kill_pipe_op_send}
#define RECV_RECV .operate = {kill_pipe_op_recv, kill_pipe_op_recv}
#define SEND_CLOSE                                                                                 \
    .ready = kill_pipe_drop_b, .puts = {SENDS}, .operate = {kill_pipe_op_send, kill_pipe_op_close_b}
#define CLOSE_SEND                                                                                 \
    .ready = kill_pipe_drop_b, .puts = {0, SENDS},                                                 \
    .operate = {kill_pipe_op_close_b, kill_pipe_op_send}
#define RECV_CLOSE .ready = kill_pipe_drop_a, .operate = {kill_pipe_op_recv, kill_pipe_op_close_a}
#define CLOSE_CLOSE                                                                                \
    .ready = kill_pipe_drop_both, .operate = {kill_pipe_op_close_a, kill_pipe_op_close_b}

static const struct kill_scenario scenarios[] = {
    {.name = "send and receive",
     SHARED(0, 40, warm),
     SEND_RECV,
     .items = 1,
     .rotate = 2,
     .stride = 61},
    {.name = "send and receive, empty",
     SHARED(KILL_MAY_BE_EMPTY, 40, warm),
     SEND_RECV,
     .stride = 61},
    {.name = "receive and send, full",
     SHARED(KILL_PARTIAL, 40, warm),
     RECV_SEND,
     .items = 2,
     .max_items = 90,
     .stride = 61},
    {.name = "send a block and receive it",
     SHARED(KILL_MAY_BE_EMPTY, 500, warm_caches),
     SEND_RECV,
     .stride = 97},
    {.name = "send and close the other end",
     SHARED(KILL_LOCKS, 40, warm),
     SEND_CLOSE,
     .items = 1,
     .stride = 149},
    {.name = "close the other end and send",
     SHARED(KILL_LOCKS, 40, warm),
     CLOSE_SEND,
     .stride = 149},
    {.name = "receive and close",
     SHARED(KILL_LOCKS, 40, warm),
     RECV_CLOSE,
     .items = 2,
     .stride = 149},
    {.name = "receive and close, empty",
     SHARED(KILL_LOCKS | KILL_MAY_BE_EMPTY, 40, warm),
     RECV_CLOSE,
     .stride = 149},
    {.name = "send and send", SHARED(0, 40, warm), SEND_SEND, .items = 1, .stride = 61},
    {.name = "send and send, room for one",
     SHARED(KILL_PARTIAL, 40, warm),
     SEND_SEND,
     .items = 1,
     .max_items = 90,
     .stride = 61},
    {.name = "receive and receive", SHARED(0, 40, warm), RECV_RECV, .items = 3, .stride = 61},
    {.name = "receive and receive, one message",
     SHARED(KILL_MAY_BE_EMPTY, 40, warm),
     RECV_RECV,
     .items = 1,
     .stride = 61},
    {.name = "send and send, alone", ALONE(0, 40, warm), SEND_SEND, .items = 1, .stride = 29},
    {.name = "send blocks, alone", ALONE(0, 500, warm_caches), SEND_SEND, .items = 1, .stride = 61},
    {.name = "send and send, alone, room for one",
     ALONE(KILL_PARTIAL, 40, warm),
     SEND_SEND,
     .items = 1,
     .max_items = 90,
     .stride = 61},
    {.name = "receive and receive, alone", ALONE(0, 40, warm), RECV_RECV, .items = 3, .stride = 29},
    {.name = "receive and receive, alone, one message",
     ALONE(KILL_MAY_BE_EMPTY, 40, warm),
     RECV_RECV,
     .items = 1,
     .stride = 29},
    {.name = "receive blocks, alone", ALONE(0, 500, warm), RECV_RECV, .items = 2, .stride = 61},
    {.name = "send and receive, alone", ALONE(0, 40, warm), SEND_RECV, .items = 1, .stride = 61},
    {.name = "send and receive, alone, empty",
     ALONE(KILL_MAY_BE_EMPTY, 40, warm),
     SEND_RECV,
     .stride = 61},
    {.name = "receive and send, alone, full",
     ALONE(KILL_PARTIAL, 40, warm),
     RECV_SEND,
     .items = 2,
     .max_items = 90,
     .stride = 61},
    {.name = "send and close the other end, alone",
     ALONE(KILL_LOCKS, 40, warm),
     SEND_CLOSE,
     .items = 1,
     .stride = 251},
    {.name = "close the other end and send, alone",
     ALONE(KILL_LOCKS, 40, warm),
     CLOSE_SEND,
     .stride = 251},
    {.name = "receive and close, alone",
     ALONE(KILL_LOCKS, 40, warm),
     RECV_CLOSE,
     .items = 2,
     .stride = 251},
    {.name = "receive and close, alone, empty",
     ALONE(KILL_LOCKS | KILL_MAY_BE_EMPTY, 40, warm),
     RECV_CLOSE,
     .stride = 251},
    /* The first comes at each instruction of the second, and does all that it does. */
    {.name = "a second sender at each instruction",
     ALONE(0, 40, warm),
     SEND_SEND,
     .items = 1,
     .stride = 1,
     .last = {1, 0}},
    {.name = "a second receiver at each instruction",
     ALONE(0, 40, warm),
     RECV_RECV,
     .items = 3,
     .stride = 1,
     .last = {1, 0}},
    {.name = "two more senders at each instruction",
     SHARED(0, 40, warm),
     SEND_SEND,
     .items = 1,
     .stride = 1,
     .last = {1, 0}},
    /* destroying a pipe is long */
    {.name = "close and close",
     SHARED(KILL_LOCKS, 40, warm),
     CLOSE_CLOSE,
     .items = 1,
     .stride = 1499},
};

int main(int argc, char **argv)
{
    kill_begin(argc, argv, "kill_pipe_pairs");
    KILL_EACH(kill_pairs, scenarios);
    return kill_end();
}
