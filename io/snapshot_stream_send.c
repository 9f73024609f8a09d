/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot file on its way to another node (struct outgoing, snapshot_stream_impl.h).
 *
 * Happy path: a place becomes free; connect, hello, the peer's hello, BEGIN; from the offset that
 * the receiver names the worker reads chunk after chunk, as the tokens allow, and each is sent when
 * it was read; the receiver's RESULT ends it. Failure path: everything else ends it with a status;
 * the connection is closed when its ops are back and the worker is done.
 */
#include "io/snapshot_stream_impl.h"

#include "proto/crc32c.h"

#include <stdlib.h>
#include <string.h>

static struct outgoing *of_transfer(struct transfer *transfer)
{
    return RR_CONTAINER_OF(transfer, struct outgoing, transfer);
}

static void malformed(struct outgoing *outgoing)
{
    outgoing->transfer.streams->stats.malformed++;
    transfer_end(&outgoing->transfer, RR_E_MALFORMED);
}

/* Nobody acknowledges our bytes, or has room for them, for so long: another connection goes on. */
#define PATIENCE_MS 2000u

/* ---- hello --------------------------------------------------------------- */

static void send_hello(struct outgoing *outgoing)
{
    struct hello hello = outgoing->transfer.streams->transport->hello;
    hello.kind = HELLO_DIAL;
    hello.flags = HELLO_SNAPSHOT;
    hello.to = outgoing->to;
    hello_put(&hello, outgoing->said);
    outgoing->state = OUTGOING_GREETING;
    transfer_send(&outgoing->transfer, outgoing->said, HELLO_SIZE);
}

static int check_hello(const struct outgoing *outgoing)
{
    const struct transport *transport = outgoing->transfer.streams->transport;
    struct hello ours = transport->hello, theirs;
    ours.to = outgoing->to;
    ours.flags = HELLO_SNAPSHOT;
    int err = hello_get(outgoing->said, &theirs);
    if (err == 0 && theirs.kind == HELLO_REFUSAL)
        err = theirs.code;
    else if (err == 0 && theirs.kind != HELLO_ANSWER)
        err = RR_E_MALFORMED;
    if (err == 0)
        err = hello_check(&ours, &theirs);
    if (err != 0)
        return err;
    const struct transport_peer who = transport_peer_of(transport, &theirs);
    return transport->options.check_peer(transport->options.ctx, &who);
}

/* Its hello came. Who is not known yet (RR_E_PENDING) has just been restarted: the next attempt. */
static void greeted(struct outgoing *outgoing)
{
    int err = check_hello(outgoing);
    if (err != 0) {
        transfer_end(&outgoing->transfer, err);
        return;
    }
    outgoing->state = OUTGOING_OFFERING;
    transfer_extend(&outgoing->transfer, outgoing->size);
    transfer_send(&outgoing->transfer, outgoing->begin, outgoing->begin_size);
    transfer_receive(&outgoing->transfer, outgoing->said, SNAPSHOT_WIRE_HEAD);
}

/* ---- what the receiver says ---------------------------------------------- */

/* The offset at which it wants to go on. */
static bool take_offset(struct outgoing *outgoing, uint64_t offset)
{
    if (offset > outgoing->size)
        return false;
    outgoing->begun = outgoing->asked = outgoing->confirmed = offset;
    outgoing->state = OUTGOING_STREAMING;
    transfer_extend(&outgoing->transfer, offset == outgoing->size ? outgoing->size : 0);
    return true;
}

/* The chunks below this offset are written. */
static bool take_progress(struct outgoing *outgoing, uint64_t offset)
{
    struct transfer *transfer = &outgoing->transfer;
    uint64_t acked = outgoing->acked;
    uint64_t end = outgoing->confirmed;
    while (acked < outgoing->sent && end < offset)
        end += transfer->chunks[acked++ % SNAPSHOT_WINDOW].said.payload_size;
    if (end != offset || offset <= outgoing->confirmed)
        return false;
    outgoing->acked = acked;
    outgoing->confirmed = offset;
    transfer_extend(transfer, offset == outgoing->size ? outgoing->size : 0);
    return true;
}

static bool take_result(struct outgoing *outgoing, int status)
{
    bool is_all_sent = outgoing->state == OUTGOING_STREAMING && outgoing->asked == outgoing->size &&
                       outgoing->sent == outgoing->read;
    if (status == 0 && !is_all_sent)
        return false;
    if (status == 0)
        outgoing->confirmed = outgoing->size;
    transfer_end(&outgoing->transfer, status);
    return true;
}

