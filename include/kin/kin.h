/* SPDX-License-Identifier: MIT
 * kin: multi-process programming for C. This header includes all the others. */
#ifndef KIN_KIN_H
#define KIN_KIN_H

#include <kin/arena.h>
#include <kin/array.h>
#include <kin/error.h>
#include <kin/export.h>
#include <kin/offer.h>
#include <kin/pipe.h>
#include <kin/pool.h>
#include <kin/process.h>
#include <kin/queue.h>
#include <kin/sync.h>
#include <kin/time.h>
#include <kin/value.h>

#endif
