/* SPDX-License-Identifier: MIT
 * The kill harness: run one operation of a child, the victim, instruction by instruction. After
 * each, copy the arena, declare the victim dead in the copy, let the real reaper repair the copy,
 * and check what must hold. Nobody is killed for a point, so points are cheap; a sample of them is
 * killed in earnest (kill_real), and two operations are interleaved (kill_pairs).
 *
 * The live arena is the one that victims work in. The copy is a second arena of the same size, so
 * that offsets agree; the harness has the same slot and thread record in both. Two points between
 * which nothing in the arena changed are one state, and are checked once: the repair sees nothing
 * else of the dead. */
#ifndef HARNESS_H
#define HARNESS_H

#include <sys/types.h>

#include "arena/arena.h"
#include "arena/block.h"
#include "chan/pipe.h"
#include "chan/ring.h"
#include "sync/wait.h"

#define KILL_RESERVE      (64ull << 20)
#define KILL_ACTORS       4u
#define KILL_ITEMS_MOST   4096u
#define KILL_BUFFER       65536u
#define KILL_NO_ITEM      UINT32_MAX
#define KILL_OBJECTS_MOST 16u
#define KILL_MANY_MOST    32u

struct kill_world;
struct kill_view;

/* --- scenarios ------------------------------------------------------------------------------ */

enum kill_flag {
    KILL_NO_QUEUE = 1,     /* no queue in the world */
    KILL_LOCKS = 2,        /* pairs: one may wait for a lock that the other holds */
    KILL_MAY_BE_EMPTY = 4, /* a get may find nothing */
    KILL_FORKS = 8,        /* the operation forks: its child is stopped at birth */
    KILL_LEAVES = 16,      /* the operation ends the victim's being a participant */
    KILL_PARTIAL = 32,     /* a put may fail (full) */
    KILL_MANY_POINTS = 64, /* quick runs look at every fourth state only */
    KILL_SLEEPS = 128,     /* pairs: one may come to sleep until the other does something */
    KILL_LOOSE = 256,      /* somebody releases permits that another one acquired */
    KILL_WHOLE = 512,      /* what an actor puts at once is put whole or not at all */
    KILL_BEDS = 1024,      /* those who wait may lie in beds (sync/bed.c) */
    KILL_NAPS = 2048,      /* pairs, with KILL_LOCKS: it waits for the other one by looking again */
};

/* How long those who wait for a lock seem to wait: the harness is so slow that all would starve. */
enum kill_patience { KILL_AS_IT_IS, KILL_PATIENT, KILL_STARVING };

/* What happens, to whom, and what must hold afterwards. All members but name and operate may be
 * absent. H: called in the harness; V: in the victim. */
struct kill_scenario {
    const char *name;
    uint32_t flags;
    uint32_t bytes;     /* of a message */
    uint32_t items;     /* in the queue before the operation: numbers 0 … items-1 */
    uint32_t rotate;    /* put and got before that, to move on in the ring */
    uint64_t max_items; /* of the queue */
    uint32_t inline_bytes;
    uint32_t kind, joinable; /* of the queue */
    uint64_t max_bytes;
    uint32_t puts[KILL_ACTORS]; /* number of the item that actor puts, 0: none */
    uint32_t
        many[KILL_ACTORS]; /* so many, with numbers from there on; or that actor gets as many */
    uint32_t stride;       /* pairs, quick; 0: 7 */
    uint32_t finer;        /* pairs: the first one's stride is so much finer; 0: the same */
    uint32_t last[2]; /* pairs: where the first and the second stop at the latest; 0: anywhere */
    uint32_t rounds;  /* pairs: extra times that setup is varied (world->round) */
    /* pairs with sleepers, quick: of the stops before a change the second takes every so manyth,
     * other ones in each row, the first three times as many. 0: all */
    uint32_t sparse;
    uint32_t patience;
    void (*setup)(struct kill_world *world);              /* H, in the live arena */
    void (*warm)(struct kill_world *world, uint32_t who); /* V, before the first step */
    void (*ready)(struct kill_world *world);              /* H, when the victims exist */
    void (*over)(struct kill_world *world);               /* H, before the world ends */
    /* H; pairs: the stops of each begin where this is true, and are counted from there. */
    bool (*begins[2])(struct kill_world *world, uint64_t at);
    int64_t (*operate[KILL_ACTORS])(struct kill_world *world, uint32_t who); /* V, stepped */
    /* H: the victim is about to sleep on a futex. False: that is where the run ends. */
    bool (*sleeps)(struct kill_world *world, uint32_t times);
    void (*observe)(struct kill_world *world, struct kill_view *view); /* H, before the repair */
    void (*check)(struct kill_world *world, struct kill_view *view);   /* H, after it */
};