static void answered(struct outgoing *outgoing)
{
    struct snapshot_said said;
    bool is_sound = snapshot_wire_get(outgoing->said, &said) == 0 && said.group == outgoing->group;
    if (is_sound && said.type == SNAPSHOT_SAYS_RESULT)
        is_sound = take_result(outgoing, said.status);
    else if (is_sound && said.type == SNAPSHOT_SAYS_PROGRESS)
        is_sound = outgoing->state == OUTGOING_OFFERING ? take_offset(outgoing, said.offset)
                                                        : take_progress(outgoing, said.offset);
    else
        is_sound = false;
    if (!is_sound)
        malformed(outgoing);
    else if (!outgoing->transfer.is_ending)
        transfer_receive(&outgoing->transfer, outgoing->said, SNAPSHOT_WIRE_HEAD);
}

/* ---- completions --------------------------------------------------------- */

static void in_done(struct transport_op *op)
{
    struct transfer *transfer = RR_CONTAINER_OF(op, struct transfer, in);
    struct outgoing *outgoing = of_transfer(transfer);
    if (transfer->is_ending)
        return;
    int err = transfer_continue(op, &transfer->in_part);
    if (err == RR_E_PENDING)
        return;
    if (err != 0)
        transfer_end(transfer, err);
    else if (outgoing->state == OUTGOING_LISTENING)
        greeted(outgoing);
    else
        answered(outgoing);
}

static void out_done(struct transport_op *op)
{
    struct transfer *transfer = RR_CONTAINER_OF(op, struct transfer, out);
    struct outgoing *outgoing = of_transfer(transfer);
    if (transfer->is_ending)
        return;
    if (outgoing->state == OUTGOING_CONNECTING) {
        if (op->io.result < 0)
            transfer_end(transfer, RR_E_CLOSED);
        else
            send_hello(outgoing);
        return;
    }
    int err = transfer_continue(op, &transfer->out_part);
    if (err == RR_E_CLOSED) {
        transfer_end(transfer, err);
    } else if (err == 0 && outgoing->state == OUTGOING_GREETING) {
        outgoing->state = OUTGOING_LISTENING;
        transfer_receive(transfer, outgoing->said, HELLO_SIZE);
    }
}

/* ---- reading, on the worker ---------------------------------------------- */

/* The file is opened by the first job; one that is not as long as was offered is not sent. */
static int open_file(struct outgoing *outgoing)
{
    struct io *io = outgoing->transfer.streams->io;
    if (outgoing->file >= 0)
        return 0;
    int fd = io->ops->open(io, outgoing->path, IO_O_READ_ONLY);
    if (fd < 0)
        return RR_E_IO;
    outgoing->file = fd;
    return io->ops->file_size(io, fd) == (int64_t)outgoing->size ? 0 : RR_E_CORRUPT;
}

static void read_chunk(struct io_job *job)
{
    struct transfer *transfer = RR_CONTAINER_OF(job, struct transfer, job);
    struct outgoing *outgoing = of_transfer(transfer);
    struct chunk *chunk = &transfer->chunks[outgoing->read % SNAPSHOT_WINDOW];
    struct io *io = transfer->streams->io;
    uint8_t *payload = chunk->frame + SNAPSHOT_WIRE_HEAD;
    uint32_t size = chunk->said.payload_size;
    transfer->job_result = open_file(outgoing);
    if (transfer->job_result != 0)
        return;
    if (io->ops->pread(io, outgoing->file, payload, size, chunk->said.offset) != (int64_t)size) {
        transfer->job_result = RR_E_IO;
        return;
    }
    snapshot_wire_put(&chunk->said, crc32c(0, payload, size), chunk->frame);
}

bool outgoing_wants_to_read(const struct outgoing *outgoing)
{
    const struct transfer *transfer = &outgoing->transfer;
    if (outgoing->state != OUTGOING_STREAMING || transfer->is_ending || transfer->is_working ||
        outgoing->asked == outgoing->size)
        return false;
    /* A chunk may be acknowledged before its send is known to be over. */
    uint64_t held = outgoing->acked;
    if (transfer->out.is_busy && held == outgoing->sent)
        held--;
    return outgoing->read - held < SNAPSHOT_WINDOW;
}

uint32_t outgoing_read(struct outgoing *outgoing)
{
    struct transfer *transfer = &outgoing->transfer;
    struct chunk *chunk = &transfer->chunks[outgoing->read % SNAPSHOT_WINDOW];
    uint64_t left = outgoing->size - outgoing->asked;
    uint32_t size = (uint32_t)rr_min_u64(left, transfer->streams->chunk_bytes);
    chunk->said = (struct snapshot_said){.type = SNAPSHOT_SAYS_CHUNK,
                                         .group = outgoing->group,
                                         .offset = outgoing->asked,
                                         .payload_size = size};
    outgoing->asked += size;
    transfer_post(transfer, read_chunk);
    return size;
}

/* ---- the turn ------------------------------------------------------------ */

