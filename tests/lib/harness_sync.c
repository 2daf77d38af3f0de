/* SPDX-License-Identifier: MIT
 * What must hold of synchronisation objects after a repair: wait queues, the words of what has one
 * holder, counted words and ledgers; and that nobody sleeps beside what it waits for. */
#include "harness_sync.h"

#include "arena/ilock.h"
#include "sync/watch.h"

#include <errno.h>
#include <stdlib.h>

/* --- wait queues ------------------------------------------------------------------------------ */

static bool names(struct kini_thread_shm *t, uint64_t offset)
{
    for (uint32_t i = 0; i < t->any_count; i++)
        if (t->any_queues[i] == offset)
            return true;
    return false;
}

void kill_check_waitq(struct kill_view *view, struct kini_waitq_shm *queue, const char *which)
{
    struct kin_arena *arena = view->arena;
    uint64_t offset = kini_offset(arena, queue), ticket = 0;
    uint32_t listed = 0, prev = 0, really = 0, any = 0, owner = KINI_ILOCK_OWNER(queue->lock.word);
    if (owner != 0 && (arena->threads[owner].state & 1) &&
        kill_lives(arena, KINI_THREAD_SLOT(arena->threads[owner].state)))
        return; /* a living peer is changing it */
    if (queue->lock.kind != KINI_ILOCK_WAITQ)
        kill_broken("the wait queue of the %s is not where harness_sync.h says", which);
    KILL_CHECK(owner == 0, "the lock of the %s is held by thread %u, which is dead", which, owner);
    for (uint32_t i = queue->head; i != 0; i = arena->threads[i].wait_next) {
        struct kini_thread_shm *t = &arena->threads[i];
        KILL_CHECK(listed++ < KINI_THREADS_MAX, "the list of %s is a ring", which);
        KILL_CHECK((t->state & 1) && t->wait_queue == offset && t->wait_state == KINI_WAIT_QUEUED,
                   "thread %u is listed among the %s, but does not wait (state %u)", i, which,
                   (unsigned)t->wait_state);
        KILL_CHECK(t->wait_prev == prev, "the list of %s is torn at thread %u", which, i);
        KILL_CHECK(t->wait_ticket > ticket, "the list of %s is not in the order of arrival", which);
        ticket = t->wait_ticket;
        prev = i;
    }
    KILL_CHECK(queue->tail == prev, "the list of %s ends at %u, not at %u", which, prev,
               (unsigned)queue->tail);
    for (uint32_t i = 1; i < arena->super->threads_high; i++) {
        struct kini_thread_shm *t = &arena->threads[i];
        really += (t->state & 1) && t->wait_queue == offset && t->wait_state == KINI_WAIT_QUEUED;
        any += (t->state & 1) && t->wait_state == KINI_WAIT_ANY && names(t, offset);
        KILL_CHECK(!(t->state & 1) || t->wait_queue != offset ||
                       t->wait_state != KINI_WAIT_CHOSEN || t->park == 1,
                   "thread %u of the %s was chosen and never woken", i, which);
    }
    KILL_CHECK(listed == really, "%u %s wait, %u are listed", really, which, listed);
    KILL_CHECK(queue->nany == any, "%u %s wait for any, nany is %u", any, which,
               (unsigned)queue->nany);
    KILL_CHECK(queue->nwait == listed + any, "%u and %u %s wait, nwait is %u", listed, any, which,
               (unsigned)queue->nwait);
    KILL_CHECK(!(queue->version & 1), "the list of %s counts as being changed for ever", which);
    KILL_CHECK(queue->lock.op == 0, "the journal of the %s holds operation %llu", which,
               (unsigned long long)queue->lock.op);
}

/* --- calm ------------------------------------------------------------------------------------- */

/* No actor takes the watcher's role, which it would hand on, and so wake others for nothing. */
#define NO_THREAD   0xffffull
#define FAR_AWAY_MS 0xfffffffffffull
#define FUTURE_NS   (INT64_MAX / 2)

void kill_sync_calm(struct kill_world *world)
{
    struct kini_super_shm *super = world->live->super;
    const uint64_t now_ms = (uint64_t)kin_now_ns() / 1000000;
    const uint32_t patience = world->scenario->patience;
    if (now_ms - super->looked_ms > 40)
        super->looked_ms = now_ms;
    super->watcher = NO_THREAD << 48 | FAR_AWAY_MS;
    for (uint32_t i = 1; i < super->threads_high && patience != KILL_AS_IT_IS; i++) {
        kini_a64 *since = &world->live->threads[i].wait_since_ns;
        if (*since != 0)
            *since = patience == KILL_PATIENT ? FUTURE_NS : 1;
    }
}

