/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot file that arrives from another node (struct incoming, snapshot_stream_impl.h).
 *
 * Happy path: BEGIN is read whole and judged, the worker opens the part and says how much of it is
 * there, chunks are received into the window and written by the worker in their order, each as soon
 * as it is there; behind the last the worker publishes, the engine takes the message, the sender
 * hears RESULT and closes. Failure path: what this side finds wrong with file or offer is a RESULT,
 * what it finds wrong with the connection closes it; the part is closed by the worker, last.
 */
#include "io/snapshot_stream_impl.h"

#include <stdlib.h>
#include <string.h>

static struct incoming *of_job(struct io_job *job)
{
    struct transfer *transfer = RR_CONTAINER_OF(job, struct transfer, job);
    return RR_CONTAINER_OF(transfer, struct incoming, transfer);
}

static const struct snapshot_stream_options *options_of(const struct incoming *incoming)
{
    return &incoming->transfer.streams->options;
}

static void malformed(struct incoming *incoming)
{
    incoming->transfer.streams->stats.malformed++;
    transfer_end(&incoming->transfer, RR_E_MALFORMED);
}

/* The last thing that is said; what still arrives is read and forgotten, so that the answer is not
 * lost in a reset. */
static void answer(struct incoming *incoming, int status)
{
    RR_ASSERT(incoming->state < INCOMING_ANSWERING && status <= 0);
    incoming->state = INCOMING_ANSWERING;
    incoming->answer = status;
    incoming->must_answer = true;
    transfer_extend(&incoming->transfer, 0);
}

static void refuse(struct incoming *incoming, int status)
{
    incoming->transfer.streams->stats.refused++;
    answer(incoming, status);
}

/* ---- on the worker ------------------------------------------------------- */

static void open_part(struct io_job *job)
{
    struct incoming *incoming = of_job(job);
    const struct snapshot_stream_options *options = options_of(incoming);
    incoming->transfer.job_result = options->part_open(options->part_ctx, &incoming->offer,
                                                       &incoming->part, &incoming->written);
}

static void write_chunk(struct io_job *job)
{
    struct incoming *incoming = of_job(job);
    const struct snapshot_stream_options *options = options_of(incoming);
    const struct chunk *chunk = &incoming->transfer.chunks[incoming->flushed % SNAPSHOT_WINDOW];
    const uint8_t *payload = chunk->frame + SNAPSHOT_WIRE_HEAD;
    if (!snapshot_wire_payload(&chunk->said, payload)) {
        incoming->transfer.job_result = RR_E_MALFORMED;
        return;
    }
    int err = options->part_write(options->part_ctx, incoming->part, chunk->said.offset, payload,
                                  chunk->said.payload_size);
    incoming->is_part_bad = err != 0;
    incoming->transfer.job_result = err;
}

static void publish_part(struct io_job *job)
{
    struct incoming *incoming = of_job(job);
    const struct snapshot_stream_options *options = options_of(incoming);
    int err = options->part_publish(options->part_ctx, incoming->part);
    incoming->is_part_bad = err != 0 && err != RR_E_PENDING;
    incoming->transfer.job_result = err;
}

static void close_part(struct io_job *job)
{
    struct incoming *incoming = of_job(job);
    const struct snapshot_stream_options *options = options_of(incoming);
    options->part_close(options->part_ctx, incoming->part, !incoming->is_part_bad);
    incoming->part = NULL;
}

/* ---- BEGIN --------------------------------------------------------------- */

static void begin_is_heard(struct incoming *incoming)
{
    const struct snapshot_said *said = &incoming->heard;
    if (said->type != SNAPSHOT_SAYS_BEGIN) {
        malformed(incoming);
        return;
    }
    incoming->begin = malloc(said->payload_size);
    if (!incoming->begin) {
        transfer_end(&incoming->transfer, RR_E_NO_MEMORY);
        return;
    }
    incoming->has_heard = true;
    transfer_receive(&incoming->transfer, incoming->begin, said->payload_size);
}

static bool decode_message(struct incoming *incoming)
{
    const struct snapshot_said *said = &incoming->heard;
    struct codec_scratch scratch = {0};
    if (!snapshot_wire_payload(said, incoming->begin) ||
        rr_message_scratch_size(incoming->begin, said->payload_size, &scratch.cap) != 0)
        return false;
    incoming->scratch = scratch.bytes = malloc(scratch.cap + 1);
    return scratch.bytes && rr_message_decode(incoming->begin, said->payload_size, &scratch,
                                              &incoming->message) == 0;
}

