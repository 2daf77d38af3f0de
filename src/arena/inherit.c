/* SPDX-License-Identifier: MIT
 * Exec: an arena that comes with a program that is no fork.
 *
 * The parent reserves the slot, sets the bits of what it hands over, and executes the program with
 * the descriptors of the memory, of the token and of the seat. The environment says which:
 *
 *   KIN_INHERIT = fd.token.seat.watch.slot.generation:tag,tag.socket,…      -1: none
 *
 * Crash states: (1) the program is killed before it adopts, or never asks for the arena: its token
 * falls free when it ends, and the slot, still RESERVED, is reaped, with its bits. (2) the parent
 * is killed meanwhile: the same; the program may still adopt. */
#include "arena/attach.h"
#include "base/bits.h"

#include <kin/offer.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE "KIN_INHERIT"

struct legacy {
    int fd, token, seat, watch;
    uint32_t slot, generation;
};

/* tag or tag.socket */
static void read_object(struct kin_arena *arena, char **at)
{
    uint32_t position = arena->inherited_count++;
    arena->inherited[position] = (uint32_t)strtoul(*at, at, 10);
    int fd = **at == '.' ? (int)strtol(*at + 1, at, 10) : -1;
    for (uint32_t i = 0; fd >= 0 && i < position; i++)
        if (arena->inherited_sockets[i] == fd) /* handed over twice */
            fd = kini_os_duplicate(fd);
    if (fd >= 0)
        kini_os_close_on_exec(fd, true);
    arena->inherited_sockets[position] = fd;
}

static int read_objects(struct kin_arena *arena, const char *text)
{
    uint32_t count = 0;
    for (const char *p = text; *p != '\0'; p++)
        count += p == text || *p == ',';
    arena->inherited = calloc(count + 1, sizeof *arena->inherited);
    arena->inherited_sockets = calloc(count + 1, sizeof *arena->inherited_sockets);
    if (arena->inherited == NULL || arena->inherited_sockets == NULL)
        return kini_fail(-ENOMEM, "no memory for %u objects", count);
    for (char *p = (char *)text; arena->inherited_count < count; p += *p == ',')
        read_object(arena, &p);
    return 0;
}

/* The slot was reserved for the program that we are. */
static int check_slot(struct kin_arena *arena, const struct legacy *from)
{
    if (from->slot == 0 || from->slot >= kini_load_acq(&arena->super->participants_high) ||
        kini_os_inode(from->token) != arena->inode)
        return kini_fail(-EPROTO, VARIABLE " does not belong to the arena");
    uint64_t state = kini_load_acq(&arena->participants[from->slot].state);
    if (KINI_STATE(state) != KINI_RESERVED || KINI_STATE_GEN(state) != from->generation)
        return kini_fail(-ESTALE, "another process has taken the arena that was handed over");
    return 0;
}

/* A daemon is killed by the kernel as soon as its parent is gone. */
static int bind_watch(struct kin_arena *arena, int watch)
{
    if (watch < 0)
        return 0;
    int bound = kini_os_lifeline_bind(watch);
    kini_os_close(watch);
    if (bound < 0)
        return kini_fail(bound, "no life line to the parent: %s", kin_strerror(bound));
    arena->lifeline_bound = bound;
    return 0;
}

int kin_arena_end_with(struct kin_arena *arena, int fd)
{
    if (kini_enter(arena) == NULL) {
        kini_os_close(fd);
        return kini_enter_error();
    }
    pthread_mutex_lock(&arena->mutex);
    int r = fd < 0                       ? kini_fail(-EBADF, "no descriptor of a life line")
            : arena->lifeline_bound >= 0 ? kini_fail(-EALREADY, "it ends with its parent already")
                                         : 0;
    if (r == 0)
        r = bind_watch(arena, fd);
    else
        kini_os_close(fd);
    pthread_mutex_unlock(&arena->mutex);
    return r;
}

