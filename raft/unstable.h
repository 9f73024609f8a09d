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

#include "raft/events.h"
#include "raft/outbox.h"

struct unstable {
    struct rr_entry *ring; /* the entry at `index` lies at ring[index & (cap - 1)] */
    uint64_t *starts;      /* in the same place: encoded bytes of all entries before this one */
    uint32_t cap;          /* 0, or a power of two */
    uint32_t count;        /* entries from `offset` on */
    bool snapshot_in_progress;
    uint64_t kept;               /* oldest entry in the ring; <= offset, which means none is kept */
    uint64_t kept_next;          /* `kept` from the next Ready on: was stable at the last one */
    uint64_t offset;             /* index of the first entry, or of the next one if there is none */
    uint64_t size_end;           /* encoded bytes of all entries up to the last one */
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

/* [lo, hi), kept ones included, in the order of the log. */
static inline struct rr_entry_spans unstable_spans(const struct unstable *u, uint64_t lo,
                                                   uint64_t hi)
{
    RR_ASSERT(lo >= u->kept && lo < hi && hi <= unstable_end(u));
    const struct rr_entry *first = unstable_slot(u, lo);
    uint64_t straight = rr_min_u64(hi - lo, (uint64_t)(u->ring + u->cap - first));
    return (struct rr_entry_spans){.first = first,
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
void unstable_accept_in_progress(struct unstable *u);

/* Entries up to (term, index) are durable; ignored with a log line if that is not what lies here.
 */
void unstable_stable_to(struct unstable *u, uint64_t term, uint64_t index);
void unstable_stable_snap_to(struct unstable *u, uint64_t index);
/* Forgets everything for a received snapshot, which is copied. */
void unstable_restore(struct unstable *u, const struct rr_snapshot *snapshot);

/* To be called once for each Ready, when what the Ready before it handed out is over: drops the
 * entries that nothing mentions any more. */
void unstable_drop_kept(struct unstable *u);

/* Room for `count` entries behind the last one, to be filled in their slots; nothing changes until
 * unstable_extend takes them over, with one reference of each block. */
void unstable_reserve(struct unstable *u, uint32_t count);
void unstable_extend(struct unstable *u, uint32_t count);
/* Appends copies of entries, first dropping what they overwrite. */
void unstable_truncate_and_append(struct unstable *u, const struct rr_entry *entries,
                                  uint32_t count);

void unstable_check(const struct unstable *u);

#endif
