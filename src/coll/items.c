/* SPDX-License-Identifier: MIT
 * What value and array have in common. Crash states: items_layout.h. */
#include "coll/items.h"
#include "arena/block.h"
#include "base/bits.h"
#include "sync/ready.h"

#include <kin/type.h>
#include <string.h>
#include <wchar.h>

#define LAST_BYTES 4096u

/* --- types ---------------------------------------------------------------------------------- */

static const struct {
    uint32_t type;
    uint32_t bytes;
    enum kini_item_kind kind;
} types[] = {
    {KIN_STRUCT, 0, KINI_ITEM_STRUCT},
    {KIN_CHAR, sizeof(char), KINI_ITEM_UNSIGNED},
    {KIN_SCHAR, sizeof(signed char), KINI_ITEM_SIGNED},
    {KIN_UCHAR, sizeof(unsigned char), KINI_ITEM_UNSIGNED},
    {KIN_SHORT, sizeof(short), KINI_ITEM_SIGNED},
    {KIN_USHORT, sizeof(unsigned short), KINI_ITEM_UNSIGNED},
    {KIN_INT, sizeof(int), KINI_ITEM_SIGNED},
    {KIN_UINT, sizeof(unsigned), KINI_ITEM_UNSIGNED},
    {KIN_LONG, sizeof(long), KINI_ITEM_SIGNED},
    {KIN_ULONG, sizeof(unsigned long), KINI_ITEM_UNSIGNED},
    {KIN_LONGLONG, sizeof(long long), KINI_ITEM_SIGNED},
    {KIN_ULONGLONG, sizeof(unsigned long long), KINI_ITEM_UNSIGNED},
    {KIN_WCHAR, sizeof(wchar_t), KINI_ITEM_UNSIGNED},
    {KIN_BOOL, sizeof(bool), KINI_ITEM_BOOL},
    {KIN_FLOAT, sizeof(float), KINI_ITEM_FLOAT},
    {KIN_DOUBLE, sizeof(double), KINI_ITEM_FLOAT},
};

enum kini_item_kind kini_item_kind(uint32_t type, uint64_t *ret_bytes)
{
    for (size_t i = 0; i < KINI_COUNT(types); i++) {
        if (types[i].type == type) {
            *ret_bytes = types[i].bytes;
            return types[i].kind;
        }
    }
    return KINI_ITEM_UNKNOWN;
}

static int tell_unknown(uint32_t type)
{
    if (type > ' ' && type < 127)
        return kini_fail(-EINVAL, "no type '%c'; there are c b B h H i I l L q Q u ? f d", type);
    return kini_fail(-EINVAL, "no type %u; there are c b B h H i I l L q Q u ? f d", type);
}

int64_t kin_type_bytes(uint32_t type)
{
    uint64_t bytes = 0;
    if (kini_item_kind(type, &bytes) == KINI_ITEM_UNKNOWN)
        return tell_unknown(type);
    if (bytes == 0)
        return kini_fail(-EINVAL, "a struct has the bytes that it is created with");
    return (int64_t)bytes;
}

/* A type that is known, and item_bytes (of a type that has its own) that agree with it. */
static int complete(struct kini_items_spec *spec)
{
    uint64_t bytes = 0;
    if (kini_item_kind(spec->type, &bytes) == KINI_ITEM_UNKNOWN)
        return tell_unknown(spec->type);
    if (bytes != 0 && spec->item_bytes != 0 && spec->item_bytes != bytes)
        return kini_fail(-EINVAL, "type '%c' has %u bytes, not %llu", spec->type, (unsigned)bytes,
                         (unsigned long long)spec->item_bytes);
    if (bytes != 0)
        spec->item_bytes = bytes;
    return 0;
}

/* --- the block ------------------------------------------------------------------------------ */

/* How many bytes the items have, all of them and then some to begin a line; and the block. */
struct size {
    uint64_t items, rounded, block;
};

static bool measure(uint64_t item_bytes, uint64_t length, bool has_spare, struct size *ret)
{
    uint64_t room = (uint64_t)1 << 48; /* more than there are addresses */
    if (__builtin_mul_overflow(item_bytes, length, &ret->items) || ret->items > room)
        return false;
    ret->rounded = (ret->items + KINI_DATA_ALIGN - 1) & ~(uint64_t)(KINI_DATA_ALIGN - 1);
    ret->block = sizeof(struct kini_items_shm) + sizeof(struct kini_block_shm) +
                 (has_spare ? ret->rounded : 0) + ((ret->items + 7) & ~(uint64_t)7);
    return true;
}

