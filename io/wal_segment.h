/* SPDX-License-Identifier: Apache-2.0
 *
 * The segments of one log: files of one size, numbered without a gap, in three parts:
 *
 *     oldest … (live) … active … (spares) … newest
 *
 * Writes go to the active one; when the next does not fit, the first spare becomes active without
 * touching a directory, because spares already bear their future number, durably. A worker keeps
 * two of them ready: by renaming the oldest segment once nothing live is in it, or, while the log
 * grows, by zeroing a new file in steps of 256 KiB. Segments are never unlinked or truncated in
 * service (a discard stalls the log).
 *
 * Loop thread, except refill jobs, which touch only struct wal_refill while they run. Failure path:
 * a refill that fails is tried again after a pause (space may return); a directory that could not
 * be synced fails the log.
 */
#ifndef RR_IO_WAL_SEGMENT_H
#define RR_IO_WAL_SEGMENT_H

#include "io/wal_format.h"

#define WAL_SEGMENTS_MAX      512u
#define WAL_SEGMENT_BYTES_MIN (64u * 1024)
#define WAL_SPARES_WANTED     2u
#define WAL_PATH_SIZE         1024u
#define WAL_DIR_SIZE          (WAL_PATH_SIZE - 32u)

struct wal_segment {
    uint64_t last_seq;       /* newest write placed here */
    uint64_t free_after_seq; /* what emptied it counts once this is durable */
    uint64_t held_bytes;     /* of sections that are held, about */
    uint32_t holders;        /* things in it that are live; see wal_live.h */
    uint32_t readers;        /* reads in flight: until they end it is not recycled */
    int fd;
};

enum wal_refill_kind {
    WAL_REFILL_ZERO,    /* the next 256 KiB of the file `from` */
    WAL_REFILL_PUBLISH, /* sync it, rename it to `to`, sync the directory */
    WAL_REFILL_RECYCLE, /* rename a dead segment to `to`, sync the directory */
};

/* The one job that is made or run at a time. */
struct wal_refill {
    struct io_job job;
    struct io *io;
    const char *dir;
    uint8_t *zeros;
    uint64_t offset; /* zeroed so far */
    uint64_t size;
    int fd; /* of the file being zeroed, or -1 */
    enum wal_refill_kind kind;
    int err; /* of the last run: 0 or -errno */
    bool is_direct;
    bool directory_failed; /* the directory may or may not hold what was renamed */
    bool is_running;
    char from[WAL_PATH_SIZE];
    char to[WAL_PATH_SIZE];
};

struct wal_segments {
    struct io *io;
    struct io_worker *worker;
    uint64_t segment_bytes;
    uint64_t oldest, active,
        newest;             /* numbers; oldest <= active <= newest < oldest + WAL_SEGMENTS_MAX */
    uint64_t offset;        /* of the next write in the active one */
    uint64_t step_after_ns; /* zeroing is throttled while a spare exists */
    uint64_t recycled_count;
    uint64_t zeroed_count; /* in service */
    uint64_t held_bytes;   /* of all segments */
    uint32_t count_max;    /* budget: bounds what may be proposed, not what must be written */
    int failed;            /* a directory sync failed: the log is to be poisoned */
    bool is_direct;        /* O_DIRECT|RWF_DSYNC; else buffered and fdatasync */
    bool is_full;          /* the last refill failed */
    bool is_short; /* what must be written found no room: worth a segment beyond the budget */
    struct wal_refill refill;
    struct wal_segment ring[WAL_SEGMENTS_MAX]; /* number mod WAL_SEGMENTS_MAX */
    char dir[WAL_DIR_SIZE];
};

static inline struct wal_segment *wal_segment_at(struct wal_segments *segments, uint64_t number)
{
    RR_ASSERT(number >= segments->oldest && number <= segments->newest);
    return &segments->ring[number % WAL_SEGMENTS_MAX];
}

static inline uint64_t wal_spare_count(const struct wal_segments *segments)
{
    return segments->newest - segments->active;
}

/* Takes what concerns segments from the options; no files yet. RR_E_INVALID, RR_E_NO_MEMORY,
 * RR_E_IO. */
int wal_segments_init(struct wal_segments *segments, const struct wal_options *options,
                      struct io_fs_info *info, struct rr_error *error);
/* Stops the worker, closes the files. */
void wal_segments_fini(struct wal_segments *segments);
/* "<dir>/wal-<number>" */
void wal_segment_path(const struct wal_segments *segments, char path[WAL_PATH_SIZE],
                      uint64_t number);
unsigned wal_segment_open_flags(const struct wal_segments *segments);
/* Blocking, before service: makes one more zeroed spare, durably. 0 or -errno. */
int wal_segments_make_spare(struct wal_segments *segments);
/* Starts service: from now on the worker refills. RR_E_NO_MEMORY. */
int wal_segments_start(struct wal_segments *segments);

/* A place for a write of `padded` bytes, rolling to the next segment if it must. False: not now, no
 * spare may be used for it: the last spare takes only writes without entries. */
bool wal_segments_place(struct wal_segments *segments, uint64_t seq, uint64_t padded,
                        bool has_entries, uint64_t *offset);
/* Is there room for a quarter segment of entries without the last spare, when `queued` padded bytes
 * wait? 0, RR_E_BUSY (soon), RR_E_NO_SPACE (the disk is full). */
int wal_segments_have_room(const struct wal_segments *segments, uint64_t queued);
/* Does as much fit into the budget? 0, RR_E_BUSY (soon: a segment is being recycled, or may be),
 * RR_E_NO_SPACE. */
int wal_segments_within_budget(const struct wal_segments *segments, uint64_t queued);
/* Starts a refill if one is due. Returns when to be called again (UINT64_MAX: at the next event).
 */
uint64_t wal_segments_tend(struct wal_segments *segments, uint64_t durable_seq, uint64_t now_ns);

void wal_segment_hold(struct wal_segments *segments, uint64_t number, uint64_t bytes);
/* A holder holds so much more. */
void wal_segment_grow_hold(struct wal_segments *segments, uint64_t number, uint64_t bytes);
/* What was held is dead once `seq` is durable. */
void wal_segment_release(struct wal_segments *segments, uint64_t number, uint64_t bytes,
                         uint64_t seq);
void wal_segment_pin(struct wal_segments *segments, uint64_t number);
void wal_segment_unpin(struct wal_segments *segments, uint64_t number);
void wal_segments_check(const struct wal_segments *segments);

#endif
