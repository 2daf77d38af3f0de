/* SPDX-License-Identifier: MIT
 * Rwlocks in a storm. Each guards two counters that grow together, and a word of bits: who reads,
 * and who writes.
 *   - The living never write beside anybody.
 *   - The counters differ only where a writer was killed between them; of that somebody is told.
 * Whoever is told makes them equal; if it reads, others may read beside it and see it half done. */
#include "storm/sync_storm.h"

enum { RWLOCKS = 2, READ = 0, WRITE = 1 };

/* Bits of a seat: the first, it reads; the second, it writes. */
#define EACH    2
#define WRITERS 0xaaaaaaaaaaaaaaaaull

struct noted {
    kini_a64 inside;
    kini_a64 left, right, writer; /* writer: me.id; W: the writer, or who is told */
    kini_a64 told, died_writing, died_maybe;
};

static struct noted *noted;
static struct kin_rwlock *rwlocks[RWLOCKS];
static uint32_t count;

static void begin(struct kt_random *random)
{
    const struct kin_rwlock_opts opts = {.size = sizeof opts, .name = "rwlock"};
    noted = kt_share(RWLOCKS * sizeof *noted);
    count = 1 + (uint32_t)kt_random_below(random, RWLOCKS);
    for (int i = 0; i < RWLOCKS; i++)
        KT_OK(kin_rwlock_create(storm_arena, &opts, &rwlocks[i]));
}

static uint32_t kinds_of(int place)
{
    (void)place;
    return (1u << READ) | (1u << WRITE);
}

static uint32_t waits(struct kin_wait *ret_waits)
{
    (void)ret_waits;
    return 0;
}

/* --- the processes ---------------------------------------------------------------------------- */

static uint64_t bit_of(struct me *me, int kind)
{
    return 1ull << (me->number_of_seat * EACH + kind);
}

static void check_inside(struct me *me, uint32_t i, int kind)
{
    uint64_t bits;
    KT_CHECK(kini_load_sc(&noted[i].inside) & bit_of(me, kind));
    if (!living(&noted[i].inside, EACH, &bits))
        return;
    if (kind == WRITE)
        bits &= ~bit_of(me, WRITE);
    else
        bits &= WRITERS;
    KT_CHECK(bits == 0);
}

static int acquire(struct me *me, uint32_t i, int kind)
{
    if (kt_random_below(&me->random, 6) == 0)
        return kind == WRITE ? kin_rwlock_try_write(rwlocks[i]) : kin_rwlock_try_read(rwlocks[i]);
    kin_deadline deadline = some_deadline(me);
    return kind == WRITE ? kin_rwlock_acquire_write(rwlocks[i], deadline)
                         : kin_rwlock_acquire_read(rwlocks[i], deadline);
}

/* What a dead writer left. Nobody writes now; others who were told may do the same. */
static void check_counters(struct noted *n, bool told)
{
    uint64_t writer = kini_load_sc(&n->writer);
    uint64_t left = kini_load_sc(&n->left), right = kini_load_sc(&n->right);
    KT_CHECK(left == right || left == right + 1);
    KT_CHECK(left == right || (writer != 0 && is_doomed(writer)));
    if (told) {
        kini_add_sc(&n->told, 1);
        kini_store_sc(&n->right, left);
        kini_store_sc(&n->writer, 0);
    }
}

static void inside(struct me *me, uint32_t i, int kind)
{
    struct noted *n = &noted[i];
    uint64_t left = kini_load_sc(&n->left);
    if (kind == READ) {
        linger(me);
        KT_CHECK(kini_load_sc(&n->left) == left);
        check_inside(me, i, kind);
        return;
    }
    kini_store_sc(&n->right, left); /* the told one may have died over it */
    kini_store_sc(&n->writer, me->id);
    kini_store_sc(&n->left, left + 1);
    linger(me);
    KT_CHECK(kini_load_sc(&n->left) == left + 1 && kini_load_sc(&n->right) == left);
    KT_CHECK(kini_load_sc(&n->writer) == me->id);
    check_inside(me, i, kind);
    kini_store_sc(&n->right, left + 1);
    kini_store_sc(&n->writer, 0);
}

