/* SPDX-License-Identifier: MIT
 * The list of messages that come back from the dead, or from who gives up its handle. Short, so it
 * is walked. Journal and crash states: queue_layout.h. */
#include "arena/attach.h"
#include "arena/ilock.h"
#include "base/bits.h"
#include "chan/ring.h"
#include "chan/store.h"
#include "sync/wait.h"

#include <errno.h>
#include <string.h>

void kini_returned_init(struct kini_queue_shm *queue, uint64_t queue_off)
{
    kini_ilock_init(&queue->returned.lock, KINI_ILOCK_RETURNED);
    queue->returned.queue_off = queue_off;
}

/* --- the list, under the lock --------------------------------------------------------------- */

/* Returns the block behind which it belongs, 0: it is the first. */
static uint64_t find_place(struct kin_arena *arena, struct kini_queue_shm *queue, uint64_t block,
                           uint64_t *ret_behind)
{
    uint64_t before = 0, at = kini_load(&queue->returned.first);
    while (at != 0 && kini_message_goes_before(arena, at, block)) {
        before = at;
        at = kini_load(&kini_message_of(arena, at)->next);
    }
    *ret_behind = at;
    return before;
}

/* INSERT: any number of times. */
static void link_block(struct kin_arena *arena, struct kini_queue_shm *queue)
{
    struct kini_ilock_shm *lock = &queue->returned.lock;
    uint64_t block = kini_load(&lock->arg[0]), before = kini_load(&lock->arg[1]);
    kini_store(&kini_message_of(arena, block)->next, kini_load(&lock->arg[2]));
    kini_store(&kini_block_header(arena, block)->word,
               KINI_BLOCK_WORD(KINI_BLOCK_OWNED, 0, queue->tag));
    kini_compiler_barrier();
    kini_store(before != 0 ? &kini_message_of(arena, before)->next : &queue->returned.first, block);
}

static void count_again(struct kin_arena *arena, struct kini_queue_shm *queue)
{
    uint64_t count = 0;
    for (uint64_t at = kini_load(&queue->returned.first); at != 0;
         at = kini_load(&kini_message_of(arena, at)->next))
        count++;
    kini_store_sc(&queue->returned_count, count); /* before the look at who waits */
}

/* Each of them is a message, and there is an end. */
static bool is_list(const struct kin_arena *arena, struct kini_queue_shm *queue)
{
    uint64_t at = kini_load_acq(&queue->returned.first), most = kini_load(&queue->returned_count);
    for (uint64_t steps = 0; at != 0; steps++) {
        if (steps > most + KINI_UNIT_BYTES || !kini_message_is_whole(arena, at))
            return false;
        at = kini_load(&kini_message_of(arena, at)->next);
    }
    return true;
}

static bool may_be_message(const struct kin_arena *arena, uint64_t block)
{
    return block == 0 || kini_message_is_whole(arena, block);
}

/* Of a lock that may be anything: what its repair follows is there. */
static bool journal_is_good(struct kin_arena *arena, struct kini_ilock_shm *lock)
{
    struct kini_queue_shm *queue =
        kini_queue_at(arena, ((struct kini_returned_shm *)lock)->queue_off);
    return queue != NULL && &queue->returned.lock == lock && is_list(arena, queue) &&
           kini_message_is_whole(arena, kini_load(&lock->arg[0])) &&
           (kini_load(&lock->op) != KINI_RETURNED_INSERT ||
            (may_be_message(arena, kini_load(&lock->arg[1])) &&
             may_be_message(arena, kini_load(&lock->arg[2]))));
}

void kini_returned_repair(struct kini_self *self, struct kini_ilock_shm *lock)
{
    struct kini_returned_shm *returned = (struct kini_returned_shm *)lock;
    if (!journal_is_good(self->arena, lock))
        return; /* damaged */
    struct kini_queue_shm *queue = kini_at(self->arena, returned->queue_off);
    uint64_t block = kini_load(&lock->arg[0]);
    if (kini_load(&lock->op) == KINI_RETURNED_INSERT)
        link_block(self->arena, queue);
    if (kini_load(&lock->op) == KINI_RETURNED_REMOVE) {
        kini_store(&kini_block_header(self->arena, block)->word,
                   KINI_BLOCK_WORD(KINI_BLOCK_OWNED, 0, queue->tag));
        kini_compiler_barrier();
        kini_store(&returned->first, block); /* its next is what it was */
    }
    count_again(self->arena, queue);
}

/* --- in and out ----------------------------------------------------------------------------- */

/* Whoever repaired a REMOVE of the dead may have been quicker, and the block be another's by now.
 */
void kini_returned_insert(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block,
                          uint64_t word)
{
    struct kini_ilock_shm *lock = &queue->returned.lock;
    uint64_t behind;
    kini_ilock_lock(self, lock);
    if (kini_load_acq(&kini_block_header(self->arena, block)->word) == word &&
        kini_message_is_whole(self->arena, block) && is_list(self->arena, queue)) {
        kini_store(&lock->arg[0], block);
        kini_store(&lock->arg[1], find_place(self->arena, queue, block, &behind));
        kini_store(&lock->arg[2], behind);
        kini_journal_begin(lock, KINI_RETURNED_INSERT);
        link_block(self->arena, queue);
        count_again(self->arena, queue);
        kini_journal_end(lock);
    }
    kini_ilock_unlock(self, lock);
}

