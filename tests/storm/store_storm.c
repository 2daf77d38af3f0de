/* SPDX-License-Identifier: MIT
 * Queues of each kind, and every way to put and get: copied, in batches, in place. Producers,
 * consumers, reapers and joiners are killed at random, stopped and continued; every item is
 * accounted for (ledger.h). In some rounds the queue is shut down and the consumers drain it; in
 * others they are killed, what is left must come out in the order of its kind, and a join must end
 * with the last item. The first argument says which form. KIN_STORM_SECONDS and KIN_SEED change
 * length and seed. */
#include "chan/ring.h"
#include "storm/round.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#define MOST        3 /* producers, and consumers */
#define OTHERS      2 /* reapers; in a joinable queue the second one joins */
#define PROCESSES   (2 * MOST + OTHERS)
#define MOST_BYTES  3000
#define SPARE       50 /* reserved and not used, at most */
#define BATCH_MOST  8
#define BATCH_BYTES 256 /* the most that a message of a batch is long */
#define MARK        0x6b696e2073746f72ull
#define PRIORITIES  5

struct form {
    const char *name;
    enum kin_queue_kind kind;
    uint64_t max_items, max_bytes; /* 1: chosen anew for each round */
    uint32_t joinable;
    uint32_t in_place; /* in so many of 8 */
    int each;          /* producers, and consumers; one each: all come out in their order */
};

static const struct form forms[] = {
    {"lifo", KIN_LIFO, 1, 0, 0, 2, MOST},  {"priority", KIN_PRIORITY, 1, 0, 0, 2, MOST},
    {"bytes", KIN_FIFO, 0, 1, 0, 2, MOST}, {"joinable", KIN_FIFO, 1, 0, 1, 2, MOST},
    {"ordered", KIN_FIFO, 0, 1, 1, 2, 1},  {"place", KIN_FIFO, 1, 0, 0, 7, MOST},
};
static const struct form *form;

/* How a message begins. */
struct head {
    uint64_t item, mark, producer;
    int64_t priority;
};

struct hand {
    kini_a64 item; /* of a message in place that is being released */
    _Alignas(16) unsigned char buffer[MOST_BYTES];
};

static struct shared {
    kini_a32 stop;   /* producers and others leave */
    kini_a32 joined; /* the last joiner has come to the end */
    kini_a64 last;   /* that came out, with one producer and one consumer */
    struct hand hands[MOST];
} * shared;
static struct ledger *ledger;
static struct kin_arena *arena;
static struct kin_queue *queue;
static uint64_t incarnation;

static bool is_used(int place)
{
    return place >= 2 * MOST || place % MOST < form->each;
}

static bool is_consumer(int place)
{
    return place >= MOST && place < 2 * MOST;
}

/* --- producers -------------------------------------------------------------------------------- */

static uint64_t message_bytes(struct kt_random *random, uint64_t most)
{
    return sizeof(struct head) + kt_random_size(random, most - sizeof(struct head));
}

static void make(void *message, uint64_t bytes, uint64_t item, uint64_t me, int64_t priority)
{
    const struct head head = {item, item ^ MARK, me, priority};
    memcpy(message, &head, sizeof head);
    kt_fill((char *)message + sizeof head, bytes - sizeof head, item);
}

static kin_deadline some_deadline(struct kt_random *random)
{
    return kt_random_below(random, 4) == 0 ? kin_after_us(300) : KIN_NEVER;
}

static bool put_in_place(struct kt_random *random, uint64_t me)
{
    uint64_t bytes = message_bytes(random, MOST_BYTES), item;
    void *data;
    KT_CHECK(kin_queue_reserve(queue, bytes + kt_random_below(random, SPARE), &data) == 0);
    if (kt_random_below(random, 8) == 0) {
        KT_CHECK(kin_queue_cancel(queue, data) == 0);
        return true;
    }
    if ((item = ledger_begin(ledger)) == 0)
        return false;
    make(data, bytes, item, me, 0);
    int r;
    while ((r = kin_queue_publish(queue, data, bytes, some_deadline(random))) == -ETIMEDOUT)
        ;
    KT_CHECK(r == 0);
    ledger_put_returned(ledger, item);
    return true;
}

static bool put_batch(struct kt_random *random, uint64_t me)
{
    static unsigned char messages[BATCH_MOST][BATCH_BYTES];
    struct kin_item items[BATCH_MOST];
    uint64_t numbers[BATCH_MOST];
    uint32_t n = 1 + (uint32_t)kt_random_below(random, BATCH_MOST), count = 0;
    while (count < n && (numbers[count] = ledger_begin(ledger)) != 0) {
        items[count] = (struct kin_item){messages[count], message_bytes(random, BATCH_BYTES)};
        make(messages[count], items[count].bytes, numbers[count], me, 0);
        count++;
    }
    for (uint32_t done = 0; done < count;) {
        int64_t r = kin_queue_put_many(queue, items + done, count - done, some_deadline(random));
        KT_CHECK(r > 0 || r == -ETIMEDOUT);
        for (; r > 0; r--)
            ledger_put_returned(ledger, numbers[done++]);
    }
    return count == n;
}

