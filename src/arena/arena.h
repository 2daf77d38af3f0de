/* SPDX-License-Identifier: MIT
 * The arena as one process sees it: handles, who am I, offsets. Nothing in this header lies in
 * shared memory. */
#ifndef KINI_ARENA_H
#define KINI_ARENA_H

#include <kin/arena.h>
#include <pthread.h>

#include "arena/arena_layout.h"
#include "arena/block_layout.h"
#include "base/error.h"
#include "os/os.h"

#define KINI_CACHE_BLOCKS 62u

/* Free blocks of one size that this thread may hand out: hints into spans that it owns. */
struct kini_class_cache {
    uint32_t count;
    uint32_t spans_count, spans_room;
    uint32_t cursor_span;  /* which of spans is being scanned */
    uint32_t cursor_block; /* next block to look at in it */
    uint32_t *spans;       /* unit numbers, malloc */
    uint64_t freed;        /* frees beyond the list below since the last trim */
    uint64_t free[KINI_CACHE_BLOCKS];
};

struct kini_waitq_shm;

/* A thread in an arena. Made at its first use of the arena, freed when the thread ends. */
struct kini_self {
    struct kin_arena *arena; /* NULL after the arena was detached */
    struct kini_thread_shm *shm;
    uint64_t cookie;
    uint32_t index;       /* of the thread record */
    uint32_t slot;        /* of the participant */
    uint32_t locks;       /* depth of the lock stack */
    uint32_t idle_slices; /* of the present wait */
    bool interrupted;     /* the last sleep, by a signal that ends waits */
    int refused;          /* the last sleep: an error that ends the wait, or 0 */
    uint32_t waits;       /* that began, to try a long spin now and then */
    uint32_t slice_ended; /* nothing came: look after the dead before the next */
    uint32_t spins;       /* waits that began */
    uint32_t rlocks;      /* rlocks and onces that this thread holds */
    uint64_t owner_word;  /* how locks name us */
    uint64_t first_key;   /* whom we let go first, and since when: sync/handle.h */
    int64_t first_since_ns;
    int64_t slice_ns, handed_on_ns; /* when the last sleep began, and: sync/watch.c */
    int64_t idle_since_ns, bedless_ns, watchless_ns; /* since when, until when: sync/bed.c */
    struct kini_bed *bed;             /* sync/bed.c. Its descriptors: under the arena's mutex */
    uint32_t spin;                    /* how long spinning has paid lately: see sync/wait.c */
    uint32_t probing;                 /* long spins to go: see sync/wait.c */
    uint32_t shy, shyness;            /* how often not to yield: see sync/wait.c */
    struct kini_self *next;           /* of this thread */
    struct kini_self *next_in_arena;  /* of this arena, under its mutex */
    struct kini_class_cache *classes; /* KINI_CLASSES of them, made at the first allocation */
};

/* The token of a place that is not taken yet. */
struct kini_pending {
    struct kini_pending *next;
    int token;
};

struct kin_arena {
    char *base;
    uint64_t bytes;
    int fd;
    int token_fd; /* holds the byte lock of our slot */
    int seat_fd;  /* keeps the name for this arena: open.c; -1: it has none */
    uint32_t slot;
    uint32_t generation;
    struct kini_super_shm *super;
    struct kini_participant_shm *participants;
    struct kini_thread_shm *threads;
    struct kini_object_shm *objects;
    struct kini_span_shm *spans;
    kini_a64 *free_map, *commit_map;
    kini_a64 *guard; /* cookie of this process; a child of any fork reads 0 */
    uint64_t inode;
    kini_a32 reaping;      /* a thread of this process is reaping: our descriptor holds the byte */
    pthread_mutex_t mutex; /* private: selves, fork, children. Outermost of all locks */
    struct kini_self *selves;
    kini_a64 bell_sender;      /* what this process rings bells with (os.h) */
    struct kini_self *pollers; /* records that stand for a descriptor: sync/ready.c */
    uint32_t *handles;   /* by object: how many handles of it this process has. Under the mutex */
    uint32_t *inherited; /* tags of the objects handed over at exec, by position */
    int *inherited_sockets; /* of each, -1: none. Ours until we leave */
    uint32_t inherited_count;
    uint32_t *received; /* tags that came as keys, each until it is opened. Under the mutex */
    uint32_t received_count;
    struct kini_pending *pending; /* places for processes that somebody else starts: proc/offer.c */
    uint32_t epoch;               /* raised when we joined behind a fork that no handler saw */
    kini_a32 looks;               /* of this process after the dead */
    kini_a32 orphans;             /* hint: records of ended threads that hold something */
    uint32_t child_slot;          /* between the prepare and parent/child handlers of a fork */
    int child_token;
    void *children; /* of the process layer, which frees them at detach */
    void (*leave_children)(struct kin_arena *arena);
    void (*close_siblings)(struct kin_arena *arena);
    int lifeline_keep, lifeline_watch;
    int lifeline_bound;     /* a daemon's own end: the kernel kills us when it hangs up */
    struct kin_arena *next; /* of all arenas in this process */
};

