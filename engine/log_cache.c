/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/log_cache.h"

#include "proto/base.h"
#include "proto/codec.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_CAP_FIRST   64u
#define CACHE_BLOCK_BYTES (256u * 1024)
#define EVICT_MIN         64u /* entries */
#define EVICT_MAX         LOG_CACHE_CHUNK

/* A shared block of small writes. While it is being filled the cache holds a reference. */
struct cache_block {
    struct rr_block block;
    struct log_memory *memory;
    struct cache_block *next;
    uint32_t used;
    uint8_t bytes[CACHE_BLOCK_BYTES];
};

void log_memory_trim(struct log_memory *memory)
{
    while (memory->spare_blocks) {
        struct cache_block *block = memory->spare_blocks;
        memory->spare_blocks = block->next;
        memory->shared_bytes -= sizeof(*block);
        free(block);
    }
}

void log_memory_fini(struct log_memory *memory)
{
    RR_ASSERT(memory->block_bytes == 0);
    RR_ASSERT(memory->entry_count == 0 && memory->window_bytes == 0);
    while (memory->spare_chunks) {
        struct rr_entry *chunk = memory->spare_chunks;
        memory->spare_chunks = *(struct rr_entry **)(void *)chunk;
        free(chunk);
    }
    log_memory_trim(memory);
}

int log_cache_init(struct log_cache *log, struct log_memory *memory)
{
    memset(log, 0, sizeof(*log));
    log->first = log->cached = 1;
    log->memory = memory;
    log->chunk_cap = CHUNK_CAP_FIRST;
    log->chunks = calloc(log->chunk_cap, sizeof(*log->chunks));
    return log->chunks ? 0 : RR_E_NO_MEMORY;
}

void log_cache_end_reads(struct log_cache *log)
{
    log_reader_free(log->reader);
    log->reader = NULL;
}

void log_cache_take(struct log_cache *to, struct log_cache *from)
{
    RR_ASSERT(!from->reader);
    *to = *from;
    memset(from, 0, sizeof(*from));
}

/* ---- chunks -------------------------------------------------------------- */

static struct rr_entry **chunk_slot(const struct log_cache *log, uint64_t index)
{
    return &log->chunks[(index / LOG_CACHE_CHUNK) & (log->chunk_cap - 1)];
}

static struct rr_entry *entry_at(const struct log_cache *log, uint64_t index)
{
    return &(*chunk_slot(log, index))[index % LOG_CACHE_CHUNK];
}

static void chunk_put_back(struct log_cache *log, uint64_t index)
{
    struct rr_entry *chunk = *chunk_slot(log, index);
    *chunk_slot(log, index) = NULL;
    *(struct rr_entry **)(void *)chunk = log->memory->spare_chunks;
    log->memory->spare_chunks = chunk;
}

/* A ring twice as large, with every chunk at its new place. */
static RR_COLD int grow_ring(struct log_cache *log)
{
    uint32_t cap = log->chunk_cap * 2;
    struct rr_entry **chunks = calloc(cap, sizeof(*chunks));
    if (!chunks)
        return RR_E_NO_MEMORY;
    uint64_t low = log->cached / LOG_CACHE_CHUNK;
    for (uint64_t i = low; i < low + log->chunk_cap; i++)
        chunks[i & (cap - 1)] = log->chunks[i & (log->chunk_cap - 1)];
    free(log->chunks);
    log->chunks = chunks;
    log->chunk_cap = cap;
    return 0;
}

/* Makes sure that the chunk of `index` exists. */
static int chunk_need(struct log_cache *log, uint64_t index)
{
    while (index / LOG_CACHE_CHUNK - log->cached / LOG_CACHE_CHUNK >= log->chunk_cap)
        if (grow_ring(log) != 0)
            return RR_E_NO_MEMORY;
    struct rr_entry **slot = chunk_slot(log, index);
    if (RR_LIKELY(*slot != NULL))
        return 0;
    if (log->memory->spare_chunks) {
        *slot = log->memory->spare_chunks;
        log->memory->spare_chunks = *(struct rr_entry **)(void *)*slot;
        return 0;
    }
    *slot = malloc(LOG_CACHE_CHUNK * sizeof(struct rr_entry));
    return *slot ? 0 : RR_E_NO_MEMORY;
}

