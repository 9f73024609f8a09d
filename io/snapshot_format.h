/* SPDX-License-Identifier: Apache-2.0
 *
 * How a snapshot file lies on disk; snapshot_file.h draws it. Little endian. Between
 * snapshot_file.c, snapshot_part.c and their tests.
 */
#ifndef RR_IO_SNAPSHOT_FORMAT_H
#define RR_IO_SNAPSHOT_FORMAT_H

#include "io/snapshot_file.h"

#define SNAPSHOT_MAGIC      0x70616e7374666172ull /* "raftsnap" */
#define SNAPSHOT_TAIL_MAGIC 0x646e6570616e7372ull /* "rsnapend" */
#define SNAPSHOT_FORMAT     1u
#define SNAPSHOT_HEAD_ALIGN 4096u

struct snapshot_file_head {
    uint64_t magic;
    uint32_t format; /* these four stay where they are in every format */
    uint32_t head_bytes;
    uint32_t crc; /* of head_bytes bytes, this field 0 */
    uint32_t chunk_bytes;
    uint64_t cluster;
    uint64_t group;
    uint64_t index;
    uint64_t term;
    uint64_t file_id;
    uint32_t metadata_size;   /* raftpb.SnapshotMetadata follows */
    uint32_t group_data_size; /* then this; then zeros */
};
_Static_assert(sizeof(struct snapshot_file_head) == 72, "the head's size is part of the format");

struct snapshot_chunk_head {
    uint32_t crc; /* of the head's CRC, the chunk's number, `size` and the data */
    uint32_t size;
};
_Static_assert(sizeof(struct snapshot_chunk_head) == 8, "part of the format");
#define SNAPSHOT_CHUNK_DATA (SNAPSHOT_FILE_CHUNK - (uint32_t)sizeof(struct snapshot_chunk_head))

struct snapshot_file_tail {
    uint64_t magic;
    uint64_t data_bytes;
    uint32_t head_crc;
    uint32_t data_crc;
    uint32_t reserved; /* 0 */
    uint32_t crc;      /* of all before it */
};
_Static_assert(sizeof(struct snapshot_file_tail) == 32, "the trailer's size is part of the format");

/* Why head bytes are not what they should be, or NULL; RR_E_VERSION or RR_E_CORRUPT in `*err`.
 * `size` bytes are there, of which head_bytes must be a prefix. */
const char *snapshot_head_check(const uint8_t *bytes, size_t size, int *err);
uint32_t snapshot_chunk_crc(uint32_t head_crc, uint64_t number, uint32_t size, uint32_t data_crc);
/* The chunk of `number` with `room` bytes at `bytes` (its head first): is it whole and right? */
bool snapshot_chunk_check(const uint8_t *bytes, size_t room, uint32_t head_crc, uint64_t number);
/* RR_E_NO_SPACE or RR_E_IO with the path and what failed. */
int snapshot_fail_io(struct rr_error *error, int err, const char *path, const char *what);
/* Sync, rename and directory sync. */
int snapshot_publish(struct io *io, int fd, const char *from, const char *to,
                     struct rr_error *error);

#endif
