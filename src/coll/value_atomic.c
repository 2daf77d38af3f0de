/* SPDX-License-Identifier: MIT
 * Numbers in one step: nothing here needs to know who calls. A word carries the number's bits
 * without a sign; widen() and fits() know the type. */
#include "base/error.h"
#include "coll/value.h"
#include "coll/word.h"

#include <kin/value.h>

/* --- types ---------------------------------------------------------------------------------- */

static __attribute__((noinline)) int tell_kind(const struct kini_items *items, const char *wanted)
{
    if (items->kind == KINI_ITEM_STRUCT)
        return kini_fail(-EPROTOTYPE, "the value is a struct of %llu bytes; %s is wanted",
                         (unsigned long long)items->item_bytes, wanted);
    return kini_fail(-EPROTOTYPE, "the value is of type '%c'; %s is wanted", items->type, wanted);
}

static inline int check_integer(const struct kin_value *value)
{
    const struct kini_items *items = &value->items;
    int r = kini_handle_check(&items->handle, KINI_OBJECT_VALUE);
    if (kini_unlikely(r < 0))
        return r;
    if (kini_unlikely(items->kind > KINI_ITEM_BOOL))
        return tell_kind(items, "an integer");
    return 0;
}

static inline int check_sum(const struct kin_value *value)
{
    int r = check_integer(value);
    if (kini_unlikely(r == 0 && value->items.kind > KINI_ITEM_UNSIGNED))
        return tell_kind(&value->items, "a number");
    return r;
}

static inline int check_float(const struct kin_value *value)
{
    const struct kini_items *items = &value->items;
    int r = kini_handle_check(&items->handle, KINI_OBJECT_VALUE);
    if (kini_unlikely(r < 0))
        return r;
    return kini_unlikely(items->kind != KINI_ITEM_FLOAT) ? tell_kind(items, "a float or a double")
                                                         : 0;
}

/* The number that a word means. */
static inline int64_t widen(const struct kini_items *items, uint64_t word)
{
    uint32_t shift = 64 - 8 * (uint32_t)items->item_bytes;
    return items->kind == KINI_ITEM_SIGNED ? (int64_t)(word << shift) >> shift : (int64_t)word;
}

/* The word that means a number. */
static inline uint64_t narrow(const struct kini_items *items, int64_t number)
{
    uint32_t shift = 64 - 8 * (uint32_t)items->item_bytes;
    return (uint64_t)number << shift >> shift;
}

static __attribute__((noinline)) int tell_range(const struct kini_items *items, int64_t number)
{
    uint32_t bits = 8 * (uint32_t)items->item_bytes - (items->kind == KINI_ITEM_SIGNED);
    uint64_t most = items->kind == KINI_ITEM_BOOL ? 1 : UINT64_MAX >> (64 - bits);
    int64_t least = items->kind == KINI_ITEM_SIGNED ? -(int64_t)most - 1 : 0;
    return kini_fail(-ERANGE, "%lld in a value of type '%c', which holds %lld to %llu",
                     (long long)number, items->type, (long long)least, (unsigned long long)most);
}

static inline int check_range(const struct kini_items *items, int64_t number)
{
    if (kini_unlikely(items->kind == KINI_ITEM_BOOL
                          ? number != 0 && number != 1
                          : widen(items, narrow(items, number)) != number))
        return tell_range(items, number);
    return 0;
}

static inline int check_number(const struct kin_value *value, int64_t number)
{
    int r = check_integer(value);
    return kini_unlikely(r < 0) ? r : check_range(&value->items, number);
}

static __attribute__((noinline)) int wake(struct kin_value *value)
{
    struct kini_items_shm *shm = value->items.handle.shm;
    kini_waitq_nudge_slow(value->items.handle.arena, &shm->waiters, UINT32_MAX);
    return 0;
}

static inline int done(struct kin_value *value, uint64_t before, int64_t *ret_before)
{
    struct kini_items_shm *shm = value->items.handle.shm;
    if (ret_before != NULL)
        *ret_before = widen(&value->items, before);
    /* seq_cst: after the change; pairs as in kini_waitq_wake */
    return kini_likely(kini_load_sc(&shm->waiters.nwait) == 0) ? 0 : wake(value);
}

/* --- integers ------------------------------------------------------------------------------- */

int kin_value_load(struct kin_value *value, int64_t *ret_now)
{
    int r = check_integer(value);
    if (kini_unlikely(r < 0))
        return r;
    *ret_now = widen(&value->items, kini_word_load(value->items.data, value->items.item_bytes));
    return 0;
}

