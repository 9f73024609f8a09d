/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the entries of one group lie in one segment, so that old ones can be read back: a sparse
 * table in memory, one item for every so many bytes of the segment. An item names a write and the
 * first entry of a section in it; what follows is found by reading on. Loop thread only (recovery:
 * the opening thread).
 *
 *     index    98        131               131            260
 *     item    ─┴── 64 KiB ┴─── 64 KiB ──╳── ┴ (cuts) ────── ┴ …
 *
 * An item that `cuts` replaces entries that lie before it in the same segment: nobody may read on
 * across it. All others continue what is before them without a gap.
 *
 * Kept by wal_live_account, the function that is told of every section; nothing here can fail,
 * because chunks of items are promised beforehand (wal_index_promise).
 */
#ifndef RR_IO_WAL_INDEX_H
#define RR_IO_WAL_INDEX_H

#include "proto/base.h"

struct wal_index_chunk;

/* A section of entries, as it is accounted. */
struct wal_index_place {
    uint64_t first_index;
    uint64_t offset; /* of its write in the segment */
    uint64_t seq;    /* of its write */
};

/* All zero: empty. */
struct wal_index {
    struct wal_index_chunk *oldest, *newest;
    uint64_t base_index, base_seq; /* items count from these */
    uint64_t newest_offset;        /* where the newest item points to */
    uint64_t bytes;                /* of the group in this segment, since that */
};

struct wal_index_pool {
    struct wal_index_chunk *idle;
    struct wal_index_slab *slabs; /* the memory of all chunks */
    uint32_t idle_count;
    uint64_t stride; /* bytes of a segment between two items */
};

void wal_index_pool_init(struct wal_index_pool *pool, uint64_t segment_bytes);
void wal_index_pool_fini(struct wal_index_pool *pool);
/* Makes sure that `count` sections can be added. RR_E_NO_MEMORY. */
int wal_index_promise(struct wal_index_pool *pool, uint32_t count);

/* A section of `bytes` bytes; places come in the order of the segment. */
void wal_index_add(struct wal_index_pool *pool, struct wal_index *index,
                   const struct wal_index_place *place, uint64_t bytes, bool cuts);
/* Nothing above last_index is left of what was added so far. */
void wal_index_truncate(struct wal_index_pool *pool, struct wal_index *index, uint64_t last_index);
/* Gives everything back; empty afterwards. */
void wal_index_clear(struct wal_index_pool *pool, struct wal_index *index);
/* Where to begin to read for an entry that lies here, and the last entry that may be read from
 * there on (UINT64_MAX: whatever is here). */
struct wal_index_place wal_index_find(const struct wal_index *index, uint64_t entry,
                                      uint64_t *last_index);
void wal_index_check(const struct wal_index *index);

#endif
