/* SPDX-License-Identifier: Apache-2.0 */
#include "io/snapshot_format.h"

#include "io/file_path.h"
#include "proto/base.h"
#include "proto/crc32c.h"

#include <errno.h>
#include <string.h>

static const uint8_t zeros[4];

const char *snapshot_head_check(const uint8_t *bytes, size_t size, int *err)
{
    struct snapshot_file_head head;
    *err = RR_E_CORRUPT;
    if (size < sizeof(head))
        return "it is shorter than a snapshot's head";
    memcpy(&head, bytes, sizeof(head));
    if (head.magic != SNAPSHOT_MAGIC)
        return "it does not begin like a snapshot";
    if (head.head_bytes < SNAPSHOT_HEAD_ALIGN || head.head_bytes > SNAPSHOT_FILE_HEAD_MAX ||
        head.head_bytes % SNAPSHOT_HEAD_ALIGN || head.head_bytes > size)
        return "its head has no sound size";
    const size_t crc_at = offsetof(struct snapshot_file_head, crc);
    uint32_t crc = crc32c(0, bytes, crc_at);
    crc = crc32c(crc, zeros, sizeof(zeros));
    crc = crc32c(crc, bytes + crc_at + sizeof(zeros), head.head_bytes - crc_at - sizeof(zeros));
    if (crc != head.crc)
        return "its head does not match its checksum";
    if (head.format != SNAPSHOT_FORMAT) {
        *err = RR_E_VERSION;
        return "another version wrote it";
    }
    if (head.chunk_bytes != SNAPSHOT_FILE_CHUNK || head.group_data_size > SNAPSHOT_GROUP_DATA_MAX ||
        sizeof(head) + (uint64_t)head.metadata_size + head.group_data_size > head.head_bytes)
        return "its head makes no sense";
    *err = 0;
    return NULL;
}

uint32_t snapshot_chunk_crc(uint32_t head_crc, uint64_t number, uint32_t size, uint32_t data_crc)
{
    uint32_t crc = crc32c(head_crc, &number, sizeof(number));
    crc = crc32c(crc, &size, sizeof(size));
    return crc32c_combine(crc, data_crc, size);
}

bool snapshot_chunk_check(const uint8_t *bytes, size_t room, uint32_t head_crc, uint64_t number)
{
    struct snapshot_chunk_head head;
    if (room < sizeof(head))
        return false;
    memcpy(&head, bytes, sizeof(head));
    if (head.size == 0 || head.size > room - sizeof(head))
        return false;
    uint32_t data_crc = crc32c(0, bytes + sizeof(head), head.size);
    return head.crc == snapshot_chunk_crc(head_crc, number, head.size, data_crc);
}

int snapshot_fail_io(struct rr_error *error, int err, const char *path, const char *what)
{
    return rr_fail(error, err == -ENOSPC ? RR_E_NO_SPACE : RR_E_IO, "%.400s: %s: %s", path, what,
                   strerror(-err));
}

int snapshot_publish(struct io *io, int fd, const char *from, const char *to,
                     struct rr_error *error)
{
    char parent[FILE_PATH_SIZE];
    file_path_parent(parent, to);
    int err = io->ops->fsync(io, fd);
    if (err == 0)
        err = io->ops->rename(io, from, to);
    if (err == 0)
        err = io->ops->sync_dir(io, parent);
    return err ? snapshot_fail_io(error, err, to, "the snapshot cannot be made durable") : 0;
}
