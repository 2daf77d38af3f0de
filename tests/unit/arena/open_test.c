/* SPDX-License-Identifier: MIT
 * Arenas by name and by path: strangers meet, and nothing is left. */
#include "arena/attach.h"
#include "lib/kin_test.h"
#include "lib/stranger.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PLACES 16

struct place {
    kini_a64 pid;  /* who says so; 0: nobody */
    kini_a64 uuid; /* of the arena it is in */
};

struct board {
    kini_a32 arrived, go, splits;
    kini_a64 opened, made;
    kini_a64 uuid, participants;
    struct place places[PLACES];
};

static struct board *board;

static struct kin_arena *opened(const char *name)
{
    struct kin_arena *arena = NULL;
    KT_OK(kin_arena_open(name, &(struct kin_arena_opts){.reserve_bytes = 64 * MIB}, &arena));
    return arena;
}

/* --- roles ---------------------------------------------------------------------------------- */

static struct kin_arena *arrive(struct board *b, const char *name)
{
    struct kin_arena *arena;
    if (kin_arena_open(name, NULL, &arena) < 0) {
        dprintf(2, "stranger: %s\n", kin_error_text());
        _exit(100);
    }
    kini_store(&b->uuid, arena->super->uuid[0]);
    kini_store(&b->participants, kt_stat(arena).participants_count);
    kini_add_sc(&b->arrived, 1);
    return arena;
}

static int play_stay(void *memory, const char *name)
{
    struct board *b = memory;
    struct kin_arena *arena = arrive(b, name);
    while (kini_load_acq(&b->go) == 0)
        usleep(300);
    kin_arena_detach(arena);
    return 0;
}

static int stay_in_child(void *arg)
{
    struct board *b = arg;
    kini_add_sc(&b->arrived, 1);
    while (kini_load_acq(&b->go) == 0)
        usleep(300);
    return 0;
}

static struct kin_arena *raw_arena;
static int stay_then_use(void *arg)
{
    stay_in_child(arg);
    return kt_stat(raw_arena).participants_count > 0 && kin_arena_reap(raw_arena) >= 0 ? 0 : 1;
}

/* Leaves a child behind, and dies. */
static int play_fork(void *memory, const char *name)
{
    struct kin_arena *arena = arrive(memory, name);
    (void)arena;
    if (fork() == 0)
        _exit(stay_in_child(memory));
    while (kini_load_acq(&((struct board *)memory)->arrived) < 2)
        usleep(300);
    kill(getpid(), SIGKILL);
    return 1;
}

static int play_fork_raw(void *memory, const char *name)
{
    raw_arena = arrive(memory, name);
    if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) == 0) /* kt_fork_raw is for tests */
        _exit(stay_then_use(memory));
    while (kini_load_acq(&((struct board *)memory)->arrived) < 2)
        usleep(300);
    kill(getpid(), SIGKILL);
    return 1;
}

static int play_missing(void *memory, const char *name)
{
    (void)memory;
    struct kin_arena *arena;
    int r = kin_arena_find(name, NULL, &arena);
    if (r == 0)
        kin_arena_detach(arena);
    return -r;
}

/* Come and go, and say at each time in which arena. Two living ones that say different things at
 * the same moment are a split. */
static int play_race(void *memory, const char *arg)
{
    struct board *b = memory;
    int me = atoi(arg);
    const char *name = strchr(arg, ',') + 1;
    struct place *mine = &b->places[me];
    while (kini_load_acq(&b->go) == 0)
        usleep(100);
    while (kini_load_acq(&b->go) == 1) {
        struct kin_arena *arena;
        int r = kin_arena_open(name, &(struct kin_arena_opts){.reserve_bytes = 64 * MIB}, &arena);
        if (r < 0) {
            dprintf(2, "race: %s\n", kin_error_text());
            return 100;
        }
        uint64_t uuid = arena->super->uuid[0];
        kini_store(&mine->uuid, uuid);
        kini_store_sc(&mine->pid, (uint64_t)getpid());
        kini_add_sc(&b->opened, 1);
        for (int i = 0; i < PLACES; i++) {
            uint64_t pid = kini_load_sc(&b->places[i].pid), other = kini_load(&b->places[i].uuid);
            if (pid == 0 || other == uuid || kini_load_sc(&b->places[i].pid) != pid)
                continue;
            char state = kt_process_state((pid_t)pid);
            if (state != 'Z' && state != 'X' && state != '?' &&
                kini_load_sc(&b->places[i].pid) == pid && kini_load(&b->places[i].uuid) == other)
                kini_add_sc(&b->splits, 1);
        }
        usleep((useconds_t)(me * 37 % 300));
        kini_store_sc(&mine->pid, 0);
        kin_arena_detach(arena);
    }
    return 0;
}

