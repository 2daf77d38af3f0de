/* SPDX-License-Identifier: MIT
 * Arenas by name and by path where the machine says no: other users, full disks, no descriptors, no
 * seats, other namespaces. What the machine does not let us make is said and not tested. */
#include "arena/attach.h"
#include "lib/kin_test.h"
#include "lib/stranger.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NOBODY 65534
#define NO_WAY 77 /* a child: the machine does not let us */

static char path[64];

static const struct kin_arena_opts *at_path(void)
{
    static struct kin_arena_opts opts;
    opts = (struct kin_arena_opts){.path = path, .reserve_bytes = 64 * MIB};
    return &opts;
}

static void setup(void)
{
    snprintf(path, sizeof path, "/tmp/kin-names-%d", (int)getpid());
}

static void teardown(void)
{
    unlink(path);
}

/* What a child in another world says; false: there is none. */
static bool tested(int status, const char *what)
{
    if (status == NO_WAY)
        fprintf(stderr, "skipped: %s cannot be made here\n", what);
    else
        ck_assert_int_eq(status, 0);
    return status == 0;
}

static struct kin_arena *opened(const char *name, const struct kin_arena_opts *opts)
{
    struct kin_arena *arena = NULL;
    KT_OK(kin_arena_open(name, opts, &arena));
    return arena;
}

static int find(const char *name, const struct kin_arena_opts *opts)
{
    struct kin_arena *arena = NULL;
    return kin_arena_find(name, opts, &arena);
}

/* --- another user ----------------------------------------------------------------------------- */

static int look_as_nobody(void *name)
{
    if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        return NO_WAY;
    KT_CHECK(find(name, NULL) == -ENOENT); /* names are each user's own */
    KT_CHECK(find(NULL, at_path()) == -EACCES);
    struct kin_arena *arena = NULL;
    KT_CHECK(kin_arena_open(NULL, at_path(), &arena) == -EACCES);
    return 0;
}

START_TEST(another_user)
{
    const char *name = kt_name("user");
    struct kin_arena *mine = opened(name, NULL), *file = opened(NULL, at_path());
    tested(kt_in_child(look_as_nobody, (void *)name), "a process of another user");
    ck_assert_uint_eq(kt_stat(mine).objects_count, 0);
    kin_arena_detach(mine);
    kin_arena_detach(file);
}
END_TEST

/* --- descriptors and seats ---------------------------------------------------------------------
 */

/* With ever more descriptors: an error that says so, nothing left open, and in the end it is in. */
static void few_descriptors(const char *name, bool make)
{
    struct rlimit old;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    int fds = kt_fds_count(), r = -1;
    struct kin_arena *arena = NULL;
    int first = dup(0); /* the lowest free number */
    close(first);
    for (rlim_t most = (rlim_t)first; r != 0 && most < (rlim_t)first + 40; most++) {
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){most, old.rlim_max});
        r = make ? kin_arena_open(name, NULL, &arena) : kin_arena_find(name, NULL, &arena);
        setrlimit(RLIMIT_NOFILE, &old);
        ck_assert_msg(r == 0 || r == -EMFILE, "%d of %d descriptors: %s", (int)most, first,
                      kin_strerror(r));
        ck_assert(r == 0 || kt_fds_count() == fds);
    }
    ck_assert_int_eq(r, 0);
    kin_arena_detach(arena);
}

static int find_with_few(void *name)
{
    few_descriptors(name, false);
    return 0;
}

START_TEST(no_descriptors)
{
    const char *name = kt_name("descriptors");
    few_descriptors(name, true);
    struct kin_arena *arena = opened(name, NULL);
    ck_assert_int_eq(kt_in_child(find_with_few, (void *)name), 0);
    kin_arena_detach(arena);
}
END_TEST

