/* SPDX-License-Identifier: MIT
 * The wait queue: its list and the repair of it, in and out, choosing whom to wake; and who died in
 * it. Crash states: wait_layout.h. The loop of those who wait: wait.c; nudges: nudge.c. */
#include "arena/attach.h"
#include "arena/ilock.h"
#include "sync/wait.h"
#include "sync/watch.h"

#define NO_FENCE_NS 20000000 /* a processor's stores are visible long before */

enum { JOURNAL_CHANGE = 1, JOURNAL_MOVE = 2 };

void kini_waitq_init(struct kini_waitq_shm *queue, uint32_t flags)
{
    kini_ilock_init(&queue->lock, KINI_ILOCK_WAITQ);
    kini_store(&queue->head, 0);
    kini_store(&queue->tail, 0);
    kini_store(&queue->nwait, 0);
    kini_store(&queue->nany, 0);
    kini_store(&queue->version, 0);
    kini_store(&queue->calm, 0);
    queue->flags = flags;
}

bool kini_waitq_is_good(const struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t flags)
{
    return kini_ilock_is_good(arena, &queue->lock, KINI_ILOCK_WAITQ) && queue->flags == flags &&
           kini_load(&queue->head) < KINI_THREADS_MAX && kini_load(&queue->tail) < KINI_THREADS_MAX;
}

/* --- the list, under the lock and its journal ----------------------------------------------- */

static void begin_change(struct kini_waitq_shm *queue)
{
    kini_journal_begin(&queue->lock, JOURNAL_CHANGE);
    kini_store(&queue->version, kini_load(&queue->version) + 1);
    /* Readers without the lock must not see a change under an even version; pairs with the acquire
     * fence in unchanged(). */
    atomic_thread_fence(memory_order_release);
}

static void end_change(struct kini_waitq_shm *queue)
{
    kini_store_rel(&queue->version, kini_load(&queue->version) + 1);
    kini_journal_end(&queue->lock);
}

/* To the end of the list; nwait is the caller's affair, like below. */
static void append(struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t index)
{
    struct kini_thread_shm *t = &arena->threads[index];
    uint32_t last = kini_load(&queue->tail);
    kini_store(&t->wait_next, 0);
    kini_store(&t->wait_prev, last);
    kini_store_rel(last ? &arena->threads[last].wait_next : &queue->head, index);
    kini_store(&queue->tail, index);
}

static void unlink_thread(struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t index)
{
    struct kini_thread_shm *t = &arena->threads[index];
    uint32_t next = kini_load(&t->wait_next), prev = kini_load(&t->wait_prev);
    kini_store(prev ? &arena->threads[prev].wait_next : &queue->head, next);
    kini_store(next ? &arena->threads[next].wait_prev : &queue->tail, prev);
}

/* Upwards before the waiter's second look at its object (seq_cst), downwards after its state has
 * changed: never too small for a thread that is QUEUED, whoever dies in between. */
static void count_waiters(struct kini_waitq_shm *queue, uint32_t change)
{
    kini_store_sc(&queue->nwait, kini_load(&queue->nwait) + change);
}

/* How many threads that wait for any of several name the queue. */
static uint32_t count_any(struct kin_arena *arena, struct kini_waitq_shm *queue)
{
    uint64_t offset = kini_offset(arena, queue);
    uint32_t found = 0, high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &arena->threads[i];
        if (!(kini_load_acq(&t->state) & 1) || kini_load_acq(&t->wait_state) != KINI_WAIT_ANY)
            continue;
        uint32_t count = kini_load(&t->any_count);
        for (uint32_t j = 0; j < count && j < KINI_ANY_MAX; j++) {
            if (kini_load(&t->any_queues[j]) == offset) {
                found++;
                break;
            }
        }
    }
    return found;
}

static void recount_any(struct kini_self *self, struct kini_waitq_shm *queue)
{
    kini_ilock_lock(self, &queue->lock);
    begin_change(queue);
    uint32_t before = kini_load(&queue->nany), now = count_any(self->arena, queue);
    kini_store(&queue->nany, now);
    kini_store_sc(&queue->nwait, kini_load(&queue->nwait) - before + now);
    end_change(queue);
    kini_ilock_unlock(self, &queue->lock);
}

/* Whoever moved a waiter to another queue died: if the waiter is there, it has the wake. */
static void finish_move(struct kin_arena *arena, struct kini_waitq_shm *from)
{
    uint64_t index = kini_load(&from->lock.arg[0]), to = kini_load(&from->lock.arg[1]);
    if (index == 0 || index >= KINI_THREADS_MAX)
        return;
    struct kini_thread_shm *t = &arena->threads[index];
    if (kini_load_acq(&t->wait_queue) == to && kini_load(&t->wait_state) == KINI_WAIT_QUEUED)
        kini_store(&t->wait_token, kini_offset(arena, from));
}

