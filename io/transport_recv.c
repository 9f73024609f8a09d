/* SPDX-License-Identifier: Apache-2.0
 *
 * Receiving on an open connection. Hot: no allocation, no copy but of a frame that straddles
 * blocks.
 *
 *     block   [ handed over ......|parsed  part of a frame |filled        room ]   spill [ 64 KiB ]
 *                                                            one recvmsg fills: ^ then          ^
 *
 * Happy path: what arrived ends in whole frames, which are decoded where they lie; if nobody kept a
 * reference the block is used again from its beginning. When a frame does not fit into the rest of
 * its block, what is there of it moves to a fresh one, once, and the spill behind it. A frame's
 * header has a checksum of its own, so its length is believed, and compared with the limit, before
 * room is made for it; room comes in fixed sizes only. Failure path: anything unsound closes the
 * connection and is counted.
 */
#include "io/transport_impl.h"

#include "io/address.h"
#include "proto/crc32c.h"

#include <string.h>

#define TYPE_BIT(type) (UINT32_C(1) << (type))

/* What nodes say to each other; everything else is local to one. */
static const uint32_t wire_types =
    TYPE_BIT(RR_MSG_PROP) | TYPE_BIT(RR_MSG_APP) | TYPE_BIT(RR_MSG_APP_RESP) |
    TYPE_BIT(RR_MSG_VOTE) | TYPE_BIT(RR_MSG_VOTE_RESP) | TYPE_BIT(RR_MSG_SNAP) |
    TYPE_BIT(RR_MSG_HEARTBEAT) | TYPE_BIT(RR_MSG_HEARTBEAT_RESP) |
    TYPE_BIT(RR_MSG_TRANSFER_LEADER) | TYPE_BIT(RR_MSG_TIMEOUT_NOW) | TYPE_BIT(RR_MSG_READ_INDEX) |
    TYPE_BIT(RR_MSG_READ_INDEX_RESP) | TYPE_BIT(RR_MSG_PRE_VOTE) | TYPE_BIT(RR_MSG_PRE_VOTE_RESP);
static const uint32_t heartbeat_types =
    TYPE_BIT(RR_MSG_HEARTBEAT) | TYPE_BIT(RR_MSG_HEARTBEAT_RESP);

bool guest_open(struct guest *guest)
{
    RR_ASSERT(!guest->block && !guest->spill);
    guest->block = block_sizes_acquire(&guest->transport->blocks, STANDARD_BLOCK_SIZE);
    guest->spill = block_sizes_acquire(&guest->transport->blocks, SMALL_BLOCK_SIZE);
    guest_heard(guest);
    return guest->block && guest->spill;
}

void guest_heard(struct guest *guest)
{
    const struct transport *transport = guest->transport;
    guest->deadline_ns = guest->feature_level < FEATURE_LEVEL_ADDRESSES
                             ? UINT64_MAX /* sends no signs of life */
                             : transport->now_ns + transport->options.silence_ns;
}

static bool are_entries_sound(const struct transport *transport, const struct rr_message *message)
{
    uint32_t data_max = transport->options.limits.entry_bytes_max;
    uint64_t term = message->log_term;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct rr_entry *entry = &message->entries[i];
        if (entry->size > data_max)
            return false;
        if (message->type != RR_MSG_APP)
            continue;
        if (entry->index != message->index + 1 + i || entry->term < term)
            return false;
        term = entry->term;
    }
    return message->type != RR_MSG_APP || term <= message->term;
}

/* May this message have been sent by this peer, to us, in such a frame? The core asserts less than
 * a stranger can write. */
static bool is_message_sound(const struct transport *transport, const struct guest *guest,
                             const struct frame_header *header, const struct rr_message *message)
{
    uint32_t types = header->kind == FRAME_HEARTBEATS ? heartbeat_types : wire_types;
    if (message->type >= 32 || !(types & TYPE_BIT(message->type)))
        return false;
    if (message->from != guest->who.node || message->to != transport->options.identity.node)
        return false;
    if (message->response_count != 0 || (message->type == RR_MSG_SNAP && !message->snapshot))
        return false;
    return are_entries_sound(transport, message);
}

