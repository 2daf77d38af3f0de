/* SPDX-License-Identifier: MIT
 * Error names, the sentence of the last failure, options of older and newer callers, names. */
#include "base/error.h"
#include "lib/kin_test.h"

#include <limits.h>
#include <pthread.h>

START_TEST(names_for_both_signs)
{
    ck_assert_str_eq(kin_strerror(ETIMEDOUT), "timed out");
    ck_assert_str_eq(kin_strerror(-ETIMEDOUT), "timed out");
    static const int promised[] = {EINVAL, EAGAIN,    ETIMEDOUT,  EMSGSIZE,       ENOMEM,
                                   EFBIG,  EMFILE,    ENOSPC,     ESTALE,         ESHUTDOWN,
                                   EPROTO, ECANCELED, EOWNERDEAD, ENOTRECOVERABLE};
    for (size_t i = 0; i < sizeof promised / sizeof promised[0]; i++)
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(kin_strerror(promised[i]), kin_strerror(promised[j]));
}
END_TEST

START_TEST(names_of_unknown_values)
{
    static const int odd[] = {9999, -9999, INT_MAX, -INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        ck_assert_uint_gt(strlen(kin_strerror(odd[i])), 0);
}
END_TEST

static void *fail_in_a_thread(void *unused)
{
    (void)unused;
    KT_CHECK(kin_error_text()[0] == '\0');
    KT_CHECK(kini_fail(-EIO, "number %d", 7) == -EIO);
    KT_CHECK(strcmp(kin_error_text(), "number 7") == 0);
    return NULL;
}

START_TEST(text_is_of_the_thread)
{
    ck_assert_str_eq(kin_error_text(), "");
    ck_assert_int_eq(kini_fail(-ENOMEM, "%s", "mine"), -ENOMEM);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, fail_in_a_thread, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_str_eq(kin_error_text(), "mine");
}
END_TEST

START_TEST(text_is_cut_not_overrun)
{
    char longer[2000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    kini_fail(-EINVAL, "%s", longer);
    ck_assert_uint_gt(strlen(kin_error_text()), 100);
    ck_assert_uint_lt(strlen(kin_error_text()), sizeof longer);
}
END_TEST

START_TEST(errno_is_not_set)
{
    errno = 0;
    struct kin_arena_opts opts = {.size = sizeof opts, .reserve_bytes = 1};
    struct kin_arena *arena = NULL;
    KT_IS(kin_arena_create(&opts, &arena), -EINVAL);
    ck_assert_int_eq(errno, 0);
    ck_assert_ptr_null(arena);
}
END_TEST

struct some_opts {
    uint32_t size, flags;
    uint64_t a, b;
};

START_TEST(opts_none_and_whole)
{
    struct some_opts copy, given = {.flags = 1, .a = 2, .b = 3};
    memset(&copy, 0xff, sizeof copy);
    KT_OK(kini_opts_copy(&copy, sizeof copy, NULL));
    ck_assert_uint_eq(copy.flags | copy.a | copy.b, 0);
    KT_OK(kini_opts_copy(&copy, sizeof copy, &given)); /* a size of 0 stands for our own */
    ck_assert(copy.flags == 1 && copy.a == 2 && copy.b == 3);
    given.size = sizeof given;
    KT_OK(kini_opts_copy(&copy, sizeof copy, &given));
    ck_assert(copy.flags == 1 && copy.a == 2 && copy.b == 3);
}
END_TEST

START_TEST(opts_of_an_older_caller)
{
    struct some_opts copy, given = {.size = offsetof(struct some_opts, b), 1, 2, 3};
    memset(&copy, 0xff, sizeof copy);
    KT_OK(kini_opts_copy(&copy, sizeof copy, &given));
    ck_assert(copy.flags == 1 && copy.a == 2 && copy.b == 0);
    given.size = 3;
    KT_IS(kini_opts_copy(&copy, sizeof copy, &given), -EINVAL);
    given.size = 4;
    KT_OK(kini_opts_copy(&copy, sizeof copy, &given));
    ck_assert(copy.flags == 0 && copy.a == 0);
}
END_TEST

START_TEST(opts_of_a_newer_caller)
{
    struct {
        struct some_opts known;
        uint64_t newer[2];
    } given = {.known = {.size = sizeof given, 1, 2, 3}};
    struct some_opts copy;
    KT_OK(kini_opts_copy(&copy, sizeof copy, &given));
    ck_assert(copy.b == 3);
    given.newer[1] = 1ull << 56; /* its last byte alone */
    KT_IS(kini_opts_copy(&copy, sizeof copy, &given), -E2BIG);
    ck_assert_uint_gt(strlen(kin_error_text()), 0);
    given.known.size = sizeof given - 1;
    KT_OK(kini_opts_copy(&copy, sizeof copy, &given));
}
END_TEST

START_TEST(object_names)
{
    char field[32];
    KT_OK(kini_name_copy(field, NULL));
    ck_assert_str_eq(field, "");
    KT_OK(kini_name_copy(field, "0123456789012345678901234567890"));
    ck_assert_uint_eq(strlen(field), 31);
    KT_IS(kini_name_copy(field, "01234567890123456789012345678901"), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/error");
    TCase *t = kt_case(suite, "text", 20);
    tcase_add_test(t, names_for_both_signs);
    tcase_add_test(t, names_of_unknown_values);
    tcase_add_test(t, text_is_of_the_thread);
    tcase_add_test(t, text_is_cut_not_overrun);
    tcase_add_test(t, errno_is_not_set);
    t = kt_case(suite, "opts", 20);
    tcase_add_test(t, opts_none_and_whole);
    tcase_add_test(t, opts_of_an_older_caller);
    tcase_add_test(t, opts_of_a_newer_caller);
    tcase_add_test(t, object_names);
    return kt_run(suite);
}
