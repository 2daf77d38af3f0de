/* SPDX-License-Identifier: MIT
 * Error names, and the sentence that explains the last failure of a thread. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static __thread char last_text[256];

const char *kin_error_text(void)
{
    return last_text;
}

int kini_fail(int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(last_text, sizeof last_text, format, args);
    va_end(args);
    return error;
}

int kini_fail_plain(int error, const char *sentence)
{
    size_t i = 0;
    for (; sentence[i] != 0 && i < sizeof last_text - 1; i++)
        last_text[i] = sentence[i];
    last_text[i] = 0;
    return error;
}

int kini_opts_copy(void *ret_copy, size_t known, const void *given)
{
    memset(ret_copy, 0, known);
    if (given == NULL)
        return 0;
    uint32_t size;
    memcpy(&size, given, sizeof size);
    if (size == 0)
        size = (uint32_t)known;
    if (size < sizeof size)
        return kini_fail(-EINVAL, "options say that they are %u bytes long", size);
    if (size > 4096)
        return kini_fail(-E2BIG, "options say that they are %u bytes long", size);
    for (size_t i = known; i < size; i++)
        if (((const char *)given)[i] != 0)
            return kini_fail(-E2BIG, "options set a field at byte %zu that this kin does not know",
                             i);
    memcpy(ret_copy, given, size < known ? size : known);
    return 0;
}

int kini_no_flags(uint32_t flags)
{
    return flags == 0 ? 0 : kini_fail(-EINVAL, "flags is %#x; there are none yet", flags);
}

int kini_name_copy(char field[32], const char *name)
{
    memset(field, 0, 32);
    if (name == NULL)
        return 0;
    size_t length = strlen(name);
    if (length > 31)
        return kini_fail(-EINVAL, "a name of %zu bytes; at most 31 are allowed", length);
    memcpy(field, name, length);
    return 0;
}

static const struct {
    int error;
    const char *text;
} names[] = {
    {0, "no error"},
    {EPERM, "not permitted: it belongs to another process"},
    {ENOENT, "no such thing"},
    {EINTR, "interrupted"},
    {E2BIG, "options of a newer kin"},
    {ECHILD, "not a child of this process"},
    {EAGAIN, "would have to wait"},
    {ENOMEM, "out of memory"},
    {EACCES, "access denied"},
    {EBUSY, "in use"},
    {EINVAL, "invalid argument"},
    {EXDEV, "an object of another arena"},
    {EPROTOTYPE, "a handle of another kind of object"},
    {EOVERFLOW, "beyond the bound"},
    {EBADF, "not an open descriptor"},
    {EMFILE, "too many open files"},
    {ENFILE, "too many open files in the system"},
    {EFBIG, "file size limit reached"},
    {ENOSPC, "no space left"},
    {EPIPE, "the other end is closed"},
    {ERANGE, "out of range"},
    {EDEADLK, "would deadlock"},
    {ENOSYS, "not supported by this kernel"},
    {EPROTO, "another build of kin, or not an arena"},
    {EMSGSIZE, "message size does not fit"},
    {ESHUTDOWN, "shut down"},
    {ETIMEDOUT, "timed out"},
    {EALREADY, "already done"},
    {ESTALE, "the object is gone"},
    {ECANCELED, "canceled"},
    {EOWNERDEAD, "its owner died"},
    {ENOTRECOVERABLE, "this process was declared dead"},
};

const char *kin_strerror(int error)
{
    if (error < 0 && error > -4096)
        error = -error;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].error == error)
            return names[i].text;
    return "error of the operating system";
}