/* The mapping begins at a page in every process. */
static uint64_t delta_of(const struct kini_items_shm *shm)
{
    uint64_t end = (uintptr_t)shm + sizeof *shm;
    return ((end + KINI_DATA_ALIGN - 1) & ~(uint64_t)(KINI_DATA_ALIGN - 1)) - (uintptr_t)shm;
}

/* From delta_of on; what is adopted begins where it lies, and may need less than measure says. */
static bool has_room(const struct kin_arena *arena, struct kini_items_shm *shm,
                     const struct size *size)
{
    uint64_t head = sizeof(struct kini_items_shm) + sizeof(struct kini_block_shm);
    return shm->data_delta + (size->block - head) <=
           kini_block_room(arena, kini_offset(arena, shm));
}

static char *data_of(struct kini_items_shm *shm)
{
    return (char *)shm + shm->data_delta;
}

static bool has_spare(const struct kini_items_spec *spec)
{
    return spec->object_type == KINI_OBJECT_VALUE && spec->type == KIN_STRUCT;
}

static bool is_large(uint64_t block_bytes)
{
    return block_bytes + sizeof(struct kini_block_shm) > KINI_SMALL_MAX;
}

/* The memory file ends behind the last byte that was committed: touching what lies beyond kills,
 * touching a hole before it finds zeros. So the last bytes of the block are committed. */
static int reach_end(struct kin_arena *arena, uint64_t offset)
{
    uint64_t end = offset + kini_block_room(arena, offset);
    return kini_arena_commit(arena, end - LAST_BYTES, LAST_BYTES);
}

/* Zeroed, with memory behind its first bytes. */
static int take_block(struct kini_self *self, uint64_t block_bytes, uint64_t touched_bytes,
                      uint64_t *ret_offset)
{
    int r;
    if (!is_large(block_bytes)) {
        r = kini_block_get(self, block_bytes, ret_offset);
        if (r == 0)
            memset(kini_at(self->arena, *ret_offset), 0, block_bytes);
        return r;
    }
    r = kini_block_reserve(self, block_bytes, ret_offset);
    if (r < 0)
        return r;
    r = kin_block_commit(self->arena, kini_at(self->arena, *ret_offset), touched_bytes);
    if (r == 0)
        r = reach_end(self->arena, *ret_offset);
    if (r < 0)
        kini_block_put(self, *ret_offset);
    return r;
}

static int make(struct kini_self *self, const void *arg, uint64_t *ret_offset)
{
    const struct kini_items_spec *spec = arg;
    struct size size;
    if (spec->item_bytes == 0)
        return kini_fail(-EINVAL, "a struct of 0 bytes");
    if (!measure(spec->item_bytes, spec->length, has_spare(spec), &size))
        return kini_fail(-EINVAL, "%llu items of %llu bytes are more than can be addressed",
                         (unsigned long long)spec->length, (unsigned long long)spec->item_bytes);
    bool all = spec->object_type == KINI_OBJECT_VALUE || spec->initial != NULL;
    int r =
        take_block(self, size.block, all ? size.block : sizeof(struct kini_items_shm), ret_offset);
    if (r < 0)
        return r;
    struct kini_items_shm *shm = kini_at(self->arena, *ret_offset);
    kini_lock_init(&shm->own, NULL);
    kini_waitq_init(&shm->waiters, 0);
    shm->type = spec->type;
    shm->has_spare = has_spare(spec);
    shm->item_bytes = spec->item_bytes;
    shm->length = spec->length;
    shm->data_delta = delta_of(shm);
    if (spec->initial != NULL && size.items > 0)
        memcpy(data_of(shm), spec->initial, size.items);
    return 0;
}

/* Of what another process says there is nothing used that cannot be true. */
static bool is_good(const struct kin_arena *arena, void *memory)
{
    struct kini_items_shm *shm = memory;
    uint64_t bytes = 0;
    struct size size;
    if (!kini_lock_is_good(arena, &shm->own) || !kini_waitq_is_good(arena, &shm->waiters, 0) ||
        kini_item_kind(shm->type, &bytes) == KINI_ITEM_UNKNOWN || shm->has_spare > 1 ||
        shm->item_bytes == 0 || (bytes != 0 && bytes != shm->item_bytes) ||
        shm->data_delta != delta_of(shm))
        return false;
    return measure(shm->item_bytes, shm->length, shm->has_spare, &size) &&
           has_room(arena, shm, &size);
}

