/* SPDX-License-Identifier: MIT
 * One damaged arena. */
#ifndef KT_ATTACH_FUZZ_H
#define KT_ATTACH_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* 0 if the arena was attached to, else the error. */
int attach_fuzz(const uint8_t *data, size_t size);

#endif
