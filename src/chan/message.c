/* SPDX-License-Identifier: MIT
 * Messages in blocks. */
#include "chan/message.h"
#include "base/bits.h"
#include "chan/ring.h"

#include <errno.h>
#include <string.h>

bool kini_message_is_whole(const struct kin_arena *arena, uint64_t block)
{
    const uint64_t prefix = sizeof(struct kini_message_shm);
    if (!kini_block_has(arena, block, prefix))
        return false;
    const struct kini_message_shm *message = kini_message_of(arena, block);
    uint64_t room = kini_block_room(arena, block) - prefix, bytes = message->bytes;
    if (bytes > room || !(message->order & KINI_ORDER_KEYED))
        return bytes <= room;
    uint32_t key_bytes;
    if (room - bytes < sizeof key_bytes)
        return false;
    memcpy(&key_bytes, (const char *)(message + 1) + bytes, sizeof key_bytes);
    return key_bytes <= room - bytes - sizeof key_bytes;
}

/* --- keys ----------------------------------------------------------------------------------- */

const void *kini_message_key(const struct kin_arena *arena, uint64_t block, uint32_t *ret_bytes)
{
    const char *length =
        (const char *)kini_message_data(arena, block) + kini_message_of(arena, block)->bytes;
    memcpy(ret_bytes, length, sizeof *ret_bytes);
    return length + sizeof *ret_bytes;
}

void kini_message_set_key(struct kini_self *self, uint64_t block, const void *key,
                          uint32_t key_bytes)
{
    char *length =
        (char *)kini_message_data(self->arena, block) + kini_message_of(self->arena, block)->bytes;
    memcpy(length, &key_bytes, sizeof key_bytes);
    memcpy(length + sizeof key_bytes, key, key_bytes);
}

int kini_message_compare_keys(const struct kin_arena *arena, uint64_t a, uint64_t b)
{
    uint32_t a_bytes, b_bytes;
    const void *a_key = kini_message_key(arena, a, &a_bytes);
    const void *b_key = kini_message_key(arena, b, &b_bytes);
    int r = memcmp(a_key, b_key, kini_min(a_bytes, b_bytes));
    return r != 0 ? r : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

/* --- blocks --------------------------------------------------------------------------------- */

int kini_message_block(struct kini_self *self, uint64_t bytes, uint64_t *ret_block)
{
    const uint64_t prefix = sizeof(struct kini_message_shm);
    uint64_t most = self->arena->super->units_count * KINI_UNIT_BYTES - KINI_LARGE_PREFIX - prefix;
    if (bytes > most)
        return kini_fail(-EMSGSIZE, "a message of %llu bytes; the arena can hold at most %llu",
                         (unsigned long long)bytes, (unsigned long long)most);
    int r = kini_block_get(self, prefix + bytes, ret_block);
    if (r == 0)
        *kini_message_of(self->arena, *ret_block) = (struct kini_message_shm){.bytes = bytes};
    return r;
}

void kini_message_take(struct kini_self *self, uint64_t block, uint32_t tag)
{
    kini_store(&self->arena->participants[self->slot].takes, 1); /* the reaper is to look */
    kini_block_touch(self, block);
    kini_compiler_barrier();
    kini_store(&kini_block_header(self->arena, block)->word,
               KINI_BLOCK_WORD(KINI_BLOCK_TAKEN, self->slot, tag));
}

int64_t kini_message_deliver(struct kini_self *self, uint64_t block, struct kini_taker *taker)
{
    uint64_t bytes = kini_message_of(self->arena, block)->bytes;
    if (taker->keep) {
        kini_message_keep(self, block, taker);
        return (int64_t)bytes;
    }
    if (!taker->drop && bytes > 0)
        memcpy(taker->buffer, kini_message_data(self->arena, block), bytes);
    kini_block_adopt(self, block);
    kini_block_put(self, block);
    return (int64_t)bytes;
}

void kini_message_keep(struct kini_self *self, uint64_t block, struct kini_taker *taker)
{
    if (taker->block != 0)
        kini_block_put(self, taker->block);
    taker->block = block;
}
