/* SPDX-License-Identifier: MIT
 * Synchronisation: all of it, for processes and threads alike. */
#ifndef KIN_SYNC_H
#define KIN_SYNC_H

#include <kin/barrier.h>
#include <kin/condition.h>
#include <kin/event.h>
#include <kin/lock.h>
#include <kin/once.h>
#include <kin/ready.h>
#include <kin/rwlock.h>
#include <kin/semaphore.h>
#include <kin/wait.h>

#endif
