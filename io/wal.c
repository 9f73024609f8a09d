/* SPDX-License-Identifier: Apache-2.0
 *
 * See wal.h: opening, closing and status of a log. Staging is in wal_stage.c, writing in
 * wal_write.c, reading in wal_recover.c.
 */
#include "io/wal_impl.h"

#include <stdlib.h>
#include <string.h>

#define IDLE_BLOCKS       4u
#define BLOCK_EXTRA_BYTES (64u * 1024)
#define TAIL_BYTES_MAX    (1024u * 1024)

int wal_new(const struct wal_options *options, struct wal **out, struct rr_error *error)
{
    if (options->write_bytes_max < WAL_BLOCK_MIN || options->write_bytes_max > UINT32_MAX / 8)
        return rr_fail(error, RR_E_INVALID, "wal_write_bytes_max %u must lie between %u and %u",
                       options->write_bytes_max, WAL_BLOCK_MIN, UINT32_MAX / 8);
    struct wal *wal = calloc(1, sizeof(*wal));
    if (!wal)
        return rr_fail(error, RR_E_NO_MEMORY, "no memory for the log");
    wal->options = *options;
    wal->io = options->io;
    wal->seed = wal_seed(options->instance_id);
    wal->queue_end = &wal->queue;
    wal->flight_end = &wal->flight;
    int err = wal_segments_init(&wal->segments, options, &wal->fs, error);
    if (err) {
        free(wal->segments.refill.zeros);
        free(wal);
        return err;
    }
    wal->options.dir = wal->segments.dir;
    wal->block_bytes = wal->fs.block_size;
    RR_ASSERT(wal->block_bytes >= WAL_BLOCK_MIN &&
              (wal->block_bytes & (wal->block_bytes - 1)) == 0);
    uint32_t block = (uint32_t)rr_align_up(
        2 * (uint64_t)options->write_bytes_max + BLOCK_EXTRA_BYTES, wal->block_bytes);
    wal->pool = log_block_pool_new(block, IDLE_BLOCKS);
    if (!wal->pool || wal_live_init(&wal->live, &wal->segments) != 0) {
        wal_free(wal);
        return rr_fail(error, RR_E_NO_MEMORY, "no memory for the log's buffers");
    }
    *out = wal;
    return 0;
}

static void release_list(struct wal *wal, struct wal_write *write)
{
    while (write) {
        struct wal_write *next = write->next;
        wal_release_write(wal, write);
        write = next;
    }
}

void wal_free(struct wal *wal)
{
    wal_move_cancel(wal);
    release_list(wal, wal->flight);
    release_list(wal, wal->queue);
    if (wal->filling)
        wal_release_write(wal, wal->filling);
    while (wal->idle) {
        struct wal_write *write = wal->idle;
        wal->idle = write->next;
        free(write);
    }
    if (wal->block)
        log_block_put(wal->block);
    wal_reads_free(wal);
    wal_segments_fini(&wal->segments);
    wal_live_fini(&wal->live);
    if (wal->pool)
        log_block_pool_free(wal->pool);
    free(wal);
}

/* ---- opening ------------------------------------------------------------------------- */

/* From here on this process takes part: its boot is above all earlier ones. */
static int begin_boot(struct wal *wal, struct rr_error *error)
{
    struct wal_segments *segments = &wal->segments;
    RR_ASSERT(segments->offset % wal->block_bytes == 0);
    RR_ASSERT(wal->durable_seq > 0);
    bool is_full = segments->segment_bytes - segments->offset < wal->block_bytes;
    if (is_full && wal_spare_count(segments) == 0) {
        int err = wal_segments_make_spare(segments);
        if (err)
            return rr_fail(error, wal_error_of(err),
                           "%s: the log is full and no segment can be added: %s", wal->options.dir,
                           strerror(-err));
    }
    wal->boot++;
    int err = wal_stage_open(wal, wal->options.nonce);
    if (err)
        return rr_fail(error, err, "no memory for the log's first write");
    return wal_write_now(wal, error);
}

int wal_open(const struct wal_options *options, const struct wal_recovery *recovery,
             struct wal **out, struct rr_error *error)
{
    struct wal_options own = *options;
    int err = wal_find_segment_bytes(options->io, options->dir, &own.segment_bytes, error);
    if (err)
        return err;
    struct wal *wal;
    err = wal_new(&own, &wal, error);
    if (err)
        return err;
    err = wal_recover(wal, recovery, error);
    if (!err && recovery->on_boot)
        err = recovery->on_boot(recovery->ctx, wal->boot + 1, error);
    if (!err)
        err = begin_boot(wal, error);
    RR_ASSERT(err || wal->durable_seq + 1 == wal->next_seq);
    if (!err && wal_segments_start(&wal->segments) != 0)
        err = rr_fail(error, RR_E_NO_MEMORY, "no memory for the log's worker");
    if (err) {
        wal_free(wal);
        return err;
    }
    wal->idle_since_ns = io_now(wal->io);
    *out = wal;
    return 0;
}

