/* SPDX-License-Identifier: MIT
 * The store: put, get and everything else that its lock guards. Nothing under the lock but peek
 * copies a message or touches the memory of a caller. Layout and crash states: store_layout.h. */
#include "chan/store.h"
#include "arena/attach.h"
#include "arena/ilock.h"
#include "base/bits.h"
#include "chan/heap.h"
#include "sync/wait.h"

#include <errno.h>
#include <string.h>

/* --- create, destroy ------------------------------------------------------------------------ */

int kini_store_create(struct kini_self *self, struct kini_queue_shm *queue, bool joinable)
{
    uint64_t offset, heap, bytes = sizeof(struct kini_store_shm);
    if (joinable)
        bytes += KINI_PARTICIPANTS_MAX * sizeof(kini_a32);
    int r = kini_block_get(self, bytes, &offset);
    if (r < 0)
        return r;
    if ((r = kini_heap_block(self, KINI_HEAP_LEAST, &heap)) < 0) {
        kini_block_put(self, offset);
        return r;
    }
    struct kini_store_shm *store = memset(kini_at(self->arena, offset), 0, bytes);
    kini_ilock_init(&store->lock, KINI_ILOCK_STORE);
    kini_waitq_init(&store->joiners, 0);
    kini_store(&store->heap, heap);
    kini_store(&store->cap, KINI_HEAP_LEAST);
    store->queue_off = kini_offset(self->arena, queue);
    store->joinable = joinable;
    queue->store_off = offset;
    return 0;
}

void kini_store_discard(struct kini_self *self, struct kini_queue_shm *queue)
{
    kini_block_put(self, kini_load(&kini_store_of(self->arena, queue)->heap));
    kini_block_put(self, queue->store_off);
}

void kini_store_give(struct kini_self *self, struct kini_queue_shm *queue)
{
    uint64_t heap = kini_load(&kini_store_of(self->arena, queue)->heap);
    kini_block_give(self, heap, queue->tag);
    kini_block_give(self, queue->store_off, queue->tag);
}

/* What a damaged store names may be anything, or named twice. */
static void adopt(struct kini_self *self, uint64_t block)
{
    if (kini_block_has(self->arena, block, 0))
        kini_block_adopt(self, block);
}

static void put_adopted(struct kini_self *self, uint64_t block)
{
    if (kini_block_has(self->arena, block, 0) &&
        kini_load(&kini_block_header(self->arena, block)->word) ==
            KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, self->slot, 0))
        kini_block_put(self, block);
}

/* Each block is ours before what names it forgets it, and that before the first is freed: who goes
 * on after our death finds either all of them named, or none, and then the sweep has them. */
void kini_store_destroy(struct kini_self *self, struct kini_queue_shm *queue)
{
    struct kin_arena *arena = self->arena;
    uint64_t offset = queue->store_off;
    if (!kini_block_has(arena, offset, sizeof(struct kini_store_shm)))
        return; /* damaged */
    struct kini_store_shm *store = kini_store_of(arena, queue);
    const struct kini_entry_shm *entries = kini_heap_entries(arena, store);
    uint64_t heap = kini_load(&store->heap), count = kini_load(&store->count);
    if (!kini_heap_has(arena, heap, count))
        heap = count = 0;
    for (uint64_t i = 0; i < count; i++)
        adopt(self, entries[i].block);
    adopt(self, heap);
    adopt(self, offset);
    kini_compiler_barrier();
    kini_store(&store->heap, 0);
    kini_compiler_barrier();
    queue->store_off = 0;
    kini_compiler_barrier();
    for (uint64_t i = 0; i < count; i++)
        put_adopted(self, entries[i].block);
    put_adopted(self, heap);
    put_adopted(self, offset);
}

bool kini_store_head_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue)
{
    uint64_t bytes = sizeof(struct kini_store_shm);
    if (!kini_block_is_owned(arena, queue->store_off, queue->tag, bytes))
        return false;
    struct kini_store_shm *store = kini_store_of(arena, queue);
    if (store->joinable)
        bytes += KINI_PARTICIPANTS_MAX * sizeof(kini_a32);
    return kini_block_is_owned(arena, queue->store_off, queue->tag, bytes) &&
           store->queue_off == kini_offset(arena, queue) &&
           kini_ilock_is_good(arena, &store->lock, KINI_ILOCK_STORE) &&
           kini_waitq_is_good(arena, &store->joiners, 0);
}

