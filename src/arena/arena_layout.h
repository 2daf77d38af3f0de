/* SPDX-License-Identifier: MIT
 * What another process can see of an arena: the superblock and the tables.
 *
 *   offset 0            superblock (one page)
 *   participants_off    1024 × 1 KiB    who is here            slot 0 is never used
 *   threads_off         4096 × 1408 B   threads of participants, their intents and waits
 *   objects_off         65536 × 64 B    locks, queues, pools …
 *   bitmaps_off         1024 × 8 KiB    which objects a participant holds
 *   spans_off           one 32-byte entry for each 64 KiB unit of the reservation
 *   free_map_off        one bit a unit: 1 = in use          (rebuilt from the span table)
 *   commit_map_off      one bit a unit: 1 = memory is behind it (hint: 0 is always safe)
 *   data_off            the units themselves, up to reserve_bytes
 *
 * All of it is address space; memory is put behind the tables as they grow (…_committed).
 * Position 0 of everything is invalid, so zeroed memory means "none". Only offsets and fixed-width
 * integers live here. Shared truth is flat: lists and counters are hints unless said otherwise.
 *
 * LIFE OF A PARTICIPANT (state word: generation 32 | parent slot 16 | state 8)
 *
 *   FREE --reserve(parent)--> RESERVED --adopt(child)--> LIVE --detach--> EXITING --> FREE
 *                                 |                        |                 |
 *                                 +----- the kernel says dead: REAPING <-----+
 *                                                          |
 *                                                        FREE (generation + 1)
 *
 *   Guards: byte `slot` of the memory file (the token) is locked for as long as a process lives in
 *   the slot, by an open file description of its own; byte REAP_BYTE+slot is held by whoever
 *   changes FREE→RESERVED or reaps. The kernel drops both with the process.
 *
 *   Crash states: (1) reserver killed after the token, before RESERVED: the slot is FREE and the
 *   token falls free: nothing to do. (2) parent killed after RESERVED, before fork: RESERVED with
 *   a free token: reaped. (3) child killed before adopt: the same. (4) killed while LIVE or
 *   EXITING: reaped. (5) reaper killed: REAPING with a free reap byte: the next one starts again
 *   from the first step; every step is idempotent.
 *
 *   A place can be offered to a process that somebody else starts (proc/offer.c): RESERVED, with a
 *   bit for each object that was added, and the token in the hands of both. It is free again when
 *   neither has the token any more.
 *   Crash states: (6) parent killed with the offer open, or while it takes it back: as (2), and
 *   what was added is let go, if nobody has a copy of the token; else the process may still adopt.
 *   (7) killed between a bit and the answer to kin_offer_add: one object more is kept until the
 *   process leaves. (8) the process is killed before it adopts: RESERVED until the parent, which
 *   has the token, too, takes the place back or dies. (9) whoever takes the place back is killed
 *   over the reaping: as (5). (10) a thread of the parent forks meanwhile: the child closes its
 *   copy of the token before it is anything else (arena/fork.c).
 *
 * INTERNAL LOCK (ilock) with a one-entry journal. word: thread index (20 bits) << 1 | WAIT.
 *   The holder's thread record lists the lock in `lockstack` before it tries the lock, so that a
 *   reaper finds it. WAIT may be set without a sleeper; it may not be missing with one.
 *   Crash states: (1) lock listed, not taken: nothing. (2) taken, journal empty: released.
 *   (3) taken, journal.op set: the repair function of the lock's kind redoes or undoes, then
 *   released. (4) released, sleeper not woken: sleepers look again at the end of their slice.
 */
#ifndef KINI_ARENA_LAYOUT_H
#define KINI_ARENA_LAYOUT_H

#include "base/atomic.h"

#define KINI_MAGIC          0x0061656e6172696bull /* "kinarea" */
#define KINI_LAYOUT_VERSION 6u

#define KINI_UNIT_BYTES       65536u
#define KINI_PARTICIPANTS_MAX 1024u
#define KINI_THREADS_MAX      4096u
#define KINI_OBJECTS_MAX      65536u
#define KINI_BITMAP_BYTES     (KINI_OBJECTS_MAX / 8)
#define KINI_REAP_BYTE        4096u /* byte locks: slot, and KINI_REAP_BYTE + slot */

/* --- internal lock -------------------------------------------------------------------------- */

