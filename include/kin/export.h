/* SPDX-License-Identifier: MIT
 * Visibility, version and small attributes shared by every public header. */
#ifndef KIN_EXPORT_H
#define KIN_EXPORT_H

#include <stddef.h>
#include <stdint.h>

#define KIN_VERSION_MAJOR 0
#define KIN_VERSION_MINOR 1
#define KIN_VERSION_PATCH 0
#define KIN_VERSION       "0.1.0"

#define KIN_API               __attribute__((visibility("default")))
#define KIN_NODISCARD         __attribute__((warn_unused_result))
#define KIN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#ifdef __cplusplus
#define KIN_BEGIN extern "C" {
#define KIN_END   }
#else
#define KIN_BEGIN
#define KIN_END
#endif

#endif
