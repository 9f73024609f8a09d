/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that log bytes live in: aligned, reference-counted blocks (struct rr_block) from a pool,
 * each with a table of the CRCs of the runs in it. Many small writes lie one after another in one
 * block. Loop thread only.
 *
 * A block comes with one reference for its taker; entries, sends and apply batches add theirs. When
 * the last is put, a block of the usual size goes back to the pool, an oversized one (a single
 * large entry) is freed. The pool grows when none is idle: what bounds it are the bounds of those
 * who keep references.
 */
#ifndef RR_IO_LOG_BLOCK_H
#define RR_IO_LOG_BLOCK_H

#include "proto/base.h"

#include <ringraft/types.h>

struct log_block_pool;

#define LOG_BLOCK_ALIGN    4096u
#define LOG_BLOCK_RUNS_MAX 512u /* a run beyond that is simply not known */

struct log_block_run {
    uint32_t offset;
    uint32_t size;
    uint32_t crc;
};

struct log_block {
    struct rr_block base;
    struct log_block_pool *pool;
    struct log_block *next; /* while idle */
    uint32_t used; /* bytes handed out; <= base.cap; written by the owner of the block's filling */
    uint32_t run_count;
    struct log_block_run runs[LOG_BLOCK_RUNS_MAX]; /* ascending, disjoint */
};

/* `idle_count` blocks are made at once. NULL: no memory. */
struct log_block_pool *log_block_pool_new(uint32_t block_bytes, uint32_t idle_count);
/* Blocks still referenced live on; the last one put takes the pool with it. */
void log_block_pool_free(struct log_block_pool *pool);
uint32_t log_block_pool_block_bytes(const struct log_block_pool *pool);
/* Blocks of the usual size that exist, idle or not. */
uint32_t log_block_pool_count(const struct log_block_pool *pool);

/* Bytes of those that are referenced, and of larger ones. */
uint64_t log_block_pool_referenced_bytes(const struct log_block_pool *pool);

/* An empty block with room for at least `size` bytes and one reference; NULL: no memory. */
struct log_block *log_block_take(struct log_block_pool *pool, uint32_t size);
static inline void log_block_put(struct log_block *block)
{
    rr_block_put(&block->base, 1);
}

/* [offset, offset + size) is a run with this CRC32C. Runs are added in ascending order. */
void log_block_add_run(struct log_block *block, uint32_t offset, uint32_t size, uint32_t crc);
/* True and the CRC if exactly that range was added. Any rr_block may be asked about. */
bool log_block_find_run(const struct rr_block *block, const uint8_t *bytes, uint32_t size,
                        uint32_t *crc);

#endif
