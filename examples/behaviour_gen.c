/* SPDX-License-Identifier: MIT
 * behaviour_gen: write a log of shop behaviour, the same bytes for the same seed.
 *
 *   behaviour_gen [--seed N] [--records N] [--malformed PER_MILLION] [--crlf] [-o FILE]
 *
 * Shoppers come in sessions of a few events some seconds apart, more of them in the evening than at
 * night. The records of all open sessions are merged by time, so that the log is in time order like
 * that of a real shop. Popularity is Zipf-like: each doubling of the rank is drawn equally often.
 * All arithmetic is integer, so that the log does not depend on the machine's mathematics library.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SECOND UINT64_C(1511539200) /* 2017-11-25 00:00:00 at UTC+8 */
#define DAYS         UINT64_C(9)
#define LAST_SECOND  (FIRST_SECOND + DAYS * 86400 - 1)

/* The population of the public data set that the log imitates. */
#define USERS_MAX        UINT64_C(987994)
#define ITEMS_MAX        UINT64_C(4162024)
#define CATEGORIES       UINT64_C(9439)
#define USER_OCTAVES     3
#define ITEM_OCTAVES     14
#define CATEGORY_OCTAVES 11

#define LINE_MAX_BYTES 128

struct options {
    uint64_t seed;
    uint64_t records;
    uint64_t malformed; /* of a million records */
    bool crlf;
    const char *path; /* NULL: standard output */
};

/* One shopper's visit. */
struct session {
    uint64_t time; /* of the next event */
    uint64_t user;
    uint64_t item; /* looked at last; 0: none yet */
    uint32_t left; /* events to come */
};

struct generator {
    uint64_t random[4];
    uint64_t records, users, items;
    uint64_t planned; /* records of all sessions begun so far */
    struct session *heap;
    size_t heap_count, heap_capacity;
};

struct output {
    FILE *file;
    size_t used;
    char buffer[1 << 16];
};

/* --- random numbers -------------------------------------------------------------------------- */

/* splitmix64, Sebastiano Vigna, public domain (https://prng.di.unimi.it/splitmix64.c). */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

/* xoshiro256++, David Blackman and Sebastiano Vigna, public domain. */
static uint64_t random_next(uint64_t s[4])
{
    uint64_t result = rotate_left(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* A number below bound, from 32 random bits. */
static uint64_t scale(uint64_t random, uint64_t bound)
{
    return ((random & UINT32_MAX) * bound) >> 32;
}

static uint64_t random_below(struct generator *g, uint64_t bound)
{
    return scale(random_next(g->random), bound);
}

/* A rank below count: the octaves, each twice as wide as the one before, are equally likely. */
static uint64_t zipf_rank(uint64_t random, uint64_t count, int octaves)
{
    uint64_t octave = scale(random, (uint64_t)octaves);
    uint64_t all = (UINT64_C(1) << octaves) - 1;
    uint64_t begin = count * ((UINT64_C(1) << octave) - 1) / all;
    uint64_t end = count * ((UINT64_C(2) << octave) - 1) / all;

    return begin + scale(random >> 32, end - begin);
}

/* Ranks are not the identifiers: popular ones are spread over the whole range. The factor is a
 * prime larger than any count, so each rank has its own identifier. */
static uint64_t identifier(uint64_t rank, uint64_t count)
{
    return rank * UINT64_C(2654435761) % count + 1;
}

static uint64_t category_of(uint64_t item)
{
    return identifier(zipf_rank(mix(item), CATEGORIES, CATEGORY_OCTAVES), CATEGORIES) * 547 + 80;
}

/* --- sessions -------------------------------------------------------------------------------- */

/* When the share planned/records of the log has happened: a day's shape, nine times. */
static uint64_t moment(uint64_t planned, uint64_t records)
{
    /* Thousandths of a day's events in each hour, from midnight; the sum is 1000. */
    static const uint16_t hours[24] = {33, 17, 10, 7,  6,  8,  16, 28, 37, 44, 49, 48,
                                       47, 50, 50, 51, 50, 45, 47, 60, 77, 86, 79, 55};
    double days = (double)planned / (double)records * (double)DAYS;
    uint64_t day = (uint64_t)days;
    double left = (days - (double)day) * 1000;
    unsigned hour = 0;

    while (hour < 23 && left >= hours[hour])
        left -= hours[hour++];
    return FIRST_SECOND + day * 86400 + hour * 3600 + (uint64_t)(left / hours[hour] * 3600);
}

static void session_sink(struct generator *g, size_t i)
{
    struct session moved = g->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < g->heap_count && g->heap[child + 1].time < g->heap[child].time)
            child++;
        if (child >= g->heap_count || g->heap[child].time >= moved.time)
            break;
        g->heap[i] = g->heap[child];
        i = child;
    }
    g->heap[i] = moved;
}

