/* SPDX-License-Identifier: MIT
 * Producers, consumers and reapers of one queue are killed at random, stopped and continued; every
 * item is accounted for (ledger.h). The first argument says which form: inline, blocks, bounded,
 * growing. KIN_STORM_SECONDS and KIN_SEED change length and seed. */
#include "storm/round.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#define PRODUCERS   3
#define CONSUMERS   3
#define REAPERS     1
#define PROCESSES   (PRODUCERS + CONSUMERS + REAPERS)
#define MOST_BYTES  30000
#define STOP_NUMBER UINT64_MAX
#define BATCH_MOST  12
#define BATCH_BYTES 256 /* the most that a message of a batch is long */

struct form {
    const char *name;
    uint64_t max_items;   /* 0: unbounded; 1: chosen anew for each round */
    uint64_t least, most; /* length of a message */
    unsigned lazy;        /* all rest one time in this many: the queue grows and drains */
};

static const struct form forms[] = {
    {"inline", 0, 16, 112, 0},
    {"blocks", 0, 113, MOST_BYTES, 0},
    {"bounded", 1, 16, 1500, 0},
    {"growing", 0, 16, 64, 3000},
};
static const struct form *form;

struct hand {
    kini_a64 item; /* the first word of the message */
    unsigned char rest[MOST_BYTES];
    /* of a batch: where the messages lie, noted before they leave the queue, but for the last one
     * if it came by itself. Zeroed before. */
    struct kin_item items[BATCH_MOST];
    _Alignas(16) unsigned char batch[BATCH_MOST * BATCH_BYTES];
};

static struct shared {
    kini_a32 stop; /* producers and reapers leave */
    struct hand hands[CONSUMERS];
} * shared;
static struct ledger *ledger;
static struct kin_arena *arena;
static struct kin_queue *queue;
static uint64_t incarnation;

/* --- the processes ---------------------------------------------------------------------------- */

static void produce_batch(struct kt_random *random)
{
    static unsigned char messages[BATCH_MOST][BATCH_BYTES];
    struct kin_item items[BATCH_MOST];
    uint64_t numbers[BATCH_MOST];
    const uint64_t most = form->most < BATCH_BYTES ? form->most : BATCH_BYTES;
    uint32_t n = 1 + (uint32_t)kt_random_below(random, BATCH_MOST), i;
    for (i = 0; i < n && (numbers[i] = ledger_begin(ledger)) != 0; i++) {
        uint64_t bytes = form->least + kt_random_size(random, most - form->least);
        memcpy(messages[i], &numbers[i], 8);
        kt_fill(messages[i] + 8, bytes - 8, numbers[i]);
        items[i] = (struct kin_item){messages[i], bytes};
    }
    for (uint32_t done = 0; done < i;) {
        bool hasty = kt_random_below(random, 4) == 0;
        int64_t r = kin_queue_put_many(queue, items + done, i - done,
                                       hasty ? kin_after_us(300) : KIN_NEVER);
        KT_CHECK(r > 0 || (r == -ETIMEDOUT && hasty));
        for (; r > 0; r--)
            ledger_put_returned(ledger, numbers[done++]);
    }
}

static void produce(uint64_t me)
{
    struct kt_random random = kt_random_of("produce", me);
    unsigned char message[MOST_BYTES];
    while (kini_load(&shared->stop) == 0) {
        if (kt_random_below(&random, 6) == 0)
            produce_batch(&random);
        uint64_t item = ledger_begin(ledger);
        if (item == 0)
            return;
        uint64_t bytes = form->least + kt_random_size(&random, form->most - form->least);
        memcpy(message, &item, 8);
        kt_fill(message + 8, bytes - 8, item);
        int r;
        switch (kt_random_below(&random, 4)) {
        case 0:
            while ((r = kin_queue_try_put(queue, message, bytes)) == -EAGAIN)
                sched_yield();
            break;
        case 1:
            while ((r = kin_queue_put(queue, message, bytes, kin_after_us(300))) == -ETIMEDOUT)
                ;
            break;
        default:
            r = kin_queue_put(queue, message, bytes, KIN_NEVER);
        }
        KT_CHECK(r == 0);
        ledger_put_returned(ledger, item);
        if (form->lazy != 0 && kt_random_below(&random, form->lazy) == 0)
            usleep(30000);
    }
}