START_TEST(no_seats)
{
    static int seats[1024];
    const char *name = kt_name("seats");
    struct rlimit old;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){1200, old.rlim_max}) < 0) {
        fprintf(stderr, "skipped: no 1200 descriptors\n");
        return;
    }
    struct kin_arena *arena = opened(name, NULL), *other = NULL;
    for (int i = 1; i < 1024; i++) {
        char seat[80];
        snprintf(seat, sizeof seat, "kin/%u/%s/%d", (unsigned)geteuid(), name, i);
        seats[i] = kini_os_name_hold(seat);
        ck_assert_int_ge(seats[i], 0);
    }
    KT_IS(kin_arena_find(name, NULL, &other), -ENOSPC);
    KT_IS(kin_arena_open(name, NULL, &other), -ENOSPC);
    kini_os_close(seats[77]);
    KT_OK(kin_arena_find(name, NULL, &other));
    ck_assert_uint_eq(other->super->uuid[0], arena->super->uuid[0]);
    kin_arena_detach(other);
    for (int i = 1; i < 1024; i++)
        if (i != 77)
            close(seats[i]);
    kin_arena_detach(arena);
}
END_TEST

/* --- files --------------------------------------------------------------------------------------
 */

static void write_file(const void *bytes, size_t length, off_t size)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, length, 0), (ssize_t)length);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    close(fd);
}

/* What was an arena, or was to be one: nobody is in it, so it is begun anew, whatever it says. */
START_TEST(files_of_the_dead)
{
    const uint64_t marks[] = {KINI_MAGIC, 0x006e75676562696bull};
    const off_t sizes[] = {8, 9, 4096, 65536, 100000, 64 << 20};
    for (size_t i = 0; i < 12; i++) {
        write_file(&marks[i % 2], 8, sizes[i / 2]);
        KT_IS(find(NULL, at_path()), -ENOENT);
        struct kin_arena *arena = opened(NULL, at_path());
        void *block;
        KT_OK(kin_block_alloc(arena, 100000, &block));
        kin_arena_detach(arena);
    }
}
END_TEST

START_TEST(not_a_file)
{
    struct kin_arena *arena = NULL;
    ck_assert_int_eq(symlink("/tmp/elsewhere", path), 0);
    KT_IS(kin_arena_open(NULL, at_path(), &arena), -ELOOP);
    unlink(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    KT_IS(kin_arena_open(NULL, at_path(), &arena), -EINVAL);
    KT_IS(find(NULL, at_path()), -EINVAL);
}
END_TEST

static int use_small_disk(void *unused)
{
    (void)unused;
    char root[80];
    snprintf(root, sizeof root, "%s.d", path);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mkdir(root, 0700) < 0)
        return NO_WAY;
    bool full = false, held = false;
    for (int kb = 64; kb <= 8192 && !(full && held); kb *= 2) { /* from too small to enough */
        char size[32];
        snprintf(size, sizeof size, "size=%dk", kb);
        if (mount("kin", root, "tmpfs", 0, size) < 0)
            return NO_WAY;
        struct kin_arena *arena = NULL;
        snprintf(path, sizeof path, "%.50s/arena", root);
        int r = kin_arena_open(NULL, at_path(), &arena);
        KT_CHECK(r == 0 || r == -ENOSPC);
        full |= r == -ENOSPC;
        void *block;
        for (int i = 0; arena != NULL && i < 1000; i++) {
            r = kin_block_alloc(arena, 60000, &block);
            KT_CHECK(r == 0 || r == -ENOMEM || r == -ENOSPC);
            if (r < 0)
                break;
            memset(block, 1, 60000);
            held = true;
        }
        KT_CHECK(arena == NULL || r < 0);
        kin_arena_detach(arena);
        KT_CHECK(umount(root) == 0);
    }
    rmdir(root);
    return full && held ? 0 : 1;
}

static int use_short_files(void *unused)
{
    (void)unused;
    int last = -1;
    for (rlim_t kb = 1; kb <= 65536 * 2; kb *= 2) {
        struct kin_arena *arena = NULL;
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){kb << 10, RLIM_INFINITY});
        last = kin_arena_open(NULL, at_path(), &arena);
        KT_CHECK(last == 0 || last == -EFBIG);
        kin_arena_detach(arena);
    }
    return last;
}

START_TEST(full_disks)
{
    tested(kt_in_child(use_small_disk, NULL), "a small file system");
    ck_assert_int_eq(kt_in_child(use_short_files, NULL), 0);
}
END_TEST

