/* SPDX-License-Identifier: MIT
 * Every kind of queue against a simple model of it: random operations with equal answers. What is
 * taken in place may be released, or come back, later. */
#include "model_fixture.h"

#define MODEL_MOST 3000

struct item {
    int64_t priority;
    uint64_t number, bytes, key;
    unsigned char sorted_by[3]; /* as many as are not 0 */
};

static struct {
    struct item items[MODEL_MOST];
    uint64_t count, bytes, puts, unfinished, got;
    bool shut, dropped;
    struct kin_queue_opts opts;
} model;

static bool goes_before(const struct item *a, const struct item *b)
{
    if (a->priority != b->priority)
        return a->priority < b->priority;
    int keys = memcmp(a->sorted_by, b->sorted_by, sizeof a->sorted_by);
    if (keys != 0)
        return keys < 0;
    return model.opts.kind == KIN_LIFO ? a->number > b->number : a->number < b->number;
}

static uint64_t next_one(void)
{
    uint64_t best = 0;
    for (uint64_t i = 1; i < model.count; i++)
        best = goes_before(&model.items[i], &model.items[best]) ? i : best;
    return best;
}

static bool model_is_full(void)
{
    return (model.opts.max_items != 0 && model.count >= model.opts.max_items) ||
           (model.opts.max_bytes != 0 && model.bytes >= model.opts.max_bytes);
}

static void put(struct kt_random *random, uint64_t way)
{
    struct item item = {.bytes = kt_random_size(random, most_bytes),
                        .key = kt_random_next(random),
                        .number = model.puts};
    item.bytes -= item.bytes > 0 && kt_random_below(random, 8) == 0;
    if (model.count == MODEL_MOST)
        return;
    kt_fill(data, item.bytes, item.key);
    uint64_t max_bytes = model.opts.max_bytes;
    int expected = way == 0 ? -ETIMEDOUT : -EAGAIN, r;
    if (max_bytes != 0 && item.bytes > max_bytes)
        expected = -EMSGSIZE;
    else if (model.shut)
        expected = -ESHUTDOWN;
    else if (!model_is_full() && (max_bytes == 0 || item.bytes <= max_bytes - model.bytes))
        expected = 0;
    if (way == 2 && model.opts.kind == KIN_PRIORITY) {
        item.priority = (int64_t)kt_random_below(random, 5) - 2;
        struct kin_queue_key key = {.priority = item.priority, .data = item.sorted_by};
        for (uint64_t n = kt_random_below(random, 4); key.bytes < n; key.bytes++)
            item.sorted_by[key.bytes] = (unsigned char)(1 + kt_random_below(random, 2) * 254);
        r = key.bytes == 0 && kt_random_below(random, 2) == 0
                ? kin_queue_put_prio(queue, data, item.bytes, item.priority, KIN_NOW)
                : kin_queue_put_key(queue, data, item.bytes, &key, KIN_NOW);
    } else if (way == 0) {
        r = kin_queue_put(queue, data, item.bytes, KIN_NOW);
    } else {
        r = kin_queue_try_put(queue, data, item.bytes);
    }
    KT_CHECK(r == expected);
    if (r == 0) {
        model.items[model.count++] = item;
        model.bytes += item.bytes;
        model.puts++;
        model.unfinished++;
    }
}

static void took(const void *message, int64_t bytes)
{
    KT_CHECK(model.count > 0 && !model.dropped);
    uint64_t at = next_one();
    struct item item = model.items[at];
    KT_CHECK(bytes == (int64_t)item.bytes);
    KT_CHECK(kt_filled(message, item.bytes, item.key));
    model.items[at] = model.items[--model.count];
    model.bytes -= item.bytes;
    model.got++;
}

static void get(struct kt_random *random, uint64_t way)
{
    uint64_t capacity = some_capacity(random);
    int64_t r = way == 0 ? kin_queue_try_get(queue, back, capacity)
                         : kin_queue_get(queue, back, capacity, KIN_NOW);
    if (r >= 0)
        took(back, r);
    else if (r == -EMSGSIZE)
        KT_CHECK(model.count > 0 && model.items[next_one()].bytes > capacity);
    else
        KT_CHECK(model.count == 0 && r == (model.shut ? -ESHUTDOWN
                                           : way == 0 ? -EAGAIN
                                                      : -ETIMEDOUT));
}