int kin_value_store(struct kin_value *value, int64_t number)
{
    int r = check_number(value, number);
    if (kini_unlikely(r < 0))
        return r;
    kini_word_store(value->items.data, value->items.item_bytes, (uint64_t)number);
    kini_value_changed(value);
    return 0;
}

int kin_value_exchange(struct kin_value *value, int64_t number, int64_t *ret_before)
{
    int r = check_number(value, number);
    if (kini_unlikely(r < 0))
        return r;
    return done(value, kini_word_swap(value->items.data, value->items.item_bytes, (uint64_t)number),
                ret_before);
}

int kin_value_compare_exchange(struct kin_value *value, int64_t *expected, int64_t number)
{
    struct kini_items *items = &value->items;
    int r = check_number(value, number);
    if (kini_unlikely(r < 0 || (r = check_range(items, *expected)) < 0))
        return r;
    uint64_t was = narrow(items, *expected);
    if (kini_word_cas(items->data, items->item_bytes, &was, (uint64_t)number)) {
        kini_value_changed(value);
        return 1;
    }
    *expected = widen(items, was);
    return 0;
}

static inline int add(struct kin_value *value, int64_t number, int64_t *ret_before)
{
    return done(value, kini_word_add(value->items.data, value->items.item_bytes, (uint64_t)number),
                ret_before);
}

static __attribute__((noinline)) int add_slow(struct kin_value *value, int64_t number,
                                              int64_t *ret_before)
{
    int r = check_sum(value);
    return r < 0 ? r : add(value, number, ret_before);
}

/* Nothing but checks, the step and the look at who waits: a call in between would cost as much. */
int kin_value_add(struct kin_value *value, int64_t number, int64_t *ret_before)
{
    if (kini_likely(kini_handle_is_plain(&value->items.handle, KINI_OBJECT_VALUE) &&
                    value->items.kind <= KINI_ITEM_UNSIGNED))
        return add(value, number, ret_before);
    return add_slow(value, number, ret_before);
}

int kin_value_sub(struct kin_value *value, int64_t number, int64_t *ret_before)
{
    return kin_value_add(value, (int64_t)(0 - (uint64_t)number), ret_before);
}

/* --- by compare and swap ---------------------------------------------------------------------- */

/* What becomes of a word; the operand is a number, or a double's bits. */
typedef uint64_t (*next_fn)(const struct kini_items *items, uint64_t word, uint64_t operand);

static inline uint64_t change(struct kini_items *items, next_fn next, uint64_t operand)
{
    uint64_t word = kini_word_load(items->data, items->item_bytes);
    while (!kini_word_cas(items->data, items->item_bytes, &word, next(items, word, operand)))
        ;
    return word;
}

static uint64_t and_of(const struct kini_items *items, uint64_t word, uint64_t operand)
{
    (void)items;
    return word & operand;
}

static uint64_t or_of(const struct kini_items *items, uint64_t word, uint64_t operand)
{
    (void)items;
    return word | operand;
}

static uint64_t xor_of(const struct kini_items *items, uint64_t word, uint64_t operand)
{
    (void)items;
    return word ^ operand;
}

static bool is_less(const struct kini_items *items, uint64_t a, uint64_t b)
{
    return items->kind == KINI_ITEM_SIGNED ? widen(items, a) < widen(items, b) : a < b;
}

static uint64_t min_of(const struct kini_items *items, uint64_t word, uint64_t operand)
{
    operand = narrow(items, (int64_t)operand);
    return is_less(items, operand, word) ? operand : word;
}

static uint64_t max_of(const struct kini_items *items, uint64_t word, uint64_t operand)
{
    operand = narrow(items, (int64_t)operand);
    return is_less(items, word, operand) ? operand : word;
}

static inline int change_bits(struct kin_value *value, next_fn next, int64_t number,
                              int64_t *ret_before)
{
    int r = check_integer(value);
    if (r == 0 && value->items.kind == KINI_ITEM_BOOL)
        r = check_range(&value->items, number);
    return r < 0 ? r : done(value, change(&value->items, next, (uint64_t)number), ret_before);
}

int kin_value_and(struct kin_value *value, int64_t number, int64_t *ret_before)
{
    return change_bits(value, and_of, number, ret_before);
}

