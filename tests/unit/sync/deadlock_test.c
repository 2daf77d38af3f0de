/* SPDX-License-Identifier: MIT
 * Deadlocks are found with who and what and since when, and nothing else is taken for one. */
#include "arena/arena.h"
#include "sync/lock_word.h"
#include "sync/wait.h"
#include "sync_fixture.h"

#define MOST 20

/* A ring of parties: party i holds object i and waits for the next one of its ring. */
static struct {
    struct kin_lock *lock;
    struct kin_rlock *rlock; /* one of them is NULL */
    int next;                /* the party whose object this one waits for; itself: none */
} parts[MOST];
static struct party parties[MOST];
static struct kin_deadlock found[4];

static void open_parts(int count, uint32_t rlocks)
{
    begin();
    memset(parts, 0, sizeof parts);
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "object %d", i);
        const struct kin_lock_opts opts = {.size = sizeof opts, .name = name};
        if (rlocks >> i & 1)
            KT_OK(kin_rlock_create(arena, &opts, &parts[i].rlock));
        else
            KT_OK(kin_lock_create(arena, &opts, &parts[i].lock));
        parts[i].next = i;
    }
}

static void close_parts(int count)
{
    KT_IS(kin_deadlocks(arena, found, 4), 0);
    for (int i = 0; i < count; i++) {
        kin_lock_destroy(parts[i].lock);
        kin_rlock_destroy(parts[i].rlock);
    }
    finish();
}

static int acquire(int i, kin_deadline deadline)
{
    return parts[i].lock != NULL ? kin_lock_acquire(parts[i].lock, deadline)
                                 : kin_rlock_acquire(parts[i].rlock, deadline);
}

static int waiting(int i)
{
    return parts[i].lock != NULL ? kin_lock_waiting(parts[i].lock)
                                 : kin_rlock_waiting(parts[i].rlock);
}

/* words[0]: how many hold theirs, words[1]: go on and wait, words[2]: how many are through;
 * words[100, 200, 300 + me]: pid, tid, when it began to wait; words[3]: for so many ms at most */
static void play(int me)
{
    char name[32];
    snprintf(name, sizeof name, "thread %d", me);
    PARTY_IS(kin_thread_set_name(arena, name), 0);
    words[100 + me] = getpid();
    words[200 + me] = gettid();
    PARTY_IS(acquire(me, KIN_NEVER), 0);
    words[0]++;
    KT_UNTIL(words[1]);
    words[300 + me] = kin_now_ns();
    int r = 0;
    if (parts[me].next != me || words[4])
        r = acquire(parts[me].next, words[3] ? kin_after_ms(words[3]) : KIN_NEVER);
    words[2]++;
    KT_CHECK(r == 0 || r == KIN_ABANDONED || r == -ESTALE || (words[3] && r == -ETIMEDOUT));
    KT_UNTIL(words[5] == 0);
    for (int i = 0; i < (r < 0 ? 1 : 2); i++) { /* somebody may have released a lock for me */
        int mine = i == 0 ? me : parts[me].next;
        if (parts[mine].lock != NULL)
            (void)kin_lock_release(parts[mine].lock);
        else if (parts[mine].rlock != NULL)
            (void)kin_rlock_release(parts[mine].rlock);
    }
}

/* Parties 0 … count - 1, of which all hold and those with a next one wait. */
static void start_all(int form, int count)
{
    for (int i = 0; i < count; i++)
        party_start(&parties[i], form, play, i);
    KT_UNTIL(words[0] == count);
    KT_IS(kin_deadlocks(arena, found, 4), 0);
    words[1] = 1;
    for (int i = 0; i < count; i++)
        if (parts[i].next != i || words[4])
            KT_UNTIL(waiting(parts[i].next) >= 1);
}

/* One link of the ring is taken out: the parties go on one after another. */
static void resolve(int form, int first)
{
    if (form == PROCESSES) {
        party_kill(&parties[first]);
        parties[first].process = NULL;
    } else if (parts[first].lock != NULL) {
        KT_IS(kin_lock_release(parts[first].lock), 0);
    } else {
        struct kin_rlock *rlock = parts[first].rlock;
        parts[first].rlock = NULL;
        kin_rlock_destroy(rlock);
    }
}

static void join_all(int count)
{
    for (int i = 0; i < count; i++)
        if (parties[i].form == THREADS || parties[i].process != NULL)
            party_join(&parties[i]);
}

/* The party of the ring that this one is. */
static int party_of(const struct kin_deadlock_party *party, int count)
{
    for (int i = 0; i < count; i++)
        if (party->pid == words[100 + i] && party->tid == words[200 + i])
            return i;
    ck_abort_msg("pid %d, tid %d is none of the parties", party->pid, party->tid);
}

