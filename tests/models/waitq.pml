/* SPDX-License-Identifier: MIT
 * What the models share: death, the list of a wait queue, the futex of a thread record. Stands for:
 * src/sync/waitq.c (begin_change .. kini_waitq_repair, kini_waitq_enter, kini_waitq_withdraw) and
 * the internal lock of src/arena/ilock.c.
 *
 * One step of a model is one store or load that another process can see, in the order of the code.
 * Steps that nobody can tell apart are one: what only the holder of the internal lock reads (prev,
 * tail, the journal), and the version with the change that it announces or ends, as who sees the odd
 * version looks into the records in any case. Sequentially consistent, as the code asks for wherever
 * a load that follows a store must not overtake it; lock.pml has a store buffer where it does not.
 *
 * Death: STEP(...) is a step that others can see, before which the process may die, and BLOCK(...)
 * one that waits until it can be done. To die after a mere load is the same as to die before the
 * next step. How many die is chosen first, so a run that gets stuck is stuck with nobody dying.
 *
 * The includer defines WAITERS (threads 1 to WAITERS have records), PROCESSES (the last of them) and
 * MORTAL(p).
 */

#define NONE   0 /* wait_state */
#define QUEUED 1
#define CHOSEN 2

#define AWAKE  0 /* park */
#define WOKEN  1
#define ASLEEP 2

/* --- death ---------------------------------------------------------------------------------- */

byte mortals;             /* how many may still die */
bool dead[PROCESSES + 1]; /* the kernel says so */
short corpses;            /* bits: dead, and not reaped yet */

/* At gone each process clears what is private, so that the dead are all alike: fewer states. */
#define DIE                                                                                        \
    atomic {                                                                                       \
        mortals > 0 && MORTAL(me) ->                                                               \
        d_step {                                                                                   \
            mortals--;                                                                             \
            dead[me] = true;                                                                       \
            corpses = corpses | (1 << me)                                                          \
        };                                                                                         \
        goto gone                                                                                  \
    }

#define STEP(...)                                                                                  \
    if                                                                                             \
    :: d_step { __VA_ARGS__ }                                                                      \
    :: DIE                                                                                         \
    fi
#define BLOCK(...) STEP(__VA_ARGS__)

inline choose_mortals(most)
{
    if
    :: mortals = 0
    :: mortals = most
    fi
}

/* Waits for one who is to be reaped, v. before: the reaper that must have died first. */
inline next_corpse()
{
    d_step {
        (corpses & ~(1 << me)) != 0 && (before == 0 || dead[before]) ->
        v = 1;
        do
        :: v != me && (corpses & (1 << v)) -> break
        :: else -> v++
        od;
        skip
    }
}

inline buried(v)
{
    STEP(corpses = corpses & ~(1 << v));
    v = 0
}

/* --- the internal lock ---------------------------------------------------------------------- */

hidden byte rb_i, rb_best, rb_done, rb_count; /* within one step */

byte ilock;   /* the holder; 0: free */
bool journal; /* the list is being changed */
byte head, tail, nwait, tickets;

/* The version, by what a reader can learn from it: that it is odd, and that it is another one than
 * the reader has seen. */
bool odd;
bool moved[PROCESSES + 1];

byte next[WAITERS + 1], prev[WAITERS + 1], ticket[WAITERS + 1];
byte wait_state[WAITERS + 1], park[WAITERS + 1];
bool wait_queue[WAITERS + 1];
bool in_futex[WAITERS + 1]; /* sleeps in the kernel */

#define READ_VERSION moved[me] = odd

inline set_version(now)
{
    odd = now;
    for (rb_i : 1 .. PROCESSES) {
        moved[rb_i] = true
    }
    rb_i = 0
}

/* kini_waitq_has() */
#define HAS(t) (wait_state[t] == QUEUED && wait_queue[t])

/* rebuild(): from the thread records, the longest waiter first. Readers without the lock see the
 * odd version, and do not believe the list. */
