/* SPDX-License-Identifier: MIT
 * Start, watch and end child processes. */
#include "proc/process.h"
#include "sync/wait.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- collecting ----------------------------------------------------------------------------- */

static bool is_parent(const struct kin_process *process)
{
    return process->cookie == kini_load(process->arena->guard);
}

/* Only this child is asked for: other children of the program are not ours to collect. */
static bool collect(struct kin_process *process)
{
    pthread_mutex_lock(&process->mutex);
    if (!process->collected) {
        int r = kini_os_pidfd_collect(process->pidfd, &process->status);
        if (r == -ECHILD) /* ended and collected by somebody else, or SIGCHLD is ignored */
            process->lost = kini_os_wait_readable(process->pidfd, KIN_NOW) == 0 ? -ECHILD : 0;
        process->collected = r == 0 || process->lost < 0;
    }
    bool ended = process->collected;
    pthread_mutex_unlock(&process->mutex);
    return ended;
}

bool kini_process_poll(struct kin_process *process)
{
    if (!collect(process))
        return false;
    struct kin_arena *arena = process->arena;
    uint64_t state = kini_load_acq(&arena->participants[process->slot].state);
    if (process->slot != 0 && KINI_STATE_GEN(state) == process->generation &&
        KINI_STATE(state) != KINI_FREE)
        kini_reap(arena, process->slot); /* at once, not at the next look of a watcher */
    return true;
}

void kini_process_free(struct kin_process *process)
{
    kini_os_close(process->pidfd);
    pthread_mutex_destroy(&process->mutex);
    free(process);
}

static void collect_list(struct kin_process **list)
{
    for (struct kin_process **link = list; *link != NULL;) {
        struct kin_process *process = *link;
        if (collect(process) && process->closed) {
            *link = process->next;
            kini_process_free(process);
        } else {
            link = &process->next;
        }
    }
}

/* Children that still ran, with nobody to join them, when their arena was detached. */
static pthread_mutex_t left_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct kin_process *left;
static pid_t left_parent; /* whose they are: not those of a child that inherits the list */

/* Children that ended: no zombies. Those whose handle was given back are freed, too. */
static void collect_all(struct kin_arena *arena)
{
    pthread_mutex_lock(&arena->mutex);
    collect_list((struct kin_process **)&arena->children);
    pthread_mutex_unlock(&arena->mutex);
    if (pthread_mutex_trylock(&left_mutex) != 0)
        return; /* another thread is at it */
    if (left_parent == getpid())
        collect_list(&left);
    pthread_mutex_unlock(&left_mutex);
}

static void leave_children(struct kin_arena *arena)
{
    collect_all(arena);
    pthread_mutex_lock(&left_mutex);
    if (left_parent != getpid())
        left = NULL;
    left_parent = getpid();
    struct kin_process *next;
    for (struct kin_process *process = arena->children; process != NULL; process = next) {
        next = process->next;
        if (!process->closed)
            continue; /* the user has the handle, and frees it with kin_process_close: see there */
        process->next = left;
        left = process;
    }
    pthread_mutex_unlock(&left_mutex);
    arena->children = NULL;
}

/* In the child of a fork: the descriptors of its parent's children are none of its business. Called
 * from a fork handler, so nothing is freed. */
static void close_siblings(struct kin_arena *arena)
{
    for (struct kin_process *process = arena->children; process != NULL; process = process->next) {
        kini_os_close(process->pidfd);
        process->pidfd = -1;
    }
}

/* --- starting ------------------------------------------------------------------------------- */

/* What waits in a buffer would be written by the child a second time. A stream that another thread
 * holds is left alone: the child drops its copy. */
static void flush_stream(FILE *stream)
{
    if (ftrylockfile(stream) == 0) {
        fflush_unlocked(stream);
        funlockfile(stream);
    }
}

static int exit_status(int result)
{
    return result >= 0 && result <= 255 ? result : 1;
}

