/* SPDX-License-Identifier: MIT
 * Two victims, interleaved: the first stops after i of its instructions, the second after j. Some
 * faults of a claim show only so. Each pair begins with the same arena and with copies of the same
 * two processes, which can be copied wherever they stand. */
#include "arena/ilock.h"
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pairs {
    struct kill_world world;
    struct kill_victim masters[2];      /* stay before their operations */
    struct kill_victim at_i, at_j;      /* where the two stand */
    struct kill_victim first, second;   /* who goes on, and who dies */
    struct kill_image start, row, here; /* the arena at (0,0), (i,0), (i,j) */
    struct kini_self *start_self;
    struct kill_stops stops[2];  /* where each of them is to stand */
    uint64_t from[2];            /* the step from which the stops of each are counted */
    struct kill_actor actors[2]; /* of the page, at (i,j) */
    uint64_t *seen;              /* a set of hashes: what was gone through to the end already */
    uint64_t rows;
    uint64_t again; /* pairs in which the reaper had to wait for the living */
};

#define SEEN_ROOM (1u << 18)

/* Whether the second stood so before, in the same arena: then it goes on in the same way. */
static bool seen_before(struct pairs *pairs)
{
    if (kill_exhaustive())
        return false;
    uint64_t hash = kill_image_hash(pairs->world.live) ^ kill_victim_hash(&pairs->at_j);
    for (uint64_t at = hash % SEEN_ROOM, i = 0; i < 100; i++, at = (at + 1) % SEEN_ROOM) {
        if (pairs->seen[at] == hash)
            return true;
        if (pairs->seen[at] == 0) {
            pairs->seen[at] = hash;
            return false;
        }
    }
    return false;
}

/* --- going back ------------------------------------------------------------------------------- */

static void copy_actor(struct kill_actor *to, const struct kill_actor *from, uint64_t bytes)
{
    to->phase = from->phase;
    to->result = from->result;
    memcpy(to->buffer, from->buffer, bytes < 16 ? 16 : bytes < KILL_BUFFER ? bytes : KILL_BUFFER);
}

static void go_back(struct pairs *pairs, const struct kill_image *image)
{
    struct kill_world *world = &pairs->world;
    kill_image_restore(image, world->live);
    kill_caches_copy(world->live_self, pairs->start_self);
    world->last.valid = false;
}

static void stay_here(struct pairs *pairs)
{
    struct kill_page *page = pairs->world.page;
    kill_image_take(&pairs->here, pairs->world.live);
    for (uint32_t who = 0; who < 2; who++)
        copy_actor(&pairs->actors[who], &page->actors[who], kill_hand_bytes(&pairs->world, who));
}

static void back_here(struct pairs *pairs)
{
    struct kill_page *page = pairs->world.page;
    go_back(pairs, &pairs->here);
    for (uint32_t who = 0; who < 2; who++)
        copy_actor(&page->actors[who], &pairs->actors[who], kill_hand_bytes(&pairs->world, who));
}

static void reset_actor(struct pairs *pairs, uint32_t who)
{
    struct kill_actor *actor = &pairs->world.page->actors[who];
    actor->phase = KILL_READY;
    if (pairs->world.scenario->puts[who] == 0)
        kill_hand_clear(&pairs->world, who);
}

/* Whether it got there: before the end of its operation, and without waiting. */
static bool steps(struct pairs *pairs, struct kill_victim *victim, uint64_t until)
{
    while (victim->steps < until && !victim->done && !victim->blocked)
        kill_victim_step(&pairs->world, victim);
    return victim->steps >= until && !victim->done && !victim->blocked;
}

/* It has returned, or it sleeps until somebody else does something. */
static bool has_ended(const struct pairs *pairs, const struct kill_victim *victim)
{
    return victim->done || (victim->blocked && (pairs->world.scenario->flags & KILL_SLEEPS));
}

/* --- one pair --------------------------------------------------------------------------------- */

static void point(struct pairs *pairs, const char *form, bool first_dead, bool second_dead,
                  bool force)
{
    struct kill_world *world = &pairs->world;
    kill_context_pair(world, &pairs->first, &pairs->second, form);
    world->dead_slots[pairs->first.who] = first_dead ? pairs->first.slot : 0;
    world->dead_slots[pairs->second.who] = second_dead ? pairs->second.slot : 0;
    world->done[pairs->first.who] = pairs->first.done;
    world->done[pairs->second.who] = pairs->second.done;
    kill_point(world, NULL, force);
}

static bool within(const struct pairs *pairs, uint32_t who, uint64_t at)
{
    uint32_t last = pairs->world.scenario->last[who];
    return last == 0 || at <= pairs->from[who] + last;
}