static void take_in_place(void)
{
    void *message;
    int64_t r = kin_queue_take(queue, &message, KIN_NOW);
    if (r < 0) {
        KT_CHECK(model.count == 0 && r == (model.shut ? -ESHUTDOWN : -ETIMEDOUT));
        return;
    }
    took(message, r);
    KT_CHECK(kin_queue_release(queue, message) == 0);
}

static void look(struct kt_random *random)
{
    uint64_t capacity = kt_random_below(random, most_bytes + 1);
    int64_t next = kin_queue_next_bytes(queue), peeked = kin_queue_peek(queue, back, capacity);
    if (model.count > 0) {
        const struct item *item = &model.items[next_one()];
        KT_CHECK(next == (int64_t)item->bytes && peeked == next);
        KT_CHECK(item->bytes > capacity || kt_filled(back, item->bytes, item->key));
    } else {
        KT_CHECK(next == -EAGAIN || (model.shut && next == -ESHUTDOWN));
        KT_CHECK(next == peeked);
    }
    KT_CHECK(kin_queue_size(queue) == (int64_t)model.count);
    KT_CHECK(kin_queue_bytes(queue) == (int64_t)model.bytes);
    KT_CHECK(kin_queue_is_empty(queue) == (model.count == 0));
    KT_CHECK(kin_queue_is_full(queue) == model_is_full());
    KT_CHECK(kin_queue_max_items(queue) == model.opts.max_items);
    KT_CHECK(kin_queue_max_bytes(queue) == model.opts.max_bytes);
    KT_CHECK(kin_queue_kind(queue) == (enum kin_queue_kind)model.opts.kind);
}

static void done(void)
{
    int64_t unfinished = kin_queue_unfinished(queue);
    if (!model.opts.joinable) {
        KT_CHECK(unfinished == -EINVAL && kin_queue_task_done(queue) == -EINVAL);
        return;
    }
    KT_CHECK(unfinished == (int64_t)model.unfinished);
    KT_CHECK(kin_queue_join(queue, KIN_NOW) == (model.unfinished == 0 ? 0 : -ETIMEDOUT));
    KT_CHECK(kin_queue_task_done(queue) == (model.got == 0 ? -EINVAL : 0));
    if (model.got > 0) {
        model.got--;
        model.unfinished--;
    }
}

static void shut(struct kt_random *random)
{
    model.dropped = kt_random_below(random, 2) == 1;
    KT_CHECK(kin_queue_shutdown(queue, model.dropped ? KIN_AT_ONCE : KIN_WHEN_DRAINED) == 0);
    model.shut = true;
    if (model.dropped) {
        model.unfinished -= model.count;
        model.count = model.bytes = 0;
    }
}

static void choose(struct kt_random *random)
{
    static const uint64_t bounds[] = {0, 0, 0, 1, 2, 5, 63, 300}, bytes[] = {0, 0, 1, 500, 200000};
    memset(&model, 0, sizeof model);
    model.opts.max_items = bounds[kt_random_below(random, 8)];
    model.opts.kind = (uint32_t)kt_random_below(random, 3);
    model.opts.joinable = (uint32_t)kt_random_below(random, 2);
    model.opts.max_bytes = bytes[kt_random_below(random, 5)];
    choose_most_bytes(random);
}

static void step(struct kt_random *random, uint64_t what, uint64_t favour)
{
    if (what < favour)
        put(random, what % 3);
    else if (what < 88)
        get(random, what % 2);
    else if (what < 92)
        take_in_place();
    else if (what < 96)
        done();
    else
        look(random);
}

static void run(struct kin_arena *arena, struct kt_random *random)
{
    choose(random);
    KT_CHECK(kin_queue_create(arena, &model.opts, &queue) == 0);
    run_in_waves(random, 3000, step, shut);
    look(random);
    kin_queue_destroy(queue);
}

START_TEST(equal_to_the_model)
{
    run_often("store_equal_to_the_model", _i, run);
}
END_TEST

int main(void)
{
    return model_main("chan/store_model", equal_to_the_model);
}
