/* SPDX-License-Identifier: Apache-2.0
 *
 * The log storage for tests, benches and small uses: everything in memory, nothing ever pends. The
 * entry at the place of compaction is kept as a dummy with its index and term, so that terms are
 * known from there on:
 *
 *      dummy(offset)  offset+1 … last
 *
 * Entries hold one reference of their block each; bytes of entries without a block must outlive the
 * storage.
 */
#include "raft/outbox.h"
#include "raft/raft_log.h"

#include <string.h>

struct rr_memory_storage {
    struct rr_allocator allocator;
    struct rr_hard_state hard_state;
    struct owned_snapshot *snapshot; /* never NULL; index 0: none yet */
    struct rr_entry *entries;        /* entries[begin] is the dummy */
    uint32_t begin;
    uint32_t count; /* with the dummy, so at least 1 */
    uint32_t cap;
};

static struct rr_entry *at(const struct rr_memory_storage *s, uint64_t position)
{
    RR_ASSERT(position < s->count);
    return &s->entries[s->begin + position];
}

static uint64_t offset(const struct rr_memory_storage *s)
{
    return at(s, 0)->index;
}

static uint64_t last_index(const struct rr_memory_storage *s)
{
    return offset(s) + s->count - 1;
}

/* ---- what the core reads ------------------------------------------------- */

static int storage_initial_state(void *ctx, struct rr_hard_state *hard_state,
                                 struct rr_conf_state *conf_state)
{
    const struct rr_memory_storage *s = ctx;
    *hard_state = s->hard_state;
    *conf_state = s->snapshot->snapshot.metadata.conf_state;
    return 0;
}

static int storage_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_size,
                           struct rr_entry_spans *out)
{
    const struct rr_memory_storage *s = ctx;
    if (lo <= offset(s))
        return RR_E_COMPACTED;
    RR_ASSERT_SAYS(hi <= last_index(s) + 1, "entries up to % reach beyond the last index, %", hi,
                   last_index(s));
    if (s->count == 1)
        return RR_E_UNAVAILABLE;
    const struct rr_entry *first = at(s, lo - offset(s));
    *out = (struct rr_entry_spans){
        .first = first, .first_count = raft_log_limit_size(first, (uint32_t)(hi - lo), max_size)};
    return 0;
}

static int storage_term(void *ctx, uint64_t index, uint64_t *term)
{
    const struct rr_memory_storage *s = ctx;
    if (index < offset(s))
        return RR_E_COMPACTED;
    if (index > last_index(s))
        return RR_E_UNAVAILABLE;
    *term = at(s, index - offset(s))->term;
    return 0;
}

static int storage_last_index(void *ctx, uint64_t *index)
{
    *index = last_index(ctx);
    return 0;
}

static int storage_first_index(void *ctx, uint64_t *index)
{
    *index = offset(ctx) + 1;
    return 0;
}

static int storage_snapshot(void *ctx, const struct rr_snapshot **snapshot)
{
    const struct rr_memory_storage *s = ctx;
    *snapshot = &s->snapshot->snapshot;
    return 0;
}

struct rr_storage rr_memory_storage_interface(struct rr_memory_storage *storage)
{
    static const struct rr_storage_ops ops = {
        .initial_state = storage_initial_state,
        .entries = storage_entries,
        .term = storage_term,
        .last_index = storage_last_index,
        .first_index = storage_first_index,
        .snapshot = storage_snapshot,
    };
    return (struct rr_storage){.ops = &ops, .ctx = storage};
}

/* ---- what the application writes ----------------------------------------- */

static void drop(struct rr_memory_storage *s, uint64_t position, uint32_t count)
{
    if (count)
        entries_put_blocks(at(s, position), count);
}

/* As in unstable.c, sliding back is amortised. */
RR_COLD static void slide_or_grow(struct rr_memory_storage *s, uint32_t count)
{
    if (s->begin >= s->cap / 2 && s->cap - s->count >= count) {
        memmove(s->entries, s->entries + s->begin, s->count * sizeof(*s->entries));
        s->begin = 0;
        return;
    }
    s->entries = memory_grow(&s->allocator, s->entries, &s->cap, sizeof(*s->entries),
                             s->begin + s->count + count);
}

/* Room for `count` more behind the last. */
static inline void reserve(struct rr_memory_storage *s, uint32_t count)
{
    if (RR_UNLIKELY(s->cap - s->begin - s->count < count))
        slide_or_grow(s, count);
}

static void become_empty(struct rr_memory_storage *s, uint64_t index, uint64_t term)
{
    drop(s, 0, s->count);
    s->begin = 0;
    s->count = 0;
    reserve(s, 1);
    s->entries[0] = (struct rr_entry){.index = index, .term = term};
    s->count = 1;
}