static bool put_copied(struct kt_random *random, uint64_t me)
{
    static unsigned char message[MOST_BYTES];
    uint64_t bytes = message_bytes(random, MOST_BYTES), item = ledger_begin(ledger);
    int64_t priority =
        form->kind == KIN_PRIORITY ? (int64_t)kt_random_below(random, PRIORITIES) : 0;
    int r;
    if (item == 0)
        return false;
    make(message, bytes, item, me, priority);
    if (form->kind == KIN_PRIORITY)
        while ((r = kin_queue_put_prio(queue, message, bytes, priority, some_deadline(random))) ==
               -ETIMEDOUT)
            ;
    else if (kt_random_below(random, 3) == 0)
        while ((r = kin_queue_try_put(queue, message, bytes)) == -EAGAIN)
            sched_yield();
    else
        while ((r = kin_queue_put(queue, message, bytes, some_deadline(random))) == -ETIMEDOUT)
            ;
    KT_CHECK(r == 0);
    ledger_put_returned(ledger, item);
    return true;
}

static void produce(uint64_t me)
{
    struct kt_random random = kt_random_of("produce", me);
    bool room = true;
    while (room && kini_load(&shared->stop) == 0) {
        uint64_t way = kt_random_below(&random, 8);
        room = way < form->in_place ? put_in_place(&random, me)
               : way == 7           ? put_batch(&random, me)
                                    : put_copied(&random, me);
    }
}

/* --- consumers -------------------------------------------------------------------------------- */

static struct head check_message(const void *message, int64_t bytes)
{
    struct head head;
    KT_CHECK(bytes >= (int64_t)sizeof head);
    memcpy(&head, message, sizeof head);
    KT_CHECK(head.mark == (head.item ^ MARK));
    KT_CHECK(
        kt_filled((const char *)message + sizeof head, (uint64_t)bytes - sizeof head, head.item));
    return head;
}

/* It is out of the queue for good. */
static void had(uint64_t item)
{
    KT_CHECK(ledger_delivered(ledger, item));
    if (form->each == 1) {
        KT_CHECK(item > kini_load_sc(&shared->last));
        kini_store_sc(&shared->last, item);
    }
    KT_CHECK(!form->joinable || kin_queue_task_done(queue) == 0);
}

/* Until it is released its death brings it back; after that the hand says that we had it. */
static int64_t get_in_place(struct kt_random *random, struct hand *hand, kin_deadline deadline)
{
    void *data;
    int64_t r = kin_queue_take(queue, &data, deadline);
    if (r < 0)
        return r;
    struct head head = check_message(data, r);
    if (kt_random_below(random, 50) == 0)
        usleep(1000);
    kini_store_sc(&hand->item, head.item);
    KT_CHECK(kin_queue_release(queue, data) == 0);
    had(head.item);
    kini_store_sc(&hand->item, 0);
    return r;
}

static int64_t get_batch(struct kt_random *random, struct hand *hand, kin_deadline deadline)
{
    struct kin_item items[BATCH_MOST];
    uint32_t most = 1 + (uint32_t)kt_random_below(random, BATCH_MOST);
    int64_t r = kin_queue_get_many(queue, items, most, hand->buffer, sizeof hand->buffer, deadline);
    for (int64_t i = 0; i < r; i++)
        had(check_message(items[i].data, (int64_t)items[i].bytes).item);
    return r;
}

static int64_t get_copied(struct kt_random *random, struct hand *hand, kin_deadline deadline)
{
    uint64_t capacity = kt_random_below(random, 8) == 0 ? 8 : sizeof hand->buffer;
    int64_t r = kin_queue_get(queue, hand->buffer, capacity, deadline);
    if (r >= 0)
        had(check_message(hand->buffer, r).item);
    return r;
}

static void consume(uint64_t me, struct hand *hand)
{
    struct kt_random random = kt_random_of("consume", me);
    int64_t r;
    do {
        uint64_t way = kt_random_below(&random, 8);
        kin_deadline deadline = some_deadline(&random);
        memset(hand->buffer, 0, sizeof hand->buffer);
        r = way < form->in_place ? get_in_place(&random, hand, deadline)
            : way == 7           ? get_batch(&random, hand, deadline)
                                 : get_copied(&random, hand, deadline);
    } while (r >= 0 || r == -ETIMEDOUT || r == -EMSGSIZE);
    KT_CHECK(r == -ESHUTDOWN);
}

