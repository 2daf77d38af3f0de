/* SPDX-License-Identifier: MIT
 * Thin names over C11 atomics, so that each use states its order in few letters and a model build
 * can wrap them. Everything in shared memory is accessed through these. */
#ifndef KINI_ATOMIC_H
#define KINI_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint8_t kini_a8;
typedef _Atomic uint16_t kini_a16;
typedef _Atomic uint32_t kini_a32;
typedef _Atomic uint64_t kini_a64;

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
               "a lock table in one process cannot guard memory of several");

#define kini_load(p)         atomic_load_explicit((p), memory_order_relaxed)
#define kini_load_acq(p)     atomic_load_explicit((p), memory_order_acquire)
#define kini_load_sc(p)      atomic_load_explicit((p), memory_order_seq_cst)
#define kini_store(p, v)     atomic_store_explicit((p), (v), memory_order_relaxed)
#define kini_store_rel(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define kini_store_sc(p, v)  atomic_store_explicit((p), (v), memory_order_seq_cst)
#define kini_add(p, v)       atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define kini_add_sc(p, v)    atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define kini_sub(p, v)       atomic_fetch_sub_explicit((p), (v), memory_order_relaxed)
#define kini_or(p, v)        atomic_fetch_or_explicit((p), (v), memory_order_relaxed)
#define kini_and(p, v)       atomic_fetch_and_explicit((p), (v), memory_order_relaxed)
#define kini_swap_sc(p, v)   atomic_exchange_explicit((p), (v), memory_order_seq_cst)

/* Compare and swap; *expected receives what was there on failure. */
#define kini_cas(p, expected, desired)                                                             \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_acq_rel,      \
                                            memory_order_acquire)
#define kini_cas_sc(p, expected, desired)                                                          \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_seq_cst,      \
                                            memory_order_acquire)

/* Order for the compiler alone. Enough between an intent and the step it announces: what a reaper
 * sees after a kernel-confirmed death is a prefix of the victim's stores in program order (see
 * docs/crash.rst, "the crash order lemma"). */
#define kini_compiler_barrier() atomic_signal_fence(memory_order_seq_cst)

static inline void kini_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

/* The short way into every call: whatever the inliner thinks of it. */
#define kini_inline      inline __attribute__((always_inline))
#define kini_likely(x)   __builtin_expect(!!(x), 1)
#define kini_unlikely(x) __builtin_expect(!!(x), 0)

#endif
