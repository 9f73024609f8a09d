/* SPDX-License-Identifier: Apache-2.0
 *
 * See wal_segment.h. The states of a refill, and what each waits for:
 *
 *     (none) ──spares < 2──> ZERO ──whole──> PUBLISH ──> (none)
 *        └──oldest is dead──> RECYCLE ─────────────────> (none)
 *
 * Each waits for its job; a ZERO step also for its time while there is room for the log to grow.
 */
#include "io/wal_segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZERO_STEP_BYTES (256u * 1024)
#define ZERO_PAUSE_NS   1000000u /* between steps while a spare exists: the log's writes go first */
#define RETRY_PAUSE_NS  100000000u /* after a refill failed */

int wal_segments_init(struct wal_segments *segments, const struct wal_options *options,
                      struct io_fs_info *info, struct rr_error *error)
{
    struct io *io = options->io;
    uint64_t size = options->segment_bytes;
    memset(segments, 0, sizeof(*segments));
    segments->refill.fd = -1;
    if (strlen(options->dir) >= WAL_DIR_SIZE)
        return rr_fail(error, RR_E_INVALID, "%.300s…: the path is longer than %u bytes",
                       options->dir, WAL_DIR_SIZE - 1);
    int err = io->ops->fs_probe(io, options->dir, info);
    if (err)
        return rr_fail(error, RR_E_IO, "%s: the file system cannot be probed: %s", options->dir,
                       strerror(-err));
    if (size < WAL_SEGMENT_BYTES_MIN || size % info->block_size != 0 ||
        options->write_bytes_max > size / 4)
        return rr_fail(error, RR_E_INVALID,
                       "segment_bytes %llu must be a multiple of %u, at least %u and four times "
                       "wal_write_bytes_max",
                       (unsigned long long)size, info->block_size, WAL_SEGMENT_BYTES_MIN);
    snprintf(segments->dir, sizeof(segments->dir), "%s", options->dir);
    segments->io = io;
    segments->segment_bytes = size;
    segments->is_direct = info->direct_dsync;
    segments->count_max = (uint32_t)rr_min_u64(WAL_SEGMENTS_MAX, options->wal_bytes_max / size);
    if (segments->count_max < WAL_SPARES_WANTED + 2)
        return rr_fail(error, RR_E_INVALID,
                       "wal_bytes_max %llu must hold at least %u segments of %llu bytes",
                       (unsigned long long)options->wal_bytes_max, WAL_SPARES_WANTED + 2,
                       (unsigned long long)size);
    struct wal_refill *refill = &segments->refill;
    refill->io = io;
    refill->dir = segments->dir;
    refill->size = size;
    refill->is_direct = segments->is_direct;
    refill->zeros = aligned_alloc(WAL_BLOCK_MIN, ZERO_STEP_BYTES);
    if (!refill->zeros)
        return rr_fail(error, RR_E_NO_MEMORY, "no memory for the log's buffers");
    memset(refill->zeros, 0, ZERO_STEP_BYTES);
    return 0;
}

void wal_segments_fini(struct wal_segments *segments)
{
    if (segments->worker)
        segments->io->ops->worker_free(segments->worker);
    for (uint64_t number = segments->oldest; number != 0 && number <= segments->newest; number++)
        if (wal_segment_at(segments, number)->fd >= 0)
            segments->io->ops->close(segments->io, wal_segment_at(segments, number)->fd);
    if (segments->refill.fd >= 0)
        segments->io->ops->close(segments->io, segments->refill.fd);
    free(segments->refill.zeros);
}

void wal_segment_path(const struct wal_segments *segments, char path[WAL_PATH_SIZE],
                      uint64_t number)
{
    char name[WAL_NAME_SIZE];
    wal_segment_name(name, number);
    int size = snprintf(path, WAL_PATH_SIZE, "%s/%s", segments->dir, name);
    RR_ASSERT(size > 0 && (unsigned)size < WAL_PATH_SIZE);
}

unsigned wal_segment_open_flags(const struct wal_segments *segments)
{
    return segments->is_direct ? IO_O_DIRECT : 0;
}

/* ---- refill -------------------------------------------------------------------------- */

/* A file that an interrupted refill left is written over, not truncated. */
static int open_zeroed(struct wal_refill *refill)
{
    const struct io_ops *ops = refill->io->ops;
    int fd =
        ops->open(refill->io, refill->from, IO_O_CREATE | (refill->is_direct ? IO_O_DIRECT : 0));
    if (fd < 0)
        return fd;
    refill->fd = fd;
    int64_t size = ops->file_size(refill->io, fd);
    if (size > (int64_t)refill->size) /* of a log with larger segments */
        return ops->truncate(refill->io, fd, refill->size);
    return size < 0 ? (int)size : 0;
}

static int zero_step(struct wal_refill *refill)
{
    const struct io_ops *ops = refill->io->ops;
    int err = refill->fd < 0 ? open_zeroed(refill) : 0;
    if (err)
        return err;
    size_t size = (size_t)rr_min_u64(ZERO_STEP_BYTES, refill->size - refill->offset);
    int64_t result = ops->pwrite(refill->io, refill->fd, refill->zeros, size, refill->offset,
                                 refill->is_direct ? IO_DSYNC : 0);
    if (result < 0)
        return (int)result;
    if ((size_t)result < size)
        return -ENOSPC; /* what a full disk does to a write that fits in part */
    refill->offset += size;
    return 0;
}

