/* SPDX-License-Identifier: Apache-2.0
 *
 * What in the log is live, and in which segment: a group's newest state, its entries from the first
 * that the state keeps, each peer's newest record. A segment in which nothing is live has no
 * holders and may be recycled once what emptied it is durable. Loop thread only.
 *
 * One function, wal_live_account, is told of every section in log order: when its write gets its
 * place, and again by recovery. For a group's entries there is one hold per segment, in a list from
 * the oldest to the newest:
 *
 *     group, first_index 98 ── {segment 7, last_index 120} ── {8, 245} ── {9, 301}
 *
 * Entries truncate: holds that reach above the new first index are cut to below it. A hold whose
 * last_index lies below first_index is released. Each hold has an index of its entries' places
 * (wal_index.h), by which old ones are read back. Pieces of a series that moves the group's entries
 * (wal_move.c) have a list of their own, which replaces the other when the last of them is there.
 */
#ifndef RR_IO_WAL_LIVE_H
#define RR_IO_WAL_LIVE_H

#include "io/wal_index.h"
#include "io/wal_segment.h"

struct wal_hold {
    struct wal_hold *next;
    uint64_t segment;
    uint64_t last_index;
    uint64_t bytes;
    struct wal_index index; /* where in the segment */
};

/* By segment and by index, both ascending. */
struct wal_holds {
    struct wal_hold *oldest, *newest;
};

/* Where a write lies. */
struct wal_place {
    uint64_t segment; /* number */
    uint64_t offset;
    uint64_t seq;
};

struct wal_group {
    uint64_t id;
    uint64_t first_index;   /* of the newest accounted state; 0: none yet */
    uint64_t state_segment; /* where that is; 0: none yet */
    uint64_t state_bytes;
    uint64_t term, vote;   /* of the newest staged state */
    uint64_t last_index;   /* of the newest staged entry or state */
    uint64_t staged_seq;   /* write of the newest staged state in this boot */
    uint64_t state_seq;    /* write of the newest accounted state */
    uint64_t padded_bytes; /* on disk, in this boot: its share of every write */
    bool is_stated;        /* a state was staged */
    struct wal_holds entries;
    struct wal_holds moved; /* the series so far … */
    uint64_t moved_next;    /* … continues with this entry; 0: there is none */
    uint64_t moved_seq;     /* write of the last piece of the newest series that counts */
};

struct wal_live_peer {
    struct wal_peer peer; /* the newest staged record */
    uint64_t segment;     /* of the newest accounted record; 0: none yet */
};

struct wal_live {
    struct wal_segments *segments;
    struct wal_group *groups; /* dense; in order of first sight */
    uint32_t *slots; /* open addressing: 1 + place in groups; 0: empty; at most half full */
    struct wal_live_peer *peers;
    struct wal_hold *idle;  /* holds */
    struct wal_slab *slabs; /* the memory of all holds */
    uint32_t group_count, group_cap;
    uint32_t slot_count;
    uint32_t peer_count, peer_cap;
    uint32_t idle_count;
    struct wal_index_pool places;
    bool is_moving_peer; /* a record is staged again and not yet accounted */
    uint32_t promised;   /* sections staged and not yet accounted: so many holds may be needed */
};

int wal_live_init(struct wal_live *live, struct wal_segments *segments);
void wal_live_fini(struct wal_live *live);

/* The group's place in live->groups, or UINT32_MAX. */
uint32_t wal_live_find(const struct wal_live *live, uint64_t group);
/* Before a section is staged: makes sure that accounting for it cannot fail. RR_E_NO_MEMORY. */
int wal_live_promise(struct wal_live *live, const struct wal_section *section);
/* This record of its peer is about to be staged, or was recovered. RR_E_NO_MEMORY. */
int wal_live_note_peer(struct wal_live *live, const struct wal_peer *peer);
/* The section was not staged after all. */
static inline void wal_live_unpromise(struct wal_live *live)
{
    RR_ASSERT(live->promised > 0);
    live->promised--;
}
/* The section lies in the write at `place`. Was promised. */
void wal_live_account(struct wal_live *live, const struct wal_section *section, const uint8_t *body,
                      const struct wal_place *place);

/* Where to read to get the entry `index` of a group that holds it: a write that has a section which
 * begins with *first_index <= index; what follows, in this segment, up to *last_index may be read
 * with it, once *durable_seq is durable: entries that were just written again are in flight. */
struct wal_place wal_live_find_entry(const struct wal_live *live, uint64_t group, uint64_t index,
                                     uint64_t *first_index, uint64_t *last_index,
                                     uint64_t *durable_seq);

/* A peer whose record is, with others', all that keeps the oldest segment: it must be staged again,
 * now. NULL: none. */
const struct wal_peer *wal_live_peer_to_move(struct wal_live *live);
bool wal_live_wants_rewrite(const struct wal_live *live, uint64_t *group);
/* Of the group's live entries, about. */
uint64_t wal_live_held_bytes(const struct wal_live *live, uint64_t group);
/* Is it time to move a group's entries for that, however many? */
bool wal_live_needs_room(const struct wal_live *live);
/* At the end of recovery: nobody continues the series that were not finished. */
void wal_live_drop_series(struct wal_live *live);
void wal_live_check(const struct wal_live *live);

#endif
