/* SPDX-License-Identifier: MIT
 * Attach to a damaged arena. The arena is a good one, with an object of each type, whose only
 * process was killed; the input says what is changed in it: records of
 *
 *   where 4 bytes (little endian, counted in the pages that are not empty) | length 1 (mod 8, + 1)
 *   | that many bytes
 *
 * Then it is attached to, every object is opened and used without waiting, and the dead are reaped.
 * Nothing may crash or hang; everything may fail. Not covered: what changes while we work.
 *
 * With libFuzzer: meson setup build-fuzz -Dfuzz=true with CC=clang. Without: attach_replay. */
#include "fuzz/attach_fuzz.h"
#include "arena/attach.h"
#include "coll/items_layout.h"

#include <errno.h>
#include <kin/kin.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE    4096u
#define PAGES   4096u /* room for pages that are not empty */
#define RESERVE (64ull << 20)

struct image {
    uint64_t length;
    uint32_t count;
    uint32_t at[PAGES]; /* which page of the file */
    unsigned char bytes[][PAGE];
};
static struct image *image;

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            _exit(99);                                                                             \
    } while (0)

/* --- the good one ---------------------------------------------------------------------------- */

/* Of three messages one is in the list of returned, one is taken, and one is where it was put. */
static void scatter(struct kin_arena *arena, const char *name, struct kin_queue *queue)
{
    struct kin_queue *again;
    void *data;
    MUST(kin_queue_open(arena, name, NULL, &again));
    for (int i = 0; i < 3; i++)
        MUST(kin_queue_put(queue, name, 5, KIN_NOW));
    MUST(kin_queue_take(again, &data, KIN_NOW));
    kin_queue_destroy(again);
    MUST(kin_queue_take(queue, &data, KIN_NOW));
    MUST(kin_queue_take(queue, &data, KIN_NOW));
}

/* The kinds that are no plain ring. */
static void fill_stores(struct kin_arena *arena)
{
    static char large[3000];
    struct kin_queue *lifo, *priority, *bytes, *joinable, *ring;
    MUST(kin_queue_open(arena, "lifo", &(struct kin_queue_opts){.kind = KIN_LIFO}, &lifo));
    MUST(kin_queue_open(arena, "priority", &(struct kin_queue_opts){.kind = KIN_PRIORITY},
                        &priority));
    MUST(kin_queue_open(arena, "bytes", &(struct kin_queue_opts){.max_bytes = 5000}, &bytes));
    MUST(kin_queue_open(arena, "joinable", &(struct kin_queue_opts){.joinable = 1}, &joinable));
    MUST(kin_queue_open(arena, "ring", NULL, &ring));
    for (size_t n = 1; n < sizeof large; n = n * 3 + 7)
        MUST(kin_queue_put(lifo, large, n, KIN_NOW));
    for (int i = 0; i < 100; i++) /* the heap has grown */
        MUST(kin_queue_put_prio(priority, &i, sizeof i, i * 37 % 100, KIN_NOW));
    for (size_t n = 1; n < 40; n += 3) {
        const struct kin_queue_key key = {.priority = 50, .data = large, .bytes = n % 20};
        MUST(kin_queue_put_key(priority, large, n, &key, KIN_NOW));
    }
    MUST(kin_queue_put(bytes, large, sizeof large, KIN_NOW));
    for (int i = 0; i < 2; i++)
        MUST(kin_queue_put(joinable, large, 10, KIN_NOW));
    MUST(kin_queue_get(joinable, large, sizeof large, KIN_NOW));
    scatter(arena, "lifo", lifo);
    scatter(arena, "joinable", joinable);
    scatter(arena, "ring", ring);
}