/* What a victim does, if that is one expression: .operate. */
#define KILL_STEP(name, expression)                                                                \
    static int64_t name(struct kill_world *world, uint32_t who)                                    \
    {                                                                                              \
        (void)world;                                                                               \
        (void)who;                                                                                 \
        return (expression);                                                                       \
    }                                                                                              \
    struct kill_world /* takes the semicolon */

/* Run fn on each of an array of scenarios. */
#define KILL_EACH(fn, scenarios)                                                                   \
    do {                                                                                           \
        for (size_t kill_i = 0; kill_i < sizeof(scenarios) / sizeof *(scenarios); kill_i++)        \
            fn(&(scenarios)[kill_i]);                                                              \
    } while (0)

/* --- what victims and harness share --------------------------------------------------------- */

enum kill_phase { KILL_STARTING, KILL_READY, KILL_RUNNING, KILL_DONE };

struct kill_actor {
    _Atomic uint32_t phase;
    _Atomic uint64_t value; /* of the scenario */
    _Atomic int64_t result;
    unsigned char buffer[KILL_BUFFER]; /* where a get delivers */
};

struct kill_page {
    struct kill_actor actors[KILL_ACTORS];
};

/* What was in the used parts of an arena, at the same offsets. */
struct kill_image {
    char *base;
    bool valid;
    bool all; /* also what somebody is setting up: to go on from there */
};

/* Each item has a number: what is known about it. */
struct kill_ledger {
    uint32_t first_put;               /* numbers from here on are put by actors */
    uint32_t count;                   /* of numbers */
    uint8_t before[KILL_ITEMS_MOST];  /* was in a published cell, taken or returned when the victim
                                         stopped */
    uint8_t back[KILL_ITEMS_MOST];    /* is to be delivered again */
    uint8_t taken[KILL_ITEMS_MOST];   /* the slot that had taken it in place; 0: none */
    uint8_t after[KILL_ITEMS_MOST];   /* how often it came out of the repaired queue */
    uint8_t follows[KILL_ITEMS_MOST]; /* 1: is put by one actor, and behind the one before it */
};

struct kill_victim {
    pid_t pid;
    uint32_t slot;
    uint32_t who;
    uint64_t steps;
    kini_a32 *park; /* of its thread */
    uint32_t sleeps;
    pid_t child;       /* of a forking victim, stopped at birth */
    bool never_sleeps; /* the operation takes no lock: no need to ask at each step */
    bool may_sleep;    /* nobody who is stopped can be what it waits for */
    bool done;         /* the operation returned */
    bool blocked;      /* it would sleep: for somebody who is stopped */
    bool ended;        /* the process is gone */
};

struct kill_world {
    const struct kill_scenario *scenario;
    struct kin_arena *live, *copy;
    struct kini_self *live_self, *copy_self;
    struct kin_queue *queue;
    struct kill_page *page;
    struct kill_image last; /* the state that was checked last */
    struct kill_ledger ledger;
    uint32_t peer_slots[KILL_ACTORS]; /* further living participants; 0: none */
    uint32_t dead_slots[KILL_ACTORS]; /* declared dead at this point; 0: none */
    bool done[KILL_ACTORS];           /* whose operation returned */
    bool expect_again;                /* -EAGAIN of the reaper is an answer at this point */
    bool reaped;                      /* it was not given */
    bool parking;                     /* a peer is on its way to sleep, and is to stay there */
    uint32_t round;
    uint64_t value[8];                  /* of the scenario */
    uint64_t before[KILL_OBJECTS_MOST]; /* first words of the objects, before the repair */
};

/* The arena that is being checked: the copy, or the live one after a real kill. */
struct kill_view {
    struct kin_arena *arena;
    struct kini_self *self;
    struct kin_queue *queue;
    struct kill_world *world;
};

/* --- running (harness_run.c, harness_pair.c) ------------------------------------------------- */

/* Kill at every instruction, by way of the copy. */
void kill_run(const struct kill_scenario *scenario);
/* Kill in earnest at some of them, with the kernel's verdict. */
void kill_real(const struct kill_scenario *scenario);
/* Actor 0 dies in earnest after so many steps (from where begins[0] is true, a stride apart); then
 * actor 3 reaps it, is killed at every instruction, and both are reaped. */
void kill_reaping(const struct kill_scenario *scenario);
int64_t kill_op_reap(struct kill_world *world, uint32_t who);
/* Stop actor 0 after i steps and actor 1 after j; let 0 go on and kill 1 at every further step;
 * kill both; kill 1 and let 0 go on after the repair. */
void kill_pairs(const struct kill_scenario *scenario);