static bool deliver_messages(struct guest *guest, const struct frame_header *header,
                             const uint8_t *body)
{
    struct transport *transport = guest->transport;
    const uint8_t *end = body + header->length;
    while (body != end) {
        struct frame_item item;
        const uint8_t *bytes;
        struct rr_message message;
        if (frame_item_next(header, &body, end, &item, &bytes) != 0)
            return false;
        transport->scratch.used = 0;
        transport->scratch.block = guest->block;
        if (rr_message_decode(bytes, item.size, &transport->scratch, &message) != 0 ||
            !is_message_sound(transport, guest, header, &message))
            return false;
        if (transport->options.on_message(transport->options.ctx, guest->who.node, item.group,
                                          &message) != 0)
            return false;
        if (guest->state != GUEST_OPEN)
            return false;
    }
    return true;
}

static RR_COLD bool deliver_hash(struct guest *guest, const struct frame_header *header,
                                 const uint8_t *body)
{
    const struct transport_options *options = &guest->transport->options;
    struct frame_hash hash;
    if (frame_hash_get(body, header->length, &hash) != 0)
        return false;
    if (options->on_hash)
        options->on_hash(options->ctx, guest->who.node, header->group, &hash);
    return guest->state == GUEST_OPEN;
}

static RR_COLD bool deliver_notice(struct guest *guest, const struct frame_header *header,
                                   const uint8_t *body)
{
    const struct transport_options *options = &guest->transport->options;
    struct frame_notice notice;
    if (frame_notice_get(body, header->length, &notice) != 0)
        return false;
    if (options->on_notice)
        options->on_notice(options->ctx, guest->who.node, header->group, &notice);
    return guest->state == GUEST_OPEN;
}

static RR_COLD bool deliver_address(struct guest *guest, const struct frame_header *header,
                                    const uint8_t *body)
{
    const struct transport_options *options = &guest->transport->options;
    char text[IO_ADDRESS_TEXT_SIZE] = {0};
    struct io_address address;
    if (header->length >= sizeof(text))
        return false;
    memcpy(text, body, header->length);
    if (io_address_parse(text, &address, NULL) != 0 || address.port == 0)
        return false;
    if (options->on_address)
        options->on_address(options->ctx, guest->who.node, &address);
    return guest->state == GUEST_OPEN;
}

/* Hands over what is in one whole frame; false: malformed, or closed by the callback. */
static bool deliver(struct guest *guest, const struct frame_header *header, const uint8_t *body)
{
    if (crc32c(0, body, header->length) != header->body_crc)
        return false;
    bool is_sound = false;
    if (header->kind <= FRAME_HEARTBEATS)
        is_sound = deliver_messages(guest, header, body);
    else if (header->kind == FRAME_HASHES)
        is_sound = deliver_hash(guest, header, body);
    else if (header->kind == FRAME_NOTICE)
        is_sound = deliver_notice(guest, header, body);
    else if (header->kind == FRAME_ADDRESS)
        is_sound = deliver_address(guest, header, body);
    guest->transport->stats.frames_received += is_sound;
    return is_sound;
}

/* Hands over the whole frames of the block; of the next one learns the size, if its header is
 * there. false: malformed, or closed by the callback. */
static bool deliver_frames(struct guest *guest)
{
    uint32_t length_max = guest->transport->options.limits.frame_bytes_max;
    while (guest->filled - guest->parsed >= FRAME_HEADER_SIZE) {
        const uint8_t *at = guest->block->bytes + guest->parsed;
        uint32_t received = guest->filled - guest->parsed;
        if (guest->frame_size > received)
            return true; /* known to be incomplete */
        struct frame_header header;
        if (frame_header_get(at, length_max, &header) != 0)
            return false;
        guest->frame_size = FRAME_HEADER_SIZE + header.length;
        if (guest->frame_size > received)
            return true;
        if (!deliver(guest, &header, at + FRAME_HEADER_SIZE))
            return false;
        guest->parsed += guest->frame_size;
        guest->frame_size = 0;
    }
    return true;
}