/* One without a name, which only the reaper meets; one by name; one of which an end waits. */
static void fill_pipes(struct kin_arena *arena)
{
    struct kin_pipe *ends[2];
    static char large[3000];
    for (int named = 0; named < 2; named++) {
        const struct kin_pipe_opts opts = {.name = named ? "pipe" : NULL};
        MUST(kin_pipe_create(arena, &opts, &ends[0], &ends[1]));
        MUST(kin_pipe_send(ends[0], large, 10, KIN_NOW));
        MUST(kin_pipe_send(ends[1], large, sizeof large, KIN_NOW));
    }
    MUST(kin_pipe_open(arena, "waits", KIN_PIPE_A, NULL, &ends[0]));
    MUST(kin_pipe_send(ends[0], large, sizeof large, KIN_NOW));
}

/* One of them was being set when its setter died; the rlock of another one is held. */
static void fill_items(struct kin_arena *arena)
{
    static const char record[200];
    static const double one = 1;
    struct kin_value *number, *real, *record_value;
    struct kin_array *small, *large;
    MUST(kin_value_open(arena, "number", &(struct kin_value_opts){.type = KIN_LONG}, &number));
    MUST(kin_value_open(arena, "real", &(struct kin_value_opts){.type = KIN_DOUBLE}, &real));
    MUST(kin_value_open(arena, "record",
                        &(struct kin_value_opts){.type = KIN_STRUCT, .value_bytes = sizeof record},
                        &record_value));
    MUST(kin_array_open(arena, "small", &(struct kin_array_opts){.type = KIN_SHORT, .length = 100},
                        &small));
    MUST(kin_array_open(arena, "large",
                        &(struct kin_array_opts){.type = KIN_DOUBLE, .length = 100000}, &large));
    MUST(kin_value_set(record_value, record, KIN_NOW));
    MUST(kin_value_add(number, 12345, NULL));
    MUST(kin_array_fill(small, 10, 20, record));
    MUST(kin_array_fill(large, 50000, 10, &one));
    MUST(kin_rlock_acquire(kin_value_rlock(record_value), KIN_NOW));
    MUST(kin_rlock_acquire(kin_array_rlock(large), KIN_NOW));
    /* where items_layout.h says: written, but not finished */
    struct kini_items_shm *shm = (void *)((char *)kin_value_ptr(record_value) - 384);
    kini_store(&shm->half_set, 1);
}

static void fill_arena(struct kin_arena *arena)
{
    static char large[20000];
    struct kin_queue *queue, *bounded;
    struct kin_lock *lock;
    struct kin_rlock *rlock;
    struct kin_semaphore *semaphore;
    struct kin_event *event;
    struct kin_condition *condition;
    struct kin_barrier *barrier;
    struct kin_rwlock *rwlock;
    struct kin_once *once;
    void *block;
    MUST(kin_queue_open(arena, "queue", NULL, &queue));
    MUST(kin_queue_open(arena, "bounded", &(struct kin_queue_opts){.max_items = 5}, &bounded));
    MUST(kin_lock_open(arena, "lock", NULL, &lock));
    MUST(kin_rlock_open(arena, "rlock", NULL, &rlock));
    MUST(kin_semaphore_open(arena, "semaphore", 3, NULL, &semaphore));
    MUST(kin_event_open(arena, "event", NULL, &event));
    MUST(kin_condition_open(arena, "condition", NULL, &condition));
    MUST(kin_barrier_open(arena, "barrier", 2, NULL, &barrier));
    MUST(kin_rwlock_open(arena, "rwlock", NULL, &rwlock));
    MUST(kin_once_open(arena, "once", NULL, &once));
    for (size_t bytes = 0; bytes < sizeof large; bytes = bytes * 3 + 7)
        MUST(kin_queue_put(queue, large, bytes, KIN_NOW));
    for (int i = 0; i < 300; i++) /* a second segment */
        MUST(kin_queue_put(queue, &i, sizeof i, KIN_NOW));
    MUST(kin_queue_put(bounded, large, 300, KIN_NOW));
    MUST(kin_lock_acquire(lock, KIN_NOW));
    MUST(kin_rlock_acquire(rlock, KIN_NOW));
    MUST(kin_semaphore_acquire(semaphore, KIN_NOW));
    MUST(kin_rwlock_acquire_read(rwlock, KIN_NOW));
    MUST(kin_block_alloc(arena, 100000, &block));
    fill_stores(arena);
    fill_pipes(arena);
    fill_items(arena);
}

