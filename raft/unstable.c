/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot: entries pass through here once each, in batches.
 */
#include "raft/unstable.h"

#include "raft/entry_size.h"

#define UNSTABLE_CAP_MIN 64u

static size_t ring_bytes(uint32_t cap)
{
    return cap * (sizeof(struct rr_entry) + sizeof(uint64_t));
}

void unstable_init(struct unstable *u, struct outbox *outbox, const struct event_sink *events,
                   uint64_t offset)
{
    *u = (struct unstable){.kept = offset,
                           .kept_next = offset,
                           .offset = offset,
                           .offset_in_progress = offset,
                           .outbox = outbox,
                           .events = events};
}

void unstable_fini(struct unstable *u)
{
    if (u->kept < unstable_end(u)) {
        struct rr_entry_spans all = unstable_spans(u, u->kept, unstable_end(u));
        outbox_drop_entries(u->outbox, all.first, (uint32_t)all.first_count);
        outbox_drop_entries(u->outbox, all.second, (uint32_t)all.second_count);
    }
    if (u->snapshot)
        owned_snapshot_put(u->snapshot);
    memory_free(&u->outbox->allocator, u->ring, ring_bytes(u->cap));
}

bool unstable_maybe_first_index(const struct unstable *u, uint64_t *index)
{
    if (!u->snapshot)
        return false;
    *index = u->snapshot->snapshot.metadata.index + 1;
    return true;
}

bool unstable_maybe_term(const struct unstable *u, uint64_t index, uint64_t *term)
{
    if (index >= u->offset) {
        if (index - u->offset >= u->count)
            return false;
        *term = unstable_at(u, index)->term;
        return true;
    }
    if (!u->snapshot || u->snapshot->snapshot.metadata.index != index)
        return false;
    *term = u->snapshot->snapshot.metadata.term;
    return true;
}

void unstable_accept_in_progress(struct unstable *u)
{
    u->offset_in_progress = unstable_end(u);
    if (u->snapshot)
        u->snapshot_in_progress = true;
}

void unstable_stable_to(struct unstable *u, uint64_t term, uint64_t index)
{
    uint64_t own_term;
    if (!unstable_maybe_term(u, index, &own_term)) {
        /* Truncated since, or acknowledged already. */
        EVENT(u->events, STABLE_MISSING, index);
        return;
    }
    if (index < u->offset) {
        EVENT(u->events, STABLE_SNAPSHOT, index);
        return;
    }
    if (own_term != term) {
        /* Overwritten since: what is durable is not what lies here. */
        EVENT(u->events, STABLE_MISMATCH, index, term, index, own_term);
        return;
    }
    u->count -= (uint32_t)(index + 1 - u->offset);
    u->offset = index + 1;
    u->stable_term = term;
    u->offset_in_progress = rr_max_u64(u->offset_in_progress, u->offset);
}

void unstable_stable_snap_to(struct unstable *u, uint64_t index)
{
    if (!u->snapshot || u->snapshot->snapshot.metadata.index != index)
        return;
    owned_snapshot_put(u->snapshot);
    u->snapshot = NULL;
    u->snapshot_in_progress = false;
}

void unstable_drop_kept(struct unstable *u)
{
    if (u->kept < u->kept_next) {
        struct rr_entry_spans old = unstable_spans(u, u->kept, u->kept_next);
        outbox_drop_entries(u->outbox, old.first, (uint32_t)old.first_count);
        outbox_drop_entries(u->outbox, old.second, (uint32_t)old.second_count);
        u->kept = u->kept_next;
    }
    u->kept_next = u->offset;
}

/* Goes on with the entries below `end` in another ring. The old one stays as it is, and holds on to
 * the entries from `end` on, until no message can mention it. */
RR_COLD static void change_ring(struct unstable *u, uint64_t end, uint32_t cap)
{
    struct unstable old = *u;
    u->ring = memory_alloc(&u->outbox->allocator, ring_bytes(cap));
    u->starts = (uint64_t *)(void *)(u->ring + cap);
    u->cap = cap;
    for (uint64_t i = old.kept; i < end; i++) {
        *unstable_slot(u, i) = *unstable_slot(&old, i);
        u->starts[i & (cap - 1)] = old.starts[i & (old.cap - 1)];
    }
    if (end < unstable_end(&old)) {
        struct rr_entry_spans cut = unstable_spans(&old, end, unstable_end(&old));
        outbox_drop_later(u->outbox, cut.first, (uint32_t)cut.first_count);
        outbox_drop_later(u->outbox, cut.second, (uint32_t)cut.second_count);
    }
    if (old.ring)
        outbox_free_later(u->outbox, old.ring, ring_bytes(old.cap));
}