/* May this message have been sent by this peer, to us, with a file? */
static bool is_message_sound(const struct incoming *incoming)
{
    const struct rr_message *message = &incoming->message;
    const struct transport *transport = incoming->transfer.streams->transport;
    return message->type == RR_MSG_SNAP && message->from == incoming->from &&
           message->to == transport->options.identity.node && message->entry_count == 0 &&
           message->response_count == 0 && message->snapshot && message->snapshot->size == 0 &&
           message->snapshot->metadata.index > 0;
}

static void begin_is_whole(struct incoming *incoming)
{
    const struct snapshot_said *said = &incoming->heard;
    if (!decode_message(incoming) || !is_message_sound(incoming)) {
        malformed(incoming);
        return;
    }
    incoming->offer = (struct snapshot_offer){.group = said->group,
                                              .size = said->size,
                                              .header_crc = said->header_crc,
                                              .message = &incoming->message};
    incoming->state = INCOMING_OPENING;
}

/* Another transfer of the group. A newer leader's ends an older's, and a new attempt of the same
 * leader the one whose end it may know earlier than we do. */
static int replace_others(struct incoming *incoming)
{
    struct snapshot_streams *streams = incoming->transfer.streams;
    for (uint32_t i = 0; i < streams->options.receives_max; i++) {
        struct incoming *other = &streams->incoming[i];
        if (other == incoming || other->state < INCOMING_OPENING ||
            other->offer.group != incoming->offer.group || other->transfer.is_ending)
            continue;
        if (other->state == INCOMING_PUBLISHING || other->message.term > incoming->message.term)
            return RR_E_BUSY;
        transfer_end(&other->transfer, RR_E_CANCELED);
    }
    return 0;
}

static void judge_offer(struct incoming *incoming)
{
    const struct snapshot_stream_options *options = options_of(incoming);
    int err = incoming->offer.size > options->file_bytes_max
                  ? RR_E_TOO_LARGE
                  : options->on_offer(options->ctx, incoming->from, &incoming->offer);
    if (incoming->transfer.is_ending)
        return;
    if (err == 0)
        err = replace_others(incoming);
    if (err != 0)
        refuse(incoming, err);
    else
        incoming->is_taken = true;
}

/* Only those that were ended for this one are left. */
static bool is_group_open_elsewhere(const struct incoming *incoming)
{
    const struct snapshot_streams *streams = incoming->transfer.streams;
    for (uint32_t i = 0; i < streams->options.receives_max; i++) {
        const struct incoming *other = &streams->incoming[i];
        if (other != incoming && other->is_taken && other->offer.group == incoming->offer.group)
            return true;
    }
    return false;
}

/* ---- chunks -------------------------------------------------------------- */

static bool has_room(const struct incoming *incoming)
{
    return incoming->taken - incoming->flushed < SNAPSHOT_WINDOW;
}

static void chunk_is_heard(struct incoming *incoming)
{
    const struct snapshot_said *said = &incoming->heard;
    if (said->type != SNAPSHOT_SAYS_CHUNK || said->group != incoming->offer.group ||
        said->offset != incoming->arrived ||
        said->payload_size > incoming->offer.size - incoming->arrived) {
        malformed(incoming);
        return;
    }
    struct chunk *chunk = &incoming->transfer.chunks[incoming->taken % SNAPSHOT_WINDOW];
    chunk->said = *said;
    incoming->has_heard = true;
    transfer_receive(&incoming->transfer, chunk->frame + SNAPSHOT_WIRE_HEAD, said->payload_size);
}

static void chunk_is_whole(struct incoming *incoming)
{
    uint32_t size = incoming->heard.payload_size;
    incoming->taken++;
    incoming->arrived += size;
    incoming->transfer.streams->stats.bytes_received += size;
    transfer_extend(&incoming->transfer, 0);
}

/* ---- completions --------------------------------------------------------- */

static void head_is_whole(struct incoming *incoming)
{
    if (snapshot_wire_get(incoming->head, &incoming->heard) != 0)
        malformed(incoming);
    else if (incoming->state == INCOMING_READING)
        begin_is_heard(incoming);
    else
        chunk_is_heard(incoming);
}

static void payload_is_whole(struct incoming *incoming)
{
    incoming->has_heard = false;
    if (incoming->state == INCOMING_READING)
        begin_is_whole(incoming);
    else
        chunk_is_whole(incoming);
}

