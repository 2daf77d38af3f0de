/* SPDX-License-Identifier: MIT
 * Who waits for whom. A thread waits for at most one lock, a lock has at most one holder: the
 * waits-for graph has one edge out of each thread, and each cycle is found by walking.
 *
 * A cycle is exact if none of its threads did anything between two looks: their tickets are of the
 * same waits (each wait has a new one), and each of the locks names the same holder, which waits in
 * the cycle itself and so cannot have released and acquired it in between. A cycle of one is told
 * from a thread that was served and is still in the queue by what it noted when it came. */
#include <kin/wait.h>

#include "arena/attach.h"
#include "base/error.h"
#include "sync/lock_word.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct edge {
    uint32_t holder; /* thread index; 0: waits for no lock, or for one that nobody holds */
    uint32_t object; /* id */
    uint64_t ticket, word;
    uint32_t mark; /* of the walk that came by */
};

struct graph {
    uint32_t count;
    struct edge *edges; /* by thread index */
};

/* The object whose wait queue that is, if it is a lock. */
static uint32_t find_lock(struct kin_arena *arena, uint64_t queue_offset, uint32_t *ret_type)
{
    uint32_t high = kini_load_acq(&arena->super->objects_high);
    uint64_t offset = queue_offset - offsetof(struct kini_lock_shm, waiters);
    if (!kini_range_is_good(arena, offset, sizeof(struct kini_lock_shm)))
        return 0; /* damaged */
    for (uint32_t id = 1; id < high; id++) {
        uint64_t state = kini_load_acq(&arena->objects[id].state);
        uint32_t type = KINI_OBJECT_TYPE(state);
        if (KINI_OBJECT_STATE(state) == KINI_OBJECT_LIVE &&
            kini_load(&arena->objects[id].offset) == offset &&
            (type == KINI_OBJECT_LOCK || kini_begins_with_rlock(type))) {
            *ret_type = type;
            return id;
        }
    }
    return 0;
}

static struct edge look_at(struct kin_arena *arena, uint32_t index)
{
    struct kini_thread_shm *t = &arena->threads[index];
    struct edge edge = {.ticket = kini_load_acq(&t->wait_ticket)};
    uint64_t queue = kini_load_acq(&t->wait_queue);
    uint32_t type;
    if (!(kini_load_acq(&t->state) & 1) || kini_load_acq(&t->wait_state) != KINI_WAIT_QUEUED ||
        queue < sizeof(struct kini_lock_shm))
        return edge;
    edge.object = find_lock(arena, queue, &type);
    if (edge.object == 0)
        return edge;
    struct kini_lock_shm *shm = kini_at(arena, kini_load(&arena->objects[edge.object].offset));
    edge.word = kini_load_acq(&shm->word);
    uint32_t holder = KINI_OWNER_INDEX(edge.word);
    if (kini_word_is_held(edge.word) && holder < KINI_THREADS_MAX &&
        kini_owner_word(kini_load_acq(&arena->threads[holder].state), holder) == edge.word)
        edge.holder = holder;
    /* It has got what it waited for, and has not left the queue yet. */
    if (edge.holder == index && kini_load(&t->wait_own) == 0)
        edge.holder = 0;
    return edge;
}

static int look(struct kin_arena *arena, struct graph *ret_graph)
{
    uint32_t high = kini_load_acq(&arena->super->threads_high);
    ret_graph->count = high;
    ret_graph->edges = calloc(high + 1, sizeof *ret_graph->edges);
    if (ret_graph->edges == NULL)
        return kini_fail(-ENOMEM, "no memory for the graph of %u threads", high);
    for (uint32_t i = 1; i < high; i++)
        ret_graph->edges[i] = look_at(arena, i);
    return 0;
}

