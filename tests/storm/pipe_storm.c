/* SPDX-License-Identifier: MIT
 * Senders and receivers at both ends of a duplex pipe are killed at random, stopped and continued;
 * every message is accounted for (ledger.h), and when one end is gone the other one drains what is
 * there and sees the end of file. The argument says which form: single (one sender and one receiver
 * each way: the order is checked) or several. KIN_STORM_SECONDS and KIN_SEED change length and
 * seed. */
#include "storm/round.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#define MOST        3 /* senders or receivers each way */
#define PLACES      (4 * MOST + 1)
#define REAPER      (4 * MOST)
#define MOST_BYTES  30000
#define STOP_NUMBER UINT64_MAX

struct form {
    const char *name;
    int each; /* senders, and receivers, each way */
};
static const struct form forms[] = {{"single", 1}, {"several", MOST}};
static const struct form *form;

struct hand {
    kini_a64 item; /* the first word of the message */
    unsigned char rest[MOST_BYTES];
};

static struct shared {
    kini_a32 stop; /* senders and the reaper leave */
    kini_a64 last[2];
    struct hand hands[PLACES];
} * shared;
static struct ledger *ledger;
static struct kin_arena *arena;
static struct kin_pipe *ends[2];
static uint64_t incarnation, ends_of_file;

/* A place: who sends what end `to` receives, or receives it. */
static bool is_receiver(int place)
{
    return place < REAPER && place / MOST % 2 == 1;
}

static int receiving_end(int place)
{
    return place / (2 * MOST);
}

static bool is_used(int place)
{
    return place == REAPER || place % MOST < form->each;
}

/* --- the processes ---------------------------------------------------------------------------- */

static void send_items(uint64_t me, struct kin_pipe *end)
{
    struct kt_random random = kt_random_of("send", me);
    unsigned char message[MOST_BYTES + 8];
    const struct kin_wait room = kin_wait_send(end);
    while (kini_load(&shared->stop) == 0) {
        uint64_t item = ledger_begin(ledger);
        if (item == 0)
            return;
        uint64_t bytes = 8 + kt_random_size(&random, MOST_BYTES);
        memcpy(message, &item, 8);
        kt_fill(message + 8, bytes - 8, item);
        uint64_t way = kt_random_below(&random, 4);
        int r;
        if (way == 0)
            while ((r = kin_pipe_try_send(end, message, bytes)) == -EAGAIN)
                KT_CHECK(kin_wait_any(arena, &room, 1, kin_after_ms(1)) <= 0);
        else if (way == 1)
            while ((r = kin_pipe_send(end, message, bytes, kin_after_us(300))) == -ETIMEDOUT)
                ;
        else
            r = kin_pipe_send(end, message, bytes, KIN_NEVER);
        KT_CHECK(r == 0);
        ledger_put_returned(ledger, item);
    }
}

static void took(int to, uint64_t item, struct hand *hand, int64_t bytes)
{
    KT_CHECK(ledger_delivered(ledger, item)); /* first: until then it is in our hands only */
    KT_CHECK(kt_filled(hand->rest, (uint64_t)bytes - 8, item));
    if (form->each == 1) {
        KT_CHECK(item > kini_load_sc(&shared->last[to]));
        kini_store_sc(&shared->last[to], item);
    }
}

static void receive_items(uint64_t me, struct kin_pipe *end, int to, struct hand *hand)
{
    struct kt_random random = kt_random_of("receive", me);
    for (;;) {
        kini_store_sc(&hand->item, 0);
        uint64_t way = kt_random_below(&random, 8);
        int64_t r;
        if (way == 0)
            r = kin_pipe_try_recv(end, hand, sizeof *hand);
        else if (way == 1)
            r = kin_pipe_recv(end, hand, sizeof *hand, kin_after_us(300));
        else if (way == 2)
            r = kin_pipe_recv(end, hand, 8, KIN_NEVER); /* too small: it stays */
        else if (way == 3)
            r = kin_pipe_poll(end, KIN_NEVER) == 1 ? -EAGAIN : -EIO;
        else
            r = kin_pipe_recv(end, hand, sizeof *hand, KIN_NEVER);
        if (r == -EAGAIN || r == -ETIMEDOUT || r == -EMSGSIZE)
            continue;
        if (r == -ESHUTDOWN)
            _exit(42); /* the end of file */
        KT_CHECK(r >= 8);
        uint64_t item = kini_load_sc(&hand->item);
        if (item == STOP_NUMBER)
            return;
        took(to, item, hand, r);
    }
}

static void act(int place, uint64_t me)
{
    if (place == REAPER) {
        kin_pipe_close(ends[0]);
        kin_pipe_close(ends[1]);
        round_reap(arena, &shared->stop);
        return;
    }
    int to = receiving_end(place), mine = is_receiver(place) ? to : 1 - to;
    kin_pipe_close(ends[1 - mine]);
    if (is_receiver(place))
        receive_items(me, ends[mine], to, &shared->hands[place]);
    else
        send_items(me, ends[mine]);
    if (me % 3 == 0)
        kin_pipe_close(ends[mine]);
}