/* On to where its stops begin. */
static void begin(struct pairs *pairs, struct kill_victim *victim)
{
    struct kill_world *world = &pairs->world;
    bool (*begins)(struct kill_world *, uint64_t) = world->scenario->begins[victim->who];
    while (begins != NULL && !victim->done && !victim->blocked &&
           !begins(world, kill_victim_at(victim)))
        kill_victim_step(world, victim);
    if (begins != NULL && victim->done)
        kill_broken("an operation is over before its stops begin");
    pairs->from[victim->who] = victim->steps;
}

/* Each goes on as soon as the other has told it to. */
static void settle(struct pairs *pairs)
{
    struct kill_victim *both[2] = {&pairs->first, &pairs->second};
    uint64_t steps;
    do {
        steps = both[0]->steps + both[1]->steps;
        for (uint32_t k = 0; k < 2; k++)
            if (!both[k]->done && !both[k]->ended)
                kill_victim_finish(&pairs->world, both[k]);
    } while (both[0]->steps + both[1]->steps != steps);
}

/* The one that goes on did; the other is dead where it stands, and at each further step. */
static void dead_at_each(struct pairs *pairs, const struct kill_victim *dead, const char *form)
{
    struct kill_world *world = &pairs->world;
    kill_victim_copy(world, dead, &pairs->second);
    pairs->second.may_sleep = !(world->scenario->flags & KILL_SLEEPS);
    pairs->second.blocked = false;
    world->last.valid = false;
    while (!kill_scenario_hopeless()) {
        point(pairs, form, false, true, false);
        if (pairs->second.done || pairs->second.blocked ||
            !within(pairs, pairs->second.who, pairs->second.steps))
            break;
        kill_victim_step(world, &pairs->second);
    }
    kill_victim_finish(world, &pairs->second);
    if (world->scenario->flags & KILL_SLEEPS)
        settle(pairs);
    if (has_ended(pairs, &pairs->second))
        point(pairs, "both went on, nobody died", false, false, true);
    kill_victim_end(&pairs->second);
}

/* Both dead where they stand; then the first goes on to its end and the second is dead at each
 * further step. */
static void both_then_each(struct pairs *pairs)
{
    struct kill_world *world = &pairs->world;
    pairs->first = pairs->at_i;
    pairs->second = pairs->at_j;
    point(pairs, "both are dead", true, true, true);
    kill_victim_copy(world, &pairs->at_i, &pairs->first);
    kill_victim_finish(world, &pairs->first);
    if (has_ended(pairs, &pairs->first) && !seen_before(pairs)) /* else it waits for a lock */
        dead_at_each(pairs, &pairs->at_j, "the first went on, the second is dead");
    kill_victim_end(&pairs->first);
    if (has_ended(pairs, &pairs->at_j) && !pairs->at_i.done) {
        back_here(pairs);
        pairs->first = pairs->at_j;
        if (!pairs->at_j.done)
            kill_victim_copy(world, &pairs->at_j, &pairs->first);
        dead_at_each(pairs, &pairs->at_i, "the second went on, the first is dead");
        if (!pairs->at_j.done)
            kill_victim_end(&pairs->first);
    }
}

/* A lock that the reaper may want. */
static bool holds_a_lock(struct pairs *pairs, const struct kill_victim *victim)
{
    struct kin_arena *live = pairs->world.live;
    for (uint32_t i = 1; i < live->super->threads_high; i++) {
        struct kini_thread_shm *t = &live->threads[i];
        if (!(t->state & 1) || KINI_THREAD_SLOT(t->state) != victim->slot)
            continue;
        for (uint32_t k = 0; k < KINI_LOCKSTACK; k++) {
            struct kini_ilock_shm *lock = t->lockstack[k] ? kini_at(live, t->lockstack[k]) : NULL;
            if (lock != NULL && lock != &live->super->object_lock &&
                KINI_ILOCK_OWNER(lock->word) == i)
                return true;
        }
    }
    return false;
}

static struct kini_thread_shm *thread_of(struct pairs *pairs, const struct kill_victim *victim)
{
    struct kin_arena *live = pairs->world.live;
    for (uint32_t i = 1; i < live->super->threads_high; i++)
        if ((live->threads[i].state & 1) &&
            KINI_THREAD_SLOT(live->threads[i].state) == victim->slot)
            return &live->threads[i];
    kill_fail("slot %u has no thread", victim->slot);
}

