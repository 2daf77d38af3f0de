/* SPDX-License-Identifier: MIT
 * Start another program as a child, with the arena and chosen objects handed over. The program's
 * side, and the crash states: arena/inherit.c. */
#include "proc/process.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "chan/pipe.h"
#include "sync/handle.h"

extern char **environ;

struct spawn_call {
    const char *path;
    char *const *argv;
    const struct kin_spawn_opts *opts;
    struct kini_legacy legacy;
};

/* What is handed over is held by us, so it stays until the child has its bit. */
static int check_objects(struct kini_self *self, const struct kin_spawn_opts *opts,
                         struct kini_legacy *legacy)
{
    for (uint32_t i = 0; i < opts->objects_count; i++) {
        const struct kini_handle *handle = opts->objects[i];
        if (handle == NULL)
            return kini_fail(-EINVAL, "object %u is a null pointer", i);
        if (handle->arena != self->arena)
            return kini_fail(-EXDEV, "object %u is of another arena, or no handle of an object", i);
        if (!kini_object_is_held(self->arena, self->slot, handle->tag))
            return kini_fail(-ESTALE, "object %u is gone", i);
        legacy->tags[i] = handle->tag;
        legacy->sockets[i] = handle->type == KINI_OBJECT_PIPE_END ? kini_pipe_socket(handle) : -1;
    }
    return 0;
}

/* Ours without an older arena that was handed over to us, and with this one. */
static char **make_environment(char *const *given, char *text)
{
    size_t count = 0, kept = 0;
    while (given[count] != NULL)
        count++;
    char **list = calloc(count + 2, sizeof *list);
    for (size_t i = 0; list != NULL && i < count; i++)
        if (!kini_inherit_is_text(given[i]))
            list[kept++] = given[i];
    if (list != NULL)
        list[kept] = text;
    return list;
}

/* The descriptors keep their numbers, and stay open across the exec: of the child only. */
static int keep_open(posix_spawn_file_actions_t *actions, const int *fds, size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++)
        if (fds[i] >= 0)
            error = posix_spawn_file_actions_adddup2(actions, fds[i], fds[i]);
    return error;
}

static int execute(struct kin_arena *arena, const struct spawn_call *call, char **list,
                   pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0)
        return kini_fail(-error, "no memory to start a program");
    const int fds[] = {arena->fd, call->legacy.token, arena->seat_fd, call->legacy.watch};
    error = keep_open(&actions, fds, KINI_COUNT(fds));
    if (error == 0)
        error = keep_open(&actions, call->legacy.sockets, call->legacy.objects_count);
    if (error == 0)
        error = posix_spawnp(ret_pid, call->path, &actions, NULL, call->argv, list);
    posix_spawn_file_actions_destroy(&actions);
    return error ? kini_fail(-error, "%s cannot be started: %s", call->path, kin_strerror(error))
                 : 0;
}

static int start(struct kin_arena *arena, const struct spawn_call *call, pid_t *ret_pid)
{
    char *text;
    int r = kini_inherit_text(arena, &call->legacy, &text);
    if (r < 0)
        return r;
    char **list =
        make_environment(call->opts->environment ? call->opts->environment : environ, text);
    r = list != NULL ? execute(arena, call, list, ret_pid)
                     : kini_fail(-ENOMEM, "no memory for the environment");
    free(list);
    free(text);
    return r;
}

/* The slot of the child to be, with what it is to hold. The mutex: nothing is dropped meanwhile. */
static int prepare(struct kini_self *self, struct spawn_call *call,
                   const struct kin_process *process)
{
    struct kin_arena *arena = self->arena;
    struct kini_legacy *legacy = &call->legacy;
    pthread_mutex_lock(&arena->mutex);
    int r = check_objects(self, call->opts, legacy);
    if (r == 0)
        r = kini_participant_reserve(arena, &legacy->slot, &legacy->token);
    if (r == 0) {
        struct kini_participant_shm *child = &arena->participants[legacy->slot];
        legacy->generation = KINI_STATE_GEN(kini_load(&child->state));
        memcpy(child->name, process->name, sizeof child->name);
        kini_store(&child->daemon, process->daemon);
        kini_bitmap_fill(arena, legacy->slot, legacy->tags, legacy->objects_count);
    }
    pthread_mutex_unlock(&arena->mutex);
    return r;
}

/* No thread of ours forks meanwhile: its child would keep a copy of the token. */
static int spawn(struct kini_self *self, struct spawn_call *call, struct kin_process *process)
{
    struct kin_arena *arena = self->arena;
    pid_t pid = 0;
    int r = kini_fork_begin();
    if (r < 0)
        return r;
    r = prepare(self, call, process);
    if (r == 0) {
        r = start(arena, call, &pid);
        kini_os_close(call->legacy.token);
        if (r < 0)
            kini_reap(arena, call->legacy.slot); /* nobody will come for it */
    }
    kini_fork_end();
    if (r < 0)
        return r;
    const struct kini_fork_call born = {.slot = call->legacy.slot,
                                        .generation = call->legacy.generation};
    return kini_process_adopt(process, pid, &born);
}

static int spawn_with_place(struct kini_self *self, struct spawn_call *call,
                            struct kin_process *process)
{
    /* Keeps a place for the child's descriptor, as kin_process_start does. */
    int place = kini_os_duplicate(self->arena->fd);
    if (place < 0)
        return kini_fail(place, "no file descriptor for the child (RLIMIT_NOFILE)");
    int r = spawn(self, call, process);
    kini_os_close(place);
    return r;
}

int kin_process_spawn(struct kin_arena *arena, const char *path, char *const argv[],
                      const struct kin_spawn_opts *given, struct kin_process **ret_process)
{
    struct kin_spawn_opts opts;
    char name[32];
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = kini_name_copy(name, opts.name)) < 0)
        return r;
    if (path == NULL || argv == NULL || argv[0] == NULL)
        return kini_fail(-EINVAL, "no program to run, or no argv[0] for it");
    if (opts.objects_count > 0 && opts.objects == NULL)
        return kini_fail(-EINVAL, "no list of %u objects", opts.objects_count);
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    if ((r = kini_refuse_vfork(self)) < 0)
        return r;
    const struct kin_process_opts as = {.daemon = opts.daemon, .name = opts.name};
    struct kin_process *process;
    r = kini_process_new(arena, &as, &process);
    if (r < 0)
        return r;
    struct spawn_call call = {.path = path, .argv = argv, .opts = &opts};
    call.legacy.objects_count = opts.objects_count;
    call.legacy.watch = opts.daemon ? arena->lifeline_watch : -1;
    call.legacy.tags = calloc(opts.objects_count + 1, sizeof(uint32_t));
    call.legacy.sockets = calloc(opts.objects_count + 1, sizeof(int));
    r = call.legacy.tags != NULL && call.legacy.sockets != NULL
            ? spawn_with_place(self, &call, process)
            : kini_fail(-ENOMEM, "no memory for %u objects", opts.objects_count);
    free(call.legacy.tags);
    free(call.legacy.sockets);
    if (r < 0)
        kini_process_free(process);
    else
        *ret_process = process;
    return r;
}
