/* SPDX-License-Identifier: MIT
 * Read the records of one part of a file, whole records at a time.
 *
 * A part is a range of bytes [begin, end); its records are those that begin in it. So the parts of
 * a file, cut anywhere, hold each record once, and nobody needs to look for the records before
 * cutting. */
#ifndef BEHAVIOUR_READER_H
#define BEHAVIOUR_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Small enough to stay in the second-level cache between the read and the parser. */
#define READER_BUFFER_BYTES ((size_t)256 * 1024)

enum piece_kind {
    PIECE_RECORDS, /* whole records, each with its '\n' */
    PIECE_PART,    /* the next part of one record that is longer than the buffer */
    PIECE_LAST,    /* its last part, maybe of no bytes, without the '\n' */
};

/* Valid until the next reader_next. */
struct piece {
    enum piece_kind kind;
    const char *begin, *end;
};

struct reader {
    char *buffer;
    int fd;
    uint64_t end;    /* of the part */
    uint64_t offset; /* in the file, of the buffer's first byte */
    size_t at, used; /* not handed out yet: [at, used) of the buffer */
    bool skipping;   /* looking for the first record */
    bool long_record;
    bool file_ended;
};

/* 0 or -ENOMEM. Free with reader_free. */
int reader_init(struct reader *reader);
void reader_free(struct reader *reader);

/* Begin with a part. The descriptor stays the caller's, and its position is neither used nor
 * moved. */
void reader_begin(struct reader *reader, int fd, uint64_t begin, uint64_t end);

/* 1 and the next piece, 0 at the end of the part, or the negative errno of pread. */
int reader_next(struct reader *reader, struct piece *ret_piece);

/* Where in the file the records handed out so far end. */
uint64_t reader_position(const struct reader *reader);

#endif
