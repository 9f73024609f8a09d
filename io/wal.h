/* SPDX-License-Identifier: Apache-2.0
 *
 * The write-ahead log of one loop, shared by its groups. The unit is the write: one
 * O_DIRECT|RWF_DSYNC write of a 64-byte header and 8-byte aligned sections, padded to the block;
 * valid whole or not at all. Formats are in wal_format.h. Loop thread only, except wal_open (before
 * the loop starts).
 *
 * Happy path: sections are staged into the filling write (in place, or copied); what does not fit
 * seals it and begins the next, sealed writes queue; wal_flush at the end of a turn submits what
 * may go (one write in flight; a second when at least 64 KiB wait); completions advance durable_seq
 * over the contiguous prefix; on_durable tells the engine. Failure path: a failed write poisons the
 * log for the life of the process: durable_seq never moves again, on_poisoned is called once,
 * staging returns RR_E_POISONED.
 */
#ifndef RR_IO_WAL_H
#define RR_IO_WAL_H

#include "io/io.h"

#include <ringraft/error.h>
#include <ringraft/types.h>

struct wal;

struct wal_options {
    struct io *io;
    const char *dir;        /* the data directory; segments lie in it */
    uint64_t instance_id;   /* seeds every header's CRC */
    uint64_t segment_bytes; /* multiple of 4 KiB, at least 64 KiB; a directory keeps the size it was
                               made with */
    uint64_t wal_bytes_max; /* budget of segments on disk; 4 GiB by default. Holds back proposals
                               only; never more than 512 segments are made */
    uint32_t write_bytes_max; /* cut point, 1 MiB; a write holds at least one entry; at most a
                                 quarter segment */
    uint32_t second_write_bytes_min; /* 64 KiB */
    uint64_t mark_delay_ns;          /* idle time after which a mark proves the tail */
    uint64_t nonce;                  /* of this boot, for the `open` section */
    bool forbids_moved; /* an older build may have to read this log: see wal_allow_moved */
    void *ctx;
    void (*on_durable)(void *ctx,
                       uint64_t durable_seq); /* from a completion, loop thread; may only record */
    void (*on_poisoned)(void *ctx, int err);
    /* What was to be moved of a group is not what was written; `error` says where. From
     * wal_flush. */
    void (*on_damage)(void *ctx, uint64_t group, const struct rr_error *error);
};

/* A group's state as a `state` section carries it. Each is whole: the newest replaces all earlier
 * ones, snapshot data and all, and what lies below its first_index is compacted: its segments are
 * recycled once the state is durable. It is staged before the entries of the same append;
 * last_index is the group's last staged entry as of here (for an installed snapshot: its index),
 * which recovery checks. A group's first section is a state. */
struct wal_state {
    uint64_t group;
    struct rr_hard_state hard_state;
    struct rr_snapshot_metadata metadata; /* index/term of the snapshot; ConfState */
    uint64_t first_index;                 /* first entry kept; metadata.index + 1 or below */
    uint64_t first_prev_term;             /* term of entry first_index - 1 */
    uint64_t last_index;
    uint64_t last_term;
    const uint8_t *snapshot_data; /* inline snapshot, at most WAL_INLINE_SNAPSHOT_MAX */
    uint32_t snapshot_size;
    bool has_snapshot_data;    /* the snapshot is inline … */
    bool has_snapshot_file;    /* … or lies in a file of its own */
    const uint8_t *group_data; /* opaque, as of the snapshot; at most WAL_GROUP_DATA_MAX */
    uint32_t group_data_size;
};
#define WAL_INLINE_SNAPSHOT_MAX (64u * 1024)
#define WAL_GROUP_DATA_MAX      (16u * 1024)

/* A peer's identity as last accepted. */
struct wal_peer {
    uint64_t node;
    uint64_t instance;
    uint64_t boot;
    uint64_t nonce;
};

/* Recovery hands over what is durable: first the newest state of each group (once), then each peer
 * (newest record), then runs of entries in log order. Runs that a state made dead are left out or
 * cut, so that a group's runs begin at or below its first_index, have no gap, and only truncate
 * each other: `bytes` is a run of `count` encoded elements inside `block` (take references to keep
 * it); the first has index first_index; those at and above it in the group are truncated first.
 * Nothing has been changed on disk when these are called; a negative return ends recovery and
 * becomes wal_open's. */