bool kini_returned_has(struct kini_self *self, struct kini_queue_shm *queue, uint64_t block)
{
    kini_ilock_lock(self, &queue->returned.lock);
    uint64_t at = kini_load(&queue->returned.first);
    while (at != 0 && at != block)
        at = kini_load(&kini_message_of(self->arena, at)->next);
    kini_ilock_unlock(self, &queue->returned.lock);
    return at != 0;
}

int kini_returned_remove(struct kini_self *self, struct kini_queue_shm *queue,
                         const struct kini_taker *taker, uint64_t *ret_block)
{
    struct kini_returned_shm *returned = &queue->returned;
    if (kini_load_acq(&queue->returned_count) == 0)
        return -EAGAIN;
    kini_ilock_lock(self, &returned->lock);
    uint64_t block = kini_load(&returned->first);
    struct kini_message_shm *message = block != 0 ? kini_message_of(self->arena, block) : NULL;
    int r = block == 0                                                         ? -EAGAIN
            : !taker->drop && !taker->keep && message->bytes > taker->capacity ? -EMSGSIZE
                                                                               : 0;
    if (r == 0) {
        kini_store(&returned->lock.arg[0], block);
        kini_journal_begin(&returned->lock, KINI_RETURNED_REMOVE);
        kini_store(&returned->first, kini_load(&message->next));
        kini_message_take(self, block, queue->tag);
        count_again(self->arena, queue);
        kini_journal_end(&returned->lock);
        *ret_block = block;
    }
    kini_ilock_unlock(self, &returned->lock);
    return r;
}

int64_t kini_returned_peek(struct kini_self *self, struct kini_queue_shm *queue, void *buffer,
                           uint64_t capacity)
{
    if (kini_load_acq(&queue->returned_count) == 0)
        return -EAGAIN;
    kini_ilock_lock(self, &queue->returned.lock);
    int64_t r = -EAGAIN;
    uint64_t block = kini_load(&queue->returned.first);
    if (block != 0) {
        uint64_t bytes = kini_message_of(self->arena, block)->bytes;
        if (capacity > 0)
            memcpy(buffer, kini_message_data(self->arena, block), kini_min(bytes, capacity));
        r = (int64_t)bytes;
    }
    kini_ilock_unlock(self, &queue->returned.lock);
    return r;
}

uint64_t kini_returned_bytes(struct kini_self *self, struct kini_queue_shm *queue)
{
    uint64_t sum = 0;
    if (kini_load_acq(&queue->returned_count) == 0)
        return 0;
    kini_ilock_lock(self, &queue->returned.lock);
    for (uint64_t at = kini_load(&queue->returned.first); at != 0;
         at = kini_load(&kini_message_of(self->arena, at)->next))
        sum += kini_message_of(self->arena, at)->bytes;
    kini_ilock_unlock(self, &queue->returned.lock);
    return sum;
}

/* The reaper's, and of who closes its handle: the object lives as long as this lasts. */
void kini_queue_give_back(struct kini_self *self, uint64_t offset, uint64_t block, uint64_t word)
{
    struct kini_queue_shm *queue = kini_queue_at(self->arena, offset);
    if (queue == NULL || !kini_queue_head_is_good(self->arena, queue))
        return; /* damaged */
    if (kini_queue_is_store(queue)) {
        kini_store_give_back(self, queue, block, word);
        return;
    }
    kini_returned_insert(self, queue, block, word);
    kini_waitq_wake(self, &queue->getters, 1);
}

/* Whether what was found in the arena is such a list. Others may be changing it, so that a walk
 * leads to what is a message no more: it is looked at again. */
bool kini_returned_is_good(const struct kin_arena *arena, struct kini_queue_shm *queue)
{
    bool good = false;
    for (int tries = 0; !good && tries < 20; tries++)
        good = is_list(arena, queue);
    return good && kini_ilock_is_good(arena, &queue->returned.lock, KINI_ILOCK_RETURNED) &&
           queue->returned.queue_off == kini_offset(arena, queue);
}

/* As with segments: each is ours before the list is cut, and that before the first is freed. The
 * lock: a reaper may have died while it put into the list what another, the last to have the queue,
 * had taken. */
void kini_returned_free(struct kini_self *self, struct kini_queue_shm *queue)
{
    struct kin_arena *arena = self->arena;
    if (!kini_ilock_is_good(arena, &queue->returned.lock, KINI_ILOCK_RETURNED))
        return; /* damaged */
    kini_ilock_lock(self, &queue->returned.lock);
    uint64_t first = is_list(arena, queue) ? kini_load(&queue->returned.first) : 0;
    for (uint64_t at = first; at != 0; at = kini_load(&kini_message_of(arena, at)->next))
        kini_block_adopt(self, at);
    kini_compiler_barrier();
    kini_store(&queue->returned.first, 0);
    kini_ilock_unlock(self, &queue->returned.lock);
    while (first != 0) {
        uint64_t next = kini_load(&kini_message_of(arena, first)->next);
        kini_block_put(self, first);
        first = next;
    }
}
