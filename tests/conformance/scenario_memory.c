/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of one scenario; see scenario_memory.h.
 */
#include "tests/conformance/scenario_memory.h"

#include "proto/base.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_ALIGN = 16, MEMORY_BLOCK = 64 * 1024 };

struct memory_block {
    struct memory_block *older;
    size_t cap;
    _Alignas(MEMORY_ALIGN) unsigned char bytes[];
};

static void *must_have(void *bytes)
{
    if (!bytes) {
        fputs("rr-conformance: out of memory\n", stderr);
        exit(2);
    }
    return bytes;
}

void *scenario_alloc(struct scenario_memory *memory, size_t size)
{
    size = rr_align_up(size ? size : 1, MEMORY_ALIGN);
    if (!memory->blocks || size > memory->blocks->cap - memory->used) {
        size_t cap = size > MEMORY_BLOCK ? size : MEMORY_BLOCK;
        struct memory_block *block = must_have(calloc(1, sizeof(*block) + cap));
        block->older = memory->blocks;
        block->cap = cap;
        memory->blocks = block;
        memory->used = 0;
    }
    void *bytes = memory->blocks->bytes + memory->used;
    memory->used += size;
    return bytes;
}

void *scenario_array(struct scenario_memory *memory, size_t count, size_t size)
{
    RR_ASSERT(size > 0 && count <= SIZE_MAX / 2 / size);
    return scenario_alloc(memory, count * size);
}

char *scenario_copy(struct scenario_memory *memory, const void *bytes, size_t size)
{
    char *copy = scenario_alloc(memory, size + 1);
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

void scenario_memory_free(struct scenario_memory *memory)
{
    while (memory->blocks) {
        struct memory_block *older = memory->blocks->older;
        free(memory->blocks);
        memory->blocks = older;
    }
    memory->used = 0;
}

bool heap_text_grow(struct rr_text *text, size_t cap)
{
    size_t larger = text->cap ? text->cap * 2 : 256;
    if (larger < cap)
        larger = cap;
    text->bytes = must_have(realloc(text->bytes, larger));
    text->cap = larger;
    return true;
}

void heap_text_free(struct rr_text *text)
{
    free(text->bytes);
    *text = (struct rr_text){.grow = text->grow};
}
