/* SPDX-License-Identifier: Apache-2.0
 *
 * See snapshot_file.h: names, and the writer. The reader is snapshot_reader.c.
 */
#include "io/snapshot_file.h"

#include "io/file_path.h"
#include "io/snapshot_format.h"
#include "proto/base.h"
#include "proto/codec.h"
#include "proto/crc32c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names --------------------------------------------------------------- */

static const char *const name_ends[] = {
    [SNAPSHOT_NAME_PUBLISHED] = "",
    [SNAPSHOT_NAME_PART] = ".part",
    [SNAPSHOT_NAME_RECEIVED] = ".recv",
};

void snapshot_file_name(char name[SNAPSHOT_NAME_SIZE], uint64_t group, uint64_t index,
                        enum snapshot_name_kind kind)
{
    RR_ASSERT(kind != SNAPSHOT_NAME_OTHER && kind < RR_ARRAY_SIZE(name_ends));
    snprintf(name, SNAPSHOT_NAME_SIZE, "snap-%016llx-%016llx%s", (unsigned long long)group,
             (unsigned long long)index, name_ends[kind]);
}

enum snapshot_name_kind snapshot_file_parse_name(const char *name, uint64_t *group, uint64_t *index)
{
    unsigned long long g, i;
    if (sscanf(name, "snap-%16llx-%16llx", &g, &i) != 2)
        return SNAPSHOT_NAME_OTHER;
    for (int kind = SNAPSHOT_NAME_PUBLISHED; kind <= SNAPSHOT_NAME_RECEIVED; kind++) {
        char again[SNAPSHOT_NAME_SIZE];
        snapshot_file_name(again, g, i, (enum snapshot_name_kind)kind);
        if (strcmp(name, again) != 0)
            continue;
        *group = g;
        *index = i;
        return (enum snapshot_name_kind)kind;
    }
    return SNAPSHOT_NAME_OTHER;
}

/* ---- the writer ---------------------------------------------------------- */

struct snapshot_writer {
    struct io *io;
    int fd;
    bool is_published;
    uint32_t head_crc;
    uint32_t data_crc;
    uint32_t used;         /* bytes of data in the chunk */
    uint64_t chunk_number; /* of the chunk that is being filled */
    uint64_t data_bytes;   /* in the chunks that were written */
    uint64_t offset;       /* where the next write goes */
    uint64_t unsynced;
    char path[FILE_PATH_SIZE];
    char part[FILE_PATH_SIZE];
    uint8_t chunk[SNAPSHOT_FILE_CHUNK];
};

static int put_bytes(struct snapshot_writer *writer, const void *bytes, size_t size,
                     struct rr_error *error)
{
    struct io *io = writer->io;
    int64_t put = io->ops->pwrite(io, writer->fd, bytes, size, writer->offset, 0);
    if (put < 0)
        return snapshot_fail_io(error, (int)put, writer->part, "cannot be written");
    RR_ASSERT((size_t)put == size);
    writer->offset += size;
    writer->unsynced += size;
    if (writer->unsynced < SNAPSHOT_FILE_SYNC_BYTES)
        return 0;
    writer->unsynced = 0;
    int err = io->ops->fsync(io, writer->fd);
    return err ? snapshot_fail_io(error, err, writer->part, "cannot be synced") : 0;
}

static int put_head(struct snapshot_writer *writer, const struct snapshot_head *head,
                    struct rr_error *error)
{
    struct snapshot_file_head fixed = {
        .magic = SNAPSHOT_MAGIC,
        .format = SNAPSHOT_FORMAT,
        .chunk_bytes = SNAPSHOT_FILE_CHUNK,
        .cluster = head->cluster,
        .group = head->group,
        .index = head->metadata.index,
        .term = head->metadata.term,
        .file_id = head->file_id,
        .metadata_size = (uint32_t)rr_snapshot_metadata_size(&head->metadata),
        .group_data_size = head->group_data_size,
    };
    uint64_t size = sizeof(fixed) + (uint64_t)fixed.metadata_size + fixed.group_data_size;
    size = rr_align_up(size, SNAPSHOT_HEAD_ALIGN);
    if (size > SNAPSHOT_FILE_HEAD_MAX || head->group_data_size > SNAPSHOT_GROUP_DATA_MAX)
        return rr_fail(error, RR_E_TOO_LARGE, "%.400s: the group's metadata is too large",
                       writer->part);
    fixed.head_bytes = (uint32_t)size;
    uint8_t *bytes = writer->chunk; /* nothing else is in it yet */
    memset(bytes, 0, size);
    memcpy(bytes, &fixed, sizeof(fixed));
    uint8_t *at = rr_snapshot_metadata_encode(&head->metadata, bytes + sizeof(fixed));
    if (head->group_data_size)
        memcpy(at, head->group_data, head->group_data_size);
    writer->head_crc = crc32c(0, bytes, size);
    memcpy(bytes + offsetof(struct snapshot_file_head, crc), &writer->head_crc,
           sizeof(writer->head_crc));
    return put_bytes(writer, bytes, size, error);
}

