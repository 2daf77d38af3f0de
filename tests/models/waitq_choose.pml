/* SPDX-License-Identifier: MIT
 * The choose protocol, as the condition uses it: src/sync/condition.c (kin_condition_wait, notify),
 * of src/sync/waitq.c wake_one(), kini_waitq_withdraw(), kini_waitq_forget(), kini_wait_repair(), of
 * src/sync/wait.c kini_wait_sleep(); the reaper's order of steps: src/arena/reaper.c.
 *
 * WAITERS wait, until notified, until a deadline that passes at any moment, or until their handle is
 * destroyed; one process notifies NOTIFY of them under the lock, one after the other. Up to DEATHS
 * processes die at any step, the reaper among them; then a second one begins again.
 *
 * Abstractions. The lock of the condition is one word that a reaper frees (lock.pml has the real
 * one); that a sleeping one may be moved to the queue of that lock is not in the model. No slices. A thread waits once. The nudges after a death are left out: whoever looks and is
 * not chosen sleeps on.
 *
 * Checked: a notification never finds nobody while somebody waits; each is delivered once, or given
 * up when nobody waits any more; at least once if it dies who passes on what another was given. Nobody who
 * was chosen sleeps on; nobody hangs anywhere else.
 *
 * Planted errors: NO_WAKE_TARGET, NO_TOKEN, PASSED_ON_TWICE, KEPT_TOKEN, NO_PASS_ON, NWAIT_FROM_0,
 * NWAIT_FIRST (needs NOTIFY=2)
 */
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef NOTIFY
#define NOTIFY 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#define NOTIFIER  (WAITERS + 1)
#define REAPER    (WAITERS + 2)
#define PROCESSES (REAPER + 1)
#define MORTAL(p) ((p) != PROCESSES) /* all but the second reaper */

#include "waitq.pml"

byte lock;                      /* of the condition: the holder */
byte wake_target[PROCESSES + 1];
bool wait_token[WAITERS + 1];

/* For the judge. */
bool waits[WAITERS + 1]; /* has entered, and will not leave by itself */
byte issued, delivered, given_up;
bool passing[PROCESSES + 1]; /* passes one on that is not forgotten yet: dead now, twice */

inline nobody_waits()
{
    for (rb_i : 1 .. WAITERS) {
        assert(!(waits[rb_i] && HAS(rb_i) && !dead[rb_i]))
    }
    rb_i = 0
}

/* --- waitq.c -------------------------------------------------------------------------------- */

#define WAKE_LOCALS byte target, was
#define WAKE_FORGET target = 0; was = 0

#ifdef NWAIT_FIRST /* planted: too small for one who is still in the list if we die now */
#define BEFORE_CHOSEN nwait--
#define AFTER_CHOSEN  skip
#else
#define BEFORE_CHOSEN skip
#define AFTER_CHOSEN  nwait--
#endif

#ifdef NO_WAKE_TARGET
#define NOTE_TARGET(t) skip
#else
#define NOTE_TARGET(t) wake_target[me] = t
#endif

/* kini_waitq_wake(1) and wake_one(). The bound by ticket is not needed for one. */
inline wake(notified)
{
    if
    :: d_step {
           nwait == 0 ->
           nobody_waits();
           given_up = given_up + 1 - notified
       }
    :: nwait != 0 ->
       lock_list();
       target = head;
       if
       :: target == 0 ->
          STEP(nobody_waits(); given_up = given_up + 1 - notified; ilock = 0)
       :: else ->
          STEP(NOTE_TARGET(target));
          STEP(BEGIN_CHANGE; TAKE_OFF(target); BEFORE_CHOSEN);
          STEP(wait_state[target] = CHOSEN; issued = issued + notified);
          STEP(AFTER_CHOSEN; END_CHANGE_UNLOCK);
          STEP(was = park[target]; park[target] = WOKEN); /* unpark() */
          if
          :: was == ASLEEP -> STEP(FUTEX_WAKE(target))
          :: else
          fi;
          was = 0;
          STEP(wake_target[me] = 0; target = 0)
       fi
    fi
}

/* kini_ilock_lock() */
inline lock_list()
{
    BLOCK(ilock == 0 || dead[ilock] -> ilock = me);
    repair_list()
}

/* --- those who wait ------------------------------------------------------------------------- */

