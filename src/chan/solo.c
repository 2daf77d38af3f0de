/* SPDX-License-Identifier: MIT
 * The path of a side of a ring that one thread has for itself: no locked instruction. Who owns it,
 * how it becomes everybody's, and crash states: queue_layout.h. */
#include "base/bits.h"
#include "chan/ring.h"
#include "sync/wait.h"

#include <errno.h>

void kini_solo_offer(struct kini_segment_shm *segment)
{
    kini_store(&segment->put_solo.at, kini_load(&segment->tail));
    kini_store(&segment->get_solo.at, kini_load(&segment->head));
    kini_store(&segment->put_solo.owner, KINI_SOLO_FREE);
    kini_store(&segment->get_solo.owner, KINI_SOLO_FREE);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Behind the fence: the owner does at most what its intent names. The position of that is its own,
 * whether it has done it or not. */
static uint64_t first_of_all(struct kini_self *self, struct kini_segment_shm *segment, bool puts)
{
    struct kini_solo_shm *solo = puts ? &segment->put_solo : &segment->get_solo;
    uint64_t owner = kini_load(&solo->owner) & KINI_OWNER_BITS;
    uint32_t index = KINI_OWNER_INDEX(owner);
    if (index == 0 || index >= kini_load_acq(&self->arena->super->threads_high))
        return kini_load_acq(&solo->at);
    struct kini_thread_shm *thread = &self->arena->threads[index];
    /* In this order: an intent that is over or of another thread comes with its `at`. Pairs with
     * the releases in kini_intent_end and kini_solo_put, _get. */
    uint64_t op = kini_load_acq(&thread->op), position = kini_load_acq(&thread->op_pos);
    uint64_t state = kini_load_acq(&thread->state), at = kini_load_acq(&solo->at);
    uint64_t intent = KINI_OP(puts ? KINI_OP_PUT : KINI_OP_GET, kini_offset(self->arena, segment));
    bool named = op == intent && position == at && (state & KINI_THREAD_USED) &&
                 kini_owner_word(state, index) == owner;
    return at + named;
}

/* Each step may be done by several, and again by who finds that somebody died behind it. */
void kini_solo_end_slow(struct kini_self *self, struct kini_segment_shm *segment, bool puts)
{
    struct kini_solo_shm *solo = puts ? &segment->put_solo : &segment->get_solo;
    uint64_t owner = kini_load_acq(&solo->owner), none = 0;
    while (owner != 0 && !(owner & KINI_SOLO_REVOKED))
        if (kini_cas_sc(&solo->owner, &owner, owner | KINI_SOLO_REVOKED))
            owner |= KINI_SOLO_REVOKED;
    if (owner == 0)
        return;
    if (kini_load_acq(&solo->handed) == 0) {
        kini_waitq_fence_or_wait(self); /* all its stores before its last look at `owner` */
        uint64_t from = first_of_all(self, segment, puts);
        kini_cas_sc(&solo->handed, &none, from);
    }
    /* The word of the general path says where the ring began, until somebody is here. */
    uint64_t base = kini_load(&segment->base);
    kini_cas_sc(puts ? &segment->tail : &segment->head, &base, kini_load_acq(&solo->handed));
    kini_cas_sc(&solo->owner, &owner, 0);
}

/* --- the owner -------------------------------------------------------------------------------- */

static inline bool is_ours(struct kini_self *self, struct kini_solo_shm *solo)
{
    uint64_t owner = kini_load(&solo->owner);
    if (kini_unlikely(kini_load(&self->arena->super->no_fence) != 0))
        return false;
    return kini_likely(owner == self->owner_word) ||
           (owner == KINI_SOLO_FREE && kini_cas_sc(&solo->owner, &owner, self->owner_word));
}

/* With the intent written. False: the side is everybody's, and position was not left to us. */
static inline bool may_go_on(struct kini_self *self, struct kini_segment_shm *segment, bool puts,
                             uint64_t position)
{
    struct kini_solo_shm *solo = puts ? &segment->put_solo : &segment->get_solo;
    /* kini_intend ends with a barrier for the compiler: enough, as who revokes fences us */
    if (kini_likely(kini_load(&solo->owner) == self->owner_word))
        return true;
    kini_solo_end(self, segment, puts);
    return kini_load_acq(&solo->handed) == position + 1;
}

int64_t kini_solo_put(struct kini_self *self, struct kin_queue *queue,
                      const struct kini_message *message)
{
    struct kini_queue_shm *shm = queue->shm;
    struct kini_segment_shm *segment = kini_segment_of(self->arena, kini_load_acq(&shm->put_at));
    struct kini_solo_shm *solo = &segment->put_solo;
    if (kini_unlikely((kini_load(&shm->flags) & KINI_QUEUE_SHUT) || !is_ours(self, solo)))
        return KINI_SOLO_NOT;
    uint64_t t = kini_load(&solo->at);
    struct kini_cell_shm *cell = kini_cell(segment, t);
    uint64_t seq = kini_load_acq(&cell->seq); /* pairs with the release in kini_solo_get */
    if (kini_unlikely(!kini_cell_is_free(seq, t, kini_load(&segment->base), segment->cap))) {
        bool full = kini_load(&solo->owner) == self->owner_word && kini_load(&shm->skips_made) == 0;
        return full ? -EAGAIN : KINI_SOLO_NOT;
    }
    kini_intend(self, KINI_OP(KINI_OP_PUT, kini_offset(self->arena, segment)), t);
    if (kini_unlikely(!may_go_on(self, segment, true, t))) {
        kini_intent_end(self);
        return KINI_SOLO_NOT;
    }
    kini_cell_prefetch(segment, t);
    kini_ring_fill(self, segment, cell, t, message);
    if (kini_unlikely(kini_load(&cell->seq) != seq))
        return kini_ring_fenced(self);
    kini_store_rel(&cell->seq, t + 1); /* pairs with the acquire in kini_solo_get, kini_ring_get */
    kini_store_rel(&solo->at, t + 1);
    kini_store(&self->shm->puts, kini_load(&self->shm->puts) + 1);
    kini_waitq_wake_calm(self, &shm->getters, &queue->quiet, 1);
    kini_intent_end(self);
    return 0;
}

/* The cell of the owner's position holds nothing that it takes here. */
static int64_t not_there(struct kini_self *self, struct kini_queue_shm *shm,
                         struct kini_segment_shm *segment, uint64_t h, uint64_t seq)
{
    bool empty = kini_cell_is_free(seq, h, kini_load(&segment->base), segment->cap) &&
                 kini_load(&segment->get_solo.owner) == self->owner_word &&
                 !(kini_load(&shm->flags) & KINI_QUEUE_SHUT);
    return empty ? -EAGAIN : KINI_SOLO_NOT;
}

int64_t kini_solo_get(struct kini_self *self, struct kin_queue *queue, struct kini_taker *taker)
{
    struct kini_queue_shm *shm = queue->shm;
    struct kini_segment_shm *segment = kini_segment_of(self->arena, kini_load_acq(&shm->get_at));
    struct kini_solo_shm *solo = &segment->get_solo;
    if (kini_unlikely((kini_load(&shm->flags) & KINI_QUEUE_DROP) || !is_ours(self, solo) ||
                      kini_has_returned(shm)))
        return KINI_SOLO_NOT;
    uint64_t h = kini_load(&solo->at);
    struct kini_cell_shm *cell = kini_cell(segment, h);
    uint64_t seq = kini_load_acq(&cell->seq); /* pairs with the release in kini_solo_put */
    if (seq != h + 1)
        return not_there(self, shm, segment, h, seq);
    uint64_t bytes = kini_load_acq(&cell->info) >> 1;
    if (kini_taker_refuses(taker, bytes)) /* it is the next while the side is ours */
        return kini_load(&solo->owner) == self->owner_word ? -EMSGSIZE : KINI_SOLO_NOT;
    /* Only now: what an intent names is left to us if the side is taken from us here. */
    kini_intend(self, KINI_OP(KINI_OP_GET, kini_offset(self->arena, segment)), h);
    if (kini_unlikely(!may_go_on(self, segment, false, h))) {
        kini_intent_end(self);
        return KINI_SOLO_NOT;
    }
    uint64_t block = kini_ring_finish_take(self, cell, h, shm->tag, taker);
    kini_compiler_barrier();
    if (kini_unlikely(kini_load(&cell->seq) != h + 1))
        return kini_ring_fenced(self);
    kini_store_rel(&cell->seq, h + segment->cap); /* pairs with the acquire in kini_solo_put */
    kini_store_rel(&solo->at, h + 1);
    kini_intent_end(self);
    if (kini_unlikely(kini_load(&shm->flags) & KINI_QUEUE_SHUT))
        kini_waitq_wake(self, &shm->getters, UINT32_MAX); /* it may be drained by this */
    kini_ring_end_take(self, block, taker);
    return (int64_t)bytes;
}