inline rebuild_list()
{
    rb_done = 0;
    head = 0;
    tail = 0;
    do
    :: rb_best = 0;
       for (rb_i : 1 .. WAITERS) {
           if
           :: HAS(rb_i) && ticket[rb_i] > rb_done &&
              (rb_best == 0 || ticket[rb_i] < ticket[rb_best]) -> rb_best = rb_i
           :: else
           fi
       }
       if
       :: rb_best == 0 -> break
       :: else
       fi;
       next[rb_best] = 0;
       prev[rb_best] = tail;
       if
       :: tail != 0 -> next[tail] = rb_best
       :: else -> head = rb_best
       fi;
       tail = rb_best;
       rb_done = ticket[rb_best]
    od;
    rb_done = 0
}

inline count_queued()
{
    rb_count = 0;
    for (rb_i : 1 .. WAITERS) {
        if
        :: HAS(rb_i) -> rb_count++
        :: else
        fi
    }
    rb_i = 0
}

/* kini_ilock_repair() and kini_waitq_repair(). nwait is never too small for who waits: it changes
 * once, when the list is whole. */
inline repair_list()
{
    if
    :: journal ->
       STEP(set_version(true));
#ifdef NWAIT_FROM_0 /* planted: counted in shared memory, from 0 */
       STEP(nwait = 0);
#endif
       STEP(rebuild_list());
       STEP(count_queued(); nwait = rb_count);
       STEP(set_version(false); journal = false)
    :: else
    fi
}

#define BEGIN_CHANGE      journal = true; set_version(true)
#define END_CHANGE_UNLOCK set_version(false); journal = false; ilock = 0

/* kini_ilock_lock(), at once or after a dead holder, and a change of the list that begins with the
 * arguments. */
#define LOCK_AND_CHANGE(...)                                                                       \
    if                                                                                             \
    :: d_step {                                                                                    \
           (ilock == 0 || dead[ilock]) && !journal ->                                              \
           ilock = me;                                                                             \
           BEGIN_CHANGE;                                                                           \
           __VA_ARGS__                                                                             \
       }                                                                                           \
    :: d_step {                                                                                    \
           ilock != 0 && dead[ilock] && journal ->                                                 \
           ilock = me                                                                              \
       };                                                                                          \
       repair_list();                                                                              \
       STEP(BEGIN_CHANGE; __VA_ARGS__)                                                             \
    :: DIE                                                                                         \
    fi

/* The reaper's kini_ilock_recover(). */
inline recover_list(v)
{
    if
    :: d_step { ilock == v -> ilock = me };
       repair_list();
       STEP(ilock = 0)
    :: ilock != v
    :: DIE
    fi
}

/* The pointers of unlink_thread(). What was taken off keeps its own. */
#define TAKE_OFF(t)                                                                                \
    if                                                                                             \
    :: prev[t] != 0 -> next[prev[t]] = next[t]                                                     \
    :: else -> head = next[t]                                                                      \
    fi;                                                                                            \
    if                                                                                             \
    :: next[t] != 0 -> prev[next[t]] = prev[t]                                                     \
    :: else -> tail = prev[t]                                                                      \
    fi;                                                                                            \
    prev[t] = 0

/* --- in and out ----------------------------------------------------------------------------- */

/* park is AWAKE: in the models a thread waits once. */
inline enter()
{
    LOCK_AND_CHANGE(
        tickets++;
        ticket[me] = tickets;
        wait_state[me] = QUEUED;
        wait_queue[me] = true
    );
    STEP(
        next[me] = 0;
        prev[me] = tail;
        if
        :: tail != 0 -> next[tail] = me
        :: else -> head = me
        fi;
        tail = me
    );
    STEP(nwait++; END_CHANGE_UNLOCK)
}

/* --- the futex ------------------------------------------------------------------------------ */

/* FUTEX_WAIT: sleeps only if nobody has changed park. What ends it is futex_wake() alone. */
inline futex_wait()
{
    if
    :: park[me] != ASLEEP
    :: d_step { park[me] == ASLEEP -> in_futex[me] = true };
end_asleep:
       BLOCK(!in_futex[me])
    fi
}

#define FUTEX_WAKE(t) in_futex[t] = false