bool kini_store_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue)
{
    return kini_store_head_is_good(arena, queue) &&
           kini_heap_is_good(arena, kini_store_of(arena, queue), queue->tag);
}

/* --- questions ------------------------------------------------------------------------------ */

/* seq_cst: who is about to sleep has said so before. Pairs with the exchange in kini_ilock_unlock,
 * after which who changed them looks for sleepers. */
uint64_t kini_store_count(struct kini_self *self, struct kini_queue_shm *queue)
{
    return kini_load_sc(&kini_store_of(self->arena, queue)->count) +
           kini_load_sc(&queue->returned_count);
}

uint64_t kini_store_bytes(struct kini_self *self, struct kini_queue_shm *queue)
{
    return kini_load_sc(&kini_store_of(self->arena, queue)->bytes) +
           kini_returned_bytes(self, queue);
}

/* Room for a message of so many bytes; a queue that is_full has none, not even for an empty one. */
static bool has_room(struct kini_self *self, struct kini_queue_shm *queue, uint64_t bytes)
{
    if (queue->max_items != 0 && kini_store_count(self, queue) >= queue->max_items)
        return false;
    if (queue->max_bytes == 0)
        return true;
    uint64_t used = kini_store_bytes(self, queue);
    return used < queue->max_bytes && bytes <= queue->max_bytes - used;
}

/* Under the lock: whether somebody is in the middle of copying a message out. The dead count until
 * what they had is back (kini_store_holder_died). */
static bool anybody_copies(struct kini_self *self, struct kini_queue_shm *queue)
{
    struct kin_arena *arena = self->arena;
    uint64_t op = KINI_OP(KINI_OP_COPY, kini_offset(arena, queue));
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++)
        if (i != self->index && (kini_load_acq(&arena->threads[i].state) & 1) &&
            kini_load_sc(&arena->threads[i].op) == op)
            return true;
    return false;
}

/* Under the lock, with nothing there. */
static int nothing_there(struct kini_self *self, struct kini_queue_shm *queue)
{
    uint32_t flags = kini_load(&queue->flags);
    if (flags & KINI_QUEUE_DROP)
        return -ESHUTDOWN;
    return (flags & KINI_QUEUE_SHUT) && !anybody_copies(self, queue) ? -ESHUTDOWN : -EAGAIN;
}

int64_t kini_store_peek(struct kini_self *self, struct kini_queue_shm *queue, void *buffer,
                        uint64_t capacity)
{
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    kini_ilock_lock(self, &store->lock);
    int64_t r = kini_returned_peek(self, queue, buffer, capacity);
    if (r == -EAGAIN && kini_load(&store->count) > 0) {
        const struct kini_entry_shm *first = kini_heap_entries(self->arena, store);
        uint64_t there = kini_message_of(self->arena, first->block)->bytes;
        uint64_t wanted = kini_min(there, capacity);
        if (wanted > 0)
            memcpy(buffer, kini_message_data(self->arena, first->block), wanted);
        r = (int64_t)first->bytes;
    } else if (r == -EAGAIN) {
        r = nothing_there(self, queue);
    }
    kini_ilock_unlock(self, &store->lock);
    return r;
}

/* --- put ------------------------------------------------------------------------------------ */

/* Whether to let somebody go first who waits for longer. Not if it was told to look and does not:
 * it may have been stopped; as long as others get, it will be told again. */
static bool others_first(struct kini_self *self, struct kini_queue_shm *queue)
{
    if (kini_likely(kini_load_sc(&queue->putters.nwait) == 0))
        return false;
    uint32_t first = kini_waitq_first(self->arena, &queue->putters);
    if (first == 0 || first == self->index)
        return false;
    if (kini_load(&self->arena->threads[first].park) != KINI_PARK_WOKEN)
        return true;
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    return !kini_waited_enough(self, kini_load(&self->arena->threads[first].wait_ticket) ^
                                         kini_load(&store->pops) << 32);
}

static inline bool is_bounded(const struct kini_queue_shm *queue)
{
    return queue->max_items != 0 || queue->max_bytes != 0;
}

