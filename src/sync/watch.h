/* SPDX-License-Identifier: MIT
 * Who looks after the dead: among all sleepers of an arena one is the watcher. */
#ifndef KINI_WATCH_H
#define KINI_WATCH_H

#include "arena/arena.h"

/* When a sleeper should wake next to look; takes the watcher's role if nobody has it. */
kin_deadline kini_watch_slice(struct kini_self *self, int64_t now_ns);
/* At the end of a slice: reap whoever died, if we are the watcher. */
void kini_watch_look(struct kini_self *self);
/* The watcher may be served so often that its slices never end: whoever is about to wait looks when
 * nobody has for a while. */
void kini_watch_if_overdue(struct kini_self *self, int64_t now_ns);
/* Hand the role on, or give it back: before going on with something else. */
void kini_watch_leave(struct kini_self *self);
/* The same for a dead thread. */
void kini_watch_died(struct kin_arena *arena, uint32_t index);

#endif
