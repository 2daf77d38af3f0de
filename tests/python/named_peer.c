/* SPDX-License-Identifier: MIT
 * The program in C of test_named.py: in the arena of argv[1], adds to each number that comes in
 * "in" and puts it to "out", with the lock "lock" held; then dies with the lock in its hands. */
#include <kin/kin.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static int fail(int r)
{
    fprintf(stderr, "named_peer: %s\n", kin_error_text());
    return r < 0 ? 1 : 0;
}

static int64_t serve(struct kin_queue *in, struct kin_queue *out, struct kin_lock *lock)
{
    int64_t n, number;
    while ((n = kin_queue_get(in, &number, sizeof number, KIN_NEVER)) == sizeof number) {
        if (kin_lock_acquire(lock, KIN_NEVER) < 0)
            return -1;
        number++;
        if (kin_queue_put(out, &number, sizeof number, KIN_NEVER) < 0 || kin_lock_release(lock) < 0)
            return -1;
    }
    return n;
}

int main(int argc, char **argv)
{
    struct kin_arena *arena;
    struct kin_queue *in, *out;
    struct kin_lock *lock;
    if (argc != 2)
        return 2;
    int r = kin_arena_open(argv[1], NULL, &arena);
    if (r < 0 || (r = kin_queue_open(arena, "in", NULL, &in)) < 0 ||
        (r = kin_queue_open(arena, "out", NULL, &out)) < 0 ||
        (r = kin_lock_open(arena, "lock", NULL, &lock)) < 0)
        return fail(r);
    if (serve(in, out, lock) != -ESHUTDOWN || kin_lock_acquire(lock, KIN_NEVER) < 0)
        return fail(-1);
    if (kin_queue_shutdown(out, KIN_WHEN_DRAINED) < 0)
        return fail(-1);
    raise(SIGKILL);
    return 0;
}
