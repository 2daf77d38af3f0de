/* SPDX-License-Identifier: MIT
 * How a failing call explains itself. */
#ifndef KINI_ERROR_H
#define KINI_ERROR_H

#include <kin/error.h>

/* Remember one sentence for kin_error_text() of this thread and return error, so that it can end
 * the function: return kini_fail(-EINVAL, "…"). Only for slow paths: it formats. */
int kini_fail(int error, const char *format, ...) KIN_PRINTF(2, 3);

/* The same with a sentence that is fixed: async-signal-safe. */
int kini_fail_plain(int error, const char *sentence);

/* Copy of the options of a caller who may know fewer or more fields than we do: missing ones are
 * zero, unknown ones must be zero (-E2BIG otherwise). A size of 0 stands for our own. */
int kini_opts_copy(void *ret_copy, size_t known, const void *given);

/* 0, or -EINVAL: the flags of options that have none yet. */
int kini_no_flags(uint32_t flags);

/* Copy a name into a field of 32 bytes; -EINVAL if it is longer than 31. NULL gives "". */
int kini_name_copy(char field[32], const char *name);

#endif
