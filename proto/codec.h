/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the plain types (ringraft/types.h) and the bytes of package raftpb (raftpb.proto),
 * hand-written: no malloc, no recursion beyond the schema, nothing sized by a number that was not
 * checked against the bytes that are there. protobuf-c's code for the same schema is the oracle in
 * the tests. Any thread.
 *
 * Encoders: `_size` says how many bytes, `_encode` writes exactly so many and returns the place
 * behind them; fields in the order of their numbers, varints as short as possible. Decoders read in
 * place: what they fill in points into the input or into the caller's scratch. They accept every
 * valid encoding (any field order, last value wins, unknown fields skipped, packed numbers) and
 * refuse with RR_E_MALFORMED: truncation, wrong wire types, varints above 64 bits, groups, enum
 * values above 255, a singular sub-message that occurs twice (it would have to be merged),
 * responses within responses. Input is at most UINT32_MAX bytes.
 */
#ifndef RR_PROTO_CODEC_H
#define RR_PROTO_CODEC_H

#include "proto/base.h"
#include "proto/varint.h"

#include <ringraft/error.h>
#include <ringraft/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory that a decoder may fill with arrays, lent by the caller; 8-byte aligned. Too little of it
 * is RR_E_TOO_LARGE. `used` is where the next array goes: set it to 0 to use the memory again. */
struct codec_scratch {
    uint8_t *bytes;
    size_t cap;
    size_t used;
    struct rr_block
        *block; /* put into decoded entries and snapshots as their owner; no reference is taken */
};

/* ---- entries (hot) ------------------------------------------------------- */

/* The tag of Message.entries (field 7, length-delimited), with which every encoded entry begins. */
#define CODEC_ENTRY_TAG 0x3au
/* Most bytes of an encoded entry besides its data: tag, length, type, term, index, data's tag and
 * length. */
#define CODEC_ENTRY_HEAD_MAX 37u

/* The encoded size of the entry alone, as the reference counts it in all its limits: presence
 * counts. */
static inline size_t rr_entry_body_size(const struct rr_entry *entry)
{
    size_t size = 0;
    if (entry->has & RR_ENTRY_HAS_TYPE)
        size += 1 + varint_size(entry->type);
    if (entry->has & RR_ENTRY_HAS_TERM)
        size += 1 + varint_size(entry->term);
    if (entry->has & RR_ENTRY_HAS_INDEX)
        size += 1 + varint_size(entry->index);
    if (entry->has & RR_ENTRY_HAS_DATA)
        size += 1 + varint_size(entry->size) + (size_t)entry->size;
    return size;
}

/* The encoded size as one element of Message.entries: tag, length, body. */
static inline size_t rr_entry_wire_size(const struct rr_entry *entry)
{
    if (entry->wire_size)
        return entry->wire_size;
    size_t body = rr_entry_body_size(entry);
    return 1 + varint_size(body) + body;
}

/* The encoded bytes of an entry with wire_size > 0. */
static inline const uint8_t *rr_entry_wire(const struct rr_entry *entry)
{
    return entry->data + entry->size - entry->wire_size;
}

/* Writes everything of the element but the data (at most CODEC_ENTRY_HEAD_MAX bytes); returns the
 * place where entry->size bytes of data belong. */
uint8_t *rr_entry_encode_head(const struct rr_entry *entry, uint8_t *at);

/* Writes the element (rr_entry_wire_size bytes), copying the data or, if wire_size > 0, the encoded
 * bytes, and continues `*crc` (may be NULL) over it in the same pass. `*staged` (may be `entry`)
 * becomes the same entry with data and wire_size at the new place; its block is for the caller to
 * set. Returns the place behind. */
uint8_t *rr_entry_encode(const struct rr_entry *entry, uint8_t *at, uint32_t *crc,
                         struct rr_entry *staged);

/* Decodes the element at `*at` and moves `*at` behind it; entry->block is set to `block`. wire_size
 * is set if the bytes are exactly those that rr_entry_encode would write, otherwise it is 0.
 * RR_E_MALFORMED: also if a field other than `entries` stands there. */
int rr_entry_decode(const uint8_t **at, const uint8_t *end, struct rr_block *block,
                    struct rr_entry *entry);

