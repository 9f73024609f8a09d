/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a log in a directory that holds no node: the active segment, the spares, and one first
 * write, so that an empty log is told from a lost one. Blocking.
 *
 * A crash on the way leaves segments without identity, which are made again. They must not be taken
 * for a log whose identity was lost: the identity is durable before a node opens its log, so a
 * creation leaves zeros and one block at most; whatever holds more is refused and left alone.
 */
#include "io/wal_impl.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SEGMENTS (1u + WAL_SPARES_WANTED)
#define READ_BYTES     (256u * 1024)

struct leftovers {
    bool exist[FIRST_SEGMENTS + 1]; /* by number */
    uint64_t foreign;               /* the number of one that no creation makes; 0: none */
};

static void find_leftover(void *ctx, const char *name)
{
    struct leftovers *leftovers = ctx;
    uint64_t number = wal_segment_number(name);
    if (number > FIRST_SEGMENTS)
        leftovers->foreign = number;
    else
        leftovers->exist[number] = true; /* 0: some other file */
}

/* 1: from `offset` on there are only zeros; 0: something else; -errno. */
static int is_zero_from(struct wal *wal, int fd, uint64_t offset, uint8_t *buffer)
{
    struct io *io = wal->io;
    for (;;) {
        int64_t n = io->ops->pread(io, fd, buffer, READ_BYTES, offset);
        if (n < 0)
            return (int)n;
        for (int64_t i = 0; i < n; i++)
            if (buffer[i] != 0)
                return 0;
        if (n < (int64_t)READ_BYTES)
            return 1;
        offset += (uint64_t)n;
    }
}

static int fail_create(struct wal *wal, struct rr_error *error, int err, const char *what)
{
    return rr_fail(error, wal_error_of(err), "%.300s: %s: %s", wal->options.dir, what,
                   strerror(-err));
}

static int refuse_log(struct wal *wal, struct rr_error *error, uint64_t number)
{
    char path[WAL_PATH_SIZE];
    wal_segment_path(&wal->segments, path, number);
    return rr_fail(error, RR_E_CORRUPT,
                   "%.300s: holds a log, but its directory has no identity; nothing was changed; "
                   "restore the file identity, or replace this node by a new one",
                   path);
}

/* Is segment `number` as a creation that was interrupted leaves it? */
static int check_leftover(struct wal *wal, uint64_t number, uint8_t *buffer, struct rr_error *error)
{
    char path[WAL_PATH_SIZE];
    wal_segment_path(&wal->segments, path, number);
    int fd = wal->io->ops->open(wal->io, path, IO_O_READ_ONLY);
    if (fd < 0)
        return fail_create(wal, error, fd, "a segment cannot be opened");
    int zero = is_zero_from(wal, fd, number == 1 ? wal->block_bytes : 0, buffer);
    wal->io->ops->close(wal->io, fd);
    if (zero < 0)
        return fail_create(wal, error, zero, "a segment cannot be read");
    return zero ? 0 : refuse_log(wal, error, number);
}

/* Removes what an interrupted creation left; refuses anything else before it removes anything. */
static int remove_leftovers(struct wal *wal, struct rr_error *error)
{
    const struct io_ops *ops = wal->io->ops;
    struct leftovers leftovers = {.foreign = 0};
    int err = ops->list(wal->io, wal->options.dir, find_leftover, &leftovers);
    if (err)
        return fail_create(wal, error, err, "cannot be listed");
    if (leftovers.foreign != 0)
        return refuse_log(wal, error, leftovers.foreign);
    uint8_t *buffer = aligned_alloc(WAL_BLOCK_MIN, READ_BYTES);
    if (!buffer)
        return rr_fail(error, RR_E_NO_MEMORY, "no memory for the log's buffers");
    for (uint64_t number = 1; !err && number <= FIRST_SEGMENTS; number++)
        if (leftovers.exist[number])
            err = check_leftover(wal, number, buffer, error);
    free(buffer);
    for (uint64_t number = 1; !err && number <= FIRST_SEGMENTS; number++) {
        char path[WAL_PATH_SIZE];
        wal_segment_path(&wal->segments, path, number);
        int failed = leftovers.exist[number] ? ops->unlink(wal->io, path) : 0;
        if (failed)
            err = fail_create(wal, error, failed, "a leftover segment cannot be removed");
    }
    return err;
}

static int make_segments(struct wal *wal, struct rr_error *error)
{
    int err = 0;
    wal->segments.oldest = wal->segments.active = 1;
    for (uint32_t i = 0; !err && i < FIRST_SEGMENTS; i++)
        err = wal_segments_make_spare(&wal->segments);
    if (err)
        return rr_fail(error, wal_error_of(err),
                       "%.300s: the log's first segments (%u of %llu bytes) cannot be made: %s",
                       wal->options.dir, FIRST_SEGMENTS,
                       (unsigned long long)wal->segments.segment_bytes, strerror(-err));
    RR_ASSERT(wal_spare_count(&wal->segments) == WAL_SPARES_WANTED);
    wal->next_seq = 1;
    err = wal_stage_mark(wal);
    if (err)
        return rr_fail(error, err, "no memory for the log's first write");
    err = wal_write_now(wal, error);
    RR_ASSERT(err || wal->segments.offset == wal->block_bytes);
    return err;
}

int wal_create(const struct wal_options *options, struct rr_error *error)
{
    struct wal *wal;
    int err = wal_new(options, &wal, error);
    if (err)
        return err;
    err = remove_leftovers(wal, error);
    if (!err)
        err = make_segments(wal, error);
    wal_free(wal);
    return err;
}
