/* SPDX-License-Identifier: MIT
 * boost::interprocess::message_queue for C: the only file here in C++. */
#include <boost/interprocess/ipc/message_queue.hpp>

#include "peers/boost_queue.h"

using boost::interprocess::message_queue;

void *boost_queue_open(const char *name, size_t depth, size_t bytes)
{
    message_queue *queue = nullptr;
    message_queue::remove(name);
    try {
        queue = new message_queue(boost::interprocess::create_only, name, depth, bytes);
    } catch (...) {
    }
    message_queue::remove(name); /* the mapping stays, and forked processes have it too */
    return queue;
}

void boost_queue_close(void *queue)
{
    delete static_cast<message_queue *>(queue);
}

int boost_queue_send(void *queue, const void *data, size_t bytes)
{
    try {
        static_cast<message_queue *>(queue)->send(data, bytes, 0);
    } catch (...) {
        return -1;
    }
    return 0;
}

int boost_queue_receive(void *queue, void *buffer, size_t bytes)
{
    message_queue::size_type received;
    unsigned priority;
    try {
        static_cast<message_queue *>(queue)->receive(buffer, bytes, received, priority);
    } catch (...) {
        return -1;
    }
    return received == bytes ? 0 : -1;
}

int boost_queue_try_receive(void *queue, void *buffer, size_t bytes)
{
    message_queue::size_type received;
    unsigned priority;
    try {
        if (!static_cast<message_queue *>(queue)->try_receive(buffer, bytes, received, priority))
            return 0;
    } catch (...) {
        return -1;
    }
    return received == bytes ? 1 : -1;
}
