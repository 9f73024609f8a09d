/* SPDX-License-Identifier: Apache-2.0
 *
 * The write-ahead log of one loop, shared by its groups. The unit is the write: one O_DIRECT|RWF_DSYNC
 * write of a 64-byte header and 8-byte aligned sections, padded to the block; valid whole or not at all. Formats
 * are in wal_format.h. Loop thread only, except wal_open (before the loop starts).
 *
 * Happy path: sections are staged into the filling write (in place, or copied); wal_flush at the end of a turn seals
 * and submits what may go (one write in flight; a second when at least 64 KiB wait); completions advance
 * durable_seq over the contiguous prefix; on_durable tells the engine. Failure path: a failed write poisons the log for the life of
 * the process: durable_seq never moves again, on_poisoned is called once, staging returns RR_E_POISONED.
 */
#ifndef RR_IO_WAL_H
#define RR_IO_WAL_H

#include "io/io.h"

#include <ringraft/error.h>
#include <ringraft/types.h>

struct wal;

struct wal_options {
    struct io *io;
    const char *dir;            /* the data directory; segments lie in it */
    uint64_t instance_id;       /* seeds every header's CRC */
    uint64_t segment_bytes;     /* multiple of the block; 64 MiB by default */
    uint64_t wal_bytes_max;     /* budget of padded bytes on disk; 4 GiB by default */
    uint32_t write_bytes_max;   /* cut point, 1 MiB; a write holds at least one entry */
    uint32_t second_write_bytes_min; /* 64 KiB */
    uint64_t mark_delay_ns;     /* idle time after which a mark proves the tail */
    uint64_t nonce;             /* of this boot, for the `open` section */
    void *ctx;
    void (*on_durable)(void *ctx, uint64_t durable_seq);  /* from a completion, loop thread; may only record */
    void (*on_poisoned)(void *ctx, int err);
};

/* A group's state as a `state` section carries it. */
struct wal_state {
    uint64_t group;
    struct rr_hard_state hard_state;
    struct rr_snapshot_metadata metadata;  /* index/term of the snapshot; ConfState */
    uint64_t first_index;                  /* first entry kept; metadata.index + 1 or below */
    uint64_t first_prev_term;              /* term of entry first_index - 1 */
    uint64_t last_index;
    uint64_t last_term;
    const uint8_t *snapshot_data;          /* inline snapshot, at most WAL_INLINE_SNAPSHOT_MAX */
    uint32_t snapshot_size;
    bool has_snapshot_data;
};
#define WAL_INLINE_SNAPSHOT_MAX (64u * 1024)

/* A peer's identity as last accepted (DESIGN section 7). */
struct wal_peer {
    uint64_t node;
    uint64_t instance;
    uint64_t boot;
    uint64_t nonce;
};

/* Recovery hands over what is durable, in log order. Entries: `bytes` is a run of encoded elements inside
 * `block` (take references to keep it); the first has index first_index; those at and above it in the group are truncated first. */
struct wal_recovery {
    void *ctx;
    int (*on_state)(void *ctx, const struct wal_state *state);
    int (*on_entries)(void *ctx, uint64_t group, uint64_t first_index, uint32_t count, uint64_t commit,
                      const uint8_t *bytes, uint32_t size, struct rr_block *block);
    int (*on_peer)(void *ctx, const struct wal_peer *peer);
};

/* Creates the segments of an empty directory (`wal_create`; durable on return), or recovers (`wal_open`): cuts a torn
 * tail, refuses corruption (RR_E_CORRUPT with file, offset, sequence, remedy; nothing is changed), then makes the `open` section durable
 * with the next boot count. Blocking. */
int wal_create(const struct wal_options *options, struct rr_error *error);
int wal_open(const struct wal_options *options, const struct wal_recovery *recovery, struct wal **wal,
             struct rr_error *error);
/* Waits for nothing: call after io_join (no write in flight). */
void wal_free(struct wal *wal);

