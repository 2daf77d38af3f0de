/* SPDX-License-Identifier: MIT
 * The memory file: growth, giving back, sealing, the guard page that a child reads as zero. */
#include "lib/kin_test.h"
#include "os/os.h"

#include <sys/mman.h>

struct file {
    int fd;
    char *base;
    uint64_t bytes;
};

static struct file open_file(uint64_t bytes)
{
    struct file f = {.fd = kini_os_memory_create("test")};
    void *base = NULL;
    ck_assert_int_ge(f.fd, 0);
    KT_OK(kini_os_memory_map(f.fd, bytes, bytes, &base, &f.bytes));
    ck_assert_uint_eq(f.bytes, bytes);
    f.base = base;
    return f;
}

static void close_file(struct file *f)
{
    kini_os_memory_unmap(f->base, f->bytes);
    kini_os_close(f->fd);
}

static uint64_t used(const struct file *f)
{
    uint64_t bytes = 0;
    KT_OK(kini_os_memory_used(f->fd, &bytes));
    return bytes;
}

START_TEST(commit_and_release)
{
    struct file f = open_file(256 * MIB);
    ck_assert_uint_eq(used(&f), 0);
    KT_OK(kini_os_memory_commit(f.fd, 0, 8 * MIB));
    ck_assert_uint_eq(used(&f), 8 * MIB);
    kt_fill(f.base, 8 * MIB, 1);
    KT_OK(kini_os_memory_commit(f.fd, 4 * MIB, 8 * MIB)); /* what is there stays */
    ck_assert_uint_eq(used(&f), 12 * MIB);
    ck_assert(kt_filled(f.base, 8 * MIB, 1));
    KT_OK(kini_os_memory_commit(f.fd, 4 * MIB, 8 * MIB));
    KT_OK(kini_os_memory_release(f.base, 8 * MIB));
    ck_assert_uint_eq(used(&f), 4 * MIB);
    KT_OK(kini_os_memory_commit(f.fd, 0, MIB));
    uint64_t sum = 0;
    for (uint64_t i = 0; i < MIB; i++)
        sum += (unsigned char)f.base[i];
    ck_assert_uint_eq(sum, 0);
    KT_OK(kini_os_memory_release(f.base + 200 * MIB, MIB)); /* beyond the end: nothing to do */
    close_file(&f);
}
END_TEST

START_TEST(the_file_cannot_shrink)
{
    struct file f = open_file(64 * MIB);
    KT_OK(kini_os_memory_commit(f.fd, 0, MIB));
    ck_assert(ftruncate(f.fd, 0) < 0 && errno == EPERM);
    close_file(&f);
}
END_TEST

START_TEST(descriptors_close_on_exec)
{
    struct file f = open_file(64 * MIB);
    int again = kini_os_reopen(f.fd);
    ck_assert_int_ge(again, 0);
    ck_assert(kini_os_inode(again) == kini_os_inode(f.fd) && kini_os_inode(f.fd) != 0);
    char command[200];
    snprintf(command, sizeof command,
             "for fd in %d %d; do [ ! -e /proc/self/fd/$fd ] || exit 1; done", f.fd, again);
    ck_assert_int_eq(system(command), 0);
    close(again);
    close_file(&f);
}
END_TEST

/* The mapping is left out of core dumps: flag dd of its entry in smaps. */
START_TEST(not_in_core_dumps)
{
    struct file f = open_file(64 * MIB);
    FILE *smaps = fopen("/proc/self/smaps", "re");
    ck_assert_ptr_nonnull(smaps);
    char line[512];
    bool here = false, found = false;
    while (fgets(line, sizeof line, smaps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = from == (unsigned long)f.base;
        if (here && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, " dd") != NULL;
    }
    fclose(smaps);
    ck_assert(found);
    close_file(&f);
}
END_TEST

START_TEST(halves_down_to_the_least)
{
    int fd = kini_os_memory_create("test");
    void *base;
    uint64_t bytes;
    KT_OK(kini_os_memory_map(fd, 1ull << 62, 64 * MIB, &base, &bytes));
    ck_assert_uint_ge(bytes, 64 * MIB);
    kini_os_memory_unmap(base, bytes);
    KT_IS(kini_os_memory_map(fd, 1ull << 62, 1ull << 62, &base, &bytes), -ENOMEM);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    kini_os_close(fd);
}
END_TEST

static int reads_zero(void *page)
{
    return kini_load((kini_a64 *)page) == 0 ? 0 : 1;
}

START_TEST(guard_page_is_zero_in_every_child)
{
    kini_a64 *page = kini_os_guard_page();
    ck_assert_ptr_nonnull(page);
    kini_store(page, 42);
    ck_assert_int_eq(kt_in_child(reads_zero, (void *)page), 0);
    ck_assert_int_eq(kt_wait(kt_fork_raw(reads_zero, (void *)page)), 0);
    ck_assert_uint_eq(kini_load(page), 42);
    kini_os_guard_page_free(page);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("os/memory");
    TCase *t = kt_case(suite, "memory", 30);
    tcase_add_test(t, commit_and_release);
    tcase_add_test(t, the_file_cannot_shrink);
    tcase_add_test(t, descriptors_close_on_exec);
    tcase_add_test(t, not_in_core_dumps);
    tcase_add_test(t, halves_down_to_the_least);
    tcase_add_test(t, guard_page_is_zero_in_every_child);
    return kt_run(suite);
}