enum kini_ilock_kind { /* which repair function; const after create */
                       KINI_ILOCK_NONE,
                       KINI_ILOCK_SPANS,
                       KINI_ILOCK_OBJECTS,
                       KINI_ILOCK_WAITQ,
                       KINI_ILOCK_QUEUE,
                       KINI_ILOCK_HOLDS,
                       KINI_ILOCK_RETURNED,
                       KINI_ILOCK_STORE,
                       KINI_ILOCK_KINDS
};

#define KINI_ILOCK_WAIT 1u

struct kini_ilock_shm {
    kini_a32 word;   /* W: anyone, CAS(0→me) acq / xchg(→0) rel; a repairer CAS(dead→me) */
    uint32_t kind;   /* const after create */
    kini_a64 op;     /* W: holder. 0 = nothing half done; written last, cleared last */
    kini_a64 arg[6]; /* W: holder, before op */
};
_Static_assert(sizeof(struct kini_ilock_shm) == 64, "one line");

/* --- participants --------------------------------------------------------------------------- */

enum kini_participant_state { KINI_FREE, KINI_RESERVED, KINI_LIVE, KINI_EXITING, KINI_REAPING };

#define KINI_STATE(word)        ((uint32_t)((word)&0xff))
#define KINI_STATE_PARENT(word) ((uint32_t)(((word) >> 8) & 0xffff))
#define KINI_STATE_GEN(word)    ((uint32_t)((word) >> 32))
#define KINI_STATE_WORD(gen, parent, state)                                                        \
    ((uint64_t)(gen) << 32 | (uint64_t)(parent) << 8 | (uint64_t)(state))

#define KINI_TOUCHED_WORDS 64u /* 4096 bits */

struct kini_participant_shm {
    kini_a64 state;      /* W: holder of the reap byte; the participant RESERVED→LIVE→EXITING */
    kini_a32 pid;        /* W: the participant, before LIVE */
    kini_a32 parent_pid; /* W: the reserver. 0: no participant */
    kini_a64 pid_namespace; /* identity: W: the participant, before LIVE */
    kini_a64 start_ticks;
    kini_a64 pidfd_inode;
    kini_a64 parent_key; /* parent's slot << 32 | its generation: still the same parent? */
    kini_a32 daemon;
    kini_a32 fenced; /* 1: a survivor found that this one was declared dead wrongly */
    kini_a64 deaths; /* in this slot 32 | generation counted last 32. W: holder of the reap byte */
    char name[32];
    /* Spans in which this participant may have blocks, one bit for unit % 4096. Set before the
     * first block header of the span names the participant; too many bits only cost time. */
    kini_a64 touched[KINI_TOUCHED_WORDS];
    kini_a32 takes; /* 1: it has taken messages of queues, some of which it may still have */
    uint8_t reserved[1024 - 8 - 8 - 4 * 8 - 8 - 8 - 32 - 8 * KINI_TOUCHED_WORDS - 4];
};
_Static_assert(sizeof(struct kini_participant_shm) == 1024, "participant record");

/* --- threads -------------------------------------------------------------------------------- */

/* state word: generation 32 | participant slot 16 | ORPHAN 1 | USED 1. Claimed by CAS, so a record
 * always names its participant; freed by its thread or by the reaper, last of all. ORPHAN: the
 * thread has ended, but its process still holds what is counted here; a new thread of the same
 * process may take it over. */
#define KINI_THREAD_SLOT(word) ((uint32_t)(((word) >> 8) & 0xffff))
#define KINI_THREAD_USED       1u
#define KINI_THREAD_ORPHAN     2u

/* How a thread is named as the holder of something, from its state word and index: generation 29 |
 * slot 16 | index 16. Three bits are left to whoever keeps it. */
#define KINI_OWNER_BITS        0x1fffffffffffffffull
#define KINI_OWNER_INDEX(word) ((uint32_t)((word)&0xffff))
#define KINI_OWNER_SLOT(word)  ((uint32_t)(((word) >> 16) & 0xffff))
static inline uint64_t kini_owner_word(uint64_t state, uint32_t index)
{
    return ((state >> 32 & 0x1fffffff) << 32) | (uint64_t)KINI_THREAD_SLOT(state) << 16 | index;
}

enum kini_wait_state { KINI_WAIT_NONE, KINI_WAIT_QUEUED, KINI_WAIT_CHOSEN, KINI_WAIT_ANY };
enum kini_park { KINI_PARK_AWAKE, KINI_PARK_WOKEN, KINI_PARK_ASLEEP };