static bool is_good_value(const struct kin_arena *arena, void *memory)
{
    struct kini_items_shm *shm = memory;
    return shm->length == 1 && shm->has_spare == (shm->type == KIN_STRUCT) &&
           is_good(arena, memory);
}

static bool is_good_array(const struct kin_arena *arena, void *memory)
{
    return ((struct kini_items_shm *)memory)->has_spare == 0 && is_good(arena, memory);
}

/* --- the handle ----------------------------------------------------------------------------- */

static struct kini_kind kind_of(uint32_t object_type)
{
    bool value = object_type == KINI_OBJECT_VALUE;
    return (struct kini_kind){object_type, sizeof(struct kini_items), sizeof(struct kini_items_shm),
                              value ? is_good_value : is_good_array};
}

static void bind(struct kini_items *items)
{
    struct kini_items_shm *shm = items->handle.shm;
    uint64_t bytes;
    struct size size = {0};
    items->rlock = items->handle;
    items->rlock.type = KINI_OBJECT_RLOCK;
    items->rlock.is_part = 1;
    items->data = data_of(shm);
    items->item_bytes = shm->item_bytes;
    items->length = shm->length;
    items->type = shm->type;
    items->kind = kini_item_kind(shm->type, &bytes);
    measure(shm->item_bytes, shm->length, shm->has_spare, &size);
    items->is_large = is_large(size.block);
}

int kini_items_create(struct kin_arena *arena, const struct kini_items_spec *given,
                      void *ret_handle)
{
    struct kini_items_spec spec = *given;
    int r = complete(&spec);
    if (r < 0)
        return r;
    const struct kini_kind kind = kind_of(spec.object_type);
    const struct kini_maker maker = {.make = make, .arg = &spec};
    struct kini_items *items;
    r = kini_handle_make(arena, &kind, spec.name, &maker, &items);
    if (r < 0)
        return r;
    bind(items);
    memcpy(ret_handle, &items, sizeof items);
    return 0;
}

struct adoption {
    uint64_t block, end; /* behind the last byte, from the start of the block */
    struct kini_items_shm before;
};

static int adopt(struct kini_self *self, const void *arg, uint64_t *ret_offset)
{
    const struct adoption *adoption = arg;
    struct kini_items_shm *shm = kini_at(self->arena, adoption->block);
    memset(shm, 0, sizeof *shm);
    kini_lock_init(&shm->own, NULL);
    kini_waitq_init(&shm->waiters, 0);
    shm->type = KIN_UCHAR;
    shm->item_bytes = 1;
    shm->data_delta = delta_of(shm);
    shm->length = adoption->end - shm->data_delta;
    shm->is_committed = 1;
    struct size size;
    if (!measure(1, shm->length, false, &size) || !has_room(self->arena, shm, &size))
        return kini_fail(-EINVAL, "the memory has no room for the array that it is to be");
    *ret_offset = adoption->block;
    return 0;
}

/* No object came of it: the block is the caller's, as before. */
static void leave(struct kini_self *self, uint64_t offset)
{
    (void)self, (void)offset;
}

int kini_items_adopt(struct kin_arena *arena, uint64_t block, uint64_t end, void *ret_handle)
{
    struct adoption adoption = {.block = block, .end = end};
    memcpy(&adoption.before, kini_at(arena, block), sizeof adoption.before);
    const struct kini_kind kind = kind_of(KINI_OBJECT_ARRAY);
    const struct kini_maker maker = {.make = adopt, .unmake = leave, .arg = &adoption};
    struct kini_items *items;
    int r = kini_handle_make(arena, &kind, NULL, &maker, &items);
    if (r < 0) {
        memcpy(kini_at(arena, block), &adoption.before, sizeof adoption.before);
        return r;
    }
    bind(items);
    memcpy(ret_handle, &items, sizeof items);
    return 0;
}