void kill_world_open(struct kill_world *world, const struct kill_scenario *scenario);
void kill_world_close(struct kill_world *world);
/* Step a victim to the end of its operation, and check at each state. */
void kill_step_through(struct kill_world *world, struct kill_victim *victim);
/* Check the live arena as it is now. force: also if nothing changed since the last check. */
void kill_point(struct kill_world *world, struct kill_victim *victim, bool force);
/* Check an arena in which the dead have been reaped already. */
void kill_check_reaped(struct kill_view *view);

/* --- victims (harness_step.c) ---------------------------------------------------------------- */

void kill_victim_start(struct kill_world *world, struct kill_victim *victim, uint32_t who);
/* One instruction. */
void kill_victim_step(struct kill_world *world, struct kill_victim *victim);
/* Without stopping, to the end of the operation. */
void kill_victim_finish(struct kill_world *world, struct kill_victim *victim);
void kill_victim_end(struct kill_victim *victim);
void kill_victim_end_child(struct kill_victim *victim);
/* Step until it sleeps on a futex for the first time: it stays there. */
void kill_victim_park(struct kill_world *world, struct kill_victim *victim);
/* Another process that stands at the same instruction and is the same participant. */
void kill_victim_copy(struct kill_world *world, const struct kill_victim *of,
                      struct kill_victim *ret_copy);
uint64_t kill_victim_at(const struct kill_victim *victim); /* program counter */
/* Whether its next instruction would put it to sleep on a futex. */
bool kill_victim_would_sleep(const struct kill_victim *victim);
bool kill_is_system_call(uint64_t at); /* whether such an instruction is there */
uint64_t kill_victim_hash(const struct kill_victim *victim); /* of its registers */
uint32_t kill_slot_of(const struct kin_arena *arena, pid_t pid);

/* --- stops (harness_stops.c) -------------------------------------------------------------------
 */

#define KILL_STOPS_MOST 8192u

struct kill_stops {
    uint8_t before[KILL_STOPS_MOST]; /* 1: the next step changes the arena */
};

/* Go through the operation from here on. The arena is to be put back afterwards. */
void kill_stops_find(struct kill_world *world, const struct kill_victim *from,
                     struct kill_stops *ret_stops);
/* Leave only every so manyth. */
void kill_stops_thin(struct kill_stops *stops, uint32_t every, uint32_t offset);
uint64_t kill_stops_next(const struct kill_stops *stops, uint64_t at, uint32_t stride);

/* --- copies (harness_copy.c) ----------------------------------------------------------------- */

void kill_image_open(struct kill_image *image, bool all);
void kill_image_close(struct kill_image *image);
void kill_image_take(struct kill_image *image, const struct kin_arena *arena);
uint64_t kill_image_hash(const struct kin_arena *arena);
bool kill_image_same(const struct kill_image *image, const struct kin_arena *arena);
void kill_image_restore(const struct kill_image *image, struct kin_arena *arena);
/* The process-private knowledge of a thread: what it has cached of the arena. */
void kill_caches_copy(struct kini_self *to, const struct kini_self *from);
struct kini_self *kill_self_blank(void);
/* Make the kernel's answer about that participant "dead", in this arena. */
void kill_declare_dead(struct kin_arena *arena, uint32_t slot);
void kill_copy_open(struct kill_world *world);
void kill_view_of_copy(struct kill_world *world, struct kill_view *ret_view);
void kill_view_of_live(struct kill_world *world, struct kill_view *ret_view);

/* --- invariants (harness_arena.c, harness_queue.c, harness_ledger.c) ---------------------------
 */

/* Nothing of the dead is left: records, bits, blocks, locks; the tables agree with one another. */
void kill_check_arena(struct kill_view *view);
void kill_check_slot_gone(struct kill_view *view, uint32_t slot);
/* Every unit is free once the caches are given back. */
void kill_check_no_leak(struct kill_view *view);
void kill_check_usable(struct kill_view *view);
void kill_check_memory_behind(struct kin_arena *live);
void kill_check_queues(struct kill_view *view);
/* Queues, and the rings of pipes. */
typedef void (*kill_ring_fn)(void *arg, struct kini_queue_shm *ring);
void kill_each_ring(struct kin_arena *arena, kill_ring_fn fn, void *arg);
void kill_check_store(struct kill_view *view, struct kini_queue_shm *queue); /* harness_store.c */
/* Instead of kill_ledger_check, for a queue that is a store. */
void kill_store_ledger_check(struct kill_world *world, struct kill_view *view);
/* With which priority the item of that number is put. */
int64_t kill_store_priority(uint32_t number);
/* A key that comes to the same. */
struct kin_queue_key kill_store_key(uint32_t number);
/* Walk all blocks that a published cell carries. */
bool kill_cell_carries(struct kill_view *view, uint64_t payload_off);

