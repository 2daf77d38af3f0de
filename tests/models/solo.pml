/* SPDX-License-Identifier: MIT
 * A side of a ring that one thread has for itself, until others come: src/chan/solo.c, the put
 * side, and what repair_put() of src/chan/recover.c makes of an owner that died.
 *
 * The owner sends SENDS messages by plain stores, which lie in the store buffer of its processor, in
 * their order, and reach memory at any later moment; at the latest with its next atomic operation,
 * when somebody fences all, or when it dies (stores that are done are not lost). OTHERS threads
 * come at any moment, revoke, and send one message each on the general path. The owner and others
 * die at any step, at most DEATHS of them.
 *
 * Abstractions. The ring is long enough. Claim and publication of the others is one step: what
 * becomes of those who die in between is no affair of this protocol. The owner owns from the
 * beginning. The reaper comes for the owner only, and is not killed.
 *
 * Checked: no position is published twice; in the end each position before the tail was published
 * or made a tombstone, and none behind it; and what the living sent is there.
 *
 * Planted errors: NO_FENCE, NO_LOOK, LOOK_FIRST, NO_INTENT, DECIDE_EACH, NOT_ASKED, NO_REVOKE_AT_DEATH
 */
#ifndef SENDS
#define SENDS 2
#endif
#ifndef OTHERS
#define OTHERS 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#define CELLS (SENDS + OTHERS + 3)

mtype = { INTENT, AT, CELL };

/* Positions are counted from 1: 0 is nothing. */
bool revoked, shared;        /* the word `owner` */
byte at = 1, handed, tail = 1;
byte intent;                 /* of the owner: position or 0 */
byte cell[CELLS];            /* how often it was published */
chan buffer = [8] of { mtype, byte };

bool owner_dead, owner_done;
byte owner_sent, others_sent, others_left = OTHERS, deaths;

inline reach(kind, value)
{
    if
    :: kind == INTENT -> intent = value
    :: kind == AT -> at = value
    :: kind == CELL ->
       assert(cell[value] == 0);
       cell[value]++
    fi
}

/* The oldest store of the buffer, at any moment. */
active proctype memory()
{
    mtype kind;
    byte value;
end:
    do
    :: atomic {
          buffer?kind, value ->
          reach(kind, value);
          kind = 0;
          value = 0
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
    value = 0
}

#define MAY_DIE deaths < DEATHS

/* kini_solo_end_slow(): the caller may die before each step, and jumps to `dead` then */
#define STEP(it)                                                                                   \
    if                                                                                             \
    :: atomic { true -> it }                                                                       \
    :: atomic { mortal && MAY_DIE -> deaths++; goto dead }                                         \
    fi

inline first_of_all()
{
    STEP(named = intent); /* before at */
    STEP(from = at);
#ifndef NO_INTENT
    if
    :: named == from -> from++
    :: else
    fi;
#endif
    named = 0
}

#ifdef DECIDE_EACH
#define DECIDE handed = from
#else
#define DECIDE                                                                                     \
    if                                                                                             \
    :: handed == 0 -> handed = from                                                                \
    :: else                                                                                        \
    fi
#endif

#define SET_TAIL                                                                                   \
    if                                                                                             \
    :: tail == 1 -> tail = handed                                                                  \
    :: else                                                                                        \
    fi

#ifdef NO_FENCE
#define FENCE skip
#else
#define FENCE drain()
#endif

inline end_slow(mine)
{
    if
    :: shared
    :: else ->
       STEP(if :: mine -> drain() :: else fi; revoked = true);
       if
       :: handed == 0 ->
          STEP(FENCE);
          first_of_all();
          STEP(if :: mine -> drain() :: else fi; DECIDE);
          from = 0
       :: else
       fi;
       STEP(SET_TAIL);
       STEP(shared = true)
    fi
}

/* A put on the general path: the claim, and what comes of it. */
#define GENERAL_PUT                                                                                \
    assert(cell[tail] == 0);                                                                       \
    cell[tail]++;                                                                                  \
    tail++

active proctype owner()
{
    byte t = 1, sent, named, from, value;
    mtype kind;
    bool mortal = true, ours;
    do
    :: sent == SENDS -> break
    :: sent < SENDS && (shared || revoked) -> goto general
    :: sent < SENDS ->
#ifdef LOOK_FIRST
       STEP(ours = !revoked);
       STEP(buffer!INTENT(t));
#else
       STEP(buffer!INTENT(t));
       STEP(ours = !revoked);
#endif
#ifdef NO_LOOK
       ours = true;
#endif
       if
       :: ours
       :: !ours ->
          end_slow(true);
#ifdef NOT_ASKED
          STEP(buffer!INTENT(0));
          goto general
#else
          if
          :: handed == t + 1
          :: else ->
             STEP(buffer!INTENT(0));
             goto general
          fi
#endif
       fi;
       STEP(buffer!CELL(t));
       STEP(buffer!AT(t + 1));
       STEP(buffer!INTENT(0));
       t++;
       sent++;
       owner_sent++
    od;
    goto done;
general:
    end_slow(true);
    do
    :: sent == SENDS -> break
    :: sent < SENDS -> STEP(drain(); GENERAL_PUT; sent++; owner_sent++)
    od;
done:
    atomic {
        drain();
        owner_done = true
    };
    goto over;
dead:
    atomic {
        drain();
        owner_dead = true
    };
over:
    skip
}

active [OTHERS] proctype other()
{
    byte named, from, value;
    mtype kind;
    bool mortal = true;
    end_slow(false);
    STEP(GENERAL_PUT; others_sent++);
dead:
    others_left--
}

/* The reaper of the owner, and in the end who counts. */
active proctype reaper()
{
    byte named, from, value, i, sum;
    mtype kind;
    bool mortal = false;
    if
    :: owner_dead ->
#ifndef NO_REVOKE_AT_DEATH
       end_slow(false);
#endif
       atomic {
           if
           :: intent != 0 && intent < tail && cell[intent] == 0 -> cell[intent]++ /* a tombstone */
           :: else
           fi;
           intent = 0
       }
    :: owner_done
    fi;
    others_left == 0;
    end_slow(false);
    atomic {
        i = 1;
        do
        :: i < CELLS ->
           assert((i < tail) == (cell[i] == 1));
           sum = sum + cell[i];
           i++
        :: i == CELLS -> break
        od;
        assert(sum >= owner_sent + others_sent);
        assert(owner_dead || sum == owner_sent + others_sent)
    }
dead:
    skip
}
