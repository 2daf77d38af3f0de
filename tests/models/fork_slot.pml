/* SPDX-License-Identifier: MIT
 * Slots of participants: src/arena/participant.c, src/arena/fork.c (the handlers and kini_rejoin),
 * src/arena/reaper.c (kini_reap), src/arena/create.c (kini_arena_leave).
 *
 * Processes 1 and 3 live in slots 1 and 2. Each forks a child (2 and 4): by fork(), with the
 * handlers, which may fail; or by a raw clone, after which the child registers itself. Another
 * thread of each (REAPERS 1: of 3 alone; FORKERS 1: only 1 forks) reaps meanwhile. All leave, or exit without a word. Up to DEATHS of them are
 * killed at any step. Process 5 comes last, and reaps what is left.
 *
 * A token and a reap byte are locked by an open file description, which lives as long as any process
 * has a descriptor of it: fork copies descriptors, so a child has those of its parent until it
 * closes them. A description is called by the process that it was opened for. The kernel says that
 * a process is dead before it closes what it had.
 *
 * Abstractions. A LIVE slot is judged by the process alone, or where OTHER_NAMESPACE by the token
 * alone. No exec. The repair of everything else is the step between REAPING and FREE.
 *
 * Checked: no slot is reaped or given away in which a process lives, or is about to; when all are
 * gone and one has reaped, all slots are free.
 *
 * Planted errors: LATE_TOKEN, NO_REAP_BYTE, NO_TAKEOVER
 */
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef REAPERS
#define REAPERS 1
#endif
#ifndef FORKERS
#define FORKERS 2
#endif
#ifdef OTHER_NAMESPACE
#define BY_TOKEN true
#else
#define BY_TOKEN false
#endif
#define PROCESSES 5
#define SLOTS     4

#define FREE     0
#define RESERVED 1
#define LIVE     2
#define EXITING  3
#define REAPING  4

byte mortals;
bool dead[PROCESSES + 1];

byte state[SLOTS + 1], process[SLOTS + 1];
byte token[SLOTS + 1], reap_byte[SLOTS + 1]; /* the description that locks it; 0: none */
byte descriptors[PROCESSES + 1];             /* of each description: who has one. Bits */

/* For the judge: the slot of a process, from the moment when its token is locked. */
byte home[PROCESSES + 1];
bool exists[PROCESSES + 1];

bool reaps[PROCESSES + 1]; /* a thread is about it */

hidden byte x;

#define HAS_FD(d, p)      ((descriptors[d] >> (p)) & 1)
#define OPEN_FD(d, p)     descriptors[d] = descriptors[d] | (1 << (p))
#define CLOSE_FD(d, p)    descriptors[d] = descriptors[d] & ~(1 << (p))
#define LOCKED(byte_, d)  ((byte_) != 0 && (byte_) != (d) && descriptors[byte_] != 0) /* for d */
#define PARENT(p)         ((p) - 1)
#define MAKER(p)          (exists[p] -> (p) : PARENT(p))
#define LIVES_IN(p, slot) (home[p] == (slot) && !dead[MAKER(p)])

#define STEP(...)         STEP_(d_step, true, __VA_ARGS__)
#define BLOCK(when, ...)  STEP_(d_step, when, __VA_ARGS__)
#define FORK(...)         STEP_(atomic, true, __VA_ARGS__)
#define STEP_(how, when, ...)                                                                            \
    if                                                                                             \
    :: how {                                                                                       \
           !dead[me] && when ->                                                                    \
           __VA_ARGS__                                                                             \
       }                                                                                           \
    :: atomic {                                                                                    \
           !dead[me] && mortals > 0 ->                                                             \
           mortals--;                                                                              \
           dead[me] = true;                                                                        \
           goto gone                                                                               \
       }                                                                                           \
    :: dead[me] -> goto gone                                                                       \
    fi

inline nobody_in(slot)
{
    for (x : 1 .. PROCESSES) {
        assert(!LIVES_IN(x, slot))
    }
    x = 0
}

inline close_all()
{
    d_step {
        dead[me] = true;
        for (x : 1 .. PROCESSES) {
            CLOSE_FD(x, me)
        }
        x = 0
    }
}

/* --- reserve and adopt ---------------------------------------------------------------------- */

#ifdef NO_REAP_BYTE
#define REAP_LOCKED(s, d) false
#else
#define REAP_LOCKED(s, d) LOCKED(reap_byte[s], d)
#endif

/* kini_participant_reserve() of me for the process who, with try_slot(). s: the slot; 0: none */
inline reserve(who)
{
    STEP(OPEN_FD(who, me));
    s = 1;
    do
    :: s <= SLOTS && state[s] == FREE ->
       STEP(
           if
           :: !REAP_LOCKED(s, who) ->
              reap_byte[s] = who;
              ours = true
           :: else
           fi
       );
       if
       :: ours && state[s] == FREE ->
#ifdef LATE_TOKEN /* planted */
          STEP(process[s] = 0);
          STEP(state[s] = RESERVED);
          STEP(reap_byte[s] = 0);
#endif
          STEP(
              if
              :: !LOCKED(token[s], who) ->
                 token[s] = who;
                 nobody_in(s);
                 home[who] = s
              :: else -> ours = false
              fi
          );
#ifndef LATE_TOKEN
          if
          :: ours ->
             STEP(process[s] = 0);
             STEP(state[s] = RESERVED)
          :: else
          fi;
#endif
          STEP(reap_byte[s] = 0)
       :: ours && state[s] != FREE ->
          ours = false;
          STEP(reap_byte[s] = 0)
       :: !ours
       fi;
       if
       :: ours -> break
       :: else -> s++
       fi
    :: s <= SLOTS && state[s] != FREE -> s++
    :: s > SLOTS ->
       s = 0;
       STEP(CLOSE_FD(who, me));
       break
    od;
    ours = false
}

