/* SPDX-License-Identifier: MIT
 * The input files, and how they are cut into parts. */
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse(const char *path, int error, const char *text)
{
    fprintf(stderr, "behaviour: %s: %s\n", path, text);
    return error;
}

/* Opened without waiting, so that a pipe without a writer does not stop everything. */
static int look_at(const char *path, uint64_t *ret_bytes)
{
    struct stat status;
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return refuse(path, -errno, strerror(errno));
    int r = fstat(fd, &status);
    if (r == 0 && S_ISREG(status.st_mode))
        r = pread(fd, &byte, 1, 0) < 0 ? -1 : 0;
    int error = errno;
    close(fd);
    if (r < 0)
        return refuse(path, -error, strerror(error));
    if (S_ISDIR(status.st_mode))
        return refuse(path, -EISDIR, strerror(EISDIR));
    if (!S_ISREG(status.st_mode))
        return refuse(path, -EINVAL, "not a regular file: it cannot be read in parts");
    *ret_bytes = (uint64_t)status.st_size;
    return 0;
}

int plan_init(struct plan *plan, char *const *paths, size_t paths_count)
{
    memset(plan, 0, sizeof *plan);
    plan->inputs = calloc(paths_count + 1, sizeof *plan->inputs);
    if (!plan->inputs)
        return refuse("files", -ENOMEM, strerror(ENOMEM));
    for (size_t i = 0; i < paths_count; i++) {
        struct input *input = &plan->inputs[plan->inputs_count++];
        input->path = paths[i];
        int r = look_at(input->path, &input->bytes);
        if (r < 0)
            return r;
        plan->bytes += input->bytes;
    }
    return 0;
}

void plan_free(struct plan *plan)
{
    free(plan->inputs);
    free(plan->parts);
    *plan = (struct plan){0};
}

struct cut {
    uint64_t parts_count, workers_count;
};

/* a * b / c; none of the input sizes is near what a double holds exactly, and it need not be. */
static uint64_t share(uint64_t a, uint64_t b, uint64_t c)
{
    return (uint64_t)((double)a * (double)b / (double)c);
}

/* How large a part is, compared with the others. The last are smaller, so that the workers end at
 * about the same time: who is late by then gets fewer of them. */
static uint64_t weight(const struct cut *cut, uint64_t part)
{
    uint64_t left = part < cut->parts_count ? cut->parts_count - part : 1;

    if (cut->parts_count < 4 * cut->workers_count || left > 2 * cut->workers_count)
        return 4;
    return left > cut->workers_count ? 2 : 1;
}

/* Cut an input into the parts [first, first+count). */
static void cut_input(struct plan *plan, const struct cut *cut, size_t input, uint64_t first,
                      uint64_t count)
{
    uint64_t bytes = plan->inputs[input].bytes;
    uint64_t weights = 0, weights_before = 0, begin = 0;

    for (uint64_t n = first; n < first + count; n++)
        weights += weight(cut, n);
    for (uint64_t n = first; n < first + count; n++) {
        weights_before += weight(cut, n);
        uint64_t end = n == first + count - 1 ? bytes : share(bytes, weights_before, weights);
        if (end == begin)
            continue;
        plan->parts[plan->parts_count++] =
            (struct part){.input = (uint32_t)input, .begin = begin, .end = end};
        begin = end;
    }
}

int plan_cut(struct plan *plan, uint64_t parts_count, uint64_t workers_count)
{
    const struct cut cut = {parts_count, workers_count};
    uint64_t bytes_before = 0, parts_before = 0;

    plan->parts = calloc(parts_count + plan->inputs_count + 1, sizeof *plan->parts);
    if (!plan->parts)
        return -ENOMEM;
    for (size_t i = 0; i < plan->inputs_count; i++) {
        if (plan->inputs[i].bytes == 0)
            continue;
        bytes_before += plan->inputs[i].bytes;
        uint64_t parts_then = share(parts_count, bytes_before, plan->bytes);
        uint64_t count = parts_then > parts_before ? parts_then - parts_before : 1;
        cut_input(plan, &cut, i, parts_before, count);
        parts_before = parts_then;
    }
    return 0;
}