/* Under the lock. ret_cap: 0, or the heap is full with so many. */
static int put_locked(struct kini_self *self, struct kini_queue_shm *queue,
                      const struct kini_message *message, uint64_t *ret_cap)
{
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    uint64_t cap = kini_load(&store->cap), number = kini_load(&store->puts);
    *ret_cap = 0;
    if (kini_load(&queue->flags) & KINI_QUEUE_SHUT)
        return -ESHUTDOWN;
    if (is_bounded(queue) && !has_room(self, queue, message->bytes))
        return -EAGAIN;
    if (kini_load(&store->count) == cap) {
        *ret_cap = cap;
        return -EAGAIN;
    }
    struct kini_message_shm *prefix = kini_message_of(self->arena, message->block);
    prefix->bytes = message->bytes;
    prefix->priority = queue->kind == KIN_PRIORITY ? message->priority : 0;
    prefix->order = queue->kind == KIN_LIFO ? ~number & ~KINI_ORDER_KEYED
                    : message->has_key      ? number | KINI_ORDER_KEYED
                                            : number;
    kini_heap_push(self, store, queue->tag, message->block);
    return 0;
}

int64_t kini_store_put(struct kini_self *self, struct kin_queue *queue,
                       const struct kini_message *message)
{
    struct kini_queue_shm *shm = queue->shm;
    struct kini_store_shm *store = kini_store_of(self->arena, shm);
    uint64_t full;
    int r;
    do {
        if (kini_unlikely(kini_load_acq(&shm->flags) & KINI_QUEUE_SHUT))
            return -ESHUTDOWN;
        if (is_bounded(shm) && (others_first(self, shm) || !has_room(self, shm, message->bytes)))
            return -EAGAIN;
        kini_ilock_lock(self, &store->lock);
        r = put_locked(self, shm, message, &full);
        kini_ilock_unlock(self, &store->lock);
        if (kini_unlikely(full != 0)) {
            int resized = kini_heap_resize(self, store, shm->tag, full, full * 2);
            if (resized < 0)
                return resized;
        }
    } while (kini_unlikely(full != 0));
    if (r < 0)
        return r;
    kini_store(&self->shm->puts, kini_load(&self->shm->puts) + 1);
    kini_waitq_wake(self, &shm->getters, 1);
    return 0;
}

void kini_store_pass_on(struct kini_self *self, struct kini_queue_shm *queue)
{
    if (kini_load_sc(&queue->putters.nwait) != 0 && has_room(self, queue, 0))
        kini_waitq_nudge_first(self->arena, &queue->putters);
}

/* --- get ------------------------------------------------------------------------------------ */

static inline bool fits(const struct kini_taker *taker, uint64_t bytes)
{
    return bytes <= taker->capacity || taker->drop || taker->keep;
}

/* Under the lock. On success the block is TAKEN by us, and we are copying unless it is kept. */
static int take_locked(struct kini_self *self, struct kini_queue_shm *queue,
                       const struct kini_taker *taker, uint64_t *ret_block)
{
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    if (!taker->keep) {
        kini_store_rel(&self->shm->op, KINI_OP(KINI_OP_COPY, kini_offset(self->arena, queue)));
        kini_compiler_barrier();
    }
    int r = -EAGAIN;
    if (kini_unlikely(kini_load(&queue->returned_count) != 0))
        r = kini_returned_remove(self, queue, taker, ret_block);
    if (kini_likely(r == -EAGAIN)) {
        if (kini_load(&store->count) == 0)
            r = nothing_there(self, queue);
        else if (!fits(taker, kini_heap_entries(self->arena, store)->bytes))
            r = -EMSGSIZE;
        else
            r = 0;
        if (r == 0)
            *ret_block = kini_heap_pop(self, store, queue->tag);
    }
    if (r < 0)
        kini_store_rel(&self->shm->op, 0);
    else
        kini_store(&store->pops, kini_load(&store->pops) + 1);
    return r;
}

/* An eighth is used: halve it. If there is no memory for that it stays as it is. */
static void shrink(struct kini_self *self, struct kini_queue_shm *queue)
{
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    uint64_t cap = kini_load(&store->cap);
    if (kini_unlikely(cap > KINI_HEAP_LEAST && kini_load(&store->count) <= cap / 8))
        (void)kini_heap_resize(self, store, queue->tag, cap, cap / 2);
}

