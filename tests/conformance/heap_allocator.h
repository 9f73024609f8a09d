/* SPDX-License-Identifier: Apache-2.0
 *
 * The C library's heap as a core's allocator, so that the sanitizers see what the core leaks.
 */
#ifndef RR_CONFORMANCE_HEAP_ALLOCATOR_H
#define RR_CONFORMANCE_HEAP_ALLOCATOR_H

#include <ringraft/raft.h>

#include <stdlib.h>

static inline void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static inline void *heap_resize(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    return realloc(ptr, new_size);
}

static inline void heap_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)size;
    free(ptr);
}

static const struct rr_allocator heap_allocator = {heap_alloc, heap_resize, heap_free, NULL};

#endif