int snapshot_writer_open(struct io *io, const char *path, const struct snapshot_head *head,
                         struct snapshot_writer **writer, struct rr_error *error)
{
    *writer = NULL;
    struct snapshot_writer *made = malloc(sizeof(*made));
    if (!made)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory for a snapshot's chunk");
    memset(made, 0, offsetof(struct snapshot_writer, chunk));
    made->io = io;
    made->fd = -1;
    int size =
        snprintf(made->part, sizeof(made->part), "%s%s", path, name_ends[SNAPSHOT_NAME_PART]);
    int rc = size >= 0 && (size_t)size < sizeof(made->part)
                 ? 0
                 : rr_fail(error, RR_E_INVALID, "%.300s…: the path is too long", path);
    if (rc == 0) {
        memcpy(made->path, path, strlen(path) + 1);
        made->fd = io->ops->open(io, made->part, IO_O_CREATE | IO_O_TRUNCATE);
        if (made->fd < 0)
            rc = snapshot_fail_io(error, made->fd, made->part, "cannot be made");
    }
    if (rc == 0)
        rc = put_head(made, head, error);
    if (rc != 0) {
        snapshot_writer_free(made);
        return rc;
    }
    *writer = made;
    return 0;
}

uint8_t *snapshot_writer_room(struct snapshot_writer *writer, size_t *room)
{
    RR_ASSERT(writer->used < SNAPSHOT_CHUNK_DATA);
    *room = SNAPSHOT_CHUNK_DATA - writer->used;
    return writer->chunk + sizeof(struct snapshot_chunk_head) + writer->used;
}

static int put_chunk(struct snapshot_writer *writer, struct rr_error *error)
{
    struct snapshot_chunk_head head = {.size = writer->used};
    uint32_t crc = crc32c(0, writer->chunk + sizeof(head), writer->used);
    head.crc = snapshot_chunk_crc(writer->head_crc, writer->chunk_number, writer->used, crc);
    memcpy(writer->chunk, &head, sizeof(head));
    writer->data_crc = crc32c_combine(writer->data_crc, crc, writer->used);
    writer->data_bytes += writer->used;
    writer->chunk_number++;
    writer->used = 0;
    return put_bytes(writer, writer->chunk, sizeof(head) + head.size, error);
}

int snapshot_writer_fill(struct snapshot_writer *writer, size_t size, struct rr_error *error)
{
    RR_ASSERT(size <= SNAPSHOT_CHUNK_DATA - writer->used);
    writer->used += (uint32_t)size;
    return writer->used == SNAPSHOT_CHUNK_DATA ? put_chunk(writer, error) : 0;
}

int snapshot_writer_append(struct snapshot_writer *writer, const uint8_t *bytes, size_t size,
                           struct rr_error *error)
{
    int rc = 0;
    while (size && rc == 0) {
        size_t room;
        uint8_t *to = snapshot_writer_room(writer, &room);
        room = rr_min_u64(room, size);
        memcpy(to, bytes, room);
        rc = snapshot_writer_fill(writer, room, error);
        bytes += room;
        size -= room;
    }
    return rc;
}

bool snapshot_writer_is_empty(const struct snapshot_writer *writer)
{
    return writer->data_bytes + writer->used == 0;
}

int snapshot_writer_publish(struct snapshot_writer *writer, struct snapshot_file_info *info,
                            struct rr_error *error)
{
    RR_ASSERT(!writer->is_published);
    int rc = writer->used ? put_chunk(writer, error) : 0;
    struct snapshot_file_tail tail = {.magic = SNAPSHOT_TAIL_MAGIC,
                                      .data_bytes = writer->data_bytes,
                                      .head_crc = writer->head_crc,
                                      .data_crc = writer->data_crc};
    tail.crc = crc32c(0, &tail, offsetof(struct snapshot_file_tail, crc));
    if (rc == 0)
        rc = put_bytes(writer, &tail, sizeof(tail), error);
    if (rc == 0)
        rc = snapshot_publish(writer->io, writer->fd, writer->part, writer->path, error);
    if (rc != 0)
        return rc;
    writer->is_published = true;
    *info = (struct snapshot_file_info){.file_bytes = writer->offset,
                                        .data_bytes = writer->data_bytes,
                                        .head_crc = writer->head_crc};
    return 0;
}

void snapshot_writer_free(struct snapshot_writer *writer)
{
    if (!writer)
        return;
    struct io *io = writer->io;
    if (writer->fd >= 0) {
        io->ops->close(io, writer->fd);
        if (!writer->is_published)
            (void)io->ops->unlink(io, writer->part); /* what stays is removed at the next open */
    }
    free(writer);
}
