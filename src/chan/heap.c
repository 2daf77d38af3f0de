/* SPDX-License-Identifier: MIT
 * The heap of a store. Each operation writes its journal and then does what its repair would do:
 * one code for both. Layout and crash states: store_layout.h. */
#include "chan/heap.h"
#include "arena/ilock.h"
#include "base/bits.h"
#include "chan/message.h"
#include "chan/ring.h"

#include <string.h>

#define CHILDREN 4u

/* Without a branch that depends on chance: which of two is first is anybody's guess. */
static inline bool goes_before(const struct kin_arena *arena, const struct kini_entry_shm *a,
                               const struct kini_entry_shm *b)
{
    if (kini_unlikely(a->order & b->order & KINI_ORDER_KEYED) && a->priority == b->priority) {
        int keys = kini_message_compare_keys(arena, a->block, b->block);
        if (keys != 0)
            return keys < 0;
    }
    return (a->priority < b->priority) | ((a->priority == b->priority) & (a->order < b->order));
}

/* Into the hole. The entry is whole before the journal says that the hole is elsewhere. */
static inline void move(struct kini_store_shm *store, struct kini_entry_shm *to,
                        const struct kini_entry_shm *from, uint64_t hole)
{
    *to = *from;
    kini_compiler_barrier();
    kini_store(&store->lock.arg[1], hole);
    kini_compiler_barrier();
}

/* --- push ----------------------------------------------------------------------------------- */

void kini_heap_finish_push(struct kini_self *self, struct kini_store_shm *store, uint32_t tag)
{
    struct kini_entry_shm *entries = kini_heap_entries(self->arena, store);
    uint64_t block = kini_load(&store->lock.arg[0]), hole = kini_load(&store->lock.arg[1]);
    const struct kini_message_shm *message = kini_message_of(self->arena, block);
    const struct kini_entry_shm entry = {.priority = message->priority,
                                         .order = message->order,
                                         .block = block,
                                         .bytes = message->bytes};
    while (hole > 0) {
        uint64_t parent = (hole - 1) / CHILDREN;
        if (!goes_before(self->arena, &entry, &entries[parent]))
            break;
        move(store, &entries[hole], &entries[parent], parent);
        hole = parent;
    }
    entries[hole] = entry;
    kini_block_give(self, block, tag);
    kini_store(&store->bytes, kini_load(&store->lock.arg[3]));
    kini_store(&store->puts, kini_load(&store->lock.arg[4]));
    kini_store(&store->count, kini_load(&store->lock.arg[2]));
}

void kini_heap_push(struct kini_self *self, struct kini_store_shm *store, uint32_t tag,
                    uint64_t block)
{
    struct kini_ilock_shm *lock = &store->lock;
    uint64_t count = kini_load(&store->count);
    kini_store(&lock->arg[0], block);
    kini_store(&lock->arg[1], count);
    kini_store(&lock->arg[2], count + 1);
    kini_store(&lock->arg[3],
               kini_load(&store->bytes) + kini_message_of(self->arena, block)->bytes);
    kini_store(&lock->arg[4], kini_load(&store->puts) + 1);
    kini_journal_begin(lock, KINI_STORE_PUSH);
    kini_heap_finish_push(self, store, tag);
    kini_journal_end(lock);
}

/* --- pop ------------------------------------------------------------------------------------ */

/* The child of hole that goes first, 0: it has none below count. */
static inline uint64_t first_child(const struct kin_arena *arena,
                                   const struct kini_entry_shm *entries, uint64_t hole,
                                   uint64_t count)
{
    uint64_t best = hole * CHILDREN + 1;
    uint64_t end = kini_min(best + CHILDREN, count);
    if (best >= count)
        return 0;
    for (uint64_t i = best + 1; i < end; i++)
        best = goes_before(arena, &entries[i], &entries[best]) ? i : best;
    return best;
}

/* The last entry stays in its place, beyond what counts, until all is done. */
static void sift_down(struct kini_self *self, struct kini_store_shm *store)
{
    struct kini_entry_shm *entries = kini_heap_entries(self->arena, store);
    uint64_t hole = kini_load(&store->lock.arg[1]), count = kini_load(&store->lock.arg[2]), child;
    const struct kini_entry_shm last = entries[count];
    if (count == 0)
        return;
    while ((child = first_child(self->arena, entries, hole, count)) != 0 &&
           goes_before(self->arena, &entries[child], &last)) {
        move(store, &entries[hole], &entries[child], child);
        hole = child;
    }
    entries[hole] = last;
    kini_compiler_barrier();
}

static void lower(struct kini_store_shm *store)
{
    kini_store(&store->bytes, kini_load(&store->lock.arg[3]));
    kini_store(&store->count, kini_load(&store->lock.arg[2]));
}

uint64_t kini_heap_finish_pop(struct kini_self *self, struct kini_store_shm *store)
{
    sift_down(self, store);
    lower(store);
    return kini_load(&store->lock.arg[0]);
}

uint64_t kini_heap_pop(struct kini_self *self, struct kini_store_shm *store, uint32_t tag)
{
    struct kini_ilock_shm *lock = &store->lock;
    const struct kini_entry_shm *first = kini_heap_entries(self->arena, store);
    uint64_t block = first->block;
    kini_store(&lock->arg[0], block);
    kini_store(&lock->arg[1], 0);
    kini_store(&lock->arg[2], kini_load(&store->count) - 1);
    kini_store(&lock->arg[3], kini_load(&store->bytes) - first->bytes);
    kini_journal_begin(lock, KINI_STORE_POP);
    sift_down(self, store);
    kini_message_take(self, block, tag);
    lower(store);
    kini_journal_end(lock);
    return block;
}

