/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/log_cache.h"

#include "proto/base.h"
#include "proto/codec.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_CAP_FIRST   64u
#define CACHE_BLOCK_BYTES (256u * 1024)

/* A shared block of small writes. While it is being filled the cache holds a reference. */
struct cache_block {
    struct rr_block block;
    struct log_memory *memory;
    struct cache_block *next;
    uint32_t used;
    uint8_t bytes[CACHE_BLOCK_BYTES];
};

void log_memory_fini(struct log_memory *memory)
{
    RR_ASSERT(memory->block_bytes == 0);
    while (memory->spare_blocks) {
        struct cache_block *block = memory->spare_blocks;
        memory->spare_blocks = block->next;
        free(block);
    }
}

int log_cache_init(struct log_cache *log, struct log_memory *memory)
{
    memset(log, 0, sizeof(*log));
    log->first = 1;
    log->memory = memory;
    log->chunk_cap = CHUNK_CAP_FIRST;
    log->chunks = calloc(log->chunk_cap, sizeof(*log->chunks));
    return log->chunks ? 0 : RR_E_NO_MEMORY;
}

void log_cache_take(struct log_cache *to, struct log_cache *from)
{
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
    *(struct rr_entry **)(void *)chunk = log->spare_chunks;
    log->spare_chunks = chunk;
}

/* A ring twice as large, with every chunk at its new place. */
static RR_COLD int grow_ring(struct log_cache *log)
{
    uint32_t cap = log->chunk_cap * 2;
    struct rr_entry **chunks = calloc(cap, sizeof(*chunks));
    if (!chunks)
        return RR_E_NO_MEMORY;
    uint64_t low = log->first / LOG_CACHE_CHUNK;
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
    while (index / LOG_CACHE_CHUNK - log->first / LOG_CACHE_CHUNK >= log->chunk_cap)
        if (grow_ring(log) != 0)
            return RR_E_NO_MEMORY;
    struct rr_entry **slot = chunk_slot(log, index);
    if (RR_LIKELY(*slot != NULL))
        return 0;
    if (log->spare_chunks) {
        *slot = log->spare_chunks;
        log->spare_chunks = *(struct rr_entry **)(void *)*slot;
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

/* ---- conf-change indexes ------------------------------------------------- */

static RR_COLD int conf_change_add(struct log_cache *log, uint64_t index)
{
    if (log->conf_change_count == log->conf_change_cap) {
        uint32_t cap = log->conf_change_cap ? log->conf_change_cap * 2 : 16;
        uint64_t *indexes = realloc(log->conf_changes, cap * sizeof(*indexes));
        if (!indexes)
            return RR_E_NO_MEMORY;
        log->conf_changes = indexes;
        log->conf_change_cap = cap;
    }
    log->conf_changes[log->conf_change_count++] = index;
    return 0;
}

static void conf_changes_keep(struct log_cache *log, uint64_t from, uint64_t to)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < log->conf_change_count; i++)
        if (log->conf_changes[i] >= from && log->conf_changes[i] < to)
            log->conf_changes[kept++] = log->conf_changes[i];
    log->conf_change_count = kept;
}

/* ---- the log ------------------------------------------------------------- */

int log_cache_append(struct log_cache *log, const struct rr_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct rr_entry *entry = &entries[i];
        RR_ASSERT(entry->index == log->last + 1);
        if (chunk_need(log, entry->index) != 0)
            return RR_E_NO_MEMORY;
        if (RR_UNLIKELY(entry->type != RR_ENTRY_NORMAL) && conf_change_add(log, entry->index) != 0)
            return RR_E_NO_MEMORY;
        *entry_at(log, entry->index) = *entry;
        hold_block(log, entry->block);
        log->last++;
    }
    return 0;
}

void log_cache_truncate(struct log_cache *log, uint64_t index)
{
    RR_ASSERT(index >= log->first);
    while (log->last >= index) {
        uint64_t last = log->last;
        drop_block(log, entry_at(log, last)->block);
        log->last--;
        if (last % LOG_CACHE_CHUNK == 0 || last == log->first)
            chunk_put_back(log, last);
    }
    conf_changes_keep(log, log->first, index);
}