static const struct kt_role roles[] = {{"stay", play_stay},         {"fork", play_fork},
                                       {"fork_raw", play_fork_raw}, {"missing", play_missing},
                                       {"race", play_race},         {NULL, NULL}};

static void setup(void)
{
    board = kt_board(sizeof *board);
}

static void teardown(void)
{
    kt_board_close(board, sizeof *board);
}

/* --- one after the other --------------------------------------------------------------------- */

START_TEST(strangers_meet)
{
    struct kin_arena *arena = opened(kt_name("meet"));
    pid_t pid = kt_stranger("stay", kt_name("meet"));
    KT_UNTIL(kini_load_acq(&board->arrived) == 1);
    ck_assert_uint_eq(kini_load(&board->uuid), arena->super->uuid[0]);
    ck_assert_uint_eq(kini_load(&board->participants), 2);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 2);
    kini_store(&board->go, 1);
    ck_assert_int_eq(kt_wait(pid), 0);
    ck_assert_uint_eq(kt_stat(arena).participants_count, 1);
    ck_assert_uint_eq(kt_stat(arena).deaths_count, 0);
    kin_arena_detach(arena);
}
END_TEST

START_TEST(the_name_is_free_again)
{
    struct kin_arena *arena = opened(kt_name("free"));
    uint64_t first = arena->super->uuid[0];
    kin_arena_detach(arena);
    ck_assert_int_eq(kt_in_stranger("missing", kt_name("free")), ENOENT);
    arena = opened(kt_name("free"));
    ck_assert_uint_ne(arena->super->uuid[0], first);
    kin_arena_detach(arena);
}
END_TEST

START_TEST(nothing_is_left_of_the_killed)
{
    for (int i = 0; i < 20; i++) {
        kini_store(&board->arrived, 0);
        pid_t pid = kt_stranger("stay", kt_name("killed"));
        KT_UNTIL(kini_load_acq(&board->arrived) == 1);
        kt_kill(pid);
        struct kin_arena *arena = NULL;
        KT_IS(kin_arena_find(kt_name("killed"), NULL, &arena), -ENOENT);
    }
}
END_TEST

START_TEST(the_first_one_may_die)
{
    pid_t first = kt_stranger("stay", kt_name("first"));
    KT_UNTIL(kini_load_acq(&board->arrived) == 1);
    struct kin_arena *arena = opened(kt_name("first"));
    kt_kill(first);
    ck_assert_int_eq(kt_in_stranger("missing", kt_name("first")), 0);
    KT_UNTIL(kin_arena_reap(arena) == 0 && kt_stat(arena).participants_count == 1);
    kin_arena_detach(arena);
}
END_TEST

static void children_keep(const char *role, const char *name)
{
    pid_t pid = kt_stranger(role, name);
    ck_assert_int_eq(kt_wait(pid), -SIGKILL);
    struct kin_arena *arena = NULL;
    KT_OK(kin_arena_find(name, NULL, &arena));
    ck_assert_uint_eq(arena->super->uuid[0], kini_load(&board->uuid));
    kini_store(&board->go, 1);
    kin_arena_detach(arena);
    kt_wait_all();
    KT_IS(kin_arena_find(name, NULL, &arena), -ENOENT);
}

START_TEST(a_forked_child_keeps_the_arena_findable)
{
    children_keep("fork", kt_name("fork"));
}
END_TEST

START_TEST(so_does_a_child_that_no_handler_saw)
{
    children_keep("fork_raw", kt_name("raw"));
}
END_TEST

START_TEST(twice_in_one_process)
{
    struct kin_arena *one = opened(kt_name("twice")), *two = opened(kt_name("twice"));
    ck_assert_ptr_ne(one->base, two->base);
    ck_assert_uint_eq(one->super->uuid[0], two->super->uuid[0]);
    ck_assert_uint_eq(kt_stat(one).participants_count, 2);
    kin_arena_detach(one);
    ck_assert_uint_eq(kt_stat(two).participants_count, 1);
    one = opened(kt_name("twice"));
    kin_arena_detach(two);
    kin_arena_detach(one);
}
END_TEST

