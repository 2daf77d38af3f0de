/* SPDX-License-Identifier: MIT
 * Storms over what synchronises: the frame (sync_storm.c) starts processes, kills, stops and
 * continues them, and watches that everything goes on; a scenario says what they do and accounts
 * for it. What a scenario notes lies in memory that all share and that survives each of them. */
#ifndef KT_SYNC_STORM_H
#define KT_SYNC_STORM_H

#include "base/atomic.h"
#include "lib/kin_test.h"
#include "sync/handle.h"

#include <inttypes.h>
#include <kin/sync.h>
#include <kin/wait.h>
#include <sched.h>

#define PLACES       6 /* processes that are killed, and started anew */
#define THREADS      2 /* of each, at most */
#define SEATS        (PLACES * THREADS)
#define LOOKOUT      PLACES /* a process that only waits: it looks after the dead while others sleep */
#define PROCESSES    (PLACES + 1)
#define OBJECTS      4
#define KINDS        5
#define PATIENCE_MS  20000
#define FORGOTTEN_MS 400

/* What a seat does with an object at the moment. Killed while INSIDE it held it; in ACQUIRING and
 * RELEASING it may have. */
enum phase { OUT, ACQUIRING, INSIDE, RELEASING, WAITING, NOTIFYING };

struct seat {
    kini_a64 done[KINDS]; /* how often it succeeded */
    kini_a64 since_ns;    /* of doing; for the dump */
    kini_a64 doing;       /* const char * */
    kini_a32 phase[OBJECTS];
};

struct storm {
    kini_a32 stop;
    kini_a64 number;          /* of the last process */
    kini_a64 doomed[PLACES];  /* the last process of that place that we set out to kill */
    kini_a64 doomed_mask;     /* places whose process we set out to kill and did not replace */
    kini_a64 victims_cleared; /* + 1 before a place leaves the mask */
    struct seat seats[SEATS];
};

/* A thread of a process. */
struct me {
    int place, number_of_seat;
    uint64_t id; /* number of the process * SEATS + seat; never 0 */
    struct seat *seat;
    struct kt_random random;
};

struct scenario {
    const char *name;
    const char *kinds[KINDS];
    void (*begin)(struct kt_random *random); /* objects, and what is noted */
    void (*act)(struct me *me);              /* once */
    uint32_t (*kinds_of)(int place);         /* a bit for each kind in which it must go on */
    void (*examine)(int32_t pid, int place); /* about to be killed, and stopped; may be NULL */
    void (*died)(int seat);                  /* killed and collected */
    void (*wake)(void);                      /* stop is set: nobody is to wait for ever */
    void (*check)(void);                     /* everybody is dead and reaped */
    void (*end)(void);                       /* destroy */
    void (*dump)(void);
    /* The objects whose sleepers must not be forgotten, and kinds of wait. */
    uint32_t (*waits)(struct kin_wait *waits);
};

extern const struct scenario sync_locks, sync_semaphores, sync_rwlocks, sync_conditions, sync_mixed;

extern struct storm *storm;
extern struct kin_arena *storm_arena;
extern int threads_count; /* of each process */
extern bool examined;     /* everybody is stopped and examined before it is killed */

/* --- for those who act ------------------------------------------------------------------------ */

static inline void doing(struct me *me, uint32_t object, uint32_t phase, const char *what)
{
    kini_store(&me->seat->since_ns, (uint64_t)kin_now_ns());
    kini_store(&me->seat->doing, (uint64_t)(uintptr_t)what);
    kini_store_sc(&me->seat->phase[object], phase);
}

static inline void done(struct me *me, uint32_t object, uint32_t kind)
{
    kini_store_sc(&me->seat->phase[object], OUT);
    kini_store(&me->seat->doing, 0);
    kini_store(&me->seat->done[kind], kini_load(&me->seat->done[kind]) + 1);
}

static inline bool stopping(void)
{
    return kini_load_sc(&storm->stop) != 0;
}

/* Whether we set out to kill the process of that id: it does nothing any more, or soon. */
static inline bool is_doomed(uint64_t id)
{
    return kini_load_sc(&storm->doomed[id % SEATS / THREADS]) >= id / SEATS;
}

/* What a word of bits, each a seat that is inside, says of the living. False: cannot be told, as
 * victims were being cleared away. bits: how many each seat has in the word. */
bool living(kini_a64 *word, uint32_t bits, uint64_t *ret_living);

/* Some time inside: nothing, a moment, a turn of others, a sleep. */
void linger(struct me *me);
/* A deadline: now and then one that passes. */
kin_deadline some_deadline(struct me *me);

/* The life of a process at that place. */
void run_place(int place, uint64_t number);

/* --- the processes, for the one who kills (sync_strike.c) --------------------------------------
 */

extern const struct scenario *scenario; /* that of this storm */
extern struct kin_event *never;         /* for which the lookout waits */
extern pid_t pids[PROCESSES];           /* 0: none */
extern bool stopped[PROCESSES];
extern uint64_t kills, rounds;

void start(int place);
void doom(int place);    /* to be killed: examined, marked, and sent the signal */
void collect(int place); /* and accounted for */
void strike(struct kt_random *random);
void continue_all(void);
/* Fails if somebody sleeps although what it waits for is there. */
void look_for_forgotten(void);
/* Fails unless it left in good order, or was killed. */
void check_status(int place, int status);
/* Fails, and shows who waits for what. */
void give_up(const char *why);

/* --- for the one who watches (sync_watch.c) ----------------------------------------------------
 */

/* Everything that is known about who waits for what. */
void dump_storm(void);

/* An object could be had, and all who wait for it sleep. */
bool is_forgotten(const struct kin_wait *wait);

static inline uint32_t phases_of(int seat, uint32_t object)
{
    return kini_load_sc(&storm->seats[seat].phase[object]);
}

static inline bool maybe_held(uint32_t phase)
{
    return phase == ACQUIRING || phase == RELEASING;
}

#endif
