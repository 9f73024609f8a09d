/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that is given out piece by piece and taken back all at once. Pieces never move. After a
 * reset there is one chunk as large as everything that was in use, so in steady state nothing is
 * allocated.
 */
#ifndef RR_RAFT_ARENA_H
#define RR_RAFT_ARENA_H

#include "raft/memory.h"

struct arena_chunk {
    struct arena_chunk *previous;
    size_t size; /* with this header */
};

struct arena {
    const struct rr_allocator *allocator;
    struct arena_chunk *chunk; /* the newest; NULL: none yet */
    uint8_t *at;               /* next piece, 8-byte aligned */
    uint8_t *end;
};

/* The slow path of arena_alloc: another chunk. */
RR_COLD void *arena_alloc_chunk(struct arena *arena, size_t size);

/* 8-byte aligned, uninitialised. */
static inline void *arena_alloc(struct arena *arena, size_t size)
{
    size = rr_align_up(size, 8);
    if (RR_UNLIKELY((size_t)(arena->end - arena->at) < size))
        return arena_alloc_chunk(arena, size);
    void *piece = arena->at;
    arena->at += size;
    return piece;
}

/* The slow path of arena_reset: one chunk instead of several. */
RR_COLD void arena_merge(struct arena *arena);

static inline void arena_reset(struct arena *arena)
{
    if (!arena->chunk)
        return;
    if (RR_UNLIKELY(arena->chunk->previous != NULL))
        arena_merge(arena);
    arena->at = (uint8_t *)(arena->chunk + 1);
}

void arena_fini(struct arena *arena);

#endif