static int session_add(struct generator *g, struct session added)
{
    if (g->heap_count == g->heap_capacity) {
        size_t capacity = g->heap_capacity ? 2 * g->heap_capacity : 1024;
        struct session *heap = realloc(g->heap, capacity * sizeof *heap);
        if (!heap)
            return -ENOMEM;
        g->heap = heap;
        g->heap_capacity = capacity;
    }
    size_t i = g->heap_count++;
    for (; i > 0 && g->heap[(i - 1) / 2].time > added.time; i = (i - 1) / 2)
        g->heap[i] = g->heap[(i - 1) / 2];
    g->heap[i] = added;
    return 0;
}

/* Begin every session that starts before the next event of those that are open. */
static int sessions_begin(struct generator *g)
{
    while (g->planned < g->records) {
        uint64_t time = moment(g->planned, g->records);
        if (g->heap_count > 0 && g->heap[0].time < time)
            return 0;

        uint64_t left = 1 + random_below(g, 9);
        if (left > g->records - g->planned)
            left = g->records - g->planned;
        struct session added = {.time = time, .left = (uint32_t)left};
        added.user =
            identifier(zipf_rank(random_next(g->random), g->users, USER_OCTAVES), g->users);
        if (session_add(g, added) < 0)
            return -ENOMEM;
        g->planned += left;
    }
    return 0;
}

/* Seconds until a shopper's next event: mostly short, sometimes some minutes. */
static uint64_t pause_seconds(uint64_t random)
{
    return 4 + scale(random, 30) + (random >> 62 ? 0 : scale(random >> 16, 240));
}

/* --- records --------------------------------------------------------------------------------- */