void kill_message_make(unsigned char *buffer, uint32_t bytes, uint32_t number);
/* The number of a message, or KILL_NO_ITEM if it is damaged. */
uint32_t kill_message_number(const unsigned char *buffer, int64_t bytes, uint32_t expected);
void kill_ledger_observe(struct kill_world *world, struct kill_view *view);
void kill_ledger_check(struct kill_world *world, struct kill_view *view);
void kill_fresh_items(struct kill_view *view);
void kill_put_number(struct kin_queue *queue, uint32_t bytes, uint32_t number);
/* Where the messages of a batch lie in an actor's buffer, and how many there are. */
unsigned char *kill_message_of(struct kill_world *world, uint32_t who, uint32_t i);
uint64_t kill_hand_bytes(struct kill_world *world, uint32_t who);
void kill_hand_clear(struct kill_world *world, uint32_t who);
uint32_t kill_many_of(const struct kill_scenario *scenario, uint32_t who);
int64_t kill_op_put_many(struct kill_world *world, uint32_t who);
int64_t kill_op_get_many(struct kill_world *world, uint32_t who);

/* --- synchronisation objects (harness_sync.c, harness_use.c) -----------------------------------
 */

void kill_check_waitq(struct kill_view *view, struct kini_waitq_shm *queue, const char *which);
/* Nobody looks after the dead but the harness, and everybody is as patient as the scenario says:
 * in the live arena, before each step. */
void kill_sync_calm(struct kill_world *world);
/* Remember the words of all objects of the view. */
void kill_sync_observe(struct kill_view *view);
/* Words, ledgers and wait queues agree with one another and with what was before, and nobody sleeps
 * although there is what it waits for. */
void kill_sync_check(struct kill_view *view);
/* What is free can be had. */
void kill_sync_use(struct kill_view *view);
/* Destroy all of them. */
void kill_sync_destroy(struct kill_view *view);
bool kill_lives(const struct kin_arena *arena, uint32_t slot);
bool kill_nobody_died(const struct kill_world *world);
/* The threads that are in the queue, and those of them that nobody has told to look. */
uint32_t kill_queued(struct kill_view *view, struct kini_waitq_shm *queue);
uint32_t kill_untold(struct kill_view *view, struct kini_waitq_shm *queue);
/* Whether the thread has been notified in that queue, and did not use it yet; how many have been.
 */
bool kill_is_notified(struct kill_view *view, struct kini_waitq_shm *queue, uint32_t index);
uint32_t kill_notified(struct kill_view *view, struct kini_waitq_shm *queue);
uint32_t kill_thread_of(struct kill_view *view, uint32_t slot); /* 0: none */
/* What the threads of the living hold of a counted object. */
int64_t kill_held(struct kill_view *view, uint32_t tag, kini_a64 *word);
/* Peers that wait: started and stepped until they sleep. kill_peers_end: for .over. */
struct kill_victim *kill_peer_waits(struct kill_world *world, uint32_t who);
void kill_one_waits(struct kill_world *world); /* actor 1; for .ready */
void kill_two_wait(struct kill_world *world);  /* actors 1 and 2 */
void kill_peers_end(struct kill_world *world);
/* A handle of the harness, in the arena of the view: for its public functions. */
struct kini_handle kill_handle(struct kill_view *view, const void *of);

/* --- reports (harness_report.c) -------------------------------------------------------------- */

void kill_begin(int argc, char **argv, const char *name);
int kill_end(void); /* prints the totals; the exit status */
bool kill_exhaustive(void);
bool kill_wanted(const char *scenario); /* --only */
uint32_t kill_stride(uint32_t quick);   /* finer when exhaustive; --stride */
void kill_context(const struct kill_world *world, const struct kill_victim *victim);
void kill_context_pair(const struct kill_world *world, const struct kill_victim *a,
                       const struct kill_victim *b, const char *form);
void kill_context_clear(void);
void kill_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Report and give the point up. */
_Noreturn void kill_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Something that the harness itself needs does not work. */
_Noreturn void kill_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Run fn(arg); false if it failed. */
bool kill_guarded(void (*fn)(void *arg), void *arg);
void kill_count(uint64_t points, uint64_t states);
void kill_scenario_begin(const char *form, const char *name);
bool kill_scenario_hopeless(void); /* it failed often enough */
void kill_scenario_end(void);

#define KILL_CHECK(condition, ...)                                                                 \
    do {                                                                                           \
        if (!(condition))                                                                          \
            kill_fail(__VA_ARGS__);                                                                \
    } while (0)

#endif
