/* SPDX-License-Identifier: MIT
 * One face for everything that carries messages from one process to another. A channel goes one
 * way, is opened before the fork, and used by both sides at the address where it was opened. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

struct peer_opts {
    uint64_t depth;           /* messages it should hold; 0: unbounded. Not all can be told */
    size_t bytes;             /* of the largest message */
    int producers, consumers; /* how many share the channel; 0: one */
};

struct peer {
    const char *name;
    /* NULL: this machine does not have it, or not with these options. */
    void *(*open)(const struct peer_opts *opts);
    void (*close)(void *channel);
    /* Blocking: whoever must wait sleeps, unless the peer can only poll. */
    void (*put)(void *channel, const void *data, size_t bytes);
    void (*get)(void *channel, void *buffer, size_t bytes);
    /* The loops around put and get, compiled with them, so that no contestant pays for a call
     * through a pointer. The first word of a message is its number; receive returns their sum. */
    void (*send)(void *channel, uint64_t count, size_t bytes);
    uint64_t (*receive)(void *channel, uint64_t count, size_t bytes);
    /* There and back, both sides polling; NULL: cannot poll. echo sends back what comes. */
    void (*ping)(void *there, void *back, uint64_t count);
    void (*echo)(void *there, void *back, uint64_t count);
};

extern const struct peer peer_kin, peer_kin_small, peer_kin_hundred, peer_kin_pipe, peer_ck,
    peer_boost, peer_mqueue;
extern const struct peer peer_pipe, peer_pipe_large, peer_pipe_polled;
extern const struct peer peer_stream, peer_seqpacket;
/* Messages of any length: each after its length. Who shares a side takes turns with a mutex. */
extern const struct peer peer_pipe_framed, peer_stream_framed;
extern const struct peer peer_zmq, peer_nng, peer_iceoryx;
/* With a get that never sleeps but asks again and again. */
extern const struct peer peer_kin_polled, peer_kin_pipe_polled, peer_boost_polled,
    peer_mqueue_polled;
extern const struct peer peer_pipe_framed_polled, peer_stream_framed_polled;
extern const struct peer peer_seqpacket_polled, peer_iceoryx_polled;
extern const struct peer peer_futex, peer_word;
/* One message at a time, which lies beside what tells of it. */
extern const struct peer peer_kin_event, peer_kin_semaphore;
extern const struct peer peer_kin_condition, peer_kin_condition_own;
extern const struct peer peer_sem, peer_cond;
/* The receiver waits in epoll. */
extern const struct peer peer_epoll_kin, peer_epoll_eventfd, peer_epoll_pipe;

#endif
