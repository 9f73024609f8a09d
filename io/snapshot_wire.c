/* SPDX-License-Identifier: Apache-2.0 */
#include "io/snapshot_wire.h"

#include "proto/crc32c.h"

#include <string.h>

/* The fixed head of a body, as it travels. */
struct wire {
    uint8_t type;
    uint8_t zero[3];
    int32_t status;
    uint64_t offset;
    uint64_t size;
    uint32_t header_crc;
    uint32_t zero2;
};
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little endian");
_Static_assert(sizeof(struct wire) == SNAPSHOT_WIRE_HEAD - FRAME_HEADER_SIZE, "no padding");
_Static_assert(offsetof(struct wire, status) == 4, "status");
_Static_assert(offsetof(struct wire, offset) == 8, "offset");
_Static_assert(offsetof(struct wire, header_crc) == 24, "header_crc");

void snapshot_wire_put(const struct snapshot_said *said, uint32_t payload_crc,
                       uint8_t at[SNAPSHOT_WIRE_HEAD])
{
    struct wire wire = {.type = said->type,
                        .status = said->status,
                        .offset = said->offset,
                        .size = said->size,
                        .header_crc = said->header_crc};
    uint32_t crc = crc32c(0, &wire, sizeof(wire));
    struct frame_header header = {
        .kind = FRAME_SNAPSHOT,
        .group = said->group,
        .length = (uint32_t)sizeof(wire) + said->payload_size,
        .body_crc = crc32c_combine(crc, payload_crc, said->payload_size),
    };
    frame_header_put(&header, at);
    memcpy(at + FRAME_HEADER_SIZE, &wire, sizeof(wire));
}

/* Does each kind of saying carry what belongs to it, and nothing else? */
static bool is_sound(const struct wire *wire, uint32_t payload_size)
{
    if (wire->zero[0] | wire->zero[1] | wire->zero[2] || wire->zero2 != 0 || wire->status > 0)
        return false;
    bool is_of_file = wire->size != 0 || wire->header_crc != 0;
    switch (wire->type) {
    case SNAPSHOT_SAYS_BEGIN:
        return payload_size > 0 && wire->size > 0 && wire->offset == 0 && wire->status == 0;
    case SNAPSHOT_SAYS_CHUNK:
        return payload_size > 0 && !is_of_file && wire->status == 0 &&
               wire->offset <= UINT64_MAX - payload_size;
    case SNAPSHOT_SAYS_PROGRESS:
        return payload_size == 0 && !is_of_file && wire->status == 0;
    case SNAPSHOT_SAYS_RESULT:
        return payload_size == 0 && !is_of_file && wire->offset == 0;
    default:
        return false;
    }
}

int snapshot_wire_get(const uint8_t at[SNAPSHOT_WIRE_HEAD], struct snapshot_said *said)
{
    struct frame_header header;
    struct wire wire;
    int err = frame_header_get(at, sizeof(wire) + SNAPSHOT_WIRE_CHUNK_MAX, &header);
    if (err != 0)
        return err;
    memcpy(&wire, at + FRAME_HEADER_SIZE, sizeof(wire));
    if (header.kind != FRAME_SNAPSHOT || header.length < sizeof(wire))
        return RR_E_MALFORMED;
    uint32_t payload_size = header.length - (uint32_t)sizeof(wire);
    if (!is_sound(&wire, payload_size))
        return RR_E_MALFORMED;
    if (wire.type == SNAPSHOT_SAYS_BEGIN && payload_size > SNAPSHOT_WIRE_BEGIN_MAX)
        return RR_E_TOO_LARGE;
    *said = (struct snapshot_said){
        .group = header.group,
        .offset = wire.offset,
        .size = wire.size,
        .header_crc = wire.header_crc,
        .payload_size = payload_size,
        .status = wire.status,
        .type = wire.type,
        .body_crc = header.body_crc,
        .head_crc = crc32c(0, &wire, sizeof(wire)),
    };
    return payload_size > 0 || said->head_crc == said->body_crc ? 0 : RR_E_MALFORMED;
}

bool snapshot_wire_payload(const struct snapshot_said *said, const uint8_t *payload)
{
    return crc32c(said->head_crc, payload, said->payload_size) == said->body_crc;
}