/* Drops the entries from `index` on. */
static void truncate_from(struct unstable *u, uint64_t index)
{
    RR_ASSERT(index >= u->kept && index <= unstable_end(u));
    outbox_log_truncated(u->outbox, index);
    if (index == unstable_end(u))
        return;
    uint64_t size_end = u->starts[index & (u->cap - 1)];
    change_ring(u, index, u->cap);
    u->size_end = size_end;
    u->count = (uint32_t)(rr_max_u64(index, u->offset) - u->offset);
}

/* An empty tail that goes on at `offset`. */
static void begin_at(struct unstable *u, uint64_t offset, uint64_t stable_term)
{
    truncate_from(u, u->kept);
    u->kept = offset;
    u->kept_next = offset;
    u->offset = offset;
    u->offset_in_progress = offset;
    u->stable_term = stable_term;
}

void unstable_restore(struct unstable *u, const struct rr_snapshot *snapshot)
{
    struct owned_snapshot *owned = owned_snapshot_new(&u->outbox->allocator, snapshot);
    outbox_log_truncated(u->outbox, 0);
    if (u->snapshot)
        owned_snapshot_put(u->snapshot);
    u->snapshot = owned;
    u->snapshot_in_progress = false;
    begin_at(u, snapshot->metadata.index + 1, snapshot->metadata.term);
}

void unstable_reserve(struct unstable *u, uint32_t count)
{
    uint64_t need = unstable_end(u) - u->kept + count;
    if (RR_LIKELY(need <= u->cap))
        return;
    uint32_t cap = u->cap ? u->cap : UNSTABLE_CAP_MIN;
    while (cap < need) {
        RR_ASSERT(cap <= UINT32_MAX / 2);
        cap *= 2;
    }
    change_ring(u, unstable_end(u), cap);
}

/* Takes over a run that lies in its slots. */
static void extend(struct unstable *u, const struct rr_entry *entries, uint32_t count)
{
    struct sizer sizer = {.index_span = 0};
    uint64_t *starts = &u->starts[entries - u->ring];
    uint64_t size = u->size_end;
    for (uint32_t i = 0; i < count; i++) {
        starts[i] = size;
        size += sizer_next(&sizer, &entries[i]);
    }
    u->size_end = size;
    entries_get_blocks(entries, count);
}

void unstable_extend(struct unstable *u, uint32_t count)
{
    uint64_t end = unstable_end(u);
    RR_ASSERT(end - u->kept + count <= u->cap);
    u->count += count;
    struct rr_entry_spans added = unstable_spans(u, end, end + count);
    extend(u, added.first, (uint32_t)added.first_count);
    if (added.second_count)
        extend(u, added.second, (uint32_t)added.second_count);
}

uint64_t unstable_limit_size(const struct unstable *u, uint64_t lo, uint64_t hi, uint64_t max_size)
{
    if (RR_LIKELY(unstable_size(u, lo, hi) <= max_size))
        return hi;
    /* [lo, fits) is small enough, [lo, hi) is not. */
    uint64_t fits = lo;
    while (hi - fits > 1) {
        uint64_t middle = fits + (hi - fits) / 2;
        if (unstable_size(u, lo, middle) <= max_size)
            fits = middle;
        else
            hi = middle;
    }
    return fits;
}

void unstable_truncate_and_append(struct unstable *u, const struct rr_entry *entries,
                                  uint32_t count)
{
    RR_ASSERT(count > 0);
    uint64_t from = entries[0].index;
    if (RR_LIKELY(from == unstable_end(u))) {
        /* directly behind the last one */
    } else if (from <= u->offset) {
        /* Everything is replaced. The storage will overwrite its part when it gets these. */
        EVENT(u->events, REPLACE_UNSTABLE, from);
        outbox_log_truncated(u->outbox, from);
        begin_at(u, from, 0);
    } else {
        EVENT(u->events, TRUNCATE_UNSTABLE, from);
        truncate_from(u, from);
        u->offset_in_progress = rr_min_u64(u->offset_in_progress, from);
    }
    unstable_reserve(u, count);
    for (uint32_t i = 0; i < count; i++)
        *unstable_slot(u, from + i) = entries[i];
    unstable_extend(u, count);
}

void unstable_check(const struct unstable *u)
{
    RR_ASSERT((u->cap & (u->cap - 1)) == 0);
    RR_ASSERT(unstable_end(u) - u->kept <= u->cap);
    RR_ASSERT(u->kept <= u->kept_next);
    RR_ASSERT(u->kept_next <= u->offset);
    RR_ASSERT(u->offset_in_progress >= u->offset);
    RR_ASSERT(u->offset_in_progress <= unstable_end(u));
    RR_ASSERT(!u->snapshot_in_progress || u->snapshot);
}
