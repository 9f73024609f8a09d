/* SPDX-License-Identifier: Apache-2.0
 *
 * The log's bytes on disk, and the pure functions that judge them. Little endian. Any thread.
 *
 *     segment   | write | write | … | free: zeros, or leftovers of an earlier lap |
 *     write     | header 64 | section | section | … | zeros up to the block |
 *     section   | header 40 | body | zeros up to 8 |
 *
 * A segment is a file `wal-<number in 16 hex digits>`, numbers without a gap.
 * A write is valid whole or not at all. Its header's CRC covers all 64 bytes (its own field taken
 * as zero) and is seeded with the directory's instance id, so that no payload can forge a header
 * and no foreign segment passes. `epoch` is the number of the segment it was written to.
 *
 * Order: a write follows its predecessor if seq is one more, epoch equal or the next, boot equal;
 * only a write that begins with an `open` section raises boot, by one. So nothing written before a
 * restart can follow what is written after it, and nothing of an earlier lap follows anything.
 */
#ifndef RR_IO_WAL_FORMAT_H
#define RR_IO_WAL_FORMAT_H

#include "io/wal.h"
#include "proto/base.h"

#define WAL_MAGIC           0x4c575252u /* "RRWL" */
#define WAL_FORMAT          1u
#define WAL_BLOCK_MIN       4096u /* what recovery looks at; a write is padded to this or more */
#define WAL_BLOCK_SHIFT_MAX 20u   /* 1 MiB: no device has larger physical blocks */
#define WAL_NAME_SIZE       21u   /* "wal-" + 16 hex digits + NUL */

enum wal_write_flags {
    WAL_WRITE_OPEN = 1, /* begins with an `open` section: boot is one more than the predecessor's */
};

struct wal_header {
    uint32_t magic;
    uint16_t format;
    uint8_t block_shift; /* padded to 1 << block_shift bytes */
    uint8_t flags;       /* enum wal_write_flags */
    uint64_t epoch;      /* number of the segment; > 0 */
    uint64_t boot;       /* of the process that wrote it; 0: wal_create */
    uint64_t seq;        /* 1, 2, 3… over the life of the log */
    uint64_t
        durable_seq; /* < seq: every write up to this one was durable when this was submitted */
    uint32_t length; /* bytes of sections behind this header; a multiple of 8 */
    uint32_t payload_crc;   /* of those */
    uint32_t section_count; /* >= 1 */
    uint32_t reserved[2];   /* 0 */
    uint32_t header_crc;
};
_Static_assert(sizeof(struct wal_header) == 64, "the header's size is part of the format");
_Static_assert(offsetof(struct wal_header, seq) == 24, "no padding inside");
_Static_assert(offsetof(struct wal_header, header_crc) == 60, "no padding inside");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "headers are written as they lie in memory");

/* X(kind, number) */
#define WAL_SECTION_MAP(X)                                                                         \
    X(ENTRIES, 1) /* body: a run of encoded entries; truncates its group at first_index */         \
    X(STATE, 2)   /* body: struct wal_state_body, metadata, snapshot data */                       \
    X(PEER, 3)    /* body: struct wal_peer */                                                      \
    X(OPEN, 4)    /* body: struct wal_open_body */                                                 \
    X(MARK, 5)    /* no body: its write's header proves the tail */                                \
    X(GONE, 6)    /* no body: all before it of its group is dead; a state may begin it anew */     \
    X(MOVED, 7)   /* body: entries that the log holds already, as one piece of a series */

enum wal_section_kind {
#define X(name, number) WAL_SECTION_##name = (number),
    WAL_SECTION_MAP(X)
#undef X
};

/* A group's live entries, first to last, written again in pieces. A series counts from its last
 * piece on: then it takes the place of all entries before it. Any other section of the group before
 * that, or a new first piece, makes what there is of it worthless. Once the series counts, its
 * first pieces may be compacted and recycled like any entries. */
enum wal_moved_part { WAL_MOVED_FIRST = 1, WAL_MOVED_LAST = 2 };

