/* SPDX-License-Identifier: MIT
 * The lock word: src/sync/lock_word.{h,c} with kini_waitq_nudge_first() of src/sync/nudge.c,
 * sleep_until(), kini_wait_sleep() of src/sync/wait.c, kini_wait_repair() of src/sync/waitq.c; the
 * reaper's order of steps: src/arena/reaper.c.
 *
 * WAITERS threads acquire, with deadlines that pass at any moment, and release, by the plain store
 * or by the exchange as the code decides; whether somebody has waited for too long, so that the lock
 * is kept for him, is anybody's guess. Up to DEATHS processes die at any step.
 *
 * The plain store of the release lies in the store buffer of its processor, one entry for each, and
 * reaches memory at any later moment; at the latest with the next atomic operation of that
 * process, when somebody fences all (kini_waitq_enter), or when the process dies (stores that are
 * done are not lost). All other stores of the protocol are atomic operations or come before one.
 *
 * Abstractions. The list is right at every moment: who enters or leaves does so in one step, and
 * kini_waitq_first() finds the first of that moment, who may be gone when it is used
 * (waitq_nudge.pml is about that). No slices. A thread acquires once. The reaper is not killed.
 *
 * Checked: never two in the lock; nobody waits for ever; in the end the lock is free, or knows that
 * its holder died, or is kept for somebody who does not wait, which whoever comes may take.
 *
 * Planted errors: NO_FENCE, NO_SECOND_LOOK, NO_STALE, NO_AFTER_WAIT, NO_NUDGE_ALL, NO_CHECK_OF_HEIR
 */
#ifndef WAITERS
#define WAITERS 3
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef REFUSE
#define REFUSE false /* on_abandoned: the next one is told, and does not get it */
#endif
#define REAPER    (WAITERS + 1)
#define PROCESSES REAPER
#define MORTAL(p) ((p) <= WAITERS)

#include "waitq.pml"

#define RESERVED  8 /* | thread: the word as in the code, with the thread as the owner */
#define ABANDONED 16

byte memory;                  /* the word */
bool buffered[PROCESSES + 1]; /* word = 0 is on its way */
byte inside;                  /* who is in what the lock guards */

#define FLUSH(p)                                                                                   \
    if                                                                                             \
    :: buffered[p] ->                                                                              \
       buffered[p] = false;                                                                        \
       memory = 0                                                                                  \
    :: else                                                                                        \
    fi

/* What a process reads: its own store first. */
#define WORD(p) (buffered[p] -> 0 : memory)

#define IS_HELD(word) ((word) != 0 && (word) < RESERVED)
#define OWNER(word)   ((word) & 7)

/* is_stale() */
#define IS_STALE(word) (((word) & RESERVED) && !HAS(OWNER(word)))

/* --- the list, whole ------------------------------------------------------------------------ */

inline list_add()
{
    next[me] = 0;
    if
    :: tail != 0 -> next[tail] = me
    :: else -> head = me
    fi;
    prev[me] = tail;
    tail = me;
    wait_state[me] = QUEUED;
    wait_queue[me] = true;
    nwait++
}

inline list_remove(t)
{
    TAKE_OFF(t);
    next[t] = 0;
    wait_state[t] = NONE;
    wait_queue[t] = false;
    nwait--
}

/* --- nudges --------------------------------------------------------------------------------- */

#define LOCALS byte word, after, at, was
#define FORGET word = 0; after = 0; at = 0; was = 0

/* kini_waitq_nudge_first(): marks with an atomic exchange */
inline nudge_first()
{
    do
    :: nwait == 0 || head == 0 -> break
    :: d_step { nwait != 0 && head != 0 -> at = head };
       STEP(FLUSH(me); was = park[at]; park[at] = WOKEN);
       if
       :: was == ASLEEP -> STEP(FUTEX_WAKE(at))
       :: else
       fi;
       was = 0;
       if
       :: HAS(at) -> break
       :: else
       fi
    od;
    at = 0
}

/* kini_nudge_thread() */
inline nudge_thread(t)
{
    STEP(FLUSH(me); park[t] = WOKEN);
    STEP(FUTEX_WAKE(t))
}

inline nudge_all()
{
    at = 1;
    do
    :: at <= WAITERS && HAS(at) ->
       nudge_thread(at);
       at++
    :: at <= WAITERS && !HAS(at) -> at++
    :: at > WAITERS -> break
    od;
    at = 0
}

/* --- acquire -------------------------------------------------------------------------------- */

#ifdef NO_STALE
#define MAY_TAKE(word) ((word) == 0 || (word) == (RESERVED | me))
#else
#define MAY_TAKE(word) ((word) == 0 || (word) == (RESERVED | me) || IS_STALE(word))
#endif

/* attempt(): reads the word, decides, and takes it if it is still the same. got: 0 not yet, 1 mine,
 * 2 told of a death without getting it */
inline attempt()
{
    word = WORD(me);
    do
    :: word == ABANDONED ->
       STEP(
           FLUSH(me);
           if
           :: memory == ABANDONED && REFUSE ->
              memory = 0;
              got = 2
           :: memory == ABANDONED && !REFUSE ->
              memory = me;
              got = 1
           :: else -> word = memory
           fi
       );
       if
       :: got == 2 ->
          nudge_first();
          break
       :: got == 1 -> break
       :: else
       fi
    :: word != ABANDONED && MAY_TAKE(word) ->
       STEP(
           FLUSH(me);
           if
           :: memory == word ->
              memory = me;
              got = 1
           :: else -> word = memory
           fi
       );
       if
       :: got != 0 -> break
       :: else
       fi
    :: word != ABANDONED && !MAY_TAKE(word) -> break
    od;
    word = 0
}

