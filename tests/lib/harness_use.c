/* SPDX-License-Identifier: MIT
 * The survivor uses the synchronisation objects of a repaired arena, and destroys them. */
#include "harness_sync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kin/lock.h>
#include <kin/rwlock.h>
#include <kin/semaphore.h>

struct kini_handle kill_handle(struct kill_view *view, const void *of)
{
    struct kini_handle handle = *(const struct kini_handle *)of;
    handle.shm = kill_shm(view, of);
    handle.arena = view->arena;
    handle.epoch = view->arena->epoch;
    return handle;
}

static struct kini_handle handle_of(struct kill_view *view, uint32_t id)
{
    uint64_t state = view->arena->objects[id].state;
    return (struct kini_handle){.arena = view->arena,
                                .shm = kini_at(view->arena, view->arena->objects[id].offset),
                                .type = KINI_OBJECT_TYPE(state),
                                .epoch = view->arena->epoch,
                                .id = id,
                                .tag = kini_object_tag(id, KINI_OBJECT_GEN(state))};
}

/* --- use -------------------------------------------------------------------------------------- */

/* A lock that nobody holds is had at once, and the death of its holder is told once. */
static void use_lock(struct kill_view *view, struct kini_handle *handle)
{
    struct kini_lock_shm *shm = handle->shm;
    struct kin_lock *lock = (struct kin_lock *)handle;
    uint64_t word = shm->word;
    uint32_t heir = KINI_OWNER_INDEX(word);
    if (kini_word_is_held(word) || (word & KINI_WORD_DONE) ||
        ((word & KINI_WORD_RESERVED) && kini_waitq_has(view->arena, &shm->waiters, heir)))
        return;
    int r = kin_lock_try_acquire(lock), expected = 0;
    if (word == KINI_WORD_ABANDONED)
        expected = shm->on_abandoned == KIN_REFUSE_ONCE ? -EOWNERDEAD : KIN_ABANDONED;
    KILL_CHECK(r == expected, "the survivor acquires a lock of word %llx: %d",
               (unsigned long long)word, r);
    if (r == -EOWNERDEAD)
        r = kin_lock_try_acquire(lock);
    KILL_CHECK(r >= 0, "the survivor, which knows of the death, cannot have the lock: %d", r);
    KILL_CHECK(shm->word == view->self->owner_word, "the survivor has the lock, its word is %llx",
               (unsigned long long)shm->word);
    r = kin_lock_release(lock);
    KILL_CHECK(r == 0, "the survivor cannot release the lock: %d", r);
    uint32_t waiting = kill_queued(view, &shm->waiters);
    KILL_CHECK(waiting == 0 || kill_untold(view, &shm->waiters) < waiting,
               "the survivor released the lock, and nobody of %u was told", waiting);
}

static void use_semaphore(struct kini_handle *handle)
{
    struct kin_semaphore *semaphore = (struct kin_semaphore *)handle;
    int64_t value = kin_semaphore_value(semaphore);
    for (int64_t i = 0; i < value; i++)
        KILL_CHECK(kin_semaphore_try_acquire(semaphore) == 0, "permit %lld of %lld cannot be had",
                   (long long)i, (long long)value);
    KILL_CHECK(kin_semaphore_try_acquire(semaphore) == -EAGAIN, "more than %lld permits",
               (long long)value);
    for (int64_t i = 0; i < value; i++)
        KILL_CHECK(kin_semaphore_release(semaphore) == 0, "a permit cannot be released");
}

static void use_rwlock(struct kini_handle *handle)
{
    struct kin_rwlock *rwlock = (struct kin_rwlock *)handle;
    struct kill_rwlock_shm *shm = handle->shm;
    uint32_t value = KINI_COUNTED_VALUE(shm->word);
    if ((value & (KILL_WRITER | KILL_READERS)) || shm->readers.nwait + shm->writers.nwait != 0)
        return;
    int r = kin_rwlock_try_write(rwlock);
    KILL_CHECK(r == (value & KILL_ABANDONED ? KIN_ABANDONED : 0),
               "the survivor acquires an rwlock of value %x: %d", value, r);
    KILL_CHECK(kin_rwlock_release(rwlock) == 0, "the survivor cannot release the rwlock");
    KILL_CHECK(kin_rwlock_try_read(rwlock) == 0, "the survivor cannot read");
    KILL_CHECK(kin_rwlock_release(rwlock) == 0, "the survivor cannot release the rwlock");
}

