/* SPDX-License-Identifier: Apache-2.0
 *
 * See identity.h. A crash at any point leaves either no file `identity`, and with it a directory
 * that counts as empty whatever else lies in it, or a whole one.
 */
#include "io/identity.h"

#include "io/file_path.h"
#include "proto/base.h"
#include "proto/crc32c.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define IDENTITY_MAGIC 0x746e656469727272u /* "rrrident" */

/* As it lies in the file; little endian. */
struct identity_file {
    uint64_t magic;
    uint32_t format; /* these three stay where they are in every format */
    uint32_t feature_level;
    uint64_t cluster;
    uint64_t node;
    uint64_t instance;
    uint32_t loop_count;
    uint32_t crc; /* of all before it */
};
_Static_assert(sizeof(struct identity_file) == 48, "the file's size is part of the format");

static int fail_io(struct rr_error *error, int err, const char *path, const char *what)
{
    return rr_fail(error, err == -ENOSPC ? RR_E_NO_SPACE : RR_E_IO, "%.400s: %s: %s", path, what,
                   strerror(-err));
}

int identity_lock(struct io *io, const char *dir, int *lock_fd, struct rr_error *error)
{
    char path[FILE_PATH_SIZE];
    int err = file_path_join(path, dir, "lock", error);
    if (err)
        return err;
    err = io->ops->mkdir(io, dir);
    if (err && err != -EEXIST)
        return fail_io(error, err, dir, "the data directory cannot be made");
    int fd = io->ops->open(io, path, IO_O_CREATE);
    if (fd < 0)
        return fail_io(error, fd, path, "cannot be opened");
    err = io->ops->lock(io, fd);
    if (err) {
        io->ops->close(io, fd);
        if (err != -EWOULDBLOCK)
            return fail_io(error, err, path, "cannot be locked");
        return rr_fail(error, RR_E_LOCKED, "%.400s: another process uses this data directory", dir);
    }
    *lock_fd = fd;
    return 0;
}

int identity_read(struct io *io, const char *dir, struct identity *identity, struct rr_error *error)
{
    char path[FILE_PATH_SIZE];
    struct identity_file file;
    int err = file_path_join(path, dir, "identity", error);
    if (err)
        return err;
    int fd = io->ops->open(io, path, IO_O_READ_ONLY);
    if (fd == -ENOENT)
        return rr_fail(error, RR_E_NOT_FOUND, "%.400s: no node lives in this directory", dir);
    if (fd < 0)
        return fail_io(error, fd, path, "cannot be opened");
    int64_t size = io->ops->pread(io, fd, &file, sizeof(file), 0);
    io->ops->close(io, fd);
    if (size < 0)
        return fail_io(error, (int)size, path, "cannot be read");
    bool whole = size == (int64_t)sizeof(file) && file.magic == IDENTITY_MAGIC;
    if (whole && (file.format != IDENTITY_FORMAT || file.feature_level > IDENTITY_FEATURE_LEVEL))
        return rr_fail(error, RR_E_VERSION,
                       "%.300s: written in format %u with feature level %u, this version knows %u "
                       "and %u; open it with the "
                       "version that wrote it",
                       path, file.format, file.feature_level, IDENTITY_FORMAT,
                       IDENTITY_FEATURE_LEVEL);
    if (!whole || file.crc != crc32c(0, &file, offsetof(struct identity_file, crc)) ||
        file.instance == 0)
        return rr_fail(error, RR_E_CORRUPT,
                       "%.400s: damaged; nothing was changed; replace this node by a new one",
                       path);
    *identity = (struct identity){
        .cluster = file.cluster,
        .node = file.node,
        .instance = file.instance,
        .format = file.format,
        .feature_level = file.feature_level,
        .loop_count = file.loop_count,
    };
    return 0;
}

static int write_file(struct io *io, const char *path, const struct identity_file *file)
{
    int fd = io->ops->open(io, path, IO_O_CREATE | IO_O_TRUNCATE);
    if (fd < 0)
        return fd;
    int64_t size = io->ops->pwrite(io, fd, file, sizeof(*file), 0, 0);
    int err = size < 0 ? (int)size : 0;
    if (!err && size < (int64_t)sizeof(*file))
        err = -ENOSPC;
    if (!err)
        err = io->ops->fsync(io, fd);
    io->ops->close(io, fd);
    return err;
}

int identity_write(struct io *io, const char *dir, const struct identity *identity,
                   struct rr_error *error)
{
    RR_ASSERT(identity->instance != 0);
    char path[FILE_PATH_SIZE];
    char draft[FILE_PATH_SIZE];
    char parent[FILE_PATH_SIZE];
    struct identity_file file = {
        .magic = IDENTITY_MAGIC,
        .format = identity->format,
        .feature_level = identity->feature_level,
        .cluster = identity->cluster,
        .node = identity->node,
        .instance = identity->instance,
        .loop_count = identity->loop_count,
    };
    file.crc = crc32c(0, &file, offsetof(struct identity_file, crc));
    int err = file_path_join(path, dir, "identity", error);
    if (!err)
        err = file_path_join(draft, dir, "identity.new", error);
    if (err)
        return err;
    file_path_parent(parent, dir);
    err = write_file(io, draft, &file);
    if (!err) /* the directory itself first: a name in a directory that is lost is worth nothing */
        err = io->ops->sync_dir(io, parent);
    if (!err)
        err = io->ops->rename(io, draft, path);
    if (!err)
        err = io->ops->sync_dir(io, dir);
    return err ? fail_io(error, err, path, "cannot be made durable") : 0;
}

int identity_check(const struct identity *found, const struct identity *asked, const char *dir,
                   struct rr_error *error)
{
    if (found->cluster != asked->cluster)
        return rr_fail(error, RR_E_IDENTITY, "%.400s: belongs to cluster %llu, not %llu", dir,
                       (unsigned long long)found->cluster, (unsigned long long)asked->cluster);
    if (found->node != asked->node)
        return rr_fail(error, RR_E_IDENTITY, "%.400s: belongs to node %llu, not %llu", dir,
                       (unsigned long long)found->node, (unsigned long long)asked->node);
    if (found->loop_count != asked->loop_count)
        return rr_fail(error, RR_E_IDENTITY, "%.400s: was made for %u loops, not %u", dir,
                       found->loop_count, asked->loop_count);
    return 0;
}
