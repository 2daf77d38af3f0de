/* SPDX-License-Identifier: MIT
 * Read whole records of one part of a file.
 *
 * The border of two parts at byte x is the first record that begins at x or later: that is behind
 * the first '\n' at x-1 or later. Both the beginning and the end of a part are found in this way,
 * so that neighbours agree. */
#include "reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record.h"

int reader_init(struct reader *reader)
{
    memset(reader, 0, sizeof *reader);
    /* Room for a '\n' that the last record of a file may lack, and for record_scan to look ahead.
     */
    reader->buffer = calloc(1, READER_BUFFER_BYTES + 1 + RECORD_SLACK_BYTES);
    return reader->buffer ? 0 : -ENOMEM;
}

void reader_free(struct reader *reader)
{
    free(reader->buffer);
    reader->buffer = NULL;
}

void reader_begin(struct reader *reader, int fd, uint64_t begin, uint64_t end)
{
    reader->fd = fd;
    reader->end = end;
    reader->offset = begin > 0 ? begin - 1 : 0;
    reader->at = reader->used = 0;
    reader->skipping = begin > 0;
    reader->long_record = reader->file_ended = false;
}

uint64_t reader_position(const struct reader *reader)
{
    return reader->offset + reader->at;
}

/* Move what is left to the front and fill the buffer behind it. */
static int refill(struct reader *reader)
{
    reader->used -= reader->at;
    memmove(reader->buffer, reader->buffer + reader->at, reader->used);
    reader->offset += reader->at;
    reader->at = 0;

    ssize_t got;
    do
        got = pread(reader->fd, reader->buffer + reader->used, READER_BUFFER_BYTES - reader->used,
                    (off_t)(reader->offset + reader->used));
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    reader->used += (size_t)got;
    reader->file_ended = got == 0;
    return 0;
}

static char *find_newline(const struct reader *reader, size_t from)
{
    return memchr(reader->buffer + from, '\n', reader->used - from);
}

/* Find the first record of the part. */
static void skip(struct reader *reader)
{
    char *newline = find_newline(reader, reader->at);

    reader->at = newline ? (size_t)(newline + 1 - reader->buffer) : reader->used;
    reader->skipping = newline == NULL;
}

/* Where in the buffer the last whole record of the part ends that is there; reader->at if none. */
static size_t records_end(const struct reader *reader)
{
    const char *newline = NULL;

    if (reader->end <= reader->offset + reader->used)
        newline = find_newline(reader, (size_t)(reader->end - 1 - reader->offset));
    if (!newline)
        newline = memrchr(reader->buffer + reader->at, '\n', reader->used - reader->at);
    return newline ? (size_t)(newline + 1 - reader->buffer) : reader->at;
}

static int hand_out(struct reader *reader, enum piece_kind kind, size_t end, struct piece *piece)
{
    piece->kind = kind;
    piece->begin = reader->buffer + reader->at;
    piece->end = reader->buffer + end;
    reader->at = end;
    return 1;
}

static int next_of_long_record(struct reader *reader, struct piece *ret_piece)
{
    char *newline = find_newline(reader, reader->at);

    reader->long_record = newline == NULL;
    if (!newline)
        return hand_out(reader, PIECE_PART, reader->used, ret_piece);
    hand_out(reader, PIECE_LAST, (size_t)(newline - reader->buffer), ret_piece);
    reader->at++;
    return 1;
}

/* The last record of the file may lack its '\n': put it there. */
static void end_file(struct reader *reader)
{
    if (reader->at < reader->used || reader->long_record)
        reader->buffer[reader->used++] = '\n';
}

int reader_next(struct reader *reader, struct piece *ret_piece)
{
    for (;;) {
        if (reader->skipping)
            skip(reader);
        if (!reader->skipping && !reader->long_record && reader_position(reader) >= reader->end)
            return 0;
        if (reader->long_record && reader->at < reader->used)
            return next_of_long_record(reader, ret_piece);

        size_t end = reader->at;
        if (!reader->skipping && !reader->long_record)
            end = records_end(reader);
        if (end > reader->at)
            return hand_out(reader, PIECE_RECORDS, end, ret_piece);
        if (reader->used - reader->at == READER_BUFFER_BYTES)
            reader->long_record = true;
        else if (reader->file_ended)
            return 0;
        else {
            int r = refill(reader);
            if (r < 0)
                return r;
            if (reader->file_ended)
                end_file(reader);
        }
    }
}
