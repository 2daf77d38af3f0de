/* SPDX-License-Identifier: MIT
 * What a port must provide: everything kin asks the kernel. One folder beside this header is one
 * port. Nothing here knows what it is used for. All functions return 0 or a value on success and a
 * negative errno on failure, touch no locks of the process, and are safe to call in the child right
 * after fork, unless said otherwise. */
#ifndef KINI_OS_H
#define KINI_OS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/atomic.h"
#include <kin/time.h>

struct pollfd;

/* --- memory.c: one growing anonymous memory file, mapped once ------------------------------- */

/* Create the file (close-on-exec, sealed against shrinking). Returns the descriptor. */
int kini_os_memory_create(const char *name);
/* Reserve wanted bytes of address space over the file, halving down to least when the limit says
 * no. Never dumped into a core. */
int kini_os_memory_map(int fd, uint64_t wanted, uint64_t least, void **ret_base,
                       uint64_t *ret_bytes);
void kini_os_memory_unmap(void *base, uint64_t bytes);
/* Put memory behind [offset, offset+bytes), growing the file: -ENOSPC, -ENOMEM, -EFBIG, never a
 * signal later. What is there stays. Idempotent. */
int kini_os_memory_commit(int fd, uint64_t offset, uint64_t bytes);
/* Give the memory behind [at, at+bytes) of the mapping back; it reads as zero afterwards. */
int kini_os_memory_release(void *at, uint64_t bytes);
/* Make sure that the file is at least so long, without memory behind it: what lies within may be
 * touched without SIGBUS. */
int kini_os_memory_extend(int fd, uint64_t bytes);
int kini_os_memory_length(int fd, uint64_t *ret_bytes);
/* 0 when it is a memory file of the calling user that nobody can shrink: -EACCES, -EPROTO. */
int kini_os_memory_check(int fd);
/* Open the file at a path, or create it, readable and writable for its owner only. */
int kini_os_memory_open_path(const char *path, bool create);
/* The first 8 bytes of the file; returns how many of them there are. */
int kini_os_memory_mark(int fd, uint64_t *ret_mark);
/* Throw away what is in the file, and begin it with that mark. -EOPNOTSUPP: the file system cannot
 * give memory back so that it reads as zero. */
int kini_os_memory_begin(int fd, uint64_t mark);
/* Memory behind the file now, in bytes. */
int kini_os_memory_used(int fd, uint64_t *ret_bytes);
/* A page that reads as zero in a child made by any kind of fork. NULL: no memory. */
kini_a64 *kini_os_guard_page(void);
void kini_os_guard_page_free(kini_a64 *page);

/* --- futex.c -------------------------------------------------------------------------------- */

/* Sleep while *word == expected, until woken or the deadline. 0 woken or changed (also without a
 * cause), -ETIMEDOUT, -EINTR. */
int kini_os_futex_wait(kini_a32 *word, uint32_t expected, kin_deadline deadline);
/* Wake up to count sleepers. Returns how many. Async-signal-safe. */
int kini_os_futex_wake(kini_a32 *word, int count);

/* --- fence.c -------------------------------------------------------------------------------- */

/* Take part in the fences of other processes: once in each process. -ENOSYS or -EPERM where the
 * kernel or a sandbox refuses. */
int kini_os_fence_register(void);
/* As if every running thread of every process that takes part had executed a full memory barrier
 * just now: so that they need none beside a store that is followed by a look at another word. */
int kini_os_fence(void);

/* --- bell.c: a descriptor that other processes can make readable ----------------------------- */

/* Make a bell and give it a number that nobody else has. Returns the descriptor. */
int kini_os_bell_create(uint64_t *ret_number);
/* Make it readable. -ECONNREFUSED: there is no such bell here; another error: nothing to reach it
 * with. *sender, 0 at first, is a word of the calling process that keeps what it rings with.
 * Async-signal-safe, does not block, and is no cancellation point. */
int kini_os_bell_ring(uint64_t number, kini_a64 *sender);
void kini_os_bell_sender_close(kini_a64 *sender);
/* Take one ring back: not readable any more, unless it was rung more than once. */
void kini_os_bell_silence(int fd);
/* From now on the set, in which the bell is, is readable in any case; or only for a reason. */
void kini_os_bell_hold(int set, int fd, bool hold);
/* A timer: readable once ns have passed, until it is set again. Returns the descriptor. */
int kini_os_timer_create(void);
void kini_os_timer_set(int fd, int64_t ns);
/* A set of descriptors that is readable while one of them is. Returns the descriptor. */
int kini_os_fdset_create(void);
/* Again does no harm. -EPERM: a descriptor that cannot be waited for, of a file for example. */
int kini_os_fdset_add(int set, int fd);

/* --- filelock.c: byte locks that the kernel drops with their last holder -------------------- */

/* A new open file description of the same file (close-on-exec). Returns the descriptor. */
int kini_os_reopen(int fd);
/* Lock one byte, without waiting: -EAGAIN when another description holds it. */
int kini_os_byte_lock(int fd, uint64_t byte);
int kini_os_byte_unlock(int fd, uint64_t byte);
/* 1 when another description holds a lock on the byte, 0 when not. */
int kini_os_byte_locked(int fd, uint64_t byte);
/* The same for any of count bytes. */
int kini_os_bytes_locked(int fd, uint64_t byte, uint64_t count);

