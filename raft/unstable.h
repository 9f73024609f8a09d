/* SPDX-License-Identifier: Apache-2.0
 *
 * The tail of the log that the storage has not confirmed yet, and a snapshot that it has not.
 *
 *      storage       | kept      | in progress | not handed out yet
 *      … 4  5        | 6  7      | 8  9  10    | 11  12
 *                      ^kept       ^offset       ^offset_in_progress
 *
 * Entries lie in a ring, by their index, and nothing that was laid there changes or moves while a
 * Ready may still mention it: so what is handed out points into the ring. Entries that became
 * stable are kept until the Ready after the next one; until then committed ones are read from here.
 * A truncation, or more entries than the ring has room for, goes on in another ring, and the old
 * one is given to the outbox, which holds it as long as it holds messages.
 *
 * Every entry holds one reference of its block; one without a block is given back to its owner when
 * it leaves the ring. Hot: appended to per entry.
 */
#ifndef RR_RAFT_UNSTABLE_H
#define RR_RAFT_UNSTABLE_H

#include "raft/entry_size.h"
#include "raft/events.h"
#include "raft/outbox.h"

struct unstable {
    struct rr_entry *ring; /* the entry at `index` lies at ring[index & (cap - 1)] */
    uint64_t *starts;      /* in the same place: encoded bytes of all entries before this one */
    uint32_t cap;          /* 0, or a power of two */
    uint32_t count;        /* entries from `offset` on */
    bool snapshot_in_progress;
    uint64_t kept;      /* oldest entry in the ring; <= offset, which means none is kept */
    uint64_t kept_next; /* `kept` from the next Ready on: was stable at the last one */
    uint64_t offset;    /* index of the first entry, or of the next one if there is none */
    uint64_t size_end;  /* encoded bytes of all entries up to the last one */
    struct sizer sizer;
    uint64_t stable_term;        /* term of the entry before `offset`; 0: ask the storage */
    uint64_t offset_in_progress; /* entries below it were handed out; in [offset, offset + count] */
    struct owned_snapshot *snapshot; /* NULL: none */
    struct outbox *outbox;
    const struct event_sink *events;
};

/* Where the entry at `index` lies, or will lie once there is room for it. */
static inline struct rr_entry *unstable_slot(const struct unstable *u, uint64_t index)
{
    return &u->ring[index & (u->cap - 1)];
}

static inline const struct rr_entry *unstable_at(const struct unstable *u, uint64_t index)
{
    RR_ASSERT(index - u->offset < u->count);
    return unstable_slot(u, index);
}

static inline uint64_t unstable_end(const struct unstable *u)
{
    return u->offset + u->count;
}

/* The term of the last entry; 0: ask the storage. */
static inline uint64_t unstable_last_term(const struct unstable *u)
{
    return u->count > 0 ? unstable_slot(u, unstable_end(u) - 1)->term : u->stable_term;
}

/* [lo, hi), kept ones included, in the order of the log. */
static inline struct rr_entry_spans unstable_spans(const struct unstable *u, uint64_t lo,
                                                   uint64_t hi)
{
    RR_ASSERT(lo >= u->kept && lo < hi && hi <= unstable_end(u));
    uint64_t place = lo & (u->cap - 1);
    uint64_t straight = rr_min_u64(hi - lo, u->cap - place);
    return (struct rr_entry_spans){.first = &u->ring[place],
                                   .second = u->ring,
                                   .first_count = straight,
                                   .second_count = hi - lo - straight};
}

/* Encoded bytes of [lo, hi), kept ones included. */
static inline uint64_t unstable_size(const struct unstable *u, uint64_t lo, uint64_t hi)
{
    RR_ASSERT(lo >= u->kept && lo < hi && hi <= unstable_end(u));
    uint64_t end = hi == unstable_end(u) ? u->size_end : u->starts[hi & (u->cap - 1)];
    return end - u->starts[lo & (u->cap - 1)];
}

/* Where [lo, hi) must end so that it has at most `max_size` encoded bytes. */
uint64_t unstable_limit_size(const struct unstable *u, uint64_t lo, uint64_t hi, uint64_t max_size);
/* The same, but at least one entry. */
static inline uint64_t unstable_limit_run(const struct unstable *u, uint64_t lo, uint64_t hi,
                                          uint64_t max_size)
{
    if (RR_LIKELY(hi - lo == 1 || unstable_size(u, lo, hi) <= max_size))
        return hi;
    return rr_max_u64(lo + 1, unstable_limit_size(u, lo, hi, max_size));
}

const struct rr_entry *unstable_copy_run(const struct unstable *u, uint64_t lo, uint64_t hi);
/* [lo, hi), kept ones included, for a message or a Ready: as it lies in the ring, or a copy if it
 * wraps. */
