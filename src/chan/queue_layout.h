/* SPDX-License-Identifier: MIT
 * What another process can see of a queue: header, segments, cells.
 *
 * A queue is a chain of ring segments; usually there is one. Each segment is a bounded ring in the
 * manner of D. Vyukov's multi-producer multi-consumer queue (1024cores.net), made crash-safe by
 * intents: before the CAS that claims a position, the thread writes (operation, segment, position)
 * into its own record. A claim that no living record names belongs to the dead.
 *
 *   segment  line 0: constants of this life | line 2: tail | line 4: head | cells …
 *   tail     CLOSED 1 | position 63        next position to put; CLOSED: go to the next segment
 *   head     position                      next position to get
 *   cell     seq 64 | info 64 | payload (inline bytes, or the offset of a block)
 *   info     length << 1 | 1 if the payload is in a block
 *
 * Positions never repeat in the life of a queue, not even when a segment is used again: a new life
 * begins beyond everything the segment has seen (`base`). So a stale reader can only fail its CAS.
 * seq of the cell that serves position p (p mod cap):
 *
 *   below base      virgin: free for its first position of this life (also zeroed memory)
 *   p               free for p
 *   p+1             published
 *   p+1 | SKIP      tombstone: its producer died; consumers pass over it
 *   p+1 | BACK      its consumer died: to be delivered again, ahead of the rest
 *   p+1 | BACK|TAKEN  somebody is taking it (claimed by CAS, intent TAKE_BACK)
 *   p+cap           free one lap later
 *
 *   W: tail, head: anyone by CAS. seq: the winner of the position; repair by CAS. info, payload:
 * the winner, between claim and publish. Published with seq_cst, read with acquire.
 *
 * An item stays in its cell until get has copied it: the release of the cell is the last step, so
 * a consumer that dies in the middle leaves the item where it is (decision 001).
 *
 * An intent names a range of up to 256 neighbouring positions, claimed by one CAS (batches). What
 * is said below of a position p holds for each of the range. A run of a put is published from the
 * last position to the first, so that consumers, who stop at the first, see all of it at once; the
 * cells of a run that is got are released when all of it has been copied, from the first to the
 * last.
 *
 * Crash states (d = the dead thread):
 *
 *   put
 *      1  block PRIVATE(d): swept.
 *      2  intent written, claim not made: the cell is nobody's, or somebody else's.
 *      3  claimed, not published: tail > p, seq free for p, no living intent (PUT, segment, range
 *         with p): a tombstone; the block is swept.
 *      4  published, nobody woken: a getter is woken for each.
 *      5  part of a run published, not its first: all of it becomes tombstones, the first last of
 *         all, so until then a repair can begin again; a run is put whole or not at all. Who was
 *         declared dead while it ran looks at each seq before it publishes, as in 30.
 *   get
 *      6  intent, no claim: nothing.
 *      7  claimed, not released: head > p, seq == p+1, no living intent (GET, segment, range with
 *         p): BACK, and a getter is woken; a block that d had adopted goes back to QUEUED first. A
 *         tombstone: released.
 *      8  released, nobody woken: a putter is woken for each.
 *      9  part of a run released: that part was in d's hands; 7 for the rest.
 *   take back
 *     10  p+1|BACK|TAKEN and no living intent: BACK.
 *   grow
 *     11  closed, no next: the next producer links one.
 *     12  a segment half linked: journal LINK of `grow`: finished if `next` was set, undone if
 *         not.
 *     13  retired, memory not given back: nothing.
 *   take in place, of a cell, also of one that is BACK (decision 012)
 *     14  a block: TAKEN(d), cell not released: as 7 and 10, the block goes back to QUEUED.
 *     15  from the cell: copied, not TAKEN: as 7 and 10, the copy is swept.
 *     16  TAKEN(d), cell not released: as 7 and 10; op_block of d's record names the copy, its
 *         `order` says that it is of this position: it becomes PRIVATE(d) before the cell says
 *         BACK, and is swept. No other message ever has that position, so what d had taken earlier
 *         stays TAKEN.
 *     17  cell released: in the block only, TAKEN(d): the reaper puts it into the list of
 *         returned.
 *   release
 *     18  TAKEN(d): as 17.
 *     19  PRIVATE(d): released, swept.
 *   returned, by the journal of its lock
 *     20  INSERT: done again.
 *     21  REMOVE: undone, the message is the first again; the header may say TAKEN(d) meanwhile: a
 *         reaper that sees that waits for the lock, and finds OWNED.
 *     22  in the list, nobody woken: found at the end of a slice.
 *     23  a reaper died in INSERT for the last who had the queue: the next one, before it frees
 *         the list, takes the lock and so redoes it.
 *     24  shut down at once: what comes back then is dropped when the holds of the dead are.
 *   reserve and publish: as put, 1 to 4.
 *
 * Solo: either side of a ring that never grows (of pipes) may belong to one thread, which claims
 * without a CAS (solo.c, decision 011). `owner` of a side:
 *
 *   FREE --first use, CAS--> thread --CAS--> thread | REVOKED --CAS--> 0: shared, for good
 *     +------------------------CAS--> FREE | REVOKED --------------^
 *
 *   While a thread is named, tail (head) stays at `base`, and the position is `at`, which only that
 * thread writes, by plain stores; kini_tail and kini_head know. It writes the usual intent (PUT or
 * GET, position at, not WON), when the cell is free for it or published, then looks at `owner`; if
 * that still names it, it fills (copies), stores seq, stores at, and ends the intent.
 *   Whoever else comes revokes: REVOKED; a fence of all (os.h); the intent is read, then `at`; the
 * first to CAS it decides `handed`: at + 1 if the intent names at, else at; tail (head): base →
 * handed; 0. Any of it may be done by several, and again. By the fence either the owner sees
 * REVOKED or its intent is seen, and what that names is its own, as if it had been claimed by CAS:
 * the general path begins behind it and waits for nobody. An owner that sees REVOKED ends it
 * itself and then asks `handed` whether its position was left to it. A store of at or seq that
 * comes late is to what nobody else writes. Shut, tombstones and repairs revoke first. Where fences
 * are refused (super.no_fence) no thread is named, and who is does not use it any more.
 *
 *     25  the owner dies without an intent: the next to come revokes.
 *     26  with one, anywhere before the end of it: revoked by its reaper or before, then as 3 if
 *         nothing was published, 7 if not released. Published or released, `at` not stored: the
 *         intent makes up for it.
 *     27  it saw REVOKED, dies before it asked: handed == its position: 2, 6; one more: 3, 7.
 *     28  who revokes dies at any step: the next to come does them again; `handed` stays as it was
 *         decided.
 *     29  the owner is stopped: its position is as one of a stopped winner of a CAS; others go on
 *         behind it.
 *     30  declared dead while it ran: it looks at seq before it publishes or releases, and fails.
 */
