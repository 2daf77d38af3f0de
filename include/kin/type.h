/* SPDX-License-Identifier: MIT
 * The types of shared values and arrays: the letters of Python's array and ctypes modules. Each is
 * a C type of this machine. */
#ifndef KIN_TYPE_H
#define KIN_TYPE_H

#include <kin/export.h>

KIN_BEGIN

enum kin_type {
    KIN_STRUCT = 0,      /* anything else, known by its size */
    KIN_CHAR = 'c',      /* char, as a number 0 to 255 */
    KIN_SCHAR = 'b',     /* signed char */
    KIN_UCHAR = 'B',     /* unsigned char */
    KIN_SHORT = 'h',     /* short */
    KIN_USHORT = 'H',    /* unsigned short */
    KIN_INT = 'i',       /* int */
    KIN_UINT = 'I',      /* unsigned int */
    KIN_LONG = 'l',      /* long */
    KIN_ULONG = 'L',     /* unsigned long */
    KIN_LONGLONG = 'q',  /* long long */
    KIN_ULONGLONG = 'Q', /* unsigned long long */
    KIN_WCHAR = 'u',     /* wchar_t, as a number without a sign */
    KIN_BOOL = '?',      /* bool: 0 or 1 */
    KIN_FLOAT = 'f',     /* float */
    KIN_DOUBLE = 'd',    /* double */
};

/* Bytes of a value of the type. Errors: -EINVAL (no such type; KIN_STRUCT, whose size is given).
 * Safety: any thread | any process. */
KIN_API int64_t kin_type_bytes(uint32_t type);

KIN_END

#endif
