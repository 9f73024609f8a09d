/* SPDX-License-Identifier: Apache-2.0
 *
 * See log_block.h. Hot: take and put are list operations; memory is asked for only when no block is
 * idle.
 */
#include "io/log_block.h"

#include <stdlib.h>

struct log_block_pool {
    struct log_block *idle; /* most recently used first: its memory is the warmest */
    uint32_t block_bytes;
    uint32_t count;            /* blocks of block_bytes, idle or referenced */
    uint32_t referenced;       /* blocks of any size that are referenced … */
    uint64_t referenced_bytes; /* … and their size */
    bool closing;
};

static void block_destroy(struct log_block *block)
{
    free(block->base.bytes);
    free(block);
}

/* The last reference was put. */
static void block_release(struct rr_block *base)
{
    struct log_block *block = RR_CONTAINER_OF(base, struct log_block, base);
    struct log_block_pool *pool = block->pool;
    RR_ASSERT(base->refs == 0);
    RR_ASSERT(pool->referenced > 0);
    pool->referenced--;
    pool->referenced_bytes -= base->cap;
    if (RR_LIKELY(!pool->closing && base->cap == pool->block_bytes)) {
        block->next = pool->idle;
        pool->idle = block;
        return;
    }
    if (base->cap == pool->block_bytes)
        pool->count--;
    block_destroy(block);
    if (pool->closing && pool->referenced == 0)
        free(pool);
}

static RR_COLD struct log_block *block_new(struct log_block_pool *pool, uint32_t size)
{
    struct log_block *block = malloc(sizeof(*block));
    uint8_t *bytes = aligned_alloc(LOG_BLOCK_ALIGN, size);
    if (!block || !bytes) {
        free(block);
        free(bytes);
        return NULL;
    }
    block->base = (struct rr_block){.cap = size, .bytes = bytes, .free = block_release};
    block->pool = pool;
    block->next = NULL;
    return block;
}

struct log_block_pool *log_block_pool_new(uint32_t block_bytes, uint32_t idle_count)
{
    RR_ASSERT(block_bytes > 0 && block_bytes % LOG_BLOCK_ALIGN == 0);
    struct log_block_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return NULL;
    pool->block_bytes = block_bytes;
    for (; pool->count < idle_count; pool->count++) {
        struct log_block *block = block_new(pool, block_bytes);
        if (!block) {
            log_block_pool_free(pool);
            return NULL;
        }
        block->next = pool->idle;
        pool->idle = block;
    }
    return pool;
}

void log_block_pool_free(struct log_block_pool *pool)
{
    RR_ASSERT(!pool->closing);
    while (pool->idle) {
        struct log_block *block = pool->idle;
        pool->idle = block->next;
        pool->count--;
        block_destroy(block);
    }
    pool->closing = true;
    if (pool->referenced == 0)
        free(pool);
}

uint32_t log_block_pool_block_bytes(const struct log_block_pool *pool)
{
    return pool->block_bytes;
}

uint32_t log_block_pool_count(const struct log_block_pool *pool)
{
    return pool->count;
}

uint64_t log_block_pool_referenced_bytes(const struct log_block_pool *pool)
{
    return pool->referenced_bytes;
}

struct log_block *log_block_take(struct log_block_pool *pool, uint32_t size)
{
    RR_ASSERT(!pool->closing);
    struct log_block *block = pool->idle;
    if (RR_UNLIKELY(size > pool->block_bytes)) {
        block = block_new(pool, (uint32_t)rr_align_up(size, LOG_BLOCK_ALIGN));
    } else if (RR_LIKELY(block)) {
        pool->idle = block->next;
    } else {
        block = block_new(pool, pool->block_bytes);
        pool->count += block ? 1 : 0;
    }
    if (RR_UNLIKELY(!block))
        return NULL;
    RR_ASSERT(block->base.refs == 0);
    block->base.refs = 1;
    block->used = 0;
    block->run_count = 0;
    pool->referenced++;
    pool->referenced_bytes += block->base.cap;
    return block;
}

void log_block_add_run(struct log_block *block, uint32_t offset, uint32_t size, uint32_t crc)
{
    RR_ASSERT(size <= block->base.cap && offset <= block->base.cap - size);
    if (RR_UNLIKELY(block->run_count == LOG_BLOCK_RUNS_MAX))
        return;
    if (block->run_count > 0) {
        const struct log_block_run *last = &block->runs[block->run_count - 1];
        RR_ASSERT(offset >= last->offset + last->size);
    }
    block->runs[block->run_count++] =
        (struct log_block_run){.offset = offset, .size = size, .crc = crc};
}

bool log_block_find_run(const struct rr_block *base, const uint8_t *bytes, uint32_t size,
                        uint32_t *crc)
{
    if (!base || base->free != block_release)
        return false;
    const struct log_block *block = RR_CONTAINER_OF(base, const struct log_block, base);
    RR_ASSERT(bytes >= base->bytes && bytes <= base->bytes + base->cap);
    uint32_t offset = (uint32_t)(bytes - base->bytes);
    uint32_t low = 0;
    uint32_t high = block->run_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (block->runs[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == block->run_count || block->runs[low].offset != offset ||
        block->runs[low].size != size)
        return false;
    *crc = block->runs[low].crc;
    return true;
}
