/* SPDX-License-Identifier: MIT
 * One record of a behaviour log: user_id,item_id,category_id,behavior,timestamp.
 *
 * Two parsers: record_scan is quick and knows only what nearly all records look like; whatever it
 * does not know goes to the record_parser, which is exact, says what is wrong, and takes a record
 * in pieces, so that its length has no limit. */
#ifndef BEHAVIOUR_RECORD_H
#define BEHAVIOUR_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum behaviour { PV, CART, FAV, BUY, BEHAVIOURS_COUNT };

extern const char *const behaviour_names[BEHAVIOURS_COUNT];

struct record {
    uint64_t user, item, category;
    enum behaviour behaviour;
    unsigned hour; /* of the day, on the shop's own clock */
};

/* The shop's clock is at UTC+8. */
static inline unsigned hour_of_second(uint64_t second)
{
    return (unsigned)((second / 3600 % 24 + 8) % 24);
}

/* --- the exact parser ------------------------------------------------------------------------ */

enum fault {
    FAULT_NONE,
    FAULT_FIELDS,    /* not five fields */
    FAULT_EMPTY,     /* a field without a character */
    FAULT_DIGITS,    /* not a decimal integer */
    FAULT_RANGE,     /* does not fit 64 bits */
    FAULT_BEHAVIOUR, /* none of the four */
};

/* What makes a record malformed. */
struct record_fault {
    uint32_t fault;
    uint32_t field; /* from 0; with FAULT_FIELDS: how many there are, at most UINT32_MAX */
};

struct record_parser {
    struct record record;      /* complete at the end, if nothing is wrong */
    struct record_fault first; /* the first fault in a field */
    uint32_t field;
    bool return_pending; /* a '\r' that belongs to the record only if something follows */
    /* of the field at hand */
    uint64_t length;
    uint64_t number;
    bool not_digits, too_large;
    char word[4];
};

void record_parser_begin(struct record_parser *parser);
/* The next bytes of the record, without the '\n' that ends it. */
void record_parser_feed(struct record_parser *parser, const char *data, size_t bytes);
/* The end of the record: FAULT_NONE and parser->record, or what is wrong with it. */
struct record_fault record_parser_end(struct record_parser *parser);

/* One sentence for people. Returns its length, like snprintf. */
int record_fault_text(struct record_fault fault, char *text, size_t bytes);

/* --- the quick parser ------------------------------------------------------------------------ */

/* record_scan may read so many bytes behind the '\n' of the record. */
#define RECORD_SLACK_BYTES 16

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first digit is the lowest byte");

/* Eight decimal digits, one a byte and the first in the lowest, make a number: pairs, then fours,
 * then all. Daniel Lemire, "Quickly parsing eight digits" (2018). */
static inline uint64_t scan_eight(uint64_t digits)
{
    digits = digits * 10 + (digits >> 8);
    uint64_t high = (digits & UINT64_C(0x000000ff000000ff)) * (100 + (UINT64_C(1000000) << 32));
    uint64_t low = ((digits >> 16) & UINT64_C(0x000000ff000000ff)) * (1 + (UINT64_C(10000) << 32));
    return (high + low) >> 32;
}

/* The digits at p, up to eight, as a number. Returns how many. */
static inline unsigned scan_digits(const char *p, uint64_t *ret_number)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    word ^= UINT64_C(0x3030303030303030);

    /* The top bit of a byte tells that it is above 9; a carry only reaches the bytes behind it. */
    uint64_t others = (word | (word + UINT64_C(0x7676767676767676))) & UINT64_C(0x8080808080808080);
    if (!others) {
        *ret_number = scan_eight(word);
        return 8;
    }
    unsigned bits = (unsigned)__builtin_ctzll(others) & ~7U;
    *ret_number = scan_eight(word << (56 - bits) << 8);
    return bits / 8;
}

/* A number of 1 to 15 digits that ends with something else. Returns what follows it, NULL if there
 * is no such number. */
static inline const char *scan_number(const char *p, uint64_t *ret_number)
{
    static const uint32_t powers[8] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
    unsigned digits = scan_digits(p, ret_number);

    if (digits == 8) {
        uint64_t rest;
        digits = scan_digits(p + 8, &rest);
        if (digits == 8)
            return NULL;
        *ret_number = *ret_number * powers[digits] + rest;
        return p + 8 + digits;
    }
    return digits ? p + digits : NULL;
}

/* "pv," and so on. Returns what follows it, NULL if it is none of the four. */
static inline const char *scan_behaviour(const char *p, enum behaviour *ret_behaviour)
{
    if (memcmp(p, "pv,", 3) == 0) {
        *ret_behaviour = PV;
        return p + 3;
    }
    if (memcmp(p, "cart,", 5) == 0) {
        *ret_behaviour = CART;
        return p + 5;
    }
    if (memcmp(p, "fav,", 4) == 0) {
        *ret_behaviour = FAV;
        return p + 4;
    }
    *ret_behaviour = BUY;
    return memcmp(p, "buy,", 4) == 0 ? p + 4 : NULL;
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A timestamp. The usual ones (2001 to 2286) have ten digits, and an hour is a whole number of
 * hundreds of seconds, so that the last two need not be converted. */
static inline const char *scan_hour(const char *p, unsigned *ret_hour)
{
    uint64_t number;

    if (scan_digits(p, &number) == 8 && is_digit(p[8]) && is_digit(p[9]) && !is_digit(p[10])) {
        *ret_hour = ((uint32_t)number / 36 + 8) % 24;
        return p + 10;
    }
    p = scan_number(p, &number);
    if (p)
        *ret_hour = hour_of_second(number);
    return p;
}

/* Read a record that ends with '\n', with RECORD_SLACK_BYTES readable behind that. Returns what
 * follows the record, or NULL when it is malformed or looks unusual. */
static inline const char *record_scan(const char *p, struct record *ret_record)
{
    p = scan_number(p, &ret_record->user);
    if (!p || *p != ',')
        return NULL;
    p = scan_number(p + 1, &ret_record->item);
    if (!p || *p != ',')
        return NULL;
    p = scan_number(p + 1, &ret_record->category);
    if (!p || *p != ',')
        return NULL;
    p = scan_behaviour(p + 1, &ret_record->behaviour);
    if (!p)
        return NULL;
    p = scan_hour(p, &ret_record->hour);
    if (!p)
        return NULL;
    p += *p == '\r';
    return *p == '\n' ? p + 1 : NULL;
}

#endif
