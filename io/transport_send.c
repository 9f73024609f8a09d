/* SPDX-License-Identifier: Apache-2.0
 *
 * Sending: messages become frames in the peer's queue, the queue becomes one send per turn. Hot: no
 * allocation, no work per entry but joining adjacent wire bytes into ranges.
 *
 * Happy path: header, item and the message's fields before and behind its entries are encoded into
 * the send block; the entries are referred to where they lie, their checksum combined from that of
 * the run. Loose entries (not encoded, or without an owner) and bodies of more than
 * TRANSPORT_RANGES_MAX ranges are encoded whole into the send block. Failure path: a message that
 * cannot be queued is refused and counted; nothing of it stays behind.
 */
#include "io/transport_impl.h"

#include "io/address.h"
#include "proto/crc32c.h"

#include <string.h>

struct range {
    const uint8_t *bytes;
    struct rr_block *block;
    uint32_t size;
};

/* The places where the message's entries lie encoded, in order. UINT32_MAX: too many, or some are
 * loose: they have to be copied. */
static uint32_t find_ranges(const struct rr_message *message, struct range ranges[])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct rr_entry *entry = &message->entries[i];
        if (RR_UNLIKELY(entry->wire_size == 0 || !entry->block))
            return UINT32_MAX;
        const uint8_t *bytes = rr_entry_wire(entry);
        struct range *last = count > 0 ? &ranges[count - 1] : NULL;
        if (last && last->block == entry->block && last->bytes + last->size == bytes) {
            last->size += entry->wire_size;
            continue;
        }
        if (RR_UNLIKELY(count == TRANSPORT_RANGES_MAX))
            return UINT32_MAX;
        ranges[count++] =
            (struct range){.bytes = bytes, .block = entry->block, .size = entry->wire_size};
    }
    return count;
}

static uint32_t continue_crc(const struct transport *transport, uint32_t crc,
                             const struct range *range)
{
    uint32_t range_crc;
    if (transport->options.run_crc &&
        transport->options.run_crc(range->block, range->bytes, range->size, &range_crc))
        return crc32c_combine(crc, range_crc, range->size);
    return crc32c(crc, range->bytes, range->size);
}

/* A frame with entries that are referred to: [header item head] ranges [tail]. `size` is the
 * message's. */
static bool queue_ranges(struct peer *peer, uint64_t group, const struct rr_message *message,
                         uint32_t size, const struct range *ranges, uint32_t range_count)
{
    const uint32_t before = FRAME_HEADER_SIZE + FRAME_ITEM_SIZE;
    struct send_queue *queue = &peer->queue;
    uint32_t head_size = (uint32_t)rr_message_head_size(message);
    uint32_t tail_size = (uint32_t)rr_message_tail_size(message);
    uint8_t *at = send_queue_room(queue, before + head_size + tail_size);
    if (!at)
        return false;
    uint8_t *item = at + FRAME_HEADER_SIZE;
    uint8_t *tail = rr_message_encode_head(message, at + before);
    RR_ASSERT(tail == at + before + head_size);
    uint8_t *end = rr_message_encode_tail(message, tail);
    RR_ASSERT(end == tail + tail_size);
    frame_item_put(&(struct frame_item){.group = group, .size = size}, item);

    struct rr_block *block = queue->fill;
    uint32_t crc = crc32c(0, item, FRAME_ITEM_SIZE + head_size);
    send_queue_push(queue, block, at, before + head_size, false);
    for (uint32_t i = 0; i < range_count; i++) {
        crc = continue_crc(peer->transport, crc, &ranges[i]);
        send_queue_push(queue, ranges[i].block, ranges[i].bytes, ranges[i].size,
                        i + 1 == range_count && tail_size == 0);
    }
    crc = crc32c(crc, tail, tail_size);
    if (tail_size > 0)
        send_queue_push(queue, block, tail, tail_size, true);
    struct frame_header header = {
        .group = group, .length = FRAME_ITEM_SIZE + size, .body_crc = crc, .kind = FRAME_MESSAGES};
    frame_header_put(&header, at);
    return true;
}

