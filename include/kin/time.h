/* SPDX-License-Identifier: MIT
 * Deadlines: absolute nanoseconds of CLOCK_MONOTONIC, so that they compose through nested waits
 * and interrupted calls. */
#ifndef KIN_TIME_H
#define KIN_TIME_H

#include <kin/export.h>

KIN_BEGIN

typedef int64_t kin_deadline;

#define KIN_NOW   ((kin_deadline)0)         /* try once, do not wait */
#define KIN_NEVER ((kin_deadline)INT64_MAX) /* wait until it happens */

/* Now, in nanoseconds of CLOCK_MONOTONIC. Safety: any thread | any process | async-signal-safe. */
KIN_API int64_t kin_now_ns(void);

/* The deadline that lies the given time ahead. Negative counts as none: the result has passed
 * already. Saturates at KIN_NEVER. Safety: any thread | any process | async-signal-safe. */
KIN_API kin_deadline kin_after_ns(int64_t ns);
KIN_API kin_deadline kin_after_us(int64_t us);
KIN_API kin_deadline kin_after_ms(int64_t ms);

KIN_END

#endif