START_TEST(bad_names)
{
    struct kin_arena *arena = NULL;
    static const char *const bad[] = {NULL, "", "a/b", "/", "thirty-two-bytes-are-one-too-man"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        KT_IS(kin_arena_open(bad[i], NULL, &arena), -EINVAL);
        KT_IS(kin_arena_find(bad[i], NULL, &arena), -EINVAL);
    }
    KT_IS(kin_arena_open("a", &(struct kin_arena_opts){.name = "b"}, &arena), -EINVAL);
    KT_IS(kin_arena_open("a", &(struct kin_arena_opts){.flags = 1}, &arena), -EINVAL);
    KT_IS(kin_arena_create(&(struct kin_arena_opts){.path = "/x"}, &arena), -EINVAL);
    ck_assert_ptr_null(arena);
}
END_TEST

START_TEST(another_build)
{
    struct kin_arena *arena = opened(kt_name("build")), *other = NULL;
    arena->super->stamp++;
    KT_IS(kin_arena_open(kt_name("build"), NULL, &other), -EPROTO);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "another build"));
    arena->super->stamp--;
    arena->super->participants_off += 65536;
    KT_IS(kin_arena_open(kt_name("build"), NULL, &other), -EPROTO);
    arena->super->participants_off -= 65536;
    KT_OK(kin_arena_open(kt_name("build"), NULL, &other));
    kin_arena_detach(other);
    kin_arena_detach(arena);
}
END_TEST

START_TEST(memory_that_is_not_sealed)
{
    /* of the right name, with a lock on a token, but anybody could cut it short */
    char name[80];
    struct kin_arena *arena = NULL;
    snprintf(name, sizeof name, "kin/%llu/%s", (unsigned long long)kini_os_network(),
             kt_name("seal"));
    int fd = memfd_create(name, MFD_CLOEXEC);
    char seat[80];
    snprintf(seat, sizeof seat, "kin/%u/%s/0", (unsigned)geteuid(), kt_name("seal"));
    int held = kini_os_name_hold(seat);
    ck_assert_int_ge(held, 0);
    ck_assert_int_eq(kini_os_byte_lock(fd, 1), 0);
    KT_IS(kin_arena_open(kt_name("seal"), NULL, &arena), -EPROTO);
    ck_assert_ptr_nonnull(strstr(kin_error_text(), "sealed"));
    close(fd);
    close(held);
}
END_TEST

START_TEST(a_seat_without_an_arena)
{
    /* somebody else's, perhaps: an error in the end, never a second arena */
    struct kin_arena *arena = NULL;
    char seat[80];
    snprintf(seat, sizeof seat, "kin/%u/%s/1023", (unsigned)geteuid(), kt_name("seat"));
    int held = kini_os_name_hold(seat);
    ck_assert_int_ge(held, 0);
    KT_IS(kin_arena_open(kt_name("seat"), NULL, &arena), -EBUSY);
    close(held);
    arena = opened(kt_name("seat"));
    kin_arena_detach(arena);
}
END_TEST

/* --- at once --------------------------------------------------------------------------------- */