enum kini_op_code {
    KINI_OP_NONE,
    KINI_OP_PUT,
    KINI_OP_GET,
    KINI_OP_TAKE_BACK,
    KINI_OP_HOLD,
    KINI_OP_COPY /* a message out of the store of the queue at the offset: chan/store_layout.h */
};
#define KINI_OP(code, offset) ((uint64_t)(code) << 56 | (uint64_t)(offset))
/* A claim of count positions, 1 to 256: code 8 | count - 1 8 | offset 48. */
#define KINI_OP_RANGE(code, count, offset) (KINI_OP(code, offset) | ((uint64_t)(count)-1) << 48)
#define KINI_OP_CODE(word)                 ((uint32_t)((word) >> 56))
#define KINI_OP_COUNT(word)                ((uint32_t)((word) >> 48 & 0xff) + 1)
#define KINI_OP_OFFSET(word)               ((word)&0x0000ffffffffffffull)
#define KINI_OP_WON                        (1ull << 63) /* in op_pos, one word with the position: never paired wrongly */

#define KINI_LOCKSTACK 6u
#define KINI_HOLDS     64u
#define KINI_ANY_MAX   32u

struct kini_thread_shm {
    /* line 0: who. W: the thread itself */
    kini_a64 state;
    kini_a32 tid;
    kini_a32 locks_count;               /* hint for observers */
    kini_a64 lockstack[KINI_LOCKSTACK]; /* offsets of ilocks held or wanted; 0: none */
    /* lines 2-3: the intent. W: the thread, before each claim; R: reapers and observers */
    _Alignas(128) kini_a64 op; /* code 8 | positions - 1 8 | offset of the ring segment 48; 0: no
                                  operation */
    kini_a64 op_pos;           /* first position, WON once the claim succeeded */
    kini_a64 wake_target;      /* thread index that this thread is about to wake; 0: none */
    kini_a64 op_block;         /* GET, TAKE_BACK: the message is being copied into that block */
    uint64_t op_reserved[12];
    /* lines 4-5: waiting. W: under the wait queue's lock, except park */
    kini_a32 park; /* futex: enum kini_park */
    kini_a32 wait_state;
    kini_a64 wait_queue;  /* offset of the wait queue; 0: none */
    kini_a64 wait_ticket; /* order of arrival */
    kini_a64 wait_since_ns;
    kini_a32 wait_next, wait_prev; /* thread indexes; rebuilt from state and ticket */
    kini_a64 woken_ns;             /* hint. W: who woke it */
    kini_a32 woken_cpu;            /* hint: its processor + 1 */
    kini_a32 wait_own; /* 1: of a lock that it held when it began to wait. W: the thread */
    kini_a64 bell;     /* 0: sleeps on park. Else in poll: the number of its bell (os.h) */
    uint64_t wait_reserved[8];
    /* lines 6-7: counters. W: the thread; R: observers, who sum */
    kini_a64 puts, gets, waits, wakes;
    uint64_t count_reserved[12];
    /* lines 8-9. W: the thread, but for hold_done */
    char name[32];
    kini_a64
        wait_token;     /* offset of a wait queue whose wake we were given and have not delivered */
    kini_a32 hold_seq;  /* number of the last counted operation; goes on in the next life */
    kini_a32 hold_done; /* W: who overwrites a word that names us: that operation happened */
    kini_a32 hold_thread; /* whose ledger the operation counts in: a dead thread's; 0: our own */
    kini_a32 any_count;
    uint64_t name_reserved[8];
    /* lines 10-17: what this thread acquired and did not release: tag 32 | count 32 (signed). W:
     * the thread; of the dead: the holder of hold_lock. See sync/hold.h */
    kini_a64 holds[KINI_HOLDS];
    /* lines 18-21: offsets of the wait queues of a wait for any of several. W: the thread */
    kini_a64 any_queues[KINI_ANY_MAX];
};
_Static_assert(sizeof(struct kini_thread_shm) == 1408, "thread record");

/* --- objects -------------------------------------------------------------------------------- */