/* --- the others ------------------------------------------------------------------------------- */

static void join(void)
{
    while (kini_load(&shared->stop) == 0) {
        int r = kin_queue_join(queue, kin_after_ms(2));
        KT_CHECK(r == 0 || r == -ETIMEDOUT);
        KT_CHECK(kin_queue_unfinished(queue) >= 0);
    }
}

static pid_t start(int place)
{
    uint64_t me = ++incarnation;
    pid_t pid = fork();
    if (pid == 0) {
        if (place < MOST)
            produce(me);
        else if (is_consumer(place))
            consume(me, &shared->hands[place - MOST]);
        else if (place == PROCESSES - 1 && form->joinable)
            join();
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
static uint64_t kills, orders, joins;

/* What may be lost with a victim: whatever begins like a message in its hand. */
static void look_into(struct hand *hand)
{
    uint64_t item = kini_load_sc(&hand->item);
    if (item != 0)
        ledger_was_in_hand(ledger, item);
    for (size_t at = 0; at + sizeof(struct head) <= sizeof hand->buffer; at += 16) {
        struct head head;
        memcpy(&head, hand->buffer + at, sizeof head);
        if (head.item != 0 && head.mark == (head.item ^ MARK))
            ledger_was_in_hand(ledger, head.item);
    }
    kini_store_sc(&hand->item, 0);
}

static void collect(int place)
{
    int status = kt_wait(pids[place]);
    ck_assert_msg(status == 0 || status == -SIGKILL, "process %d ended with %d", place, status);
    if (is_consumer(place))
        look_into(&shared->hands[place - MOST]);
    pids[place] = 0;
    stopped[place] = false;
}

static uint32_t living(void)
{
    uint32_t count = 1;
    for (int i = 0; i < PROCESSES; i++)
        count += pids[i] != 0;
    return count;
}

static void strike(struct kt_random *random)
{
    int place = (int)kt_random_below(random, PROCESSES);
    if (!is_used(place))
        return;
    if (storm_halts(random, pids[place], &stopped[place], form->each > 1))
        return;
    kill(pids[place], SIGKILL);
    collect(place);
    kills++;
    if (form->each == 1) /* what it had comes first again: before its successor gets more */
        KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count <= living());
    pids[place] = start(place);
}

static void end_all(int first, int last, int signal)
{
    for (int i = first; i < last; i++)
        if (is_used(i) && signal != 0)
            kill(pids[i], signal);
    for (int i = first; i < last; i++)
        if (is_used(i))
            collect(i);
}

/* Whether the second may come out behind the first. Of the same producer we know more. */
static bool in_order(const struct head *first, const struct head *second)
{
    if (form->kind == KIN_PRIORITY && first->priority != second->priority)
        return first->priority < second->priority;
    return first->producer != second->producer ||
           (form->kind == KIN_LIFO ? first->item > second->item : first->item < second->item);
}

/* --- the end of a round ----------------------------------------------------------------------- */

static void reap_all(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == living());
}

static int join_to_the_end(void *unused)
{
    (void)unused;
    int r = kin_queue_join(queue, KIN_NEVER);
    kini_store_sc(&shared->joined, 1);
    return r;
}

static pid_t start_joiner(void)
{
    kini_store_sc(&shared->joined, 0);
    return form->joinable ? kt_fork(join_to_the_end, NULL) : 0;
}

static void end_joiner(pid_t joiner)
{
    if (joiner == 0)
        return;
    ck_assert_int_eq(kt_wait(joiner), 0);
    KT_IS(kin_queue_unfinished(queue), 0);
    joins++;
}

/* Everything comes out, in the order of its kind but for what the dead gave back. A join does not
 * end before it. */
static void drain_in_order(void)
{
    static unsigned char message[MOST_BYTES];
    const int64_t size = kin_queue_size(queue);
    const int64_t returned = (int64_t)kini_load(&queue->shm->returned_count);
    struct head last = {0};
    for (int64_t i = 0; i < size; i++) {
        int64_t r = kin_queue_try_get(queue, message, sizeof message);
        KT_OK(r);
        struct head head = check_message(message, r);
        if (i > returned) {
            ck_assert_msg(in_order(&last, &head),
                          "item %" PRIu64 " of %" PRIu64 " comes before item %" PRIu64
                          " of %" PRIu64,
                          last.item, last.producer, head.item, head.producer);
            orders++;
        }
        last = head;
        ck_assert(ledger_delivered(ledger, head.item));
        ck_assert_uint_eq(kini_load_sc(&shared->joined), 0);
        if (form->joinable)
            KT_OK(kin_queue_task_done(queue));
    }
    KT_IS(kin_queue_try_get(queue, message, sizeof message), -EAGAIN);
}

