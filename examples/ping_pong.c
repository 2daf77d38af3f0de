/* SPDX-License-Identifier: MIT
 * Two processes send a ball to and fro through a pipe, and say how long that takes.
 * ping_pong [ROUNDS] */
#include <errno.h>
#include <kin/kin.h>
#include <stdio.h>
#include <stdlib.h>

struct court {
    struct kin_pipe *ours, *theirs;
};

static int return_balls(struct kin_arena *arena, void *arg)
{
    struct court *court = arg;
    char ball[64];
    int64_t bytes;
    (void)arena;
    kin_pipe_close(court->ours); /* a child has both ends; this one would keep the pipe open */
    while ((bytes = kin_pipe_recv(court->theirs, ball, sizeof ball, KIN_NEVER)) >= 0)
        if ((bytes = kin_pipe_send(court->theirs, ball, (size_t)bytes, KIN_NEVER)) < 0)
            break;
    return bytes != -ESHUTDOWN; /* the end of file */
}

static int play(struct kin_pipe *end, long rounds)
{
    char ball[64] = "ball";
    int64_t r = 0, begin_ns = kin_now_ns();
    for (long i = 0; i < rounds && r >= 0; i++)
        if ((r = kin_pipe_send(end, ball, sizeof ball, KIN_NEVER)) == 0)
            r = kin_pipe_recv(end, ball, sizeof ball, KIN_NEVER);
    if (r >= 0)
        printf("%ld rounds, %.2f us each\n", rounds,
               (double)(kin_now_ns() - begin_ns) / 1e3 / (double)rounds);
    return r < 0 ? (int)r : 0;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 100000;
    struct kin_arena *arena = NULL;
    struct kin_process *process = NULL;
    struct court court = {NULL, NULL};
    int exitcode = 1, r = kin_arena_create(NULL, &arena);
    if (r == 0)
        r = kin_pipe_create(arena, NULL, &court.ours, &court.theirs);
    if (r == 0)
        r = kin_process_start(arena, return_balls, &court, NULL, &process);
    kin_pipe_close(court.theirs);
    if (r == 0)
        r = play(court.ours, rounds > 0 ? rounds : 1);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", kin_strerror(r), kin_error_text());
    kin_pipe_close(court.ours);
    if (process != NULL && kin_process_join(process, KIN_NEVER) == 0)
        kin_process_exitcode(process, &exitcode);
    kin_process_close(process);
    kin_arena_detach(arena);
    return exitcode != 0;
}