static void rebuild(struct kin_arena *arena, struct kini_waitq_shm *queue)
{
    uint64_t offset = kini_offset(arena, queue), done = 0;
    uint32_t high = kini_load_acq(&arena->super->threads_high), count = 0;
    kini_store(&queue->head, 0);
    kini_store(&queue->tail, 0);
    for (;; count++) {
        uint32_t best = 0;
        uint64_t best_ticket = UINT64_MAX;
        for (uint32_t i = 1; i < high; i++) {
            struct kini_thread_shm *t = &arena->threads[i];
            uint64_t ticket = kini_load(&t->wait_ticket);
            if ((kini_load_acq(&t->state) & 1) && kini_load(&t->wait_queue) == offset &&
                kini_load(&t->wait_state) == KINI_WAIT_QUEUED && ticket > done &&
                ticket < best_ticket) {
                best = i;
                best_ticket = ticket;
            }
        }
        if (best == 0)
            break;
        append(arena, queue, best);
        done = best_ticket;
    }
    kini_store(&queue->nany, count_any(arena, queue));
    /* Only now: wakers read it without the lock, and it must not be too small on the way. */
    kini_store_sc(&queue->nwait, count + kini_load(&queue->nany));
}

/* Rebuild the list from the thread records, oldest ticket first. */
void kini_waitq_repair(struct kini_self *self, struct kini_ilock_shm *lock)
{
    struct kini_waitq_shm *queue = (struct kini_waitq_shm *)lock;
    if (kini_load(&lock->op) == JOURNAL_MOVE)
        finish_move(self->arena, queue);
    kini_store(&queue->version, kini_load(&queue->version) | 1);
    atomic_thread_fence(memory_order_release); /* as in begin_change */
    rebuild(self->arena, queue);
    kini_store_rel(&queue->version, kini_load(&queue->version) + 1);
}

/* --- in and out ----------------------------------------------------------------------------- */

void kini_waitq_fence(struct kini_self *self)
{
    if (kini_os_fence() < 0)
        kini_store_sc(&self->arena->super->no_fence, 1);
}

void kini_waitq_fence_or_wait(struct kini_self *self)
{
    if (kini_os_fence() == 0)
        return;
    kini_a32 never = 0;
    kini_store_sc(&self->arena->super->no_fence, 1);
    kini_os_futex_wait(&never, 0, kin_now_ns() + NO_FENCE_NS);
}

/* The waker leaves its barriers out: no more. Pairs with kini_waitq_wake_calm. */
static void uncalm(struct kini_self *self, struct kini_waitq_shm *queue)
{
    uint32_t ours = KINI_WAITQ_UNCALM;
    kini_store_sc(&queue->calm, KINI_WAITQ_UNCALM);
    kini_waitq_fence_or_wait(self);
    kini_cas_sc(&queue->calm, &ours, 0);
}

void kini_waitq_enter(struct kini_self *self, struct kini_waitq_shm *queue)
{
    struct kini_thread_shm *me = self->shm;
    if (kini_unlikely(kini_load(&me->wait_state) != KINI_WAIT_NONE))
        kini_wait_repair(self, me); /* a wait that was left half way */
    kini_store(&me->park, KINI_PARK_AWAKE);
    kini_ilock_lock(self, &queue->lock);
    begin_change(queue);
    kini_store(&me->wait_ticket, kini_add(&self->arena->super->wait_tickets, 1) + 1);
    kini_store_rel(&me->wait_state, KINI_WAIT_QUEUED);
    kini_store_rel(&me->wait_queue, kini_offset(self->arena, queue));
    append(self->arena, queue, self->index);
    count_waiters(queue, 1);
    end_change(queue);
    kini_ilock_unlock(self, &queue->lock);
    if (queue->flags & KINI_WAITQ_FENCE)
        kini_waitq_fence(self);
    if (kini_load_sc(&queue->calm) != 0) /* seq_cst: after nwait */
        uncalm(self, queue);
}

bool kini_waitq_is_told(struct kini_self *self, struct kini_waitq_shm *queue)
{
    return kini_load_acq(&self->shm->wait_state) == KINI_WAIT_CHOSEN ||
           kini_load_acq(&self->shm->wait_queue) != kini_offset(self->arena, queue);
}

bool kini_waitq_withdraw(struct kini_self *self, struct kini_waitq_shm *queue)
{
    struct kini_thread_shm *me = self->shm;
    if (kini_waitq_is_told(self, queue))
        return true;
    kini_ilock_lock(self, &queue->lock);
    bool chosen = kini_waitq_is_told(self, queue);
    if (!chosen) {
        begin_change(queue);
        unlink_thread(self->arena, queue, self->index);
        kini_store(&me->wait_state, KINI_WAIT_NONE);
        kini_store(&me->wait_queue, 0);
        count_waiters(queue, UINT32_MAX);
        end_change(queue);
    }
    kini_ilock_unlock(self, &queue->lock);
    return chosen;
}