static void race(bool kills)
{
    pid_t pids[PLACES];
    char args[PLACES][48];
    struct kt_random random = kt_random_of("race", kills);
    for (int i = 0; i < PLACES; i++) {
        snprintf(args[i], sizeof args[i], "%d,%s", i, kt_name("race"));
        pids[i] = kt_stranger("race", args[i]);
    }
    kini_store_sc(&board->go, 1);
    uint64_t wanted = (uint64_t)kt_scaled(kills ? 500 : 1500);
    while (kini_load(&board->opened) < wanted) {
        usleep(2000);
        int i = (int)kt_random_below(&random, PLACES);
        siginfo_t info = {0};
        for (int k = 0; k < PLACES; k++) /* none may have ended by itself */
            ck_assert(waitid(P_PID, (id_t)pids[k], &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                      info.si_pid == 0);
        if (kills) {
            kill(pids[i], SIGKILL);
            ck_assert_int_eq(kt_wait(pids[i]), -SIGKILL);
            kini_store_sc(&board->places[i].pid, 0);
            pids[i] = kt_stranger("race", args[i]);
        }
    }
    kini_store_sc(&board->go, 2);
    for (int i = 0; i < PLACES; i++)
        ck_assert_int_eq(kt_wait(pids[i]), 0);
    ck_assert_uint_eq(kini_load(&board->splits), 0);
    struct kin_arena *arena = NULL;
    KT_IS(kin_arena_find(kt_name("race"), NULL, &arena), -ENOENT);
}

START_TEST(all_come_and_go)
{
    race(false);
}
END_TEST

START_TEST(all_come_and_are_killed)
{
    race(true);
}
END_TEST

static kini_a32 *quit;
static void *fork_all_the_time(void *unused)
{
    while (kini_load(quit) == 0) {
        pid_t pid = fork();
        if (pid == 0) {
            usleep(3000);
            _exit(0);
        }
        kt_wait(pid);
    }
    return unused;
}

START_TEST(no_fork_copies_the_mutex)
{
    /* else a child would keep the name locked after we have opened it */
    quit = kt_share(4096);
    pthread_t thread;
    pthread_create(&thread, NULL, fork_all_the_time, NULL);
    for (int i = 0; i < kt_scaled(100); i++) {
        struct kin_arena *arena = opened(kt_name("mutex"));
        ck_assert_int_eq(kt_in_stranger("missing", kt_name("mutex")), 0);
        kin_arena_detach(arena);
    }
    kini_store(quit, 1);
    pthread_join(thread, NULL);
    kt_unshare((void *)quit, 4096);
}
END_TEST

/* --- by path --------------------------------------------------------------------------------- */

static char path[64];

static const struct kin_arena_opts *at_path(void)
{
    static struct kin_arena_opts opts;
    opts = (struct kin_arena_opts){.path = path, .reserve_bytes = 64 * MIB};
    return &opts;
}

static void setup_path(void)
{
    setup();
    snprintf(path, sizeof path, "/tmp/kin-test-%d", (int)getpid());
}

static void teardown_path(void)
{
    unlink(path);
    teardown();
}

START_TEST(a_file)
{
    struct kin_arena *one = NULL, *two = NULL;
    KT_IS(kin_arena_find(NULL, at_path(), &one), -ENOENT);
    KT_OK(kin_arena_open("label", at_path(), &one));
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    KT_OK(kin_arena_find(NULL, at_path(), &two));
    ck_assert_uint_eq(one->super->uuid[0], two->super->uuid[0]);
    ck_assert_uint_eq(kt_stat(one).participants_count, 2);
    uint64_t first = one->super->uuid[0];
    kin_arena_detach(one);
    kin_arena_detach(two);
    KT_IS(kin_arena_find(NULL, at_path(), &one), -ENOENT); /* the file is there, nobody in it */
    KT_OK(kin_arena_open(NULL, at_path(), &one));
    ck_assert_uint_ne(one->super->uuid[0], first);
    ck_assert_uint_eq(kt_stat(one).participants_count, 1);
    void *block;
    KT_OK(kin_block_alloc(one, 3 * MIB, &block));
    memset(block, 1, 3 * MIB);
    kin_arena_detach(one);
}
END_TEST

START_TEST(somebody_elses_file)
{
    struct kin_arena *arena = NULL;
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, "a letter to a friend", 20), 20);
    KT_IS(kin_arena_open(NULL, at_path(), &arena), -EPROTO);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(ftruncate(fd, 100000), 0); /* an empty disk, perhaps */
    KT_IS(kin_arena_open(NULL, at_path(), &arena), -EPROTO);
    char text[20];
    ck_assert_int_eq(pread(fd, text, 20, 0), 20);
    ck_assert_int_eq(text[0], 0);
    close(fd);
    unlink(path);
    KT_IS(kin_arena_open(NULL, &(struct kin_arena_opts){.path = "/tmp"}, &arena), -EISDIR);
    KT_IS(kin_arena_open(NULL, &(struct kin_arena_opts){.path = "/nowhere/x"}, &arena), -ENOENT);
}
END_TEST

int main(int argc, char **argv)
{
    kt_stranger_main(argc, argv, roles, sizeof *board);
    Suite *suite = suite_create("arena/open");
    TCase *t = kt_case(suite, "open", 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, strangers_meet);
    tcase_add_test(t, the_name_is_free_again);
    tcase_add_test(t, nothing_is_left_of_the_killed);
    tcase_add_test(t, the_first_one_may_die);
    tcase_add_test(t, a_forked_child_keeps_the_arena_findable);
    tcase_add_test(t, so_does_a_child_that_no_handler_saw);
    tcase_add_test(t, twice_in_one_process);
    tcase_add_test(t, bad_names);
    tcase_add_test(t, another_build);
    tcase_add_test(t, memory_that_is_not_sealed);
    tcase_add_test(t, a_seat_without_an_arena);
    t = kt_case(suite, "race", 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, all_come_and_go);
    tcase_add_test(t, all_come_and_are_killed);
    tcase_add_test(t, no_fork_copies_the_mutex);
    t = kt_case(suite, "path", 60);
    tcase_add_checked_fixture(t, setup_path, teardown_path);
    tcase_add_test(t, a_file);
    tcase_add_test(t, somebody_elses_file);
    return kt_run(suite);
}