/* --- namespaces ----------------------------------------------------------------------------------
 */

static int other_network(void *name)
{
    if (unshare(CLONE_NEWNET) < 0)
        return NO_WAY;
    KT_CHECK(find(name, NULL) == -ENOENT);
    struct kin_arena *arena = NULL; /* another one of that name; and the file is the same */
    KT_CHECK(kin_arena_open(name, NULL, &arena) == 0);
    KT_CHECK(kt_stat(arena).participants_count == 1);
    kin_arena_detach(arena);
    KT_CHECK(kin_arena_find(NULL, at_path(), &arena) == 0);
    KT_CHECK(kt_stat(arena).participants_count >= 2);
    kin_arena_detach(arena);
    return 0;
}

START_TEST(another_network)
{
    const char *name = kt_name("network");
    struct kin_arena *mine = opened(name, NULL), *file = opened(NULL, at_path());
    tested(kt_in_child(other_network, (void *)name), "a network namespace");
    kin_arena_detach(mine);
    kin_arena_detach(file);
}
END_TEST

struct inside {
    kini_a32 ready, pid;
};

/* Process 1 of a pid namespace, which takes a lock in the file's arena and waits for the end. */
static int hold_inside(void *memory)
{
    struct inside *shared = memory;
    struct kin_arena *arena = NULL;
    struct kin_lock *lock = NULL;
    KT_CHECK(getpid() == 1);
    KT_UNTIL(kin_arena_find(NULL, at_path(), &arena) == 0);
    KT_CHECK(kin_lock_open(arena, "lock", NULL, &lock) == 0);
    KT_CHECK(kin_lock_acquire(lock, KIN_NEVER) == 0);
    kini_store_sc(&shared->ready, 1);
    return kt_sleep_for_ever(NULL);
}

static int enter_pids(void *memory)
{
    struct inside *shared = memory;
    if (unshare(CLONE_NEWPID) < 0)
        return NO_WAY;
    pid_t pid = kt_fork(hold_inside, memory);
    kini_store_sc(&shared->pid, (uint32_t)pid);
    return kt_wait(pid) == -SIGKILL ? 0 : 1;
}

/* Its pid means nothing here: its death is told by its token alone. */
START_TEST(another_pid_namespace)
{
    struct inside *shared = kt_share(sizeof *shared);
    pid_t parent = kt_fork(enter_pids, shared); /* before there is an arena: it is no participant */
    int status;
    struct kin_arena *arena = opened(NULL, at_path());
    struct kin_lock *lock = NULL;
    KT_OK(kin_lock_open(arena, "lock", NULL, &lock));
    while (kini_load_acq(&shared->ready) == 0) {
        pid_t ended = waitpid(parent, &status, WNOHANG);
        if (ended == parent) {
            tested(WEXITSTATUS(status), "a pid namespace");
            goto end;
        }
        usleep(500);
    }
    ck_assert_uint_eq(kt_stat(arena).participants_count, 2);
    KT_IS(kin_arena_reap(arena), 0);
    KT_IS(kin_lock_try_acquire(lock), -EAGAIN);
    kill((pid_t)kini_load(&shared->pid), SIGKILL);
    KT_IS(kin_lock_acquire(lock, KIN_NEVER), KIN_ABANDONED);
    ck_assert_int_eq(kt_wait(parent), 0);
    KT_UNTIL(kt_stat(arena).participants_count == 1);
    KT_OK(kin_lock_release(lock));
end:
    kin_lock_destroy(lock);
    kin_arena_detach(arena);
    kt_unshare(shared, sizeof *shared);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits/names");
    TCase *t = kt_case(suite, "names", 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, another_user);
    tcase_add_test(t, no_descriptors);
    tcase_add_test(t, no_seats);
    tcase_add_test(t, files_of_the_dead);
    tcase_add_test(t, not_a_file);
    tcase_add_test(t, full_disks);
    tcase_add_test(t, another_network);
    tcase_add_test(t, another_pid_namespace);
    return kt_run(suite);
}
