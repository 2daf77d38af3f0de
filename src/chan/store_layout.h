/* SPDX-License-Identifier: MIT
 * What another process can see of a store: the messages of every queue that is no plain ring.
 *
 *   store   lock + journal | where the heap is | numbers | done | joiners | outstanding …
 *   heap    96 unused | entry 0 | entry 1 … entry cap-1       its block is OWNED by the queue
 *   entry   priority 64 | order 64 | block 64 | bytes 64
 *
 * Entries 0 … count-1 are a heap: entry i goes before its children 4i+1 … 4i+4, which lie in two
 * lines. First comes the smaller priority, then the smaller key, if both have one, then the smaller
 * order. A message that is put gets the number `puts`: order is that number, in a LIFO its
 * complement, below the bit KEYED, which says that there is a key; in a FIFO and a LIFO all
 * priorities are 0. The key is in the message, and const while that is in the queue. The block of
 * an entry is OWNED by the queue.
 *
 *   put     PRIVATE(me) --PUSH--> OWNED, in the heap
 *   get     OWNED --POP--> TAKEN(me) --copied--> PRIVATE(me) --> FREE
 *   death   TAKEN(dead) --reaper--> OWNED, in the list of returned, which is got from first
 *
 * For stores the list of returned is changed under the store's lock only (inside it, its own).
 * Whoever copies says so in its thread record (op COPY, the queue), from before POP until the
 * message is released: a queue that was shut down is drained when nothing is in the heap, nor in
 * the list, and nobody copies. Who dies while it copies counts until what it had is back. Who keeps
 * a message in place does not count: it may keep it for long.
 *
 *   W: everything is written by the holder of the lock. What is said to be readable without it is
 *   one word, and may be a moment old.
 *
 * Joinable: unfinished = puts - done. outstanding[slot] is how many messages the participant has
 * got and not told to be done; it grows when the message is released, as until then its death
 * brings the message back.
 *
 * Crash states: the holder of the lock died. By the journal, which is always redone:
 *   none    (1) nothing half done.
 *   PUSH    (2) an entry is on its way up: `hole` may be overwritten, all others are whole. From
 *           there again: the put happens after all, and the block becomes the queue's.
 *   POP     (3) the last entry is on its way down from the root, and also still in its old place.
 *           From the hole again; the message goes to the list of returned unless it is there.
 *   RESIZE  (4) another heap with the same entries: if `heap` names it the old one is freed, else
 *           the new one; a block that is not OWNED any more is in the hands of a dead one: swept.
 *   ACCOUNT (5) `done`, outstanding, zeros, and the block that is released: stored again.
 *   (6) killed between POP and ACCOUNT: the block is TAKEN: the reaper returns it. (7) put or got,
 *   nobody woken: when a holder of the queue dies, all who wait look again. (8) shut down, and the
 *   rest not dropped: dropped when a holder dies.
 */
#ifndef KINI_STORE_LAYOUT_H
#define KINI_STORE_LAYOUT_H

#include "sync/wait_layout.h"

struct kini_entry_shm {
    int64_t priority;
    uint64_t order;
    uint64_t block; /* payload offset: struct kini_message_shm */
    uint64_t bytes;
};
_Static_assert(sizeof(struct kini_entry_shm) == 32, "four children in two lines");

#define KINI_HEAP_PREFIX 96u /* so that entries 1 to 4 begin a line in a large block */
#define KINI_HEAP_LEAST  64u /* entries */

enum kini_store_journal {
    KINI_STORE_PUSH = 1, /* arg: block, hole, count, bytes, puts (three: afterwards) */
    KINI_STORE_POP,      /* arg: block, hole, count, bytes (two: afterwards) */
    KINI_STORE_RESIZE,   /* arg: new heap, its cap, old heap */
    KINI_STORE_ACCOUNT,  /* arg: done, slot, outstanding, zeros (afterwards), block or 0 */
};

struct kini_store_shm {
    struct kini_ilock_shm lock;
    kini_a64 heap, cap; /* offset of its block; entries that it can have */
    kini_a64 count;     /* entries in it; readable without the lock */
    kini_a64 bytes;     /* sum of their lengths; readable without the lock */
    kini_a64 puts;      /* messages ever put; readable without the lock */
    kini_a64 pops;      /* hint: gets that began */
    uint64_t queue_off; /* const after create */
    uint64_t joinable;  /* const after create. 1: what follows is kept */
    kini_a64 done;      /* readable without the lock: a put counts before it is done */
    kini_a64 zeros;     /* how often the unfinished came to be 0; readable without the lock */
    uint64_t reserved[6];
    struct kini_waitq_shm joiners; /* nudged */
    kini_a32 outstanding[];        /* joinable: one for each participant slot */
};
_Static_assert(sizeof(struct kini_store_shm) == 320, "store header");

#endif
