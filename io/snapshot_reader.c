/* SPDX-License-Identifier: Apache-2.0
 *
 * See snapshot_file.h: the reader. Nothing is believed before its checksum was right; sizes are
 * compared with the file's before anything is allocated or read by them.
 */
#include "io/snapshot_format.h"

#include "io/file_path.h"
#include "proto/base.h"
#include "proto/codec.h"
#include "proto/crc32c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct snapshot_reader {
    struct io *io;
    int fd;
    struct snapshot_head head; /* points into `chunk_end` and `ids` */
    struct snapshot_file_info info;
    uint32_t data_crc;     /* of the whole, as the trailer says */
    uint32_t seen_crc;     /* of what was read */
    uint64_t seen_bytes;   /* of data */
    uint64_t chunk_number; /* of the next chunk */
    uint64_t offset;       /* of the next chunk */
    char path[FILE_PATH_SIZE];
    uint8_t *head_bytes;
    uint64_t *ids;
    uint8_t chunk[SNAPSHOT_FILE_CHUNK];
};

static RR_COLD int refuse(const struct snapshot_reader *reader, uint64_t offset, const char *what,
                          struct rr_error *error)
{
    return rr_fail(error, RR_E_CORRUPT, "%.300s: damaged at offset %llu: %s; use another copy",
                   reader->path, (unsigned long long)offset, what);
}

/* Exactly so much, from a file that is long enough. */
static int get_bytes(struct snapshot_reader *reader, void *bytes, size_t size, uint64_t offset,
                     struct rr_error *error)
{
    struct io *io = reader->io;
    int64_t got = io->ops->pread(io, reader->fd, bytes, size, offset);
    if (got < 0)
        return snapshot_fail_io(error, (int)got, reader->path, "cannot be read");
    return (size_t)got == size ? 0 : refuse(reader, offset, "the file ends too early", error);
}

static int read_tail(struct snapshot_reader *reader, uint32_t head_bytes, struct rr_error *error)
{
    struct snapshot_file_tail tail;
    uint64_t at = reader->info.file_bytes - sizeof(tail);
    if (reader->info.file_bytes < head_bytes + sizeof(tail))
        return refuse(reader, reader->info.file_bytes, "the file ends too early", error);
    int rc = get_bytes(reader, &tail, sizeof(tail), at, error);
    if (rc != 0)
        return rc;
    if (tail.magic != SNAPSHOT_TAIL_MAGIC ||
        tail.crc != crc32c(0, &tail, offsetof(struct snapshot_file_tail, crc)) ||
        tail.head_crc != reader->info.head_crc || tail.reserved != 0)
        return refuse(reader, at, "there is no sound trailer", error);
    uint64_t chunks = (tail.data_bytes + SNAPSHOT_CHUNK_DATA - 1) / SNAPSHOT_CHUNK_DATA;
    if (at != head_bytes + tail.data_bytes + chunks * sizeof(struct snapshot_chunk_head))
        return refuse(reader, at, "the trailer is not where the data ends", error);
    reader->info.data_bytes = tail.data_bytes;
    reader->data_crc = tail.data_crc;
    return 0;
}

/* The head's variable part: copied, since the chunk is read over it. */
static int decode_head(struct snapshot_reader *reader, const struct snapshot_file_head *fixed,
                       struct rr_error *error)
{
    size_t size = (size_t)fixed->metadata_size + fixed->group_data_size;
    reader->head_bytes = malloc(size + 1);
    reader->ids = malloc((fixed->metadata_size + 1) * sizeof(uint64_t));
    if (!reader->head_bytes || !reader->ids)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory for a snapshot's head");
    memcpy(reader->head_bytes, reader->chunk + sizeof(*fixed), size);
    struct codec_scratch scratch = {.bytes = (uint8_t *)reader->ids,
                                    .cap = fixed->metadata_size * sizeof(uint64_t)};
    struct snapshot_head *head = &reader->head;
    *head = (struct snapshot_head){.cluster = fixed->cluster,
                                   .group = fixed->group,
                                   .file_id = fixed->file_id,
                                   .group_data = reader->head_bytes + fixed->metadata_size,
                                   .group_data_size = fixed->group_data_size};
    int rc = rr_snapshot_metadata_decode(reader->head_bytes, fixed->metadata_size, &scratch,
                                         &head->metadata);
    if (rc != 0 || head->metadata.index != fixed->index || head->metadata.term != fixed->term)
        return refuse(reader, sizeof(*fixed), "its metadata makes no sense", error);
    return 0;
}

