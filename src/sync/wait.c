/* SPDX-License-Identifier: MIT
 * The wait queue and the one wait loop under everything that blocks. Crash states: wait_layout.h.
 *
 * Exact wake-one: a waker takes the longest waiter off the list and wakes that thread's own futex.
 * The woken one stays CHOSEN until it has tried, so that if it dies first the wake is passed on. */
#include "sync/wait.h"
#include "arena/block.h"
#include "arena/ilock.h"
#include "sync/watch.h"

#include <errno.h>

#define SPIN_MOST  256u /* attempts with a pause between: some microseconds */
#define SPIN_LEAST 8u

void kini_waitq_init(struct kini_waitq_shm *queue)
{
    kini_ilock_init(&queue->lock, KINI_ILOCK_WAITQ);
    kini_store(&queue->head, 0);
    kini_store(&queue->tail, 0);
    kini_store(&queue->nwait, 0);
}

/* --- the list, under the lock and its journal ----------------------------------------------- */

static void append(struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t index)
{
    struct kini_thread_shm *t = &arena->threads[index];
    uint32_t last = kini_load(&queue->tail);
    kini_store(&t->wait_next, 0);
    kini_store(&t->wait_prev, last);
    kini_store(last ? &arena->threads[last].wait_next : &queue->head, index);
    kini_store(&queue->tail, index);
    /* seq_cst: before the waiter's second look at its object */
    kini_store_sc(&queue->nwait, kini_load(&queue->nwait) + 1);
}

static void unlink_thread(struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t index)
{
    struct kini_thread_shm *t = &arena->threads[index];
    uint32_t next = kini_load(&t->wait_next), prev = kini_load(&t->wait_prev);
    kini_store(prev ? &arena->threads[prev].wait_next : &queue->head, next);
    kini_store(next ? &arena->threads[next].wait_prev : &queue->tail, prev);
    kini_store(&queue->nwait, kini_load(&queue->nwait) - 1);
}

/* Rebuild the list from the thread records, oldest ticket first. */
void kini_waitq_repair(struct kini_self *self, struct kini_ilock_shm *lock)
{
    struct kin_arena *arena = self->arena;
    struct kini_waitq_shm *queue = (struct kini_waitq_shm *)lock;
    uint64_t offset = kini_offset(arena, queue), done = 0;
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    kini_store(&queue->head, 0);
    kini_store(&queue->tail, 0);
    kini_store(&queue->nwait, 0);
    for (;;) {
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
            return;
        append(arena, queue, best);
        done = best_ticket;
    }
}

static void enter(struct kini_self *self, struct kini_waitq_shm *queue)
{
    struct kini_thread_shm *me = self->shm;
    if (kini_unlikely(kini_load(&me->wait_state) != KINI_WAIT_NONE))
        kini_wait_repair(self, me); /* a wait that was left half way */
    kini_store(&me->park, 0);
    kini_store(&me->wait_since_ns, (uint64_t)kin_now_ns());
    kini_ilock_lock(self, &queue->lock);
    kini_journal_begin(&queue->lock, 1);
    kini_store(&me->wait_ticket, kini_add(&self->arena->super->wait_tickets, 1) + 1);
    kini_store(&me->wait_state, KINI_WAIT_QUEUED);
    kini_store(&me->wait_queue, kini_offset(self->arena, queue));
    append(self->arena, queue, self->index);
    kini_journal_end(&queue->lock);
    kini_ilock_unlock(self, &queue->lock);
}

/* Off the list. True if a waker had chosen us. */
static bool leave(struct kini_self *self, struct kini_waitq_shm *queue)
{
    struct kini_thread_shm *me = self->shm;
    bool chosen = kini_load_acq(&me->wait_state) == KINI_WAIT_CHOSEN;
    if (!chosen) {
        kini_ilock_lock(self, &queue->lock);
        chosen = kini_load(&me->wait_state) == KINI_WAIT_CHOSEN;
        if (!chosen) {
            kini_journal_begin(&queue->lock, 1);
            unlink_thread(self->arena, queue, self->index);
            kini_store(&me->wait_state, KINI_WAIT_NONE);
            kini_store(&me->wait_queue, 0);
            kini_journal_end(&queue->lock);
        }
        kini_ilock_unlock(self, &queue->lock);
    }
    kini_store(&me->wait_queue, 0);
    kini_store(&me->wait_state, KINI_WAIT_NONE);
    return chosen;
}

/* --- waking --------------------------------------------------------------------------------- */

static void unpark(struct kini_thread_shm *t)
{
    kini_store_sc(&t->park, 1);
    kini_os_futex_wake(&t->park, 1);
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
        kini_journal_begin(&queue->lock, 1);
        unlink_thread(self->arena, queue, index);
        /* rel pairs with the acquire in leave() and in sleep_once() */
        kini_store_rel(&self->arena->threads[index].wait_state, KINI_WAIT_CHOSEN);
        kini_journal_end(&queue->lock);
    }
    kini_ilock_unlock(self, &queue->lock);
    if (index == 0)
        return false;
    unpark(&self->arena->threads[index]);
    kini_compiler_barrier();
    kini_store(&me->wake_target, 0);
    kini_store(&me->wakes, kini_load(&me->wakes) + 1);
    return true;
}

void kini_waitq_wake_slow(struct kini_self *self, struct kini_waitq_shm *queue, uint32_t count)
{
    /* Those who find nothing and come back are not woken a second time. */
    uint64_t ticket = kini_load(&self->arena->super->wait_tickets);
    while (count-- > 0 && wake_one(self, queue, ticket))
        ;
}