/* Does the frame at `parsed` end inside the block, as far as is known? */
static bool has_room(const struct guest *guest)
{
    uint32_t size = guest->frame_size;
    if (size == 0 && guest->parsed < guest->filled)
        size = FRAME_HEADER_SIZE;
    return guest->spilled == 0 && size <= guest->block->cap - guest->parsed;
}

/* Goes on in a fresh block: the begun frame and the spill move there. false: no memory. */
static bool change_block(struct guest *guest)
{
    struct transport *transport = guest->transport;
    uint32_t begun = guest->filled - guest->parsed;
    uint32_t need = guest->frame_size;
    if (need < begun + guest->spilled)
        need = begun + guest->spilled;
    if (need < STANDARD_BLOCK_SIZE)
        need = STANDARD_BLOCK_SIZE;
    struct rr_block *fresh = block_sizes_acquire(&transport->blocks, need);
    if (!fresh)
        return false;
    memcpy(fresh->bytes, guest->block->bytes + guest->parsed, begun);
    memcpy(fresh->bytes + begun, guest->spill->bytes, guest->spilled);
    rr_block_put(guest->block, 1);
    guest->block = fresh;
    guest->parsed = 0;
    guest->filled = begun + guest->spilled;
    guest->spilled = 0;
    return true;
}

void guest_receive(struct guest *guest)
{
    struct transport *transport = guest->transport;
    int64_t result = guest->in.io.result;
    if (result <= 0) {
        guest_close(guest);
        return;
    }
    guest_heard(guest);
    transport->stats.bytes_received += (uint64_t)result;
    uint32_t in_block = (uint32_t)rr_min_u64((uint64_t)result, guest->in_parts[0].iov_len);
    guest->filled += in_block;
    guest->spilled = (uint32_t)result - in_block;
    RR_ASSERT(guest->filled <= guest->block->cap && guest->spilled <= guest->spill->cap);
    RR_ASSERT(guest->spilled == 0 || guest->filled == guest->block->cap);

    while (deliver_frames(guest)) {
        if (has_room(guest))
            return;
        if (!change_block(guest)) {
            guest_close(guest);
            return;
        }
    }
    if (guest->state == GUEST_OPEN) {
        transport->stats.malformed++;
        guest_close(guest);
    }
}

/* Between frames: the block from its beginning if it is ours alone, a fresh one if it is nearly
 * full, and never a large one for longer than its frame. */
static bool renew_block(struct guest *guest)
{
    bool is_standard = guest->block->cap == STANDARD_BLOCK_SIZE;
    if (is_standard && guest->block->refs == 1) {
        guest->parsed = guest->filled = 0;
        return true;
    }
    if (is_standard && guest->block->cap - guest->filled >= RECV_ROOM_MIN)
        return true;
    return change_block(guest);
}

void guest_arm(struct guest *guest)
{
    if (guest->state != GUEST_OPEN || guest->in.is_busy)
        return;
    if (guest->parsed == guest->filled && !renew_block(guest)) {
        guest_close(guest);
        return;
    }
    RR_ASSERT(has_room(guest) && guest->filled < guest->block->cap);
    guest->in_parts[0] = (struct iovec){.iov_base = guest->block->bytes + guest->filled,
                                        .iov_len = guest->block->cap - guest->filled};
    guest->in_parts[1] =
        (struct iovec){.iov_base = guest->spill->bytes, .iov_len = guest->spill->cap};
    transport_op_submit(&guest->in, IO_RECV, guest->fd, guest->in_parts, 2);
}