static int read_head(struct snapshot_reader *reader, struct rr_error *error)
{
    struct snapshot_file_head fixed;
    struct io *io = reader->io;
    int64_t size = io->ops->file_size(io, reader->fd);
    if (size < 0)
        return snapshot_fail_io(error, (int)size, reader->path, "cannot be read");
    reader->info.file_bytes = (uint64_t)size;
    size_t there = rr_min_u64((uint64_t)size, SNAPSHOT_FILE_HEAD_MAX);
    int rc = get_bytes(reader, reader->chunk, there, 0, error);
    if (rc != 0)
        return rc;
    const char *reason = snapshot_head_check(reader->chunk, there, &rc);
    if (rc == RR_E_VERSION)
        return rr_fail(error, rc, "%.300s: %s; use the version that did", reader->path, reason);
    if (rc != 0)
        return refuse(reader, 0, reason, error);
    memcpy(&fixed, reader->chunk, sizeof(fixed));
    reader->info.head_crc = fixed.crc;
    reader->offset = fixed.head_bytes;
    rc = decode_head(reader, &fixed, error);
    return rc == 0 ? read_tail(reader, fixed.head_bytes, error) : rc;
}

int snapshot_reader_open(struct io *io, const char *path, struct snapshot_reader **reader,
                         struct rr_error *error)
{
    *reader = NULL;
    size_t length = strlen(path);
    if (length >= FILE_PATH_SIZE)
        return rr_fail(error, RR_E_INVALID, "%.300s…: the path is too long", path);
    struct snapshot_reader *made = malloc(sizeof(*made));
    if (!made)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory for a snapshot's chunk");
    memset(made, 0, offsetof(struct snapshot_reader, chunk));
    made->io = io;
    memcpy(made->path, path, length + 1);
    made->fd = io->ops->open(io, path, IO_O_READ_ONLY);
    int rc;
    if (made->fd == -ENOENT)
        rc = rr_fail(error, RR_E_NOT_FOUND, "%.400s: there is no such snapshot", path);
    else if (made->fd < 0)
        rc = snapshot_fail_io(error, made->fd, path, "cannot be opened");
    else
        rc = read_head(made, error);
    if (rc != 0) {
        snapshot_reader_free(made);
        return rc;
    }
    *reader = made;
    return 0;
}

const struct snapshot_head *snapshot_reader_head(const struct snapshot_reader *reader)
{
    return &reader->head;
}

const struct snapshot_file_info *snapshot_reader_info(const struct snapshot_reader *reader)
{
    return &reader->info;
}

int snapshot_reader_next(struct snapshot_reader *reader, const uint8_t **bytes, size_t *size,
                         struct rr_error *error)
{
    *size = 0;
    uint64_t left = reader->info.data_bytes - reader->seen_bytes;
    uint32_t wanted = (uint32_t)rr_min_u64(left, SNAPSHOT_CHUNK_DATA);
    if (wanted == 0)
        return reader->seen_crc == reader->data_crc
                   ? 0
                   : refuse(reader, reader->offset, "the whole does not match its checksum", error);
    struct snapshot_chunk_head head;
    int rc = get_bytes(reader, reader->chunk, sizeof(head) + wanted, reader->offset, error);
    if (rc != 0)
        return rc;
    memcpy(&head, reader->chunk, sizeof(head));
    if (head.size != wanted || !snapshot_chunk_check(reader->chunk, sizeof(head) + wanted,
                                                     reader->info.head_crc, reader->chunk_number))
        return refuse(reader, reader->offset, "a chunk does not match its checksum", error);
    *bytes = reader->chunk + sizeof(head);
    *size = wanted;
    reader->seen_crc = crc32c(reader->seen_crc, *bytes, wanted);
    reader->seen_bytes += wanted;
    reader->offset += sizeof(head) + wanted;
    reader->chunk_number++;
    return 0;
}

void snapshot_reader_free(struct snapshot_reader *reader)
{
    if (!reader)
        return;
    if (reader->fd >= 0)
        reader->io->ops->close(reader->io, reader->fd);
    free(reader->head_bytes);
    free(reader->ids);
    free(reader);
}

int snapshot_reader_verify(struct snapshot_reader *reader, struct rr_error *error)
{
    const uint8_t *bytes;
    size_t size = 1;
    int rc = 0;
    for (size_t sum = 0; rc == 0 && size && sum < SNAPSHOT_SLICE_BYTES; sum += size)
        rc = snapshot_reader_next(reader, &bytes, &size, error);
    return rc == 0 && size ? RR_E_PENDING : rc;
}

int snapshot_file_verify(struct io *io, const char *path, struct rr_error *error)
{
    struct snapshot_reader *reader;
    int rc = snapshot_reader_open(io, path, &reader, error);
    if (rc != 0)
        return rc;
    do
        rc = snapshot_reader_verify(reader, error);
    while (rc == RR_E_PENDING);
    snapshot_reader_free(reader);
    return rc;
}
