/* SPDX-License-Identifier: MIT
 * A child process as its parent sees it. Nothing here lies in shared memory. */
#ifndef KINI_PROCESS_H
#define KINI_PROCESS_H

#include "arena/arena.h"
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

#endif