/* --- name.c: names without a file, and memory files without a name -------------------------- */

/* Hold a name (up to 106 bytes). Returns a descriptor (close-on-exec); the name is free again when
 * the last copy of that is closed, by whatever death. -EADDRINUSE: somebody holds it. */
int kini_os_name_hold(const char *name);
/* 1 when somebody holds one of the names prefix0, prefix1 … up to count, 0 when nobody does. */
int kini_os_names_held(const char *prefix, uint32_t count);
/* Names are the same in one network namespace: a number for that of the calling process. */
uint64_t kini_os_network(void);
/* Call visit with a new descriptor of each memory file of that name which some process of the
 * calling user has open, until it does not return 0: then the descriptor is taken, and this the
 * result. 0: none was taken. */
typedef int (*kini_os_visit_fn)(int fd, void *arg);
int kini_os_memory_find(const char *name, kini_os_visit_fn visit, void *arg);

/* --- identity.c: who a process is, and whether it is dead ----------------------------------- */

struct kini_os_identity {
    uint64_t pid_namespace; /* inode of the pid namespace */
    uint64_t start_ticks;   /* when it began, in clock ticks since boot */
    uint64_t pidfd_inode;   /* unique for the process where the kernel has pidfs, else 0 */
    int32_t pid;
};

/* The calling process. Fields that cannot be read are 0. parent_pid: 0, or the pid of the process
 * that forked this one just now, which saves asking for what it has in common with it. */
void kini_os_identity_self(struct kini_os_identity *ret_identity, int32_t parent_pid);

enum kini_os_life { KINI_OS_ALIVE, KINI_OS_DEAD, KINI_OS_UNKNOWN, KINI_OS_CANNOT_ASK };

/* Whether that very process can still execute an instruction, by facts of the kernel alone.
 * quick asks one question (a few hundred ns); otherwise every task's state is read, which tells
 * early, while a large process is still being torn down. UNKNOWN: it is of another pid namespace.
 * CANNOT_ASK: no descriptor left to ask with. */
enum kini_os_life kini_os_identity_life(const struct kini_os_identity *identity, bool quick);
/* A pidfd of that very process. -ESRCH: it is dead; another error: cannot be told. */
int kini_os_identity_open(const struct kini_os_identity *identity);
/* 1 when the process maps the file with that inode, 0 when not, negative when it cannot be read. */
int kini_os_maps_inode(int32_t pid, uint64_t inode);
/* The inode of an open file, 0 when it cannot be told. */
uint64_t kini_os_inode(int fd);
int32_t kini_os_tid(void);

/* --- process.c ------------------------------------------------------------------------------ */

int kini_os_pidfd_open(int32_t pid);
int kini_os_pidfd_signal(int pidfd, int signal);
/* Collect the child. 0 and *ret_status (exit status, or negative signal number) when it has ended,
 * -EAGAIN while it runs, -ECHILD when it is not there to be collected. */
int kini_os_pidfd_collect(int pidfd, int *ret_status);
/* Wait until fd is readable. 0, -ETIMEDOUT or -EINTR. */
int kini_os_wait_readable(int fd, kin_deadline deadline);
/* Until one of them is ready. How many, or 0 at the deadline, -EINTR. No cancellation point. */
int kini_os_poll(struct pollfd *polls, uint32_t count, kin_deadline deadline);
/* How many descriptors the calling process may have. */
uint64_t kini_os_descriptors_most(void);
_Noreturn void kini_os_kill_self(void);
void kini_os_close(int fd);
int kini_os_duplicate(int fd); /* close-on-exec */
void kini_os_close_on_exec(int fd, bool close);
/* How many processors the calling process may use (affinity), at least 1. */
uint32_t kini_os_cpu_count(void);
/* The processor that the calling thread runs on at the moment. Async-signal-safe. */
uint32_t kini_os_cpu(void);
/* The "life line": a pipe that nobody writes to. The parent keeps *ret_keep; children that close
 * their copy of it notice when the last holder is gone. Both ends close-on-exec. */
int kini_os_lifeline_create(int *ret_keep, int *ret_watch);
/* In a child that closed its copy of keep: be killed with SIGKILL by the kernel as soon as the last
 * holder of the other end is gone, at once if it is gone already. Returns the descriptor that has
 * to stay open for that. */
int kini_os_lifeline_bind(int watch);

/* --- channel.c: descriptors from process to process ------------------------------------------ */

/* A pair of sockets, close-on-exec. What is sent into one comes out of the other in its order, each
 * a number and a descriptor. None of these waits: -EAGAIN. */
int kini_os_channel_create(int ret_sockets[2]);
/* -EAGAIN: as many are under way as the socket can hold; -ETOOMANYREFS: as many as RLIMIT_NOFILE
 * allows; -EBADF; -EPIPE, -ECONNRESET: nobody has the other socket any more. */
int kini_os_channel_send(int sock, uint64_t number, int fd);
/* The number of the first message. */
int kini_os_channel_next(int sock, uint64_t *ret_number);
/* A copy of its descriptor, close-on-exec; the message stays. -EMFILE: no free descriptor. */
int kini_os_channel_peek(int sock, uint64_t *ret_number, int *ret_fd);
/* Take the first message and close its descriptor. */
int kini_os_channel_drop(int sock);

#endif
