/* SPDX-License-Identifier: MIT
 * One victim, killed after every instruction: in the copy, and a sample of them in earnest. */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_PUT  1000u
#define PUTS_MOST  64u /* numbers that actors may put */
#define REAL_KILLS 12u

/* --- worlds ----------------------------------------------------------------------------------- */

static void rotate(struct kill_world *world, uint32_t times)
{
    static unsigned char buffer[KILL_BUFFER];
    for (uint32_t i = 0; i < times; i++) {
        kill_put_number(world->queue, world->scenario->bytes, 0);
        if (kin_queue_try_get(world->queue, buffer, sizeof buffer) < 0)
            kill_broken("an item does not come out");
    }
}

static void open_queue(struct kill_world *world)
{
    const struct kill_scenario *s = world->scenario;
    struct kin_queue_opts opts = {.max_items = s->max_items,
                                  .inline_bytes = s->inline_bytes,
                                  .kind = s->kind,
                                  .joinable = s->joinable,
                                  .max_bytes = s->max_bytes};
    if (kin_queue_create(world->live, &opts, &world->queue) < 0)
        kill_broken("no queue: %s", kin_error_text());
    rotate(world, s->rotate);
    for (uint32_t i = 0; i < s->items; i++)
        kill_put_number(world->queue, s->bytes, i);
    world->ledger.first_put = FIRST_PUT;
    world->ledger.count = FIRST_PUT + PUTS_MOST;
}

/* What an earlier user leaves in memory must not be taken for anything: here, for the headers of
 * blocks that belong to the victims. */
static void soil(struct kin_arena *live)
{
    uint64_t *block;
    const uint64_t bytes = 6 * KINI_UNIT_BYTES;
    if (kin_block_alloc(live, bytes, (void **)&block) < 0)
        kill_broken("no memory: %s", kin_error_text());
    for (uint64_t i = 0; i < bytes / 8; i++)
        block[i] = i % 2 ? i : KINI_BLOCK_WORD(KINI_BLOCK_PRIVATE, 2 + i / 2 % 2, 0);
    kin_block_free(live, block);
}

static int64_t not_yet(struct kini_self *self, void *unused)
{
    (void)self;
    (void)unused;
    return -EAGAIN;
}

void kill_world_open(struct kill_world *world, const struct kill_scenario *scenario)
{
    uint32_t round = world->round;
    *world = (struct kill_world){.scenario = scenario, .round = round};
    world->page =
        mmap(NULL, sizeof *world->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world->page == MAP_FAILED)
        kill_broken("no memory for the page");
    for (uint32_t who = 0; who < KILL_ACTORS; who++)
        kill_hand_clear(world, who);
    kill_image_open(&world->last, false);
    struct kin_arena_opts opts = {.reserve_bytes = KILL_RESERVE, .name = "live"};
    if (kin_arena_create(&opts, &world->live) < 0)
        kill_broken("no arena: %s", kin_error_text());
    if (!(scenario->flags & KILL_BEDS)) /* the harness is so slow that each wait is a long one */
        kini_store(&world->live->super->bedless_ms, UINT64_MAX);
    world->live_self = kini_enter(world->live);
    if (world->scenario->flags & KILL_NO_QUEUE)
        kill_sync_calm(world);
    soil(world->live);
    /* counts the processors, once for all victims */
    kini_wait_spin(world->live_self, not_yet, NULL, false);
    if (!(scenario->flags & KILL_NO_QUEUE))
        open_queue(world);
    if (scenario->setup != NULL)
        scenario->setup(world);
    kill_copy_open(world);
}

void kill_world_close(struct kill_world *world)
{
    if (world->scenario->over != NULL)
        world->scenario->over(world);
    kini_last_self = NULL;
    kin_arena_detach(world->live);
    free(world->queue);
    kill_image_close(&world->last);
    munmap(world->page, sizeof *world->page);
    while (waitpid(-1, NULL, WNOHANG) > 0) /* orphans of victims that forked */
        ;
}

/* --- one check -------------------------------------------------------------------------------- */