static void in_done(struct transport_op *op)
{
    struct transfer *transfer = RR_CONTAINER_OF(op, struct transfer, in);
    struct incoming *incoming = RR_CONTAINER_OF(transfer, struct incoming, transfer);
    if (transfer->is_ending)
        return;
    if (incoming->state == INCOMING_ANSWERING) { /* the sender closed, or it goes on in vain */
        if (op->io.result <= 0)
            transfer_end(transfer, incoming->answer);
        return;
    }
    int err = transfer_continue(op, &transfer->in_part);
    if (err == RR_E_PENDING)
        return;
    if (err != 0)
        transfer_end(transfer, err);
    else if (incoming->has_heard)
        payload_is_whole(incoming);
    else
        head_is_whole(incoming);
}

static void out_done(struct transport_op *op)
{
    struct transfer *transfer = RR_CONTAINER_OF(op, struct transfer, out);
    if (!transfer->is_ending && transfer_continue(op, &transfer->out_part) == RR_E_CLOSED)
        transfer_end(transfer, RR_E_CLOSED);
}

/* ---- the turn ------------------------------------------------------------ */

static void publish_if_whole(struct incoming *incoming)
{
    if (incoming->written == incoming->offer.size)
        incoming->state = INCOMING_PUBLISHING;
}

static void part_is_open(struct incoming *incoming)
{
    RR_ASSERT(incoming->written <= incoming->offer.size);
    incoming->arrived = incoming->written;
    incoming->transfer.streams->stats.resumed += incoming->written > 0;
    incoming->state = INCOMING_RECEIVING;
    incoming->must_report = true;
    transfer_extend(&incoming->transfer, 0);
    publish_if_whole(incoming);
}

static void chunk_is_written(struct incoming *incoming)
{
    const struct chunk *chunk = &incoming->transfer.chunks[incoming->flushed % SNAPSHOT_WINDOW];
    incoming->written += chunk->said.payload_size;
    incoming->flushed++;
    incoming->must_report = true;
    transfer_extend(&incoming->transfer, 0);
    publish_if_whole(incoming);
}

static void part_is_published(struct incoming *incoming)
{
    const struct snapshot_stream_options *options = options_of(incoming);
    incoming->is_published = true;
    int err = options->on_received(options->ctx, incoming->from, &incoming->offer);
    if (!incoming->transfer.is_ending)
        answer(incoming, err);
}

static void take_result(struct incoming *incoming, int err)
{
    if (incoming->transfer.is_ending)
        return;
    if (err == RR_E_PENDING) /* the next slice is posted by the flush */
        transfer_extend(&incoming->transfer, 0);
    else if (err == RR_E_MALFORMED && incoming->state == INCOMING_RECEIVING)
        malformed(incoming);
    else if (err != 0)
        answer(incoming, err);
    else if (incoming->state == INCOMING_OPENING)
        part_is_open(incoming);
    else if (incoming->state == INCOMING_RECEIVING)
        chunk_is_written(incoming);
    else
        part_is_published(incoming);
}

static void become_free(struct incoming *incoming)
{
    struct snapshot_streams *streams = incoming->transfer.streams;
    const struct snapshot_stream_options *options = &streams->options;
    if (incoming->is_published && incoming->transfer.status == 0)
        streams->stats.receives_done++;
    else if (incoming->is_taken)
        streams->stats.receives_failed++;
    if (incoming->is_taken && !incoming->is_published)
        options->on_lost(options->ctx, incoming->from, &incoming->offer,
                         incoming->answer ? incoming->answer : incoming->transfer.status);
    incoming_fini(incoming);
}

/* The connection is gone: the part goes last. */
static void close_down(struct incoming *incoming)
{
    if (!incoming->part) {
        become_free(incoming);
        return;
    }
    incoming->state = INCOMING_CLOSING;
    incoming->transfer.has_worked = false;
    transfer_post(&incoming->transfer, close_part);
}

void incoming_receive(struct incoming *incoming)
{
    struct transfer *transfer = &incoming->transfer;
    int err;
    if (incoming->state == INCOMING_CLOSING) {
        if (transfer_take_result(transfer, &err))
            become_free(incoming);
        return;
    }
    if (transfer_take_result(transfer, &err))
        take_result(incoming, err);
    if (incoming->state == INCOMING_OPENING && !incoming->is_taken && !transfer->is_ending)
        judge_offer(incoming);
    if (!transfer->is_working && transfer_is_late(transfer)) /* our own disk is not its fault */
        transfer_end(transfer, RR_E_DEADLINE);
    if (transfer_is_over(transfer))
        close_down(incoming);
}

