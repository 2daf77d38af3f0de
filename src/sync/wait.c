/* SPDX-License-Identifier: MIT
 * The one wait loop under everything that blocks: spin a little, enter the queue, sleep, look
 * again. Every thread sleeps on a futex of its own, in its record. Who wakes it: wait_layout.h. */
#include "sync/wait.h"
#include "arena/block.h"
#include "sync/bed.h"
#include "sync/watch.h"

#include <errno.h>
#include <kin/wait.h>
#include <sched.h>

#define SPIN_MOST     256u /* pauses between attempts: some microseconds */
#define SPIN_LEAST    8u
#define SPIN_CLOSE    256u
#define SPIN_APART    8u
#define SPIN_PROBE    4096u
#define PROBE_EACH    64u
#define PROBE_TIMES   3u
#define SPIN_WORTH_NS 5000
#define YIELDS        2
#define YIELD_LONG_NS 200000
#define SHY_LEAST     4096u
#define SHY_MOST      (1u << 20)

enum { SAME = 1, OTHER };

static uint32_t cpu_count(void)
{
    static _Atomic uint32_t cpus;
    uint32_t count = kini_load(&cpus);
    if (count == 0) {
        count = kini_os_cpu_count();
        kini_store(&cpus, count);
    }
    return count;
}

/* Where who woke us last runs: on another processor than we, on the same one; 0: nobody did. */
static int waker_is(struct kini_self *self)
{
    uint32_t cpu = kini_load(&self->shm->woken_cpu);
    return cpu == 0 ? 0 : cpu == kini_os_cpu() + 1 ? SAME : OTHER;
}

/* Spinning pays when the other side is running and quick; it burns the other side's time when there
 * is no second processor. The budget follows what it brought lately. But where both sides sleep,
 * the time until the other one is awake is longer than any usual budget, and both would go on like
 * that for ever: so now and then one spins for as long as a wake takes, and twice more if that
 * helped. By then both are awake, or it is not worth it. */
int64_t kini_wait_spin(struct kini_self *self, kini_attempt_fn attempt, void *arg, bool may_probe)
{
    if (cpu_count() == 1 && waker_is(self) != OTHER)
        return -EAGAIN;
    uint32_t budget = self->spin < SPIN_LEAST ? SPIN_LEAST : self->spin;
    if (may_probe && self->probing == 0 && ++self->waits % PROBE_EACH == 0)
        self->probing = PROBE_TIMES;
    bool probe = may_probe && self->probing > 0;
    uint32_t limit = probe ? SPIN_PROBE : budget;
    for (uint32_t i = 0; i < limit;) {
        /* Less and less often: each look takes the line from whoever works with it. */
        uint32_t pauses = i < SPIN_CLOSE ? 1 : SPIN_APART;
        for (uint32_t end = i + pauses; i < end; i++)
            kini_pause();
        int64_t r = attempt(self, arg);
        if (r != -EAGAIN) {
            self->spin = i <= SPIN_MOST ? budget + (SPIN_MOST - budget) / 4 : budget;
            self->probing = probe && i > SPIN_MOST ? self->probing - 1 : 0;
            return r;
        }
    }
    self->probing = 0;
    self->spin = budget - budget / 8;
    return -EAGAIN;
}

/* Not at once when the slice ends: what is waited for may have come, and a look can take long. Only
 * now it is asked whether this is a child of vfork, which costs a system call. */
static int after_slice(struct kini_self *self)
{
    if (self->slice_ended == 0)
        return 0;
    self->slice_ended = 0;
    int r = kini_refuse_vfork(self);
    if (r < 0)
        return r;
    kini_watch_look(self);
    self->idle_slices++;
    /* Idle: what we do not need goes back. Not sooner: a message of 100 MB in fresh memory takes
     * longer than a slice, and would find its memory fresh each time. */
    if (kini_watch_is_long(self, kin_now_ns()))
        kini_block_caches_trim(self);
    return 0;
}

static __thread int interruptible __attribute__((tls_model("initial-exec")));

int kin_wait_interruptible(int on)
{
    int was = interruptible;
    interruptible = on != 0;
    return was;
}

bool kini_wait_is_over(int slept, kin_deadline deadline)
{
    return slept == -EINTR && interruptible && deadline != KIN_NEVER;
}

/* We were woken so soon after we lay down that spinning would have done. */
static void learn_from_sleep(struct kini_self *self, int64_t since_ns)
{
    int64_t woken_ns = (int64_t)kini_load(&self->shm->woken_ns);
    if (woken_ns > since_ns && woken_ns - since_ns < SPIN_WORTH_NS)
        self->spin = SPIN_MOST;
}

bool kini_wait_sleep(struct kini_self *self, kin_deadline deadline)
{
    struct kini_thread_shm *me = self->shm;
    if ((self->refused = after_slice(self)) < 0)
        return true;
    int64_t now = kin_now_ns();
    kini_watch_if_overdue(self, now);
    kin_deadline slice = kini_watch_slice(self, now);
    bool last = deadline <= slice;
    int r = 0;
    /* A wake since the last look counts; one that was meant for an earlier wait does no harm. Not
     * an exchange: a mark must stay until the look that answers it, or the next waker marks us a
     * second time for what are two wakes. */
    uint32_t awake = KINI_PARK_AWAKE;
    if (kini_cas_sc(&me->park, &awake, KINI_PARK_ASLEEP) &&
        kini_load_sc(&me->wait_state) != KINI_WAIT_CHOSEN)
        r = self->bed != NULL
                ? kini_bed_sleep(self, last ? deadline : slice)
                : kini_os_futex_wait(&me->park, KINI_PARK_ASLEEP, last ? deadline : slice);
    kini_swap_sc(&me->park, KINI_PARK_AWAKE); /* before the look that answers the wake */
    if (kini_load_acq(&me->wait_state) == KINI_WAIT_CHOSEN)
        return false;
    if (r != -ETIMEDOUT) {
        learn_from_sleep(self, now);
        if (kini_wait_is_over(r, deadline))
            return self->interrupted = true;
        return deadline != KIN_NEVER && kin_now_ns() >= deadline;
    }
    self->slice_ended = 1;
    return last;
}

