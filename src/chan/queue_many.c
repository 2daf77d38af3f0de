/* SPDX-License-Identifier: MIT
 * The public queue: many messages at once. */
#include "base/bits.h"
#include "chan/ring.h"
#include "chan/store.h"

#include <errno.h>

/* Blocks that a batch may have ready before there is room for them. */
#define READY_BYTES (1u << 20)

static struct kini_self *enter(struct kin_queue *queue, const struct kin_item *items,
                               uint32_t count, int *ret_error)
{
    struct kini_self *self = kini_handle_enter(&queue->handle, KINI_OBJECT_QUEUE, ret_error);
    if (self == NULL || (items != NULL && count > 0))
        return self;
    *ret_error = kini_fail(-EINVAL, "no items");
    return NULL;
}

/* --- put ------------------------------------------------------------------------------------ */

/* As many of the messages as can be put before the deadline, or an error if it is none. Who must
 * wait waits with one message. */
static int64_t put_ready(struct kini_self *self, struct kin_queue *queue,
                         const struct kini_message *messages, uint32_t count, kin_deadline deadline)
{
    uint32_t done = 0;
    int64_t r = 0;
    while (done < count && r >= 0) {
        r = kini_ring_put_many(self, queue, messages + done, count - done);
        if (r == -EAGAIN && (r = kini_queue_wait_put(self, queue, messages + done, deadline)) == 0)
            r = 1;
        done += r > 0 ? (uint32_t)r : 0;
    }
    return done > 0 && r != -ENOTRECOVERABLE ? (int64_t)done : r;
}

/* Makes the first messages ready. Returns how many, at least one. */
static int make_ready(struct kini_self *self, struct kin_queue *queue, const struct kin_item *items,
                      uint32_t count, struct kini_message *ret_messages)
{
    int n = 0, r = 0;
    uint64_t bytes = 0;
    while ((uint32_t)n < kini_min(count, KINI_BATCH_MOST) && bytes < READY_BYTES && r == 0) {
        r = kini_queue_make_message(self, queue, items[n].data, items[n].bytes, &ret_messages[n]);
        if (r == 0 && ret_messages[n].block != 0)
            bytes += ret_messages[n].bytes;
        n += r == 0;
    }
    return n > 0 ? n : r;
}

static int64_t put_some(struct kini_self *self, struct kin_queue *queue,
                        const struct kin_item *items, uint32_t count, kin_deadline deadline,
                        bool *ret_all)
{
    struct kini_message messages[KINI_BATCH_MOST];
    int ready = make_ready(self, queue, items, count, messages);
    *ret_all = false;
    if (ready < 0)
        return ready;
    int64_t r = put_ready(self, queue, messages, (uint32_t)ready, deadline);
    if (r == -ENOTRECOVERABLE)
        return r; /* who declared us dead has freed what was not put */
    for (int64_t i = r > 0 ? r : 0; i < ready; i++)
        kini_queue_drop_message(self, &messages[i]);
    *ret_all = r == ready;
    return r;
}

/* Under a lock, one claim for many would save little. */
static int64_t put_each(struct kin_queue *queue, const struct kin_item *items, uint32_t count,
                        kin_deadline deadline)
{
    int r = 0;
    uint32_t done = 0;
    while (done < count &&
           (r = kin_queue_put(queue, items[done].data, items[done].bytes, deadline)) == 0)
        done++;
    return done > 0 ? (int64_t)done : r;
}

int64_t kin_queue_put_many(struct kin_queue *queue, const struct kin_item *items, uint32_t count,
                           kin_deadline deadline)
{
    int error;
    struct kini_self *self = enter(queue, items, count, &error);
    if (self == NULL)
        return error;
    if (kini_queue_is_store(queue->shm))
        return put_each(queue, items, count, deadline);
    int64_t done = 0, r = 0;
    bool all = true;
    while (done < count && all) {
        r = put_some(self, queue, items + done, count - (uint32_t)done, deadline, &all);
        done += r > 0 ? r : 0;
    }
    return done > 0 && r != -ENOTRECOVERABLE ? done : r;
}

/* --- get ------------------------------------------------------------------------------------ */

/* Who must wait waits for one, and takes what else there is then. */
static int64_t get_many(struct kini_self *self, struct kin_queue *queue, struct kini_basket *basket,
                        kin_deadline deadline)
{
    int64_t r = kini_ring_get_many(self, queue, basket);
    if (r != -EAGAIN)
        return r;
    struct kini_taker taker = kini_basket_place(basket);
    r = kini_queue_wait_get(self, queue, &taker, deadline);
    if (r < 0)
        return r;
    kini_basket_add(basket, &taker, r);
    kini_ring_get_many(self, queue, basket);
    return basket->taken;
}

static int64_t get_each(struct kin_queue *queue, struct kini_basket *basket, kin_deadline deadline)
{
    int64_t r = 0;
    for (; kini_basket_is_open(basket); deadline = KIN_NOW) {
        struct kini_taker taker = kini_basket_place(basket);
        r = kin_queue_get(queue, taker.buffer, taker.capacity, deadline);
        if (r < 0)
            break;
        kini_basket_add(basket, &taker, r);
    }
    return basket->taken > 0 ? (int64_t)basket->taken : r;
}

int64_t kin_queue_get_many(struct kin_queue *queue, struct kin_item *items, uint32_t count,
                           void *buffer, size_t capacity, kin_deadline deadline)
{
    int error;
    struct kini_self *self = enter(queue, items, count, &error);
    if (self == NULL)
        return error;
    struct kini_basket basket = {
        .items = items, .count = count, .buffer = buffer, .capacity = capacity};
    int64_t r = kini_queue_is_store(queue->shm) ? get_each(queue, &basket, deadline)
                                                : get_many(self, queue, &basket, deadline);
    if (r == -EMSGSIZE)
        kini_fail(-EMSGSIZE, "the next message is longer than the %zu bytes of the buffer",
                  capacity);
    return r;
}
