/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshot streams as their caller sees them: the list of transfers, the throttle, the two ends of
 * a turn; and what both directions of a transfer share.
 */
#include "io/snapshot_stream_impl.h"

#include <stdlib.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
/* Idle time is worth so much burst, and at least a chunk. */
#define BURST_PER_SECOND 20u
/* A chunk is at most what may be sent in an eighth of a second, so that a throttled sender is not
 * taken for a silent one. */
#define CHUNKS_PER_SECOND 8u
#define CHUNK_BYTES_MIN   4096u
#define SEND_RATE_MIN     (64u * 1024)
#define SEND_RATE_MAX     (16ull << 30)

/* ---- a transfer ---------------------------------------------------------- */

static void job_done(struct io_job *job)
{
    struct transfer *transfer = RR_CONTAINER_OF(job, struct transfer, job);
    RR_ASSERT(transfer->is_working && !transfer->has_worked);
    transfer->is_working = false;
    transfer->has_worked = true;
}

bool transfer_init(struct transfer *transfer, struct snapshot_streams *streams,
                   struct io_worker **worker)
{
    if (!*worker)
        *worker = streams->io->ops->worker_new(streams->io, "snapshot");
    transfer->worker = *worker;
    transfer->memory = malloc(SNAPSHOT_WINDOW * CHUNK_ROOM);
    if (!transfer->worker || !transfer->memory)
        return false;
    for (uint32_t i = 0; i < SNAPSHOT_WINDOW; i++)
        transfer->chunks[i].frame = transfer->memory + i * CHUNK_ROOM;
    transfer->job.done = job_done;
    return true;
}

void transfer_fini(struct transfer *transfer)
{
    if (transfer->fd >= 0)
        transfer->streams->io->ops->close(transfer->streams->io, transfer->fd);
    transfer->fd = -1;
    free(transfer->memory);
    transfer->memory = NULL;
}

