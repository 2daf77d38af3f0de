/* SPDX-License-Identifier: MIT
 * A wait queue that is calm: kini_waitq_wake_calm() of src/sync/wait.h, kini_waitq_enter() and
 * uncalm() of src/sync/waitq.c, and what src/chan/solo.c does around them when it puts.
 *
 * The waker puts CHANGES items by plain stores, which lie in the store buffer of its processor, in
 * their order, and reach memory at any later moment; at the latest with its next atomic operation,
 * when somebody fences all (membarrier), or when it dies (stores that are done are not lost). When
 * nobody has waited for QUIET of its changes it leaves out the barrier between its change and its
 * look at who waits. WAITERS wait for an item ROUNDS times each, with or without a deadline, which
 * passes at any moment. All of them die at any step, at most DEATHS.
 *
 * Abstractions. Entering and leaving the queue is one step each, and so is taking an item: waitq.pml
 * and solo.pml have these. A wake tells all who are in the queue to look again: whom it chooses is
 * the matter of waitq_choose.pml. No slices: nobody looks again because time has passed, so the
 * wakes alone must do. The reaper is not killed. Everybody can be fenced: where somebody cannot,
 * the waker goes back to the general path, and who enters waits until its stores have arrived, so
 * that is the fence here.
 *
 * Checked: in the end nobody sleeps while there is an item.
 *
 * Planted errors: NO_BARRIER, NO_FENCE, FENCE_FIRST, ONLY_CALM, ZERO_AT_ONCE, CALM_FIRST,
 * LOOK_FIRST, CALM_LATE, INTENT_ENDS_FIRST, NO_WAKE_AT_DEATH
 */
#ifndef CHANGES
#define CHANGES 4
#endif
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef QUIET
#define QUIET 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

#define RESTLESS 0
#define CALM     1
#define UNCALM   2

mtype = { INTENT, ITEM, SAY_CALM };

byte calm, nwait, items, taken;
bool intent; /* of the waker */
bool listed[WAITERS], told[WAITERS], gone[WAITERS];
chan buffer = [8] of { mtype, bool };
bool saying; /* CALM is in the buffer: its own processor reads it already */

bool waker_dead;
byte deaths, ids;

inline reach(kind, value)
{
    if
    :: kind == INTENT -> intent = value
    :: kind == ITEM -> items++
    :: kind == SAY_CALM ->
       saying = false;
       if
       :: calm == RESTLESS -> calm = CALM
       :: else
       fi
    fi
}

/* The oldest store of the buffer, at any moment. */
active proctype memory()
{
    mtype kind;
    bool value;
end:
    do
    :: atomic {
          buffer?kind, value ->
          reach(kind, value);
          kind = 0;
          value = false
       }
    od
}

inline drain()
{
    do
    :: nempty(buffer) ->
       buffer?kind, value;
       reach(kind, value)
    :: empty(buffer) -> break
    od;
    kind = 0;
    value = false
}

/* It may die before each step, and jumps to `dead` then. */
#define STEP(it)                                                                                   \
    if                                                                                             \
    :: atomic { true -> it }                                                                       \
    :: atomic { deaths < DEATHS -> deaths++; goto dead }                                           \
    fi

/* Under the lock of the queue. */
inline tell_all()
{
    i = 0;
    do
    :: i < WAITERS ->
       told[i] = told[i] || listed[i];
       i++
    :: i == WAITERS -> break
    od;
    i = 0
}

/* --- the waker: kini_solo_put() with kini_waitq_wake_calm() ---------------------------------- */

#define LOOK_AT_CALM is_calm = (calm == CALM || saying)

#ifdef NO_BARRIER
#define BARRIER skip
#else
#define BARRIER drain()
#endif

#ifdef CALM_LATE /* by a plain store */
#define BECOME_CALM                                                                                \
    saying = true;                                                                                 \
    buffer!SAY_CALM(true)
#else
#define BECOME_CALM                                                                                \
    drain();                                                                                       \
    if                                                                                             \
    :: calm == RESTLESS -> calm = CALM                                                             \
    :: else                                                                                        \
    fi
#endif

