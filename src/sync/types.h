/* SPDX-License-Identifier: MIT
 * What this layer gives to the tables in src/types.c. */
#ifndef KINI_SYNC_TYPES_H
#define KINI_SYNC_TYPES_H

#include "sync/hold.h"
#include "sync/lock_word.h"

void kini_condition_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot);
void kini_event_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot);
void kini_semaphore_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot);
void kini_barrier_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot);
void kini_rwlock_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot);

struct kini_waitq_shm *kini_lock_waitq(void *shm, uint32_t kind);
struct kini_waitq_shm *kini_event_waitq(void *shm, uint32_t kind);
struct kini_waitq_shm *kini_semaphore_waitq(void *shm, uint32_t kind);
int kini_lock_ready(struct kini_self *self, void *shm, uint32_t kind);
int kini_event_ready(struct kini_self *self, void *shm, uint32_t kind);
int kini_semaphore_ready(struct kini_self *self, void *shm, uint32_t kind);

extern const struct kini_counted kini_semaphore_counted, kini_rwlock_counted;

#endif
