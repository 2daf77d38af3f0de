/* SPDX-License-Identifier: MIT
 * The nudge protocol: src/sync/nudge.c, of src/sync/wait.c sleep_until(), kini_wait_sleep(), of
 * src/sync/waitq.c kini_waitq_forget(), kini_wait_repair(); the reaper's order of steps: src/arena/reaper.c.
 *
 * The object is a semaphore: WAITERS acquire, with deadlines that pass at any moment, and keep the
 * permit; WAKERS hold a permit each and release it. Up to DEATHS processes die at any
 * step. The reaper may be one of them; then a second one begins again.
 *
 * Abstractions. No slices: nobody looks again because time has passed, so the wakes alone must do.
 * The word of the semaphore and the ledger of who holds a permit change in one step (that they do
 * is the matter of src/sync/hold.h and its tests). No wait for any of several. A thread waits once.
 *
 * Checked: no permit is lost or made up; when nothing moves any more, nobody alive sleeps while a
 * permit is there; nobody hangs anywhere else.
 *
 * Planted errors: NO_SECOND_LOOK, NO_RECHECK, NO_PASS_ON, NO_NUDGE_ALL, NO_RECORDS, NO_NWAIT_IN_TIME
 */
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef WAKERS
#define WAKERS 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef FREE
#define FREE 0 /* permits in the semaphore at first */
#endif
#define FIRST_WAKER (WAITERS + 1)
#define REAPER      (WAITERS + WAKERS + 1)
#define PROCESSES   (REAPER + 1)

#define MORTAL(p) ((p) != PROCESSES) /* all but the second reaper */
#include "waitq.pml"

byte value = FREE;
bool held[PROCESSES + 1]; /* the ledger */

#define GIVE(whose) value++; held[whose] = false

/* --- nudge.c -------------------------------------------------------------------------------- */

#define NUDGE_LOCALS byte at, after, i, was
#define NUDGE_FORGET moved[me] = true; at = 0; after = 0; i = 0; was = 0

#ifdef NO_RECHECK
#define STILL_THERE(t) true
#else
#define STILL_THERE(t) HAS(t)
#endif

#ifdef SWAP_TO_ASLEEP /* planted: a mark is taken away before the look that answers it */
#define SWAPPED true
#else
#define SWAPPED false
#endif

#ifdef NO_RECORDS
#define LOOK_INTO_RECORDS false
#else
#define LOOK_INTO_RECORDS (at != 0 || moved[me])
#endif

/* nudge(): mark() without its first load, which only spares the exchange; then the look whether
 * the one that has the mark is still there. If so that was it: at = 0. The wake is a step of its own
 * only while somebody may die before it. */
inline nudge_one()
{
    STEP(
        was = park[at];
        park[at] = WOKEN;
        if
        :: was == ASLEEP && mortals == 0 ->
           FUTEX_WAKE(at);
           was = AWAKE
        :: else
        fi
    );
    if
    :: was == ASLEEP -> STEP(FUTEX_WAKE(at))
    :: else
    fi;
    d_step {
        if
        :: was != WOKEN && STILL_THERE(at) ->
           at = 0;
           moved[me] = true
        :: else
        fi;
        was = 0
    }
}

/* kini_waitq_nudge(1) */
inline nudge()
{
    if
    :: nwait == 0
    :: nwait != 0 ->
       READ_VERSION;
       at = head;
       do
       :: HAS(at) ->
          nudge_one();
          if
          :: at == 0 -> break
          :: else -> at = next[at]
          fi
       :: !HAS(at) && LOOK_INTO_RECORDS ->
          nudge_in_records();
          break
       :: d_step {
              !HAS(at) && !LOOK_INTO_RECORDS ->
              at = 0;
              moved[me] = true
          };
          break
       od
    fi
}

/* nudge_in_records(). The scan for the next is one step: who is missed, because it came after its
 * record was read, came after the permit, and takes its second look. */
inline nudge_in_records()
{
    do
    :: d_step {
           at = 0;
           for (rb_i : 1 .. WAITERS) {
               if
               :: HAS(rb_i) && ticket[rb_i] > after && (at == 0 || ticket[rb_i] < ticket[at]) ->
                  at = rb_i
               :: else
               fi
           }
           after = ticket[at];
           rb_i = 0;
           moved[me] = true
       };
       if
       :: at == 0 -> break
       :: else
       fi;
       nudge_one();
       if
       :: at == 0 -> break
       :: else
       fi
    od;
    after = 0
}

