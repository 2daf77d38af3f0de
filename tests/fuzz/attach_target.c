/* SPDX-License-Identifier: MIT
 * attach_fuzz for libFuzzer. */
#include "fuzz/attach_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    attach_fuzz(data, size);
    return 0;
}