bool kill_nobody_died(const struct kill_world *world)
{
    for (uint32_t i = 0; i < KILL_ACTORS; i++)
        if (world->dead_slots[i] != 0)
            return false;
    return true;
}

/* --- objects ---------------------------------------------------------------------------------- */

typedef void (*object_fn)(struct kill_view *view, uint32_t id, uint32_t type, void *shm);

static void each_object(struct kill_view *view, object_fn fn)
{
    struct kin_arena *arena = view->arena;
    for (uint32_t id = 1; id < arena->super->objects_high && id < KILL_OBJECTS_MOST; id++) {
        uint64_t state = arena->objects[id].state;
        uint32_t type = KINI_OBJECT_TYPE(state);
        if (KINI_OBJECT_STATE(state) == KINI_OBJECT_LIVE && type >= KINI_OBJECT_LOCK)
            fn(view, id, type, kini_at(arena, arena->objects[id].offset));
    }
}

static uint32_t tag_of(struct kill_view *view, uint32_t id)
{
    return kini_object_tag(id, KINI_OBJECT_GEN(view->arena->objects[id].state));
}

static void observe(struct kill_view *view, uint32_t id, uint32_t type, void *shm)
{
    (void)type;
    view->world->before[id] = *(kini_a64 *)shm;
}

void kill_sync_observe(struct kill_view *view)
{
    each_object(view, observe);
}

/* --- who waits -------------------------------------------------------------------------------- */

static uint32_t count_waiters(struct kill_view *view, struct kini_waitq_shm *queue, bool untold)
{
    struct kin_arena *arena = view->arena;
    uint32_t count = 0;
    for (uint32_t i = 1; i < arena->super->threads_high; i++)
        count += kini_waitq_has(arena, queue, i) &&
                 (!untold || arena->threads[i].park == KINI_PARK_ASLEEP);
    return count;
}

uint32_t kill_queued(struct kill_view *view, struct kini_waitq_shm *queue)
{
    return count_waiters(view, queue, false);
}

uint32_t kill_untold(struct kill_view *view, struct kini_waitq_shm *queue)
{
    return count_waiters(view, queue, true);
}

bool kill_is_notified(struct kill_view *view, struct kini_waitq_shm *queue, uint32_t index)
{
    struct kini_thread_shm *t = &view->arena->threads[index];
    uint64_t offset = kini_offset(view->arena, queue);
    return (t->state & 1) && (t->wait_token == offset ||
                              (t->wait_state == KINI_WAIT_CHOSEN && t->wait_queue == offset));
}

uint32_t kill_notified(struct kill_view *view, struct kini_waitq_shm *queue)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < view->arena->super->threads_high; i++)
        count += kill_is_notified(view, queue, i);
    return count;
}

uint32_t kill_thread_of(struct kill_view *view, uint32_t slot)
{
    for (uint32_t i = 1; i < view->arena->super->threads_high; i++)
        if (slot != 0 && (view->arena->threads[i].state & 1) &&
            KINI_THREAD_SLOT(view->arena->threads[i].state) == slot)
            return i;
    return 0;
}

/* So many of those who wait can go on: as many know it, or all. */
static void check_told(struct kill_view *view, struct kini_waitq_shm *queue, uint32_t can,
                       const char *what)
{
    uint32_t waiting = kill_queued(view, queue), untold = kill_untold(view, queue);
    uint32_t told = waiting - untold;
    KILL_CHECK(untold == 0 || told >= can,
               "%u wait for the %s, %u of them could go on, and %u were told", waiting, what, can,
               told);
}

/* --- one holder ------------------------------------------------------------------------------- */

static bool owner_lives(struct kin_arena *arena, uint64_t word)
{
    uint32_t index = KINI_OWNER_INDEX(word);
    return index != 0 && index < arena->super->threads_high &&
           kill_lives(arena, KINI_OWNER_SLOT(word)) &&
           kini_owner_word(arena->threads[index].state, index) == (word & KINI_OWNER_BITS);
}

/* What the repair was to make of a word. */
static uint64_t repaired_word(struct kin_arena *arena, uint64_t before)
{
    if (before == 0 || (before & (KINI_WORD_ABANDONED | KINI_WORD_DONE)) ||
        owner_lives(arena, before))
        return before;
    return before & KINI_WORD_RESERVED ? 0 : KINI_WORD_ABANDONED;
}