struct wal_recovery {
    void *ctx;
    int (*on_state)(void *ctx, const struct wal_state *state);
    int (*on_entries)(void *ctx, uint64_t group, uint64_t first_index, uint32_t count,
                      uint64_t commit, const uint8_t *bytes, uint32_t size, struct rr_block *block);
    int (*on_peer)(void *ctx, const struct wal_peer *peer);
    /* At the end, and optional: this boot is about to begin; whatever must be durable before it. */
    int (*on_boot)(void *ctx, uint64_t boot, struct rr_error *error);
};

/* Makes the first segments of a directory without identity (durable on return; what a half-made
 * creation left is made again); identity_write comes after it. RR_E_CORRUPT: a log lies there whose
 * identity was lost; nothing was changed. Blocking. */
int wal_create(const struct wal_options *options, struct rr_error *error);
/* Recovers: cuts a torn tail, refuses corruption (RR_E_CORRUPT with file, offset, sequence, remedy;
 * nothing is changed), then makes the `open` section durable with the next boot count, which a mark
 * proves in the first turn. On a full disk these two blocks come from the last spare segment, which
 * entries may not use: so many restarts are possible as it has room for, then RR_E_NO_SPACE.
 * Blocking, before the loop starts. */
int wal_open(const struct wal_options *options, const struct wal_recovery *recovery,
             struct wal **wal, struct rr_error *error);
/* After io_join (no write in flight). What was staged and not submitted is dropped. Log blocks that
 * are still referenced stay valid until they are put. */
void wal_free(struct wal *wal);

uint64_t wal_boot(const struct wal *wal); /* this boot's count */

/* ---- staging ------------------------------------------------------------------------- */

/* All of these return 0 or RR_E_POISONED, RR_E_NO_MEMORY, RR_E_TOO_LARGE (it fits in no segment).
 * Staging never waits for room on disk: ask wal_admits_entries or wal_admits_proposals before
 * entries are staged. */

/* Room for entries that are encoded in place: `*at` points into the log block behind an open
 * section of `group`, with at least `size` bytes. Seals the filling write if that is too full.
 * Nothing is staged until wal_commit_entries; wal_rollback_entries undoes. Nothing else may be
 * staged in between. `*block` is borrowed: the descriptors made from it take references of their
 * own. For more than one entry ask for at most wal_run_bytes_max. */
int wal_reserve_entries(struct wal *wal, uint64_t group, uint32_t size, uint8_t **at,
                        struct rr_block **block);
/* `used` bytes at `*at` hold `count` entries from first_index on; `crc` is their CRC32C. */
void wal_commit_entries(struct wal *wal, uint64_t first_index, uint32_t count, uint32_t used,
                        uint32_t crc, uint64_t commit);
void wal_rollback_entries(struct wal *wal);
uint32_t wal_run_bytes_max(const struct wal *wal);

/* Copies a run of entries (encoding those with wire_size 0), cutting it over writes as needed. The
 * descriptors in `staged` (room for count; may be `entries`) are the same entries with data and
 * block inside the log; they hold no references yet: take them before the next wal_flush. After an
 * error a part of the run may be staged: the group cannot go on. */
int wal_append_entries(struct wal *wal, uint64_t group, const struct rr_entry *entries,
                       uint32_t count, uint64_t commit, struct rr_entry *staged);
int wal_append_state(struct wal *wal, const struct wal_state *state);
/* The group leaves the log: once this is durable, nothing of it is live, and no recovery brings it
 * back; a state would begin it anew. */
int wal_append_gone(struct wal *wal, uint64_t group);
int wal_append_peer(struct wal *wal, const struct wal_peer *peer);

/* The write that what was staged last belongs to; durable once durable_seq reaches it. Staging
 * order is write order. */
uint64_t wal_staged_seq(const struct wal *wal);
uint64_t wal_durable_seq(const struct wal *wal);

/* Since when the oldest section that is not durable has been staged, in flight or not; 0: there is
 * none. */
uint64_t wal_oldest_unfinished_ns(const struct wal *wal);

