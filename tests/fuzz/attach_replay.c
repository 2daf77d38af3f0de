/* SPDX-License-Identifier: MIT
 * attach_fuzz without libFuzzer: every file of the folder that is the first argument, then as many
 * random damages as the second says. KIN_SEED repeats them; KIN_FUZZ_AT=n begins with the nth. */
#include "fuzz/attach_fuzz.h"
#include "lib/seed.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int replay(const char *folder)
{
    DIR *dir = opendir(folder);
    int count = 0;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        static uint8_t data[65536];
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        FILE *f = e->d_name[0] != '.' ? fopen(path, "re") : NULL;
        if (f == NULL)
            continue;
        size_t n = fread(data, 1, sizeof data, f);
        fclose(f);
        attach_fuzz(data, n);
        count++;
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}

/* A few words, of values that mean something more often than others. */
static size_t damage(struct kt_random *random, uint8_t *data)
{
    static const uint64_t words[] = {0,          1,          2,          3,         4,        255,
                                     1023,       4095,       65535,      65536,     1u << 20, ~0ull,
                                     1ull << 63, 1ull << 62, 0x7fffffff, 0xffffffff};
    size_t n = 0, count = 1 + kt_random_below(random, 4);
    for (size_t i = 0; i < count; i++) {
        uint32_t where = (uint32_t)kt_random_below(random, 1u << 30) & ~3u;
        uint64_t value = words[kt_random_below(random, sizeof words / sizeof words[0])];
        if (kt_random_below(random, 3) == 0)
            value += kt_random_below(random, 1u << (kt_random_below(random, 4) * 8));
        memcpy(data + n, &where, 4);
        data[n + 4] = kt_random_below(random, 2) ? 3 : 7;
        memcpy(data + n + 5, &value, 8);
        n += 5u + data[n + 4] + 1u;
    }
    return n;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    alarm(600); /* a hang is a failure */
    int files = replay(argv[1]);
    attach_fuzz(NULL, 0);
    const char *from = getenv("KIN_FUZZ_AT");
    long count = atol(argv[2]), at = from ? atol(from) : 0, attached = 0;
    for (long i = at; i < at + count; i++) {
        uint8_t data[64];
        struct kt_random random = kt_random_of("damage", (uint64_t)i);
        if (getenv("KIN_FUZZ_VERBOSE") != NULL)
            fprintf(stderr, "%ld\n", i);
        attached += attach_fuzz(data, damage(&random, data)) == 0;
    }
    printf("%d files; %ld damages, %ld of them attached to\n", files, count, attached);
    return files == 0;
}