void kini_wait_repair(struct kini_self *self, struct kini_thread_shm *dead)
{
    struct kin_arena *arena = self->arena;
    uint32_t target = (uint32_t)kini_load(&dead->wake_target);
    if (target != 0 && target < KINI_THREADS_MAX &&
        kini_load_acq(&arena->threads[target].wait_state) == KINI_WAIT_CHOSEN)
        unpark(&arena->threads[target]);
    kini_store(&dead->wake_target, 0);

    uint64_t offset = kini_load(&dead->wait_queue);
    if (offset == 0 || offset + sizeof(struct kini_waitq_shm) > arena->super->reserve_bytes)
        return;
    struct kini_waitq_shm *queue = kini_at(arena, offset);
    kini_ilock_lock(self, &queue->lock);
    if (kini_load(&dead->wait_state) == KINI_WAIT_CHOSEN) {
        /* Passed on before it is forgotten: should we die in between, it is passed on twice. */
        kini_ilock_unlock(self, &queue->lock);
        kini_waitq_wake(self, queue, 1);
        kini_ilock_lock(self, &queue->lock);
    }
    kini_journal_begin(&queue->lock, 1);
    if (kini_load(&dead->wait_state) == KINI_WAIT_QUEUED)
        unlink_thread(arena, queue, (uint32_t)(dead - arena->threads));
    kini_store(&dead->wait_state, KINI_WAIT_NONE);
    kini_store(&dead->wait_queue, 0);
    kini_journal_end(&queue->lock);
    kini_ilock_unlock(self, &queue->lock);
}

/* --- the loop ------------------------------------------------------------------------------- */

/* Spinning pays when the other side is running and quick; it burns the other side's time when there
 * is no second processor. The budget follows what it brought lately. */
static int64_t spin(struct kini_self *self, kini_attempt_fn attempt, void *arg)
{
    static _Atomic uint32_t cpus;
    uint32_t count = kini_load(&cpus);
    if (count == 0) {
        count = kini_os_cpu_count();
        kini_store(&cpus, count);
    }
    if (count == 1)
        return -EAGAIN;
    uint32_t budget = self->spin < SPIN_LEAST ? SPIN_LEAST : self->spin;
    for (uint32_t i = 0; i < budget; i++) {
        kini_pause();
        int64_t r = attempt(self, arg);
        if (r != -EAGAIN) {
            self->spin = budget + (SPIN_MOST - budget) / 4;
            return r;
        }
    }
    self->spin = budget - budget / 8;
    return -EAGAIN;
}

/* Sleep until chosen, the deadline or the end of a slice. True when the deadline has passed. */
static bool sleep_once(struct kini_self *self, kin_deadline deadline)
{
    struct kini_thread_shm *me = self->shm;
    int64_t now = kin_now_ns();
    kini_watch_if_overdue(self, now);
    kin_deadline slice = kini_watch_slice(self, now);
    bool last = deadline <= slice;
    /* A waker of an earlier wait may be late with its mark: only one that is made after this
     * counts, and one made before it shows in wait_state. */
    kini_swap_sc(&me->park, 0);
    if (kini_load_sc(&me->wait_state) == KINI_WAIT_CHOSEN)
        return false;
    int r = kini_os_futex_wait(&me->park, 0, last ? deadline : slice);
    if (kini_load_acq(&me->wait_state) == KINI_WAIT_CHOSEN)
        return false;
    if (r != -ETIMEDOUT)
        return kin_now_ns() >= deadline;
    kini_watch_look(self);
    if (self->idle_slices++ == 0)
        kini_block_caches_trim(self); /* idle: what we do not need goes back */
    return last;
}

/* Until attempt answers: entered, and again after each slice or wake. */
static int64_t sleep_until(struct kini_self *self, struct kini_waitq_shm *queue,
                           kin_deadline deadline, kini_attempt_fn attempt, void *arg)
{
    for (;;) {
        enter(self, queue);
        /* Whoever changed the object before it could see us has not woken us: look again. */
        int64_t r = attempt(self, arg);
        bool timed_out = false;
        while (r == -EAGAIN && !timed_out &&
               kini_load_acq(&self->shm->wait_state) != KINI_WAIT_CHOSEN) {
            timed_out = sleep_once(self, deadline);
            if (kini_load_acq(&self->shm->wait_state) != KINI_WAIT_CHOSEN)
                r = attempt(self, arg);
        }
        /* Served before anybody chose us: a wake that came meanwhile was meant for another item. */
        bool served_early = r != -EAGAIN;
        if (!served_early && kini_load_acq(&self->shm->wait_state) == KINI_WAIT_CHOSEN)
            r = attempt(self, arg); /* still CHOSEN: if we die now the wake is passed on */
        if (leave(self, queue) && (served_early || timed_out || (r != -EAGAIN && r < 0)))
            kini_waitq_wake(self, queue, 1);
        if (r != -EAGAIN)
            return r;
        if (timed_out)
            return -ETIMEDOUT;
    }
}

int64_t kini_wait_for(struct kini_self *self, struct kini_waitq_shm *queue, kin_deadline deadline,
                      kini_attempt_fn attempt, void *arg)
{
    int64_t r = attempt(self, arg);
    if (r != -EAGAIN)
        return r;
    if (deadline <= KIN_NOW)
        return -ETIMEDOUT;
    r = spin(self, attempt, arg);
    if (++self->spins % 256 == 0)
        kini_watch_if_overdue(self, kin_now_ns());
    if (r != -EAGAIN)
        return r;
    int vforked = kini_refuse_vfork(self);
    if (vforked < 0)
        return vforked;
    kini_store(&self->shm->waits, kini_load(&self->shm->waits) + 1);
    self->idle_slices = 0;
    r = sleep_until(self, queue, deadline, attempt, arg);
    kini_watch_leave(self);
    return r;
}
