/* SPDX-License-Identifier: MIT
 * Waking without a lock: all of it may run in a signal handler. Protocol: wait_layout.h. */
#include "sync/bed.h"
#include "sync/wait.h"

bool kini_waitq_has(struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t index)
{
    struct kini_thread_shm *t = &arena->threads[index];
    return index != 0 && index < KINI_THREADS_MAX && (kini_load_acq(&t->state) & 1) &&
           kini_load_sc(&t->wait_state) == KINI_WAIT_QUEUED &&
           kini_load(&t->wait_queue) == kini_offset(arena, queue);
}

/* False if there is no bell. */
static bool ring(struct kin_arena *arena, struct kini_thread_shm *t)
{
    uint64_t bell = kini_load(&t->bell);
    if (bell == 0)
        return false;
    if (kini_os_bell_ring(bell, &arena->bell_sender) < 0 && kini_load(&t->bell) == bell)
        kini_bed_unheard(arena, t);
    return true;
}

void kini_wake_sleeper(struct kin_arena *arena, struct kini_thread_shm *t)
{
    if (kini_unlikely(ring(arena, t)))
        return;
    kini_store(&t->woken_ns, (uint64_t)kin_now_ns()); /* from which it learns how long to spin */
    kini_store(&t->woken_cpu, kini_os_cpu() + 1);
    kini_os_futex_wake(&t->park, 1);
}

/* True if it had not been nudged before. */
static bool mark(struct kin_arena *arena, struct kini_thread_shm *t)
{
    if (kini_load_sc(&t->park) == KINI_PARK_WOKEN)
        return false;
    uint32_t was = kini_swap_sc(&t->park, KINI_PARK_WOKEN);
    if (was == KINI_PARK_ASLEEP)
        kini_wake_sleeper(arena, t);
    return was != KINI_PARK_WOKEN;
}

/* True if the thread, which was in the queue, has a new mark and is still there: then it will look
 * again, or pass the nudge on when it leaves. seq_cst: we mark, then look at its state; it leaves,
 * then looks at its mark (kini_waitq_forget). */
static bool nudge(struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t index)
{
    return mark(arena, &arena->threads[index]) && kini_waitq_has(arena, queue, index);
}

void kini_nudge_thread(struct kin_arena *arena, struct kini_thread_shm *t)
{
    kini_swap_sc(&t->park, KINI_PARK_WOKEN);
    kini_os_futex_wake(&t->park, 1);
    ring(arena, t);
}

static bool names(struct kini_thread_shm *t, uint64_t offset)
{
    uint32_t count = kini_load(&t->any_count);
    for (uint32_t i = 0; i < count && i < KINI_ANY_MAX; i++)
        if (kini_load(&t->any_queues[i]) == offset)
            return true;
    return false;
}

/* Those who wait for any of several only look: all of them may. */
static void nudge_any(struct kin_arena *arena, struct kini_waitq_shm *queue)
{
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    uint64_t offset = kini_offset(arena, queue);
    if (kini_load_sc(&queue->nany) == 0)
        return;
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &arena->threads[i];
        if ((kini_load_acq(&t->state) & 1) && kini_load_sc(&t->wait_state) == KINI_WAIT_ANY &&
            names(t, offset))
            mark(arena, t);
    }
}

/* The next in the thread records after a ticket, which receives that of the one found; 0: none. */
static uint32_t next_in_records(struct kin_arena *arena, struct kini_waitq_shm *queue,
                                uint64_t *ticket)
{
    uint32_t best = 0, high = kini_load_acq(&arena->super->threads_high);
    uint64_t best_ticket = UINT64_MAX;
    for (uint32_t i = 1; i < high; i++) {
        uint64_t its = kini_load(&arena->threads[i].wait_ticket);
        if (its > *ticket && its < best_ticket && kini_waitq_has(arena, queue, i)) {
            best = i;
            best_ticket = its;
        }
    }
    *ticket = best_ticket;
    return best;
}

static void nudge_in_records(struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t count)
{
    uint64_t ticket = 0;
    uint32_t index;
    while (count > 0 && (index = next_in_records(arena, queue, &ticket)) != 0)
        count -= nudge(arena, queue, index);
}

/* Where the order does not matter: all that wait since before the ticket. */
static void nudge_each(struct kin_arena *arena, struct kini_waitq_shm *queue, uint64_t last)
{
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++)
        if (kini_waitq_has(arena, queue, i) && kini_load(&arena->threads[i].wait_ticket) <= last)
            mark(arena, &arena->threads[i]);
}

/* A walk along the list is good if nobody changed it meanwhile. */
static bool unchanged(struct kini_waitq_shm *queue, uint32_t version)
{
    atomic_thread_fence(memory_order_acquire);
    return !(version & 1) && kini_load(&queue->version) == version;
}

void kini_waitq_nudge_slow(struct kin_arena *arena, struct kini_waitq_shm *queue, uint32_t count)
{
    /* Who enters later has seen the change by itself: to wake it again would only cost time. */
    uint64_t last = kini_load(&arena->super->wait_tickets);
    nudge_any(arena, queue);
    uint32_t version = kini_load_acq(&queue->version), index = kini_load_acq(&queue->head);
    for (uint32_t steps = 0; steps < KINI_THREADS_MAX && count > 0; steps++) {
        if (!kini_waitq_has(arena, queue, index))
            break;
        count -= nudge(arena, queue, index);
        index = kini_load_acq(&arena->threads[index].wait_next);
    }
    if (count == 0 || (index == 0 && unchanged(queue, version)))
        return;
    if (count >= KINI_THREADS_MAX)
        nudge_each(arena, queue, last);
    else
        nudge_in_records(arena, queue, count);
}

uint32_t kini_waitq_first(struct kin_arena *arena, struct kini_waitq_shm *queue)
{
    uint32_t version = kini_load_acq(&queue->version), index = kini_load_acq(&queue->head);
    if (kini_waitq_has(arena, queue, index) || (index == 0 && unchanged(queue, version)))
        return index;
    uint64_t ticket = 0;
    return next_in_records(arena, queue, &ticket);
}

void kini_waitq_nudge_first_slow(struct kin_arena *arena, struct kini_waitq_shm *queue)
{
    nudge_any(arena, queue);
    for (;;) {
        uint32_t index = kini_waitq_first(arena, queue);
        if (index == 0)
            return;
        mark(arena, &arena->threads[index]);
        if (kini_waitq_has(arena, queue, index)) /* with a mark, ours or another's */
            return;
    }
}

void kini_waitq_nudge_all(struct kin_arena *arena, struct kini_waitq_shm *queue)
{
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    uint64_t offset = kini_offset(arena, queue);
    if (kini_load_sc(&queue->nwait) == 0)
        return;
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &arena->threads[i];
        if (kini_waitq_has(arena, queue, i) ||
            ((kini_load_acq(&t->state) & 1) && kini_load_sc(&t->wait_state) == KINI_WAIT_ANY &&
             names(t, offset)))
            kini_nudge_thread(arena, t);
    }
}
