/* SPDX-License-Identifier: MIT
 * Who waits for what, and whether somebody who sleeps was forgotten.
 *
 * Linked with --wrap=kini_watch_is_long. */
#include "storm/sync_storm.h"

#include "sync/types.h"

static const char *const phase_names[] = {"out",       "acquiring", "inside",
                                          "releasing", "waiting",   "notifying"};

/* The state letter of a thread; '?': there is none. */
static char thread_state(int32_t pid, int32_t tid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return '?';
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' ? end[2] : '?';
}

static int32_t pid_of(struct kini_thread_shm *t)
{
    uint32_t slot = KINI_THREAD_SLOT(kini_load_acq(&t->state));
    return (int32_t)kini_load(&storm_arena->participants[slot].pid);
}

static void dump_seats(void)
{
    int64_t now = kin_now_ns();
    for (int i = 0; i < SEATS; i++) {
        struct seat *seat = &storm->seats[i];
        const char *what = (const char *)(uintptr_t)kini_load(&seat->doing);
        printf("  seat %2d:", i);
        for (int o = 0; o < OBJECTS; o++)
            if (kini_load(&seat->phase[o]) != OUT)
                printf(" %s %d", phase_names[kini_load(&seat->phase[o])], o);
        if (what != NULL)
            printf(" (%s, for %" PRId64 " ms)", what,
                   (now - (int64_t)kini_load(&seat->since_ns)) / 1000000);
        printf("; done");
        for (int k = 0; k < KINDS; k++)
            printf(" %" PRIu64, kini_load(&seat->done[k]));
        printf("\n");
    }
}

static void dump_threads(void)
{
    uint32_t high = kini_load_acq(&storm_arena->super->threads_high);
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &storm_arena->threads[i];
        if (!(kini_load_acq(&t->state) & 1))
            continue;
        int32_t pid = pid_of(t), tid = (int32_t)kini_load(&t->tid);
        printf("  thread %2u: pid %d tid %d '%c' wait_state %u park %u queue %#" PRIx64
               " ticket %" PRIu64 " token %#" PRIx64 " op %#" PRIx64 " any %u\n",
               i, pid, tid, thread_state(pid, tid), kini_load(&t->wait_state), kini_load(&t->park),
               kini_load(&t->wait_queue), kini_load(&t->wait_ticket), kini_load(&t->wait_token),
               kini_load(&t->op), kini_load(&t->any_count));
    }
}

/* Waits are short here: half of the threads lie in beds all the same, if there is one. */
bool __wrap_kini_watch_is_long(const struct kini_self *self, int64_t now_ns);

bool __wrap_kini_watch_is_long(const struct kini_self *self, int64_t now_ns)
{
    (void)now_ns;
    return self->index % 2 == 0;
}

void dump_storm(void)
{
    struct kin_deadlock deadlock;
    printf("%s: who waits for what\n", scenario->name);
    for (int i = 0; i < PROCESSES; i++)
        printf("  place %d: pid %d '%c'\n", i, (int)pids[i],
               pids[i] > 0 ? kt_process_state(pids[i]) : '-');
    dump_seats();
    scenario->dump();
    dump_threads();
    printf("  deadlocks: %d\n", kin_deadlocks(storm_arena, &deadlock, 1));
}

bool is_forgotten(const struct kin_wait *wait)
{
    struct kini_handle *handle = wait->object;
    struct kini_self *self = kini_enter(storm_arena);
    const struct kini_type_ops *ops = &kini_types[handle->type];
    struct kini_waitq_shm *queue = ops->waitq(handle->shm, wait->kind);
    uint32_t high = kini_load_acq(&storm_arena->super->threads_high), sleepers = 0;
    if (self == NULL || kini_load_sc(&queue->nwait) == 0 ||
        ops->ready(self, handle->shm, wait->kind) != 1)
        return false;
    for (uint32_t i = 1; i < high; i++) {
        struct kini_thread_shm *t = &storm_arena->threads[i];
        if (!kini_waitq_has(storm_arena, queue, i))
            continue;
        if (thread_state(pid_of(t), (int32_t)kini_load(&t->tid)) != 'S')
            return false;
        sleepers++;
    }
    return sleepers > 0 && ops->ready(self, handle->shm, wait->kind) == 1;
}