/* Leave the arena in order, unless other threads of the child may still be in it: then the reaper
 * does it after they are gone. */
static void leave_arena(struct kin_arena *arena)
{
    struct kini_self *self = kini_enter(arena);
    if (self != NULL && arena->selves == self && self->next_in_arena == NULL)
        kini_arena_leave(arena);
}

static _Noreturn void run_child(struct kin_arena *arena, kin_process_fn fn, void *arg,
                                uint32_t daemon, const char *name)
{
    __fpurge(stdout);
    __fpurge(stderr);
    /* Without a reserved slot the parent reports an error: then nothing must run. */
    if (kini_fork_call.error < 0 || kini_enter(arena) == NULL)
        _exit(127);
    struct kini_participant_shm *me = &arena->participants[arena->slot];
    memcpy(me->name, name, sizeof me->name);
    kini_store(&me->daemon, daemon);
    if (daemon) {
        int watch = arena->lifeline_watch;
        arena->lifeline_watch = -1;
        arena->lifeline_bound = kini_os_lifeline_bind(watch);
        if (arena->lifeline_bound < 0)
            _exit(127);
        kini_os_close(watch);
    }
    int result = fn(arena, arg);
    fflush(stdout);
    fflush(stderr);
    leave_arena(arena);
    _exit(exit_status(result));
}

int kini_process_lifeline(struct kin_arena *arena)
{
    int r = 0;
    pthread_mutex_lock(&arena->mutex);
    if (arena->lifeline_keep < 0)
        r = kini_os_lifeline_create(&arena->lifeline_keep, &arena->lifeline_watch);
    pthread_mutex_unlock(&arena->mutex);
    if (r < 0)
        return kini_fail(r, "no file descriptors for a daemon's life line (RLIMIT_NOFILE)");
    return 0;
}

/* The fork itself, with the handlers of the arena layer around it. */
static pid_t fork_child(struct kin_arena *arena, uint32_t daemon, struct kini_fork_call *ret_call)
{
    kini_fork_call = (struct kini_fork_call){.arena = arena, .keep_watch = daemon};
    pid_t pid = fork();
    int error = errno;
    *ret_call = kini_fork_call;
    kini_fork_call.arena = NULL;
    if (pid < 0 && ret_call->slot != 0)
        kini_reap(arena, ret_call->slot); /* nobody will come for it */
    if (pid < 0)
        return kini_fail(-error, "fork failed: %s",
                         error == EAGAIN ? "too many processes (RLIMIT_NPROC, pids limit)"
                                         : "no memory");
    return pid;
}