/* A frame that lies whole in the send block. */
static bool queue_whole(struct peer *peer, uint64_t group, const struct rr_message *message,
                        uint32_t size)
{
    uint32_t length = FRAME_ITEM_SIZE + size;
    uint8_t *at = send_queue_room(&peer->queue, FRAME_HEADER_SIZE + length);
    if (!at)
        return false;
    uint8_t *item = at + FRAME_HEADER_SIZE;
    frame_item_put(&(struct frame_item){.group = group, .size = size}, item);
    uint8_t *end = rr_message_encode(message, item + FRAME_ITEM_SIZE);
    RR_ASSERT(end == item + length);
    struct frame_header header = {.group = group,
                                  .length = length,
                                  .body_crc = crc32c(0, item, length),
                                  .kind = FRAME_MESSAGES};
    frame_header_put(&header, at);
    send_queue_push(&peer->queue, peer->queue.fill, at, FRAME_HEADER_SIZE + length, true);
    if (message->entry_count > 0)
        peer->transport->stats.bodies_copied++;
    return true;
}

/* Heartbeats of one turn, of all groups, share a frame. */
static bool queue_heartbeat(struct peer *peer, uint64_t group, const struct rr_message *message,
                            uint32_t size)
{
    uint8_t *at = send_queue_urgent_room(&peer->queue, FRAME_ITEM_SIZE + size);
    if (!at)
        return false;
    frame_item_put(&(struct frame_item){.group = group, .size = size}, at);
    uint8_t *end = rr_message_encode(message, at + FRAME_ITEM_SIZE);
    RR_ASSERT(end == at + FRAME_ITEM_SIZE + size);
    return true;
}

static bool queue_frame(struct peer *peer, uint64_t group, const struct rr_message *message,
                        uint32_t size)
{
    struct range ranges[TRANSPORT_RANGES_MAX];
    uint32_t count = find_ranges(message, ranges);
    bool is_whole = count == 0 || count == UINT32_MAX;
    uint64_t frame_size = FRAME_HEADER_SIZE + FRAME_ITEM_SIZE + (uint64_t)size;
    if (!send_queue_admits(&peer->queue, frame_size, is_whole ? 1 : count + 2))
        return false;
    if (is_whole)
        return queue_whole(peer, group, message, size);
    return queue_ranges(peer, group, message, size, ranges, count);
}

/* A small frame that is no message. */
static bool queue_small(struct peer *peer, struct frame_header header, const void *body)
{
    uint32_t size = FRAME_HEADER_SIZE + header.length;
    if (!send_queue_admits(&peer->queue, size, 1))
        return false;
    uint8_t *at = send_queue_room(&peer->queue, size);
    if (!at)
        return false;
    header.body_crc = crc32c(0, body, header.length);
    frame_header_put(&header, at);
    memcpy(at + FRAME_HEADER_SIZE, body, header.length);
    send_queue_push(&peer->queue, peer->queue.fill, at, size, true);
    return true;
}

void peer_introduce(struct peer *peer)
{
    char text[IO_ADDRESS_TEXT_SIZE];
    bool is_known = peer->transport->options.advertise.ip != 0; /* it listens everywhere */
    if (!is_known || peer_level(peer) < FEATURE_LEVEL_ADDRESSES)
        return;
    io_address_format(&peer->transport->options.advertise, text);
    /* The queue is empty: only for want of memory is there no room, and then it is said again with
     * the next connection. */
    (void)queue_small(
        peer, (struct frame_header){.kind = FRAME_ADDRESS, .length = (uint32_t)strlen(text)}, text);
}

static int send_small(struct transport *transport, uint64_t to, struct frame_header header,
                      const void *body)
{
    struct peer *peer = transport_find_peer(transport, to);
    if (!peer)
        return RR_E_NOT_FOUND;
    if (peer->dial.state != DIAL_UP)
        return RR_E_CLOSED;
    if (peer_level(peer) < FEATURE_LEVEL_ADDRESSES)
        return RR_E_NOT_SUPPORTED;
    if (queue_small(peer, header, body))
        return 0;
    transport->stats.dropped++;
    return RR_E_BUSY;
}

