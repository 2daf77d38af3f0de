/* SPDX-License-Identifier: MIT
 * Descriptors for event loops, when processes die or fork: the holder of what is waited for, the
 * owner of the descriptor, its child. */
#include "ready_fixture.h"

/* It does not look at what it waits for, but only polls: the dead are looked after all the same. */
static void hold_lock_and_die(int me)
{
    (void)me;
    PARTY_IS(kin_lock_acquire((struct kin_lock *)words[2], KIN_NEVER), 0);
    die_here();
}

START_TEST(the_holder_dies)
{
    struct kin_lock *lock;
    struct party victim;
    begin();
    KT_OK(kin_lock_create(arena, NULL, &lock));
    words[2] = (int64_t)(uintptr_t)lock;
    party_start(&victim, PROCESSES, hold_lock_and_die, 0);
    KT_UNTIL(READY);
    const struct kin_wait waits[] = {kin_wait_lock(lock), kin_wait_process(victim.process)};
    KT_OK(kin_ready_create(arena, waits, 1, &ready));
    arm();
    kill(kin_process_pid(victim.process), SIGKILL);
    ck_assert_int_eq(next_ready(), 0);
    KT_IS(kin_lock_acquire(lock, KIN_NOW), KIN_ABANDONED);
    KT_OK(kin_lock_release(lock));
    party_kill(&victim);
    kin_ready_destroy(ready);
    kin_lock_destroy(lock);
    finish();
}
END_TEST

static void arm_and_die(int me)
{
    struct kin_wait waits[] = {kin_wait_event(event), kin_wait_get(queue)};
    PARTY_IS(kin_ready_create(arena, waits, 2, &ready), 0);
    if (me > 0)
        PARTY_IS(kin_ready_check(ready), -EAGAIN);
    die_here();
}

/* Who wakes goes on, and the record is free again. */
START_TEST(the_owner_dies)
{
    char text[4];
    begin();
    KT_OK(kin_event_create(arena, NULL, &event));
    queue = kt_queue(arena, 0, 0);
    for (int i = 0; i < 6; i++) {
        in_a_victim(arm_and_die, i % 2);
        if (i >= 4)
            KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
        KT_OK(kin_event_set(event));
        KT_OK(kin_queue_put(queue, "a", 2, KIN_NEVER));
        KT_IS(kin_queue_get(queue, text, sizeof text, KIN_NEVER), 2);
        KT_OK(kin_event_clear(event));
        KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
        ck_assert_ptr_null(record());
        ck_assert_uint_eq(kt_stat(arena).threads_count, 1);
        ck_assert_uint_eq(counted_in(event, KINI_OBJECT_EVENT, KIN_WAIT_EVENT), 0);
        ck_assert_uint_eq(counted_in(queue, KINI_OBJECT_QUEUE, KIN_WAIT_GET), 0);
    }
    kin_event_destroy(event);
    kin_queue_destroy(queue);
    finish();
}
END_TEST

/* The child cannot use it, and can neither disturb it nor take it away; its own works. */
static int child_of_owner(void *detach)
{
    struct kin_ready *parents = ready;
    KT_CHECK(kin_ready_check(ready) == -ESTALE);
    const struct kin_wait wait = kin_wait_event(event);
    KT_CHECK(kin_ready_create(arena, &wait, 1, &ready) == 0);
    KT_CHECK(kin_ready_check(ready) == -EAGAIN);
    KT_CHECK(kin_ready_check(parents) == -ESTALE);
    KT_CHECK(kin_event_set(event) == 0);
    KT_CHECK(next_ready() == 0);
    kin_ready_destroy(ready);
    if (detach == NULL)
        kin_ready_destroy(parents);
    kin_event_destroy(event);
    kin_arena_detach(arena);
    if (detach != NULL)
        kin_ready_destroy(parents);
    return 0;
}

START_TEST(fork_with_one)
{
    open_event();
    for (int i = 0; i < 4; i++) {
        arm();
        void *detach = i % 2 ? &event : NULL;
        pid_t pid = (i < 2 ? kt_fork : kt_fork_raw)(child_of_owner, detach);
        ck_assert_int_eq(next_ready(), 0);
        ck_assert_int_eq(kt_wait(pid), 0);
        KT_OK(kin_event_clear(event));
        ck_assert_ptr_nonnull(record());
    }
    close_event();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync/ready_death");
    TCase *t = kt_case(suite, "death", 60);
    tcase_add_test(t, the_holder_dies);
    tcase_add_test(t, the_owner_dies);
    tcase_add_test(t, fork_with_one);
    return kt_run(suite);
}