/* ---- blocks ---------------------------------------------------------------- */

/* An entry of the log lies in the block, or does no more: a reference, and the memory is counted
 * once while any of its entries is here. */
static void hold_block(struct log_cache *log, struct rr_block *block)
{
    if (!block)
        return;
    rr_block_get(block, 1);
    if (block->held++ == 0)
        log->memory->block_bytes += block->cap;
}

static void drop_block(struct log_cache *log, struct rr_block *block)
{
    if (!block)
        return;
    RR_ASSERT(block->held > 0 && block->refs > 0);
    if (--block->held == 0)
        log->memory->block_bytes -= block->cap;
    rr_block_put(block, 1);
}

/* ---- the log ------------------------------------------------------------- */

int log_cache_append(struct log_cache *log, const struct rr_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct rr_entry *entry = &entries[i];
        RR_ASSERT(entry->index == log->last + 1);
        if (chunk_need(log, entry->index) != 0)
            return RR_E_NO_MEMORY;
        if (RR_UNLIKELY(log_index_is_news(&log->index, entry)) &&
            log_index_note(&log->index, entry) != 0)
            return RR_E_NO_MEMORY;
        *entry_at(log, entry->index) = *entry;
        hold_block(log, entry->block);
        log->last++;
        log->memory->entry_count++;
    }
    return 0;
}

/* The oldest entries in memory, up to below `to`, leave it. */
static void drop_oldest(struct log_cache *log, uint64_t to)
{
    log->memory->entry_count -= to - log->cached;
    while (log->cached < to) {
        uint64_t index = log->cached;
        drop_block(log, entry_at(log, index)->block);
        log->cached++;
        if (index % LOG_CACHE_CHUNK == LOG_CACHE_CHUNK - 1 || index == log->last)
            chunk_put_back(log, index);
    }
}

void log_cache_truncate(struct log_cache *log, uint64_t index)
{
    RR_ASSERT(index >= log->first);
    while (log->last >= index && log->last >= log->cached) {
        uint64_t last = log->last;
        drop_block(log, entry_at(log, last)->block);
        log->last--;
        log->memory->entry_count--;
        if (last % LOG_CACHE_CHUNK == 0 || last == log->cached)
            chunk_put_back(log, last);
    }
    if (RR_UNLIKELY(log->last >= index)) /* and some that had left memory */
        log->last = index - 1;
    log->cached = rr_min_u64(log->cached, log->last + 1);
    log->durable = rr_min_u64(log->durable, log->last);
    log_index_truncate(&log->index, index);
    if (log->reader)
        log_reader_truncate(log->reader, index);
}

void log_cache_compact(struct log_cache *log, uint64_t first)
{
    RR_ASSERT(first >= log->first && first <= log->last + 1);
    if (first == log->first)
        return;
    uint64_t prev_term = log_cache_term(log, first - 1);
    if (first > log->cached)
        drop_oldest(log, first);
    log->first = first;
    log->prev_term = prev_term;
    log->durable = rr_max_u64(log->durable, first - 1);
    log_index_compact(&log->index, first);
    if (log->reader)
        log_reader_compact(log->reader, first);
}

void log_cache_reset(struct log_cache *log, uint64_t index, uint64_t term)
{
    log_cache_truncate(log, log->first);
    log_index_truncate(&log->index, 0);
    log->first = log->cached = index + 1;
    log->last = log->durable = index;
    log->prev_term = term;
}

void log_cache_note_durable(struct log_cache *log, uint64_t index, uint64_t term)
{
    /* What was replaced since then has another term. */
    if (index > log->durable && index <= log->last && log_cache_term(log, index) == term)
        log->durable = index;
}