static int rename_durably(struct wal_refill *refill)
{
    const struct io_ops *ops = refill->io->ops;
    int err = ops->rename(refill->io, refill->from, refill->to);
    if (err)
        return err;
    err = ops->sync_dir(refill->io, refill->dir);
    refill->directory_failed = err != 0;
    return err;
}

/* On the worker. */
static void refill_run(struct io_job *job)
{
    struct wal_refill *refill = RR_CONTAINER_OF(job, struct wal_refill, job);
    switch (refill->kind) {
    case WAL_REFILL_ZERO:
        refill->err = zero_step(refill);
        break;
    case WAL_REFILL_PUBLISH:
        refill->err = refill->io->ops->fsync(refill->io, refill->fd);
        if (!refill->err)
            refill->err = rename_durably(refill);
        else
            refill->offset = 0; /* its pages may be lost and marked clean: write them again */
        break;
    case WAL_REFILL_RECYCLE:
        refill->err = rename_durably(refill);
        break;
    }
}

/* The file of the refill is the newest segment now. */
static void add_newest(struct wal_segments *segments, int fd)
{
    segments->newest++;
    *wal_segment_at(segments, segments->newest) = (struct wal_segment){.fd = fd};
}

static void refill_done(struct io_job *job)
{
    struct wal_refill *refill = RR_CONTAINER_OF(job, struct wal_refill, job);
    struct wal_segments *segments = RR_CONTAINER_OF(refill, struct wal_segments, refill);
    RR_ASSERT(refill->is_running);
    refill->is_running = false;
    segments->is_full = refill->err != 0;
    if (refill->err) {
        segments->step_after_ns = io_now(segments->io) + RETRY_PAUSE_NS;
        segments->failed = refill->directory_failed ? refill->err : 0;
        return;
    }
    switch (refill->kind) {
    case WAL_REFILL_ZERO:
        segments->step_after_ns = io_now(segments->io) + ZERO_PAUSE_NS;
        break;
    case WAL_REFILL_PUBLISH:
        add_newest(segments, refill->fd);
        segments->zeroed_count++;
        refill->fd = -1;
        refill->offset = 0;
        break;
    case WAL_REFILL_RECYCLE: {
        int fd = wal_segment_at(segments, segments->oldest)->fd;
        segments->oldest++;
        add_newest(segments, fd);
        segments->recycled_count++;
        break;
    }
    }
}

static void prepare_refill(struct wal_segments *segments, enum wal_refill_kind kind)
{
    struct wal_refill *refill = &segments->refill;
    RR_ASSERT(!refill->is_running);
    refill->kind = kind;
    if (kind == WAL_REFILL_RECYCLE)
        wal_segment_path(segments, refill->from, segments->oldest);
    else
        snprintf(refill->from, sizeof(refill->from), "%s/wal.zero", segments->dir);
    wal_segment_path(segments, refill->to, segments->newest + 1);
}

int wal_segments_make_spare(struct wal_segments *segments)
{
    struct wal_refill *refill = &segments->refill;
    prepare_refill(segments, WAL_REFILL_ZERO);
    do
        refill_run(&refill->job);
    while (!refill->err && refill->offset < refill->size);
    if (refill->err)
        return refill->err;
    prepare_refill(segments, WAL_REFILL_PUBLISH);
    refill_run(&refill->job);
    if (refill->err)
        return refill->err;
    add_newest(segments, refill->fd);
    refill->fd = -1;
    refill->offset = 0;
    return 0;
}

int wal_segments_start(struct wal_segments *segments)
{
    segments->worker = segments->io->ops->worker_new(segments->io, "wal");
    return segments->worker ? 0 : RR_E_NO_MEMORY;
}

static bool is_recyclable(struct wal_segments *segments, uint64_t durable_seq)
{
    if (segments->oldest == segments->active)
        return false;
    const struct wal_segment *oldest = wal_segment_at(segments, segments->oldest);
    return oldest->holders == 0 && oldest->readers == 0 && oldest->last_seq <= durable_seq &&
           oldest->free_after_seq <= durable_seq;
}

/* Spares are wanted, and a new file is within the budget or what must be written needs it. */
static bool wants_zeroed(const struct wal_segments *segments)
{
    uint64_t count = segments->newest - segments->oldest + 1;
    return wal_spare_count(segments) < WAL_SPARES_WANTED && count < WAL_SEGMENTS_MAX &&
           (count < segments->count_max || segments->is_short);
}

