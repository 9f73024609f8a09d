/* SPDX-License-Identifier: Apache-2.0 */
#include "io/snapshot_part.h"

#include "io/file_path.h"
#include "io/snapshot_format.h"
#include "proto/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct snapshot_part {
    struct snapshot_part_options options; /* path is `path` */
    int fd;
    bool is_published;
    uint64_t chunk_number;          /* while resuming: of the chunk that is looked at next */
    struct snapshot_reader *reader; /* while publishing */
    uint64_t offset;                /* where the next write goes; while resuming: sound so far */
    uint64_t unsynced;
    char path[FILE_PATH_SIZE];
    char recv[FILE_PATH_SIZE];
};

/* ---- what is there already ----------------------------------------------- */

static int get_some(struct snapshot_part *part, uint8_t *bytes, size_t size, uint64_t offset,
                    int64_t *got, struct rr_error *error)
{
    struct io *io = part->options.io;
    *got = io->ops->pread(io, part->fd, bytes, size, offset);
    return *got < 0 ? snapshot_fail_io(error, (int)*got, part->recv, "cannot be read") : 0;
}

/* Is the head that of the file that is expected? Then it is sound that far. */
static int judge_head(struct snapshot_part *part, uint8_t *buffer, struct rr_error *error)
{
    int64_t got;
    int bad = 0;
    int rc = get_some(part, buffer, SNAPSHOT_FILE_HEAD_MAX, 0, &got, error);
    if (rc != 0)
        return rc;
    (void)snapshot_head_check(buffer, (size_t)got, &bad);
    struct snapshot_file_head head;
    if (bad)
        return 0;
    memcpy(&head, buffer, sizeof(head));
    if (head.crc == part->options.head_crc)
        part->offset = head.head_bytes;
    return 0;
}

/* Goes on to where it ceases to be. Only full chunks: where one ends that is not, nobody can say
 * before the trailer is there. RR_E_PENDING: not in this slice. */
static int find_sound_end(struct snapshot_part *part, uint8_t *buffer, struct rr_error *error)
{
    int64_t got;
    int rc = part->offset == 0 ? judge_head(part, buffer, error) : 0;
    if (part->offset == 0)
        return rc;
    for (uint64_t read = 0; read < SNAPSHOT_SLICE_BYTES; read += SNAPSHOT_FILE_CHUNK) {
        rc = get_some(part, buffer, SNAPSHOT_FILE_CHUNK, part->offset, &got, error);
        if (rc != 0 || got < (int64_t)SNAPSHOT_FILE_CHUNK ||
            !snapshot_chunk_check(buffer, SNAPSHOT_FILE_CHUNK, part->options.head_crc,
                                  part->chunk_number))
            return rc;
        part->chunk_number++;
        part->offset += SNAPSHOT_FILE_CHUNK;
    }
    return RR_E_PENDING;
}

int snapshot_part_resume(struct snapshot_part *part, uint64_t *offset, struct rr_error *error)
{
    uint8_t *buffer = malloc(SNAPSHOT_FILE_CHUNK);
    if (!buffer)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory for a snapshot's chunk");
    struct io *io = part->options.io;
    int rc = find_sound_end(part, buffer, error);
    free(buffer);
    if (rc != 0)
        return rc;
    part->offset = part->offset > part->options.file_bytes ? 0 : part->offset;
    *offset = part->offset;
    int err = io->ops->truncate(io, part->fd, part->offset);
    return err ? snapshot_fail_io(error, err, part->recv, "cannot be cut") : 0;
}

/* ---- open, write, close --------------------------------------------------- */

int snapshot_part_open(const struct snapshot_part_options *options, struct snapshot_part **part,
                       struct rr_error *error)
{
    *part = NULL;
    struct io *io = options->io;
    struct snapshot_part *made = calloc(1, sizeof(*made));
    if (!made)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory for a snapshot's part");
    made->options = *options;
    made->options.path = made->path;
    int size = snprintf(made->recv, sizeof(made->recv), "%s.recv", options->path);
    RR_ASSERT(size > 0 && (size_t)size < sizeof(made->recv)); /* in the data directory */
    memcpy(made->path, options->path, strlen(options->path) + 1);
    made->fd = io->ops->open(io, made->recv, IO_O_CREATE);
    if (made->fd < 0) {
        int rc = snapshot_fail_io(error, made->fd, made->recv, "cannot be made");
        snapshot_part_close(made, true);
        return rc;
    }
    *part = made;
    return 0;
}

int snapshot_part_write(struct snapshot_part *part, uint64_t offset, const void *bytes, size_t size,
                        struct rr_error *error)
{
    struct io *io = part->options.io;
    RR_ASSERT(offset == part->offset && !part->is_published);
    if (size > part->options.file_bytes - offset)
        return rr_fail(error, RR_E_TOO_LARGE, "%.400s: more arrives than its %llu bytes",
                       part->recv, (unsigned long long)part->options.file_bytes);
    int64_t put = io->ops->pwrite(io, part->fd, bytes, size, offset, 0);
    if (put < 0)
        return snapshot_fail_io(error, (int)put, part->recv, "cannot be written");
    RR_ASSERT((size_t)put == size);
    part->offset += size;
    part->unsynced += size;
    if (part->unsynced < SNAPSHOT_FILE_SYNC_BYTES)
        return 0;
    part->unsynced = 0;
    int err = io->ops->fsync(io, part->fd);
    return err ? snapshot_fail_io(error, err, part->recv, "cannot be synced") : 0;
}

/* Is it the file that was announced? */
static int judge(const struct snapshot_part *part, struct rr_error *error)
{
    const struct snapshot_part_options *expected = &part->options;
    const struct snapshot_head *head = snapshot_reader_head(part->reader);
    const struct snapshot_file_info *info = snapshot_reader_info(part->reader);
    bool is_it = head->group == expected->group && head->metadata.index == expected->index &&
                 head->metadata.term == expected->term && info->head_crc == expected->head_crc &&
                 info->file_bytes == expected->file_bytes;
    return is_it ? 0
                 : rr_fail(error, RR_E_CORRUPT, "%.400s: it is not the snapshot that was announced",
                           part->recv);
}

int snapshot_part_publish(struct snapshot_part *part, struct rr_error *error)
{
    struct io *io = part->options.io;
    int rc = 0;
    RR_ASSERT(!part->is_published);
    if (!part->reader) {
        rc = snapshot_reader_open(io, part->recv, &part->reader, error);
        if (rc == 0)
            rc = judge(part, error);
    }
    if (rc == 0)
        rc = snapshot_reader_verify(part->reader, error);
    if (rc == 0)
        rc = snapshot_publish(io, part->fd, part->recv, part->path, error);
    part->is_published = rc == 0;
    return rc;
}

void snapshot_part_close(struct snapshot_part *part, bool keep)
{
    struct io *io = part->options.io;
    snapshot_reader_free(part->reader);
    if (part->fd >= 0)
        io->ops->close(io, part->fd);
    if (!part->is_published && !keep)
        (void)io->ops->unlink(io, part->recv); /* what stays is removed at the next open */
    free(part);
}
