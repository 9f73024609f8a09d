/* SPDX-License-Identifier: Apache-2.0
 *
 * See wal_index.h. An item takes 12 bytes: positions count from the segment's first item of the
 * group, offsets in blocks. A busy group has an item per stride; one that writes little among
 * others only every 16 strides, so that thousands of groups in one segment cost no more memory than
 * the entries they wrote.
 */
#include "io/wal_index.h"

#include "io/wal_format.h"

#include <stdlib.h>

#define STRIDE_MAX        (64u * 1024)
#define STRIDES_PER_SMALL 16u   /* between items of a group that wrote little, … */
#define SMALL_BYTES       4096u /* … less than this */
#define ITEMS_PER_CHUNK   20u
#define CHUNKS_PER_SLAB   255u

struct wal_index_item {
    uint32_t index;      /* of the section's first entry, less base_index */
    uint32_t seq;        /* of its write, less base_seq */
    uint32_t block : 31; /* of its write in the segment, in WAL_BLOCK_MIN */
    uint32_t cuts : 1;
};
_Static_assert(sizeof(struct wal_index_item) == 12, "the index is to be small");

struct wal_index_chunk {
    struct wal_index_chunk *next;
    uint32_t count; /* > 0 while it is in an index */
    struct wal_index_item items[ITEMS_PER_CHUNK];
};

struct wal_index_slab {
    struct wal_index_slab *next;
    struct wal_index_chunk chunks[CHUNKS_PER_SLAB];
};

/* ---- memory -------------------------------------------------------------------------- */

void wal_index_pool_init(struct wal_index_pool *pool, uint64_t segment_bytes)
{
    *pool = (struct wal_index_pool){.stride = rr_min_u64(STRIDE_MAX, segment_bytes / 8)};
}

void wal_index_pool_fini(struct wal_index_pool *pool)
{
    while (pool->slabs) {
        struct wal_index_slab *slab = pool->slabs;
        pool->slabs = slab->next;
        free(slab);
    }
}

static void put_chunk(struct wal_index_pool *pool, struct wal_index_chunk *chunk)
{
    chunk->next = pool->idle;
    pool->idle = chunk;
    pool->idle_count++;
}

static RR_COLD int add_slab(struct wal_index_pool *pool)
{
    struct wal_index_slab *slab = malloc(sizeof(*slab));
    if (!slab)
        return RR_E_NO_MEMORY;
    slab->next = pool->slabs;
    pool->slabs = slab;
    for (uint32_t i = 0; i < CHUNKS_PER_SLAB; i++)
        put_chunk(pool, &slab->chunks[i]);
    return 0;
}

int wal_index_promise(struct wal_index_pool *pool, uint32_t count)
{
    while (RR_UNLIKELY(pool->idle_count < count))
        if (add_slab(pool) != 0)
            return RR_E_NO_MEMORY;
    return 0;
}

void wal_index_clear(struct wal_index_pool *pool, struct wal_index *index)
{
    while (index->oldest) {
        struct wal_index_chunk *chunk = index->oldest;
        index->oldest = chunk->next;
        put_chunk(pool, chunk);
    }
    *index = (struct wal_index){.newest = NULL};
}

/* ---- items --------------------------------------------------------------------------- */

static bool is_due(const struct wal_index_pool *pool, const struct wal_index *index,
                   uint64_t offset)
{
    uint64_t distance = offset - index->newest_offset;
    return distance >= pool->stride &&
           (index->bytes >= SMALL_BYTES || distance >= (uint64_t)STRIDES_PER_SMALL * pool->stride);
}

