/* SPDX-License-Identifier: MIT
 * Locks, semaphores, rwlocks and events when nobody else wants them. One thread. */
#include "lib/stage.h"
#include "peers/python_sync.h"
#include "peers/sync.h"

static void run_pairs(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    const struct sync_peer *peer = self->arg;
    void *object = peer->open();
    if (object == NULL) {
        ret->seconds = -1;
        return;
    }
    peer->pairs(object, 100);
    int64_t start = bench_now_ns();
    peer->pairs(object, count);
    ret->seconds = (double)(bench_now_ns() - start) * 1e-9;
    peer->close(object);
}

static void contest(const char *title, const char *about, struct bench_contestant *list, int count,
                    const struct bench_claim *claims, int claims_count)
{
    struct bench_contest contest = {.title = title,
                                    .about = about,
                                    .view = BENCH_NS,
                                    .costs = 1,
                                    .list = list,
                                    .list_count = count,
                                    .claims = claims,
                                    .claims_count = claims_count};
    for (int i = 0; i < count; i++)
        if (list[i].run == NULL)
            list[i].run = run_pairs;
    bench_contest(&contest);
}

static void locks(void)
{
    struct bench_contestant list[] = {
        {"pthread mutex", .arg = &sync_mutex, .reference = 1},
        {"pthread mutex, robust", .arg = &sync_mutex_robust},
        {"kin lock", .arg = &sync_kin_lock, .aim = 1.0},
        {"Python Lock", .run = python_sync, .arg = "pair Lock"},
    };
    const struct bench_claim claims[] = {{"kin lock", "pthread mutex, robust", 0.6}};
    contest("Lock: acquire and release",
            "In memory that processes share, as all that follows. kin's lock survives its holder,\n"
            "as the robust mutex does. ratio: to the first one.",
            list, BENCH_COUNT(list), claims, BENCH_COUNT(claims));
}

static void rlocks(void)
{
    struct bench_contestant list[] = {
        {"pthread mutex, recursive", .arg = &sync_mutex_recursive, .reference = 1},
        {"pthread mutex, recursive and robust", .arg = &sync_mutex_recursive_robust},
        {"kin rlock", .arg = &sync_kin_rlock},
        {"Python RLock", .run = python_sync, .arg = "pair RLock"},
        {"pthread mutex, recursive, held already", .arg = &sync_mutex_recursive_again},
        {"kin rlock, held already", .arg = &sync_kin_rlock_again},
    };
    contest("Rlock: acquire and release",
            "The last two: by the thread that holds it already. ratio: to the first one.", list,
            BENCH_COUNT(list), NULL, 0);
}

static void semaphores(void)
{
    struct bench_contestant list[] = {
        {"sem_t", .arg = &sync_sem, .reference = 1},
        {"kin semaphore of 1: a resource", .arg = &sync_kin_resource, .aim = 1.0},
        {"kin semaphore of 0: a signal", .arg = &sync_kin_signal, .aim = 1.0},
        {"kin semaphore of 1, bounded", .arg = &sync_kin_bounded, .aim = 1.0},
        {"Python Semaphore", .run = python_sync, .arg = "pair Semaphore"},
        {"Python BoundedSemaphore", .run = python_sync, .arg = "pair BoundedSemaphore"},
    };
    contest("Semaphore: acquire and release",
            "The signal: release, then acquire. kin counts who has acquired a resource, and takes\n"
            "it back when he dies. ratio: to the first one.",
            list, BENCH_COUNT(list), NULL, 0);
}

static void rwlocks(void)
{
    struct bench_contestant list[] = {
        {"pthread rwlock, read", .arg = &sync_pthread_read, .reference = 1},
        {"kin rwlock, read", .arg = &sync_kin_read},
        {"pthread rwlock, write", .arg = &sync_pthread_write},
        {"kin rwlock, write", .arg = &sync_kin_write},
    };
    contest(
        "Rwlock: acquire and release",
        "kin's knows its readers and survives them; nothing else does. ratio: to the first one.",
        list, BENCH_COUNT(list), NULL, 0);
}

static void events(void)
{
    struct bench_contestant list[] = {
        {"kin event, is_set", .arg = &sync_kin_is_set},
        {"kin event, set and clear", .arg = &sync_kin_set_clear},
        {"Python Event, is_set", .run = python_sync, .arg = "pair is_set"},
        {"Python Event, set and clear", .run = python_sync, .arg = "pair Event"},
    };
    contest("Event", "Nobody waits for it.", list, BENCH_COUNT(list), NULL, 0);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "locks, semaphores and events that nobody else wants, one thread");
    if (bench_options.pin)
        stage_pin(1);
    locks();
    rlocks();
    semaphores();
    rwlocks();
    events();
    return 0;
}
