/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot: entries pass through here once each, in batches.
 */
#include "raft/unstable.h"

#include <string.h>

#define UNSTABLE_CAP_MIN 64u

void unstable_init(struct unstable *u, struct outbox *outbox, const struct event_sink *events,
                   uint64_t offset)
{
    *u = (struct unstable){
        .offset = offset, .offset_in_progress = offset, .outbox = outbox, .events = events};
}

/* The core's use of these entries ends; those without a block are given back once the messages that
 * may mention them are gone. */
static void drop_entries(struct unstable *u, const struct rr_entry *entries, uint32_t count)
{
    if (count == 0)
        return;
    if (u->outbox->release)
        outbox_copy_last_use(u->outbox, entries, count);
    entries_put_blocks(entries, count);
}

void unstable_fini(struct unstable *u)
{
    if (u->count)
        drop_entries(u, &u->entries[u->begin], u->count);
    if (u->snapshot)
        owned_snapshot_put(u->snapshot);
    memory_free(&u->outbox->allocator, u->entries, u->cap * sizeof(*u->entries));
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

uint32_t unstable_next_entries(const struct unstable *u, const struct rr_entry **entries)
{
    uint32_t in_progress = (uint32_t)(u->offset_in_progress - u->offset);
    if (in_progress == u->count)
        return 0;
    *entries = &u->entries[u->begin + in_progress];
    return u->count - in_progress;
}

const struct rr_snapshot *unstable_next_snapshot(const struct unstable *u)
{
    return u->snapshot && !u->snapshot_in_progress ? &u->snapshot->snapshot : NULL;
}

void unstable_accept_in_progress(struct unstable *u)
{
    u->offset_in_progress = u->offset + u->count;
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
    uint32_t count = (uint32_t)(index + 1 - u->offset);
    drop_entries(u, &u->entries[u->begin], count);
    u->begin += count;
    u->count -= count;
    if (u->count == 0)
        u->begin = 0;
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

/* Drops the entries from position `index` on. */
static void truncate_from(struct unstable *u, uint64_t index)
{
    uint32_t keep = (uint32_t)(index - u->offset);
    RR_ASSERT(keep <= u->count);
    outbox_log_truncated(u->outbox, index);
    if (keep == u->count)
        return; /* nothing to drop; perhaps there is no array yet */
    drop_entries(u, &u->entries[u->begin + keep], u->count - keep);
    u->count = keep;
}

void unstable_restore(struct unstable *u, const struct rr_snapshot *snapshot)
{
    struct owned_snapshot *owned = owned_snapshot_new(&u->outbox->allocator, snapshot);
    truncate_from(u, u->offset);
    outbox_log_truncated(u->outbox, 0);
    if (u->snapshot)
        owned_snapshot_put(u->snapshot);
    u->snapshot = owned;
    u->snapshot_in_progress = false;
    u->begin = 0;
    u->offset = snapshot->metadata.index + 1;
    u->stable_term = snapshot->metadata.term;
    u->offset_in_progress = u->offset;
}

struct rr_entry *unstable_reserve(struct unstable *u, uint32_t count)
{
    if (RR_UNLIKELY(u->cap - u->begin - u->count < count)) {
        /* Sliding back is worth it only if that frees at least half: then it is amortised. */
        if (u->begin < u->cap / 2 || u->cap - u->count < count) {
            if (u->cap == 0 && count < UNSTABLE_CAP_MIN)
                count = UNSTABLE_CAP_MIN;
            u->entries = memory_grow(&u->outbox->allocator, u->entries, &u->cap,
                                     sizeof(*u->entries), u->begin + u->count + count);
        } else {
            memmove(u->entries, u->entries + u->begin, u->count * sizeof(*u->entries));
            u->begin = 0;
        }
    }
    return &u->entries[u->begin + u->count];
}

void unstable_extend(struct unstable *u, uint32_t count)
{
    RR_ASSERT(u->begin + u->count + count <= u->cap);
    entries_get_blocks(&u->entries[u->begin + u->count], count);
    u->count += count;
}

void unstable_truncate_and_append(struct unstable *u, const struct rr_entry *entries,
                                  uint32_t count)
{
    RR_ASSERT(count > 0);
    uint64_t from = entries[0].index;
    if (RR_LIKELY(from == u->offset + u->count)) {
        /* directly behind the last one */
    } else if (from <= u->offset) {
        /* Everything is replaced. The storage will overwrite its part when it gets these. */
        EVENT(u->events, REPLACE_UNSTABLE, from);
        truncate_from(u, u->offset);
        outbox_log_truncated(u->outbox, from);
        u->begin = 0;
        u->offset = from;
        u->offset_in_progress = from;
        u->stable_term = 0;
    } else {
        EVENT(u->events, TRUNCATE_UNSTABLE, from);
        truncate_from(u, from);
        u->offset_in_progress = rr_min_u64(u->offset_in_progress, from);
    }
    memcpy(unstable_reserve(u, count), entries, count * sizeof(*entries));
    unstable_extend(u, count);
}

void unstable_check(const struct unstable *u)
{
    RR_ASSERT(u->begin + u->count <= u->cap);
    RR_ASSERT(u->offset_in_progress >= u->offset);
    RR_ASSERT(u->offset_in_progress <= u->offset + u->count);
    RR_ASSERT(!u->snapshot_in_progress || u->snapshot);
}
