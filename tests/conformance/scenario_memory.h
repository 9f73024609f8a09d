/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of one scenario: everything that a scenario allocates lives until its end, so copies of
 * messages, payloads and snapshots may point at each other freely. Running out of memory ends the
 * program: a test runner has nothing better to do.
 */
#ifndef RR_CONFORMANCE_SCENARIO_MEMORY_H
#define RR_CONFORMANCE_SCENARIO_MEMORY_H

#include "raft/describe_text.h"

#include <stddef.h>

struct memory_block;

struct scenario_memory {
    struct memory_block *blocks; /* the newest, in which `used` counts */
    size_t used;
};

/* 16-byte aligned, zeroed. */
void *scenario_alloc(struct scenario_memory *memory, size_t size);
/* Room for `count` elements of `size` bytes, never NULL, also for none. */
void *scenario_array(struct scenario_memory *memory, size_t count, size_t size);
/* A copy of the bytes with a NUL behind it. */
char *scenario_copy(struct scenario_memory *memory, const void *bytes, size_t size);
void scenario_memory_free(struct scenario_memory *memory);

/* A sink that grows on the heap; it starts as (struct rr_text){.grow = heap_text_grow}. */
bool heap_text_grow(struct rr_text *text, size_t cap);
void heap_text_free(struct rr_text *text);

#endif
