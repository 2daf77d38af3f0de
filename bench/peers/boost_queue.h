/* SPDX-License-Identifier: MIT
 * boost::interprocess::message_queue for C. */
#ifndef BENCH_BOOST_QUEUE_H
#define BENCH_BOOST_QUEUE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Creates it in shared memory under the name and removes the name at once. NULL: it failed. */
void *boost_queue_open(const char *name, size_t depth, size_t bytes);
void boost_queue_close(void *queue);
/* 0, or -1 if it threw. */
int boost_queue_send(void *queue, const void *data, size_t bytes);
int boost_queue_receive(void *queue, void *buffer, size_t bytes);
/* 1, 0: there is none, or -1 if it threw. */
int boost_queue_try_receive(void *queue, void *buffer, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
