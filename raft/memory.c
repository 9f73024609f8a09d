/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/memory.h"

struct memory_block {
    struct rr_block block;
    struct rr_allocator allocator; /* a copy: the block may outlive the node */
    size_t size;                   /* of the whole allocation */
};

static void free_block(struct rr_block *block)
{
    struct memory_block *own = RR_CONTAINER_OF(block, struct memory_block, block);
    struct rr_allocator allocator = own->allocator;
    memory_free(&allocator, own, own->size);
}

struct rr_block *memory_block_new(const struct rr_allocator *allocator, size_t size)
{
    RR_ASSERT(size <= UINT32_MAX);
    struct memory_block *own = memory_alloc(allocator, sizeof(*own) + size);
    own->block = (struct rr_block){
        .refs = 1, .cap = (uint32_t)size, .bytes = (uint8_t *)(own + 1), .free = free_block};
    own->allocator = *allocator;
    own->size = sizeof(*own) + size;
    return &own->block;
}

void *memory_grow(const struct rr_allocator *allocator, void *items, uint32_t *cap,
                  size_t item_size, uint32_t need)
{
    uint32_t old = *cap;
    uint32_t wanted = old ? old : 8;
    while (wanted < need) {
        RR_ASSERT(wanted <= UINT32_MAX / 2);
        wanted *= 2;
    }
    if (wanted == old)
        return items;
    *cap = wanted;
    if (!items)
        return memory_alloc(allocator, wanted * item_size);
    return memory_resize(allocator, items, old * item_size, wanted * item_size);
}