/* kini_waitq_nudge_all() */
inline nudge_all()
{
    if
    :: nwait == 0
    :: nwait != 0 ->
       i = 1;
       do
       :: i <= WAITERS && HAS(i) ->
          STEP(park[i] = WOKEN);
          STEP(FUTEX_WAKE(i));
          i++
       :: i <= WAITERS && !HAS(i) -> i++
       :: i > WAITERS -> break
       od;
       i = 0
    fi
}

/* Those who are alike begin in turn, as it does not matter which is which: fewer states. */
bool began[PROCESSES + 1];
#define IN_TURN(first)                                                                             \
    d_step {                                                                                       \
        first || began[me - 1] ->                                                                  \
        began[me] = true                                                                           \
    }

/* --- those who wait ------------------------------------------------------------------------- */

/* attempt(): the CAS that takes a permit, or the load that sees none */
inline attempt()
{
    STEP(
        if
        :: value > 0 ->
           value--;
           held[me] = true
        :: else
        fi
    )
}

/* kini_wait_sleep(). The deadline passes now, or not before a wake. */
inline sleep()
{
    STEP(
        was = park[me];
        if
        :: was == AWAKE || SWAPPED -> park[me] = ASLEEP
        :: else
        fi
    );
    if
    :: was == WOKEN
    :: was != WOKEN -> futex_wait()
    :: was != WOKEN -> timed_out = true
    fi;
    was = 0;
    STEP(park[me] = AWAKE) /* before the look that answers the wake */
}

proctype waiter(byte me)
{
    NUDGE_LOCALS;
    bool timed_out;
    IN_TURN(me == 1);
    attempt();
    if
    :: held[me]
    :: else ->
       enter();
#ifndef NO_SECOND_LOOK
       attempt();
#endif
       do
       :: !held[me] && !timed_out ->
          sleep();
          attempt()
       :: else -> break
       od;
       /* kini_waitq_withdraw() */
       LOCK_AND_CHANGE(TAKE_OFF(me));
       STEP(nwait--);
       STEP(wait_state[me] = NONE; wait_queue[me] = false; ticket[me] = 0);
       STEP(END_CHANGE_UNLOCK);
       /* kini_waitq_forget() */
       STEP(was = park[me]; park[me] = AWAKE; timed_out = false);
#ifndef NO_PASS_ON
       if
       :: was == WOKEN ->
          was = 0;
          nudge()
       :: else -> was = 0
       fi
#endif
    fi;
gone:
    atomic {
        timed_out = false; NUDGE_FORGET
    }
}

proctype waker(byte me)
{
    NUDGE_LOCALS;
    IN_TURN(me == FIRST_WAKER);
    STEP(GIVE(me));
    nudge();
gone:
    atomic {
        NUDGE_FORGET
    }
}

/* --- the reaper ----------------------------------------------------------------------------- */

/* kini_reap_steps() for the process v */
inline reap(v)
{
    recover_list(v);
    if
    :: v <= WAITERS && wait_queue[v] -> /* repair_queued() */
       LOCK_AND_CHANGE(TAKE_OFF(v));
       STEP(nwait--);
       STEP(wait_state[v] = NONE; wait_queue[v] = false; ticket[v] = 0);
       STEP(END_CHANGE_UNLOCK);
       nudge()
    :: else
    fi;
    if
    :: held[v] -> /* kini_holds_return() */
       STEP(GIVE(v));
       nudge()
    :: else
    fi;
#ifndef NO_NUDGE_ALL
    nudge_all(); /* kini_semaphore_holder_died() */
#endif
    buried(v)
}

/* Whoever notices. The second one works only when the first has died, as the byte lock has it. */
proctype reaper(byte me; byte before)
{
    NUDGE_LOCALS;
    byte v;
end_idle:
    do
    :: next_corpse();
       reap(v)
    od;
gone:
    atomic {
        v = 0; NUDGE_FORGET
    }
}

proctype judge()
{
    byte i, sum;
    timeout ->
    d_step {
        for (i : 1 .. WAITERS) {
            assert(!(in_futex[i] && !dead[i] && value > 0))
        }
        for (i : 1 .. REAPER) {
            sum = sum + held[i]
        }
        assert(value + sum == FREE + WAKERS)
    }
}

init
{
    byte p;
    atomic {
        choose_mortals(DEATHS);
        for (p : FIRST_WAKER .. REAPER - 1) {
            held[p] = true
        }
        for (p : 1 .. WAITERS) {
            run waiter(p)
        }
        for (p : FIRST_WAKER .. REAPER - 1) {
            run waker(p)
        }
        p = 0;
        run reaper(REAPER, 0);
        run reaper(REAPER + 1, REAPER);
        run judge()
    }
}