static void free_of_slots(struct kill_view *view, const uint32_t *slots)
{
    for (uint32_t i = 0; i < KILL_ACTORS; i++)
        if (slots[i] != 0)
            kill_check_slot_gone(view, slots[i]);
}

/* Everybody but us is dead by now: repaired, nothing of them is left. */
static void reap_the_rest(struct kill_view *view)
{
    struct kini_super_shm *super = view->arena->super;
    uint32_t left = 0;
    for (uint32_t round = 0; round < 4; round++) {
        left = 0;
        for (uint32_t slot = 2; slot < super->participants_high; slot++) {
            if (KINI_STATE(view->arena->participants[slot].state) == KINI_FREE)
                continue;
            kill_declare_dead(view->arena, slot);
            left += kini_reap(view->arena, slot) != 1;
        }
        if (left == 0)
            return;
    }
    kill_fail("with everybody dead, %u of them cannot be reaped", left);
}

void kill_check_reaped(struct kill_view *view)
{
    struct kill_world *world = view->world;
    const struct kill_scenario *s = world->scenario;
    free_of_slots(view, world->dead_slots);
    kill_check_arena(view);
    kill_check_queues(view);
    kill_sync_check(view);
    if (s->check != NULL)
        s->check(world, view);
    else if (view->queue != NULL)
        kill_ledger_check(world, view);
    if (view->queue != NULL)
        kill_fresh_items(view);
    kill_check_usable(view);
    kill_sync_use(view);
    kill_sync_observe(view);
    reap_the_rest(view);
    kill_check_arena(view);
    kill_check_queues(view);
    kill_sync_check(view);
    kill_sync_destroy(view);
    if (view->queue != NULL)
        kin_queue_destroy(view->queue);
    kill_check_no_leak(view);
}

/* The reaper's answer about one of the dead in the copy. */
static int reap_one(struct kill_view *view, uint32_t slot)
{
    int r = kini_reap(view->arena, slot);
    KILL_CHECK(r == 1 || r == -EAGAIN, "the reaper answers %d about slot %u", r, slot);
    return r;
}

static void reap_dead(struct kill_view *view)
{
    struct kill_world *world = view->world;
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < KILL_ACTORS; i++)
        if (world->dead_slots[i] != 0)
            kill_declare_dead(view->arena, world->dead_slots[i]);
    /* Two dead ones may stand in each other's way until both are known to be dead. */
    for (uint32_t round = 0; round < 3; round++) {
        waiting = 0;
        for (uint32_t i = 0; i < KILL_ACTORS; i++) {
            uint32_t slot = world->dead_slots[i];
            if (slot != 0 && KINI_STATE(view->arena->participants[slot].state) != KINI_FREE)
                waiting += reap_one(view, slot) != 1;
        }
    }
    world->reaped = waiting == 0;
    KILL_CHECK(world->reaped || world->expect_again, "%u of the dead cannot be reaped", waiting);
}

static void check_copy(void *arg)
{
    struct kill_world *world = arg;
    struct kill_view view;
    kill_check_memory_behind(world->live);
    kill_view_of_copy(world, &view);
    if (world->scenario->observe != NULL)
        world->scenario->observe(world, &view);
    kill_ledger_observe(world, &view);
    kill_sync_observe(&view);
    reap_dead(&view);
    if (world->reaped)
        kill_check_reaped(&view);
}

void kill_point(struct kill_world *world, struct kill_victim *victim, bool force)
{
    kill_count(1, 0);
    if (!force && kill_image_same(&world->last, world->live))
        return;
    kill_image_take(&world->last, world->live);
    kill_count(0, 1);
    if (!kill_guarded(check_copy, world))
        world->reaped = false;
    (void)victim;
}

/* --- every instruction ------------------------------------------------------------------------ */

/* Copying a large message, an instruction changes the arena many times in the same way. */
static bool worth_a_check(const struct kill_scenario *s, uint64_t steps, uint64_t at, uint64_t last)
{
    if (at == last && steps % 256 != 0)
        return false;
    return !(s->flags & KILL_MANY_POINTS) || steps % kill_stride(4) == 0;
}

