/* SPDX-License-Identifier: MIT
 * The kill harness and pipes: the pipe of the scenario, and what victims do with it. Messages 0, 1,
 * … lie in it before, sent from a to b. H: called in the harness; V: in the victim. */
#ifndef HARNESS_PIPE_H
#define HARNESS_PIPE_H

#include "harness.h"

#define KILL_PIPE_SENT                                                                             \
    1000u /* number of the message that a victim sends; the next's is one more                     \
           */

extern struct kin_pipe *kill_pipe_ends[2]; /* a and b */
extern bool kill_pipe_dropped[2];          /* the harness itself does not hold it */

/* H: before the victims exist; after the world. max_items of the scenario: the capacity in bytes.
 */
void kill_pipe_setup(struct kill_world *world);
/* The same, and either side is for who comes first, as if nobody had used it. */
void kill_pipe_setup_alone(struct kill_world *world);
void kill_pipe_over(struct kill_world *world);
void kill_pipe_send_number(struct kin_pipe *end, uint32_t bytes, uint32_t number);

/* H: only the victims are to hold it; they have, by now. */
void kill_pipe_drop_a(struct kill_world *world);
void kill_pipe_drop_b(struct kill_world *world);
void kill_pipe_drop_both(struct kill_world *world);
/* H or V: the process does not hold the end any more, and nothing else of closing is done. */
void kill_pipe_forget(struct kill_world *world, struct kin_pipe *end);

/* V: has its thread record already. */
void kill_pipe_warm(struct kill_world *world, uint32_t who);
/* V: from a to b. */
int64_t kill_pipe_op_send(struct kill_world *world, uint32_t who);
int64_t kill_pipe_op_recv(struct kill_world *world, uint32_t who);
int64_t kill_pipe_op_close_a(struct kill_world *world, uint32_t who);
int64_t kill_pipe_op_close_b(struct kill_world *world, uint32_t who);

/* H: the harness's own handle in the arena of the view; to be closed. */
struct kin_pipe *kill_pipe_in(struct kill_view *view, const struct kin_pipe *of);
/* H: bytes sent and not received, as an end's counters say. */
uint64_t kill_pipe_unsettled(const struct kin_pipe *end);
/* H: how many objects there are in the arena of the view. */
uint32_t kill_pipe_objects(struct kill_view *view);

#endif