uint64_t wal_segments_tend(struct wal_segments *segments, uint64_t durable_seq, uint64_t now_ns)
{
    struct wal_refill *refill = &segments->refill;
    if (RR_LIKELY(refill->is_running))
        return UINT64_MAX;
    bool recycle = is_recyclable(segments, durable_seq);
    if (RR_LIKELY(!recycle && !wants_zeroed(segments)))
        return UINT64_MAX;
    bool urgent = recycle || wal_segments_have_room(segments, 0) != 0;
    if ((segments->is_full || !urgent) && now_ns < segments->step_after_ns)
        return segments->step_after_ns;
    if (recycle)
        prepare_refill(segments, WAL_REFILL_RECYCLE);
    else
        prepare_refill(segments,
                       refill->offset < refill->size ? WAL_REFILL_ZERO : WAL_REFILL_PUBLISH);
    refill->job = (struct io_job){.run = refill_run, .done = refill_done};
    refill->is_running = true;
    segments->io->ops->worker_post(segments->worker, &refill->job);
    return UINT64_MAX;
}

/* ---- placing ------------------------------------------------------------------------- */

bool wal_segments_place(struct wal_segments *segments, uint64_t seq, uint64_t padded,
                        bool has_entries, uint64_t *offset)
{
    RR_ASSERT(padded <= segments->segment_bytes);
    bool rolls = padded > segments->segment_bytes - segments->offset;
    uint64_t spares_needed = (uint64_t)rolls + (uint64_t)has_entries;
    segments->is_short = wal_spare_count(segments) < spares_needed;
    if (RR_UNLIKELY(segments->is_short))
        return false;
    if (rolls) {
        segments->active++;
        segments->offset = 0;
    }
    struct wal_segment *active = wal_segment_at(segments, segments->active);
    RR_ASSERT(active->last_seq < seq);
    active->last_seq = seq;
    *offset = segments->offset;
    segments->offset += padded;
    return true;
}

static bool is_recycling(const struct wal_segments *segments)
{
    return segments->refill.is_running && segments->refill.kind == WAL_REFILL_RECYCLE;
}

int wal_segments_have_room(const struct wal_segments *segments, uint64_t queued)
{
    uint64_t spares = wal_spare_count(segments);
    if (RR_LIKELY(spares > 0)) {
        uint64_t room =
            segments->segment_bytes - segments->offset + (spares - 1) * segments->segment_bytes;
        if (RR_LIKELY(queued + segments->segment_bytes / 4 <= room))
            return 0;
    }
    bool has_all = segments->newest - segments->oldest + 1 == WAL_SEGMENTS_MAX;
    bool hard = segments->is_full || (has_all && !is_recycling(segments));
    return hard ? RR_E_NO_SPACE : RR_E_BUSY;
}

int wal_segments_within_budget(const struct wal_segments *segments, uint64_t queued)
{
    uint64_t used =
        (segments->active - segments->oldest) * segments->segment_bytes + segments->offset;
    uint64_t budget = (segments->count_max - 1) * segments->segment_bytes; /* one stays a spare */
    if (RR_LIKELY(used + queued + segments->segment_bytes / 4 <= budget))
        return 0;
    const struct wal_segment *oldest = &segments->ring[segments->oldest % WAL_SEGMENTS_MAX];
    bool is_dead = segments->oldest < segments->active && oldest->holders == 0;
    return is_dead || is_recycling(segments) ? RR_E_BUSY : RR_E_NO_SPACE;
}

void wal_segment_hold(struct wal_segments *segments, uint64_t number, uint64_t bytes)
{
    struct wal_segment *segment = wal_segment_at(segments, number);
    RR_ASSERT(number <= segments->active);
    segment->holders++;
    wal_segment_grow_hold(segments, number, bytes);
}

void wal_segment_grow_hold(struct wal_segments *segments, uint64_t number, uint64_t bytes)
{
    wal_segment_at(segments, number)->held_bytes += bytes;
    segments->held_bytes += bytes;
}

void wal_segment_release(struct wal_segments *segments, uint64_t number, uint64_t bytes,
                         uint64_t seq)
{
    struct wal_segment *segment = wal_segment_at(segments, number);
    RR_ASSERT(segment->holders > 0);
    RR_ASSERT(segment->held_bytes >= bytes);
    segment->holders--;
    segment->held_bytes -= bytes;
    segments->held_bytes -= bytes;
    segment->free_after_seq = rr_max_u64(segment->free_after_seq, seq);
}

void wal_segment_pin(struct wal_segments *segments, uint64_t number)
{
    wal_segment_at(segments, number)->readers++;
}

void wal_segment_unpin(struct wal_segments *segments, uint64_t number)
{
    struct wal_segment *segment = wal_segment_at(segments, number);
    RR_ASSERT(segment->readers > 0);
    segment->readers--;
}

void wal_segments_check(const struct wal_segments *segments)
{
    RR_ASSERT(segments->oldest > 0);
    RR_ASSERT(segments->oldest <= segments->active);
    RR_ASSERT(segments->active <= segments->newest);
    RR_ASSERT(segments->newest - segments->oldest < WAL_SEGMENTS_MAX);
    RR_ASSERT(segments->offset <= segments->segment_bytes);
    for (uint64_t number = segments->active + 1; number <= segments->newest; number++)
        RR_ASSERT(segments->ring[number % WAL_SEGMENTS_MAX].holders == 0 &&
                  segments->ring[number % WAL_SEGMENTS_MAX].readers == 0);
}