/* ---- status -------------------------------------------------------------------------- */

uint64_t wal_boot(const struct wal *wal)
{
    return wal->boot;
}

uint64_t wal_staged_seq(const struct wal *wal)
{
    bool begun = wal->filling && wal->filling->section_count == 0;
    return wal->next_seq - (begun ? 2 : 1);
}

uint64_t wal_durable_seq(const struct wal *wal)
{
    return wal->durable_seq;
}

int wal_admits_entries(struct wal *wal)
{
    if (RR_UNLIKELY(wal->poisoned))
        return RR_E_POISONED;
    int rc = wal_segments_have_room(&wal->segments, wal_waiting_bytes(wal));
    if (RR_UNLIKELY(rc != 0))
        wal->segments.is_short = true;
    return rc;
}

int wal_admits_proposals(const struct wal *wal)
{
    if (RR_UNLIKELY(wal->poisoned))
        return RR_E_POISONED;
    uint64_t waiting = wal_waiting_bytes(wal);
    int rc = wal_segments_within_budget(&wal->segments, waiting);
    return rc ? rc : wal_segments_have_room(&wal->segments, waiting);
}

bool wal_is_full(const struct wal *wal)
{
    return wal->segments.is_full &&
           wal_segments_have_room(&wal->segments, wal_waiting_bytes(wal)) == RR_E_NO_SPACE;
}

uint64_t wal_oldest_unfinished_ns(const struct wal *wal)
{
    if (wal->flight)
        return wal->flight->begun_ns;
    if (wal->queue)
        return wal->queue->begun_ns;
    return wal->filling && wal->filling->section_count > 0 ? wal->filling->begun_ns : 0;
}

bool wal_wants_rewrite(const struct wal *wal, uint64_t *group)
{
    return !wal->poisoned && wal->move.state == WAL_MOVE_IDLE &&
           wal_live_wants_rewrite(&wal->live, group);
}

uint32_t wal_tail_bytes_max(const struct wal *wal)
{
    return (uint32_t)rr_min_u64(TAIL_BYTES_MAX, wal->segments.segment_bytes / 4);
}

bool wal_run_crc(const struct rr_block *block, const uint8_t *bytes, uint32_t size, uint32_t *crc)
{
    return log_block_find_run(block, bytes, size, crc);
}

uint64_t wal_block_bytes(const struct wal *wal)
{
    return log_block_pool_referenced_bytes(wal->pool);
}

uint32_t wal_block_size(const struct wal *wal)
{
    return log_block_pool_block_bytes(wal->pool);
}

uint64_t wal_group_bytes(const struct wal *wal, uint64_t group)
{
    uint32_t place = wal_live_find(&wal->live, group);
    return place == UINT32_MAX ? 0 : wal->live.groups[place].padded_bytes;
}

void wal_stats(const struct wal *wal, struct wal_stats *stats)
{
    const struct wal_segments *segments = &wal->segments;
    *stats = wal->stats;
    stats->segments_recycled = segments->recycled_count;
    stats->segments_zeroed = segments->zeroed_count;
    stats->segment_count = segments->newest - segments->oldest + 1;
    stats->bytes_live =
        (segments->active - segments->oldest) * segments->segment_bytes + segments->offset;
    stats->is_direct = segments->is_direct;
    stats->is_ram = wal->fs.is_ram;
}

void wal_check(const struct wal *wal)
{
    uint64_t queued = 0;
    uint64_t seq = wal->durable_seq;
    uint32_t in_flight = 0;
    for (const struct wal_write *write = wal->flight; write; write = write->next) {
        seq++;
        in_flight++;
        RR_ASSERT(write->seq == seq);
        RR_ASSERT(write->state >= WAL_WRITE_WRITING);
    }
    for (const struct wal_write *write = wal->queue; write; write = write->next) {
        seq++;
        queued += write->iov.iov_len;
        RR_ASSERT(write->seq == seq);
        RR_ASSERT(write->state == WAL_WRITE_QUEUED);
    }
    RR_ASSERT(!wal->filling || wal->filling->seq == seq + 1);
    RR_ASSERT(wal->next_seq == seq + (wal->filling ? 2 : 1));
    RR_ASSERT(wal->flight_count == in_flight);
    RR_ASSERT(in_flight <= WAL_WRITES_IN_FLIGHT_MAX);
    RR_ASSERT(wal->queued_bytes == queued);
    RR_ASSERT(wal->proven_seq <= wal->durable_seq);
    wal_segments_check(&wal->segments);
    wal_live_check(&wal->live);
}