/* The block is PRIVATE to us afterwards. */
static void finish(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block, bool done)
{
    if (kini_store_of(self->arena, queue)->joinable)
        kini_joinable_release(self, queue, block, done);
    else
        kini_block_adopt(self, block);
    kini_compiler_barrier();
    /* seq_cst: before the look at who waits; pairs with the look in anybody_copies */
    kini_store_sc(&self->shm->op, 0);
    if (kini_unlikely(kini_load_sc(&queue->flags) & KINI_QUEUE_SHUT))
        kini_waitq_wake(self, &queue->getters, UINT32_MAX); /* it may be drained by this */
}

static void release(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block, bool done)
{
    finish(self, queue, block, done);
    kini_block_put(self, block);
}

void kini_store_finish(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block)
{
    finish(self, queue, block, false);
}

static int64_t deliver(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block,
                       struct kini_taker *taker)
{
    uint64_t bytes = kini_message_of(self->arena, block)->bytes;
    if (taker->keep) {
        kini_message_keep(self, block, taker);
        return (int64_t)bytes;
    }
    bool refused = kini_unlikely(!fits(taker, bytes)); /* its entry says something else */
    if (!taker->drop && bytes > 0 && !refused)
        memcpy(taker->buffer, kini_message_data(self->arena, block), bytes);
    release(self, queue, block, taker->drop);
    return !refused ? (int64_t)bytes
                    : kini_fail(-EPROTO, "the arena is damaged: the length of a message");
}

int64_t kini_store_get(struct kini_self *self, struct kin_queue *queue, struct kini_taker *taker)
{
    struct kini_queue_shm *shm = queue->shm;
    struct kini_store_shm *store = kini_store_of(self->arena, shm);
    uint64_t block;
    if (kini_unlikely(kini_load_acq(&shm->flags) & KINI_QUEUE_DROP) && !taker->drop)
        return -ESHUTDOWN;
    if (kini_store_count(self, shm) == 0 && !(kini_load_acq(&shm->flags) & KINI_QUEUE_SHUT))
        return -EAGAIN;
    kini_ilock_lock(self, &store->lock);
    int r = take_locked(self, shm, taker, &block);
    kini_ilock_unlock(self, &store->lock);
    if (r < 0)
        return r;
    if (is_bounded(shm))
        kini_waitq_nudge_first(self->arena, &shm->putters);
    kini_store(&self->shm->gets, kini_load(&self->shm->gets) + 1);
    int64_t bytes = deliver(self, shm, block, taker);
    shrink(self, shm);
    return bytes;
}

/* --- shutdown ------------------------------------------------------------------------------- */

static void drop_all(struct kini_self *self, struct kini_queue_shm *queue)
{
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    const struct kini_taker drop = {.drop = true};
    uint64_t block;
    int r;
    do {
        kini_ilock_lock(self, &store->lock);
        r = take_locked(self, queue, &drop, &block);
        kini_ilock_unlock(self, &store->lock);
        if (r == 0)
            release(self, queue, block, true);
    } while (r == 0);
    while (kini_load(&store->cap) > KINI_HEAP_LEAST && kini_load(&store->count) == 0)
        if (kini_heap_resize(self, store, queue->tag, kini_load(&store->cap), KINI_HEAP_LEAST) < 0)
            break;
}

void kini_store_shut(struct kini_self *self, struct kini_queue_shm *queue, bool drop)
{
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    kini_ilock_lock(self, &store->lock);
    kini_or(&queue->flags, drop ? KINI_QUEUE_SHUT | KINI_QUEUE_DROP : KINI_QUEUE_SHUT);
    kini_ilock_unlock(self, &store->lock);
    kini_waitq_nudge(self->arena, &queue->putters, UINT32_MAX);
    kini_waitq_wake(self, &queue->getters, UINT32_MAX);
    if (drop)
        drop_all(self, queue);
}

/* --- death ---------------------------------------------------------------------------------- */

/* A POP is finished, and what was popped goes to the list of returned: its header says OWNED, or
 * TAKEN by the dead. Under the lock, as every change of the list is, so whether it is there already
 * is sure; and the reaper, which wants to give it back too, waits. */
static void finish_pop(struct kini_self *self, struct kini_store_shm *store,
                       struct kini_queue_shm *queue)
{
    uint64_t block = kini_heap_finish_pop(self, store);
    if (!kini_returned_has(self, queue, block))
        kini_returned_insert(self, queue, block,
                             kini_load(&kini_block_header(self->arena, block)->word));
}

