/* SPDX-License-Identifier: MIT
 * Pipes whose ends are opened by name: who waits for whom, what is closed when, and strangers. */
#include "arena/arena.h"
#include "chan/pipe.h"
#include "lib/kin_test.h"
#include "lib/stranger.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

struct board {
    kini_a32 arrived, go, turns;
};

static struct board *board;
static struct kin_arena *arena;

static void setup(void)
{
    board = kt_board(sizeof *board);
    KT_OK(kin_arena_open(kt_name("pipes"), &(struct kin_arena_opts){.reserve_bytes = 256 * MIB},
                         &arena));
}

static void teardown(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536);
    kin_arena_detach(arena);
    kt_board_close(board, sizeof *board);
}

static struct kin_pipe *opened(enum kin_pipe_side side)
{
    struct kin_pipe *end = NULL;
    KT_OK(kin_pipe_open(arena, "pipe", side, NULL, &end));
    return end;
}

static int find(enum kin_pipe_side side)
{
    struct kin_pipe *end = NULL;
    int r = kin_pipe_find(arena, "pipe", side, &end);
    if (r == 0)
        kin_pipe_close(end);
    return r;
}

static int64_t receive(struct kin_pipe *end, int ms)
{
    unsigned char buffer[8];
    int64_t r = kin_pipe_recv(end, buffer, sizeof buffer, ms < 0 ? KIN_NEVER : kin_after_ms(ms));
    return r == 1 ? buffer[0] : r;
}

static int send_number(struct kin_pipe *end, unsigned char number)
{
    return kin_pipe_send(end, &number, 1, KIN_NEVER);
}

/* --- one process ------------------------------------------------------------------------------ */

START_TEST(an_end_waits_for_the_first)
{
    for (int other = 0; other < 2; other++) {
        KT_IS(find(other ? KIN_PIPE_A : KIN_PIPE_B), -ENOENT);
        struct kin_pipe *x = opened(other ? KIN_PIPE_B : KIN_PIPE_A), *y = NULL;
        ck_assert_uint_eq(kt_stat(arena).objects_count, 3);
        KT_IS(receive(x, 20), -ETIMEDOUT); /* no end of file: nobody was there yet */
        KT_OK(send_number(x, 7));
        KT_OK(send_number(x, 8));
        KT_OK(kin_pipe_find(arena, "pipe", other ? KIN_PIPE_A : KIN_PIPE_B, &y));
        KT_IS(receive(y, 0), 7);
        KT_OK(send_number(y, 9));
        kin_pipe_close(y); /* now it is closed, like any end */
        KT_IS(receive(x, -1), 9);
        KT_IS(receive(x, -1), -ESHUTDOWN);
        KT_IS(send_number(x, 1), -EPIPE);
        KT_IS(find(other ? KIN_PIPE_A : KIN_PIPE_B), -EPIPE);
        KT_IS(kin_pipe_open(arena, "pipe", other ? KIN_PIPE_A : KIN_PIPE_B, NULL, &y), -EPIPE);
        ck_assert_ptr_nonnull(strstr(kin_error_text(), other ? "end a" : "end b"));
        ck_assert_uint_eq(kt_stat(arena).objects_count, 2);
        kin_pipe_close(x);
        ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    }
}
END_TEST

START_TEST(the_first_one_goes_alone)
{
    static char large[100000];
    for (int i = 0; i < 20; i++) {
        struct kin_pipe *a = opened(KIN_PIPE_A);
        KT_OK(kin_pipe_send(a, large, sizeof large, KIN_NOW));
        KT_OK(kin_pipe_send(a, large, 10, KIN_NOW));
        kin_pipe_close(a);
        ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
        KT_IS(find(KIN_PIPE_B), -ENOENT);
    }
}
END_TEST

START_TEST(several_handles_are_one_end)
{
    struct kin_pipe *a = opened(KIN_PIPE_A), *again = opened(KIN_PIPE_A), *b = opened(KIN_PIPE_B);
    KT_OK(send_number(b, 1));
    KT_OK(send_number(b, 2));
    KT_IS(receive(again, 0), 1);
    KT_IS(receive(a, 0), 2);
    kin_pipe_close(a);
    KT_IS(receive(b, 20), -ETIMEDOUT);
    KT_OK(send_number(b, 3));
    KT_IS(receive(again, 0), 3);
    kin_pipe_close(again);
    KT_IS(receive(b, -1), -ESHUTDOWN);
    kin_pipe_close(b);
}
END_TEST

