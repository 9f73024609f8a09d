/* SPDX-License-Identifier: Apache-2.0
 *
 * The ground under every layer: assertions that stay on in release, container_of, small arithmetic.
 * RR_ASSERT states one belief; a broken one stops the process before anything wrong is
 * acknowledged. RR_ASSERT_SLOW (loops, whole-log checks) is on in debug, sanitizer and simulator
 * builds (RR_SLOW_CHECKS=1).
 */
#ifndef RR_PROTO_BASE_H
#define RR_PROTO_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RR_LIKELY(x)   __builtin_expect(!!(x), 1)
#define RR_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define RR_COLD        __attribute__((cold, noinline))

#ifdef __cplusplus
extern "C" {
#endif

/* Calls this thread's hook, prints one line to stderr and aborts. Defined in assert.c. */
RR_COLD __attribute__((noreturn)) void rr_assert_failed(const char *file, int line,
                                                        const char *expression);

/* Sees a broken assertion of this thread before the process stops; it may leave by longjmp. Returns
 * the hook that was set before; NULL is none. For tests and the simulator. */
typedef void (*rr_assert_hook)(const char *file, int line, const char *expression);
rr_assert_hook rr_assert_set_hook(rr_assert_hook hook);

/* The same with a sentence in which each % stands for one of the values. */
RR_COLD __attribute__((noreturn)) void rr_assert_failed_saying(const char *file, int line,
                                                               const char *sentence,
                                                               const uint64_t *values);

#define RR_ASSERT(x) (RR_LIKELY(x) ? (void)0 : rr_assert_failed(__FILE__, __LINE__, #x))
/* Where a caller or a peer can break the belief, and whoever finds the line needs to know by what:
 * RR_ASSERT_SAYS(index <= last, "index % lies beyond the last one, %", index, last). */
#define RR_ASSERT_SAYS(x, sentence, ...)                                                           \
    (RR_LIKELY(x)                                                                                  \
         ? (void)0                                                                                 \
         : rr_assert_failed_saying(__FILE__, __LINE__, sentence, (const uint64_t[]){__VA_ARGS__}))
#if defined(RR_SLOW_CHECKS) && RR_SLOW_CHECKS
#define RR_ASSERT_SLOW(x) RR_ASSERT(x)
#else
#define RR_ASSERT_SLOW(x) ((void)sizeof(x))
#endif

#define RR_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define RR_ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))

static inline uint64_t rr_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t rr_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* `align` is a power of two. */
static inline uint64_t rr_align_up(uint64_t n, uint64_t align)
{
    return (n + align - 1) & ~(align - 1);
}

struct rr_error;
/* Fills `error` (may be NULL) with the code and a printf-formatted sentence; returns `code`, so
 * that `return rr_fail(error, RR_E_IO, "…")` reads. Cold paths only; not for raft/ (it has no
 * printf). */
RR_COLD int rr_fail(struct rr_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