bool log_cache_evict_some(struct log_cache *log, uint64_t end)
{
    end = rr_min_u64(end, log->durable + 1);
    bool has_some = log->cached < end;
    if (has_some) {
        uint64_t step = rr_max_u64((end - log->cached) / 8, EVICT_MIN);
        drop_oldest(log, rr_min_u64(log->cached + rr_min_u64(step, EVICT_MAX), end));
    }
    if (log->cached > log->last && log->filling) { /* nothing of it is left */
        rr_block_put(&log->filling->block, 1);
        log->filling = NULL;
    }
    return has_some;
}

const struct rr_entry *log_cache_at(const struct log_cache *log, uint64_t index)
{
    RR_ASSERT(index >= log->cached && index <= log->last);
    return entry_at(log, index);
}

uint64_t log_cache_term(const struct log_cache *log, uint64_t index)
{
    if (index + 1 == log->first)
        return log->prev_term;
    if (index < log->first || index > log->last)
        return 0;
    return RR_LIKELY(index >= log->cached) ? entry_at(log, index)->term
                                           : log_index_term(&log->index, index);
}

void log_cache_fini(struct log_cache *log)
{
    if (!log->chunks)
        return;
    log_cache_reset(log, 0, 0);
    log_cache_end_reads(log);
    log_index_fini(&log->index);
    if (log->filling)
        rr_block_put(&log->filling->block, 1);
    log_snapshot_put(log->snapshot);
    free(log->chunks);
    log->chunks = NULL;
}

/* ---- small writes -------------------------------------------------------- */

static void cache_block_free(struct rr_block *block)
{
    struct cache_block *cached = RR_CONTAINER_OF(block, struct cache_block, block);
    cached->next = cached->memory->spare_blocks;
    cached->memory->spare_blocks = cached;
}

/* A shared block with room for `size` bytes, or NULL: no memory. */
static struct cache_block *cache_block_with_room(struct log_cache *log, uint32_t size)
{
    struct cache_block *block = log->filling;
    if (RR_LIKELY(block && CACHE_BLOCK_BYTES - block->used >= size))
        return block;
    struct cache_block *fresh = log->memory->spare_blocks;
    if (fresh) {
        log->memory->spare_blocks = fresh->next;
    } else {
        fresh = malloc(sizeof(*fresh));
        if (!fresh)
            return NULL;
        log->memory->shared_bytes += sizeof(*fresh);
    }
    fresh->block = (struct rr_block){
        .refs = 1, .cap = CACHE_BLOCK_BYTES, .bytes = fresh->bytes, .free = cache_block_free};
    fresh->memory = log->memory;
    fresh->next = NULL;
    fresh->used = 0;
    log->filling = fresh;
    if (block)
        rr_block_put(&block->block, 1);
    return fresh;
}

static void move_entry(struct log_cache *log, uint64_t index, struct cache_block *to)
{
    struct rr_entry *entry = entry_at(log, index);
    uint32_t size = (uint32_t)rr_entry_wire_size(entry);
    RR_ASSERT(entry->wire_size == size && to->used + size <= CACHE_BLOCK_BYTES);
    memcpy(to->bytes + to->used, rr_entry_wire(entry), size);
    hold_block(log, &to->block);
    drop_block(log, entry->block);
    to->used += size;
    entry->block = &to->block;
    entry->data = to->bytes + to->used - entry->size;
}

void log_cache_move_small(struct log_cache *log, uint64_t first, uint32_t count)
{
    uint64_t from = rr_max_u64(first, log->cached);
    uint64_t end = rr_min_u64(first + count, log->last + 1);
    for (uint64_t index = from; index < end; index++) {
        struct rr_entry *entry = entry_at(log, index);
        if (!entry->block || !entry->wire_size || entry->block->free == cache_block_free)
            continue;
        struct cache_block *to = cache_block_with_room(log, entry->wire_size);
        if (!to)
            return;
        move_entry(log, index, to);
    }
}

/* ---- snapshots -------------------------------------------------------- */

void log_cache_set_snapshot(struct log_cache *log, struct log_snapshot *snapshot)
{
    log_snapshot_put(log->snapshot);
    log->snapshot = snapshot;
}

/* ---- the core's storage -------------------------------------------------- */

