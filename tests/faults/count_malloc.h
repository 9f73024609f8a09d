/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts what any thread of this program allocates, by taking malloc's place in front of glibc's.
 * Not with sanitizers, which take that place themselves.
 */
#ifndef RR_TESTS_COUNT_MALLOC_H
#define RR_TESTS_COUNT_MALLOC_H

#include <stdint.h>

/* Calls of malloc, calloc, realloc and the aligned ones so far. */
uint64_t count_malloc_calls(void);

#endif
