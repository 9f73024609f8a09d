/* SPDX-License-Identifier: Apache-2.0
 *
 * How a write becomes durable. Hot: one op, one iovec, no allocation. A write gets its place and
 * its header when it is submitted, so that durable_seq in it is the newest and so that what it
 * contains is accounted to the right segment. Completions may come in any order; durable_seq moves
 * over the contiguous prefix only.
 *
 * Failure path: the first write that fails, or stays short, poisons the log. Its bytes may or may
 * not be there, and no later success could tell: nothing is acknowledged any more, the process must
 * recover.
 */
#include "io/wal_impl.h"

#include <errno.h>
#include <string.h>

#define SHORT_WRITES_MAX 8u

int wal_error_of(int err)
{
    switch (err) {
    case -ENOSPC: /* a file system that gave the space away again */
        return RR_E_NO_SPACE;
    case -ECANCELED: /* the loop ends while a write is in flight */
        return RR_E_CANCELED;
    default:
        return RR_E_IO;
    }
}

static RR_COLD void poison(struct wal *wal, int err)
{
    if (wal->poisoned)
        return;
    wal->poisoned = wal_error_of(err);
    if (wal->options.on_poisoned)
        wal->options.on_poisoned(wal->options.ctx, wal->poisoned);
}

void wal_release_write(struct wal *wal, struct wal_write *write)
{
    log_block_put(write->block);
    write->block = NULL;
    write->state = WAL_WRITE_IDLE;
    write->next = wal->idle;
    wal->idle = write;
}

/* ---- submission ---------------------------------------------------------------------- */

static void account(struct wal *wal, const struct wal_header *header, uint64_t offset)
{
    struct wal_section_walk walk = wal_sections(header, (const uint8_t *)(header + 1));
    struct wal_place place = {header->epoch, offset, header->seq};
    uint64_t shared = wal_padded_size(header);
    struct wal_group *first = NULL; /* pays for header and padding */
    while (wal_section_next(&walk)) {
        wal_live_account(&wal->live, &walk.section, walk.body, &place);
        if (walk.section.group == 0)
            continue;
        uint64_t size = wal_section_size(walk.section.length);
        struct wal_group *group = &wal->live.groups[wal_live_find(&wal->live, walk.section.group)];
        group->padded_bytes += size;
        shared -= size;
        first = first ? first : group;
    }
    if (first)
        first->padded_bytes += shared;
    RR_ASSERT(!walk.failed);
}

/* The queue's first write gets its place and its header. NULL: none, or no place for it now. */
static struct wal_write *prepare_write(struct wal *wal)
{
    struct wal_write *write = wal->queue;
    if (!write)
        return NULL;
    uint64_t offset;
    if (RR_UNLIKELY(!wal_segments_place(&wal->segments, write->seq, write->iov.iov_len,
                                        write->has_entries, &offset)))
        return NULL;
    wal->queue = write->next;
    if (!wal->queue)
        wal->queue_end = &wal->queue;
    wal->queued_bytes -= write->iov.iov_len;
    struct wal_header *header = (struct wal_header *)write->iov.iov_base;
    *header = (struct wal_header){
        .magic = WAL_MAGIC,
        .format = WAL_FORMAT,
        .block_shift = (uint8_t)__builtin_ctz(wal->block_bytes),
        .flags = write->is_open ? WAL_WRITE_OPEN : 0,
        .epoch = wal->segments.active,
        .boot = wal->boot,
        .seq = write->seq,
        .durable_seq = wal->durable_seq,
        .length = write->used - (uint32_t)sizeof(*header),
        .payload_crc = write->payload_crc,
        .section_count = write->section_count,
    };
    wal_header_seal(header, wal->seed);
    RR_ASSERT_SLOW(wal_payload_check(header, (const uint8_t *)(header + 1)));
    account(wal, header, offset);
    wal->proven_seq = wal->durable_seq;
    if (write->has_content)
        wal->content_seq = write->seq;
    else
        wal->stats.mark_count++;
    if (write->must_prove)
        wal->must_prove_seq = write->seq;
    wal->stats.write_count++;
    wal->stats.padded_bytes += write->iov.iov_len;
    write->op = (struct io_op){
        .kind = IO_WRITE,
        .flags = wal->segments.is_direct ? IO_DSYNC : 0,
        .fd = wal_segment_at(&wal->segments, wal->segments.active)->fd,
        .iov = &write->iov,
        .iov_count = 1,
        .offset = offset,
    };
    return write;
}

/* ---- completion ---------------------------------------------------------------------- */

static void advance_durable(struct wal *wal)
{
    uint64_t before = wal->durable_seq;
    while (wal->flight && wal->flight->state == WAL_WRITE_DONE) {
        struct wal_write *write = wal->flight;
        RR_ASSERT(write->seq == wal->durable_seq + 1);
        RR_ASSERT(!write->op.in_flight);
        wal->flight = write->next;
        if (!wal->flight)
            wal->flight_end = &wal->flight;
        wal->flight_count--;
        wal->durable_seq = write->seq;
        wal_release_write(wal, write);
    }
    if (wal->durable_seq != before && wal->options.on_durable)
        wal->options.on_durable(wal->options.ctx, wal->durable_seq);
}