void outgoing_receive(struct outgoing *outgoing)
{
    struct transfer *transfer = &outgoing->transfer;
    int err;
    if (transfer_take_result(transfer, &err)) {
        outgoing->is_unreadable = err != 0 && !transfer->is_ending;
        if (err != 0)
            transfer_end(transfer, err);
        else
            outgoing->read++;
    }
    bool is_running = outgoing->state != OUTGOING_WAITING && outgoing->state != OUTGOING_OVER;
    if (is_running && transfer_is_late(transfer))
        transfer_end(transfer, RR_E_DEADLINE);
}

void outgoing_flush(struct outgoing *outgoing)
{
    struct transfer *transfer = &outgoing->transfer;
    if (outgoing->state != OUTGOING_STREAMING || transfer->is_ending || transfer->out.is_busy ||
        outgoing->sent == outgoing->read)
        return;
    const struct chunk *chunk = &transfer->chunks[outgoing->sent % SNAPSHOT_WINDOW];
    if (chunk->said.offset + chunk->said.payload_size == outgoing->size)
        transfer_extend(transfer, outgoing->size);
    outgoing->sent++;
    transfer->streams->stats.bytes_sent += chunk->said.payload_size;
    transfer_send(transfer, chunk->frame, SNAPSHOT_WIRE_HEAD + chunk->said.payload_size);
}

uint64_t outgoing_deadline(const struct outgoing *outgoing)
{
    const struct transfer *transfer = &outgoing->transfer;
    if (outgoing->state == OUTGOING_OVER)
        return outgoing->report_ns;
    if (transfer->is_ending) /* the last completion wakes us, unless there is none to come */
        return transfer->in.is_busy || transfer->out.is_busy || transfer->is_working ? UINT64_MAX
                                                                                     : 0;
    return outgoing->state == OUTGOING_WAITING ? UINT64_MAX : transfer->deadline_ns;
}

/* ---- beginning and end --------------------------------------------------- */

void outgoing_begin(struct outgoing *outgoing)
{
    struct transfer *transfer = &outgoing->transfer;
    struct snapshot_streams *streams = transfer->streams;
    outgoing->state = OUTGOING_CONNECTING;
    transport_op_init(&transfer->in, streams->transport, in_done);
    transport_op_init(&transfer->out, streams->transport, out_done);
    if (!transfer_init(transfer, streams, &streams->send_workers[outgoing->place])) {
        transfer_end(transfer, RR_E_NO_MEMORY);
        return;
    }
    int fd = streams->io->ops->socket(streams->io, PATIENCE_MS);
    if (fd < 0) {
        transfer_end(transfer, RR_E_IO);
        return;
    }
    transfer->fd = fd;
    transfer->out.io.address = &outgoing->address;
    transfer_extend(transfer, 0);
    transport_op_submit(&transfer->out, IO_CONNECT, fd, NULL, 0);
}

/* The frame BEGIN. */
static bool encode_begin(struct outgoing *outgoing, const struct snapshot_offer *offer)
{
    uint32_t size = (uint32_t)rr_message_size(offer->message);
    struct snapshot_said said = {.type = SNAPSHOT_SAYS_BEGIN,
                                 .group = offer->group,
                                 .size = offer->size,
                                 .header_crc = offer->header_crc,
                                 .payload_size = size};
    outgoing->begin_size = SNAPSHOT_WIRE_HEAD + size;
    outgoing->begin = malloc(outgoing->begin_size);
    if (!outgoing->begin)
        return false;
    uint8_t *payload = outgoing->begin + SNAPSHOT_WIRE_HEAD;
    rr_message_encode(offer->message, payload);
    snapshot_wire_put(&said, crc32c(0, payload, size), outgoing->begin);
    return true;
}

struct outgoing *outgoing_new(struct snapshot_streams *streams, const struct snapshot_offer *offer,
                              const struct peer *peer, const char *path)
{
    struct outgoing *outgoing = calloc(1, sizeof(*outgoing));
    if (!outgoing)
        return NULL;
    *outgoing = (struct outgoing){
        .transfer = {.streams = streams, .fd = -1},
        .state = OUTGOING_WAITING,
        .address = peer->address,
        .group = offer->group,
        .to = peer->node,
        .index = offer->message->snapshot->metadata.index,
        .term = offer->message->snapshot->metadata.term,
        .size = offer->size,
        .report_ns = streams->transport->now_ns + SNAPSHOT_PACE_NS,
        .path = strdup(path),
        .file = -1,
    };
    if (outgoing->path && encode_begin(outgoing, offer))
        return outgoing;
    outgoing_free(outgoing);
    return NULL;
}

void outgoing_free(struct outgoing *outgoing)
{
    struct io *io = outgoing->transfer.streams->io;
    if (outgoing->file >= 0)
        io->ops->close(io, outgoing->file);
    transfer_fini(&outgoing->transfer);
    free(outgoing->begin);
    free(outgoing->path);
    free(outgoing);
}