static void check_ring(const struct kin_deadlock *deadlock, int form, int count, int members)
{
    char text[32];
    ck_assert_uint_eq(deadlock->parties_count, (unsigned)members);
    uint32_t listed = deadlock->parties_count < KIN_DEADLOCK_PARTIES_MAX ? deadlock->parties_count
                                                                         : KIN_DEADLOCK_PARTIES_MAX;
    for (uint32_t i = 0; i < listed; i++) {
        const struct kin_deadlock_party *party = &deadlock->parties[i];
        const int me = party_of(party, count), next = parts[me].next;
        if (i + 1 < (uint32_t)members && i + 1 < listed)
            ck_assert_int_eq(party_of(&deadlock->parties[i + 1], count), next);
        else if (listed == (uint32_t)members)
            ck_assert_int_eq(party_of(&deadlock->parties[0], count), next);
        snprintf(text, sizeof text, "thread %d", me);
        ck_assert_str_eq(party->thread, text);
        snprintf(text, sizeof text, "object %d", next);
        ck_assert_str_eq(party->object, text);
        if (form == PROCESSES)
            ck_assert_str_eq(party->process, kin_process_name(parties[me].process));
        ck_assert_uint_eq(party->kind, parts[next].lock != NULL ? KIN_WAIT_LOCK : KIN_WAIT_RLOCK);
        ck_assert_int_ge(party->since_ns, words[300 + me]);
        ck_assert_int_le(party->since_ns, kin_now_ns());
        for (uint32_t j = 0; j < i; j++)
            ck_assert_uint_ne(party->object_id, deadlock->parties[j].object_id);
    }
}

static void make_ring(int first, int count)
{
    for (int i = 0; i < count; i++)
        parts[first + i].next = first + (i + 1) % count;
}

/* A look finds fewer if one of them stirs in that millisecond. */
static void find(int count)
{
    memset(found, 0x55, sizeof found);
    KT_UNTIL(kin_deadlocks(arena, found, 4) == count);
}

/* --- rings ---------------------------------------------------------------------------------- */

static const struct {
    int count;
    uint32_t rlocks;
} rings[] = {{2, 0}, {2, 3}, {2, 1}, {3, 0}, {3, 7}, {3, 2}, {7, 0x55}, {MOST, 0}};
#define RINGS ((int)(sizeof rings / sizeof rings[0]))

START_TEST(a_ring)
{
    const int form = _i % 2, count = rings[_i / 2].count;
    open_parts(count, rings[_i / 2].rlocks);
    make_ring(0, count);
    start_all(form, count);
    int64_t before = kin_now_ns();
    for (int i = 0; i < 3; i++) { /* as often as one asks */
        find(1);
        check_ring(&found[0], form, count, count);
        ck_assert_int_le(found[0].parties[0].since_ns, before); /* it does not begin anew */
    }
    KT_UNTIL(kin_deadlocks(arena, NULL, 0) == 1);
    ck_assert_int_eq(words[2], 0);
    resolve(form, 0);
    join_all(count);
    close_parts(count);
}
END_TEST

/* A lock that one waits for and holds itself: anybody can release it. */
START_TEST(a_ring_of_one)
{
    open_parts(1, 0);
    words[4] = 1;
    start_all(_i, 1);
    find(1);
    check_ring(&found[0], _i, 1, 1);
    KT_IS(kin_lock_release(parts[0].lock), 0);
    join_all(1);
    KT_IS(kin_deadlocks(arena, found, 4), 0);
    close_parts(1);
}
END_TEST

/* Two that have nothing to do with one another, and one more that waits for a member. */
START_TEST(two_rings_and_a_tail)
{
    struct kin_deadlock one[2];
    open_parts(6, 0);
    make_ring(0, 2);
    make_ring(2, 3);
    parts[5].next = 3; /* in no ring itself */
    start_all(_i, 6);
    KT_UNTIL(waiting(3) == 2);
    find(2);
    int first = found[0].parties_count == 2 ? 0 : 1;
    check_ring(&found[first], _i, 6, 2);
    check_ring(&found[1 - first], _i, 6, 3);
    memset(one, 0x55, sizeof one);
    KT_UNTIL(kin_deadlocks(arena, one, 1) == 2); /* how many there are; at most one is filled in */
    ck_assert_uint_eq(one[1].parties_count, 0x55555555);
    ck_assert(one[0].parties_count == 2 || one[0].parties_count == 3);
    words[5] = 1; /* hold it, so that the tail goes on waiting */
    resolve(_i, 0);
    KT_UNTIL(words[2] >= 1);
    find(1);
    check_ring(&found[0], _i, 6, 3);
    words[5] = 0;
    resolve(_i, 2);
    join_all(6);
    close_parts(6);
}
END_TEST