struct rr_memory_storage *rr_memory_storage_new(const struct rr_allocator *allocator)
{
    struct rr_memory_storage *s = memory_alloc(allocator, sizeof(*s));
    *s = (struct rr_memory_storage){.allocator = *allocator};
    s->snapshot = owned_snapshot_new(allocator, &(struct rr_snapshot){.size = 0});
    become_empty(s, 0, 0);
    return s;
}

void rr_memory_storage_free(struct rr_memory_storage *storage)
{
    if (!storage)
        return;
    struct rr_allocator allocator = storage->allocator;
    drop(storage, 0, storage->count);
    memory_free(&allocator, storage->entries, storage->cap * sizeof(*storage->entries));
    owned_snapshot_put(storage->snapshot);
    memory_free(&allocator, storage, sizeof(*storage));
}

void rr_memory_storage_set_hard_state(struct rr_memory_storage *storage,
                                      const struct rr_hard_state *hard_state)
{
    storage->hard_state = *hard_state;
}

/* Entries that do not begin where the log ends: how many of them are to be left out because the
 * front is compacted; what the others overwrite is dropped. */
RR_COLD static uint32_t overlap(struct rr_memory_storage *s, uint64_t index, uint32_t count)
{
    uint64_t first = offset(s) + 1;
    uint32_t compacted = index < first ? (uint32_t)rr_min_u64(first - index, count) : 0;
    uint64_t position = index + compacted - offset(s);
    if (compacted < count && position < s->count) {
        drop(s, position, s->count - (uint32_t)position);
        s->count = (uint32_t)position;
    }
    return compacted;
}

int rr_memory_storage_append(struct rr_memory_storage *storage, const struct rr_entry *entries,
                             uint32_t count)
{
    struct rr_memory_storage *s = storage;
    if (count == 0)
        return 0;
    if (RR_UNLIKELY(entries[0].index != last_index(s) + 1)) {
        uint32_t compacted = overlap(s, entries[0].index, count);
        entries += compacted;
        count -= compacted;
        RR_ASSERT_SAYS(count == 0 || entries[0].index == last_index(s) + 1,
                       "an entry at index % leaves a gap behind the last one, %", entries[0].index,
                       last_index(s));
    }
    reserve(s, count);
    entries_copy(&s->entries[s->begin + s->count], entries, count);
    entries_get_blocks(entries, count);
    s->count += count;
    return 0;
}

static void set_snapshot(struct rr_memory_storage *s, const struct rr_snapshot *snapshot)
{
    struct owned_snapshot *owned = owned_snapshot_new(&s->allocator, snapshot);
    owned_snapshot_put(s->snapshot);
    s->snapshot = owned;
}

int rr_memory_storage_apply_snapshot(struct rr_memory_storage *storage,
                                     const struct rr_snapshot *snapshot)
{
    uint64_t own = storage->snapshot->snapshot.metadata.index;
    uint64_t index = snapshot->metadata.index;
    /* Index 0 upon index 0 brings a ConfState and nothing else. */
    if (own != 0 && own >= index)
        return RR_E_SNAP_OUT_OF_DATE;
    set_snapshot(storage, snapshot);
    become_empty(storage, index, snapshot->metadata.term);
    return 0;
}

int rr_memory_storage_create_snapshot(struct rr_memory_storage *storage, uint64_t index,
                                      const struct rr_conf_state *conf_state, const uint8_t *data,
                                      size_t size, const struct rr_snapshot **out)
{
    struct rr_snapshot made = storage->snapshot->snapshot;
    if (index <= made.metadata.index)
        return RR_E_SNAP_OUT_OF_DATE;
    RR_ASSERT_SAYS(index >= offset(storage) && index <= last_index(storage),
                   "a snapshot at index % lies outside of the log, % to %", index, offset(storage),
                   last_index(storage));
    made.metadata.index = index;
    made.metadata.term = at(storage, index - offset(storage))->term;
    if (conf_state)
        made.metadata.conf_state = *conf_state;
    made.data = data;
    made.size = size;
    made.block = NULL;
    set_snapshot(storage, &made);
    if (out)
        *out = &storage->snapshot->snapshot;
    return 0;
}

int rr_memory_storage_compact(struct rr_memory_storage *storage, uint64_t index)
{
    struct rr_memory_storage *s = storage;
    if (index <= offset(s))
        return RR_E_COMPACTED;
    RR_ASSERT_SAYS(index <= last_index(s), "compaction to % goes beyond the last index, %", index,
                   last_index(s));
    uint32_t count = (uint32_t)(index - offset(s));
    struct rr_entry dummy = {.index = index, .term = at(s, count)->term};
    drop(s, 0, count + 1);
    s->begin += count;
    s->count -= count;
    *at(s, 0) = dummy;
    return 0;
}