/* True at the end. */
static bool consume_batch(struct kt_random *random, struct hand *hand)
{
    uint32_t most = 1 + (uint32_t)kt_random_below(random, BATCH_MOST);
    memset(hand->batch, 0, sizeof hand->batch);
    int64_t r = kin_queue_get_many(queue, hand->items, most, hand->batch, sizeof hand->batch,
                                   kin_after_us(300));
    KT_CHECK(r > 0 || r == -ETIMEDOUT || r == -EMSGSIZE);
    uint64_t ends = 0;
    for (int64_t i = 0; i < r; i++) {
        uint64_t item;
        memcpy(&item, hand->items[i].data, 8);
        if (item == STOP_NUMBER) {
            ends++;
        } else {
            KT_CHECK(ledger_delivered(ledger, item));
            KT_CHECK(kt_filled((unsigned char *)hand->items[i].data + 8, hand->items[i].bytes - 8,
                               item));
        }
        *(volatile size_t *)&hand->items[i].bytes = 0;
    }
    for (uint64_t end = STOP_NUMBER; ends > 1; ends--) /* those of others */
        KT_CHECK(kin_queue_put(queue, &end, sizeof end, KIN_NEVER) == 0);
    return ends > 0;
}

static void consume(uint64_t me, struct hand *hand)
{
    struct kt_random random = kt_random_of("consume", me);
    for (;;) {
        kini_store_sc(&hand->item, 0);
        int64_t r;
        uint64_t way = kt_random_below(&random, 8);
        if (way == 3) {
            if (consume_batch(&random, hand))
                return;
            continue;
        }
        if (way == 0)
            r = kin_queue_try_get(queue, hand, sizeof *hand);
        else if (way == 1)
            r = kin_queue_get(queue, hand, sizeof *hand, kin_after_us(300));
        else if (way == 2)
            r = kin_queue_get(queue, hand, 8, KIN_NEVER); /* too small: it stays */
        else
            r = kin_queue_get(queue, hand, sizeof *hand, KIN_NEVER);
        if (r == -EAGAIN || r == -ETIMEDOUT || r == -EMSGSIZE)
            continue;
        KT_CHECK(r >= 8);
        uint64_t item = kini_load_sc(&hand->item);
        if (item == STOP_NUMBER)
            return;
        KT_CHECK(ledger_delivered(ledger, item)); /* first: until then it is in our hands only */
        KT_CHECK(kt_filled(hand->rest, (uint64_t)r - 8, item));
        if (form->lazy != 0 && kt_random_below(&random, form->lazy) == 0)
            usleep(20000);
    }
}

