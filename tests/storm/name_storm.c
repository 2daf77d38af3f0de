/* SPDX-License-Identifier: MIT
 * A producer and a consumer that share nothing but two names are killed and started again at random
 * while the other lives. Every item is accounted for (ledger.h), and the arena stays the same,
 * since one of them is always in it. KIN_STORM_SECONDS and KIN_SEED change length and seed. */
#include "arena/arena.h"
#include "lib/stranger.h"
#include "storm/ledger.h"
#include "storm/storm.h"

#include <inttypes.h>
#include <signal.h>

#define MOST_BYTES 3000
#define ROLES      2

struct hand {
    kini_a64 item; /* the first word of the message */
    unsigned char rest[MOST_BYTES];
};

static struct board {
    kini_a32 stop;
    kini_a32 ready[ROLES]; /* has the queue */
    kini_a64 incarnations;
    kini_a64 uuid; /* of the arena: it may not change */
    struct hand hand;
    struct ledger ledger;
} * board;

static struct kin_queue *meet(struct board *b, int role, const char *name)
{
    static struct kin_arena *arena;
    struct kin_queue *queue;
    if (kin_arena_open(name, NULL, &arena) < 0 ||
        kin_queue_open(arena, "items", NULL, &queue) < 0) {
        dprintf(2, "stranger: %s\n", kin_error_text());
        _exit(100);
    }
    uint64_t none = 0, uuid = arena->super->uuid[0];
    if (!kini_cas_sc(&b->uuid, &none, uuid))
        KT_CHECK(none == uuid); /* one of us was there all the time */
    kini_store_sc(&b->ready[role], 1);
    return queue;
}

static int play_produce(void *memory, const char *name)
{
    struct board *b = memory;
    struct kt_random random = kt_random_of("produce", kini_add_sc(&b->incarnations, 1));
    struct kin_queue *queue = meet(b, 0, name);
    static unsigned char message[MOST_BYTES + 8];
    while (kini_load(&b->stop) == 0) {
        uint64_t item = ledger_begin(&b->ledger);
        if (item == 0) { /* the numbers are used up: but one of us is always there */
            usleep(500);
            continue;
        }
        uint64_t bytes = 8 + kt_random_below(&random, kt_random_below(&random, 8) ? 100 : 2900);
        memcpy(message, &item, 8);
        kt_fill(message + 8, bytes - 8, item);
        KT_CHECK(kin_queue_put(queue, message, bytes, KIN_NEVER) == 0);
        ledger_put_returned(&b->ledger, item);
        if (kin_queue_size(queue) > 200) /* it must not run away */
            usleep(500);
    }
    return 0;
}

static int play_consume(void *memory, const char *name)
{
    struct board *b = memory;
    struct kin_queue *queue = meet(b, 1, name);
    struct hand *hand = &b->hand;
    for (;;) {
        kini_store_sc(&hand->item, 0);
        int64_t r = kin_queue_get(queue, hand, sizeof *hand, kin_after_ms(50));
        if (r == -ETIMEDOUT && kini_load(&b->stop) == 2)
            return 0;
        if (r == -ETIMEDOUT)
            continue;
        KT_CHECK(r >= 8);
        uint64_t item = kini_load_sc(&hand->item);
        KT_CHECK(ledger_delivered(&b->ledger, item));
        KT_CHECK(kt_filled(hand->rest, (uint64_t)r - 8, item));
    }
}

static const struct kt_role roles[] = {
    {"produce", play_produce}, {"consume", play_consume}, {NULL, NULL}};

static pid_t start(int role)
{
    kini_store_sc(&board->ready[role], 0);
    return kt_stranger(roles[role].name, kt_name("storm"));
}

static void strike(pid_t *pid, int role)
{
    kill(*pid, SIGKILL);
    ck_assert_int_eq(kt_wait(*pid), -SIGKILL);
    uint64_t item = role == 1 ? kini_load_sc(&board->hand.item) : 0;
    if (item != 0)
        ledger_was_in_hand(&board->ledger, item);
    *pid = start(role);
}

START_TEST(storm)
{
    int64_t end = storm_end();
    struct kt_random random = kt_random_of("storm", 0);
    struct ledger_sums sums = {0};
    uint64_t kills = 0;
    board = kt_board(sizeof *board);
    kini_store(&board->ledger.next, 1);
    pid_t pids[ROLES] = {start(0), start(1)};
    while (kin_now_ns() < end && kini_load(&board->ledger.next) < LEDGER_ITEMS) {
        usleep((useconds_t)kt_random_below(&random, 20000));
        int role = (int)kt_random_below(&random, ROLES);
        KT_UNTIL(kini_load_sc(&board->ready[!role]) != 0); /* the other one lives */
        strike(&pids[role], role);
        kills++;
    }
    KT_UNTIL(kini_load_sc(&board->ready[0]) != 0 && kini_load_sc(&board->ready[1]) != 0);
    for (int role = 0; role < ROLES; role++) { /* the producer first */
        kini_store_sc(&board->stop, (uint32_t)role + 1);
        ck_assert_int_eq(kt_wait(pids[role]), 0);
    }
    const char *wrong = ledger_check(&board->ledger, &sums);
    ck_assert_msg(wrong == NULL, "%s", wrong);
    struct kin_arena *arena = NULL;
    KT_IS(kin_arena_find(kt_name("storm"), NULL, &arena), -ENOENT); /* nothing is left */
    printf("%" PRIu64 " killed; %" PRIu64 " items put, %" PRIu64 " delivered, %" PRIu64
           " lost in a victim's hands, %" PRIu64 " producers killed in put\n",
           kills, sums.put, sums.delivered, sums.lost_in_hands, sums.died_in_put);
    kt_board_close(board, sizeof *board);
}
END_TEST

int main(int argc, char **argv)
{
    kt_stranger_main(argc, argv, roles, sizeof *board);
    Suite *suite = suite_create("storm/name");
    TCase *t = kt_case(suite, "name", 60 + storm_seconds());
    tcase_add_test(t, storm);
    return kt_run(suite);
}