static void add_item(struct wal_index_pool *pool, struct wal_index *index,
                     const struct wal_index_place *place, bool cuts)
{
    struct wal_index_chunk *chunk = index->newest;
    if (!chunk) {
        index->base_index = place->first_index;
        index->base_seq = place->seq;
    }
    if (!chunk || chunk->count == ITEMS_PER_CHUNK) {
        struct wal_index_chunk *fresh = pool->idle;
        RR_ASSERT(fresh && pool->idle_count > 0);
        pool->idle = fresh->next;
        pool->idle_count--;
        fresh->next = NULL;
        fresh->count = 0;
        if (chunk)
            chunk->next = fresh;
        else
            index->oldest = fresh;
        index->newest = chunk = fresh;
    }
    RR_ASSERT(place->first_index >= index->base_index && place->seq >= index->base_seq);
    RR_ASSERT(place->first_index - index->base_index <= UINT32_MAX);
    RR_ASSERT(place->offset % WAL_BLOCK_MIN == 0);
    chunk->items[chunk->count++] =
        (struct wal_index_item){.index = (uint32_t)(place->first_index - index->base_index),
                                .seq = (uint32_t)(place->seq - index->base_seq),
                                .block = (uint32_t)(place->offset / WAL_BLOCK_MIN) & INT32_MAX,
                                .cuts = cuts};
    index->newest_offset = place->offset;
    index->bytes = 0;
}

void wal_index_add(struct wal_index_pool *pool, struct wal_index *index,
                   const struct wal_index_place *place, uint64_t bytes, bool cuts)
{
    if (RR_UNLIKELY(cuts || !index->newest || is_due(pool, index, place->offset)))
        add_item(pool, index, place, cuts);
    index->bytes += bytes;
}

void wal_index_truncate(struct wal_index_pool *pool, struct wal_index *index, uint64_t last_index)
{
    struct wal_index_chunk *keep = NULL;
    for (struct wal_index_chunk *chunk = index->oldest; chunk; chunk = chunk->next) {
        if (index->base_index + chunk->items[0].index > last_index)
            break;
        keep = chunk;
        while (index->base_index + keep->items[keep->count - 1].index > last_index)
            keep->count--;
    }
    if (!keep) {
        wal_index_clear(pool, index);
        return;
    }
    while (keep->next) {
        struct wal_index_chunk *dead = keep->next;
        keep->next = dead->next;
        put_chunk(pool, dead);
    }
    index->newest = keep;
    index->newest_offset = (uint64_t)keep->items[keep->count - 1].block * WAL_BLOCK_MIN;
    index->bytes = 0;
}

/* ---- looking up ---------------------------------------------------------------------- */

static struct wal_index_place place_of(const struct wal_index *index,
                                       const struct wal_index_item *item)
{
    return (struct wal_index_place){.first_index = index->base_index + item->index,
                                    .seq = index->base_seq + item->seq,
                                    .offset = (uint64_t)item->block * WAL_BLOCK_MIN};
}

struct wal_index_place wal_index_find(const struct wal_index *index, uint64_t entry,
                                      uint64_t *last_index)
{
    RR_ASSERT(index->oldest && index->base_index <= entry); /* the holder says that it lies here */
    const struct wal_index_item *found = &index->oldest->items[0];
    *last_index = UINT64_MAX;
    for (const struct wal_index_chunk *chunk = index->oldest; chunk; chunk = chunk->next) {
        for (uint32_t i = 0; i < chunk->count; i++) {
            const struct wal_index_item *item = &chunk->items[i];
            if (index->base_index + item->index <= entry) {
                found = item;
            } else if (item->cuts) {
                *last_index = index->base_index + item->index - 1;
                return place_of(index, found);
            }
        }
    }
    return place_of(index, found);
}

void wal_index_check(const struct wal_index *index)
{
    struct wal_index_item previous = {.index = 0};
    bool is_first = true;
    for (const struct wal_index_chunk *chunk = index->oldest; chunk; chunk = chunk->next) {
        RR_ASSERT(chunk->count > 0 && chunk->count <= ITEMS_PER_CHUNK);
        RR_ASSERT((chunk->next == NULL) == (chunk == index->newest));
        for (uint32_t i = 0; i < chunk->count; i++) {
            RR_ASSERT(is_first || chunk->items[i].index > previous.index);
            RR_ASSERT(chunk->items[i].seq >= previous.seq);
            RR_ASSERT(chunk->items[i].block >= previous.block);
            previous = chunk->items[i];
            is_first = false;
        }
    }
    RR_ASSERT((index->newest == NULL) == is_first);
}
