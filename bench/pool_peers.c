/* SPDX-License-Identifier: MIT
 * A pool as one makes it with two pipes, and Python's. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/bench.h"
#include "pool_peers.h"

struct answer {
    uint64_t index, result;
};

/* --- by hand -------------------------------------------------------------------------------- */

_Noreturn static void work(int tasks, int answers)
{
    uint64_t index;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(tasks, &index, sizeof index) == (ssize_t)sizeof index) {
        struct answer answer = {index, index + 1};
        if (write(answers, &answer, sizeof answer) != (ssize_t)sizeof answer)
            _exit(1);
    }
    _exit(0);
}

/* Hands out as many as fit into the pipe, one write each. */
static uint64_t hand_out(int tasks, uint64_t next, uint64_t count)
{
    while (next < count) {
        if (write(tasks, &next, sizeof next) < 0) {
            if (errno != EAGAIN)
                bench_must_sys(-1, "write");
            break;
        }
        next++;
    }
    return next;
}

/* Takes as many answers as there are, many with one read. */
static uint64_t collect(int answers, uint64_t *results)
{
    struct answer some[256];
    ssize_t bytes = read(answers, some, sizeof some);
    if (bytes < 0 && errno == EAGAIN)
        return 0;
    bench_must_sys(bytes, "read");
    uint64_t got = (uint64_t)bytes / sizeof *some;
    for (uint64_t i = 0; i < got; i++)
        results[some[i].index] = some[i].result;
    return got;
}

static void drive(int tasks, int answers, uint64_t *results, uint64_t count)
{
    uint64_t next = 0, got = 0;
    while (got < count) {
        next = hand_out(tasks, next, count);
        struct pollfd fds[] = {{.fd = answers, .events = POLLIN},
                               {.fd = next < count ? tasks : -1, .events = POLLOUT}};
        bench_must_sys(poll(fds, 2, -1), "poll");
        if (fds[0].revents)
            got += collect(answers, results);
    }
}

double pipe_pool_map(int workers, uint64_t *results, uint64_t count)
{
    int tasks[2], answers[2];
    bench_must_sys(pipe(tasks), "pipe");
    bench_must_sys(pipe(answers), "pipe");
    fflush(stdout);
    for (int i = 0; i < workers; i++) {
        pid_t pid = fork();
        bench_must_sys(pid, "fork");
        if (pid == 0) {
            close(tasks[1]);
            work(tasks[0], answers[1]);
        }
    }
    fcntl(tasks[1], F_SETFL, O_NONBLOCK);
    fcntl(answers[0], F_SETFL, O_NONBLOCK);
    drive(tasks[1], answers[0], results, count < 1000 ? count : 1000); /* they are awake */
    int64_t start = bench_now_ns();
    drive(tasks[1], answers[0], results, count);
    double seconds = (double)(bench_now_ns() - start) * 1e-9;
    close(tasks[1]);
    while (wait(NULL) > 0)
        ;
    close(tasks[0]);
    close(answers[0]);
    close(answers[1]);
    return seconds;
}

/* --- Python --------------------------------------------------------------------------------- */

static const char script[] =
    "import multiprocessing, sys, time\n"
    "def work(i): return i + 1\n"
    "if __name__ == '__main__':\n"
    "    workers, count, chunk = map(int, sys.argv[1:])\n"
    "    with multiprocessing.get_context('fork').Pool(workers) as pool:\n"
    "        pool.map(work, range(1000), chunksize=1)\n"
    "        start = time.perf_counter()\n"
    "        results = pool.map(work, range(count), chunksize=chunk or None)\n"
    "        print(time.perf_counter() - start)\n"
    "        assert results == list(range(1, count + 1))\n";

double python_pool_map(int workers, uint64_t count, uint64_t chunk)
{
    char file[] = "/tmp/kin-bench-XXXXXX", command[256];
    int fd = mkstemp(file);
    bench_must_sys(fd, "mkstemp");
    bench_must_sys(write(fd, script, sizeof script - 1), "write");
    close(fd);
    snprintf(command, sizeof command, "python3 %s %d %llu %llu 2>/dev/null", file, workers,
             (unsigned long long)count, (unsigned long long)chunk);
    FILE *python = popen(command, "re");
    double seconds = -1;
    if (python != NULL) {
        if (fscanf(python, "%lf", &seconds) != 1)
            seconds = -1;
        if (pclose(python) != 0)
            seconds = -1;
    }
    unlink(file);
    return seconds;
}
