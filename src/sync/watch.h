/* SPDX-License-Identifier: MIT
 * Who looks after the dead: among all sleepers of an arena one is the watcher. */
#ifndef KINI_WATCH_H
#define KINI_WATCH_H

#include "arena/arena.h"

/* A claim of a role: thread index << 48 | until when, in ms. */
static inline uint64_t kini_claim(uint32_t index, uint64_t until_ms)
{
    return (uint64_t)index << 48 | until_ms;
}
#define KINI_CLAIM_LATE_MS 20 /* who is so late is taken for dead */
static inline bool kini_claim_is_vacant(uint64_t claim, uint64_t now_ms)
{
    return claim == 0 || (claim & 0xffffffffffffull) + KINI_CLAIM_LATE_MS < now_ms;
}

/* When a sleeper should wake next to look; takes the watcher's role if nobody has it. */
kin_deadline kini_watch_slice(struct kini_self *self, int64_t now_ns);
/* Whether the present wait has lasted so long that a bed is worth its price. */
bool kini_watch_is_long(const struct kini_self *self, int64_t now_ns);
/* At the end of a slice: reap whoever died, if we are the watcher. */
void kini_watch_look(struct kini_self *self);
/* The watcher may be served so often that its slices never end: whoever is about to wait looks when
 * nobody has for a while. */
void kini_watch_if_overdue(struct kini_self *self, int64_t now_ns);
/* Hand the role on, or give it back: before going on with something else. */
void kini_watch_leave(struct kini_self *self);
/* The same for a dead thread. */
void kini_watch_died(struct kin_arena *arena, uint32_t index);
/* Wake a thread if it sleeps, so that it looks at the roles and its bed. */
bool kini_watch_wake(struct kin_arena *arena, struct kini_thread_shm *t);
/* Wake one of those who rest, for a bed became free: the one before index in the table, and of
 * another process than who lies in the other bed. */
void kini_watch_call(struct kin_arena *arena, uint32_t index);

#endif
