/* SPDX-License-Identifier: MIT
 * Where a sleeper lies that has waited long: in poll, and the kernel tells it of each death. */
#ifndef KINI_BED_H
#define KINI_BED_H

#include "arena/arena.h"

/* Whoever lies in a bed says at least so often that it is there. Each time it hands the kernel a
 * descriptor of each participant: so rarer where there are many. */
static inline uint64_t kini_bed_tick_ms(const struct kin_arena *arena)
{
    return 500 + 10 * (uint64_t)kini_load(&arena->super->participants_high);
}

/* How many beds watch: those who rest need not. KINI_BED_ENOUGH: two of them, or one in the calling
 * process, with which it would end. */
#define KINI_BED_ENOUGH 2u
uint32_t kini_bed_cover(const struct kini_self *self, uint64_t now_ms);

/* A sleep begins. True if we lie in a bed that watches now; *ret_until is the end of the slice. */
bool kini_bed_prepare(struct kini_self *self, int64_t now_ns, kin_deadline *ret_until);
/* In place of the futex, once park is ASLEEP: 0 woken, -ETIMEDOUT: the end of the slice, or
 * somebody has died; -EINTR. Also ends when one of the caller's descriptors is ready. */
int kini_bed_sleep(struct kini_self *self, kin_deadline until);
/* The descriptors that the caller waits for as well: it has use for a bed also where it does not
 * watch. True if it lies in one. */
bool kini_bed_also(struct kini_self *self, const struct pollfd *polls, uint32_t count);
/* Reap those of whose end the kernel told us. True if there are any: one of them may have been
 * reaping somebody else. */
bool kini_bed_reap(struct kini_self *self);
/* Up, and out of the role. */
void kini_bed_leave(struct kini_self *self);
/* Whether a thread of the participant lies in a bed, or did when it was last heard of. */
bool kini_bed_is_of(const struct kin_arena *arena, uint32_t slot);
/* A waker could not ring the bell of a thread. */
void kini_bed_unheard(struct kin_arena *arena, const struct kini_thread_shm *t);
/* The bed of a dead thread is free. True if it had one. */
bool kini_bed_died(struct kin_arena *arena, uint32_t index);

#endif