static void end_stillborn(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static struct kin_process *make_process(struct kin_arena *arena,
                                        const struct kin_process_opts *opts)
{
    static _Atomic uint32_t serial;
    struct kin_process *process = calloc(1, sizeof *process);
    if (process == NULL)
        return NULL;
    process->arena = arena;
    process->daemon = opts->daemon != 0;
    process->pidfd = -1;
    process->cookie = kini_load(arena->guard);
    pthread_mutex_init(&process->mutex, NULL);
    if (opts->name != NULL)
        kini_name_copy(process->name, opts->name);
    else
        snprintf(process->name, sizeof process->name, "Process-%u", kini_add(&serial, 1) + 1);
    return process;
}

int kini_process_new(struct kin_arena *arena, const struct kin_process_opts *opts,
                     struct kin_process **ret_process)
{
    collect_all(arena);
    int r = opts->daemon ? kini_process_lifeline(arena) : 0;
    if (r < 0)
        return r;
    *ret_process = make_process(arena, opts);
    return *ret_process == NULL ? kini_fail(-ENOMEM, "no memory for a process handle") : 0;
}

int kini_process_adopt(struct kin_process *process, pid_t pid, const struct kini_fork_call *call)
{
    struct kin_arena *arena = process->arena;
    int r = call->error;
    process->pid = pid;
    if (r == 0)
        r = process->pidfd = kini_os_pidfd_open(pid);
    if (r == -ESRCH) { /* SIGCHLD is ignored, and it has ended already */
        process->collected = true;
        process->lost = -ECHILD;
        r = 0;
    }
    if (r < 0) {
        end_stillborn(pid);
        if (call->error == 0)
            kini_fail(r, "no descriptor for the child: %s", kin_strerror(r));
        return r;
    }
    process->slot = call->slot;
    process->generation = call->generation;
    pthread_mutex_lock(&arena->mutex);
    process->next = arena->children;
    arena->children = process;
    arena->leave_children = leave_children;
    arena->close_siblings = close_siblings;
    pthread_mutex_unlock(&arena->mutex);
    return 0;
}

int kin_process_start(struct kin_arena *arena, kin_process_fn fn, void *arg,
                      const struct kin_process_opts *given, struct kin_process **ret_process)
{
    struct kin_process_opts opts;
    char name[32];
    int r = kini_opts_copy(&opts, sizeof opts, given);
    if (r < 0 || (r = kini_name_copy(name, opts.name)) < 0)
        return r;
    if (fn == NULL)
        return kini_fail(-EINVAL, "no function to run");
    struct kini_self *self = kini_enter(arena);
    if (self == NULL)
        return kini_enter_error();
    if ((r = kini_refuse_vfork(self)) < 0)
        return r;
    struct kin_process *process;
    if ((r = kini_process_new(arena, &opts, &process)) < 0)
        return r;
    /* Keeps a place for the child's descriptor: to find out afterwards that there is none would
     * mean to kill a child that runs already. */
    int place = kini_os_duplicate(arena->fd);
    if (place < 0) {
        kini_process_free(process);
        return kini_fail(place, "no file descriptor for the child (RLIMIT_NOFILE)");
    }
    flush_stream(stdout);
    flush_stream(stderr);
    struct kini_fork_call call;
    pid_t pid = fork_child(arena, process->daemon, &call);
    kini_os_close(place);
    if (pid == 0)
        run_child(arena, fn, arg, process->daemon, process->name);
    r = pid < 0 ? (int)pid : kini_process_adopt(process, pid, &call);
    if (r < 0) {
        kini_process_free(process);
        return r;
    }
    *ret_process = process;
    return 0;
}

/* --- a child -------------------------------------------------------------------------------- */

static int not_parent(void)
{
    return kini_fail(-ECHILD, "the process was not started by this one");
}

int kin_process_join(struct kin_process *process, kin_deadline deadline)
{
    if (!is_parent(process))
        return not_parent();
    for (;;) {
        if (kini_process_poll(process))
            return 0;
        int r = kini_os_wait_readable(process->pidfd, deadline);
        if (r == -ETIMEDOUT || kini_wait_is_over(r, deadline))
            return kini_process_poll(process) ? 0 : -ETIMEDOUT;
        if (r < 0 && r != -EINTR)
            return kini_fail(r, "waiting for the child failed");
    }
}

int kin_process_is_alive(struct kin_process *process)
{
    return is_parent(process) ? !kini_process_poll(process) : not_parent();
}

int kin_process_exitcode(struct kin_process *process, int *ret_exitcode)
{
    if (!is_parent(process))
        return not_parent();
    if (!kini_process_poll(process))
        return -EAGAIN;
    if (process->lost < 0)
        return kini_fail(-ECHILD, "somebody else collected the child: its status is lost");
    *ret_exitcode = process->status;
    return 0;
}

int kin_process_signal(struct kin_process *process, int signal)
{
    if (!is_parent(process))
        return not_parent();
    if (signal < 0 || signal > SIGRTMAX)
        return kini_fail(-EINVAL, "there is no signal %d", signal);
    if (collect(process))
        return 0;
    int r = kini_os_pidfd_signal(process->pidfd, signal);
    return r == -ESRCH ? 0 : r;
}

int kin_process_terminate(struct kin_process *process)
{
    return kin_process_signal(process, SIGTERM);
}

int kin_process_kill(struct kin_process *process)
{
    return kin_process_signal(process, SIGKILL);
}

pid_t kin_process_pid(const struct kin_process *process)
{
    return process->pid;
}

const char *kin_process_name(const struct kin_process *process)
{
    return process->name;
}

int kin_process_fd(const struct kin_process *process)
{
    return process->pidfd;
}

void kin_process_close(struct kin_process *process)
{
    if (process == NULL)
        return;
    if (!is_parent(process)) { /* a copy that came with a fork */
        kini_process_free(process);
        return;
    }
    struct kin_arena *arena = process->arena;
    kini_process_poll(process);
    pthread_mutex_lock(&arena->mutex);
    process->closed = true; /* from here on it may be freed */
    pthread_mutex_unlock(&arena->mutex);
    collect_all(arena);
}

/* --- who is here ---------------------------------------------------------------------------- */

static int fill_info(struct kin_process_info *ret_info, const struct kin_process_info *info)
{
    uint32_t size = ret_info->size;
    if (size < sizeof(uint32_t) || size > sizeof *info)
        return kini_fail(-EINVAL, "size of the info structure is %u", size);
    memcpy((char *)ret_info + sizeof size, (const char *)info + sizeof size, size - sizeof size);
    return 0;
}

static int participant_info(struct kin_arena *arena, uint32_t slot,
                            struct kin_process_info *ret_info)
{
    struct kini_participant_shm *p = &arena->participants[slot];
    struct kin_process_info info = {.pid = (pid_t)kini_load(&p->pid),
                                    .parent_pid = (pid_t)kini_load(&p->parent_pid),
                                    .daemon = kini_load(&p->daemon)};
    memcpy(info.name, p->name, sizeof info.name);
    return fill_info(ret_info, &info);
}

int kin_process_current(struct kin_arena *arena, struct kin_process_info *ret_info)
{
    if (kini_enter(arena) == NULL)
        return kini_enter_error();
    return participant_info(arena, arena->slot, ret_info);
}

int kin_process_parent(struct kin_arena *arena, struct kin_process_info *ret_info)
{
    if (kini_enter(arena) == NULL)
        return kini_enter_error();
    uint64_t key = kini_load(&arena->participants[arena->slot].parent_key);
    uint32_t slot = (uint32_t)(key >> 32);
    if (slot == 0 || slot >= KINI_PARTICIPANTS_MAX)
        return kini_fail(-ENOENT, "this process was not started by a participant");
    uint64_t state = kini_load_acq(&arena->participants[slot].state);
    if (KINI_STATE(state) != KINI_LIVE || KINI_STATE_GEN(state) != (uint32_t)key ||
        kini_participant_life(arena, slot, false) == KINI_OS_DEAD)
        return kini_fail(-ENOENT, "the parent process is gone");
    return participant_info(arena, slot, ret_info);
}

int kin_process_children(struct kin_arena *arena, struct kin_process_info *ret_infos, uint32_t max)
{
    if (kini_enter(arena) == NULL)
        return kini_enter_error();
    collect_all(arena);
    uint32_t count = 0;
    int r = 0;
    pthread_mutex_lock(&arena->mutex);
    for (struct kin_process *p = arena->children; p != NULL && r == 0; p = p->next) {
        if (p->collected)
            continue;
        if (count < max) {
            struct kin_process_info info = {
                .pid = p->pid, .parent_pid = getpid(), .daemon = p->daemon};
            memcpy(info.name, p->name, sizeof info.name);
            ret_infos[count].size = ret_infos[0].size;
            r = fill_info(&ret_infos[count], &info);
        }
        count++;
    }
    pthread_mutex_unlock(&arena->mutex);
    return r < 0 ? r : (int)count;
}
