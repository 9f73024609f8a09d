/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot: entries pass through here once each, in batches.
 */
#include "raft/unstable.h"

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
    if (u->kept < unstable_end(u))
        unstable_drop_range(u, u->kept, unstable_end(u));
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

void unstable_log_not_stable(const struct unstable *u, uint64_t term, uint64_t index)
{
    uint64_t own_term;
    if (!unstable_maybe_term(u, index, &own_term))
        /* Truncated since, or acknowledged already. */
        EVENT(u->events, STABLE_MISSING, index);
    else if (index < u->offset)
        EVENT(u->events, STABLE_SNAPSHOT, index);
    else
        /* Overwritten since: what is durable is not what lies here. */
        EVENT(u->events, STABLE_MISMATCH, index, term, index, own_term);
}

void unstable_stable_snap_to(struct unstable *u, uint64_t index)
{
    if (!u->snapshot || u->snapshot->snapshot.metadata.index != index)
        return;
    owned_snapshot_put(u->snapshot);
    u->snapshot = NULL;
    u->snapshot_in_progress = false;
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

void unstable_grow(struct unstable *u, uint64_t need)
{
    uint32_t cap = u->cap ? u->cap : UNSTABLE_CAP_MIN;
    while (cap < need) {
        RR_ASSERT(cap <= UINT32_MAX / 2);
        cap *= 2;
    }
    change_ring(u, unstable_end(u), cap);
}

uint64_t unstable_limit_size(const struct unstable *u, uint64_t lo, uint64_t hi, uint64_t max_size)
{
    if (unstable_size(u, lo, hi) <= max_size)
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

const struct rr_entry *unstable_copy_run(const struct unstable *u, uint64_t lo, uint64_t hi)
{
    struct rr_entry_spans spans = unstable_spans(u, lo, hi);
    struct entry_pieces pieces = {.count = (uint32_t)(hi - lo)};
    pieces.piece[0].entries = spans.first;
    pieces.piece[0].count = (uint32_t)spans.first_count;
    pieces.piece[1].entries = spans.second;
    pieces.piece[1].count = (uint32_t)spans.second_count;
    return outbox_copy_log(u->outbox, lo, &pieces);
}

void unstable_truncate_and_append(struct unstable *u, const struct rr_entry *entries,
                                  uint32_t count)
{
    uint64_t index = entries[0].index;
    if (index == unstable_end(u)) {
        /* directly behind the last one */
    } else if (index <= u->offset) {
        /* Everything is replaced. The storage will overwrite its part when it gets these. */
        EVENT(u->events, REPLACE_UNSTABLE, index);
        outbox_log_truncated(u->outbox, index);
        begin_at(u, index, 0);
    } else {
        EVENT(u->events, TRUNCATE_UNSTABLE, index);
        truncate_from(u, index);
        u->offset_in_progress = rr_min_u64(u->offset_in_progress, index);
    }
    unstable_append(u, entries, count);
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
