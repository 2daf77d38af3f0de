/* SPDX-License-Identifier: MIT
 * Array: items of one type, a fixed number of them, that processes and threads share.
 *
 * The items lie one after another from an address that is a multiple of 64, and are all zero at
 * first. A large array costs memory only where it is touched, in steps of 64 KiB; so it may be
 * larger than the machine.
 *   kin_array_read, write, get, set, fill    find memory first: -ENOMEM if there is none
 *   kin_array_ptr                            the items themselves. A part that nobody has touched
 *                                            finds its memory in the kernel, as that of malloc
 * does: on a machine without any more the process is killed (SIGBUS, SIGKILL). kin_array_commit
 * asks before
 *
 * Nothing here locks: of what one process writes while another reads, single items of 1, 2, 4 and 8
 * bytes are whole with get and set; for more than that there is the array's own rlock
 * (kin_array_rlock), that of Python's Array.get_lock(). When its holder dies the next one is told
 * (KIN_ABANDONED), and what it was writing may be half done. */
#ifndef KIN_ARRAY_H
#define KIN_ARRAY_H

#include <kin/arena.h>
#include <kin/error.h>
#include <kin/lock.h>
#include <kin/type.h>

KIN_BEGIN

struct kin_array;

struct kin_array_opts {
    uint32_t size;       /* sizeof(struct kin_array_opts); 0 stands for it too */
    uint32_t type;       /* of an item: enum kin_type */
    uint64_t item_bytes; /* of a KIN_STRUCT; else 0, or those of the type */
    uint64_t length;     /* how many items; for kin_array_open 0: as many as there are */
    const void *initial; /* length items, copied; NULL: all bytes 0 */
    const char *name;    /* for observers, up to 31 bytes; NULL: none */
};

/* Create an array. Processes forked afterwards share it through the same handle.
 * Errors: -EINVAL (type, item_bytes, name; more bytes than there are addresses), -E2BIG,
 * -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process | after fork: the child has the handle too. */
KIN_API KIN_NODISCARD int kin_array_create(struct kin_arena *arena,
                                           const struct kin_array_opts *opts,
                                           struct kin_array **ret_array);

/* The array of that name in the arena, which is created if there is none: see <kin/arena.h>. A
 * type, item_bytes or length that are not 0 must be those of the array which is there. */
KIN_API KIN_NODISCARD int kin_array_open(struct kin_arena *arena, const char *name,
                                         const struct kin_array_opts *opts,
                                         struct kin_array **ret_array);
KIN_API KIN_NODISCARD int kin_array_find(struct kin_arena *arena, const char *name,
                                         struct kin_array **ret_array);
KIN_API KIN_NODISCARD int kin_array_inherit(struct kin_arena *arena, uint32_t position,
                                            struct kin_array **ret_array);

/* The first bytes of reserved memory, which kin_array_adopt needs for itself. */
#define KIN_ARRAY_HEAD 384u

/* Make memory that was reserved from a queue of the arena, or kept (kin_queue_keep), an array where
 * it lies: of bytes (KIN_UCHAR), those of [data, data+bytes) that are left. Its head takes the
 * first KIN_ARRAY_HEAD bytes at most; kin_array_ptr says where it begins. So what came through a
 * queue can be shared, and outlive the one who got it, without a copy. On success the memory is the
 * array's; on error it is still the caller's, and unchanged. Errors: -EINVAL (not reserved; bytes
 * is more than that, or not more than KIN_ARRAY_HEAD), -ENOMEM, -ENOSPC (object table full).
 * Safety: any thread | any process. */
KIN_API KIN_NODISCARD int kin_array_adopt(struct kin_arena *arena, void *data, uint64_t bytes,
                                          struct kin_array **ret_array);

/* Give this process's handle back, and its rlock with it. The array goes with the last process that
 * has it. NULL is ignored.
 * Safety: when no other thread of the process is about to use the handle or the pointer. */
KIN_API void kin_array_destroy(struct kin_array *array);

/* enum kin_type; bytes of an item; how many items. */
KIN_API int kin_array_type(struct kin_array *array);
KIN_API int64_t kin_array_item_bytes(struct kin_array *array);
KIN_API int64_t kin_array_length(struct kin_array *array);

/* Copy one item to ret_item, or from item (item_bytes long). Items of 1, 2, 4 and 8 bytes go as one
 * word: whoever sees what set has written sees what its caller wrote before.
 * Errors: -ERANGE (no such index), -ENOMEM, -ENOSPC (no memory where the item lies), -EPROTOTYPE,
 * -ESTALE. Does not block. Safety: any thread | any process. */
KIN_API int kin_array_get(struct kin_array *array, uint64_t index, void *ret_item);
KIN_API int kin_array_set(struct kin_array *array, uint64_t index, const void *item);

/* Copy count items from index first on to ret_items, or from items, which may be items of the same
 * array; fill: copies of one item. At the speed of memory. Errors: -ERANGE (the array ends before;
 * nothing is copied), and those of get and set. Does not block. Safety: any thread | any process.
 */
KIN_API int kin_array_read(struct kin_array *array, uint64_t first, uint64_t count,
                           void *ret_items);
KIN_API int kin_array_write(struct kin_array *array, uint64_t first, uint64_t count,
                            const void *items);
KIN_API int kin_array_fill(struct kin_array *array, uint64_t first, uint64_t count,
                           const void *item);

/* Put memory behind count items from index first on, so that touching them through the pointer
 * cannot fail. What is there stays. Errors: -ERANGE, -ENOMEM, -ENOSPC, -EPROTOTYPE, -ESTALE. */
KIN_API KIN_NODISCARD int kin_array_commit(struct kin_array *array, uint64_t first, uint64_t count);

/* The items, for as long as the process has the handle; NULL if the handle is not of an array.
 * Safety: any thread | any process. */
KIN_API void *kin_array_ptr(struct kin_array *array);

/* Its own rlock, for the functions of <kin/lock.h>; not for kin_rlock_destroy, which ignores it. It
 * goes with the handle of the array. NULL if the handle is not of an array. */
KIN_API struct kin_rlock *kin_array_rlock(struct kin_array *array);

KIN_END

#endif
