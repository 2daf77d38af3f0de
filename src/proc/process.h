/* SPDX-License-Identifier: MIT
 * A child process as its parent sees it. Nothing here lies in shared memory. */
#ifndef KINI_PROCESS_H
#define KINI_PROCESS_H

#include "arena/attach.h"
#include <kin/process.h>

struct kin_process {
    struct kin_arena *arena;
    uint64_t cookie; /* of the process that started it */
    pid_t pid;
    int pidfd;
    uint32_t slot; /* the child's, as long as its generation is still this: */
    uint32_t generation;
    uint32_t daemon;
    bool closed;    /* the user gave the handle back; freed once collected */
    bool collected; /* no zombie any more */
    int status;     /* valid when collected: exit status, or negative signal */
    int lost;       /* -ECHILD: somebody else collected it */
    pthread_mutex_t mutex;
    char name[32];
    struct kin_process *next; /* of all children of this process, under the arena's mutex */
};

/* Collect the child if it has ended, and repair what it left. True when it has ended. */
bool kini_process_poll(struct kin_process *process);

/* Together a start: a handle for the child to come (of a daemon: and the line to it); the child is
 * there; or there will be none. */
/* Makes the arena's life line if there is none yet. */
int kini_process_lifeline(struct kin_arena *arena);
int kini_process_new(struct kin_arena *arena, const struct kin_process_opts *opts,
                     struct kin_process **ret_process);
int kini_process_adopt(struct kin_process *process, pid_t pid, const struct kini_fork_call *call);
void kini_process_free(struct kin_process *process);

#endif
