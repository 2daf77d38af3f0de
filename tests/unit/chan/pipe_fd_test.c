/* SPDX-License-Identifier: MIT
 * Pipes: descriptors among the messages. */
#include "arena/arena.h"
#include "chan/pipe.h"
#include "lib/kin_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct kin_arena *arena;
static struct kin_pipe *a, *b;

static void begin(void)
{
    arena = kt_arena(256 * MIB);
    const struct kin_pipe_opts opts = {.flags = KIN_PIPE_FDS};
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
}

/* A file that says its number. */
static int make_file(int number)
{
    int fd = memfd_create("number", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, &number, sizeof number, 0), sizeof number);
    return fd;
}

static int number_of(int fd)
{
    int number = -1;
    KT_CHECK(pread(fd, &number, sizeof number, 0) == sizeof number);
    return number;
}

static void send_file(int number)
{
    int fd = make_file(number);
    KT_OK(kin_pipe_send_fd(a, fd, KIN_NOW));
    close(fd);
}

static void expect_file(int number)
{
    int fd = -1;
    KT_OK(kin_pipe_recv_fd(b, &fd, KIN_NOW));
    ck_assert_int_eq(number_of(fd), number);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    close(fd);
}

START_TEST(any_kind)
{
    begin();
    int pair[2], got;
    char byte = 0;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    KT_OK(kin_pipe_send_fd(b, pair[1], KIN_NEVER));
    close(pair[1]);
    KT_OK(kin_pipe_recv_fd(a, &got, KIN_NEVER));
    ck_assert_int_eq(write(got, "x", 1), 1);
    ck_assert_int_eq(read(pair[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'x');
    close(got);
    ck_assert_int_eq(read(pair[0], &byte, 1), 0); /* that was the last copy of it */
    close(pair[0]);
    KT_IS(kin_pipe_send_fd(a, 987, KIN_NEVER), -EBADF);
    KT_IS(kin_pipe_try_recv(b, &byte, 1), -EAGAIN);
    KT_IS(kin_pipe_recv_fd(b, &got, KIN_NOW), -ETIMEDOUT);
    finish();
}
END_TEST

START_TEST(in_turn_with_messages)
{
    begin();
    char got[10];
    int fd;
    KT_OK(kin_pipe_send(a, "1", 1, KIN_NOW));
    send_file(2);
    send_file(3);
    KT_OK(kin_pipe_send(a, "four", 4, KIN_NOW));
    KT_IS(kin_pipe_recv_fd(b, &fd, KIN_NEVER), -ENOMSG);
    KT_IS(kin_pipe_recv(b, got, 10, KIN_NEVER), 1);
    KT_IS(kin_pipe_recv(b, got, 10, KIN_NEVER), -ENOMSG);
    KT_IS(kin_pipe_recv(b, got, SIZE_MAX, KIN_NEVER), -ENOMSG);
    KT_IS(kin_pipe_next_bytes(b), -ENOMSG);
    KT_IS(kin_pipe_poll(b, KIN_NOW), 1);
    void *data;
    KT_IS(kin_pipe_recv_alloc(b, &data, KIN_NEVER), -ENOMSG);
    expect_file(2);
    expect_file(3);
    KT_IS(kin_pipe_recv_fd(b, &fd, KIN_NEVER), -ENOMSG);
    KT_IS(kin_pipe_recv(b, got, 10, KIN_NEVER), 4);
    send_file(5);
    kin_pipe_close(a);
    a = NULL;
    expect_file(5);
    KT_IS(kin_pipe_recv_fd(b, &fd, KIN_NEVER), -ESHUTDOWN);
    KT_IS(kin_pipe_send_fd(b, 0, KIN_NEVER), -EPIPE);
    finish();
}
END_TEST

/* Senders that were killed between the socket and the ring. */
START_TEST(numbers_without_a_message)
{
    begin();
    for (int i = 0; i < 3; i++) {
        send_file(1);
        for (int k = 0; k < 5; k++) {
            int fd = make_file(99);
            ck_assert_int_eq(kini_os_channel_send(a->sock, ++a->out->fd_number, fd), 0);
            close(fd);
        }
        a->out->fd_number += 3; /* died before that */
        send_file(2);
        expect_file(1);
        expect_file(2);
    }
    finish();
}
END_TEST

/* As many as the socket can hold, if all that it holds is of the dead. */
START_TEST(a_socket_full_of_the_dead)
{
    begin();
    int fd = make_file(99), r;
    while ((r = kini_os_channel_send(a->sock, ++a->out->fd_number, fd)) == 0)
        ;
    ck_assert_int_eq(r, -EAGAIN);
    KT_IS(kin_pipe_send_fd(a, fd, KIN_NEVER), -ENOBUFS);
    KT_OK(kin_pipe_send(a, "", 1, KIN_NOW));
    KT_IS(kin_pipe_send_fd(a, fd, kin_after_ms(5)), -ETIMEDOUT);
    close(fd);
    finish();
}
END_TEST

/* A receiver died with the message: its descriptor went when the next one came. */
START_TEST(a_message_without_its_descriptor)
{
    begin();
    send_file(1);
    send_file(2);
    ck_assert_int_eq(kini_os_channel_drop(b->sock), 0);
    expect_file(2);
    int fd;
    KT_IS(kin_pipe_recv_fd(b, &fd, KIN_NOW), -ETIMEDOUT);
    finish();
}
END_TEST

#define MANY 3000

static void *send_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < kt_scaled(MANY); i++) {
        int fd = make_file(i);
        KT_CHECK(kin_pipe_send_fd(a, fd, KIN_NEVER) == 0);
        close(fd);
        if (i % 3 == 0)
            KT_CHECK(kin_pipe_send(a, &i, sizeof i, KIN_NEVER) == 0);
    }
    return NULL;
}