#ifndef KINI_QUEUE_LAYOUT_H
#define KINI_QUEUE_LAYOUT_H

#include "sync/wait_layout.h"

#define KINI_CELL_SKIP     (1ull << 63)
#define KINI_CELL_BACK     (1ull << 62)
#define KINI_CELL_TAKEN    (1ull << 61)
#define KINI_POSITION      (KINI_CELL_TAKEN - 1)
#define KINI_TAIL_CLOSED   (1ull << 63)
#define KINI_TAIL_POSITION (KINI_TAIL_CLOSED - 1)

struct kini_cell_shm {
    kini_a64 seq;
    kini_a64 info;
    unsigned char payload[]; /* stride - 16 bytes */
};
_Static_assert(sizeof(struct kini_cell_shm) == 16, "cell header");

enum kini_segment_state { KINI_SEGMENT_IDLE, KINI_SEGMENT_ACTIVE };

/* A side (putting or getting) of a ring that one thread has for itself: solo_layout below. */
struct kini_solo_shm {
    kini_a64 owner;  /* FREE, how locks name a thread, that | REVOKED; 0: shared. W: by CAS */
    kini_a64 at;     /* next position. W: the owner; who makes the ring */
    kini_a64 handed; /* where the general path begins; 0: not decided. W: by CAS, once */
};

#define KINI_SOLO_FREE    (1ull << 62)
#define KINI_SOLO_REVOKED (1ull << 63)