static int storage_initial_state(void *ctx, struct rr_hard_state *hard_state,
                                 struct rr_conf_state *conf_state)
{
    const struct log_cache *log = ctx;
    *hard_state = log->initial;
    *conf_state =
        log->initial_conf ? *log->initial_conf : log->snapshot->snapshot.metadata.conf_state;
    return 0;
}

static int storage_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_size,
                           struct rr_entry_spans *out)
{
    const struct log_cache *log = ctx;
    if (lo < log->first)
        return RR_E_COMPACTED;
    RR_ASSERT(lo < hi && hi <= log->last + 1);
    if (RR_UNLIKELY(lo < log->cached)) {
        RR_ASSERT(log->reader);
        log->reader->end = log->cached;
        return log_reader_entries(log->reader, lo, rr_min_u64(hi, log->cached), max_size, out);
    }
    uint64_t chunk_end = (lo / LOG_CACHE_CHUNK + 1) * LOG_CACHE_CHUNK;
    uint64_t budget = max_size;
    size_t whole = (size_t)(rr_min_u64(hi, chunk_end) - lo);
    *out = (struct rr_entry_spans){.first = entry_at(log, lo)};
    out->first_count = log_span_cut(out->first, whole, true, &budget);
    if (out->first_count < whole || hi <= chunk_end)
        return 0;
    whole = (size_t)rr_min_u64(hi - chunk_end, LOG_CACHE_CHUNK);
    out->second = entry_at(log, chunk_end);
    out->second_count = log_span_cut(out->second, whole, false, &budget);
    return 0;
}

static int storage_term(void *ctx, uint64_t index, uint64_t *term)
{
    const struct log_cache *log = ctx;
    if (index + 1 < log->first)
        return RR_E_COMPACTED;
    if (index > log->last)
        return RR_E_UNAVAILABLE;
    *term = log_cache_term(log, index);
    return 0;
}

static int storage_last_index(void *ctx, uint64_t *index)
{
    *index = ((const struct log_cache *)ctx)->last;
    return 0;
}

static int storage_first_index(void *ctx, uint64_t *index)
{
    *index = ((const struct log_cache *)ctx)->first;
    return 0;
}

static int storage_snapshot(void *ctx, const struct rr_snapshot **snapshot)
{
    const struct log_cache *log = ctx;
    bool is_lost = log->snapshot->kind == LOG_SNAPSHOT_FILE && log->snapshot->file.file_bytes == 0;
    if (log->snapshot->kind == LOG_SNAPSHOT_NONE || is_lost)
        return RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE;
    *snapshot = &log->snapshot->snapshot;
    return 0;
}

static int storage_has_conf_change(void *ctx, uint64_t lo, uint64_t hi, bool *found)
{
    *found = log_index_has_conf_change(&((const struct log_cache *)ctx)->index, lo, hi);
    return 0;
}

struct rr_storage log_cache_storage(struct log_cache *log)
{
    static const struct rr_storage_ops ops = {
        .initial_state = storage_initial_state,
        .entries = storage_entries,
        .term = storage_term,
        .last_index = storage_last_index,
        .first_index = storage_first_index,
        .snapshot = storage_snapshot,
        .has_conf_change = storage_has_conf_change,
    };
    return (struct rr_storage){.ops = &ops, .ctx = log};
}

void log_cache_check(const struct log_cache *log)
{
    RR_ASSERT(log->first >= 1 && log->first <= log->cached && log->cached <= log->last + 1);
    RR_ASSERT(log->first <= log->durable + 1 && log->durable <= log->last);
    RR_ASSERT(log->cached <= log->durable + 1 || log->cached == log->first);
    for (uint64_t index = log->cached; index <= log->last; index++) {
        const struct rr_entry *entry = entry_at(log, index);
        RR_ASSERT(entry->index == index && entry->term >= log->prev_term);
        RR_ASSERT(entry->term == log_index_term(&log->index, index));
        RR_ASSERT(!entry->block || entry->block->refs >= entry->block->held);
        RR_ASSERT(!entry->block || entry->block->held > 0);
    }
    log_index_check(&log->index);
}