static pid_t start(int place)
{
    uint64_t me = ++incarnation;
    pid_t pid = fork();
    if (pid == 0) {
        act(place, me);
        if (me % 2)
            kin_arena_detach(arena);
        _exit(0);
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

/* --- the storm -------------------------------------------------------------------------------- */

static pid_t pids[PLACES];
static bool stopped[PLACES];
static uint64_t kills;

/* Collect a victim, or who left: what its hand held may be lost with it. */
static int collect(int place)
{
    int status = kt_wait(pids[place]);
    uint64_t item = kini_load_sc(&shared->hands[place].item);
    if (is_receiver(place) && item != 0)
        ledger_was_in_hand(ledger, item);
    kini_store_sc(&shared->hands[place].item, 0);
    pids[place] = 0;
    stopped[place] = false;
    return status;
}

static void strike(struct kt_random *random)
{
    int place = (int)kt_random_below(random, PLACES);
    if (!is_used(place))
        return;
    if (storm_halts(random, pids[place], &stopped[place], true))
        return;
    kill(pids[place], SIGKILL);
    int status = collect(place);
    ck_assert_msg(status == 0 || status == -SIGKILL, "place %d ended with %d", place, status);
    kills++;
    /* What the dead had claimed comes ahead of the rest once somebody has looked after it. Who is
     * stopped may have what we need for that, and only we can let it go on. */
    storm_continue(pids, stopped, PLACES);
    memset(stopped, 0, sizeof stopped);
    KT_CHECK(kin_arena_reap(arena) >= 0);
    pids[place] = start(place);
}

/* The receivers of that end go, by a message or killed; we take what is left. */
static void leave_end(int end, bool violent)
{
    static struct hand hand;
    uint64_t number = STOP_NUMBER;
    int first = end * 2 * MOST + MOST;
    for (int i = 0; i < form->each; i++) {
        if (violent)
            kill(pids[first + i], SIGKILL);
        else
            KT_OK(kin_pipe_send(ends[1 - end], &number, sizeof number, KIN_NEVER));
    }
    for (int i = 0; i < form->each; i++) {
        int status = collect(first + i);
        ck_assert_msg(status == (violent ? -SIGKILL : 0), "a receiver ended with %d", status);
    }
    KT_OK(kin_arena_reap(arena));
    int64_t r;
    while ((r = kin_pipe_try_recv(ends[end], &hand, sizeof hand)) >= 8)
        took(end, kini_load(&hand.item), &hand, r);
    KT_IS(r, -EAGAIN);
}

static void calm_down(struct kt_random *random)
{
    storm_continue(pids, stopped, PLACES);
    kini_store_sc(&shared->stop, 1);
    for (int i = 0; i < PLACES; i++)
        if (is_used(i) && !is_receiver(i))
            KT_IS(collect(i), 0);
    int first = (int)kt_random_below(random, 2);
    leave_end(first, kt_random_below(random, 2));
    kin_pipe_close(ends[0]);
    kin_pipe_close(ends[1]);
    /* the other end drains, and sees that nobody is there any more */
    for (int i = 0; i < form->each; i++) {
        int place = (1 - first) * 2 * MOST + MOST + i;
        int status = kt_wait(pids[place]);
        ck_assert_msg(status == 42, "no end of file, but %d", status);
        ends_of_file++;
    }
}

static void round_of(struct kt_random *random, struct ledger_sums *sums, int64_t until)
{
    const struct kin_pipe_opts opts = {.capacity_bytes = kt_random_size(random, 300000)};
    KT_OK(kin_pipe_create(arena, &opts, &ends[0], &ends[1]));
    kini_store(&shared->stop, 0);
    kini_store(&shared->last[0], 0);
    kini_store(&shared->last[1], 0);
    ledger_clear(ledger);
    for (int i = 0; i < PLACES; i++)
        if (is_used(i))
            pids[i] = start(i);
    round_strike(random, ledger, until, strike);
    calm_down(random);
    round_account(ledger, sums);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    round_leaves_nothing(arena);
}

START_TEST(storm)
{
    int64_t end = storm_end();
    struct kt_random random = kt_random_of("storm", 0);
    struct ledger_sums sums = {0};
    shared = kt_share(sizeof *shared);
    ledger = ledger_open();
    arena = kt_arena(16 * GIB);
    while (kin_now_ns() < end) {
        int64_t until = kin_after_ms(50 + (int64_t)kt_random_below(&random, 700));
        round_of(&random, &sums, until < end ? until : end);
    }
    ck_assert_uint_eq(kt_stat(arena).threads_count, 1);
    printf("%s: %" PRIu64 " killed; %" PRIu64 " messages sent, %" PRIu64 " received, %" PRIu64
           " lost in a victim's hands, %" PRIu64 " senders killed in send, %" PRIu64
           " ends of file\n",
           form->name, kills, sums.put, sums.delivered, sums.lost_in_hands, sums.died_in_put,
           ends_of_file);
    kin_arena_detach(arena);
    ledger_close(ledger);
    kt_unshare(shared, sizeof *shared);
}
END_TEST

int main(int argc, char **argv)
{
    form = &forms[round_form(forms, sizeof forms[0], KINI_COUNT(forms), argc, argv)];
    return round_main("storm/pipe", form->name, storm);
}