int transport_send_hash(struct transport *transport, uint64_t to, uint64_t group,
                        const struct frame_hash *hash)
{
    uint8_t body[FRAME_HASH_SIZE];
    struct frame_header header = {.kind = FRAME_HASHES, .group = group, .length = FRAME_HASH_SIZE};
    frame_hash_put(hash, body);
    return send_small(transport, to, header, body);
}

int transport_send_notice(struct transport *transport, uint64_t to, uint64_t group,
                          const struct frame_notice *notice)
{
    uint8_t body[FRAME_NOTICE_SIZE];
    struct frame_header header = {
        .kind = FRAME_NOTICE, .group = group, .length = FRAME_NOTICE_SIZE};
    frame_notice_put(notice, body);
    return send_small(transport, to, header, body);
}

int transport_send(struct transport *transport, uint64_t group, const struct rr_message *message)
{
    RR_ASSERT(message->from == transport->options.identity.node && message->response_count == 0);
    struct peer *peer = transport_find_peer(transport, message->to);
    if (!peer)
        return RR_E_NOT_FOUND;
    if (peer->dial.state != DIAL_UP)
        return RR_E_CLOSED;
    size_t size = rr_message_size(message);
    if (FRAME_ITEM_SIZE + size > transport->options.limits.frame_bytes_max ||
        message->entry_count > TRANSPORT_ENTRIES_MAX)
        return RR_E_TOO_LARGE;
    bool is_heartbeat = message->type == RR_MSG_HEARTBEAT || message->type == RR_MSG_HEARTBEAT_RESP;
    bool is_queued = is_heartbeat ? queue_heartbeat(peer, group, message, (uint32_t)size)
                                  : queue_frame(peer, group, message, (uint32_t)size);
    if (!is_queued) {
        transport->stats.dropped++;
        peer->has_refused = true;
        return RR_E_BUSY;
    }
    RR_ASSERT_SLOW((send_queue_check(&peer->queue), true));
    if (peer->queue.bytes > transport->stats.queue_bytes_max)
        transport->stats.queue_bytes_max = peer->queue.bytes;
    return 0;
}

/* A quarter of the silence that the other end bears. A quiet send may be over without our knowing;
 * one that is still out by then is being held up, and its end is a reason for a turn. */
uint64_t peer_send_deadline(const struct peer *peer)
{
    const struct dial *dial = &peer->dial;
    const struct transport *transport = peer->transport;
    RR_ASSERT(dial->state == DIAL_UP);
    uint64_t due = dial->sent_ns + transport->options.silence_ns / 4;
    bool is_held_up = dial->out.is_busy && transport->now_ns >= due;
    return is_held_up || peer_level(peer) < FEATURE_LEVEL_ADDRESSES ? UINT64_MAX : due;
}

void peer_start_send(struct peer *peer)
{
    struct dial *dial = &peer->dial;
    if (dial->state != DIAL_UP || dial->out.is_busy)
        return;
    if (send_queue_is_empty(&peer->queue)) {
        if (RR_LIKELY(peer->transport->now_ns < peer_send_deadline(peer)) ||
            !queue_small(peer, (struct frame_header){.kind = FRAME_HEARTBEATS}, ""))
            return;
    }
    dial->sent_ns = peer->transport->now_ns;
    uint32_t parts = send_queue_gather(&peer->queue);
    if (parts == 0)
        return;
    peer->transport->stats.sends++;
    /* If nothing and nobody waits for room, what else is to be sent comes from another turn. */
    bool is_awaited = peer->has_refused || !send_queue_is_gathered(&peer->queue, parts);
    dial->out.io.flags = is_awaited ? 0 : IO_QUIET;
    peer->has_refused = false;
    transport_op_submit(&dial->out, IO_SEND, dial->fd, peer->queue.parts, parts);
}

bool peer_send_done(struct peer *peer)
{
    int64_t result = peer->dial.out.io.result;
    if (result <= 0)
        return false;
    struct transport *transport = peer->transport;
    transport->stats.bytes_sent += (uint64_t)result;
    transport->stats.frames_sent += send_queue_consume(&peer->queue, (uint64_t)result);
    RR_ASSERT_SLOW((send_queue_check(&peer->queue), true));
    return true;
}