static char *put_number(char *p, uint64_t number)
{
    char digits[20];
    int i = 20;

    do {
        digits[--i] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    memcpy(p, digits + i, (size_t)(20 - i));
    return p + (20 - i);
}

static char *put_text(char *p, const char *text)
{
    size_t bytes = strlen(text);
    memcpy(p, text, bytes);
    return p + bytes;
}

/* 89.6 % pv, 5.5 % cart, 2.9 % fav, 2.0 % buy. */
static const char *behaviour_of(uint64_t thousandth)
{
    if (thousandth < 896)
        return ",pv,";
    if (thousandth < 951)
        return ",cart,";
    return thousandth < 980 ? ",fav," : ",buy,";
}

/* The next event of the session on top of the heap. What is wanted or bought was looked at just
 * before, mostly. */
static char *put_event(struct generator *g, char *p)
{
    struct session *s = &g->heap[0];
    uint64_t random = random_next(g->random);
    const char *behaviour = behaviour_of(scale(random, 1000));

    if (behaviour[1] == 'p' || s->item == 0)
        s->item = identifier(zipf_rank(random_next(g->random), g->items, ITEM_OCTAVES), g->items);
    p = put_number(p, s->user);
    *p++ = ',';
    p = put_number(p, s->item);
    *p++ = ',';
    p = put_number(p, category_of(s->item));
    p = put_text(p, behaviour);
    p = put_number(p, s->time);

    s->time += pause_seconds(rotate_left(random, 32));
    if (s->time > LAST_SECOND)
        s->time = LAST_SECOND;
    if (--s->left == 0)
        *s = g->heap[--g->heap_count];
    session_sink(g, 0);
    return p;
}

static char *put_malformed(struct generator *g, char *p)
{
    static const char *const lines[] = {
        "",
        "1,2,3,pv",
        "1,2,3,pv,1511658000,6",
        "1,,3,pv,1511658000",
        "1,2,3,,1511658000",
        "1,2,three,pv,1511658000",
        "1,-2,3,pv,1511658000",
        "1,2,3,click,1511658000",
        "1,2,3,PV,1511658000",
        "18446744073709551616,2,3,pv,1511658000",
        "1, 2,3,pv,1511658000",
        "user_id,item_id,category_id,behavior,timestamp",
        ",,,,",
    };
    return put_text(p, lines[random_below(g, sizeof lines / sizeof lines[0])]);
}

static int output_flush(struct output *out)
{
    size_t written = fwrite(out->buffer, 1, out->used, out->file);
    bool failed = written != out->used;

    out->used = 0;
    return failed ? -errno : 0;
}

static int generate(struct generator *g, const struct options *options, struct output *out)
{
    for (uint64_t i = 0; i < g->records; i++) {
        int r = sessions_begin(g);
        if (r == 0 && sizeof out->buffer - out->used < LINE_MAX_BYTES)
            r = output_flush(out);
        if (r < 0)
            return r;

        char *p = out->buffer + out->used;
        char *end = put_event(g, p);
        if (options->malformed && random_below(g, 1000000) < options->malformed)
            end = put_malformed(g, p);
        if (options->crlf)
            *end++ = '\r';
        *end++ = '\n';
        out->used += (size_t)(end - p);
    }
    return output_flush(out);
}

static int run(const struct options *options)
{
    static struct output out;
    struct generator g = {.records = options->records};

    for (uint64_t i = 0; i < 4; i++)
        g.random[i] = mix(options->seed * 4 + i);
    g.users = options->records / 10 + 10 < USERS_MAX ? options->records / 10 + 10 : USERS_MAX;
    g.items = options->records / 2 + 10 < ITEMS_MAX ? options->records / 2 + 10 : ITEMS_MAX;

    out.file = options->path ? fopen(options->path, "wb") : stdout;
    int r = out.file ? generate(&g, options, &out) : -errno;
    if (out.file && fclose(out.file) != 0 && r == 0)
        r = -errno;
    free(g.heap);
    return r;
}

/* --- command line ---------------------------------------------------------------------------- */

static const char usage[] =
    "usage: behaviour_gen [--seed N] [--records N] [--malformed PER_MILLION] [--crlf] [-o FILE]\n";

static int parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
    char *end;

    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || number > max)
        return -EINVAL;
    *ret_number = number;
    return 0;
}

static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {
        {"seed", required_argument, NULL, 's'},
        {"records", required_argument, NULL, 'r'},
        {"malformed", required_argument, NULL, 'm'},
        {"crlf", no_argument, NULL, 'c'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option, r = 0;

    while (r == 0 && (option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
        if (option == 's')
            r = parse_number(optarg, UINT64_MAX, &options->seed);
        else if (option == 'r')
            r = parse_number(optarg, UINT64_C(1000000000000), &options->records);
        else if (option == 'm')
            r = parse_number(optarg, 1000000, &options->malformed);
        else if (option == 'c')
            options->crlf = true;
        else if (option == 'o')
            options->path = optarg;
        else
            return option == 'h' ? 1 : -EINVAL;
        if (r < 0)
            fprintf(stderr, "behaviour_gen: '%s' is not a number that fits\n", optarg);
    }
    return r < 0 || optind < argc ? -EINVAL : 0;
}

int main(int argc, char **argv)
{
    struct options options = {.seed = 1, .records = 1000000};
    int r = parse_options(argc, argv, &options);

    if (r != 0) {
        fputs(usage, r > 0 ? stdout : stderr);
        return r > 0 ? 0 : 2;
    }
    r = run(&options);
    if (r < 0) {
        const char *name = options.path ? options.path : "standard output";
        fprintf(stderr, "behaviour_gen: %s: %s\n", name, strerror(-r));
        return 1;
    }
    return 0;
}