void transfer_send(struct transfer *transfer, const void *bytes, size_t size)
{
    transfer->out_part = (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    transport_op_submit(&transfer->out, IO_SEND, transfer->fd, &transfer->out_part, 1);
}

void transfer_receive(struct transfer *transfer, void *bytes, size_t size)
{
    transfer->in_part = (struct iovec){.iov_base = bytes, .iov_len = size};
    transport_op_submit(&transfer->in, IO_RECV, transfer->fd, &transfer->in_part, 1);
}

int transfer_continue(struct transport_op *op, struct iovec *part)
{
    if (op->io.result <= 0)
        return RR_E_CLOSED;
    size_t size = (size_t)op->io.result;
    RR_ASSERT(size <= part->iov_len);
    part->iov_base = (uint8_t *)part->iov_base + size;
    part->iov_len -= size;
    if (part->iov_len == 0)
        return 0;
    transport_op_submit(op, (enum io_kind)op->io.kind, op->io.fd, part, 1);
    return RR_E_PENDING;
}

void transfer_post(struct transfer *transfer, void (*run)(struct io_job *job))
{
    RR_ASSERT(!transfer->is_working && !transfer->has_worked);
    transfer->is_working = true;
    transfer->job.run = run;
    transfer->streams->io->ops->worker_post(transfer->worker, &transfer->job);
}

bool transfer_take_result(struct transfer *transfer, int *result)
{
    if (!transfer->has_worked)
        return false;
    transfer->has_worked = false;
    *result = transfer->job_result;
    return true;
}

void transfer_end(struct transfer *transfer, int status)
{
    if (transfer->is_ending)
        return;
    transfer->is_ending = true;
    transfer->status = status;
    transport_op_cancel(&transfer->in);
    transport_op_cancel(&transfer->out);
}

bool transfer_is_over(struct transfer *transfer)
{
    if (!transfer->is_ending || transfer->in.is_busy || transfer->out.is_busy ||
        transfer->is_working)
        return false;
    if (transfer->fd >= 0)
        transfer->streams->io->ops->close(transfer->streams->io, transfer->fd);
    transfer->fd = -1;
    return true;
}

void transfer_extend(struct transfer *transfer, uint64_t verified_bytes)
{
    const struct snapshot_streams *streams = transfer->streams;
    transfer->deadline_ns = streams->now_ns + streams->options.timeout_ns +
                            verified_bytes / (VERIFY_BYTES_PER_SECOND / 1000) * (SECOND / 1000);
}

bool transfer_is_late(const struct transfer *transfer)
{
    return !transfer->is_ending && transfer->streams->now_ns >= transfer->deadline_ns;
}

/* ---- opening ------------------------------------------------------------- */

static void set_defaults(struct snapshot_stream_options *options)
{
    if (options->send_bytes_per_second == 0)
        options->send_bytes_per_second = 64u * 1024 * 1024;
    if (options->sends_max == 0)
        options->sends_max = 2;
    if (options->receives_max == 0)
        options->receives_max = 2;
    if (options->timeout_ns == 0)
        options->timeout_ns = 10 * SECOND;
    if (options->file_bytes_max == 0)
        options->file_bytes_max = UINT64_MAX;
}

static int check_options(const struct snapshot_stream_options *options, struct rr_error *error)
{
    if (!options->io || !options->transport || !options->part_open || !options->part_write ||
        !options->part_publish || !options->part_close || !options->on_offer ||
        !options->on_received || !options->on_lost || !options->on_sent)
        return rr_fail(error, RR_E_INVALID, "snapshot streams need all of their functions");
    if (options->sends_max > SNAPSHOT_TRANSFERS_MAX ||
        options->receives_max > SNAPSHOT_TRANSFERS_MAX)
        return rr_fail(error, RR_E_INVALID, "more than %u snapshots at a time",
                       SNAPSHOT_TRANSFERS_MAX);
    if (options->send_bytes_per_second < SEND_RATE_MIN ||
        options->send_bytes_per_second > SEND_RATE_MAX)
        return rr_fail(error, RR_E_INVALID,
                       "snapshots at %llu bytes per second; it must lie between %llu and %llu",
                       (unsigned long long)options->send_bytes_per_second,
                       (unsigned long long)SEND_RATE_MIN, (unsigned long long)SEND_RATE_MAX);
    return 0;
}

int snapshot_streams_open(const struct snapshot_stream_options *options,
                          struct snapshot_streams **out, struct rr_error *error)
{
    struct snapshot_stream_options checked = *options;
    set_defaults(&checked);
    int err = check_options(&checked, error);
    if (err != 0)
        return err;
    struct snapshot_streams *streams = calloc(1, sizeof(*streams));
    if (!streams)
        return rr_fail(error, RR_E_NO_MEMORY, "no memory for snapshot streams");
    streams->options = checked;
    streams->transport = checked.transport;
    streams->io = checked.io;
    uint64_t chunk = checked.send_bytes_per_second / CHUNKS_PER_SECOND;
    streams->chunk_bytes = (uint32_t)rr_min_u64(chunk, SNAPSHOT_WIRE_CHUNK_MAX);
    RR_ASSERT(streams->chunk_bytes >= CHUNK_BYTES_MIN);
    for (uint32_t i = 0; i < SNAPSHOT_TRANSFERS_MAX; i++)
        streams->incoming[i].transfer = (struct transfer){.streams = streams, .fd = -1};
    streams->transport->streams = streams;
    *out = streams;
    return 0;
}

void snapshot_streams_free(struct snapshot_streams *streams)
{
    if (!streams)
        return;
    for (uint32_t i = 0; i < SNAPSHOT_TRANSFERS_MAX; i++) {
        if (streams->send_workers[i])
            streams->io->ops->worker_free(streams->send_workers[i]);
        if (streams->receive_workers[i])
            streams->io->ops->worker_free(streams->receive_workers[i]);
    }
    while (streams->outgoing) {
        struct outgoing *outgoing = streams->outgoing;
        streams->outgoing = outgoing->next;
        outgoing_free(outgoing);
    }
    for (uint32_t i = 0; i < SNAPSHOT_TRANSFERS_MAX; i++)
        incoming_fini(&streams->incoming[i]);
    streams->transport->streams = NULL;
    free(streams);
}

/* ---- asking -------------------------------------------------------------- */

static const struct outgoing *find_outgoing(const struct snapshot_streams *streams, uint64_t group,
                                            uint64_t to)
{
    for (const struct outgoing *at = streams->outgoing; at; at = at->next)
        if (at->group == group && at->to == to)
            return at;
    return NULL;
}

int snapshot_streams_send(struct snapshot_streams *streams, const struct snapshot_offer *offer,
                          const char *path)
{
    const struct rr_message *message = offer->message;
    RR_ASSERT(message->type == RR_MSG_SNAP && message->snapshot && message->snapshot->size == 0);
    RR_ASSERT(message->from == streams->transport->options.identity.node && offer->size > 0);
    const struct peer *peer = transport_find_peer(streams->transport, message->to);
    if (!peer)
        return RR_E_NOT_FOUND;
    if (peer->dial.state != DIAL_UP)
        return RR_E_CLOSED;
    if (peer_level(peer) < FEATURE_LEVEL_SNAPSHOTS)
        return RR_E_NOT_SUPPORTED;
    if (rr_message_size(message) > SNAPSHOT_WIRE_BEGIN_MAX)
        return RR_E_TOO_LARGE;
    if (streams->waiting_count == SNAPSHOT_SENDS_WAIT_MAX ||
        find_outgoing(streams, offer->group, message->to))
        return RR_E_BUSY;
    struct outgoing *outgoing = outgoing_new(streams, offer, peer, path);
    if (!outgoing)
        return RR_E_NO_MEMORY;
    struct outgoing **last = &streams->outgoing;
    while (*last)
        last = &(*last)->next;
    *last = outgoing;
    streams->waiting_count++;
    return 0;
}

void snapshot_streams_cancel_sends(struct snapshot_streams *streams, uint64_t group, uint64_t to)
{
    for (struct outgoing *at = streams->outgoing; at; at = at->next) {
        if (at->group != group || (to != RR_NONE && at->to != to))
            continue;
        transfer_end(&at->transfer, RR_E_CANCELED);
        if (at->state == OUTGOING_OVER) /* nobody will try again */
            at->transfer.status = RR_E_CANCELED;
    }
}

void snapshot_streams_cancel(struct snapshot_streams *streams, uint64_t group)
{
    snapshot_streams_cancel_sends(streams, group, RR_NONE);
    for (uint32_t i = 0; i < SNAPSHOT_TRANSFERS_MAX; i++)
        if (streams->incoming[i].offer.group == group)
            transfer_end(&streams->incoming[i].transfer, RR_E_CANCELED);
}

uint64_t snapshot_streams_lowest_sent(const struct snapshot_streams *streams, uint64_t group)
{
    uint64_t lowest = UINT64_MAX;
    for (const struct outgoing *at = streams->outgoing; at; at = at->next)
        if (at->group == group)
            lowest = rr_min_u64(lowest, at->index);
    return lowest;
}

bool snapshot_streams_is_sending(const struct snapshot_streams *streams, uint64_t group,
                                 uint64_t index)
{
    for (const struct outgoing *at = streams->outgoing; at; at = at->next)
        if (at->group == group && at->index == index)
            return true;
    return false;
}

bool snapshot_streams_is_receiving(const struct snapshot_streams *streams, uint64_t group)
{
    for (uint32_t i = 0; i < SNAPSHOT_TRANSFERS_MAX; i++)
        if (streams->incoming[i].offer.group == group)
            return true;
    return false;
}

bool snapshot_streams_is_idle(const struct snapshot_streams *streams, uint64_t group)
{
    return snapshot_streams_lowest_sent(streams, group) == UINT64_MAX &&
           !snapshot_streams_is_receiving(streams, group);
}

/* ---- a turn -------------------------------------------------------------- */

static void report(struct snapshot_streams *streams, const struct outgoing *outgoing)
{
    const struct transfer *transfer = &outgoing->transfer;
    struct snapshot_sent sent = {.group = outgoing->group,
                                 .to = outgoing->to,
                                 .index = outgoing->index,
                                 .term = outgoing->term,
                                 .status = transfer->status,
                                 .is_unreadable = outgoing->is_unreadable,
                                 .bytes = outgoing->confirmed - outgoing->begun};
    if (transfer->status == 0)
        streams->stats.sends_done++;
    else
        streams->stats.sends_failed++;
    streams->options.on_sent(streams->options.ctx, &sent);
}

/* It is over: its place is free, and so are its window and its file. */
static void let_go(struct snapshot_streams *streams, struct outgoing *outgoing)
{
    if (outgoing->state == OUTGOING_WAITING)
        streams->waiting_count--;
    else if (outgoing->state != OUTGOING_OVER)
        streams->send_places[outgoing->place] = false;
    outgoing->state = OUTGOING_OVER;
    transfer_fini(&outgoing->transfer);
}

static bool may_report(const struct snapshot_streams *streams, const struct outgoing *outgoing)
{
    int status = outgoing->transfer.status;
    return status == 0 || status == RR_E_CANCELED || streams->now_ns >= outgoing->report_ns;
}

void snapshot_streams_receive(struct snapshot_streams *streams, uint64_t now_ns)
{
    streams->now_ns = now_ns;
    for (uint32_t i = 0; i < streams->options.receives_max; i++)
        if (streams->incoming[i].state != INCOMING_FREE)
            incoming_receive(&streams->incoming[i]);
    /* A callback may add to the end of the list; nobody else takes from it. */
    for (struct outgoing **at = &streams->outgoing; *at;) {
        struct outgoing *outgoing = *at;
        outgoing_receive(outgoing);
        bool is_over = transfer_is_over(&outgoing->transfer);
        if (is_over)
            let_go(streams, outgoing);
        if (!is_over || !may_report(streams, outgoing)) {
            at = &outgoing->next;
            continue;
        }
        *at = outgoing->next;
        report(streams, outgoing);
        outgoing_free(outgoing);
    }
}

/* A place for each, in the order of asking. */
static void begin_waiting(struct snapshot_streams *streams)
{
    uint32_t place = 0;
    for (struct outgoing *at = streams->outgoing; at && streams->waiting_count > 0; at = at->next) {
        if (at->state != OUTGOING_WAITING || at->transfer.is_ending)
            continue;
        while (place < streams->options.sends_max && streams->send_places[place])
            place++;
        if (place == streams->options.sends_max)
            return;
        streams->send_places[place] = true;
        streams->waiting_count--;
        at->place = place;
        outgoing_begin(at);
    }
}

/* What was not spent is worth a short burst. Time that is worth less than a byte is kept. */
static void fill_tokens(struct snapshot_streams *streams)
{
    uint64_t rate = streams->options.send_bytes_per_second;
    int64_t burst = (int64_t)rr_max_u64(rate / BURST_PER_SECOND, streams->chunk_bytes);
    uint64_t elapsed = streams->now_ns - streams->filled_ns;
    if (elapsed > SECOND) {
        elapsed = SECOND;
        streams->filled_ns = streams->now_ns - SECOND;
    }
    uint64_t bytes = elapsed * rate / SECOND;
    streams->filled_ns += bytes * SECOND / rate;
    streams->tokens += (int64_t)bytes;
    if (streams->tokens > burst)
        streams->tokens = burst;
}

/* Who has waited longest reads next. */
static void spend_tokens(struct snapshot_streams *streams)
{
    while (streams->tokens > 0) {
        struct outgoing *next = NULL;
        for (struct outgoing *at = streams->outgoing; at; at = at->next)
            if (outgoing_wants_to_read(at) && (!next || at->read_turn < next->read_turn))
                next = at;
        if (!next)
            return;
        next->read_turn = ++streams->read_turn;
        streams->tokens -= outgoing_read(next);
    }
}

/* When a chunk may be read again. */
static uint64_t tokens_deadline(const struct snapshot_streams *streams)
{
    if (streams->tokens > 0)
        return UINT64_MAX; /* whoever wants to read has done so */
    uint64_t debt = (uint64_t)(1 - streams->tokens);
    return streams->filled_ns + debt * SECOND / streams->options.send_bytes_per_second + 1;
}

uint64_t snapshot_streams_flush(struct snapshot_streams *streams, uint64_t now_ns)
{
    uint64_t deadline = UINT64_MAX;
    streams->now_ns = now_ns;
    for (uint32_t i = 0; i < streams->options.receives_max; i++) {
        struct incoming *incoming = &streams->incoming[i];
        if (incoming->state == INCOMING_FREE)
            continue;
        incoming_flush(incoming);
        deadline = rr_min_u64(deadline, incoming_deadline(incoming));
    }
    if (!streams->outgoing)
        return deadline;
    fill_tokens(streams);
    begin_waiting(streams);
    spend_tokens(streams);
    for (struct outgoing *at = streams->outgoing; at; at = at->next) {
        outgoing_flush(at);
        deadline = rr_min_u64(deadline, outgoing_deadline(at));
        if (outgoing_wants_to_read(at))
            deadline = rr_min_u64(deadline, tokens_deadline(streams));
    }
    return deadline;
}

/* ---- status -------------------------------------------------------------- */

void snapshot_streams_stats(const struct snapshot_streams *streams,
                            struct snapshot_stream_stats *stats)
{
    *stats = streams->stats;
    stats->waiting = streams->waiting_count;
    for (const struct outgoing *at = streams->outgoing; at; at = at->next)
        stats->sending += at->state != OUTGOING_WAITING && at->state != OUTGOING_OVER;
    for (uint32_t i = 0; i < SNAPSHOT_TRANSFERS_MAX; i++)
        stats->receiving += streams->incoming[i].state != INCOMING_FREE;
    stats->window_bytes =
        (uint64_t)(stats->sending + stats->receiving) * SNAPSHOT_WINDOW * CHUNK_ROOM;
}
