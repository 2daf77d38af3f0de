/* SPDX-License-Identifier: MIT
 * A sandbox around the calling process, in which membarrier(2) is refused. */
#ifndef KT_REFUSE_H
#define KT_REFUSE_H

#include <stdbool.h>

/* From here on membarrier fails with that error (ENOSYS, EPERM), here and in what is started from
 * here; what was registered before stays registered. For a process of one thread. */
bool kt_refuse_fences(int error);
/* Whether this machine has filters of system calls. */
bool kt_can_refuse_fences(void);

#endif
