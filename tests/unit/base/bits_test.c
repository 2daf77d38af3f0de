/* SPDX-License-Identifier: MIT
 * Small arithmetic at its edges. */
#include "base/bits.h"
#include "lib/kin_test.h"

START_TEST(powers_of_two)
{
    ck_assert_uint_eq(kini_pow2_at_least(1), 1);
    ck_assert_uint_eq(kini_pow2_at_least(2), 2);
    ck_assert_uint_eq(kini_pow2_at_least(3), 4);
    for (unsigned bit = 2; bit < 63; bit++) {
        uint64_t power = 1ull << bit;
        ck_assert_uint_eq(kini_pow2_at_least(power), power);
        ck_assert_uint_eq(kini_pow2_at_least(power - 1), power);
        ck_assert_uint_eq(kini_pow2_at_least(power + 1), power * 2);
    }
    ck_assert_uint_eq(kini_pow2_at_least(1ull << 63), 1ull << 63);
}
END_TEST

START_TEST(rounding_and_order)
{
    ck_assert_uint_eq(kini_round_up(0, 64), 0);
    ck_assert_uint_eq(kini_round_up(1, 64), 64);
    ck_assert_uint_eq(kini_round_up(64, 64), 64);
    ck_assert_uint_eq(kini_round_up(65, 64), 128);
    ck_assert_uint_eq(kini_min(3, UINT64_MAX), 3);
    ck_assert_uint_eq(kini_max(3, UINT64_MAX), UINT64_MAX);
}
END_TEST

START_TEST(mixing_changes_half_the_bits)
{
    int least = 64, most = 0;
    for (uint64_t x = 0; x < 64; x++) {
        int changed = __builtin_popcountll(kini_mix(0) ^ kini_mix(1ull << x));
        least = changed < least ? changed : least;
        most = changed > most ? changed : most;
    }
    ck_assert_int_ge(least, 12);
    ck_assert_int_le(most, 52);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/bits");
    TCase *t = kt_case(suite, "bits", 20);
    tcase_add_test(t, powers_of_two);
    tcase_add_test(t, rounding_and_order);
    tcase_add_test(t, mixing_changes_half_the_bits);
    return kt_run(suite);
}
