/* SPDX-License-Identifier: MIT
 * Value: one number or struct that processes and threads share.
 *
 * There are three ways to use it, and they may be mixed:
 *   kin_value_add and its like    one atomic step on a number, without a lock
 *   kin_value_get, kin_value_set  the whole value under its own rlock, of any size
 *   kin_value_ptr                 its memory, for those who lock themselves, or need not
 *
 * The own rlock is that of Python's Value.get_lock(): kin_value_rlock. The atomic steps do not ask
 * for it: they are whole by themselves, and wait for nobody.
 *
 * When a process dies in kin_value_set, the value is the old or the new one, never half of each.
 * When it dies holding the rlock otherwise, who acquires next is told (KIN_ABANDONED): what it
 * wrote through the pointer may be half done. */
#ifndef KIN_VALUE_H
#define KIN_VALUE_H

#include <kin/arena.h>
#include <kin/error.h>
#include <kin/lock.h>
#include <kin/type.h>

KIN_BEGIN

struct kin_value;

struct kin_value_opts {
    uint32_t size;        /* sizeof(struct kin_value_opts); 0 stands for it too */
    uint32_t type;        /* enum kin_type */
    uint64_t value_bytes; /* of a KIN_STRUCT; else 0, or those of the type */
    const void *initial;  /* what it is at first, value_bytes long, copied; NULL: all bytes 0 */
    const char *name;     /* for observers, up to 31 bytes; NULL: none */
};

/* Create a value. Its memory is on a cache line of its own. Processes forked afterwards share it
 * through the same handle.
 * Errors: -EINVAL (type, value_bytes, name), -E2BIG, -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too. */
KIN_API KIN_NODISCARD int kin_value_create(struct kin_arena *arena,
                                           const struct kin_value_opts *opts,
                                           struct kin_value **ret_value);

/* The value of that name in the arena, which is created if there is none: see <kin/arena.h>. A type
 * or value_bytes that are not 0 must be those of the value which is there. */
KIN_API KIN_NODISCARD int kin_value_open(struct kin_arena *arena, const char *name,
                                         const struct kin_value_opts *opts,
                                         struct kin_value **ret_value);
KIN_API KIN_NODISCARD int kin_value_find(struct kin_arena *arena, const char *name,
                                         struct kin_value **ret_value);
KIN_API KIN_NODISCARD int kin_value_inherit(struct kin_arena *arena, uint32_t position,
                                            struct kin_value **ret_value);

/* Give this process's handle back, and its rlock with it. The value goes with the last process that
 * has it. Threads of this process that wait wake with -ESTALE. NULL is ignored.
 * Safety: when no other thread of the process is about to use the handle or the pointer. */
KIN_API void kin_value_destroy(struct kin_value *value);

/* enum kin_type; and how many bytes it has. */
KIN_API int kin_value_type(struct kin_value *value);
KIN_API int64_t kin_value_bytes(struct kin_value *value);

/* --- integers: atomic ------------------------------------------------------------------------ */

/* All types but KIN_FLOAT, KIN_DOUBLE and KIN_STRUCT; KIN_BOOL has no add and sub. Each is one
 * step, in one order with all others of all values (sequentially consistent). Numbers of KIN_ULONG
 * and KIN_ULONGLONG above INT64_MAX are passed as the int64_t with the same bits.
 * ret_before receives what was there before; it may be NULL.
 * Errors: -EPROTOTYPE (the value is of a type that has no such operation; or the handle is of
 * something else), -ERANGE (a number that the type cannot hold), -ESTALE.
 * They do not block, and wake who waits (kin_value_wait).
 * Safety: any thread | any process | async-signal-safe, but for the sentences of errors. */
KIN_API int kin_value_load(struct kin_value *value, int64_t *ret_now);
KIN_API int kin_value_store(struct kin_value *value, int64_t number);
KIN_API int kin_value_exchange(struct kin_value *value, int64_t number, int64_t *ret_before);
/* If it is *expected, make it number: 1; else 0, and *expected is what it is. */
KIN_API KIN_NODISCARD int kin_value_compare_exchange(struct kin_value *value, int64_t *expected,
                                                     int64_t number);
