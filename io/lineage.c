/* SPDX-License-Identifier: Apache-2.0
 *
 * See lineage.h. Room is made ahead of its use, so that a full disk does not keep a node from being
 * started. A start lies within a sector: after a crash it is there or it is not.
 */
#include "io/lineage.h"

#include "io/file_path.h"
#include "proto/base.h"
#include "proto/crc32c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the file grows by: room for 1024 starts. */
#define CHUNK_BYTES 16384u

/* As it lies in the file, at boot * sizeof; little endian; all zero: not known. */
struct start {
    uint64_t nonce;
    uint32_t crc; /* of instance, boot and nonce */
    uint32_t zero;
};
_Static_assert(sizeof(struct start) == 16, "a start's size is part of the format");
_Static_assert(CHUNK_BYTES % 512 == 0 && 512 % sizeof(struct start) == 0, "none spans sectors");

static uint32_t crc_of(const struct lineage *lineage, uint64_t boot, uint64_t nonce)
{
    const uint64_t covered[] = {lineage->instance, boot, nonce};
    return crc32c(0, covered, sizeof(covered));
}

static int fail_io(const struct lineage *lineage, int err, struct rr_error *error)
{
    return rr_fail(error, err == -ENOSPC ? RR_E_NO_SPACE : RR_E_IO,
                   "%.400s/lineage: this start cannot be recorded: %s", lineage->dir,
                   strerror(-err));
}

static int take(struct lineage *lineage, const struct start *starts, uint64_t boot,
                struct rr_error *error)
{
    static const struct start unknown;
    for (uint64_t i = 0; i < lineage->count; i++) {
        const struct start *start = &starts[i];
        if (memcmp(start, &unknown, sizeof(unknown)) == 0)
            continue;
        if (start->nonce == 0 || start->zero != 0 || start->crc != crc_of(lineage, i, start->nonce))
            return rr_fail(error, RR_E_CORRUPT,
                           "%.400s/lineage: damaged at start %llu; replace this node by a new one "
                           "with a new id",
                           lineage->dir, (unsigned long long)i);
        if (i > boot)
            return rr_fail(error, RR_E_CORRUPT,
                           "%.300s: the log ends before start %llu of this directory, though it "
                           "was started %llu times: durable records were lost; replace this node "
                           "by a new one with a new id",
                           lineage->dir, (unsigned long long)boot, (unsigned long long)i);
        lineage->nonces[i] = start->nonce;
    }
    return 0;
}

static int read_all(struct lineage *lineage, int fd, uint64_t boot, struct rr_error *error)
{
    int64_t size = lineage->io->ops->file_size(lineage->io, fd);
    if (size < 0)
        return fail_io(lineage, (int)size, error);
    uint64_t held = (uint64_t)size / sizeof(struct start);
    lineage->count = rr_max_u64(held, boot + 1);
    lineage->nonces = calloc(lineage->count, sizeof(*lineage->nonces));
    struct start *starts = calloc(lineage->count, sizeof(*starts));
    int rc = lineage->nonces && starts ? 0 : rr_fail(error, RR_E_NO_MEMORY, "out of memory");
    if (rc == 0) {
        size = lineage->io->ops->pread(lineage->io, fd, starts, held * sizeof(*starts), 0);
        rc = size < 0 ? fail_io(lineage, (int)size, error) : take(lineage, starts, boot, error);
    }
    free(starts);
    return rc;
}

static int write_at(struct lineage *lineage, int fd, const void *bytes, size_t size,
                    uint64_t offset)
{
    int64_t done = lineage->io->ops->pwrite(lineage->io, fd, bytes, size, offset, 0);
    if (done < 0)
        return (int)done;
    return done == (int64_t)size ? 0 : -ENOSPC;
}

static int write_start(struct lineage *lineage, int fd, uint64_t boot)
{
    static const uint8_t zeros[CHUNK_BYTES];
    const struct start start = {.nonce = lineage->nonce,
                                .crc = crc_of(lineage, boot, lineage->nonce)};
    uint64_t offset = boot * sizeof(start);
    uint64_t chunk = offset / CHUNK_BYTES * CHUNK_BYTES;
    int64_t size = lineage->io->ops->file_size(lineage->io, fd);
    int err = size < 0 ? (int)size : 0;
    if (err == 0 && (uint64_t)size < chunk + CHUNK_BYTES) {
        uint64_t from = rr_max_u64((uint64_t)size, chunk);
        err = write_at(lineage, fd, zeros, chunk + CHUNK_BYTES - from, from);
    }
    if (err == 0)
        err = write_at(lineage, fd, &start, sizeof(start), offset);
    if (err == 0)
        err = lineage->io->ops->fsync(lineage->io, fd);
    if (err == 0)
        err = lineage->io->ops->sync_dir(lineage->io, lineage->dir);
    return err;
}

int lineage_begin(struct lineage *lineage, uint64_t boot, struct rr_error *error)
{
    RR_ASSERT(lineage->nonce != 0 && lineage->instance != 0 && !lineage->nonces);
    char path[FILE_PATH_SIZE];
    int rc = file_path_join(path, lineage->dir, "lineage", error);
    if (rc != 0)
        return rc;
    int fd = lineage->io->ops->open(lineage->io, path, IO_O_CREATE);
    if (fd < 0)
        return fail_io(lineage, fd, error);
    rc = read_all(lineage, fd, boot, error);
    if (rc == 0) {
        int err = write_start(lineage, fd, boot);
        rc = err == 0 ? 0 : fail_io(lineage, err, error);
        lineage->nonces[boot] = lineage->nonce;
    }
    lineage->io->ops->close(lineage->io, fd);
    return rc;
}

uint64_t lineage_nonce(const struct lineage *lineage, uint64_t boot)
{
    return boot < lineage->count ? lineage->nonces[boot] : 0;
}

void lineage_fini(struct lineage *lineage)
{
    free(lineage->nonces);
    lineage->nonces = NULL;
    lineage->count = 0;
}