/* --- found in the arena ----------------------------------------------------------------------- */

bool kini_heap_has(const struct kin_arena *arena, uint64_t heap, uint64_t count)
{
    return count <= arena->super->reserve_bytes / sizeof(struct kini_entry_shm) &&
           kini_block_has(arena, heap, KINI_HEAP_PREFIX + count * sizeof(struct kini_entry_shm));
}

bool kini_heap_is_whole(const struct kin_arena *arena, uint64_t heap, uint64_t count, uint64_t hole)
{
    if (hole >= count || !kini_heap_has(arena, heap, count))
        return false;
    const struct kini_entry_shm *entries = kini_at(arena, heap + KINI_HEAP_PREFIX);
    for (uint64_t i = 0; i < count; i++)
        if (i != hole && !kini_message_is_whole(arena, entries[i].block))
            return false;
    return true;
}

/* The block of an entry is freed when it is in no entry any more, but it may be met before: then it
 * is looked at again, by which time the entry has another, or does not count. What is damaged stays
 * so. Entries are moved a word at a time, so each word is one that was put. */
static bool entry_is_good(const struct kin_arena *arena, struct kini_store_shm *store,
                          uint64_t heap, uint64_t i)
{
    kini_a64 *block =
        (kini_a64 *)&((struct kini_entry_shm *)kini_at(arena, heap + KINI_HEAP_PREFIX))[i].block;
    for (int looks = 0; looks < KINI_LOOKS_AT_DAMAGE; looks++) {
        if (kini_message_is_whole(arena, kini_load(block)) || kini_load_acq(&store->count) <= i)
            return true;
        kini_pause();
    }
    return false;
}

static bool is_heap(const struct kin_arena *arena, struct kini_store_shm *store, uint32_t tag,
                    uint64_t heap)
{
    uint64_t cap = kini_load_acq(&store->cap), count = kini_load_acq(&store->count);
    uint64_t most = arena->super->reserve_bytes / sizeof(struct kini_entry_shm);
    if (count > cap || cap > most ||
        !kini_block_is_owned(arena, heap, tag,
                             KINI_HEAP_PREFIX + cap * sizeof(struct kini_entry_shm)))
        return false;
    bool good = true;
    for (uint64_t i = 0; i < count && good; i++)
        good = entry_is_good(arena, store, heap, i);
    return good;
}

bool kini_heap_is_good(const struct kin_arena *arena, struct kini_store_shm *store, uint32_t tag)
{
    bool good;
    uint64_t heap;
    do { /* it may be resized while we look */
        heap = kini_load_acq(&store->heap);
        good = is_heap(arena, store, tag, heap);
    } while (!good && kini_load_acq(&store->heap) != heap);
    return good;
}

/* --- resize --------------------------------------------------------------------------------- */

int kini_heap_block(struct kini_self *self, uint64_t cap, uint64_t *ret_block)
{
    return kini_block_get(self, KINI_HEAP_PREFIX + cap * sizeof(struct kini_entry_shm), ret_block);
}

/* Under the lock. A block of the queue becomes ours and is freed; if it is not the queue's any more
 * somebody was at it before us, and died. */
static void free_spare(struct kini_self *self, uint64_t block, uint32_t tag)
{
    uint64_t word = kini_load(&kini_block_header(self->arena, block)->word);
    if (word != KINI_BLOCK_WORD(KINI_BLOCK_OWNED, 0, tag))
        return;
    kini_block_adopt(self, block);
    kini_block_put(self, block);
}

void kini_heap_finish_resize(struct kini_self *self, struct kini_store_shm *store, uint32_t tag)
{
    struct kini_ilock_shm *lock = &store->lock;
    uint64_t fresh = kini_load(&lock->arg[0]), old = kini_load(&lock->arg[2]);
    if (kini_load(&store->heap) == fresh) {
        kini_store(&store->cap, kini_load(&lock->arg[1]));
        free_spare(self, old, tag);
    } else {
        free_spare(self, fresh, tag);
    }
}

static void swing(struct kini_self *self, struct kini_store_shm *store, uint32_t tag, uint64_t to,
                  uint64_t cap)
{
    struct kini_ilock_shm *lock = &store->lock;
    uint64_t from = kini_load(&store->heap);
    kini_store(&lock->arg[0], to);
    kini_store(&lock->arg[1], cap);
    kini_store(&lock->arg[2], from);
    kini_journal_begin(lock, KINI_STORE_RESIZE);
    kini_block_give(self, to, tag);
    kini_compiler_barrier();
    kini_store(&store->heap, to);
    kini_compiler_barrier();
    kini_store(&store->cap, cap);
    kini_block_adopt(self, from);
    kini_journal_end(lock);
}

int kini_heap_resize(struct kini_self *self, struct kini_store_shm *store, uint32_t tag,
                     uint64_t from, uint64_t to)
{
    uint64_t spare;
    int r = kini_heap_block(self, to, &spare);
    if (r < 0)
        return r;
    kini_ilock_lock(self, &store->lock);
    uint64_t count = kini_load(&store->count);
    if (kini_load(&store->cap) == from && count <= to) {
        uint64_t old = kini_load(&store->heap);
        memcpy((char *)kini_at(self->arena, spare) + KINI_HEAP_PREFIX,
               kini_heap_entries(self->arena, store), count * sizeof(struct kini_entry_shm));
        swing(self, store, tag, spare, to);
        spare = old;
    }
    kini_ilock_unlock(self, &store->lock);
    kini_block_put(self, spare);
    return 0;
}
