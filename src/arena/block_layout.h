/* SPDX-License-Identifier: MIT
 * What another process can see of the allocator: spans and block headers.
 *
 * The data area is cut into units of 64 KiB. A span is one unit of small blocks of one size, or a
 * run of units for one large block. One 32-byte entry a unit says which:
 *
 *   span.state   FREE | SMALL(class) | LARGE or CLAIMED on the first unit of a run, CONT on others
 *   span.owner   SMALL: index of the only thread that may turn its blocks from FREE to PRIVATE;
 *                0: orphan, up for adoption under the span lock. CLAIMED: the claiming thread
 *
 *   FREE --take run--> CLAIMED --headers written--> SMALL | LARGE --last user--> CLAIMED --> FREE
 *
 *   SMALL   unit: [hdr16|payload][hdr16|payload]…           block sizes 32 B … 32 KiB
 *   LARGE   unit: [112 unused|hdr16|payload ………………]         payload at +128
 *
 * BLOCK HEADER, 16 bytes before the payload: word, position.
 *   word = state 4 | unused 12 | owner slot 16 (bits 16-31) | tag 32 (bits 32-63)
 *     FREE                 nobody's; only the span's owning thread may change it
 *     PRIVATE(slot)        belongs to that participant; freed when it dies
 *     QUEUED(slot, tag)    in a queue: tag is the unit number of the ring segment, position the
 *                          position of the cell; slot is who put it
 *     OWNED(tag)           part of object number tag (low 16 bits: number, high 16: generation)
 *     TAKEN(slot, tag)     a message of queue tag that the participant has taken and not released:
 *                          when it dies the queue gets it back
 *   A block has one owner at every instant. Who changes the word: PRIVATE(me) → anything: me;
 *   QUEUED → PRIVATE(me): the consumer, before it releases the cell; QUEUED(dead) → FREE: the
 *   sweeper, by CAS; OWNED → anything: who destroys the object, or holds its lock; TAKEN →
 * PRIVATE(me): who releases it; TAKEN(dead) → OWNED: the reaper.
 *
 * Crash states: (1) header PRIVATE, caller never got the address: swept. (2) free: header FREE is
 * the only truth; lost from the thread's private list of free blocks at worst until the span is
 * scanned again. (3) a run half marked in the span table: the journal of the span lock says which,
 * and it ends FREE (see span.c). (4) run CLAIMED by a dead thread: swept. A CLAIMED run's header is
 * not looked at, so what an earlier user left in that memory cannot be mistaken for a header.
 * (5) memory given back, commit bit still set: cannot be, the bit is cleared first; the other way
 * round costs one system call. (6) killed with spans of its own: they become orphans.
 */
#ifndef KINI_BLOCK_LAYOUT_H
#define KINI_BLOCK_LAYOUT_H

#include "base/atomic.h"

enum kini_span_kind {
    KINI_SPAN_FREE,
    KINI_SPAN_SMALL,
    KINI_SPAN_LARGE,
    KINI_SPAN_CONT,
    KINI_SPAN_CLAIMED /* first unit of a run that thread `owner` is setting up or taking down */
};

#define KINI_SPAN_STATE(kind, class) ((uint32_t)(kind) | (uint32_t)(class) << 8)
#define KINI_SPAN_KIND(state)        ((state)&0xffu)
#define KINI_SPAN_CLASS(state)       ((state) >> 8)

struct kini_span_shm {
    kini_a32 state;       /* W: holder of the span lock */
    kini_a32 owner;       /* SMALL: thread index. W: holder of the span lock; its thread at exit */
    kini_a32 count;       /* LARGE, CLAIMED: units in the run. CONT: how far the first one is */
    kini_a32 remote_free; /* hint: blocks freed by others since the owner looked */
    uint64_t reserved[2];
};
_Static_assert(sizeof(struct kini_span_shm) == 32, "span entry");

enum kini_block_state {
    KINI_BLOCK_FREE,
    KINI_BLOCK_PRIVATE,
    KINI_BLOCK_QUEUED,
    KINI_BLOCK_OWNED,
    KINI_BLOCK_TAKEN
};

#define KINI_BLOCK_WORD(state, slot, tag)                                                          \
    ((uint64_t)(tag) << 32 | (uint64_t)(slot) << 16 | (uint64_t)(state))
#define KINI_BLOCK_STATE(word) ((uint32_t)((word)&0xf))
#define KINI_BLOCK_SLOT(word)  ((uint32_t)(((word) >> 16) & 0xffff))
#define KINI_BLOCK_TAG(word)   ((uint32_t)((word) >> 32))

struct kini_block_shm {
    kini_a64 word;
    kini_a64 position;
};
_Static_assert(sizeof(struct kini_block_shm) == 16, "block header");

#define KINI_LARGE_PREFIX 128u
#define KINI_CLASSES      39u
#define KINI_SMALL_MAX    32768u /* size of the largest small block, header included */

#endif
