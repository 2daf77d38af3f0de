/* SPDX-License-Identifier: MIT
 * iceoryx: publish and subscribe over chunks of shared memory, with a daemon (RouDi) that every
 * sample starts anew, since processes that are killed would leave their chunks behind. As with the
 * others a message is copied in and out. The publisher waits, without sleeping much, while the
 * subscriber's queue is full; the subscriber sleeps while it is empty. Every subscriber gets every
 * message, so there is no one to four. */
#include "peers/peer.h"

#ifdef BENCH_ICEORYX

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <iceoryx_binding_c/publisher.h>
#include <iceoryx_binding_c/runtime.h>
#include <iceoryx_binding_c/subscriber.h>
#include <iceoryx_binding_c/wait_set.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/bench.h"

#define SOCKETS    "/tmp/kin-bench-iceoryx-%d-" /* of the clients; the number is their parent */
#define QUEUE_MOST 256                          /* what a subscriber may ask for */

static const char config[] = "[general]\nversion = 1\n[[segment]]\n"
                             "[[segment.mempool]]\nsize = 128\ncount = 2000\n"
                             "[[segment.mempool]]\nsize = 1024\ncount = 2000\n"
                             "[[segment.mempool]]\nsize = 65536\ncount = 400\n"
                             "[[segment.mempool]]\nsize = 1048576\ncount = 40\n";

static pid_t roudi;           /* the daemon */
static int roudi_output = -1; /* open while it lives: it would not survive its last words */
static int users;
static int joined; /* this process has its runtime */

struct iceoryx_channel {
    uint64_t depth;
    char name[32];
    iox_pub_t publisher; /* this process's own, like the rest */
    iox_sub_t subscriber;
    iox_ws_t waiting;
    iox_pub_storage_t publisher_storage;
    iox_sub_storage_t subscriber_storage;
    iox_ws_storage_t waiting_storage;
};

static _Noreturn void run_roudi(const char *path, int output)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execlp("iox-roudi", "iox-roudi", "-c", path, "-m", "off", (char *)NULL);
    _exit(127);
}

/* Until it says that it is ready. 0: there is none. */
static int start_roudi(void)
{
    char path[] = "/tmp/kin-bench-roudi-XXXXXX", words[4096];
    int file = mkstemp(path), ends[2], ready = 0;
    size_t length = 0;
    bench_must_sys(file, "mkstemp");
    bench_must_sys(write(file, config, sizeof config - 1), "write");
    bench_must_sys(pipe(ends), "pipe");
    roudi = fork();
    bench_must_sys(roudi, "fork");
    if (roudi == 0)
        run_roudi(path, ends[1]);
    close(ends[1]);
    while (!ready && length < sizeof words - 1) {
        ssize_t r = read(ends[0], words + length, sizeof words - 1 - length);
        if (r <= 0)
            break;
        length += (size_t)r;
        words[length] = 0;
        ready = strstr(words, "ready for clients") != NULL;
    }
    roudi_output = ends[0];
    close(file);
    unlink(path);
    return ready;
}

/* It aborts at the end, when its clients are gone, and leaves all this, as they do. */
static void clean_up(void)
{
    char pattern[64];
    glob_t found;
    const struct passwd *user = getpwuid(geteuid());
    snprintf(pattern, sizeof pattern, SOCKETS "*", (int)getpid());
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
        globfree(&found);
    }
    unlink("/tmp/roudi");
    unlink("/tmp/roudi.lock");
    shm_unlink("/iceoryx_mgmt");
    if (user != NULL)
        shm_unlink(user->pw_name);
}

static void stop_roudi(void)
{
    kill(roudi, SIGTERM);
    bench_must_sys(waitpid(roudi, NULL, 0), "waitpid");
    close(roudi_output);
    clean_up();
}