/* --- offsets -------------------------------------------------------------------------------- */

static inline void *kini_at(const struct kin_arena *arena, uint64_t offset)
{
    return arena->base + offset;
}

static inline uint64_t kini_offset(const struct kin_arena *arena, const void *ptr)
{
    return (uint64_t)((const char *)ptr - arena->base);
}

/* --- thread.c: who am I --------------------------------------------------------------------- */

extern __thread struct kini_self *kini_last_self __attribute__((tls_model("initial-exec")));
struct kini_self *kini_enter_slow(struct kin_arena *arena);

/* The calling thread in the arena, registered if it is new or after a fork of any kind. NULL with
 * kini_enter_error() when there is no room. Every entry point begins with it. */
static kini_inline struct kini_self *kini_enter(struct kin_arena *arena)
{
    struct kini_self *self = kini_last_self;
    /* The last two: no call of this thread was left half way (see kini_self_heal). */
    if (kini_likely(self != NULL && self->arena == arena &&
                    self->cookie == kini_load(arena->guard) && self->locks == 0 &&
                    kini_load(&self->shm->op) == 0))
        return self;
    return kini_enter_slow(arena);
}

/* A child of vfork runs on our memory and our thread pointer, unseen by any guard page. It may only
 * exec; where a call is about to do something that takes time it is told so: -ECHILD. */
int kini_refuse_vfork(const struct kini_self *self);
int kini_enter_error(void);
/* The calling thread in an arena that it has used already, or NULL. Async-signal-safe. */
struct kini_self *kini_self_find(const struct kin_arena *arena);
/* Free the record and the caches of a thread that ends, or all of the process at detach. */
void kini_self_release(struct kini_self *self);
void kini_self_forget(struct kini_self *self); /* free private memory only */
void kini_self_forget_classes(struct kini_self *self);
/* In the child of a fork: none of the parent's threads is here. */
void kini_threads_after_fork(struct kin_arena *arena);

/* A thread record for what waits in poll, in no thread of ours: entered in arena->pollers, and
 * freed by close. After a fork in the child, and after a detach, self->arena is NULL. */
int kini_poller_open(struct kin_arena *arena, struct kini_self *self);
void kini_poller_close(struct kini_self *self);
void kini_pollers_forget(struct kin_arena *arena);

/* --- participant.c: slots ------------------------------------------------------------------- */

/* Reserve a slot for a process that does not exist yet; *ret_token holds its byte. */
int kini_participant_reserve(struct kin_arena *arena, uint32_t *ret_slot, int *ret_token);
/* Become the participant of a reserved slot. */
void kini_participant_adopt(struct kin_arena *arena, uint32_t slot, int token);
enum kini_os_life kini_participant_life(struct kin_arena *arena, uint32_t slot, bool quick);
/* A pidfd of who is in the slot. -ESRCH: it is dead; another error: cannot be told. */
int kini_participant_open(struct kin_arena *arena, uint32_t slot);