void log_cache_compact(struct log_cache *log, uint64_t first)
{
    RR_ASSERT(first >= log->first && first <= log->last + 1);
    if (first == log->first)
        return;
    uint64_t prev_term = log_cache_term(log, first - 1);
    while (log->first < first) {
        uint64_t index = log->first;
        drop_block(log, entry_at(log, index)->block);
        log->first++;
        if (index % LOG_CACHE_CHUNK == LOG_CACHE_CHUNK - 1 || index == log->last)
            chunk_put_back(log, index);
    }
    log->prev_term = prev_term;
    conf_changes_keep(log, first, UINT64_MAX);
}

void log_cache_reset(struct log_cache *log, uint64_t index, uint64_t term)
{
    log_cache_truncate(log, log->first);
    RR_ASSERT(log->conf_change_count == 0);
    log->first = index + 1;
    log->last = index;
    log->prev_term = term;
}

const struct rr_entry *log_cache_at(const struct log_cache *log, uint64_t index)
{
    RR_ASSERT(index >= log->first && index <= log->last);
    return entry_at(log, index);
}

uint64_t log_cache_term(const struct log_cache *log, uint64_t index)
{
    if (index + 1 == log->first)
        return log->prev_term;
    if (index < log->first || index > log->last)
        return 0;
    return entry_at(log, index)->term;
}

void log_cache_fini(struct log_cache *log)
{
    if (!log->chunks)
        return;
    log_cache_reset(log, 0, 0);
    while (log->spare_chunks) {
        struct rr_entry *chunk = log->spare_chunks;
        log->spare_chunks = *(struct rr_entry **)(void *)chunk;
        free(chunk);
    }
    if (log->filling)
        rr_block_put(&log->filling->block, 1);
    log_snapshot_put(log->snapshot);
    free(log->conf_changes);
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
    uint64_t from = rr_max_u64(first, log->first);
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
    *conf_state = log->initial_conf ? *log->initial_conf
                                    : log->snapshot->snapshot.metadata.conf_state;
    return 0;
}

/* A span within one chunk, cut where the encoded size exceeds the rest of `*budget`; the first
 * entry of an answer always fits. */
static size_t span_cut(const struct rr_entry *entries, size_t count, bool is_first,
                       uint64_t *budget)
{
    size_t taken = 0;
    while (taken < count) {
        uint64_t size = rr_entry_body_size(&entries[taken]);
        if (size > *budget && !(is_first && taken == 0))
            break;
        *budget -= rr_min_u64(size, *budget);
        taken++;
    }
    return taken;
}

static int storage_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_size,
                           struct rr_entry_spans *out)
{
    const struct log_cache *log = ctx;
    if (lo < log->first)
        return RR_E_COMPACTED;
    RR_ASSERT(lo < hi && hi <= log->last + 1);
    uint64_t chunk_end = (lo / LOG_CACHE_CHUNK + 1) * LOG_CACHE_CHUNK;
    uint64_t budget = max_size;
    size_t whole = (size_t)(rr_min_u64(hi, chunk_end) - lo);
    *out = (struct rr_entry_spans){.first = entry_at(log, lo)};
    out->first_count = span_cut(out->first, whole, true, &budget);
    if (out->first_count < whole || hi <= chunk_end)
        return 0;
    whole = (size_t)rr_min_u64(hi - chunk_end, LOG_CACHE_CHUNK);
    out->second = entry_at(log, chunk_end);
    out->second_count = span_cut(out->second, whole, false, &budget);
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
    const struct log_cache *log = ctx;
    *found = false;
    for (uint32_t i = 0; i < log->conf_change_count; i++)
        *found |= log->conf_changes[i] >= lo && log->conf_changes[i] < hi;
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
    uint64_t term = log->prev_term;
    RR_ASSERT(log->first >= 1 && log->first <= log->last + 1);
    for (uint64_t index = log->first; index <= log->last; index++) {
        const struct rr_entry *entry = entry_at(log, index);
        RR_ASSERT(entry->index == index && entry->term >= term);
        RR_ASSERT(!entry->block || entry->block->refs >= entry->block->held);
        RR_ASSERT(!entry->block || entry->block->held > 0);
        term = entry->term;
    }
    for (uint32_t i = 1; i < log->conf_change_count; i++)
        RR_ASSERT(log->conf_changes[i - 1] < log->conf_changes[i]);
}
