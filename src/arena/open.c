/* SPDX-License-Identifier: MIT
 * Open an arena by name: programs that are no relatives meet.
 *
 * Three things of the kernel, none of them in a file system, all gone with their last holder
 * (u = the effective user, n = the name; names are abstract sockets of the network namespace):
 *
 *   kin/u/n        the mutex of the name: who opens holds it from the first look to the end
 *   kin/u/n/k      a seat, k below SEATS: every process that can use the arena of the name holds
 *                  one, its own or a copy that came with a fork or through kin_process_spawn
 *   memfd kin/w/n  the memory itself (w: the network namespace), found among the descriptors of
 *                  the user's processes; the right one is the one of which a token byte is locked
 *
 * There are never two arenas of one name: (a) one is made only under the mutex, when all seats are
 * free, which is asked of the kernel seat by seat, not read from a list; (b) whoever can use the
 * arena took its seat under the mutex before, or has a copy of one, which comes with the mapping in
 * one instant (fork) or with the token (exec), and closes it after it has unmapped. So as long as
 * anybody can use it no other is made, and who meets a taken seat joins that arena or gives up.
 * The last to leave and one that joins: while a seat is taken the memory is joined as it is, also
 * if all others are gone by then: an arena without participants is whole, and empty.
 *
 * With a path the file is the arena, a byte lock on it the mutex, and the token bytes say whether
 * anybody lives in it; if nobody does it is begun anew.
 *
 * Crash states: (1) killed with the mutex, before the seat: the memory and the mutex go with it,
 * the name is free. (2) with the seat, before it joined: the same. (3) killed later: as every
 * participant. (4) killed in the middle of an exit: the memory may be gone before the seat: who
 * finds a seat and no memory tries again. (5) a file, killed before the last word of creation:
 * BEGUN, or empty: begun anew. */
#include "arena/attach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SEATS       1024u
#define PATIENCE_MS 10000
#define OPEN_BYTE   8192u                 /* of a file: beside the tokens and the reap bytes */
#define BEGUN       0x006e75676562696bull /* a file that is becoming an arena: "kibegun" */
#define AGAIN       1                     /* somebody is in the way: try again */

struct opening {
    const struct kin_arena_opts *opts; /* its name is that of the arena */
    bool create;
    char mutex[64], seats[72], memory[80];
    struct kin_arena *arena;
    int found_error; /* of memory that has the name, but cannot be joined */
};

/* --- a name --------------------------------------------------------------------------------- */

static int check_name(const char *name)
{
    size_t length = name == NULL ? 0 : strlen(name);
    if (length == 0 || length > 31)
        return kini_fail(-EINVAL, "the name of an arena has 1 to 31 bytes, not %zu", length);
    if (strchr(name, '/') != NULL)
        return kini_fail(-EINVAL, "the name of an arena has no '/': \"%s\"", name);
    return 0;
}

static int take_seat(struct opening *o)
{
    for (uint32_t k = 0; k < SEATS; k++) {
        char name[sizeof o->seats + 12];
        snprintf(name, sizeof name, "%s%u", o->seats, k);
        int fd = kini_os_name_hold(name);
        if (fd >= 0) {
            o->arena->seat_fd = fd;
            return 0;
        }
        if (fd != -EADDRINUSE)
            return kini_fail(fd, "the name cannot be held: %s", kin_strerror(fd));
    }
    return kini_fail(-ENOSPC, "%u processes hold the name already", SEATS);
}

/* Of memory with the right name: whether somebody lives in it. */
static int take_if_living(int fd, void *arg)
{
    struct opening *o = arg;
    if (kini_os_bytes_locked(fd, 1, KINI_PARTICIPANTS_MAX - 1) <= 0)
        return 0; /* nobody, or an observer only */
    o->found_error = kini_os_memory_check(fd);
    if (o->found_error < 0)
        return 0;
    o->arena->fd = fd;
    return 1;
}

static int join_found(struct opening *o)
{
    int r = kini_arena_attach(o->arena);
    if (r == 0 && o->opts->path == NULL)
        r = take_seat(o);
    return r < 0 ? r : kini_arena_join(o->arena, 0, -1);
}

static int join_living(struct opening *o)
{
    o->found_error = 0;
    int r = kini_os_memory_find(o->memory, take_if_living, o);
    if (r < 0)
        return kini_fail(r, "/proc cannot be read: %s", kin_strerror(r));
    if (r == 0)
        return o->found_error < 0 ? o->found_error : AGAIN; /* crash state 4 */
    return join_found(o);
}

static int make_named(struct opening *o)
{
    int r = kini_os_memory_create(o->memory);
    if (r < 0)
        return r;
    o->arena->fd = r;
    r = kini_arena_build(o->arena, o->opts);
    if (r == 0)
        r = take_seat(o);
    return r < 0 ? r : kini_arena_join(o->arena, 0, -1);
}