static void say(struct incoming *incoming, struct snapshot_said said)
{
    said.group = incoming->heard.group;
    snapshot_wire_put(&said, 0, incoming->said);
    transfer_send(&incoming->transfer, incoming->said, SNAPSHOT_WIRE_HEAD);
}

static void flush_said(struct incoming *incoming)
{
    if (incoming->transfer.out.is_busy)
        return;
    if (incoming->must_answer) {
        incoming->must_answer = incoming->must_report = false;
        say(incoming,
            (struct snapshot_said){.type = SNAPSHOT_SAYS_RESULT, .status = incoming->answer});
    } else if (incoming->must_report && incoming->state < INCOMING_ANSWERING) {
        incoming->must_report = false;
        say(incoming,
            (struct snapshot_said){.type = SNAPSHOT_SAYS_PROGRESS, .offset = incoming->written});
    }
}

static void flush_heard(struct incoming *incoming)
{
    struct transfer *transfer = &incoming->transfer;
    if (transfer->in.is_busy)
        return;
    bool is_at_chunks = incoming->state == INCOMING_RECEIVING && has_room(incoming) &&
                        incoming->arrived < incoming->offer.size;
    if (incoming->state == INCOMING_READING || is_at_chunks)
        transfer_receive(transfer, incoming->head, SNAPSHOT_WIRE_HEAD);
    else if (incoming->state == INCOMING_ANSWERING)
        transfer_receive(transfer, transfer->memory, CHUNK_ROOM);
}

void incoming_flush(struct incoming *incoming)
{
    struct transfer *transfer = &incoming->transfer;
    if (transfer->is_ending || incoming->state == INCOMING_CLOSING)
        return;
    bool may_work = !transfer->is_working && !transfer->has_worked;
    if (incoming->state == INCOMING_OPENING && may_work && incoming->is_taken &&
        !is_group_open_elsewhere(incoming))
        transfer_post(transfer, open_part);
    else if (incoming->state == INCOMING_RECEIVING && may_work &&
             incoming->flushed < incoming->taken)
        transfer_post(transfer, write_chunk);
    else if (incoming->state == INCOMING_PUBLISHING && may_work)
        transfer_post(transfer, publish_part);
    flush_said(incoming);
    flush_heard(incoming);
}

uint64_t incoming_deadline(const struct incoming *incoming)
{
    const struct transfer *transfer = &incoming->transfer;
    if (transfer->is_working)
        return UINT64_MAX;
    if (transfer->is_ending) /* the last completion wakes us, unless there is none to come */
        return transfer->in.is_busy || transfer->out.is_busy ? UINT64_MAX : 0;
    return transfer->deadline_ns;
}

/* ---- beginning and end --------------------------------------------------- */

bool snapshot_streams_have_room(const struct snapshot_streams *streams)
{
    for (uint32_t i = 0; i < streams->options.receives_max; i++)
        if (streams->incoming[i].state == INCOMING_FREE)
            return true;
    return false;
}

bool snapshot_streams_accept(struct snapshot_streams *streams, int fd, uint64_t from)
{
    for (uint32_t i = 0; i < streams->options.receives_max; i++) {
        struct incoming *incoming = &streams->incoming[i];
        if (incoming->state != INCOMING_FREE)
            continue;
        struct transfer *transfer = &incoming->transfer;
        if (!transfer_init(transfer, streams, &streams->receive_workers[i])) {
            transfer_fini(transfer);
            return false;
        }
        transport_op_init(&transfer->in, streams->transport, in_done);
        transport_op_init(&transfer->out, streams->transport, out_done);
        transfer->fd = fd;
        incoming->from = from;
        incoming->state = INCOMING_READING;
        streams->now_ns = streams->transport->now_ns;
        transfer_extend(transfer, 0);
        return true;
    }
    return false;
}

void incoming_fini(struct incoming *incoming)
{
    struct snapshot_streams *streams = incoming->transfer.streams;
    const struct snapshot_stream_options *options = &streams->options;
    if (incoming->part) /* the loop has ended under it */
        options->part_close(options->part_ctx, incoming->part, true);
    transfer_fini(&incoming->transfer);
    free(incoming->scratch);
    free(incoming->begin);
    *incoming = (struct incoming){.transfer = {.streams = streams, .fd = -1}};
}