/* -EAGAIN is right only while the living shows the intent of the dead, which did not win. */
static void check_again(struct pairs *pairs, const struct kill_victim *living, uint64_t op,
                        uint64_t position)
{
    struct kini_thread_shm *a = thread_of(pairs, living);
    uint64_t from = a->op_pos & ~KINI_OP_WON;
    bool same = KINI_OP_CODE(a->op) == KINI_OP_CODE(op) &&
                KINI_OP_OFFSET(a->op) == KINI_OP_OFFSET(op) &&
                from < position + KINI_OP_COUNT(op) && position < from + KINI_OP_COUNT(a->op);
    KILL_CHECK(!living->done && same && !(position & KINI_OP_WON),
               "the reaper waits without a reason: the living shows %llx at %llx, the dead %llx at "
               "%llx",
               (unsigned long long)a->op, (unsigned long long)a->op_pos, (unsigned long long)op,
               (unsigned long long)position);
    pairs->again++;
}

/* What it has copied, but is still in its cell, is not in its hands: it will be delivered again. */
static void open_hands(struct pairs *pairs, uint32_t who)
{
    struct kill_world *world = &pairs->world;
    struct kill_view view;
    const uint32_t bytes = world->scenario->bytes;
    if (world->queue == NULL || world->scenario->puts[who] != 0)
        return;
    kill_view_of_live(world, &view);
    kill_ledger_observe(world, &view);
    free(view.queue);
    for (uint32_t i = 0; i < kill_many_of(world->scenario, who); i++) {
        unsigned char *message = kill_message_of(world, who, i);
        uint32_t number = kill_message_number(message, bytes, bytes);
        if (number < world->ledger.count && world->ledger.before[number])
            memset(message, 0xff, 16);
    }
}

static void check_position(struct kini_segment_shm *segment, uint64_t op, uint64_t p)
{
    uint64_t seq = kini_cell(segment, p)->seq;
    if ((seq & KINI_POSITION) != p + 1)
        return; /* not published yet, or released already */
    bool ours = !(seq & KINI_CELL_BACK) || (seq & KINI_CELL_TAKEN);
    if (KINI_OP_CODE(op) == KINI_OP_PUT)
        ours = !(seq & KINI_CELL_SKIP);
    KILL_CHECK(ours, "the living has claimed position %llu, and the reaper made seq %llx of it",
               (unsigned long long)p, (unsigned long long)seq);
}

/* What the living has claimed is still its own: neither skipped nor to be delivered again. */
static void check_claim(struct pairs *pairs, const struct kill_victim *living)
{
    struct kin_arena *live = pairs->world.live;
    struct kini_thread_shm *t = thread_of(pairs, living);
    uint64_t op = t->op, p = t->op_pos & ~KINI_OP_WON;
    if (op == 0 || !(t->op_pos & KINI_OP_WON))
        return;
    for (uint32_t i = 0; i < KINI_OP_COUNT(op); i++)
        check_position(kini_at(live, KINI_OP_OFFSET(op)), op, p + i);
}

/* One is dead and is reaped while the other stands; then the other goes on. */
static void reap_beside(void *arg)
{
    struct pairs *pairs = arg;
    struct kill_world *world = &pairs->world;
    struct kill_victim *living = &pairs->first;
    uint32_t slot = pairs->second.slot;
    struct kini_thread_shm *dead = thread_of(pairs, &pairs->second);
    uint64_t op = dead->op, position = dead->op_pos;
    open_hands(pairs, pairs->second.who);
    kill_declare_dead(world->live, slot);
    kini_last_self = world->live_self;
    int r = kini_reap(world->live, slot);
    KILL_CHECK(r == 1 || r == -EAGAIN, "the reaper answers %d", r);
    if (r == -EAGAIN)
        check_again(pairs, living, op, position);
    if (world->queue != NULL)
        check_claim(pairs, living);
    living->may_sleep = !(world->scenario->flags & KILL_SLEEPS);
    living->blocked = false;
    kill_victim_finish(world, living);
    KILL_CHECK(has_ended(pairs, living), "the living one does not come to its end");
    if (r == -EAGAIN) {
        kini_last_self = world->live_self;
        r = kini_reap(world->live, slot);
        KILL_CHECK(r == 1, "the living moved on, and the reaper answers %d", r);
    }
}

static void reap_then_on(struct pairs *pairs, const struct kill_victim *dead,
                         const struct kill_victim *living, const char *form)
{
    struct kill_world *world = &pairs->world;
    if (dead->done || living->done || holds_a_lock(pairs, living))
        return;
    kill_victim_copy(world, living, &pairs->first);
    pairs->second = *dead;
    world->done[dead->who] = false;
    kill_context_pair(world, &pairs->first, &pairs->second, form);
    kill_count(1, 0);
    if (kill_guarded(reap_beside, pairs))
        point(pairs, form, false, true, true);
    kill_victim_end(&pairs->first);
}

/* --- all pairs -------------------------------------------------------------------------------- */

