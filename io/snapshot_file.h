/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshot files: one state of one group, whole, under a name that only a whole file ever gets.
 * Everything here blocks: worker jobs, and the opening thread. One thread per object at a time.
 *
 *     head                                        | chunk | chunk | … | chunk | trailer
 *     fixed part, raftpb.SnapshotMetadata,          \       each 256 KiB       data's size,
 *     group data, zeros up to 4 KiB's multiple       \      but the last       all data's CRC
 *                                                     crc, size, data
 *
 * Every byte is covered by a checksum: the head's by its own, a chunk's by one that begins with the
 * head's and the chunk's number (so no chunk passes in another file or place), the trailer's by its
 * own. A file is therefore judged without anything else, and its bytes may be copied as they are.
 *
 * Happy path: writer_open makes `<path>.part`; writer_publish syncs it, renames it and syncs the
 * directory. Failure path: a writer that is freed before that removes the part; a crash leaves it,
 * and nobody takes it for a snapshot. What is damaged is RR_E_CORRUPT with file and offset; what
 * that means is for the caller to say.
 */
#ifndef RR_IO_SNAPSHOT_FILE_H
#define RR_IO_SNAPSHOT_FILE_H

#include "io/io.h"

#include <ringraft/error.h>
#include <ringraft/types.h>

/* A chunk as it lies in the file, with its head of 8 bytes: all the memory that a writer or a
 * reader needs, whatever the size of the state. */
#define SNAPSHOT_FILE_CHUNK     (256u * 1024)
#define SNAPSHOT_FILE_HEAD_MAX  (64u * 1024)
#define SNAPSHOT_GROUP_DATA_MAX (16u * 1024)
/* While a file is written it is synced so often, so that the log's disk never has to swallow all of
 * it at once. */
#define SNAPSHOT_FILE_SYNC_BYTES (4u * 1024 * 1024)
/* So much is read or written in one job, before whoever else wants the worker, or the end of the
 * work, has its turn. */
#define SNAPSHOT_SLICE_BYTES (1024u * 1024)

/* What a file says of itself. */
struct snapshot_head {
    uint64_t cluster;
    uint64_t group;
    uint64_t file_id; /* random: tells two files of the same index apart */
    struct rr_snapshot_metadata metadata;
    const uint8_t *group_data; /* opaque; at most SNAPSHOT_GROUP_DATA_MAX bytes */
    uint32_t group_data_size;
};

struct snapshot_file_info {
    uint64_t file_bytes;
    uint64_t data_bytes; /* the state machine's */
    uint32_t head_crc;   /* as good as unique: file_id is in it */
};

/* ---- names --------------------------------------------------------------- */

#define SNAPSHOT_NAME_SIZE 48u

enum snapshot_name_kind {
    SNAPSHOT_NAME_OTHER,     /* of something else */
    SNAPSHOT_NAME_PUBLISHED, /* snap-<group>-<index> */
    SNAPSHOT_NAME_PART,      /* ….part: being written here */
    SNAPSHOT_NAME_RECEIVED,  /* ….recv: arriving from another node */
};

void snapshot_file_name(char name[SNAPSHOT_NAME_SIZE], uint64_t group, uint64_t index,
                        enum snapshot_name_kind kind);
enum snapshot_name_kind snapshot_file_parse_name(const char *name, uint64_t *group,
                                                 uint64_t *index);

/* ---- writing ------------------------------------------------------------- */

struct snapshot_writer;

/* RR_E_NO_MEMORY, RR_E_NO_SPACE, RR_E_IO, RR_E_TOO_LARGE (the head). */
int snapshot_writer_open(struct io *io, const char *path, const struct snapshot_head *head,
                         struct snapshot_writer **writer, struct rr_error *error);
/* Room in the chunk that is being filled, never none … */
uint8_t *snapshot_writer_room(struct snapshot_writer *writer, size_t *room);
/* … of which the first `size` bytes were used. A chunk that is full is written. */
int snapshot_writer_fill(struct snapshot_writer *writer, size_t size, struct rr_error *error);
/* The same by copy, any size. */
int snapshot_writer_append(struct snapshot_writer *writer, const uint8_t *bytes, size_t size,
                           struct rr_error *error);
/* Has nothing been put into it? */
bool snapshot_writer_is_empty(const struct snapshot_writer *writer);
/* The file is whole, durable and has its name, or an error. The writer still has to be freed. */
int snapshot_writer_publish(struct snapshot_writer *writer, struct snapshot_file_info *info,
                            struct rr_error *error);
/* Removes what was not published. */
void snapshot_writer_free(struct snapshot_writer *writer);

/* ---- reading ------------------------------------------------------------- */

struct snapshot_reader;

/* The head and the trailer are sound and the size is what they say. RR_E_NOT_FOUND, RR_E_CORRUPT,
 * RR_E_VERSION, RR_E_IO, RR_E_NO_MEMORY. */
int snapshot_reader_open(struct io *io, const char *path, struct snapshot_reader **reader,
                         struct rr_error *error);
/* Borrowed until the reader is freed. */
const struct snapshot_head *snapshot_reader_head(const struct snapshot_reader *reader);
const struct snapshot_file_info *snapshot_reader_info(const struct snapshot_reader *reader);
/* The next chunk's data, verified, borrowed until the next call; *size 0: the end, and all of it
 * was right. RR_E_CORRUPT: nothing from here on is good. */
int snapshot_reader_next(struct snapshot_reader *reader, const uint8_t **bytes, size_t *size,
                         struct rr_error *error);
void snapshot_reader_free(struct snapshot_reader *reader);

/* Reads on for a slice, and judges what it reads. 0: to the end, and all of it was right;
 * RR_E_PENDING: call again. */
int snapshot_reader_verify(struct snapshot_reader *reader, struct rr_error *error);
/* Reads all of it. */
int snapshot_file_verify(struct io *io, const char *path, struct rr_error *error);

#endif