/* Walk from start. Returns a thread of a cycle that no earlier walk has seen, or 0. */
static uint32_t walk(struct graph *graph, uint32_t start)
{
    uint32_t at = start;
    while (at != 0 && at < graph->count && graph->edges[at].mark == 0) {
        graph->edges[at].mark = start;
        at = graph->edges[at].holder;
    }
    return at != 0 && at < graph->count && graph->edges[at].mark == start ? at : 0;
}

static bool is_stable(const struct graph *first, struct graph *second, uint32_t start)
{
    uint32_t at = start;
    do {
        const struct edge *a = &first->edges[at], *b = &second->edges[at];
        if (at >= second->count || a->holder != b->holder || a->ticket != b->ticket ||
            a->word != b->word || a->object != b->object)
            return false;
        at = a->holder;
    } while (at != start);
    return true;
}

static void tell_party(struct kin_arena *arena, uint32_t index, const struct edge *edge,
                       struct kin_deadlock_party *ret_party)
{
    struct kini_thread_shm *t = &arena->threads[index];
    struct kin_owner who = {0};
    uint64_t state = kini_load(&arena->objects[edge->object].state);
    kini_owner_tell(arena, kini_owner_word(kini_load_acq(&t->state), index), &who);
    *ret_party = (struct kin_deadlock_party){
        .pid = who.pid,
        .tid = who.tid,
        .object_id = edge->object,
        .kind = KINI_OBJECT_TYPE(state) == KINI_OBJECT_LOCK ? KIN_WAIT_LOCK : KIN_WAIT_RLOCK,
        .since_ns = (int64_t)kini_load(&t->wait_since_ns),
    };
    memcpy(ret_party->process, who.process, sizeof who.process);
    memcpy(ret_party->thread, who.thread, sizeof who.thread);
    memcpy(ret_party->object, arena->objects[edge->object].name, 31);
}

static void tell(struct kin_arena *arena, const struct graph *graph, uint32_t start,
                 struct kin_deadlock *ret_deadlock)
{
    uint32_t at = start, count = 0;
    memset(ret_deadlock, 0, sizeof *ret_deadlock);
    do {
        if (count < KIN_DEADLOCK_PARTIES_MAX)
            tell_party(arena, at, &graph->edges[at], &ret_deadlock->parties[count]);
        count++;
        at = graph->edges[at].holder;
    } while (at != start);
    ret_deadlock->parties_count = count;
}

static int find(struct kin_arena *arena, struct kin_deadlock *ret_deadlocks, uint32_t max)
{
    struct graph first = {0}, second = {0};
    uint32_t found = 0, candidates = 0;
    int r = look(arena, &first);
    uint32_t *starts = r == 0 ? calloc(first.count + 1, sizeof *starts) : NULL;
    if (r == 0 && starts == NULL)
        r = kini_fail(-ENOMEM, "no memory for %u threads", first.count);
    for (uint32_t i = 1; r == 0 && i < first.count; i++) {
        uint32_t start = walk(&first, i);
        if (start != 0)
            starts[candidates++] = start;
    }
    if (candidates > 0) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        r = look(arena, &second);
    }
    for (uint32_t i = 0; r == 0 && i < candidates; i++) {
        if (!is_stable(&first, &second, starts[i]))
            continue;
        if (found < max)
            tell(arena, &second, starts[i], &ret_deadlocks[found]);
        found++;
    }
    free(starts);
    free(first.edges);
    free(second.edges);
    return r < 0 ? r : (int)found;
}

int kin_deadlocks(struct kin_arena *arena, struct kin_deadlock *ret_deadlocks, uint32_t max)
{
    if (kini_enter(arena) == NULL)
        return kini_enter_error();
    if (ret_deadlocks == NULL && max > 0)
        return kini_fail(-EINVAL, "no room for %u deadlocks", max);
    return find(arena, ret_deadlocks, max);
}

int kin_thread_set_name(struct kin_arena *arena, const char *name)
{
    char field[32];
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    int r = kini_name_copy(field, name);
    if (r == 0)
        memcpy(self->shm->name, field, sizeof field);
    return r;
}
