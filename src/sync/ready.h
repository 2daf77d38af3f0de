/* SPDX-License-Identifier: MIT
 * What the handles of objects must know of descriptors for event loops. */
#ifndef KINI_READY_H
#define KINI_READY_H

#include "sync/handle.h"

/* The handle goes: no kin_ready of this process looks at its object any more, or is counted in its
 * wait queue. Each that did tells -ESTALE. */
void kini_ready_forget(struct kini_handle *handle);

#endif