static int contradicts(const char *name, const struct kini_items *items,
                       const struct kini_items_spec *spec)
{
    const char letter = items->type == KIN_STRUCT ? '-' : (char)items->type;
    if (spec->type != 0 && spec->type != items->type)
        return kini_fail(-EINVAL, "\"%s\" was created with type '%c', not '%c'", name, letter,
                         spec->type);
    if (spec->type == 0 && spec->item_bytes != 0 && items->type != KIN_STRUCT)
        return kini_fail(-EINVAL, "\"%s\" was created with type '%c', not as a struct", name,
                         letter);
    if (spec->item_bytes != 0 && spec->item_bytes != items->item_bytes)
        return kini_handle_differs(name, "bytes", spec->item_bytes, items->item_bytes);
    if (spec->length != 0 && spec->length != items->length)
        return kini_handle_differs(name, "length", spec->length, items->length);
    return 0;
}

int kini_items_open(struct kin_arena *arena, const struct kini_which *which,
                    const struct kini_items_spec *given, bool find, void *ret_handle)
{
    struct kini_items_spec spec = *given;
    int r = complete(&spec);
    if (r < 0)
        return r;
    const struct kini_kind kind = kind_of(spec.object_type);
    const struct kini_maker maker = {.make = make, .arg = &spec};
    struct kini_items *items;
    r = kini_handle_open(arena, &kind, which, find ? NULL : &maker, &items);
    if (r < 0)
        return r;
    bind(items);
    r = find ? 0 : contradicts(which->name, items, &spec);
    if (r < 0)
        kini_items_close(items, spec.object_type);
    else
        memcpy(ret_handle, &items, sizeof items);
    return r;
}

void kini_items_close(struct kini_items *items, uint32_t object_type)
{
    int error;
    if (items == NULL || items->handle.type != object_type)
        return;
    struct kini_self *self = kini_handle_enter(&items->handle, object_type, &error);
    kini_ready_forget(&items->rlock);
    if (self != NULL)
        kini_handle_send_away(self, &items->rlock);
    items->rlock.type = KINI_OBJECT_NONE;
    kini_handle_close(&items->handle);
}

/* --- memory --------------------------------------------------------------------------------- */

int kini_items_commit(struct kini_items *items, uint64_t from, uint64_t bytes)
{
    if (!items->is_large || bytes == 0)
        return 0;
    struct kin_arena *arena = items->handle.arena;
    uint64_t offset = kini_offset(arena, items->data) + from;
    uint32_t first = kini_unit_of(arena, offset), last = kini_unit_of(arena, offset + bytes - 1);
    return kini_span_commit(arena, first, last - first + 1);
}

/* Of the dead nothing is known but that a block begins there. What was adopted is kept for the next
 * message of its length. */
void kini_items_destroy(struct kini_self *self, uint64_t offset)
{
    struct kin_arena *arena = self->arena;
    if (((struct kini_items_shm *)kini_at(arena, offset))->is_committed == 1)
        return;
    uint64_t room = kini_block_room(arena, offset);
    uint32_t unit = kini_unit_of(arena, offset), last = kini_unit_of(arena, offset + room - 1);
    if (last > unit && last < kini_load(&arena->super->units_high) &&
        kini_span_is_one_run(arena, unit, last))
        kini_span_give_back(arena, unit + 1, last - unit);
}

void kini_items_copy_words(void *to, const void *from, uint64_t bytes)
{
    kini_a64 *words = to;
    const char *bytes_from = from;
    for (uint64_t at = 0; at < bytes; at += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes_from + at, kini_min(bytes - at, 8));
        kini_store(&words[at / 8], word); /* relaxed: no reader relies on more than the word */
    }
}

/* --- death ---------------------------------------------------------------------------------- */

/* Of a struct that the dead was about to set there is a whole copy: crash state 2. */
static void finish_set(struct kini_self *self, struct kini_items_shm *shm, uint32_t slot)
{
    struct size size;
    uint64_t word = kini_load_acq(&shm->own.word);
    if (kini_load(&shm->half_set) == 0 || !kini_word_is_held(word) ||
        KINI_OWNER_SLOT(word) != slot || !is_good_value(self->arena, shm) || !shm->has_spare ||
        !measure(shm->item_bytes, 1, true, &size))
        return;
    char *data = data_of(shm);
    kini_items_copy_words(data, data + size.rounded, size.items);
    kini_compiler_barrier();
    kini_store(&shm->half_set, 0);
    kini_compiler_barrier();
}

void kini_items_holder_died(struct kini_self *self, uint64_t offset, uint32_t slot)
{
    struct kini_items_shm *shm = kini_at(self->arena, offset);
    finish_set(self, shm, slot);
    kini_lock_holder_died(self, offset, slot);
    kini_waitq_nudge_all(self->arena, &shm->waiters);
}