/* Of a pipe with a name that somebody created both ends are open from the start. */
START_TEST(created_and_found)
{
    struct kin_pipe *a, *b, *same = NULL;
    KT_OK(kin_pipe_create(arena, &(struct kin_pipe_opts){.name = "pipe"}, &a, &b));
    KT_OK(kin_pipe_find(arena, "pipe", KIN_PIPE_B, &same));
    KT_OK(send_number(a, 5));
    kin_pipe_close(b);
    KT_IS(receive(same, 0), 5);
    kin_pipe_close(a);
    KT_IS(find(KIN_PIPE_A), -EPIPE);
    KT_IS(receive(same, -1), -ESHUTDOWN);
    kin_pipe_close(same);
    KT_IS(find(KIN_PIPE_A), -ENOENT);
}
END_TEST

START_TEST(one_way_and_options)
{
    const struct kin_pipe_opts one_way = {.flags = KIN_ONE_WAY, .capacity_bytes = 4096};
    struct kin_pipe *reads, *writes, *none = NULL;
    KT_OK(kin_pipe_open(arena, "pipe", KIN_PIPE_A, &one_way, &reads));
    KT_OK(kin_pipe_open(arena, "pipe", KIN_PIPE_B, NULL, &writes)); /* anything may be there */
    KT_IS(send_number(reads, 1), -EBADF);
    KT_IS(receive(writes, 0), -EBADF);
    KT_OK(send_number(writes, 3));
    KT_IS(receive(reads, 0), 3);
    struct kin_pipe_opts other = one_way;
    other.capacity_bytes = 5000;
    KT_IS(kin_pipe_open(arena, "pipe", KIN_PIPE_A, &other, &none), -EINVAL);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "capacity_bytes 4096"));
    kin_pipe_close(reads);
    kin_pipe_close(writes);
    KT_OK(kin_pipe_open(arena, "pipe", KIN_PIPE_A, NULL, &reads));
    KT_IS(kin_pipe_open(arena, "pipe", KIN_PIPE_B, &one_way, &none), -EINVAL);
    KT_IS(find(KIN_PIPE_B), 0); /* what failed has opened nothing; this has, and closed it */
    KT_IS(receive(reads, -1), -ESHUTDOWN);
    kin_pipe_close(reads);
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(bad_input)
{
    struct kin_pipe *a = NULL, *b = NULL;
    struct kin_queue *queue = NULL;
    const char *const long_name = "a name of more than thirty-one bytes";
    KT_IS(kin_pipe_open(arena, NULL, KIN_PIPE_A, NULL, &a), -EINVAL);
    KT_IS(kin_pipe_open(arena, "", KIN_PIPE_A, NULL, &a), -EINVAL);
    KT_IS(kin_pipe_find(arena, long_name, KIN_PIPE_A, &a), -EINVAL);
    KT_IS(kin_pipe_open(arena, "pipe", (enum kin_pipe_side)2, NULL, &a), -EINVAL);
    KT_IS(kin_pipe_open(arena, "pipe", KIN_PIPE_A, &(struct kin_pipe_opts){.flags = 64}, &a),
          -EINVAL);
    KT_IS(kin_pipe_open(arena, "pipe", KIN_PIPE_A, &(struct kin_pipe_opts){.flags = KIN_PIPE_FDS},
                        &a),
          -ENOTSUP);
    KT_IS(kin_pipe_inherit(arena, 0, &a), -ENOENT);
    KT_OK(kin_queue_open(arena, "queue", NULL, &queue));
    KT_IS(kin_pipe_open(arena, "queue", KIN_PIPE_A, NULL, &a), -EPROTOTYPE);
    kin_queue_destroy(queue);
    KT_OK(kin_pipe_create(arena, &(struct kin_pipe_opts){.name = "pipe", .flags = KIN_PIPE_FDS}, &a,
                          &b));
    KT_IS(find(KIN_PIPE_A), -ENOTSUP);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "kin_process_spawn"));
    KT_IS(kin_pipe_open(arena, "pipe", KIN_PIPE_B, NULL, &a), -ENOTSUP);
    KT_IS(kin_queue_open(arena, "pipe", NULL, &queue), -EPROTOTYPE);
    KT_IS(receive(a, 0), -ETIMEDOUT); /* what failed has closed nothing */
    kin_pipe_close(a);
    kin_pipe_close(b);
}
END_TEST

/* As seen while who has a side for itself is between the store of a cell and that of its position,
 * where it may be stopped or killed. */
static void find_while_behind(kini_a64 *position)
{
    kini_sub(position, 1);
    KT_IS(find(KIN_PIPE_A), 0);
    KT_IS(find(KIN_PIPE_B), 0);
    kini_add(position, 1);
}