void kill_sync_use(struct kill_view *view)
{
    for (uint32_t id = 1; id < view->arena->super->objects_high; id++) {
        struct kini_handle handle = handle_of(view, id);
        if (KINI_OBJECT_STATE(view->arena->objects[id].state) != KINI_OBJECT_LIVE)
            continue;
        if (handle.type == KINI_OBJECT_LOCK)
            use_lock(view, &handle);
        else if (handle.type == KINI_OBJECT_SEMAPHORE)
            use_semaphore(&handle);
        else if (handle.type == KINI_OBJECT_RWLOCK)
            use_rwlock(&handle);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

void kill_sync_destroy(struct kill_view *view)
{
    for (uint32_t id = 1; id < view->arena->super->objects_high; id++) {
        uint64_t state = view->arena->objects[id].state;
        if (KINI_OBJECT_STATE(state) != KINI_OBJECT_LIVE ||
            KINI_OBJECT_TYPE(state) < KINI_OBJECT_LOCK)
            continue;
        struct kini_handle *handle = malloc(256); /* room for any handle */
        if (handle == NULL)
            kill_broken("no memory for a handle");
        *handle = handle_of(view, id);
        if (handle->type == KINI_OBJECT_SEMAPHORE)
            kin_semaphore_destroy((struct kin_semaphore *)handle);
        else if (handle->type == KINI_OBJECT_RWLOCK)
            kin_rwlock_destroy((struct kin_rwlock *)handle);
        else
            kini_handle_close(handle);
    }
}

/* --- peers ------------------------------------------------------------------------------------ */

static struct kill_victim peers[KILL_ACTORS];

struct kill_victim *kill_peer_waits(struct kill_world *world, uint32_t who)
{
    struct kill_victim *peer = &peers[who];
    kill_victim_start(world, peer, who);
    world->parking = true;
    kill_victim_park(world, peer);
    world->parking = false;
    return peer;
}

void kill_one_waits(struct kill_world *world)
{
    kill_peer_waits(world, 1);
}

void kill_two_wait(struct kill_world *world)
{
    kill_peer_waits(world, 1);
    kill_peer_waits(world, 2);
}

void kill_peers_end(struct kill_world *world)
{
    (void)world;
    for (uint32_t who = 0; who < KILL_ACTORS; who++) {
        if (peers[who].pid != 0)
            kill_victim_end(&peers[who]);
        peers[who].pid = 0;
    }
}

/* --- reapers ---------------------------------------------------------------------------------- */

#define REAPER 3u

int64_t kill_op_reap(struct kill_world *world, uint32_t who)
{
    (void)who;
    return kini_reap(world->live, (uint32_t)world->page->actors[0].value) == 1 ? 0 : -EIO;
}

/* False if the operation of the one who was to die is over before. */
static bool reaping_of(const struct kill_scenario *scenario, uint64_t steps)
{
    static struct kill_world world;
    struct kill_victim victim, reaper;
    world.round = 0;
    kill_world_open(&world, scenario);
    kill_victim_start(&world, &victim, 0);
    if (scenario->ready != NULL)
        scenario->ready(&world);
    while (scenario->begins[0] != NULL && !victim.done && !victim.blocked &&
           !scenario->begins[0](&world, kill_victim_at(&victim)))
        kill_victim_step(&world, &victim);
    for (uint64_t i = 0; i < steps && !victim.done && !victim.blocked; i++)
        kill_victim_step(&world, &victim);
    bool over = victim.done || victim.blocked;
    world.done[0] = victim.done;
    kill_victim_end(&victim);
    world.dead_slots[0] = victim.slot;
    world.page->actors[0].value = victim.slot;
    kill_victim_start(&world, &reaper, REAPER);
    kill_step_through(&world, &reaper);
    kill_victim_end(&reaper);
    kill_world_close(&world);
    return !over;
}

void kill_reaping(const struct kill_scenario *scenario)
{
    if (!kill_wanted(scenario->name))
        return;
    kill_scenario_begin("the reaper, at every instruction", scenario->name);
    const uint32_t stride = kill_stride(scenario->stride ? scenario->stride : 7);
    uint64_t at = 0, last = scenario->last[0];
    while (!kill_scenario_hopeless() && (last == 0 || at <= last) && reaping_of(scenario, at))
        at += stride;
    kill_scenario_end();
}
