/* SPDX-License-Identifier: Apache-2.0
 *
 * The tail of the log that the storage has not confirmed yet, and a snapshot that it has not.
 *
 *      storage          | in progress       | not handed out yet
 *      … 4  5  6  7     | 8  9  10          | 11  12
 *                         ^offset             ^offset_in_progress
 *
 * Entries lie in one array that slides: dropped in front when stable, appended behind, moved to the
 * front when the room behind is used up (amortised O(1)). Every entry holds one reference of its
 * block; an entry without one is given back through the outbox when it is dropped. Hot: appended to
 * per entry.
 */
#ifndef RR_RAFT_UNSTABLE_H
#define RR_RAFT_UNSTABLE_H

#include "raft/events.h"
#include "raft/outbox.h"

struct unstable {
    struct rr_entry *entries; /* the array's start; the first entry is entries[begin] */
    uint32_t begin;
    uint32_t count;
    uint32_t cap;
    bool snapshot_in_progress;
    uint64_t offset;             /* index of the first entry, or of the next one if there is none */
    uint64_t stable_term;        /* term of the entry before `offset`; 0: ask the storage */
    uint64_t offset_in_progress; /* entries below it were handed out; in [offset, offset + count] */
    struct owned_snapshot *snapshot; /* NULL: none */
    struct outbox *outbox;
    const struct event_sink *events;
};

static inline const struct rr_entry *unstable_at(const struct unstable *u, uint64_t index)
{
    RR_ASSERT(index - u->offset < u->count);
    return &u->entries[u->begin + (index - u->offset)];
}

void unstable_init(struct unstable *u, struct outbox *outbox, const struct event_sink *events,
                   uint64_t offset);
void unstable_fini(struct unstable *u);

/* False if the unstable part does not know. */
bool unstable_maybe_first_index(const struct unstable *u, uint64_t *index);
bool unstable_maybe_term(const struct unstable *u, uint64_t index, uint64_t *term);

/* What was not handed out yet. */
uint32_t unstable_next_entries(const struct unstable *u, const struct rr_entry **entries);
const struct rr_snapshot *unstable_next_snapshot(const struct unstable *u);
void unstable_accept_in_progress(struct unstable *u);

/* Entries up to (term, index) are durable; ignored with a log line if that is not what lies here.
 */
void unstable_stable_to(struct unstable *u, uint64_t term, uint64_t index);
void unstable_stable_snap_to(struct unstable *u, uint64_t index);
/* Forgets everything for a received snapshot, which is copied. */
void unstable_restore(struct unstable *u, const struct rr_snapshot *snapshot);

/* Room for `count` entries behind the last one, to be filled in place; nothing changes until
 * unstable_extend takes them over, with one reference of each block. */
struct rr_entry *unstable_reserve(struct unstable *u, uint32_t count);
void unstable_extend(struct unstable *u, uint32_t count);
/* Appends copies of entries, first dropping what they overwrite. */
void unstable_truncate_and_append(struct unstable *u, const struct rr_entry *entries,
                                  uint32_t count);

void unstable_check(const struct unstable *u);

#endif
