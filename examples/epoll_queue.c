/* SPDX-License-Identifier: MIT
 * An event loop over two queues and a timer: kin in a program that waits in epoll already.
 *
 * A process sends numbers, another one words; the loop prints what comes, and a dot each 100 ms.
 * It ends when both have shut their queues down. */
#include <kin/kin.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { NUMBERS, WORDS, TIMER };

static int fail(const char *what, int r)
{
    fprintf(stderr, "%s: %s (%s)\n", what, kin_strerror(r), kin_error_text());
    return 1;
}

static int send_numbers(struct kin_arena *arena, void *queue)
{
    (void)arena;
    for (int i = 1; i <= 5; i++) {
        char text[16];
        int bytes = snprintf(text, sizeof text, "%d", i * i);
        if (kin_queue_put(queue, text, (size_t)bytes + 1, KIN_NEVER) < 0)
            return 1;
        usleep(30000);
    }
    return kin_queue_shutdown(queue, KIN_WHEN_DRAINED) < 0;
}

static int send_words(struct kin_arena *arena, void *queue)
{
    static const char *const words[] = {"one", "queue", "and", "another"};
    (void)arena;
    for (int i = 0; i < 4; i++) {
        usleep(70000);
        if (kin_queue_put(queue, words[i], strlen(words[i]) + 1, KIN_NEVER) < 0)
            return 1;
    }
    return kin_queue_shutdown(queue, KIN_WHEN_DRAINED) < 0;
}

struct source {
    struct kin_queue *queue;
    struct kin_ready *ready;
    struct kin_process *process;
};

static int source_open(struct source *source, struct kin_arena *arena, kin_process_fn send)
{
    int r = kin_queue_create(arena, NULL, &source->queue);
    if (r == 0)
        r = kin_process_start(arena, send, source->queue, NULL, &source->process);
    const struct kin_wait wait = kin_wait_get(source->queue);
    return r < 0 ? r : kin_ready_create(arena, &wait, 1, &source->ready);
}

/* One message, or none if the descriptor was readable without a cause. False at the end. */
static int handle(struct source *source, const char *name)
{
    char text[64];
    if (kin_ready_check(source->ready) == -EAGAIN)
        return 1;
    int64_t bytes = kin_queue_try_get(source->queue, text, sizeof text);
    if (bytes >= 0)
        printf("%s: %s\n", name, text);
    return bytes >= 0 || bytes == -EAGAIN; /* another process was quicker */
}

static void watch(int loop, int fd, uint32_t what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = what};
    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
}

static void run(int loop, int timer, struct source sources[2])
{
    static const char *const names[] = {"number", "word"};
    struct epoll_event event;
    for (int open = 2; open > 0 && epoll_wait(loop, &event, 1, -1) == 1;) {
        uint32_t what = event.data.u32;
        uint64_t ticks;
        if (what == TIMER && read(timer, &ticks, sizeof ticks) > 0) {
            printf(".\n");
        } else if (what != TIMER && !handle(&sources[what], names[what])) {
            epoll_ctl(loop, EPOLL_CTL_DEL, kin_ready_fd(sources[what].ready), NULL);
            open--;
        }
    }
}

int main(void)
{
    struct source sources[2] = {{0}};
    struct kin_arena *arena;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int r = kin_arena_create(NULL, &arena);
    if (r < 0 || (r = source_open(&sources[NUMBERS], arena, send_numbers)) < 0 ||
        (r = source_open(&sources[WORDS], arena, send_words)) < 0)
        return fail("no queues", r);

    const struct itimerspec each = {{0, 100000000}, {0, 100000000}};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), loop = epoll_create1(EPOLL_CLOEXEC);
    timerfd_settime(timer, 0, &each, NULL);
    watch(loop, timer, TIMER);
    for (uint32_t i = 0; i < 2; i++)
        watch(loop, kin_ready_fd(sources[i].ready), i);
    run(loop, timer, sources);

    for (int i = 0; i < 2; i++) {
        kin_ready_destroy(sources[i].ready);
        if (kin_process_join(sources[i].process, KIN_NEVER) < 0)
            return 1;
        kin_process_close(sources[i].process);
        kin_queue_destroy(sources[i].queue);
    }
    close(timer);
    close(loop);
    kin_arena_detach(arena);
    return 0;
}