static void take_image(struct kin_arena *arena)
{
    static const unsigned char empty[PAGE];
    const uint64_t end = arena->super->data_off + arena->super->units_high * 65536ull;
    image->length = end;
    for (uint64_t at = 0; at < end && image->count < PAGES; at += PAGE) {
        const char *page = arena->base + at;
        unsigned char resident;
        if (mincore((void *)page, PAGE, &resident) < 0 || !(resident & 1) ||
            memcmp(page, empty, PAGE) == 0)
            continue;
        image->at[image->count] = (uint32_t)(at / PAGE);
        memcpy(image->bytes[image->count++], page, PAGE);
    }
}

static void make_image(void)
{
    image = mmap(NULL, sizeof *image + (uint64_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (image == MAP_FAILED)
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        struct kin_arena *arena;
        MUST(kin_arena_create(&(struct kin_arena_opts){.reserve_bytes = RESERVE}, &arena));
        fill_arena(arena);
        take_image(arena);
        _exit(0);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        abort();
}

/* --- the damage ------------------------------------------------------------------------------- */

static int damaged_copy(const uint8_t *data, size_t size)
{
    int fd = kini_os_memory_create("damaged");
    if (fd < 0 || ftruncate(fd, (off_t)image->length) < 0)
        abort();
    const size_t total = (size_t)image->count * PAGE;
    static unsigned char *work;
    if (work == NULL)
        work = malloc(total);
    memcpy(work, image->bytes, total);
    while (size >= 6) {
        uint32_t where;
        memcpy(&where, data, 4);
        size_t n = data[4] % 8 + 1u, at = where % total;
        data += 5;
        size -= 5;
        n = n < size ? n : size;
        n = n < total - at ? n : total - at;
        memcpy(work + at, data, n);
        data += n;
        size -= n;
    }
    for (uint32_t i = 0; i < image->count; i++)
        if (pwrite(fd, work + (size_t)i * PAGE, PAGE, (off_t)image->at[i] * PAGE) < 0)
            abort();
    return fd;
}

/* --- use -------------------------------------------------------------------------------------- */

static int never(void *unused)
{
    (void)unused;
    return -ECANCELED;
}

static char buffer[30000];

static void use_in_place(struct kin_queue *queue)
{
    void *data;
    if (kin_queue_reserve(queue, 200, &data) == 0) {
        memset(data, 1, 200);
        if (kin_queue_publish(queue, data, 150, KIN_NOW) < 0)
            kin_queue_cancel(queue, data);
    }
    for (int i = 0; i < 3; i++) {
        int64_t bytes = kin_queue_take(queue, &data, KIN_NOW);
        if (bytes >= 0) {
            memset(data, 0, (size_t)bytes); /* all of it is there, and the user's */
            if (i > 0)                      /* the first comes back when the handle goes */
                (void)!kin_queue_release(queue, data);
        }
    }
}

static void use_many(struct kin_queue *queue)
{
    struct kin_item items[4] = {{buffer, 1}, {buffer, 200}, {buffer, 0}, {buffer, 300}};
    (void)!kin_queue_put_many(queue, items, 4, KIN_NOW);
    (void)!kin_queue_get_many(queue, items, 4, buffer, sizeof buffer, KIN_NOW);
}

static void ask(struct kin_queue *queue)
{
    (void)kin_queue_size(queue);
    (void)kin_queue_bytes(queue);
    (void)kin_queue_is_full(queue);
    (void)kin_queue_next_bytes(queue);
    (void)!kin_queue_peek(queue, buffer, sizeof buffer);
    (void)!kin_queue_task_done(queue);
    (void)kin_queue_unfinished(queue);
    (void)!kin_queue_join(queue, KIN_NOW);
}

static void use_queue(struct kin_arena *arena, const char *name)
{
    struct kin_queue *queue;
    int64_t r = 0;
    if (kin_queue_find(arena, name, &queue) < 0)
        return;
    ask(queue);
    for (int i = 0; i < 5; i++)
        r += kin_queue_try_put(queue, buffer, (size_t)i * 97);
    for (int i = 0; i < 12; i++)
        r += kin_queue_try_get(queue, buffer, sizeof buffer);
    (void)r;
    use_in_place(queue);
    use_many(queue);
    ask(queue);
    kin_queue_destroy(queue);
}

static void use_queues(struct kin_arena *arena)
{
    static const char *const names[] = {"queue", "bounded", "lifo",    "priority",
                                        "bytes", "ring",    "joinable"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        use_queue(arena, names[i]);
}

static void use_locks(struct kin_arena *arena)
{
    struct kin_lock *lock;
    struct kin_rlock *rlock;
    struct kin_rwlock *rwlock;
    struct kin_owner owner;
    if (kin_lock_find(arena, "lock", &lock) == 0) {
        (void)kin_lock_owner(lock, &owner);
        if (kin_lock_try_acquire(lock) >= 0)
            kin_lock_release(lock);
        kin_lock_destroy(lock);
    }
    if (kin_rlock_find(arena, "rlock", &rlock) == 0) {
        (void)kin_rlock_owner(rlock, &owner);
        if (kin_rlock_try_acquire(rlock) >= 0)
            kin_rlock_release(rlock);
        kin_rlock_destroy(rlock);
    }
    if (kin_rwlock_find(arena, "rwlock", &rwlock) == 0) {
        (void)!kin_rwlock_try_read(rwlock);
        (void)!kin_rwlock_try_write(rwlock);
        kin_rwlock_destroy(rwlock);
    }
}

static void use_others(struct kin_arena *arena)
{
    struct kin_semaphore *semaphore;
    struct kin_event *event;
    struct kin_condition *condition;
    struct kin_barrier *barrier;
    struct kin_once *once;
    if (kin_semaphore_find(arena, "semaphore", &semaphore) == 0) {
        (void)!kin_semaphore_try_acquire(semaphore);
        kin_semaphore_release(semaphore);
        kin_semaphore_destroy(semaphore);
    }
    if (kin_event_find(arena, "event", &event) == 0) {
        kin_event_set(event);
        (void)!kin_event_wait(event, KIN_NOW);
        kin_event_destroy(event);
    }
    if (kin_condition_find(arena, "condition", NULL, &condition) == 0) {
        if (kin_condition_try_acquire(condition) >= 0) {
            kin_condition_notify_all(condition);
            kin_condition_release(condition);
        }
        kin_condition_destroy(condition);
    }
    if (kin_barrier_find(arena, "barrier", &barrier) == 0) {
        kin_barrier_reset(barrier);
        kin_barrier_abort(barrier);
        kin_barrier_destroy(barrier);
    }
    if (kin_once_find(arena, "once", &once) == 0) {
        (void)!kin_once_run(once, never, NULL, KIN_NOW);
        kin_once_destroy(once);
    }
}

/* As a program does that believes what it is told of the size. */
static void use_value(struct kin_arena *arena, const char *name)
{
    struct kin_value *value;
    int64_t number = 5;
    double real;
    if (kin_value_find(arena, name, &value) < 0)
        return;
    (void)kin_value_load(value, &number);
    (void)kin_value_add(value, 3, &number);
    (void)!kin_value_compare_exchange(value, &number, 7);
    (void)kin_value_max(value, 77, NULL);
    (void)kin_value_add_double(value, 0.5, &real);
    if (kin_value_bytes(value) <= (int64_t)sizeof buffer) {
        (void)!kin_value_get(value, KIN_NOW, buffer);
        (void)!kin_value_wait(value, buffer, KIN_NOW);
        (void)!kin_value_set(value, buffer, KIN_NOW);
    }
    if (kin_rlock_try_acquire(kin_value_rlock(value)) >= 0)
        (void)kin_rlock_release(kin_value_rlock(value));
    (void)kin_value_waiting(value);
    (void)kin_value_notify(value);
    kin_value_destroy(value);
}

static void use_array(struct kin_arena *arena, const char *name)
{
    struct kin_array *array;
    if (kin_array_find(arena, name, &array) < 0)
        return;
    const uint64_t length = (uint64_t)kin_array_length(array);
    const uint64_t item = (uint64_t)kin_array_item_bytes(array);
    const uint64_t count = item <= sizeof buffer / 8 && length >= 8 ? 8 : 0;
    for (uint64_t part = 0; part < 4 && count > 0; part++) {
        uint64_t first = (length - count) / 3 * part;
        (void)kin_array_get(array, first, buffer);
        (void)kin_array_set(array, first, buffer);
        (void)kin_array_read(array, first, count, buffer);
        (void)kin_array_write(array, first, count, buffer);
        (void)kin_array_fill(array, first, count, buffer);
        (void)!kin_array_commit(array, first, count);
    }
    (void)kin_array_get(array, length, buffer);
    if (kin_rlock_try_acquire(kin_array_rlock(array)) >= 0)
        (void)kin_rlock_release(kin_array_rlock(array));
    kin_array_destroy(array);
}

static void use_items(struct kin_arena *arena)
{
    static const char *const values[] = {"number", "real", "record"};
    for (size_t i = 0; i < 3; i++)
        use_value(arena, values[i]);
    use_array(arena, "small");
    use_array(arena, "large");
}

static void use_end(struct kin_pipe *end)
{
    void *data;
    for (int i = 0; i < 4; i++) {
        (void)kin_pipe_next_bytes(end);
        (void)!kin_pipe_poll(end, KIN_NOW);
        (void)!kin_pipe_try_send(end, buffer, (size_t)i * 97);
        if (i % 2)
            (void)!kin_pipe_try_recv(end, buffer, sizeof buffer);
        else if (kin_pipe_recv_alloc(end, &data, KIN_NOW) >= 0)
            free(data);
    }
}

static void use_pipe(struct kin_arena *arena, const char *name)
{
    struct kin_pipe *ends[2] = {NULL, NULL};
    for (uint32_t i = 0; i < 2; i++)
        if (kin_pipe_find(arena, name, (enum kin_pipe_side)i, &ends[i]) < 0)
            ends[i] = NULL;
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 2; i++)
            if (ends[i] != NULL)
                use_end(ends[i]);
    kin_pipe_close(ends[0]);
    kin_pipe_close(ends[1]);
}

static void use_all(struct kin_arena *arena)
{
    struct kin_arena_stats stat = {.size = sizeof stat};
    struct kin_deadlock deadlocks[2];
    struct kin_process_info info = {.size = sizeof info};
    void *block;
    (void)kin_arena_stat(arena, &stat);
    (void)kin_process_parent(arena, &info);
    (void)kin_deadlocks(arena, deadlocks, 2);
    use_queues(arena);
    use_locks(arena);
    use_others(arena);
    use_items(arena);
    use_pipe(arena, "pipe");
    use_pipe(arena, "waits");
    if (kin_block_alloc(arena, 500, &block) == 0)
        kin_block_free(arena, block);
}

int attach_fuzz(const uint8_t *data, size_t size)
{
    if (image == NULL)
        make_image();
    struct kin_arena *arena = kini_arena_new();
    if (arena == NULL)
        abort();
    arena->fd = damaged_copy(data, size);
    int r = kini_arena_attach(arena);
    if (r == 0 && (r = kini_arena_join(arena, 0, -1)) == 0) {
        use_all(arena);
        (void)kin_arena_reap(arena);
        use_all(arena);
        kini_arena_leave(arena);
    }
    kini_arena_free(arena);
    return r;
}
