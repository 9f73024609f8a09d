/* SPDX-License-Identifier: Apache-2.0
 *
 * The log's own view of itself, shared by wal.c (opening, status), wal_create.c, wal_stage.c (what
 * goes into a write), wal_write.c (how a write becomes durable), wal_read.c, wal_move.c and
 * wal_recover.c.
 * Nobody else includes it.
 *
 * The life of a write, and what it waits for:
 *
 *     FILLING -full, or its turn-> QUEUED --> WRITING -------------> DONE
 *                                                +---> SYNCING -------+
 *
 * FILLING waits for sections, QUEUED for its turn, a place on disk and one of two slots, WRITING
 * for the whole write to succeed, SYNCING (buffered mode) for the sync, DONE for its predecessors.
 */
#ifndef RR_IO_WAL_IMPL_H
#define RR_IO_WAL_IMPL_H

#include "io/log_block.h"
#include "io/wal_live.h"
#include "io/wal_read.h"

#define WAL_WRITES_IN_FLIGHT_MAX 2u
#define WAL_READS_IN_FLIGHT_MAX  2u /* the log's writes go first */

enum wal_write_state {
    WAL_WRITE_IDLE,    /* in the pool */
    WAL_WRITE_FILLING, /* sections are added */
    WAL_WRITE_QUEUED,  /* sealed; waits for a place and a slot */
    WAL_WRITE_WRITING,
    WAL_WRITE_SYNCING, /* buffered mode: fdatasync after the write */
    WAL_WRITE_DONE,    /* durable, if all before it are */
};

struct wal_write {
    struct io_op op;
    struct iovec iov;
    struct wal *wal;
    struct wal_write *next;  /* in the pool, the queue or the line of those in flight */
    struct log_block *block; /* one reference */
    uint32_t start;          /* of the header in the block; aligned */
    uint32_t used;           /* header and sections so far */
    uint32_t cap;            /* cut point for `used` */
    uint32_t section_count;
    uint32_t payload_crc;
    uint32_t retry_count; /* short writes */
    uint64_t seq;
    uint64_t begun_ns; /* its first section was staged */
    enum wal_write_state state;
    bool has_entries;
    bool has_content; /* anything but a mark */
    bool is_open;
    bool must_prove; /* changed a term or vote, or the boot */
};

/* Entries being encoded in place, behind a section header that is not yet written. */
struct wal_reservation {
    uint64_t group;
    uint32_t size; /* 0: none */
};

/* A read in flight; see wal_read.c. */
struct wal_read_slot {
    struct io_op op;
    struct iovec iov;
    struct wal *wal;
    struct wal_read *read; /* NULL: forgotten, or the slot is free */
    uint8_t *buffer;       /* as read from the segment */
    void *run;             /* what was verified of the group, `run_size` bytes of entries … */
    uint32_t run_size;
    uint32_t cap;           /* of both */
    uint64_t run_first;     /* … from here on; consecutive */
    uint64_t group;         /* whose entries */
    uint64_t wanted;        /* the entry that the answer must hold */
    uint64_t next_index;    /* expected next */
    uint64_t last_index;    /* not beyond it */
    uint64_t need;          /* bytes of the write that did not lie whole in the buffer, or 0 */
    struct wal_place place; /* of the next write; the segment is pinned */
    uint32_t retry_count;   /* short reads */
    bool has_begun;         /* the section that begins with the first entry was found */
    bool is_taken;
};

enum wal_move_state { WAL_MOVE_IDLE, WAL_MOVE_WAITING, WAL_MOVE_READING, WAL_MOVE_HOLDING };

/* The group whose entries are being moved; see wal_move.c. */
struct wal_move {
    enum wal_move_state state;
    uint64_t group;
    uint64_t staged_seq; /* of the newest piece */
    uint64_t next_index; /* of the next piece; 0: the first */
    uint64_t last_index; /* of the last */
    struct wal_read read;
    struct rr_block *block; /* ours: what was read … */
    const uint8_t *bytes;   /* … and is not staged yet, */
    uint32_t size;
    uint64_t bytes_index; /* from this entry on */
};

