/* SPDX-License-Identifier: Apache-2.0
 *
 * Idle blocks lie on a stack, so that the one that is warm in the cache goes out next.
 */
#include "io/block_pool.h"

#include <stdlib.h>

struct pooled_block {
    struct rr_block block;
    struct block_pool *pool;
    struct pooled_block *next; /* while idle */
};

struct block_pool {
    struct pooled_block *idle;
    uint32_t idle_count; /* <= idle_max */
    uint32_t idle_max;
    uint32_t lent;
    uint32_t cap;
    bool is_closed; /* idle is empty, and the last block takes the pool along */
};

struct block_pool *block_pool_new(uint32_t cap, uint32_t idle_max)
{
    RR_ASSERT(cap > 0);
    struct block_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return NULL;
    pool->cap = cap;
    pool->idle_max = idle_max;
    return pool;
}

static void free_block(struct pooled_block *pooled)
{
    free(pooled->block.bytes);
    free(pooled);
}

static void free_pool_if_unused(struct block_pool *pool)
{
    if (pool->is_closed && pool->lent == 0)
        free(pool);
}

void block_pool_close(struct block_pool *pool)
{
    if (!pool)
        return;
    RR_ASSERT(!pool->is_closed);
    while (pool->idle) {
        struct pooled_block *pooled = pool->idle;
        pool->idle = pooled->next;
        free_block(pooled);
    }
    pool->idle_count = 0;
    pool->is_closed = true;
    free_pool_if_unused(pool);
}

static void take_back(struct rr_block *block)
{
    struct pooled_block *pooled = RR_CONTAINER_OF(block, struct pooled_block, block);
    struct block_pool *pool = pooled->pool;
    RR_ASSERT(block->refs == 0 && pool->lent > 0);
    pool->lent--;
    if (pool->is_closed || pool->idle_count == pool->idle_max) {
        free_block(pooled);
        free_pool_if_unused(pool);
        return;
    }
    pooled->next = pool->idle;
    pool->idle = pooled;
    pool->idle_count++;
}

RR_COLD static struct pooled_block *new_block(struct block_pool *pool)
{
    struct pooled_block *pooled = malloc(sizeof(*pooled));
    if (!pooled)
        return NULL;
    uint8_t *bytes = malloc(pool->cap);
    if (!bytes) {
        free(pooled);
        return NULL;
    }
    pooled->block = (struct rr_block){.cap = pool->cap, .bytes = bytes, .free = take_back};
    pooled->pool = pool;
    return pooled;
}

struct rr_block *block_pool_acquire(struct block_pool *pool)
{
    RR_ASSERT(!pool->is_closed);
    struct pooled_block *pooled = pool->idle;
    if (RR_LIKELY(pooled)) {
        pool->idle = pooled->next;
        pool->idle_count--;
    } else {
        pooled = new_block(pool);
        if (!pooled)
            return NULL;
    }
    RR_ASSERT(pooled->block.refs == 0);
    pooled->block.refs = 1;
    pool->lent++;
    return &pooled->block;
}

uint32_t block_pool_cap(const struct block_pool *pool)
{
    return pool->cap;
}

uint32_t block_pool_lent(const struct block_pool *pool)
{
    return pool->lent;
}