/* It ends by itself: with deadlines it is one as long as it lasts. */
START_TEST(until_the_deadline)
{
    open_parts(3, 0);
    make_ring(0, 3);
    words[3] = 1500;
    start_all(_i, 3);
    int r = 0;
    while (words[2] == 0 && r != 1)
        r = kin_deadlocks(arena, found, 4);
    ck_assert_int_eq(r, 1); /* it lasts much longer than a look */
    check_ring(&found[0], _i, 3, 3);
    join_all(3);
    close_parts(3);
}
END_TEST

static struct kin_condition *condition; /* with lock 0 */

/* Party 0 holds 1 and, notified, wants 0 again; party 1 holds 0, notifies and wants 1. */
static void meet_at_the_condition(int me)
{
    char name[32];
    snprintf(name, sizeof name, "thread %d", me);
    PARTY_IS(kin_thread_set_name(arena, name), 0);
    words[100 + me] = getpid();
    words[200 + me] = gettid();
    words[300 + me] = kin_now_ns();
    if (me == 0)
        PARTY_IS(acquire(1, KIN_NEVER), 0);
    PARTY_IS(acquire(0, KIN_NEVER), 0);
    if (me == 0) {
        words[0] = 1;
        PARTY_IS(kin_condition_wait(condition, KIN_NEVER), 0);
        PARTY_IS(kin_lock_release(parts[0].lock), 0);
    } else {
        PARTY_IS(kin_condition_notify(condition, 1), 1);
        PARTY_IS(acquire(1, KIN_NEVER), 0); /* main releases 0 for it */
    }
    PARTY_IS(kin_lock_release(parts[1].lock), 0);
}

START_TEST(by_a_condition)
{
    open_parts(2, 0);
    const struct kin_condition_opts opts = {.size = sizeof opts, .lock = parts[0].lock};
    KT_OK(kin_condition_create(arena, &opts, &condition));
    parts[0].next = 0; /* here: what the party waits for */
    parts[1].next = 1;
    party_start(&parties[0], _i, meet_at_the_condition, 0);
    KT_UNTIL(kin_condition_waiting(condition) == 1);
    party_start(&parties[1], _i, meet_at_the_condition, 1);
    find(1);
    ck_assert_uint_eq(found[0].parties_count, 2);
    for (int i = 0; i < 2; i++) {
        const struct kin_deadlock_party *party = &found[0].parties[i];
        ck_assert_str_eq(party->object, party_of(party, 2) == 0 ? "object 0" : "object 1");
        ck_assert_int_ge(party->since_ns, words[300 + party_of(party, 2)]);
    }
    KT_IS(kin_lock_release(parts[0].lock), 0);
    join_all(2);
    kin_condition_destroy(condition);
    close_parts(2);
}
END_TEST

/* --- none ----------------------------------------------------------------------------------- */

/* A chain: 0 waits for 1, 1 for 2, and 2 for nobody. */
START_TEST(a_chain_is_none)
{
    open_parts(4, _i / 2 ? 0xa : 0);
    parts[0].next = 1;
    parts[1].next = 2;
    parts[3].next = 2;
    words[5] = 1;
    start_all(_i % 2, 4);
    KT_UNTIL(words[2] == 1); /* that one waits for nobody */
    for (int i = 0; i < 20; i++) {
        KT_IS(kin_deadlocks(arena, found, 4), 0);
        usleep(1000);
    }
    words[5] = 0;
    join_all(4);
    close_parts(4);
}
END_TEST

static int storm_rounds;

/* Locks are taken in order, and each is waited for a lot: never a ring. */
static void in_order(int me)
{
    struct kt_random random = kt_random_of("in_order", (uint64_t)me);
    for (int i = 0; i < storm_rounds; i++) {
        int low = (int)kt_random_below(&random, 3), high = low + 1;
        PARTY_IS(acquire(low, KIN_NEVER), 0);
        PARTY_IS(acquire(high, KIN_NEVER), 0);
        tiny_delay(&random);
        if (kt_random_below(&random, 4) == 0) { /* the other way round, but without waiting */
            PARTY_IS(kin_lock_release(parts[low].lock), 0);
            if (kin_lock_try_acquire(parts[low].lock) != 0) {
                PARTY_IS(kin_lock_release(parts[high].lock), 0);
                continue;
            }
        }
        PARTY_IS(kin_lock_release(parts[high].lock), 0);
        PARTY_IS(kin_lock_release(parts[low].lock), 0);
    }
    words[6]++;
}