struct wal {
    struct wal_options options;
    struct io *io;
    struct wal_segments segments;
    struct wal_live live;
    struct log_block_pool *pool;
    struct log_block *block;   /* where the next filling write begins; one reference; NULL: none */
    struct wal_write *filling; /* NULL: none */
    struct wal_write *queue, **queue_end;   /* sealed */
    struct wal_write *flight, **flight_end; /* submitted, in order of seq */
    struct wal_write *idle;
    struct wal_read *waiting_reads; /* in order */
    struct wal_read_slot reads[WAL_READS_IN_FLIGHT_MAX];
    struct wal_reservation reservation;
    struct wal_move move;
    uint64_t boot;
    uint64_t next_seq;    /* of the next filling write */
    uint64_t durable_seq; /* all writes up to it are durable */
    uint64_t
        proven_seq; /* the durable_seq that the newest submitted header carries; <= durable_seq */
    uint64_t content_seq;    /* newest submitted write with anything but a mark */
    uint64_t must_prove_seq; /* newest submitted write that must not stay unproven */
    uint64_t idle_since_ns;  /* when the newest completion came */
    uint64_t queued_bytes;   /* padded, of sealed writes that wait */
    uint32_t flight_count;
    uint32_t seed;
    uint32_t block_bytes; /* padding of a write */
    uint32_t last_padded; /* size of the previous write, a guess for the next */
    int poisoned;         /* 0, or the error that did it */
    bool is_closing;      /* wal_close_mark was called */
    struct io_fs_info fs;
    struct wal_stats stats;
};

/* ---- wal.c --------------------------------------------------------------------------- */

/* A log without files. On failure there is nothing to free. */
int wal_new(const struct wal_options *options, struct wal **wal, struct rr_error *error);

/* ---- wal_stage.c --------------------------------------------------------------------- */

/* Sections that the log adds of its own accord. */
int wal_stage_open(struct wal *wal, uint64_t nonce);
int wal_stage_mark(struct wal *wal);
/* A piece of a series. */
int wal_stage_moved(struct wal *wal, const struct wal_section *section, const uint8_t *body);
/* The filling write, if it has sections, goes to the end of the queue. */
void wal_seal(struct wal *wal);

/* ---- wal_write.c --------------------------------------------------------------------- */

/* -errno of a file operation as enum rr_err. */
int wal_error_of(int err);
/* Blocking, before service: what is staged becomes durable. RR_E_NO_SPACE: no place; RR_E_IO. */
int wal_write_now(struct wal *wal, struct rr_error *error);
void wal_release_write(struct wal *wal, struct wal_write *write);
/* Bytes that are staged and not submitted. */
uint64_t wal_waiting_bytes(const struct wal *wal);
static inline struct wal_header *wal_write_header(const struct wal_write *write)
{
    return (struct wal_header *)(void *)(write->block->base.bytes + write->start);
}

/* ---- wal_read.c ---------------------------------------------------------------------- */

/* Begins with what waits and may be read now. */
void wal_read_waiting(struct wal *wal);
void wal_reads_free(struct wal *wal);

/* ---- wal_move.c ---------------------------------------------------------------------- */

/* At the end of a turn: what may be done of it now. */
void wal_move_advance(struct wal *wal);
/* What was written of it is worthless. May be called when nothing is moved. */
void wal_move_cancel(struct wal *wal);

/* ---- wal_recover.c ------------------------------------------------------------------- */

/* The size of the directory's segments: of the one with the lowest number. RR_E_CORRUPT: there is
 * none. */
int wal_find_segment_bytes(struct io *io, const char *dir, uint64_t *bytes, struct rr_error *error);
/* Reads the log, hands it over, leaves it ready for the open section. Changes nothing unless it
 * returns 0. */
int wal_recover(struct wal *wal, const struct wal_recovery *recovery, struct rr_error *error);

#endif