inline fence_all()
{
    for (rb_i : 1 .. WAITERS) {
        FLUSH(rb_i)
    }
    rb_i = 0
}

/* kini_wait_sleep() */
inline sleep()
{
    STEP(
        FLUSH(me);
        was = park[me];
        if
        :: was == AWAKE -> park[me] = ASLEEP
        :: else
        fi
    );
    if
    :: was == WOKEN
    :: was != WOKEN -> futex_wait()
    :: was != WOKEN -> timed_out = true
    fi;
    was = 0;
    STEP(park[me] = AWAKE)
}

/* --- release -------------------------------------------------------------------------------- */

/* kini_lock_release_slow(): the heir is looked for, then looked at, before the word says so */
inline release_slow()
{
    after = 0;
    at = head;
    if
    :: at != 0 && HAS(at) -> after = RESERVED | at
    :: true
    fi;
    at = 0;
    STEP(FLUSH(me); assert(memory == me); memory = after);
    if
    :: after != 0 -> /* hand_over() */
       nudge_thread(OWNER(after));
#ifndef NO_CHECK_OF_HEIR
       if
       :: IS_STALE(after) ->
          STEP(
              if
              :: memory == after -> memory = 0
              :: else -> after = 0
              fi
          );
          if
          :: after != 0 -> nudge_first()
          :: else
          fi
       :: else
       fi
#endif
    :: else -> nudge_first()
    fi;
    after = 0
}

inline release()
{
    if
    :: nwait != 0 -> release_slow()
    :: nwait == 0 ->
       STEP(buffered[me] = true);
       nudge_first()
    fi
}

/* --- one thread ----------------------------------------------------------------------------- */

proctype thread(byte me)
{
    LOCALS;
    byte got;
    bool timed_out;
    attempt(); /* the CAS of the quick way is the same */
    if
    :: got != 0
    :: got == 0 ->
       STEP(FLUSH(me); list_add()); /* kini_waitq_enter() */
#ifndef NO_FENCE
       STEP(fence_all());
#endif
#ifndef NO_SECOND_LOOK
       attempt();
#endif
       do
       :: got == 0 && !timed_out ->
          sleep();
          attempt()
       :: else -> break
       od;
       timed_out = false;
       STEP(FLUSH(me); list_remove(me));                /* kini_waitq_withdraw() */
       STEP(was = park[me]; park[me] = AWAKE);          /* kini_waitq_forget() */
       if
       :: was == WOKEN ->
          was = 0;
          nudge_first() /* kini_waitq_nudge(1): here the same, or one more */
       :: else -> was = 0
       fi;
#ifndef NO_AFTER_WAIT
       if
       :: got != 1 && WORD(me) == (RESERVED | me) -> /* after_wait() */
          STEP(
              FLUSH(me);
              if
              :: memory == (RESERVED | me) && got == 0 ->
                 memory = me;
                 got = 1
              :: memory == (RESERVED | me) && got != 0 ->
                 memory = 0;
                 got = 3
              :: else
              fi
          );
          if
          :: got == 3 -> nudge_first()
          :: else
          fi
       :: else
       fi
#endif
    fi;
    if
    :: got == 1 ->
       d_step {
           assert(inside == 0 || dead[inside]);
           inside = me
       };
       STEP(inside = 0);
       release()
    :: else
    fi;
gone:
    atomic {
        got = 0;
        timed_out = false;
        FORGET
    }
}

/* The processors. */
proctype buffers()
{
end_idle:
    do
    :: d_step { buffered[1] -> FLUSH(1) }
    :: d_step { buffered[2] -> FLUSH(2) }
    :: d_step { buffered[3] -> FLUSH(3) }
    od
}

/* --- the reaper ----------------------------------------------------------------------------- */

inline reap(v)
{
    STEP(FLUSH(v)); /* the kernel: what the dead one stored is there */
    if
    :: HAS(v) -> /* repair_queued() */
       STEP(list_remove(v));
       nudge_first()
    :: else
    fi;
    /* kini_lock_holder_died(), kini_lock_abandon() */
    word = memory;
    if
    :: word != ABANDONED && OWNER(word) == v ->
       do
       :: OWNER(word) == v ->
          STEP(
              if
              :: memory == word ->
                 if
                 :: word & RESERVED -> memory = 0
                 :: else -> memory = ABANDONED
                 fi;
                 word = 0
              :: else -> word = memory
              fi
          )
       :: else -> break
       od;
       nudge_first()
    :: else
    fi;
    word = 0;
#ifndef NO_NUDGE_ALL
    nudge_all();
#endif
    buried(v)
}

proctype reaper(byte me; byte before)
{
    LOCALS;
    byte v;
end_idle:
    do
    :: next_corpse();
       reap(v)
    od;
gone:
    atomic {
        v = 0;
        FORGET
    }
}

proctype judge()
{
    timeout ->
    d_step {
        for (rb_i : 1 .. WAITERS) {
            assert(!(in_futex[rb_i] && !dead[rb_i]))
        }
        assert(memory == 0 || memory == ABANDONED || IS_STALE(memory));
        rb_i = 0
    }
}

init
{
    byte p;
    atomic {
        choose_mortals(DEATHS);
        for (p : 1 .. WAITERS) {
            run thread(p)
        }
        p = 0;
        run reaper(REAPER, 0);
        run buffers();
        run judge()
    }
}