/* --- create.c ------------------------------------------------------------------------------- */

/* Give back what this process holds in the arena, without unmapping it. */
void kini_arena_leave(struct kin_arena *arena);

/* --- table.c: memory behind the tables ------------------------------------------------------ */

/* Whether fd is still the arena's memory: a program may have closed it behind our back (closefrom),
 * and the number be that of another file by now. */
bool kini_arena_has(const struct kin_arena *arena, int fd);
int kini_arena_commit(struct kin_arena *arena, uint64_t offset, uint64_t bytes);
/* Make [0, bytes) of a table usable. *committed only grows. */
int kini_table_commit(struct kin_arena *arena, uint64_t table_off, kini_a64 *committed,
                      uint64_t bytes, uint64_t limit);
void kini_raise32(kini_a32 *high, uint32_t value);

/* --- fork.c --------------------------------------------------------------------------------- */

/* What the thread that forks wants of the handlers, and what they tell it. */
struct kini_fork_call {
    struct kin_arena *arena; /* the arena whose child this is; NULL: not a fork of ours */
    bool keep_watch;         /* the child needs the watch end of the life line */
    uint32_t slot;           /* out: the child's slot, and its generation */
    uint32_t generation;
    int error; /* out: why there is none */
};
extern __thread struct kini_fork_call kini_fork_call;
/* Between begin and end no other thread of this process forks with handlers. */
int kini_fork_begin(void);
void kini_fork_end(void);
void kini_fork_add(struct kin_arena *arena);     /* between them */
int kini_fork_register(struct kin_arena *arena); /* all three */
void kini_fork_unregister(struct kin_arena *arena);
/* In a child that no handler saw: become a participant of our own. */
int kini_rejoin(struct kin_arena *arena);
uint64_t kini_new_cookie(void);

/* --- reaper.c ------------------------------------------------------------------------------- */

/* Repair all that slot left behind, if the kernel says that it is dead. 1 reaped, 0 alive or
 * somebody else is at it, -EAGAIN not yet possible: try again later. */
int kini_reap(struct kin_arena *arena, uint32_t slot);
/* The steps alone, on a slot that cannot act any more. For the reaper, detach and the harness. */
int kini_reap_steps(struct kini_self *self, uint32_t slot);
/* Look at everybody once. Returns how many were reaped. */
int kini_reap_all(struct kin_arena *arena, bool quick);

/* --- object.c ------------------------------------------------------------------------------- */

struct kini_new_object {
    uint32_t type;
    const char *name; /* NULL: none */
    uint64_t offset;  /* of its block, PRIVATE to us and complete; the object's from here on */
    /* Give the object's further blocks to it, and write the tag where it belongs. Nobody sees the
     * object yet. NULL: nothing to do. */
    void (*own)(struct kini_self *self, uint64_t offset, uint32_t tag);
};
int kini_object_create(struct kini_self *self, const struct kini_new_object *new, uint32_t *ret_id,
                       uint32_t *ret_gen);
/* Take hold of the object of that type and name: 1; or create it: 0. offset 0: only find it.
 * -ENOENT; -EPROTOTYPE: *ret_id is of another type; -EBUSY. */
int kini_object_open(struct kini_self *self, const struct kini_new_object *new, uint32_t *ret_id,
                     uint32_t *ret_gen);
/* Nobody finds it by its name any more. We hold it. */
void kini_object_unname(struct kini_self *self, uint32_t id);
/* Take hold of the object of that tag; what was kept until somebody does is now kept by nobody but
 * its holders. name: for messages. -ENOENT: it is gone; -EBUSY. */
int kini_object_hold(struct kini_self *self, uint32_t tag, const char *name);
/* It is there, and not going, or that is not decided yet. */
bool kini_object_lives(struct kin_arena *arena, uint32_t tag);
/* Take hold of the object handed over at that position: 1. -ENOENT, -EPROTOTYPE, -ESTALE. */
/* The position at which kini_object_inherited finds an object of that tag, once. */
int64_t kini_object_receive(struct kin_arena *arena, uint32_t tag);
int kini_object_inherited(struct kini_self *self, uint32_t type, uint32_t position,
                          uint32_t *ret_id, uint32_t *ret_gen);
