/* SPDX-License-Identifier: MIT
 * The dead are found and what they had is given back, whoever looks. */
#include "arena/arena.h"
#include "chan/ring.h"
#include "lib/kin_test.h"

#include <signal.h>
#include <sys/wait.h>

static struct kin_arena *arena;
static kini_a32 *words; /* 0: the victim is ready; 1: how many others are */

static void open_arena(void)
{
    words = kt_share(4096);
    arena = kt_arena(0);
}

static void close_arena(void)
{
    kin_arena_detach(arena);
    kt_unshare((void *)words, 4096);
}

static int hold_much(void *unused)
{
    for (uint64_t i = 0; i < 3000; i++) {
        void *block;
        KT_CHECK(kin_block_alloc(arena, 1 + i * 20, &block) == 0);
        memset(block, 1, 1 + i * 20);
        if (i % 3 == 0)
            KT_CHECK(kin_block_free(arena, block) == 0);
    }
    struct kin_queue *queue = NULL;
    KT_CHECK(kin_queue_create(arena, NULL, &queue) == 0);
    KT_CHECK(kin_queue_put(queue, "x", 1, KIN_NOW) == 0);
    kini_store(&words[0], 1);
    return kt_sleep_for_ever(unused);
}

START_TEST(what_it_held_is_free)
{
    open_arena();
    uint64_t used = kt_stat(arena).used_bytes;
    pid_t child = kt_fork(hold_much, NULL);
    KT_UNTIL(kini_load(&words[0]) == 1);
    ck_assert_uint_gt(kt_stat(arena).used_bytes, used + 40 * MIB);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 1);
    kt_kill(child);
    KT_IS(kin_arena_reap(arena), 1);
    ck_assert_uint_eq(kt_stat(arena).used_bytes, used);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    ck_assert_uint_eq(kt_stat(arena).threads_count, 1);
    ck_assert_uint_eq(kt_stat(arena).deaths_count, 1);
    close_arena();
}
END_TEST

/* Nobody has waited for it yet: kill(pid, 0) would call it alive. */
START_TEST(a_zombie_is_dead)
{
    open_arena();
    pid_t child = kt_fork(kt_sleep_for_ever, NULL);
    kill(child, SIGKILL);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    KT_IS(kin_arena_reap(arena), 1);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    kt_wait(child);
    close_arena();
}
END_TEST

START_TEST(a_stopped_one_is_not)
{
    open_arena();
    pid_t child = kt_fork(kt_sleep_for_ever, NULL);
    kill(child, SIGSTOP);
    KT_UNTIL(kt_process_state(child) == 'T');
    for (int i = 0; i < 20; i++)
        KT_IS(kin_arena_reap(arena), 0);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 2);
    kt_kill(child);
    KT_IS(kin_arena_reap(arena), 1);
    close_arena();
}
END_TEST

static int sleep_as_participant(void *unused)
{
    kini_store(&words[0], 1); /* from here on its death is one of a participant */
    return kt_sleep_for_ever(unused);
}

static int wait_in_get(void *queue)
{
    kini_add_sc(&words[1], 1);
    char text[8];
    KT_CHECK(kin_queue_get(queue, text, sizeof text, KIN_NEVER) >= 0);
    return 0;
}

/* Nobody calls kin_arena_reap: a process that waits looks by itself. */
START_TEST(whoever_waits_looks)
{
    open_arena();
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    pid_t waiter = kt_fork(wait_in_get, queue), victim = kt_fork(sleep_as_participant, NULL);
    KT_UNTIL(kini_load(&words[0]) == 1 && kini_load(&words[1]) == 1);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 3);
    kt_kill(victim);
    KT_UNTIL(kt_stat(arena).deaths_count == 1);
    KT_UNTIL(kt_stat(arena).participants_count == 2);
    /* also when the one that has looked so far dies */
    pid_t another = kt_fork(wait_in_get, queue);
    kt_kill(waiter);
    KT_UNTIL(kt_stat(arena).deaths_count == 2);
    KT_OK(kin_queue_put(queue, "end", 4, KIN_NOW));
    ck_assert_int_eq(kt_wait(another), 0);
    kin_queue_destroy(queue);
    close_arena();
}
END_TEST

static int be_served(void *queue)
{
    char text[8];
    kini_add_sc(&words[1], 1);
    while (kin_queue_get(queue, text, sizeof text, KIN_NEVER) > 1)
        ;
    return 0;
}

/* A waiter that is served all the time, and so never waits for long, looks all the same. */
START_TEST(a_busy_waiter_looks)
{
    open_arena();
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    pid_t waiter = kt_fork(be_served, queue), victim = kt_fork(sleep_as_participant, NULL);
    KT_UNTIL(kini_load(&words[0]) == 1 && kini_load(&words[1]) == 1);
    kt_kill(victim);
    while (kt_stat(arena).deaths_count == 0) {
        KT_OK(kin_queue_put(queue, "item", 5, KIN_NOW));
        usleep(5000);
    }
    KT_OK(kin_queue_put(queue, "", 1, KIN_NOW));
    ck_assert_int_eq(kt_wait(waiter), 0);
    kin_queue_destroy(queue);
    close_arena();
}
END_TEST

static int many_blocks(void *number)
{
    struct kt_random random = kt_random_of("many_blocks", (uint64_t)(uintptr_t)number);
    void *blocks[32] = {NULL};
    uint64_t sizes[32] = {0};
    for (uint64_t i = 0;; i++) {
        uint64_t at = kt_random_below(&random, 32);
        if (blocks[at] != NULL) {
            KT_CHECK(kt_filled(blocks[at], sizes[at], (uint64_t)getpid() + at));
            KT_CHECK(kin_block_free(arena, blocks[at]) == 0);
        }
        sizes[at] = kt_random_size(&random, 300000);
        KT_CHECK(kin_block_alloc(arena, sizes[at], &blocks[at]) == 0);
        kt_fill(blocks[at], sizes[at], (uint64_t)getpid() + at);
    }
    return 0;
}

