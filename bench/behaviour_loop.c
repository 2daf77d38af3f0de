/* SPDX-License-Identifier: MIT
 * The behaviour analysis as a plain loop: one process, no kin, the same parser and the same tables
 * in ordinary memory. Prints the JSON that `behaviour --json` prints. It is what the job on a pool
 * is measured against.
 *
 *   behaviour_loop FILE... */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "behaviour/report.h"

static double now_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Anonymous memory needs no preparation: the kernel provides it when it is touched. */
static int commit_nothing(void *arg, void *memory, uint64_t bytes)
{
    (void)arg;
    (void)memory;
    (void)bytes;
    return 0;
}

static int make_set(struct set *set, uint64_t keys_count)
{
    void *memory = mmap(NULL, set_bytes(keys_count), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return -errno;
    return set_init(set, memory, keys_count, commit_nothing, NULL);
}

static int keep_buys(const struct part_counts *counts, struct buys *ret_buys)
{
    size_t bytes = buys_count(counts->items_count) * sizeof(struct tally_entry);
    void *entries = malloc(bytes + 1);

    if (!entries)
        return -ENOMEM;
    ret_buys->entries = memcpy(entries, part_buys(counts), bytes);
    memcpy(ret_buys->counts, counts->items_count, sizeof ret_buys->counts);
    return 0;
}

static int add_up_buys(struct summing *summing, struct tally *scratch, const struct buys *buys,
                       size_t parts_count)
{
    int r = 0;

    for (unsigned slice = 0; r == 0 && slice < BUYS_SLICES; slice++) {
        struct top top;
        r = buys_top(buys, parts_count, slice, scratch, &top);
        summing_add_top_items(summing, &top);
    }
    return r;
}

static int add_part(struct analyst *analyst, struct summing *summing, struct buys *buys,
                    const struct plan *plan, size_t p)
{
    const struct part *part = &plan->parts[p];
    const void *result;
    size_t bytes;
    int fd = open(plan->inputs[part->input].path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    int r = analyse_part(analyst, fd, part->begin, part->end, NULL, &result, &bytes);
    close(fd);
    if (r < 0)
        return r;
    r = summing_add(summing, p, result, bytes);
    return r < 0 ? r : keep_buys(result, &buys[p]);
}

static int run(const struct plan *plan, double begin, struct summary *summary)
{
    static struct analyst analyst;
    struct set users, items;
    struct set_census census;
    struct summing summing = {0};
    uint64_t keys_max = plan->bytes / LARGE_KEY_RECORD_BYTES;

    struct buys *buys = calloc(plan->parts_count + 1, sizeof *buys);
    int r = buys ? make_set(&users, keys_max) : -ENOMEM;
    if (r == 0)
        r = make_set(&items, keys_max);
    if (r == 0)
        r = analyst_init(&analyst, &users, &items);
    if (r == 0)
        r = summing_init(&summing, summary, plan->parts_count);
    for (size_t p = 0; r == 0 && p < plan->parts_count; p++)
        r = add_part(&analyst, &summing, buys, plan, p);
    if (r == 0)
        r = add_up_buys(&summing, &analyst.item_buys, buys, plan->parts_count);
    if (r == 0) {
        set_count_part(&users, 0, 1, &census);
        summing_add_users(&summing, &census);
        set_count_part(&items, 0, 1, &census);
        summing_add_items(&summing, &census);
        summing_end(&summing, plan);
        summary->seconds = now_seconds() - begin;
        summary->peak_memory_bytes = memory_of(getpid());
    }
    for (size_t p = 0; buys && p < plan->parts_count; p++)
        free((void *)buys[p].entries);
    free(buys);
    summing_free(&summing);
    analyst_free(&analyst);
    return r;
}

int main(int argc, char **argv)
{
    double begin = now_seconds();
    struct plan plan;
    struct summary summary;

    int r = plan_init(&plan, argv + 1, (size_t)argc - 1);
    if (r == 0)
        r = plan_cut(&plan, 1, 1);
    if (r == 0)
        r = run(&plan, begin, &summary);
    if (r == 0) {
        summary.workers = 1;
        summary.chunks = plan.parts_count;
        report_json(stdout, &summary);
    } else {
        fprintf(stderr, "behaviour_loop: %s\n", strerror(-r));
    }
    plan_free(&plan);
    return r < 0;
}