static void check_one_holder(struct kill_view *view, uint32_t id, struct kini_lock_shm *shm)
{
    struct kin_arena *arena = view->arena;
    struct kini_waitq_shm *queue = &shm->waiters;
    uint64_t word = shm->word, before = view->world->before[id];
    uint64_t expected = repaired_word(arena, before);
    kill_check_waitq(view, queue, "waiters for a lock");
    KILL_CHECK(word == expected, "the word of lock %u was %llx, is %llx, and should be %llx", id,
               (unsigned long long)before, (unsigned long long)word, (unsigned long long)expected);
    if (word & KINI_WORD_RESERVED) {
        uint32_t heir = KINI_OWNER_INDEX(word);
        if (!kini_waitq_has(arena, queue, heir))
            check_told(view, queue, 1, "lock that is kept for one who left");
        else
            KILL_CHECK(arena->threads[heir].park != KINI_PARK_ASLEEP,
                       "lock %u is kept for thread %u, and nobody told it", id, heir);
    } else if (word & KINI_WORD_DONE) {
        check_told(view, queue, UINT32_MAX, "once that is done");
    } else if (!kini_word_is_held(word)) {
        check_told(view, queue, 1, "lock that is free");
    }
}

/* --- counted ---------------------------------------------------------------------------------- */

/* What a thread holds in an entry, also when it stands between the decision and the entry. */
static int32_t real_count(struct kin_arena *arena, uint32_t index, uint32_t entry, uint64_t word)
{
    struct kini_thread_shm *t = &arena->threads[index];
    uint64_t op = t->op;
    uint32_t seq = KINI_HOLD_OP_SEQ(op);
    bool happened = KINI_OP_CODE(op) == KINI_OP_HOLD && seq != 0 && t->hold_thread == 0 &&
                    KINI_HOLD_OP_ENTRY(op) == entry &&
                    (t->hold_done == seq ||
                     (KINI_COUNTED_INDEX(word) == index && KINI_COUNTED_SEQ(word) == seq));
    return happened ? KINI_HOLD_OP_COUNT(op) : kini_hold_count(t, entry);
}

int64_t kill_held(struct kill_view *view, uint32_t tag, kini_a64 *word)
{
    struct kin_arena *arena = view->arena;
    int64_t sum = 0;
    for (uint32_t i = 1; i < arena->super->threads_high; i++) {
        if (!(arena->threads[i].state & 1) ||
            !kill_lives(arena, KINI_THREAD_SLOT(arena->threads[i].state)))
            continue;
        for (uint32_t e = 0; e < KINI_HOLDS; e++)
            if (arena->threads[i].holds[e] >> 32 == tag)
                sum += real_count(arena, i, e, *word);
    }
    return sum;
}

static void check_semaphore(struct kill_view *view, uint32_t id, struct kill_semaphore_shm *shm)
{
    uint32_t value = KINI_COUNTED_VALUE(shm->word);
    int64_t held = kill_held(view, tag_of(view, id), &shm->word);
    kill_check_waitq(view, &shm->waiters, "waiters for a semaphore");
    if (!shm->counted)
        KILL_CHECK(held == 0, "a signal is held %lld times", (long long)held);
    else if (view->world->scenario->flags & KILL_LOOSE)
        KILL_CHECK(value <= shm->initial, "a semaphore of %u has %u permits", shm->initial, value);
    else
        KILL_CHECK(value + held == shm->initial,
                   "a semaphore of %u has %u permits, and %lld are held", shm->initial, value,
                   (long long)held);
    check_told(view, &shm->waiters, value, "semaphore");
}

static void check_rwlock(struct kill_view *view, uint32_t id, struct kill_rwlock_shm *shm)
{
    struct kin_arena *arena = view->arena;
    uint32_t value = KINI_COUNTED_VALUE(shm->word),
             before = KINI_COUNTED_VALUE(view->world->before[id]);
    int64_t held = kill_held(view, tag_of(view, id), &shm->word);
    kill_check_waitq(view, &shm->readers, "readers");
    kill_check_waitq(view, &shm->writers, "writers");
    KILL_CHECK((value & ~KILL_ABANDONED) == held, "the rwlock says %x, and %llx is held", value,
               (unsigned long long)held);
    KILL_CHECK(!(before & KILL_WRITER) || (value & (KILL_WRITER | KILL_ABANDONED)),
               "the writer died, and nobody will be told: %x became %x", before, value);
    KILL_CHECK(!(value & KILL_ABANDONED) || (before & (KILL_WRITER | KILL_ABANDONED)),
               "no writer died, and somebody will be told: %x became %x", before, value);
    if (value & KILL_WRITER)
        return;
    uint32_t first = kini_waitq_first(arena, &shm->readers);
    bool turn = first != 0 && arena->threads[first].wait_ticket <= shm->turn;
    if (value & KILL_READERS ? kill_queued(view, &shm->writers) == 0
                             : turn || kill_queued(view, &shm->writers) == 0)
        check_told(view, &shm->readers, UINT32_MAX, "rwlock, to read,");
    else if (!(value & KILL_READERS))
        check_told(view, &shm->writers, 1, "rwlock, to write,");
}