/* Results wrap around as unsigned numbers of the type's size do; number may be anything. */
KIN_API int kin_value_add(struct kin_value *value, int64_t number, int64_t *ret_before);
KIN_API int kin_value_sub(struct kin_value *value, int64_t number, int64_t *ret_before);
/* Of the type's bits; number may be anything (KIN_BOOL: 0 or 1). */
KIN_API int kin_value_and(struct kin_value *value, int64_t number, int64_t *ret_before);
KIN_API int kin_value_or(struct kin_value *value, int64_t number, int64_t *ret_before);
KIN_API int kin_value_xor(struct kin_value *value, int64_t number, int64_t *ret_before);
/* Make it number if that is smaller (greater). */
KIN_API int kin_value_min(struct kin_value *value, int64_t number, int64_t *ret_before);
KIN_API int kin_value_max(struct kin_value *value, int64_t number, int64_t *ret_before);

/* --- KIN_FLOAT and KIN_DOUBLE: atomic -------------------------------------------------------- */

/* As above. A number is rounded to the type; that is no error. min and max leave the value alone
 * when one of the two is no number (NaN). */
KIN_API int kin_value_load_double(struct kin_value *value, double *ret_now);
KIN_API int kin_value_store_double(struct kin_value *value, double number);
KIN_API int kin_value_exchange_double(struct kin_value *value, double number, double *ret_before);
/* If it is *expected, rounded to the type, make it number: 1; else 0, and *expected is what it is.
 * Compared are the bits, as C's atomics do it: 0.0 is not -0.0, and a NaN is itself. */
KIN_API KIN_NODISCARD int kin_value_compare_exchange_double(struct kin_value *value,
                                                            double *expected, double number);
KIN_API int kin_value_add_double(struct kin_value *value, double number, double *ret_before);
KIN_API int kin_value_sub_double(struct kin_value *value, double number, double *ret_before);
KIN_API int kin_value_min_double(struct kin_value *value, double number, double *ret_before);
KIN_API int kin_value_max_double(struct kin_value *value, double number, double *ret_before);

/* --- any type ----------------------------------------------------------------------------------
 */

/* Copy the value to ret_bytes, or from bytes: all of it (kin_value_bytes), under its own rlock.
 * Blocks while somebody else holds that. 0, or KIN_ABANDONED: it was done, and the former holder of
 * the rlock had died. set wakes who waits for a change.
 * Errors: -ETIMEDOUT (a deadline that has passed tries once), -ESTALE.
 * Safety: any thread | any process | not in signal handlers. */
KIN_API KIN_NODISCARD int kin_value_get(struct kin_value *value, kin_deadline deadline,
                                        void *ret_bytes);
KIN_API KIN_NODISCARD int kin_value_set(struct kin_value *value, const void *bytes,
                                        kin_deadline deadline);

/* Wait until the value is not what the caller has seen: seen points to as many bytes as the value
 * has, that is, to a variable of its C type. Returns at once if they differ already. Woken by every
 * change that is made with the functions of this header, but not by a write through the pointer
 * (kin_value_notify tells of one). A value that changes and changes back before the thread runs
 * may count as unchanged. Numbers are compared by their bytes.
 * Errors: -ETIMEDOUT (a deadline that has passed looks once), -ESTALE.
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_value_wait(struct kin_value *value, const void *seen,
                                         kin_deadline deadline);
/* How many threads sleep until it changes. */
KIN_API int kin_value_waiting(struct kin_value *value);
/* The value was written through its pointer: wake who waits for a change. Does not block.
 * Safety: any thread | any process | async-signal-safe. */
KIN_API int kin_value_notify(struct kin_value *value);

/* The value itself, for as long as the process has the handle; NULL if the handle is not of a
 * value. Aligned to 64 bytes. Safety: any thread | any process. */
KIN_API void *kin_value_ptr(struct kin_value *value);

/* Its own rlock, for the functions of <kin/lock.h>; not for kin_rlock_destroy, which ignores it. It
 * goes with the handle of the value. NULL if the handle is not of a value. */
KIN_API struct kin_rlock *kin_value_rlock(struct kin_value *value);

KIN_END

#endif
