/* SPDX-License-Identifier: MIT
 * Pipes between processes: who holds which end, and what the other end sees when they close, exit
 * or are killed. */
#include "arena/arena.h"
#include "chan/pipe.h"
#include "lib/kin_test.h"

#include <signal.h>
#include <sys/mman.h>

#define PAGE 4096

static struct kin_arena *arena;
static struct kin_pipe *a, *b;
static kini_a32 *words;

static void begin(uint64_t capacity)
{
    words = kt_share(PAGE);
    arena = kt_arena(1 * GIB);
    const struct kin_pipe_opts opts = {.capacity_bytes = capacity};
    KT_OK(kin_pipe_create(arena, &opts, &a, &b));
}

static void finish(void)
{
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    kin_pipe_close(a);
    kin_pipe_close(b);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 0);
    ck_assert_uint_le(kt_stat(arena).used_bytes, 64 * 65536);
    kin_arena_detach(arena);
    kt_unshare((void *)words, PAGE);
}

static void close_a(void)
{
    kin_pipe_close(a);
    a = NULL;
}

static void close_b(void)
{
    kin_pipe_close(b);
    b = NULL;
}

/* --- the usual ------------------------------------------------------------------------------ */

/* The loop of the header. */
static int sum_up(void *unused)
{
    (void)unused;
    int64_t bytes, sum = 0;
    unsigned char buffer[10];
    close_a();
    while ((bytes = kin_pipe_recv(b, buffer, sizeof buffer, KIN_NEVER)) >= 0)
        sum += buffer[0];
    KT_CHECK(bytes == -ESHUTDOWN);
    KT_CHECK(kin_pipe_send(b, buffer, 1, KIN_NEVER) == -EPIPE); /* nobody is there any more */
    return (int)sum;
}

START_TEST(a_child_that_reads_to_the_end)
{
    begin(0);
    pid_t pid = kt_fork(sum_up, NULL);
    close_b();
    for (unsigned char i = 0; i < 20; i++)
        KT_OK(kin_pipe_send(a, &i, 1, KIN_NEVER));
    close_a();
    KT_IS(kt_wait(pid), 190);
    finish();
}
END_TEST

static int echo(void *unused)
{
    (void)unused;
    close_a();
    for (;;) {
        void *data;
        int64_t bytes = kin_pipe_recv_alloc(b, &data, KIN_NEVER);
        if (bytes == -ESHUTDOWN)
            return 0;
        KT_CHECK(bytes >= 0);
        KT_CHECK(kin_pipe_send(b, data, (size_t)bytes, KIN_NEVER) == 0);
        free(data);
    }
}

static int echo_process(struct kin_arena *unused, void *arg)
{
    (void)unused;
    return echo(arg);
}

static void expect_echoes(void)
{
    struct kt_random random = kt_random_of("echo", 0);
    static unsigned char data[300000], got[300000];
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t bytes = kt_random_size(&random, sizeof data);
        kt_fill(data, bytes, i);
        KT_OK(kin_pipe_send(a, data, bytes, KIN_NEVER));
        KT_IS(kin_pipe_recv(a, got, sizeof got, KIN_NEVER), (int64_t)bytes);
        ck_assert(kt_filled(got, bytes, i));
    }
}

START_TEST(duplex_between_processes)
{
    begin(0);
    pid_t pid = kt_fork(echo, NULL);
    close_b();
    expect_echoes();
    close_a();
    KT_IS(kt_wait(pid), 0);
    finish();
    begin(0);
    struct kin_process *process;
    KT_OK(kin_process_start(arena, echo_process, NULL, NULL, &process));
    close_b();
    expect_echoes();
    close_a();
    KT_OK(kin_process_join(process, KIN_NEVER));
    int code;
    KT_OK(kin_process_exitcode(process, &code));
    ck_assert_int_eq(code, 0);
    kin_process_close(process);
    finish();
}
END_TEST

/* --- who holds ------------------------------------------------------------------------------ */

/* Keeps one end only. */
static int hold(void *which)
{
    if (*(char *)which == 'a')
        close_b();
    else
        close_a();
    kini_add_sc(&words[0], 1);
    return kt_sleep_for_ever(NULL);
}

START_TEST(the_last_holder_is_killed)
{
    begin(0);
    char got[10];
    pid_t pids[3];
    for (uint32_t i = 0; i < 3; i++)
        pids[i] = kt_fork(hold, "a");
    KT_UNTIL(kini_load_sc(&words[0]) == 3);
    KT_OK(kin_pipe_send(a, "left", 4, KIN_NOW));
    close_a();
    kt_kill(pids[0]);
    kt_kill(pids[1]);
    KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NEVER), 4);
    KT_IS(kin_pipe_recv(b, got, sizeof got, kin_after_ms(100)), -ETIMEDOUT);
    KT_OK(kin_pipe_send(b, got, 1, KIN_NOW));
    kt_kill(pids[2]);
    KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NEVER), -ESHUTDOWN);
    KT_IS(kin_pipe_send(b, got, 1, KIN_NEVER), -EPIPE);
    finish();
}
END_TEST

START_TEST(killed_while_the_other_end_waits)
{
    char got[10];
    for (int i = 0; i < 3; i++) {
        begin(10);
        pid_t pid = kt_fork(hold, "a");
        KT_UNTIL(kini_load_sc(&words[0]) == 1);
        close_a();
        if (i == 2)
            KT_OK(kin_pipe_send(b, "0123456789", 10, KIN_NOW));
        kill(pid, SIGKILL);
        const struct kin_wait wait = kin_wait_recv(b);
        if (i == 0)
            KT_IS(kin_pipe_poll(b, KIN_NEVER), 1);
        else if (i == 1)
            KT_IS(kin_wait_any(arena, &wait, 1, KIN_NEVER), 0);
        else
            KT_IS(kin_pipe_send(b, got, 10, KIN_NEVER), -EPIPE);
        KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NEVER), -ESHUTDOWN);
        KT_IS(kt_wait(pid), -SIGKILL);
        finish();
    }
}
END_TEST