enum kini_object_type {
    KINI_OBJECT_NONE,
    KINI_OBJECT_QUEUE,
    KINI_OBJECT_POOL,
    KINI_OBJECT_PIPE,
    KINI_OBJECT_PIPE_END,
    KINI_OBJECT_VALUE,
    KINI_OBJECT_ARRAY,
    KINI_OBJECT_LOCK,
    KINI_OBJECT_RLOCK,
    KINI_OBJECT_SEMAPHORE,
    KINI_OBJECT_EVENT,
    KINI_OBJECT_CONDITION,
    KINI_OBJECT_BARRIER,
    KINI_OBJECT_RWLOCK,
    KINI_OBJECT_ONCE,
    KINI_OBJECT_TYPES
};
enum kini_object_state {
    KINI_OBJECT_FREE,
    KINI_OBJECT_LIVE,
    KINI_OBJECT_DYING, /* nobody held it: may still be called off */
    KINI_OBJECT_GOING  /* nobody held it at a second look: its blocks are being freed */
};

/* state word: generation 32 | destroyer's slot 16 | type 8 (bits 8-15) | state 8 */
#define KINI_OBJECT_WORD(gen, slot, type, state)                                                   \
    ((uint64_t)(gen) << 32 | (uint64_t)(slot) << 16 | (uint64_t)(type) << 8 | (uint64_t)(state))
#define KINI_OBJECT_STATE(word)     ((uint32_t)((word)&0xff))
#define KINI_OBJECT_TYPE(word)      ((uint32_t)(((word) >> 8) & 0xff))
#define KINI_OBJECT_DESTROYER(word) ((uint32_t)(((word) >> 16) & 0xffff))
#define KINI_OBJECT_GEN(word)       ((uint32_t)((word) >> 32))

struct kini_object_shm {
    kini_a64 state;
    kini_a64 offset; /* of the type's own structure */
    char name[32]; /* W: the creator; the first byte also any holder, to 0, under the object lock */
    /* Tags of objects that keep this one, as a holder does. W: the creator; cleared by the first
     * who takes hold of what is only kept until then */
    kini_a32 kept_by[2];
    kini_a32 keeps[2]; /* tags of the objects that this one keeps; 0: none. W: the creator */
};
_Static_assert(sizeof(struct kini_object_shm) == 64, "object entry");

/* --- superblock ----------------------------------------------------------------------------- */

struct kini_super_shm {
    kini_a64 magic; /* written last at creation, release; read first, acquire */
    uint64_t stamp; /* version and sizes of everything here; another build differs */
    uint64_t uuid[2];
    uint64_t reserve_bytes; /* const after create, like all offsets below */
    uint64_t units_count;
    uint64_t participants_off, threads_off, objects_off, bitmaps_off;
    uint64_t spans_off, free_map_off, commit_map_off, data_off;
    char name[32];
    /* Tables: how far memory is behind them, and how far they were ever used. W: anyone, only
     * upwards, after the commit succeeded. */
    _Alignas(128) kini_a64 participants_committed, threads_committed;
    kini_a64 objects_committed, bitmaps_committed, spans_committed;
    kini_a32 participants_high, threads_high, objects_high;
    kini_a32 units_high;   /* W: holder of the span lock, before a unit is first used */
    kini_a32 cached_units; /* hint: free units that have memory. This and the next two: keep.c */
    kini_a32 large_units;  /* hint: units of large runs in use */
    kini_a32 large_peak;   /* hint: how many these were lately */
    uint32_t reserved1;
    kini_a32 free_hint;             /* hint: no free unit below this one */
    kini_a32 orphan_spans;          /* hint: spans whose owning thread ended */
    kini_a32 no_fence;              /* 1: somebody here cannot be fenced by others (os.h) */
    _Alignas(128) kini_a64 watcher; /* thread index 16 | deadline in ms 48; hint */
    kini_a64 looked_ms;             /* when somebody last looked at all participants; hint */
    kini_a64 rest_ms;               /* when the last of those who rest will look; hint */
    kini_a64 death_seq;             /* bumped after each reaping */
    kini_a64 wait_tickets;
    kini_a64 beds[2];      /* thread index 16 | deadline in ms 48; hint: sync/bed.c */
    kini_a64 long_rest_ms; /* as rest_ms, of those who rest while others are in the beds; hint */
    kini_a64 bedless_ms;   /* until then the beds stay empty: a ring failed; hint */
    _Alignas(128) struct kini_ilock_shm span_lock;
    _Alignas(128) struct kini_ilock_shm object_lock;
    _Alignas(128) struct kini_ilock_shm hold_lock; /* ledgers of the dead: sync/hold.h */
};

#endif
