/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a log from its oldest write to its last: which writes are valid and follow each other,
 * and whether what ends them is a torn tail or corruption. Holds one segment in memory. Changes
 * nothing on disk. Blocking.
 *
 *     wal_scan_open, wal_scan_next … until it returns 0, wal_scan_judge; then wal_scan_rewind and
 * wal_scan_next again, for another pass over the same writes, or the last of them
 *
 * Torn: the first invalid write was never proven: no header in this segment or the next has a
 * durable_seq that reaches its sequence. With at most two writes in flight the write after next
 * proves it, and lies there.
 */
#ifndef RR_IO_WAL_SCAN_H
#define RR_IO_WAL_SCAN_H

#include "io/wal_segment.h"

struct wal_scan_place {
    uint32_t file; /* place in `numbers` */
    uint64_t offset;
};

/* Between two writes. */
struct wal_scan_point {
    struct wal_header header;  /* of the write before; seq 0: none */
    struct wal_scan_place at;  /* of that write */
    struct wal_scan_place end; /* behind it */
};

struct wal_scan {
    struct wal_segments *segments;
    struct rr_error *error;
    uint32_t seed;
    uint64_t numbers[WAL_SEGMENTS_MAX]; /* of the segments that exist, ascending */
    uint32_t count;
    uint8_t *buffer;              /* segment_bytes: the loaded segment, zeros where it is shorter */
    uint8_t *peek;                /* WAL_BLOCK_MIN */
    uint32_t loaded;              /* whose bytes these are; count: none */
    struct wal_header header;     /* of the newest valid write; seq 0: none yet */
    struct wal_scan_place at;     /* of that write */
    struct wal_scan_place end;    /* behind it: where the next one may stand */
    struct wal_scan_place damage; /* where the write that ends the log should have been */
};

/* Finds and opens the segments: their files are in segments->ring from then on. */
int wal_scan_open(struct wal_scan *scan, struct wal_segments *segments, uint32_t seed,
                  struct rr_error *error);
void wal_scan_close(struct wal_scan *scan);
/* 1: scan->header and *payload are the next write; 0: the log ends; negative: refused. */
int wal_scan_next(struct wal_scan *scan, const uint8_t **payload);
/* At the end: 0 if the rest is a torn tail or nothing; RR_E_CORRUPT if it was proven durable. */
int wal_scan_judge(struct wal_scan *scan);
/* Where the scan stands, to rewind it to; all zero: before the first write. */
static inline struct wal_scan_point wal_scan_point(const struct wal_scan *scan)
{
    return (struct wal_scan_point){.header = scan->header, .at = scan->at, .end = scan->end};
}
void wal_scan_rewind(struct wal_scan *scan, const struct wal_scan_point *point);
/* RR_E_CORRUPT or RR_E_VERSION with file, offset, sequence and remedy; `what` completes "write 17
 * …". */
int wal_scan_refuse(struct wal_scan *scan, int err, struct wal_scan_place place, uint64_t seq,
                    const char *what);

/* The lowest number of a segment in the directory, 0: none; or -errno. */
int wal_scan_lowest(struct io *io, const char *dir, uint64_t *number);

#endif