START_TEST(many)
{
    begin();
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, send_many, NULL), 0);
    usleep(20000); /* more than the socket holds: the sender waits */
    for (int i = 0; i < kt_scaled(MANY); i++) {
        int fd, number = -1;
        KT_OK(kin_pipe_recv_fd(b, &fd, KIN_NEVER));
        ck_assert_int_eq(number_of(fd), i);
        close(fd);
        if (i % 3 == 0)
            KT_IS(kin_pipe_recv(b, &number, sizeof number, KIN_NEVER), sizeof number);
        ck_assert(number == -1 || number == i);
    }
    pthread_join(thread, NULL);
    finish();
}
END_TEST

static kini_a64 sum;

static void *receive_many(void *unused)
{
    (void)unused;
    int fd, r;
    while ((r = kin_pipe_recv_fd(b, &fd, KIN_NEVER)) == 0) {
        kini_add_sc(&sum, (uint64_t)number_of(fd) + 1);
        close(fd);
    }
    KT_CHECK(r == -ESHUTDOWN);
    return NULL;
}

static void *send_each(void *unused)
{
    (void)unused;
    for (int i = 0; i < kt_scaled(MANY) / 3; i++) {
        int fd = make_file(i);
        KT_CHECK(kin_pipe_send_fd(a, fd, KIN_NEVER) == 0);
        close(fd);
    }
    return NULL;
}

START_TEST(several_at_each_end)
{
    begin();
    pthread_t senders[3], receivers[3];
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&receivers[i], NULL, receive_many, NULL), 0);
        ck_assert_int_eq(pthread_create(&senders[i], NULL, send_each, NULL), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(senders[i], NULL);
    kin_pipe_close(a);
    a = NULL;
    for (int i = 0; i < 3; i++)
        pthread_join(receivers[i], NULL);
    uint64_t n = (uint64_t)kt_scaled(MANY) / 3;
    ck_assert_uint_eq(sum, 3 * n * (n + 1) / 2);
    finish();
}
END_TEST

START_TEST(no_free_descriptor)
{
    begin();
    send_file(1);
    int fd, fillers[64], count = 0;
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit low = {.rlim_cur = 64, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        fillers[count++] = fd;
    KT_IS(kin_pipe_recv_fd(b, &fd, KIN_NEVER), -EMFILE);
    KT_IS(kin_pipe_recv_fd(b, &fd, KIN_NEVER), -EMFILE);
    while (count > 0)
        close(fillers[--count]);
    expect_file(1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    finish();
}
END_TEST

/* --- between processes ------------------------------------------------------------------------ */

static int send_until_killed(void *unused)
{
    (void)unused;
    kin_pipe_close(b);
    for (int i = 0;; i++) {
        int fd = memfd_create("number", MFD_CLOEXEC);
        KT_CHECK(fd >= 0 && pwrite(fd, &i, sizeof i, 0) == sizeof i);
        KT_CHECK(kin_pipe_send_fd(a, fd, KIN_NEVER) == 0);
        close(fd);
    }
}

START_TEST(the_sender_is_killed)
{
    for (int i = 0; i < kt_scaled(15); i++) {
        begin();
        pid_t pid = kt_fork(send_until_killed, NULL);
        kin_pipe_close(a);
        a = NULL;
        int fd, r, expected = 0;
        while ((r = kin_pipe_recv_fd(b, &fd, KIN_NEVER)) == 0) {
            ck_assert_int_eq(number_of(fd), expected++);
            close(fd);
            if (expected == 20 * (i + 1))
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
    Suite *suite = suite_create("chan/pipe_fd");
    TCase *t = kt_case(suite, "pipe_fd", 100);
    tcase_add_test(t, any_kind);
    tcase_add_test(t, in_turn_with_messages);
    tcase_add_test(t, numbers_without_a_message);
    tcase_add_test(t, a_socket_full_of_the_dead);
    tcase_add_test(t, a_message_without_its_descriptor);
    tcase_add_test(t, many);
    tcase_add_test(t, several_at_each_end);
    tcase_add_test(t, no_free_descriptor);
    tcase_add_test(t, the_sender_is_killed);
    return kt_run(suite);
}