START_TEST(both_ends_die_at_once)
{
    begin(0);
    pid_t pids[6];
    for (int i = 0; i < 6; i++)
        pids[i] = kt_fork(hold, i % 2 ? "a" : "b");
    KT_UNTIL(kini_load_sc(&words[0]) == 6);
    close_a();
    close_b();
    ck_assert_uint_eq(kt_stat(arena).objects_count, 3);
    for (int i = 0; i < 6; i++)
        kill(pids[i], SIGKILL);
    for (int i = 0; i < 6; i++)
        KT_IS(kt_wait(pids[i]), -SIGKILL);
    finish();
}
END_TEST

static int create_and_die(void *unused)
{
    (void)unused;
    struct kin_pipe *x, *y;
    KT_CHECK(kin_pipe_create(arena, NULL, &x, &y) == 0);
    static char data[100000];
    KT_CHECK(kin_pipe_send(x, data, sizeof data, KIN_NOW) == 0);
    kill(getpid(), SIGKILL);
    return 0;
}

static int close_and_exit(void *unused)
{
    (void)unused;
    close_a();
    close_b();
    return 0;
}

START_TEST(the_creator_dies)
{
    begin(0);
    KT_IS(kt_in_child(create_and_die, NULL), -SIGKILL);
    KT_IS(kt_in_child(close_and_exit, NULL), 0);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    ck_assert_uint_eq(kt_stat(arena).objects_count, 3);
    char got[10];
    KT_IS(kin_pipe_try_recv(b, got, sizeof got), -EAGAIN);
    finish();
}
END_TEST

/* --- in the middle -------------------------------------------------------------------------- */

static unsigned char *hole;

static void in_the_middle(int signal)
{
    (void)signal;
    kini_add_sc(&words[0], 1);
    for (;;)
        pause();
}

static int recv_into_a_hole(void *unused)
{
    struct sigaction action = {.sa_handler = in_the_middle};
    (void)unused;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    close_a();
    KT_CHECK(kin_pipe_recv(b, hole + PAGE - 16, 90 * PAGE, KIN_NEVER) == 0);
    return 0;
}

/* What a receiver had in its hands is received by another that has the end; there is no end of file
 * before that. */
START_TEST(killed_in_recv)
{
    static const size_t lengths[] = {100, 3000, 90000};
    hole = mmap(NULL, 100 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(hole != MAP_FAILED);
    ck_assert_int_eq(mprotect(hole + PAGE, 99 * PAGE, PROT_NONE), 0);
    for (int i = 0; i < 3; i++) {
        static unsigned char data[90000], got[90000];
        begin(0);
        kt_fill(data, lengths[i], 5);
        KT_OK(kin_pipe_send(a, data, lengths[i], KIN_NOW));
        pid_t pid = kt_fork(recv_into_a_hole, NULL);
        KT_UNTIL(kini_load_sc(&words[0]) == 1);
        close_a();
        KT_IS(kin_pipe_recv(b, got, sizeof got, kin_after_ms(50)), -ETIMEDOUT);
        kt_kill(pid);
        KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NEVER), (int64_t)lengths[i]);
        ck_assert(kt_filled(got, lengths[i], 5));
        KT_IS(kin_pipe_recv(b, got, sizeof got, KIN_NEVER), -ESHUTDOWN);
        finish();
    }
    munmap(hole, 100 * PAGE);
}
END_TEST

static int send_for_ever(void *unused)
{
    (void)unused;
    static unsigned char data[40000];
    close_b();
    for (uint64_t i = 0;; i++) {
        memcpy(data, &i, 8);
        kt_fill(data + 8, i % 39000, i);
        KT_CHECK(kin_pipe_send(a, data, 8 + i % 39000, KIN_NEVER) == 0);
    }
}

/* All that came is whole and in order, and then comes the end of file. */
START_TEST(killed_while_it_sends)
{
    static unsigned char got[40000];
    for (int i = 0; i < kt_scaled(20); i++) {
        begin(100000);
        pid_t pid = kt_fork(send_for_ever, NULL);
        close_a();
        usleep(1000 * (useconds_t)(i % 7 + 1));
        if (i % 2)
            kill(pid, SIGKILL);
        uint64_t expected = 0;
        int64_t r;
        while ((r = kin_pipe_recv(b, got, sizeof got, KIN_NEVER)) >= 0) {
            ck_assert_int_eq(r, 8 + (int64_t)(expected % 39000));
            ck_assert_int_eq(memcmp(got, &expected, 8), 0);
            ck_assert(kt_filled(got + 8, (uint64_t)r - 8, expected));
            if (++expected == 500)
                kill(pid, SIGKILL);
        }
        KT_IS(r, -ESHUTDOWN);
        KT_IS(kt_wait(pid), -SIGKILL);
        finish();
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chan/pipe_death");
    TCase *t = kt_case(suite, "pipe_death", 100);
    tcase_add_test(t, a_child_that_reads_to_the_end);
    tcase_add_test(t, duplex_between_processes);
    tcase_add_test(t, the_last_holder_is_killed);
    tcase_add_test(t, killed_while_the_other_end_waits);
    tcase_add_test(t, both_ends_die_at_once);
    tcase_add_test(t, the_creator_dies);
    tcase_add_test(t, killed_in_recv);
    tcase_add_test(t, killed_while_it_sends);
    return kt_run(suite);
}
