/* SPDX-License-Identifier: MIT
 * The monotonic clock and deadlines. */
#include <kin/time.h>

#include <time.h>

int64_t kin_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

kin_deadline kin_after_ns(int64_t ns)
{
    int64_t result;
    if (__builtin_add_overflow(kin_now_ns(), ns, &result))
        return ns > 0 ? KIN_NEVER : KIN_NOW;
    return result > 0 ? result : KIN_NOW;
}

static kin_deadline after_scaled(int64_t amount, int64_t scale)
{
    int64_t ns;
    if (__builtin_mul_overflow(amount, scale, &ns))
        return amount > 0 ? KIN_NEVER : KIN_NOW;
    return kin_after_ns(ns);
}

kin_deadline kin_after_us(int64_t us)
{
    return after_scaled(us, 1000);
}

kin_deadline kin_after_ms(int64_t ms)
{
    return after_scaled(ms, 1000000);
}