/* Of a lock that may be anything: what its repair follows is there. */
static bool journal_is_good(struct kini_self *self, struct kini_store_shm *store)
{
    struct kin_arena *arena = self->arena;
    struct kini_queue_shm *queue = kini_queue_at(arena, store->queue_off);
    uint64_t block = kini_load(&store->lock.arg[0]), hole = kini_load(&store->lock.arg[1]);
    uint64_t third = kini_load(&store->lock.arg[2]), heap = kini_load(&store->heap);
    if (queue == NULL || queue->store_off != kini_offset(arena, store) ||
        !kini_block_has(arena, queue->store_off, sizeof *store))
        return false;
    switch (kini_load(&store->lock.op)) {
    case KINI_STORE_PUSH:
        return third > 0 && third - kini_load(&store->count) <= 1 &&
               kini_message_is_whole(arena, block) && kini_heap_is_whole(arena, heap, third, hole);
    case KINI_STORE_POP:
        return kini_load(&store->count) - third <= 1 && kini_message_is_whole(arena, block) &&
               kini_heap_is_whole(arena, heap, third + 1, hole);
    case KINI_STORE_RESIZE:
        return kini_block_has(arena, block, 0) && kini_block_has(arena, third, 0);
    case KINI_STORE_ACCOUNT:
        block = kini_load(&store->lock.arg[4]);
        return hole < KINI_PARTICIPANTS_MAX && (block == 0 || kini_block_has(arena, block, 0)) &&
               kini_block_has(arena, queue->store_off,
                              sizeof *store + KINI_PARTICIPANTS_MAX * sizeof(kini_a32));
    default:
        return false;
    }
}

void kini_store_repair(struct kini_self *self, struct kini_ilock_shm *lock)
{
    struct kini_store_shm *store = (struct kini_store_shm *)lock;
    if (!journal_is_good(self, store))
        return; /* damaged */
    struct kini_queue_shm *queue = kini_at(self->arena, store->queue_off);
    switch (kini_load(&lock->op)) {
    case KINI_STORE_PUSH:
        kini_heap_finish_push(self, store, queue->tag);
        break;
    case KINI_STORE_POP:
        finish_pop(self, store, queue);
        break;
    case KINI_STORE_RESIZE:
        kini_heap_finish_resize(self, store, queue->tag);
        break;
    case KINI_STORE_ACCOUNT:
        kini_joinable_finish(self, store);
        break;
    default:
        break;
    }
}

void kini_store_give_back(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block,
                          uint64_t word)
{
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    kini_ilock_lock(self, &store->lock);
    kini_returned_insert(self, queue, block, word);
    kini_ilock_unlock(self, &store->lock);
    kini_waitq_wake(self, &queue->getters, 1);
}

/* What they had is back by now, so they do not copy any more. */
static void forget_copies(struct kini_self *self, struct kini_queue_shm *queue, uint32_t slot)
{
    struct kin_arena *arena = self->arena;
    uint64_t op = KINI_OP(KINI_OP_COPY, kini_offset(arena, queue));
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &arena->threads[i];
        uint64_t state = kini_load_acq(&t->state);
        if ((state & 1) && KINI_THREAD_SLOT(state) == slot && kini_load(&t->op) == op)
            kini_store_sc(&t->op, 0);
    }
}

void kini_store_holder_died(struct kini_self *self, struct kini_queue_shm *queue, uint32_t slot)
{
    struct kini_store_shm *store = kini_store_of(self->arena, queue);
    /* Should somebody repair its journal just now: until that is done, its blocks are not swept. */
    kini_ilock_lock(self, &store->lock);
    kini_ilock_unlock(self, &store->lock);
    if (slot != self->slot)
        forget_copies(self, queue, slot);
    if (store->joinable)
        kini_joinable_holder_died(self, queue, slot);
    if ((kini_load_acq(&queue->flags) & KINI_QUEUE_DROP) &&
        kini_heap_is_good(self->arena, store, queue->tag))
        drop_all(self, queue);
    kini_waitq_nudge_all(self->arena, &queue->getters);
    kini_waitq_nudge_all(self->arena, &queue->putters);
    kini_waitq_nudge_all(self->arena, &store->joiners);
}
