/* SPDX-License-Identifier: MIT
 * What one waits for in a wait for any of several: a struct kin_wait, looked at by its kind. */
#ifndef KINI_WAIT_ANY_H
#define KINI_WAIT_ANY_H

#include <kin/wait.h>

#include "sync/wait.h"

/* 0 if all of them can be waited for, in this arena; else an error with its sentence. */
int kini_waits_check(struct kin_arena *arena, const struct kin_wait *waits, uint32_t count);
/* The index of the first that is ready, -EAGAIN, or why one of them cannot be looked at. */
int64_t kini_waits_look(struct kini_self *self, const struct kin_wait *waits, uint32_t count);
/* Write the queues where they wake into the record of self. */
void kini_waits_name(struct kini_self *self, const struct kin_wait *waits, uint32_t count);

#endif