/* One handle less in this process. True: it was the last, so drop the object. Under the mutex. */
bool kini_object_let_go(struct kin_arena *arena, uint32_t id);
/* From now on the object is there for as long as its keeper is. At most two keepers, and at most
 * two that one keeps; by the creator of all of them, who holds the object itself until then. */
void kini_object_keep(struct kini_self *self, uint32_t tag, uint32_t keeper_tag);
bool kini_object_is_kept_by(struct kini_self *self, uint32_t tag, uint32_t keeper_tag);
/* Give this participant's hold back; the last one destroys. */
void kini_object_drop(struct kini_self *self, uint32_t id);
void kini_objects_drop_all(struct kini_self *self, uint32_t slot);
void kini_objects_finish_dying(struct kini_self *self, uint32_t slot);
/* Whether a participant holds the object, and it is there. */
bool kini_object_is_held(struct kin_arena *arena, uint32_t slot, uint32_t tag);
void kini_bitmap_prune(struct kin_arena *arena, uint32_t slot);
/* Exactly these, for a process that does not exist yet. */
void kini_bitmap_fill(struct kin_arena *arena, uint32_t slot, const uint32_t *tags, uint32_t count);
/* One more, for a slot that is reserved. */
void kini_bitmap_add(struct kin_arena *arena, uint32_t slot, uint32_t tag);
void kini_bitmap_copy(struct kin_arena *arena, uint32_t from, uint32_t to);
static inline uint32_t kini_object_tag(uint32_t id, uint32_t gen)
{
    return id | gen << 16;
}

/* --- what the layers above provide to the reaper (src/types.c) ------------------------------- */

typedef void (*kini_repair_fn)(struct kini_self *self, struct kini_ilock_shm *lock);
extern const kini_repair_fn kini_repairs[KINI_ILOCK_KINDS];

struct kini_type_ops {
    /* Free what belongs to the object, save the block at offset itself. May be called again after a
     * destroyer died in the middle. */
    void (*destroy)(struct kini_self *self, uint64_t offset);
    /* A holder of the object died, or leaves if slot is our own. NULL: nothing to do. */
    void (*holder_died)(struct kini_self *self, uint64_t offset, uint32_t slot);
    /* A message that a holder had taken comes back, if its header still says word. NULL: there is
     * no such thing. */
    void (*give_back)(struct kini_self *self, uint64_t offset, uint64_t block, uint64_t word);
    /* For a wait for any of several (enum kin_wait_kind); NULL: cannot be waited for. */
    struct kini_waitq_shm *(*waitq)(void *shm, uint32_t kind);
    int (*ready)(struct kini_self *self, void *shm, uint32_t kind); /* 1 or 0 */
};
extern const struct kini_type_ops kini_types[KINI_OBJECT_TYPES];

/* Resolve the operation that a dead thread's record announces: 0 done, -EAGAIN a live thread is in
 * the way. */
int kini_operation_repair(struct kini_self *self, struct kini_thread_shm *dead);
/* Give back what a participant's threads had acquired: after its operations are resolved. */
void kini_holds_return(struct kini_self *self, uint32_t slot);
/* A thread ends: what only it could release is released. True if its process holds more. */
bool kini_thread_leaves(struct kini_self *self);
/* Whether the cell of a queued block still carries it. */
bool kini_ring_carries(struct kin_arena *arena, uint32_t unit, uint64_t position);
/* Take a dead thread out of the queue it waits in, and pass on a wake it had been given. */
void kini_wait_repair(struct kini_self *self, struct kini_thread_shm *dead);
/* Whoever watches by descriptors is told of a new participant. Async-signal-safe. */
void kini_bed_tell(struct kin_arena *arena);
/* Close the descriptors of a thread's bed that must not outlive it or be a child's. */
void kini_bed_close_fds(struct kini_self *self);
void kini_bed_free(struct kini_self *self);

#endif
