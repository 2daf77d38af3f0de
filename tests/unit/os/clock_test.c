/* SPDX-License-Identifier: MIT
 * Deadlines saturate; negative times have passed already. */
#include "lib/kin_test.h"

#include <time.h>

START_TEST(the_clock_is_monotonic)
{
    struct timespec ts;
    int64_t before = kin_now_ns();
    clock_gettime(CLOCK_MONOTONIC, &ts);
    int64_t between = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    int64_t after = kin_now_ns();
    ck_assert(before <= between && between <= after);
}
END_TEST

START_TEST(deadlines_lie_ahead)
{
    int64_t before = kin_now_ns();
    kin_deadline ns = kin_after_ns(5000000), us = kin_after_us(5000), ms = kin_after_ms(5);
    int64_t after = kin_now_ns();
    ck_assert(ns >= before + 5000000 && ns <= after + 5000000);
    ck_assert(us >= before + 5000000 && us <= after + 5000000);
    ck_assert(ms >= before + 5000000 && ms <= after + 5000000);
}
END_TEST

START_TEST(they_saturate_at_never)
{
    ck_assert_int_eq(kin_after_ns(INT64_MAX), KIN_NEVER);
    ck_assert_int_eq(kin_after_us(INT64_MAX), KIN_NEVER);
    ck_assert_int_eq(kin_after_ms(INT64_MAX), KIN_NEVER);
    ck_assert_int_eq(kin_after_us(INT64_MAX / 1000), KIN_NEVER);
    ck_assert_int_eq(kin_after_ms(INT64_MAX / 1000000 + 1), KIN_NEVER);
    ck_assert_int_lt(kin_after_ms(1000ll * 3600 * 24 * 365 * 100), KIN_NEVER);
}
END_TEST

START_TEST(negative_times_have_passed)
{
    ck_assert_int_le(kin_after_ns(-1), kin_now_ns());
    static const int64_t negative[] = {-1, -1000000, INT64_MIN / 1000, INT64_MIN + 1, INT64_MIN};
    for (size_t i = 0; i < sizeof negative / sizeof negative[0]; i++) {
        ck_assert_int_lt(kin_after_ns(negative[i]), kin_now_ns());
        ck_assert_int_lt(kin_after_us(negative[i]), kin_now_ns());
        ck_assert_int_lt(kin_after_ms(negative[i]), kin_now_ns());
        ck_assert_int_ge(kin_after_ms(negative[i]), KIN_NOW);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("os/clock");
    TCase *t = kt_case(suite, "deadlines", 20);
    tcase_add_test(t, the_clock_is_monotonic);
    tcase_add_test(t, deadlines_lie_ahead);
    tcase_add_test(t, they_saturate_at_never);
    tcase_add_test(t, negative_times_have_passed);
    return kt_run(suite);
}
