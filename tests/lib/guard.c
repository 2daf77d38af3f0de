/* SPDX-License-Identifier: MIT
 * What a test leaves behind, counted before and after. */
#include "lib/guard.h"
#include "lib/seed.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHM_MOST 512

const char *kt_shm_folder = "/dev/shm";

static struct {
    int fds, maps;
    int shm_count;
    char shm[SHM_MOST][64];
} before;

bool kt_under_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

static int slowness(void)
{
    return kt_under_valgrind() ? 20 : KT_THREAD_SANITIZER || KT_ADDRESS_SANITIZER ? 5 : 1;
}

int kt_scaled(int full)
{
    int scaled = full / slowness();
    return scaled > 0 ? scaled : 1;
}

/* --- counting ------------------------------------------------------------------------------- */

int kt_fds_count(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -1; /* the descriptor of the listing */
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        count += e->d_name[0] != '.';
    if (dir != NULL)
        closedir(dir);
    return count;
}

static void print_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char target[200];
        ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof target - 1);
        if (n > 0) {
            target[n] = '\0';
            printf("  descriptor %s: %s\n", e->d_name, target);
        }
    }
    if (dir != NULL)
        closedir(dir);
}

int kt_arena_maps_count(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    int count = 0;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        count += strstr(line, "memfd:") != NULL;
    if (maps != NULL)
        fclose(maps);
    return count;
}

int kt_children_count(void)
{
    /* waitid looks without collecting; one look sees one child. */
    siginfo_t info = {.si_pid = 0};
    int r = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL);
    if (r < 0 && errno == ECHILD)
        return 0;
    FILE *f = fopen("/proc/thread-self/children", "re");
    int count = 0, pid;
    while (f != NULL && fscanf(f, "%d", &pid) == 1)
        count++;
    if (f != NULL)
        fclose(f);
    return count > 0 ? count : 1; /* there is one, but this kernel has no list */
}

/* Other programs come and go there, too: what is kin's would be named like all that kin names, be
 * it a memory object or a semaphore of the system. */
static bool could_be_kins(const char *name)
{
    if (strncmp(name, "sem.", 4) == 0)
        name += 4;
    return strncmp(name, "kin", 3) == 0;
}

static int list_shm(char names[][64])
{
    DIR *dir = opendir(kt_shm_folder);
    int count = 0;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (could_be_kins(e->d_name) && count < SHM_MOST)
            snprintf(names[count++], 64, "%.63s", e->d_name);
    if (dir != NULL)
        closedir(dir);
    return count;
}

static bool was_there(const char *name)
{
    for (int i = 0; i < before.shm_count; i++)
        if (strcmp(before.shm[i], name) == 0)
            return true;
    return false;
}

static void check_shm(void)
{
    static char now[SHM_MOST][64];
    int count = list_shm(now);
    for (int i = 0; i < count; i++)
        ck_assert_msg(was_there(now[i]), "left behind: %s/%s", kt_shm_folder, now[i]);
}

/* --- the fixture: in the process of the test ------------------------------------------------ */

static void remember(void)
{
    /* Orphans of the test become its children: nobody escapes the count. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    /* Check's handlers would end the whole group when a child of the test gets one of these. */
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    before.fds = kt_fds_count();
    before.maps = kt_arena_maps_count();
    before.shm_count = list_shm(before.shm);
}

static void compare(void)
{
    int children = kt_children_count();
    ck_assert_msg(children == 0, "left behind: %d children or zombies", children);
    int fds = kt_fds_count();
    if (fds != before.fds)
        print_fds();
    ck_assert_msg(fds == before.fds, "left behind: %d descriptors", fds - before.fds);
    int maps = kt_arena_maps_count();
    ck_assert_msg(maps == before.maps, "left behind: %d mappings", maps - before.maps);
    check_shm();
}

TCase *kt_case(Suite *suite, const char *name, int seconds)
{
    char factor[16];
    snprintf(factor, sizeof factor, "%d", slowness());
    setenv("CK_TIMEOUT_MULTIPLIER", factor, 0);
    TCase *result = tcase_create(name);
    tcase_set_timeout(result, seconds);
    tcase_add_checked_fixture(result, remember, compare);
    suite_add_tcase(suite, result);
    return result;
}

int kt_run(Suite *suite)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    setvbuf(stdout, NULL, _IOLBF, 0);
    kt_seed_print();
    SRunner *runner = srunner_create(suite);
    srunner_run(runner, NULL, getenv("KIN_TEST"), CK_NORMAL);
    int failed = srunner_ntests_failed(runner), run = srunner_ntests_run(runner);
    srunner_free(runner);
    return failed == 0 && run > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
