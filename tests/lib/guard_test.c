/* SPDX-License-Identifier: MIT
 * The guard sees what a test leaves behind, and nothing else. Each case runs this program again, as
 * guard_test WHAT FOLDER: one test, which leaves that; FOLDER stands for /dev/shm. */
#include "lib/child.h"
#include "lib/guard.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

static const char *what;

/* --- what leaves something behind ------------------------------------------------------------- */

static void make_file(void)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", kt_shm_folder, what);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static int sleep_with_parent(void *parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return getppid() == *(pid_t *)parent ? kt_sleep_for_ever(NULL) : 0;
}

static void map_memory_file(void)
{
    int fd = memfd_create("guard", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    ck_assert(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
    close(fd);
}

START_TEST(leaves_it)
{
    pid_t me = getpid();
    if (strcmp(what, "descriptor") == 0)
        ck_assert_int_ge(dup(0), 0);
    else if (strcmp(what, "child") == 0)
        kt_fork(sleep_with_parent, &me);
    else if (strcmp(what, "mapping") == 0)
        map_memory_file();
    else if (strcmp(what, "nothing") != 0)
        make_file();
}
END_TEST

static int leave(const char *given, const char *folder)
{
    what = given;
    kt_shm_folder = folder;
    Suite *suite = suite_create("guarded");
    tcase_add_test(kt_case(suite, "guarded", 20), leaves_it);
    return kt_run(suite);
}

/* --- whether it is seen ----------------------------------------------------------------------- */

static struct left {
    const char *what;
    bool seen;
} cases[] = {
    {"nothing", false},     {"descriptor", true},    {"child", true},    {"mapping", true},
    {"kin", true},          {"kin-something", true}, {"sem.kin1", true}, {"another", false},
    {"sem.another", false}, {"making1", false},      {".hidden", false},
};
#define CASES ((int)(sizeof cases / sizeof cases[0]))

static char folder[] = "/tmp/guard-XXXXXX";

static int run_again(void *given)
{
    unsetenv("KIN_TEST");
    if (freopen("/dev/null", "w", stdout) == NULL)
        return 100;
    execl("/proc/self/exe", "guard_test", ((struct left *)given)->what, folder, NULL);
    return 100;
}

START_TEST(sees_what_is_left)
{
    char path[200];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    int status = kt_in_child(run_again, (void *)&cases[_i]);
    snprintf(path, sizeof path, "%s/%s", folder, cases[_i].what);
    kt_wait_all(); /* what was left comes to us, and ends */
    unlink(path);
    rmdir(folder);
    ck_assert_msg(status == (cases[_i].seen ? EXIT_FAILURE : EXIT_SUCCESS), "%s: status %d",
                  cases[_i].what, status);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3)
        return leave(argv[1], argv[2]);
    Suite *suite = suite_create("lib/guard");
    tcase_add_loop_test(kt_case(suite, "left", 60), sees_what_is_left, 0, CASES);
    return kt_run(suite);
}