static void *iceoryx_open(const struct peer_opts *opts)
{
    if (opts->consumers > 1)
        return NULL;
    if (users == 0 && !start_roudi()) {
        stop_roudi();
        return NULL;
    }
    struct iceoryx_channel *c = calloc(1, sizeof *c);
    if (c == NULL)
        bench_die("no memory");
    c->depth = opts->depth < QUEUE_MOST ? opts->depth : QUEUE_MOST;
    snprintf(c->name, sizeof c->name, "channel-%d", users++);
    return c;
}

static void iceoryx_close(void *channel)
{
    free(channel);
    if (--users == 0)
        stop_roudi();
}

static void join(void)
{
    char name[64];
    if (joined)
        return;
    joined = 1;
    snprintf(name, sizeof name, SOCKETS "%d", (int)getppid(), (int)getpid());
    int stderr_fd = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO); /* it tells what it maps */
    iox_runtime_init(name + sizeof "/tmp");
    dup2(stderr_fd, STDERR_FILENO);
    close(stderr_fd);
    close(null);
}

static void publish_on(struct iceoryx_channel *c)
{
    iox_pub_options_t options;
    join();
    iox_pub_options_init(&options);
    options.subscriberTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
    c->publisher = iox_pub_init(&c->publisher_storage, "kin", "bench", c->name, &options);
    while (!iox_pub_has_subscribers(c->publisher))
        usleep(1000);
}

static void subscribe_to(struct iceoryx_channel *c)
{
    iox_sub_options_t options;
    join();
    iox_sub_options_init(&options);
    options.queueCapacity = c->depth;
    options.queueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
    c->subscriber = iox_sub_init(&c->subscriber_storage, "kin", "bench", c->name, &options);
    c->waiting = iox_ws_init(&c->waiting_storage);
    iox_ws_attach_subscriber_state(c->waiting, c->subscriber, SubscriberState_HAS_DATA, 0, NULL);
}

static void iceoryx_put(void *channel, const void *data, size_t bytes)
{
    struct iceoryx_channel *c = channel;
    void *chunk;
    if (__builtin_expect(c->publisher == NULL, 0))
        publish_on(c);
    if (iox_pub_loan_chunk(c->publisher, &chunk, (uint32_t)bytes) != AllocationResult_SUCCESS)
        bench_die("iceoryx: no chunk");
    memcpy(chunk, data, bytes);
    iox_pub_publish_chunk(c->publisher, chunk);
}

static int take(struct iceoryx_channel *c, void *buffer, size_t bytes)
{
    const void *chunk;
    if (iox_sub_take_chunk(c->subscriber, &chunk) != ChunkReceiveResult_SUCCESS)
        return 0;
    memcpy(buffer, chunk, bytes);
    iox_sub_release_chunk(c->subscriber, chunk);
    return 1;
}

static void iceoryx_get(void *channel, void *buffer, size_t bytes)
{
    struct iceoryx_channel *c = channel;
    iox_notification_info_t info;
    uint64_t missed;
    if (__builtin_expect(c->subscriber == NULL, 0))
        subscribe_to(c);
    while (!take(c, buffer, bytes))
        iox_ws_wait(c->waiting, &info, 1, &missed);
}

static void iceoryx_poll(void *channel, void *buffer, size_t bytes)
{
    struct iceoryx_channel *c = channel;
    if (__builtin_expect(c->subscriber == NULL, 0))
        subscribe_to(c);
    while (!take(c, buffer, bytes))
        ;
}

#else

static void *iceoryx_open(const struct peer_opts *opts)
{
    (void)opts;
    return NULL;
}

#define iceoryx_close NULL
#define iceoryx_put   NULL
#define iceoryx_get   NULL
#define iceoryx_poll  NULL

#endif

const struct peer peer_iceoryx = {.name = "iceoryx",
                                  .open = iceoryx_open,
                                  .close = iceoryx_close,
                                  .put = iceoryx_put,
                                  .get = iceoryx_get};
const struct peer peer_iceoryx_polled = {.name = "iceoryx",
                                         .open = iceoryx_open,
                                         .close = iceoryx_close,
                                         .put = iceoryx_put,
                                         .get = iceoryx_poll};