static pid_t start(int place)
{
    uint64_t me = ++incarnation;
    pid_t pid = fork();
    if (pid == 0) {
        if (place < PRODUCERS)
            produce(me);
        else if (place < PRODUCERS + CONSUMERS)
            consume(me, &shared->hands[place - PRODUCERS]);
        else
            round_reap(arena, &shared->stop);
        if (me % 2)
            kin_arena_detach(arena);
        _exit(0);
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

/* --- the storm -------------------------------------------------------------------------------- */

static pid_t pids[PROCESSES];
static bool stopped[PROCESSES];
static uint64_t kills;

static void was_in_hand(const unsigned char *message)
{
    uint64_t item;
    memcpy(&item, message, sizeof item);
    if (item != 0 && item != STOP_NUMBER)
        ledger_was_in_hand(ledger, item);
}

/* The messages of a batch, and what may lie behind the last that was noted. */
static void batch_was_in_hand(struct hand *hand)
{
    size_t end = 0;
    for (uint32_t i = 0; i < BATCH_MOST; i++) {
        if (hand->items[i].bytes == 0)
            continue;
        unsigned char *data = hand->items[i].data;
        was_in_hand(data);
        end = (size_t)(data - hand->batch) + hand->items[i].bytes;
        hand->items[i].bytes = 0;
    }
    end = (end + 15) / 16 * 16;
    if (end + 8 <= sizeof hand->batch)
        was_in_hand(hand->batch + end);
}

/* Collect a victim: what its hand held may be lost with it. */
static void collect(int place)
{
    int status = kt_wait(pids[place]);
    ck_assert_msg(status == 0 || status == -SIGKILL, "process %d ended with %d", place, status);
    if (place >= PRODUCERS && place < PRODUCERS + CONSUMERS) {
        uint64_t item = kini_load_sc(&shared->hands[place - PRODUCERS].item);
        if (item != 0)
            ledger_was_in_hand(ledger, item);
        batch_was_in_hand(&shared->hands[place - PRODUCERS]);
    }
    pids[place] = 0;
    stopped[place] = false;
}

static void strike(struct kt_random *random)
{
    int place = (int)kt_random_below(random, PROCESSES);
    if (storm_halts(random, pids[place], &stopped[place], true))
        return;
    kill(pids[place], SIGKILL);
    collect(place);
    kills++;
    pids[place] = start(place);
}

static void calm_down(void)
{
    storm_continue(pids, stopped, PROCESSES);
    kini_store_sc(&shared->stop, 1);
    for (int i = 0; i < PROCESSES; i++)
        if (i < PRODUCERS || i >= PRODUCERS + CONSUMERS)
            collect(i);
    /* what is in the queue is to be delivered, then comes the end for each consumer */
    uint64_t end = STOP_NUMBER;
    for (int i = 0; i < CONSUMERS; i++)
        KT_OK(kin_queue_put(queue, &end, sizeof end, KIN_NEVER));
    for (int i = PRODUCERS; i < PRODUCERS + CONSUMERS; i++) {
        int status = kt_wait(pids[i]);
        ck_assert_msg(status == 0, "consumer ended with %d", status);
    }
    /* An item that came back after the ends had been put may still be here. */
    KT_OK(kin_arena_reap(arena));
    static struct hand hand;
    int64_t r;
    while ((r = kin_queue_try_get(queue, &hand, sizeof hand)) >= 8)
        ck_assert(ledger_delivered(ledger, kini_load(&hand.item)));
    KT_IS(r, -EAGAIN);
    KT_IS(kin_queue_size(queue), 0);
}

static void round_of(struct kt_random *random, struct ledger_sums *sums, int64_t until)
{
    kini_store(&shared->stop, 0);
    ledger_clear(ledger);
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = start(i);
    round_strike(random, ledger, until, strike);
    calm_down();
    round_account(ledger, sums);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
}

START_TEST(storm)
{
    int64_t end = storm_end();
    struct kt_random random = kt_random_of("storm", 0);
    struct ledger_sums sums = {0};
    shared = kt_share(sizeof *shared);
    ledger = ledger_open();
    arena = kt_arena(16 * GIB);
    int rounds = 0;
    while (kin_now_ns() < end) {
        if (queue == NULL)
            queue = kt_queue(arena, form->max_items ? 1 + kt_random_below(&random, 40) : 0, 0);
        int64_t until = kin_after_ms(1200);
        round_of(&random, &sums, until < end ? until : end);
        if (++rounds % 3 == 0) { /* sometimes the queue goes on, sometimes there is a new one */
            kin_queue_destroy(queue);
            queue = NULL;
            round_leaves_nothing(arena);
        }
    }
    kin_queue_destroy(queue);
    ck_assert_uint_eq(kt_stat(arena).threads_count, 1);
    round_leaves_nothing(arena);
    printf("%s: %" PRIu64 " killed; %" PRIu64 " items put, %" PRIu64 " delivered, %" PRIu64
           " lost in a victim's hands, %" PRIu64 " producers killed in put\n",
           form->name, kills, sums.put, sums.delivered, sums.lost_in_hands, sums.died_in_put);
    kin_arena_detach(arena);
    ledger_close(ledger);
    kt_unshare(shared, sizeof *shared);
}
END_TEST

int main(int argc, char **argv)
{
    form = &forms[round_form(forms, sizeof forms[0], KINI_COUNT(forms), argc, argv)];
    return round_main("storm/queue", form->name, storm);
}