START_TEST(traffic_is_none)
{
    open_parts(4, 0);
    storm_rounds = kt_scaled(20000);
    for (int i = 0; i < 5; i++)
        party_start(&parties[i], _i, in_order, i);
    int asked = 0;
    for (; words[6] < 5; asked++)
        KT_IS(kin_deadlocks(arena, found, 4), 0);
    ck_assert_int_gt(asked, 5);
    join_all(5);
    close_parts(4);
}
END_TEST

/* Preempted between the two; who held it when it began to wait is one. */
START_TEST(served_and_still_in_the_queue)
{
    open_parts(1, 0);
    struct kini_self *self = kini_enter(arena);
    struct kini_lock_shm *shm = ((struct kini_handle *)parts[0].lock)->shm;
    KT_OK(kin_lock_acquire(parts[0].lock, KIN_NOW));
    kini_waitq_enter(self, &shm->waiters);
    kini_store(&self->shm->wait_own, 0);
    KT_IS(kin_deadlocks(arena, found, 4), 0);
    kini_store(&self->shm->wait_own, 1);
    KT_IS(kin_deadlocks(arena, found, 4), 1);
    kini_waitq_withdraw(self, &shm->waiters);
    kini_waitq_forget(self);
    KT_OK(kin_lock_release(parts[0].lock));
    close_parts(1);
}
END_TEST

/* A lock stays held when its thread ends: nobody waits for that one. */
static void acquire_and_end(int me)
{
    PARTY_IS(acquire(me, KIN_NEVER), 0);
}

START_TEST(a_thread_that_ended_is_none)
{
    open_parts(2, 0);
    with(THREADS, 1, acquire_and_end);
    parts[1].next = 0;
    party_start(&parties[1], _i, play, 1);
    words[1] = 1;
    KT_UNTIL(waiting(0) == 1);
    KT_IS(kin_deadlocks(arena, found, 4), 0);
    KT_IS(kin_lock_release(parts[0].lock), 0);
    party_join(&parties[1]);
    close_parts(2);
}
END_TEST

/* --- names ---------------------------------------------------------------------------------- */

START_TEST(names_of_threads)
{
    struct kin_owner owner;
    open_parts(1, 0);
    KT_IS(acquire(0, KIN_NEVER), 0);
    KT_IS(kin_thread_set_name(arena, "thirty-one-bytes-are-the-most-x"), 0);
    KT_IS(kin_lock_owner(parts[0].lock, &owner), 0);
    ck_assert_str_eq(owner.thread, "thirty-one-bytes-are-the-most-x");
    KT_IS(kin_thread_set_name(arena, "thirty-two-bytes-are-one-too-man"), -EINVAL);
    KT_IS(kin_lock_owner(parts[0].lock, &owner), 0);
    ck_assert_str_eq(owner.thread, "thirty-one-bytes-are-the-most-x"); /* as it was */
    KT_IS(kin_thread_set_name(arena, "short"), 0);
    KT_IS(kin_lock_owner(parts[0].lock, &owner), 0);
    ck_assert_str_eq(owner.thread, "short");
    KT_IS(kin_thread_set_name(arena, NULL), 0);
    KT_IS(kin_lock_owner(parts[0].lock, &owner), 0);
    ck_assert_str_eq(owner.thread, "");
    KT_IS(kin_lock_release(parts[0].lock), 0);
    close_parts(1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/deadlock");
    TCase *rings_case = kt_case(suite, "rings", 30);
    for (int ring = 0; ring < RINGS; ring++)
        tcase_add_loop_test(rings_case, a_ring, ring * 2, ring * 2 + forms());
    tcase_add_loop_test(rings_case, a_ring_of_one, 0, forms());
    tcase_add_loop_test(rings_case, two_rings_and_a_tail, 0, forms());
    tcase_add_loop_test(rings_case, until_the_deadline, 0, forms());
    tcase_add_loop_test(rings_case, by_a_condition, 0, forms());
    TCase *t = kt_case(suite, "none", 60);
    for (int kind = 0; kind < 2; kind++)
        tcase_add_loop_test(t, a_chain_is_none, kind * 2, kind * 2 + forms());
    tcase_add_loop_test(t, traffic_is_none, 0, forms());
    tcase_add_test(t, served_and_still_in_the_queue);
    tcase_add_loop_test(t, a_thread_that_ended_is_none, 0, forms());
    tcase_add_test(t, names_of_threads);
    return kt_run(suite);
}
