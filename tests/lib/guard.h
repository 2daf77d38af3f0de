/* SPDX-License-Identifier: MIT
 * The frame of every test program: each test runs in a process of its own, and fails if it leaves
 * anything behind: a descriptor, a mapping of an arena, a child, an entry in /dev/shm that could be
 * kin's. */
#ifndef KT_GUARD_H
#define KT_GUARD_H

#include <check.h>
#include <stdbool.h>

/* A test case whose tests are guarded. seconds is the limit of each: a hang, not a measure, so it
 * is generous, and longer where something slows the program down. */
TCase *kt_case(Suite *suite, const char *name, int seconds);

/* Run the suite; what main returns. KIN_TEST=name runs the test case of that name only. */
int kt_run(Suite *suite);

/* Where entries with names like kin's count as left behind: /dev/shm, but for the guard's own test.
 */
extern const char *kt_shm_folder;

/* What slows the program down, or sees memory in its own way. */
bool kt_under_valgrind(void);
#if defined(__SANITIZE_THREAD__)
#define KT_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KT_THREAD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define KT_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KT_ADDRESS_SANITIZER 1
#endif
#endif
#ifndef KT_THREAD_SANITIZER
#define KT_THREAD_SANITIZER 0
#endif
#ifndef KT_ADDRESS_SANITIZER
#define KT_ADDRESS_SANITIZER 0
#endif

/* full in the plain build, part of it where everything is slow. */
int kt_scaled(int full);

/* What this process has now. */
int kt_fds_count(void);
int kt_arena_maps_count(void);
/* Children that run or have not been collected. */
int kt_children_count(void);

#endif