START_TEST(positions_one_behind_are_no_damage)
{
    struct kin_pipe *a = opened(KIN_PIPE_A), *b = opened(KIN_PIPE_B);
    struct kini_segment_shm *segment = kini_segment_of(arena, kini_load(&a->in->ring.put_at));
    for (uint64_t i = 0; i <= segment->cap; i++) {
        KT_OK(send_number(b, 2));
        find_while_behind(&segment->put_solo.at);
        KT_IS(receive(a, 0), 2);
        find_while_behind(&segment->put_solo.at);
        find_while_behind(&segment->get_solo.at);
    }
    for (uint64_t i = 0; i < segment->cap; i++)
        KT_OK(send_number(b, 2));
    KT_IS(receive(a, 0), 2);
    KT_OK(send_number(b, 2));
    find_while_behind(&segment->get_solo.at);
    kini_add(&segment->put_solo.at, 2); /* this is */
    KT_IS(find(KIN_PIPE_A), -EPROTO);
    kini_sub(&segment->put_solo.at, 2);
    kin_pipe_close(a);
    kin_pipe_close(b);
}
END_TEST

/* Where it says that its pipe is there may be nothing: the pipe is left alone, and goes all the
 * same. */
START_TEST(an_end_that_is_damaged)
{
    static const int64_t deltas[] = {INT64_MAX, INT64_MIN, 64, -(1 << 30)};
    struct kin_pipe *a = opened(KIN_PIPE_A), *b = opened(KIN_PIPE_B);
    ((struct kini_pipe_end_shm *)a->handle.shm)->pipe_delta = deltas[_i];
    KT_IS(find(KIN_PIPE_A), -EPROTO);
    kin_pipe_close(a);
    kin_pipe_close(b);
}
END_TEST

static kini_a32 done_looking;

static void *send_and_receive(void *ends)
{
    struct kin_pipe *const *both = ends;
    static char data[70000];
    while (!kini_load(&done_looking)) {
        for (size_t i = 0; i < 3; i++)
            KT_CHECK(kin_pipe_send(both[1], data, i % 2 ? 10 : sizeof data, KIN_NEVER) == 0);
        for (size_t i = 0; i < 3; i++)
            KT_CHECK(kin_pipe_recv(both[0], data, sizeof data, KIN_NEVER) > 0);
    }
    return NULL;
}

START_TEST(found_while_it_is_used)
{
    struct kin_pipe *ends[2] = {opened(KIN_PIPE_A), opened(KIN_PIPE_B)};
    pthread_t user;
    done_looking = 0;
    pthread_create(&user, NULL, send_and_receive, ends);
    for (int i = kt_scaled(5000); i > 0; i--)
        KT_IS(find(i % 2 ? KIN_PIPE_A : KIN_PIPE_B), 0);
    kini_store(&done_looking, 1);
    pthread_join(user, NULL);
    kin_pipe_close(ends[0]);
    kin_pipe_close(ends[1]);
}
END_TEST

/* --- strangers -------------------------------------------------------------------------------- */

/* Opens end b and sends 20 numbers. */
static int play_send(void *memory, const char *how)
{
    struct board *b = memory;
    const char *name = strchr(how, ',') + 1;
    struct kin_pipe *end;
    KT_CHECK(kin_arena_open(name, NULL, &arena) == 0);
    KT_CHECK(kin_pipe_open(arena, "pipe", KIN_PIPE_B, NULL, &end) == 0);
    for (unsigned char i = 0; i < 20; i++)
        KT_CHECK(send_number(end, i) == 0);
    kini_add_sc(&b->arrived, 1);
    while (kini_load_acq(&b->go) == 0)
        usleep(300);
    if (*how == 'k')
        raise(SIGKILL);
    if (*how == 'c')
        kin_pipe_close(end);
    return 0; /* else: its process is gone, and was no member that left */
}

/* Has end a like the test, and dies. */
static int play_share(void *memory, const char *name)
{
    struct kin_pipe *end;
    KT_CHECK(kin_arena_open(name, NULL, &arena) == 0);
    KT_CHECK(kin_pipe_find(arena, "pipe", KIN_PIPE_A, &end) == 0);
    kini_add_sc(&((struct board *)memory)->arrived, 1);
    raise(SIGKILL);
    return 1;
}

/* Opens one of the ends again and again, and says something if somebody is there. */
static int play_turn(void *memory, const char *how)
{
    struct board *b = memory;
    const enum kin_pipe_side side = *how == 'a' ? KIN_PIPE_A : KIN_PIPE_B;
    KT_CHECK(kin_arena_open(strchr(how, ',') + 1, NULL, &arena) == 0);
    while (kini_load_acq(&b->go) == 0) {
        struct kin_pipe *end;
        int r = kin_pipe_open(arena, "pipe", side, NULL, &end);
        if (r < 0 && r != -EPIPE)
            fprintf(stderr, "open: %s: %s\n", kin_strerror(r), kin_error_text());
        KT_CHECK(r == 0 || r == -EPIPE);
        if (r < 0)
            continue;
        r = send_number(end, 1);
        KT_CHECK(r == 0 || r == -EPIPE);
        int64_t got = receive(end, 1);
        KT_CHECK(got == 1 || got == -ETIMEDOUT || got == -ESHUTDOWN);
        kini_add_sc(&b->turns, got == 1);
        kin_pipe_close(end);
    }
    return 0;
}