struct kini_segment_shm {
    kini_a64 base;       /* first position of this life. W: holder of grow, before it is linked */
    kini_a64 count_base; /* items put into the queue before this life. W: same */
    kini_a64 next;       /* offset; 0: none yet. W: holder of grow, once in a life, release */
    kini_a64 all_next;   /* of all segments of the queue. const after first link */
    kini_a32 state;      /* W: holder of grow */
    uint32_t stride;     /* bytes of a cell; const after create, like the rest */
    uint64_t cap;        /* cells, a power of two, at least 2 */
    uint64_t queue_off;
    uint64_t magic;
    _Alignas(128) kini_a64 tail;
    struct kini_solo_shm put_solo;
    _Alignas(128) kini_a64 head;
    struct kini_solo_shm get_solo;
    _Alignas(128) unsigned char cells[];
};
_Static_assert(sizeof(struct kini_segment_shm) == 384, "segment header");

#define KINI_SEGMENT_MAGIC 0x746e656d67657371ull

enum kini_queue_flag { KINI_QUEUE_SHUT = 1, KINI_QUEUE_DROP = 2 };
enum kini_queue_journal { KINI_QUEUE_LINK = 1 }; /* arg: segment, new segment, 1 if it is fresh */

/* A segment and how often the queue has moved on: one word, so that a CAS on it cannot be fooled
 * by a segment that comes round again. */
#define KINI_AT_SEGMENT(unit, turns) ((uint64_t)(turns) << 32 | (unit))
#define KINI_AT_UNIT(word)           ((uint32_t)(word))
#define KINI_AT_TURNS(word)          ((uint32_t)((word) >> 32))

/* What precedes the message in a block of a queue. */
struct kini_message_shm {
    uint64_t bytes;   /* W: who owns the block, like the rest */
    int64_t priority; /* smaller first; 0 in rings */
    uint64_t order;   /* among equals: the position, or the number of the put; | KINI_ORDER_KEYED */
    kini_a64 next; /* offset of the next in the list of returned; KINI_MESSAGE_RESERVED while it is
                      being filled in place */
};
_Static_assert(sizeof(struct kini_message_shm) == 32, "keeps the alignment of blocks");

#define KINI_MESSAGE_RESERVED 0x6576726573657221ull

/* In a store a message may have a key: its length in 4 bytes and then itself, behind the bytes of
 * the message, at any alignment. As the highest bit of the order this says, too, that among equal
 * priorities those without a key go first. */
#define KINI_ORDER_KEYED (1ull << 63)

/* Messages that somebody had taken and could not release: a list of their blocks, the first to be
 * delivered first, each OWNED by the queue. Under the lock. INSERT (arg: block, the one before it
 * or 0, the one behind it), REMOVE (arg: block). Crash states 18 to 22. */
enum kini_returned_journal { KINI_RETURNED_INSERT = 1, KINI_RETURNED_REMOVE };
struct kini_returned_shm {
    struct kini_ilock_shm lock;
    kini_a64 first;
    uint64_t queue_off; /* const after create */
    uint64_t reserved[2];
};

/* In a block of any alignment: what is to lie apart is 128 bytes apart. */
struct kini_queue_shm {
    uint32_t tag; /* object number and generation; const after create, like the next */
    uint32_t stride;
    uint64_t inline_bytes;
    uint64_t max_items; /* 0: unbounded */
    uint32_t grows;     /* 0: one ring of at least max_items cells for ever */
    uint32_t counts;    /* 1: max_items is kept by counting; 0: no bound, or the ring is it */
    uint64_t reserved[12];
    kini_a64 put_at, get_at; /* KINI_AT_SEGMENT: hints that only move forward */
    kini_a64 back_made;      /* cells ever marked BACK; raised after the mark */
    kini_a64 back_seen;      /* back_made when a search last found none: equal = nothing to do */
    kini_a64 skips_made;     /* tombstones ever made: 0 = the size needs no search */
    kini_a32 flags;          /* kini_queue_flag: only ever set, under grow */
    uint32_t kind;           /* enum kin_queue_kind; const after create, like the next two */
    uint64_t max_bytes;      /* 0: unbounded */
    uint64_t store_off;      /* of a struct kini_store_shm; 0: the messages are in segments */
    kini_a64 returned_count; /* length of the list of returned. W: holder of its lock */
    kini_a64 all_segments;   /* offset of the newest. W: holder of grow */
    uint64_t reserved2[6];
    struct kini_ilock_shm grow;
    struct kini_returned_shm returned;
    struct kini_waitq_shm getters;
    struct kini_waitq_shm putters;
};

_Static_assert(sizeof(struct kini_queue_shm) == 672, "queue header");

#endif