static int try_name(struct opening *o)
{
    int mutex = kini_os_name_hold(o->mutex);
    if (mutex == -EADDRINUSE)
        return AGAIN;
    if (mutex < 0)
        return kini_fail(mutex, "the name cannot be held: %s", kin_strerror(mutex));
    int r = kini_os_names_held(o->seats, SEATS);
    if (r < 0)
        r = kini_fail(r, "no descriptor to look for the name with: %s", kin_strerror(r));
    else if (r > 0)
        r = join_living(o);
    else
        r = o->create ? make_named(o)
                      : kini_fail(-ENOENT, "there is no arena \"%s\"", o->opts->name);
    kini_os_close(mutex);
    return r;
}

/* --- a path --------------------------------------------------------------------------------- */

/* Nobody lives in the file. A file of somebody's that never was an arena is left alone. */
static int make_in_file(struct opening *o)
{
    uint64_t mark = 0;
    int fd = o->arena->fd;
    int r = kini_os_memory_mark(fd, &mark);
    if (r < 0)
        return kini_fail(r, "%s cannot be read: %s", o->opts->path, kin_strerror(r));
    if (!o->create)
        return kini_fail(-ENOENT, "nobody is in the arena %s", o->opts->path);
    if (r > 0 && mark != KINI_MAGIC && mark != BEGUN)
        return kini_fail(-EPROTO, "%s is a file that is no arena", o->opts->path);
    r = kini_os_memory_begin(fd, BEGUN);
    if (r < 0)
        return kini_fail(r, "the file system of %s is not fit for an arena: %s", o->opts->path,
                         kin_strerror(r));
    r = kini_arena_build(o->arena, o->opts);
    return r < 0 ? r : kini_arena_join(o->arena, 0, -1);
}

static int try_path(struct opening *o)
{
    int fd = kini_os_memory_open_path(o->opts->path, o->create);
    if (fd < 0)
        return kini_fail(fd, "%s cannot be opened: %s", o->opts->path, kin_strerror(fd));
    o->arena->fd = fd;
    int r = kini_os_byte_lock(fd, OPEN_BYTE);
    if (r == -EAGAIN)
        return AGAIN;
    if (r < 0)
        return kini_fail(r, "%s cannot be locked: %s", o->opts->path, kin_strerror(r));
    r = kini_os_bytes_locked(fd, 1, KINI_PARTICIPANTS_MAX - 1);
    r = r > 0 ? join_found(o) : make_in_file(o);
    kini_os_byte_unlock(fd, OPEN_BYTE); /* a fork may hold a copy of the descriptor from here on */
    return r;
}

/* --- both ----------------------------------------------------------------------------------- */

/* No thread of this process forks meanwhile: a child would go on to hold the mutex. */
static int try_once(struct opening *o)
{
    o->arena = kini_arena_new();
    if (o->arena == NULL)
        return kini_fail(-ENOMEM, "no memory for the arena handle");
    int r = kini_fork_begin();
    if (r == 0) {
        r = o->opts->path != NULL ? try_path(o) : try_name(o);
        if (r == 0)
            kini_fork_add(o->arena);
        kini_fork_end();
    }
    if (r != 0)
        kini_arena_free(o->arena);
    return r;
}

/* Whoever is in the way needs some milliseconds, unless it was stopped there. */
static int try_until(struct opening *o)
{
    const kin_deadline end = kin_after_ms(PATIENCE_MS);
    for (useconds_t pause = 200;; pause = pause < 5000 ? pause * 2 : pause) {
        int r = try_once(o);
        if (r != AGAIN)
            return r;
        if (kin_now_ns() >= end)
            return kini_fail(
                -EBUSY, "the name is taken, but its arena cannot be reached: by a process that "
                        "does not go on, or of another pid namespace (use a path)");
        usleep(pause);
    }
}

static int open_arena(const char *name, const struct kin_arena_opts *given, bool create,
                      struct kin_arena **ret_arena)
{
    struct kin_arena_opts opts;
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || ((opts.path == NULL || name != NULL) && (r = check_name(name)) < 0))
        return r;
    if ((r = kini_no_flags(opts.flags)) < 0)
        return r;
    if (opts.name != NULL && (name == NULL || strcmp(opts.name, name) != 0))
        return kini_fail(-EINVAL, "two names, \"%s\" in the options", opts.name);
    opts.name = name;
    struct opening o = {.opts = &opts, .create = create};
    snprintf(o.mutex, sizeof o.mutex, "kin/%u/%s", (unsigned)geteuid(), name ? name : "");
    snprintf(o.seats, sizeof o.seats, "%s/", o.mutex);
    snprintf(o.memory, sizeof o.memory, "kin/%llu/%s", (unsigned long long)kini_os_network(),
             name ? name : "");
    r = try_until(&o);
    if (r < 0)
        return r;
    kini_reap_all(o.arena, false); /* what the dead left is not to be found by name */
    *ret_arena = o.arena;
    return 0;
}

int kin_arena_open(const char *name, const struct kin_arena_opts *opts,
                   struct kin_arena **ret_arena)
{
    return open_arena(name, opts, true, ret_arena);
}

int kin_arena_find(const char *name, const struct kin_arena_opts *opts,
                   struct kin_arena **ret_arena)
{
    return open_arena(name, opts, false, ret_arena);
}
