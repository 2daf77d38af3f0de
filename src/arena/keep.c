/* SPDX-License-Identifier: MIT
 * How much free memory is kept: hints in the super block, which a death between two steps leaves
 * wrong until somebody is idle. */
#include "arena/keep.h"
#include "arena/block.h"
#include "base/bits.h"

#define PEAK_FADES 16 /* a sixteenth with each large run that is taken */

/* Never below zero. */
static void change(kini_a32 *hint, uint32_t plus, uint32_t minus)
{
    uint32_t now = kini_load(hint), next;
    do {
        next = now + plus > minus ? now + plus - minus : 0;
    } while (!kini_cas(hint, &now, next));
}

void kini_keep_cached(struct kin_arena *arena, uint32_t plus, uint32_t minus)
{
    change(&arena->super->cached_units, plus, minus);
}

void kini_keep_taken(struct kin_arena *arena, uint32_t units)
{
    struct kini_super_shm *super = arena->super;
    if (units <= KINI_KEEP_UNITS)
        return;
    change(&super->large_units, units, 0);
    uint32_t peak = kini_load(&super->large_peak);
    peak -= peak / PEAK_FADES;
    kini_store(&super->large_peak, (uint32_t)kini_max(peak, kini_load(&super->large_units)));
}

void kini_keep_freed(struct kin_arena *arena, uint32_t units)
{
    if (units > KINI_KEEP_UNITS)
        change(&arena->super->large_units, 0, units);
}

uint32_t kini_keep_most(struct kin_arena *arena)
{
    uint32_t in_use = kini_load(&arena->super->large_units);
    uint32_t peak = kini_load(&arena->super->large_peak);
    if (peak <= KINI_KEEP_RUNS_UNITS)
        return KINI_KEEP_RUNS_UNITS;
    return (uint32_t)kini_max(KINI_KEEP_UNITS, kini_min(in_use, KINI_KEEP_RUNS_UNITS));
}

bool kini_keep_is_wanted(struct kin_arena *arena, uint32_t units)
{
    uint32_t cached = kini_load(&arena->super->cached_units);
    if (units <= KINI_KEEP_UNITS && cached <= KINI_KEEP_UNITS)
        return cached + units <= KINI_KEEP_UNITS;
    /* Small ones, too: what was cut out of a large run goes back to it. */
    return units <= KINI_KEEP_RUN_UNITS && cached + units <= kini_keep_most(arena);
}

void kini_keep_recount(struct kin_arena *arena)
{
    struct kini_super_shm *super = arena->super;
    if (kini_load(&super->large_peak) == 0)
        return;
    uint32_t high = kini_load_acq(&super->units_high), large = 0, count;
    for (uint32_t unit = 0; unit < high; unit += count) {
        const struct kini_span_shm *span = &arena->spans[unit];
        count = kini_load(&span->count);
        bool is_run = KINI_SPAN_KIND(kini_load_acq(&span->state)) == KINI_SPAN_LARGE && count > 0 &&
                      count <= high - unit;
        count = is_run ? count : 1;
        uint32_t units = count > KINI_KEEP_UNITS ? kini_span_committed(arena, unit, count) : 0;
        large += units > KINI_KEEP_UNITS ? units : 0;
    }
    kini_store(&super->large_units, large);
    kini_store(&super->large_peak, large);
}
