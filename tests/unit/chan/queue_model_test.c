/* SPDX-License-Identifier: MIT
 * The queue against a simple model of it: random operations with equal answers. */
#include "model_fixture.h"

#define MODEL_MOST 4096

static struct {
    uint64_t bytes[MODEL_MOST], keys[MODEL_MOST];
    uint64_t first, count;
    uint64_t max_items;
    bool shut, dropped;
} model;

static void put(struct kt_random *random, uint64_t way)
{
    uint64_t bytes = kt_random_size(random, most_bytes) - (kt_random_below(random, 8) == 0);
    uint64_t key = kt_random_next(random), at = (model.first + model.count) % MODEL_MOST;
    if (model.count == MODEL_MOST)
        return;
    kt_fill(data, bytes, key);
    bool full = model.max_items != 0 && model.count == model.max_items;
    int expected = model.shut ? -ESHUTDOWN : !full ? 0 : way == 0 ? -EAGAIN : -ETIMEDOUT;
    int r = way == 0 ? kin_queue_try_put(queue, data, bytes)
                     : kin_queue_put(queue, data, bytes, KIN_NOW);
    KT_CHECK(r == expected);
    if (r == 0) {
        model.bytes[at] = bytes;
        model.keys[at] = key;
        model.count++;
    }
}

static void took(const void *message, int64_t bytes)
{
    KT_CHECK(model.count > 0 && !model.dropped);
    KT_CHECK(bytes == (int64_t)model.bytes[model.first]);
    KT_CHECK(kt_filled(message, (uint64_t)bytes, model.keys[model.first]));
    model.first = (model.first + 1) % MODEL_MOST;
    model.count--;
}

static int64_t when_empty(int otherwise)
{
    return model.shut ? -ESHUTDOWN : otherwise;
}

static void get(struct kt_random *random, uint64_t way)
{
    uint64_t capacity = some_capacity(random);
    int64_t r = way == 0 ? kin_queue_try_get(queue, back, capacity)
                         : kin_queue_get(queue, back, capacity, KIN_NOW);
    if (r >= 0)
        took(back, r);
    else if (r == -EMSGSIZE)
        KT_CHECK(model.count > 0 && model.bytes[model.first] > capacity);
    else
        KT_CHECK(model.count == 0 && r == when_empty(way == 0 ? -EAGAIN : -ETIMEDOUT));
}

/* Batches, also larger than one claim. */
#define BATCH_MOST 300

static void put_many(struct kt_random *random)
{
    static unsigned char messages[BATCH_MOST][200];
    static struct kin_item items[BATCH_MOST];
    static uint64_t keys[BATCH_MOST];
    uint32_t n =
        1 + (uint32_t)kt_random_below(random, kt_random_below(random, 4) ? 20 : BATCH_MOST);
    if (model.count + n > MODEL_MOST)
        return;
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = kt_random_next(random);
        items[i] = (struct kin_item){messages[i], kt_random_below(random, sizeof messages[i] + 1)};
        kt_fill(messages[i], items[i].bytes, keys[i]);
    }
    uint64_t room = model.max_items ? model.max_items - model.count : n;
    int64_t expected = (int64_t)(n < room ? n : room);
    expected = model.shut ? -ESHUTDOWN : expected == 0 ? -ETIMEDOUT : expected;
    int64_t r = kin_queue_put_many(queue, items, n, KIN_NOW);
    KT_CHECK(r == expected);
    for (int64_t i = 0; i < r; i++) {
        uint64_t at = (model.first + model.count++) % MODEL_MOST;
        model.bytes[at] = items[i].bytes;
        model.keys[at] = keys[i];
    }
}

static void get_many(struct kt_random *random)
{
    static _Alignas(16) unsigned char room[200000];
    static struct kin_item items[BATCH_MOST];
    uint32_t n = 1 + (uint32_t)kt_random_below(random, BATCH_MOST);
    uint64_t capacity = kt_random_below(random, sizeof room + 1), used = 0, fit = 0;
    for (; fit < n && fit < model.count; fit++) {
        uint64_t from = (used + 15) / 16 * 16;
        uint64_t bytes = model.bytes[(model.first + fit) % MODEL_MOST];
        if (from > capacity || bytes > capacity - from)
            break;
        used = from + bytes;
    }
    int64_t r = kin_queue_get_many(queue, items, n, room, capacity, KIN_NOW);
    if (model.count == 0)
        KT_CHECK(r == when_empty(-ETIMEDOUT));
    else
        KT_CHECK(r == (fit > 0 ? (int64_t)fit : -EMSGSIZE));
    for (int64_t i = 0; i < r; i++) {
        KT_CHECK((uintptr_t)items[i].data % 16 == 0);
        took(items[i].data, (int64_t)items[i].bytes);
    }
}

static void get_alloc(void)
{
    void *message = NULL;
    int64_t r = kin_queue_get_alloc(queue, &message, KIN_NOW);
    if (r >= 0)
        took(message, r);
    else
        KT_CHECK(model.count == 0 && message == NULL && r == when_empty(-ETIMEDOUT));
    free(message);
}

static void look(void)
{
    int64_t next = kin_queue_next_bytes(queue);
    if (model.count > 0)
        KT_CHECK(next == (int64_t)model.bytes[model.first]);
    else
        KT_CHECK(next == -EAGAIN || (model.shut && next == -ESHUTDOWN));
    KT_CHECK(kin_queue_size(queue) == (int64_t)model.count);
    KT_CHECK(kin_queue_max_items(queue) == model.max_items);
}

static void step(struct kt_random *random, uint64_t what, uint64_t favour)
{
    if (what < 2)
        put_many(random);
    else if (what > 97)
        get_many(random);
    else if (what < favour)
        put(random, what % 2);
    else if (what < 90)
        get(random, what % 2);
    else if (what < 94)
        get_alloc();
    else
        look();
}

static void shut(struct kt_random *random)
{
    enum kin_shutdown when = kt_random_below(random, 2) ? KIN_AT_ONCE : KIN_WHEN_DRAINED;
    KT_CHECK(kin_queue_shutdown(queue, when) == 0);
    model.shut = true;
    model.dropped = when == KIN_AT_ONCE;
    model.count = model.dropped ? 0 : model.count;
}

static void run(struct kin_arena *arena, struct kt_random *random)
{
    static const uint64_t bounds[] = {0, 0, 1, 2, 3, 4, 17, 300, 1025};
    static const uint32_t inline_bytes[] = {0, 1, 100, 1008};
    memset(&model, 0, sizeof model);
    model.max_items = bounds[kt_random_below(random, 9)];
    choose_most_bytes(random);
    queue = kt_queue(arena, model.max_items, inline_bytes[kt_random_below(random, 4)]);
    run_in_waves(random, 4000, step, shut);
    look();
    kin_queue_destroy(queue);
}

START_TEST(equal_to_the_model)
{
    run_often("equal_to_the_model", _i, run);
}
END_TEST

int main(void)
{
    return model_main("chan/queue_model", equal_to_the_model);
}