int kin_value_or(struct kin_value *value, int64_t number, int64_t *ret_before)
{
    return change_bits(value, or_of, number, ret_before);
}

int kin_value_xor(struct kin_value *value, int64_t number, int64_t *ret_before)
{
    return change_bits(value, xor_of, number, ret_before);
}

int kin_value_min(struct kin_value *value, int64_t number, int64_t *ret_before)
{
    int r = check_number(value, number);
    return r < 0 ? r : done(value, change(&value->items, min_of, (uint64_t)number), ret_before);
}

int kin_value_max(struct kin_value *value, int64_t number, int64_t *ret_before)
{
    int r = check_number(value, number);
    return r < 0 ? r : done(value, change(&value->items, max_of, (uint64_t)number), ret_before);
}

/* --- float and double ----------------------------------------------------------------------- */

static inline double to_double(const struct kini_items *items, uint64_t word)
{
    double number;
    float small;
    uint32_t bits = (uint32_t)word;
    if (items->item_bytes == sizeof number)
        return memcpy(&number, &word, sizeof number), number;
    return memcpy(&small, &bits, sizeof small), (double)small;
}

static inline uint64_t from_double(const struct kini_items *items, double number)
{
    uint64_t word = 0;
    uint32_t bits;
    float small = (float)number;
    if (items->item_bytes == sizeof number)
        return memcpy(&word, &number, sizeof word), word;
    return memcpy(&bits, &small, sizeof bits), bits;
}

static inline double operand_of(uint64_t operand)
{
    double number;
    memcpy(&number, &operand, sizeof number);
    return number;
}

static uint64_t sum_double(const struct kini_items *items, uint64_t word, uint64_t operand)
{
    return from_double(items, to_double(items, word) + operand_of(operand));
}

static uint64_t min_double(const struct kini_items *items, uint64_t word, uint64_t operand)
{
    double number = operand_of(operand);
    return number < to_double(items, word) ? from_double(items, number) : word;
}

static uint64_t max_double(const struct kini_items *items, uint64_t word, uint64_t operand)
{
    double number = operand_of(operand);
    return number > to_double(items, word) ? from_double(items, number) : word;
}

static inline int done_double(struct kin_value *value, uint64_t before, double *ret_before)
{
    if (ret_before != NULL)
        *ret_before = to_double(&value->items, before);
    kini_value_changed(value);
    return 0;
}

static inline int change_double(struct kin_value *value, next_fn next, double number,
                                double *ret_before)
{
    int r = check_float(value);
    if (r < 0)
        return r;
    uint64_t operand;
    memcpy(&operand, &number, sizeof operand);
    return done_double(value, change(&value->items, next, operand), ret_before);
}

int kin_value_load_double(struct kin_value *value, double *ret_now)
{
    int r = check_float(value);
    if (r == 0)
        *ret_now =
            to_double(&value->items, kini_word_load(value->items.data, value->items.item_bytes));
    return r;
}

int kin_value_store_double(struct kin_value *value, double number)
{
    int r = check_float(value);
    if (r < 0)
        return r;
    kini_word_store(value->items.data, value->items.item_bytes, from_double(&value->items, number));
    kini_value_changed(value);
    return 0;
}

int kin_value_exchange_double(struct kin_value *value, double number, double *ret_before)
{
    int r = check_float(value);
    if (r < 0)
        return r;
    uint64_t word = from_double(&value->items, number);
    return done_double(value, kini_word_swap(value->items.data, value->items.item_bytes, word),
                       ret_before);
}

int kin_value_compare_exchange_double(struct kin_value *value, double *expected, double number)
{
    struct kini_items *items = &value->items;
    int r = check_float(value);
    if (r < 0)
        return r;
    uint64_t was = from_double(items, *expected);
    if (kini_word_cas(items->data, items->item_bytes, &was, from_double(items, number))) {
        kini_value_changed(value);
        return 1;
    }
    *expected = to_double(items, was);
    return 0;
}

int kin_value_add_double(struct kin_value *value, double number, double *ret_before)
{
    return change_double(value, sum_double, number, ret_before);
}

int kin_value_sub_double(struct kin_value *value, double number, double *ret_before)
{
    return kin_value_add_double(value, -number, ret_before);
}

int kin_value_min_double(struct kin_value *value, double number, double *ret_before)
{
    return change_double(value, min_double, number, ret_before);
}

int kin_value_max_double(struct kin_value *value, double number, double *ret_before)
{
    return change_double(value, max_double, number, ret_before);
}