proctype waiter(byte me)
{
    WAKE_LOCALS;
    bool leaves, chosen, stale;
    BLOCK(lock == 0 -> lock = me);
    enter();
    STEP(lock = 0; waits[me] = true);
    do
    :: wait_state[me] != CHOSEN && !leaves ->
       STEP( /* kini_wait_sleep() */
           was = park[me];
           if
           :: was == AWAKE -> park[me] = ASLEEP
           :: else
           fi
       );
       if
       :: was == WOKEN || wait_state[me] == CHOSEN
       :: was != WOKEN && wait_state[me] != CHOSEN -> futex_wait()
       :: was != WOKEN && wait_state[me] != CHOSEN -> /* the deadline */
          STEP(leaves = true; waits[me] = false)
       :: was != WOKEN && wait_state[me] != CHOSEN -> /* kin_condition_destroy() */
          STEP(leaves = true; waits[me] = false; stale = true)
       fi;
       was = 0;
       STEP(park[me] = AWAKE)
    :: else -> break
    od;
    leaves = false;
    /* kini_waitq_withdraw() */
    if
    :: wait_state[me] == CHOSEN -> chosen = true
    :: wait_state[me] != CHOSEN ->
       lock_list();
       if
       :: wait_state[me] == CHOSEN ->
          chosen = true;
          STEP(ilock = 0)
       :: wait_state[me] != CHOSEN ->
          STEP(BEGIN_CHANGE; TAKE_OFF(me));
          STEP(wait_state[me] = NONE; wait_queue[me] = false);
          STEP(nwait--; END_CHANGE_UNLOCK)
       fi
    fi;
#ifndef NO_TOKEN
    if
    :: chosen -> STEP(wait_token[me] = true)
    :: else
    fi;
#endif
    /* kini_waitq_forget(). Its look at park is for nudges. */
    STEP(wait_queue[me] = false);
    STEP(wait_state[me] = NONE; waits[me] = false);
    if
    :: chosen && stale -> /* not for us any more */
#ifndef NO_PASS_ON
       passing[me] = true;
       wake(0);
#endif
#ifndef KEPT_TOKEN
       STEP(wait_token[me] = false);
#endif
       passing[me] = false;
       chosen = false
    :: else
    fi;
    stale = false;
    BLOCK(lock == 0 -> lock = me);
    STEP(wait_token[me] = false; delivered = delivered + chosen; chosen = false);
    STEP(lock = 0);
gone:
    atomic {
        leaves = false;
        chosen = false;
        stale = false;
        WAKE_FORGET
    }
}

proctype notifier(byte me)
{
    WAKE_LOCALS;
    byte n;
    do
    :: n < NOTIFY ->
       BLOCK(lock == 0 -> lock = me);
       wake(1);
       STEP(lock = 0);
       n++
    :: else -> break
    od;
gone:
    atomic {
        n = 0;
        WAKE_FORGET
    }
}

/* --- the reaper ----------------------------------------------------------------------------- */

/* kini_reap_steps() for the process v, with kini_wait_repair() */
inline reap(v)
{
    recover_list(v);
    if
    :: wake_target[v] != 0 && wait_state[wake_target[v]] == CHOSEN ->
       STEP(park[wake_target[v]] = WOKEN);
       STEP(FUTEX_WAKE(wake_target[v]))
    :: else
    fi;
    STEP(wake_target[v] = 0);
    if
    :: v <= WAITERS && wait_token[v] ->
#ifndef PASSED_ON_TWICE
       if
       :: wait_queue[v] -> STEP(wait_queue[v] = false) /* the token stands for it */
       :: else
       fi;
#endif
       passing[me] = true;
       wake(0);
       STEP(wait_token[v] = false; passing[me] = false)
    :: else
    fi;
    if
    :: v <= WAITERS && wait_queue[v] -> /* repair_queued() */
       lock_list();
       if
       :: wait_state[v] == CHOSEN ->
          STEP(ilock = 0);
          passing[me] = true;
          wake(0);
          lock_list()
       :: else
       fi;
       if
       :: wait_state[v] == QUEUED -> STEP(BEGIN_CHANGE; TAKE_OFF(v))
       :: else -> STEP(BEGIN_CHANGE)
       fi;
       STEP(
           if
           :: wait_state[v] == QUEUED -> nwait--
           :: else
           fi;
           wait_state[v] = NONE;
           wait_queue[v] = false;
           passing[me] = false
       );
       STEP(END_CHANGE_UNLOCK)
    :: else
    fi;
    STEP( /* kini_lock_holder_died() */
        if
        :: lock == v -> lock = 0
        :: else
        fi
    );
    buried(v)
}

proctype reaper(byte me; byte before)
{
    WAKE_LOCALS;
    byte v;
end_idle:
    do
    :: next_corpse();
       reap(v)
    od;
gone:
    atomic {
        v = 0;
        WAKE_FORGET
    }
}

proctype judge()
{
    bool twice;
    timeout ->
    d_step {
        for (rb_i : 1 .. WAITERS) {
            assert(!(in_futex[rb_i] && !dead[rb_i] && wait_state[rb_i] != QUEUED))
        }
        for (rb_i : 1 .. PROCESSES) {
            twice = twice || passing[rb_i]
        }
        assert(delivered + given_up == issued || (twice && delivered + given_up > issued));
        rb_i = 0
    }
}

init
{
    byte p;
    atomic {
        choose_mortals(DEATHS);
        for (p : 1 .. WAITERS) {
            run waiter(p)
        }
        p = 0;
        run notifier(NOTIFIER);
        run reaper(REAPER, 0);
        run reaper(REAPER + 1, REAPER);
        run judge()
    }
}
