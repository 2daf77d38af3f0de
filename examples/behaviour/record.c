/* SPDX-License-Identifier: MIT
 * The exact parser of a record. */
#include "record.h"

#include <stdio.h>

enum { FIELD_BEHAVIOUR = 3, FIELDS_COUNT = 5 };

const char *const behaviour_names[BEHAVIOURS_COUNT] = {"pv", "cart", "fav", "buy"};

static const char *const field_names[FIELDS_COUNT] = {"user_id", "item_id", "category_id",
                                                      "behavior", "timestamp"};

void record_parser_begin(struct record_parser *parser)
{
    memset(parser, 0, sizeof *parser);
}

static void put_digit(struct record_parser *parser, unsigned digit)
{
    uint64_t number;

    if (__builtin_mul_overflow(parser->number, UINT64_C(10), &number) ||
        __builtin_add_overflow(number, digit, &number))
        parser->too_large = true;
    else
        parser->number = number;
}

static void put_character(struct record_parser *parser, char c)
{
    if (parser->length < sizeof parser->word)
        parser->word[parser->length] = c;
    parser->length++;
    if (c >= '0' && c <= '9')
        put_digit(parser, (unsigned)(c - '0'));
    else
        parser->not_digits = true;
}

static enum fault take_behaviour(struct record_parser *parser)
{
    for (int i = 0; i < BEHAVIOURS_COUNT; i++) {
        const char *name = behaviour_names[i];
        if (parser->length == strlen(name) && memcmp(parser->word, name, strlen(name)) == 0) {
            parser->record.behaviour = (enum behaviour)i;
            return FAULT_NONE;
        }
    }
    return FAULT_BEHAVIOUR;
}

static void take_number(struct record_parser *parser)
{
    struct record *record = &parser->record;
    uint64_t *const numbers[] = {&record->user, &record->item, &record->category};

    if (parser->field < FIELD_BEHAVIOUR)
        *numbers[parser->field] = parser->number;
    else
        record->hour = hour_of_second(parser->number);
}

static enum fault take_field(struct record_parser *parser)
{
    if (parser->field >= FIELDS_COUNT)
        return FAULT_NONE; /* one too many: found at the end */
    if (parser->length == 0)
        return FAULT_EMPTY;
    if (parser->field == FIELD_BEHAVIOUR)
        return take_behaviour(parser);
    if (parser->not_digits)
        return FAULT_DIGITS;
    if (parser->too_large)
        return FAULT_RANGE;
    take_number(parser);
    return FAULT_NONE;
}

static void end_field(struct record_parser *parser)
{
    enum fault fault = take_field(parser);

    if (fault && !parser->first.fault)
        parser->first = (struct record_fault){.fault = fault, .field = parser->field};
    parser->field += parser->field < UINT32_MAX;
    parser->length = 0;
    parser->number = 0;
    parser->not_digits = parser->too_large = false;
}

void record_parser_feed(struct record_parser *parser, const char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (parser->return_pending)
            put_character(parser, '\r');
        parser->return_pending = data[i] == '\r';
        if (data[i] == ',')
            end_field(parser);
        else if (data[i] != '\r')
            put_character(parser, data[i]);
    }
}

struct record_fault record_parser_end(struct record_parser *parser)
{
    end_field(parser);
    if (parser->field != FIELDS_COUNT)
        return (struct record_fault){.fault = FAULT_FIELDS, .field = parser->field};
    return parser->first;
}

int record_fault_text(struct record_fault fault, char *text, size_t bytes)
{
    const char *name = fault.field < FIELDS_COUNT ? field_names[fault.field] : "?";

    switch ((enum fault)fault.fault) {
    case FAULT_FIELDS:
        return snprintf(text, bytes, "%u field%s instead of 5", fault.field,
                        fault.field == 1 ? "" : "s");
    case FAULT_EMPTY:
        return snprintf(text, bytes, "%s is empty", name);
    case FAULT_DIGITS:
        return snprintf(text, bytes, "%s is not a decimal integer", name);
    case FAULT_RANGE:
        return snprintf(text, bytes, "%s does not fit 64 bits", name);
    case FAULT_BEHAVIOUR:
        return snprintf(text, bytes, "%s is none of pv, cart, fav and buy", name);
    case FAULT_NONE:
        break;
    }
    return snprintf(text, bytes, "nothing is wrong");
}
