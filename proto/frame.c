/* SPDX-License-Identifier: Apache-2.0
 *
 * Frame headers and the items of a body.
 */
#include "proto/frame.h"

#include "proto/crc32c.h"

#include <string.h>

/* Both structs lie in memory as they lie on the wire; the product runs on little-endian machines
 * only. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "wire structs are little endian");

struct wire_header {
    uint32_t magic;
    uint8_t version;
    uint8_t kind;
    uint16_t flags;
    uint64_t group;
    uint32_t length;
    uint32_t body_crc;
    uint32_t reserved;
    uint32_t header_crc;
};
_Static_assert(sizeof(struct wire_header) == FRAME_HEADER_SIZE, "no padding");
_Static_assert(offsetof(struct wire_header, version) == 4, "version");
_Static_assert(offsetof(struct wire_header, kind) == 5, "kind");
_Static_assert(offsetof(struct wire_header, flags) == 6, "flags");
_Static_assert(offsetof(struct wire_header, group) == 8, "group");
_Static_assert(offsetof(struct wire_header, length) == 16, "length");
_Static_assert(offsetof(struct wire_header, body_crc) == 20, "body_crc");
_Static_assert(offsetof(struct wire_header, reserved) == 24, "reserved");
_Static_assert(offsetof(struct wire_header, header_crc) == 28, "header_crc");

struct wire_item {
    uint64_t group;
    uint32_t size;
    uint32_t reserved;
};
_Static_assert(sizeof(struct wire_item) == FRAME_ITEM_SIZE, "no padding");
_Static_assert(offsetof(struct wire_item, size) == 8, "size");
_Static_assert(offsetof(struct wire_item, reserved) == 12, "reserved");

_Static_assert(sizeof(struct frame_hash) == FRAME_HASH_SIZE, "no padding");
_Static_assert(offsetof(struct frame_hash, hash) == 8, "hash");

struct wire_notice {
    uint64_t genesis;
    int32_t code;
    uint32_t reserved;
};
_Static_assert(sizeof(struct wire_notice) == FRAME_NOTICE_SIZE, "no padding");
_Static_assert(offsetof(struct wire_notice, code) == 8, "code");

/* Heartbeats and addresses belong to the connection, all else to a group. */
static bool is_kind_of_group(uint8_t kind, uint64_t group)
{
    bool is_of_node = kind == FRAME_HEARTBEATS || kind == FRAME_ADDRESS;
    return kind >= FRAME_MESSAGES && kind <= FRAME_SNAPSHOT && (!is_of_node || group == 0);
}

static uint32_t header_crc(const struct wire_header *wire)
{
    return crc32c(0, wire, offsetof(struct wire_header, header_crc));
}

void frame_header_put(const struct frame_header *header, uint8_t at[FRAME_HEADER_SIZE])
{
    RR_ASSERT(is_kind_of_group(header->kind, header->group));
    struct wire_header wire = {
        .magic = FRAME_MAGIC,
        .version = FRAME_VERSION,
        .kind = header->kind,
        .group = header->group,
        .length = header->length,
        .body_crc = header->body_crc,
    };
    wire.header_crc = header_crc(&wire);
    memcpy(at, &wire, sizeof wire);
}

int frame_header_get(const uint8_t at[FRAME_HEADER_SIZE], uint32_t length_max,
                     struct frame_header *header)
{
    struct wire_header wire;
    memcpy(&wire, at, sizeof wire);
    if (wire.magic != FRAME_MAGIC || wire.header_crc != header_crc(&wire))
        return RR_E_MALFORMED;
    if (wire.version != FRAME_VERSION)
        return RR_E_VERSION;
    if (wire.flags != 0 || wire.reserved != 0)
        return RR_E_MALFORMED;
    if (!is_kind_of_group(wire.kind, wire.group))
        return RR_E_MALFORMED;
    if (wire.length > length_max)
        return RR_E_TOO_LARGE;
    *header = (struct frame_header){
        .group = wire.group,
        .length = wire.length,
        .body_crc = wire.body_crc,
        .kind = wire.kind,
    };
    return 0;
}

void frame_item_put(const struct frame_item *item, uint8_t at[FRAME_ITEM_SIZE])
{
    struct wire_item wire = {.group = item->group, .size = item->size};
    memcpy(at, &wire, sizeof wire);
}

int frame_item_next(const struct frame_header *header, const uint8_t **at, const uint8_t *end,
                    struct frame_item *item, const uint8_t **message)
{
    if (end - *at < (ptrdiff_t)FRAME_ITEM_SIZE)
        return RR_E_MALFORMED;
    struct wire_item wire;
    memcpy(&wire, *at, sizeof wire);
    const uint8_t *body = *at + FRAME_ITEM_SIZE;
    if (wire.reserved != 0 || wire.size > (uint64_t)(end - body))
        return RR_E_MALFORMED;
    if (header->kind == FRAME_MESSAGES && wire.group != header->group)
        return RR_E_MALFORMED;
    *item = (struct frame_item){.group = wire.group, .size = wire.size};
    *message = body;
    *at = body + wire.size;
    return 0;
}

void frame_hash_put(const struct frame_hash *hash, uint8_t at[FRAME_HASH_SIZE])
{
    memcpy(at, hash, sizeof *hash);
}

int frame_hash_get(const uint8_t *body, uint32_t size, struct frame_hash *hash)
{
    if (size != FRAME_HASH_SIZE)
        return RR_E_MALFORMED;
    memcpy(hash, body, sizeof *hash);
    return 0;
}

void frame_notice_put(const struct frame_notice *notice, uint8_t at[FRAME_NOTICE_SIZE])
{
    RR_ASSERT(notice->code <= 0);
    struct wire_notice wire = {.genesis = notice->genesis, .code = notice->code};
    memcpy(at, &wire, sizeof wire);
}

int frame_notice_get(const uint8_t *body, uint32_t size, struct frame_notice *notice)
{
    struct wire_notice wire;
    if (size != FRAME_NOTICE_SIZE)
        return RR_E_MALFORMED;
    memcpy(&wire, body, sizeof wire);
    if (wire.code > 0 || wire.reserved != 0)
        return RR_E_MALFORMED;
    *notice = (struct frame_notice){.genesis = wire.genesis, .code = wire.code};
    return 0;
}
