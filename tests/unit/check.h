/* SPDX-License-Identifier: Apache-2.0
 *
 * What a unit test needs: CHECK (prints file, line and expression, exits 1), RUN (names the test),
 * SKIP (exits 77).
 */
#ifndef RR_TESTS_CHECK_H
#define RR_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(x)                                                                                   \
    ((x) ? (void)0                                                                                 \
         : (fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #x), exit(1)))

#define CHECK_EQ_U64(a, b)                                                                         \
    check_eq_u64(__FILE__, __LINE__, #a " == " #b, (unsigned long long)(a), (unsigned long long)(b))

static inline void check_eq_u64(const char *file, int line, const char *what, unsigned long long a,
                                unsigned long long b)
{
    if (a == b)
        return;
    fprintf(stderr, "%s:%d: %s failed: %llu, %llu\n", file, line, what, a, b);
    exit(1);
}

#define RUN(test) (fprintf(stderr, "  %s\n", #test), test())
#define SKIP(reason) (printf("skipped: %s\n", reason), exit(77))

#endif
