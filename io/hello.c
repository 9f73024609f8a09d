/* SPDX-License-Identifier: Apache-2.0
 *
 * Hello's bytes and the comparison of two of them. Cold: once per connection.
 */
#include "io/hello.h"

#include "proto/crc32c.h"

#include <string.h>

#define HELLO_MAGIC 0x4c4c454854465252u /* "RRFTHELL" */

/* As it travels. */
struct hello_wire {
    uint64_t magic;
    uint16_t version;
    uint8_t kind;
    uint8_t flags;
    int32_t code;
    uint64_t cluster;
    uint64_t from;
    uint64_t to;
    uint64_t instance;
    uint64_t boot;
    uint64_t nonce;
    uint32_t loop;
    uint32_t loop_count;
    uint32_t feature_level;
    uint32_t entry_bytes_max;
    uint32_t frame_bytes_max;
    uint32_t asked[2]; /* low, high: 8 bytes would not be aligned */
    uint32_t crc;      /* of all bytes before it */
};
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little endian");
_Static_assert(sizeof(struct hello_wire) == HELLO_SIZE, "hello has a fixed size");
_Static_assert(offsetof(struct hello_wire, kind) == 10, "fixed in every version");
_Static_assert(offsetof(struct hello_wire, code) == 12, "fixed in every version");
_Static_assert(offsetof(struct hello_wire, cluster) == 16, "");
_Static_assert(offsetof(struct hello_wire, loop) == 64, "");
_Static_assert(offsetof(struct hello_wire, crc) == HELLO_SIZE - 4, "fixed in every version");

void hello_put(const struct hello *hello, uint8_t at[HELLO_SIZE])
{
    RR_ASSERT(hello->kind >= HELLO_DIAL && hello->kind <= HELLO_PROOF);
    RR_ASSERT((hello->kind == HELLO_REFUSAL) == (hello->code < 0));
    struct hello_wire wire = {
        .magic = HELLO_MAGIC,
        .version = HELLO_VERSION,
        .kind = hello->kind,
        .flags = hello->flags,
        .code = hello->code,
        .cluster = hello->cluster,
        .from = hello->from,
        .to = hello->to,
        .instance = hello->instance,
        .boot = hello->boot,
        .nonce = hello->nonce,
        .loop = hello->loop,
        .loop_count = hello->loop_count,
        .feature_level = hello->feature_level,
        .entry_bytes_max = hello->entry_bytes_max,
        .frame_bytes_max = hello->frame_bytes_max,
        .asked = {(uint32_t)hello->asked, (uint32_t)(hello->asked >> 32)},
    };
    wire.crc = crc32c(0, &wire, offsetof(struct hello_wire, crc));
    memcpy(at, &wire, sizeof(wire));
}

/* Fields that no version-1 node says, whoever it is. */
static bool is_impossible(const struct hello_wire *wire)
{
    bool has_asked = wire->asked[0] != 0 || wire->asked[1] != 0;
    if (has_asked && wire->kind != HELLO_ANSWER && wire->kind != HELLO_PROOF)
        return true;
    if (wire->kind == HELLO_REFUSAL)
        return wire->code >= 0;
    if (wire->kind != HELLO_DIAL && wire->kind != HELLO_ANSWER && wire->kind != HELLO_PROOF)
        return true;
    return wire->code != 0 || wire->from == 0 || wire->to == 0 || wire->instance == 0 ||
           wire->loop >= wire->loop_count;
}

int hello_get(const uint8_t at[HELLO_SIZE], struct hello *hello)
{
    struct hello_wire wire;
    memcpy(&wire, at, sizeof(wire));
    if (wire.magic != HELLO_MAGIC || wire.crc != crc32c(0, &wire, offsetof(struct hello_wire, crc)))
        return RR_E_MALFORMED;
    if (wire.version != HELLO_VERSION)
        return RR_E_VERSION;
    if (is_impossible(&wire))
        return RR_E_MALFORMED;
    *hello = (struct hello){
        .cluster = wire.cluster,
        .from = wire.from,
        .to = wire.to,
        .instance = wire.instance,
        .boot = wire.boot,
        .nonce = wire.nonce,
        .asked = wire.asked[0] | (uint64_t)wire.asked[1] << 32,
        .loop = wire.loop,
        .loop_count = wire.loop_count,
        .feature_level = wire.feature_level,
        .entry_bytes_max = wire.entry_bytes_max,
        .frame_bytes_max = wire.frame_bytes_max,
        .code = wire.code,
        .kind = wire.kind,
        .flags = wire.flags,
    };
    return 0;
}

int hello_check(const struct hello *ours, const struct hello *theirs)
{
    RR_ASSERT(theirs->kind != HELLO_REFUSAL && ours->from != 0);
    if (theirs->flags & ~HELLO_SNAPSHOT || (ours->to != 0 && theirs->flags != ours->flags))
        return RR_E_NOT_SUPPORTED;
    if (theirs->cluster != ours->cluster || theirs->to != ours->from || theirs->from == ours->from)
        return RR_E_IDENTITY;
    if (ours->to != 0 && theirs->from != ours->to)
        return RR_E_IDENTITY;
    if (theirs->loop_count != ours->loop_count ||
        theirs->entry_bytes_max != ours->entry_bytes_max ||
        theirs->frame_bytes_max != ours->frame_bytes_max)
        return RR_E_INVALID;
    return 0;
}