static void act(struct me *me)
{
    uint32_t i = (uint32_t)kt_random_below(&me->random, count);
    int kind = kt_random_below(&me->random, 3) == 0 ? WRITE : READ;
    doing(me, i, kind == WRITE ? ACQUIRING : WAITING, kind == WRITE ? "to write" : "to read");
    int r = acquire(me, i, kind);
    if (r == -EAGAIN || r == -ETIMEDOUT) {
        doing(me, i, OUT, NULL);
        return;
    }
    KT_CHECK(r == 0 || r == KIN_ABANDONED);
    kini_or(&noted[i].inside, bit_of(me, kind));
    doing(me, i, kind == WRITE ? INSIDE : WAITING, kind == WRITE ? "writes" : "reads");
    check_inside(me, i, kind);
    check_counters(&noted[i], r == KIN_ABANDONED);
    bool again = kind == READ && kt_random_below(&me->random, 4) == 0;
    if (again)
        KT_CHECK(kin_rwlock_acquire_read(rwlocks[i], KIN_NEVER) == 0);
    if (kt_random_below(&me->random, 64) == 0)
        KT_CHECK(kin_rwlock_acquire_write(rwlocks[i], KIN_NEVER) == -EDEADLK);
    inside(me, i, kind);
    if (again)
        KT_CHECK(kin_rwlock_release(rwlocks[i]) == 0);
    doing(me, i, kind == WRITE ? RELEASING : WAITING, "releases");
    kini_and(&noted[i].inside, ~bit_of(me, kind));
    KT_CHECK(kin_rwlock_release(rwlocks[i]) == 0);
    done(me, i, (uint32_t)kind);
}

/* --- accounts --------------------------------------------------------------------------------- */

static void died(int seat)
{
    for (uint32_t i = 0; i < RWLOCKS; i++) {
        uint64_t mine = ((1ull << EACH) - 1) << (seat * EACH);
        kini_and(&noted[i].inside, ~mine);
        kini_add(&noted[i].died_writing, phases_of(seat, i) == INSIDE);
        kini_add(&noted[i].died_maybe, maybe_held(phases_of(seat, i)));
    }
}

static void dump(void)
{
    for (uint32_t i = 0; i < RWLOCKS; i++)
        printf("  rwlock %u: %" PRId64 " read, %d writes, %d wait, %" PRId64
               " abandoned; noted: inside %#" PRIx64 ", left %" PRIu64 ", right %" PRIu64
               ", writer %" PRIu64 ", told %" PRIu64 ", died writing %" PRIu64 " (perhaps %" PRIu64
               ")\n",
               i, kin_rwlock_readers(rwlocks[i]), kin_rwlock_writing(rwlocks[i]),
               kin_rwlock_waiting(rwlocks[i]), kin_rwlock_abandoned(rwlocks[i]),
               kini_load(&noted[i].inside), kini_load(&noted[i].left), kini_load(&noted[i].right),
               kini_load(&noted[i].writer), kini_load(&noted[i].told),
               kini_load(&noted[i].died_writing), kini_load(&noted[i].died_maybe));
}

static void check(void)
{
    for (uint32_t i = 0; i < RWLOCKS; i++) {
        uint64_t least = kini_load(&noted[i].died_writing);
        uint64_t most = least + kini_load(&noted[i].died_maybe);
        uint64_t is = (uint64_t)kin_rwlock_abandoned(rwlocks[i]);
        bool good = kin_rwlock_readers(rwlocks[i]) == 0 && kin_rwlock_writing(rwlocks[i]) == 0 &&
                    kin_rwlock_waiting(rwlocks[i]) == 0 && least <= is && is <= most &&
                    kini_load(&noted[i].told) <= is &&
                    /* some died just as they were being told, but only few */
                    kini_load(&noted[i].told) * 2 + 4 >= is;
        if (!good)
            dump();
        ck_assert_msg(good, "rwlock %u does not add up", i);
    }
}

static void end(void)
{
    for (int i = 0; i < RWLOCKS; i++)
        kin_rwlock_destroy(rwlocks[i]);
    kt_unshare(noted, RWLOCKS * sizeof *noted);
}

static void wake(void)
{
}

const struct scenario sync_rwlocks = {.name = "sync_rwlocks",
                                      .kinds = {"read", "write"},
                                      .begin = begin,
                                      .act = act,
                                      .kinds_of = kinds_of,
                                      .died = died,
                                      .wake = wake,
                                      .check = check,
                                      .end = end,
                                      .dump = dump,
                                      .waits = waits};