active proctype waker()
{
    byte changes, quiet, seen, i;
    mtype kind;
    bool value, is_calm;
    do
    :: changes == CHANGES -> break
    :: changes < CHANGES ->
       STEP(buffer!INTENT(true));
#ifdef CALM_FIRST
       STEP(LOOK_AT_CALM);
#endif
       STEP(buffer!ITEM(true));
#ifdef INTENT_ENDS_FIRST
       STEP(buffer!INTENT(false));
#endif
#ifndef CALM_FIRST
       STEP(LOOK_AT_CALM);
#endif
       if
       :: is_calm
       :: else -> STEP(BARRIER)
       fi;
       STEP(seen = nwait);
       if
       :: seen != 0 ->
          quiet = 0;
          STEP(drain(); tell_all()) /* the lock of the queue is taken: a barrier */
       :: seen == 0 && !is_calm ->
          quiet++;
          if
          :: quiet == QUIET ->
             quiet = 0;
             STEP(BECOME_CALM)
          :: else
          fi
       :: else
       fi;
       seen = 0;
       is_calm = false;
#ifndef INTENT_ENDS_FIRST
       STEP(buffer!INTENT(false));
#endif
       changes++
    od;
    goto over;
dead:
    atomic {
        drain();
        waker_dead = true
    };
over:
    skip
}

/* --- who waits ------------------------------------------------------------------------------- */

#ifdef NO_FENCE
#define FENCE skip
#else
#define FENCE drain()
#endif

#ifdef ZERO_AT_ONCE
#define TAKE_BACK calm = RESTLESS
#else
#define TAKE_BACK calm = UNCALM
#endif

#define SAY_RESTLESS                                                                               \
    if                                                                                             \
    :: calm == UNCALM -> calm = RESTLESS                                                           \
    :: else                                                                                        \
    fi

#ifdef ONLY_CALM
#define IS_TO_TAKE_BACK word == CALM
#else
#define IS_TO_TAKE_BACK word != RESTLESS
#endif

inline enter()
{
    STEP(listed[me] = true; told[me] = false; nwait++)
}

active [WAITERS] proctype waiter()
{
    byte me, rounds, word;
    mtype kind;
    bool value, has_deadline, served;
    atomic {
        me = ids;
        ids++
    };
    do
    :: rounds == ROUNDS -> break
    :: rounds < ROUNDS ->
       if
       :: has_deadline = true
       :: has_deadline = false
       fi;
#ifdef LOOK_FIRST
       STEP(word = calm);
       enter();
#else
       enter();
       STEP(word = calm);
#endif
       if
       :: IS_TO_TAKE_BACK ->
#ifdef FENCE_FIRST
          STEP(FENCE);
          STEP(TAKE_BACK);
#else
          STEP(TAKE_BACK);
          STEP(FENCE);
#endif
          STEP(SAY_RESTLESS)
       :: else
       fi;
       word = 0;
again:
       STEP(served = (items > taken); taken = taken + served);
       if
       :: served
       :: !served ->
end_asleep:
          if
          :: atomic { told[me] -> told[me] = false; goto again }
          :: has_deadline
          :: atomic { deaths < DEATHS -> deaths++; goto dead }
          fi
       fi;
       STEP(listed[me] = false; nwait--);
       served = false;
       rounds++
    od;
    goto over;
dead:
    gone[me] = true;
over:
    skip
}

/* --- afterwards ------------------------------------------------------------------------------ */

active proctype reaper()
{
    byte i;
end:
    do
    :: atomic {
          waker_dead ->
          waker_dead = false;
          if
#ifndef NO_WAKE_AT_DEATH
          :: intent -> tell_all()
#endif
          :: else
          fi;
          intent = false
       }
    :: atomic { gone[0] -> i = 0; goto bury }
#if WAITERS > 1
    :: atomic { gone[1] -> i = 1; goto bury }
#endif
#if WAITERS > 2
    :: atomic { gone[2] -> i = 2; goto bury }
#endif
    od;
bury:
    atomic {
        gone[i] = false;
        if
        :: listed[i] ->
           listed[i] = false;
           nwait--
        :: else
        fi;
        i = 0;
        goto end
    }
}

active proctype watch()
{
    byte i;
    timeout ->
    do
    :: i < WAITERS ->
       assert(!listed[i] || items == taken);
       i++
    :: i == WAITERS -> break
    od
}