inline adopt()
{
    STEP(process[s] = me);
    STEP(assert(state[s] == RESERVED); state[s] = LIVE)
}

/* kini_arena_leave(), when all threads are done with the arena, and the descriptor closed; or an
 * exit without a word */
inline leave()
{
    if
    :: true
    :: true ->
       BLOCK(!reaps[me], state[s] = EXITING);
       STEP(home[me] = 0; state[s] = FREE);
       STEP(CLOSE_FD(me, me))
    fi
}

/* --- processes ------------------------------------------------------------------------------ */

/* fork(): the child has what the parent has */
inline copy_process(child)
{
    for (x : 1 .. PROCESSES) {
        if
        :: HAS_FD(x, me) -> OPEN_FD(x, child)
        :: else
        fi
    }
    x = 0;
    exists[child] = true
}

proctype parent(byte me; byte s)
{
    byte mine = s;
    bool ours;
    if
    :: me == 1 || FORKERS == 2 -> /* prepare() */
       reserve(me + 1);
       if
       :: s != 0 ->
          if
          :: FORK(copy_process(me + 1); run child(me + 1, s))
          :: true /* fork failed */
          fi;
          STEP( /* parent() */
              CLOSE_FD(me + 1, me);
              if
              :: !exists[me + 1] -> home[me + 1] = 0
              :: else
              fi
          )
       :: else
       fi
    :: me != 1 && FORKERS == 1
    :: me == 1 || FORKERS == 2 -> /* a raw clone */
       FORK(copy_process(me + 1); run child(me + 1, 0))
    fi;
    s = mine;
    leave();
gone:
    s = 0;
    mine = 0;
    ours = false;
    close_all()
}

proctype child(byte me; byte s)
{
    bool ours;
    if
    :: s != 0 -> /* child() */
       STEP(CLOSE_FD(PARENT(me), me))
    :: s == 0 -> /* kini_rejoin(), if it uses the arena at all */
       reserve(me);
       STEP(CLOSE_FD(PARENT(me), me))
    :: s == 0
    fi;
    if
    :: s != 0 ->
       adopt();
       leave()
    :: else
    fi;
gone:
    s = 0;
    ours = false;
    close_all()
}

/* --- the reaper ----------------------------------------------------------------------------- */

/* kini_participant_life() */
#define IS_DEAD(s)                                                                                 \
    (state[s] != FREE &&                                                                           \
     ((state[s] == RESERVED || process[s] == 0 || BY_TOKEN) -> !LOCKED(token[s], me) : dead[process[s]]))

#ifdef NO_TAKEOVER
#define WAS_REAPING(was) false
#define MAY_BE_DEAD(was) ((was) != REAPING)
#else
#define WAS_REAPING(was) ((was) == REAPING)
#define MAY_BE_DEAD(was) true
#endif

/* kini_reap(), reap_locked() */
inline reap(s)
{
    STEP(
        if
        :: !REAP_LOCKED(s, me) ->
           reap_byte[s] = me;
           was = state[s]
        :: else -> was = FREE
        fi
    );
    if
    :: was != FREE ->
       if
       :: WAS_REAPING(was) || (MAY_BE_DEAD(was) && IS_DEAD(s)) ->
          STEP(nobody_in(s); state[s] = REAPING);
          STEP(nobody_in(s); state[s] = FREE)
       :: else
       fi
    :: else
    fi;
    was = 0;
    STEP(
        if
        :: reap_byte[s] == me -> reap_byte[s] = 0
        :: else
        fi
    )
}

/* A thread of the process me, in slot mine. */
proctype reaper(byte me; byte mine)
{
    byte v, was;
end_idle:
    do
    :: d_step {
           !dead[me] && state[mine] == LIVE ->
           v = 1;
           do
           :: v <= SLOTS && (v == mine || !(state[v] == REAPING || IS_DEAD(v))) -> v++
           :: else -> break
           od;
           reaps[me] = v <= SLOTS
       };
       if
       :: v <= SLOTS ->
          reap(v);
          reaps[me] = false
       :: else -> break
       fi
    :: dead[me] || state[mine] != LIVE -> break
    :: true -> break
    od;
gone:
    v = 0;
    was = 0
}

/* The last. */
proctype survivor(byte me)
{
    byte v, was;
    timeout ->
    v = 1;
    do
    :: v <= SLOTS ->
       reap(v);
       assert(state[v] == FREE);
       v++
    :: else -> break
    od;
gone:
}

init
{
    atomic {
        if
        :: mortals = 0
        :: mortals = DEATHS
        fi;
        exists[1] = true;
        exists[3] = true;
        exists[5] = true;
        state[1] = LIVE;
        state[2] = LIVE;
        process[1] = 1;
        process[2] = 3;
        home[1] = 1;
        home[3] = 2;
        token[1] = 1;
        token[2] = 3;
        OPEN_FD(1, 1);
        OPEN_FD(3, 3);
        run parent(1, 1);
        run parent(3, 2);
        if
        :: REAPERS == 2 -> run reaper(1, 1)
        :: else
        fi;
        run reaper(3, 2);
        run survivor(5)
    }
}