/* May a write be started now (none in flight, or one and at least second_write_bytes_min wait)? */
bool wal_can_write(const struct wal *wal, uint64_t waiting_bytes);
/* Is there room on the disk for entries that a leader sends? 0; RR_E_BUSY: soon (a spare segment is
 * being made); RR_E_NO_SPACE: not before space returns or a group is compacted; RR_E_POISONED. The
 * budget is not asked: what a follower is refused may be what truncates or commits, and so frees,
 * its own tail. Segments beyond the budget are made for it. */
int wal_admits_entries(struct wal *wal);
/* And within wal_bytes_max too, for what this node would propose? The same codes; RR_E_NO_SPACE:
 * the disk is full or the budget is used up. */
int wal_admits_proposals(const struct wal *wal);
/* Does the disk give no room for the next segment, and is that why entries are not admitted? */
bool wal_is_full(const struct wal *wal);
/* End of turn: submits what may go, marks, keeps spares ready. Returns the next deadline
 * (UINT64_MAX: none). */
uint64_t wal_flush(struct wal *wal, uint64_t now_ns);
/* Clean close: stages a mark if the tail is not proven; turn until wal_is_idle, then stop the loop.
 */
void wal_close_mark(struct wal *wal);
/* Nothing staged or in flight (always, when poisoned: nothing of it will ever be durable). */
bool wal_is_idle(const struct wal *wal);

/* ---- recycling ----------------------------------------------------------------------- */

/* A group whose state and entries should be written again so that old segments can be recycled, or
 * false: up to wal_tail_bytes_max of entries at once (wal_rewrite_tail); with more it should have a
 * snapshot first, or, if it cannot, be moved. Names the same group until that is done. */
bool wal_wants_rewrite(const struct wal *wal, uint64_t *group);
uint32_t wal_tail_bytes_max(const struct wal *wal); /* 1 MiB, less with tiny segments */
/* After wal_append_state: the group's entries from its first_index to its last, at most
 * wal_tail_bytes_max encoded, written again as one section. */
int wal_rewrite_tail(struct wal *wal, uint64_t group, const struct rr_entry *entries,
                     uint32_t count, uint64_t commit, struct rr_entry *staged);

/* Is it time to move a group, and is none being moved? One that holds no more than
 * wal_tail_bytes_max (and left the engine's memory) always; a larger one when the log needs the
 * room: it takes half of wal_bytes_max, and a quarter of that at least is dead. */
bool wal_wants_move(const struct wal *wal, uint64_t group);
/* If so, and after wal_append_state: all of the group's entries are written again, a piece of 64
 * KiB at a time. Whatever else is staged of the group meanwhile ends that, without loss. */
void wal_move_start(struct wal *wal, uint64_t group);
/* From now on only builds that know moved entries open this directory. */
void wal_allow_moved(struct wal *wal);

/* CRC32C of [bytes, bytes + size) if that range is a run whose CRC is known from staging; false:
 * compute it. Any block may be asked about. */
bool wal_run_crc(const struct rr_block *block, const uint8_t *bytes, uint32_t size, uint32_t *crc);

/* Memory of the log's bytes that somebody refers to: blocks being filled or written, and all whose
 * references the engine keeps. */
uint64_t wal_block_bytes(const struct wal *wal);
/* Of one such block, unless a single entry needs a larger one. */
uint32_t wal_block_size(const struct wal *wal);

/* What the group has put on disk in this boot: its sections, and header and padding of the writes
 * in which it was the first. */
uint64_t wal_group_bytes(const struct wal *wal, uint64_t group);

struct wal_stats {
    uint64_t write_count; /* durable writes submitted */
    uint64_t entry_count;
    uint64_t payload_bytes; /* entry bytes */
    uint64_t padded_bytes;  /* bytes on disk */
    uint64_t mark_count;
    uint64_t read_count;  /* reads of old entries that were answered */
    uint64_t moved_bytes; /* entry bytes of what wal_move_start caused */
    uint64_t segments_recycled;
    uint64_t segments_zeroed; /* in service; 0 in steady state */
    uint64_t segment_count;
    uint64_t bytes_live; /* padded bytes from the oldest live segment to the tail */
    bool is_direct;      /* false: buffered + fdatasync fallback */
    bool is_ram;
};
void wal_stats(const struct wal *wal, struct wal_stats *stats);
/* Asserts what must hold between two calls. */
void wal_check(const struct wal *wal);

#endif
