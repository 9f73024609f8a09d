/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames on the wire: a header of 32 bytes, little endian, then `length` bytes
 * of body. The header has a checksum of its own, so that length and kind can be believed before the
 * body arrives; the body's checksum stands in the header and may be combined from those of its
 * parts.
 *
 * A body of messages or heartbeats is a sequence of items: an item header (frame_item), then one
 * raftpb.Message of so many bytes. A heartbeat frame without items says that the sender is alive.
 * Kinds above 2 go only to peers whose feature level knows them: others close the connection.
 */
#ifndef RR_PROTO_FRAME_H
#define RR_PROTO_FRAME_H

#include "proto/base.h"

#include <ringraft/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FRAME_HEADER_SIZE 32u
#define FRAME_ITEM_SIZE   16u
#define FRAME_MAGIC       0x4d524652u /* "RFRM" */
#define FRAME_VERSION     1u

enum frame_kind {
    FRAME_MESSAGES = 1,   /* messages of one group, header.group */
    FRAME_HEARTBEATS = 2, /* heartbeats and their answers of any groups; header.group is 0 */
    FRAME_HASHES = 3,     /* a hash of the state of one group, header.group: struct frame_hash */
    FRAME_ADDRESS = 4,    /* text: where the dialler can be dialled; header.group is 0 */
    FRAME_NOTICE = 5,     /* about one group, header.group: struct frame_notice */
    FRAME_SNAPSHOT = 6,   /* on snapshot connections, and nothing else there: snapshot_wire.h */
};

/* The header in memory. On the wire:
 *    0 magic u32 | 4 version u8 | 5 kind u8 | 6 flags u16 | 8 group u64 | 16 length u32 | 20
 * body_crc u32 24 reserved u32 (0) | 28 header_crc u32: CRC32C of bytes 0..27 */
struct frame_header {
    uint64_t group;
    uint32_t length;   /* bytes of body */
    uint32_t body_crc; /* CRC32C of the body */
    uint8_t kind;      /* enum frame_kind */
};

/* One message in a body; on the wire: 0 group u64 | 8 size u32 | 12 reserved u32 (0). */
struct frame_item {
    uint64_t group;
    uint32_t size; /* bytes of the message that follows */
};

/* What the state machine of a group was, when exactly the entries up to `index` were applied. */
struct frame_hash {
    uint64_t index;
    uint64_t hash;
};
#define FRAME_HASH_SIZE 16u /* on the wire: 0 index u64 | 8 hash u64 */

/* What a node says about one of its groups beside raft's messages. */
struct frame_notice {
    uint64_t genesis; /* says which group this is, if two were made under one id */
    int32_t code;     /* enum rr_err, or 0 */
};
#define FRAME_NOTICE_SIZE 16u /* on the wire: 0 genesis u64 | 8 code i32 | 12 reserved u32 (0) */

void frame_header_put(const struct frame_header *header, uint8_t at[FRAME_HEADER_SIZE]);

/* RR_E_MALFORMED (magic, checksum, kind, flags or reserved bytes), RR_E_VERSION (a sound header of
 * another version), RR_E_TOO_LARGE (length above length_max). */
int frame_header_get(const uint8_t at[FRAME_HEADER_SIZE], uint32_t length_max,
                     struct frame_header *header);

void frame_item_put(const struct frame_item *item, uint8_t at[FRAME_ITEM_SIZE]);

/* Walks a body: `*at` points at an item header; on 0 it is moved behind the message, which is given
 * as `*message` and item->size. Stop when *at == end. RR_E_MALFORMED: the item does not fit, or its
 * group is not header->group in a FRAME_MESSAGES body. */
int frame_item_next(const struct frame_header *header, const uint8_t **at, const uint8_t *end,
                    struct frame_item *item, const uint8_t **message);

void frame_hash_put(const struct frame_hash *hash, uint8_t at[FRAME_HASH_SIZE]);
/* RR_E_MALFORMED: not of this size. */
int frame_hash_get(const uint8_t *body, uint32_t size, struct frame_hash *hash);

void frame_notice_put(const struct frame_notice *notice, uint8_t at[FRAME_NOTICE_SIZE]);
/* RR_E_MALFORMED: not of this size, or a positive code. */
int frame_notice_get(const uint8_t *body, uint32_t size, struct frame_notice *notice);

#ifdef __cplusplus
}
#endif
#endif