static int die_with_it(void *unused)
{
    char byte;
    (void)unused;
    KT_CHECK(kin_queue_get(queue, &byte, sizeof byte, KIN_NEVER) == 1);
    return kt_sleep_for_ever(NULL);
}

/* Who has got the last message dies: that is the end, too. */
static void join_the_dead(void)
{
    KT_OK(kin_queue_put(queue, "", 1, KIN_NEVER));
    pid_t joiner = start_joiner(), victim = kt_fork(die_with_it, NULL);
    KT_UNTIL(kin_queue_size(queue) == 0);
    ck_assert_uint_eq(kini_load_sc(&shared->joined), 0);
    KT_IS(kin_queue_unfinished(queue), 1);
    kt_kill(victim);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kini_load_sc(&shared->joined) == 1);
    end_joiner(joiner);
}

/* All die, the consumers first, and what is left is looked at. */
static void finish_killed(struct kt_random *random)
{
    end_all(MOST, 2 * MOST, SIGKILL);
    usleep((useconds_t)kt_random_below(random, 5000));
    end_all(0, MOST, SIGKILL);
    kini_store_sc(&shared->stop, 1);
    end_all(2 * MOST, PROCESSES, 0);
    reap_all();
    if (form->joinable)
        KT_IS(kin_queue_unfinished(queue), kin_queue_size(queue));
    pid_t joiner = start_joiner();
    drain_in_order();
    end_joiner(joiner);
    if (form->joinable)
        join_the_dead();
}

/* The consumers go on to the end. */
static void finish_drained(void)
{
    end_all(0, MOST, 0);
    end_all(2 * MOST, PROCESSES, 0);
    reap_all();
    pid_t joiner = start_joiner();
    KT_OK(kin_queue_shutdown(queue, KIN_WHEN_DRAINED));
    end_all(MOST, 2 * MOST, 0);
    end_joiner(joiner);
    char byte;
    KT_IS(kin_queue_try_get(queue, &byte, sizeof byte), -ESHUTDOWN);
}

static void calm_down(struct kt_random *random)
{
    storm_continue(pids, stopped, PROCESSES);
    bool killed = kt_random_below(random, 2) == 0;
    kini_store_sc(&shared->stop, !killed);
    if (killed)
        finish_killed(random);
    else
        finish_drained();
    KT_IS(kin_queue_size(queue), 0);
}

static void round_of(struct kt_random *random, struct ledger_sums *sums, int64_t until)
{
    const struct kin_queue_opts opts = {
        .kind = form->kind,
        .joinable = form->joinable,
        .max_items = form->max_items ? 1 + kt_random_below(random, 60) : 0,
        .max_bytes =
            form->max_bytes ? MOST_BYTES + SPARE + kt_random_below(random, 20 * MOST_BYTES) : 0};
    KT_OK(kin_queue_create(arena, &opts, &queue));
    kini_store(&shared->stop, 0);
    kini_store(&shared->last, 0);
    ledger_clear(ledger);
    for (int i = 0; i < PROCESSES; i++)
        if (is_used(i))
            pids[i] = start(i);
    round_strike(random, ledger, until, strike);
    calm_down(random);
    round_account(ledger, sums);
    reap_all();
    kin_queue_destroy(queue);
    round_leaves_nothing(arena);
}

START_TEST(storm)
{
    int64_t end = storm_end();
    struct kt_random random = kt_random_of("storm", 0);
    struct ledger_sums sums = {0};
    shared = kt_share(sizeof *shared);
    ledger = ledger_open();
    arena = kt_arena(4 * GIB);
    while (kin_now_ns() < end) {
        int64_t until = kin_after_ms(100 + (int64_t)kt_random_below(&random, 500));
        round_of(&random, &sums, until < end ? until : end);
    }
    ck_assert_uint_eq(kt_stat(arena).threads_count, 1);
    printf("%s: %" PRIu64 " killed; %" PRIu64 " items put, %" PRIu64 " delivered, %" PRIu64
           " lost in a victim's hands, %" PRIu64 " producers killed in put; %" PRIu64
           " seen in their order at the end, %" PRIu64 " joins\n",
           form->name, kills, sums.put, sums.delivered, sums.lost_in_hands, sums.died_in_put,
           orders, joins);
    kin_arena_detach(arena);
    ledger_close(ledger);
    kt_unshare(shared, sizeof *shared);
}
END_TEST

int main(int argc, char **argv)
{
    form = &forms[round_form(forms, sizeof forms[0], KINI_COUNT(forms), argc, argv)];
    return round_main("storm/store", form->name, storm);
}