/* Allocating processes are killed at random; those that live check their blocks all the time. */
START_TEST(killed_while_they_allocate)
{
    open_arena();
    void *mine;
    KT_OK(kin_block_alloc(arena, 100000, &mine));
    kt_fill(mine, 100000, 9);
    uint64_t used = kt_stat(arena).used_bytes;
    struct kt_random random = kt_random_of("killed_while_they_allocate", 0);
    pid_t pids[4];
    uintptr_t number = 0;
    for (int i = 0; i < 4; i++)
        pids[i] = kt_fork(many_blocks, (void *)number++);
    for (int i = 0; i < kt_scaled(150); i++) {
        usleep((useconds_t)kt_random_below(&random, 4000));
        int victim = (int)kt_random_below(&random, 4);
        kill(pids[victim], SIGKILL);
        ck_assert_int_eq(kt_wait(pids[victim]), -SIGKILL); /* not 101: it found nothing wrong */
        KT_OK(kin_arena_reap(arena));
        pids[victim] = kt_fork(many_blocks, (void *)number++);
    }
    for (int i = 0; i < 4; i++) {
        kill(pids[i], SIGKILL);
        ck_assert_int_eq(kt_wait(pids[i]), -SIGKILL);
    }
    KT_UNTIL(kin_arena_reap(arena) == 0);
    ck_assert(kt_filled(mine, 100000, 9));
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    ck_assert_uint_eq(kt_stat(arena).threads_count, 1);
    ck_assert_uint_eq(kt_stat(arena).used_bytes, used);
    KT_OK(kin_block_free(arena, mine));
    close_arena();
}
END_TEST

static int reap_for_ever(void *unused)
{
    (void)unused;
    kini_add_sc(&words[1], 1);
    for (;;)
        KT_CHECK(kin_arena_reap(arena) >= 0);
    return 0;
}

/* Those that repair are killed in the middle of it; each death counts once. */
START_TEST(reapers_are_killed_too)
{
    open_arena();
    uint64_t used = kt_stat(arena).used_bytes;
    struct kt_random random = kt_random_of("reapers_are_killed_too", 0);
    uint64_t deaths = 0;
    for (int i = 0; i < kt_scaled(40); i++) {
        kini_store(&words[0], 0);
        pid_t victim = kt_fork(hold_much, NULL), reapers[3];
        KT_UNTIL(kini_load(&words[0]) == 1);
        kini_store(&words[1], 0);
        for (int j = 0; j < 3; j++)
            reapers[j] = kt_fork(reap_for_ever, NULL);
        KT_UNTIL(kini_load(&words[1]) == 3);
        kill(victim, SIGKILL);
        usleep((useconds_t)kt_random_below(&random, 3000));
        for (int j = 0; j < 3; j++)
            kt_kill(reapers[j]);
        kt_kill(victim);
        deaths += 4;
        KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
        ck_assert_uint_eq(kt_stat(arena).used_bytes, used);
    }
    ck_assert_uint_eq(kt_stat(arena).deaths_count, deaths);
    close_arena();
}
END_TEST

/* A lock of an object that only the victim has: listed, not taken, when the reaper was killed. */
static int list_a_lock(void *queue)
{
    struct kini_self *self = kini_enter(arena);
    struct kini_queue_shm *shm = ((struct kin_queue *)queue)->shm;
    kini_store(&self->shm->lockstack[0], kini_offset(arena, &shm->grow));
    kini_store(&words[1], self->slot);
    kini_store(&words[2], self->index);
    return kt_sleep_for_ever(NULL);
}

START_TEST(what_a_dead_reaper_lists_is_let_go_before_its_memory)
{
    open_arena();
    struct kin_queue *queue = kt_queue(arena, 0, 0);
    pid_t victim = kt_fork(sleep_as_participant, NULL), reaper = kt_fork(list_a_lock, queue);
    KT_UNTIL(kini_load(&words[0]) == 1 && kini_load(&words[2]) != 0);
    uint32_t slot = 1;
    while (slot == arena->slot || slot == kini_load(&words[1]))
        slot++;
    kini_a64 *state = &arena->participants[slot].state;
    kt_kill(victim);
    kt_kill(reaper);
    kini_store(state, KINI_STATE_WORD(KINI_STATE_GEN(kini_load(state)), 0, KINI_REAPING));
    KT_IS(kini_reap(arena, slot), 1);
    struct kini_thread_shm *thread = &arena->threads[kini_load(&words[2])];
    ck_assert(kini_load(&thread->state) & 1); /* it is still to be reaped itself */
    ck_assert_uint_eq(kini_load(&thread->lockstack[0]), 0);
    KT_IS(kin_arena_reap(arena), 1);
    kin_queue_destroy(queue);
    close_arena();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena/reaper");
    TCase *t = kt_case(suite, "reaper", 60);
    tcase_add_test(t, what_it_held_is_free);
    tcase_add_test(t, a_zombie_is_dead);
    tcase_add_test(t, a_stopped_one_is_not);
    tcase_add_test(t, whoever_waits_looks);
    tcase_add_test(t, a_busy_waiter_looks);
    tcase_add_test(t, killed_while_they_allocate);
    tcase_add_test(t, reapers_are_killed_too);
    tcase_add_test(t, what_a_dead_reaper_lists_is_let_go_before_its_memory);
    return kt_run(suite);
}
