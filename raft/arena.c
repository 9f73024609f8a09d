/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/arena.h"

#define ARENA_CHUNK_MIN ((size_t)4096)

_Static_assert(sizeof(struct arena_chunk) % 8 == 0, "pieces are 8-byte aligned");

static void add_chunk(struct arena *arena, size_t size)
{
    struct arena_chunk *chunk = memory_alloc(arena->allocator, size);
    *chunk = (struct arena_chunk){.previous = arena->chunk, .size = size};
    arena->chunk = chunk;
    arena->at = (uint8_t *)(chunk + 1);
    arena->end = (uint8_t *)chunk + size;
}

RR_COLD void *arena_alloc_chunk(struct arena *arena, size_t size)
{
    size_t wanted = arena->chunk ? arena->chunk->size * 2 : ARENA_CHUNK_MIN;
    add_chunk(arena, rr_max_u64(wanted, size + sizeof(struct arena_chunk)));
    void *piece = arena->at;
    arena->at += size;
    RR_ASSERT(arena->at <= arena->end);
    return piece;
}

/* Frees all chunks; returns the sum of their sizes. */
static size_t free_chunks(struct arena *arena)
{
    size_t sum = 0;
    while (arena->chunk) {
        struct arena_chunk *chunk = arena->chunk;
        arena->chunk = chunk->previous;
        sum += chunk->size;
        memory_free(arena->allocator, chunk, chunk->size);
    }
    arena->at = NULL;
    arena->end = NULL;
    return sum;
}

void arena_merge(struct arena *arena)
{
    add_chunk(arena, free_chunks(arena));
}

void arena_fini(struct arena *arena)
{
    free_chunks(arena);
}
