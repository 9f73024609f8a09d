/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool of equal blocks, reference counted by rr_block. Hot. The transport owns three and receives
 * into and encodes into their blocks; a block that the engine still refers to comes back later,
 * also after the pool was closed. Loop thread only.
 */
#ifndef RR_IO_BLOCK_POOL_H
#define RR_IO_BLOCK_POOL_H

#include "proto/base.h"

#include <ringraft/types.h>

struct block_pool;

/* Blocks of `cap` bytes, of which at most `idle_max` are kept while nobody uses them. NULL: no
 * memory. */
struct block_pool *block_pool_new(uint32_t cap, uint32_t idle_max);
/* Frees the idle blocks, and the pool itself once the last block has come back. */
void block_pool_close(struct block_pool *pool);

/* A block with one reference, its bytes undefined; back by rr_block_put. NULL: no memory. */
struct rr_block *block_pool_acquire(struct block_pool *pool);

uint32_t block_pool_cap(const struct block_pool *pool);
/* Blocks out of the pool now. */
uint32_t block_pool_lent(const struct block_pool *pool);

#endif
