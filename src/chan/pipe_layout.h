/* SPDX-License-Identifier: MIT
 * What another process can see of a pipe: three objects.
 *
 *   end a  {pipe, 0} --keeps--+
 *                             +--> pipe {constants | direction 0: what a receives
 *   end b  {pipe, 1} --keeps--+                    | direction 1: what b receives}
 *
 *   direction  sent, sent_solo | received, received_solo | locks of descriptors | a ring
 * (queue_layout.h) of one segment
 *
 * Processes hold ends. An end that nobody holds any more is destroyed, by whoever let go last or by
 * the reaper, and that is how it is closed: what it sends into is shut down, so that the other end
 * gets what is there and then the end of file; what it received is shut down at once, so that the
 * other end's sends fail. Both are kini_ring_shut, which may be done again. The pipe is held by
 * nobody, but kept by its ends (arena/object.c): it is there until both are gone, and while one
 * of them is being destroyed.
 *
 * Either side of a direction belongs to the first thread that uses it, until another one does
 * (queue_layout.h). What that thread did while the side was its own it counts in the …_solo word,
 * which nobody else ever writes: a store that comes late, when others have added to the other word,
 * is right all the same. Below, sent and received are the sums of both words.
 *
 * Room: a direction is full when its ring is, or when sent - received, plus the new message, is
 * more than the capacity. The two counters are raised after the fact, so they may be wrong by what
 * is in somebody's hands, and stay wrong by what was in the hands of the dead. They are believed
 * only while the ring is not empty: into an empty one everything may be sent. Whoever finds it
 * empty makes sent equal to received (settle), so a mistake lasts until then, and a new one is at
 * most what is in somebody's hands at that moment.
 *
 * Descriptors travel through a socket, each with a number; a cell in the ring, whose length is
 * KINI_PIPE_FD | number, holds its place among the messages. Senders of descriptors exclude one
 * another (fd_send), so both orders are the same; receivers (fd_recv), so that nobody takes from
 * the socket what belongs to another's cell.
 *
 * By name: the name is that of the pipe. The ends are there before it is, so who finds the pipe
 * finds them; it holds the pipe while it takes hold of one. Of a pipe that came to be by opening
 * one end, the other end is held by nobody and kept by the first (a --keeps--> b, say), until
 * somebody takes hold of it (arena/object.c): it is not closed before it was opened.
 *
 * Crash states (d = the dead process):
 *
 *   create
 *      1  memory PRIVATE(d): swept.
 *      2  ends LIVE, held by d: dropped with the rest of d's holds; an end that keeps no pipe yet
 *         leaves it alone.
 *      3  pipe GOING, some of its blocks given to it, or kept by ends: the reaper destroys it.
 *      4  pipe LIVE, d still holds it: dropped with d's ends.
 *      5  pipe LIVE, d still holds the end that it does not open: as if it was not opened; or as
 *         if it was closed, if somebody has opened it meanwhile.
 *   open
 *      6  the pipe is held, the end not yet, or both: dropped.
 *   close
 *      7  the last hold of an end dropped, or the end half destroyed: the reaper destroys it
 *         (again).
 *      8  both ends gone, the pipe not: object.c, state 10.
 *   send
 *      9  those of the ring.
 *     10  put, sent not raised: the direction may hold that much more than its capacity, until it
 *         is empty.
 *   receive
 *     11  those of the ring.
 *     12  taken, received not raised: senders find that much less room, until it is empty; then
 *         there is all of it, so nobody waits for ever.
 *     13  received raised, nobody woken: a sender looks again at the end of its slice.
 *   descriptors
 *     14  number raised, nothing sent: numbers have gaps.
 *     15  in the socket, no cell: a smaller number than that of the next cell; dropped by the next
 *         receiver.
 *     16  the cell taken, still in the socket: as 15.
 *     17  taken from the socket as 15, because the cell that it belongs to was in d's hands and
 *         comes back later: that cell is skipped.
 *     18  d holds fd_send or fd_recv: released; what they guard is whole at every step.
 */
#ifndef KINI_PIPE_LAYOUT_H
#define KINI_PIPE_LAYOUT_H

#include "chan/queue_layout.h"

#define KINI_PIPE_FD                                                                               \
    (1ull << 60) /* in the length of a cell: a descriptor; the rest is its number */
#define KINI_PIPE_FD_NUMBER (KINI_PIPE_FD - 1)

/* In a block of any alignment: what is to lie apart is 128 bytes apart. */
struct kini_pipe_direction_shm {
    uint64_t reserved0[8];
    kini_a64 sent;      /* bytes. W: senders; whoever finds the ring empty, by CAS */
    kini_a64 sent_solo; /* W: the first sender */
    uint64_t reserved1[14];
    kini_a64 received;      /* bytes. W: receivers */
    kini_a64 received_solo; /* W: the first receiver */
    uint64_t reserved2[6];
    struct kini_ilock_shm fd_send, fd_recv;
    kini_a64 fd_number; /* of the last descriptor. W: holder of fd_send */
    uint64_t reserved3[7];
    struct kini_queue_shm ring;
};

struct kini_pipe_shm {
    uint64_t capacity_bytes; /* const after create, like the next */
    uint32_t flags;          /* enum kin_pipe_flag */
    uint32_t end_tags[2];    /* of end a and end b */
    uint32_t reserved;
    /* [i]: what end i receives. One-way: [1] has no segment, and nobody uses it */
    struct kini_pipe_direction_shm directions[2];
};

struct kini_pipe_end_shm { /* const after create */
    int64_t pipe_delta;    /* from here to the pipe */
    uint32_t number;       /* 0: a, 1: b */
    uint32_t tag;
    uint32_t pipe_tag; /* 0: there is no pipe yet, and is none that it keeps */
    uint32_t reserved[3];
};
_Static_assert(sizeof(struct kini_pipe_end_shm) == 32, "an end");

#endif
