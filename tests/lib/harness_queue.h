/* SPDX-License-Identifier: MIT
 * Walking through what a queue holds: published cells, and messages that came back. */
#ifndef HARNESS_QUEUE_H
#define HARNESS_QUEUE_H

#include "harness.h"

typedef void (*kill_cell_fn)(void *arg, struct kini_segment_shm *segment,
                             struct kini_cell_shm *cell, uint64_t position);
void kill_each_published(struct kin_arena *arena, struct kini_queue_shm *queue, kill_cell_fn fn,
                         void *arg);
/* The bytes of a message: in its cell, or behind the prefix of its block. */
const unsigned char *kill_cell_bytes(struct kill_view *view, const struct kini_cell_shm *cell);

typedef void (*kill_block_fn)(void *arg, uint64_t block);
/* What was taken and is to be delivered again. */
void kill_each_returned(struct kin_arena *arena, struct kini_queue_shm *queue, kill_block_fn fn,
                        void *arg);

#endif