/* --- the others ------------------------------------------------------------------------------- */

static void check_event(struct kill_view *view, struct kill_event_shm *shm)
{
    kill_check_waitq(view, &shm->waiters, "waiters for an event");
    if (shm->word != 0) /* they came before anybody set it */
        check_told(view, &shm->waiters, UINT32_MAX, "event that was set");
}

static void check_barrier(struct kill_view *view, struct kill_barrier_shm *shm)
{
    uint64_t word = shm->word;
    kill_check_waitq(view, &shm->waiters, "waiters at a barrier");
    for (uint32_t slot = 1; slot < view->arena->super->participants_high; slot++)
        KILL_CHECK(kill_lives(view->arena, slot) || !(shm->members[slot / 64] >> (slot % 64) & 1),
                   "slot %u of the dead is a member of the barrier", slot);
    if ((word & KILL_BARRIER_BROKEN) || KILL_BARRIER_GENERATION(word) != view->world->value[7])
        check_told(view, &shm->waiters, UINT32_MAX, "end of a barrier's generation");
}

static void check_object(struct kill_view *view, uint32_t id, uint32_t type, void *shm)
{
    if (type == KINI_OBJECT_SEMAPHORE)
        check_semaphore(view, id, shm);
    else if (type == KINI_OBJECT_RWLOCK)
        check_rwlock(view, id, shm);
    else if (type == KINI_OBJECT_EVENT)
        check_event(view, shm);
    else if (type == KINI_OBJECT_BARRIER)
        check_barrier(view, shm);
    else
        check_one_holder(view, id, shm);
    if (type == KINI_OBJECT_CONDITION)
        kill_check_waitq(view, &((struct kill_condition_shm *)shm)->waiters,
                         "waiters for a condition");
}

/* --- records ---------------------------------------------------------------------------------- */

static void check_free_record(struct kini_thread_shm *t, uint32_t index)
{
    /* QUEUED or CHOSEN, in no queue: it died before it was in one, or when it had left */
    KILL_CHECK(t->wait_state != KINI_WAIT_ANY && t->wait_queue == 0 && t->wake_target == 0 &&
                   t->wait_token == 0,
               "thread record %u of the dead still waits: state %u, token %llx", index,
               (unsigned)t->wait_state, (unsigned long long)t->wait_token);
    KILL_CHECK(t->op == 0 && t->hold_thread == 0,
               "thread record %u of the dead is still at operation %llx, for thread %u", index,
               (unsigned long long)t->op, (unsigned)t->hold_thread);
    for (uint32_t e = 0; e < KINI_HOLDS; e++)
        KILL_CHECK((uint32_t)t->holds[e] == 0, "thread record %u of the dead still holds %llx",
                   index, (unsigned long long)t->holds[e]);
}

/* Waits for any of several, and one of them is there. */
static void check_any(struct kill_view *view, uint32_t index)
{
    struct kin_arena *arena = view->arena;
    struct kini_thread_shm *t = &arena->threads[index];
    for (uint32_t k = 0; k < t->any_count; k++) {
        for (uint32_t id = 1; id < arena->super->objects_high; id++) {
            uint64_t state = arena->objects[id].state;
            const struct kini_type_ops *ops = &kini_types[KINI_OBJECT_TYPE(state)];
            void *shm = kini_at(arena, arena->objects[id].offset);
            if (KINI_OBJECT_STATE(state) != KINI_OBJECT_LIVE || ops->waitq == NULL ||
                kini_offset(arena, ops->waitq(shm, 0)) != t->any_queues[k])
                continue;
            KILL_CHECK(!ops->ready(view->self, shm, 0) || t->park != KINI_PARK_ASLEEP,
                       "thread %u waits for any, object %u is ready, and nobody told it", index,
                       id);
        }
    }
}

void kill_sync_check(struct kill_view *view)
{
    struct kin_arena *arena = view->arena;
    each_object(view, check_object);
    for (uint32_t i = 1; i < arena->super->threads_high; i++) {
        if (!(arena->threads[i].state & 1))
            check_free_record(&arena->threads[i], i);
        else if (arena->threads[i].wait_state == KINI_WAIT_ANY)
            check_any(view, i);
    }
}
