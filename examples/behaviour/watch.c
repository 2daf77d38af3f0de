/* SPDX-License-Identifier: MIT
 * Watch the job while it runs. */
#include "watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "report.h"

#define WORKERS_MAX   1024
#define SHOW_PAUSE_NS INT64_C(100000000)
/* To read a process's memory, the kernel walks its page tables: that may take this share of the
 * time, not more. */
#define SAMPLE_PAUSE_NS INT64_C(50000000)
#define SAMPLE_SHARE    200

uint64_t watch_memory(struct watch *watch)
{
    int32_t pids[WORKERS_MAX];
    uint32_t count = kin_pool_worker_pids(watch->pool, pids, WORKERS_MAX);
    uint64_t bytes = memory_of(getpid());

    for (uint32_t i = 0; i < count && i < WORKERS_MAX; i++)
        bytes += memory_of(pids[i]);
    if (bytes > watch->peak_memory_bytes)
        watch->peak_memory_bytes = bytes;
    return watch->peak_memory_bytes;
}

static void show(const struct watch *watch, int64_t now)
{
    uint64_t bytes = 0, records = 0;

    for (size_t i = 0; i < watch->plan->parts_count; i++) {
        bytes += atomic_load_explicit(&watch->progress[i].bytes, memory_order_relaxed);
        records += atomic_load_explicit(&watch->progress[i].records, memory_order_relaxed);
    }
    if (bytes == 0)
        return;
    double done = (double)bytes / (double)watch->plan->bytes;
    double seconds = (double)(now - watch->begin_ns) * 1e-9;
    unsigned left = done < 1 ? (unsigned)(seconds / done - seconds + 0.5) : 0;
    fprintf(stderr, "\r%3.0f %%  %" PRIu64 " records  %.0f MB/s  %u:%02u left ", 100 * done,
            records, (double)bytes / seconds * 1e-6, left / 60, left % 60);
    fflush(stderr);
}

void watch_look(struct watch *watch)
{
    int64_t now = kin_now_ns();

    if (watch->show && now >= watch->show_ns) {
        show(watch, now);
        watch->show_ns = now + SHOW_PAUSE_NS;
    }
    if (now >= watch->sample_ns) {
        watch_memory(watch);
        int64_t then = kin_now_ns();
        int64_t pause = (then - now) * SAMPLE_SHARE;
        watch->sample_ns = then + (pause > SAMPLE_PAUSE_NS ? pause : SAMPLE_PAUSE_NS);
    }
}

void watch_end(struct watch *watch)
{
    if (watch->show)
        fprintf(stderr, "\r%70s\r", "");
}