uint64_t wal_boot(const struct wal *wal);         /* this boot's count */

/* ---- staging (all return 0 or RR_E_POISONED / RR_E_NO_SPACE) --------------------------------------- */

/* Room for entries that are encoded in place: `*at` points into the log block behind an open section of `group`,
 * with at least `size` bytes (which must hold one entry's encoding; the cut point is respected: returns RR_E_BUSY when the
 * filling write is too full and must be flushed first). Nothing is staged until wal_commit_entries; wal_rollback undoes. */
int wal_reserve_entries(struct wal *wal, uint64_t group, uint32_t size, uint8_t **at, struct rr_block **block);
/* `used` bytes at `*at` hold `count` entries from first_index on; `crc` is their CRC32C. */
int wal_commit_entries(struct wal *wal, uint64_t first_index, uint32_t count, uint32_t used, uint32_t crc,
                       uint64_t commit);
void wal_rollback_entries(struct wal *wal);

/* Copies a run of entries (encoding those with wire_size 0), cutting it over writes as needed. The descriptors in `staged`
 * (room for count) are the same entries with data and block inside the log; they hold no references yet. */
int wal_append_entries(struct wal *wal, uint64_t group, const struct rr_entry *entries, uint32_t count,
                       uint64_t commit, struct rr_entry *staged);
int wal_append_state(struct wal *wal, const struct wal_state *state);
int wal_append_peer(struct wal *wal, const struct wal_peer *peer);

/* The write that what was staged last belongs to; durable once durable_seq reaches it. Staging order is write order. */
uint64_t wal_staged_seq(const struct wal *wal);
uint64_t wal_durable_seq(const struct wal *wal);

/* May a write be started now (none in flight, or one and at least second_write_bytes_min wait)? DESIGN 4.1. */
bool wal_can_write(const struct wal *wal, uint64_t waiting_bytes);
/* Are entries admitted (a whole spare segment exists, the budget holds)? false: proposals become RR_E_BUSY / RR_E_NO_SPACE. */
int wal_admits_entries(const struct wal *wal);
/* End of turn: seals and submits what may go, marks, refills spares. Returns the next deadline (UINT64_MAX: none). */
uint64_t wal_flush(struct wal *wal, uint64_t now_ns);
/* Nothing staged or in flight. */
bool wal_is_idle(const struct wal *wal);

/* ---- recycling ---------------------------------------------------------------------------------------- */

/* The group needs nothing below `first_index` any more, and its newest state section was staged after that. */
void wal_compact(struct wal *wal, uint64_t group, uint64_t first_index);
/* A group whose state (and small tail) should be written again so that old segments can be recycled, or false. */
bool wal_wants_rewrite(const struct wal *wal, uint64_t *group);
/* The group's entries [first, last], at most 1 MiB encoded, written again as one section that does not count as truncation. */
int wal_rewrite_tail(struct wal *wal, uint64_t group, const struct rr_entry *entries, uint32_t count,
                     uint64_t commit, struct rr_entry *staged);

/* CRC32C of [bytes, bytes + size) if that range is a run whose CRC is known from staging; false: compute it. */
bool wal_run_crc(const struct rr_block *block, const uint8_t *bytes, uint32_t size, uint32_t *crc);

struct wal_stats {
    uint64_t write_count;          /* durable writes submitted */
    uint64_t entry_count;
    uint64_t payload_bytes;        /* entry bytes */
    uint64_t padded_bytes;         /* bytes on disk */
    uint64_t mark_count;
    uint64_t segments_recycled;
    uint64_t segments_zeroed;      /* in service; 0 in steady state */
    uint64_t segment_count;
    uint64_t bytes_live;           /* padded bytes in segments not recyclable */
    uint64_t write_in_flight_since_ns; /* 0: none; age of the oldest unfinished write */
    bool is_direct;                /* false: buffered + fdatasync fallback */
    bool is_ram;
};
void wal_stats(const struct wal *wal, struct wal_stats *stats);

#endif