/* Who woke us last runs on our processor: it cannot go on while we spin, and if we sleep it has to
 * wake us. Let it run first. With nobody else to run this is no time. */
static int64_t yield_times(struct kini_self *self, kini_attempt_fn attempt, void *arg, int times)
{
    int64_t r = -EAGAIN;
    for (int i = 0; r == -EAGAIN && i < times; i++) {
        sched_yield();
        r = attempt(self, arg);
    }
    return r;
}

/* Who waits for a message yields once. It would come late behind others who are busy here, which a
 * sleeper that is woken overtakes: if that took long, it sleeps for the next times, each time for
 * more of them. */
static int64_t yield_unless_shy(struct kini_self *self, kini_attempt_fn attempt, void *arg)
{
    if (self->shy > 0) {
        self->shy--;
        return -EAGAIN;
    }
    int64_t since = kin_now_ns();
    int64_t r = yield_times(self, attempt, arg, 1);
    if (kin_now_ns() - since < YIELD_LONG_NS) {
        self->shyness -= r != -EAGAIN && self->shyness > 0;
        return r;
    }
    self->shyness = self->shyness < SHY_LEAST ? SHY_LEAST : self->shyness * 2;
    self->shyness = self->shyness > SHY_MOST ? SHY_MOST : self->shyness;
    self->shy = self->shyness;
    return r;
}

/* A lock has other rules: its holder was not the last to wake us. Who finds a queue full comes back
 * when a good part of it is free, and is woken for each place otherwise: that is worth any wait. */
static int64_t yield_to_waker(struct kini_self *self, struct kini_waitq_shm *queue,
                              kini_attempt_fn attempt, void *arg)
{
    if (waker_is(self) != SAME || (queue->flags & KINI_WAITQ_FENCE))
        return -EAGAIN;
    return queue->flags & KINI_WAITQ_ROOM ? yield_times(self, attempt, arg, YIELDS)
                                          : yield_unless_shy(self, attempt, arg);
}

/* Until attempt answers: entered, and again after each slice or wake. */
static int64_t sleep_until(struct kini_self *self, struct kini_waitq_shm *queue,
                           kin_deadline deadline, kini_attempt_fn attempt, void *arg, bool entered)
{
    for (;; entered = false) {
        if (!entered)
            kini_waitq_enter(self, queue);
        /* Whoever changed the object before it could see us has not woken us: look again. */
        int64_t r = attempt(self, arg);
        bool timed_out = false;
        while (r == -EAGAIN && !timed_out &&
               kini_load_acq(&self->shm->wait_state) != KINI_WAIT_CHOSEN) {
            timed_out = kini_wait_sleep(self, deadline);
            if (kini_load_acq(&self->shm->wait_state) != KINI_WAIT_CHOSEN)
                r = attempt(self, arg);
            /* Woken, and somebody else was quicker: it may be free again in a moment. */
            if (r == -EAGAIN && !timed_out && self->slice_ended == 0)
                r = kini_wait_spin(self, attempt, arg, false);
        }
        /* Served before anybody chose us: a wake that came meanwhile was meant for another item. */
        bool served_early = r != -EAGAIN;
        if (!served_early && kini_load_acq(&self->shm->wait_state) == KINI_WAIT_CHOSEN)
            r = attempt(self, arg); /* still CHOSEN: if we die now the wake is passed on */
        bool chosen = kini_waitq_withdraw(self, queue);
        bool nudged = kini_waitq_forget(self);
        if (chosen && (served_early || timed_out || (r != -EAGAIN && r < 0)))
            kini_waitq_wake(self, queue, 1);
        if (nudged && !chosen) /* since our last look */
            kini_waitq_nudge(self->arena, queue, 1);
        if (r == -EAGAIN && timed_out)
            return -ETIMEDOUT;
        if (r == -EAGAIN) /* chosen, and somebody else was quicker */
            r = yield_to_waker(self, queue, attempt, arg);
        if (r != -EAGAIN)
            return r;
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
    r = yield_to_waker(self, queue, attempt, arg);
    if (r != -EAGAIN)
        return r;
    /* Nobody answers a wait for a lock: a long look at it only disturbs its holder. */
    r = kini_wait_spin(self, attempt, arg, !(queue->flags & KINI_WAITQ_FENCE));
    if (++self->spins % 256 == 0)
        kini_watch_if_overdue(self, kin_now_ns());
    if (r != -EAGAIN)
        return r;
    kini_store(&self->shm->waits, kini_load(&self->shm->waits) + 1);
    kini_store(&self->shm->wait_since_ns, (uint64_t)kin_now_ns());
    self->idle_slices = 0;
    r = sleep_until(self, queue, deadline, attempt, arg, false);
    kini_watch_leave(self);
    return r == -ETIMEDOUT && self->refused < 0 ? self->refused : r;
}

int64_t kini_wait_on(struct kini_self *self, struct kini_waitq_shm *queue, kini_attempt_fn attempt,
                     void *arg)
{
    self->idle_slices = 0;
    int64_t r = sleep_until(self, queue, KIN_NEVER, attempt, arg, true);
    kini_watch_leave(self);
    return r;
}