static int take_over(struct kin_arena *arena, const struct legacy *from, const char *objects)
{
    arena->fd = from->fd;
    arena->token_fd = from->token;
    arena->seat_fd = from->seat;
    int r = kini_arena_attach(arena);
    if (r == 0)
        r = check_slot(arena, from);
    if (r == 0)
        r = read_objects(arena, objects);
    if (r == 0)
        r = bind_watch(arena, from->watch);
    else
        kini_os_close(from->watch);
    if (r == 0)
        r = kini_arena_join(arena, from->slot, from->token);
    if (r == 0 && (r = kini_fork_register(arena)) < 0)
        kini_arena_leave(arena);
    return r;
}

int kin_arena_inherit(struct kin_arena **ret_arena)
{
    struct legacy from;
    const char *text = getenv(VARIABLE);
    if (text == NULL)
        return kini_fail(-ENOENT, "no arena was handed over to this program");
    int length = 0;
    int fields = sscanf(text, "%d.%d.%d.%d.%u.%u:%n", &from.fd, &from.token, &from.seat,
                        &from.watch, &from.slot, &from.generation, &length);
    if (fields != 6 || length == 0 || from.fd < 0 || from.token < 0)
        return kini_fail(-EPROTO, VARIABLE " makes no sense: \"%.60s\"", text);
    struct kin_arena *arena = kini_arena_new();
    if (arena == NULL)
        return kini_fail(-ENOMEM, "no memory for the arena handle");
    const int all[] = {from.fd, from.token, from.seat, from.watch};
    for (size_t i = 0; i < KINI_COUNT(all); i++)
        kini_os_close_on_exec(all[i], true); /* not for the programs that we start */
    int r = take_over(arena, &from, text + length);
    unsetenv(VARIABLE);
    if (r < 0) {
        kini_arena_free(arena);
        return r;
    }
    *ret_arena = arena;
    return 0;
}

/* --- from an offer (proc/offer.c) ----------------------------------------------------------- */

int kin_arena_accept(const int fds[KIN_OFFER_FDS], uint64_t place, struct kin_arena **ret_arena)
{
    const struct legacy from = {.fd = fds[0],
                                .token = fds[1],
                                .seat = -1,
                                .watch = -1,
                                .slot = (uint32_t)(place >> 32),
                                .generation = (uint32_t)place};
    struct kin_arena *arena = kini_arena_new();
    if (arena == NULL) {
        kini_os_close(from.fd);
        kini_os_close(from.token);
        return kini_fail(-ENOMEM, "no memory for the arena handle");
    }
    kini_os_close_on_exec(from.fd, true);
    kini_os_close_on_exec(from.token, true);
    int r = take_over(arena, &from, "");
    if (r < 0)
        kini_arena_free(arena);
    else
        *ret_arena = arena;
    return r;
}

uint64_t kin_arena_id(const struct kin_arena *arena)
{
    return arena->inode;
}

int64_t kin_object_receive(struct kin_arena *arena, uint32_t key)
{
    return kini_object_receive(arena, key);
}

void kini_inherited_free(struct kin_arena *arena)
{
    for (uint32_t i = 0; i < arena->inherited_count; i++)
        kini_os_close(arena->inherited_sockets[i]);
    free(arena->inherited_sockets);
    free(arena->inherited);
}

/* --- the other side ------------------------------------------------------------------------- */

int kini_inherit_text(struct kin_arena *arena, const struct kini_legacy *legacy, char **ret_text)
{
    size_t room = sizeof VARIABLE + 6 * 12 + legacy->objects_count * 23 + 2;
    char *text = malloc(room);
    if (text == NULL)
        return kini_fail(-ENOMEM, "no memory for a list of %u objects", legacy->objects_count);
    int n = snprintf(text, room, VARIABLE "=%d.%d.%d.%d.%u.%u:", arena->fd, legacy->token,
                     arena->seat_fd, legacy->watch, legacy->slot, legacy->generation);
    for (uint32_t i = 0; i < legacy->objects_count; i++) {
        n += snprintf(text + n, room - (size_t)n, "%s%u", i ? "," : "", legacy->tags[i]);
        if (legacy->sockets[i] >= 0)
            n += snprintf(text + n, room - (size_t)n, ".%d", legacy->sockets[i]);
    }
    *ret_text = text;
    return 0;
}

bool kini_inherit_is_text(const char *variable)
{
    return strncmp(variable, VARIABLE "=", sizeof VARIABLE) == 0;
}