static inline const struct rr_entry *unstable_run(const struct unstable *u, uint64_t lo,
                                                  uint64_t hi)
{
    RR_ASSERT(lo >= u->kept && lo < hi && hi <= unstable_end(u));
    uint64_t at = lo & (u->cap - 1);
    if (RR_LIKELY(at + (hi - lo) <= u->cap))
        return &u->ring[at];
    return unstable_copy_run(u, lo, hi);
}

void unstable_init(struct unstable *u, struct outbox *outbox, const struct event_sink *events,
                   uint64_t offset);
void unstable_fini(struct unstable *u);

/* False if the unstable part does not know. */
bool unstable_maybe_first_index(const struct unstable *u, uint64_t *index);
bool unstable_maybe_term(const struct unstable *u, uint64_t index, uint64_t *term);

/* What was not handed out yet: the entries from offset_in_progress on, and the snapshot. */
static inline const struct rr_snapshot *unstable_next_snapshot(const struct unstable *u)
{
    return u->snapshot && !u->snapshot_in_progress ? &u->snapshot->snapshot : NULL;
}
static inline void unstable_accept_in_progress(struct unstable *u)
{
    u->offset_in_progress = unstable_end(u);
    u->snapshot_in_progress = u->snapshot != NULL;
}

/* Says in the log why (term, index) is not what lies here. */
RR_COLD void unstable_log_not_stable(const struct unstable *u, uint64_t term, uint64_t index);
/* Entries up to (term, index) are durable; ignored if that is not what lies here. */
static inline void unstable_stable_to(struct unstable *u, uint64_t term, uint64_t index)
{
    uint64_t place = index - u->offset;
    if (RR_UNLIKELY(place >= u->count || unstable_slot(u, index)->term != term)) {
        unstable_log_not_stable(u, term, index);
        return;
    }
    u->count -= (uint32_t)place + 1;
    u->offset = index + 1;
    u->stable_term = term;
    u->offset_in_progress = rr_max_u64(u->offset_in_progress, u->offset);
}
void unstable_stable_snap_to(struct unstable *u, uint64_t index);
/* Forgets everything for a received snapshot, which is copied. */
void unstable_restore(struct unstable *u, const struct rr_snapshot *snapshot);

/* The uses of [lo, hi), kept ones included, are over. */
static inline void unstable_drop_range(struct unstable *u, uint64_t lo, uint64_t hi)
{
    struct rr_entry_spans spans = unstable_spans(u, lo, hi);
    outbox_drop_entries(u->outbox, spans.first, (uint32_t)spans.first_count);
    if (RR_UNLIKELY(spans.second_count > 0))
        outbox_drop_entries(u->outbox, spans.second, (uint32_t)spans.second_count);
}

/* To be called once for each Ready, when what the Ready before it handed out is over: drops the
 * entries that nothing mentions any more. */
static inline void unstable_drop_kept(struct unstable *u)
{
    if (u->kept < u->kept_next) {
        unstable_drop_range(u, u->kept, u->kept_next);
        u->kept = u->kept_next;
    }
    u->kept_next = u->offset;
}

/* ---- appending ----------------------------------------------------------- */

RR_COLD void unstable_grow(struct unstable *u, uint64_t need);
/* Room for `count` entries behind the last one, to be filled in their slots; nothing changes until
 * unstable_extend takes them over. */
static inline void unstable_reserve(struct unstable *u, uint32_t count)
{
    uint64_t need = unstable_end(u) - u->kept + count;
    if (RR_UNLIKELY(need > u->cap))
        unstable_grow(u, need);
}

/* With one reference of its block for each entry. */
static inline void unstable_extend(struct unstable *u, uint32_t count)
{
    uint64_t index = unstable_end(u);
    uint64_t end = index + count;
    RR_ASSERT(end - u->kept <= u->cap);
    uint64_t size = u->size_end;
    struct rr_block *block = NULL;
    uint32_t block_uses = 0;
    for (; index < end; index++) {
        const struct rr_entry *entry = unstable_slot(u, index);
        u->starts[index & (u->cap - 1)] = size;
        size += sizer_next(&u->sizer, entry);
        if (entry->block != block) {
            rr_block_get(block, block_uses);
            block = entry->block;
            block_uses = 0;
        }
        block_uses++;
    }
    rr_block_get(block, block_uses);
    u->size_end = size;
    u->count += count;
}

/* Appends copies of entries that go on where the last one ends. */
static inline void unstable_append(struct unstable *u, const struct rr_entry *entries,
                                   uint32_t count)
{
    uint64_t index = unstable_end(u);
    RR_ASSERT(count > 0 && entries[0].index == index);
    unstable_reserve(u, count);
    for (uint32_t i = 0; i < count; i++)
        *unstable_slot(u, index + i) = entries[i];
    unstable_extend(u, count);
}

/* The same for any entries, first dropping what they overwrite. */
void unstable_truncate_and_append(struct unstable *u, const struct rr_entry *entries,
                                  uint32_t count);

void unstable_check(const struct unstable *u);

#endif