bool kini_waitq_forget(struct kini_self *self)
{
    struct kini_thread_shm *me = self->shm;
    kini_store(&me->wait_queue, 0);
    kini_store_sc(&me->wait_state, KINI_WAIT_NONE);
    /* seq_cst: after the state; pairs with nudge() */
    return kini_swap_sc(&me->park, KINI_PARK_AWAKE) == KINI_PARK_WOKEN;
}

bool kini_waitq_enter_any(struct kini_self *self)
{
    struct kini_thread_shm *me = self->shm;
    uint32_t flags = 0;
    kini_store(&me->park, KINI_PARK_AWAKE);
    kini_store_rel(&me->wait_state, KINI_WAIT_ANY);
    for (uint32_t i = 0; i < kini_load(&me->any_count); i++) {
        struct kini_waitq_shm *queue = kini_at(self->arena, kini_load(&me->any_queues[i]));
        recount_any(self, queue);
        if (kini_load_sc(&queue->calm) != 0) /* as above */
            uncalm(self, queue);
        flags |= queue->flags;
    }
    if (flags & KINI_WAITQ_FENCE)
        kini_waitq_fence(self);
    return flags & KINI_WAITQ_FENCE;
}

/* The queue of a dead thread, unless its record makes no sense. */
static struct kini_waitq_shm *queue_at(struct kin_arena *arena, uint64_t offset)
{
    if (offset == 0 || !kini_range_is_good(arena, offset, sizeof(struct kini_waitq_shm)))
        return NULL;
    struct kini_waitq_shm *queue = kini_at(arena, offset);
    return kini_waitq_is_good(arena, queue, queue->flags) ? queue : NULL;
}

/* Also for a dead thread. */
static void leave_any(struct kini_self *self, struct kini_thread_shm *t)
{
    if (kini_load(&t->wait_state) == KINI_WAIT_ANY)
        kini_store_sc(&t->wait_state, KINI_WAIT_NONE);
    for (uint32_t i = 0; i < kini_load(&t->any_count) && i < KINI_ANY_MAX; i++) {
        struct kini_waitq_shm *queue = queue_at(self->arena, kini_load(&t->any_queues[i]));
        if (queue != NULL)
            recount_any(self, queue);
    }
    kini_store(&t->any_count, 0);
}

void kini_waitq_leave_any(struct kini_self *self)
{
    leave_any(self, self->shm);
}

/* --- waking --------------------------------------------------------------------------------- */

static void unpark(struct kin_arena *arena, struct kini_thread_shm *t)
{
    if (kini_swap_sc(&t->park, KINI_PARK_WOKEN) == KINI_PARK_ASLEEP)
        kini_wake_sleeper(arena, t);
}

/* The first of a queue, which sleeps, to the end of another. Both locks are held, that of from
 * first. Killed in between, both lists are rebuilt: its wait_queue says to which it belongs. */
static void move(struct kini_self *self, struct kini_waitq_shm *from, struct kini_waitq_shm *to,
                 uint32_t index)
{
    struct kin_arena *arena = self->arena;
    struct kini_thread_shm *t = &arena->threads[index];
    begin_change(from);
    kini_store(&from->lock.arg[0], index);
    kini_store(&from->lock.arg[1], kini_offset(arena, to));
    kini_journal_begin(&from->lock, JOURNAL_MOVE);
    begin_change(to);
    count_waiters(to, 1);
    unlink_thread(arena, from, index);
    kini_store(&t->wait_since_ns, (uint64_t)kin_now_ns());
    kini_store(&t->wait_ticket, kini_add(&arena->super->wait_tickets, 1) + 1);
    kini_store_rel(&t->wait_queue, kini_offset(arena, to)); /* from here on it is told */
    kini_compiler_barrier();
    kini_store(&t->wait_token, kini_offset(arena, from));
    append(arena, to, index);
    count_waiters(from, UINT32_MAX);
    end_change(to);
    end_change(from);
}

/* The first of from, if it sleeps and has waited since before the ticket, to the end of to. */
static bool move_one(struct kini_self *self, struct kini_waitq_shm *from, struct kini_waitq_shm *to,
                     uint64_t ticket)
{
    struct kini_thread_shm *threads = self->arena->threads;
    kini_ilock_lock(self, &from->lock);
    uint32_t index = kini_load(&from->head);
    bool moves = index != 0 && kini_load(&threads[index].wait_ticket) <= ticket &&
                 kini_load(&threads[index].park) == KINI_PARK_ASLEEP;
    if (moves) {
        kini_ilock_lock(self, &to->lock);
        move(self, from, to, index);
        kini_ilock_unlock(self, &to->lock);
    }
    kini_ilock_unlock(self, &from->lock);
    return moves;
}

