/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for the core: every byte comes from the config's allocator. A node that was created counts
 * on getting the small arrays it still has to grow; when it does not, it stops rather than lose a
 * message.
 */
#ifndef RR_RAFT_MEMORY_H
#define RR_RAFT_MEMORY_H

#include "proto/base.h"

#include <ringraft/raft.h>

static inline void *memory_alloc(const struct rr_allocator *allocator, size_t size)
{
    void *ptr = allocator->alloc(allocator->ctx, size);
    RR_ASSERT(ptr != NULL);
    return ptr;
}

static inline void *memory_resize(const struct rr_allocator *allocator, void *ptr, size_t old_size,
                                  size_t new_size)
{
    void *grown = allocator->resize(allocator->ctx, ptr, old_size, new_size);
    RR_ASSERT(grown != NULL);
    return grown;
}

/* `ptr` may be NULL. */
static inline void memory_free(const struct rr_allocator *allocator, void *ptr, size_t size)
{
    if (ptr)
        allocator->free(allocator->ctx, ptr, size);
}

/* A block of `size` bytes with one reference, for the few payloads that the core makes itself (conf
 * changes, received snapshots). It may outlive the node, not the allocator. */
struct rr_block *memory_block_new(const struct rr_allocator *allocator, size_t size);

/* Growing the array `items` of `*cap` elements of `item_size` bytes to hold at least `need`. */
void *memory_grow(const struct rr_allocator *allocator, void *items, uint32_t *cap,
                  size_t item_size, uint32_t need);

#endif
