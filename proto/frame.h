/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames on the wire: a header of 32 bytes, little endian, then `length` bytes
 * of body. The header has a checksum of its own, so that length and kind can be believed before the
 * body arrives; the body's checksum stands in the header and may be combined from those of its
 * parts.
 *
 * A body is a sequence of items: an item header (frame_item), then one raftpb.Message of so many
 * bytes.
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

#ifdef __cplusplus
}
#endif
#endif