/* Only one that has waited since before the ticket. */
static bool wake_one(struct kini_self *self, struct kini_waitq_shm *queue, uint64_t ticket)
{
    struct kini_thread_shm *me = self->shm;
    kini_ilock_lock(self, &queue->lock);
    uint32_t index = kini_load(&queue->head);
    if (index != 0 && kini_load(&self->arena->threads[index].wait_ticket) > ticket)
        index = 0;
    if (index != 0) {
        kini_store(&me->wake_target, index);
        begin_change(queue);
        unlink_thread(self->arena, queue, index);
        /* rel pairs with the acquire in kini_waitq_withdraw and in kini_wait_sleep */
        kini_store_rel(&self->arena->threads[index].wait_state, KINI_WAIT_CHOSEN);
        count_waiters(queue, UINT32_MAX);
        end_change(queue);
    }
    kini_ilock_unlock(self, &queue->lock);
    if (index == 0)
        return false;
    unpark(self->arena, &self->arena->threads[index]);
    kini_compiler_barrier();
    kini_store(&me->wake_target, 0);
    kini_store(&me->wakes, kini_load(&me->wakes) + 1);
    return true;
}

uint32_t kini_waitq_wake_slow(struct kini_self *self, struct kini_waitq_shm *queue, uint32_t count)
{
    /* Those who find nothing and come back are not woken a second time. */
    uint64_t ticket = kini_load(&self->arena->super->wait_tickets);
    uint32_t woken = 0;
    count =
        count < KINI_THREADS_MAX ? count : KINI_THREADS_MAX; /* a list with a circle ends, too */
    while (woken < count && wake_one(self, queue, ticket))
        woken++;
    if (kini_unlikely(kini_load_sc(&queue->nany) != 0))
        kini_waitq_nudge_slow(self->arena, queue, 0);
    return woken;
}

uint32_t kini_waitq_pass(struct kini_self *self, struct kini_waitq_shm *from,
                         struct kini_waitq_shm *to, uint32_t count)
{
    uint64_t ticket = kini_load(&self->arena->super->wait_tickets);
    uint32_t told = 0;
    count = count < KINI_THREADS_MAX ? count : KINI_THREADS_MAX;
    while (told < count && (move_one(self, from, to, ticket) || wake_one(self, from, ticket)))
        told++;
    return told;
}

static void repair_queued(struct kini_self *self, struct kini_thread_shm *dead,
                          struct kini_waitq_shm *queue)
{
    kini_ilock_lock(self, &queue->lock);
    if (kini_load(&dead->wait_state) == KINI_WAIT_CHOSEN) {
        /* Passed on before it is forgotten: should we die in between, it is passed on twice. */
        kini_ilock_unlock(self, &queue->lock);
        kini_waitq_wake(self, queue, 1);
        kini_ilock_lock(self, &queue->lock);
    }
    bool queued = kini_load(&dead->wait_state) == KINI_WAIT_QUEUED;
    begin_change(queue);
    if (queued)
        unlink_thread(self->arena, queue, (uint32_t)(dead - self->arena->threads));
    kini_store_sc(&dead->wait_state, KINI_WAIT_NONE);
    kini_store(&dead->wait_queue, 0);
    if (queued)
        count_waiters(queue, UINT32_MAX);
    end_change(queue);
    kini_ilock_unlock(self, &queue->lock);
    kini_waitq_nudge(self->arena, queue, 1); /* it may have been nudged */
}

void kini_wait_repair(struct kini_self *self, struct kini_thread_shm *dead)
{
    struct kin_arena *arena = self->arena;
    uint32_t target = (uint32_t)kini_load(&dead->wake_target);
    if (target != 0 && target < KINI_THREADS_MAX &&
        kini_load_acq(&arena->threads[target].wait_state) == KINI_WAIT_CHOSEN)
        kini_nudge_thread(arena, &arena->threads[target]);
    kini_store(&dead->wake_target, 0);

    struct kini_waitq_shm *token = queue_at(arena, kini_load(&dead->wait_token));
    if (token != NULL) {
        /* The token stands for the wake: what the dead was about to do. */
        if (kini_load(&dead->wait_state) == KINI_WAIT_CHOSEN)
            kini_store(&dead->wait_queue, 0);
        kini_waitq_wake(self, token, 1);
    }
    kini_store(&dead->wait_token, 0);

    if (kini_load(&dead->wait_state) == KINI_WAIT_ANY || kini_load(&dead->any_count) != 0)
        leave_any(self, dead);
    struct kini_waitq_shm *queue = queue_at(arena, kini_load(&dead->wait_queue));
    if (queue != NULL)
        repair_queued(self, dead, queue);
    kini_watch_died(arena, (uint32_t)(dead - arena->threads));
}