/* A run of `count` elements that fills [bytes, bytes + size) exactly, else RR_E_MALFORMED. */
int rr_entries_decode(const uint8_t *bytes, size_t size, struct rr_block *block,
                      struct rr_entry *entries, uint32_t count);

/* ---- messages (hot) ------------------------------------------------------ */

/* The fields before `entries` (type, to, from, term, logTerm, index). */
#define CODEC_MESSAGE_HEAD_MAX 58u
size_t rr_message_head_size(const struct rr_message *message);
uint8_t *rr_message_encode_head(const struct rr_message *message, uint8_t *at);

/* The elements of `entries`, encoded; they may be sent from where they lie instead, if their
 * wire_size is set. */
size_t rr_message_entries_size(const struct rr_message *message);
uint8_t *rr_message_encode_entries(const struct rr_message *message, uint8_t *at);

/* The fields behind `entries` (commit, snapshot, reject, rejectHint, context, vote, responses).
 * Unbounded only by snapshot, context and responses; without them at most CODEC_MESSAGE_TAIL_MAX.
 */
#define CODEC_MESSAGE_TAIL_MAX 35u
size_t rr_message_tail_size(const struct rr_message *message);
uint8_t *rr_message_encode_tail(const struct rr_message *message, uint8_t *at);

/* Head, entries and tail. */
size_t rr_message_size(const struct rr_message *message);
uint8_t *rr_message_encode(const struct rr_message *message, uint8_t *at);

/* Decodes in place: entries, context and snapshot data point into `bytes`, which scratch->block
 * owns; arrays lie in the scratch. RR_E_MALFORMED, or RR_E_TOO_LARGE: the scratch is too small (see
 * rr_message_scratch_size). */
int rr_message_decode(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                      struct rr_message *message);

/* How much scratch rr_message_decode needs for these bytes, by counting (`*need`); or
 * RR_E_MALFORMED. */
int rr_message_scratch_size(const uint8_t *bytes, size_t size, size_t *need);

/* ---- states and snapshots ------------------------------------------------ */

/* All three fields are always written. */
#define CODEC_HARD_STATE_MAX 33u
size_t rr_hard_state_size(const struct rr_hard_state *state);
uint8_t *rr_hard_state_encode(const struct rr_hard_state *state, uint8_t *at);
int rr_hard_state_decode(const uint8_t *bytes, size_t size, struct rr_hard_state *state);

/* One number, unpacked, per id; auto_leave if has_auto_leave. Scratch: 8 bytes per id, at most 8
 * per byte. */
size_t rr_conf_state_size(const struct rr_conf_state *state);
uint8_t *rr_conf_state_encode(const struct rr_conf_state *state, uint8_t *at);
int rr_conf_state_decode(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                         struct rr_conf_state *state);

/* conf_state, index and term are always written. */
size_t rr_snapshot_metadata_size(const struct rr_snapshot_metadata *metadata);
uint8_t *rr_snapshot_metadata_encode(const struct rr_snapshot_metadata *metadata, uint8_t *at);
int rr_snapshot_metadata_decode(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                                struct rr_snapshot_metadata *metadata);

/* data if it is not NULL, metadata always. */
size_t rr_snapshot_size(const struct rr_snapshot *snapshot);
uint8_t *rr_snapshot_encode(const struct rr_snapshot *snapshot, uint8_t *at);
int rr_snapshot_decode(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                       struct rr_snapshot *snapshot);

/* ---- conf changes -------------------------------------------------------- */

size_t rr_conf_change_size(const struct rr_conf_change *change);
uint8_t *rr_conf_change_encode(const struct rr_conf_change *change, uint8_t *at);
int rr_conf_change_decode(const uint8_t *bytes, size_t size, struct rr_conf_change *change);

size_t rr_conf_change_v2_size(const struct rr_conf_change_v2 *change);
uint8_t *rr_conf_change_v2_encode(const struct rr_conf_change_v2 *change, uint8_t *at);
/* Scratch for any `size` bytes: rr_conf_change_v2_scratch_size(size). */
int rr_conf_change_v2_decode(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                             struct rr_conf_change_v2 *change);
static inline size_t rr_conf_change_v2_scratch_size(size_t size)
{
    return size / 2 *
           sizeof(
               struct rr_conf_change_single); /* the shortest change is a tag and a zero length */
}

#ifdef __cplusplus
}
#endif
#endif
