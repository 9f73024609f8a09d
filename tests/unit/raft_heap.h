/* SPDX-License-Identifier: Apache-2.0
 *
 * The C library's heap as an allocator for the core's unit tests; it counts its calls.
 */
#ifndef RR_TESTS_RAFT_HEAP_H
#define RR_TESTS_RAFT_HEAP_H

#include <ringraft/raft.h>

#include <stdlib.h>

struct raft_heap {
    uint64_t calls;       /* of alloc and resize */
    uint64_t outstanding; /* bytes */
};

static inline void *raft_heap_alloc(void *ctx, size_t size)
{
    struct raft_heap *heap = ctx;
    heap->calls++;
    heap->outstanding += size;
    return malloc(size);
}

static inline void *raft_heap_resize(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    struct raft_heap *heap = ctx;
    heap->calls++;
    heap->outstanding += new_size - old_size;
    return realloc(ptr, new_size);
}

static inline void raft_heap_free(void *ctx, void *ptr, size_t size)
{
    struct raft_heap *heap = ctx;
    heap->outstanding -= size;
    free(ptr);
}

static inline struct rr_allocator raft_heap_allocator(struct raft_heap *heap)
{
    return (struct rr_allocator){raft_heap_alloc, raft_heap_resize, raft_heap_free, heap};
}

#endif