/* With sleepers there is too much to go through all of it evenly. */
static void find_stops(struct pairs *pairs, const struct kill_victim *victim)
{
    struct kill_world *world = &pairs->world;
    memset(&pairs->stops[victim->who], 0, sizeof pairs->stops[0]);
    if (!(world->scenario->flags & KILL_SLEEPS))
        return;
    stay_here(pairs);
    kill_stops_find(world, victim, &pairs->stops[victim->who]);
    const uint32_t sparse = world->scenario->sparse;
    if (sparse > 1 && !kill_exhaustive())
        kill_stops_thin(&pairs->stops[victim->who], victim->who == 0 ? (sparse + 2) / 3 : sparse,
                        (uint32_t)pairs->rows++);
    back_here(pairs);
}

/* The first stands at i: the second goes through its whole operation. */
static void run_row(struct pairs *pairs, uint32_t stride)
{
    struct kill_world *world = &pairs->world;
    kill_image_take(&pairs->row, world->live);
    reset_actor(pairs, 1);
    kill_victim_copy(world, &pairs->masters[1], &pairs->at_j);
    begin(pairs, &pairs->at_j);
    find_stops(pairs, &pairs->at_j);
    uint64_t j = pairs->at_j.steps;
    do {
        stay_here(pairs);
        both_then_each(pairs);
        back_here(pairs);
        reap_then_on(pairs, &pairs->at_j, &pairs->at_i,
                     "the second died and was reaped, then the first went on");
        back_here(pairs);
        reap_then_on(pairs, &pairs->at_i, &pairs->at_j,
                     "the first died and was reaped, then the second went on");
        back_here(pairs);
        if (pairs->at_j.done || pairs->at_j.blocked || kill_scenario_hopeless())
            break;
        steps(pairs, &pairs->at_j, j = kill_stops_next(&pairs->stops[1], j, stride));
    } while (within(pairs, 1, j));
    kill_victim_end(&pairs->at_j);
    go_back(pairs, &pairs->row);
}

static void run_all(struct pairs *pairs, uint32_t stride)
{
    const uint32_t finer = pairs->world.scenario->finer;
    const uint32_t first_stride = finer != 0 && stride >= finer ? stride / finer : stride;
    reset_actor(pairs, 0);
    kill_victim_copy(&pairs->world, &pairs->masters[0], &pairs->at_i);
    begin(pairs, &pairs->at_i);
    find_stops(pairs, &pairs->at_i);
    uint64_t i = pairs->at_i.steps;
    do {
        run_row(pairs, stride);
        i = kill_stops_next(&pairs->stops[0], i, first_stride);
    } while (!kill_scenario_hopeless() && !has_ended(pairs, &pairs->at_i) && within(pairs, 0, i) &&
             (steps(pairs, &pairs->at_i, i) || has_ended(pairs, &pairs->at_i)));
    kill_victim_end(&pairs->at_i);
}

static void run_round(struct pairs *pairs, const struct kill_scenario *scenario)
{
    struct kill_world *world = &pairs->world;
    kill_world_open(world, scenario);
    kill_victim_start(world, &pairs->masters[0], 0);
    kill_victim_start(world, &pairs->masters[1], 1);
    if (scenario->ready != NULL)
        scenario->ready(world);
    struct kill_image *images[] = {&pairs->start, &pairs->row, &pairs->here};
    for (uint32_t k = 0; k < 3; k++)
        kill_image_open(images[k], true);
    kill_image_take(&pairs->start, world->live);
    pairs->seen = calloc(SEEN_ROOM, sizeof pairs->seen[0]);
    pairs->start_self = kill_self_blank();
    kill_caches_copy(pairs->start_self, world->live_self);
    run_all(pairs, kill_stride(scenario->stride ? scenario->stride : 7));
    go_back(pairs, &pairs->start);
    kill_victim_end(&pairs->masters[0]);
    kill_victim_end(&pairs->masters[1]);
    free(pairs->seen);
    kini_self_forget(pairs->start_self);
    for (uint32_t k = 0; k < 3; k++)
        kill_image_close(images[k]);
    kill_world_close(world);
}

void kill_pairs(const struct kill_scenario *scenario)
{
    if (!kill_wanted(scenario->name))
        return;
    kill_scenario_begin("two at once", scenario->name);
    static struct pairs pairs;
    pairs.again = pairs.rows = 0;
    for (pairs.world.round = 0; pairs.world.round <= scenario->rounds; pairs.world.round++)
        run_round(&pairs, scenario);
    if (pairs.again > 0)
        kill_note("the reaper waited for the living %llu times", (unsigned long long)pairs.again);
    kill_scenario_end();
}