static void write_done(struct io_op *op)
{
    struct wal_write *write = RR_CONTAINER_OF(op, struct wal_write, op);
    struct wal *wal = write->wal;
    wal->idle_since_ns = io_now(wal->io);
    if (RR_UNLIKELY(wal->poisoned))
        return;
    if (RR_UNLIKELY(op->result < 0)) {
        poison(wal, (int)op->result);
        return;
    }
    if (write->state == WAL_WRITE_WRITING) {
        if (RR_UNLIKELY((uint64_t)op->result < write->iov.iov_len)) {
            if (++write->retry_count > SHORT_WRITES_MAX)
                poison(wal, -EIO);
            else
                io_submit(wal->io,
                          op); /* all of it again: it counts when all of it succeeds in one piece */
            return;
        }
        if (!wal->segments.is_direct) {
            write->state = WAL_WRITE_SYNCING;
            op->kind = IO_SYNC;
            io_submit(wal->io, op);
            return;
        }
    }
    write->state = WAL_WRITE_DONE;
    advance_durable(wal);
}

static void submit_write(struct wal *wal, struct wal_write *write)
{
    write->state = WAL_WRITE_WRITING;
    write->op.done = write_done;
    write->next = NULL;
    *wal->flight_end = write;
    wal->flight_end = &write->next;
    wal->flight_count++;
    RR_ASSERT(wal->flight_count <= WAL_WRITES_IN_FLIGHT_MAX);
    io_submit(wal->io, &write->op);
}

/* ---- the end of a turn --------------------------------------------------------------- */

uint64_t wal_waiting_bytes(const struct wal *wal)
{
    uint64_t filling = wal->filling && wal->filling->section_count > 0 ? wal->filling->used : 0;
    return wal->queued_bytes + filling;
}

bool wal_can_write(const struct wal *wal, uint64_t waiting_bytes)
{
    if (RR_UNLIKELY(wal->poisoned))
        return false;
    if (wal->flight_count == 0)
        return true;
    return wal->flight_count < WAL_WRITES_IN_FLIGHT_MAX &&
           wal_waiting_bytes(wal) + waiting_bytes >= wal->options.second_write_bytes_min;
}

static void submit_waiting(struct wal *wal)
{
    while (wal_waiting_bytes(wal) > 0 && wal_can_write(wal, 0)) {
        if (!wal->queue)
            wal_seal(wal);
        struct wal_write *write = prepare_write(wal);
        if (RR_UNLIKELY(!write))
            return;
        submit_write(wal, write);
    }
}

/* A mark is a write whose header proves what was durable before. Anything else that is about to be
 * written proves it too. Returns when a mark will be due. */
static uint64_t mark_due_ns(const struct wal *wal)
{
    if (wal->content_seq <= wal->proven_seq || wal->flight || wal_waiting_bytes(wal) > 0)
        return UINT64_MAX;
    if (wal->must_prove_seq > wal->proven_seq || wal->is_closing)
        return 0;
    return wal->idle_since_ns + wal->options.mark_delay_ns;
}

uint64_t wal_flush(struct wal *wal, uint64_t now_ns)
{
    RR_ASSERT(wal->reservation.size == 0);
    if (RR_UNLIKELY(wal->segments.failed))
        poison(wal, wal->segments.failed);
    if (RR_UNLIKELY(wal->poisoned))
        return UINT64_MAX;
    const struct wal_peer *peer = wal_live_peer_to_move(&wal->live);
    if (RR_UNLIKELY(peer)) {
        struct wal_peer copy = *peer;
        if (wal_append_peer(wal, &copy) != 0)
            wal->live.is_moving_peer = false; /* no memory: another time */
    }
    if (RR_UNLIKELY(wal->move.state != WAL_MOVE_IDLE))
        wal_move_advance(wal);
    uint64_t due = mark_due_ns(wal);
    if (due <= now_ns && wal_stage_mark(wal) == 0)
        due = UINT64_MAX;
    submit_waiting(wal);
    if (RR_UNLIKELY(wal->waiting_reads))
        wal_read_waiting(wal);
    uint64_t tend = wal_segments_tend(&wal->segments, wal->durable_seq, now_ns);
    return rr_min_u64(due, tend);
}

void wal_close_mark(struct wal *wal)
{
    wal->is_closing = true;
}

bool wal_is_idle(const struct wal *wal)
{
    if (wal->poisoned)
        return true;
    bool unproven = wal->is_closing && wal->content_seq > wal->proven_seq;
    return !wal->flight && wal_waiting_bytes(wal) == 0 && !unproven;
}

/* ---- before service ------------------------------------------------------------------ */

int wal_write_now(struct wal *wal, struct rr_error *error)
{
    const struct io_ops *ops = wal->io->ops;
    RR_ASSERT(wal->flight_count == 0);
    wal_seal(wal);
    struct wal_write *write = prepare_write(wal);
    if (!write)
        return rr_fail(error, RR_E_NO_SPACE, "%s: the log's segments are full", wal->options.dir);
    RR_ASSERT(!wal->queue);
    const struct io_op *op = &write->op;
    int64_t result = ops->pwrite(wal->io, op->fd, write->iov.iov_base, write->iov.iov_len,
                                 op->offset, op->flags);
    if (result >= 0 && (uint64_t)result < write->iov.iov_len)
        result = -EIO;
    if (result >= 0 && !wal->segments.is_direct)
        result = ops->fsync(wal->io, op->fd);
    if (result >= 0)
        wal->durable_seq = write->seq;
    wal_release_write(wal, write);
    if (result < 0)
        return rr_fail(error, wal_error_of((int)result), "%s: the log cannot be written: %s",
                       wal->options.dir, strerror((int)-result));
    return 0;
}
