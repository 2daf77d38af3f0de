/* SPDX-License-Identifier: MIT
 * Atomic words of 1, 2, 4 and 8 bytes, chosen when it runs: numbers in uint64_t, without a sign.
 * All sequentially consistent, which is what their users are promised, and what a change followed
 * by a look at who waits needs (wait_layout.h). */
#ifndef KINI_WORD_H
#define KINI_WORD_H

#include <string.h>

#include "base/atomic.h"

static inline bool kini_is_word(uint64_t bytes)
{
    return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
}

#define KINI_BY_WIDTH(bytes, at, operation)                                                        \
    switch (bytes) {                                                                               \
    case 8: {                                                                                      \
        kini_a64 *word = (at);                                                                     \
        typedef uint64_t number;                                                                   \
        operation;                                                                                 \
    }                                                                                              \
    case 4: {                                                                                      \
        kini_a32 *word = (at);                                                                     \
        typedef uint32_t number;                                                                   \
        operation;                                                                                 \
    }                                                                                              \
    case 2: {                                                                                      \
        kini_a16 *word = (at);                                                                     \
        typedef uint16_t number;                                                                   \
        operation;                                                                                 \
    }                                                                                              \
    default: {                                                                                     \
        kini_a8 *word = (at);                                                                      \
        typedef uint8_t number;                                                                    \
        operation;                                                                                 \
    }                                                                                              \
    }

static inline uint64_t kini_word_load(void *at, uint64_t bytes)
{
    KINI_BY_WIDTH(bytes, at, return (number)kini_load_sc(word));
}

static inline void kini_word_store(void *at, uint64_t bytes, uint64_t to)
{
    KINI_BY_WIDTH(bytes, at, kini_store_sc(word, (number)to); return );
}

static inline uint64_t kini_word_swap(void *at, uint64_t bytes, uint64_t to)
{
    KINI_BY_WIDTH(bytes, at, return kini_swap_sc(word, (number)to));
}

static inline uint64_t kini_word_add(void *at, uint64_t bytes, uint64_t by)
{
    KINI_BY_WIDTH(bytes, at, return kini_add_sc(word, (number)by));
}

static inline bool kini_word_cas(void *at, uint64_t bytes, uint64_t *expected, uint64_t to)
{
    KINI_BY_WIDTH(bytes, at, number was = (number)*expected;
                  bool done = kini_cas_sc(word, &was, (number)to); *expected = was; return done);
}

/* Between a word and a variable of the same size. */
static inline uint64_t kini_word_read(const void *from, uint64_t bytes)
{
    KINI_BY_WIDTH(bytes, NULL, (void)word; number n; memcpy(&n, from, sizeof n); return n);
}

static inline void kini_word_write(void *to, uint64_t bytes, uint64_t from)
{
    KINI_BY_WIDTH(bytes, NULL, (void)word; number n = (number)from; memcpy(to, &n, sizeof n);
                  return );
}

#endif
