/* SPDX-License-Identifier: MIT
 * Processes that contend for one lock: how many turns they take altogether, how long one of them
 * waits at worst, and whether they get equally many. */
#include <stdio.h>

#include "lib/stage.h"
#include "peers/sync.h"

#define PROCESSES_MOST 4
#define THINK_NS       100
#define TURNS_FIRST    200000 /* fewer would be over before all have begun */

struct scene {
    const struct sync_peer *peer;
    void *object;
    struct sync_field *field;
    int timed;
};

static int processes;      /* of the contest that runs */
static uint64_t steps;     /* to think between two turns */
static uint64_t steps_100; /* of about THINK_NS */

static void part(struct stage *stage, int index, void *arg)
{
    const struct scene *scene = arg;
    struct sync_share share = {0};
    scene->peer->pairs(scene->object, 100);
    stage_go(stage, index);
    if (scene->timed)
        scene->peer->contend_timed(scene->object, scene->field, &share);
    else
        scene->peer->contend(scene->object, scene->field, &share);
    stage_done(stage, index);
    stage->places[index].sum = share.turns;
    stage->places[index].value = (double)share.longest_ns * 1e-9;
}

/* The stage, for the caller to free; NULL: this machine does not have it. */
static struct stage *play(const struct sync_peer *peer, uint64_t count, int timed)
{
    struct scene scene = {.peer = peer, .object = peer->open(), .timed = timed};
    if (scene.object == NULL)
        return NULL;
    scene.field = stage_memory(sizeof *scene.field);
    *scene.field = (struct sync_field){.goal = count, .steps = steps};
    struct stage *stage = stage_run(processes, part, &scene);
    uint64_t turns = 0;
    for (int i = 0; i < processes; i++)
        turns += stage->places[i].sum;
    if (turns != count || scene.field->numbers[SYNC_NUMBERS - 1] != count)
        bench_die(
            "%llu turns, %llu counted, of %llu: two held it at once", (unsigned long long)turns,
            (unsigned long long)scene.field->numbers[SYNC_NUMBERS - 1], (unsigned long long)count);
    stage_memory_free(scene.field, sizeof *scene.field);
    peer->close(scene.object);
    return stage;
}

static void run_turns(const struct bench_contestant *self, uint64_t count, struct bench_sample *ret)
{
    struct stage *stage = play(self->arg, count, 0);
    ret->seconds = stage == NULL ? -1 : stage_seconds(stage);
    if (stage != NULL)
        stage_free(stage);
}

/* --- waits and shares ----------------------------------------------------------------------- */

struct waits { /* of one contestant, a value for each round */
    double least_us[BENCH_RUNS_MOST], most_us[BENCH_RUNS_MOST], share[BENCH_RUNS_MOST];
};

static void note(struct waits *waits, int round, const struct stage *stage, uint64_t count)
{
    double least = stage->places[0].value, most = least;
    uint64_t fewest = stage->places[0].sum;
    for (int i = 1; i < stage->count; i++) {
        const struct stage_place *place = &stage->places[i];
        least = place->value < least ? place->value : least;
        most = place->value > most ? place->value : most;
        fewest = place->sum < fewest ? place->sum : fewest;
    }
    waits->least_us[round] = least * 1e6;
    waits->most_us[round] = most * 1e6;
    waits->share[round] = (double)fewest * stage->count / (double)count;
}

static void print_waits(const char *name, struct waits *waits)
{
    uint64_t last = (uint64_t)bench_options.runs - 1;
    printf("%-38s", name);
    bench_print_number(bench_median(waits->least_us, bench_options.runs));
    bench_print_number(bench_median(waits->most_us, bench_options.runs));
    bench_sort(waits->most_us, last + 1);
    bench_print_number(waits->most_us[last]);
    bench_print_number(bench_median(waits->share, bench_options.runs));
    bench_sort(waits->share, last + 1);
    bench_print_number(waits->share[0]);
    putchar('\n');
}

static void waits(const struct bench_contest *contest)
{
    struct waits all[8] = {0};
    for (int round = 0; round < bench_options.runs; round++) {
        for (int i = 0; i < contest->list_count; i++) {
            const struct bench_contestant *c = &contest->list[i];
            if (c->count == 0)
                continue;
            struct stage *stage = play(c->arg, c->count, 1);
            note(&all[i], round, stage, c->count);
            stage_free(stage);
        }
    }
    printf(
        "\nThe same once more, with a clock around each wait. The longest single wait in us:\n"
        "of the process that is best off, of the one that is worst off, the worst of all rounds;\n"
        "and the turns of the process that got fewest (1: all got the same), the worst round.\n\n"
        "%-38s %9s %9s %9s %9s %9s\n",
        "", "best off", "worst off", "highest", "fewest", "lowest");
    for (int i = 0; i < contest->list_count; i++)
        if (contest->list[i].count != 0)
            print_waits(contest->list[i].name, &all[i]);
}

static void contend(const char *title, const char *about, int count, uint64_t think_steps)
{
    struct bench_contestant list[] = {
        {"pthread mutex", .run = run_turns, .arg = &sync_mutex, .reference = 1},
        {"pthread mutex, robust", .run = run_turns, .arg = &sync_mutex_robust},
        {"pthread mutex, adaptive", .run = run_turns, .arg = &sync_mutex_adaptive},
        {"kin lock", .run = run_turns, .arg = &sync_kin_lock, .aim = 1.0},
    };
    struct bench_contest contest = {.title = title,
                                    .about = about,
                                    .view = BENCH_NS,
                                    .costs = 1,
                                    .list = list,
                                    .list_count = BENCH_COUNT(list)};
    for (int i = 0; i < contest.list_count; i++)
        list[i].count_first = TURNS_FIRST;
    processes = count;
    steps = think_steps;
    bench_contest(&contest);
    waits(&contest);
}

/* How many steps take THINK_NS on a processor that has nothing else to do. */
static uint64_t steps_of_think(void)
{
    const uint64_t many = 1000000;
    double best = 0;
    for (int i = 0; i < 10; i++) {
        int64_t start = bench_now_ns();
        sync_think(many);
        double took = (double)(bench_now_ns() - start);
        best = i == 0 || took < best ? took : best;
    }
    return (uint64_t)((double)many * THINK_NS / best);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "processes that contend for one lock");
    steps_100 = steps_of_think();
    contend(
        "Two processes, no pause",
        "Each increments four numbers in its turn. Time of a turn, of all turns together, which\n"
        "whoever is quicker takes. ratio: to the first one.",
        2, 0);
    contend("Two processes, 100 ns between turns", "The same with a pause after each turn.", 2,
            steps_100);
    contend("Four processes, no pause", "More than there may be processors.", PROCESSES_MOST, 0);
    contend("Four processes, 100 ns between turns", "The same with a pause after each turn.",
            PROCESSES_MOST, steps_100);
    return 0;
}