static const struct kt_role roles[] = {
    {"send", play_send}, {"share", play_share}, {"turn", play_turn}, {NULL, NULL}};

static const char *how(char kind)
{
    static char text[80];
    snprintf(text, sizeof text, "%c,%s", kind, kt_name("pipes"));
    return text;
}

/* The sender comes first or second; it closes, exits or is killed. */
START_TEST(all_that_was_sent_and_then_the_end)
{
    static const char kinds[] = "cek";
    struct kin_pipe *a = _i % 2 ? opened(KIN_PIPE_A) : NULL;
    pid_t pid = kt_stranger("send", how(kinds[_i / 2]));
    KT_UNTIL(kini_load_acq(&board->arrived) == 1);
    if (a == NULL)
        KT_OK(kin_pipe_find(arena, "pipe", KIN_PIPE_A, &a));
    KT_IS(receive(a, 0), 0);
    kini_store(&board->go, 1);
    for (int i = 1; i < 20; i++)
        KT_IS(receive(a, -1), i);
    KT_IS(receive(a, -1), -ESHUTDOWN); /* who waits for it finds the death */
    kt_wait(pid);
    KT_IS(send_number(a, 1), -EPIPE);
    kin_pipe_close(a);
}
END_TEST

START_TEST(an_end_that_others_have_is_not_closed)
{
    struct kin_pipe *a = opened(KIN_PIPE_A), *b = opened(KIN_PIPE_B);
    pid_t pid = kt_stranger("share", kt_name("pipes"));
    KT_IS(kt_wait(pid), -SIGKILL);
    ck_assert_int_eq((int)kini_load(&board->arrived), 1);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    KT_OK(send_number(b, 4));
    KT_IS(receive(a, 0), 4);
    KT_IS(receive(b, 20), -ETIMEDOUT);
    kin_pipe_close(a);
    KT_IS(receive(b, -1), -ESHUTDOWN);
    kin_pipe_close(b);
}
END_TEST

/* The end that nobody opened dies with the one that was. */
START_TEST(the_first_one_is_killed)
{
    pid_t pid = kt_stranger("send", how('k'));
    KT_UNTIL(kini_load_acq(&board->arrived) == 1);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 3);
    kini_store(&board->go, 1);
    KT_IS(kt_wait(pid), -SIGKILL);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    KT_IS(find(KIN_PIPE_A), -ENOENT);
}
END_TEST

/* Come, go and are killed at random. */
START_TEST(in_turns)
{
    enum { PLAYERS = 4 };
    struct kt_random random = kt_random_of("pipes in turns", 1);
    pid_t pids[PLAYERS];
    for (int i = 0; i < PLAYERS; i++)
        pids[i] = kt_stranger("turn", how("ab"[i % 2]));
    for (int i = 0; i < kt_scaled(40); i++) {
        int k = (int)kt_random_below(&random, PLAYERS);
        usleep((useconds_t)kt_random_below(&random, 15000));
        kt_kill(pids[k]);
        pids[k] = kt_stranger("turn", how("ab"[k % 2]));
    }
    KT_UNTIL(kini_load_acq(&board->turns) > 20);
    kini_store(&board->go, 1);
    for (int i = 0; i < PLAYERS; i++)
        KT_IS(kt_wait(pids[i]), 0);
}
END_TEST

int main(int argc, char **argv)
{
    kt_stranger_main(argc, argv, roles, sizeof *board);
    Suite *suite = suite_create("chan/pipe_open");
    TCase *t = kt_case(suite, "one process", 30);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, an_end_waits_for_the_first);
    tcase_add_test(t, the_first_one_goes_alone);
    tcase_add_test(t, several_handles_are_one_end);
    tcase_add_test(t, created_and_found);
    tcase_add_test(t, one_way_and_options);
    tcase_add_test(t, bad_input);
    tcase_add_test(t, positions_one_behind_are_no_damage);
    tcase_add_loop_test(t, an_end_that_is_damaged, 0, 4);
    tcase_add_test(t, found_while_it_is_used);
    t = kt_case(suite, "strangers", 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, all_that_was_sent_and_then_the_end, 0, 6);
    tcase_add_test(t, an_end_that_others_have_is_not_closed);
    tcase_add_test(t, the_first_one_is_killed);
    tcase_add_test(t, in_turns);
    return kt_run(suite);
}
