/* SPDX-License-Identifier: MIT
 * What the tests of values and arrays begin with. */
#ifndef KT_COLL_FIXTURE_H
#define KT_COLL_FIXTURE_H

#include "../sync/sync_fixture.h"

static inline struct kin_value *make_value(uint32_t type, uint64_t bytes, const void *initial)
{
    struct kin_value *value = NULL;
    const struct kin_value_opts opts = {
        .size = sizeof opts, .type = type, .value_bytes = bytes, .initial = initial};
    KT_OK(kin_value_create(arena, &opts, &value));
    return value;
}

static inline int64_t number_in(struct kin_value *value)
{
    int64_t number = 12345;
    KT_OK(kin_value_load(value, &number));
    return number;
}

static inline struct kin_array *make_array(uint32_t type, uint64_t item_bytes, uint64_t length)
{
    struct kin_array *array = NULL;
    const struct kin_array_opts opts = {
        .size = sizeof opts, .type = type, .item_bytes = item_bytes, .length = length};
    KT_OK(kin_array_create(arena, &opts, &array));
    return array;
}

/* The sentence of the last error of this thread. */
#define SAYS(part)                                                                                 \
    ck_assert_msg(strstr(kin_error_text(), (part)) != NULL, "\"%s\" is not in \"%s\"", (part),     \
                  kin_error_text())

#endif