void kill_step_through(struct kill_world *world, struct kill_victim *victim)
{
    uint64_t at = 0;
    while (!kill_scenario_hopeless()) {
        uint64_t now = victim->ended ? 0 : kill_victim_at(victim);
        kill_context(world, victim);
        world->dead_slots[victim->who] = victim->slot;
        world->done[victim->who] = victim->done;
        /* after a system call memory may be gone or new, and nothing else tells */
        bool called = kill_is_system_call(at);
        if (victim->done || called || worth_a_check(world->scenario, victim->steps, now, at))
            kill_point(world, victim, victim->done || called);
        else
            kill_count(1, 0);
        at = now;
        if (victim->done || victim->ended || victim->blocked)
            break;
        kill_victim_step(world, victim);
    }
    if (victim->ended)
        kill_broken("the victim ended");
}

void kill_run(const struct kill_scenario *scenario)
{
    if (!kill_wanted(scenario->name))
        return;
    kill_scenario_begin("every instruction", scenario->name);
    static struct kill_world world;
    kill_world_open(&world, scenario);
    struct kill_victim victim;
    kill_victim_start(&world, &victim, 0);
    if (scenario->ready != NULL)
        scenario->ready(&world);
    kill_step_through(&world, &victim);
    kill_victim_end(&victim);
    kill_world_close(&world);
    kill_scenario_end();
}

/* --- in earnest ------------------------------------------------------------------------------- */

static void reap_live(void *arg)
{
    struct kill_world *world = arg;
    struct kill_view view;
    kill_view_of_live(world, &view);
    if (world->scenario->observe != NULL)
        world->scenario->observe(world, &view);
    kill_ledger_observe(world, &view);
    kill_sync_observe(&view);
    bool left = KINI_STATE(world->live->participants[world->dead_slots[0]].state) == KINI_FREE;
    int r = kin_arena_reap(world->live);
    KILL_CHECK(r >= 1 || left, "kin_arena_reap answers %d, although one is dead", r);
    kill_check_reaped(&view);
}

/* Killed for real after so many steps. Returns false when the operation is over before. */
static bool kill_once(const struct kill_scenario *scenario, uint64_t steps, bool zombie)
{
    static struct kill_world world;
    struct kill_victim victim;
    kill_world_open(&world, scenario);
    kill_victim_start(&world, &victim, 0);
    if (scenario->ready != NULL)
        scenario->ready(&world);
    while (victim.steps < steps && !victim.done && !victim.blocked)
        kill_victim_step(&world, &victim);
    kill_context(&world, &victim);
    bool over = victim.done || victim.blocked;
    world.done[0] = victim.done;
    world.dead_slots[0] = victim.slot;
    kill_victim_end_child(&victim);
    kill(victim.pid, SIGKILL);
    siginfo_t info;
    waitid(P_PID, (id_t)victim.pid, &info, WEXITED | WNOWAIT);
    if (!zombie)
        kill_victim_end(&victim);
    victim.ended = true;
    kill_count(1, 1);
    if (!kill_scenario_hopeless())
        kill_guarded(reap_live, &world);
    waitpid(victim.pid, NULL, __WALL);
    free(world.queue);
    world.queue = NULL;
    kill_world_close(&world);
    return !over;
}

static uint64_t count_steps(const struct kill_scenario *scenario)
{
    static struct kill_world world;
    struct kill_victim victim;
    kill_world_open(&world, scenario);
    kill_victim_start(&world, &victim, 0);
    if (scenario->ready != NULL)
        scenario->ready(&world);
    while (!victim.done && !victim.blocked)
        kill_victim_step(&world, &victim);
    kill_victim_end(&victim);
    kill_world_close(&world);
    return victim.steps;
}

void kill_real(const struct kill_scenario *scenario)
{
    if (!kill_wanted(scenario->name))
        return;
    kill_scenario_begin("killed in earnest", scenario->name);
    uint64_t steps = count_steps(scenario), stride = steps / (kill_exhaustive() ? 400 : REAL_KILLS);
    bool zombie = false;
    for (uint64_t at = 0; !kill_scenario_hopeless(); at += stride + 1, zombie = !zombie)
        if (!kill_once(scenario, at, zombie))
            break;
    kill_scenario_end();
}
