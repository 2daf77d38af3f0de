/* SPDX-License-Identifier: MIT
 * The rlock as conditions need it. */
#ifndef KINI_RLOCK_H
#define KINI_RLOCK_H

#include "sync/lock_word.h"

int kini_rlock_acquire(struct kini_self *self, struct kini_handle *handle, kin_deadline deadline,
                       bool wait);
int kini_rlock_release(struct kini_self *self, struct kini_lock_shm *shm);
static inline bool kini_rlock_is_mine(struct kini_self *self, struct kini_lock_shm *shm)
{
    return kini_load(&shm->word) == self->owner_word;
}

#endif