struct wal_section {
    uint16_t kind;        /* enum wal_section_kind */
    uint16_t reserved;    /* 0 */
    uint32_t length;      /* bytes of body, without padding */
    uint64_t group;       /* 0 for sections of the whole log */
    uint64_t first_index; /* entries, moved: > 0 */
    uint64_t commit;      /* the group's commit when this was staged */
    uint32_t count;       /* entries, moved: > 0 */
    uint32_t part;        /* moved: set of enum wal_moved_part; else 0 */
};
_Static_assert(sizeof(struct wal_section) == 40, "the section header's size is part of the format");

struct wal_state_body {
    uint64_t term;
    uint64_t vote;
    uint64_t commit;
    uint64_t first_index;
    uint64_t first_prev_term;
    uint64_t last_index;
    uint64_t last_term;
    uint32_t metadata_size;   /* raftpb.SnapshotMetadata follows */
    uint32_t snapshot_size;   /* then the inline snapshot */
    uint32_t has_snapshot;    /* enum wal_state_snapshot */
    uint32_t group_data_size; /* then this; 0 in what feature level 1 wrote */
};

enum wal_state_snapshot {
    WAL_STATE_NO_SNAPSHOT,
    WAL_STATE_INLINE_SNAPSHOT,
    WAL_STATE_SNAPSHOT_FILE, /* since feature level 2 */
};
_Static_assert(sizeof(struct wal_state_body) == 72, "the state's fixed part is part of the format");
_Static_assert(sizeof(struct wal_peer) == 32, "a peer section's body is part of the format");

struct wal_open_body {
    uint64_t boot;
    uint64_t nonce;
};
_Static_assert(sizeof(struct wal_open_body) == 16, "an open section's body is part of the format");

/* What the header CRC begins with. */
uint32_t wal_seed(uint64_t instance_id);
/* Sets header_crc. */
void wal_header_seal(struct wal_header *header, uint32_t seed);

enum wal_header_verdict {
    WAL_HEADER_INVALID, /* no header of this log */
    WAL_HEADER_VALID,
    WAL_HEADER_FOREIGN, /* a header of this log, in a format that this version does not know */
};
/* Judges the 64 bytes at `bytes`; if VALID, `*header` is a copy and its fields are within their
 * limits. */
enum wal_header_verdict wal_header_check(const uint8_t *bytes, uint32_t seed,
                                         struct wal_header *header);

/* Bytes on disk, padding included. */
static inline uint64_t wal_padded_size(const struct wal_header *header)
{
    return rr_align_up(sizeof(*header) + (uint64_t)header->length,
                       (uint64_t)1 << header->block_shift);
}

/* May `next` come directly after `previous`? */
bool wal_header_follows(const struct wal_header *previous, const struct wal_header *next);
bool wal_payload_check(const struct wal_header *header, const uint8_t *payload);

/* The sections of a payload whose CRC is right. `failed` is 0, or RR_E_CORRUPT / RR_E_VERSION (a
 * kind that this version does not know) once the walk met something that no writer of this format
 * writes. */
struct wal_section_walk {
    const uint8_t *at;
    const uint8_t *end;
    struct wal_section section; /* the current one */
    const uint8_t *body;
    uint32_t left; /* sections to come */
    int failed;
};
struct wal_section_walk wal_sections(const struct wal_header *header, const uint8_t *payload);
bool wal_section_next(struct wal_section_walk *walk);

/* Bytes of section header, body and padding. */
static inline uint64_t wal_section_size(uint64_t body)
{
    return sizeof(struct wal_section) + rr_align_up(body, 8);
}

uint64_t wal_state_size(const struct wal_state *state);
void wal_state_encode(const struct wal_state *state, uint8_t *body);
/* Arrays and data point into `ids` (wal_state_ids_size bytes, 8-byte aligned) and `body`.
 * RR_E_CORRUPT, RR_E_TOO_LARGE. */
int wal_state_decode(const struct wal_section *section, const uint8_t *body, void *ids,
                     size_t ids_size, struct wal_state *state);
static inline size_t wal_state_ids_size(const struct wal_section *section)
{
    return (size_t)section->length * sizeof(uint64_t); /* the shortest id takes a byte */
}

/* The size of the first `count` encoded entries of a run. False: they are
 * not there. */
bool wal_run_cut(const uint8_t *bytes, uint32_t size, uint32_t count, uint32_t *cut_size);

void wal_segment_name(char name[WAL_NAME_SIZE], uint64_t number);
/* 0: not a segment's name. */
uint64_t wal_segment_number(const char *name);

#endif
